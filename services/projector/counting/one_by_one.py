"""What a few accounts are heard to say, one by one: exactly what standings says of many at once. Pure.

Of a few accounts there are tens of rows. To go through these takes less than to call numpy some hundred times.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from services.projector.counting.columns import (
    LOST,
    NO_CURRENCY,
    OPEN,
    Column,
    Columns,
    day_number,
    is_among,
    join_limbs,
    length,
    limbs,
    microseconds,
    taken,
)
from services.projector.counting.counted import Counted
from services.projector.counting.judging import Adopted, Lens, repeats
from services.projector.counting.live_asks import Sought
from services.projector.counting.naming import Naming
from services.projector.counting.scoring import NOTHING_KNOWN, UNDETERMINED, Score
from services.projector.counting.worth import Worth
from services.projector.judgement.fit import Revision

NAMES_ONE_BY_ONE_MAX = 16
ROWS_ONE_BY_ONE_MAX = 400
"""Of more names, or asks and facts, columns say it faster."""


class Voice(NamedTuple):
    """What one account says of one requirement, and what it is worth: weights are in shares of their totals, which are
    0 where there is no weight."""

    account: int
    requirement: int
    class_: int
    weight: int
    total: int
    weight_if_known: int
    total_if_known: int
    worth: Worth


class Few(Struct, frozen=True):
    """What was ever said of the accounts of some names. `ends`: of each id of an ask, by high and low, the
    withdrawals as requirement, valid, position, until."""

    counted: Counted
    names: Column
    asks: Columns
    ends: Mapping[tuple[int, int], Sequence[tuple[int, int, int, int]]]
    facts: Columns

    @classmethod
    def of(cls, counted: Counted, names: Column, sought: Sought, positions: Sequence[int]) -> "Few | None":
        """What was said of the accounts of these names, which are sorted, and what is sought of their asks, to be heard
        at these positions; None: much."""
        if len(names) > NAMES_ONE_BY_ONE_MAX:
            return None
        asks, facts = (rows.having("account", names) for rows in (counted.asks, counted.facts))
        namings = [counted.naming(each) for each in positions]
        # What is sought of an account is the same at all of them.
        place = namings[0].places(asks)[0]
        asks = taken(asks, np.flatnonzero(sought.among(namings[0], namings[0].roots_of(asks["account"]), place)))
        facts = taken(facts, np.flatnonzero(~repeats(facts, namings)))
        if length(asks) + length(facts) > ROWS_ONE_BY_ONE_MAX:
            return None
        ends: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
        lows = asks["low"][counted.withdrawals.may_have("low", asks["low"])]
        if len(lows):
            withdrawn = counted.withdrawals.having("low", np.unique(lows))
            for high, low, *end in _tuples(withdrawn, "high", "low", "requirement", "valid", "position", "until"):
                ends.setdefault((high, low), []).append((end[0], end[1], end[2], end[3]))
        return cls(counted, names, asks, ends, facts)


def hear_each(few: Few, lens: Lens, position: int, now: datetime) -> set[Voice] | None:
    """What is heard of these accounts at a position; None: what a withdrawal means depends on what others have said."""
    counted = few.counted
    naming = counted.naming(position)
    asks = _live(few, naming, position)
    if asks is None:
        return None
    adoptions = Adopted(counted, position)
    judging = adoptions.number(microseconds(now))
    judged = range(len(adoptions.adopted)) if lens == "asked" else [judging] if judging >= 0 else []
    profiles = _Profiles(few, naming, position, [adoptions.adopted[number].revision for number in judged])
    worth = _worth(few, naming, position, now)
    found = set[Voice]()
    for (account, requirement), several in asks.items():
        if lens == "now":
            ask = max(several, key=lambda each: (each.importance, each.asked, each.asked_at))
            weighed = [_weigh(ask, account, judging, None, adoptions, profiles)]
        else:
            weighed = [
                _weigh(ask, account, adoptions.number(ask.asked), ask.asked, adoptions, profiles) for ask in several
            ]
        loudest, most = weighed[0], weighed[0]
        if len(weighed) > 1:
            loudest = max(
                weighed, key=lambda each: (_share(each.weight, each.total), each.ask.asked, each.ask.asked_at)
            )
            most = max(reversed(weighed), key=lambda each: _share(each.weight_if_known, each.total))
        found.add(
            Voice(
                account,
                requirement,
                loudest.class_,
                *(loudest.weight, loudest.total),
                *(most.weight_if_known, most.total),
                worth.get(account, ()),
            )
        )
    return found


class _Live(NamedTuple):
    """An ask that stands."""

    importance: int
    asked: int
    asked_at: int


class _Weighed(NamedTuple):
    ask: _Live
    class_: int
    weight: int
    weight_if_known: int
    total: int


def _live(few: Few, naming: Naming, p: int) -> dict[tuple[int, int], list[_Live]] | None:
    """Account and requirement → the asks that stand, as live_asks.live has them."""
    rows, found = few.asks, dict[tuple[int, int], list[_Live]]()
    place = naming.places(rows)[0]
    is_plain = not length(naming.requirements) and not length(naming.moved)
    recorded = _tuples(
        {**rows, "account": naming.roots_of(rows["account"]), "place": place, "merged": naming.merged_of(place)},
        *("account", "place", "high", "low", "valid", "position", "until", "importance", "requirement", "merged"),
    )
    for (account, _, high, low), said in groupby(sorted(recorded), itemgetter(0, 1, 2, 3)):
        known = [each for each in said if each[5] <= p < each[6]]
        if not known:
            continue
        first, last = known[0], known[-1]
        stands = True
        for requirement, valid, position, until in few.ends.get((high, low), ()):
            if position <= p < until:
                if all(each[8] != requirement for each in known):
                    if is_plain:
                        continue
                    return None
                stands = stands and (valid, position) <= (last[4], last[5])
        if stands:
            found.setdefault((account, last[9]), []).append(_Live(last[7], first[4], first[5]))
    return found


class _Profiles:
    """What is known of attributes of accounts at a position."""

    def __init__(self, few: Few, naming: Naming, p: int, revisions: Sequence[Revision]) -> None:
        self._values = few.counted.values
        self._attributes = few.counted.attributes
        self._scores: dict[tuple[int, Revision, int | None], Score] = {}
        self._facts: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        codes = {self._attributes.find(name) for revision in revisions for name in revision.attributes}
        rows = {**few.facts, "account": naming.roots_of(few.facts["account"])}
        for account, attribute, valid, position, value, until in _tuples(
            rows, "account", "attribute", "valid", "position", "value", "until"
        ):
            if attribute in codes and position <= p < until:
                self._facts.setdefault((account, attribute), []).append((valid, position, value))
        # Where an account goes by several names, their facts come one after the other.
        for said in self._facts.values():
            said.sort()

    def scored(self, account: int, revision: Revision, t: int | None) -> Score:
        """How an account meets a revision at t, or "now"."""
        found = self._scores.get((account, revision, t))
        if found is None:
            profile = [self._value(account, self._attributes.find(name), t) for name in revision.attributes]
            self._scores[account, revision, t] = found = self._values.scored(revision, tuple(profile))
        return found

    def _value(self, account: int, attribute: int | None, t: int | None) -> int:
        said = self._facts.get((account, attribute), ()) if attribute is not None else ()
        known = len(said) if t is None else bisect_right(said, t, key=itemgetter(0))
        return said[known - 1][2] if known else NOTHING_KNOWN


def _weigh(ask: _Live, account: int, number: int, t: int | None, adoptions: Adopted, profiles: _Profiles) -> _Weighed:
    """`number`: of the adoption that judges; -1: none."""
    if number < 0:
        return _Weighed(ask, UNDETERMINED, 0, 0, 0)
    class_, met, unknown, total = profiles.scored(account, adoptions.adopted[number].revision, t)
    return _Weighed(
        ask, adoptions.heed(class_, ask.asked), met * ask.importance, (met + unknown) * ask.importance, total
    )


def _share(weight: int, total: int) -> Fraction:
    return Fraction(weight, total) if total else Fraction(0)


def _worth(few: Few, naming: Naming, p: int, now: datetime) -> dict[int, Worth]:
    """What each account is worth, as worth.revenues has it."""
    deals = few.counted.opportunities
    theirs = deals.having("account", few.names)["opportunity"]
    if not len(theirs):
        return {}
    rows = deals.having("opportunity", np.unique(theirs))
    rows = {
        **rows,
        "account": naming.roots_of(rows["account"]),
        "is_theirs": is_among(rows["account"], few.names),
    }
    last = {
        opportunity: deal
        for opportunity, position, until, *deal in _tuples(
            rows, "opportunity", "position", "until", "is_theirs", "account", "currency", "stage", "ends", "high", "low"
        )
        if position <= p < until
    }
    today = day_number(now.date())
    amounts: dict[int, dict[int, list[int]]] = {}
    for is_theirs, account, currency, stage, ends, high, low in last.values():
        if is_theirs and currency != NO_CURRENCY and stage != LOST and (stage == OPEN or ends >= today):
            summed = amounts.setdefault(account, {}).setdefault(currency, [0, 0, 0, 0])
            kind = 2 * (stage == OPEN)
            summed[kind] += join_limbs(high, low)
            summed[kind + 1] += 1
    return {
        account: tuple(
            (currency, (*limbs(won), wins), (*limbs(open), opens))
            for currency, (won, wins, open, opens) in sorted(of.items())
        )
        for account, of in amounts.items()
    }


def _tuples(columns: Columns, *names: str) -> Iterator[tuple[int, ...]]:
    return zip(*(columns[name].tolist() for name in names), strict=True)
