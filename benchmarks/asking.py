"""Asking, against an aiohttp handler that fetches the same rows by their primary keys."""

import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from benchmarks import company
from benchmarks.clients import ClientError, Clients, connected, get
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
COUNTED = "list"
"""What is told from what is held in memory, which each event adds to."""


class Asked:
    """What is asked: of the projector, and of the handler that is its yardstick. `reader`: a key with the scope query;
    `admin`: one for which sealed words are opened. `record` records an event, and returns when it can be seen."""

    def __init__(
        self,
        projector: Clients,
        yardstick: Clients,
        paths: dict[str, str],
        head: int,
        reader: str,
        admin: str,
        record: Callable[[], Awaitable[None]],
    ) -> None:
        self._projector = projector
        self._yardstick = yardstick
        self._paths = paths
        self._reader = reader
        self._admin = admin
        self._record = record
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

    async def after_event(self, query: str, seconds: float) -> float:
        """Answers a second, one at a time: each is asked for now, when one more event can be seen. What it takes until
        then does not count."""
        request = get(self._paths[query], key=self._reader)
        return await _one_by_one(self._projector, request, seconds, self._record)

    async def theirs(self, query: str, seconds: float) -> float:
        return await self._yardstick.closed_loop(itertools.repeat(get(f"/{query}")), seconds)

    async def theirs_one_by_one(self, query: str, seconds: float) -> float:
        """Answers a second, one at a time, each after the same as `after_event`."""
        return await _one_by_one(self._yardstick, get(f"/{query}"), seconds, self._record)


async def _one_by_one(clients: Clients, request: bytes, seconds: float, before: Callable[[], Awaitable[None]]) -> float:
    """Answers a second. Raises ClientError."""
    answers, took, until = 0, 0.0, time.perf_counter() + seconds
    while not answers or time.perf_counter() < until:
        await before()
        begun = time.perf_counter()
        answer = await clients.ask(request)
        took += time.perf_counter() - begun
        if answer.status != 200:
            raise ClientError(f"answered with {answer.status}")
        answers += 1
    return answers / took


@asynccontextmanager
async def asked(
    served: Served, ledger: str, of: company.Scale, requirement: str, database_url: str
) -> AsyncIterator[Asked]:
    """One requirement, and the list. The ledger and the projector run; `database_url` is of somebody who may read
    everything, and make a table. `of`: the scale of the log."""
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
    # Events of several runs on a database that is kept are of different ids.
    more = company.growth(head, seed=time.time_ns(), of=of)

    async def record() -> None:
        await served.append(ledger, next(more))
        await served.caught_up(ledger)

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
            yield Asked(projector, yardstick, paths, head, reader, key(served), record)
