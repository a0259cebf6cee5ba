"""What a page of the log comes to: how far it can be applied, and what is in the way."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from schemas.codec import close_record, open_record
from schemas.envelope import Recorded
from services.projector import feed
from services.projector.apply import Folded, Refused, Trouble, Values, apply, fold_page, trouble
from services.projector.feed import Page, Stored, decode
from services.projector.projections import ALL, Row
from tests.log import event, read
from tests.unit.test_fold import RECORDED

ACCOUNTS, REQUIREMENTS = ALL[0], ALL[2]


def stored(position: int, type: str = "ask.recorded", **data: Any) -> Stored:
    (sent,) = read(event(type, **(data or {"requirement": "R-1", "account": "acme"})))
    opened = open_record(sent, sent.data, "k", "service")
    return Stored(
        position, sent.type, close_record(opened, timed=False, recordedtime=RECORDED, position=position, version=1)
    )


def profile(position: int) -> Stored:
    return stored(position, "account.profiled", account="acme", attributes={})


def page(*events: Stored, hole: str | None = None) -> Page:
    return Page(events[0].position - 1, events, hole)


def made_by(folded: Folded) -> list[int]:
    return sorted({position for values in folded.rows.values() for position, *_ in values})


def test_a_page_is_folded_whole() -> None:
    folded = fold_page(REQUIREMENTS, page(stored(4), profile(5), stored(6)))
    assert (folded.after, folded.upto, made_by(folded), folded.trouble) == (3, 6, [4, 6], None)


def test_an_empty_page_moves_nothing() -> None:
    assert fold_page(REQUIREMENTS, Page(3, (), None)) == Folded(3, 3, {}, None)


def test_what_is_for_others_is_not_even_decoded() -> None:
    garbage = Stored(5, "ledger.account.profiled.v1", b"garbage")
    folded = fold_page(REQUIREMENTS, page(stored(4), garbage, stored(6)))
    assert (folded.upto, folded.trouble) == (6, None)
    assert fold_page(ACCOUNTS, page(stored(4), garbage)).upto == 4


def test_a_page_is_decoded_once_for_all_projections(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def counting(stored: Stored) -> Recorded:
        decoded.append(stored.position)
        return decode(stored)

    monkeypatch.setattr(feed, "decode", counting)
    whole = page(stored(4), profile(5), Stored(6, "ledger.ask.recorded.v1", b"{"), stored(7))
    stopped = {projection.name for projection in ALL if fold_page(projection, whole).trouble is not None}
    assert stopped == {projection.name for projection in ALL if "ledger.ask.recorded.v1" in projection.topics}
    assert sorted(decoded) == [4, 5, 6]  # Nobody went on to 7 who cares about it.


def test_what_cannot_be_decoded_ends_the_fold_before_it() -> None:
    folded = fold_page(REQUIREMENTS, page(stored(4), Stored(5, "ledger.ask.recorded.v1", b"{"), stored(6)))
    assert (folded.upto, made_by(folded)) == (4, [4])
    assert folded.trouble is not None
    assert folded.trouble.position == 5


def test_an_unknown_type_is_in_everybodys_way() -> None:
    unknown = Stored(5, "ledger.requirement.painted.v1", None)
    for projection in ALL:
        folded = fold_page(projection, page(stored(4), unknown, stored(6)))
        assert folded.upto == 4
        assert folded.trouble == Trouble(5, "no such event type in this version: ledger.requirement.painted.v1")


def test_a_hole_is_in_everybodys_way() -> None:
    for projection in ALL:
        folded = fold_page(projection, page(stored(4), profile(5), hole="position 6 is missing"))
        assert (folded.upto, folded.trouble) == (5, Trouble(6, "position 6 is missing"))


def test_bytes_that_lie_elsewhere_are_not_taken() -> None:
    moved = Stored(5, "ledger.ask.recorded.v1", stored(4).state)
    folded = fold_page(REQUIREMENTS, page(moved))
    assert folded.trouble == Trouble(5, "its bytes say position 4")


def test_of_an_event_whose_fold_fails_halfway_no_row_is_kept() -> None:
    def halfway(recorded: Recorded) -> Iterator[Row]:
        yield "asks", (recorded.position,)
        if recorded.position == 5:
            raise LookupError("lost\x00 \ud800")

    folded = fold_page(msgspec.structs.replace(REQUIREMENTS, fold=halfway), page(stored(4), stored(5), stored(6)))
    assert made_by(folded) == [4]
    assert folded.trouble == Trouble(5, "LookupError: lost\\u0000 \\ud800")


def test_a_reason_is_short_enough_to_be_shown() -> None:
    assert len(trouble(1, "x" * 100_000).reason) == 1_000


class Kept:
    """What was kept, by a database that refuses some positions."""

    def __init__(self, *refused: int) -> None:
        self.refused = {*refused}
        self.reached = 0
        self.rows: list[int] = []
        self.trouble: Trouble | None = None
        self.attempts = 0

    async def keep(self, after: int, upto: int, rows: Mapping[str, Sequence[Values]], found: Trouble | None) -> None:
        self.attempts += 1
        assert after == self.reached
        positions = [position for each in rows.values() for position, *_ in each]
        if self.refused & {*positions}:
            raise Refused("not this one")
        self.reached, self.trouble = upto, found
        self.rows += positions


def rows(*positions: int, upto: int, found: Trouble | None = None) -> Folded:
    return Folded(0, upto, {"t": [(position,) for position in positions]}, found)


async def test_a_page_is_kept_in_one_part() -> None:
    kept = Kept()
    assert await apply(rows(1, 2, 5, upto=9), kept.keep) is None
    assert (kept.reached, kept.rows, kept.attempts) == (9, [1, 2, 5], 1)


@pytest.mark.parametrize("refused", range(1, 10))
async def test_the_first_refused_event_is_found_and_all_before_it_is_kept(refused: int) -> None:
    kept = Kept(refused, 9)
    found = await apply(rows(*range(1, 10), upto=9), kept.keep)
    assert found == kept.trouble == Trouble(refused, "not this one")
    assert (kept.reached, kept.rows) == (refused - 1, [*range(1, refused)])


async def test_trouble_behind_the_page_is_kept_with_its_last_part() -> None:
    kept, hole = Kept(), Trouble(10, "hole")
    assert await apply(rows(1, upto=9, found=hole), kept.keep) == hole
    assert (kept.reached, kept.trouble, kept.attempts) == (9, hole, 1)


async def test_trouble_at_once_is_kept_where_the_cursor_is() -> None:
    kept, hole = Kept(), Trouble(1, "hole")
    assert await apply(Folded(0, 0, {}, hole), kept.keep) == hole
    assert (kept.reached, kept.trouble, kept.attempts) == (0, hole, 1)


async def test_a_refused_row_comes_before_trouble_behind_it() -> None:
    kept = Kept(4)
    assert await apply(rows(1, 4, 8, upto=9, found=Trouble(10, "hole")), kept.keep) == Trouble(4, "not this one")
    assert kept.reached == 3
