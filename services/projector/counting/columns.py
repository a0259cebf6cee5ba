"""What voices are counted from, as columns of numbers: asks, facts, opportunities. Pure.

Rows are only ever added, so what is known at a position p is a mask: `position <= p < until`, where `until` is the
position at which the row was retracted. Nothing that was handed out changes: to add rows gives new columns, which
share the old ones, and whoever computes with the old goes on undisturbed. Only the numbers of texts are shared, and
those are only added to.

A row's `valid` is its valid_from in microseconds since 1970. It is never later than the recorded time of its position;
so what is known at p counts from before "now" at p.

An ask is known by its id's SHA-256, of which 128 bits are kept: a million texts would take more room than all else.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from hashlib import sha256
from threading import Lock
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Column = NDArray[Any]
Columns = Mapping[str, Column]

POSITION = np.uint32
"""How positions are kept. Rows of a log that has more events than these tell apart would take hundreds of gigabytes."""
FOREVER = int(np.iinfo(POSITION).max)
RECORDED = {"position": POSITION, "until": POSITION}
NEVER_ENDS = np.iinfo(np.int32).max
NO_CURRENCY = -1
WON, OPEN, LOST = 0, 1, 2
LIMB_BITS = 30
"""An amount is `high * 2**30 + low` millionths: more than 64 bits hold, and limbs add up exactly."""

DIGEST_OCTETS = 16
POSITION_BITS = 40
TAIL_ROWS_MIN = 2_048
TAIL_SHARE = 16
"""New rows wait behind the sorted ones until there are so many, or a sixteenth as many as those."""

FEW_ROWS_MAX = 256
"""So few are put in order anew sooner than merged."""

SIEVE_BITS = 20

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_EXACT_MAX = float(2**53)
_BEGINS = "begins"
_KEY = "key"
_CODE = np.dtype(np.int32)
_SIEVED = np.uint64((1 << SIEVE_BITS) - 1)
_Side = Literal["left", "right"]
_SIDES: tuple[_Side, _Side] = ("left", "right")
_FEW_SHARE = 64
"""Values are few where there are so many times as many rows."""


class Codes:
    """Texts and their numbers, from 0 in the order in which they came. Only ever added to; threads take turns."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.texts: list[str] = []
        self._codes: dict[str, int] = {}
        self._by_text = np.empty(0, np.int32)
        self._adding = Lock()
        for text in texts:
            self.code(text)

    def __len__(self) -> int:
        return len(self.texts)

    def code(self, text: str) -> int:
        """The number of a text, a new one if it has none."""
        code = self._codes.get(text)
        return self._add(text) if code is None else code

    def codes(self, texts: Sequence[str]) -> Column:
        known = self._codes
        return np.fromiter(
            (self._add(text) if (code := known.get(text)) is None else code for text in texts), np.int32, len(texts)
        )

    def find(self, text: str) -> int | None:
        return self._codes.get(text)

    def by_text(self) -> Column:
        """The numbers of all, in the order of their texts. It is kept."""
        found, size = self._by_text, len(self.texts)
        if len(found) != size:
            # What is in order stays so: the new ones are sorted in, which takes little.
            put = sorted([*found.tolist(), *range(len(found), size)], key=self.texts.__getitem__)
            self._by_text = found = np.array(put, np.int32)
        return found

    def _add(self, text: str) -> int:
        with self._adding:
            code = self._codes.get(text)
            if code is None:
                # The text first: whoever sees the number finds it.
                code = len(self.texts)
                self.texts.append(text)
                self._codes[text] = code
            return code


class Rows:
    """Rows in the order of `keys`, the first of which says whose they are; the newest may wait behind them."""

    def __init__(
        self,
        keys: Sequence[str],
        main: Columns,
        pieces: Sequence[Columns] = (),
        orders: dict[tuple[str, ...], Column] | None = None,
    ) -> None:
        """`main` is in order. `pieces`: what waits behind it, each by position. `orders`: other orders of `main` that
        were found before."""
        self._keys = keys
        self._main = main
        self._pieces = pieces
        self._orders: dict[tuple[str, ...], Column] = {} if orders is None else orders
        self._sieve: Column | None = None

    def __len__(self) -> int:
        return length(self._main) + sum(map(length, self._pieces))

    @property
    def octets(self) -> int:
        merged = self.__dict__.get("whole", {}) if self._pieces else {}
        waiting = [column for each in self._pieces for column in each.values()]
        columns = [*self._main.values(), *waiting, *self._orders.values(), *merged.values()]
        if self._sieve is not None:
            columns.append(self._sieve)
        return sum(column.nbytes for column in columns)

    @property
    def parts(self) -> Sequence[Columns]:
        """All of them, in parts that are not put together, in no order."""
        return (self._main, *self._pieces)

    def sort_by(self, *columns: str) -> None:
        """Find the orders by these now, which would be found when they are needed."""
        for column in columns:
            self._order(column)

    def plus(self, columns: Columns | None, more_follows: bool = False) -> "Rows":
        """These and new ones. If more follows at once, the new ones wait for it behind the sorted ones."""
        pieces = self._pieces
        if columns is not None and length(columns):
            new = {name: columns[name].astype(each.dtype, copy=False) for name, each in self._main.items()}
            pieces = (*pieces, _by_position(new))
        if not more_follows and pieces:
            if sum(map(length, pieces)) > max(TAIL_ROWS_MIN, length(self._main) // TAIL_SHARE):
                return Rows(self._keys, self.merged(self._main, *pieces))
            pieces = (_by_position(joined(*pieces)),) if pieces is not self._pieces or len(pieces) > 1 else pieces
        return self if pieces is self._pieces else Rows(self._keys, self._main, pieces, self._orders)

    def retracted(self, until: Mapping[int, int]) -> "Rows":
        """The same where what was said at some positions holds until others."""
        if not until:
            return self
        positions = np.array(sorted(until), POSITION)
        main, *pieces = (_ended(each, rows, until) for each, rows in self._at(positions))
        return Rows(self._keys, main, pieces, self._orders)

    @cached_property
    def whole(self) -> Columns:
        """All of them, in order. It is kept: for what there is little of."""
        return self.merged(self._main, *self._pieces)

    def merged(self, rows: Columns, *others: Columns) -> Columns:
        """Some of these rows, which are in order, and some others, in order."""
        others = tuple(each for each in others if length(each))
        if not others:
            return rows
        if length(rows) + sum(map(length, others)) <= FEW_ROWS_MAX:
            both = joined(rows, *others)
            return taken(both, order(both, self._keys))
        owner = self._keys[0]
        owners = np.concatenate([each[owner] for each in others])
        size = 1 + max(_greatest(rows[owner]), _greatest(owners))
        grown = np.zeros(size, bool)
        grown[owners] = True
        counts = np.bincount(rows[owner], minlength=size)
        before = _begins(counts)
        after = _begins(counts + np.bincount(owners, minlength=size))
        # Owners that have got none keep their order; only of the others are the rows sorted.
        new = grown[rows[owner]]
        kept, mixed = np.flatnonzero(~new), np.flatnonzero(new)

        def of_the_mixed(name: str) -> Column:
            return np.concatenate([rows[name][mixed], *(each[name] for each in others)])

        put = np.lexsort([of_the_mixed(name) for name in reversed(self._keys)])
        owners, kept_owners = of_the_mixed(owner)[put], rows[owner][kept]
        places = after[owners] + np.arange(len(owners)) - np.searchsorted(owners, owners)
        kept_places = kept - before[kept_owners] + after[kept_owners]
        merged = {}
        # One column after the other: what they take besides is as much as one of them.
        for name, column in rows.items():
            merged[name] = np.empty(len(kept) + len(put), column.dtype)
            merged[name][kept_places] = column[kept]
            merged[name][places] = of_the_mixed(name)[put]
        return merged

    def counts(self, owners: Column) -> Column:
        """How many rows each of these has, without those that wait."""
        begins = self._stretches(self._keys[0])
        first, last = (begins[np.minimum(each, len(begins) - 1)] for each in (owners, owners + 1))
        found: Column = last - first
        return found

    def having(self, column: str, values: Column) -> Columns:
        """The rows that have one of these values, in order. `values` are sorted, each once."""
        found = self._main[column]
        by = None if column == self._keys[0] else self._order(column)
        if found.dtype == _CODE:
            # Of each number is known where its rows begin, so nothing is searched.
            begins = self._stretches(column)
            if len(values) == 1:
                return self._having(column, int(values[0]), by, begins)
            here = np.minimum(values, len(begins) - 2)
            rows = spans(begins[here], np.where(here == values, begins[here + 1], begins[here]))
        else:
            first, last = (_searched(found, values, side, by) for side in _SIDES)
            rows = spans(first, last)
        rows = rows if by is None else np.sort(by[rows])
        waiting = (taken(each, np.flatnonzero(is_among(each[column], values))) for each in self._pieces)
        return self.merged(taken(self._main, rows), *waiting)

    def _having(self, column: str, value: int, by: Column | None, begins: Column) -> Columns:
        """The rows that have one number, which lie side by side: nothing is put together where nothing waits."""
        here = slice(*begins[value : value + 2].tolist()) if value < len(begins) - 1 else slice(0, 0)
        rows = np.arange(here.start, here.stop) if by is None else np.sort(by[here])
        waiting = (taken(each, np.flatnonzero(each[column] == value)) for each in self._pieces)
        return self.merged(taken(self._main, rows), *waiting)

    def may_have(self, column: str, values: Column) -> Column:
        """Which of these values a row may have: of those that none has, a sieve lets few through. It is kept, and
        always of the same column, which is of digests."""
        if self._sieve is None:
            sieve = np.zeros(1 << SIEVE_BITS, bool)
            for part in self.parts:
                sieve[(part[column] & _SIEVED).astype(np.int64)] = True
            self._sieve = sieve  # Other threads may look through it from now on, so it is whole.
        found: Column = self._sieve[(values & _SIEVED).astype(np.int64)]
        return found

    def between(self, after: int, upto: int) -> Columns:
        """The rows that were recorded after one position and up to another, in no order."""
        by, ends = self._order("position"), np.array([after, upto], POSITION)
        first, last = (
            bisect_right(by.data, each, key=self._main["position"].data.__getitem__) for each in (after, upto)
        )
        found = taken(self._main, by[first:last])
        for each in self._pieces:
            waiting = slice(*np.searchsorted(each["position"], ends, "right").tolist())
            found = joined(found, {name: column[waiting] for name, column in each.items()})
        return found

    def last_positions(self, owner: str, size: int, p: int) -> Column:
        """For each of the numbers below `size` the last position, as known at p, of a row that has it; 0 if none."""
        by = self._order(owner, "position")
        owners, position, until = (self._main[name] for name in (owner, "position", "until"))
        last = np.zeros(size, np.int64)
        # The order is by owner, and by position within one; so what is sought is the last of a stretch.
        key = (owner, "position", _KEY)
        if key not in self._orders:
            self._orders[key] = (owners.astype(np.int64)[by] << POSITION_BITS) | position[by]
        keys, wanted = self._orders[key], np.arange(size, dtype=np.int64)
        at = np.searchsorted(keys, (wanted << POSITION_BITS) | p, "right") - 1
        while len(wanted):
            there = (at >= 0) & (keys[np.maximum(at, 0)] >> POSITION_BITS == wanted) if len(keys) else at > at
            wanted, at = wanted[there], at[there]
            stands = until[by[at]] > p
            last[wanted[stands]] = position[by[at[stands]]]
            wanted, at = wanted[~stands], at[~stands] - 1
        for each in self._pieces:
            waiting = known(each, p)
            np.maximum.at(last, waiting[owner], waiting["position"])
        return last

    def said_last(self, owners: Column, kind: int, p: int, t: int) -> tuple[Column, Columns]:
        """Of each of these owners, which are sorted, what was said last of one kind by t, as known at p: the owner's
        number among them, and the row. The keys are owner, kind, valid, position. What waits comes after that, so of
        an owner there may be several."""
        owner, of_kind, *_ = self._keys
        main, begins = self._main, self._stretches(owner)
        here = np.minimum(owners, len(begins) - 2)
        first, end = begins[here], np.where(here == owners, begins[here + 1], begins[here])
        last = _behind(main, (of_kind, "valid"), (kind, t), first, end) - 1
        found = np.flatnonzero(last >= first)
        found = found[main[of_kind][last[found]] == kind]
        rows = last[found]
        stands = (main["position"][rows] <= p) & (main["until"][rows] > p)
        if not stands.all():
            # What stands lies before what came to be known later, or was retracted: mostly few rows.
            others, upto = found[~stands], rows[~stands]
            since = _behind(main, (of_kind,), (kind - 1,), first[others], upto)
            before, number = spans(since, upto), np.repeat(others, upto - since)
            known_then = np.flatnonzero((main["position"][before] <= p) & (main["until"][before] > p))
            before, number = before[known_then], number[known_then]
            ends = np.append(begin_anew(number)[1:], True)[: len(number)]
            found = np.concatenate([found[stands], number[ends]])
            rows = np.concatenate([rows[stands], before[ends]])
        said = taken(main, rows)
        for each in self._pieces:
            is_said = (each[of_kind] == kind) & (each["valid"] <= t) & holds(each, p) & is_among(each[owner], owners)
            if is_said.any():
                waiting = taken(each, np.flatnonzero(is_said))
                found = np.concatenate([found, np.searchsorted(owners, waiting[owner])])
                said = joined(said, waiting)
        return found, said

    def are_there(self, owner: str, size: int, p: int) -> Column:
        """For each of the numbers below `size` whether a row that has it is known at p."""
        by, begins = self._order(owner, "position"), self._stretches(owner)
        position, until = self._main["position"], self._main["until"]
        there = np.zeros(size, bool)
        firsts, said = self._firsts(owner)
        is_by = said[:size] <= p
        there[: len(is_by)] = is_by
        # Mostly the first that was said of one has not been retracted.
        wanted = np.flatnonzero(is_by & (until[firsts[:size]] <= p)) if len(self._main["until"]) else firsts[:0]
        there[wanted] = False
        at, end = begins[wanted] + 1, begins[wanted + 1]
        while len(wanted):
            is_left = at < end
            wanted, at, end = wanted[is_left], at[is_left], end[is_left]
            rows = by[at]
            is_by = position[rows] <= p
            there[wanted[is_by & (until[rows] > p)]] = True
            wanted, at, end = (each[is_by & (until[rows] <= p)] for each in (wanted, at + 1, end))
        for each in self._pieces:
            there[each[owner][holds(each, p)]] = True
        return there

    def _firsts(self, owner: str) -> tuple[Column, Column]:
        """Of each number the row that was recorded first, and where; FOREVER where it has none. They are kept."""
        key, said = (owner, "first"), (owner, "first", "position")
        if said not in self._orders:
            begins, position = self._stretches(owner), self._main["position"]
            has = begins[1:] > begins[:-1]
            firsts, positions = np.zeros(len(has), np.int32), np.full(len(has), FOREVER, POSITION)
            firsts[has] = self._order(owner, "position")[begins[:-1][has]]
            positions[has] = position[firsts[has]]
            self._orders[key], self._orders[said] = firsts, positions
        return self._orders[key], self._orders[said]

    def _at(self, positions: Column) -> Iterator[tuple[Columns, Column]]:
        """Each part, with its rows that were recorded at these positions, each of which is there once."""
        for part in self.parts:
            by = self._order("position") if part is self._main else None
            first, last = (_searched(part["position"], positions, side, by) for side in _SIDES)
            rows = spans(first, last)
            yield part, rows if by is None else by[rows]

    def _stretches(self, column: str) -> Column:
        """Where the rows of each value of a column begin among those in its order, and where the last ones end. It is
        kept."""
        key = (column, _BEGINS)
        if key not in self._orders:
            counts = np.bincount(self._main[column], minlength=1)
            self._orders[key] = _begins(counts).astype(np.int32)
        return self._orders[key]

    def _order(self, *keys: str) -> Column:
        if keys not in self._orders:
            self._orders[keys] = order(self._main, keys).astype(np.int32)
        return self._orders[keys]


def empty(**types: Any) -> Columns:
    """Columns of these types without a row."""
    return {name: np.empty(0, type) for name, type in types.items()}


def length(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def taken(columns: Columns, rows: Column) -> Columns:
    return {name: column[rows] for name, column in columns.items()}


def joined(first: Columns, *others: Columns) -> Columns:
    """All rows of these, in the types of the first."""
    if not others:
        return first
    return {
        name: np.concatenate([column, *(each[name].astype(column.dtype, copy=False) for each in others)])
        for name, column in first.items()
    }


def order(columns: Columns, keys: Sequence[str]) -> Column:
    """The rows in the order of these columns."""
    if len(keys) == 1:
        return np.argsort(columns[keys[0]], kind="stable")
    return np.lexsort([columns[key] for key in reversed(keys)])


def spans(first: Column, last: Column) -> Column:
    """The numbers from each of `first` to below that of `last`, one after the other."""
    counts = last - first
    return np.repeat(first - _begins(counts)[:-1], counts) + np.arange(counts.sum())


def is_among(column: Column, values: Column) -> Column:
    """Which of a column are one of the values. `values` are sorted."""
    if not len(values):
        return np.zeros(len(column), bool)
    at = np.searchsorted(values, column)
    found: Column = values[np.minimum(at, len(values) - 1)] == column
    return found


def holds(columns: Columns, p: int) -> Column:
    """Which rows are known at p."""
    found: Column = (columns["position"] <= p) & (columns["until"] > p)
    return found


def known(columns: Columns, p: int) -> Columns:
    """The rows that are known at p."""
    here = holds(columns, p)
    return columns if here.all() else taken(columns, np.flatnonzero(here))


def begin_anew(*columns: Column) -> Column:
    """Where a row differs from the one before it in one of the columns; the first row does."""
    anew = np.ones(len(columns[0]), bool)
    if len(anew):
        anew[1:] = columns[0][1:] != columns[0][:-1]
        for column in columns[1:]:
            anew[1:] |= column[1:] != column[:-1]
    return anew


def sums(at: Column, amounts: Column, size: int) -> Column:
    """The sums of whole numbers by their places, exactly."""
    if np.abs(amounts).sum(dtype=np.float64) < _EXACT_MAX:
        return np.bincount(at, amounts, size).astype(np.int64)
    summed = np.zeros(size, np.int64)
    np.add.at(summed, at, amounts)
    return summed


def numbered(accounts: Column) -> tuple[Column, Column]:
    """Which accounts occur, sorted, and the number of each among them."""
    if len(accounts) > 1 and (accounts[1:] >= accounts[:-1]).all():
        anew = begin_anew(accounts)
        return accounts[anew], np.cumsum(anew) - 1
    found, number = np.unique(accounts, return_inverse=True)
    return found, number


def digest(ask: str) -> bytes:
    """The 16 octets by which an ask's id is known: the first of its SHA-256."""
    return sha256(ask.encode()).digest()[:DIGEST_OCTETS]


def halves(digest: bytes) -> tuple[int, int]:
    """A digest as (high, low)."""
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")


def microseconds(time: datetime) -> int:
    return (time - _EPOCH) // _MICROSECOND


def moment(microseconds: int) -> datetime:
    return _EPOCH + microseconds * _MICROSECOND


def times_of(valid: Sequence[int] | Column, position: Sequence[int] | Column) -> dict[str, Column]:
    """The columns of rows that are about a time, and hold until they are retracted."""
    return {
        "valid": np.array(valid, np.int64),
        **held_from(position),
    }


def held_from(position: Sequence[int] | Column) -> dict[str, Column]:
    """The columns of rows that hold from their positions on, until they are retracted."""
    return {"position": np.array(position, POSITION), "until": np.full(len(position), FOREVER, POSITION)}


def day_number(day: date) -> int:
    return day.toordinal() - _EPOCH_DAY


def limbs(millionths: int) -> tuple[int, int]:
    """An amount as (high, low)."""
    return millionths >> LIMB_BITS, millionths & ((1 << LIMB_BITS) - 1)


def join_limbs(high: int, low: int) -> int:
    return (high << LIMB_BITS) + low


def _begins(counts: Column) -> Column:
    """Where each stretch begins, and where the last one ends."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


def _greatest(column: Column) -> int:
    return int(column.max(initial=-1))


def _searched(column: Column, values: Column, side: _Side, by: Column | None) -> Column:
    """As numpy.searchsorted, which for few values would first make 64-bit numbers of the whole of `by`."""
    if by is None or len(values) * _FEW_SHARE > len(by):
        return np.searchsorted(column, values, side, sorter=by)
    low, high = np.zeros(len(values), np.int64), np.full(len(values), len(by), np.int64)
    while (searching := low < high).any():
        middle = (low + high) // 2
        found = column[by[np.minimum(middle, len(by) - 1)]]
        is_before = searching & (found < values if side == "left" else found <= values)
        low, high = np.where(is_before, middle + 1, low), np.where(searching & ~is_before, middle, high)
    return low


def _behind(columns: Columns, keys: Sequence[str], values: Sequence[int], first: Column, end: Column) -> Column:
    """Where in each of these stretches, in which the rows are in the order of the keys, those end that are not behind
    these values: by halves, all at once."""
    low, high = first, end
    while (searching := low < high).any():
        middle = np.minimum((low + high) // 2, length(columns) - 1)
        is_by = np.ones(len(middle), bool)
        for key, value in reversed([*zip(keys, values, strict=True)]):
            found = columns[key][middle]
            is_by = (found < value) | ((found == value) & is_by)
        low, high = np.where(searching & is_by, middle + 1, low), np.where(searching & ~is_by, middle, high)
    return low


def _by_position(columns: Columns) -> Columns:
    position = columns["position"]
    return columns if (position[1:] >= position[:-1]).all() else taken(columns, order(columns, ["position"]))


def _ended(columns: Columns, rows: Column, until: Mapping[int, int]) -> Columns:
    """The columns, where these rows hold until what is said of their positions."""
    if not len(rows):
        return columns
    ended = columns["until"].copy()
    ended[rows] = [until[position] for position in columns["position"][rows].tolist()]
    return {**columns, "until": ended}
