"""The sequencer: one task a ledger that commits waiting requests in batches. Group commit.

While one batch is on its way to disk, requests gather for the next. Several processes may run a sequencer for one
ledger: the head row of the log orders them.
"""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from uuid import UUID

import asyncpg
import structlog
from msgspec import Struct
from prometheus_client import Counter, Histogram

from schemas.events import Event
from services.ledger import rules
from services.ledger.aggregates import Aggregates, Versioned
from services.ledger.history import Doubt, History
from services.ledger.log import EventLog
from services.ledger.questions import Questions
from services.ledger.queue import Queue
from services.ledger.sequence import (
    Entry,
    Log,
    Outcome,
    Request,
    acts,
    erased,
    moves,
    names,
    reads,
    sequence,
    stream_uuids,
)
from services.postgres import UNAVAILABLE, Unavailable
from services.sealing import MasterKeyError, MasterKeyOutOfUse, MasterKeys

BATCH_EVENTS_MAX = 2_000
GATHER_SECONDS_MAX = 0.02  # However many come: who waits to be recorded is not kept longer.
TURN_SECONDS_MAX = 0.25  # Between two turns while a batch is held up: whom the log need not be asked about is answered.
QUIET_TURNS = 3  # Of the event loop. A request that has arrived takes two until it waits to be recorded.
NOTIFY_SECONDS_MIN = 0.05  # Each is a transaction, and a page of its own for whoever follows.

_log = structlog.get_logger()
_recorded = Counter("ledger_events_recorded_total", "Events recorded by this service since it was started.", ["ledger"])
_batch_events = Histogram(
    "ledger_batch_events", "Events in a committed batch.", ["ledger"], buckets=(1, 2, 5, 10, 20, 50, 100, 500, 2_000)
)


class _Waiting(Struct, frozen=True):
    request: Request
    answer: "asyncio.Future[Outcome]"


class Sequencer:
    """Commits requests to one log. Entering starts it; leaving commits what waits, then stops.

    Its queue and what it keeps of aggregates are owned by its one task; `submit` only appends.
    """

    def __init__(
        self, log: EventLog, *, teams: frozenset[str], master: MasterKeys, queue: Queue, history: History | None = None
    ) -> None:
        self._events = log
        self._questions = Questions(log.name)
        self._history = history
        self._teams = teams
        self._master = master
        self._queue = queue
        self._waiting: deque[_Waiting] = deque()
        self._coming = 0
        self._turn = asyncio.Event()
        self._wake = asyncio.Event()
        self._stopping = False
        self._kept = Aggregates()
        self._committed = asyncio.Condition()
        self.position = 0
        """The last position that this process has committed."""

    async def __aenter__(self) -> "Sequencer":
        self._task = asyncio.create_task(self._run(), name=f"sequencer {self._events.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._wake.set()
        await self._task

    async def turn(self) -> None:
        """Wait until the next batch is gathered; where the one before is held up, turns are given every
        TURN_SECONDS_MAX. Who submits right after that comes along in it, even if the ledger is being stopped.

        What all of them do in between is done one right after the other, and so costs less than among whatever else a
        request takes: its code and its data are in the processor's caches. Raises Overloaded and Unavailable.
        """
        if self._stopping:
            raise Unavailable("the ledger is stopping")
        self._queue.hold(1)
        try:
            self._coming += 1
            self._wake.set()
            await self._turn.wait()
        finally:
            self._queue.let_go(1)

    async def submit(self, request: Request) -> Outcome:
        """Record a request, whole or not at all. When this returns results, they are on disk.

        Raises Overloaded, Doubt and MasterKeyError before anything was done, and Unavailable when it is not known
        whether it was recorded: the same request again is answered either way.
        """
        self._queue.hold(len(request.events))
        try:
            if self._task.done():
                raise Unavailable("the ledger has stopped")
            waiting = _Waiting(request, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            self._wake.set()
            return await waiting.answer
        finally:
            self._queue.let_go(len(request.events))

    async def beyond(self, position: int) -> int:
        """Wait until this process has committed something above `position`; the last position it has."""
        async with self._committed:
            await self._committed.wait_for(lambda: self.position > position)
            return self.position

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._arrived:
                await self._gather()
                if self._waiting:
                    with self._turns_given():
                        await self._commit(self._next_batch())
            if self._stopping:
                return

    @property
    def _arrived(self) -> int:
        return len(self._waiting) + self._coming

    async def _gather(self) -> None:
        """Let those who are on their way come along, until the event loop brings nobody new. Who has just been answered
        asks again at once; without them every other batch would be of a few events, and cost as much as the one
        before."""
        quiet, until = 0, asyncio.get_running_loop().time() + GATHER_SECONDS_MAX
        while quiet < QUIET_TURNS and asyncio.get_running_loop().time() < until:
            before = self._arrived
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._arrived == before else 0
        if self._coming:
            self._give_turns()
            await asyncio.sleep(0)  # They go on first, and then wait to be recorded, unless they are refused.

    @contextmanager
    def _turns_given(self) -> Iterator[None]:
        """Give turns now and then, while a batch is on its way: it may be held up."""

        def give() -> None:
            self._give_turns()
            wait()

        def wait() -> None:
            self._next_turn = asyncio.get_running_loop().call_later(TURN_SECONDS_MAX, give)

        wait()
        try:
            yield
        finally:
            self._next_turn.cancel()

    def _give_turns(self) -> None:
        self._coming = 0
        self._turn.set()
        self._turn.clear()

    def _next_batch(self) -> list[_Waiting]:
        batch = [self._waiting.popleft()]
        events = len(batch[0].request.events)
        while self._waiting and events + len(self._waiting[0].request.events) <= BATCH_EVENTS_MAX:
            batch.append(self._waiting.popleft())
            events += len(batch[-1].request.events)
        return batch

    async def _commit(self, batch: Sequence[_Waiting]) -> None:
        is_apart = False
        try:
            outcomes = await self._record([waiting.request for waiting in batch])
        except (Unavailable, Doubt) as error:
            _log.warning("batch_not_committed", ledger=self._events.name, requests=len(batch), reason=str(error))
            self._fail(batch, error)
        except Exception as error:
            if isinstance(error, MasterKeyError):
                _log.warning("batch_not_committed", ledger=self._events.name, requests=len(batch), reason=str(error))
            else:
                _log.exception("batch_failed", ledger=self._events.name, requests=len(batch))
            if isinstance(error, MasterKeyOutOfUse):
                self._look_for_a_newer_key()
            self._kept.clear()
            if len(batch) == 1:
                self._fail(batch, error)
            is_apart = len(batch) > 1
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                if not waiting.answer.done():  # The client may have gone away; its events are recorded all the same.
                    waiting.answer.set_result(outcome)
        # Not while the error is handled, which would be the context of all that is raised here.
        for waiting in batch if is_apart else ():  # One cannot be sequenced; the others have nothing to do with it.
            await self._commit([waiting])

    def _look_for_a_newer_key(self) -> None:
        try:
            self._master.look_again()
        except MasterKeyError as error:
            _log.error("master_key_not_read", reason=str(error), next="trying again with what is recorded next")

    def _fail(self, batch: Sequence[_Waiting], error: Exception) -> None:
        # What was kept of the aggregates may be ahead of the log now, or behind it.
        self._kept.clear()
        for waiting in batch:
            if not waiting.answer.done():
                waiting.answer.set_exception(error)

    async def _record(self, requests: Sequence[Request]) -> list[Outcome]:
        decided = acts(requests)
        read = reads(decided)
        uuids = stream_uuids(requests, read)
        streams = {subject: uuids[subject] for subject in read}
        # Those of accounts and requirements grow for ever, so the log is asked what rules want to know of them.
        accounts, requirements = (_of_kind(kind, streams) for kind in ("account", "requirement"))
        asked = accounts.keys() | requirements.keys()
        replayed = {subject: uuid for subject, uuid in streams.items() if subject not in asked}
        ahead = {subject: kept for subject in replayed if (kept := self._kept.used(subject)) is not None}
        if unknown := {subject: uuid for subject, uuid in replayed.items() if subject not in ahead}:
            ahead |= await self._aggregates(unknown, None)

        async with self._events.locked() as connection:
            events = {prepared.event_uuid for request in requests for prepared in request.events}
            head = await self._events.head(connection, uuids, events)
            if self._history is not None:
                self._history.goes_on_from(head.position)
            known = await self._events.known(connection, head.recorded, self._master)
            versions = head.versions
            for subject, (version, _) in ahead.items():
                if version > versions.get(subject, 0):  # The log is shorter than it was: a restore, or a fail-over.
                    self._kept.drop(subject)
            # What was known ahead of the lock counts only if the stream has not moved since.
            moved = [subject for subject, (version, _) in ahead.items() if version != versions.get(subject, 0)]
            now = ahead
            if moved:
                now = ahead | await self._aggregates({subject: replayed[subject] for subject in moved}, connection)
            named = await self._questions.named(connection, names(decided))
            sequenced = sequence(
                requests,
                Log(
                    position=head.position,
                    recordedtime=head.recordedtime,
                    known=known,
                    versions=versions,
                    streams={
                        **{subject: aggregate for subject, (_, aggregate) in now.items()},
                        **await self._questions.accounts(connection, accounts),
                        **await self._questions.requirements(connection, requirements, versions, named, moves(decided)),
                    },
                    teams=self._teams,
                    named=named,
                    persons=await self._questions.persons(connection, erased(decided)),
                ),
            )
            if sequenced.entries:
                await self._events.append(connection, sequenced.entries, head.recordedtime)
        # Committed.

        self._keep_up(sequenced.entries)
        if sequenced.entries:
            if self._history is not None:
                self._history.reached(sequenced.entries[-1].position)
            _recorded.labels(self._events.name).inc(len(sequenced.entries))
            _batch_events.labels(self._events.name).observe(len(sequenced.entries))
            async with self._committed:
                self.position = sequenced.entries[-1].position
                self._committed.notify_all()
        return sequenced.outcomes

    def _keep_up(self, entries: Sequence[Entry]) -> None:
        """Fold what was recorded into the aggregates that are kept, so that it need not be read."""
        for entry in entries:
            sent = entry.prepared.sent
            kept = self._kept.get(sent.subject)
            if kept is not None and kept.version + 1 == entry.version:
                self._kept.keep(sent.subject, _after(sent.subject, entry.version, entry.position, sent.event, kept))

    async def _aggregates(
        self, streams: Mapping[str, UUID], connection: asyncpg.Connection | None
    ) -> dict[str, Versioned]:
        """Version and aggregate of each stream, as the log has it now; what was read before is not read again."""
        found = {subject: self._kept.get(subject) or Versioned(0, rules.initial(subject)) for subject in streams}
        subjects = {uuid: subject for subject, uuid in streams.items()}
        after = {uuid: found[subject].version for uuid, subject in subjects.items()}
        async for uuid, recorded in self._events.streams(after, connection):
            subject = subjects[uuid]
            found[subject] = _after(subject, recorded.version, recorded.position, recorded.event, found[subject])
        for subject, versioned in found.items():
            self._kept.keep(subject, versioned)
        return found


def _of_kind(kind: str, streams: Mapping[str, UUID]) -> dict[str, UUID]:
    return {subject: uuid for subject, uuid in streams.items() if subject.startswith(f"{kind}/")}


def _after(subject: str, version: int, position: int, event: Event, before: Versioned) -> Versioned:
    return Versioned(version, rules.replay(subject, [(position, event)], before.aggregate))


async def notify(sequencer: Sequencer, pool: asyncpg.Pool, ledger: str) -> None:
    """Wake those who tail this ledger, after each commit, coalesced. A wake-up is a hint: a lost one costs a poll."""
    told = 0
    while True:
        told = await sequencer.beyond(told)
        try:
            await pool.execute("SELECT pg_notify('ledger_events', $1)", ledger)
        except (*UNAVAILABLE, asyncpg.PostgresError) as error:
            _log.debug("wake_up_not_sent", ledger=ledger, reason=type(error).__name__)
        await asyncio.sleep(NOTIFY_SECONDS_MIN)
