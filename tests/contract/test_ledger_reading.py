"""Reading the log over HTTP: pages, lines, one event, one stream, server-sent events, sealed texts."""

from hashlib import sha256
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from tests.ledger_service import EVENTS, NDJSON, STRUCTURED, LedgerService, profile
from tests.log import event

QUOTE = "Without single sign-on we cannot renew."


async def filled(ledger: LedgerService) -> list[bytes]:
    """25 events of three types, two sources and eleven streams; and their stored bytes, from the pages."""
    sent = [profile(f"a-{n % 5}") | {"source": f"urn:crm/{n % 2}?x=1&y"} for n in range(10)]
    sent += [event("ask.recorded", requirement=f"R-{n % 5}", account=f"a-{n}", quote=QUOTE) for n in range(10)]
    sent += [event("requirement.raised", requirement=f"R-{n}", title="A title", problem=QUOTE) for n in range(5)]
    assert (await ledger.post(*sent)).status == 201
    return [(await ledger.get(f"{EVENTS}/{position}")).body for position in range(1, 26)]


async def pages(ledger: LedgerService, path: str, **how: Any) -> list[Any]:
    """All events from the pages of a path on, by their links."""
    found: list[Any] = []
    following: str | None = path
    while following:
        reply = await ledger.get(following, **how)
        assert reply.status == 200, reply.body
        assert reply.json["head"] == 25
        found += reply.json["events"]
        link = reply.headers.get("Link")
        following = link.removeprefix("<").removesuffix('>; rel="next"') if link else None
    return found


async def test_the_log_is_read_page_by_page_to_its_end(ledger: LedgerService):
    stored = await filled(ledger)
    for limit in (1, 7, 24, 25, 26, 1000):
        found = await pages(ledger, f"{EVENTS}?limit={limit}")
        assert [int(each["sequence"]) for each in found] == [*range(1, 26)], limit
        assert found == [msgspec.json.decode(state) for state in stored]
    assert [int(each["sequence"]) for each in await pages(ledger, f"{EVENTS}?after=20&limit=2")] == [*range(21, 26)]
    assert await pages(ledger, f"{EVENTS}?after=99") == []


async def test_filters_are_kept_from_page_to_page(ledger: LedgerService):
    everything = [msgspec.json.decode(state) for state in await filled(ledger)]
    asked, raised = "ledger.ask.recorded.v1", "ledger.requirement.raised.v1"
    for wanted in (
        {"type": asked},
        {"source": "urn:crm/1?x=1&y"},
        {"subject": "requirement/R-3"},
        {"subject": "requirement/R-3", "type": asked},
        {"subject": "requirement/R-3", "type": raised, "source": "urn:test"},
        {"type": asked, "source": "urn:test"},
        {"type": asked, "source": "urn:crm/1?x=1&y"},
        {"subject": "requirement/nobody"},
    ):
        expected = [each for each in everything if all(each[name] == text for name, text in wanted.items())]
        query = "&".join(f"{name}={quote(text, safe='')}" for name, text in wanted.items())
        assert await pages(ledger, f"{EVENTS}?limit=2&{query}") == expected, wanted
        lines = await ledger.get(f"{EVENTS}?{query}", headers={"Accept": NDJSON})
        assert [msgspec.json.decode(line) for line in lines.body.splitlines()] == expected, wanted


async def test_one_event_is_found_by_its_source_and_id(ledger: LedgerService):
    await filled(ledger)
    await ledger.post(profile() | {"id": "e:1~2", "source": "https://crm.example/a?b=c&d"})
    query = f"source={quote('https://crm.example/a?b=c&d', safe='')}&id=e:1~2"
    [found] = (await ledger.get(f"{EVENTS}?{query}")).json["events"]
    assert found["sequence"] == f"{26:020d}"
    lines = await ledger.get(f"{EVENTS}?{query}", headers={"Accept": NDJSON})
    assert lines.body == (await ledger.get(f"{EVENTS}/26")).body + b"\n"
    assert (await ledger.get(f"{EVENTS}?source=urn:test&id=e:1~2")).json["events"] == []


async def test_the_lines_are_the_stored_bytes_and_the_tag_their_leaf_hash(ledger: LedgerService):
    stored = await filled(ledger)
    reply = await ledger.get(EVENTS, headers={"Accept": NDJSON})
    assert reply.headers["Content-Type"] == NDJSON
    assert reply.body == b"".join(state + b"\n" for state in stored)
    for position, state in enumerate(stored, 1):
        one = await ledger.get(f"{EVENTS}/{position}")
        assert one.headers["Content-Type"].startswith(STRUCTURED)
        assert one.headers["ETag"] == f'"{leaf_hash(state)}"'
        unchanged = await ledger.get(f"{EVENTS}/{position}", headers={"If-None-Match": one.headers["ETag"]})
        assert (unchanged.status, unchanged.body) == (304, b"")
        changed = await ledger.get(f"{EVENTS}/{position}", headers={"If-None-Match": '"0"'})
        assert changed.status == 200


async def test_all_lines_come_even_if_they_are_more_than_a_page(ledger: LedgerService):
    for start in (0, 1_000, 2_000):
        await ledger.post(*[profile(f"a-{start + n}") for n in range(700)])
    reply = await ledger.get(f"{EVENTS}?after=5", headers={"Accept": NDJSON})
    assert [int(msgspec.json.decode(line)["sequence"]) for line in reply.body.splitlines()] == [*range(6, 2_101)]


@pytest.mark.parametrize("position", ["0", "2", "99999999999999999999", "-1", "x", "1.0", "%D9%A1"])
async def test_nothing_is_where_nothing_was_recorded(ledger: LedgerService, position: str):
    await ledger.post(profile())
    for query in ("", "?unseal=1"):
        reply = await ledger.get(f"{EVENTS}/{position}{query}")
        assert (reply.status, reply.problem) == (404, "not-found")


async def test_a_stream_is_read_with_its_version_as_tag(ledger: LedgerService):
    path = "/v1/ledgers/main/streams/account/acme"
    assert (await ledger.get(path)).problem == "not-found"
    await ledger.post(*[profile() for _ in range(5)], profile("other"))
    reply = await ledger.get(path)
    assert reply.headers["ETag"] == '"5"'
    assert [each["streamversion"] for each in reply.json["events"]] == [1, 2, 3, 4, 5]
    assert (await ledger.get(path, headers={"If-None-Match": '"5"'})).status == 304
    await ledger.post(profile())
    assert (await ledger.get(path, headers={"If-None-Match": '"5"'})).headers["ETag"] == '"6"'

    first = await ledger.get(f"{path}?limit=4")
    following = first.headers["Link"].removeprefix("<").removesuffix('>; rel="next"')
    rest = await ledger.get(following)
    assert [each["streamversion"] for each in first.json["events"] + rest.json["events"]] == [1, 2, 3, 4, 5, 6]
    assert "Link" not in rest.headers


def leaf_hash(state: bytes) -> str:
    return sha256(b"\x00" + state).hexdigest()
