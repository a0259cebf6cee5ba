"""The OpenAPI documents of the three services: valid, and complete enough that a client can be made from them."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from schemas.cloudevents import example
from schemas.examples import EXAMPLES
from services import problems
from services.openapi import openapi
from services.problems import Problem
from services.projector.http import routes as projector_routes
from tests.asking import asking
from tests.conftest import Database
from tests.ledger_service import LedgerService, serving
from tests.receiver_service import receiving

COMPONENT = "#/components/schemas/"


@pytest.fixture(params=["ledger", "projector", "receiver"])
async def document(request: pytest.FixtureRequest, database: Database) -> AsyncIterator[Any]:
    """What a service answers at /openapi.json."""
    if request.param == "ledger":
        async with serving(database.settings) as ledger:
            yield (await ledger.get("/openapi.json", key=None)).json
    elif request.param == "receiver":
        async with receiving(database.settings) as receiver:
            yield (await receiver.get("/openapi.json")).json
    else:
        async with asking(database) as projector:
            yield msgspec.json.decode((await projector.get("/v1/../openapi.json")).body)


async def test_the_document_is_openapi_and_a_client_can_be_made_of_it(document: Any):
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []

    ids = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(ids) == len(set(ids))
    for path, method, operation in operations(document):
        where = f"{method.upper()} {path}"
        assert operation["summary"], where
        assert operation["tags"], where
        for parameter in operation["parameters"]:
            assert parameter.get("description"), f"{where}: {parameter['name']}"
            assert parameter["schema"], f"{where}: {parameter['name']}"
            assert parameter["in"] != "path" or "example" in parameter, f"{where}: {parameter['name']}"
        for media, schema in bodies(operation.get("requestBody", {})):
            assert has_example(document, schema), f"{where} takes {media}, and shows no example"


async def test_a_part_of_a_path_is_described_by_what_it_is(document: Any):
    for path, method, operation in operations(document):
        segments = path.split("/")
        for parameter in (each for each in operation["parameters"] if each["in"] == "path"):
            where = f"{method.upper()} {path}: {parameter['name']}"
            before = segments[segments.index(f"{{{parameter['name']}}}") - 1]
            # What stands before it in the path says what it is of; of a stream, and of a schema, in other words.
            about = {"streams": "subject", "{kind}": "subject", "schemas": "type"}
            singular = about.get(before) or re.sub(r"ies$", "y", before).removesuffix("s")
            assert re.search(rf"\b{singular}\b", parameter["description"]), where
            assert Draft202012Validator(parameter["schema"]).is_valid(parameter["example"]), where


async def test_each_operation_says_what_every_request_can_meet(document: Any):
    for path, method, operation in operations(document):
        where = f"{method.upper()} {path}"
        answers = operation["responses"]
        if operation["security"]:
            assert {"400", "401", "403", "503"} <= answers.keys() or not needs_scope(operation), where
            assert {"401", "503"} <= answers.keys(), where
        if "{" in path:
            assert "404" in answers, where
        if "requestBody" in operation:
            assert {"400", "413", "415"} <= answers.keys(), where
        if "304" in answers:
            assert "ETag" in answers["200"]["headers"], where
            assert "If-None-Match" in {parameter["name"] for parameter in operation["parameters"]}, where
        for status, answer in answers.items():
            if status >= "400":
                assert answer["content"].keys() == {problems.CONTENT_TYPE}, where
                assert answer["content"][problems.CONTENT_TYPE]["schema"] == {"$ref": f"{COMPONENT}Problem"}, where
        assert "Retry-After" in answers.get("503", {}).get("headers", {"Retry-After": None}), where


async def test_what_has_a_name_is_not_written_out_again(document: Any):
    for path, method, operation in operations(document):
        contents = [operation.get("requestBody", {}), *operation["responses"].values()]
        for media, schema in (found for content in contents for found in bodies(content)):
            if "service" not in operation["tags"]:
                assert "properties" not in schema, f"{method.upper()} {path}: {media} has no name"
    named = set(document["components"]["schemas"])
    used = {reference.removeprefix(COMPONENT) for reference in references(document)}
    assert named - used == set()


async def test_every_field_says_what_it_means(document: Any):
    schemas = document["components"]["schemas"]
    silent = [
        f"{name}.{field}"
        for name, schema in schemas.items()
        for field, inner in schema.get("properties", {}).items()
        if not says_what_it_means(inner, schemas)
    ]
    assert silent == []
    # An event says by its title which type it is; the type has a schema of its own.
    assert [name for name, schema in schemas.items() if not {"description", "title"} & schema.keys()] == []


async def test_problems_are_as_the_document_says(document: Any):
    validator = Draft202012Validator(document["components"]["schemas"]["Problem"] | {"components": {"schemas": {}}})
    for name in problems.KINDS:
        assert f"/problems/{name}" in document["components"]["schemas"]["Problem"]["properties"]["type"]["enum"]
        assert validator.is_valid(Problem(name, "as an example").document()), name


async def test_an_example_of_a_type_is_a_cloudevent_of_the_document(ledger: LedgerService):
    document = (await ledger.get("/openapi.json", key=None)).json
    validator = Draft202012Validator({**document, "$ref": f"{COMPONENT}CloudEvent"})
    for name in EXAMPLES:
        assert [error.message for error in validator.iter_errors(example(name))] == []
        for broken in (
            {"type": "ledger.account.sold.v1"},
            {"data": {}},
            {"sequence": "00000000000000000001"},
            {"an attribute": "with a space"},
            {"id": "with a space"},
        ):
            assert not validator.is_valid(example(name) | broken), broken


def test_a_parameter_says_its_range_and_its_default():
    projector: Any = None  # Only what is declared is looked at.
    document = openapi("The projector", "Answers", projector_routes(projector))
    listed = document["paths"]["/v1/ledgers/{ledger}/requirements"]["get"]["parameters"]
    limit = next(parameter for parameter in listed if parameter["name"] == "limit")
    assert limit["schema"] == {"type": "integer", "minimum": 1, "maximum": 200, "default": 50}


def says_what_it_means(schema: Any, schemas: Any) -> bool:
    named = schemas.get(schema.get("$ref", "").removeprefix(COMPONENT), {})
    return bool(schema.get("description") or named.get("description"))


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def bodies(content: Any) -> Iterator[tuple[str, Any]]:
    """Media types and schemas of a request's body or of an answer."""
    for media, body in content.get("content", {}).items():
        yield media, body["schema"]


def needs_scope(operation: Any) -> bool:
    return "scope" in operation.get("description", "")


def has_example(document: Any, schema: Any, seen: tuple[str, ...] = ()) -> bool:
    """Whether a schema shows one, or what it is made of does."""
    reference = schema.get("$ref", "").removeprefix(COMPONENT)
    if "examples" in schema or "example" in schema:
        return True
    if reference:
        named = document["components"]["schemas"][reference]
        return reference not in seen and has_example(document, named, (*seen, reference))
    parts = [*schema.get("oneOf", []), *schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]
    return bool(parts) and all(has_example(document, part, seen) for part in parts)


def references(value: Any) -> Iterator[str]:
    match value:
        case dict():
            if isinstance(reference := value.get("$ref"), str):
                yield reference
            for item in value.values():
                yield from references(item)
        case list():
            for item in value:
                yield from references(item)
