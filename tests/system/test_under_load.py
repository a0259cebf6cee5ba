"""Many clients post while what serves them is killed: each acknowledged event is there once, and nothing is missing.

LEDGER_TEST_LOAD_SECONDS=60 makes it the full minute.
"""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec
import psutil
import pytest
import structlog

from schemas.envelope import event_uuid
from services.postgres import connect
from services.settings import Settings
from tests.conftest import Database
from tests.log import event
from tests.readmodels import NAMES, digests, rebuilt_digests
from tests.system.test_supervisor import Run, home, running

__all__ = ["home"]  # A fixture.

LOAD_SECONDS = float(os.environ.get("LEDGER_TEST_LOAD_SECONDS", "9"))
CLIENTS = 64
KILLS = 3
RETRY_SECONDS_MAX = 0.2
ANSWER_SECONDS_MAX = 75
SETTLE_SECONDS_MAX = 120
LOG_CHARACTERS = 10_000
SOURCE = "urn:test:load"

_log = structlog.get_logger()

pytestmark = [pytest.mark.system, pytest.mark.timeout(LOAD_SECONDS + 4 * SETTLE_SECONDS_MAX)]


class Load:
    """Clients that post one event after the other, each until it is acknowledged."""

    def __init__(self, run: Run) -> None:
        self._url = f"http://127.0.0.1:{run.ledger}/v1/ledgers/main/events"
        self._headers = {
            "Authorization": f"Bearer {(run.home / 'admin.key').read_text().strip()}",
            "Content-Type": "application/cloudevents+json",
        }
        self._log_of_the_run = run.output
        self._until = time.monotonic() + LOAD_SECONDS
        self.positions: dict[str, int] = {}
        """Where each acknowledged event is, by its id."""
        self.retries = 0
        self.recorded_before = 0
        """Events whose first acknowledgement was lost."""

    async def run(self) -> None:
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX), connector=aiohttp.TCPConnector(limit=CLIENTS)
        ) as session:
            await asyncio.gather(*(self._client(session, number) for number in range(CLIENTS)))

    def left(self) -> float:
        return max(0.0, self._until - time.monotonic())

    def report(self) -> None:
        """Say what it was, for who runs this with -s."""
        _log.info(
            "load_done",
            seconds=LOAD_SECONDS,
            events=len(self.positions),
            retries=self.retries,
            recorded_before=self.recorded_before,
        )

    async def _client(self, session: aiohttp.ClientSession, number: int) -> None:
        count = 0
        while self.left():
            count += 1
            body = _body(number, count)
            self.positions[body["id"]] = await self._persist(session, msgspec.json.encode(body))

    async def _persist(self, session: aiohttp.ClientSession, body: bytes) -> int:
        while True:
            try:
                async with session.post(self._url, data=body, headers=self._headers) as answer:
                    content = await answer.read()
                    if answer.status in (200, 201):
                        self.recorded_before += answer.status == 200
                        position: int = msgspec.json.decode(content)["results"][0]["position"]
                        return position
                    if answer.status != 503:
                        raise AssertionError(
                            f"{answer.status}: {content!r}\n{self._log_of_the_run()[-LOG_CHARACTERS:]}"
                        )
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                pass
            self.retries += 1
            await asyncio.sleep(random.random() * RETRY_SECONDS_MAX)


def _body(client: int, count: int) -> Any:
    account, requirement = f"a-{client % 20}", f"R-{count % 10}"
    kinds = (
        lambda id: event("account.profiled", id=id, source=SOURCE, account=account, attributes={"size": count}),
        lambda id: event(
            "ask.recorded", id=id, source=SOURCE, requirement=requirement, account=account, quote=f"We need it {id}"
        ),
        lambda id: event("requirement.raised", id=id, source=SOURCE, requirement=requirement, title=f"Title {id}"),
        lambda id: event(
            "opportunity.updated",
            id=id,
            source=SOURCE,
            opportunity=f"o-{client}",
            account=account,
            stage="open",
            amount=f"{count}.00",
            currency="EUR",
            requirements=[requirement],
        ),
    )
    return kinds[count % len(kinds)](f"c{client}-{count}")


@asynccontextmanager
async def under_load(home: Path) -> AsyncIterator[tuple[Run, Load, "asyncio.Task[None]"]]:
    with running(home) as run:
        await asyncio.to_thread(run.ready)
        load = Load(run)
        posting = asyncio.create_task(load.run())
        try:
            yield run, load, posting
        finally:
            posting.cancel()
            await asyncio.wait([posting])


async def everything_is_there_once(home: Path, load: Load) -> None:
    settings = Settings(home=home)
    database = Database(
        name="ledger",
        superuser="",
        settings=settings,
        owner=settings.url("owner"),
        writer=settings.url("writer"),
        projector=settings.url("projector"),
        auditor=settings.url("auditor"),
    )
    auditor = await connect(database.auditor)
    try:
        rows = await auditor.fetch(
            "SELECT notification_id, event_id, originator_id, originator_version FROM ledger_main.stored_events"
            " ORDER BY 1"
        )
        head = len(rows)
        assert [row[0] for row in rows] == list(range(1, head + 1))
        # Each client has asked until it was told, so that the log holds what was acknowledged and nothing else.
        assert {row[1]: row[0] for row in rows} == {event_uuid(SOURCE, id): at for id, at in load.positions.items()}
        assert len(load.positions) == head > CLIENTS
        versions: dict[Any, int] = {}
        for row in rows:
            versions[row[2]] = versions.get(row[2], 0) + 1
            assert row[3] == versions[row[2]]
        sealed = await auditor.fetch(
            "SELECT notification_id FROM ledger_main.stored_events WHERE sealed"
            " EXCEPT SELECT position FROM ledger_main.sealing_keys"
        )
        assert sealed == []

        await caught_up(auditor, head)
    finally:
        await auditor.close()
    assert await digests(database, head) == await rebuilt_digests(database, head)


async def caught_up(auditor: asyncpg.Connection, head: int) -> None:
    async with asyncio.timeout(SETTLE_SECONDS_MAX):
        while True:
            cursors = await auditor.fetch("SELECT projection, position, state FROM ledger_main.cursors ORDER BY 1")
            assert {cursor["state"] for cursor in cursors} == {"live"}
            if [cursor["position"] for cursor in cursors] == [head] * len(NAMES):
                return
            await asyncio.sleep(0.1)


async def kill(run: Run, module: str) -> None:
    """Kill a child of this run, once it is there."""
    async with asyncio.timeout(SETTLE_SECONDS_MAX):
        while True:
            with contextlib.suppress(StopIteration, RuntimeError, psutil.NoSuchProcess):
                run.child(module).kill()
                return
            await asyncio.sleep(0.05)


async def kill_again_and_again(run: Run, module: str, load: Load) -> None:
    pause = load.left() / (KILLS + 1)
    for _ in range(KILLS):
        await asyncio.sleep(pause)
        await kill(run, module)


async def test_the_ledger_is_killed_three_times(home: Path) -> None:
    async with under_load(home) as (run, load, posting):
        await kill_again_and_again(run, "services.ledger", load)
        await posting
        await everything_is_there_once(home, load)
        assert run.events().count("service_ended ledger") == KILLS
        assert run.events().count("service_ended projector") == 0
    load.report()


async def test_postgresql_is_killed(home: Path) -> None:
    async with under_load(home) as (run, load, posting):
        services = {name: run.child(f"services.{name}").pid for name in ("ledger", "projector")}
        await kill_again_and_again(run, "/postgres", load)
        await posting
        await everything_is_there_once(home, load)
        assert run.events().count("database_ended") == KILLS
        # The services have recovered by themselves: they are the processes that they were.
        assert {name: run.child(f"services.{name}").pid for name in services} == services
    load.report()


async def test_all_are_killed_in_turn(home: Path) -> None:
    async with under_load(home) as (run, load, posting):
        pause = load.left() / 4
        for module in ("services.projector", "/postgres", "services.ledger"):
            await asyncio.sleep(pause)
            await kill(run, module)
        await posting
        await everything_is_there_once(home, load)
    load.report()
