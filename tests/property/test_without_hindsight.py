"""No answer for a past position knows what came after it.

Random histories are recorded bit by bit. At some positions the projector is asked while its ledger holds nothing else
yet; later, with more recorded, it is asked for those positions with `as_of`, and the bytes have to be the same. A twin
of some histories, in which everything happens 28 years later, has to give the same answers 28 years later: then no
clock was looked at.

`LEDGER_TEST_HISTORIES` histories (`make hindsight`: 10,000), from `LEDGER_TEST_HISTORIES_SEED` on. A failure names
its seed, the request and the event that changed the answer.
"""

import os
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from schemas.events import EVENT_TYPES, PersonErased, TextRedacted, type_of
from tests.conftest import Database
from tests.emptied import FIRST, SECOND, Answer, Ledgers, Service, emptied
from tests.histories import Told, in_later_years, later, tell
from tests.questions import Question, below, declared, parameters, path_of, questions

HISTORIES = int(os.environ.get("LEDGER_TEST_HISTORIES", "500"))
SEED = int(os.environ.get("LEDGER_TEST_HISTORIES_SEED", "1"))
HISTORIES_OF_A_TEST = 100
MOMENTS, QUESTIONS_OF_A_MOMENT = 3, 3
TWIN_EVERY = 4  # Histories.
YEARS = 28  # After which the calendar is the same again.
QUESTIONS = questions()


class Asked(NamedTuple):
    """What was asked at a position when there was nothing behind it, and the answer."""

    position: int
    path: str
    question: Question
    answer: Answer

    def moment(self, as_of: str) -> dict[str, str]:
        """How to ask for the same position. The cursor of a page has it already."""
        return {} if "cursor=" in self.path else {"as_of": as_of}


def test_events_of_every_type_happen() -> None:
    happened = {each.event["type"] for seed in range(1, 1 + HISTORIES_OF_A_TEST) for each in tell(seed)}
    # An erasure withholds words from every position: that is what it is for.
    assert happened == {*EVENT_TYPES} - {type_of(PersonErased), type_of(TextRedacted)}


@pytest.mark.timeout(60 + 5 * HISTORIES_OF_A_TEST)
@pytest.mark.parametrize("first", range(SEED, SEED + HISTORIES, HISTORIES_OF_A_TEST))
async def test_no_answer_knows_what_came_after_its_position(database: Database, first: int) -> None:
    seeds = range(first, min(first + HISTORIES_OF_A_TEST, SEED + HISTORIES))
    answered: set[tuple[str, str]] = set()
    async with emptied(database) as ledgers:
        for seed in seeds:
            history = tell(seed)
            asked = await _look_back(ledgers, seed, history)
            if seed % TWIN_EVERY == 0:
                await _compare_with_twin(ledgers, seed, history, asked)
            for each in asked:
                path = below(each.question.route.path)
                if each.answer.status == 200:
                    answered.add((path, "200"))
                if each.answer.status in (200, 404):
                    answered.update((path, name) for name in (each.question.accept, *each.question.parameters))
    if len(seeds) == HISTORIES_OF_A_TEST:
        wanted = {
            (below(each.path), name)
            for each in declared()
            for name in ("200", *each.answers[200].bodies, *parameters(each))
        }
        assert sorted(wanted - answered) == [], "this was not asked, or never answered"


async def _look_back(ledgers: Ledgers, seed: int, history: Sequence[Told]) -> list[Asked]:
    """Record a history bit by bit, and ask what is to be the same later on. Fails where it is not."""
    chance = random.Random(f"asking {seed}")
    await ledgers.empty(FIRST)
    asked: list[Asked] = []
    async with ledgers.service() as then, ledgers.service() as since:
        places = sorted({*chance.sample(range(1, len(history)), MOMENTS - 1), len(history)})
        if seed % 5 == 0:
            places.insert(0, 0)
        before = 0
        for moment, place in enumerate(places):
            await ledgers.record(FIRST, history[before:place])
            if asked:
                await _still_the_same(ledgers, since, seed, history[:place], chance.choice(asked))
            for question in _next_questions(seed, moment):
                path = path_of(question, [each.event for each in history[:place]], chance)
                answer = await then.ask(path, question, at_least=place)
                assert answer.status < 500, (seed, path, answer)
                asked.append(Asked(place, path, question, answer))
                if next_page := re.fullmatch(r"<(.*)>; rel=\"next\"", answer.headers.get("Link", "")):
                    page = await then.ask(next_page[1], question)
                    asked.append(Asked(place, next_page[1], question, page))
            before = place
        for each in asked:
            await _still_the_same(ledgers, since, seed, history, each)
    return asked


async def _still_the_same(ledgers: Ledgers, service: Service, seed: int, history: Sequence[Told], asked: Asked) -> None:
    """Whether the answer is what it was, now that all of this history has been recorded."""
    at = asked.position
    # By the time of its record, every third one, if that is the time of no other position behind it.
    by_time = seed % 3 == 0 and 0 < at < len(history) and history[at].recordedtime > history[at - 1].recordedtime
    as_of = history[at - 1].recordedtime.isoformat().replace("+00:00", "Z") if by_time else str(at)
    answer = await service.ask(asked.path, asked.question, **asked.moment(as_of))
    if answer != asked.answer:
        what = f"as_of={as_of} with {len(history)} events"
        changed = await _first_to_change(ledgers, history, asked)
        pytest.fail(_told(seed, asked, what, answer, asked.answer) + changed, pytrace=False)


async def _first_to_change(ledgers: Ledgers, history: Sequence[Told], asked: Asked) -> str:
    """The event whose record changes the answer, where that can be seen again."""
    await ledgers.empty(FIRST)
    await ledgers.record(FIRST, history[: asked.position])
    for position in range(asked.position, len(history) + 1):
        await ledgers.record(FIRST, history[max(position - 1, asked.position) : position])
        async with ledgers.service() as service:
            answer = await service.ask(asked.path, asked.question, **asked.moment(str(asked.position)))
        if answer != asked.answer:
            event = history[position - 1].event if position else None
            return f"\nsince position {position} is recorded: {event}"
    return "\nnot once each event is recorded by itself"


async def _compare_with_twin(ledgers: Ledgers, seed: int, history: Sequence[Told], asked: Sequence[Asked]) -> None:
    """Whether the history that happens so many years later has the same answers, so many years later."""
    await ledgers.empty(SECOND)
    await ledgers.record(SECOND, later(history, YEARS))
    async with ledgers.service() as service:
        for each in asked[::2]:
            if "cursor=" in each.path or each.answer.status != 200:
                continue
            path = in_later_years(each.path.encode(), YEARS).decode().replace(f"/{FIRST}/", f"/{SECOND}/")
            answer = await service.ask(path, each.question, as_of=each.position)
            wanted = in_later_years(each.answer.body, YEARS)
            if answer.body != wanted:
                wanted = each.answer._replace(body=wanted)
                pytest.fail(_told(seed, each, f"{YEARS} years later", answer, wanted), pytrace=False)


def _told(seed: int, asked: Asked, what: str, found: Answer, wanted: Answer) -> str:
    """What a failure says: how to see it again, and where the answers part."""
    pairs = enumerate(zip(found.body, wanted.body, strict=False))
    place = next((number for number, (one, other) in pairs if one != other), min(len(found.body), len(wanted.body)))
    around = slice(max(0, place - 300), place + 200)
    question = asked.question
    return (
        f"seed {seed}: {question.route.method} {asked.path} as {question.key}, {question.accept}, at position"
        f" {asked.position}, has another answer {what}."
        f"\nagain: LEDGER_TEST_HISTORIES=1 LEDGER_TEST_HISTORIES_SEED={seed} pytest {Path(__file__).name}"
        f"\nthen: {wanted.status} {wanted.headers} …{wanted.body[around].decode(errors='replace')}…"
        f"\nnow:  {found.status} {found.headers} …{found.body[around].decode(errors='replace')}…"
    )


def _next_questions(seed: int, moment: int) -> list[Question]:
    """What is asked at a moment of a history: over all histories each question has its turn as often."""
    first = (seed * MOMENTS + moment) * QUESTIONS_OF_A_MOMENT
    return [QUESTIONS[(first + each) % len(QUESTIONS)] for each in range(QUESTIONS_OF_A_MOMENT)]
