"""Answers while read models are rebuilt: never an empty table, never half of one."""

import asyncio

from services.postgres import connect
from services.projector.projections import ALL
from services.projector.rebuild import rebuild
from tests.asking import asking
from tests.conftest import Database
from tests.log import event


async def test_a_swap_is_never_seen(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *(event("ask.recorded", requirement=f"R-{number % 50}", account=f"a-{number}") for number in range(300)),
            *(event("account.profiled", account=f"a-{number}", attributes={"a": number}) for number in range(300)),
        )
        paths = ["requirements/R-1", "accounts/a-1", "requirements"]
        expected = {path: (await client.get(path, as_of=600, at_least=600)).body for path in paths}
        done = asyncio.Event()

        async def ask_again() -> int:
            count = 0
            while not done.is_set():
                for path in paths:
                    reply = await client.get(path, as_of=600)
                    assert reply.status == 200, reply.body
                    assert reply.body == expected[path]
                    count += 1
            return count

        async def rebuild_all() -> None:
            connection = await connect(database.projector)
            try:
                for _ in range(3):
                    for projection in ALL:
                        await rebuild(connection, "main", projection)
                        # The log goes on meanwhile.
                        await client.record(event("ask.recorded", requirement="R-1", account="late"))
            finally:
                await connection.close()
                done.set()

        counts, _ = await asyncio.gather(asyncio.gather(*(ask_again() for _ in range(4))), rebuild_all())
        assert min(counts) > 3
