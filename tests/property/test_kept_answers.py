"""What is answered once more from what was kept is, to the byte, what is answered by whoever keeps nothing.

One service lives through a random history. It is asked everything twice, in random order and at different positions,
while more is recorded, words are erased and read models are built anew.
"""

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import asyncpg
import pytest

from services.postgres import connect
from services.projector.answers.snapshot import still_hold
from services.projector.projections import ALL
from services.projector.rebuild import rebuild
from tests.conftest import Database
from tests.emptied import FIRST, Answer, Ledgers, Service, emptied
from tests.histories import Told, tell
from tests.questions import Question, path_of, questions

HISTORIES = 10
MOMENTS, QUESTIONS_OF_A_HISTORY = 3, 5
QUESTIONS = [each for each in questions() if each.route.method == "GET"]


async def test_kept_answers_are_those_of_a_service_that_keeps_none(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: Counter[bool] = Counter()

    async def counted(*looked: Any) -> bool:
        holds = await still_hold(*looked)
        found[holds] += 1
        return holds

    monkeypatch.setattr("services.projector.requests.readings.still_hold", counted)
    connection = await connect(database.projector)
    async with emptied(database) as ledgers:
        for seed in range(1, HISTORIES + 1):
            chance = random.Random(f"kept {seed}")
            await ledgers.empty(FIRST)
            async with ledgers.service() as keeping:
                await _live_through(ledgers, keeping, connection, tell(seed), chance)
    await connection.close()
    assert found[True] > 5 * HISTORIES and found[False] > 5 * HISTORIES, found


async def _live_through(
    ledgers: Ledgers, keeping: Service, connection: asyncpg.Connection, history: Sequence[Told], chance: random.Random
) -> None:
    events = [each.event for each in history]
    asked = [(each, path_of(each, events, chance)) for each in chance.sample(QUESTIONS, QUESTIONS_OF_A_HISTORY)]
    before = 0
    for place in sorted({*chance.sample(range(1, len(history)), MOMENTS - 1), len(history)}):
        await ledgers.record(FIRST, history[before:place])
        before = place
        await _compare(ledgers, keeping, asked, [None, chance.randrange(1, place + 1)], chance)
        match chance.randrange(3):
            case 0:
                await rebuild(connection, FIRST, chance.choice(ALL))
            case 1:
                await ledgers.destroy_keys(FIRST)
            case _:
                continue
        await _compare(ledgers, keeping, asked, [None], chance)


async def _compare(
    ledgers: Ledgers,
    keeping: Service,
    asked: Sequence[tuple[Question, str]],
    positions: Sequence[int | None],
    chance: random.Random,
) -> None:
    """Ask each question at each of these positions (None: for now), twice."""
    moments: list[dict[str, Any]] = [{} if each is None else {"as_of": each} for each in positions]
    twice = [(*each, moment) for each in asked for moment in moments] * 2
    chance.shuffle(twice)
    async with ledgers.service() as fresh:
        expected: dict[Any, Answer] = {}
        for question, path, moment in twice:
            key = (question.accept, question.key, path, *moment.values())
            if key not in expected:
                expected[key] = await fresh.ask(path, question, **moment)
            assert await keeping.ask(path, question, **moment) == expected[key], (path, moment)
