"""Processes of the ledger that are killed, or stopped while they hold the head of the log."""

import asyncio
import itertools
import random
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest

from services.postgres import IDLE_IN_TRANSACTION_SECONDS_MAX, LOCK_SECONDS_MAX, connect
from tests.conftest import Database
from tests.ledger_process import LedgerProcess, processes
from tests.log import event
from tests.readmodels import until

CLIENTS = 8
EVENTS_OF_A_CLIENT = 25
KILLS = 3
TRIES_MAX = 2_000
STALLS_MAX = 2_000
SECONDS_MAX = 60


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


@pytest.fixture
async def watching(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """A connection that looks at what the others do."""
    connection = await connect(database.superuser)
    yield connection
    await connection.close()


def profile(client: int) -> Any:
    return event("account.profiled", account=f"a-{client}", attributes={"size": client})


async def post(session: aiohttp.ClientSession, ledger: LedgerProcess, body: Any) -> tuple[int, Any]:
    headers = {**ledger.headers, "Content-Type": "application/cloudevents+json"}
    async with session.post(f"{ledger.url}/v1/ledgers/main/events", json=body, headers=headers) as answer:
        return answer.status, await answer.json(content_type=None)


async def persist(session: aiohttp.ClientSession, ledgers: list[LedgerProcess], body: Any) -> int:
    """Post the same until it is acknowledged, by whichever process. Its position."""
    for number in range(TRIES_MAX):
        try:
            status, answer = await post(session, ledgers[number % len(ledgers)], body)
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
            await asyncio.sleep(0.01)
            continue
        assert status in (200, 201, 503), answer
        if status != 503:
            position: int = answer["results"][0]["position"]
            return position
        await asyncio.sleep(0.01)
    raise AssertionError(f"not acknowledged in {TRIES_MAX} tries")


async def positions(watching: asyncpg.Connection) -> list[int]:
    rows = await watching.fetch("SELECT notification_id, event_id FROM ledger_main.stored_events ORDER BY 1")
    assert len({row[1] for row in rows}) == len(rows)
    return [row[0] for row in rows]


@pytest.mark.parametrize("count", [1, 2])
async def test_kill_9_under_load(
    database: Database, session: aiohttp.ClientSession, watching: asyncpg.Connection, count: int
) -> None:
    async with processes(database.settings, count, session) as ledgers:
        acknowledged: list[int] = []

        async def emit(client: int) -> None:
            own = ledgers[client % count :] + ledgers[: client % count]
            for _ in range(EVENTS_OF_A_CLIENT):
                position = await persist(session, own, profile(client))
                acknowledged.append(position)

        async def kill() -> None:
            for number, ledger in zip(range(KILLS), itertools.cycle(ledgers), strict=False):
                # In the midst of it: a quarter of the events further on each time.
                while len(acknowledged) < (number + 1) * CLIENTS * EVENTS_OF_A_CLIENT // (KILLS + 1):
                    await asyncio.sleep(random.random() * 0.01)
                ledger.kill()
                ledger.start()

        await asyncio.gather(kill(), *(emit(client) for client in range(CLIENTS)))

    everything = list(range(1, CLIENTS * EVENTS_OF_A_CLIENT + 1))
    assert sorted(acknowledged) == everything
    assert await positions(watching) == everything


async def test_a_process_that_is_stopped_with_the_head_in_its_hands_holds_up_nobody_for_ever(
    database: Database, session: aiohttp.ClientSession, watching: asyncpg.Connection
) -> None:
    assert IDLE_IN_TRANSACTION_SECONDS_MAX < LOCK_SECONDS_MAX
    async with processes(database.settings, 2, session) as (stopped, other):
        busy = asyncio.create_task(keep_posting(session, stopped))
        holder = await stopped_holding_the_head(stopped, watching)
        try:
            body = profile(99)
            status, answer = await post(session, other, body)
            assert status == 201, answer
            # The other one did not get round the lock: the session that held it has been ended, or is at its end.
            ended = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)"
            await until(lambda: watching.fetchval(ended, holder))
        finally:
            stopped.go_on()
        # Who was stopped goes on too, and so do its clients.
        busy.cancel()
        await asyncio.wait([busy])
        assert await persist(session, [stopped], body) == answer["results"][0]["position"]
        assert await persist(session, [stopped], profile(1)) > answer["results"][0]["position"]
        found = await positions(watching)
        assert found == list(range(1, len(found) + 1))


async def keep_posting(session: aiohttp.ClientSession, ledger: LedgerProcess) -> None:
    async def emit(client: int) -> None:
        while True:
            await persist(session, [ledger], profile(client))

    await asyncio.gather(*(emit(client) for client in range(4)))


async def stopped_holding_the_head(ledger: LedgerProcess, watching: asyncpg.Connection) -> int:
    """Stop the process until it is found stopped between two statements of an append. The backend's process id."""
    for _ in range(STALLS_MAX):
        ledger.stall()
        # What was on its way to the server is carried out first.
        for _ in range(3):
            holding = await watching.fetch(
                "SELECT a.pid FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid"
                " WHERE a.state = 'idle in transaction' AND a.datname = current_database() AND l.granted"
                " AND l.relation = 'ledger_main.log_head'::regclass AND l.mode = 'RowShareLock'"
            )
            await asyncio.sleep(0.001)
        if holding:
            return int(holding[0]["pid"])
        ledger.go_on()
        await asyncio.sleep(random.random() * 0.005)
    raise AssertionError("never found with the head in its hands")


async def test_a_process_that_is_killed_with_the_head_in_its_hands_leaves_it(
    database: Database, session: aiohttp.ClientSession, watching: asyncpg.Connection
) -> None:
    async with processes(database.settings, 2, session) as (killed, other):
        busy = asyncio.create_task(keep_posting(session, killed))
        await stopped_holding_the_head(killed, watching)
        killed.process.send_signal(signal.SIGKILL)
        status, answer = await post(session, other, profile(99))
        assert status == 201, answer
        busy.cancel()
        await asyncio.wait([busy])
        found = await positions(watching)
        assert found == list(range(1, len(found) + 1))
