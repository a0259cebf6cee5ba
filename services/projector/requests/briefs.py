"""One decision, two briefs; and what may be said before there is one: the routes, and how each is answered."""

import asyncio
from collections.abc import Callable
from typing import Any

from aiohttp import web

from services.projector.answers import briefs
from services.projector.answers.snapshot import Wanted
from services.projector.briefs import documents
from services.projector.briefs.engineering import engineering_brief
from services.projector.briefs.record import OnRecord
from services.projector.briefs.sales import sales_brief
from services.projector.briefs.told import EngineeringBrief, RequirementBrief, SalesBrief
from services.projector.requests import paging
from services.projector.requests.asked import BriefAsked, RequirementBriefAsked
from services.projector.requests.readings import Readings
from services.projector.requests.replies import MARKDOWN, respond, send_document, wants_markdown
from services.projector.requests.route import get, named
from services.web import Call, Route


def routes(readings: Readings) -> list[Route]:
    answers = _Briefs(readings)
    return [
        get(
            "/decisions/{decision}/brief",
            answers.decision_brief,
            "A decision in brief, as engineering needs it or as sales does",
            BriefAsked,
            EngineeringBrief | SalesBrief,
            otherwise=MARKDOWN,
        ),
        get(
            "/requirements/{requirement}/brief",
            answers.requirement_brief,
            "What may be said of a requirement now, before a decision too",
            RequirementBriefAsked,
            RequirementBrief,
            otherwise=MARKDOWN,
        ),
    ]


class _Briefs:
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def decision_brief(self, call: Call) -> web.StreamResponse:
        name = named(call, "decision")
        async with self._readings.about_one(call, briefs.READS, paging.wanted(call.parameters)) as snapshot:
            evidence = await briefs.read_decision_brief(snapshot, name)
        on_record = await self._on_record(call, evidence)
        if call.parameters.voice == "engineering":
            return await _send_brief(call, lambda: engineering_brief(on_record), documents.madr)
        return await _send_brief(call, lambda: sales_brief(on_record), documents.page)

    async def requirement_brief(self, call: Call) -> web.StreamResponse:
        name = named(call, "requirement")
        async with self._readings.about_one(call, briefs.READS, paging.wanted(call.parameters)) as snapshot:
            evidence = await briefs.read_requirement_brief(snapshot, name)
        on_record = await self._on_record(call, evidence.brief)
        return await _send_brief(call, lambda: briefs.tell_requirement(evidence, on_record), documents.page)

    async def _on_record(self, call: Call, evidence: briefs.Evidence) -> OnRecord:
        on_record = await asyncio.to_thread(briefs.judge_brief, evidence)
        if on_record.one is None or not on_record.one.needs_review:
            return on_record
        pinned = Wanted(as_of=evidence.as_of.position)
        async with self._readings.snapshot(call, briefs.READS, pinned) as snapshot:
            return await briefs.read_marked(snapshot, on_record)


async def _send_brief(call: Call, tell: Callable[[], Any], written: Callable[[Any], str]) -> web.StreamResponse:
    """A brief, told beside the loop, as JSON or as the document that is `written` of it."""
    if not wants_markdown(call.request.headers.get("Accept", "")):
        return respond(call, await asyncio.to_thread(tell), {"Vary": "Authorization, Accept"})

    def document() -> tuple[str, str]:
        brief = tell()
        return documents.file_name(brief), written(brief)

    return send_document(call, *await asyncio.to_thread(document))
