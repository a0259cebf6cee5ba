"""The aggregates that are kept: as many as there is room for, those first that rules have asked for last."""

import pytest

from services.ledger import aggregates
from services.ledger.aggregates import Aggregates, Versioned
from services.ledger.rules.decision import Decision


def made_at(position: int) -> Versioned:
    return Versioned(position, Decision(made=position))


def test_those_that_a_rule_asked_for_longest_ago_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "AGGREGATES_KEPT_MAX", 2)
    kept = Aggregates()
    for name in ("a", "b"):
        kept.keep(name, made_at(1))
    assert kept.used("a") == made_at(1)
    kept.keep("c", made_at(1))
    assert [kept.get(name) is not None for name in ("a", "b", "c")] == [True, False, True]
    kept.drop("a")
    kept.keep("d", made_at(1))
    assert [kept.get(name) is not None for name in ("a", "c", "d")] == [False, True, True]


def test_what_was_said_without_a_rule_that_asks_is_kept_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregates, "AGGREGATES_KEPT_MAX", 2)
    kept = Aggregates()
    for name in ("a", "b"):
        kept.keep(name, made_at(1))
    kept.keep("a", made_at(2))
    kept.keep("c", made_at(1))
    assert [kept.get(name) is not None for name in ("a", "b", "c")] == [False, True, True]
