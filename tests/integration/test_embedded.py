"""The embedded PostgreSQL starts from whatever it finds, and changes nobody's permissions."""

import asyncio
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import psycopg
import pytest
from structlog.testing import capture_logs

from services import embedded, launch, supervisor
from services.embedded import EmbeddedError, EmbeddedPostgres, HomeInUse
from services.identity import namespace_options
from services.settings import Settings
from tests.conftest import scratch

ROOT = os.geteuid() == 0
CONDITION_SECONDS_MAX = 60

needs_root = pytest.mark.skipif(not ROOT, reason="only root has to run PostgreSQL as somebody else")

# What a process of its own does that a test ends in the middle: it starts the database, says so, and waits.
START_AND_WAIT = """
import asyncio, sys
from pathlib import Path
from services.embedded import EmbeddedPostgres

async def main():
    database = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
    await database.start()
    print(database.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

START_AND_STOP = """
import asyncio, os, sys
from pathlib import Path
import asyncpg
from services.embedded import EmbeddedError, EmbeddedPostgres

async def main():
    database = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
    try:
        await database.start()
    except EmbeddedError as error:
        sys.exit(str(error))
    connection = await asyncpg.connect(database.urls()["writer"])
    print(os.geteuid(), await connection.fetchval("SELECT current_user"))
    await connection.close()
    await database.stop()

asyncio.run(main())
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path, which other users may pass."""
    directory = Path(tempfile.mkdtemp(prefix="le-", dir=scratch()))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def made_home() -> Iterator[Path]:
    """A home whose database has been made, and is not running."""
    directory = Path(tempfile.mkdtemp(prefix="le-made-", dir=scratch()))

    async def make() -> None:
        async with running(directory / "home"):
            pass

    asyncio.run(make())
    yield directory / "home"
    shutil.rmtree(directory)


@pytest.fixture
def home(place: Path, made_home: Path) -> Path:
    """A home of the test's own: a copy, since making one takes a while."""
    return shutil.copytree(made_home, place / "home")


@contextlib.asynccontextmanager
async def running(home: Path, **options: object) -> AsyncIterator[EmbeddedPostgres]:
    database = EmbeddedPostgres(home, durable=False, **options)
    await database.start()
    try:
        yield database
    finally:
        await database.stop()


async def query(url: str, statement: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def holds(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + CONDITION_SECONDS_MAX
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        await asyncio.sleep(0.01)


def works(process: int) -> bool:
    """Whether a process is there and has not ended; an ended one may wait for long for somebody to ask."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def modes(path: Path) -> dict[Path, tuple[int, int, int]]:
    """Mode and owner of a path and of everything above it."""
    found = {}
    for each in (path, *path.parents):
        status = each.stat()
        found[each] = (status.st_mode, status.st_uid, status.st_gid)
    return found


async def test_a_test_gets_a_migrated_database_of_its_own(database):
    connection = await asyncpg.connect(database.writer)
    try:
        assert await connection.fetchval("SELECT current_database()") == database.name
        assert await connection.fetchval("SELECT count(*) FROM ledger_main.stored_events") == 0
    finally:
        await connection.close()


async def test_it_is_durable_private_and_made_for_four_roles(place):
    home = place / "home"
    database = EmbeddedPostgres(home)
    await database.start()
    try:
        urls = database.urls()
        for role, url in urls.items():
            assert Settings(home=home).url(role) == url
            assert await query(url, "SELECT current_user::text") == f"ledger_{role}"
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT current_user").fetchone() == (f"ledger_{role}",)
        for setting, value in {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "data_checksums": "on",
            "wal_compression": "off",
            "listen_addresses": "",
            "server_encoding": "UTF8",
            "password_encryption": "scram-sha-256",
        }.items():
            assert await query(urls["owner"], f"SELECT current_setting('{setting}')") == value
        rules = await query(
            database.superuser_url(), "SELECT string_agg(DISTINCT auth_method, ',') FROM pg_hba_file_rules"
        )
        assert rules == "scram-sha-256"
        with pytest.raises(asyncpg.InvalidPasswordError):
            await query(urls["owner"].replace("ledger_owner:", "ledger_owner:x"), "SELECT 1")
        supers = await query(
            urls["owner"], "SELECT count(*) FROM pg_roles WHERE rolname ~ '^ledger_' AND (rolsuper OR rolcreaterole)"
        )
        assert supers == 0
    finally:
        await database.stop()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    for name in ("database.json", "database.log", "lock"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600, name


async def test_what_was_written_is_there_after_a_restart(home):
    async with running(home) as database:
        urls = database.urls()
        await query(urls["owner"], "CREATE TABLE kept AS SELECT 42 AS answer")
    async with running(home) as database:
        assert database.urls() == urls
        assert await query(urls["owner"], "SELECT answer FROM kept") == 42


@pytest.mark.parametrize("name", ["with space", "100% a+b,c'd\"e:f@g", "häuser", "x" * 120])
async def test_any_path_will_do(place, name):
    async with running(place / name / "home") as database:
        for url in database.urls().values():
            assert await query(url, "SELECT 1") == 1
            with psycopg.connect(url) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
        sockets = database._socket_directory
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    if sockets.parent == Path(tempfile.gettempdir()):
        assert not sockets.exists()


@pytest.mark.parametrize("made", ["a link", "open to others"])
async def test_a_socket_directory_that_is_not_ours_alone_is_refused(place, made):
    home = place / ("x" * 120) / "home"
    sockets = EmbeddedPostgres(home)._socket_directory
    if made == "a link":
        sockets.symlink_to(place)
    else:
        sockets.mkdir()
        sockets.chmod(0o755)
    try:
        with pytest.raises(EmbeddedError, match=str(sockets)):
            async with running(home):
                pass
        assert modes(place)[place][0] & 0o777 == 0o711
    finally:
        sockets.unlink() if sockets.is_symlink() else sockets.rmdir()


async def test_a_home_moved_elsewhere_is_found_there(home):
    async with running(home) as database:
        await query(database.urls()["owner"], "CREATE TABLE kept AS SELECT 42 AS answer")
    home.rename(home.parent / "moved")
    async with running(home.parent / "moved") as database:
        assert await query(Settings(home=home.parent / "moved").url("owner"), "SELECT answer FROM kept") == 42


async def test_an_initdb_that_was_cut_short_is_done_again(place):
    home = place / "home"
    child = subprocess.Popen([sys.executable, "-c", START_AND_WAIT, str(home)], stdout=subprocess.DEVNULL)
    await holds(lambda: [*home.glob("database.making-*/PG_VERSION")])
    child.kill()
    child.wait()
    assert not (home / "database").exists()
    async with running(home) as database:
        assert await query(database.urls()["owner"], "SELECT 1") == 1
    # What the ended one had begun is gone at the latest with the next start.
    async with running(home):
        assert not [*home.glob("database.making-*")]


async def test_roles_that_an_earlier_run_did_not_get_to_are_made(home):
    async with running(home) as database:
        for statement in ("DROP DATABASE ledger", "DROP ROLE ledger_auditor", "ALTER ROLE ledger_writer PASSWORD 'x'"):
            await query(database.superuser_url(), statement)
    async with running(home) as database:
        for role, url in database.urls().items():
            assert await query(url, "SELECT current_user::text") == f"ledger_{role}"


async def test_it_starts_again_after_kill_9_with_a_backend_that_does_not_notice(home):
    async with running(home) as database:
        urls = database.urls()
        await query(urls["owner"], "CREATE TABLE kept AS SELECT 42 AS answer")
        busy = await asyncpg.connect(urls["owner"])
        backend = busy.get_server_pid()
        # A computation that never waits does not see that its postmaster is gone.
        endless = asyncio.create_task(busy.execute("DO $$ BEGIN LOOP NULL; END LOOP; END $$"))
        computes = f"SELECT state = 'active' AND query LIKE 'DO %' FROM pg_stat_activity WHERE pid = {backend}"
        async with asyncio.timeout(CONDITION_SECONDS_MAX):
            while not await query(urls["owner"], computes):
                await asyncio.sleep(0.01)
        os.kill(database.pid, signal.SIGKILL)
        await holds(lambda: database.exit_status() is not None)
        assert works(backend)
        await database.start()
        assert not works(backend)
        assert await query(urls["owner"], "SELECT answer FROM kept") == 42
        with pytest.raises((asyncpg.PostgresError, ConnectionError)):
            await endless


async def test_the_server_ends_when_its_parent_is_killed(home):
    child = subprocess.Popen([sys.executable, "-c", START_AND_WAIT, str(home)], stdout=subprocess.PIPE)
    server = int(child.stdout.readline())
    child.kill()
    child.wait()
    child.stdout.close()
    # At once, while the other may still be ending.
    async with running(home) as database:
        assert await query(database.urls()["owner"], "SELECT 1") == 1
        assert not works(server)


async def test_a_server_that_outlived_its_run_is_stopped(home):
    async with running(home) as database:
        data, identity = database.data, database._choose_identity()
    # Nobody to end with: as after a crash on a system without parent-death signals.
    arguments = ["-D", str(data), "-c", "listen_addresses=", "-c", f"unix_socket_directories={data}"]
    binary = database._binaries / "bin" / "postgres"
    orphan = subprocess.Popen(
        launch.command(*identity.options, "--", str(binary), *arguments),
        stderr=subprocess.DEVNULL,
    )
    await holds(lambda: database._ready(orphan.pid))
    async with running(home) as database:
        assert orphan.wait(timeout=CONDITION_SECONDS_MAX) == 0
        assert await query(database.urls()["owner"], "SELECT 1") == 1


async def test_a_process_number_that_was_given_to_another_program_does_no_harm(home):
    async with running(home) as database:
        data = database.data
    other = subprocess.Popen(["sleep", "1000"])
    try:
        (data / "postmaster.pid").write_text(f"{other.pid}\n{data}\n1\n5432\n{data}\n\n0 0\nready\n")
        async with running(home) as database:
            assert await query(database.urls()["owner"], "SELECT 1") == 1
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


@pytest.mark.parametrize("left", [None, "", "{}"], ids=["no file", "an empty file", "another file"])
async def test_passwords_that_were_lost_are_made_anew(home, left):
    async with running(home) as database:
        await query(database.urls()["owner"], "CREATE TABLE kept AS SELECT 42 AS answer")
    (home / "database.json").unlink()
    if left is not None:
        (home / "database.json").write_text(left)
    async with running(home) as database:
        assert await query(Settings(home=home).url("owner"), "SELECT answer FROM kept") == 42


async def test_a_second_run_on_the_same_home_is_refused(home):
    async with running(home) as database:
        with pytest.raises(HomeInUse, match=f"LEDGER_HOME={home} .*process {os.getpid()}"):
            await EmbeddedPostgres(home).start()
        assert await query(database.urls()["owner"], "SELECT 1") == 1


async def test_data_of_another_major_version_is_refused(home):
    async with running(home) as database:
        pass
    (database.data / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedError, match="made by PostgreSQL 17"):
        await database.start()


async def test_a_start_that_fails_shows_the_end_of_the_log(home):
    async with running(home) as database:
        pass
    (database.data / "postgresql.auto.conf").write_text("shared_buffersss = 1\n")
    with pytest.raises(EmbeddedError, match="shared_buffersss"):
        await database.start()


async def test_the_log_is_bounded(place, monkeypatch):
    monkeypatch.setattr(embedded, "LOG_BYTES_MAX", 1000)
    async with running(place / "home") as database:
        database.log.write_text("x" * 2000)
        database.trim_log()
        assert database.log.stat().st_size < 1000
        assert database.log.with_suffix(".log.1").stat().st_size == 2000


async def test_wal_is_archived_and_never_written_over(home, place):
    archive = place / "deeper" / "wal"
    async with running(home, wal_archive=archive) as database:
        first = await query(database.superuser_url(), "SELECT pg_walfile_name(pg_switch_wal())")
        await holds((archive / first).exists)
        assert await database.archiving_failed_at() is None
        assert stat.S_IMODE(archive.stat().st_mode) == 0o700

        # Another database has put its own there. It stays, what is written here goes on, and WAL waits.
        second = await query(database.superuser_url(), "SELECT pg_walfile_name(pg_current_wal_lsn())")
        (archive / second).write_bytes(b"of another database")
        await query(database.urls()["owner"], "CREATE TABLE kept AS SELECT 42 AS answer")
        await query(database.superuser_url(), "SELECT pg_switch_wal()")
        async with asyncio.timeout(CONDITION_SECONDS_MAX):
            while await database.archiving_failed_at() != second:
                await asyncio.sleep(0.05)
        assert (archive / second).read_bytes() == b"of another database"
        with capture_logs() as logs:
            await supervisor._look_at_archive(database)
        assert [(line["event"], line["segment"]) for line in logs] == [("wal_not_archived", second)]
        assert await query(database.urls()["owner"], "INSERT INTO kept VALUES (43) RETURNING answer") == 43

        (archive / second).unlink()
        await query(database.superuser_url(), "SELECT pg_switch_wal()")
        await holds(lambda: (archive / second).exists() and (archive / second).stat().st_size == 16 * 1024 * 1024)


@pytest.mark.parametrize("made", ["a file", "closed"])
async def test_an_archive_that_cannot_be_written_is_named(home, place, made):
    archive = place / "wal"
    archive.touch() if made == "a file" else archive.mkdir(mode=0o500)
    with pytest.raises(EmbeddedError, match=f"LEDGER_WAL_ARCHIVE={archive} is no directory"):
        async with running(home, wal_archive=archive):
            pass


async def test_no_permissions_of_parents_change(place):
    home = place / "deeper" / "home"
    home.parent.mkdir(mode=0o700)
    package = Path(embedded._binaries())
    before = modes(home.parent) | modes(package)
    async with running(home) as database:
        assert await query(database.urls()["owner"], "SELECT 1") == 1
        assert modes(home.parent) | modes(package) == before
    assert modes(home.parent) | modes(package) == before


@needs_root
async def test_as_root_the_files_stay_those_of_root(place):
    async with running(place / "home") as database:
        if psutil.Process(database.pid).uids().real != 0:
            pytest.skip("user namespaces are refused here")
        assert {path.lstat().st_uid for path in database.data.rglob("*")} == {0}


@needs_root
async def test_without_namespaces_root_runs_it_as_an_ordinary_user(place):
    binaries = embedded._binaries()
    if (refusal := blocked_for("nobody", binaries)) is not None:
        pytest.skip(f"the user nobody may not pass {refusal}, where PostgreSQL is installed")
    before = modes(place) | modes(binaries)
    async with running(place / "home", os_user="nobody", namespaces=False) as database:
        assert psutil.Process(database.pid).username() == "nobody"
        assert await query(database.urls()["writer"], "SELECT 1") == 1
        assert modes(place) | modes(binaries) == before
        await query(database.urls()["owner"], "CREATE TABLE kept AS SELECT 42 AS answer")
    # And back, where namespaces are allowed again.
    async with running(place / "home") as database:
        assert await query(database.urls()["owner"], "SELECT answer FROM kept") == 42


@needs_root
async def test_without_namespaces_a_path_that_is_closed_is_named_and_left_alone(place):
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    before = modes(place / "closed")
    with pytest.raises(EmbeddedError, match=f"may not pass {closed}\\.") as raised:
        await EmbeddedPostgres(place / "closed" / "home", os_user="nobody", namespaces=False).start()
    for setting in ("LEDGER_HOME", "LEDGER_DATABASE_OS_USER", "LEDGER_DATABASE_URL"):
        assert setting in str(raised.value)
    assert modes(place / "closed") == before
    assert not (place / "closed" / "home" / "database").exists()


@needs_root
@pytest.mark.parametrize("user", ["root", "no-such-user"])
async def test_a_user_that_will_not_do_is_named(place, user):
    with pytest.raises(EmbeddedError, match=f"no ordinary user '{user}'.*LEDGER_DATABASE_OS_USER"):
        await EmbeddedPostgres(place / "home", os_user=user).start()


def test_it_works_as_an_ordinary_user(place):
    done = as_ordinary_user(START_AND_STOP, place / "home")
    assert done.returncode == 0, done.stderr
    user, role = done.stdout.split()
    assert int(user) != 0
    assert role == "ledger_writer"


def test_a_home_that_cannot_be_written_is_named(place):
    home = place / "home"
    home.mkdir()
    home.chmod(0o555)
    done = as_ordinary_user(START_AND_STOP, home)
    assert done.returncode == 1
    assert f"{home}/lock cannot be written (Permission denied). Set LEDGER_HOME" in done.stderr


def test_a_home_that_cannot_be_made_is_named(place):
    place.chmod(0o511)
    done = as_ordinary_user(START_AND_STOP, place / "home")
    assert done.returncode == 1
    assert f"{place}/home cannot be written (Permission denied). Set LEDGER_HOME" in done.stderr


def as_ordinary_user(program: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as we are, or as root in a namespace that shows it as an ordinary user without privileges."""
    identity = namespace_options() if ROOT else []
    done = subprocess.run(
        launch.command(*identity, "--", sys.executable, "-c", program, *map(str, arguments)),
        capture_output=True,
        text=True,
        check=False,
        timeout=CONDITION_SECONDS_MAX,
        env=os.environ | {"PYTHONPATH": str(Path(embedded.__file__).parents[1])},
    )
    if done.returncode == launch.REFUSED:
        pytest.skip("user namespaces are refused here, and so root cannot show itself as an ordinary user")
    return done


def blocked_for(user: str, path: Path) -> Path | None:
    done = subprocess.run(
        launch.command("--user", user, f"--reach={path}"),
        capture_output=True,
        text=True,
        check=False,
    )
    return Path(done.stderr.strip()) if done.returncode == launch.UNREACHABLE else None
