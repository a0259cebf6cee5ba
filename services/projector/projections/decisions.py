"""Decisions: what was proposed, what was decided by whom, which requirements it is about, and what was said of it
since."""

from collections.abc import Iterator

from schemas.envelope import Recorded
from schemas.events import (
    DecisionAcknowledged,
    DecisionMade,
    DecisionProposed,
    DecisionReaffirmed,
    DecisionSuperseded,
)
from services.projector.projections.projection import Row, json, on_behalf, projection, times

NAME = "decisions"


def fold(recorded: Recorded) -> Iterator[Row]:
    """The rows that an event adds."""
    position = recorded.position
    match recorded.event:
        case DecisionProposed() as event:
            yield (
                "decision_proposals",
                (
                    position,
                    event.decision,
                    event.requirements,
                    event.question,
                    json(event.drivers),
                    json(event.options),
                    event.decide_by,
                    *on_behalf(event.by),
                    *times(recorded),
                ),
            )
        case DecisionMade() as event:
            yield (
                "decisions_made",
                (
                    position,
                    event.decision,
                    event.requirements,
                    event.outcome,
                    event.grounds,
                    event.option,
                    event.rationale,
                    event.instruction,
                    event.tell_customer,
                    None if event.available is None else json(event.available),
                    json(event.deciders),
                    json(event.consulted),
                    event.informed,
                    json(event.dissent),
                    event.revisit,
                    event.seen,
                    *times(recorded),
                ),
            )
            # One requirement may be named twice; it is decided once.
            for requirement in dict.fromkeys(event.requirements):
                yield "decision_requirements", (position, requirement, event.decision)
        case DecisionAcknowledged() as event:
            noted = (event.decision, event.team, event.note, recorded.authid)
            yield "decision_acknowledgements", (position, *noted, *on_behalf(event.by), *times(recorded))
        case DecisionReaffirmed() as event:
            reaffirmed = (event.decision, event.reason, event.seen)
            yield "decision_reaffirmations", (position, *reaffirmed, *on_behalf(event.by), *times(recorded))
        case DecisionSuperseded() as event:
            superseded = (event.decision, event.superseded_by, event.reason)
            yield "decision_supersessions", (position, *superseded, *on_behalf(event.by), *times(recorded))
        case other:
            raise AssertionError(f"{type(other).__name__} is not for the projection {NAME}")


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={
        "decision_proposals": ("position",),
        "decisions_made": ("position",),
        "decision_requirements": ("position", "requirement"),
        "decision_acknowledgements": ("position",),
        "decision_reaffirmations": ("position",),
        "decision_supersessions": ("position",),
    },
    events=(DecisionProposed, DecisionMade, DecisionAcknowledged, DecisionReaffirmed, DecisionSuperseded),
    fold=fold,
    edition=2,
)
