"""The aggregates that rules have read last: kept, so that a stream is read once, and bounded, however much is said."""

from collections import OrderedDict
from typing import NamedTuple

from services.ledger.rules import Aggregate
from services.ledger.rules.requirement import Requirement

AGGREGATES_KEPT_MAX = 10_000
ASKS_KEPT_MAX = 2_000_000
"""Asks of all requirements that are kept: some twenty bytes each. A requirement that has more is kept alone."""


class Versioned(NamedTuple):
    """What a stream comes to after so many events; None where no rule reads it."""

    version: int
    aggregate: Aggregate | None


class Aggregates:
    """By subject. Those that a rule asked for longest ago make room."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Versioned] = OrderedDict()
        self._asks = 0

    def get(self, subject: str) -> Versioned | None:
        return self._kept.get(subject)

    def used(self, subject: str) -> Versioned | None:
        """What is kept for a rule that asks: what is asked for again and again stays."""
        if subject in self._kept:
            self._kept.move_to_end(subject)
        return self._kept.get(subject)

    def keep(self, subject: str, found: Versioned) -> None:
        """In its place, if it is kept: that more was said in a stream is no reason to keep it for longer."""
        before = self._kept.get(subject)
        self._asks += _asks(found) - (0 if before is None else _asks(before))
        self._kept[subject] = found
        while len(self._kept) > 1 and (len(self._kept) > AGGREGATES_KEPT_MAX or self._asks > ASKS_KEPT_MAX):
            _, gone = self._kept.popitem(last=False)
            self._asks -= _asks(gone)

    def drop(self, subject: str) -> None:
        gone = self._kept.pop(subject, None)
        if gone is not None:
            self._asks -= _asks(gone)

    def clear(self) -> None:
        self._kept.clear()
        self._asks = 0


def _asks(found: Versioned) -> int:
    return len(found.aggregate.asked) if isinstance(found.aggregate, Requirement) else 0
