"""The ledger service for tests: the real application in this process, on a real port, asked by a real client."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
import pytest
import structlog
from multidict import CIMultiDictProxy

from schemas.examples import EXAMPLES
from services.ledger.app import run
from services.process import configure_logs
from services.settings import Settings
from tests.log import event

if TYPE_CHECKING:
    from tests.conftest import Database

SECONDS_MAX = 20.0
EVENTS = "/v1/ledgers/main/events"
NDJSON = "application/x-ndjson"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


class Reply(msgspec.Struct, frozen=True):
    """An answer, read to its end."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def results(self) -> list[dict[str, Any]]:
        """The results of a post that was taken."""
        assert self.status in (200, 201), self.body
        results: list[dict[str, Any]] = self.json["results"]
        return results

    @property
    def problem(self) -> str:
        """The name of the problem, after a look at its form."""
        assert self.headers["Content-Type"].startswith("application/problem+json"), self.body
        document = self.json
        assert document["status"] == self.status
        assert document["title"]
        assert document["detail"]
        return str(document["type"].removeprefix("/problems/"))

    @property
    def errors(self) -> list[tuple[int, str, str]]:
        """Of each refused event: its place, the pointer to the spot, the name of the problem."""
        assert all(error["message"] for error in self.json["errors"])
        return [
            (error["index"], error["pointer"], error.get("type", "").removeprefix("/problems/"))
            for error in self.json["errors"]
        ]


class LedgerService:
    """A running ledger service. Requests go with the admin key unless another, or None for none, is given."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        self.settings = settings
        self.session = session
        self.host = settings.bind
        self.port = settings.ledger_port
        self.url = f"http://{self.host}:{self.port}"
        self.admin = (settings.home / "admin.key").read_text().strip()

    def authorized(self, key: str | None = "", headers: Mapping[str, str] | None = None) -> dict[str, str]:
        """Headers with this key; the empty one stands for the admin key."""
        given = dict(headers or {})
        return given if key is None else {"Authorization": f"Bearer {key or self.admin}"} | given

    async def ask(
        self, method: str, path: str, *, key: str | None = "", headers: Mapping[str, str] | None = None, **how: Any
    ) -> Reply:
        async with self.session.request(
            method, self.url + path, headers=self.authorized(key, headers), **how
        ) as response:
            return Reply(response.status, response.headers, await response.read())

    async def answers(self) -> bool:
        """Whether the service answers at all."""
        try:
            return (await self.get("/livez", key=None)).status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def get(self, path: str, **how: Any) -> Reply:
        return await self.ask("GET", path, **how)

    async def send(self, body: bytes | str, media: str = STRUCTURED, *, ledger: str = "main", **how: Any) -> Reply:
        """Post bytes as they are."""
        headers = {"Content-Type": media} | dict(how.pop("headers", None) or {})
        return await self.ask("POST", f"/v1/ledgers/{ledger}/events", data=body, headers=headers, **how)

    async def post(self, *events: Any, **how: Any) -> Reply:
        """Post one event in structured mode, several in a batch."""
        one = len(events) == 1
        return await self.send(msgspec.json.encode(events[0] if one else events), STRUCTURED if one else BATCH, **how)

    async def head(self, ledger: str = "main") -> int:
        """The last position of a ledger."""
        return int((await self.get(f"/v1/ledgers/{ledger}")).json["head"])

    async def key(self, *scopes: str, **grants: Any) -> str:
        """The secret of a new key."""
        made = await self.ask("POST", "/v1/keys", json={"name": "a key of this test", "scopes": scopes} | grants)
        assert made.status == 201, made.body
        return str(made.json["key"])

    @contextlib.asynccontextmanager
    async def raw(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection on which to send what no client would."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[LedgerService]:
    """Run the ledger service with these settings; on leaving, stop it as a signal does."""
    logs = structlog.get_config()
    configure_logs(settings)
    service = asyncio.create_task(run(settings))
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS_MAX)) as session:
            asked = LedgerService(settings, session)
            await holds(asked.answers, meanwhile=service)
            yield asked
    finally:
        service.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await service
        structlog.configure(**logs)


@pytest.fixture
async def ledger(database: "Database") -> AsyncIterator[LedgerService]:
    """A ledger service on a database of this test's own."""
    async with serving(database.settings) as service:
        yield service


async def holds(condition: Callable[[], Awaitable[Any]], *, meanwhile: "asyncio.Task[Any] | None" = None) -> Any:
    """Wait until a condition holds, and return what it gave. A task that must go on meanwhile is watched."""
    deadline = time.monotonic() + SECONDS_MAX
    while not (found := await condition()):
        if meanwhile is not None and meanwhile.done():
            meanwhile.result()
        assert time.monotonic() < deadline, "the condition did not come to hold"
        await asyncio.sleep(0.02)
    return found


def profile(account: str = "acme", /, **attributes: Any) -> Any:
    """A well-formed observation, with these attributes of CloudEvents."""
    return event("account.profiled", account=account, attributes={"industry": "banking"}) | attributes


def example(type: str, /, **data: Any) -> Any:
    """The example of a type that is named in short, some of its data replaced."""
    return event(type, **(EXAMPLES[f"ledger.{type}.v1"] | data))
