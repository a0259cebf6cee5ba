"""Persons: which events name whom, and as what. What is said of them is sealed, and not here, nor are their ids.

A row has the stream of a person (see `stream_uuid`) in place of the id: whoever knows an id finds what names it, and
nobody learns an id from the rows.
"""

from collections.abc import Iterator

from schemas.envelope import Recorded, stream_text
from schemas.events import EVENT_TYPES, SEALED_FIELDS, Event
from schemas.values import By
from services.projector.projections.projection import Row, projection

NAME = "persons"
KIND = "person"

_NAMED_IN = {"person": "introduced", "contact": "contact", "by": "by", "deciders": "decider", "consulted": "consulted"}
"""The fields by which an event can name a person, and as what."""

_NAMED_IN_EACH = {
    event: [(field, appears_as) for field, appears_as in _NAMED_IN.items() if field in event.__struct_fields__]
    for event in EVENT_TYPES.values()
}


def stream_of(person: str) -> str:
    """By what the rows about a person are found."""
    return stream_text(f"{KIND}/{person}")


def fold(recorded: Recorded) -> Iterator[Row]:
    """A row for each place in which an event names a person."""
    event, type = recorded.event, recorded.type
    subject = event.subject
    shown = None if subject.startswith(f"{KIND}/") else subject
    for place, appears_as, person, named in _named(event):
        says_of_them = named is event and event.about() == person
        yield (
            "person_mentions",
            (
                recorded.position,
                place,
                stream_of(person),
                type.split(".")[2] if place == KIND else appears_as,
                getattr(named, "role", None),
                getattr(named, "team", None),
                type,
                shown,
                [field for field in SEALED_FIELDS[type] if getattr(event, field) is not None] if says_of_them else [],
                recorded.time,
                recorded.recordedtime,
            ),
        )


def _named(event: Event) -> Iterator[tuple[str, str, str, Event | By]]:
    """The place in the data that names a person, as what, whom, and what says their role and team."""
    for field, appears_as in _NAMED_IN_EACH[event.__class__]:
        match getattr(event, field):
            case str() as person:
                yield field, appears_as, person, event
            case By(person=str() as person) as by:
                yield field, appears_as, person, by
            case list() as several:
                for number, by in enumerate(several):
                    if by.person is not None:
                        yield f"{field}/{number}", appears_as, by.person, by


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={"person_mentions": ("position", "place")},
    events=tuple(event for event in EVENT_TYPES.values() if _NAMED_IN.keys() & {*event.__struct_fields__}),
    fold=fold,
    edition=1,
)
