"""What accounts are worth: contracted and in the pipeline, by currency, for all at once. Pure."""

from datetime import datetime
from typing import Any

import numpy as np
from msgspec import Struct

from services.projector.columns import (
    LIMB_BITS,
    LOST,
    NO_CURRENCY,
    OPEN,
    Codes,
    Column,
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
from services.projector.counted import Counted
from services.projector.revenue import Amounts, Revenue


class Revenues(Struct, frozen=True):
    """What accounts are worth: of each account, by its root, currency × (contracted, pipeline) × (high, low, deals)."""

    accounts: Column
    amounts: Column


def revenues(counted: Counted, position: int, now: datetime, names: Column | None = None) -> Revenues:
    """What each account is worth that has a deal that counts, of these names or of all."""
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
    rows = taken(rows, np.flatnonzero(counts))
    account = counted.naming(position).roots(counted.size)[rows["account"]]
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


def money(currencies: Codes, amounts: Any) -> Revenue:
    """currency × (contracted, pipeline) × (high, low, deals) as revenue; a currency without a deal is absent."""
    return {
        currencies.texts[code]: Amounts(join_limbs(*won[:2]), join_limbs(*open[:2]))
        for code, (won, open) in enumerate(amounts.tolist())
        if won[2] or open[2]
    }
