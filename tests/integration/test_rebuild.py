"""A read model that is built anew: equal to the live one, swapped in unnoticed, and harmless if it fails."""

import asyncio
from typing import Any

import asyncpg
import msgspec
import psycopg
import pytest
import structlog

from schemas.envelope import Recorded
from services.postgres import connect
from services.projector import feed
from services.projector import rebuild as rebuilding
from services.projector import runner as runner_module
from services.projector.projections import ALL, Projection
from services.projector.projector import Projector
from services.projector.rebuild import RebuildBehind, RebuildError, RebuildInProgress, SwapPostponed, rebuild
from services.projector.runner import Stopped
from tests.conftest import Database
from tests.log import Log, event
from tests.readmodels import BY, digests, mixed, reached, rebuilt_digests, rows

REQUIREMENTS = next(projection for projection in ALL if projection.name == "requirements")


async def indexes(connection: asyncpg.Connection) -> list[Any]:
    found = await connection.fetch(
        "SELECT * FROM pg_indexes WHERE schemaname LIKE '%main' ORDER BY tablename, indexname"
    )
    return [tuple(row) for row in found]


async def beside(connection: asyncpg.Connection) -> list[str]:
    found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'rebuild_main'")
    return [row["tablename"] for row in found]


async def test_what_is_built_anew_equals_what_grew(database: Database) -> None:
    connection = await connect(database.projector)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        runner = await projector.ledger("main")
        for part in range(6):
            await log.append(*mixed(110 + part), *_rare(part))
            await reached(runner, runner.head)
        head = sum(110 + part + len(_rare(part)) for part in range(6))
        await reached(runner, head)
        grown = await digests(database, head)
        halfway = await digests(database, head // 2)
        made = await indexes(connection)

        assert await rebuilt_digests(database, head) == grown
        assert await digests(database, head // 2) == halfway
        assert halfway != grown
        assert await indexes(connection) == made
        assert await beside(connection) == []

        await log.append(*mixed(30))
        await reached(runner, head + 30)
    auditor = await connect(database.auditor)
    assert await auditor.fetchval("SELECT count(*) FROM ledger_main.asks") > 100
    assert len(set(grown.values())) == len(ALL)
    await auditor.close()
    await connection.close()


def _rare(part: int) -> list[Any]:
    """Promises, and a retraction of another event for each part."""
    return [
        event("promise.made", promise=f"P-{part}", account="a-1", requirement="R-1", due="2026-09-30", by=BY),
        event("promise.closed", promise=f"P-{part % 2}", outcome="kept", by=BY),
        event(
            "event.retracted",
            position=4 + 13 * part,
            subject="requirement/R-3",
            reason="Said of another company.",
            by=BY,
        ),
    ]


async def test_whoever_reads_meanwhile_never_sees_less_than_before(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        runner = await projector.ledger("main")
        await log.append(*mixed(1_500))
        await reached(runner, 1_500)
        looks = 0
        done = asyncio.Event()

        async def look() -> None:
            nonlocal looks
            connection = await connect(database.projector)
            before = 0
            while not done.is_set():
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    await connection.execute(
                        "LOCK TABLE ledger_main.requirement_rows, ledger_main.asks IN ACCESS SHARE MODE"
                    )
                    cursor = await connection.fetchval(
                        "SELECT position FROM ledger_main.cursors WHERE projection = 'requirements'"
                    )
                    asks = await connection.fetchval("SELECT count(*) FROM ledger_main.asks")
                    known = await connection.fetchval(
                        "SELECT count(*) FROM ledger_main.stored_events WHERE notification_id <= $1"
                        " AND topic IN ('ledger.ask.recorded.v1', 'ledger.ask.withdrawn.v1')",
                        cursor,
                    )
                assert asks == known >= before
                before, looks = asks, looks + 1
            await connection.close()

        async def grow() -> None:
            while not done.is_set():
                await log.append(*mixed(11))

        connection = await connect(database.projector)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(look())
            tasks.create_task(look())
            tasks.create_task(grow())
            for _ in range(4):
                await rebuild(connection, "main", REQUIREMENTS)
            done.set()
        await connection.close()
        assert looks > 20
        ((head),) = await projector.pool.fetchrow("SELECT max(notification_id) FROM ledger_main.stored_events")
        await reached(runner, head)
        grown = await digests(database, head)
    assert await rebuilt_digests(database, head) == grown


async def test_the_second_of_two_rebuilds_says_that_there_is_one(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(50))
        await reached(await projector.ledger("main"), 50)
    first, second, reader = [await connect(database.projector) for _ in range(3)]
    begun = asyncio.Event()
    async with reader.transaction():
        # Who reads holds up the first one until the second has come.
        await reader.fetch("SELECT FROM ledger_main.asks")
        started = asyncio.create_task(rebuild(first, "main", REQUIREMENTS, progress=lambda position, head: begun.set()))
        await begun.wait()
        with pytest.raises(RebuildInProgress, match="requirements of the ledger main is being rebuilt"):
            await rebuild(second, "main", REQUIREMENTS)
    assert (await started).position == 50
    assert await first.fetchval("SHOW idle_session_timeout") == "0", "the connection is as it was given"
    assert (await rebuild(second, "main", REQUIREMENTS)).position == 50
    for each in (first, second, reader):
        await each.close()


async def test_a_rebuild_that_was_killed_leaves_nothing_that_disturbs_the_next(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 500)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        for _ in range(3):
            await log.append(*mixed(400))
        await reached(await projector.ledger("main"), 1_200)
    grown = await digests(database, 1_200)
    killed, witness = await connect(database.projector), await connect(database.projector)
    pid = killed.get_server_pid()
    told: list[int] = []

    def kill(position: int, head: int) -> None:
        told.append(position)
        with psycopg.connect(database.superuser) as superuser:
            superuser.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])

    with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        await rebuild(killed, "main", REQUIREMENTS, progress=kill)
    assert told == [500]
    assert {*await beside(witness)} == {*REQUIREMENTS.tables}
    assert await digests(database, 1_200) == grown

    assert await rebuilt_digests(database, 1_200) == grown
    assert await beside(witness) == []
    await witness.close()


async def test_a_rebuild_that_fails_cleans_up_and_the_live_one_stays(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(100))
        await reached(await projector.ledger("main"), 100)
    grown = await digests(database, 100)
    connection = await connect(database.projector)

    def give_up(position: int, head: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await rebuild(connection, "main", REQUIREMENTS, progress=give_up)
    assert await beside(connection) == []
    assert await digests(database, 100) == grown
    assert (await rebuild(connection, "main", REQUIREMENTS)).position == 100
    await connection.close()


async def test_the_swap_waits_for_a_long_query_and_holds_up_no_other(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(100))
        await reached(await projector.ledger("main"), 100)
        connection, reader, other = [await connect(database.projector) for _ in range(3)]
        # Who asks meanwhile never waits for longer than one try.
        await other.execute("SET lock_timeout = '2s'")
        with structlog.testing.capture_logs() as said:
            async with reader.transaction():
                await reader.fetch("SELECT * FROM ledger_main.asks")
                swapping = asyncio.create_task(rebuild(connection, "main", REQUIREMENTS))
                async with asyncio.timeout(30):
                    while not any(line["event"] == "swap_postponed" for line in said):
                        await other.fetch("SELECT * FROM ledger_main.asks")
                        await asyncio.sleep(0.01)
                    # Meanwhile it keeps up with the log.
                    await log.append(*mixed(11))
                    while await other.fetchval("SELECT position FROM ledger_main.rebuilds") < 111:
                        await other.fetch("SELECT * FROM ledger_main.asks")
                        await asyncio.sleep(0.01)
                assert not swapping.done()
            assert (await swapping).position == 111
        held_by = next(line["held_by"] for line in said if line["event"] == "swap_postponed")
        assert any(str(reader.get_server_pid()) in holder for holder in held_by)
    for each in (connection, reader, other):
        await each.close()


async def test_what_could_not_be_swapped_is_gone_on_with(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuilding, "SWAP_SECONDS_MAX", 0)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(100))
        await reached(await projector.ledger("main"), 100)
        connection, reader = await connect(database.projector), await connect(database.auditor)
        async with reader.transaction():
            await reader.fetch("SELECT * FROM ledger_main.asks")
            with pytest.raises(SwapPostponed, match=rf"up to position 100 .* by pid {reader.get_server_pid()} \("):
                await rebuild(connection, "main", REQUIREMENTS)
        await log.append(*mixed(11))
        await reached(await projector.ledger("main"), 111)
        with structlog.testing.capture_logs() as said:
            assert (await rebuild(connection, "main", REQUIREMENTS)).position == 111
    assert [line["after"] for line in said if line["event"] == "rebuild_begun"] == [100]
    assert await beside(connection) == []
    grown = await digests(database, 111)
    assert grown == await rebuilt_digests(database, 111)
    await connection.close()
    await reader.close()


async def test_a_long_reader_of_one_read_model_holds_up_no_other_that_is_built_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rebuilding, "SWAP_SECONDS_MAX", 0)
    monkeypatch.setattr(runner_module, "REBUILD_RETRY_SECONDS", 0.01)
    newer = tuple(msgspec.structs.replace(each, version="another") for each in ALL)
    async with Log.open(database) as log:
        await log.append(*mixed(100))
        async with Projector(database.settings) as projector:
            await reached(await projector.ledger("main"), 100)
        reader = await connect(database.projector)
        with structlog.testing.capture_logs() as said:
            async with Projector(database.settings, projections=newer) as projector:
                runner = await projector.ledger("main")

                async def built(names: set[str]) -> None:
                    async with asyncio.timeout(60):
                        while {name for name, each in runner.cursors.items() if each.version == "another"} != names:
                            runner.wake()
                            await asyncio.sleep(0.01)

                def tries() -> list[int]:
                    begun = [line for line in said if line["event"] == "rebuild_begun"]
                    return [line["after"] for line in begun if line["projection"] == "requirements"]

                async with reader.transaction():
                    await reader.fetch("SELECT * FROM ledger_main.asks")
                    await built({each.name for each in ALL} - {"requirements"})
                    # Whose turn comes last may not have begun when all others are done.
                    async with asyncio.timeout(60):
                        while len(after := tries()) < 2:
                            await asyncio.sleep(0.01)
                await built({each.name for each in ALL})
    assert after == [0, *([100] * (len(after) - 1))]
    assert not any(line["event"] == "rebuild_failed" for line in said)
    await reader.close()


async def test_there_is_nothing_to_rebuild_before_the_projector_has_been_there(database: Database) -> None:
    connection = await connect(database.projector)
    with pytest.raises(RebuildError, match="there is no requirements of a ledger main yet"):
        await rebuild(connection, "main", REQUIREMENTS)
    with pytest.raises(RebuildError, match="no requirements of a ledger moon yet"):
        await rebuild(connection, "moon", REQUIREMENTS)
    assert await beside(connection) == []
    await connection.close()


# Another version of a projection


def changed(**more: Any) -> tuple[Projection, ...]:
    """All projections, of which `requirements` is of another version."""
    return tuple(
        msgspec.structs.replace(each, version="another", **more) if each is REQUIREMENTS else each for each in ALL
    )


def shouting(recorded: Recorded) -> Any:
    for table, (position, requirement, *rest) in REQUIREMENTS.fold(recorded):
        yield table, (position, requirement.upper() + "!", *rest)


async def test_another_version_has_the_read_model_built_anew(database: Database) -> None:
    async with Log.open(database) as log:
        await log.append(*mixed(1_100))
        async with Projector(database.settings) as projector:
            await reached(await projector.ledger("main"), 1_100)
        others = {name: text for name, text in (await digests(database, 1_100)).items() if name != "requirements"}
        async with Projector(database.settings, projections=changed(fold=shouting)) as projector:
            runner = await projector.ledger("main")
            await log.append(*mixed(11))
            await reached(runner, 1_111)
            assert runner.cursors["requirements"].version == "another"
            names = await projector.pool.fetch("SELECT DISTINCT requirement FROM ledger_main.asks ORDER BY 1")
    assert [row["requirement"] for row in names] == ["R-0!", "R-1!", "R-2!", "R-3!"]
    assert others.items() <= (await digests(database, 1_100)).items()


async def test_an_older_projector_leaves_the_read_models_of_a_newer_one_alone(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as older:
        await log.append(*mixed(110))
        await reached(await older.ledger("main"), 110)
        async with Projector(database.settings, projections=changed(fold=shouting)) as newer:
            async with asyncio.timeout(30):
                while (await newer.ledger("main")).cursors["requirements"].version != "another":
                    (await newer.ledger("main")).wake()
                    await asyncio.sleep(0.01)
            for _ in range(10):
                await log.append(*mixed(11))
            await reached(await newer.ledger("main"), 220)
            # Nor does it build its own: it says that it has stepped back, and goes on with what is still its own.
            runner = await older.ledger("main")
            with pytest.raises(Stopped, match="another version of the software has built this read model"):
                await reached(runner, 221, "requirements")
            await reached(runner, 220, *(projection.name for projection in ALL if projection is not REQUIREMENTS))
            assert {name for name, cursor in runner.cursors.items() if cursor.state == "stopped"} == {"requirements"}
            names = await newer.pool.fetch("SELECT DISTINCT requirement FROM ledger_main.asks ORDER BY 1")
    assert all(row["requirement"].endswith("!") for row in names)


async def test_what_an_older_version_could_apply_and_a_newer_one_cannot_stays_and_says_so(database: Database) -> None:
    def refusing(recorded: Recorded) -> Any:
        if recorded.position > 50:
            raise ValueError("not with me")
        return REQUIREMENTS.fold(recorded)

    async with Log.open(database) as log:
        await log.append(*mixed(110))
        async with Projector(database.settings) as projector:
            await reached(await projector.ledger("main"), 110)
        grown = await digests(database, 110)
        connection = await connect(database.projector)
        with pytest.raises(RebuildBehind, match="cannot be applied anew: ValueError: not with me"):
            await rebuild(connection, "main", changed(fold=refusing)[2])
        assert await beside(connection) == []

        async with Projector(database.settings, projections=changed(fold=refusing)) as projector:
            runner = await projector.ledger("main")
            with pytest.raises(Stopped, match="not with me"):
                await reached(runner, 111, "requirements")
            assert runner.cursors["requirements"].position == 110
        assert await digests(database, 110) == grown

        async with Projector(database.settings) as projector:
            await log.append(*mixed(5))
            await reached(await projector.ledger("main"), 115)
        await connection.close()


async def test_a_rebuild_that_meets_the_same_trouble_as_the_live_one_ends_there_too(database: Database) -> None:
    def failing(recorded: Recorded) -> Any:
        if recorded.position == 47:
            raise ValueError("never")
        return REQUIREMENTS.fold(recorded)

    projections = tuple(msgspec.structs.replace(each, fold=failing) if each is REQUIREMENTS else each for each in ALL)
    async with Log.open(database) as log, Projector(database.settings, projections=projections) as projector:
        await log.append(*mixed(100))
        runner = await projector.ledger("main")
        with pytest.raises(Stopped):
            await reached(runner, 100, "requirements")
        before = await digests(database, 100)
        connection = await connect(database.projector)
        rebuilt = await rebuild(connection, "main", projections[2])
        await connection.close()
        assert (rebuilt.position, rebuilt.trouble.position if rebuilt.trouble else None) == (46, 47)
        assert await digests(database, 100) == before
    ((state, reason),) = await rows(database, "SELECT state, reason FROM ledger_main.cursors WHERE state <> 'live'")
    assert (state, reason) == ("stopped", "ValueError: never")
