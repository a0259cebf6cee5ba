"""Answers against a plain recomputation from the events alone, and against themselves, later."""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

import msgspec
import pytest

from schemas.events import Bullet
from services.projector.judgement.fit import CLASSES, Fit, Revision, fit, shown
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import event

START = datetime(2026, 3, 1, tzinfo=UTC)
BY = {"role": "head of product", "team": "product"}
REQUIREMENTS, ACCOUNTS, ALIASES, ASKS = 4, 6, 3, 9
STEPS = 12


class Happening(NamedTuple):
    """An event as the log has it: from when it counts, where it is, what it says."""

    valid: datetime
    position: int
    type: str
    data: dict[str, Any]


class Asked(NamedTuple):
    """An ask that stands: when it was first recorded, and what it said last; whose it is."""

    valid: datetime
    position: int
    data: dict[str, Any]
    account: str


def time(minutes: int) -> str:
    return (START + timedelta(minutes=minutes)).isoformat()


def some_event(chance: random.Random, now: int, number: int, before: "Recomputed") -> Any:
    """Anything that may happen, about any time up to a while ago, or without one. Merges and moves end in one step."""
    requirement = f"R-{chance.randrange(REQUIREMENTS)}"
    account = chance.choice([f"a-{chance.randrange(ACCOUNTS)}"] * 3 + [f"z:{chance.randrange(ALIASES)}"])
    when = chance.choice([None, time(chance.randrange(now + 1))])
    name = f"A-{chance.randrange(ASKS)}"
    kinds = ["ask"] * 5 + ["profile"] * 5 + ["withdraw", "agree", "decide", "decide", "sell", "sell"]
    match chance.choice([*kinds, "identify", "join", "join", "move"]):
        case "identify":
            same_as = [{"system": "z", "id": str(chance.randrange(ALIASES))}]
            return event("account.identified", account=f"a-{chance.randrange(ACCOUNTS)}", same_as=same_as, time=when)
        case "join":
            kind, name, other = chance.choice(
                [
                    ("account", account, f"a-{chance.randrange(ACCOUNTS)}"),
                    ("requirement", requirement, f"R-{chance.randrange(REQUIREMENTS)}"),
                ]
            )
            into = before.into(kind, before.position)
            if name in into:
                return event(f"{kind}.unmerged", **{kind: name}, reason="two", by=BY, time=when)
            if name == other or other in into:
                return []
            return event(f"{kind}.merged", **{kind: name}, into=other, reason="one", by=BY, time=when)
        case "move":
            known = [each.data for each in before.log if each.type == "ask.recorded" and "ask" in each.data]
            if not known:
                return []
            moved = chance.choice(known)
            named = {"requirement": moved["requirement"], "ask": moved["ask"]}
            return event("ask.moved", **named, to=requirement, reason="meant", by=BY, time=when)
        case "ask":
            more = {"ask": name} if chance.random() < 0.8 else {}
            importance = chance.randrange(4)
            return event(
                "ask.recorded", requirement=requirement, account=account, importance=importance, time=when, **more
            )
        case "profile":
            known = {"a": chance.choice([1, 2, "1", None]), "b": chance.choice([True, 5, 50, None]), "c": ["x"]}
            given = {key: known[key] for key in chance.sample(sorted(known), chance.randrange(1, 4))}
            return event("account.profiled", account=account, attributes=given, time=when)
        case "withdraw":
            return event("ask.withdrawn", requirement=requirement, ask=name, time=when)
        case "agree":
            return agreed(chance, number, time(chance.randrange(now + 20)), when)
        case "decide":
            seen = {"seen": chance.randrange(number)} if chance.random() < 0.4 else {}
            return event(
                "decision.made", decision=f"D-{number}", requirements=chance.sample(["R-0", "R-1", "R-2", "R-3"], 2),
                outcome=chance.choice(["commit", "commit", "commit", "defer"]), rationale="so", instruction="do",
                deciders=[BY], time=when, **seen,
            )  # fmt: skip
        case _:
            return event(
                "opportunity.updated", opportunity=f"O-{chance.randrange(9)}", account=account, time=when,
                stage=chance.choice(["open", "won", "lost"]), amount=f"{chance.randrange(10**9) / 100:.2f}",
                currency=chance.choice(["USD", "EUR"]), ends=chance.choice(["2026-02-28", "2026-03-01", None]),
            )  # fmt: skip


def agreed(chance: random.Random, number: int, effective: str, when: str | None) -> list[Any]:
    tests = {
        "a": {"op": "eq", "attribute": "a", "value": 1},
        "b": {"op": "gt", "attribute": "b", "value": 10},
        "c": {"op": "has", "attribute": "c", "value": "X"},
    }
    bullets = [
        {
            "bullet": name,
            "text": "line",
            "test": test,
            "weight": chance.randrange(1, 4),
            "required": chance.random() < 0.2,
        }
        for name, test in tests.items()
    ]
    name = f"r{number}"
    stage = chance.choice(["focused", "focused", "focused", "exploratory"])
    revised = event(
        "agreement.revised", agreement="target-market", revision=name, title=name, stage=stage, bullets=bullets,
        threshold=chance.choice([0, 30, 50, 75, 100]), signatories=["sales"], reason="so", by=BY, time=when,
    )  # fmt: skip
    adopted = event(
        "agreement.adopted", agreement="target-market", revision=name, effective=effective, by=BY, time=when
    )
    return [revised, adopted]


class Recomputed:
    """The answers from nothing but events up to a position, each question by going through all of them."""

    def __init__(self, log: Sequence[Happening], now: datetime) -> None:
        self.log = [*log]
        self.now = now
        self.position = log[-1].position if log else 0

    def into(self, kind: str, p: int) -> dict[str, str]:
        """Name → what it was merged into. Acts count by their positions."""
        found: dict[str, str] = {}
        for each in self.log:
            if each.type == f"{kind}.merged" and each.position <= p:
                found[each.data[kind]] = each.data["into"]
            elif each.type == f"{kind}.unmerged" and each.position <= p:
                del found[each.data[kind]]
        return found

    def account(self, name: str, p: int) -> str:
        """Whose name it is. An alias that no act has settled is that of the account that claims it, if one does."""
        into = self.into("account", p)
        while name in into:
            name = into[name]
        acts = [
            each
            for each in self.log
            if each.type in ("account.merged", "account.unmerged")
            and each.position <= p
            and each.data["account"] == name
        ]
        if acts or not name.startswith("z:"):
            return name
        claimed = {
            self.account(each.data["account"], p)
            for each in self.log
            if each.type == "account.identified" and each.position <= p
            for same in each.data["same_as"]
            if f"{same['system']}:{same['id']}" == name
        }
        return claimed.pop() if len(claimed) == 1 else name

    def moved(self, requirement: str, ask: str | None, p: int) -> str:
        """Where an ask is that was recorded there, before merges."""
        moved = [
            each.data["to"]
            for each in self.log
            if each.type == "ask.moved"
            and each.position <= p
            and (each.data["requirement"], each.data["ask"]) == (requirement, ask)
        ]
        return moved[-1] if moved else requirement

    def place(self, requirement: str, ask: str | None, p: int) -> str:
        """What an ask is for that was recorded there."""
        requirement = self.moved(requirement, ask, p)
        into = self.into("requirement", p)
        while requirement in into:
            requirement = into[requirement]
        return requirement

    def of(self, kind: str, t: datetime, p: int) -> list[Happening]:
        return sorted(each for each in self.log if each.type == kind and each.valid <= t and each.position <= p)

    def in_force(self, t: datetime, p: int) -> tuple[Revision, int] | None:
        began = []
        for each in self.log:
            if each.type == "agreement.adopted" and each.position <= p:
                start = max(each.valid, datetime.fromisoformat(each.data["effective"]))
                if start <= t:
                    began.append((start, each.position, each.data["revision"]))
        if not began:
            return None
        _, position, name = max(began)
        data = next(
            each.data for each in self.log if each.type == "agreement.revised" and each.data["revision"] == name
        )
        revision = Revision(
            agreement="target-market", revision=name, title=name, stage=data["stage"], threshold=data["threshold"],
            bullets=msgspec.convert(data["bullets"], list[Bullet]),
        )  # fmt: skip
        return revision, position

    def fit(self, account: str, t: datetime, p: int) -> Fit | None:
        found = self.in_force(t, p)
        if found is None:
            return None
        profile: dict[str, Any] = {}
        for each in self.of("account.profiled", t, p):
            if self.account(each.data["account"], p) == account:
                profile.update(each.data["attributes"])
        return fit(found[0], profile)

    def asks(self, requirement: str, t: datetime, p: int) -> list[Asked]:
        """The asks that stand and count for a requirement, of which it may be only a part."""
        said = sorted(self.of("ask.recorded", t, p))
        states: dict[tuple[str, str, str], Asked] = {}
        last: dict[tuple[str, str, str], Happening] = {}
        names: dict[tuple[str, str, str], set[str]] = {}
        for each in said:
            ask, account = each.data.get("ask", f"#{each.position}"), self.account(each.data["account"], p)
            key = (self.moved(each.data["requirement"], each.data.get("ask"), p), ask, account)
            begun = states.get(key)
            first = (each.valid, each.position) if begun is None else (begun.valid, begun.position)
            states[key], last[key] = Asked(*first, each.data, account), each
            names.setdefault(key, set()).add(each.data["requirement"])
        for end in self.of("ask.withdrawn", t, p):
            name, root = end.data["requirement"], self.place(end.data["requirement"], None, p)
            known = [key for key in last if key[1] == end.data["ask"]]
            meant = (
                [key for key in known if name in names[key]]
                or [key for key in known if key[0] == name]
                or [key for key in known if self.place(key[0], None, p) == root]
            )
            for key in meant:
                if (end.valid, end.position) > (last[key].valid, last[key].position):
                    states.pop(key, None)
        return [state for key, state in states.items() if self.place(key[0], None, p) == requirement]

    def class_(self, ask: Asked, t: datetime, p: int) -> str:
        found = self.fit(ask.account, t, p)
        if found is None:
            return "undetermined"
        then = self.in_force(ask.valid, p)
        if found.class_ == "off_target" and then is not None and then[0].stage == "exploratory":
            return "exploratory"
        return found.class_

    def loudest(self, asks: Iterable[Asked]) -> dict[str, Asked]:
        order = sorted(asks, key=lambda each: (each.data["importance"], each.valid, each.position))
        return {each.account: each for each in order}

    def asks_for(self, requirements: Iterable[str], t: datetime, p: int) -> list[Asked]:
        """Of several requirements, some of which may be one."""
        return [ask for each in {self.place(name, None, p) for name in requirements} for ask in self.asks(each, t, p)]

    def now_(self, requirement: str) -> tuple[Fraction, Fraction, dict[str, int]]:
        asks = self.loudest(self.asks(requirement, self.now, self.position))
        voices = [Fraction(0), Fraction(0)]
        for account, ask in asks.items():
            found = self.fit(account, self.now, self.position)
            if found and found.fit is not None and found.fit_if_known is not None:
                voices[0] += found.fit * ask.data["importance"]
                voices[1] += found.fit_if_known * ask.data["importance"]
        classes = [self.class_(ask, self.now, self.position) for ask in asks.values()]
        return voices[0], voices[1], {each: classes.count(each) for each in CLASSES}

    def asked(self, requirement: str) -> tuple[Fraction, Fraction, dict[str, int]]:
        best: dict[str, tuple[Fraction, datetime, int, str]] = {}
        most: dict[str, Fraction] = {}
        for ask in self.asks(requirement, self.now, self.position):
            account, importance = ask.account, ask.data["importance"]
            found = self.fit(account, ask.valid, self.position)
            weight = (found.fit or Fraction(0)) * importance if found else Fraction(0)
            known = (found.fit_if_known or Fraction(0)) * importance if found else Fraction(0)
            heard = (weight, ask.valid, ask.position, self.class_(ask, ask.valid, self.position))
            best[account] = max(best.get(account, heard), heard)
            most[account] = max(most.get(account, known), known)
        classes = [each[3] for each in best.values()]
        return (
            sum((each[0] for each in best.values()), Fraction(0)),
            sum(most.values(), Fraction(0)),
            {each: classes.count(each) for each in CLASSES},
        )

    def departs(self, made: Happening) -> str | None:
        cut = made.data.get("seen", made.position - 1)
        asks = self.asks_for(made.data["requirements"], made.valid, cut)
        classes = {self.class_(ask, made.valid, cut) for ask in self.loudest(asks).values()}
        if made.data["outcome"] != "commit" or not classes:
            return None
        return "no" if "on_target" in classes else "yes" if classes == {"off_target"} else "undetermined"

    def needs_review(self, made: Happening) -> bool:
        """Whether somebody who asked is of another class now, or does not ask any more."""
        cut = made.data.get("seen", made.position - 1)
        then = self.loudest(self.asks_for(made.data["requirements"], made.valid, cut))
        here = self.loudest(self.asks_for(made.data["requirements"], self.now, self.position))
        classes = {account: self.class_(ask, self.now, self.position) for account, ask in here.items()}
        return any(
            classes.get(self.account(account, self.position)) != self.class_(ask, made.valid, cut)
            for account, ask in then.items()
        )

    def revenue(self) -> dict[str, tuple[Fraction, Fraction]]:
        latest = {each.data["opportunity"]: each for each in self.of("opportunity.updated", self.now, self.position)}
        sums: dict[str, list[Fraction]] = {}
        for each in latest.values():
            over = each.data.get("ends") is not None and each.data["ends"] < self.now.date().isoformat()
            if each.data["stage"] == "open" or (each.data["stage"] == "won" and not over):
                amounts = sums.setdefault(each.data["currency"], [Fraction(0), Fraction(0)])
                amounts[each.data["stage"] == "open"] += Fraction(each.data["amount"])
        return {currency: (won, pipeline) for currency, (won, pipeline) in sums.items()}


async def compare(client: Asking, expected: Recomputed) -> None:
    """Everything that the answers say against the recomputation, at its position."""
    agreed = expected.in_force(expected.now, expected.position) is not None
    for lens in ("now", "asked"):
        found = await client.answer("requirements", as_of=expected.position, lens=lens)
        order = []
        for row in found["requirements"]:
            recomputed = (expected.now_ if lens == "now" else expected.asked)(row["requirement"])
            assert row["accounts"] == recomputed[2]
            assert row["voice"] == (shown(recomputed[0]) if agreed else None)
            assert row["voice_if_known"] == (shown(recomputed[1]) if agreed else None)
            order.append((-recomputed[0], -recomputed[1], row["requirement"]))
            merged = expected.place(row["requirement"], None, expected.position) != row["requirement"]
            assert (row["status"] == "merged", row["into"] is not None) == (merged, merged)
        assert not agreed or order == sorted(order)

    made = [each for each in expected.log if each.type == "decision.made"]
    decisions = await client.answer("decisions", as_of=expected.position, limit=200)
    assert [row["departs"] for row in decisions["decisions"]] == [expected.departs(each) for each in reversed(made)]
    reviewed = [row["needs_review"] for row in decisions["decisions"]]
    assert reviewed == [expected.needs_review(each) for each in reversed(made)]

    listed = await client.answer("accounts", as_of=expected.position)
    overall = {
        each["currency"]: (Fraction(each["contracted"]), Fraction(each["pipeline"]))
        for each in listed["totals"]["overall"]
    }
    assert overall == expected.revenue()
    for row in listed["accounts"]:
        fit = expected.fit(row["account"], expected.now, expected.position)
        assert row["class"] == (fit.class_ if fit else "undetermined")
        assert row["account"] == expected.account(row["account"], expected.position)


@pytest.mark.parametrize("seed", range(4))
async def test_answers_are_what_the_events_alone_say(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    async with asking(database) as client:
        log: list[Happening] = []
        past: dict[tuple[str, int], bytes] = {}
        snapshots: list[Recomputed] = []
        for step in range(STEPS):
            now = START + timedelta(minutes=30 * (step + 1))
            batch: list[Any] = []
            for _ in range(20):
                before = Recomputed([*log, *happened(batch, now, len(log))], now)
                made = some_event(chance, 30 * (step + 1), len(log) + len(batch) + 1, before)
                batch += made if isinstance(made, list) else [made]
                for each in batch:
                    each["data"] = {name: item for name, item in each["data"].items() if item is not None}
            positions = await client.record(*batch, recordedtime=now)
            assert positions == [*range(len(log) + 1, len(log) + len(batch) + 1)]
            log += happened(batch, now, len(log))
            snapshots.append(Recomputed(log, now))
            await compare_when_there(client, snapshots[-1])
            for path in paths(log):
                reply = await client.get(path, as_of=client.head)
                assert reply.status in (200, 404)
                past[path, client.head] = reply.body

        # Whatever was recorded since, each answer is still the same to the byte.
        for (path, position), body in past.items():
            assert (await client.get(path, as_of=position)).body == body
        for expected in chance.sample(snapshots, 3):
            await compare(client, expected)


def happened(batch: Iterable[Any], now: datetime, after: int) -> list[Happening]:
    """What these events are in the log, behind a position."""
    return [
        Happening(
            min(now, datetime.fromisoformat(each["time"]) if "time" in each else now),
            position,
            each["type"].removeprefix("ledger.").removesuffix(".v1"),
            each["data"],
        )
        for position, each in enumerate(batch, after + 1)
    ]


async def compare_when_there(client: Asking, expected: Recomputed) -> None:
    await client.answer("requirements", at_least=expected.position)
    await compare(client, expected)


def paths(log: Sequence[Happening]) -> list[str]:
    decisions = [each.data["decision"] for each in log if each.type == "decision.made"]
    return [
        "requirements",
        "requirements?lens=asked",
        "accounts",
        "agreements",
        "agreements/target-market",
        "decisions",
        *(f"requirements/R-{number}" for number in range(REQUIREMENTS)),
        *(f"accounts/a-{number}" for number in range(2)),
        *(f"decisions/{name}" for name in decisions[-1:]),
    ]
