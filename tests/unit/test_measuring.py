"""The benchmarks' figures: in alternation, after a warm-up, medians of enough samples."""

from benchmarks.measuring import ROUNDS_MIN, WARM_UP_ROUNDS, Case, Figure, alternate
from benchmarks.what_if import proposals


def test_a_ratio_is_that_of_the_medians():
    figure = Figure.ratio([2.0, 3.0, 100.0], [1.0, 2.0, 2.0])
    assert figure.value == 1.5
    assert figure.samples == [2.0, 1.5, 50.0]


async def test_cases_run_in_alternation_and_the_warm_up_does_not_count():
    ran: list[str] = []

    def case(name: str) -> Case:
        async def run() -> float:
            ran.append(name)
            return float(len(ran))

        return run

    samples = await alternate({"a": case("a"), "b": case("b")}, rounds=7, seconds_max=60, progress=lambda _: None)
    assert ran == ["a", "b"] * (WARM_UP_ROUNDS + 7)
    assert [len(each) for each in samples.values()] == [7, 7]
    assert min(samples["a"]) > 2 * WARM_UP_ROUNDS


async def test_mirrored_each_case_is_as_often_the_first_of_its_round():
    ran: list[str] = []

    def case(name: str) -> Case:
        async def run() -> float:
            ran.append(name)
            return 0.0

        return run

    await alternate({"a": case("a"), "b": case("b")}, rounds=6, seconds_max=60, progress=lambda _: None, mirrored=True)
    assert ran == ["a", "b", "b", "a"] * ((WARM_UP_ROUNDS + 6) // 2)


async def test_when_the_time_is_over_there_are_samples_enough_for_a_median():
    async def run() -> float:
        return 0.0

    samples = await alternate({"a": run}, rounds=100, seconds_max=0, progress=lambda _: None)
    assert len(samples["a"]) == ROUNDS_MIN


def test_no_two_proposals_are_alike():
    made = proposals()
    tried = [str(next(made)) for _ in range(100)]
    assert len({*tried}) == 100
