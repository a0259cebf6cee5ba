"""Recording, as emitters do: single events and batches, how long one takes at half of full load, and until when it can
be seen."""

import asyncio
import re
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
from msgspec import Struct

from benchmarks import company
from benchmarks.clients import HOST, Answer, Clients, connected, get, post
from benchmarks.figures import percentile
from benchmarks.running import RunningError, Served

SINGLE_CONNECTIONS = 64
BATCH_CONNECTIONS, BATCH_EVENTS = 4, 100
BURST_CONNECTIONS, BURST_BYTES = 64, 16 * 2**20
BURST_TEXT_CHARACTERS = 3_900
BROKEN_OFF_SECONDS = 1.0
"""Until somebody asks again who was cut off before the answer could be read."""
VISIBLE_A_SECOND = 10
"""So many recorded events a second are waited for: to ask takes of the processors that recording and projecting have,
and the measure is not to make what it measures."""
WAITED_FOR = "acc-waited-for"
"""An account of which nothing is known but one profile: what an answer through the read models can cost least."""
READERS = 32

_RETRY_AFTER = re.compile(rb"^retry-after: (\d+)", re.IGNORECASE | re.MULTILINE)

_AHEAD = 1.3
"""So many times the requests of the fastest window are made before one."""


class Feed(Iterator[bytes]):
    """Requests with new events, an iterator without an end. They are made before the clock starts."""

    def __init__(self, path: str, head: int, of: company.Scale, key: str, *, events: int) -> None:
        """`head`: events in the log; `events`: so many a request."""
        self._path = path
        self._key = key
        self._events = events
        # Events of several runs on a database that is kept are of different ids.
        self._more = company.growth(head, seed=time.time_ns(), of=of)
        self._ahead: deque[bytes] = deque()

    def prepare(self, requests: float) -> None:
        while len(self._ahead) < requests * _AHEAD:
            self._ahead.append(self._request())

    def __next__(self) -> bytes:
        return self._ahead.popleft() if self._ahead else self._request()

    def _request(self) -> bytes:
        if self._events == 1:
            return post(
                self._path, "application/cloudevents+json", msgspec.json.encode(next(self._more)), key=self._key
            )
        batch = msgspec.json.encode([next(self._more) for _ in range(self._events)])
        return post(self._path, "application/cloudevents-batch+json", batch, key=self._key)


class Load:
    """Clients that record as fast as they are answered."""

    def __init__(self, clients: Clients, feed: Feed, events: int) -> None:
        self._clients = clients
        self._feed = feed
        self._events = events
        self._fastest = 0.0

    def prepare(self, seconds: float) -> None:
        """Make what a window of so many seconds may need, as far as the windows before it tell."""
        self._feed.prepare(self._fastest * seconds)

    async def window(self, seconds: float) -> float:
        """Events acknowledged a second."""
        self.prepare(seconds)
        requests = await self._clients.closed_loop(self._feed, seconds)
        self._fastest = max(self._fastest, requests)
        return requests * self._events


@asynccontextmanager
async def loading(
    served: Served, ledger: str, head: int, of: company.Scale, *, events: int, connections: int
) -> AsyncIterator[Load]:
    """Clients of a ledger that send so many events a request."""
    async with connected(served.settings.ledger_port, connections) as clients:
        yield Load(clients, Feed(path_of(ledger), head, of, key(served), events=events), events)


def path_of(ledger: str) -> str:
    return f"/v1/ledgers/{ledger}/events"


def key(served: Served) -> str:
    return (served.settings.home / "admin.key").read_text().strip()


class Half(Struct, frozen=True):
    """What was found at half of full load, in seconds, of the requests of one window each."""

    append_p99: float
    append_median: float
    visible_p99: float
    visible_median: float
    lateness_p99: float


async def half_load(served: Served, ledger: str, feed: Feed, rate: float, seconds: float, *, seed: int) -> Half:
    """Record single events by a schedule. Of some, how long after the acknowledgement a query about WAITED_FOR, which
    has to have got that far, is answered: `at_least`, so the answer's own making counts too."""
    feed.prepare(rate * seconds)
    visible: list[float] = []
    waiting: set[asyncio.Task[None]] = set()
    due = 0.0
    path = f"/v1/ledgers/{ledger}/accounts/{WAITED_FOR}?timeout=30&at_least="
    authorized = key(served)
    idle: asyncio.Queue[Clients] = asyncio.Queue()
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(connected(served.settings.ledger_port, SINGLE_CONNECTIONS))
        for _ in range(READERS):
            idle.put_nowait(await stack.enter_async_context(connected(served.settings.projector_port, 1)))

        async def see(position: int, acknowledged: float) -> None:
            reader = await idle.get()
            answer = await reader.ask(get(f"{path}{position}", key=authorized))
            idle.put_nowait(reader)
            if answer.status != 200:
                raise RunningError(f"{path}{position}: {answer.status} {answer.body[:2000].decode(errors='replace')}")
            visible.append(time.perf_counter() - acknowledged)

        def answered(answer: Answer, at: float) -> None:
            nonlocal due
            if at >= due:
                due = at + 1 / VISIBLE_A_SECOND
                position = msgspec.json.decode(answer.body, type=_Recorded).results[0].position
                waiting.add(asyncio.create_task(see(position, at)))

        found = await clients.open_loop(feed, rate, seconds, seed=seed, answered=answered)
        await asyncio.gather(*waiting)
    return Half(
        append_p99=percentile(found.latency, 0.99),
        append_median=percentile(found.latency, 0.5),
        visible_p99=percentile(visible, 0.99),
        visible_median=percentile(visible, 0.5),
        lateness_p99=percentile(found.lateness, 0.99),
    )


async def half_empty(clients: Clients, feed: Feed, rate: float, seconds: float, *, seed: int) -> float:
    """What 99 of 100 of the same requests by the same schedule take within of a handler with nothing behind it, in
    seconds: what the machine and the clients add to each figure of `half_load`."""
    feed.prepare(rate * seconds)
    found = await clients.open_loop(feed, rate, seconds, seed=seed)
    return percentile(found.latency, 0.99)


async def introduce(served: Served, ledger: str) -> None:
    """Record the account that `half_load` asks about."""
    profiled = {"account": WAITED_FOR, "attributes": {"size": 1}}
    id = f"waited-for-{time.time_ns()}"
    said = {"specversion": "1.0", "id": id, "source": "/crm", "type": "ledger.account.profiled.v1", "data": profiled}
    await served.append(ledger, said)


async def burst(served: Served, ledger: str, *, connections: int = BURST_CONNECTIONS, seconds: float) -> dict[int, int]:
    """Post a request of nearly BURST_BYTES from each of so many connections at once; whoever is told to come again
    does, until these seconds are over. Gives how many were answered with which status."""
    text = "w" * BURST_TEXT_CHARACTERS
    until = time.monotonic() + seconds
    answers: Counter[int] = Counter()

    async def insist(number: int) -> None:
        while True:
            status, again = await _post_large(served, ledger, number, text)
            answers[status] += 1
            if again is None or time.monotonic() + again > until:
                return
            await asyncio.sleep(again)

    await asyncio.gather(*map(insist, range(connections)))
    return dict(sorted(answers.items()))


async def _post_large(served: Served, ledger: str, number: int, text: str) -> tuple[int, float | None]:
    """The status of the answer (0: there is none), and after how many seconds to come again. The events are made while
    they are sent, so that the client holds none of them."""
    attributes = {f"note {index}": text for index in range(5)}
    run = time.time_ns()

    def event(index: int) -> bytes:
        data = {"account": f"acc-{number:06d}", "attributes": attributes}
        id = f"burst-{run}-{number:03d}-{index:06d}"
        said = {"specversion": "1.0", "id": id, "source": "/crm", "type": "ledger.account.profiled.v1", "data": data}
        return msgspec.json.encode(said)

    size = len(event(0)) + 1
    events = min(1_000, BURST_BYTES // size - 1)
    reader, writer = await asyncio.open_connection(HOST, served.settings.ledger_port)
    try:
        request = (
            f"POST {path_of(ledger)} HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key(served)}\r\n"
            f"Content-Type: application/cloudevents-batch+json\r\nContent-Length: {events * size + 1}\r\n\r\n"
        )
        writer.write(request.encode())
        try:
            for index in range(events):
                writer.write((b"[" if index == 0 else b",") + event(index))
                await writer.drain()
            writer.write(b"]")
            await writer.drain()
        except ConnectionError:
            pass  # Answered before it was all sent.
        answer = await reader.readuntil(b"\r\n\r\n")
        again = _RETRY_AFTER.search(answer)
        return int(answer.split()[1]), None if again is None else float(again[1])
    except (ConnectionError, asyncio.IncompleteReadError):
        return 0, BROKEN_OFF_SECONDS
    finally:
        writer.close()


class _Position(Struct, frozen=True):
    position: int


class _Recorded(Struct, frozen=True):
    results: list[_Position]
