"""Promises: what was promised to an account, by when, and how each ended."""

from collections.abc import Iterator

from schemas.envelope import Recorded
from schemas.events import PromiseClosed, PromiseMade
from services.projector.projections.projection import Row, on_behalf, projection, times

NAME = "promises"


def fold(recorded: Recorded) -> Iterator[Row]:
    """The row that an event adds."""
    position = recorded.position
    match recorded.event:
        case PromiseMade() as event:
            promised = (event.account, event.requirement, event.opportunity, event.decision, event.due)
            yield "promises_made", (position, event.promise, *promised, *on_behalf(event.by), *times(recorded))
        case PromiseClosed() as event:
            closed = (event.outcome, event.reason)
            yield "promises_closed", (position, event.promise, *closed, *on_behalf(event.by), *times(recorded))
        case other:
            raise AssertionError(f"{type(other).__name__} is not for the projection {NAME}")


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={"promises_made": ("position",), "promises_closed": ("position",)},
    events=(PromiseMade, PromiseClosed),
    fold=fold,
    edition=1,
)
