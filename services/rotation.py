"""Rotating the master key from the command line: a progress bar, what came of it, and what comes next."""

from contextlib import ExitStack

import asyncpg
import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from services.master_keys import Rotated, finish, rotate
from services.migrate import MigrationError, differences
from services.postgres import connect, unavailable
from services.sealing import MasterKeyError
from services.settings import Settings


async def rotate_master_key(settings: Settings, *, finishing: bool) -> None:
    """Take one of the two steps, and tell what came of it. Raises MasterKeyError, MigrationError and Unavailable."""
    connection = await connect(settings.url("owner"))
    try:
        with unavailable(), _Bars() as bars:
            try:
                if amiss := await differences(connection):
                    raise MigrationError(f"the database is not migrated to this version: {', and '.join(amiss)}")
                rotated = await (finish if finishing else rotate)(connection, settings.master_key, bars.show)
            except asyncpg.UndefinedTableError:
                raise MigrationError("there is no ledger yet; run `ledger migrate`") from None
            except asyncpg.InsufficientPrivilegeError as error:
                raise MasterKeyError(f"{error}; LEDGER_DATABASE_URL has to name the database's owner") from error
    finally:
        connection.terminate()
    for line in (_finished if finishing else _begun)(rotated, settings):
        click.echo(line)


class _Bars(ExitStack):
    """A progress bar for each ledger that has something to wrap anew."""

    def __init__(self) -> None:
        super().__init__()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True))
        self._tasks: dict[str, TaskID] = {}

    def show(self, ledger: str, wrapped: int, total: int) -> None:
        if not self._tasks:
            self.enter_context(self._progress)
        if ledger not in self._tasks:
            self._tasks[ledger] = self._progress.add_task(f"sealing keys of {ledger}")
        self._progress.update(self._tasks[ledger], completed=wrapped, total=total)


def _begun(rotated: Rotated, settings: Settings) -> list[str]:
    if rotated.made:
        said = "It was made now."
    else:
        said = (
            "No new one was made: a first step was taken before and not finished, and this one went on with it. Finish"
            " it; for a new master key, rotate again then."
        )
    return [
        f"{rotated.wrapped} sealing keys were wrapped anew, by the master key {rotated.newest}, which is the first in"
        f" {settings.master_key} now. {said}",
        f"{' and '.join(rotated.others)} is still in use behind it. Give every service the file as it is now, and keep"
        " a copy of it apart from the database's backups. Then:",
        "  ledger rotate-master-key --finish",
    ]


def _finished(rotated: Rotated, settings: Settings) -> list[str]:
    return [
        f"{rotated.wrapped} sealing keys were wrapped anew. The master key {rotated.newest} is the only one in"
        f" {settings.master_key}, and the only one that opens anything here.",
        "What they had wrapped lies on in the files of the database until `ledger scrub-keys` has written them anew.",
        "Destroy all copies of those that came before it: they open what is in the database's older backups.",
    ]
