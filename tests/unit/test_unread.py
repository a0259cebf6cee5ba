"""Who makes way when there is no room for another answer."""

from typing import Any, cast

import pytest

from services.unread import STILL_SECONDS_MAX, Overloaded, Sending, making_way

ROOM_BYTES = 100
NOW = 60.0
STILL = NOW - STILL_SECONDS_MAX


def sending(size: int, still_since: float) -> Sending:
    """An answer of so many bytes, whose reader took something last at this time."""
    answer = Sending(cast(Any, None), size)
    answer.still_since = still_since
    return answer


def test_where_there_is_room_nobody_makes_way():
    assert making_way([sending(40, 0.0)], 60, ROOM_BYTES, NOW) == []


def test_who_has_read_nothing_for_longest_makes_way_and_no_more_than_are_needed():
    third, first, second = sending(20, STILL), sending(40, STILL - 2), sending(40, STILL - 1)
    assert making_way([third, first, second], 30, ROOM_BYTES, NOW) == [first]
    assert making_way([third, first, second], 50, ROOM_BYTES, NOW) == [first, second]


@pytest.mark.parametrize("still_since", [STILL + 0.1, NOW, float("inf")])
def test_who_reads_does_not_make_way(still_since: float):
    still, reader = sending(40, STILL), sending(60, still_since)
    assert making_way([reader, still], 40, ROOM_BYTES, NOW) == [still]
    with pytest.raises(Overloaded):
        making_way([reader, still], 41, ROOM_BYTES, NOW)


def test_what_has_all_the_room_to_itself_is_taken_whatever_its_size():
    assert making_way([], 2 * ROOM_BYTES, ROOM_BYTES, NOW) == []
    still = sending(2 * ROOM_BYTES, STILL)
    assert making_way([still], 3 * ROOM_BYTES, ROOM_BYTES, NOW) == [still]
