"""The test language of a bullet: a small tagged union over an account's attributes.

The tag is `op`. How a test is judged (three-valued, after Kleene) is the projector's `fit.py`; this module says
only what a test may look like.
"""

from typing import Annotated

from msgspec import Meta, Struct

from schemas.values import AttributeName, AttributeNumber, AttributeText

TEST_LEVELS_MAX = 5

Scalar = AttributeText | AttributeNumber | bool
Ordered = AttributeText | AttributeNumber
Scalars = Annotated[list[Scalar], Meta(min_length=1, max_length=200)]


class Criterion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    """A test, or a part of one."""


class Eq(Criterion, frozen=True, tag="eq"):
    attribute: AttributeName
    value: Scalar


class Ne(Criterion, frozen=True, tag="ne"):
    attribute: AttributeName
    value: Scalar


class Gt(Criterion, frozen=True, tag="gt"):
    attribute: AttributeName
    value: Ordered


class Gte(Criterion, frozen=True, tag="gte"):
    attribute: AttributeName
    value: Ordered


class Lt(Criterion, frozen=True, tag="lt"):
    attribute: AttributeName
    value: Ordered


class Lte(Criterion, frozen=True, tag="lte"):
    attribute: AttributeName
    value: Ordered


class In(Criterion, frozen=True, tag="in"):
    attribute: AttributeName
    values: Scalars


class NotIn(Criterion, frozen=True, tag="not_in"):
    attribute: AttributeName
    values: Scalars


class Between(Criterion, frozen=True, tag="between"):
    """Inclusive at both ends."""

    attribute: AttributeName
    low: Ordered
    high: Ordered

    def __post_init__(self) -> None:
        if isinstance(self.low, str) != isinstance(self.high, str):
            raise ValueError("`low` and `high` must both be numbers or both be texts")
        if not isinstance(self.low, str) and not isinstance(self.high, str) and self.low > self.high:
            raise ValueError("`low` must not be above `high`")


class Has(Criterion, frozen=True, tag="has"):
    """A list holds the value; a text does not, whatever it contains."""

    attribute: AttributeName
    value: AttributeText


class Exists(Criterion, frozen=True, tag="exists"):
    attribute: AttributeName


class All(Criterion, frozen=True, tag="all"):
    tests: Annotated[list["Test"], Meta(min_length=1, max_length=50)]


class Any(Criterion, frozen=True, tag="any"):
    tests: Annotated[list["Test"], Meta(min_length=1, max_length=50)]


class Not(Criterion, frozen=True, tag="not"):
    test: "Test"


Test = Eq | Ne | Gt | Gte | Lt | Lte | In | NotIn | Between | Has | Exists | All | Any | Not


def levels(test: Test) -> int:
    """How deep a test nests; a test of one attribute has one level."""
    match test:
        case All() | Any():
            return 1 + max(levels(part) for part in test.tests)
        case Not():
            return 1 + levels(test.test)
        case _:
            return 1


def attributes(test: Test) -> list[str]:
    """The attributes that a test looks at, each once, in order of appearance."""
    match test:
        case All() | Any():
            return list(dict.fromkeys(name for part in test.tests for name in attributes(part)))
        case Not():
            return attributes(test.test)
        case _:
            return [test.attribute]
