"""The three modes of CloudEvents over HTTP: a request and its body become CloudEvents, as JSON values.

Structured: one event is the body. Batch: a list of them is. Binary: the body is the data, and headers are the rest.
"""

import asyncio
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

from aiohttp import web
from multidict import CIMultiDictProxy

from schemas.codec import BATCH_EVENTS_MAX, EVENT_BYTES_MAX, MalformedJson, NotAnArray, canonical, elements, parse
from services.ledger.queue import Room
from services.problems import KINDS, Problem
from services.web import REQUEST_BYTES_MAX

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
BINARY = "application/json"

BODY_SECONDS_MAX = 60  # For a body to arrive.
ONE_EVENT_BYTES_MAX = 6 * EVENT_BYTES_MAX
"""Of the body with one event: JSON may write each byte of it as six, and what it comes to counts."""

_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_ESCAPED = re.compile(r"\\(.)")
_ETAG = re.compile(r'"(0|[1-9][0-9]{0,17})"')


def media_type(request: web.Request) -> str:
    """The one that tells a request's mode; it is parsed each time that it is asked for. Raises Problem."""
    media, charset = request.content_type, request.charset
    if media not in (STRUCTURED, BATCH, BINARY):
        raise Problem("unsupported-media-type", f"{media} is not taken here. {KINDS['unsupported-media-type'].next}")
    if charset is not None and charset.lower() not in ("utf-8", "utf8"):
        raise Problem("unsupported-media-type", f"JSON is sent in UTF-8, not in {charset[:40]}")
    return media


def body_bytes(request: web.Request, media: str) -> int:
    """The bytes of a request's body, or the most that they can be. Raises Problem if it is not to be read at all."""
    most = REQUEST_BYTES_MAX if media == BATCH else ONE_EVENT_BYTES_MAX
    size = most if request.content_length is None else request.content_length
    if size > most:
        raise too_large(media, size)
    return size


async def read_body(request: web.Request, media: str, room: Room) -> bytes:
    """The body, each part of which takes its room as it arrives. Raises Problem if it takes too long or is too large,
    and Overloaded."""
    most = REQUEST_BYTES_MAX if media == BATCH else ONE_EVENT_BYTES_MAX
    if request.content.is_eof():  # It came together with its head, as small ones do: there is nothing to wait for.
        body = request.content.read_nowait()
        if len(body) > most:
            raise too_large(media, len(body))
        room.take(len(body))
        return body
    parts, size = [], 0
    try:
        async with room.arriving(), asyncio.timeout(BODY_SECONDS_MAX):
            async for part in request.content.iter_any():
                size += len(part)
                if size > most:
                    raise too_large(media, size)
                room.take(len(part))
                parts.append(part)
    except TimeoutError:
        detail = f"the body was not there after {BODY_SECONDS_MAX} seconds"
        raise Problem("bad-request", detail, headers={"Connection": "close"}) from None
    return b"".join(parts)


def too_large(media: str, size: int) -> Problem:
    """A body of this media type has more bytes than are taken."""
    if media == BATCH:
        detail = f"a request has at most {REQUEST_BYTES_MAX} bytes"
    else:
        detail = f"an event has at most {EVENT_BYTES_MAX} bytes; this one has {size}"
    return _plain("too-large", detail)


def events(request: web.Request, media: str, body: bytes) -> tuple[int, Iterator[Any]]:
    """How many CloudEvents a request has, and these, as JSON values, each decoded when it is asked for.

    Raises Problem, and MalformedJson, as asking for the next one does; see `malformed`.
    """
    if media == BATCH:
        try:
            count, values = elements(body)
        except NotAnArray:
            count, values = 0, iter(())
        if not count:
            raise _plain("not-a-cloudevent", f"a batch is a JSON array of 1 to {BATCH_EVENTS_MAX:,} CloudEvents")
        if count > BATCH_EVENTS_MAX:
            for _ in values:  # Whether it is JSON at all is said first.
                pass
            raise _plain("too-large", f"a batch has at most {BATCH_EVENTS_MAX} events, and this has {count}")
        return count, values
    value = parse(body)
    if len(body) > EVENT_BYTES_MAX and (size := len(canonical(value))) > EVENT_BYTES_MAX:
        raise too_large(media, size)
    if media == STRUCTURED:
        return 1, iter([value])
    attributes = _attributes(request.headers)
    if not any(name.lower().startswith("ce-") for name in request.headers):
        raise _plain(
            "not-a-cloudevent",
            f"{BINARY} is the body of a CloudEvent in binary mode: its attributes are ce-* headers."
            f" A whole CloudEvent is sent as {STRUCTURED}",
        )
    return 1, iter([{**attributes, "data": value}])


def malformed(error: MalformedJson) -> Problem:
    """What it means to the client that its body is not JSON."""
    return _plain("malformed-json", str(error), pointer="")


def if_match(headers: Mapping[str, str], events: int) -> int | None:
    """The version that If-Match asks of the stream; -1 for any, None if it asks for none. Raises Problem."""
    text = headers.get("If-Match")
    if text is None:
        return None
    if events != 1:
        raise _plain("bad-request", "If-Match goes with one event; in a batch, give an event `expectedversion`")
    text = text.strip()
    if text == "*":
        return -1
    match = _ETAG.fullmatch(text)
    if match is None:
        raise _plain("bad-request", 'If-Match is the ETag of the stream, as "7"')
    return int(match[1])


def handled_leniently(request: web.Request) -> bool:
    """Whether a batch is one for RFC 7240's `Prefer: handling=lenient`. What it does not know, a server passes over."""
    if "Prefer" not in request.headers or request.content_type != BATCH:
        return False
    for preference in ",".join(request.headers.getall("Prefer", [])).split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() == "handling":
            return value.strip().strip('"').lower() == "lenient"  # Of several the first counts.
    return False


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
            raise _plain("not-a-cloudevent", "`data` is the body, not a header")
        try:
            attributes[name] = unquote_to_bytes(_unquoted(value).encode("utf-8", "surrogateescape")).decode()
        except UnicodeDecodeError:
            detail = "a header holds UTF-8, percent-encoded"
            raise _plain("not-a-cloudevent", detail, pointer=f"/{name}") from None
    return attributes


def _unquoted(value: str) -> str:
    """A header's value without the quotes of a quoted string (RFC 9110, 5.6.4), if it is one."""
    return _ESCAPED.sub(r"\1", value[1:-1]) if _QUOTED.fullmatch(value) else value


def _plain(problem: str, detail: str, *, pointer: str | None = None) -> Problem:
    """A problem whose detail holds nothing of what was sent; `pointer`: the spot in the event, if it is known."""
    spot: dict[str, Any] = {} if pointer is None else {"errors": [{"index": 0, "pointer": pointer, "message": detail}]}
    return Problem(problem, detail, plain=detail, **spot)
