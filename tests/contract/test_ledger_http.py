"""The HTTP table of the contract, for the ledger: posting, who may, keys and ledgers."""

import base64
import json
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import msgspec
import pytest

from tests.ledger_service import BATCH, EVENTS, STRUCTURED, LedgerService, example, profile

encode = msgspec.json.encode
QUOTE = "Without single sign-on we cannot renew."


# The three modes


def binary(sent: Any) -> dict[str, Any]:
    """An event in binary mode: the arguments of `send`."""
    attributes = {name: item for name, item in sent.items() if name not in ("data", "datacontenttype")}
    texts = {name: item if isinstance(item, str) else json.dumps(item) for name, item in attributes.items()}
    headers = {f"ce-{name}": quote(text, safe=" !#$&'()*+,/:;=?@[]~-._") for name, text in texts.items()}
    return {"body": encode(sent["data"]), "media": "application/json", "headers": headers}


async def test_an_event_is_the_same_in_every_mode(ledger: LedgerService):
    sent = example("ask.recorded") | {
        "time": "2026-11-20T10:00:00Z",
        "correlationid": "Größe 50% \N{HAMMER}",
        "priority": 3,
        "urgent": True,
    }
    first = (await ledger.post(sent)).results[0]
    assert first["position"] == 1
    assert not first["duplicate"]
    spelled = json.dumps(sent, ensure_ascii=True, indent=1).encode()
    for reply in (
        await ledger.send(**binary(sent | {"time": "2026-11-20T12:00:00+02:00"})),
        await ledger.send(spelled),
        await ledger.send(b"[" + spelled + b"]", BATCH),
        await ledger.send(spelled, STRUCTURED + "; charset=UTF-8"),
    ):
        assert reply.status == 200, reply.body
        assert reply.results == [first | {"duplicate": True}]
    recorded = (await ledger.get(f"{EVENTS}/1")).json
    assert recorded["correlationid"] == sent["correlationid"]
    assert await ledger.head() == 1


async def test_binary_mode_reads_headers_as_the_http_binding_says(ledger: LedgerService):
    sent = binary(profile())
    sent["headers"] |= {"ce-note": '"Gr%C3%B6%C3%9Fe \\"L\\", 100%25"', "ce-other": "a%20b%2Fc"}
    assert (await ledger.send(**sent)).status == 201
    recorded = (await ledger.get(f"{EVENTS}/1")).json
    assert (recorded["note"], recorded["other"]) == ('Größe "L", 100%', "a b/c")


@pytest.mark.parametrize(
    ("headers", "pointer"),
    [
        ({"ce-id": "%FF"}, "/id"),
        ({"ce-id": "%ED%A0%80"}, "/id"),
        ({"ce-note": "a%0Ab"}, "/note"),
        ({"ce-type": ""}, "/type"),
    ],
)
async def test_bad_headers_are_pointed_at(ledger: LedgerService, headers: dict[str, str], pointer: str):
    sent = binary(profile())
    sent["headers"] |= headers
    reply = await ledger.send(**sent)
    assert (reply.status, reply.problem) == (400, "not-a-cloudevent")
    assert reply.errors[0][:2] == (0, pointer)
    assert await ledger.head() == 0


async def test_a_header_that_is_given_twice_is_refused(ledger: LedgerService):
    body = encode(profile()["data"])
    request = (
        f"POST {EVENTS} HTTP/1.1\r\nHost: ledger\r\nAuthorization: Bearer {ledger.admin}\r\nConnection: close\r\n"
        "ce-id: a\r\nCE-ID: b\r\nce-source: urn:test\r\nce-specversion: 1.0\r\nce-type: ledger.account.profiled.v1\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    async with ledger.raw() as (reader, writer):
        writer.write(request.encode() + body)
        assert b" 400 " in await reader.readline()
        assert b"given twice" in await reader.read()


# What is answered when it is recorded


async def test_one_event_is_answered_with_its_place(ledger: LedgerService):
    reply = await ledger.post(profile() | {"id": "e-77", "source": "urn:crm"})
    assert reply.status == 201
    assert reply.headers["Location"] == f"{EVENTS}/1"
    assert reply.headers["ETag"] == '"1"'
    [result] = reply.results
    assert result.pop("recordedtime").endswith("Z")
    assert result == {
        "id": "e-77",
        "source": "urn:crm",
        "position": 1,
        "stream": "account/acme",
        "version": 1,
        "duplicate": False,
    }


async def test_new_and_duplicate_events_in_one_request_are_answered_in_the_order_sent(ledger: LedgerService):
    old, new = profile("old"), profile("new")
    await ledger.post(old)
    reply = await ledger.post(new, old, new)
    assert reply.status == 201
    assert [(result["position"], result["duplicate"]) for result in reply.results] == [(2, False), (1, True), (2, True)]
    again = await ledger.post(new, old)
    assert again.status == 200
    assert await ledger.head() == 2


async def test_an_id_names_one_content_in_its_source(ledger: LedgerService):
    sent = profile() | {"id": "e-1"}
    await ledger.post(sent)
    other = sent | {"data": {"account": "acme", "attributes": {"industry": "retail"}}}
    reply = await ledger.post(other)
    assert (reply.status, reply.problem) == (409, "id-conflict")
    assert reply.errors == [(0, "/id", "id-conflict")]
    assert (await ledger.post(other | {"source": "urn:elsewhere"})).status == 201


async def test_a_sealed_event_is_recognised_and_its_id_with_other_words_is_not_taken(ledger: LedgerService):
    sent = example("ask.recorded")
    assert (await ledger.post(sent)).status == 201
    assert (await ledger.post(sent)).status == 200
    reply = await ledger.post(sent | {"data": sent["data"] | {"quote": "Never mind."}})
    assert reply.problem == "id-conflict"
    assert QUOTE.encode() not in reply.body


async def test_the_expected_version_is_that_of_the_stream(ledger: LedgerService):
    first = profile(expectedversion=0)
    assert (await ledger.post(first)).status == 201
    late = await ledger.post(profile(expectedversion=0))
    assert (late.status, late.problem, late.json["current_version"]) == (409, "version-conflict", 1)
    [error] = late.json["errors"]
    assert error["current_version"] == 1
    assert late.json["detail"] == f"{error['pointer']}: {error['message']}"
    counting = [profile() | {"expectedversion": n} for n in (1, 2, "3")]
    assert (await ledger.post(*counting)).status == 201
    assert (await ledger.post(first)).status == 200  # What it expected then was met then.
    sent = binary(profile())
    sent["headers"]["ce-expectedversion"] = "4"
    assert (await ledger.send(**sent)).status == 201
    for nonsense in (-1, "x", 1.5, True):
        reply = await ledger.post(profile() | {"expectedversion": nonsense})
        assert (reply.status, reply.errors[0][1]) == (400, "/expectedversion")


async def test_if_match_is_the_etag_of_the_stream(ledger: LedgerService):
    async def post(version: str, sent: Any) -> Any:
        return await ledger.post(sent, headers={"If-Match": version})

    assert (await post("*", profile())).problem == "precondition-failed"
    assert (await post('"0"', profile())).status == 201
    tag = (await ledger.get("/v1/ledgers/main/streams/account/acme")).headers["ETag"]
    assert (await post(tag, profile())).headers["ETag"] == '"2"'
    stale = await post(tag, profile())
    assert (stale.status, stale.problem, stale.json["current_version"]) == (412, "precondition-failed", 2)
    assert (await post("*", profile())).status == 201
    assert (await post("7", profile())).problem == "bad-request"
    batch = await ledger.post(profile(), profile(), headers={"If-Match": '"3"'})
    assert (batch.status, batch.problem) == (400, "bad-request")
    assert await ledger.head() == 3


async def test_a_dry_run_answers_as_if_and_records_nothing(ledger: LedgerService):
    reply = await ledger.post(profile("a"), profile("b"), params={"dry_run": "1"})
    assert (reply.status, reply.json["dry_run"]) == (200, True)
    assert [result["position"] for result in reply.results] == [1, 2]
    assert await ledger.head() == 0
    refused = await ledger.post(example("decision.proposed"), params={"dry_run": "1"})
    assert refused.problem == "rule-not-met"
    assert (await ledger.post(profile("a"))).results[0]["position"] == 1


async def test_an_act_that_its_rule_refuses_says_what_is_missing(ledger: LedgerService):
    adopt = example("agreement.adopted")
    early = await ledger.post(adopt)
    assert (early.status, early.problem, early.json["retryable"]) == (422, "rule-not-met", True)
    assert early.errors == [(0, "/data/revision", "rule-not-met")]

    await ledger.post(example("agreement.revised"))
    await ledger.post(example("agreement.endorsed"))
    waiting = await ledger.post(adopt)
    assert waiting.json["missing"] == ["marketing", "engineering"]
    assert waiting.json["errors"][0]["missing"] == ["marketing", "engineering"]
    for team in ("Marketing", "engineering"):
        await ledger.post(example("agreement.endorsed", team=team, meaning="agree"))
    assert (await ledger.post(adopt)).status == 201

    last = await ledger.post(example("agreement.adopted") | {"id": "again"})
    assert (last.problem, last.json["retryable"]) == ("rule-not-met", True)  # After another was adopted, it passes.
    assert (await ledger.post(adopt)).status == 200


async def test_everything_an_emitter_says_about_itself_is_kept(ledger: LedgerService):
    sent = profile() | {
        "time": "2026-11-20T12:00:00+02:00",
        "recordedtime": "2026-11-20T10:00:01Z",
        "correlationid": "c-1",
        "causationid": "c-0",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "own": "mine",
        "dataschema": "/v1/schemas/ledger.account.profiled.v1",
    }
    await ledger.post(sent)
    stored = (await ledger.get(f"{EVENTS}/1")).json
    kept = {name: stored[name] for name in sent if name != "recordedtime"}
    assert kept == {name: item for name, item in sent.items() if name != "recordedtime"}
    assert stored["sourcerecordedtime"] == sent["recordedtime"]
    assert stored["recordedtime"] > sent["recordedtime"]
    assert (stored["sequence"], stored["streamversion"], stored["authtype"]) == ("0" * 19 + "1", 1, "api_key")
    assert stored["authid"] in ledger.admin


# Who may


async def test_without_a_valid_key_nothing_is_answered_but_the_probes_and_the_documentation(ledger: LedgerService):
    for path in ("/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/problems/id-conflict", "/v1/schemas"):
        assert (await ledger.get(path, key=None)).status == 200, path
    for authorization in (None, "Bearer", "Bearer nonsense", f"Bearer {ledger.admin}x", "Basic !!!", "Digest a=b"):
        headers = {} if authorization is None else {"Authorization": authorization}
        for method, path in (("GET", EVENTS), ("POST", EVENTS), ("GET", "/v1/keys"), ("GET", "/v1/ledgers")):
            reply = await ledger.ask(method, path, key=None, headers=headers)
            assert (reply.status, reply.problem) == (401, "unauthorized"), (authorization, path)
            assert "Bearer" in reply.headers["WWW-Authenticate"]


@pytest.mark.parametrize("credentials", [b"Bearer \xff", b"Basic \xff", b"Bearer lk_\xc3\xbc", b"Basic dQ=="])
async def test_credentials_that_are_no_text_are_not_valid(ledger: LedgerService, credentials: bytes):
    async with ledger.raw() as (reader, writer):
        writer.write(
            b"GET /v1/ledgers HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: %s\r\n\r\n" % credentials
        )
        assert b" 401 " in await reader.readline()


async def test_a_key_may_come_as_the_password_of_basic(ledger: LedgerService):
    text = base64.b64encode(f"anybody:{ledger.admin}".encode()).decode()
    assert (await ledger.get(EVENTS, key=None, headers={"Authorization": f"Basic {text}"})).status == 200


async def test_each_request_needs_its_scope(ledger: LedgerService):
    observer, actor = await ledger.key("observe"), await ledger.key("act")
    reader, auditor = await ledger.key("query"), await ledger.key("audit")
    personal = await ledger.key("query", "personal")

    async def scoped(reply: Any) -> None:
        assert (reply.status, reply.problem) == (403, "scope-missing")

    assert (await ledger.post(profile(), key=observer)).status == 201
    await scoped(await ledger.post(profile(), key=reader))
    for key, sent in ((observer, example("agreement.revised")), (actor, profile())):
        reply = await ledger.post(sent, key=key)
        await scoped(reply)
        assert reply.errors == [(0, "/type", "scope-missing")]
    assert (await ledger.post(example("agreement.revised"), key=actor)).status == 201

    for path in (EVENTS, f"{EVENTS}/1", f"{EVENTS}/stream", "/v1/ledgers/main/streams/account/acme"):
        await scoped(await ledger.get(path, key=observer))
        if not path.endswith("/stream"):
            assert (await ledger.get(path, key=reader)).status == 200
            assert (await ledger.get(path, key=auditor)).status == 200
    await scoped(await ledger.get(f"{EVENTS}/1?unseal=1", key=reader))
    assert (await ledger.get(f"{EVENTS}/1?unseal=1", key=personal)).status == 200
    for method, path in (("GET", "/v1/keys"), ("POST", "/v1/keys"), ("DELETE", "/v1/keys/x"), ("PUT", "/v1/ledgers/x")):
        await scoped(await ledger.ask(method, path, key=personal))


async def test_a_key_is_for_its_ledgers(ledger: LedgerService):
    await ledger.ask("PUT", "/v1/ledgers/other")
    key = await ledger.key("query", "observe", ledgers=["other"])
    assert (await ledger.get("/v1/ledgers/other/events", key=key)).status == 200
    for method, path in (("GET", EVENTS), ("POST", EVENTS), ("GET", "/v1/ledgers/main")):
        reply = await ledger.ask(method, path, key=key)
        assert (reply.status, reply.problem) == (403, "forbidden")
    listed = (await ledger.get("/v1/ledgers", key=key)).json["ledgers"]
    assert [each["ledger"] for each in listed] == ["other"]


async def test_a_key_emits_under_its_sources(ledger: LedgerService):
    key = await ledger.key("observe", sources=["urn:crm"])
    assert (await ledger.post(profile() | {"source": "urn:crm"}, key=key)).status == 201
    reply = await ledger.post(profile(), profile() | {"source": "urn:crm"}, profile() | {"source": "urn:CRM"}, key=key)
    assert (reply.status, reply.problem) == (403, "source-not-granted")
    assert reply.errors == [(0, "/source", "source-not-granted"), (2, "/source", "source-not-granted")]
    assert await ledger.head() == 1


async def test_a_key_counts_what_its_sources_emit(ledger: LedgerService):
    key = await ledger.key("observe", sources=["urn:crm"])
    counted = example("source.reconciled", source="urn:crm")
    others = counted | {"id": "others", "data": counted["data"] | {"source": "/desk"}}
    assert (await ledger.post(counted, key=key)).status == 201
    reply = await ledger.post(others, key=key)
    assert (reply.status, reply.errors) == (403, [(0, "/data/source", "source-not-granted")])


async def test_a_key_speaks_for_its_teams(ledger: LedgerService):
    key = await ledger.key("act", "observe", teams=["Sales"])
    await ledger.post(example("agreement.revised"))
    assert (await ledger.post(example("agreement.endorsed"), key=key)).status == 201
    by = {"role": "clerk", "team": "SALES"}
    assert (await ledger.post(example("agreement.endorsed", by=by, team="sALES"), key=key)).status == 201

    other = await ledger.post(example("agreement.endorsed", team="marketing"), key=key)
    assert (other.status, other.problem) == (403, "team-not-granted")
    assert other.errors == [(0, "/data/team", "team-not-granted")]
    decided = await ledger.post(example("decision.made"), key=key)
    assert decided.errors == [(0, "/data/deciders/0/team", "team-not-granted")]
    raised = await ledger.post(example("requirement.raised"), key=key)
    assert raised.errors == [(0, "/data/by/team", "team-not-granted")]


# Keys


async def test_a_key_is_shown_once_listed_without_its_secret_and_ends_when_revoked(ledger: LedgerService):
    wanted = {
        "name": "the CRM",
        "scopes": ["observe", "query"],
        "ledgers": ["main"],
        "sources": ["urn:crm"],
        "teams": ["sales"],
    }
    made = await ledger.ask("POST", "/v1/keys", json=wanted)
    assert made.status == 201
    secret = made.json["key"]
    assert {name: made.json[name] for name in wanted} == wanted
    assert (await ledger.get(EVENTS, key=secret)).status == 200

    listed = await ledger.get("/v1/keys")
    assert secret.encode() not in listed.body
    assert sha256(secret.encode()).hexdigest().encode() not in listed.body
    [kept] = [each for each in listed.json["keys"] if each["id"] == made.json["id"]]
    assert {name: kept[name] for name in wanted} == wanted
    assert kept["created_by"] in ledger.admin

    path = f"/v1/keys/{made.json['id']}"
    assert (await ledger.ask("DELETE", path)).status == 204
    assert (await ledger.get(EVENTS, key=secret)).status == 401
    assert (await ledger.ask("DELETE", path)).status == 204
    assert (await ledger.ask("DELETE", "/v1/keys/%00")).problem == "not-found"
    [kept] = [each for each in (await ledger.get("/v1/keys")).json["keys"] if each["id"] == made.json["id"]]
    assert kept["revoked_at"]


async def test_any_key_may_ask_what_it_may_do(ledger: LedgerService):
    wanted = {"name": "the CRM", "scopes": ["observe"], "ledgers": ["main"], "sources": ["urn:crm"], "teams": ["sales"]}
    expires = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    made = (await ledger.ask("POST", "/v1/keys", json=wanted | {"expires": expires.isoformat()})).json
    own = await ledger.get("/v1/keys/self", key=made["key"])
    assert own.status == 200
    assert own.json == wanted | {"id": made["id"], "expires": made["expires"]}
    assert (await ledger.get("/v1/keys/self", key=None)).problem == "unauthorized"


async def test_keys_come_in_pages(ledger: LedgerService):
    made = [
        (await ledger.ask("POST", "/v1/keys", json={"name": f"{n}", "scopes": ["query"]})).json["id"] for n in "abc"
    ]
    whole = [each["id"] for each in (await ledger.get("/v1/keys")).json["keys"]]
    assert whole[:3] == made[::-1]
    seen: list[str] = []
    path: str | None = "/v1/keys?limit=1"
    while path:
        reply = await ledger.get(path)
        seen += [each["id"] for each in reply.json["keys"]]
        path = reply.headers["Link"].partition(">")[0].lstrip("<") if "Link" in reply.headers else None
    assert seen == whole
    assert (await ledger.get("/v1/keys?before=nosuchkey")).problem == "not-found"
    assert (await ledger.get("/v1/keys?limit=0")).problem == "bad-parameter"


async def test_a_key_grants_no_more_than_it_has_itself(ledger: LedgerService):
    bounds = {"ledgers": ["main"], "sources": ["urn:crm"], "teams": ["Sales"]}
    bound = await ledger.key("admin", **bounds)
    wanted: dict[str, Any] = {"name": "a", "scopes": ["query"], **bounds}
    for wider in ({"ledgers": []}, {"ledgers": ["main", "other"]}, {"sources": []}, {"teams": ["sales", "product"]}):
        reply = await ledger.ask("POST", "/v1/keys", key=bound, json=wanted | wider)
        assert (reply.status, reply.problem) == (403, "forbidden"), wider
    assert (await ledger.ask("POST", "/v1/keys", key=bound, json=wanted | {"teams": ["SALES"]})).status == 201

    for method, path in (("GET", "/v1/keys"), ("DELETE", f"/v1/keys/{ledger.admin.split('_')[1]}")):
        assert (await ledger.ask(method, path, key=bound)).problem == "forbidden"

    soon = datetime.now(UTC) + timedelta(minutes=1)
    mortal = await ledger.key("admin", expires=soon.isoformat())
    for expires in (None, (soon + timedelta(seconds=1)).isoformat()):
        reply = await ledger.ask(
            "POST", "/v1/keys", key=mortal, json={"name": "a", "scopes": ["query"], "expires": expires}
        )
        assert reply.problem == "forbidden"


async def test_several_keys_of_one_name_are_live_at_once(ledger: LedgerService):
    keys = [await ledger.key("query") for _ in range(2)]
    assert {(await ledger.get(EVENTS, key=key)).status for key in keys} == {200}


async def test_a_key_ends_when_it_expires(ledger: LedgerService):
    soon = datetime.now(UTC) + timedelta(seconds=1)
    key = await ledger.key("query", expires=soon.isoformat())
    while datetime.now(UTC) < soon:
        reply = await ledger.get(EVENTS, key=key)
        assert reply.status == 200 or datetime.now(UTC) >= soon
    assert (await ledger.get(EVENTS, key=key)).status == 401


@pytest.mark.parametrize(
    "wanted",
    [
        {"scopes": ["query"]},
        {"name": "a", "scopes": []},
        {"name": "a", "scopes": ["root"]},
        {"name": "a", "scopes": ["query"], "ledgers": ["Main\n"]},
        {"name": "a", "scopes": ["query"], "expires": "2020-01-01T00:00:00Z"},
        {"name": "a", "scopes": ["query"], "expires": "9999-12-31T23:59:59-14:00"},
        {"name": "a", "scopes": ["query"], "expires": "2030-01-01T00:00:00"},
        {"name": "a", "scopes": ["query"], "colour": "red"},
        {"name": "a\0", "scopes": ["query"]},
        {"name": "a", "scopes": ["query"], "sources": ["\0"]},
        {"name": "a", "scopes": ["query"], "sources": ["a source has no blanks"]},
        {"name": "a", "scopes": ["query"], "sources": [f"/{n}" for n in range(201)]},
        {"name": "a", "scopes": ["query"], "teams": [f"team {n}" for n in range(201)]},
        {"name": "a", "scopes": ["query"], "ledgers": [f"ledger-{n}" for n in range(201)]},
        {"name": "a", "scopes": ["query"] * 7},
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(ledger: LedgerService, wanted: Any):
    before = (await ledger.get("/v1/keys")).json
    reply = await ledger.ask("POST", "/v1/keys", json=wanted)
    assert (reply.status, reply.problem) == (400, "bad-request"), reply.body
    assert (await ledger.get("/v1/keys")).json == before


# Ledgers


async def test_a_ledger_is_made_once_and_has_teams_and_an_origin_of_its_own(ledger: LedgerService):
    wanted = {"teams": ["Design", "sales"], "origin": "ledger.acme.example/hardware"}
    made = await ledger.ask("PUT", "/v1/ledgers/hard-ware", json=wanted)
    assert made.status == 201
    again = await ledger.ask("PUT", "/v1/ledgers/hard-ware", json={"teams": ["other"]})
    assert (again.status, again.json) == (200, made.json)
    shown = (await ledger.get("/v1/ledgers/hard-ware")).json
    assert {name: shown[name] for name in ("ledger", *wanted, "head")} == {"ledger": "hard-ware", **wanted, "head": 0}
    listed = (await ledger.get("/v1/ledgers")).json["ledgers"]
    assert [each["ledger"] for each in listed] == ["hard-ware", "main"]

    assert (await ledger.post(profile(), ledger="hard-ware")).results[0]["position"] == 1
    assert await ledger.head() == 0
    design = {"role": "head of design", "team": "design"}
    acts = {"main": 422, "hard-ware": 201}
    for name, status in acts.items():
        sent = example("agreement.revised", signatories=["DESIGN"], by=design)
        assert (await ledger.post(sent, ledger=name)).status == status, name


async def test_a_ledger_without_a_body_has_the_default_teams(ledger: LedgerService):
    assert (await ledger.ask("PUT", "/v1/ledgers/plain")).status == 201
    teams = (await ledger.get("/v1/ledgers/plain")).json["teams"]
    assert teams == ["sales", "marketing", "engineering", "product", "support", "executive"]


@pytest.mark.parametrize("name", ["Main", "1a", "a_b", "a" * 41, "a%0A", "-a", "%00", "a.b"])
async def test_a_name_that_no_ledger_has_is_refused(ledger: LedgerService, name: str):
    for method in ("PUT", "GET"):
        reply = await ledger.ask(method, f"/v1/ledgers/{name}")
        assert reply.status == 404, reply.body
        assert reply.problem in ("no-such-ledger", "not-found")
    assert [each["ledger"] for each in (await ledger.get("/v1/ledgers")).json["ledgers"]] == ["main"]


@pytest.mark.parametrize(
    "wanted", [{"teams": []}, {"teams": ["a", "A"]}, {"teams": ["a\0"]}, {"origin": "a b"}, {"owner": "me"}]
)
async def test_a_ledger_that_makes_no_sense_is_not_made(ledger: LedgerService, wanted: Any):
    reply = await ledger.ask("PUT", "/v1/ledgers/fresh", json=wanted)
    assert (reply.status, reply.problem) == (400, "bad-request")
    assert (await ledger.get("/v1/ledgers/fresh")).problem == "no-such-ledger"


async def test_there_is_no_such_ledger(ledger: LedgerService):
    for method, path in (
        ("GET", ""),
        ("GET", "/events"),
        ("POST", "/events"),
        ("GET", "/events/1"),
        ("GET", "/events/stream"),
    ):
        reply = await ledger.ask(method, f"/v1/ledgers/nowhere{path}")
        assert (reply.status, reply.problem) == (404, "no-such-ledger"), path


async def test_paths_and_methods_that_there_are_not(ledger: LedgerService):
    assert (await ledger.get("/v1/nothing")).problem == "not-found"
    reply = await ledger.ask("PATCH", EVENTS)
    assert (reply.status, reply.problem) == (405, "method-not-allowed")
    assert reply.headers["Allow"] == "GET, HEAD, POST"
    for query in (
        *(
            "?limit=0",
            "?limit=1001",
            "?after=-1",
            "?after=x",
            "?after=1&after=2",
            "?colour=red",
            "?type=%00",
            "?id=e-1",
        ),
        *("?source=a&id=b&type=c", "/stream?type=%00", "/stream?limit=5", "/1?unseal=maybe"),
    ):
        bad = await ledger.get(EVENTS + query)
        assert (bad.status, bad.problem) == (400, "bad-parameter"), query
