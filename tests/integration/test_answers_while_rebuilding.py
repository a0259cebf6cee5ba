"""Answers while read models are rebuilt: never an empty table, never half of one."""

import asyncio

import msgspec
import pytest

from services.postgres import connect
from services.projector import feed
from services.projector.projections import ALL
from services.projector.projector import Projector
from services.projector.rebuild import rebuild
from tests.asking import Reply, asking
from tests.conftest import Database
from tests.log import Log, event
from tests.readmodels import mixed, reached


async def test_a_swap_is_never_seen(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *(event("ask.recorded", requirement=f"R-{number % 50}", account=f"a-{number}") for number in range(300)),
            *(event("account.profiled", account=f"a-{number}", attributes={"a": number}) for number in range(300)),
        )
        paths = ["requirements/R-1", "accounts/a-1", "requirements"]
        expected = {path: (await client.get(path, as_of=600, at_least=600)).body for path in paths}
        done = asyncio.Event()

        async def ask_again() -> int:
            count = 0
            while not done.is_set():
                for path in paths:
                    reply = await client.get(path, as_of=600)
                    assert reply.status == 200, reply.body
                    assert reply.body == expected[path]
                    count += 1
            return count

        async def rebuild_all() -> None:
            connection = await connect(database.projector)
            try:
                for _ in range(3):
                    for projection in ALL:
                        await rebuild(connection, "main", projection)
                        # The log goes on meanwhile.
                        await client.record(event("ask.recorded", requirement="R-1", account="late"))
            finally:
                await connection.close()
                done.set()

        counts, _ = await asyncio.gather(asyncio.gather(*(ask_again() for _ in range(4))), rebuild_all())
        assert min(counts) > 3


async def test_answers_never_pause_while_another_version_takes_the_place_of_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older projector goes on beside; the newer one answers before, through and after its rebuild."""
    monkeypatch.setattr(feed, "PAGE_EVENTS_MAX", 100)  # So that it is seen on its way.
    changed = ("requirements", "accounts")
    older = [msgspec.structs.replace(each, version="older") if each.name in changed else each for each in ALL]
    async with Log.open(database) as log, Projector(database.settings, projections=older) as old:
        await log.append(*mixed(1_000))
        await reached(await old.ledger("main"), 1_000)
        async with asking(database) as client:
            runner = await client.projector.ledger("main")
            paths = ("requirements/R-1", "accounts/a-1", "requirements", "projections")
            answers: dict[str, list[Reply]] = {path: [] for path in paths}
            done = asyncio.Event()

            async def ask_again(path: str) -> None:
                while not done.is_set():
                    answers[path].append(await client.get(path))

            async def rebuilt() -> None:
                async with asyncio.timeout(60):
                    while any(runner.cursors[name].version == "older" for name in changed):
                        await log.append(*mixed(13))
                        await asyncio.sleep(0.01)
                    head = (await log.append(*mixed(13)))[-1]
                    await runner.reached(head)
                done.set()

            await asyncio.gather(rebuilt(), *map(ask_again, paths))
            last = await client.answer("requirements")
            assert (await client.get("projections")).json["projections"][0]["rebuild"] is None
    for path, replies in answers.items():
        assert [reply.status for reply in replies] == [200] * len(replies), path
        positions = [reply.json["as_of"]["position"] for reply in replies]
        assert positions == sorted(positions)
    assert last["as_of"]["position"] > 1_000

    shown = [{each["projection"]: each for each in reply.json["projections"]} for reply in answers["projections"]]
    looks = [each["requirements"] for each in shown]
    versions = [each["version"] for each in looks]
    before = looks[: versions.index(ALL[2].version)]
    assert versions == ["older"] * len(before) + [ALL[2].version] * (len(looks) - len(before))
    # The one that answers went on meanwhile, and the one that was built beside it said how far it was.
    assert before[-1]["position"] > 1_000
    under_way = [each["rebuild"] for each in before if each["rebuild"] is not None]
    assert {each["version"] for each in under_way} == {ALL[2].version}
    reached_so_far = [each["position"] for each in under_way]
    assert reached_so_far == sorted(reached_so_far)
    assert any(each["events_per_second"] > 0 and each["seconds_left"] >= 0 for each in under_way if each["position"])


async def test_a_read_model_that_another_version_has_built_is_not_answered_from(database: Database) -> None:
    ours = next(projection for projection in ALL if projection.name == "requirements")
    another = msgspec.structs.replace(ours, version="another")
    connection = await connect(database.projector)
    async with asking(database) as client:
        await client.record(event("ask.recorded", requirement="R-1", account="a"))
        expected = (await client.get("requirements", as_of=1, at_least=1)).body
        await rebuild(connection, "main", another)
        await client.record(event("ask.recorded", requirement="R-2", account="a"))
        for parameters in ({}, {"as_of": 1}, {"at_least": 2, "timeout": 30}):
            refused = await client.get("requirements", **parameters)
            assert (refused.status, refused.json["type"]) == (503, "/problems/projection-stopped")
            assert "another version of the software has built this read model (another" in refused.json["detail"]
        assert (await client.get("agreements", at_least=2)).status == 200
        found = {each["projection"]: each for each in (await client.get("projections")).json["projections"]}
        assert (found["requirements"]["state"], found["agreements"]["state"]) == ("stopped", "live")
        assert "Stop the older of the two projectors" in found["requirements"]["reason"]

        # Once it is built by this version again, this process goes on with it.
        await rebuild(connection, "main", ours)
        assert (await client.get("requirements", as_of=1)).body == expected
        await client.record(event("ask.recorded", requirement="R-3", account="a"))
        assert (await client.answer("requirements"))["total"] == 3
    await connection.close()
