"""What has made room for something else is found again as it was: however little is remembered, the answers are the
same."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.projector.answers import held, looked_at
from services.projector.counting import naming, whatif
from services.projector.counting.decided import Stakes, at_stake, fates, review, who_asked
from services.projector.counting.headings import Headings
from services.projector.counting.standings import AskedWhen, stand
from services.projector.counting.whatif import Everybody, by_bullet, what_if
from tests.counting import REQUIREMENTS, counted, some_history, some_revision
from tests.property.test_decided_laws import looked_at as all_looked_at
from tests.property.test_decided_laws import some_decisions, some_stakes
from tests.property.test_standings_laws import LENSES, shown

seeds = st.integers(0, 2**32)
QUESTIONS = 12


@given(seeds, st.integers(5, 60), st.integers(1, 3), st.sampled_from([0, 10_000]), st.sampled_from([0, 10**9]))
@settings(max_examples=40)
def test_what_made_room_is_found_again(seed: int, length: int, count: int, octets: int, near: int) -> None:
    chance = random.Random(seed)
    history = some_history(chance, length)
    columns = counted(history)
    # One event makes one decision.
    decisions = [*{made.position: made for made, _ in some_decisions(chance, history)}.values()]
    looked = all_looked_at(columns, [(made, None) for made in decisions])
    stakes = {number: some_stakes(chance, len(columns.deals)) for number in range(6)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(held, "STANDINGS_HELD_MAX", count)
        patch.setattr(held, "STANDINGS_OCTETS_MAX", octets or held.STANDINGS_OCTETS_MAX)
        patch.setattr(held, "STANDINGS_NEAR_POSITIONS", near)
        patch.setattr(looked_at, "ASKED_OCTETS_MAX", octets)
        patch.setattr(looked_at, "REVIEWS_MAX", count + 2)
        patch.setattr(looked_at, "FATED_MAX", count + 2)
        patch.setattr(looked_at, "NEAR_POSITIONS", near)
        patch.setattr(naming, "REMEMBERED_MAX", count)
        remembered = held.Remembered(columns, Headings.nothing(columns.requirements))
        for _ in range(QUESTIONS):
            position, lens = chance.randrange(1, length + 1), chance.choice(LENSES)
            now = history.now(position)
            fresh = counted(history)
            anew = stand(fresh, lens, position, now)
            assert shown(columns, remembered.standing(lens, position, now).heard) == shown(fresh, anew.heard)
            decision = chance.choice(decisions)
            asked, known = remembered.looked_at.who_asked(columns, decision), who_asked(columns, decision)
            assert listed(asked)[:2] == listed(known)[:2]
            assert listed(remembered.looked_at.stakes(columns, decision)) == listed(at_stake(columns, decision, known))
            found = remembered.looked_at.review(columns, looked, position, now)
            assert found.counts == review(columns, looked, position, now).counts
            some = dict(chance.sample([*stakes.items()], 3))
            became = remembered.looked_at.fates(columns, some, position, now)
            assert became == fates(columns, some, position, now).fates


def listed(found: AskedWhen | Stakes) -> list[list[int]]:
    """Its columns. Of who asked the asks come last, and are not remembered."""
    return [getattr(found, name).tolist() for name in found.__struct_fields__]


@given(seeds, st.integers(5, 60))
@settings(max_examples=40)
def test_bullets_add_the_same_to_a_voice_however_many_patterns_there_are(seed: int, length: int) -> None:
    chance = random.Random(seed)
    history = some_history(chance, length)
    columns = counted(history)
    found = what_if(
        columns,
        Everybody.at(columns, length, history.now(length)),
        some_revision(chance, "before"),
        some_revision(chance, "after"),
        judges_asks=True,
        requirements=columns.codes_of(sorted(REQUIREMENTS)),
        decisions=[],
    )
    requirements = [columns.requirements.code(each) for each in REQUIREMENTS if each in columns.requirements.texts]
    for judged in (found.before, found.after):
        together = by_bullet(found, judged, requirements)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(whatif, "_PATTERNS_AT_ONCE_MAX", 0)
            assert by_bullet(found, judged, requirements) == together
