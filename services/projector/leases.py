"""Which ledgers this process keeps up with, where several processes share them.

A lease is an advisory lock, and all leases of a process are held by one session. So the database takes them back by
itself: at once when the process has ended, and after LEASE_SECONDS when nothing is heard of it (it is stopped, its
host is gone, the network is cut), because then the session is ended. Who wakes up after that may think for a moment
that a lease is still its own; that cursors move by compare-and-swap only is what keeps it from writing.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterable
from hashlib import sha256
from pathlib import Path

import asyncpg
import structlog

from services.postgres import connect
from services.projector.outage import AWAY, Outage
from services.projector.projections import Projection
from services.statements import Statements

LEASE_SECONDS = 3.0  # Without a sign of life.
LOOK_SECONDS = 0.5  # Between two looks, which are the signs of life.
CLOSE_SECONDS_MAX = 1.0  # For leases to be given back; then the connection is cut.

_statements = Statements.load(Path(__file__).with_suffix(".sql"))
_log = structlog.get_logger()


class Leases:
    """`ledgers`: those that there are, as far as this process knows. `on_taken` is told of each that becomes its own.

    Only processes with the same projections share: one of another version has leases of its own, and so goes on to
    extend the read models that its version has built.
    """

    def __init__(
        self,
        url: str,
        outage: Outage,
        projections: Iterable[Projection],
        *,
        ledgers: Callable[[], Collection[str]],
        on_taken: Callable[[str], None],
    ) -> None:
        self.held: frozenset[str] = frozenset()
        self._url = url
        self._outage = outage
        self._versions = sha256(" ".join(sorted(each.version for each in projections)).encode()).hexdigest()[:16]
        self._ledgers = ledgers
        self._on_taken = on_taken
        self._asked = asyncio.Event()

    def look(self) -> None:
        """There may be another ledger."""
        self._asked.set()

    async def keep(self) -> None:
        """Take leases and keep them, until cancelled, whatever becomes of the database."""
        while True:
            try:
                connection = await connect(self._url)
            except (*AWAY, asyncpg.PostgresError) as error:
                await self._outage.pause(error)
                continue
            try:
                await self._keep(connection)
            except (*AWAY, asyncpg.PostgresError) as error:
                _log.warning("leases_lost", ledgers=len(self.held), reason=str(error) or type(error).__name__)
                await self._outage.pause(error)
            finally:
                self.held = frozenset()
                with contextlib.suppress(*AWAY):
                    await connection.close(timeout=CLOSE_SECONDS_MAX)

    async def _keep(self, connection: asyncpg.Connection) -> None:
        await connection.execute(f"SET idle_session_timeout = '{LEASE_SECONDS}s'")
        await connection.execute(_statements["join"], self._versions)
        while True:
            self._asked.clear()
            ledgers = self._ledgers()
            wanted = [name for name in ledgers if name not in self.held]
            processes, taken = await connection.fetchrow(_statements["take"], self._versions, wanted)
            held = self.held.union(taken)
            excess = sorted(held)[share(len(ledgers), processes) :]
            if excess:
                await connection.execute(_statements["give_back"], self._versions, excess)
            before, self.held = self.held, held.difference(excess)
            if before != self.held:
                _log.info("leases_changed", ledgers=len(self.held), of=len(ledgers), processes=processes)
            for name in self.held - before:
                self._on_taken(name)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._asked.wait()


def share(ledgers: int, processes: int) -> int:
    """How many ledgers one of several processes takes at most: so many that none is left over."""
    return -(-ledgers // max(1, processes))
