"""Emit a first event: `make run` goes on in another terminal.

.venv/bin/python examples/emit.py

LEDGER_PORT and LEDGER_HOME count here as they do for `make run`.
"""

import asyncio
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from ledger_client import AskRecorded, Ledger, LedgerError, Outbox, OutboxError, Retries

URL = f"http://127.0.0.1:{os.environ.get('LEDGER_PORT') or 8080}"
HOME = Path(os.environ.get("LEDGER_HOME") or ".ledger")
SHORT = Retries(deadline_seconds=5)
ASKED = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)


async def main() -> None:
    async with Ledger(URL, HOME / "admin.key", source="/first", retries=SHORT) as ledger:
        # Now, with an answer. The key names this ask in the system that it comes from: run this twice, it is one.
        ask = AskRecorded(requirement="SSO-42", account="cedar", importance=2, quote="Our auditors ask for it.")
        recorded = await ledger.record(ask, key=("ticket", 4711, "asked"), time=ASKED)
        print(f"position {recorded.position}, duplicate: {recorded.duplicate}")

        # Or as soon as there is a ledger: it is on disk when `put` returns, and sent when it can be.
        async with Outbox(HOME / "first.outbox", ledger) as outbox:
            await outbox.put(ask, key=("ticket", 4712, "asked"), time=ASKED)
            status = await outbox.flush(60)
            print(f"sent: {status.sent}, waiting: {status.counts.waiting}")


try:
    asyncio.run(main())
except (LedgerError, OutboxError) as error:
    sys.exit(f"{str(error).rstrip('.')}. Does `make run` go on in another terminal?")
