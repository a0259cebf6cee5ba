"""JSON Schemas (2020-12) of whole CloudEvents: what an emitter sends, by type, and what the log serves.

`schemas/export.py` has those of their data alone.
"""

from typing import Any

from schemas.codec import BATCH_EVENTS_MAX
from schemas.events import EVENT_TYPES, Act, Event, type_of
from schemas.examples import EXAMPLES
from schemas.objections import LEDGER_ATTRIBUTES
from schemas.values import ID_PATTERN, SOURCE_PATTERN

_COMPONENTS = "#/components/schemas/"

# Attributes by their names; each is a component, so that what describes twenty types says it once.
_ATTRIBUTES: dict[str, tuple[str, dict[str, Any]]] = {
    "id": (
        "EventId",
        {
            "type": "string",
            "pattern": ID_PATTERN,
            "description": "Unique in its source; made by the emitter, so that sending again is safe.",
            "examples": ["call-4711"],
        },
    ),
    "source": (
        "EventSource",
        {
            "type": "string",
            "pattern": SOURCE_PATTERN,
            "description": "A URI reference: the system that says it.",
            "examples": ["/crm"],
        },
    ),
    "subject": (
        "EventSubject",
        {
            "type": ["string", "null"],
            "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$(?!\n)",
            "description": "May be left out, since it follows from the data; if given, it has to agree with them.",
            "examples": ["requirement/SSO-42"],
        },
    ),
    "time": (
        "EventTime",
        {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "When it happened, in the years 1900 to 9998; five minutes ahead at most."
            " Without it, the time of recording.",
            "examples": ["2026-11-21T10:00:00Z"],
        },
    ),
    "datacontenttype": (
        "EventContentType",
        {
            "type": ["string", "null"],
            "pattern": r"^[Aa][Pp][Pp][Ll][Ii][Cc][Aa][Tt][Ii][Oo][Nn]/([A-Za-z0-9.+-]+\+)?[Jj][Ss][Oo][Nn]$(?!\n)",
            "description": "The data are JSON.",
            "examples": ["application/json"],
        },
    ),
    "dataschema": (
        "EventSchemaUri",
        {
            "type": ["string", "null"],
            "pattern": r"^[^\u0000-\u001f\u007f-\u009f]+$(?!\n)",
            "description": "Kept; the data are judged by the type.",
        },
    ),
    "expectedversion": (
        "ExpectedVersion",
        {
            "anyOf": [{"type": "integer", "minimum": 0}, {"type": "null"}],
            "description": "The version that the stream of the subject has to have; 0: it has to be new.",
        },
    ),
    "recordedtime": (
        "SourceRecordedTime",
        {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "When the emitter came to know it; kept as `sourcerecordedtime`.",
        },
    ),
    "correlationid": ("ExtensionText", {}),
    "causationid": ("ExtensionText", {}),
    "traceparent": ("ExtensionText", {}),
}
_TEXT = {
    "type": ["string", "null"],
    "maxLength": 1_000,
    "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$(?!\n)",
    "description": "Kept with the event.",
}
_EXTENSION = {
    "anyOf": [
        {"type": "string", "maxLength": 1_000, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$(?!\n)"},
        {"type": "boolean"},
        {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
        {"type": "null"},
    ],
    "description": "An attribute of the emitter's own; kept with the event. Null is the same as none.",
}
# What only the ledger may say, and the form of data that it does not take.
_NOT_SENT = [*LEDGER_ATTRIBUTES, "data_base64"]
_REQUIRED = ["specversion", "id", "source", "type", "data"]
_VERSION = {"const": "1.0", "type": "string", "description": "the version of CloudEvents"}


def components() -> dict[str, Any]:
    """The schemas by name. They refer to each other, and to those of the event classes by the names of these.

    `CloudEvent`, `CloudEventBatch`, `EventData` (the body of binary mode), `RecordedEvent`, and one for each type.
    """
    names = {name: f"{cls.__name__}Event" for name, cls in EVENT_TYPES.items()}
    return {
        "CloudEvent": {
            "description": "A CloudEvent 1.0 in its JSON format; `type` says what its data are.",
            "oneOf": [_reference(each) for each in names.values()],
            "discriminator": {
                "propertyName": "type",
                "mapping": {name: _COMPONENTS + each for name, each in names.items()},
            },
        },
        "CloudEventBatch": {
            "type": "array",
            "items": _reference("CloudEvent"),
            "minItems": 1,
            "maxItems": BATCH_EVENTS_MAX,
            "description": "Recorded in this order.",
        },
        "EventData": {
            "description": "The data of one event; the header `ce-type` says of which type.",
            "anyOf": [_reference(cls.__name__) for cls in EVENT_TYPES.values()],
            "examples": [EXAMPLES["ledger.ask.recorded.v1"]],
        },
        **{names[name]: _sent(cls) for name, cls in EVENT_TYPES.items()},
        **{component: schema for component, schema in _ATTRIBUTES.values() if schema},
        "ExtensionText": _TEXT,
        "ExtensionAttribute": _EXTENSION,
        "RecordedEvent": _recorded(),
    }


def example(name: str) -> dict[str, Any]:
    """A CloudEvent of this type as an emitter may send it. Raises KeyError if there is no such type."""
    id = f"example-{name.removeprefix('ledger.').rpartition('.')[0].replace('.', '-')}"
    return {"specversion": "1.0", "id": id, "source": "/crm", "type": name, "data": EXAMPLES[name]}


def _sent(cls: type[Event]) -> dict[str, Any]:
    name = type_of(cls)
    kind, scope = ("act", "act") if issubclass(cls, Act) else ("observation", "observe")
    return {
        "type": "object",
        "title": name,
        "description": f"An {kind}: a key needs the scope `{scope}` to send it.",
        "x-kind": kind,
        "x-scope": scope,
        "required": _REQUIRED,
        "properties": {
            "specversion": _VERSION,
            "id": _reference("EventId"),
            "source": _reference("EventSource"),
            "type": {"const": name, "type": "string", "description": "the event type"},
            "data": _reference(cls.__name__),
            **{each: _reference(_ATTRIBUTES[each][0]) for each in _ATTRIBUTES if each not in _REQUIRED},
        },
        "propertyNames": {"pattern": r"^[a-z0-9]{1,40}$(?!\n)", "not": {"enum": _NOT_SENT}},
        "additionalProperties": _reference("ExtensionAttribute"),
        "examples": [example(name)],
    }


def _recorded() -> dict[str, Any]:
    time = {"type": "string", "format": "date-time"}
    properties = {
        "specversion": _VERSION,
        "id": _reference("EventId"),
        "source": _reference("EventSource"),
        "type": {"type": "string", "description": "the event type"},
        "subject": {"type": "string", "description": "the kind and the id of what it is about: `requirement/SSO-42`"},
        "time": time | {"description": "when it happened"},
        "data": {
            "type": "object",
            "description": 'As it was sent. A sealed text is `{"sealed": …}`; /v1/schemas/{type} says which are.',
        },
        "recordedtime": time | {"description": "when the ledger recorded it"},
        "sequence": {"type": "string", "pattern": "^[0-9]{20}$", "description": "its position in the log"},
        "streamversion": {"type": "integer", "minimum": 1, "description": "its place among those of its subject"},
        "authid": {"type": "string", "description": "the id of the key that sent it"},
        "authtype": {"type": "string", "description": "how its sender was known: by an API key"},
    }
    return {
        "type": "object",
        "description": "An event of the log: what was sent, and what the ledger added.",
        "required": [*properties],
        "properties": properties,
        "additionalProperties": _reference("ExtensionAttribute"),
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": _COMPONENTS + name}
