"""The requirements: who asked for each, how on-target they were, and who decided, on what knowledge."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import asyncpg
import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.codec import format_time
from schemas.envelope import stream_uuid
from schemas.events import Link
from schemas.values import By
from services.postgres import Statements
from services.problems import Problem
from services.projector import lenses, revenue
from services.projector.answers.decisions import (
    Grounds,
    Made,
    Outcome,
    accounts_in,
    asked_of,
    decision_of,
    departures,
    read_every_made,
    read_made_on,
    reviews,
    show_made,
)
from services.projector.answers.evidence import (
    read_ask_rows,
    read_at_stake,
    read_knowledge,
    read_live_asks,
    read_names,
    read_revenue,
)
from services.projector.answers.history import HISTORY_MAX, Happened, show_history
from services.projector.answers.sealed import read_sealed
from services.projector.answers.shown import FitShown, RevisionShown, show_by, show_fit, show_revisions
from services.projector.answers.snapshot import AsOf, Snapshot
from services.projector.fit import Class, shown
from services.projector.lenses import Ask, Asker, Decision, Departs, Judgement, Knowledge, count_by_class, voice
from services.projector.revenue import Money, Revenue
from services.sealing import MasterKey

READS = ("accounts", "opportunities", "requirements", "agreements", "decisions")

WHO_ASKED_MAX = 200
"""Accounts that one answer shows; the rest is on its next pages."""

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
    """A requirement in a list. Voices are rounded half-even to six places, null where no agreement was in force."""

    requirement: str
    title: str | None
    area: str | None
    status: Status
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
    """A requirement with what it is chosen and sorted by: exact voices, the position of the last event about it."""

    header: asyncpg.Record
    decision: asyncpg.Record | None
    status: Status
    accounts: dict[Class, int]
    voice: Fraction | None
    voice_if_known: Fraction | None
    departs: Departs | None
    earned: list[tuple[Class, Revenue]]

    def pipeline_and_contracted(self, currency: str) -> int:
        """All revenue in one currency, in millionths."""
        return sum(sum(revenue.get(currency, ())) for _, revenue in self.earned)


class AskShown(Struct, frozen=True, kw_only=True):
    """An ask that stands. `quote` is absent without the scope personal or if none was given, null once erased."""

    ask: str
    position: int
    time: str
    recordedtime: str
    importance: int
    channel: str | None
    contact: str | None
    url: str | None
    opportunity: str | None
    feedback: str | None
    needed_by: date | None
    labels: dict[str, str]
    by: By | None
    quote: str | UnsetType | None = UNSET


class WhoAsked(Struct, frozen=True, kw_only=True):
    account: str
    name: str | None
    importance: int
    revenue: list[Money]
    asks: list[AskShown]


class FitsOfAccount(Struct, frozen=True, kw_only=True):
    account: str
    as_asked: FitShown | None
    as_decided: FitShown | None
    as_now: FitShown | None


class HowOnTarget(Struct, frozen=True, kw_only=True):
    voice: float | None
    voice_if_known: float | None
    accounts: dict[Class, int]
    revenue: dict[str, list[Money]]
    at_stake: dict[str, list[Money]]
    fits: list[FitsOfAccount]
    revisions: dict[str, RevisionShown]


class OneRequirement(Struct, frozen=True, kw_only=True):
    """The three answers about one requirement. `title` is null if it was asked for but never raised."""

    requirement: str
    title: str | None
    area: str | None
    labels: dict[str, str]
    links: list[Link]
    status: Status
    delivery: Delivery | None
    as_of: AsOf
    who_asked_total: int
    who_asked: list[WhoAsked]
    how_on_target: HowOnTarget
    who_decided: list[Made]
    history: list[Happened]
    problem: str | UnsetType | None = UNSET


async def list_requirements(snapshot: Snapshot, lens: Lens) -> list[Listed]:
    """Every requirement, in the order of its id."""
    headers = await snapshot.fetch(_statements, "headers", snapshot.position)
    asks = await read_live_asks(snapshot)
    revenues = await read_revenue(snapshot)
    knowledge = await read_knowledge(snapshot)
    last_made = {row["position"]: row for row in await read_every_made(snapshot)}
    last_made = {each: last_made[each] for each in {row["decision_position"] for row in headers} - {None}}
    decisions = [decision_of(row) for row in last_made.values()]
    history = await read_ask_rows(snapshot, asked_of(each for each in decisions if each.outcome == "commit"))

    def listed() -> list[Listed]:
        departed = departures(knowledge, decisions, history)
        by_requirement: dict[str, list[Ask]] = {}
        for ask in asks:
            by_requirement.setdefault(ask.requirement, []).append(ask)
        heard = _Hearing(snapshot, knowledge, lens)
        return [
            _listed(row, heard.askers(by_requirement.get(row["requirement"], ())), heard, revenues, last_made, departed)
            for row in headers
        ]

    # This is the heaviest answer; in a thread it does not hold up the others.
    return await asyncio.to_thread(listed)


async def one_requirement(
    snapshot: Snapshot, requirement: str, *, after: int = 0, master: MasterKey | None = None
) -> OneRequirement:
    """The three answers. `after` accounts of who_asked are passed over; `master` opens the sealed texts.

    Raises Problem if the requirement was neither raised nor asked for.
    """
    said = await snapshot.fetch(_statements, "said", snapshot.position, requirement)
    deliveries = await snapshot.fetch(_statements, "delivery", snapshot.position, requirement)
    made = await read_made_on(snapshot, requirement)
    decisions = [decision_of(row) for row in made]
    asks = await read_ask_rows(snapshot, {requirement, *asked_of(decisions)})
    rows = asks.get(requirement, [])
    if snapshot.now is None or not (said or rows or deliveries):
        raise Problem("not-found", f"there is no requirement {requirement!r} at position {snapshot.position}")

    live = await asyncio.to_thread(lenses.live_asks, rows, snapshot.now, snapshot.position)
    at_stake = await read_at_stake(snapshot, requirement, live)
    knowledge = await read_knowledge(snapshot, accounts_in(asks) | at_stake.keys())
    revenues = await read_revenue(snapshot, {ask.account for ask in live if ask.account})
    # Many may ask for one requirement; in a thread they do not hold up other answers.
    heard = await asyncio.to_thread(
        _hear, knowledge, snapshot.now, snapshot.position, live, rows, decisions, at_stake, revenues
    )

    page = heard.askers[after : after + WHO_ASKED_MAX]
    accounts = {asker.account for asker in page}
    names = await read_names(snapshot, accounts)
    positions = [ask.position for ask in live if ask.account in accounts]
    ask_rows = await snapshot.fetch(_statements, "asks", positions)
    sealed = await _sealed(snapshot, ask_rows, said, master)
    departed = await asyncio.to_thread(departures, knowledge, decisions, asks)
    reviewed = await asyncio.to_thread(reviews, snapshot, knowledge, decisions, asks)
    history = await snapshot.fetch(
        _statements, "history", snapshot.position, requirement, stream_uuid(f"requirement/{requirement}"), HISTORY_MAX
    )
    fits = {asker.account: heard.judgements(asker) for asker in page}
    judged_by = [each.fit.revision for judgements in fits.values() for each in judgements if each]
    decided_by = [knowledge.in_force(decision.valid_from, decision.cut) for decision in decisions]
    return OneRequirement(
        requirement=requirement,
        title=_last(said, "title"),
        area=_last(said, "area"),
        labels=msgspec.json.decode(_last(said, "labels") or "{}"),
        links=msgspec.json.decode(_last(said, "links") or "[]", type=list[Link]),
        problem=sealed.problem,
        status=_status(made[-1]["outcome"] if made else None),
        delivery=_delivery(deliveries[0]) if deliveries else None,
        as_of=snapshot.as_of,
        who_asked_total=len(heard.askers),
        who_asked=_who_asked(page, ask_rows, names, revenues, sealed.quotes),
        how_on_target=HowOnTarget(
            voice=shown(heard.voice),
            voice_if_known=shown(heard.voice_if_known),
            accounts=count_by_class(asker.class_ for asker in heard.askers),
            revenue=heard.revenue,
            at_stake=heard.at_stake,
            fits=[
                FitsOfAccount(
                    account=account,
                    as_asked=show_fit(as_asked),
                    as_decided=show_fit(as_decided),
                    as_now=show_fit(as_now),
                )
                for account, (as_asked, as_decided, as_now) in fits.items()
            ],
            revisions=show_revisions([*judged_by, *(adoption.revision for adoption in decided_by if adoption)]),
        ),
        who_decided=[show_made(row, knowledge, departed[row["position"]], reviewed[row["position"]]) for row in made],
        history=show_history(history),
    )


# A row of the list


class _Hearing:
    """Who asks for a requirement, under one lens."""

    def __init__(self, snapshot: Snapshot, knowledge: Knowledge, lens: Lens) -> None:
        self._position, self._now, self._lens, self._knowledge = snapshot.position, snapshot.now, lens, knowledge
        self.agreed = snapshot.now is not None and knowledge.in_force(snapshot.now, snapshot.position) is not None

    def askers(self, asks: Sequence[Ask]) -> list[Asker]:
        if not asks or self._now is None:
            return []
        if self._lens == "asked":
            return lenses.as_asked(self._knowledge, asks, self._position)
        return lenses.as_now(self._knowledge, asks, self._now, self._position)


def _listed(
    header: asyncpg.Record,
    askers: list[Asker],
    heard: _Hearing,
    revenues: Mapping[str, Revenue],
    made: Mapping[int, asyncpg.Record],
    departed: Mapping[int, Departs | None],
) -> Listed:
    total, total_if_known = voice(askers) if heard.agreed else (None, None)
    decision = made.get(header["decision_position"])
    return Listed(
        header=header,
        decision=decision,
        status=_status(decision["outcome"] if decision else None),
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
        delivery=_delivery(header) if header["state"] else None,
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


def _delivery(row: asyncpg.Record) -> Delivery:
    return Delivery(
        state=row["state"],
        target=row["target"],
        url=row["url"],
        position=row["delivery_position"],
        time=format_time(row["delivery_time"]),
    )


def _status(outcome: str | None) -> Status:
    status: Status = msgspec.convert(lenses.status(outcome), Status)
    return status


def in_order(listed: Sequence[Listed], sort: Sort, currency: str | None) -> list[Listed]:
    """The most first; of equals the lower id. `listed` is in the order of ids."""
    match sort:
        case "voice":
            return sorted(listed, key=_quietness)
        case "recent":
            return sorted(listed, key=lambda each: -int(each.header["last"]))
        case "revenue":
            return sorted(listed, key=lambda each: -each.pipeline_and_contracted(currency or ""))


def _quietness(listed: Listed) -> tuple[bool, Fraction, Fraction]:
    return (
        listed.voice is None,
        -(listed.voice or lenses.NOTHING),
        -(listed.voice_if_known or lenses.NOTHING),
    )


# Parts of the answer about one requirement


class _Heard(Struct, frozen=True, kw_only=True):
    """Those who ask for one requirement, the loudest first, and what they add up to."""

    knowledge: Knowledge
    askers: list[Asker]
    asked: Mapping[str, Asker]
    decided: Mapping[str, Asker]
    last: Decision | None
    voice: Fraction | None
    voice_if_known: Fraction | None
    revenue: dict[str, list[Money]]
    at_stake: dict[str, list[Money]]

    def judgements(self, asker: Asker) -> tuple[Judgement | None, Judgement | None, Judgement | None]:
        """Of one account: as asked, as decided, as now."""
        return self.asked[asker.account].judgement, self._as_decided(asker), asker.judgement

    def _as_decided(self, asker: Asker) -> Judgement | None:
        if self.last is None:
            return None
        if asker.account in self.decided:
            return self.decided[asker.account].judgement
        # It had not asked by then, or nobody knew; what was known of the account is shown all the same.
        return self.knowledge.judge(asker.account, self.last.valid_from, self.last.cut, asker.ask)


def _hear(
    knowledge: Knowledge,
    now: datetime,
    position: int,
    live: Sequence[Ask],
    rows: Sequence[Ask],
    decisions: Sequence[Decision],
    at_stake: Mapping[str, Revenue],
    revenues: Mapping[str, Revenue],
) -> _Heard:
    askers = lenses.as_now(knowledge, live, now, position)
    classes = {asker.account: asker.class_ for asker in askers}
    for account in at_stake.keys() - classes.keys():
        classes[account] = lenses.class_of(knowledge.judge(account, now, position))
    agreed = knowledge.in_force(now, position) is not None
    total, total_if_known = voice(askers) if agreed else (None, None)
    last = decisions[-1] if decisions else None
    return _Heard(
        knowledge=knowledge,
        askers=sorted(askers, key=lambda asker: (-asker.weight, -asker.ask.importance, asker.account)),
        asked={asker.account: asker for asker in lenses.as_asked(knowledge, live, position)},
        decided={asker.account: asker for asker in lenses.as_decided(knowledge, rows, last)} if last else {},
        last=last,
        voice=total,
        voice_if_known=total_if_known,
        revenue=revenue.by_class((asker.class_, revenues.get(asker.account, {})) for asker in askers),
        at_stake=revenue.by_class((classes[account], each) for account, each in at_stake.items()),
    )


class _Sealed(Struct, frozen=True):
    problem: str | UnsetType | None
    quotes: Mapping[int, str | None]


async def _sealed(
    snapshot: Snapshot, asks: Sequence[asyncpg.Record], said: Sequence[asyncpg.Record], master: MasterKey | None
) -> _Sealed:
    """The sealed texts of an answer; without `master` there are none."""
    if master is None:
        return _Sealed(UNSET, {})
    quotes = await read_sealed(snapshot, [row["position"] for row in asks if row["has_quote"]], "quote", master)
    stated = [row["position"] for row in said if row["has_problem"]]
    if not stated:
        return _Sealed(UNSET, quotes)
    problems = await read_sealed(snapshot, stated[-1:], "problem", master)
    return _Sealed(problems[stated[-1]], quotes)


def _who_asked(
    page: Sequence[Asker],
    rows: Sequence[asyncpg.Record],
    names: Mapping[str, str],
    revenues: Mapping[str, Revenue],
    quotes: Mapping[int, str | None],
) -> list[WhoAsked]:
    asks: dict[str, list[AskShown]] = {}
    for row in rows:
        asks.setdefault(row["account"], []).append(show_ask(row, quotes.get(row["position"], UNSET)))
    return [
        WhoAsked(
            account=asker.account,
            name=names.get(asker.account),
            importance=asker.ask.importance,
            revenue=revenue.shown(revenues.get(asker.account, {})),
            asks=asks[asker.account],
        )
        for asker in page
    ]


def show_ask(row: asyncpg.Record, quote: str | UnsetType | None) -> AskShown:
    return AskShown(
        ask=row["ask"],
        position=row["position"],
        time=format_time(row["time"]),
        recordedtime=format_time(row["recorded_at"]),
        importance=row["importance"],
        channel=row["channel"],
        contact=row["contact"],
        url=row["url"],
        opportunity=row["opportunity"],
        feedback=row["feedback"],
        needed_by=row["needed_by"],
        labels=msgspec.json.decode(row["labels"]),
        by=show_by(row),
        quote=quote,
    )


def _last(rows: Sequence[asyncpg.Record], column: str) -> Any:
    """What was last said in this column; a row that leaves it out says nothing about it."""
    return next((row[column] for row in reversed(rows) if row[column] is not None), None)
