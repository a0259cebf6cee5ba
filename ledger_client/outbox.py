"""A durable outbox: `put` returns once an event is on disk, and a task sends what is there, in order.

    async with Ledger(url, key, source="/crm") as ledger, Outbox("crm.outbox", ledger) as outbox:
        await outbox.put(AskRecorded(requirement="SSO-42", account="acme"), key=("ticket", 4711, "asked"))

What was put is sent until the ledger has answered for it, across crashes and days. It is sent with the id that it got
when it was put, so that it is recorded once; and it is removed only after the acknowledgement.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from msgspec import Struct

from ledger_client.draft import CloudEvent, Draft
from ledger_client.errors import Forbidden, Judged, LedgerError, OutboxError, OutboxNotSent, Unavailable
from ledger_client.ids import Key
from ledger_client.ledger import Ledger, Recorded
from ledger_client.outbox_file import DEFERRED_SECONDS_MAX, Aside, Counts, OutboxFile, Waiting
from ledger_client.retries import Retries, pause_seconds
from schemas.codec import BATCH_EVENTS_MAX, canonical
from schemas.events import Event

EVENTS_MAX = 1_000_000
BYTES_MAX = 256 * 1024 * 1024
SENT_AT_ONCE_BYTES_MAX = 4 * 1024 * 1024
LOOK_SECONDS = 1.0  # What another process has put, and whether it has stopped sending, is seen by looking.
CLOSE_SECONDS_MAX = 5.0  # For the answer that is under way.
AWAY = Retries(first_seconds=0.5, pause_seconds_max=30.0)
"""The pauses between attempts while the ledger cannot be reached or takes nothing."""
DEFERRED = Retries(first_seconds=30.0, pause_seconds_max=DEFERRED_SECONDS_MAX)
"""The pauses before an event is sent again that later events, or a grant, can make acceptable."""

_Found = TypeVar("_Found")
_log = logging.getLogger("ledger_client")


class Status(Struct, frozen=True, kw_only=True):
    """How an outbox stands. `sending`: this one sends, no other process does. `trouble`: why nothing is sent now."""

    counts: Counts
    sending: bool
    trouble: str | None
    sent: int
    """Events that this one has had acknowledged; `duplicates` of them were recorded before."""
    duplicates: int


class Outbox:
    """An outbox in a file, for one ledger. Several processes may put into one file; one of them sends.

    `strict_order`: after an event that the ledger refuses nothing is sent until it is sent again, mended or dropped.
    Otherwise it stands aside, and what comes after is sent. `sending=False`: only put, another process sends.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        ledger: Ledger,
        *,
        strict_order: bool = False,
        sending: bool = True,
        max_events: int = EVENTS_MAX,
        max_bytes: int = BYTES_MAX,
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = random.random,
    ) -> None:
        self.path = Path(path)
        self._ledger = ledger
        self._strict_order = strict_order
        self._sending = sending
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._clock = clock
        self._random = random
        self._trouble: str | None = None
        self._leads = False
        self._sent = 0
        self._duplicates = 0
        self._untidy = True

    async def __aenter__(self) -> "Outbox":
        """Open the file, and begin to send. Raises OutboxDamaged, OutboxUnwritable, OutboxError."""
        # SQLite waits for the disk, and the loop must not: one thread does all of it, in order.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger-outbox")
        self._closing = asyncio.Event()
        self._news = asyncio.Event()
        self._moved = asyncio.Event()
        try:
            self._file = await self._do(
                lambda: OutboxFile.open(
                    self.path, self._ledger.name, max_events=self._max_events, max_bytes=self._max_bytes
                )
            )
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        self._task = asyncio.create_task(self._send_for_ever()) if self._sending else None
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what is under way, and close. What is not sent yet stays in the file."""
        self._closing.set()
        self._news.set()
        task = self._task
        try:
            if task is not None:
                await asyncio.wait([task], timeout=CLOSE_SECONDS_MAX)
        finally:
            if task is not None:
                task.cancel()
            await self._close_file()
        if task is not None and task.done() and not task.cancelled():
            task.result()

    async def put(
        self,
        event: Event,
        *,
        key: Key | None = None,
        id: str | None = None,
        time: datetime | None = None,
        expected_version: int | None = None,
        attributes: Mapping[str, str | int | bool] | None = None,
    ) -> str:
        """Keep one event, and send it when its turn comes. Returns its id once it is on disk.

        The same event put again, while it waits or after it was sent, is one event. Say `time`: after a day without the
        ledger, what has none is about the moment of its recording. Whether it lies ahead, the ledger judges, by its own
        clock. Raises Refused before anything is kept; OutboxFull, OutboxConflict, OutboxUnwritable. If the call is
        cancelled, the event may or may not be kept: put it again.
        """
        draft = Draft(event, key, id, time, expected_version, attributes or {})
        return (await self.put_all([draft]))[0]

    async def put_all(self, drafts: Sequence[Event | Draft]) -> list[str]:
        """Keep several events, one after the other: all of them or none. Returns their ids."""
        written = [
            self._ledger.write(each if isinstance(each, Draft) else Draft(each), index, now=_NOTHING_IS_AHEAD)
            for index, each in enumerate(drafts)
        ]
        await self.put_raw(written)
        return [str(value["id"]) for value in written]

    async def put_raw(self, events: Sequence[CloudEvent]) -> None:
        """Keep CloudEvents (JSON format, decoded) that are judged by nobody before the ledger."""
        self._look_at_the_task()
        rows = [(str(each["source"]), str(each["id"]), canonical(each)) for each in events]
        await self._do(lambda: self._file.put(rows, self._clock()))
        self._untidy = True
        self._news.set()

    async def refused(self) -> list[Aside]:
        """What the ledger has refused, in order, each with the problem document that says why."""
        return await self._do(lambda: self._file.aside())

    async def resend(self, *places: int) -> None:
        """Send again what stands aside, each at its old place: before everything that was put later. For when what
        was in the way is mended elsewhere (a grant, a rule's condition). Raises OutboxError."""
        await self._do(lambda: self._file.resend(_named(places)))
        self._news.set()

    async def mend(
        self,
        place: int,
        event: Event,
        *,
        key: Key | None = None,
        id: str | None = None,
        time: datetime | None = None,
        expected_version: int | None = None,
        attributes: Mapping[str, str | int | bool] | None = None,
    ) -> None:
        """Send this in the place of an event that stands aside. It keeps the id, unless it is given another. Raises
        OutboxError, also for one that is sent again by itself and on its way: its answer may make this needless."""
        if key is None and id is None:
            id = await self._do(lambda: self._file.id_aside(place))
        draft = Draft(event, key, id, time, expected_version, attributes or {})
        value = self._ledger.write(draft, now=_NOTHING_IS_AHEAD)
        body = canonical(value)
        await self._do(lambda: self._file.mend(place, str(value["source"]), str(value["id"]), body))
        self._news.set()

    async def drop(self, *places: int) -> None:
        """Give up what stands aside. It is not sent, and cannot be brought back. Raises OutboxError, also for one that
        is sent again by itself and on its way."""
        await self._do(lambda: self._file.drop(_named(places)))
        self._news.set()

    async def status(self) -> Status:
        return Status(
            counts=await self._do(lambda: self._file.counts()),
            sending=self._leads,
            trouble=self._trouble,
            sent=self._sent,
            duplicates=self._duplicates,
        )

    async def flush(self, seconds: float | None = None) -> Status:
        """Wait until nothing waits to be sent, here or by another process, or until nothing can be: where order is
        strict, after a refusal. Raises OutboxNotSent, a TimeoutError, after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                return await self._until_nothing_waits()
        except TimeoutError:
            status = await self.status()
            raise OutboxNotSent(
                f"{self.path}: not everything was sent in {seconds:g} s: {status.counts.waiting} wait"
                + (f", because of this: {status.trouble.rstrip('.')}" if status.trouble else "")
                + ". They stay in the file for the next attempt."
            ) from None

    async def _until_nothing_waits(self) -> Status:
        while True:
            self._moved.clear()
            self._look_at_the_task()
            status = await self.status()
            held = self._strict_order and status.counts.refused + status.counts.deferred
            if not status.counts.waiting or held:
                return status
            with suppress(TimeoutError):
                await asyncio.wait_for(self._moved.wait(), LOOK_SECONDS)

    async def _send_for_ever(self) -> None:
        failed = 0
        while not self._closing.is_set():
            self._news.clear()
            try:
                if not await self._send_next() and not await self._pause(LOOK_SECONDS):
                    await self._tidy()
            except (LedgerError, OutboxError) as error:
                self._tell(str(error))
            except Exception as error:
                # Nobody foresaw it. Events go on being put, so it is told, and sending is tried again all the same.
                if self._tell(f"an error that was not foreseen: {error!r}"):
                    _log.exception("the outbox %s could not send", self.path)
            else:
                failed, self._trouble = 0, None
                continue
            await self._pause(pause_seconds(AWAY, failed, None, self._random), wake=False)
            failed += 1

    def _tell(self, trouble: str) -> bool:
        """Say why nothing is sent. Whether that is news."""
        news = not (self._trouble or "").startswith(trouble)
        if news:
            _log.warning("the outbox %s waits: %s", self.path, trouble)
            self._trouble = trouble
            self._moved.set()
        return news

    async def _pause_between_attempts(self, seconds: float, reason: str) -> None:
        self._tell(reason)
        if await self._pause(seconds, wake=False):
            raise Unavailable(reason)

    async def _send_next(self) -> bool:
        """Send a batch, and remove what is acknowledged. False if there is nothing to do for this one."""
        self._leads = await self._do(lambda: self._file.lead())
        if not self._leads:
            return False
        batch = await self._do(
            lambda: self._file.next(
                BATCH_EVENTS_MAX, SENT_AT_ONCE_BYTES_MAX, self._clock(), strict_order=self._strict_order
            )
        )
        if not batch:
            return False
        outcomes = await self._ledger.settle(
            [each.body for each in batch], strict_order=self._strict_order, pause=self._pause_between_attempts
        )
        sent = [each.place for each, outcome in zip(batch, outcomes, strict=False) if isinstance(outcome, Recorded)]
        aside = [
            self._aside(each, outcome)
            for each, outcome in zip(batch, outcomes, strict=False)
            if isinstance(outcome, Judged)
        ]
        # Acknowledged by the ledger: only now may it go. If this is lost, the same is sent again and known there.
        await self._do(lambda: self._file.settle(sent, aside))
        self._sent += len(sent)
        self._duplicates += sum(isinstance(outcome, Recorded) and outcome.duplicate for outcome in outcomes)
        self._untidy = True
        self._trouble = None
        self._moved.set()
        return True

    def _aside(self, event: Waiting, error: Judged) -> tuple[int, str, float, int, Any]:
        """How an event stands aside. What a later event, a later hour or a grant can mend is sent again by itself."""
        later = error.retryable or isinstance(error, Forbidden) or error.problem.get("type") == _TOO_EARLY
        due_at = self._clock() + pause_seconds(DEFERRED, event.attempts, None, self._random) if later else 0.0
        _log.warning("the ledger refuses the event at place %d of %s: %s", event.place, self.path, error)
        return event.place, "deferred" if later else "refused", due_at, error.status, error.problem

    async def _pause(self, seconds: float, *, wake: bool = True) -> bool:
        """Wait so long, or until there is news; without `wake` only the end is news. Whether there was."""
        try:
            return await asyncio.wait_for((self._news if wake else self._closing).wait(), seconds)
        except TimeoutError:
            return False

    async def _tidy(self) -> None:
        """In a quiet moment, see to it that nothing of what was sent is left in the file."""
        if self._leads and self._untidy:
            await self._do(lambda: self._file.tidy())
            self._untidy = False

    async def _close_file(self) -> None:
        """Close the file. Whoever is cancelled meanwhile waits for the disk all the same, and is cancelled then."""
        closing = asyncio.wrap_future(self._thread.submit(self._file.close))
        cancelled: asyncio.CancelledError | None = None
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError as error:
                cancelled = error
        self._thread.shutdown(wait=False)
        if cancelled is not None:
            raise cancelled
        closing.result()

    async def _do(self, work: Callable[[], _Found]) -> _Found:
        """Let the thread of the file do something. What has begun is done, even if nobody waits for it any more."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _look_at_the_task(self) -> None:
        """Sending goes on for as long as the outbox is open; if it has ended, that is told here."""
        if self._task is not None and self._task.done() and not self._closing.is_set():
            self._task.result()


_TOO_EARLY = "/problems/time-in-future"
_NOTHING_IS_AHEAD = datetime(9999, 1, 1, tzinfo=UTC)
"""The clock by which an outbox judges times: one that is behind must not lose what has just happened."""


def _named(places: Sequence[int]) -> Sequence[int]:
    if not places:
        raise ValueError("name the places; `refused()` lists them")
    return places
