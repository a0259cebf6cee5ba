"""Decisions, each in the light of its own moment: the routes, and how each is answered."""

import asyncio
from collections.abc import Sequence
from functools import partial

from aiohttp import web

from services.projector.answers import context, decisions
from services.projector.answers.context import CONTEXT_ITEMS_MAX, OneContext
from services.projector.answers.decisions import DecisionList, DecisionRow, Listed
from services.projector.answers.held import Known
from services.projector.answers.snapshot import Wanted
from services.projector.requests import paging
from services.projector.requests.asked import DecisionsAsked, choice, is_decision_asked_for
from services.projector.requests.paging import Moment, Pages
from services.projector.requests.readings import ListAt, Readings, Whole
from services.projector.requests.replies import Encoded, encode_page, respond, send_page
from services.projector.requests.route import get, named, page_of
from services.projector.shapes.decision import OneDecision
from services.web import Call, Route


def routes(readings: Readings) -> list[Route]:
    answers = _Decisions(readings)
    return [
        get("/decisions", answers.decisions, "Decisions, the last one first", DecisionsAsked, DecisionList),
        get("/decisions/{decision}", answers.decision, "A decision, with fits as decided", Moment, OneDecision),
        get(
            "/decisions/{decision}/context",
            answers.context,
            "What was known when it was decided, what was true and not known yet, and what came later",
            Pages,
            OneContext,
        ),
    ]


class _Decisions:
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def decisions(self, call: Call) -> web.StreamResponse:
        page, asked = page_of(call)

        def judge(read: decisions.ListRead, known: Known | None) -> Whole:
            listed = decisions.list_decisions(read, known)
            remembered = None if known is None else known.remembered
            return Whole(listed, partial(decisions.currencies_of, listed), remembered=remembered)

        wanted = choice(asked, lambda row: is_decision_asked_for(row, asked))

        def tell(settled: ListAt, whole: Whole) -> Encoded:
            def body(found: Sequence[Listed], rows: list[DecisionRow]) -> DecisionList:
                return DecisionList(as_of=settled.as_of, total=len(found), decisions=rows)

            return encode_page(call, page, whole, wanted, decisions.show_rows, DecisionRow, body)

        settled, encoded = await self._readings.told_beside_known(
            call, ("decisions",), page.wanted, decisions.read_decisions, judge, tell
        )
        return send_page(call, page, settled.as_of, *encoded)

    async def decision(self, call: Call) -> web.StreamResponse:
        name = named(call, "decision")
        async with self._readings.about_one(call, decisions.READS, paging.wanted(call.parameters)) as snapshot:
            evidence = await decisions.read_decision(snapshot, name)
        return respond(call, await asyncio.to_thread(decisions.one_decision, evidence, name))

    async def context(self, call: Call) -> web.StreamResponse:
        page, _ = page_of(call)
        name = named(call, "decision")
        async with self._readings.snapshot(call, context.READS, page.wanted) as snapshot:
            evidence = await context.read_context(snapshot, name)
        judged = await asyncio.to_thread(context.judge_context, evidence)
        pinned = Wanted(as_of=evidence.as_of.position)
        async with self._readings.snapshot(call, context.READS, pinned) as snapshot:
            states = await context.read_states(snapshot, judged, page.after)
        answer = await asyncio.to_thread(context.show_context, judged, states, page.after)
        after = page.after + CONTEXT_ITEMS_MAX
        headers = {}
        if after < context.longest(answer):
            headers["Link"] = paging.next_link(page, position=answer.as_of.position, after=after, limit=None)
        return respond(call, answer, headers)
