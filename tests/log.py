"""Appends CloudEvents to a log as the ledger does, under the lock of the head row, without the ledger service."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import asyncpg

from schemas.codec import close_record, open_record, read_event
from schemas.envelope import Sent, stream_uuid
from schemas.events import PersonErased, TextRedacted
from services.archive.lines import EventRow
from services.postgres import connect, ledger_schema
from services.sealing import MasterKeys, seal
from services.statements import quote
from tests.conftest import Database

_ids = itertools.count(1)

OFFICER = {"role": "data protection officer", "team": "executive"}


def event(
    type: str, /, *, id: str | None = None, source: str = "urn:test", time: str | None = None, **data: Any
) -> Any:
    """A CloudEvent (JSON format) of a type named in short, as `ask.recorded`. Without an id it gets a fresh one."""
    if type == "source.reconciled":
        data["source"] = source  # What an emitter counts is its own.
    envelope = {"specversion": "1.0", "id": id or f"e-{next(_ids)}", "source": source, "data": data}
    return envelope | {"type": f"ledger.{type}.v1"} | ({"time": time} if time else {})


def redacted(position: int, subject: str, **more: Any) -> Any:
    """The act by which the sealed texts of the event at a position are gone."""
    return event("text.redacted", position=position, subject=subject, reason="They name somebody.", by=OFFICER, **more)


def erased(person: str, **more: Any) -> Any:
    """The act by which all that is sealed about a person is gone."""
    return event("person.erased", person=person, reason="They asked for it.", by=OFFICER, **more)


class Log:
    """The log of one ledger, written through a connection of its own."""

    def __init__(self, connection: asyncpg.Connection, ledger: str, master: MasterKeys) -> None:
        self.connection = connection
        self.ledger = ledger
        self._schema = quote(ledger_schema(ledger))
        self._master = master

    @classmethod
    @asynccontextmanager
    async def open(cls, database: Database, ledger: str = "main") -> AsyncIterator["Log"]:
        connection = await connect(database.writer)
        try:
            yield cls(connection, ledger, MasterKeys.load_or_make(database.settings.master_key))
        finally:
            await connection.close()

    async def append(
        self, *events: Any, recordedtime: datetime | None = None, notify: bool = True, authid: str = "test"
    ) -> list[int]:
        """Record these CloudEvents in one commit, by the key `authid`, and give their positions.

        Rules of acts are not asked, and an id that was recorded before is refused by the database.
        """
        sent = list(_read(events, recordedtime or datetime.now(UTC)))
        async with self.connection.transaction():
            await self.lock()
            positions = await self.insert(sent, recordedtime, authid)
        if notify:
            await self.connection.execute("SELECT pg_notify('ledger_events', $1)", self.ledger)
        return positions

    async def lock(self) -> None:
        """Take the head row: from here to the end of the transaction nobody else gives positions."""
        await self.connection.execute(f"SELECT FROM {self._schema}.log_head FOR UPDATE")

    async def insert(
        self, sent: Sequence[Sent], recordedtime: datetime | None = None, authid: str = "test"
    ) -> list[int]:
        """Insert at the next positions. The caller holds the lock."""
        head, last, clock = await self.connection.fetchrow(
            "SELECT coalesce(max(notification_id), 0), max(recorded_at), clock_timestamp()"
            f" FROM {self._schema}.stored_events"
        )
        now = recordedtime or max(clock, last + timedelta(microseconds=1) if last else clock)
        streams = [stream_uuid(each.subject) for each in sent]
        versions = {
            row[0]: row[1]
            for row in await self.connection.fetch(
                f"SELECT originator_id, max(originator_version) FROM {self._schema}.stored_events"
                " WHERE originator_id = ANY($1) GROUP BY 1",
                list(set(streams)),
            )
        }
        rows, keys = [], []
        for position, (each, stream) in enumerate(zip(sent, streams, strict=True), head + 1):
            version = versions[stream] = versions.get(stream, 0) + 1
            data, content, key = seal(each, self._master.newest)
            state = close_record(
                open_record(each, data, authid, "service"),
                timed=each.time is not None,
                recordedtime=now,
                position=position,
                version=version,
            )
            leaf = sha256(b"\x00" + state).digest()
            row = (stream, version, each.type, state, position, each.event_uuid)
            rows.append(EventRow(*row, each.subject, each.source, now, key is not None, content, leaf))
            if key is not None:
                keys.append((position, key.event_id, key.person, key.master, key.wrapped))
        schema = ledger_schema(self.ledger)
        await self.connection.copy_records_to_table(
            "stored_events", schema_name=schema, columns=EventRow._fields, records=rows
        )
        await self.connection.copy_records_to_table("sealing_keys", schema_name=schema, records=keys)
        for row, each in zip(rows, sent, strict=True):
            match each.event:
                case PersonErased(person=person):
                    gone = f"DELETE FROM {self._schema}.sealing_keys WHERE person = $1 AND position < $2"
                    await self.connection.execute(gone, person, row.notification_id)
                case TextRedacted(position=named):
                    await self.connection.execute(f"DELETE FROM {self._schema}.sealing_keys WHERE position = $1", named)
        return [row.notification_id for row in rows]


async def append_by_force(
    database: Database, *events: Any, mend: Callable[[bytes], bytes], topic: str | None = None
) -> None:
    """Append as somebody who is beyond the ledger's checks: stored bytes that are changed on their way in."""
    async with Log.open(database) as log:
        await log.append(*events, notify=False)
    owner = await connect(database.superuser)
    async with owner.transaction():
        await owner.execute("SET LOCAL session_replication_role = replica")
        await owner.execute("ALTER TABLE ledger_main.stored_events DISABLE TRIGGER ALL")
        position, state = await owner.fetchrow(
            "SELECT notification_id, state FROM ledger_main.stored_events ORDER BY notification_id DESC LIMIT 1"
        )
        await owner.execute(
            "UPDATE ledger_main.stored_events SET state = $2, topic = coalesce($3, topic) WHERE notification_id = $1",
            position, mend(state), topic,
        )  # fmt: skip
        await owner.execute("ALTER TABLE ledger_main.stored_events ENABLE ALWAYS TRIGGER stored_events_are_append_only")
        await owner.execute("ALTER TABLE ledger_main.stored_events ENABLE ALWAYS TRIGGER stored_events_leave_no_gap")
    await owner.close()


def read(*events: Any) -> list[Sent]:
    """These CloudEvents as the edge reads them. An event that it refuses fails the test."""
    return list(_read(events, datetime.now(UTC)))


def _read(events: Sequence[Any], now: datetime) -> Iterator[Sent]:
    for index, each in enumerate(events):
        match read_event(each, now=now, index=index):
            case Sent() as sent:
                yield sent
            case refusals:
                raise AssertionError(f"refused: {refusals}")
