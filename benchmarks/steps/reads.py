"""Steps that ask: one requirement and the list, as of the middle of each log, and what a proposal would change.

The read models of all logs are at their heads.
"""

from functools import partial
from statistics import median

from benchmarks import asking, company, history, what_if
from benchmarks.measuring import Case, Figure
from benchmarks.plan import scale
from benchmarks.rig import Rig
from benchmarks.rivals import OURS

HANDLER = "handler"


async def queries(rig: Rig) -> None:
    """In the longest log, beside a handler that fetches the same rows by their primary keys."""
    [*_, (length, ledger)] = rig.plan.long_logs().items()
    requirement, window, figures = rig.subjects[ledger].requirement, rig.plan.window, rig.found.figures
    async with asking.asked(rig.served, ledger, scale(length), requirement, rig.superuser("ledger")) as asked:
        for query in asking.QUERIES:
            cases: dict[str, Case] = {
                OURS: partial(asked.ours, query, window),
                "again": partial(asked.again, query, window),
                HANDLER: partial(asked.theirs, query, window),
            }
            if query == asking.OPENED:
                cases["opened"] = partial(asked.opened, query, window)
            found = await rig.alternate(f"query, {query}", cases)
            for case, rates in found.items():
                if case != HANDLER:
                    name = f"query_{query}_vs_handler" if case == OURS else f"query_{query}_{case}_vs_handler"
                    figures[name] = Figure.ratio(rates, found[HANDLER])
        cases = {
            OURS: partial(asked.after_event, asking.COUNTED, window),
            HANDLER: partial(asked.theirs_one_by_one, asking.COUNTED, window),
        }
        found = await rig.alternate(f"query, {asking.COUNTED}, after an event", cases)
        figures[f"query_{asking.COUNTED}_after_event_vs_handler"] = Figure.ratio(found[OURS], found[HANDLER])
    rig.found.about["asked_about"] = rig.subjects


async def looking_back(rig: Rig) -> None:
    """Each query in each log, as of its middle and for now."""
    logs = {
        length: history.Log(rig.served, ledger, length, rig.subjects[ledger], rig.seed, scale(length))
        for length, ledger in rig.plan.asked_logs().items()
    }
    samples: dict[str, dict[str, list[float]]] = {}
    *_, longest = logs
    for query in history.QUERIES:
        cases = {
            f"{length}, {where}": log.case(query, where) for length, log in logs.items() for where in ("middle", "now")
        }
        # A sample is one request, where others are windows of seconds: so there are more of them.
        samples[query] = await rig.alternate(
            f"asking for {query}", cases, rates=False, rounds=history.ROUNDS, seconds_max=rig.plan.seconds_max
        )
        for where in ("middle", "now"):
            found = {length: 1000 * median(samples[query][f"{length}, {where}"]) for length in logs}
            rig.found.over(f"milliseconds, {query}, {where}", found)
    short = rig.plan.short
    for figure, over, under in (
        ("query_growth", f"{longest}, now", f"{short}, now"),
        ("as_of_vs_now", f"{longest}, middle", f"{longest}, now"),
        ("as_of_growth", f"{longest}, middle", f"{short}, middle"),
    ):
        each = {query: Figure.ratio(found[over], found[under]) for query, found in samples.items()}
        rig.found.figures[figure] = max(each.values(), key=lambda ratio: ratio.value)
        rig.found.about[figure] = {query: ratio.value for query, ratio in each.items()}


async def proposals(rig: Rig) -> None:
    """One what-if after the other, over each log."""
    trials = {
        length: what_if.Trial(rig.served, ledger, length, scale(length))
        for length, ledger in rig.plan.asked_logs().items()
    }
    cases = {f"{length}": trial.what_if for length, trial in trials.items()}
    found = await rig.alternate("what-if", cases, rates=False)
    rig.found.over("seconds of a what-if", {int(length): median(samples) for length, samples in found.items()})
    *_, longest = trials
    rig.found.figures["what_if_s"] = Figure.of(found[f"{longest}"])
    rig.found.about["what_if_asks"] = round(longest * company.ASKS)
