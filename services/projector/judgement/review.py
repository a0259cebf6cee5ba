"""What has changed since a decision by enough to change the class of somebody who asked. Pure.

An input is a fact about an asking account, whose names are its own, the revision in force, the ask itself, or the
revision that was in force when it was made (who asked while the market was explored is never off target). It is marked
if it alone would have changed the class that the deciders saw. Where only several together did, each is marked without
which the class of today would be another; all of them, if no single one is needed. An account whose class is now what
it was as decided has no marks.

Learned since: recorded after the cut, about a time before the decision. Changed since: about a time after it.
Withdrawn: what it rested on was withdrawn, retracted, moved or merged away.

A decision that was reaffirmed is compared with what was known then, at the time and the cut of its reaffirmation: a
class that it had seen is not marked, and what has changed since is. A mark then says what that reaffirmation had, and
not what the deciders had; the classes beside it are always as decided and as now.

Several reaffirmations count as one, which had seen what they had seen together: none brings a mark back.

A mark is at the position since which the ledger has known the value that the input has now, without a break. What says
the same once more, every night or late, makes no mark and moves none.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from schemas.times import format_time
from services.projector.judgement.fit import Class
from services.projector.judgement.lenses import (
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
    taken_back,
    withdrawal,
)
from services.projector.judgement.resolution import Lineage, Resolution

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
    without: Class
    """The class that it would have today if only this were what it was."""


class _Known(NamedTuple):
    """Since when the value of an attribute has been known."""

    position: int
    before: bool
    """It has been so since the time of the decision, or longer."""
    instead_of: str | None
    """The value that a retraction at this position took back; None if it was not a retraction that changed it."""


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

    `reaffirmed`: the decision as it was looked at again. `askers`: those who asked as decided, where that has been
    found already.
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


def looked_at_again(decision: Decision, reaffirmations: Iterable[Decision]) -> Decision:
    """The decision with the time and the cut that its reaffirmations come to, at the position of the last. Each is
    given as the decision with its own time, position and what was seen.

    The greatest cut counts, and the latest time: who looks at less than was seen already takes nothing of that back.
    """
    looks = [decision, *reaffirmations]
    return decision._replace(
        position=max(each.position for each in looks),
        valid_from=max(each.valid_from for each in looks),
        seen=max(each.cut for each in looks),
    )


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
    enough = [change for change in changes if change.alone != then.class_]
    needed = [change for change in changes if change.without != today.class_]
    return [
        Mark(
            position=change.position,
            kind=change.kind,
            input=change.input,
            from_=change.from_,
            to=change.to,
            classes=classes,
        )
        for change in enough or needed or changes
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
    said = recordings(rows, ask, now, position, lineage)
    if not said or said[0].importance != ask.importance:
        ends += _retractions(rows, ask, decision, position, lineage)
    return max(ends, default=None)


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
    known = [change.position for change in changes if change is not None]
    known += taken_back(rows, ask, now, cut, position, lineage)
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
    """The positions after its cut at which recordings of an ask that its deciders knew have been retracted, and those
    of what has repeated them. What has the same id elsewhere is another ask."""
    cut, place = decision.cut, lineage.place(ask.recorded_on or ask.requirement, ask.ask, position)
    return [
        row.until
        for row in rows
        if row.ask == ask.ask and row.account is not None
        if row.until is not None and cut < row.until <= position
        if lineage.accounts.root(row.account, cut) == ask.account
        if lineage.place(row.requirement, row.ask, position) == place
    ]


def _asked_since(
    rows: Iterable[Ask], ask: Ask, decision: Decision, position: int, lineage: Lineage
) -> tuple[int, Kind]:
    """Where the ledger came to know that an ask was made when it was, and of what kind that is."""
    assert ask.account is not None and ask.recorded_on is not None
    valid_from, cut = ask.asked[0], decision.cut
    place = lineage.place(ask.recorded_on, ask.ask, position)

    def seen_from(row: Ask) -> int:
        """Since when a recording has been one of this ask: what it names may have come to be the same later."""
        moved = lineage.moved(row.requirement, row.ask, cut, position)
        joined = _joined(lineage.accounts, row.account or "", ask.account or "", cut, position)
        return max(row.position, joined, 0 if moved is None else moved.position)

    said = [
        row
        for row in rows
        if row.ask == ask.ask and row.account is not None and row.position <= position
        if lineage.accounts.root(row.account, position) == ask.account
        if lineage.place(row.requirement, row.ask, position) == place
    ]
    at = min(seen_from(row) for row in said if row.valid_from == valid_from and row.is_known(position))
    earlier = [row.until for row in said if row.valid_from < valid_from and row.until is not None]
    if earlier and max(earlier) > at:
        return max(earlier), "withdrawn"
    return at, "learned_since" if valid_from <= decision.valid_from else "changed_since"


def _joined(accounts: Resolution, name: str, account: str, after: int, upto: int) -> int:
    """The position in between since which a name has stood for the same as an account; 0 if it did before."""
    at = upto
    while (change := accounts.changed(name, after, at)) is not None:
        at = change.position - 1
        if accounts.root(name, at) != accounts.root(account, at):
            return change.position
    return 0


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
    profile_now = dict(zip(attributes, knowledge.profile(account, attributes, now, position), strict=True))
    revision, revision_now = old.revision if old else None, new.revision if new else None

    def class_if(changed: dict[str, str]) -> Class:
        return knowledge.class_if(revision, profile | changed, then.ask, cut)

    def since(valid_from: datetime) -> Kind:
        return "learned_since" if valid_from <= t else "changed_since"

    def class_without(changed: dict[str, str]) -> Class:
        return knowledge.class_if(revision_now, profile_now | changed, today.ask, position)

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
            without=class_without(
                dict(zip(attributes, knowledge.profile_of(names, attributes, now, position), strict=True))
            ),
        )
    for name in attributes:
        value = profile_now[name]
        if value == profile[name]:
            continue
        facts = knowledge.facts(account, name, now, position)
        said = _known_since(facts, value, t, position)
        at = said.position
        kind: Kind = "learned_since" if said.before else "changed_since"
        if said.before and said.instead_of == profile[name]:
            kind = "withdrawn"
        # What was known by then, or what another of its names had said, changed nothing by itself.
        if at <= cut and (said.before or knowledge.profile_of(names, [name], now, cut) != (value,)):
            continue
        if identified is not None:
            joined = {each: _joined(accounts, each, account, cut, position) for each in names_now}
            at = max(at, _known_since(facts, value, t, position, joined).position)
        yield _Change(
            position=at,
            kind=kind,
            input=f"{account}: {name}",
            from_=msgspec.json.decode(profile[name]),
            to=msgspec.json.decode(value),
            alone=class_if({name: value}),
            without=class_without({name: profile[name]}),
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
            without=knowledge.class_if(revision, profile_now, today.ask, position),
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
                without=knowledge.class_if(revision_now, profile_now, today.ask, cut)
                if ask.asked == today.ask.asked
                else today.class_,
            )
    if today.ask.ask != then.ask.ask or today.ask.requirement != lineage.requirement(
        then.ask.recorded_on or then.ask.requirement, then.ask.ask, position
    ):
        ended = _end_of(knowledge, rows, decision, now, position, then)
        changed = today.ask.ask
        at, kind = _came(recordings(rows, today.ask, now, position, lineage), t)
        if ended is not None and ended >= at:
            changed, at, kind = then.ask.ask, ended, "withdrawn"
        elif at <= cut and kind == "learned_since":
            # It says what it said; the other one is not as important as it was.
            changed = then.ask.ask
            at, kind = _came(recordings(rows, then.ask, now, position, lineage), t)
        yield _Change(
            position=at,
            kind=kind,
            input=f"{account}: ask {changed}",
            from_=then.ask.ask,
            to=today.ask.ask,
            alone=knowledge.class_if(revision, profile, today.ask, cut),
            without=knowledge.class_if(revision_now, profile_now, then.ask, position),
        )
    elif today.ask.asked[0] != then.ask.asked[0]:
        at, kind = _asked_since(rows, today.ask, decision, position, lineage)
        yield _Change(
            position=at,
            kind=kind,
            input=f"{account}: time of ask {today.ask.ask}",
            from_=format_time(then.ask.asked[0]),
            to=format_time(today.ask.asked[0]),
            alone=knowledge.class_if(revision, profile, today.ask, cut),
            without=knowledge.class_if(revision_now, profile_now, then.ask, position),
        )


def _known_since(
    facts: Sequence[Fact], value: str, t: datetime, position: int, joined: Mapping[str, int] | None = None
) -> _Known:
    """Since what position an attribute has had the value that it has now, and since about the same time.

    `facts`: all that was said of it, retracted or not; `joined`: from where on what was said by each name is heard. The
    log is gone through backwards, and at each position the last that says this value is held against the last that says
    another.
    """
    never = (datetime.min.replace(tzinfo=UTC), -1)
    same, others = [never] if value == "null" else [], list[tuple[datetime, int]]()
    values = {_said(fact): fact.value for fact in facts}
    recorded: dict[int, list[Fact]] = {}
    retracted: dict[int, list[Fact]] = {}
    for fact in facts:
        heard = fact.position if joined is None else max(fact.position, joined[fact.account])
        if fact.until is not None and fact.until <= heard:
            continue
        recorded.setdefault(heard, []).append(fact)
        if fact.until is not None and fact.until <= position:
            retracted.setdefault(fact.until, []).append(fact)
        else:
            insort(same if fact.value == value else others, _said(fact))

    def stands() -> bool | None:
        """Whether it is so since t or longer; None: it is not so."""
        if not same or (others and others[-1] > same[-1]):
            return None
        by_then = bisect_right(same, t, key=lambda said: said[0])
        return by_then > 0 and not (others and others[-1] > same[by_then - 1])

    before = stands()
    for at in sorted(recorded.keys() | retracted.keys(), reverse=True):
        for fact in retracted.get(at, ()):
            insort(same if fact.value == value else others, _said(fact))
        for fact in recorded.get(at, ()):
            found = same if fact.value == value else others
            del found[bisect_left(found, _said(fact))]
        now = stands()
        if now is not before:
            instead = values[others[-1]] if now is None and others else None
            return _Known(at, bool(before), instead if at in retracted else None)
    return _Known(0, bool(before), None)


def _said(fact: Fact) -> tuple[datetime, int]:
    return fact.valid_from, fact.position


def _class_of(asker: Asker | None) -> Class | None:
    """None: it does not ask."""
    return None if asker is None else asker.class_


def _name(adoption: Adoption | None) -> str | None:
    return None if adoption is None else adoption.revision.revision
