"""All that voices are counted from, and how it grows by what is recorded. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from services.projector.counting.columns import (
    FOREVER,
    LOST,
    NEVER_ENDS,
    NO_CURRENCY,
    OPEN,
    POSITION,
    RECORDED,
    WON,
    Codes,
    Column,
    Columns,
    Rows,
    begin_anew,
    empty,
    held_from,
    is_among,
    joined,
    limbs,
    times_of,
)
from services.projector.counting.naming import Naming, Namings
from services.projector.counting.scoring import (
    Values,
)
from services.projector.judgement.lenses import Adoption
from services.projector.judgement.resolution import Lineage

ROWS_AT_ONCE_MAX = 65_536
"""All accounts are looked at in blocks of so many asks and facts, half a megabyte a column, which a processor's cache
has room for; the last account of a block may have more."""

TEXT_OCTETS = 200
"""Of a text with its number, roughly."""
_RETRACTION = ("position", "retracted")
_STAGES = {"won": WON, "open": OPEN}


class Said(Struct, frozen=True, kw_only=True):
    """What was recorded up to a position and is new.

    What there is most of comes as columns: `asks` as account, requirement, the octets of the digests of the asks' ids
    (see columns.digest), importance, valid, position; `facts` as account, attribute, value, valid, position; `mentions`
    as account, position. The rest as rows: `withdrawals` as requirement, digest, valid, position; `opportunities` as
    opportunity, account, stage, millionths or None, currency or None, ends (a day's number) or None, valid, position;
    `named` as requirement, the opportunity that names it, position; `asked_for` as the opportunity that an ask names,
    position; `retractions` as position, retracted.

    Lineage and adoptions are whole; None: nothing new. `more_follows`: this is not all of what is read now.
    """

    upto: int
    more_follows: bool = False
    asks: tuple[Sequence[str], Sequence[str], bytes, Column, Column, Column] | None = None
    facts: tuple[Sequence[str], Sequence[str], Sequence[str], Column, Column] | None = None
    mentions: tuple[Sequence[str], Column] | None = None
    withdrawals: Sequence[tuple[str, bytes, int, int]] = ()
    opportunities: Sequence[tuple[str, str, str, int | None, str | None, int | None, int, int]] = ()
    named: Sequence[tuple[str, str, int]] = ()
    asked_for: Sequence[tuple[str, int]] = ()
    retractions: Sequence[tuple[int, int]] = ()
    adoptions: Sequence[Adoption] | None = None
    lineage: Lineage | None = None


class Counted(Struct, frozen=True, kw_only=True):
    """All that voices are counted from, up to a position of the log.

    `asks`: account, requirement, high and low (of the ask's id), importance, valid, position, until.
    `withdrawals`: requirement, high, low, valid, position, until. `facts`: account, attribute, value, valid, position,
    until. `opportunities`: opportunity, account, stage, currency, high and low (the amount), ends (a day), valid,
    position, until. `mentions`: account, position, until. `named`: requirement, opportunity, position, until.
    `asked_for`: opportunity, position (of the ask), until. `retractions`: position, retracted, in order.

    `until` is FOREVER in `named` and `asked_for`, whatever is retracted: whether one counts is looked up of the
    opportunity or the ask that was recorded at the same position.
    """

    position: int
    accounts: Codes
    requirements: Codes
    attributes: Codes
    currencies: Codes
    values: Values
    asks: Rows
    withdrawals: Rows
    facts: Rows
    opportunities: Rows
    mentions: Rows
    named: Rows
    asked_for: Rows
    retractions: Columns
    adoptions: Sequence[Adoption]
    lineage: Lineage
    lineage_positions: Sequence[int]
    """Where anything was said about names, merges or moves, in order."""
    namings: Namings
    named_by_acts: Columns
    """The requirements that merges and moves have named, and the position at which one first did."""
    deals: Codes
    """The opportunities."""
    size: int
    """How many numbers of accounts these rows and names have; more may have come since."""
    width: int
    """The same of requirements."""
    currencies_named: int
    """The same of currencies."""
    attributes_named: int
    """The same of attributes."""

    @classmethod
    def nothing(cls) -> "Counted":
        ids = {"high": np.uint64, "low": np.uint64}
        times = {"valid": np.int64, **RECORDED}
        code, small = np.int32, np.int8
        asks = empty(account=code, requirement=code, **ids, importance=small, **times)
        facts = empty(account=code, attribute=code, value=code, **times)
        withdrawals = empty(requirement=code, **ids, **times)
        amounts = {"currency": code, "high": np.int64, "low": np.int64}
        opportunities = empty(opportunity=code, account=code, stage=small, **amounts, ends=code, **times)
        mentions = empty(account=code, **RECORDED)
        asked_for = empty(opportunity=code, **RECORDED)
        named = empty(requirement=code, opportunity=code, **RECORDED)
        return cls(
            position=0,
            accounts=Codes(),
            requirements=Codes(),
            attributes=Codes(),
            currencies=Codes(),
            values=Values(),
            asks=Rows(("account", "requirement", "high", "low", "valid", "position"), asks),
            withdrawals=Rows(("requirement", "position"), withdrawals),
            facts=Rows(("account", "attribute", "valid", "position"), facts),
            opportunities=Rows(("opportunity", "valid", "position"), opportunities),
            mentions=Rows(("account", "position"), mentions),
            named=Rows(("requirement", "opportunity", "position"), named),
            asked_for=Rows(("opportunity", "position"), asked_for),
            retractions=empty(position=POSITION, retracted=POSITION),
            adoptions=(),
            lineage=Lineage(),
            lineage_positions=(),
            namings=Namings(),
            named_by_acts=empty(requirement=code, position=POSITION),
            deals=Codes(),
            size=0,
            width=0,
            currencies_named=0,
            attributes_named=0,
        )

    def plus(self, said: Said) -> "Counted":
        """The same with what is new. This one stays as it is. Raises OverflowError beyond what POSITION has."""
        if said.upto >= FOREVER:
            raise OverflowError(f"columns have no room for position {said.upto}")
        until = {retracted: position for position, retracted in said.retractions}
        lineage = said.lineage
        if lineage is not None:
            self.accounts.codes([*lineage.accounts.names()])
            first_named = lineage.first_named()
            named_by_acts = {
                "requirement": self.requirements.codes([*first_named]),
                "position": np.array([*first_named.values()], POSITION),
            }
        grown = replace(
            self,
            position=said.upto,
            asks=self.asks.plus(_ask_columns(self, said), said.more_follows).retracted(until),
            withdrawals=self.withdrawals.plus(_withdrawal_columns(self, said.withdrawals), said.more_follows).retracted(
                until
            ),
            facts=self.facts.plus(_fact_columns(self, said), said.more_follows).retracted(until),
            opportunities=self.opportunities.plus(_deal_columns(self, said.opportunities), said.more_follows).retracted(
                until
            ),
            mentions=self.mentions.plus(_mention_columns(self, said), said.more_follows).retracted(until),
            named=self.named.plus(_named_columns(self, said.named), said.more_follows),
            asked_for=self.asked_for.plus(_asked_for_columns(self, said.asked_for), said.more_follows),
            retractions=joined(
                self.retractions,
                {
                    name: np.array([each[n] for each in said.retractions], POSITION)
                    for n, name in enumerate(_RETRACTION)
                },
            ),
            adoptions=self.adoptions if said.adoptions is None else said.adoptions,
            lineage=self.lineage if lineage is None else lineage,
            lineage_positions=self.lineage_positions if lineage is None else lineage.positions(),
            named_by_acts=self.named_by_acts if lineage is None else named_by_acts,
        )
        return replace(
            grown,
            size=len(self.accounts),
            width=len(self.requirements),
            currencies_named=len(self.currencies),
            attributes_named=len(self.attributes),
        )

    @property
    def octets(self) -> int:
        """How much room the rows take, and what is remembered of values, roughly, in bytes."""
        rows = (self.asks, self.withdrawals, self.facts, self.opportunities, self.mentions, self.named, self.asked_for)
        texts = (self.accounts, self.requirements, self.values, self.deals)
        rows_octets = sum(each.octets for each in rows)
        return rows_octets + sum(len(each) for each in texts) * TEXT_OCTETS + self.values.octets

    def sort_ahead(self) -> None:
        """Find the orders in which it is looked for what was said between two positions, and of which asks."""
        for rows in (self.asks, self.withdrawals, self.facts, self.opportunities):
            rows.sort_by("position")
        for rows in (self.asks, self.withdrawals):
            rows.sort_by("low")

    def naming(self, p: int) -> Naming:
        """What names stand for, as known at p."""
        # Where nothing was said since, they stand for the same.
        number = bisect_right(self.lineage_positions, p)
        last = self.lineage_positions[number - 1] if number else 0
        upto = self.lineage_positions[-1] if self.lineage_positions else 0
        return self.namings.at(last, self.lineage, upto, self.accounts, self.requirements)

    def codes_of(self, requirements: Iterable[str]) -> Column:
        """The numbers of those of these requirements that were ever named."""
        codes = (self.requirements.find(name) for name in requirements)
        return np.array([code for code in codes if code is not None], np.int32)

    def adopted(self, p: int) -> list[Adoption]:
        """The adoptions known at p, by when they came into force."""
        return sorted((each for each in self.adoptions if each.position <= p), key=lambda each: each[:2])


class Block(Struct, frozen=True):
    """Some of all accounts: the roots from `first` to below `end`, and all names that these go by at a position,
    sorted."""

    first: int
    end: int
    names: Column


def blocks(counted: Counted, p: int, names: Column | None = None) -> Iterator[Block]:
    """All accounts, or those that go by these names, block by block, in the order of their roots; at least one block.
    What is said of a block needs no other."""
    names = np.arange(counted.size, dtype=np.int32) if names is None else names
    roots = counted.naming(p).roots_of(names)
    put = np.argsort(roots, kind="stable")
    names, roots = names[put], roots[put]
    rows = 1 + counted.asks.counts(names) + counted.facts.counts(names)  # An account without any takes room as well.
    accounts = np.flatnonzero(begin_anew(roots))
    within = (np.cumsum(rows) - rows)[accounts] // ROWS_AT_ONCE_MAX
    begins = accounts[1:][within[1:] > within[:-1]]
    bounds = pairwise([0, *roots[begins].tolist(), counted.size])
    for (first, end), theirs in zip(bounds, np.split(names, begins), strict=True):
        yield Block(first, end, np.sort(theirs))


def _ask_columns(counted: Counted, said: Said) -> Columns | None:
    if said.asks is None:
        return None
    account, requirement, ids, importance, valid, position = said.asks
    return {
        "account": counted.accounts.codes(account),
        "requirement": counted.requirements.codes(requirement),
        **_id_columns(ids),
        "importance": importance.astype(np.int8),
        **times_of(valid, position),
    }


def _withdrawal_columns(counted: Counted, rows: Sequence[Any]) -> Columns:
    requirement, ids, valid, position = _split(rows, 4)
    return {
        "requirement": counted.requirements.codes(requirement),
        **_id_columns(b"".join(ids)),
        **times_of(valid, position),
    }


def _fact_columns(counted: Counted, said: Said) -> Columns | None:
    if said.facts is None:
        return None
    account, attribute, value, valid, position = said.facts
    return {
        "account": counted.accounts.codes(account),
        "attribute": counted.attributes.codes(attribute),
        "value": counted.values.codes(value),
        **times_of(valid, position),
    }


def _deal_columns(counted: Counted, rows: Sequence[Any]) -> Columns:
    opportunity, account, stage, amount, currency, ends, valid, position = _split(rows, 8)
    parts = [limbs(each or 0) for each in amount]
    currencies = [
        NO_CURRENCY if each is None or text is None else counted.currencies.code(text)
        for each, text in zip(amount, currency, strict=True)
    ]
    return {
        "opportunity": counted.deals.codes(opportunity),
        "account": counted.accounts.codes(account),
        "stage": np.array([_STAGES.get(each, LOST) for each in stage], np.int8),
        "currency": np.array(currencies, np.int32),
        "high": np.array([high for high, _ in parts], np.int64),
        "low": np.array([low for _, low in parts], np.int64),
        "ends": np.array([NEVER_ENDS if each is None else each for each in ends], np.int32),
        **times_of(valid, position),
    }


def _mention_columns(counted: Counted, said: Said) -> Columns | None:
    if said.mentions is None:
        return None
    account, position = said.mentions
    return {
        "account": counted.accounts.codes(account),
        **held_from(position),
    }


def _named_columns(counted: Counted, rows: Sequence[Any]) -> Columns:
    requirement, opportunity, position = _split(rows, 3)
    return {
        "requirement": counted.requirements.codes(requirement),
        "opportunity": counted.deals.codes(opportunity),
        **held_from(position),
    }


def _asked_for_columns(counted: Counted, rows: Sequence[Any]) -> Columns:
    opportunity, position = _split(rows, 2)
    return {
        "opportunity": counted.deals.codes(opportunity),
        **held_from(position),
    }


def _split(rows: Sequence[Any], size: int) -> Sequence[Sequence[Any]]:
    return [*zip(*rows, strict=True)] if rows else [()] * size


def _id_columns(digests: bytes) -> dict[str, Column]:
    """Of digests, one after the other."""
    halves = np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)
    return {"high": halves[:, 0], "low": halves[:, 1]}


def with_all_names(counted: Counted, names: Column, positions: Iterable[int]) -> Column:
    """These names and all others that their accounts go by at one of the positions."""
    for p in positions:
        naming = counted.naming(p)
        roots = np.unique(naming.roots_of(names))
        others = naming.accounts["name"][is_among(naming.accounts["root"], roots)]
        names = np.unique(np.concatenate([names, roots, others]))
    return names.astype(np.int32)
