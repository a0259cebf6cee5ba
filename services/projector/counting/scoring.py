"""Fits of many accounts at once, exactly as `fit` gives them one by one. Pure.

Each value that an attribute has is judged once, by `fit.judge` itself; what that comes to for each account is looked
up. Verdicts are 0 missed, 1 unknown, 2 met: so `all` is the least, `any` the greatest, `not` 2 minus.
"""

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any as AnyValue
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import Struct

from schemas.criteria import All, Any, Between, Eq, Gt, Gte, Lt, Lte, Ne, Not, Test
from services.projector.counting.columns import Codes, Column
from services.projector.judgement.fit import CLASSES, Revision, judge

MISSED, UNKNOWN, MET = 0, 1, 2
NOT_JUDGED = 3

ON_TARGET, OFF_TARGET, UNDETERMINED, EXPLORATORY = range(len(CLASSES))
"""The classes as numbers, as CLASSES has them."""

NOTHING_KNOWN = 0
"""The number of the value null."""

TESTS_REMEMBERED_MAX = 64
SCORES_REMEMBERED_MAX = 10_000
"""Of the profiles that were judged last, in each ledger."""
SCORE_OCTETS = 400
"""Of one with its profile, roughly."""
EXACT_MAX = 2**53  # Up to here a float64 has every whole number.

_VERDICTS = {False: MISSED, None: UNKNOWN, True: MET}


class Score(NamedTuple):
    """How one account meets a revision: members as Scores has them."""

    class_: int
    met: int
    unknown: int
    total: int


class Values(Codes):
    """The values that attributes have, as JSON texts, and what single tests come to for each of them, and revisions
    for profiles of them."""

    def __init__(self) -> None:
        super().__init__(["null"])
        self._judged: OrderedDict[bytes, Column] = OrderedDict()
        self._scores: OrderedDict[tuple[Revision, tuple[int, ...]], Score] = OrderedDict()
        self._numbers = np.empty(0)
        self._lock = Lock()

    def verdicts(self, test: AnyValue, codes: Column) -> Column:
        """What a test of one attribute comes to where that has these values."""
        key = msgspec.json.encode(test)
        with self._lock:
            table = self._judged.get(key)
            if table is None or len(table) < len(self):
                before = np.empty(0, np.int8) if table is None else table
                table = np.concatenate([before, np.full(len(self) - len(before), NOT_JUDGED, np.int8)])
                self._judged[key] = table
            self._judged.move_to_end(key)
            while len(self._judged) > TESTS_REMEMBERED_MAX:
                self._judged.popitem(last=False)
            found: Column = table[codes]
            new = found == NOT_JUDGED
            if new.any():
                self._judge(test, np.unique(codes[new]), table)
                found = table[codes]
            return found

    def scored(self, revision: Revision, profile: tuple[int, ...]) -> Score:
        """How an account meets a revision that has these values, in the order of the attributes that it looks at. The
        numbers of values stay what they are, so it is kept."""
        key = revision, profile
        found = self._scores.get(key)
        if found is None:
            columns = {name: np.array([code]) for name, code in zip(revision.attributes, profile, strict=True)}
            scores = score(revision, columns, 1, self)
            found = Score(int(scores.class_[0]), int(scores.met[0]), int(scores.unknown[0]), scores.total)
            with self._lock:
                self._scores[key] = found
                while len(self._scores) > SCORES_REMEMBERED_MAX:
                    self._scores.popitem(last=False)
        return found

    @property
    def octets(self) -> int:
        """How much room remembered scores take, roughly, in bytes."""
        return len(self._scores) * SCORE_OCTETS

    def _judge(self, test: AnyValue, codes: Column, table: Column) -> None:
        compare = _comparison(test)
        if compare is not None and len(codes) > 1:
            numbers = self._as_numbers()[codes]
            are = ~np.isnan(numbers)
            table[codes[are]] = np.where(compare(numbers[are]), MET, MISSED)
            codes = codes[~are]
        for code in codes.tolist():
            table[code] = _VERDICTS[judge(test, {test.attribute: msgspec.json.decode(self.texts[code])})]

    def _as_numbers(self) -> Column:
        """Each value as a float64 that equals it; NaN where there is none."""
        texts = self.texts[len(self._numbers) :]
        if texts:
            numbers = np.fromiter(map(_number, texts), np.float64, len(texts))
            self._numbers = np.concatenate([self._numbers, numbers])
        return self._numbers


class Scores(Struct, frozen=True):
    """How accounts meet a revision, a row each; members as Fit has them, with a class as a number.

    `met` and `unknown` are 0 where a required bullet is missed: so both fits are `met / total` and
    `(met + unknown) / total`. `verdicts`: of each bullet that has a test, by its place among all bullets.
    """

    total: int
    met: Column
    unknown: Column
    class_: Column
    verdicts: Mapping[int, Column]


def score(revision: Revision, profiles: Mapping[str, Column], size: int, values: Values) -> Scores:
    """How `size` accounts with these profiles (attribute → numbers of values) meet `revision`."""
    verdicts = {
        number: _judged(bullet.test, profiles, values)
        for number, bullet in enumerate(revision.bullets)
        if bullet.test is not None
    }
    met, unknown = np.zeros(size, np.int64), np.zeros(size, np.int64)
    excluded, unsettled = np.zeros(size, bool), np.zeros(size, bool)
    total = 0
    for number, verdict in verdicts.items():
        bullet = revision.bullets[number]
        total += bullet.weight
        met += bullet.weight * (verdict == MET)
        unknown += bullet.weight * (verdict == UNKNOWN)
        if bullet.required:
            excluded |= verdict == MISSED
            unsettled |= verdict == UNKNOWN
    class_ = _classes(revision, met, unknown, total, excluded, unsettled)
    return Scores(
        total=total, met=np.where(excluded, 0, met), unknown=np.where(excluded, 0, unknown), class_=class_,
        verdicts=verdicts,
    )  # fmt: skip


def _classes(
    revision: Revision, met: Column, unknown: Column, total: int, excluded: Column, unsettled: Column
) -> Column:
    if revision.stage == "exploratory":
        return np.full(len(met), EXPLORATORY, np.int8)
    if total == 0:
        return np.full(len(met), UNDETERMINED, np.int8)
    least = revision.threshold * total
    classes = np.full(len(met), ON_TARGET, np.int8)
    classes[unsettled | (met * 100 < least)] = UNDETERMINED
    classes[excluded | ((met + unknown) * 100 < least)] = OFF_TARGET
    return classes


def _judged(test: Test, profiles: Mapping[str, Column], values: Values) -> Column:
    match test:
        case All():
            return np.minimum.reduce([_judged(part, profiles, values) for part in test.tests])  # type: ignore[no-any-return]
        case Any():
            return np.maximum.reduce([_judged(part, profiles, values) for part in test.tests])  # type: ignore[no-any-return]
        case Not():
            return (MET - _judged(test.test, profiles, values)).astype(np.int8)
        case _:
            return values.verdicts(test, profiles[test.attribute])


def _number(text: str) -> float:
    if text[:1] not in "-0123456789":
        return np.nan
    value = msgspec.json.decode(text)
    return float(value) if isinstance(value, float) or abs(value) <= EXACT_MAX else np.nan


def _comparison(test: AnyValue) -> AnyValue:
    """A test as a comparison of numbers; None if it is none, or none that float64 makes exactly."""
    match test:
        case Eq() | Ne() | Gt() | Gte() | Lt() | Lte() if _is_exact(test.value):
            value = float(test.value)
        case Between() if _is_exact(test.low) and _is_exact(test.high):
            low, high = float(test.low), float(test.high)
            return lambda numbers: (low <= numbers) & (numbers <= high)
        case _:
            return None
    compare = {Eq: np.equal, Ne: np.not_equal, Gt: np.greater, Gte: np.greater_equal, Lt: np.less, Lte: np.less_equal}
    return lambda numbers: compare[type(test)](numbers, value)


def _is_exact(value: AnyValue) -> bool:
    match value:
        case bool():
            return False
        case float():
            return True
        case int():
            return abs(value) <= EXACT_MAX
        case _:
            return False
