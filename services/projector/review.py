"""What has changed since a decision by enough to change the class of somebody who asked. Pure.

An input is a fact about an asking account, the revision in force, the ask itself, or the revision that was in force
when it was made (who asked while the market was explored is never off target). It is marked if it alone would
have changed the class that the deciders saw; where only several together did, each of them is marked. An account
whose class is now what it was as decided has no marks.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from schemas.times import format_time
from services.projector.fit import Class
from services.projector.lenses import Adoption, Ask, Asker, Decision, Knowledge, as_decided, as_now, live_asks

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
    valid_from: datetime
    input: str
    from_: Any
    to: Any
    alone: Class
    """The class that the account would have had if only this had been different."""


def marks(
    knowledge: Knowledge, rows: Sequence[Ask], decision: Decision, agreement: str, now: datetime, position: int
) -> list[Mark]:
    """Why a decision needs review, by position. `rows` are all recordings and withdrawals of what it is about."""
    asking = {asker.account: asker for asker in as_now(knowledge, live_asks(rows, now, position), now, position)}
    found: dict[tuple[int, str], Mark] = {}
    for then in as_decided(knowledge, rows, decision):
        for mark in _marks_of(knowledge, rows, decision, agreement, now, position, then, asking.get(then.account)):
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
        end = max(
            (
                row
                for row in rows
                if row.withdrawn and (row.requirement, row.ask) == then.ask[:2] and row.position <= position
            ),
            key=lambda row: (row.valid_from, row.position),
        )
        gone = [Reclassified(account=then.account, as_decided=then.class_, as_now=None)]
        input = f"{then.account}: ask {then.ask.ask}"
        return [Mark(position=end.position, kind="withdrawn", input=input, from_=then.ask.ask, to=None, classes=gone)]
    if then.class_ == today.class_:
        return []

    changes = [*_changes(knowledge, decision, agreement, now, position, then, today)]
    assert changes, f"the class of {then.account} has changed, and none of its inputs"
    enough = [change for change in changes if change.alone != then.class_] or changes
    classes = [Reclassified(account=then.account, as_decided=then.class_, as_now=today.class_)]
    return [
        Mark(
            position=change.position,
            kind="learned_since" if change.valid_from <= decision.valid_from else "changed_since",
            input=change.input,
            from_=change.from_,
            to=change.to,
            classes=classes,
        )
        for change in enough
    ]


def _changes(
    knowledge: Knowledge,
    decision: Decision,
    agreement: str,
    now: datetime,
    position: int,
    then: Asker,
    today: Asker,
) -> Iterable[_Change]:
    """Each input that is different now."""
    account, t, cut = then.account, decision.valid_from, decision.cut
    old, new = knowledge.in_force(t, cut), knowledge.in_force(now, position)
    attributes = sorted({name for each in (old, new) if each for name in each.revision.attributes})
    profile = dict(zip(attributes, knowledge.profile(account, attributes, t, cut), strict=True))
    revision = old.revision if old else None

    def class_if(changed: dict[str, str]) -> Class:
        return knowledge.class_if(revision, profile | changed, then.ask, cut)

    for name in attributes:
        fact = knowledge.fact(account, name, now, position)
        if fact is not None and fact.value != profile[name]:
            yield _Change(
                position=fact.position,
                valid_from=fact.valid_from,
                input=f"{account}: {name}",
                from_=msgspec.json.decode(profile[name]),
                to=msgspec.json.decode(fact.value),
                alone=class_if({name: fact.value}),
            )
    if new is not None and _name(new) != _name(old):
        yield _Change(
            position=new.position,
            valid_from=new.in_force_from,
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
                valid_from=is_.in_force_from,
                input=f"{account}: {agreement} when ask {ask.ask} was made",
                from_=_name(was),
                to=_name(is_),
                alone=knowledge.class_if(revision, profile, ask, position),
            )
    if (today.ask.requirement, today.ask.ask) != (then.ask.requirement, then.ask.ask):
        yield _Change(
            position=today.ask.position,
            valid_from=today.ask.valid_from,
            input=f"{account}: ask {today.ask.ask}",
            from_=then.ask.ask,
            to=today.ask.ask,
            alone=knowledge.class_if(revision, profile, today.ask, cut),
        )
    elif today.ask.asked != then.ask.asked:
        valid_from, at = today.ask.asked
        yield _Change(
            position=at,
            valid_from=valid_from,
            input=f"{account}: time of ask {today.ask.ask}",
            from_=format_time(then.ask.asked[0]),
            to=format_time(valid_from),
            alone=knowledge.class_if(revision, profile, today.ask, cut),
        )


def _name(adoption: Adoption | None) -> str | None:
    return None if adoption is None else adoption.revision.revision
