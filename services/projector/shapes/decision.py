"""A decision as answers show it: as it was proposed, as it was made, and what was said of it since."""

from datetime import date
from typing import Literal

from msgspec import Struct

from schemas.events import Available, Dissent, Option
from schemas.values import By
from services.projector.judgement.fit import Class
from services.projector.judgement.lenses import Departs
from services.projector.judgement.revenue import Money, Sum
from services.projector.judgement.review import Mark
from services.projector.shapes.shown import AsOf, FitShown, RevisionShown


class Became(Struct, frozen=True, kw_only=True):
    """What became of what was at stake, in the amounts that were at stake, by class as decided."""

    won: dict[str, list[Sum]]
    lost: dict[str, list[Sum]]
    open: dict[str, list[Sum]]


class Acknowledgement(Struct, frozen=True, kw_only=True):
    """A team has taken note of a decision. It need not agree.

    `recorded_by` is the public id of the API key that recorded it. `recorded_on_behalf_of`: that key has recorded
    acknowledgements of this decision by several teams, and so stands for none of them alone.
    """

    team: str
    note: str | None
    position: int
    time: str
    recordedtime: str
    recorded_by: str
    recorded_on_behalf_of: bool
    by: By | None


class Reaffirmation(Struct, frozen=True, kw_only=True):
    """A decision stands, with what was known by then."""

    reason: str
    seen: int | None
    position: int
    time: str
    recordedtime: str
    by: By | None


class Superseded(Struct, frozen=True, kw_only=True):
    """That a decision has given way to another; `decision` is the other one of the two."""

    decision: str
    position: int
    time: str
    recordedtime: str
    reason: str


Outcome = Literal["commit", "decline", "defer", "explore"]


Grounds = Literal["target", "exception", "obligation", "technical"]


State = Literal["proposed", "made", "superseded"]


class Made(Struct, frozen=True, kw_only=True):
    """A decision as it was made, the revision that was in force for its deciders, and what was said of it since."""

    decision: str
    position: int
    time: str
    recordedtime: str
    outcome: Outcome
    grounds: Grounds
    departs: Departs | None
    deciders: list[By]
    instruction: str
    rationale: str
    option: str | None
    tell_customer: str | None
    available: Available | None
    consulted: list[By]
    informed: list[str]
    dissent: list[Dissent]
    revisit: date | None
    seen: int | None
    cut: int
    agreement: str | None
    revision: str | None
    needs_review: list[Mark]
    acknowledgements: list[Acknowledgement]
    reaffirmations: list[Reaffirmation]
    superseded_by: Superseded | None
    supersedes: list[Superseded]


class Proposed(Struct, frozen=True, kw_only=True):
    position: int
    time: str
    recordedtime: str
    question: str
    drivers: list[str]
    options: list[Option]
    decide_by: date | None
    by: By | None


class DecidedFit(Struct, frozen=True, kw_only=True):
    """An account that asked, as the deciders knew it."""

    account: str
    name: str | None
    requirement: str
    ask: str
    position: int
    importance: int
    as_decided: FitShown | None


class OneDecision(Struct, frozen=True, kw_only=True):
    """A decision. What only a made one has is null, or empty, while it is proposed."""

    decision: str
    state: State
    requirements: list[str]
    as_of: AsOf
    proposed: Proposed | None
    position: int | None = None
    time: str | None = None
    recordedtime: str | None = None
    outcome: Outcome | None = None
    grounds: Grounds | None = None
    departs: Departs | None = None
    deciders: list[By] = []
    instruction: str | None = None
    rationale: str | None = None
    option: str | None = None
    tell_customer: str | None = None
    available: Available | None = None
    consulted: list[By] = []
    informed: list[str] = []
    dissent: list[Dissent] = []
    revisit: date | None = None
    seen: int | None = None
    cut: int | None = None
    agreement: str | None = None
    revision: str | None = None
    needs_review: list[Mark] = []
    overdue: bool
    at_stake: dict[str, list[Money]] | None = None
    became: Became | None = None
    acknowledgements: list[Acknowledgement] = []
    reaffirmations: list[Reaffirmation] = []
    superseded_by: Superseded | None = None
    supersedes: list[Superseded] = []
    accounts: dict[Class, int]
    fits: list[DecidedFit]
    revisions: dict[str, RevisionShown]
