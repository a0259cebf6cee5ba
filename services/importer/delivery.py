"""Batches of events go to the ledger, and each event is answered for: recorded, recorded before, or refused.

A request is one unit for the ledger: if one event is refused, none is recorded. The refused ones are taken out and
the rest is posted again. What is not answered is posted again too: an event that is there is not recorded twice.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from msgspec import Struct

from services.importer.rows import Origin

BATCH_BYTES_MAX = 4 * 1024 * 1024
ANSWER_SECONDS_MAX = 60
FIRST_SECONDS_MAX = 10  # Nobody is there: more often a wrong address than a start that takes long.
SILENCE_SECONDS_MAX = 120  # Between two answers, once there has been one.
PAUSE_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)  # Before the next attempt; the last one repeats.
RETRY_AFTER_SECONDS_MAX = 60.0

_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_REFUSED = {400, 409, 412, 413, 422}


class DeliveryFailed(Exception):
    """The ledger cannot be reached, or takes nothing from us; the text says what to do."""


class Entry(Struct, frozen=True):
    """An event, ready to be posted, and where it comes from."""

    origin: Origin
    row: Any
    id: str
    type: str
    body: bytes
    """The event as JSON (structured mode)."""
    retracts: str | None = None
    """The id of the event that it retracts. Its position and subject are put in just before it is posted."""


class Outcome(Struct, frozen=True):
    """What became of a batch. `refused` holds the ledger's reason for each."""

    recorded: int
    known: int
    """How many had been recorded before."""
    refused: list[tuple[Entry, str]]


class Named(Struct, frozen=True):
    """An event that is in the ledger."""

    position: int
    subject: str


class Delivery:
    """Posts to one ledger. `url` is that of the service; `say` is told what the operator should know meanwhile."""

    def __init__(self, url: str, ledger: str, key: str, say: Callable[[str], None]) -> None:
        self._url = f"{url.rstrip('/')}/v1/ledgers/{quote(ledger, safe='')}/events"
        self._key = key
        self._say = say
        self._answered = False

    async def __aenter__(self) -> "Delivery":
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._key}", "Accept": "application/json"},
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def record(self, batch: Sequence[Entry]) -> Outcome:
        """Record a batch, as far as the ledger takes it. Raises DeliveryFailed."""
        recorded = known = 0
        refused: list[tuple[Entry, str]] = []
        waiting = [list(batch)] if batch else []
        while waiting:
            part = waiting.pop()
            status, answer = await self._post(part)
            if status in (200, 201):
                duplicates = _duplicates(part, answer, self._url)
                known += duplicates
                recorded += len(part) - duplicates
                continue
            reasons = _reasons(part, answer)
            if not reasons and len(part) == 1:
                reasons = {0: _detail(status, answer)}
            if reasons:
                refused += [(part[index], reason) for index, reason in sorted(reasons.items())]
                rest = [entry for index, entry in enumerate(part) if index not in reasons]
                waiting += [rest] if rest else []
            else:
                # Something is wrong with the whole (it may be too large): the halves will tell.
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
        return Outcome(recorded, known, refused)

    async def find(self, source: str, id: str) -> Named | None:
        """Where an event stands; None if it is not there. Raises DeliveryFailed."""
        status, answer = await self._answer("GET", params={"source": source, "id": id})
        events = answer.get("events") if isinstance(answer, dict) else None
        if status != 200 or not isinstance(events, list):
            raise DeliveryFailed(f"{self._url} does not tell where {id} stands: {_detail(status, answer)}")
        return next((Named(int(event["sequence"]), str(event["subject"])) for event in events), None)

    async def _post(self, part: list[Entry]) -> tuple[int, Any]:
        return await self._answer("POST", body=b"[" + b",".join(entry.body for entry in part) + b"]")

    async def _answer(
        self, method: str, *, body: bytes | None = None, params: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """The answer to one request, which is sent until there is one. Raises DeliveryFailed."""
        patience = SILENCE_SECONDS_MAX if self._answered else FIRST_SECONDS_MAX
        deadline = time.monotonic() + patience
        attempt = 0
        while True:
            pause = PAUSE_SECONDS[min(attempt, len(PAUSE_SECONDS) - 1)]
            try:
                status, text, retry_after = await self._request(method, body, params)
                answer = _decoded(text)
                reason = _detail(status, answer)
                pause = retry_after or pause
            except aiohttp.ClientConnectorError as error:
                why = os.strerror(error.errno) if error.errno else str(error.os_error)
                status, answer, reason = 0, None, f"no connection to {error.host}:{error.port} ({why})"
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError) as error:
                status, answer, reason = 0, None, f"no answer ({str(error) or type(error).__name__})"
            except (aiohttp.InvalidURL, ValueError) as error:
                raise DeliveryFailed(f"{self._url} cannot be posted to: {error}") from error
            if status and status not in _AGAIN:
                self._answered = True
                if status not in (200, 201) and status not in _REFUSED:
                    raise DeliveryFailed(f"{self._url}: {reason}{_advice(status)}")
                return status, answer
            if time.monotonic() + pause > deadline:
                raise DeliveryFailed(
                    f"{self._url}: {reason}, for {patience} s. Is the ledger running (`make run`, or `ledger run`)? "
                    "Once it is, run this again: nothing is recorded twice."
                )
            if attempt == 0:
                self._say(f"Waiting for the ledger: {reason}")
            attempt += 1
            await asyncio.sleep(pause)

    async def _request(
        self, method: str, body: bytes | None, params: dict[str, str] | None
    ) -> tuple[int, bytes, float | None]:
        headers = {} if body is None else {"Content-Type": "application/cloudevents-batch+json"}
        async with self._session.request(
            method, self._url, data=body, params=params, headers=headers, allow_redirects=False
        ) as answer:
            return answer.status, await answer.read(), _seconds(answer.headers.get("Retry-After"))


def _duplicates(part: list[Entry], answer: Any, url: str) -> int:
    """How many of a batch had been recorded before, after a look whether the answer is about this batch."""
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or [result.get("id") for result in results] != [entry.id for entry in part]:
        raise DeliveryFailed(f"{url} answers, but not as a ledger does; is it one, and not older than this program?")
    return sum(bool(result.get("duplicate")) for result in results)


def _reasons(part: list[Entry], answer: Any) -> dict[int, str]:
    """Why each refused event of a batch was refused."""
    errors = answer.get("errors") if isinstance(answer, dict) else None
    reasons: dict[int, list[str]] = {}
    for error in errors if isinstance(errors, list) else []:
        index = error.get("index")
        if isinstance(index, int) and 0 <= index < len(part):
            pointer = error.get("pointer")
            reasons.setdefault(index, []).append((f"{pointer}: " if pointer else "") + str(error.get("message")))
    return {index: "; ".join(dict.fromkeys(texts)) for index, texts in reasons.items()}


def _detail(status: int, answer: Any) -> str:
    problem = answer if isinstance(answer, dict) else {}
    texts = [str(problem[name]) for name in ("title", "detail") if problem.get(name)]
    return ": ".join([f"status {status}", *texts])


def _advice(status: int) -> str:
    match status:
        case 401:
            return ". Name the file of a valid key with --key-file, or set LEDGER_KEY."
        case 403:
            return ". The key must be granted the scopes, the source and the teams of these events."
        case 404:
            return ". Make the ledger first (PUT /v1/ledgers/NAME), or name another with --ledger."
        case _:
            return "."


def _decoded(text: bytes) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _seconds(retry_after: str | None) -> float | None:
    """How long a Retry-After asks us to wait, in seconds; it names seconds or a date."""
    if retry_after is None:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.05), RETRY_AFTER_SECONDS_MAX)
