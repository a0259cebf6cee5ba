"""A ledger of the benchmarks' own, run as an operator runs one: the embedded PostgreSQL with its durable settings, and
the services as processes that are asked over HTTP. Whatever was started is ended, however the benchmark ends.
"""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import aiohttp
import msgspec
import psutil

from benchmarks.company import Scale, company
from benchmarks.loading import LoadingError, load
from services import launch
from services.embedded import EmbeddedError, EmbeddedPostgres
from services.migrate import MigrationError, migrate
from services.postgres import Unavailable, connect, ledger_schema
from services.process import configure_logs
from services.sealing import MasterKeys
from services.settings import Role, Settings, SettingsError
from services.statements import quote
from services.supervisor import environ_of_child, python

READY_SECONDS_MAX = 120
STOP_SECONDS_MAX = 20
ANSWER_SECONDS_MAX = 600
STILL_SECONDS_MAX = 120  # Without any progress of a projection.
POLL_SECONDS = 0.05

_PREFIX = "ledger-bench-"
_LOADED = "{ledger}.loaded.json"


class RunningError(Exception):
    """What is measured does not run; the text says what it said last, or where to look."""


EXPLAINED = (RunningError, LoadingError, EmbeddedError, MigrationError, SettingsError, Unavailable)
"""What keeps a benchmark from going on; the text says what to do."""


class Loaded(msgspec.Struct, frozen=True):
    """A log that was written: how many events, their bytes as stored, and how long that took, in seconds."""

    events: int
    stored_bytes: int
    seconds: float


class Served:
    """The services on one home. `session` carries the key of the admin."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.session = session
        self.ledger = f"http://{settings.host}:{settings.ledger_port}/v1/ledgers"
        self.projector = f"http://{settings.host}:{settings.projector_port}/v1/ledgers"
        self._services: dict[str, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}

    def start(self, name: str) -> None:
        """Start a service, `ledger` or `projector`, in a process that ends with this one."""
        said = tempfile.TemporaryFile()  # noqa: SIM115  Closed in stop().
        guarded = ["--parent", str(os.getpid()), "--signal", str(int(signal.SIGKILL)), "--"]
        process = subprocess.Popen(
            launch.command(*guarded, *python(), "-m", f"services.{name}"),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            env=environ_of_child(self.settings),
        )
        self._services[name] = process, said

    def stop(self, name: str) -> None:
        process, said = self._services.pop(name)
        process.terminate()
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        said.close()

    def stop_all(self) -> None:
        for name in [*self._services]:
            self.stop(name)

    def running(self) -> dict[str, int]:
        """The services that were started and not stopped, and their processes."""
        return {name: process.pid for name, (process, _) in self._services.items()}

    def pid(self, name: str) -> int:
        return self._services[name][0].pid

    async def ready(self, name: str) -> None:
        """Wait until a service says that it is ready. Raises RunningError."""
        url = (self.ledger if name == "ledger" else self.projector).removesuffix("/v1/ledgers") + "/readyz"
        deadline = time.monotonic() + READY_SECONDS_MAX
        while True:
            self.check(name)
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self.session.get(url) as answer:
                    if answer.status == 200:
                        return
            if time.monotonic() > deadline:
                raise RunningError(f"the {name} was not ready after {READY_SECONDS_MAX} s:\n{self._said(name)}")
            await asyncio.sleep(POLL_SECONDS)

    def check(self, name: str) -> None:
        """Raises RunningError if a service has ended."""
        status = self._services[name][0].poll()
        if status is not None:
            raise RunningError(f"the {name} has ended with {status}:\n{self._said(name)}")

    async def get(self, url: str) -> Any:
        """What a service answers, decoded. Raises RunningError if that is not 200."""
        return msgspec.json.decode(await self.fetch("GET", url))

    async def fetch(self, method: str, url: str, body: Any = None, content_type: str = "application/json") -> bytes:
        """The bytes of an answer. Raises RunningError if it is neither 200 nor 201."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {} if body is None else {"Content-Type": content_type}
        async with self.session.request(method, url, data=data, headers=headers) as answer:
            content = await answer.read()
            if answer.status not in (200, 201):
                raise RunningError(f"{method} {url}: {answer.status} {content[:2000].decode(errors='replace')}")
            return content

    async def append(self, ledger: str, *events: dict[str, Any]) -> int:
        """Record new events over HTTP; gives the position of the last. Raises RunningError if one is not new."""
        answer = await self.fetch(
            "POST", f"{self.ledger}/{ledger}/events", events, "application/cloudevents-batch+json"
        )
        results = msgspec.json.decode(answer)["results"]
        if any(each["duplicate"] for each in results):
            raise RunningError("an event that was to be recorded had been recorded before, so the head did not move")
        return int(results[-1]["position"])

    async def caught_up(self, ledger: str, progress: Callable[[int], None] | None = None) -> int:
        """Wait until every projection has come to the head, and give that. `progress` is told the lowest position.

        Raises RunningError if one stops, or nothing moves for a long time.
        """
        before: list[int] = []
        deadline = time.monotonic() + STILL_SECONDS_MAX
        while True:
            found = (await self.get(f"{self.projector}/{ledger}/projections"))["projections"]
            positions = [each["position"] for each in found]
            if stopped := [each for each in found if each["state"] == "stopped"]:
                raise RunningError(f"{stopped[0]['projection']} has stopped: {stopped[0]['reason']}")
            if progress is not None:
                progress(min(positions))
            if all(each["position"] == each["head"] for each in found):
                return int(positions[0])
            if positions != before:
                before, deadline = positions, time.monotonic() + STILL_SECONDS_MAX
            if time.monotonic() > deadline:
                raise RunningError(f"nothing has moved for {STILL_SECONDS_MAX} s: {found}")
            await asyncio.sleep(POLL_SECONDS)

    def memory_mib(self, name: str, *, peak: bool) -> float:
        """The resident memory of a service, now or the most that it was, in MiB. (Linux tells.)"""
        status = Path(f"/proc/{self.pid(name)}/status").read_text()
        [kib] = re.findall(r"^VmHWM:\s+(\d+) kB$" if peak else r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
        return int(kib) / 1024

    def processor_seconds(self, name: str) -> float:
        """What a service has taken of the processors since it started. Others on the machine do not lengthen it."""
        used = psutil.Process(self.pid(name)).cpu_times()
        return float(used.user + used.system)

    def _said(self, name: str) -> str:
        said = self._services[name][1]
        said.seek(0)
        return said.read()[-4_000:].decode(errors="replace")


@contextmanager
def home(kept: Path | None) -> Iterator[Path]:
    """A LEDGER_HOME: the one that is kept, or one of this run that is removed in the end. Raises RunningError."""
    if kept is not None:
        try:
            kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise RunningError(f"{kept} cannot be made: {error}. Name a directory that can, to keep it there") from None
        yield kept
        return
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def database(directory: Path, ledgers: list[str]) -> AsyncIterator[Settings]:
    """The durable embedded PostgreSQL of a home, migrated, with these ledgers: settings that lead to it."""
    ledger_port, projector_port, receiver_port = free_ports(3)
    settings = Settings(
        home=directory,
        ledger_port=ledger_port,
        projector_port=projector_port,
        receiver_port=receiver_port,
        log_level="warning",
        database_os_user=Settings.load().database_os_user,
    )
    configure_logs(settings)
    server = EmbeddedPostgres(directory, os_user=settings.database_os_user)
    try:
        await server.start()
        await migrate(settings, ledgers=ledgers)
        yield settings
    finally:
        await server.stop()


@asynccontextmanager
async def services(settings: Settings, *names: str) -> AsyncIterator[Served]:
    """These services, ready."""
    key = (settings.home / "admin.key").read_text().strip()
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {key}"},
        timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX),
        connector=aiohttp.TCPConnector(limit=0),
    ) as session:
        served = Served(settings, session)
        try:
            for name in names:
                served.start(name)
            for name in names:
                await served.ready(name)
            yield served
        finally:
            served.stop_all()


@asynccontextmanager
async def answering(port: int, *arguments: str) -> AsyncIterator[None]:
    """A process of this Python that listens on a port, from when it does. Raises RunningError."""
    with tempfile.TemporaryFile() as said:
        process = await asyncio.create_subprocess_exec(
            *python(), *arguments, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT
        )
        try:
            deadline = time.monotonic() + READY_SECONDS_MAX
            while not await _listens(port):
                if process.returncode is not None or time.monotonic() > deadline:
                    said.seek(0)
                    text = said.read()[-2_000:].decode(errors="replace")
                    raise RunningError(f"{' '.join(arguments)} does not answer: {text}")
                await asyncio.sleep(POLL_SECONDS)
            yield
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()


async def load_once(
    settings: Settings, ledger: str, events: int, progress: Callable[[int], None], *, seed: int, of: Scale | None = None
) -> Loaded:
    """Write a company's log into a ledger, unless an earlier run that has kept its home did so."""
    note = settings.home / _LOADED.format(ledger=ledger)
    if note.exists():
        found = msgspec.json.decode(note.read_bytes(), type=Loaded)
        if found.events == events:
            progress(events)
            return found
        raise RunningError(f"{note} is of a log of {found.events} events; remove the kept directory first")
    connection = await connect(settings.url("writer"))
    try:
        begun = time.monotonic()
        stored = await load(
            connection,
            ledger,
            MasterKeys.load_or_make(settings.master_key).newest,
            company(events, seed=seed, of=of),
            progress,
        )
    finally:
        await connection.close()
    loaded = Loaded(events, stored, time.monotonic() - begun)
    note.write_bytes(msgspec.json.encode(loaded))
    return loaded


def is_loaded(settings: Settings, ledger: str) -> bool:
    """Whether an earlier run that has kept its home wrote this log."""
    return (settings.home / _LOADED.format(ledger=ledger)).exists()


async def vacuum(settings: Settings, ledger: str) -> None:
    """Bring statistics and visibility maps up to date, as they are in a ledger that has lived for years."""
    roles: tuple[Role, ...] = ("owner", "projector")
    for role in roles:
        connection = await connect(settings.url(role))
        try:
            tables = await connection.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname = $1 AND tableowner = current_user",
                ledger_schema(ledger),
            )
            for row in tables:
                await connection.execute(f"VACUUM (ANALYZE) {quote(ledger_schema(ledger))}.{quote(row['tablename'])}")
        finally:
            await connection.close()


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in held]
    for each in held:
        each.close()
    return ports
