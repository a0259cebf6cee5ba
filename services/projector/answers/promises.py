"""The promises: what was promised to whom, what became of it, and how it stood to what was decided and known then."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct

from schemas.times import format_time
from services.projector.answers.decisions import read_made_on
from services.projector.answers.evidence import (
    read_accounts_lineage,
    read_names,
    read_requirements_lineage,
    read_titles,
)
from services.projector.answers.since import read_chains
from services.projector.answers.snapshot import Snapshot
from services.projector.judgement import promises
from services.projector.judgement.figures import counted
from services.projector.judgement.lenses import Decision
from services.projector.judgement.promises import (
    BASES,
    STATES,
    Assessed,
    Assessment,
    Basis,
    Decided,
    QuarterEnd,
    State,
    Supersession,
    is_at_quarter_end,
    is_overdue,
    quarter_end,
)
from services.projector.judgement.resolution import Resolution
from services.projector.shapes.decision import Outcome
from services.projector.shapes.shown import AsOf, Role, show_by, show_role
from services.projector.telling.decisions import decision_of
from services.projector.telling.evidence import names_by_account
from services.statements import Statements

READS = ("promises", "accounts", "requirements", "decisions", "retractions")

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class LastSaid(Struct, frozen=True, kw_only=True):
    """The last recording of a promise that was recorded more than once."""

    position: int
    time: str


class Held(Struct, frozen=True, kw_only=True):
    """The decision that held for a requirement at some time."""

    decision: str
    position: int
    time: str
    outcome: Outcome


class Ended(Struct, frozen=True, kw_only=True):
    """How a promise ended is its `state`; here is who said so, and why."""

    position: int
    time: str
    recordedtime: str
    reason: str | None
    by: Role


class PromiseRow(Struct, frozen=True, kw_only=True):
    """A promise: its first recording, by the time that it is about, and what it said last; `revised` is null if that is
    the same.

    `account` and `requirement` are what the names in the event (`named`, `recorded_on`) stand for now. A list names no
    persons.
    """

    promise: str
    account: str
    named: str
    name: str | None
    requirement: str
    recorded_on: str
    title: str | None
    state: State
    due: date | None
    overdue: bool
    position: int
    time: str
    recordedtime: str
    revised: LastSaid | None
    by: Role
    opportunity: str | None
    decision: str | None
    basis: Basis
    held: Held | None
    basis_as_known_now: Basis
    holds_now: Held | None
    infeasible: list[str]
    quarter_end: bool
    closed: Ended | None


class PromiseTotals(Struct, frozen=True, kw_only=True):
    """Of all promises that the filters let through. `infeasible`: those against an assessment that said so."""

    state: dict[State, int]
    overdue: int
    basis: dict[Basis, int]
    basis_as_known_now: dict[Basis, int]
    infeasible: int
    quarter_end: QuarterEnd


class PromiseList(Struct, frozen=True, kw_only=True):
    as_of: AsOf
    total: int
    totals: PromiseTotals
    promises: list[PromiseRow]


class Promise(Struct, frozen=True, kw_only=True):
    """A promise with the instant at which it was made."""

    made: datetime
    row: PromiseRow


class Evidence(Struct, frozen=True, kw_only=True):
    """What the list is made from, as it was read at one position."""

    position: int
    now: datetime | None
    made: list[asyncpg.Record]
    closed: list[asyncpg.Record]
    decided: list[asyncpg.Record]
    superseded: list[asyncpg.Record]
    assessed: list[asyncpg.Record]
    titles: dict[str, str]
    names: list[asyncpg.Record]
    accounts: Resolution
    requirements: Resolution


class Subjects(Struct, frozen=True, kw_only=True):
    """The account and the requirement that promises are wanted of; None: any."""

    account: str | None
    requirement: str | None


async def read_promises(snapshot: Snapshot) -> Evidence:
    position = snapshot.position
    made = await snapshot.fetch(_statements, "made", position)
    accounts = await read_accounts_lineage(snapshot, {row["account"] for row in made})
    promised = {row["requirement"] for row in made}
    requirements = (await read_requirements_lineage(snapshot, promised)).requirements
    related = sorted(requirements.related(promised))
    decided = await read_made_on(snapshot, related)
    return Evidence(
        position=position,
        now=snapshot.now,
        made=made,
        closed=await snapshot.fetch(_statements, "closed", position),
        decided=decided,
        superseded=await read_chains(snapshot, [row["decision"] for row in decided]),
        assessed=await snapshot.fetch(_statements, "assessed", position, related),
        titles=await read_titles(snapshot, related),
        names=await read_names(snapshot, sorted(accounts.related(row["account"] for row in made))),
        accounts=accounts,
        requirements=requirements,
    )


async def read_promise_times(snapshot: Snapshot) -> list[datetime]:
    """When each promise was made."""
    return [row["made"] for row in await snapshot.fetch(_statements, "first_made", snapshot.position)]


async def read_subjects(snapshot: Snapshot, account: str | None, requirement: str | None) -> Subjects:
    """What these names stand for."""
    position = snapshot.position
    if account is not None:
        account = (await read_accounts_lineage(snapshot, [account])).root(account, position)
    if requirement is not None:
        lineage = await read_requirements_lineage(snapshot, [requirement])
        requirement = lineage.requirements.root(requirement, position)
    return Subjects(account=account, requirement=requirement)


def list_promises(evidence: Evidence) -> list[Promise]:
    """Every promise, the one that was made last first."""
    now, position = evidence.now, evidence.position
    if now is None:
        return []  # In the empty ledger nothing was promised.
    accounts, requirements = evidence.accounts, evidence.requirements
    decided = Decided(
        map(decision_of, evidence.decided), (Supersession(*row) for row in evidence.superseded), requirements
    )
    assessed = Assessed((Assessment(*row) for row in evidence.assessed), requirements)
    closed = {row["promise"]: row for row in evidence.closed}
    times = {row["position"]: row["time"] for row in evidence.decided}
    names = names_by_account(evidence.names, accounts, position)

    def held(requirement: str, t: datetime, p: int) -> Held | None:
        decision = decided.held(requirement, t, p)
        return None if decision is None else _show_held(decision, times[decision.position])

    def promise(row: asyncpg.Record) -> Promise:
        requirement, made, then = row["requirement"], row["first_valid_from"], row["first_position"]
        account, root = accounts.root(row["account"], position), requirements.root(requirement, position)
        end = closed.get(row["promise"])
        state = promises.state(None if end is None else end["outcome"], row["due"])
        return Promise(
            made=made,
            row=PromiseRow(
                promise=row["promise"],
                account=account,
                named=row["account"],
                name=names.get(account),
                requirement=root,
                recorded_on=requirement,
                title=evidence.titles.get(root),
                state=state,
                due=row["due"],
                overdue=is_overdue(state, row["due"], now.astimezone(UTC).date()),
                position=then,
                time=format_time(row["first_time"]),
                recordedtime=format_time(row["first_recorded_at"]),
                revised=None
                if row["position"] == then
                else LastSaid(position=row["position"], time=format_time(row["time"])),
                by=_show_role(row),
                opportunity=row["opportunity"],
                decision=row["decision"],
                basis=decided.basis(requirement, made, then, now, position),
                held=held(requirement, made, then),
                basis_as_known_now=decided.basis(requirement, made, position, now, position),
                holds_now=held(requirement, now, position),
                infeasible=assessed.infeasible(requirement, made, then),
                quarter_end=is_at_quarter_end(made.astimezone(UTC).date()),
                closed=None if end is None else _show_end(end),
            ),
        )

    found = [promise(row) for row in evidence.made]
    return sorted(found, key=lambda each: (each.made, each.row.position), reverse=True)


def totals(found: Sequence[Promise]) -> PromiseTotals:
    rows = [each.row for each in found]
    return PromiseTotals(
        state=counted((row.state for row in rows), STATES),
        overdue=sum(row.overdue for row in rows),
        basis=counted((row.basis for row in rows), BASES),
        basis_as_known_now=counted((row.basis_as_known_now for row in rows), BASES),
        infeasible=sum(bool(row.infeasible) for row in rows),
        quarter_end=quarter_end([each.made.astimezone(UTC).date() for each in found]),
    )


def show_promise(promise: Promise) -> PromiseRow:
    return promise.row


def _show_held(decision: Decision, time: datetime) -> Held:
    outcome: Outcome = msgspec.convert(decision.outcome, Outcome)
    return Held(decision=decision.decision, position=decision.position, time=format_time(time), outcome=outcome)


def _show_end(row: asyncpg.Record) -> Ended:
    return Ended(
        position=row["position"],
        time=format_time(row["time"]),
        recordedtime=format_time(row["recorded_at"]),
        reason=row["reason"],
        by=_show_role(row),
    )


def _show_role(row: asyncpg.Record) -> Role:
    by = show_by(row)
    assert by is not None  # A promise is made and closed on somebody's behalf.
    return show_role(by)
