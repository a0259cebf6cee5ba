"""How promises stand: against oracles that look at everything that was ever said, and know no index. Which decision
holds is said in one place, for all answers."""

from datetime import date, timedelta
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from schemas.values import same_team
from services.projector.judgement import lenses
from services.projector.judgement.lenses import Decision
from services.projector.judgement.promises import (
    QUARTER_END_DAYS,
    Assessed,
    Assessment,
    Decided,
    Supersession,
    is_at_quarter_end,
    quarter_end,
)
from services.projector.judgement.resolution import Merge, Resolution
from tests.unit.test_lenses import day

NAMES = ["R-1", "R-2", "R-3"]
OUTCOMES = ["commit", "decline", "defer", "explore"]
LAST = 12

days = st.integers(0, 6)
names = st.sampled_from(NAMES)
positions = st.integers(1, LAST)
promised = st.tuples(names, days, positions)

decided = st.lists(st.tuples(st.lists(names, min_size=1, max_size=2), st.sampled_from(OUTCOMES), days), max_size=6)
said = st.lists(
    st.tuples(names, st.sampled_from(["Sales", "sales", "support"]), st.sampled_from(["feasible", "infeasible"]), days,
              st.none() | st.integers(1, 5)),
    max_size=8,
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[Decision], list[Supersession], Resolution]:
    """Decisions and supersessions at positions of their own, and merges anywhere. What a decision gives way to may be
    an earlier one, or about something else, or unknown yet."""
    made = [
        Decision(f"D-{number}", 2 * number + 1, day(on), None, outcome, requirements)
        for number, (requirements, outcome, on) in enumerate(draw(decided))
    ]
    ends = [
        Supersession(2 * draw(st.integers(1, 6)), day(draw(days)), each.decision, draw(st.sampled_from(made)).decision)
        for each in made
        if draw(st.booleans())
    ]
    merges = [
        Merge(draw(positions), day(0), name, into)
        for name, into in draw(st.sampled_from([[], [("R-1", "R-2")], [("R-2", "R-3")], [("R-1", "R-3")]]))
    ]
    return made, ends, Resolution(merges)


@given(histories(), promised)
def test_what_held_is_the_decision_that_every_answer_says_holds(
    history: tuple[list[Decision], list[Supersession], Resolution], asked: tuple[str, int, int]
) -> None:
    (made, ends, requirements), (name, on, p) = history, asked
    t = day(on)

    def counts(each: Decision, t_: object, p_: int) -> bool:
        return (
            each.position <= p_
            and each.valid_from <= t_  # type: ignore[operator]
            and requirements.root(name, p_) in {requirements.root(other, p_) for other in each.requirements}
        )

    known = Decided(made, ends, requirements)
    given_way = {end.decision: end.superseded_by for end in ends if end.position <= p and end.valid_from <= t}
    holds = lenses.holding([each.decision for each in made if counts(each, t, p)], given_way)
    held = next((each for each in made if each.decision == holds), None)
    assert known.held(name, t, p) == held
    came = [each for each in made if counts(each, day(9), LAST) and not counts(each, t, p)]
    # To explore settles nothing: it stands in for a decision only where that has given way to it.
    settled = [each.decision for each in made if counts(each, t, p) and each.outcome != "explore"]
    explored = [each.decision for each in made if counts(each, t, p) and each.outcome == "explore"]
    settling = next((each for each in made if each.decision == lenses.holding(explored + settled, given_way)), None)
    if settling is not None and settling.outcome != "explore":
        basis = "with" if settling.outcome == "commit" else "against"
    else:
        basis = "before" if any(each.outcome != "explore" for each in came) else "without"
    assert known.basis(name, t, p, day(9), LAST) == basis
    # What is decided later changes nothing of what was known then, but that something came.
    assert known.held(name, t, p) == Decided(
        [each for each in made if each.position <= p], [end for end in ends if end.position <= p], requirements
    ).held(name, t, p)


def test_who_explores_takes_back_no_commitment() -> None:
    commit, explore = (
        Decision(f"D-{at}", at, day(at), None, outcome, ["R-1"]) for at, outcome in ((1, "commit"), (2, "explore"))
    )
    asked = ("R-1", day(5), 9, day(9), LAST)
    assert Decided([commit, explore], [], Resolution()).basis(*asked) == "with"
    gives_way = Supersession(3, day(3), commit.decision, explore.decision)
    assert Decided([commit, explore], [gives_way], Resolution()).basis(*asked) == "without"
    # The answer that shows what held says what every answer says.
    assert Decided([commit, explore], [], Resolution()).held("R-1", day(5), 9) == explore


@given(said, promised, st.booleans(), st.randoms(use_true_random=False))
def test_who_had_said_that_it_cannot_be_done(
    told: list[tuple[str, str, str, int, int | None]], asked: tuple[str, int, int], merged: bool, chance: st.DrawFn
) -> None:
    name, on, p = asked
    t = day(on)
    rows = [
        Assessment(position, None if lives is None else position + lives, day(when), requirement, team, feasibility)
        for position, (requirement, team, feasibility, when, lives) in enumerate(told, 1)
    ]
    requirements = Resolution([Merge(1, day(0), "R-1", "R-2")] if merged else [])
    alike = {"R-1", "R-2"} if merged and name != "R-3" else {name}
    seen = [
        row
        for row in rows
        if row.requirement in alike
        and row.position <= p
        and row.valid_from <= t
        and not (row.until is not None and row.until <= p)
    ]
    last = {
        team: max((row for row in seen if same_team(row.team) == team), key=lambda row: (row.valid_from, row.position))
        for team in {same_team(row.team) for row in seen}
    }
    expected = [row.team for _, row in sorted(last.items()) if row.feasibility == "infeasible"]
    chance.shuffle(rows)  # type: ignore[attr-defined]
    assert Assessed(rows, requirements).infeasible(name, t, p) == expected


def quarter_of(day_: date) -> tuple[int, int]:
    return day_.year, (day_.month - 1) // 3


@given(st.dates(date(1900, 1, 1), date(9998, 12, 31)))
def test_the_last_days_of_a_quarter(day_: date) -> None:
    left = next(n for n in range(1, 93) if quarter_of(day_ + timedelta(days=n)) != quarter_of(day_))
    assert is_at_quarter_end(day_) == (left <= QUARTER_END_DAYS)


@given(st.lists(st.dates(date(2025, 1, 1), date(2026, 12, 31)), max_size=40))
def test_shares_are_of_all_and_of_each_quarter(made: list[date]) -> None:
    found = quarter_end(made)
    assert (found.of, found.promises) == (len(made), sum(map(is_at_quarter_end, made)))
    assert (found.share is None) == (not made)
    assert sum(each.of for each in found.quarters) == found.of
    assert sum(each.promises for each in found.quarters) == found.promises
    assert [each.quarter for each in found.quarters] == sorted({f"{y}-Q{q + 1}" for y, q in map(quarter_of, made)})
    for each in found.quarters:
        assert each.share == float(round(Fraction(each.promises, each.of), 6))
