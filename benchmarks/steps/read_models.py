"""Steps that make read models: all of them from the beginning of a log, and one anew."""

from contextlib import AsyncExitStack
from functools import partial
from statistics import median

from rich.progress import Progress, TaskID

from benchmarks import projecting, rivals
from benchmarks.measuring import ROUNDS_MIN, Case, Figure, console
from benchmarks.rig import Rig
from benchmarks.rivals import OURS
from benchmarks.running import RunningError, is_loaded, vacuum

CAUGHT_UP = "caught-up"
START = "start"
SHARE_MIN = 0.1  # Of what was measured, for it to say anything beside a start.


async def catchup(rig: Rig) -> None:
    """All read models of a log, beside those of the peers; then one anew, beside the live one."""
    async with rig.anew() as alone:
        await _catchup(alone)


async def _catchup(rig: Rig) -> None:
    served, figures = rig.served, rig.found.figures
    await rig.load(CAUGHT_UP, rig.plan.caught_up)
    whole: list[projecting.Went] = []
    idle: list[projecting.Went] = []
    built: list[projecting.Went] = []

    async def everything() -> float:
        await projecting.forget(rig.settings, CAUGHT_UP)
        whole.append(await projecting.catch_up(served, CAUGHT_UP))
        return whole[-1].events / whole[-1].seconds

    async def nothing() -> float:
        """What a start takes by itself."""
        idle.append(await projecting.catch_up(served, CAUGHT_UP))
        return idle[-1].seconds

    async with AsyncExitStack() as stack:
        cases: dict[str, Case] = {OURS: everything, START: nothing}
        cases |= await rivals.ready(rig, stack, rivals.CATCHUP, rig.plan.peer_caught_up)
        found = await rig.alternate("catch-up", cases, warm_up=1)
    head = await rig.projecting(CAUGHT_UP)
    for _ in range(ROUNDS_MIN):
        rig.say(f"catch-up: {projecting.REBUILT} built anew")
        built.append(await projecting.rebuild(served, CAUGHT_UP, head))
    # What a start takes by itself is no catching up, and the peers' does not count either.
    rig.found.seconds["catch-up"] = {START: rig.found.rates["catch-up"].pop(START)}
    start = median(each.processor_seconds for each in idle)
    start_seconds = median(each.seconds for each in idle)
    counted = whole[-len(found[OURS]) :]
    figures["catchup_per_core"] = Figure.of([each.events / _beyond(start, each.processor_seconds) for each in counted])
    found[OURS] = [each.events / _beyond(start_seconds, each.seconds) for each in counted]
    figures["catchup_events_a_second"] = Figure.of(found[OURS])
    figures["rebuild_per_core"] = Figure.of([each.events / each.processor_seconds for each in built])
    rivals.ratios(rig.found, found, rivals.CATCHUP)


def _beyond(start: float, seconds: float) -> float:
    """What it took beside a start. Raises RunningError if that cannot be told from a start."""
    beyond = seconds - start
    if beyond < SHARE_MIN * seconds:
        raise RunningError(f"to catch up took {seconds:.2f} s, and a start alone {start:.2f}: more events are needed")
    return beyond


async def by_length(rig: Rig) -> None:
    """All read models of the logs that are asked about: one log after the other, each with a projector to itself; the
    short one several times, as a start takes longer than it does. Those kept from an earlier run catch up beforehand,
    and are not measured."""
    logs = rig.plan.asked_logs()
    kept = [ledger for ledger in logs.values() if is_loaded(rig.settings, ledger)]
    if kept:
        await rig.start_projector()
        for ledger in kept:
            await rig.served.caught_up(ledger)
        rig.served.stop("projector")
    clock: dict[int, float] = {}
    processors: dict[int, float] = {}
    for length, ledger in logs.items():
        await rig.load(ledger, length)
        if ledger not in kept:
            whole, idle = await _with_starts(rig, ledger, length, ROUNDS_MIN if length == rig.plan.short else 1)
            try:
                clock[length] = _beyond(idle.seconds, whole.seconds) / whole.events
                processors[length] = _beyond(idle.processor_seconds, whole.processor_seconds) / whole.events
            except RunningError as error:
                console.print(str(error), markup=False)
        await vacuum(rig.settings, ledger)
    for what, of in (("by the clock", clock), ("of processors", processors)):
        rig.found.over(f"microseconds {what} to project an event", {length: 1e6 * each for length, each in of.items()})


async def _with_starts(rig: Rig, ledger: str, length: int, rounds: int) -> tuple[projecting.Went, projecting.Went]:
    """Medians of projecting a whole log, start and all, and of starts alone, in alternation."""
    served = rig.served
    whole: list[projecting.Went] = []
    idle: list[projecting.Went] = []
    for _ in range(rounds):
        await projecting.forget(rig.settings, ledger)
        task = rig.progress.add_task(f"{ledger}: projecting", total=length)
        whole.append(await projecting.catch_up(served, ledger, partial(_show, rig.progress, task)))
        rig.progress.remove_task(task)
        idle.append(await projecting.catch_up(served, ledger))
    return projecting.medians(whole), projecting.medians(idle)


def _show(progress: Progress, task: TaskID, position: int) -> None:
    progress.update(task, completed=position)


async def rebuild(rig: Rig) -> None:
    """One projection of each log, beside the live one."""
    found = {}
    for length, ledger in rig.plan.asked_logs().items():
        rig.say(f"rebuild: {projecting.REBUILT} of {ledger}")
        went = await projecting.rebuild(rig.served, ledger, await rig.served.caught_up(ledger))
        found[length] = 1e6 * went.seconds / went.events
    rig.found.over("microseconds to rebuild, an event", found)
