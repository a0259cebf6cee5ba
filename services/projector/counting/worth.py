"""What accounts are worth: contracted and in the pipeline, by currency, for all at once. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
from msgspec import Struct

from services.projector.counting.columns import (
    LIMB_BITS,
    LOST,
    NO_CURRENCY,
    OPEN,
    Codes,
    Column,
    Columns,
    begin_anew,
    day_number,
    is_among,
    join_limbs,
    known,
    length,
    numbered,
    sums,
    taken,
)
from services.projector.counting.counted import Counted
from services.projector.judgement.revenue import Amounts, Revenue

CURRENCY_BITS = 20
"""Three letters name at most 17,576 currencies."""
_CURRENCY = (1 << CURRENCY_BITS) - 1

Sum = tuple[int, int, int]
"""An amount in limbs, high and low, and of how many deals it is."""
Worth = tuple[tuple[int, Sum, Sum], ...]
"""What one account is worth: of each currency, by its number, what is contracted and what is in the pipeline."""


class Revenues(Struct, frozen=True):
    """What accounts are worth: of each account, by its root, currency × (contracted, pipeline) × (high, low, deals)."""

    accounts: Column
    amounts: Column


class Earned(Struct, frozen=True):
    """What is earned in places, a row for each place and currency with a deal: of all there could be, few have one.

    `at`: place << CURRENCY_BITS | currency, sorted, each once. `amounts`: row × (contracted, pipeline) × (high, low,
    deals).
    """

    at: Column
    amounts: Column

    @classmethod
    def nothing(cls) -> "Earned":
        return cls(np.zeros(0, np.int64), np.zeros((0, 2, 3), np.int64))

    @classmethod
    def summed(cls, worth: Revenues, of: Column, places: Column) -> "Earned":
        """What accounts (by their rows of `worth`) earn in places."""
        deals = np.asarray(worth.amounts[..., 2].any(axis=2))
        pair, currency = np.nonzero(deals[of])
        at, row = np.unique(places[pair] << CURRENCY_BITS | currency, return_inverse=True)
        theirs = worth.amounts[of[pair], currency]
        amounts = np.empty((len(at), 2, 3), np.int64)
        for kind, limb in np.ndindex(2, 3):
            amounts[:, kind, limb] = sums(row, theirs[:, kind, limb], len(at))
        return cls(at, amounts)

    @classmethod
    def added(cls, parts: Iterable[tuple[int, Worth, int]]) -> "Earned":
        """What single accounts earn: the place of each, what it is worth, and 1 or -1 for what is taken away."""
        summed: dict[int, Sequence[int]] = {}
        for place, worth, sign in parts:
            for currency, won, open in worth:
                at = place << CURRENCY_BITS | currency
                before = summed.get(at, (0,) * 6)
                summed[at] = [each + sign * more for each, more in zip(before, (*won, *open), strict=True)]
        places = sorted(at for at, amounts in summed.items() if any(amounts))
        amounts = np.array([summed[at] for at in places], np.int64)
        return cls(np.array(places, np.int64), amounts.reshape(-1, 2, 3))

    def plus(self, other: "Earned", sign: int = 1) -> "Earned":
        """Both together. What is added is mostly little, and about places that are there. Where nothing is earned any
        more there is no row: limbs add up exactly, so that none is left of them without a deal."""
        if not len(other.at):
            return self
        at, row = self.at, np.searchsorted(self.at, other.at)
        is_new = ~is_among(other.at, at)
        if is_new.any():
            amounts = np.insert(self.amounts, row[is_new], 0, axis=0)
            at = np.insert(at, row[is_new], other.at[is_new])
            row = np.searchsorted(at, other.at)
        else:
            amounts = self.amounts.copy()
        amounts[row] += sign * other.amounts
        gone = row[~amounts[row].any(axis=(1, 2))]
        return Earned(np.delete(at, gone), np.delete(amounts, gone, axis=0)) if len(gone) else Earned(at, amounts)

    def revenue(self, currencies: Codes) -> dict[int, Revenue]:
        """What is earned in each place in which anything is."""
        found: dict[int, Revenue] = {}
        texts = currencies.texts
        for place, code, (won, open) in zip(
            self.places.tolist(), self.currencies.tolist(), self.amounts.tolist(), strict=True
        ):
            found.setdefault(place, {})[texts[code]] = Amounts(join_limbs(*won[:2]), join_limbs(*open[:2]))
        return found

    def split(self, first: Column, end: Column) -> "list[Earned]":
        """What is earned in the places from each of `first` to below that of `end`."""
        begins, ends = (np.searchsorted(self.at, each << CURRENCY_BITS).tolist() for each in (first, end))
        return [Earned(self.at[begin:end], self.amounts[begin:end]) for begin, end in zip(begins, ends, strict=True)]

    @property
    def places(self) -> Column:
        """The place of each row."""
        return self.at >> CURRENCY_BITS

    @property
    def currencies(self) -> Column:
        """The number of each row's currency."""
        return self.at & _CURRENCY

    @property
    def octets(self) -> int:
        return self.at.nbytes + self.amounts.nbytes


def deals(counted: Counted, position: int, now: datetime, names: Column | None = None) -> Columns:
    """The deals that count and are with accounts by these names, which are sorted, or with any, as they stand."""
    if names is None:
        rows = counted.opportunities.whole
    else:
        theirs = np.unique(counted.opportunities.having("account", names)["opportunity"])
        rows = counted.opportunities.having("opportunity", theirs)
    rows = known(rows, position)
    if length(rows):
        rows = taken(rows, np.append(np.flatnonzero(begin_anew(rows["opportunity"])[1:]), length(rows) - 1))
    counts = (rows["currency"] != NO_CURRENCY) & (rows["stage"] != LOST)
    counts &= (rows["stage"] == OPEN) | (rows["ends"] >= day_number(now.date()))
    if names is not None:
        counts &= is_among(rows["account"], names)
    return taken(rows, np.flatnonzero(counts))


def revenues(counted: Counted, position: int, now: datetime, names: Column | None = None) -> Revenues:
    """What each account is worth that has a deal that counts, of these names or of all."""
    rows = deals(counted, position, now, names)
    account = counted.naming(position).roots_of(rows["account"])
    accounts, number = numbered(account)
    currencies = counted.currencies_named
    kinds = currencies * 2
    at = (number * currencies + rows["currency"]) * 2 + (rows["stage"] == OPEN)
    amounts = np.zeros((len(accounts) * kinds, 3), np.int64)
    for limb, name in enumerate(("high", "low")):
        amounts[:, limb] = sums(at, rows[name], len(accounts) * kinds)
    amounts[:, 2] = np.bincount(at, minlength=len(accounts) * kinds)
    # Sums carry over, so that what is added up further begins small.
    amounts[:, 0] += amounts[:, 1] >> LIMB_BITS
    amounts[:, 1] &= (1 << LIMB_BITS) - 1
    return Revenues(accounts, amounts.reshape(len(accounts), currencies, 2, 3))


def add_amounts(amounts: Column) -> Column:
    """The sum of amounts in limbs, each in one way only: the low one below 2**30."""
    summed: Column = amounts.sum(axis=0)
    summed[..., 0] += summed[..., 1] >> LIMB_BITS
    summed[..., 1] &= (1 << LIMB_BITS) - 1
    return summed


def money(currencies: Codes, amounts: Column) -> Revenue:
    """currency × (contracted, pipeline) × (high, low, deals) as revenue; a currency without a deal is absent."""
    return {
        currencies.texts[code]: Amounts(join_limbs(*won[:2]), join_limbs(*open[:2]))
        for code, (won, open) in enumerate(amounts.tolist())
        if won[2] or open[2]
    }
