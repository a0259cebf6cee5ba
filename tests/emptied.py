"""Ledgers that are emptied and filled again, for tests that need many: to make one anew takes much longer."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import groupby
from typing import Any, NamedTuple
from urllib.parse import urlencode

import aiohttp
import asyncpg
import structlog
from aiohttp.test_utils import TestServer

from services.keys import Keys
from services.migrate import make_ledger
from services.openapi import describe
from services.postgres import connect, ledger_schema
from services.projector.http import routes
from services.projector.requests.meanings import meaning
from services.proof.note import VerifierKey
from services.web import REQUEST_LINE_BYTES_MAX, application
from tests.asking import Asking, asking
from tests.checkpoints import sign
from tests.conftest import Database
from tests.histories import Told
from tests.log import Log
from tests.questions import Question
from tests.readmodels import SECONDS_MAX, reached

LEDGERS = FIRST, SECOND = "main", "second"
APPEND_ONLY = "stored_events", "tree_tiles", "checkpoints", "verifier_keys", "timestamps", "digests", "digest_keys"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Service:
    """A projector's HTTP service, of its own: it remembers nothing that another has answered."""

    def __init__(self, url: str, keys: dict[str, str], http: aiohttp.ClientSession) -> None:
        self._url = url
        self._keys = keys
        self._http = http

    async def ask(self, path: str, question: Question, **moment: Any) -> Answer:
        more = urlencode(moment | ({"timeout": 30} if "as_of" in moment or "at_least" in moment else {}))
        url = f"{self._url}{path}{'&' if '?' in path else '?'}{more}"
        headers = {"Authorization": f"Bearer {self._keys[question.key]}", "Accept": question.accept}
        if question.body is not None:
            headers["Content-Type"] = "application/json"
        async with self._http.request(question.route.method, url, headers=headers, data=question.body) as reply:
            kept = {name: reply.headers[name] for name in ("Content-Type", "ETag", "Link") if name in reply.headers}
            return Answer(reply.status, kept, await reply.read())


class Ledgers:
    """Two ledgers of a database, and services that answer from them."""

    def __init__(self, client: Asking, database: Database, superuser: asyncpg.Connection, logs: dict[str, Log]) -> None:
        self._client = client
        self._master_key = database.settings.master_key
        self._superuser = superuser
        self._logs = logs
        self._keys = Keys(client.projector.pool)
        self._heads = dict.fromkeys(logs, 0)
        self._description = describe("The projector", "Answers", routes(client.projector), meaning)

    @asynccontextmanager
    async def service(self) -> AsyncIterator[Service]:
        declared = routes(self._client.projector, self._master_key)
        ready = self._client.projector.ready
        server = TestServer(application("projector", declared, self._keys, ready, self._description))
        await server.start_server(max_line_size=REQUEST_LINE_BYTES_MAX)
        async with server, aiohttp.ClientSession() as http:
            yield Service(str(server.make_url("")).rstrip("/"), self._client.keys, http)

    async def record(self, ledger: str, history: Sequence[Told]) -> None:
        """Record these events behind those that are there, and have them in every read model."""
        log = self._logs[ledger]
        async with log.connection.transaction():
            await log.lock()
            for recordedtime, told in groupby(history, key=lambda each: each.recordedtime):
                self._heads[ledger] = (await log.insert([each.sent for each in told], recordedtime))[-1]
        # Else an answer about the past might be the same only because the rest has not been read yet.
        await reached(await self._client.projector.ledger(ledger), self._heads[ledger])

    async def sign(self, ledger: str) -> VerifierKey:
        """Sign a checkpoint of all that was recorded."""
        return await sign(self._logs[ledger].connection, ledger)

    async def destroy_keys(self, ledger: str) -> None:
        """Have nobody read what is sealed any more, as if all of it had been erased."""
        await self._superuser.execute(f"DELETE FROM {ledger_schema(ledger)}.sealing_keys")

    async def empty(self, ledger: str) -> None:
        """Make the ledger as if nothing had ever been recorded, once its projector has nothing left to do."""
        runner = await self._client.projector.ledger(ledger)
        schema = ledger_schema(ledger)
        await reached(runner, self._heads[ledger])
        self._heads[ledger] = 0
        tables = await self._superuser.fetch(
            "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = $1", schema
        )
        # Who has read what stays, as ever, and where a log came from.
        names = {each["name"] for each in tables} - {"cursors", "log_head", "access_log", "imports"}
        emptied = "; ".join(f"DELETE FROM {schema}.{name}" for name in sorted(names))
        await self._superuser.execute(f"{emptied}; UPDATE {schema}.cursors SET position = 0")
        async with asyncio.timeout(SECONDS_MAX):
            while runner.head or any(cursor.position for cursor in runner.cursors.values()):
                runner.wake()
                await asyncio.sleep(0.001)


@asynccontextmanager
async def emptied(database: Database) -> AsyncIterator[Ledgers]:
    logs = structlog.get_config()
    # A line a request is most of what the test would do.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    async with AsyncExitStack() as stack:
        stack.callback(lambda: structlog.configure(**logs))
        superuser = await connect(database.superuser)
        stack.push_async_callback(superuser.close)
        owner = await connect(database.owner)
        await make_ledger(owner, database.settings, SECOND)
        await owner.close()
        for ledger in LEDGERS:
            for table in APPEND_ONLY:
                append_only = f"{ledger_schema(ledger)}.{table} DISABLE TRIGGER {table}_are_append_only"
                await superuser.execute(f"ALTER TABLE {append_only}")
            on_the_record = (
                f"{ledger_schema(ledger)}.sealing_keys DISABLE TRIGGER sealing_keys_are_destroyed_on_the_record"
            )
            await superuser.execute(f"ALTER TABLE {on_the_record}")
        client = await stack.enter_async_context(asking(database))
        second = await stack.enter_async_context(Log.open(database, SECOND))
        yield Ledgers(client, database, superuser, {FIRST: client.log, SECOND: second})
