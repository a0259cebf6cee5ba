"""`python -m services.ledger`: the write side as a process, or as several on one port."""

from services import allocator, process
from services.workers import Shared

LARGE_OCTETS = 128 * 1024  # What comes with large requests.

allocator.give_back_from(LARGE_OCTETS)
process.main(
    "services.ledger.app",
    lambda settings: Shared(
        settings.processes,
        settings.bind,
        settings.ledger_port,
        settings.home / f"ledger-metrics-{settings.ledger_port}",
    ),
)
