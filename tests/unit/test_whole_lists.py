"""Whole lists are remembered up to a number of rows, wherever these are."""

from services.projector.requests.readings import WHOLE_LISTS_ROWS_MAX, Whole, WholeLists


async def test_rows_inside_of_others_count_as_rows() -> None:
    lists, made = WholeLists(), []

    async def ask(name: str, whole: Whole) -> None:
        async def make() -> Whole:
            made.append(name)
            return whole

        assert await lists.whole((name,), make) is whole

    small, large = Whole([object()]), Whole([object()], within=WHOLE_LISTS_ROWS_MAX)
    for name, whole in (("a", small), ("b", small), ("a", small)):
        await ask(name, whole)
    assert made == ["a", "b"]
    for name, whole in (("c", large), ("c", large), ("a", small)):
        await ask(name, whole)
    assert made == ["a", "b", "c", "a"]
