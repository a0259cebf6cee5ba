"""Opportunities: what each was said to be, and when."""

from collections.abc import Iterator
from decimal import Decimal

from schemas.envelope import Recorded
from schemas.events import OpportunityUpdated
from services.projector.projections.projection import Row, projection, times

NAME = "opportunities"


def fold(recorded: Recorded) -> Iterator[Row]:
    """The row that an event adds."""
    event = recorded.event
    assert isinstance(event, OpportunityUpdated)
    yield (
        "opportunity_rows",
        (
            recorded.position,
            event.opportunity,
            event.account,
            event.stage,
            None if event.amount is None else Decimal(event.amount),
            event.currency,
            event.kind,
            event.pipeline_stage,
            event.closes,
            event.starts,
            event.ends,
            event.requirements,
            event.lead,
            event.competitors,
            event.closed_because,
            event.reason,
            *times(recorded),
        ),
    )


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={"opportunity_rows": ("position",)},
    events=(OpportunityUpdated,),
    fold=fold,
    edition=1,
)
