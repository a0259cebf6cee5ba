"""The command line `ledger`: runs everything, migrates, and drives the services from outside."""

import asyncio
import os
import sys

import click

from services import supervisor
from services.embedded import EmbeddedError, EmbeddedPostgres, HomeInUse
from services.migrate import MigrationError
from services.migrate import migrate as bring_up_to_date
from services.postgres import Unavailable
from services.process import configure_logs
from services.settings import Settings, SettingsError

# What an operator can put right; its text says how. Anything else is ours, and shows where it happened.
_EXPLAINED = (SettingsError, EmbeddedError, MigrationError, Unavailable, supervisor.SupervisorError)


def main() -> None:
    """The entry of the console script `ledger`."""
    try:
        commands(prog_name="ledger")
    except _EXPLAINED as error:
        click.echo(str(error), err=True)
        sys.exit(os.EX_CONFIG)


@click.group()
def commands() -> None:
    """Who asked for this, how on-target were they, who decided: the requirements ledger."""


@commands.command()
def run() -> None:
    """Start PostgreSQL (if none is set) and both services, and watch over them."""
    settings = Settings.load()
    configure_logs(settings)
    try:
        asyncio.run(supervisor.run(settings, click.echo))
    except (asyncio.CancelledError, KeyboardInterrupt):
        # Stopped by a signal, in order.
        return


@commands.command()
def migrate() -> None:
    """Bring the database up to date, and make the ledger main if it is missing."""
    settings = Settings.load()
    configure_logs(settings)
    asyncio.run(_migrate(settings))


async def _migrate(settings: Settings) -> None:
    if not settings.embedded:
        return await bring_up_to_date(settings)
    database = EmbeddedPostgres(settings.home, os_user=settings.database_os_user)
    try:
        await database.start()
    except HomeInUse:
        # A run of this home is on, and so is its database.
        return await bring_up_to_date(settings)
    try:
        await bring_up_to_date(settings)
    finally:
        await database.stop()


if __name__ == "__main__":
    main()
