"""The projector on a real database: it catches up, wakes, stops where it must, and never misses an event."""

import asyncio
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas.values import YEAR_MAX, YEAR_MIN
from services.migrate import make_ledger
from services.postgres import Unavailable, connect, ledger_schema
from services.problems import Problem
from services.projector import apply, feed
from services.projector import projector as projector_module
from services.projector import runner as runner_module
from services.projector.answers import snapshot as snapshots
from services.projector.answers.snapshot import Wanted, open_snapshot
from services.projector.apply import topics_of
from services.projector.projections import ALL, Projection
from services.projector.projector import NoSuchLedger, Projector
from services.projector.runner import Runner, Stopped
from services.sealing import MasterKeys
from tests.conftest import Database
from tests.log import Log, append_by_force, event, read
from tests.readmodels import NAMES, ask, digests, profile, reached, ready, rebuilt_digests, rows, running, until

DECIDER = {"role": "head of product", "team": "product"}

SETTLE = snapshots.settle


def decision(name: str, **more: Any) -> Any:
    made = {"outcome": "commit", "rationale": "it sells", "instruction": "build it", "deciders": [DECIDER]}
    return event("decision.made", decision=name, requirements=["R-1"], **made, **more)


async def positions(database: Database, table: str = "asks", ledger: str = "main") -> list[int]:
    found = await rows(database, f'SELECT position FROM "{ledger_schema(ledger)}".{table} ORDER BY position')
    return [position for (position,) in found]


async def test_it_is_ready_once_the_ledgers_that_are_there_can_be_asked(database: Database) -> None:
    other = await connect(database.projector)
    await other.execute("SELECT pg_advisory_lock(hashtextextended('opening main', 0))")
    async with Projector(database.settings) as projector:
        async with asyncio.timeout(60):
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
                await asyncio.sleep(0.01)
        with pytest.raises(Unavailable, match="the read models of 1 of 1 ledgers are not there yet"):
            await projector.ready()
        await other.execute("SELECT pg_advisory_unlock(hashtextextended('opening main', 0))")
        await ready(projector)
        assert await other.fetchval("SELECT count(*) FROM ledger_main.cursors") == len(ALL)
        assert (await projector.ledger("main")).cursors.keys() == {*NAMES}
    await other.close()


async def test_a_ledger_that_the_database_refuses_keeps_nobody_from_being_ready(database: Database) -> None:
    owner = await connect(database.owner)
    await owner.execute(
        "INSERT INTO registry.ledgers SELECT 'moon', 'ledger_moon', teams, 'moon', created_at FROM registry.ledgers"
    )
    await owner.close()
    async with Projector(database.settings) as projector:
        await ready(projector)
        assert (await projector.ledger("main")).cursors.keys() == {*NAMES}


async def test_it_catches_up_with_what_was_there_before_it(database: Database) -> None:
    async with Log.open(database) as log:
        for start in range(0, 1_200, 400):
            await log.append(*(ask(start + number) for number in range(400)))
    async with running(database) as runner:
        await reached(runner, 1_200)
        assert runner.head == 1_200
        assert {cursor.state for cursor in runner.cursors.values()} == {"live"}
    assert await positions(database) == list(range(1, 1_201))


async def test_a_page_is_bounded_in_bytes_as_well(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "PAGE_BYTES_MAX", 3_000)
    async with Log.open(database) as log:
        await log.append(profile(9), *(ask(number, url=f"https://{'long' * 250}.test") for number in range(9)))
    asks = topics_of([projection for projection in ALL if projection.name == "requirements"])
    statements = runner_module._statements.bind(schema=ledger_schema("main"))
    connection = await connect(database.projector)
    pages = []
    while (after := pages[-1].last if pages else 0) < 10:
        pages.append(await feed.read_page(connection, statements, after, asks))
    await connection.close()
    assert [len(page.events) for page in pages] == [4, 3, 3]  # What is not read counts for nothing.
    assert all(page.hole is None for page in pages)

    monkeypatch.setattr(feed, "PAGE_BYTES_MAX", 1)  # An event that is larger than a page is a page.
    async with running(database) as runner:
        await reached(runner, 10)
    assert await positions(database) == list(range(2, 11))


async def test_each_page_is_read_once_wherever_projections_stand(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 10)
    read_after: list[int] = []

    async def read_page(connection: Any, statements: Any, after: int, topics: Any) -> feed.Page:
        read_after.append(after)
        return await feed.read_page(connection, statements, after, topics)

    monkeypatch.setattr(runner_module, "read_page", read_page)
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(50)))
        first = [projection for projection in ALL if projection.name == "requirements"]
        async with running(database, projections=first) as runner:
            await reached(runner, 50, "requirements")
        assert read_after == [0, 10, 20, 30, 40]
        read_after.clear()
        await log.append(*(ask(number) for number in range(50)))
        async with running(database) as runner:
            await reached(runner, 100)
    # Those at 0 and those at 50 went on in turns, and neither lost what it had read ahead.
    assert sorted(read_after) == [0, 10, 20, 30, 40, *sorted([50, 60, 70, 80, 90] * 2)]
    assert await positions(database) == list(range(1, 101))


async def test_a_page_is_read_and_folded_once_while_the_one_before_it_is_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 20)
    storing, was_folded = asyncio.Event(), asyncio.Event()
    folded: list[tuple[int, str]] = []

    async def read_page(connection: Any, statements: Any, after: int, topics: Any) -> feed.Page:
        if after == 20:
            await storing.wait()
        return await feed.read_page(connection, statements, after, topics)

    def fold_page(projection: Projection, page: feed.Page) -> apply.Folded:
        folded.append((page.after, projection.name))
        if sum(after == 20 for after, _ in folded) == len(ALL):
            was_folded.set()
        return apply.fold_page(projection, page)

    async def write(connection: Any, schema: str, rows: Any) -> None:
        storing.set()
        await was_folded.wait()
        await apply.write(connection, schema, rows)

    for name, instead in (("read_page", read_page), ("fold_page", fold_page), ("write", write)):
        monkeypatch.setattr(runner_module, name, instead)
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(60)))
    async with running(database) as runner:
        await reached(runner, 60)
    assert sorted(folded) == sorted((after, name) for after in (0, 20, 40) for name in NAMES)
    assert await positions(database) == list(range(1, 61))


async def test_a_connection_that_stores_writes_and_reads_times_as_others_do(database: Database) -> None:
    times = [
        *(datetime(YEAR_MIN, 1, 1, tzinfo=UTC), datetime(YEAR_MAX, 12, 31, 23, 59, 59, 999_999, UTC)),
        *(datetime(1999, 12, 31, 23, 59, 59, 999_999, UTC), datetime(2000, 1, 1, tzinfo=UTC)),
        *(
            datetime(2026, 11, 22, 18, 5, 0, 1, UTC),
            datetime(2026, 11, 22, 18, 5, tzinfo=timezone(timedelta(hours=-8))),
        ),
    ]
    connection = await connect(database.projector)
    await connection.execute("CREATE TEMP TABLE others (number int, time timestamptz)")
    await connection.execute("CREATE TEMP TABLE stored (number int, time timestamptz)")
    await connection.copy_records_to_table("others", records=[*enumerate(times)])
    await apply.prepare(connection)
    await connection.copy_records_to_table("stored", records=[*enumerate(times)])
    assert not await connection.fetch("SELECT * FROM stored EXCEPT SELECT * FROM others")
    assert [row["time"] for row in await connection.fetch("SELECT time FROM stored ORDER BY number")] == times
    await connection.close()


async def test_where_no_connection_is_free_no_page_is_read_ahead(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 20)
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(60)))
    settings = msgspec.structs.replace(database.settings, pool_connections_max=2)
    async with Projector(settings) as projector:
        await reached(await projector.ledger("main"), 60)
    assert await positions(database) == list(range(1, 61))


async def test_the_cursors_that_a_page_moves_are_moved_by_one_statement(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 20)
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(60)))
    said: list[str] = []

    async def read_page(connection: Any, statements: Any, after: int, topics: Any) -> feed.Page:
        if after == 0:
            connection.add_query_logger(lambda query: said.append(query.query))
        return await feed.read_page(connection, statements, after, topics)

    monkeypatch.setattr(runner_module, "read_page", read_page)
    async with running(database) as runner:
        await reached(runner, 60)
    assert 1 <= sum("UPDATE" in query and "cursors" in query for query in said) <= 3


async def test_what_nobody_waits_for_begins_when_all_have_caught_up_or_stopped(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 20)
    go_on = asyncio.Event()

    async def read_page(connection: Any, statements: Any, after: int, topics: Any) -> feed.Page:
        if after >= 40:
            await go_on.wait()
        return await feed.read_page(connection, statements, after, topics)

    monkeypatch.setattr(runner_module, "read_page", read_page)
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(59)))
        await append_by_force(database, profile(7, name="Seven"), mend=lambda state: state[:-9])
        await log.append(ask(60))
    async with Projector(database.settings) as projector:
        waiting = asyncio.create_task(projector.caught_up())
        runner = await projector.ledger("main")
        await reached(runner, 20, "requirements")
        assert not waiting.done()
        go_on.set()
        async with asyncio.timeout(60):
            await waiting
        assert {name for name, cursor in runner.cursors.items() if cursor.state == "stopped"} >= {"accounts"}
        assert runner.cursors["requirements"].position == runner.head == 61


async def test_a_ledger_in_trouble_holds_up_what_nobody_waits_for_no_longer_than_it_may(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projector_module, "CAUGHT_UP_SECONDS_MAX", 0.1)
    other = await connect(database.projector)
    await other.execute("SELECT pg_advisory_lock(hashtextextended('opening main', 0))")
    async with Projector(database.settings) as projector, asyncio.timeout(60):
        await projector.caught_up()
        with pytest.raises(Unavailable):
            await projector.ready()
    await other.close()


async def test_it_wakes_when_the_ledger_says_so(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    # Without a wake-up it would look again in an hour.
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 3600.0)
    async with Log.open(database) as log, running(database) as runner:
        for number in range(5):
            await log.append(ask(number))
            await moved_to(runner, number + 1)


async def test_it_looks_now_and_then_without_being_woken(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 0.05)
    async with Log.open(database) as log, running(database) as runner:
        for number in range(3):
            await log.append(ask(number), notify=False)
            await moved_to(runner, number + 1)


async def test_what_was_said_while_nobody_listened_is_read_once_somebody_does(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 3600.0)
    async with Log.open(database) as log, running(database) as runner:
        await log.append(ask(1))
        await moved_to(runner, 1)
        await log.append(ask(2), notify=False)
        deaf = await connect(database.superuser)
        await deaf.fetch("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'")
        await deaf.close()
        await moved_to(runner, 2)


async def test_whoever_waits_for_a_position_has_it_looked_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 3600.0)
    async with Log.open(database) as log, running(database) as runner:
        await moved_to(runner, 0)
        await log.append(ask(1), notify=False)
        await reached(runner, 1)


async def test_once_it_has_come_to_the_head_it_does_not_look_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 3600.0)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        runner = await projector.ledger("main")
        await log.append(ask(0))
        await moved_to(runner, 1)
        said: list[str] = []
        _tell_statements(projector, said)
        for number in range(1, 11):
            await log.append(ask(number))
            await moved_to(runner, number + 1)
    looks = [query for query in said if "AS head" in query]
    # One of them may be because it began to listen.
    assert 10 <= len(looks) <= 11


async def test_a_query_that_waits_for_a_position_asks_the_database_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 3600.0)
    settled: list[int | None] = []

    def settle(state: Any, reads: Any, wanted: Wanted) -> Any:
        settled.append(wanted.at_least)
        return SETTLE(state, reads, wanted)

    monkeypatch.setattr(snapshots, "settle", settle)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        runner = await projector.ledger("main")
        for position in range(1, 6):
            await log.append(ask(position), notify=False)
            wanted = Wanted(at_least=position, timeout_seconds=30)
            async with open_snapshot(projector.pool, runner, ["requirements"], wanted) as snapshot:
                assert snapshot.position == position
        assert settled == [1, 2, 3, 4, 5]

        # Where it does not come in time, the look says so.
        with pytest.raises(Problem, match="have not reached 6 yet"):
            async with open_snapshot(projector.pool, runner, ["requirements"], Wanted(at_least=6, timeout_seconds=0)):
                pass


async def test_a_ledger_at_rest_costs_one_statement_a_look(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 0.01)
    monkeypatch.setattr(projector_module, "POLL_LEDGERS_SECONDS", 3600.0)
    async with Log.open(database) as log:
        await log.append(ask(1))
    async with Projector(database.settings) as projector:
        runner = await projector.ledger("main")
        await reached(runner, 1)
        said: list[str] = []
        async with projector.storing.acquire() as held:  # Leaves the runner the other connections only.
            del held
            looks = await looked(runner, 3)
            _tell_statements(projector, said)
            looks = await looked(runner, 20)
        work = [query for query in said if "cursors" in query or "stored_events" in query]
        assert looks <= len(work) <= looks + 2
        assert all("UPDATE" not in query for query in work)


async def test_a_ledger_made_later_is_served_at_once(database: Database) -> None:
    async with Projector(database.settings) as projector:
        with pytest.raises(NoSuchLedger):
            await projector.ledger("second-line")
        owner = await connect(database.owner)
        await make_ledger(owner, database.settings, "second-line")
        await owner.close()
        runner = await projector.ledger("second-line")
        async with Log.open(database, "second-line") as log:
            await log.append(ask(1))
        await reached(runner, 1)
        assert {*(await projector.ledger("second-line")).cursors} == {*NAMES}
    assert await positions(database, ledger="second-line") == [1]
    assert await positions(database) == []


async def test_the_auditor_may_read_every_read_model_and_write_none(database: Database) -> None:
    async with Log.open(database) as log, running(database) as runner:
        await log.append(ask(1))
        await reached(runner, 1)
        auditor = await connect(database.auditor)
        for table in ["cursors", *(table for projection in ALL for table in projection.tables)]:
            await auditor.fetch(f"SELECT * FROM ledger_main.{table}")
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await auditor.execute(f"DELETE FROM ledger_main.{table}")
        await auditor.close()


async def test_the_projector_cannot_write_the_log(database: Database) -> None:
    connection = await connect(database.projector)
    log = Log(connection, "main", MasterKeys.load_or_make(database.settings.master_key))
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await log.insert(read(ask(1)))
    for attack in ("UPDATE {} SET topic = topic", "DELETE FROM {}", "TRUNCATE {}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(attack.format("ledger_main.stored_events"))
    await connection.close()


# Several projectors


async def test_two_projectors_apply_each_event_once(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "STEP_ASIDE_SECONDS", 0.001)
    async with Log.open(database) as log:
        # Of two versions, as while one takes the place of the other: they share no leases, and race for each page.
        async with running(database) as first, running(database, projections=ALL[:-1]) as second:
            for start in range(0, 600, 20):
                await log.append(*(ask(start + number) for number in range(20)), profile(start))
            await reached(first, 630)
            await reached(second, 630)
        # A row that was written twice would have met the primary key and stopped its projection.
        assert {*await rows(database, "SELECT state FROM ledger_main.cursors")} == {("live",)}
        assert len(await positions(database)) == 600
        assert await digests(database, 630) == await rebuilt_digests(database, 630)


@pytest.mark.parametrize(
    ("meanwhile", "applied"),
    [
        ("position = 20", range(1, 11)),
        ("version = 'another'", range(1, 11)),
        ("state = 'stopped', reason = 'an operator', stopped_at = 11", range(1, 11)),
        ("updated_at = clock_timestamp()", range(1, 21)),
    ],
    ids=["moved by another projector", "swapped by a rebuild", "stopped", "touched only"],
)
async def test_whoever_loses_the_swap_writes_nothing(database: Database, meanwhile: str, applied: range) -> None:
    """A projector that is held between its look and its swap, while something else becomes of the cursor."""
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(10)))
        async with running(database) as late:
            await reached(late, 10)
            blocker = await connect(database.projector)
            async with blocker.transaction():
                await blocker.execute(f"UPDATE ledger_main.cursors SET {meanwhile} WHERE projection = 'requirements'")
                await log.append(*(ask(number) for number in range(10)))
                await until(lambda: waiting_for_a_lock(database))
            await blocker.close()
            await reached(late, 20, "accounts", "opportunities", "agreements", "decisions")
            await until(lambda: done_with(database, "requirements", 20))
    assert await positions(database) == [*applied]


# The order of the log


async def test_slow_writers_are_never_missed_by_a_tailing_reader(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late commits: whoever has the lock inserts, dawdles, and commits; wake-ups come too early and too often."""
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 0.005)
    chance = random.Random(1)
    commits = 25

    async def write(number: int) -> None:
        async with Log.open(database) as log:
            for turn in range(commits):
                async with log.connection.transaction():
                    await log.lock()
                    await log.insert(
                        read(*(ask(number, id=f"{number}-{turn}-{n}") for n in range(chance.randint(1, 4))))
                    )
                    await log.connection.execute("SELECT pg_notify('ledger_events', 'main')")
                    await asyncio.sleep(chance.choice([0, 0.002, 0.02]))

    async with running(database) as runner:
        seen: list[int] = []
        watching = asyncio.create_task(watch(database, seen))
        await asyncio.gather(*(write(number) for number in range(4)))
        ((head,),) = await rows(database, "SELECT count(*) FROM ledger_main.stored_events")
        await reached(runner, head)
        watching.cancel()
    assert head >= 4 * commits
    assert await positions(database) == list(range(1, head + 1))
    assert {cursor.state for cursor in runner.cursors.values()} == {"live"}
    assert len(seen) > 10


async def watch(database: Database, seen: list[int]) -> None:
    """What a query sees at any moment: the rows up to the cursor, all of them, and none beyond."""
    connection = await connect(database.projector)
    try:
        while True:
            count, highest, cursor = await connection.fetchrow(
                "SELECT count(*), coalesce(max(a.position), 0), (SELECT position FROM ledger_main.cursors"
                " WHERE projection = 'requirements') FROM ledger_main.asks a"
            )
            assert count == highest == cursor
            seen.append(cursor)
    finally:
        await connection.close()


# What cannot be applied


@pytest.mark.parametrize(
    ("mend", "says"),
    [
        (lambda state: state[:-9], "Input data was truncated"),
        (lambda state: state.replace(b'"account":"a-7"', b'"account":7'), "Expected `str`, got `int`"),
        (lambda state: state.replace(b"Seven", b"Sev\\u0000n"), "refuses its rows in account_names"),
        (lambda state: state.replace(b'"sequence":"', b'"sequence":"9'), "its bytes say position 9"),
        (lambda state: state.replace(b"account.profiled", b"requirement.raised"), "missing required field"),
        (lambda state: state.replace(b"account.profiled", b"account.painted"), "ledger.account.painted.v1"),
    ],
    ids=["cut off", "wrong kind", "refused by the database", "wrong position", "other type", "unknown type inside"],
)
async def test_a_projection_stops_at_what_it_cannot_apply_and_the_others_go_on(
    database: Database, mend: Callable[[bytes], bytes], says: str
) -> None:
    async with Log.open(database) as log:
        await log.append(*(profile(number) for number in range(5)), ask(1))
        await append_by_force(database, ask(2), profile(7, name="Seven"), mend=mend)
        await log.append(profile(9), ask(3), decision("D-1"))

    async with running(database) as runner:
        with pytest.raises(Stopped, match="accounts stopped before position 8"):
            await reached(runner, 11)
        await reached(runner, 11, "requirements", "decisions", "opportunities", "agreements")
        await reached(runner, 7, "accounts")  # What came before it is applied, and stays answerable.
        stopped = runner.cursors["accounts"]
        assert (stopped.position, stopped.state, stopped.stopped_at) == (7, "stopped", 8)
        assert says in (stopped.reason or "")
    assert await positions(database, "account_mentions") == [1, 2, 3, 4, 5]
    assert await positions(database, "asks") == [6, 7, 10]
    ((state, reason),) = await rows(
        database, "SELECT state, reason FROM ledger_main.cursors WHERE projection = 'accounts'"
    )
    assert state == "stopped"
    assert says in reason


async def test_an_unknown_type_stops_every_projection(database: Database) -> None:
    async with Log.open(database) as log:
        await log.append(ask(1))
        topic = "ledger.requirement.painted.v1"
        await append_by_force(database, ask(2), mend=lambda state: state, topic=topic)
        await log.append(profile(1), notify=False)
    async with running(database) as runner:
        for name in NAMES:
            with pytest.raises(Stopped, match=f"position 2: no such event type in this version: {topic}"):
                await reached(runner, 2, name)
            assert runner.cursors[name].position == 1


async def test_a_hole_in_the_log_stops_every_projection(database: Database) -> None:
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(5)))
    owner = await connect(database.superuser)
    await owner.execute("ALTER TABLE ledger_main.stored_events DISABLE TRIGGER ALL")
    await owner.execute("DELETE FROM ledger_main.stored_events WHERE notification_id = 3")
    await owner.close()
    async with running(database) as runner:
        for name in NAMES:
            with pytest.raises(Stopped, match="position 3 is missing in the log: 4 follows 2"):
                await reached(runner, 5, name)
    assert await positions(database) == [1, 2]


async def test_a_log_that_became_shorter_stops_every_projection(database: Database) -> None:
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(5)))
    async with running(database) as runner:
        await reached(runner, 5)
        owner = await connect(database.superuser)
        await owner.execute("ALTER TABLE ledger_main.stored_events DISABLE TRIGGER ALL")
        await owner.execute("DELETE FROM ledger_main.stored_events WHERE notification_id > 3")
        await owner.close()
        for name in NAMES:
            with pytest.raises(Stopped, match="the log ends at position 3, and 5 has been applied"):
                await reached(runner, 6, name)


async def test_a_stopped_projection_is_tried_again_at_the_next_start(database: Database) -> None:
    async with Log.open(database) as log:
        await log.append(profile(1), ask(1), profile(2))

    def fails_at_three(recorded: Any) -> Any:
        if recorded.position == 3:
            raise ZeroDivisionError("by three")
        return ALL[0].fold(recorded)

    # The same version: that of another fold would have the read model built anew.
    failing = (msgspec.structs.replace(ALL[0], fold=fails_at_three), *ALL[1:])
    async with running(database, projections=failing) as runner:
        with pytest.raises(Stopped, match="ZeroDivisionError: by three"):
            await reached(runner, 3)
        await log_more(database, ask(2))
        await reached(runner, 4, "requirements")
        assert runner.cursors["accounts"].position == 2
    async with running(database) as runner:
        await reached(runner, 4)
        assert runner.cursors["accounts"].reason is None
    assert await positions(database, "account_mentions") == [1, 3]


async def test_a_projection_that_has_just_been_thought_of_starts_from_one_while_the_others_go_on(
    database: Database,
) -> None:
    known: tuple[Projection, ...] = ALL[1:]
    async with Log.open(database) as log:
        await log.append(*(profile(number) for number in range(700)), ask(1))
        async with running(database, projections=known) as runner:
            await reached(runner, 701)
        async with running(database) as runner:
            await log.append(ask(2), profile(701))
            await reached(runner, 703)
    assert len(await positions(database, "account_mentions")) == 701


# Waiting


async def log_more(database: Database, *events: Any) -> None:
    async with Log.open(database) as log:
        await log.append(*events)


def _tell_statements(projector: Projector, said: list[str]) -> None:
    """What the connections that there are say to the database from here on."""
    for connection in (*projector.pool._holders, *projector.storing._holders):  # asyncpg has no public list of them.
        if connection._con is not None:
            connection._con.add_query_logger(lambda query: said.append(query.query))


async def moved_to(runner: Runner, position: int) -> None:
    """Wait without waking it."""
    async with asyncio.timeout(30), runner._moved:
        await runner._moved.wait_for(
            lambda: runner.cursors and all(cursor.position >= position for cursor in runner.cursors.values())
        )


async def looked(runner: Runner, times: int) -> int:
    """Wait until it has looked that often."""
    async with asyncio.timeout(30), runner._moved:
        for _ in range(times):
            await runner._moved.wait()
    return times


async def waiting_for_a_lock(database: Database) -> bool:
    return bool(await rows(database, "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))


async def done_with(database: Database, projection: str, position: int) -> bool:
    """Whether its cursor has got there, or will not be moved by this version."""
    ((at, version, state),) = await rows(
        database, f"SELECT position, version, state FROM ledger_main.cursors WHERE projection = '{projection}'"
    )
    return bool(at == position or version == "another" or state == "stopped")
