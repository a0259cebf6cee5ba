"""Writes the log of a made-up company as the ledger would have: through the code of the edge, in the bytes that it
stores, under the lock of the head row. Only the rules of acts are not asked (a test holds that they would agree), and
the clock is the company's.
"""

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from itertools import islice
from uuid import UUID

import asyncpg

from benchmarks.company import Recorded
from schemas.codec import close_record, open_record, read_event
from schemas.envelope import Sent, stream_uuid
from services.archive.lines import EventRow, KeyRow
from services.postgres import ledger_schema
from services.sealing import MasterKey, seal
from services.statements import fill

PAGE_EVENTS = 10_000

_AUTHID = "benchmark"


class LoadingError(Exception):
    """The log cannot be written; the text says why."""


async def load(
    connection: asyncpg.Connection,
    ledger: str,
    master: MasterKey,
    log: Iterable[Recorded],
    progress: Callable[[int], None],
) -> int:
    """Write a log into an empty ledger, a commit a page. `progress` is told of every page how many events it had.

    Gives the bytes stored of all events. Raises LoadingError if the ledger is not empty, or the edge refuses an event.
    """
    schema = ledger_schema(ledger)
    if await connection.fetchval(fill("SELECT EXISTS (SELECT FROM {schema}.stored_events)", schema=schema)):
        raise LoadingError(f"the ledger {ledger} is not empty")
    events = stored_rows(log, master)
    stored = 0
    while page := [*islice(events, PAGE_EVENTS)]:
        rows = [row for row, _ in page]
        keys = [key for _, key in page if key is not None]
        stored += sum(len(row.state) for row in rows)
        async with connection.transaction():
            await connection.execute(fill("SELECT FROM {schema}.log_head FOR UPDATE", schema=schema))
            await connection.copy_records_to_table(
                "stored_events", schema_name=schema, columns=EventRow._fields, records=rows
            )
            await connection.copy_records_to_table("sealing_keys", schema_name=schema, records=keys)
        progress(len(page))
    return stored


def stored_rows(log: Iterable[Recorded], master: MasterKey) -> Iterator[tuple[EventRow, KeyRow | None]]:
    """The row of each event, and that of its key if its texts are sealed. Raises LoadingError."""
    versions: dict[str, tuple[UUID, int]] = {}
    for position, recorded in enumerate(log, 1):
        yield _stored(recorded, position, versions, master)


def _stored(
    recorded: Recorded, position: int, versions: dict[str, tuple[UUID, int]], master: MasterKey
) -> tuple[EventRow, KeyRow | None]:
    """The row of an event, and that of its key if its texts are sealed. Raises LoadingError."""
    sent = read_event(recorded.event, now=recorded.time)
    if not isinstance(sent, Sent):
        raise LoadingError(f"the edge refuses the event at position {position}: {sent[0].message}")
    stream, version = versions.get(sent.subject) or (stream_uuid(sent.subject), 0)
    version += 1
    versions[sent.subject] = stream, version
    data, content, key = seal(sent, master)
    state = close_record(
        open_record(sent, data, _AUTHID, "service"),
        timed=sent.time is not None,
        recordedtime=recorded.time,
        position=position,
        version=version,
    )
    row = EventRow(
        *(stream, version, sent.type, state, position, sent.event_uuid, sent.subject, sent.source, recorded.time),
        *(key is not None, content, sha256(b"\x00" + state).digest()),
    )
    return row, None if key is None else KeyRow(position, key.event_id, key.person, key.master, key.wrapped)
