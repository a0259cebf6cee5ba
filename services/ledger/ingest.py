"""Ingest: an HTTP request in one of the three CloudEvents modes becomes a request to the sequencer, or refusals."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.structs import replace
from multidict import CIMultiDictProxy

from schemas.codec import (
    BATCH_EVENTS_MAX,
    EVENT_BYTES_MAX,
    STORED_BYTES_MAX,
    MalformedJson,
    canonical,
    open_record,
    parse,
    read_event,
)
from schemas.envelope import Refusal, Sent, stream_uuid
from schemas.events import EVENT_TYPES, Act, SourceReconciled
from schemas.objections import SPOTS_TOLD_MAX
from schemas.times import format_time
from schemas.values import SOURCE_PATTERN
from services.keys import Principal, Scope
from services.ledger.ledgers import Ledger, Ledgers
from services.ledger.refusals import Refusals
from services.ledger.rules.teams import signing
from services.ledger.sequence import Outcome, Prepared, Request, Result
from services.ledger.sequencer import Overloaded
from services.ledger.shapes import shape
from services.postgres import Unavailable
from services.problems import KINDS, Problem
from services.sealing import MasterKey, seal
from services.web import REQUEST_BYTES_MAX, RETRY_AFTER_SECONDS, Answer, Call, Route, unavailable

REFUSALS_TOLD_MAX = 1_000  # Of one request; each refused event is told in any case.
JUDGED_AT_ONCE_BYTES_MAX = 64 * 1024
NAME_CHARS_MAX = 200  # Of the id and source that an answer to a refused event repeats.
TAIL_BYTES_MAX = 160  # What close_record adds to a record at most.

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
BINARY = "application/json"

_LINKS = {"get_v1_ledgers_ledger_events_position": {"position": "$response.body#/results/0/position"}}

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ESCAPED = re.compile(r"\\(.)")
_SOURCE = re.compile(SOURCE_PATTERN)
_ETAG = re.compile(r'"(0|[1-9][0-9]{0,17})"')

# The order in which an event is judged: a request that is refused for several reasons has the status of the first.
_ORDER = (
    "not-a-cloudevent", "too-large", "source-not-granted", "scope-missing", "team-not-granted", "unknown-type",
    "invalid-event", "time-in-future", "id-conflict", "version-conflict", "precondition-failed", "rule-not-met",
)  # fmt: skip


class IngestParameters(Struct, frozen=True, kw_only=True):
    dry_run: Annotated[bool, Meta(description="everything but the recording")] = False


class Results(Struct, frozen=True, kw_only=True):
    """For each event, in the order sent. With `dry_run` nothing was recorded, and they are what would have been."""

    results: list[Result]
    dry_run: bool | UnsetType = UNSET


class LenientResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one event: with status 201 (recorded) or 200 (it was before, or `dry_run`) its place in the log,
    with any other the problem."""

    status: int
    id: str | None = None
    source: str | None = None
    position: int | None = None
    stream: str | None = None
    version: int | None = None
    recordedtime: datetime | None = None
    duplicate: bool | None = None
    type: str | None = None
    title: str | None = None
    detail: str | None = None
    errors: list[dict[str, Any]] | None = None
    retryable: bool | None = None


class LenientResults(Struct, frozen=True, kw_only=True):
    """For each event, in the order sent. Those that were recorded stand in the log in that order."""

    results: list[LenientResult]


def routes(ledgers: Ledgers) -> list[Route]:
    async def post_events(call: Call) -> web.Response:
        return await _post_events(ledgers, call)

    return [
        Route(
            method="POST",
            path="/v1/ledgers/{ledger}/events",
            handler=post_events,
            summary="Record one event or a batch of them: all of the request, or none of it; of a batch with"
            " Prefer: handling=lenient each event by itself.",
            scope=("observe", "act"),
            parameters=IngestParameters,
            headers=(
                "If-Match",
                "Prefer",
                *(f"ce-{name}" for name in ("specversion", "id", "source", "type", "time", "subject")),
            ),
            takes={STRUCTURED: shape("CloudEvent"), BATCH: shape("CloudEventBatch"), BINARY: shape("EventData")},
            answers={
                201: Answer("recorded", {BINARY: Results}, ("ETag", "Location"), _LINKS),
                200: Answer("all of it was recorded before, or `dry_run`", {BINARY: Results}, ("ETag", "Location")),
                207: Answer(
                    "a batch, handled leniently: each event has a status",
                    {BINARY: LenientResults},
                    ("Preference-Applied",),
                ),
            },
            refusals=("malformed-json", *_ORDER, "no-such-ledger", "unsupported-media-type", "overloaded"),
        )
    ]


class _Judged(Struct, frozen=True):
    """The CloudEvents of a request; those that may go to the sequencer, with their places; and what is refused."""

    values: Sequence[Any]
    prepared: list[Prepared]
    places: list[int]
    refusals: list[Refusal]


async def _post_events(ledgers: Ledgers, call: Call) -> web.Response:
    ledger = await ledgers.open(call.ledger)
    with _counted_whole(ledgers.refusals, call):
        size = _size(call.request)
    try:
        # Before the body is read: what is turned away under load must cost next to nothing.
        with ledgers.queue.holding_bytes(size):
            return await _record(ledgers, ledger, call)
    except Overloaded as error:
        raise _overloaded(error) from None


async def _record(ledgers: Ledgers, ledger: Ledger, call: Call) -> web.Response:
    body = await call.request.read()
    judged_only: bool = call.parameters.dry_run

    def judge() -> tuple[int | None, _Judged]:
        values = _values(call.request, body)
        if_match = _if_match(call.request.headers, len(values))
        return if_match, _judge(values, call.principal, ledgers.master, datetime.now(UTC))

    with _counted_whole(ledgers.refusals, call):
        if call.request.content_type != BATCH and len(body) > EVENT_BYTES_MAX:
            raise _too_large(len(body))
        # A large batch takes a while to judge, and others are answered meanwhile.
        if_match, judged = await asyncio.to_thread(judge) if len(body) > JUDGED_AT_ONCE_BYTES_MAX else judge()

    each = _handled_leniently(call.request)
    # A request with a refused event records nothing, and still learns what the log has against the others.
    judge_only = judged_only or (bool(judged.refusals) and not each)
    request = Request(events=judged.prepared, judge_only=judge_only, each=each, if_match=if_match)
    if each:
        return await _record_each(ledgers, ledger, call, judged, request)

    outcome: Outcome = await ledger.sequencer.submit(request) if judged.prepared else []
    results = [each for each in outcome if isinstance(each, Result)]
    found = [replace(each, index=judged.places[each.index]) for each in outcome if isinstance(each, Refusal)]
    if refusals := judged.refusals + found:
        _count(ledgers.refusals, call, judged.values, refusals)
        raise refused(refusals)
    return _recorded(call.ledger, results, dry_run=judged_only)


async def _record_each(ledgers: Ledgers, ledger: Ledger, call: Call, judged: _Judged, request: Request) -> web.Response:
    """Record the events of a batch that may be recorded, each by itself; answer with a status for each.

    If none can be recorded at the moment, each that might have been says 503.
    """
    headers = {"Preference-Applied": "handling=lenient", "Cache-Control": "no-store"}
    refusals = [*judged.refusals]
    answers: dict[int, dict[str, Any]] = {}
    try:
        outcome: Outcome = await ledger.sequencer.submit(request) if judged.prepared else []
    except (Overloaded, Unavailable) as error:
        problem = _overloaded(error) if isinstance(error, Overloaded) else unavailable(str(error))
        headers |= problem.headers
        for place, prepared in zip(judged.places, judged.prepared, strict=True):
            answers[place] = {"id": prepared.sent.id, "source": prepared.sent.source, **problem.document()}
    else:
        refusals += [replace(one, index=judged.places[one.index]) for one in outcome if isinstance(one, Refusal)]
        results = iter(one for one in outcome if isinstance(one, Result))
        against = {refusal.index for refusal in refusals}
        for place in judged.places:
            if place not in against:
                result = next(results)
                new = not result.duplicate and not call.parameters.dry_run
                answers[place] = {"status": 201 if new else 200, **_told(result)}

    by_place: dict[int, list[Refusal]] = {}
    for refusal in refusals:
        by_place.setdefault(refusal.index, []).append(refusal)
    for place, said in by_place.items():
        answers[place] = _named(judged.values[place]) | refused(said).document()
    _count(ledgers.refusals, call, judged.values, refusals)
    body = {"results": [answers[place] for place in range(len(judged.values))]}
    return web.Response(
        body=canonical(body | ({"dry_run": True} if call.parameters.dry_run else {})),
        status=207,
        content_type=BINARY,
        headers=headers,
    )


def _handled_leniently(request: web.Request) -> bool:
    """Whether a batch is one for RFC 7240's `Prefer: handling=lenient`. What it does not know, a server passes over."""
    if request.content_type != BATCH:
        return False
    for preference in ",".join(request.headers.getall("Prefer", [])).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "handling":
            return value.strip().strip('"').lower() == "lenient"  # Of several the first counts.
    return False


def _named(value: Any) -> dict[str, str]:
    """What an event that is refused is called, as far as it says."""
    if not isinstance(value, dict):
        return {}
    names = {name: value.get(name) for name in ("id", "source")}
    return {name: text for name, text in names.items() if isinstance(text, str) and len(text) <= NAME_CHARS_MAX}


def _overloaded(error: Overloaded) -> Problem:
    return Problem("overloaded", str(error), headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


# Counting what is refused


@contextmanager
def _counted_whole(counts: Refusals, call: Call) -> Iterator[None]:
    """Count a request that is refused as a whole, before it is known what events it has."""
    try:
        yield
    except Problem as problem:
        binary = _readable({"source": call.request.headers.get("ce-source")}) or ""
        if not call.parameters.dry_run and (source := _countable(call.principal, binary)) is not None:
            counts.count(call.ledger, source, "", [(problem.name, "", problem.detail)])
        raise


def _count(counts: Refusals, call: Call, values: Sequence[Any], refusals: Sequence[Refusal]) -> None:
    """Count the events that were refused, for their sources. A dry run is a question, and so not counted."""
    if call.parameters.dry_run:
        return
    by_place: dict[int, list[tuple[str, str, str]]] = {}
    for each in refusals:
        by_place.setdefault(each.index, []).append((each.problem, each.pointer, each.message))
    for place, spots in by_place.items():
        value = values[place]
        source = _countable(call.principal, _readable(value) or "")
        if source is not None:
            type = value.get("type") if isinstance(value, dict) else None
            counts.count(call.ledger, source, type if isinstance(type, str) and type in EVENT_TYPES else "", spots)


def _readable(value: Any) -> str | None:
    """The source that an event names, if it is one."""
    source = value.get("source") if isinstance(value, dict) else None
    return source if isinstance(source, str) and _SOURCE.search(source) else None


def _countable(principal: Principal, source: str) -> str | None:
    """The source for which a refusal counts: that of a key which has one only, if the event does not say; "" for none.

    None where the key may not use the source: what others are told of themselves is not for it to write.
    """
    if not source and len(principal.sources) == 1:
        [source] = principal.sources
    return source if not source or principal.may_emit_as(source) else None


# Reading and judging a request


def _size(request: web.Request) -> int:
    """The bytes of a request's body, or the most that they can be. Raises Problem if it is not to be read at all."""
    media, charset = request.content_type, request.charset
    if media not in (STRUCTURED, BATCH, BINARY):
        raise Problem("unsupported-media-type", f"{media} is not taken here. {KINDS['unsupported-media-type'].next}")
    if charset is not None and charset.lower() not in ("utf-8", "utf8"):
        raise Problem("unsupported-media-type", f"JSON is sent in UTF-8, not in {charset[:40]}")
    most = REQUEST_BYTES_MAX if media == BATCH else EVENT_BYTES_MAX
    size = most if request.content_length is None else request.content_length
    if size > most:
        raise _too_large(size) if media != BATCH else Problem("too-large", f"a request has at most {most} bytes")
    return size


def _values(request: web.Request, body: bytes) -> Sequence[Any]:
    """The CloudEvents of a request, as JSON values. Raises Problem."""
    try:
        value = parse(body)
    except MalformedJson as error:
        raise Problem("malformed-json", str(error), errors=[_error(0, "", str(error))]) from None

    match request.content_type:
        case "application/cloudevents-batch+json":
            if not isinstance(value, list) or not value:
                raise Problem("not-a-cloudevent", "a batch is a JSON array of 1 to 1,000 CloudEvents")
            if len(value) > BATCH_EVENTS_MAX:
                raise Problem("too-large", f"a batch has at most {BATCH_EVENTS_MAX} events, and this has {len(value)}")
            return value
        case "application/cloudevents+json":
            return [value]
        case _:
            attributes = _attributes(request.headers)
            if not any(name.lower().startswith("ce-") for name in request.headers):
                raise Problem(
                    "not-a-cloudevent",
                    "application/json is the body of a CloudEvent in binary mode: its attributes are ce-* headers."
                    f" A whole CloudEvent is sent as {STRUCTURED}",
                )
            return [{**attributes, "data": value}]


def _judge(values: Sequence[Any], principal: Principal, master: MasterKey, now: datetime) -> _Judged:
    prepared: list[Prepared] = []
    places: list[int] = []
    refusals: list[Refusal] = []
    for index, value in enumerate(values):
        # Every event that is refused is told; of each so many spots that the answer stays within bounds.
        spots_max = max(1, min(SPOTS_TOLD_MAX, REFUSALS_TOLD_MAX - len(refusals)))
        ready = _ready(value, principal, master, now, index, spots_max)
        if isinstance(ready, Prepared):
            prepared.append(ready)
            places.append(index)
        else:
            refusals.extend(ready)
    return _Judged(values, prepared, places, refusals)


def _attributes(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    """The attributes of a CloudEvent in binary mode (CloudEvents HTTP binding 1.0, 3.1.3). Raises Problem."""
    attributes: dict[str, str] = {}
    for header, value in headers.items():
        name = header.lower()
        if not name.startswith("ce-"):
            continue
        name = name.removeprefix("ce-")
        if name in attributes:
            raise Problem("not-a-cloudevent", f"the header {header} is given twice")
        if name == "data":
            raise Problem("not-a-cloudevent", "`data` is the body, not a header")
        try:
            attributes[name] = unquote_to_bytes(_unquoted(value).encode("utf-8", "surrogateescape")).decode()
        except UnicodeDecodeError:
            message = "a header holds UTF-8, percent-encoded"
            raise Problem("not-a-cloudevent", message, errors=[_error(0, f"/{name}", message)]) from None
    return attributes


def _unquoted(value: str) -> str:
    """A header's value without the quotes of a quoted string (RFC 9110, 5.6.4), if it is one."""
    return _ESCAPED.sub(r"\1", value[1:-1]) if _QUOTED.fullmatch(value) else value


def _if_match(headers: Mapping[str, str], events: int) -> int | None:
    text = headers.get("If-Match")
    if text is None:
        return None
    if events != 1:
        raise Problem("bad-request", "If-Match goes with one event; in a batch, give an event `expectedversion`")
    text = text.strip()
    if text == "*":
        return -1
    match = _ETAG.fullmatch(text)
    if match is None:
        raise Problem("bad-request", 'If-Match is the ETag of the stream, as "7"')
    return int(match[1])


def _ready(
    value: Any, principal: Principal, master: MasterKey, now: datetime, index: int, spots_max: int
) -> Prepared | list[Refusal]:
    sent = read_event(value, now=now, index=index, spots_max=spots_max)
    if isinstance(sent, list):
        return sent
    refusals = [*_not_granted(sent, principal, index)]
    if refusals:
        return refusals
    data, content, sealing = seal(sent, master)
    prepared = Prepared(
        sent=sent,
        opened=open_record(sent, data, authid=principal.key, authtype="api_key"),
        content=content,
        sealing=sealing,
        event_uuid=sent.event_uuid,
        stream_uuid=stream_uuid(sent.subject),
    )
    size, stored = len(canonical(value)), len(prepared.opened) + TAIL_BYTES_MAX
    if size > EVENT_BYTES_MAX:
        message = f"an event has at most {EVENT_BYTES_MAX} bytes; this one has {size}"
        return [Refusal(problem="too-large", message=message, index=index)]
    if stored > STORED_BYTES_MAX:
        message = f"an event takes at most {STORED_BYTES_MAX} bytes in the log; with its texts sealed it takes {stored}"
        return [Refusal(problem="too-large", message=message, index=index)]
    return prepared


def _not_granted(sent: Sent, principal: Principal, index: int) -> Iterable[Refusal]:
    scope: Scope = "act" if isinstance(sent.event, Act) else "observe"
    if not principal.may(scope):
        message = f"{sent.type} needs the scope `{scope}`"
        yield Refusal(problem="scope-missing", message=message, index=index, pointer="/type")
    if not principal.may_emit_as(sent.source):
        message = f"this key may not emit as {sent.source}"
        yield Refusal(problem="source-not-granted", message=message, index=index, pointer="/source")
    if isinstance(sent.event, SourceReconciled) and not principal.may_emit_as(sent.event.source):
        message = f"this key may not count for {sent.event.source}"
        yield Refusal(problem="source-not-granted", message=message, index=index, pointer="/data/source")
    for pointer, team in signing(sent.event):
        if not principal.may_act_for(team):
            message = f"this key may not act for {team}"
            yield Refusal(problem="team-not-granted", message=message, index=index, pointer=pointer)


def refused(refusals: Sequence[Refusal]) -> Problem:
    """The problem that answers a request with these refusals: all of them listed, by place in the request."""
    refusals = sorted(refusals, key=lambda refusal: refusal.index)
    first = min(refusals, key=lambda refusal: _ORDER.index(refusal.problem))
    more = f" (and {len(refusals) - 1} more in `errors`)" if len(refusals) > 1 else ""
    members: dict[str, Any] = {
        "errors": [
            _error(each.index, each.pointer, each.message, each.problem)
            | ({"retryable": True} if each.retryable else {})
            | ({} if each.current_version is None else {"current_version": each.current_version})
            | ({} if each.missing is None else {"missing": each.missing})
            for each in refusals
        ]
    }
    if any(each.problem == "rule-not-met" for each in refusals):
        members["retryable"] = all(each.retryable for each in refusals)
    if first.current_version is not None:
        members["current_version"] = first.current_version
    missing = [name for each in refusals for name in each.missing or []]
    if missing:
        members["missing"] = missing
    return Problem(first.problem, first.message + more, **members)


def _error(index: int, pointer: str, message: str, problem: str | None = None) -> dict[str, Any]:
    error: dict[str, Any] = {"index": index, "pointer": pointer, "message": message}
    return error if problem is None else error | {"type": f"/problems/{problem}"}


def _too_large(size: int) -> Problem:
    return Problem("too-large", f"an event has at most {EVENT_BYTES_MAX} bytes; this request has {size}")


def _recorded(ledger: str, results: Sequence[Result], *, dry_run: bool) -> web.Response:
    new = not dry_run and any(not result.duplicate for result in results)
    headers = {"Cache-Control": "no-store"}
    if len(results) == 1:
        headers["ETag"] = f'"{results[0].version}"'
        if not dry_run:
            headers["Location"] = f"/v1/ledgers/{ledger}/events/{results[0].position}"
    return web.Response(
        body=canonical({"results": [*map(_told, results)]} | ({"dry_run": True} if dry_run else {})),
        status=201 if new else 200,
        content_type="application/json",
        headers=headers,
    )


def _told(result: Result) -> dict[str, Any]:
    return {
        "id": result.id,
        "source": result.source,
        "position": result.position,
        "stream": result.stream,
        "version": result.version,
        "recordedtime": format_time(result.recordedtime),
        "duplicate": result.duplicate,
    }
