"""The ledger as processes of their own, `python -m services.ledger`, which a test may stop, stall and kill."""

import asyncio
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
from msgspec.structs import replace

from services.settings import Settings
from tests.conftest import free_ports

SECONDS_MAX = 60


class LedgerProcess:
    """The ledger as one process, or as the one that watches as many as the settings say."""

    def __init__(self, settings: Settings) -> None:
        processes = settings.ledger_processes or 1
        self.settings = replace(settings, ledger_port=free_ports(1)[0], ledger_processes=processes)
        self.url = f"http://127.0.0.1:{self.settings.ledger_port}"
        self.headers = {"Authorization": f"Bearer {(settings.home / 'admin.key').read_text().strip()}"}
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  Closed in end().
        self.start()

    def start(self) -> None:
        """Start the process, again if it has ended."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.ledger"],
            env=self.settings.environ(),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def stall(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS_MAX)

    def output(self) -> str:
        self._output.seek(0)
        return self._output.read()

    async def ready(self, session: aiohttp.ClientSession) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            try:
                async with session.get(f"{self.url}/readyz") as answer:
                    if answer.status == 200:
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(0.05)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(SECONDS_MAX)
        self._output.close()


@asynccontextmanager
async def processes(
    settings: Settings, count: int, session: aiohttp.ClientSession
) -> AsyncIterator[list[LedgerProcess]]:
    """Several ready processes on one database."""
    started = [LedgerProcess(settings) for _ in range(count)]
    try:
        await asyncio.gather(*(each.ready(session) for each in started))
        yield started
    finally:
        for each in started:
            each.end()
