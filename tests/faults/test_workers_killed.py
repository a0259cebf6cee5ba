"""The ledger as several processes on one port: one is killed under load, and all are stopped under load."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import psutil
import pytest
from msgspec.structs import replace

from services.postgres import connect
from tests.conftest import Database
from tests.ledger_process import SECONDS_MAX, LedgerProcess, processes
from tests.ledger_service import holds
from tests.log import event

WORKERS = 2
CLIENTS = 16


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    # A connection for each request: the kernel gives each to one of the processes.
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=SECONDS_MAX), connector=aiohttp.TCPConnector(force_close=True)
    ) as session:
        yield session


class Load:
    """Clients that post one event after the other, each until it is acknowledged."""

    def __init__(self, ledger: LedgerProcess, session: aiohttp.ClientSession) -> None:
        self.positions: list[int] = []
        self._url = f"{ledger.url}/v1/ledgers/main/events"
        self._headers = ledger.headers | {"Content-Type": "application/cloudevents+json"}
        self._session = session

    async def run(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(CLIENTS)))

    async def grows(self, count: int) -> None:
        """Wait for so many more acknowledgements."""
        wanted = len(self.positions) + count

        async def enough() -> bool:
            return len(self.positions) >= wanted

        await holds(enough)

    async def _client(self, number: int) -> None:
        count = 0
        while True:
            count += 1
            body = event("account.profiled", id=f"c{number}-{count}", account=f"a-{number}", attributes={"size": count})
            await self._persist(body)

    async def _persist(self, body: Any) -> None:
        while True:
            try:
                async with self._session.post(self._url, json=body, headers=self._headers) as answer:
                    said = await answer.json(content_type=None)
                    if answer.status in (200, 201):
                        self.positions.append(said["results"][0]["position"])
                        return
                    assert answer.status == 503, said
            except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError):
                pass
            await asyncio.sleep(0.01)


async def test_the_others_go_on_and_nothing_is_lost(database: Database, session: aiohttp.ClientSession) -> None:
    settings = replace(database.settings, ledger_processes=WORKERS)
    async with processes(settings, 1, session) as [ledger]:
        watching = psutil.Process(ledger.process.pid)
        workers = watching.children()
        assert len(workers) == WORKERS
        load = Load(ledger, session)
        posting = asyncio.create_task(load.run())
        try:
            await load.grows(50)

            # While the one that starts them again is held, only the others can go on.
            ledger.stall()
            workers[0].kill()
            await load.grows(50)
            ledger.go_on()

            async def started_again() -> bool:
                running = [child for child in watching.children() if not has_ended(child)]
                return len(running) == WORKERS and workers[0] not in running

            await holds(started_again)
            assert "process_ended" in ledger.output()
            await load.grows(50)
            recorded = await recorded_total(session, ledger, at_least=150)

            # Stopped under load: what was accepted is answered, and then all have ended.
            ledger.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(ledger.process.wait, SECONDS_MAX) == 0
            assert all(has_ended(worker) for worker in workers)
        finally:
            posting.cancel()
            await asyncio.wait([posting])

    reader = await connect(database.superuser)
    try:
        rows = await reader.fetch("SELECT notification_id, event_id FROM ledger_main.stored_events ORDER BY 1")
    finally:
        await reader.close()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    assert len({row[1] for row in rows}) == len(rows)
    assert len({*load.positions}) == len(load.positions)
    assert {*load.positions} <= {row[0] for row in rows}
    assert 150 <= recorded <= len(rows)


async def recorded_total(session: aiohttp.ClientSession, ledger: LedgerProcess, *, at_least: int) -> float:
    """Events that all processes together say that they have recorded. Each answers for all of them."""
    least = 0.0
    for _ in range(4 * WORKERS):
        async with session.get(f"{ledger.url}/metrics") as answer:
            text = await answer.text()
        [found] = re.findall(r'^ledger_events_recorded_total{ledger="main"} (.*)$', text, re.MULTILINE)
        assert float(found) >= max(least, at_least), "a process answered for itself only"
        least = float(found)
    return least


def has_ended(process: psutil.Process) -> bool:
    """Also if nobody has asked how: whoever inherits orphans may take its time."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


async def test_the_port_is_shared_with_no_other_and_free_again_after_kill_9(
    database: Database, session: aiohttp.ClientSession
) -> None:
    async with processes(replace(database.settings, ledger_processes=WORKERS), 1, session) as [ledger]:
        other = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "services.ledger"],
            env=ledger.settings.environ(),
            capture_output=True,
            text=True,
            timeout=SECONDS_MAX,
        )
        assert other.returncode == os.EX_CONFIG
        assert "Set LEDGER_BIND, LEDGER_PORT" in other.stderr

        workers = psutil.Process(ledger.process.pid).children()
        ledger.kill()
        ledger.start()
        await ledger.ready(session)
        assert all(has_ended(worker) for worker in workers)


async def test_another_ledger_on_the_same_home_leaves_its_metrics_alone(
    database: Database, session: aiohttp.ClientSession
) -> None:
    settings = replace(database.settings, ledger_processes=WORKERS)
    async with processes(settings, 1, session) as [ledger]:
        body = event("account.profiled", account="a", attributes={"size": 1})
        async with session.post(
            f"{ledger.url}/v1/ledgers/main/events",
            json=body,
            headers=ledger.headers | {"Content-Type": "application/cloudevents+json"},
        ) as answer:
            assert answer.status == 201
        async with processes(settings, 1, session) as [other]:
            assert await recorded_total(session, ledger, at_least=1) == 1
            other.process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(other.process.wait, SECONDS_MAX) == 0
        assert await recorded_total(session, ledger, at_least=1) == 1


async def test_what_no_start_can_mend_ends_all(database: Database, tmp_path: Any) -> None:
    settings = replace(database.settings, ledger_processes=WORKERS, master_key_file=tmp_path / "missing")
    ledger = LedgerProcess(settings)
    try:
        assert await asyncio.to_thread(ledger.process.wait, SECONDS_MAX) == os.EX_CONFIG
        assert str(tmp_path / "missing") in ledger.output()
    finally:
        ledger.end()
