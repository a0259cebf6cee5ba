"""Random histories of one ledger: what the lenses are asked about, and the same as columns."""

import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import msgspec
import numpy as np

from schemas.events import Bullet
from services.projector.counting.columns import FOREVER, day_number, digest, microseconds
from services.projector.counting.counted import Counted, Said
from services.projector.judgement.fit import Revision
from services.projector.judgement.lenses import Adoption, Ask, Fact, Knowledge, live_asks
from services.projector.judgement.resolution import Claim, Lineage, Merge, Move, Resolution

START = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(hours=7)
STAGES = ["won", "open", "lost"]
ACCOUNTS = ["a-0", "a-1", "a-2", "a-3", "z:1", "z:2"]
REQUIREMENTS = ["R-0", "R-1", "R-2", "R-3"]
ASKS = ["A", "B", "C", "D", "E", "F", "G", "H"]
ATTRIBUTES = ["a", "b", "c"]
VALUES: list[Any] = [1, 2, "1", "Ä", "ä", True, 5, 50, 50.0, 2**60, ["x"], None]


class Deal(NamedTuple):
    opportunity: str
    account: str
    stage: str
    amount: int | None
    currency: str
    ends: date | None
    valid_from: datetime
    position: int


class History(NamedTuple):
    """Rows as they are read, in the order of their positions."""

    length: int
    asks: list[Ask]
    facts: list[Fact]
    deals: list[Deal]
    adoptions: list[Adoption]
    claims: list[Claim]
    merges: dict[str, list[Merge]]
    moves: dict[str, list[Move]]
    retracted: dict[int, int]
    """Position of what was said → position at which it was retracted."""

    def now(self, p: int) -> datetime:
        """The recorded time of a position."""
        return START + p * STEP

    def holds(self, position: int, p: int) -> bool:
        return position <= p < self.retracted.get(position, FOREVER)

    @property
    def lineage(self) -> Lineage:
        claims = [each._replace(until=self.retracted.get(each.position)) for each in self.claims]
        return Lineage(Resolution(self.merges["account"], claims), Resolution(self.merges["requirement"]), self.moves)

    def knowledge(self, p: int) -> Knowledge:
        """What is known at p."""
        return Knowledge(self.adoptions, [each for each in self.facts if self.holds(each.position, p)], self.lineage)

    def knowledge_with_retractions(self) -> Knowledge:
        """All that was ever said, with what was retracted."""
        facts = [each._replace(until=self.retracted.get(each.position)) for each in self.facts]
        return Knowledge(self.adoptions, facts, self.lineage)

    def asks_with_retractions(self) -> list[Ask]:
        return [each._replace(until=self.retracted.get(each.position)) for each in self.asks]

    def known_asks(self, p: int) -> list[Ask]:
        return [each for each in self.asks if self.holds(each.position, p)]

    def live(self, p: int) -> list[Ask]:
        return live_asks(self.known_asks(p), self.now(p), p, self.lineage)


def some_test(chance: random.Random, levels: int = 2) -> dict[str, Any]:
    name = chance.choice(ATTRIBUTES)
    kinds = ["eq", "gt", "between", "in", "has", "exists", "ne", "lte"] + (["all", "any", "not"] if levels else [])
    match chance.choice(kinds):
        case "all" | "any" as op:
            return {"op": op, "tests": [some_test(chance, levels - 1) for _ in range(chance.randrange(1, 4))]}
        case "not":
            return {"op": "not", "test": some_test(chance, levels - 1)}
        case "between":
            return {"op": "between", "attribute": name, "low": 1, "high": chance.choice([5, 50.0])}
        case "in":
            return {"op": "in", "attribute": name, "values": ["1", "Ä", 5]}
        case "has":
            return {"op": "has", "attribute": name, "value": "X"}
        case "exists":
            return {"op": "exists", "attribute": name}
        case op:
            return {"op": op, "attribute": name, "value": chance.choice([1, 5, "ä", 2.5, 2**60])}


def some_revision(chance: random.Random, name: str) -> Revision:
    bullets = [
        {
            "bullet": f"b{number}",
            "text": "line",
            "weight": chance.randrange(1, 5),
            "required": chance.random() < 0.2,
            **({"test": some_test(chance)} if chance.random() < 0.9 else {}),
        }
        for number in range(chance.randrange(1, 5))
    ]
    return Revision(
        agreement="target-market",
        revision=name,
        title=name,
        threshold=chance.choice([0, 30, 50, 75, 100]),
        stage=chance.choice(["focused", "focused", "focused", "exploratory"]),
        bullets=msgspec.convert(bullets, list[Bullet]),
    )


def some_history(chance: random.Random, length: int) -> History:
    history = History(length, [], [], [], [], [], {"account": [], "requirement": []}, {}, {})
    for position in range(1, length + 1):
        now = history.now(position)
        when = START + chance.randrange(position + 1) * STEP if chance.random() < 0.4 else now
        account, requirement, ask = chance.choice(ACCOUNTS), chance.choice(REQUIREMENTS), chance.choice(ASKS)
        kinds = ["ask"] * 9 + ["fact"] * 9 + ["withdraw"] * 2 + ["deal"] * 4
        match chance.choice([*kinds, "adopt", "claim", "join", "part", "move", "retract"]):
            case "ask":
                history.asks.append(Ask(requirement, ask, account, chance.randrange(4), when, position))
            case "withdraw":
                history.asks.append(Ask(requirement, ask, None, 0, when, position))
            case "fact":
                for name in chance.sample(ATTRIBUTES, 2):
                    value = msgspec.json.encode(chance.choice(VALUES)).decode()
                    history.facts.append(Fact(account, name, value, when, position))
            case "deal":
                history.deals.append(
                    Deal(
                        f"O-{chance.randrange(6)}",
                        account,
                        chance.choice(STAGES),
                        chance.choice([None, 0, 10**21, -(10**20) - 7, 5_000_001]),
                        chance.choice(["EUR", "USD"]),
                        chance.choice([None, START.date() + timedelta(days=chance.randrange(20))]),
                        when,
                        position,
                    )
                )
            case "adopt":
                effective = max(when, START + chance.randrange(length) * STEP)
                history.adoptions.append(Adoption(effective, position, some_revision(chance, f"r{position}")))
            case "claim":
                history.claims.append(Claim(position, when, chance.choice(ACCOUNTS[:4]), chance.choice(ACCOUNTS[4:])))
            case "join":
                kind, names = chance.choice([("account", ACCOUNTS), ("requirement", REQUIREMENTS)])
                name, into = chance.sample(names, 2)
                merged = {each.name: each.into for each in history.merges[kind]}
                if merged.get(name) is None and merged.get(into) is None:
                    history.merges[kind].append(Merge(position, when, name, into))
            case "part":
                for kind in history.merges:
                    merged = {each.name: each.into for each in history.merges[kind]}
                    apart = [name for name, into in merged.items() if into is not None]
                    if apart:
                        history.merges[kind].append(Merge(position, when, chance.choice(apart), None))
                        break
            case "move":
                history.moves.setdefault(ask, []).append(
                    Move(position, when, requirement, ask, chance.choice(REQUIREMENTS))
                )
            case "retract":
                rows = [*history.asks, *history.facts, *history.deals, *history.claims]
                said = [each.position for each in rows if each.position not in history.retracted]
                if said:
                    history.retracted[chance.choice(said)] = position
    return history


def counted(history: History, *steps: int) -> Counted:
    """The history as columns, read up to each of these positions in turn, and then to its end."""
    found, after = Counted.nothing(), 0
    for upto in (*steps, history.length):
        found = found.plus(said(history, after, upto))
        after = upto
    return found


def said(history: History, after: int, upto: int) -> Said:
    """What was recorded in between."""

    def new(rows: Iterable[Any]) -> list[Any]:
        return [each for each in rows if after < each.position <= upto]

    asks, facts = new(history.asks), new(history.facts)
    recorded = [each for each in asks if each.account is not None]
    everybody = [*recorded, *facts, *new(history.deals)]
    return Said(
        upto=upto,
        asks=(
            [each.account for each in recorded],
            [each.requirement for each in recorded],
            b"".join(digest(each.ask) for each in recorded),
            np.array([each.importance for each in recorded], np.int64),
            *numbers(recorded),
        ),
        withdrawals=[
            (each.requirement, digest(each.ask), at(each), each.position) for each in asks if each.account is None
        ],
        facts=(
            [each.account for each in facts],
            [each.attribute for each in facts],
            [each.value for each in facts],
            *numbers(facts),
        ),
        opportunities=[
            (
                each.opportunity,
                each.account,
                each.stage,
                each.amount,
                each.currency,
                None if each.ends is None else day_number(each.ends),
                at(each),
                each.position,
            )
            for each in new(history.deals)
        ],
        mentions=([each.account for each in everybody], numbers(everybody)[1]),
        retractions=[
            (p, position)
            for position, p in sorted(history.retracted.items(), key=lambda each: each[1])
            if after < p <= upto
        ],
        adoptions=[each for each in history.adoptions if each.position <= upto],
        lineage=Lineage(
            Resolution(
                [each for each in history.merges["account"] if each.position <= upto],
                [
                    each._replace(until=history.retracted.get(each.position))
                    for each in history.claims
                    if each.position <= upto
                ],
            ),
            Resolution([each for each in history.merges["requirement"] if each.position <= upto]),
            {ask: [each for each in moves if each.position <= upto] for ask, moves in history.moves.items()},
        ),
    )


def at(row: Any) -> int:
    return microseconds(row.valid_from)


def numbers(rows: list[Any]) -> tuple[Any, Any]:
    """valid and position."""
    return np.array([at(each) for each in rows], np.int64), np.array([each.position for each in rows], np.int64)
