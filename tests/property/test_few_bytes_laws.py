"""What an aggregate keeps of very many events in a few bytes each is a set of positions, and a set of ids."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from services.ledger.rules.ids import DIGEST_BYTES, Ids, _stands_in
from services.ledger.rules.positions import CHUNK_BYTES_MAX, Positions

STEPS = st.lists(st.one_of(st.integers(1, 300), st.integers(1, 2**40)), max_size=60)


@given(steps=STEPS, repeat=st.integers(1, 60), data=st.data())
def test_positions_are_those_that_were_added_and_not_taken_away(steps: list[int], repeat: int, data: st.DataObject):
    kept, ours = list[int](), Positions()
    position = 0
    for step in steps * repeat:
        position += step
        kept.append(position)
        ours = ours.plus(position)
    assert all(len(chunk.steps) < CHUNK_BYTES_MAX + 10 for chunk in ours.full)
    before = [*kept]
    left = ours
    for _ in range(data.draw(st.integers(0, 5))):
        gone = data.draw(st.sampled_from(kept) if kept else st.integers(1, 10)) + data.draw(st.integers(0, 1))
        kept = [each for each in kept if each != gone]
        left = left.minus(gone)
        assert [*left] == kept
        assert bool(left) == bool(kept)
    assert [*left.plus(2**63)] == [*kept, 2**63]
    assert [*ours] == before, "what was there before stays as it was"


def test_what_was_taken_away_can_be_nothing_and_all():
    ours = Positions().plus(7)
    assert ours.minus(6) is ours
    assert not ours.minus(7)
    assert [*ours.minus(7).plus(9)] == [9]


def test_each_of_very_many_takes_two_bytes_or_so():
    ours = Positions()
    tracemalloc.start()
    try:
        for position in range(1, 20_000_000, 200):
            ours = ours.plus(position)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 100_000 * 3


@given(names=st.lists(st.text(max_size=8), max_size=700), others=st.lists(st.text(max_size=8), max_size=20))
def test_ids_are_those_that_were_added(names: list[str], others: list[str]):
    ours = Ids()
    for name in names:
        ours = ours.plus(name)
    assert len(ours) == len(names)
    assert all(name in ours for name in names)
    assert [other in ours for other in others] == [other in names for other in others]


def test_an_id_is_not_found_across_two_others():
    ours = Ids().plus("a").plus("b")
    across = ours.open[DIGEST_BYTES // 2 : -DIGEST_BYTES // 2]
    assert across in ours.open
    assert not _stands_in(across, ours.open)
    assert _stands_in(across, ours.open + across)
