"""Feedback: what customers said, as it came. What they said is sealed, and not here."""

from collections.abc import Iterator

from schemas.envelope import Recorded
from schemas.events import FeedbackReceived
from services.projector.projections.projection import Row, json, projection, times

NAME = "feedback"


def fold(recorded: Recorded) -> Iterator[Row]:
    """The row that an event adds."""
    event = recorded.event
    assert isinstance(event, FeedbackReceived)
    yield (
        "feedback_rows",
        (
            recorded.position,
            event.feedback,
            event.account,
            event.contact,
            event.channel,
            event.url,
            json(event.labels),
            *times(recorded),
        ),
    )


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={"feedback_rows": ("position",)},
    events=(FeedbackReceived,),
    fold=fold,
    edition=1,
)
