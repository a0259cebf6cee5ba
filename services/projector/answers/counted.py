"""Keeps what voices are counted from in memory, as columns, and reads what is new when it is asked for.

What a position has does not change, so what was read stays. It is read in pages, each in a snapshot of its own, and
made columns of in threads: nothing holds a transaction or the loop for long.
"""

import asyncio
from bisect import insort
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from msgspec import Struct

from services.projector.answers.evidence import read_adoptions, read_lineage
from services.projector.answers.looked_at import LookedAt
from services.projector.answers.snapshot import Snapshot, Wanted
from services.projector.columns import Column
from services.projector.counted import Counted, Said
from services.projector.decided import LookedBy, Review, Stakes
from services.projector.headings import Headings, Made, Worded
from services.projector.lenses import Adoption, Decision, Departs
from services.projector.resolution import Lineage
from services.projector.standings import AskedWhen, Lens, Standing, departs, stand
from services.statements import Statements

READS = ("accounts", "opportunities", "requirements", "agreements", "decisions", "retractions")

PAGE_POSITIONS = 50_000
HELD_OCTETS_MAX = 400 * 1024 * 1024
"""Over all ledgers; one that is larger is held alone."""

STANDINGS_HELD_MAX = 48
"""Of each lens."""

STANDINGS_NEAR_POSITIONS = 2_000
"""Within so many positions what is heard is found from what was heard there, and farther away it is heard anew; in
large ledgers within a quarter as many as there are accounts: to hear most of them twice costs more than all once."""
STANDINGS_NEAR_SHARE = 4

_statements = Statements.load(Path(__file__).with_suffix(".sql"))

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
        return self.remembered.standing(self.counted, lens, self.position, self.now)

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


class Remembered:
    """What follows from what is held of one ledger, and does not change: standings, and which decisions depart."""

    def __init__(self, counted: Counted) -> None:
        self.counted = counted
        """The newest there is; whoever keeps what is remembered keeps no older one."""
        self._standings: dict[Lens, list[tuple[int, Standing]]] = {"now": [], "asked": []}
        self._departs: dict[int, Departs | None] = {}
        self.looked_at = LookedAt()
        self._lock = Lock()

    def standing(self, counted: Counted, lens: Lens, position: int, now: datetime) -> Standing:
        """What is heard at a position, from what was heard nearest to it."""
        with self._lock:
            held = [*self._standings[lens]]
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

    def departs(self, made: Made) -> Departs | None:
        """Whether a made decision that is held departs from the agreement."""
        if made.position not in self._departs:
            cut = made.position - 1 if made.seen is None else made.seen
            self._departs[made.position] = departs(self.counted, made.requirements, made.outcome, made.valid_from, cut)
        return self._departs[made.position]

    @property
    def octets(self) -> int:
        heard = sum(each.heard.octets for held in self._standings.values() for _, each in held)
        return heard + self.looked_at.octets

    @staticmethod
    def _keep(held: list[tuple[int, Standing]], found: Standing) -> None:
        """Keep what was found; of too many, one whose neighbours lie closest together makes room."""
        if all(position != found.position for position, _ in held):
            insort(held, (found.position, found), key=lambda each: each[0])
        while len(held) > STANDINGS_HELD_MAX:
            gaps = [
                (held[number + 1][0] - held[number - 1][0], number)
                for number in range(1, len(held) - 1)
                if held[number][0] != found.position
            ]
            del held[min(gaps)[1]]


class Held:
    """What is held of all ledgers. Those that were asked for longest ago make room."""

    def __init__(self) -> None:
        self._ledgers: OrderedDict[str, _Ledger] = OrderedDict()

    async def known(
        self, ledger: str, open: Open, position: int, now: datetime, versions: tuple[str, ...], reached: int
    ) -> Known:
        """What is held of a ledger, once that has got to a position. `versions`, `reached`: of READS, as last seen."""
        held = self._ledgers.setdefault(ledger, _Ledger())
        self._ledgers.move_to_end(ledger)
        known = await held.reach(open, position, now, versions, reached)
        while len(self._ledgers) > 1 and sum(each.octets for each in self._ledgers.values()) > HELD_OCTETS_MAX:
            self._ledgers.popitem(last=False)
        return known


class _Page(Struct, frozen=True, kw_only=True):
    """What was recorded up to a position and is new, as it was read. Names and adoptions are read with the last page,
    as known at its end."""

    upto: int
    rows: dict[str, Any]
    aliases: set[tuple[Any, ...]]
    says_anew: bool
    is_last: bool
    lineage: Lineage | None
    adoptions: list[Adoption] | None


class _Ledger:
    """What is held of one ledger."""

    def __init__(self) -> None:
        self._reading = asyncio.Lock()
        self._versions: tuple[str, ...] = ()
        self._counted = Counted.nothing()
        self._headings = Headings.nothing(self._counted.requirements)
        self._remembered = Remembered(self._counted)
        self._aliases: set[tuple[Any, ...]] = set()
        self._is_whole = False
        self._says_anew = False

    @property
    def octets(self) -> int:
        return self._counted.octets + self._headings.octets + self._remembered.octets

    async def reach(self, open: Open, position: int, now: datetime, versions: tuple[str, ...], reached: int) -> Known:
        """Read what is missing up to a position. Who waits for another that reads holds no transaction."""
        if versions != self._versions or reached < self._counted.position:
            self._is_whole = False  # Whoever reads next sees it too, and begins anew.
        if not self._has(position):
            async with self._reading:
                while not self._has(position):
                    async with open(Wanted(as_of=position)) as snapshot:
                        page = await self._read(snapshot)
                    counted, headings = await asyncio.to_thread(_grown, self._counted, self._headings, page)
                    self._counted = self._remembered.counted = counted
                    self._headings = headings
                    self._aliases |= page.aliases
                    self._is_whole = page.is_last
                    self._says_anew = page.says_anew and not page.is_last
        return Known(position, now, self._counted, self._headings, self._remembered)

    def _has(self, position: int) -> bool:
        return self._is_whole and self._counted.position >= position

    async def _read(self, snapshot: Snapshot) -> _Page:
        if snapshot.versions != self._versions or snapshot.reached < self._counted.position:
            self._versions = snapshot.versions
            self._forget()
        after = self._counted.position
        upto = min(after + PAGE_POSITIONS, snapshot.position)
        rows: dict[str, Any] = {name: await snapshot.fetch(_statements, name, after, upto) for name in _statements}
        [anew], aliases = rows.pop("anew"), {tuple(row) for row in rows.pop("aliases")}
        says_anew = self._says_anew or anew["anew"] or not aliases <= self._aliases
        is_last = upto == snapshot.position
        return _Page(
            upto=upto,
            rows=rows,
            aliases=aliases,
            says_anew=says_anew,
            is_last=is_last,
            lineage=await read_lineage(snapshot) if is_last and says_anew else None,
            adoptions=await read_adoptions(snapshot) if is_last else None,
        )

    def _forget(self) -> None:
        self._counted = Counted.nothing()
        self._headings = Headings.nothing(self._counted.requirements)
        self._remembered = Remembered(self._counted)
        self._aliases = set()
        self._is_whole = False
        self._says_anew = False


def _grown(counted: Counted, headings: Headings, page: _Page) -> tuple[Counted, Headings]:
    """What was held, with what a page has."""
    rows = page.rows
    [asks], [facts], [mentions] = (rows[name] for name in ("asks", "facts", "mentions"))
    deals = (
        (*row[:3], None if row["amount"] is None else int(row["amount"]), *row[4:]) for row in rows["opportunities"]
    )
    said = Said(
        upto=page.upto,
        more_follows=not page.is_last,
        asks=(
            asks["account"],
            asks["requirement"],
            asks["id"] or b"",
            *(_numbers(asks[name]) for name in ("importance", "valid", "position")),
        ),
        withdrawals=rows["withdrawals"],
        facts=(
            *(facts[name] for name in ("account", "attribute", "value")),
            *(_numbers(facts[name]) for name in ("valid", "position")),
        ),
        opportunities=[*deals],
        mentions=(mentions["account"], _numbers(mentions["position"])),
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
