"""While the database is away: said once, not by everybody who notices, and waited for with growing patience."""

import asyncio
import time

import structlog

RETRY_SECONDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0)  # Between tries; the last one repeats.

_log = structlog.get_logger()


class Outage:
    """Whether the database is away, as all tasks of one process see it."""

    def __init__(self) -> None:
        self._since: float | None = None

    @property
    def is_on(self) -> bool:
        return self._since is not None

    async def pause(self, error: BaseException) -> None:
        """Wait before the next try: a moment at first, longer the longer the outage lasts."""
        if self._since is None:
            self._since = time.monotonic()
            _log.warning("database_unavailable", reason=str(error) or type(error).__name__)
        lasted = time.monotonic() - self._since
        await asyncio.sleep(next((pause for pause in RETRY_SECONDS if pause >= lasted), RETRY_SECONDS[-1]))

    def over(self) -> None:
        """The database has answered."""
        if self._since is not None:
            _log.info("database_available", away_seconds=round(time.monotonic() - self._since, 3))
            self._since = None
