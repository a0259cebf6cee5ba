"""Pages of a list: what may be asked of every list, and the cursor that pins a position and an order.

A parameter that cannot be taken is refused as a Problem.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from services.problems import Problem
from services.projector.answers.snapshot import Wanted

PAGE_ROWS_MAX = 200
PAGE_ROWS = 50
WAIT_SECONDS_MAX = 30
CURSOR_CHARACTERS_MAX = 4_000
ROWS_MAX = 2**40
"""No list has so many; a cursor that says so was made by somebody else."""

# They say how to answer, not what; a page that follows may have others.
_ABOUT_ONE_PAGE = frozenset({"cursor", "limit", "timeout", "at_least", "as_of"})

_POSITION = re.compile(r"[0-9]{1,18}")

AsOfText = Annotated[
    str,
    Meta(
        max_length=40,
        description="as it was known at a position of the log, or at an RFC 3339 time",
        extra_json_schema={"anyOf": [{"pattern": "^[0-9]{1,18}$"}, {"format": "date-time"}]},
    ),
]
AtLeast = Annotated[int, Meta(ge=0, description="wait until the answer can reflect this position")]
Timeout = Annotated[float, Meta(ge=0, le=WAIT_SECONDS_MAX, description="how long to wait, in seconds")]
Limit = Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX, description="rows of a page at most")]
CursorText = Annotated[str, Meta(max_length=CURSOR_CHARACTERS_MAX, description="from the link rel=next of a page")]


class Moment(Struct, frozen=True, kw_only=True):
    """What may be asked of every answer."""

    as_of: AsOfText | UnsetType = UNSET
    at_least: AtLeast | UnsetType = UNSET
    timeout: Timeout = 5.0


class Pages(Moment, frozen=True, kw_only=True):
    """What may be asked of an answer that has pages, and of those whose pages have a fixed size."""

    cursor: CursorText | UnsetType = UNSET


class Lists(Pages, frozen=True, kw_only=True):
    """What may be asked of every list."""

    limit: Limit = PAGE_ROWS


class Page(Struct, frozen=True, kw_only=True):
    """Where a request is in a list, with the parameters that the first page had."""

    path: str
    parameters: Any
    after: int
    wanted: Wanted
    filters: dict[str, str]

    def of_at_most(self, rows: int) -> "Page":
        """The same with so many rows at most. Those behind them are the next page's."""
        parameters = msgspec.structs.replace(self.parameters, limit=min(self.parameters.limit, rows))
        return msgspec.structs.replace(self, parameters=parameters)


class _Cursor(Struct, frozen=True, forbid_unknown_fields=True):
    path: str = msgspec.field(name="l")
    position: Annotated[int, Meta(ge=0)] = msgspec.field(name="p")
    after: Annotated[int, Meta(ge=0, le=ROWS_MAX)] = msgspec.field(name="a")
    filters: dict[str, str] = msgspec.field(name="f")


def wanted(parameters: Moment) -> Wanted:
    """The position that is asked for. Raises Problem if `as_of` is neither a position nor a time."""
    as_of = None if parameters.as_of is UNSET else _as_of(parameters.as_of)
    at_least = None if parameters.at_least is UNSET else parameters.at_least
    return Wanted(as_of=as_of, at_least=at_least, timeout_seconds=parameters.timeout)


def resume(parameters: Pages, path: str, query: Mapping[str, str]) -> Page:
    """The page of the list at `path` that is asked for. `query` holds the parameters as they were sent.

    Raises Problem if the cursor is garbled or belongs to a request with other parameters.
    """
    filters = {name: text for name, text in query.items() if name not in _ABOUT_ONE_PAGE}
    if parameters.cursor is UNSET:
        return Page(path=path, parameters=parameters, after=0, wanted=wanted(parameters), filters=filters)

    cursor = _decoded(parameters.cursor)
    if cursor.path != path:
        raise Problem("bad-parameter", f"the cursor belongs to {cursor.path}", parameter="cursor")
    for name, text in filters.items():
        if cursor.filters.get(name) != text:
            raise Problem("bad-parameter", f"the cursor belongs to a list with another `{name}`", parameter="cursor")
    if parameters.as_of is not UNSET and _as_of(parameters.as_of) != cursor.position:
        raise Problem("bad-parameter", f"the cursor is for `as_of` {cursor.position}", parameter="cursor")
    own = {name: text for name, text in query.items() if name in _ABOUT_ONE_PAGE}
    try:
        whole = msgspec.convert(cursor.filters | own, type(parameters), strict=False)
    except msgspec.ValidationError:
        raise _garbled() from None
    pinned = Wanted(as_of=cursor.position, timeout_seconds=parameters.timeout)
    return Page(path=path, parameters=whole, after=cursor.after, wanted=pinned, filters=cursor.filters)


def next_link(page: Page, *, position: int, after: int, limit: int | None) -> str:
    """The Link header's value that leads to the rows behind the first `after`, as of the same position."""
    cursor = msgspec.json.encode(_Cursor(page.path, position, after, page.filters))
    query = {"cursor": urlsafe_b64encode(cursor).decode().rstrip("=")}
    if limit is not None:
        query["limit"] = str(limit)
    return f'<{page.path}?{urlencode(query)}>; rel="next"'


def _decoded(text: str) -> _Cursor:
    try:
        return msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=_Cursor)
    except (ValueError, msgspec.MsgspecError):
        raise _garbled() from None


def _garbled() -> Problem:
    return Problem("bad-parameter", "`cursor` is not one that a link of this list has", parameter="cursor")


def _as_of(text: str) -> int | datetime:
    if _POSITION.fullmatch(text):
        return int(text)
    try:
        # In a query, a plus sign that was not escaped arrives as a space.
        time = msgspec.convert(text.replace(" ", "+"), datetime)
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        pass
    raise Problem(
        "bad-parameter",
        "`as_of` is a position, or an RFC 3339 time with its zone, as 2026-11-21T10:00:00Z",
        parameter="as_of",
    )
