"""Exports, imports and replays that are cut short: by a signal, by a kill, by a disk that is full."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from services.postgres import connect
from services.projector.projector import Projector
from tests.archives import execute, exported, imported, rows
from tests.conftest import Database
from tests.importing import command
from tests.log import Log
from tests.readmodels import mixed, reached, ready

ROOT = Path(__file__).parents[2]
EVENTS = 120
SECONDS_MAX = 30.0
HELD = 0xE1D  # Any number for an advisory lock.
NOBODY = "SELECT count(*) FROM ledger_main.stored_events"


@pytest.fixture
async def out(database: Database, tmp_path: Path) -> Path:
    async with Log.open(database) as log:
        await log.append(*mixed(EVENTS))
    await exported(database, tmp_path / "out", with_keys=True, file_events_max=50)
    return tmp_path / "out"


@asynccontextmanager
async def started(database: Database, folder: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A command that runs; it has ended, or is ended, when the block ends."""
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | database.settings.environ()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.command", *arguments, cwd=folder, env=environ, stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def waits(connection: asyncpg.Connection) -> None:
    """Until somebody in this database waits for a lock."""
    async with asyncio.timeout(SECONDS_MAX):
        while not await connection.fetchval(
            "SELECT count(*) FROM pg_locks JOIN pg_database ON oid = database"
            " WHERE datname = current_database() AND NOT granted"
        ):
            await asyncio.sleep(0.01)


async def alone(connection: asyncpg.Connection) -> None:
    """Until nobody else is connected to this database: what a client that is gone had begun has ended."""
    async with asyncio.timeout(SECONDS_MAX):
        while await connection.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ):
            await asyncio.sleep(0.01)


STALL = """
CREATE FUNCTION ledger_main.stall() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.notification_id = 70 THEN PERFORM pg_advisory_xact_lock(3613); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER stall BEFORE INSERT ON ledger_main.stored_events FOR EACH ROW EXECUTE FUNCTION ledger_main.stall();
"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
async def test_an_import_that_is_cut_short_has_recorded_nothing(
    out: Path, another_database: Database, tmp_path: Path, sign: signal.Signals
):
    await execute(another_database, STALL)
    holder = await connect(another_database.superuser)
    try:
        await holder.execute("SELECT pg_advisory_lock($1)", HELD)
        async with started(another_database, tmp_path, "import-log", str(out), "--ledger", "main") as process:
            await waits(holder)  # The first file is in, and half of the second.
            process.send_signal(sign)
            _, errors = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
            assert process.returncode == (-9 if sign is signal.SIGKILL else 2)
            assert sign is signal.SIGKILL or b"Nothing was imported: stopped by a signal" in errors
        await holder.execute("SELECT pg_advisory_unlock($1)", HELD)
        await alone(holder)
        for table in ("stored_events", "sealing_keys", "imports"):
            assert await holder.fetchval(f"SELECT count(*) FROM ledger_main.{table}") == 0
    finally:
        await holder.close()
    assert (await imported(another_database, out)).manifest.size == EVENTS
    assert await rows(another_database, NOBODY) == [(EVENTS,)]


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
async def test_a_replay_that_is_cut_short_leaves_no_schema(database: Database, tmp_path: Path, sign: signal.Signals):
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await ready(projector)
        await log.append(*mixed(EVENTS))
        await reached(await projector.ledger("main"), EVENTS)
    holder = await connect(database.superuser)
    schemas = "SELECT count(*) FROM pg_namespace"
    try:
        await alone(holder)
        before = await holder.fetchval(schemas)
        held = holder.transaction()
        await held.start()
        await holder.execute("LOCK TABLE ledger_main.stored_events IN ACCESS EXCLUSIVE MODE")
        async with started(database, tmp_path, "replay") as process:
            await waits(holder)  # The scratch schema is made, and the log is to be read.
            process.send_signal(sign)
            _, errors = await asyncio.wait_for(process.communicate(), SECONDS_MAX)
            assert process.returncode == (-9 if sign is signal.SIGKILL else 2)
            assert sign is signal.SIGKILL or b"Not replayed: stopped by a signal" in errors
        await held.rollback()
        await alone(holder)
        assert await holder.fetchval(schemas) == before
    finally:
        await holder.close()


async def test_a_database_without_room_takes_nothing_and_says_so(out: Path, another_database: Database, tmp_path: Path):
    await execute(
        another_database,
        "CREATE FUNCTION ledger_main.no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.notification_id = 70 THEN"
        "   RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END IF; RETURN NEW; END $$",
        "CREATE TRIGGER no_room BEFORE INSERT ON ledger_main.stored_events"
        " FOR EACH ROW EXECUTE FUNCTION ledger_main.no_room()",
    )
    ended = await command(another_database.settings, "import-log", out, "--ledger", "main", folder=tmp_path)
    assert ended.status == 2 and "the database has no room left (could not extend file)" in ended.errors
    assert await rows(another_database, NOBODY) == [(0,)]
    # Of another ledger, which would have had to be made, nothing is there either.
    held = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%later'"
    min(out.iterdir()).unlink()
    ended = await command(another_database.settings, "import-log", out, "--ledger", "later", folder=tmp_path)
    assert ended.status == 2 and "is missing" in ended.errors
    assert await rows(another_database, held) == [(0,)]


async def test_an_export_without_room_leaves_no_directory(out: Path, database: Database, tmp_path: Path):
    there = {path.name for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # A child takes the limit over; what this process writes meanwhile is less.
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        ended = await command(database.settings, "export", "log", "full", folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert ended.status == 2 and "Not exported: File too large" in ended.errors, ended.errors
    assert {path.name for path in tmp_path.iterdir()} == there
