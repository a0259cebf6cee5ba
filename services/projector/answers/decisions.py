"""Who decided, and on what knowledge: made and proposed decisions, with fits as decided."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import asyncpg
import msgspec
from msgspec import Struct

from schemas.events import Available, Dissent, Option
from schemas.times import format_time
from schemas.values import By
from services.problems import Problem
from services.projector import lenses
from services.projector.answers.evidence import (
    TARGET_MARKET,
    KnowledgeRead,
    accounts_in,
    asks_by_requirement,
    names_by_account,
    read_accounts_lineage,
    read_ask_rows,
    read_knowledge,
    read_names,
    read_requirements_lineage,
)
from services.projector.answers.shown import (
    FitShown,
    RevisionShown,
    Role,
    show_by,
    show_fit,
    show_revisions,
    show_role,
)
from services.projector.answers.snapshot import AsOf, Snapshot
from services.projector.fit import Class
from services.projector.lenses import Ask, Asker, Decision, Departs, Knowledge, count_by_class
from services.projector.resolution import Lineage
from services.projector.review import Mark, marks
from services.statements import Statements

READS = ("accounts", "requirements", "agreements", "decisions", "retractions")

FITS_MAX = 1_000
"""Fits that one decision shows, in accounts; the counts by class are of all."""

Outcome = Literal["commit", "decline", "defer", "explore"]
Grounds = Literal["target", "exception", "obligation", "technical"]

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class DecisionRow(Struct, frozen=True, kw_only=True):
    """A decision in a list. What only a made one has is null while it is proposed."""

    decision: str
    state: Literal["proposed", "made"]
    requirements: list[str]
    question: str | None
    outcome: Outcome | None
    grounds: Grounds | None
    departs: Departs | None
    needs_review: bool
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


class Made(Struct, frozen=True, kw_only=True):
    """A decision as it was made, and the revision that was in force for its deciders."""

    decision: str
    position: int
    time: str
    recordedtime: str
    outcome: Outcome
    grounds: Grounds
    departs: Departs | None
    deciders: list[By]
    instruction: str
    rationale: str
    option: str | None
    tell_customer: str | None
    available: Available | None
    consulted: list[By]
    informed: list[str]
    dissent: list[Dissent]
    revisit: date | None
    seen: int | None
    cut: int
    agreement: str | None
    revision: str | None
    needs_review: list[Mark]


class Proposed(Struct, frozen=True, kw_only=True):
    position: int
    time: str
    recordedtime: str
    question: str
    drivers: list[str]
    options: list[Option]
    decide_by: date | None
    by: By | None


class DecidedFit(Struct, frozen=True, kw_only=True):
    """An account that asked, as the deciders knew it."""

    account: str
    name: str | None
    requirement: str
    ask: str
    importance: int
    as_decided: FitShown | None


class OneDecision(Struct, frozen=True, kw_only=True):
    """A decision. What only a made one has is null, or empty, while it is proposed."""

    decision: str
    state: Literal["proposed", "made"]
    requirements: list[str]
    as_of: AsOf
    proposed: Proposed | None
    position: int | None = None
    time: str | None = None
    recordedtime: str | None = None
    outcome: Outcome | None = None
    grounds: Grounds | None = None
    departs: Departs | None = None
    deciders: list[By] = []
    instruction: str | None = None
    rationale: str | None = None
    option: str | None = None
    tell_customer: str | None = None
    available: Available | None = None
    consulted: list[By] = []
    informed: list[str] = []
    dissent: list[Dissent] = []
    revisit: date | None = None
    seen: int | None = None
    cut: int | None = None
    agreement: str | None = None
    revision: str | None = None
    needs_review: list[Mark] = []
    accounts: dict[Class, int]
    fits: list[DecidedFit]
    revisions: dict[str, RevisionShown]


class Evidence(Struct, frozen=True, kw_only=True):
    """What decisions are judged from, as it was read at one position: all of them, or one."""

    as_of: AsOf
    now: datetime | None
    proposals: dict[str, asyncpg.Record]
    made: dict[str, asyncpg.Record]
    ask_rows: list[asyncpg.Record]
    """On all requirements that may be among those that the decisions are about."""
    knowledge: KnowledgeRead
    names: list[asyncpg.Record]
    """What those who asked are called; of the list, nothing."""


async def read_decisions(snapshot: Snapshot) -> Evidence:
    return await _read(
        snapshot,
        proposals=await snapshot.fetch(_statements, "every_proposed", snapshot.position),
        made=await snapshot.fetch(_statements, "every_made", snapshot.position),
        named=False,
    )


async def read_decision(snapshot: Snapshot, decision: str) -> Evidence:
    """Raises Problem if there is no such decision."""
    proposals = await snapshot.fetch(_statements, "proposed", snapshot.position, decision)
    made = await snapshot.fetch(_statements, "made", snapshot.position, decision)
    if not made and not proposals:
        raise Problem("not-found", f"there is no decision {decision!r} at position {snapshot.position}")
    return await _read(snapshot, proposals=proposals, made=made, named=True)


async def _read(
    snapshot: Snapshot, *, proposals: list[asyncpg.Record], made: list[asyncpg.Record], named: bool
) -> Evidence:
    last_made = {row["decision"]: row for row in made}
    asked = asked_of(decision_of(row) for row in last_made.values())
    lineage = await read_requirements_lineage(snapshot, asked)
    ask_rows = await read_ask_rows(snapshot, lineage.related(asked))
    accounts = accounts_in(ask_rows)
    lineage = msgspec.structs.replace(lineage, accounts=await read_accounts_lineage(snapshot, accounts))
    return Evidence(
        as_of=snapshot.as_of,
        now=snapshot.now,
        proposals={row["decision"]: row for row in proposals},
        made=last_made,
        ask_rows=ask_rows,
        knowledge=await read_knowledge(snapshot, lineage, accounts),
        names=await read_names(snapshot, lineage.accounts.related(accounts)) if named else [],
    )


def list_decisions(evidence: Evidence) -> list[DecisionRow]:
    """Every decision, the one that was last proposed or made first."""
    if evidence.now is None:
        return []  # In the empty ledger nothing was decided.
    proposals, made = evidence.proposals, evidence.made
    knowledge, asks = evidence.knowledge.knowledge(), asks_by_requirement(evidence.ask_rows)
    decisions = [decision_of(row) for row in made.values()]
    departed = departures(knowledge, decisions, asks)
    reviewed = reviews(knowledge, decisions, asks, evidence.now, evidence.as_of.position)
    rows = [_row(proposals.get(row["decision"]), row, knowledge, departed, reviewed) for row in made.values()]
    rows += [
        _row(row, None, knowledge, departed, reviewed) for row in proposals.values() if row["decision"] not in made
    ]
    return sorted(rows, key=lambda row: -row.position)


def one_decision(evidence: Evidence, decision: str) -> OneDecision:
    """The decision that was read."""
    proposal, row = evidence.proposals.get(decision), evidence.made.get(decision)
    made: Made | None = None
    askers: list[Asker] = []
    names: Mapping[str, str] = {}
    accounts = evidence.knowledge.lineage.accounts
    if row is not None and evidence.now is not None:
        taken = decision_of(row)
        knowledge, asks = evidence.knowledge.knowledge(), asks_by_requirement(evidence.ask_rows)
        heard = lenses.as_decided(knowledge, about(taken, asks, knowledge.lineage), taken)
        askers = sorted(heard, key=lambda asker: (-asker.weight, asker.account))
        reviewed = reviews(knowledge, [taken], asks, evidence.now, evidence.as_of.position)
        made = show_made(row, knowledge, lenses.departs(taken.outcome, askers), reviewed[taken.position])
        names = names_by_account(evidence.names, accounts, evidence.as_of.position)

    shown = askers[:FITS_MAX]
    as_made = {} if made is None else msgspec.structs.asdict(made)
    return OneDecision(
        **{**as_made, "decision": decision},
        state="proposed" if made is None else "made",
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
                importance=asker.ask.importance,
                as_decided=show_fit(asker.judgement),
            )
            for asker in shown
        ],
        revisions=show_revisions(asker.judgement.fit.revision for asker in shown if asker.judgement),
    )


# What answers about requirements need too


async def read_made_on(snapshot: Snapshot, requirements: Iterable[str]) -> list[asyncpg.Record]:
    """The made decisions on one of these requirements, in the order of their positions."""
    return await snapshot.fetch(_statements, "made_on", snapshot.position, [*requirements])


async def read_every_made(snapshot: Snapshot) -> list[asyncpg.Record]:
    return await snapshot.fetch(_statements, "every_made", snapshot.position)


async def read_made_at(snapshot: Snapshot, positions: Iterable[int]) -> dict[int, asyncpg.Record]:
    """The made decisions at these positions."""
    wanted = sorted(positions)
    rows = await snapshot.fetch(_statements, "made_at", wanted) if wanted else []
    return {row["position"]: row for row in rows}


def decision_of(row: asyncpg.Record) -> Decision:
    return Decision(
        row["decision"], row["position"], row["valid_from"], row["seen"], row["outcome"], row["requirements"]
    )


def asked_of(decisions: Iterable[Decision]) -> set[str]:
    """The requirements that these decisions are about."""
    return {each for decision in decisions for each in decision.requirements}


def about(decision: Decision, asks: Mapping[str, Sequence[Ask]], lineage: Lineage) -> list[Ask]:
    """All recordings and withdrawals of asks that a decision may be about, at one position or another."""
    return [ask for requirement in lineage.related(decision.requirements) for ask in asks.get(requirement, ())]


def departures(
    knowledge: Knowledge, decisions: Iterable[Decision], asks: Mapping[str, Sequence[Ask]]
) -> dict[int, Departs | None]:
    """Position of each decision → whether it departs from the agreement. `asks` are all rows of what was asked."""
    departed: dict[int, Departs | None] = {}
    for decision in decisions:
        commits = decision.outcome == "commit"
        askers = lenses.as_decided(knowledge, about(decision, asks, knowledge.lineage), decision) if commits else []
        departed[decision.position] = lenses.departs(decision.outcome, askers)
    return departed


def reviews(
    knowledge: Knowledge,
    decisions: Iterable[Decision],
    asks: Mapping[str, Sequence[Ask]],
    now: datetime,
    position: int,
) -> dict[int, list[Mark]]:
    """Position of each decision → why it needs review. `asks` are all rows of what was asked."""
    return {
        decision.position: marks(
            knowledge, about(decision, asks, knowledge.lineage), decision, TARGET_MARKET, now, position
        )
        for decision in decisions
    }


def show_made(row: asyncpg.Record, knowledge: Knowledge, departs: Departs | None, needs_review: list[Mark]) -> Made:
    decision = decision_of(row)
    adoption = knowledge.in_force(decision.valid_from, decision.cut)
    return Made(
        decision=row["decision"],
        position=row["position"],
        time=format_time(row["time"]),
        recordedtime=format_time(row["recorded_at"]),
        outcome=row["outcome"],
        grounds=row["grounds"],
        departs=departs,
        deciders=_decoded(row["deciders"], list[By]),
        instruction=row["instruction"],
        rationale=row["rationale"],
        option=row["option"],
        tell_customer=row["tell_customer"],
        available=None if row["available"] is None else _decoded(row["available"], Available | None),
        consulted=_decoded(row["consulted"], list[By]),
        informed=row["informed"],
        dissent=_decoded(row["dissent"], list[Dissent]),
        revisit=row["revisit"],
        seen=row["seen"],
        cut=decision.cut,
        agreement=None if adoption is None else TARGET_MARKET,
        revision=None if adoption is None else adoption.revision.revision,
        needs_review=needs_review,
    )


def _row(
    proposal: asyncpg.Record | None,
    made: asyncpg.Record | None,
    knowledge: Knowledge,
    departed: Mapping[int, Departs | None],
    reviewed: Mapping[int, list[Mark]],
) -> DecisionRow:
    last = made or proposal
    assert last is not None  # A row is about a decision that was made or proposed.
    at = last["position"]
    shown = None if made is None else show_made(made, knowledge, departed[at], reviewed[at])
    return DecisionRow(
        decision=last["decision"],
        state="proposed" if shown is None else "made",
        requirements=last["requirements"],
        question=None if proposal is None else proposal["question"],
        outcome=None if shown is None else shown.outcome,
        grounds=None if shown is None else shown.grounds,
        departs=None if shown is None else shown.departs,
        needs_review=shown is not None and bool(shown.needs_review),
        position=last["position"],
        time=format_time(last["time"]),
        recordedtime=format_time(last["recorded_at"]),
        deciders=[] if shown is None else [show_role(by) for by in shown.deciders],
        instruction=None if shown is None else shown.instruction,
        decide_by=None if proposal is None else proposal["decide_by"],
        revisit=None if shown is None else shown.revisit,
        agreement=None if shown is None else shown.agreement,
        revision=None if shown is None else shown.revision,
    )


def _show_proposal(row: asyncpg.Record) -> Proposed:
    return Proposed(
        position=row["position"],
        time=format_time(row["time"]),
        recordedtime=format_time(row["recorded_at"]),
        question=row["question"],
        drivers=_decoded(row["drivers"], list[str]),
        options=_decoded(row["options"], list[Option]),
        decide_by=row["decide_by"],
        by=show_by(row),
    )


def _decoded(text: str, type: Any) -> Any:
    return msgspec.json.decode(text, type=type)
