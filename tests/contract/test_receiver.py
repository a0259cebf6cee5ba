"""The receiver over HTTP: what it takes, what it refuses, and what it says then. Nothing authentic is lost."""

import asyncio
import contextlib
import json
import os
import re
import sqlite3
import stat
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from services import problem_pages
from services.receiver.bodies import OBJECTIONS_MAX, Objection
from services.receiver.hooks import Hooks
from services.receiver.http import BODIES_MAX, BODIES_OF_A_PEER_MAX, BODY_BYTES_MAX, BODY_SECONDS_MAX
from services.receiver.kept import FILE, KEY_FILE, AnotherBody, Came, KeptUnusable
from services.receiver.posting import Ledgers, NotRecorded
from services.receiver.reception import Reception
from services.settings import Settings
from tests.conftest import Database, free_ports
from tests.ledger_service import LedgerService, holds, serving
from tests.receiver_service import EXAMPLES, GITHUB, ReceiverService, opened, receiving, ticket

STANDARD = GITHUB.replace("scheme: github", "scheme: standard-webhooks")
ACT = """\
signature: {scheme: github, secret_file: desk.secret}
source: /hooks/desk
key_file: acts.key
events:
  - type: ledger.requirement.reworded.v1
    id: reworded-{id}
    data: {requirement: "{key}", title: "{title}", reason: "{why}", by: {role: product manager, team: product}}
"""
UNSIGNED = ("scheme: github, secret_file: desk.secret", "scheme: none, anybody_may_post: true")
BOMB = "let:\n  a0: &a0 [x]\n"
BOMB += "".join(f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)) + "source:"
WHSEC = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


def mended(old: str, new: str, text: str = GITHUB) -> str:
    assert old in text
    return text.replace(old, new)


# Signatures


async def test_a_signed_body_becomes_an_event(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk")
    reply = await receiver.send("desk", ticket(7, customer="acme"))
    event = {"id": "ticket-7", "type": "ledger.feedback.received.v1", "position": 1, "duplicate": False}
    assert (reply.status, reply.json) == (200, {"hook": "desk", "events": [event]})
    assert receiver.kept() == []


@pytest.mark.parametrize("wrong", ["none", "another", "twice", "of another body", "not hex", "not ASCII"])
async def test_a_wrong_signature_is_401_and_nothing_is_kept(
    ledger: LedgerService, receiver: ReceiverService, wrong: str
) -> None:
    receiver.hook("desk")
    body = json.dumps(ticket()).encode()
    right = receiver.signed("desk", body)["X-Hub-Signature-256"]
    headers: Any = {
        "none": {},
        "another": {"X-Hub-Signature-256": "sha256=" + "0" * 64},
        "twice": [("X-Hub-Signature-256", right), ("X-Hub-Signature-256", right)],
        "of another body": {"X-Hub-Signature-256": receiver.signed("desk", b"{}")["X-Hub-Signature-256"]},
        "not hex": {"X-Hub-Signature-256": "sha256=@"},
        "not ASCII": {"X-Hub-Signature-256": right + "é"},
    }[wrong]
    reply = await receiver.post("desk", body, headers)
    assert (reply.status, reply.problem) == (401, "signature-invalid")
    assert reply.headers["WWW-Authenticate"].startswith("Signature ")
    assert right not in reply.body.decode()
    assert receiver.kept() == []
    assert await ledger.head() == 0


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_ten_minutes_old_and_ten_minutes_ahead(
    ledger: LedgerService, receiver: ReceiverService, minutes: int
) -> None:
    receiver.hook("desk", STANDARD, secret=WHSEC)
    reply = await receiver.send("desk", ticket(), minutes=minutes)
    assert (reply.status, reply.problem) == (401, "signature-stale")
    assert "the clock here shows" in reply.json["detail"]
    assert receiver.kept() == []
    assert await ledger.head() == 0


async def test_what_is_replayed_is_answered_as_before_and_recorded_once(
    ledger: LedgerService, receiver: ReceiverService
) -> None:
    receiver.hook("desk", STANDARD, secret=WHSEC)
    first = await receiver.send("desk", ticket(), delivery="msg_1")
    # The sender's own retry, with a signature of another time; and the same news under another id.
    for delivery in ("msg_1", "msg_2"):
        again = await receiver.send("desk", ticket(), delivery=delivery, minutes=1)
        assert again.status == 200
        assert again.json["events"] == [first.json["events"][0] | {"duplicate": True}]
    assert await ledger.head() == 1


async def test_the_same_id_with_another_body_is_a_conflict(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk", STANDARD, secret=WHSEC)
    await receiver.send("desk", ticket(1), delivery="msg_1")
    reply = await receiver.send("desk", ticket(2), delivery="msg_1")
    assert (reply.status, reply.problem) == (409, "delivery-conflict")
    # So it is while the first is only kept.
    await receiver.send("desk", {"ticket": None}, delivery="msg_2")
    reply = await receiver.send("desk", ticket(2), delivery="msg_2")
    assert (reply.status, reply.problem) == (409, "delivery-conflict")
    assert await ledger.head() == 1


async def test_secrets_are_rotated(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk")
    body = json.dumps(ticket()).encode()
    earlier = receiver.signed("desk", body)
    receiver.hook("desk", secret="a-newer-secret-of-some-length\na-secret-of-twenty-four-bytes")
    assert (await receiver.post("desk", body, earlier)).status == 200
    assert (await receiver.send("desk", ticket())).status == 200
    receiver.hook("desk", secret="a-newer-secret-of-some-length")
    assert (await receiver.post("desk", body, earlier)).problem == "signature-invalid"


async def test_without_a_signature_only_where_the_hook_says_so(
    ledger: LedgerService, receiver: ReceiverService
) -> None:
    receiver.hook("desk", mended("scheme: github, secret_file: desk.secret", "scheme: none"))
    reply = await receiver.post("desk", b"{}")
    assert (reply.status, reply.problem) == (503, "hook-unusable")
    reply = await receiver.get("/hooks/desk", ledger.admin)
    assert "desk.yaml:1: signature: without a signature" in reply.json["detail"]
    receiver.hook("desk", mended(*UNSIGNED))
    assert (await receiver.send("desk", ticket())).status == 200
    # Anybody could fill the file; so what does not fit is refused, and not kept.
    reply = await receiver.send("desk", {"ticket": 1})
    assert (reply.status, "kept" in reply.json) == (422, False)
    # Nor while the mapping has a mistake, of which the sender learns nothing.
    receiver.hook("desk", mended("events:", "evnets:", mended(*UNSIGNED)))
    reply = await receiver.send("desk", ticket())
    assert (reply.status, reply.problem, "evnets" in reply.json["detail"]) == (503, "hook-unusable", False)
    assert receiver.kept() == []


# Hooks that cannot be used


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            mended("      text: ", "      txet: "),
            "desk.yaml:9: events[0].data.txet: ledger.feedback.received.v1 has no field",
        ),
        (mended("  - type: ledger.feedback.received.v1", "  - type: ledger.feedback.recieved.v1"), "did you mean"),
        (mended("events:", "evnets:"), "desk.yaml:3: evnets: unknown field `evnets`; did you mean `events`?"),
        (mended("id: ticket-{ticket.id}", "id: ticket"), "is the same for each row"),
        (
            mended("source:", "optional: [ticket.txt]\nsource:"),
            "nothing reads 'ticket.txt'; did you mean 'ticket.text'?",
        ),
        (mended("{ticket.id}\n", "{header.X-Id}\n"), "a header is read as `header.` and its name in lower case"),
        (
            mended("key_file: acts.key\n", "", ACT),
            "is an act, and the receiver's own key records observations only",
        ),
        ("signature: [\n", "desk.yaml:2: not YAML"),
        (mended("source:", f"let: {{x: {'9' * 5_000}}}\nsource:"), "desk.yaml:2: a number of 5000 digits"),
        (mended("desk.secret", '"desk.sec\\0ret"'), "is not the name of a file (embedded null byte)"),
        (mended("source:", BOMB), "aliases repeat more than"),
        (mended("source:", "#" * 300_000 + "\nsource:"), "has more than 262144 bytes"),
        ("", "a hook is an object"),
        (
            mended("scheme: github", "scheme: gitub"),
            "signature.scheme: no such scheme: 'gitub'; did you mean 'github'?",
        ),
        (mended("time: {from", "time: {form"), "desk.yaml:6: events[0].time"),
    ],
)
async def test_a_mistake_in_a_hook_is_told_to_administrators_with_file_line_and_spot(
    ledger: LedgerService, receiver: ReceiverService, text: str, message: str
) -> None:
    receiver.hook("desk", text)
    reply = await receiver.get("/hooks/desk", ledger.admin)
    assert (reply.status, reply.problem) == (503, "hook-unusable")
    assert message in reply.json["detail"]
    assert str(receiver.directory) not in reply.json["detail"]
    # Others learn that it cannot be used.
    for key in (None, await ledger.key("observe")):
        reply = await receiver.get("/hooks/desk", key)
        assert (reply.status, reply.problem, reply.headers["Retry-After"]) == (503, "hook-unusable", "60")
        assert reply.json["detail"] == problem_pages.PAGES["hook-unusable"].detail
    # The others go on.
    receiver.hook("other")
    assert (await receiver.send("other", ticket())).status == 200


async def test_what_comes_while_a_mapping_is_broken_is_kept(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk", mended("      text: ", "      txet: "))
    body = json.dumps(ticket()).encode()
    receiver.hook("signer")
    reply = await receiver.post("desk", body, receiver.signed("signer", body))
    assert (reply.status, reply.problem) == (422, "mapping-misfit")
    assert "desk.yaml:9: events[0].data.txet" in reply.json["detail"]
    [item] = receiver.kept()
    assert item.id == reply.json["kept"]
    assert [came.body for came in receiver.requests()] == [body]
    # Who has no secret learns nothing of that, and nothing of his is kept.
    assert (await receiver.post("desk", b"{}")).problem == "signature-invalid"
    assert len(receiver.kept()) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda path: path.unlink(), "desk.secret cannot be read (No such file or directory)"),
        (lambda path: path.write_text("\n \n"), "desk.secret is empty"),
        (lambda path: path.write_text("short\n"), "it has 5 bytes, and at least 16 are needed"),
        (lambda path: path.chmod(0o644), "is open to others than its owner (mode 0644); run `chmod 600` on it"),
        (lambda path: path.write_bytes(b"\xff" * 32), "desk.secret is not a text"),
        (lambda path: path.write_text("s" * 20_000), "more than"),
    ],
    ids=["missing", "empty", "short", "open", "not a text", "large"],
)
async def test_a_secret_that_cannot_be_used(
    ledger: LedgerService, receiver: ReceiverService, change: Any, message: str
) -> None:
    receiver.hook("desk")
    body = json.dumps(ticket()).encode()
    headers = receiver.signed("desk", body)
    assert (await receiver.get("/hooks/desk")).json == {"hook": "desk", "usable": True}
    change(receiver.directory / "desk.secret")
    with structlog.testing.capture_logs() as said:
        told = await receiver.get("/hooks/desk", ledger.admin)
        assert (told.problem, message in told.json["detail"]) == ("hook-unusable", True)
        for reply in (await receiver.get("/hooks/desk"), await receiver.post("desk", body, headers)):
            assert (reply.status, reply.problem) == (503, "hook-unusable")
            assert message not in reply.json["detail"]
    assert [line["reason"] for line in said if line["event"] == "hook_unusable"] == [told.json["detail"]]
    assert receiver.kept() == []
    receiver.hook("desk")
    assert (await receiver.post("desk", body, headers)).status == 200


@pytest.mark.parametrize("name", ["nobody", "..%2fadmin", "%00", "A", "desk.yaml", "x" * 100])
async def test_a_hook_that_is_not_there(ledger: LedgerService, receiver: ReceiverService, name: str) -> None:
    receiver.hook("desk")
    assert (await receiver.post(name, b"{}")).problem == "not-found"
    assert (await receiver.get(f"/hooks/{name}")).problem == "not-found"
    listed = await receiver.get(f"/hooks/{name}/kept", ledger.admin)
    assert listed.json["kept"] == [] if name == "nobody" else listed.problem == "not-found"


# Bodies


@pytest.mark.parametrize(
    ("body", "problem", "message"),
    [
        (b"", "malformed-json", "the body is not JSON"),
        (b"{", "malformed-json", "the body is not JSON"),
        (b'{"ticket": "\xff"}', "malformed-json", "not UTF-8 at byte 12"),
        (b"[" * 100_000, "malformed-json", "nested too deeply"),
        (b'{"a":' * 100_000, "malformed-json", "nested too deeply"),
        (b'{"ticket": "\\ud800"}', "malformed-json", "half of a surrogate pair"),
        (b"[]", "mapping-misfit", "the body is a list, not an object; with `each: '.'`"),
        (b"null", "mapping-misfit", "the body is null, not an object"),
        (b'{"tickt": {}}', "mapping-misfit", "the body has no 'ticket.id'; did you mean 'tickt.id'?"),
        (b'{"ticket": {"idd": 1}}', "mapping-misfit", "the body has no 'ticket.id'; did you mean 'ticket.idd'?"),
        (b'{"ticket": {"x": 1}}', "mapping-misfit", "the body has no 'ticket.id'; `ticket` has x"),
        (b'{"ticket": "x"}', "mapping-misfit", "there is no 'ticket.id': `ticket` is a text, and nothing is inside it"),
        (b'{"ticket": [1]}', "mapping-misfit", "`ticket` is a list; write 'ticket.*.id'"),
        (b'{"ticket": null}', "mapping-misfit", "ticket.id is blank, and the id of the event is made of it"),
    ],
)
async def test_a_body_that_does_not_fit_is_kept_and_told_why(
    ledger: LedgerService, receiver: ReceiverService, body: bytes, problem: str, message: str
) -> None:
    receiver.hook("desk")
    reply = await receiver.send("desk", body)
    assert (reply.status, reply.problem) == (400 if problem == "malformed-json" else 422, problem)
    assert message in reply.json["detail"]
    [item] = receiver.kept()
    assert (item.id, item.state) == (reply.json["kept"], "refused")
    assert [came.body for came in receiver.requests()] == [body]
    assert await ledger.head() == 0
    # The sender tries again: it is the same one, and kept once.
    assert (await receiver.send("desk", body)).json["kept"] == item.id
    assert len(receiver.kept()) == 1


@pytest.mark.parametrize(
    ("more", "pointer"),
    [
        ({"text": "a\0b"}, "/data/text"),
        ({"text": "x" * 9_000}, "/data/text"),
        ({"customer": "no such id"}, "/data/account"),
        ({"at": "2999-01-01T00:00:00Z"}, "/time"),
    ],
)
async def test_what_the_types_refuse_is_told_with_the_spot(
    ledger: LedgerService, receiver: ReceiverService, more: dict[str, Any], pointer: str
) -> None:
    receiver.hook("desk")
    reply = await receiver.send("desk", ticket(1, **{"text": "a text", **more}))
    assert (reply.status, reply.problem) == (422, "mapping-misfit")
    assert [error["pointer"] for error in reply.json["errors"]] == [pointer]
    assert len(receiver.kept()) == 1


async def test_a_form_says_what_to_change_at_the_sender(receiver: ReceiverService) -> None:
    receiver.hook("desk")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    reply = await receiver.send("desk", b"payload=%7B%7D", form)
    assert (reply.status, reply.problem) == (400, "malformed-json")
    assert "have the sender send application/json" in reply.json["detail"]


async def test_a_body_that_is_too_large_names_the_limit(receiver: ReceiverService) -> None:
    receiver.hook("desk")
    body = b'"' + b"x" * BODY_BYTES_MAX + b'"'
    reply = await receiver.send("desk", body)
    assert (reply.status, reply.problem) == (413, "too-large")
    assert str(BODY_BYTES_MAX) in reply.json["detail"]

    async def chunks() -> Any:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    reply = await receiver.post("desk", chunks(), receiver.signed("desk", body))
    assert (reply.status, reply.problem) == (413, "too-large")
    assert receiver.kept() == []


async def test_headers_are_read_by_their_names_and_those_that_are_there_twice_are_a_list(
    ledger: LedgerService, receiver: ReceiverService
) -> None:
    receiver.hook("desk", mended("{from: ticket.customer, default: nobody}", '"{header.x-customer}"'))
    body = json.dumps(ticket()).encode()
    reply = await receiver.send("desk", body, {"X-Customer": "acme", "Authorization": "Bearer x"})
    assert reply.status == 200, reply.body
    signed = [*receiver.signed("desk", body, delivery="d-2").items()]
    reply = await receiver.post("desk", body, [*signed, ("X-Customer", "a"), ("X-Customer", "b")])
    assert reply.status == 422
    assert [error["pointer"] for error in reply.json["errors"]] == ["/data/account"]
    reply = await receiver.send("desk", ticket(2), {"X-Kustomer": "acme", "Authorization": "Bearer x"}, delivery="d-3")
    assert "the body has no 'header.x-customer'; did you mean 'header.x-kustomer'?" in reply.json["detail"]
    assert all("authorization" not in came.headers for came in receiver.requests())


async def test_who_sends_slowly_shuts_nobody_out(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk")
    head = b"POST /hooks/desk HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"
    async with contextlib.AsyncExitStack() as stack:
        slow = []
        for _ in range(BODIES_MAX + 1):
            reader, writer = await asyncio.open_connection("127.0.0.1", receiver.settings.receiver_port)
            stack.callback(writer.close)
            writer.write(head)
            slow.append((reader, writer))
        assert (await receiver.send("desk", ticket())).status == 200
        # Those that have begun take the share of their address, and no more.
        for _, writer in slow:
            writer.write(b"{")

        async def refused() -> bool:
            return (await receiver.send("desk", ticket())).status == 503

        await holds(refused)
        reply = await receiver.send("desk", ticket())
        assert (reply.problem, f"{BODIES_OF_A_PEER_MAX} bodies from this address" in reply.json["detail"]) == (
            "overloaded",
            True,
        )

    async def taken() -> bool:
        return (await receiver.send("desk", ticket())).status == 200

    await holds(taken)


async def test_a_body_of_which_nothing_comes_is_given_up_soon(receiver: ReceiverService) -> None:
    receiver.hook("desk")
    reader, writer = await asyncio.open_connection("127.0.0.1", receiver.settings.receiver_port)
    writer.write(b"POST /hooks/desk HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
    try:
        answer = await asyncio.wait_for(reader.read(), BODY_SECONDS_MAX - 1)
    finally:
        writer.close()
    assert b"the body was not there after 5 seconds" in answer


async def test_a_body_of_very_many_items_is_answered_shortly(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk", mended("source:", "each: .\nsource:"))
    for count, told in ((200_000, 1), (900, OBJECTIONS_MAX)):
        reply = await receiver.send("desk", [{}] * count, delivery=f"d-{count}")
        assert (reply.problem, len(reply.json["errors"])) == ("mapping-misfit", told)
        assert len(reply.body) < 10_000


def test_the_room_that_one_takes_holds_its_reason_too(tmp_path: Path) -> None:
    with opened(Settings(home=tmp_path)) as kept:
        delivery = kept.delivery("desk", "d-1", b"1")
        why: Any = {"problem": "mapping-misfit", "reason": "ü" * 100_000, "now": datetime.now(UTC)}
        kept.keep(delivery, Came({}, b"1"), "refused", **why)
        [item] = kept.page(limit=1)
    assert len(item.reason.encode()) < item.size < 10_000


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_other_methods(receiver: ReceiverService, method: str) -> None:
    assert receiver.session is not None
    async with receiver.session.request(method, f"{receiver.url}/hooks/desk") as answer:
        assert answer.status == 405
        assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))


# The ledger refuses, or is away


async def test_what_the_ledger_refuses_is_kept_with_its_reason(
    ledger: LedgerService, receiver: ReceiverService
) -> None:
    receiver.hook("desk")
    await receiver.send("desk", ticket(1, "one thing"))
    reply = await receiver.send("desk", ticket(1, "another thing"), delivery="d-2")
    assert (reply.status, reply.problem) == (409, "not-recorded")
    assert reply.json["kept"] == receiver.kept()[0].id
    assert "another thing" not in reply.body.decode()
    assert await ledger.head() == 1


async def test_a_key_that_may_do_nothing_there_makes_it_wait(ledger: LedgerService, receiver: ReceiverService) -> None:
    key = receiver.key("own.key", await ledger.key("observe", ledgers=["elsewhere"]))
    receiver.hook("desk", mended("source:", "key_file: own.key\nsource:"))
    with structlog.testing.capture_logs() as said:
        reply = await receiver.send("desk", ticket())
    assert reply.status == 202
    [item] = receiver.kept()
    assert (item.id, item.state, item.problem) == (reply.json["kept"], "waiting", "forbidden")
    assert "the key own.key may not" in item.reason
    # It is loud about it, and says why where one looks.
    [line] = [line for line in said if line["event"] == "hook_barred"][:1]
    assert (line["log_level"], line["hook"], line["reason"]) == ("error", "desk", item.reason)
    state = (await receiver.get("/hooks/desk", ledger.admin)).json
    assert [(each["state"], each["count"]) for each in state["kept"]] == [("waiting", 1)]
    assert (state["waiting_for"]["problem"], state["waiting_for"]["reason"]) == ("forbidden", item.reason)
    assert (await receiver.get("/hooks/desk")).json == {"hook": "desk", "usable": True}
    key.write_text(await ledger.key("observe", sources=["/hooks/desk"]))

    async def went_on() -> bool:
        return await ledger.head() == 1

    await holds(went_on)
    await holds(lambda: asyncio.to_thread(lambda: receiver.kept() == []))


@pytest.mark.parametrize(
    ("text", "mode", "message"),
    [
        ("lk_a\nlk_b", 0o600, "own.key has 2 lines; it holds one API key"),
        ("lk_ä", 0o600, "own.key does not hold an API key"),
        ("", 0o600, "own.key is empty"),
        ("lk_a", 0o644, "own.key is open to others than its owner (mode 0644); run `chmod 600` on it"),
        ("lk_a", 0o600, "the key own.key is not valid"),
    ],
)
async def test_a_file_of_a_key_that_cannot_be_used_holds_up_its_own_hook_only(
    ledger: LedgerService, receiver: ReceiverService, text: str, mode: int, message: str
) -> None:
    receiver.key("own.key", text).chmod(mode)
    receiver.hook("desk", mended("source:", "key_file: own.key\nsource:"))
    receiver.hook("other")
    assert (await receiver.send("desk", ticket())).status == 202

    async def tried_again() -> bool:
        return receiver.kept()[0].tries > 1

    await holds(tried_again)
    [item] = receiver.kept()
    assert (item.state, item.problem, message in item.reason) == ("waiting", "unauthorized", True)
    assert (await receiver.send("other", ticket(2), delivery="d-2")).status == 200


async def test_a_body_about_what_the_key_is_not_granted_holds_up_no_other(
    ledger: LedgerService, receiver: ReceiverService
) -> None:
    receiver.hook("desk", mended("team: product", 'team: "{team}"', ACT))
    receiver.key("acts.key", await ledger.key("act", teams=["sales"]))
    body = {"key": "R-1", "title": "A title", "why": "It is clearer."}
    reply = await receiver.send("desk", {**body, "id": 1, "team": "marketing"}, delivery="d-1")
    assert (reply.status, reply.problem) == (422, "not-recorded")
    assert "marketing" in reply.json["detail"]
    # The next one is judged at once: there is no such requirement yet.
    reply = await receiver.send("desk", {**body, "id": 2, "team": "sales"}, delivery="d-2")
    assert (reply.status, reply.problem) == (422, "not-recorded")
    assert [item.state for item in receiver.kept()] == ["refused", "refused"]
    # Nor one from a source that the key is not granted.
    receiver.hook("elsewhere", mended("source:", "key_file: own.key\nsource:"))
    receiver.key("own.key", await ledger.key("observe", sources=["/elsewhere"]))
    assert (await receiver.send("elsewhere", ticket(), delivery="d-3")).problem == "not-recorded"


async def test_an_act_needs_a_key_of_its_own(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk", ACT)
    receiver.key("acts.key", await ledger.key("act"))
    body = {"id": 1, "key": "R-1", "title": "A title", "why": "It is clearer."}
    reply = await receiver.send("desk", body)
    assert (reply.status, reply.problem) == (422, "not-recorded")  # There is no such requirement yet.
    assert len(receiver.kept()) == 1


async def test_what_waits_for_the_ledger_goes_on_in_its_order(database: Database) -> None:
    async with receiving(database.settings) as receiver:
        receiver.hook("desk")
        for number in range(1, 6):
            reply = await receiver.send("desk", ticket(number), delivery=f"d-{number}")
            assert reply.status == 202, reply.body
            assert reply.json["kept"] == number
        # What can never fit is told at once, though the ledger is away.
        assert (await receiver.send("desk", {"ticket": 1}, delivery="d-6")).status == 422
        async with serving(database.settings) as ledger:

            async def went_on() -> bool:
                return await ledger.head() == 5

            await holds(went_on)
            events = [(await ledger.get(f"/v1/ledgers/main/events/{n}")).json["id"] for n in range(1, 6)]
            assert events == [f"ticket-{number}" for number in range(1, 6)]
            await holds(lambda: asyncio.to_thread(lambda: [item.state for item in receiver.kept()] == ["refused"]))
            # The retry of a sender that was told 202.
            assert (await receiver.send("desk", ticket(3), delivery="d-3")).json["events"][0]["position"] == 3


SEQUENCED = mended("ticket-{ticket.id}", "ticket-{header.x-seq}", mended('"desk-{ticket.id}"', '"desk-{header.x-seq}"'))


async def test_bodies_that_differ_in_a_header_that_is_read_are_several(database: Database) -> None:
    async with receiving(database.settings) as receiver:
        receiver.hook("desk", SEQUENCED)
        body = json.dumps(ticket()).encode()
        signature = {"X-Hub-Signature-256": receiver.signed("desk", body)["X-Hub-Signature-256"]}
        sent = [{"X-Seq": "1"}, {"X-Seq": "2"}, {"X-Seq": "2", "X-Other": "that nothing reads"}]
        replies = [await receiver.post("desk", body, signature | each) for each in sent]
        assert [(reply.status, reply.json["kept"]) for reply in replies] == [(202, 1), (202, 2), (202, 2)]
        async with serving(database.settings) as ledger:

            async def went_on() -> bool:
                return await ledger.head() == 2 and await asyncio.to_thread(lambda: receiver.kept() == [])

            await holds(went_on)
            assert [(await ledger.get(f"/v1/ledgers/main/events/{n}")).json["id"] for n in (1, 2)] == [
                "ticket-1",
                "ticket-2",
            ]


async def test_what_is_sent_again_with_the_header_that_it_lacked_takes_the_place_of_what_is_kept(
    database: Database,
) -> None:
    async with receiving(database.settings) as receiver:
        receiver.hook("desk", SEQUENCED)
        assert (await receiver.send("desk", ticket())).status == 422
        reply = await receiver.send("desk", ticket(), {"X-Seq": "7"})
        assert (reply.status, reply.json["kept"]) == (202, 1)
        [came] = receiver.requests()
        assert came.headers["x-seq"] == "7"


def test_what_was_sent_again_meanwhile_is_not_settled_with_the_earlier(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    why: Any = {"problem": "unavailable", "reason": "why", "now": now}
    with opened(Settings(home=tmp_path)) as kept:
        delivery = kept.delivery("desk", "d-1", b"1")
        kept.keep(delivery, Came({"x": "1"}, b"1"), "waiting", **why)
        [tried] = kept.page(limit=10)
        kept.keep(delivery, Came({"x": "2"}, b"1"), "waiting", **why)
        kept.settle(delivery, now=now, tries=tried.tries)
        [item] = kept.page(limit=10)
        assert kept.came(item) == Came({"x": "2"}, b"1")
        kept.settle(delivery, now=now, tries=item.tries)
        assert kept.page(limit=10) == []


# What is kept


async def test_what_is_kept_is_not_on_disk_in_the_clear(receiver: ReceiverService) -> None:
    receiver.hook("desk")
    words = "the-words-of-a-customer"
    await receiver.send("desk", ticket(1, words, customer=f"no {words}"), {"X-Words": words})
    files = [path for path in receiver.settings.home.glob("receiver*") if path.is_file()]
    assert {path.name for path in files} >= {FILE, KEY_FILE}
    for path in files:
        assert words.encode() not in path.read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_what_is_kept_is_listed_for_administrators_only(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk")
    for number in range(3):
        await receiver.send("desk", {"ticket": number}, delivery=f"d-{number}")
    path = "/hooks/desk/kept"
    assert (await receiver.get(path)).problem == "unauthorized"
    assert (await receiver.get(path, "lk_nonsense")).problem == "unauthorized"
    assert (await receiver.get(path, await ledger.key("observe"))).problem == "scope-missing"
    page = (await receiver.get(f"{path}?limit=2", ledger.admin)).json
    assert (len(page["kept"]), page["more"]) == (2, True)
    rest = (await receiver.get(f"{path}?after={page['kept'][-1]['id']}", ledger.admin)).json
    assert (len(rest["kept"]), rest["more"]) == (1, False)
    assert rest["kept"][0].keys() == {"id", "state", "problem", "reason", "bytes", "received", "tried", "tries"}


async def test_an_administrator_of_another_ledger_sees_nothing_of_a_hook(
    ledger: LedgerService, receiver: ReceiverService
) -> None:
    receiver.hook("desk")
    await receiver.send("desk", {"ticket": 1})
    own, others = await ledger.key("admin", ledgers=["main"]), await ledger.key("admin", ledgers=["other"])
    assert len((await receiver.get("/hooks/desk/kept", own)).json["kept"]) == 1
    assert (await receiver.get("/hooks/desk/kept", others)).problem == "forbidden"
    assert "kept" in (await receiver.get("/hooks/desk", own)).json
    assert "kept" not in (await receiver.get("/hooks/desk", others)).json


async def test_a_key_that_has_ended_is_told_since_when(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk")
    key = await ledger.key("admin")
    assert (await ledger.ask("DELETE", f"/v1/keys/{key.split('_')[1]}")).status == 204
    wanted = (await ledger.get("/v1/keys", key=key)).json
    for path in ("/hooks/desk", "/hooks/desk/kept"):
        reply = await receiver.get(path, key)
        assert (reply.status, reply.problem) == (401, "unauthorized")
        assert (reply.json["detail"], reply.json["revoked"]) == (wanted["detail"], wanted["revoked"])


def test_a_list_of_what_is_kept_holds_no_body(tmp_path: Path) -> None:
    """Of a hundred bodies of 100 KB, less than one is in memory."""
    with opened(Settings(home=tmp_path)) as kept:
        body = b"x" * 100_000
        for number in range(100):
            delivery = kept.delivery("desk", f"d-{number}", body)
            kept.keep(
                delivery, Came({}, body), "refused", problem="mapping-misfit", reason="why", now=datetime.now(UTC)
            )
        tracemalloc.start()
        try:
            assert len(kept.page(hook="desk", limit=101)) == 100
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert most < len(body) * 2


@pytest.mark.parametrize("away", [True, False], ids=["the ledger away", "the ledger there"])
async def test_of_two_bodies_at_once_under_one_id_one_is_refused(database: Database, away: bool) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if not away:
            await stack.enter_async_context(serving(database.settings))
        receiver = await stack.enter_async_context(receiving(database.settings))
        receiver.hook("desk", STANDARD, secret=WHSEC)
        replies = await asyncio.gather(*(receiver.send("desk", ticket(id), delivery="msg_1") for id in range(8)))
        assert sorted(reply.status for reply in replies) == [202 if away else 200] + [409] * 7
        assert {reply.problem for reply in replies if reply.status == 409} == {"delivery-conflict"}


def test_who_comes_second_under_an_id_takes_nothing_from_the_first(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with opened(Settings(home=tmp_path)) as kept:
        first, second = (kept.delivery("desk", "d-1", body) for body in (b"1", b"2"))
        why: Any = {"problem": "unavailable", "reason": "why", "now": now}
        kept.keep(first, Came({}, b"1"), "waiting", **why)
        kept.release(second)
        for late in (
            lambda: kept.check(second),
            lambda: kept.keep(second, Came({}, b"2"), "waiting", **why),
            lambda: kept.settle(second, now=now),
        ):
            with pytest.raises(AnotherBody, match="the delivery d-1 came before with another body"):
                late()
        [item] = kept.page(limit=10)
        assert kept.came(item) == Came({}, b"1")


async def test_a_hook_that_fails_by_a_mistake_of_ours_holds_up_no_other(database: Database) -> None:
    class Failing(Ledgers):
        async def record(self, ledger: str, key_file: Path, events: list[dict[str, Any]]) -> Any:
            if events[0]["source"] == "/hooks/wrong":
                raise RuntimeError("a mistake of ours")
            raise NotRecorded(422, [Objection("tried")])

    settings = database.settings
    async with receiving(settings) as receiver:
        receiver.hook("desk")
        receiver.hook("a-wrong", mended("/hooks/desk", "/hooks/wrong"))
        for name in ("a-wrong", "desk"):
            assert (await receiver.send(name, ticket())).status == 202
    with opened(settings) as kept:
        reception = Reception(
            Hooks(settings.hooks_directory), kept, Failing("http://127.0.0.1:9"), settings.receiver_key, days_max=30
        )
        task = asyncio.create_task(reception.go_on())

        async def tried() -> bool:
            return [item.state for item in kept.page(limit=10)] == ["waiting", "refused"]

        await holds(tried, meanwhile=task)
        task.cancel()


def test_room_is_given_back(tmp_path: Path) -> None:
    with opened(Settings(home=tmp_path)) as kept:
        why: Any = {"problem": "unavailable", "reason": "why", "now": datetime.now(UTC)}
        for number in range(20):
            body = os.urandom(100_000)
            kept.keep(kept.delivery("desk", f"d-{number}", body), Came({}, body), "waiting", **why)
        kept.give_back()
        assert (tmp_path / FILE).stat().st_size > 2_000_000
        for item in kept.page(limit=100):
            kept.settle(item.delivery, now=datetime.now(UTC))
        kept.give_back()
        assert sum(path.stat().st_size for path in tmp_path.glob(f"{FILE}*")) < 200_000


async def test_a_file_that_is_taken_away_takes_no_promise_with_it(database: Database) -> None:
    async with receiving(database.settings) as receiver:
        receiver.hook("desk")
        assert (await receiver.send("desk", ticket(1), delivery="d-1")).status == 202
        (receiver.settings.home / FILE).unlink()
        assert (await receiver.send("desk", ticket(2), delivery="d-2")).status == 202
        assert [item.delivery.id for item in receiver.kept()] == ["id:d-2"]


def test_a_home_whose_name_is_written_like_an_address(tmp_path: Path) -> None:
    home = tmp_path / "a%41?#b"
    home.mkdir()
    for _ in range(2):  # The second one reads what is there.
        with opened(Settings(home=home)) as kept:
            kept.give_back()
    assert FILE in [path.name for path in home.iterdir()]


async def test_nothing_is_forgotten_when_it_starts_with_a_clock_ahead(
    ledger: LedgerService, receiver: ReceiverService
) -> None:
    receiver.hook("desk")
    await receiver.send("desk", {"ticket": 1})
    with opened(receiver.settings) as kept:
        later = Reception(
            Hooks(receiver.directory),
            kept,
            Ledgers("http://127.0.0.1:9"),
            receiver.settings.receiver_key,
            days_max=30,
            now=lambda: datetime.now(UTC) + timedelta(days=31),
        )
        task = asyncio.create_task(later.forget())
        await asyncio.sleep(0.5)
        task.cancel()
    assert len(receiver.kept()) == 1


async def test_a_hook_takes_its_share_of_the_room_and_leaves_the_rest(database: Database) -> None:
    """While the ledger is away, anybody may fill what is for an unsigned hook, and no more."""
    async with receiving(replace(database.settings, receiver_kept_bytes_max=65_536)) as receiver:
        receiver.hook("open", mended(*UNSIGNED))
        receiver.hook("desk")
        statuses = [(await receiver.send("open", ticket(n, "x" * 5_000))).status for n in range(4)]
        assert statuses == [202, 202, 503, 503]
        reply = await receiver.send("open", ticket(9, "x" * 5_000))
        assert (reply.problem, "its share of the room" in reply.json["detail"]) == ("kept-full", True)
        assert (await receiver.send("desk", ticket(1, "x" * 5_000))).status == 202


async def test_measurements_wait_for_nobody_who_writes_the_file(receiver: ReceiverService) -> None:
    receiver.hook("desk")
    await receiver.send("desk", {"ticket": 1})

    async def counted() -> bool:
        return 'receiver_kept{hook="desk",state="refused"} 1.0' in (await receiver.get("/metrics")).body.decode()

    await holds(counted)
    writer = sqlite3.connect(receiver.settings.home / FILE, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    try:
        sending = asyncio.create_task(receiver.send("desk", {"ticket": 2}, delivery="d-2"))
        assert await counted()
        assert (await receiver.get("/livez")).status == 200
        assert not sending.done()  # It waits for the file, and nobody waits for it.
    finally:
        writer.close()
    assert (await sending).status == 422


async def test_the_examples_of_problems_are_what_is_said(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk", STANDARD, secret=WHSEC)
    body = json.dumps(ticket()).encode()
    replies = {
        "signature-stale": await receiver.send("desk", body, minutes=-10),
        "signature-invalid": await receiver.post("desk", b"{}", receiver.signed("desk", body)),
        "mapping-misfit": await receiver.send("desk", {"ticket": {"subject": ""}}, delivery="misfit"),
    }
    await receiver.send("desk", ticket(1), delivery="5f3c")
    replies["delivery-conflict"] = await receiver.send("desk", ticket(2), delivery="5f3c")
    replies["not-recorded"] = await receiver.send("desk", ticket(1, "other"), delivery="other")
    receiver.hook("desk", mended("scheme: github", "scheme: gitub"))
    replies["hook-unusable"] = await receiver.get("/hooks/desk")
    for name, reply in replies.items():
        assert reply.problem == name
        example = problem_pages.document(name)["example"]
        assert re.sub(r"\d+", "0", reply.json["detail"]) == re.sub(r"\d+", "0", example["detail"])
        assert ("kept" in reply.json) == ("kept" in example), name


async def test_no_room_to_keep_more(ledger: LedgerService) -> None:
    async with receiving(replace(ledger.settings, receiver_kept_bytes_max=200_000)) as receiver:
        receiver.hook("desk")
        large = {"ticket": "x" * 40_000}
        assert (await receiver.send("desk", large, delivery="d-1")).status == 422
        reply = await receiver.send("desk", {"ticket": "y" * 40_000}, delivery="d-2")
        assert (reply.status, reply.problem) == (503, "kept-full")
        # What is kept already takes no more room, and what fits needs none.
        assert (await receiver.send("desk", large, delivery="d-1")).status == 422
        assert (await receiver.send("desk", ticket(), delivery="d-3")).status == 200
        assert len(receiver.kept()) == 1


async def test_a_key_of_the_file_that_is_another_opens_nothing_and_changes_nothing(
    ledger: LedgerService, receiver: ReceiverService
) -> None:
    receiver.hook("desk")
    await receiver.send("desk", {"ticket": 1})
    key = receiver.settings.home / KEY_FILE
    before = key.read_text()
    key.write_text("QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\n")
    with pytest.raises(KeptUnusable, match=r"does not open with .*receiver-kept\.key"):
        receiver.kept()
    key.unlink()
    with pytest.raises(KeptUnusable, match=r"receiver-kept\.key is missing"):
        receiver.kept()
    key.write_text(before)
    assert len(receiver.kept()) == 1


# The probes, and what is measured


async def test_probes_and_measurements(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk")
    await receiver.send("desk", {"ticket": 1})
    assert (await receiver.get("/readyz")).status == 200
    text = (await receiver.get("/metrics")).body.decode()
    assert 'receiver_webhooks_total{hook="desk",status="422"}' in text
    document = (await receiver.get("/openapi.json")).json
    assert set(document["paths"]) >= {"/hooks/{hook}", "/hooks/{hook}/kept"}
    assert (await receiver.get("/problems/signature-stale")).status == 200


async def test_no_line_of_the_log_holds_a_body(ledger: LedgerService, receiver: ReceiverService) -> None:
    receiver.hook("desk")
    words = "the-words-of-a-customer"
    with structlog.testing.capture_logs() as said:
        await receiver.send("desk", ticket(1, words, customer=f"no {words}"))
        await receiver.send("desk", ticket(2, words), delivery="d-2")
        await receiver.send("desk", ticket(2, f"{words} again"), delivery="d-3")
    assert [line["event"] for line in said].count("webhook_kept") == 2
    assert words not in str(said)


async def test_the_port_of_another(ledger: LedgerService) -> None:
    """The port is the receiver's own setting."""
    [port] = free_ports(1)
    async with receiving(replace(ledger.settings, receiver_port=port)) as receiver:
        assert (await receiver.get("/livez")).status == 200


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with opened(Settings(home=tmp_path)):
            modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(before)
    assert modes == {0o600}
    assert sqlite3.connect(tmp_path / FILE).execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_samples_name_their_secrets_after_themselves() -> None:
    for path in EXAMPLES.glob("*.yaml"):
        assert f"secret_file: {path.stem}.secret" in path.read_text()
