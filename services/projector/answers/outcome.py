"""What was at stake in each decision on a requirement when it was made, and what became of it.

Per requirement, never per person: it says what became of opportunities, and not whose they were.
"""

from collections.abc import Callable, Collection, Iterable
from datetime import date, datetime
from typing import get_args

import asyncpg
from msgspec import Struct

from schemas.times import format_time
from services.projector.answers.decisions import READS as READS
from services.projector.answers.decisions import read_made_on
from services.projector.answers.evidence import (
    accounts_in,
    find_requirement,
    read_asks,
    read_knowledge,
    read_names,
    read_requirements_lineage,
    with_accounts,
)
from services.projector.answers.since import read_superseded
from services.projector.answers.snapshot import Snapshot
from services.projector.answers.stakes import Stakes, StakesRead, read_stakes, show_at_stake
from services.projector.judgement import lenses, revenue
from services.projector.judgement.fit import Class
from services.projector.judgement.lenses import Decision, Departs, count_by_class
from services.projector.judgement.revenue import Money, Sum, decimal_text
from services.projector.judgement.stakes import Fate, Opportunity, Stake, revenue_of, revenue_then
from services.projector.shapes.decision import Grounds, Outcome, State
from services.projector.shapes.shown import AsOf, Status, status_of
from services.projector.telling.decisions import about, asked_of, decision_of
from services.projector.telling.evidence import KnowledgeRead, asks_by_requirement, names_by_account
from services.projector.telling.since import holding

OPPORTUNITIES_MAX = 200
"""Opportunities that each list shows; the sums are of all."""


class OpportunityState(Struct, frozen=True, kw_only=True):
    """An opportunity as one event states it."""

    position: int
    stage: str
    amount: str | None
    currency: str | None
    kind: str | None
    closes: date | None
    ends: date | None
    closed_because: str | None


class OpportunityShown(Struct, frozen=True, kw_only=True):
    """An opportunity that named the requirement: as its deciders knew it, and as it is now; null: nothing counts."""

    opportunity: str
    account: str
    name: str | None
    as_decided: Class
    as_now: Class
    became: Fate
    then: OpportunityState | None
    now: OpportunityState | None


class AtStake(Struct, frozen=True, kw_only=True):
    """What was at stake when it was decided, by class as decided."""

    opportunities: int
    accounts: dict[Class, int]
    revenue: dict[str, list[Money]]


class BecameSo(Struct, frozen=True, kw_only=True):
    """Of what was at stake, the part that became so: its amounts then and now, by class as decided."""

    opportunities: int
    then: dict[str, list[Sum]]
    now: dict[str, list[Sum]]


class Fates(Struct, frozen=True, kw_only=True):
    """What became of what was at stake. Each opportunity is in exactly one."""

    won: BecameSo
    renewed: BecameSo
    kept: BecameSo
    lost: BecameSo
    ended: BecameSo
    open: BecameSo
    retracted: BecameSo


class CameSo(Struct, frozen=True, kw_only=True):
    """Of what came later, the part that stands so: its amounts now, by class as of now."""

    opportunities: int
    now: dict[str, list[Sum]]


class Later(Struct, frozen=True, kw_only=True):
    """What names the requirement now, and was not at stake when it was decided: it argued for nothing then."""

    total: int
    won: CameSo
    renewed: CameSo
    lost: CameSo
    open: CameSo
    opportunities: list[OpportunityShown]


class DecisionOutcome(Struct, frozen=True, kw_only=True):
    """One decision on the requirement. `requirements`: those of its requirements that are meant here."""

    decision: str
    state: State
    requirements: list[str]
    position: int
    time: str
    recordedtime: str
    cut: int
    outcome: Outcome
    grounds: Grounds
    departs: Departs | None
    superseded_by: str | None
    at_stake: AtStake
    became: Fates
    opportunities: list[OpportunityShown]
    later: Later


class RequirementOutcome(Struct, frozen=True, kw_only=True):
    """The decisions on a requirement and on what was merged into it, the first one first."""

    requirement: str
    status: Status
    into: str | None
    as_of: AsOf
    decisions: list[DecisionOutcome]


class Evidence(Struct, frozen=True, kw_only=True):
    """What outcomes are judged from, as it was read at one position."""

    requirement: str
    as_of: AsOf
    now: datetime
    counted: Collection[str]
    """The requirement, and what was merged into it."""
    made: list[asyncpg.Record]
    superseded: dict[str, str]
    ask_rows: list[asyncpg.Record]
    stakes: StakesRead
    knowledge: KnowledgeRead
    names: list[asyncpg.Record]


async def read_outcome(snapshot: Snapshot, requirement: str) -> Evidence:
    """Raises Problem if there is no such requirement."""
    await find_requirement(snapshot, requirement)
    assert snapshot.now is not None  # In the empty ledger there is none.
    position = snapshot.position
    lineage = await read_requirements_lineage(snapshot, [requirement])
    root = lineage.requirements.root(requirement, position)
    # What was merged keeps its own decisions in sight; those on the others are shown at the root.
    counted = lineage.requirements.members(requirement, position) if root == requirement else (requirement,)
    made = await read_made_on(snapshot, counted)
    decisions = [decision_of(row) for row in made]
    asked = {requirement, *asked_of(decisions)}
    lineage = await read_requirements_lineage(snapshot, asked)
    ask_rows = await read_asks(snapshot, lineage.reach(asked))
    stakes = await read_stakes(snapshot, decisions, lineage)
    accounts = accounts_in(ask_rows) | stakes.accounts
    lineage = await with_accounts(snapshot, lineage, accounts)
    return Evidence(
        requirement=requirement,
        as_of=snapshot.as_of,
        now=snapshot.now,
        counted=counted,
        made=made,
        superseded=await read_superseded(snapshot, [row["decision"] for row in made]),
        ask_rows=ask_rows,
        stakes=stakes,
        knowledge=await read_knowledge(snapshot, lineage, accounts),
        names=await read_names(snapshot, lineage.accounts.related(stakes.accounts)),
    )


def show_outcome(evidence: Evidence) -> RequirementOutcome:
    into = evidence.knowledge.lineage.requirements.into(evidence.requirement, evidence.as_of.position)
    holds = holding(evidence.made, evidence.superseded)
    judging = _Judging(evidence)
    return RequirementOutcome(
        requirement=evidence.requirement,
        status="merged" if into else status_of(holds["outcome"] if holds else None),
        into=into,
        as_of=evidence.as_of,
        decisions=[judging.outcome(row) for row in evidence.made],
    )


class _Judging:
    """Judges what was at stake in the decisions on one requirement, and what has become of it."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence, self._now, self._position = evidence, evidence.now, evidence.as_of.position
        self._today = evidence.now.date()
        self._knowledge, self._asks = evidence.knowledge.knowledge(), asks_by_requirement(evidence.ask_rows)
        self._lineage = self._knowledge.lineage
        self._stakes = Stakes(evidence.stakes, self._knowledge, self._asks)
        self._names = names_by_account(evidence.names, self._lineage.accounts, self._position)
        rows = [ask for asks in self._asks.values() for ask in asks]
        live = lenses.live_asks(rows, self._now, self._position, self._lineage, [evidence.requirement])
        askers = lenses.as_now(self._knowledge, live, self._now, self._position)
        self._classes_now = {asker.account: asker.class_ for asker in askers}

    def outcome(self, row: asyncpg.Record) -> DecisionOutcome:
        decision = decision_of(row)
        meant = [name for name in dict.fromkeys(decision.requirements) if name in self._evidence.counted]
        askers = lenses.as_decided(self._knowledge, about(decision, self._asks, self._lineage), decision)
        classes = {asker.account: asker.class_ for asker in askers}
        found = self._stakes.at_stake(decision, meant, classes, self._today)
        later = self._stakes.came_later(decision, meant, classes, self._now, self._position)
        superseded_by = self._evidence.superseded.get(decision.decision)
        return DecisionOutcome(
            decision=decision.decision,
            state="made" if superseded_by is None else "superseded",
            requirements=meant,
            position=decision.position,
            time=format_time(row["time"]),
            recordedtime=format_time(row["recorded_at"]),
            cut=decision.cut,
            outcome=row["outcome"],
            grounds=row["grounds"],
            departs=lenses.departs(decision.outcome, askers),
            superseded_by=superseded_by,
            at_stake=AtStake(
                opportunities=len(found),
                accounts=count_by_class(self._classes_of(found, decision).values()),
                revenue=show_at_stake(found),
            ),
            became=Fates(**{fate: _became(found, fate) for fate in get_args(Fate)}),
            opportunities=[self._show(stake) for stake in _by_amount(found, lambda stake: stake.then)],
            later=Later(
                total=len(later),
                **{fate: self._came(later, fate) for fate in ("won", "renewed", "lost", "open")},
                opportunities=[self._show(stake) for stake in _by_amount(later, lambda stake: stake.now)],
            ),
        )

    def _classes_of(self, stakes: Iterable[Stake], decision: Decision) -> dict[str, Class]:
        """Account as decided → its class, each account once."""
        root = self._lineage.accounts.root
        return {root(stake.opportunity.account, decision.cut): stake.class_ for stake in stakes}

    def _class_now(self, stake: Stake) -> Class:
        account = self._lineage.accounts.root(stake.opportunity.account, self._position)
        judged = self._classes_now.get(account)
        return judged or lenses.class_of(self._knowledge.judge(account, self._now, self._position))

    def _came(self, later: Iterable[Stake], fate: Fate) -> CameSo:
        so = [stake for stake in later if stake.fate == fate]
        return CameSo(
            opportunities=len(so),
            now=revenue.sums_by_class((self._class_now(stake), revenue_of(stake.now)) for stake in so),
        )

    def _show(self, stake: Stake) -> OpportunityShown:
        account = self._lineage.accounts.root(stake.opportunity.account, self._position)
        return OpportunityShown(
            opportunity=stake.opportunity.opportunity,
            account=account,
            name=self._names.get(account),
            as_decided=stake.class_,
            as_now=self._class_now(stake),
            became=stake.fate,
            then=_show_state(stake.then),
            now=_show_state(stake.now),
        )


def _became(found: Iterable[Stake], fate: Fate) -> BecameSo:
    so = [stake for stake in found if stake.fate == fate]
    return BecameSo(
        opportunities=len(so),
        then=revenue.sums_by_class(revenue_then(so)),
        now=revenue.sums_by_class((stake.class_, revenue_of(stake.now)) for stake in so),
    )


def _by_amount(stakes: Iterable[Stake], state: Callable[[Stake], Opportunity | None]) -> list[Stake]:
    """The first of them: the greatest amounts first, whatever their currency; of equals the lower id."""

    def order(stake: Stake) -> tuple[int, str]:
        at = state(stake)
        return -((at.amount if at else None) or 0), stake.opportunity.opportunity

    return sorted(stakes, key=order)[:OPPORTUNITIES_MAX]


def _show_state(opportunity: Opportunity | None) -> OpportunityState | None:
    if opportunity is None:
        return None
    return OpportunityState(
        position=opportunity.position,
        stage=opportunity.stage,
        amount=None if opportunity.amount is None else decimal_text(opportunity.amount),
        currency=opportunity.currency,
        kind=opportunity.kind,
        closes=opportunity.closes,
        ends=opportunity.ends,
        closed_because=opportunity.closed_because,
    )
