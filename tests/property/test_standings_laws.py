"""What columns say of all accounts at once is what the lenses say of each."""

import random
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.projector.counting import columns as columns_module
from services.projector.counting import one_by_one, standings
from services.projector.counting.counted import Counted
from services.projector.counting.judging import Lens
from services.projector.counting.live_asks import Sought
from services.projector.counting.scoring import Values, score
from services.projector.counting.standings import Heard, stand
from services.projector.judgement import lenses
from services.projector.judgement.fit import CLASSES, fit
from services.projector.judgement.lenses import Decision, as_asked, as_decided, as_now, count_by_class, voice
from services.projector.judgement.revenue import Amounts, Revenue, total
from tests.counting import ATTRIBUTES, REQUIREMENTS, VALUES, History, counted, some_history, some_revision

seeds = st.integers(0, 2**32)
NEAR = 3
LENSES: tuple[Lens, ...] = ("now", "asked")


@given(seeds)
def test_many_are_scored_as_each_is_fitted(seed: int) -> None:
    chance = random.Random(seed)
    revision, values = some_revision(chance, "r"), Values()
    profiles = [{name: chance.choice(VALUES) for name in ATTRIBUTES} for _ in range(20)]
    columns = {
        name: values.codes([msgspec.json.encode(profile[name]).decode() for profile in profiles]) for name in ATTRIBUTES
    }
    scores = score(revision, columns, len(profiles), values)
    for number, profile in enumerate(profiles):
        expected = fit(revision, profile)
        assert CLASSES[scores.class_[number]] == expected.class_
        shares = (scores.met[number], scores.met[number] + scores.unknown[number])
        assert scores.total == expected.total
        if expected.total:
            found = [Fraction(int(each), scores.total) for each in shares]
            assert found == [expected.fit, expected.fit_if_known]
        words = {0: "missed", 1: "unknown", 2: "met"}
        verdicts = {bullet: words[int(verdict[number])] for bullet, verdict in scores.verdicts.items()}
        assert verdicts == {n: each.verdict for n, each in enumerate(expected.bullets) if each.verdict != "prose"}


@given(seeds, st.integers(5, 70), st.data())
def test_what_is_heard_is_what_the_lenses_hear(seed: int, length: int, data: st.DataObject) -> None:
    history = some_history(random.Random(seed), length)
    steps = sorted(data.draw(st.lists(st.integers(1, length), max_size=3)))
    with pytest.MonkeyPatch.context() as patch:
        # However few rows may wait behind those that are in order.
        patch.setattr(columns_module, "TAIL_ROWS_MIN", data.draw(st.sampled_from([1, 5, 1_000])))
        columns = counted(history, *steps)
    position = data.draw(st.integers(1, length))
    for lens in LENSES:
        standing = stand(columns, lens, position, history.now(position))
        assert shown(columns, standing.heard) == expected(history, lens, position)


@given(seeds, st.integers(5, 70), st.data())
def test_what_is_heard_follows_from_what_was_heard_elsewhere(seed: int, length: int, data: st.DataObject) -> None:
    history = some_history(random.Random(seed), length)
    columns = counted(history)
    here = data.draw(st.integers(1, length))
    # Close by, little is looked at, and what is not must not have changed.
    there = data.draw(st.integers(1, length) | st.integers(max(1, here - NEAR), min(length, here + NEAR)))
    with pytest.MonkeyPatch.context() as patch:
        # Whether accounts are gone through one by one, or many at once.
        patch.setattr(one_by_one, "ROWS_ONE_BY_ONE_MAX", data.draw(st.sampled_from([0, 1_000])))
        for lens in LENSES:
            since = stand(columns, lens, there, history.now(there))
            found = stand(columns, lens, here, history.now(here), since)
            assert shown(columns, found.heard) == shown(columns, stand(columns, lens, here, history.now(here)).heard)


@given(seeds, st.integers(5, 70), st.data())
def test_an_account_by_itself_is_heard_as_among_many(seed: int, length: int, data: st.DataObject) -> None:
    history = some_history(random.Random(seed), length)
    columns = counted(history)
    withdrawn = [each.position for each in history.asks if each.withdrawn]
    position = data.draw(st.sampled_from(withdrawn) if withdrawn else st.integers(1, length))
    everything = Sought(np.empty(0, np.int32), np.empty(0, np.int64))
    theirs = one_by_one.Few.of(columns, np.arange(columns.size, dtype=np.int32), everything, [position])
    assert theirs is not None
    for lens in LENSES:
        each = one_by_one.hear_each(theirs, lens, position, history.now(position))
        whole = stand(columns, lens, position, history.now(position)).heard
        if each is None:
            continue
        assert bool(each) == bool(whole.classes.any())
        found = Heard.nothing().changed(set(), each, columns.width)
        assert shown(columns, found) == shown(columns, whole)
        assert found.revenue.at.tolist() == whole.revenue.at.tolist()
        assert found.revenue.amounts.tolist() == whole.revenue.amounts.tolist()


@given(seeds, st.integers(5, 70), st.data())
def test_a_commitment_departs_as_the_lenses_say(seed: int, length: int, data: st.DataObject) -> None:
    history = some_history(random.Random(seed), length)
    at = data.draw(st.integers(2, length + 1))
    time, seen = history.now(data.draw(st.integers(0, length))), data.draw(st.none() | st.integers(1, at - 1))
    about = data.draw(st.lists(st.sampled_from(REQUIREMENTS), min_size=1, max_size=3))
    decision = Decision("D", at, time, seen, "commit", about)
    heard = as_decided(history.knowledge(decision.cut), history.known_asks(decision.cut), decision)
    found = standings.asked_when(counted(history), about, time, decision.cut)
    assert standings.departs_of(found.classes) == lenses.departs("commit", heard)


def shown(columns: Counted, heard: Heard) -> dict[str, Any]:
    """Of each requirement that somebody asks for: both voices, accounts and revenue by class."""
    earned = heard.revenue.revenue(columns.currencies)
    return {
        name: (
            standings.voice(heard.voices, code),
            standings.voice(heard.voices_if_known, code),
            dict(zip(CLASSES, heard.classes[code].tolist(), strict=True)),
            {class_: earned.get(standings.place_of(code, number), {}) for number, class_ in enumerate(CLASSES)},
        )
        for code, name in enumerate(columns.requirements.texts[: len(heard.classes)])
        if heard.classes[code].any()
    }


def expected(history: History, lens: Lens, position: int) -> dict[str, Any]:
    knowledge, now = history.knowledge(position), history.now(position)
    live = history.live(position)
    revenues = revenue_by_account(history, position)
    found = {}
    for requirement in {ask.requirement for ask in live}:
        asks = [ask for ask in live if ask.requirement == requirement]
        askers = as_now(knowledge, asks, now, position) if lens == "now" else as_asked(knowledge, asks, position)
        earned = {
            class_: total(
                revenues[each.account] for each in askers if each.class_ == class_ and each.account in revenues
            )
            for class_ in CLASSES
        }
        found[requirement] = (*voice(askers), count_by_class(each.class_ for each in askers), earned)
    return found


def revenue_by_account(history: History, position: int) -> dict[str, Revenue]:
    """As the queries revenue and evidence.revenue_by_account have it."""
    latest = {}
    for deal in sorted(history.deals, key=lambda each: (each.valid_from, each.position)):
        if history.holds(deal.position, position):
            latest[deal.opportunity] = deal
    found: dict[str, list[Revenue]] = {}
    for deal in latest.values():
        over = deal.ends is not None and deal.ends < history.now(position).date()
        if deal.amount is None or deal.stage == "lost" or (deal.stage == "won" and over):
            continue
        amounts = Amounts(deal.amount, 0) if deal.stage == "won" else Amounts(0, deal.amount)
        account = history.lineage.accounts.root(deal.account, position)
        found.setdefault(account, []).append({deal.currency: amounts})
    return {account: total(each) for account, each in found.items()}
