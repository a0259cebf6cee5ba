"""Decisions: what was proposed, what was decided by whom, and which requirements it is about."""

from collections.abc import Iterator

from schemas.envelope import Recorded
from schemas.events import DecisionMade, DecisionProposed
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
        case other:
            raise AssertionError(f"{type(other).__name__} is not for the projection {NAME}")


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={
        "decision_proposals": ("position",),
        "decisions_made": ("position",),
        "decision_requirements": ("position", "requirement"),
    },
    events=(DecisionProposed, DecisionMade),
    fold=fold,
    edition=1,
)
