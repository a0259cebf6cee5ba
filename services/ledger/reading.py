"""Reading the log over HTTP: pages, a stream of all of it, server-sent events, one event, one stream.

What is served are the stored bytes, as they were hashed.
"""

import asyncio
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp_sse import sse_response
from msgspec import Meta, Struct

from schemas.envelope import event_uuid
from schemas.events import SEALED_FIELDS
from services.access_log import Opened, put_on_record
from services.ledger.ledgers import Ledger, Ledgers
from services.ledger.log import NEWEST_BYTES_MAX, PAGE_EVENTS_MAX, POSITION_MAX, Filter, Page
from services.ledger.shapes import RecordedEvents, shape
from services.problems import Problem
from services.sealing import open_text
from services.web import RETRY_AFTER_SECONDS, Answer, Call, Route, has_already, over, would_rather

CLOUDEVENT = "application/cloudevents+json"
NDJSON = "application/x-ndjson"

_FOR_NOW = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept"}
SSE_READERS_MAX = 200

_After = Annotated[int, Meta(ge=0, le=POSITION_MAX, description="only what lies behind this position")]
_Limit = Annotated[int, Meta(ge=1, le=PAGE_EVENTS_MAX, description="events of a page at most")]
_Type = Annotated[str, Meta(min_length=1, max_length=300, description="only events of this type")]
_Subject = Annotated[
    str, Meta(min_length=1, max_length=300, description="only events about this subject, as `requirement/SSO-42`")
]
_Source = Annotated[str, Meta(min_length=1, max_length=300, description="only events of this source")]
_Id = Annotated[
    str,
    Meta(min_length=1, max_length=300, description="the one event of this id; goes with `source`, and with no other"),
]


class PageParameters(Struct, frozen=True, kw_only=True):
    after: _After = 0
    limit: _Limit = 100
    type: _Type | None = None
    subject: _Subject | None = None
    source: _Source | None = None
    id: _Id | None = None


class TailParameters(Struct, frozen=True, kw_only=True):
    after: _After | None = None
    type: _Type | None = None
    subject: _Subject | None = None
    source: _Source | None = None


class StreamParameters(Struct, frozen=True, kw_only=True):
    after: _After = 0
    limit: _Limit = 1_000


class OneParameters(Struct, frozen=True, kw_only=True):
    unseal: Annotated[bool, Meta(description="sealed texts in the clear; needs the scope `personal`")] = False


class Events(Struct, frozen=True, kw_only=True):
    """Recorded CloudEvents in order; `head` is the last position of the log."""

    events: RecordedEvents
    head: int


class Stream(Struct, frozen=True, kw_only=True):
    """The events of one stream in order; `version` is that of its last."""

    events: RecordedEvents
    version: int


def routes(ledgers: Ledgers) -> list[Route]:
    """The routes that read. They need the scope `query` or `audit`."""
    readers = asyncio.Semaphore(SSE_READERS_MAX)

    async def get_events(call: Call) -> web.StreamResponse:
        ledger = await ledgers.open(call.ledger)
        if would_rather(call.request.headers.get("Accept", ""), NDJSON):
            return await _all_lines(ledger, call)
        return await _page(ledger, call)

    async def tail_events(call: Call) -> web.StreamResponse:
        ledger = await ledgers.open(call.ledger)
        if readers.locked():
            raise Problem(
                "overloaded",
                f"{SSE_READERS_MAX} readers tail the log through this process",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        async with readers:
            return await _tail(ledger, call)

    async def get_event(call: Call) -> web.Response:
        return await _one(await ledgers.open(call.ledger), call, ledgers)

    async def get_stream(call: Call) -> web.Response:
        return await _stream(await ledgers.open(call.ledger), call)

    prefix = "/v1/ledgers/{ledger}"
    return [
        Route(
            method="GET",
            path=f"{prefix}/events",
            handler=get_events,
            summary="A page of the log, or with Accept: application/x-ndjson all of it, an event a line.",
            scope=("query", "audit"),
            parameters=PageParameters,
            answers={200: Answer("the events", {"application/json": Events, NDJSON: None}, ("Link",))},
            refusals=("no-such-ledger",),
        ),
        Route(
            method="GET",
            path=f"{prefix}/events/stream",
            handler=tail_events,
            summary="Server-sent events from Last-Event-ID or `after` on; `id` is the position.",
            scope=("query", "audit"),
            parameters=TailParameters,
            headers=("Last-Event-ID",),
            answers={200: Answer("events as they are recorded", {"text/event-stream": None})},
            refusals=("no-such-ledger", "beyond-the-head", "overloaded"),
        ),
        Route(
            method="GET",
            path=f"{prefix}/events/{{position}}",
            handler=get_event,
            summary="One event: the stored bytes; with `unseal` (scope `personal`) its sealed fields in the clear.",
            scope=("query", "audit"),
            parameters=OneParameters,
            answers={
                200: Answer("the event", {CLOUDEVENT: shape("RecordedEvent")}),
                304: Answer("as your ETag has it"),
            },
            refusals=("no-such-ledger", "not-found"),
        ),
        Route(
            method="GET",
            path=f"{prefix}/streams/{{kind}}/{{id}}",
            handler=get_stream,
            summary="The events about one subject; the ETag is the version of the stream.",
            scope=("query", "audit"),
            parameters=StreamParameters,
            answers={
                200: Answer("the events", {"application/json": Stream}, ("Link",)),
                304: Answer("as your ETag has it"),
            },
            refusals=("no-such-ledger", "not-found"),
        ),
    ]


async def _page(ledger: Ledger, call: Call) -> web.Response:
    asked: PageParameters = call.parameters
    head = await ledger.log.max_position()
    page = await _read(ledger, asked)
    # What was recorded between the two is shown, and so the head is there at least.
    head = max([head, *page.positions[-1:]])
    headers = {**_FOR_NOW}
    if page.more:
        following = call.request.rel_url.update_query({"after": str(page.positions[-1])})
        headers["Link"] = f'<{following}>; rel="next"'
    body = b'{"events":[' + b",".join(page.states) + b'],"head":%d}' % head
    return web.Response(body=body, content_type="application/json", headers=headers)


async def _read(ledger: Ledger, asked: PageParameters) -> Page:
    if asked.id is None:
        return await ledger.log.page(asked.after, asked.limit, _filter(asked))
    if asked.source is None:
        raise Problem("bad-parameter", "an `id` is unique in its `source`; give that too", parameter="id")
    if asked.type is not None or asked.subject is not None:
        raise Problem("bad-parameter", "`source` and `id` name one event; leave out type and subject", parameter="id")
    page = await ledger.log.by_identity(event_uuid(asked.source, asked.id))
    return page if page.positions and page.positions[0] > asked.after else Page([], [])


def _filter(asked: PageParameters | TailParameters) -> Filter:
    return Filter(type=asked.type, subject=asked.subject, source=asked.source)


async def _all_lines(ledger: Ledger, call: Call) -> web.StreamResponse:
    """Every wanted event from `after` up to the head of this moment, a line each, in pages of bounded size."""
    asked: PageParameters = call.parameters
    if asked.id is not None:
        page = await _read(ledger, asked)
        return web.Response(
            body=b"".join(state + b"\n" for state in page.states), content_type=NDJSON, headers=_FOR_NOW
        )

    head = await ledger.log.max_position()
    response = web.StreamResponse(headers={"Content-Type": NDJSON, **_FOR_NOW})
    await response.prepare(call.request)
    after = head if call.request.method == "HEAD" else asked.after
    while after < head:
        page = await ledger.log.page(after, PAGE_EVENTS_MAX, _filter(asked))
        wanted = [state for position, state in zip(page.positions, page.states, strict=True) if position <= head]
        if wanted:
            await response.write(b"".join(state + b"\n" for state in wanted))
        if not page.more:
            break
        after = page.positions[-1]
    await response.write_eof()
    return response


async def _tail(ledger: Ledger, call: Call) -> web.StreamResponse:
    asked: TailParameters = call.parameters
    wanted = _filter(asked)
    after = _resume(call.request.headers.get("Last-Event-ID"), asked.after)
    head = await ledger.log.max_position()
    if after > head:
        raise Problem("beyond-the-head", f"the log ends at {head}, before {after}: was it restored from a backup?")
    if call.request.method == "HEAD":
        return web.Response(content_type="text/event-stream", headers={"Cache-Control": "no-store"})

    async with sse_response(call.request, headers={"Cache-Control": "no-store"}) as response:
        caught_up = False
        while response.is_connected() and not over(call.request):
            newest = await ledger.tail.beyond(after) if caught_up else None
            if newest is None:
                head = await ledger.log.max_position()
                page = await ledger.log.page(after, PAGE_EVENTS_MAX, wanted, bytes_max=NEWEST_BYTES_MAX)
                events = [*zip(page.positions, page.states, strict=True)]
                caught_up = not page.more
                # What has been looked at need not be looked at again, wanted or not.
                after = max([after, *page.positions[-1:], head if caught_up else 0])
            else:
                events = [(seen.position, seen.state) for seen in newest.above(after) if wanted.takes(seen)]
                after = max(after, newest.through)
            try:
                await call.check_again()
            except Problem:
                break  # The key has been revoked, or has expired.
            for position, state in events:
                await response.send(state.decode(), id=str(position))
    return response


def _resume(last_event_id: str | None, after: int | None) -> int:
    if last_event_id is None:
        return after or 0
    digits = last_event_id.isascii() and last_event_id.isdigit() and len(last_event_id) < 20
    if not digits or int(last_event_id) > POSITION_MAX:
        raise Problem("bad-parameter", "Last-Event-ID is the position of an event", parameter="Last-Event-ID")
    return int(last_event_id)


async def _one(ledger: Ledger, call: Call, ledgers: Ledgers) -> web.Response:
    text = call.request.match_info["position"]
    position = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
    if not 0 < position <= POSITION_MAX:
        raise Problem("not-found", f"a position is a whole number from 1 on, not {text[:40]!r}")
    if call.parameters.unseal:
        return await _one_unsealed(ledger, call, position, ledgers)

    found = await ledger.log.one(position)
    if found is None:
        raise _nothing_at(position)
    state, leaf_hash = found
    etag = f'"{leaf_hash.hex()}"'
    headers = {"ETag": etag, "Cache-Control": "private, max-age=31536000, immutable", "Vary": "Authorization"}
    if has_already(call.request, etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=state, content_type=CLOUDEVENT, headers=headers)


async def _one_unsealed(ledger: Ledger, call: Call, position: int, ledgers: Ledgers) -> web.Response:
    if not call.principal.may("personal"):
        raise Problem("scope-missing", "`unseal` needs the scope `personal`")
    found = await ledger.log.one_with_key(position)
    if found is None:
        raise _nothing_at(position)
    state, kept = found
    value = msgspec.json.decode(state)
    fields = [name for name in SEALED_FIELDS.get(value["type"], ()) if isinstance(value["data"].get(name), dict)]
    for name in fields:
        value["data"][name] = open_text(value["data"][name]["sealed"], kept, ledgers.master, name)
    if kept is not None and any(value["data"][name] is not None for name in fields):
        await put_on_record(ledgers.reading, "ledger", call, Opened(texts={position: kept.person}))
    return web.Response(
        body=msgspec.json.encode(value),
        content_type=CLOUDEVENT,
        headers={"Cache-Control": "no-store", "Vary": "Authorization"},
    )


def _nothing_at(position: int) -> Problem:
    return Problem("not-found", f"nothing has been recorded at position {position}")


async def _stream(ledger: Ledger, call: Call) -> web.Response:
    asked: StreamParameters = call.parameters
    subject = f"{call.request.match_info['kind']}/{call.request.match_info['id']}"
    page, version = await ledger.log.stream(subject, asked.after, asked.limit)
    if not version:
        raise Problem("not-found", f"nothing has been recorded about {subject[:200]}")
    headers = {"ETag": f'"{version}"', "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    if not asked.after and has_already(call.request, headers["ETag"]):
        return web.Response(status=304, headers=headers)
    if page.more:
        following = call.request.rel_url.update_query({"after": str(page.positions[-1])})
        headers["Link"] = f'<{following}>; rel="next"'
    body = b'{"events":[' + b",".join(page.states) + b'],"version":%d}' % version
    return web.Response(body=body, content_type="application/json", headers=headers)
