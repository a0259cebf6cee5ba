"""The digest of a read model as its tables have it; running_digest.py says what it is."""

from collections.abc import AsyncIterator, Sequence

import asyncpg

from services.projector.projections import Projection, Row
from services.projector.running_digest import RunningDigest
from services.statements import fill, quote

ROWS_AT_ONCE = 250  # Then whoever else has something to do has a turn.


async def digest(connection: asyncpg.Connection, schema: str, projection: Projection, position: int) -> str:
    """SHA-256, in hexadecimal, of the rows of a projection's tables that were known at a position.

    The caller has one snapshot (a transaction that is repeatable read).
    """
    running = RunningDigest(projection.tables)
    await read_on(connection, schema, projection, running, 0, position)
    return running.hexdigest()


async def read_on(
    connection: asyncpg.Connection, schema: str, projection: Projection, running: RunningDigest, after: int, upto: int
) -> None:
    """Extend a digest that has all rows up to the position `after` by those up to another.

    The caller has one snapshot, as for `digest`. What is raised on the way leaves the digest of no use.
    """
    for table, (first, *_) in projection.tables.items():
        position = quote(first)
        query = fill(
            f"SELECT {position} AS made_by, * FROM {{schema}}.{{table}}"  # noqa: S608
            f" WHERE {position} > $1 AND {position} <= $2 ORDER BY {position}",
            schema=schema,
            table=table,
        )
        async for rows in _whole_positions(connection.cursor(query, after, upto, prefetch=ROWS_AT_ONCE), table):
            running.extend(rows)


async def _whole_positions(rows: AsyncIterator[asyncpg.Record], table: str) -> AsyncIterator[Sequence[tuple[int, Row]]]:
    """The rows of a table in parts; the rows of one position are in one part."""
    part: list[tuple[int, Row]] = []
    async for made_by, *values in rows:
        if len(part) >= ROWS_AT_ONCE and part[-1][0] != made_by:
            yield part
            part = []
        part.append((made_by, (table, tuple(values))))
    yield part
