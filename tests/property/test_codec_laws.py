"""Laws of the codec: what is sent comes back from the stored bytes, however it was spelled."""

import json
import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.codec import (
    MalformedJson,
    canonical,
    close_record,
    decode_recorded,
    open_record,
    parse,
    read_event,
    stored_content,
)
from schemas.envelope import Refusal, Sent
from schemas.events import EVENT_TYPES
from schemas.examples import EXAMPLES
from schemas.objections import TIME_AHEAD_MAX, is_plain, nuls, objections, understood
from schemas.times import format_time
from services.sealing import MasterKey, seal, unseal

# On a busy machine time says nothing about the code.
patient = settings(suppress_health_check=[HealthCheck.too_slow])

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
MASTER = MasterKey(bytes(32))

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~:@-]{0,20}", fullmatch=True)
unicode = st.characters(exclude_categories=["Cs"])
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
lines = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
texts = st.text(characters, max_size=20)
words = st.text(characters, min_size=1, max_size=40).filter(lambda text: re.search(r"\S", text) is not None)
numbers = st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
values = st.one_of(st.none(), st.booleans(), numbers, texts, st.lists(texts, max_size=3))
signers = st.fixed_dictionaries({"role": words, "team": words}, optional={"person": ids})
links = st.lists(st.fixed_dictionaries({"system": words, "id": words}), max_size=3)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(datetime(1970, 1, 2), datetime(2026, 11, 20), timezones=zones)  # noqa: DTZ001  The zones are drawn.


MADE_UP = {
    "account.profiled": st.fixed_dictionaries(
        {"account": ids, "attributes": st.dictionaries(words, values, max_size=5)}, optional={"name": words}
    ),
    "ask.recorded": st.fixed_dictionaries(
        {"requirement": ids, "account": ids},
        optional={
            "importance": st.integers(0, 3),
            "quote": words,
            "contact": ids,
            "labels": st.dictionaries(texts.filter(bool), texts, max_size=3),
            "needed_by": st.dates(date(1900, 1, 1), date(9998, 12, 31)).map(date.isoformat),
            "by": st.none() | signers,
        },
    ),
    "requirement.raised": st.fixed_dictionaries(
        {"requirement": ids, "title": words}, optional={"problem": words, "links": links}
    ),
    "person.introduced": st.fixed_dictionaries(
        {"person": ids, "name": words}, optional={"email": words.map(lambda text: text + "@x"), "role": words}
    ),
}
datas = st.one_of(
    st.sampled_from([*EXAMPLES.items()]),
    *(st.tuples(st.just(f"ledger.{name}.v1"), data) for name, data in MADE_UP.items()),
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    """Any event that the edge takes: one of the examples, or one made up."""
    name, said = draw(datas)
    envelope = {
        "specversion": "1.0",
        "id": draw(ids),
        "source": draw(st.from_regex(r"[!-~]{1,30}", fullmatch=True)),
        "type": name,
        "data": said,
    }
    more = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "time": times.map(datetime.isoformat),
                "recordedtime": times.map(datetime.isoformat),
                "correlationid": lines,
                "own": st.one_of(st.booleans(), st.integers(-(2**31), 2**31 - 1), lines),
                "expectedversion": st.integers(0, 9),
            },
        )
    )
    return envelope | more


def taken(value: Any) -> Sent:
    sent = read_event(value, now=NOW)
    assert isinstance(sent, Sent), sent
    return sent


places = st.integers(1, 2**63 - 1)
later = st.datetimes(NOW.replace(tzinfo=None), timezones=st.just(UTC))


@patient
@given(events(), later, places, places)
def test_what_is_sent_comes_back_from_the_stored_bytes(value: Any, at: datetime, position: int, version: int):
    sent = taken(value)
    stored, _, key = seal(sent, MASTER)
    opened = open_record(sent, stored, "k-1", "api_key")
    state = close_record(opened, timed=sent.time is not None, recordedtime=at, position=position, version=version)
    recorded = decode_recorded(state)
    for name in ("id", "source", "type", "subject"):
        assert getattr(recorded, name) == getattr(sent, name)
    assert (recorded.position, recorded.version, recorded.recordedtime) == (position, version, at)
    assert recorded.time == (sent.time or at)
    assert recorded.valid_from <= at
    extensions = {"correlationid", "own"} & value.keys()
    kept = msgspec.json.decode(state)
    assert {name: kept[name] for name in extensions} == {name: value[name] for name in extensions}
    assert recorded.sourcerecordedtime == value.get("recordedtime")

    # With its texts opened again, the event is the one that was sent.
    found = msgspec.to_builtins(recorded.event)
    for name, item in found.items():
        if isinstance(item, dict) and item.keys() == {"sealed"} and key is not None:
            found[name] = unseal(item["sealed"], MASTER.unwrap(key), sent.event_uuid, name)
    assert msgspec.convert(found, EVENT_TYPES[sent.type]) == sent.event

    # The bytes are canonical, and a fixed point: what is read from them is written as them.
    whole = msgspec.json.decode(state)
    assert msgspec.json.encode(whole) == state
    assert canonical(whole["data"]) == msgspec.json.encode(whole["data"])

    # And so what was sent is known again by them.
    clear = {name: sent.data[name] for name, item in stored.items() if item != sent.data[name]}
    assert stored_content(whole, clear) == sent.content
    assert bool(clear) == (key is not None)


def respelled(draw: st.DrawFn, value: Any, *, free: bool = False) -> str:
    """A JSON value as another program might write it: order, blanks, escapes, and numbers where any are taken."""
    blank = draw(st.sampled_from(["", " ", "\n", "\t \r\n"]))
    match value:
        case dict():
            names = draw(st.permutations([*value]))
            members = (
                f"{string(draw, name)}{blank}:{blank}{respelled(draw, value[name], free=free or name == 'attributes')}"
                for name in names
            )
            return "{" + blank + f"{blank},{blank}".join(members) + blank + "}"
        case list():
            return "[" + f"{blank},{blank}".join(respelled(draw, item, free=free) for item in value) + blank + "]"
        case str():
            return string(draw, value)
        case bool() | None:
            return json.dumps(value)
        case int() if free and abs(value) < 10**15:
            return draw(st.sampled_from([f"{value}", f"{value}.0", f"{value}.000", f"{value}e0", f"{value * 10}e-1"]))
        case _:
            return json.dumps(value)


def string(draw: st.DrawFn, text: str) -> str:
    """A JSON text with some of its characters escaped."""
    plain = json.dumps(text, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        return plain
    units = text.encode("utf-16-be", "surrogatepass")
    style = draw(st.sampled_from(["04x", "04X"]))
    return '"' + "".join(f"\\u{int.from_bytes(units[n : n + 2]):{style}}" for n in range(0, len(units), 2)) + '"'


@patient
@given(st.data(), events())
def test_an_event_has_the_same_content_however_it_is_spelled(data: st.DataObject, value: Any):
    @st.composite
    def spelling(draw: st.DrawFn) -> str:
        own = {name: item for name, item in value.items() if name != "data"}  # Attributes know no fractions.
        members = [f"{string(draw, name)}: {json.dumps(item)}" for name, item in own.items()]
        members.append(f'"data":{respelled(draw, value["data"])}')
        return "{" + ",".join(draw(st.permutations(members))) + "}"

    found = taken(parse(data.draw(spelling()).encode()))
    assert found.content == taken(value).content
    assert found.event_uuid == taken(value).event_uuid


@patient
@given(events(), times, zones)
def test_a_time_is_the_same_in_every_zone(value: Any, at: datetime, zone: timezone):
    here, there = value | {"time": at.isoformat()}, value | {"time": at.astimezone(zone).isoformat()}
    assert taken(here).content == taken(there).content
    assert taken(here).time == at


@patient
@given(events())
def test_an_event_is_the_same_in_binary_mode(value: Any):
    given = {name: item for name, item in value.items() if name != "data"}
    headers = {name: item if isinstance(item, str) else json.dumps(item) for name, item in given.items()}
    assert taken(headers | {"data": value["data"]}).content == taken(value).content


@patient
@given(st.datetimes(timezones=zones))
def test_a_time_is_written_so_that_texts_sort_as_times(at: datetime):
    try:
        text = format_time(at)
    except OverflowError:
        return  # Beyond the calendar in UTC.
    assert len(text) == 27
    assert datetime.fromisoformat(text) == at


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(unicode)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(unicode), inner, max_size=4),
    max_leaves=20,
)


@patient
@given(
    st.sampled_from([*EVENT_TYPES]), json_values, st.dictionaries(st.text(unicode, max_size=8), json_values, max_size=3)
)
def test_whatever_comes_is_taken_or_refused_at_a_spot_that_there_is(name: str, said: Any, more: Any):
    value = {"specversion": "1.0", "id": "e", "source": "s", "type": name, "data": said} | more
    found = read_event(value, now=NOW)
    if isinstance(found, Sent):
        return
    assert found
    for refusal in found:
        assert isinstance(refusal, Refusal)
        assert refusal.message
        at_its_spot(value, refusal.pointer)


@patient
@given(st.sampled_from([*EXAMPLES.items()]), st.data())
def test_a_spoilt_example_is_refused_at_the_spot_that_was_spoilt(case: tuple[str, Any], data: st.DataObject):
    name, said = case
    spots = [pointer for pointer in pointers(said, "/data") if pointer != "/data"]
    spot = data.draw(st.sampled_from(spots))
    value = {"specversion": "1.0", "id": "e", "source": "s", "type": name, "data": spoilt(said, spot.split("/")[2:])}
    found = read_event(value, now=NOW)
    assert isinstance(found, list), f"{spot} was taken"
    assert any(refusal.pointer == spot or refusal.pointer.startswith(spot + "/") for refusal in found), (spot, found)


def pointers(value: Any, pointer: str) -> list[str]:
    match value:
        case dict():
            return [pointer, *(spot for name, item in value.items() for spot in pointers(item, f"{pointer}/{name}"))]
        case list():
            return [pointer, *(spot for n, item in enumerate(value) for spot in pointers(item, f"{pointer}/{n}"))]
        case _:
            return [pointer]


def spoilt(value: Any, steps: list[str]) -> Any:
    if not steps:
        return {"\0": {}}  # No field is this, and where any names are taken, U+0000 is not.
    step, *rest = steps
    if isinstance(value, list):
        return [spoilt(item, rest) if number == int(step) else item for number, item in enumerate(value)]
    return value | {step: spoilt(value[step], rest)}


def at_its_spot(value: Any, pointer: str) -> None:
    """The pointer leads to a spot of the value, or to a member that is missing there."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]
    for number, step in enumerate(steps):
        match value:
            case dict():
                if step not in value:
                    assert number == len(steps) - 1, pointer
                    return
                value = value[step]
            case list():
                value = value[int(step)]
            case _:
                raise AssertionError(f"{pointer} leads into {value!r}")


odd = st.sampled_from(
    [
        *(None, "", "1.0", "\n", "a\x00", "a\x85", "a b", "é", 7, True, {"sealed": "c2VhbGVk"}, {"a": "\0"}),
        *(
            "2026-11-20T10:00:00+02:00",
            "2026-11-20T10:00:00",
            format_time(NOW + 2 * TIME_AHEAD_MAX),
            "account/a",
            "1800-01-01",
        ),
    ]
)
PLAIN = ("specversion", "id", "source", "type", "subject", "time")


@patient
@given(events(), st.dictionaries(st.sampled_from(PLAIN), odd, max_size=2), st.data())
def test_an_event_is_plain_if_nothing_speaks_against_it_and_it_says_no_more(value: Any, more: Any, data: st.DataObject):
    said = value["data"]
    spot = data.draw(st.sampled_from([None, *said]))
    value |= more | {"data": said if spot is None else said | {spot: data.draw(odd)}}
    event = understood(value)
    if event is not None:
        against = [*objections(value, event, NOW)]
        plain = is_plain(value, event, canonical(value["data"]), NOW)
        assert plain == (not against and value.keys() <= {*PLAIN, "data"}), against


@patient
@given(st.binary(max_size=60))
def test_any_bytes_are_json_or_malformed(body: bytes):
    try:
        value = parse(body)
    except MalformedJson as error:
        assert str(error)
        return
    assert value == json.loads(body) or value != value


@patient
@given(json_values)
def test_nul_is_found_if_there_is_one(value: Any):
    assert bool([*nuls(value, "")]) == ("\0" in flat(value))


def flat(value: Any) -> str:
    match value:
        case str():
            return value
        case dict():
            return "".join(name + flat(item) for name, item in value.items())
        case list():
            return "".join(map(flat, value))
        case _:
            return ""
