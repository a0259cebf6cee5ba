"""Whoever's class has moved since a decision is marked, and nobody else, whatever came in whatever order."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.projector.lenses import Adoption, Ask, Decision, Fact, Knowledge, as_decided, as_now, live_asks
from services.projector.review import marks
from tests.unit.test_lenses import ask, day, fact, revision

DAYS = 12
ACCOUNTS = ["acme", "bank"]
REVISIONS = [
    revision("r1", 3, 2),
    revision("r2", 1, 1, 1),
    revision("e1", 1, stage="exploratory"),
    revision("e2", 2, 1, stage="exploratory"),
]

days = st.integers(0, DAYS)
facts = st.tuples(days, st.sampled_from(ACCOUNTS), st.sampled_from("abc"), st.sampled_from([1, 2, None]))
asks = st.tuples(days, st.sampled_from(ACCOUNTS), st.sampled_from("AB"), st.integers(0, 2))
withdrawals = st.tuples(days, st.sampled_from("AB"))
adoptions = st.tuples(days, st.sampled_from(REVISIONS))
happenings = st.lists(st.one_of(facts, asks, withdrawals, adoptions), min_size=2, max_size=25)


@given(happenings, st.data())
def test_a_class_that_has_changed_always_has_a_mark(log: list[Any], data: st.DataObject) -> None:
    position = len(log) + 1
    at = data.draw(st.integers(1, position))
    decision = Decision("D", at, day(data.draw(days)), data.draw(st.none() | st.integers(0, at - 1)), "commit", ["R"])
    known: list[Fact] = []
    rows: list[Ask] = []
    adopted: list[Adoption] = []
    # The decision itself takes the position `at`; what comes from there on is one further.
    for number, happening in enumerate(log, 1):
        here = number + (number >= at)
        match happening:
            case (when, str(account), str(attribute), value) if attribute.islower():
                known.append(fact(here, when, account, attribute, value))
            case (when, str(account), name, int(importance)):
                rows.append(ask(here, when, account, name, importance))
            case (when, str(name)):
                rows.append(ask(here, when, None, name, 0))
            case (when, agreed):
                adopted.append(Adoption(day(when), here, agreed))

    knowledge, now = Knowledge(adopted, known), day(DAYS)
    then = {each.account: each.class_ for each in as_decided(knowledge, rows, decision)}
    today = as_now(knowledge, live_asks(rows, now, position), now, position)
    classes = {each.account: each.class_ for each in today}
    moved = {
        account: (class_, classes.get(account)) for account, class_ in then.items() if classes.get(account) != class_
    }
    found = marks(knowledge, rows, decision, "target-market", now, position)
    marked = {each.account: (each.as_decided, each.as_now) for mark in found for each in mark.classes}
    assert marked == moved
    assert all(mark.position > decision.cut for mark in found if mark.kind == "learned_since")
