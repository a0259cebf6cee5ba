"""The requests that the projector answers."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.values import ID_PATTERN, EventType, Id, Source, moment
from services.problems import Problem
from services.projector import paging, sheets
from services.projector.answers import (
    accounts,
    agreements,
    attributes,
    decisions,
    feedback,
    projections,
    reconciliation,
    requirement,
    requirements,
    similarity,
)
from services.projector.answers.accounts import AccountList, AccountRow, ListedAccount, OneAccount
from services.projector.answers.agreements import AgreementList, AgreementRow, OneAgreement, OneRevision
from services.projector.answers.attributes import AttributeLine, AttributeList, AttributeRow
from services.projector.answers.decisions import DecisionList, DecisionRow, Grounds, OneDecision, Outcome
from services.projector.answers.feedback import FeedbackLine, FeedbackList
from services.projector.answers.projections import ProjectionList
from services.projector.answers.reconciliation import Reconciled, Reconciliation
from services.projector.answers.requirement import WHO_ASKED_MAX, OneRequirement
from services.projector.answers.requirements import (
    Lens,
    Listed,
    RequirementList,
    RequirementRow,
    Sort,
    Status,
)
from services.projector.answers.sealed import Opener
from services.projector.answers.similarity import RequirementsFound, SimilarRow
from services.projector.answers.snapshot import AsOf, Snapshot, Wanted, open_snapshot
from services.projector.fit import Class, folded
from services.projector.paging import Lists, Moment, Page, Pages
from services.projector.projector import NoSuchLedger, Projector, Runner
from services.sealing import MasterKey, MasterKeyError
from services.web import Answer, Call, Route, has_already

REMEMBERED_LISTS_MAX = 32
REMEMBERED_ROWS_MAX = 50_000
SIMILAR_TO_CHARACTERS_MAX = 8_000
LISTS_AT_ONCE_MAX = 3  # The heaviest answers leave connections, time and memory to the others.

CSV = "text/csv"
JSON = "application/json"

ClassAsked = Annotated[Class, Meta(description="of this class, as of now")]
WordsAsked = Annotated[str, Meta(max_length=200, description="words in the id or in what it is called")]
LimitWithSuggestions = Annotated[
    paging.Limit,
    Meta(
        description=f"rows of a page at most; with the scope personal, where rows come with suggestions,"
        f" {feedback.SUGGESTED_ROWS_MAX} are the most"
    ),
]
SimilarTo = Annotated[
    str, Meta(max_length=SIMILAR_TO_CHARACTERS_MAX, description="a text; those without a word are like nothing")
]
_YEARS = "^(19[0-9]{2}|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])-"  # YEAR_MIN to YEAR_MAX
InstantText = Annotated[
    str,
    Meta(
        max_length=40,
        description="periods that overlap with this one; a date (its first instant in UTC), or an RFC 3339 time",
        extra_json_schema={"anyOf": [{"format": "date"}, {"format": "date-time"}], "pattern": _YEARS},
    ),
]

_Evidence = TypeVar("_Evidence")

_id = re.compile(ID_PATTERN)


class RequirementsAsked(Lists, frozen=True, kw_only=True, rename={"class_": "class"}):
    """`class`: at least one account that asks is of it. `q`: words in id, title or area. `similar_to`: the requirements
    most like a text, best first; the other filters choose from them. They are one page, and have no other order."""

    status: Annotated[Status, Meta(description="what has been decided")] | UnsetType = UNSET
    class_: Annotated[Class, Meta(description="at least one account that asks is of it")] | UnsetType = UNSET
    area: Annotated[str, Meta(max_length=200, description="of this area, upper or lower case")] | UnsetType = UNSET
    q: WordsAsked | UnsetType = UNSET
    sort: Annotated[Sort, Meta(description="the order; by `revenue` in one `currency`")] = "voice"
    currency: (
        Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217; goes with `sort=revenue`")] | UnsetType
    ) = UNSET
    lens: Annotated[Lens, Meta(description="by the agreement of now, or by that of the day on which each asked")] = (
        "now"
    )
    similar_to: SimilarTo | UnsetType = UNSET


class FeedbackAsked(Lists, frozen=True, kw_only=True, rename={"class_": "class"}):
    """`account`: of the account that this name stands for, whatever the feedback calls it. `channel`: exactly this one,
    upper or lower case. `class`: of accounts of this class, as of now. With the scope personal, pages are shorter."""

    limit: LimitWithSuggestions = paging.PAGE_ROWS
    account: Annotated[Id, Meta(description="of the account that this name stands for")] | UnsetType = UNSET
    channel: Annotated[str, Meta(max_length=200, description="by this channel")] | UnsetType = UNSET
    class_: ClassAsked | UnsetType = UNSET


class AttributesAsked(Lists, frozen=True, kw_only=True):
    """`q`: words in the name. `used`: only those that bullets use, or only the others."""

    q: WordsAsked | UnsetType = UNSET
    used: Annotated[bool, Meta(description="only those that bullets use, or only the others")] | UnsetType = UNSET


class AccountsAsked(Lists, frozen=True, kw_only=True, rename={"class_": "class"}):
    """`q`: words in id or name. `alias`: the account that a name stands for, an id of it elsewhere as system:id."""

    class_: ClassAsked | UnsetType = UNSET
    q: WordsAsked | UnsetType = UNSET
    alias: Annotated[Id, Meta(description="the account that this stands for, as `system:id`")] | UnsetType = UNSET


class DecisionsAsked(Lists, frozen=True, kw_only=True):
    departs: (
        Annotated[Literal["no", "undetermined", "yes"], Meta(description="whether it departs from the agreement")]
        | UnsetType
    ) = UNSET
    outcome: Annotated[Outcome, Meta(description="what was decided")] | UnsetType = UNSET
    grounds: Annotated[Grounds, Meta(description="on what grounds")] | UnsetType = UNSET
    needs_review: Annotated[bool, Meta(description="whether what it rests on has changed")] | UnsetType = UNSET


class ReconciliationAsked(Lists, frozen=True, kw_only=True, rename={"from_": "from"}):
    """`from`, `to`: periods that overlap with this one; each a date, or an RFC 3339 time."""

    source: Source | UnsetType = UNSET
    type: Annotated[EventType, Meta(description="counts of this event type")] | UnsetType = UNSET
    agrees: Annotated[bool, Meta(description="whether the emitter counted what is here")] | UnsetType = UNSET
    from_: InstantText | UnsetType = UNSET
    to: InstantText | UnsetType = UNSET


def routes(projector: Projector, master_key: Path | None = None) -> list[Route]:
    """What the projector answers. `master_key`: the file of the key that opens sealed texts."""
    answers = _Answers(projector, master_key)
    ledger = "/v1/ledgers/{ledger}"

    def route(path: str, handler: Any, summary: str, parameters: type[Struct] | None, body: type[Struct]) -> Route:
        paged = parameters is not None and issubclass(parameters, Lists)
        return Route(
            method="GET",
            path=ledger + path,
            handler=handler,
            summary=summary,
            scope="query",
            parameters=parameters,
            answers={
                200: Answer(summary, {JSON: body, CSV: None} if paged else {JSON: body}),
                304: Answer("The answer still has the ETag that If-None-Match names."),
            },
            refusals=("no-such-ledger", "not-found", "beyond-the-head", "projection-stopped", "not-there-yet"),
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
        route("/accounts", answers.accounts, "Accounts by class, with totals", AccountsAsked, AccountList),
        route("/accounts/{account}", answers.account, "What is known of an account", Moment, OneAccount),
        route("/attributes", answers.attributes, "Attributes of accounts", AttributesAsked, AttributeList),
        route("/agreements", answers.agreements, "Agreements, and what is in force", Lists, AgreementList),
        route("/agreements/{agreement}", answers.agreement, "An agreement with its revisions", Moment, OneAgreement),
        route("/agreements/{agreement}/revisions/{revision}", answers.revision, "One revision", Moment, OneRevision),
        route("/decisions", answers.decisions, "Decisions, the last one first", DecisionsAsked, DecisionList),
        route("/decisions/{decision}", answers.decision, "A decision, with fits as decided", Moment, OneDecision),
        route(
            "/feedback", answers.feedback, "What no ask refers to yet, the newest first", FeedbackAsked, FeedbackList
        ),
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
    def __init__(self, projector: Projector, master_key: Path | None) -> None:
        self._projector = projector
        self._master_key = master_key
        self._loaded: MasterKey | None = None
        self._remembered = _Remembered()
        self._turns = asyncio.Semaphore(LISTS_AT_ONCE_MAX)

    async def requirements(self, call: Call) -> web.StreamResponse:
        page, asked = self._page(call)
        if asked.similar_to is not UNSET:
            return await self._similar(call, page, asked)
        if (asked.sort == "revenue") != (asked.currency is not UNSET):
            raise Problem(
                "bad-parameter", "`currency` goes with `sort=revenue`, and that with it", parameter="currency"
            )
        currency = None if asked.currency is UNSET else asked.currency

        def judge(evidence: requirements.Evidence) -> _Whole:
            listed = requirements.list_requirements(evidence, asked.lens)
            return _Whole(listed, _currencies(listed))

        name = ("requirements", asked.lens)
        settled, whole = await self._whole(
            call, name, requirements.READS, page.wanted, requirements.read_requirements, judge
        )
        ordered = await self._remembered.whole(
            (settled.key, *name, asked.sort, currency),
            lambda: asyncio.to_thread(
                lambda: _Whole(requirements.in_order(whole.rows, asked.sort, currency), whole.currencies)
            ),
        )

        def body(found: Sequence[Listed], rows: list[RequirementRow]) -> RequirementList:
            return RequirementList(as_of=settled.as_of, lens=asked.lens, total=len(found), requirements=rows)

        wanted = _filter(asked, lambda each: _is_asked_for(each, asked))
        return await _list(call, page, settled.as_of, ordered, wanted, requirements.show_row, RequirementRow, body)

    async def _similar(self, call: Call, page: Page, asked: RequirementsAsked) -> web.StreamResponse:
        """The requirements most like a text. Only what is shown, or chosen from, is judged."""
        for name in ("sort", "currency"):
            if name in page.filters:
                raise Problem("bad-parameter", f"`similar_to` has an order of its own: no `{name}`", parameter=name)
        wanted = _filter(asked, lambda each: _is_asked_for(each, asked))
        opener = self._opener(call)
        # What is opened is taken apart into words.
        reading = self._snapshot if opener is None else self._in_turn
        async with reading(call, requirements.READS, page.wanted) as snapshot:
            as_of = snapshot.as_of
            compared = await similarity.read_similar(snapshot, str(asked.similar_to), opener)
            likely = compared.alike if wanted else compared.alike[: asked.limit]
            evidence = await requirements.read_requirements_of(snapshot, [each.requirement for each in likely])
            similarities = await similarity.read_similarities(snapshot, compared, likely)

        def rows() -> tuple[int, list[SimilarRow]]:
            listed = {row.header["requirement"]: row for row in requirements.list_requirements(evidence, asked.lens)}
            found = [row for each in likely if (row := listed.get(each.requirement)) and (not wanted or wanted(row))]
            shown = [
                similarity.show_similar(row, similarities[row.header["requirement"]]) for row in found[: asked.limit]
            ]
            return len(found) if wanted else len(compared.alike), shown

        total, shown = await asyncio.to_thread(rows)
        if _wants_csv(call.request.headers.get("Accept", "")):
            currencies = sorted({money.currency for row in shown for each in row.revenue.values() for money in each})
            return _send_page(call, page, as_of, len(shown), CSV, sheets.sheet(shown, currencies, SimilarRow))
        body = RequirementsFound(as_of=as_of, lens=asked.lens, total=total, requirements=shown)
        return _send_page(call, page, as_of, len(shown), JSON, msgspec.json.encode(body))

    async def requirement(self, call: Call) -> web.StreamResponse:
        page, _ = self._page(call)
        name = _named(call, "requirement")
        async with self._snapshot(call, requirements.READS, page.wanted) as snapshot:
            evidence = await requirement.read_requirement(snapshot, name)
        judged = await asyncio.to_thread(requirement.judge_requirement, evidence)
        pinned = Wanted(as_of=evidence.as_of.position)
        async with self._snapshot(call, requirements.READS, pinned) as snapshot:
            answer = await requirement.show_requirement(snapshot, judged, after=page.after, opener=self._opener(call))
        after = page.after + WHO_ASKED_MAX
        headers = {}
        if after < answer.who_asked_total:
            headers["Link"] = paging.next_link(page, position=answer.as_of.position, after=after, limit=None)
        return _respond(call, answer, headers)

    async def accounts(self, call: Call) -> web.StreamResponse:
        page, asked = self._page(call)

        def judge(evidence: accounts.Evidence) -> _Whole:
            listed = accounts.list_accounts(evidence)
            return _Whole(listed, _currencies(listed))

        settled, whole = await self._whole(
            call, ("accounts",), accounts.READS, page.wanted, accounts.read_accounts, judge
        )

        root: str | UnsetType = UNSET
        if asked.alias is not UNSET:
            async with self._snapshot(call, accounts.READS, Wanted(as_of=settled.as_of.position)) as snapshot:
                root = await accounts.read_root(snapshot, asked.alias)

        def is_asked_for(each: ListedAccount) -> bool:
            return (
                asked.class_ in (UNSET, each.class_)
                and root in (UNSET, each.account)
                and (asked.q is UNSET or _mentions(asked.q, each.account, each.name, *each.aliases))
            )

        def body(found: Sequence[ListedAccount], rows: list[AccountRow]) -> AccountList:
            return AccountList(as_of=settled.as_of, total=len(found), totals=accounts.totals(found), accounts=rows)

        wanted = _filter(asked, is_asked_for)
        return await _list(call, page, settled.as_of, whole, wanted, accounts.show_account, AccountRow, body)

    async def account(self, call: Call) -> web.StreamResponse:
        name = _named(call, "account")
        async with self._snapshot(call, accounts.READS, paging.wanted(call.parameters)) as snapshot:
            judge = await accounts.read_account(snapshot, name, opener=self._opener(call))
        return _respond(call, await asyncio.to_thread(judge))

    async def attributes(self, call: Call) -> web.StreamResponse:
        page, asked = self._page(call)

        def judge(evidence: attributes.Evidence) -> _Whole:
            found = attributes.list_attributes(evidence)
            return _Whole(found.rows, counted=found.accounts)

        settled, whole = await self._whole(
            call, ("attributes",), attributes.READS, page.wanted, attributes.read_attributes, judge
        )

        def is_asked_for(row: AttributeRow) -> bool:
            return (asked.q is UNSET or _mentions(asked.q, row.attribute)) and asked.used in (UNSET, bool(row.bullets))

        def body(found: Sequence[AttributeRow], rows: list[AttributeRow]) -> AttributeList:
            return AttributeList(as_of=settled.as_of, total=len(found), accounts=whole.counted, attributes=rows)

        as_csv = _wants_csv(call.request.headers.get("Accept", ""))
        show = attributes.show_line if as_csv else _as_it_is
        wanted = _filter(asked, is_asked_for)
        return await _list(call, page, settled.as_of, whole, wanted, show, AttributeLine, body)

    async def feedback(self, call: Call) -> web.StreamResponse:
        page, asked = self._page(call)
        as_csv = _wants_csv(call.request.headers.get("Accept", ""))
        opener = self._opener(call)
        if opener is not None:
            page = page.of_at_most(feedback.SUGGESTED_ROWS_MAX)
        settled, taken_up = await self._whole(
            call, ("feedback", "taken up"), feedback.READS, page.wanted, feedback.read_taken_up, _Whole
        )
        wanted = Wanted(as_of=settled.as_of.position)
        of_class = None
        if asked.class_ is not UNSET:
            _, named = await self._whole(
                call,
                ("feedback", "accounts"),
                feedback.READS,
                wanted,
                feedback.read_named,
                lambda evidence: _Whole(feedback.names_by_class(evidence)),
            )
            of_class = {name for name, class_ in named.rows if class_ == asked.class_}
        # What is opened is compared with all titles.
        reading = self._snapshot if opener is None else self._in_turn
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
        return _send_page(call, page, inbox.as_of, inbox.total, CSV if as_csv else JSON, content)

    async def agreements(self, call: Call) -> web.StreamResponse:
        page, _ = self._page(call)
        async with self._snapshot(call, agreements.READS, page.wanted) as snapshot:
            found = await agreements.list_agreements(snapshot)
            as_of = snapshot.as_of

        def body(found: Sequence[AgreementRow], rows: list[AgreementRow]) -> AgreementList:
            return AgreementList(as_of=as_of, total=len(found), agreements=rows)

        return await _list(call, page, as_of, _Whole(found), None, _as_it_is, AgreementRow, body)

    async def agreement(self, call: Call) -> web.StreamResponse:
        name = _named(call, "agreement")
        async with self._snapshot(call, agreements.READS, paging.wanted(call.parameters)) as snapshot:
            answer = await agreements.one_agreement(snapshot, name)
        return _respond(call, answer)

    async def revision(self, call: Call) -> web.StreamResponse:
        name, revision = _named(call, "agreement"), _named(call, "revision")
        async with self._snapshot(call, agreements.READS, paging.wanted(call.parameters)) as snapshot:
            answer = await agreements.one_revision(snapshot, name, revision)
        return _respond(call, answer)

    async def decisions(self, call: Call) -> web.StreamResponse:
        page, asked = self._page(call)
        settled, whole = await self._whole(
            call,
            ("decisions",),
            decisions.READS,
            page.wanted,
            decisions.read_decisions,
            lambda evidence: _Whole(decisions.list_decisions(evidence)),
        )

        def is_asked_for(row: DecisionRow) -> bool:
            return (
                asked.departs in (UNSET, row.departs)
                and asked.outcome in (UNSET, row.outcome)
                and asked.grounds in (UNSET, row.grounds)
                and asked.needs_review in (UNSET, row.needs_review)
            )

        def body(found: Sequence[DecisionRow], rows: list[DecisionRow]) -> DecisionList:
            return DecisionList(as_of=settled.as_of, total=len(found), decisions=rows)

        wanted = _filter(asked, is_asked_for)
        return await _list(call, page, settled.as_of, whole, wanted, _as_it_is, DecisionRow, body)

    async def decision(self, call: Call) -> web.StreamResponse:
        name = _named(call, "decision")
        async with self._snapshot(call, decisions.READS, paging.wanted(call.parameters)) as snapshot:
            evidence = await decisions.read_decision(snapshot, name)
        return _respond(call, await asyncio.to_thread(decisions.one_decision, evidence, name))

    async def reconciliation(self, call: Call) -> web.StreamResponse:
        page, asked = self._page(call)
        wanted = reconciliation.Wanted(
            **{
                name: None if (given := getattr(asked, name)) is UNSET else given
                for name in ("source", "type", "agrees")
            },
            since=_instant(asked.from_, "from"),
            until=_instant(asked.to, "to"),
        )
        # To find those that agree, the events of all have to be counted.
        reading = self._snapshot if wanted.agrees is None else self._in_turn
        async with reading(call, reconciliation.READS, page.wanted) as snapshot:
            as_of = snapshot.as_of
            total, rows = await reconciliation.read_reconciliation(
                snapshot, wanted, after=page.after, limit=asked.limit
            )
        if _wants_csv(call.request.headers.get("Accept", "")):
            return _send_page(call, page, as_of, total, CSV, sheets.sheet(rows, (), Reconciled))
        body = Reconciliation(as_of=as_of, total=total, reconciliations=rows)
        return _send_page(call, page, as_of, total, JSON, msgspec.json.encode(body))

    async def projections(self, call: Call) -> web.StreamResponse:
        runner = await self._runner(call)
        return _respond(call, await projections.list_projections(self._projector.pool, runner))

    def _page(self, call: Call) -> tuple[Page, Any]:
        page = paging.resume(call.parameters, call.request.rel_url.raw_path, call.request.query)
        return page, page.parameters

    async def _whole(
        self,
        call: Call,
        name: tuple[str, ...],
        reads: Sequence[str],
        wanted: Wanted,
        read: Callable[[Snapshot], Awaitable[_Evidence]],
        judge: Callable[[_Evidence], "_Whole"],
    ) -> tuple["_Settled", "_Whole"]:
        """A whole list at the position that is wanted, remembered or made now.

        The position is settled first. Whoever waits for a list that somebody else makes, or for a turn, holds no
        transaction meanwhile, and nothing is judged in one.
        """
        settled = await self._settle(call, reads, wanted)

        async def make() -> _Whole:
            async with self._turns:
                async with self._snapshot(call, reads, Wanted(as_of=settled.as_of.position)) as snapshot:
                    evidence = await read(snapshot)
                return await asyncio.to_thread(judge, evidence)

        return settled, await self._remembered.whole((settled.key, *name), make)

    async def _settle(self, call: Call, reads: Sequence[str], wanted: Wanted) -> "_Settled":
        async with self._snapshot(call, reads, wanted) as snapshot:
            return _Settled((snapshot.ledger, snapshot.versions, snapshot.position), snapshot.as_of)

    @asynccontextmanager
    async def _in_turn(self, call: Call, reads: Sequence[str], wanted: Wanted) -> AsyncIterator[Snapshot]:
        """A snapshot for what costs much. Who waits for a position holds no turn, and who waits for a turn holds no
        transaction."""
        settled = await self._settle(call, reads, wanted)
        async with self._turns, self._snapshot(call, reads, Wanted(as_of=settled.as_of.position)) as snapshot:
            yield snapshot

    @asynccontextmanager
    async def _snapshot(self, call: Call, reads: Sequence[str], wanted: Wanted) -> AsyncIterator[Snapshot]:
        runner = await self._runner(call)
        async with open_snapshot(self._projector.pool, runner, reads, wanted) as snapshot:
            yield snapshot

    async def _runner(self, call: Call) -> Runner:
        try:
            return await self._projector.ledger(call.ledger)
        except NoSuchLedger:
            raise Problem("no-such-ledger", f"there is no ledger {call.ledger!r}") from None

    def _opener(self, call: Call) -> Opener | None:
        """What opens sealed texts, for somebody who may see them."""
        return self._master if call.principal.may("personal") else None

    def _master(self) -> MasterKey:
        if self._loaded is None:
            if self._master_key is None:
                raise MasterKeyError("this service was given no master key")
            self._loaded = MasterKey.load(self._master_key)
        return self._loaded


class _Settled(NamedTuple):
    """Where a list is answered. `key`: the ledger, the versions of what is read, and the position."""

    key: tuple[Any, ...]
    as_of: AsOf


class _Whole(NamedTuple):
    """All rows of a list in their order, and the currencies that occur in them, for the columns of CSV; `counted`: of
    how many others the rows are about."""

    rows: Sequence[Any]
    currencies: Sequence[str] = ()
    counted: int = 0


class _Remembered:
    """Whole lists, by ledger and position: what is the same for each page and each filter."""

    def __init__(self) -> None:
        self._lists: OrderedDict[tuple[Any, ...], _Whole] = OrderedDict()
        self._making: dict[tuple[Any, ...], asyncio.Lock] = {}

    async def whole(self, key: tuple[Any, ...], make: Callable[[], Awaitable[_Whole]]) -> _Whole:
        """A list, made once however many ask for it at the same time."""
        lock = self._making.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                if key not in self._lists:
                    self._lists[key] = await make()
                    self._forget()
                self._lists.move_to_end(key)
                return self._lists[key]
        finally:
            if not lock.locked():
                self._making.pop(key, None)

    def _forget(self) -> None:
        """Drop the lists that were asked for longest ago; the newest stays."""
        while len(self._lists) > 1 and (
            len(self._lists) > REMEMBERED_LISTS_MAX
            or sum(len(each.rows) for each in self._lists.values()) > REMEMBERED_ROWS_MAX
        ):
            self._lists.popitem(last=False)


def _currencies(listed: Iterable[Listed | ListedAccount]) -> list[str]:
    return sorted({currency for each in listed for currency in each.currencies})


def _filter(asked: Lists, keeps: Callable[[Any], bool]) -> Callable[[Any], bool] | None:
    """`keeps`, or None if nothing was asked for that could leave a row out."""
    own = set(asked.__struct_fields__) - set(Lists.__struct_fields__) - {"sort", "currency", "lens", "similar_to"}
    return keeps if any(getattr(asked, name) is not UNSET for name in own) else None


def _is_asked_for(listed: Listed, asked: RequirementsAsked) -> bool:
    requirement, title, area = (listed.header[name] for name in ("requirement", "title", "area"))
    return (
        asked.status in (UNSET, listed.status)
        and (asked.class_ is UNSET or listed.accounts[asked.class_] > 0)
        and (asked.area is UNSET or (area is not None and folded(area) == folded(asked.area)))
        and (asked.q is UNSET or _mentions(asked.q, requirement, title, area))
    )


def _mentions(words: str, *texts: str | None) -> bool:
    """Whether each of the words is part of one of the texts."""
    whole = folded("\n".join(text for text in texts if text))
    return all(word in whole for word in folded(words).split())


def _named(call: Call, kind: str) -> str:
    """The id in the path. Raises Problem if nothing can have it."""
    name: str = call.request.match_info[kind]
    if not _id.match(name):
        raise Problem("not-found", f"nothing has the id {name[:100]!r}")
    return name


def _instant(text: str | UnsetType, parameter: str) -> datetime | None:
    """The instant that a parameter names. Raises Problem."""
    if text is UNSET:
        return None
    try:
        # In a query, a plus sign that was not escaped arrives as a space.
        return moment(text.replace(" ", "+"))
    except ValueError as error:
        raise Problem("bad-parameter", f"`{parameter}`: {error}", parameter=parameter) from None


# Answers as HTTP


async def _list(
    call: Call,
    page: Page,
    as_of: AsOf,
    whole: _Whole,
    wanted: Callable[[Any], bool] | None,
    show: Callable[[Any], Struct],
    row_type: type[Struct],
    body: Callable[[Sequence[Any], list[Any]], Struct],
) -> web.Response:
    """One page of the rows that are wanted, as JSON or CSV. `body` gets all rows that were found, and the page's."""
    after = page.after + page.parameters.limit
    as_csv = _wants_csv(call.request.headers.get("Accept", ""))

    def encoded() -> tuple[int, bytes]:
        found = whole.rows if wanted is None else [each for each in whole.rows if wanted(each)]
        rows = [show(each) for each in found[page.after : after]]
        if as_csv:
            return len(found), sheets.sheet(rows, whole.currencies, row_type)
        return len(found), msgspec.json.encode(body(found, rows))

    # The list may be long; in a thread it does not hold up other answers.
    total, content = await asyncio.to_thread(encoded)
    return _send_page(call, page, as_of, total, CSV if as_csv else JSON, content)


def _send_page(call: Call, page: Page, as_of: AsOf, total: int, content_type: str, content: bytes) -> web.Response:
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


def _as_it_is(row: Struct) -> Struct:
    return row


def _respond(call: Call, body: Struct, headers: dict[str, str] | None = None) -> web.Response:
    return _send(call, msgspec.json.encode(body), JSON, headers or {})


def _send(call: Call, body: bytes, content_type: str, headers: dict[str, str]) -> web.Response:
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": etag, "Vary": "Authorization", "Cache-Control": "private", **headers}
    if has_already(call.request, etag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers={**headers, "Content-Type": content_type})


def _wants_csv(accept: str) -> bool:
    """Whether the client would rather have CSV than JSON."""
    weights = {CSV: 0.0, JSON: 0.0}
    for part in accept.split(","):
        media, *parameters = (each.strip().lower() for each in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter.removeprefix("q="))
                except ValueError:
                    weight = 0.0
        if media in weights:
            weights[media] = weight
        elif media in ("*/*", "application/*"):
            weights[JSON] = max(weights[JSON], weight)
    return weights[CSV] > weights[JSON]
