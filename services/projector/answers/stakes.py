"""What was at stake in decisions, read at one position: the opportunities that may have argued for each."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path

import asyncpg
from msgspec import Struct

from services.projector.answers.snapshot import Snapshot
from services.projector.judgement import lenses, revenue, stakes
from services.projector.judgement.fit import Class
from services.projector.judgement.lenses import Decision, Knowledge
from services.projector.judgement.resolution import Lineage
from services.projector.judgement.revenue import Money, Sum, millionths
from services.projector.judgement.stakes import GAINED, GONE, Candidate, Fate, Naming, Opportunity, Stake
from services.projector.shapes.decision import Became
from services.projector.telling.evidence import AskedOn
from services.statements import Statements

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class StakesRead(Struct, frozen=True, kw_only=True):
    """What may have been at stake, as it was read. Empty where nothing was decided."""

    candidates: list[asyncpg.Record]
    states: list[asyncpg.Record]
    asked_for: list[asyncpg.Record]

    @property
    def accounts(self) -> set[str]:
        """The accounts of all that may have been at stake, by the names that the events have."""
        return {row["account"] for row in self.states}


async def read_stakes(snapshot: Snapshot, decisions: Sequence[Decision], lineage: Lineage) -> StakesRead:
    """What may have been at stake in these decisions: one reading for all of them."""
    reaches = {decision.position: lineage.reach(decision.requirements) for decision in decisions}
    whole = [(position, name) for position, reach in reaches.items() for name in sorted(reach.requirements)]
    alone = [(position, *each) for position, reach in reaches.items() for each in sorted(reach.asks)]
    candidates = await snapshot.fetch(
        _statements,
        "candidates",
        snapshot.position,
        [decision.position for decision in decisions],
        [decision.cut for decision in decisions],
        [decision.valid_from for decision in decisions],
        *([each[column] for each in whole] for column in range(2)),
        *([each[column] for each in alone] for column in range(3)),
    )
    positions = {row[column] for row in candidates for column in ("then_position", "now_position")} - {None}
    return StakesRead(
        candidates=candidates,
        states=await snapshot.fetch(_statements, "states", sorted(positions)),
        asked_for=await snapshot.fetch(
            _statements,
            "asked_for",
            snapshot.position,
            sorted({name for _, name in whole}),
            *([each[column] for each in alone] for column in (1, 2)),
        ),
    )


class Stakes:
    """What was at stake in each of the decisions that were read. `asks` are all rows of what was asked."""

    def __init__(self, read: StakesRead, knowledge: Knowledge, asks: AskedOn) -> None:
        self._knowledge, self._asks = knowledge, asks
        self._asked_for = {row["position"]: row["opportunity"] for row in read.asked_for}
        self._naming_ids = {row["ask"] for row in read.asked_for}
        states = {row["position"]: _opportunity(row) for row in read.states}
        self._candidates: dict[int, list[Candidate]] = {}
        for row in read.candidates:
            then, now = (states.get(row[column]) for column in ("then_position", "now_position"))
            self._candidates.setdefault(row["decision"], []).append(Candidate(then, now))

    def at_stake(
        self, decision: Decision, requirements: Collection[str], classes: Mapping[str, Class], today: date
    ) -> list[Stake]:
        """What was at stake for these of its requirements. `classes`: of those who asked, as decided."""
        candidates = self._candidates.get(decision.position)
        if not candidates:
            return []
        then = self._naming(requirements, decision.valid_from, decision.cut)
        return stakes.at_stake(self._knowledge, decision, classes, candidates, then, today)

    def came_later(
        self,
        decision: Decision,
        requirements: Collection[str],
        classes: Mapping[str, Class],
        now: datetime,
        position: int,
    ) -> list[Stake]:
        """What names these of its requirements now, and was not at stake."""
        then = self._naming(requirements, decision.valid_from, decision.cut)
        standing = self._naming(requirements, now, position)
        candidates = self._candidates.get(decision.position, ())
        return stakes.came_later(self._knowledge, decision, classes, candidates, then, standing)

    def _naming(self, requirements: Collection[str], t: datetime, p: int) -> Naming:
        """What is named by opportunities, and by asks that stood at t, as known at p."""
        if not self._asked_for:
            return Naming(self._knowledge, requirements, p, ())
        # What an ask is told apart by has its id, so those of other ids need not be looked at.
        lineage = self._knowledge.lineage
        rows = [ask for ask in self._asks.about(requirements, lineage) if ask.ask in self._naming_ids]
        live = lenses.live_asks(rows, t, p, lineage, requirements)
        asked_for = {self._asked_for[ask.position] for ask in live if ask.position in self._asked_for}
        return Naming(self._knowledge, requirements, p, asked_for)


def show_at_stake(found: Iterable[Stake]) -> dict[str, list[Money]]:
    return revenue.by_class(stakes.revenue_then(found))


def show_became(found: Sequence[Stake]) -> Became:
    def of(*fates: Fate) -> dict[str, list[Sum]]:
        return revenue.sums_by_class(stakes.revenue_then(stake for stake in found if stake.fate in fates))

    return Became(won=of(*GAINED), lost=of(*GONE), open=of("open"))


def _opportunity(row: asyncpg.Record) -> Opportunity:
    said = {name: row[name] for name in Opportunity._fields}
    return Opportunity(**{**said, "amount": None if row["amount"] is None else millionths(row["amount"])})
