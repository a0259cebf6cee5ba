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
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from itertools import islice, takewhile
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from schemas.envelope import Recorded, Refusal, Sent, event_identity
from schemas.events import EVENT_TYPES, AskRecorded, Event
from schemas.objections import DATA_LEVELS_MAX, SPOTS_TOLD_MAX, deeper_than, is_plain, meant, objections, understood
from schemas.times import format_time, read_time
from schemas.upcasts import UPCASTS, Upcast, upcast

EVENT_BYTES_MAX = 60 * 1024
BATCH_EVENTS_MAX = 1_000  # Of one request: it is recorded whole, or not at all.
EVENT_LEVELS_MAX = DATA_LEVELS_MAX + 1
EXACT_MAX = 2**53  # Beyond it a float is no longer one whole number.
STORED_BYTES_MAX = 65_535  # A C2SP tile entry has a length of 16 bits.

_NOT_CONTENT = {"traceparent", "tracestate", "expectedversion", "subject"}  # The subject follows from the data.
_FIRST = ("specversion", "id", "source", "type", "subject", "time", "dataschema")

# An escape of JSON: a surrogate pair, half of one, or any other.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)

# Both are how a float that is a whole number can look in the canonical form; a text may look like it, too.
_FRACTION = b".0"
_EXPONENT = re.compile(rb"e[0-9]")

_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder()
_array_decoder = msgspec.json.Decoder(list[msgspec.Raw])


class MalformedJson(ValueError):
    """The bytes are not JSON. The message says where."""


class NotAnArray(ValueError):
    """The bytes are JSON, and no array."""


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


def elements(body: bytes) -> tuple[int, Iterator[Any]]:
    """How many elements the JSON array `body` has, and these, each decoded when it is asked for: of a long one only
    the bytes are held. Raises MalformedJson, when there is something to raise; and NotAnArray."""
    try:
        found = _array_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        parse(body)
        raise NotAnArray from None
    return len(found), _decoded(found, body)


def _decoded(found: list[msgspec.Raw], body: bytes) -> Iterator[Any]:
    for each in found:
        try:
            yield _decoder.decode(each)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            parse(body)  # It says where, as counted from the first byte.
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
        message = "a CloudEvent is a JSON object"
        return [Refusal(problem="not-a-cloudevent", message=message, plain=message, index=index)]

    event = understood(value)
    encoded = b"" if event is None else canonical(value["data"])
    if event is not None and is_plain(value, event, encoded, now):
        return _plain(value, event, encoded, upcasts)
    found = [*islice(objections(value, event, now, index), spots_max)]
    if found and not deeper_than(EVENT_LEVELS_MAX, value) and (exact := _exact_numbers(value)) is not value:
        # To JSON 3.0 is the number 3, and some emitters write every number with a fraction.
        value, event = exact, understood(exact)
        encoded = canonical(value.get("data"))
        found = [*islice(objections(value, event, now, index), spots_max)]
    if found:
        return found

    assert event is not None
    given = {name: item for name, item in value.items() if item is not None and name != "data"}
    time = read_time(given["time"]) if "time" in given else None
    if "recordedtime" in given:
        given["sourcerecordedtime"] = given.pop("recordedtime")
    expected = given.pop("expectedversion", None)
    given.pop("datacontenttype", None)
    event = _newest(value, event, upcasts)
    identity = event_identity(given["source"], given["id"])
    return Sent(
        id=given["id"],
        source=given["source"],
        type=given["type"],
        subject=event.subject,
        time=time,
        expected_version=None if expected is None else int(expected),
        content=_content(_texts(given, time), _without_fractions(value["data"], encoded)),
        attributes=_ordered(given | {"subject": event.subject}),
        data=value["data"],
        event=_with_ask(event, identity) if _lacks_ask(event) else event,
        identity=identity,
    )


def _plain(value: dict[str, Any], event: Event, encoded: bytes, upcasts: Mapping[str, Upcast]) -> Sent:
    """The same of an event that `is_plain`: it has no attributes but those that most have, so none is looked for."""
    event = _newest(value, event, upcasts)
    id, source, type, subject = value["id"], value["source"], value["type"], event.subject
    texts = {"specversion": "1.0", "id": id, "source": source, "type": type}
    attributes = {**texts, "subject": subject}
    time = None
    if (given := value.get("time")) is not None:
        time = read_time(given)
        texts["time"], attributes["time"] = format_time(time), given
    identity = event_identity(source, id)
    return Sent(
        id=id,
        source=source,
        type=type,
        subject=subject,
        time=time,
        expected_version=None,
        content=_content(texts, _without_fractions(value["data"], encoded) if _takes_fractions(type) else encoded),
        attributes=attributes,
        data=value["data"],
        event=_with_ask(event, identity) if _lacks_ask(event) else event,
        identity=identity,
    )


def _newest(value: dict[str, Any], event: Event, upcasts: Mapping[str, Upcast]) -> Event:
    """The event as the newest version of its type has it."""
    if value["type"] not in upcasts:
        return event
    name, data = upcast(value["type"], value["data"], upcasts)
    return msgspec.convert(data, EVENT_TYPES[name])


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
        stored = _stored_decoder.decode(state)
        name, event = _stored_event(stored, upcasts)
        return Recorded(
            position=int(stored.sequence),
            version=stored.streamversion,
            id=stored.id,
            source=stored.source,
            type=name,
            subject=stored.subject,
            time=stored.time.astimezone(UTC),
            recordedtime=stored.recordedtime.astimezone(UTC),
            authid=stored.authid,
            authtype=stored.authtype,
            event=_with_ask(event, event_identity(stored.source, stored.id)) if _lacks_ask(event) else event,
            sourcerecordedtime=stored.sourcerecordedtime,
        )
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, Undecodable):
            raise
        raise Undecodable(f"stored event: {type(error).__name__}: {error}") from error


def stored_content(value: dict[str, Any], clear: Mapping[str, str]) -> bytes:
    """The content of a recorded event, from its decoded stored bytes, whose members are in their order.

    `clear`: the texts of its sealed fields. Raises KeyError, TypeError or ValueError if it is no recorded event.
    """
    given = {name: value[name] for name in takewhile(lambda name: name != "data", value)}
    time = read_time(given["time"]) if "time" in given else None
    data = value["data"] | clear
    return _content(_texts(given, time), _without_fractions(data, canonical(data)))


def _lacks_ask(event: Event) -> bool:
    return type(event) is AskRecorded and event.ask is None  # isinstance of a Struct is a call into Python.


def _with_ask(event: Event, identity: bytes) -> Event:
    """An ask that came without an id of its own has one that follows from the event's: 32 hexadecimal digits. It is
    set where it belongs: the event was decoded a moment ago, and nobody else has it."""
    msgspec.structs.force_setattr(event, "ask", identity.hex())
    return event


# Order and content


def _ordered(attributes: dict[str, Any]) -> dict[str, Any]:
    first = {name: attributes[name] for name in _FIRST if name in attributes}
    if len(first) == len(attributes):
        return first
    return first | {name: attributes[name] for name in sorted(attributes.keys() - first.keys())}


def _texts(attributes: Mapping[str, Any], time: datetime | None) -> dict[str, str]:
    """The attributes that are content. A header carries text only, so they are compared as text."""
    texts = {
        name: item if isinstance(item, str) else canonical(item).decode()
        for name, item in attributes.items()
        if name not in _NOT_CONTENT
    }
    if time is not None:
        texts["time"] = format_time(time)
    return texts


def _content(texts: dict[str, str], data: bytes) -> bytes:
    """SHA-256 of the decoded event. `data`: in canonical form, `_without_fractions`."""
    return sha256(b'{"attributes":%s,"data":%s}' % (canonical(texts), data)).digest()


def _without_fractions(data: Any, encoded: bytes) -> bytes:
    """The data in canonical form, with whole numbers that came with a fraction as integers."""
    if _FRACTION in encoded or _EXPONENT.search(encoded):
        return canonical(_plain_numbers(data))
    return encoded


@cache  # It is one look for each class, where bytes of each event would be searched.
def _takes_fractions(type: str) -> bool:
    """Whether data of this type of event may hold a number with a fraction: fields that are not in it are refused."""
    return b'"number"' in msgspec.json.encode(msgspec.json.schema(EVENT_TYPES[type]))


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


def _exact_numbers(value: Any) -> Any:
    """The value with whole numbers that came with a fraction as integers; the value itself if there are none."""
    match value:
        case float() if value.is_integer() and abs(value) <= EXACT_MAX:
            return int(value)
        case dict():
            items: Any = {name: _exact_numbers(item) for name, item in value.items()}
            return items if any(items[name] is not item for name, item in value.items()) else value
        case list():
            items = [_exact_numbers(item) for item in value]
            return items if any(new is not item for new, item in zip(items, value, strict=True)) else value
        case _:
            return value


# Reading what was stored

_Instant = Annotated[datetime, Meta(tz=True)]


class _Stored(Struct, frozen=True):
    """What is read of stored bytes in one pass; of the data it finds where they end."""

    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: _Instant
    data: msgspec.Raw
    authid: str
    authtype: str
    recordedtime: _Instant
    sequence: str
    streamversion: int
    sourcerecordedtime: str | None = None


_stored_decoder = msgspec.json.Decoder(_Stored)
_data_decoders = {name: msgspec.json.Decoder(cls) for name, cls in EVENT_TYPES.items()}


def _stored_event(stored: _Stored, upcasts: Mapping[str, Upcast]) -> tuple[str, Event]:
    """The newest type of a stored event, and what it says."""
    if stored.type not in upcasts and (decoder := _data_decoders.get(stored.type)) is not None:
        try:
            return stored.type, decoder.decode(stored.data)
        except msgspec.ValidationError:
            pass  # A newer version may have added fields.
    name, data = upcast(stored.type, _decoder.decode(stored.data), upcasts)
    cls = EVENT_TYPES.get(name)
    if cls is None:
        raise Undecodable(f"no such event type in this version: {name}")
    return name, _tolerant(data, cls)


def _tolerant(data: Any, cls: type[Event]) -> Event:
    try:
        return msgspec.convert(data, cls)
    except msgspec.ValidationError:
        return msgspec.convert(_known(data, cls), cls)


def _known(value: Any, hint: Any) -> Any:
    """`value` without the members that this version of its type does not have."""
    inner = meant(hint, value)
    if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, Struct):
        hints = get_type_hints(inner, include_extras=True)
        fields = {field.encode_name: field.name for field in msgspec.structs.fields(inner)}
        known = {name: _known(value[name], hints[fields[name]]) for name in value.keys() & fields.keys()}
        tag_field = inner.__struct_config__.tag_field
        return known | ({tag_field: value[tag_field]} if tag_field in value else {})
    if isinstance(value, list) and get_origin(inner) is list:
        return [_known(item, get_args(inner)[0]) for item in value]
    return value
