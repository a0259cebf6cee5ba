"""`python -m services.receiver`: the receiver of webhooks as a process."""

from services import process
from services.receiver.app import run

process.main(run)
