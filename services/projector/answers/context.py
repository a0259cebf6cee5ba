"""A decision in the light of its own moment: what was known, what was true and not known yet, and what came later.

Everything counts that the log holds about what a decision rests on: its requirements, by all their names; the asks for
them; the accounts that ever asked, by all their names; opportunities, promises and feedback about these; the target
market; other decisions on the requirements; and retractions of any of it. Names are those that were known at the cut,
and those that are known at the position of the answer. Quotes and persons are no part of it.

What only repeats what was known is silent (see judgement/context.py).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

import asyncpg
import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.codec import decode_recorded
from schemas.criteria import attributes
from schemas.envelope import Recorded
from schemas.events import (
    AccountIdentified,
    AccountMerged,
    AccountProfiled,
    AccountUnmerged,
    AgreementAdopted,
    AgreementEndorsed,
    AgreementRevised,
    AskMoved,
    AskRecorded,
    AskWithdrawn,
    Bullet,
    DecisionAcknowledged,
    DecisionMade,
    DecisionProposed,
    DecisionReaffirmed,
    DecisionSuperseded,
    DeliveryUpdated,
    Event,
    EventRetracted,
    FeedbackReceived,
    OpportunityUpdated,
    PerspectiveStated,
    PromiseClosed,
    PromiseMade,
    RequirementAssessed,
    RequirementMerged,
    RequirementRaised,
    RequirementReworded,
    RequirementUnmerged,
)
from schemas.times import format_time, read_time
from services.problems import Problem
from services.projector.answers.evidence import accounts_in, read_accounts_lineage, read_requirements_lineage
from services.projector.answers.snapshot import Snapshot
from services.projector.judgement.context import ListName, Occurrence, occurrences, split
from services.projector.judgement.resolution import Resolution
from services.projector.shapes.decision import State
from services.projector.shapes.shown import AsOf
from services.projector.telling.evidence import TARGET_MARKET
from services.projector.telling.history import RetractedShown, summary
from services.statements import Statements

READS = (
    *("accounts", "opportunities", "requirements", "agreements", "decisions", "feedback", "promises"),
    "retractions",
)

CONTEXT_ITEMS_MAX = 500
"""Items of each list on one page of a context."""

Basis = Literal["recorded", "declared"]

_statements = Statements.load(Path(__file__).with_suffix(".sql"))
_bullets = msgspec.json.Decoder(list[Bullet])


class Cut(Struct, frozen=True, kw_only=True):
    """Up to where the deciders knew the log: a position and when it was recorded.

    Where the basis is declared, it has no position: what counts is the emitters' own recorded times.
    """

    position: int | None
    recordedtime: str | None


class ContextItem(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """An event that bears on a decision; of a profile, one attribute. What its kind does not say is absent.

    `account` is what the event's name for it stands for, as known at the position of the answer; `named` is that name,
    where it is another.
    """

    position: int
    time: str
    recordedtime: str
    type: str
    subject: str
    summary: str
    sourcerecordedtime: str | UnsetType = UNSET
    retracted: RetractedShown | UnsetType = UNSET
    retracts: int | UnsetType = UNSET
    account: str | UnsetType = UNSET
    named: str | UnsetType = UNSET
    attribute: str | UnsetType = UNSET
    from_: str | bool | int | float | list[str] | UnsetType | None = UNSET
    to: str | bool | int | float | list[str] | UnsetType | None = UNSET
    requirement: str | UnsetType = UNSET
    ask: str | UnsetType = UNSET
    importance: int | UnsetType = UNSET
    needed_by: date | UnsetType = UNSET
    feedback: str | UnsetType = UNSET
    opportunity: str | UnsetType = UNSET
    stage: str | UnsetType = UNSET
    amount: str | UnsetType = UNSET
    currency: str | UnsetType = UNSET
    closes: date | UnsetType = UNSET
    ends: date | UnsetType = UNSET
    requirements: list[str] | UnsetType = UNSET
    closed_because: str | UnsetType = UNSET
    promise: str | UnsetType = UNSET
    due: date | UnsetType = UNSET
    state: str | UnsetType = UNSET
    target: date | UnsetType = UNSET
    feasibility: str | UnsetType = UNSET
    team: str | UnsetType = UNSET
    revision: str | UnsetType = UNSET
    effective: str | UnsetType = UNSET
    decision: str | UnsetType = UNSET
    outcome: str | UnsetType = UNSET


class ContextTotals(Struct, frozen=True, kw_only=True):
    """How many items each list has on all pages."""

    known: int
    true_then_not_yet_known: int
    happened_later: int


class OneContext(Struct, frozen=True, kw_only=True):
    """What bears on a decision, apart by when it was known and when it was true. Each event is in one list only.

    Each list is in the order of time, the oldest first. The first page has the last items of each list, a further page
    those before them. While a decision is only proposed, its context is what is known now.
    """

    decision: str
    state: State
    requirements: list[str]
    as_of: AsOf
    basis: Basis
    cut: Cut
    position: int | None
    time: str | None
    recordedtime: str | None
    totals: ContextTotals
    known: list[ContextItem]
    true_then_not_yet_known: list[ContextItem]
    happened_later: list[ContextItem]


class Taken(Struct, frozen=True, kw_only=True):
    """A decision, as far as its context depends on it. Null while it is only proposed: what only a made one has.

    `declared`: when its deciders' system came to know it, where that is what the cut goes by.
    """

    decision: str
    requirements: list[str]
    made: asyncpg.Record | None
    cut: int
    cut_recorded_at: datetime | None
    declared: datetime | None


class Evidence(Struct, frozen=True, kw_only=True):
    """What a context is made from, as it was read at one position."""

    as_of: AsOf
    taken: Taken
    accounts: Resolution
    asks: list[asyncpg.Record]
    said: list[asyncpg.Record]
    """Rows with a series and what each says in it; acts have no series."""
    facts: list[asyncpg.Record]
    retractions: list[asyncpg.Record]


async def read_context(snapshot: Snapshot, decision: str) -> Evidence:
    """Raises Problem if there is no such decision."""
    position = snapshot.position
    taken = await _read_taken(snapshot, decision)
    lineage = await read_requirements_lineage(snapshot, taken.requirements)
    requirements = _names(lineage.requirements, taken.requirements, taken.cut, position)
    asks = await snapshot.fetch(_statements, "asks", position, requirements)
    asking = accounts_in(asks)
    accounts = _names(await read_accounts_lineage(snapshot, asking), asking, taken.cut, position)
    said = [
        *await snapshot.fetch(_statements, "about_requirements", position, requirements),
        *await snapshot.fetch(_statements, "agreed_and_decided", position, requirements, decision, TARGET_MARKET),
        *await snapshot.fetch(
            _statements,
            "about_accounts",
            position,
            accounts,
            requirements,
            sorted({row["opportunity"] for row in asks if row["opportunity"] is not None}),
            sorted({row["feedback"] for row in asks if row["feedback"] is not None}),
        ),
    ]
    facts = await snapshot.fetch(_statements, "facts", position, accounts, await _read_attributes(snapshot))
    named = {*asking, *accounts, *(account for row in said if (account := row.get("account")) is not None)}
    positions = {row["position"] for rows in (asks, said, facts) for row in rows}
    return Evidence(
        as_of=snapshot.as_of,
        taken=taken,
        accounts=await read_accounts_lineage(snapshot, named),
        asks=asks,
        said=said,
        facts=facts,
        retractions=await snapshot.fetch(_statements, "retractions", position, sorted(positions)),
    )


class Judged(Struct, frozen=True, kw_only=True):
    """What belongs to a context, in the order of time. `retracted`: the position of what was retracted → by what."""

    evidence: Evidence
    happened: list[Occurrence]
    retracted: Mapping[int, asyncpg.Record]


def judge_context(evidence: Evidence) -> Judged:
    return Judged(
        evidence=evidence,
        happened=occurrences(evidence.said, evidence.facts, evidence.asks, evidence.retractions),
        retracted={row["retracted"]: row for row in evidence.retractions},
    )


async def read_states(snapshot: Snapshot, judged: Judged, after: int) -> Mapping[int, bytes]:
    """The stored events that the page behind the last `after` items of each list is made from, by position.

    `snapshot` is at the position of the evidence. What emitters declare stands in the events only, so where the cut
    goes by that, all are read.
    """
    wanted: Iterable[Occurrence] = judged.happened
    if judged.evidence.taken.declared is None:
        wanted = (each for items in _split(judged, {}).values() for each in _page(items, after))
    rows = await snapshot.fetch(_statements, "states", sorted({each.position for each in wanted}))
    return {row["position"]: row["state"] for row in rows}


def show_context(judged: Judged, states: Mapping[int, bytes], after: int = 0) -> OneContext:
    """The page behind the last `after` items of each list. Raises Undecodable."""
    evidence, taken = judged.evidence, judged.evidence.taken
    declared = {} if taken.declared is None else {at: _declared(state) for at, state in states.items()}
    lists = _split(judged, declared)
    pages = {name: _page(items, after) for name, items in lists.items()}
    events = {at: decode_recorded(states[at]) for at in {each.position for page in pages.values() for each in page}}
    shown = {
        name: [_show(each, events[each.position], judged, evidence.accounts) for each in page]
        for name, page in pages.items()
    }
    made = taken.made
    return OneContext(
        decision=taken.decision,
        state="proposed" if made is None else "superseded" if made["superseded"] else "made",
        requirements=taken.requirements,
        as_of=evidence.as_of,
        basis="recorded" if taken.declared is None else "declared",
        cut=_show_cut(taken),
        position=None if made is None else made["position"],
        time=None if made is None else format_time(made["time"]),
        recordedtime=None if made is None else format_time(made["recorded_at"]),
        totals=ContextTotals(**{name: len(items) for name, items in lists.items()}),
        **shown,
    )


def longest(context: OneContext) -> int:
    """How many items the longest of the lists has on all pages."""
    totals = context.totals
    return max(totals.known, totals.true_then_not_yet_known, totals.happened_later)


async def _read_taken(snapshot: Snapshot, decision: str) -> Taken:
    position = snapshot.position
    made = await snapshot.fetch(_statements, "made", position, decision)
    if not made:
        proposed = await snapshot.fetch(_statements, "proposed", position, decision)
        if not proposed:
            raise Problem("not-found", f"there is no decision {decision!r} at position {position}")
        return Taken(
            decision=decision,
            requirements=proposed[0]["requirements"],
            made=None,
            cut=position,
            cut_recorded_at=snapshot.now,
            declared=None,
        )
    row, declared = made[0], None
    if row["seen"] is None:
        [stored] = await snapshot.fetch(_statements, "states", [row["position"]])
        declared = _declared(stored["state"])
        # Nothing is true in the future of its record, whatever its emitter says.
        declared = None if declared is None else min(declared, row["recorded_at"])
    cut = row["position"] - 1 if row["seen"] is None else row["seen"]
    recorded = await snapshot.fetch(_statements, "recorded_at", cut)
    return Taken(
        decision=decision,
        requirements=row["requirements"],
        made=row,
        cut=cut,
        cut_recorded_at=recorded[0]["recorded_at"] if recorded else None,
        declared=declared,
    )


async def _read_attributes(snapshot: Snapshot) -> list[str]:
    """The attributes that some revision of the target market looks at, adopted or not."""
    rows = await snapshot.fetch(_statements, "bullets", snapshot.position, TARGET_MARKET)
    tests = (bullet.test for row in rows for bullet in _bullets.decode(row["bullets"]) if bullet.test)
    return sorted({name for test in tests for name in attributes(test)})


def _names(known_as: Resolution, names: Iterable[str], *positions: int) -> list[str]:
    """All that stands for the same as one of these names, as known at one of the positions."""
    return sorted({other for name in names for at in positions for other in known_as.members(name, at)})


# When it was known, and when it was true


class _Stored(Struct, frozen=True):
    sourcerecordedtime: str | None = None


_stored = msgspec.json.Decoder(_Stored)


def _declared(state: bytes) -> datetime | None:
    """When the emitter says that it came to know an event; None if it does not say."""
    declared = _stored.decode(state).sourcerecordedtime
    return None if declared is None else read_time(declared)


def _split(judged: Judged, declared: Mapping[int, datetime | None]) -> dict[ListName, list[Occurrence]]:
    """`declared`: position → when its emitter came to know of it, where the cut goes by that."""
    taken = judged.evidence.taken

    def is_known(each: Occurrence) -> bool:
        if taken.declared is None:
            return each.position <= taken.cut
        return min(declared[each.position] or each.recorded_at, each.recorded_at) <= taken.declared

    return split(judged.happened, None if taken.made is None else taken.made["valid_from"], is_known)


def _page(items: Sequence[Occurrence], after: int) -> Sequence[Occurrence]:
    end = max(len(items) - after, 0)
    return items[max(end - CONTEXT_ITEMS_MAX, 0) : end]


# How it is shown


def _show_cut(taken: Taken) -> Cut:
    if taken.declared is not None:
        return Cut(position=None, recordedtime=format_time(taken.declared))
    at = taken.cut_recorded_at
    return Cut(position=taken.cut, recordedtime=None if at is None else format_time(at))


def _show(happened: Occurrence, recorded: Recorded, judged: Judged, accounts: Resolution) -> ContextItem:
    event, position = recorded.event, judged.evidence.as_of.position
    more = {name: value for name, value in _of_kind(event).items() if value is not None}
    named = more.get("account")
    if named is not None:
        more["account"] = accounts.root(named, position)
        if more["account"] != named:
            more["named"] = named
    if isinstance(event, AccountProfiled) and happened.attribute is not None:
        to = event.attributes[happened.attribute]
        more |= {"attribute": happened.attribute, "from_": happened.before, "to": to}
    if (by := judged.retracted.get(happened.position)) is not None:
        more["retracted"] = RetractedShown(position=by["position"], recordedtime=format_time(by["recorded_at"]))
    if (declared := recorded.sourcerecordedtime) is not None:
        more["sourcerecordedtime"] = format_time(read_time(declared))
    return ContextItem(
        position=recorded.position,
        time=format_time(recorded.time),
        recordedtime=format_time(recorded.recordedtime),
        type=recorded.type,
        subject=recorded.subject,
        summary=_summary(event, happened),
        **more,
    )


def _summary(event: Event, happened: Occurrence) -> str:
    match event, happened.attribute:
        case AccountProfiled(), str() as attribute:
            value = event.attributes[attribute]
            words = "unknown again" if value is None else value if isinstance(value, str) else _words(value)
            return f"{event.account}: {attribute} is {words}"
        case _:
            return summary(event)


def _words(value: bool | int | float | list[str]) -> str:
    return ", ".join(value) if isinstance(value, list) else msgspec.json.encode(value).decode()


def _of_kind(event: Event) -> dict[str, Any]:
    """What an event of this kind says beyond its summary. Nulls are left out."""
    match event:
        case AccountProfiled() | AccountIdentified() | AccountMerged() | AccountUnmerged():
            return {"account": event.account}
        case OpportunityUpdated():
            return {
                "account": event.account,
                "opportunity": event.opportunity,
                "stage": event.stage,
                "amount": event.amount,
                "currency": event.currency,
                "closes": event.closes,
                "ends": event.ends,
                "requirements": event.requirements or None,
                "closed_because": event.closed_because,
            }
        case FeedbackReceived():
            return {"account": event.account, "feedback": event.feedback}
        case AskRecorded():
            return {
                "account": event.account,
                "requirement": event.requirement,
                "ask": event.ask,
                "importance": event.importance,
                "needed_by": event.needed_by,
                "opportunity": event.opportunity,
                "feedback": event.feedback,
            }
        case AskWithdrawn() | AskMoved():
            return {"requirement": event.requirement, "ask": event.ask}
        case RequirementRaised() | RequirementReworded() | RequirementMerged() | RequirementUnmerged():
            return {"requirement": event.requirement}
        case DeliveryUpdated():
            return {"requirement": event.requirement, "state": event.state, "target": event.target}
        case RequirementAssessed():
            return {"requirement": event.requirement, "feasibility": event.feasibility, "team": event.by.team}
        case PerspectiveStated():
            return {"requirement": event.requirement, "decision": event.decision, "team": event.team}
        case PromiseMade():
            return {
                "account": event.account,
                "requirement": event.requirement,
                "promise": event.promise,
                "opportunity": event.opportunity,
                "decision": event.decision,
                "due": event.due,
            }
        case PromiseClosed():
            return {"promise": event.promise, "outcome": event.outcome}
        case AgreementRevised():
            return {"revision": event.revision}
        case AgreementEndorsed():
            return {"revision": event.revision, "team": event.team}
        case AgreementAdopted():
            return {"revision": event.revision, "effective": event.effective}
        case DecisionMade():
            return {"decision": event.decision, "outcome": event.outcome, "requirements": event.requirements}
        case DecisionAcknowledged():
            return {"decision": event.decision, "team": event.team}
        case EventRetracted():
            return {"retracts": event.position}
        case DecisionProposed() | DecisionReaffirmed() | DecisionSuperseded():
            return {"decision": event.decision}
        case _:
            return {}
