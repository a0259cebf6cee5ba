"""The aggregates that rules have read last, of streams that are replayed: kept, so that a stream is read once."""

from collections import OrderedDict
from typing import NamedTuple

from services.ledger.rules import Aggregate

AGGREGATES_KEPT_MAX = 10_000


class Versioned(NamedTuple):
    """What a stream comes to after so many events; None where no rule reads it."""

    version: int
    aggregate: Aggregate | None


class Aggregates:
    """By subject. Those that a rule asked for longest ago make room."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Versioned] = OrderedDict()

    def get(self, subject: str) -> Versioned | None:
        return self._kept.get(subject)

    def used(self, subject: str) -> Versioned | None:
        """What is kept for a rule that asks: what is asked for again and again stays."""
        if subject in self._kept:
            self._kept.move_to_end(subject)
        return self._kept.get(subject)

    def keep(self, subject: str, found: Versioned) -> None:
        """In its place, if it is kept: that more was said in a stream is no reason to keep it for longer."""
        self._kept[subject] = found
        while len(self._kept) > AGGREGATES_KEPT_MAX:
            self._kept.popitem(last=False)

    def drop(self, subject: str) -> None:
        self._kept.pop(subject, None)

    def clear(self) -> None:
        self._kept.clear()
