"""The rules of a requirement: reworded, merged into another, told apart again; and of its asks that move."""

from collections.abc import Iterator

from immutables import Map
from msgspec import Struct
from msgspec.structs import replace

from schemas.events import (
    AskMoved,
    AskRecorded,
    Event,
    EventRetracted,
    RequirementMerged,
    RequirementRaised,
    RequirementReworded,
    RequirementUnmerged,
)
from services.ledger.rules.merging import against_merging, against_unmerging
from services.ledger.rules.objection import Objection


class Requirement(Struct, frozen=True):
    """`heard`: positions at which it was raised, or somebody asked for it; none if none is left that counts. `into`:
    what it was merged into. `asks`: those recorded on it, and the requirement that each is for now.

    What was said of a popular requirement is very much, so the log is asked for as little as the rules of a batch need:
    one position beside those that the batch names, and the asks that it moves. What else is said in the batch follows.
    """

    heard: Map[int, None] = Map()
    into: str | None = None
    asks: Map[str, str] = Map()

    def evolve(self, event: Event, position: int) -> "Requirement":
        match event:
            case RequirementRaised():
                return replace(self, heard=self.heard.set(position, None))
            case AskRecorded(ask=str() as ask):
                # Recorded again, it stays where it was moved.
                asks = self.asks if ask in self.asks else self.asks.set(ask, event.requirement)
                return replace(self, heard=self.heard.set(position, None), asks=asks)
            case EventRetracted() if event.position in self.heard:
                return replace(self, heard=self.heard.delete(event.position))
            case AskMoved():
                return replace(self, asks=self.asks.set(event.ask, event.to))
            case RequirementMerged():
                return replace(self, into=event.into)
            case RequirementUnmerged():
                return replace(self, into=None)
            case _:
                return self

    def against_rewording(self, act: RequirementReworded) -> Iterator[Objection]:
        yield from self.unheard_of("/data/requirement", act.requirement)

    def against_merging(self, act: RequirementMerged, into: "Requirement") -> Iterator[Objection]:
        yield from self.unheard_of("/data/requirement", act.requirement)
        if act.into != act.requirement:
            yield from into.unheard_of("/data/into", act.into)
        yield from against_merging("requirement", act.requirement, act.into, merged=self.into, into_merged=into.into)

    def against_unmerging(self, act: RequirementUnmerged) -> Iterator[Objection]:
        yield from against_unmerging("requirement", act.requirement, self.into)

    def against_moving(self, act: AskMoved, to: "Requirement") -> Iterator[Objection]:
        """A move names the requirement on which the ask was recorded, wherever it was moved since: an id alone may be
        that of another ask there."""
        here = self.asks.get(act.ask)
        if here is None:
            yield Objection(
                "/data/ask",
                f"no ask {act.ask} was recorded on {act.requirement}; name the requirement that it was recorded on",
                retryable=True,
            )
        elif here == act.to:
            yield Objection("/data/to", f"the ask {act.ask} is for {act.to} already", retryable=True)
        if act.to != act.requirement:
            yield from to.unheard_of("/data/to", act.to)

    def unheard_of(self, pointer: str, name: str) -> Iterator[Objection]:
        """What speaks against an act on a requirement that nobody has named yet."""
        if not self.heard:
            yield Objection(pointer, f"the requirement {name} has neither been raised nor asked for", retryable=True)
