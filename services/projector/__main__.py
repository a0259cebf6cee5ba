"""`python -m services.projector`: the read side as a process."""

from services import process

process.main("services.projector.app")
