"""Retractions: which observations were recorded in error, and from which position on they count no more."""

from collections.abc import Iterator

from schemas.envelope import Recorded
from schemas.events import EventRetracted
from services.projector.projections.projection import Row, on_behalf, projection, times

NAME = "retractions"


def fold(recorded: Recorded) -> Iterator[Row]:
    """The row that an event adds."""
    event = recorded.event
    assert isinstance(event, EventRetracted)
    retracted = (event.position, event.subject, event.reason)
    yield "retractions", (recorded.position, *retracted, *on_behalf(event.by), *times(recorded))


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={"retractions": ("position",)},
    events=(EventRetracted,),
    fold=fold,
    edition=1,
)
