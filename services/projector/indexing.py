"""The keys and indexes of read models that are filled from far behind: made late, since to fill a table first costs
less. Until then nothing holds its rows to its key but that each is written once, with the cursor."""

from collections.abc import Iterable
from pathlib import Path

import asyncpg

from services.postgres import ledger_schema
from services.projector.projections import Projection
from services.statements import Statements, fill, quote

INDEXING_SECONDS_MAX = 3_600

_statements = Statements.load(Path(__file__).with_name("queries.sql"))


async def without_indexes(
    connection: asyncpg.Connection, ledger: str, projections: Iterable[Projection]
) -> frozenset[str]:
    """Those of these projections of which a table has no key, or none has another index. Those of one are made
    together; a release that does not make keys late may have made the others."""
    keyed, indexed = await _made(connection, ledger)
    return frozenset(
        each.name for each in projections if not keyed.issuperset(each.tables) or indexed.isdisjoint(each.tables)
    )


async def _made(connection: asyncpg.Connection, ledger: str) -> tuple[set[str], set[str]]:
    """The tables that have their key, and those that have another index."""
    rows = await connection.fetch(_statements.bind(schema=ledger_schema(ledger))["with_indexes"])
    return {row["table"] for row in rows if row["has_key"]}, {row["table"] for row in rows if row["has_others"]}


async def take_keys(connection: asyncpg.Connection, ledger: str, projection: Projection) -> None:
    """Leave the tables of a projection, which have just been made, without their keys: `index` makes them."""
    for table in projection.tables:
        names = {"schema": ledger_schema(ledger), "table": table, "key": f"{table}_pkey"}
        await connection.execute(fill("ALTER TABLE {schema}.{table} DROP CONSTRAINT {key}", **names))


async def index(connection: asyncpg.Connection, ledger: str, projection: Projection) -> None:
    """Make the indexes of a projection that are not there, and keys where they were taken, as unique indexes of the
    same names: for a constraint, whoever reads would have to wait. Raises asyncpg.UniqueViolationError."""
    schema = ledger_schema(ledger)
    _, indexed = await _made(connection, ledger)
    statements = []
    for table, columns in projection.tables.items():
        names = {"schema": schema, "table": table, "key": f"{table}_pkey"}
        key = fill("CREATE UNIQUE INDEX IF NOT EXISTS {key} ON {schema}.{table}", **names)
        statements.append(f"{key} ({', '.join(map(quote, columns))})")
    if indexed.isdisjoint(projection.tables):
        statements.append(fill(projection.indexes_sql, schema=schema))
    await connection.execute(";\n".join(statements), timeout=INDEXING_SECONDS_MAX)


async def index_late(connection: asyncpg.Connection, ledger: str, projection: Projection) -> bool:
    """Make the indexes of a projection, unless it has them, in a transaction of its own: what was cut short is as if it
    had not begun. False: another process makes indexes of this ledger."""
    async with connection.transaction():
        if not await connection.fetchval(_statements["lock_indexing"], ledger):
            return False
        if await without_indexes(connection, ledger, [projection]):
            await index(connection, ledger, projection)
    return True
