"""Whatever is killed once somebody was shown words in the clear: that they were is on record."""

import aiohttp

from services.postgres import connect
from tests.asking import asking
from tests.conftest import Database
from tests.faults.test_projector_faults import kill, server
from tests.ledger_process import processes
from tests.log import Log, event

INTRODUCED = event("person.introduced", person="p-1", name="Ada Smith")
TURNS = 2


async def readings(database: Database) -> list[tuple[str, list[int]]]:
    connection = await connect(database.auditor)
    try:
        rows = await connection.fetch("SELECT service, positions FROM ledger_main.access_log ORDER BY number")
    finally:
        await connection.close()
    return [(row["service"], row["positions"]) for row in rows]


async def test_a_reading_of_the_projector_outlives_its_database() -> None:
    async with server() as (postgres, database):
        for turn in range(1, TURNS + 1):
            async with asking(database) as client:
                [position] = await client.record({**INTRODUCED, "id": f"e-{turn}"})
                await client.answer("requirements")
                reply = await client.get("persons/p-1", key="personal", as_of=position)
                assert reply.status == 200
                await kill(postgres)
            await postgres.start()
            assert await readings(database) == [("projector", [*range(1, each + 1)]) for each in range(1, turn + 1)]


async def test_a_reading_of_the_ledger_outlives_it_and_its_database() -> None:
    async with server() as (postgres, database):
        async with Log.open(database) as log:
            await log.append(INTRODUCED)
        async with aiohttp.ClientSession() as session, processes(database.settings, 1, session) as [ledger]:
            for turn in range(1, TURNS + 1):
                url = f"{ledger.url}/v1/ledgers/main/events/1?unseal=1"
                async with session.get(url, headers=ledger.headers) as reply:
                    assert reply.status == 200, await reply.text()
                    assert (await reply.json(content_type=None))["data"]["name"] == "Ada Smith"
                ledger.kill()
                await kill(postgres)
                await postgres.start()
                assert await readings(database) == [("ledger", [1])] * turn
                ledger.start()
                await ledger.ready(session)
