"""Integrates what was recorded into the tree of its log, and signs checkpoints, for all ledgers of the database.

One process does so at a time: the one that holds an advisory lock. What it keeps follows from the log, so whoever takes
over goes on from what is there. A checkpoint is kept outside the database before it is kept inside: none is published
that the outside does not know.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Any

import asyncpg
import structlog
from prometheus_client import Gauge

from services.bucket import KeptOtherwise
from services.kept_outside import KeptOutside
from services.leader import Leader
from services.ledger.history import Doubt, goes_on, last_kept
from services.postgres import UNAVAILABLE, Unavailable
from services.proof.checkpoint import Checkpoint
from services.proof.growth import Edge, grow
from services.proof.note import Note
from services.signing import Signing, SigningKeyError
from services.tree import Database, Kept, Tree

LOCK = 0x1ED6E3  # Any constant of our own: one process integrates at a time.
LEAVES_AT_ONCE_MAX = 65_536
EVENTS_CHANNEL = "ledger_events"  # The payload is the name of the ledger that has new events.
SWEEP_SECONDS = 5.0  # Between two looks at ledgers of which nothing was said.
REST_SECONDS = 0.2  # Between two looks at what was recorded.
SIGN_SECONDS_MIN = 1.0  # Between two checkpoints of a ledger. After a pause the next is signed at once.
RETRY_SECONDS = 1.0
RETRY_OUTSIDE_SECONDS = 2.0  # Between two tries to sign a checkpoint and to keep it outside.

_log = structlog.get_logger()
_size = Gauge(
    "ledger_tree_size", "Leaves of the last checkpoint that was signed.", ["ledger"], multiprocess_mode="mostrecent"
)


class TreeError(Exception):
    """What is kept of a tree cannot be of its log; the text says why."""


class Integrator(Leader):
    """`ledgers`: name and origin of every ledger. `outside`: where its checkpoints are kept."""

    def __init__(
        self,
        url: str,
        ledgers: Callable[[], Awaitable[Sequence[tuple[str, str]]]],
        keys: Signing,
        outside: Callable[[str], KeptOutside],
    ) -> None:
        super().__init__(url, lock=LOCK, failure="not_integrated", retry_seconds=RETRY_SECONDS)
        self._ledgers = ledgers
        self._keys = keys
        self._outside = outside
        self._grown: dict[str, _Growing] = {}
        self._doubts: dict[str, str] = {}
        self._beyond: dict[str, int] = {}
        self._not_before: dict[str, float] = {}

    async def lead(self, connection: asyncpg.Connection) -> None:
        self._grown = {}  # Another may have gone on meanwhile.
        said: set[str] = set()
        await connection.add_listener(EVENTS_CHANNEL, lambda *notice: said.add(notice[3]))
        database = _InTurn(connection)
        origins: dict[str, str] = {}
        swept_at = -SWEEP_SECONDS
        busy: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                # A wake-up is a hint and may be lost; so now and then all ledgers are looked at.
                is_sweep = time.monotonic() - swept_at >= SWEEP_SECONDS
                if is_sweep or said - origins.keys():
                    origins, swept_at = dict(await self._ledgers()), time.monotonic()
                some = {*origins} if is_sweep else (said | self._unsigned()) & origins.keys()
                said &= busy.keys() | self._resting()
                # Each by itself: one whose keys or whose place outside do not answer holds up no other.
                for name in sorted(some - busy.keys() - self._resting()):
                    busy[name] = asyncio.create_task(self._one(database, name, origins[name]))
                await asyncio.sleep(REST_SECONDS)
                for name in [name for name, task in busy.items() if task.done()]:
                    busy.pop(name).result()
        finally:
            for task in busy.values():
                task.cancel()
            await asyncio.gather(*busy.values(), return_exceptions=True)

    async def _one(self, database: "_InTurn", name: str, origin: str) -> None:
        try:
            await self._integrate(database, name, origin)
        except _NotKept as not_kept:
            self._not_before[name] = time.monotonic() + RETRY_OUTSIDE_SECONDS
            _log.warning("checkpoint_not_kept", ledger=name, reason=str(not_kept), next="trying again")
        except (*UNAVAILABLE, Unavailable):
            raise
        except Exception:  # What is wrong with one ledger holds up no other.
            _log.exception("not_integrated", ledger=name)
            self._grown.pop(name, None)

    async def _integrate(self, database: "_InTurn", name: str, origin: str) -> None:
        growing = self._grown.get(name)
        if growing is not None and await growing.tree.size_of_log(database) < growing.edge.size:
            growing = None  # The log is shorter than it was.
        if growing is None:
            tree = Tree(name)
            try:
                with _not_kept(OSError):
                    last = await last_kept(self._outside(name))
                with _not_kept(SigningKeyError):
                    await goes_on(database, tree, origin, self._keys, last)
            except Doubt as doubt:
                self._say(name, doubt)
                return
            self._doubts.pop(name, None)
            growing = await _Growing.begin(database, tree)
            await growing.go_on(database)
            if last.checkpoint is not None:
                note = last.checkpoint.note.decode()
                size = Checkpoint.read(Note.read(last.checkpoint.note).text).size
                if size > growing.size_signed:
                    # Kept outside, and then whoever did so was cut short: so it is one note there and here.
                    await self._keep(database, growing, origin, Kept(size, note))
            self._grown[name] = growing
        await growing.go_on(database)
        await self._look_beyond(database, name, growing)
        if not growing.is_due(time.monotonic()):
            return
        edge = growing.edge
        with _not_kept(SigningKeyError, OSError):
            if growing.size_signed and not await asyncio.to_thread(self._outside(name).is_there):
                # Made anew, it would have this checkpoint alone, and know of none before.
                raise FileNotFoundError("the checkpoints that were kept outside are gone: bring them back")
            note = str(await self._keys.sign(origin, Checkpoint(origin, edge.size, edge.root).text))
            try:
                await asyncio.to_thread(self._outside(name).keep, edge.size, note)
            except KeptOtherwise as otherwise:
                # Of the same events, by other keys: then that one counts. Or of another log, which the next look tells.
                _log.warning("checkpoint_not_kept", ledger=name, reason=str(otherwise), next="looking what it says")
                self._grown.pop(name, None)
                return
        await self._keep(database, growing, origin, Kept(edge.size, note))
        _size.labels(name).set(edge.size)

    async def _keep(self, database: "_InTurn", growing: "_Growing", origin: str, checkpoint: Kept) -> None:
        """Keep inside what is kept outside."""
        with _not_kept(SigningKeyError):
            keys = [str(key) for key in await self._keys.verifier_keys(origin)]
        async with database.alone() as connection:
            await growing.tree.keep(connection, checkpoint, keys)
        growing.signed(checkpoint.size, time.monotonic())

    async def _look_beyond(self, database: "_InTurn", name: str, growing: "_Growing") -> None:
        """Say that a checkpoint is kept of more than the log has, once for each: it is looked at again and again."""
        last = await growing.tree.last_checkpoint(database)
        if last is None or last.size <= growing.edge.size:
            self._beyond.pop(name, None)
        elif self._beyond.get(name) != last.size:
            self._beyond[name] = last.size
            reason = f"a checkpoint is kept of {last.size} events, and the log has {growing.edge.size}"
            _log.error("checkpoint_beyond_log", ledger=name, reason=reason, next="`ledger audit`")

    def _resting(self) -> set[str]:
        """The ledgers whose keys or whose place outside failed a moment ago."""
        now = time.monotonic()
        self._not_before = {name: until for name, until in self._not_before.items() if until > now}
        return {*self._not_before}

    def _unsigned(self) -> set[str]:
        """The ledgers that have more than their last checkpoint has."""
        return {name for name, growing in self._grown.items() if growing.is_ahead}

    def _say(self, name: str, doubt: Doubt) -> None:
        """Once for each doubt: it is looked at again and again."""
        self._grown.pop(name, None)
        if self._doubts.get(name) != str(doubt):
            self._doubts[name] = str(doubt)
            _log.error("history_in_doubt", ledger=name, reason=str(doubt), next="`ledger accept-history`")


class _NotKept(Exception):
    """A checkpoint could not be signed, or not be kept or read outside; the text says why."""


@contextlib.contextmanager
def _not_kept(*errors: type[Exception]) -> Iterator[None]:
    """Turn these errors, of what is asked outside the database, into one of their own."""
    try:
        yield
    except errors as error:
        raise _NotKept(str(error)) from error


class _InTurn:
    """A connection that several tasks ask, one statement at a time: the one that holds the lock."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[asyncpg.Connection]:
        async with self._turn:
            yield self._connection

    async def fetch(self, *query: Any) -> Any:
        async with self._turn:
            return await self._connection.fetch(*query)

    async def fetchrow(self, *query: Any) -> Any:
        async with self._turn:
            return await self._connection.fetchrow(*query)

    async def fetchval(self, *query: Any) -> Any:
        async with self._turn:
            return await self._connection.fetchval(*query)

    async def execute(self, *query: Any) -> Any:
        async with self._turn:
            return await self._connection.execute(*query)


class _Growing:
    """The tree of one log, as far as it has been integrated."""

    def __init__(self, tree: Tree, edge: Edge, signed: int) -> None:
        self.tree = tree
        self.edge = edge
        self.size_signed = signed
        self._signed_at = -SIGN_SECONDS_MIN

    @classmethod
    async def begin(cls, database: Database, tree: Tree) -> "_Growing":
        """As far as tiles are kept. Raises TreeError."""
        full, size = await tree.full_leaves(database), await tree.size_of_log(database)
        if full > size:
            raise TreeError(f"the tiles that are kept have {full} leaves, and the log has {size} events")
        edge = await tree.edge(database, full)
        # Whatever is kept of more than the log has, what is recorded goes on being signed.
        last = await tree.last_checkpoint(database, size)
        return cls(tree, edge, 0 if last is None else last.size)

    async def go_on(self, database: Database) -> None:
        """Integrate all that was recorded."""
        while leaves := await self.tree.leaves(database, self.edge.size, LEAVES_AT_ONCE_MAX):
            edge, tiles = await asyncio.to_thread(grow, self.edge, leaves)
            await self.tree.add(database, tiles)
            self.edge = edge
            if len(leaves) < LEAVES_AT_ONCE_MAX:
                break

    @property
    def is_ahead(self) -> bool:
        """Whether there is more than the last checkpoint has."""
        return self.edge.size > self.size_signed

    def is_due(self, now: float) -> bool:
        """Whether there is more, and the last checkpoint is old enough."""
        return self.is_ahead and now - self._signed_at >= SIGN_SECONDS_MIN

    def signed(self, size: int, now: float) -> None:
        self.size_signed, self._signed_at = size, now
