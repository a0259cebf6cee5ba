"""All figures in one run, on one machine: the ledger beside what a user would pick instead, and beside the limits.

Whatever is compared runs in alternation. What fails is left out of the table, with the reason, and the rest goes on.
"""

import asyncio
import importlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from math import isnan, nan
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import click
import msgspec
import uvloop
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks import asking, company, history, limits, projecting, recording, starting, tree, what_if
from benchmarks.clients import ClientError, connected
from benchmarks.figures import AIMS, NOT_PART, Line, lines, shown, slope_per_hour
from benchmarks.measuring import (
    ROUNDS_MIN,
    Case,
    Figure,
    alternate,
    console,
    machine,
    milliseconds,
    progress_bar,
    rounded,
)
from benchmarks.page import page
from benchmarks.peers import Missing, PeerError, Run, databases, rows
from benchmarks.processes import Watch, peak_mb, watching
from benchmarks.running import (
    EXPLAINED,
    Served,
    database,
    free_ports,
    home,
    load_once,
    services,
    vacuum,
)
from benchmarks.storage import storage
from services.migrate import migrate
from services.sealing import MasterKeys
from services.settings import Settings

ACCOUNTS, REQUIREMENTS = 10_000, 5_000
SHORT_EVENTS = 10_000
RESULTS = Path(__file__).with_name("results.json")
TABLE_COLUMNS = 150
REASON_CHARACTERS_MAX = 300
HOUR_SECONDS = 3_600
SLOPE_SECONDS_MIN = 600  # What is taken up in the first minutes is no growth.

SHORT, GROWN, BURST = "short", "grown", "burst"
"""Ledgers: one that is asked, one that is recorded in, one for large requests. The long ones have their length."""

SHORT_STEPS = ("single", "batches", "tree", "latency", "catchup", "memory")
LONG_STEPS = ("growth", "queries", "history", "what-if", "rebuild", "storage")
STEPS = (*SHORT_STEPS, *LONG_STEPS, "start")

OURS, EMPTY, EMPTY_EACH = "ledger", "empty handler", "empty handler, as many processes"


class Compared(Struct, frozen=True):
    """Who is measured beside the ledger: a module of benchmarks, the context manager in it, and the figure that says
    how many times as many events the ledger records."""

    name: str
    module: str
    manager: str
    figure: str
    database: bool = True


SINGLE = (
    Compared("eventsourcing", "benchmarks.peers.eventsourcing", "single", "single_vs_eventsourcing"),
    Compared("Emmett", "benchmarks.peers.emmett", "single", "single_vs_emmett"),
    Compared("message-db", "benchmarks.peers.message_db", "single", "single_vs_message_db"),
    Compared("INSERT by pgbench", "benchmarks.limits", "single", "single_vs_insert"),
)
BATCHES = (
    Compared("COPY, 100 a transaction", "benchmarks.limits", "copy_batches", "batch_vs_copy"),
    Compared("one long COPY", "benchmarks.limits", "copy_whole", "batch_vs_long_copy"),
    Compared("Emmett", "benchmarks.peers.emmett", "batches", "batch_vs_emmett"),
    Compared("eventsourcing", "benchmarks.peers.eventsourcing", "batches", "batch_vs_eventsourcing"),
    Compared("sha256", "benchmarks.limits", "hashes", "batch_vs_sha256", database=False),
)
CATCHUP = Compared("eventsourcing", "benchmarks.peers.eventsourcing", "catchup", "catchup_vs_eventsourcing")
CATCHUP_EMMETT = Compared("Emmett", "benchmarks.peers.emmett", "catchup", "catchup_vs_emmett")


GIVES: Mapping[str, tuple[str, ...]] = {
    "single": ("single_vs_empty_handler", *(each.figure for each in SINGLE)),
    "batches": tuple(each.figure for each in BATCHES),
    "latency": ("append_p99_ms", "visible_p99_ms"),
    "catchup": ("catchup_per_core", "catchup_vs_eventsourcing"),
    "tree": ("tree_cost",),
    "memory": ("ledger_rss_mb", "projector_rss_mb"),
    "growth": ("append_growth",),
    "queries": ("query_one_vs_handler", "query_list_vs_handler"),
    "history": ("query_growth", "as_of_vs_now", "as_of_growth"),
    "what-if": ("what_if_s",),
    "start": ("warm_start_s",),
}
"""Which of the promised figures a step gives, for when it fails."""


class Plan(Struct, frozen=True):
    """How much of everything. Windows are in seconds, lengths in events."""

    name: str
    short: int
    lengths: tuple[int, ...]
    rounds: int
    warm_up: int
    window: float
    half_window: float
    peer_rows: int
    caught_up: int
    full_load: float
    burst_clients: int
    burst_seconds: float
    starts: int
    seconds_max: float
    """Of one query of the history."""
    peers: bool = True


FULL = Plan("full", SHORT_EVENTS, (1_000_000,), 7, 2, 3.0, 10.0, 100_000, 100_000, 60.0, 64, 180.0, 5, 120.0)
QUICK = Plan("quick", SHORT_EVENTS, (100_000,), ROUNDS_MIN, 1, 0.8, 3.0, 20_000, 20_000, 10.0, 64, 20.0, 5, 10.0)
TOY = Plan("toy", 1_000, (3_000,), ROUNDS_MIN, 1, 0.2, 0.5, 1_000, 2_000, 0.5, 2, 5.0, 5, 0.0, peers=False)


@click.command()
@click.option("--quick", is_flag=True, help="In at most 8 minutes: a long log of 100,000 events, short windows.")
@click.option("--toy", is_flag=True, help="Without peers, in a minute: does it run? Its figures say nothing.")
@click.option(
    "--events", type=click.IntRange(20_000), multiple=True, help="In the long log: 10000000 takes an hour to load."
)
@click.option("--hour", is_flag=True, help="Full load for an hour: is memory flat?")
@click.option("--only", help=f"Some of the steps, with commas between: {', '.join(STEPS)}.")
@click.option("--seed", type=int, default=company.SEED, show_default=True)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the database there, and use its long logs again. Otherwise a temporary directory, removed in the end.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), default=RESULTS, help="Of results; the page beside it."
)
def main(
    quick: bool,
    toy: bool,
    events: tuple[int, ...],
    hour: bool,
    only: str | None,
    seed: int,
    keep: Path | None,
    out: Path,
) -> None:
    """Measure the ledger beside its peers and its limits, in one run.

    It starts a PostgreSQL and services of its own, on loopback only, and ends them. One table goes to stdout, progress
    to stderr; figures and samples to results.json, plots to results.html beside it.

    \b
    Examples:
      make bench
      make bench-quick
      make bench BENCH="--only single,batches"
      make bench BENCH="--events 1000000 --events 10000000 --keep /tmp/bench"
      make bench BENCH="--only memory --hour"
    """
    steps = STEPS if only is None else tuple(each.strip() for each in only.split(","))
    if unknown := [each for each in steps if each not in STEPS]:
        raise click.BadParameter(f"there is no step {unknown[0]}; there are {', '.join(STEPS)}", param_hint="--only")
    # Known now, or the figures of an hour are lost.
    if not out.parent.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise click.BadParameter(
            f"{out} cannot be written; name a file in a directory that is there", param_hint="--out"
        )
    plan = TOY if toy else QUICK if quick else FULL
    if events:
        plan = msgspec.structs.replace(plan, lengths=tuple(sorted({*events})))
    if hour:
        plan = msgspec.structs.replace(plan, full_load=HOUR_SECONDS)
    try:
        bench, seconds = uvloop.run(_bench(plan, steps, seed, keep))
        _tell(bench, plan, seconds, out)
    except EXPLAINED as error:
        console.print(str(error), markup=False)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("Stopped.")


async def _bench(plan: Plan, steps: tuple[str, ...], seed: int, keep: Path | None) -> "tuple[Bench, int]":
    """What was found, and in how many seconds."""
    begun = time.monotonic()
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    with home(keep) as directory, progress_bar() as progress:
        bench = Bench(plan, steps, seed, directory, progress)
        async with (
            database(directory, [BURST]) as settings,
            services(settings) as served,
            watching(served, bench.watch),
        ):
            await bench.run(settings, served)
        if "start" in steps:
            await bench.step("start", bench.start)
    return bench, round(time.monotonic() - begun)


def _tell(bench: "Bench", plan: Plan, seconds: int, out: Path) -> None:
    """The table to stdout; value and samples, and the page, to files."""
    found = lines(bench.figures, bench.missing)
    Console(width=TABLE_COLUMNS).print(_table(plan, found))
    content = msgspec.json.encode(bench.results(seconds))
    out.write_bytes(msgspec.json.format(content, indent=1) + b"\n")
    beside = out.with_suffix(".html")
    beside.write_text(page(msgspec.json.decode(content), found))
    console.print(f"written: {out} and {beside.name}, after {seconds:,} s")


class Bench:
    """What has been found so far, and the steps that find more."""

    def __init__(self, plan: Plan, steps: tuple[str, ...], seed: int, directory: Path, progress: Progress) -> None:
        self.figures: dict[str, Figure] = {}
        self.missing: dict[str, str] = {}
        self.rates: dict[str, dict[str, list[float]]] = {}
        """Of each comparison the samples of everybody who was compared: events or answers a second."""
        self.seconds: dict[str, dict[str, list[float]]] = {}
        """What was asked, and in how many seconds it was answered."""
        self.over_length: dict[str, dict[int, float]] = {}
        """What something costs in logs of these lengths."""
        self.storage: dict[str, Any] = {}
        self.about: dict[str, Any] = {}
        self.watch = Watch()
        self._plan = plan
        self._steps = steps
        self._seed = seed
        self._directory = directory
        self._progress = progress
        self._task = progress.add_task("", total=len(steps))

    def results(self, seconds: int) -> dict[str, Any]:
        """What results.json holds. A figure that was not measured has no value, and says why."""
        unmeasured = {aim.name: NOT_PART for aim in AIMS} | self.missing
        reasons: dict[str, Any] = {
            name: {"value": None, "samples": [], "reason": reason}
            for name, reason in unmeasured.items()
            if name not in self.figures
        }
        return {
            "benchmark": self._plan.name,
            "on": machine(),
            "about": {
                "seconds": seconds,
                "steps": self._steps,
                "plan": self._plan,
                "accounts": ACCOUNTS,
                "requirements": REQUIREMENTS,
                **self.about,
            },
            "figures": {**self.figures, **reasons},
            "rates": self.rates,
            "seconds": self.seconds,
            "over_length": self.over_length,
            "storage": self.storage,
            "memory": self.watch.samples,
        }

    async def run(self, settings: Settings, served: Served) -> None:
        self._settings, self._served = settings, served
        plan = self._plan
        if {*SHORT_STEPS} & {*self._steps}:
            await self._load(GROWN, plan.short)
        served.start("ledger")
        await served.ready("ledger")
        for name, work in (
            ("single", self._single),
            ("batches", self._batches),
            ("tree", self._tree),
            ("latency", self._latency),
            ("catchup", self._catchup),
            ("memory", self._full_load),
        ):
            await self._step(name, work)
            # Each begins with the ledger alone, however the one before it has ended.
            if "projector" in served.running():
                served.stop("projector")
        if {*LONG_STEPS} & {*self._steps}:
            await self._load_long()
            await self._step("growth", self._growth)
            await self._project_long()
            await self._step("queries", self._queries)
            await self._step("history", self._history)
            await self._step("what-if", self._what_if)
            await self._step("rebuild", self._rebuild)
            await self._step("storage", self._storage)
        self._memory()

    async def _step(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        if name in self._steps:
            await self.step(name, work)

    async def step(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do one thing; if it fails, its figures say why."""
        self.watch.during = name
        self._say(name)
        begun = time.monotonic()
        try:
            await work()
        except Exception as error:  # Whatever one step meets, an hour of the others is not to be lost with it.
            reason = _reason(error)
            console.print(f"{name} failed: {reason}", markup=False)
            if not isinstance(error, (*EXPLAINED, ClientError, PeerError)):
                console.print_exception(max_frames=4)
            for figure in GIVES.get(name, ()):
                self.missing.setdefault(figure, reason)
        took = round(time.monotonic() - begun, 1)
        self.about.setdefault("step_seconds", {})[name] = took
        console.print(f"{name}: {took:,.0f} s")
        self._progress.advance(self._task)

    def _say(self, doing: str) -> None:
        self._progress.update(self._task, description=doing)

    async def _alternate(
        self, name: str, cases: Mapping[str, Case], *, rates: bool = True, **more: Any
    ) -> dict[str, list[float]]:
        """Samples of each case, without those of who has failed. `rates`: they are; otherwise they are seconds."""
        found = await alternate(
            cases,
            rounds=self._plan.rounds,
            seconds_max=more.pop("seconds_max", 900),
            progress=lambda doing: self._say(f"{name}: {doing}"),
            warm_up=more.pop("warm_up", self._plan.warm_up),
            **more,
        )
        found = {case: samples for case, samples in found.items() if not any(map(isnan, samples))}
        kept = self.rates if rates else self.seconds
        kept[name] = {case: [*map(rounded, samples)] for case, samples in found.items()}
        return found

    # Recording

    async def _single(self) -> None:
        async with AsyncExitStack() as stack:
            load = await stack.enter_async_context(self._loading(GROWN, 1, recording.SINGLE_CONNECTIONS))
            cases: dict[str, Case] = {OURS: partial(load.window, self._plan.window)}
            processes = getattr(self._settings, "processes", 1)
            for name, count in {EMPTY: 1, EMPTY_EACH: processes}.items():
                if name == EMPTY or processes > 1:
                    handler = await stack.enter_async_context(self._empty_handler(count))
                    cases[name] = partial(handler.window, self._plan.window)
            cases |= await self._compared(stack, SINGLE)
            found = await self._alternate("single", cases)
            self.figures["clients_microseconds_a_request"] = await self._own_cost(stack)
        self.about["ledger_processes"] = processes
        self._ratios(found, SINGLE)
        self.figures["single_vs_empty_handler"] = Figure.ratio(found[OURS], found[EMPTY])
        self.figures["single_vs_empty_handler_per_process"] = Figure.ratio(
            found[OURS], found.get(EMPTY_EACH, found[EMPTY])
        )

    async def _own_cost(self, stack: AsyncExitStack) -> Figure:
        """What a request takes of the processors in the clients themselves."""
        handler = await stack.enter_async_context(self._empty_handler(1))
        await handler.window(self._plan.window)
        samples = []
        for _ in range(ROUNDS_MIN):
            handler.prepare(self._plan.window)
            before = time.process_time()
            rate = await handler.window(self._plan.window)
            samples.append(1e6 * (time.process_time() - before) / (rate * self._plan.window))
        return Figure.of(samples)

    async def _batches(self) -> None:
        async with AsyncExitStack() as stack:
            load = await stack.enter_async_context(
                self._loading(GROWN, recording.BATCH_EVENTS, recording.BATCH_CONNECTIONS)
            )
            cases: dict[str, Case] = {OURS: partial(load.window, self._plan.window)}
            cases |= await self._compared(stack, BATCHES)
            found = await self._alternate("batches", cases)
        self._ratios(found, BATCHES)

    async def _latency(self) -> None:
        """With the projector, as `make run` has it."""
        served, plan = self._served, self._plan
        head = await self._projecting(GROWN)
        await recording.introduce(served, GROWN)
        halves: list[recording.Half] = []
        empty: list[float] = []
        async with self._loading(GROWN, 1, recording.SINGLE_CONNECTIONS) as load:

            async def full() -> float:
                return await load.window(plan.window)

            found = await self._alternate("full load, with the projector", {"full": full})
        rate = median(found["full"]) / 2
        of, key = self._of(plan.short), recording.key(served)
        feed = recording.Feed(recording.path_of(GROWN), head, of, key, events=1)
        to_nobody = recording.Feed("/", head, of, key, events=1)
        [port] = free_ports(1)
        async with limits.empty_handler(port), connected(port, recording.SINGLE_CONNECTIONS) as clients:
            for number in range(ROUNDS_MIN + plan.warm_up):
                self._say(f"latency: window {number + 1} at {rate:,.0f} events a second")
                await served.caught_up(GROWN)
                seconds, seed = plan.half_window, self._seed + number
                half = await recording.half_load(served, GROWN, feed, rate, seconds, seed=seed)
                await served.caught_up(GROWN)
                nothing = await recording.half_empty(clients, to_nobody, rate, seconds, seed=seed)
                if number >= plan.warm_up:
                    halves.append(half)
                    empty.append(nothing)
        self.figures["append_p99_ms"] = Figure.of(milliseconds([each.append_p99 for each in halves]))
        self.figures["append_median_ms"] = Figure.of(milliseconds([each.append_median for each in halves]))
        self.figures["empty_handler_p99_ms"] = Figure.of(milliseconds(empty))
        self.figures["visible_p99_ms"] = Figure.of(milliseconds([each.visible_p99 for each in halves]))
        self.figures["visible_median_ms"] = Figure.of(milliseconds([each.visible_median for each in halves]))
        self.about["latency"] = {
            "events_a_second": round(rate),
            "clients_late_p99_ms": milliseconds([each.lateness_p99 for each in halves]),
        }

    async def _tree(self) -> None:
        settings, served, plan = self._settings, self._served, self._plan
        kind = tree.KINDS[0]
        async with tree.Integration(settings, served, GROWN) as integration:
            recorded = tree.Recording(served, integration, GROWN, kind, plan.short, self._of(plan.short))
            try:
                found = await self._alternate(
                    "tree",
                    {case: recorded.window(plan.window, case) for case in (tree.WITH, tree.WITHOUT)},
                    mirrored=True,
                )
            finally:
                await integration.go_on(served)
        self.figures["tree_cost"] = Figure.ratio(found[tree.WITHOUT], found[tree.WITH])
        self.figures["tree_lag_s"] = Figure.of(recorded.lags[-len(found[tree.WITH]) :])

    async def _growth(self) -> None:
        """Single events, in a short log and in the long ones, in alternation. No projector runs."""
        async with AsyncExitStack() as stack:
            await self._load("growing", self._plan.short)
            cases: dict[str, Case] = {}
            for length, ledger in {self._plan.short: "growing", **self._long()}.items():
                connections = recording.SINGLE_CONNECTIONS
                load = await stack.enter_async_context(self._loading(ledger, 1, connections, length))
                cases[f"{length}"] = partial(load.window, self._plan.window)
            found = await self._alternate("recording by length", cases)
        self.figures["append_growth"] = Figure.ratio(found[f"{self._plan.short}"], [*found.values()][-1])
        self._over("microseconds to record an event", {int(k): 1e6 / median(v) for k, v in found.items()})

    # Catching up

    async def _catchup(self) -> None:
        async with self._database_of_its_own():
            await self._caught_up()

    @asynccontextmanager
    async def _database_of_its_own(self) -> AsyncIterator[None]:
        """Another home for a step, with a server of its own: what the steps before it have left is not tidied up at its
        cost."""
        settings, served = self._settings, self._served
        try:
            with home(None) as directory:
                async with (
                    database(directory, []) as self._settings,
                    services(self._settings) as self._served,
                    watching(self._served, self.watch),
                ):
                    yield
        finally:
            self._settings, self._served = settings, served

    async def _caught_up(self) -> None:
        served = self._served
        await self._load("caught-up", self._plan.caught_up)
        whole: list[projecting.Went] = []
        idle: list[projecting.Went] = []
        built: list[projecting.Went] = []

        async def everything() -> float:
            await projecting.forget(self._settings, "caught-up")
            whole.append(await projecting.catch_up(served, "caught-up"))
            return whole[-1].events / whole[-1].seconds

        async def nothing() -> float:
            """What a start takes by itself."""
            idle.append(await projecting.catch_up(served, "caught-up"))
            return idle[-1].seconds

        async with AsyncExitStack() as stack:
            cases: dict[str, Case] = {OURS: everything, "start": nothing}
            rival = await self._compared(stack, (CATCHUP, CATCHUP_EMMETT), (self._plan.peer_rows,))
            found = await self._alternate("catch-up", cases | rival, warm_up=1)
        served.start("projector")
        await served.ready("projector")
        head = await served.caught_up("caught-up")
        for _ in range(ROUNDS_MIN):
            self._say(f"catch-up: {projecting.REBUILT} built anew")
            built.append(await projecting.rebuild(served, "caught-up", head))
        # What a start takes by itself is no catching up, and the peers' does not count either.
        self.seconds["catch-up"] = {"start": self.rates["catch-up"].pop("start")}
        start = median(each.processor_seconds for each in idle)
        start_seconds = median(each.seconds for each in idle)
        counted = whole[-len(found[OURS]) :]
        self.figures["catchup_per_core"] = Figure.of(
            [each.events / max(each.processor_seconds - start, 1e-3) for each in counted]
        )
        found[OURS] = [each.events / max(each.seconds - start_seconds, 1e-3) for each in counted]
        self.figures["catchup_events_a_second"] = Figure.of(found[OURS])
        self.figures["rebuild_per_core"] = Figure.of([each.events / each.processor_seconds for each in built])
        self._ratios(found, (CATCHUP, CATCHUP_EMMETT))

    # Memory

    async def _full_load(self) -> None:
        """Both services, singles as fast as they go, then requests of 16 MiB from many clients at once."""
        served, plan = self._served, self._plan
        await self._projecting(GROWN)
        begun = time.monotonic()
        async with self._loading(GROWN, 1, recording.SINGLE_CONNECTIONS) as load:
            until = time.monotonic() + plan.full_load
            while (left := until - time.monotonic()) > 0:
                await load.window(min(10.0, left))
        ended = time.monotonic()
        for service in ("ledger", "projector") if plan.full_load >= SLOPE_SECONDS_MIN else ():
            # What a process takes up in its first seconds is no growth.
            kept = [
                each
                for each in self.watch.samples
                if each.service == service and begun + (ended - begun) / 4 < each.seconds < ended
            ]
            self.figures[f"{service}_mb_an_hour"] = Figure.of(
                [slope_per_hour([each.seconds for each in kept], [each.megabytes for each in kept])]
            )
        self.watch.during = "burst"
        self._say("memory: burst")
        self.about["burst"] = await recording.burst(
            served, BURST, connections=plan.burst_clients, seconds=plan.burst_seconds
        )
        await served.caught_up(BURST)

    def _memory(self) -> None:
        for service in ("ledger", "projector"):
            if "memory" in self._steps and (most := self.watch.most(service)):
                # What lies between two samples is in the most that the kernel counted of those that run now.
                if service in self._served.running():
                    most["the kernel's count"] = peak_mb(self._served.pid(service))
                self.figures[f"{service}_rss_mb"] = Figure(max(most.values()), [*most.values()])
                self.about.setdefault("most_memory_mb", {})[service] = most

    # Asking

    async def _queries(self) -> None:
        [*_, (length, ledger)] = self._long().items()
        chosen, of = self._chosen[ledger], self._of(length)
        async with asking.asked(self._served, ledger, of, chosen.requirement, self._superuser("ledger")) as asked:
            window = self._plan.window
            for query in asking.QUERIES:
                cases: dict[str, Case] = {
                    OURS: partial(asked.ours, query, window),
                    "again": partial(asked.again, query, window),
                    "handler": partial(asked.theirs, query, window),
                }
                if query == asking.OPENED:
                    cases["opened"] = partial(asked.opened, query, window)
                found = await self._alternate(f"query, {query}", cases)
                for case, rates in found.items():
                    if case != "handler":
                        name = f"query_{query}_vs_handler" if case == OURS else f"query_{query}_{case}_vs_handler"
                        self.figures[name] = Figure.ratio(rates, found["handler"])
            after, alone = (
                partial(each, asking.COUNTED, window) for each in (asked.after_event, asked.theirs_one_by_one)
            )
            found = await self._alternate(f"query, {asking.COUNTED}, after an event", {OURS: after, "handler": alone})
            name = f"query_{asking.COUNTED}_after_event_vs_handler"
            self.figures[name] = Figure.ratio(found[OURS], found["handler"])
        self.about["asked_about"] = self._chosen

    async def _history(self) -> None:
        logs = {
            length: history.Log(self._served, ledger, length, self._chosen[ledger], self._seed, self._of(length))
            for length, ledger in self._asked_logs().items()
        }
        samples: dict[str, dict[str, list[float]]] = {}
        *_, longest = logs
        for query in history.QUERIES:
            cases = {
                f"{length}, {where}": log.case(query, where)
                for length, log in logs.items()
                for where in ("middle", "now")
            }
            samples[query] = await self._alternate(
                f"asking for {query}", cases, rates=False, seconds_max=self._plan.seconds_max
            )
            for where in ("middle", "now"):
                found = {length: 1000 * median(samples[query][f"{length}, {where}"]) for length in logs}
                self._over(f"milliseconds, {query}, {where}", found)
        short = self._plan.short
        for figure, over, under in (
            ("query_growth", f"{longest}, now", f"{short}, now"),
            ("as_of_vs_now", f"{longest}, middle", f"{longest}, now"),
            ("as_of_growth", f"{longest}, middle", f"{short}, middle"),
        ):
            each = {query: Figure.ratio(found[over], found[under]) for query, found in samples.items()}
            self.figures[figure] = max(each.values(), key=lambda ratio: ratio.value)
            self.about[figure] = {query: ratio.value for query, ratio in each.items()}

    async def _what_if(self) -> None:
        trials = {
            length: what_if.Trial(self._served, ledger, length, self._of(length))
            for length, ledger in self._asked_logs().items()
        }
        found = await self._alternate(
            "what-if", {f"{length}": trial.what_if for length, trial in trials.items()}, rates=False
        )
        self._over("seconds of a what-if", {int(length): median(samples) for length, samples in found.items()})
        *_, longest = trials
        self.figures["what_if_s"] = Figure.of(found[f"{longest}"])
        self.about["what_if_asks"] = round(longest * company.ASKS)

    # What is left

    async def _rebuild(self) -> None:
        """One projection of each log, beside the live one."""
        found = {}
        for length, ledger in self._asked_logs().items():
            self._say(f"rebuild: {projecting.REBUILT} of {ledger}")
            went = await projecting.rebuild(self._served, ledger, length)
            found[length] = 1e6 * went.seconds / length
        self._over("microseconds to rebuild, an event", found)

    async def _storage(self) -> None:
        for length, ledger in self._asked_logs().items():
            self.storage[str(length)] = await storage(self._settings, ledger, length)
        *_, tables = self.storage.values()
        self.figures["bytes_an_event"] = Figure.of([sum(each.heap + each.indexes for each in tables)])

    async def start(self) -> None:
        """A home of its own: the first start makes it, and does not count."""
        with home(None) as directory:
            await starting.start(directory)
            found = [await starting.start(directory) for _ in range(self._plan.starts)]
        self.figures["warm_start_s"] = Figure.of(found)

    # Logs

    def _of(self, events: int) -> company.Scale:
        return company.scale(events, accounts=ACCOUNTS, requirements=REQUIREMENTS)

    def _long(self) -> dict[int, str]:
        return {length: f"log-{length}" for length in self._plan.lengths}

    def _asked_logs(self) -> dict[int, str]:
        """The short one first."""
        return {self._plan.short: SHORT, **self._long()}

    async def _load(self, ledger: str, events: int) -> None:
        await migrate(self._settings, ledgers=[ledger])
        task = self._progress.add_task(f"{ledger}: recording", total=events)
        loaded = await load_once(
            self._settings,
            ledger,
            events,
            partial(self._progress.advance, task),
            seed=self._seed,
            of=self._of(events),
        )
        self._progress.remove_task(task)
        await vacuum(self._settings, ledger)
        self.about.setdefault("scales", {})[ledger] = self._of(events)._asdict()
        self.about.setdefault("stored_bytes_an_event", {})[ledger] = round(loaded.stored_bytes / loaded.events)

    async def _load_long(self) -> None:
        self.watch.during = "loading"
        for length, ledger in self._long().items():
            await self._load(ledger, length)

    async def _project_long(self) -> None:
        """One after the other, so that each is caught up with alone; then all are there to be asked."""
        self.watch.during = "projecting"
        served = self._served
        await self._load(SHORT, self._plan.short)
        served.start("projector")
        await served.ready("projector")
        for length, ledger in self._asked_logs().items():
            task = self._progress.add_task(f"{ledger}: projecting", total=length)
            shown = partial(_show, self._progress, task)
            await served.caught_up(ledger, shown)
            self._progress.remove_task(task)
            await vacuum(self._settings, ledger)
        self._chosen = await history.choose(
            self._settings, {ledger: length for length, ledger in self._asked_logs().items()}
        )

    async def _projecting(self, ledger: str) -> int:
        self._served.start("projector")
        await self._served.ready("projector")
        return await self._served.caught_up(ledger)

    def _loading(
        self, ledger: str, events: int, connections: int, head: int | None = None
    ) -> AbstractAsyncContextManager[recording.Load]:
        head = self._plan.short if head is None else head
        return recording.loading(self._served, ledger, head, self._of(head), events=events, connections=connections)

    # Those beside us

    @asynccontextmanager
    async def _empty_handler(self, processes: int) -> AsyncIterator[recording.Load]:
        """The same requests, to a handler that reads the body and answers 201."""
        [port] = free_ports(1)
        async with (
            limits.empty_handler(port, processes=processes) as url,
            connected(port, recording.SINGLE_CONNECTIONS) as clients,
        ):
            path, short = urlsplit(url).path, self._plan.short
            feed = recording.Feed(path, short, self._of(short), recording.key(self._served), events=1)
            yield recording.Load(clients, feed, 1)

    async def _compared(
        self, stack: AsyncExitStack, compared: tuple[Compared, ...], more: tuple[Any, ...] = ()
    ) -> dict[str, Case]:
        """Those who can be run here, ready; of the others it is kept why not."""
        file = self._directory / f"rows-{self._plan.peer_rows}.jsonl"
        cases: dict[str, Case] = {}
        for each in compared:
            if not self._plan.peers and each.module != limits.__name__:
                self.missing[each.figure] = "a toy is measured without peers"
                continue
            self._say(f"{each.name}: getting ready")
            try:
                manager = getattr(importlib.import_module(each.module), each.manager)
                master = MasterKeys.load_or_make(self._settings.master_key).newest
                await asyncio.to_thread(rows.write, file, self._plan.peer_rows, master, seed=self._seed)
                given: list[Any] = [file, *more]
                if each.database:
                    made = databases.fresh(self._superuser("postgres"), each.figure)
                    given.insert(0, await stack.enter_async_context(made))
                run = await stack.enter_async_context(manager(*given))
            except (Missing, PeerError, ModuleNotFoundError, AttributeError) as error:
                self.missing[each.figure] = _reason(error)
                continue
            cases[each.name] = partial(self._rival, each, run)
        return cases

    async def _rival(self, compared: Compared, run: Run) -> float:
        """A run of one of them. Whoever fails once is left out, and nobody else with it."""
        if compared.figure in self.missing:
            return nan
        try:
            return await run(self._plan.window)
        except (PeerError, asyncpg.PostgresError, OSError, TimeoutError) as error:
            self.missing[compared.figure] = _reason(error)
            return nan

    def _ratios(self, found: Mapping[str, list[float]], compared: tuple[Compared, ...]) -> None:
        for each in compared:
            if each.name in found:
                self.figures[each.figure] = Figure.ratio(found[OURS], found[each.name])

    def _superuser(self, name: str) -> str:
        """The URL of a database of this name, as the one who may make others."""
        directory = self._settings.home.absolute()
        password = msgspec.json.decode((directory / "database.json").read_bytes())["passwords"]["postgres"]
        return f"postgresql://postgres:{password}@/{name}?host={directory / 'database'}&port=5432"

    def _over(self, what: str, found: dict[int, float]) -> None:
        self.over_length[what] = {length: rounded(value) for length, value in found.items()}


def _reason(error: Exception) -> str:
    """In one line."""
    return " ".join(str(error).split())[:REASON_CHARACTERS_MAX] or type(error).__name__


def _show(progress: Progress, task: Any, position: int) -> None:
    progress.update(task, completed=position)


def _table(plan: Plan, found: list[Line]) -> Table:
    longest = f"{plan.lengths[-1]:,}" if plan.lengths else ""
    table = Table(title=f"Medians; the long log has {longest} events")
    for heading in ("figure", "what it is"):
        table.add_column(heading)
    for heading in ("value", "aim", "met", "least … most"):
        table.add_column(heading, justify="right")
    for line in found:
        if line.value is None:
            table.add_row(line.name, f"not measured: {line.reason}", "", line.wanted, "", "")
            continue
        met = {True: "yes", False: "[bold red]no[/]", None: ""}[line.met]
        spread = "" if line.spread is None else f"{shown(line.spread[0])} … {shown(line.spread[1])}"
        table.add_row(line.name, line.what, f"{shown(line.value)}", line.wanted, met, spread)
    return table


if __name__ == "__main__":
    main()
