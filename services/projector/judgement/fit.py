"""Fit: how well an account meets the bullets of an agreement's revision. Pure.

Three-valued after Kleene: a missing or incomparable attribute makes a test unknown, not missed. Integers inside;
a division is made only for show.
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any as AnyValue
from typing import Literal
from unicodedata import normalize

from msgspec import Struct

from schemas.criteria import (
    All,
    Any,
    Between,
    Eq,
    Exists,
    Gt,
    Gte,
    Has,
    In,
    Lt,
    Lte,
    Ne,
    Not,
    NotIn,
    Test,
    attributes,
)
from schemas.events import Bullet

Class = Literal["on_target", "off_target", "undetermined", "exploratory"]
Verdict = Literal["met", "missed", "unknown", "prose"]
Attributes = Mapping[str, AnyValue]
"""Name → what is known of an account: text, number, boolean, list of texts, or None (unknown)."""

CLASSES: tuple[Class, ...] = ("on_target", "off_target", "undetermined", "exploratory")
SHOWN_SCALE = 10**6
FOLDED_TEXTS_MAX = 20_000


class Revision(Struct, frozen=True, kw_only=True, dict=True, eq=False):
    """A revision of an agreement, as far as a fit depends on it. It equals itself alone: to Python a test for 1 and one
    for true are the same, to a fit they are not."""

    agreement: str
    revision: str
    title: str
    stage: Literal["exploratory", "focused"]
    threshold: int
    bullets: list[Bullet]

    @property
    def name(self) -> str:
        return f"{self.agreement}@{self.revision}"

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that its tests look at, sorted."""
        return tuple(sorted({name for bullet in self.bullets if bullet.test for name in attributes(bullet.test)}))


class BulletFit(Struct, frozen=True, kw_only=True):
    """The verdict on one bullet. `found`: the value of its attribute, or an object if it looks at several."""

    bullet: str
    verdict: Verdict
    found: AnyValue = None


class Fit(Struct, frozen=True, kw_only=True, dict=True):
    """How an account meets a revision: sums of weights of the bullets that have a test, and what follows."""

    revision: Revision
    class_: Class
    met: int
    unknown: int
    total: int
    excluded: bool
    """A required bullet is missed, which makes the fit 0."""
    bullets: list[BulletFit]
    would_settle: list[str]

    @cached_property
    def fit(self) -> Fraction | None:
        """`met / total`; None if no bullet has a test."""
        return self._share(self.met)

    @cached_property
    def fit_if_known(self) -> Fraction | None:
        """What the fit would be if everything unknown were met."""
        return self._share(self.met + self.unknown)

    def _share(self, weight: int) -> Fraction | None:
        if self.total == 0:
            return None
        return Fraction(0 if self.excluded else weight, self.total)


def fit(revision: Revision, attributes: Attributes) -> Fit:
    """How well an account with these attributes meets `revision`."""
    verdicts = [None if bullet.test is None else judge(bullet.test, attributes) for bullet in revision.bullets]
    tested = [
        (bullet, verdict) for bullet, verdict in zip(revision.bullets, verdicts, strict=True) if bullet.test is not None
    ]
    met = sum(bullet.weight for bullet, verdict in tested if verdict is True)
    unknown = sum(bullet.weight for bullet, verdict in tested if verdict is None)
    total = sum(bullet.weight for bullet, _ in tested)
    required = [verdict for bullet, verdict in tested if bullet.required]
    class_ = _class(revision, met=met, unknown=unknown, total=total, required=required)
    return Fit(
        revision=revision,
        class_=class_,
        met=met,
        unknown=unknown,
        total=total,
        excluded=False in required,
        bullets=[
            _bullet(bullet, verdict, attributes) for bullet, verdict in zip(revision.bullets, verdicts, strict=True)
        ],
        would_settle=sorted(
            {
                name
                for bullet, verdict in tested
                if verdict is None and bullet.test is not None
                for name in _unsettled(bullet.test, attributes)
            }
        )
        if class_ == "undetermined"
        else [],
    )


def judge(test: Test, attributes: Attributes) -> bool | None:
    """Whether the attributes meet a test; None if that is unknown."""
    match test:
        case All():
            return _all([judge(part, attributes) for part in test.tests])
        case Any():
            return _not(_all([_not(judge(part, attributes)) for part in test.tests]))
        case Not():
            return _not(judge(test.test, attributes))

    found = attributes.get(test.attribute)
    match test:
        case Exists():
            return found is not None
        case _ if found is None:
            return None
        case Eq():
            return _same(found, test.value)
        case Ne():
            return not _same(found, test.value)
        case In():
            return any(_same(found, value) for value in test.values)
        case NotIn():
            return not any(_same(found, value) for value in test.values)
        case Has():
            return _has(found, test.value)
        case Gt():
            return _not(_at_most(found, test.value))
        case Gte():
            return _at_most(test.value, found)
        case Lt():
            return _not(_at_most(test.value, found))
        case Lte():
            return _at_most(found, test.value)
        case Between():
            return _all([_at_most(test.low, found), _at_most(found, test.high)])


def shown(number: Fraction | None) -> float | None:
    """An exact number as an answer shows it: rounded half-even to six places."""
    return None if number is None else shown_ratio(number.numerator, number.denominator)


def shown_ratio(numerator: int, denominator: int) -> float:
    """The same of a number as a ratio of whole numbers, which need not be the least."""
    scaled, rest = divmod(numerator * SHOWN_SCALE, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and scaled % 2):
        scaled += 1
    return scaled / SHOWN_SCALE


@lru_cache(maxsize=FOLDED_TEXTS_MAX)
def folded(text: str) -> str:
    """The form in which texts are compared: NFC, then case folding."""
    return normalize("NFC", text).casefold()


def _class(revision: Revision, *, met: int, unknown: int, total: int, required: list[bool | None]) -> Class:
    if revision.stage == "exploratory":
        return "exploratory"
    if total == 0:
        return "undetermined"
    if False in required or (met + unknown) * 100 < revision.threshold * total:
        return "off_target"
    if None in required or met * 100 < revision.threshold * total:
        return "undetermined"
    return "on_target"


def _bullet(bullet: Bullet, verdict: bool | None, known: Attributes) -> BulletFit:
    if bullet.test is None:
        return BulletFit(bullet=bullet.bullet, verdict="prose")
    names = attributes(bullet.test)
    found = known.get(names[0]) if len(names) == 1 else {name: known.get(name) for name in names}
    words: dict[bool | None, Verdict] = {True: "met", False: "missed", None: "unknown"}
    return BulletFit(bullet=bullet.bullet, verdict=words[verdict], found=found)


def _unsettled(test: Test, known: Attributes) -> list[str]:
    """The attributes for whose sake a test is unknown."""
    if judge(test, known) is not None:
        return []
    match test:
        case All() | Any():
            return [name for part in test.tests for name in _unsettled(part, known)]
        case Not():
            return _unsettled(test.test, known)
        case _:
            return [test.attribute]


# Three values


def _all(verdicts: list[bool | None]) -> bool | None:
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _not(verdict: bool | None) -> bool | None:
    return None if verdict is None else not verdict


# Values. A boolean is never a number, and a number never equals a text.


def _kind(value: AnyValue) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case _:
            return "list"


def _same(found: AnyValue, value: AnyValue) -> bool:
    """Total over present values: values of different kinds are never equal."""
    kind = _kind(found)
    if kind != _kind(value):
        return False
    return folded(found) == folded(value) if kind == "text" else bool(found == value)


def _at_most(low: AnyValue, high: AnyValue) -> bool | None:
    """`low <= high`; None where the two have no order. Python compares int and float exactly."""
    kind = _kind(low)
    if kind != _kind(high) or kind not in ("number", "text"):
        return None
    return folded(low) <= folded(high) if kind == "text" else bool(low <= high)


def _has(found: AnyValue, value: str) -> bool | None:
    match _kind(found):
        case "list":
            return folded(value) in {folded(item) for item in found}
        case "text":
            return False
        case _:
            return None
