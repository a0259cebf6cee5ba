"""An emitter as a process: it puts numbered events into an outbox, and notes each number once `put` has returned.

`python -m tests.emitter OUTBOX URL KEY_FILE NAME NOTES`. Killed and started again, it goes on after the last number
that it noted. SIGTERM ends it once everything is sent; a line says from when on.
"""

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import click

from ledger_client import AskRecorded, Draft, Ledger, Outbox, Retries

READY = "ready for SIGTERM"
PUT_AT_ONCE_MAX = 8
PAUSE_SECONDS_MAX = 0.05
FLUSH_SECONDS_MAX = 170
RETRIES = Retries(deadline_seconds=5.0, attempt_seconds_max=5.0, first_seconds=0.05, pause_seconds_max=0.5)


def source_of(name: str) -> str:
    return f"urn:test:emitter:{name}"


def id_of(name: str, number: int) -> str:
    return f"{name}:{number}"


async def main(outbox_path: str, url: str, key_file: str, name: str, notes: Path) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    click.echo(READY)
    number = noted(notes)
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with (
        Ledger(url, Path(key_file), source=source_of(name), retries=RETRIES) as ledger,
        Outbox(outbox_path, ledger) as outbox,
    ):
        while not ended.is_set():
            # After a kill between the put and the note, the same numbers are put again.
            numbers = range(number + 1, number + 1 + random.randint(1, PUT_AT_ONCE_MAX))
            await outbox.put_all([Draft(ask(name, each), key=(name, each)) for each in numbers])
            number = numbers[-1]
            os.write(descriptor, f"{number}\n".encode())
            await asyncio.sleep(random.random() * PAUSE_SECONDS_MAX)
        await outbox.flush(FLUSH_SECONDS_MAX)


def noted(notes: Path) -> int:
    """The last number that was noted, 0 before the first."""
    lines = notes.read_text().split() if notes.exists() else []
    return int(lines[-1]) if lines else 0


def ask(name: str, number: int) -> AskRecorded:
    return AskRecorded(
        requirement=f"R-{number % 10}",
        account=f"{name}-{number % 7}",
        importance=number % 4,
        quote=f"It is number {number} that we need.",
    )


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:5], Path(sys.argv[5])))
