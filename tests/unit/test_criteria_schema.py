"""The test language of a bullet: what a test may look like."""

from typing import Any

import msgspec
import pytest

from schemas.criteria import TEST_LEVELS_MAX, attributes, levels
from schemas.criteria import Test as Criterion
from schemas.events import BULLETS_MAX, AgreementRevised, Bullet
from schemas.examples import EXAMPLES

EXISTS = {"op": "exists", "attribute": "size"}


def taken(test: Any) -> Criterion:
    return msgspec.convert(test, Criterion)


def nested(levels: int) -> Any:
    test: Any = EXISTS
    for _ in range(levels - 1):
        test = {"op": "not", "test": test}
    return test


@pytest.mark.parametrize(
    "test",
    [
        *({"op": op, "attribute": "a", "value": value} for op in ("eq", "ne") for value in ("x", "", 1, 1.5, True)),
        *({"op": op, "attribute": "a", "value": value} for op in ("gt", "gte", "lt", "lte") for value in ("x", 1, 1.5)),
        *({"op": op, "attribute": "a", "values": ["x", 1, 1.5, False]} for op in ("in", "not_in")),
        {"op": "between", "attribute": "a", "low": 1, "high": 1},
        {"op": "between", "attribute": "a", "low": 1, "high": 2.5},
        {"op": "between", "attribute": "a", "low": "a", "high": "b"},
        {"op": "has", "attribute": "a", "value": "x"},
        EXISTS,
        {"op": "all", "tests": [EXISTS]},
        {"op": "any", "tests": [EXISTS, {"op": "not", "test": EXISTS}]},
    ],
    ids=str,
)
def test_is_a_test(test: Any):
    assert msgspec.to_builtins(taken(test)) == test
    assert msgspec.json.decode(msgspec.json.encode(taken(test)), type=Criterion) == taken(test)


@pytest.mark.parametrize(
    "test",
    [
        {},
        {"op": "near", "attribute": "a", "value": 1},
        {"attribute": "a", "value": 1},
        {"op": "eq", "attribute": "a"},
        {"op": "eq", "attribute": "", "value": 1},
        {"op": "eq", "attribute": " ", "value": 1},
        {"op": "eq", "attribute": "a" * 101, "value": 1},
        {"op": "eq", "attribute": "a", "value": None},
        {"op": "eq", "attribute": "a", "value": ["x"]},
        {"op": "eq", "attribute": "a", "value": 1, "values": [1]},
        {"op": "eq", "attribute": "a", "value": "x" * 4_001},
        {"op": "gt", "attribute": "a", "value": True},
        {"op": "in", "attribute": "a", "values": []},
        {"op": "in", "attribute": "a", "values": [["x"]]},
        {"op": "in", "attribute": "a", "values": ["x"] * 201},
        {"op": "between", "attribute": "a", "low": 2, "high": 1},
        {"op": "between", "attribute": "a", "low": "a", "high": 1},
        {"op": "between", "attribute": "a", "low": 1},
        {"op": "has", "attribute": "a", "value": 1},
        {"op": "exists", "attribute": "a", "value": 1},
        {"op": "all", "tests": []},
        {"op": "any", "tests": [EXISTS] * 51},
        {"op": "all", "test": EXISTS},
        {"op": "not", "tests": [EXISTS]},
    ],
    ids=str,
)
def test_is_no_test(test: Any):
    with pytest.raises(msgspec.ValidationError):
        taken(test)


def test_levels_are_counted_along_the_deepest_way():
    assert levels(taken(EXISTS)) == 1
    assert levels(taken({"op": "all", "tests": [EXISTS, nested(3), nested(2)]})) == 4


def test_a_bullet_nests_five_levels_and_no_more():
    bullet = {"bullet": "b", "text": "t"}
    assert levels(msgspec.convert(bullet | {"test": nested(TEST_LEVELS_MAX)}, Bullet).test) == 5  # type: ignore[arg-type]
    with pytest.raises(msgspec.ValidationError, match="at most 5 levels"):
        msgspec.convert(bullet | {"test": nested(TEST_LEVELS_MAX + 1)}, Bullet)


def test_an_agreement_has_fifty_bullets_and_no_more():
    def revised(count: int) -> AgreementRevised:
        bullets = [{"bullet": f"b-{n}", "text": "t", "test": EXISTS} for n in range(count)]
        return msgspec.convert(EXAMPLES["ledger.agreement.revised.v1"] | {"bullets": bullets}, AgreementRevised)

    assert len(revised(BULLETS_MAX).bullets) == 50
    with pytest.raises(msgspec.ValidationError, match="length <= 50"):
        revised(BULLETS_MAX + 1)


@pytest.mark.parametrize("weight", [0, -1, 1_001, 1.5, True])
def test_a_weight_is_a_whole_number_from_1_on(weight: Any):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"bullet": "b", "text": "t", "weight": weight}, Bullet)


def test_the_attributes_of_a_test_are_told_once_each_in_their_order():
    inner = {"op": "all", "tests": [{"op": "has", "attribute": "a", "value": "x"}, EXISTS]}
    first = {"op": "eq", "attribute": "b", "value": 1}
    test = {"op": "any", "tests": [first, {"op": "not", "test": EXISTS}, inner]}
    assert attributes(taken(test)) == ["b", "size", "a"]
