"""Catching up: all projections from the beginning of a log, and one built anew beside the live one."""

import asyncio
import resource
import signal
import time
from collections.abc import Callable, Sequence
from statistics import median

from msgspec import Struct

from benchmarks.processes import clock_of
from benchmarks.running import POLL_SECONDS, STILL_SECONDS_MAX, RunningError, Served
from services.postgres import connect, ledger_schema
from services.projector.indexing import without_indexes
from services.projector.projections import ALL
from services.settings import Settings
from services.statements import quote
from services.supervisor import environ_of_child, python

REBUILT = "accounts"
"""The projection that is built anew: most of the events are of its topics, and it has several tables."""


class Went(Struct, frozen=True):
    """How many events, in how many seconds, and in how many of the processors."""

    events: int
    seconds: float
    processor_seconds: float


def medians(each: Sequence[Went]) -> Went:
    """Of several times the same."""
    return Went(each[-1].events, median(went.seconds for went in each), median(went.processor_seconds for went in each))


async def forget(settings: Settings, ledger: str) -> None:
    """Drop every read model of a ledger, as if none had been made. No projector runs."""
    connection = await connect(settings.url("projector"))
    schema = quote(ledger_schema(ledger))
    try:
        async with connection.transaction():
            for table in ("cursors", *(table for projection in ALL for table in projection.tables)):
                await connection.execute(f"DROP TABLE IF EXISTS {schema}.{quote(table)}")
    finally:
        await connection.close()


async def catch_up(served: Served, ledger: str, progress: Callable[[int], None] | None = None) -> Went:
    """Start a projector and wait until every projection has come to the head and has its indexes; then stop it.
    `progress` is told the lowest position.

    The processors' seconds are those of the projector, of its start too, and of the whole database.
    """
    clock = clock_of(served)
    before, begun = clock(), time.perf_counter()
    served.start("projector")
    try:
        await served.ready("projector")
        head = await served.caught_up(ledger, progress)
        await _indexed(served, ledger)
        took = time.perf_counter() - begun
        used = clock_of(served, "projector")() - before
    finally:
        served.stop("projector")
    return Went(head, took, used)


async def _indexed(served: Served, ledger: str) -> None:
    """Wait for the last indexes, which are made when positions are at the head already. Raises RunningError if they do
    not come."""
    connection = await connect(served.settings.url("projector"))
    try:
        async with asyncio.timeout(STILL_SECONDS_MAX):
            while await without_indexes(connection, ledger, ALL):
                served.check("projector")
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise RunningError(f"read models of {ledger} have no indexes after {STILL_SECONDS_MAX} s") from None
    finally:
        await connection.close()


async def rebuild(served: Served, ledger: str, head: int) -> Went:
    """`ledger rebuild` of one projection, while the projector runs; with the start of the command."""
    clock = clock_of(served)
    before, children, begun = clock(), _children_seconds(), time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(*python(), "-m", "services.command", "rebuild", REBUILT, "--ledger", ledger),
        env=environ_of_child(served.settings),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        said, _ = await process.communicate()
    except asyncio.CancelledError:
        process.send_signal(signal.SIGTERM)
        raise
    if process.returncode:
        raise RunningError(f"ledger rebuild has ended with {process.returncode}: {said.decode(errors='replace')}")
    used = clock() - before + _children_seconds() - children
    return Went(head, time.perf_counter() - begun, used)


def _children_seconds() -> float:
    """What the processes have taken that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
