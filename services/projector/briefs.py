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
    """The decision that holds in the place of one that gave way."""

    decision: str
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
    proposed_on: str | None
    since: str | None
    decide_by: date | None
    available: Available | None
    revisit: date | None
    needs_review: bool
    overdue: bool
    reaffirmed_on: str | None
    superseded_by: Superseded | None
    holds: Holding | None
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
    instruction: str | None
    tell_customer: str | None
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

    instruction: str | None
    tell_customer: str | None
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
    holds: Holding | None = None
    passed: Sequence[Cited] = ()
    """The events by which decisions gave way, from this one to the one that holds."""
    recorded_on: Mapping[int, str] = {}
    """Position of each ask → the requirement that it was recorded on, which may have been merged since."""
    reviewed: Sequence[Cited] = ()
    """The events that say what has changed since by enough to be marked."""


def engineering_brief(on_record: OnRecord) -> EngineeringBrief:
    """The brief of a decision, proposed or made."""
    one = on_record.one
    assert one is not None  # Of a requirement without a decision there is nothing to work from.
    proposed = one.proposed
    return EngineeringBrief(
        **_common(on_record),
        question=None if proposed is None else proposed.question,
        proposed_by=None if proposed is None or proposed.by is None else show_role(proposed.by),
        drivers=[] if proposed is None else proposed.drivers,
        options=[] if proposed is None else proposed.options,
        option=one.option,
        rationale=one.rationale,
        instruction=one.instruction,
        tell_customer=one.tell_customer,
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
    return SalesBrief(**_common(on_record), **_sales(on_record))


def requirement_brief(
    on_record: OnRecord, *, requirement: str, into: str | None, status: Status, pending: Sequence[Pending]
) -> RequirementBrief:
    """What may be said of a requirement. `into`: what it counts as, if it was merged; the brief is that one's.

    `on_record` has the decision that holds on it, if one does.
    """
    common, sales = _common(on_record), _sales(on_record)
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
    return {
        "decision": None if one is None else one.decision,
        "state": _state(on_record),
        "requirements": on_record.requirements,
        "outcome": None if one is None else one.outcome,
        "grounds": None if one is None else one.grounds,
        "proposed_on": None if one is None or one.proposed is None else one.proposed.time,
        "since": None if one is None else one.time,
        "decide_by": None if one is None or one.proposed is None else one.proposed.decide_by,
        "available": None if one is None else one.available,
        "revisit": None if one is None else one.revisit,
        "needs_review": one is not None and bool(one.needs_review),
        "overdue": one is not None and one.overdue,
        "reaffirmed_on": None if one is None or not one.reaffirmations else one.reaffirmations[-1].time,
        "superseded_by": None if one is None else one.superseded_by,
        "holds": on_record.holds,
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


_OF_PROPOSAL = ("question", "drivers", "options", "decide_by", "proposed_on", "proposed_by")
_OF_MADE = (
    *("outcome", "since", "available", "revisit", "option", "rationale", "instruction", "tell_customer", "grounds"),
    *("deciders", "stands_behind", "consulted", "informed", "dissent"),
)


def _cited(on_record: OnRecord) -> list[Cited]:
    """The events that the brief rests on, in the order of the log, each with the members that rest on it."""
    one = on_record.one
    found = [*on_record.cited, *on_record.passed, *on_record.reviewed]
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
    if on_record.holds is not None:
        holds = on_record.holds
        found.append(Cited(position=holds.position, type=MADE, subject=f"decision/{holds.decision}", tells=["holds"]))
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


def _sales(on_record: OnRecord) -> dict[str, Any]:
    """The members that SalesBrief has besides the common ones."""
    one, state = on_record.one, _state(on_record)
    holding = one if state == "made" else None
    plain = _plain_words(on_record)
    return {
        "instruction": None if holding is None else holding.instruction,
        "tell_customer": None if holding is None else holding.tell_customer,
        "stands_behind": [] if holding is None else roles(show_role(by) for by in holding.deciders),
        "plain_words": plain,
        "statements": [
            *_decided(on_record),
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


def _decided(on_record: OnRecord) -> list[Statement]:
    """What was decided, in plain language; the first sentence is what counts."""
    one, state = on_record.one, _state(on_record)
    if one is None:
        passed = [each.position for each in on_record.passed]
        before = [Statement(text="What was decided on it before holds no more.", events=passed)] if passed else []
        return [Statement(text=NOT_DECIDED, events=[]), *before]
    if one.position is None:
        assert one.proposed is not None  # It was either made or proposed.
        by = one.proposed.decide_by
        told = [Statement(text=NOT_DECIDED, events=[one.proposed.position])]
        if by is not None:
            text = f"It was to be decided by {by}." if one.overdue else f"It is to be decided by {by}."
            told.append(Statement(text=text, events=[one.proposed.position]))
        return told
    if state == "superseded":
        return _gave_way(on_record)
    assert one.outcome is not None
    assert one.time is not None
    made = [one.position]
    told = [Statement(text=f"Decided on {one.time[:10]}: {DECIDED[one.outcome]}.", events=made)]
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


def _gave_way(on_record: OnRecord) -> list[Statement]:
    assert on_record.one is not None
    assert on_record.one.superseded_by is not None
    holds, passed = on_record.holds, [each.position for each in on_record.passed]
    gave_way = f"{on_record.one.decision} holds no more since {on_record.one.superseded_by.time[:10]}."
    if holds is None:
        return [Statement(text=f"{gave_way} {NOT_DECIDED}", events=passed)]
    made = [holds.position]
    return [
        Statement(text=f"{gave_way} {holds.decision} holds in its place.", events=[*passed, *made]),
        Statement(text=f"Decided on {holds.time[:10]}: {DECIDED[holds.outcome]}.", events=made),
        *_guidance(holds, made),
        Statement(text=f"Who stands behind it: {_listed(holds.stands_behind)}.", events=made),
    ]


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
