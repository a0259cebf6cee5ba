"""`python -m services.receiver`: the receiver of webhooks as a process."""

from services import process

process.main("services.receiver.app")
