"""One codec: JSON to typed events at the edge, events to the canonical bytes that are stored, and back.

The canonical form of a recorded event is compact JSON in UTF-8: the emitter's attributes (those that CloudEvents
defines, then extensions by name), `data` with its members sorted at every level, then what the ledger adds. What
is known only under the lock comes last, so that all the rest is prepared outside it.

    {"specversion","id","source","type","subject","time",…,"data","authid","authtype","recordedtime","sequence",
     "streamversion"}

An event that came without a time has it from the ledger, and then `time` stands behind `data`, before
`recordedtime`: so the stored bytes tell what the emitter said. The content of an event is

    SHA-256(canonical({"attributes": texts, "data": data}))

over what the emitter sent: of the attributes, as text (a boolean or number in its JSON form, `time` in UTC with
microseconds), all but `subject`, `datacontenttype`, `traceparent`, `tracestate` and `expectedversion`, with
`recordedtime` under its kept name; of the data, everything, whole numbers without a fraction. So it can be computed
again from the stored bytes (of sealed texts: from the texts in the clear).
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from schemas.envelope import Problem, Recorded, Refusal, Sent
from schemas.events import EVENT_TYPES, SEALED_FIELDS, Event
from schemas.upcasts import UPCASTS, Upcast, upcast
from schemas.values import ID_PATTERN, YEAR_MAX, YEAR_MIN, in_range

EVENT_BYTES_MAX = 60 * 1024
STORED_BYTES_MAX = 65_535  # A C2SP tile entry has a length of 16 bits.
TIME_AHEAD_MAX = timedelta(minutes=5)

# What bounds the work that a refused event costs: how many of its spots are told, and from how deep.
SPOTS_TOLD_MAX = 100
DATA_LEVELS_MAX = 32  # No event nests half as deep; what does is refused before it is looked into.

LEDGER_ATTRIBUTES = ("sequence", "streamversion", "authid", "authtype")
_NOT_CONTENT = {
    "traceparent",
    "tracestate",
    "expectedversion",
    "subject",
}  # The subject follows from the data.
_FIRST = ("specversion", "id", "source", "type", "subject", "time", "dataschema")

_ID = re.compile(ID_PATTERN)
_SOURCE = re.compile(r"[!-~]{1,200}")
_EXTENSION = re.compile(r"[a-z0-9]{1,40}")
_VERSION = re.compile(r"0|[1-9][0-9]{0,9}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_JSON_TYPE = re.compile(r"application/([a-z0-9.+-]+\+)?json\s*(;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)
_AT = re.compile(r"^(?P<message>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_NAMED = re.compile(r"`(\w+)`")
# An escape of JSON: a surrogate pair, half of one, or any other.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_REGEX = re.compile(r"Expected `str` matching regex '(.*)'", re.DOTALL)

_NO_TIME = (
    f"must be an RFC 3339 time with its zone, as 2026-11-21T10:00:00Z, between the years {YEAR_MIN} and {YEAR_MAX}"
)

_encoder = msgspec.json.Encoder(order="deterministic")


class MalformedJson(ValueError):
    """The bytes are not JSON. The message says where."""


class Undecodable(ValueError):
    """Stored bytes that this version of the software cannot read."""


def parse(body: bytes) -> Any:
    """The JSON value that `body` is. Raises MalformedJson."""
    try:
        return msgspec.json.decode(body)
    except UnicodeDecodeError:
        raise MalformedJson(f"not UTF-8 at byte {_first_not_utf8(body)}") from None
    except msgspec.DecodeError as error:
        if (spot := _lone_surrogate(body)) is not None:
            raise MalformedJson(f"half of a surrogate pair at byte {spot}") from None
        raise MalformedJson(str(error)) from None
    except RecursionError:
        raise MalformedJson("nested too deeply") from None


def _lone_surrogate(body: bytes) -> int | None:
    return next((match.start() for match in _ESCAPE.finditer(body) if match["half"]), None)


def _first_not_utf8(body: bytes) -> int:
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return error.start
    return 0


def canonical(value: Any) -> bytes:
    """Compact JSON with the members of every object sorted."""
    return _encoder.encode(value)


def read_event(
    value: Any,
    *,
    now: datetime,
    index: int = 0,
    spots_max: int = SPOTS_TOLD_MAX,
    upcasts: Mapping[str, Upcast] = UPCASTS,
) -> Sent | list[Refusal]:
    """The event that a decoded CloudEvent (JSON format) is, or what speaks against it: everything, up to
    `spots_max`. An older version of a type is judged by that version, and understood as the newest."""
    if not isinstance(value, dict):
        return [Refusal(problem="not-a-cloudevent", message="a CloudEvent is a JSON object", index=index)]

    refusals = [
        Refusal(problem=problem, pointer=pointer, message=message, index=index)
        for problem, pointer, message in islice(_objections(value, now), spots_max)
    ]
    if refusals:
        return refusals

    name, data = upcast(value["type"], value["data"], upcasts)
    event = msgspec.convert(data, EVENT_TYPES[name])
    given = {name: item for name, item in value.items() if item is not None and name != "data"}
    time = _time(given["time"]) if "time" in given else None
    if "recordedtime" in given:
        given["sourcerecordedtime"] = given.pop("recordedtime")
    expected = given.pop("expectedversion", None)
    given.pop("datacontenttype", None)
    return Sent(
        id=given["id"],
        source=given["source"],
        type=given["type"],
        subject=event.subject,
        time=time,
        expected_version=None if expected is None else int(expected),
        content=_content(given, time, value["data"]),
        attributes=_ordered({**given, "subject": event.subject}),
        data=value["data"],
        event=event,
    )


def open_record(sent: Sent, data: dict[str, Any], authid: str, authtype: str) -> bytes:
    """The stored bytes of an event as far as they are known outside the lock; `data` has its texts sealed."""
    return b'%s,"data":%s,"authid":%s,"authtype":%s' % (
        msgspec.json.encode(sent.attributes)[:-1],
        canonical(data),
        msgspec.json.encode(authid),
        msgspec.json.encode(authtype),
    )


def close_record(opened: bytes, *, timed: bool, recordedtime: datetime, position: int, version: int) -> bytes:
    """The stored bytes, whole. An event that came without a time (not `timed`) is about its recorded time."""
    clock = format_time(recordedtime)
    tail = f',"recordedtime":"{clock}","sequence":"{position:020d}","streamversion":{version}}}'
    return opened + ("" if timed else f',"time":"{clock}"').encode() + tail.encode()


def decode_recorded(state: bytes, upcasts: Mapping[str, Upcast] = UPCASTS) -> Recorded:
    """The recorded event that stored bytes are, lifted to the newest version of its type.

    Tolerant: fields that a newer version of the software added are passed over. Raises Undecodable.
    """
    try:
        value = msgspec.json.decode(state)
        value.pop("specversion")
        name, data = upcast(value.pop("type"), value.pop("data"), upcasts)
        cls = EVENT_TYPES.get(name)
        if cls is None:
            raise Undecodable(f"no such event type in this version: {name}")
        return Recorded(
            position=int(value.pop("sequence")),
            version=value.pop("streamversion"),
            id=value.pop("id"),
            source=value.pop("source"),
            type=name,
            subject=value.pop("subject"),
            time=_time(value.pop("time")),
            recordedtime=_time(value.pop("recordedtime")),
            authid=value.pop("authid"),
            authtype=value.pop("authtype"),
            event=_tolerant(data, cls),
            attributes=value,
        )
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, Undecodable):
            raise
        raise Undecodable(f"stored event: {type(error).__name__}: {error}") from error


def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds: 27 characters, whatever the time."""
    return time.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


# What speaks against an event, in the order of its reading


def _objections(value: dict[str, Any], now: datetime) -> Iterator[tuple[Problem, str, str]]:
    yield from (("not-a-cloudevent", pointer, message) for pointer, message in _envelope(value))

    name = value.get("type")
    cls = EVENT_TYPES.get(name) if isinstance(name, str) else None
    if isinstance(name, str) and name and cls is None:
        yield "unknown-type", "/type", f"no such event type: {name[:200]!r}; GET /v1/schemas lists them"

    given_id = value.get("id")
    if isinstance(given_id, str) and given_id and not _CONTROL.search(given_id) and not _ID.search(given_id):
        yield "invalid-event", "/id", "an id is 1 to 100 of A-Z a-z 0-9 . _ ~ : @ -, first a letter or digit"

    time = _time_or_none(value.get("time"))
    if time is not None and time > now + TIME_AHEAD_MAX:
        yield (
            "time-in-future",
            "/time",
            f"{value['time']} is more than five minutes ahead of {format_time(now)}",
        )

    if "data" not in value:
        yield "not-a-cloudevent", "/data", "`data` is required"
    elif cls is not None:
        try:
            found = [*islice(_data(value["data"], cls), SPOTS_TOLD_MAX)]
        except RecursionError:
            found = [("/data", "is nested too deeply")]
        yield from (("invalid-event", pointer, message) for pointer, message in found)
        subject = value.get("subject")
        if not found and isinstance(subject, str):
            event = msgspec.convert(value["data"], cls)
            if subject != event.subject:
                yield (
                    "invalid-event",
                    "/subject",
                    f"{subject[:200]!r} is not the subject of the data, which is {event.subject!r}",
                )


def _envelope(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name in ("specversion", "id", "source", "type"):
        if value.get(name) is None:
            yield f"/{name}", f"`{name}` is required"
    if value.get("specversion") not in (None, "1.0"):
        yield "/specversion", 'this ledger speaks CloudEvents "1.0"'
    if "data_base64" in value:
        yield "/data_base64", "the data of an event is a JSON object in `data`"

    for name, item in value.items():
        pointer = "/" + _escape(name)
        if name in ("data", "data_base64", "specversion") or item is None:
            continue
        if name in LEDGER_ATTRIBUTES:
            yield pointer, f"`{name}` is given by the ledger"
        elif not _EXTENSION.fullmatch(name):
            yield pointer, "the name of an attribute is 1 to 40 lower-case letters and digits"
        elif name in ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema"):
            if not isinstance(item, str):
                yield pointer, "must be a string"
            elif not item or _CONTROL.search(item):
                yield pointer, "must not be empty or have control characters (a line break is one)"
            elif name == "source" and not _SOURCE.fullmatch(item):
                yield pointer, "a source is a URI reference of at most 200 printable ASCII characters"
            elif name == "time" and _time_or_none(item) is None:
                yield pointer, _NO_TIME
            elif name == "datacontenttype" and not _JSON_TYPE.fullmatch(item):
                yield pointer, "the data of this ledger's events is application/json"
        elif name == "recordedtime" and _time_or_none(item) is None:
            yield pointer, _NO_TIME
        elif name == "recordedtime" and value.get("sourcerecordedtime") is not None:
            yield pointer, "`recordedtime` is kept as `sourcerecordedtime`, which is given too"
        elif name == "sourcerecordedtime" and _time_or_none(item) is None:
            yield pointer, _NO_TIME
        elif name == "expectedversion":
            whole = isinstance(item, int) and not isinstance(item, bool) and item >= 0
            if not whole and not (isinstance(item, str) and _VERSION.fullmatch(item)):
                yield pointer, "an expected version is a whole number; 0 means that the stream must be new"
        elif isinstance(item, str):
            if _CONTROL.search(item):
                yield pointer, "must not have control characters"
            elif len(item) > 1_000:
                yield pointer, "an extension attribute has at most 1000 characters"
        elif isinstance(item, bool):
            pass
        elif not isinstance(item, int) or not -(2**31) <= item < 2**31:
            yield pointer, "an extension attribute is a string, a boolean or a 32-bit integer"


def _data(data: Any, cls: type[Event]) -> Iterator[tuple[str, str]]:
    """Each spot of the data that its type refuses: JSON pointer and message."""
    sealed = SEALED_FIELDS[str(cls.__struct_config__.tag)]
    spotless = False
    if isinstance(data, dict) and "@type" in data:
        yield "/data/@type", "unknown field"
        data = {name: item for name, item in data.items() if name != "@type"}
    try:
        event = msgspec.convert(data, cls)
        spotless = True
        yield from _days(event)
    except msgspec.ValidationError:
        if _deeper_than(DATA_LEVELS_MAX, data):
            yield "/data", f"nests more than {DATA_LEVELS_MAX} levels"
            return
        yield from _violations(data, cls, "/data")
    if isinstance(data, dict):
        for name in sealed:
            if spotless and isinstance(data.get(name), dict):
                yield f"/data/{name}", "is sealed by the ledger; send the text"
        if b"\\u0000" in canonical(data):
            yield from nuls(data, "/data")


def _days(event: Event) -> Iterator[tuple[str, str]]:
    for field in msgspec.structs.fields(event):
        day = getattr(event, field.name)
        if isinstance(day, date) and not in_range(day):
            yield f"/data/{field.encode_name}", f"must lie between the years {YEAR_MIN} and {YEAR_MAX}"


def _deeper_than(levels: int, value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_deeper_than(levels - 1, part) for part in parts)


def _violations(value: Any, hint: Any, pointer: str) -> Iterator[tuple[str, str]]:
    try:
        msgspec.convert(value, hint)
        return
    except msgspec.ValidationError as error:
        whole = error

    inner = _inside(hint, value)
    found = False
    if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, Struct):
        hints = get_type_hints(inner, include_extras=True)
        fields = {field.encode_name: field for field in msgspec.structs.fields(inner)}
        tag_field = inner.__struct_config__.tag_field
        for name in value:
            if name not in fields and name != tag_field:
                found = True
                yield f"{pointer}/{_escape(name)}", "unknown field"
        for name, field in fields.items():
            if name not in value:
                if field.required:
                    found = True
                    yield f"{pointer}/{_escape(name)}", "is required"
                continue
            for violation in _violations(value[name], hints[field.name], f"{pointer}/{_escape(name)}"):
                found = True
                yield violation
    elif isinstance(value, list) and get_origin(inner) is list:
        for number, item in enumerate(value):
            for violation in _violations(item, get_args(inner)[0], f"{pointer}/{number}"):
                found = True
                yield violation
    elif isinstance(value, dict) and get_origin(inner) is dict:
        name_hint, item_hint = get_args(inner)
        for name, item in value.items():
            spot = f"{pointer}/{_escape(name)}"
            for violation in (*_violations(name, name_hint, spot), *_violations(item, item_hint, spot)):
                found = True
                yield violation
    if not found:
        yield _spot(whole, pointer, inner)


def _inside(hint: Any, value: Any) -> Any:
    """The struct or list type in `hint` that `value` is meant to be: annotations off, the union's member chosen."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) not in (Union, UnionType):
        return hint
    members = [_inside(member, value) for member in get_args(hint)]
    if isinstance(value, list):
        return next((member for member in members if get_origin(member) is list), None)
    structs = [member for member in members if isinstance(member, type) and issubclass(member, Struct)]
    tagged = [
        member
        for member in structs
        if isinstance(value, dict)
        and member.__struct_config__.tag is not None
        and value.get(str(member.__struct_config__.tag_field)) == member.__struct_config__.tag
    ]
    if tagged:
        return tagged[0]
    return structs[0] if len(structs) == 1 else None


def _spot(error: msgspec.ValidationError, pointer: str, hint: Any) -> tuple[str, str]:
    match = _AT.match(str(error))
    assert match is not None  # The pattern matches every text.
    message, path = match["message"], match["path"] or "$"
    named = _NAMED.search(message)
    if path == "$" and named and isinstance(hint, type) and issubclass(hint, Struct):
        # What a struct says of several members is told at the first that it names.
        return f"{pointer}/{named[1]}" if named[1] in _member_names(hint) else pointer, message
    regex = _REGEX.fullmatch(message)
    if regex:
        pattern = regex[1].replace("\\\\", "\\")
        message = {
            ID_PATTERN: "an id is 1 to 100 of A-Z a-z 0-9 . _ ~ : @ -, first a letter or digit",
            r"\S": "must not be blank",
        }.get(pattern, f"must match {pattern}")
    steps = re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path.removeprefix("key in ").removeprefix("$"))
    return pointer + "".join(
        f"/{_escape(name)}" if name else f"/{number}" for name, number in steps if number != "..."
    ), (message)


def _member_names(struct: type[Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(struct)}


def nuls(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Each spot of a JSON value that holds U+0000, which PostgreSQL does not take: JSON pointer and message."""
    match value:
        case str():
            if "\0" in value:
                yield pointer, "must not contain the character U+0000"
        case dict():
            for name, item in value.items():
                if "\0" in name:
                    yield pointer, "a name must not contain the character U+0000"
                yield from nuls(item, f"{pointer}/{_escape(name)}")
        case list():
            for number, item in enumerate(value):
                yield from nuls(item, f"{pointer}/{number}")


def _escape(name: str) -> str:
    """One step of a JSON pointer (RFC 6901)."""
    return name.replace("~", "~0").replace("/", "~1")


# Times, order and content


def _time(value: str) -> datetime:
    time: datetime = msgspec.convert(value, datetime)
    if time.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return time.astimezone(UTC)


def _time_or_none(value: Any) -> datetime | None:
    try:
        time = _time(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
    return time if time is not None and in_range(time) else None


def _ordered(attributes: dict[str, Any]) -> dict[str, Any]:
    first = {name: attributes[name] for name in _FIRST if name in attributes}
    return first | {name: attributes[name] for name in sorted(attributes.keys() - first.keys())}


def _content(attributes: dict[str, Any], time: datetime | None, data: Any) -> bytes:
    """SHA-256 of the decoded event. A header carries text only, so attributes are compared as text."""
    texts = {
        name: item if isinstance(item, str) else canonical(item).decode()
        for name, item in attributes.items()
        if name not in _NOT_CONTENT
    }
    if time is not None:
        texts["time"] = format_time(time)
    return sha256(canonical({"attributes": texts, "data": _plain_numbers(data)})).digest()


def _plain_numbers(value: Any) -> Any:
    """1.0 and 1 are the same JSON number."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {name: _plain_numbers(item) for name, item in value.items()}
        case list():
            return [_plain_numbers(item) for item in value]
        case _:
            return value


# Reading what was stored


def _tolerant(data: Any, cls: type[Event]) -> Event:
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError:
        return msgspec.convert(_known(data, cls), cls)


def _known(value: Any, hint: Any) -> Any:
    """`value` without the members that this version of its type does not have."""
    inner = _inside(hint, value)
    if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, Struct):
        hints = get_type_hints(inner, include_extras=True)
        fields = {field.encode_name: field.name for field in msgspec.structs.fields(inner)}
        known = {name: _known(value[name], hints[fields[name]]) for name in value.keys() & fields.keys()}
        tag_field = inner.__struct_config__.tag_field
        return known | ({tag_field: value[tag_field]} if tag_field in value else {})
    if isinstance(value, list) and get_origin(inner) is list:
        return [_known(item, get_args(inner)[0]) for item in value]
    return value
