"""Read models in tests: events that fill them, the projector that does, and whether they have got somewhere and equal
the fold of the log."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from services.postgres import Unavailable, connect, ledger_schema
from services.projector.digest import digest
from services.projector.projections import ALL
from services.projector.projector import Projector
from services.projector.rebuild import rebuild
from services.projector.runner import Runner
from tests.conftest import Database
from tests.log import event

BY = {"role": "head of product", "team": "product"}
NAMES = tuple(projection.name for projection in ALL)
SECONDS_MAX = 60


@asynccontextmanager
async def running(database: Database, **more: Any) -> AsyncIterator[Runner]:
    """What keeps up the read models of `main`, with a projector of its own."""
    async with Projector(database.settings, **more) as projector:
        yield await projector.ledger("main")


async def reached(runner: Runner, position: int, *names: str) -> None:
    """Wait until these projections (none named: all) have got to a position."""
    async with asyncio.timeout(SECONDS_MAX):
        await runner.reached(position, names or None)


async def ready(projector: Projector) -> None:
    """Wait until a projector says that it can be asked."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            try:
                return await projector.ready()
            except Unavailable:
                await asyncio.sleep(0.01)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something holds that nobody announces."""
    async with asyncio.timeout(SECONDS_MAX):
        while not await condition():
            await asyncio.sleep(0.01)


async def rows(database: Database, query: str) -> list[Any]:
    """What a query gives, as the projector."""
    connection = await connect(database.projector)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


def telling(asked: list[str]) -> Callable[[asyncpg.Connection], Awaitable[None]]:
    """Has a connection tell what it asks the database, each in the next turn of the loop."""

    async def prepare(connection: asyncpg.Connection) -> None:
        connection.add_query_logger(lambda query: asked.append(query.query))

    return prepare


async def digests(database: Database, position: int, ledger: str = "main") -> dict[str, str]:
    """The digest of each live read model at a position."""
    connection = await connect(database.projector)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            return {
                projection.name: await digest(connection, ledger_schema(ledger), projection, position)
                for projection in ALL
            }
    finally:
        await connection.close()


async def rebuilt_digests(database: Database, position: int, ledger: str = "main") -> dict[str, str]:
    """The same after each has been built anew, from position 1."""
    connection = await connect(database.projector)
    try:
        for projection in ALL:
            rebuilt = await rebuild(connection, ledger, projection)
            assert rebuilt.trouble is None
            assert rebuilt.position >= position
    finally:
        await connection.close()
    return await digests(database, position, ledger)


def ask(number: int, **more: Any) -> Any:
    """One of seven requirements, by one of five accounts."""
    return event("ask.recorded", requirement=f"R-{number % 7}", account=f"a-{number % 5}", **more)


def profile(number: int, **more: Any) -> Any:
    return event("account.profiled", account=f"a-{number}", attributes={"size": number}, **more)


def mixed(count: int) -> list[Any]:
    """Events of all kinds in turn."""
    return [_KINDS[number % len(_KINDS)](number) for number in range(count)]


_KINDS = [
    lambda n: event("account.profiled", account=f"a-{n % 9}", name=f"Acme {n}", attributes={"size": n, "eu": True}),
    lambda n: event(
        "opportunity.updated",
        opportunity=f"o-{n % 9}",
        account=f"a-{n % 5}",
        stage="open",
        amount=f"{n}.50",
        currency="EUR",
        ends="2027-01-31",
        requirements=["R-1", f"R-{n}"],
    ),
    lambda n: event("requirement.raised", requirement=f"R-{n}", title="Ärger", problem="secret", by=BY),
    lambda n: event("ask.recorded", requirement=f"R-{n % 4}", account=f"a-{n % 5}", quote="we need it"),
    lambda n: event("ask.withdrawn", requirement=f"R-{n % 4}", ask=f"k-{n}", time="2026-01-05T00:00:00+05:00"),
    lambda n: event("delivery.updated", requirement="R-1", state="beta", target="2027-02-28"),
    lambda n: event("person.introduced", person=f"p-{n}", name="Ada"),
    lambda n: event("requirement.reworded", requirement=f"R-{n}", title="Dismay", reason="plain words", by=BY),
    lambda n: event(
        "agreement.revised",
        agreement="target-market",
        revision=f"r-{n}",
        title="Banks",
        stage="focused",
        bullets=[{"bullet": "size", "text": "Large", "test": {"op": "gte", "attribute": "size", "value": 50}}],
        threshold=60,
        signatories=["sales", "product"],
        reason="focus",
        by=BY,
    ),
    lambda n: event(
        "agreement.endorsed", agreement="target-market", revision="r-1", team="sales", meaning="agree", by=BY
    ),
    lambda n: event("agreement.adopted", agreement="target-market", revision="r-1", effective="2026-07-01", by=BY),
    lambda n: event("decision.proposed", decision=f"D-{n}", requirements=["R-1"], question="When?", options=[], by=BY),
    lambda n: event(
        "decision.made",
        decision=f"D-{n}",
        requirements=["R-2", "R-1", "R-2"],
        outcome="commit",
        rationale="it sells",
        instruction="build it",
        deciders=[BY],
    ),
]
