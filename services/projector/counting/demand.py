"""For whom demand comes: asks, and the accounts that make them, by class and month, from columns. Pure.

What counts, and how it is judged, is what `lenses` says; here it is said of all asks at once, month by month. An
account counts once in each month, and once in all, by that of its asks there which gives it its voice.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import reduce

import msgspec
import numpy as np
from msgspec import Struct

from schemas.criteria import All, Any, Not, Test
from services.projector.counting.clusters import Shared
from services.projector.counting.columns import Column, begin_anew, is_among, microseconds, sums
from services.projector.counting.counted import Counted
from services.projector.counting.judging import NOT_HERE, Adopted, latest, latest_of_all
from services.projector.counting.live_asks import Live, live
from services.projector.counting.scoring import MET, NOTHING_KNOWN, OFF_TARGET, UNDETERMINED, UNKNOWN, Values
from services.projector.counting.standings import Pairs, pairs_asked, pairs_now
from services.projector.counting.worth import Revenues, add_amounts, money, revenues
from services.projector.judgement.fit import CLASSES, Revision
from services.projector.judgement.period import Period
from services.projector.judgement.revenue import Revenue

REQUIREMENTS_MOST_ASKED_MAX = 3

_CLASSES = len(CLASSES)


class Made(Struct, frozen=True, kw_only=True):
    """Asks and the accounts that made them, by class (as CLASSES has them). `revenue`: what those accounts are worth,
    class × currency × (contracted, pipeline) × (high, low, deals)."""

    asks: Column
    accounts: Column
    revenue: Column


class MadeInMonth(Struct, frozen=True, kw_only=True):
    """What was asked in a month (UTC), as 2026-03."""

    month: str
    as_asked: Made
    as_now: Made


class Demand(Struct, frozen=True, kw_only=True):
    """What was asked in a period: all of it, and month by month; and who is off target or undetermined now, as the
    numbers of accounts, sorted."""

    as_asked: Made
    as_now: Made
    months: Sequence[MadeInMonth]
    off_target: Column
    undetermined: Column


class Judged(Struct, frozen=True, dict=True):
    """What is known at a position, whose recorded time is `now`, and the asks that stand and were first made in a
    period."""

    counted: Counted
    position: int
    now: datetime
    asks: Live
    worth: Revenues

    @classmethod
    def within(cls, counted: Counted, position: int, now: datetime, period: Period) -> "Judged":
        asks = live(counted, position)
        made = np.ones(len(asks), bool)
        if period.since is not None:
            made &= asks.asked >= microseconds(period.since)
        if period.until is not None:
            made &= asks.asked < microseconds(period.until)
        asks = _grouped(asks, np.flatnonzero(made), asks.requirement)
        return cls(counted, position, now, asks, revenues(counted, position, now))

    def revision(self) -> Revision | None:
        """The revision that is in force now."""
        return Adopted(self.counted, self.position).revision(microseconds(self.now))

    def name(self, account: int) -> str:
        return self.counted.accounts.texts[account]

    def revenue_of(self, accounts: Column) -> Revenue:
        """What these accounts are worth. They are sorted."""
        theirs = is_among(self.worth.accounts, accounts)
        return money(self.counted.currencies, add_amounts(self.worth.amounts[theirs]))

    def codes(self, accounts: Sequence[str]) -> Column:
        """The numbers of accounts that ask, sorted."""
        return np.sort(np.array([self.counted.accounts.code(each) for each in accounts], np.int32))


def demand(judged: Judged) -> Demand:
    asks = judged.asks
    months, month = np.unique(asks.asked.astype("datetime64[us]").astype("datetime64[M]"), return_inverse=True)
    heard = _Hearing(judged, month, len(months))
    asked_in_all, asked_by_month, _ = heard.by(pairs_asked)
    now_in_all, now_by_month, askers = heard.by(pairs_now)
    off_target, undetermined = (
        np.sort(askers.account[askers.class_ == class_]) for class_ in (OFF_TARGET, UNDETERMINED)
    )
    return Demand(
        as_asked=asked_in_all,
        as_now=now_in_all,
        months=[
            MadeInMonth(month=str(each), as_asked=asked, as_now=now)
            for each, asked, now in zip(months, asked_by_month, now_by_month, strict=True)
        ],
        off_target=off_target,
        undetermined=undetermined,
    )


class _Hearing:
    """The asks of a period, each alone, by month, and all together. `month`: the number of each ask's."""

    def __init__(self, judged: Judged, month: Column, months: int) -> None:
        asks, everything = judged.asks, np.arange(len(judged.asks))
        self._judged, self._month, self._months = judged, month, months
        self._all = np.zeros(len(asks), np.int64)
        self._each = msgspec.structs.replace(asks, begins=np.ones(len(asks), bool))
        self._in_all, self._by_month = _grouped(asks, everything, self._all), _grouped(asks, everything, month)

    def by(self, lens: Callable[[Counted, Live, int, datetime], Pairs]) -> tuple[Made, list[Made], Pairs]:
        """What was asked in all and in each month, and who asked in all, under a lens."""
        classes, in_all, by_month = (self._pairs(lens, asks) for asks in (self._each, self._in_all, self._by_month))
        [whole] = _made(self._judged, classes.class_, self._all, in_all, 1)
        return whole, [*_made(self._judged, classes.class_, self._month, by_month, self._months)], in_all

    def _pairs(self, lens: Callable[[Counted, Live, int, datetime], Pairs], asks: Live) -> Pairs:
        return lens(self._judged.counted, asks, self._judged.position, self._judged.now)


def waiting(judged: Judged, accounts: Column) -> dict[str, list[str]]:
    """Undetermined account → the attributes that would settle it, sorted. `accounts` are numbers, sorted."""
    revision = judged.revision()
    found: dict[str, list[str]] = {judged.name(account): [] for account in accounts.tolist()}
    if revision is None or not len(accounts):
        return found
    profiles = latest(judged.counted, revision.attributes, accounts, judged.position, microseconds(judged.now))
    tests = [bullet.test for bullet in revision.bullets if bullet.test is not None]
    unsettled = [_unsettled(test, profiles, judged.counted.values)[1] for test in tests]
    for attribute in revision.attributes:
        waits = reduce(np.logical_or, (each[attribute] for each in unsettled if attribute in each))
        for account in accounts[np.flatnonzero(waits)].tolist():
            found[judged.name(account)].append(attribute)
    return found


def shared(judged: Judged, accounts: Column) -> Iterator[Shared]:
    """What is known now of all accounts and of these, attribute by attribute. `accounts` are numbers, sorted."""
    counted = judged.counted
    attributes = sorted(counted.attributes.texts)
    everyone = np.unique(counted.naming(judged.position).roots(counted.size))
    profiles = latest_of_all(counted, attributes, everyone, judged.position)
    these = np.flatnonzero(is_among(everyone, accounts))
    names = [judged.name(account) for account in everyone[these].tolist()]
    texts = counted.values.texts
    for attribute in attributes:
        values = profiles[attribute]
        codes, counts = np.unique(values[values != NOTHING_KNOWN], return_counts=True)
        if len(codes):
            yield Shared(
                attribute=attribute,
                accounts={texts[code]: count for code, count in zip(codes.tolist(), counts.tolist(), strict=True)},
                askers={
                    name: texts[code]
                    for name, code in zip(names, values[these].tolist(), strict=True)
                    if code != NOTHING_KNOWN
                },
            )


def most_asked(judged: Judged, accounts: Column) -> list[tuple[str, int]]:
    """The requirements that most of these accounts ask for, with how many do; of equals by name. `accounts` are
    sorted."""
    asks = judged.asks
    rows = np.flatnonzero(is_among(asks.account, accounts) & asks.begins)  # Each asks for each requirement once.
    texts = judged.counted.requirements.texts
    counts = Counter(texts[code] for code in asks.requirement[rows].tolist())
    return sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:REQUIREMENTS_MOST_ASKED_MAX]


def requirements_asked(counted: Counted, position: int) -> set[str]:
    """The requirements that asks stand for, whenever these were made."""
    texts = counted.requirements.texts
    return {texts[code] for code in np.unique(live(counted, position).requirement).tolist()}


def _grouped(asks: Live, rows: Column, group: Column) -> Live:
    """These asks by account and group, in place of the requirement."""
    account, group = asks.account[rows], group[rows]
    put = np.lexsort([group, account])
    rows, account, group = rows[put], account[put], group[put]
    return Live(
        account,
        group,
        asks.importance[rows],
        asks.asked[rows],
        asks.asked_at[rows],
        asks.said_at[rows],
        begin_anew(account, group),
    )


def _made(judged: Judged, classes: Column, group: Column, heard: Pairs, groups: int) -> Iterator[Made]:
    """Of each group: `classes` of its asks, and those who are `heard` in it."""
    asks = np.bincount(group * _CLASSES + classes, minlength=groups * _CLASSES).reshape(groups, _CLASSES)
    at = heard.requirement.astype(np.int64) * _CLASSES + heard.class_
    accounts = np.bincount(at, minlength=groups * _CLASSES).reshape(groups, _CLASSES)
    amounts = _amounts(judged, heard.account, at, groups * _CLASSES)
    amounts = amounts.reshape(groups, _CLASSES, *amounts.shape[1:])
    for number in range(groups):
        yield Made(asks=asks[number], accounts=accounts[number], revenue=amounts[number])


def _amounts(judged: Judged, accounts: Column, at: Column, size: int) -> Column:
    """What accounts are worth, summed by their places: place × currency × (contracted, pipeline) × (high, low,
    deals)."""
    number = np.full(judged.counted.size, NOT_HERE, np.int64)
    number[judged.worth.accounts] = np.arange(len(judged.worth.accounts))
    of = number[accounts]
    paying = np.flatnonzero(of != NOT_HERE)
    of, at = of[paying], at[paying]
    found = np.zeros((size, *judged.worth.amounts.shape[1:]), np.int64)
    for place in np.ndindex(found.shape[1:]):
        found[(slice(None), *place)] = sums(at, judged.worth.amounts[(of, *place)], size)
    return found


def _unsettled(test: Test, profiles: Mapping[str, Column], values: Values) -> tuple[Column, dict[str, Column]]:
    """The verdicts on a test, and by attribute where it is unknown for that one's sake, as a fit says it."""
    match test:
        case All() | Any():
            parts = [_unsettled(part, profiles, values) for part in test.tests]
            verdict = reduce(np.minimum if isinstance(test, All) else np.maximum, (each for each, _ in parts))
            waits: dict[str, Column] = {}
            for _, each in parts:
                for attribute, found in each.items():
                    waits[attribute] = waits[attribute] | found if attribute in waits else found
            return verdict, {attribute: found & (verdict == UNKNOWN) for attribute, found in waits.items()}
        case Not():
            verdict, waits = _unsettled(test.test, profiles, values)
            return (MET - verdict).astype(np.int8), waits
        case _:
            verdict = values.verdicts(test, profiles[test.attribute])
            return verdict, {test.attribute: verdict == UNKNOWN}
