"""The end of a log, looked at once for all who follow it.

Looks are shared and rest between them, so that readers without number cost the sequencer one query, not one each.
"""

import asyncio
import contextlib
import time
from types import TracebackType

from msgspec import Struct

from services.ledger.log import EventLog, Seen
from services.ledger.sequencer import Sequencer

POLL_SECONDS = 1.0
TAIL_SECONDS_MIN = 0.05


class Newest(Struct, frozen=True):
    """All events above `after` up to `through`."""

    after: int
    through: int
    events: list[Seen]

    def above(self, position: int) -> list[Seen]:
        """Those above a position; mostly it is that of all."""
        return self.events if position <= self.after else [seen for seen in self.events if seen.position > position]


class Tail:
    """Follows one log while somebody reads. Entering starts nothing yet; leaving ends a look that is under way."""

    def __init__(self, log: EventLog, sequencer: Sequencer) -> None:
        self._log = log
        self._sequencer = sequencer
        self._newest = Newest(0, 0, [])
        self._more = False
        self._looked_at = 0.0
        self._look: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Tail":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)

    async def beyond(self, after: int) -> Newest | None:
        """What follows the position `after`; after POLL_SECONDS at most, and then perhaps nothing.

        None if that lies further back than what is kept: read the log itself. Raises Unavailable.
        """
        looking = self._look is not None and not self._look.done()
        if not looking and self._newest.through < after:
            self._newest, self._more = Newest(after, after, []), False  # Nobody has followed for a while.
        if self._newest.through <= after:
            if self._look is None or self._look.done():
                self._look = asyncio.create_task(self._look_once(), name="look at the end of the log")
            # One reader that leaves does not end the look of the others.
            await asyncio.shield(self._look)
        return self._newest if self._newest.after <= after else None

    async def _look_once(self) -> None:
        after = self._newest.through
        await asyncio.sleep(self._looked_at + TAIL_SECONDS_MIN - time.monotonic())
        if not self._more:
            # Until this process has committed more, or until it is time to look what others have.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._sequencer.beyond(after)
        self._looked_at = time.monotonic()
        events, self._more = await self._log.newest(after)
        self._newest = Newest(after, events[-1].position if events else after, events)
