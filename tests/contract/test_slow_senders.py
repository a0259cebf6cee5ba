"""Who begins to send and stops, or sends slowly, keeps nobody else out."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from io import BytesIO

import pytest
from msgspec.structs import replace

from services.ledger import queue
from services.ledger.queue import BODY_BYTES_A_SECOND_MIN, BODY_LATE_SECONDS, LARGE_BYTES_MIN, Overloaded, Queue
from tests.conftest import Database
from tests.ledger_service import BATCH, SECONDS_MAX, STRUCTURED, LedgerService, holds, profile, serving

ROOM_BYTES = 65_536
STALLED = 16  # As many as there is room for.
LARGE_BYTES = LARGE_BYTES_MIN + 1


@pytest.fixture
async def narrow(database: Database) -> AsyncIterator[LedgerService]:
    """A ledger service with little room."""
    async with serving(replace(database.settings, queue_bytes_max=ROOM_BYTES)) as service:
        yield service


@asynccontextmanager
async def stalled(ledger: LedgerService, key: str, media: str, size: int) -> AsyncIterator[asyncio.StreamReader]:
    """A connection on which all of a body has been sent but its last byte."""
    async with ledger.raw() as (reader, writer):
        head = (
            f"POST /v1/ledgers/main/events HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n"
            f"Content-Type: {media}\r\nAuthorization: Bearer {key}\r\n\r\n"
        )
        writer.write(head.encode() + b" " * (size - 1))
        await writer.drain()
        yield reader


async def holding(ledger: LedgerService, bytes_min: int) -> bool:
    [line] = [
        line
        for line in (await ledger.get("/metrics")).body.decode().splitlines()
        if line.startswith("ledger_waiting_bytes ")
    ]
    return float(line.split()[1]) >= bytes_min


async def test_senders_of_one_key_that_stall_keep_nobody_else_out(
    narrow: LedgerService, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(queue, "BODY_LATE_SECONDS", SECONDS_MAX)  # However soon the others come.
    theirs, ours = await narrow.key("observe"), await narrow.key("observe")
    async with AsyncExitStack() as stack:
        for _ in range(2 * STALLED):
            await stack.enter_async_context(stalled(narrow, theirs, STRUCTURED, ROOM_BYTES // STALLED))
        await holds(lambda: holding(narrow, ROOM_BYTES - STALLED))
        for _ in range(STALLED):
            assert (await narrow.post(profile(), key=ours)).status == 201
        sent = [await narrow.post(profile(), key=theirs) for _ in range(2)]
        assert all(reply.status == 201 or reply.problem == "overloaded" for reply in sent)


async def test_a_large_body_that_stalls_makes_way_and_is_told_so(
    narrow: LedgerService, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(queue, "BODY_LATE_SECONDS", 0.05)
    large = b"[" + b" " * LARGE_BYTES + b"]"
    async with stalled(narrow, narrow.admin, BATCH, 2 * LARGE_BYTES) as reader:
        await holds(lambda: holding(narrow, 2 * LARGE_BYTES - 1))

        async def judged() -> bool:
            reply = await narrow.send(BytesIO(large), BATCH)  # type: ignore[arg-type]
            return reply.status == 400  # And no more 503: a batch is not empty.

        await holds(judged)
        assert b" 503 " in await reader.readline()
        told = await reader.readuntil(b"}")
        assert b"Retry-After" in told and b"made way for others" in told


# The queue by itself, with a clock that the test moves


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_who_sends_at_the_least_rate_makes_way_for_nobody():
    clock = Clock()
    queue = Queue(events_max=1, bytes_max=1_000, clock=clock)
    with queue.room("theirs") as room, queue.room("ours") as other:
        room.expect(LARGE_BYTES)
        other.expect(LARGE_BYTES)
        async with room.arriving():
            room.take(100_000)  # That it was fast at first buys it no rest later,
            clock.now += 0.9 * BODY_LATE_SECONDS
            for _ in range(50):
                room.take(BODY_BYTES_A_SECOND_MIN // 10)
                with pytest.raises(Overloaded):
                    other.take(1)
                clock.now += 0.1
            clock.now += BODY_LATE_SECONDS  # and nor does it that it went on for a while.
            other.expect(LARGE_BYTES)


async def test_who_takes_most_makes_way_first_and_a_slow_small_one_gets_in():
    clock = Clock()
    queue = Queue(events_max=1, bytes_max=10_000, clock=clock)

    async def send(key: str, size: int) -> None:
        with queue.room(key) as room:
            room.expect(size)
            async with room.arriving():
                room.take(size)
                await asyncio.Event().wait()

    slow = asyncio.create_task(send("slow", 500))
    others = [asyncio.create_task(send("theirs", size)) for size in (4_000, 3_000, 2_500)]
    await asyncio.sleep(0)
    clock.now += 2 * BODY_LATE_SECONDS
    with queue.room("ours") as ours:
        ours.take(7_000)
        with pytest.raises(Overloaded, match="made way"):
            await others[0]
        with pytest.raises(Overloaded, match="made way"):
            await others[1]
        assert queue.small.bytes == 7_000 + 2_500 + 500
        assert not others[2].done() and not slow.done()
    for task in (slow, others[2]):
        task.cancel()
    await asyncio.gather(slow, others[2], return_exceptions=True)
    assert queue.small.bytes == 0


async def test_of_two_keys_neither_drives_out_the_only_large_body_of_the_other():
    queue = Queue(events_max=1, bytes_max=1_000, clock=Clock())
    with queue.room("a") as a, queue.room("b") as b:
        for room in (a, b):
            room.expect(LARGE_BYTES)
        async with a.arriving(), b.arriving():
            a.take(LARGE_BYTES)
            with pytest.raises(Overloaded):
                b.take(1)
