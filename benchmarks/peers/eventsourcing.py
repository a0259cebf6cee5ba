"""The library `eventsourcing`: its PostgreSQL recorder, with psycopg's C build, and its ProjectionRunner.

Each append locks the table until its commit is on disk, so more than a few threads gain nothing. `functions` is the
mode POSTGRES_ENABLE_DB_FUNCTIONS of the library, which takes no lock, so that a reader can pass by events that are
committed late: it is not what a user who projects may choose, and is here to say what the lock costs.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

from benchmarks.peers import BATCH_EVENTS, Missing, Run
from benchmarks.peers.databases import commit_read_models_as_the_ledger_does
from benchmarks.peers.workers import workers

SINGLE = (1, 4)
"""Processes, and threads (with a connection each) in each of them."""
BATCHES = (1, 4)

_COMMAND = (sys.executable, "-m", "benchmarks.peers.eventsourcing_worker")
_STORED = "SELECT count(*) FROM stored_events"
_VIEWED = "SELECT coalesce(sum(events), 0) FROM seen"


@asynccontextmanager
async def single(
    dsn: str, rows: Path, *, processes: int = SINGLE[0], threads: int = SINGLE[1], functions: bool = False
) -> AsyncIterator[Run]:
    """One event a call of `insert_events`. Raises Missing."""
    async with _appending(dsn, rows, 1, processes, threads, functions) as run:
        yield run


@asynccontextmanager
async def batches(
    dsn: str, rows: Path, *, processes: int = BATCHES[0], threads: int = BATCHES[1], functions: bool = False
) -> AsyncIterator[Run]:
    """BATCH_EVENTS events a call of `insert_events`. Raises Missing."""
    async with _appending(dsn, rows, BATCH_EVENTS, processes, threads, functions) as run:
        yield run


@asynccontextmanager
async def catchup(dsn: str, rows: Path, events: int) -> AsyncIterator[Run]:
    """A ProjectionRunner whose view counts the events of each stream and keeps the last topic. Raises Missing."""
    _check_installed()
    await commit_read_models_as_the_ledger_does(dsn)
    job = {"does": "catchup", "dsn": dsn, "rows": str(rows), "events": events}
    async with workers(_COMMAND, [job], dsn, _VIEWED, anew=True) as run:
        yield run


@asynccontextmanager
async def _appending(
    dsn: str, rows: Path, batch: int, processes: int, threads: int, functions: bool
) -> AsyncIterator[Run]:
    _check_installed()
    job = {"does": "append", "dsn": dsn, "rows": str(rows), "batch": batch, "threads": threads, "functions": functions}
    jobs = [job | {"part": part, "parts": processes} for part in range(processes)]
    async with workers(_COMMAND, jobs, dsn, _STORED) as run:
        yield run


def _check_installed() -> None:
    if find_spec("psycopg") is None or find_spec("psycopg_binary") is None:
        raise Missing("the library's PostgreSQL recorder needs psycopg and its C build: make setup installs them")
