"""The master keys that a database knows: which are in use, and how one comes in the place of another.

Rotation has two steps. The first puts a new key before those in the file and wraps every sealing key by it; services go
on with either. The second retires the old ones, from when on the database takes nothing more under them, wraps what had
still come in, and takes them out of the file. Each may be cut short anywhere, and is then repeated.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import asyncpg
from msgspec import Struct

from services.postgres import ledger_schema
from services.sealing import MASTER_KEYS_MAX, MasterKeyError, MasterKeys, SealingKey, new_master_key
from services.secret_files import remove_unfinished
from services.statements import Statements

LOCK = 0x1ED6EB  # Any constant of our own: one rotation runs at a time.
WRAPPED_AT_ONCE_MAX = 1_000  # Of a transaction; so long an erasure may have to wait.
SWEEPS_MAX = 20
SWEEP_SECONDS = 0.5  # Between two sweeps, for those who hold what was left to let go of it.

Progress = Callable[[str, int, int], None]
"""Is told of a ledger how many of its sealing keys were wrapped anew, and how many there are to wrap."""

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class Rotated(Struct, frozen=True, kw_only=True):
    """What came of a step: the name of the master key that wraps now, those in use behind it, how many sealing keys
    were wrapped anew, and whether the master key was made now."""

    newest: str
    others: Sequence[str]
    wrapped: int
    made: bool


async def know_master_keys(connection: asyncpg.Connection, path: Path, *, new: bool) -> None:
    """See to it that there is a master key in `path`, made if there is none, and that the database takes it.

    In place of one that has sealed texts no other is taken, unless that one is given up as lost: `new`.
    Raises MasterKeyError.
    """
    masters = await _at_hand(connection, path, make=True, give_up=new)
    async with connection.transaction():
        if new:
            await connection.execute(_statements["lose"], masters.names)
        await _take(connection, masters)


async def rotate(connection: asyncpg.Connection, path: Path, progress: Progress) -> Rotated:
    """The first step: a new key in the file, and all is wrapped by it. A first step that was begun before is gone on
    with: the first key of the file is in use then, and so is another one there.

    `connection` is the owner's. Raises MasterKeyError.
    """
    await _be_alone(connection)
    masters = await _at_hand(connection, path)
    made = not await _is_begun(connection, masters)
    if made:
        if len(masters.names) >= MASTER_KEYS_MAX:
            raise MasterKeyError(f"{path} has {MASTER_KEYS_MAX} master keys, and no more are read: take some out of it")
        if not os.access(path.parent, os.W_OK):
            raise MasterKeyError(f"{path} cannot be written anew: its directory takes no files of this user")
        line, key = new_master_key()
        # Known before it is in the file: whoever finds it there may use it at once.
        await connection.execute(_statements["know"], key.name)
        masters.put_first(line)
    await _take(connection, masters)
    wrapped = await _wrap_anew(connection, masters, progress)
    others = await _others(connection, masters)
    return Rotated(newest=masters.newest.name, others=others, wrapped=wrapped, made=made)


async def finish(connection: asyncpg.Connection, path: Path, progress: Progress) -> Rotated:
    """The second step: the first key in the file is the only one from here on. Where it is, nothing is done.

    `connection` is the owner's. Raises MasterKeyError.
    """
    await _be_alone(connection)
    masters = await _at_hand(connection, path)
    await _take(connection, masters)
    await connection.execute(_statements["retire"], masters.newest.name)
    # Whatever was on its way in is there now, and nothing more comes.
    wrapped = await _wrap_anew(connection, masters, progress, every=True)

    others = await _others(connection, masters)
    await connection.execute(_statements["empty"], others)
    try:
        remove_unfinished(path)
    except OSError as error:
        raise MasterKeyError(f"what is left beside {path} cannot be removed ({error.strerror})") from error
    if len(masters.names) > 1:
        masters.keep_the_first()
    return Rotated(newest=masters.newest.name, others=[], wrapped=wrapped, made=False)


async def _be_alone(connection: asyncpg.Connection) -> None:
    """Until the connection ends."""
    if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", LOCK):
        raise MasterKeyError("a rotation of the master key is under way; wait until it has ended")


async def _at_hand(
    connection: asyncpg.Connection, path: Path, *, make: bool = False, give_up: bool = False
) -> MasterKeys:
    """The keys in the file, which open whatever is sealed here; made where nothing is, if that is asked for. Raises
    MasterKeyError."""
    known = await connection.fetch(_statements["all"])
    needed = [row["name"] for row in known if not row["lost"] and not row["emptied"]]
    needed = [name for name in needed if await _has_wrapped(connection, name)]
    lost = (
        f"Texts are sealed here under the master key {' and '.join(needed)}: put its file back. If it is lost for good,"
        " `ledger migrate --new-master-key` goes on with another, and those texts stay sealed for ever"
    )
    try:
        masters = MasterKeys.load_or_make(path) if make and (give_up or not needed) else MasterKeys(path)
    except MasterKeyError as error:
        raise MasterKeyError(f"{error}. {lost}" if needed else str(error)) from error
    if not give_up and not set(needed) <= {*masters.names}:
        raise MasterKeyError(f"{path} holds the master key {' and '.join(masters.names)}. {lost}")
    if masters.newest.name in {row["name"] for row in known if row["retired"]}:
        raise MasterKeyError(
            f"{path} begins with the master key {masters.newest.name}, which was retired: put the file of the newer one"
            " back. If that is lost for good, move this one away, and `ledger migrate --new-master-key` makes another"
        )
    return masters


async def _is_begun(connection: asyncpg.Connection, masters: MasterKeys) -> bool:
    """Whether a first step was taken, and no second. A key in the file may also be of another ledger, for an import."""
    rows = await connection.fetch(_statements["all"])
    in_use = {row["name"] for row in rows if not row["lost"] and not row["retired"]}
    return masters.newest.name in in_use and not in_use.isdisjoint(masters.names[1:])


async def _take(connection: asyncpg.Connection, masters: MasterKeys) -> None:
    await connection.execute(_statements["find"], masters.names)
    await connection.execute(_statements["know"], masters.newest.name)


async def _others(connection: asyncpg.Connection, masters: MasterKeys) -> list[str]:
    """The names of the master keys besides the newest that may have wrapped something which can be opened."""
    rows = await connection.fetch(_statements["all"])
    unsettled = [row["name"] for row in rows if not row["lost"] and not row["emptied"]]
    return [name for name in unsettled if name != masters.newest.name]


async def _wrap_anew(
    connection: asyncpg.Connection, masters: MasterKeys, progress: Progress, *, every: bool = False
) -> int:
    """Wrap by the newest key, in every ledger, what others wrap; how many that were. `every`: until nothing is left,
    even where somebody holds it at the moment.

    Raises MasterKeyError where something does not open, after all the rest.
    """
    others = await _others(connection, masters)
    wrapped, closed = 0, list[str]()
    for ledger in await _ledgers(connection):
        sweeping = _Sweeping(connection, ledger, masters, others, progress)
        wrapped += await sweeping.run(SWEEPS_MAX if every else 1)
        if every and sweeping.left > len(sweeping.closed):
            raise MasterKeyError(
                f"somebody holds sealing keys of the ledger {ledger}: end the long transaction that pg_stat_activity"
                " shows, and repeat the command"
            )
        closed += [f"position {position} of the ledger {ledger}" for position in sorted(sweeping.closed)]
    if closed:
        raise MasterKeyError(
            f"not every sealing key opens by the master key that is said to have wrapped it: {len(closed)} do not, the"
            f" first at {closed[0]}; all others were wrapped anew. Put back what was there from a backup, or redact the"
            " text; then repeat the command"
        )
    return wrapped


class _Sweeping:
    """The sealing keys of one ledger. `closed`: the positions of those that do not open; `left`: how many there are
    still, these among them."""

    def __init__(
        self,
        connection: asyncpg.Connection,
        ledger: str,
        masters: MasterKeys,
        others: Collection[str],
        progress: Progress,
    ) -> None:
        self.closed: set[int] = set()
        self.left = 0
        self._connection = connection
        self._ledger = ledger
        self._masters = masters
        self._others = [*others]
        self._progress = progress
        self._sql = _of(ledger)

    async def run(self, sweeps_max: int) -> int:
        """Sweep until nothing is left, or that often; how many were wrapped anew."""
        wrapped = 0
        self.left = total = await self._count()
        for sweep in range(sweeps_max):
            if self.left <= len(self.closed):
                break
            if sweep:
                await asyncio.sleep(SWEEP_SECONDS)
            # What comes in behind it meanwhile is not chased.
            position, last = 0, await self._connection.fetchval(self._sql["last"])
            while (seen := await self._wrap_some(position, last)) is not None:
                position, count = seen
                wrapped += count
                self._progress(self._ledger, wrapped, max(total, wrapped))
            self.left = await self._count()
        return wrapped

    async def _count(self) -> int:
        count: int = await self._connection.fetchval(self._sql["left"], self._others)
        return count

    async def _wrap_some(self, after: int, last: int) -> tuple[int, int] | None:
        """The last position that was looked at, and how many were wrapped anew; None behind the last one."""
        async with self._connection.transaction():
            rows = await self._connection.fetch(self._sql["some"], after, last, self._others, WRAPPED_AT_ONCE_MAX)
            if not rows:
                return None
            positions, fresh = [], []
            for row in rows:
                try:
                    key = self._masters.unwrap(SealingKey.of(row))
                except MasterKeyError:
                    self.closed.add(row["position"])
                    continue
                positions.append(row["position"])
                fresh.append(self._masters.newest.wrap(key, row["event_id"]))
            await self._connection.execute(self._sql["wrap_anew"], self._masters.newest.name, positions, fresh)
        return rows[-1]["position"], len(positions)


async def _has_wrapped(connection: asyncpg.Connection, master: str) -> bool:
    """Whether texts of any ledger are sealed under this master key."""
    for ledger in await _ledgers(connection):
        if await connection.fetchval(_of(ledger)["has_wrapped"], master):
            return True
    return False


async def _ledgers(connection: asyncpg.Connection) -> list[str]:
    return [row["name"] for row in await connection.fetch("SELECT name FROM registry.ledgers ORDER BY name")]


def _of(ledger: str) -> Statements:
    return _statements.bind(schema=ledger_schema(ledger))
