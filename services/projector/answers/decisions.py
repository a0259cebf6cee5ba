"""Who decided, and on what knowledge: made and proposed decisions, with fits as decided, what was at stake, and what
was said of them since."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import numpy as np
from msgspec import Struct

from schemas.events import Option
from schemas.times import format_time
from schemas.values import By
from services.problems import Problem
from services.projector.answers.evidence import (
    accounts_in,
    read_asks,
    read_knowledge,
    read_names,
    read_requirements_lineage,
    with_accounts,
)
from services.projector.answers.held import Known, Remembered
from services.projector.answers.since import read_since
from services.projector.answers.snapshot import Snapshot
from services.projector.answers.stakes import Stakes, StakesRead, read_stakes, show_at_stake, show_became
from services.projector.counting.columns import NO_CURRENCY, Codes, microseconds
from services.projector.counting.counted import Counted
from services.projector.counting.decided import GAINED, GONE, STILL_OPEN, Looked, became
from services.projector.counting.decided import Stakes as StakesCounted
from services.projector.counting.judging import Adopted
from services.projector.counting.standings import Moment, departs_of
from services.projector.judgement import lenses, revenue
from services.projector.judgement.lenses import Asker, Decision, Departs, count_by_class
from services.projector.judgement.revenue import Money
from services.projector.judgement.review import looked_at_again
from services.projector.shapes.decision import Became, DecidedFit, Grounds, Made, OneDecision, Outcome, Proposed, State
from services.projector.shapes.shown import AsOf, Role, show_by, show_fit, show_revisions, show_role
from services.projector.telling.decisions import about, asked_of, decision_of, decoded, review, show_made
from services.projector.telling.evidence import (
    TARGET_MARKET,
    KnowledgeRead,
    asks_by_requirement,
    names_by_account,
)
from services.projector.telling.since import SinceRead, is_due_again
from services.statements import Statements

READS = ("accounts", "opportunities", "requirements", "agreements", "decisions", "retractions")

FITS_MAX = 1_000
"""Fits that one decision shows, in accounts; the counts by class are of all."""

LAID_AT_ONCE = 2
"""Decisions: in a log of a million events it takes a fraction of a second to see who asked for what they are about."""

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class DecisionRow(Struct, frozen=True, kw_only=True):
    """A decision in a list. What only a made one has is null while it is proposed."""

    decision: str
    state: State
    requirements: list[str]
    question: str | None
    outcome: Outcome | None
    grounds: Grounds | None
    departs: Departs | None
    at_stake: dict[str, list[Money]] | None
    became: Became | None
    needs_review: bool
    overdue: bool
    superseded_by: str | None
    position: int
    time: str
    recordedtime: str
    deciders: list[Role]
    instruction: str | None
    decide_by: date | None
    revisit: date | None
    agreement: str | None
    revision: str | None


class DecisionList(Struct, frozen=True, kw_only=True):
    as_of: AsOf
    total: int
    decisions: list[DecisionRow]


class Evidence(Struct, frozen=True, kw_only=True):
    """What decisions are judged from, as it was read at one position: all of them, or one."""

    as_of: AsOf
    now: datetime | None
    proposals: dict[str, asyncpg.Record]
    made: dict[str, asyncpg.Record]
    ask_rows: list[asyncpg.Record]
    """What bears on asks for the requirements that the decisions are about."""
    knowledge: KnowledgeRead
    stakes: StakesRead
    since: SinceRead
    names: list[asyncpg.Record]
    """What those who asked are called; of the list, nothing."""


class ListRead(Struct, frozen=True, kw_only=True):
    """What was said of all decisions, as it was read at one position."""

    proposals: dict[str, asyncpg.Record]
    made: dict[str, asyncpg.Record]
    reaffirmed: dict[str, asyncpg.Record]
    """What the reaffirmations of each decision come to."""
    superseded: dict[str, str]


async def read_decisions(snapshot: Snapshot) -> ListRead:
    position = snapshot.position

    async def by_decision(name: str) -> dict[str, asyncpg.Record]:
        return {row["decision"]: row for row in await snapshot.fetch(_statements, name, position)}

    superseded = await by_decision("every_superseded")
    return ListRead(
        proposals=await by_decision("every_proposed"),
        made=await by_decision("every_made"),
        reaffirmed=await read_reaffirmed(snapshot),
        superseded={name: row["superseded_by"] for name, row in superseded.items()},
    )


async def read_decision(snapshot: Snapshot, decision: str) -> Evidence:
    """Raises Problem if there is no such decision."""
    proposals = await snapshot.fetch(_statements, "proposed", snapshot.position, decision)
    made = await snapshot.fetch(_statements, "made", snapshot.position, decision)
    if not made and not proposals:
        raise Problem("not-found", f"there is no decision {decision!r} at position {snapshot.position}")
    return await _read(snapshot, proposals=proposals, made=made, one=decision)


async def _read(
    snapshot: Snapshot, *, proposals: list[asyncpg.Record], made: list[asyncpg.Record], one: str | None = None
) -> Evidence:
    """`one`: the decision that is read for itself, and shown with names."""
    last_made = {row["decision"]: row for row in made}
    decisions = [decision_of(row) for row in last_made.values()]
    asked = asked_of(decisions)
    lineage = await read_requirements_lineage(snapshot, asked)
    ask_rows = await read_asks(snapshot, lineage.reach(asked))
    stakes = await read_stakes(snapshot, decisions, lineage)
    accounts = accounts_in(ask_rows) | stakes.accounts
    lineage = await with_accounts(snapshot, lineage, accounts)
    return Evidence(
        as_of=snapshot.as_of,
        now=snapshot.now,
        proposals={row["decision"]: row for row in proposals},
        made=last_made,
        ask_rows=ask_rows,
        knowledge=await read_knowledge(snapshot, lineage, accounts),
        stakes=stakes,
        since=await read_since(snapshot, None if one is None else [one]),
        names=[] if one is None else await read_names(snapshot, lineage.accounts.related(accounts)),
    )


class Listed(Struct, frozen=True, kw_only=True):
    """A decision with what it is chosen by. `row`: what was said of it; `stakes`: None while it is proposed.

    `counted`: the newest there is when it is asked for, so that a list that is remembered keeps no older one.
    """

    decision: str
    state: State
    position: int
    outcome: Outcome | None
    grounds: Grounds | None
    departs: Departs | None
    needs_review: bool
    overdue: bool
    row: asyncpg.Record
    question: str | None
    decide_by: date | None
    superseded_by: str | None
    stakes: StakesCounted | None
    at: Moment
    remembered: Remembered

    @property
    def counted(self) -> Counted:
        return self.remembered.counted


def list_decisions(read: ListRead, known: Known | None) -> list[Listed]:
    """Every decision, the one that was last proposed or made first. What it rests on is `known`: of nothing, in the
    empty ledger."""
    if known is None:
        return []
    today, at = known.now.date(), Moment(known.position, known.now)
    made = [(row, decision_of(row)) for row in read.made.values()]
    # First, because it looks at who asked, with their asks; and who asked is kept.
    stakes = [known.stakes(decision) for _, decision in made]
    holding = (decision for _, decision in made if decision.decision not in read.superseded)
    counts = known.review(looked_by(known, holding, read.reaffirmed)).counts
    needs_review = {position for (position, _), count in counts.items() if count}
    listed = [
        Listed(
            decision=name,
            state="proposed",
            position=row["position"],
            outcome=None,
            grounds=None,
            departs=None,
            needs_review=False,
            overdue=_is_late(row, today),
            row=row,
            question=row["question"],
            decide_by=row["decide_by"],
            superseded_by=None,
            stakes=None,
            at=at,
            remembered=known.remembered,
        )
        for name, row in read.proposals.items()
        if name not in read.made
    ]
    for (row, decision), at_stake in zip(made, stakes, strict=True):
        proposal, last = read.proposals.get(decision.decision), read.reaffirmed.get(decision.decision)
        superseded_by = read.superseded.get(decision.decision)
        looked_again = None if last is None else last["latest"].date()
        listed.append(
            Listed(
                decision=decision.decision,
                state="made" if superseded_by is None else "superseded",
                position=decision.position,
                outcome=row["outcome"],
                grounds=row["grounds"],
                departs=None if row["outcome"] != "commit" else departs_of(known.who_asked(decision).classes),
                needs_review=decision.position in needs_review,
                overdue=superseded_by is None and is_due_again(row["revisit"], looked_again, today),
                row=row,
                question=None if proposal is None else proposal["question"],
                decide_by=None if proposal is None else proposal["decide_by"],
                superseded_by=superseded_by,
                stakes=at_stake,
                at=at,
                remembered=known.remembered,
            )
        )
    return sorted(listed, key=lambda each: -each.position)


async def steps_ahead(snapshot: Snapshot, known: Known) -> Iterator[Callable[[], object]]:
    """The steps by which the list for now is laid before anybody asks for it: a few decisions each, and then what is
    said of all."""
    read = await read_decisions(snapshot)
    made = [decision_of(row) for row in read.made.values()]

    def look(some: Sequence[Decision]) -> None:
        for decision in some:
            known.stakes(decision)
        looked_by(known, some, read.reaffirmed)

    looks = (partial(look, made[first : first + LAID_AT_ONCE]) for first in range(0, len(made), LAID_AT_ONCE))
    return chain(looks, [lambda: show_rows(list_decisions(read, known))])


def currencies_of(listed: Sequence[Listed]) -> list[str]:
    """The currencies that were at stake, for the columns of CSV."""
    codes = {code for each in listed if each.stakes is not None for code in np.unique(each.stakes.currencies).tolist()}
    return sorted(listed[0].counted.currencies.texts[code] for code in codes - {NO_CURRENCY})


def show_rows(listed: Sequence[Listed]) -> list[DecisionRow]:
    """Some rows of the list, as an answer shows them."""
    if not listed:
        return []
    counted, at, looked_at = listed[0].counted, listed[0].at, listed[0].remembered.looked_at
    stakes = {each.position: each.stakes for each in listed if each.stakes is not None}
    found = looked_at.fates(counted, stakes, at.position, at.now)

    def shown(each: Listed, stakes: StakesCounted) -> tuple[dict[str, list[Money]], Became]:
        fates = found[each.position]
        return looked_at.stakes_shown(each.position, fates, partial(_show_stakes, counted.currencies, stakes, fates))

    return [_show_row(each, None if each.stakes is None else shown(each, each.stakes)) for each in listed]


def _show_stakes(currencies: Codes, stakes: StakesCounted, fates: bytes) -> tuple[dict[str, list[Money]], Became]:
    """What was at stake in a decision, and what became of it."""
    found = became(currencies, stakes, fates)
    return revenue.by_class(each for fate in found.values() for each in fate), Became(
        won=revenue.sums_by_class(found.get(GAINED, ())),
        lost=revenue.sums_by_class(found.get(GONE, ())),
        open=revenue.sums_by_class(found.get(STILL_OPEN, ())),
    )


def _show_row(listed: Listed, stakes: tuple[dict[str, list[Money]], Became] | None) -> DecisionRow:
    """`stakes`: what was at stake, and what became of it; None while it is proposed."""
    row, revision = listed.row, None
    at_stake, became = (None, None) if stakes is None else stakes
    if stakes is not None:
        decision = decision_of(row)
        revision = Adopted(listed.counted, decision.cut).revision(microseconds(decision.valid_from))
    return DecisionRow(
        decision=listed.decision,
        state=listed.state,
        requirements=row["requirements"],
        question=listed.question,
        outcome=listed.outcome,
        grounds=listed.grounds,
        departs=listed.departs,
        at_stake=at_stake,
        became=became,
        needs_review=listed.needs_review,
        overdue=listed.overdue,
        superseded_by=listed.superseded_by,
        position=listed.position,
        time=format_time(row["time"]),
        recordedtime=format_time(row["recorded_at"]),
        deciders=[] if stakes is None else [show_role(by) for by in decoded(row["deciders"], list[By])],
        instruction=None if stakes is None else row["instruction"],
        decide_by=listed.decide_by,
        revisit=None if stakes is None else row["revisit"],
        agreement=None if revision is None else TARGET_MARKET,
        revision=None if revision is None else revision.revision,
    )


def one_decision(evidence: Evidence, decision: str) -> OneDecision:
    """The decision that was read."""
    proposal, row = evidence.proposals.get(decision), evidence.made.get(decision)
    assert evidence.now is not None  # It was proposed or made.
    judging = _Judging(evidence, evidence.now)
    accounts = evidence.knowledge.lineage.accounts
    judged = None if row is None else judging.judged(row)
    askers = [] if judged is None else sorted(judged.askers, key=lambda asker: (-asker.weight, asker.account))
    names = names_by_account(evidence.names, accounts, evidence.as_of.position)
    as_made: dict[str, Any] = {}
    if judged is not None:
        as_made = msgspec.structs.asdict(judged.made) | {"at_stake": judged.at_stake, "became": judged.became}
    shown = askers[:FITS_MAX]
    return OneDecision(
        **{**as_made, "decision": decision},
        state="proposed" if judged is None else judged.state,
        overdue=_is_late(proposal, judging.today) if judged is None else judged.overdue,
        requirements=list((row or proposal or {})["requirements"]),
        as_of=evidence.as_of,
        proposed=None if proposal is None else _show_proposal(proposal),
        accounts=count_by_class(asker.class_ for asker in askers),
        fits=[
            DecidedFit(
                account=asker.account,
                name=names.get(accounts.root(asker.account, evidence.as_of.position)),
                requirement=asker.ask.requirement,
                ask=asker.ask.ask,
                position=asker.ask.position,
                importance=asker.ask.importance,
                as_decided=show_fit(asker.judgement),
            )
            for asker in shown
        ],
        revisions=show_revisions(asker.judgement.fit.revision for asker in shown if asker.judgement),
    )


async def read_reaffirmed(snapshot: Snapshot) -> dict[str, asyncpg.Record]:
    """What the reaffirmations of each decision come to."""
    rows = await snapshot.fetch(_statements, "every_reaffirmed", snapshot.position)
    return {row["decision"]: row for row in rows}


def looked_by(
    known: Known, decisions: Iterable[Decision], reaffirmed: Mapping[str, asyncpg.Record]
) -> dict[tuple[int, int], Looked]:
    """Who asked when each of these was made, and when it was last reaffirmed; by where that was."""
    found = {}
    for decision in decisions:
        row, again = reaffirmed.get(decision.decision), None
        if row is not None:
            last = decision._replace(position=row["position"], valid_from=row["latest"], seen=row["seen"])
            again = looked_at_again(decision, [last])
        found[decision.position, 0 if again is None else again.position] = Looked(
            decision.requirements, known.who_asked(decision), None if again is None else known.who_asked(again)
        )
    return found


async def read_made_on(snapshot: Snapshot, requirements: Iterable[str]) -> list[asyncpg.Record]:
    """The made decisions on one of these requirements, in the order of their positions."""
    return await snapshot.fetch(_statements, "made_on", snapshot.position, [*requirements])


class _Judged(Struct, frozen=True, kw_only=True):
    """One made decision: as it was made, who asked as decided, what was at stake, and what became of that."""

    state: State
    requirements: list[str]
    made: Made
    askers: list[Asker]
    at_stake: dict[str, list[Money]]
    became: Became
    overdue: bool


class _Judging:
    """Judges made decisions by the evidence that was read for all of them."""

    def __init__(self, evidence: Evidence, now: datetime) -> None:
        self.today = now.date()
        self._now, self._position = now, evidence.as_of.position
        self._knowledge, self._asks = evidence.knowledge.knowledge(), asks_by_requirement(evidence.ask_rows)
        self._since = evidence.since.since()
        self._stakes = Stakes(evidence.stakes, self._knowledge, self._asks)

    def judged(self, row: asyncpg.Record) -> _Judged:
        decision, name = decision_of(row), row["decision"]
        rows = about(decision, self._asks, self._knowledge.lineage)
        askers = lenses.as_decided(self._knowledge, rows, decision)
        departs = lenses.departs(decision.outcome, askers)
        reviewed = review(self._knowledge, decision, rows, self._since, self._now, self._position, askers)
        classes = {asker.account: asker.class_ for asker in askers}
        stakes = self._stakes.at_stake(decision, decision.requirements, classes, self.today)
        return _Judged(
            state="superseded" if self._since.is_superseded(name) else "made",
            requirements=row["requirements"],
            made=show_made(row, self._knowledge, self._since, departs, reviewed),
            askers=askers,
            at_stake=show_at_stake(stakes),
            became=show_became(stakes),
            overdue=self._since.is_due_again(name, row["revisit"], self.today),
        )


def _is_late(proposal: asyncpg.Record | None, today: date) -> bool:
    """Whether the day by which a decision was needed has passed, and it has not been made."""
    return proposal is not None and proposal["decide_by"] is not None and proposal["decide_by"] < today


def _show_proposal(row: asyncpg.Record) -> Proposed:
    return Proposed(
        position=row["position"],
        time=format_time(row["time"]),
        recordedtime=format_time(row["recorded_at"]),
        question=row["question"],
        drivers=decoded(row["drivers"], list[str]),
        options=decoded(row["options"], list[Option]),
        decide_by=row["decide_by"],
        by=show_by(row),
    )
