"""The description of a service, made from its routes and their types: OpenAPI 3.1, and a page for people."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import jinja2
import msgspec
from msgspec import Struct

from schemas.export import published
from schemas.values import LEDGER_PATTERN
from services import problems
from services.web import Description, Route, scopes_text

_page = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    Path(__file__).with_name("openapi.html").read_text()
)


def describe(title: str, summary: str, routes: Sequence[Route]) -> Description:
    """The OpenAPI document of these routes and the page of documentation made of it."""
    document = published(openapi(title, summary, routes))
    return Description(msgspec.json.encode(document), _page.render(document=document))


def openapi(title: str, summary: str, routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI 3.1 document of these routes, made from their types."""
    types = [
        body
        for route in routes
        for bodies in (route.takes, *(answer.bodies for answer in route.answers.values()))
        for body in bodies.values()
        if body is not None
    ]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    schema_of = {id(body): schema for body, schema in zip(types, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    paths |= {path: {"get": _common(path, summary)} for path, summary in _COMMON.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "summary": summary, "version": "1"},
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "any user, the key as password"},
            },
        },
    }


# What every service answers besides its own routes (web.application).
_COMMON = {
    "/livez": "Whether the process runs.",
    "/readyz": "Whether it can do its work; 503 while it cannot.",
    "/metrics": "Measurements, in the format of Prometheus.",
    "/openapi.json": "This description.",
    "/docs": "This description as a page.",
    "/problems/{name}": "What a type of problem means, and what to do next.",
}

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "description": "/problems/ and the name of its kind"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["index", "pointer", "message"],
                "properties": {
                    "index": {"type": "integer"},
                    "pointer": {"type": "string"},
                    "message": {"type": "string"},
                },
            },
        },
        "retryable": {"type": "boolean"},
        "current_version": {"type": "integer"},
        "missing": {"type": "array", "items": {"type": "string"}},
    },
}


def _common(path: str, summary: str) -> dict[str, Any]:
    return {
        "summary": summary,
        "operationId": _operation_id("get", path),
        "parameters": _path_parameters(path),
        "responses": {"200": {"description": "the answer"}},
        "security": [],
    }


def _operation_id(method: str, path: str) -> str:
    return f"{method}{re.sub(r'[^A-Za-z0-9]+', '_', path)}"


def _operation(route: Route, schema_of: Mapping[int, Any]) -> dict[str, Any]:
    refused: dict[int, list[str]] = {}
    common = [] if route.scope is None else ["unauthorized", "scope-missing", "unavailable"]
    for name in (*route.refusals, *common, *(["bad-parameter"] if route.parameters else [])):
        refused.setdefault(problems.KINDS[name].status, []).append(name)

    operation: dict[str, Any] = {
        "summary": route.summary,
        "operationId": _operation_id(route.method.lower(), route.path),
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.parameters)],
        "responses": {
            str(status): {"description": answer.text, **_content(answer.bodies, schema_of)}
            for status, answer in route.answers.items()
        }
        | {
            str(status): {
                "description": "; ".join(f"{name}: {problems.KINDS[name].title}" for name in names),
                "content": {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }
            for status, names in sorted(refused.items())
        },
        "security": [] if route.scope is None else [{"bearer": []}, {"basic": []}],
    }
    if route.scope:
        operation["description"] = f"Needs the scope {scopes_text(route)}."
    if route.takes:
        operation["requestBody"] = {"required": True, **_content(route.takes, schema_of)}
    return operation


def _content(bodies: Mapping[str, Any], schema_of: Mapping[int, Any]) -> dict[str, Any]:
    if not bodies:
        return {}
    return {
        "content": {media: ({} if body is None else {"schema": schema_of[id(body)]}) for media, body in bodies.items()}
    }


def _path_parameters(path: str) -> list[dict[str, Any]]:
    schema = {"ledger": {"type": "string", "pattern": LEDGER_PATTERN}, "position": {"type": "integer", "minimum": 1}}
    return [
        {"name": name, "in": "path", "required": True, "schema": schema.get(name, {"type": "string"})}
        for name in re.findall(r"\{(\w+)", path)
    ]


def _query_parameters(parameters: type[Struct] | None) -> list[dict[str, Any]]:
    if parameters is None:
        return []
    hints = get_type_hints(parameters, include_extras=True)
    return [
        {
            "name": field.encode_name,
            "in": "query",
            "required": field.required,
            "schema": _unfolded(msgspec.json.schema(hints[field.name])),
        }
        for field in msgspec.structs.fields(parameters)
    ]


def _unfolded(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter that may be left out is not null when it is given."""
    options = [option for option in schema.get("anyOf", []) if option != {"type": "null"}]
    return options[0] if len(options) == 1 else {key: value for key, value in schema.items() if key != "default"}
