"""All figures in one run, on one machine: the ledger beside what a user would pick instead, and beside the limits.

Whatever is compared runs in alternation. What fails is left out of the table, with the reason, and the rest goes on.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import company, history
from benchmarks.clients import ClientError
from benchmarks.figures import AIMS, NOT_PART, Line, lines, shown
from benchmarks.found import Found, reason
from benchmarks.measuring import console, machine, progress_bar
from benchmarks.page import page
from benchmarks.peers import PeerError
from benchmarks.plan import ACCOUNTS, BURST, FULL, GROWN, HOUR_SECONDS, QUICK, REQUIREMENTS, TOY, Plan
from benchmarks.processes import watching
from benchmarks.rig import Rig
from benchmarks.rivals import BATCHES, SINGLE
from benchmarks.running import EXPLAINED, database, home, services
from benchmarks.steps import footprint, read_models, reads, writes

RESULTS = Path(__file__).with_name("results.json")
PART = RESULTS.parent / "results" / "part-quick.json"
"""Not kept, as whatever is named so: a part does not take the place of the whole."""
TABLE_COLUMNS = 150

Step = Callable[[Rig], Awaitable[None]]

SHORT_STEPS: Mapping[str, Step] = {
    "single": writes.single,
    "batches": writes.batches,
    "tree": writes.tree_cost,
    "latency": writes.latency,
    "catchup": read_models.catchup,
    "memory": footprint.memory,
}
READ_STEPS: Mapping[str, Step] = {
    "queries": reads.queries,
    "history": reads.looking_back,
    "what-if": reads.proposals,
    "rebuild": read_models.rebuild,
    "storage": footprint.on_disk,
    "visible": writes.visible,
}
"""Those that need the read models of the long logs; the last adds to them."""
LONG_STEPS = (*READ_STEPS, "growth")
STEPS = (*SHORT_STEPS, *LONG_STEPS, "start")

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


@click.command()
@click.option("--quick", is_flag=True, help="In at most 8 minutes: a long log of 100,000 events, short windows.")
@click.option("--toy", is_flag=True, help="Without peers, in three minutes: does it run? Its figures say nothing.")
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
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Of results; the page beside it. By default results.json, of a toy or of some steps results/part-quick.json.",
)
def main(
    quick: bool,
    toy: bool,
    events: tuple[int, ...],
    hour: bool,
    only: str | None,
    seed: int,
    keep: Path | None,
    out: Path | None,
) -> None:
    """Measure the ledger beside its peers and its limits, in one run.

    It starts a PostgreSQL and services of its own, on loopback only, and ends them. One table goes to stdout, progress
    to stderr; figures and samples to results.json, plots to results.html beside it (those of a part elsewhere).

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
    if out is None:
        out = RESULTS if only is None and not toy else PART
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
        found, seconds = uvloop.run(_bench(plan, steps, seed, keep))
        _tell(found, plan, steps, seconds, out)
    except EXPLAINED as error:
        console.print(str(error), markup=False)
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("Stopped.")


async def _bench(plan: Plan, steps: tuple[str, ...], seed: int, keep: Path | None) -> tuple[Found, int]:
    """What was found, and in how many seconds."""
    begun = time.monotonic()
    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    found = Found()
    with home(keep) as directory, progress_bar() as progress:
        task = progress.add_task("", total=len(steps))
        async with (
            database(directory, [BURST]) as settings,
            services(settings) as served,
            watching(served, found.watch),
        ):
            rig = Rig(plan, seed, directory, settings, served, found, progress, task)
            await _run(rig, steps)
        if "start" in steps:
            await _step(rig, "start", footprint.start)
    return found, round(time.monotonic() - begun)


async def _run(rig: Rig, steps: tuple[str, ...]) -> None:
    """Those of the steps that want a database."""
    served = rig.served
    if {*SHORT_STEPS} & {*steps}:
        await rig.load(GROWN, rig.plan.short)
    served.start("ledger")
    await served.ready("ledger")
    for name, work in SHORT_STEPS.items():
        if name in steps:
            await _step(rig, name, work)
        # Each begins with the ledger alone, however the one before it has ended.
        if "projector" in served.running():
            served.stop("projector")
    if {*READ_STEPS} & {*steps}:
        rig = await _projected(rig)
        for name, work in READ_STEPS.items():
            if name in steps:
                await _step(rig, name, work)
        served.stop("projector")
    if "growth" in steps:
        await _step(rig, "growth", writes.growth)
    if "memory" in steps:
        footprint.most_memory(rig)


async def _step(rig: Rig, name: str, work: Step) -> None:
    """Do one thing; if it fails, its figures say why."""
    found = rig.found
    found.watch.during = name
    rig.say(name)
    begun = time.monotonic()
    try:
        await work(rig)
    except Exception as error:  # Whatever one step meets, an hour of the others is not to be lost with it.
        why = reason(error)
        console.print(f"{name} failed: {why}", markup=False)
        if not isinstance(error, (*EXPLAINED, ClientError, PeerError)):
            console.print_exception(max_frames=4)
        for figure in GIVES.get(name, ()):
            found.missing.setdefault(figure, why)
    took = round(time.monotonic() - begun, 1)
    found.about.setdefault("step_seconds", {})[name] = took
    console.print(f"{name}: {took:,.0f} s")
    rig.progress.advance(rig.task)


async def _projected(rig: Rig) -> Rig:
    """With the read models of all logs that are asked about, and what is asked about in each."""
    rig.found.watch.during = "projecting"
    await read_models.by_length(rig)
    logs = rig.plan.asked_logs()
    await rig.start_projector()
    for ledger in logs.values():
        await rig.served.caught_up(ledger)
    subjects = await history.choose(rig.settings, {ledger: length for length, ledger in logs.items()})
    return msgspec.structs.replace(rig, subjects=subjects)


def _tell(found: Found, plan: Plan, steps: tuple[str, ...], seconds: int, out: Path) -> None:
    """The table to stdout; value and samples, and the page, to files."""
    told = lines(found.figures, found.missing)
    Console(width=TABLE_COLUMNS).print(_table(plan, told))
    content = msgspec.json.encode(_results(found, plan, steps, seconds))
    out.write_bytes(msgspec.json.format(content, indent=1) + b"\n")
    beside = out.with_suffix(".html")
    beside.write_text(page(msgspec.json.decode(content), told))
    console.print(f"written: {out} and {beside.name}, after {seconds:,} s")


def _results(found: Found, plan: Plan, steps: tuple[str, ...], seconds: int) -> dict[str, Any]:
    """What results.json holds. A figure that was not measured has no value, and says why."""
    unmeasured = {aim.name: NOT_PART for aim in AIMS} | found.missing
    reasons: dict[str, Any] = {
        name: {"value": None, "samples": [], "reason": why}
        for name, why in unmeasured.items()
        if name not in found.figures
    }
    return {
        "benchmark": plan.name,
        "on": machine(),
        "about": {
            "seconds": seconds,
            "steps": steps,
            "plan": plan,
            "accounts": ACCOUNTS,
            "requirements": REQUIREMENTS,
            **found.about,
        },
        "figures": {**found.figures, **reasons},
        "rates": found.rates,
        "seconds": found.seconds,
        "over_length": found.over_length,
        "storage": found.storage,
        "memory": found.watch.told(),
    }


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
