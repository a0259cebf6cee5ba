"""Keeps what voices are counted from in memory, as columns, and reads what is new when it is asked for.

What a position has does not change, so what was read stays. It is read in pages, each in a snapshot of its own, and
made columns of in threads: nothing holds a transaction or the loop for long.
"""

import asyncio
import contextlib
import time
from bisect import insort
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, Literal, get_args

import numpy as np
from msgspec import Struct

from schemas.codec import STORED_BYTES_MAX
from services.projector.answers.evidence import read_adoptions, read_lineage
from services.projector.answers.looked_at import LookedAt
from services.projector.answers.snapshot import Snapshot, Wanted
from services.projector.counting.columns import FOREVER, Column
from services.projector.counting.counted import Counted, Said
from services.projector.counting.decided import LookedBy, Review, Stakes
from services.projector.counting.headings import Headings, Made, Worded
from services.projector.counting.judging import Lens
from services.projector.counting.standings import AskedWhen, Standing, departs_of, stand
from services.projector.counting.whatif import Everybody
from services.projector.judgement.lenses import Adoption, Decision, Departs
from services.projector.judgement.resolution import Lineage
from services.statements import Statements

READS = ("accounts", "opportunities", "requirements", "agreements", "decisions", "retractions")

PAGE_POSITIONS = 50_000
PAGE_FACTS_OCTETS_MAX = 8 * 1024 * 1024
"""Of what was said of accounts in one page, as texts. While it is read and laid, it takes about three times as much."""

HELD_OCTETS_MAX = 300 * 1024 * 1024
"""Of all ledgers but the largest, which takes longest to read again: it stays when small ones are asked about."""

CLOSE_POSITIONS_MAX = 2_000
"""What is held is read on for who asks about one subject if so many are missing, which takes some tens of milliseconds;
who asks for a list has all of them read."""

MEASURED_AT_ONCE_MAX = 8
"""Ledgers asked for last, for which more may have been laid since they were measured: there are fewer turns at once."""

STANDINGS_HELD_MAX = 48
STANDINGS_OCTETS_MAX = 32 * 1024 * 1024
"""Of each lens, in each ledger; the newest is held however large it is."""

STANDINGS_NEAR_POSITIONS = 2_000
"""Within so many positions what is heard is found from what was heard there, and farther away it is heard anew; in
large ledgers within a quarter as many as there are accounts: to hear most of them twice costs more than all once."""
STANDINGS_NEAR_SHARE = 4

_statements = Statements.load(Path(__file__).with_suffix(".sql"))
_READ = tuple(name for name in _statements if name not in ("said", "fitting"))

Open = Callable[[Wanted], AbstractAsyncContextManager[Snapshot]]
"""Opens a snapshot of one ledger that has all of READS."""


class Known(Struct, frozen=True):
    """What is held of a ledger, at least up to `position`, whose recorded time is `now`."""

    position: int
    now: datetime
    counted: Counted
    headings: Headings
    remembered: "Remembered"

    def standing(self, lens: Lens) -> Standing:
        return self.remembered.standing(lens, self.position, self.now)

    def departs(self, made: Made) -> Departs | None:
        """Whether a made decision departs from the agreement: that never changes."""
        return self.remembered.departs(made)

    def who_asked(self, decision: Decision) -> AskedWhen:
        """Who asked for what a decision is about, as its deciders knew it."""
        return self.remembered.looked_at.who_asked(self.counted, decision)

    def stakes(self, decision: Decision) -> Stakes:
        """What was at stake in a decision."""
        return self.remembered.looked_at.stakes(self.counted, decision)

    def review(self, looked: LookedBy) -> Review:
        """Which of these decisions need review."""
        remembered = self.remembered
        return remembered.looked_at.review(remembered.counted, looked, self.position, self.now)


Lay = Callable[[Snapshot, Known], Awaitable[Iterable[Callable[[], object]]]]
"""What is to be laid for a ledger, step by step: each is done in a thread."""


Loaded = Literal["loaded", "nothing to load", "no room"]
"""What came of it to load a ledger: there is nothing to load if it is empty, or held as it is now."""


class Remembered:
    """What follows from what is held of one ledger, and does not change: standings, and which decisions depart."""

    def __init__(self, counted: Counted, headings: Headings) -> None:
        self.counted = counted
        self.headings = headings
        """The newest there are; whoever keeps what is remembered keeps no older ones."""
        self._standings: dict[Lens, list[tuple[int, Standing]]] = {"now": [], "asked": []}
        self._departs: dict[int, Departs | None] = {}
        self._everybody: tuple[Any, Everybody] | None = None
        self.looked_at = LookedAt()
        self._lock = Lock()

    def standing(self, lens: Lens, position: int, now: datetime) -> Standing:
        """What is heard at a position, from what was heard nearest to it."""
        with self._lock:
            held = [*self._standings[lens]]
        counted = self.counted  # Looked at last: what was said up to each standing that is held is in it.
        near = max(STANDINGS_NEAR_POSITIONS, counted.size // STANDINGS_NEAR_SHARE)
        _, since = min(held, key=lambda each: abs(each[0] - position), default=(0, None))
        if since is not None and since.position == position:
            return since
        if since is not None and abs(since.position - position) > near:
            since = None
        found = stand(counted, lens, position, now, since)
        with self._lock:
            self._keep(self._standings[lens], found)
        return found

    def everybody(self, counted: Counted, beside: Iterable[str], position: int, now: datetime) -> Everybody:
        """All accounts at a position, for what-ifs: of these one after the other is tried at the same position, so that
        of the last is kept. `counted`: what is held, and whoever is named `beside` by what is not held."""
        made_from = position, frozenset(beside)
        if self._everybody is None or self._everybody[0] != made_from:
            self._everybody = None  # It makes room first.
            self._everybody = made_from, Everybody.at(counted, position, now)
        return self._everybody[1]

    def departs(self, made: Made) -> Departs | None:
        """Whether a made decision that is held departs from the agreement."""
        if made.outcome != "commit":
            return None
        if made.position not in self._departs:
            about = Decision(made.decision, made.position, made.valid_from, made.seen, made.outcome, made.requirements)
            self._departs[made.position] = departs_of(self.looked_at.who_asked(self.counted, about).classes)
        return self._departs[made.position]

    @property
    def octets(self) -> int:
        heard = sum(each.heard.octets for held in self._standings.values() for _, each in held)
        everybody = self._everybody
        return heard + self.looked_at.octets + (0 if everybody is None else everybody[1].octets)

    @staticmethod
    def _keep(held: list[tuple[int, Standing]], found: Standing) -> None:
        """Keep what was found; of too many, one whose neighbours lie closest together makes room, then the first."""
        if all(position != found.position for position, _ in held):
            insort(held, (found.position, found), key=lambda each: each[0])
        while len(held) > 1 and (
            len(held) > STANDINGS_HELD_MAX or sum(each.heard.octets for _, each in held) > STANDINGS_OCTETS_MAX
        ):
            last = len(held) - 1
            gaps = [
                (held[number + 1][0] - held[number - 1][0] if 0 < number < last else FOREVER, number)
                for number in range(len(held))
                if held[number][0] != found.position
            ]
            del held[min(gaps)[1]]


class Held:
    """What is held of all ledgers. Those that were asked for longest ago make room."""

    def __init__(self) -> None:
        self._ledgers: OrderedDict[str, _Ledger] = OrderedDict()
        self._anew: dict[str, _Ledger] = {}
        """What is read again, since what it is read from was built anew. Until it has been, there is what was held."""
        self._reading_again = asyncio.Lock()
        self.when_changed: Callable[[], None] = lambda: None
        """Called when something may be held no more: whoever keeps what is remembered of it lets go of that."""

    @property
    def octets(self) -> int:
        return sum(self._octets())

    def has(self, remembered: Remembered) -> bool:
        """Whether this is of what is held now."""
        return any(each.has(remembered) for each in self._ledgers.values())

    @property
    def ledgers(self) -> list[str]:
        """The names of those of which something is held."""
        return [*self._ledgers]

    def versions(self, ledger: str, seen: tuple[str, ...]) -> tuple[str, ...]:
        """What a list is counted from for who has seen these versions: where something was built anew, it is what was
        read before, until that has been read."""
        held = self._ledgers.get(ledger)
        return seen if held is None else held.versions or seen

    def ends_at(self, ledger: str) -> int:
        """The position that what is held of a ledger goes up to; 0 if nothing is."""
        held = self._ledgers.get(ledger)
        return 0 if held is None else held.ends_at

    async def is_outdated(self, ledger: str, open: Open) -> bool:
        """Whether all of a ledger was read, and from something else than there is now. Raises Problem and
        Unavailable."""
        held = self._ledgers.get(ledger)
        if held is None:
            return False
        async with open(held.wanted) as snapshot:
            return held.is_outdated(snapshot)

    async def known(
        self,
        ledger: str,
        open: Open,
        position: int,
        now: datetime,
        versions: tuple[str, ...],
        reached: int,
        beside: tuple[int, datetime | None] = (0, None),
    ) -> Known:
        """What is held of a ledger, once that has got to a position. `versions`, `reached`: of READS, as last seen.
        `beside`: where what is held ended then, and when that position was recorded: without it a look tells."""
        held = self._ledgers.get(ledger) or self._ledgers.setdefault(ledger, _Ledger())
        held.is_asked_for = True
        self._ledgers.move_to_end(ledger)
        known = await held.reach(open, position, now, versions, reached, beside)
        self._measure(held)
        while self._is_over():
            self._make_room()
        self.when_changed()
        return known

    def is_close_behind(self, ledger: str, position: int) -> bool:
        """Whether little is missing of what is held of a ledger up to a position."""
        held = self._ledgers.get(ledger)
        return held is not None and held.is_close_behind(position)

    def is_read_from(self, ledger: str, versions: tuple[str, ...], beside: tuple[int, datetime | None]) -> bool:
        """Whether what is held of a ledger was read from what was seen, these versions of READS and others, and of the
        same log: its end was recorded when that was seen to be."""
        held = self._ledgers.get(ledger)
        return held is not None and held.is_read_from(versions, beside)

    async def at_hand(self, snapshot: Snapshot) -> Counted | None:
        """What is held of a ledger, at least up to the position of a snapshot, if it was read from what that shows.
        Nothing is read for it."""
        held = self._ledgers.get(snapshot.ledger)
        return None if held is None else await held.at_hand(snapshot)

    async def load_ahead(self, ledger: str, open: Open, pause_seconds: float, lay: Lay | None = None) -> Loaded:
        """Load a ledger before anybody asks for it, and lay standings for now, and what else is to be laid; after each
        step there is a pause. No standings are laid for the past: to hear all at one position costs as little as two
        steps of those that would be laid.

        Of a ledger that is held, and was read from what has been built anew since, the same is done beside what is
        held, with no longer pauses than the steps take; who asks meanwhile is answered from what is held. Once all has
        been read it takes the place of that, and if there is no room for both, then as much as has been read does.

        No other ledger makes room: where there is none left it is given up. Whoever asks goes on from what has been
        read. Problem and Unavailable may end it, too: then it is raised, what was held stays, and it may be loaded
        again. One is read again after the other, and what is loaded for the first time waits for it between two steps.
        """
        before = self._ledgers.get(ledger)
        async with contextlib.nullcontext() if before is None else self._reading_again:
            return await self._load(ledger, open, pause_seconds, lay, before)

    async def _load(
        self, ledger: str, open: Open, pause_seconds: float, lay: Lay | None, before: "_Ledger | None"
    ) -> Loaded:
        async with open(Wanted() if before is None else before.wanted) as snapshot:
            position, now = snapshot.position, snapshot.now
            seen = snapshot.versions, snapshot.reached, snapshot.beside
        is_current = before is not None and not before.is_outdated(snapshot)
        if now is None or is_current or self._ledgers.get(ledger) is not before:
            return "nothing to load"
        outdated = None if before is None else before.versions
        place: dict[str, _Ledger] = self._ledgers if before is None else self._anew
        held = place[ledger] = _Ledger()
        if before is None:
            self._ledgers.move_to_end(ledger, last=False)
        rested_at = time.monotonic()

        async def rest() -> None:
            if before is None:
                async with self._reading_again:
                    pass
            self._measure(held)
            is_here = place.get(ledger) is held
            if not is_here or (not held.is_asked_for and self._is_over()):
                raise _NoRoom
            nonlocal rested_at
            took = time.monotonic() - rested_at
            await asyncio.sleep(pause_seconds if before is None else min(pause_seconds, took))
            rested_at = time.monotonic()

        loaded: Loaded = "loaded"
        try:
            known = await held.reach(open, position, now, *seen, rest)
            for lens in get_args(Lens):
                await asyncio.to_thread(known.standing, lens)
                await rest()
            await asyncio.to_thread(known.counted.sort_ahead)
            if lay is not None:
                async with open(Wanted(as_of=position)) as snapshot:
                    steps = await lay(snapshot, known)
                for step in steps:
                    await asyncio.to_thread(step)
                    await rest()
            held.measure()
        except _NoRoom:
            # What was loaded for the first time may have been read again meanwhile, and that is in its place.
            loaded = "no room" if self._ledgers.get(ledger) in (None, before, held) else "nothing to load"
            if self._ledgers.get(ledger) is held:
                del self._ledgers[ledger]
        finally:
            if before is not None:
                self._anew.pop(ledger, None)
            is_enough = held.is_whole or loaded == "no room"
            # Unless who asked has had it read from what is newer: versions never go back.
            is_next = before is not None and self._ledgers.get(ledger) is before and before.versions == outdated
            if before is not None and is_next and is_enough:
                held.is_asked_for = before.is_asked_for
                self._ledgers[ledger] = held
            self.when_changed()
        return loaded

    def _make_room(self) -> None:
        """Let go of what is read again; then of the one that was asked for longest ago, and of the largest only if
        there is no other but the one that is asked for now, which comes last."""
        if self._anew:
            self._anew.clear()
            return
        largest = max(self._ledgers, key=lambda name: self._ledgers[name].octets)
        *others, _ = self._ledgers
        del self._ledgers[next((name for name in others if name != largest), largest)]

    def _is_over(self) -> bool:
        """More is held than may be."""
        octets = self._octets()
        return sum(octets) - max(octets, default=0) > HELD_OCTETS_MAX

    def _octets(self) -> list[int]:
        return [each.octets for each in (*self._ledgers.values(), *self._anew.values())]

    def _measure(self, held: "_Ledger") -> None:
        """Measure a ledger, and those that were asked for last: what is laid for an answer is laid after that."""
        for each in (held, *islice(reversed(self._ledgers.values()), MEASURED_AT_ONCE_MAX)):
            each.measure()


class _NoRoom(Exception):
    """No room is left for a ledger that nobody has asked for, or that is read again."""


class _Page(Struct, frozen=True, kw_only=True):
    """What was recorded up to a position and is new, as it was read. Names and adoptions are read with the last page,
    as known at its end, if anything was said of them. `claimed`: each alias that was claimed and not retracted since,
    with its account."""

    upto: int
    recorded_at: datetime | None
    rows: dict[str, Any]
    claimed: set[tuple[Any, ...]]
    says_anew: bool
    is_last: bool
    lineage: Lineage | None
    adoptions: list[Adoption] | None


class _Ledger:
    """What is held of one ledger."""

    def __init__(self) -> None:
        self.is_asked_for = False
        self.versions: tuple[str, ...] = ()
        """Of READS, when it was begun to be read."""
        self._goes_on_from: tuple[str, ...] = ()
        """What has been built anew since, with the same names and adoptions, so that it is read on from there."""
        self._reading = asyncio.Lock()
        self._counted = Counted.nothing()
        self._recorded_at: datetime | None = None
        """When the last position that is held was recorded: in a log that was restored to less and has gone on, another
        event stands there, at another time."""
        self._headings = Headings.nothing(self._counted.requirements)
        self._remembered = Remembered(self._counted, self._headings)
        self._claimed: set[tuple[Any, ...]] = set()
        self.is_whole = False
        self._says_anew = False
        self.octets = 0
        """As measured last: of what nobody has asked for lately it stays what it was."""

    def measure(self) -> None:
        self.octets = self._counted.octets + self._headings.octets + self._remembered.octets

    def has(self, remembered: Remembered) -> bool:
        return self._remembered is remembered

    @property
    def wanted(self) -> Wanted:
        """The position that it has got to, which a projection that has stopped later still has."""
        return Wanted(as_of=self.ends_at)

    @property
    def ends_at(self) -> int:
        return self._counted.position

    def is_outdated(self, snapshot: Snapshot) -> bool:
        """Whether all of it was read, and from something else than a snapshot of where it ends shows."""
        is_another = snapshot.position == self._counted.position and snapshot.now != self._recorded_at
        return self.is_whole and (is_another or self.versions != snapshot.versions)

    def is_close_behind(self, position: int) -> bool:
        return not self._has(position) and self._has(position - CLOSE_POSITIONS_MAX)

    def is_read_from(self, versions: tuple[str, ...], beside: tuple[int, datetime | None]) -> bool:
        return self._has_versions(versions) and beside == (self._counted.position, self._recorded_at)

    def _has_versions(self, versions: tuple[str, ...]) -> bool:
        return all(each in self.versions for each in versions if each.partition(" ")[0] in READS)

    async def at_hand(self, snapshot: Snapshot) -> Counted | None:
        counted, recorded_at = self._counted, self._recorded_at
        is_same = self._has_versions(snapshot.versions)
        if not self._has(snapshot.position) or snapshot.reached < counted.position or not is_same:
            return None
        # In a log that was restored to less and has gone on, another event stands where what is held ends.
        ended_at = snapshot.now
        if snapshot.position < counted.position:
            ended_at = await snapshot.recorded_at(counted.position)
        return counted if ended_at == recorded_at else None

    async def reach(
        self,
        open: Open,
        position: int,
        now: datetime,
        versions: tuple[str, ...],
        reached: int,
        beside: tuple[int, datetime | None],
        rest: Callable[[], Awaitable[None]] | None = None,
    ) -> Known:
        """Read what is missing up to a position, with a rest after each page. One page is read at a time, whoever
        needs it; who waits for it holds no transaction."""
        # Whoever asks may have looked before another read on, or before what is read was built anew: a look tells. What
        # is held is of this log if its last event was seen there, however far before it the position is.
        end = self._counted.position, self._recorded_at
        is_doubtful = (
            versions != self.versions
            or reached < self._counted.position
            or (position <= self._counted.position and end not in ((position, now), beside))
        )
        while is_doubtful or not self._has(position):
            async with self._reading:
                if is_doubtful or not self._has(position):
                    # What was read in part beyond the position is made whole where that ends.
                    at = max(position, min(reached, self._counted.position))
                    async with open(Wanted(as_of=at)) as snapshot:
                        reached = snapshot.reached
                        page = await self._read(snapshot)
                    if page is not None:
                        await self._add(page)
            is_doubtful = False
            if rest is not None:
                await rest()
        return Known(position, now, self._counted, self._headings, self._remembered)

    def _has(self, position: int) -> bool:
        return self.is_whole and self._counted.position >= position

    async def _read(self, snapshot: Snapshot) -> _Page | None:
        """The next page; None if this snapshot has nothing that was not read."""
        if (
            snapshot.reached < self._counted.position
            or await snapshot.recorded_at(self._counted.position) != self._recorded_at
            or not await self._can_go_on(snapshot)
        ):
            self.versions = snapshot.versions
            self._forget()
        after = self._counted.position
        if after > snapshot.position or self._has(snapshot.position):
            return None
        upto = await _fitting(snapshot, after, min(after + PAGE_POSITIONS, snapshot.position))
        said = {row["statement"] for row in await snapshot.fetch(_statements, "said", after, upto)}
        # Of a few events most statements would find nothing, and each takes as long as to look for all.
        rows: dict[str, Any] = {
            name: await snapshot.fetch(_statements, name, after, upto) if name in said else [] for name in _READ
        }
        claimed, unclaimed = ({tuple(row) for row in rows.pop(name)} for name in ("claimed", "unclaimed"))
        says_anew = self._says_anew or "anew" in said or bool(unclaimed) or not claimed <= self._claimed
        # What was adopted in a page that was not the last is still to be read.
        adopts_anew = not self.is_whole or "adoptions" in said
        is_last = upto == snapshot.position
        return _Page(
            upto=upto,
            recorded_at=snapshot.now if is_last else await snapshot.recorded_at(upto),
            rows=rows,
            # To claim again what was claimed before says nothing new, unless that has been retracted since.
            claimed=(self._claimed | claimed) - unclaimed,
            says_anew=says_anew,
            is_last=is_last,
            lineage=await read_lineage(snapshot) if is_last and says_anew else None,
            adoptions=await read_adoptions(snapshot) if is_last and adopts_anew else None,
        )

    async def _can_go_on(self, snapshot: Snapshot) -> bool:
        """Whether more is read to what is held. Where something was built anew, nobody waits until all of it has been
        read, if only what is read as a whole each time, names and adoptions, says the same of the past: the rest that
        was held may be other than it is now, and is until it has been read again."""
        if snapshot.versions in (self.versions, self._goes_on_from):
            return True
        if not self.is_whole:
            return False
        then = snapshot.at(self._counted.position)
        if await read_lineage(then) != self._counted.lineage or await read_adoptions(then) != self._counted.adoptions:
            return False
        self._goes_on_from = snapshot.versions
        return True

    async def _add(self, page: _Page) -> None:
        counted, headings = await asyncio.to_thread(_grown, self._counted, self._headings, page)
        self._counted = self._remembered.counted = counted
        self._headings = self._remembered.headings = headings
        self._recorded_at = page.recorded_at
        self._claimed = page.claimed
        self.is_whole = page.is_last
        self._says_anew = page.says_anew and not page.is_last

    def _forget(self) -> None:
        self._goes_on_from = ()
        self._counted = Counted.nothing()
        self._recorded_at = None
        self._headings = Headings.nothing(self._counted.requirements)
        self._remembered = Remembered(self._counted, self._headings)
        self._claimed = set()
        self.is_whole = False
        self._says_anew = False


async def _fitting(snapshot: Snapshot, after: int, upto: int) -> int:
    """Where a page ends that may go on up to a position: before what was said of accounts would take more than a page
    has room for."""
    if (upto - after) * STORED_BYTES_MAX <= PAGE_FACTS_OCTETS_MAX:
        return upto  # So few events are no larger themselves.
    [[fitting]] = await snapshot.fetch(_statements, "fitting", after, upto, PAGE_FACTS_OCTETS_MAX)
    return int(fitting)


def _grown(counted: Counted, headings: Headings, page: _Page) -> tuple[Counted, Headings]:
    """What was held, with what a page has."""
    rows = page.rows
    asks, facts, mentions = (rows[name][0] if rows[name] else None for name in ("asks", "facts", "mentions"))
    deals = (
        (*row[:3], None if row["amount"] is None else int(row["amount"]), *row[4:]) for row in rows["opportunities"]
    )
    said = Said(
        upto=page.upto,
        more_follows=not page.is_last,
        asks=asks
        and (
            asks["account"],
            asks["requirement"],
            asks["id"] or b"",
            *(_numbers(asks[name]) for name in ("importance", "valid", "position")),
        ),
        withdrawals=rows["withdrawals"],
        facts=facts
        and (
            *(facts[name] for name in ("account", "attribute", "value")),
            *(_numbers(facts[name]) for name in ("valid", "position")),
        ),
        opportunities=[*deals],
        mentions=mentions and (mentions["account"], _numbers(mentions["position"])),
        named=rows["named"],
        asked_for=rows["asked_for"],
        retractions=[tuple(row) for row in rows["retractions"]],
        adoptions=page.adoptions,
        lineage=page.lineage,
    )
    worded = Worded(
        raised=rows["raised"],
        deliveries=rows["deliveries"],
        made=[Made(*row) for row in rows["made"]],
        superseded=[tuple(row) for row in rows["superseded"]],
        retractions=said.retractions,
    )
    headings = headings.plus(worded)  # Requirements get their numbers here too, before they are counted.
    return counted.plus(said), headings


def _numbers(octets: bytes | None) -> Column:
    """Whole numbers, as PostgreSQL sends them; None: not one."""
    return np.frombuffer(octets or b"", ">i8").astype(np.int64)
