"""What nobody reads takes no more room than there is: the bytes that a process holds of answers, and who makes way."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from io import BytesIO

import aiohttp
import msgspec

from tests.conftest import Database
from tests.ledger_process import SECONDS_MAX, LedgerProcess, processes
from tests.ledger_service import BATCH, EVENTS, NDJSON, holds
from tests.log import event

LARGE_EVENTS = 150  # Some 6 MiB: more than a page of the log, and than buffers of a connection hold.
SILENT = 50  # At a time, half of them with 4 MiB each to read and half with all of the log.
TIMES = 3
READ_BYTES = 64 * 1024  # At once, by who reads slowly, and between two of these
READ_PAUSE_SECONDS = 0.15
MEMORY_MIB_MAX = 200


async def test_who_does_not_read_makes_way_for_who_does(database: Database):
    timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        processes(database.settings, 1, session) as [ledger],
    ):
        large = {f"name {number}": "x" * 2_000 for number in range(20)}
        profiles = [event("account.profiled", account=f"a-{n}", attributes=large) for n in range(LARGE_EVENTS)]
        body = BytesIO(msgspec.json.encode(profiles))
        async with session.post(ledger.url + EVENTS, data=body, headers=ledger.headers | {"Content-Type": BATCH}) as it:
            assert it.status == 201
        whole = await get(session, ledger, f"{EVENTS}?limit=1000")
        assert whole is not None

        async with asking_slowly(ledger) as slow, AsyncExitStack() as silent:
            for _ in range(TIMES):
                for number in range(SILENT):
                    silent.enter_context(ask(ledger, NDJSON if number % 2 else "application/json"))
                assert await get(session, ledger, f"{EVENTS}?limit=1") is not None  # What is small needs no room.

                async def answered() -> bool:
                    return await get(session, ledger, f"{EVENTS}?limit=1000") == whole

                await holds(answered)
            assert await slow == whole
        assert ledger.most_mib() < MEMORY_MIB_MAX
        async with session.get(ledger.url + "/metrics") as metrics:
            [cut_off] = re.findall(r"^http_unread_answers_cut_total (.+)$", await metrics.text(), re.MULTILINE)
        assert ledger.output().count('"unread_answer_cut"') == float(cut_off) > 0
        assert "Traceback" not in ledger.output()


async def get(session: aiohttp.ClientSession, ledger: LedgerProcess, path: str) -> bytes | None:
    """The answer; none if there is no room for it just now."""
    async with session.get(ledger.url + path, headers=ledger.headers) as answer:
        body = await answer.read()
        if answer.status == 503:
            assert answer.headers["Retry-After"] == "1"
            return None
        assert answer.status == 200
        return body


def ask(ledger: LedgerProcess, media: str) -> socket.socket:
    """A connection on which a page of the log, or all of it, is asked for, and nothing read."""
    asking = socket.create_connection(("127.0.0.1", ledger.settings.ledger_port))
    asking.sendall(request(ledger, media))
    return asking


@contextlib.asynccontextmanager
async def asking_slowly(ledger: LedgerProcess) -> AsyncIterator[Awaitable[bytes]]:
    """The body of a page of the log, whose head has been read already and the rest is read bit by bit."""
    asking = socket.socket()
    asking.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, READ_BYTES)
    asking.connect(("127.0.0.1", ledger.settings.ledger_port))
    reader, writer = await asyncio.open_connection(sock=asking, limit=READ_BYTES)
    writer.write(request(ledger, "application/json"))
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head

    async def read() -> bytes:
        body = b""
        while len(body) < int(re.findall(rb"Content-Length: (\d+)", head)[0]):
            read = await reader.read(READ_BYTES)
            assert read, f"cut off after {len(body)} bytes"
            body += read
            await asyncio.sleep(READ_PAUSE_SECONDS)
        return body

    reading = asyncio.create_task(read())
    try:
        yield reading
    finally:
        reading.cancel()
        writer.close()


def request(ledger: LedgerProcess, media: str) -> bytes:
    headers = ledger.headers | {"Host": "x", "Accept": media}
    lines = [f"GET {EVENTS}?limit=1000 HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode()
