"""The description of a service as a page for people, made from its OpenAPI document.

The page has an index, then each request with a link to itself and tables of what it takes and answers, then the shapes
that several requests have. Types are told in words; the exact JSON Schemas are in the document.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
import msgspec
from markupsafe import Markup, escape

from schemas.values import ID_PATTERN, LEDGER_PATTERN, SOURCE_PATTERN

_REFERENCE = "#/components/schemas/"
_PATTERNS = {ID_PATTERN: "id", LEDGER_PATTERN: "name of a ledger", SOURCE_PATTERN: "source"}
_FORMATS = {"date": "date", "date-time": "time"}

_template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    Path(__file__).with_name("openapi.html").read_text()
)


class Row(NamedTuple):
    """A line of a table: a name with a note (as `in the path`), a type in words, and what it means."""

    name: str
    note: str
    type: Markup
    means: Markup


class Shape(NamedTuple):
    """A schema with a name. `options`: of a union, what tells them apart, and what it then is."""

    name: str
    means: Markup
    type: Markup
    rows: Sequence[Row]
    options: Sequence[tuple[str, Markup]]
    example: str


class Body(NamedTuple):
    """What a request takes or an answer has. `shape` is shown in its place; where it is None, `type` links to where
    it is shown."""

    media: Sequence[str]
    type: Markup
    shape: Shape | None


class Reply(NamedTuple):
    """An answer that is no problem."""

    status: str
    means: Markup
    headers: Sequence[Row]
    bodies: Sequence[Body]


class Request(NamedTuple):
    """One request: what it takes, what it answers, and the problems that it can meet (status, name, title)."""

    id: str
    method: str
    path: str
    summary: Markup
    means: Markup
    parameters: Sequence[Row]
    takes: Sequence[Body]
    replies: Sequence[Reply]
    problems: Sequence[tuple[str, str, Markup]]


def page(document: Mapping[str, Any]) -> str:
    """The HTML page of a document that openapi.py has made. It fetches nothing."""
    shapes = _Shapes(document)
    by_tag: dict[str, list[Request]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            by_tag.setdefault(operation["tags"][0], []).append(_request(method, path, operation, shapes))
    return _template.render(
        info=document["info"], summary=sentence(document["info"]["summary"]), tags=by_tag, shapes=shapes.shared()
    )


def sentence(text: str) -> Markup:
    """A text that begins with a capital letter and ends with a full stop, with `code` marked up as such."""
    text = " ".join(text.split())
    if not text:
        return Markup()
    first = text.split(maxsplit=1)[0]
    if first.strip(":,.;").isalpha() and first.islower():
        text = text[0].upper() + text[1:]
    if text[-1] not in ".:!?":
        text += "."
    parts = [escape(part) for part in text.split("`")]
    # What stands between two backticks is code; with an odd number of them, the last is just a character.
    if len(parts) % 2 == 0:
        parts[-2:] = [parts[-2] + "`" + parts[-1]]
    return Markup().join(_code(part) if number % 2 else part for number, part in enumerate(parts))


class _Shapes:
    """The named schemas of a document, in words."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._schemas: Mapping[str, Mapping[str, Any]] = document["components"]["schemas"]
        nested = {name for schema in self._schemas.values() for name in _references(schema)}
        # What is the body of requests only is shown at the first that has it.
        self._in_place = {
            name
            for operations in document["paths"].values()
            for operation in operations.values()
            for schema in _body_schemas(operation)
            if (name := schema.get("$ref", "").removeprefix(_REFERENCE)) not in nested
            and "properties" in self._schemas.get(name, {})
        }
        self._shown: set[str] = set()
        # The fields that all options of a union have are told with the union, once.
        self._common: dict[str, tuple[str, Mapping[str, Any]]] = {}
        for name, schema in self._schemas.items():
            if "discriminator" in schema:
                options = [each["$ref"].removeprefix(_REFERENCE) for each in _options(schema)]
                fields = self._fields_of_all(options)
                self._common |= dict.fromkeys(options, (name, fields))

    def shared(self) -> list[Shape]:
        """Those that are not shown at the one request that has them, by name."""
        return [self.shape(name) for name in sorted(self._schemas) if name not in self._in_place]

    def body(self, media: Sequence[str], schema: Mapping[str, Any]) -> Body:
        name = schema.get("$ref", "").removeprefix(_REFERENCE)
        if name in self._in_place and name not in self._shown:
            self._shown.add(name)
            shape = self.shape(name)
            return Body(media, self.type(schema), shape._replace(example=_example(schema) or shape.example))
        rows = self._rows(schema, {})
        if rows:  # One without a name.
            return Body(media, self.type(schema), Shape("", Markup(), self.type(schema), rows, [], ""))
        return Body(media, self.type(schema), None)

    def shape(self, name: str) -> Shape:
        schema = self._schemas[name]
        union, common = self._common.get(name, ("", {}))
        fields = schema
        options: list[tuple[str, Markup]] = []
        if "discriminator" in schema:
            options = [
                (tag, self.type({"$ref": reference})) for tag, reference in schema["discriminator"]["mapping"].items()
            ]
            first = _options(schema)[0]["$ref"].removeprefix(_REFERENCE)
            fields = {"properties": self._common[first][1], "required": self._schemas[first].get("required", [])}
        means = sentence(schema.get("description", ""))
        if union:
            means += Markup(" It also has the fields of ") + _link(union) + "."
        return Shape(
            name,
            means,
            self.type(schema),
            self._rows(fields, common),
            options,
            _example(schema),
        )

    def type(self, schema: Mapping[str, Any]) -> Markup:
        """A schema in words: `id`, `text (at most 200 characters)`, `list of Bullet`."""
        if reference := schema.get("$ref"):
            name = reference.removeprefix(_REFERENCE)
            return self.type(self._schemas[name]) if self._is_plain(name) else _link(name)
        if options := _options(schema):
            return _either([*dict.fromkeys(self.type(each) for each in options)])
        if "const" in schema:
            return _code(schema["const"])
        if "enum" in schema:
            words = [_code(each) for each in schema["enum"]]
            return words[0] if len(words) == 1 else Markup("one of ") + Markup(", ").join(words)
        match schema.get("type"):
            case list() as types:
                return _either([self.type({**schema, "type": each}) for each in types])
            case "string":
                return _text(schema)
            case "integer" | "number" as kind:
                return _number("whole number" if kind == "integer" else "number", schema)
            case "boolean":
                return Markup("true or false")
            case "array":
                most = schema.get("maxItems")
                return Markup("list of ") + (f"at most {most:,}: " if most else "") + self.type(schema.get("items", {}))
            case "object" if (
                isinstance(values := schema.get("additionalProperties"), dict) and "properties" not in schema
            ):
                return Markup("object: by name, ") + self.type(values)
            case "object":
                return Markup("object")
            case "null":
                return Markup("null")
        return Markup("any value")

    def row(self, name: str, note: str, schema: Mapping[str, Any], text: str) -> Row:
        reference = schema.get("$ref", "").removeprefix(_REFERENCE)
        if not text and reference:
            text = self._schemas[reference].get("description", "")
        means = sentence(text)
        if schema.get("default") not in (None, [], {}, ""):
            means += Markup(" By default ") + _code(schema["default"]) + "."
        return Row(name, note, self.type(schema), means)

    def _rows(self, schema: Mapping[str, Any], without: Mapping[str, Any]) -> list[Row]:
        required = schema.get("required", [])
        return [
            self.row(name, "" if name in required else "optional", field, field.get("description", ""))
            for name, field in schema.get("properties", {}).items()
            if name not in without
        ]

    def _is_plain(self, name: str) -> bool:
        """Whether it is told in a few words where it is used: a text, a number."""
        schema = self._schemas[name]
        inner = _options(schema) or [schema]
        return all(each.get("type") != "object" and "$ref" not in each and "items" not in each for each in inner)

    def _fields_of_all(self, names: Sequence[str]) -> dict[str, Any]:
        first, *others = (self._schemas[name].get("properties", {}) for name in names)
        return {field: schema for field, schema in first.items() if all(other.get(field) == schema for other in others)}


def _request(method: str, path: str, operation: Mapping[str, Any], shapes: _Shapes) -> Request:
    answers = operation["responses"]
    return Request(
        id=operation["operationId"],
        method=method.upper(),
        path=path,
        summary=sentence(operation["summary"]),
        means=sentence(operation.get("description", "")),
        parameters=[
            _with_example(
                shapes.row(each["name"], _place(each), each["schema"], each.get("description", "")), each.get("example")
            )
            for each in operation["parameters"]
        ],
        takes=_bodies(operation.get("requestBody", {}), shapes),
        replies=[
            Reply(
                status,
                sentence(answer["description"]),
                [
                    shapes.row(name, "", header["schema"], header["description"])
                    for name, header in answer.get("headers", {}).items()
                ],
                _bodies(answer, shapes),
            )
            for status, answer in answers.items()
            if status < "400"
        ],
        problems=[
            (status, name, sentence(title))
            for status, answer in answers.items()
            for name, title in answer.get("x-problems", {}).items()
        ],
    )


def _place(parameter: Mapping[str, Any]) -> str:
    place = {"path": "in the path", "query": "in the query", "header": "a header"}[parameter["in"]]
    return place if parameter["in"] == "path" else f"{place}, {'needed' if parameter['required'] else 'optional'}"


def _with_example(row: Row, example: Any) -> Row:
    if example is None:
        return row
    return row._replace(means=row.means + Markup(" For example ") + _code(example) + ".")


def _bodies(content: Mapping[str, Any], shapes: _Shapes) -> list[Body]:
    """A body for each schema, with all media types that have it."""
    found: list[tuple[Mapping[str, Any], list[str]]] = []
    for media, each in content.get("content", {}).items():
        same = next((known for schema, known in found if schema == each["schema"]), None)
        if same is None:
            found.append((each["schema"], [media]))
        else:
            same.append(media)
    return [shapes.body(media, schema) for schema, media in found]


def _body_schemas(operation: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schemas of the bodies of a request and of its answers that are no problems."""
    answers = (answer for status, answer in operation["responses"].items() if status < "400")
    for content in (operation.get("requestBody", {}), *answers):
        yield from (each["schema"] for each in content.get("content", {}).values())


def _references(value: Any) -> Iterator[str]:
    match value:
        case {"$ref": str(reference)}:
            yield reference.removeprefix(_REFERENCE)
        case dict():
            for item in value.values():
                yield from _references(item)
        case list():
            for item in value:
                yield from _references(item)


def _options(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    options: list[Mapping[str, Any]] = schema.get("oneOf") or schema.get("anyOf") or []
    # Those that only say more of a text, as its pattern, are no types of their own.
    return options if all({"type", "$ref", "anyOf", "enum", "const", "oneOf"} & {*each} for each in options) else []


def _text(schema: Mapping[str, Any]) -> Markup:
    if (known := _FORMATS.get(schema.get("format", "")) or _PATTERNS.get(schema.get("pattern", ""))) is not None:
        return escape(known)
    most = schema.get("maxLength")
    return escape(f"text (at most {most:,} characters)" if most else "text")


def _number(kind: str, schema: Mapping[str, Any]) -> Markup:
    low, high = schema.get("minimum"), schema.get("maximum")
    if high is not None and high >= 2**31 - 1:
        high = None
    if low is not None and high is not None:
        return escape(f"{kind} ({low:,} to {high:,})")
    if low is not None:
        return escape(f"{kind} ({low:,} or more)" if low > -(2**31) else kind)
    return escape(kind if high is None else f"{kind} ({high:,} or less)")


def _either(types: Sequence[Markup]) -> Markup:
    return types[0] if len(types) == 1 else Markup(", ").join(types[:-1]) + " or " + types[-1]


def _link(name: str) -> Markup:
    return Markup('<a href="#{0}">{0}</a>').format(name)


def _code(value: Any) -> Markup:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return Markup("<code>{}</code>").format(text)


def _example(schema: Mapping[str, Any]) -> str:
    """The first example that a schema has, as JSON; empty if it has none."""
    examples = schema.get("examples", [])
    return msgspec.json.format(msgspec.json.encode(examples[0]), indent=2).decode() if examples else ""
