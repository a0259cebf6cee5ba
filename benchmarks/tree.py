"""What the tree costs those who record: the same process records with it and without, in alternation, over HTTP.

Without: the benchmark itself holds the lock by which one process integrates, so none does. With: all that was recorded
without has been integrated before the clock starts. In the end of each window, while recording goes on as fast as
before, it is measured how long it takes until a checkpoint has the event that was acknowledged last.
"""

import asyncio
import sys
import time
from collections import deque
from contextlib import AsyncExitStack
from functools import partial
from itertools import islice
from pathlib import Path

import asyncpg
import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import company
from benchmarks.measuring import ROUNDS_MIN, WARM_UP_ROUNDS, Case, Figure, alternate, console, progress_bar, write
from benchmarks.processes import clock_of
from benchmarks.running import (
    EXPLAINED,
    POLL_SECONDS,
    STILL_SECONDS_MAX,
    RunningError,
    Served,
    database,
    home,
    load_once,
    services,
    vacuum,
)
from services.ledger.integrator import LOCK
from services.postgres import connect
from services.settings import Settings

LEDGER = "tree"
EVENTS, QUICK_EVENTS = 200_000, 2_000
ROUNDS = 30
WINDOW_SECONDS = 4.0
SECONDS_MAX = 1_800
BODIES_AHEAD_SECONDS = 1.5
"""So many windows' bodies are made before each window, at the greatest rate so far."""

COST_MAX, LAG_SECONDS_MAX = 1.1, 1.0

WITH, WITHOUT = "with the tree", "without"


class Kind(Struct, frozen=True):
    """How events are posted: so many a request, from so many connections."""

    name: str
    events: int
    connections: int

    @property
    def content_type(self) -> str:
        return "application/cloudevents+json" if self.events == 1 else "application/cloudevents-batch+json"


KINDS = (Kind("batches of 100, 4 connections", 100, 4), Kind("single events, 32 connections", 1, 32))


@click.command()
@click.option("--events", type=click.IntRange(1_000), default=EVENTS, show_default=True, help="In the log beforehand.")
@click.option("--quick", is_flag=True, help=f"{QUICK_EVENTS:,} events and short windows: does it run?")
@click.option("--rounds", type=click.IntRange(ROUNDS_MIN), default=ROUNDS, show_default=True)
@click.option("--window", type=click.FloatRange(0.5), default=WINDOW_SECONDS, show_default=True, help="In seconds.")
@click.option("--seed", type=int, default=company.SEED, show_default=True)
@click.option("--name", default="tree", show_default=True, help="Of the file in benchmarks/results.")
def main(events: int, quick: bool, rounds: int, window: float, seed: int, name: str) -> None:
    """Measure what recording costs with the tree and without.

    It starts a PostgreSQL and a ledger of its own, on loopback only, and ends them.

    \b
    Examples:
      python -m benchmarks.tree --quick
      python -m benchmarks.tree --rounds 10 --window 2
    """
    if quick:
        events, rounds, window = QUICK_EVENTS, ROUNDS_MIN, 1.0
        name = f"{name}-quick" if name == "tree" else name
    try:
        asyncio.run(_measure(events, rounds, window, seed, name))
    except EXPLAINED as error:
        console.print(str(error), markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("Stopped.")


async def _measure(events: int, rounds: int, window: float, seed: int, name: str) -> None:
    with home(None) as directory, progress_bar() as progress:
        async with database(directory, [LEDGER]) as settings:
            task = progress.add_task("recording the log", total=events)
            await load_once(settings, LEDGER, events, partial(progress.advance, task), seed=seed)
            await vacuum(settings, LEDGER)
            async with services(settings, "ledger") as served, Integration(settings, served, LEDGER) as integration:
                recordings = [Recording(served, integration, LEDGER, kind, events) for kind in KINDS]
                rates = {each.kind.name: await _rates(each, rounds, window, progress) for each in recordings}
    figures, more = {}, {}
    for each in recordings:
        rate, processors = rates[each.kind.name], each.processors(rounds)
        figures[f"cost: {each.kind.name}"] = Figure.ratio(rate[WITHOUT], rate[WITH])
        figures[f"processors' cost: {each.kind.name}"] = Figure.ratio(processors[WITH], processors[WITHOUT])
        figures[f"lag_s: {each.kind.name}"] = Figure.of(each.lags[-len(rate[WITH]) :])
        more[each.kind.name] = {case: [round(value) for value in values] for case, values in rate.items()}
    Console().print(_table(figures, more))
    path = write(
        name,
        figures,
        log={"events_beforehand": events, "events": integration.size},
        window_seconds=window,
        recorded_events_a_second=more,
    )
    console.print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


async def _rates(recording: "Recording", rounds: int, window: float, progress: Progress) -> dict[str, list[float]]:
    task = progress.add_task(recording.kind.name, total=2 * (rounds + WARM_UP_ROUNDS))
    return await alternate(
        {WITH: recording.window(window, WITH), WITHOUT: recording.window(window, WITHOUT)},
        rounds=rounds,
        seconds_max=SECONDS_MAX / len(KINDS),
        progress=lambda doing: progress.update(task, description=f"{recording.kind.name}: {doing}", advance=1),
        mirrored=True,
    )


class Integration:
    """Whether anything is integrated: nothing is while the benchmark holds the lock of those who do."""

    def __init__(self, settings: Settings, served: Served, ledger: str) -> None:
        self.size = 0
        """Of the last checkpoint that was seen."""
        self._settings = settings
        self._url = f"{served.ledger}/{ledger}"
        self._session = served.session
        self._held = False

    async def __aenter__(self) -> "Integration":
        self._stack = AsyncExitStack()
        self._holder: asyncpg.Connection = await connect(self._settings.url("writer"))
        self._stack.push_async_callback(self._holder.close)
        self._other: asyncpg.Connection = await connect(self._settings.url("writer"))
        self._stack.push_async_callback(self._other.close)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def stop(self) -> None:
        """Take the lock from whoever has it."""
        if self._held:
            return
        waiting = asyncio.create_task(self._holder.execute("SELECT pg_advisory_lock($1)", LOCK))
        while not waiting.done():
            # Who waits in line gets it before the ledger tries again.
            await self._other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                " AND (classid::bigint << 32 | objid::bigint) = $1 AND pid <> $2",
                LOCK,
                self._holder.get_server_pid(),
            )
            await asyncio.wait([waiting], timeout=POLL_SECONDS)
        await waiting
        self._held = True

    async def go_on(self, served: Served) -> None:
        """Give the lock free, and wait until a checkpoint has all that is recorded."""
        if self._held:
            await self._holder.execute("SELECT pg_advisory_unlock($1)", LOCK)
            self._held = False
        status = await served.get(self._url)
        await self.reached(int(status["head"]))

    async def reached(self, position: int) -> None:
        """Wait until a checkpoint has this position. Raises RunningError."""
        deadline = time.monotonic() + STILL_SECONDS_MAX
        while True:
            async with self._session.get(f"{self._url}/checkpoint") as answer:
                note = await answer.text()
                if answer.status == 200:
                    self.size = int(note.split("\n")[1])
                if self.size >= position:
                    return
            if time.monotonic() > deadline:
                raise RunningError(f"no checkpoint has {position} after {STILL_SECONDS_MAX} s; the last: {note}")
            await asyncio.sleep(0.01)


class Recording:
    """Clients that post events of a company as fast as they are acknowledged."""

    def __init__(
        self,
        served: Served,
        integration: Integration,
        ledger: str,
        kind: Kind,
        events: int,
        of: company.Scale | None = None,
    ) -> None:
        self.kind = kind
        self.lags: list[float] = []
        """Seconds from an acknowledgement to a checkpoint that has it, in each window with the tree."""
        self._processors: dict[str, list[float]] = {WITH: [], WITHOUT: []}
        self._served = served
        self._ledger = ledger
        self._clock = clock_of(served, "ledger")
        self._integration = integration
        self._more = company.growth(events, seed=time.time_ns(), of=of or company.scale(events))
        self._bodies: deque[bytes] = deque()
        self._fastest = 0.0
        self._acknowledged = 0
        self._last = 0

    def processors(self, rounds: int) -> dict[str, list[float]]:
        """Seconds of processors that ledger and database took an event, in each window that counts."""
        return {case: taken[WARM_UP_ROUNDS:] for case, taken in self._processors.items()}

    def window(self, seconds: float, case: str) -> Case:
        """Events acknowledged a second."""

        async def run() -> float:
            if case == WITH:
                await self._integration.go_on(self._served)
            else:
                await self._integration.stop()
            self._make_bodies(seconds)
            self._acknowledged = 0
            going_on = asyncio.Event()
            going_on.set()
            used, begun = self._clock(), time.perf_counter()
            clients = [asyncio.create_task(self._post(going_on)) for _ in range(self.kind.connections)]
            try:
                await asyncio.wait(clients, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
                took, recorded, position = time.perf_counter() - begun, self._acknowledged, self._last
                self._processors[case].append((self._clock() - used) / max(1, recorded))
                if case == WITH:
                    until = time.perf_counter()
                    await self._integration.reached(position)
                    self.lags.append(time.perf_counter() - until)
            finally:
                going_on.clear()
                await asyncio.gather(*clients)
            if not recorded:
                raise RunningError(f"nothing was recorded within {seconds:g} s; give it longer windows")
            self._fastest = max(self._fastest, recorded / took)
            return recorded / took

        return run

    async def _post(self, going_on: asyncio.Event) -> None:
        url = f"{self._served.ledger}/{self._ledger}/events"
        headers = {"Content-Type": self.kind.content_type}
        while going_on.is_set():
            body = self._bodies.popleft() if self._bodies else self._body()
            async with self._served.session.post(url, data=body, headers=headers) as answer:
                content = await answer.read()
                if answer.status != 201:
                    raise RunningError(f"POST {url}: {answer.status} {content[:2000].decode(errors='replace')}")
            self._acknowledged += self.kind.events
            self._last = max(self._last, msgspec.json.decode(content, type=_Answer).results[-1].position)

    def _make_bodies(self, seconds: float) -> None:
        wanted = round(self._fastest * seconds * BODIES_AHEAD_SECONDS / self.kind.events)
        while len(self._bodies) < wanted:
            self._bodies.append(self._body())

    def _body(self) -> bytes:
        events = [*islice(self._more, self.kind.events)]
        return msgspec.json.encode(events[0] if self.kind.events == 1 else events)


class _Result(Struct, frozen=True):
    position: int


class _Answer(Struct, frozen=True):
    results: list[_Result]


def _table(figures: dict[str, Figure], rates: dict[str, dict[str, list[int]]]) -> Table:
    table = Table(title="Recording with the tree: medians")
    for heading in ("", *(kind.name for kind in KINDS), "wanted"):
        table.add_column(heading, justify="right" if heading else "left")
    for case in (WITH, WITHOUT):
        shown = (f"{Figure.of(rates[kind.name][case]).value:,.0f}" for kind in KINDS)
        table.add_row(f"events a second {case}", *shown, "")
    for title, wanted in (
        ("cost", f"at most {COST_MAX:g}"),
        ("processors' cost", ""),
        ("lag_s", f"at most {LAG_SECONDS_MAX:g}"),
    ):
        found = [figures[f"{title}: {kind.name}"] for kind in KINDS]
        table.add_row(title, *(f"{each.value:.2f}" for each in found), wanted)
    longest = (f"{max(figures[f'lag_s: {kind.name}'].samples):.2f}" for kind in KINDS)
    table.add_row("longest lag_s", *longest, "")
    return table


if __name__ == "__main__":
    main()
