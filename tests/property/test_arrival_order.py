"""Whatever order observations arrive in, among acts that keep theirs, the answers say the same in the end."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.migrate import make_ledger
from services.postgres import connect
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import Log, event

START = datetime(2026, 3, 1, tzinfo=UTC)
RECORDED = START + timedelta(days=300)
BY = {"role": "head of product", "team": "product"}
NAMES = ["acme", "bank", "cedar", "zen:1", "zen:2", "crm:9"]
REQUIREMENTS = ["R-1", "R-2", "R-3"]
FEEDBACK = [f"F-{number}" for number in range(12)]
OBSERVATIONS = 80

# What tells where and in what order something was recorded, and what refers to that.
_OF_THE_ORDER = {
    "position",
    "as_of",
    "recordedtime",
    "cut",
    "seen",
    "backdated",
    "history",
    "as_decided",
    "needs_review",
}

# Lists whose order does not depend on positions, and what names a row of theirs.
_ORDERED = {"requirements": "requirement", "accounts": "account", "attributes": "attribute", "feedback": "feedback"}


def history(chance: random.Random) -> tuple[list[Any], list[Any]]:
    """Observations, each about a time of its own; and acts."""
    times = iter(chance.sample(range(1, 200), OBSERVATIONS))
    observations = [observed(chance, (START + timedelta(days=next(times))).isoformat()) for _ in range(OBSERVATIONS)]
    bullets = [{"bullet": "a", "text": "line", "test": {"op": "eq", "attribute": "a", "value": 1}}]
    agreement = {"agreement": "target-market", "revision": "r1", "by": BY}
    acts = [
        event(
            "agreement.revised", title="t", stage="focused", bullets=bullets, threshold=50, signatories=[],
            reason="so", **agreement,
        ),
        event("agreement.adopted", effective="2026-04-01", time="2026-04-01T00:00:00Z", **agreement),
        event("account.merged", account="bank", into=chance.choice(["acme", "cedar"]), reason="one", by=BY),
        event("requirement.merged", requirement="R-2", into=chance.choice(["R-1", "R-3"]), reason="one", by=BY),
        event("account.unmerged", account="bank", reason="two", by=BY),
        event("account.merged", account=chance.choice(["zen:1", "bank"]), into="cedar", reason="one", by=BY),
        event("ask.moved", requirement="R-1", ask="k-1", to="R-3", reason="meant", by=BY),
        *([event("requirement.unmerged", requirement="R-2", reason="two", by=BY)] if chance.random() < 0.5 else []),
    ]  # fmt: skip
    return observations, acts


def observed(chance: random.Random, time: str) -> Any:
    account, requirement = chance.choice(NAMES), chance.choice(REQUIREMENTS)
    match chance.choice(["ask", "ask", "ask", "profile", "identify", "withdraw", "sell", "raise", "say", "say"]):
        case "ask":
            ask = f"k-{chance.randrange(4)}"
            importance = chance.randrange(4)
            about = {"feedback": chance.choice(FEEDBACK)} if chance.random() < 0.6 else {}
            return event(
                "ask.recorded", requirement=requirement, account=account, ask=ask, importance=importance, time=time,
                **about,
            )  # fmt: skip
        case "say":
            said = {"account": account} if chance.random() < 0.8 else {}
            return event(
                "feedback.received", feedback=chance.choice(FEEDBACK), text=f"we said as of {time}",
                channel=chance.choice(["call", "mail"]), time=time, **said,
            )  # fmt: skip
        case "profile":
            name = {"name": f"{account} {time}"} if chance.random() < 0.5 else {}
            attributes = {chance.choice("abc"): chance.choice([1, 2, None]), "a": chance.choice([1, 2])}
            return event("account.profiled", account=account, attributes=attributes, time=time, **name)
        case "identify":
            alias = chance.choice(
                [{"system": "zen", "id": "1"}, {"system": "zen", "id": "2"}, {"system": "crm", "id": "9"}]
            )
            return event("account.identified", account=chance.choice(NAMES[:4]), same_as=[alias], time=time)
        case "withdraw":
            return event("ask.withdrawn", requirement=requirement, ask=f"k-{chance.randrange(4)}", time=time)
        case "sell":
            return event(
                "opportunity.updated", opportunity=f"O-{chance.randrange(4)}", account=account, stage="open",
                amount=str(chance.randrange(1000)), currency="EUR", requirements=[requirement], time=time,
            )  # fmt: skip
        case _:
            return event("requirement.raised", requirement=requirement, title=f"as of {time}", time=time)


def interleaved(chance: random.Random, observations: Sequence[Any], acts: Sequence[Any]) -> list[Any]:
    """The observations in any order, with the acts among them in theirs."""
    places = sorted(chance.choices(range(len(observations) + 1), k=len(acts)))
    order = chance.sample([*observations], len(observations))
    for number, (place, act) in enumerate(zip(places, acts, strict=True)):
        order.insert(place + number, act)
    return order


def without_order(answer: Any) -> Any:
    match answer:
        case dict():
            return {name: without_order(item) for name, item in answer.items() if name not in _OF_THE_ORDER}
        case list():
            parts = [without_order(item) for item in answer]
            return sorted(parts, key=msgspec.json.Encoder(order="sorted").encode)
        case _:
            return answer


async def answers(client: Asking, ledger: str) -> dict[str, Any]:
    found = {}
    for path in (
        "requirements", "requirements?lens=asked", "accounts", *(f"requirements/{name}" for name in REQUIREMENTS),
        *(f"accounts/{name}" for name in NAMES), *(f"accounts?alias={name}" for name in NAMES),
        "attributes", "attributes?used=true", "feedback", "feedback?channel=call", "feedback?class=on_target",
        *(f"feedback?account={name}" for name in NAMES),
    ):  # fmt: skip
        mark = "&" if "?" in path else "?"
        reply = await client.get(f"/v1/ledgers/{ledger}/{path}{mark}at_least={client.head}&timeout=30", key="personal")
        name = path.partition("?")[0]
        order = [row[_ORDERED[name]] for row in reply.json.get(name, ())] if name in _ORDERED else None
        found[path] = (reply.status, order, without_order(reply.json))
    return found


@pytest.mark.parametrize("seed", range(6))
async def test_any_order_of_arrival_ends_in_the_same_answers(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    observations, acts = history(chance)
    connection = await connect(database.owner)
    await make_ledger(connection, database.settings, "other")
    await connection.close()
    async with asking(database) as client, Log.open(database, "other") as other:
        await client.record(*interleaved(chance, observations, acts), recordedtime=RECORDED)
        await other.append(*interleaved(chance, observations, acts), recordedtime=RECORDED)
        here, there = await answers(client, "main"), await answers(client, "other")
        assert here.keys() == there.keys()
        for path in here:
            assert here[path] == there[path], path
