"""Reading the log over HTTP: pages, lines, one event, one stream, server-sent events, sealed texts."""

import asyncio
import base64
import contextlib
import random
from collections.abc import AsyncIterator
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import aiohttp
import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from schemas.examples import EXAMPLES
from services.kept_outside import KeptOutside, store_of
from services.ledger.ledgers import Ledgers
from services.ledger.log import PAGE_BYTES_MAX
from services.ledger.sequence import Result
from services.postgres import ACQUIRE_SECONDS_MAX, open_pool
from services.sealing import MasterKeys
from services.signing import SigningKeys
from tests.conftest import Database, free_ports
from tests.faults.postgres_proxy import PostgresProxy
from tests.ledger_service import EVENTS, NDJSON, STRUCTURED, LedgerService, example, holds, profile, serving
from tests.log import event, redacted
from tests.sequencing import request

READERS = 30
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
    for accept, media in {
        NDJSON.upper(): NDJSON,
        f"{NDJSON};q=0.9, application/json;q=0.1": NDJSON,
        f"{NDJSON}, */*": NDJSON,
        f"{NDJSON};q=0": "application/json",
        f"{NDJSON};q=0.5, */*": "application/json",
        f"application/json, {NDJSON};q=0.1": "application/json",
    }.items():
        chosen = await ledger.get(EVENTS, headers={"Accept": accept})
        assert chosen.headers["Content-Type"].startswith(media), accept
        assert "Accept" in chosen.headers["Vary"]
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


async def test_a_page_is_bounded_in_bytes_and_says_that_there_is_more(ledger: LedgerService):
    large = {"texts": ["x" * 1_000] * 40}
    batch = [event("account.profiled", account="acme", attributes=large) for _ in range(130)]
    for part in range(0, 130, 13):
        assert (await ledger.post(*batch[part : part + 13])).status == 201
    assert sum(len(msgspec.json.encode(each)) for each in batch) > PAGE_BYTES_MAX
    for path, number in (
        (EVENTS, "sequence"),
        ("/v1/ledgers/main/streams/account/acme", "streamversion"),
        (f"{EVENTS}?type=ledger.account.profiled.v1", "sequence"),
    ):
        found: list[int] = []
        following: str | None = f"{path}{'&' if '?' in path else '?'}limit=1000"
        while following:
            reply = await ledger.get(following)
            assert len(reply.body) <= PAGE_BYTES_MAX + 1_000
            found += [int(each[number]) for each in reply.json["events"]]
            link = reply.headers.get("Link")
            following = link.removeprefix("<").removesuffix('>; rel="next"') if link else None
        assert found == [*range(1, 131)], path
    async with tail(ledger) as reader:
        assert [*await reader.next(130)] == [*range(1, 131)]


async def test_there_is_a_next_page_only_if_there_is_more(ledger: LedgerService):
    await ledger.post(profile(), profile())
    for path in (EVENTS, "/v1/ledgers/main/streams/account/acme"):
        assert "Link" in (await ledger.get(f"{path}?limit=1")).headers
        assert "Link" not in (await ledger.get(f"{path}?limit=2")).headers


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


# Server-sent events


@contextlib.asynccontextmanager
async def tail(
    ledger: LedgerService, query: str = "", *, key: str = "", headers: dict[str, str] | None = None
) -> AsyncIterator["Tail"]:
    async with ledger.session.get(
        f"{ledger.url}{EVENTS}/stream{query}", headers=ledger.authorized(key, headers)
    ) as response:
        assert response.status == 200, await response.read()
        assert response.headers["Content-Type"] == "text/event-stream"
        yield Tail(response.content)


class Tail:
    """The server-sent events of one reader."""

    def __init__(self, content: aiohttp.StreamReader) -> None:
        self._content = content

    async def rest(self) -> bytes:
        """What comes until the stream ends."""
        return await self._content.read()

    async def next(self, count: int) -> dict[int, bytes]:
        """The next events: by their ids, their data."""
        found: dict[int, bytes] = {}
        while len(found) < count:
            message = await self._content.readuntil(b"\r\n\r\n")
            fields = dict(line.split(b": ", 1) for line in message.strip().split(b"\r\n"))
            if b"id" in fields:  # Else it is a ping.
                found[int(fields[b"id"])] = fields[b"data"]
        return found


async def test_a_reader_gets_the_stored_bytes_from_where_it_left_off(ledger: LedgerService):
    stored = dict(enumerate(await filled(ledger), 1))

    def above(position: int) -> dict[int, bytes]:
        return {at: state for at, state in stored.items() if at > position}

    async with tail(ledger) as reader:
        assert await reader.next(25) == stored
    async with tail(ledger, "?after=20") as reader:
        assert await reader.next(5) == above(20)
    async with tail(ledger, "?after=3", headers={"Last-Event-ID": "22"}) as reader:
        assert await reader.next(3) == above(22)
    async with tail(ledger, "?type=ledger.requirement.raised.v1&after=21") as reader:
        assert await reader.next(4) == above(21)


async def test_several_readers_get_what_is_recorded_while_they_read(ledger: LedgerService):
    await ledger.post(profile())
    async with tail(ledger) as first, tail(ledger, "?after=1") as second, tail(ledger, "?subject=account/b") as third:
        assert [*await first.next(1)] == [1]
        for account in ("a", "b", "a", "b"):
            await ledger.post(profile(account))
        assert [*await first.next(4)] == [2, 3, 4, 5]
        assert [*await second.next(4)] == [2, 3, 4, 5]
        assert [*await third.next(2)] == [3, 5]
    assert (await ledger.post(profile())).status == 201


async def test_a_reader_gets_what_another_process_records(ledger: LedgerService):
    [port] = free_ports(1)
    async with serving(replace(ledger.settings, ledger_port=port)) as other, tail(ledger) as reader:
        await other.post(profile())
        assert [*await reader.next(1)] == [1]
        await ledger.post(profile())
        await other.post(profile())
        assert [*await reader.next(2)] == [2, 3]


async def test_many_readers_cost_one_look_not_one_each(database: Database):
    async with PostgresProxy.before(database.writer) as proxy, contextlib.AsyncExitStack() as stack:
        settings = replace(database.settings, writer_url=proxy.address(database.writer))
        ledger = await stack.enter_async_context(serving(settings))
        wanted = {"subject": "account/last"}, {"type": "ledger.ask.recorded.v1"}, {"source": "urn:last"}
        queries = [urlencode(each) for each in wanted]

        async def post_wanted() -> None:
            ask = event("ask.recorded", requirement="R-1", account="a") | {"source": "urn:last"}
            assert (await ledger.post(profile("last"), ask)).status == 201

        await post_wanted()
        readers = [await stack.enter_async_context(tail(ledger, f"?{queries[n % 3]}")) for n in range(READERS)]
        for reader in readers:
            await reader.next(1)

        before = len(proxy.statements)
        for _ in range(10):
            await ledger.post(profile("another"))
        await post_wanted()
        found = [[*await reader.next(1)] for reader in readers]
        assert found == [[13 if n % 3 == 0 else 14] for n in range(READERS)]
        looks = [sql for sql in proxy.statements[before:] if "SELECT notification_id AS position, state" in sql]
        assert 0 < len(looks) < READERS


async def test_readers_that_come_and_go_while_others_write_miss_nothing(ledger: LedgerService):
    """Each from a place of its own, some with a filter; and some so slow that they fall behind."""
    total = 600

    async def write(until: int) -> None:
        for position in range(await ledger.head() + 1, until, 20):
            await ledger.post(*[profile(f"a-{(position + n) % 2}") for n in range(20)])

    async def read(number: int) -> None:
        await asyncio.sleep(random.random() / 5)
        after, some = number * 7, number % 2 == 1
        expected = [position for position in range(after + 1, total + 1) if position % 2 or not some]
        seen: list[int] = []
        while len(seen) < len(expected):
            query = f"?after={seen[-1] if seen else after}"
            async with tail(ledger, query + ("&subject=account/a-1" if some else "")) as reader:
                for _ in range(min(97, len(expected) - len(seen))):
                    seen += await reader.next(1)
                    if number % 5 == 0:
                        await asyncio.sleep(0)
        assert seen == expected

    await write(220)
    await asyncio.gather(write(total), *(read(number) for number in range(READERS)))


async def test_an_event_is_recorded_while_readers_hold_every_connection_of_theirs(database: Database):
    master = MasterKeys.load_or_make(database.settings.master_key)
    signing = SigningKeys.load_or_make(database.settings.signing_key)
    outside = partial(KeptOutside, store_of(database.settings))
    async with (
        await open_pool(database.writer, connections_max=1) as reading,
        await open_pool(database.writer, connections_max=1) as recording,
        Ledgers(reading, recording, database.settings, master, signing, outside) as ledgers,
    ):
        ledger = await ledgers.open("main")
        async with reading.acquire(), asyncio.timeout(ACQUIRE_SECONDS_MAX / 2):
            await ledger.history.settle()
            [result] = await ledger.sequencer.submit(request(profile()))
            assert isinstance(result, Result)


async def test_a_reader_that_cannot_be_resumed_is_told_so(ledger: LedgerService):
    await ledger.post(profile())
    beyond = await ledger.get(f"{EVENTS}/stream?after=2")
    assert (beyond.status, beyond.problem) == (404, "beyond-the-head")
    for text in ("x", "-1", "1.5", "99999999999999999999"):
        bad = await ledger.get(f"{EVENTS}/stream", headers={"Last-Event-ID": text})
        assert (bad.status, bad.problem) == (400, "bad-parameter"), text


async def test_a_reader_is_cut_off_when_the_database_goes_and_resumes_later(ledger: LedgerService, database: Database):
    await ledger.post(profile(), profile())
    async with tail(ledger) as reader:
        assert [*await reader.next(2)] == [1, 2]
        await allow_connections(database, False)
        with pytest.raises((aiohttp.ClientPayloadError, asyncio.IncompleteReadError)):
            await reader.next(1)
    await allow_connections(database, True)

    async def posted() -> bool:
        return (await ledger.post(profile(id="later"))).status in (200, 201)

    await holds(posted)
    async with tail(ledger, headers={"Last-Event-ID": "2"}) as reader:
        assert [*await reader.next(1)] == [3]


async def allow_connections(database: Database, allowed: bool) -> None:
    """Let everybody into the database, or nobody and end who is in."""
    connection = await asyncpg.connect(urlunsplit(urlsplit(database.superuser)._replace(path="/postgres")))
    try:
        await connection.execute(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS {allowed}")
        if not allowed:
            await connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", database.name
            )
    finally:
        await connection.close()


# Sealed texts

SECRETS = {
    "ask.recorded": ["quote"],
    "requirement.raised": ["problem"],
    "person.introduced": ["name", "email"],
}


async def sealed(ledger: LedgerService) -> list[str]:
    """One event of each type that has sealed texts; and those texts."""
    for name in SECRETS:
        assert (await ledger.post(example(name))).status == 201
    return [EXAMPLES[f"ledger.{name}.v1"][field] for name, fields in SECRETS.items() for field in fields]


async def test_sealed_texts_are_nowhere_in_what_is_read_without_the_scope(ledger: LedgerService):
    texts = await sealed(ledger)
    key = await ledger.key("query", "audit", "observe", "act")
    paths = [EVENTS, *(f"{EVENTS}/{position}" for position in (1, 2, 3))]
    paths += ["/v1/ledgers/main/streams/requirement/SSO-42", "/v1/ledgers/main/streams/person/p-81"]
    read = [(await ledger.get(path, key=key)).body for path in paths]
    read.append((await ledger.get(EVENTS, key=key, headers={"Accept": NDJSON})).body)
    async with tail(ledger, key=key) as reader:
        read += (await reader.next(3)).values()
    for body in read:
        assert b'"sealed":' in body
        for text in texts:
            assert text.encode() not in body
            assert base64.b64encode(text.encode())[:-4] not in body
    for position in (1, 2, 3):
        refused = await ledger.get(f"{EVENTS}/{position}?unseal=1", key=key)
        assert (refused.status, refused.problem) == (403, "scope-missing")


async def test_the_scope_personal_opens_what_is_sealed(ledger: LedgerService):
    await sealed(ledger)
    await ledger.post(profile())
    key = await ledger.key("query", "personal")
    for position, name in enumerate(SECRETS, 1):
        reply = await ledger.get(f"{EVENTS}/{position}?unseal=1", key=key)
        assert reply.json["data"] == EXAMPLES[f"ledger.{name}.v1"]
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Vary"] == "Authorization"
        assert "ETag" not in reply.headers
    plain = await ledger.get(f"{EVENTS}/4?unseal=1", key=key)
    assert plain.json == (await ledger.get(f"{EVENTS}/4", key=key)).json


async def test_a_text_whose_key_is_gone_is_null_and_its_id_alone_decides(ledger: LedgerService):
    sent = example("ask.recorded")
    await ledger.post(sent)
    assert (await ledger.post(redacted(1, "requirement/SSO-42"))).status == 201
    assert (await ledger.get(f"{EVENTS}/1?unseal=1")).json["data"] == sent["data"] | {"quote": None}
    assert (await ledger.post(sent)).results[0]["duplicate"]
    assert (await ledger.post(sent | {"data": sent["data"] | {"quote": "Other words."}})).status == 200


async def test_the_same_words_are_sealed_differently_each_time(ledger: LedgerService):
    await ledger.post(example("ask.recorded"), example("ask.recorded"))
    quotes = [each["data"]["quote"]["sealed"] for each in (await ledger.get(EVENTS)).json["events"]]
    assert len(set(quotes)) == 2


async def test_head_answers_as_get_does_without_a_body(ledger: LedgerService):
    await ledger.post(example("ask.recorded"))
    for path in (EVENTS, f"{EVENTS}/1", f"{EVENTS}/stream", "/v1/ledgers/main/streams/requirement/SSO-42"):
        for accept in ("*/*", NDJSON):
            reply = await ledger.ask("HEAD", path, headers={"Accept": accept})
            assert (reply.status, reply.body) == (200, b"")


async def test_an_etag_may_be_weak_one_of_several_or_any(ledger: LedgerService):
    await ledger.post(example("ask.recorded"))
    etag = (await ledger.get(f"{EVENTS}/1")).headers["ETag"]
    for known in (etag, f"W/{etag}", f'"else", {etag}', "*"):
        assert (await ledger.get(f"{EVENTS}/1", headers={"If-None-Match": known})).status == 304
    assert (await ledger.get(f"{EVENTS}/1", headers={"If-None-Match": '"else"'})).status == 200


async def test_a_stream_ends_with_its_key(ledger: LedgerService):
    reader = await ledger.key("query")
    async with tail(ledger, key=reader) as stream:
        assert (await ledger.post(profile())).status == 201
        assert [*await stream.next(1)] == [1]
        assert (await ledger.ask("DELETE", f"/v1/keys/{reader.split('_')[1]}")).status == 204
        assert (await ledger.post(profile("later"))).status == 201
        async with asyncio.timeout(20):
            assert b"later" not in await stream.rest()


async def test_a_choice_that_there_is_not_names_those_that_there_are(ledger: LedgerService):
    reply = await ledger.ask("POST", "/v1/keys", json={"name": "a", "scopes": ["all"]})
    assert (reply.status, reply.problem) == (400, "bad-request")
    for text in ("9" * 5_000, "9" * 19, "-1", "1.5", ""):
        assert (await ledger.get(f"{EVENTS}/stream", headers={"Last-Event-ID": text})).status == 400
