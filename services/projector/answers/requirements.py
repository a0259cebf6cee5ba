"""The requirements: how loud each is and of which classes, its revenue, and what was decided last."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Literal

import asyncpg
import msgspec
from msgspec import Struct

from schemas.times import format_time
from services.projector import lenses, revenue
from services.projector.answers.decisions import (
    Grounds,
    Outcome,
    asked_of,
    decision_of,
    departures,
    read_every_made,
    read_made_at,
)
from services.projector.answers.evidence import (
    KnowledgeRead,
    accounts_in,
    asks_by_requirement,
    read_accounts_lineage,
    read_ask_rows,
    read_knowledge,
    read_lineage,
    read_live_asks,
    read_requirements_lineage,
    read_revenue,
    revenue_by_account,
)
from services.projector.answers.snapshot import AsOf, Snapshot
from services.projector.fit import Class, shown
from services.projector.lenses import Ask, Asker, Departs, Knowledge, count_by_class, voice
from services.projector.revenue import Money, Revenue
from services.statements import Statements

READS = ("accounts", "opportunities", "requirements", "agreements", "decisions", "retractions")

Lens = Literal["now", "asked"]
Sort = Literal["voice", "recent", "revenue"]
Status = Literal["open", "committed", "declined", "deferred", "exploring", "merged"]

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class Delivery(Struct, frozen=True, kw_only=True):
    state: Literal["planned", "in_progress", "beta", "shipped", "cancelled"]
    target: date | None
    url: str | None
    position: int
    time: str


class LastDecision(Struct, frozen=True, kw_only=True):
    decision: str
    position: int
    time: str
    outcome: Outcome
    grounds: Grounds


class RequirementRow(Struct, frozen=True, kw_only=True):
    """A requirement in a list. Voices are rounded half-even to six places, null where no agreement was in force.

    One that was merged has the status `merged` and no voice of its own: its asks count in the one that it is part of.
    """

    requirement: str
    title: str | None
    area: str | None
    status: Status
    into: str | None
    delivery: Delivery | None
    voice: float | None
    voice_if_known: float | None
    accounts: dict[Class, int]
    revenue: dict[str, list[Money]]
    departs: Departs | None
    decision: LastDecision | None


class RequirementList(Struct, frozen=True, kw_only=True):
    as_of: AsOf
    lens: Lens
    total: int
    requirements: list[RequirementRow]


class Listed(Struct, frozen=True, kw_only=True):
    """A requirement with what it is chosen and sorted by: exact voices, the `last` position of an event about it."""

    header: asyncpg.Record
    decision: asyncpg.Record | None
    status: Status
    into: str | None
    last: int
    accounts: dict[Class, int]
    voice: Fraction | None
    voice_if_known: Fraction | None
    departs: Departs | None
    earned: list[tuple[Class, Revenue]]

    def pipeline_and_contracted(self, currency: str) -> int:
        """All revenue in one currency, in millionths."""
        return sum(sum(revenue.get(currency, ())) for _, revenue in self.earned)

    @property
    def currencies(self) -> set[str]:
        return {currency for _, revenue in self.earned for currency in revenue}


class Evidence(Struct, frozen=True, kw_only=True):
    """What the list of requirements is made from, as it was read at one position."""

    position: int
    now: datetime | None
    headers: list[asyncpg.Record]
    asks: list[asyncpg.Record]
    revenues: list[asyncpg.Record]
    knowledge: KnowledgeRead
    last_made: dict[int, asyncpg.Record]
    ask_rows: list[asyncpg.Record]
    """All that was said about asks of what the last decisions commit to."""


async def read_requirements(snapshot: Snapshot) -> Evidence:
    headers = await snapshot.fetch(_statements, "headers", snapshot.position)
    made = {row["position"]: row for row in await read_every_made(snapshot)}
    last_made = {each: made[each] for each in {row["decision_position"] for row in headers} - {None}}
    commits = asked_of(decision_of(row) for row in last_made.values() if row["outcome"] == "commit")
    lineage = await read_lineage(snapshot)
    return Evidence(
        position=snapshot.position,
        now=snapshot.now,
        headers=headers,
        asks=await read_live_asks(snapshot, lineage),
        revenues=await read_revenue(snapshot),
        knowledge=await read_knowledge(snapshot, lineage),
        last_made=last_made,
        ask_rows=await read_ask_rows(snapshot, lineage.related(commits)),
    )


async def read_requirements_of(snapshot: Snapshot, requirements: Sequence[str]) -> Evidence:
    """What the rows of these requirements are made from: as read_requirements has it, without reading about others."""
    position, now = snapshot.position, snapshot.now
    lineage = await read_requirements_lineage(snapshot, requirements)
    wanted = lineage.requirements.related(requirements)
    headers = await snapshot.fetch(_statements, "headers_of", position, sorted(wanted))
    last_made = await read_made_at(snapshot, {row["decision_position"] for row in headers} - {None})
    commits = asked_of(decision_of(row) for row in last_made.values() if row["outcome"] == "commit")
    if not commits <= wanted:
        lineage = await read_requirements_lineage(snapshot, wanted | commits)
    ask_rows = await read_ask_rows(snapshot, lineage.related(wanted | commits))
    named = accounts_in(ask_rows)
    lineage = msgspec.structs.replace(lineage, accounts=await read_accounts_lineage(snapshot, named))
    rows = [Ask(*row) for row in ask_rows]
    live = [] if now is None else lenses.live_asks(rows, now, position, lineage, requirements)
    accounts = lineage.accounts.related(named)
    return Evidence(
        position=position,
        now=now,
        headers=headers,
        asks=live,
        revenues=await read_revenue(snapshot, accounts),
        knowledge=await read_knowledge(snapshot, lineage, accounts),
        last_made=last_made,
        ask_rows=ask_rows,
    )


async def read_statuses(snapshot: Snapshot, requirements: Iterable[str]) -> dict[str, Status]:
    """Requirement → its status."""
    position, wanted = snapshot.position, sorted(set(requirements))
    known = (await read_requirements_lineage(snapshot, wanted)).requirements
    headers = await snapshot.fetch(_statements, "headers_of", position, sorted(known.related(wanted)))
    last: dict[str, int] = {}
    for row in headers:
        if row["decision_position"] is not None:
            root = known.root(row["requirement"], position)
            last[root] = max(last.get(root, 0), row["decision_position"])
    made = await read_made_at(snapshot, last.values())

    def status(requirement: str) -> Status:
        if known.into(requirement, position) is not None:
            return "merged"
        return status_of(made[last[requirement]]["outcome"] if requirement in last else None)

    return {each: status(each) for each in wanted}


def list_requirements(evidence: Evidence, lens: Lens) -> list[Listed]:
    """Every requirement, in the order of its id."""
    knowledge = evidence.knowledge.knowledge()
    decisions = [decision_of(row) for row in evidence.last_made.values()]
    departed = departures(knowledge, decisions, asks_by_requirement(evidence.ask_rows))
    asks = asks_by_requirement(evidence.asks)
    lineage, position = knowledge.lineage, evidence.position
    revenues = revenue_by_account(evidence.revenues, lineage.accounts, position)
    heard = _Hearing(evidence, knowledge, lens)
    parts: dict[str, list[asyncpg.Record]] = {}
    for row in evidence.headers:
        parts.setdefault(lineage.requirements.root(row["requirement"], position), []).append(row)
    return [
        _listed(
            row,
            parts.get(row["requirement"], [row]),
            into=lineage.requirements.into(row["requirement"], position),
            askers=heard.askers(asks.get(row["requirement"], ())),
            agreed=heard.agreed,
            revenues=revenues,
            made=evidence.last_made,
            departed=departed,
        )
        for row in evidence.headers
    ]


class _Hearing:
    """Who asks for a requirement, under one lens."""

    def __init__(self, evidence: Evidence, knowledge: Knowledge, lens: Lens) -> None:
        self._position, self._now, self._lens, self._knowledge = evidence.position, evidence.now, lens, knowledge
        self.agreed = evidence.now is not None and knowledge.in_force(evidence.now, evidence.position) is not None

    def askers(self, asks: Sequence[Ask]) -> list[Asker]:
        if not asks or self._now is None:
            return []
        if self._lens == "asked":
            return lenses.as_asked(self._knowledge, asks, self._position)
        return lenses.as_now(self._knowledge, asks, self._now, self._position)


def _listed(
    header: asyncpg.Record,
    parts: Sequence[asyncpg.Record],
    *,
    into: str | None,
    askers: list[Asker],
    agreed: bool,
    revenues: Mapping[str, Revenue],
    made: Mapping[int, asyncpg.Record],
    departed: Mapping[int, Departs | None],
) -> Listed:
    """`parts`: the headers of all that was merged into it, and its own."""
    total, total_if_known = voice(askers) if agreed else (None, None)
    decided = max((row["decision_position"] for row in parts if row["decision_position"] is not None), default=None)
    decision = None if decided is None else made[decided]
    return Listed(
        header=header,
        decision=decision,
        status=status_of(decision["outcome"] if decision else None) if into is None else "merged",
        into=into,
        last=max(row["last"] for row in parts),
        accounts=count_by_class(asker.class_ for asker in askers),
        voice=total,
        voice_if_known=total_if_known,
        departs=departed[decision["position"]] if decision else None,
        earned=[(asker.class_, revenues[asker.account]) for asker in askers if asker.account in revenues],
    )


def show_row(listed: Listed) -> RequirementRow:
    header = listed.header
    return RequirementRow(
        requirement=header["requirement"],
        title=header["title"],
        area=header["area"],
        status=listed.status,
        into=listed.into,
        delivery=show_delivery(header) if header["state"] else None,
        voice=shown(listed.voice),
        voice_if_known=shown(listed.voice_if_known),
        accounts=listed.accounts,
        revenue=revenue.by_class(listed.earned),
        departs=listed.departs,
        decision=_last_decision(listed.decision) if listed.decision else None,
    )


def _last_decision(row: asyncpg.Record) -> LastDecision:
    return LastDecision(
        decision=row["decision"],
        position=row["position"],
        time=format_time(row["time"]),
        outcome=row["outcome"],
        grounds=row["grounds"],
    )


def show_delivery(row: asyncpg.Record) -> Delivery:
    return Delivery(
        state=row["state"],
        target=row["target"],
        url=row["url"],
        position=row["delivery_position"],
        time=format_time(row["delivery_time"]),
    )


def status_of(outcome: str | None) -> Status:
    status: Status = msgspec.convert(lenses.status(outcome), Status)
    return status


def in_order(listed: Sequence[Listed], sort: Sort, currency: str | None) -> list[Listed]:
    """The most first; of equals the lower id. `listed` is in the order of ids."""
    match sort:
        case "voice":
            return sorted(listed, key=_quietness)
        case "recent":
            return sorted(listed, key=lambda each: -each.last)
        case "revenue":
            return sorted(listed, key=lambda each: -each.pipeline_and_contracted(currency or ""))


def _quietness(listed: Listed) -> tuple[bool, Fraction, Fraction]:
    return (
        listed.voice is None,
        -(listed.voice or lenses.NOTHING),
        -(listed.voice_if_known or lenses.NOTHING),
    )
