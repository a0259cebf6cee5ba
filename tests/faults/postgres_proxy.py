"""A TCP proxy before PostgreSQL that knows where one statement ends and the next begins, and can cut there.

It speaks enough of the protocol (version 3, https://www.postgresql.org/docs/current/protocol-message-formats.html)
to see which statement a client runs, simple or prepared, and when the server has answered it.
"""

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Literal
from urllib.parse import parse_qs, urlsplit, urlunsplit

Moment = Literal["unsent", "unanswered", "silent"]
"""Unsent: the statement does not reach the server, and the connection breaks. Unanswered: the server has carried it
out, its answer is lost, and the connection breaks. Silent: the server has carried it out, and nothing comes."""


class Fault:
    """Waits for a statement and strikes once, on whichever connection runs it first."""

    def __init__(self, statement: Callable[[str], bool], moment: Moment, skip: int) -> None:
        self.moment = moment
        self.struck = asyncio.Event()
        self._statement = statement
        self._skip = skip

    def takes(self, sql: str) -> bool:
        if self.struck.is_set() or not self._statement(sql):
            return False
        self._skip -= 1
        return self._skip < 0


class PostgresProxy:
    """Forwards every connection to one server. `statements` is what clients have run, in order."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        self._host = parts.hostname or query["host"][0]
        self._port = int(parts.port or query.get("port", ["5432"])[0])
        self._fault: Fault | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.statements: list[str] = []
        self.refusing = False

    def strike(self, statement: Callable[[str], bool], moment: Moment, *, skip: int = 0) -> Fault:
        """Arm a fault for the next statement that this holds of, after `skip` others."""
        self._fault = Fault(statement, moment, skip)
        return self._fault

    def cut_everything(self) -> None:
        """Break every connection, whatever it is about."""
        for writer in self._writers:
            writer.transport.abort()

    def address(self, url: str) -> str:
        """The same database and user, through this proxy."""
        parts = urlsplit(url)
        credentials = parts.netloc.rpartition("@")[0]
        host, port = self._server.sockets[0].getsockname()
        return urlunsplit(("postgresql", f"{credentials}@{host}:{port}", parts.path, "sslmode=disable", ""))

    @classmethod
    @contextlib.asynccontextmanager
    async def before(cls, url: str) -> AsyncIterator["PostgresProxy"]:
        """A proxy before the server of this URL."""
        proxy = cls(url)
        proxy._server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        try:
            yield proxy
        finally:
            proxy._server.close()
            proxy.cut_everything()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self.refusing:
            to_client.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        if self._host.startswith("/"):
            server, to_server = await asyncio.open_unix_connection(f"{self._host}/.s.PGSQL.{self._port}")
        else:
            server, to_server = await asyncio.open_connection(self._host, self._port)
        writers = {to_client, to_server}
        self._writers |= writers
        try:
            await _Connection(self, client, to_client, server, to_server).run()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # One side has gone, or a fault has struck; the other side is to notice.
        finally:
            for writer in writers:
                writer.transport.abort()
            self._writers -= writers
            self._tasks.discard(task)


class _Cut(ConnectionError):
    pass


class _Connection:
    """One client's connection. Its pending statements wait for the server to be ready for the next."""

    def __init__(
        self,
        proxy: PostgresProxy,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._to_client = to_client
        self._server = server
        self._to_server = to_server
        self._prepared: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}
        self._pending: deque[Fault | None] = deque()
        self._running: Fault | None = None

    async def run(self) -> None:
        (length,) = struct.unpack("!I", head := await self._client.readexactly(4))
        self._to_server.write(head + await self._client.readexactly(length - 4))
        both = [asyncio.create_task(self._requests()), asyncio.create_task(self._replies())]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.gather(*both, return_exceptions=True)

    async def _requests(self) -> None:
        while True:
            kind, body = await _message(self._client)
            match kind:
                case b"P":
                    name, sql, _ = body.split(b"\0", 2)
                    self._prepared[name] = sql.decode()
                case b"B":
                    portal, name, _ = body.split(b"\0", 2)
                    self._portals[portal] = self._prepared[name]
                case b"E":
                    self._runs(self._portals[body.split(b"\0", 1)[0]])
                case b"Q":
                    self._runs(body[:-1].decode())
            if self._running is not None and self._running.moment == "unsent":
                self._running.struck.set()
                raise _Cut
            self._to_server.write(kind + struct.pack("!I", len(body) + 4) + body)
            if kind in b"QS":  # The server answers each of these with one ReadyForQuery.
                self._pending.append(self._running)
                self._running = None
            await self._to_server.drain()

    def _runs(self, sql: str) -> None:
        self._proxy.statements.append(sql)
        fault = self._proxy._fault
        if fault is not None and fault.takes(sql):
            self._running = fault

    async def _replies(self) -> None:
        ready = False  # The first ReadyForQuery ends the start-up; no statement asked for it.
        while True:
            kind, body = await _message(self._server)
            fault = self._pending[0] if ready and self._pending else None
            if kind == b"Z":
                if ready and self._pending:
                    self._pending.popleft()
                ready = True
                if fault is not None:
                    fault.struck.set()
                    if fault.moment == "unanswered":
                        raise _Cut
            if fault is None or kind == b"G":  # Asks for the rows of a COPY, without which it is not carried out.
                self._to_client.write(kind + struct.pack("!I", len(body) + 4) + body)
                await self._to_client.drain()
            elif fault.struck.is_set() and fault.moment == "silent":
                # From here on nothing more comes, until somebody breaks the connection.
                await asyncio.Event().wait()


async def _message(stream: asyncio.StreamReader) -> tuple[bytes, bytes]:
    kind = await stream.readexactly(1)
    (length,) = struct.unpack("!I", await stream.readexactly(4))
    return kind, await stream.readexactly(length - 4)
