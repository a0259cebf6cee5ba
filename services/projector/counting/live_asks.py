"""The asks that stand, of all accounts at once: exactly those that lenses.live_asks has. Pure."""

from collections.abc import Iterable, Sequence

import numpy as np
from msgspec import Struct

from services.projector.counting.columns import (
    Column,
    Columns,
    begin_anew,
    digest,
    halves,
    is_among,
    known,
    length,
    spans,
    taken,
)
from services.projector.counting.counted import Counted, blocks
from services.projector.counting.naming import Naming
from services.projector.judgement.resolution import Reach

_CODE_BITS = 32


class Live(Struct, frozen=True):
    """The asks that stand, a row each: by account, then by requirement. `asked` and `asked_at` are of the first
    recording, `said_at` is the position of the last."""

    account: Column
    requirement: Column
    importance: Column
    asked: Column
    asked_at: Column
    said_at: Column
    begins: Column
    """Where the asks of another account or for another requirement begin."""

    def __len__(self) -> int:
        return len(self.account)

    def at(self, rows: Column) -> "Live":
        """Some of the rows."""
        return Live(*(getattr(self, name)[rows] for name in self.__struct_fields__))


class Sought(Struct, frozen=True):
    """Which asks are looked at: those of `accounts` only for what `pairs` say, those of others for whatever they are.

    Accounts and requirements are roots; `pairs` has account and requirement in one number. Both are sorted.
    """

    accounts: Column
    pairs: Column

    def among(self, naming: Naming, account: Column, place: Column) -> Column:
        """Which of these rows are looked at, by the roots of their accounts and where their asks are."""
        found: Column = is_among(pair_of(account, naming.merged_of(place)), self.pairs)
        return found | ~is_among(account, self.accounts)


def pair_of(account: Column, requirement: Column) -> Column:
    """An account and a requirement as one number."""
    found: Column = account.astype(np.int64) << _CODE_BITS | requirement
    return found


def live(
    counted: Counted,
    p: int,
    *,
    t: int | None = None,
    names: Column | None = None,
    sought: Sought | None = None,
    reach: Reach | None = None,
) -> Live:
    """The asks that stood at t, as known at p: of all, of the accounts of these names (and of these what is sought), or
    within reach. Which those are is said at lenses.live_asks."""
    if reach is not None:
        return _live(counted, _within(counted, reach), p, t)
    return gathered(
        _live(counted, counted.asks.having("account", block.names), p, t, sought) for block in blocks(counted, p, names)
    )


def gathered(blocks: Iterable[Live]) -> Live:
    """The asks of all blocks, which come one after the other."""
    parts = [[getattr(each, name) for name in Live.__struct_fields__] for each in blocks]
    if len(parts) == 1:
        return Live(*parts[0])
    columns = [*map(list, zip(*parts, strict=True))]
    parts.clear()
    # The parts of one column are let go before those of the next are put together.
    return Live(*(np.concatenate(columns.pop(0)) for _ in Live.__struct_fields__))


def most_important(asks: Live) -> Column:
    """Of each account and requirement the ask of highest importance; of equals the one that was first asked last."""
    return last_of_each(asks, (asks.asked_at, asks.asked, asks.importance))


def _live(counted: Counted, rows: Columns, p: int, t: int | None, sought: Sought | None = None) -> Live:
    """Those of these recordings that stand: all there are of some accounts, or of some asks. Of what is sought only, if
    anything is."""
    rows = _by(known(rows, p), t)
    naming = counted.naming(p)
    account = rows["account"]
    requirement = place = rows["requirement"]
    mixed = np.zeros(len(account), bool)
    if length(naming.accounts):
        account = naming.roots_of(account)
        mixed |= naming.are_several(account)
    if length(naming.moved):
        place, is_moved = naming.places(rows)
        mixed |= is_moved
    if sought is not None:
        here = np.flatnonzero(sought.among(naming, account, place))
        rows, account, place, mixed = taken(rows, here), account[here], place[here], mixed[here]
        requirement = rows["requirement"]
    if mixed.any():
        # Only where names or places have changed may what is one ask lie apart.
        put = np.concatenate([np.flatnonzero(~mixed), _together(rows, account, place, np.flatnonzero(mixed))])
        rows = taken(rows, put)
        account, place, requirement = account[put], place[put], requirement[put]
    if not len(account):
        return _ordered(
            counted, account, place, *(rows[name] for name in ("importance", "valid", "position", "position"))
        )

    anew = begin_anew(account, place, rows["low"], rows["high"])
    first = np.flatnonzero(anew)
    last = np.append(first[1:], len(anew)) - 1
    roots = naming.merged(counted.width)
    stands = _stands(counted, rows, place, anew, first, last, roots, naming, p, t)
    first, last = first[stands], last[stands]
    return _ordered(
        counted,
        account[first],
        roots[place[first]],
        rows["importance"][last],
        rows["valid"][first],
        rows["position"][first],
        rows["position"][last],
    )


def _together(rows: Columns, account: Column, place: Column, apart: Column) -> Column:
    """Some rows so that what was said of one ask comes one after the other, as it was said. What one name has said on
    one requirement is in order: so only of what several have is more looked at, step by step."""
    put, mixed = apart.copy(), np.arange(len(apart))
    keys: tuple[Column, ...] = ()
    for more in ((account, place), (rows["high"],), (rows["low"], rows["valid"], rows["position"])):
        keys = (*keys, *more)
        theirs = put[mixed]
        theirs = theirs[np.lexsort([key[theirs] for key in reversed(keys)])]
        put[mixed] = theirs
        anew = begin_anew(*(key[theirs] for key in keys))
        by_another = begin_anew(rows["account"][theirs], rows["requirement"][theirs])
        number = np.cumsum(anew) - 1
        are_several = np.zeros(len(theirs), bool)
        are_several[number[by_another & ~anew]] = True
        mixed = mixed[are_several[number]]
    return put


def _by(rows: Columns, t: int | None) -> Columns:
    return rows if t is None else taken(rows, np.flatnonzero(rows["valid"] <= t))


def _within(counted: Counted, reach: Reach) -> Columns:
    """The recordings of asks that are within reach."""
    rows = counted.asks.having("requirement", np.unique(counted.codes_of(reach.requirements)))
    if not reach.asks:
        return rows
    # Of an id that was moved, the recordings elsewhere come to no more rows than these.
    lows = np.unique(np.array([halves(digest(ask))[1] for _, ask in reach.asks], np.uint64))
    others = counted.asks.having("low", lows)
    places = np.unique(counted.codes_of(name for name, _ in reach.asks))
    others = taken(others, np.flatnonzero(is_among(others["requirement"], places)))
    others = taken(others, np.flatnonzero(~is_among(others["position"], np.sort(rows["position"]))))
    return counted.asks.merged(rows, others)


def _ordered(
    counted: Counted,
    account: Column,
    requirement: Column,
    importance: Column,
    asked: Column,
    asked_at: Column,
    said_at: Column,
) -> Live:
    size = max(1, counted.width)
    key = account.astype(np.int64) * size + requirement
    if len(key) > 1 and (key[1:] < key[:-1]).any():
        put = np.argsort(key, kind="stable")
        key, account, requirement = key[put], account[put], requirement[put]
        importance, asked, asked_at, said_at = importance[put], asked[put], asked_at[put], said_at[put]
    return Live(account, requirement, importance, asked, asked_at, said_at, begin_anew(key))


def _stands(
    counted: Counted,
    rows: Columns,
    place: Column,
    anew: Column,
    first: Column,
    last: Column,
    roots: Column,
    naming: Naming,
    p: int,
    t: int | None,
) -> Column:
    """Which asks have not been withdrawn. `first` and `last`: the first and the last row of each."""
    stands = np.ones(len(first), bool)
    # Most ids were never withdrawn.
    some = np.flatnonzero(counted.withdrawals.may_have("low", rows["low"]))
    if not len(some):
        return stands
    withdrawn = _by(known(counted.withdrawals.having("low", np.unique(rows["low"][some])), p), t)
    if not length(withdrawn):
        return stands

    asks = (np.cumsum(anew) - 1)[some]
    said = taken({name: rows[name] for name in ("requirement", "high", "low")}, some)
    # An ask that was recorded on the requirement that a withdrawal names is meant by it.
    id, end_id = _same(said, withdrawn, ("low", "high", "requirement"))
    meant_ask, meant_end = _matched(id, asks, end_id)
    if length(naming.requirements) or length(naming.moved):
        is_meant = np.zeros(length(withdrawn), bool)
        is_meant[meant_end] = True
        others = np.flatnonzero(~is_meant)
        id, end_id = _same(said, taken(withdrawn, others), ("low", "high"))
        ask, end = _matched(id, asks, end_id)
        end = others[end]
        # If none was, those that are there; if none is, those that are for what it is part of.
        recorded, there = _recorded_or_there(counted, withdrawn, np.unique(end), naming, p, t)
        is_there = place[first[ask]] == withdrawn["requirement"][end]
        is_near = roots[place[first[ask]]] == roots[withdrawn["requirement"][end]]
        is_meant_so = ~recorded[end] & (is_there | (~there[end] & is_near))
        meant_ask = np.concatenate([meant_ask, ask[is_meant_so]])
        meant_end = np.concatenate([meant_end, end[is_meant_so]])
    valid, position = withdrawn["valid"][meant_end], withdrawn["position"][meant_end]
    said_last = last[meant_ask]
    ends = (valid > rows["valid"][said_last]) | (
        (valid == rows["valid"][said_last]) & (position > rows["position"][said_last])
    )
    stands[meant_ask[ends]] = False
    return stands


def _recorded_or_there(
    counted: Counted, withdrawn: Columns, some: Column, naming: Naming, p: int, t: int | None
) -> tuple[Column, Column]:
    """Whether anybody's ask of the same id was recorded on the requirement that a withdrawal names, and whether one is
    there; of some withdrawals."""
    recorded, there = np.zeros(length(withdrawn), bool), np.zeros(length(withdrawn), bool)
    ends = taken(withdrawn, some)
    rows = _by(known(counted.asks.having("low", np.unique(ends["low"])), p), t)
    places, _ = naming.places(rows)
    for found, requirement in ((recorded, rows["requirement"]), (there, places)):
        id, end_id = _same({**rows, "requirement": requirement}, ends, ("low", "high", "requirement"))
        found[some] = np.isin(end_id, id)
    return recorded, there


def _same(first: Columns, second: Columns, names: Sequence[str]) -> tuple[Column, Column]:
    """Numbers that are the same where these columns are, of the rows of both."""
    columns = [np.concatenate([first[name], second[name]]) for name in names]
    put = np.lexsort(columns)
    number = np.empty(len(put), np.int64)
    number[put] = np.cumsum(begin_anew(*(column[put] for column in columns))) - 1 if len(put) else 0
    return number[: length(first)], number[length(first) :]


def _matched(id: Column, asks: Column, end_id: Column) -> tuple[Column, Column]:
    """Each ask with each withdrawal that has its id, by their numbers, each once."""
    put = np.argsort(end_id, kind="stable")
    begin, end = (np.searchsorted(end_id, id, side, sorter=put) for side in ("left", "right"))
    ask, number = np.repeat(asks, end - begin), put[spans(begin, end)]
    pairs = np.unique(np.stack([ask, number]), axis=1)
    return pairs[0], pairs[1]


def last_of_each(asks: Live, keys: Sequence[Column]) -> Column:
    """Of each account and requirement the row that comes last by these keys, the last of which counts most."""
    begin = np.flatnonzero(asks.begins) if len(asks) else np.empty(0, np.int64)
    counts = np.diff(np.append(begin, len(asks)))
    several = counts > 1
    chosen = begin.copy()
    if several.any():
        rows = spans(begin[several], begin[several] + counts[several])
        pair = np.repeat(np.flatnonzero(several), counts[several])
        put = np.lexsort([*(key[rows] for key in keys), pair])
        ends = np.cumsum(counts[several]) - 1
        chosen[several] = rows[put][ends]
    return chosen
