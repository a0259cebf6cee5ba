"""Which names stand for the same account or requirement, and for which requirement an ask is, as known at a position.

Pure. Nothing is stored resolved: an alias may be used long before anybody says whose it is.

A name stands for its root. Merges are acts, and they decide: the last one at or below the position says where a name
belongs, and their rule allows no circle. An alias that no act has settled belongs to the account that claims it.
Claims are observations and come in any order, so nothing depends on theirs:

- An alias that several accounts claim is contested, and belongs to none of them, unless they are one by other ways.
  So an alias never joins two accounts by itself; merging either them or the alias is an act.
- A name that an act has told apart stands by itself, whoever claims it.
- Where claims make a circle, the first name in the order of text is the root.

What was known only later does not count: names are resolved by position, whatever time an answer is about. That two
names are of one company is no more true today than it was when it was not known.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from datetime import datetime
from functools import cached_property
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

NAMES_KEPT_MAX = 500_000
"""In all that is kept of what names come to at positions that were asked about: some 40 MB."""


class Claim(NamedTuple):
    """An account says that an alias is its own. `until`: the position at which that was retracted."""

    position: int
    valid_from: datetime
    account: str
    alias: str
    until: int | None = None


class Unclaim(NamedTuple):
    """An account says no more that an alias is its own: all that said so has been retracted."""

    position: int
    valid_from: datetime
    account: str
    alias: str


class Merge(NamedTuple):
    """A name is merged into another; without `into`, it stands by itself again."""

    position: int
    valid_from: datetime
    name: str
    into: str | None


Said = Merge | Claim | Unclaim


class Move(NamedTuple):
    """An ask that was recorded on `requirement` is for `to`."""

    position: int
    valid_from: datetime
    requirement: str
    ask: str
    to: str


class Change(NamedTuple):
    """The last event, after one position and up to another, by which a name came to stand for something else.

    `retracted`: it took back what had been said.
    """

    position: int
    valid_from: datetime
    retracted: bool = False


class _State(Struct, frozen=True):
    """What the names of one component come to: name → what it is part of, name → root, root → names, contested alias →
    who claims it."""

    parents: Mapping[str, str]
    roots: Mapping[str, str]
    members: Mapping[str, tuple[str, ...]]
    contested: Mapping[str, tuple[str, ...]]


class Resolution:
    """The names of one kind. A name that nothing was said about stands for itself."""

    def __init__(self, merges: Iterable[Merge] = (), claims: Iterable[Claim] = ()) -> None:
        said: list[Said] = [*merges, *_claimed(claims)]
        said.sort(key=lambda each: each.position)
        self._components = _components(said)
        self._said: dict[int, list[Said]] = {}
        for each in said:
            self._said.setdefault(self._components[_names_in(each)[0]], []).append(each)
        self._positions = {component: [each.position for each in edges] for component, edges in self._said.items()}
        self._order = [(each.position, self._components[_names_in(each)[0]]) for each in said]
        self._states: dict[tuple[int, int], _State] = {}
        self._names_kept = 0

    def __eq__(self, other: object) -> bool:
        """Whether the same was said."""
        return isinstance(other, Resolution) and self._all() == other._all()

    __hash__ = None  # type: ignore[assignment]  # Nobody looks for what was said of all names at once.

    def root(self, name: str, p: int) -> str:
        """What a name stands for, as known at p."""
        state = self._state(name, p)
        return name if state is None else state.roots[name]

    def into(self, name: str, p: int) -> str | None:
        """What a name was merged into, or whose alias it is; None if it stands for itself."""
        state = self._state(name, p)
        return None if state is None else state.parents.get(name)

    def members(self, name: str, p: int) -> tuple[str, ...]:
        """Every name that stands for the same, itself and the root included, in the order of text."""
        state = self._state(name, p)
        return (name,) if state is None else state.members[state.roots[name]]

    def contested(self, name: str, p: int) -> tuple[str, ...]:
        """The accounts that claim a name which belongs to none of them: several do, or an act has told it apart."""
        state = self._state(name, p)
        return () if state is None else state.contested.get(name, ())

    def related(self, names: Iterable[str]) -> set[str]:
        """These names, and every one that stands for the same as one of them at some position."""
        found = set(names)
        components = {self._components[name] for name in found if name in self._components}
        for component in components:
            for each in self._said[component]:
                found.update(_names_in(each))
        return found

    def roots(self, p: int) -> dict[str, str]:
        """Every name that stands for another, and its root."""
        return {name: root for name, root in self.roots_anew(p, 0).items() if name != root}

    def roots_anew(self, p: int, other: int) -> Mapping[str, str]:
        """Name → root, as known at p, of every name that may stand for something else at another position."""
        roots: dict[str, str] = {}
        for component in {component for _, component in self._between(*sorted((p, other)))}:
            roots |= self._state_of(component, self._said[component], p).roots
        return roots

    def names(self) -> Set[str]:
        """The names of which anything was said."""
        return self._components.keys()

    def first_named(self) -> dict[str, int]:
        """Name → where anything was first said of it."""
        found: dict[str, int] = {}
        for edges in self._said.values():
            for each in edges:
                for name in _names_in(each):
                    found.setdefault(name, each.position)
        return found

    def positions(self) -> set[int]:
        """Where anything was said."""
        return {position for positions in self._positions.values() for position in positions}

    def named_between(self, after: int, upto: int) -> set[str]:
        """The names of which anything was said in between."""
        return {
            name
            for component in {component for _, component in self._between(after, upto)}
            for number in range(
                bisect_right(self._positions[component], after), bisect_right(self._positions[component], upto)
            )
            for name in _names_in(self._said[component][number])
        }

    def changed(self, name: str, after: int, upto: int) -> Change | None:
        """The last event in between that changed what counts for a name; None if that is the same."""
        if name not in self._components or self.members(name, after) == self.members(name, upto):
            return None
        edges = self._said[self._components[name]]
        there = self.members(name, upto)
        for number in range(len(edges) - 1, -1, -1):
            each = edges[number]
            if after < each.position <= upto and self.members(name, each.position - 1) != there:
                return Change(each.position, each.valid_from, isinstance(each, Unclaim))
        return None

    def _between(self, after: int, upto: int) -> Sequence[tuple[int, int]]:
        """Where something was said in between, and of the names of which component."""
        first, last = (bisect_right(self._order, each, key=itemgetter(0)) for each in (after, upto))
        return self._order[first:last]

    def _all(self) -> set[tuple[Any, ...]]:
        """All that was said, of each kind."""
        return {(type(each), *each) for edges in self._said.values() for each in edges}

    def _state(self, name: str, p: int) -> _State | None:
        component = self._components.get(name)
        return None if component is None else self._state_of(component, self._said[component], p)

    def _state_of(self, component: int, edges: Sequence[Said], p: int) -> _State:
        known = bisect_right(self._positions[component], p)
        state = self._states.get((component, known))
        if state is None:
            names = {name for each in edges for name in _names_in(each)}
            state = _settle(names, edges[:known])
            self._names_kept += len(names)
            if self._names_kept > NAMES_KEPT_MAX:
                self._states.clear()
                self._names_kept = len(names)
            self._states[component, known] = state
        return state


class Reach(Struct, frozen=True):
    """Where something may have been said that bears on some asks: whatever was said on these requirements, and beside
    that what was said of one ask on one requirement."""

    requirements: frozenset[str]
    asks: frozenset[tuple[str, str]]
    """Requirement and the ask's id."""


class Lineage(Struct, frozen=True, dict=True):
    """Accounts, requirements and asks, each by what it counts for. `moves`: ask → its moves, by position."""

    accounts: Resolution = msgspec.field(default_factory=Resolution)
    requirements: Resolution = msgspec.field(default_factory=Resolution)
    moves: Mapping[str, Sequence[Move]] = {}

    def requirement(self, recorded_on: str, ask: str, p: int) -> str:
        """The requirement that an ask is for: where it was moved to, or what that was merged into."""
        return self.requirements.root(self.place(recorded_on, ask, p), p)

    def places(self, p: int) -> dict[tuple[str, str], str]:
        """Each ask that is not where it was recorded, by that requirement and its id, and where it is."""
        return {each: place for each, place in self.places_anew(p, 0).items() if place != each[0]}

    def places_anew(self, p: int, other: int) -> dict[tuple[str, str], str]:
        """Where each ask is, as known at p, that may be elsewhere at another position."""
        asks = self.moved_between(*sorted((p, other)))
        recorded = {(move.requirement, ask) for ask in asks for move in self.moves[ask]}
        return {each: self.place(*each, p) for each in recorded}

    def moved_between(self, after: int, upto: int) -> set[str]:
        """The asks that were moved in between."""
        first, last = (bisect_right(self._order, each, key=itemgetter(0)) for each in (after, upto))
        return {ask for _, ask in self._order[first:last]}

    def moved_from_or_to(self, requirements: Iterable[str]) -> set[str]:
        """The asks that were ever moved from or to one of these."""
        return {ask for name in requirements for ask in self._moved.get(name, ())}

    def first_named(self) -> dict[str, int]:
        """The requirements that acts have named, and where first: which are merged, and from or to which asks were
        moved."""
        found = self.requirements.first_named()
        for moves in self.moves.values():
            for move in moves:
                for name in (move.requirement, move.to):
                    found[name] = min(found.get(name, move.position), move.position)
        return found

    def positions(self) -> list[int]:
        """Where anything was said about names, merges or moves, in order."""
        return sorted(self.accounts.positions() | self.requirements.positions() | {at for at, _ in self._order})

    def related(self, requirements: Iterable[str]) -> set[str]:
        """The requirements on which something may have been said about asks that are for one of these, or were."""
        names = self.requirements.related(requirements)
        near = (move for ask in self.moved_from_or_to(names) for move in self.moves[ask])
        near = (move for move in near if move.requirement in names or move.to in names)
        return self.requirements.related(names | {name for move in near for name in (move.requirement, move.to)})

    def reach(self, requirements: Iterable[str]) -> Reach:
        """Where something may have been said about asks that are for one of these requirements, or were.

        An ask that was moved brings no others with it: of its other places only it is meant.
        """
        names = frozenset(self.requirements.related(requirements))
        moved = ((place, ask) for ask in self.moved_from_or_to(names) for place in self._places_of(self.moves[ask]))
        return Reach(names, frozenset(each for each in moved if each[0] not in names))

    def reach_of(self, asks: Iterable[tuple[str, str]]) -> Reach:
        """Where something may have been said about these asks, each by the requirement on which it was recorded."""
        places = {
            (place, ask)
            for requirement, ask in asks
            for place in self._places_of(self.moves.get(ask, ())) | self.requirements.related([requirement])
        }
        return Reach(frozenset(), frozenset(places))

    def moved(self, recorded_on: str, ask: str, after: int, upto: int) -> Change | None:
        """The last event in between by which an ask came to be for another requirement; None if it is for the same."""
        changes = [
            Change(move.position, move.valid_from)
            for move in self.moves.get(ask, ())
            if after < move.position <= upto
            and self.place(recorded_on, ask, move.position - 1) != self.place(recorded_on, ask, move.position)
        ]
        merged = self.requirements.changed(self.place(recorded_on, ask, upto), after, upto)
        return max(changes if merged is None else [*changes, merged], default=None)

    def place(self, recorded_on: str, ask: str, p: int) -> str:
        """Where an ask is, before merges."""
        moves = (move for move in reversed(self.moves.get(ask, ())) if move.requirement == recorded_on)
        return next((move.to for move in moves if move.position <= p), recorded_on)

    @cached_property
    def _order(self) -> list[tuple[int, str]]:
        """Where asks were moved, in order."""
        return sorted((move.position, ask) for ask, moves in self.moves.items() for move in moves)

    @cached_property
    def _moved(self) -> Mapping[str, set[str]]:
        """Requirement → the asks that were ever moved from or to it."""
        asks: dict[str, set[str]] = {}
        for ask, moves in self.moves.items():
            for name in {name for move in moves for name in (move.requirement, move.to)}:
                asks.setdefault(name, set()).add(ask)
        return asks

    def _places_of(self, moves: Iterable[Move]) -> set[str]:
        return self.requirements.related(name for move in moves for name in (move.requirement, move.to))


def _claimed(claims: Iterable[Claim]) -> Iterator[Claim | Unclaim]:
    """From when to when each account claims an alias. It goes on claiming it; systems say so every night."""
    by_alias: dict[tuple[str, str], list[Claim]] = {}
    for claim in claims:
        by_alias.setdefault((claim.account, claim.alias), []).append(claim)
    for said in by_alias.values():
        said.sort(key=lambda each: each.position)
        end: int | None = 0
        for claim in said:
            if end is None:
                break
            if claim.position >= end:
                if end:
                    yield Unclaim(end, claim.valid_from, claim.account, claim.alias)
                yield claim
                end = claim.until
            else:
                end = None if claim.until is None else max(end, claim.until)
        if end:
            yield Unclaim(end, said[-1].valid_from, said[-1].account, said[-1].alias)


def _names_in(said: Said) -> tuple[str, ...]:
    """The names that are connected by what was said."""
    match said:
        case Claim() | Unclaim():
            return said.account, said.alias
        case Merge():
            return (said.name,) if said.into is None else (said.name, said.into)


def _components(said: Iterable[Said]) -> dict[str, int]:
    """Name → a number that is the same for all names which are connected, at whatever position."""
    leaders: dict[str, str] = {}

    def leader(name: str) -> str:
        leaders.setdefault(name, name)
        while leaders[name] != name:
            leaders[name] = name = leaders[leaders[name]]
        return name

    for each in said:
        first, *others = _names_in(each)
        for other in others:
            leaders[leader(other)] = leader(first)
        leader(first)
    numbers: dict[str, int] = {}
    return {name: numbers.setdefault(leader(name), len(numbers)) for name in leaders}


def _settle(names: Iterable[str], said: Iterable[Said]) -> _State:
    into: dict[str, str | None] = {}
    claimed: dict[str, set[str]] = {}
    for each in said:
        match each:
            case Claim():
                claimed.setdefault(each.alias, set()).add(each.account)
            case Unclaim():
                claimed[each.alias].remove(each.account)
            case Merge():
                into[each.name] = each.into

    # What an act has settled, no claim unsettles: neither what was merged, nor what was told apart.
    every = {*names}
    parents = {name: other for name, other in into.items() if other is not None}
    merged = _ends(parents, every)
    open_ = {
        alias: targets
        for alias, by in claimed.items()
        if alias not in into and (targets := {merged[account] for account in by} - {alias})
    }
    ends = merged
    while settled := _agreed(ends, open_):
        parents.update(settled)
        _cut_circles(parents, settled)
        open_ = {alias: targets for alias, targets in open_.items() if alias not in settled}
        ends = _ends(parents, every)

    members: dict[str, list[str]] = {}
    for name in sorted(every):
        members.setdefault(ends[name], []).append(name)
    contested = {alias for alias, targets in open_.items() if len({ends[target] for target in targets}) > 1}
    contested |= {name for name, other in into.items() if other is None and claimed.get(name, set()) - {name}}
    return _State(
        parents=parents,
        roots=ends,
        members={root: tuple(found) for root, found in members.items()},
        contested={alias: tuple(sorted(claimed[alias])) for alias in contested},
    )


def _agreed(ends: Mapping[str, str], open_: Mapping[str, set[str]]) -> dict[str, str]:
    """The aliases whose claims all lead to one account, other than the alias itself."""
    settled = {}
    for alias, targets in open_.items():
        found = {ends[target] for target in targets}
        if len(found) == 1 and alias not in found:
            settled[alias] = found.pop()
    return settled


def _cut_circles(parents: dict[str, str], settled: Iterable[str]) -> None:
    """Take the first name of each circle out of it. Only what was settled just now can have closed one."""
    done: set[str] = set()
    for name in settled:
        path: dict[str, None] = {}
        while name in parents and name not in done and name not in path:
            path[name] = None
            name = parents[name]
        if name in path:
            way = [*path]
            del parents[min(way[way.index(name) :])]
        done.update(path)


def _ends(parents: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Where the way from each name ends. A circle, which no rule lets through, ends at its first name."""
    ends: dict[str, str] = {}
    for name in names:
        path: dict[str, None] = {}
        while name in parents and name not in ends and name not in path:
            path[name] = None
            name = parents[name]
        end = ends.get(name, name)
        if name in path:
            way = [*path]
            end = min(way[way.index(name) :])
        ends[name] = end
        ends.update(dict.fromkeys(path, end))
    return ends
