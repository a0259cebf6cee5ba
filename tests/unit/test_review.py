"""What makes a decision need review: inputs that have changed by enough to change somebody's class."""

from typing import Any

import msgspec

from services.projector.lenses import Adoption, Ask, Decision, Fact, Knowledge
from services.projector.resolution import Claim, Lineage, Resolution
from services.projector.review import Mark, marks
from tests.unit.test_lenses import ask, day, fact, revision

DECISION = Decision("D", 10, day(10), None, "commit", ["R"])
AGREED = Adoption(day(0), 1, revision("r1", 3, 2))  # a: 3, b: 2, of 5; at 60 of 100.


def review(facts: list[Fact], rows: list[Ask], *adoptions: Adoption, position: int = 99) -> list[dict[str, Any]]:
    """The marks of the decision on day 10, at position 10, as they are on day 30."""
    known = Knowledge([AGREED, *adoptions], facts)
    found: list[Mark] = marks(known, rows, DECISION, "target-market", day(30), position)
    return [msgspec.to_builtins(mark) for mark in found]


def test_what_was_learned_since_about_the_time_before() -> None:
    facts = [fact(3, 1, attribute="b", value=2), fact(20, 5)]
    assert review(facts, [ask(4, 1)]) == [
        {
            "position": 20,
            "kind": "learned_since",
            "input": "acme: a",
            "from": None,
            "to": 1,
            "classes": [{"account": "acme", "as_decided": "undetermined", "as_now": "on_target"}],
        }
    ]
    # Before it was recorded, nothing spoke for a review.
    assert review(facts, [ask(4, 1)], position=19) == []


def test_what_changed_since() -> None:
    [mark] = review([fact(3, 1, value=1), fact(20, 15, value=2)], [ask(4, 1)])
    assert (mark["kind"], mark["from"], mark["to"]) == ("changed_since", 1, 2)
    assert mark["classes"] == [{"account": "acme", "as_decided": "on_target", "as_now": "off_target"}]


def test_what_changes_nobodys_class_is_no_mark() -> None:
    assert review([fact(3, 1, value=1), fact(20, 15, attribute="b", value=2)], [ask(4, 1)]) == []
    # So is what came and went.
    assert review([fact(3, 1, value=1), fact(20, 15, value=2), fact(21, 16, value=1)], [ask(4, 1)]) == []


def test_only_the_input_that_suffices_is_marked() -> None:
    facts = [fact(3, 1, value=1), fact(20, 15, value=2), fact(20, 15, attribute="b", value=7)]
    assert [mark["input"] for mark in review(facts, [ask(4, 1)])] == ["acme: a"]


def test_where_only_several_together_suffice_each_is_marked() -> None:
    agreed = Adoption(day(0), 2, revision("r2", 1, 1, 1))
    both = [fact(3, 1, attribute="a", value=2), fact(3, 1, attribute="b", value=2), fact(3, 1, attribute="c", value=2)]
    both += [fact(20, 15, attribute="a"), fact(21, 16, attribute="b")]
    assert [mark["input"] for mark in review(both, [ask(4, 1)], agreed)] == ["acme: a", "acme: b"]


def test_another_revision_is_marked_once_for_all_whom_it_reclassifies() -> None:
    facts = [fact(3, 1), fact(3, 1, "bank"), fact(3, 1, "shop", value=2)]
    rows = [ask(4, 1), ask(5, 1, "bank"), ask(6, 1, "shop")]
    found = review(facts, rows, Adoption(day(20), 20, revision("r2", 1, 9)))
    assert [(mark["kind"], mark["input"], mark["from"], mark["to"]) for mark in found] == [
        ("changed_since", "target-market", "r1", "r2")
    ]
    assert [(each["account"], each["as_now"]) for each in found[0]["classes"]] == [
        ("acme", "undetermined"),
        ("bank", "undetermined"),
        ("shop", "undetermined"),
    ]
    # One that came into force before the decision, and that its deciders did not know.
    [mark] = review(facts, rows, Adoption(day(5), 20, revision("r2", 1, 9)))
    assert mark["kind"] == "learned_since"


def test_an_ask_that_was_withdrawn() -> None:
    rows = [ask(4, 1), ask(20, 15, account=None)]
    assert review([fact(3, 1)], rows) == [
        {
            "position": 20,
            "kind": "withdrawn",
            "input": "acme: ask A",
            "from": "A",
            "to": None,
            "classes": [{"account": "acme", "as_decided": "on_target", "as_now": None}],
        }
    ]
    assert review([fact(3, 1)], rows, position=19) == []
    # It still asks by another one: nobody's class is another.
    assert review([fact(3, 1)], [*rows, ask(5, 1, name="B")]) == []


def test_who_asked_later_was_no_input() -> None:
    assert review([fact(3, 1), fact(3, 1, "late", value=2)], [ask(4, 1), ask(20, 1, "late")]) == []


def test_a_phase_that_is_learned_of_later_is_an_input() -> None:
    """The revision, the profile and the ask are what they were: only when it was asked, the market was explored."""
    explored = [Adoption(day(1), 20, revision("e", 1, stage="exploratory")), Adoption(day(3), 21, revision("r1", 3, 2))]
    assert review([fact(3, 1, value=2)], [ask(4, 2)], *explored) == [
        {
            "position": 20,
            "kind": "learned_since",
            "input": "acme: target-market when ask A was made",
            "from": "r1",
            "to": "e",
            "classes": [{"account": "acme", "as_decided": "off_target", "as_now": "exploratory"}],
        }
    ]
    assert review([fact(3, 1, value=2)], [ask(4, 4)], *explored) == []


def test_an_earlier_recording_that_is_learned_of_later_is_an_input() -> None:
    explored = [Adoption(day(1), 2, revision("e", 1, stage="exploratory")), Adoption(day(3), 3, revision("r1", 3, 2))]
    [mark] = review([fact(4, 1, value=2)], [ask(5, 4), ask(20, 2)], *explored)
    assert (mark["position"], mark["kind"], mark["input"]) == (20, "learned_since", "acme: time of ask A")
    assert (mark["from"], mark["to"]) == ("2026-03-05T00:00:00.000000Z", "2026-03-03T00:00:00.000000Z")


def test_an_ask_that_is_recorded_again_changes_nothing() -> None:
    explored = [Adoption(day(1), 2, revision("e", 1, stage="exploratory")), Adoption(day(3), 3, revision("r1", 3, 2))]
    assert (
        review([fact(4, 1, value=2)], [ask(5, 2), *(ask(11 + night, 10 + night) for night in range(9))], *explored)
        == []
    )


def test_an_account_that_asks_no_more_because_of_its_names_is_marked_where_they_changed() -> None:
    rows = [ask(1, 1, "zen:1"), ask(2, 2, None), ask(3, 3, "zen:1")]
    claims = [Claim(4, day(4), "acme", "zen:1"), Claim(6, day(6), "bank", "zen:1")]
    known = Knowledge([AGREED], [], Lineage(accounts=Resolution(claims=claims)))
    decision = Decision("D", 5, day(5), None, "commit", ["R"])
    [mark] = marks(known, rows, decision, "target-market", day(9), 7)
    # Not where the ask was once withdrawn: it was recorded again since.
    assert (mark.position, mark.kind, mark.input) == (6, "withdrawn", "acme: ask A")
