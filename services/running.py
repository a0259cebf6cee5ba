"""`ledger run`: the settings, the log lines, and then the supervisor."""

import asyncio

import click

from services import supervisor
from services.process import configure_logs
from services.settings import Settings


@click.command("run")
def run() -> None:
    """Start PostgreSQL (if none is set) and the services, and watch over them.

    \b
    Examples:
      ledger run
      LEDGER_PORT=9080 PROJECTOR_PORT=9081 ledger run
      LEDGER_DATABASE_URL=postgresql://ledger_owner:…@db/ledger ledger run
    """
    settings = Settings.load()
    configure_logs(settings)
    try:
        asyncio.run(supervisor.run(settings, click.echo))
    except (asyncio.CancelledError, KeyboardInterrupt):
        # Stopped by a signal, in order.
        return
