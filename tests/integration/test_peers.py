"""What the ledger is compared with does what is said of it: each event that counts is in its tables, durably."""

import asyncio
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import asyncpg
import msgspec
import pytest

from benchmarks import limits
from benchmarks.peers import PeerError, emmett, eventsourcing, message_db, packages, rows
from benchmarks.peers.databases import counted, fresh
from services.archive.lines import EventRow
from services.embedded import EmbeddedPostgres
from services.sealing import MasterKeys
from tests.conftest import Database, free_ports

EVENTS = 600
A_MOMENT = 0.1  # Seconds; a run writes something however short it is.

needs_packages = pytest.mark.skipif(
    not packages.are_installed(), reason="the packages of Node.js are not installed: npm ci in benchmarks/peers"
)


@pytest.fixture(scope="module")
def superuser() -> Iterator[str]:
    """A server with its durable settings, as the benchmarks have it."""
    home = Path(tempfile.mkdtemp(prefix="ledger-peers-"))
    server = EmbeddedPostgres(home)
    try:
        asyncio.run(server.start())
        yield server.superuser_url()
    finally:
        asyncio.run(server.stop())
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
async def dsn(superuser: str) -> AsyncIterator[str]:
    async with fresh(superuser, f"peer_{secrets.token_hex(4)}") as url:
        yield url


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("log")
    file = directory / "rows.ndjson"
    rows.write(file, EVENTS, MasterKeys.load_or_make(directory / "master.key").newest)
    return file


def test_rows_are_those_that_the_ledger_stores_and_are_written_once(log: Path):
    found = [*rows.read(log)]
    assert [each.notification_id for each in found] == [*range(1, EVENTS + 1)]
    assert all(msgspec.json.decode(each.state)["subject"] == each.subject for each in found)
    written = log.stat()
    rows.write(log, EVENTS, MasterKeys.load_or_make(log.with_name("another.key")).newest)
    assert log.stat().st_mtime_ns == written.st_mtime_ns


@pytest.mark.parametrize("copy", [limits.copy_batches, limits.copy_whole])
async def test_what_is_copied_is_the_ledgers_rows_and_other_ones_the_second_time_around(dsn: str, log: Path, copy):
    async with copy(dsn, log) as run:
        assert await run(A_MOMENT) > 0
        assert await run(A_MOMENT) > 0
    connection = await asyncpg.connect(dsn)
    found = await connection.fetch(
        f"SELECT {', '.join(EventRow._fields)} FROM ledger_main.stored_events WHERE notification_id <= $1 ORDER BY 5",
        2 * EVENTS,
    )
    await connection.close()
    assert [tuple(each) for each in found[:EVENTS]] == [tuple(each) for each in rows.read(log)]
    again = found[EVENTS : 2 * EVENTS]
    assert [each["state"] for each in again] == [each["state"] for each in found[:EVENTS]]


async def test_the_log_of_the_limits_has_the_indexes_of_a_ledgers_log(dsn: str, log: Path, database: Database):
    async with limits.single(dsn, log, clients=2) as run:
        assert await run(A_MOMENT) > 0
    indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'ledger_main' AND tablename = 'stored_events'"
    found = []
    for url in (dsn, database.owner):
        connection = await asyncpg.connect(url)
        found.append(sorted(row["indexdef"] for row in await connection.fetch(indexes)))
        await connection.close()
    assert found[0] == found[1]


async def test_every_process_of_the_empty_handler_answers_and_ends():
    [port] = free_ports(1)
    async with aiohttp.ClientSession() as session:
        async with limits.empty_handler(port, processes=2) as url:
            answer = await session.post(url, data=b"x" * 600)
            assert answer.status == 201
        with pytest.raises(aiohttp.ClientConnectionError):
            await session.post(url)


async def test_digests_are_counted(log: Path):
    async with limits.hashes(log) as run:
        assert await run(A_MOMENT) > 0


async def test_eventsourcing_appends_and_projects(superuser: str, log: Path):
    for case in (
        lambda dsn: eventsourcing.single(dsn, log, processes=2, threads=2),
        lambda dsn: eventsourcing.batches(dsn, log),
        lambda dsn: eventsourcing.catchup(dsn, log, 300),
    ):
        async with fresh(superuser, f"peer_{secrets.token_hex(4)}") as dsn, case(dsn) as run:
            assert await run(A_MOMENT) > 0


@needs_packages
async def test_message_db_writes(dsn: str, log: Path):
    async with message_db.single(dsn, log, clients=2) as run:
        assert await run(A_MOMENT) > 0


@needs_packages
async def test_emmett_appends_and_projects(superuser: str, log: Path):
    for case in (
        lambda dsn: emmett.single(dsn, log, clients=2),
        lambda dsn: emmett.batches(dsn, log, clients=2),
        lambda dsn: emmett.catchup(dsn, log, 300),
    ):
        async with fresh(superuser, f"peer_{secrets.token_hex(4)}") as dsn, case(dsn) as run:
            assert await run(A_MOMENT) > 0


async def test_a_peer_that_says_more_than_it_has_written_is_found_out(dsn: str):
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE written (n integer)")
    async with counted(dsn, "SELECT count(*) FROM written") as check:
        await connection.execute("INSERT INTO written VALUES (1), (2)")
        await check(2)
        await connection.execute("INSERT INTO written VALUES (3)")
        with pytest.raises(PeerError, match="2 events were said to be durable, but there are 1"):
            await check(2)
    await connection.close()


async def test_nothing_is_measured_where_a_commit_can_be_lost(database: Database, log: Path):
    with pytest.raises(PeerError, match="fsync is off"):
        async with eventsourcing.single(database.superuser, log):
            pass
