"""Figures that sum many things up: counts, shares, quartiles and days. Pure; exact fractions."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple, TypeVar

_DAY = Fraction(timedelta(days=1) // timedelta(microseconds=1))

_Name = TypeVar("_Name", bound=str)


class Quartiles(NamedTuple):
    lower: Fraction
    median: Fraction
    upper: Fraction


def counted(values: Iterable[_Name], names: Iterable[_Name]) -> dict[_Name, int]:
    """How often each of the names occurs; 0 where it does not."""
    counts = dict.fromkeys(names, 0)
    for value in values:
        counts[value] += 1
    return counts


def shares(counts: Mapping[Any, int]) -> dict[Any, Fraction] | None:
    """Each count of all; None if there is nothing, or one is negative: then there are no parts of a whole."""
    whole = sum(counts.values())
    if whole <= 0 or min(counts.values()) < 0:
        return None
    return {name: Fraction(count, whole) for name, count in counts.items()}


def quartiles(values: Iterable[Fraction]) -> Quartiles | None:
    """Exact quartiles, between two values in proportion (as QUARTILE.INC of spreadsheets has them); None of none."""
    ordered = sorted(values)
    return Quartiles(*(_quantile(ordered, Fraction(part, 4)) for part in (1, 2, 3))) if ordered else None


def days_between(earlier: datetime, later: datetime) -> Fraction:
    return (later - earlier) // timedelta(microseconds=1) / _DAY


def _quantile(ordered: Sequence[Fraction], part: Fraction) -> Fraction:
    place = part * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)
