"""Work in the background that one process at a time does: the leader, which holds an advisory lock of the database.

The lock is lost with its connection, and then another process leads, or this one again.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

import asyncpg
import structlog

from services.postgres import UNAVAILABLE, Unavailable, connect

_log = structlog.get_logger()


class Leader(ABC):
    """Entering starts it; leaving ends it.

    `lock`: which work it is, as a number that no other work has. `failure`: what is logged when it fails; then, and
    while another process leads, it is tried again after `retry_seconds`.
    """

    def __init__(self, url: str, *, lock: int, failure: str, retry_seconds: float) -> None:
        self._url = url
        self._lock = lock
        self._failure = failure
        self._retry_seconds = retry_seconds

    @abstractmethod
    async def lead(self, connection: asyncpg.Connection) -> None:
        """Do the work, for as long as the connection lasts, which holds the lock. Another process may have done it
        before, so what is remembered of an earlier time may not hold."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name=self._failure)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self._stand()
            except (Unavailable, *UNAVAILABLE, asyncpg.PostgresError) as error:
                _log.warning(self._failure, reason=str(error) or type(error).__name__, next="trying again")
            except Exception:
                _log.exception(self._failure)
            await asyncio.sleep(self._retry_seconds)

    async def _stand(self) -> None:
        connection = await connect(self._url)
        try:
            while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", self._lock):  # noqa: ASYNC110
                await asyncio.sleep(self._retry_seconds)
            await self.lead(connection)
        finally:
            connection.terminate()
