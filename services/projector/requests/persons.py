"""Everything about one person, for a request under data protection law: the route, and how it is answered."""

import msgspec
from aiohttp import web

from services.projector.answers import persons
from services.projector.answers.persons import OnePerson, OnRecord
from services.projector.requests import sheets
from services.projector.requests.paging import PAGE_ROWS, Limit, Pages
from services.projector.requests.readings import Readings
from services.projector.requests.replies import CSV, JSON, send_page, wants_csv
from services.projector.requests.route import get, named, page_of
from services.web import Call, Route


class PersonAsked(Pages, frozen=True, kw_only=True):
    """One person at a time: this is no list of persons, nor one that could be had without an id."""

    limit: Limit = PAGE_ROWS


def routes(readings: Readings) -> list[Route]:
    async def person(call: Call) -> web.StreamResponse:
        page, asked = page_of(call)
        name = named(call, "person")
        opener = readings.opener(call)
        assert opener is not None  # The route needs the scope.
        async with readings.snapshot(call, persons.READS, page.wanted) as snapshot:
            found, more = await persons.read_person(snapshot, name, after=page.after, limit=asked.limit, opener=opener)
        if wants_csv(call.request.headers.get("Accept", "")):
            content_type, content = CSV, sheets.sheet(found.on_record, [], OnRecord)
        else:
            content_type, content = JSON, msgspec.json.encode(found)
        total = page.after + len(found.on_record) + more  # As far as it was looked.
        return send_page(call, page, found.as_of, total, content_type, content)

    return [
        get(
            "/persons/{person}",
            person,
            "Everything on record about one person, for who has a right to know it; who asked is on record",
            PersonAsked,
            OnePerson,
            otherwise=CSV,
            scope="personal",
        )
    ]
