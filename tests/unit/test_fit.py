"""Fit: what each test says about each kind of value, and what the bullets add up to."""

from fractions import Fraction
from typing import Any

import msgspec
import pytest

from schemas.criteria import Test as Criterion
from schemas.events import Bullet
from services.projector.judgement.fit import Fit, Revision, fit, judge, shown

MET, MISSED, UNKNOWN = True, False, None

# What an attribute may be: absent, null, and each kind of value.
VALUES: dict[str, Any] = {
    "null": None, "text": "Bank", "number": 10, "decimal": 10.5, "true": True, "zero": 0,
    "list": ["bank", "EU"], "empty": [],
}  # fmt: skip

TABLE = [
    # test, verdict for: absent null text number decimal true zero list empty
    ({"op": "eq", "value": "bank"}, "??+------"),
    ({"op": "eq", "value": "BANK"}, "??+------"),
    ({"op": "eq", "value": 10}, "??-+-----"),
    ({"op": "eq", "value": 10.5}, "??--+----"),
    ({"op": "eq", "value": True}, "??---+---"),
    ({"op": "eq", "value": 1}, "??-------"),
    ({"op": "eq", "value": False}, "??-------"),
    ({"op": "eq", "value": "10"}, "??-------"),
    ({"op": "ne", "value": "bank"}, "??-++++++"),
    ({"op": "ne", "value": 10}, "??+-+++++"),
    ({"op": "in", "values": ["shop", "BANK", 10]}, "??++-----"),
    ({"op": "in", "values": [True, 0]}, "??---++--"),
    ({"op": "not_in", "values": ["shop", "BANK", 10]}, "??--+++++"),
    ({"op": "gt", "value": 10}, "???-+?-??"),
    ({"op": "gte", "value": 10}, "???++?-??"),
    ({"op": "lt", "value": 10}, "???--?+??"),
    ({"op": "lte", "value": 10}, "???+-?+??"),
    ({"op": "gt", "value": "bank"}, "??-??????"),
    ({"op": "gte", "value": "Bank"}, "??+??????"),
    ({"op": "lt", "value": "CAR"}, "??+??????"),
    ({"op": "lte", "value": "apple"}, "??-??????"),
    ({"op": "between", "low": 10, "high": 10.5}, "???++?-??"),
    ({"op": "between", "low": 0, "high": 10}, "???+-?+??"),
    ({"op": "between", "low": "b", "high": "c"}, "??+??????"),
    ({"op": "between", "low": "bb", "high": "c"}, "??-??????"),
    ({"op": "has", "value": "Bank"}, "??-????+-"),
    ({"op": "has", "value": "eu"}, "??-????+-"),
    ({"op": "has", "value": "E"}, "??-????--"),
    ({"op": "exists"}, "--+++++++"),
]


def criterion_of(value: dict[str, Any]) -> Any:
    return msgspec.convert(value, Criterion)


@pytest.mark.parametrize(("criterion", "expected"), TABLE, ids=[str(row[0]) for row in TABLE])
def test_each_operation_on_each_kind(criterion: dict[str, Any], expected: str) -> None:
    known = [{}, *({"a": value} for value in VALUES.values())]
    verdicts = [judge(criterion_of({"attribute": "a", **criterion}), attributes) for attributes in known]
    assert "".join({True: "+", False: "-", None: "?"}[verdict] for verdict in verdicts) == expected


@pytest.mark.parametrize(
    ("parts", "all_", "any_"),
    [
        ("+", "+", "+"), ("-", "-", "-"), ("?", "?", "?"), ("+-", "-", "+"), ("+?", "?", "+"),
        ("-?", "-", "?"), ("+-?", "-", "+"), ("??", "?", "?"),
    ],
)  # fmt: skip
def test_all_and_any_are_kleenes(parts: str, all_: str, any_: str) -> None:
    of = {
        "+": {"op": "eq", "attribute": "a", "value": 1},
        "-": {"op": "eq", "attribute": "a", "value": 2},
        "?": {"op": "eq", "attribute": "b", "value": 1},
    }
    word = {True: "+", False: "-", None: "?"}
    for op, expected in (("all", all_), ("any", any_)):
        criterion = criterion_of({"op": op, "tests": [of[part] for part in parts]})
        assert word[judge(criterion, {"a": 1})] == expected
        turned = criterion_of({"op": "not", "test": {"op": op, "tests": [of[part] for part in parts]}})
        assert word[judge(turned, {"a": 1})] == {"+": "-", "-": "+", "?": "?"}[expected]


def test_texts_compare_composed_and_folded() -> None:
    assert judge(criterion_of({"op": "eq", "attribute": "a", "value": "Zu\u0308rich"}), {"a": "Z\u00dcRICH"}) is MET
    assert judge(criterion_of({"op": "eq", "attribute": "a", "value": "STRASSE"}), {"a": "straße"}) is MET


def test_numbers_compare_exactly() -> None:
    assert (
        judge(criterion_of({"op": "eq", "attribute": "a", "value": 9007199254740993}), {"a": 9007199254740992.0})
        is MISSED
    )
    assert (
        judge(criterion_of({"op": "gt", "attribute": "a", "value": 9007199254740992.0}), {"a": 9007199254740993}) is MET
    )
    assert judge(criterion_of({"op": "eq", "attribute": "a", "value": 1}), {"a": 1.0}) is MET


def bullets(*given: tuple[int, str] | tuple[int, str, bool]) -> list[Bullet]:
    """Bullets b0, b1, ... of these weights over the attributes named; `required` where the third is True."""
    return [
        Bullet(
            bullet=f"b{number}",
            text=f"line {number}",
            test=criterion_of({"op": "eq", "attribute": name, "value": 1}) if name else None,
            weight=weight,
            required=bool(rest),
        )
        for number, (weight, name, *rest) in enumerate(given)
    ]


def revision(*given: Any, threshold: int = 60, stage: str = "focused") -> Revision:
    return Revision(
        agreement="target-market", revision="r", title="R", stage=stage, threshold=threshold, bullets=bullets(*given)
    )


def sums(found: Fit) -> tuple[Any, ...]:
    return found.class_, found.met, found.unknown, found.total


def test_a_fit_that_reaches_the_threshold_exactly_is_on_target() -> None:
    found = fit(revision((3, "a"), (2, "b")), {"a": 1, "b": 2})
    assert sums(found) == ("on_target", 3, 0, 5)
    assert found.fit == found.fit_if_known == Fraction(3, 5)
    assert found.would_settle == []


def test_a_fit_that_could_still_reach_it_is_undetermined_and_says_what_would_settle_it() -> None:
    found = fit(revision((3, "a"), (2, "b"), (1, "c")), {"b": 1, "c": 2})
    assert sums(found) == ("undetermined", 2, 3, 6)
    assert (found.fit, found.fit_if_known) == (Fraction(1, 3), Fraction(5, 6))
    assert found.would_settle == ["a"]
    assert [bullet.verdict for bullet in found.bullets] == ["unknown", "met", "missed"]


def test_a_fit_that_can_no_longer_reach_it_is_off_target() -> None:
    found = fit(revision((3, "a"), (2, "b")), {"a": 2})
    assert sums(found) == ("off_target", 0, 2, 5)
    assert found.would_settle == []


def test_a_missed_required_bullet_makes_the_fit_nothing() -> None:
    found = fit(revision((1, "a", True), (9, "b"), threshold=10), {"a": 2, "b": 1})
    assert sums(found) == ("off_target", 9, 0, 10)
    assert found.fit == found.fit_if_known == 0


def test_while_a_required_bullet_is_unknown_the_class_is_at_most_undetermined() -> None:
    found = fit(revision((1, "a", True), (9, "b"), threshold=10), {"b": 1})
    assert sums(found) == ("undetermined", 9, 1, 10)
    assert found.fit == Fraction(9, 10)
    assert fit(revision((1, "a", True), (9, "b"), threshold=90), {"b": 2}).class_ == "off_target"


def test_prose_is_shown_and_never_counted() -> None:
    found = fit(revision((5, ""), (1, "a")), {"a": 1})
    assert sums(found) == ("on_target", 1, 0, 1)
    assert [(bullet.verdict, bullet.found) for bullet in found.bullets] == [("prose", None), ("met", 1)]


def test_while_exploring_nobody_is_off_target() -> None:
    assert sums(fit(revision((1, "a"), stage="exploratory"), {"a": 2})) == ("exploratory", 0, 0, 1)
    bare = fit(revision((1, ""), stage="exploratory"), {})
    assert sums(bare) == ("exploratory", 0, 0, 0)
    assert bare.fit is None
    assert bare.fit_if_known is None


def test_a_bullet_shows_the_values_that_it_looked_at() -> None:
    both = Bullet(
        bullet="both",
        text="EU banks",
        test=criterion_of(
            {
                "op": "any",
                "tests": [
                    {"op": "eq", "attribute": "industry", "value": "banking"},
                    {"op": "has", "attribute": "regions", "value": "EU"},
                ],
            }
        ),
    )
    market = Revision(agreement="t", revision="r", title="R", stage="focused", threshold=50, bullets=[both])
    assert fit(market, {"regions": ["US"]}).bullets[0].found == {"industry": None, "regions": ["US"]}
    assert fit(market, {"regions": ["US"]}).would_settle == ["industry"]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (Fraction(2, 3), 0.666667),
        (Fraction(1, 2_000_000), 0.0),
        (Fraction(3, 2_000_000), 0.000002),
        (Fraction(5, 2_000_000), 0.000002),
        (Fraction(63, 10), 6.3),
        (None, None),
    ],
)
def test_numbers_are_shown_rounded_half_even_to_six_places(number: Fraction | None, expected: float | None) -> None:
    assert shown(number) == expected


def test_every_share_is_shown_as_python_rounds_it() -> None:
    shares = [Fraction(part, whole) for whole in range(1, 60) for part in range(-whole, 2 * whole)]
    shares += [Fraction(part, 2 * 10**6) for part in range(-5, 6)]
    assert [shown(each) for each in shares] == [float(round(each, 6)) for each in shares]
