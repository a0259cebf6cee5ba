"""Everything that the projector can be asked about a position, derived from its routes."""

import random
import re
from collections.abc import Iterator, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlencode

import msgspec
from msgspec import NODEFAULT, UnsetType

from services.projector.http import routes
from services.web import Route
from tests.asking import Asking, Reply
from tests.histories import ACCOUNTS, AGREEMENTS, CHANNELS, REQUIREMENTS, SOURCES, TYPES

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

# What is posted to a route, as JSON.
BODIES: dict[str, Sequence[Any]] = {
    "/agreements/{agreement}/what-if": [
        {
            "stage": stage,
            "threshold": threshold,
            "bullets": [
                {
                    "bullet": "line",
                    "text": "Line 2",
                    "test": {"op": "eq", "attribute": "line", "value": 2},
                    "weight": 2,
                },
                {"bullet": "size", "text": "Small", "test": {"op": "lt", "attribute": "size", "value": 10}},
                {"bullet": "prose", "text": "Who mean it"},
            ],
        }
        for stage, threshold in (("focused", 50), ("focused", 100), ("exploratory", 0))
    ],
}

QUESTIONS_OF_A_ROUTE_MIN = 10
ABOUT_THE_MOMENT = {"as_of", "at_least", "timeout", "cursor"}
NOT_AT_A_POSITION = {"/projections"}
NEEDS_A_CHECKPOINT = {"proof"}  # Where histories are told no ledger service runs, so nobody signs one.


class Question(NamedTuple):
    """Something to ask, but for the ids that it names: a route, parameters, what to accept, and with which key."""

    route: Route
    parameters: dict[str, str]
    accept: str
    key: str
    body: bytes | None = None


def declared() -> list[Route]:
    """The routes whose answers have a position."""
    projector: Any = None  # Only what is declared is looked at.
    return [each for each in routes(projector) if below(each.path) not in NOT_AT_A_POSITION]


def below(path: str) -> str:
    return path.removeprefix("/v1/ledgers/{ledger}")


def questions() -> list[Question]:
    """Whatever can be asked, each parameter and each of its values at least once, in an order that mixes routes."""
    found = []
    for route in declared():
        of_route = [*_questions_of(route)]
        # A route with few parameters is asked as often as another.
        found += of_route * -(-QUESTIONS_OF_A_ROUTE_MIN // len(of_route))
    random.Random(0).shuffle(found)
    return found


def plain_questions() -> list[Question]:
    """Each route once, without parameters of its own that it does not need, as JSON."""
    return [next(_questions_of(route)) for route in declared()]


def _questions_of(route: Route) -> Iterator[Question]:
    media = [*route.answers[200].bodies]
    bodies = [msgspec.json.encode(each) for each in BODIES.get(below(route.path), [])] or [None]
    named = parameters(route)
    needed = {name: next(_values(name, hint)) for name, hint in named.items() if name in _needed(route)}
    plain = Question(route, needed, media[0], "personal" if route.scope == "personal" else "query", bodies[0])
    yield plain
    yield plain._replace(key="personal")
    yield from (plain._replace(accept=each) for each in media[1:])
    yield from (plain._replace(body=each) for each in bodies[1:])
    for name, hint in named.items():
        for number, value in enumerate(_values(name, hint)):
            accept, body = media[(number + len(name)) % len(media)], bodies[number % len(bodies)]
            given = _beside(route, needed | {name: value})
            yield plain._replace(parameters=given, accept=accept, body=body)


async def ask(client: Asking, path: str, question: Question, **more: Any) -> Reply:
    """The answer to a question, whose path this is."""
    more = {"key": question.key, **more}
    if question.body is None:
        return await client.get(path, headers={"Accept": question.accept}, **more)
    return await client.post(path.removeprefix("/v1/ledgers/main/"), question.body, **more)


def parameters(route: Route) -> dict[str, Any]:
    """The parameters that are the route's own, and their types."""
    if route.parameters is None:
        return {}
    hints = get_type_hints(route.parameters, include_extras=True)
    fields = {field.encode_name: hints[field.name] for field in msgspec.structs.fields(route.parameters)}
    return {name: hint for name, hint in fields.items() if name not in ABOUT_THE_MOMENT | NEEDS_A_CHECKPOINT}


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


def _needed(route: Route) -> set[str]:
    """The parameters without which nothing is answered."""
    if below(route.path) in BODIES:
        return {"new_attributes"} & {*parameters(route)}  # At first nobody has the attributes.
    if route.parameters is None:
        return set()
    return {
        field.encode_name
        for field in msgspec.structs.fields(route.parameters)
        if field.default is NODEFAULT and field.default_factory is NODEFAULT
    }


def _beside(route: Route, given: dict[str, str]) -> dict[str, str]:
    """These parameters with those that go with them."""
    if given.get("sort") == "revenue":
        return given | {"currency": "EUR"}
    if "currency" in given and "sort" in parameters(route):
        return given | {"sort": "revenue"}
    return given


def path_of(
    question: Question, events: Sequence[Any], chance: random.Random, *, ledger: str = "main", unheard_of: bool = True
) -> str:
    """The path of a question, with ids that these events name in the places that want one, and its parameters.

    `unheard_of`: now and then an id that they do not name.
    """
    path = question.route.path.replace("{ledger}", ledger)
    agreement = chance.choice(_named(events, "agreement") or ["target-market"])
    for name in re.findall(r"{(\w+)}", path):
        known = _named(events, name)
        if name == "revision":
            revised = [each["data"] for each in events if each["type"] == "ledger.agreement.revised.v1"]
            known = [each["revision"] for each in revised if each["agreement"] == agreement]
        strange = ["unheard-of"] if unheard_of or not known else []
        chosen = agreement if name == "agreement" else chance.choice([*known] * 9 + strange)
        path = path.replace(f"{{{name}}}", chosen)
    return path + ("?" + urlencode(question.parameters) if question.parameters else "")


def _named(events: Sequence[Any], kind: str) -> list[str]:
    """Every id of this kind that the history names."""
    found = (each["data"].get(kind) for each in events)
    return sorted({each for each in found if isinstance(each, str)})
