"""The live read models of a ledger: what they are, and as of which position all of them can be read."""

from pathlib import Path

import asyncpg

from services.archive.manifest import ArchiveError
from services.postgres import ledger_schema
from services.projector.projections import ALL
from services.statements import Statements

_statements = Statements.load(Path(__file__).with_name("archive.sql"))


async def position_of_all(connection: asyncpg.Connection, ledger: str, until: int | None) -> int:
    """The position `until`, or else the last one that every read model has.

    Raises ArchiveError if there is no such ledger, if one of its read models is not there yet, has not got so far, or
    was built by another version.
    """
    await registered(connection, ledger)
    try:
        rows = await connection.fetch(_statements.bind(schema=ledger_schema(ledger))["cursors"])
    except asyncpg.UndefinedTableError:
        rows = []
    found = {row["projection"]: row for row in rows}
    if missing := sorted(each.name for each in ALL if each.name not in found):
        raise ArchiveError(f"there are no read models of {ledger!r} yet ({', '.join(missing)}): start the projector")
    if other := sorted(each.name for each in ALL if found[each.name]["version"] != each.version):
        text = f"{', '.join(other)} of {ledger!r} was built by another version of the software"
        raise ArchiveError(f"{text}; start the projector of this version, which builds it anew")
    lowest = min((found[each.name]["position"], each.name) for each in ALL)
    if until is not None and until > lowest[0]:
        text = f"{lowest[1]} of {ledger!r} has got to position {lowest[0]}"
        raise ArchiveError(f"{text}, and --until is {until}: wait for it, or ask for an earlier position")
    return lowest[0] if until is None else until


async def registered(connection: asyncpg.Connection, ledger: str) -> asyncpg.Record:
    """Origin and teams of a ledger. Raises ArchiveError."""
    try:
        row = await connection.fetchrow(_statements["registered"], ledger)
    except asyncpg.UndefinedTableError:
        raise ArchiveError("the database has not been set up; run `ledger migrate` first") from None
    if row is None:
        raise ArchiveError(f"there is no ledger {ledger!r}")
    return row
