"""A projector that answers over real HTTP, beside the log that it reads."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import msgspec
from aiohttp.test_utils import TestServer
from msgspec import Struct

from services.keys import Keys, Scope
from services.openapi import describe
from services.postgres import open_pool
from services.projector.answers.held import Held
from services.projector.http import routes
from services.projector.projections import ALL, Projection
from services.projector.projector import Projector
from services.projector.requests.meanings import meaning
from services.web import REQUEST_LINE_BYTES_MAX, application
from tests.conftest import Database
from tests.log import Log


class Reply(Struct):
    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Asking:
    """A client with keys of several scopes. Without more said it asks as `query`, of the ledger main."""

    def __init__(self, log: Log, projector: Projector, url: str, keys: dict[str, str], http: aiohttp.ClientSession):
        self.log = log
        self.projector = projector
        self.url = url
        self.keys = keys
        self.head = 0
        self._http = http

    async def record(self, *events: Any, **more: Any) -> list[int]:
        positions = await self.log.append(*events, **more)
        self.head = positions[-1]
        return positions

    async def get(
        self, path: str, *, key: str = "query", headers: dict[str, str] | None = None, **parameters: Any
    ) -> Reply:
        """GET below the ledger main, or a whole path as a Link has it."""
        whole = path if path.startswith("/v1/") else f"/v1/ledgers/main/{path}"
        given = {"Authorization": f"Bearer {self.keys[key]}"} if key else {}
        names = {name.rstrip("_"): str(value) for name, value in parameters.items()}
        async with self._http.get(self.url + whole, params=names or None, headers=given | (headers or {})) as reply:
            return Reply(reply.status, reply.headers, await reply.read())

    async def post(self, path: str, body: Any, *, key: str = "query", **parameters: Any) -> Reply:
        """POST below the ledger main; a body that is no bytes goes as JSON."""
        content = body if isinstance(body, bytes) else msgspec.json.encode(body)
        names = {name: str(value) for name, value in parameters.items()}
        headers = {"Authorization": f"Bearer {self.keys[key]}", "Content-Type": "application/json"}
        url = f"{self.url}/v1/ledgers/main/{path}"
        async with self._http.post(url, params=names or None, data=content, headers=headers) as reply:
            return Reply(reply.status, reply.headers, await reply.read())

    async def answer(self, path: str, **parameters: Any) -> Any:
        """The JSON of an answer that reflects all that was recorded, unless `as_of` says otherwise."""
        more = parameters if "as_of" in parameters else {"at_least": self.head, **parameters}
        reply = await self.get(path, **more)
        assert reply.status == 200, reply.body
        return reply.json


@asynccontextmanager
async def asking(
    database: Database, *, projections: Sequence[Projection] = ALL, held: Held | None = None
) -> AsyncIterator[Asking]:
    owner = await open_pool(database.owner, connections_max=2)
    scopes: dict[str, list[Scope]] = {"query": ["query"], "personal": ["query", "personal"], "observe": ["observe"]}
    keys = Keys(owner)
    texts = {name: (await keys.make(name=name, scopes=granted, by="test"))[1] for name, granted in scopes.items()}
    texts["elsewhere"] = (await keys.make(name="elsewhere", scopes=["query"], ledgers=["other"], by="test"))[1]
    await owner.close()
    async with Log.open(database) as log, Projector(database.settings, projections=projections) as projector:
        declared = routes(projector, database.settings.master_key, held)
        description = describe("The projector", "Answers", declared, meaning)
        app = application("projector", declared, Keys(projector.pool), projector.ready, description)
        server = TestServer(app)
        await server.start_server(max_line_size=REQUEST_LINE_BYTES_MAX)
        async with server, aiohttp.ClientSession() as http:
            yield Asking(log, projector, str(server.make_url("")).rstrip("/"), texts, http)
