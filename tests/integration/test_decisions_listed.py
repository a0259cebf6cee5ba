"""What the list says of each decision, from columns, is what is said of it alone, from rows."""

import random
from typing import Any

import msgspec
import pytest

from tests.conftest import Database
from tests.emptied import FIRST, Service, emptied
from tests.histories import tell
from tests.questions import Question, declared

HISTORIES = 20
POSITIONS = 4
COMMON = (
    *("state", "requirements", "outcome", "grounds", "departs", "at_stake", "became", "overdue", "instruction"),
    *("revisit", "agreement", "revision"),
)


@pytest.mark.timeout(300)
async def test_a_row_says_what_is_said_of_the_decision_alone(database: Database) -> None:
    seen: set[Any] = set()
    async with emptied(database) as ledgers:
        for seed in range(HISTORIES):
            history = tell(seed)
            await ledgers.empty(FIRST)
            await ledgers.record(FIRST, history)
            async with ledgers.service() as service:
                await _answer(service, "decisions", at_least=len(history))
                chance = random.Random(seed)
                for position in [*chance.sample(range(1, len(history)), POSITIONS), len(history)]:
                    for row in (await _answer(service, "decisions", as_of=position))["decisions"]:
                        one = await _answer(service, f"decisions/{row['decision']}", as_of=position)
                        needs_review = bool(one["needs_review"])
                        assert row["needs_review"] == needs_review, (seed, position, row["decision"])
                        superseded_by = one["superseded_by"] and one["superseded_by"]["decision"]
                        assert row["superseded_by"] == superseded_by
                        if row["state"] == "proposed":
                            continue
                        assert {name: row[name] for name in COMMON} == {name: one[name] for name in COMMON}
                        stakes = any(row["at_stake"].values())
                        seen.add((needs_review, stakes, row["departs"], bool(one["reaffirmations"])))
    assert {each[0] for each in seen} == {each[1] for each in seen} == {each[3] for each in seen} == {True, False}


async def _answer(service: Service, path: str, **moment: Any) -> Any:
    route = next(each for each in declared() if each.path.endswith("/decisions"))
    question = Question(route, {}, "application/json", "query")
    answer = await service.ask(f"/v1/ledgers/{FIRST}/{path}?", question, **moment)
    assert answer.status == 200, answer
    return msgspec.json.decode(answer.body)
