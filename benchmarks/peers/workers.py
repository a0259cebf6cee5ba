"""Processes that write to a peer's store, each in the peer's own language.

A worker reads its job from stdin, one JSON object on one line; says `ready` on stdout; and then answers each line, the
seconds that it is to go on, by `{"events": ..., "seconds": ...}`: how many are durable, and how long that took.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.peers import PeerError, Run
from benchmarks.peers.databases import counted

READY_SECONDS_MAX = 600  # A catch-up writes its log first.
LATE_SECONDS_MAX = 60  # What a worker may need beyond the seconds that it was given.
STOP_SECONDS_MAX = 10

_ROOT = Path(__file__).parents[2]


class Written(msgspec.Struct, frozen=True):
    """What a worker has done: events that are durable, and the seconds from the first to the last of them."""

    events: int
    seconds: float


@asynccontextmanager
async def workers(
    command: Sequence[str], jobs: Sequence[Mapping[str, Any]], dsn: str, count: str, *, anew: bool = False
) -> AsyncIterator[Run]:
    """Runs of this command, a process a job, all at once. Each run is checked by what the statement `count` counts,
    which may begin anew with each. Raises PeerError."""
    async with AsyncExitStack() as stack:
        started = []
        for job in jobs:  # One after the other: the first makes the tables.
            started.append(await stack.enter_async_context(_worker(command, job)))
            async with asyncio.timeout(READY_SECONDS_MAX):
                await _line(started[-1])
        check = await stack.enter_async_context(counted(dsn, count, anew=anew))

        async def run(seconds: float) -> float:
            async with asyncio.timeout(seconds + LATE_SECONDS_MAX):
                written = await asyncio.gather(*(_ask(each, seconds) for each in started))
            events = sum(each.events for each in written)
            await check(events)
            return events / max(each.seconds for each in written)

        yield run


@asynccontextmanager
async def _worker(command: Sequence[str], job: Mapping[str, Any]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=_ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdin is not None
        process.stdin.write(msgspec.json.encode(job) + b"\n")
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _ask(worker: asyncio.subprocess.Process, seconds: float) -> Written:
    assert worker.stdin is not None
    worker.stdin.write(msgspec.json.encode(seconds) + b"\n")
    return msgspec.json.decode(await _line(worker), type=Written)


async def _line(worker: asyncio.subprocess.Process) -> bytes:
    assert worker.stdout is not None
    line = await worker.stdout.readline()
    if not line:
        raise PeerError(f"a process of the peer has ended with {await worker.wait()}; stderr has what it said")
    return line
