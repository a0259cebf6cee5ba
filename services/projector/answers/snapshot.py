"""One position in one snapshot: what every answer is computed from.

Without `as_of` the position is the lowest cursor of the projections that the answer reads.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import msgspec
from msgspec import Struct

from schemas.times import format_time
from services.postgres import ACQUIRE_SECONDS_MAX, Pool, Unavailable, ledger_schema, unavailable
from services.problems import Problem
from services.projector.counting.counted import Counted
from services.projector.projections import ALL
from services.projector.runner import Cursor, Runner, Stopped
from services.projector.shapes.shown import AsOf
from services.statements import Statements, fill, quote

BOUND_STATEMENTS_MAX = 20_000


POLL_SECONDS = 0.02


_OF_RETRACTIONS = {
    re.compile(r"\{stands (\w+)\}"): r"NOT EXISTS (SELECT FROM {schema}.retractions AS retraction"
    r" WHERE retraction.retracted = \1.position AND retraction.position <= $1)",
    re.compile(r"\{until (\w+)\}"): r"(SELECT retraction.position FROM {schema}.retractions AS retraction"
    r" WHERE retraction.retracted = \1.position)",
}


_statements = Statements.load(Path(__file__).with_suffix(".sql"))


_tables = {projection.name: tuple(projection.tables) for projection in ALL}

_built = [*_tables]
_first_tables = [tables[0] for tables in _tables.values()]


class Wanted(Struct, frozen=True, kw_only=True):
    """What was asked for: a position or a time; a position that it must have reached; how long to wait, in seconds.
    `beside`: another position, of which to see when it was recorded."""

    as_of: int | datetime | None = None
    at_least: int | None = None
    timeout_seconds: float = 5.0
    beside: int = 0


class State(Struct, frozen=True, kw_only=True):
    """How far the projections of a ledger have got, and its log, at one moment. `built`: of each projection, the number
    of its first table: one that was built anew has another. `recorded_at`: of the position that was looked at, which is
    the one that all have come to, if none was named. `beside_at`: of the one that was looked at beside."""

    cursors: list[Cursor]
    built: dict[str, int | None]
    head: int
    looked_at: int
    recorded_at: datetime | None
    beside_at: datetime | None


class Settled(NamedTuple):
    """Where something is read. `versions`: of the projections, and the numbers of what they have built. `reached`: how
    far all of them have got."""

    position: int
    versions: tuple[str, ...]
    reached: int


class Basis(Struct, frozen=True):
    """What an answer, or a part of it, was read from. `now`: when the position was recorded."""

    reads: tuple[str, ...]
    wanted: Wanted
    position: int
    versions: tuple[str, ...]
    now: datetime | None

    def is_settled_in(self, state: State) -> bool:
        """Whether who asks for this now is answered at the same position, from the same read models."""
        try:
            settled = settle(state, self.reads, self.wanted)
        except Problem:
            return False
        return not isinstance(settled, int) and settled[:2] == (self.position, self.versions)


class Snapshot:
    """A read-only transaction in which `position` has been settled. `now` is its recorded time."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        ledger: str,
        position: int,
        now: datetime | None,
        versions: tuple[str, ...],
        reached: int,
        beside: tuple[int, datetime | None] = (0, None),
    ) -> None:
        self.ledger = ledger
        self.position = position
        self.now = now
        self.versions = versions
        """The projections that are read, each with its version and the number of what it has built."""
        self.reached = reached
        """How far all of them have got: never below `position`."""
        self.beside = beside
        """Another position, and when that was recorded; None if there is none."""
        self.held: Counted | None = None
        """What is held of the ledger in memory, at least up to `position`, where some of it may be taken from there."""
        self.connection = connection
        """For what brings statements of its own."""

    @property
    def as_of(self) -> AsOf:
        return AsOf(self.position, None if self.now is None else format_time(self.now))

    def at(self, position: int) -> "Snapshot":
        """The same as known at another position, which all that is read has got to. When that was recorded is not
        looked up."""
        return Snapshot(self.connection, self.ledger, position, None, self.versions, self.reached)

    def basis(self, reads: Sequence[str], wanted: Wanted) -> Basis:
        """What is read from this snapshot, as what was wanted of it leads to."""
        if isinstance(wanted.as_of, datetime):  # The last position recorded by a time stays that once it is certain.
            wanted = msgspec.structs.replace(wanted, as_of=self.position)
        return Basis(tuple(reads), wanted, self.position, self.versions, self.now)

    async def fetch(self, statements: Statements, name: str, *values: Any) -> list[asyncpg.Record]:
        """The rows of a named statement, in this ledger."""
        rows: list[asyncpg.Record] = await self.connection.fetch(bound(statements[name], self.ledger), *values)
        return rows

    async def recorded_at(self, position: int) -> datetime | None:
        """When a position was recorded; None if there is none."""
        found: datetime | None = await self.connection.fetchval(
            bound(_statements["recorded_at"], self.ledger), position
        )
        return found


@asynccontextmanager
async def open_snapshot(
    pool: asyncpg.Pool, runner: Runner, reads: Sequence[str], wanted: Wanted, is_read: bool = True
) -> AsyncIterator[Snapshot]:
    """A snapshot of the projections that are named in `reads`, once they have got as far as is wanted.

    Who waits for a position holds no connection. Where nothing is read but where it is (`is_read`), it is found in one
    statement, and there is no transaction.
    Raises Problem (beyond the head, a projection that has stopped, not there yet) and Unavailable.
    """
    ledger = runner.ledger
    clock = asyncio.get_running_loop()
    deadline = clock.time() + wanted.timeout_seconds
    if isinstance(wanted.as_of, datetime):
        with unavailable():
            wanted = msgspec.structs.replace(wanted, as_of=await _position_at(pool, ledger, wanted.as_of, deadline))
    if wanted.as_of is None and wanted.at_least is not None:
        # What is known here not to be there yet need not be looked for.
        await _wait(runner, wanted.at_least, reads, deadline)
    as_of = wanted.as_of
    assert not isinstance(as_of, datetime)  # It was turned into a position.
    while True:
        with unavailable(), _being_replaced():
            opened = _reading(pool, ledger, reads) if is_read else pool.acquire(timeout=ACQUIRE_SECONDS_MAX)
            async with opened as connection:
                state = await _look(connection, runner, as_of, wanted.beside)
                settled = settle(state, reads, wanted)
                if isinstance(settled, Settled):
                    now = await _recorded_at(connection, ledger, settled.position, state)
                    beside = wanted.beside, state.beside_at
                    yield Snapshot(connection, ledger, settled.position, now, settled.versions, settled.reached, beside)
                    return
        if clock.time() >= deadline:
            raise Problem("not-there-yet", f"the read models have not reached {settled} yet")
        await _wait(runner, settled, reads, deadline)


async def _wait(runner: Runner, position: int, reads: Sequence[str], deadline: float) -> None:
    """Wait until these projections have got to a position, have stopped, or the time is over: a look says which."""
    with contextlib.suppress(TimeoutError, Stopped):
        async with asyncio.timeout_at(deadline):
            await runner.reached(position, reads)


async def read_head(connection: asyncpg.Connection, ledger: str) -> tuple[int, datetime | None]:
    """The last position of the log and when it was recorded; (0, None) if it is empty."""
    row = await connection.fetchrow(bound(_statements["head"], ledger))
    return (0, None) if row is None else (row["position"], row["recorded_at"])


@lru_cache(maxsize=BOUND_STATEMENTS_MAX)
def bound(statement: str, ledger: str) -> str:
    """The statement with the schema of this ledger filled in, and what it asks about retractions.

    `{stands said}`: the row `said` has not been retracted by the position $1. `{until said}`: the position of its
    retraction, or null. What is read so reads the projection `retractions` too.
    """
    for asked, condition in _OF_RETRACTIONS.items():
        statement = asked.sub(condition, statement)
    return fill(statement, schema=ledger_schema(ledger))


@asynccontextmanager
async def _reading(pool: asyncpg.Pool, ledger: str, reads: Sequence[str]) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that sees the log and the tables of these projections as they were at one moment.

    The tables are locked before the snapshot is taken: a rebuilt table that is swapped in afterwards would look
    empty to it, and so the swap waits.
    """
    schema = quote(ledger_schema(ledger))
    tables = ", ".join(f"{schema}.{table}" for name in reads for table in _tables[name])
    async with (
        pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        if tables:
            await connection.execute(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
        yield connection


async def still_hold(pool: Pool, runner: Runner, bases: Sequence[Basis]) -> bool:
    """Whether an answer with these bases would be read from the same now. Raises Unavailable.

    A log that was restored to less and has gone on has another time at the position, which all bases share with the
    first: what else is read for an answer is read as of there.
    """
    first = bases[0]
    with unavailable():
        async with pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
            state = await _look(connection, runner, first.position)
    return state.recorded_at == first.now and all(basis.is_settled_in(state) for basis in bases)


async def _look(connection: asyncpg.Connection, runner: Runner, position: int | None = None, beside: int = 0) -> State:
    """`position`, `beside`: of which to see when they were recorded."""
    rows = await connection.fetch(bound(_statements["state"], runner.ledger), _built, _first_tables, position, beside)
    return State(
        cursors=[runner.seen(Cursor(**{name: row[name] for name in Cursor.__struct_fields__})) for row in rows],
        built={row["projection"]: row["built"] for row in rows},
        head=rows[0]["head"],
        looked_at=min(row["position"] for row in rows) if position is None else position,
        recorded_at=rows[0]["recorded_at"],
        beside_at=rows[0]["beside_at"],
    )


def settle(state: State, reads: Sequence[str], wanted: Wanted) -> Settled | int:
    """Where it is answered from what these projections have built, or the position that is to be waited for.

    Raises Problem.
    """
    cursors = [cursor for cursor in state.cursors if cursor.projection in reads]
    lowest = min(cursor.position for cursor in cursors)
    versions = tuple(f"{cursor.projection} {cursor.version} {state.built[cursor.projection]}" for cursor in cursors)
    position, head = wanted.as_of, state.head
    assert not isinstance(position, datetime)  # A time was turned into a position before.
    if position is not None and position > head:
        raise Problem("beyond-the-head", f"{position} is beyond the head of the log, which is {head}", head=head)
    if position is not None and wanted.at_least is not None and position < wanted.at_least:
        detail = f"`as_of` is position {position}, before `at_least` {wanted.at_least}"
        raise Problem("bad-parameter", detail, parameter="at_least")
    least = wanted.at_least if position is None else position

    for cursor in cursors:
        stepped_back = cursor.state == "stopped" and cursor.stopped_at is None
        if stepped_back or (
            cursor.state == "stopped" and (least is None or position is None or cursor.position < least)
        ):
            where = "" if cursor.stopped_at is None else f" at position {cursor.stopped_at}"
            raise Problem(
                "projection-stopped",
                f"the projection {cursor.projection} has stopped{where}: {cursor.reason}",
                projection=cursor.projection,
                position=cursor.position,
            )
    if least is not None and lowest < least:
        return least
    return Settled(lowest if position is None else position, versions, lowest)


async def _recorded_at(connection: asyncpg.Connection, ledger: str, position: int, state: State) -> datetime | None:
    if position in (0, state.looked_at):
        return state.recorded_at if position else None
    at: datetime = await connection.fetchval(bound(_statements["recorded_at"], ledger), position)
    return at


async def _position_at(pool: asyncpg.Pool, ledger: str, time: datetime, deadline: float) -> int:
    """The last position recorded by a time, once it is certain.

    What lies before the head is certain. Behind it, an event that commits later may have been recorded by then, if
    its transaction is recording in this ledger already: such are waited for. Raises Problem where the time has not
    come yet, or the wait is over.
    """
    pending: set[str] | None = None
    while True:
        async with pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
            _, head_recorded_at = await read_head(connection, ledger)
            if head_recorded_at is None or head_recorded_at < time:
                row = await connection.fetchrow(bound(_statements["under_way"], ledger))
                if time > row["clock"]:
                    raise Problem("beyond-the-head", f"{format_time(time)} has not come yet")
                pending = {*row["recording"]} if pending is None else pending & {*row["recording"]}
            if not pending or (head_recorded_at is not None and head_recorded_at >= time):
                # Read after nobody was seen recording: whoever was done by then is visible now.
                return int(await connection.fetchval(bound(_statements["position_at"], ledger), time))
        if asyncio.get_running_loop().time() >= deadline:
            raise Problem("not-there-yet", f"what was recorded by {format_time(time)} is not certain yet")
        await asyncio.sleep(POLL_SECONDS)


@contextlib.contextmanager
def _being_replaced() -> Iterator[None]:
    """Another version of the software has built, or is building, the tables that are read."""
    try:
        yield
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.InvalidCachedStatementError) as error:
        raise Unavailable(f"a read model is being built anew ({error})") from error
