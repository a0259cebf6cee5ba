"""What was said of a few accounts, for what is judged one by one: their facts, and what they are worth. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import pairwise

import numpy as np

from services.projector.counting.columns import (
    FOREVER,
    OPEN,
    Column,
    begin_anew,
    join_limbs,
    length,
    microseconds,
    moment,
    sums,
)
from services.projector.counting.counted import Counted
from services.projector.counting.worth import deals
from services.projector.judgement.lenses import Fact, Facts, in_order
from services.projector.judgement.resolution import Resolution
from services.projector.judgement.revenue import Amounts, Revenue, total

_NOTHING = (0, 0)


class FactsOfFew(Facts):
    """The facts of a few accounts, looked up in columns. Most of them say again what was said before, and nobody asks
    for those."""

    def __init__(self, counted: Counted, names: Iterable[str]) -> None:
        rows = counted.facts.having("account", _numbers(counted, names))
        begins = np.flatnonzero(begin_anew(rows["account"], rows["attribute"]))
        stretches = pairwise([*begins.tolist(), length(rows)])
        accounts, attributes = (rows[name][begins].tolist() for name in ("account", "attribute"))
        self._values = counted.values.texts
        self._stretches = {
            (counted.accounts.texts[account], counted.attributes.texts[attribute]): stretch
            for account, attribute, stretch in zip(accounts, attributes, stretches, strict=True)
        }
        # Single numbers are taken from these sooner than from columns.
        self._value, self._valid, self._position, self._until = (
            rows[name].data for name in ("value", "valid", "position", "until")
        )

    def profile(self, names: Sequence[str], attributes: Sequence[str], t: datetime, p: int) -> tuple[str, ...]:
        upto = microseconds(t)
        return tuple([self._last(names, attribute, upto, p) for attribute in attributes])

    def upto(self, names: Sequence[str], attribute: str, t: datetime, p: int) -> list[Fact]:
        upto = microseconds(t)
        return in_order(
            Fact(
                name,
                attribute,
                self._values[self._value[at]],
                moment(self._valid[at]),
                self._position[at],
                None if self._until[at] == FOREVER else self._until[at],
            )
            for name in names
            for at in range(*self._stretch(name, attribute, upto))
            if self._position[at] <= p
        )

    def _last(self, names: Sequence[str], attribute: str, upto: int, p: int) -> str:
        last = (-1, -1, -1)
        for name in names:
            begin, end = self._stretch(name, attribute, upto)
            for at in range(end - 1, begin - 1, -1):
                if self._position[at] <= p < self._until[at]:
                    last = max(last, (self._valid[at], self._position[at], at))
                    break
        return "null" if last[2] < 0 else self._values[self._value[last[2]]]

    def _stretch(self, name: str, attribute: str, upto: int) -> tuple[int, int]:
        """Where the rows are that are about times up to one."""
        begin, end = self._stretches.get((name, attribute), _NOTHING)
        return begin, bisect_right(self._valid, upto, begin, end)


def revenue_of(
    counted: Counted, names: Iterable[str], accounts: Resolution, position: int, now: datetime
) -> dict[str, Revenue]:
    """Account → its revenue by these of its names. One without any is absent."""
    rows = deals(counted, position, now, _numbers(counted, names))
    currencies, names_of, texts = counted.currencies_named, counted.accounts.texts, counted.currencies.texts
    is_open = rows["stage"] == OPEN
    kind = (rows["account"].astype(np.int64) * currencies + rows["currency"]) * 2 + is_open
    kinds, number = np.unique(kind, return_inverse=True)
    limbs = [sums(number, rows[limb], len(kinds)).tolist() for limb in ("high", "low")]
    found: dict[str, list[Revenue]] = {}
    for each, *summed in zip(kinds.tolist(), *limbs, strict=True):
        account, currency = divmod(each // 2, currencies)
        amount = join_limbs(*summed)
        amounts = Amounts(pipeline=amount) if each % 2 else Amounts(contracted=amount)
        root = accounts.root(names_of[account], position)
        found.setdefault(root, []).append({texts[currency]: amounts})
    return {account: total(amounts) for account, amounts in found.items()}


def _numbers(counted: Counted, names: Iterable[str]) -> Column:
    """The numbers of those of these accounts that rows may have, sorted."""
    codes = {code for name in names if (code := counted.accounts.find(name)) is not None and code < counted.size}
    return np.array(sorted(codes), np.int32)
