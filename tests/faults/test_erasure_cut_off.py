"""An erasure that is cut off, by a connection that breaks or by `kill -9`: it is there with all that it destroys, or it
is not there; and one that was acknowledged is."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import aiohttp
import msgspec
import pytest

from services.postgres import connect
from tests.conftest import Database
from tests.faults.postgres_proxy import Moment
from tests.faults.test_archive_faults import alone
from tests.faults.test_commit import MOMENTS, behind_a_proxy, runs
from tests.ledger_process import LedgerProcess
from tests.ledger_service import BATCH
from tests.log import erased, event, redacted

ERASING = ("lock_head", "named", "persons", "copy", "destroy_keys_of_persons", "destroy_keys_at", "commit")
KILLS = 3
PERSONS_A_KILL = 12
AT_ONCE = 3
SECONDS_MAX = 60


def introduced(person: str) -> list[Any]:
    return [
        event("person.introduced", person=person, name="Ada"),
        event("ask.recorded", requirement="R-1", account="acme", contact=person, quote="Now."),
        event("ask.recorded", requirement="R-1", account="acme", quote=f"As {person} says."),
    ]


async def watching(database: Database) -> tuple[set[str], set[str]]:
    """The persons whose erasure is on record, and those about whom there is a key."""
    connection = await connect(database.superuser)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            acts = await connection.fetch(
                "SELECT subject FROM ledger_main.stored_events WHERE topic = 'ledger.person.erased.v1'"
            )
            keys = await connection.fetch("SELECT person FROM ledger_main.sealing_keys WHERE person IS NOT NULL")
            redactions = await connection.fetchval(
                "SELECT count(*) FROM ledger_main.stored_events AS e JOIN ledger_main.sealing_keys AS k"
                " ON ledger_main.redacts(e.state) = k.position WHERE e.topic = 'ledger.text.redacted.v1'"
            )
            assert redactions == 0, "a text was redacted, and its key is there"
        return {row["subject"].removeprefix("person/") for row in acts}, {row["person"] for row in keys}
    finally:
        await connection.close()


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_connection_that_breaks_leaves_all_of_it_or_nothing(database: Database, moment: Moment) -> None:
    async with behind_a_proxy(database) as (proxy, ledger):
        for number, name in enumerate(ERASING):
            person = f"p-{number}"
            said = await ledger.post(*introduced(person))
            body = [erased(person), redacted(said.results[2]["position"], "requirement/R-1")]
            fault = proxy.strike(runs(name), moment)
            first = await ledger.post(*body)
            assert fault.struck.is_set() and first.status == 503, name
            landed = name == "commit" and moment == "unanswered"
            acts, keys = await watching(database)
            assert (person in acts, person in keys) == (landed, not landed), name

            again = await ledger.post(*body)
            assert again.status == (200 if landed else 201)
            acts, keys = await watching(database)
            assert person in acts and keys == set(), name


async def test_kill_9_leaves_all_of_it_or_nothing_and_what_was_acknowledged(database: Database) -> None:
    chance = random.Random(20261122)
    timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as session:
        ledger = LedgerProcess(database.settings)
        witness = await connect(database.superuser)

        async def post(body: list[Any]) -> tuple[int, Any]:
            headers = {**ledger.headers, "Content-Type": BATCH}
            url = f"{ledger.url}/v1/ledgers/main/events"
            async with session.post(url, data=msgspec.json.encode(body), headers=headers) as answer:
                return answer.status, await answer.json(content_type=None)

        sent: set[str] = set()
        acknowledged: set[str] = set()

        async def erase(bodies: Iterator[tuple[str, list[Any]]]) -> None:
            """One after the other, until the ledger is killed: those of all at once would be in one commit."""
            for person, body in bodies:
                sent.add(person)
                try:
                    status, answer = await post(body)
                except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                    return
                assert status in (200, 201), answer
                acknowledged.add(person)

        try:
            await ledger.ready(session)
            everybody: dict[str, list[Any]] = {}
            cut_off = 0
            for kill in range(KILLS):
                bodies = {}
                for number in range(PERSONS_A_KILL):
                    person = f"p-{kill}-{number}"
                    status, answer = await post(introduced(person))
                    assert status == 201, answer
                    position = answer["results"][2]["position"]
                    bodies[person] = [erased(person), redacted(position, "requirement/R-1")]
                everybody |= bodies
                each = iter(bodies.items())
                under_way = [asyncio.create_task(erase(each)) for _ in range(AT_ONCE)]
                # In the midst of them: a few have been answered.
                few = len(acknowledged) + 1 + chance.randrange(3)
                while len(acknowledged) < few and not all(task.done() for task in under_way):
                    await asyncio.sleep(0)
                ledger.kill()
                await asyncio.gather(*under_way)
                await alone(witness)  # A commit that was on its way has come to be.
                acts, keys = await watching(database)
                assert acknowledged <= acts
                # Of each person the act is there or the keys are, and never both or neither.
                assert acts | keys == everybody.keys() and not acts & keys
                cut_off += len(sent - acknowledged)
                sent &= acknowledged
                ledger.start()
                await ledger.ready(session)
            assert cut_off, "no kill came in the midst"
            for person, body in everybody.items():
                assert (await post(body))[0] == (200 if person in acts else 201)
            acts, keys = await watching(database)
            assert (acts, keys) == ({*everybody}, set())
        finally:
            ledger.end()
            await witness.close()
