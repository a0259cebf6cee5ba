"""The published schemas: made from the types, never stale, and true to what the edge takes."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from schemas import export
from schemas.codec import read_event
from schemas.envelope import Sent
from schemas.events import EVENT_TYPES, SEALED_FIELDS, Act, Observation
from schemas.examples import EXAMPLES
from services.ledger import administration, ingest, reading
from services.ledger.app import SUMMARY
from services.openapi import describe
from services.web import application
from tests.ledger_service import LedgerService

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)

# The table of the contract that this version covers: type without `ledger.` and `.v1`, and whether it is an act.
CONTRACT = {
    "person.introduced": False, "account.profiled": False, "opportunity.updated": False, "requirement.raised": False,
    "requirement.reworded": True, "ask.recorded": False, "ask.withdrawn": False, "delivery.updated": False,
    "agreement.revised": True, "agreement.endorsed": True, "agreement.adopted": True, "decision.proposed": True,
    "decision.made": True, "requirement.assessed": False, "perspective.stated": False, "decision.acknowledged": True,
    "decision.reaffirmed": True, "decision.superseded": True, "promise.made": False, "promise.closed": False,
    "event.retracted": True, "text.redacted": True, "person.erased": True,
}  # fmt: skip
SUBJECTS = {"ask": "requirement", "delivery": "requirement", "perspective": "requirement", "text": "event"}
SEALED = {"person.introduced": {"name", "email"}, "requirement.raised": {"problem"}, "ask.recorded": {"quote"}}


def test_the_files_are_what_the_types_say():
    files = export.files()
    assert set(export.FOLDER.iterdir()) == set(files), "run `make schemas`"
    stale = [path.name for path, content in files.items() if path.read_bytes() != content]
    assert stale == [], "run `make schemas`"


def test_acts_observations_subjects_and_sealed_fields_are_those_of_the_contract():
    assert {f"ledger.{name}.v1" for name in CONTRACT} <= EVENT_TYPES.keys() == EXAMPLES.keys()
    for name, act in CONTRACT.items():
        cls = EVENT_TYPES[f"ledger.{name}.v1"]
        assert issubclass(cls, Act if act else Observation), name
        kind = name.partition(".")[0]
        assert SUBJECTS.get(kind, kind) == cls.KIND, name
        assert set(SEALED_FIELDS[f"ledger.{name}.v1"]) == SEALED.get(name, set()), name


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_an_example_is_what_the_edge_takes(name: str):
    schema = export.event_schema(name)
    for data in schema["examples"]:
        event = {"specversion": "1.0", "id": "e-1", "source": "urn:test", "type": name, "data": data}
        sent = read_event(event, now=NOW)
        assert isinstance(sent, Sent), sent
        form = schema["x-subject"]
        assert sent.subject.startswith(data["subject"] if form == "{subject}" else form.partition("/")[0] + "/")
    assert data.keys() <= schema["properties"].keys()
    assert set(schema["required"]) <= data.keys()


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_a_schema_stands_alone_and_shows_nothing_of_storage(name: str):
    schema = export.event_schema(name)
    assert list(dangling(schema)) == []
    assert schema["additionalProperties"] is False
    text = msgspec.json.encode(schema)
    assert b"@type" not in text
    assert b'"Sealed"' not in text
    assert set(schema["x-sealed"]) <= schema["properties"].keys()


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_an_example_is_valid_by_its_schema_and_a_spoilt_one_is_not(name: str):
    schema = export.event_schema(name)
    Draft202012Validator.check_schema(schema)
    valid = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).is_valid
    [example] = schema["examples"]
    assert valid(example)
    for field in schema["properties"]:
        for wrong in ({"a": [1]}, -1, [None]):
            spoilt = example | {field: wrong}
            # What the schema lets pass and what the edge takes are the same, as far as a schema can say it.
            event = {"specversion": "1.0", "id": "e-1", "source": "urn:test", "type": name, "data": spoilt}
            assert not valid(spoilt), (field, wrong)
            assert not isinstance(read_event(event, now=NOW), Sent), (field, wrong)
    for field in schema["required"]:
        assert not valid({other: value for other, value in example.items() if other != field}), field
    assert not valid(example | {"mood": "urgent"})
    assert not valid([example])


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_a_schema_says_what_everything_means(name: str):
    schema = export.event_schema(name)
    assert schema["x-kind"] == ("act" if issubclass(EVENT_TYPES[name], Act) else "observation")
    assert schema["x-scope"] == ("act" if schema["x-kind"] == "act" else "observe")
    kind = EVENT_TYPES[name].KIND
    assert schema["x-subject"] == ("{subject}" if kind == "event" else f"{kind}/{{{kind}}}")
    for part in (schema, *schema.get("$defs", {}).values()):
        assert len(part["description"]) > 10, part
        for field, inner in part["properties"].items():
            assert len(inner["description"]) > 5, (part["title"], field)
    marked = {field for field, inner in schema["properties"].items() if inner.get("x-sealed")}
    assert marked == set(schema["x-sealed"]) == set(SEALED_FIELDS[name])
    assert all("sealed" in schema["properties"][field]["description"] for field in marked)


async def test_the_schemas_are_served(ledger: LedgerService):
    listed = await ledger.get("/v1/schemas", key=None)
    assert set(listed.json["types"]) == set(EVENT_TYPES)
    for name in listed.json["types"]:
        reply = await ledger.get(f"/v1/schemas/{name}", key=None)
        assert reply.headers["Content-Type"].startswith("application/schema+json")
        assert reply.json == msgspec.json.decode((export.FOLDER / f"{name}.json").read_bytes())
        event = {
            "specversion": "1.0",
            "id": name,
            "source": "urn:test",
            "type": name,
            "data": reply.json["examples"][0],
        }
        dry = await ledger.post(event, params={"dry_run": "1"})
        assert dry.status in (200, 422), dry.body
        if dry.status == 422:
            assert dry.problem == "rule-not-met"
    assert (await ledger.get("/v1/schemas/ledger.account.sold.v1", key=None)).problem == "not-found"


# OpenAPI


async def test_the_description_is_openapi(ledger: LedgerService):
    reply = await ledger.get("/openapi.json", key=None)
    assert reply.headers["Content-Type"].startswith("application/json")
    document = reply.json
    assert document["openapi"].startswith("3.1.")
    assert document["info"].keys() >= {"title", "version"}
    assert list(dangling(document)) == []
    text = reply.body
    assert b"@type" not in text
    assert b"/Sealed" not in text

    seen: set[str] = set()
    for path, method, operation in operations(document):
        assert operation["operationId"] not in seen
        seen.add(operation["operationId"])
        assert operation["summary"], path
        in_path = {each["name"] for each in operation["parameters"] if each["in"] == "path"}
        assert in_path == {part[1:-1] for part in path.split("/") if part.startswith("{")}, path
        assert all(each["required"] for each in operation["parameters"] if each["in"] == "path")
        assert all("schema" in each for each in operation["parameters"])
        assert len({(each["in"], each["name"]) for each in operation["parameters"]}) == len(operation["parameters"])
        assert any(status.startswith("2") for status in operation["responses"]), path
        assert all(answer["description"] for answer in operation["responses"].values())
        assert ("requestBody" in operation) == (method in ("post", "put")), (method, path)
        for requirement in operation["security"]:
            assert requirement.keys() <= document["components"]["securitySchemes"].keys()


def test_every_route_of_the_service_is_described():
    routes = [*ingest.routes(None), *reading.routes(None), *administration.routes(None, None)]  # type: ignore[arg-type]
    description = describe("The ledger", SUMMARY, routes)
    app = application("ledger", routes, None, None, description)  # type: ignore[arg-type]
    served = {
        (resource.canonical, route.method.lower())
        for resource in app.router.resources()
        for route in resource
        if route.method != "HEAD"
    }
    document = msgspec.json.decode(description.document)
    assert {(path, method) for path, method, _ in operations(document)} == served - {("/", "get")}


async def test_who_opens_the_service_itself_is_led_to_its_documentation(ledger: LedgerService):
    reply = await ledger.get("/", key=None)
    assert reply.status == 200
    assert reply.body == (await ledger.get("/docs", key=None)).body


async def test_the_documentation_is_one_page_that_fetches_nothing(ledger: LedgerService):
    reply = await ledger.get("/docs", key=None)
    assert reply.headers["Content-Type"].startswith("text/html")
    page = reply.body.decode()
    document = (await ledger.get("/openapi.json", key=None)).json
    for path, method, operation in operations(document):
        assert f"{method.upper()} {path}" in page
        assert f'id="{operation["operationId"]}"' in page
    for name in document["components"]["schemas"]:
        assert f'id="{name}"' in page
    assert "<script" not in page
    assert "src=" not in page
    assert 'href="http' not in page


async def test_each_problem_has_a_page(ledger: LedgerService):
    reply = await ledger.get("/problems/version-conflict", key=None)
    assert (reply.status, reply.json["status"]) == (200, 409)
    assert reply.json["next"]
    assert (await ledger.get("/problems/none", key=None)).problem == "not-found"


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def dangling(document: Any) -> Iterator[str]:
    """Every reference of a document that leads nowhere in it."""
    for reference in references(document):
        spot = document
        try:
            assert reference.startswith("#/")
            for step in reference[2:].split("/"):
                spot = spot[step.replace("~1", "/").replace("~0", "~")]
        except (KeyError, AssertionError):
            yield reference


def references(value: Any) -> Iterator[str]:
    match value:
        case dict():
            if isinstance(reference := value.get("$ref"), str):
                yield reference
            mapping = value.get("discriminator", {}).get("mapping", {}) if "discriminator" in value else {}
            yield from mapping.values()
            for item in value.values():
                yield from references(item)
        case list():
            for item in value:
                yield from references(item)
