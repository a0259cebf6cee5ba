"""`ledger run`: the embedded PostgreSQL if no other is set, the services, and somebody who watches them.

What ends is started again. A service that exits with EX_CONFIG says that starting it again is no use: then all
stops, and its message is repeated. Nothing outlives this process, however it ends: the kernel ends the children
when their parent is gone.
"""

import asyncio
import contextlib
import errno
import http.client
import os
import shlex
import signal
import socket
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Collection, Sequence
from urllib.parse import urlsplit

import structlog

from services import launch
from services.embedded import EmbeddedError, EmbeddedPostgres, HomeInUse, lock_home
from services.migrate import is_prepared, migrate
from services.postgres import UNAVAILABLE
from services.settings import SUPERVISED, VARIABLES, Settings

SERVICES = ("ledger", "projector", "receiver")
READY_SECONDS_MAX = 60
PROBE_SECONDS_MAX = 5
STOP_SECONDS_MAX = 15  # For a service to answer what it has taken in; then it is ended.
RESTART_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)  # Between an end and the next start; the last one repeats.
STEADY_SECONDS = 30  # Whoever ran that long starts with the shortest pause again.
STARTS_MAX = 5  # Of a service that has never been ready.
MESSAGE_BYTES_MAX = 4096
LOOK_AFTER_SECONDS = 60  # Between two looks at the database's log and archive.

_POLL_SECONDS = 0.1

_log = structlog.get_logger()


class SupervisorError(Exception):
    """A service cannot be started; the text is the service's own message, or where to look."""


async def run(
    settings: Settings,
    say: Callable[[str], None],
    *,
    names: Collection[str] = SERVICES,
    durable: bool = True,
    prepared: bool = False,
) -> None:
    """Run the services of these names until this task is cancelled, which SIGTERM, SIGINT and SIGHUP do.

    `say` is given the text for the operator once all is ready. `durable=False`: the embedded database gives up fsync.
    `prepared`: it was migrated by this version already, so the services are started beside it and not after it; so
    they are, too, where an earlier run has left word of that.
    Raises SupervisorError, EmbeddedError, SettingsError, MigrationError, Unavailable; by then everything has been
    stopped.
    """
    _stop_on_signals()
    database = None
    if settings.embedded:
        database = EmbeddedPostgres(
            settings.home,
            os_user=settings.database_os_user,
            durable=durable,
            wal_archive=settings.wal_archive,
        )
    lock = None
    migrated = asyncio.Event()
    services = [
        _Service("ledger", settings.ledger_port, settings, migrated),
        _Service("projector", settings.projector_port, settings, migrated),
        # A file of kept webhooks that cannot be used says so there, and holds up no other service.
        _Service("receiver", settings.receiver_port, settings, migrated, probe="livez"),
    ]
    services = [service for service in services if service.name in names]
    try:
        if database is not None:
            # First: whose home is taken has its ports taken too, and is told of the home.
            database.take_home()
            prepared = prepared or is_prepared(settings)
        _check_addresses(settings, names)
        async with asyncio.TaskGroup() as keepers:
            if prepared:
                _keep_all(services, keepers)
            if database is not None:
                await database.start()
                _log.info("database_started", pid=database.pid, data=str(database.data))
                keepers.create_task(_keep_database(database))
            else:
                settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = lock_home(settings.home)
            await migrate(settings)
            migrated.set()
            if not prepared:
                _keep_all(services, keepers)
            await asyncio.gather(*(service.ready.wait() for service in services))
            say(_welcome(settings))
    except ExceptionGroup as group:
        # The first one is the cause; one message is what an operator can use.
        raise group.exceptions[0] from group
    finally:
        # Against the way of an event: whoever reads stops before whoever is read.
        for service in reversed(services):
            await service.stop()
        if database is not None:
            await database.stop()
        if lock is not None:
            lock.close()
        _log.info("stopped")


def python() -> list[str]:
    """What runs a module of ours as this process runs: where its own working directory is no place to import from,
    neither is the child's."""
    return [sys.executable, *(["-P"] if sys.flags.safe_path else [])]


def environ_of_child(settings: Settings) -> dict[str, str]:
    """The environment of a process that is to have these settings and no others."""
    others = {name: value for name, value in os.environ.items() if name not in VARIABLES.values()}
    # A relative home means the same to the child, but says less in its messages.
    return others | settings.environ() | {"LEDGER_HOME": str(settings.home.absolute()), SUPERVISED: "1"}


def _keep_all(services: "Sequence[_Service]", keepers: asyncio.TaskGroup) -> None:
    for service in services:
        keepers.create_task(service.keep())


async def _keep_database(database: EmbeddedPostgres) -> None:
    """Start the database again whenever it has ended. The services wait for it by themselves."""
    pause = _Pause()
    looked_at = time.monotonic()
    while True:
        await asyncio.sleep(_POLL_SECONDS)
        if time.monotonic() - looked_at > LOOK_AFTER_SECONDS:
            database.trim_log()
            await _look_at_archive(database)
            looked_at = time.monotonic()
        status = database.exit_status()
        if status is None and database.pid is not None:
            continue
        _log.error("database_ended", status=status, restart_in_seconds=pause.next_seconds())
        await pause.wait()
        try:
            await database.start()
            _log.info("database_started", pid=database.pid, data=str(database.data))
        except HomeInUse:
            raise
        except EmbeddedError as error:
            _log.error("database_not_started", reason=str(error))


async def _look_at_archive(database: EmbeddedPostgres) -> None:
    """PostgreSQL keeps WAL until it is archived, however long that takes: say so before the disk is full."""
    with contextlib.suppress(*UNAVAILABLE):
        if (segment := await database.archiving_failed_at()) is not None:
            _log.error("wal_not_archived", segment=segment, next="trying again", look_in=str(database.log))


class _Service:
    """One of the services, as a child process. `probe`: the path that answers 200 once it has started; how long that
    may take counts from when the database is `migrated`."""

    def __init__(
        self, name: str, port: int, settings: Settings, migrated: asyncio.Event, *, probe: str = "readyz"
    ) -> None:
        self.name = name
        self.ready = asyncio.Event()
        self._url = f"http://{settings.host}:{port}/{probe}"
        self._migrated = migrated
        self._environ = environ_of_child(settings)
        self._process: Process | None = None
        self._relay: asyncio.Task[bytes] | None = None

    async def keep(self) -> None:
        """Start the service, and start it again whenever it has ended."""
        pause = _Pause()
        starts = 0
        while True:
            starts += 1
            process, relay = await self._start()
            if not self.ready.is_set():
                await self._await_ready(process)
            status = await process.wait()
            message = (await relay).decode(errors="replace").strip()
            if status == os.EX_CONFIG:
                raise SupervisorError(_last_line(message) or f"The {self.name} refuses its settings")
            if not self.ready.is_set() and starts >= STARTS_MAX:
                raise SupervisorError(
                    f"The {self.name} ended {starts} times before it was ready (status {status}). It said last:\n"
                    f"{message}"
                )
            _log.error("service_ended", service=self.name, status=status, restart_in_seconds=pause.next_seconds())
            await pause.wait()

    async def stop(self) -> None:
        """Ask the service to stop, and end it if it has not done so in time."""
        process, relay = self._process, self._relay
        if process is None or relay is None:
            return
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), STOP_SECONDS_MAX)
            except TimeoutError:
                _log.error("service_did_not_stop", service=self.name, seconds=STOP_SECONDS_MAX)
                process.kill()
                await process.wait()
        await relay

    async def _start(self) -> tuple[Process, asyncio.Task[bytes]]:
        # SIGKILL, so that a next run need not wait for ports: what was acknowledged is on disk, and what was
        # not, the emitter sends again.
        guarded = ["--parent", str(os.getpid()), "--signal", str(int(signal.SIGKILL)), "--"]
        process = await asyncio.create_subprocess_exec(
            *launch.command(*guarded, *python(), "-m", f"services.{self.name}"),
            stdin=asyncio.subprocess.DEVNULL,
            stderr=PIPE,
            env=self._environ,
            # Ctrl-C in a terminal goes to the whole group; the order of stopping is ours to give.
            start_new_session=True,
        )
        assert process.stderr is not None
        self._process, self._relay = process, asyncio.create_task(_pass_on(process.stderr))
        _log.info("service_started", service=self.name, pid=process.pid)
        return self._process, self._relay

    async def _await_ready(self, process: Process) -> None:
        deadline = None
        while process.returncode is None:
            try:
                status, text = await asyncio.to_thread(_ask, self._url)
                if status == 200:
                    self.ready.set()
                    return
                reason = f"answers {status}: {text.strip()}"
            except (OSError, http.client.HTTPException) as error:
                reason = f"does not answer ({error})"
            if deadline is None and self._migrated.is_set():
                deadline = time.monotonic() + READY_SECONDS_MAX
            if deadline is not None and time.monotonic() > deadline:
                raise SupervisorError(
                    f"The {self.name} was not ready after {READY_SECONDS_MAX} s: {self._url} {reason}"
                )
            await asyncio.sleep(_POLL_SECONDS)


def _ask(url: str) -> tuple[int, str]:
    """The status and the text of an answer. Raises OSError and HTTPException."""
    # Not aiohttp, which takes as long to import as PostgreSQL takes to start.
    parts = urlsplit(url)
    with contextlib.closing(http.client.HTTPConnection(parts.netloc, timeout=PROBE_SECONDS_MAX)) as connection:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")


class _Pause:
    """How long to wait before the next start: longer each time, short again after a steady run."""

    def __init__(self) -> None:
        self._ended = 0
        self._since = time.monotonic()

    def next_seconds(self) -> float:
        if time.monotonic() - self._since > STEADY_SECONDS:
            self._ended = 0
        return RESTART_SECONDS[min(self._ended, len(RESTART_SECONDS) - 1)]

    async def wait(self) -> None:
        seconds = self.next_seconds()
        self._ended += 1
        await asyncio.sleep(seconds)
        self._since = time.monotonic()


def _check_addresses(settings: Settings, names: Collection[str]) -> None:
    """All addresses are held at once, so that a port that was set twice is noticed too."""
    with contextlib.ExitStack() as held:
        for field in (f"{name}_port" for name in names):
            port = getattr(settings, field)
            try:
                family = socket.AF_INET6 if ":" in settings.bind else socket.AF_INET
                held.enter_context(socket.create_server((settings.bind, port), family=family))
            except OSError as error:
                reason = (error.strerror or str(error)).partition(" (")[0]  # Python puts the address behind it.
                if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, socket.EAI_NONAME):
                    advice = "It is no address of this machine; set LEDGER_BIND to one that is."
                else:
                    advice = f"Stop the program that has it, or set {VARIABLES[field]} to a free port."
                raise SupervisorError(
                    f"{settings.bind} port {port} cannot be listened on ({reason}). {advice}"
                ) from error


def _stop_on_signals() -> None:
    task = asyncio.current_task()
    assert task is not None
    asked = False

    def stop(sign: signal.Signals) -> None:
        # Asking twice must not cut the stopping short.
        nonlocal asked
        if not asked:
            asked = True
            _log.info("stop_requested", signal=sign.name)
            task.cancel()

    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        # Under nohup, a signal that is ignored is meant to stay so.
        if signal.getsignal(sign) is signal.SIG_IGN:
            continue
        asyncio.get_running_loop().add_signal_handler(sign, stop, sign)


async def _pass_on(stream: asyncio.StreamReader) -> bytes:
    """Write what a child writes to stderr to our own, and keep its end."""
    end = b""
    while part := await stream.read(65_536):
        sys.stderr.buffer.write(part)
        sys.stderr.buffer.flush()
        end = (end + part)[-MESSAGE_BYTES_MAX:]
    return end


def _last_line(text: str) -> str:
    return text.rsplit("\n", 1)[-1]


def _welcome(settings: Settings) -> str:
    host = settings.host
    ledger = f"http://{host}:{settings.ledger_port}"
    projector = f"http://{host}:{settings.projector_port}"
    key = shlex.quote(str(settings.home / "admin.key"))
    return f"""
The ledger is ready.

  record events   {ledger}/v1/ledgers/main/events   ({ledger}/docs describes them)
  ask             {projector}/v1/ledgers/main/requirements
  take webhooks   http://{host}:{settings.receiver_port}/hooks/NAME   ({settings.hooks_directory}/NAME.yaml says how)
  API key         {settings.home / "admin.key"} (all scopes; make narrower ones for services)

  curl -H "Authorization: Bearer $(cat {key})" {projector}/v1/ledgers/main/requirements

Ctrl-C stops everything.
"""
