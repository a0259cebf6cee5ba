"""What it costs to look back: queries as of the middle of a long log, against the same for now, and against the same
in a short log.

Both logs are ledgers of one database, and one process of the projector answers for both. Each request is about a
position that was not asked about before, so that no list that is remembered answers it: as of the middle, that is one
of the positions next to it; for now, an event is recorded before each request, and the read models have it before the
clock starts. Elsewhere is a position anywhere in the long log, far from what was asked about before.
"""

import asyncio
import random
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Literal

import asyncpg
import click
from msgspec import Struct
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from benchmarks import company
from benchmarks.measuring import (
    ROUNDS_MIN,
    Case,
    Figure,
    alternate,
    console,
    milliseconds,
    progress_bar,
    timed,
    write,
)
from benchmarks.running import EXPLAINED, RunningError, Served, database, home, load_once, services, vacuum
from services.postgres import connect, ledger_schema
from services.settings import Settings
from services.statements import Statements, fill

LONG_EVENTS, QUICK_EVENTS, SHORT_EVENTS = 1_000_000, 100_000, 10_000
ROUNDS = 15
QUERY_SECONDS_MAX = 240
AROUND_POSITIONS = 100  # How far from the middle a position may lie, in either log.
ELSEWHERE = (0.7, 0.19)  # Where in the log, and how far from there, as shares of it.
LIST_ROWS = 50
TABLE_COLUMNS = 120
WANTED = {
    "requirement": {"askers_in_the_middle": 50, "askers_now": 50},
    "account": {"asks_in_the_middle": 8, "asks_now": 12, "facts_in_the_middle": 17, "facts_now": 25},
    "decision": {"askers_when_made": 25, "askers_in_the_middle": 50, "askers_now": 50},
}
"""How large what is asked about is to be."""

VS_NOW_MAX, GROWTH_MAX = 1.5, 1.2

_statements = Statements.load(Path(__file__).with_suffix(".sql"))

QUERIES = ("requirements", "requirements as asked", "requirement", "account", "decisions", "decision")


Where = Literal["middle", "now", "elsewhere"]


class Subjects(Struct, frozen=True):
    """What is asked about in one log: much the same in both."""

    requirement: str
    account: str
    decision: str
    sizes: dict[str, dict[str, int]]


class Log:
    """One of the two ledgers, and the requests that are made about it."""

    def __init__(
        self,
        served: Served,
        name: str,
        events: int,
        subjects: Subjects,
        seed: int,
        of: company.Scale | None = None,
    ) -> None:
        self.name = name
        self.subjects = subjects
        self._served = served
        self._middle = events // 2
        self._events = events
        self._asked: set[int] = set()
        self._draw = random.Random(f"{seed} {events}")
        # Events of several runs on a database that is kept are of different ids.
        self._more = company.growth(events, seed=time.time_ns(), of=of or company.scale(events))

    def case(self, query: str, where: Where) -> Case:
        async def run() -> float:
            match where:
                case "now":
                    await self._served.append(self.name, next(self._more))
                    await self._served.caught_up(self.name)
                    url = self._url(query)
                case "middle":
                    url = self._url(query, as_of=self._position(self._middle, AROUND_POSITIONS))
                case "elsewhere":
                    # What is asked about is there from the middle on.
                    url = self._url(query, as_of=self._position(*(int(self._events * share) for share in ELSEWHERE)))
            return await timed(lambda: self._served.fetch("GET", url))

        return run

    def _position(self, near: int, around: int) -> int:
        """A position at most so far from another that was not asked about before."""
        position = near
        while position in self._asked:
            position = near + self._draw.randint(-around, around)
        self._asked.add(position)
        return position

    def _url(self, query: str, as_of: int | None = None) -> str:
        path, parameters = {
            "requirements": ("requirements", [f"limit={LIST_ROWS}"]),
            "requirements as asked": ("requirements", [f"limit={LIST_ROWS}", "lens=asked"]),
            "requirement": (f"requirements/{self.subjects.requirement}", []),
            "account": (f"accounts/{self.subjects.account}", []),
            "decisions": ("decisions", [f"limit={LIST_ROWS}"]),
            "decision": (f"decisions/{self.subjects.decision}", []),
        }[query]
        if as_of is not None:
            parameters = [*parameters, f"as_of={as_of}"]
        return f"{self._served.projector}/{self.name}/{path}?{'&'.join(parameters)}"


@click.command()
@click.option("--events", type=click.IntRange(20_000), default=LONG_EVENTS, show_default=True, help="In the long log.")
@click.option("--quick", is_flag=True, help=f"A long log of {QUICK_EVENTS:,} events, and few rounds: does it run?")
@click.option("--rounds", type=click.IntRange(ROUNDS_MIN, 60), default=ROUNDS, show_default=True)
@click.option("--query", "queries", type=click.Choice(QUERIES), multiple=True, help="Only these.")
@click.option("--seconds", type=click.IntRange(1), default=QUERY_SECONDS_MAX, show_default=True, help="For a query.")
@click.option("--seed", type=int, default=company.SEED, show_default=True)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep the database there, and use it again. Otherwise a temporary directory, removed in the end.",
)
@click.option("--name", default="history", show_default=True, help="Of the file in benchmarks/results.")
def main(
    events: int,
    quick: bool,
    rounds: int,
    queries: tuple[str, ...],
    seconds: int,
    seed: int,
    keep: Path | None,
    name: str,
) -> None:
    """Measure what an answer as of the middle of a long log costs.

    It starts a PostgreSQL and services of its own, on loopback only, and ends them. A million events take about
    3 GB on disk and ten minutes to load, once if they are kept.

    \b
    Examples:
      python -m benchmarks.history --quick
      python -m benchmarks.history --keep /tmp/bench
      python -m benchmarks.history --keep /tmp/bench --query requirement --rounds 30
    """
    if quick:
        events, rounds = QUICK_EVENTS, ROUNDS_MIN
        name = f"{name}-quick" if name == "history" else name
    try:
        asyncio.run(_measure(events, rounds, queries or QUERIES, seconds, seed, keep, name))
    except EXPLAINED as error:
        console.print(str(error), markup=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit("Stopped.")


async def _measure(
    events: int, rounds: int, queries: tuple[str, ...], seconds: int, seed: int, keep: Path | None, name: str
) -> None:
    lengths = {f"log-{SHORT_EVENTS}": SHORT_EVENTS, f"log-{events}": events}
    short_name, long_name = lengths
    with home(keep) as directory, progress_bar() as progress:
        async with database(directory, [*lengths]) as settings:
            loaded = {}
            for ledger, length in lengths.items():
                task = progress.add_task(f"{ledger}: recording", total=length)
                loaded[ledger] = await load_once(settings, ledger, length, partial(progress.advance, task), seed=seed)
            async with services(settings, "ledger", "projector") as served:
                catch_up = {}
                for ledger, length in lengths.items():
                    task = progress.add_task(f"{ledger}: projecting", total=length)
                    shown = partial(_show, progress, task)
                    catch_up[ledger] = await timed(partial(served.caught_up, ledger, shown))
                    await vacuum(settings, ledger)
                chosen = await choose(settings, lengths)
                logs = {ledger: Log(served, ledger, length, chosen[ledger], seed) for ledger, length in lengths.items()}
                samples: dict[str, dict[str, list[float]]] = {}
                cold: dict[str, dict[str, float]] = {}
                task = progress.add_task("asking", total=len(queries))
                for query in queries:
                    cases = {
                        "long, as of the middle": logs[long_name].case(query, "middle"),
                        "long, now": logs[long_name].case(query, "now"),
                        "short, as of the middle": logs[short_name].case(query, "middle"),
                        "short, now": logs[short_name].case(query, "now"),
                    }
                    cold[query] = {}
                    samples[query] = {}
                    # What is computed elsewhere, from all that is held, must not slow down what comes after it.
                    elsewhere = {"long, elsewhere": logs[long_name].case(query, "elsewhere")}
                    for compared in (cases, elsewhere):
                        samples[query] |= await alternate(
                            compared,
                            rounds=rounds,
                            seconds_max=seconds,
                            progress=partial(_tell, progress, task, query),
                            cold=cold[query],
                        )
                    progress.advance(task)
                    console.print(f"{query}: {_medians(samples[query])}")
                    # What one query has remembered must not answer for the next.
                    served.stop("projector")
                    served.start("projector")
                    await served.ready("projector")
                    for ledger in lengths:
                        await served.caught_up(ledger)
    figures = _figures(samples)
    # Read from a file as well as from a terminal.
    Console(width=TABLE_COLUMNS).print(_table(samples, events))
    path = write(
        name,
        figures,
        events={"long": events, "short": SHORT_EVENTS},
        log={
            ledger: {
                "stored_bytes_an_event": round(each.stored_bytes / each.events),
                "recording_seconds": round(each.seconds, 1),
                "projecting_seconds": round(catch_up[ledger], 1),
                "asked_about": logs[ledger].subjects,
            }
            for ledger, each in loaded.items()
        },
        cold_milliseconds={
            query: dict(zip(cases, milliseconds([*cases.values()]), strict=True)) for query, cases in cold.items()
        },
        milliseconds={
            query: {case: milliseconds(each) for case, each in cases.items()} for query, cases in samples.items()
        },
    )
    console.print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def _show(progress: Progress, task: TaskID, position: int) -> None:
    progress.update(task, completed=position)


def _tell(progress: Progress, task: TaskID, query: str, doing: str) -> None:
    progress.update(task, description=f"{query}: {doing}")


def _medians(cases: dict[str, list[float]]) -> str:
    return "; ".join(f"{case} {Figure.of(milliseconds(each)).value:,.1f} ms" for case, each in cases.items())


def _figures(samples: dict[str, dict[str, list[float]]]) -> dict[str, Figure]:
    """`as_of_vs_now` and `as_of_growth`, the worst of all queries, and those of each query."""
    vs_now, growth, figures = {}, {}, {}
    for query, cases in samples.items():
        vs_now[query] = Figure.ratio(cases["long, as of the middle"], cases["long, now"])
        growth[query] = Figure.ratio(cases["long, as of the middle"], cases["short, as of the middle"])
        figures[f"{query}: as_of_vs_now"] = vs_now[query]
        figures[f"{query}: as_of_growth"] = growth[query]
        figures[f"{query}: now_growth"] = Figure.ratio(cases["long, now"], cases["short, now"])
    worst = {"as_of_vs_now": vs_now, "as_of_growth": growth}
    return {name: max(each.values(), key=lambda figure: figure.value) for name, each in worst.items()} | figures


def _table(samples: dict[str, dict[str, list[float]]], events: int) -> Table:
    table = Table(title="Looking back: medians in milliseconds, and ratios")
    table.add_column("query")
    for heading in (
        f"{events:,} events,\nas of the middle",
        f"{events:,} events,\nnow",
        f"{SHORT_EVENTS:,} events,\nas of the middle",
        f"against now\n(at most {VS_NOW_MAX})",
        f"against the short log\n(at most {GROWTH_MAX})",
        "now, against now\nin the short log",
        "ms elsewhere\nin the long log",
    ):
        table.add_column(heading, justify="right")
    for query, cases in samples.items():
        long, now, short, short_now, elsewhere = cases.values()
        vs_now, growth = Figure.ratio(long, now).value, Figure.ratio(long, short).value
        table.add_row(
            query,
            *(f"{Figure.of(milliseconds(each)).value:,.1f}" for each in (long, now, short)),
            _judged(vs_now, VS_NOW_MAX),
            _judged(growth, GROWTH_MAX),
            f"{Figure.ratio(now, short_now).value:.2f}",
            f"{Figure.of(milliseconds(elsewhere)).value:,.1f}",
        )
    return table


def _judged(value: float, most: float) -> str:
    return f"{value:.2f}" if value <= most else f"[bold red]{value:.2f}[/]"


async def choose(settings: Settings, lengths: Mapping[str, int]) -> dict[str, Subjects]:
    """A requirement, an account and a decision for each of the logs that are much the same in all: in the shortest,
    which has the least to choose from, what comes nearest to the sizes that are wanted, and in the others what comes
    nearest to that."""
    connection = await connect(settings.url("projector"))
    chosen: dict[str, Subjects] = {}
    wanted = WANTED
    try:
        for ledger, length in sorted(lengths.items(), key=lambda each: each[1]):
            found = {kind: await _closest(connection, ledger, kind, length // 2, wanted[kind]) for kind in WANTED}
            sizes = {kind: {name: row[name] for name in WANTED[kind]} for kind, row in found.items()}
            names = {kind: row["name"] for kind, row in found.items()}
            chosen[ledger] = Subjects(sizes=sizes, **names)
            wanted = sizes
    finally:
        await connection.close()
    return chosen


async def _closest(
    connection: asyncpg.Connection, ledger: str, kind: str, middle: int, wanted: Mapping[str, int]
) -> asyncpg.Record:
    """What has counts that are the nearest to those wanted, the first by name of several. One that the log says nothing
    of before the middle has no answer there."""
    found = await connection.fetch(fill(_statements[kind], schema=ledger_schema(ledger)), middle)
    rows = [row for row in found if all(row[name] for name in wanted)]
    if not rows:
        raise RunningError(f"the log is too short to choose a {kind} to ask about")
    return min(rows, key=lambda row: (sum(abs(row[name] - count) for name, count in wanted.items()), row["name"]))


if __name__ == "__main__":
    main()
