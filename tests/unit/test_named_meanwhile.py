"""While something is counted, more may be read: what is new then changes nothing of what is counted."""

from datetime import UTC, datetime

import numpy as np
from msgspec.structs import replace

from services.projector.counting.columns import Codes
from services.projector.counting.counted import Counted, Said
from services.projector.counting.judging import Facts
from services.projector.counting.standings import hear
from services.projector.counting.worth import money, revenues

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class NamedMeanwhile(Codes):
    """Texts of which there is a new one whenever somebody looks at how many there are, or for one."""

    def __len__(self) -> int:
        self.code(f"new {len(self.texts)}")
        return len(self.texts)

    def find(self, text: str) -> int | None:
        return self.code(text)


def counted() -> Counted:
    found = Counted.nothing().plus(
        Said(
            upto=3,
            asks=(["acme"], ["R-1"], b"0123456789abcdef", np.array([3]), np.array([1]), np.array([1])),
            opportunities=[("O-1", "acme", "open", 1_000_000, "USD", None, 1, 2)],
            facts=(["acme"], ["size"], ["7"], np.array([1]), np.array([3])),
        )
    )
    return replace(
        found,
        currencies=NamedMeanwhile(found.currencies.texts),
        attributes=NamedMeanwhile(found.attributes.texts),
    )


def test_a_currency_that_is_named_while_revenue_is_added_up() -> None:
    columns = counted()
    [amounts] = revenues(columns, 3, NOW).amounts
    assert {each: (*amount,) for each, amount in money(columns.currencies, amounts).items()} == {"USD": (0, 1_000_000)}
    assert (hear(columns, "now", 3, NOW).classes.sum(), hear(columns, "asked", 3, NOW).classes.sum()) == (1, 1)


def test_an_attribute_that_is_named_while_facts_are_looked_for() -> None:
    columns = counted()
    facts = Facts.read(columns, ["size", "place"], np.array([0], np.int32), 3)
    seven = columns.values.find("7")
    assert (facts.latest("size").tolist(), facts.latest("place").tolist()) == ([seven], [0])
