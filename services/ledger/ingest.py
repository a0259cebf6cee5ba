"""Ingest: what a request asks to be recorded becomes a request to the sequencer, or refusals, which are counted."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from aiohttp import web
from msgspec import Meta, Struct
from msgspec.structs import asdict, replace

from schemas.codec import EVENT_BYTES_MAX, STORED_BYTES_MAX, MalformedJson, canonical, open_record, read_event
from schemas.envelope import Refusal, Sent
from schemas.events import EVENT_TYPES, Act, SourceReconciled
from schemas.objections import SPOTS_TOLD_MAX
from schemas.values import SOURCE_PATTERN
from services.keys import Principal, Scope
from services.ledger import answers, modes
from services.ledger.answers import JSON, LenientResults, Results
from services.ledger.history import Doubt
from services.ledger.ledgers import Ledger, Ledgers
from services.ledger.log import event_id, stream_id
from services.ledger.modes import BATCH, BINARY, STRUCTURED
from services.ledger.queue import Overloaded, Room
from services.ledger.refusals import Refusals
from services.ledger.rules.teams import signing
from services.ledger.sequence import Outcome, Prepared, Request, Result
from services.ledger.shapes import shape
from services.postgres import Unavailable
from services.problems import Problem
from services.sealing import MasterKey, MasterKeyError, seal
from services.web import RETRY_AFTER_SECONDS, Answer, Call, Route, unavailable

REFUSALS_TOLD_MAX = 1_000  # Of one request; each refused event is told in any case.
JUDGED_AT_ONCE_BYTES_MAX = 64 * 1024
DOUBT_SECONDS = 60  # An operator has to look.
TAIL_BYTES_MAX = 160  # What close_record adds to a record at most.

_LINKS = {"get_v1_ledgers_ledger_events_position": {"position": "$response.body#/results/0/position"}}
_SAID = ("id", "source", "type")
_SOURCE = re.compile(SOURCE_PATTERN)


class IngestParameters(Struct, frozen=True, kw_only=True):
    dry_run: Annotated[bool, Meta(description="everything but the recording")] = False


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
                201: Answer("recorded", {JSON: Results}, ("ETag", "Location"), _LINKS),
                200: Answer("all of it was recorded before, or `dry_run`", {JSON: Results}, ("ETag", "Location")),
                207: Answer(
                    "a batch, handled leniently: each event has a status",
                    {JSON: LenientResults},
                    ("Preference-Applied",),
                ),
            },
            refusals=(
                "malformed-json",
                *answers.ORDER,
                "no-such-ledger",
                "unsupported-media-type",
                "overloaded",
                "history-in-doubt",
            ),
        )
    ]


class _Judged(Struct, frozen=True):
    """The events of a request that may go to the sequencer, with their places; what is refused, and what each of the
    others says that it is, by its place."""

    prepared: list[Prepared]
    places: list[int]
    refusals: list[Refusal]
    others: dict[int, Mapping[str, Any]]

    @property
    def count(self) -> int:
        return len(self.prepared) + len(self.others)

    @property
    def said(self) -> dict[int, Mapping[str, Any]]:
        """What each event says that it is."""
        sent = ((place, one.sent) for place, one in zip(self.places, self.prepared, strict=True))
        return self.others | {place: {name: getattr(one, name) for name in _SAID} for place, one in sent}

    def refused(self, outcome: Outcome) -> list[Refusal]:
        """What the sequencer refuses of those that went to it, by their places in the request."""
        return [replace(one, index=self.places[one.index]) for one in outcome if isinstance(one, Refusal)]


async def _post_events(ledgers: Ledgers, call: Call) -> web.Response:
    ledger = await ledgers.open(call.ledger)
    with ledgers.queue.room(call.principal.key) as room:  # Until it is answered.
        try:
            if_match, judged = await _taken(ledgers, ledger, call, room)
            return await _record(ledgers, ledger, call, if_match, judged)
        except Overloaded as error:
            raise _overloaded(error) from None
        except Doubt as doubt:
            raise Problem("history-in-doubt", str(doubt), headers={"Retry-After": str(DOUBT_SECONDS)}) from None


async def _taken(ledgers: Ledgers, ledger: Ledger, call: Call, room: Room) -> tuple[int | None, _Judged]:
    """What If-Match asks, and what a request brings, judged. Raises Problem if it is refused as a whole."""
    try:
        media = modes.media_type(call.request)
        size = modes.body_bytes(call.request, media)
        await ledger.history.settle()
        # Before the body is read: what is turned away under load must cost next to nothing.
        room.expect(size)
        body = await modes.read_body(call.request, media, room)
        # A large batch takes a while to judge, and others are answered meanwhile.
        if len(body) > JUDGED_AT_ONCE_BYTES_MAX:
            return await asyncio.to_thread(_judged, ledgers, call, media, body)
        if media != BATCH:  # Single ones are judged together; a batch is many in itself.
            await ledger.sequencer.turn()
        return _judged(ledgers, call, media, body)
    except Problem as problem:
        _count_whole(ledgers.refusals, call, problem)
        raise


def _judged(ledgers: Ledgers, call: Call, media: str, body: bytes) -> tuple[int | None, _Judged]:
    try:
        count, values = modes.events(call.request, media, body)
        if_match = modes.if_match(call.request.headers, count)
        return if_match, _judge(values, call.principal, ledgers.master.newest, datetime.now(UTC))
    except MalformedJson as error:
        raise modes.malformed(error) from None


async def _record(ledgers: Ledgers, ledger: Ledger, call: Call, if_match: int | None, judged: _Judged) -> web.Response:
    dry_run: bool = call.parameters.dry_run
    apart = modes.handled_leniently(call.request)
    # A request with a refused event records nothing, and still learns what the log has against the others.
    judge_only = dry_run or (bool(judged.refusals) and not apart)
    request = Request(events=judged.prepared, judge_only=judge_only, each=apart, if_match=if_match)
    if apart:
        return await _record_apart(ledgers, ledger, call, judged, request)

    outcome: Outcome = await ledger.sequencer.submit(request) if judged.prepared else []
    if refusals := judged.refusals + judged.refused(outcome):
        _count(ledgers.refusals, call, judged.said, refusals)
        raise answers.refused(refusals)
    return answers.recorded(call.ledger, [one for one in outcome if isinstance(one, Result)], dry_run=dry_run)


async def _record_apart(
    ledgers: Ledgers, ledger: Ledger, call: Call, judged: _Judged, request: Request
) -> web.Response:
    """Record the events of a batch that may be recorded, each by itself; answer with a status for each.

    If none can be recorded at the moment, each that might have been says 503.
    """
    dry_run: bool = call.parameters.dry_run
    refusals, named = [*judged.refusals], judged.said
    told: dict[int, dict[str, Any]] = {}
    problem: Problem | None = None
    try:
        outcome: Outcome = await ledger.sequencer.submit(request) if judged.prepared else []
    except (Overloaded, Unavailable, MasterKeyError) as error:
        problem = _overloaded(error) if isinstance(error, Overloaded) else unavailable(str(error))
        told |= {place: answers.named(named[place]) | problem.document() for place in judged.places}
    else:
        refusals += judged.refused(outcome)
        against = {refusal.index for refusal in refusals}
        recorded = [place for place in judged.places if place not in against]
        results = [one for one in outcome if isinstance(one, Result)]
        for place, result in zip(recorded, results, strict=True):
            new = not result.duplicate and not dry_run
            told[place] = {"status": 201 if new else 200, **asdict(answers.told(result))}

    by_place: dict[int, list[Refusal]] = {}
    for refusal in refusals:
        by_place.setdefault(refusal.index, []).append(refusal)
    for place, said in by_place.items():
        told[place] = answers.named(named[place]) | answers.refused(said).document()
    _count(ledgers.refusals, call, named, refusals)
    in_order = [told[place] for place in range(judged.count)]
    return answers.leniently(in_order, dry_run=dry_run, headers={} if problem is None else problem.headers)


def _overloaded(error: Overloaded) -> Problem:
    return Problem("overloaded", str(error), headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


# Judging


def _judge(values: Iterable[Any], principal: Principal, master: MasterKey, now: datetime) -> _Judged:
    prepared: list[Prepared] = []
    places: list[int] = []
    refusals: list[Refusal] = []
    others: dict[int, Mapping[str, Any]] = {}
    spots_max = SPOTS_TOLD_MAX
    for index, value in enumerate(values):
        ready = _ready(value, principal, master, now, index, spots_max)
        if isinstance(ready, Prepared):
            prepared.append(ready)
            places.append(index)
        else:
            refusals.extend(ready)
            # Every event that is refused is told; of each so many spots that the answer stays within bounds.
            spots_max = max(1, min(SPOTS_TOLD_MAX, REFUSALS_TOLD_MAX - len(refusals)))
            others[index] = {name: value.get(name) for name in _SAID} if isinstance(value, dict) else {}
    return _Judged(prepared, places, refusals, others)


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
        event_uuid=event_id(sent),
        stream_uuid=stream_id(sent.subject),
    )
    size, stored = len(canonical(value)), len(prepared.opened) + TAIL_BYTES_MAX
    if size > EVENT_BYTES_MAX:
        message = f"an event has at most {EVENT_BYTES_MAX} bytes; this one has {size}"
        return [Refusal(problem="too-large", message=message, plain=message, index=index)]
    if stored > STORED_BYTES_MAX:
        message = f"an event takes at most {STORED_BYTES_MAX} bytes in the log; with its texts sealed it takes {stored}"
        return [Refusal(problem="too-large", message=message, plain=message, index=index)]
    return prepared


def _not_granted(sent: Sent, principal: Principal, index: int) -> Iterable[Refusal]:
    scope: Scope = "act" if isinstance(sent.event, Act) else "observe"
    if not principal.may(scope):
        message = f"{sent.type} needs the scope `{scope}`"
        yield Refusal(problem="scope-missing", message=message, plain=message, index=index, pointer="/type")
    if not principal.may_emit_as(sent.source):
        message = f"this key may not emit as {sent.source}"
        yield Refusal(problem="source-not-granted", message=message, index=index, pointer="/source")
    if type(sent.event) is SourceReconciled and not principal.may_emit_as(sent.event.source):
        message = f"this key may not count for {sent.event.source}"
        yield Refusal(problem="source-not-granted", message=message, index=index, pointer="/data/source")
    for pointer, team in signing(sent.event) if principal.teams else ():  # Without teams a key may act for all.
        if not principal.may_act_for(team):
            message = f"this key may not act for {team}"
            yield Refusal(problem="team-not-granted", message=message, index=index, pointer=pointer)


# Counting what is refused


def _count_whole(counts: Refusals, call: Call, problem: Problem) -> None:
    """Count a request that is refused as a whole, before it is known what events it has."""
    binary = _readable({"source": call.request.headers.get("ce-source")}) or ""
    if not call.parameters.dry_run and (source := _countable(call.principal, binary)) is not None:
        counts.count(call.ledger, source, "", [(problem.name, "", problem.plain)])


def _count(counts: Refusals, call: Call, said: Mapping[int, Mapping[str, Any]], refusals: Sequence[Refusal]) -> None:
    """Count the events that were refused, for their sources. A dry run is a question, and so not counted."""
    if call.parameters.dry_run:
        return
    by_place: dict[int, list[tuple[str, str, str]]] = {}
    for each in refusals:
        by_place.setdefault(each.index, []).append((each.problem, each.pointer, each.plain))
    for place, spots in by_place.items():
        source = _countable(call.principal, _readable(said[place]) or "")
        if source is not None:
            type = said[place].get("type")
            counts.count(call.ledger, source, type if isinstance(type, str) and type in EVENT_TYPES else "", spots)


def _readable(said: Mapping[str, Any]) -> str | None:
    """The source that an event names, if it is one."""
    source = said.get("source")
    return source if isinstance(source, str) and _SOURCE.search(source) else None


def _countable(principal: Principal, source: str) -> str | None:
    """The source for which a refusal counts: that of a key which has one only, if the event does not say; "" for none.

    None where the key may not use the source: what others are told of themselves is not for it to write. A key that is
    bound to no source may emit under any, and so what it is refused counts under any, whatever it is refused for.
    """
    if not source and len(principal.sources) == 1:
        [source] = principal.sources
    return source if not source or principal.may_emit_as(source) else None
