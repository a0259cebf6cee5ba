"""What the ledger's figures cannot exceed: the same rows written to the same table with nothing before it, an HTTP
handler with nothing behind it, and the digest of the same bytes. In the shape of the peers, see `benchmarks.peers`.

The table is made by the ledger's own migrations, so columns and indexes are those of a log. Only its triggers go: one
of them refuses a gap between positions, which many who insert at once cannot help.
"""

import asyncio
import contextlib
import os
import signal
import struct
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count, islice
from pathlib import Path

import aiohttp
import asyncpg

from benchmarks.peers import BATCH_EVENTS, PeerError, Run
from benchmarks.peers.databases import Check, counted
from benchmarks.peers.pgbench import pgbench, stage
from benchmarks.peers.rows import read
from services import launch
from services.archive.lines import EventRow
from services.migrate import migrate
from services.postgres import ledger_schema
from services.settings import Settings
from services.statements import fill, quote
from services.supervisor import python

ROWS_MAX = 20_000
CLIENTS = 64
CONNECTIONS = 4
PREPARED_A_SECOND = 60_000  # Rows that are encoded before a COPY of a second; with the last of them it ends.
READY_SECONDS_MAX = 30
POLL_SECONDS = 0.02

_SCHEMA = ledger_schema("main")
_SCRIPT = Path(__file__).with_suffix(".sql")
_COUNT = fill("SELECT count(*) FROM {schema}.stored_events", schema=_SCHEMA)
_STAGED = "CREATE UNLOGGED TABLE staged (number integer PRIMARY KEY, LIKE {schema}.stored_events)"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

# COPY in PostgreSQL's binary format: a header, the rows, a trailer.
_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_TRAILER = struct.pack("!h", -1)


@asynccontextmanager
async def single(dsn: str, rows: Path, *, clients: int = CLIENTS) -> AsyncIterator[Run]:
    """pgbench inserts one row a transaction."""
    connection = await _log(dsn)
    try:
        staged = [*islice(read(rows), ROWS_MAX)]
        await connection.execute("CREATE SEQUENCE positions")
        await stage(connection, fill(_STAGED, schema=_SCHEMA), staged, columns=EventRow._fields)
    finally:
        await connection.close()
    async with pgbench(dsn, _SCRIPT, clients=clients, rows=len(staged), count=_COUNT) as run:
        yield run


@asynccontextmanager
async def copy_batches(dsn: str, rows: Path, *, connections: int = CONNECTIONS) -> AsyncIterator[Run]:
    """COPY of BATCH_EVENTS rows a transaction, as the ledger commits them."""
    async with _copying(dsn, rows, connections) as (writers, encoded, check):

        async def run(seconds: float) -> float:
            batches = iter([*islice(encoded, round(seconds * PREPARED_A_SECOND / BATCH_EVENTS))])
            begun = time.perf_counter()

            async def write(connection: asyncpg.Connection) -> int:
                written = 0
                for batch in batches:
                    await _copy(connection, memoryview(_HEADER + batch + _TRAILER))
                    written += BATCH_EVENTS
                    if time.perf_counter() >= begun + seconds:
                        break
                return written

            written = sum(await asyncio.gather(*map(write, writers)))
            ended = time.perf_counter()
            await check(written)
            return written / (ended - begun)

        yield run


@asynccontextmanager
async def copy_whole(dsn: str, rows: Path) -> AsyncIterator[Run]:
    """One COPY of all rows, in one transaction: what a table takes at most, though nobody is told of an event before
    the last is written."""
    async with _copying(dsn, rows, 1) as ([connection], encoded, check):

        async def run(seconds: float) -> float:
            batches = [*islice(encoded, round(seconds * PREPARED_A_SECOND / BATCH_EVENTS))]
            written = 0
            begun = time.perf_counter()

            async def source() -> AsyncIterator[bytes]:
                nonlocal written
                yield _HEADER
                for batch in batches:
                    yield batch
                    written += BATCH_EVENTS
                    if time.perf_counter() >= begun + seconds:
                        break
                yield _TRAILER

            await _copy(connection, source())
            ended = time.perf_counter()
            await check(written)
            return written / (ended - begun)

        yield run


@asynccontextmanager
async def hashes(rows: Path) -> AsyncIterator[Run]:
    """SHA-256 of each record, as a leaf of the tree: records a second of one processor."""
    leaves = [b"\x00" + row.state for row in islice(read(rows), ROWS_MAX)]

    def digest(seconds: float) -> float:
        done = 0
        begun = time.perf_counter()
        while (now := time.perf_counter()) < begun + seconds:
            for leaf in leaves:
                sha256(leaf).digest()
            done += len(leaves)
        return done / (now - begun)

    async def run(seconds: float) -> float:
        return await asyncio.to_thread(digest, seconds)

    yield run


@asynccontextmanager
async def empty_handler(port: int, *, processes: int = 1) -> AsyncIterator[str]:
    """An aiohttp handler that reads the body and answers 201: the URL to post to. Raises PeerError."""
    url = f"http://127.0.0.1:{port}/"
    process = await asyncio.create_subprocess_exec(
        *launch.command("--parent", str(os.getpid()), "--signal", str(int(signal.SIGKILL)), "--", *python()),
        *("-m", "benchmarks.empty_handler", "--port", str(port), "--processes", str(processes)),
    )
    try:
        await _ready(url, process)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _log(dsn: str) -> asyncpg.Connection:
    """A connection to a database that has got the empty log of a ledger, without its triggers."""
    with tempfile.TemporaryDirectory() as home:
        await migrate(Settings(home=Path(home), database_url=dsn), know_keys=False)
    connection = await asyncpg.connect(dsn)
    triggers = await connection.fetch(
        "SELECT tgname FROM pg_trigger WHERE tgrelid = $1::text::regclass AND NOT tgisinternal",
        f"{_SCHEMA}.stored_events",
    )
    for row in triggers:
        await connection.execute(f"DROP TRIGGER {quote(row['tgname'])} ON {_SCHEMA}.stored_events")
    return connection


@asynccontextmanager
async def _copying(
    dsn: str, rows: Path, connections: int
) -> AsyncIterator[tuple[list[asyncpg.Connection], Iterator[bytes], Check]]:
    """Connections to an empty log, its rows to be in batches, and the check of how many have been added."""
    async with AsyncExitStack() as stack:
        writers = [await _log(dsn)]
        stack.push_async_callback(writers[0].close)
        while len(writers) < connections:
            writers.append(await asyncpg.connect(dsn))
            stack.push_async_callback(writers[-1].close)
        check = await stack.enter_async_context(counted(dsn, _COUNT))
        yield writers, _batches([*islice(read(rows), ROWS_MAX)]), check


async def _copy(connection: asyncpg.Connection, source: memoryview | AsyncIterator[bytes]) -> None:
    await connection.copy_to_table(
        "stored_events", schema_name=_SCHEMA, columns=EventRow._fields, source=source, format="binary"
    )


def _batches(rows: Sequence[EventRow]) -> Iterator[bytes]:
    """These rows over and over, encoded, BATCH_EVENTS at a time. Whatever may be there once only is another each time
    around: position, version, and the last bits of the id."""
    batch = []
    parts = [_parts(row) for row in rows]
    for around in count():
        before = around * len(rows)
        for row, (stream, content, rest) in zip(rows, parts, strict=True):
            batch.append(
                b"".join(
                    (
                        stream,
                        struct.pack("!iq", 8, row.originator_version + before),
                        content,
                        struct.pack("!iqi", 8, row.notification_id + before, 16),
                        (row.event_id.int ^ around).to_bytes(16),
                        rest,
                    )
                )
            )
            if len(batch) == BATCH_EVENTS:
                yield b"".join(batch)
                batch = []


def _parts(row: EventRow) -> tuple[bytes, bytes, bytes]:
    """A row in the binary format, in three parts: what follows the first is the version, the second position and id."""
    recorded_at = (row.recorded_at - _EPOCH) // timedelta(microseconds=1)
    return (
        struct.pack("!h", len(EventRow._fields)) + _field(row.originator_id.bytes),
        _field(row.topic.encode()) + _field(row.state),
        b"".join(
            (
                _field(row.subject.encode()),
                _field(row.source.encode()),
                _field(struct.pack("!q", recorded_at)),
                _field(struct.pack("!?", row.sealed)),
                _field(row.content),
                _field(row.leaf_hash),
            )
        ),
    )


def _field(value: bytes) -> bytes:
    return struct.pack("!i", len(value)) + value


async def _ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with aiohttp.ClientSession() as session, asyncio.timeout(READY_SECONDS_MAX):
        while process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.post(url, data=b"") as answer:
                    if answer.status == 201:
                        return
            await asyncio.sleep(POLL_SECONDS)
    raise PeerError(f"the empty handler has ended with {process.returncode}; stderr has what it said")
