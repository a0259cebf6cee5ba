"""The ledger over HTTP: events go out in one unit, and come back recorded, or as an error that says why not.

    async with Ledger("http://127.0.0.1:8080", key, source="/crm") as ledger:
        recorded = await ledger.record(AskRecorded(requirement="SSO-42", account="acme", importance=3))

Whatever is sent again is sent with the same id and the same bytes, so that it is recorded once.
"""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec
from msgspec import Struct

from ledger_client.draft import CloudEvent, Draft, write
from ledger_client.errors import (
    Conflict,
    Forbidden,
    Judged,
    NoSuchLedger,
    Refused,
    Spot,
    Unauthorized,
    Unavailable,
    told,
)
from ledger_client.ids import Key
from ledger_client.retries import AGAIN, Retries, asked_seconds, pause_seconds
from schemas.codec import BATCH_EVENTS_MAX
from schemas.events import Event

BATCH_BYTES_MAX = 16 * 1024 * 1024

_BATCH = "application/cloudevents-batch+json"
_JUDGED: Mapping[int, type[Judged]] = {
    400: Refused,
    403: Forbidden,
    409: Conflict,
    412: Conflict,
    413: Refused,
    415: Refused,
    422: Refused,
}
_HALVED = frozenset({400, 409, 413, 422})

_log = logging.getLogger("ledger_client")


class Recorded(Struct, frozen=True, kw_only=True):
    """Where an event stands in the log. `duplicate`: it was recorded before, and this is its first position."""

    id: str
    source: str
    position: int
    stream: str
    version: int
    recordedtime: datetime
    duplicate: bool


Outcome = Recorded | Judged
"""What became of one event: recorded, or the reason why not."""

Pause = Callable[[float, str], Awaitable[None]]
"""Waits so many seconds before the next attempt, for that reason; or raises, where there is to be none."""


class _Answer(Struct, frozen=True):
    status: int
    document: Any
    """The answer's JSON; None if it is none."""
    retry_after: str | None


class Ledger:
    """A ledger to send events to. Used as an asynchronous context manager; many tasks may share one.

    `url`: that of the service. `key`: an API key, or the path of a file with one, which is read again for each request
    so that keys can be rotated. `source`: who emits, a URI reference as `/crm`; needed for typed events.
    """

    def __init__(
        self,
        url: str,
        key: str | Path,
        *,
        source: str | None = None,
        ledger: str = "main",
        retries: Retries | None = None,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{url!r} is not the URL of a ledger, as http://127.0.0.1:8080")
        self.name = ledger
        self.source = source
        self.retried = 0
        """How many requests were sent again."""
        self._url = f"{url.rstrip('/')}/v1/ledgers/{quote(ledger, safe='')}/events"
        self._key = key
        self._retries = retries or Retries()
        self._clock = clock
        self._random = random
        self._now = now
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Ledger":
        self._session = aiohttp.ClientSession(headers={"Accept": "application/json"})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def record(
        self,
        event: Event,
        *,
        key: Key | None = None,
        id: str | None = None,
        time: datetime | None = None,
        expected_version: int | None = None,
        attributes: Mapping[str, str | int | bool] | None = None,
        dry_run: bool = False,
    ) -> Recorded:
        """Record one event; what `key`, `id`, `time` and the rest mean, `Draft` says.

        Raises Refused, Conflict, Forbidden, Unauthorized, NoSuchLedger, Unavailable; ValueError for a call that cannot
        be meant. If the call is cancelled, the event may or may not be recorded; recorded again under the same id, it
        is there once. `dry_run`: everything but the recording.
        """
        draft = Draft(event, key, id, time, expected_version, attributes or {})
        return (await self.post([self.write(draft)], dry_run=dry_run))[0]

    async def record_all(
        self, drafts: Sequence[Event | Draft], *, lenient: bool = False, dry_run: bool = False
    ) -> list[Outcome]:
        """Record several events, in this order. They are one unit: all are recorded, or an error is raised and none is.

        A unit has at most 1,000 events and 16 MiB. `lenient`: each event by itself, in as many requests as it takes;
        what is refused stands in the result at its place, as an error that is not raised.
        """
        if not lenient:
            values = [self.write(_draft(each), index) for index, each in enumerate(drafts)]
            return list(await self.post(values, dry_run=dry_run))
        outcomes: list[Outcome | None] = []
        written: list[CloudEvent] = []
        for each in drafts:
            try:
                written.append(self.write(_draft(each)))
                outcomes.append(None)
            except Judged as error:
                outcomes.append(error)
        found = iter(await self.settle([msgspec.json.encode(value) for value in written], dry_run=dry_run))
        return [next(found) if outcome is None else outcome for outcome in outcomes]

    async def post(self, events: Sequence[CloudEvent], *, dry_run: bool = False) -> list[Recorded]:
        """Record raw CloudEvents (JSON format, decoded) as one unit; the ledger judges them. Raises what `record`
        raises. An event without a source has that of this `Ledger`. The id is the event's own: it makes retries safe.
        """
        bodies = [msgspec.json.encode({"source": self.source, **event} if self.source else event) for event in events]
        if len(bodies) > BATCH_EVENTS_MAX or _size(bodies) > BATCH_BYTES_MAX:
            raise ValueError(
                f"{len(bodies)} events of {_size(bodies)} bytes are more than one unit ({BATCH_EVENTS_MAX} events, "
                f"{BATCH_BYTES_MAX} bytes). Send them in parts, or with `record_all(..., lenient=True)`."
            )
        return await self._unit(bodies, dry_run=dry_run) if bodies else []

    async def settle(
        self,
        bodies: Sequence[bytes],
        *,
        strict_order: bool = False,
        dry_run: bool = False,
        pause: Pause | None = None,
    ) -> list[Outcome]:
        """What becomes of each of these CloudEvents (JSON), each by itself: the refused ones are taken out, and the
        rest is sent again in its order. `strict_order`: nothing after the first refused one is sent, and the result
        ends with it. Raises Unauthorized, NoSuchLedger, Unavailable, and Forbidden if it is about the key and not about
        an event; then any of them may or may not be recorded. `pause`: what to do between attempts, if not only wait.
        """
        outcomes: dict[int, Outcome] = {}
        waiting = parts(bodies)[::-1]
        while waiting:
            part = waiting.pop()
            try:
                recorded = await self._unit([bodies[place] for place in part], dry_run=dry_run, pause=pause)
                outcomes.update(zip(part, recorded, strict=True))
                continue
            except Judged as error:
                apart = _apart(error, len(part))
                if not apart and error.status not in _HALVED:
                    raise
            outcomes.update({part[index]: reason for index, reason in apart.items()})
            if not apart:
                # Something is wrong with the whole (it may be too large): the halves will tell.
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
            elif strict_order:
                waiting = [part[: min(apart)]] if min(apart) else []
            elif rest := [place for index, place in enumerate(part) if index not in apart]:
                waiting.append(rest)
        return _until_refused(bodies, outcomes) if strict_order else [outcomes[place] for place in range(len(bodies))]

    def write(self, draft: Draft, index: int = 0, *, now: datetime | None = None) -> CloudEvent:
        """The CloudEvent that a draft is, from this source. Raises Refused with all that speaks against it. `now`: what
        a time is ahead of; by default the clock's."""
        if self.source is None:
            raise ValueError('a typed event needs a source: Ledger(url, key, source="/crm")')
        return write(draft, self.source, now=now or self._now(), index=index)

    async def _unit(self, bodies: Sequence[bytes], *, dry_run: bool, pause: Pause | None = None) -> list[Recorded]:
        answer = await self._answer(b"[" + b",".join(bodies) + b"]", dry_run=dry_run, pause=pause or _sleep)
        if answer.status not in (200, 201):
            raise self._error(answer)
        try:
            results = msgspec.convert(answer.document["results"], list[Recorded])
            if [each.id for each in results] == [msgspec.json.decode(body)["id"] for body in bodies]:
                return results
        except (KeyError, TypeError, msgspec.ValidationError):
            pass
        raise NoSuchLedger(
            f"{self._url} answers {answer.status}, but not as a ledger does. Is it one, no older than this client?",
            status=answer.status,
        )

    async def _answer(self, body: bytes, *, dry_run: bool, pause: Pause) -> _Answer:
        """The first answer that is not `later`. Raises Unavailable at the deadline, Unauthorized without a key."""
        deadline = self._clock() + self._retries.deadline_seconds
        attempt = 0
        while True:
            asked: float | None = None
            status = 0
            try:
                answer = await self._ask(body, dry_run, max(deadline - self._clock(), 0.001))
                if answer.status not in AGAIN:
                    return answer
                status = answer.status
                asked = asked_seconds(answer.retry_after, self._now())
                reason = _detail(answer)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                reason = f"no answer ({str(error) or type(error).__name__})"
            seconds = pause_seconds(self._retries, attempt, asked, self._random)
            attempt += 1
            if self._clock() + seconds > deadline:
                raise Unavailable(
                    f"{self._url}: {reason}, after {attempt} attempts. Sending the same again is safe.", status=status
                )
            _log.info("waiting %.1f s for the ledger, attempt %d: %s", seconds, attempt, reason)
            await pause(seconds, f"{self._url}: {reason}")
            self.retried += 1

    async def _ask(self, body: bytes, dry_run: bool, seconds: float) -> _Answer:
        if self._session is None:
            raise RuntimeError("a Ledger is used inside `async with`")
        async with self._session.post(
            self._url,
            params={"dry_run": "1"} if dry_run else None,
            data=body,
            headers={"Content-Type": _BATCH, "Authorization": f"Bearer {await self._secret()}"},
            timeout=aiohttp.ClientTimeout(total=min(seconds, self._retries.attempt_seconds_max)),
            allow_redirects=False,
        ) as answer:
            return _Answer(answer.status, _decoded(await answer.read()), answer.headers.get("Retry-After"))

    async def _secret(self) -> str:
        if isinstance(self._key, str):
            key, where = self._key.strip(), "the key that was given"
        else:
            try:
                key = (await asyncio.to_thread(self._key.read_text)).strip()
            except (OSError, UnicodeDecodeError) as error:
                raise Unauthorized(f"the file of the key, {self._key}, cannot be read: {error}") from error
            where = f"the file {self._key}"
        # A header takes one line; while keys are rotated, somebody may have written the old and the new one.
        if not key or not key.isprintable():
            raise Unauthorized(f"{where} does not hold one key in one line. Put the one that is valid there, alone")
        return key

    def _error(self, answer: _Answer) -> Judged | NoSuchLedger | Unauthorized:
        """The error that an answer is which takes nothing."""
        problem = answer.document if isinstance(answer.document, dict) else {}
        ours = str(problem.get("type", "")).startswith("/problems/")
        if ours and (kind := _JUDGED.get(answer.status)) is not None:
            spots = _spots(problem)
            return kind(told(spots, _detail(answer)), errors=spots, status=answer.status, problem=problem)
        if answer.status == 413:
            # Something on the way takes less than the ledger does.
            return Refused(f"{self._url}: {_detail(answer)}", status=413)
        if answer.status == 401:
            return Unauthorized(f"{self._url}: {_detail(answer)}", status=401, problem=problem)
        return NoSuchLedger(
            f"{self._url}: {_detail(answer)}. Is that the URL of the ledger service, and does it have `{self.name}`?",
            status=answer.status,
            problem=problem,
        )


def parts(bodies: Sequence[bytes]) -> list[list[int]]:
    """The places of events, in order, in as many parts as units can hold."""
    found: list[list[int]] = []
    room = 0
    for place, body in enumerate(bodies):
        size = len(body) + 1
        if not found or len(found[-1]) == BATCH_EVENTS_MAX or size > room:
            found.append([])
            room = BATCH_BYTES_MAX - 2
        found[-1].append(place)
        room -= size
    return found


def _draft(each: Event | Draft) -> Draft:
    return each if isinstance(each, Draft) else Draft(each)


def _size(bodies: Sequence[bytes]) -> int:
    """The bytes of a request with these events."""
    return sum(len(body) + 1 for body in bodies) + 1


def _apart(error: Judged, count: int) -> dict[int, Judged]:
    """The reason for each event that a refused unit of `count` names; for the only one, all of it."""
    if count == 1 and (error.errors or error.status in _HALVED):
        return {0: error}
    spots: dict[int, list[Spot]] = {}
    for spot in error.errors:
        if 0 <= spot.index < count:
            spots.setdefault(spot.index, []).append(spot)
    return {index: _of_one(error, own) for index, own in sorted(spots.items())}


def _until_refused(bodies: Sequence[bytes], outcomes: Mapping[int, Outcome]) -> list[Outcome]:
    """The outcomes of events from the first up to the first refused one."""
    found: list[Outcome] = []
    for place in range(len(bodies)):
        found.append(outcomes[place])
        if isinstance(outcomes[place], Judged):
            break
    return found


def _of_one(error: Judged, spots: list[Spot]) -> Judged:
    """The part of a unit's error that is about one event, as if it had been sent alone."""
    alone = [msgspec.structs.replace(spot, index=0) for spot in spots]
    kind = _KINDS.get(alone[0].type, type(error))
    problem = {
        "type": alone[0].type or error.problem.get("type"),
        "status": error.status,
        "detail": alone[0].message,
        "errors": msgspec.to_builtins(alone),
    }
    if alone[0].current_version is not None:
        problem["current_version"] = alone[0].current_version
    return kind(told(alone, str(error)), errors=alone, status=error.status, problem=problem)


_KINDS: Mapping[str, type[Judged]] = {
    "/problems/id-conflict": Conflict,
    "/problems/version-conflict": Conflict,
    "/problems/precondition-failed": Conflict,
    "/problems/source-not-granted": Forbidden,
    "/problems/scope-missing": Forbidden,
    "/problems/team-not-granted": Forbidden,
    "/problems/not-a-cloudevent": Refused,
    "/problems/too-large": Refused,
    "/problems/unknown-type": Refused,
    "/problems/invalid-event": Refused,
    "/problems/time-in-future": Refused,
    "/problems/rule-not-met": Refused,
}
"""A unit has the status of its first reason; each of its events may have another."""


def _spots(problem: Mapping[str, Any]) -> list[Spot]:
    try:
        return msgspec.convert(problem.get("errors", []), list[Spot])
    except msgspec.ValidationError:
        return []


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


async def _sleep(seconds: float, reason: str) -> None:
    await asyncio.sleep(seconds)


def _detail(answer: _Answer) -> str:
    problem = answer.document if isinstance(answer.document, dict) else {}
    texts = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    return ": ".join([f"status {answer.status}", *texts])
