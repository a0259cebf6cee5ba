"""What was refused, counted by spot, so that an emitter's owner sees what to mend.

Refusing is cheap and never waits: it counts in memory, and a task writes the counts every second. A process that is
killed loses the counts of that second, and nothing else. A count is no promise: one that was written while the
connection broke may be written again.

Nothing of what was sent is kept. A pointer has `*` in place of a place in a list and of a name that the emitter made
up, and so what is refused for the same reason adds up. A message is kept in its plain form: whoever refuses says
what that is, and where there is none the title of the problem stands for it.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Set
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from types import TracebackType

import asyncpg
import structlog
from msgspec import Struct

from schemas.events import SEALED_FIELDS
from services.postgres import Pool, Unavailable, ledger_schema, unavailable
from services.problems import KINDS
from services.statements import Statements

DAYS_KEPT = 14
SPOTS_MAX = 100  # Of a source, a day and a ledger; the rest is counted at `…`.
SOURCES_MAX = 1_000  # Of a day and a ledger; the rest is counted for no source.
WAITING_SPOTS_MAX = 10_000  # Of a ledger in one process, between two writes.
WRITE_SECONDS = 1.0
LAST_WRITE_SECONDS_MAX = 2.0
POINTER_CHARS_MAX = 200
POINTER_STEPS_MAX = 12

ELSEWHERE = "…"

# Whatever is below these members has names that an emitter makes up, or that could be a sealed text.
MADE_UP = {"attributes", "labels", *(name for names in SEALED_FIELDS.values() for name in names)}

_log = structlog.get_logger()
_statements = Statements.load(Path(__file__).with_name("refusals.sql"))
_NAME = re.compile(r"[A-Za-z@][A-Za-z0-9_]{0,39}")


class Spot(Struct, frozen=True):
    """Where and why events of a source are refused. A source or type of "" is one that the event did not say."""

    source: str
    type: str
    problem: str
    pointer: str


class Count(Struct, frozen=True):
    """How often, when last, and what was said of it then."""

    count: int
    last: datetime
    message: str

    def plus(self, other: "Count") -> "Count":
        latest = max(self, other, key=lambda count: count.last)
        return Count(self.count + other.count, latest.last, latest.message)


Counts = dict[tuple[date, Spot], Count]


class Refusals:
    """The counts of all ledgers of one database. Entering starts to write them; leaving writes what is left.

    `clock` says which day it is: days are those of UTC.
    """

    def __init__(self, pool: Pool, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._pool = pool
        self._clock = clock
        self._waiting: dict[str, Counts] = {}
        self._kept_from: dict[str, date | None] = {}
        self._writing = asyncio.Lock()
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> "Refusals":
        self._task = asyncio.create_task(self._run(), name="refusals")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        with suppress(TimeoutError):
            await asyncio.wait_for(self._write_all(), LAST_WRITE_SECONDS_MAX)

    def count(self, ledger: str, source: str, type: str, refusals: Iterable[tuple[str, str, str]]) -> None:
        """Count an event that was refused: problem, pointer and plain message of each of its spots, each once."""
        now = self._clock()
        waiting = self._waiting.setdefault(ledger, {})
        counted: set[Spot] = set()
        for problem, pointer, plain in refusals:
            spot = Spot(source, type, problem, _general(pointer[: 2 * POINTER_CHARS_MAX]))
            if spot in counted:
                continue
            counted.add(spot)
            key = (now.date(), spot)
            if key not in waiting and len(waiting) >= WAITING_SPOTS_MAX:
                key = (now.date(), Spot("", "", problem, ELSEWHERE))
            count = Count(1, now, plain or KINDS[problem].title)
            waiting[key] = waiting[key].plus(count) if key in waiting else count

    def keep(self, ledger: str) -> None:
        """See to it that old days of this ledger are dropped."""
        self._kept_from.setdefault(ledger, None)

    async def write(self, ledger: str) -> None:
        """Write what was counted so far in this ledger.

        Raises Unavailable and PostgresError, and then it waits on. With any other error, a mistake of ours, it is lost:
        what cannot be written now cannot be later, and would hold up what comes next.
        """
        async with self._writing:
            counts = self._waiting.pop(ledger, {})
            try:
                if counts:
                    await self._add(ledger, counts)
                await self._forget(ledger)
            except (Unavailable, asyncpg.PostgresError, asyncio.CancelledError):
                later = self._waiting.setdefault(ledger, {})
                for key, count in counts.items():
                    later[key] = count.plus(later[key]) if key in later else count
                raise

    async def _run(self) -> None:
        while not self._stopping.is_set():
            await asyncio.sleep(WRITE_SECONDS)
            await self._write_all()

    async def _write_all(self) -> None:
        for ledger in {*self._waiting, *self._kept_from}:
            try:
                await self.write(ledger)
            except (Unavailable, asyncpg.PostgresError) as error:
                _log.warning("refusals_not_written", ledger=ledger, reason=type(error).__name__)
            except Exception:
                _log.exception("refusals_lost", ledger=ledger)

    async def _add(self, ledger: str, counts: Counts) -> None:
        sql = _statements.bind(schema=ledger_schema(ledger))
        days = sorted({day for day, _ in counts})
        with unavailable():
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(sql["lock"])
                names = sorted({spot.source for _, spot in counts} | {""})
                known: dict[tuple[date, str], set[Spot]] = {}
                for row in await connection.fetch(sql["known"], days, names):
                    spot = Spot(row["source"], row["type"], row["problem"], row["pointer"])
                    known.setdefault((row["day"], spot.source), set()).add(spot)
                sources: dict[date, set[str]] = {day: set() for day in days}
                if any((day, spot.source) not in known for day, spot in counts):
                    for row in await connection.fetch(sql["sources"], days):
                        sources[row["day"]].add(row["source"])
                rows = [*bounded(counts, known, sources).items()]
                await connection.execute(
                    sql["add"],
                    [day for (day, _), _ in rows],
                    [spot.source for (_, spot), _ in rows],
                    [spot.type for (_, spot), _ in rows],
                    [spot.problem for (_, spot), _ in rows],
                    [spot.pointer for (_, spot), _ in rows],
                    [count.count for _, count in rows],
                    [count.last for _, count in rows],
                    [count.message for _, count in rows],
                )

    async def _forget(self, ledger: str) -> None:
        today = self._clock().date()
        if self._kept_from.get(ledger) == today:
            return
        sql = _statements.bind(schema=ledger_schema(ledger))
        with unavailable():
            await self._pool.execute(sql["forget"], oldest(today) - timedelta(days=1))
        self._kept_from[ledger] = today


def oldest(today: date) -> date:
    """The first day that is kept."""
    return today - timedelta(days=DAYS_KEPT - 1)


def bounded(
    counts: Mapping[tuple[date, Spot], Count],
    known: Mapping[tuple[date, str], Set[Spot]],
    sources: Mapping[date, Set[str]],
    *,
    spots_max: int = SPOTS_MAX,
    sources_max: int = SOURCES_MAX,
) -> Counts:
    """The counts as they may be added to what is `known` of each day and source; `sources`: those of each day.

    A source has so many spots a day, and what comes later counts at `…`; a day has so many sources, and what comes
    later counts for none.
    """
    spots = {key: set(found) for key, found in known.items()}
    there = {
        day: set(names) | {source for known_day, source in known if known_day == day} for day, names in sources.items()
    }
    added: Counts = {}
    for (day, given), count in counts.items():
        spot = given
        named = there.setdefault(day, set())
        if spot.source and spot.source not in named:
            if len(named) >= sources_max:
                spot = Spot("", spot.type, spot.problem, spot.pointer)
            else:
                named.add(spot.source)
        taken = spots.setdefault((day, spot.source), set())
        if spot not in taken:
            if len(taken) >= spots_max:
                spot = Spot(spot.source, "", spot.problem, ELSEWHERE)
            taken.add(spot)
        key = (day, spot)
        added[key] = added[key].plus(count) if key in added else count
    return added


@lru_cache(maxsize=4_096)
def _general(pointer: str) -> str:
    """A pointer as it adds up with others."""
    steps = pointer.split("/")
    if len(steps) > POINTER_STEPS_MAX:
        steps = [*steps[:POINTER_STEPS_MAX], ELSEWHERE]
    made_up = next((place for place, step in enumerate(steps) if step in MADE_UP), len(steps))
    told = [step if place <= made_up and _NAME.fullmatch(step) else "*" for place, step in enumerate(steps)]
    return "/".join(["", *told[1:]])[:POINTER_CHARS_MAX] if steps[0] == "" else ELSEWHERE
