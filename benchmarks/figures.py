"""Which figures there are, what each is to be, and whether it is. Pure."""

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from statistics import median
from typing import Literal

from msgspec import Struct

from benchmarks.measuring import Figure

Bound = Literal["at least", "at most"]

NOT_PART = "not part of this run"
SLOPE_SAMPLES_MAX = 500


class Aim(Struct, frozen=True):
    """What a figure says, and the least or the most that it is to be. `bound` None: it stands beside another."""

    name: str
    what: str
    bound: Bound | None = None
    limit: float | None = None

    def met(self, value: float) -> bool | None:
        if self.bound is None or self.limit is None:
            return None
        return value >= self.limit if self.bound == "at least" else value <= self.limit

    @property
    def wanted(self) -> str:
        return "" if self.bound is None else f"{self.bound} {self.limit:,g}"


AIMS = (
    Aim("single_vs_empty_handler", "single events / one process of an empty aiohttp handler", "at least", 0.75),
    Aim("single_vs_eventsourcing", "single events / eventsourcing's", "at least", 6),
    Aim("single_vs_emmett", "single events / Emmett's", "at least", 2),
    Aim("single_vs_message_db", "single events / message-db's", "at least", 1.1),
    Aim("batch_vs_copy", "batches of 100 / COPY of the same rows, 100 a transaction", "at least", 0.5),
    Aim("batch_vs_emmett", "batches of 100 / Emmett's", "at least", 2),
    Aim("batch_vs_eventsourcing", "batches of 100 / eventsourcing's", "at least", 4),
    Aim("append_p99_ms", "99 of 100 are recorded within, at half of full load, in ms", "at most", 15),
    Aim("visible_p99_ms", "99 of 100 are answered from within, after that, in ms", "at most", 100),
    Aim("catchup_per_core", "events a second of a processor, all projections", "at least", 20_000),
    Aim("catchup_vs_eventsourcing", "catch-up / eventsourcing's ProjectionRunner", "at least", 20),
    Aim("query_one_vs_handler", "one requirement, 50 askers / its rows by primary key", "at least", 0.6),
    Aim("query_list_vs_handler", "list of 50 requirements / its rows by primary key", "at least", 0.6),
    Aim("append_growth", "recording in the long log / in one of 10,000, cost", "at most", 1.1),
    Aim("query_growth", "asking for now, long log / one of 10,000, the worst query", "at most", 1.2),
    Aim("as_of_vs_now", "as of the middle of the long log / for now, the worst query", "at most", 1.5),
    Aim("as_of_growth", "as of the middle, long log / one of 10,000, the worst query", "at most", 1.2),
    Aim("what_if_s", "a what-if over the long log, in s", "at most", 2),
    Aim("tree_cost", "recording without the tree / with it", "at most", 1.1),
    Aim("ledger_rss_mb", "memory of the ledger at full load, with the burst, in MB", "at most", 200),
    Aim("projector_rss_mb", "memory of the projector, with all that was asked, in MB", "at most", 400),
    Aim("warm_start_s", "`make run`, second time, until all is ready, in s", "at most", 3),
)
"""The figures that are promised, in the order of the table."""

BESIDE = {
    "clients_microseconds_a_request": "processor time of the clients, of one request",
    "single_vs_insert": "single events / the same rows by pgbench, one a transaction",
    "single_vs_empty_handler_per_process": "single events / as many empty handlers as the ledger has processes",
    "batch_vs_long_copy": "batches of 100 / one COPY of the same rows, one transaction",
    "batch_vs_sha256": "batches of 100 / SHA-256 of the same records",
    "tree_lag_s": "from an acknowledgement until a checkpoint has it, in s",
    "append_median_ms": "the median of what `append_p99_ms` has the 99th percentile of",
    "empty_handler_p99_ms": "the same requests to the empty handler: clients and machine",
    "visible_median_ms": "the median of what `visible_p99_ms` has the 99th percentile of",
    "catchup_events_a_second": "the same by the clock, on all processors",
    "rebuild_per_core": "one projection built anew, events a second of a processor",
    "catchup_vs_emmett": "catch-up / Emmett's rebuild of a projection",
    "query_one_again_vs_handler": "one requirement, asked again of a log that stays as it is",
    "query_list_again_vs_handler": "the list, asked again of a log that stays as it is",
    "query_list_after_event_vs_handler": "the list for now, each time after one more event, one at a time",
    "query_one_opened_vs_handler": "one requirement, its sealed words opened, and that on record",
    "batch_growth": "batches of 100, long log / one of 10,000, cost of an event",
    "visible_growth": "median until an event can be seen, long log / one of 10,000",
    "bytes_an_event": "on disk: log, read models, indexes, over the events of the long log",
    "ledger_mb_an_hour": "growth of the ledger's memory over the hour, in MB an hour",
    "projector_mb_an_hour": "growth of the projector's memory over the hour, in MB an hour",
}
"""What figures say that stand beside those."""


class Line(Struct, frozen=True):
    """A row of the table."""

    name: str
    what: str
    value: float | None
    wanted: str
    met: bool | None
    spread: tuple[float, float] | None
    reason: str | None


def lines(figures: Mapping[str, Figure], missing: Mapping[str, str]) -> list[Line]:
    """What is promised first, then whatever else was measured. What was not measured says why."""
    promised = [_line(aim, figures.get(aim.name), missing.get(aim.name, NOT_PART)) for aim in AIMS]
    names = {aim.name for aim in AIMS}
    return promised + [
        _line(Aim(name, BESIDE.get(name, "")), figure, "") for name, figure in figures.items() if name not in names
    ]


def _line(aim: Aim, figure: Figure | None, reason: str) -> Line:
    if figure is None:
        return Line(aim.name, aim.what, None, aim.wanted, None, None, reason)
    spread = (min(figure.samples), max(figure.samples)) if figure.samples else None
    return Line(aim.name, aim.what, figure.value, aim.wanted, aim.met(figure.value), spread, None)


def shown(value: float) -> str:
    """As people read it: whole from a hundred on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percentile(samples: Sequence[float], share: float) -> float:
    """The least sample that such a share of all samples do not exceed (nearest rank)."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def slope_per_hour(seconds: Sequence[float], values: Sequence[float]) -> float:
    """How much values grow in an hour: the median of the slopes between all pairs (Theil and Sen), which a few samples
    amid a burst do not move. Of many samples, so many that are spread evenly count."""
    step = max(1, len(values) // SLOPE_SAMPLES_MAX)
    samples = [*zip(seconds, values, strict=True)][::step]
    pairs = [
        (later - earlier) / (end - begin) for (begin, earlier), (end, later) in combinations(samples, 2) if end > begin
    ]
    return median(pairs) * 3_600 if pairs else 0.0
