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
from services.ledger.rules.ids import Ids
from services.ledger.rules.merging import against_merging, against_unmerging
from services.ledger.rules.objection import Objection
from services.ledger.rules.positions import Positions


class Requirement(Struct, frozen=True):
    """`heard`: the positions at which it was raised, or somebody asked for it. `into`: what it was merged into.

    `asked`: the ids of the asks that were recorded on it. `moved`: those that were moved, and the requirement that each
    is for now. A popular requirement has very many asks, so each takes a few bytes, and what is kept shares what it has
    in common with that before.
    """

    heard: Positions = Positions()
    into: str | None = None
    asked: Ids = Ids()
    moved: Map[str, str] = Map()

    def evolve(self, event: Event, position: int) -> "Requirement":
        match event:
            case RequirementRaised():
                return replace(self, heard=self.heard.plus(position))
            case AskRecorded(ask=str() as ask):
                return replace(self, heard=self.heard.plus(position), asked=self.asked.plus(ask))
            case EventRetracted():
                return replace(self, heard=self.heard.minus(event.position))
            case AskMoved():
                return replace(self, moved=self.moved.set(event.ask, event.to))
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
        here = self.moved.get(act.ask, act.requirement)
        if act.ask not in self.asked:
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
