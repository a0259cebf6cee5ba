"""Revenue: exact amounts per currency, by account and by class. Pure.

An account's `contracted` revenue is that of its won opportunities that have not ended, its `pipeline` that of its
open ones. Amounts are whole millionths of a currency's unit while they are added up, decimal strings when shown.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Context, Decimal
from typing import NamedTuple

from msgspec import Struct

from services.projector.judgement.fit import Class

PLACES_MAX = 6
PLACES_SHOWN_MIN = 2
_EXACT = Context(prec=60)
_UNIT = 10**PLACES_MAX
_NO_PART = "." + "0" * PLACES_SHOWN_MIN

CLASS_NAMES: Mapping[Class, str] = {
    "on_target": "strategic",
    "off_target": "opportunistic",
    "undetermined": "undetermined",
    "exploratory": "exploratory",
}
"""What revenue is called, by the class of the account that it comes from."""


class Amounts(NamedTuple):
    """Millionths of the unit of one currency."""

    contracted: int = 0
    pipeline: int = 0

    def plus(self, other: "Amounts") -> "Amounts":
        return Amounts(self.contracted + other.contracted, self.pipeline + other.pipeline)


Revenue = dict[str, Amounts]
"""Currency → amounts. A currency without an opportunity that counts is absent."""


class Money(Struct, frozen=True):
    """Revenue in one currency as an answer shows it."""

    currency: str
    contracted: str
    pipeline: str


class Sum(Struct, frozen=True):
    """What amounts in one currency add up to, whatever stage they are of."""

    currency: str
    amount: str


def millionths(amount: Decimal | None) -> int:
    """An amount as PostgreSQL sums it, in whole millionths."""
    return 0 if amount is None else int(amount.scaleb(PLACES_MAX, _EXACT))


def total(revenues: Iterable[Revenue]) -> Revenue:
    first, *others = [*revenues] or [{}]
    summed = dict(first)
    for revenue in others:
        for currency, amounts in revenue.items():
            summed[currency] = summed.get(currency, Amounts()).plus(amounts)
    return summed


def by_class(revenues: Iterable[tuple[Class, Revenue]]) -> dict[str, list[Money]]:
    """Revenue under the names of its classes, shown."""
    return {name: shown(revenue) for name, revenue in _by_class_name(revenues)}


def sums_by_class(revenues: Iterable[tuple[Class, Revenue]]) -> dict[str, list[Sum]]:
    """The same, with what is contracted and what is in the pipeline added up."""
    return {
        name: [Sum(currency, decimal_text(sum(amounts))) for currency, amounts in sorted(revenue.items())]
        for name, revenue in _by_class_name(revenues)
    }


def shown(revenue: Revenue) -> list[Money]:
    """Revenue as an answer shows it: per currency, by its code."""
    return [
        Money(currency, decimal_text(amounts.contracted), decimal_text(amounts.pipeline))
        for currency, amounts in sorted(revenue.items())
    ]


def decimal_text(amount: int) -> str:
    """Millionths as a decimal number with two places or as many as it has."""
    if amount % _UNIT == 0:  # Most are whole.
        return f"{amount // _UNIT}{_NO_PART}"
    whole, part = divmod(abs(amount), _UNIT)
    places = f"{part:0{PLACES_MAX}d}".rstrip("0").ljust(PLACES_SHOWN_MIN, "0")
    return f"{'-' if amount < 0 else ''}{whole}.{places}"


def _by_class_name(revenues: Iterable[tuple[Class, Revenue]]) -> Iterator[tuple[str, Revenue]]:
    grouped: dict[Class, Revenue] = {}
    for class_, revenue in revenues:
        grouped[class_] = total([grouped[class_], revenue]) if class_ in grouped else revenue
    for class_, name in CLASS_NAMES.items():
        yield name, grouped.get(class_, {})
