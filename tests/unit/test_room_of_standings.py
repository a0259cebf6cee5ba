"""What a standing takes grows with the deals there are, not with the currencies there could be."""

from datetime import UTC, datetime

import numpy as np

from services.projector.answers.requirements import _in_shares
from services.projector.counting.columns import digest
from services.projector.counting.counted import Counted, Said
from services.projector.counting.standings import place_of, stand
from services.projector.judgement.revenue import Amounts

NOW = datetime(2026, 11, 22, tzinfo=UTC)
REQUIREMENTS, CURRENCIES = 800, 150
OCTETS_OF_A_REQUIREMENT_MAX = 200


def test_many_currencies_take_little_room() -> None:
    numbers = np.arange(1, REQUIREMENTS + 1)
    accounts = [f"account {number}" for number in numbers]
    columns = Counted.nothing().plus(
        Said(
            upto=2 * REQUIREMENTS,
            asks=(
                accounts,
                [f"R-{number}" for number in numbers],
                b"".join(digest(account) for account in accounts),
                np.full(REQUIREMENTS, 3),
                numbers,
                numbers,
            ),
            opportunities=[
                (account, account, "open", -7, f"currency {number % CURRENCIES}", None, 1, REQUIREMENTS + number)
                for number, account in enumerate(accounts, 1)
            ],
        )
    )
    half = stand(columns, "now", REQUIREMENTS + REQUIREMENTS // 2, NOW)
    whole = stand(columns, "now", 2 * REQUIREMENTS, NOW, half)
    assert whole.heard.octets < REQUIREMENTS * OCTETS_OF_A_REQUIREMENT_MAX
    last, undetermined = columns.requirements.code(f"R-{REQUIREMENTS}"), 2
    found = whole.heard.revenue.revenue(columns.currencies)
    assert found[place_of(last, undetermined)] == {f"currency {REQUIREMENTS % CURRENCIES}": Amounts(0, -7)}
    assert place_of(last, undetermined) not in half.heard.revenue.revenue(columns.currencies)
    assert len(stand(columns, "now", REQUIREMENTS, NOW, whole).heard.revenue.at) == 0


def test_voices_in_shares_that_64_bits_do_not_count_are_exact() -> None:
    totals = (2**31 - 1, 2**61 - 1)
    share = totals[0] * totals[1]
    voices = {totals[0]: np.array([5, 7]), totals[1]: np.array([0, 3, 4])}
    found = _in_shares(voices, share, np.array([2, 0, 1, 9]))
    assert [*found] == [4 * totals[0], 5 * totals[1], 7 * totals[1] + 3 * totals[0], 0]
    few = _in_shares({6: np.array([5, 7])}, 12, np.array([1, 0]))
    assert (few.dtype, few.tolist()) == (np.int64, [14, 10])
