"""The digest of a read model: the same for everybody who has folded the same events."""

from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any

import asyncpg

from schemas.codec import canonical
from schemas.times import format_time
from services.projector.projections import Projection
from services.statements import fill, quote

PREFETCH_ROWS = 1_000


async def digest(connection: asyncpg.Connection, schema: str, projection: Projection, position: int) -> str:
    """SHA-256, in hexadecimal, over the rows of a projection's tables that were known at a position.

    A line for each row, in the order of the tables' names and then of their keys: the canonical JSON of a list
    of the table's name and the row's values. Times are RFC 3339 in UTC with microseconds, numbers of any scale
    are texts, and texts are ordered by their bytes; so neither collation nor time zone matters. The caller has
    one snapshot (a transaction that is repeatable read).
    """
    hashed = sha256()
    for table in sorted(projection.tables):
        first, *rest = projection.tables[table]
        order = ", ".join([quote(first), *(f'{quote(column)} COLLATE "C"' for column in rest)])
        query = fill(
            f"SELECT * FROM {{schema}}.{{table}} WHERE {quote(first)} <= $1 ORDER BY {order}",  # noqa: S608
            schema=schema,
            table=table,
        )
        async for row in connection.cursor(query, position, prefetch=PREFETCH_ROWS):
            hashed.update(canonical([table, *map(plain, row)]) + b"\n")
    return hashed.hexdigest()


def plain(value: Any) -> Any:
    """A value of a row as the digest writes it."""
    match value:
        case datetime():
            return format_time(value.astimezone(UTC))
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case _:
            return value
