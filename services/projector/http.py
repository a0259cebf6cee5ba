"""The requests that the projector answers."""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from schemas.values import ID_PATTERN
from services.problems import Problem
from services.projector import brief_documents, paging, sheets
from services.projector.answers import (
    accounts,
    agreements,
    alignment,
    attributes,
    briefs,
    context,
    counted,
    decisions,
    feedback,
    outcome,
    projections,
    promises,
    reconciliation,
    requirement,
    requirements,
    similarity,
    whatif,
)
from services.projector.answers.accounts import AccountList, AccountRow, ListedAccount, OneAccount
from services.projector.answers.agreements import AgreementList, AgreementRow, OneAgreement, OneRevision
from services.projector.answers.alignment import Alignment
from services.projector.answers.attributes import AttributeLine, AttributeList, AttributeRow
from services.projector.answers.context import CONTEXT_ITEMS_MAX, OneContext
from services.projector.answers.counted import Known
from services.projector.answers.decisions import DecisionList, DecisionRow, OneDecision
from services.projector.answers.feedback import FeedbackLine, FeedbackList
from services.projector.answers.outcome import RequirementOutcome
from services.projector.answers.projections import ProjectionList
from services.projector.answers.promises import Promise, PromiseList, PromiseRow
from services.projector.answers.reconciliation import Reconciled, Reconciliation
from services.projector.answers.requirement import WHO_ASKED_MAX, OneRequirement
from services.projector.answers.requirements import Listed, RequirementList, RequirementRow
from services.projector.answers.similarity import RequirementsFound, SimilarRow
from services.projector.answers.snapshot import Wanted
from services.projector.answers.whatif import WhatIfAnswer
from services.projector.asked import (
    AccountsAsked,
    AlignmentAsked,
    AttributesAsked,
    BriefAsked,
    DecisionsAsked,
    FeedbackAsked,
    PromisesAsked,
    ReconciliationAsked,
    RequirementBriefAsked,
    RequirementsAsked,
    WhatIfAsked,
    choice,
    instant,
    is_decision_asked_for,
    is_promise_asked_for,
    is_requirement_asked_for,
    mentions,
    period,
)
from services.projector.briefs import (
    EngineeringBrief,
    OnRecord,
    RequirementBrief,
    SalesBrief,
    engineering_brief,
    sales_brief,
)
from services.projector.paging import Lists, Moment, Page, Pages
from services.projector.projector import Projector
from services.projector.readings import Readings, Settled, Whole
from services.projector.replies import (
    CSV,
    JSON,
    MARKDOWN,
    as_it_is,
    respond,
    send_computed,
    send_document,
    send_list,
    send_page,
    wants_csv,
    wants_markdown,
)
from services.projector.standings import Lens
from services.web import Answer, Call, Route

_id = re.compile(ID_PATTERN)

_OTHERWISE = {
    CSV: "With `Accept: text/csv` as CSV.",
    MARKDOWN: "With `Accept: text/markdown` as a document: for engineering a decision record in the format MADR 4.0,"
    " for sales a page.",
}


def routes(projector: Projector, master_key: Path | None = None) -> list[Route]:
    """What the projector answers. `master_key`: the file of the key that opens sealed texts."""
    answers = _Answers(Readings(projector, master_key))
    ledger = "/v1/ledgers/{ledger}"

    def route(
        path: str, handler: Any, summary: str, parameters: type[Struct] | None, body: Any, *refusals: str
    ) -> Route:
        paged = parameters is not None and issubclass(parameters, Lists)
        otherwise = CSV if paged else MARKDOWN if parameters in (BriefAsked, RequirementBriefAsked) else None
        return Route(
            method="GET",
            path=ledger + path,
            handler=handler,
            summary=summary,
            scope="query",
            parameters=parameters,
            answers={
                200: Answer(f"{summary}. {_OTHERWISE[otherwise]}", {JSON: body, otherwise: None})
                if otherwise
                else Answer(summary, {JSON: body}),
                304: Answer("The answer still has the ETag that If-None-Match names."),
            },
            refusals=(
                *("no-such-ledger", "not-found", "beyond-the-head", "projection-stopped", "not-there-yet"),
                *refusals,
            ),
        )

    return [
        route("/requirements", answers.requirements, "Requirements by voice", RequirementsAsked, RequirementsFound),
        route(
            "/requirements/{requirement}",
            answers.requirement,
            "Who asked for it, how on-target they were, who decided",
            Pages,
            OneRequirement,
        ),
        route(
            "/requirements/{requirement}/outcome",
            answers.outcome,
            "What was at stake when it was decided, and what became of it",
            Moment,
            RequirementOutcome,
        ),
        route(
            "/accounts",
            answers.accounts,
            "Accounts by class, with totals",
            AccountsAsked,
            AccountList,
            "alias-contested",
        ),
        route(
            "/accounts/{account}", answers.account, "What is known of an account", Moment, OneAccount, "alias-contested"
        ),
        route("/attributes", answers.attributes, "Attributes of accounts", AttributesAsked, AttributeList),
        route("/agreements", answers.agreements, "Agreements, and what is in force", Lists, AgreementList),
        route("/agreements/{agreement}", answers.agreement, "An agreement with its revisions", Moment, OneAgreement),
        Route(
            method="POST",
            path=ledger + "/agreements/{agreement}/what-if",
            handler=answers.what_if,
            summary="What a proposed revision would change; nothing is recorded",
            scope="query",
            parameters=WhatIfAsked,
            takes={JSON: whatif.PROPOSAL},
            answers={200: Answer("What a proposed revision would change", {JSON: WhatIfAnswer})},
            refusals=(
                *("no-such-ledger", "not-found", "beyond-the-head", "projection-stopped", "not-there-yet"),
                *("malformed-json", "invalid-proposal", "too-large"),
            ),
        ),
        route("/agreements/{agreement}/revisions/{revision}", answers.revision, "One revision", Moment, OneRevision),
        route("/decisions", answers.decisions, "Decisions, the last one first", DecisionsAsked, DecisionList),
        route("/decisions/{decision}", answers.decision, "A decision, with fits as decided", Moment, OneDecision),
        route(
            "/decisions/{decision}/context",
            answers.context,
            "What was known when it was decided, what was true and not known yet, and what came later",
            Pages,
            OneContext,
        ),
        route(
            "/decisions/{decision}/brief",
            answers.decision_brief,
            "A decision in brief, as engineering needs it or as sales does",
            BriefAsked,
            EngineeringBrief | SalesBrief,
        ),
        route(
            "/requirements/{requirement}/brief",
            answers.requirement_brief,
            "What may be said of a requirement now, before a decision too",
            RequirementBriefAsked,
            RequirementBrief,
        ),
        route(
            "/feedback", answers.feedback, "What no ask refers to yet, the newest first", FeedbackAsked, FeedbackList
        ),
        route(
            "/alignment",
            answers.alignment,
            "For whom demand comes, how it was answered, and what might be missing",
            AlignmentAsked,
            Alignment,
        ),
        route("/promises", answers.promises, "Promises, the last one first, with totals", PromisesAsked, PromiseList),
        route(
            "/reconciliation",
            answers.reconciliation,
            "What emitters have counted, against what is here",
            ReconciliationAsked,
            Reconciliation,
        ),
        route("/projections", answers.projections, "How far the read models have got", None, ProjectionList),
    ]


class _Answers:
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def requirements(self, call: Call) -> web.StreamResponse:
        page, asked = _page(call)
        if asked.similar_to is not UNSET:
            return await self._similar(call, page, asked)
        if (asked.sort == "revenue") != (asked.currency is not UNSET):
            raise Problem(
                "bad-parameter", "`currency` goes with `sort=revenue`, and that with it", parameter="currency"
            )
        currency = None if asked.currency is UNSET else asked.currency

        settled, whole = await self._requirements(call, page.wanted, asked.lens)
        name = ("requirements", asked.lens)
        ordered = await self._readings.remembered.whole(
            (settled.key, *name, asked.sort, currency),
            lambda: asyncio.to_thread(
                lambda: Whole(requirements.in_order(whole.rows, asked.sort, currency), whole.currencies)
            ),
        )

        def body(found: Sequence[Listed], rows: list[RequirementRow]) -> RequirementList:
            return RequirementList(as_of=settled.as_of, lens=asked.lens, total=len(found), requirements=rows)

        wanted = choice(asked, lambda each: is_requirement_asked_for(each, asked))
        return await send_list(call, page, settled.as_of, ordered, wanted, requirements.show_row, RequirementRow, body)

    async def _requirements(self, call: Call, wanted: Wanted, lens: Lens) -> tuple[Settled, Whole]:
        """Every requirement, in the order of its id."""

        def judge(known: Known | None) -> Whole:
            listed = [] if known is None else requirements.list_requirements(known, lens)
            return Whole(listed, requirements.currencies_of(listed))

        return await self._readings.whole_of_known(call, ("requirements", lens), wanted, judge)

    async def _similar(self, call: Call, page: Page, asked: RequirementsAsked) -> web.StreamResponse:
        """The requirements most like a text."""
        for name in ("sort", "currency"):
            if name in page.filters:
                raise Problem("bad-parameter", f"`similar_to` has an order of its own: no `{name}`", parameter=name)
        wanted = choice(asked, lambda each: is_requirement_asked_for(each, asked))
        settled, whole = await self._requirements(call, page.wanted, asked.lens)
        as_of = settled.as_of
        opener = self._readings.opener(call)
        # What is opened is taken apart into words.
        reading = self._readings.snapshot if opener is None else self._readings.in_turn
        async with reading(call, counted.READS, Wanted(as_of=as_of.position)) as snapshot:
            compared = await similarity.read_similar(snapshot, str(asked.similar_to), opener)
            likely = compared.alike if wanted else compared.alike[: asked.limit]
            similarities = await similarity.read_similarities(snapshot, compared, likely)

        def rows() -> tuple[int, list[SimilarRow]]:
            listed = {row.heading.requirement: row for row in whole.rows}
            found = [row for each in likely if (row := listed.get(each.requirement)) and (not wanted or wanted(row))]
            shown = [
                similarity.show_similar(row, similarities[row.heading.requirement]) for row in found[: asked.limit]
            ]
            return len(found) if wanted else len(compared.alike), shown

        total, shown = await asyncio.to_thread(rows)
        if wants_csv(call.request.headers.get("Accept", "")):
            currencies = sorted({money.currency for row in shown for each in row.revenue.values() for money in each})
            return send_page(call, page, as_of, len(shown), CSV, sheets.sheet(shown, currencies, SimilarRow))
        body = RequirementsFound(as_of=as_of, lens=asked.lens, total=total, requirements=shown)
        return send_page(call, page, as_of, len(shown), JSON, msgspec.json.encode(body))

    async def requirement(self, call: Call) -> web.StreamResponse:
        page, _ = _page(call)
        name = _named(call, "requirement")
        async with self._readings.snapshot(call, requirements.READS, page.wanted) as snapshot:
            evidence = await requirement.read_requirement(snapshot, name)
        judged = await asyncio.to_thread(requirement.judge_requirement, evidence)
        pinned = Wanted(as_of=evidence.as_of.position)
        async with self._readings.snapshot(call, requirements.READS, pinned) as snapshot:
            answer = await requirement.show_requirement(
                snapshot, judged, after=page.after, opener=self._readings.opener(call)
            )
        after = page.after + WHO_ASKED_MAX
        headers = {}
        if after < answer.who_asked_total:
            headers["Link"] = paging.next_link(page, position=answer.as_of.position, after=after, limit=None)
        return respond(call, answer, headers)

    async def outcome(self, call: Call) -> web.StreamResponse:
        name = _named(call, "requirement")
        async with self._readings.snapshot(call, outcome.READS, paging.wanted(call.parameters)) as snapshot:
            evidence = await outcome.read_outcome(snapshot, name)
        return respond(call, await asyncio.to_thread(outcome.show_outcome, evidence))

    async def accounts(self, call: Call) -> web.StreamResponse:
        page, asked = _page(call)

        def judge(evidence: accounts.Evidence) -> Whole:
            listed = accounts.list_accounts(evidence)
            return Whole(listed, _currencies(listed))

        settled, whole = await self._readings.whole(
            call, ("accounts",), accounts.READS, page.wanted, accounts.read_accounts, judge
        )

        root: str | UnsetType = UNSET
        if asked.alias is not UNSET:
            async with self._readings.snapshot(call, accounts.READS, Wanted(as_of=settled.as_of.position)) as snapshot:
                root = await accounts.read_root(snapshot, asked.alias)

        def is_asked_for(each: ListedAccount) -> bool:
            return (
                asked.class_ in (UNSET, each.class_)
                and root in (UNSET, each.account)
                and (asked.q is UNSET or mentions(asked.q, each.account, each.name, *each.aliases))
            )

        def body(found: Sequence[ListedAccount], rows: list[AccountRow]) -> AccountList:
            return AccountList(as_of=settled.as_of, total=len(found), totals=accounts.totals(found), accounts=rows)

        wanted = choice(asked, is_asked_for)
        return await send_list(call, page, settled.as_of, whole, wanted, accounts.show_account, AccountRow, body)

    async def account(self, call: Call) -> web.StreamResponse:
        name = _named(call, "account")
        async with self._readings.snapshot(call, accounts.READS, paging.wanted(call.parameters)) as snapshot:
            judge = await accounts.read_account(snapshot, name, opener=self._readings.opener(call))
        return respond(call, await asyncio.to_thread(judge))

    async def attributes(self, call: Call) -> web.StreamResponse:
        page, asked = _page(call)

        def judge(evidence: attributes.Evidence) -> Whole:
            found = attributes.list_attributes(evidence)
            return Whole(found.rows, counted=found.accounts)

        settled, whole = await self._readings.whole(
            call, ("attributes",), attributes.READS, page.wanted, attributes.read_attributes, judge
        )

        def is_asked_for(row: AttributeRow) -> bool:
            return (asked.q is UNSET or mentions(asked.q, row.attribute)) and asked.used in (UNSET, bool(row.bullets))

        def body(found: Sequence[AttributeRow], rows: list[AttributeRow]) -> AttributeList:
            return AttributeList(as_of=settled.as_of, total=len(found), accounts=whole.counted, attributes=rows)

        as_csv = wants_csv(call.request.headers.get("Accept", ""))
        show = attributes.show_line if as_csv else as_it_is
        wanted = choice(asked, is_asked_for)
        return await send_list(call, page, settled.as_of, whole, wanted, show, AttributeLine, body)

    async def feedback(self, call: Call) -> web.StreamResponse:
        page, asked = _page(call)
        as_csv = wants_csv(call.request.headers.get("Accept", ""))
        opener = self._readings.opener(call)
        if opener is not None:
            page = page.of_at_most(feedback.SUGGESTED_ROWS_MAX)
        settled, taken_up = await self._readings.whole(
            call, ("feedback", "taken up"), feedback.READS, page.wanted, feedback.read_taken_up, Whole
        )
        wanted = Wanted(as_of=settled.as_of.position)
        of_class = None
        if asked.class_ is not UNSET:
            _, named = await self._readings.whole(
                call,
                ("feedback", "accounts"),
                feedback.READS,
                wanted,
                feedback.read_named,
                lambda evidence: Whole(feedback.names_by_class(evidence)),
            )
            of_class = {name for name, class_ in named.rows if class_ == asked.class_}
        # What is opened is compared with all titles.
        reading = self._readings.snapshot if opener is None else self._readings.in_turn
        async with reading(call, feedback.READS, wanted) as snapshot:
            names = None if asked.account is UNSET else await feedback.read_names_of(snapshot, asked.account)
            if of_class is not None:
                names = sorted(of_class if names is None else of_class.intersection(names))
            filters = feedback.Filters(
                taken_up=taken_up.rows, accounts=names, channel=None if asked.channel is UNSET else asked.channel
            )
            inbox = await feedback.read_inbox(
                snapshot, filters, after=page.after, limit=page.parameters.limit, opener=opener
            )
            currencies = await feedback.read_currencies(snapshot) if as_csv else []

        def encoded() -> bytes:
            found = feedback.show_inbox(inbox)
            if as_csv:
                return sheets.sheet([feedback.show_line(row) for row in found.feedback], currencies, FeedbackLine)
            return msgspec.json.encode(found)

        content = await asyncio.to_thread(encoded)
        return send_page(call, page, inbox.as_of, inbox.total, CSV if as_csv else JSON, content)

    async def agreements(self, call: Call) -> web.StreamResponse:
        page, _ = _page(call)
        async with self._readings.snapshot(call, agreements.READS, page.wanted) as snapshot:
            found = await agreements.list_agreements(snapshot)
            as_of = snapshot.as_of

        def body(found: Sequence[AgreementRow], rows: list[AgreementRow]) -> AgreementList:
            return AgreementList(as_of=as_of, total=len(found), agreements=rows)

        return await send_list(call, page, as_of, Whole(found), None, as_it_is, AgreementRow, body)

    async def agreement(self, call: Call) -> web.StreamResponse:
        name = _named(call, "agreement")
        async with self._readings.snapshot(call, agreements.READS, paging.wanted(call.parameters)) as snapshot:
            answer = await agreements.one_agreement(snapshot, name)
        return respond(call, answer)

    async def what_if(self, call: Call) -> web.StreamResponse:
        name, asked = _named(call, "agreement"), call.parameters
        proposal = whatif.read_proposal(await _small_body(call.request, whatif.PROPOSAL_OCTETS_MAX))
        async with self._readings.known(call, paging.wanted(asked)) as (settled, known):
            if known is None:
                raise Problem("not-found", "nothing is recorded at position 0")
            pinned = Wanted(as_of=settled.as_of.position)
            async with self._readings.snapshot(call, whatif.READS, pinned) as snapshot:
                evidence = await whatif.read_evidence(snapshot, name)
            tried = await asyncio.to_thread(
                whatif.try_revision,
                *(known, evidence, proposal),
                limit=asked.limit,
                new_attributes=asked.new_attributes,
            )
            async with self._readings.snapshot(call, whatif.READS, pinned) as snapshot:
                names = await whatif.read_names_shown(snapshot, tried)
            answer = await asyncio.to_thread(whatif.show, tried, names, settled.as_of)
        return send_computed(answer)

    async def revision(self, call: Call) -> web.StreamResponse:
        name, revision = _named(call, "agreement"), _named(call, "revision")
        async with self._readings.snapshot(call, agreements.READS, paging.wanted(call.parameters)) as snapshot:
            answer = await agreements.one_revision(snapshot, name, revision)
        return respond(call, answer)

    async def decisions(self, call: Call) -> web.StreamResponse:
        page, asked = _page(call)

        def judge(evidence: decisions.Evidence) -> Whole:
            listed = decisions.list_decisions(evidence)
            return Whole(listed, _currencies(listed))

        settled, whole = await self._readings.whole(
            call,
            ("decisions",),
            decisions.READS,
            page.wanted,
            decisions.read_decisions,
            judge,
        )

        def body(found: Sequence[DecisionRow], rows: list[DecisionRow]) -> DecisionList:
            return DecisionList(as_of=settled.as_of, total=len(found), decisions=rows)

        wanted = choice(asked, lambda row: is_decision_asked_for(row, asked))
        return await send_list(call, page, settled.as_of, whole, wanted, as_it_is, DecisionRow, body)

    async def decision(self, call: Call) -> web.StreamResponse:
        name = _named(call, "decision")
        async with self._readings.snapshot(call, decisions.READS, paging.wanted(call.parameters)) as snapshot:
            evidence = await decisions.read_decision(snapshot, name)
        return respond(call, await asyncio.to_thread(decisions.one_decision, evidence, name))

    async def context(self, call: Call) -> web.StreamResponse:
        page, _ = _page(call)
        name = _named(call, "decision")
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

    async def decision_brief(self, call: Call) -> web.StreamResponse:
        name = _named(call, "decision")
        async with self._readings.snapshot(call, briefs.READS, paging.wanted(call.parameters)) as snapshot:
            evidence = await briefs.read_decision_brief(snapshot, name)
        on_record = await self._on_record(call, evidence)
        if call.parameters.voice == "engineering":
            return await _send_brief(call, lambda: engineering_brief(on_record), brief_documents.madr)
        return await _send_brief(call, lambda: sales_brief(on_record), brief_documents.page)

    async def requirement_brief(self, call: Call) -> web.StreamResponse:
        name = _named(call, "requirement")
        async with self._readings.snapshot(call, briefs.READS, paging.wanted(call.parameters)) as snapshot:
            evidence = await briefs.read_requirement_brief(snapshot, name)
        on_record = await self._on_record(call, evidence.brief)
        return await _send_brief(call, lambda: briefs.tell_requirement(evidence, on_record), brief_documents.page)

    async def _on_record(self, call: Call, evidence: briefs.Evidence) -> OnRecord:
        on_record = await asyncio.to_thread(briefs.judge_brief, evidence)
        if on_record.one is None or not on_record.one.needs_review:
            return on_record
        pinned = Wanted(as_of=evidence.as_of.position)
        async with self._readings.snapshot(call, briefs.READS, pinned) as snapshot:
            return await briefs.read_marked(snapshot, on_record)

    async def alignment(self, call: Call) -> web.StreamResponse:
        asked: AlignmentAsked = call.parameters
        within = period(asked.from_, asked.to)
        settled, read = await self._readings.whole(
            call,
            ("alignment", "read"),
            alignment.READS,
            paging.wanted(asked),
            alignment.read_alignment,
            lambda evidence: Whole([evidence]),
        )
        [evidence] = read.rows
        name, pinned = ("alignment", str(within.since), str(within.until)), Wanted(as_of=settled.as_of.position)
        _, whole = await self._readings.whole_of_known(
            call, name, pinned, lambda known: Whole([alignment.align(evidence, known, within)])
        )
        return respond(call, whole.rows[0])

    async def promises(self, call: Call) -> web.StreamResponse:
        page, asked = _page(call)
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
        return await send_list(call, page, settled.as_of, whole, wanted, promises.show_promise, PromiseRow, body)

    async def reconciliation(self, call: Call) -> web.StreamResponse:
        page, asked = _page(call)
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


async def _send_brief(call: Call, tell: Callable[[], Any], written: Callable[[Any], str]) -> web.StreamResponse:
    """A brief, told beside the loop, as JSON or as the document that is `written` of it."""
    if not wants_markdown(call.request.headers.get("Accept", "")):
        return respond(call, await asyncio.to_thread(tell), {"Vary": "Authorization, Accept"})

    def document() -> tuple[str, str]:
        brief = tell()
        return brief_documents.file_name(brief), written(brief)

    return send_document(call, *await asyncio.to_thread(document))


async def _small_body(request: web.Request, octets_max: int) -> bytes:
    """The body of a request. Raises Problem if it has too many octets; so many are read at most."""
    body = bytearray()
    async for part in request.content.iter_chunked(octets_max):
        body += part
        if len(body) > octets_max:
            raise Problem("too-large", f"the body of this request has at most {octets_max} bytes")
    return bytes(body)


def _page(call: Call) -> tuple[Page, Any]:
    """The page that is asked for, and its parameters. Raises Problem."""
    page = paging.resume(call.parameters, call.request.rel_url.raw_path, call.request.query)
    return page, page.parameters


def _currencies(listed: Iterable[ListedAccount | DecisionRow]) -> list[str]:
    return sorted({currency for each in listed for currency in each.currencies})


def _named(call: Call, kind: str) -> str:
    """The id in the path. Raises Problem if nothing can have it."""
    name: str = call.request.match_info[kind]
    if not _id.match(name):
        raise Problem("not-found", f"nothing has the id {name[:100]!r}")
    return name
