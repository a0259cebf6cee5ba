"""Who asks and does not read what is answered is not waited for."""

import asyncio
import socket
from contextlib import AsyncExitStack
from io import BytesIO

import msgspec
import psutil
import pytest

from services import web
from tests.conftest import Database
from tests.ledger_service import BATCH, EVENTS, NDJSON, LedgerService, holds, profile, serving

SILENT = 8
LOG_BYTES = 12 * 2**20  # More than the buffers of a connection hold.


async def test_who_does_not_read_an_answer_is_cut_off(database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web, "UNREAD_SECONDS_MAX", 1)
    async with serving(database.settings) as ledger, AsyncExitStack() as silent:
        large = {f"name {number}": "x" * 2_000 for number in range(20)}
        events = [
            profile(data={"account": f"a-{number}", "attributes": large}) for number in range(LOG_BYTES // 40_000)
        ]
        assert (await ledger.send(BytesIO(msgspec.json.encode(events)), BATCH)).status == 201

        theirs = {silent.enter_context(ask(ledger)).getsockname()[1] for _ in range(SILENT)}
        seen: set[int] = set()

        async def all_came() -> bool:
            seen.update(await connected(ledger, theirs))
            return seen == theirs

        await holds(all_came)

        async def gone() -> bool:
            return not await connected(ledger, theirs)

        await holds(gone)
        assert (await ledger.get(f"{EVENTS}/1")).status == 200


def ask(ledger: LedgerService) -> socket.socket:
    """A connection on which the whole log is asked for, and nothing read."""
    asking = socket.create_connection((ledger.host, ledger.port))
    head = f"GET {EVENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ledger.admin}\r\nAccept: {NDJSON}\r\n\r\n"
    asking.sendall(head.encode())
    return asking


async def connected(ledger: LedgerService, ports: set[int]) -> set[int]:
    """Those of these ports whose connections the service has."""
    found = await asyncio.to_thread(psutil.Process().net_connections, "tcp")
    ours = {each.raddr.port for each in found if each.laddr.port == ledger.port and each.status == "ESTABLISHED"}
    return ours & ports
