"""Where demand comes together: what those have in common who ask and are off target, and what would settle who is
undetermined. Pure; exact fractions, and an order that nothing but the input decides.

What is off target is not worth less: many of one kind who ask may be an opportunity that the target market misses.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from schemas.criteria import All, Eq, Gt, Has, Lte, Test
from services.projector.judgement.fit import folded

ASKERS_MIN = 3
"""Accounts that a cluster has at least: fewer are no cluster."""

LIFT_MIN = 2
"""How many times as frequent as among all accounts something is at least: less is how accounts are anyway."""

CLUSTERS_MAX = 20

RANGES_MAX = 4
"""Ranges that the numbers of an attribute go into: the quarters of all known values. Numbers of which there are no
more different ones are values of their own."""


class Shared(Struct, frozen=True, kw_only=True):
    """One attribute as it is known now: JSON text of a value → how many of all accounts have it; and off-target asker →
    its value. Who has none (null) is in neither."""

    attribute: str
    accounts: Mapping[str, int]
    askers: Mapping[str, str]


class Cluster(Struct, frozen=True, kw_only=True):
    """Something that off-target askers share far above its base rate among all accounts that have the attribute known.

    `members`: those off-target askers, of the `askers_known` that have the attribute; `accounts` of `accounts_known`
    share it in all. `value` is null for a range of numbers: above `above` (null: from the least), up to `upto` (null:
    to the most). `test` is what a bullet would ask for to let exactly them in.
    """

    attribute: str
    value: Any
    above: int | float | None
    upto: int | float | None
    test: Test
    members: tuple[str, ...]
    askers_known: int
    accounts: int
    accounts_known: int

    @property
    def expected(self) -> Fraction:
        """How many of the askers would share it at the base rate."""
        return Fraction(self.askers_known * self.accounts, self.accounts_known)

    @property
    def lift(self) -> Fraction:
        """How many times as frequent it is among them as among all."""
        return len(self.members) / self.expected


class Settling(Struct, frozen=True, kw_only=True):
    """Accounts that wait for an attribute; `alone`: for nothing else."""

    attribute: str
    waiting: tuple[str, ...]
    alone: tuple[str, ...]


class _Trait(NamedTuple):
    """What accounts may share: a value, a member of a list, or (by its place) a range."""

    kind: Literal["boolean", "number", "range", "text", "member"]
    value: str | bool | int | float


def clusters(known: Iterable[Shared]) -> list[Cluster]:
    """What off-target askers share, that first of which most share it beyond the base rate.

    `known` has each attribute once. Texts are the same as tests compare them; of a list, each member is shared.
    Numbers are shared in ranges.
    """
    return sorted((cluster for each in known for cluster in _of_one(each)), key=_place)


def settling(waiting: Mapping[str, Sequence[str]]) -> list[Settling]:
    """What would settle the undetermined: the attributes that most of them wait for first.

    `waiting`: account → the attributes that are unknown of it and that its class depends on.
    """
    accounts: dict[str, list[str]] = {}
    for account, attributes in sorted(waiting.items()):
        for attribute in dict.fromkeys(attributes):
            accounts.setdefault(attribute, []).append(account)
    found = [
        Settling(
            attribute=attribute,
            waiting=tuple(each),
            alone=tuple(account for account in each if {*waiting[account]} == {attribute}),
        )
        for attribute, each in accounts.items()
    ]
    return sorted(found, key=lambda each: (-len(each.waiting), -len(each.alone), each.attribute))


def _of_one(known: Shared) -> Iterable[Cluster]:
    """The clusters of one attribute."""
    values = {text: msgspec.json.decode(text) for text in known.accounts}
    bounds = _bounds({text: value for text, value in values.items() if _is_number(value)}, known.accounts)
    traits = {text: _traits(value, bounds) for text, value in values.items()}
    members: dict[_Trait, list[str]] = {}
    for account, text in known.askers.items():
        for trait in traits[text]:
            members.setdefault(trait, []).append(account)
    accounts: Counter[_Trait] = Counter()
    spellings: dict[_Trait, Counter[str]] = {}
    for text, count in known.accounts.items():
        for trait, spelling in traits[text].items():
            if trait in members:
                accounts[trait] += count
                spellings.setdefault(trait, Counter())[spelling] += count

    whole = sum(known.accounts.values())
    for trait, sharing in members.items():
        # Whole numbers: lift = (sharing / askers) / (accounts / whole).
        is_far_above = len(sharing) * whole >= LIFT_MIN * accounts[trait] * len(known.askers)
        if len(sharing) >= ASKERS_MIN and is_far_above:
            value, above, upto = _shown(trait, spellings[trait], bounds)
            yield Cluster(
                attribute=known.attribute,
                value=value,
                above=above,
                upto=upto,
                test=_test(known.attribute, trait, value, above, upto),
                members=tuple(sorted(sharing)),
                askers_known=len(known.askers),
                accounts=accounts[trait],
                accounts_known=whole,
            )


def _traits(value: Any, bounds: Sequence[int | float]) -> dict[_Trait, str]:
    """What an account with this value shares with others, each with how it is spelt here."""
    match value:
        case bool():
            return {_Trait("boolean", value): ""}
        case int() | float() if not bounds:
            return {_Trait("number", value): msgspec.json.encode(value).decode()}
        case int() | float():
            return {_Trait("range", bisect_left(bounds, value)): ""}
        case str():
            return {_Trait("text", folded(value)): value}
        case _:
            return {_Trait("member", folded(member)): member for member in sorted(value, reverse=True)}


def _bounds(numbers: Mapping[str, int | float], texts: Mapping[str, int]) -> list[int | float]:
    """The upper ends of the ranges: the least numbers that a quarter, a half and three quarters of the values do not
    exceed. What is above the last of them is a range too. Few different numbers have no ranges."""
    counts: dict[int | float, int] = {}
    for text, number in numbers.items():
        counts[number] = counts.get(number, 0) + texts[text]
    if len(counts) <= RANGES_MAX:
        return []
    whole, below, bounds = sum(counts.values()), 0, []
    for number in sorted(counts):
        before, below = below, below + counts[number]
        if any(before * RANGES_MAX < part * whole <= below * RANGES_MAX for part in range(1, RANGES_MAX)):
            bounds.append(number)
    return bounds


def _shown(
    trait: _Trait, spellings: Counter[str], bounds: Sequence[int | float]
) -> tuple[Any, int | float | None, int | float | None]:
    """A value as most accounts spell it, or the ends of a range."""
    match trait.kind, trait.value:
        case "boolean", value:
            return value, None, None
        case "range", int(place):
            above = bounds[place - 1] if place > 0 else None
            return None, above, bounds[place] if place < len(bounds) else None
        case "number", _:
            return msgspec.json.decode(min(spellings)), None, None
        case _:
            return min(spellings, key=lambda spelling: (-spellings[spelling], spelling)), None, None


def _test(attribute: str, trait: _Trait, value: Any, above: int | float | None, upto: int | float | None) -> Test:
    match trait.kind:
        case "range":
            ends: list[Test] = []
            if above is not None:
                ends.append(Gt(attribute=attribute, value=above))
            if upto is not None:
                ends.append(Lte(attribute=attribute, value=upto))
            return ends[0] if len(ends) == 1 else All(tests=ends)
        case "member":
            return Has(attribute=attribute, value=value)
        case _:
            return Eq(attribute=attribute, value=value)


def _place(cluster: Cluster) -> tuple[Fraction, Fraction, str, bytes]:
    """The most askers beyond the base rate first, then the greater lift; of equals by name."""
    beyond = len(cluster.members) - cluster.expected
    return -beyond, -cluster.lift, cluster.attribute, msgspec.json.encode(cluster.test)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
