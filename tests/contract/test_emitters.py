"""What an emitter sees of itself: what was recorded, and what was refused, and where."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import quote

import aiohttp
import asyncpg
import pytest
from yarl import URL

from services.ledger.refusals import DAYS_KEPT, ELSEWHERE, SPOTS_MAX, Refusals
from services.postgres import open_pool
from tests.conftest import Database
from tests.ledger_process import processes
from tests.ledger_service import BATCH, LedgerService, Reply, example, holds, profile, serving

EMITTERS = "/v1/ledgers/main/emitters"
BAD: dict[str, Any] = {"data": {"account": "a b", "attributes": {}}}


async def emitter(ledger: LedgerService, source: str = "/crm", **how: Any) -> Reply:
    return await ledger.get(f"{EMITTERS}/{quote(source, safe='')}", **how)


def spots(reply: Reply) -> dict[str, int]:
    assert reply.status == 200, reply.body
    return {each["pointer"]: each["count"] for each in reply.json["refusals"]}


async def test_an_emitter_sees_what_was_recorded_and_what_was_refused(ledger: LedgerService):
    await ledger.post(profile("a", source="/crm"), profile("b", source="/crm"), profile("c", source="/erp"))
    await ledger.post(example("ask.recorded") | {"source": "/crm"})
    await ledger.post(profile("a", source="/crm") | BAD)
    await ledger.post(profile("a", source="/crm") | BAD)
    reply = await emitter(ledger)
    assert reply.status == 200
    told = reply.json
    assert told["source"] == "/crm"
    assert told["last"]["position"] == 4
    assert told["last"]["type"] == "ledger.ask.recorded.v1"
    assert told["last"]["recordedtime"].endswith("Z")
    assert told["types"] == [
        {"type": "ledger.account.profiled.v1", "count": 2, "last": 2},
        {"type": "ledger.ask.recorded.v1", "count": 1, "last": 4},
    ]
    [refused] = told["refusals"]
    assert refused.pop("last").startswith(refused.pop("day"))
    assert refused == {
        "type": "ledger.account.profiled.v1",
        "problem": "invalid-event",
        "pointer": "/data/account",
        "count": 2,
        "message": "an id is 1 to 100 of A-Z a-z 0-9 . _ ~ : @ -, first a letter or digit",
    }
    await ledger.post(profile("d", source="/crm"))
    assert (await emitter(ledger)).json["types"][0] == {"type": "ledger.account.profiled.v1", "count": 3, "last": 5}


async def test_a_source_is_named_in_the_path(ledger: LedgerService):
    names = [
        "/crm",
        "crm",
        "urn:crm",
        "https://crm.example/a?b=c#d",
        "/a%2Fb",
        "//x",
        "/a b".replace(" ", "+"),
        "/%",
        "..",
    ]
    for name in names:
        assert (await ledger.post(profile("a", source=name))).status == 201, name
    for name in names:
        async with aiohttp.ClientSession() as session:
            url = URL(f"{ledger.url}{EMITTERS}/{quote(name, safe='').replace('.', '%2E')}", encoded=True)
            async with session.get(url, headers=ledger.authorized()) as answer:
                assert answer.status == 200, (name, await answer.text())
                assert (await answer.json())["source"] == name
    assert (await ledger.get(f"{EMITTERS}//crm")).json["source"] == "/crm"
    assert (await ledger.get(f"{EMITTERS}/")).status == 404
    unknown = await emitter(ledger, "/nobody")
    assert (unknown.status, unknown.problem) == (404, "not-found")
    listed = (await ledger.get(EMITTERS)).json
    assert {each["source"] for each in listed["emitters"]} == set(names)


async def test_emitters_come_in_pages(ledger: LedgerService):
    await ledger.post(*[profile("a", source=f"/s{n}") for n in range(5)])
    await ledger.post(profile("a", source="/s9") | BAD)
    seen: list[Any] = []
    path: str | None = f"{EMITTERS}?limit=2"
    while path:
        reply = await ledger.get(path)
        assert len(reply.json["emitters"]) <= 2
        seen += reply.json["emitters"]
        path = reply.headers["Link"].partition(">")[0].lstrip("<") if "Link" in reply.headers else None
    assert [each["source"] for each in seen] == [f"/s{n}" for n in (0, 1, 2, 3, 4, 9)]
    assert seen[-1] == {"source": "/s9", "last": None, "refusals_today": 1}
    assert seen[0]["last"]["position"] == 1


async def test_who_may_see_which_emitter(ledger: LedgerService):
    await ledger.post(profile("a", source="/crm"), profile("a", source="/erp"))
    crm = await ledger.key("observe", sources=["/crm"])
    anyone = await ledger.key("act")
    reader = await ledger.key("query", sources=["/other"])
    personal = await ledger.key("personal")
    for key, seen in ((crm, ["/crm"]), (anyone, ["/crm", "/erp"]), (reader, ["/crm", "/erp"]), (personal, [])):
        for source in ("/crm", "/erp"):
            assert (await emitter(ledger, source, key=key)).status == (200 if source in seen else 403), source
        listed = await ledger.get(EMITTERS, key=key)
        assert [each["source"] for each in listed.json.get("emitters", [])] == seen
    assert (await ledger.get(EMITTERS, key=crm)).json["unnamed"] is None
    assert (await ledger.get(EMITTERS, key=None)).status == 401


async def test_a_key_writes_into_the_pages_of_its_own_sources_only(ledger: LedgerService):
    crm = await ledger.key("observe", sources=["/crm"])
    await ledger.post(profile("a", source="/erp") | BAD, key=crm)
    await ledger.post(profile("a", source="/erp"), key=crm)
    await ledger.post(profile("a", source="/erp"))
    assert (await emitter(ledger, "/erp")).json["refusals"] == []
    # What names no source counts for the one that the key has.
    await ledger.send(b"{", key=crm)
    await ledger.send(b"[]", BATCH, key=crm)
    await ledger.post(7, key=crm)
    await ledger.send(b"{}", "application/json", headers={"ce-source": "/erp", "ce-id": "1"}, key=crm)
    await ledger.send(b"{", "application/json", headers={"ce-source": "/crm", "ce-id": "1"}, key=crm)
    reply = await emitter(ledger, "/crm", key=crm)
    assert reply.json["last"] is None
    by_problem = {each["problem"]: each["count"] for each in reply.json["refusals"]}
    assert by_problem == {"malformed-json": 2, "not-a-cloudevent": 2}
    # And for none where the key has several.
    await ledger.send(b"{")
    assert (await ledger.get(EMITTERS)).json["unnamed"] == 1
    # A key without a scope to post is turned away before.
    reader = await ledger.key("query", sources=["/crm"])
    assert (await ledger.post(profile("a", source="/crm"), key=reader)).status == 403
    assert (await emitter(ledger, "/crm")).json["refusals"] == reply.json["refusals"]


async def test_of_what_is_said_nothing_that_was_sent_is_kept(ledger: LedgerService):
    crm = await ledger.key("observe", sources=["/crm"])
    await ledger.send(b'{"zugzwang', key=crm)
    await ledger.send(b"{}", BATCH, key=crm)
    await ledger.send(b"{}", "application/zugzwang", key=crm)
    await ledger.post(profile(source="/crm", type="zugzwang"), key=crm)
    await ledger.post(profile(source="/crm", expectedversion=4711), key=crm)
    kept = {each["problem"]: each["message"] for each in (await emitter(ledger, "/crm")).json["refusals"]}
    assert kept == {
        "malformed-json": "Input data was truncated",
        "not-a-cloudevent": "a batch is a JSON array of 1 to 1,000 CloudEvents",
        "unsupported-media-type": "This media type is not taken here",
        "unknown-type": "No such event type",
        "version-conflict": "The stream has another version than expected",
    }


async def test_every_way_of_being_refused_is_counted_and_a_dry_run_is_not(ledger: LedgerService):
    sent = profile("a", source="/crm", id="e-1")
    await ledger.post(sent)
    await ledger.post(sent | {"data": {"account": "a", "attributes": {}}})
    await ledger.post(profile("a", source="/crm", expectedversion=7))
    await ledger.post(profile("a", source="/crm"), headers={"If-Match": '"7"'})
    await ledger.post(example("requirement.reworded") | {"source": "/crm"})
    await ledger.post(profile("a", source="/crm", type="ledger.account.sold.v1"))
    await ledger.post(profile("a", source="/crm", time="2999-01-01T00:00:00Z"))
    bad = profile("a", source="/crm") | BAD
    await ledger.post(bad, params={"dry_run": "1"})
    # In a batch, what is well-formed is not refused; of one handled leniently the same counts.
    await ledger.post(bad, profile("b", source="/crm"))
    lenient = {"Prefer": "handling=lenient"}
    await ledger.post(bad, profile("c", source="/crm"), headers=lenient)
    reply = await emitter(ledger)
    found = {(each["problem"], each["type"] is None): each["count"] for each in reply.json["refusals"]}
    assert found == {
        ("id-conflict", False): 1,
        ("version-conflict", False): 1,
        ("precondition-failed", False): 1,
        ("rule-not-met", False): 1,
        ("unknown-type", True): 1,
        ("time-in-future", False): 1,
        ("invalid-event", False): 2,
    }
    assert (await ledger.get(EMITTERS)).json["emitters"][0]["refusals_today"] == 8


async def test_counts_stay_when_the_service_is_started_again_and_go_on(database: Database):
    for n in (1, 2):
        async with serving(database.settings) as ledger:
            await ledger.post(profile("a", source="/crm") | BAD)
            if n == 2:
                assert spots(await emitter(ledger)) == {"/data/account": 2}


async def test_two_processes_count_together_and_a_killed_one_loses_a_moment_at_most(database: Database):
    async with aiohttp.ClientSession() as session, processes(database.settings, 2, session) as both:

        async def refuse(process: Any) -> None:
            bad = profile("a", source="/crm") | BAD
            url = f"{process.url}/v1/ledgers/main/events"
            headers = process.headers | {"Content-Type": "application/cloudevents+json"}
            async with session.post(url, json=bad, headers=headers) as answer:
                assert answer.status == 422

        async def count() -> int:
            connection = await asyncpg.connect(database.auditor)
            try:
                total = await connection.fetchval("SELECT sum(count) FROM ledger_main.refusals WHERE source = '/crm'")
                return int(total or 0)
            finally:
                await connection.close()

        await asyncio.gather(*(refuse(process) for process in both * 20))

        async def all_written() -> bool:
            return await count() == 40

        await holds(all_written)
        await refuse(both[0])
        both[0].kill()
        for _ in range(3):
            await refuse(both[1])

        async def written() -> bool:
            return await count() in (43, 44)

        await holds(written)
        async with session.get(f"{both[1].url}{EMITTERS}/%2Fcrm", headers=both[1].headers) as answer:
            assert answer.status == 200


async def test_a_database_that_is_away_makes_no_refusal_fail(database: Database, ledger: LedgerService):
    connection = await asyncpg.connect(database.superuser)
    try:
        await ledger.post(profile("a", source="/crm"))
        await connection.execute("ALTER TABLE ledger_main.refusals RENAME TO hidden")
        for _ in range(3):
            assert (await ledger.post(profile("a", source="/crm") | BAD)).status == 422
        assert (await emitter(ledger)).status >= 500
        await connection.execute("ALTER TABLE ledger_main.hidden RENAME TO refusals")
    finally:
        await connection.close()
    assert spots(await emitter(ledger)) == {"/data/account": 3}


async def test_what_cannot_be_written_ever_does_not_end_the_counting(database: Database):
    pool = await open_pool(database.writer, connections_max=2)
    async with pool, Refusals(pool) as counts:
        counts.count("main", 7, "", [("invalid-event", "/data", "is required")])  # type: ignore[arg-type]

        async def given_up() -> bool:
            return "main" not in counts._waiting

        await holds(given_up)
        counts.count("main", "/crm", "", [("invalid-event", "/data", "is required")])

        async def written() -> bool:
            return await pool.fetchval("SELECT sum(count) FROM ledger_main.refusals") == 1

        await holds(written)


async def test_days_change_and_old_ones_are_dropped(database: Database):
    now = datetime(2026, 11, 21, 23, 59, tzinfo=UTC)
    pool = await open_pool(database.writer, connections_max=2)
    async with pool:
        counts = Refusals(pool, clock=lambda: now)
        for _ in range(DAYS_KEPT + 3):
            counts.count("main", "/crm", "", [("invalid-event", "/data", "is required")])
            counts.keep("main")
            await counts.write("main")
            now += timedelta(days=1)
        days = [row["day"] for row in await pool.fetch("SELECT day FROM ledger_main.refusals ORDER BY day")]
    last = date(2026, 11, 21) + timedelta(days=DAYS_KEPT + 2)
    assert days == [last - timedelta(days=n) for n in reversed(range(DAYS_KEPT))]


async def test_spots_are_bounded_over_restarts_too(database: Database):
    now = datetime(2026, 11, 21, tzinfo=UTC)
    pool = await open_pool(database.writer, connections_max=2)
    async with pool:
        for start in (0, 80, 160):
            counts = Refusals(pool, clock=lambda: now)
            for n in range(start, start + 80):
                counts.count("main", "/crm", "", [("invalid-event", f"/data/x{n}", "unknown field")])
            await counts.write("main")
        rows = await pool.fetch("SELECT pointer, count FROM ledger_main.refusals")
    assert len(rows) == SPOTS_MAX + 1
    assert {row["pointer"]: row["count"] for row in rows}[ELSEWHERE] == 240 - SPOTS_MAX


@pytest.mark.parametrize("role", ["projector", "auditor"])
async def test_who_reads_cannot_write_counts(database: Database, role: str):
    connection = await asyncpg.connect(getattr(database, role))
    try:
        assert await connection.fetch("SELECT * FROM ledger_main.refusals") == []
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM ledger_main.refusals")
    finally:
        await connection.close()


async def test_a_count_for_another_source_of_a_key_is_refused(ledger: LedgerService):
    key = await ledger.key("observe", sources=["/crm"])
    counted = example("source.reconciled") | {"source": "/crm"}
    assert (await ledger.post(counted | {"data": counted["data"] | {"source": "/crm"}}, key=key)).status == 201
    other = counted | {"id": "x", "data": counted["data"] | {"source": "/erp"}}
    reply = await ledger.post(other, key=key)
    assert (reply.status, reply.problem, reply.errors[0][1]) == (403, "source-not-granted", "/data/source")
