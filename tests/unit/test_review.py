"""What makes a decision need review: inputs that have changed by enough to change somebody's class."""

from typing import Any

import msgspec

from services.projector.judgement.lenses import Adoption, Ask, Decision, Fact, Knowledge
from services.projector.judgement.resolution import Claim, Lineage, Resolution
from services.projector.judgement.review import Mark, looked_at_again, marks
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


def test_what_the_class_of_today_does_not_rest_on_is_not_marked() -> None:
    agreed = Adoption(day(0), 2, revision("r2", 2, 2, 1, threshold=30))
    facts = [fact(3, 1, attribute="a"), fact(3, 1, attribute="b"), fact(3, 1, attribute="c", value=2)]
    moved = [fact(20, 15, attribute="a", value=2), fact(21, 16, attribute="b", value=2)]
    idle = [fact(22, 17, attribute="c", value=None)]
    # With either as it was it would be on target still. The third is too light to matter.
    for told in (moved, [*moved, *idle]):
        assert [mark["input"] for mark in review([*facts, *told], [ask(4, 1)], agreed)] == ["acme: a", "acme: b"]


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


def test_the_ask_is_named_that_has_changed_and_not_the_one_that_is_heard_instead() -> None:
    """One account asked twice, in an exploratory phase and after it: by which it is heard makes its class."""
    explored = [Adoption(day(1), 2, revision("e", 1, stage="exploratory")), Adoption(day(3), 3, revision("r1", 3, 2))]
    facts = [fact(4, 1, value=2), fact(4, 1, attribute="b")]

    def said(*rows: Ask) -> list[tuple[int, str, str, str, str]]:
        found = review(facts, [*rows], *explored)
        return [tuple(mark[name] for name in ("position", "kind", "input", "from", "to")) for mark in found]

    early, late = ask(5, 2, importance=2), ask(6, 4, name="B")
    assert said(early, late) == []
    assert said(early, late, ask(20, 15, account=None)) == [(20, "withdrawn", "acme: ask A", "A", "B")]
    assert said(early, late, ask(20, 15, importance=0)) == [(20, "changed_since", "acme: ask A", "A", "B")]
    # The one that was heard says what it said, and another is louder.
    assert said(early, late, ask(20, 15, name="B", importance=3)) == [(20, "changed_since", "acme: ask B", "A", "B")]


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


def test_a_nightly_sync_moves_no_mark() -> None:
    facts = [fact(3, 1, value=1), fact(20, 15, value=2)]
    before = review(facts, [ask(4, 1)])
    nightly = [fact(21 + night, 16 + night, value=2) for night in range(9)]
    assert review([*facts, *nightly], [ask(4, 1)]) == before
    assert [mark["position"] for mark in before] == [20]
    # Nor does what is said again late, about a time in between; and a value that came back is there since it came back.
    assert review([*facts, *nightly, fact(40, 17, value=2)], [ask(4, 1)]) == before
    again = [
        *facts,
        fact(21, 16, value=1),
        fact(22, 17, value=2),
        *(fact(30 + night, 18, value=2) for night in range(3)),
    ]
    assert [mark["position"] for mark in review(again, [ask(4, 1)])] == [22]


def test_that_it_was_so_before_the_decision_already_is_learned() -> None:
    facts = [fact(3, 1, value=1), fact(20, 15, value=2), fact(30, 9, value=2)]
    assert [(mark["position"], mark["kind"]) for mark in review(facts, [ask(4, 1)])] == [(30, "learned_since")]


def test_a_withdrawal_that_is_said_again_moves_no_mark() -> None:
    rows = [ask(4, 1), ask(12, 11), ask(20, 15, None), ask(21, 16, None), ask(22, 17, None)]
    [mark] = review([fact(3, 1)], rows)
    assert (mark["position"], mark["kind"]) == (20, "withdrawn")
    # Where it was asked again in between, the last time counts.
    [mark] = review([fact(3, 1)], [*rows, ask(23, 18), ask(24, 19, None), ask(25, 20, None)])
    assert mark["position"] == 24


def test_a_revision_that_is_adopted_again_moves_no_mark() -> None:
    adoptions = [Adoption(day(15 + number), 20 + number, revision("r2", 1, 9)) for number in range(3)]
    [mark] = review([fact(3, 1)], [ask(4, 1)], *adoptions)
    assert (mark["position"], mark["input"], mark["to"]) == (20, "target-market", "r2")


def reviewed(facts: list[Fact], rows: list[Ask], reaffirmed: Decision) -> list[tuple[int, str, Any, Any]]:
    """Position, input, from and to of each mark of the decision that was reaffirmed so."""
    known = Knowledge([AGREED], facts)
    found = marks(known, rows, DECISION, "target-market", day(30), 99, reaffirmed=reaffirmed)
    return [(mark.position, mark.input, mark.from_, mark.to) for mark in found]


def test_what_a_reaffirmation_had_seen_is_marked_no_more() -> None:
    facts, rows = [fact(3, 1, value=1), fact(20, 15, value=2)], [ask(4, 1)]
    again = DECISION._replace(position=25, valid_from=day(20))
    assert reviewed(facts, rows, again) == []
    assert reviewed(facts, rows, again._replace(seen=19)) == [(20, "acme: a", 1, 2)]
    # What changes later is marked, from what was the case when it was reaffirmed; not what is again as it was decided.
    assert reviewed([*facts, fact(30, 22, value=None)], rows, again) == [(30, "acme: a", 2, None)]
    assert reviewed([*facts, fact(30, 22, value=1)], rows, again) == []


def test_who_was_gone_and_asks_again_is_marked() -> None:
    again = DECISION._replace(position=25, valid_from=day(20))
    facts = [fact(3, 1, value=1), fact(20, 15, value=2)]
    rows = [ask(4, 1), ask(21, 16, None)]
    assert reviewed(facts, rows, again) == []
    assert reviewed(facts, [*rows, ask(30, 22), ask(31, 23)], again) == [(30, "acme: ask A", None, "A")]


def test_a_mark_lies_where_its_value_became_known() -> None:
    """The first recording of an ask is retracted, and it is recorded again as made at another time."""
    explored = [Adoption(day(1), 2, revision("e", 1, stage="exploratory")), Adoption(day(3), 3, revision("r1", 3, 2))]
    gone = ask(5, 2)._replace(until=19)
    facts = [fact(4, 1, value=2)]
    [mark] = review(facts, [gone], *explored, position=19)
    assert (mark["position"], mark["kind"], mark["to"]) == (19, "withdrawn", None)
    [mark] = review(facts, [gone, ask(20, 15)], *explored)
    assert (mark["position"], mark["kind"], mark["input"]) == (20, "changed_since", "acme: time of ask A")
    assert mark["to"] == "2026-03-16T00:00:00.000000Z"
    # Where another recording had stood all the while, it is the retraction that says so.
    [mark] = review(facts, [gone, ask(11, 9)], *explored)
    assert (mark["position"], mark["kind"]) == (19, "withdrawn")


def test_another_ask_is_marked_where_it_was_recorded() -> None:
    explored = [Adoption(day(1), 2, revision("e", 1, stage="exploratory")), Adoption(day(3), 3, revision("r1", 3, 2))]
    rows = [ask(5, 2), ask(20, 15, None), ask(22, 17, name="B")]
    [mark] = review([fact(4, 1, value=2)], rows, *explored)
    assert (mark["position"], mark["kind"], mark["from"], mark["to"]) == (22, "changed_since", "A", "B")


def test_what_was_repeated_is_withdrawn_with_its_last_repetition() -> None:
    facts = [fact(3, 1)._replace(until=18), fact(12, 11)._replace(until=19)]
    assert review(facts, [ask(4, 1)], position=18) == []
    [mark] = review(facts, [ask(4, 1)], position=19)
    assert (mark["position"], mark["kind"], mark["from"], mark["to"]) == (19, "withdrawn", 1, None)

    rows = [ask(4, 1)._replace(until=18), ask(12, 11)._replace(until=19)]
    assert review([fact(3, 1)], rows, position=18) == []
    [mark] = review([fact(3, 1)], rows, position=19)
    assert (mark["position"], mark["kind"], mark["input"]) == (19, "withdrawn", "acme: ask A")


def test_what_came_back_by_a_retraction_is_known_since_then() -> None:
    facts = [fact(3, 1), fact(20, 15, value=2), fact(21, 16, value=1)._replace(until=25)]
    assert review(facts, [ask(4, 1)], position=24) == []
    [mark] = review(facts, [ask(4, 1)], position=25)
    assert (mark["position"], mark["kind"]) == (25, "changed_since")


def test_an_alias_that_is_learned_later_moves_no_mark_back() -> None:
    claims = [Claim(25, day(20), "acme", "zen:1")]
    known = Knowledge([AGREED], [fact(3, 1), fact(20, 15, "zen:1", value=2)], Lineage(Resolution(claims=claims)))
    assert marks(known, [ask(4, 1)], DECISION, "target-market", day(30), 24) == []
    [mark] = marks(known, [ask(4, 1)], DECISION, "target-market", day(30), 25)
    assert (mark.position, mark.kind, mark.input) == (25, "changed_since", "acme: a")


def test_reaffirmations_bring_no_mark_back() -> None:
    facts, rows = [fact(3, 1, value=1), fact(20, 15, value=2)], [ask(4, 1)]
    again = DECISION._replace(position=25, valid_from=day(20))
    for late in (
        DECISION._replace(position=26, valid_from=day(21), seen=11),
        DECISION._replace(position=26, valid_from=day(12)),
        DECISION._replace(position=26, valid_from=day(2), seen=10),
    ):
        assert reviewed(facts, rows, looked_at_again(DECISION, [again, late])) == []
    # What says that it was before the decision counts as of its time; what it had known stays known.
    early = looked_at_again(DECISION, [DECISION._replace(position=26, valid_from=day(2), seen=5)])
    assert (early.position, early.valid_from, early.cut) == (26, day(10), 9)
