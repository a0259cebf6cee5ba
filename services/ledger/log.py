"""The log of one ledger in PostgreSQL: append under the lock of its head, and read.

`EventLog` also keeps the contract that the library `eventsourcing` has for its recorders (`insert_events`,
`select_events`, `select_notifications`, `max_notification_id`), with coroutines in place of functions.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
from asyncpg.pgproto import pgproto
from eventsourcing.persistence import IntegrityError, Notification, StoredEvent
from msgspec import Struct

from schemas.codec import decode_recorded
from schemas.envelope import STREAMS_REMEMBERED_MAX, Recorded, Sent, stream_uuid
from schemas.events import Act, PersonErased, TextRedacted
from services.ledger.sequence import Entry, Known
from services.postgres import UNAVAILABLE, Pool, Unavailable, ledger_schema, unavailable
from services.sealing import MasterKeyOutOfUse, MasterKeys, SealingKey
from services.statements import Statements

PAGE_EVENTS_MAX = 1_000
PAGE_BYTES_MAX = 4 * 1024 * 1024
NEWEST_BYTES_MAX = 1024 * 1024
POSITION_MAX = 2**63 - 1

_COLUMNS = (
    *("originator_id", "originator_version", "topic", "state", "notification_id"),
    *("event_id", "subject", "source", "recorded_at", "sealed", "content", "leaf_hash"),
)
_Row = tuple[Any, ...]

_statements = Statements.load(Path(__file__).with_name("log.sql"))


class Head(Struct, frozen=True):
    """The end of the log. `recordedtime`: the clock for what is appended next, later than all before.

    `versions`: of the streams that were asked about, those that have events; `recorded`: those of the events.
    """

    position: int
    recordedtime: datetime
    versions: Mapping[str, int]
    recorded: Sequence[UUID]


class Page(Struct, frozen=True):
    """A part of the log, in order: positions and the stored bytes. `more`: there was more than was asked for."""

    positions: list[int]
    states: list[bytes]
    more: bool = False


class Seen(Struct, frozen=True):
    """An event at the end of the log, with what a reader may ask for."""

    position: int
    state: bytes
    type: str
    stream: UUID
    source: str


class Filter(Struct, frozen=True, kw_only=True):
    """Which events of the log are meant; None: any."""

    type: str | None = None
    subject: str | None = None
    source: str | None = None

    def takes(self, event: Seen) -> bool:
        """Whether it is meant, as `page` would say."""
        return (
            (self.type is None or event.type == self.type)
            and (self.source is None or event.source == self.source)
            and (self.subject is None or event.stream == stream_uuid(self.subject))
        )


class EventLog:
    """The log of the ledger `name`, through a pool of its writers or readers. Raises Unavailable throughout."""

    def __init__(self, pool: Pool, name: str) -> None:
        self.name = name
        self._pool = pool
        self._sql = _statements.bind(schema=ledger_schema(name))

    # Appending

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[asyncpg.Connection]:
        """A transaction that holds the head of the log. It commits when the block ends, and else rolls back.

        Leaving the block without an error means that what was appended is on disk.
        """
        with unavailable():
            async with self._pool.acquire() as connection:
                try:
                    await connection.execute(self._sql["lock_head"])
                    yield connection
                except BaseException:
                    with suppress(*UNAVAILABLE):  # Where the connection is gone, so is its transaction.
                        await connection.execute("ROLLBACK")
                    raise
                # Here is the commit point. A crash after it loses the answers only: a retry is answered
                # with the first position.
                if await connection.execute("COMMIT") != "COMMIT":
                    raise Unavailable("the transaction had failed before its commit")

    async def head(
        self, connection: asyncpg.Connection, streams: Mapping[str, UUID] = {}, events: Collection[UUID] = ()
    ) -> Head:
        """The end of the log, the versions of these streams, and which of these events are recorded."""
        row = await connection.fetchrow(self._sql["head"], [*streams.values()], [*events])
        clock, last = row["clock"], row["recorded_at"]
        versions = zip(streams, row["versions"], strict=True)
        return Head(
            row["position"],
            clock if last is None else max(clock, last + timedelta(microseconds=1)),
            {subject: version for subject, version in versions if version is not None},
            row["recorded"],
        )

    async def known(
        self, connection: asyncpg.Connection, events: Sequence[UUID], master: MasterKeys
    ) -> dict[UUID, Known]:
        """Where these events were recorded."""
        if not events:
            return {}
        rows = await connection.fetch(self._sql["known"], events)
        return {row["event_id"]: _known(row, master) for row in rows}

    async def append(self, connection: asyncpg.Connection, entries: Sequence[Entry], at: datetime) -> None:
        """Insert these rows, recorded `at` this time, and destroy the keys that they say are gone. The caller holds the
        head. Raises MasterKeyOutOfUse."""
        await self._insert(connection, [_row(entry, at) for entry in entries])
        await self._keep_keys(connection, entries)
        await self._destroy(connection, entries)

    async def _keep_keys(self, connection: asyncpg.Connection, entries: Sequence[Entry]) -> None:
        kept = [(entry.position, key) for entry in entries if (key := entry.prepared.sealing) is not None]
        if not kept:
            return
        try:
            await connection.execute(
                self._sql["insert_keys"],
                [position for position, _ in kept],
                [key.event_id for _, key in kept],
                [key.person for _, key in kept],
                [key.master for _, key in kept],
                [key.wrapped for _, key in kept],
            )
        except asyncpg.RestrictViolationError as error:
            if error.constraint_name != "sealing_keys_master_in_use":
                raise
            raise MasterKeyOutOfUse(f"{error}; this service looks for the one that came in its place") from error

    async def _destroy(self, connection: asyncpg.Connection, entries: Sequence[Entry]) -> None:
        """Destroy the keys of what these entries erase: in their transaction, so that neither is there alone."""
        events = ((entry.position, entry.prepared.sent.event) for entry in entries)
        acts = [(position, event) for position, event in events if isinstance(event, Act)]
        erased = [(act.person, position) for position, act in acts if isinstance(act, PersonErased)]
        redacted = [act.position for _, act in acts if isinstance(act, TextRedacted)]
        if erased:
            persons, positions = zip(*erased, strict=True)
            await connection.execute(self._sql["destroy_keys_of_persons"], persons, positions)
        if redacted:
            await connection.execute(self._sql["destroy_keys_at"], redacted)

    async def _insert(self, connection: asyncpg.Connection, rows: Iterable["_Row"]) -> None:
        """Append these rows. The constraints and triggers of the table decide; the sequence only explains."""
        await connection.copy_records_to_table(
            "stored_events", schema_name=ledger_schema(self.name), columns=_COLUMNS, records=rows
        )

    # Reading

    async def max_position(self) -> int:
        with unavailable():
            position: int = await self._pool.fetchval(self._sql["max_position"])
        return position

    async def page(self, after: int, limit: int, wanted: Filter, *, bytes_max: int = PAGE_BYTES_MAX) -> Page:
        """At most `limit` of the wanted events above the position `after`, and those of `bytes_max` together.

        A page has at least one event if there is one.
        """
        match wanted:
            case Filter(subject=str() as subject):
                name, values = "page_of_stream", [stream_uuid(subject), wanted.type, wanted.source]
            case Filter(type=str() as type):
                name, values = "page_of_type", [type, wanted.source]
            case Filter(source=str() as source):
                name, values = "page_of_source", [source]
            case _:
                name, values = "page", []
        with unavailable():
            rows = await self._pool.fetch(self._cut(name), after, limit + 1, bytes_max, *values)
        return _page(rows)

    async def newest(self, after: int) -> tuple[list[Seen], bool]:
        """A page of events above the position `after`, and whether there are more."""
        with unavailable():
            rows = await self._pool.fetch(self._cut("newest"), after, PAGE_EVENTS_MAX + 1, NEWEST_BYTES_MAX)
        seen = [
            Seen(row["position"], row["state"], row["topic"], UUID(int=row["originator_id"].int), row["source"])
            for row in rows
        ]
        return seen, _page(rows).more

    def _cut(self, name: str) -> str:
        return self._sql["cut"].replace("{page}", self._sql[name].removesuffix(";"))

    async def by_identity(self, event: UUID) -> Page:
        """The event of this identity, if it was recorded."""
        with unavailable():
            rows = await self._pool.fetch(self._sql["by_identity"], event)
        return Page([row["position"] for row in rows], [row["state"] for row in rows])

    async def one(self, position: int) -> tuple[bytes, bytes] | None:
        """The stored bytes at a position and their leaf hash."""
        with unavailable():
            row = await self._pool.fetchrow(self._sql["one"], position)
        return None if row is None else (row["state"], row["leaf_hash"])

    async def one_with_key(self, position: int) -> tuple[bytes, SealingKey | None] | None:
        """The stored bytes at a position, and its sealing key if it has one still."""
        with unavailable():
            row = await self._pool.fetchrow(self._sql["one_with_key"], position)
        return None if row is None else (row["state"], _sealing_key(row))

    async def stream(self, subject: str, after: int, limit: int) -> tuple[Page, int]:
        """A page of a stream above the version `after`, with versions in place of positions, and its version."""
        uuid = stream_uuid(subject)
        with unavailable():
            version = await self._pool.fetchval(self._sql["stream_version"], uuid)
            rows = await self._pool.fetch(self._cut("stream_after"), after, limit + 1, PAGE_BYTES_MAX, uuid)
        page = _page(rows)
        # What was recorded between the two is shown, and so the stream is as long at least.
        return page, max([version or 0, *page.positions[-1:]])

    async def streams(
        self, after: Mapping[UUID, int], connection: asyncpg.Connection | None = None
    ) -> AsyncIterator[tuple[UUID, Recorded]]:
        """The events of these streams, of each those above a version; on `connection` if one is given."""
        left = dict(sorted(after.items()))
        while left:
            with unavailable():
                rows = await (connection or self._pool).fetch(
                    self._sql["streams_after"], [*left], [*left.values()], PAGE_EVENTS_MAX
                )
            for row in rows:
                yield row["id"], decode_recorded(row["state"])
            if len(rows) < PAGE_EVENTS_MAX:
                return
            last = rows[-1]
            left = {uuid: version for uuid, version in left.items() if uuid >= last["id"]}
            left[last["id"]] = last["version"]

    # The contract of the library's recorders

    async def insert_events(self, stored_events: Sequence[StoredEvent]) -> list[int]:
        """Append events that the library made, all or none, and return their positions.

        Raises IntegrityError if one of them is there already.
        """
        try:
            async with self.locked() as connection:
                head = await self.head(connection)
                positions = range(head.position + 1, head.position + 1 + len(stored_events))
                rows = [
                    _row_of(event, position, head.recordedtime)
                    for event, position in zip(stored_events, positions, strict=True)
                ]
                await self._insert(connection, rows)
        except asyncpg.UniqueViolationError as error:
            raise IntegrityError(error.constraint_name) from error
        return [*positions]

    async def select_events(
        self,
        originator_id: UUID,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        with unavailable():
            rows = await self._pool.fetch(
                self._sql["select_events_desc" if desc else "select_events"],
                originator_id,
                -1 if gt is None else gt,
                POSITION_MAX if lte is None else lte,
                limit,
            )
        return [
            StoredEvent(UUID(int=row["originator_id"].int), row["originator_version"], row["topic"], row["state"])
            for row in rows
        ]

    async def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> list[Notification]:
        first = 0 if start is None else start
        with unavailable():
            rows = await self._pool.fetch(
                self._sql["select_notifications"],
                first if inclusive_of_start else first + 1,
                POSITION_MAX if stop is None else stop,
                [*topics],
                limit,
            )
        return [
            Notification(
                id=row["id"],
                originator_id=UUID(int=row["originator_id"].int),
                originator_version=row["originator_version"],
                topic=row["topic"],
                state=row["state"],
            )
            for row in rows
        ]

    async def max_notification_id(self) -> int | None:
        return await self.max_position() or None


def event_id(sent: Sent) -> UUID:
    """What the identity of an event is indexed under, as PostgreSQL is told it."""
    uuid: UUID = pgproto.UUID(sent.identity)  # It is made, and sent, in a fraction of the time of Python's own.
    return uuid


@lru_cache(maxsize=STREAMS_REMEMBERED_MAX)
def stream_id(subject: str) -> UUID:
    """`stream_uuid`, as PostgreSQL is told it."""
    uuid: UUID = pgproto.UUID(stream_uuid(subject).bytes)
    return uuid


def _page(rows: Sequence[asyncpg.Record]) -> Page:
    more = bool(rows) and rows[0]["found"] > len(rows)
    return Page([row["position"] for row in rows], [row["state"] for row in rows], more)


def _row(entry: Entry, at: datetime) -> _Row:
    """The row of an event, in the order of _COLUMNS."""
    prepared, sent = entry.prepared, entry.prepared.sent
    return (
        *(prepared.stream_uuid, entry.version, sent.type, entry.state, entry.position),
        *(prepared.event_uuid, sent.subject, sent.source, at),
        *(prepared.sealing is not None, prepared.content, _leaf_hash(entry.state)),
    )


def _row_of(event: StoredEvent, position: int, recorded_at: datetime) -> _Row:
    """The row of an event that came without an envelope: its place in its stream is its identity."""
    subject = str(event.originator_id)
    return (
        *(UUID(subject), event.originator_version, event.topic, event.state, position),
        *(stream_uuid(f"{subject}/{event.originator_version}"), subject, "eventsourcing", recorded_at),
        *(False, sha256(event.state).digest(), _leaf_hash(event.state)),
    )


def _leaf_hash(state: bytes) -> bytes:
    return sha256(b"\x00" + state).digest()


def _known(row: asyncpg.Record, master: MasterKeys) -> Known:
    key = _sealing_key(row)
    return Known(
        position=row["position"],
        subject=row["subject"],
        version=row["version"],
        recordedtime=row["recorded_at"],
        content=row["content"],
        key=None if key is None else master.unwrap(key),
        erased=row["sealed"] and key is None,
    )


def _sealing_key(row: asyncpg.Record) -> SealingKey | None:
    return None if row["wrapped"] is None else SealingKey.of(row)
