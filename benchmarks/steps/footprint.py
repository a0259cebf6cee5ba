"""Steps that say what the services take: memory at full load, bytes on disk, and the seconds of a start."""

import time

from benchmarks import recording, starting
from benchmarks.figures import slope_per_hour
from benchmarks.measuring import Figure
from benchmarks.plan import BURST, GROWN
from benchmarks.rig import Rig
from benchmarks.running import home
from benchmarks.storage import storage

SLOPE_SECONDS_MIN = 600  # What is taken up in the first minutes is no growth.
FULL_WINDOW_SECONDS = 10.0
SERVICES = ("ledger", "projector")


async def memory(rig: Rig) -> None:
    """Both services, singles as fast as they go, then requests of 16 MiB from many clients at once."""
    plan, found = rig.plan, rig.found
    await rig.projecting(GROWN)
    begun = time.monotonic()
    recorded = 0.0
    async with rig.loading(GROWN, 1, recording.SINGLE_CONNECTIONS) as load:
        until = time.monotonic() + plan.full_load
        while (left := until - time.monotonic()) > 0:
            seconds = min(FULL_WINDOW_SECONDS, left)
            recorded += seconds * await load.window(seconds)
    ended = time.monotonic()
    found.about["full_load"] = {"events": round(recorded), "seconds": round(ended - begun)}
    for service in SERVICES if plan.full_load >= SLOPE_SECONDS_MIN else ():
        # What a process takes up in its first seconds is no growth.
        kept = [
            each
            for each in found.watch.samples
            if each.service == service and begun + (ended - begun) / 4 < each.seconds < ended
        ]
        found.figures[f"{service}_mb_an_hour"] = Figure.of(
            [slope_per_hour([each.seconds for each in kept], [each.megabytes for each in kept])]
        )
    found.watch.during = "burst"
    rig.say("memory: burst")
    found.about["burst"] = await recording.burst(
        rig.served, BURST, connections=plan.burst_clients, seconds=plan.burst_seconds
    )
    await rig.served.caught_up(BURST)


def most_memory(rig: Rig) -> None:
    """The most that each service has held in the whole run, when all else is done."""
    for service in SERVICES:
        if most := rig.found.watch.most(service):
            most["the kernel's count"] = rig.found.watch.peaks[service]
            rig.found.figures[f"{service}_rss_mb"] = Figure(max(most.values()), [*most.values()])
            rig.found.about.setdefault("most_memory_mb", {})[service] = most


async def on_disk(rig: Rig) -> None:
    """Heap and indexes of each table of each log."""
    for length, ledger in rig.plan.asked_logs().items():
        head = await rig.served.caught_up(ledger)
        rig.found.storage[str(length)] = await storage(rig.settings, ledger, head)
    *_, tables = rig.found.storage.values()
    rig.found.figures["bytes_an_event"] = Figure.of([sum(each.heap + each.indexes for each in tables)])


async def start(rig: Rig) -> None:
    """`make run` in a home of its own: the first start makes it, and does not count."""
    with home(None) as directory:
        await starting.start(directory)
        seconds = [await starting.start(directory) for _ in range(rig.plan.starts)]
    rig.found.figures["warm_start_s"] = Figure.of(seconds)
