"""Whole lists are remembered up to a number of rows, wherever these are, and while they are of what there is."""

import asyncio

import pytest

from services.projector.requests.readings import WHOLE_LISTS_ROWS_MAX, Whole, WholeLists

AT = ("main", ("requirements a 1", "accounts b 2"), 7, None)
BUILT_ANEW = ("main", ("requirements a 3", "accounts b 2"), 7, None)
OF_OTHERS = ("main", ("promises c 4",), 7, None)
ELSEWHERE = ("other", ("requirements a 5", "accounts b 6"), 7, None)


class Asked:
    def __init__(self) -> None:
        self.lists = WholeLists()
        self.made: list[str] = []

    async def ask(self, name: str, whole: Whole, at: tuple[object, ...] = AT) -> None:
        async def make() -> Whole:
            self.made.append(name)
            return whole

        assert await self.lists.whole((at, name), make) is whole


async def test_rows_inside_of_others_count_as_rows() -> None:
    asked, small, large = Asked(), Whole([object()]), Whole([object()], within=WHOLE_LISTS_ROWS_MAX)
    for name, whole in (("a", small), ("b", small), ("a", small)):
        await asked.ask(name, whole)
    assert asked.made == ["a", "b"]
    for name, whole in (("c", large), ("c", large), ("a", small)):
        await asked.ask(name, whole)
    assert asked.made == ["a", "b", "c", "a"]


async def test_lists_of_what_was_built_anew_are_let_go_of() -> None:
    asked, whole = Asked(), Whole([object()])
    for number, at in enumerate((AT, OF_OTHERS, ELSEWHERE, BUILT_ANEW)):
        await asked.ask(str(number), whole, at)
    asked.made.clear()
    for number, at in enumerate((OF_OTHERS, ELSEWHERE, BUILT_ANEW), 1):
        await asked.ask(str(number), whole, at)
    assert asked.made == []
    await asked.ask("0", whole, AT)
    assert asked.made == ["0"]


async def test_a_list_is_made_once_at_a_time_also_where_that_fails() -> None:
    lists, whole = WholeLists(), Whole([object()])
    failing, making = asyncio.Event(), asyncio.Event()
    made: list[str] = []

    async def fail() -> Whole:
        made.append("failed")
        await failing.wait()
        raise RuntimeError

    async def make() -> Whole:
        made.append("made")
        await making.wait()
        return whole

    first = asyncio.create_task(lists.whole((AT, "a"), fail))
    await asyncio.sleep(0)
    waiting = [asyncio.create_task(lists.whole((AT, "a"), make))]
    await asyncio.sleep(0)
    failing.set()
    with pytest.raises(RuntimeError):
        await first
    # Who asks before the one who waited has begun, and afterwards.
    for _ in range(3):
        waiting.append(asyncio.create_task(lists.whole((AT, "a"), make)))
        await asyncio.sleep(0)
    making.set()
    assert await asyncio.gather(*waiting) == [whole] * len(waiting)
    assert made == ["failed", "made"]
