"""The rules of a requirement."""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from schemas.events import AskRecorded, Event, RequirementRaised, RequirementReworded
from services.ledger.rules.objection import Objection


class Requirement(Struct, frozen=True):
    """`heard_of`: it was raised, or somebody asked for it."""

    heard_of: bool = False

    def evolve(self, event: Event) -> "Requirement":
        match event:
            case RequirementRaised() | AskRecorded() if not self.heard_of:
                return replace(self, heard_of=True)
            case _:
                return self

    def against_rewording(self, act: RequirementReworded) -> Iterator[Objection]:
        if not self.heard_of:
            yield Objection(
                "/data/requirement",
                f"the requirement {act.requirement} has neither been raised nor asked for",
                retryable=True,
            )
