"""The clients of the benchmark, against a real server of HTTP."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio
from aiohttp import web

from benchmarks.clients import Answer, ClientError, arrivals, connected, get, post

Handler = Callable[[web.Request], Awaitable[web.Response]]
Serve = Callable[[Handler], Awaitable[int]]


@pytest_asyncio.fixture
async def serve() -> AsyncIterator[Serve]:
    runners: list[web.AppRunner] = []

    async def start(handler: Handler) -> int:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        runners.append(runner := web.AppRunner(app, access_log=None))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return int(runner.addresses[0][1])

    yield start
    for runner in runners:
        await runner.cleanup()


async def test_what_is_sent_and_what_is_answered_arrive_whole(serve: Serve):
    async def echo(request: web.Request) -> web.Response:
        said = (request.method, request.path, request.headers.get("Authorization"), await request.text())
        return web.json_response([*said, "x" * 300_000])

    async with connected(await serve(echo), 1) as clients:
        answer = await clients.ask(post("/a", "application/json", b"{}", key="k"))
        assert answer.status == 200
        assert answer.body.startswith(b'["POST", "/a", "Bearer k", "{}"') and answer.body.endswith(b'xx"]')
        again = await clients.ask(get("/b"))
        assert again.body.startswith(b'["GET", "/b", null, ""')


async def test_a_closed_loop_sends_each_request_once_and_has_one_at_a_time_on_each_connection(serve: Serve):
    came: list[int] = []
    together, most = 0, 0

    async def count(request: web.Request) -> web.Response:
        nonlocal together, most
        together += 1
        most = max(most, together)
        came.append(int(await request.text()))
        await asyncio.sleep(0)
        together -= 1
        return web.Response(status=201)

    made = (post("/", "text/plain", str(number).encode()) for number in itertools.count())
    async with connected(await serve(count), 4) as clients:
        rate = await clients.closed_loop(made, 0.2)
    assert sorted(came) == [*range(len(came))]
    assert 0 < rate <= len(came) / 0.2
    assert most <= 4


async def test_an_answer_that_was_not_wanted_ends_a_loop(serve: Serve):
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=503, text="come again")

    async with connected(await serve(refuse), 2) as clients:
        with pytest.raises(ClientError, match="503: come again"):
            await clients.closed_loop(itertools.repeat(get("/")), 5)
    async with connected(await serve(refuse), 2) as clients:
        with pytest.raises(ClientError, match="503: come again"):
            await clients.open_loop(itertools.repeat(get("/")), 50, 5, seed=1)


async def test_an_open_loop_counts_from_when_a_request_was_due(serve: Serve):
    """One connection, and a server that holds up the first request: those that were due meanwhile have waited too,
    though nobody had sent them yet."""
    held = asyncio.Event()

    async def hold(request: web.Request) -> web.Response:
        await held.wait()
        return web.Response()

    due = arrivals(100, 0.5, seed=1)
    loop = asyncio.get_running_loop()
    async with connected(await serve(hold), 1) as clients:
        loop.call_later(0.5, held.set)
        told: list[Answer] = []
        found = await clients.open_loop(
            itertools.repeat(get("/")), 100, 0.5, seed=1, answered=lambda answer, at: told.append(answer)
        )
    assert len(found.latency) == len(due) == len(told) > 20
    for at, latency in zip(due, found.latency, strict=True):
        assert latency >= 0.5 - at - 0.02
    # A closed loop would have had one sample of what all of them have met.
    assert sum(latency > 0.2 for latency in found.latency) > len(due) / 3


def test_arrivals_are_as_many_as_the_rate_says_and_the_same_for_the_same_seed():
    times = arrivals(1_000, 10, seed=3)
    assert times == sorted(times) and times[0] == 0.0 and times[-1] < 10
    assert 9_500 < len(times) < 10_500
    assert times == arrivals(1_000, 10, seed=3) != arrivals(1_000, 10, seed=4)
