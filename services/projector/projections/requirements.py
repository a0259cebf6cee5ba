"""Requirements: what they are called, who asked for them and who no longer does, which were merged and which asks
moved, how delivery stands, and what each side says of them.

Rows have the names that the events have: see judgement/resolution.py.
"""

from collections.abc import Iterator

from schemas.envelope import Recorded
from schemas.events import (
    AskMoved,
    AskRecorded,
    AskWithdrawn,
    DeliveryUpdated,
    PerspectiveStated,
    RequirementAssessed,
    RequirementMerged,
    RequirementRaised,
    RequirementReworded,
    RequirementUnmerged,
)
from services.projector.projections.projection import Row, json, on_behalf, projection, times

NAME = "requirements"


def fold(recorded: Recorded) -> Iterator[Row]:
    """The row that an event adds."""
    position = recorded.position
    match recorded.event:
        case RequirementRaised() as event:
            said = (event.title, event.area, event.problem is not None, json(event.labels), json(event.links), None)
            yield (
                "requirement_rows",
                (position, event.requirement, False, *said, *on_behalf(event.by), *times(recorded)),
            )
        case RequirementReworded() as event:
            said_anew = (event.title, event.area, False, None, None, event.reason)
            yield (
                "requirement_rows",
                (position, event.requirement, True, *said_anew, *on_behalf(event.by), *times(recorded)),
            )
        case AskRecorded() as event:
            yield (
                "asks",
                (
                    position,
                    event.requirement,
                    event.ask,
                    event.account,
                    False,
                    event.importance,
                    event.contact,
                    event.channel,
                    event.quote is not None,
                    event.url,
                    event.opportunity,
                    event.feedback,
                    event.needed_by,
                    json(event.labels),
                    None,
                    *on_behalf(event.by),
                    *times(recorded),
                ),
            )
        case AskWithdrawn() as event:
            unsaid = (None, None, None, False, None, None, None, None, None)
            yield (
                "asks",
                (
                    position,
                    event.requirement,
                    event.ask,
                    None,
                    True,
                    *unsaid,
                    event.reason,
                    *on_behalf(event.by),
                    *times(recorded),
                ),
            )
        case AskMoved() as event:
            moved = (event.requirement, event.ask, event.to, event.reason)
            yield "ask_moves", (position, *moved, *on_behalf(event.by), *times(recorded))
        case RequirementMerged() as event:
            merged = (event.requirement, event.into, event.reason)
            yield "requirement_merges", (position, *merged, *on_behalf(event.by), *times(recorded))
        case RequirementUnmerged() as event:
            unmerged = (event.requirement, None, event.reason)
            yield "requirement_merges", (position, *unmerged, *on_behalf(event.by), *times(recorded))
        case DeliveryUpdated() as event:
            said_of_delivery = (event.state, event.target, event.url)
            yield "deliveries", (position, event.requirement, *said_of_delivery, *on_behalf(event.by), *times(recorded))
        case RequirementAssessed() as event:
            effort = None if event.effort is None else json(event.effort)
            assessed = (event.feasibility, effort, json(event.risks), event.plain)
            yield "assessments", (position, event.requirement, *assessed, *on_behalf(event.by), *times(recorded))
        case PerspectiveStated() as event:
            stated = (event.decision, event.team, event.statement)
            yield "perspectives", (position, event.requirement, *stated, *on_behalf(event.by), *times(recorded))
        case other:
            raise AssertionError(f"{type(other).__name__} is not for the projection {NAME}")


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={
        "requirement_rows": ("position",),
        "asks": ("position",),
        "ask_moves": ("position",),
        "requirement_merges": ("position",),
        "deliveries": ("position",),
        "assessments": ("position",),
        "perspectives": ("position",),
    },
    events=(
        RequirementRaised,
        RequirementReworded,
        RequirementMerged,
        RequirementUnmerged,
        AskRecorded,
        AskWithdrawn,
        AskMoved,
        DeliveryUpdated,
        RequirementAssessed,
        PerspectiveStated,
    ),
    fold=fold,
    edition=3,
)
