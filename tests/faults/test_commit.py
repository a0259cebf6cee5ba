"""The connection to PostgreSQL breaks at each statement of an append: before the statement, and before its answer.

Whatever happened, the client learns that it is not known (503), sends the same again, and the event is there once.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from msgspec.structs import replace

from services import postgres
from services.ledger import log as event_log
from services.ledger import questions
from services.ledger.log import EventLog
from services.postgres import Unavailable, connect, ledger_schema, open_pool
from services.statements import Statements
from tests.conftest import Database
from tests.faults.postgres_proxy import Fault, Moment, PostgresProxy
from tests.ledger_service import LedgerService, Reply, holds, serving
from tests.log import event
from tests.writers import writer

STATEMENTS = {
    name: text
    for module in (event_log, questions)
    for name, text in Statements.load(Path(module.__file__).with_suffix(".sql"))
    .bind(schema=ledger_schema("main"))
    .items()
} | {"commit": "COMMIT"}
COPY = 'COPY "ledger_main"."stored_events"('
APPEND = ("lock_head", "head", "copy", "insert_keys", "commit")
MOMENTS: tuple[Moment, ...] = ("unsent", "unanswered")

CLIENTS = 12
EVENTS_OF_A_CLIENT = 25
CUTS = 40
CUT_SECONDS_MAX = 0.1
IMPATIENT_SECONDS = 1
TRIES_MAX = 200
SECONDS_MAX = 30

PRODUCT = {"role": "product manager", "team": "product"}


def ask(account: str = "a-1") -> Any:
    # With a quote, so that a key is kept with it.
    return event("ask.recorded", requirement="R-1", account=account, quote="We need it before March.")


def proposal() -> Any:
    return event(
        "decision.proposed", decision="D-1", requirements=["R-1"], question="Do we build it?", options=[], by=PRODUCT
    )


def runs(name: str) -> Callable[[str], bool]:
    """Whether a statement is the one of this name; asyncpg writes that which copies rows."""
    return lambda sql: sql.startswith(COPY) if name == "copy" else sql == STATEMENTS[name]


@asynccontextmanager
async def behind_a_proxy(database: Database) -> AsyncIterator[tuple[PostgresProxy, LedgerService]]:
    """A ledger that reaches its database through a proxy. Something has been recorded already."""
    async with PostgresProxy.before(database.writer) as proxy:
        settings = replace(database.settings, writer_url=proxy.address(database.writer))
        async with serving(settings) as ledger:
            await ledger.post(event("requirement.raised", requirement="R-1", title="Single sign-on"))
            yield proxy, ledger


async def recorded(database: Database) -> list[asyncpg.Record]:
    """Position, identity and key of every event, read past the proxy; the log must be sound."""
    connection = await connect(database.superuser)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(
            "SELECT notification_id AS position, e.event_id, e.sealed, k.position AS key"
            " FROM ledger_main.stored_events e FULL JOIN ledger_main.sealing_keys k ON k.position = notification_id"
            " ORDER BY 1"
        )
    finally:
        await connection.close()
    assert [row["position"] for row in rows] == list(range(1, len(rows) + 1))
    assert len({row["event_id"] for row in rows}) == len(rows)
    assert all((row["key"] is not None) is row["sealed"] for row in rows)
    return rows


async def persist(ledger: LedgerService, body: Any) -> Reply:
    """Post as an emitter does: the same again until there is an answer."""
    for _ in range(TRIES_MAX):
        reply = await ledger.post(body)
        if reply.status != 503:
            return reply
        assert reply.problem in ("unavailable", "overloaded")
        assert int(reply.headers["Retry-After"]) > 0
        await asyncio.sleep(0.01)
    raise AssertionError(f"{TRIES_MAX} times: {reply.body!r}")


async def fails_then_succeeds(database: Database, ledger: LedgerService, fault: Fault, body: Any, landed: bool) -> None:
    before = len(await recorded(database))
    first = await ledger.post(body)
    assert fault.struck.is_set()
    assert (first.status, first.problem) == (503, "unavailable")
    assert int(first.headers["Retry-After"]) > 0
    assert len(await recorded(database)) == before + landed

    again = await ledger.post(body)
    assert again.status == (200 if landed else 201)
    assert again.results[0]["position"] == before + 1
    assert again.results[0]["duplicate"] is landed
    assert len(await recorded(database)) == before + 1
    following = await ledger.post(ask())
    assert following.status == 201
    assert following.results[0]["position"] == before + 2


@pytest.mark.parametrize("moment", MOMENTS)
async def test_the_connection_breaks_at_a_statement(database: Database, moment: Moment) -> None:
    async with behind_a_proxy(database) as (proxy, ledger):
        assert (await ledger.post(ask())).status == 201
        for name in APPEND:
            fault = proxy.strike(runs(name), moment)
            landed = name == "commit" and moment == "unanswered"
            await fails_then_succeeds(database, ledger, fault, ask(), landed)


@pytest.mark.parametrize("moment", MOMENTS)
async def test_the_connection_breaks_while_it_is_asked_where_an_event_stands(
    database: Database, moment: Moment
) -> None:
    async with behind_a_proxy(database) as (proxy, ledger):
        body = ask()
        assert (await ledger.post(body)).status == 201
        proxy.strike(lambda sql: sql == STATEMENTS["known"], moment)
        assert (await ledger.post(body)).status == 503
        assert (await ledger.post(body)).status == 200
    assert len(await recorded(database)) == 2


async def test_a_request_takes_five_statements_and_no_more(database: Database) -> None:
    """However many events it has. A sixth would be one more turn between the two processes, under the lock."""
    async with (
        PostgresProxy.before(database.writer) as proxy,
        writer(database, url=proxy.address(database.writer)) as one,
    ):
        await one.record(ask())
        for batch in ([ask()], [ask(f"a-{number}") for number in range(50)]):
            seen = len(proxy.statements)
            await one.record(*batch)
            ran = proxy.statements[seen:]
            assert len(ran) == len(APPEND), ran
            assert all(runs(name)(sql) for sql, name in zip(ran, APPEND, strict=True))


async def test_what_a_process_has_recorded_itself_it_does_not_read_for_an_act(database: Database) -> None:
    async with behind_a_proxy(database) as (proxy, ledger):
        for seen_before in (False, True, True):
            seen = len(proxy.statements)
            assert (await ledger.post(proposal())).status == 201
            assert (STATEMENTS["streams_after"] in proxy.statements[seen:]) is not seen_before
            assert (await ledger.post(ask())).status == 201


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("under_the_lock", [False, True])
async def test_the_connection_breaks_while_an_act_reads_its_streams(
    database: Database, moment: Moment, under_the_lock: bool
) -> None:
    async with behind_a_proxy(database) as (proxy, ledger):
        if under_the_lock:
            # What is known ahead is out of date by then: somebody else appends while the ledger waits for the head.
            assert (await ledger.post(proposal())).status == 201
            holder = await connect(database.writer)
            await holder.execute(STATEMENTS["lock_head"])
            seen = len(proxy.statements)
            waiting = asyncio.create_task(ledger.post(proposal()))
            await holds_soon(lambda: STATEMENTS["lock_head"] in proxy.statements[seen:])
            await append_past_the_proxy(holder)
            fault = proxy.strike(lambda sql: sql == STATEMENTS["streams_after"], moment)
            await holder.execute("COMMIT")
            await holder.close()
            first = await waiting
        else:
            fault = proxy.strike(lambda sql: sql == STATEMENTS["streams_after"], moment)
            first = await ledger.post(proposal())
        assert fault.struck.is_set()
        assert (first.status, first.problem) == (503, "unavailable")
        before = len(await recorded(database))
        assert (await ledger.post(proposal())).status == 201
        assert len(await recorded(database)) == before + 1


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("statement", ["requirements", "asks", "identities"])
async def test_the_connection_breaks_while_the_log_is_asked_for_a_rule(
    database: Database, moment: Moment, statement: str
) -> None:
    acts = {
        "requirements": event("requirement.reworded", requirement="R-1", title="SSO", reason="plain", by=PRODUCT),
        "asks": event("ask.moved", requirement="R-1", ask="k-1", to="R-2", reason="meant", by=PRODUCT),
        "identities": event("account.merged", account="a-1", into="a-2", reason="one", by=PRODUCT),
    }
    async with behind_a_proxy(database) as (proxy, ledger):
        assert (await ledger.post(event("ask.recorded", requirement="R-1", account="a-1", ask="k-1"))).status == 201
        assert (await ledger.post(event("requirement.raised", requirement="R-2", title="SCIM"))).status == 201
        fault = proxy.strike(runs(statement), moment)
        await fails_then_succeeds(database, ledger, fault, acts[statement], landed=False)


async def append_past_the_proxy(holder: asyncpg.Connection) -> None:
    """Move the stream of D-1, on the connection that holds the head."""
    await holder.execute(
        "INSERT INTO ledger_main.stored_events SELECT originator_id, originator_version + 1, topic,"
        " convert_to(replace(replace(convert_from(state, 'UTF8'), '\"streamversion\":1', '\"streamversion\":2'),"
        " lpad(notification_id::text, 20, '0'), lpad((notification_id + 1)::text, 20, '0')), 'UTF8'),"
        " notification_id + 1, gen_random_uuid(), metadata, subject, source, clock_timestamp(), false, content,"
        " leaf_hash FROM ledger_main.stored_events WHERE notification_id = 2"
    )


async def test_a_batch_is_whole_or_not_at_all(database: Database) -> None:
    async with behind_a_proxy(database) as (proxy, ledger):
        for name in ("copy", "insert_keys", "commit"):
            for moment in MOMENTS:
                batch = [ask(), event("account.profiled", account="a-1", attributes={"size": 1}), ask("a-2")]
                before = len(await recorded(database))
                proxy.strike(runs(name), moment)
                landed = name == "commit" and moment == "unanswered"
                assert (await ledger.post(*batch)).status == 503
                assert len(await recorded(database)) == before + 3 * landed
                again = await ledger.post(*batch)
                assert again.status == (200 if landed else 201)
                assert [each["position"] for each in again.results] == [before + 1, before + 2, before + 3]
                assert len(await recorded(database)) == before + 3


async def test_an_answer_that_never_comes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that swallows: the connection stands, and nothing comes. The client is told within bounds."""
    monkeypatch.setattr(postgres, "COMMAND_SECONDS_MAX", IMPATIENT_SECONDS)
    async with behind_a_proxy(database) as (proxy, ledger):
        assert (await ledger.post(ask())).status == 201
        for name in ("lock_head", "copy", "commit"):
            fault = proxy.strike(runs(name), "silent")
            await fails_then_succeeds(database, ledger, fault, ask(), landed=name == "commit")


async def test_cuts_at_any_moment_under_load(database: Database) -> None:
    async with behind_a_proxy(database) as (proxy, ledger):
        bodies = [[ask(f"a-{client}") for _ in range(EVENTS_OF_A_CLIENT)] for client in range(CLIENTS)]

        async def emit(own: list[Any]) -> list[Reply]:
            return [await persist(ledger, body) for body in own]

        async def cut() -> None:
            for _ in range(CUTS):
                await asyncio.sleep(random.random() * CUT_SECONDS_MAX)
                proxy.cut_everything()

        cutting = asyncio.create_task(cut())
        replies = await asyncio.gather(*(emit(own) for own in bodies))
        await cutting

        # Those who tail the log are still woken.
        listener = await connect(database.projector)
        heard = asyncio.Event()
        await listener.add_listener("ledger_events", lambda *said: heard.set())
        assert (await ledger.post(event("person.introduced", person="p-1", name="Ada"))).status == 201
        await asyncio.wait_for(heard.wait(), SECONDS_MAX)
        await listener.close()

        positions = [reply.results[0]["position"] for each in replies for reply in each]
        assert len(set(positions)) == CLIENTS * EVENTS_OF_A_CLIENT
        assert len(await recorded(database)) == 2 + CLIENTS * EVENTS_OF_A_CLIENT
        # Asked once more, each is where it was said to be.
        for own, each in zip(bodies, replies, strict=True):
            again = await ledger.post(*own)
            assert again.status == 200
            assert [r["position"] for r in again.results] == [reply.results[0]["position"] for reply in each]


async def test_a_database_that_is_away_and_comes_back(database: Database) -> None:
    async with behind_a_proxy(database) as (proxy, ledger):
        proxy.refusing = True
        proxy.cut_everything()
        body = ask()
        for _ in range(3):
            reply = await ledger.post(body)
            assert (reply.status, reply.problem) == (503, "unavailable")
        assert (await ledger.get("/readyz", key=None)).status == 503
        assert (await ledger.get("/livez", key=None)).status == 200
        proxy.refusing = False
        assert (await persist(ledger, body)).status == 201
        assert (await ledger.get("/readyz", key=None)).status == 200


async def test_a_session_that_an_administrator_ends(database: Database) -> None:
    """As a fail-over or a restart of PostgreSQL looks to its clients."""
    superuser = await connect(database.superuser)
    try:
        async with serving(database.settings) as ledger:
            await ledger.post(event("requirement.raised", requirement="R-1", title="Single sign-on"))
            for ending in ("pg_terminate_backend", "pg_cancel_backend"):
                holder = await connect(database.writer)
                await holder.execute(STATEMENTS["lock_head"])
                body = ask()
                waiting = asyncio.create_task(ledger.post(body))
                await holds(
                    lambda ending=ending: superuser.fetchval(
                        f"SELECT {ending}(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'requirements-ledger' AND wait_event_type = 'Lock'"
                        " AND datname = current_database()"
                    )
                )
                reply = await waiting
                assert (reply.status, reply.problem) == (503, "unavailable")
                await holder.close()
                assert (await persist(ledger, body)).status == 201
    finally:
        await superuser.close()
    assert len(await recorded(database)) == 3


async def test_a_database_that_turns_read_only(database: Database) -> None:
    """As a standby is, or a primary that was stepped down."""
    superuser = await connect(database.superuser)
    try:
        async with behind_a_proxy(database) as (proxy, ledger):
            await superuser.execute(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
            proxy.cut_everything()
            body = ask()
            reply = await ledger.post(body)
            assert (reply.status, reply.problem) == (503, "unavailable")
            await superuser.execute(f"ALTER DATABASE {database.name} RESET default_transaction_read_only")
            proxy.cut_everything()
            assert (await persist(ledger, body)).status == 201
    finally:
        await superuser.close()


async def test_a_transaction_that_has_failed_is_not_taken_for_committed(database: Database) -> None:
    """PostgreSQL answers COMMIT in a failed transaction with ROLLBACK, which is no error."""
    async with await open_pool(database.writer, connections_max=1) as pool:
        log = EventLog(pool, "main")
        with pytest.raises(Unavailable):
            async with log.locked() as connection:
                with pytest.raises(asyncpg.DivisionByZeroError):
                    await connection.execute("SELECT 1 / 0")
        async with log.locked() as connection:
            assert (await log.head(connection)).position == 0


# The client


async def test_a_client_that_leaves_before_its_answer(database: Database) -> None:
    async with serving(database.settings) as ledger:
        await ledger.post(event("requirement.raised", requirement="R-1", title="Single sign-on"))
        holder = await connect(database.writer)
        await holder.execute(STATEMENTS["lock_head"])
        body = ask()
        async with ledger.raw() as (_, to_ledger):
            to_ledger.write(request(ledger, body))
            await holds(lambda: waiting_events(ledger, 1))
            to_ledger.transport.abort()
        await holder.execute("COMMIT")
        await holder.close()
        # It was taken in, so it is recorded; the client finds out by asking again.
        again = await persist(ledger, body)
        assert (again.status, again.results[0]["position"]) == (200, 2)
        assert await holds(lambda: waiting_events(ledger, 0))
    assert len(await recorded(database)) == 2


async def test_a_client_that_leaves_in_the_middle_of_its_request(database: Database) -> None:
    async with serving(database.settings) as ledger:
        await ledger.post(event("requirement.raised", requirement="R-1", title="Single sign-on"))
        body = ask()
        whole = request(ledger, body)
        for end in (10, len(whole) // 2, len(whole) - 1):
            async with ledger.raw() as (_, to_ledger):
                to_ledger.write(whole[:end])
                await to_ledger.drain()
                to_ledger.transport.abort()
        assert (await ledger.post(body)).status == 201
    assert len(await recorded(database)) == 2


def request(ledger: LedgerService, body: Any) -> bytes:
    content = msgspec.json.encode(body)
    head = (
        "POST /v1/ledgers/main/events HTTP/1.1\r\nHost: ledger\r\n"
        f"Authorization: Bearer {ledger.admin}\r\nContent-Type: application/cloudevents+json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def waiting_events(ledger: LedgerService, count: int) -> bool:
    metrics = (await ledger.get("/metrics", key=None)).body.decode()
    return f"\nledger_waiting_events {count}.0\n" in metrics


async def holds_soon(condition: Any) -> None:
    async def holding() -> Any:
        return condition()

    await holds(holding)
