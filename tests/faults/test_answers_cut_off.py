"""Answers while connections to the database are cut: 200 or 503, nothing else, and 200 again afterwards."""

import asyncio
from collections import Counter

from services.postgres import connect
from tests.asking import asking
from tests.conftest import Database
from tests.log import event

SECONDS_MAX = 60


async def test_a_cut_connection_is_unavailable_and_then_forgotten(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *(event("ask.recorded", requirement=f"R-{number % 9}", account=f"a-{number}") for number in range(200))
        )
        expected = {
            path: (await client.get(path, as_of=200, at_least=200)).body
            for path in ("requirements/R-1", "accounts/a-1")
        }
        done = asyncio.Event()
        statuses: Counter[int] = Counter()

        async def ask_again() -> None:
            while not done.is_set():
                for path, body in expected.items():
                    reply = await client.get(path, as_of=200)
                    statuses[reply.status] += 1
                    assert reply.status in (200, 503), reply.body
                    assert reply.status == 503 or reply.body == body

        async def cut() -> None:
            superuser = await connect(database.superuser)
            try:
                for _ in range(30):
                    await superuser.execute(
                        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    )
                    await asyncio.sleep(0.02)
                answered = statuses[200]
                async with asyncio.timeout(SECONDS_MAX):
                    while statuses[200] == answered:
                        await asyncio.sleep(0.01)
            finally:
                await superuser.close()
                done.set()

        await asyncio.gather(*(ask_again() for _ in range(4)), cut())
        for path, body in expected.items():
            assert (await client.get(path, as_of=200)).body == body
