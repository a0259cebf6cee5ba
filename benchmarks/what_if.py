"""What it costs to try a target market on all of history: seconds, memory, and what it takes from who records events.

The ledger has 100,000 accounts and 1,000,000 asks. Each proposal is one that was not tried before. Recording is
measured with and without what-ifs in alternation, over HTTP, in batches, from several connections.
"""

import asyncio
import contextlib
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from benchmarks import company
from benchmarks.measuring import (
    ROUNDS_MIN,
    WARM_UP_ROUNDS,
    Case,
    Figure,
    alternate,
    console,
    milliseconds,
    progress_bar,
    timed,
    write,
)
from benchmarks.running import EXPLAINED, Served, database, home, load_once, services, vacuum

LEDGER = "what-if"
ASKS, QUICK_EVENTS = 1_000_000, 100_000
EVENTS = round(ASKS / company.ASKS)
ROUNDS = 15
WINDOW_SECONDS = 10.0
BATCH_EVENTS, CONNECTIONS = 100, 4
NOW_AND_THEN_SECONDS = 10.0
"""Between two proposals of somebody who looks at the answer before trying another."""

WHAT_IF_SECONDS_MAX, MEMORY_MIB_MAX, INGEST_MIN = 2.0, 1024, 0.9

Load = Literal["full", "half"]


class Setting(Struct, frozen=True):
    """Under what circumstances recording is measured: as fast as it goes or at half of that; seconds between the
    what-ifs (0: the next as soon as one is answered)."""

    name: str
    load: Load
    pause_seconds: float


SETTINGS = (
    Setting("full load, a what-if now and then", "full", NOW_AND_THEN_SECONDS),
    Setting("half of full load, what-ifs without a pause", "half", 0.0),
    Setting("full load, what-ifs without a pause", "full", 0.0),
)


@click.command()
@click.option("--events", type=click.IntRange(20_000), default=EVENTS, show_default=True, help="70 % of them are asks.")
@click.option("--quick", is_flag=True, help=f"{QUICK_EVENTS:,} events and short windows: does it run?")
@click.option("--rounds", type=click.IntRange(ROUNDS_MIN), default=ROUNDS, show_default=True, help="Of what-ifs.")
@click.option("--no-recording", is_flag=True, help="Leave out how much what-ifs take from recording.")
@click.option("--seed", type=int, default=company.SEED, show_default=True)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the database there, and use it again. Otherwise a temporary directory, removed in the end.",
)
@click.option("--name", default="what-if", show_default=True, help="Of the file in benchmarks/results.")
def main(events: int, quick: bool, rounds: int, no_recording: bool, seed: int, keep: Path | None, name: str) -> None:
    """Measure what-ifs over 100,000 accounts and 1,000,000 asks.

    It starts a PostgreSQL and services of its own, on loopback only, and ends them.

    \b
    Examples:
      python -m benchmarks.what_if --quick
      python -m benchmarks.what_if --keep /tmp/bench-what-if
    """
    window = WINDOW_SECONDS
    if quick:
        events, rounds, window = QUICK_EVENTS, ROUNDS_MIN, 2.0
        name = f"{name}-quick" if name == "what-if" else name
    try:
        asyncio.run(_measure(events, rounds, None if no_recording else window, seed, keep, name))
    except EXPLAINED as error:
        console.print(str(error), markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("Stopped.")


async def _measure(events: int, rounds: int, window: float | None, seed: int, keep: Path | None, name: str) -> None:
    with home(keep) as directory, progress_bar() as progress:
        async with database(directory, [LEDGER]) as settings:
            task = progress.add_task("recording the log", total=events)
            loaded = await load_once(settings, LEDGER, events, partial(progress.advance, task), seed=seed)
            async with services(settings, "ledger", "projector") as served:
                task = progress.add_task("projecting", total=events)
                catch_up = await timed(lambda: served.caught_up(LEDGER, partial(_show, progress, task)))
                await vacuum(settings, LEDGER)
                # From here on the process has done nothing but answer.
                served.stop("projector")
                served.start("projector")
                await served.ready("projector")
                await served.caught_up(LEDGER)
                trial = Trial(served, LEDGER, events)
                task = progress.add_task("trying", total=rounds + WARM_UP_ROUNDS + 1)
                before = served.memory_mib("projector", peak=False)
                first = await trial.what_if()
                progress.advance(task)
                samples = await alternate(
                    {"what-if": trial.what_if},
                    rounds=rounds,
                    seconds_max=600,
                    progress=lambda doing: progress.update(task, description=doing, advance=1),
                )
                processor_seconds = trial.processor_seconds[-len(samples["what-if"]) :]
                peak = served.memory_mib("projector", peak=True)
                totals = trial.last
                recording = {} if window is None else await _recording(trial, window, progress)
                peak_recording = served.memory_mib("projector", peak=True)
    figures = {
        "what_if_s": Figure.of(samples["what-if"]),
        "what_if_processor_s": Figure.of(processor_seconds),
        "what_if_peak_mib": Figure.of([peak]),
    }
    for setting, cases in recording.items():
        figures[f"ingest_with_what_ifs: {setting}"] = Figure.ratio(cases["with what-ifs"], cases["without"])
    Console().print(_table(figures, first))
    path = write(
        name,
        figures,
        log={
            "events": events,
            "accounts": round(events * company.ASKS / company.ASKS_AN_ACCOUNT),
            "asks": round(events * company.ASKS),
            "stored_bytes_an_event": round(loaded.stored_bytes / loaded.events),
            "recording_seconds": round(loaded.seconds, 1),
            "projecting_seconds": round(catch_up, 1),
        },
        first_what_if_ms=milliseconds([first])[0],
        what_if_ms=milliseconds(samples["what-if"]),
        memory_mib={
            "projector_before": round(before),
            "projector_peak": round(peak),
            "projector_peak_while_recording": round(peak_recording),
        },
        recorded_events_a_second={
            setting: {case: [round(each) for each in rates] for case, rates in cases.items()}
            for setting, cases in recording.items()
        },
        answer=totals,
    )
    console.print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


class Trial:
    """Proposals that are tried, and events that are recorded."""

    def __init__(self, served: Served, ledger: str, events: int, of: company.Scale | None = None) -> None:
        self.last: Any = None
        """The totals of the last answer."""
        self.processor_seconds: list[float] = []
        """What each what-if took of the processors."""
        self._served = served
        self._ledger = ledger
        self._proposals = proposals()
        # Events of several runs on a database that is kept are of different ids.
        self._more = company.growth(events, seed=time.time_ns(), of=of or company.scale(events))

    async def what_if(self) -> float:
        url = f"{self._served.projector}/{self._ledger}/agreements/target-market/what-if?limit=50"
        used, begun = self._served.processor_seconds("projector"), time.perf_counter()
        answer = await self._served.fetch("POST", url, next(self._proposals))
        seconds = time.perf_counter() - begun
        self.processor_seconds.append(self._served.processor_seconds("projector") - used)
        self.last = msgspec.json.decode(answer).get("totals")
        return seconds

    def recording(self, seconds: float, rate: float | None, pause: float | None) -> Case:
        """Events acknowledged a second, in a window. `rate`: so many at most; `pause`: between what-ifs, None: none."""

        async def run() -> float:
            await self._served.caught_up(self._ledger)
            others = [] if pause is None else [asyncio.create_task(self._keep_trying(pause))]
            begun = time.perf_counter()
            until = begun + seconds
            recorded = await asyncio.gather(*(self._record(begun, until, rate) for _ in range(CONNECTIONS)))
            took = time.perf_counter() - begun
            for task in others:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            return sum(recorded) / took

        return run

    async def _record(self, begun: float, until: float, rate: float | None) -> int:
        """Post batches until a time; gives how many events were acknowledged. `rate`: events a second, of all."""
        recorded = 0
        while (now := time.perf_counter()) < until:
            if rate is not None and (early := begun + recorded * CONNECTIONS / rate - now) > 0:
                await asyncio.sleep(early)
            batch = [next(self._more) for _ in range(BATCH_EVENTS)]
            await self._served.append(self._ledger, *batch)
            recorded += BATCH_EVENTS
        return recorded

    async def _keep_trying(self, pause: float) -> None:
        while True:
            await self.what_if()
            await asyncio.sleep(pause)


def proposals() -> Iterator[dict[str, Any]]:
    """Target markets, no two alike."""
    for number in range(2**31):
        yield {
            "stage": "focused",
            "threshold": 50 + number % 30,
            "bullets": [
                {
                    "bullet": "regulated",
                    "text": "Regulated",
                    "test": {"op": "eq", "attribute": "regulated", "value": True},
                    "weight": 3,
                    "required": number % 2 == 0,
                },
                {
                    "bullet": "size",
                    "text": "Large enough",
                    "test": {"op": "between", "attribute": "employees", "low": 100 + number, "high": 9_000},
                    "weight": 2,
                },
                {
                    "bullet": "finance",
                    "text": "Banks, insurers and energy",
                    "test": {"op": "in", "attribute": "industry", "values": ["banking", "insurance", "energy"]},
                    "weight": 2,
                },
                {
                    "bullet": "ready",
                    "text": "Has an identity provider, or runs SAP",
                    "test": {
                        "op": "any",
                        "tests": [
                            {"op": "not", "test": {"op": "eq", "attribute": "identity_provider", "value": "none"}},
                            {"op": "has", "attribute": "tools", "value": "SAP"},
                        ],
                    },
                },
            ],
        }


async def _recording(trial: Trial, window: float, progress: Progress) -> dict[str, dict[str, list[float]]]:
    """Rates in each setting, with and without what-ifs in alternation."""
    task = progress.add_task("recording", total=len(SETTINGS) + 1)
    # How fast it goes is known after the first setting at full load; half of that is measured against.
    await trial.recording(window, None, None)()
    full = await trial.recording(window, None, None)()
    progress.advance(task)
    found = {}
    for setting in SETTINGS:
        rate = None if setting.load == "full" else full / 2
        found[setting.name] = await alternate(
            {
                "without": trial.recording(window, rate, None),
                "with what-ifs": trial.recording(window, rate, setting.pause_seconds),
            },
            rounds=ROUNDS_MIN,
            seconds_max=0,
            progress=partial(_tell, progress, task, setting.name),
        )
        progress.advance(task)
    return found


def _table(figures: dict[str, Figure], first: float) -> Table:
    table = Table(title="What-if: medians")
    for heading in ("figure", "value", "wanted"):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    table.add_row("seconds of a what-if", f"{figures['what_if_s'].value:.2f}", f"at most {WHAT_IF_SECONDS_MAX:g}")
    table.add_row("of processors, which others do not lengthen", f"{figures['what_if_processor_s'].value:.2f}", "")
    table.add_row("seconds of the first one", f"{first:.2f}", "")
    table.add_row("memory of the projector, MiB", f"{figures['what_if_peak_mib'].value:.0f}", f"below {MEMORY_MIB_MAX}")
    for name, figure in figures.items():
        if name.startswith("ingest_with_what_ifs"):
            table.add_row(f"recording, {name.partition(': ')[2]}", f"{figure.value:.2f}", f"at least {INGEST_MIN}")
    return table


def _show(progress: Progress, task: TaskID, position: int) -> None:
    progress.update(task, completed=position)


def _tell(progress: Progress, task: TaskID, setting: str, doing: str) -> None:
    progress.update(task, description=f"{setting}: {doing}")


if __name__ == "__main__":
    main()
