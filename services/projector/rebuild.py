"""A read model built anew beside the live one, from position 1, and put in its place when it has caught up.

The live one keeps answering until one short transaction swaps the two. What a rebuild that was killed leaves
behind is dropped by the next.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import asyncpg
import structlog
from msgspec import Struct

from services.postgres import ledger_schema, rebuild_schema
from services.projector.apply import Trouble, apply, fold_page, topics_of, write
from services.projector.feed import read_page
from services.projector.projections import Projection, Row
from services.statements import Statements, fill, quote

SWAP_LOCK_SECONDS_MAX = 3  # Whoever asks meanwhile waits behind us, so we do not wait for long.
SWAP_ATTEMPTS_MAX = 20

_log = structlog.get_logger()
_statements = Statements.load(Path(__file__).with_name("queries.sql"))

Progress = Callable[[int, int], None]
"""Told the position that a rebuild has reached, and the head of the log."""


class RebuildError(Exception):
    """A rebuild did not come to its end; the live read model is as it was."""


class RebuildInProgress(RebuildError):
    """Somebody else is rebuilding this projection."""


class RebuildBehind(RebuildError):
    """An event that the live read model has applied cannot be applied anew."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(f"position {trouble.position} cannot be applied anew: {trouble.reason}")
        self.trouble = trouble


class Rebuilt(Struct, frozen=True):
    """Where a rebuilt read model stands, and what keeps it from going on."""

    position: int
    trouble: Trouble | None


async def rebuild(
    connection: asyncpg.Connection, ledger: str, projection: Projection, *, progress: Progress | None = None
) -> Rebuilt:
    """Build a projection anew, on a connection of its own, and swap it in.

    Raises RebuildError, and what the database raises; then the live read model is as it was.
    """
    statements = _statements.bind(schema=ledger_schema(ledger))
    if not await connection.fetchval(statements["lock_rebuild"], ledger, projection.name):
        raise RebuildInProgress(f"{projection.name} of the ledger {ledger} is being rebuilt by another process")
    try:
        return await _Rebuild(connection, ledger, projection, progress or (lambda position, head: None)).run()
    finally:
        if not connection.is_closed():
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
        connection, projection = self._connection, self._projection
        # Rows and cursor are lost together, if at all, and can be derived again.
        await connection.execute("SET synchronous_commit = off")
        if not await self._is_projected():
            raise RebuildError(
                f"there is no {projection.name} of a ledger {self._ledger} yet; check the name, or start the projector"
            )
        await self._drop(self._beside)
        try:
            await connection.execute(fill(projection.tables_sql, schema=self._beside))
            position, _ = await self._follow(0)
            await connection.execute(fill(projection.indexes_sql, schema=self._beside))
            for table in projection.tables:
                await connection.execute(fill("ANALYZE {schema}.{table}", schema=self._beside, table=table))
            # To index took a while, in which the log went on. What is left for the swap is short.
            position, _ = await self._follow(position)
            rebuilt = await self._swap_when_free(position)
        except BaseException:
            if not connection.is_closed():
                await self._drop(self._beside)
            raise
        _log.info("projection_rebuilt", ledger=self._ledger, projection=projection.name, position=rebuilt.position)
        return rebuilt

    async def _is_projected(self) -> bool:
        try:
            return self._projection.name in await self._connection.fetchval(self._statements["projected"])
        except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return False

    async def _follow(self, position: int) -> tuple[int, Trouble | None]:
        """Apply what follows a position, up to the end that the log has now or to an event that cannot be applied."""
        reached = position
        head = await self._connection.fetchval(self._statements["head"])

        async def keep(after: int, upto: int, rows: Iterable[Row], found: Trouble | None) -> None:
            nonlocal reached
            async with self._connection.transaction():
                await write(self._connection, self._beside, rows)
            reached = upto

        while reached < head:
            page = await read_page(self._connection, self._statements, reached, self._topics)
            found = await apply(fold_page(self._projection, page), keep)
            self._progress(reached, max(reached, head))
            if found is not None:
                return reached, found
        return reached, None

    async def _swap_when_free(self, position: int) -> Rebuilt:
        for _ in range(SWAP_ATTEMPTS_MAX):
            try:
                return await self._swap(position)
            except asyncpg.LockNotAvailableError:
                _log.info("swap_postponed", ledger=self._ledger, projection=self._projection.name)
        raise RebuildError(
            f"{self._projection.name} of the ledger {self._ledger} is read without a break, so that it could not be"
            " swapped. End long transactions on its tables, and rebuild again"
        )

    async def _swap(self, position: int) -> Rebuilt:
        connection, projection, statements = self._connection, self._projection, self._statements
        tables = list(projection.tables)
        async with connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = '{SWAP_LOCK_SECONDS_MAX}s'")
            # From here on nobody moves the live one: whoever tries finds another version or position afterwards.
            live = await connection.fetchval(statements["lock_cursor"], projection.name)
            assert live is not None
            position, found = await self._follow(position)
            if position < live:
                raise RebuildBehind(found or Trouble(position + 1, "the log ends there"))

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
        return Rebuilt(position, found)

    async def _drop(self, schema: str) -> None:
        tables = ", ".join(f"{quote(schema)}.{quote(table)}" for table in self._projection.tables)
        await self._connection.execute(f"DROP TABLE IF EXISTS {tables}")
