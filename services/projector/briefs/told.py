"""What a brief says, in either voice. A brief names roles and teams, and no person."""

from datetime import date
from typing import Literal

from msgspec import Struct

from schemas.events import Available, Dissent, Effort, Option
from services.projector.judgement.fit import Class
from services.projector.judgement.lenses import Departs
from services.projector.judgement.revenue import Money
from services.projector.judgement.review import Mark
from services.projector.shapes.decision import Grounds, Outcome, Superseded
from services.projector.shapes.shown import AsOf, Delivery, RevisionShown, Role, Status

Voice = Literal["engineering", "sales"]


State = Literal["open", "proposed", "made", "superseded"]


Feasibility = Literal["feasible", "costly", "infeasible", "unknown"]


Ended = Literal["withdrawn", "retracted", "moved"]


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
