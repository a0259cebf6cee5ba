"""Builds all read models of a ledger anew, as of a position, in a scratch schema, and compares them with the live ones.

It is one transaction that is rolled back, unless the schema is to be kept: so whatever ends it, nothing is left behind.
"""

from pathlib import Path

import asyncpg
from msgspec import Struct

import services.projector.feed
from services.archive.live import registered
from services.archive.manifest import ArchiveError
from services.auditor.findings import Progress
from services.postgres import ledger_schema
from services.projector.apply import Refused, fold_page, topics_of, write
from services.projector.digest import digest
from services.projector.feed import read_page
from services.projector.projections import ALL, Projection
from services.statements import Statements, fill

SCHEMA_BYTES_MAX = 63  # PostgreSQL cuts longer names off.

_statements = Statements.load(Path(services.projector.feed.__file__).with_name("queries.sql"))


class Replayed(Struct, frozen=True, kw_only=True):
    """A read model as it was replayed: its rows, its digest, and that of the live one at the same position."""

    projection: str
    rows: int
    digest: str
    live: str

    @property
    def is_same(self) -> bool:
        return self.digest == self.live


async def replay(
    owner: asyncpg.Connection,
    reader: asyncpg.Connection,
    ledger: str,
    until: int,
    scratch: str,
    *,
    keep: bool,
    progress: Progress = lambda at, of: None,
) -> list[Replayed]:
    """The read models as of `until`, from the log. The schema `scratch` is there afterwards only if it is to be kept.

    `owner`: a connection of who may make a schema and read the log. `reader`: one that reads the live read models,
    which have all got so far. Raises ArchiveError, and what the database raises.
    """
    await registered(owner, ledger)
    if len(scratch.encode()) > SCHEMA_BYTES_MAX or not scratch.isprintable() or scratch.startswith("pg_"):
        raise ArchiveError(f"{scratch!r} cannot be the name of a schema: {SCHEMA_BYTES_MAX} bytes at most, not pg_…")
    transaction = owner.transaction(isolation="repeatable_read")
    await transaction.start()
    kept = False
    try:
        await _make(owner, scratch)
        await _fold(owner, ledger, until, scratch, progress)
        if keep:
            for projection in ALL:
                await owner.execute(fill(projection.indexes_sql, schema=scratch))
        replayed = await _compare(owner, reader, ledger, until, scratch)
        if keep:
            await transaction.commit()
            kept = True
    finally:
        if not kept and not owner.is_closed():
            await transaction.rollback()
    return replayed


async def _make(owner: asyncpg.Connection, scratch: str) -> None:
    try:
        await owner.execute(fill("CREATE SCHEMA {schema}", schema=scratch))
    except asyncpg.DuplicateSchemaError:
        raise ArchiveError(f"there is a schema {scratch!r} already; name another one, or drop it first") from None
    except asyncpg.InsufficientPrivilegeError as error:
        text = f"the owner may not make a schema ({error}); let it: GRANT CREATE ON DATABASE"
        raise ArchiveError(text) from None
    for projection in ALL:
        await owner.execute(fill(projection.tables_sql, schema=scratch))


async def _fold(owner: asyncpg.Connection, ledger: str, until: int, scratch: str, progress: Progress) -> None:
    statements = _statements.bind(schema=ledger_schema(ledger))
    head = await owner.fetchval(statements["head"])
    if until > head:
        raise ArchiveError(f"the log has {head} events, and --until is {until}")
    topics, at = topics_of(ALL), 0
    while at < until:
        page = await read_page(owner, statements, at, topics)
        upto = min(page.last, until)
        for projection in ALL:
            folded = fold_page(projection, page)
            if folded.trouble is not None and folded.trouble.position <= until:
                raise _unapplied(projection, folded.trouble.position, folded.trouble.reason)
            try:
                await write(owner, scratch, folded.between(at, upto))
            except Refused as error:
                raise _unapplied(projection, at + 1, str(error)) from None
        if upto == at:
            raise ArchiveError(f"position {at + 1} is missing in the log; `ledger audit` looks closer")
        at = upto
        progress(at, until)


def _unapplied(projection: Projection, position: int, reason: str) -> ArchiveError:
    return ArchiveError(f"{projection.name} cannot be replayed: from position {position} on: {reason}")


async def _compare(
    owner: asyncpg.Connection, reader: asyncpg.Connection, ledger: str, until: int, scratch: str
) -> list[Replayed]:
    found = []
    async with reader.transaction(isolation="repeatable_read", readonly=True):
        for projection in ALL:
            rows = 0
            for table in projection.tables:
                rows += await owner.fetchval(fill("SELECT count(*) FROM {schema}.{table}", schema=scratch, table=table))
            found.append(
                Replayed(
                    projection=projection.name,
                    rows=rows,
                    digest=await digest(owner, scratch, projection, until),
                    live=await digest(reader, ledger_schema(ledger), projection, until),
                )
            )
    return found
