"""What was retracted counts as if it had never been said, in every answer about now.

Two histories differ in one observation, in whose place the other has one that no answer is about. Both end with its
retraction. Behind it nothing is decided or promised, since that would keep what was known when it was. Left out is
what tells of the past itself: a history, the context of a decision, or all that is on record of a person.
"""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from schemas.events import Observation
from tests.conftest import Database
from tests.emptied import FIRST, SECOND, Answer, emptied
from tests.histories import Told, tell
from tests.log import event
from tests.questions import Question, below, path_of, questions

SEEDS_OF_A_TEST, TESTS = 25, 2
QUESTIONS_OF_A_HISTORY = 16
QUESTIONS = [each for each in questions() if not below(each.route.path).endswith(("/context", "/{person}"))]
BY = {"role": "head of product", "team": "product"}


def unrelated(told: Told) -> Told:
    """Another event in its place, from the same emitter at the same time."""
    sent = event("person.introduced", person="p-9", name="Ada")
    return told._replace(event={**told.event, "type": sent["type"], "data": sent["data"]})


def with_and_without(seed: int, chance: random.Random) -> tuple[list[Told], list[Told], Any]:
    """A history that ends with a retraction, the same without what is retracted, and that."""
    told = tell(seed)
    retracted = {each.event["data"]["position"] for each in told if each.event["type"] == "ledger.event.retracted.v1"}
    place = chance.choice(
        [
            place
            for place, each in enumerate(told)
            if isinstance(each.sent.event, Observation)
            and each.event["type"] != "ledger.person.introduced.v1"
            and place + 1 not in retracted
        ]
    )
    what = told[place]
    if seed % 3 == 0:  # Nobody else has ever named what it is about.
        alone = {name: "Solo" for name in ("account", "requirement") if name in what.event["data"]}
        what = what._replace(event={**what.event, "data": {**what.event["data"], **alone}})
    behind = [
        unrelated(each) if each.event["type"].split(".")[1] in ("decision", "promise") else each
        for each in told[place + 1 :]
    ]
    data = {"position": place + 1, "subject": what.sent.subject, "reason": "in error", "by": BY}
    retraction = event("event.retracted", id="last", source="urn:desk", **data)
    ends = [*behind, Told(told[-1].recordedtime + timedelta(days=1), retraction)]
    return [*told[:place], what, *ends], [*told[:place], unrelated(what), *ends], what.event


@pytest.mark.timeout(60 + 5 * SEEDS_OF_A_TEST)
@pytest.mark.parametrize("first", range(0, TESTS * SEEDS_OF_A_TEST, SEEDS_OF_A_TEST))
async def test_what_is_retracted_counts_as_if_it_had_never_been_said(database: Database, first: int) -> None:
    async with emptied(database) as ledgers:
        for seed in range(first, first + SEEDS_OF_A_TEST):
            chance = random.Random(f"retracting {seed}")
            said, never_said, what = with_and_without(seed, chance)
            for ledger, history in ((FIRST, said), (SECOND, never_said)):
                await ledgers.empty(ledger)
                await ledgers.record(ledger, history)
            async with ledgers.service() as service:
                for question in chosen(seed):
                    # Mostly about what it was about.
                    about = [what] if chance.random() < 0.6 else [each.event for each in said]
                    path = path_of(question, about, chance, unheard_of=False)
                    here = await service.ask(path, question, as_of=len(said))
                    there = await service.ask(path.replace(f"/{FIRST}/", f"/{SECOND}/"), question, as_of=len(said))
                    assert shown(here) == shown(there), (seed, path, question.accept, what)


def chosen(seed: int) -> Sequence[Question]:
    first = seed * QUESTIONS_OF_A_HISTORY
    return [QUESTIONS[(first + each) % len(QUESTIONS)] for each in range(QUESTIONS_OF_A_HISTORY)]


def shown(answer: Answer) -> Any:
    """What an answer says, but for what happened."""
    if not answer.headers["Content-Type"].startswith("application/json"):
        return answer.status, answer.body
    found = msgspec.json.decode(answer.body)
    found.pop("history", None)
    return answer.status, found
