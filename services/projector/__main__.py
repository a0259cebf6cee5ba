"""`python -m services.projector`: the read side as a process."""

from services import process
from services.projector.app import run

process.main(run)
