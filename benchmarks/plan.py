"""How much of everything a run does: its logs, its windows, the rows of its peers. Pure."""

from msgspec import Struct

from benchmarks import company
from benchmarks.measuring import ROUNDS_MIN

ACCOUNTS, REQUIREMENTS = 10_000, 5_000
"""In logs of every length; a short one names some of them."""
SHORT_EVENTS = 10_000
HOUR_SECONDS = 3_600

SHORT, GROWN, BURST = "short", "grown", "burst"
"""Ledgers: one that is asked, one that is recorded in, one for large requests. The long ones have their length."""


class Plan(Struct, frozen=True, kw_only=True):
    """How much of everything. Windows are in seconds, lengths in events."""

    name: str
    short: int
    lengths: tuple[int, ...]
    rounds: int
    warm_up: int
    window: float
    half_window: float
    peer_rows: int
    peer_caught_up: int
    """Rates are compared, and a peer takes minutes for as many as the ledger."""
    caught_up: int
    full_load: float
    burst_clients: int
    burst_seconds: float
    starts: int
    seconds_max: float
    """Of one query of the history."""
    peers: bool = True

    def long_logs(self) -> dict[int, str]:
        return {length: f"log-{length}" for length in self.lengths}

    def asked_logs(self) -> dict[int, str]:
        """The short one first."""
        return {self.short: SHORT, **self.long_logs()}


FULL = Plan(
    name="full",
    short=SHORT_EVENTS,
    lengths=(1_000_000,),
    rounds=ROUNDS_MIN,
    warm_up=1,
    window=3.0,
    half_window=10.0,
    peer_rows=100_000,
    peer_caught_up=30_000,
    caught_up=100_000,
    full_load=60.0,
    burst_clients=64,
    burst_seconds=180.0,
    starts=5,
    seconds_max=60.0,
)
QUICK = Plan(
    name="quick",
    short=SHORT_EVENTS,
    lengths=(100_000,),
    rounds=ROUNDS_MIN,
    warm_up=1,
    window=0.8,
    half_window=3.0,
    peer_rows=20_000,
    peer_caught_up=20_000,
    caught_up=50_000,
    full_load=10.0,
    burst_clients=64,
    burst_seconds=20.0,
    starts=5,
    seconds_max=10.0,
)
TOY = Plan(
    name="toy",
    short=1_000,
    lengths=(3_000,),
    rounds=ROUNDS_MIN,
    warm_up=1,
    window=0.2,
    half_window=0.5,
    peer_rows=1_000,
    peer_caught_up=1_000,
    caught_up=2_000,
    full_load=0.5,
    burst_clients=2,
    burst_seconds=5.0,
    starts=5,
    seconds_max=0.0,
    peers=False,
)


def scale(events: int) -> company.Scale:
    """Of the company whose log has so many events."""
    return company.scale(events, accounts=ACCOUNTS, requirements=REQUIREMENTS)
