"""Clients that cost next to nothing: what they send was made beforehand, and of an answer they read the status, the
length and the body. What they cost themselves is measured against the empty handler, and printed.

An open loop sends by a schedule, whether answers come or not, and counts from the time at which a request was due: who
waits for an answer before sending the next leaves out just those moments in which a server keeps everybody waiting
(coordinated omission).
"""

import asyncio
import random
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, cast

HOST = "127.0.0.1"
ANSWER_SECONDS_MAX = 120

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_STATUS = slice(9, 12)  # Of "HTTP/1.1 201 Created".


class ClientError(Exception):
    """A request was not answered as it should be; the text says what came."""


class Answer(NamedTuple):
    status: int
    body: bytes


class Timed(NamedTuple):
    """What an open loop has found, in seconds for each request: `latency` from when it was due until its answer;
    `lateness`, how long after that time the client itself sent it where a connection was free."""

    latency: list[float]
    lateness: list[float]


Answered = Callable[[Answer, float], None]
"""Told each answer, and when it came (`time.perf_counter`)."""


def post(path: str, content_type: str, body: bytes, *, key: str | None = None) -> bytes:
    """The bytes of a request."""
    said = f"POST {path} HTTP/1.1\r\nHost: {HOST}\r\n{_authorization(key)}Content-Type: {content_type}\r\n"
    return f"{said}Content-Length: {len(body)}\r\n\r\n".encode() + body


def get(path: str, *, key: str | None = None) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n{_authorization(key)}\r\n".encode()


class Clients:
    """So many connections to one port that are kept alive, each with one request at a time. One loop at a time."""

    def __init__(self, connections: "list[_Connection]") -> None:
        self._connections = connections

    async def ask(self, request: bytes) -> Answer:
        """Any answer to one request, from the first connection."""
        done: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        connection = self._connections[0]
        connection.serve(lambda _, answer: done.set_result(answer), _failing(done))
        connection.send(request)
        return await asyncio.wait_for(done, ANSWER_SECONDS_MAX)

    async def closed_loop(
        self, requests: Iterator[bytes], seconds: float, *, statuses: Iterable[int] = (200, 201)
    ) -> float:
        """Each connection sends the next request as soon as it has its answer, until the time is over. Gives the
        answers a second; the seconds count until the last of them has come. Raises ClientError."""
        allowed = frozenset(statuses)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        answers, open_requests = 0, 0
        begun = time.perf_counter()
        until = begun + seconds

        def answered(connection: "_Connection", answer: Answer) -> None:
            nonlocal answers, open_requests
            if answer.status not in allowed:
                _fail(done, _refused(answer))
                return
            answers += 1
            if time.perf_counter() < until:
                connection.send(next(requests))
                return
            open_requests -= 1
            if not open_requests and not done.done():
                done.set_result(None)

        for connection in self._connections:
            connection.serve(answered, _failing(done))
            open_requests += 1
            connection.send(next(requests))
        await asyncio.wait_for(done, seconds + ANSWER_SECONDS_MAX)
        return answers / (time.perf_counter() - begun)

    async def open_loop(
        self,
        requests: Iterator[bytes],
        rate: float,
        seconds: float,
        *,
        seed: int,
        statuses: Iterable[int] = (200, 201),
        answered: Answered | None = None,
    ) -> Timed:
        """Send `rate` requests a second, at times at which independent senders would come (Poisson). Who finds no
        connection free waits in line, and that counts. Raises ClientError."""
        allowed = frozenset(statuses)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        due = arrivals(rate, seconds, seed=seed)
        free = deque(self._connections)
        since: dict[_Connection, float] = {}
        waiting: deque[float] = deque()
        latency: list[float] = []
        lateness: list[float] = []
        begun = time.perf_counter()
        sent = 0

        def tick() -> None:
            nonlocal sent
            now = time.perf_counter() - begun
            while sent < len(due) and due[sent] <= now:
                if free:
                    lateness.append(now - due[sent])
                    _send(free.popleft(), due[sent])
                else:
                    waiting.append(due[sent])
                sent += 1
            if sent < len(due) and not done.done():
                loop.call_later(due[sent] - now, tick)

        def _send(connection: _Connection, at: float) -> None:
            since[connection] = at
            connection.send(next(requests))

        def one_answered(connection: _Connection, answer: Answer) -> None:
            now = time.perf_counter()
            if answer.status not in allowed:
                _fail(done, _refused(answer))
                return
            latency.append(now - begun - since[connection])
            if answered is not None:
                answered(answer, now)
            if waiting:
                _send(connection, waiting.popleft())
            else:
                free.append(connection)
            if len(latency) == len(due) and not done.done():
                done.set_result(None)

        for connection in self._connections:
            connection.serve(one_answered, _failing(done))
        tick()
        await asyncio.wait_for(done, seconds + ANSWER_SECONDS_MAX)
        return Timed(latency, lateness)


@asynccontextmanager
async def connected(port: int, connections: int) -> AsyncIterator[Clients]:
    """Clients of a port of this machine."""
    loop = asyncio.get_running_loop()
    made: list[_Connection] = []
    try:
        for _ in range(connections):
            _, connection = await loop.create_connection(_Connection, HOST, port)
            made.append(connection)
        yield Clients(made)
    finally:
        for connection in made:
            connection.close()


def arrivals(rate: float, seconds: float, *, seed: int) -> list[float]:
    """The times, in seconds from the start, at which independent senders send: at least one."""
    draw = random.Random(seed)
    times = [0.0]
    while (following := times[-1] + draw.expovariate(rate)) < seconds:
        times.append(following)
    return times


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._answered: Callable[[_Connection, Answer], None] | None = None
        self._failed: Callable[[ClientError], None] | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._held = b""
        self._closing = False

    def serve(self, answered: "Callable[[_Connection, Answer], None]", failed: Callable[[ClientError], None]) -> None:
        """From here on these are told what comes."""
        self._answered, self._failed = answered, failed
        if self._transport is None or self._transport.is_closing():
            failed(ClientError("the server has closed a connection"))

    def send(self, request: bytes) -> None:
        assert self._transport is not None
        self._transport.write(request)

    def close(self) -> None:
        self._closing = True
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)  # That of uvloop is one without saying so.

    def data_received(self, data: bytes) -> None:
        came = self._held + data if self._held else data
        end = came.find(_HEAD_END)
        if end < 0:
            self._held = came
            return
        # A line that begins with the length has the end of the one before it.
        length = _LENGTH.search(came, 0, end)
        if length is None:
            self._say(ClientError(f"an answer without a length: {came[:end].decode(errors='replace')}"))
            return
        body = end + len(_HEAD_END)
        if len(came) < body + int(length[1]):
            self._held = came
            return
        self._held = b""
        if self._answered is not None:
            self._answered(self, Answer(int(came[_STATUS]), came[body:]))

    def connection_lost(self, error: Exception | None) -> None:
        if not self._closing:
            self._say(ClientError(f"the server has closed a connection: {error or 'without an error'}"))

    def _say(self, error: ClientError) -> None:
        if self._failed is not None:
            self._failed(error)


def _authorization(key: str | None) -> str:
    return "" if key is None else f"Authorization: Bearer {key}\r\n"


def _refused(answer: Answer) -> ClientError:
    return ClientError(f"answered {answer.status}: {answer.body[:2000].decode(errors='replace')}")


def _fail(done: "asyncio.Future[None]", error: ClientError) -> None:
    if not done.done():
        done.set_exception(error)


def _failing(done: "asyncio.Future[Any]") -> Callable[[ClientError], None]:
    def failed(error: ClientError) -> None:
        if not done.done():
            done.set_exception(error)

    return failed
