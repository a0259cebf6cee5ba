"""One requirement: who asked for it, how on-target they were, who decided, and its history."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

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
    Made,
    accounts_in,
    asked_of,
    decision_of,
    departures,
    read_made_on,
    reviews,
    show_made,
)
from services.projector.answers.evidence import (
    read_ask_rows,
    read_at_stake,
    read_knowledge,
    read_names,
    read_revenue,
)
from services.projector.answers.history import HISTORY_MAX, Happened, show_history
from services.projector.answers.requirements import Delivery, Status, show_delivery, status_of
from services.projector.answers.sealed import Opener, read_sealed
from services.projector.answers.shown import FitShown, RevisionShown, show_by, show_fit, show_revisions
from services.projector.answers.snapshot import AsOf, Snapshot
from services.projector.fit import Class, shown
from services.projector.lenses import Ask, Asker, Decision, Judgement, Knowledge, count_by_class, voice
from services.projector.revenue import Money, Revenue

WHO_ASKED_MAX = 200
"""Accounts that one answer shows; the rest is on its next pages."""

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


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


async def one_requirement(
    snapshot: Snapshot, requirement: str, *, after: int = 0, opener: Opener | None = None
) -> OneRequirement:
    """The three answers. `after` accounts of who_asked are passed over; `opener` opens the sealed texts.

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
    sealed = await _sealed(snapshot, ask_rows, said, opener)
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
        status=status_of(made[-1]["outcome"] if made else None),
        delivery=show_delivery(deliveries[0]) if deliveries else None,
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
    snapshot: Snapshot, asks: Sequence[asyncpg.Record], said: Sequence[asyncpg.Record], opener: Opener | None
) -> _Sealed:
    """The sealed texts of an answer; without `opener` there are none."""
    if opener is None:
        return _Sealed(UNSET, {})
    quotes = await read_sealed(snapshot, [row["position"] for row in asks if row["has_quote"]], "quote", opener)
    stated = [row["position"] for row in said if row["has_problem"]]
    if not stated:
        return _Sealed(UNSET, quotes)
    problems = await read_sealed(snapshot, stated[-1:], "problem", opener)
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
