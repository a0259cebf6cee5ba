"""The Python client against a real ledger: what is recorded, what is refused and how, and what is sent again."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from ledger_client import (
    AccountProfiled,
    AgreementAdopted,
    AskRecorded,
    By,
    Conflict,
    Draft,
    Forbidden,
    Judged,
    Ledger,
    NoSuchLedger,
    Recorded,
    Refused,
    Retries,
    Unauthorized,
    Unavailable,
)
from ledger_client.retries import asked_seconds, pause_seconds
from tests.conftest import free_ports
from tests.cutting_proxy import CuttingProxy, Moment
from tests.ledger_service import LedgerService, profile

SOON = Retries(deadline_seconds=20.0, first_seconds=0.01, pause_seconds_max=0.05)
AT_ONCE = Retries(deadline_seconds=0.0)
SECONDS_MAX = 60.0
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
ASK = AskRecorded(requirement="SSO-42", account="acme", importance=3)


@pytest.fixture
async def client(ledger: LedgerService) -> AsyncIterator[Ledger]:
    async with Ledger(ledger.url, ledger.admin, source="/crm", retries=SOON) as client:
        yield client


def ask(number: int, importance: int = 1) -> AskRecorded:
    return AskRecorded(requirement=f"R-{number}", account="acme", importance=importance)


async def test_an_event_is_recorded_and_the_second_time_known(ledger: LedgerService, client: Ledger) -> None:
    first = await client.record(ASK, key=("ticket", 4711, "asked"), time=NOON)
    again = await client.record(ASK, key=("ticket", 4711, "asked"), time=NOON)
    assert (first.position, first.duplicate, first.id) == (1, False, "ticket:4711:asked")
    assert again == msgspec.structs.replace(first, duplicate=True)
    stored = (await ledger.get("/v1/ledgers/main/events/1?unseal=1")).json
    assert stored["source"] == "/crm"
    assert stored["time"] == "2026-01-15T12:00:00.000000Z"
    assert stored["data"] == {"requirement": "SSO-42", "account": "acme", "importance": 3}


async def test_the_same_content_without_a_key_is_one_event(client: Ledger) -> None:
    first = await client.record(ASK)
    assert (await client.record(ASK)).duplicate
    assert (await client.record(ASK, time=NOON)).position == first.position + 1


async def test_a_dry_run_records_nothing(ledger: LedgerService, client: Ledger) -> None:
    await client.record(ASK, dry_run=True)
    with pytest.raises(Refused):
        await client.record(ask(1, importance=9), dry_run=True)
    assert await ledger.head() == 0


async def test_attributes_go_along(ledger: LedgerService, client: Ledger) -> None:
    await client.record(ASK, attributes={"correlationid": "call-1", "urgent": True})
    stored = (await ledger.get("/v1/ledgers/main/events/1")).json
    assert (stored["correlationid"], stored["urgent"]) == ("call-1", True)


@pytest.mark.parametrize(
    "event",
    [
        AskRecorded(requirement="SSO 42", account="", importance=9),
        AccountProfiled(account="acme", attributes={"": 1, "x": "y" * 5_000}),
        AskRecorded(requirement="R", account="a", quote="q" * 9_000, needed_by="soon"),  # type: ignore[arg-type]
    ],
    ids=["ids", "attributes", "texts"],
)
async def test_the_client_refuses_what_the_ledger_refuses_with_the_same_words(
    ledger: LedgerService, client: Ledger, event: Any
) -> None:
    data = {name: item for name, item in msgspec.to_builtins(event).items() if name != "@type"}
    raw = {"specversion": "1.0", "id": "e", "type": event.__struct_config__.tag, "data": data}
    with pytest.raises(Refused) as here:
        await client.record(event, id="e")
    with pytest.raises(Refused) as there:
        await client.post([raw])
    assert here.value.errors == there.value.errors != []
    assert (here.value.status, there.value.status) == (0, 422)
    assert await ledger.head() == 0


async def test_other_content_under_the_same_id_is_a_conflict(client: Ledger) -> None:
    await client.record(ask(1), id="one")
    with pytest.raises(Conflict) as conflict:
        await client.record(ask(2), id="one")
    assert conflict.value.status == 409
    assert conflict.value.current_version is None
    assert conflict.value.errors[0].type == "/problems/id-conflict"


async def test_another_version_than_expected_is_a_conflict(client: Ledger) -> None:
    await client.record(ASK, id="one", expected_version=0)
    with pytest.raises(Conflict) as conflict:
        await client.record(ASK, id="two", expected_version=0)
    assert conflict.value.current_version == 1
    assert (await client.record(ASK, id="two", expected_version=1)).version == 2


async def test_an_act_that_a_later_event_can_make_possible_is_retryable(client: Ledger) -> None:
    adopted = AgreementAdopted(
        agreement="target-market", revision="r1", effective="2026-01-01", by=By(role="VP", team="product")
    )
    with pytest.raises(Refused) as refused:
        await client.record(adopted)
    assert refused.value.retryable
    assert refused.value.status == 422


async def test_a_batch_is_one_unit(ledger: LedgerService, client: Ledger) -> None:
    await client.record(ask(1), id="taken")
    with pytest.raises(Judged) as judged:
        await client.record_all([Draft(ask(2), id="new"), Draft(ask(3), id="taken")])
    assert [spot.index for spot in judged.value.errors] == [1]
    with pytest.raises(Refused) as refused:
        await client.record_all([ask(1), ask(2, importance=7)])
    assert [(spot.index, spot.pointer) for spot in refused.value.errors] == [(1, "/data/importance")]
    assert await ledger.head() == 1
    recorded = await client.record_all([ask(number) for number in range(5)])
    assert [each.position for each in recorded if isinstance(each, Recorded)] == [2, 3, 4, 5, 6]


async def test_a_batch_that_is_too_large_is_split_only_where_that_is_asked_for(client: Ledger) -> None:
    many = [Draft(ask(number), id=f"e-{number}") for number in range(1_001)]
    with pytest.raises(ValueError, match="1001 events"):
        await client.record_all(many)
    outcomes = await client.record_all(many, lenient=True)
    assert [each.position for each in outcomes if isinstance(each, Recorded)] == list(range(1, 1_002))


async def test_leniently_each_event_stands_by_itself(ledger: LedgerService, client: Ledger) -> None:
    await client.record(ask(0), id="taken")
    drafts = [
        Draft(ask(1), id="a"),
        Draft(ask(2, importance=9), id="b"),  # Refused here.
        Draft(ask(3), id="taken"),  # Refused there.
        Draft(ask(4), id="c"),
        AgreementAdopted(
            agreement="target-market", revision="r1", effective="2026-01-01", by=By(role="VP", team="product")
        ),
        Draft(ask(1), id="a"),
    ]
    outcomes = await client.record_all(drafts, lenient=True)
    assert [type(each) for each in outcomes] == [Recorded, Refused, Conflict, Recorded, Refused, Recorded]
    adopted = outcomes[4]
    assert isinstance(adopted, Refused)
    assert adopted.retryable
    assert adopted.errors[0].index == 0
    assert await ledger.head() == 3


async def test_raw_events_are_posted_as_they_are(ledger: LedgerService, client: Ledger) -> None:
    own = profile("acme", id="own", source="/elsewhere")
    lent = {name: item for name, item in profile("beta", id="lent").items() if name != "source"}
    recorded = await client.post([own, lent])
    assert [each.source for each in recorded] == ["/elsewhere", "/crm"]
    assert await client.post([]) == []
    with pytest.raises(Refused) as refused:
        await client.post([own, {"id": "x"}])
    assert {spot.index for spot in refused.value.errors} == {1}


async def test_keys_that_may_not(ledger: LedgerService) -> None:
    limited = await ledger.key("observe", sources=["/crm"])
    async with Ledger(ledger.url, limited, source="/support") as client:
        with pytest.raises(Forbidden) as forbidden:
            await client.record(ASK)
        assert forbidden.value.errors[0].pointer == "/source"
    async with Ledger(ledger.url, "no key at all", source="/crm") as client:
        with pytest.raises(Unauthorized):
            await client.record(ASK)


async def test_a_key_in_a_file_can_be_rotated(ledger: LedgerService, tmp_path: Path) -> None:
    file = tmp_path / "crm.key"
    async with Ledger(ledger.url, file, source="/crm") as client:
        with pytest.raises(Unauthorized, match=r"crm\.key"):
            await client.record(ASK)
        file.write_text("an old one\n")
        with pytest.raises(Unauthorized):
            await client.record(ASK)
        file.write_text(await ledger.key("observe") + "\n")
        assert (await client.record(ASK)).position == 1


@pytest.mark.parametrize("text", ["the old one\nthe new one\n", "\n", "one\x00two"])
async def test_a_key_that_is_not_one_line_is_told_with_its_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "crm.key"
    file.write_text(text)
    async with Ledger("http://127.0.0.1:1", file, source="/crm", retries=AT_ONCE) as client:
        with pytest.raises(Unauthorized, match=r"crm\.key does not hold one key in one line"):
            await client.record(ASK)
    async with Ledger("http://127.0.0.1:1", text, source="/crm", retries=AT_ONCE) as client:
        with pytest.raises(Unauthorized, match="the key that was given"):
            await client.record(ASK)


async def test_an_answer_that_nobody_can_read_is_none() -> None:
    async with (
        answering(lambda: web.Response(status=503, text="[" * 100_000)) as url,
        Ledger(url, "key", source="/crm", retries=AT_ONCE) as client,
    ):
        with pytest.raises(Unavailable):
            await client.record(ASK)


async def test_what_is_no_ledger_is_told_apart(ledger: LedgerService) -> None:
    async with Ledger(ledger.url, ledger.admin, source="/crm", ledger="none") as client:
        with pytest.raises(NoSuchLedger, match="`none`"):
            await client.record(ASK)
    for url in ("ftp://host", "127.0.0.1:8080", "http://"):
        with pytest.raises(ValueError, match="URL of a ledger"):
            Ledger(url, "key")

    for status, body in ((200, "<html>welcome</html>"), (200, '{"results": []}'), (302, ""), (404, "gone"), (405, "")):
        async with (
            answering(lambda status=status, body=body: web.Response(status=status, text=body)) as url,
            Ledger(url, "key", source="/crm", retries=SOON) as client,
        ):
            with pytest.raises(NoSuchLedger):
                await client.record(ASK)


async def test_a_typed_event_needs_a_source(ledger: LedgerService) -> None:
    async with Ledger(ledger.url, ledger.admin) as client:
        with pytest.raises(ValueError, match="source"):
            await client.record(ASK)


async def test_a_call_that_cannot_be_meant(client: Ledger) -> None:
    with pytest.raises(ValueError, match="no zone"):
        await client.record(ASK, time=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(ValueError, match="not both"):
        await client.record(ASK, id="a", key=("a",))
    with pytest.raises(RuntimeError, match="async with"):
        await Ledger("http://localhost", "key", source="/crm").record(ASK)


# What is sent again


@asynccontextmanager
async def answering(answer: Callable[[], web.Response]) -> AsyncIterator[str]:
    """A server that answers every request so. Its URL."""

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return answer()

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("lost", ["unsent", "unanswered"])
async def test_what_is_lost_on_the_way_is_sent_again_and_recorded_once(ledger: LedgerService, lost: Moment) -> None:
    moments = itertools.chain([lost, lost], itertools.repeat("through"))
    async with (
        CuttingProxy.before(ledger.url, lambda: next(moments)) as proxy,
        Ledger(proxy.url, ledger.admin, source="/crm", retries=SOON) as client,
    ):
        recorded = await client.record_all([ask(1), ask(2)])
    assert [each.duplicate for each in recorded if isinstance(each, Recorded)] == [lost == "unanswered"] * 2
    assert proxy.statuses == ([201] if lost == "unsent" else [201, 200, 200])
    # Nothing but the same bytes is the same request.
    assert len(set(proxy.bodies)) == 1
    assert len(proxy.bodies) == 3
    assert client.retried == 2
    assert await ledger.head() == 2


async def test_what_was_cancelled_on_its_way_is_recorded_once(ledger: LedgerService) -> None:
    async with (
        CuttingProxy.before(ledger.url, lambda: "held") as proxy,
        Ledger(proxy.url, ledger.admin, source="/crm", retries=SOON) as client,
    ):
        recording = asyncio.create_task(client.record(ASK))
        await asyncio.wait_for(proxy.holding.wait(), SECONDS_MAX)
        recording.cancel()
        await asyncio.wait([recording])
        assert recording.cancelled()
        proxy.moment = lambda: "through"
        proxy.release.set()
        again = await client.record(ASK)
    assert (again.position, again.duplicate) == (1, True)
    assert await ledger.head() == 1


async def test_any_answers_may_be_lost(ledger: LedgerService) -> None:
    chance = random.Random(7)
    async with (
        CuttingProxy.before(ledger.url, lambda: chance.choice(["through", "through", "unsent", "unanswered"])) as proxy,
        Ledger(proxy.url, ledger.admin, source="/crm", retries=SOON) as client,
    ):
        recorded = await asyncio.gather(*(client.record(ask(number)) for number in range(60)))
    assert sorted(each.position for each in recorded) == list(range(1, 61))
    assert await ledger.head() == 60


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_answers_that_mean_later(ledger: LedgerService, status: int) -> None:
    answers = iter([web.Response(status=status, headers={"Retry-After": "0"}), web.Response(status=status)])
    asked = 0

    def answer() -> web.Response:
        nonlocal asked
        asked += 1
        return next(answers, None) or web.json_response({"type": "/problems/too-large", "status": 413}, status=413)

    async with answering(answer) as url, Ledger(url, "key", source="/crm", retries=SOON) as client:
        with pytest.raises(Refused):
            await client.record(ASK)
    assert asked == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 412, 413, 415, 422, 425])
async def test_answers_that_are_not_asked_for_twice(status: int) -> None:
    asked = 0

    def answer() -> web.Response:
        nonlocal asked
        asked += 1
        return web.json_response({"type": "/problems/x", "title": "No", "status": status}, status=status)

    async with answering(answer) as url, Ledger(url, "key", source="/crm", retries=SOON) as client:
        with pytest.raises((Judged, Unauthorized, NoSuchLedger), match="No"):
            await client.record(ASK)
    assert asked == 1


async def test_nobody_there_is_unavailable(ledger: LedgerService) -> None:
    async with Ledger(f"http://127.0.0.1:{free_ports(1)[0]}", "key", source="/crm", retries=AT_ONCE) as client:
        with pytest.raises(Unavailable, match="Sending the same again is safe"):
            await client.record(ASK)


async def test_a_wait_that_is_longer_than_the_deadline_is_not_begun() -> None:
    async with (
        answering(lambda: web.Response(status=503, headers={"Retry-After": "3600"})) as url,
        Ledger(url, "key", source="/crm") as client,
    ):
        with pytest.raises(Unavailable, match="1 attempts"):
            await client.record(ASK)


def test_pauses_grow_and_differ() -> None:
    retries = Retries(first_seconds=1.0, pause_seconds_max=10.0)
    assert [pause_seconds(retries, attempt, None, lambda: 1.0) for attempt in range(6)] == [1, 2, 4, 8, 10, 10]
    assert [pause_seconds(retries, attempt, None, lambda: 0.0) for attempt in range(3)] == [0.5, 1, 2]
    assert pause_seconds(retries, 10_000, None, lambda: 1.0) == 10
    assert pause_seconds(retries, 0, 30.0, lambda: 1.0) == 30.0
    assert pause_seconds(retries, 5, 0.1, lambda: 1.0) == 10


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("-7", 0.0),
        ("Thu, 15 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 15 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert asked_seconds(header, NOON) == seconds


async def test_a_time_ahead_is_refused_by_the_clock_that_is_given(ledger: LedgerService) -> None:
    async with Ledger(ledger.url, ledger.admin, source="/crm", now=lambda: NOON) as client:
        with pytest.raises(Refused) as refused:
            await client.record(ASK, time=NOON + timedelta(minutes=6))
        assert refused.value.errors[0].type == "/problems/time-in-future"
