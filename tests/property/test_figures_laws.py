"""Figures are exact, and those that spreadsheets have."""

import statistics
from datetime import timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from services.projector.judgement.figures import counted, days_between, quartiles, shares
from tests.unit.test_lenses import day


@given(st.lists(st.fractions(0, 100, max_denominator=20), min_size=2))
def test_quartiles_are_those_of_spreadsheets(numbers: list[Fraction]) -> None:
    found = quartiles(numbers)
    assert found is not None
    assert [*found] == statistics.quantiles(sorted(numbers), n=4, method="inclusive")


def test_quartiles_of_few() -> None:
    assert quartiles([]) is None
    assert quartiles([Fraction(7)]) == (7, 7, 7)
    assert quartiles([Fraction(1), Fraction(2)]) == (Fraction(5, 4), Fraction(3, 2), Fraction(7, 4))


def test_days_are_exact() -> None:
    assert days_between(day(1), day(4)) == 3
    assert days_between(day(1), day(1) + timedelta(hours=6, microseconds=1)) == Fraction(21_600_000_001, 86_400_000_000)


def test_shares_of_nothing_are_none() -> None:
    assert shares({"a": 0}) is None
    assert shares({"a": 100, "b": -40}) is None
    assert shares({"a": 100, "b": -100}) is None
    assert shares({"a": -1, "b": -2}) is None
    assert shares({"a": 1, "b": 2, "c": 0}) == {"a": Fraction(1, 3), "b": Fraction(2, 3), "c": 0}


def test_what_does_not_occur_is_counted_as_none() -> None:
    assert counted([], ["with", "before"]) == {"with": 0, "before": 0}
    assert counted(["with", "with"], ["with", "before"]) == {"with": 2, "before": 0}
