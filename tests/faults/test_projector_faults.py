"""The projector and its database are killed; afterwards the read models equal the fold of the log."""

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
import structlog

from services.embedded import EmbeddedPostgres
from services.migrate import migrate
from services.postgres import Unavailable, connect
from services.projector.outage import AWAY
from services.projector.projections import ALL
from services.projector.projector import Projector
from services.projector.runner import Runner
from services.settings import Settings
from tests.conftest import Database, free_ports
from tests.log import Log
from tests.readmodels import digests, mixed, reached, ready, rebuilt_digests

SECONDS_MAX = 60

PROJECTOR = """
import asyncio
from services.projector import feed
from services.projector.projector import Projector
from services.settings import Settings

feed.PAGE_EVENTS_MAX = 1_000  # There is something between the first page and the last.

async def main():
    async with Projector(Settings.load()) as projector:
        await projector.failure()

asyncio.run(main())
"""


async def lowest_cursor(database: Database) -> int:
    """The position that every projection has reached; 0 before there are any."""
    connection = await connect(database.projector)
    try:
        return int(await connection.fetchval("SELECT coalesce(min(position), 0) FROM ledger_main.cursors"))
    except asyncpg.UndefinedTableError:
        return 0
    finally:
        await connection.close()


async def wait_until_above(database: Database, position: int) -> int:
    async with asyncio.timeout(SECONDS_MAX):
        while (lowest := await lowest_cursor(database)) <= position:
            await asyncio.sleep(0.005)
    return lowest


async def test_a_projector_killed_while_it_catches_up_goes_on_where_it_was(database: Database) -> None:
    killed_at, position = [], 0
    async with Log.open(database) as log:
        for _ in range(5):
            await log.append(*mixed(1_000))
        for _ in range(3):
            # However late this one is killed, the next one has something to catch up with.
            head = (await log.append(*mixed(1_000)))[-1]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", PROJECTOR, env=os.environ | database.settings.environ()
            )
            try:
                position = await wait_until_above(database, position)
            finally:
                process.kill()
                await process.wait()
            killed_at.append(position)
        assert 0 < killed_at[0] < killed_at[1] < killed_at[2] <= head
        head = (await log.append(*mixed(1_000)))[-1]

    async with Projector(database.settings) as projector:
        runner = await projector.ledger("main")
        await reached(runner, head)
        assert {cursor.state for cursor in runner.cursors.values()} == {"live"}
    assert await rebuilt_digests(database, head) == (await digests(database, head))


async def test_a_rebuild_killed_with_its_process_is_gone_on_with_by_the_next(database: Database) -> None:
    async with Log.open(database) as log:
        for _ in range(4):
            await log.append(*mixed(1_000))
    async with Projector(database.settings) as projector:
        await reached(await projector.ledger("main"), 4_000)
    grown = await digests(database, 4_000)
    connection = await connect(database.projector)
    # What another version has left: each read model is to be built anew.
    await connection.execute("UPDATE ledger_main.cursors SET version = 'older'")
    async with connection.transaction():
        # However late it is killed, it has swapped in none.
        tables = ", ".join(f"ledger_main.{table}" for each in ALL for table in each.tables)
        await connection.execute(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROJECTOR, env=os.environ | database.settings.environ()
        )
        try:
            async with asyncio.timeout(SECONDS_MAX):
                while not await connection.fetchval("SELECT count(*) FROM ledger_main.rebuilds WHERE position > 0"):
                    await asyncio.sleep(0.001)
        finally:
            process.kill()
            await process.wait()
    with structlog.testing.capture_logs() as said:
        async with Projector(database.settings) as projector:
            runner = await projector.ledger("main")
            async with asyncio.timeout(SECONDS_MAX):
                while any(cursor.version == "older" for cursor in runner.cursors.values()):
                    runner.wake()
                    await asyncio.sleep(0.01)
    after = [line["after"] for line in said if line["event"] == "rebuild_begun"]
    # The one that was killed was at one of them.
    assert max(after) > 0
    assert sorted(after)[:-1] == [0] * (len(ALL) - 1)
    assert await digests(database, 4_000) == grown
    assert not await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'rebuild_main'")
    assert not await connection.fetchval("SELECT count(*) FROM ledger_main.rebuilds")
    await connection.close()


# The database


@asynccontextmanager
async def server() -> AsyncIterator[tuple[EmbeddedPostgres, Database]]:
    """A PostgreSQL that may be killed without anybody else noticing."""
    with tempfile.TemporaryDirectory(prefix="ledger-tests-") as place:
        home = Path(place)
        postgres = EmbeddedPostgres(home)
        await postgres.start()
        try:
            urls = postgres.urls()
            ledger_port, projector_port = free_ports(2)
            settings = Settings(
                home=home,
                database_url=urls["owner"],
                writer_url=urls["writer"],
                projector_url=urls["projector"],
                auditor_url=urls["auditor"],
                ledger_port=ledger_port,
                projector_port=projector_port,
            )
            await migrate(settings)
            database = Database(
                name="ledger",
                **{role: urls[role] for role in urls},
                superuser=postgres.superuser_url(),
                settings=settings,
            )
            yield postgres, database
        finally:
            await postgres.stop()


async def kill(postgres: EmbeddedPostgres) -> None:
    """As a loss of power would: the server and all its processes at once."""
    assert postgres.pid is not None
    server = psutil.Process(postgres.pid)
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.send_signal(signal.SIGKILL)
    async with asyncio.timeout(SECONDS_MAX):
        while postgres.exit_status() is None or any(process.is_running() for process in processes[1:]):
            await asyncio.sleep(0.01)


async def write_for_ever(database: Database, acknowledged: list[int]) -> None:
    """An emitter that tries again whenever the database is away."""
    while True:
        try:
            async with Log.open(database) as log:
                while True:
                    acknowledged += await log.append(*mixed(26))
        except (*AWAY, asyncpg.PostgresError):
            await asyncio.sleep(0.05)


async def test_a_database_killed_under_load_is_waited_for_and_caught_up_with() -> None:
    async with server() as (postgres, database):
        acknowledged: list[int] = []
        with structlog.testing.capture_logs() as said:
            async with Projector(database.settings) as projector:
                runner: Runner = await projector.ledger("main")
                writing = asyncio.create_task(write_for_ever(database, acknowledged))
                for turn in range(3):
                    await reached(runner, (acknowledged or [0])[-1] + 200)
                    before = len(outages(said))
                    await kill(postgres)
                    async with asyncio.timeout(SECONDS_MAX):
                        while len(outages(said)) == before:
                            await asyncio.sleep(0.01)
                        with pytest.raises(Unavailable):
                            await projector.ready()
                    await postgres.start()
                    async with asyncio.timeout(SECONDS_MAX):
                        await reached(runner, acknowledged[-1] + 26)
                        await projector.ready()
                    assert len(outages(said)) == turn + 1, "an outage is said once"
                writing.cancel()
                await asyncio.wait({writing})
                connection = await connect(database.projector)
                head = await connection.fetchval("SELECT max(notification_id) FROM ledger_main.stored_events")
                count = await connection.fetchval("SELECT count(*) FROM ledger_main.stored_events")
                await connection.close()
                await reached(runner, head)
                assert {cursor.state for cursor in runner.cursors.values()} == {"live"}
        assert count == head
        assert acknowledged == sorted(set(acknowledged))
        assert head >= acknowledged[-1]
        grown = await digests(database, head)
        assert await rebuilt_digests(database, head) == grown


async def test_a_projector_that_starts_before_its_database_waits_for_it() -> None:
    async with server() as (postgres, database):
        async with Log.open(database) as log:
            await log.append(*mixed(13))
        await kill(postgres)
        with structlog.testing.capture_logs() as said:
            async with Projector(database.settings) as projector:
                async with asyncio.timeout(SECONDS_MAX):
                    while not outages(said):
                        await asyncio.sleep(0.01)
                for question in (projector.ready(), projector.ledger("main")):
                    with pytest.raises(Unavailable):
                        await question
                await postgres.start()
                async with asyncio.timeout(SECONDS_MAX):
                    while not any(line["event"] == "database_available" for line in said):
                        await asyncio.sleep(0.01)
                    await ready(projector)
                    await reached(await projector.ledger("main"), 13)
                assert len(outages(said)) == 1


def outages(said: list[Any]) -> list[Any]:
    return [line for line in said if line["event"] == "database_unavailable"]
