"""The projector on a real database: it catches up, wakes, stops where it must, and never misses an event."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from schemas.envelope import stream_uuid
from services.migrate import make_ledger
from services.postgres import connect, ledger_schema
from services.projector import projector as engine
from services.projector.digest import digest
from services.projector.projections import ALL
from services.projector.projector import NoSuchLedger, Projector, Runner, Stopped
from tests.conftest import Database
from tests.log import Log, event, read

SECONDS_MAX = 30
NAMES = [projection.name for projection in ALL]


def ask(number: int, **more: Any) -> Any:
    return event("ask.recorded", requirement=f"R-{number % 7}", account=f"a-{number % 5}", **more)


def profile(number: int) -> Any:
    return event("account.profiled", account=f"a-{number}", name=f"Account {number}", attributes={"size": number})


async def reached(runner: Runner, position: int, *names: str) -> None:
    await asyncio.wait_for(runner.reached(position, names or None), SECONDS_MAX)


async def positions(database: Database, table: str = "asks", ledger: str = "main") -> list[int]:
    connection = await connect(database.projector)
    try:
        rows = await connection.fetch(f'SELECT position FROM "{ledger_schema(ledger)}".{table} ORDER BY position')
    finally:
        await connection.close()
    return [row["position"] for row in rows]


async def test_it_catches_up_with_what_was_there_before_it(database: Database) -> None:
    async with Log.open(database) as log:
        for start in range(0, 1_200, 400):
            await log.append(*(ask(start + number) for number in range(400)))
        async with Projector(database.settings) as projector:
            runner = await projector.ledger("main")
            await reached(runner, 1_200)
    assert await positions(database) == list(range(1, 1_201))
    assert {cursor.state for cursor in runner.cursors.values()} == {"live"}
    assert runner.head == 1_200
