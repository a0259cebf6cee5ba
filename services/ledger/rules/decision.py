"""The rules of a decision: proposed as often as needed, made once; then acknowledged, reaffirmed, superseded."""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from schemas.events import (
    DecisionAcknowledged,
    DecisionMade,
    DecisionProposed,
    DecisionReaffirmed,
    DecisionSuperseded,
    Event,
)
from services.ledger.rules.objection import Objection


class Decision(Struct, frozen=True):
    """`options`: the ids that were last proposed, None before a proposal. `made`: the position at which it was made.

    `superseded_by`: the decision that holds in its place.
    """

    options: frozenset[str] | None = None
    made: int | None = None
    superseded_by: str | None = None

    def evolve(self, event: Event, position: int) -> "Decision":
        match event:
            case DecisionProposed():
                return replace(self, options=frozenset(option.option for option in event.options))
            case DecisionMade():
                return replace(self, made=position)
            case DecisionSuperseded():
                return replace(self, superseded_by=event.superseded_by)
            case _:
                return self

    def against_proposing(self, act: DecisionProposed) -> Iterator[Objection]:
        if self.made is not None:
            yield Objection("/data/decision", f"the decision {act.decision} has been made; propose another")

    def against_making(self, act: DecisionMade, position: int) -> Iterator[Objection]:
        if self.made is not None:
            yield Objection(
                "/data/decision", f"the decision {act.decision} has been made; a later decision can supersede it"
            )
        if act.option is not None and self.options is not None and act.option not in self.options:
            known = ", ".join(sorted(self.options)) or "none"
            yield Objection("/data/option", f"{act.option} is not among the options proposed ({known})", retryable=True)
        yield from _unseen(act.seen, position)

    def against_acknowledging(self, act: DecisionAcknowledged) -> Iterator[Objection]:
        yield from self._not_made("/data/decision", act.decision)

    def against_reaffirming(self, act: DecisionReaffirmed, position: int) -> Iterator[Objection]:
        yield from self._not_made("/data/decision", act.decision)
        yield from self._gone("/data/decision", act.decision)
        yield from _unseen(act.seen, position)
        if act.seen is not None and self.made is not None and act.seen < self.made:
            yield Objection(
                "/data/seen",
                f"who reaffirms the decision {act.decision} has seen it, and it is at position {self.made}",
            )

    def against_superseding(self, act: DecisionSuperseded, by: "Decision") -> Iterator[Objection]:
        """`by`: the decision that is to hold. It holds itself, so these acts never make a circle."""
        yield from self._not_made("/data/decision", act.decision)
        yield from self._gone("/data/decision", act.decision)
        if act.superseded_by == act.decision:
            yield Objection("/data/superseded_by", f"the decision {act.decision} is not superseded by itself")
            return
        yield from by._not_made("/data/superseded_by", act.superseded_by)
        yield from by._gone("/data/superseded_by", act.superseded_by)

    def _not_made(self, pointer: str, name: str) -> Iterator[Objection]:
        if self.made is None:
            yield Objection(pointer, f"the decision {name} has not been made", retryable=True)

    def _gone(self, pointer: str, name: str) -> Iterator[Objection]:
        if self.superseded_by is not None:
            yield Objection(pointer, f"the decision {name} was superseded by {self.superseded_by}; name that")


def _unseen(seen: int | None, position: int) -> Iterator[Objection]:
    if seen is not None and seen >= position:
        # Later events could make room for it, and it would still say that somebody saw what was not there.
        yield Objection(
            "/data/seen", f"what was seen lies before the act itself, which would be at position {position}"
        )
