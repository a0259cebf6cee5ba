"""Which settings each peer is best with, and how the limits compare: in alternation, each setting on tables of its own.

python -m benchmarks.peers.sweep
python -m benchmarks.peers.sweep --only "Emmett, batches" --rounds 9
"""

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import structlog
from rich.console import Console
from rich.table import Table

from benchmarks import limits
from benchmarks.measuring import ROUNDS_MIN, console
from benchmarks.peers import Missing, PeerError, Run, emmett, eventsourcing, message_db, rows
from benchmarks.peers.databases import fresh
from benchmarks.running import EXPLAINED, home
from services.embedded import EmbeddedPostgres
from services.sealing import MasterKeys
from services.settings import Settings

SECONDS = 2.0
WARM_UP_ROUNDS = 1
ROWS = 20_000


Opens = Callable[..., AbstractAsyncContextManager[Run]]
"""What a peer or a limit offers, by the URL of a database, the file of rows, and settings: see `benchmarks.peers`."""


class Tried(NamedTuple):
    opens: Opens
    settings: Mapping[str, Any]

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.settings.items())


def _tried(opens: Opens, names: Sequence[str], *values: Sequence[Any]) -> list[Tried]:
    return [Tried(opens, dict(zip(names, each, strict=True))) for each in values]


PROCESSES_THREADS = ("processes", "threads", "functions")
PROCESSES_CLIENTS = ("processes", "clients")
CLIENTS_CATEGORIES = ("clients", "categories")
GROUPS: Mapping[str, list[Tried]] = {
    "eventsourcing, single": _tried(
        eventsourcing.single,
        PROCESSES_THREADS,
        *((1, 1, False), (1, 2, False), (1, 4, False), (1, 8, False), (2, 4, False), (1, 4, True)),
    ),
    "eventsourcing, batches": _tried(
        eventsourcing.batches,
        PROCESSES_THREADS,
        *((1, 1, False), (1, 2, False), (1, 4, False), (2, 2, False), (2, 4, False), (2, 2, True)),
    ),
    "Emmett, single": _tried(emmett.single, PROCESSES_CLIENTS, (1, 4), (1, 16), (1, 32), (1, 64), (2, 16)),
    "Emmett, batches": _tried(emmett.batches, PROCESSES_CLIENTS, (1, 2), (1, 4), (1, 8), (2, 4), (2, 8)),
    "message-db, single": _tried(
        message_db.single, CLIENTS_CATEGORIES, (16, True), (32, True), (64, True), (8, False), (64, False)
    ),
    "limits, single": _tried(limits.single, ("clients",), (16,), (32,), (64,)),
    "limits, COPY of a batch": _tried(limits.copy_batches, ("connections",), (1,), (2,), (4,), (8,)),
    "limits, one long COPY": _tried(limits.copy_whole, (), ()),
}


async def sweep(groups: Sequence[str], *, rounds: int, seconds: float) -> None:
    """Try the settings of these groups, and print the table of what came of each."""
    table = Table("", "setting", "events a second", "samples")
    with home(None) as directory:
        log = directory / "rows.ndjson"
        rows.write(log, ROWS, MasterKeys.load_or_make(directory / "master.key").newest)
        async with _server(directory) as url:
            for group in groups:
                try:
                    found = await _alternate(group, url, log, rounds, seconds)
                except Missing as missing:
                    console.print(f"{group}: left out, {missing}")
                    continue
                for tried, samples in zip(GROUPS[group], found, strict=True):
                    table.add_row(group, str(tried), f"{median(samples):,.0f}", " ".join(f"{n:.0f}" for n in samples))
    Console(width=160).print(table)


async def _alternate(group: str, url: str, log: Path, rounds: int, seconds: float) -> list[list[float]]:
    tries = GROUPS[group]
    async with AsyncExitStack() as stack:
        runs = []
        for number, tried in enumerate(tries):
            dsn = await stack.enter_async_context(fresh(url, f"tried_{number}"))
            runs.append(await stack.enter_async_context(tried.opens(dsn, log, **tried.settings)))
        samples: list[list[float]] = [[] for _ in tries]
        for number in range(-WARM_UP_ROUNDS, rounds):
            for tried, run, found in zip(tries, runs, samples, strict=True):
                console.print(f"{group}: {tried}, {'warm-up' if number < 0 else f'round {number + 1} of {rounds}'}")
                rate = await run(seconds)
                if number >= 0:
                    found.append(rate)
        return samples


@asynccontextmanager
async def _server(directory: Path) -> AsyncIterator[str]:
    server = EmbeddedPostgres(directory, os_user=Settings.load().database_os_user)
    try:
        await server.start()
        yield server.superuser_url()
    finally:
        await server.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*GROUPS], help="this group only")
    parser.add_argument("--rounds", type=int, default=ROUNDS_MIN)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="that each sample goes on")
    wanted = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        asyncio.run(sweep([wanted.only] if wanted.only else [*GROUPS], rounds=wanted.rounds, seconds=wanted.seconds))
    except (*EXPLAINED, PeerError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
