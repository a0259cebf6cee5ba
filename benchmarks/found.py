"""What a run has found so far. Steps add to it; in the end it is the table, the file and the page."""

from collections.abc import Mapping
from typing import Any

from benchmarks.measuring import Figure, rounded
from benchmarks.processes import Watch
from benchmarks.storage import Table

REASON_CHARACTERS_MAX = 300


class Found:
    """Figures by name, of those that are missing the reason, and the samples behind them."""

    def __init__(self) -> None:
        self.figures: dict[str, Figure] = {}
        self.missing: dict[str, str] = {}
        self.rates: dict[str, dict[str, list[float]]] = {}
        """Of each comparison the samples of everybody who was compared: events or answers a second."""
        self.seconds: dict[str, dict[str, list[float]]] = {}
        """What was asked, and in how many seconds it was answered."""
        self.over_length: dict[str, dict[int, float]] = {}
        """What something costs in logs of these lengths."""
        self.storage: dict[str, list[Table]] = {}
        self.about: dict[str, Any] = {}
        self.watch = Watch()

    def over(self, what: str, costs: Mapping[int, float]) -> None:
        """Keep what something costs in logs of these lengths."""
        self.over_length[what] = {length: rounded(cost) for length, cost in costs.items()}


def reason(error: Exception) -> str:
    """In one line."""
    return " ".join(str(error).split())[:REASON_CHARACTERS_MAX] or type(error).__name__
