"""The lenses: what counts at a time, as known at a position."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from itertools import permutations
from typing import Any

import msgspec
import pytest

from schemas.criteria import Eq
from schemas.events import Bullet
from services.projector.judgement import lenses
from services.projector.judgement.fit import Revision
from services.projector.judgement.lenses import (
    Adoption,
    Ask,
    Decision,
    Fact,
    Knowledge,
    as_asked,
    as_decided,
    as_now,
    by_account_now,
    count_by_class,
    departs,
    loudest_first,
    status,
    voice,
)
from services.projector.judgement.resolution import Claim, Lineage, Merge, Move, Resolution

START = datetime(2026, 3, 1, tzinfo=UTC)


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def revision(name: str, *weights: int, stage: str = "focused", threshold: int = 60) -> Revision:
    """A revision whose bullets want the attributes a, b, ... to be 1."""
    bullets = [
        Bullet(bullet=letter, text="line", weight=weight, test=Eq(attribute=letter, value=1))
        for letter, weight in zip("abc", weights, strict=False)
    ]
    return Revision(
        agreement="target-market", revision=name, title=name, stage=stage, threshold=threshold, bullets=bullets
    )


def fact(position: int, valid: int, account: str = "acme", attribute: str = "a", value: Any = 1) -> Fact:
    return Fact(account, attribute, msgspec.json.encode(value).decode(), day(valid), position)


def ask(position: int, valid: int, account: str | None = "acme", name: str = "A", importance: int = 1) -> Ask:
    return Ask("R", name, account, importance, day(valid), position)


def standing(rows: Iterable[Ask], t: datetime, p: int, lineage: Lineage | None = None) -> list[Ask]:
    """The asks for R that stood at t, as known at p."""
    return lenses.live_asks(rows, t, p, lineage or Lineage(), ["R"])


def test_a_fact_counts_by_its_time_among_what_was_known() -> None:
    known = Knowledge([], [fact(1, 1, value=1), fact(5, 3, value=3), fact(7, 2, value=2), fact(8, 4, value=None)])

    def value(t: int, p: int) -> str:
        return known.profile("acme", ["a"], day(t), p)[0]

    assert [value(t, 9) for t in (0, 1, 2, 3, 4)] == ["null", "1", "2", "3", "null"]
    assert [value(t, 6) for t in (0, 1, 2, 3, 4)] == ["null", "1", "1", "3", "3"]
    assert [value(9, p) for p in (0, 1, 4, 5, 7, 8)] == ["null", "1", "1", "3", "3", "null"]
    assert known.profile("nobody", ["a", "b"], day(9), 9) == ("null", "null")


def test_of_two_facts_about_the_same_time_the_higher_position_counts() -> None:
    known = Knowledge([], [fact(4, 1, value=4), fact(2, 1, value=2)])
    assert known.profile("acme", ["a"], day(1), 9) == ("4",)
    assert known.profile("acme", ["a"], day(1), 3) == ("2",)


def test_a_revision_is_in_force_until_the_next_one_that_is_known() -> None:
    one, two, three = (revision(name, 1) for name in ("one", "two", "three"))
    known = Knowledge([Adoption(day(1), 3, one), Adoption(day(5), 4, two), Adoption(day(5), 9, three)], [])

    def name(t: int, p: int) -> str | None:
        adoption = known.in_force(day(t), p)
        return adoption.revision.revision if adoption else None

    assert [name(t, 9) for t in (0, 1, 4, 5)] == [None, "one", "one", "three"]
    assert [name(5, p) for p in (2, 3, 4, 8, 9)] == [None, "one", "two", "two", "three"]


def test_an_ask_stands_in_its_latest_state_until_it_is_withdrawn() -> None:
    rows = [ask(1, 1, importance=1), ask(2, 3, importance=3), ask(3, 2, importance=2), ask(4, 5, account=None)]
    assert [(each.importance) for each in standing(rows, day(4), 9)] == [3]
    assert [(each.importance) for each in standing(rows, day(2), 9)] == [2]
    assert [(each.importance) for each in standing(rows, day(2), 2)] == [1]
    assert standing(rows, day(5), 9) == []
    assert standing(rows, day(0), 9) == []
    assert [each.position for each in standing([*rows, ask(5, 6)], day(6), 9)] == [5]


def test_a_withdrawal_ends_the_asks_of_its_id_by_every_account_and_no_other() -> None:
    rows = [ask(1, 1), ask(2, 1, "shop"), ask(3, 1, name="B"), ask(4, 2, account=None)]
    assert [each.position for each in standing(rows, day(3), 9)] == [3]


def test_an_account_speaks_once_by_its_most_important_ask() -> None:
    known = Knowledge([Adoption(day(0), 1, revision("r", 3, 2))], [fact(2, 1)])
    asks = [ask(3, 1, name="A", importance=2), ask(4, 2, name="B", importance=2), ask(5, 3, name="C", importance=1)]
    [asker] = as_now(known, asks, day(9), 9)
    assert (asker.ask.ask, asker.weight, asker.loudest_if_known.product) == ("B", Fraction(6, 5), Fraction(2))
    assert voice([asker, asker]) == (Fraction(12, 5), Fraction(4))


def test_as_asked_an_account_speaks_by_the_highest_fit_times_importance() -> None:
    known = Knowledge([Adoption(day(0), 1, revision("r", 3, 2))], [fact(2, 1), fact(3, 4, value=2)])
    asks = [ask(4, 2, name="A", importance=1), ask(5, 5, name="B", importance=3)]
    [asker] = as_asked(known, asks, 9)
    assert (asker.ask.ask, asker.weight, asker.class_) == ("A", Fraction(3, 5), "on_target")
    # If all that is unknown were met, the later one would be louder: 3 × 2/5.
    assert asker.loudest_if_known.product == Fraction(6, 5)
    [tied] = as_asked(Knowledge([], []), asks, 9)
    assert (tied.ask.ask, tied.weight, tied.judgement) == ("B", 0, None)


def test_a_judgement_is_backdated_if_its_revision_came_after_the_ask() -> None:
    known = Knowledge([Adoption(day(0), 3, revision("r", 1))], [])
    flags = [known.judge("acme", day(1), 9, ask(position, 1)) for position in (2, 4)]
    assert [each.backdated for each in flags if each] == [True, False]


def test_who_asked_while_exploring_stays_exploratory_instead_of_off_target() -> None:
    exploring = Adoption(day(0), 1, revision("e", 1, stage="exploratory"))
    focused = Adoption(day(5), 2, revision("f", 1))
    known = Knowledge([exploring, focused], [fact(3, 0, "off", value=2), fact(4, 0, "on", value=1)])
    early = {each.account: each.class_ for each in as_now(known, [ask(5, 1, "off"), ask(6, 1, "on")], day(9), 9)}
    late = {each.account: each.class_ for each in as_now(known, [ask(7, 6, "off"), ask(8, 6, "on")], day(9), 9)}
    assert early == {"off": "exploratory", "on": "on_target"}
    assert late == {"off": "off_target", "on": "on_target"}


def test_an_ask_that_is_recorded_again_is_judged_by_its_own_time() -> None:
    exploring = Adoption(day(0), 1, revision("e", 1, stage="exploratory"))
    focused = Adoption(day(5), 4, revision("f", 1))
    known = Knowledge([exploring, focused], [fact(2, 0, value=1), fact(5, 5, value=2)])
    rows = [ask(3, 1), ask(6, 6), ask(7, 7, importance=3), ask(8, 8, importance=2), ask(9, 2, importance=0)]
    for order in permutations(rows):
        [found] = standing(order, day(9), 9)
        assert (found.position, found.importance, found.asked) == (8, 2, (day(1), 3))
        [asked], [now] = as_asked(known, [found], 9), as_now(known, [found], day(9), 9)
        assert (asked.class_, now.class_, asked.weight) == ("exploratory", "exploratory", Fraction(2))
        assert asked.judgement is not None and asked.judgement.fit.revision.revision == "e"
        assert (asked.judgement.backdated, now.judgement and now.judgement.backdated) == (False, True)
    # What was recorded first is what was known to be; the time at which it was known does not matter.
    [found] = standing([ask(4, 6), ask(3, 7), ask(9, 1)], day(9), 8)
    assert found.asked == (day(6), 4)


def test_of_equal_asks_that_which_was_first_asked_last_speaks_however_often_the_other_is_repeated() -> None:
    known = Knowledge([Adoption(day(0), 1, revision("r", 1))], [fact(2, 0)])
    rows = [ask(3, 1, name="A"), ask(4, 2, name="B"), ask(5, 3, name="A")]
    for lens in (as_now(known, standing(rows, day(9), 9), day(9), 9), as_asked(known, standing(rows, day(9), 9), 9)):
        assert [asker.ask.ask for asker in lens] == ["B"]


def test_deciders_are_judged_by_what_they_had_before_them() -> None:
    known = Knowledge([Adoption(day(0), 1, revision("r", 1))], [fact(2, 0, value=2), fact(6, 0, value=1)])
    rows = [ask(3, 1), ask(7, 1, "late"), ask(8, 5, "later")]
    for seen, expected in ((None, "on_target"), (5, "off_target"), (3, "off_target"), (1, None)):
        decision = Decision("D", 7, day(4), seen, "commit", ["R"])
        askers = as_decided(known, rows, decision)
        assert [each.account for each in askers] == (["acme"] if expected else [])
        assert [each.class_ for each in askers] == ([expected] if expected else [])
        assert departs("commit", askers) == {"on_target": "no", "off_target": "yes", None: None}[expected]


def test_of_accounts_that_are_one_now_its_own_name_speaks_as_decided_or_else_the_last_one() -> None:
    known = Knowledge([Adoption(day(0), 1, revision("r", 1))], [fact(2, 0, name) for name in ("acme", "bank", "zen")])
    rows = [ask(3, 1, "acme", importance=1), ask(4, 1, "bank", importance=3), ask(5, 1, "zen", importance=2)]
    askers = as_decided(known, rows, Decision("D", 6, day(4), None, "commit", ["R"]))
    for merged, spoken in ((["bank", "zen"], "acme"), (["acme", "bank"], "zen")):
        [root] = {"acme", "bank", "zen"} - {*merged}
        accounts = Resolution([Merge(7, day(5), name, root) for name in merged])
        for order in permutations(askers):
            assert {name: each.account for name, each in by_account_now(order, accounts, 7).items()} == {root: spoken}
    # Who has not asked by its own name is spoken for by the last one, however loud the others are.
    accounts = Resolution([Merge(7, day(5), name, "new") for name in ("acme", "bank", "zen")])
    for order in permutations(askers):
        assert {name: each.account for name, each in by_account_now(order, accounts, 7).items()} == {"new": "zen"}


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ([], None),
        (["on_target"], "no"),
        (["off_target", "on_target"], "no"),
        (["off_target", "off_target"], "yes"),
        (["off_target", "undetermined"], "undetermined"),
        (["exploratory", "off_target"], "undetermined"),
        (["exploratory"], "undetermined"),
    ],
)
def test_whether_a_commitment_departs_from_the_agreement(classes: list[str], expected: str | None) -> None:
    stages = {"exploratory": revision("e", 1, stage="exploratory")}
    values = {"on_target": 1, "off_target": 2, "undetermined": None, "exploratory": 1}
    askers = []
    for number, class_ in enumerate(classes):
        known = Knowledge(
            [Adoption(day(0), 1, stages.get(class_, revision("r", 1)))],
            [fact(2, 0, f"a{number}", value=values[class_])],
        )
        askers += as_now(known, [ask(3, 1, f"a{number}")], day(9), 9)
    assert [asker.class_ for asker in askers] == classes
    assert departs("commit", askers) == expected
    assert departs("decline", askers) is None


def test_counts_and_statuses_are_complete() -> None:
    assert count_by_class([]) == {"on_target": 0, "off_target": 0, "undetermined": 0, "exploratory": 0}
    outcomes = (None, "commit", "decline", "defer", "explore")
    assert [status(each) for each in outcomes] == ["open", "committed", "declined", "deferred", "exploring"]


# Names that are one


def test_an_alias_counts_from_the_position_at_which_it_is_known() -> None:
    lineage = Lineage(accounts=Resolution(claims=[Claim(5, day(0), "acme", "zendesk:1")]))
    rows = [ask(1, 1, "acme", importance=1), ask(2, 2, "zendesk:1", "B", importance=3)]
    assert [each.account for each in standing(rows, day(9), 4, lineage)] == ["acme", "zendesk:1"]
    assert [each.account for each in standing(rows, day(9), 5, lineage)] == ["acme", "acme"]
    known = Knowledge([Adoption(day(0), 1, revision("r", 1))], [fact(3, 1, "zendesk:1", value=1)], lineage)
    assert [each.account for each in as_now(known, standing(rows, day(9), 9, lineage), day(9), 9)] == ["acme"]
    assert voice(as_now(known, standing(rows, day(9), 9, lineage), day(9), 9)) == (3, 3)
    # Before, they were two, and nothing was known of acme.
    assert voice(as_now(known, standing(rows, day(9), 4, lineage), day(9), 4)) == (3, 4)


def test_the_latest_fact_under_any_name_counts() -> None:
    lineage = Lineage(accounts=Resolution([Merge(4, day(9), "bank", "acme")]))
    known = Knowledge(
        [], [fact(1, 1, "acme", value=1), fact(2, 5, "bank", value=2), fact(3, 3, "acme", value=3)], lineage
    )
    assert known.profile("acme", ["a"], day(9), 4) == ("2",)
    assert known.profile("bank", ["a"], day(4), 4) == ("3",)
    assert known.profile("acme", ["a"], day(9), 3) == ("3",)


def test_the_same_ask_under_two_names_of_its_account_is_revised() -> None:
    lineage = Lineage(accounts=Resolution(claims=[Claim(1, day(0), "acme", "zendesk:1")]))
    [standing_one] = standing(
        [ask(2, 1, "acme", importance=3), ask(3, 2, "zendesk:1", importance=1)], day(9), 9, lineage
    )
    assert (standing_one.account, standing_one.importance, standing_one.asked) == ("acme", 1, (day(1), 2))


def test_asks_of_a_merged_requirement_count_at_the_root_and_go_back() -> None:
    merged = Resolution(
        [
            Merge(5, day(0), "S", "R"),
            Merge(6, day(0), "R", "T"),
            Merge(7, day(0), "R", None),
            Merge(8, day(0), "S", None),
        ]
    )
    lineage = Lineage(requirements=merged)
    rows = [ask(1, 1), ask(2, 1, "bank", "B")._replace(requirement="S")]
    counts = {p: {name: len(lenses.live_asks(rows, day(9), p, lineage, [name])) for name in "RST"} for p in range(4, 9)}
    assert counts[4] == {"R": 1, "S": 1, "T": 0}
    assert counts[5] == {"R": 2, "S": 2, "T": 0}  # Whoever names S now means R.
    assert counts[6] == {"R": 2, "S": 2, "T": 2}
    assert counts[7] == {"R": 2, "S": 2, "T": 0}
    assert counts[8] == {"R": 1, "S": 1, "T": 0}


def test_a_merge_makes_no_two_asks_one() -> None:
    lineage = Lineage(requirements=Resolution([Merge(9, day(0), "S", "R")]))
    rows = [ask(1, 1, importance=3), ask(2, 2, importance=0)._replace(requirement="S"), ask(3, 3, "bank")]
    found = standing(rows, day(9), 9, lineage)
    assert [(each.recorded_on, each.account, each.importance) for each in found] == [
        ("R", "acme", 3), ("S", "acme", 0), ("R", "bank", 1),
    ]  # fmt: skip
    # A withdrawal on one of them is none of the other.
    end = ask(4, 4, None)._replace(requirement="S")
    assert [each.recorded_on for each in standing([*rows, end], day(9), 9, lineage)] == ["R", "R"]


def test_a_withdrawal_ends_what_it_names_and_else_what_counts_there() -> None:
    merged = Lineage(requirements=Resolution([Merge(3, day(0), "S", "R")]))
    there, end = ask(1, 1)._replace(requirement="S"), ask(4, 4, None)
    assert standing([there, end], day(9), 9, merged) == []
    moved = Lineage(moves={"A": [Move(3, day(0), "S", "A", "R")]})
    assert standing([there, end], day(9), 9, moved) == []
    # Another account's ask of that id was recorded there itself, and so that is meant.
    both = [there, ask(2, 2, "bank"), end]
    assert [each.account for each in standing(both, day(9), 9, merged)] == ["acme"]
    assert [each.account for each in standing(both, day(9), 9, moved)] == ["acme"]


def test_a_moved_ask_is_for_the_other_requirement() -> None:
    moves = {"A": [Move(3, day(0), "R", "A", "S"), Move(5, day(0), "R", "A", "T"), Move(7, day(0), "R", "A", "R")]}
    lineage = Lineage(moves=moves)
    rows = [ask(1, 1), ask(2, 1, "bank", "B")]

    def where(p: int) -> dict[str, list[str]]:
        return {name: [each.ask for each in lenses.live_asks(rows, day(9), p, lineage, [name])] for name in "RST"}

    assert where(2) == {"R": ["A", "B"], "S": [], "T": []}
    assert where(3) == {"R": ["B"], "S": ["A"], "T": []}
    assert where(5) == {"R": ["B"], "S": [], "T": ["A"]}
    assert where(7) == {"R": ["A", "B"], "S": [], "T": []}
    # What is recorded for it later goes where it is.
    [found] = lenses.live_asks([*rows, ask(8, 3, importance=3)], day(9), 4, lineage, ["S"])
    assert found.importance == 1
    once = Lineage(moves={"A": moves["A"][:1]})
    [found] = lenses.live_asks([*rows, ask(8, 3, importance=3)], day(9), 9, once, ["S"])
    assert (found.importance, found.asked) == (3, (day(1), 1))


def test_another_ask_of_the_same_id_stays_where_it_was_recorded() -> None:
    lineage = Lineage(moves={"A": [Move(3, day(0), "R", "A", "S"), Move(4, day(0), "S", "A", "R")]})
    rows = [ask(1, 1, importance=1), ask(2, 1, "bank", importance=2)._replace(requirement="S")]
    found = {name: [each.account for each in lenses.live_asks(rows, day(9), 9, lineage, [name])] for name in ("R", "S")}
    assert found == {"R": ["bank"], "S": ["acme"]}


def test_a_fit_that_is_remembered_is_of_the_very_words_of_its_revision() -> None:
    """To Python 1 and true are equal; to a fit they are not."""
    one, true = (
        Revision(
            agreement="target-market", revision="r", title="r", stage="focused", threshold=60,
            bullets=[Bullet(bullet="a", text="line", weight=1, test=Eq(attribute="a", value=value))],
        )
        for value in (1, True)
    )  # fmt: skip
    known = [Knowledge([Adoption(day(1), 1, each)], [fact(2, 2, value=True)]) for each in (one, true, one)]
    judged = [each.judge("acme", day(3), 3) for each in known]
    assert [each and each.class_ for each in judged] == ["off_target", "on_target", "off_target"]
    assert [each and each.fit.revision for each in judged] == [one, true, one]


def test_the_loudest_come_first_whatever_their_fits_are_shares_of() -> None:
    shares = [(Fraction(1, 3), 2), (Fraction(3, 7), 1), (Fraction(2, 3), 1), (Fraction(0), 3), (Fraction(4, 6), 1)]
    askers = [
        lenses.Asker(
            account=f"{number}",
            ask=ask(number, 1, importance=importance),
            judgement=None,
            loudest=lenses.Weight(share, importance),
            loudest_if_known=lenses.Weight(share, importance),
        )
        for number, (share, importance) in enumerate(shares)
    ]
    by_weight = sorted(askers, key=lambda asker: (-asker.weight, -asker.ask.importance, asker.account))
    assert [asker.account for asker in loudest_first(askers[::-1])] == [asker.account for asker in by_weight]
    assert loudest_first([]) == []
