"""The projector as an operator meets it: a process that starts, stops, and says what is wrong; a command."""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from typing import Any

import aiohttp
import msgspec
import pytest
import structlog

from services.postgres import connect
from services.projector import app
from services.projector.answers.held import Held
from services.projector.projector import Projector
from services.projector.runner import Runner
from tests.conftest import Database
from tests.log import Log
from tests.readmodels import mixed, reached

SECONDS_MAX = 60
AT_A_REBUILD = (
    "SELECT pid FROM pg_locks JOIN ledger_main.rebuilds ON objid = (hashtextextended("
    "'rebuild main ' || projection, 0) & 4294967295)::oid WHERE locktype = 'advisory' AND position = 26 AND indexed"
)


async def start(database: Database, *arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, env=os.environ | database.settings.environ(), stdout=PIPE, stderr=PIPE
    )


async def end(process: Process) -> tuple[int, str]:
    """Its exit status and what it said."""
    async with asyncio.timeout(SECONDS_MAX):
        _, said = await process.communicate()
    return process.returncode if process.returncode is not None else -1, said.decode()


async def ready(database: Database, process: Process) -> None:
    url = f"http://127.0.0.1:{database.settings.projector_port}/readyz"
    async with asyncio.timeout(SECONDS_MAX), aiohttp.ClientSession() as session:
        while process.returncode is None:
            try:
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)
    raise AssertionError(f"it ended with {process.returncode}")


async def shown(database: Database, *lines: str) -> None:
    """Wait until the metrics have these lines: they follow the commits that they are about."""
    url = f"http://127.0.0.1:{database.settings.projector_port}/metrics"
    metrics = ""
    try:
        async with asyncio.timeout(SECONDS_MAX), aiohttp.ClientSession() as session:
            while not all(line in metrics for line in lines):
                async with session.get(url) as answer:
                    metrics = await answer.text()
    except TimeoutError:
        raise AssertionError(f"the metrics have not all of {lines}:\n{metrics}") from None


async def test_it_gets_ready_keeps_up_and_ends_when_it_is_asked_to(database: Database) -> None:
    process = await start(database, "services.projector")
    try:
        await ready(database, process)
        async with Log.open(database) as log:
            await log.append(*mixed(26))
        connection = await connect(database.projector)
        async with asyncio.timeout(SECONDS_MAX):
            while await connection.fetchval("SELECT min(position) FROM ledger_main.cursors") != 26:
                await asyncio.sleep(0.01)
        await connection.close()
        await shown(
            database,
            'projector_lag_events{ledger="main",projection="requirements"} 0.0',
            'projector_events_applied_total{projection="requirements"} 26.0',
        )
        process.send_signal(signal.SIGTERM)
        status, said = await end(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert (status, "Traceback" in said) == (0, False)


async def test_it_ends_in_order_while_it_loads_ahead(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(2_600))
        await reached(await projector.ledger("main"), 2_600)
    process = await start(database, "services.projector")
    try:
        await ready(database, process)
        process.send_signal(signal.SIGTERM)
        status, said = await end(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert status == 0
    assert "Traceback" not in said
    assert "failed" not in said


async def test_a_mistake_in_what_is_loaded_ahead_ends_nothing_else(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def mistaken(self: Held, *more: Any) -> bool:
        raise LookupError("a mistake of ours")

    monkeypatch.setattr(Held, "load_ahead", mistaken)
    async with Log.open(database) as log:
        await log.append(*mixed(26))
    with structlog.testing.capture_logs() as logs:
        running = asyncio.create_task(app.run(database.settings))
        async with asyncio.timeout(SECONDS_MAX):
            while not (found := [each for each in logs if each["event"] == "loading_ahead_failed"]):
                await asyncio.sleep(0.01)
        assert "a mistake of ours" in found[0]["reason"]
        assert not running.done()
        running.cancel()
        await asyncio.wait([running])


async def test_a_port_that_is_taken_is_said_and_starting_again_is_no_use(database: Database) -> None:
    with socket.create_server(("127.0.0.1", database.settings.projector_port)):
        status, said = await end(await start(database, "services.projector"))
    assert status == os.EX_CONFIG
    assert "Set LEDGER_BIND, LEDGER_PORT, PROJECTOR_PORT or RECEIVER_PORT" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("bind", ["198.51.100.7", "no such host"])
async def test_a_host_without_an_address_here_is_said_and_starting_again_is_no_use(
    database: Database, bind: str
) -> None:
    settings = msgspec.structs.replace(database.settings, bind=bind)
    status, said = await end(await start(msgspec.structs.replace(database, settings=settings), "services.projector"))
    assert status == os.EX_CONFIG
    assert bind in said and "Set LEDGER_BIND" in said
    assert "Traceback" not in said


async def test_a_mistake_in_the_engine_ends_the_process(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def mistaken(self: Runner, connection: Any) -> Any:
        raise LookupError("a mistake of ours")

    monkeypatch.setattr(Runner, "_step", mistaken)
    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.timeout(SECONDS_MAX):
            await app.run(database.settings)
    assert raised.group_contains(LookupError, match="a mistake of ours")


async def test_a_read_model_is_rebuilt_by_a_command(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(26))
        await reached(await projector.ledger("main"), 26)
    status, said = await end(await start(database, "services.command", "rebuild", "requirements"))
    assert (status, "requirements was rebuilt from 1 to position 26." in said) == (0, True)
    status, said = await end(await start(database, "services.command", "rebuild", "requirements", "--ledger", "moon"))
    assert (status, "Nothing was changed" in said) == (1, True)


async def test_a_rebuild_of_which_the_database_heard_nothing_says_so_and_is_gone_on_with(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(26))
        await reached(await projector.ledger("main"), 26)
    reader = await connect(database.projector)
    async with reader.transaction():
        await reader.fetch("SELECT * FROM ledger_main.asks")
        process = await start(database, "services.command", "rebuild", "requirements")
        async with asyncio.timeout(SECONDS_MAX):
            while not (pids := [row["pid"] for row in await reader.fetch(AT_A_REBUILD)]):
                await asyncio.sleep(0.01)
        process.send_signal(signal.SIGSTOP)
        try:
            # As `idle_session_timeout` would.
            assert await reader.fetchval(
                "SELECT bool_and(pg_terminate_backend(pid, 10000)) FROM unnest($1::int[]) AS pid", pids
            )
        finally:
            process.send_signal(signal.SIGCONT)
        status, said = await end(process)
    await reader.close()
    said = " ".join(said.split())  # Lines are broken at the width of the terminal.
    assert (status, "it goes on where it got" in said, "Traceback" in said) == (1, True, False)
    status, said = await end(await start(database, "services.command", "rebuild", "requirements"))
    assert (status, '"after": 26' in said) == (0, True)
