"""Whoever's class has moved since a decision is marked, and nobody else, whatever came in whatever order."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.projector.lenses import Adoption, Ask, Decision, Fact, Knowledge, as_decided, as_now, live_asks
from services.projector.resolution import Claim, Lineage, Merge, Move, Resolution
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
asks = st.tuples(
    days, st.sampled_from([*ACCOUNTS, "zen:1"]), st.sampled_from("AB"), st.integers(0, 2), st.sampled_from("RRS")
)
withdrawals = st.tuples(days, st.sampled_from("AB"), st.sampled_from("RRS"))
adoptions = st.tuples(days, st.sampled_from(REVISIONS))
requirements = st.sampled_from(["R", "S"])
names = st.sampled_from([*ACCOUNTS, "zen:1"])
claims = st.builds(Claim, st.just(0), days.map(day), st.sampled_from(ACCOUNTS), names, st.none())
merges = st.builds(Merge, st.just(0), days.map(day), names, st.none() | names)
parts = st.builds(Merge, st.just(0), days.map(day), requirements, st.none() | requirements)
moves = st.builds(Move, st.just(0), days.map(day), requirements, st.sampled_from("AB"), requirements)
retractions = st.integers(1, 24)
happenings = st.lists(
    st.one_of(facts, asks, withdrawals, adoptions, claims, merges, parts, moves, retractions), min_size=2, max_size=25
)


@given(happenings, st.data())
def test_a_class_that_has_changed_always_has_a_mark(log: list[Any], data: st.DataObject) -> None:
    position = len(log) + 1
    at = data.draw(st.integers(1, position))
    decision = Decision("D", at, day(data.draw(days)), data.draw(st.none() | st.integers(0, at - 1)), "commit", ["R"])
    known: list[Fact] = []
    rows: list[Ask] = []
    adopted: list[Adoption] = []
    claimed: list[Claim] = []
    merged: dict[str, list[Merge]] = {"account": [], "requirement": []}
    moved: dict[str, list[Move]] = {}
    # The decision itself takes the position `at`; what comes from there on is one further.
    for number, happening in enumerate(log, 1):
        here = number + (number >= at)
        match happening:
            case Claim():
                claimed.append(happening._replace(position=here))
            case Move():
                moved.setdefault(happening.ask, []).append(happening._replace(position=here))
            case Merge():
                told = merged["requirement" if happening.name in "RS" else "account"]
                if allowed(told, happening):
                    told.append(happening._replace(position=here))
            case (when, str(account), str(attribute), value) if attribute.islower():
                known.append(fact(here, when, account, attribute, value))
            case (when, str(account), name, int(importance), requirement):
                rows.append(ask(here, when, account, name, importance)._replace(requirement=requirement))
            case (when, str(name), str(requirement)):
                rows.append(ask(here, when, None, name, 0)._replace(requirement=requirement))
            case (when, agreed):
                adopted.append(Adoption(day(when), here, agreed))
            case int(retracted):
                for observed in (known, rows, claimed):
                    retract(observed, retracted, here)

    lineage = Lineage(Resolution(merged["account"], claimed), Resolution(merged["requirement"]), moved)
    knowledge, now = Knowledge(adopted, known, lineage), day(DAYS)
    then = {each.account: each.class_ for each in as_decided(knowledge, rows, decision)}
    today = as_now(knowledge, live_asks(rows, now, position, lineage, ["R"]), now, position)
    classes = {each.account: each.class_ for each in today}
    differs = {
        account: (class_, found)
        for account, class_ in then.items()
        if (found := classes.get(lineage.accounts.root(account, position))) != class_
    }
    found = marks(knowledge, rows, decision, "target-market", now, position)
    marked = {each.account: (each.as_decided, each.as_now) for mark in found for each in mark.classes}
    assert marked == differs
    assert all(mark.position > decision.cut for mark in found if mark.kind == "learned_since")


def retract(observed: list[Any], position: int, until: int) -> None:
    for number, each in enumerate(observed):
        if each.position == position and each.until is None:
            observed[number] = each._replace(until=until)


def allowed(before: list[Merge], act: Merge) -> bool:
    """Whether the rule of merges lets it through."""
    into = {each.name: each.into for each in before}
    if act.into is None:
        return into.get(act.name) is not None
    return act.name != act.into and into.get(act.name) is None and into.get(act.into) is None
