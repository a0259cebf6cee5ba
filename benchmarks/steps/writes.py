"""Steps that record: single events and batches, how long one takes beside the projector, what the tree costs, and what
a long log does."""

import time
from contextlib import AsyncExitStack
from functools import partial
from statistics import median

from benchmarks import limits, recording, rivals, tree
from benchmarks.clients import connected
from benchmarks.measuring import ROUNDS_MIN, Case, Figure, milliseconds
from benchmarks.plan import GROWN, scale
from benchmarks.rig import Rig
from benchmarks.rivals import OURS
from benchmarks.running import free_ports

EMPTY, EMPTY_EACH = "empty handler", "empty handler, as many processes"
GROWING, SEEN = "growing", "seen"
"""Ledgers that begin short, beside the long ones."""


async def single(rig: Rig) -> None:
    """Single events, beside the peers and an empty handler."""
    window, figures = rig.plan.window, rig.found.figures
    processes = rig.settings.processes
    async with AsyncExitStack() as stack:
        load = await stack.enter_async_context(rig.loading(GROWN, 1, recording.SINGLE_CONNECTIONS))
        cases: dict[str, Case] = {OURS: partial(load.window, window)}
        for name, count in {EMPTY: 1, EMPTY_EACH: processes}.items():
            if name == EMPTY or processes > 1:
                handler = await stack.enter_async_context(rivals.empty_handler(rig, count))
                cases[name] = partial(handler.window, window)
        cases |= await rivals.ready(rig, stack, rivals.SINGLE)
        found = await rig.alternate("single", cases)
        figures["clients_microseconds_a_request"] = await _own_cost(rig, stack)
    rig.found.about["ledger_processes"] = processes
    rivals.ratios(rig.found, found, rivals.SINGLE)
    figures["single_vs_empty_handler"] = Figure.ratio(found[OURS], found[EMPTY])
    figures["single_vs_empty_handler_per_process"] = Figure.ratio(found[OURS], found.get(EMPTY_EACH, found[EMPTY]))


async def _own_cost(rig: Rig, stack: AsyncExitStack) -> Figure:
    """What a request takes of the processors in the clients themselves."""
    window = rig.plan.window
    handler = await stack.enter_async_context(rivals.empty_handler(rig, 1))
    await handler.window(window)
    samples = []
    for _ in range(ROUNDS_MIN):
        handler.prepare(window)
        before = time.process_time()
        rate = await handler.window(window)
        samples.append(1e6 * (time.process_time() - before) / (rate * window))
    return Figure.of(samples)


async def batches(rig: Rig) -> None:
    """Batches, beside COPY of the same rows, the peers, and SHA-256."""
    async with AsyncExitStack() as stack:
        load = await stack.enter_async_context(rig.loading(GROWN, recording.BATCH_EVENTS, recording.BATCH_CONNECTIONS))
        cases: dict[str, Case] = {OURS: partial(load.window, rig.plan.window)}
        cases |= await rivals.ready(rig, stack, rivals.BATCHES)
        found = await rig.alternate("batches", cases)
    rivals.ratios(rig.found, found, rivals.BATCHES)


async def tree_cost(rig: Rig) -> None:
    """Batches, with the tree and without."""
    kind, short = tree.KINDS[0], rig.plan.short
    async with tree.Integration(rig.settings, rig.served, GROWN) as integration:
        recorded = tree.Recording(rig.served, integration, GROWN, kind, short, scale(short))
        try:
            found = await rig.alternate(
                "tree",
                {case: recorded.window(rig.plan.window, case) for case in (tree.WITH, tree.WITHOUT)},
                mirrored=True,
            )
        finally:
            await integration.go_on(rig.served)
    rig.found.figures["tree_cost"] = Figure.ratio(found[tree.WITHOUT], found[tree.WITH])
    rig.found.figures["tree_lag_s"] = Figure.of(recorded.lags[-len(found[tree.WITH]) :])


async def latency(rig: Rig) -> None:
    """Half of full load, with the projector, as `make run` has it."""
    served, plan, figures = rig.served, rig.plan, rig.found.figures
    head = await rig.projecting(GROWN)
    await recording.introduce(served, GROWN)
    halves: list[recording.Half] = []
    empty: list[float] = []
    async with rig.loading(GROWN, 1, recording.SINGLE_CONNECTIONS) as load:
        full: dict[str, Case] = {"full": partial(load.window, plan.window)}
        found = await rig.alternate("full load, with the projector", full)
    rate = median(found["full"]) / 2
    of, key = scale(plan.short), recording.key(served)
    feed = recording.Feed(recording.path_of(GROWN), head, of, key, events=1)
    to_nobody = recording.Feed("/", head, of, key, events=1)
    [port] = free_ports(1)
    async with limits.empty_handler(port), connected(port, recording.SINGLE_CONNECTIONS) as clients:
        for number in range(ROUNDS_MIN + plan.warm_up):
            rig.say(f"latency: window {number + 1} at {rate:,.0f} events a second")
            await served.caught_up(GROWN)
            seconds, seed = plan.half_window, rig.seed + number
            half = await recording.half_load(served, GROWN, feed, rate, seconds, seed=seed)
            await served.caught_up(GROWN)
            nothing = await recording.half_empty(clients, to_nobody, rate, seconds, seed=seed)
            if number >= plan.warm_up:
                halves.append(half)
                empty.append(nothing)
    figures["append_p99_ms"] = Figure.of(milliseconds([each.append_p99 for each in halves]))
    figures["append_median_ms"] = Figure.of(milliseconds([each.append_median for each in halves]))
    figures["empty_handler_p99_ms"] = Figure.of(milliseconds(empty))
    figures["visible_p99_ms"] = Figure.of(milliseconds([each.visible_p99 for each in halves]))
    figures["visible_median_ms"] = Figure.of(milliseconds([each.visible_median for each in halves]))
    rig.found.about["latency"] = {
        "events_a_second": round(rate),
        "clients_late_p99_ms": milliseconds([each.lateness_p99 for each in halves]),
    }


async def visible(rig: Rig) -> None:
    """Half of full load with the projector, in a short log and in the long ones, in alternation."""
    served, plan = rig.served, rig.plan
    await rig.load(SEEN, plan.short)
    logs = {plan.short: SEEN, **plan.long_logs()}
    async with rig.loading(SEEN, 1, recording.SINGLE_CONNECTIONS) as load:
        full: dict[str, Case] = {"full": partial(load.window, plan.window)}
        found = await rig.alternate("full load, with all logs", full)
    rate = median(found["full"]) / 2
    halves: dict[int, list[recording.Half]] = {length: [] for length in logs}

    async def half(length: int, ledger: str, feed: recording.Feed) -> float:
        await served.caught_up(ledger)
        seed = rig.seed + len(halves[length])
        halves[length].append(await recording.half_load(served, ledger, feed, rate, plan.half_window, seed=seed))
        return halves[length][-1].visible_p99

    cases: dict[str, Case] = {}
    for length, ledger in logs.items():
        await recording.introduce(served, ledger)
        path, key = recording.path_of(ledger), recording.key(served)
        feed = recording.Feed(path, length, scale(length), key, events=1)
        cases[f"{length}"] = partial(half, length, ledger, feed)
    found = await rig.alternate("visible by length", cases, rates=False)
    counted = {length: each[-len(found[f"{length}"]) :] for length, each in halves.items()}
    medians = {length: [half.visible_median for half in each] for length, each in counted.items()}
    appended = {length: [half.append_median for half in each] for length, each in counted.items()}
    short, *_, longest = medians.values()
    rig.found.figures["visible_growth"] = Figure.ratio(longest, short)
    for what, of in (
        ("milliseconds until an event is visible, median", medians),
        ("milliseconds until an event is visible, 99 of 100", {int(k): each for k, each in found.items()}),
        ("milliseconds to record at half of full load", appended),
    ):
        rig.found.over(what, {length: 1000 * median(each) for length, each in of.items()})
    rig.found.about["visible"] = {
        "events_a_second": round(rate),
        "heads": {ledger: await served.caught_up(ledger) for ledger in logs.values()},
    }


async def growth(rig: Rig) -> None:
    """Single events, then batches, in a short log and in the long ones, in alternation. No projector runs."""
    logs = {rig.plan.short: GROWING, **rig.plan.long_logs()}
    for length, ledger in logs.items():
        await rig.load(ledger, length)
    for events, connections, figure, what in (
        (1, recording.SINGLE_CONNECTIONS, "append_growth", "microseconds to record an event"),
        (recording.BATCH_EVENTS, recording.BATCH_CONNECTIONS, "batch_growth", "microseconds to record one of a batch"),
    ):
        cases: dict[str, Case] = {}
        async with AsyncExitStack() as stack:
            for length, ledger in logs.items():
                load = await stack.enter_async_context(rig.loading(ledger, events, connections, length))
                cases[f"{length}"] = partial(load.window, rig.plan.window)
            found = await rig.alternate(f"{figure}, by length", cases)
        short, *_, longest = found.values()
        rig.found.figures[figure] = Figure.ratio(short, longest)
        rig.found.over(what, {int(length): 1e6 / median(rates) for length, rates in found.items()})
