"""How far the read models have got, as it is told."""

import asyncio

from services.postgres import open_pool
from services.projector.answers.projections import list_projections
from services.projector.projector import Projector
from tests.conftest import Database
from tests.log import Log
from tests.readmodels import mixed, reached, telling


async def test_how_far_all_have_got_takes_two_statements_however_often_it_is_asked(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(20))
        runner = await projector.ledger("main")
        await reached(runner, 20)
        # A pool of our own: through its own, the projector now and then asks which ledgers there are.
        asked: list[str] = []
        async with await open_pool(database.projector, connections_max=1, prepare=telling(asked)) as pool:
            told = await list_projections(pool, runner)
            await asyncio.sleep(0)  # What was asked is told in the next turn of the loop.
            asked.clear()
            assert await list_projections(pool, runner) == told
            await asyncio.sleep(0)
            assert len(asked) == 2
        assert told.as_of.position == 20
        assert {(each.position, each.head, each.lag.events, each.lag.seconds) for each in told.projections} == {
            (20, 20, 0, 0.0)
        }


async def test_an_empty_ledger_is_behind_by_nothing(database: Database) -> None:
    async with Log.open(database), Projector(database.settings) as projector:
        told = await list_projections(projector.pool, await projector.ledger("main"))
        assert (told.as_of.position, told.as_of.recordedtime) == (0, None)
        assert {(each.position, each.head, each.lag.seconds) for each in told.projections} == {(0, 0, 0.0)}


async def test_a_read_model_is_behind_by_the_time_between_what_it_has_and_the_head(database: Database) -> None:
    async with Log.open(database) as log:
        async with Projector(database.settings) as projector:
            await log.append(*mixed(5))
            runner = await projector.ledger("main")
            await reached(runner, 5)
        await log.append(*mixed(5))
        async with Projector(database.settings, projections=()) as projector:
            told = await list_projections(projector.pool, await projector.ledger("main"))
        recorded = await log.connection.fetch(
            "SELECT recorded_at FROM ledger_main.stored_events WHERE notification_id IN (5, 10) ORDER BY 1"
        )
        seconds = (recorded[1][0] - recorded[0][0]).total_seconds()
        assert seconds > 0
        assert {(each.position, each.lag.events, each.lag.seconds) for each in told.projections} == {(5, 5, seconds)}


async def test_what_another_version_has_left_keeps_nobody_waiting(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(5))
        await reached(await projector.ledger("main"), 5)
        await projector.pool.execute(
            "INSERT INTO ledger_main.cursors VALUES ('leads', 3, 'another', 'live', NULL, NULL, now())"
        )
    async with Projector(database.settings) as projector:
        runner = await projector.ledger("main")
        await reached(runner, 5)
        told = await list_projections(projector.pool, runner)
        [left] = [each for each in told.projections if each.projection == "leads"]
        assert (told.as_of.position, left.position, left.state) == (5, 3, "stopped")
        assert "no such projection" in (left.reason or "")
        async with asyncio.timeout(60):
            await runner.caught_up()
