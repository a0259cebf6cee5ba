"""JSON Schemas (2020-12) of the events' data, made from the types. `python -m schemas.export` writes schemas/json."""

from pathlib import Path
from typing import Any

import msgspec

from schemas.events import EVENT_TYPES, SEALED_FIELDS, Act
from schemas.examples import EXAMPLES
from schemas.meanings import CLASSES, meaning

FOLDER = Path(__file__).with_name("json")


def event_schema(name: str) -> dict[str, Any]:
    """The JSON Schema of what an emitter sends as `data` of this type. Raises KeyError if there is no such type."""
    cls = EVENT_TYPES[name]
    schema = published(msgspec.json.schema(cls))
    root = schema["$defs"].pop(cls.__name__)
    document = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"/v1/schemas/{name}",
        **_told(cls.__name__, root),
        "title": name,
        "x-kind": "act" if issubclass(cls, Act) else "observation",
        "x-scope": "act" if issubclass(cls, Act) else "observe",
        "x-subject": cls.subject_form(),
        "x-sealed": [*SEALED_FIELDS[name]],
        "examples": [EXAMPLES[name]],
    }
    for field in SEALED_FIELDS[name]:
        sealed = document["properties"][field]
        sealed["description"] += " It is sealed: encrypted before it is stored, and shown with the scope `personal`."
        sealed["x-sealed"] = True
    parts = {part: _told(part, inner) for part, inner in schema["$defs"].items()}
    return document | ({"$defs": parts} if parts else {})


def _told(cls: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A schema of a class that says what the class and each of its fields mean."""
    text = schema.get("description") or CLASSES.get(cls)
    told = {"title": schema.get("title", cls)} | ({"description": text} if text else {}) | schema
    if "properties" in schema:
        told["properties"] = {field: _meant(cls, field, inner) for field, inner in schema["properties"].items()}
    return told


def _meant(cls: str, field: str, schema: dict[str, Any]) -> dict[str, Any]:
    means, form = meaning(cls, field), schema.get("description")
    text = f"{means} ({form})" if means and form else means or form
    return ({"description": text} if text else {}) | {
        name: item for name, item in schema.items() if name != "description"
    }


def published(schema: Any) -> Any:
    """A schema without what only stored events have: the tag of the class and the form of sealed texts."""
    match schema:
        case dict():
            return _published_object(schema)
        case list():
            return [published(item) for item in schema]
        case _:
            return schema


def _published_object(schema: dict[str, Any]) -> dict[str, Any]:
    kept = {name: published(item) for name, item in schema.items() if name != "Sealed"}
    if isinstance(properties := kept.get("properties"), dict) and "@type" in properties:
        kept["properties"] = {name: item for name, item in properties.items() if name != "@type"}
        kept["required"] = [name for name in kept.get("required", []) if name != "@type"]
    if isinstance(options := kept.get("anyOf"), list):
        options = [option for option in options if not str(option.get("$ref", "")).endswith("/Sealed")]
        kept = {
            **{k: v for k, v in kept.items() if k != "anyOf"},
            **(options[0] if len(options) == 1 else {"anyOf": options}),
        }
    if isinstance(discriminator := kept.get("discriminator"), dict) and discriminator.get("propertyName") == "@type":
        del kept["discriminator"]
    return kept


def files() -> dict[Path, bytes]:
    """Each file of schemas/json, and what it has to hold."""
    return {
        FOLDER / f"{name}.json": msgspec.json.format(msgspec.json.encode(event_schema(name)), indent=2) + b"\n"
        for name in EVENT_TYPES
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    wanted = files()
    for path in FOLDER.glob("*.json"):
        if path not in wanted:
            path.unlink()
    for path, content in wanted.items():
        path.write_bytes(content)


if __name__ == "__main__":
    main()
