"""What an answer carries with `proof=1` is enough to make all of it anew, whatever has happened and at any position.

So the rows that the verifier chooses among the cited events are those that the statements of the projector choose in
the database, and no event is missing that bears on the answer.
"""

import os
import random
from typing import get_args

from services.verifier.verify import Check, verify
from tests.conftest import Database
from tests.emptied import FIRST, emptied
from tests.histories import REQUIREMENTS, tell
from tests.questions import Question, below, declared

HISTORIES = int(os.environ.get("LEDGER_TEST_PROVEN_HISTORIES", "15"))
ROUTE = next(each for each in declared() if below(each.path) == "/requirements/{requirement}")


async def test_every_answer_follows_from_the_events_that_it_carries(database: Database) -> None:
    answered = 0
    async with emptied(database) as ledgers:
        for seed in range(1, 1 + HISTORIES):
            chance, history = random.Random(f"proving {seed}"), tell(seed)
            await ledgers.empty(FIRST)
            await ledgers.record(FIRST, history)
            key = await ledgers.sign(FIRST)
            async with ledgers.service() as service:
                for requirement in REQUIREMENTS:
                    for position in (len(history), chance.randrange(1, len(history))):
                        question = Question(ROUTE, {}, "application/json", chance.choice(["query", "personal"]))
                        path = f"/v1/ledgers/{FIRST}/requirements/{requirement}"
                        answer = await service.ask(path, question, as_of=position, proof=1)
                        if answer.status == 404:
                            continue
                        assert answer.status == 200, answer
                        report = verify(answer.body, [key])
                        assert report.found == [], (seed, path, position)
                        assert {*report.checked} == {*get_args(Check)}
                        answered += 1
    assert answered > 3 * HISTORIES
