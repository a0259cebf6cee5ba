"""An HTTP proxy before the ledger that loses or delays requests or answers, in turn or by chance, as networks do."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Literal

import aiohttp
import msgspec
from aiohttp import web

from tests.conftest import free_ports

Moment = Literal["through", "unsent", "unanswered", "held"]
"""Through: as if it were not there. Unsent: the request does not reach the ledger, and the connection breaks.
Unanswered: the ledger has answered, the answer is lost, and the connection breaks. Held: the ledger has answered, which
sets `holding`, and the answer comes once `release` is set."""


class CuttingProxy:
    """Forwards posts to a ledger. `moment` is asked for each request; `bodies` is what clients have sent, in order."""

    def __init__(self, url: str, moment: Callable[[], Moment]) -> None:
        self._to = url
        self.moment = moment
        self.bodies: list[bytes] = []
        self.statuses: list[int] = []
        """What the ledger has answered, whether it came through or not."""
        self.unreached = 0
        """Requests that the ledger did not answer."""
        self.holding = asyncio.Event()
        self.release = asyncio.Event()
        self.duplicates = 0
        """Events of which the ledger has answered that they were recorded before."""

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, url: str, moment: Callable[[], Moment]) -> AsyncIterator["CuttingProxy"]:
        proxy = cls(url, moment)
        application = web.Application(client_max_size=32 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", proxy._forward)
        runner = web.AppRunner(application, shutdown_timeout=0)
        await runner.setup()
        (port,) = free_ports(1)
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            proxy.url = f"http://127.0.0.1:{port}"
            async with aiohttp.ClientSession() as session:
                proxy._session = session
                yield proxy
        finally:
            proxy.release.set()
            await runner.cleanup()

    async def _forward(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.bodies.append(body)
        moment = self.moment()
        if moment == "unsent":
            return self._cut(request)
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        try:
            async with self._session.request(
                request.method, self._to + request.path_qs, data=body, headers=headers
            ) as answer:
                content = await answer.read()
        except aiohttp.ClientError:
            self.unreached += 1
            return self._cut(request)
        self.statuses.append(answer.status)
        if answer.status in (200, 201):
            self.duplicates += sum(each["duplicate"] for each in msgspec.json.decode(content)["results"])
        if moment == "unanswered":
            return self._cut(request)
        if moment == "held":
            self.holding.set()
            await self.release.wait()
        return web.Response(
            body=content, status=answer.status, headers={"Content-Type": answer.headers["Content-Type"]}
        )

    def _cut(self, request: web.Request) -> web.StreamResponse:
        if request.transport is not None:  # Otherwise the client has gone by itself.
            request.transport.abort()
        return web.Response()
