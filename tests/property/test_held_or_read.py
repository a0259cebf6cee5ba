"""What is about one subject is answered the same, to the byte, from what is held in memory and from the database.

Random histories of every type of event, with retractions, merges, contested aliases and what was said late. One
service holds the ledger, another has loaded nothing.
"""

import random
from typing import Any

import pytest

from services.projector.counting.of_few import FactsOfFew
from tests.conftest import Database
from tests.emptied import FIRST, Ledgers, emptied
from tests.histories import Told, tell
from tests.questions import below, path_of, questions

HISTORIES, MOMENTS, QUESTIONS_OF_A_MOMENT = 10, 4, 12
ABOUT_ONE = (
    *("/requirements/{requirement}", "/requirements/{requirement}/outcome", "/requirements/{requirement}/brief"),
    *("/decisions/{decision}", "/decisions/{decision}/brief", "/accounts/{account}"),
)
QUESTIONS = [each for each in questions() if below(each.route.path) in ABOUT_ONE]
LIST = next(each for each in questions() if below(each.route.path) == "/requirements")


async def test_who_holds_a_ledger_answers_as_who_reads_it(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {below(each.route.path) for each in QUESTIONS} == {*ABOUT_ONE}
    looked_up: list[int] = []
    begin = FactsOfFew.__init__

    def counted(self: FactsOfFew, *given: Any) -> None:
        looked_up.append(len(looked_up))
        begin(self, *given)

    monkeypatch.setattr(FactsOfFew, "__init__", counted)
    async with emptied(database) as ledgers:
        for seed in range(1, HISTORIES + 1):
            await _compare(ledgers, tell(seed), random.Random(f"held or read {seed}"), looked_up)
    assert len(looked_up) > HISTORIES * MOMENTS


async def _compare(ledgers: Ledgers, history: list[Told], chance: random.Random, looked_up: list[int]) -> None:
    await ledgers.empty(FIRST)
    half = len(history) // 2
    async with ledgers.service() as holding, ledgers.service() as reading:
        await ledgers.record(FIRST, history[:half])
        await holding.ask(path_of(LIST, [], chance), LIST)
        await ledgers.record(FIRST, history[half:])
        events = [each.event for each in history]
        for position in (len(history), *chance.sample(range(1, len(history)), MOMENTS - 1)):
            for question in chance.sample(QUESTIONS, QUESTIONS_OF_A_MOMENT):
                path = path_of(question, events, chance)
                before = len(looked_up)
                expected = await reading.ask(path, question, as_of=position)
                assert len(looked_up) == before, "nobody has loaded anything for it"
                assert await holding.ask(path, question, as_of=position) == expected, (path, position)


async def test_another_log_is_not_answered_from_what_is_held_of_one_before(database: Database) -> None:
    chance = random.Random("another log")
    shorter, longer = sorted((tell(1), tell(2)), key=len)
    events = [each.event for each in longer]
    assert len(shorter) < len(longer)
    async with emptied(database) as ledgers, ledgers.service() as holding, ledgers.service() as reading:
        await ledgers.empty(FIRST)
        await ledgers.record(FIRST, shorter)
        await holding.ask(path_of(LIST, [], chance), LIST)
        await ledgers.empty(FIRST)
        await ledgers.record(FIRST, longer)
        for position in range(len(shorter) // 2, len(longer)):
            for question in chance.sample(QUESTIONS, 3):
                path = path_of(question, events, chance)
                expected = await reading.ask(path, question, as_of=position)
                assert await holding.ask(path, question, as_of=position) == expected, (path, position)
