"""An account by itself is heard as columns hear all, at each position of a short history without names or merges."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import numpy as np
import pytest

from services.projector.counting.columns import digest, microseconds
from services.projector.counting.counted import Counted, Said
from services.projector.counting.judging import Lens
from services.projector.counting.one_by_one import NAMES_ONE_BY_ONE_MAX, Few, hear_each
from services.projector.counting.standings import Heard, hear

START = datetime(2026, 6, 15, 9, tzinfo=UTC)
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
    theirs = Few.of(columns, np.array([0], np.int32))
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
    assert Few.of(columns, np.arange(at_once - 1, dtype=np.int32)) is not None
    assert Few.of(columns, np.arange(at_once, dtype=np.int32)) is None
