"""A route of the projector, and what most handlers look at first: the page that is asked for, the id in the path."""

import re
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from schemas.values import ID_PATTERN
from services.keys import Scope
from services.problems import Problem
from services.projector.answers.accounts import ListedAccount
from services.projector.requests import paging
from services.projector.requests.paging import Lists, Page
from services.projector.requests.replies import CSV, JSON, MARKDOWN
from services.web import Answer, Call, Route

LEDGER = "/v1/ledgers/{ledger}"

AT_A_POSITION = ("no-such-ledger", "not-found", "beyond-the-head", "projection-stopped", "not-there-yet")
"""What any answer at a position may be refused for."""

_OTHERWISE = {
    CSV: "With `Accept: text/csv` as CSV.",
    MARKDOWN: "With `Accept: text/markdown` as a document: for engineering a decision record in the format MADR 4.0,"
    " for sales a page.",
}
_id = re.compile(ID_PATTERN)


def get(
    path: str,
    handler: Any,
    summary: str,
    parameters: type[Struct] | None,
    body: Any,
    *refusals: str,
    otherwise: str | None = None,
    scope: Scope = "query",
) -> Route:
    """A question. Lists can be had as CSV; `otherwise`: the media type in which another answer can be had."""
    if parameters is not None and issubclass(parameters, Lists):
        otherwise = CSV
    told = f"{summary}. {_OTHERWISE[otherwise]}" if otherwise else summary
    return Route(
        method="GET",
        path=LEDGER + path,
        handler=handler,
        summary=summary,
        scope=scope,
        parameters=parameters,
        answers={
            200: Answer(told, {JSON: body, otherwise: None} if otherwise else {JSON: body}),
            304: Answer("The answer still has the ETag that If-None-Match names."),
        },
        refusals=(*AT_A_POSITION, *refusals),
    )


def page_of(call: Call) -> tuple[Page, Any]:
    """The page that is asked for, and its parameters. Raises Problem."""
    page = paging.resume(call.parameters, call.request.rel_url.raw_path, call.request.query)
    return page, page.parameters


def named(call: Call, kind: str) -> str:
    """The id in the path. Raises Problem if nothing can have it."""
    name: str = call.request.match_info[kind]
    if not _id.match(name):
        raise Problem("not-found", f"nothing has the id {name[:100]!r}")
    return name


def currencies_in(listed: Iterable[ListedAccount]) -> list[str]:
    """The currencies that occur, for the columns of CSV."""
    return sorted({currency for each in listed for currency in each.currencies})
