"""By which revision accounts are judged, and by what is known of them: as lenses.Knowledge, for many at once. Pure."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
from msgspec import Struct

from services.projector.counting.columns import (
    FOREVER,
    Codes,
    Column,
    Columns,
    begin_anew,
    is_among,
    known,
    microseconds,
    taken,
)
from services.projector.counting.counted import Counted, blocks
from services.projector.counting.naming import Naming
from services.projector.counting.scoring import (
    EXPLORATORY,
    NOTHING_KNOWN,
    OFF_TARGET,
    Scores,
    score,
)
from services.projector.judgement.fit import Revision

Lens = Literal["now", "asked"]

NOT_HERE = -1


def judge(
    counted: Counted, revision: Revision, subjects: Column, p: int, t: int, names: Column | None = None
) -> Scores:
    """How these accounts meet a revision at t, as known at p. `subjects` are sorted roots, each once."""
    profiles = latest(counted, revision.attributes, subjects, p, t, names)
    return score(revision, profiles, len(subjects), counted.values)


def latest(
    counted: Counted, attributes: Sequence[str], subjects: Column, p: int, t: int, names: Column | None = None
) -> dict[str, Column]:
    """Attribute → the value (its number) that it had at t of each of these accounts, as known at p. `subjects` are
    sorted roots, each once; `names`: all names that these go by, if they are few."""
    names = np.arange(counted.size) if names is None else names
    roots = counted.naming(p).roots_of(names)
    here = is_among(roots, subjects)
    names, subject = names[here], np.searchsorted(subjects, roots[here])
    found = {name: np.full(len(subjects), NOTHING_KNOWN, np.int32) for name in attributes}
    for name, values in found.items():
        code = counted.attributes.find(name)
        if code is not None:
            owner, said = counted.facts.said_last(names, code, p, t)
            values[subject[owner]] = said["value"]
            # Of an account of which several names, or rows that wait, say something, one of these is the last.
            several = np.flatnonzero(np.bincount(subject[owner])[subject[owner]] > 1)
            several = several[np.lexsort((said["position"][several], said["valid"][several]))]
            values[subject[owner[several]]] = said["value"][several]
    return found


def latest_of_all(counted: Counted, attributes: Sequence[str], subjects: Column, p: int) -> dict[str, Column]:
    """The same of many attributes, now: all that was ever said is gone through once, and nothing is searched."""
    found = {name: np.full(len(subjects), NOTHING_KNOWN, np.int32) for name in attributes}
    for block in blocks(counted, p):
        here = slice(*np.searchsorted(subjects, [block.first, block.end]).tolist())
        facts = Facts.read(counted, attributes, subjects[here], p, block.names)
        for name, values in found.items():
            values[here] = facts.latest(name)
    return found


class Facts(Struct, frozen=True, dict=True):
    """What is known at a position of some attributes of some accounts, which have numbers from 0 here."""

    size: int
    subject: Column
    attribute: Column
    value: Column
    valid: Column
    attributes: Codes

    @classmethod
    def read(
        cls, counted: Counted, attributes: Sequence[str], subjects: Column, p: int, names: Column | None = None
    ) -> "Facts":
        """Of these accounts, which are sorted roots. `names`: all names that these go by, if they are few."""
        rows = counted.facts.having("account", np.arange(counted.size) if names is None else names)
        # Who reads on may name attributes meanwhile: of those there is no row here.
        wanted, codes = np.zeros(counted.attributes_named, bool), map(counted.attributes.find, attributes)
        wanted[[code for code in codes if code is not None and code < len(wanted)]] = True
        naming = counted.naming(p)
        rows = known(taken(rows, np.flatnonzero(wanted[rows["attribute"]] & ~repeats(rows, [naming]))), p)
        roots = naming.roots_of(rows["account"])
        subject = np.where(is_among(roots, subjects), np.searchsorted(subjects, roots), NOT_HERE)
        mixed = is_among(roots, _of_several(roots, rows["account"])) & (subject >= 0)
        if mixed.any():
            apart = np.flatnonzero(mixed)
            keys = (rows["position"], rows["valid"], rows["attribute"], subject)
            apart = apart[np.lexsort([key[apart] for key in keys])]
            put = np.concatenate([np.flatnonzero(~mixed), apart])
            rows, subject = taken(rows, put), subject[put]
        if (subject == NOT_HERE).any():
            here = np.flatnonzero(subject >= 0)
            rows, subject = taken(rows, here), subject[here]
        return cls(len(subjects), subject, rows["attribute"], rows["value"], rows["valid"], counted.attributes)

    def latest(self, attribute: str) -> Column:
        """Each subject's value at last; the number of null where nothing is known."""
        rows = self._rows(attribute)
        found = np.full(self.size, NOTHING_KNOWN, np.int32)
        if len(rows):
            last = rows[np.append(np.flatnonzero(begin_anew(self.subject[rows])[1:]), len(rows) - 1)]
            found[self.subject[last]] = self.value[last]
        return found

    def at(self, attribute: str, subjects: Column, times: Column) -> Column:
        """The values that these subjects had at these times."""
        rows = self._rows(attribute)
        subject, valid, value = self.subject[rows], self.valid[rows], self.value[rows]
        found = np.full(len(subjects), NOTHING_KNOWN, np.int32)
        if not len(rows):
            return found
        begin, end = np.zeros(self.size, np.int64), np.zeros(self.size, np.int64)
        anew = np.flatnonzero(begin_anew(subject))
        begin[subject[anew]] = anew
        end[subject[anew]] = np.append(anew[1:], len(rows))
        low, high = begin[subjects], end[subjects]
        first = low.copy()
        # By halves, all at once: `low` is behind every row that is not later.
        while (searching := low < high).any():
            middle = (low + high) // 2
            is_by = searching & (valid[np.minimum(middle, len(rows) - 1)] <= times)
            low, high = np.where(is_by, middle + 1, low), np.where(searching & ~is_by, middle, high)
        there = np.flatnonzero(low > first)
        found[there] = value[low[there] - 1]
        return found

    def _rows(self, attribute: str) -> Column:
        code = self.attributes.find(attribute)
        return np.flatnonzero(self.attribute == (NOT_HERE if code is None else code))


def repeats(facts: Columns, namings: Iterable[Naming]) -> Column:
    """Which of these facts, in their order and all of their accounts, say once more what was said before, as systems do
    every night: without them each attribute has the same value at each time, wherever one of these namings holds."""
    account, position, until = (facts[name] for name in ("account", "position", "until"))
    anew = begin_anew(account, facts["attribute"], facts["value"]) | (until != FOREVER)
    anew[1:] |= (until[:-1] != FOREVER) | (position[1:] < position[:-1])
    for naming in namings:
        # Of an account that has facts by several names, those of another may lie in between.
        roots = naming.roots_of(account)
        several = _of_several(roots, account)
        if len(several):
            anew |= is_among(roots, several)
    found: Column = ~anew
    return found


def _of_several(roots: Column, account: Column) -> Column:
    """Of which of these accounts, by their roots, something was said by several names, which come one after the other;
    sorted."""
    found, names = np.unique(roots[begin_anew(account)], return_counts=True)
    several: Column = found[names > 1]
    return several


class Adopted:
    """The revisions that judge, as known at a position."""

    def __init__(self, counted: Counted, p: int) -> None:
        self.adopted = counted.adopted(p)
        self._from = [microseconds(each.in_force_from) for each in self.adopted]

    def number(self, t: int) -> int:
        """Which of the adoptions was in force at a time; -1: none."""
        return bisect_right(self._from, t) - 1

    def numbers(self, times: Column) -> Column:
        """The same of each of many times."""
        return np.searchsorted(np.array(self._from, np.int64), times, "right") - 1

    def revision(self, t: int) -> Revision | None:
        number = self.number(t)
        return None if number < 0 else self.adopted[number].revision

    def heed(self, class_: int, asked: int) -> int:
        """What was asked in an exploratory phase is never off target."""
        if class_ != OFF_TARGET:
            return class_
        revision = self.revision(asked)
        return EXPLORATORY if revision is not None and revision.stage == "exploratory" else class_

    def heeded(self, classes: Column, asked: Column) -> Column:
        """The same of many."""
        explores = np.array([each.revision.stage == "exploratory" for each in self.adopted] + [False])
        if not explores.any():
            return classes
        return np.where((classes == OFF_TARGET) & explores[self.numbers(asked)], EXPLORATORY, classes)
