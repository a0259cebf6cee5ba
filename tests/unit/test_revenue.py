"""Revenue: exact to the millionth, whatever its size."""

from decimal import Decimal

import pytest

from services.projector.judgement.revenue import Amounts, Money, by_class, decimal_text, millionths, shown, total


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("0", "0.00"),
        ("5", "5.00"),
        ("120000.5", "120000.50"),
        ("-0.05", "-0.05"),
        ("0.000001", "0.000001"),
        ("-1.10", "-1.10"),
        ("999999999999999.999999", "999999999999999.999999"),
        ("1E+3", "1000.00"),
    ],
)
def test_amounts_are_shown_with_two_places_or_as_many_as_they_have(amount: str, text: str) -> None:
    assert decimal_text(millionths(Decimal(amount))) == text


def test_sums_are_exact_where_floats_are_not() -> None:
    tenths = [{"USD": Amounts(pipeline=millionths(Decimal("0.1")))}] * 3
    huge = {"USD": Amounts(pipeline=millionths(Decimal("999999999999999.999999"))), "EUR": Amounts(1)}
    assert shown(total([*tenths, huge])) == [
        Money("EUR", "0.000001", "0.00"),
        Money("USD", "0.00", "1000000000000000.299999"),
    ]
    assert millionths(None) == 0


def test_each_class_has_its_name() -> None:
    usd = {"USD": Amounts(contracted=1_000_000)}
    found = by_class([("on_target", usd), ("on_target", usd), ("off_target", usd)])
    assert found == {
        "strategic": [Money("USD", "2.00", "0.00")],
        "opportunistic": [Money("USD", "1.00", "0.00")],
        "undetermined": [],
        "exploratory": [],
    }
