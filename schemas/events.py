"""Every event that may be recorded.

Tags and field names are the storage format: add events and optional fields, never rename or remove. A limit may
be widened, never narrowed, since what was recorded has to stay readable; a new value of a Literal is a new version
for whoever reads with older software.
An event is declared once, here: its class, and its place in `ANY_EVENT`. The class says whether it is an
observation (recorded whenever it is well-formed) or an act (recorded only if its rule allows it), what its
subject is, which of its texts are sealed, and about whom those are.
"""

from typing import Annotated, Any, ClassVar, Literal, get_args, get_type_hints

from msgspec import Meta, Struct

from schemas.criteria import TEST_LEVELS_MAX, Test, levels
from schemas.values import (
    ID_CHARS_MAX,
    YEAR_MAX,
    YEAR_MIN,
    Amount,
    AttributeName,
    AttributeValue,
    By,
    Currency,
    Day,
    EventType,
    Id,
    IdElsewhere,
    Labels,
    Moment,
    Name,
    Paragraph,
    Role,
    Sealed,
    Sentence,
    Source,
    Subject,
    SystemName,
    Team,
    Url,
    moment,
    same_team,
)

BULLETS_MAX = 50

SEALED = {"sealed": True}
SealedName = Annotated[str, Meta(min_length=1, max_length=200, extra=SEALED)] | Sealed
SealedEmail = Annotated[str, Meta(min_length=3, max_length=320, extra=SEALED)] | Sealed
SealedText = Annotated[str, Meta(min_length=1, max_length=8_000, extra=SEALED)] | Sealed

Importance = Annotated[int, Meta(ge=0, le=3)]
Ids = Annotated[list[Id], Meta(max_length=200)]
OneOrMoreIds = Annotated[list[Id], Meta(min_length=1, max_length=200)]
Teams = Annotated[list[Team], Meta(max_length=50)]
Position = Annotated[int, Meta(ge=0)]


class Event(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="@type"):
    """What was said. Its `type` is the tag of its class; its subject is `<KIND>/<id>`."""

    KIND: ClassVar[str]

    @property
    def subject(self) -> str:
        return f"{self.KIND}/{getattr(self, self.KIND)}"

    @classmethod
    def subject_form(cls) -> str:
        """How the subject of such an event is made."""
        return f"{cls.KIND}/{{{cls.KIND}}}"

    def about(self) -> str | None:
        """The person whom the sealed texts are about, as far as the event says."""
        return None


class Observation(Event, frozen=True, kw_only=True):
    """What some system reports; recorded in whatever order it comes, and every projection can apply it."""


class Act(Event, frozen=True, kw_only=True):
    """What changes what the company has agreed; recorded only if its rule allows it."""


# People and accounts


class PersonIntroduced(Observation, frozen=True, kw_only=True, tag="ledger.person.introduced.v1"):
    """The one event type that holds names of persons; everywhere else a person is an opaque id."""

    KIND = "person"
    person: Id
    name: SealedName
    email: SealedEmail | None = None
    role: Role | None = None
    team: Team | None = None

    def about(self) -> str | None:
        return self.person


class AccountProfiled(Observation, frozen=True, kw_only=True, tag="ledger.account.profiled.v1"):
    """Facts about an account. Sets only the attributes that it names; null means unknown again."""

    KIND = "account"
    account: Id
    name: Name | None = None
    attributes: Annotated[dict[AttributeName, AttributeValue], Meta(max_length=500)]


class Elsewhere(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an account is called in another system. `system:id` is an alias: any event may name the account by it."""

    system: SystemName
    id: IdElsewhere

    def __post_init__(self) -> None:
        if len(self.alias) > ID_CHARS_MAX:
            raise ValueError(f"`system` and `id` have {ID_CHARS_MAX - 1} characters together at most")

    @property
    def alias(self) -> str:
        return f"{self.system}:{self.id}"


class AccountIdentified(Observation, frozen=True, kw_only=True, tag="ledger.account.identified.v1"):
    """Ids of the account elsewhere. An alias may be used before it is known, and after."""

    KIND = "account"
    account: Id
    same_as: Annotated[list[Elsewhere], Meta(min_length=1, max_length=200)]


class AccountMerged(Act, frozen=True, kw_only=True, tag="ledger.account.merged.v1"):
    """Two accounts are one: what was said of either counts for `into`, the latest of each fact. It keeps its name."""

    KIND = "account"
    account: Id
    into: Id
    reason: Paragraph
    by: By


class AccountUnmerged(Act, frozen=True, kw_only=True, tag="ledger.account.unmerged.v1"):
    """The account is told apart again; what was said of it goes back."""

    KIND = "account"
    account: Id
    reason: Paragraph
    by: By


class OpportunityUpdated(Observation, frozen=True, kw_only=True, tag="ledger.opportunity.updated.v1"):
    """An opportunity as it stands; replaces what was said about it before."""

    KIND = "opportunity"
    opportunity: Id
    account: Id
    stage: Literal["open", "won", "lost"]
    amount: Amount | None = None
    currency: Currency | None = None
    kind: Literal["new", "expansion", "renewal"] | None = None
    pipeline_stage: Name | None = None
    closes: Day | None = None
    starts: Day | None = None
    ends: Day | None = None
    requirements: Ids = []
    competitors: Annotated[list[Name], Meta(max_length=50)] = []
    closed_because: Literal["price", "feature", "competitor", "timing", "fit", "other"] | None = None
    lead: Id | None = None
    reason: Paragraph | None = None

    def __post_init__(self) -> None:
        if self.amount is not None and self.currency is None:
            raise ValueError("an `amount` needs its `currency`")


# Feedback, requirements and asks


class FeedbackReceived(Observation, frozen=True, kw_only=True, tag="ledger.feedback.received.v1"):
    """What a customer said, as it came. An ask that names it takes it out of the inbox."""

    KIND = "feedback"
    feedback: Id
    text: SealedText
    account: Id | None = None
    contact: Id | None = None
    channel: Name | None = None
    url: Url | None = None
    labels: Labels = {}

    def about(self) -> str | None:
        return self.contact


class Link(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    system: Name
    id: Name
    url: Url | None = None


class RequirementRaised(Observation, frozen=True, kw_only=True, tag="ledger.requirement.raised.v1"):
    KIND = "requirement"
    requirement: Id
    title: Name
    problem: SealedText | None = None
    area: Name | None = None
    labels: Labels = {}
    links: Annotated[list[Link], Meta(max_length=50)] = []
    by: By | None = None


class RequirementReworded(Act, frozen=True, kw_only=True, tag="ledger.requirement.reworded.v1"):
    KIND = "requirement"
    requirement: Id
    title: Name | None = None
    area: Name | None = None
    reason: Paragraph
    by: By

    def __post_init__(self) -> None:
        if self.title is None and self.area is None:
            raise ValueError("a rewording needs a `title` or an `area`")


class RequirementMerged(Act, frozen=True, kw_only=True, tag="ledger.requirement.merged.v1"):
    """Two requirements are one: asks for either count at `into`, or where that was merged in its turn."""

    KIND = "requirement"
    requirement: Id
    into: Id
    reason: Paragraph
    by: By


class RequirementUnmerged(Act, frozen=True, kw_only=True, tag="ledger.requirement.unmerged.v1"):
    """The requirement stands by itself again, with its asks."""

    KIND = "requirement"
    requirement: Id
    reason: Paragraph
    by: By


class AskRecorded(Observation, frozen=True, kw_only=True, tag="ledger.ask.recorded.v1"):
    """One account's voice for a requirement. The same `ask` of the same account again revises it."""

    KIND = "requirement"
    requirement: Id
    account: Id
    ask: Id | None = None
    importance: Importance = 1
    contact: Id | None = None
    channel: Name | None = None
    quote: SealedText | None = None
    url: Url | None = None
    opportunity: Id | None = None
    feedback: Id | None = None
    needed_by: Day | None = None
    labels: Labels = {}
    by: By | None = None

    def about(self) -> str | None:
        return self.contact


class AskWithdrawn(Observation, frozen=True, kw_only=True, tag="ledger.ask.withdrawn.v1"):
    KIND = "requirement"
    requirement: Id
    ask: Id
    reason: Paragraph | None = None
    by: By | None = None


class Effort(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An estimate, from the least to the most."""

    low: Annotated[float, Meta(ge=0, le=1_000_000)]
    high: Annotated[float, Meta(ge=0, le=1_000_000)]
    unit: Name

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("`low` must not be above `high`")


class RequirementAssessed(Observation, frozen=True, kw_only=True, tag="ledger.requirement.assessed.v1"):
    """What those who would build it say of it. The last word of a team counts; what it said before stays on record."""

    KIND = "requirement"
    requirement: Id
    feasibility: Literal["feasible", "costly", "infeasible", "unknown"]
    effort: Effort | None = None
    risks: Annotated[list[Sentence], Meta(max_length=50)] = []
    plain: Paragraph | None = None
    by: By


class PerspectiveStated(Observation, frozen=True, kw_only=True, tag="ledger.perspective.stated.v1"):
    """One side's own statement. It stands beside the others', at the same size; a team's last word counts."""

    KIND = "requirement"
    requirement: Id
    decision: Id | None = None
    team: Team
    statement: Paragraph
    by: By


class AskMoved(Act, frozen=True, kw_only=True, tag="ledger.ask.moved.v1"):
    """The ask, which was recorded on `requirement`, is one for `to`."""

    KIND = "requirement"
    requirement: Id
    ask: Id
    to: Id
    reason: Paragraph
    by: By


class DeliveryUpdated(Observation, frozen=True, kw_only=True, tag="ledger.delivery.updated.v1"):
    KIND = "requirement"
    requirement: Id
    state: Literal["planned", "in_progress", "beta", "shipped", "cancelled"]
    target: Day | None = None
    url: Url | None = None
    by: By | None = None


# Agreements


class Bullet(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One terse line of an agreement. Without a test it is prose: shown, never counted."""

    bullet: Id
    text: Sentence
    test: Test | None = None
    weight: Annotated[int, Meta(ge=1, le=1_000)] = 1
    required: bool = False

    def __post_init__(self) -> None:
        if self.test is not None and levels(self.test) > TEST_LEVELS_MAX:
            raise ValueError(f"a `test` nests at most {TEST_LEVELS_MAX} levels")


class AgreementRevised(Act, frozen=True, kw_only=True, tag="ledger.agreement.revised.v1"):
    KIND = "agreement"
    agreement: Id
    revision: Id
    title: Name
    stage: Literal["exploratory", "focused"]
    statement: Paragraph | None = None
    bullets: Annotated[list[Bullet], Meta(max_length=BULLETS_MAX)]
    threshold: Annotated[int, Meta(ge=0, le=100)]
    signatories: Teams
    review_by: Day | None = None
    reason: Paragraph
    by: By

    def __post_init__(self) -> None:
        if len({bullet.bullet for bullet in self.bullets}) < len(self.bullets):
            raise ValueError("each of the `bullets` needs a `bullet` id of its own")
        if len({same_team(team) for team in self.signatories}) < len(self.signatories):
            raise ValueError("each of the `signatories` signs once")


class AgreementEndorsed(Act, frozen=True, kw_only=True, tag="ledger.agreement.endorsed.v1"):
    KIND = "agreement"
    agreement: Id
    revision: Id
    team: Team
    meaning: Literal["agree", "agree_with_reservations", "object"]
    note: Paragraph | None = None
    by: By


class AgreementAdopted(Act, frozen=True, kw_only=True, tag="ledger.agreement.adopted.v1"):
    KIND = "agreement"
    agreement: Id
    revision: Id
    effective: Moment
    by: By

    def __post_init__(self) -> None:
        _instant("effective", self.effective)


# Decisions


class Argument(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    verdict: Literal["good", "neutral", "bad"]
    text: Paragraph
    team: Team | None = None


class Option(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    option: Id
    summary: Sentence
    arguments: Annotated[list[Argument], Meta(max_length=50)] = []


class Available(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """From when customers can have it, and how sure that is."""

    from_: Moment
    confidence: Literal["low", "medium", "high"]

    def __post_init__(self) -> None:
        _instant("from", self.from_)


class Dissent(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    team: Team
    statement: Paragraph


class DecisionProposed(Act, frozen=True, kw_only=True, tag="ledger.decision.proposed.v1"):
    KIND = "decision"
    decision: Id
    requirements: OneOrMoreIds
    question: Paragraph
    drivers: Annotated[list[Sentence], Meta(max_length=50)] = []
    options: Annotated[list[Option], Meta(max_length=20)]
    decide_by: Day | None = None
    by: By

    def __post_init__(self) -> None:
        if len({option.option for option in self.options}) < len(self.options):
            raise ValueError("each of the `options` needs an `option` id of its own")


class DecisionMade(Act, frozen=True, kw_only=True, tag="ledger.decision.made.v1"):
    """What was decided, by whom, on what grounds. `seen` is the position that the deciders had before them."""

    KIND = "decision"
    decision: Id
    requirements: OneOrMoreIds
    outcome: Literal["commit", "decline", "defer", "explore"]
    grounds: Literal["target", "exception", "obligation", "technical"] = "target"
    option: Id | None = None
    rationale: Paragraph
    instruction: Sentence
    tell_customer: Paragraph | None = None
    available: Available | None = None
    deciders: Annotated[list[By], Meta(min_length=1, max_length=50)]
    consulted: Annotated[list[By], Meta(max_length=50)] = []
    informed: Teams = []
    dissent: Annotated[list[Dissent], Meta(max_length=50)] = []
    revisit: Day | None = None
    seen: Position | None = None


class DecisionAcknowledged(Act, frozen=True, kw_only=True, tag="ledger.decision.acknowledged.v1"):
    """A team has taken note of a made decision, whether it agrees or not."""

    KIND = "decision"
    decision: Id
    team: Team
    note: Paragraph | None = None
    by: By


class DecisionReaffirmed(Act, frozen=True, kw_only=True, tag="ledger.decision.reaffirmed.v1"):
    """A made decision stands, with what is known now. `seen` is the position that was looked at."""

    KIND = "decision"
    decision: Id
    reason: Paragraph
    seen: Position | None = None
    by: By


class DecisionSuperseded(Act, frozen=True, kw_only=True, tag="ledger.decision.superseded.v1"):
    """A made decision has given way to another made one. It stays on record as it was."""

    KIND = "decision"
    decision: Id
    superseded_by: Id
    reason: Paragraph
    by: By


# Promises


class PromiseMade(Observation, frozen=True, kw_only=True, tag="ledger.promise.made.v1"):
    """What was promised to an account; replaces what was said of the promise before."""

    KIND = "promise"
    promise: Id
    account: Id
    requirement: Id
    opportunity: Id | None = None
    decision: Id | None = None
    due: Day | None = None
    by: By


class PromiseClosed(Observation, frozen=True, kw_only=True, tag="ledger.promise.closed.v1"):
    KIND = "promise"
    promise: Id
    outcome: Literal["kept", "released", "missed"]
    reason: Paragraph | None = None
    by: By


# Corrections


class Correction(Act, frozen=True, kw_only=True):
    """An act about one event of the log, named by its position and its subject. It belongs to the stream of that."""

    KIND = "event"
    position: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    subject: Subject
    reason: Paragraph
    by: By

    @classmethod
    def subject_form(cls) -> str:
        return "{subject}"


class EventRetracted(Correction, frozen=True, kw_only=True, tag="ledger.event.retracted.v1"):
    """The observation at a position was recorded in error. It stays in the log, and counts no more from here on.

    It belongs to the stream of the event that it retracts. Acts are undone by acts.
    """


class TextRedacted(Correction, frozen=True, kw_only=True, tag="ledger.text.redacted.v1"):
    """The sealed texts of the event at a position are gone for good: their key is destroyed. The event stays.

    It belongs to the stream of the event whose texts these were, and cannot be undone.
    """


class PersonErased(Act, frozen=True, kw_only=True, tag="ledger.person.erased.v1"):
    """What is sealed about a person and stands before this is gone for good: the keys of it are destroyed.

    What is said about that person afterwards is new, and takes an erasure of its own.
    """

    KIND = "person"
    person: Id
    reason: Paragraph
    by: By


# Emitters


class SourceReconciled(
    Observation, frozen=True, kw_only=True, rename={"from_": "from"}, tag="ledger.source.reconciled.v1"
):
    """How many events of a type an emitter counts whose `time` lies in a period: from `from`, before `to`.

    `sum`: what their amounts add up to, for a type that has an `amount`.
    """

    KIND = "source"
    source: Source
    from_: Moment
    to: Moment
    type: EventType
    count: Annotated[int, Meta(ge=0, le=2**53)]
    sum: Amount | None = None

    def __post_init__(self) -> None:
        _instant("from", self.from_)
        _instant("to", self.to)
        if moment(self.from_) >= moment(self.to):
            raise ValueError("`to` must be later than `from`")


ANY_EVENT = (
    PersonIntroduced
    | AccountProfiled
    | AccountIdentified
    | AccountMerged
    | AccountUnmerged
    | OpportunityUpdated
    | FeedbackReceived
    | RequirementRaised
    | RequirementReworded
    | RequirementMerged
    | RequirementUnmerged
    | AskRecorded
    | AskWithdrawn
    | AskMoved
    | DeliveryUpdated
    | AgreementRevised
    | AgreementEndorsed
    | AgreementAdopted
    | DecisionProposed
    | DecisionMade
    | SourceReconciled
    | RequirementAssessed
    | PerspectiveStated
    | DecisionAcknowledged
    | DecisionReaffirmed
    | DecisionSuperseded
    | PromiseMade
    | PromiseClosed
    | EventRetracted
    | TextRedacted
    | PersonErased
)

EVENT_TYPES: dict[str, type[Event]] = {cls.__struct_config__.tag: cls for cls in get_args(ANY_EVENT)}


def _instant(name: str, value: str) -> None:
    # What a type says of its members quotes none of them: it is kept of a refused event (see schemas/objections.py).
    try:
        moment(value)
    except ValueError:
        years = f"between the years {YEAR_MIN} and {YEAR_MAX}"
        raise ValueError(f"`{name}` must be a date or a time that there is, {years}") from None


def type_of(event: Event | type[Event]) -> str:
    """The CloudEvents type of an event or of its class."""
    return str(event.__struct_config__.tag)


def _is_sealed(hint: Any) -> bool:
    return Sealed in get_args(hint) or any(_is_sealed(part) for part in get_args(hint))


SEALED_FIELDS: dict[str, tuple[str, ...]] = {
    name: tuple(field for field, hint in get_type_hints(cls, include_extras=True).items() if _is_sealed(hint))
    for name, cls in EVENT_TYPES.items()
}
"""For each type, the fields that are sealed before the event is stored."""
