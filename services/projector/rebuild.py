"""A read model built anew beside the live one, from position 1, and put in its place when it has caught up.

The live one keeps answering until one short transaction swaps the two. Meanwhile the table `rebuilds` says how far it
is. What a rebuild by the same version leaves behind that was cut short, or could not swap, the next goes on with.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import chain, repeat
from pathlib import Path

import asyncpg
import structlog
from msgspec import Struct

from services.postgres import ledger_schema, rebuild_schema
from services.projector.apply import Trouble, Values, apply, fold_page, prepare, topics_of, write
from services.projector.feed import read_page
from services.projector.outage import AWAY
from services.projector.projections import Projection
from services.statements import Statements, fill, quote

LOCK_SECONDS_MAX = 3.0  # For locks that no query waits behind.
SWAP_LOCK_SECONDS_MAX = 0.1  # Whoever asks meanwhile waits behind us, so we do not wait for long, and seldom.
SWAP_PAUSES_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)  # Between tries; the last one repeats.
SWAP_SECONDS_MAX = 60.0  # Then others that are to be built anew have a turn.

# A process that is stopped, or whose host is gone, loses its session: somebody else goes on, and nobody waits for the
# locks that it held.
SILENT_SECONDS_MAX = 5

_LIMITS = ("idle_session_timeout", "idle_in_transaction_session_timeout")
_log = structlog.get_logger()
_statements = Statements.load(Path(__file__).with_name("queries.sql"))

Progress = Callable[[int, int], None]
"""Told the position that a rebuild has reached, and the head of the log."""


class RebuildError(Exception):
    """A rebuild did not come to its end; the live read model is as it was."""


class RebuildInProgress(RebuildError):
    """Somebody else is rebuilding this projection."""


class SwapPostponed(RebuildError):
    """The live read model is read without a break. What was built stays, and the next rebuild goes on from there."""


class RebuildBehind(RebuildError):
    """An event that the live read model has applied cannot be applied anew."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(f"position {trouble.position} cannot be applied anew: {trouble.reason}")
        self.trouble = trouble


class UnderWay(Struct, frozen=True):
    """A rebuild that a process is at. `begun_from`: the position from which this process went on, at `begun_at`."""

    projection: str
    version: str
    position: int
    begun_from: int
    begun_at: datetime
    updated_at: datetime

    @property
    def events_per_second(self) -> float | None:
        """None before there is anything to tell it from."""
        seconds = (self.updated_at - self.begun_at).total_seconds()
        return (self.position - self.begun_from) / seconds if self.position > self.begun_from and seconds > 0 else None

    def seconds_left(self, head: int) -> float | None:
        """How long the rest of the log takes, up to this head, if it goes on as it went. None: that cannot be told."""
        rate = self.events_per_second
        return None if rate is None else max(0, head - self.position) / rate


class Rebuilt(Struct, frozen=True):
    """Where a rebuilt read model stands, and what keeps it from going on."""

    position: int
    trouble: Trouble | None


async def under_way(connection: asyncpg.Connection, ledger: str) -> list[UnderWay]:
    """What is being built anew in a ledger, by whichever process."""
    statements = _statements.bind(schema=ledger_schema(ledger))
    return [UnderWay(*row) for row in await connection.fetch(statements["under_way"], ledger)]


async def rebuild(
    connection: asyncpg.Connection, ledger: str, projection: Projection, *, progress: Progress | None = None
) -> Rebuilt:
    """Build a projection anew from position 1, on a connection of its own, and swap it in. It goes on where one by the
    same version had got that was cut short.

    Raises RebuildError, and what the database raises; then the live read model is as it was, or was swapped whole.
    """
    async with _alone(connection, ledger, projection):
        return await _Rebuild(connection, ledger, projection, progress or _untold).run()


async def bring_up_to_date(
    connection: asyncpg.Connection, ledger: str, projection: Projection, *, progress: Progress | None = None
) -> None:
    """The same if another version has built the live one, and not if somebody has been faster. Raises like
    `rebuild`."""
    async with _alone(connection, ledger, projection):
        statements = _statements.bind(schema=ledger_schema(ledger))
        if await connection.fetchval(statements["built_by"], projection.name) != projection.version:
            await _Rebuild(connection, ledger, projection, progress or _untold).run()


def _untold(position: int, head: int) -> None:
    pass


@asynccontextmanager
async def _alone(connection: asyncpg.Connection, ledger: str, projection: Projection) -> AsyncIterator[None]:
    """Nobody else rebuilds this projection inside the block. Raises RebuildInProgress."""
    statements = _statements.bind(schema=ledger_schema(ledger))
    if not await connection.fetchval(statements["lock_rebuild"], ledger, projection.name):
        raise RebuildInProgress(f"{projection.name} of the ledger {ledger} is being rebuilt by another process")
    try:
        yield
    finally:
        with contextlib.suppress(*AWAY):  # The lock ends with its session anyway.
            await connection.fetchval(statements["unlock_rebuild"], ledger, projection.name)


class _Rebuild:
    def __init__(self, connection: asyncpg.Connection, ledger: str, projection: Projection, progress: Progress) -> None:
        self._connection = connection
        self._ledger = ledger
        self._projection = projection
        self._progress = progress
        self._live = ledger_schema(ledger)
        self._beside = rebuild_schema(ledger)
        self._statements = _statements.bind(schema=self._live)
        self._topics = topics_of([projection])

    async def run(self) -> Rebuilt:
        connection = self._connection
        # Rows and cursor are lost together, if at all, and can be derived again.
        await connection.execute("SET synchronous_commit = off")
        await prepare(connection)
        for limit in _LIMITS:
            await connection.execute(f"SET {limit} = '{SILENT_SECONDS_MAX}s'")
        try:
            return await self._run()
        finally:
            # Whoever has given the connection may leave it alone for longer.
            with contextlib.suppress(*AWAY):
                for limit in _LIMITS:
                    await connection.execute(f"RESET {limit}")

    async def _run(self) -> Rebuilt:
        projection = self._projection
        if not await self._is_projected():
            raise RebuildError(
                f"there is no {projection.name} of a ledger {self._ledger} yet; check the name, or start the projector"
            )
        position, indexed = await self._begin()
        _log.info("rebuild_begun", ledger=self._ledger, projection=projection.name, after=position)
        try:
            position, _ = await self._follow(position)
            if not indexed:
                await self._index()
            # To index took a while, in which the log went on. What is left for the swap is short.
            position, _ = await self._follow(position)
            rebuilt = await self._swap_when_free(position)
        except (SwapPostponed, asyncio.CancelledError):
            raise
        except BaseException:
            # Whoever has lost the session cannot, and leaves it to the next to go on.
            with contextlib.suppress(*AWAY):
                await self._forget()
            raise
        _log.info("projection_rebuilt", ledger=self._ledger, projection=projection.name, position=rebuilt.position)
        return rebuilt

    async def _begin(self) -> tuple[int, bool]:
        """The position that the tables beside the live ones have reached, and whether they are indexed."""
        connection, projection = self._connection, self._projection
        async with connection.transaction():
            await connection.execute(self._statements["lock_opening"], self._ledger)
            await connection.execute(self._statements["make_rebuilds"])
        async with connection.transaction():
            left = await connection.fetchrow(self._statements["go_on"], projection.name, projection.version)
            if left is not None:
                return left["position"], left["indexed"]
            await self._drop(self._beside)
            await connection.execute(fill(projection.tables_sql, schema=self._beside))
            await connection.execute(self._statements["begin"], projection.name, projection.version)
        return 0, False

    async def _index(self) -> None:
        connection, projection = self._connection, self._projection
        async with connection.transaction():
            await connection.execute(fill(projection.indexes_sql, schema=self._beside))
            for table in projection.tables:
                await connection.execute(fill("ANALYZE {schema}.{table}", schema=self._beside, table=table))
            await connection.execute(self._statements["indexed"], projection.name)

    async def _forget(self) -> None:
        async with self._connection.transaction():
            await self._drop(self._beside)
            await self._connection.execute(self._statements["end"], self._projection.name)

    async def _is_projected(self) -> bool:
        try:
            return self._projection.name in await self._connection.fetchval(self._statements["projected"])
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return False

    async def _follow(self, position: int) -> tuple[int, Trouble | None]:
        """Apply what follows a position, up to the end that the log has now or to an event that cannot be applied."""
        reached = position
        head = await self._connection.fetchval(self._statements["head"])

        async def keep(after: int, upto: int, rows: Mapping[str, Sequence[Values]], found: Trouble | None) -> None:
            nonlocal reached
            async with self._connection.transaction():
                await write(self._connection, self._beside, rows)
                await self._connection.execute(self._statements["reach"], self._projection.name, upto)
            reached = upto

        while reached < head:
            page = await read_page(self._connection, self._statements, reached, self._topics)
            found = await apply(fold_page(self._projection, page), keep)
            self._progress(reached, max(reached, head))
            if found is not None:
                return reached, found
        return reached, None

    async def _swap_when_free(self, position: int) -> Rebuilt:
        """Try until nobody reads the live one for a moment, and follow the log meanwhile. Raises SwapPostponed."""
        clock = asyncio.get_running_loop()
        give_up_at = clock.time() + SWAP_SECONDS_MAX
        told: list[str] | None = None
        for pause in chain(SWAP_PAUSES_SECONDS, repeat(SWAP_PAUSES_SECONDS[-1])):
            try:
                return await self._swap(position)
            except asyncpg.LockNotAvailableError:
                holders = await self._holders()
            if holders != told:
                _log.info("swap_postponed", ledger=self._ledger, projection=self._projection.name, held_by=holders)
                told = holders
            if clock.time() >= give_up_at:
                break
            await asyncio.sleep(pause)
            position, _ = await self._follow(position)
        raise SwapPostponed(
            f"{self._projection.name} of the ledger {self._ledger} has been built anew up to position {position} and"
            f" waits to be swapped in: the live tables are in use without a break, by {', '.join(told or ['many'])}."
            " End these transactions, or wait until they have ended, and rebuild again: it goes on from there"
        )

    async def _holders(self) -> list[str]:
        """Who has the live tables in use."""
        rows = await self._connection.fetch(self._statements["holders"], self._live, [*self._projection.tables])
        return [f"pid {row['pid']}" + (f" ({row['who']})" if row["who"] else "") for row in rows]

    async def _swap(self, position: int) -> Rebuilt:
        """Raises asyncpg.LockNotAvailableError, and nothing has changed."""
        connection, projection, statements = self._connection, self._projection, self._statements
        tables = list(projection.tables)
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS_MAX}s'")
            # A vacuum gives way to whoever has waited for a second, which is longer than the last lock is waited for.
            live_tables = await self._lock_vacuum_out()
            # From here on nobody moves the live one: whoever tries finds another version or position afterwards.
            live = await connection.fetchval(statements["lock_cursor"], projection.name)
            assert live is not None
            position, found = await self._follow(position)
            if position < live:
                raise RebuildBehind(found or Trouble(position + 1, "the log ends there"))

            await connection.execute(f"SET LOCAL lock_timeout = '{SWAP_LOCK_SECONDS_MAX}s'")
            if live_tables:
                await connection.execute(f"LOCK TABLE {', '.join(live_tables)} IN ACCESS EXCLUSIVE MODE")
            readers = [row["reader"] for row in await connection.fetch(statements["readers"], self._live, tables)]
            await self._drop(self._live)
            for table in tables:
                names = {"beside": self._beside, "live": self._live, "table": table}
                await connection.execute(fill("ALTER TABLE {beside}.{table} SET SCHEMA {live}", **names))
                for reader in readers:
                    await connection.execute(fill("GRANT SELECT ON {live}.{table} TO ", **names) + reader)
            trouble = (found.reason, found.position) if found else (None, None)
            await connection.execute(
                statements["replace_cursor"], projection.name, position, projection.version, *trouble
            )
            await connection.execute(statements["end"], projection.name)
        return Rebuilt(position, found)

    async def _lock_vacuum_out(self) -> list[str]:
        """Keep everything from the tables, live and beside, that neither reads nor writes rows. Those that are live."""
        there = await self._connection.fetchval(self._statements["there"], self._live, [*self._projection.tables])
        # In the order in which queries lock them.
        live = _qualified(self._live, [table for table in self._projection.tables if table in there])
        both = [*live, *_qualified(self._beside, self._projection.tables)]
        await self._connection.execute(f"LOCK TABLE {', '.join(both)} IN SHARE UPDATE EXCLUSIVE MODE")
        return live

    async def _drop(self, schema: str) -> None:
        tables = ", ".join(_qualified(schema, self._projection.tables))
        await self._connection.execute(f"DROP TABLE IF EXISTS {tables}")


def _qualified(schema: str, tables: Iterable[str]) -> list[str]:
    return [f"{quote(schema)}.{quote(table)}" for table in tables]
