"""Emit a first event: `make run` goes on in another terminal.

.venv/bin/python examples/emit.py
"""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from ledger_client import AskRecorded, Ledger, Outbox

KEY = Path(".ledger/admin.key")
ASKED = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)


async def main() -> None:
    async with Ledger("http://127.0.0.1:8080", KEY, source="/first") as ledger:
        # Now, with an answer. The key names this ask in the system that it comes from: run this twice, it is one.
        ask = AskRecorded(requirement="SSO-42", account="cedar", importance=2, quote="Our auditors ask for it.")
        recorded = await ledger.record(ask, key=("ticket", 4711, "asked"), time=ASKED)
        print(f"position {recorded.position}, duplicate: {recorded.duplicate}")

        # Or as soon as there is a ledger: it is on disk when `put` returns, and sent when it can be.
        async with Outbox(".ledger/first.outbox", ledger) as outbox:
            await outbox.put(ask, key=("ticket", 4712, "asked"), time=ASKED)
            status = await outbox.flush(60)
            print(f"sent: {status.sent}, waiting: {status.counts.waiting}")


asyncio.run(main())
