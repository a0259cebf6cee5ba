"""Answers as HTTP: an answer as JSON or markdown, or a page of a list as JSON or CSV, with what caches need to know."""

import asyncio
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from aiohttp import web
from msgspec import Struct

from services.projector.requests import paging, sheets
from services.projector.requests.paging import Page
from services.projector.requests.readings import OPENER, Whole
from services.projector.shapes.shown import AsOf
from services.web import Call, would_rather

CSV = "text/csv"
JSON = "application/json"
MARKDOWN = "text/markdown"


async def send_list(
    call: Call,
    page: Page,
    as_of: AsOf,
    whole: Whole,
    wanted: Callable[[Any], bool] | None,
    show: Callable[[Sequence[Any]], Sequence[Struct]],
    row_type: type[Struct],
    body: Callable[[Sequence[Any], list[Any]], Struct],
) -> web.Response:
    """One page of the rows that are wanted, as encode_page has it."""
    # The list may be long; in a thread it does not hold up other answers.
    encoded = await asyncio.to_thread(encode_page, call, page, whole, wanted, show, row_type, body)
    return send_page(call, page, as_of, *encoded)


class Encoded(NamedTuple):
    """One page of a list that has `total` rows."""

    total: int
    content_type: str
    content: bytes


def encode_page(
    call: Call,
    page: Page,
    whole: Whole,
    wanted: Callable[[Any], bool] | None,
    show: Callable[[Sequence[Any]], Sequence[Struct]],
    row_type: type[Struct],
    body: Callable[[Sequence[Any], list[Any]], Struct],
) -> Encoded:
    """One page of the rows that are wanted, as JSON or CSV. `show` gets the page's rows as they are found, `body` all
    that were found, and the page's as they are shown."""
    found = whole.rows if wanted is None else [each for each in whole.rows if wanted(each)]
    rows = [*show(found[page.after : page.after + page.parameters.limit])]
    if wants_csv(call.request.headers.get("Accept", "")):
        return Encoded(len(found), CSV, sheets.sheet(rows, whole.currencies(), row_type))
    return Encoded(len(found), JSON, msgspec.json.encode(body(found, rows)))


def send_page(call: Call, page: Page, as_of: AsOf, total: int, content_type: str, content: bytes) -> web.Response:
    """One page of a list that has `total` rows."""
    after = page.after + page.parameters.limit
    headers = {"Vary": "Authorization, Accept"}
    if after < total:
        headers["Link"] = paging.next_link(page, position=as_of.position, after=after, limit=page.parameters.limit)
    if content_type == JSON:
        return _send(call, content, JSON, headers)
    name = f"{call.ledger}-{call.request.path.rpartition('/')[2]}-{as_of.position}.csv"
    headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return _send(call, content, f"{CSV}; charset=utf-8; header=present", headers)


def as_they_are(rows: Sequence[Struct]) -> Sequence[Struct]:
    return rows


def one_by_one(show: Callable[[Any], Struct]) -> Callable[[Sequence[Any]], Sequence[Struct]]:
    """What shows rows that need nothing of each other."""
    return lambda rows: [show(each) for each in rows]


def respond(call: Call, body: Struct, headers: dict[str, str] | None = None) -> web.Response:
    return _send(call, msgspec.json.encode(body), JSON, headers or {})


def send_document(call: Call, name: str, text: str) -> web.Response:
    """A markdown document, which is called `name` where it is kept as a file."""
    headers = {"Vary": "Authorization, Accept", "Content-Disposition": f'inline; filename="{name}"'}
    return _send(call, text.encode(), f"{MARKDOWN}; charset=utf-8", headers)


def send_computed(body: Struct) -> web.Response:
    """What was computed from the body of a request: such an answer is not asked for again by its ETag."""
    content = msgspec.json.encode(body)
    headers = {"ETag": _etag(content), "Vary": "Authorization", "Cache-Control": "private"}
    return web.Response(body=content, headers={**headers, "Content-Type": JSON})


def _send(call: Call, body: bytes, content_type: str, headers: dict[str, str]) -> web.Response:
    opener = call.request.get(OPENER)
    tag = None if opener is None else opener.tag(body)
    # Who asks for the head alone is on no record: what it says of the words is worth nothing to those who guess them.
    etag = _etag(body) if tag is None else _quoted(tag)
    # What may have sealed words in it is asked for again each time: they may have been erased since.
    kept = "private, no-cache" if call.principal.may("personal") else "private"
    headers = {"ETag": etag, "Vary": "Authorization", "Cache-Control": kept, **headers}
    return web.Response(body=body, headers={**headers, "Content-Type": content_type})


def _etag(body: bytes) -> str:
    return _quoted(sha256(body).digest())


def _quoted(digest: bytes) -> str:
    return f'"{digest.hex()[:32]}"'


def wants_csv(accept: str) -> bool:
    """Whether the client would rather have CSV than JSON."""
    return would_rather(accept, CSV)


def wants_markdown(accept: str) -> bool:
    """Whether the client would rather have markdown than JSON."""
    return would_rather(accept, MARKDOWN)
