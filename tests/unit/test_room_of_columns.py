"""How much room what is counted takes: so much an ask, little besides while it is counted, and no more for a while
because a few events came in."""

import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import numpy as np
import pytest

from schemas.criteria import Eq
from schemas.events import Bullet
from services.projector.counting.columns import FOREVER, Column, digest
from services.projector.counting.counted import ROWS_AT_ONCE_MAX, Counted, Said, blocks
from services.projector.counting.judging import Lens
from services.projector.counting.standings import stand
from services.projector.counting.whatif import Everybody, what_if
from services.projector.judgement.fit import Revision

NOW = datetime(2026, 11, 22, tzinfo=UTC)
BLOCKS = 4
REQUIREMENTS, ASKS_AN_ACCOUNT = 50, 8
ACCOUNTS = BLOCKS * ROWS_AT_ONCE_MAX // (ASKS_AN_ACCOUNT + 2)

OCTETS_OF_AN_ASK_MAX = 42
OCTETS_BESIDE_AN_ASK_MAX = 25
"""While it is counted: less than half of it; a copy of its columns, or a mask and an order of all, is more."""
OCTETS_OF_A_WHAT_IF_BESIDE_AN_ASK_MAX = 90


def counted(accounts: int) -> Counted:
    """So many accounts, each of which asks for some requirements and says one thing of itself; numbers are positions
    and microseconds."""
    names = [f"account-{number}" for number in range(accounts)]
    askers = [name for name in names for _ in range(ASKS_AN_ACCOUNT)]
    asks = len(askers)
    numbers = np.arange(1, asks + 1)
    ids = b"".join(digest(f"ask-{number}") for number in range(asks))
    said = numbers[:accounts] + asks
    return Counted.nothing().plus(
        Said(
            upto=asks + accounts,
            asks=(askers, [f"R-{each % REQUIREMENTS}" for each in range(asks)], ids, numbers % 5 + 1, numbers, numbers),
            facts=(names, ["tier"] * accounts, [f'"{each % 7}"' for each in range(accounts)], said, said),
        )
    )


def a_few_more(before: Counted, **said: object) -> Said:
    at = np.array([before.position + 1])
    asks = (["account-1"], ["R-1"], digest("another"), np.array([3]), at, at)
    return Said(upto=before.position + 2, asks=asks, **said)  # type: ignore[arg-type]


def revision() -> Revision:
    bullet = Bullet(bullet="first", text="First", test=Eq(attribute="tier", value="1"))
    return Revision(agreement="target-market", revision="2", title="", stage="focused", threshold=50, bullets=[bullet])


def count(lens: Lens, columns: Counted) -> None:
    stand(columns, lens, columns.position, NOW)


def try_one(columns: Counted) -> None:
    what_if(
        columns,
        Everybody.at(columns, columns.position, NOW),
        None,
        revision(),
        judges_asks=True,
        requirements=columns.codes_of([]),
        decisions=[],
    )


def octets_beside(compute: Callable[[Counted], None], columns: Counted) -> int:
    """What is taken at most besides the columns while something is computed from them."""
    compute(columns)  # What is kept from the first time on is no matter here.
    tracemalloc.start()
    try:
        compute(columns)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_ask_takes_so_much_room_and_none_for_an_object() -> None:
    few, many = counted(ACCOUNTS // 2), counted(ACCOUNTS)
    assert many.asks.octets - few.asks.octets <= (len(many.asks) - len(few.asks)) * OCTETS_OF_AN_ASK_MAX


@pytest.mark.parametrize(
    ("compute", "octets"),
    [
        pytest.param(partial(count, "now"), OCTETS_BESIDE_AN_ASK_MAX, id="as now"),
        pytest.param(partial(count, "asked"), OCTETS_BESIDE_AN_ASK_MAX, id="as asked"),
        pytest.param(try_one, OCTETS_OF_A_WHAT_IF_BESIDE_AN_ASK_MAX, id="what-if"),
    ],
)
def test_to_count_all_takes_little_besides(compute: Callable[[Counted], None], octets: int) -> None:
    few, many = counted(ACCOUNTS), counted(2 * ACCOUNTS)
    grows = octets_beside(compute, many) - octets_beside(compute, few)
    assert grows <= (len(many.asks) - len(few.asks)) * octets


@pytest.mark.parametrize("names", [None, np.arange(0, 1_000, 2, np.int32)])
def test_a_few_busy_accounts_make_no_larger_block(names: Column | None) -> None:
    asks = np.arange(1, 4 * ROWS_AT_ONCE_MAX + 1)
    # Nine of a thousand accounts ask for nine tenths of all.
    askers = [f"account-{each % 10 or each % 10_000}" for each in asks.tolist()]
    ids = b"".join(digest(f"ask-{each}") for each in asks.tolist())
    columns = Counted.nothing().plus(
        Said(upto=len(asks), asks=(askers, ["R-1"] * len(asks), ids, asks % 5 + 1, asks, asks))
    )
    of_each = np.bincount(columns.asks.whole["account"])
    found = [*blocks(columns, columns.position, names)]
    wanted = np.arange(columns.size) if names is None else names
    assert np.concatenate([each.names for each in found]).tolist() == wanted.tolist()
    assert all(of_each[each.names[:-1]].sum() < ROWS_AT_ONCE_MAX for each in found)
    assert len(found) <= 1 + 2 * (len(asks) + columns.size) / ROWS_AT_ONCE_MAX


@pytest.mark.parametrize("lens", ["now", "asked"])
def test_to_count_all_keeps_no_copy(lens: Lens) -> None:
    columns = counted(ACCOUNTS)
    count(lens, columns)  # The orders in which rows are looked for are found once.
    try_one(columns)
    grown = columns.plus(a_few_more(columns))
    before = grown.octets
    count(lens, grown)
    try_one(grown)
    assert grown.octets == before


def test_a_few_more_events_copy_no_column() -> None:
    columns = counted(ACCOUNTS)
    grown = columns.plus(a_few_more(columns))
    assert len(grown.asks) == len(columns.asks) + 1
    for before, after in ((columns.asks, grown.asks), (columns.facts, grown.facts)):
        assert all(after.parts[0][name] is column for name, column in before.parts[0].items())


def test_a_retraction_copies_only_until_when_what_it_names_holds() -> None:
    columns = counted(ACCOUNTS)
    grown = columns.plus(a_few_more(columns, retractions=[(columns.position + 2, 1)]))
    copied = [name for name, column in columns.asks.parts[0].items() if grown.asks.parts[0][name] is not column]
    assert copied == ["until"]
    assert all(grown.facts.parts[0][name] is column for name, column in columns.facts.parts[0].items())


def test_a_position_that_the_columns_have_no_room_for_is_refused() -> None:
    with pytest.raises(OverflowError):
        Counted.nothing().plus(Said(upto=FOREVER))
