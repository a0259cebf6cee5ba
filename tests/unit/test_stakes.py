"""What became of what was at stake: each opportunity in one way, and what came later apart."""

from datetime import date
from typing import Any

import pytest

from services.projector.judgement.lenses import Decision, Knowledge
from services.projector.judgement.resolution import Lineage, Merge, Resolution
from services.projector.judgement.stakes import Candidate, Naming, Opportunity, at_stake, came_later, fate
from tests.unit.test_lenses import day

DECISION = Decision("D", 10, day(10), None, "commit", ["R"])
TODAY = date(2026, 4, 1)  # DECISION was made on 11 March.


def deal(
    stage: Any = "open", *, name: str = "O", names: str = "R", ends: date | None = None, **more: Any
) -> Opportunity:
    said = {
        "opportunity": name, "account": "acme", "stage": stage, "amount": 1, "currency": "USD", "kind": None,
        "closes": None, "ends": ends, "closed_because": None, "requirements": [*names], "position": 1,
    }  # fmt: skip
    return Opportunity(**{**said, **more})


def naming(p: int, *asked_for: str, lineage: Lineage | None = None) -> Naming:
    return Naming(Knowledge([], [], lineage), ["R"], p, asked_for)


@pytest.mark.parametrize(
    ("then", "now", "became"),
    [
        (deal(), deal(), "open"),
        (deal(), deal("won"), "won"),
        (deal(), deal("won", kind="renewal"), "renewed"),
        (deal(), deal("won", ends=date(2026, 3, 20)), "won"),
        (deal(), deal("lost"), "lost"),
        (deal(), None, "retracted"),
        (deal("won", kind="renewal"), deal("won", kind="renewal"), "kept"),
        (deal("won", ends=TODAY), deal("won", ends=TODAY), "kept"),
        (deal("won", ends=date(2026, 3, 20)), deal("won", ends=date(2026, 3, 31)), "ended"),
        (deal("won"), deal("lost"), "lost"),
        (deal("won"), deal("open"), "open"),
        (deal("won"), None, "retracted"),
    ],
)
def test_what_became_of_it(then: Opportunity, now: Opportunity | None, became: str) -> None:
    assert fate(then, now, TODAY) == became


@pytest.mark.parametrize(
    ("then", "is_at_stake"),
    [
        (None, False),
        (deal(), True),
        (deal("won"), True),
        (deal("won", ends=date(2026, 3, 11)), True),
        (deal("won", ends=date(2026, 3, 10)), False),
        (deal("lost"), False),
        (deal(names="S"), False),
        (deal(names=""), False),
        (deal(names="", name="A"), True),
    ],
)
def test_what_was_at_stake(then: Opportunity | None, is_at_stake: bool) -> None:
    found = at_stake(Knowledge([], []), DECISION, {}, [Candidate(then, deal())], naming(9, "A"), TODAY)
    assert [stake.then for stake in found] == ([then] if is_at_stake else [])
    assert all(stake.class_ == "undetermined" for stake in found)


@pytest.mark.parametrize(
    ("then", "now", "later"),
    [
        (None, deal(), True),
        (None, deal(names="S"), False),
        (None, None, False),
        (deal(), deal("won"), False),
        (deal(names="S"), deal(), True),
        (deal("lost"), deal("lost"), False),
        (deal("lost"), deal("open"), True),
        (deal("won", ends=date(2026, 3, 10)), deal("won", ends=date(2026, 3, 10)), False),
        (deal(names="S"), deal(names="S"), False),
    ],
)
def test_what_came_later(then: Opportunity | None, now: Opportunity | None, later: bool) -> None:
    candidates = [Candidate(then, now)]
    found = came_later(Knowledge([], []), DECISION, {}, candidates, naming(9), naming(99))
    assert [stake.now for stake in found] == ([now] if later else [])
    # Nothing is both.
    staked = at_stake(Knowledge([], []), DECISION, {}, candidates, naming(9), TODAY)
    assert not (staked and found)


def test_what_a_name_stands_for_is_as_known_then() -> None:
    lineage = Lineage(requirements=Resolution([Merge(20, day(20), "S", "R")]))
    assert not naming(9, lineage=lineage).names(deal(names="S"))
    assert naming(20, lineage=lineage).names(deal(names="S"))
