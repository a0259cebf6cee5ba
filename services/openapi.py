"""The description of a service, made from its routes and their types: OpenAPI 3.1, and a page for people.

What a route declares is written out here with what every request shares: the problems that any of them can meet,
and the headers that go with a status.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, get_type_hints

import msgspec
from msgspec import NODEFAULT, UNSET, Struct

from schemas.events import EVENT_TYPES, Correction
from schemas.examples import EXAMPLES
from schemas.export import published
from schemas.meanings import CLASSES
from schemas.meanings import meaning as meaning_in_events
from schemas.values import ID_PATTERN, LEDGER_PATTERN, SOURCE_PATTERN
from services import problems
from services.openapi_page import page
from services.web import Answer, Description, Route, Shape, scopes_text

Meaning = Callable[[str, str | None], str | None]
"""What a field of a class means, or of no field what the class is for; None: that is not said."""


def of_events(cls: str, field: str | None) -> str | None:
    """What the fields of events mean, and no others."""
    return CLASSES.get(cls) if field is None else meaning_in_events(cls, field)


def describe(title: str, summary: str, routes: Sequence[Route], meaning: Meaning = of_events) -> Description:
    """The OpenAPI document of these routes and the page of documentation made of it."""
    document = openapi(title, summary, routes, meaning)
    return Description(msgspec.json.encode(document), page(document))


def openapi(title: str, summary: str, routes: Sequence[Route], meaning: Meaning = of_events) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes, made from their types. `meaning` says what their fields mean."""
    bodies = _Bodies(routes, meaning)
    paths: dict[str, Any] = {}
    for route in routes:
        path = re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path)  # What a part matches is for the router only.
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, bodies)
    paths |= {path: {"get": _common(path, common)} for path, common in _COMMON.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "summary": summary, "version": "1", "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/", "description": "where this description came from"}],
        "paths": paths,
        "components": {
            "schemas": {**bodies.components, "Problem": _PROBLEM, "ProblemSpot": _SPOT},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "an API key"},
                "basic": {"type": "http", "scheme": "basic", "description": "any user, the key as password"},
            },
        },
    }


class _Common(NamedTuple):
    """What every service answers besides its own routes (web.application)."""

    summary: str
    media: Mapping[str, Any]
    refusals: Sequence[str] = ()


_TEXT = {"type": "string"}
_COMMON = {
    "/livez": _Common(
        "Whether the process runs.",
        {
            "application/json": {
                "type": "object",
                "required": ["alive"],
                "properties": {"alive": {"const": True, "description": "always"}},
            }
        },
    ),
    "/readyz": _Common(
        "Whether it can do its work; 503 while it cannot.",
        {
            "application/json": {
                "type": "object",
                "required": ["ready"],
                "properties": {"ready": {"const": True, "description": "always; otherwise the answer is a problem"}},
            }
        },
        ("unavailable",),
    ),
    "/metrics": _Common("Measurements, in the format of Prometheus.", {"text/plain": _TEXT}),
    "/openapi.json": _Common("This description.", {"application/json": {"type": "object"}}),
    "/docs": _Common("This description as a page.", {"text/html": _TEXT}),
    "/problems": _Common(
        "The types of problems.",
        {
            "application/json": {
                "type": "object",
                "required": ["problems"],
                "properties": {
                    "problems": {
                        "type": "array",
                        "description": "All of them, by status and name.",
                        "items": {
                            "type": "object",
                            "required": ["type", "title", "status"],
                            "properties": {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}},
                        },
                    }
                },
            },
            "text/html": _TEXT,
        },
    ),
    "/problems/{name}": _Common(
        "What a type of problem means, when it comes, and what to do next.",
        {
            "application/json": {
                "type": "object",
                "required": ["type", "title", "status", "means", "when", "next", "example"],
                "properties": {
                    "type": {"type": "string", "description": "its name, as a path"},
                    "title": {"type": "string", "description": "the same in words"},
                    "status": {"type": "integer", "description": "the status of an answer that has it"},
                    "means": {"type": "string", "description": "what it means"},
                    "when": {"type": "string", "description": "when it comes"},
                    "example": {"$ref": "#/components/schemas/Problem", "description": "an answer that has it"},
                    "next": {"type": "string", "description": "what to do about it"},
                },
            },
            "text/html": _TEXT,
        },
        ("not-found",),
    ),
}

_RETRYABLE = {"type": "boolean", "description": "whether the same act can become possible after a later event"}
_CURRENT = {"type": "integer", "description": "the version that the stream has"}
_MISSING = {"type": "array", "items": {"type": "string"}, "description": "what the act waits for, as names of teams"}

_SPOT = {
    "type": "object",
    "description": "One thing that was refused, and where.",
    "required": ["index", "pointer", "message"],
    "properties": {
        "index": {"type": "integer", "minimum": 0, "description": "the place of the event in the request, from 0"},
        "pointer": {"type": "string", "description": "RFC 6901 pointer into the event; empty: all of it"},
        "message": {"type": "string", "description": "what speaks against it there"},
        "type": {"type": "string", "pattern": "^/problems/", "description": "the problem of this spot"},
        "retryable": _RETRYABLE,
        "current_version": _CURRENT,
        "missing": _MISSING,
    },
}

_PROBLEM = {
    "type": "object",
    "description": "Why there is no other answer (RFC 9457). Some kinds have members of their own.",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {
            "enum": [f"/problems/{name}" for name in problems.KINDS],
            "type": "string",
            "description": "the kind; also the path of a page that says what to do next",
        },
        "title": {"type": "string", "description": "the kind in words"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599, "description": "the status of the answer"},
        "detail": {"type": "string", "description": "what was found here, and why it cannot be taken"},
        "instance": {"type": "string", "description": "by which the service's log can be asked"},
        "errors": {
            "type": "array",
            "items": {"$ref": "#/components/schemas/ProblemSpot"},
            "description": "everything that was refused, in the order of the request",
        },
        "retryable": _RETRYABLE,
        "current_version": _CURRENT,
        "missing": _MISSING,
        "parameter": {"type": "string", "description": "the parameter that is refused"},
        "head": {"type": "integer", "minimum": 0, "description": "the last position of the log"},
        "projection": {"type": "string", "description": "the read model that has stopped"},
        "position": {"type": "integer", "minimum": 0, "description": "where it has stopped"},
    },
    "examples": [
        {
            "type": "/problems/invalid-event",
            "title": "The event's type refuses it",
            "status": 422,
            "detail": "Expected `int` <= 3",
            "errors": [
                {
                    "index": 0,
                    "pointer": "/data/importance",
                    "message": "Expected `int` <= 3",
                    "type": "/problems/invalid-event",
                }
            ],
        }
    ],
}

_ETAG = {"type": "string", "pattern": '^"[^"]*"$'}

# Headers of requests, by the names that routes give. `If-None-Match` is said of each that can answer 304.
_REQUEST_HEADERS: dict[str, dict[str, Any]] = {
    "If-None-Match": {
        "schema": {"type": "string"},
        "description": "The ETags of answers that you have; 304 if one of them is still the answer.",
    },
    "If-Match": {
        "schema": {"type": "string", "pattern": r'^"(0|[1-9][0-9]{0,17})"$|^\*$'},
        "description": "The version that the stream of the one event has to have, as its ETag; `*`: any but none.",
        "example": '"7"',
    },
    "Last-Event-ID": {
        "schema": {"type": "string", "pattern": "^[0-9]{1,18}$"},
        "description": "The position after which to go on; it wins over `after`.",
        "example": "41",
    },
    "Prefer": {
        "schema": {"type": "string"},
        "description": "`handling=lenient`: each event of a batch by itself, and 207.",
        "example": "handling=lenient",
    },
    **{
        f"ce-{name}": {
            "schema": {"type": "string"},
            "description": f"{text} In binary mode only, percent-encoded.",
            **({"example": example} if example else {}),
        }
        for name, text, example in (
            ("specversion", "`1.0`; required with application/json.", "1.0"),
            ("id", "The `id`; required with application/json.", "call-4711"),
            ("source", "The `source`; required with application/json.", "/crm"),
            ("type", "The `type`; required with application/json.", "ledger.ask.recorded.v1"),
            ("time", "When it happened, as RFC 3339.", None),
            ("subject", "What it is about; may be left out.", None),
        )
    },
}  # fmt: skip

# Headers of answers, by the names that routes give, and those that go with a status.
_HEADERS: dict[str, dict[str, Any]] = {
    "ETag": {"schema": _ETAG, "description": "names this answer, for If-None-Match"},
    "Link": {"schema": {"type": "string"}, "description": '`<…>; rel="next"`: the next page, if there is one'},
    "Location": {"schema": {"type": "string"}, "description": "the path of what was made"},
    "Preference-Applied": {"schema": {"type": "string"}, "description": "`handling=lenient`"},
    "Content-Location": {"schema": {"type": "string"}, "description": "the path by which this stays what it is"},
    "Content-Disposition": {"schema": {"type": "string"}, "description": "the name of a file, with CSV"},
    "Allow": {"schema": {"type": "string"}, "description": "the methods that this path takes"},
    "WWW-Authenticate": {"schema": {"type": "string"}, "description": "how to present a key", "required": True},
    "Retry-After": {
        "schema": {"type": "integer", "minimum": 0},
        "description": "seconds after which to send the same again",
        "required": True,
    },
}  # fmt: skip
_HEADERS_OF_STATUS = {304: ("ETag",), 401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}


class _PathParameter(NamedTuple):
    description: str
    schema: Mapping[str, Any]
    example: Any


_ID_SCHEMA = {"type": "string", "pattern": ID_PATTERN}
_PATH_PARAMETERS = {
    "ledger": _PathParameter("the name of the ledger", {"type": "string", "pattern": LEDGER_PATTERN}, "main"),
    "position": _PathParameter(
        "the place of an event in the log, from 1 on", {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}, 1
    ),
    "kind": _PathParameter(
        "the kind of the subject",
        {
            "type": "string",
            "enum": sorted({cls.KIND for cls in EVENT_TYPES.values() if not issubclass(cls, Correction)}),
        },
        "requirement",
    ),
    "id": _PathParameter(
        "the id of the subject", {"type": "string", "pattern": r"^[!-~]{1,200}$(?!\n)"}, "SSO-42"
    ),
    "source": _PathParameter(
        "the source of an emitter, percent-encoded", {"type": "string", "pattern": SOURCE_PATTERN}, "/crm"
    ),
    "type": _PathParameter(
        "an event type", {"type": "string", "enum": sorted(EVENT_TYPES)}, "ledger.ask.recorded.v1"
    ),
    "size": _PathParameter(
        "how many events a checkpoint has", {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}, 192
    ),
    "key": _PathParameter("the id of a key", _ID_SCHEMA, "0123456789abcdef"),
    "hook": _PathParameter(
        "the name of a hook", {"type": "string", "pattern": r"^[a-z0-9][a-z0-9-]{0,63}$(?!\n)"}, "github-issues"
    ),
    "name": _PathParameter("the name of a problem", {"type": "string", "enum": sorted(problems.KINDS)}, "id-conflict"),
}  # fmt: skip
_EXAMPLE_IDS = {
    name: data[name] for data in reversed(EXAMPLES.values()) for name in data if isinstance(data[name], str)
}


class _Bodies:
    """The schemas of all bodies: those of types are made by msgspec, the others come with their Shape."""

    def __init__(self, routes: Sequence[Route], meaning: Meaning) -> None:
        shapes = {each.name: each for each in _declared(routes) if isinstance(each, Shape)}
        types = [each for each in _declared(routes) if not isinstance(each, Shape)]
        brought = [each for shape in shapes.values() for each in shape.types]
        schemas, components = msgspec.json.schema_components(
            [*types, *brought], ref_template="#/components/schemas/{name}"
        )
        self._schemas = {id(body): published(schema) for body, schema in zip(types, schemas[: len(types)], strict=True)}
        self._schemas |= {
            id(each): {"$ref": f"#/components/schemas/{each.name}"}
            for each in _declared(routes)
            if isinstance(each, Shape)
        }
        self.components: dict[str, Any] = {
            name: _explained(name, schema, meaning) for name, schema in published(components).items()
        }
        for shape in shapes.values():
            self.components |= shape.schemas

    def content(self, bodies: Mapping[str, Any]) -> dict[str, Any]:
        """The `content` of bodies by media type, if there are any."""
        if not bodies:
            return {}
        return {
            "content": {
                media: {"schema": _text_of(media) if body is None else self._schemas[id(body)]}
                for media, body in bodies.items()
            }
        }


def _explained(name: str, schema: dict[str, Any], meaning: Meaning) -> dict[str, Any]:
    """The schema of a class that says what the class and each of its fields mean."""
    text = meaning(name, None) if "description" not in schema else schema["description"]
    explained = {**schema} | ({"description": " ".join(text.split())} if text else {})
    if "properties" in schema:
        explained["properties"] = {
            field: inner | ({"description": text} if (text := meaning(name, field)) else {})
            for field, inner in schema["properties"].items()
        }
    return explained


def _declared(routes: Sequence[Route]) -> Iterator[Any]:
    for route in routes:
        for bodies in (route.takes, *(answer.bodies for answer in route.answers.values())):
            yield from (body for body in bodies.values() if body is not None)


def _text_of(media: str) -> dict[str, Any]:
    """The schema of a body that no type describes: some JSON, or some text."""
    return {} if media.endswith("json") and "x-ndjson" not in media else {"type": "string"}


def _common(path: str, common: _Common) -> dict[str, Any]:
    content = {media: {"schema": schema} for media, schema in common.media.items()}
    return {
        "summary": common.summary,
        "operationId": _operation_id("get", path),
        "tags": ["service"],
        "parameters": _path_parameters(path),
        "responses": {"200": {"description": "the answer", "content": content}, **_refused(common.refusals)},
        "security": [],
    }


def _operation_id(method: str, path: str) -> str:
    return f"{method}_{re.sub(r'[^A-Za-z0-9]+', '_', path).strip('_')}"


def _operation(route: Route, bodies: _Bodies) -> dict[str, Any]:
    headers = [*route.headers, *(["If-None-Match"] if 304 in route.answers else [])]
    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _operation_id(route.method.lower(), route.path),
        "tags": [_tag(route.path)],
        "parameters": [
            *_path_parameters(route.path),
            *_query_parameters(route.parameters),
            *({"name": name, "in": "header", "required": False, **_REQUEST_HEADERS[name]} for name in headers),
        ],
        "responses": {
            **{str(status): _answer(status, answer, route, bodies) for status, answer in route.answers.items()},
            **_refused(_refusals(route)),
        },
        "security": [] if route.scope is None else [{"bearer": []}, {"basic": []}],
    }
    if route.scope:
        operation["description"] = f"Needs the scope {scopes_text(route)}."
    elif route.scope is not None:
        operation["description"] = "Any key will do."
    if route.takes:
        operation["requestBody"] = {"required": route.body_required, **bodies.content(route.takes)}
    return operation


def _tag(path: str) -> str:
    """What a request is about: the first word of its path that is no parameter, nor where all paths begin."""
    words = [word for word in path.split("/") if word and not word.startswith("{")]
    return next((word for word in words if word not in ("v1", "ledgers")), "ledgers")


def _refusals(route: Route) -> list[str]:
    """The problems that a request can meet: those of its route, and those of the way to it (web.application)."""
    names = [*route.refusals, "bad-parameter"]
    if route.scope is not None:
        names += ["unauthorized", "unavailable"]
    if route.scope:
        names.append("scope-missing")
    if "{ledger}" in route.path:
        names += ["no-such-ledger", "forbidden"]
    if "{" in route.path.replace("{ledger}", ""):
        names.append("not-found")
    if route.takes:
        names += ["bad-request", "too-large", "unsupported-media-type"]
    return [*dict.fromkeys(names)]


def _refused(names: Sequence[str]) -> dict[str, Any]:
    by_status: dict[int, list[str]] = {}
    for name in names:
        by_status.setdefault(problems.KINDS[name].status, []).append(name)
    return {
        str(status): {
            "description": "; ".join(f"{name}: {problems.KINDS[name].title}" for name in kinds),
            "x-problems": {name: problems.KINDS[name].title for name in kinds},
            **_headers_of(_HEADERS_OF_STATUS.get(status, ())),
            "content": {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, kinds in sorted(by_status.items())
    }


def _answer(status: int, answer: Answer, route: Route, bodies: _Bodies) -> dict[str, Any]:
    names = [*_HEADERS_OF_STATUS.get(status, ()), *answer.headers]
    if status == 200 and 304 in route.answers:
        names.append("ETag")
    links = {
        operation: {"operationId": operation, "parameters": {"ledger": "$request.path.ledger", **taken}}
        if "{ledger}" in route.path
        else {"operationId": operation, "parameters": dict(taken)}
        for operation, taken in answer.links.items()
    }
    return {
        "description": answer.text,
        **_headers_of(names),
        **bodies.content(answer.bodies),
        **({"links": links} if links else {}),
    }


def _headers_of(names: Sequence[str]) -> dict[str, Any]:
    return {"headers": {name: _HEADERS[name] for name in dict.fromkeys(names)}} if names else {}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [{"name": name, "in": "path", "required": True, **_path_parameter(name)} for name in _names(path)]


def _names(path: str) -> list[str]:
    return re.findall(r"\{(\w+)", path)


def _path_parameter(name: str) -> dict[str, Any]:
    """What is said of a parameter in a path; one that is not in the table is the id of what its name says."""
    said = _PATH_PARAMETERS.get(name) or _PathParameter(
        f"the id of the {name}", _ID_SCHEMA, _EXAMPLE_IDS.get(name, "example-1")
    )
    return {"description": said.description, "schema": dict(said.schema), "example": said.example}


def _query_parameters(parameters: type[Struct] | None) -> list[dict[str, Any]]:
    if parameters is None:
        return []
    hints = get_type_hints(parameters, include_extras=True)
    described = []
    for field in msgspec.structs.fields(parameters):
        schema = _unfolded(msgspec.json.schema(hints[field.name]))
        text, examples = schema.pop("description", None), schema.pop("examples", None)
        if field.default not in (NODEFAULT, UNSET, None):
            schema["default"] = field.default
        described.append(
            {"name": field.encode_name, "in": "query", "required": field.required}
            | ({"description": text} if text else {})
            | {"schema": schema}
            | ({"example": examples[0]} if examples else {})
        )
    return described


def _unfolded(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out is not null when it is given."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        return {**options[0], **{key: value for key, value in schema.items() if key not in ("anyOf", "default")}}
    return {key: value for key, value in schema.items() if key != "default"}
