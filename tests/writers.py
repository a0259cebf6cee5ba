"""The ledger's own way to the log, sequencer and all, without HTTP: as many writers as a test wants."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from schemas.codec import open_record
from schemas.envelope import Refusal, Sent, stream_uuid
from services.ledger.log import EventLog
from services.ledger.queue import Queue
from services.ledger.sequence import Outcome, Prepared, Request, Result
from services.ledger.sequencer import Sequencer
from services.migrate import TEAMS
from services.postgres import open_pool
from services.sealing import MasterKeys, seal
from tests.conftest import Database
from tests.log import read

CONNECTIONS_MAX = 3


class Writer:
    """One sequencer with a pool of its own, as one process of the ledger has."""

    def __init__(self, log: EventLog, sequencer: Sequencer, pool: asyncpg.Pool, master: MasterKeys) -> None:
        self.log = log
        self.sequencer = sequencer
        self.pool = pool
        self._master = master

    async def submit(self, *events: Any, judge_only: bool = False) -> Outcome:
        """Post these CloudEvents as one request."""
        prepared = [_prepare(sent, self._master) for sent in read(*events)]
        return await self.sequencer.submit(Request(events=prepared, judge_only=judge_only))

    async def record(self, *events: Any) -> list[int]:
        """Post these CloudEvents as one request, which must be recorded. Their positions."""
        outcome = await self.submit(*events)
        assert all(isinstance(each, Result) for each in outcome), outcome
        return [each.position for each in outcome if isinstance(each, Result)]


@asynccontextmanager
async def writer(
    database: Database, ledger: str = "main", *, log: type[EventLog] = EventLog, url: str | None = None
) -> AsyncIterator[Writer]:
    """A writer of a ledger, through `url` if its connections are to go another way."""
    master = MasterKeys.load_or_make(database.settings.master_key)
    queue = Queue(events_max=100_000, bytes_max=2**30)
    pool = await open_pool(url or database.writer, connections_max=CONNECTIONS_MAX)
    try:
        events = log(pool, ledger)
        async with Sequencer(events, teams=frozenset(TEAMS), master=master, queue=queue) as sequencer:
            yield Writer(events, sequencer, pool, master)
    finally:
        pool.terminate()


def refused(outcome: Outcome) -> list[str]:
    """The problems of an outcome; empty if it was recorded."""
    return [each.problem for each in outcome if isinstance(each, Refusal)]


def _prepare(sent: Sent, master: MasterKeys) -> Prepared:
    data, content, sealing = seal(sent, master.newest)
    return Prepared(
        sent=sent,
        opened=open_record(sent, data, authid="test", authtype="service"),
        content=content,
        sealing=sealing,
        event_uuid=sent.event_uuid,
        stream_uuid=stream_uuid(sent.subject),
    )
