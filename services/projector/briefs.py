"""One decision, told in two ways: what engineering works from, and what sales may say. Pure: no I/O, no clock.

Both are made from one `OnRecord`. What they share is made once, in `_common`, so that they cannot contradict each
other: what was decided, on which requirements, from when, whether it holds, and the events that say so. A brief names
roles and teams, and no person.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Literal

from msgspec import Struct

from schemas.events import Available, Dissent, Effort, Option
from schemas.values import same_team
from services.projector.answers.decisions import DecidedFit, Grounds, OneDecision, Outcome
from services.projector.answers.requirements import Delivery, Status
from services.projector.answers.shown import RevisionShown, Role, show_role
from services.projector.answers.since import Superseded
from services.projector.answers.snapshot import AsOf
from services.projector.fit import Class
from services.projector.lenses import Departs
from services.projector.revenue import Money
from services.projector.review import Mark

FITS_MAX = 20
"""Accounts that a brief shows, the weightiest first; the counts by class are of all."""

PROMISES_CITED_MAX = 200
"""Open promises that a brief names, those due first; the count is of all."""

PROMISES_TOLD_MAX = 5
"""Open promises that a sentence tells one by one, those due first."""

Voice = Literal["engineering", "sales"]
State = Literal["open", "proposed", "made", "superseded"]
Feasibility = Literal["feasible", "costly", "infeasible", "unknown"]
Ended = Literal["withdrawn", "retracted", "moved"]

PROPOSED = "ledger.decision.proposed.v1"
MADE = "ledger.decision.made.v1"
SUPERSEDED = "ledger.decision.superseded.v1"
RAISED = "ledger.requirement.raised.v1"
REWORDED = "ledger.requirement.reworded.v1"
MERGED = "ledger.requirement.merged.v1"
DELIVERED = "ledger.delivery.updated.v1"
ASSESSED = "ledger.requirement.assessed.v1"
STATED = "ledger.perspective.stated.v1"
PROMISED = "ledger.promise.made.v1"
ASKED = "ledger.ask.recorded.v1"
WITHDRAWN = "ledger.ask.withdrawn.v1"
MOVED = "ledger.ask.moved.v1"
RETRACTED = "ledger.event.retracted.v1"
ADOPTED = "ledger.agreement.adopted.v1"
ACKNOWLEDGED = "ledger.decision.acknowledged.v1"
REAFFIRMED = "ledger.decision.reaffirmed.v1"


class Cited(Struct, frozen=True, kw_only=True):
    """An event that a brief rests on. Both voices name the same ones."""

    position: int
    type: str
    subject: str
    tells: list[str]


class RequirementTold(Struct, frozen=True, kw_only=True):
    """A requirement that a decision is about."""

    requirement: str
    title: str | None
    into: str | None
    delivery: Delivery | None


class Holding(Struct, frozen=True, kw_only=True):
    """Another decision that holds on what a decision is about. `requirements`: those of it on which it holds."""

    decision: str
    requirements: list[str]
    position: int
    time: str
    outcome: Outcome
    grounds: Grounds
    instruction: str
    tell_customer: str | None
    available: Available | None
    revisit: date | None
    overdue: bool
    stands_behind: list[Role]


class PromisesTold(Struct, frozen=True, kw_only=True):
    """The open promises about the requirements: how many, the first day by which one is due, and to which accounts,
    in the order of their days."""

    open: int
    due: date | None
    accounts: list[str]


class Brief(Struct, frozen=True, kw_only=True):
    """What both voices say, and say the same."""

    decision: str | None
    state: State
    requirements: list[RequirementTold]
    outcome: Outcome | None
    grounds: Grounds | None
    instruction: str | None
    tell_customer: str | None
    proposed_on: str | None
    since: str | None
    decide_by: date | None
    available: Available | None
    revisit: date | None
    needs_review: bool
    overdue: bool
    reaffirmed_on: str | None
    superseded_by: Superseded | None
    holds_on: list[str]
    holds: list[Holding]
    undecided_on: list[str]
    promises: PromisesTold
    as_of: AsOf
    events: list[Cited]


class FitTold(Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """An account that asked, with the ids of the bullets that it met and missed."""

    account: str
    name: str | None
    requirement: str
    position: int
    importance: int
    class_: Class
    fit: float | None
    fit_if_known: float | None
    revision: str | None
    met: list[str]
    missed: list[str]
    unknown: list[str]
    ended: Ended | None


class EvidenceTold(Struct, frozen=True, kw_only=True):
    """Who asked: the weightiest accounts, and the counts by class of all. As the deciders knew it; of a decision that
    is not made yet, as it is now."""

    lens: Literal["decided", "now"]
    total: int
    accounts: dict[Class, int]
    at_stake: dict[str, list[Money]] | None
    fits: list[FitTold]
    revisions: dict[str, RevisionShown]


class AssessmentTold(Struct, frozen=True, kw_only=True):
    """What a team says that would build it: its last word, and the last one before the decision if that is another."""

    requirement: str
    by: Role
    feasibility: Feasibility
    effort: Effort | None
    risks: list[str]
    plain: str | None
    position: int
    time: str
    recordedtime: str
    known: bool | None


class PerspectiveTold(Struct, frozen=True, kw_only=True):
    """A side's own statement: its last word, and the last one before the decision if that is another."""

    requirement: str
    decision: str | None
    team: str
    by: Role
    statement: str
    position: int
    time: str
    recordedtime: str
    known: bool | None


class ReaffirmationTold(Struct, frozen=True, kw_only=True):
    """That the decision stands, with what was known by then."""

    reason: str
    by: Role | None
    position: int
    time: str


class EngineeringBrief(Brief, frozen=True, kw_only=True, tag_field="voice", tag="engineering"):
    """A decision with all that speaks for and against it."""

    question: str | None
    proposed_by: Role | None
    drivers: list[str]
    options: list[Option]
    option: str | None
    rationale: str | None
    instruction_then: str | None
    tell_customer_then: str | None
    departs: Departs | None
    deciders: list[Role]
    consulted: list[Role]
    informed: list[str]
    dissent: list[Dissent]
    agreement: str | None
    revision: str | None
    cut: int | None
    evidence: EvidenceTold
    assessments: list[AssessmentTold]
    perspectives: list[PerspectiveTold]
    marks: list[Mark]
    acknowledged: list[str]
    reaffirmations: list[ReaffirmationTold]
    supersedes: list[Superseded]


class PlainTold(Struct, frozen=True, kw_only=True):
    """What a team that would build a requirement said of it last, in plain words."""

    requirement: str
    team: str
    feasibility: Feasibility
    plain: str | None
    position: int
    time: str


class Statement(Struct, frozen=True, kw_only=True):
    """A sentence that may be said, and the positions of the events that it rests on."""

    text: str
    events: list[int]


class SalesBrief(Brief, frozen=True, kw_only=True, tag_field="voice", tag="sales"):
    """What to do and what to tell a customer. There is no debate in it."""

    stands_behind: list[Role]
    plain_words: list[PlainTold]
    statements: list[Statement]


class Pending(Struct, frozen=True, kw_only=True):
    """A decision that is proposed and not made yet."""

    decision: str
    decide_by: date | None
    position: int


class RequirementBrief(SalesBrief, frozen=True, kw_only=True, tag_field="voice", tag="sales"):
    """What may be said of a requirement now, before a decision too."""

    requirement: str
    into: str | None
    title: str | None
    status: Status
    pending: list[Pending]


class Assessed(Struct, frozen=True, kw_only=True):
    """An assessment that stands. `known`: the deciders can have known it; null before a decision."""

    root: str
    told: AssessmentTold


class Stated(Struct, frozen=True, kw_only=True):
    root: str
    told: PerspectiveTold


class OpenPromise(Struct, frozen=True, kw_only=True):
    promise: str
    account: str
    name: str | None
    due: date | None
    position: int


class GaveWay(Struct, frozen=True, kw_only=True):
    """That a decision gave way to another. `about`: what that is about, if it is about something else altogether.
    `events`: the positions of the supersession, and of the making of the other."""

    superseded_by: str
    about: list[str]
    events: list[int]


class OnRecord(Struct, frozen=True, kw_only=True):
    """All that briefs are made of, at one position.

    `one`: the decision, or None where a requirement has none; before it is made, with the fits of who asks now.
    `assessments` and `perspectives`: in the order of requirement and team.
    """

    as_of: AsOf
    one: OneDecision | None
    requirements: list[RequirementTold]
    cited: Sequence[Cited] = ()
    """Which events gave the titles, and by which the requirements were merged."""
    assessments: Sequence[Assessed] = ()
    perspectives: Sequence[Stated] = ()
    promises: Sequence[OpenPromise] = ()
    holds: Sequence[Holding] = ()
    """The other decisions that hold on the requirements of this one."""
    gave_way: Mapping[str, Sequence[GaveWay]] = {}
    """Decision → how it gave way, one to the next: of this one, and of others on requirements where none holds."""
    settled: Sequence[Cited] = ()
    """The events that say which decision holds, but for the making of this one."""
    recorded_on: Mapping[int, str] = {}
    """Position of each ask → the requirement that it was recorded on, which may have been merged since."""
    reviewed: Sequence[Cited] = ()
    """The events that say what has changed since by enough to be marked."""


def engineering_brief(on_record: OnRecord) -> EngineeringBrief:
    """The brief of a decision, proposed or made."""
    one = on_record.one
    assert one is not None  # Of a requirement without a decision there is nothing to work from.
    proposed, holds = one.proposed, bool(_holds_on(on_record))
    return EngineeringBrief(
        **_common(on_record),
        question=None if proposed is None else proposed.question,
        proposed_by=None if proposed is None or proposed.by is None else show_role(proposed.by),
        drivers=[] if proposed is None else proposed.drivers,
        options=[] if proposed is None else proposed.options,
        option=one.option,
        rationale=one.rationale,
        instruction_then=None if holds else one.instruction,
        tell_customer_then=None if holds else one.tell_customer,
        departs=one.departs,
        deciders=[show_role(by) for by in one.deciders],
        consulted=[show_role(by) for by in one.consulted],
        informed=one.informed,
        dissent=one.dissent,
        agreement=one.agreement,
        revision=one.revision,
        cut=one.cut,
        evidence=EvidenceTold(
            lens="now" if one.position is None else "decided",
            total=sum(one.accounts.values()),
            accounts=one.accounts,
            at_stake=one.at_stake,
            fits=[_fit(each, on_record) for each in one.fits[:FITS_MAX]],
            revisions={
                name: revision
                for name, revision in one.revisions.items()
                if any(each.as_decided is not None and each.as_decided.revision == name for each in one.fits[:FITS_MAX])
            },
        ),
        assessments=[each.told for each in on_record.assessments],
        perspectives=[each.told for each in on_record.perspectives],
        marks=one.needs_review,
        acknowledged=[each.team for each in one.acknowledgements],
        reaffirmations=[
            ReaffirmationTold(
                reason=each.reason,
                by=None if each.by is None else show_role(each.by),
                position=each.position,
                time=each.time,
            )
            for each in one.reaffirmations
        ],
        supersedes=one.supersedes,
    )


def sales_brief(on_record: OnRecord) -> SalesBrief:
    """What may be said of a decision, proposed or made."""
    return SalesBrief(**_common(on_record), **_sales(on_record, on_record.holds))


def requirement_brief(
    on_record: OnRecord, *, requirement: str, into: str | None, status: Status, pending: Sequence[Pending]
) -> RequirementBrief:
    """What may be said of a requirement. `into`: what it counts as, if it was merged; the brief is that one's.

    `on_record` has the decision that holds on it, if one does. What others say of that one's other requirements is not
    said here in sentences.
    """
    common, sales = _common(on_record), _sales(on_record, ())
    told = [*_merged(on_record, requirement, into), *sales.pop("statements")]
    waiting = [each for each in pending if on_record.one is None or each.decision != on_record.one.decision]
    if on_record.one is not None and _state(on_record) == "made":
        told += [
            Statement(text=f"Another decision on it is being prepared ({each.decision}).", events=[each.position])
            for each in waiting
        ]
    title = next((each.title for each in on_record.requirements if each.requirement == (into or requirement)), None)
    return RequirementBrief(
        **common,
        **sales,
        statements=told,
        requirement=requirement,
        into=into,
        title=title,
        status=status,
        pending=[*waiting],
    )


# What both voices have in common


def _common(on_record: OnRecord) -> dict[str, Any]:
    """The members of Brief: the one place where it is said what was decided, and whether it holds."""
    one = on_record.one
    holds_on = _holds_on(on_record)
    return {
        "decision": None if one is None else one.decision,
        "state": _state(on_record),
        "requirements": on_record.requirements,
        "outcome": None if one is None else one.outcome,
        "grounds": None if one is None else one.grounds,
        "instruction": one.instruction if one is not None and holds_on else None,
        "tell_customer": one.tell_customer if one is not None and holds_on else None,
        "proposed_on": None if one is None or one.proposed is None else one.proposed.time,
        "since": None if one is None else one.time,
        "decide_by": None if one is None or one.proposed is None else one.proposed.decide_by,
        "available": None if one is None else one.available,
        "revisit": None if one is None else one.revisit,
        "needs_review": one is not None and bool(one.needs_review),
        "overdue": one is not None and one.overdue,
        "reaffirmed_on": None if one is None or not one.reaffirmations else one.reaffirmations[-1].time,
        "superseded_by": None if one is None else one.superseded_by,
        "holds_on": holds_on,
        "holds": [*on_record.holds],
        "undecided_on": _undecided_on(on_record),
        "promises": PromisesTold(
            open=len(on_record.promises),
            due=min((each.due for each in on_record.promises if each.due), default=None),
            accounts=[*dict.fromkeys(each.account for each in _due_first(on_record)[:PROMISES_CITED_MAX])],
        ),
        "as_of": on_record.as_of,
        "events": _cited(on_record),
    }


def _state(on_record: OnRecord) -> State:
    return "open" if on_record.one is None else on_record.one.state


def _holds_on(on_record: OnRecord) -> list[str]:
    """The requirements on which the decision itself holds."""
    return _not_held_by_others(on_record) if _state(on_record) == "made" else []


def _undecided_on(on_record: OnRecord) -> list[str]:
    """The requirements on which no decision holds. One that has not given way leaves none of its own so."""
    return [] if _state(on_record) == "made" else _not_held_by_others(on_record)


def _not_held_by_others(on_record: OnRecord) -> list[str]:
    if on_record.one is None:
        return [on_record.requirements[0].requirement]
    held = {name for each in on_record.holds for name in each.requirements}
    return [name for name in dict.fromkeys(on_record.one.requirements) if name not in held]


_OF_PROPOSAL = ("question", "drivers", "options", "decide_by", "proposed_on", "proposed_by")
_OF_MADE = (
    *("outcome", "since", "available", "revisit", "option", "rationale", "instruction", "tell_customer", "grounds"),
    *("holds_on", "instruction_then", "tell_customer_then"),
    *("deciders", "stands_behind", "consulted", "informed", "dissent"),
)


def _cited(on_record: OnRecord) -> list[Cited]:
    """The events that the brief rests on, in the order of the log, each with the members that rest on it."""
    one = on_record.one
    found = [*on_record.cited, *on_record.settled, *on_record.reviewed]
    if one is not None:
        subject = f"decision/{one.decision}"
        if one.proposed is not None:
            members = [*_OF_PROPOSAL] if one.position is not None else [*_OF_PROPOSAL, "requirements"]
            found.append(Cited(position=one.proposed.position, type=PROPOSED, subject=subject, tells=members))
        if one.position is not None:
            found.append(Cited(position=one.position, type=MADE, subject=subject, tells=["requirements", *_OF_MADE]))
        for type, acts, tells in (
            (ACKNOWLEDGED, one.acknowledgements, ["acknowledged"]),
            (REAFFIRMED, one.reaffirmations, ["reaffirmations", "reaffirmed_on"]),
        ):
            found += [Cited(position=each.position, type=type, subject=subject, tells=tells) for each in acts]
        found += [
            Cited(position=each.position, type=SUPERSEDED, subject=f"decision/{each.decision}", tells=["supersedes"])
            for each in one.supersedes
        ]
        found += [
            Cited(
                position=each.position,
                type=ASKED,
                subject=f"requirement/{on_record.recorded_on.get(each.position, each.requirement)}",
                tells=["evidence"],
            )
            for each in one.fits[:FITS_MAX]
        ]
    for told in on_record.requirements:
        subject = f"requirement/{told.requirement}"
        if told.delivery is not None:
            found.append(
                Cited(position=told.delivery.position, type=DELIVERED, subject=subject, tells=["requirements"])
            )
    plain = {each.position for each in _plain_words(on_record)}
    found += [
        Cited(
            position=each.told.position,
            type=ASSESSED,
            subject=f"requirement/{each.told.requirement}",
            tells=["assessments", "plain_words"] if each.told.position in plain else ["assessments"],
        )
        for each in on_record.assessments
    ]
    found += [
        Cited(
            position=each.told.position,
            type=STATED,
            subject=f"requirement/{each.told.requirement}",
            tells=["perspectives"],
        )
        for each in on_record.perspectives
    ]
    found += [
        Cited(position=each.position, type=PROMISED, subject=f"promise/{each.promise}", tells=["promises"])
        for each in _due_first(on_record)[:PROMISES_CITED_MAX]
    ]
    return _once(found)


def _due_first(on_record: OnRecord) -> list[OpenPromise]:
    return sorted(on_record.promises, key=lambda each: (each.due is None, each.due or date.max, each.position))


def _once(found: Iterable[Cited]) -> list[Cited]:
    """Each event once, in the order of the log."""
    cited: dict[int, Cited] = {}
    for each in found:
        before = cited.get(each.position)
        tells = [*dict.fromkeys([*(before.tells if before else []), *each.tells])]
        cited[each.position] = Cited(position=each.position, type=each.type, subject=each.subject, tells=tells)
    return [cited[position] for position in sorted(cited)]


# For engineering


def _fit(decided: DecidedFit, on_record: OnRecord) -> FitTold:
    judged = decided.as_decided
    bullets = [] if judged is None else judged.bullets

    def of(verdict: str) -> list[str]:
        return [each.bullet for each in bullets if each.verdict == verdict]

    return FitTold(
        account=decided.account,
        name=decided.name,
        requirement=decided.requirement,
        position=decided.position,
        importance=decided.importance,
        class_="undetermined" if judged is None else judged.class_,
        fit=None if judged is None else judged.fit,
        fit_if_known=None if judged is None else judged.fit_if_known,
        revision=None if judged is None else judged.revision,
        met=of("met"),
        missed=of("missed"),
        unknown=of("unknown"),
        ended=_ended(decided, on_record),
    )


_ENDS: Mapping[str, Ended] = {WITHDRAWN: "withdrawn", RETRACTED: "retracted", MOVED: "moved"}


def _ended(decided: DecidedFit, on_record: OnRecord) -> Ended | None:
    """What became since of the ask by which an account was heard, as far as the marks say so."""
    types = {each.position: each.type for each in on_record.reviewed}
    ends = [
        mark.position
        for mark in (on_record.one.needs_review if on_record.one is not None else ())
        if mark.kind == "withdrawn" and mark.from_ == decided.ask and mark.input.startswith(f"{decided.account}: ask ")
    ]
    return next((_ENDS[types[each]] for each in ends if types.get(each) in _ENDS), None)


# For sales

NOT_DECIDED = "Not decided yet; nothing may be promised."
NO_PROMISE = "Nothing may be promised."
EXCEPTION = "This is an exception from the target market: it is not an offer to other customers."
DECIDED: Mapping[Outcome, str] = {
    "commit": "it will be done",
    "decline": "it will not be done",
    "defer": "it was put off",
    "explore": "it is being explored; whether it will be done is open",
}
FEASIBILITIES: Mapping[Feasibility, str] = {
    "feasible": "it can be built as asked",
    "costly": "it can be built as asked, and that costs much",
    "infeasible": "it cannot be built as asked",
    "unknown": "whether it can be built as asked is not known",
}
DELIVERY_STATES: Mapping[str, str] = {
    "planned": "planned",
    "in_progress": "in progress",
    "beta": "in beta",
    "shipped": "shipped",
    "cancelled": "cancelled",
}


def _sales(on_record: OnRecord, others: Sequence[Holding]) -> dict[str, Any]:
    """The members that SalesBrief has besides the common ones. `others`: the decisions that sentences tell besides."""
    one = on_record.one
    plain = _plain_words(on_record)
    return {
        "stands_behind": roles(show_role(by) for by in one.deciders)
        if one is not None and _holds_on(on_record)
        else [],
        "plain_words": plain,
        "statements": [
            *_decided(on_record, others),
            *_delivered(on_record),
            *(
                Statement(
                    text=f"{_mentioned(on_record, each.requirement)}, {each.team}: {FEASIBILITIES[each.feasibility]}"
                    f" (said on {each.time[:10]}).{f' {each.plain}' if each.plain else ''}",
                    events=[each.position],
                )
                for each in plain
            ),
            *_promised(on_record),
        ],
    }


def _decided(on_record: OnRecord, others: Sequence[Holding]) -> list[Statement]:
    """What was decided, in plain language; the first sentence is what counts."""
    one = on_record.one
    if one is None:
        return _holds_no_more(on_record) or [Statement(text=NOT_DECIDED, events=[])]
    if one.position is None:
        return [*_proposed(on_record, one, others), *_others(on_record, others)]
    if not _holds_on(on_record):
        return [_gave_way(on_record, one), *_others(on_record, others)]
    return [*_made(on_record, one), *_others(on_record, others)]


def _proposed(on_record: OnRecord, one: OneDecision, others: Sequence[Holding]) -> list[Statement]:
    assert one.proposed is not None  # It was either made or proposed.
    by, events = one.proposed.decide_by, [one.proposed.position]
    text = " ".join([f"{one.decision} is not decided yet.", *_undecided(on_record)]) if others else NOT_DECIDED
    told = [Statement(text=text, events=events)]
    if by is not None:
        text = f"It was to be decided by {by}." if one.overdue else f"It is to be decided by {by}."
        told.append(Statement(text=text, events=events))
    return told + _holds_no_more(on_record)


def _made(on_record: OnRecord, one: OneDecision) -> list[Statement]:
    """A decision that holds, on all that it is about or on a part."""
    assert one.position is not None
    assert one.outcome is not None
    assert one.time is not None
    made, on = [one.position], f", and holds on {', '.join(_holds_on(on_record))}" if on_record.holds else ""
    told = [Statement(text=f"Decided on {one.time[:10]}{on}: {DECIDED[one.outcome]}.", events=made)]
    told += _guidance(one, made)
    if one.revisit is not None:
        told.append(Statement(text=f"{to_be_looked_at_again(one.revisit, one.overdue, on_record.as_of)}.", events=made))
    if one.reaffirmations:
        last = one.reaffirmations[-1]
        told.append(Statement(text=f"It was looked at again on {last.time[:10]}, and stands.", events=[last.position]))
    told.append(Statement(text=f"Who stands behind it: {_listed(show_role(by) for by in one.deciders)}.", events=made))
    if one.needs_review:
        until_then = (
            "Until then it holds; ask those who stand behind it before you promise more."
            if one.outcome == "commit"
            else f"Until then it holds. {NO_PROMISE}"
        )
        told.append(
            Statement(
                text=f"What it rests on has changed since, and it is to be looked at again. {until_then}",
                events=[each.position for each in one.needs_review],
            )
        )
    return told


def _gave_way(on_record: OnRecord, one: OneDecision) -> Statement:
    """That a made decision holds no more, and where nothing is decided in its place."""
    assert one.position is not None
    chain = on_record.gave_way.get(one.decision, ())
    since = "" if one.superseded_by is None else f" since {one.superseded_by.time[:10]}"
    why = f" ({superseded_by(chain)})" if chain else ""
    return Statement(
        text=" ".join([f"{one.decision} holds no more{since}{why}.", *_undecided(on_record)]),
        events=[one.position, *_events_of(chain)],
    )


def _undecided(on_record: OnRecord) -> list[str]:
    names = _undecided_on(on_record)
    return [undecided(names)] if names else []


def _holds_no_more(on_record: OnRecord) -> list[Statement]:
    """The decisions of before on a requirement where none holds."""
    before = {
        name: chain for name, chain in on_record.gave_way.items() if not on_record.one or name != on_record.one.decision
    }
    if not before:
        return []
    told = "; ".join(f"{name} was {superseded_by(chain)}" for name, chain in before.items())
    made = [
        each.position for each in on_record.settled if each.type == MADE and each.subject[len("decision/") :] in before
    ]
    events = sorted({*made, *(event for chain in before.values() for event in _events_of(chain))})
    return [Statement(text=f"Decided before, and holds no more: {told}. {NO_PROMISE}", events=events)]


def _others(on_record: OnRecord, others: Sequence[Holding]) -> list[Statement]:
    """The other decisions that hold on what this one is about; where there are several, each sentence says on what."""
    alone = len(others) == 1 and not _holds_on(on_record) and not _undecided_on(on_record)
    told: list[Statement] = []
    for each in others:
        on, made = "" if alone else f"On {', '.join(each.requirements)}: ", [each.position]
        told.append(Statement(text=f"{holds_on(each)}.", events=made))
        told += [Statement(text=on + said.text, events=said.events) for said in _guidance(each, made)]
        told.append(Statement(text=f"{on}Who stands behind it: {_listed(each.stands_behind)}.", events=made))
    return told


def holds_on(each: Holding) -> str:
    """Which decision holds on which requirements."""
    on = ", ".join(each.requirements)
    return f"On {on} {each.decision} holds, decided on {each.time[:10]}: {DECIDED[each.outcome]}"


def undecided(requirements: Sequence[str]) -> str:
    """That no decision holds on these requirements."""
    return f"On {', '.join(requirements)} nothing is decided: nothing may be promised."


def superseded_by(chain: Sequence[GaveWay]) -> str:
    """To what a decision gave way, and that in its turn."""
    return "superseded by " + ", and that by ".join(
        each.superseded_by + (f", which is about {', '.join(each.about)}" if each.about else "") for each in chain
    )


def _events_of(chain: Sequence[GaveWay]) -> list[int]:
    return [event for each in chain for event in each.events]


def _guidance(holding: OneDecision | Holding, made: list[int]) -> list[Statement]:
    """What to do, what to tell, to whom, from when and how sure; what is not fresh is told with its age."""
    told = [f"What everyone does now{_stale(holding, 'act on it')}: {holding.instruction}"]
    if holding.tell_customer is not None:
        told.append(f"Customers may be told{_stale(holding, 'repeat it')}: {holding.tell_customer}")
    else:
        told.append("No words for customers are on record; ask those who stand behind it.")
    if holding.grounds == "exception" and holding.outcome != "decline":
        told.append(EXCEPTION)
    if holding.available is not None:
        told.append(f"Available from {holding.available.from_}; how sure: {holding.available.confidence}.")
    elif holding.outcome == "commit":
        told.append("No date is on record; none may be promised.")
    if holding.outcome != "commit":
        told.append(NO_PROMISE)
    return [Statement(text=each, events=made) for each in told]


def _stale(holding: OneDecision | Holding, use: str) -> str:
    """What stands beside words whose day to be looked at again has passed; empty while they are fresh."""
    if not holding.overdue or holding.time is None:
        return ""
    return (
        f" (said on {holding.time[:10]}; it was to be looked at again on {holding.revisit}, and that has not happened:"
        f" ask before you {use})"
    )


def to_be_looked_at_again(revisit: date, overdue: bool, as_of: AsOf) -> str:
    """That a decision is to be looked at again, or was."""
    if overdue:
        return f"It was to be looked at again on {revisit}, and that has not happened"
    passed = as_of.recordedtime is not None and str(revisit) < as_of.recordedtime[:10]
    return f"It {'was' if passed else 'is'} to be looked at again on {revisit}"


def _delivered(on_record: OnRecord) -> list[Statement]:
    return [
        Statement(
            text=f"{_mentioned(on_record, each.requirement)}: {DELIVERY_STATES[each.delivery.state]}"
            + (f", target {each.delivery.target}" if each.delivery.target else "")
            + f" (said on {each.delivery.time[:10]}).",
            events=[each.delivery.position],
        )
        for each in on_record.requirements
        if each.delivery is not None
    ]


def _promised(on_record: OnRecord) -> list[Statement]:
    if not on_record.promises:
        return []
    due_first, count = _due_first(on_record), len(on_record.promises)
    told = [
        f"to {f'{each.name} ({each.account})' if each.name else each.account}, "
        + (f"due on {each.due}" if each.due else "with no due day")
        for each in due_first[:PROMISES_TOLD_MAX]
    ]
    more = f"; and {count - len(told)} more" if count > len(told) else ""
    return [
        Statement(
            text=("One promise of it is open: " if count == 1 else f"{count} promises of it are open: ")
            + f"{'; '.join(told)}{more}.",
            events=[each.position for each in due_first[:PROMISES_CITED_MAX]],
        )
    ]


def _merged(on_record: OnRecord, requirement: str, into: str | None) -> list[Statement]:
    if into is None:
        return []
    merges = [each.position for each in on_record.cited if each.type == MERGED]
    return [Statement(text=f"{requirement} counts as {into}; what follows is about {into}.", events=merges)]


def _plain_words(on_record: OnRecord) -> list[PlainTold]:
    """What each team said last of each requirement, in the order of teams' names: nobody's word hides another's."""
    last: dict[tuple[str, str], AssessmentTold] = {}
    for each in sorted(on_record.assessments, key=lambda each: (_counts_from(each.told), each.told.position)):
        last[each.root, same_team(each.told.by.team)] = each.told
    return [
        PlainTold(
            requirement=told.requirement,
            team=told.by.team,
            feasibility=told.feasibility,
            plain=told.plain,
            position=told.position,
            time=told.time,
        )
        for _, told in sorted(last.items())
    ]


def _counts_from(told: AssessmentTold) -> str:
    return min(told.time, told.recordedtime)


def _mentioned(on_record: OnRecord, requirement: str) -> str:
    """A requirement as a sentence names it."""
    title = next((each.title for each in on_record.requirements if each.requirement == requirement), None)
    return f"{title} ({requirement})" if title else requirement


def roles(each: Iterable[Role]) -> list[Role]:
    """Each role of each team once: two persons of one role stand behind it no more than one does."""
    return [*dict.fromkeys(each)]


def _listed(who: Iterable[Role]) -> str:
    return ", ".join(f"{each.role} ({each.team})" for each in roles(who))
