"""Both services as processes, as an operator starts them, and the import command beside them."""

import asyncio
import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from services.settings import Settings

SECONDS_MAX = 60.0


class Ended(msgspec.Struct, frozen=True):
    """What a command left behind."""

    status: int
    output: str
    errors: str

    def count(self, words: str) -> int:
        """The number that stands before these words in the summary, added up over several summaries."""
        counts = re.findall(rf"^(?:[a-z]+)? +([0-9]+) {re.escape(words)}$", self.output, re.MULTILINE)
        assert counts, f"no line counts {words!r}:\n{self.output}{self.errors}"
        return sum(map(int, counts))


async def command(settings: Settings, *arguments: str | Path, folder: Path, **environ: str) -> Ended:
    """Run `ledger ...` in a folder until it ends."""
    home = {"LEDGER_HOME": str(settings.home.absolute())}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.command", *map(str, arguments),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[1])}
        | settings.environ() | home | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())


@contextlib.asynccontextmanager
async def processes(settings: Settings, *services: str) -> AsyncIterator["Asking"]:
    """Run these services, each as a process of its own, and stop them by a signal."""
    ports = {
        "ledger": settings.ledger_port,
        "projector": settings.projector_port,
        "receiver": settings.receiver_port,
    }
    environ = {"PATH": os.environ["PATH"]} | settings.environ() | {"LEDGER_LOG_LEVEL": "error"}
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-m", f"services.{name}", env=environ) for name in services
    ]
    try:
        key = (settings.home / "admin.key").read_text().strip()
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}) as session:
            asking = Asking(session, {name: f"http://127.0.0.1:{ports[name]}" for name in services})
            for name in services:
                await asking.ready(name)
            yield asking
    finally:
        for process in reversed(started):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), SECONDS_MAX)


class Asking:
    """Asks running services."""

    def __init__(self, session: aiohttp.ClientSession, urls: dict[str, str]) -> None:
        self.session = session
        self.urls = urls

    async def get(self, service: str, path: str, **query: str | int) -> Any:
        """The JSON at a path of the ledger `main`."""
        async with self.session.get(f"{self.urls[service]}/v1/ledgers/main{path}", params=query) as answer:
            body = await answer.read()
            assert answer.status == 200, body
            return msgspec.json.decode(body)

    async def events(self) -> list[dict[str, Any]]:
        """The whole log."""
        found: list[dict[str, Any]] = []
        while page := (await self.get("ledger", "/events", after=len(found), limit=1000))["events"]:
            found += page
        return found

    async def ready(self, service: str) -> None:
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with self.session.get(f"{self.urls[service]}/readyz") as answer:
                    if answer.status == 200:
                        return
            assert time.monotonic() < deadline, f"the {service} was not ready in time"
            await asyncio.sleep(0.05)
