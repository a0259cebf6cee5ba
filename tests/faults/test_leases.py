"""Several projectors share the ledgers of a database by lease; when one is killed or stopped, another goes on."""

import asyncio
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from services.migrate import migrate
from services.postgres import connect
from services.projector.leases import share
from services.projector.projector import Projector
from tests.conftest import Database
from tests.faults.test_projector_faults import PROJECTOR, SECONDS_MAX, wait_until_above
from tests.log import Log, event
from tests.readmodels import digests, mixed, reached, rebuilt_digests, until

LEDGERS = ("eurasia", "main", "payments")


@pytest.mark.parametrize(
    ("ledgers", "processes", "most"), [(0, 1, 0), (1, 1, 1), (1, 3, 1), (3, 2, 2), (300, 4, 75), (5, 0, 5)]
)
def test_a_share_leaves_no_ledger_over(ledgers: int, processes: int, most: int) -> None:
    assert share(ledgers, processes) == most
    assert most * max(1, processes) >= ledgers


async def test_ledgers_are_spread_over_processes_and_taken_over_from_those_that_end(database: Database) -> None:
    await migrate(database.settings, ledgers=LEDGERS)
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(Projector(database.settings))
        await until_held(LEDGERS, first)
        async with Projector(database.settings) as second:
            await until_held(LEDGERS, first, second)
            assert sorted(map(len, (first.leases.held, second.leases.held))) == [1, 2]
            # Each answers of every ledger, also of those that the other keeps up with.
            for name in LEDGERS:
                async with Log.open(database, ledger=name) as log:
                    (position,) = await log.append(event("ask.recorded", requirement="R-1", account="a"))
                for projector in (first, second):
                    await reached(await projector.ledger(name), position)
        await until_held(LEDGERS, first)


async def test_who_has_no_lease_writes_nothing(database: Database) -> None:
    other = await connect(database.projector)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await reached(await projector.ledger("main"), 0)
        versions = projector.leases._versions
        await other.execute("SELECT pg_advisory_lock_shared(hashtextextended('projectors ' || $1, 0))", versions)
        lease = "hashtextextended('projecting ' || $1 || ' main', 0)"
        # Who waits for the lease has it before the projector is connected again.
        taking = asyncio.create_task(other.execute(f"SELECT pg_advisory_lock({lease})", versions))
        waiting = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        await until(lambda: projector.pool.fetchval(waiting))
        await projector.pool.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"
            " AND pid <> $1",
            other.get_server_pid(),
        )
        await taking
        async with asyncio.timeout(SECONDS_MAX):
            while projector.leases.held:
                await asyncio.sleep(0.01)
        await log.append(*mixed(13))
        runner = await projector.ledger("main")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await runner.reached(13)
        assert {cursor.position for cursor in runner.cursors.values()} == {0}
        await other.close()
        await reached(runner, 13)


async def test_another_goes_on_when_the_one_that_had_the_lease_is_killed(database: Database) -> None:
    async with Log.open(database) as log, two_running(database) as (first, second):
        enough = asyncio.Event()
        recording = asyncio.create_task(record(log, enough))
        await wait_until_above(database, 100)
        first.kill()
        await goes_on(database, second, "it was killed")
        enough.set()
        await recording
        head = (await log.append(*mixed(26)))[-1]
        await wait_until_above(database, head - 1)
    grown = await digests(database, head)
    assert grown == await rebuilt_digests(database, head)


async def test_one_that_was_stopped_and_wakes_up_again_writes_nothing_twice(database: Database) -> None:
    async with Log.open(database) as log, two_running(database) as (first, second):
        (head,) = (await log.append(*mixed(26)))[-1:]
        await wait_until_above(database, head - 1)
        first.send_signal(signal.SIGSTOP)
        enough = asyncio.Event()
        recording = asyncio.create_task(record(log, enough))
        await goes_on(database, second, "it was stopped")
        first.send_signal(signal.SIGCONT)
        await said(first, "leases_lost")
        enough.set()
        await recording
        head = (await log.append(*mixed(26)))[-1]
        await wait_until_above(database, head - 1)
    connection = await connect(database.projector)
    # A row that was written twice would have met the primary key and stopped its projection.
    assert {row["state"] for row in await connection.fetch("SELECT state FROM ledger_main.cursors")} == {"live"}
    await connection.close()
    grown = await digests(database, head)
    assert grown == await rebuilt_digests(database, head)


@asynccontextmanager
async def two_running(database: Database) -> AsyncIterator[tuple[Process, Process]]:
    """The first one has the lease, and the second one would have it next."""
    connection = await connect(database.projector)
    async with running(database) as first:
        await until_said(first, ledgers=1)
        async with running(database) as second:
            joined = "SELECT count(*) = 2 FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"
            await until(lambda: connection.fetchval(joined))
            await connection.close()
            yield first, second


async def goes_on(database: Database, other: Process, after: str) -> None:
    """Wait until another process has the lease, and moves. The time is told, and nothing depends on it."""
    begun = time.monotonic()
    await until_said(other, ledgers=1)
    taken = time.monotonic()
    connection = await connect(database.projector)
    # Whatever the first may still have had under way is done: from here on it is the other one that moves.
    before = await connection.fetchval("SELECT max(position) FROM ledger_main.cursors")
    await connection.close()
    await wait_until_above(database, before)
    print(f"\nafter {after}: the lease in {taken - begun:.2f} s, rows in {time.monotonic() - begun:.2f} s")  # noqa: T201


async def record(log: Log, enough: asyncio.Event) -> None:
    while not enough.is_set():
        await log.append(*mixed(13))
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running(database: Database) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROJECTOR, env=os.environ | database.settings.environ(), stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def said(process: Process, event: str) -> str:
    """The next line of a log about an event."""
    assert process.stdout is not None
    async with asyncio.timeout(SECONDS_MAX):
        while event not in (line := (await process.stdout.readline()).decode()):
            assert line, "it has ended"
    return line


async def until_said(process: Process, *, ledgers: int) -> None:
    """Wait until a process has leases of so many ledgers."""
    while f"ledgers={ledgers}" not in await said(process, "leases_changed"):
        pass


async def until_held(ledgers: tuple[str, ...], *projectors: Projector) -> None:
    """Wait until each ledger is kept up with by one of them."""
    async with asyncio.timeout(SECONDS_MAX):
        while sorted(name for each in projectors for name in each.leases.held) != [*ledgers] or not all(
            each.leases.held for each in projectors
        ):
            await asyncio.sleep(0.01)
