"""What was at stake and what became of it, counted, is what is said of one opportunity: also on the day it ends."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Literal, cast, get_args

import numpy as np
import pytest

from services.projector.counting import decided
from services.projector.counting.columns import day_number, digest, microseconds
from services.projector.counting.counted import Counted, Said
from services.projector.counting.decided import GAINED, GONE, STILL_OPEN, TAKEN_BACK, at_stake, became, fates, who_asked
from services.projector.judgement.lenses import Decision
from services.projector.judgement.stakes import Fate, Opportunity, fate
from tests.holding import never

TODAY = date(2026, 6, 15)
DECIDED = datetime(2026, 6, 15, 9, tzinfo=UTC)
ASKED, SAID, MADE, SAID_AGAIN, TAKEN = 1, 2, 3, 4, 5

KIND_OF: dict[Fate, int] = {
    "won": GAINED, "renewed": GAINED, "kept": GAINED, "lost": GONE, "ended": GONE, "open": STILL_OPEN,
    "retracted": TAKEN_BACK,
}  # fmt: skip

ENDS = [None, *(TODAY + timedelta(days) for days in (-1, 0, 1))]


def opportunity(stage: str, ends: date | None) -> Opportunity:
    return Opportunity(
        opportunity="o",
        account="acme",
        stage=cast(Literal["open", "won", "lost"], stage),
        amount=5_000_000,
        currency="EUR",
        kind="new",
        closes=None,
        ends=ends,
        closed_because=None,
        requirements=["R"],
        position=SAID,
    )


def ledger(then: tuple[str, date | None], now: tuple[str, date | None] | None, *, is_taken_back: bool) -> Counted:
    """An account asks, with an opportunity that was in one state when it was decided and is in another now."""
    at = microseconds(DECIDED - timedelta(hours=1))
    rows = [(then, SAID, at)] + ([] if now is None else [(now, SAID_AGAIN, microseconds(DECIDED + timedelta(hours=1)))])
    return Counted.nothing().plus(
        Said(
            upto=TAKEN,
            asks=(["acme"], ["R"], digest("x"), *(np.array([value], np.int64) for value in (1, at, ASKED))),
            opportunities=[
                ("o", "acme", stage, 5_000_000, "EUR", None if ends is None else day_number(ends), valid, position)
                for (stage, ends), position, valid in rows
            ],
            named=[("R", "o", position) for _, position, _ in rows],
            retractions=[(TAKEN, SAID)] if is_taken_back else [],
        )
    )


def test_every_fate_is_of_a_kind():
    assert KIND_OF.keys() == {*get_args(Fate)}


@pytest.mark.parametrize("then", [(stage, ends) for stage in ("open", "won", "lost") for ends in ENDS])
@pytest.mark.parametrize("now", [None, *((stage, ends) for stage in ("open", "won", "lost") for ends in ENDS)])
@pytest.mark.parametrize("is_taken_back", [False, True])
def test_stakes_and_fates_are_those_of_one(
    then: tuple[str, date | None], now: tuple[str, date | None] | None, is_taken_back: bool
):
    columns = ledger(then, now, is_taken_back=is_taken_back)
    decision = Decision("D", MADE, DECIDED, None, "commit", ["R"])
    asked = who_asked(columns, decision)
    found = at_stake(columns, decision, asked)
    was = opportunity(*then)
    if not was.counts(DECIDED.date()):
        assert not len(found.opportunities)
        return
    assert len(found.opportunities) == 1
    standing = now if now is not None else (None if is_taken_back else then)
    expected = KIND_OF[fate(was, None if standing is None else opportunity(*standing), TODAY)]
    noon, stakes = datetime.combine(TODAY, time(12), UTC), {MADE: found}
    fated = fates(columns, stakes, TAKEN, noon)
    assert fates(columns, stakes, TAKEN, noon, fates(columns, stakes, MADE, noon)) == fated
    told = became(columns.currencies, found, fated.fates[MADE])
    assert [*told] == [expected]


def test_near_a_position_only_what_has_moved_is_looked_up(monkeypatch: pytest.MonkeyPatch):
    columns = ledger(("open", None), None, is_taken_back=False)
    decision = Decision("D", MADE, DECIDED, None, "commit", ["R"])
    stakes = {MADE: at_stake(columns, decision, who_asked(columns, decision))}
    before = fates(columns, stakes, MADE, DECIDED)
    monkeypatch.setattr(decided, "_fates", never)
    assert fates(columns, stakes, TAKEN, DECIDED, before).fates == before.fates
    with pytest.raises(AssertionError):
        fates(columns, stakes, TAKEN, DECIDED + timedelta(days=1), before)
