"""What happened, in a line each: events as a history shows them. Sealed texts are no part of it."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.codec import decode_recorded
from schemas.events import (
    AccountIdentified,
    AccountMerged,
    AccountProfiled,
    AccountUnmerged,
    AgreementAdopted,
    AgreementEndorsed,
    AgreementRevised,
    AskMoved,
    AskRecorded,
    AskWithdrawn,
    DecisionAcknowledged,
    DecisionMade,
    DecisionProposed,
    DecisionReaffirmed,
    DecisionSuperseded,
    DeliveryUpdated,
    Event,
    EventRetracted,
    FeedbackReceived,
    OpportunityUpdated,
    PersonErased,
    PerspectiveStated,
    PromiseClosed,
    PromiseMade,
    RequirementAssessed,
    RequirementMerged,
    RequirementRaised,
    RequirementReworded,
    RequirementUnmerged,
    SourceReconciled,
    TextRedacted,
)
from schemas.times import format_time
from services.projector.shapes.shown import Row

HISTORY_MAX = 200
"""Events that a history shows: the last ones."""

TOLD_EVENTS_MAX = 10_000
TOLD_BYTES_MAX = 2_048
"""Events whose lines are remembered, by their stored bytes, which never change, and may be of so many bytes each."""


class RetractedShown(Struct, frozen=True, kw_only=True):
    """That an event was retracted, and where."""

    position: int
    recordedtime: str


class Happened(Struct, frozen=True, kw_only=True):
    """An event in a history. `retracted` is absent while it counts."""

    position: int
    time: str
    recordedtime: str
    type: str
    subject: str
    summary: str
    retracted: RetractedShown | UnsetType = UNSET


def show_history(rows: Sequence[Row]) -> list[Happened]:
    """The last events of these stored rows, in their order, with where each was retracted. Raises Undecodable."""
    return [
        happened
        if row["retracted_at"] is None
        else msgspec.structs.replace(
            happened,
            retracted=RetractedShown(
                position=row["retracted_at"], recordedtime=format_time(row["retraction_recorded_at"])
            ),
        )
        for row, happened in ((row, _happened(row["state"])) for row in rows[-HISTORY_MAX:])
    ]


def _happened(state: bytes) -> Happened:
    return _tell(state) if len(state) > TOLD_BYTES_MAX else _told(state)


def _tell(state: bytes) -> Happened:
    recorded = decode_recorded(state)
    return Happened(
        position=recorded.position,
        time=format_time(recorded.time),
        recordedtime=format_time(recorded.recordedtime),
        type=recorded.type,
        subject=recorded.subject,
        summary=summary(recorded.event),
    )


_told = lru_cache(maxsize=TOLD_EVENTS_MAX)(_tell)


def summary(event: Event) -> str:
    """An event in one line."""
    match event:
        case AccountProfiled():
            return f"{event.account}: {', '.join(sorted(event.attributes)) or event.name or 'mentioned'}"
        case AccountIdentified():
            return f"{event.account} is also {', '.join(each.alias for each in event.same_as)}"
        case AccountMerged():
            return f"{event.account} was merged into {event.into}. {event.reason}"
        case AccountUnmerged():
            return f"{event.account} stands by itself again. {event.reason}"
        case FeedbackReceived():
            return f"{event.account or 'somebody'} gave feedback" + (f" ({event.channel})" if event.channel else "")
        case OpportunityUpdated():
            amount = f", {event.amount} {event.currency}" if event.amount else ""
            return f"{event.account}: opportunity {event.opportunity} is {event.stage}{amount}"
        case RequirementRaised():
            return f"raised: {event.title}"
        case RequirementReworded():
            return f"reworded: {event.title or event.area}. {event.reason}"
        case RequirementMerged():
            return f"merged into {event.into}. {event.reason}"
        case RequirementUnmerged():
            return f"stands by itself again. {event.reason}"
        case AskRecorded():
            return f"{event.account} asked, importance {event.importance}"
        case AskWithdrawn():
            return f"ask {event.ask} was withdrawn" + (f". {event.reason}" if event.reason else "")
        case AskMoved():
            return f"ask {event.ask} was moved to {event.to}. {event.reason}"
        case SourceReconciled():
            return f"{event.source} counts {event.count} of {event.type}, {event.from_} to {event.to}"
        case DeliveryUpdated():
            return event.state + (f", target {event.target}" if event.target else "")
        case AgreementRevised():
            return f"revision {event.revision}: {event.title}. {event.reason}"
        case AgreementEndorsed():
            return f"{event.team} on revision {event.revision}: {event.meaning.replace('_', ' ')}"
        case AgreementAdopted():
            return f"revision {event.revision} was adopted, effective {event.effective}"
        case DecisionProposed():
            return f"proposed: {event.question}"
        case DecisionMade():
            return f"{event.outcome}: {event.instruction}"
        case RequirementAssessed():
            return f"{event.by.team} assessed it: {event.feasibility}" + (f". {event.plain}" if event.plain else "")
        case PerspectiveStated():
            return f"{event.team}: {event.statement}"
        case DecisionAcknowledged():
            return f"{event.team} has taken note of it" + (f". {event.note}" if event.note else "")
        case DecisionReaffirmed():
            return f"reaffirmed. {event.reason}"
        case DecisionSuperseded():
            return f"superseded by {event.superseded_by}. {event.reason}"
        case PromiseMade():
            return f"{event.requirement} was promised to {event.account}" + (f", due {event.due}" if event.due else "")
        case PromiseClosed():
            return event.outcome + (f". {event.reason}" if event.reason else "")
        case EventRetracted():
            return f"what is at position {event.position} was recorded in error. {event.reason}"
        case TextRedacted():
            return f"the sealed words of what is at position {event.position} were erased. {event.reason}"
        case PersonErased():
            return f"what was sealed about {event.person} was erased. {event.reason}"
        case _:
            return event.subject
