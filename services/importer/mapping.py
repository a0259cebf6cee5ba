"""The mapping language: one YAML document says how the rows of some files become events.

    source: /imports/crm                    the CloudEvents source of all its events
    time_zone: Europe/Berlin                of dates and times that name none
    given: [...]                            events written out in full; they come first
    lookups: [...]                          small files, joined to rows by a key
    files: [...]                            which files there are, in the order in which they are read
    retracted: [...]                        events of this source that were recorded in error; told last

`examples/` has mappings that say it all; `recipes` says how a single value is made.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct

from schemas.events import EVENT_TYPES, EventRetracted, type_of
from schemas.values import By, Paragraph, Source
from services.importer import document
from services.importer.document import Document, Spot
from services.importer.recipes import (
    AnyRecipe,
    AsDate,
    AsTime,
    Constant,
    Fingerprint,
    Items,
    Members,
    Node,
    Template,
    check_format,
    paths_of,
)

_HOLE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_UNKNOWN = re.compile(r"Object contains unknown field `([A-Za-z0-9_-]+)`")
_ID_TEXT = re.compile(r"[A-Za-z0-9._:@-]*")
_EXTENSION = re.compile(r"[a-z0-9]{1,40}")


RECIPES: tuple[str, ...] = (
    *sorted(str(kind.__struct_config__.tag) for kind in (*get_args(AnyRecipe), Fingerprint)),
    "object",
)
T = TypeVar("T")
Objections = Iterator[tuple[Spot, str]]
"""What speaks against a mapping, each with its spot."""


class MappingError(Exception):
    """A mapping cannot be used; the text names file, line and spot, and says what to do."""


class Expression:
    """What a value is made by: a text with {paths}, a recipe (an object with `as` or `from`), a constant, or an object
    or a list of these."""

    def __init__(self, node: Node) -> None:
        self.node = node


class IdTemplate:
    """The text that an event's id is made by."""

    def __init__(self, template: Template) -> None:
        self.template = template


class Zone:
    """A time zone of the IANA database."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone


class Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a mapping."""


class Condition(Part, frozen=True, kw_only=True):
    """Holds if the text at `from` is (not) one of these, or is (not) blank. Upper and lower case are the same."""

    path: str = msgspec.field(name="from")
    among: list[str] | None = msgspec.field(name="in", default=None)
    not_among: list[str] | None = msgspec.field(name="not_in", default=None)
    blank: bool | None = None

    def __post_init__(self) -> None:
        if (self.among is None) + (self.not_among is None) + (self.blank is None) != 2:
            raise ValueError("a condition has one of `in`, `not_in` and `blank`")


class EventRecipe(Part, frozen=True, kw_only=True):
    """How one event is made of a row: if all of `when` holds."""

    type: str
    id: IdTemplate
    when: list[Condition] = []
    time: Expression | None = None
    extensions: Expression | None = None
    data: Expression


class Csv(Part, frozen=True, kw_only=True):
    """How a CSV file is written. `columns`: the names, where the file has no header."""

    delimiter: Annotated[str, Meta(min_length=1, max_length=1)] = ","
    encoding: str = "utf-8-sig"
    columns: Annotated[list[str], Meta(min_length=1)] | None = None

    def __post_init__(self) -> None:
        try:
            "".encode(self.encoding)
        except LookupError:
            raise ValueError(f"no such encoding: {self.encoding}") from None


class Rows(Part, frozen=True, kw_only=True):
    """Files of rows: a pattern of their names, and whether they are CSV (else NDJSON, by `format` or the ending)."""

    file: Annotated[str, Meta(min_length=1, description="a name, or a pattern with * and ?")]
    format: Literal["csv", "ndjson"] | None = None
    csv: Csv = Csv()

    @property
    def is_csv(self) -> bool:
        return self.format == "csv" or (self.format is None and not self.file.endswith((".ndjson", ".jsonl")))

    def matches(self, path: Path) -> bool:
        return fnmatchcase(path.name, self.file)


class Lookup(Rows, frozen=True, kw_only=True):
    """A small file that other rows look up by `key`, one row a key. With `column` and `value`, several rows a key make
    one: the text in `column` names what the text in `value` is."""

    name: Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    key: str
    column: str | None = None
    value: str | None = None

    def __post_init__(self) -> None:
        if (self.column is None) != (self.value is None):
            raise ValueError("`column` and `value` go together")


class File(Rows, frozen=True, kw_only=True):
    """Files of rows that become events, or that are `unused`, for a reason.

    `let`: names for values that are made once a row; `join`: a lookup's name and the path of its key in the row.
    """

    unused: str | None = None
    let: Expression | None = None
    join: dict[str, str] = {}
    events: list[EventRecipe] = []

    def __post_init__(self) -> None:
        if (self.unused is None) != bool(self.events):
            raise ValueError("a file has `events`, or it is `unused`, with the reason")


class Retracted(Part, frozen=True, kw_only=True):
    """An event of the mapping's source, by its id, was recorded in error. Where it stands only the ledger knows."""

    event: str
    id: str
    time: str
    reason: Paragraph
    by: By

    def written(self, source: str, position: int, subject: str) -> dict[str, Any]:
        """The retraction as it is posted, of what stands at a position and is about a subject."""
        data = {"position": position, "subject": subject, "reason": self.reason, "by": self.by}
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": source,
            "type": type_of(EventRetracted),
            "time": self.time,
            "data": msgspec.to_builtins(data),
        }


class Mapping(Part, frozen=True, kw_only=True):
    """A whole mapping."""

    source: Source
    time_zone: Zone = Zone(ZoneInfo("UTC"))
    given: list[dict[str, Any]] = []
    lookups: list[Lookup] = []
    files: list[File] = []
    retracted: list[Retracted] = []


class Loaded(Struct, frozen=True):
    """A mapping, and the document that it stands in."""

    mapping: Mapping
    document: Document

    def given_line(self, index: int) -> int:
        return self.document.line(("given", index))

    def retracted_line(self, index: int) -> int:
        return self.document.line(("retracted", index))


def load(path: Path) -> Loaded:
    """Read a mapping. Raises MappingError."""
    try:
        found = document.read(path)
    except document.DocumentError as error:
        raise MappingError(str(error)) from error
    return Loaded(mapping=read(found), document=found)


def read(found: Document) -> Mapping:
    """The mapping that a document is. Raises MappingError."""
    if not isinstance(found.value, dict):
        raise MappingError(f"{found.path}: a mapping is an object with `source`, and `files` or `given`")
    return decode(found, (), Mapping, _objections)


def decode(found: Document, spot: Spot, wanted: type[T], objections: Callable[[T], Objections]) -> T:
    """What stands at a spot of a document, as one of the types of this language. `objections` says what only shows
    when its parts are seen together, with spots from there. Raises MappingError."""
    value = found.value
    for step in spot:
        value = value[step]
    try:
        decoded: T = msgspec.convert(value, wanted, dec_hook=_custom)
    except msgspec.ValidationError as error:
        message, inside = _where(_with_hint(str(error), wanted))
        raise MappingError(_located(found, spot + inside, message)) from error
    for inside, message in objections(decoded):
        raise MappingError(_located(found, spot + inside, message))
    return decoded


def missing_column(file: File, columns: list[str], lookups: dict[str, set[str]]) -> str | None:
    """What a file's events read that its rows do not have, or None. `lookups`: the names that each lookup offers."""
    named = lets(file.let)
    known = {*columns, *named, *(f"{name}.{column}" for name in file.join for column in lookups[name])}
    for path in [*file.join.values(), *_paths(file)]:
        if path in known or path.partition(".")[0] in named:
            continue
        near = difflib.get_close_matches(path, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        return f"there is no column {path!r}{hint} There are: {', '.join(sorted(known))}"
    return None


def template(text: str) -> Template:
    """The template that a text with {paths} is; `{{` and `}}` are braces. Raises ValueError."""
    texts, paths = [""], []
    end = 0
    for match in _HOLE.finditer(text):
        texts[-1] += text[end : match.start()]
        end = match.end()
        if match[0] in ("{{", "}}"):
            texts[-1] += match[0][0]
        elif match[1] is None or not match[1].strip():
            raise ValueError(f"{text[:80]!r}: a brace stands alone; write a path in braces, or the brace twice")
        else:
            paths.append(match[1].strip())
            texts.append("")
    texts[-1] += text[end:]
    return Template(texts=tuple(texts), paths=tuple(paths))


# Decoding


def _custom(wanted: type, value: Any) -> Any:
    if wanted is Expression:
        return Expression(node_of(value))
    if wanted is IdTemplate:
        return IdTemplate(_id_template(value))
    if wanted is Zone:
        try:
            return Zone(ZoneInfo(value))
        except (TypeError, ValueError, OSError, ZoneInfoNotFoundError):
            raise ValueError(f"no such time zone: {value!r}; write it as Europe/Berlin or UTC") from None
    raise NotImplementedError(f"no part of a mapping is a {wanted}")


def node_of(value: Any, spot: str = "") -> Node:
    """What an expression, as it is written, makes values by. Raises ValueError; `spot` leads to it from the outside."""
    match value:
        case str():
            try:
                made = template(value)
            except ValueError as error:
                raise ValueError(f"{error} - at `${spot}`") from None
            return made if made.paths else Constant(made.texts[0])
        case list():
            return Items(tuple(node_of(item, f"{spot}[{index}]") for index, item in enumerate(value)))
        case dict() if value.get("as") == "object":
            return _object(value, spot)
        case dict() if "as" in value or "from" in value:
            return _recipe({"as": "text", **value}, spot)
        case dict():
            return Members({name: node_of(member, f"{spot}.{name}") for name, member in value.items()})
        case _:
            return Constant(value)


class _Object(Part, frozen=True, kw_only=True):
    of: dict[str, Any]
    needs: list[str] = []


def _object(value: dict[str, Any], spot: str) -> Node:
    written = _converted({name: member for name, member in value.items() if name != "as"}, _Object, spot)
    members = {name: node_of(member, f"{spot}.of.{name}") for name, member in written.of.items()}
    return Members(members, tuple(written.needs))


def _recipe(value: dict[str, Any], spot: str) -> Node:
    if (name := value["as"]) not in RECIPES:
        near = difflib.get_close_matches(str(name), RECIPES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(RECIPES)}"
        raise ValueError(f"no such recipe: {name!r}; {hint} - at `${spot}.as`")
    recipe: AnyRecipe | Fingerprint = _converted(value, AnyRecipe | Fingerprint, spot)
    if isinstance(recipe, AsDate | AsTime):
        for form in recipe.formats:
            try:
                check_format(form)
            except ValueError as error:
                raise ValueError(f"{error} - at `${spot}.formats`") from None
    return recipe


def _converted(value: Any, wanted: Any, spot: str) -> Any:
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise ValueError(f"{_with_hint(str(error), wanted)} - at `${spot}`") from None


def _id_template(value: Any) -> Template:
    if not isinstance(value, str):
        raise ValueError("the id of an event is a text with {paths}")
    made = template(value)
    if not made.paths:
        raise ValueError(f"{value!r} is the same for each row; it needs a {{path}} that tells rows apart")
    if "" in made.texts[1:-1]:
        raise ValueError(f"{value!r}: put a sign between the paths, so that 1 and 23 are not taken for 12 and 3")
    for text in made.texts:
        if not _ID_TEXT.fullmatch(text):
            raise ValueError(f"{text!r}: an id is made of A-Z a-z 0-9 . _ : @ -")
    return made


def _with_hint(message: str, wanted: Any) -> str:
    """The message of a refusal; where a field is not known, with its own spot, and the name that may be meant."""
    unknown = _UNKNOWN.match(message)
    if unknown is None:
        return message
    _, inside = _where(message)
    # What lies within an expression has its hint already, from where it was decoded.
    fields = sorted(_fields_at(msgspec.inspect.type_info(wanted), inside))
    near = difflib.get_close_matches(unknown[1], fields, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else f"; there are {', '.join(fields)}" if fields else ""
    return f"unknown field `{unknown[1]}`{hint} - at `$.{unknown[1]}`{message[unknown.end() :]}"


def _fields_at(wanted: msgspec.inspect.Type, spot: Spot) -> set[str]:
    """The names of the fields that an object at a spot of this type may have."""
    kinds = _kinds(wanted)
    objects = [kind for kind in kinds if isinstance(kind, msgspec.inspect.StructType)]
    if not spot:
        return {field.encode_name for kind in objects for field in kind.fields}
    inside = [
        kind.item_type
        for kind in kinds
        if isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.VarTupleType) and isinstance(spot[0], int)
    ]
    inside += [field.type for kind in objects for field in kind.fields if field.encode_name == spot[0]]
    return {name for kind in inside for name in _fields_at(kind, spot[1:])}


def _kinds(wanted: msgspec.inspect.Type) -> list[msgspec.inspect.Type]:
    """The types that a value may have, each without what is said about it."""
    kinds = wanted.types if isinstance(wanted, msgspec.inspect.UnionType) else (wanted,)
    return [kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind for kind in kinds]


def _where(message: str) -> tuple[str, Spot]:
    """The message of a refusal, and the spot. A refusal inside a refusal names its spot before the outer one's."""
    reason, *spots = message.split(" - at `$")
    steps: list[str | int] = []
    for spot in reversed(spots):
        for name, index in re.findall(r"\.([^.\[\]`]+)|\[([0-9]+|\.\.\.)\]", spot.rstrip("`")):
            steps.append(name or (int(index) if index != "..." else "..."))
    return reason, tuple(steps)


def _located(found: Document, spot: Spot, message: str) -> str:
    place = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in spot).removeprefix(".")
    return f"{found.path}:{found.line(spot)}: {place}{': ' if place else ''}{message}"


# What only shows when the parts are seen together


def _objections(mapping: Mapping) -> Objections:
    if not (mapping.files or mapping.given or mapping.retracted):
        yield (), "there is nothing to import; name `files`, or events that are `given`"
    names = [lookup.name for lookup in mapping.lookups]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield ("lookups", index, "name"), f"there are two lookups {name!r}"

    for number, file in enumerate(mapping.files):
        yield from _file_objections(file, ("files", number), names)
    yield from event_objections(
        [
            (("files", number, "events", index), event)
            for number, file in enumerate(mapping.files)
            for index, event in enumerate(file.events)
        ]
    )


def event_objections(events: list[tuple[Spot, EventRecipe]]) -> Objections:
    """What speaks against the recipes of a mapping, each with where it stands."""
    starts: list[str] = []
    for spot, event in events:
        yield from _event_objections(event, spot)
        start = event.id.template.texts[0]
        # Where one start begins another, a value could make up the difference, and two events have one id.
        for other in starts:
            if start.startswith(other) or other.startswith(start):
                yield (
                    (*spot, "id"),
                    f"ids that begin with {start!r} and ids that begin with {other!r} can be the same; "
                    "let each event's ids begin with a word of their own",
                )
        starts.append(start)


def let_objections(let: Expression | None, spot: Spot, taken: Collection[str], whose: str) -> Objections:
    """What speaks against names of one's own. `taken`: the names that are `whose` already."""
    if let is not None and not isinstance(let.node, Members):
        yield (*spot, "let"), "expected an object: a name and what it stands for"
    for name in lets(let):
        if "." in name or name in taken:
            yield (*spot, "let", name), f"a name of one's own has no dot, and is not that of {whose}"


def _field_objections(node: Node, wanted: msgspec.inspect.Type, spot: Spot, whose: str) -> Objections:
    """Names in an object, at any depth, that its type does not have."""
    kinds = _kinds(wanted)
    lists = [kind for kind in kinds if isinstance(kind, msgspec.inspect.ListType)]
    objects = [kind for kind in kinds if isinstance(kind, msgspec.inspect.StructType)]
    if isinstance(node, Items) and lists:
        for index, item in enumerate(node.items):
            yield from _field_objections(item, lists[0].item_type, (*spot, index), whose)
    if isinstance(node, Members) and len(objects) == 1:
        fields = {field.encode_name: field.type for field in objects[0].fields}
        for name, member in node.members.items():
            if name in fields:
                yield from _field_objections(member, fields[name], (*spot, name), f"`{name}` of {whose}")
                continue
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; it has {', '.join(fields)}"
            yield (*spot, name), f"{whose} has no field {name!r}{hint}"


def lets(let: Expression | None) -> dict[str, Node]:
    """The names of one's own, in order, and what each is made by."""
    return let.node.members if let is not None and isinstance(let.node, Members) else {}


def _file_objections(file: File, spot: Spot, lookups: list[str]) -> Objections:
    for name in file.join:
        if name not in lookups:
            yield (*spot, "join"), f"there is no lookup {name!r}"
    yield from let_objections(file.let, spot, file.join, "a lookup")


def _event_objections(event: EventRecipe, spot: Spot) -> Objections:
    cls = EVENT_TYPES.get(event.type)
    if cls is None:
        near = difflib.get_close_matches(event.type, EVENT_TYPES, n=1)
        yield (*spot, "type"), f"no such event type: {event.type!r}" + (f"; did you mean {near[0]!r}?" if near else "")
        return
    if not isinstance(event.data.node, Members):
        yield (*spot, "data"), "expected an object: the fields of the event"
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
    yield from _field_objections(event.data.node, msgspec.inspect.type_info(cls), (*spot, "data"), event.type)
    for name, field in fields.items():
        if field.required and name not in event.data.node.members:
            yield (*spot, "data"), f"{event.type} needs the field {name!r}"
    if event.extensions is not None:
        if not isinstance(event.extensions.node, Members):
            yield (*spot, "extensions"), "expected an object: attributes of the event beside its data"
            return
        for name in event.extensions.node.members:
            if not _EXTENSION.fullmatch(name):
                yield (*spot, "extensions", name), "the name of an attribute is 1 to 40 lower-case letters and digits"


def _paths(file: File) -> Iterator[str]:
    if file.let is not None:
        yield from paths_of(file.let.node)
    for event in file.events:
        yield from event.id.template.paths
        yield from (condition.path for condition in event.when)
        for expression in (event.time, event.extensions, event.data):
            if expression is not None:
                yield from paths_of(expression.node)
