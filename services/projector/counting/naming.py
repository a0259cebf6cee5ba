"""What all names stand for at a position, as columns: accounts, requirements, and asks that were moved. Pure.

Which name stands for which is said in `resolution`. Little of it differs between two positions that lie close together,
so what names stand for at one follows from what they stood for at the nearest that is remembered; at position 0 each
stands for itself.
"""

from collections.abc import Mapping
from functools import cached_property
from threading import Lock

import numpy as np
from msgspec import Struct

from services.projector.counting.columns import (
    Codes,
    Column,
    Columns,
    begin_anew,
    digest,
    empty,
    halves,
    is_among,
    joined,
    length,
    order,
    taken,
)
from services.projector.judgement.resolution import Lineage

REMEMBERED_MAX = 48

SIEVE_BITS = 16
_SIEVED = np.uint64((1 << SIEVE_BITS) - 1)


class Naming(Struct, frozen=True, dict=True):
    """Names that stand for others, as numbers, at a position."""

    accounts: Columns
    """name and root. Sorted by name."""
    requirements: Columns
    """The same."""
    moved: Columns
    """high and low of the ask's id, the requirement on which it was recorded, and its place. Sorted by these."""

    def roots(self, size: int) -> Column:
        """Each account's root."""
        return _roots(self.accounts, size)

    def roots_of(self, accounts: Column) -> Column:
        """The roots of these accounts: of few it costs the same however many others there are."""
        return _roots_of(self.accounts, accounts)

    def merged_of(self, requirements: Column) -> Column:
        """The roots of these requirements, likewise."""
        return _roots_of(self.requirements, requirements)

    def are_several(self, roots: Column) -> Column:
        """Which of these accounts, by their roots, go by several names."""
        return is_among(roots, self._several)

    @cached_property
    def _several(self) -> Column:
        return np.unique(self.accounts["root"])

    @cached_property
    def _sieve(self) -> Column:
        """What lets few ids through that were not moved."""
        sieve = np.zeros(1 << SIEVE_BITS, bool)
        sieve[(self.moved["low"] & _SIEVED).astype(np.int64)] = True
        return sieve

    def merged(self, size: int) -> Column:
        """Each requirement's root."""
        return _roots(self.requirements, size)

    def merged_into(self, requirements: Codes) -> dict[str, str]:
        """Each requirement that is part of another, and its root, by their names."""
        names, roots = (self.requirements[each].tolist() for each in ("name", "root"))
        texts = requirements.texts
        return {texts[name]: texts[root] for name, root in zip(names, roots, strict=True)}

    def places(self, rows: Columns) -> tuple[Column, Column]:
        """Where each of these recordings of asks is, and which are of an id that was moved."""
        place = rows["requirement"].copy()
        some = np.flatnonzero(self._sieve[(rows["low"] & _SIEVED).astype(np.int64)])
        some = some[is_among(rows["low"][some], self.moved["low"])]
        is_moved = np.zeros(len(place), bool)
        is_moved[some] = True
        if len(some):
            here = taken(self.moved, np.flatnonzero(is_among(self.moved["low"], np.sort(rows["low"][some]))))
            asked = {name: rows[name][some] for name in _ASK}
            both = joined({name: here[name] for name in _ASK}, asked)
            put = order(both, _ASK)
            number = np.empty(len(put), np.int64)
            number[put] = np.cumsum(begin_anew(*(both[name][put] for name in _ASK))) - 1
            to = np.full(len(put), NOWHERE)
            to[number[: length(here)]] = here["place"]
            to = to[number[length(here) :]]
            place[some] = np.where(to == NOWHERE, place[some], to)
        return place, is_moved


class Namings:
    """What names stand for, at the positions that were asked about. That never changes; threads take turns."""

    def __init__(self) -> None:
        nothing = empty(name=np.int32, root=np.int32)
        moved = empty(low=np.uint64, high=np.uint64, requirement=np.int32, place=np.int32)
        self._remembered = {0: Naming(nothing, nothing, moved)}
        self._lock = Lock()

    def at(self, p: int, lineage: Lineage, upto: int, accounts: Codes, requirements: Codes) -> Naming:
        """As known at p. `lineage` is known up to a position that is no less; all its names have numbers."""
        found = self._remembered.get(p)
        if found is not None:
            return found
        with self._lock:
            # What was remembered beyond the end of this lineage, by somebody who knows more, cannot be undone by it.
            known = [position for position in self._remembered if position <= upto]
            nearest = min(known, key=lambda position: abs(position - p))
            found = _name(self._remembered[nearest], nearest, p, lineage, accounts, requirements)
            self._remembered[p] = found
            if len(self._remembered) > REMEMBERED_MAX:
                oldest = next(position for position in self._remembered if position)  # Position 0 stays.
                del self._remembered[oldest]
            return found


_ASK = ("low", "high", "requirement")
NOWHERE = -1


def _name(near: Naming, nearest: int, p: int, lineage: Lineage, accounts: Codes, requirements: Codes) -> Naming:
    anew = lineage.places_anew(p, nearest)
    lows_and_highs = [(*reversed(halves(digest(ask))), on, place) for (on, ask), place in anew.items()]
    low, high, on, place = zip(*lows_and_highs, strict=True) if lows_and_highs else ((), (), (), ())
    moved = {
        "low": np.array(low, np.uint64),
        "high": np.array(high, np.uint64),
        "requirement": requirements.codes(on),
        "place": requirements.codes(place),
    }
    return Naming(
        accounts=_named_anew(near.accounts, lineage.accounts.roots_anew(p, nearest), accounts),
        requirements=_named_anew(near.requirements, lineage.requirements.roots_anew(p, nearest), requirements),
        moved=_put(near.moved, moved, _ASK, "place", "requirement"),
    )


def _named_anew(near: Columns, roots: Mapping[str, str], codes: Codes) -> Columns:
    said = {"name": codes.codes([*roots]), "root": codes.codes([*roots.values()])}
    return _put(near, said, ("name",), "root", "name")


def _put(rows: Columns, said: Columns, keys: tuple[str, ...], to: str, own: str) -> Columns:
    """The rows with what is said instead of those of the same keys; without those that stand for themselves."""
    if not length(said):
        return rows
    both = joined(rows, said)
    put = order(both, keys)  # Of equal keys what is said comes last: the order is stable.
    both = taken(both, put)
    last = np.append(begin_anew(*(both[name] for name in keys))[1:], True)
    return taken(both, np.flatnonzero(last & (both[to] != both[own])))


def _roots(names: Columns, size: int) -> Column:
    roots = np.arange(size, dtype=np.int32)
    roots[names["name"]] = names["root"]
    return roots


def _roots_of(names: Columns, some: Column) -> Column:
    name, root = names["name"], names["root"]
    if not len(name):
        return some
    if len(some) > len(name):
        return _roots(names, 1 + max(int(some.max()), int(name[-1])))[some]
    at = np.minimum(np.searchsorted(name, some), len(name) - 1)
    return np.where(name[at] == some, root[at], some)
