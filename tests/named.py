"""What the rules of corrections and erasures are told of a log, from the events that it holds."""

from collections.abc import Sequence

from schemas.events import SEALED_FIELDS, Event, EventRetracted, TextRedacted, type_of
from services.ledger.rules.retraction import Named


def named_in(events: Sequence[Event]) -> dict[int, Named]:
    """What stands at each position, of the events of a log from position 1 on."""
    retracted = {event.position for event in events if isinstance(event, EventRetracted)}
    redacted = {event.position for event in events if isinstance(event, TextRedacted)}
    return {
        at: Named(event.subject, type_of(event), at in retracted, is_sealed(event), at in redacted)
        for at, event in enumerate(events, 1)
    }


def spoken_of_in(events: Sequence[Event], person: str) -> bool:
    """Whether a person has a stream, or something sealed is about them that nothing has erased since."""
    redacted = {event.position for event in events if isinstance(event, TextRedacted)}
    return any(
        event.subject == f"person/{person}" or (event.about() == person and is_sealed(event) and at not in redacted)
        for at, event in enumerate(events, 1)
    )


def is_sealed(event: Event) -> bool:
    """Whether an event as it was sent has texts that are sealed."""
    return any(isinstance(getattr(event, field), str) for field in SEALED_FIELDS[type_of(event)])
