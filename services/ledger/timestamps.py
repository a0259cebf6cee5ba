"""Has the latest checkpoint of each ledger timestamped now and then by an authority that is not ours (RFC 3161).

One process at a time does so: the one that holds an advisory lock. A timestamp is kept outside, beside its checkpoint,
before it is kept inside. Nothing waits for it: while the authority or the place outside is away, there is none.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
import asyncpg
import structlog

from services.kept_outside import KeptOutside
from services.leader import Leader
from services.proof.timestamp import RESPONSE_OCTETS_MAX, Request, TimestampError, time_of
from services.tree import Kept, Tree

LOCK = 0x1ED6E4  # Any constant of our own: one process asks for timestamps at a time.
LOOK_SECONDS = 1.0  # Between two looks whether a timestamp is due.
RETRY_SECONDS = 10.0  # Until it is tried again, after it failed for a ledger; and until the lock is.
AUTHORITY_SECONDS_MAX = 20.0
QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"

_log = structlog.get_logger()


class Timestamper(Leader):
    """`ledgers`: name and origin of every ledger. `outside`: where its checkpoints are kept.

    `authority`: the URL that is asked. `seconds`: the least time between two timestamps of a ledger.
    """

    def __init__(
        self,
        url: str,
        ledgers: Callable[[], Awaitable[Sequence[tuple[str, str]]]],
        outside: Callable[[str], KeptOutside],
        authority: str,
        seconds: int,
    ) -> None:
        super().__init__(url, lock=LOCK, failure="not_timestamped", retry_seconds=RETRY_SECONDS)
        self._ledgers = ledgers
        self._outside = outside
        self._authority = authority
        self._seconds = seconds
        self._not_before: dict[str, float] = {}

    async def lead(self, connection: asyncpg.Connection) -> None:
        timeout = aiohttp.ClientTimeout(total=AUTHORITY_SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                for name, _ in await self._ledgers():
                    if self._not_before.get(name, 0) <= time.monotonic():
                        await self._one(connection, session, name)
                await asyncio.sleep(LOOK_SECONDS)

    async def _one(self, connection: asyncpg.Connection, session: aiohttp.ClientSession, name: str) -> None:
        tree = Tree(name)
        checkpoint = await tree.to_timestamp(connection, self._seconds)
        if checkpoint is None:
            return
        try:
            response = await self._timestamp(session, self._outside(name), checkpoint)
        except (TimestampError, aiohttp.ClientError, TimeoutError, OSError) as error:
            self._not_before[name] = time.monotonic() + RETRY_SECONDS
            reason = str(error) or type(error).__name__
            _log.warning("not_timestamped", ledger=name, size=checkpoint.size, reason=reason, next="trying again")
            return
        await tree.keep_timestamp(connection, checkpoint.size, response)
        _log.info("checkpoint_timestamped", ledger=name, size=checkpoint.size)

    async def _timestamp(self, session: aiohttp.ClientSession, outside: KeptOutside, checkpoint: Kept) -> bytes:
        """A response that is kept outside."""
        shown = checkpoint.note.encode()

        def landed() -> bytes | None:
            file = outside.timestamp(checkpoint.size)
            return None if file is None else file.read_bytes()

        # It was kept there, and then this was cut short: what is written once is the one that counts.
        if (response := await asyncio.to_thread(landed)) is not None:
            time_of(response, shown)
            return response
        request = Request.of(shown)
        response = await self._ask(session, request)
        time_of(response, shown, nonce=request.nonce)
        await asyncio.to_thread(outside.keep_timestamp, checkpoint.size, response)
        return response

    async def _ask(self, session: aiohttp.ClientSession, request: Request) -> bytes:
        async with session.post(self._authority, data=request.octets, headers={"Content-Type": QUERY}) as answer:
            response = await answer.content.read(RESPONSE_OCTETS_MAX + 1)
            while len(response) <= RESPONSE_OCTETS_MAX and (more := await answer.content.read(RESPONSE_OCTETS_MAX)):
                response += more
            if answer.status != 200:
                raise TimestampError(f"the authority answered {answer.status}")
        return response
