"""Who has read what is sealed: the access log in pages, for auditors."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.values import Id
from services.ledger.ledgers import Ledgers
from services.ledger.log import POSITION_MAX
from services.postgres import Pool, ledger_schema, unavailable
from services.statements import Statements
from services.web import Answer, Call, Route

JSON = "application/json"
PAGE_READINGS_MAX = 1_000
PAGE_TEXTS_MAX = 100_000
"""Texts that the readings of a page show together; a single one may show more."""

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class AccessLogParameters(Struct, frozen=True, kw_only=True):
    after: Annotated[int, Meta(ge=0, le=POSITION_MAX, description="only readings behind this number")] = 0
    limit: Annotated[int, Meta(ge=1, le=PAGE_READINGS_MAX, description="readings of a page at most")] = 100
    key: Annotated[Id, Meta(description="only readings by this key, by its public id")] | None = None
    person: (
        Annotated[Id, Meta(description="only readings of texts about this person, and of the page about them")] | None
    ) = None
    position: (
        Annotated[int, Meta(ge=1, le=POSITION_MAX, description="only readings of the texts of the event there")]
        | UnsetType
    ) = UNSET


class TextRead(Struct, frozen=True, kw_only=True):
    """That the sealed texts of an event were shown, and whom they are about."""

    position: int
    person: str | None


class Reading(Struct, frozen=True, kw_only=True):
    """An answer that showed sealed texts in the clear, or a page about a person."""

    number: int
    at: datetime
    key: str
    service: str
    method: str
    path: str
    person: str | None
    texts: list[TextRead]


class AccessLog(Struct, frozen=True, kw_only=True):
    """Readings, the oldest first."""

    readings: list[Reading]


def routes(ledgers: Ledgers, pool: Pool) -> list[Route]:
    async def access_log(call: Call) -> web.Response:
        await ledgers.registered(call.ledger)
        return await _page(pool, call)

    return [
        Route(
            method="GET",
            path="/v1/ledgers/{ledger}/access-log",
            handler=access_log,
            summary="Who has read what is sealed, the oldest first: each answer of both services that showed sealed"
            " texts in the clear, and each page about a person.",
            scope="audit",
            parameters=AccessLogParameters,
            answers={200: Answer("the readings", {JSON: AccessLog}, ("Link",))},
            refusals=("no-such-ledger",),
        )
    ]


async def _page(pool: Pool, call: Call) -> web.Response:
    asked: AccessLogParameters = call.parameters
    match asked:
        case AccessLogParameters(position=int() as position):
            name, values = "page_of_position", [position, asked.person, asked.key]
        case AccessLogParameters(person=str() as person):
            name, values = "page_of_person", [person, asked.key]
        case AccessLogParameters(key=str() as key):
            name, values = "page_of_key", [key]
        case _:
            name, values = "page", []
    sql = _statements.bind(schema=ledger_schema(call.ledger))
    query = sql["cut"].replace("{page}", sql[name].removesuffix(";"))
    with unavailable():
        rows = await pool.fetch(query, asked.after, asked.limit, PAGE_TEXTS_MAX, *values)
    readings = [
        Reading(
            number=row["number"],
            at=row["at"],
            key=row["key"],
            service=row["service"],
            method=row["method"],
            path=row["path"],
            person=row["person"],
            texts=[
                TextRead(position=position, person=person)
                for position, person in zip(row["positions"], row["persons"], strict=True)
            ],
        )
        for row in rows
    ]
    headers = {"Cache-Control": "no-store"}
    if rows and rows[0]["found"] > len(rows):
        following = call.request.rel_url.update_query({"after": str(readings[-1].number)})
        headers["Link"] = f'<{following}>; rel="next"'
    return web.Response(body=msgspec.json.encode(AccessLog(readings=readings)), content_type=JSON, headers=headers)
