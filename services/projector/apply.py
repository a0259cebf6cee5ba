"""From a page of events to rows in tables: the pure fold, and the way in."""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from msgspec import Struct

from schemas.codec import Undecodable
from schemas.upcasts import UPCASTS
from services.postgres import Unavailable
from services.projector.feed import KNOWN_TOPICS, Page
from services.projector.outage import AWAY
from services.projector.projections import Projection

REASON_CHARACTERS_MAX = 1_000

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

# What the database says when it cannot now, rather than will not.
_NOT_NOW = (
    asyncpg.TransactionRollbackError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.ObjectInUseError,
    asyncpg.LockNotAvailableError,
    asyncpg.PostgresSystemError,
)


Values = tuple[Any, ...]
"""A row: a value for each column of its table, the position that made it first."""


class Refused(Exception):
    """The database does not take a row."""


class Trouble(Struct, frozen=True):
    """The first event that cannot be applied, and why."""

    position: int
    reason: str


class Folded(Struct, frozen=True):
    """What a page comes to: the rows of the events above `after` up to `upto`, and what is in the way of the next."""

    after: int
    upto: int
    rows: Mapping[str, Sequence[Values]]
    """By table, in order; each begins with the position that made it."""
    trouble: Trouble | None

    def between(self, after: int, upto: int) -> Mapping[str, Sequence[Values]]:
        """The rows of the events above one position up to another."""
        return self.rows if after <= self.after and upto >= self.upto else _between(self.rows, after, upto)


def _between(rows: Mapping[str, Sequence[Values]], after: int, upto: int) -> dict[str, list[Values]]:
    found = {table: [each for each in values if after < each[0] <= upto] for table, values in rows.items()}
    return {table: values for table, values in found.items() if values}


def topics_of(projections: Iterable[Projection]) -> frozenset[str]:
    """The topics whose bytes these projections need. What an old topic is lifted to shows only in its bytes."""
    return frozenset(UPCASTS).union(*(projection.topics for projection in projections))


def fold_page(projection: Projection, page: Page) -> Folded:
    """Fold a page up to the first event that cannot be applied."""
    rows: defaultdict[str, list[Values]] = defaultdict(list)
    topics, fold = projection.topics, projection.fold
    for stored in page.about(topics_of([projection])):
        try:
            if stored.topic not in KNOWN_TOPICS:
                # Nobody can know whether it matters here.
                raise Undecodable(f"no such event type in this version: {stored.topic}")
            recorded = page.recorded(stored)
            if recorded.type in topics:
                for table, values in fold(recorded):
                    rows[table].append(values)
        except Exception as error:  # Whatever it is, this projection stops here and says so.
            reason = str(error) if isinstance(error, Undecodable) else f"{type(error).__name__}: {error}"
            upto = stored.position - 1
            return Folded(page.after, upto, _between(rows, page.after, upto), trouble(stored.position, reason))
    return Folded(page.after, page.last, rows, trouble(page.last + 1, page.hole) if page.hole else None)


def trouble(position: int, reason: str) -> Trouble:
    """Trouble whose reason can be stored and read."""
    text = reason.replace("\x00", "\\u0000").encode(errors="backslashreplace").decode()
    return Trouble(position, text[:REASON_CHARACTERS_MAX])


Keep = Callable[[int, int, Mapping[str, Sequence[Values]], Trouble | None], Awaitable[None]]
"""Stores the rows above one position up to another, in a transaction of its own, with the trouble behind them."""


async def apply(folded: Folded, keep: Keep) -> Trouble | None:
    """Have everything kept up to the first event whose rows the database refuses; that one is the trouble then.

    A refused part is halved until the refused event stands alone.
    """
    after, size = folded.after, folded.upto - folded.after
    while True:
        upto = min(after + size, folded.upto)
        found = folded.trouble if upto == folded.upto else None
        try:
            await keep(after, upto, folded.between(after, upto), found)
        except Refused as refused:
            if upto - after <= 1:
                found = trouble(upto, str(refused))
                await keep(after, after, {}, found)
                return found
            size = (upto - after) // 2
            continue
        if upto == folded.upto:
            return found
        after = upto


async def prepare(connection: asyncpg.Connection) -> None:
    """Have a connection write times as PostgreSQL counts them: asyncpg asks of each whether it is infinite and of which
    zone, which took half of the time of a COPY. For connections that store, since reading them gets no faster."""
    await connection.set_type_codec(
        "timestamptz", schema="pg_catalog", format="tuple", encoder=_counted, decoder=_instant
    )


def _counted(time: datetime) -> tuple[int]:
    """In microseconds since the year 2000."""
    return ((time - _EPOCH) // _MICROSECOND,)


def _instant(counted: tuple[int]) -> datetime:
    return _EPOCH + counted[0] * _MICROSECOND


async def write(connection: asyncpg.Connection, schema: str, rows: Mapping[str, Sequence[Values]]) -> None:
    """Copy rows into their tables, in the caller's transaction. Raises Refused and Unavailable."""
    try:
        for table, records in rows.items():
            await connection.copy_records_to_table(table, schema_name=schema, records=records)
    except AWAY:
        raise
    except _NOT_NOW as error:
        raise Unavailable(f"the database cannot take rows at the moment ({error})") from error
    except (asyncpg.PostgresError, ValueError, TypeError, OverflowError) as error:
        raise Refused(f"the database refuses its rows in {table}: {error.args[0]}") from error
