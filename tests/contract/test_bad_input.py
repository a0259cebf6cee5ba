"""Bad input: the status of the contract, a pointer to the spot, nothing recorded, and the next request works."""

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import msgspec
import pytest

from schemas.codec import EVENT_BYTES_MAX, STORED_BYTES_MAX
from services.problems import KINDS
from tests.ledger_service import BATCH, EVENTS, STRUCTURED, LedgerService, example, profile
from tests.log import event

encode = msgspec.json.encode


def swollen(size: int) -> Any:
    """An event of exactly this many bytes in compact JSON."""
    texts = ["x" * 1_000] * 60
    sent = event("account.profiled", account="acme", attributes={"texts": texts})
    texts[0] += "y" * (size - len(encode(sent)))
    assert len(encode(sent)) == size
    return sent


def bad_events() -> Iterator[tuple[str, str, str, Any]]:
    """The problem, the pointer and the name of each case, and the event: a JSON value, or bytes."""
    plain = encode(profile())
    ahead = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()

    def banking(other: bytes) -> bytes:
        return plain.replace(b'"banking"', other)

    for case, body in {
        "no body": b"",
        "half of the JSON": plain[:-20],
        "JSON and more": plain + b"{}",
        "not UTF-8": banking(b'"bank\xff"'),
        "UTF-16": plain.decode().encode("utf-16"),
        "a surrogate in UTF-8": banking(b'"\xed\xa0\x80"'),
        "a lone high surrogate": banking(b'"\\ud800"'),
        "a lone low surrogate": banking(b'"\\udc00"'),
        "two high surrogates": banking(b'"\\ud800\\ud800"'),
        "NaN": banking(b"NaN"),
        "Infinity": banking(b"-Infinity"),
        "a number out of range": banking(b"1e999"),
        "nested too deeply": b"[" * 20_000 + b"]" * 20_000,
    }.items():
        yield "malformed-json", "", case, body

    yield "not-a-cloudevent", "", "an array", [1]
    yield "not-a-cloudevent", "", "null", None
    yield "not-a-cloudevent", "/specversion", "nothing in it", {}
    for attributes in (
        {"id": None}, {"id": ""}, {"id": 5}, {"id": "e-1\n"}, {"source": ""}, {"source": "a b"}, {"source": "a\n"},
        {"type": None}, {"type": 5}, {"specversion": "0.3"}, {"data_base64": "e30="}, {"subject": 5},
        {"sequence": "1"}, {"streamversion": 1}, {"authid": "me"}, {"authtype": "user"}, {"My-Own": "1"}, {"own": 1.5},
        {"own": [1]}, {"own": 2**31}, {"own": "x" * 1_001}, {"correlationid": "a\0"}, {"datacontenttype": "text/csv"},
        {"time": "2026-11-21T10:00:00"}, {"time": "yesterday"}, {"time": "0001-01-01T00:00:00+14:00"},
        {"recordedtime": "2026-11-21"}, {"sourcerecordedtime": 7},
    ):  # fmt: skip
        yield "not-a-cloudevent", f"/{next(iter(attributes))}", str(attributes)[:50], profile(**attributes)

    yield "unknown-type", "/type", "unknown type", profile(type="ledger.account.sold.v1")
    yield "time-in-future", "/time", "a time in the future", profile(time=ahead)
    yield "too-large", "", "60 KiB and a byte", swollen(EVENT_BYTES_MAX + 1)
    yield "invalid-event", "/id", "an id with a blank", profile(id="e 1")
    yield "invalid-event", "/id", "an over-long id", profile(id="e" * 101)
    yield "invalid-event", "/subject", "another subject", profile(subject="account/other")

    by = {"role": "clerk", "team": "sales"}
    late = {"from": "9999-12-31T23:59:59-01:00", "confidence": "low"}
    bullet = {"bullet": "b", "text": "t"}
    near = {"test": {"op": "near"}}
    depth = "/bullets/0/test" + "/test" * 20 + "/attribute"
    deep: dict[str, Any] = {"op": "exists", "attribute": 5}
    for _ in range(20):
        deep = {"op": "not", "test": deep}
    deeper: dict[str, Any] = {"op": "not", "test": deep}
    for _ in range(200):
        deeper = {"op": "not", "test": deeper}
    for pointer, case, sent in (
        ("/colour", "unknown field", example("account.profiled", colour="red")),
        ("/@type", "the tag of storage", example("account.profiled", **{"@type": "ledger.account.profiled.v1"})),
        ("/by/name", "unknown field, deeper", example("ask.recorded", by=by | {"name": "Dana"})),
        ("/account", "a field that is missing", event("account.profiled", attributes={})),
        ("/title", "an over-long text", example("requirement.raised", title="t" * 201)),
        ("/title", "a blank text", example("requirement.raised", title=" ")),
        ("/quote", "an over-long sealed text", example("ask.recorded", quote="q" * 8_001)),
        ("/quote", "a sealed text that is sealed", example("ask.recorded", quote={"sealed": "AAAA"})),
        ("/account", "a line break after an id", profile("acme\n")),
        ("/requirements/1", "the same in a list", example("decision.proposed", requirements=["A", "B\n"])),
        ("/by/person", "the same of a person", example("ask.recorded", by=by | {"person": "p-1\n"})),
        ("/amount", "a line break after an amount", example("opportunity.updated", amount="5\n")),
        ("/amount", "an amount without currency", example("opportunity.updated", currency=None)),
        ("/closes", "a day that there is not", example("opportunity.updated", closes="2026-02-30")),
        ("/effective", "a line break after a time", example("agreement.adopted", effective="2026-07-01\n")),
        ("/effective", "a time that there is not", example("agreement.adopted", effective="2026-02-30")),
        ("/effective", "before all time", example("agreement.adopted", effective="0001-01-01T00:00:00+14:00")),
        ("/available/from", "after all time", example("decision.made", available=late)),
        ("/title", "NUL in a string", example("requirement.raised", title="a\0b")),
        ("/quote", "NUL in a sealed string", example("ask.recorded", quote="a\0b")),
        ("/attributes", "NUL in a name", event("account.profiled", account="a", attributes={"a\0": 1})),
        ("/attributes/a~1b/1", "a number in a list", profile(data={"account": "a", "attributes": {"a/b": ["x", 1]}})),
        ("/attributes/a", "an object", event("account.profiled", account="a", attributes={"a": {}})),
        ("/labels/k~0", "an over-long label", example("requirement.raised", labels={"k~": "v" * 201})),
        ("/importance", "too important", example("ask.recorded", importance=4)),
        ("/importance", "true is no number", example("ask.recorded", importance=True)),
        ("/importance", "a number that no machine has", example("ask.recorded", importance=2**70)),
        ("/bullets", "two bullets of one id", example("agreement.revised", bullets=[bullet] * 2)),
        ("/bullets/0/test/op", "an unknown test", example("agreement.revised", bullets=[bullet | near])),
        (depth, "deep in a test", example("agreement.revised", bullets=[bullet | {"test": deep}])),
        ("", "deeper than anything is", example("agreement.revised", bullets=[bullet | {"test": deeper}])),
        ("/title", "a rewording without words", example("requirement.reworded", title=None)),
        ("", "no object", profile(data=[1])),
    ):  # fmt: skip
        yield "invalid-event", f"/data{pointer}", case, sent


def bad_requests() -> Iterator[tuple[str, str, str, bytes]]:
    """The problem of each case, its name, and the media type and the body of the request."""
    plain = encode(profile())
    yield "too-large", "a batch of 1,001", BATCH, encode([profile()] * 1_001)
    yield "not-a-cloudevent", "an empty batch", BATCH, b"[]"
    yield "not-a-cloudevent", "a batch that is no array", BATCH, plain
    yield "not-a-cloudevent", "a batch in structured mode", STRUCTURED, b"[" + plain + b"]"
    yield "not-a-cloudevent", "application/json without ce-*", "application/json", plain
    yield "unsupported-media-type", "text/plain", "text/plain", plain
    yield "unsupported-media-type", "no such type", ";;;", plain
    yield "unsupported-media-type", "another charset", f"{STRUCTURED}; charset=latin-1", plain


async def test_a_bad_event_is_answered_with_its_spot_and_leaves_nothing(ledger: LedgerService):
    for problem, pointer, case, sent in bad_events():
        reply = await ledger.send(sent if isinstance(sent, bytes) else encode(sent))
        assert (reply.status, reply.problem) == (KINDS[problem].status, problem), (case, reply.body)
        if pointer:
            assert reply.errors[0] == (0, pointer, problem), (case, reply.body)
        assert await ledger.head() == 0, case
    assert (await ledger.post(profile())).status == 201


async def test_a_bad_event_spoils_its_batch(ledger: LedgerService):
    for problem, pointer, case, sent in bad_events():
        if problem == "malformed-json":
            continue
        reply = await ledger.send(encode([profile("good"), sent, profile("better")]), BATCH)
        assert (reply.status, reply.problem) == (KINDS[problem].status, problem), (case, reply.body)
        assert reply.errors[0] == (1, pointer, problem), (case, reply.body)
        assert await ledger.head() == 0, case
    assert (await ledger.post(profile("good"), profile("better"))).status == 201


async def test_a_bad_request_leaves_nothing(ledger: LedgerService):
    for problem, case, media, body in bad_requests():
        reply = await ledger.send(body, media)
        assert (reply.status, reply.problem) == (KINDS[problem].status, problem), (case, reply.body)
        assert await ledger.head() == 0, case
    assert (await ledger.post(profile())).status == 201


def test_the_statuses_are_those_of_the_contract():
    assert {name: KINDS[name].status for name in (
        "malformed-json", "not-a-cloudevent", "unauthorized", "forbidden", "scope-missing", "source-not-granted",
        "team-not-granted", "no-such-ledger", "method-not-allowed", "id-conflict", "version-conflict",
        "precondition-failed", "too-large", "unsupported-media-type", "unknown-type", "invalid-event",
        "time-in-future", "rule-not-met", "overloaded", "unavailable",
    )} == {
        "malformed-json": 400, "not-a-cloudevent": 400, "unauthorized": 401, "forbidden": 403, "scope-missing": 403,
        "source-not-granted": 403, "team-not-granted": 403, "no-such-ledger": 404, "method-not-allowed": 405,
        "id-conflict": 409, "version-conflict": 409, "precondition-failed": 412, "too-large": 413,
        "unsupported-media-type": 415, "unknown-type": 422, "invalid-event": 422, "time-in-future": 422,
        "rule-not-met": 422, "overloaded": 503, "unavailable": 503,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "spot"),
    [
        (b'{"a": NaN}', b"aN"),
        (b'{"a": "\\u00e9\\ud83d\\ude00\\\\ud800 \\ud800"}', b'\\ud800"'),
        (b'{"a": "\xc3\xa9\xff"}', b"\xff"),
    ],
    ids=["NaN", "lone surrogate", "not UTF-8"],
)
async def test_what_is_not_json_is_located_by_its_byte(ledger: LedgerService, body: bytes, spot: bytes):
    reply = await ledger.send(body)
    assert reply.problem == "malformed-json"
    # The parser looks one character into a word before it gives up.
    assert reply.json["detail"].endswith((f"byte {body.index(spot)}", f"(byte {body.index(spot) - 1})")), reply.body


async def test_a_batch_with_bad_events_is_refused_whole_and_every_refusal_is_listed(ledger: LedgerService):
    await ledger.post(profile() | {"id": "known"})
    reply = await ledger.post(
        profile("good"),
        event("account.profiled", attributes={}, colour="red"),
        profile() | {"id": "known", "data": {"account": "acme", "attributes": {}}},
        profile("fresh") | {"expectedversion": 3},
        example("decision.proposed", decision="D-1", requirements=["never", "heard"]),
        7,
    )
    assert reply.errors == [
        (1, "/data/colour", "invalid-event"),
        (1, "/data/account", "invalid-event"),
        (2, "/id", "id-conflict"),
        (3, "/expectedversion", "version-conflict"),
        (4, "/data/requirements/0", "rule-not-met"),
        (4, "/data/requirements/1", "rule-not-met"),
        (5, "", "not-a-cloudevent"),
    ]
    assert (reply.status, reply.problem) == (400, "not-a-cloudevent")
    assert "and 6 more" in reply.json["detail"]
    assert await ledger.head() == 1
    assert (await ledger.post(profile("good"), profile("better"))).status == 201


async def test_a_body_that_is_cut_off_records_nothing(ledger: LedgerService):
    body = encode(profile())
    head = (
        f"POST {EVENTS} HTTP/1.1\r\nHost: ledger\r\nAuthorization: Bearer {ledger.admin}\r\n"
        f"Content-Type: {STRUCTURED}\r\n"
    ).encode()
    cut = {
        "in its length": b"Content-Length: %d\r\n\r\n%s" % (len(body) + 1, body),
        "in a chunk": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s" % (len(body) + 1, body),
        "before the last chunk": b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n" % (len(body), body),
    }
    for case, rest in cut.items():
        async with ledger.raw() as (reader, writer):
            writer.write(head + rest)
            writer.write_eof()
            answer = await reader.read()
        assert not answer.startswith(b"HTTP/1.1 2"), case
        assert await ledger.head() == 0, case

    async with ledger.raw() as (reader, writer):
        writer.write(head + b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\nno chunk\r\n')
        assert b" 400 " in await reader.readline()
    assert await ledger.head() == 0
    assert (await ledger.send(body)).status == 201


async def test_a_compressed_body_is_refused_before_it_unfolds(ledger: LedgerService):
    for encoding in ("gzip", "deflate", "br", "zstd", "own"):
        reply = await ledger.send(gzip.compress(encode(profile())), headers={"Content-Encoding": encoding})
        assert (reply.status, reply.problem) == (415, "unsupported-media-type"), encoding
    assert (await ledger.send(encode(profile()), headers={"Content-Encoding": "identity"})).status == 201


async def test_sixty_kib_exactly_are_taken(ledger: LedgerService):
    one = swollen(EVENT_BYTES_MAX)
    assert (await ledger.post(one)).status == 201
    several = [swollen(EVENT_BYTES_MAX) for _ in range(3)]
    assert (await ledger.post(*several)).status == 201
    stored = (await ledger.get(f"{EVENTS}/1")).body
    assert msgspec.json.decode(stored)["data"] == one["data"]
    assert len(stored) <= 65_535


async def test_an_event_counts_by_what_it_comes_to_and_not_by_how_it_is_written(ledger: LedgerService):
    attributes = {f"name {number}": "Ж" * 2_000 for number in range(8)}
    escaped = json.dumps(profile("a-1", data={"account": "a-1", "attributes": attributes})).encode()
    assert len(escaped) > EVENT_BYTES_MAX
    [first] = (await ledger.send(escaped)).results
    assert (await ledger.send(b"[%s]" % escaped, BATCH)).results == [{**first, "duplicate": True}]
    spread = encode(profile("a-2")).replace(b",", b"," + b" " * 20_000)
    assert len(spread) > EVENT_BYTES_MAX
    assert (await ledger.send(spread)).status == 201

    refused = [encode(swollen(EVENT_BYTES_MAX + 1)), encode(profile("a-3")) + b" " * 6 * EVENT_BYTES_MAX]
    for body in refused:
        reply = await ledger.send(body)
        assert (reply.status, reply.problem) == (413, "too-large")


async def test_an_event_that_sealing_makes_too_large_is_refused_with_its_size(ledger: LedgerService):
    # Sealed, a text takes a third more room, and a tile entry holds 65,535 bytes.
    labels = {f"label {n}": "ü" * 200 for n in range(50)}
    sent = example("ask.recorded", quote="\N{HAMMER}" * 8_000, labels=labels)
    sent |= {f"own{n}": "x" * 1_000 for n in range(6)}
    assert len(encode(sent)) <= EVENT_BYTES_MAX
    reply = await ledger.post(sent)
    assert (reply.status, reply.problem) == (413, "too-large")
    assert str(STORED_BYTES_MAX) in reply.json["detail"]


async def test_a_batch_of_a_thousand_is_taken(ledger: LedgerService):
    results = (await ledger.post(*[profile(f"a-{n}") for n in range(1_000)])).results
    assert [result["position"] for result in results] == [*range(1, 1_001)]


async def test_a_request_over_16_mib_is_refused(ledger: LedgerService):
    body = b"[" + b" " * (16 * 1024 * 1024) + b"]"
    reply = await ledger.send(BytesIO(body), BATCH)  # type: ignore[arg-type]
    assert (reply.status, reply.problem) == (413, "too-large")
    assert (await ledger.post(profile())).status == 201
