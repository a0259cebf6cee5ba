"""Integrates what was recorded into the tree of its log, and signs checkpoints, for all ledgers of the database.

One process does so at a time: the one that holds an advisory lock. What it keeps follows from the log, so whoever takes
over goes on from what is there. A checkpoint is kept outside the database before it is kept inside: none is published
that the outside does not know.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType

import asyncpg
import structlog
from prometheus_client import Gauge

from services.kept_outside import KeptOutside
from services.ledger.history import Doubt, check
from services.postgres import UNAVAILABLE, connect
from services.proof.checkpoint import Checkpoint
from services.proof.growth import Edge, grow
from services.signing import SigningKeys
from services.tree import Kept, Tree

LOCK = 0x1ED6E3  # Any constant of our own: one process integrates at a time.
LEAVES_AT_ONCE_MAX = 65_536
EVENTS_CHANNEL = "ledger_events"  # The payload is the name of the ledger that has new events.
SWEEP_SECONDS = 5.0  # Between two looks at ledgers of which nothing was said.
REST_SECONDS = 0.2  # Between two looks at what was recorded.
SIGN_SECONDS_MIN = 1.0  # Between two checkpoints of a ledger. After a pause the next is signed at once.
RETRY_SECONDS = 1.0

_log = structlog.get_logger()
_size = Gauge("ledger_tree_size", "Leaves of the last checkpoint that was signed.", ["ledger"])


class TreeError(Exception):
    """What is kept of a tree cannot be of its log; the text says why."""


class Integrator:
    """Entering starts it; leaving ends it after the step that is under way.

    `ledgers`: name and origin of every ledger. `outside`: where its checkpoints are kept.
    """

    def __init__(
        self,
        url: str,
        ledgers: Callable[[], Awaitable[Sequence[tuple[str, str]]]],
        keys: SigningKeys,
        outside: Callable[[str], KeptOutside],
    ) -> None:
        self._url = url
        self._ledgers = ledgers
        self._keys = keys
        self._outside = outside
        self._grown: dict[str, _Growing] = {}
        self._doubts: dict[str, str] = {}

    async def __aenter__(self) -> "Integrator":
        self._task = asyncio.create_task(self._run(), name="integrator")
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
                await self._hold()
            except (*UNAVAILABLE, asyncpg.PostgresError) as error:
                _log.warning("not_integrated", reason=type(error).__name__, next="trying again")
            except Exception:
                _log.exception("not_integrated")
            await asyncio.sleep(RETRY_SECONDS)

    async def _hold(self) -> None:
        """Integrate as long as the lock is held. A lock is lost with its connection."""
        connection = await connect(self._url)
        try:
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
                return  # Another process integrates; whether it still does is asked again.
            self._grown = {}  # Another may have gone on meanwhile.
            said: set[str] = set()
            await connection.add_listener(EVENTS_CHANNEL, lambda *notice: said.add(notice[3]))
            origins: dict[str, str] = {}
            swept_at = -SWEEP_SECONDS
            while True:
                # A wake-up is a hint and may be lost; so now and then all ledgers are looked at.
                is_sweep = time.monotonic() - swept_at >= SWEEP_SECONDS
                if is_sweep or said - origins.keys():
                    origins, swept_at = dict(await self._ledgers()), time.monotonic()
                some = {*origins} if is_sweep else (said | self._unsigned()) & origins.keys()
                said.clear()
                for name in sorted(some):
                    try:
                        await self._integrate(connection, name, origins[name])
                    except UNAVAILABLE:
                        raise
                    except Exception:  # What is wrong with one ledger holds up no other.
                        _log.exception("not_integrated", ledger=name)
                        self._grown.pop(name, None)
                await asyncio.sleep(REST_SECONDS)
        finally:
            await connection.close()

    async def _integrate(self, connection: asyncpg.Connection, name: str, origin: str) -> None:
        growing = self._grown.get(name)
        if growing is not None and await growing.tree.size_of_log(connection) < growing.edge.size:
            growing = None  # The log is shorter than it was.
        if growing is None:
            tree = Tree(name)
            try:
                await check(connection, tree, origin, self._keys, self._outside(name))
            except Doubt as doubt:
                self._say(name, doubt)
                return
            self._doubts.pop(name, None)
            growing = self._grown[name] = await _Growing.begin(connection, tree)
        await growing.go_on(connection)
        if not growing.is_due(time.monotonic()):
            return
        signers = self._keys.signers(origin)
        edge = growing.edge
        note = str(Checkpoint(origin, edge.size, edge.root).signed(signers))
        await asyncio.to_thread(self._outside(name).keep, edge.size, note)
        await growing.tree.keep(connection, Kept(edge.size, note), [str(each.key) for each in signers])
        growing.signed(time.monotonic())
        _size.labels(name).set(edge.size)

    def _unsigned(self) -> set[str]:
        """The ledgers that have more than their last checkpoint has."""
        return {name for name, growing in self._grown.items() if growing.is_ahead}

    def _say(self, name: str, doubt: Doubt) -> None:
        """Once for each doubt: it is looked at again and again."""
        self._grown.pop(name, None)
        if self._doubts.get(name) != str(doubt):
            self._doubts[name] = str(doubt)
            _log.error("history_in_doubt", ledger=name, reason=str(doubt), next="`ledger accept-history`")


class _Growing:
    """The tree of one log, as far as it has been integrated."""

    def __init__(self, tree: Tree, edge: Edge, signed: int) -> None:
        self.tree = tree
        self.edge = edge
        self._signed = signed
        self._signed_at = -SIGN_SECONDS_MIN

    @classmethod
    async def begin(cls, connection: asyncpg.Connection, tree: Tree) -> "_Growing":
        """As far as tiles are kept. Raises TreeError."""
        full, size = await tree.full_leaves(connection), await tree.size_of_log(connection)
        if full > size:
            raise TreeError(f"the tiles that are kept have {full} leaves, and the log has {size} events")
        edge = await tree.edge(connection, full)
        last = await tree.last_checkpoint(connection)
        return cls(tree, edge, 0 if last is None else last.size)

    async def go_on(self, connection: asyncpg.Connection) -> None:
        """Integrate all that was recorded."""
        while leaves := await self.tree.leaves(connection, self.edge.size, LEAVES_AT_ONCE_MAX):
            edge, tiles = await asyncio.to_thread(grow, self.edge, leaves)
            await self.tree.add(connection, tiles)
            self.edge = edge
            if len(leaves) < LEAVES_AT_ONCE_MAX:
                break

    @property
    def is_ahead(self) -> bool:
        """Whether there is more than the last checkpoint has."""
        return self.edge.size > self._signed

    def is_due(self, now: float) -> bool:
        """Whether there is more, and the last checkpoint is old enough."""
        return self.is_ahead and now - self._signed_at >= SIGN_SECONDS_MIN

    def signed(self, now: float) -> None:
        self._signed, self._signed_at = self.edge.size, now
