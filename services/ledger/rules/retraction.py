"""The rule of a retraction: it names an observation that is there, and that counts."""

from collections.abc import Iterator

from msgspec import Struct

from schemas.events import EVENT_TYPES, EventRetracted, Observation
from services.ledger.rules.objection import Objection


class Named(Struct, frozen=True):
    """What stands at a position that a correction names. `retracted`: it counts no more. `sealed`: it was recorded with
    sealed texts. `redacted`: an act says that these are gone."""

    subject: str
    type: str
    retracted: bool = False
    sealed: bool = False
    redacted: bool = False

    @property
    def is_known(self) -> bool:
        """Whether this version knows the type; a newer one may have recorded it."""
        return self.type in EVENT_TYPES

    @property
    def is_observation(self) -> bool:
        return self.is_known and issubclass(EVENT_TYPES[self.type], Observation)


def against_retracting(act: EventRetracted, named: Named | None) -> Iterator[Objection]:
    """What speaks against retracting what is `named`; None: there is nothing at that position."""
    if named is None:
        # What is recorded there later is another event than the one that was meant.
        yield Objection("/data/position", f"there is no event at position {act.position}")
        return
    if named.subject != act.subject:
        yield Objection("/data/subject", f"the event at position {act.position} is about {named.subject}")
    if not named.is_known:
        message = f"this version does not know {named.type}, and so not whether it is an observation; use a newer one"
        yield Objection("/data/position", message, retryable=True)
    elif not named.is_observation:
        message = f"{named.type} is an act; acts are undone by acts, and observations are retracted"
        yield Objection("/data/position", message)
    if named.retracted:
        yield Objection("/data/position", f"the event at position {act.position} has been retracted already")
