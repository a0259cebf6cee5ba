"""The aggregates that are kept: as many as there is room for, those first that rules have asked for last."""

import pytest

from services.ledger import aggregates
from services.ledger.aggregates import Aggregates, Versioned
from services.ledger.rules.ids import Ids
from services.ledger.rules.requirement import Requirement


def asked_for(asks: int) -> Versioned:
    ids = Ids()
    for number in range(asks):
        ids = ids.plus(f"ask-{number}")
    return Versioned(asks, Requirement(asked=ids))


def test_popular_requirements_make_room_for_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "ASKS_KEPT_MAX", 10)
    kept = Aggregates()
    for name in ("a", "b", "c"):
        kept.keep(name, asked_for(3))
    assert kept.used("a") == asked_for(3)
    kept.keep("c", asked_for(5))
    assert [kept.get(name) is not None for name in ("a", "b", "c")] == [True, False, True]
    # Eleven alone are kept all the same: somebody has just read them.
    kept.keep("d", asked_for(11))
    assert [kept.get(name) is not None for name in ("a", "c", "d")] == [False, False, True]
    kept.drop("d")
    for name in ("e", "f"):
        kept.keep(name, asked_for(5))
    assert kept.get("e") is not None and kept.get("f") is not None


def test_what_was_said_without_a_rule_that_asks_is_kept_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "AGGREGATES_KEPT_MAX", 2)
    kept = Aggregates()
    for name in ("a", "b"):
        kept.keep(name, asked_for(1))
    kept.keep("a", asked_for(2))
    kept.keep("c", asked_for(1))
    assert [kept.get(name) is not None for name in ("a", "b", "c")] == [False, True, True]
