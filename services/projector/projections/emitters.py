"""Emitters: every event with who sent it and when it is about, and what emitters have counted themselves."""

from collections.abc import Iterator
from decimal import Decimal

from schemas.envelope import Recorded
from schemas.events import EVENT_TYPES, SourceReconciled
from schemas.values import moment
from services.projector.projections.projection import Row, projection, times

NAME = "emitters"


def fold(recorded: Recorded) -> Iterator[Row]:
    """A row for the event, and one more for a count."""
    event = recorded.event
    amount = getattr(event, "amount", None)  # Of a type that has one: see `has_amount`.
    yield (
        "emissions",
        (recorded.position, recorded.source, recorded.type, recorded.time, None if amount is None else Decimal(amount)),
    )
    if isinstance(event, SourceReconciled):
        yield (
            "reconciliations",
            (
                recorded.position,
                recorded.source,
                event.source,
                event.type,
                moment(event.from_),
                moment(event.to),
                event.count,
                None if event.sum is None else Decimal(event.sum),
                *times(recorded),
            ),
        )


def has_amount(type: str) -> bool:
    """Whether events of this type have an `amount`, so that they can be summed. An unknown type has none."""
    cls = EVENT_TYPES.get(type)
    return cls is not None and "amount" in cls.__struct_fields__


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={"emissions": ("position",), "reconciliations": ("position",)},
    # It cares about every event: whoever misses one counts wrong.
    events=tuple(EVENT_TYPES.values()),
    fold=fold,
    edition=1,
)
