"""What speaks against an event: every spot that its envelope or its type refuses, in the order of its reading."""

import re
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from functools import cache, lru_cache
from itertools import islice
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo

from schemas.envelope import Refusal
from schemas.events import EVENT_TYPES, SEALED_FIELDS, Event
from schemas.times import format_time, usable_time
from schemas.values import ID_PATTERN, SOURCE_PATTERN, YEAR_MAX, YEAR_MIN, Sealed, in_range

TIME_AHEAD_MAX = timedelta(minutes=5)
# What bounds the work that a refused event costs: how many of its spots are told, and from how deep.
SPOTS_TOLD_MAX = 100
SOURCES_REMEMBERED_MAX = 1_000
DATA_LEVELS_MAX = 32  # No event nests half as deep; what does is refused before it is looked into.

UNKNOWN_FIELD = "unknown field"
_PLAIN = frozenset(("specversion", "id", "source", "type", "subject", "time", "data"))
_DEFINED = frozenset(("id", "source", "type", "subject", "time", "datacontenttype", "dataschema"))
LEDGER_ATTRIBUTES = ("sequence", "streamversion", "authid", "authtype")

_ID = re.compile(ID_PATTERN)
_SOURCE = re.compile(SOURCE_PATTERN)
_EXTENSION = re.compile(r"[a-z0-9]{1,40}")
_VERSION = re.compile(r"0|[1-9][0-9]{0,9}")
_NUL = b"\\u0000"  # As JSON has it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_JSON_TYPE = re.compile(r"application/([a-z0-9.+-]+\+)?json\s*(;\s*charset=\"?utf-8\"?\s*)?", re.IGNORECASE)
_AT = re.compile(r"^(?P<message>.*?)(?: - at `(?P<path>[^`]*)`)?$", re.DOTALL)
_NAMED = re.compile(r"`(\w+)`")
_REGEX = re.compile(r"Expected `str` matching regex '(.*)'", re.DOTALL)
_NOT_ALLOWED = re.compile(r"Invalid (enum )?value '", re.DOTALL)

_NO_ID = "an id is 1 to 100 of A-Z a-z 0-9 . _ ~ : @ -, first a letter or digit"
_SEALED_HERE = "is sealed by the ledger; send the text"
_NO_TIME = (
    f"must be an RFC 3339 time with its zone, as 2026-11-21T10:00:00Z, between the years {YEAR_MIN} and {YEAR_MAX}"
)


class _Spot(Struct, frozen=True):
    """A spot of the data that its type refuses. `quotes`: whether the message may hold what was sent."""

    pointer: str
    message: str
    quotes: bool = False


def understood(value: dict[str, Any]) -> Event | None:
    """The typed data of a decoded CloudEvent; None if its type refuses them, or there is no such type."""
    name, data = value.get("type"), value.get("data")
    cls = EVENT_TYPES.get(name) if isinstance(name, str) else None
    if cls is None or not isinstance(data, dict) or "@type" in data:
        return None
    try:
        return msgspec.convert(data, cls)
    except (msgspec.ValidationError, RecursionError):
        return None


def is_plain(value: dict[str, Any], event: Event, data: bytes, now: datetime) -> bool:
    """Whether a decoded CloudEvent is as most are, and nothing speaks against it: in one look, of what `objections`
    looks for one by one. `event`: its data as they are `understood`; `data`: the same as JSON."""
    if not value.keys() <= _PLAIN or value.get("specversion") != "1.0":
        return False
    id, source, subject, time = value.get("id"), value.get("source"), value.get("subject"), value.get("time")
    if not isinstance(id, str) or not _ID.search(id) or not isinstance(source, str) or not _is_source(source):
        return False
    if subject is not None and (subject != event.subject or _has_control(subject)):
        return False
    if time is not None and ((at := usable_time(time)) is None or at > now + TIME_AHEAD_MAX):
        return False
    # One byte is found in a tenth of the time that six take.
    if (b"\\" in data and _NUL in data) or (_fields_of_days(type(event)) and any(_days(event))):
        return False
    sealed = SEALED_FIELDS[value["type"]]
    return not sealed or not any(isinstance(value["data"].get(name), dict) for name in sealed)


def objections(value: dict[str, Any], event: Event | None, now: datetime, index: int = 0) -> Iterator[Refusal]:
    """Each spot of a decoded CloudEvent that cannot be recorded. `event`: its data as they are `understood`; `index`:
    its place in its request."""
    for pointer, message in _envelope(value):
        yield Refusal(problem="not-a-cloudevent", pointer=pointer, message=message, plain=message, index=index)

    name = value.get("type")
    cls = EVENT_TYPES.get(name) if isinstance(name, str) else None
    if isinstance(name, str) and name and cls is None:
        message = f"no such event type: {name[:200]!r}; GET /v1/schemas lists them"
        yield Refusal(problem="unknown-type", pointer="/type", message=message, index=index)

    given_id = value.get("id")
    if isinstance(given_id, str) and given_id and not _ID.search(given_id) and not _has_control(given_id):
        yield Refusal(problem="invalid-event", pointer="/id", message=_NO_ID, plain=_NO_ID, index=index)

    time = usable_time(value["time"]) if "time" in value else None
    if time is not None and time > now + TIME_AHEAD_MAX:
        message = f"{value['time']} is more than five minutes ahead of {format_time(now)}"
        yield Refusal(problem="time-in-future", pointer="/time", message=message, index=index)

    if "data" not in value:
        message = "`data` is required"
        yield Refusal(problem="not-a-cloudevent", pointer="/data", message=message, plain=message, index=index)
    elif cls is not None:
        try:
            found = [*islice(_data(value["data"], cls, event), SPOTS_TOLD_MAX)]
        except RecursionError:
            found = [_Spot("/data", "is nested too deeply")]
        for spot in found:
            plain = "" if spot.quotes else spot.message
            yield Refusal(problem="invalid-event", pointer=spot.pointer, message=spot.message, plain=plain, index=index)
        subject = value.get("subject")
        if not found and event is not None and isinstance(subject, str) and subject != event.subject:
            message = f"{subject[:200]!r} is not the subject of the data, which is {event.subject!r}"
            plain = "it is not the subject of the data"
            yield Refusal(problem="invalid-event", pointer="/subject", message=message, plain=plain, index=index)


def spots(value: Any, hint: Any) -> Iterator[tuple[str, str]]:
    """Each spot of a decoded JSON value that a type refuses: JSON pointer and message."""
    if deeper_than(DATA_LEVELS_MAX, value):
        yield "", f"nests more than {DATA_LEVELS_MAX} levels"
        return
    try:
        msgspec.convert(value, hint)
    except msgspec.ValidationError:
        yield from ((spot.pointer, spot.message) for spot in islice(_violations(value, hint, ""), SPOTS_TOLD_MAX))
    yield from nuls(value, "")


def _envelope(value: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Each spot beside the data: JSON pointer and message. No message quotes what was sent."""
    for name in ("specversion", "id", "source", "type"):
        if value.get(name) is None:
            yield f"/{name}", f"`{name}` is required"
    if value.get("specversion") not in (None, "1.0"):
        yield "/specversion", 'this ledger speaks CloudEvents "1.0"'
    if "data_base64" in value:
        yield "/data_base64", "the data of an event is a JSON object in `data`"

    for name, item in value.items():
        if name in ("data", "data_base64", "specversion") or item is None:
            continue
        message = _amiss(name, item, value)
        if message is not None:
            yield "/" + _escape(name), message


def _amiss(name: str, item: Any, value: dict[str, Any]) -> str | None:
    """What is wrong with an attribute of an event, if something is."""
    if name in _DEFINED:
        if not isinstance(item, str):
            return "must be a string"
        if not item or _has_control(item):
            return "must not be empty or have control characters (a line break is one)"
        if name == "source" and not _SOURCE.search(item):
            return "a source is a URI reference of at most 200 printable ASCII characters"
        if name == "time" and usable_time(item) is None:
            return _NO_TIME
        if name == "datacontenttype" and not _JSON_TYPE.fullmatch(item):
            return "the data of this ledger's events is application/json"
    elif name in LEDGER_ATTRIBUTES:
        return f"`{name}` is given by the ledger"
    elif not _EXTENSION.fullmatch(name):
        return "the name of an attribute is 1 to 40 lower-case letters and digits"
    elif name in ("recordedtime", "sourcerecordedtime") and usable_time(item) is None:
        return _NO_TIME
    elif name == "recordedtime":
        if value.get("sourcerecordedtime") is not None:
            return "`recordedtime` is kept as `sourcerecordedtime`, which is given too"
    elif name == "expectedversion":
        whole = isinstance(item, int) and not isinstance(item, bool) and item >= 0
        if not whole and not (isinstance(item, str) and _VERSION.fullmatch(item)):
            return "an expected version is a whole number; 0 means that the stream must be new"
    elif isinstance(item, str):
        if _has_control(item):
            return "must not have control characters"
        if len(item) > 1_000:
            return "an extension attribute has at most 1000 characters"
    elif not isinstance(item, bool) and (not isinstance(item, int) or not -(2**31) <= item < 2**31):
        return "an extension attribute is a string, a boolean or a 32-bit integer"
    return None


@lru_cache(maxsize=SOURCES_REMEMBERED_MAX)  # Most events are of a few.
def _is_source(text: str) -> bool:
    return _SOURCE.search(text) is not None


def _has_control(text: str) -> bool:
    return not text.isprintable() and _CONTROL.search(text) is not None


def _data(data: Any, cls: type[Event], event: Event | None) -> Iterator[_Spot]:
    """Each spot of the data that its type refuses; none does if they are the data of `event`."""
    sealed = SEALED_FIELDS[str(cls.__struct_config__.tag)]
    spotless = False
    if isinstance(data, dict) and "@type" in data:
        yield _Spot("/data/@type", UNKNOWN_FIELD)
        data = {name: item for name, item in data.items() if name != "@type"}
    try:
        event = msgspec.convert(data, cls) if event is None else event
        spotless = True
        yield from _days(event)
    except msgspec.ValidationError:
        if deeper_than(DATA_LEVELS_MAX, data):
            yield _Spot("/data", f"nests more than {DATA_LEVELS_MAX} levels")
            return
        yield from _violations(data, cls, "/data")
    if isinstance(data, dict):
        for name in sealed:
            if spotless and isinstance(data.get(name), dict):
                yield _Spot(f"/data/{name}", _SEALED_HERE)
        if _NUL in msgspec.json.encode(data):
            yield from (_Spot(pointer, message) for pointer, message in nuls(data, "/data"))


def _days(event: Event) -> Iterator[_Spot]:
    for field in _fields_of_days(type(event)):
        day = getattr(event, field.name)
        if day is not None and not in_range(day):
            yield _Spot(f"/data/{field.encode_name}", f"must lie between the years {YEAR_MIN} and {YEAR_MAX}")


@cache  # To look a class up takes longer than to decode its event.
def _fields_of_days(cls: type[Event]) -> tuple[FieldInfo, ...]:
    return tuple(field for field in msgspec.structs.fields(cls) if date in (field.type, *get_args(field.type)))


def deeper_than(levels: int, value: Any) -> bool:
    """Whether a JSON value nests more than so many levels; it is not looked into beyond them."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(deeper_than(levels - 1, part) for part in parts)


def _violations(value: Any, hint: Any, pointer: str) -> Iterator[_Spot]:
    try:
        msgspec.convert(value, hint)
        return
    except msgspec.ValidationError as error:
        whole = error

    inner = meant(hint, value)
    found = False
    if inner is Sealed and not isinstance(value, str):
        yield _Spot(pointer, _SEALED_HERE)  # Not what is inside: its names could be the text.
        return
    if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, Struct):
        hints = get_type_hints(inner, include_extras=True)
        fields = {field.encode_name: field for field in msgspec.structs.fields(inner)}
        tag_field = inner.__struct_config__.tag_field
        for name in value:
            if name not in fields and name != tag_field:
                found = True
                yield _Spot(f"{pointer}/{_escape(name)}", UNKNOWN_FIELD)
        for name, field in fields.items():
            if name not in value:
                if field.required:
                    found = True
                    yield _Spot(f"{pointer}/{_escape(name)}", "is required")
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
        yield _spot(whole, pointer, hint, inner)


def _spot(error: msgspec.ValidationError, pointer: str, hint: Any, inner: Any) -> _Spot:
    match = _AT.match(str(error))
    assert match is not None  # The pattern matches every text.
    message, path = match["message"], match["path"] or "$"
    # Our types quote nothing, and msgspec names what it expected; in other words it quotes what it got.
    quotes = error.__cause__ is None and not message.startswith("Expected `")
    if quotes and _NOT_ALLOWED.match(message) and (values := allowed(hint)):
        message, quotes = f"must be one of {', '.join(values)}", False
    named = _NAMED.search(message)
    if path == "$" and named and isinstance(inner, type) and issubclass(inner, Struct):
        # What a struct says of several members is told at the first that it names.
        return _Spot(f"{pointer}/{named[1]}" if named[1] in _member_names(inner) else pointer, message, quotes)
    regex = _REGEX.fullmatch(message)
    if regex:
        pattern = regex[1].replace("\\\\", "\\")
        message = {
            ID_PATTERN: _NO_ID,
            r"\S": "must not be blank",
        }.get(pattern, f"must match {pattern}")
    steps = re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path.removeprefix("key in ").removeprefix("$"))
    below = "".join(f"/{_escape(name)}" if name else f"/{number}" for name, number in steps if number != "...")
    return _Spot(pointer + below, message, quotes)


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


def allowed(hint: Any) -> list[str]:
    """The texts that a value of this type may be, if it is one of a few; of structs, those that tell them apart."""
    if get_origin(hint) is Annotated:
        return allowed(get_args(hint)[0])
    if get_origin(hint) is Literal:
        return [str(each) for each in get_args(hint)]
    if get_origin(hint) in (Union, UnionType):
        return [*dict.fromkeys(each for member in get_args(hint) for each in allowed(member))]
    if hint is bool:
        return ["true", "false"]
    tag = hint.__struct_config__.tag if isinstance(hint, type) and issubclass(hint, Struct) else None
    return [] if tag is None else [str(tag)]


def meant(hint: Any, value: Any) -> Any:
    """The struct or list type in `hint` that `value` is meant to be: annotations off, the union's member chosen."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) not in (Union, UnionType):
        return hint
    members = [meant(member, value) for member in get_args(hint)]
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
