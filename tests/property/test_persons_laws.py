"""The page about a person says what a plain look through the log says, at each position."""

import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from services.projector.http import routes
from tests.conftest import Database
from tests.emptied import FIRST, Service, emptied
from tests.histories import PERSONS, Told, tell
from tests.questions import Question, below

HISTORIES = 12
WORDS = ("name", "email", "quote", "text")
APPEARS_AS = {"contact": "contact", "by": "by", "deciders": "decider", "consulted": "consulted"}


class Place(NamedTuple):
    """Where an event names a person."""

    position: int
    appears_as: str
    role: str | None
    team: str | None
    words: dict[str, str]


def places(told: Sequence[Told], person: str) -> Iterator[Place]:
    """Where these events, whose first is at position 1, name a person."""
    for position, each in enumerate(told, 1):
        data = each.event["data"]
        if data.get("person") == person:
            words = {name: data[name] for name in ("name", "email") if name in data}
            kind = each.event["type"].split(".")[2]
            yield Place(position, kind, data.get("role"), data.get("team"), words)
        if data.get("contact") == person:
            yield Place(position, "contact", None, None, {name: data[name] for name in WORDS if name in data})
        for name in ("by", "deciders", "consulted"):
            said = data.get(name, [])
            for by in said if isinstance(said, list) else [said]:
                if by.get("person") == person:
                    yield Place(position, APPEARS_AS[name], by["role"], by["team"], {})


async def pages(service: Service, question: Question, person: str, as_of: int, limit: int) -> list[Any] | None:
    """All that is on record of a person; None where nothing is."""
    path, found = f"/v1/ledgers/{FIRST}/persons/{person}?limit={limit}&as_of={as_of}&timeout=30", []
    while True:
        reply = await service.ask(path, question)
        if reply.status == 404:
            return None
        assert reply.status == 200, reply.body
        page = msgspec.json.decode(reply.body)
        assert page["as_of"]["position"] == as_of
        assert len(page["on_record"]) <= limit
        found += page["on_record"]
        if "Link" not in reply.headers:
            return found
        path = reply.headers["Link"].partition(">")[0].lstrip("<")


async def test_the_page_about_a_person_is_what_the_log_says_of_them(database: Database) -> None:
    declared: Any = None  # Only what is declared is looked at.
    [route] = [each for each in routes(declared) if below(each.path) == "/persons/{person}"]
    question, looked = Question(route, {}, "application/json", "personal"), 0
    async with emptied(database) as ledgers:
        for seed in range(HISTORIES):
            history, chance = tell(seed), random.Random(f"persons {seed}")
            await ledgers.empty(FIRST)
            await ledgers.record(FIRST, history)
            async with ledgers.service() as service:
                for person in (*PERSONS, "unheard-of"):
                    as_of = chance.randrange(len(history) // 2, len(history) + 1)
                    found = await pages(service, question, person, as_of, chance.choice([1, 3, 200]))
                    expected = [*places(history[:as_of], person)]
                    assert (found is None) == (not expected)
                    assert [each["position"] for each in found or []] == [each.position for each in expected]
                    shown = [place_shown(each) for each in found or []]
                    assert sorted(shown, key=str) == sorted(expected, key=str), (seed, person, as_of)
                    for each in found or []:
                        about = history[each["position"] - 1].sent
                        assert each["type"] == about.type
                        assert each["subject"] == (None if about.subject.startswith("person/") else about.subject)
                        assert each["retracted"] == retraction(history[:as_of], each["position"])
                    looked += len(expected)
    assert looked > 50


def place_shown(each: Any) -> Place:
    words = {name: each[name] for name in WORDS if name in each}
    return Place(each["position"], each["appears_as"], each["role"], each["team"], words)


def retraction(told: Sequence[Told], position: int) -> int | None:
    """Where the event at a position was retracted."""
    for number, each in enumerate(told, 1):
        if each.event["type"] == "ledger.event.retracted.v1" and each.event["data"]["position"] == position:
            return number
    return None
