"""How loud each requirement is and of which classes, from columns: exactly what the lenses say, for all at once. Pure.

What counts is what `lenses` says: which asks stand, the ask that gives an account its voice, as now and as asked.
Standings add up over accounts. So those at one position follow from those at another by taking away what the accounts
came to of which anything was said in between, and adding what they come to now, however long the log is.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import datetime
from fractions import Fraction
from functools import cached_property, reduce
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct

from services.projector.counting.columns import (
    Column,
    Columns,
    Rows,
    begin_anew,
    day_number,
    digest,
    halves,
    is_among,
    joined,
    length,
    microseconds,
    numbered,
    sums,
)
from services.projector.counting.counted import Counted, blocks, with_all_names
from services.projector.counting.judging import Adopted, Facts, Lens, judge
from services.projector.counting.live_asks import Live, Sought, last_of_each, live, most_important, pair_of
from services.projector.counting.one_by_one import Few, Voice, hear_each
from services.projector.counting.scoring import (
    OFF_TARGET,
    ON_TARGET,
    UNDETERMINED,
    score,
)
from services.projector.counting.worth import Earned, Revenues, revenues
from services.projector.judgement.fit import CLASSES
from services.projector.judgement.lenses import Departs

_CLASSES = len(CLASSES)


class Pairs(Struct, frozen=True):
    """Who asks for what, a row for each account and requirement, with the ask that gives the account its voice.

    `weight` is met × importance, in shares of `totals[share]`; the same if all that is unknown were met.
    """

    account: Column
    requirement: Column
    class_: Column
    weight: Column
    share: Column
    weight_if_known: Column
    share_if_known: Column
    totals: Sequence[int]


class Heard(Struct, frozen=True, dict=True):
    """What is heard of each requirement under one lens.

    `classes`: requirement × class → accounts. `voices`, `voices_if_known`: total of a revision's weights → sums of
    weights by requirement. `revenue`: place_of(requirement, class) → what those accounts are worth.
    """

    classes: Column
    voices: Mapping[int, Column]
    voices_if_known: Mapping[int, Column]
    revenue: Earned

    @classmethod
    def nothing(cls) -> "Heard":
        return cls(np.zeros((0, _CLASSES), np.int64), {}, {}, Earned.nothing())

    def plus(self, other: "Heard", sign: int = 1) -> "Heard":
        size = max(len(self.classes), len(other.classes))
        return Heard(
            classes=_sized(self.classes, size) + sign * _sized(other.classes, size),
            voices=_added(self.voices, other.voices, size, sign),
            voices_if_known=_added(self.voices_if_known, other.voices_if_known, size, sign),
            revenue=self.revenue.plus(other.revenue, sign),
        )

    def changed(self, gone: Set[Voice], come: Set[Voice], size: int) -> "Heard":
        """Without some of what was said, and with other. `size`: of how many requirements that may be."""
        signed = [*((each, -1) for each in gone), *((each, 1) for each in come)]
        if not signed:
            return self
        size = max(size, len(self.classes))
        classes = _sized(self.classes, size).copy()
        voices, voices_if_known = (
            {total: _sized(each, size).copy() for total, each in of.items()}
            for of in (self.voices, self.voices_if_known)
        )
        for each, sign in signed:
            classes[each.requirement, each.class_] += sign
            for of, weight, total in (
                (voices, each.weight, each.total),
                (voices_if_known, each.weight_if_known, each.total_if_known),
            ):
                if total:
                    of.setdefault(total, np.zeros(size, np.int64))[each.requirement] += sign * weight
        earned = Earned.added((place_of(each.requirement, each.class_), each.worth, sign) for each, sign in signed)
        return Heard(classes, voices, voices_if_known, self.revenue.plus(earned))

    @cached_property
    def octets(self) -> int:
        voices = [*self.voices.values(), *self.voices_if_known.values()]
        return self.revenue.octets + sum(each.nbytes for each in (self.classes, *voices))


class Moment(Struct, frozen=True):
    """A position, whose recorded time is `now`."""

    position: int
    now: datetime


class Standing(Moment, frozen=True):
    """What is heard at a position."""

    heard: Heard


def stand(counted: Counted, lens: Lens, position: int, now: datetime, since: Standing | None = None) -> Standing:
    """What is heard at a position; from what was heard `since` another, if nothing came into force in between."""
    if since is None or not is_alike(counted, since, position, now):
        return Standing(position, now, hear(counted, lens, position, now))
    names, sought, *_ = touched(counted, since, position, now)
    if not len(names):
        return Standing(position, now, since.heard)
    theirs = Few.of(counted, names, sought, (since.position, position))
    if theirs is not None:
        gone, come = hear_each(theirs, lens, since.position, since.now), hear_each(theirs, lens, position, now)
        if gone is not None and come is not None:
            return Standing(position, now, since.heard.changed(gone - come, come - gone, counted.width))
    before = hear(counted, lens, since.position, since.now, names, sought)
    after = hear(counted, lens, position, now, names, sought)
    return Standing(position, now, since.heard.plus(after.plus(before, -1)))


def hear(
    counted: Counted,
    lens: Lens,
    position: int,
    now: datetime,
    names: Column | None = None,
    sought: Sought | None = None,
) -> Heard:
    """What is heard of the accounts of these names, and of these what is sought; or of all."""
    worth = revenues(counted, position, now, names)

    def of(names: Column) -> Heard:
        asks = live(counted, position, names=names, sought=sought)
        pairs = (pairs_now if lens == "now" else pairs_asked)(counted, asks, position, now, names)
        return add_up(counted, pairs, worth)

    return reduce(Heard.plus, (of(block.names) for block in blocks(counted, position, names)))


class Touched(NamedTuple):
    """The accounts of which anything was said between two positions. `names`: all of theirs, sorted; `sought`: what is
    to be sought of their asks. Who did no more than ask and withdraw says of other requirements what it said.

    `named`: those of accounts for which what names stand for, or where asks are, may have changed. `asked_for`: the
    requirements, by their roots, about which an ask or a withdrawal was.
    """

    names: Column
    sought: Sought
    named: Column
    asked_for: Column


def touched(counted: Counted, since: Moment, position: int, now: datetime) -> Touched:
    """The accounts of which anything was said between two positions."""
    after, upto = sorted((since.position, position))
    begun, ended = sorted((day_number(since.now.date()), day_number(now.date())))
    asks, withdrawals, facts, deals = _said_between(
        counted, after, upto, counted.asks, counted.withdrawals, counted.facts, counted.opportunities
    )
    found = [facts["account"]]
    if length(deals):
        found.append(counted.opportunities.having("opportunity", np.unique(deals["opportunity"]))["account"])
    if begun < ended:
        deals = counted.opportunities.whole
        found.append(deals["account"][(deals["ends"] >= begun) & (deals["ends"] < ended)])
    # Whether a withdrawal means somebody's ask may depend on who else has recorded it where.
    some = counted.withdrawals.may_have("low", asks["low"])
    lows = np.unique(np.concatenate([withdrawals["low"], asks["low"][some]]))
    if len(lows):
        asks = joined(asks, counted.asks.having("low", lows))
    named = _named_between(counted, after, upto)
    both, naming = (since.position, position), counted.naming(position)

    def roots(names: Sequence[Column]) -> tuple[Column, Column]:
        """All names of these accounts, and their roots."""
        every = with_all_names(counted, np.unique(np.concatenate(names)), both)
        return every, np.unique(naming.roots_of(every))

    names, accounts = roots([asks["account"], *found, named])
    _, others = roots([*found, named])
    requirement = naming.merged_of(naming.places(asks)[0])
    pairs = np.unique(pair_of(naming.roots_of(asks["account"]), requirement))
    sought = Sought(accounts[~is_among(accounts, others)], pairs)
    return Touched(names, sought, with_all_names(counted, named, both), np.unique(requirement))


def deals_between(counted: Counted, here: int, there: int) -> Column:
    """The opportunities of which anything was said, or taken back, between two positions: sorted, each once."""
    after, upto = sorted((here, there))
    [deals] = _said_between(counted, after, upto, counted.opportunities)
    found: Column = np.unique(deals["opportunity"])
    return found


def pairs_now(counted: Counted, asks: Live, position: int, now: datetime, names: Column | None = None) -> Pairs:
    """Each asking account by its live ask of highest importance, judged as it is now."""
    adoptions = Adopted(counted, position)
    chosen = most_important(asks)
    account = asks.account[chosen]
    class_ = np.full(len(chosen), UNDETERMINED, np.int8)
    met = unknown = np.zeros(len(chosen), np.int64)
    total = 0
    revision = adoptions.revision(microseconds(now))
    if revision is not None and len(chosen):
        subjects, subject = numbered(account)
        scores = judge(counted, revision, subjects, position, microseconds(now), names)
        class_, met, unknown, total = scores.class_[subject], scores.met[subject], scores.unknown[subject], scores.total
        class_ = adoptions.heeded(class_, asks.asked[chosen])
    importance = asks.importance[chosen].astype(np.int64)
    share = np.zeros(len(chosen), np.int8)
    return Pairs(
        account=account,
        requirement=asks.requirement[chosen],
        class_=class_,
        weight=met * importance,
        share=share,
        weight_if_known=(met + unknown) * importance,
        share_if_known=share,
        totals=[total],
    )


def pairs_asked(counted: Counted, asks: Live, position: int, now: datetime, names: Column | None = None) -> Pairs:
    """Each asking account by its live ask of highest fit × importance, each judged as at its own time."""
    adoptions = Adopted(counted, position)
    by = adoptions.numbers(asks.asked)
    size = len(asks)
    class_ = np.full(size, UNDETERMINED, np.int8)
    met, unknown, share = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    totals = [0]
    if size and (by >= 0).any():
        subjects, subject = numbered(asks.account)
        attributes = sorted({name for each in adoptions.adopted for name in each.revision.attributes})
        facts = Facts.read(counted, attributes, subjects, position, names)
        for number in np.unique(by[by >= 0]).tolist():
            revision = adoptions.adopted[number].revision
            rows = np.flatnonzero(by == number)
            profiles = {name: facts.at(name, subject[rows], asks.asked[rows]) for name in revision.attributes}
            scores = score(revision, profiles, len(rows), counted.values)
            if scores.total not in totals:
                totals.append(scores.total)
            class_[rows], met[rows], unknown[rows] = scores.class_, scores.met, scores.unknown
            share[rows] = totals.index(scores.total)
        class_ = adoptions.heeded(class_, asks.asked)
    weight, weight_if_known = met * asks.importance, (met + unknown) * asks.importance
    loudest = _loudest(asks, weight, share, totals, asks.asked, asks.asked_at)
    most = _loudest(asks, weight_if_known, share, totals)
    return Pairs(
        account=asks.account[loudest],
        requirement=asks.requirement[loudest],
        class_=class_[loudest],
        weight=weight[loudest],
        share=share[loudest],
        weight_if_known=weight_if_known[most],
        share_if_known=share[most],
        totals=totals,
    )


def add_up(counted: Counted, pairs: Pairs, worth: Revenues) -> Heard:
    """What these come to, requirement by requirement."""
    size = counted.width
    classes = np.bincount(pairs.requirement * _CLASSES + pairs.class_, minlength=size * _CLASSES)
    return Heard(
        classes=classes.reshape(size, _CLASSES).astype(np.int64),
        voices=_voices(pairs.requirement, pairs.weight, pairs.share, pairs.totals, size),
        voices_if_known=_voices(pairs.requirement, pairs.weight_if_known, pairs.share_if_known, pairs.totals, size),
        revenue=_revenue(pairs, worth),
    )


def place_of(requirement: Any, class_: Any) -> Any:
    """Where the revenue of a requirement from accounts of a class is; of numbers, or columns of them."""
    return requirement * _CLASSES + class_


def requirement_at(places: Column) -> Column:
    """Which requirement each place is of."""
    found: Column = places // _CLASSES
    return found


def _revenue(pairs: Pairs, worth: Revenues) -> Earned:
    """What the accounts of these pairs are worth, by requirement and class."""
    paying = np.flatnonzero(is_among(pairs.account, worth.accounts))
    of = np.searchsorted(worth.accounts, pairs.account[paying])
    return Earned.summed(worth, of, place_of(pairs.requirement[paying].astype(np.int64), pairs.class_[paying]))


class AskedWhen(Struct, frozen=True):
    """Who asked for some requirements at a time, as known at a position: accounts, sorted, and their classes.

    `asks`: the positions of what was said last of each of their asks for one of these.
    """

    accounts: Column
    classes: Column
    asks: Column

    @property
    def octets(self) -> int:
        return self.accounts.nbytes + self.classes.nbytes + self.asks.nbytes


def asked_when(counted: Counted, requirements: Sequence[str], at: datetime, cut: int) -> AskedWhen:
    """Who asked, and of which class: as lenses.as_decided has it."""
    t = microseconds(at)
    asks = live(counted, cut, t=t, reach=counted.lineage.reach(requirements))
    rows = np.flatnonzero(is_among(asks.requirement, roots_of(counted, requirements, cut)))
    said_at = asks.said_at[rows]
    rows = rows[np.lexsort([key[rows] for key in (asks.asked_at, asks.asked, asks.importance, asks.account)])]
    rows = rows[np.append(begin_anew(asks.account[rows])[1:], True)] if len(rows) else rows
    accounts = asks.account[rows]
    classes = Adopted(counted, cut).heeded(classes_when(counted, accounts, t, cut), asks.asked[rows])
    return AskedWhen(accounts, classes, said_at)


def classes_when(counted: Counted, accounts: Column, t: int, p: int) -> Column:
    """The classes of these accounts, sorted roots, at t, as known at p. When they asked is not heeded."""
    revision = Adopted(counted, p).revision(t)
    if revision is None or not len(accounts):
        return np.full(len(accounts), UNDETERMINED, np.int8)
    return judge(counted, revision, accounts, p, t, with_all_names(counted, accounts, (p,))).class_


def roots_of(counted: Counted, requirements: Iterable[str], p: int) -> Column:
    """What these requirements stand for, as known at p, as numbers, sorted, each once."""
    return np.unique(counted.naming(p).merged(counted.width)[counted.codes_of(requirements)])


def departs_of(classes: Column) -> Departs | None:
    """Whether a commitment departs from the agreement where those who ask are of these classes: as lenses.departs."""
    if not len(classes):
        return None
    if (classes == ON_TARGET).any():
        return "no"
    return "yes" if (classes == OFF_TARGET).all() else "undetermined"


def voice(voices: Mapping[int, Column], requirement: int) -> Fraction:
    """An exact voice."""
    return sum((Fraction(int(each[requirement]), total) for total, each in voices.items() if total), Fraction(0))


def is_alike(counted: Counted, since: Moment, position: int, now: datetime) -> bool:
    """Whether the same revisions judge at both positions."""
    then, here = Adopted(counted, since.position), Adopted(counted, position)
    same_now = then.number(microseconds(since.now)) == here.number(microseconds(now))
    return same_now and len(then.adopted) == len(here.adopted)


def _said_between(counted: Counted, after: int, upto: int, *rows: Rows) -> list[Columns]:
    """Of each of these rows what was recorded between two positions, and what was retracted there."""
    first, last = np.searchsorted(counted.retractions["position"], [after, upto], "right")
    spans_said = [(after, upto), *((at - 1, at) for at in counted.retractions["retracted"][first:last].tolist())]
    return [reduce(joined, (each.between(*span) for span in spans_said)) for each in rows]


def _named_between(counted: Counted, after: int, upto: int) -> Column:
    """The names of accounts for which something may have come to stand for something else in between: they
    themselves, what they ask for, or where their asks are."""
    first_said, last_said = (bisect_right(counted.lineage_positions, each) for each in (after, upto))
    if first_said == last_said:
        return np.empty(0, np.int32)
    lineage = counted.lineage
    found = [counted.accounts.codes([*lineage.accounts.related(lineage.accounts.named_between(after, upto))])]
    merged = lineage.requirements.related(lineage.requirements.named_between(after, upto))
    asks = lineage.moved_between(after, upto) | lineage.moved_from_or_to(merged)
    if asks:
        lows = np.unique(np.array([halves(digest(ask))[1] for ask in asks], np.uint64))
        found.append(counted.asks.having("low", lows)["account"])
    if merged:
        requirements = np.array(sorted(counted.requirements.code(name) for name in merged), np.int32)
        found.append(counted.asks.having("requirement", requirements)["account"])
    return np.unique(np.concatenate(found))


def _loudest(asks: Live, weight: Column, share: Column, totals: Sequence[int], *then: Column) -> Column:
    """Of each account and requirement the row of the greatest weight; of equals the last by what else is given."""
    rank = weight
    if len(totals) > 2:  # Shares of several totals are compared as fractions; few differ.
        kinds, rank = np.unique(weight * len(totals) + share, return_inverse=True)
        weights = [divmod(kind, len(totals)) for kind in kinds.tolist()]
        exact = [Fraction(each, totals[number]) if each else Fraction(0) for each, number in weights]
        places = {each: place for place, each in enumerate(sorted(set(exact)))}
        rank = np.array([places[each] for each in exact], np.int64)[rank]
    return last_of_each(asks, (*reversed(then), rank))


def _voices(requirement: Column, weight: Column, share: Column, totals: Sequence[int], size: int) -> dict[int, Column]:
    found: dict[int, Column] = {}
    for number, total in enumerate(totals):
        if total:
            rows = np.flatnonzero(share == number) if len(totals) > 1 else slice(None)
            found[total] = sums(requirement[rows], weight[rows], size)
    return found


def _sized(column: Column, size: int) -> Column:
    if len(column) == size:
        return column
    grown = np.zeros((size, *column.shape[1:]), column.dtype)
    grown[: len(column)] = column
    return grown


def _added(first: Mapping[int, Column], second: Mapping[int, Column], size: int, sign: int) -> dict[int, Column]:
    nothing = np.zeros(size, np.int64)
    return {
        total: _sized(first.get(total, nothing), size) + sign * _sized(second.get(total, nothing), size)
        for total in {*first, *second}
    }
