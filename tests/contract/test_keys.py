"""Keys, attacked: what is on record about them, what they say when they end, for whom they speak."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from schemas.events import EVENT_TYPES, Act
from schemas.examples import EXAMPLES
from services.keys import key_id, new_key
from services.migrate import TEAMS
from tests.conftest import Database
from tests.ledger_service import EVENTS, LedgerService, example, holds, profile
from tests.log import Log

HISTORY = "/v1/keys/history"
DENIED = (asyncpg.InsufficientPrivilegeError, asyncpg.RestrictViolationError)


async def made(ledger: LedgerService, *scopes: str, **grants: Any) -> Any:
    reply = await ledger.ask("POST", "/v1/keys", json={"name": "crm", "scopes": scopes} | grants)
    assert reply.status == 201, reply.body
    return reply.json


async def revoke(ledger: LedgerService, id: str, status: int = 204) -> None:
    reply = await ledger.ask("DELETE", f"/v1/keys/{id}")
    assert reply.status == status, reply.body


# On record


async def test_every_making_and_revoking_is_on_record(ledger: LedgerService):
    grants = {"ledgers": ["main"], "sources": ["/crm"], "teams": ["sales"]}
    expires = "2099-01-01T00:00:00Z"
    key = await made(ledger, "observe", "query", **grants, expires=expires)
    other = await made(ledger, "query")
    await revoke(ledger, key["id"])
    await revoke(ledger, key["id"])  # Once more changes nothing.
    records = (await ledger.get(HISTORY)).json["records"]
    admin = key_id(ledger.admin)
    assert [(each["what"], each["id"], each["by"]) for each in records[:3]] == [
        ("revoked", key["id"], admin),
        ("made", other["id"], admin),
        ("made", key["id"], admin),
    ]
    assert {each["name"] for each in records[3:]} == {"admin", "receiver"}
    assert {each["by"] for each in records[3:]} == {"migrate"}
    for each in (records[0], records[2]):
        assert {name: each[name] for name in grants} == grants
        assert (each["scopes"], each["expires"], each["name"]) == (["observe", "query"], expires, "crm")
    assert records[2]["at"] < records[1]["at"] < records[0]["at"]
    assert b"lk_" not in (await ledger.get(HISTORY)).body


async def test_the_history_comes_in_pages(ledger: LedgerService):
    ids = [(await made(ledger, "query"))["id"] for _ in range(5)]
    seen: list[Any] = []
    path: str | None = f"{HISTORY}?limit=2"
    while path:
        reply = await ledger.get(path)
        seen += reply.json["records"]
        path = reply.headers["Link"].partition(">")[0].lstrip("<") if "Link" in reply.headers else None
    assert [each["id"] for each in seen][:5] == ids[::-1]
    assert len(seen) == 7
    numbers = [each["number"] for each in seen]
    assert numbers == sorted(numbers, reverse=True)
    for bad in ("limit=0", "limit=1001", "before=0", "before=x"):
        assert (await ledger.get(f"{HISTORY}?{bad}")).problem == "bad-parameter"


async def test_administrators_and_auditors_read_the_history_and_nobody_else(ledger: LedgerService):
    assert (await ledger.get(HISTORY, key=await ledger.key("audit"))).status == 200
    for scope in ("observe", "act", "query", "personal"):
        assert (await ledger.get(HISTORY, key=await ledger.key(scope))).problem == "scope-missing"
    bound = await ledger.key("audit", ledgers=["main"])
    assert (await ledger.get(HISTORY, key=bound)).problem == "forbidden"
    assert (await ledger.get(HISTORY, key=None)).status == 401


@pytest.mark.parametrize("role", ["superuser", "owner", "writer", "projector", "auditor"])
async def test_nobody_changes_the_record_or_what_a_key_grants(ledger: LedgerService, database: Database, role: str):
    live, ended = await made(ledger, "query"), await made(ledger, "query")
    await revoke(ledger, ended["id"])
    connection = await asyncpg.connect(getattr(database, role))
    where = f"WHERE key = '{live['id']}'"
    try:
        if role == "superuser":
            await connection.execute("SET session_replication_role = replica")
        for statement in (
            "UPDATE registry.key_records SET by = 'x'",
            "DELETE FROM registry.key_records",
            "TRUNCATE registry.key_records",
            "DELETE FROM registry.api_keys",
            "TRUNCATE registry.api_keys",
            *(f"UPDATE registry.api_keys SET {column} = '{{admin}}' {where}" for column in ("scopes", "ledgers")),
            *(f"UPDATE registry.api_keys SET {column} = '{{}}' {where}" for column in ("sources", "teams")),
            f"UPDATE registry.api_keys SET sources = '{{/x}}' {where}",
            f"UPDATE registry.api_keys SET expires_at = now(), revoked_at = now(), revoked_by = 'x' {where}",
            f"UPDATE registry.api_keys SET name = 'x' {where}",
            f"UPDATE registry.api_keys SET key = 'x' {where}",
            f"UPDATE registry.api_keys SET revoked_at = now() {where}",
            f"UPDATE registry.api_keys SET revoked_at = NULL, revoked_by = NULL WHERE key = '{ended['id']}'",
            f"UPDATE registry.api_keys SET revoked_at = now(), revoked_by = 'x' WHERE key = '{ended['id']}'",
        ):
            with pytest.raises(DENIED):
                await connection.execute(statement)
    finally:
        await connection.close()
    assert len((await ledger.get(HISTORY)).json["records"]) == 5


async def test_a_key_made_behind_the_service_is_on_record_with_the_clock_of_the_database(
    ledger: LedgerService, database: Database
):
    connection = await asyncpg.connect(database.writer)
    try:
        await connection.execute(
            "INSERT INTO registry.api_keys VALUES ('backdoor', 'x', sha256('x'), '{admin}', '{}', '{}', '{}',"
            " '2001-01-01', 'nobody')"
        )
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(
                "INSERT INTO registry.key_records OVERRIDING SYSTEM VALUE SELECT * FROM registry.key_records"
            )
    finally:
        await connection.close()
    record = (await ledger.get(HISTORY)).json["records"][0]
    assert (record["what"], record["id"], record["by"]) == ("made", "backdoor", "nobody")
    assert datetime.fromisoformat(record["at"]) > datetime.now(UTC) - timedelta(minutes=10)


# When a key ends


async def test_a_key_that_ended_says_when_to_whom_has_its_secret_only(ledger: LedgerService, database: Database):
    id, text = new_key()
    connection = await asyncpg.connect(database.writer)
    a_second_ago = datetime.now(UTC) - timedelta(seconds=1)
    try:
        await connection.execute(
            "INSERT INTO registry.api_keys VALUES"
            " ($1, 'x', sha256($2::bytea), '{query}', '{}', '{}', '{}', now(), 'x', $3)",
            id,
            text.encode(),
            a_second_ago,
        )
    finally:
        await connection.close()
    reply = await ledger.get(EVENTS, key=text)
    assert (reply.status, reply.problem) == (401, "unauthorized")
    assert datetime.fromisoformat(reply.json["expired"]) == a_second_ago
    assert reply.json["expired"] in reply.json["detail"]
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")

    key = await made(ledger, "query")
    assert (await ledger.get(EVENTS, key=key["key"])).status == 200
    await revoke(ledger, key["id"])
    reply = await ledger.get(EVENTS, key=key["key"])
    assert (reply.status, reply.problem) == (401, "unauthorized")
    assert reply.json["revoked"] in reply.json["detail"]
    assert "expired" not in reply.json

    guessed = f"lk_{key['id']}_{'A' * 43}"
    reply = await ledger.get(EVENTS, key=guessed)
    assert (reply.status, reply.problem) == (401, "unauthorized")
    assert not reply.json.keys() & {"expired", "revoked"}
    assert key["id"] not in reply.json["detail"]


async def test_a_key_that_is_revoked_twice_is_revoked_and_one_that_never_was_is_not_found(ledger: LedgerService):
    key = await made(ledger, "query")
    await revoke(ledger, key["id"])
    first = (await ledger.get("/v1/keys")).json
    await revoke(ledger, key["id"])
    assert (await ledger.get("/v1/keys")).json == first
    await revoke(ledger, "nosuchkey", status=404)


async def test_a_batch_that_was_under_way_when_its_key_ended_is_recorded_whole_and_the_next_is_not(
    ledger: LedgerService, database: Database
):
    key = await made(ledger, "observe")
    async with Log.open(database) as log, log.connection.transaction():
        await log.lock()
        post = asyncio.create_task(ledger.post(profile("a"), profile("b"), key=key["key"]))

        async def waits() -> bool:
            return "ledger_waiting_events 2.0" in (await ledger.get("/metrics")).body.decode()

        await holds(waits)
        await revoke(ledger, key["id"])
    assert (await post).status == 201
    assert (await ledger.post(profile("c"), key=key["key"])).status == 401
    assert await ledger.head() == 2


async def test_a_stream_ends_when_its_key_expires(ledger: LedgerService):
    soon = datetime.now(UTC) + timedelta(seconds=3)
    key = await ledger.key("query", expires=soon.isoformat())
    async with ledger.session.get(f"{ledger.url}{EVENTS}/stream", headers=ledger.authorized(key)) as stream:
        assert stream.status == 200

        async def go_on_recording() -> None:
            while True:
                await ledger.post(profile())

        recording = asyncio.create_task(go_on_recording())
        async for _ in stream.content.iter_any():  # It has an end, and no cut.
            pass
        recording.cancel()
        assert datetime.now(UTC) >= soon


# Rotation


async def test_two_keys_of_a_name_work_side_by_side_and_the_list_says_which_is_in_use(ledger: LedgerService):
    old, new = await made(ledger, "observe"), await made(ledger, "observe")
    today = datetime.now(UTC).date()
    assert (await ledger.post(profile(), key=old["key"])).status == 201
    listed = {each["id"]: each for each in (await ledger.get("/v1/keys")).json["keys"]}
    assert (listed[old["id"]]["name"], listed[new["id"]]["name"]) == ("crm", "crm")
    assert listed[old["id"]]["last_used"] in (today.isoformat(), datetime.now(UTC).date().isoformat())
    assert listed[new["id"]]["last_used"] is None
    assert (await ledger.post(profile(), key=new["key"])).status == 201
    await revoke(ledger, old["id"])
    assert (await ledger.post(profile(), key=old["key"])).status == 401
    assert (await ledger.post(profile(), key=new["key"])).status == 201


async def test_a_use_that_cannot_be_noted_keeps_nobody_out(ledger: LedgerService, database: Database):
    connection = await asyncpg.connect(database.superuser)
    try:
        await connection.execute("DROP TABLE registry.key_uses")
    finally:
        await connection.close()
    assert (await ledger.get(EVENTS)).status == 200


# For whom a key speaks


def teams_spoken_for(value: Any, team: str) -> Any:
    """The data of an event in which every team that speaks is `team`."""
    data = dict(value)
    if "by" in data:
        data["by"] = data["by"] | {"team": team}
    if "deciders" in data:
        data["deciders"] = [each | {"team": team} for each in data["deciders"]]
    return data


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
async def test_who_an_event_is_by_needs_the_team_whatever_its_case(ledger: LedgerService, name: str):
    key = await ledger.key("observe", "act", teams=[" SaLeS", "Marketing"])
    data = EXAMPLES[name]
    speaks = issubclass(EVENT_TYPES[name], Act) or "by" in data
    ours = teams_spoken_for(data, "sALES ") | ({"team": "marketing"} if "meaning" in data else {})
    theirs = teams_spoken_for(data, "product") | ({"team": "product"} if "meaning" in data else {})
    for said, granted in ((ours, True), (theirs, not speaks)):
        event = example(name.removeprefix("ledger.").removesuffix(".v1")) | {"data": said}
        reply = await ledger.post(event, key=key, params={"dry_run": "1"})
        problems = set() if reply.status == 200 else {problem for _, _, problem in reply.errors}
        assert ("team-not-granted" not in problems) is granted, (name, reply.body)


async def test_a_decision_needs_every_decider_s_team_and_may_report_what_others_said(ledger: LedgerService):
    await ledger.post(example("requirement.raised"))
    key = await ledger.key("act", teams=["product"])
    by = {"role": "VP", "team": "product"}
    reported = {
        "consulted": [{"role": "engineer", "team": "engineering"}],
        "informed": ["marketing"],
        "dissent": [{"team": "engineering", "statement": "Too early."}],
    }
    decided = example("decision.made", deciders=[by], option=None, **reported)
    decided["data"].pop("option")
    assert (await ledger.post(decided, key=key)).status == 201
    both = example("decision.made", decision="D-8", deciders=[by, {"role": "VP", "team": "sales"}], **reported)
    reply = await ledger.post(both, key=key)
    assert reply.errors == [(0, "/data/deciders/1/team", "team-not-granted")]
    assert "sales" in TEAMS


async def test_an_endorsement_is_for_its_team_and_by_its_sayer_s(ledger: LedgerService):
    await ledger.post(example("agreement.revised"))
    key = await ledger.key("act", teams=["sales"])
    for team, by, spots in (
        ("sales", "sales", []),
        ("sales", "product", ["/data/by/team"]),
        ("product", "sales", ["/data/team"]),
        ("product", "product", ["/data/by/team", "/data/team"]),
    ):
        event = example("agreement.endorsed", team=team, by={"role": "r", "team": by})
        reply = await ledger.post(event, key=key, params={"dry_run": "1"})
        assert sorted(pointer for _, pointer, _ in ([] if reply.status == 200 else reply.errors)) == spots
