"""A timestamp authority for tests: `openssl ts` behind a small HTTP server, below a CA of its own."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from aiohttp import web

from tests.conftest import free_ports

Manner = Literal["good", "failing", "garbage", "rejecting", "of another request", "endless", "silent"]

_CONFIGURATION = """\
[tsa]
default_tsa = test
[test]
serial = serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
accuracy = secs:1
ordering = yes
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""
_EXTENSIONS = """\
basicConstraints = CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
"""


class Authority:
    """`manner`: how it answers from now on. `ca`: the file of its CA's certificate."""

    def __init__(self, folder: Path) -> None:
        self.manner: Manner = "good"
        self.asked = 0
        self.ca = folder / "tsa-ca.pem"
        self._folder = folder
        self._closing = asyncio.Event()

    @classmethod
    def founded(cls, folder: Path) -> "Authority":
        """One that can reply, and is not asked over HTTP."""
        folder.mkdir()
        authority = cls(folder)
        authority._found()
        return authority

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path) -> AsyncIterator["Authority"]:
        authority = await asyncio.to_thread(cls.founded, folder)
        application = web.Application()
        application.router.add_post("/", authority._answer)
        runner = web.AppRunner(application, shutdown_timeout=0)
        await runner.setup()
        (port,) = free_ports(1)
        await web.TCPSite(runner, "127.0.0.1", port).start()
        authority.url = f"http://127.0.0.1:{port}/"
        yield authority
        authority._closing.set()
        await runner.cleanup()

    def reply(self, query: bytes) -> bytes:
        (self._folder / "query").write_bytes(query)
        asked = (
            "-config",
            "tsa.cnf",
            "-queryfile",
            "query",
            "-signer",
            "tsa.pem",
            "-inkey",
            "tsa.key",
            "-out",
            "reply",
        )
        self._openssl("ts", "-reply", *asked)
        return (self._folder / "reply").read_bytes()

    def _found(self) -> None:
        (self._folder / "tsa.cnf").write_text(_CONFIGURATION)
        (self._folder / "extensions").write_text(_EXTENSIONS)
        (self._folder / "serial").write_text("01\n")
        key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self._openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "tsa-ca.pem", "-days", "2", "-subj", "/CN=CA")
        self._openssl("req", *key, "-keyout", "tsa.key", "-out", "tsa.csr", "-subj", "/CN=TSA")
        signed = ("-CA", "tsa-ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
        self._openssl("x509", "-req", "-in", "tsa.csr", *signed, "-out", "tsa.pem")

    def _openssl(self, *arguments: str) -> None:
        ended = subprocess.run(["openssl", *arguments], cwd=self._folder, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        assert request.content_type == "application/timestamp-query"
        query = await request.read()
        self.asked += 1
        match self.manner:
            case "failing":
                return web.Response(status=500)
            case "garbage":
                body = b"<html>welcome to the hotel's network</html>"
            case "rejecting":
                body = await asyncio.to_thread(self.reply, b"not a query")
            case "of another request":
                body = self._before
            case "endless":
                return web.Response(body=bytes(1024 * 1024))
            case "silent":
                await self._closing.wait()
                body = b""
            case "good":
                body = self._before = await asyncio.to_thread(self.reply, query)
        return web.Response(body=body, content_type="application/timestamp-reply")
