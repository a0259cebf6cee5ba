"""An account by itself is heard as columns hear all, at each position of a short history without names or merges."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import numpy as np
import pytest

from services.projector.counting.columns import digest, empty, microseconds
from services.projector.counting.counted import Counted, Said
from services.projector.counting.judging import Lens, repeats
from services.projector.counting.live_asks import Sought
from services.projector.counting.naming import Naming
from services.projector.counting.one_by_one import NAMES_ONE_BY_ONE_MAX, ROWS_ONE_BY_ONE_MAX, Few, hear_each
from services.projector.counting.standings import Heard, Moment, hear, touched

START = datetime(2026, 6, 15, 9, tzinfo=UTC)
ALL = Sought(np.empty(0, np.int32), np.empty(0, np.int64))
ASKED, WITHDRAWN, REVISED, BACKDATED, TAKEN_BACK, LAST = 1, 3, 5, 6, 8, 9


def now(position: int) -> datetime:
    return START + timedelta(hours=position)


def ledger(accounts: int = 1) -> Counted:
    """Each account asks, withdraws, and asks again; a withdrawal about an earlier time changes nothing, and at last the
    revision is taken back."""
    names = [f"a-{number}" for number in range(accounts)]
    said = [(name, position) for name in names for position in (ASKED, REVISED)]
    valid = [microseconds(now(position)) for _, position in said]
    return Counted.nothing().plus(
        Said(
            upto=LAST,
            asks=(
                [name for name, _ in said],
                ["R"] * len(said),
                b"".join(digest(name) for name, _ in said),
                *(np.array(each, np.int64) for each in ([2] * len(said), valid, [at for _, at in said])),
            ),
            withdrawals=[
                ("R", digest(names[0]), microseconds(now(WITHDRAWN)), WITHDRAWN),
                ("R", digest(names[0]), microseconds(now(WITHDRAWN)), BACKDATED),
            ],
            retractions=[(TAKEN_BACK, REVISED)],
        )
    )


@pytest.mark.parametrize("position", range(1, LAST + 1))
@pytest.mark.parametrize("lens", get_args(Lens))
def test_an_ask_stands_from_when_it_is_said_until_it_is_withdrawn(position: int, lens: Lens) -> None:
    columns = ledger()
    theirs = Few.of(columns, np.array([0], np.int32), ALL, [position])
    assert theirs is not None
    each = hear_each(theirs, lens, position, now(position))
    assert each is not None
    assert bool(each) == (position < WITHDRAWN or REVISED <= position < TAKEN_BACK)
    found, whole = Heard.nothing().changed(set(), each, columns.width), hear(columns, lens, position, now(position))
    assert found.classes.sum() == len(each)
    assert not each or found.classes.tolist() == whole.classes.tolist()


def test_many_are_left_to_columns() -> None:
    at_once = NAMES_ONE_BY_ONE_MAX + 1
    columns = ledger(at_once)
    assert Few.of(columns, np.arange(at_once - 1, dtype=np.int32), ALL, [LAST]) is not None
    assert Few.of(columns, np.arange(at_once, dtype=np.int32), ALL, [LAST]) is None


def test_who_asks_for_one_thing_more_is_heard_about_that_alone() -> None:
    before = ROWS_ONE_BY_ONE_MAX + 1
    positions = np.arange(1, before + 2)
    requirements = [f"R-{position}" for position in positions]
    columns = Counted.nothing().plus(
        Said(
            upto=before + 1,
            asks=(
                ["a"] * len(positions),
                requirements,
                b"".join(map(digest, requirements)),
                np.full(len(positions), 2),
                np.array([microseconds(now(position)) for position in positions.tolist()]),
                positions,
            ),
        )
    )
    since = Moment(before, now(before))
    said = touched(columns, since, before + 1, now(before + 1))
    theirs = Few.of(columns, said.names, said.sought, [before, before + 1])
    assert theirs is not None
    each = [hear_each(theirs, "now", position, now(position)) for position in (before, before + 1)]
    assert each[0] == set()
    assert each[1] is not None
    assert [columns.requirements.texts[voice.requirement] for voice in each[1]] == requirements[-1:]


def test_what_is_said_again_is_looked_through_once() -> None:
    said = [
        ("a", "eu", 1),
        ("a", "eu", 2),
        ("a", "us", 3),
        ("a", "us", 4),
        ("b", "us", 5),
        ("b", "us", 6),
        ("b", "us", 7),
    ]
    names, values, positions = zip(*said, strict=True)
    recorded = np.array(positions)
    valid = np.array([microseconds(now(position)) for position in positions])
    valid[-1] = microseconds(now(0))  # It came late, and says what was so before.
    columns = Counted.nothing().plus(
        Said(upto=8, facts=(names, ["region"] * len(said), values, valid, recorded), retractions=[(8, 5)])
    )
    facts = columns.facts.whole
    assert facts["position"][repeats(facts, [])].tolist() == [2, 4]
    one = Naming(
        accounts={"name": np.array([1], np.int32), "root": np.array([0], np.int32)},
        requirements=empty(name=np.int32, root=np.int32),
        moved=empty(low=np.uint64, high=np.uint64, requirement=np.int32, place=np.int32),
    )
    assert not repeats(facts, [one]).any()
