"""Requirements, who asked for them, and what became of it: the routes, and how each is answered."""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec
from aiohttp import web
from msgspec import UNSET

from services.problems import Problem
from services.projector.answers import held, outcome, requirement, requirements, similarity
from services.projector.answers.cited import read_cited
from services.projector.answers.held import Known
from services.projector.answers.outcome import RequirementOutcome
from services.projector.answers.requirements import Listed, RequirementList, RequirementRow, Sort
from services.projector.answers.similarity import RequirementsFound, SimilarRow
from services.projector.answers.snapshot import Wanted
from services.projector.counting.judging import Lens
from services.projector.requests import paging, sheets
from services.projector.requests.asked import RequirementAsked, RequirementsAsked, choice, is_requirement_asked_for
from services.projector.requests.paging import Moment, Page
from services.projector.requests.readings import ListAt, Readings, Whole
from services.projector.requests.replies import CSV, JSON, Encoded, encode_page, respond, send_page, wants_csv
from services.projector.requests.route import get, named, page_of
from services.projector.shapes.proof import show_proof
from services.projector.telling.requirement import (
    WHO_ASKED_MAX,
    OneRequirement,
    asks_of,
    fits_one_page,
    judge_requirement,
    tell_requirement,
)
from services.web import Call, Route


def routes(readings: Readings) -> list[Route]:
    answers = _Requirements(readings)
    return [
        get("/requirements", answers.requirements, "Requirements by voice", RequirementsAsked, RequirementsFound),
        get(
            "/requirements/{requirement}",
            answers.requirement,
            "Who asked for it, how on-target they were, who decided",
            RequirementAsked,
            OneRequirement,
            "too-much-to-prove",
        ),
        get(
            "/requirements/{requirement}/outcome",
            answers.outcome,
            "What was at stake when it was decided, and what became of it",
            Moment,
            RequirementOutcome,
        ),
    ]


class _Requirements:
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def requirements(self, call: Call) -> web.StreamResponse:
        page, asked = page_of(call)
        if asked.similar_to is not UNSET:
            return await self._similar(call, page, asked)
        if (asked.sort == "revenue") != (asked.currency is not UNSET):
            raise Problem(
                "bad-parameter", "`currency` goes with `sort=revenue`, and that with it", parameter="currency"
            )
        currency = None if asked.currency is UNSET else asked.currency

        wanted = choice(asked, lambda each: is_requirement_asked_for(each, asked))

        def tell(settled: ListAt, whole: Whole) -> Encoded:
            def body(found: Sequence[Listed], rows: list[RequirementRow]) -> RequirementList:
                return RequirementList(as_of=settled.as_of, lens=asked.lens, total=len(found), requirements=rows)

            return encode_page(call, page, whole, wanted, requirements.show_rows, RequirementRow, body)

        settled, encoded = await self._readings.told_of_known(
            call,
            _name(asked.lens, asked.sort, currency),
            page.wanted,
            partial(_judge, asked.lens, asked.sort, currency),
            tell,
        )
        return send_page(call, page, settled.as_of, *encoded)

    async def requirement(self, call: Call) -> web.StreamResponse:
        page, asked = page_of(call)
        name = named(call, "requirement")
        deadline = asyncio.get_running_loop().time() + page.wanted.timeout_seconds
        opener = self._readings.opener(call)
        # What is proven rests on each single event.
        reading = self._readings.snapshot if asked.proof else self._readings.about_one
        async with reading(call, requirements.READS, page.wanted) as snapshot:
            evidence = await requirement.read_requirement(snapshot, name)
            everybody = page.after == 0 and fits_one_page(evidence)
            shown = await requirement.read_shown(snapshot, evidence, evidence.live, opener) if everybody else None
        judged = await asyncio.to_thread(judge_requirement, evidence)
        asking, pinned = judged.page(page.after), Wanted(as_of=evidence.as_of.position)
        if shown is None:
            async with self._readings.snapshot(call, requirements.READS, pinned) as snapshot:
                shown = await requirement.read_shown(snapshot, evidence, asks_of(judged, asking), opener)
        answer = await asyncio.to_thread(tell_requirement, judged, asking, shown)
        if asked.proof:
            kept = await self._readings.checkpoint(call, evidence.as_of.position, deadline)
            # What is proven is hashed.
            async with self._readings.in_turn(call, requirements.READS, pinned) as snapshot:
                cited = await read_cited(snapshot, judged, shown, page.after, kept)
            proof = await asyncio.to_thread(show_proof, cited.entries, kept.size, kept.note, cited.subtree)
            answer = msgspec.structs.replace(answer, proof=proof)
        after = page.after + WHO_ASKED_MAX
        headers = {}
        if after < answer.who_asked_total:
            headers["Link"] = paging.next_link(page, position=answer.as_of.position, after=after, limit=None)
        return respond(call, answer, headers)

    async def outcome(self, call: Call) -> web.StreamResponse:
        name = named(call, "requirement")
        async with self._readings.about_one(call, outcome.READS, paging.wanted(call.parameters)) as snapshot:
            evidence = await outcome.read_outcome(snapshot, name)
        return respond(call, await asyncio.to_thread(outcome.show_outcome, evidence))

    async def _similar(self, call: Call, page: Page, asked: RequirementsAsked) -> web.StreamResponse:
        """The requirements most like a text."""
        for name in ("sort", "currency"):
            if name in page.filters:
                raise Problem("bad-parameter", f"`similar_to` has an order of its own: no `{name}`", parameter=name)
        wanted = choice(asked, lambda each: is_requirement_asked_for(each, asked))
        settled, whole = await self._readings.whole_of_known(
            call, _name(asked.lens), page.wanted, partial(_judge, asked.lens, "voice", None)
        )
        as_of = settled.as_of
        opener = self._readings.opener(call)
        # What is opened is taken apart into words.
        reading = self._readings.snapshot if opener is None else self._readings.in_turn
        async with reading(call, held.READS, Wanted(as_of=as_of.position)) as snapshot:
            compared = await similarity.read_similar(snapshot, str(asked.similar_to), opener)
            likely = compared.alike if wanted else compared.alike[: asked.limit]
            similarities = await similarity.read_similarities(snapshot, compared, likely)

        def rows() -> tuple[int, list[SimilarRow]]:
            listed = {row.heading.requirement: row for row in whole.rows}
            found = [row for each in likely if (row := listed.get(each.requirement)) and (not wanted or wanted(row))]
            shown = [
                similarity.show_similar(row, similarities[row.requirement])
                for row in requirements.show_rows(found[: asked.limit])
            ]
            return len(found) if wanted else len(compared.alike), shown

        total, shown = await asyncio.to_thread(rows)
        if opener is not None:
            opener.show(similarity.problems_told(compared, similarities, {row.requirement for row in shown}))
        if wants_csv(call.request.headers.get("Accept", "")):
            currencies = sorted({money.currency for row in shown for each in row.revenue.values() for money in each})
            return send_page(call, page, as_of, len(shown), CSV, sheets.sheet(shown, currencies, SimilarRow))
        body = RequirementsFound(as_of=as_of, lens=asked.lens, total=total, requirements=shown)
        return send_page(call, page, as_of, len(shown), JSON, msgspec.json.encode(body))


def _name(lens: Lens, sort: Sort = "voice", currency: str | None = None) -> tuple[str, ...]:
    return "requirements", lens, sort, str(currency)


def _judge(lens: Lens, sort: Sort, currency: str | None, known: Known | None) -> Whole:
    """Every requirement, the most first; of equals the lower id."""
    if known is None:
        return Whole(())
    listed = requirements.list_requirements(known, lens, sort, currency)
    return Whole(listed, listed.currencies, remembered=known.remembered)
