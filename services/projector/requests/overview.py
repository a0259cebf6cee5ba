"""What is asked of a ledger as a whole: the routes, and how each is answered."""

from collections.abc import Sequence

import msgspec
from aiohttp import web
from msgspec import UNSET

from services.projector.answers import alignment, projections, promises, reconciliation
from services.projector.answers.alignment import Alignment
from services.projector.answers.projections import ProjectionList
from services.projector.answers.promises import Promise, PromiseList, PromiseRow
from services.projector.answers.reconciliation import Reconciled, Reconciliation
from services.projector.answers.snapshot import Wanted
from services.projector.requests import paging, sheets
from services.projector.requests.asked import (
    AlignmentAsked,
    PromisesAsked,
    ReconciliationAsked,
    choice,
    instant,
    is_promise_asked_for,
    period,
)
from services.projector.requests.readings import Readings, Whole
from services.projector.requests.replies import CSV, JSON, one_by_one, respond, send_list, send_page, wants_csv
from services.projector.requests.route import get, page_of
from services.web import Call, Route


def routes(readings: Readings) -> list[Route]:
    answers = _Overview(readings)
    return [
        get(
            "/alignment",
            answers.alignment,
            "For whom demand comes, how it was answered, and what might be missing",
            AlignmentAsked,
            Alignment,
        ),
        get("/promises", answers.promises, "Promises, the last one first, with totals", PromisesAsked, PromiseList),
        get(
            "/reconciliation",
            answers.reconciliation,
            "What emitters have counted, against what is here",
            ReconciliationAsked,
            Reconciliation,
        ),
        get("/projections", answers.projections, "How far the read models have got", None, ProjectionList),
    ]


class _Overview:
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def alignment(self, call: Call) -> web.StreamResponse:
        asked: AlignmentAsked = call.parameters
        within = period(asked.from_, asked.to)
        settled, read = await self._readings.whole(
            call,
            ("alignment", "read"),
            alignment.READS,
            paging.wanted(asked),
            alignment.read_alignment,
            lambda evidence: Whole([evidence], within=evidence.rows),
        )
        [evidence] = read.rows
        # It is made from promises, too, of which what is held in memory knows nothing.
        name = ("alignment", settled.key, within.since, within.until)
        pinned = Wanted(as_of=settled.as_of.position)
        _, whole = await self._readings.whole_of_known(
            call, name, pinned, lambda known: Whole([alignment.align(evidence, known, within)])
        )
        return respond(call, whole.rows[0])

    async def promises(self, call: Call) -> web.StreamResponse:
        page, asked = page_of(call)
        within = period(asked.from_, asked.to)
        settled, whole = await self._readings.whole(
            call,
            ("promises",),
            promises.READS,
            page.wanted,
            promises.read_promises,
            lambda evidence: Whole(promises.list_promises(evidence)),
        )
        account, requirement = (None if name is UNSET else name for name in (asked.account, asked.requirement))
        of = promises.Subjects(account=account, requirement=requirement)
        if account is not None or requirement is not None:
            pinned = Wanted(as_of=settled.as_of.position)
            async with self._readings.snapshot(call, promises.READS, pinned) as snapshot:
                of = await promises.read_subjects(snapshot, account, requirement)

        def body(found: Sequence[Promise], rows: list[PromiseRow]) -> PromiseList:
            totals = promises.totals(found)
            return PromiseList(as_of=settled.as_of, total=len(found), totals=totals, promises=rows)

        wanted = choice(asked, lambda each: is_promise_asked_for(each, asked, of, within))
        return await send_list(
            call, page, settled.as_of, whole, wanted, one_by_one(promises.show_promise), PromiseRow, body
        )

    async def reconciliation(self, call: Call) -> web.StreamResponse:
        page, asked = page_of(call)
        wanted = reconciliation.Wanted(
            **{
                name: None if (given := getattr(asked, name)) is UNSET else given
                for name in ("source", "type", "agrees")
            },
            since=instant(asked.from_, "from"),
            until=instant(asked.to, "to"),
        )
        # To find those that agree, the events of all have to be counted.
        reading = self._readings.snapshot if wanted.agrees is None else self._readings.in_turn
        async with reading(call, reconciliation.READS, page.wanted) as snapshot:
            as_of = snapshot.as_of
            total, rows = await reconciliation.read_reconciliation(
                snapshot, wanted, after=page.after, limit=asked.limit
            )
        if wants_csv(call.request.headers.get("Accept", "")):
            return send_page(call, page, as_of, total, CSV, sheets.sheet(rows, (), Reconciled))
        body = Reconciliation(as_of=as_of, total=total, reconciliations=rows)
        return send_page(call, page, as_of, total, JSON, msgspec.json.encode(body))

    async def projections(self, call: Call) -> web.StreamResponse:
        runner = await self._readings.runner(call)
        return respond(call, await projections.list_projections(self._readings.projector.pool, runner))
