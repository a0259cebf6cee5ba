"""`python -m services.ledger`: the write side as a process, or as several on one port."""

from services import process
from services.workers import Shared

process.give_memory_back()
process.main(
    "services.ledger.app",
    lambda settings: Shared(settings.processes, settings.bind, settings.ledger_port, settings.home / "ledger-metrics"),
)
