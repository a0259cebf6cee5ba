"""The rules of erasures: a person about whom something was recorded, an event whose texts were sealed."""

from collections.abc import Iterator

from schemas.events import PersonErased, TextRedacted
from services.ledger.rules.objection import Objection
from services.ledger.rules.retraction import Named


def against_erasing(act: PersonErased, *, spoken_of: bool) -> Iterator[Objection]:
    """What speaks against erasing a person. `spoken_of`: the person has a stream, or something sealed is about them."""
    if not spoken_of:
        message = (
            f"nothing sealed about {act.person} is left to destroy, and nobody was introduced by that id; where other"
            " events name it, as a contact perhaps, it is an id, which says nothing by itself"
        )
        yield Objection("/data/person", message, retryable=True)


def against_redacting(act: TextRedacted, named: Named | None) -> Iterator[Objection]:
    """What speaks against redacting what is `named`; None: there is nothing at that position."""
    if named is None:
        # What is recorded there later is another event than the one that was meant.
        yield Objection("/data/position", f"nothing to redact is at position {act.position}: no event is there")
        return
    if named.subject != act.subject:
        yield Objection("/data/subject", f"what is at position {act.position} belongs to {named.subject}")
    if not named.sealed:
        message = f"the event at position {act.position} has no sealed text, and what is not sealed stays"
        yield Objection("/data/position", message)
    if named.redacted:
        yield Objection("/data/position", f"the event at position {act.position} has been redacted already")
