"""Whoever it was: answers say the same with other persons in them, and lists say the same to the byte.

Each history is told twice; in the second telling persons are others, two of them one and the same, in another order by
their ids.
"""

import random
import re

import msgspec
import pytest

from tests.conftest import Database
from tests.emptied import FIRST, SECOND, emptied
from tests.histories import PERSONS, Told, tell
from tests.questions import below, path_of, questions

HISTORIES = 4
OTHERS = dict(zip(PERSONS, ("z-9", "a-1", "z-9"), strict=True))
SHOWS_PERSONS = {
    "/requirements/{requirement}",
    "/accounts/{account}",
    "/agreements/{agreement}",
    "/agreements/{agreement}/revisions/{revision}",
    "/decisions/{decision}",
}

_PERSON = re.compile(rb'"(' + "|".join(PERSONS).encode() + rb')"')


def renamed(text: bytes) -> bytes:
    return _PERSON.sub(lambda found: f'"{OTHERS[found[1].decode()]}"'.encode(), text)


@pytest.mark.parametrize("seed", range(HISTORIES))
async def test_answers_are_the_same_whoever_it_was(database: Database, seed: int) -> None:
    history = tell(seed)
    others = [each._replace(event=msgspec.json.decode(renamed(msgspec.json.encode(each.event)))) for each in history]
    assert persons(history) > persons(others)
    chance = random.Random(seed)
    async with emptied(database) as ledgers:
        await ledgers.record(FIRST, history)
        await ledgers.record(SECOND, others)
        async with ledgers.service() as service:
            # Whose page it is, the path says.
            asked = [each for each in questions() if below(each.route.path) != "/persons/{person}"]
            for question in asked[seed::HISTORIES]:
                path = path_of(question, [each.event for each in history], chance)
                here = await service.ask(path, question, as_of=len(history))
                there = await service.ask(path.replace(f"/{FIRST}/", f"/{SECOND}/"), question, as_of=len(history))
                about_one = below(question.route.path) in SHOWS_PERSONS
                assert there.body == (renamed(here.body) if about_one else here.body), path


def persons(history: list[Told]) -> int:
    """How many there are."""
    text = b"".join(msgspec.json.encode(each.event) for each in history)
    return len({*re.findall(rb'"(?:person|contact)":"([^"]+)"', text)})
