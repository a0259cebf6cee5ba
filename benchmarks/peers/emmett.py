"""Emmett: its store in PostgreSQL, and its projections, from Node.js.

A batch is appended to one stream, as `appendToStream` has it. The projection is of raw SQL, one upsert an event; its
documents (Pongo) take two statements an event.
"""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from benchmarks.peers import BATCH_EVENTS, Run, packages
from benchmarks.peers.databases import commit_read_models_as_the_ledger_does
from benchmarks.peers.workers import workers

SINGLE = (1, 16)
"""Processes, and clients (with a connection each) in each of them."""
BATCHES = (2, 4)

_WORKER = Path(__file__).with_suffix(".mjs")
_STORED = "SELECT count(*) FROM emt_messages"
_VIEWED = "SELECT coalesce(sum(events), 0)::bigint FROM seen"


@asynccontextmanager
async def single(dsn: str, rows: Path, *, processes: int = SINGLE[0], clients: int = SINGLE[1]) -> AsyncIterator[Run]:
    """One event a call of `appendToStream`. Raises Missing."""
    async with _appending(dsn, rows, 1, processes, clients) as run:
        yield run


@asynccontextmanager
async def batches(
    dsn: str, rows: Path, *, processes: int = BATCHES[0], clients: int = BATCHES[1]
) -> AsyncIterator[Run]:
    """BATCH_EVENTS events a call of `appendToStream`. Raises Missing."""
    async with _appending(dsn, rows, BATCH_EVENTS, processes, clients) as run:
        yield run


@asynccontextmanager
async def catchup(dsn: str, rows: Path, events: int) -> AsyncIterator[Run]:
    """A rebuild of a projection that counts the events of each stream and keeps the last type. Raises Missing."""
    command = await _command()
    await commit_read_models_as_the_ledger_does(dsn)
    job = _job(dsn, rows, BATCH_EVENTS, 1) | {"does": "catchup", "part": 0, "parts": 1, "events": events}
    async with workers(command, [job], dsn, _VIEWED, anew=True) as run:
        yield run


@asynccontextmanager
async def _appending(dsn: str, rows: Path, batch: int, processes: int, clients: int) -> AsyncIterator[Run]:
    command = await _command()
    job = _job(dsn, rows, batch, clients) | {"does": "append", "parts": processes}
    async with workers(command, [job | {"part": part} for part in range(processes)], dsn, _STORED) as run:
        yield run


def _job(dsn: str, rows: Path, batch: int, clients: int) -> dict[str, object]:
    return {"dsn": dsn, "rows": str(rows), "batch": batch, "clients": clients}


async def _command() -> list[str]:
    await packages.installed()
    node = shutil.which("node")
    assert node is not None
    return [node, str(_WORKER)]
