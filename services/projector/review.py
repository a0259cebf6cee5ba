"""What has changed since a decision by enough to change the class of somebody who asked. Pure.

An input is a fact about an asking account, whose names are its own, the revision in force, the ask itself, or the
revision that was in force when it was made (who asked while the market was explored is never off target). It is marked
if it alone would have changed the class that the deciders saw; where only several together did, each of them is
marked. An account whose class is now what it was as decided has no marks.

Learned since: recorded after the cut, about a time before the decision. Changed since: about a time after it.
Withdrawn: what it rested on was withdrawn, retracted, moved or merged away.

A decision that was reaffirmed is compared with what was known then, at the time and the cut of its last reaffirmation:
a class that it had seen is not marked, and what has changed since is. A mark then says what that reaffirmation had, and
not what the deciders had; the classes beside it are always as decided and as now.

A mark is at the position at which the ledger came to know the value that the input has now. What says the same once
more, every night or late, makes no mark and moves none.
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
    by_account_now,
    live_asks,
    recordings,
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
    knowledge: Knowledge,
    rows: Sequence[Ask],
    decision: Decision,
    agreement: str,
    now: datetime,
    position: int,
    *,
    reaffirmed: Decision | None = None,
    askers: Iterable[Asker] | None = None,
) -> list[Mark]:
    """Why a decision needs review, by position. `rows` are all recordings and withdrawals of what it is about.

    `reaffirmed`: the decision with the time, the position and what was seen of its last reaffirmation. `askers`: those
    who asked as decided, where that has been found already.
    """
    accounts = knowledge.lineage.accounts
    asks = live_asks(rows, now, position, knowledge.lineage, decision.requirements)
    asking = {asker.account: asker for asker in as_now(knowledge, asks, now, position)}
    seen = [] if reaffirmed is None else as_decided(knowledge, rows, reaffirmed)
    looked_at = by_account_now(seen, accounts, position)
    found: dict[tuple[int, str], Mark] = {}
    for decided in as_decided(knowledge, rows, decision) if askers is None else askers:
        root = accounts.root(decided.account, position)
        today = asking.get(root)
        then = decided if reaffirmed is None else looked_at.get(root)
        if _class_of(today) in (_class_of(decided), _class_of(then)):
            continue
        classes = [Reclassified(account=decided.account, as_decided=decided.class_, as_now=_class_of(today))]
        base = reaffirmed or decision
        for mark in _marks_of(knowledge, rows, base, agreement, now, position, then, today, classes):
            before = found.get((mark.position, mark.input))
            classes = mark.classes if before is None else before.classes + mark.classes
            found[mark.position, mark.input] = msgspec.structs.replace(mark, classes=classes)
    return [
        msgspec.structs.replace(mark, classes=sorted(mark.classes, key=lambda each: each.account))
        for _, mark in sorted(found.items())
    ]


def _marks_of(
    knowledge: Knowledge,
    rows: Sequence[Ask],
    decision: Decision,
    agreement: str,
    now: datetime,
    position: int,
    then: Asker | None,
    today: Asker | None,
    classes: list[Reclassified],
) -> list[Mark]:
    if then is None:
        assert today is not None  # An account that asked neither then nor now is of the same class.
        again = _return_of(knowledge, rows, decision, now, position, today)
        input = f"{today.account}: ask {today.ask.ask}"
        return [Mark(position=again[0], kind=again[1], input=input, from_=None, to=today.ask.ask, classes=classes)]
    if today is None:
        at = _end_of(knowledge, rows, decision, now, position, then)
        assert at is not None, f"{then.account} asks no more, and nothing says so"
        input = f"{then.account}: ask {then.ask.ask}"
        return [Mark(position=at, kind="withdrawn", input=input, from_=then.ask.ask, to=None, classes=classes)]

    changes = [*_changes(knowledge, rows, decision, agreement, now, position, then, today)]
    assert changes, f"the class of {then.account} has changed, and none of its inputs"
    enough = [change for change in changes if change.alone != then.class_] or changes
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
    """Where the log says that the ask by which an account was heard is so no more: it was withdrawn, retracted, moved,
    or merged away."""
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


def _return_of(
    knowledge: Knowledge, rows: Sequence[Ask], decision: Decision, now: datetime, position: int, today: Asker
) -> tuple[int, Kind]:
    """Where the log says that an account asks again that did not when the decision was looked at."""
    lineage, ask, cut = knowledge.lineage, today.ask, decision.cut
    recorded_on = ask.recorded_on or ask.requirement
    changes = [
        lineage.moved(recorded_on, ask.ask, cut, position),
        lineage.accounts.changed(today.account, cut, position),
        *(lineage.requirements.changed(name, cut, position) for name in decision.requirements),
    ]
    ends = [row.until for row in rows if row.account is None and row.ask == ask.ask and row.is_known(cut)]
    known = [change.position for change in changes if change is not None]
    known += [until for until in ends if until is not None and until <= position]
    at, kind = _came(recordings(rows, ask, now, position, lineage), decision.valid_from)
    return max(at, *known) if known else at, kind


def _came(said: Sequence[Fact | Ask], t: datetime) -> tuple[int, Kind]:
    """Where the ledger came to know what is said again and again, and whether that is about t or before."""
    kind: Kind = "learned_since" if said[0].valid_from <= t else "changed_since"
    return min(each.position for each in said if (each.valid_from <= t) == (said[0].valid_from <= t)), kind


def _came_into_force(adoptions: Sequence[Adoption], t: datetime) -> tuple[int, Kind]:
    """The same of a revision that is adopted again."""
    begun = adoptions[0].in_force_from <= t
    at = min(each.position for each in adoptions if (each.in_force_from <= t) == begun)
    return at, "learned_since" if begun else "changed_since"


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
    rows: Sequence[Ask],
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
        facts = knowledge.facts(account, name, now, position)
        said = _last_said([fact for fact in facts if fact.is_known(position)])
        value = said[0].value if said else "null"
        if value == profile[name]:
            continue
        # What stood before what is said now, for those who could know it, and was retracted since.
        ends = [
            fact.until
            for fact in facts
            if fact.until is not None and fact.until <= position
            if fact.account in names and fact.is_known(cut) and fact.valid_from <= t
            if not said or (fact.valid_from, fact.position) > (said[0].valid_from, said[0].position)
        ]
        at, kind = _came(said, t) if said else (0, "learned_since")
        if ends and max(ends) > at:
            at, kind = max(ends), "withdrawn"
        # What was known by then, or what another of its names had said, changed nothing by itself.
        elif at <= cut and (kind == "learned_since" or _account_at(said, at) not in names):
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
        at, kind = _came_into_force(knowledge.since_in_force(now, position), t)
        yield _Change(
            position=at,
            kind=kind,
            input=agreement,
            from_=_name(old),
            to=_name(new),
            alone=knowledge.class_if(new.revision, profile, then.ask, cut),
        )
    for ask in {each.asked: each for each in (then.ask, today.ask)}.values():
        was, is_ = knowledge.in_force(ask.asked[0], cut), knowledge.in_force(ask.asked[0], position)
        if is_ is not None and knowledge.exploring(ask, cut) != knowledge.exploring(ask, position):
            at, kind = _came_into_force(knowledge.since_in_force(ask.asked[0], position), t)
            yield _Change(
                position=at,
                kind=kind,
                input=f"{account}: {agreement} when ask {ask.ask} was made",
                from_=_name(was),
                to=_name(is_),
                alone=knowledge.class_if(revision, profile, ask, position),
            )
    if today.ask.ask != then.ask.ask or today.ask.requirement != lineage.requirement(
        then.ask.recorded_on or then.ask.requirement, then.ask.ask, position
    ):
        ended = _end_of(knowledge, rows, decision, now, position, then)
        if ended is not None:
            at, kind = ended, "withdrawn"
        else:
            at, kind = _came(recordings(rows, today.ask, now, position, lineage), t)
            if at <= cut and kind == "learned_since":
                # It says what it said; the other one is not as important as it was.
                at, kind = _came(recordings(rows, then.ask, now, position, lineage), t)
        yield _Change(
            position=at,
            kind=kind,
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


def _last_said(facts: Sequence[Fact]) -> Sequence[Fact]:
    """Of what was said of an attribute, in order, the last ones that say the same."""
    first = len(facts)
    while first and facts[first - 1].value == facts[-1].value:
        first -= 1
    return facts[first:]


def _account_at(facts: Iterable[Fact], position: int) -> str | None:
    """By what name the account is called in what was said at a position."""
    return next((fact.account for fact in facts if fact.position == position), None)


def _class_of(asker: Asker | None) -> Class | None:
    """None: it does not ask."""
    return None if asker is None else asker.class_


def _name(adoption: Adoption | None) -> str | None:
    return None if adoption is None else adoption.revision.revision
