"""Who is measured beside the ledger: the peers, the limits, and the empty handler. Whoever cannot be run here, or fails
once, is left out with the reason; the others go on."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from math import nan
from typing import Any
from urllib.parse import urlsplit

import asyncpg
from msgspec import Struct

from benchmarks import limits, recording
from benchmarks.clients import connected
from benchmarks.found import Found, reason
from benchmarks.measuring import Case, Figure
from benchmarks.peers import Missing, PeerError, Run, databases, emmett, eventsourcing, message_db, rows
from benchmarks.plan import scale
from benchmarks.rig import Rig
from benchmarks.running import free_ports
from services.sealing import MasterKeys

OURS = "ledger"


class Compared(Struct, frozen=True):
    """Somebody who is measured beside the ledger, what runs them (as `benchmarks.peers` says), and the figure that says
    how many times as many events the ledger has done. A limit is measured in a toy, too."""

    name: str
    manager: Callable[..., AbstractAsyncContextManager[Run]]
    figure: str
    limit: bool = False
    database: bool = True


SINGLE = (
    Compared("eventsourcing", eventsourcing.single, "single_vs_eventsourcing"),
    Compared("Emmett", emmett.single, "single_vs_emmett"),
    Compared("message-db", message_db.single, "single_vs_message_db"),
    Compared("INSERT by pgbench", limits.single, "single_vs_insert", limit=True),
)
BATCHES = (
    Compared("COPY, 100 a transaction", limits.copy_batches, "batch_vs_copy", limit=True),
    Compared("one long COPY", limits.copy_whole, "batch_vs_long_copy", limit=True),
    Compared("Emmett", emmett.batches, "batch_vs_emmett"),
    Compared("eventsourcing", eventsourcing.batches, "batch_vs_eventsourcing"),
    Compared("sha256", limits.hashes, "batch_vs_sha256", limit=True, database=False),
)
CATCHUP = (
    Compared("eventsourcing", eventsourcing.catchup, "catchup_vs_eventsourcing"),
    Compared("Emmett", emmett.catchup, "catchup_vs_emmett"),
)


async def ready(rig: Rig, stack: AsyncExitStack, compared: tuple[Compared, ...], *more: int) -> dict[str, Case]:
    """Those who can be run here, until the stack is closed; of the others it is kept why not. `more`: what their
    managers take beside the rows."""
    file = rig.directory / f"rows-{rig.plan.peer_rows}.jsonl"
    cases: dict[str, Case] = {}
    for each in compared:
        if not rig.plan.peers and not each.limit:
            rig.found.missing[each.figure] = "a toy is measured without peers"
            continue
        rig.say(f"{each.name}: getting ready")
        try:
            master = MasterKeys.load_or_make(rig.settings.master_key).newest
            await asyncio.to_thread(rows.write, file, rig.plan.peer_rows, master, seed=rig.seed)
            given: list[Any] = [file, *more]
            if each.database:
                made = databases.fresh(rig.superuser("postgres"), each.figure)
                given.insert(0, await stack.enter_async_context(made))
            run = await stack.enter_async_context(each.manager(*given))
        except (Missing, PeerError) as error:
            rig.found.missing[each.figure] = reason(error)
            continue
        cases[each.name] = partial(_once, rig, each, run)
    return cases


async def _once(rig: Rig, compared: Compared, run: Run) -> float:
    """A run of one of them. Whoever fails once is left out, and nobody else with it."""
    if compared.figure in rig.found.missing:
        return nan
    try:
        return await run(rig.plan.window)
    except (PeerError, asyncpg.PostgresError, OSError, TimeoutError) as error:
        rig.found.missing[compared.figure] = reason(error)
        return nan


def ratios(found: Found, samples: Mapping[str, list[float]], compared: tuple[Compared, ...]) -> None:
    """Keep how many times as many events the ledger has done as each who was measured."""
    for each in compared:
        if each.name in samples:
            found.figures[each.figure] = Figure.ratio(samples[OURS], samples[each.name])


@asynccontextmanager
async def empty_handler(rig: Rig, processes: int) -> AsyncIterator[recording.Load]:
    """The same requests, to a handler that reads the body and answers 201."""
    [port] = free_ports(1)
    async with (
        limits.empty_handler(port, processes=processes) as url,
        connected(port, recording.SINGLE_CONNECTIONS) as clients,
    ):
        path, short = urlsplit(url).path, rig.plan.short
        feed = recording.Feed(path, short, scale(short), recording.key(rig.served), events=1)
        yield recording.Load(clients, feed, 1)
