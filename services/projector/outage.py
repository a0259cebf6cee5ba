"""While the database is away: said once, not by everybody who notices, and waited for with growing patience."""

import asyncio
import contextlib
import time

import asyncpg
import structlog

from services.postgres import UNAVAILABLE, Unavailable

RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0)  # Between tries; the last one repeats.

# asyncpg calls it an internal error if a connection is lost in the middle of a COPY.
AWAY = (*UNAVAILABLE, Unavailable, asyncpg.InternalClientError)

_log = structlog.get_logger()


class Outage:
    """Whether the database is away, as all tasks of one process see it."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._back = asyncio.Event()

    async def pause(self, error: BaseException) -> None:
        """Wait before the next try: longer the longer the outage lasts, and until somebody else has had an answer."""
        if self._since is None:
            self._since = time.monotonic()
            self._back.clear()
            _log.warning("database_unavailable", reason=str(error) or type(error).__name__)
        lasted = time.monotonic() - self._since
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(next((pause for pause in RETRY_SECONDS if pause >= lasted), RETRY_SECONDS[-1])):
                await self._back.wait()

    def over(self) -> None:
        """The database has answered."""
        if self._since is not None:
            _log.info("database_available", away_seconds=round(time.monotonic() - self._since, 3))
            self._since = None
            self._back.set()
