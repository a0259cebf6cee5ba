"""One requirement: who asked for it, how on-target they were, and who decided, of rows as they were read."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.events import Link
from schemas.times import format_time
from schemas.values import By
from services.projector.judgement import lenses, revenue
from services.projector.judgement.fit import Class, shown
from services.projector.judgement.lenses import (
    Ask,
    Asker,
    Decision,
    Departs,
    Judgement,
    Knowledge,
    count_by_class,
    voice,
)
from services.projector.judgement.revenue import Money, Revenue
from services.projector.judgement.review import Mark
from services.projector.shapes.decision import Made
from services.projector.shapes.proof import AnswerProof
from services.projector.shapes.shown import (
    AsOf,
    Delivery,
    FitShown,
    MergeShown,
    RevisionShown,
    Row,
    Status,
    show_by,
    show_delivery,
    show_fit,
    show_merge,
    show_revisions,
    status_of,
)
from services.projector.telling.decisions import about, decision_of, departures, reviews, show_made
from services.projector.telling.evidence import (
    AskedOn,
    KnowledgeRead,
    asks_by_requirement,
    names_by_account,
)
from services.projector.telling.history import HISTORY_MAX, Happened, show_history
from services.projector.telling.sides import (
    AssessmentShown,
    PerspectiveShown,
    SidesRead,
    show_assessments,
    show_perspectives,
)
from services.projector.telling.since import SinceRead, holding

WHO_ASKED_MAX = 200
"""Accounts that one answer shows; the rest is on its next pages."""


class Revised(Struct, frozen=True, kw_only=True):
    """The last recording of an ask that was recorded more than once."""

    position: int
    time: str


class AskShown(Struct, frozen=True, kw_only=True):
    """An ask that stands: when it was first recorded, and what it said last; `revised` is null if that is the same.

    `recorded_on` is the requirement that its last recording named: another than that of the answer where the ask was
    moved, or the requirement merged. `named` is the account as it was named there. `quote` is absent without the scope
    personal or if none was given, null once erased.
    """

    ask: str
    recorded_on: str
    named: str
    position: int
    time: str
    recordedtime: str
    revised: Revised | None
    importance: int
    channel: str | None
    contact: str | None
    url: str | None
    opportunity: str | None
    feedback: str | None
    needed_by: date | None
    labels: dict[str, str]
    by: By | None
    quote: str | UnsetType | None = UNSET


class Merged(MergeShown, frozen=True, kw_only=True):
    """A requirement that was merged into another, which may have been merged in its turn."""

    requirement: str


class WhoAsked(Struct, frozen=True, kw_only=True):
    account: str
    name: str | None
    importance: int
    revenue: list[Money]
    asks: list[AskShown]


class FitsOfAccount(Struct, frozen=True, kw_only=True):
    """One account under the three lenses; null where no agreement was in force.

    `as_decided` is that of the decision that holds, or else of the last made one where all have given way: the account
    at the decision's time, as its deciders knew it; null where none was made. For an account that asked only afterwards
    it says how on-target the account was at that time, as far as was known then; it was no input to the decision, and
    counts neither for `departs` nor for `needs_review`.
    """

    account: str
    as_asked: FitShown | None
    as_decided: FitShown | None
    as_now: FitShown | None


class HowOnTarget(Struct, frozen=True, kw_only=True):
    voice: float | None
    voice_if_known: float | None
    accounts: dict[Class, int]
    revenue: dict[str, list[Money]]
    at_stake: dict[str, list[Money]]
    fits: list[FitsOfAccount]
    revisions: dict[str, RevisionShown]


class OneRequirement(Struct, frozen=True, kw_only=True):
    """The three answers about one requirement. `title` is null if it was asked for but never raised.

    `merged` lists what was merged into it, whose asks and decisions count here. What was merged itself has the status
    `merged`, says `into` what, and asks nothing by itself. `history_more` is absent where the history is whole.
    """

    requirement: str
    title: str | None
    area: str | None
    labels: dict[str, str]
    links: list[Link]
    status: Status
    into: str | None
    merged: list[Merged]
    delivery: Delivery | None
    as_of: AsOf
    who_asked_total: int
    who_asked: list[WhoAsked]
    how_on_target: HowOnTarget
    who_decided: list[Made]
    assessments: list[AssessmentShown]
    perspectives: list[PerspectiveShown]
    history: list[Happened]
    history_more: bool | UnsetType = UNSET
    problem: str | UnsetType | None = UNSET
    proof: AnswerProof | UnsetType = UNSET


class Evidence(Struct, frozen=True, kw_only=True):
    """What one requirement is judged from, as it was read at one position. `live`: its asks that stand."""

    requirement: str
    as_of: AsOf
    now: datetime
    said: Sequence[Row]
    deliveries: Sequence[Row]
    made: Sequence[Row]
    sides: SidesRead
    since: SinceRead
    superseded: dict[str, str]
    """Decision → what it has given way to, and that in its turn."""
    merges: Sequence[Row]
    """The last merges of what counts for it, and of itself."""
    ask_rows: Sequence[Iterable[Any]]
    """What bears on asks for it, and for the requirements that its decisions are about: the values of an Ask each."""
    live: list[Ask]
    at_stake: dict[str, Revenue]
    revenues: Mapping[str, Revenue]
    """Account → its revenue."""
    knowledge: KnowledgeRead


class Judged(Struct, frozen=True, kw_only=True):
    """One requirement, judged."""

    evidence: Evidence
    knowledge: Knowledge
    decisions: list[Decision]
    holds: Row | None
    """The decision that holds."""
    heard: "_Heard"
    departed: Mapping[int, Departs | None]
    reviewed: Mapping[int, list[Mark]]

    def page(self, after: int) -> Sequence[Asker]:
        """The accounts that one answer shows, behind the first ones."""
        return self.heard.askers[after : after + WHO_ASKED_MAX]


def fits_one_page(evidence: Evidence) -> bool:
    """Whether the first page shows everybody who asks, so that what it shows is known before anything is judged."""
    return len(askers(evidence.live)) <= WHO_ASKED_MAX


def askers(live: Iterable[Ask]) -> set[str]:
    """The accounts that these asks are of."""
    return {ask.account for ask in live if ask.account is not None}


def judge_requirement(evidence: Evidence) -> Judged:
    knowledge, asks = evidence.knowledge.knowledge(), asks_by_requirement(evidence.ask_rows)
    decisions = [decision_of(row) for row in evidence.made]
    holds = holding(evidence.made, evidence.superseded)
    position = evidence.as_of.position
    return Judged(
        evidence=evidence,
        knowledge=knowledge,
        decisions=decisions,
        holds=holds,
        heard=_hear(evidence, knowledge, asks, _shown_as_decided(decisions, holds)),
        departed=departures(knowledge, decisions, asks),
        reviewed=reviews(knowledge, decisions, asks, evidence.since.since(), evidence.now, position),
    )


class Shown(Struct, frozen=True, kw_only=True):
    """What an answer shows besides what is judged, as it was read. `asks`: the last recordings of the page's asks, with
    their first ones; `names`: what its accounts are called; `history`: one event more than is shown, if there are more;
    `quotes`: position → text, of those that may be seen."""

    asks: Sequence[Row]
    names: Sequence[Row]
    history: Sequence[Row]
    quotes: Mapping[int, str | None]
    problem: str | UnsetType | None


def asks_of(judged: Judged, page: Sequence[Asker]) -> list[Ask]:
    """The asks that a page shows."""
    accounts = {asker.account for asker in page}
    return [ask for ask in judged.evidence.live if ask.account in accounts]


def names_asking(evidence: Evidence, asks: Iterable[Ask]) -> set[str]:
    """All names of the accounts that these asks are of."""
    accounts, position = evidence.knowledge.lineage.accounts, evidence.as_of.position
    return {name for account in askers(asks) for name in accounts.members(account, position)}


def tell_requirement(judged: Judged, page: Sequence[Asker], read: Shown) -> OneRequirement:
    """The three answers, with these accounts."""
    evidence, heard, knowledge = judged.evidence, judged.heard, judged.knowledge
    requirement, said, made = evidence.requirement, evidence.said, evidence.made
    lineage, position, since = knowledge.lineage, evidence.as_of.position, evidence.since.since()
    into = lineage.requirements.into(requirement, position)
    names = names_by_account(read.names, lineage.accounts, position)
    fits = {asker.account: heard.judgements(asker) for asker in page}
    judged_by = [each.fit.revision for judgements in fits.values() for each in judgements if each]
    decided_by = [knowledge.in_force(decision.valid_from, decision.cut) for decision in judged.decisions]
    return OneRequirement(
        requirement=requirement,
        title=_last(said, "title"),
        area=_last(said, "area"),
        labels=msgspec.json.decode(_last(said, "labels") or "{}"),
        links=msgspec.json.decode(_last(said, "links") or "[]", type=list[Link]),
        problem=read.problem,
        status="merged" if into else status_of(judged.holds["outcome"] if judged.holds else None),
        into=into,
        merged=[_show_merged(row) for row in evidence.merges if row["requirement"] != requirement],
        delivery=show_delivery(evidence.deliveries[0]) if evidence.deliveries else None,
        as_of=evidence.as_of,
        who_asked_total=len(heard.askers),
        who_asked=_who_asked(page, evidence.live, read.asks, names, evidence.revenues, read.quotes),
        how_on_target=HowOnTarget(
            voice=shown(heard.voice),
            voice_if_known=shown(heard.voice_if_known),
            accounts=count_by_class(asker.class_ for asker in heard.askers),
            revenue=heard.revenue,
            at_stake=heard.at_stake,
            fits=[
                FitsOfAccount(
                    account=account,
                    as_asked=show_fit(as_asked),
                    as_decided=show_fit(as_decided),
                    as_now=show_fit(as_now),
                )
                for account, (as_asked, as_decided, as_now) in fits.items()
            ],
            revisions=show_revisions([*judged_by, *(adoption.revision for adoption in decided_by if adoption)]),
        ),
        who_decided=[
            show_made(row, knowledge, since, judged.departed[row["position"]], judged.reviewed[row["position"]])
            for row in made
        ],
        assessments=show_assessments(evidence.sides),
        perspectives=show_perspectives(evidence.sides),
        history=show_history(read.history),
        history_more=True if len(read.history) > HISTORY_MAX else UNSET,
    )


def _shown_as_decided(decisions: Sequence[Decision], holds: Row | None) -> Decision | None:
    """The decision whose deciders' view is shown: the one that holds, or else the last made one."""
    if holds is not None:
        return decision_of(holds)
    return decisions[-1] if decisions else None


class _Heard(Struct, frozen=True, kw_only=True):
    """Those who ask for one requirement, the loudest first, and what they add up to."""

    knowledge: Knowledge
    askers: list[Asker]
    asked: Mapping[str, Asker]
    decided: Mapping[str, Asker]
    decision: Decision | None
    """The one that `decided` is about."""
    voice: Fraction | None
    voice_if_known: Fraction | None
    revenue: dict[str, list[Money]]
    at_stake: dict[str, list[Money]]

    def judgements(self, asker: Asker) -> tuple[Judgement | None, Judgement | None, Judgement | None]:
        """Of one account: as asked, as decided, as now."""
        return self.asked[asker.account].judgement, self._as_decided(asker), asker.judgement

    def _as_decided(self, asker: Asker) -> Judgement | None:
        if self.decision is None:
            return None
        if asker.account in self.decided:
            return self.decided[asker.account].judgement
        # It had not asked by then, or nobody knew; what was known of the account is shown all the same.
        return self.knowledge.judge(asker.account, self.decision.valid_from, self.decision.cut, asker.ask)


def _hear(
    evidence: Evidence,
    knowledge: Knowledge,
    asks: AskedOn,
    decision: Decision | None,
) -> _Heard:
    now, position, live, at_stake = evidence.now, evidence.as_of.position, evidence.live, evidence.at_stake
    revenues = evidence.revenues
    askers = lenses.as_now(knowledge, live, now, position)
    classes = {asker.account: asker.class_ for asker in askers}
    for account in at_stake.keys() - classes.keys():
        classes[account] = lenses.class_of(knowledge.judge(account, now, position))
    agreed = knowledge.in_force(now, position) is not None
    total, total_if_known = voice(askers) if agreed else (None, None)
    rows = about(decision, asks, knowledge.lineage) if decision else []
    decided = lenses.as_decided(knowledge, rows, decision) if decision else []
    return _Heard(
        knowledge=knowledge,
        askers=lenses.loudest_first(askers),
        asked={asker.account: asker for asker in lenses.as_asked(knowledge, live, position)},
        decided=lenses.by_account_now(decided, knowledge.lineage.accounts, position),
        decision=decision,
        voice=total,
        voice_if_known=total_if_known,
        revenue=revenue.by_class((asker.class_, revenues.get(asker.account, {})) for asker in askers),
        at_stake=revenue.by_class((classes[account], each) for account, each in at_stake.items()),
    )


def _who_asked(
    page: Sequence[Asker],
    live: Sequence[Ask],
    rows: Sequence[Row],
    names: Mapping[str, str],
    revenues: Mapping[str, Revenue],
    quotes: Mapping[int, str | None],
) -> list[WhoAsked]:
    accounts = {ask.position: ask.account for ask in live}
    asks: dict[str | None, list[AskShown]] = {}
    for row in rows:
        asks.setdefault(accounts[row["position"]], []).append(show_ask(row, quotes.get(row["position"], UNSET)))
    return [
        WhoAsked(
            account=asker.account,
            name=names.get(asker.account),
            importance=asker.ask.importance,
            revenue=revenue.shown(revenues.get(asker.account, {})),
            asks=asks[asker.account],
        )
        for asker in page
    ]


def show_ask(row: Row, quote: str | UnsetType | None) -> AskShown:
    return AskShown(
        ask=row["ask"],
        recorded_on=row["requirement"],
        named=row["account"],
        position=row["first_position"],
        time=format_time(row["first_time"]),
        recordedtime=format_time(row["first_recorded_at"]),
        revised=None
        if row["position"] == row["first_position"]
        else Revised(position=row["position"], time=format_time(row["time"])),
        importance=row["importance"],
        channel=row["channel"],
        contact=row["contact"],
        url=row["url"],
        opportunity=row["opportunity"],
        feedback=row["feedback"],
        needed_by=row["needed_by"],
        labels=msgspec.json.decode(row["labels"]),
        by=show_by(row),
        quote=quote,
    )


def _show_merged(row: Row) -> Merged:
    return Merged(requirement=row["requirement"], **show_merge(row))


def _last(rows: Sequence[Row], column: str) -> Any:
    """What was last said in this column; a row that leaves it out says nothing about it."""
    return next((row[column] for row in reversed(rows) if row[column] is not None), None)
