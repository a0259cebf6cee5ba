"""Asking, against an aiohttp handler that fetches the same rows by their primary keys."""

import itertools
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from benchmarks.clients import Clients, connected, get
from benchmarks.history import LIST_ROWS
from benchmarks.recording import key
from benchmarks.running import Served, answering, free_ports
from benchmarks.yardstick import Yardstick, fetches_of_list, fetches_of_requirement
from services.keys import Keys
from services.postgres import connect, open_pool

CONNECTIONS = 8
QUERIES = ("one", "list")
OPENED = "one"
"""Whose answer has sealed words in it, for who may see them."""


class Asked:
    """What is asked: of the projector, and of the handler that is its yardstick. `reader`: a key with the scope query;
    `admin`: one for which sealed words are opened."""

    def __init__(
        self, projector: Clients, yardstick: Clients, paths: dict[str, str], head: int, reader: str, admin: str
    ) -> None:
        self._projector = projector
        self._yardstick = yardstick
        self._paths = paths
        self._reader = reader
        self._admin = admin
        self._unasked = {query: iter(range(head - 1, 0, -1)) for query in QUERIES}

    async def ours(self, query: str, seconds: float) -> float:
        """Answers a second, each for a position for which it was not asked before."""
        path = self._paths[query]
        joint = "&" if "?" in path else "?"
        requests = (get(f"{path}{joint}as_of={position}", key=self._reader) for position in self._unasked[query])
        return await self._projector.closed_loop(requests, seconds)

    async def again(self, query: str, seconds: float) -> float:
        """The same question again and again, of a log to which nothing is added meanwhile: the answer is kept."""
        return await self._projector.closed_loop(itertools.repeat(get(self._paths[query], key=self._reader)), seconds)

    async def opened(self, query: str, seconds: float) -> float:
        """The same as `again`, by who sees sealed words: they are opened, and that is put on record, each time."""
        return await self._projector.closed_loop(itertools.repeat(get(self._paths[query], key=self._admin)), seconds)

    async def theirs(self, query: str, seconds: float) -> float:
        return await self._yardstick.closed_loop(itertools.repeat(get(f"/{query}")), seconds)


@asynccontextmanager
async def asked(served: Served, ledger: str, requirement: str, database_url: str) -> AsyncIterator[Asked]:
    """One requirement, and the list. The projector runs; `database_url` is of somebody who may read everything, and
    make a table."""
    paths = {
        "one": f"/v1/ledgers/{ledger}/requirements/{requirement}",
        "list": f"/v1/ledgers/{ledger}/requirements?limit={LIST_ROWS}",
    }
    found = await served.get(served.projector.removesuffix("/v1/ledgers") + paths["list"])
    listed, head = found["requirements"], found["as_of"]["position"]
    owner = await open_pool(served.settings.url("owner"), connections_max=1)
    _, reader = await Keys(owner).make(name="benchmark", scopes=["query"], by="benchmark")
    await owner.close()
    connection = await connect(database_url)
    try:
        answers = {
            "/one": await fetches_of_requirement(connection, ledger, requirement),
            "/list": await fetches_of_list(connection, listed),
        }
    finally:
        await connection.close()
    [port] = free_ports(1)
    plan = Yardstick(database_url, served.settings.pool_connections_max, answers)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "yardstick.json"
        file.write_bytes(msgspec.json.encode(plan))
        async with (
            answering(port, "-m", "benchmarks.yardstick", str(port), str(file)),
            connected(served.settings.projector_port, CONNECTIONS) as projector,
            connected(port, CONNECTIONS) as yardstick,
        ):
            yield Asked(projector, yardstick, paths, head, reader, key(served))
