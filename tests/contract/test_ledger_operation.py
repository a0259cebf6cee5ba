"""What operators meet: a full queue, a database that is away, probes, metrics, logs, an orderly stop."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from schemas.examples import EXAMPLES
from services.ledger import modes, queue
from tests.conftest import Database, free_ports
from tests.ledger_service import EVENTS, SECONDS_MAX, LedgerService, example, holds, profile, serving
from tests.log import Log, event


async def waiting(ledger: LedgerService, events: int) -> bool:
    return f"ledger_waiting_events {events:.1f}" in (await ledger.get("/metrics")).body.decode()


async def test_a_full_queue_answers_503_and_when_to_try_again(database: Database):
    settings = replace(database.settings, queue_events_max=3)
    async with serving(settings) as ledger, Log.open(database) as log:
        async with log.connection.transaction():
            await log.lock()
            first = asyncio.create_task(ledger.post(profile("a"), profile("b")))
            await holds(lambda: waiting(ledger, 2))
            second = await ledger.post(profile("c"), profile("d"))
            assert (second.status, second.problem) == (503, "overloaded")
            assert int(second.headers["Retry-After"]) >= 1
            third = asyncio.create_task(ledger.post(profile("e")))
            await holds(lambda: waiting(ledger, 3))
            assert (await ledger.post(profile("f"))).status == 503
        assert (await first).status == 201
        assert (await third).status == 201
        assert await ledger.head() == 3
        assert (await ledger.post(*[profile(f"g-{n}") for n in range(10)])).status == 201  # Alone, whatever its size.
        await holds(lambda: waiting(ledger, 0))


async def test_the_queue_is_bounded_in_bytes_too(database: Database):
    settings = replace(database.settings, queue_bytes_max=65_536)
    large = {"attributes": {"texts": ["x" * 1_000] * 40}}
    async with serving(settings) as ledger, Log.open(database) as log:
        async with log.connection.transaction():
            await log.lock()
            first = asyncio.create_task(ledger.post(event("account.profiled", account="a", **large)))
            await holds(lambda: waiting(ledger, 1))
            second = await ledger.post(event("account.profiled", account="b", **large))
            assert (second.status, second.problem) == (503, "overloaded")
        assert (await first).status == 201


async def test_requests_that_wait_together_are_committed_together(ledger: LedgerService, database: Database):
    async with Log.open(database) as log:
        async with log.connection.transaction():
            await log.lock()
            posts = [asyncio.create_task(ledger.post(profile(f"a-{n}"))) for n in range(20)]
            await holds(lambda: waiting(ledger, 20))
        replies = await asyncio.gather(*posts)
    assert sorted(reply.results[0]["position"] for reply in replies) == [*range(1, 21)]
    times = {reply.results[0]["recordedtime"] for reply in replies}
    assert len(times) <= 2  # The one that was under way, and all the others.


async def test_a_client_that_goes_away_has_its_event_recorded_once(ledger: LedgerService, database: Database):
    sent = profile()
    async with Log.open(database) as log, log.connection.transaction():
        await log.lock()
        post = asyncio.create_task(ledger.post(sent))
        await holds(lambda: waiting(ledger, 1))
        post.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await post
    assert (await ledger.post(sent)).results[0]["position"] == 1
    assert await ledger.head() == 1


async def test_a_service_without_its_database_lives_but_is_not_ready(database: Database):
    [nobody] = free_ports(1)
    settings = replace(database.settings, writer_url=f"postgresql://writer@127.0.0.1:{nobody}/ledger")
    async with serving(settings) as ledger:
        for reply in (await ledger.get("/readyz"), await ledger.post(profile()), await ledger.get(EVENTS)):
            assert (reply.status, reply.problem) == (503, "unavailable")
            assert int(reply.headers["Retry-After"]) >= 1
        for path in ("/livez", "/metrics", "/docs", "/v1/schemas"):
            assert (await ledger.get(path, key=None)).status == 200


async def test_a_service_is_ready_once_its_database_is_migrated(ledger: LedgerService, database: Database):
    assert (await ledger.get("/readyz", key=None)).status == 200
    connection = await asyncpg.connect(database.superuser)
    try:
        await connection.execute("DELETE FROM registry.ledgers")
        empty = await ledger.get("/readyz", key=None)
        assert (empty.status, empty.problem) == (503, "unavailable")
        assert "migrate" in empty.json["detail"]
        await connection.execute("DROP SCHEMA registry CASCADE")
        fresh = await ledger.get("/readyz", key=None)
        assert (fresh.status, fresh.problem) == (503, "unavailable")
        assert "migrate" in fresh.json["detail"]
    finally:
        await connection.close()


async def test_a_service_is_ready_only_on_the_schema_of_its_version(database: Database):
    connection = await asyncpg.connect(database.superuser)
    try:
        await connection.execute("INSERT INTO registry.migrations VALUES ('ledger main', '999_newer.sql', '', now())")
        async with serving(database.settings) as ledger:
            newer = await ledger.get("/readyz", key=None)
            assert (newer.status, newer.problem) == (503, "unavailable")
            assert "999_newer.sql" in newer.json["detail"]

            await connection.execute("DELETE FROM registry.migrations WHERE name = '999_newer.sql'")
            known = await connection.fetch("DELETE FROM registry.migrations WHERE scope = 'ledger main' RETURNING *")
            older = await ledger.get("/readyz", key=None)
            assert (older.status, older.problem) == (503, "unavailable")
            assert "ledger main lacks 001_log.sql, " in older.json["detail"]

            await connection.executemany("INSERT INTO registry.migrations VALUES ($1, $2, $3, $4)", known)
            assert (await ledger.get("/readyz", key=None)).status == 200
            await connection.execute("INSERT INTO registry.migrations VALUES ('registry', '999_newer.sql', '', now())")
            assert (await ledger.get("/readyz", key=None)).status == 200  # It is being replaced by a newer version.
    finally:
        await connection.close()


async def test_the_metrics_tell_what_was_recorded_and_answered(ledger: LedgerService):
    await ledger.post(profile("a"), profile("b"))
    reply = await ledger.get("/metrics", key=None)
    assert reply.headers["Content-Type"].startswith("text/plain")
    text = reply.body.decode()
    assert 'ledger_events_recorded_total{ledger="main"}' in text
    route = 'method="POST",route="/v1/ledgers/{ledger}/events",service="ledger",status="201"'
    assert f"http_request_seconds_count{{{route}}}" in text


# The service as a process of its own


class Process:
    """`python -m services.ledger` with every log line kept."""

    def __init__(self, process: asyncio.subprocess.Process, ledger: LedgerService) -> None:
        self.process = process
        self.ledger = ledger

    async def stopped(self) -> list[str]:
        """Stop it as an operator does; every line that it has written."""
        self.process.send_signal(signal.SIGTERM)
        output, _ = await asyncio.wait_for(self.process.communicate(), SECONDS_MAX)
        assert self.process.returncode == 0, output
        return output.decode().splitlines()


@contextlib.asynccontextmanager
async def started(database: Database, **environ: str) -> AsyncIterator[Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.ledger"),
        env=os.environ | database.settings.environ() | environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            ledger = LedgerService(database.settings, session)
            await holds(ledger.answers)
            yield Process(process, ledger)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def test_no_log_line_holds_a_sealed_text_even_at_debug_level_and_in_errors(database: Database):
    secrets = {"quote": "zugzwang in the renewal", "name": "Xanthippe Quirke", "email": "xq@quirke.example"}
    asked = example("ask.recorded", quote=secrets["quote"])
    person = example("person.introduced", name=secrets["name"], email=secrets["email"])
    quoted = msgspec.json.encode(asked)
    async with started(database, LEDGER_LOG_LEVEL="debug") as process:
        ledger = process.ledger
        statuses = [(await ledger.post(each)).status for each in (asked, person, asked)]
        refused: list[Any] = [
            await ledger.send(quoted[:-1]),
            await ledger.send(quoted.replace(b"zugzwang", b"zugzwang\\ud800")),
            await ledger.send(quoted.replace(b"zugzwang", b"zugzwang\\u0000")),
            await ledger.send(quoted.replace(b"zugzwang", b"zugzwang\xff")),
            await ledger.send(quoted, "text/plain"),
            await ledger.post(asked | {"data": asked["data"] | {"importance": 9}}),
            await ledger.post(asked | {"data": asked["data"] | {"quote": secrets["quote"] * 500}}),
            await ledger.post(asked | {"data": asked["data"] | {"quote": [secrets["quote"]]}}),
            await ledger.post(asked | {"data": asked["data"] | {"quote": secrets["quote"] + "!"}}),
        ]
        await ledger.get(f"{EVENTS}/1?unseal=1")

        # A key that does not open.
        connection = await asyncpg.connect(database.superuser)
        await connection.execute(
            "UPDATE ledger_main.sealing_keys SET wrapped = set_byte(wrapped, 0, 255 - get_byte(wrapped, 0))"
        )
        await connection.close()
        failed = [await ledger.post(asked), await ledger.get(f"{EVENTS}/2?unseal=1")]
        lines = await process.stopped()

    assert statuses == [201, 201, 200]
    assert [reply.status for reply in failed] == [503, 503]
    logged = [json.loads(line) for line in lines]
    assert {"service_started", "request_answered", "batch_not_committed", "service_stopping"} <= {
        line["event"] for line in logged
    }
    words = [word for text in secrets.values() for word in (text, text.encode().hex(), text.split()[0])]
    for text in ("\n".join(lines), *(reply.body.decode() for reply in (*refused, *failed))):
        for word in words:
            assert word not in text
    assert EXAMPLES["ledger.ask.recorded.v1"]["contact"] not in "\n".join(lines)


async def test_a_service_that_stops_ends_its_readers_and_answers_what_waits(database: Database):
    async with started(database) as process:
        ledger = process.ledger
        await ledger.post(profile())
        reader = await ledger.session.get(f"{ledger.url}{EVENTS}/stream", headers=ledger.authorized())
        await reader.content.readuntil(b"\r\n\r\n")
        async with Log.open(database) as log, log.connection.transaction():
            await log.lock()
            post = asyncio.create_task(ledger.post(profile()))
            await holds(lambda: waiting(ledger, 1))
            stop = asyncio.create_task(process.stopped())
            assert await reader.content.read() == b""  # An end, and not a cut.
            assert not post.done()
        assert (await post).status == 201
        lines = await stop
        reader.close()
    assert json.loads(lines[-1])["event"] == "service_stopping"


async def test_what_is_not_http_is_not_logged(database: Database):
    head = b"POST /v1/ledgers/main/events HTTP/1.1\r\nHost: x\r\n"
    async with started(database, LEDGER_LOG_LEVEL="debug") as process:
        for request in (
            b"GET /v1/ledgers HTTP/1.1\r\nHost: x\r\nAuthorization : Bearer lk_zugzwang\r\n\r\n",
            head + b'Transfer-Encoding: chunked\r\n\r\n{"quote":"zugzwang"}\r\n',
            b"zugzwang\r\n\r\n",
        ):
            async with process.ledger.raw() as (reader, writer):
                writer.write(request)
                await writer.drain()
                assert b" 400 " in (await reader.read()).splitlines()[0]
        lines = await process.stopped()
    assert "request_not_http" in "\n".join(lines)
    assert "zugzwang" not in "\n".join(lines)


async def test_a_request_is_turned_away_before_its_body_is_read(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(queue, "BODY_LATE_SECONDS", SECONDS_MAX)  # Until then it makes way for nobody.
    settings = replace(database.settings, queue_bytes_max=65_536)
    async with serving(settings) as ledger, ledger.raw() as (_, writer), ledger.raw() as (later, other):
        request = (
            "POST /v1/ledgers/main/events HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n"
            f"Content-Type: application/cloudevents+json\r\nAuthorization: Bearer {ledger.admin}\r\n\r\n"
        ).encode()
        writer.write(request + b" " * 40_000)  # And the rest of its body does not come.
        await holds(lambda: holding(ledger, 40_000))
        other.write(request)
        assert b" 503 " in await later.readline()
        writer.close()
        await holds(lambda: holding(ledger, 0))
        assert (await ledger.post(profile())).status == 201


async def holding(ledger: LedgerService, bytes: int) -> bool:
    return f"ledger_waiting_bytes {bytes:.1f}" in (await ledger.get("/metrics")).body.decode()


async def test_a_service_without_the_owners_url_makes_no_ledgers_and_says_who_does(database: Database):
    async with serving(replace(database.settings, database_url=None)) as ledger:
        reply = await ledger.ask("PUT", "/v1/ledgers/other")
        assert (reply.status, reply.problem) == (403, "forbidden")
        assert "ledger migrate --ledger other" in reply.json["detail"]
        assert (await ledger.post(profile())).status == 201


async def idle(ledger: LedgerService, *headers: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that announces a batch and sends nothing of it."""
    reader, writer = await asyncio.open_connection(ledger.host, ledger.port)
    head = [
        "POST /v1/ledgers/main/events HTTP/1.1", f"Host: {ledger.host}", f"Authorization: Bearer {ledger.admin}",
        "Content-Type: application/cloudevents-batch+json", *headers,
    ]  # fmt: skip
    writer.write("\r\n".join([*head, "", ""]).encode())
    await writer.drain()
    return reader, writer


async def test_bodies_that_are_only_announced_keep_nobody_out(ledger: LedgerService):
    held = [await idle(ledger, "Content-Length: 16777216") for _ in range(5)]
    held += [await idle(ledger, "Transfer-Encoding: chunked") for _ in range(5)]
    assert (await ledger.post(profile())).status == 201
    for _, writer in held:
        writer.close()


async def test_a_body_has_a_while_to_arrive(ledger: LedgerService, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(modes, "BODY_SECONDS_MAX", 0.05)
    reader, writer = await idle(ledger, "Content-Length: 100")
    async with asyncio.timeout(SECONDS_MAX):
        assert b" 400 " in await reader.readline()
    writer.close()


async def test_an_origin_is_of_one_log_only(ledger: LedgerService):
    made = await ledger.ask("PUT", "/v1/ledgers/one", json={"origin": "ledger.example/one"})
    assert (made.status, made.json["origin"]) == (201, "ledger.example/one")
    again = await ledger.ask("PUT", "/v1/ledgers/one", json={"origin": "ledger.example/one"})
    assert again.status == 200
    other = await ledger.ask("PUT", "/v1/ledgers/two", json={"origin": "ledger.example/one"})
    assert (other.status, other.problem) == (409, "origin-taken") and "of the ledger one" in other.json["detail"]
    assert (await ledger.get("/v1/ledgers/two")).status == 404
