"""The codec: JSON to typed events at the edge, the canonical bytes, and back from them."""

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from schemas.codec import (
    MalformedJson,
    Undecodable,
    _takes_fractions,
    canonical,
    close_record,
    decode_recorded,
    open_record,
    parse,
    read_event,
)
from schemas.envelope import Refusal, Sent, event_uuid, stream_uuid
from schemas.events import EVENT_TYPES, AccountProfiled, Act, AskRecorded, RequirementRaised
from schemas.examples import EXAMPLES
from schemas.objections import SPOTS_TOLD_MAX, nuls
from schemas.times import format_time
from schemas.upcasts import upcast
from services.ledger.rules.teams import signing, unknown_teams
from tests.ledger_service import example, profile
from tests.log import event

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


def taken(value: Any) -> Sent:
    sent = read_event(value, now=NOW)
    assert isinstance(sent, Sent), sent
    return sent


def refused(value: Any) -> list[tuple[str, str]]:
    """The problem and the pointer of everything that speaks against an event."""
    refusals = read_event(value, now=NOW, index=7)
    assert isinstance(refusals, list), refusals
    assert all(isinstance(each, Refusal) and each.index == 7 and each.message for each in refusals)
    return [(each.problem, each.pointer) for each in refusals]


def stored(value: Any, *, position: int = 3, version: int = 2, **data: Any) -> bytes:
    """The bytes of an event in the log; `data` stands for what sealing puts in place of texts."""
    sent = taken(value)
    opened = open_record(sent, sent.data | data, "k-1", "api_key")
    return close_record(opened, timed=sent.time is not None, recordedtime=NOW, position=position, version=version)


# The canonical form


def test_the_canonical_form_is_compact_sorted_at_every_level_and_in_utf8():
    value = {"b": [{"d": 1, "c": None}, "é\N{HAMMER}\n"], "a": {"z": True, "y": 1.0}}
    assert canonical(value) == '{"a":{"y":1.0,"z":true},"b":[{"c":null,"d":1},"é\N{HAMMER}\\n"]}'.encode()


def test_a_record_holds_the_emitters_attributes_then_the_data_then_what_the_ledger_adds():
    sent = example("requirement.raised") | {
        "id": "e-1", "time": "2026-11-20T12:00:00+02:00", "zebra": "z", "alpha": 5, "correlationid": "c",
        "dataschema": "/s", "datacontenttype": "application/json", "recordedtime": "2026-11-20T10:00:01Z",
        "traceparent": "00-1", "expectedversion": 1,
    }  # fmt: skip
    record = msgspec.json.decode(stored(sent))
    assert [*record] == [
        *("specversion", "id", "source", "type", "subject", "time", "dataschema"),
        *("alpha", "correlationid", "sourcerecordedtime", "traceparent", "zebra"),
        *("data", "authid", "authtype", "recordedtime", "sequence", "streamversion"),
    ]
    assert record["data"] == sent["data"]
    assert [*record["data"]] == sorted(sent["data"])
    assert record["time"] == sent["time"]
    assert record["sourcerecordedtime"] == sent["recordedtime"]
    assert record["recordedtime"] == "2026-11-21T10:00:00.000000Z"
    assert record["sequence"] == "00000000000000000003"
    assert record["streamversion"] == 2
    assert record["alpha"] == 5


def test_an_event_without_a_time_is_about_its_recorded_time():
    record = msgspec.json.decode(stored(profile()))
    assert record["time"] == record["recordedtime"]
    assert decode_recorded(stored(profile())).time == NOW


def test_defaults_are_not_written_and_what_was_sent_is():
    data = {"requirement": "R", "account": "a", "importance": 1}
    assert msgspec.json.decode(stored(profile(type="ledger.ask.recorded.v1", data=data)))["data"] == data
    del data["importance"]
    assert msgspec.json.decode(stored(profile(type="ledger.ask.recorded.v1", data=data)))["data"] == data


@pytest.mark.parametrize("at", [datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC), NOW])
def test_a_time_is_27_characters_in_utc(at: datetime):
    assert len(format_time(at)) == 27
    assert datetime.fromisoformat(format_time(at)) == at


def test_a_time_of_another_zone_is_written_in_utc():
    assert format_time(datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=2)))) == "2025-12-31T23:00:00.000000Z"


def test_identities_are_uuids_of_version_8_made_of_what_they_name():
    digest = sha256(b"urn:crm\ne-1").digest()
    uuid = event_uuid("urn:crm", "e-1")
    assert uuid.version == 8
    assert uuid.bytes[:6] == digest[:6]
    assert event_uuid("urn:crm", "e-1") == uuid != event_uuid("urn:crm", "e-2")
    assert stream_uuid("account/acme").version == 8
    assert stream_uuid("account/acme") != stream_uuid("account/Acme")


@pytest.mark.parametrize("type", [type for type in EVENT_TYPES if not _takes_fractions(type)])
def test_where_no_number_may_have_a_fraction_nothing_else_can_hold_one(type: str):
    for part in parts(msgspec.json.schema(EVENT_TYPES[type])):
        assert part.get("type") != "number"
        assert part.get("type") != "object" or part.get("additionalProperties", True) is not True
        for each in part.get("properties", {}).values():
            assert each.keys() & {"type", "enum", "const", "$ref", "anyOf"}, each


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Every object in a JSON value."""
    if isinstance(schema, dict):
        yield schema
    for part in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from parts(part)


# Refusals (the whole table of bad input is in tests/contract/test_bad_input.py)


def test_everything_that_speaks_against_an_event_is_told():
    value = {
        "specversion": "0.3", "source": "", "type": "ledger.requirement.raised.v1", "sequence": "1", "own": [],
        "time": "soon", "data": {"requirement": "R\n", "colour": 1, "links": [{"system": "a"}, 5], "labels": {"a": 1}},
    }  # fmt: skip
    assert refused(value) == [
        ("not-a-cloudevent", "/id"),
        ("not-a-cloudevent", "/specversion"),
        ("not-a-cloudevent", "/source"),
        ("not-a-cloudevent", "/sequence"),
        ("not-a-cloudevent", "/own"),
        ("not-a-cloudevent", "/time"),
        ("invalid-event", "/data/colour"),
        ("invalid-event", "/data/requirement"),
        ("invalid-event", "/data/title"),
        ("invalid-event", "/data/labels/a"),
        ("invalid-event", "/data/links/0/id"),
        ("invalid-event", "/data/links/1"),
    ]


def test_a_pointer_escapes_what_rfc_6901_says():
    assert refused(profile(data={"account": "a", "attributes": {"a/b~c": {}}, "~/": 1})) == [
        ("invalid-event", "/data/~0~1"),
        ("invalid-event", "/data/attributes/a~1b~0c"),
    ]


@pytest.mark.parametrize("data", [None, 1, "x", [], True])
def test_data_is_an_object(data: Any):
    assert refused(profile(data=data)) == [("invalid-event", "/data")]


def test_data_is_required():
    value = profile()
    del value["data"]
    assert refused(value) == [("not-a-cloudevent", "/data")]


def test_five_minutes_ahead_are_taken_and_no_more():
    assert taken(profile(time=(NOW + timedelta(minutes=5)).isoformat())).time == NOW + timedelta(minutes=5)
    late = NOW + timedelta(minutes=5, microseconds=1)
    assert refused(profile(time=late.isoformat())) == [("time-in-future", "/time")]
    zoned = late.astimezone(timezone(timedelta(hours=-11)))
    assert refused(profile(time=zoned.isoformat())) == [("time-in-future", "/time")]


@pytest.mark.parametrize("id", ["a", "A9._~:@-", "x" * 100, "0"])
def test_an_id_is_taken(id: str):
    assert taken(profile(id, id=id)).id == id


@pytest.mark.parametrize("id", ["x" * 101, "-a", ".a", "a b", "a/b", "ä", "a\N{NO-BREAK SPACE}"])
def test_what_is_no_id_is_refused_in_both_places(id: str):
    assert refused(profile(id=id)) == [("invalid-event", "/id")]
    assert refused(profile(id)) == [("invalid-event", "/data/account")]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n", "\0", "\x85", "\u2028"])
def test_an_id_ends_where_it_ends(end: str):
    assert [pointer for _, pointer in refused(profile(id="e" + end))] == ["/id"]
    assert ("invalid-event", "/data/account") in refused(profile("a" + end))


def test_attributes_that_are_null_count_as_not_given():
    sent = taken(profile(subject=None, time=None, own=None, expectedversion=None))
    assert sent.content == taken(profile(id=sent.id)).content
    assert "own" not in sent.attributes


@pytest.mark.parametrize("value", [True, False, 0, -(2**31), 2**31 - 1, "", "x" * 1_000])
def test_extension_attributes_are_texts_booleans_and_32_bit_integers(value: Any):
    assert taken(profile(own=value)).attributes["own"] == value


@pytest.mark.parametrize("given", [0, 7, "0", "7", 2**40])
def test_an_expected_version_is_a_whole_number(given: Any):
    assert taken(profile(expectedversion=given)).expected_version == int(given)


def test_a_whole_number_may_come_with_a_fraction_of_zero():
    plain, with_fraction = example("ask.recorded", importance=3), example("ask.recorded", importance=3.0)
    with_fraction |= {"id": plain["id"], "weight": 7.0, "expectedversion": 2.0}
    sent = taken(with_fraction)
    assert sent == taken(plain | {"weight": 7, "expectedversion": 2})
    assert type(sent.data["importance"]) is int
    assert refused(example("ask.recorded", importance=2.5)) == [("invalid-event", "/data/importance")]
    assert refused(profile(x=2.0**60)) == [("not-a-cloudevent", "/x")]


@pytest.mark.parametrize("given", [-1, "-1", "01", "", "x", 1.5, True, [1], "1\n"])
def test_what_is_no_expected_version_is_refused(given: Any):
    assert refused(profile(expectedversion=given)) == [("not-a-cloudevent", "/expectedversion")]


def test_the_emitters_recorded_time_is_given_once():
    both = profile(recordedtime="2026-11-20T10:00:00Z", sourcerecordedtime="2026-11-20T10:00:00Z")
    assert refused(both) == [("not-a-cloudevent", "/recordedtime")]
    kept = profile(sourcerecordedtime="2026-11-20T10:00:00Z")
    assert taken(kept).attributes["sourcerecordedtime"] == "2026-11-20T10:00:00Z"


@pytest.mark.parametrize("body", [b"", b"{", b"nul", b"NaN", b'"\\ud800"', b'"\xff"', b"[" * 5_000, b"{}{}", b"1e999"])
def test_what_is_not_json_is_malformed(body: bytes):
    with pytest.raises(MalformedJson):
        parse(body)


def test_of_very_many_spots_the_first_hundred_are_told():
    assert len(refused(example("agreement.revised", bullets=[1] * 10_000))) == SPOTS_TOLD_MAX
    assert len(refused(profile(**{f"Own{n}": 1 for n in range(1_000)}))) == SPOTS_TOLD_MAX


def test_however_deep_it_nests_it_is_refused():
    # Where the reader gives up depends on the stack below it; every depth around that is tried.
    head, tail = msgspec.json.encode(example("agreement.revised", bullets="@")).split(b'"@"')
    refusals = set()
    for depth in (*range(6, 800, 100), *range(800, 1_000)):
        tests = b'{"op":"not","test":' * depth + b"7" + b"}" * depth
        bullets = b'[{"bullet":"b","text":"t","test":%s}]' % tests
        try:
            refusals |= {(problem, pointer[:6]) for problem, pointer in refused(parse(head + bullets + tail))}
        except MalformedJson as error:
            refusals.add((str(error), ""))
    # How deep the parser itself goes differs from one Python to the next.
    assert ("invalid-event", "/data/") in refusals
    assert refusals <= {("invalid-event", "/data/"), ("invalid-event", "/data"), ("nested too deeply", "")}
    assert ("invalid-event", "/data") in refusals


@pytest.mark.parametrize(
    "text", ["é", "\N{HAMMER}", "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"), "\\ud800", "\u0000"]
)
def test_every_text_of_unicode_is_json(text: str):
    assert parse(json.dumps(text).encode()) == parse(json.dumps(text, ensure_ascii=False).encode()) == text


@pytest.mark.parametrize("year", ["0001-01-01", "1753-01-01", "1899-12-31", "9999-01-01", "9999-12-31"])
def test_the_ends_of_calendars_are_no_times(year: str):
    asked = example("ask.recorded")
    at = f"{year}T00:00:00Z"
    assert refused({**asked, "time": at}) == [("not-a-cloudevent", "/time")]
    assert refused({**asked, "recordedtime": at}) == [("not-a-cloudevent", "/recordedtime")]
    assert refused({**asked, "sourcerecordedtime": at}) == [("not-a-cloudevent", "/sourcerecordedtime")]
    assert refused(example("ask.recorded", needed_by=year)) == [("invalid-event", "/data/needed_by")]
    for effective in (year, at):
        pointers = [pointer for _, pointer in refused(example("agreement.adopted", effective=effective))]
        assert pointers == ["/data/effective"]
    available = {"from": year, "confidence": "low"}
    assert refused(example("decision.made", available=available))[0][1].startswith("/data/available")


def test_attributes_have_the_limits_of_their_type():
    for value in ("x" * 4_000, ["x" * 4_000] * 1_000, 2**63 - 1, -(2**63), 1e308):
        taken(example("account.profiled", attributes={"a": value}))
    for value in ("x" * 4_001, ["x"] * 1_001, ["x" * 4_001], 2**63, -(2**63) - 1):
        (spot,) = refused(example("account.profiled", attributes={"a": value}))
        assert spot[0] == "invalid-event"
        assert spot[1].startswith("/data/attributes/a")


def test_the_content_can_be_computed_again_from_the_stored_bytes():
    for extra in (
        {},
        {"time": "2026-01-01T01:00:00+01:00"},
        {"foo": 3, "bar": True, "recordedtime": "2026-01-01T00:00:00Z"},
    ):
        value = example("ask.recorded") | extra
        sent = taken(value)
        kept = msgspec.json.decode(stored(value))
        names = [*kept]
        said_when = names.index("time") < names.index("data")
        given = {
            name: value
            for name, value in kept.items()
            if name not in ("subject", "data", "authid", "authtype", "recordedtime", "sequence", "streamversion")
            and (said_when or name != "time")
        }
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
        if said_when:
            texts["time"] = "2026-01-01T00:00:00.000000Z"
        assert sha256(canonical({"attributes": texts, "data": kept["data"]})).digest() == sent.content


def test_nul_is_found_wherever_it_is():
    value = {"a": ["x", {"b": "\0"}], "c\0": 1, "d": "\\u0000"}
    assert [pointer for pointer, _ in nuls(value, "")] == ["/a/1/b", ""]


# Content: the decoded event as sent

MEANS_THE_SAME = {
    "as text": ({"own": 3}, {"own": "3"}),
    "a boolean as text": ({"own": True}, {"own": "true"}),
    "time in another zone": ({"time": "2026-11-20T10:00:00Z"}, {"time": "2026-11-20T12:00:00+02:00"}),
    "time with a fraction": ({"time": "2026-11-20T10:00:00Z"}, {"time": "2026-11-20T10:00:00.000Z"}),
    "subject": ({}, {"subject": "account/acme"}),
    "traceparent": ({"traceparent": "00-1"}, {"traceparent": "00-2"}),
    "tracestate": ({"tracestate": "a"}, {}),
    "expectedversion": ({"expectedversion": 0}, {"expectedversion": "3"}),
    "datacontenttype": ({}, {"datacontenttype": "application/json; charset=utf-8"}),
    "recordedtime as kept": (
        {"recordedtime": "2026-11-20T10:00:00Z"},
        {"sourcerecordedtime": "2026-11-20T10:00:00Z"},
    ),
}
MEANS_SOMETHING_ELSE = {
    "an extension": ({"own": 3}, {"own": 4}),
    "an extension that is missing": ({"own": 3}, {}),
    "time": ({"time": "2026-11-20T10:00:00Z"}, {"time": "2026-11-20T10:00:00.000001Z"}),
    "a time that is missing": ({"time": "2026-11-20T10:00:00Z"}, {}),
    "id": ({"id": "e-1"}, {"id": "e-2"}),
    "source": ({"source": "urn:a"}, {"source": "urn:b"}),
    "correlationid": ({"correlationid": "a"}, {"correlationid": "b"}),
    "dataschema": ({"dataschema": "/a"}, {}),
    "recordedtime": ({"recordedtime": "2026-11-20T10:00:00Z"}, {}),
}


@pytest.mark.parametrize(("one", "other"), MEANS_THE_SAME.values(), ids=MEANS_THE_SAME)
def test_what_means_the_same_has_the_same_content(one: dict[str, Any], other: dict[str, Any]):
    event = profile(id="e-1")
    assert taken(event | one).content == taken(event | other).content


@pytest.mark.parametrize(("one", "other"), MEANS_SOMETHING_ELSE.values(), ids=MEANS_SOMETHING_ELSE)
def test_what_means_something_else_has_another_content(one: dict[str, Any], other: dict[str, Any]):
    event = profile(id="e-1")
    assert taken(event | one).content != taken(event | other).content


def attributes(**values: Any) -> bytes:
    return taken(profile(id="e-1", data={"account": "acme", "attributes": values})).content


def test_numbers_of_the_same_value_are_the_same():
    assert attributes(x=1) == attributes(x=1.0) == attributes(x=1e0)
    assert attributes(x=[]) == attributes(x=[])
    assert attributes(x=0) == attributes(x=-0.0)
    assert attributes(x=10**18) == attributes(x=1e18)
    assert len({attributes(x=value) for value in (1, 1.5, True, "1", None, ["1"], 2)}) == 7


def test_defaults_count_as_they_were_sent():
    data = {"requirement": "R", "account": "a"}
    contents = {
        taken(profile(id="e-1", type="ledger.ask.recorded.v1", data=data | more)).content
        for more in ({}, {"importance": 1}, {"labels": {}}, {"channel": None})
    }
    assert len(contents) == 4


def test_the_order_of_members_does_not_count():
    event = example("decision.made") | {"id": "e-1"}
    turned = {name: event[name] for name in reversed(event)}
    turned["data"] = {name: event["data"][name] for name in reversed(event["data"])}
    assert taken(turned).content == taken(event).content
    assert canonical(taken(turned).data) == canonical(taken(event).data)


# Reading what was stored


def grown(value: Any) -> Any:
    """The same with a member more in every object that is not a map of names."""
    match value:
        case dict():
            return {name: item if name in ("attributes", "labels") else grown(item) for name, item in value.items()} | {
                "more": [{}]
            }
        case list():
            return [grown(item) for item in value]
        case _:
            return value


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_unknown_fields_in_stored_data_are_passed_over_at_every_level(name: str):
    event = profile(type=name, data=EXAMPLES[name])
    sent = taken(event)
    opened = open_record(sent, grown(sent.data), "k", "api_key")
    state = close_record(opened, timed=False, recordedtime=NOW, position=1, version=1)
    assert decode_recorded(state).event == sent.event


def test_unknown_fields_are_passed_over_beside_a_sealed_text_and_inside_it():
    state = stored(example("requirement.raised"), problem={"sealed": "AAAA", "more": 1}, more=2)
    event = decode_recorded(state).event
    assert isinstance(event, RequirementRaised)
    assert event.problem == msgspec.convert({"sealed": "AAAA"}, type(event.problem))


def test_unknown_attributes_of_the_envelope_are_passed_over():
    sent = profile(own="x", recordedtime="2026-11-20T10:00:01Z")
    known, newer = stored(sent), stored(sent)[:-1] + b',"fromtheledger":7}'
    assert decode_recorded(newer) == decode_recorded(known)
    assert decode_recorded(newer).sourcerecordedtime == "2026-11-20T10:00:01Z"


@pytest.mark.parametrize(
    "change",
    [
        (b'"sequence":"00000000000000000003"', b'"sequence":"x"'),
        (b'"streamversion":2', b'"version":2'),
        (b'"account":"acme"', b'"account":"acme\\n"'),
        (b'"account":"acme"', b'"account":7'),
        (b"profiled.v1", b"profiled.v9"),
        (b'"recordedtime":"2026-11-21T10:00:00.000000Z"', b'"recordedtime":"2026-11-21T10:00:00"'),
        (b'"specversion":"1.0",', b""),
    ],
)
def test_bytes_that_this_version_cannot_read_are_told(change: tuple[bytes, bytes]):
    state = stored(profile())
    assert change[0] in state
    with pytest.raises(Undecodable):
        decode_recorded(state.replace(*change))


# Upcasting


def lift_to_2(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """In version 1, an account's name was its `title`, and it had one industry."""
    renamed = {"name" if name == "title" else name: item for name, item in data.items()}
    return "ledger.account.profiled.v2", renamed


def lift_to_3(data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """In version 2, the industry was a field of its own."""
    kept = {name: item for name, item in data.items() if name != "industry"}
    return "ledger.account.profiled.v1", kept | {"attributes": {"industry": data["industry"]}}


MADE_UP = {"ledger.account.profiled.v-1": lift_to_2, "ledger.account.profiled.v2": lift_to_3}


def test_an_old_version_is_lifted_step_by_step_to_the_newest():
    old = {"account": "acme", "title": "Acme Bank", "industry": "banking"}
    assert upcast("ledger.account.profiled.v-1", old, MADE_UP) == (
        "ledger.account.profiled.v1",
        {"account": "acme", "name": "Acme Bank", "attributes": {"industry": "banking"}},
    )
    halfway = {"account": "acme", "name": "Acme Bank", "industry": "banking"}
    assert upcast("ledger.account.profiled.v2", halfway, MADE_UP) == upcast("ledger.account.profiled.v-1", old, MADE_UP)
    assert old == {"account": "acme", "title": "Acme Bank", "industry": "banking"}


def test_the_newest_version_stays_as_it_is():
    data = {"account": "acme", "attributes": {}}
    assert upcast("ledger.account.profiled.v1", data, MADE_UP) == ("ledger.account.profiled.v1", data)


def test_a_stored_event_of_an_old_version_is_read_as_the_newest_and_its_bytes_stay():
    record = msgspec.json.decode(stored(profile()))
    record["type"] = "ledger.account.profiled.v-1"
    record["data"] = {"account": "acme", "title": "Acme Bank", "industry": "banking"}
    state = msgspec.json.encode(record)
    recorded = decode_recorded(state, MADE_UP)
    assert recorded.type == "ledger.account.profiled.v1"
    assert recorded.event == AccountProfiled(account="acme", name="Acme Bank", attributes={"industry": "banking"})
    assert (recorded.position, recorded.version) == (3, 2)
    with pytest.raises(Undecodable, match="no such event type"):
        decode_recorded(state)


def test_an_emitter_may_go_on_sending_an_old_version():
    older = {"ledger.ask.withdrawn.v1": lambda data: ("ledger.ask.recorded.v1", {**data, "account": "acme"})}
    value = event("ask.withdrawn", requirement="SSO-42", ask="a-1")
    sent = read_event(value, now=NOW, upcasts=older)
    assert isinstance(sent, Sent)
    assert (sent.type, sent.data) == (value["type"], value["data"])
    assert sent.event == AskRecorded(requirement="SSO-42", account="acme", ask="a-1")


# What it costs


def calls(value: Any) -> list[str]:
    """The modules whose functions are called to read an event and to ask for its teams, and `convert` for each time
    that something is decoded."""
    made: list[str] = []

    def note(frame: Any, what: str, called: Any) -> None:
        if what == "call":
            made.append(frame.f_globals["__name__"])
        elif what == "c_call" and called is msgspec.convert:
            made.append("convert")

    sys.setprofile(note)
    try:
        sent = taken(value)
        list(signing(sent.event))
        if isinstance(sent.event, Act):
            list(unknown_teams(sent.event, frozenset()))
    finally:
        sys.setprofile(None)
    return made


@pytest.mark.parametrize("type", EXAMPLES)
def test_what_fields_a_class_has_is_not_looked_up_for_each_event(type: str):
    value = example(type.removeprefix("ledger.").removesuffix(".v1"))
    calls(value)
    assert not {"typing", "msgspec._utils", "msgspec.structs"} & {*calls(value)}


def test_the_data_of_an_event_that_is_taken_are_decoded_once():
    timeless = {name: value for name, value in profile().items() if name != "time"}
    assert calls(timeless).count("convert") == 1
    assert calls(timeless | {"subject": "account/acme"}).count("convert") == 1
