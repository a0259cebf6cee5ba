"""Prefer: handling=lenient: a batch in which each event is recorded or refused by itself."""

import asyncio
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from tests.conftest import Database
from tests.ledger_service import BATCH, EVENTS, LedgerService, Reply, example, holds, profile, serving
from tests.log import Log

LENIENT = {"Prefer": "handling=lenient"}


async def lenient(ledger: LedgerService, *events: Any, **how: Any) -> Reply:
    """Post a batch, also one of a single event."""
    how = {"headers": LENIENT} | how
    return await ledger.send(msgspec.json.encode(events), BATCH, **how)


def statuses(reply: Reply) -> list[int]:
    assert reply.status == 207, reply.body
    assert reply.headers["Preference-Applied"] == "handling=lenient"
    return [result["status"] for result in reply.json["results"]]


async def test_each_event_has_a_status_and_those_recorded_keep_their_order(ledger: LedgerService):
    known = profile("known")
    await ledger.post(known)
    reply = await lenient(
        ledger, profile("a"), profile("b", type="ledger.account.sold.v1"), known, profile("c"), 7,
        profile("known", id=known["id"])
        | {"data": {"account": "known", "attributes": {}}},
    )  # fmt: skip
    assert statuses(reply) == [201, 422, 200, 201, 400, 409]
    results = reply.json["results"]
    assert [results[n]["position"] for n in (0, 3, 2)] == [2, 3, 1]
    assert results[0].keys() == {
        "status", "id", "source", "position", "stream", "version", "recordedtime", "duplicate"
    }  # fmt: skip
    assert results[2]["duplicate"]
    refused = results[1]
    assert (refused["type"], refused["id"]) == ("/problems/unknown-type", refused["id"])
    assert refused["title"]
    assert refused["detail"]
    assert [(error["index"], error["pointer"]) for error in refused["errors"]] == [(1, "/type")]
    assert [error["index"] for error in results[5]["errors"]] == [5]
    assert await ledger.head() == 3


async def test_an_act_that_an_earlier_event_makes_possible_is_recorded_and_one_that_a_refused_event_would_is_not(
    ledger: LedgerService,
):
    reworded = example("requirement.reworded", requirement="R-1")
    reply = await lenient(
        ledger, reworded, example("requirement.raised", requirement="R-1"), reworded | {"id": "again"}
    )
    assert statuses(reply) == [422, 201, 201]
    assert reply.json["results"][0]["type"] == "/problems/rule-not-met"
    assert reply.json["results"][0]["retryable"] is True

    spoilt = example("requirement.raised", requirement="R-2") | {"expectedversion": 5}
    reply = await lenient(ledger, spoilt, example("requirement.reworded", requirement="R-2"))
    assert statuses(reply) == [409, 422]
    assert reply.json["results"][0]["current_version"] == 0


async def test_two_events_of_one_id_in_a_batch(ledger: LedgerService):
    sent = profile("acme", id="e-1")
    other = profile("other", id="e-1")
    assert statuses(await lenient(ledger, sent, other, sent)) == [201, 409, 200]
    # The first of them is refused, and so the id is free.
    bad = profile("acme", id="e-2") | {"expectedversion": 9}
    reply = await lenient(ledger, bad, profile("other", id="e-2"))
    assert statuses(reply) == [409, 201]
    assert await ledger.head() == 2


async def test_a_dry_run_sees_earlier_events_of_the_batch_and_records_nothing(ledger: LedgerService):
    raised, reworded = example("requirement.raised"), example("requirement.reworded")
    reply = await lenient(ledger, raised, reworded, profile("x", source=""), params={"dry_run": "1"})
    assert statuses(reply) == [200, 200, 400]
    assert reply.json["dry_run"] is True
    assert await ledger.head() == 0


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("handling=lenient", True),
        ('respond-async, Handling = "lenient"; x=y', True),
        ("handling=strict", False),
        ("handling=strict, handling=lenient", False),
        ("handling=kind", False),
        ("lenient", False),
        ("handling", False),
        ("", False),
    ],
)
async def test_what_is_preferred(ledger: LedgerService, prefer: str, applied: bool):
    reply = await lenient(ledger, profile("a"), profile("b", type="x"), headers={"Prefer": prefer})
    assert (reply.status == 207) is applied
    assert ("Preference-Applied" in reply.headers) is applied
    assert await ledger.head() == (1 if applied else 0)


async def test_a_single_event_and_a_body_that_is_no_batch_are_answered_as_ever(ledger: LedgerService):
    assert (await ledger.post(profile(), headers=LENIENT)).status == 201
    assert (await ledger.post(profile("a", type="x"), headers=LENIENT)).problem == "unknown-type"
    assert (await ledger.send(b"[{]", BATCH, headers=LENIENT)).problem == "malformed-json"
    assert (await ledger.send(b"[]", BATCH, headers=LENIENT)).problem == "not-a-cloudevent"
    assert (await ledger.send(b"{}", BATCH, headers=LENIENT)).problem == "not-a-cloudevent"
    assert statuses(await lenient(ledger, profile("b"))) == [201]


async def test_if_match_holds_for_the_one_event_of_a_batch(ledger: LedgerService):
    reply = await lenient(ledger, profile("acme"), headers=LENIENT | {"If-Match": '"4"'})
    assert statuses(reply) == [412]
    both = await lenient(ledger, profile("a"), profile("b"), headers=LENIENT | {"If-Match": '"4"'})
    assert both.problem == "bad-request"


async def test_what_a_key_may_not_say_is_refused_event_by_event(ledger: LedgerService):
    key = await ledger.key("observe", sources=["/crm"])
    reply = await lenient(
        ledger, profile("a", source="/crm"), profile("b", source="/erp"),
        example("requirement.reworded") | {"source": "/crm"},
        key=key,
    )  # fmt: skip
    assert statuses(reply) == [201, 403, 403]
    assert [each.get("type", "") for each in reply.json["results"]][1:] == [
        "/problems/source-not-granted",
        "/problems/scope-missing",
    ]


async def test_a_full_queue_is_told_of_each_event_that_might_have_been_recorded(database: Database):
    async with serving(replace(database.settings, queue_events_max=3)) as ledger, Log.open(database) as log:
        sent = [profile("c"), profile("d", type="x"), profile("e")]
        async with log.connection.transaction():
            await log.lock()
            first = asyncio.create_task(ledger.post(profile("a"), profile("b")))
            await holds(lambda: waiting(ledger, 2))
            reply = await lenient(ledger, *sent)
            assert statuses(reply) == [503, 422, 503]
            assert reply.json["results"][0]["type"] == "/problems/overloaded"
            assert int(reply.headers["Retry-After"]) >= 1
        assert (await first).status == 201
        assert statuses(await lenient(ledger, *sent)) == [201, 422, 201]
        assert [event["data"]["account"] for event in (await ledger.get(EVENTS)).json["events"]] == ["a", "b", "c", "e"]


async def waiting(ledger: LedgerService, events: int) -> bool:
    return f"ledger_waiting_events {events:.1f}" in (await ledger.get("/metrics")).body.decode()


async def test_a_large_batch_of_which_every_third_event_is_refused(ledger: LedgerService):
    sent = [profile(f"a-{n}") if n % 3 else profile(f"a-{n}", id="") for n in range(1_000)]
    reply = await lenient(ledger, *sent)
    assert statuses(reply) == [201 if n % 3 else 400 for n in range(1_000)]
    recorded = [each["position"] for each in reply.json["results"] if each["status"] == 201]
    assert recorded == [*range(1, 667)]
