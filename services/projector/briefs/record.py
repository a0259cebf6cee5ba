"""What is on record of a decision, or of a requirement: all that briefs are made of.

What both voices have in common is made once, in `common_members`, so that they cannot contradict each other: what was
decided, on which requirements, from when, whether it holds, and the events that say so.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from msgspec import Struct

from schemas.events import (
    AgreementAdopted,
    AskMoved,
    AskRecorded,
    AskWithdrawn,
    DecisionAcknowledged,
    DecisionMade,
    DecisionProposed,
    DecisionReaffirmed,
    DecisionSuperseded,
    DeliveryUpdated,
    EventRetracted,
    PerspectiveStated,
    PromiseMade,
    RequirementAssessed,
    RequirementMerged,
    RequirementRaised,
    RequirementReworded,
    type_of,
)
from schemas.values import same_team
from services.projector.briefs.told import (
    AssessmentTold,
    Cited,
    Holding,
    PerspectiveTold,
    PlainTold,
    PromisesTold,
    RequirementTold,
    State,
)
from services.projector.shapes.decision import OneDecision
from services.projector.shapes.shown import AsOf

FITS_MAX = 20
"""Accounts that a brief shows, the weightiest first; the counts by class are of all."""


PROMISES_CITED_MAX = 200
"""Open promises that a brief names, those due first; the count is of all."""


PROPOSED = type_of(DecisionProposed)
MADE = type_of(DecisionMade)
SUPERSEDED = type_of(DecisionSuperseded)
RAISED = type_of(RequirementRaised)
REWORDED = type_of(RequirementReworded)
MERGED = type_of(RequirementMerged)
DELIVERED = type_of(DeliveryUpdated)
ASSESSED = type_of(RequirementAssessed)
STATED = type_of(PerspectiveStated)
PROMISED = type_of(PromiseMade)
ASKED = type_of(AskRecorded)
WITHDRAWN = type_of(AskWithdrawn)
MOVED = type_of(AskMoved)
RETRACTED = type_of(EventRetracted)
ADOPTED = type_of(AgreementAdopted)
ACKNOWLEDGED = type_of(DecisionAcknowledged)
REAFFIRMED = type_of(DecisionReaffirmed)


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


def common_members(on_record: OnRecord) -> dict[str, Any]:
    """The members of Brief: the one place where it is said what was decided, and whether it holds."""
    one = on_record.one
    holds_on = holds_itself_on(on_record)
    return {
        "decision": None if one is None else one.decision,
        "state": state_of(on_record),
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
        "undecided_on": undecided_on(on_record),
        "promises": PromisesTold(
            open=len(on_record.promises),
            due=min((each.due for each in on_record.promises if each.due), default=None),
            accounts=[*dict.fromkeys(each.account for each in due_first(on_record)[:PROMISES_CITED_MAX])],
        ),
        "as_of": on_record.as_of,
        "events": _cited(on_record),
    }


def state_of(on_record: OnRecord) -> State:
    return "open" if on_record.one is None else on_record.one.state


def holds_itself_on(on_record: OnRecord) -> list[str]:
    """The requirements on which the decision itself holds."""
    return _not_held_by_others(on_record) if state_of(on_record) == "made" else []


def undecided_on(on_record: OnRecord) -> list[str]:
    """The requirements on which no decision holds. One that has not given way leaves none of its own so."""
    return [] if state_of(on_record) == "made" else _not_held_by_others(on_record)


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
    plain = {each.position for each in plain_words_of(on_record)}
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
        for each in due_first(on_record)[:PROMISES_CITED_MAX]
    ]
    return _once(found)


def due_first(on_record: OnRecord) -> list[OpenPromise]:
    return sorted(on_record.promises, key=lambda each: (each.due is None, each.due or date.max, each.position))


def _once(found: Iterable[Cited]) -> list[Cited]:
    """Each event once, in the order of the log."""
    cited: dict[int, Cited] = {}
    for each in found:
        before = cited.get(each.position)
        tells = [*dict.fromkeys([*(before.tells if before else []), *each.tells])]
        cited[each.position] = Cited(position=each.position, type=each.type, subject=each.subject, tells=tells)
    return [cited[position] for position in sorted(cited)]


def plain_words_of(on_record: OnRecord) -> list[PlainTold]:
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
