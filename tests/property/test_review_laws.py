"""Whoever's class has moved since a decision is marked, and nobody else, whatever came in whatever order."""

from typing import Any, NamedTuple

from hypothesis import assume, example, given
from hypothesis import strategies as st

from services.projector.judgement.fit import Class
from services.projector.judgement.lenses import Adoption, Ask, Decision, Fact, Knowledge, as_decided, as_now, live_asks
from services.projector.judgement.resolution import Claim, Lineage, Merge, Move, Resolution
from services.projector.judgement.review import Mark, marks
from tests.unit.test_lenses import ask, day, fact, revision

DAYS = 12
NOW = day(DAYS)
FIRST = {"first_valid_from": None, "first_position": None, "recorded_on": None}
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
    days, st.sampled_from([*ACCOUNTS, "zen:1"]), st.sampled_from("AB"), st.integers(0, 2), st.sampled_from("RRST")
)
withdrawals = st.tuples(days, st.sampled_from("AB"), st.sampled_from("RRST"))
adoptions = st.tuples(days, st.sampled_from(REVISIONS))
requirements = st.sampled_from(["R", "S", "T"])
names = st.sampled_from([*ACCOUNTS, "zen:1"])
claims = st.builds(Claim, st.just(0), days.map(day), st.sampled_from(ACCOUNTS), names, st.none())
merges = st.builds(Merge, st.just(0), days.map(day), names, st.none() | names)
parts = st.builds(Merge, st.just(0), days.map(day), requirements, st.none() | requirements)
moves = st.builds(Move, st.just(0), days.map(day), requirements, st.sampled_from("AB"), requirements)
retractions = st.integers(1, 24)
happenings = st.lists(
    st.one_of(facts, asks, withdrawals, adoptions, claims, merges, parts, moves, retractions), min_size=2, max_size=25
)

ASKED, LOUDER, ELSEWHERE = (0, "acme", "A", 1, "R"), (0, "acme", "A", 2, "R"), (0, "acme", "A", 1, "T")
ASKED_TOO, ENDED, ENDED_ELSEWHERE = (0, "bank", "A", 1, "S"), (0, "A", "R"), (0, "A", "T")
MOVED, MOVED_TOO, MERGED = (Move(0, day(0), "R", "A", "S"), Move(0, day(0), "S", "A", "R"), Merge(0, day(0), "S", "T"))
MET, FITS, UNFIT = (0, REVISIONS[0]), (0, "acme", "a", 1), (0, "acme", "a", 2)


class Told(NamedTuple):
    """What a log comes to, as the lenses are given it; `position` is its head."""

    known: list[Fact]
    rows: list[Ask]
    adopted: list[Adoption]
    lineage: Lineage
    position: int

    @property
    def knowledge(self) -> Knowledge:
        return Knowledge(self.adopted, self.known, self.lineage)

    def classes_as(self, decision: Decision) -> dict[str, Class]:
        return {each.account: each.class_ for each in as_decided(self.knowledge, self.rows, decision)}

    def classes_now(self) -> dict[str, Class]:
        asks = live_asks(self.rows, NOW, self.position, self.lineage, ["R"])
        return {each.account: each.class_ for each in as_now(self.knowledge, asks, NOW, self.position)}

    def root(self, account: str) -> str:
        return self.lineage.accounts.root(account, self.position)

    def marks(self, decision: Decision, reaffirmed: Decision | None = None) -> list[Mark]:
        return marks(self.knowledge, self.rows, decision, "target-market", NOW, self.position, reaffirmed=reaffirmed)


@given(happenings, st.data())
def test_a_class_that_has_changed_always_has_a_mark(log: list[Any], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(log) + 1))
    decision, told = act(data, at), tell(log, at)
    now = told.classes_now()
    differs = {
        account: (class_, found)
        for account, class_ in told.classes_as(decision).items()
        if (found := now.get(told.root(account))) != class_
    }
    found = told.marks(decision)
    assert marked(found) == differs
    assert all(mark.position > decision.cut for mark in found if mark.kind == "learned_since")


@given(happenings, st.data())
def test_a_reaffirmation_clears_what_it_had_seen_and_nothing_else(log: list[Any], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(log)))
    again = data.draw(st.integers(at + 1, len(log) + 2))
    decision, reaffirmed, told = act(data, at), act(data, again), tell(log, at, again)
    now, seen = told.classes_now(), told.classes_as(reaffirmed)
    found = told.marks(decision, reaffirmed)
    shown = marked(found)
    for account, class_ in told.classes_as(decision).items():
        root = told.root(account)
        today = now.get(root)
        # What the account was when the decision was looked at again; under several names then, it was several things.
        then = {each for name, each in seen.items() if told.root(name) == root} or {None}
        if root in seen:
            then = {seen[root]}
        if today == class_ or then == {today}:
            assert account not in shown
        elif today not in then:
            assert shown[account] == (class_, today)
    assert shown.keys() <= told.classes_as(decision).keys()
    assert all(mark.position > reaffirmed.cut for mark in found if mark.kind == "learned_since")


@given(happenings, st.data())
def test_what_says_the_same_once_more_makes_no_mark_and_moves_none(log: list[Any], data: st.DataObject) -> None:
    at = data.draw(st.integers(1, len(log)))
    again = data.draw(st.none() | st.integers(at + 1, len(log) + 2))
    decision, reaffirmed = act(data, at), None if again is None else act(data, again)
    told = tell(log, at, *([] if again is None else [again]))
    before, live = told.marks(decision, reaffirmed), told.classes_now()

    knowledge, here = told.knowledge, told.position + 1
    standing = live_asks(told.rows, NOW, told.position, told.lineage)
    said: list[Fact | Ask] = [
        fact._replace(account=name)
        for name in [*ACCOUNTS, "zen:1"]
        for attribute in "abc"
        if (fact := knowledge.fact(name, attribute, NOW, told.position)) is not None
    ]
    said += [each._replace(requirement=each.recorded_on or "", **FIRST) for each in standing]
    said += [each for each in told.rows if each.account is None and each.is_known(told.position)]
    assume(said)
    for repeated in data.draw(st.lists(st.sampled_from(said), min_size=1, max_size=4)):
        late = day(data.draw(st.integers((repeated.valid_from - day(0)).days, DAYS)))
        (told.known if isinstance(repeated, Fact) else told.rows).append(
            repeated._replace(valid_from=late, position=here, until=None)
        )
        here += 1
    told = told._replace(position=here)
    # Who asked again after a withdrawal asks no more if that is said again.
    assume(told.classes_now() == live)
    assert told.marks(decision, reaffirmed) == before


@given(happenings, st.integers(1, 25), st.none() | st.integers(2, 26), st.integers(1, 25))
# A recording is retracted, or a withdrawal, of an ask that has the id of another, where that comes to be near.
@example([ASKED, LOUDER, MOVED, ELSEWHERE, 5, MERGED], 2, None, 5)
@example([MET, FITS, ASKED, ASKED_TOO, MOVED_TOO, ENDED, ENDED_ELSEWHERE, UNFIT, ASKED, 8, MERGED], 6, 9, 10)
def test_what_is_said_later_or_of_others_moves_no_mark(log: list[Any], at: int, again: int | None, count: int) -> None:
    acts = [at] if again is None else [at, again]
    assume(at <= count <= len(log) and at < acts[-1] + len(acts) % 2 and acts[-1] <= count + len(acts))
    decision, reaffirmed, *_ = *(Decision("D", each, day(0), None, "commit", ["R"]) for each in acts), None
    assert decision is not None
    then, since = tell(log[:count], *acts), tell(log, *acts)
    reach = then.lineage.reach(["R"])
    near = [
        each
        for each in then.rows
        if each.requirement in reach.requirements or (each.requirement, each.ask) in reach.asks
    ]
    expected = then._replace(rows=near).marks(decision, reaffirmed)
    assert since._replace(position=then.position).marks(decision, reaffirmed) == expected


def test_who_asks_again_since_a_withdrawal_asks_since_then_though_it_is_retracted() -> None:
    log = [MET, FITS, ASKED, ENDED, UNFIT, (1, "acme", "A", 2, "R"), 5]
    decision, reaffirmed = (Decision("D", each, day(0), None, "commit", ["R"]) for each in (4, 7))
    before, after = (tell(told, 4, 7).marks(decision, reaffirmed) for told in (log[:-1], log))
    assert [mark.position for mark in before] == [8]
    assert after == before


def act(data: st.DataObject, at: int) -> Decision:
    return Decision("D", at, day(data.draw(days)), data.draw(st.none() | st.integers(0, at - 1)), "commit", ["R"])


def marked(found: list[Mark]) -> dict[str, tuple[Class, Class | None]]:
    return {each.account: (each.as_decided, each.as_now) for mark in found for each in mark.classes}


def tell(log: list[Any], *acts: int) -> Told:
    """What a log comes to. The acts take these positions; what comes from there on is one further for each."""
    known: list[Fact] = []
    rows: list[Ask] = []
    adopted: list[Adoption] = []
    claimed: list[Claim] = []
    merged: dict[str, list[Merge]] = {"account": [], "requirement": []}
    moved: dict[str, list[Move]] = {}
    here = 0
    for happening in log:
        here += 1
        while here in acts:
            here += 1
        match happening:
            case Claim():
                claimed.append(happening._replace(position=here))
            case Move():
                moved.setdefault(happening.ask, []).append(happening._replace(position=here))
            case Merge():
                told = merged["requirement" if happening.name in "RST" else "account"]
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
    return Told(known, rows, adopted, lineage, max(here, *acts))


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
