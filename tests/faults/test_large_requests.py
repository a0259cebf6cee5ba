"""The memory of the ledger while it is sent more than it can take."""

import asyncio
import re
from io import BytesIO
from pathlib import Path

import aiohttp
import msgspec
import psutil

from services.ledger.queue import LARGE_BYTES_MIN
from services.web import REQUEST_BYTES_MAX
from tests.conftest import Database
from tests.ledger_process import SECONDS_MAX, LedgerProcess, processes
from tests.ledger_service import BATCH, NDJSON, STRUCTURED, holds
from tests.log import event

CLIENTS = 64
EVENTS = 1_000
MEMORY_MIB_MAX = 200
AT_REST_MIB_MAX = 130
CUT_OFF = 30  # Each holds some 8 MiB of what it was sent, and as much of what it was to be answered.


async def test_a_burst_of_the_largest_requests_stays_within_bounds(database: Database) -> None:
    body = batch()
    assert LARGE_BYTES_MIN < 0.9 * REQUEST_BYTES_MAX < len(body) <= REQUEST_BYTES_MAX
    timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
    async with (
        aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as session,
        processes(database.settings, 1, session) as [ledger],
    ):
        statuses = await asyncio.gather(*(post(session, ledger, body, BATCH) for _ in range(CLIENTS)))
        assert {*statuses} <= {200, 201, 503}
        assert 201 in statuses  # Those who are turned away do not keep each other out.
        assert most_mib(ledger) < MEMORY_MIB_MAX

        # The larger ones keep no small one out, and what they took is given back.
        held = asyncio.gather(*(post(session, ledger, body, BATCH) for _ in range(CLIENTS // 8)))
        small = msgspec.json.encode(event("account.profiled", account="small", attributes={"size": 1}))
        assert await post(session, ledger, small, STRUCTURED) == 201
        assert 200 in await held
        assert most_mib(ledger) < MEMORY_MIB_MAX

        async def given_back() -> bool:
            return psutil.Process(ledger.process.pid).memory_info().rss / 2**20 < AT_REST_MIB_MAX

        await holds(given_back)


async def test_what_is_cut_off_is_let_go_of(database: Database) -> None:
    body = batch()
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS_MAX)) as session,
        processes(database.settings, 1, session) as [ledger],
    ):
        assert await post(session, ledger, body, BATCH) == 201
        head = {"Content-Type": BATCH, "Content-Length": str(len(body))}
        for _ in range(CUT_OFF):
            await cut_off(ledger, "POST", head, body[: len(body) // 10 * 9])
            await cut_off(ledger, "GET", {"Accept": NDJSON}, read=1_000)
        assert most_mib(ledger) < MEMORY_MIB_MAX


async def cut_off(
    ledger: LedgerProcess, method: str, headers: dict[str, str], body: bytes = b"", read: int = 0
) -> None:
    """Send so much of a request, read so much of the answer, and go away."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ledger.settings.ledger_port, limit=4_096)
    lines = [f"{name}: {value}" for name, value in (ledger.headers | {"Host": "x"} | headers).items()]
    writer.write("\r\n".join([f"{method} /v1/ledgers/main/events HTTP/1.1", *lines, "", ""]).encode() + body)
    await writer.drain()
    await reader.readexactly(read)
    writer.transport.abort()


def batch() -> bytes:
    """A batch that is nearly as large as a request may be."""
    texts = [["x" * 200] * 8] * 10
    attributes = {f"texts-{number}": text for number, text in enumerate(texts)}
    return msgspec.json.encode(
        [event("account.profiled", id=f"large-{n}", account=f"a-{n}", attributes=attributes) for n in range(EVENTS)]
    )


async def post(session: aiohttp.ClientSession, ledger: LedgerProcess, body: bytes, media: str) -> int:
    async with session.post(
        f"{ledger.url}/v1/ledgers/main/events", data=BytesIO(body), headers=ledger.headers | {"Content-Type": media}
    ) as answer:
        await answer.read()
        return answer.status


def most_mib(ledger: LedgerProcess) -> float:
    """The most memory that the process has held, in MiB, as the kernel counts it."""
    status = Path(f"/proc/{ledger.process.pid}/status").read_text()
    [kib] = re.findall(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(kib) / 1024
