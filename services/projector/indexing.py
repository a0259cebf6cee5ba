"""The indexes of read models that are filled from far behind: made late, since to fill a table first costs less."""

from collections.abc import Iterable
from pathlib import Path

import asyncpg

from services.postgres import ledger_schema
from services.projector.projections import Projection
from services.statements import Statements, fill

INDEXING_SECONDS_MAX = 3_600

_statements = Statements.load(Path(__file__).with_name("queries.sql"))


async def without_indexes(
    connection: asyncpg.Connection, ledger: str, projections: Iterable[Projection]
) -> frozenset[str]:
    """Those of these projections whose tables have no index but their keys. Those of one are made together."""
    rows = await connection.fetch(_statements.bind(schema=ledger_schema(ledger))["with_indexes"])
    indexed = {row["table"] for row in rows}
    return frozenset(each.name for each in projections if indexed.isdisjoint(each.tables))


async def index(connection: asyncpg.Connection, ledger: str, projection: Projection) -> None:
    """Make the indexes of a projection."""
    await connection.execute(fill(projection.indexes_sql, schema=ledger_schema(ledger)), timeout=INDEXING_SECONDS_MAX)


async def index_late(connection: asyncpg.Connection, ledger: str, projection: Projection) -> bool:
    """Make the indexes of a projection, unless it has them, in a transaction of its own: what was cut short is as if it
    had not begun. False: another process makes indexes of this ledger."""
    async with connection.transaction():
        if not await connection.fetchval(_statements["lock_indexing"], ledger):
            return False
        if await without_indexes(connection, ledger, [projection]):
            await index(connection, ledger, projection)
    return True
