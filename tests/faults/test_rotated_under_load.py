"""The master key is rotated while ledgers record: each acknowledged text opens afterwards, and not by the old key."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from services.postgres import connect
from services.sealing import MasterKeyError, MasterKeys, SealingKey
from tests.conftest import Database
from tests.faults.test_killed import persist
from tests.importing import command
from tests.ledger_process import LedgerProcess, processes
from tests.log import event

CLIENTS = 6
EVENTS_AFTERWARDS = 5  # Of each client, so that every process goes on by itself.
READ_AT_ONCE = 16
PAUSE_SECONDS = 0.02  # So that there is not more to read back than takes a moment.


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


async def test_the_master_key_is_rotated_under_load(
    database: Database, session: aiohttp.ClientSession, tmp_path: Path
) -> None:
    old = MasterKeys(database.settings.master_key).newest
    acknowledged: dict[int, str] = {}
    finished = asyncio.Event()

    async def emit(client: int, ledger: LedgerProcess) -> None:
        number, left = 0, EVENTS_AFTERWARDS
        while left:
            left -= finished.is_set()
            number += 1
            quote = f"client {client}, word {number}"
            asked = event("ask.recorded", requirement="R", account=f"a-{client}", ask=str(number), quote=quote)
            position = await persist(session, [ledger], asked)
            assert position not in acknowledged
            acknowledged[position] = quote
            await asyncio.sleep(PAUSE_SECONDS)

    async def rotate() -> None:
        try:
            while len(acknowledged) < CLIENTS:
                await asyncio.sleep(0.01)
            for arguments in (["rotate-master-key"], ["rotate-master-key", "--finish"]):
                before = len(acknowledged)
                ended = await command(database.settings, *arguments, folder=tmp_path)
                assert ended.status == 0, ended.errors
                assert len(acknowledged) > before  # The clients have gone on all the while.
        finally:
            finished.set()

    async with processes(database.settings, 2, session) as ledgers:
        await asyncio.gather(rotate(), *(emit(client, ledgers[client % 2]) for client in range(CLIENTS)))
        await read_back(session, ledgers, acknowledged)

    masters = MasterKeys(database.settings.master_key)
    assert len(masters.names) == 1 and masters.newest.name != old.name
    superuser = await connect(database.superuser)
    rows = await superuser.fetch(
        "SELECT position, event_id, person, master, wrapped FROM ledger_main.sealing_keys ORDER BY position"
    )
    head = await superuser.fetchval("SELECT max(notification_id) FROM ledger_main.stored_events")
    await superuser.close()
    assert [row["position"] for row in rows] == sorted(acknowledged) == [*range(1, head + 1)]
    for row in rows:
        kept = SealingKey(event_id=row["event_id"], person=None, master=row["master"], wrapped=row["wrapped"])
        assert masters.unwrap(kept)
        with pytest.raises(MasterKeyError):
            old.unwrap(SealingKey(event_id=kept.event_id, person=None, master=old.name, wrapped=kept.wrapped))


async def read_back(session: aiohttp.ClientSession, ledgers: list[LedgerProcess], acknowledged: dict[int, str]) -> None:
    """Every acknowledged text, from one process and then the other, which have run all along."""
    turns = asyncio.Semaphore(READ_AT_ONCE)

    async def read(ledger: LedgerProcess, position: int, quote: str) -> None:
        url = f"{ledger.url}/v1/ledgers/main/events/{position}?unseal=1"
        async with turns, session.get(url, headers=ledger.headers) as answer:
            body = await answer.json(content_type=None)
            assert (answer.status, body["data"]["quote"]) == (200, quote), body

    await asyncio.gather(*(read(ledgers[position % 2], position, quote) for position, quote in acknowledged.items()))
