"""`python -m services.ledger`: the write side as a process."""

from services import process
from services.ledger.app import run

process.main(run)
