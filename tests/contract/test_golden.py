"""Golden files: one stored record of each event version, as its first version wrote it. They decode, for ever.

A file once committed is never changed. `<type>.json` is a record as it was stored; `<type>.newer.json` is one as
a newer version of the software might store it, with fields, at every level, that nobody here knows. `contents`
holds what the content of each event comes to.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.codec import Undecodable, canonical, close_record, decode_recorded, open_record, read_event
from schemas.envelope import Recorded, Sent
from schemas.events import EVENT_TYPES, SEALED_FIELDS
from schemas.examples import EXAMPLES
from schemas.values import Sealed

GOLDEN = Path(__file__).with_name("golden")
RECORDS = sorted(GOLDEN.glob("*.json"))


def as_sent(recorded: Recorded) -> dict[str, Any]:
    """The data of a recorded event, without what only stored events have."""
    data: dict[str, Any] = msgspec.to_builtins(recorded.event)
    del data["@type"]
    return data


def sealed_fields(data: dict[str, Any]) -> set[str]:
    return {name for name, item in data.items() if isinstance(item, dict) and item.keys() == {"sealed"}}


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_every_event_type_has_its_golden_files(name: str):
    assert (GOLDEN / f"{name}.json").is_file(), f"add {name}.json, as this version stores it, and never change it"
    assert (GOLDEN / f"{name}.newer.json").is_file(), f"add {name}.newer.json, with fields that nobody knows"


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_a_golden_file_decodes(path: Path):
    state = path.read_bytes().removesuffix(b"\n")
    stored = msgspec.json.decode(state)
    recorded = decode_recorded(state)
    assert recorded.type in EVENT_TYPES
    assert recorded.position == int(stored["sequence"])
    assert recorded.version == stored["streamversion"]
    assert (recorded.id, recorded.source, recorded.subject) == (stored["id"], stored["source"], stored["subject"])
    assert recorded.event.subject == recorded.subject
    assert recorded.time.isoformat() == "2026-11-20T10:00:00+00:00"
    assert recorded.recordedtime.isoformat() == "2026-11-21T10:00:00.000001+00:00"
    assert recorded.sourcerecordedtime == "2026-11-20T10:00:05Z"


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_golden_file_says_what_was_sent(name: str):
    recorded = decode_recorded((GOLDEN / f"{name}.json").read_bytes())
    data = as_sent(recorded)
    assert sealed_fields(data) == set(SEALED_FIELDS[name]) & EXAMPLES[name].keys()
    wanted = msgspec.convert(EXAMPLES[name], EVENT_TYPES[name])
    for field in EVENT_TYPES[name].__struct_fields__:
        found = getattr(recorded.event, field)
        assert isinstance(found, Sealed) or found == getattr(wanted, field), field


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_what_a_newer_version_adds_is_passed_over(name: str):
    known = decode_recorded((GOLDEN / f"{name}.json").read_bytes())
    newer = decode_recorded((GOLDEN / f"{name}.newer.json").read_bytes())
    assert b"from_a_newer_version" in (GOLDEN / f"{name}.newer.json").read_bytes()
    assert newer.event == known.event


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_a_golden_file_is_in_the_canonical_form(name: str):
    state = (GOLDEN / f"{name}.json").read_bytes().removesuffix(b"\n")
    stored = msgspec.json.decode(state)
    assert [*stored] == [
        *("specversion", "id", "source", "type", "subject", "time", "correlationid", "sourcerecordedtime"),
        *("data", "authid", "authtype", "recordedtime", "sequence", "streamversion"),
    ]
    assert msgspec.json.encode(stored) == state
    assert canonical(stored["data"]) in state


def sent_again(name: str) -> Sent:
    """The event of a golden file as its emitter would send it again."""
    attributes = {
        "specversion": "1.0",
        "id": f"golden-{[*EXAMPLES].index(name) + 1}",
        "source": "urn:golden",
        "type": name,
        "time": "2026-11-20T10:00:00Z",
        "recordedtime": "2026-11-20T10:00:05Z",
        "correlationid": "c-1",
    }
    sent = read_event(attributes | {"data": EXAMPLES[name]}, now=datetime(2026, 11, 21, 10, tzinfo=UTC))
    assert isinstance(sent, Sent)
    return sent


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_this_version_writes_the_same_bytes(name: str):
    state = (GOLDEN / f"{name}.json").read_bytes().removesuffix(b"\n")
    stored = msgspec.json.decode(state)
    written = close_record(
        open_record(sent_again(name), stored["data"], stored["authid"], stored["authtype"]),
        timed=True,
        recordedtime=datetime(2026, 11, 21, 10, 0, 0, 1, tzinfo=UTC),
        position=int(stored["sequence"]),
        version=stored["streamversion"],
    )
    assert written == state


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_what_was_sent_has_the_same_content_for_ever(name: str):
    # Else a retry of an event that an older version recorded would be taken for another one.
    contents = msgspec.json.decode((GOLDEN / "contents").read_bytes())
    assert sent_again(name).content.hex() == contents[name]


@pytest.mark.parametrize(
    "state",
    [b"", b"{}", b"[]", b'{"specversion": "1.0", "type": "ledger.account.sold.v1", "data": {}}', b"null", b"\xff"],
)
def test_what_is_no_record_is_told_apart(state: bytes):
    with pytest.raises(Undecodable):
        decode_recorded(state)
