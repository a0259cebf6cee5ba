"""The laws of the log, attacked: what its readers, its writers and its owner try is refused by the database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from immutables import Map

from schemas.codec import decode_recorded
from schemas.envelope import stream_uuid
from services.ledger import questions
from services.ledger.log import EventLog, Filter
from services.ledger.questions import Questions
from services.ledger.rules.requirement import Requirement
from services.postgres import connect
from services.statements import Statements, fill
from tests.conftest import Database
from tests.log import Log, erased, event, redacted
from tests.writers import writer

SERVICES = ("writer", "projector", "auditor")
LOG = "ledger_main.stored_events"
HEAD = "ledger_main.log_head"
SCHEMA = "ledger_main"
BY = {"role": "head of product", "team": "product"}
AHEAD = timedelta(days=400)

REWRITES = {
    "update": f"UPDATE {LOG} SET state = 'x'",
    "update of nothing": f"UPDATE {LOG} SET state = 'x' WHERE false",
    "delete": f"DELETE FROM {LOG}",
    "truncate": f"TRUNCATE {LOG}",
    "merge": f"MERGE INTO {LOG} USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
    "upsert": f"INSERT INTO {LOG} SELECT * FROM {LOG} ON CONFLICT (event_id) DO UPDATE SET state = 'x'",
    "head updated": f"UPDATE {HEAD} SET single = true",
    "head deleted": f"DELETE FROM {HEAD}",
    "head truncated": f"TRUNCATE {HEAD}",
}

Rows = Callable[..., Awaitable[list[asyncpg.Record]]]


def profile(number: int, **more: Any) -> Any:
    return event("account.profiled", account=f"a-{number}", attributes={"size": number}, **more)


@pytest.fixture
async def log(database: Database) -> AsyncIterator[Log]:
    async with Log.open(database) as log:
        await log.append(profile(1), profile(2), event("ask.recorded", requirement="R-1", account="a-1", quote="Now"))
        yield log


@pytest.fixture
async def rows(database: Database) -> AsyncIterator[Rows]:
    """A query, as the superuser."""
    connection = await connect(database.superuser)
    yield connection.fetch
    await connection.close()


async def attempt(url: str, *statements: str) -> asyncpg.PostgresError:
    """What the database says against the last of these statements, in one transaction with those before."""
    connection = await connect(url)
    try:
        transaction = connection.transaction()
        await transaction.start()
        for statement in statements[:-1]:
            await connection.execute(statement)
        with pytest.raises(asyncpg.PostgresError) as refused:
            await connection.execute(statements[-1])
        await transaction.rollback()
    finally:
        await connection.close()
    return refused.value


# Nobody rewrites


@pytest.mark.parametrize("role", SERVICES)
async def test_no_service_may_rewrite(database: Database, log: Log, rows: Rows, role: str) -> None:
    before = await rows(f"SELECT * FROM {LOG} ORDER BY notification_id")
    for name, rewrite in REWRITES.items():
        # To lock the head row takes the privilege to update it, so there the trigger has to refuse.
        by_trigger = role == "writer" and name == "head updated"
        refusal = asyncpg.RestrictViolationError if by_trigger else asyncpg.InsufficientPrivilegeError
        assert type(await attempt(getattr(database, role), rewrite)) is refusal, name
    assert await rows(f"SELECT * FROM {LOG} ORDER BY notification_id") == before


async def test_an_accident_of_the_owner_is_refused(database: Database, log: Log) -> None:
    for name, rewrite in REWRITES.items():
        assert type(await attempt(database.owner, rewrite)) is asyncpg.RestrictViolationError, name


async def test_so_is_one_of_a_superuser_who_silences_triggers(database: Database, log: Log) -> None:
    silence = "SET LOCAL session_replication_role = replica"
    for name, rewrite in REWRITES.items():
        assert type(await attempt(database.superuser, silence, rewrite)) is asyncpg.RestrictViolationError, name
    gap = copy_of_the_last(notification_id="notification_id + 2")
    assert type(await attempt(database.superuser, silence, gap)) is asyncpg.RestrictViolationError


@pytest.mark.parametrize("role", SERVICES)
async def test_no_service_may_change_what_holds_the_laws(database: Database, log: Log, role: str) -> None:
    for statement in (
        f"ALTER TABLE {LOG} DISABLE TRIGGER ALL",
        f"ALTER TABLE {LOG} DROP CONSTRAINT stored_events_event_once",
        f"ALTER TABLE {LOG} ADD COLUMN more text",
        f"DROP TABLE {LOG}",
        f"DROP TRIGGER stored_events_are_append_only ON {LOG}",
        "DROP FUNCTION ledger_main.refuse_rewrite() CASCADE",
        "CREATE OR REPLACE FUNCTION ledger_main.refuse_rewrite() RETURNS trigger LANGUAGE sql AS ''",
        f"CREATE TRIGGER mine BEFORE INSERT ON {LOG} EXECUTE FUNCTION ledger_main.refuse_rewrite()",
        f"CREATE RULE mine AS ON INSERT TO {LOG} DO INSTEAD NOTHING",
        "DROP SCHEMA ledger_main CASCADE",
        "ALTER SCHEMA ledger_main RENAME TO mine",
        "SET session_replication_role = replica",
    ):
        error = await attempt(getattr(database, role), statement)
        assert isinstance(error, asyncpg.InsufficientPrivilegeError), (statement, error)


@pytest.mark.parametrize("role", ["projector", "auditor"])
async def test_who_reads_the_log_cannot_write_it(database: Database, log: Log, role: str) -> None:
    for statement in (
        f"INSERT INTO {LOG} SELECT * FROM {LOG}",
        f"COPY {LOG} FROM STDIN",
        "INSERT INTO ledger_main.sealing_keys SELECT * FROM ledger_main.sealing_keys",
        "DELETE FROM ledger_main.sealing_keys",
        f"SELECT FROM {HEAD} FOR UPDATE",
        f"LOCK TABLE {LOG} IN EXCLUSIVE MODE",
        "INSERT INTO registry.ledgers SELECT * FROM registry.ledgers",
        "DELETE FROM registry.api_keys",
        "UPDATE registry.api_keys SET scopes = '{admin}'",
    ):
        error = await attempt(getattr(database, role), statement)
        assert isinstance(error, asyncpg.InsufficientPrivilegeError), (statement, error)


async def test_a_writer_cannot_lose_keys_or_widen_them(database: Database, log: Log) -> None:
    for statement in (
        "TRUNCATE ledger_main.sealing_keys",
        "UPDATE ledger_main.sealing_keys SET wrapped = ''",
        "UPDATE ledger_main.sealing_keys SET person = 'p-2'",
        "UPDATE registry.api_keys SET scopes = '{admin}'",
        "DELETE FROM registry.api_keys",
        "INSERT INTO registry.ledgers SELECT * FROM registry.ledgers",
    ):
        error = await attempt(database.writer, statement)
        assert isinstance(error, asyncpg.InsufficientPrivilegeError), (statement, error)


KEYS = "ledger_main.sealing_keys"
CHANGES_OF_KEYS = {
    "destroyed off the record": f"DELETE FROM {KEYS} WHERE position = 3",
    "all destroyed": f"DELETE FROM {KEYS}",
    "destroyed with one that is on the record": f"DELETE FROM {KEYS} WHERE position IN (3, 4)",
    "destroyed by a merge": f"MERGE INTO {KEYS} USING (SELECT 1) AS one ON true WHEN MATCHED THEN DELETE",
    "of somebody who was erased, by something said afterwards": f"DELETE FROM {KEYS} WHERE position = 7",
    "truncated": f"TRUNCATE {KEYS}",
    "of another person": f"UPDATE {KEYS} SET person = 'p-1' WHERE position = 3",
    "of another event": f"UPDATE {KEYS} SET event_id = gen_random_uuid() WHERE position = 3",
    "of another position": f"UPDATE {KEYS} SET position = 2 WHERE position = 3",
    "in place of another": f"INSERT INTO {KEYS} SELECT * FROM {KEYS} ON CONFLICT (position) DO UPDATE SET person = ''",
}


def asked_by(person: str) -> Any:
    return event("ask.recorded", requirement="R-1", account="a-1", contact=person, quote="Now")


@pytest.mark.parametrize("role", ["writer", "owner", "superuser"])
async def test_a_key_is_destroyed_by_what_is_on_record_and_by_nothing_else(
    database: Database, log: Log, rows: Rows, role: str
) -> None:
    await log.append(asked_by("p-1"), asked_by("p-2"))
    async with writer(database) as one:
        assert await one.record(erased("p-1"), asked_by("p-1")) == [6, 7]
    assert [row[0] for row in await rows(f"SELECT position FROM {KEYS} ORDER BY 1")] == [3, 5, 7]
    before = await rows(f"SELECT * FROM {KEYS} ORDER BY position")
    silence = ("SET LOCAL session_replication_role = replica",) if role == "superuser" else ()
    for name, change in CHANGES_OF_KEYS.items():
        error = await attempt(getattr(database, role), *silence, change)
        refusals = (asyncpg.RestrictViolationError,) + (
            (asyncpg.InsufficientPrivilegeError,) if role == "writer" else ()
        )
        assert isinstance(error, refusals), (name, error)
    assert await rows(f"SELECT * FROM {KEYS} ORDER BY position") == before


async def test_an_owner_wraps_keys_anew(database: Database, log: Log) -> None:
    connection = await connect(database.owner)
    try:
        assert await connection.execute(f"UPDATE {KEYS} SET master = master, wrapped = 'x'") == "UPDATE 1"
    finally:
        await connection.close()


async def test_the_statistics_of_the_database_hold_no_key(database: Database, rows: Rows) -> None:
    async with writer(database) as one:
        await one.record(*(asked_by(f"p-{number}") for number in range(50)))
    await rows(f"ANALYZE {KEYS}")
    kept = await rows("SELECT attname FROM pg_stats WHERE schemaname = 'ledger_main' AND tablename = 'sealing_keys'")
    assert {row[0] for row in kept} == {"position", "event_id", "person", "master"}


async def test_an_auditor_makes_nothing(database: Database) -> None:
    for statement in (
        "CREATE TABLE ledger_main.mine ()",
        "CREATE TABLE rebuild_main.mine ()",
        "CREATE TABLE registry.mine ()",
        "CREATE SCHEMA mine",
        "CREATE TABLE public.mine ()",
    ):
        error = await attempt(database.auditor, statement)
        assert isinstance(error, asyncpg.InsufficientPrivilegeError), (statement, error)


async def test_an_auditor_reads_all_that_it_needs(database: Database, log: Log) -> None:
    connection = await connect(database.auditor)
    try:
        assert len(await connection.fetch(f"SELECT * FROM {LOG}")) == 3
        assert len(await connection.fetch("SELECT * FROM ledger_main.sealing_keys")) == 1
        assert len(await connection.fetch("SELECT * FROM registry.ledgers")) == 1
    finally:
        await connection.close()


# Positions


def copy_of_the_last(**changed: str) -> str:
    """A statement that appends the last row once more, with some columns changed to these expressions."""
    columns = [
        *("originator_id", "originator_version", "topic", "state", "notification_id", "event_id", "metadata"),
        *("subject", "source", "recorded_at", "sealed", "content", "leaf_hash"),
    ]
    fresh = {
        "originator_version": "originator_version + 1",
        "notification_id": "notification_id + 1",
        "event_id": "gen_random_uuid()",
    } | changed
    values = ", ".join(fresh.get(column, column) for column in columns)
    return f"INSERT INTO {LOG} ({', '.join(columns)}) SELECT {values} FROM {LOG} ORDER BY notification_id DESC LIMIT 1"


GAPS = {
    "one left out": copy_of_the_last(notification_id="notification_id + 2"),
    "far away": copy_of_the_last(notification_id="9000000000000000000"),
    "zero": copy_of_the_last(notification_id="0"),
    "negative": copy_of_the_last(notification_id="-1"),
    "in a statement of two": copy_of_the_last(notification_id="notification_id * 2").replace("LIMIT 1", "LIMIT 2"),
}


@pytest.mark.parametrize("role", ["writer", "owner"])
async def test_the_database_refuses_a_gap(database: Database, log: Log, role: str) -> None:
    for name, gap in GAPS.items():
        error = await attempt(getattr(database, role), gap)
        assert isinstance(error, asyncpg.RestrictViolationError | asyncpg.CheckViolationError), (name, error)


async def test_and_a_gap_that_a_savepoint_left(database: Database, log: Log) -> None:
    error = await attempt(
        database.writer,
        "SAVEPOINT here",
        copy_of_the_last(),
        "ROLLBACK TO SAVEPOINT here",
        copy_of_the_last(notification_id="notification_id + 2"),
    )
    assert isinstance(error, asyncpg.RestrictViolationError)


async def test_and_a_gap_that_a_skipped_conflict_left(database: Database, log: Log) -> None:
    # Three rows of which the second is known: to skip it would leave a hole.
    skipping = (
        f"INSERT INTO {LOG} SELECT originator_id, originator_version + 10, topic, state, notification_id + 3,"
        " CASE notification_id WHEN 2 THEN event_id ELSE gen_random_uuid() END,"
        " metadata, subject, source, recorded_at, sealed, content, leaf_hash"
        f" FROM {LOG} ON CONFLICT (event_id) DO NOTHING"
    )
    assert isinstance(await attempt(database.writer, skipping), asyncpg.RestrictViolationError)


async def test_and_a_gap_under_an_old_snapshot(database: Database, log: Log) -> None:
    connection = await connect(database.writer)
    try:
        async with connection.transaction(isolation="repeatable_read"):
            await connection.fetch(f"SELECT FROM {LOG}")
            async with Log.open(database) as other:
                await other.append(profile(3))
            with pytest.raises(asyncpg.RestrictViolationError):
                await connection.execute(copy_of_the_last(notification_id="notification_id + 2"))
    finally:
        await connection.close()


async def test_the_first_position_is_1(database: Database) -> None:
    connection = await connect(database.writer)
    row = (
        f"INSERT INTO {LOG} SELECT gen_random_uuid(), 1, 't', '', n, gen_random_uuid(), null, 's', 's', now(), false,"
        " '', '' FROM generate_series($1::bigint, $2) n"
    )
    try:
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(row, 2, 2)
        await connection.execute(row, 1, 3)
        await connection.execute(row, 4, 5)
    finally:
        await connection.close()


ONCE = {
    "position": (copy_of_the_last(notification_id="notification_id"), "stored_events_notification_id_idx"),
    "version": (copy_of_the_last(originator_version="originator_version"), "stored_events_version_once"),
    "id": (copy_of_the_last(event_id="event_id"), "stored_events_event_once"),
}


@pytest.mark.parametrize("role", ["writer", "owner"])
async def test_the_database_takes_each_once(database: Database, log: Log, role: str) -> None:
    for name, (duplicate, constraint) in ONCE.items():
        error = await attempt(getattr(database, role), duplicate)
        assert isinstance(error, asyncpg.UniqueViolationError), (name, error)
        assert error.constraint_name == constraint


async def test_who_does_not_take_the_lock_waits_or_is_refused(database: Database, log: Log, rows: Rows) -> None:
    """A position is never seen before the one below it, whatever a writer does: constraints hold it, not manners."""
    first, second = await connect(database.writer), await connect(database.writer)
    try:
        open_insert = first.transaction()
        await open_insert.start()
        await first.execute(copy_of_the_last())

        with pytest.raises(asyncpg.RestrictViolationError):
            await second.execute(
                copy_of_the_last(notification_id="notification_id + 2", originator_version="originator_version + 2")
            )

        waiting = asyncio.create_task(second.execute(copy_of_the_last(originator_version="originator_version + 2")))
        while not await rows("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT%'"):
            assert not waiting.done()
        await open_insert.commit()
        with pytest.raises(asyncpg.UniqueViolationError):
            await waiting
    finally:
        first.terminate()
        second.terminate()
    assert [row[0] for row in await rows(f"SELECT notification_id FROM {LOG} ORDER BY 1")] == [1, 2, 3, 4]


async def test_an_insert_that_was_rolled_back_leaves_its_position_to_the_next(database: Database, log: Log) -> None:
    connection = await connect(database.writer)
    try:
        await connection.execute("BEGIN")
        await connection.execute(copy_of_the_last())
        await connection.execute("ROLLBACK")
    finally:
        await connection.close()
    assert await log.append(profile(9)) == [4]


# The head


async def test_the_head_row_is_never_updated(database: Database, rows: Rows) -> None:
    place = f"SELECT ctid::text, xmin::text FROM {HEAD}"
    before = await rows(place)
    async with writer(database) as one, writer(database) as two:
        for number in range(30):
            await asyncio.gather(
                *(each.record(profile(number, id=f"{number}-{n}")) for n, each in enumerate((one, two)))
            )
    assert await rows(place) == before
    assert await rows(f"SELECT FROM {HEAD}") == [()]
    assert (await rows(f"SELECT count(*) FROM {LOG}"))[0][0] == 60


# Recorded times


async def test_recorded_times_increase_with_each_commit(database: Database, rows: Rows) -> None:
    async with writer(database) as one, writer(database) as two:
        for number in range(40):
            await asyncio.gather(
                one.record(profile(number), profile(number)), two.record(profile(-number, id=f"x{number}"))
            )
    times = [row[0] for row in await rows(f"SELECT recorded_at FROM {LOG} ORDER BY notification_id")]
    assert times == sorted(times)
    # One time a commit: as many times as transactions that inserted.
    commits = (await rows(f"SELECT count(DISTINCT xmin::text) FROM {LOG}"))[0][0]
    assert len(set(times)) == commits
    assert 40 < commits <= 80


@pytest.mark.parametrize("writers", [1, 2])
async def test_also_while_the_clock_stands_still_or_goes_back(database: Database, rows: Rows, writers: int) -> None:
    """A log whose last event lies ahead of the clock: as if the clock had been put back by more than a year."""
    ahead = (datetime.now(UTC) + AHEAD).replace(microsecond=999_998)
    async with Log.open(database) as log:
        await log.append(profile(0), recordedtime=ahead)
    async with writer(database) as one, writer(database) as two:
        for number in range(1, 6):
            await (one if writers == 1 or number % 2 else two).record(profile(number), profile(number))

    found = await rows(f"SELECT recorded_at, state FROM {LOG} ORDER BY notification_id")
    expected = [ahead] + [ahead + timedelta(microseconds=(number + 1) // 2) for number in range(1, 11)]
    assert [row["recorded_at"] for row in found] == expected
    assert [decode_recorded(row["state"]).recordedtime for row in found] == expected


# Bytes


async def test_the_bytes_stored_are_the_bytes_hashed_and_served(database: Database, rows: Rows) -> None:
    sent = [
        profile(1),
        event("requirement.raised", requirement="R-1", title="Grüße, 日本語 \U0001f600 </script>\\", problem="Secret"),
        event(
            "ask.recorded", requirement="R-1", account="a-1", quote="Ich brauche es", time="2026-01-01T00:00:00+02:00"
        ),
    ]
    async with writer(database) as one:
        await one.record(*sent)
        page = await one.log.page(0, 10, Filter())
        singly = [await one.log.one(position) for position in page.positions]
        stream, _ = await one.log.stream("requirement/R-1", 0, 10)
        library = await one.log.select_notifications(1, 10)

    stored = await rows(f"SELECT * FROM {LOG} ORDER BY notification_id")
    assert [row["leaf_hash"] for row in stored] == [sha256(b"\x00" + row["state"]).digest() for row in stored]
    assert page.states == [row["state"] for row in stored]
    assert singly == [(row["state"], row["leaf_hash"]) for row in stored]
    assert stream.states == [row["state"] for row in stored[1:]]
    assert [notification.state for notification in library] == page.states

    # The columns beside the bytes say what the bytes say.
    for row in stored:
        recorded = decode_recorded(row["state"])
        assert (recorded.position, recorded.version) == (row["notification_id"], row["originator_version"])
        assert (recorded.type, recorded.subject, recorded.source) == (row["topic"], row["subject"], row["source"])
        assert recorded.recordedtime == row["recorded_at"]
        assert row["sealed"] is ("sealed" in str(msgspec.json.decode(row["state"])["data"]))


async def test_whether_something_was_retracted_is_found_without_reading_what_else_was(log: Log) -> None:
    [asked] = await log.append(profile(3))
    await log.append(
        *(
            event("event.retracted", position=position, subject=subject, reason="a slip", by=BY)
            for position, subject in ((asked, "account/a-3"), (2, "account/a-2"))
        ),
        redacted(3, "requirement/R-1"),
    )
    statement = fill(Statements.load(Path(questions.__file__).with_suffix(".sql"))["named"], schema=SCHEMA)
    found = await log.connection.fetch(statement, [1, 2, 3, asked, asked + 1])
    assert [row["position"] for row in found if row["retracted"]] == [2, asked]
    assert [row["position"] for row in found if row["redacted"]] == [3]
    assert [row["position"] for row in found if row["sealed"]] == [3]
    await log.connection.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
    plan = "\n".join(row[0] for row in await log.connection.fetch(f"EXPLAIN {statement}", [asked]))
    for function in ("retracts", "redacts"):
        assert f"Index Cond: ({SCHEMA}.{function}(state) = e.notification_id)" in plan, plan


@pytest.mark.parametrize("analyzed", [True, False])
async def test_what_rules_ask_of_a_requirement_is_found_however_much_was_said_of_it(
    log: Log, database: Database, analyzed: bool
) -> None:
    requirement = "requirement/R-9"
    [first] = await log.append(event("ask.recorded", requirement="R-9", account="acme", ask="k-0"))
    await log.append(event("requirement.raised", requirement="R-8", title="t"))
    _, withdrawn = await log.append(
        event("requirement.raised", requirement="R-7", title="t"),
        event("ask.withdrawn", requirement="R-7", ask="k-7"),
    )
    for act in (
        event("ask.moved", requirement="R-9", ask="k-0", to="R-8", reason="meant", by=BY),
        event("requirement.merged", requirement="R-9", into="R-8", reason="one", by=BY),
    ):
        [head] = await log.append(act)
    connection = await connect(database.writer)
    # As many asks of this requirement, merges of others, withdrawals of an ask for one that was raised before, and asks
    # of others whose id is the same.
    asked = """convert_to(replace(convert_from(state, 'UTF8'), '"ask":"k-0"', format('"ask":"k-%s"', n)), 'UTF8')"""
    for copied, stream, version, state, after in (
        (first, "originator_id", "3 + n", asked, head),
        (head, "md5(n::text)::uuid", "1", "state", head + 30_000),
        (withdrawn, "originator_id", "2 + n", "state", head + 60_000),
        (first, "md5('r-' || n)::uuid", "1", "state", head + 90_000),
    ):
        await connection.execute(
            f"INSERT INTO {LOG} SELECT {stream}, {version}, topic, {state}, {after} + n, gen_random_uuid(), metadata,"
            " subject, source, clock_timestamp(), sealed, content, leaf_hash"
            f" FROM {LOG}, generate_series(1, 30000) AS n WHERE notification_id = {copied}"
        )
    await connection.execute("SET plan_cache_mode = force_generic_plan")  # What a service comes to in the end.
    if analyzed:
        owner = await connect(database.owner)
        await owner.execute(f"ANALYZE {LOG}")
        await owner.close()
    read = (
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
        " WHERE schemaname = 'ledger_main' AND relname = 'stored_events'"
    )
    moves = [(requirement, ask) for ask in ("k-0", "k-29999", "k-30001")]
    async with connection.transaction():
        before = await connection.fetchval(read)
        found = await Questions("main").requirements(
            connection, {requirement: stream_uuid(requirement)}, {requirement: 30_003}, {}, moves
        )
        # Whoever plans looks up the ends of an index besides.
        assert await connection.fetchval(read) - before <= 20
    assert found == {
        requirement: Requirement(
            heard=Map({head + 30000: None}), into="R-8", asks=Map({"k-0": "R-8", "k-29999": "R-9"})
        )
    }
    raised = "requirement/R-7"
    async with connection.transaction():
        before = await connection.fetchval(read)
        found = await Questions("main").requirements(
            connection, {raised: stream_uuid(raised)}, {raised: 30_002}, {}, []
        )
        assert await connection.fetchval(read) - before <= 120
    assert found == {raised: Requirement(heard=Map({withdrawn - 1: None}))}
    await connection.close()


async def test_what_is_new_in_a_few_streams_is_found_without_reading_the_others(log: Log, database: Database) -> None:
    connection = await connect(database.writer)
    rows = (
        f"INSERT INTO {LOG} SELECT md5((n % 20)::text)::uuid, 1 + n / 20, topic, state, notification_id + 1 + n,"
        " gen_random_uuid(), metadata, subject, source, clock_timestamp(), sealed, content, leaf_hash"
        f" FROM (SELECT * FROM {LOG} ORDER BY notification_id DESC LIMIT 1) AS last, generate_series(0, 29999) AS n"
    )
    await connection.execute(rows)
    await connection.execute("SET plan_cache_mode = force_generic_plan")  # What a service comes to in the end.
    owner = await connect(database.owner)
    await owner.execute(f"ANALYZE {LOG}")
    await owner.close()
    wanted = [await connection.fetchval("SELECT md5($1)::uuid", each) for each in ("3", "17")]
    read = (
        "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
        " WHERE schemaname = 'ledger_main' AND relname = 'stored_events'"
    )
    async with connection.transaction():
        before = await connection.fetchval(read)
        # Asked on a connection, it asks for no other.
        found = [
            uuid async for uuid, _ in EventLog(connection, "main").streams(dict.fromkeys(wanted, 1490), connection)
        ]
        assert sorted(found) == sorted(wanted * 10)
        # Whoever plans looks up the ends of an index besides.
        assert await connection.fetchval(read) - before <= len(found) + 4
    await connection.close()


# Readers


async def test_the_same_id_at_the_same_time_is_recorded_once(database: Database, rows: Rows) -> None:
    async with writer(database) as one, writer(database) as two, writer(database) as three:
        for number in range(15):
            same = profile(number, id=f"same-{number}")
            positions = await asyncio.gather(*(each.record(same) for each in (one, two, three) for _ in range(2)))
            assert len({tuple(each) for each in positions}) == 1
    assert [row[0] for row in await rows(f"SELECT notification_id FROM {LOG} ORDER BY 1")] == list(range(1, 16))
