"""What processes take: of the processors, and of memory."""

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
from msgspec import Struct

from benchmarks.running import Served

MEGABYTE = 1_000_000
SAMPLE_SECONDS = 0.5
SPANS_TOLD = 500

_PSS = re.compile(r"^Pss: +(\d+) kB$", re.MULTILINE)
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)


class Memory(Struct, frozen=True):
    """What a service holds, in MB: its processes together, what they share counted once (PSS)."""

    seconds: float
    during: str
    service: str
    megabytes: float


class Watch:
    """Memory of the services that run, sampled while anything else is done. `during` says what."""

    def __init__(self) -> None:
        self.during = ""
        self.samples: list[Memory] = []
        self.peaks: dict[str, float] = {}
        """The most of each service by the kernel's count, which misses nothing between two samples, in MB."""

    def most(self, service: str) -> dict[str, float]:
        """For each thing that was done, the most that the service held."""
        found: dict[str, float] = {}
        for each in self.samples:
            if each.service == service:
                found[each.during] = max(found.get(each.during, 0.0), each.megabytes)
        return found

    def told(self) -> list[Memory]:
        """For a file and a plot: of each 500th part of the time the most that each service held."""
        if not self.samples:
            return []
        begun = self.samples[0].seconds
        span = max(SAMPLE_SECONDS, (self.samples[-1].seconds - begun) / SPANS_TOLD)
        highest: dict[tuple[str, str, int], Memory] = {}
        for each in self.samples:
            place = each.service, each.during, int((each.seconds - begun) / span)
            if place not in highest or highest[place].megabytes < each.megabytes:
                highest[place] = each
        return [*highest.values()]


@asynccontextmanager
async def watching(served: Served, watch: Watch) -> AsyncIterator[None]:
    async def sample() -> None:
        while True:
            for service, pid in served.running().items():  # One may be stopped while another is looked at.
                with contextlib.suppress(psutil.Error, OSError):
                    used, peak = await asyncio.to_thread(_looked_at, pid)
                    watch.samples.append(Memory(time.monotonic(), watch.during, service, round(used, 1)))
                    watch.peaks[service] = max(watch.peaks.get(service, 0.0), peak)
            await asyncio.sleep(SAMPLE_SECONDS)

    task = asyncio.create_task(sample())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def memory_mb(pid: int) -> float:
    """Of a process and its descendants, in MB: PSS, or the resident set where the system does not tell that."""
    return sum(_bytes(each.pid) for each in _family(pid)) / MEGABYTE


def peak_mb(pid: int) -> float:
    """The most that a process and its descendants have held since each began, in MB, as the kernel counts: what they
    share counts for each of them, and their peaks as if they were at once. 0 where the system does not tell."""
    total = 0
    for each in _family(pid):
        with contextlib.suppress(OSError):
            total += sum(map(int, _PEAK.findall(Path(f"/proc/{each.pid}/status").read_text()))) * 1024
    return round(total / MEGABYTE, 1)


def _looked_at(pid: int) -> tuple[float, float]:
    return memory_mb(pid), peak_mb(pid)


def processor_seconds(pid: int) -> float:
    """What a process and its descendants have taken of the processors, those that have ended and were waited for
    too."""
    total = 0.0
    for each in _family(pid):
        with contextlib.suppress(psutil.Error):
            used = each.cpu_times()
            total += used.user + used.system + used.children_user + used.children_system
    return total


def database_pid(home: Path) -> int:
    return int((home / "database" / "postmaster.pid").read_text().split("\n")[0])


def clock_of(served: Served, *services: str) -> Callable[[], float]:
    """Tells the seconds of processors that these services and the database have taken."""

    def read() -> float:
        pids = [served.pid(service) for service in services]
        return sum(processor_seconds(pid) for pid in (*pids, database_pid(served.settings.home)))

    return read


def _family(pid: int) -> list[psutil.Process]:
    first = psutil.Process(pid)
    return [first, *first.children(recursive=True)]


def _bytes(pid: int) -> int:
    try:
        [kib] = _PSS.findall(Path(f"/proc/{pid}/smaps_rollup").read_text())
        return int(kib) * 1024
    except (OSError, ValueError):
        return int(psutil.Process(pid).memory_info().rss)
