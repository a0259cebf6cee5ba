"""What keeps the read models of one ledger up with its log, page by page."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal

import asyncpg
import msgspec
import structlog
from msgspec import Struct
from prometheus_client import Counter, Gauge, Histogram

from services.migrate import database_user
from services.postgres import ACQUIRE_SECONDS_MAX, Unavailable, connect, ledger_schema
from services.projector.apply import Folded, Refused, Trouble, Values, apply, fold_page, topics_of, trouble, write
from services.projector.feed import Page, read_page
from services.projector.indexing import index, index_late, take_keys, without_indexes
from services.projector.leases import Leases
from services.projector.outage import AWAY, Outage
from services.projector.projections import Projection
from services.projector.rebuild import (
    RebuildBehind,
    RebuildError,
    RebuildInProgress,
    SwapPostponed,
    bring_up_to_date,
)
from services.settings import Settings, SettingsError
from services.statements import Statements, fill

POLL_SECONDS = 2.0  # Between two looks at a ledger that nobody announced anything for.
REFUSED_RETRY_SECONDS = 5.0  # After the database has refused something of a ledger.
STEP_ASIDE_SECONDS = 0.5  # After another projector has moved a cursor first.
FOLLOW_SECONDS = 0.05  # Between two looks at a ledger that another process keeps up with, while somebody waits here.
OPEN_SECONDS_MAX = 10  # For a query to wait until the read models of a ledger are there.
INDEXED_BEHIND_EVENTS_MAX = 4_000  # What is further behind gets its indexes later: to fill them as it goes costs more.
REBUILD_RETRY_SECONDS = 5.0
REBUILD_WAIT_SECONDS = 1.0  # Between two looks whether another process still is at a rebuild.
DECODED_AT_ONCE_EVENTS = 64  # Then whoever else has something to do has a turn.

Step = Literal["moved", "idle", "lost", "followed"]
"""What a look at the log came to. Lost: another projector was first. Followed: another process has the lease."""

_statements = Statements.load(Path(__file__).with_name("queries.sql"))
_log = structlog.get_logger()

_lag = Gauge(
    "projector_lag_events", "Events that are recorded and not yet applied, in events.", ["ledger", "projection"]
)
_applied = Counter("projector_events_applied", "Events that a projection has passed, in events.", ["projection"])
_stopped = Gauge("projector_stopped", "1 if a projection has stopped, else 0.", ["ledger", "projection"])
_page_seconds = Histogram(
    "projector_page_seconds",
    "Time to store one page for one projection, in seconds, and to fold it where that was not done ahead.",
    ["projection"],
)


class Stopped(Exception):
    """A projection has stopped below the position that is waited for."""

    def __init__(self, cursor: "Cursor") -> None:
        where = "" if cursor.stopped_at is None else f" before position {cursor.stopped_at}"
        super().__init__(f"{cursor.projection} stopped{where}: {cursor.reason}")
        self.cursor = cursor


class Cursor(Struct, frozen=True, kw_only=True):
    """How far a projection has got. A stopped one says why, and if an event is in its way, at which position."""

    projection: str
    position: int
    version: str
    state: Literal["live", "stopped"]
    reason: str | None
    stopped_at: int | None
    updated_at: datetime


class Shared(Struct):
    """What the runners of one process share."""

    settings: Settings
    projections: Sequence[Projection]
    outage: Outage
    pool: asyncpg.Pool
    """Connections that store, however many ledgers there are to catch up with; queries have others."""
    turns: asyncio.Semaphore
    """One for each of them."""
    rebuilds: asyncio.Semaphore
    leases: Leases


class Runner:
    """Keeps the read models of one ledger up with its log.

    Each projection has a cursor of its own. Rows and cursor are stored in one transaction, and only if the cursor
    still is where it was: so several projectors may run, and one of them applies each event.
    """

    def __init__(self, shared: Shared, ledger: str) -> None:
        self.ledger = ledger
        self.schema = ledger_schema(ledger)
        self.head = 0
        self.cursors: Mapping[str, Cursor] = {}
        self._shared = shared
        self._projections = {projection.name: projection for projection in shared.projections}
        self._topics = topics_of(shared.projections)
        self._statements = _statements.bind(schema=self.schema)
        # What this process builds anew, once, after it has opened the ledger. Until then that may be anything.
        self._rebuilding = frozenset(self._projections)
        self._unindexed: frozenset[str] = frozenset()
        self._woken = asyncio.Event()
        self._open = asyncio.Event()
        self._refused = False
        self._waiting = 0
        """How many wait here for a position."""
        self._pages: dict[int, _Folding] = {}
        """The pages that projections have to go through next, by the position that they follow."""
        self._moved = asyncio.Condition()

    # What queries ask

    def wake(self) -> None:
        """There may be something new in the log."""
        self._woken.set()

    @property
    def names(self) -> Collection[str]:
        """The projections that this version has."""
        return self._projections.keys()

    @property
    def is_opening(self) -> bool:
        """Whether the read models cannot be asked yet, and the database has not refused to make them either."""
        return not self._open.is_set() and not self._refused

    async def opened(self) -> None:
        """Wait until the read models can be asked. Raises Unavailable if that takes too long."""
        try:
            async with asyncio.timeout(OPEN_SECONDS_MAX):
                await self._open.wait()
        except TimeoutError:
            raise Unavailable(f"the read models of the ledger {self.ledger} are not there yet") from None

    async def reached(self, position: int, projections: Collection[str] | None = None) -> None:
        """Wait until these projections (None: all) have got to a position.

        Raises Stopped if one of them has stopped below it. How long to wait is the caller's to say.
        """
        names = self._projections.keys() if projections is None else projections
        self._waiting += 1
        woken = False
        try:
            async with self._moved:
                while True:
                    behind = [
                        cursor
                        for name in names
                        if (cursor := self.cursors.get(name)) is None or cursor.position < position
                    ]
                    if not behind:
                        return
                    for cursor in behind:
                        if cursor is not None and cursor.state == "stopped":
                            raise Stopped(cursor)
                    if not woken:
                        # Who waits is not kept until the ledger next says something.
                        self.wake()
                        woken = True
                    await self._moved.wait()
        finally:
            self._waiting -= 1

    async def caught_up(self) -> None:
        """Wait until each projection has come to the end of the log, as that is now, or has stopped, and this process
        has none left to index. What is built anew is not waited for: it has been caught up with."""
        head = self.head
        for name in self.cursors.keys() - self._rebuilding:
            with contextlib.suppress(Stopped):
                await self.reached(head, [name])
        async with self._moved:
            await self._moved.wait_for(lambda: not (self._is_ours() and self._unindexed))

    def seen(self, cursor: Cursor) -> Cursor:
        """A stored cursor as it is for this process: stopped, if another version has built the read model since, or
        has one that this one does not.

        This process then neither extends the read model nor answers from it. It does not build its own either:
        two versions that run would do so in turn, for ever.
        """
        ours = self._projections.get(cursor.projection)
        if cursor.state == "stopped":
            return cursor
        if ours is None:
            reason = "this version of the software has no such projection: what another has left is extended by nobody"
        elif ours.version == cursor.version or ours.name in self._rebuilding:
            return cursor
        else:
            reason = (
                f"another version of the software has built this read model ({cursor.version}, here {ours.version})."
                " Stop the older of the two projectors; if this is the newer one, restart it then"
            )
        return msgspec.structs.replace(cursor, state="stopped", reason=reason)

    # The work

    async def run(self) -> None:
        """Keep up until cancelled, whatever becomes of the database."""
        while not self._open.is_set():
            await self._attempt(self._open_ledger)
        async with asyncio.TaskGroup() as tasks:
            for name in self._rebuilding:
                tasks.create_task(self._rebuild(self._projections[name]))
            while True:
                self._woken.clear()
                match await self._attempt(self._step if self._is_ours() else self._follow):
                    case "idle":
                        await self._wait_to_be_woken()
                    case "lost":
                        await asyncio.sleep(STEP_ASIDE_SECONDS)
                    case "followed":
                        await asyncio.sleep(FOLLOW_SECONDS)
                        if not self._waiting:
                            await self._wait_to_be_woken()

    def _is_ours(self) -> bool:
        """Whether this process keeps the ledger up."""
        return self.ledger in self._shared.leases.held

    async def _wait_to_be_woken(self) -> None:
        with contextlib.suppress(TimeoutError):
            # Not wait_for, which in Python 3.11 loses a cancellation that meets a wake-up.
            async with asyncio.timeout(POLL_SECONDS):
                await self._woken.wait()

    async def _attempt(self, work: Callable[[asyncpg.Connection], Awaitable[Step]]) -> Step | None:
        """Do a piece of work on a connection. If the database cannot now, wait a while, and None."""
        shared = self._shared
        try:
            async with shared.turns, shared.pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
                done = await work(connection)
        except AWAY as error:
            await shared.outage.pause(error)
            return None
        except asyncpg.PostgresError as error:
            self._refused = True
            _log.error(
                "ledger_not_projected", ledger=self.ledger, reason=str(error), retry_seconds=REFUSED_RETRY_SECONDS
            )
            await asyncio.sleep(REFUSED_RETRY_SECONDS)
            return None
        shared.outage.over()
        return done

    async def _open_ledger(self, connection: asyncpg.Connection) -> Step:
        """Make what is missing, and let stopped projections try again."""
        async with connection.transaction():
            await connection.execute(self._statements["lock_opening"], self.ledger)
            await connection.execute(self._statements["make_cursors"])
            await connection.execute(self._statements["make_rebuilds"])
            made = set()
            for name, projection in self._projections.items():
                if await connection.fetchval(self._statements["make_cursor"], name, projection.version):
                    await connection.execute(fill(projection.tables_sql, schema=self.schema))
                    made.add(name)
            await connection.execute(self._statements["try_again"], [*self._projections])
            await self._look(connection)
            outdated = {cursor.projection for cursor in self._outdated()}
            current = [projection for name, projection in self._projections.items() if name not in outdated]
            self._unindexed = await without_indexes(connection, self.ledger, current)
            # What holds nothing yet is indexed at once; the rest would keep others from opening the ledger.
            for name in sorted(indexed := self._to_index() & made):
                await index(connection, self.ledger, self._projections[name])
            for name in sorted(made - indexed):
                await take_keys(connection, self.ledger, self._projections[name])
            await self._let_auditor_read(connection)
        self._unindexed -= indexed
        self._rebuilding = frozenset(cursor.projection for cursor in self._outdated())
        self._open.set()
        return "moved"

    def _to_index(self) -> frozenset[str]:
        """The projections that have no indexes yet and are as good as caught up, or will not go on."""
        return frozenset(
            name
            for name in self._unindexed
            if (cursor := self.cursors[name]).state == "stopped"
            or self.head - cursor.position <= INDEXED_BEHIND_EVENTS_MAX
        )

    async def _let_auditor_read(self, connection: asyncpg.Connection) -> None:
        try:
            auditor = database_user(self._shared.settings.url("auditor"))
        except SettingsError:
            return  # This service was given its own URL only.
        if auditor is None:
            return
        outdated = {cursor.projection for cursor in self._outdated()}
        current = [projection for name, projection in self._projections.items() if name not in outdated]
        for table in ["cursors", *(table for projection in current for table in projection.tables)]:
            names = {"schema": self.schema, "table": table, "auditor": auditor}
            await connection.execute(fill("GRANT SELECT ON {schema}.{table} TO {auditor}", **names))

    async def _follow(self, connection: asyncpg.Connection) -> Step:
        """See how far another process has got, which has the lease of this ledger."""
        await self._look(connection)
        return "followed"

    async def _step(self, connection: asyncpg.Connection) -> Step:
        """Bring every projection that is behind one page further."""
        await self._look(connection)
        if due := self._to_index():
            # One read model's a step: until all have them, the ledger goes on a page between.
            name = min(due)
            try:
                if not await index_late(connection, self.ledger, self._projections[name]):
                    return "lost"
            except asyncpg.UniqueViolationError as error:
                await self._stop_without_key(self._projections[name], error.args[0], connection)
                await self._look(connection)
            self._unindexed -= {name}
            await self._announce()
        behind = self._behind()
        places = {cursor.position for cursor in behind}
        self._pages = {after: page for after, page in self._pages.items() if after in places}
        if not behind:
            return "moved" if self._to_index() else "idle"
        step: Step = "moved"
        # Those that are at the same position share a page; the others do not wait for each other.
        for position, sharing in groupby(sorted(behind, key=_position), key=_position):
            folding = await self._folding(connection, position)
            projections = [self._projections[cursor.projection] for cursor in sharing]
            async with self._looking_ahead(folding.page, projections):
                if not await self._advance_together(connection, projections, folding):
                    for projection in projections:
                        try:
                            await self._advance(connection, projection, folding)
                        except _Lost:
                            step = "lost"
                await self._announce()
        if step == "moved" and not self._behind() and not self._to_index():
            # Whatever has come since has woken, or will: to look once more costs as much as a page of one event.
            self._pages = {}
            return "idle"
        return step

    async def _folding(self, connection: asyncpg.Connection, position: int) -> "_Folding":
        if position > self.head:
            hole = f"the log ends at position {self.head}, and {position} has been applied"
            return _Folding(Page(position, (), hole))
        if position not in self._pages:
            page = await read_page(connection, self._statements, position, self._topics)
            await _decode(page, self._topics)
            self._pages[position] = _Folding(page)
        return self._pages[position]

    @asynccontextmanager
    async def _looking_ahead(self, page: Page, projections: Sequence[Projection]) -> AsyncIterator[None]:
        """Where a long way is to go, read and fold the page that follows while the database stores this one."""
        if not page.events or page.hole or page.last >= self.head:
            yield
            return
        preparing = asyncio.create_task(self._prepare(page.last, projections))
        try:
            yield
            await preparing
        finally:
            preparing.cancel()

    async def _prepare(self, position: int, projections: Sequence[Projection]) -> None:
        """Read the page that follows a position and fold it, giving way to others. What cannot be read is met again
        when it is that page's turn."""
        shared = self._shared
        if shared.turns.locked():
            return  # Runners that each had a connection, and waited for a second one, would wait for ever.
        with contextlib.suppress(*AWAY, asyncpg.PostgresError):
            async with shared.turns, shared.pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
                ahead = await self._folding(connection, position)
            for projection in projections:
                ahead.fold(projection)
                await asyncio.sleep(0)

    async def _advance_together(
        self, connection: asyncpg.Connection, projections: Sequence[Projection], folding: "_Folding"
    ) -> bool:
        """Apply a page to several projections in one transaction, which costs less than one each.

        False, and nothing has changed, where one of them cannot have it whole: then each goes as far as it can.
        """
        page = folding.page
        try:
            async with connection.transaction():
                moved = await self._move(connection, projections, page.after, page.last, None)
                for projection in projections:
                    with _page_seconds.labels(projection.name).time():
                        folded = folding.fold(projection)
                        if folded.trouble is not None:
                            raise Refused(folded.trouble.reason)
                        await write(connection, self.schema, folded.between(page.after, page.last))
        except (Refused, _Lost):
            return False
        self._has_moved(moved, page.last - page.after)
        return True

    async def _advance(self, connection: asyncpg.Connection, projection: Projection, folding: "_Folding") -> None:
        """Apply a page to one projection. Raises _Lost if another projector was first."""

        async def keep(after: int, upto: int, rows: Mapping[str, Sequence[Values]], found: Trouble | None) -> None:
            async with connection.transaction():
                moved = await self._move(connection, [projection], after, upto, found)
                await write(connection, self.schema, rows)
            self._has_moved(moved, upto - after)

        with _page_seconds.labels(projection.name).time():
            found = await apply(folding.fold(projection), keep)
        if found is not None:
            self._log_stopped(projection, found)

    async def _move(
        self,
        connection: asyncpg.Connection,
        projections: Sequence[Projection],
        after: int,
        upto: int,
        found: Trouble | None,
    ) -> list[Cursor]:
        """Move cursors, in the transaction in which the caller writes what lies between. Raises _Lost."""
        names, versions = [each.name for each in projections], [each.version for each in projections]
        trouble = (found.reason, found.position) if found else (None, None)
        moved = await connection.fetch(self._statements["advance"], names, versions, after, upto, *trouble)
        if len(moved) != len(projections):
            raise _Lost
        return [_cursor(row) for row in moved]

    def _has_moved(self, moved: Sequence[Cursor], events: int) -> None:
        """What was moved has been committed."""
        self.cursors = {**self.cursors, **{cursor.projection: cursor for cursor in moved}}
        for cursor in moved:
            _applied.labels(cursor.projection).inc(events)

    async def _rebuild(self, projection: Projection) -> None:
        """Build a read model anew that was built by another version of its projection."""
        shared = self._shared
        while True:
            try:
                async with shared.rebuilds:
                    connection = await connect(shared.settings.url("projector"))
                    try:
                        await bring_up_to_date(connection, self.ledger, projection)
                    finally:
                        connection.terminate()
                break
            except RebuildInProgress:
                await asyncio.sleep(REBUILD_WAIT_SECONDS)
            except SwapPostponed:
                await asyncio.sleep(REBUILD_RETRY_SECONDS)
            except RebuildBehind as behind:
                while await self._attempt(partial(self._stop, projection, behind.trouble)) is None:
                    pass
                break
            except AWAY as error:
                await shared.outage.pause(error)
            except (RebuildError, asyncpg.PostgresError) as error:
                _log.error("rebuild_failed", ledger=self.ledger, projection=projection.name, reason=str(error))
                await asyncio.sleep(REBUILD_RETRY_SECONDS)
        self._rebuilding -= {projection.name}
        self.wake()

    async def _stop_without_key(self, projection: Projection, reason: str, connection: asyncpg.Connection) -> None:
        """Stop a projection whose rows break its key, as the key would have done, had it been there. Not if these rows
        are gone: what was swapped in meanwhile has its keys, or is another version's."""
        async with connection.transaction():
            # From here on nothing is swapped in.
            position = await connection.fetchval(self._statements["lock_cursor"], projection.name)
            version = await connection.fetchval(self._statements["built_by"], projection.name)
            if version == projection.version and await without_indexes(connection, self.ledger, [projection]):
                await self._stop(projection, trouble(position + 1, reason), connection)

    async def _stop(self, projection: Projection, found: Trouble, connection: asyncpg.Connection) -> Step:
        await connection.execute(self._statements["stop"], projection.name, found.reason, found.position)
        self._log_stopped(projection, found)
        return "moved"

    # What is known of the cursors

    async def _look(self, connection: asyncpg.Connection) -> None:
        """See how long the log is and how far each projection has got, by whomever."""
        rows = await connection.fetch(self._statements["cursors_and_head"])
        before = self.cursors
        self.head = rows[0]["head"]
        self.cursors = {row["projection"]: self.seen(_cursor(row)) for row in rows if row["projection"] is not None}
        for cursor in self._outdated():
            if cursor.state == "stopped" and (name := cursor.projection) in before and before[name].state == "live":
                _log.error("projection_stepped_back", ledger=self.ledger, projection=name, reason=cursor.reason)
        await self._announce()

    async def _announce(self) -> None:
        for name in self._projections:
            cursor = self.cursors[name]
            _lag.labels(self.ledger, name).set(self.head - cursor.position)
            _stopped.labels(self.ledger, name).set(cursor.state == "stopped")
        async with self._moved:
            self._moved.notify_all()

    def _behind(self) -> list[Cursor]:
        """The projections that have something to apply, as far as this process knows."""
        outdated = {cursor.projection for cursor in self._outdated()}
        return [
            cursor
            for name in self._projections.keys() - outdated
            if (cursor := self.cursors[name]).state == "live" and cursor.position != self.head
        ]

    def _outdated(self) -> list[Cursor]:
        """The projections whose read model was built by another version of the software."""
        return [
            self.cursors[name]
            for name, projection in self._projections.items()
            if self.cursors[name].version != projection.version
        ]

    def _log_stopped(self, projection: Projection, found: Trouble) -> None:
        _log.error(
            "projection_stopped",
            ledger=self.ledger,
            projection=projection.name,
            position=found.position,
            reason=found.reason,
        )


class _Folding(Struct, frozen=True):
    """A page, and what it comes to for the projections that have been asked about: each folds it once."""

    page: Page
    _folded: dict[str, Folded] = msgspec.field(default_factory=dict)

    def fold(self, projection: Projection) -> Folded:
        found = self._folded.get(projection.name)
        if found is None:
            found = self._folded[projection.name] = fold_page(projection, self.page)
        return found


class _Lost(Exception):
    """Another projector has moved the cursor first."""


def _cursor(row: asyncpg.Record) -> Cursor:
    return Cursor(**{field: row[field] for field in Cursor.__struct_fields__})


async def _decode(page: Page, topics: frozenset[str]) -> None:
    """Decode what projections will ask a page for, giving way to others. What cannot be decoded is met again then."""
    for number, stored in enumerate(page.events):
        if stored.topic in topics:
            page.found(stored)
        if number % DECODED_AT_ONCE_EVENTS == 0:
            await asyncio.sleep(0)


def _position(cursor: Cursor) -> int:
    return cursor.position
