"""What has changed since a decision by enough to change the class of somebody who asked. Pure.

An input is a fact about an asking account, whose names are its own, the revision in force, the ask itself, or the
revision that was in force when it was made (who asked while the market was explored is never off target). It is marked
if it alone would have changed the class that the deciders saw; where only several together did, each of them is
marked. An account whose class is now what it was as decided has no marks.

Learned since: recorded after the cut, about a time before the decision. Changed since: about a time after it.
Withdrawn: what it rested on was withdrawn, retracted, moved or merged away.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from schemas.times import format_time
from services.projector.fit import Class
from services.projector.lenses import (
    Adoption,
    Ask,
    Asker,
    Decision,
    Fact,
    Knowledge,
    as_decided,
    as_now,
    live_asks,
    withdrawal,
)
from services.projector.resolution import Lineage

Kind = Literal["learned_since", "changed_since", "withdrawn"]


class Reclassified(Struct, frozen=True, kw_only=True):
    """The class of an account then and now; null if it does not ask any more."""

    account: str
    as_decided: Class
    as_now: Class | None


class Mark(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """An input that has changed, at the position where the log says so."""

    position: int
    kind: Kind
    input: str
    from_: Any
    to: Any
    classes: list[Reclassified]


class _Change(Struct, frozen=True, kw_only=True):
    position: int
    kind: Kind
    input: str
    from_: Any
    to: Any
    alone: Class
    """The class that the account would have had if only this had been different."""


def marks(
    knowledge: Knowledge, rows: Sequence[Ask], decision: Decision, agreement: str, now: datetime, position: int
) -> list[Mark]:
    """Why a decision needs review, by position. `rows` are all recordings and withdrawals of what it is about."""
    accounts = knowledge.lineage.accounts
    asks = live_asks(rows, now, position, knowledge.lineage, decision.requirements)
    asking = {asker.account: asker for asker in as_now(knowledge, asks, now, position)}
    found: dict[tuple[int, str], Mark] = {}
    for then in as_decided(knowledge, rows, decision):
        today = asking.get(accounts.root(then.account, position))
        for mark in _marks_of(knowledge, rows, decision, agreement, now, position, then, today):
            before = found.get((mark.position, mark.input))
            classes = mark.classes if before is None else before.classes + mark.classes
            found[mark.position, mark.input] = msgspec.structs.replace(mark, classes=classes)
    return [
        msgspec.structs.replace(mark, classes=sorted(mark.classes, key=lambda each: each.account))
        for _, mark in sorted(found.items())
    ]


def _marks_of(
    knowledge: Knowledge,
    rows: Iterable[Ask],
    decision: Decision,
    agreement: str,
    now: datetime,
    position: int,
    then: Asker,
    today: Asker | None,
) -> list[Mark]:
    if today is None:
        at = _end_of(knowledge, rows, decision, now, position, then)
        assert at is not None, f"{then.account} asks no more, and nothing says so"
        gone = [Reclassified(account=then.account, as_decided=then.class_, as_now=None)]
        input = f"{then.account}: ask {then.ask.ask}"
        return [Mark(position=at, kind="withdrawn", input=input, from_=then.ask.ask, to=None, classes=gone)]
    if then.class_ == today.class_:
        return []

    changes = [*_changes(knowledge, rows, decision, agreement, now, position, then, today)]
    assert changes, f"the class of {then.account} has changed, and none of its inputs"
    enough = [change for change in changes if change.alone != then.class_] or changes
    classes = [Reclassified(account=then.account, as_decided=then.class_, as_now=today.class_)]
    return [
        Mark(
            position=change.position,
            kind=change.kind,
            input=change.input,
            from_=change.from_,
            to=change.to,
            classes=classes,
        )
        for change in enough
    ]


def _end_of(
    knowledge: Knowledge, rows: Iterable[Ask], decision: Decision, now: datetime, position: int, then: Asker
) -> int | None:
    """Where the log says that the ask by which an account was heard is so no more: it was withdrawn, retracted, moved, or
    merged away."""
    lineage, ask, cut = knowledge.lineage, then.ask, decision.cut
    recorded_on = ask.recorded_on or ask.requirement
    end = withdrawal(rows, ask, now, position, lineage)
    if end is not None:
        return end.position
    changes = [
        lineage.moved(recorded_on, ask.ask, cut, position),
        lineage.accounts.changed(then.account, cut, position),
        *(lineage.requirements.changed(name, cut, position) for name in decision.requirements),
    ]
    ends = [change.position for change in changes if change is not None]
    return max([*ends, *_retractions(rows, ask, decision, position, lineage)], default=None)


def _retractions(rows: Iterable[Ask], ask: Ask, decision: Decision, position: int, lineage: Lineage) -> list[int]:
    """The positions at which recordings of an ask that its deciders knew have been retracted since."""
    cut = decision.cut
    recordings = (row for row in rows if row.ask == ask.ask and row.account is not None and row.is_known(cut))
    return [
        row.until
        for row in recordings
        if row.until is not None and row.until <= position
        if lineage.accounts.root(row.account or "", cut) == ask.account
    ]


def _changes(
    knowledge: Knowledge,
    rows: Iterable[Ask],
    decision: Decision,
    agreement: str,
    now: datetime,
    position: int,
    then: Asker,
    today: Asker,
) -> Iterable[_Change]:
    """Each input that is different now."""
    account, t, cut = then.account, decision.valid_from, decision.cut
    lineage, accounts = knowledge.lineage, knowledge.lineage.accounts
    old, new = knowledge.in_force(t, cut), knowledge.in_force(now, position)
    attributes = sorted({name for each in (old, new) if each for name in each.revision.attributes})
    profile = dict(zip(attributes, knowledge.profile(account, attributes, t, cut), strict=True))
    revision = old.revision if old else None

    def class_if(changed: dict[str, str]) -> Class:
        return knowledge.class_if(revision, profile | changed, then.ask, cut)

    def since(valid_from: datetime) -> Kind:
        return "learned_since" if valid_from <= t else "changed_since"

    names, names_now = accounts.members(account, cut), accounts.members(account, position)
    identified = accounts.changed(account, cut, position)
    if identified is not None:
        known = dict(zip(attributes, knowledge.profile_of(names_now, attributes, t, cut), strict=True))
        yield _Change(
            position=identified.position,
            kind="withdrawn" if identified.retracted else since(identified.valid_from),
            input=f"{account}: names",
            from_=[*names],
            to=[*names_now],
            alone=class_if(known),
        )
    for name in attributes:
        before, fact = knowledge.fact(account, name, t, cut), knowledge.fact(account, name, now, position)
        value = "null" if fact is None else fact.value
        if value == profile[name]:
            continue
        retracted = before is not None and before.until is not None and before.until <= position
        if before is not None and retracted and (fact is None or _said(fact) < _said(before)):
            at, kind = before.until, "withdrawn"
        # What another of its names had said by then changed nothing by itself.
        elif fact is not None and (fact.position > cut or fact.account in names):
            at, kind = fact.position, since(fact.valid_from)
        else:
            continue
        yield _Change(
            position=at,
            kind=kind,
            input=f"{account}: {name}",
            from_=msgspec.json.decode(profile[name]),
            to=msgspec.json.decode(value),
            alone=class_if({name: value}),
        )
    if new is not None and _name(new) != _name(old):
        yield _Change(
            position=new.position,
            kind=since(new.in_force_from),
            input=agreement,
            from_=_name(old),
            to=_name(new),
            alone=knowledge.class_if(new.revision, profile, then.ask, cut),
        )
    for ask in {each.asked: each for each in (then.ask, today.ask)}.values():
        was, is_ = knowledge.in_force(ask.asked[0], cut), knowledge.in_force(ask.asked[0], position)
        if is_ is not None and knowledge.exploring(ask, cut) != knowledge.exploring(ask, position):
            yield _Change(
                position=is_.position,
                kind=since(is_.in_force_from),
                input=f"{account}: {agreement} when ask {ask.ask} was made",
                from_=_name(was),
                to=_name(is_),
                alone=knowledge.class_if(revision, profile, ask, position),
            )
    if today.ask.ask != then.ask.ask or today.ask.requirement != lineage.requirement(
        then.ask.recorded_on or then.ask.requirement, then.ask.ask, position
    ):
        ended = _end_of(knowledge, rows, decision, now, position, then)
        yield _Change(
            position=today.ask.position if ended is None else ended,
            kind=since(today.ask.valid_from) if ended is None else "withdrawn",
            input=f"{account}: ask {today.ask.ask}",
            from_=then.ask.ask,
            to=today.ask.ask,
            alone=knowledge.class_if(revision, profile, today.ask, cut),
        )
    elif today.ask.asked != then.ask.asked:
        valid_from, asked_at = today.ask.asked
        retractions = _retractions(rows, then.ask, decision, position, lineage)
        yield _Change(
            position=max(retractions) if retractions else asked_at,
            kind="withdrawn" if retractions else since(valid_from),
            input=f"{account}: time of ask {today.ask.ask}",
            from_=format_time(then.ask.asked[0]),
            to=format_time(valid_from),
            alone=knowledge.class_if(revision, profile, today.ask, cut),
        )


def _said(fact: Fact) -> tuple[datetime, int]:
    return fact.valid_from, fact.position


def _name(adoption: Adoption | None) -> str | None:
    return None if adoption is None else adoption.revision.revision
