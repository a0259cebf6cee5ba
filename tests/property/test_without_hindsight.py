"""No answer for a past position knows what came after it.

Random histories are recorded bit by bit. At some positions the projector is asked while its ledger holds nothing else
yet; later, with more recorded, it is asked for those positions with `as_of`, and the bytes have to be the same. A twin
of some histories, in which everything happens 28 years later, has to give the same answers 28 years later: then no
clock was looked at.

`LEDGER_TEST_HISTORIES` histories (`make hindsight`: 10,000), from `LEDGER_TEST_HISTORIES_SEED` on. A failure names
its seed, the request and the event that changed the answer.
"""

import asyncio
import logging
import os
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import groupby
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlencode

import aiohttp
import asyncpg
import msgspec
import pytest
import structlog
from aiohttp.test_utils import TestServer
from msgspec import UnsetType

from schemas.events import EVENT_TYPES
from services.keys import Keys
from services.migrate import make_ledger
from services.openapi import describe
from services.postgres import connect, ledger_schema
from services.projector.http import routes
from services.projector.meanings import meaning
from services.web import REQUEST_LINE_BYTES_MAX, Route, application
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.histories import (
    ACCOUNTS,
    AGREEMENTS,
    CHANNELS,
    REQUIREMENTS,
    SOURCES,
    TYPES,
    Told,
    in_later_years,
    later,
    tell,
)
from tests.log import Log
from tests.readmodels import SECONDS_MAX, reached

HISTORIES = int(os.environ.get("LEDGER_TEST_HISTORIES", "500"))
SEED = int(os.environ.get("LEDGER_TEST_HISTORIES_SEED", "1"))
HISTORIES_OF_A_TEST = 100
MOMENTS, REQUESTS_OF_A_MOMENT = 3, 3
TWIN_EVERY = 4  # Histories.
YEARS = 28  # After which the calendar is the same again.
LEDGER, TWIN = "main", "twin"

# What is asked of a parameter whose type does not say it.
VALUES: dict[str, Sequence[str]] = {
    "account": ACCOUNTS,
    "alias": ACCOUNTS,
    "agreement": AGREEMENTS,
    "area": ["identity"],
    "channel": [each.lower() for each in CHANNELS],
    "currency": ["EUR", "USD"],
    "from": ["2023-06-01", "2024-03-01T12:00:00Z"],
    "limit": ["1", "2"],
    "requirement": REQUIREMENTS,
    "q": ["1", "r-2", "acme 2", "words"],
    "similar_to": ["words", "slow words"],
    "source": SOURCES,
    "to": ["2024-12-01", "2025-02-01T12:00:00Z"],
    "type": TYPES,
}

ABOUT_THE_MOMENT = {"as_of", "at_least", "timeout", "cursor"}
NOT_AT_A_POSITION = {"/projections"}


class Request(NamedTuple):
    """Something to ask, but for the ids that it names: a route, parameters, what to accept, and with which key."""

    route: Route
    parameters: dict[str, str]
    accept: str
    key: str
    body: bytes | None = None


class Asked(NamedTuple):
    """What was asked at a position when there was nothing behind it, and the answer."""

    position: int
    path: str
    request: Request
    answer: "Answer"

    def moment(self, as_of: str) -> dict[str, str]:
        """How to ask for the same position. The cursor of a page has it already."""
        return {} if "cursor=" in self.path else {"as_of": as_of}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def declared() -> list[Route]:
    """The routes whose answers have a position."""
    projector: Any = None  # Only what is declared is looked at.
    return [each for each in routes(projector) if below(each.path) not in NOT_AT_A_POSITION]


def below(path: str) -> str:
    return path.removeprefix("/v1/ledgers/{ledger}")


def requests() -> list[Request]:
    """Whatever can be asked, each parameter and each of its values at least once."""
    found = []
    for route in declared():
        media = [*route.answers[200].bodies]
        named = {name: [*_values(name, hint)] for name, hint in _parameters(route).items()}
        plain = Request(route, _required(route, {}), media[0], "query", _body(route))
        found += [plain, plain._replace(key="personal"), *(plain._replace(accept=each) for each in media[1:])]
        for name, values in named.items():
            for number, value in enumerate(values):
                accept = media[(number + len(name)) % len(media)]
                found.append(plain._replace(parameters=_required(route, {name: value}), accept=accept))
    random.Random(0).shuffle(found)
    return found


def _parameters(route: Route) -> dict[str, Any]:
    """The parameters that are the route's own, and their types."""
    if route.parameters is None:
        return {}
    hints = get_type_hints(route.parameters, include_extras=True)
    fields = {field.encode_name: hints[field.name] for field in msgspec.structs.fields(route.parameters)}
    return {name: hint for name, hint in fields.items() if name not in ABOUT_THE_MOMENT}


def _values(name: str, hint: Any) -> Iterator[str]:
    if name in VALUES:
        yield from VALUES[name]
    elif get_origin(hint) is Literal:
        yield from (str(each) for each in get_args(hint))
    elif hint is bool:
        yield from ("true", "false")
    elif get_origin(hint) is Annotated:
        yield from _values(name, get_args(hint)[0])
    elif get_origin(hint) in (Union, UnionType):
        for part in get_args(hint):
            if part is not UnsetType:
                yield from _values(name, part)
    else:
        raise AssertionError(f"VALUES has to say what is asked with `{name}`")


def _required(route: Route, given: dict[str, str]) -> dict[str, str]:
    """These parameters with those that they need beside them."""
    if given.get("sort") == "revenue":
        return given | {"currency": "EUR"}
    if "currency" in given and "sort" in _parameters(route):
        return given | {"sort": "revenue"}
    return given


def _body(route: Route) -> bytes | None:
    if route.method == "GET":
        return None
    raise AssertionError(f"what is asked of {route.method} {route.path}?")


@pytest.mark.timeout(60 + 5 * HISTORIES_OF_A_TEST)
@pytest.mark.parametrize("first", range(SEED, SEED + HISTORIES, HISTORIES_OF_A_TEST))
async def test_no_answer_knows_what_came_after_its_position(database: Database, first: int) -> None:
    seeds = range(first, min(first + HISTORIES_OF_A_TEST, SEED + HISTORIES))
    happened: Counter[str] = Counter()
    answered: set[tuple[str, str]] = set()
    async with _world(database) as world:
        for seed in seeds:
            history = tell(seed)
            happened.update(each.event["type"] for each in history)
            asked = await _look_back(world, seed, history)
            if seed % TWIN_EVERY == 0:
                await _compare_with_twin(world, seed, history, asked)
            for each in asked:
                path = below(each.request.route.path)
                if each.answer.status == 200:
                    answered.add((path, "200"))
                if each.answer.status in (200, 404):
                    answered.update((path, name) for name in (each.request.accept, *each.request.parameters))
    if len(seeds) == HISTORIES_OF_A_TEST:
        assert {*EVENT_TYPES} <= {*happened}
        wanted = {
            (below(each.path), name)
            for each in declared()
            for name in ("200", *each.answers[200].bodies, *_parameters(each))
        }
        assert not wanted - answered, "this was not asked, or never answered"


async def _look_back(world: "_World", seed: int, history: Sequence[Told]) -> list[Asked]:
    """Record a history bit by bit, and ask what is to be the same later on. Fails where it is not."""
    chance = random.Random(f"asking {seed}")
    await world.empty(LEDGER)
    asked: list[Asked] = []
    async with world.service() as then, world.service() as since:
        places = sorted({*chance.sample(range(1, len(history)), MOMENTS - 1), len(history)})
        if seed % 5 == 0:
            places.insert(0, 0)
        before = 0
        for moment, place in enumerate(places):
            await world.record(LEDGER, history[before:place])
            if asked:
                await _still_the_same(world, since, seed, history[:place], chance.choice(asked))
            for request in world.next_requests(seed, moment):
                path = _path(request, history[:place], chance)
                answer = await then.ask(path, request, at_least=place)
                assert answer.status < 500, (seed, path, answer)
                asked.append(Asked(place, path, request, answer))
                if next_page := re.fullmatch(r"<(.*)>; rel=\"next\"", answer.headers.get("Link", "")):
                    page = await then.ask(next_page[1], request)
                    asked.append(Asked(place, next_page[1], request, page))
            before = place
        for each in asked:
            await _still_the_same(world, since, seed, history, each)
    return asked


async def _still_the_same(
    world: "_World", service: "_Service", seed: int, history: Sequence[Told], asked: Asked
) -> None:
    """Whether the answer is what it was, now that all of this history has been recorded."""
    at = asked.position
    # By the time of its record, every third one, if that is the time of no other position behind it.
    by_time = seed % 3 == 0 and 0 < at < len(history) and history[at].recordedtime > history[at - 1].recordedtime
    as_of = history[at - 1].recordedtime.isoformat().replace("+00:00", "Z") if by_time else str(at)
    answer = await service.ask(asked.path, asked.request, **asked.moment(as_of))
    if answer != asked.answer:
        what = f"as_of={as_of} with {len(history)} events"
        changed = await _first_to_change(world, history, asked)
        pytest.fail(_told(seed, asked, what, answer, asked.answer) + changed, pytrace=False)


async def _first_to_change(world: "_World", history: Sequence[Told], asked: Asked) -> str:
    """The event whose record changes the answer, where that can be seen again."""
    await world.empty(LEDGER)
    await world.record(LEDGER, history[: asked.position])
    for position in range(asked.position, len(history) + 1):
        await world.record(LEDGER, history[max(position - 1, asked.position) : position])
        async with world.service() as service:
            answer = await service.ask(asked.path, asked.request, **asked.moment(str(asked.position)))
        if answer != asked.answer:
            event = history[position - 1].event if position else None
            return f"\nsince position {position} is recorded: {event}"
    return "\nnot once each event is recorded by itself"


async def _compare_with_twin(world: "_World", seed: int, history: Sequence[Told], asked: Sequence[Asked]) -> None:
    """Whether the history that happens so many years later has the same answers, so many years later."""
    await world.empty(TWIN)
    await world.record(TWIN, later(history, YEARS))
    async with world.service() as service:
        for each in asked[::2]:
            if "cursor=" in each.path or each.answer.status != 200:
                continue
            path = in_later_years(each.path.encode(), YEARS).decode().replace(f"/{LEDGER}/", f"/{TWIN}/")
            answer = await service.ask(path, each.request, as_of=each.position)
            wanted = in_later_years(each.answer.body, YEARS)
            if answer.body != wanted:
                wanted = each.answer._replace(body=wanted)
                pytest.fail(_told(seed, each, f"{YEARS} years later", answer, wanted), pytrace=False)


def _path(request: Request, history: Sequence[Told], chance: random.Random) -> str:
    """The path of a request, with ids that the history names in the places that want one, and its parameters."""
    path = request.route.path.replace("{ledger}", LEDGER)
    agreement = chance.choice(_named(history, "agreement") or ["target-market"])
    for name in re.findall(r"{(\w+)}", path):
        known = _named(history, name)
        if name == "revision":
            revised = [each.event["data"] for each in history if each.event["type"] == "ledger.agreement.revised.v1"]
            known = [each["revision"] for each in revised if each["agreement"] == agreement]
        chosen = agreement if name == "agreement" else chance.choice([*known] * 9 + ["unheard-of"])
        path = path.replace(f"{{{name}}}", chosen)
    return f"{path}?{urlencode(request.parameters)}"


def _named(history: Sequence[Told], kind: str) -> list[str]:
    """Every id of this kind that the history names."""
    found = (each.event["data"].get(kind) for each in history)
    return sorted({each for each in found if isinstance(each, str)})


def _told(seed: int, asked: Asked, what: str, found: Answer, wanted: Answer) -> str:
    """What a failure says: how to see it again, and where the answers part."""
    pairs = enumerate(zip(found.body, wanted.body, strict=False))
    place = next((number for number, (one, other) in pairs if one != other), min(len(found.body), len(wanted.body)))
    around = slice(max(0, place - 300), place + 200)
    request = asked.request
    return (
        f"seed {seed}: {request.route.method} {asked.path} as {request.key}, {request.accept}, at position"
        f" {asked.position}, has another answer {what}."
        f"\nagain: LEDGER_TEST_HISTORIES=1 LEDGER_TEST_HISTORIES_SEED={seed} pytest {Path(__file__).name}"
        f"\nthen: {wanted.status} {wanted.headers} …{wanted.body[around].decode(errors='replace')}…"
        f"\nnow:  {found.status} {found.headers} …{found.body[around].decode(errors='replace')}…"
    )


class _Service:
    """A projector's HTTP service, of its own: it remembers nothing that another has answered."""

    def __init__(self, url: str, keys: dict[str, str], http: aiohttp.ClientSession) -> None:
        self._url = url
        self._keys = keys
        self._http = http

    async def ask(self, path: str, request: Request, **moment: Any) -> Answer:
        more = urlencode(moment | ({"timeout": 30} if "as_of" in moment or "at_least" in moment else {}))
        url = f"{self._url}{path}{'&' if '?' in path else '?'}{more}"
        headers = {"Authorization": f"Bearer {self._keys[request.key]}", "Accept": request.accept}
        async with self._http.request(request.route.method, url, headers=headers, data=request.body) as reply:
            kept = {name: reply.headers[name] for name in ("Content-Type", "ETag", "Link") if name in reply.headers}
            return Answer(reply.status, kept, await reply.read())


class _World:
    """A database with two ledgers, which are emptied for each history: to make one anew takes much longer."""

    def __init__(self, client: Asking, database: Database, superuser: asyncpg.Connection, logs: dict[str, Log]) -> None:
        self._client = client
        self._master_key = database.settings.master_key
        self._superuser = superuser
        self._logs = logs
        self._keys = Keys(client.projector.pool)
        self._requests = requests()
        self._description = describe("The projector", "Answers", routes(client.projector), meaning)

    def next_requests(self, seed: int, moment: int) -> list[Request]:
        """What is asked at a moment of a history: over all histories each request has its turn as often."""
        first = (seed * MOMENTS + moment) * REQUESTS_OF_A_MOMENT
        return [self._requests[(first + each) % len(self._requests)] for each in range(REQUESTS_OF_A_MOMENT)]

    @asynccontextmanager
    async def service(self) -> AsyncIterator[_Service]:
        declared = routes(self._client.projector, self._master_key)
        ready = self._client.projector.ready
        server = TestServer(application("projector", declared, self._keys, ready, self._description))
        await server.start_server(max_line_size=REQUEST_LINE_BYTES_MAX)
        async with server, aiohttp.ClientSession() as http:
            yield _Service(str(server.make_url("")).rstrip("/"), self._client.keys, http)

    async def record(self, ledger: str, history: Sequence[Told]) -> None:
        """Record these events behind those that are there. Nobody is told; whoever asks waits for them."""
        log = self._logs[ledger]
        async with log.connection.transaction():
            await log.lock()
            for recordedtime, told in groupby(history, key=lambda each: each.recordedtime):
                await log.insert([each.sent for each in told], recordedtime)

    async def empty(self, ledger: str) -> None:
        """Make the ledger as if nothing had ever been recorded, once its projector has nothing left to do."""
        runner = await self._client.projector.ledger(ledger)
        schema = ledger_schema(ledger)
        await reached(runner, await self._superuser.fetchval(f"SELECT count(*) FROM {schema}.stored_events"))
        tables = await self._superuser.fetch(
            "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = $1", schema
        )
        names = {each["name"] for each in tables} - {"cursors", "log_head"}
        emptied = "; ".join(f"DELETE FROM {schema}.{name}" for name in sorted(names))
        await self._superuser.execute(f"{emptied}; UPDATE {schema}.cursors SET position = 0")
        async with asyncio.timeout(SECONDS_MAX):
            while runner.head or any(cursor.position for cursor in runner.cursors.values()):
                runner.wake()
                await asyncio.sleep(0.001)


@asynccontextmanager
async def _world(database: Database) -> AsyncIterator[_World]:
    logs = structlog.get_config()
    # A line a request is most of what the test would do.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with AsyncExitStack() as stack:
        stack.callback(lambda: structlog.configure(**logs))
        superuser = await connect(database.superuser)
        stack.push_async_callback(superuser.close)
        owner = await connect(database.owner)
        await make_ledger(owner, database.settings, TWIN)
        await owner.close()
        for ledger in (LEDGER, TWIN):
            append_only = f"{ledger_schema(ledger)}.stored_events DISABLE TRIGGER stored_events_are_append_only"
            await superuser.execute(f"ALTER TABLE {append_only}")
        client = await stack.enter_async_context(asking(database))
        twin = await stack.enter_async_context(Log.open(database, TWIN))
        yield _World(client, database, superuser, {LEDGER: client.log, TWIN: twin})
