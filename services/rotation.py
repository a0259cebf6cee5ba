"""Rotating the master key from the command line: a progress bar, what came of it, and what comes next."""

import asyncpg
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.master_keys import Rotated, finish, rotate
from services.migrate import MigrationError, differences
from services.postgres import connect, unavailable
from services.sealing import MasterKeyError
from services.settings import Settings


async def rotate_master_key(settings: Settings, *, finishing: bool) -> None:
    """Take one of the two steps, and tell what came of it. Raises MasterKeyError, MigrationError and Unavailable."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    connection = await connect(settings.url("owner"))
    try:
        with unavailable(), Progress(*columns, console=Console(stderr=True)) as progress:
            tasks = {}

            def show(ledger: str, wrapped: int, total: int) -> None:
                if ledger not in tasks:
                    tasks[ledger] = progress.add_task(f"sealing keys of {ledger}", total=total)
                progress.update(tasks[ledger], completed=wrapped, total=total)

            try:
                if amiss := await differences(connection):
                    raise MigrationError(f"the database is not migrated to this version: {', and '.join(amiss)}")
                rotated = await (finish if finishing else rotate)(connection, settings.master_key, show)
            except asyncpg.UndefinedTableError:
                raise MigrationError("there is no ledger yet; run `ledger migrate`") from None
            except asyncpg.InsufficientPrivilegeError as error:
                raise MasterKeyError(f"{error}; LEDGER_DATABASE_URL has to name the database's owner") from error
    finally:
        connection.terminate()
    for line in (_finished if finishing else _begun)(rotated, settings):
        click.echo(line)


def _begun(rotated: Rotated, settings: Settings) -> list[str]:
    return [
        f"{rotated.wrapped} sealing keys were wrapped anew, by the master key {rotated.newest}, which is the first in"
        f" {settings.master_key} now.",
        f"{' and '.join(rotated.others)} is still in use behind it. Give every service the file as it is now, and keep"
        " a copy of it apart from the database's backups. Then:",
        "  ledger rotate-master-key --finish",
    ]


def _finished(rotated: Rotated, settings: Settings) -> list[str]:
    return [
        f"{rotated.wrapped} sealing keys were wrapped anew. The master key {rotated.newest} is the only one in"
        f" {settings.master_key}, and the only one that opens anything here.",
        "Destroy all copies of those that came before it: they open what is in the database's older backups.",
    ]
