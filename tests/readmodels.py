"""What tests ask of read models: that they have got somewhere, and that they equal the fold of the log."""

import asyncio

from services.postgres import connect, ledger_schema
from services.projector.digest import digest
from services.projector.projections import ALL
from services.projector.projector import Runner
from services.projector.rebuild import rebuild
from tests.conftest import Database

NAMES = tuple(projection.name for projection in ALL)
SECONDS_MAX = 60


async def reached(runner: Runner, position: int, *names: str) -> None:
    """Wait until these projections (none named: all) have got to a position."""
    async with asyncio.timeout(SECONDS_MAX):
        await runner.reached(position, names or None)


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
