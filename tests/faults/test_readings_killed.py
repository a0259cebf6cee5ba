"""Whatever is killed once somebody was shown words in the clear: that they were is on record."""

import aiohttp

from services.postgres import connect
from tests.asking import asking
from tests.conftest import Database
from tests.faults.test_projector_faults import kill, server
from tests.ledger_process import processes
from tests.log import event

INTRODUCED = event("person.introduced", person="p-1", name="Ada Smith")


async def readings(database: Database) -> list[tuple[str, list[int]]]:
    connection = await connect(database.auditor)
    try:
        rows = await connection.fetch("SELECT service, positions FROM ledger_main.access_log ORDER BY number")
    finally:
        await connection.close()
    return [(row["service"], row["positions"]) for row in rows]


async def test_a_reading_outlives_its_service_and_its_database() -> None:
    async with server() as (postgres, database), aiohttp.ClientSession() as session:
        async with asking(database) as client:
            await client.record(INTRODUCED)
            await client.answer("requirements")
            assert (await client.get("persons/p-1", key="personal", as_of=1)).status == 200
            await kill(postgres)
        await postgres.start()
        assert await readings(database) == [("projector", [1])]

        async with processes(database.settings, 1, session) as [ledger]:
            url = f"{ledger.url}/v1/ledgers/main/events/1?unseal=1"
            async with session.get(url, headers=ledger.headers) as reply:
                assert (await reply.json(content_type=None))["data"]["name"] == "Ada Smith"
            ledger.kill()
            await kill(postgres)
        await postgres.start()
        assert await readings(database) == [("projector", [1]), ("ledger", [1])]
