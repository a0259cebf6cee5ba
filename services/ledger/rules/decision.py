"""The rules of a decision: proposed as often as needed, made once."""

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from schemas.events import DecisionMade, DecisionProposed, Event
from services.ledger.rules.objection import Objection


class Decision(Struct, frozen=True):
    """`options`: the ids that were last proposed, None before a proposal. `made`: it has been made."""

    options: frozenset[str] | None = None
    made: bool = False

    def evolve(self, event: Event) -> "Decision":
        match event:
            case DecisionProposed():
                return replace(self, options=frozenset(option.option for option in event.options))
            case DecisionMade():
                return replace(self, made=True)
            case _:
                return self

    def against_proposing(self, act: DecisionProposed) -> Iterator[Objection]:
        if self.made:
            yield Objection("/data/decision", f"the decision {act.decision} has been made; propose another")

    def against_making(self, act: DecisionMade, position: int) -> Iterator[Objection]:
        if self.made:
            yield Objection(
                "/data/decision", f"the decision {act.decision} has been made; a later decision can supersede it"
            )
        if act.option is not None and self.options is not None and act.option not in self.options:
            known = ", ".join(sorted(self.options)) or "none"
            yield Objection("/data/option", f"{act.option} is not among the options proposed ({known})", retryable=True)
        if act.seen is not None and act.seen >= position:
            # Later events could make room for it, and it would still say that somebody saw what was not there.
            yield Objection(
                "/data/seen", f"what was seen lies before the decision itself, which would be at position {position}"
            )
