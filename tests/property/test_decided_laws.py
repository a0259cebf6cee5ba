"""Which decisions need review is counted from columns as review.marks tells it one by one."""

import random
from collections.abc import Mapping

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.projector.counting import decided
from services.projector.counting.counted import Counted
from services.projector.counting.decided import Looked, Review, Stakes, fates, review, who_asked
from services.projector.judgement.lenses import Decision
from services.projector.judgement.review import marks
from tests.counting import REQUIREMENTS, History, counted, some_history

seeds = st.integers(0, 2**32)
NEAR = 3


def some_decisions(chance: random.Random, history: History) -> list[tuple[Decision, Decision | None]]:
    """Decisions, each with its last reaffirmation if there is one."""
    found: list[tuple[Decision, Decision | None]] = []
    for number in range(6):
        at = chance.randrange(2, history.length + 2)
        about = chance.sample(REQUIREMENTS, chance.randrange(1, 4))
        seen = chance.choice([None, chance.randrange(at)])
        made = Decision(f"D-{number}", at, history.now(chance.randrange(at)), seen, "commit", about)
        later = chance.randrange(at, history.length + 2)
        again = made._replace(position=later, valid_from=history.now(chance.randrange(later)), seen=None)
        found.append((made, again if later > at and chance.random() < 0.4 else None))
    return found


def looked_at(columns: Counted, decisions: list[tuple[Decision, Decision | None]]) -> Mapping[tuple[int, int], Looked]:
    return {
        (number, 0 if again is None else again.position): Looked(
            made.requirements, who_asked(columns, made), None if again is None else who_asked(columns, again)
        )
        for number, (made, again) in enumerate(decisions)
    }


def some_stakes(chance: random.Random, deals: int) -> Stakes:
    """Some of so many opportunities, which were open or won, and worth nothing."""
    found = np.array([code for code in range(deals) if chance.random() < 0.5], np.int32)
    none = np.zeros(len(found), np.int64)
    is_open = np.array([chance.random() < 0.5 for _ in found], bool)
    return Stakes(opportunities=found, classes=none, open=is_open, currencies=none, high=none, low=none)


def in_review(found: Review) -> set[int]:
    return {number for (number, _), count in found.counts.items() if count}


@given(seeds, st.integers(5, 70), st.data())
def test_what_needs_review_is_what_has_marks(seed: int, length: int, data: st.DataObject) -> None:
    chance = random.Random(seed)
    history = some_history(chance, length)
    decisions = some_decisions(chance, history)
    position = data.draw(st.integers(1, length))
    known = [each for each in decisions if all(one is None or one.position <= position + 1 for one in each)]
    columns = counted(history)
    found = review(columns, looked_at(columns, known), position, history.now(position))
    knowledge = history.knowledge_with_retractions()
    expected = {
        number
        for number, (made, again) in enumerate(known)
        if marks(
            knowledge,
            history.asks_with_retractions(),
            made,
            "target-market",
            history.now(position),
            position,
            reaffirmed=again,
        )
    }
    assert in_review(found) == expected


@given(seeds, st.integers(5, 70), st.data())
def test_it_follows_from_what_was_elsewhere(seed: int, length: int, data: st.DataObject) -> None:
    chance = random.Random(seed)
    history = some_history(chance, length)
    decisions = some_decisions(chance, history)
    columns = counted(history)
    looked = looked_at(columns, decisions)
    here, there = data.draw(st.integers(1, length)), data.draw(st.integers(1, length))
    some = {key: each for key, each in looked.items() if chance.random() < 0.7}
    whole = review(columns, looked, here, history.now(here))
    asking = decided.live(columns, here).account
    # Close by, few decisions are looked at again, and the others must be as they were.
    for near in (there, *range(max(1, here - NEAR), min(length, here + NEAR) + 1)):
        since = review(columns, some, near, history.now(near))
        found = review(columns, looked, here, history.now(here), since)
        assert found.counts == whole.counts
        assert (found.classes[asking] == whole.classes[asking]).all()


@given(seeds, st.integers(5, 70), st.data())
def test_what_became_of_stakes_follows_from_what_had_elsewhere(seed: int, length: int, data: st.DataObject) -> None:
    chance = random.Random(seed)
    history = some_history(chance, length)
    columns = counted(history)
    stakes = {at: some_stakes(chance, len(columns.deals)) for at in range(6)}
    here, there = data.draw(st.integers(1, length)), data.draw(st.integers(1, length))
    some = {at: each for at, each in stakes.items() if chance.random() < 0.7}
    since = fates(columns, some, there, history.now(there))
    # On the day of the other position only what was said in between is looked up; on another day contracts have ended.
    for now in (history.now(there), history.now(here)):
        assert fates(columns, stakes, here, now, since).fates == fates(columns, stakes, here, now).fates
