"""No refusal repeats a sealed text, whichever way the event is refused: not in its answer, not in the log."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from schemas.events import EVENT_TYPES, SEALED_FIELDS
from schemas.examples import EXAMPLES
from tests.conftest import Database
from tests.contract.test_ledger_operation import started
from tests.ledger_service import BATCH, STRUCTURED, LedgerService, Reply, example

MARKER = "zugzwang"
FIELDS = [(name, field) for name in sorted(EVENT_TYPES) for field in SEALED_FIELDS[name]]


def bodies(name: str, field: str) -> Iterator[tuple[bytes, str]]:
    """Requests whose event has the marker in a sealed field, and is refused: bodies with their media types."""
    text = f"{MARKER} <b>{MARKER}</b> {MARKER}@{MARKER}.example"
    good = example(name.removeprefix("ledger.").removesuffix(".v1"), **{field: text})
    encoded = msgspec.json.encode(good)

    def with_data(**data: Any) -> bytes:
        return msgspec.json.encode(good | {"data": good["data"] | data})

    other = next(other for other in EXAMPLES[name] if other != field and other != EVENT_TYPES[name].KIND)
    # In its place another value, of another type, too long, in a list, as a member of an object and as its name.
    for value in (
        [text],
        {"sealed": text},
        {"text": text},
        {text: text},
        {MARKER: 1},
        {"a": {MARKER: MARKER}},
        text * 500,
    ):
        yield with_data(**{field: value}), STRUCTURED
    yield with_data(**{field: text + "\0"}), STRUCTURED
    yield with_data(**{other: [[text]]}), STRUCTURED
    yield with_data(mood=text), STRUCTURED
    yield with_data(by=text), STRUCTURED
    # Refused for something else.
    for attributes in (
        {"type": "ledger.account.sold.v1"}, {"id": ""}, {"source": " "}, {"time": "2999-01-01T00:00:00Z"},
        {"expectedversion": 7}, {"specversion": "0.3"}, {"subject": "account/other"}, {"datacontenttype": "text/html"},
        {"data": text}, {"data": [good["data"]]}, {"data_base64": text},
    ):  # fmt: skip
        yield msgspec.json.encode(good | attributes), STRUCTURED
        yield msgspec.json.encode([good | attributes, good]), BATCH
    # Not JSON, cut at every kind of place, and another media type.
    at = encoded.index(MARKER.encode())
    for spoilt in (
        encoded[:-1], encoded[: at + 4], encoded[:at] + b"\xff" + encoded[at:],
        encoded[:at] + b"\\ud800" + encoded[at:],
        encoded[:at] + b"\n" + encoded[at:], encoded[:at] + b'"' + encoded[at:], encoded + b"}", b"[" + encoded,
        encoded[:at] + b"\\u0000" + encoded[at:], text.encode(), json.dumps(text).encode(),
    ):  # fmt: skip
        yield spoilt, STRUCTURED
        yield spoilt, BATCH
    yield encoded, "text/plain"
    yield encoded, "application/json"
    yield msgspec.json.encode(good["data"]), "application/json"
    yield json.dumps(good).encode("utf-16"), STRUCTURED


def echoes(reply: Reply) -> bool:
    return MARKER in reply.body.decode() or any(MARKER in value for value in reply.headers.values())


@pytest.mark.parametrize(("name", "field"), FIELDS, ids=lambda part: str(part))
async def test_no_refusal_repeats_a_sealed_text(ledger: LedgerService, name: str, field: str):
    for body, media in bodies(name, field):
        for headers in ({}, {"Prefer": "handling=lenient"}):
            for params in ({}, {"dry_run": "1"}):
                reply = await ledger.send(body, media, headers=headers, params=params)
                # A lenient batch records the good one of its two; after that some are duplicates.
                assert reply.status in (200, 207) or 400 <= reply.status < 500, (body[:300], reply.body)
                assert not echoes(reply), (body[:300], reply.body)


async def test_neither_keys_nor_rules_nor_ids_make_an_answer_repeat_one(ledger: LedgerService):
    await ledger.post(example("person.introduced", name="A", email="a@b.example"))
    for name, field in FIELDS:
        sent = example(name.removeprefix("ledger.").removesuffix(".v1"), **{field: f"{MARKER} {MARKER}"})
        key = await ledger.key("act", sources=["/x"], teams=["support"])
        assert not echoes(await ledger.post(sent, key=key))
        assert not echoes(await ledger.post(sent, key=await ledger.key("observe", teams=["support"])))
        await ledger.post(sent | {"id": f"id-{name}-{field}"})
        conflict = await ledger.post(
            sent | {"id": f"id-{name}-{field}", "data": sent["data"] | {field: f"{MARKER} and {MARKER}"}}
        )
        assert conflict.problem == "id-conflict"
        assert not echoes(conflict)
    for path in ("/v1/ledgers/main/emitters", "/v1/ledgers/main/emitters/urn:test"):
        assert not echoes(await ledger.get(path))


async def test_no_log_line_has_one_and_neither_has_what_was_counted(database: Database):
    async with started(database, LEDGER_LOG_LEVEL="debug") as process:
        for name, field in FIELDS:
            for body, media in bodies(name, field):
                await process.ledger.send(body, media)
                await process.ledger.send(body, media, headers={"Prefer": "handling=lenient"})
        emitter = await process.ledger.get("/v1/ledgers/main/emitters/urn:test")
        assert emitter.json["refusals"]
        assert not echoes(emitter)
        lines = await process.stopped()
    assert len(lines) > 100
    assert [line for line in lines if MARKER in line] == []
