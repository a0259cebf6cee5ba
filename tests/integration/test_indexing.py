"""Keys and indexes of read models that are far behind: made when they have caught up, by one process at a time."""

import asyncio
import re
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas.envelope import Recorded
from services.migrate import make_ledger
from services.postgres import connect, ledger_schema
from services.projector import feed, indexing
from services.projector import rebuild as rebuilding
from services.projector import runner as runner_module
from services.projector.projections import ALL, Projection
from services.projector.projector import Projector
from services.projector.runner import Stopped
from tests.conftest import Database
from tests.log import Log, append_by_force
from tests.readmodels import ask, profile, reached, ready, rows, running, until

INDEXED = "SELECT EXISTS (SELECT FROM pg_indexes WHERE indexname IN ('asks_account_idx', 'asks_pkey'))"
REQUIREMENTS = next(projection for projection in ALL if projection.name == "requirements")


async def test_what_is_far_behind_gets_its_indexes_when_it_has_caught_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 20)
    monkeypatch.setattr(runner_module, "INDEXED_BEHIND_EVENTS_MAX", 50)
    indexed_at: list[tuple[int, bool]] = []

    async def read_page(connection: Any, statements: Any, after: int, topics: Any) -> feed.Page:
        indexed_at.append((after, await connection.fetchval(INDEXED)))
        return await feed.read_page(connection, statements, after, topics)

    monkeypatch.setattr(runner_module, "read_page", read_page)
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(120)))
        async with running(database) as runner:
            await reached(runner, 120)
            await until(lambda: is_indexed(database))
        # The page that follows is read ahead, before the look at how far behind the projection is by then.
        assert [at for at, _ in indexed_at] == [*range(0, 120, 20)]
        assert not any(indexed for at, indexed in indexed_at if at <= 80)
        assert await indexes(database) == await indexes_of_a_new_ledger(database)


async def test_what_nobody_waits_for_begins_when_all_is_indexed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 20)
    monkeypatch.setattr(runner_module, "INDEXED_BEHIND_EVENTS_MAX", 20)
    monkeypatch.setattr(runner_module, "POLL_SECONDS", 3_600)
    go_on = asyncio.Event()

    async def index_late(connection: Any, ledger: str, projection: Projection) -> bool:
        if projection.name == "requirements":
            await go_on.wait()
        return await indexing.index_late(connection, ledger, projection)

    monkeypatch.setattr(runner_module, "index_late", index_late)
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(60)))
    async with running(database) as runner:
        await reached(runner, 60)
        await until(lambda: has_index(database, "promises_made_promise_idx"))
        waiting = asyncio.create_task(runner.caught_up())
        done, _ = await asyncio.wait({waiting}, timeout=0.1)
        assert not done
        go_on.set()
        async with asyncio.timeout(60):
            await waiting
        assert await is_indexed(database)


async def test_a_key_that_another_release_has_left_out_is_made(database: Database) -> None:
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(3)))
    async with running(database) as runner:
        await reached(runner, 3)
    owner = await connect(database.projector)
    await owner.execute("ALTER TABLE ledger_main.asks DROP CONSTRAINT asks_pkey")
    await owner.close()
    async with running(database) as runner:
        await until(lambda: has_index(database, "asks_pkey"))


async def test_a_projector_that_ended_before_it_had_made_the_indexes_leaves_them_to_the_next(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 20)
    monkeypatch.setattr(runner_module, "INDEXED_BEHIND_EVENTS_MAX", -1)
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(40)))
    async with running(database) as runner:
        await reached(runner, 40)
    assert await indexes(database) == {}
    monkeypatch.undo()
    async with running(database):
        await until(lambda: is_indexed(database))
    assert await indexes(database) == await indexes_of_a_new_ledger(database)


async def test_indexes_that_take_long_keep_nobody_from_opening_the_ledger(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "INDEXED_BEHIND_EVENTS_MAX", -1)
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(40)))
        async with running(database) as runner:
            await reached(runner, 40)
        monkeypatch.undo()
        other, witness = await connect(database.projector), await connect(database.superuser)
        # Whoever writes keeps an index from being made.
        writing = other.transaction()
        await writing.start()
        await other.execute("LOCK TABLE ledger_main.asks IN ROW EXCLUSIVE MODE")
        async with running(database) as first:
            # Those of other read models have been made, each in a transaction of its own.
            await until(lambda: has_index(database, "account_facts_account_idx"))
            async with Projector(database.settings) as second:
                await ready(second)
                await reached(await second.ledger("main"), 40)
            assert not await has_index(database, "asks_account_idx")
            # One that was cut short is begun again.
            waiting = "SELECT pid FROM pg_locks WHERE mode = 'ShareLock' AND NOT granted"
            await until(lambda: witness.fetchval(f"SELECT bool_or(pg_terminate_backend(pid, 10000)) FROM ({waiting})"))
            await writing.rollback()
            await log.append(ask(41))
            await reached(first, 41)
            await until(lambda: is_indexed(database))
        await other.close()
        await witness.close()


async def test_one_process_at_a_time_makes_indexes(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "INDEXED_BEHIND_EVENTS_MAX", -1)
    monkeypatch.setattr(runner_module, "STEP_ASIDE_SECONDS", 0.01)
    async with Log.open(database) as log:
        await log.append(ask(1))
    async with running(database) as runner:
        await reached(runner, 1)
    monkeypatch.setattr(runner_module, "INDEXED_BEHIND_EVENTS_MAX", 0)
    done: list[bool] = []

    async def index_late(*arguments: Any) -> bool:
        done.append(await indexing.index_late(*arguments))
        return done[-1]

    monkeypatch.setattr(runner_module, "index_late", index_late)
    other = await connect(database.projector)
    await other.execute("SELECT pg_advisory_lock(hashtextextended('indexing main', 0))")
    async with running(database), asyncio.timeout(60):
        while len(done) < 3:
            await asyncio.sleep(0.01)
        assert not any(done)
        assert await indexes(database) == {}
        await other.close()
        await until(lambda: is_indexed(database))


async def test_a_projection_that_stops_far_behind_has_its_indexes_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "INDEXED_BEHIND_EVENTS_MAX", 0)
    async with Log.open(database) as log:
        await log.append(ask(1))
        await append_by_force(database, profile(7, name="Seven"), mend=lambda state: state[:-9])
        await log.append(*(ask(number) for number in range(2, 4)))
    async with running(database) as runner:
        with pytest.raises(Stopped, match="accounts stopped before position 2"):
            await reached(runner, 4, "accounts")
        await until(lambda: has_index(database, "account_facts_account_idx"))


async def test_rows_that_break_their_key_stop_a_projection_that_was_far_behind_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 20)
    monkeypatch.setattr(runner_module, "INDEXED_BEHIND_EVENTS_MAX", 20)
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(60)))
        async with running(database, projections=doubling(upto=60)) as runner:
            await until(lambda: has_index(database, "retractions_retracted_idx"))
            stopped = {name: cursor for name, cursor in runner.cursors.items() if cursor.state == "stopped"}
            assert stopped.keys() == {"requirements"}
            assert "asks_pkey" in str(stopped["requirements"].reason)
            with pytest.raises(Stopped, match="requirements stopped before position 61"):
                await log.append(ask(60))
                await reached(runner, 61, "requirements")


@pytest.mark.parametrize("version", [REQUIREMENTS.version, "another"], ids=["the same version", "another version"])
async def test_rows_that_break_their_key_stop_nothing_that_is_swapped_in_meanwhile(
    database: Database, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 20)
    monkeypatch.setattr(runner_module, "INDEXED_BEHIND_EVENTS_MAX", 20)
    monkeypatch.setattr(rebuilding, "SWAP_LOCK_SECONDS_MAX", 60)
    reader, builder = await connect(database.projector), await connect(database.projector)
    reading = reader.transaction()
    sound = msgspec.structs.replace(REQUIREMENTS, version=version)
    swapping: list[asyncio.Task[Any]] = []

    async def index_late(connection: Any, ledger: str, projection: Projection) -> bool:
        try:
            return await indexing.index_late(connection, ledger, projection)
        except asyncpg.UniqueViolationError:
            # A swap that waits for the last reader keeps the cursor until it is done.
            await reading.start()
            await reader.fetch("SELECT FROM ledger_main.asks")
            swapping.append(asyncio.create_task(rebuilding.rebuild(builder, ledger, sound)))
            await until(lambda: waits_for(database, "AccessExclusiveLock"))
            raise

    monkeypatch.setattr(runner_module, "index_late", index_late)
    async with Log.open(database) as log:
        await log.append(*(ask(number) for number in range(60)))
        async with running(database, projections=doubling(upto=60)) as runner:
            # For a row, one waits for the transaction of whoever has it.
            await until(lambda: waits_for(database, "ShareLock"))
            await reading.rollback()
            async with asyncio.timeout(60):
                assert (await swapping[0]).position == 60
                await runner.caught_up()
            found = await rows(
                database, "SELECT version, state, reason FROM ledger_main.cursors WHERE projection = 'requirements'"
            )
            assert found == [(version, "live", None)]
            if version == REQUIREMENTS.version:
                await log.append(ask(60))
                await reached(runner, 61)
    await reader.close()
    await builder.close()


# Rows that break their key


def doubling(*, upto: int) -> list[Projection]:
    """All projections, of which `requirements` makes each row twice up to a position."""

    def fold(recorded: Recorded) -> Any:
        for row in REQUIREMENTS.fold(recorded):
            yield from (row, row) if recorded.position <= upto else (row,)

    doubled = msgspec.structs.replace(REQUIREMENTS, fold=fold)
    return [doubled if each is REQUIREMENTS else each for each in ALL]


async def waits_for(database: Database, mode: str) -> bool:
    """Whether a session waits for a lock of this mode."""
    return bool(
        await rows(
            database,
            "SELECT pid FROM pg_locks JOIN pg_stat_activity USING (pid)"
            f" WHERE mode = '{mode}' AND NOT granted AND datname = current_database()",
        )
    )


# What is there


async def indexes(database: Database, ledger: str = "main") -> dict[str, str]:
    """The indexes of read models, those of their keys too, each by its name with the statement that makes it."""
    schema = ledger_schema(ledger)
    found = await rows(
        database,
        f"SELECT indexname, replace(indexdef, '{schema}.', '')"
        " FROM pg_indexes JOIN pg_tables USING (schemaname, tablename)"
        f" WHERE schemaname = '{schema}' AND tableowner = current_user AND tablename NOT IN ('cursors', 'rebuilds')",
    )
    return dict(found)


async def indexes_of_a_new_ledger(database: Database) -> dict[str, str]:
    owner = await connect(database.owner)
    await make_ledger(owner, database.settings, "new")
    await owner.close()
    async with Projector(database.settings) as projector:
        await projector.ledger("new")
    found = await indexes(database, "new")
    assert len(found) > len(ALL)
    return found


async def has_index(database: Database, name: str) -> bool:
    return name in await indexes(database)


async def is_indexed(database: Database) -> bool:
    wanted = {name for each in ALL for name in re.findall(r"CREATE (?:UNIQUE )?INDEX (\w+)", each.indexes_sql)}
    keys = {f"{table}_pkey" for each in ALL for table in each.tables}
    return wanted | keys == {*await indexes(database)}
