"""An S3 service for tests: moto's server on a real port, and before it a proxy that loses requests or answers."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import boto3
import pytest
from aiohttp import web
from moto.server import ThreadedMotoServer

from tests.conftest import free_ports
from tests.cutting_proxy import Moment

BUCKET = "kept"
_HOPS = {"connection", "transfer-encoding", "content-length", "host", "expect", "keep-alive", "server", "date"}


class S3:
    """A service with one bucket, which locks objects where it is told to. `moments`: what happens to the next requests;
    then to all others, `otherwise`."""

    def __init__(self, url: str, client: Any) -> None:
        self.client = client
        """Goes to the service itself, past the proxy."""
        self.moments: list[Moment] = []
        self.otherwise: Moment = "through"
        self.seen: list[str] = []
        """The method and path of each request."""
        self._to = url

    @property
    def keys(self) -> list[str]:
        return [each["Key"] for each in self.client.list_objects_v2(Bucket=BUCKET).get("Contents", ())]

    def text(self, key: str) -> str:
        octets: bytes = self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return octets.decode()

    async def forward(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append(f"{request.method} {request.path}")
        moment = self.moments.pop(0) if self.moments else self.otherwise
        if moment != "unsent":
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOPS}
            async with (
                aiohttp.ClientSession(auto_decompress=False) as session,
                session.request(request.method, self._to + request.raw_path, data=body, headers=headers) as answer,
            ):
                content = await answer.read()
            if moment == "through":
                given = {name: value for name, value in answer.headers.items() if name.lower() not in _HOPS}
                return web.Response(body=content, status=answer.status, headers=given)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield f"http://127.0.0.1:{port}"
    server.stop()


@pytest.fixture
async def s3(moto: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3]:
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "a-test"),
        ("AWS_SECRET_ACCESS_KEY", "not-secret"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)

    async with aiohttp.ClientSession() as session, session.post(f"{moto}/moto-api/reset") as answer:
        assert answer.status == 200
    client = await asyncio.to_thread(boto3.client, "s3", endpoint_url=moto)
    await asyncio.to_thread(client.create_bucket, Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    s3 = S3(moto, client)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", s3.forward)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    (port,) = free_ports(1)
    await web.TCPSite(runner, "127.0.0.1", port).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
    yield s3
    await runner.cleanup()
