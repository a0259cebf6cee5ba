"""Publishes digests of the read models of all ledgers, as signed notes (services/proof/published.py).

One process does so at a time: the one that holds an advisory lock. A digest is kept outside the database before it is
kept inside; what a process that was killed has left outside alone, the next one keeps inside too.

Where the log may not be what it was, by what is kept outside, nothing is published until an operator has said what
happened: digests of events that are lost would stay for ever.

After a start, and after a read model was built anew, its tables are read once; then only what is new. The first time
waits until the read models have caught up: to read a long one takes as much of the processor as to catch up with it.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import asyncpg
import structlog
from msgspec import Struct

from schemas.times import format_time
from services.kept_outside import KeptOutside
from services.leader import Leader
from services.postgres import ledger_schema
from services.projector.digest import read_on
from services.projector.projections import ALL, Projection
from services.projector.running_digest import RunningDigest
from services.proof.note import NoteError, Signer, read_keys
from services.proof.published import PublishedDigest, digests_origin
from services.signing import SigningKeys
from services.statements import Statements, fill

LOCK = 0x1ED6D1  # Any constant of our own: one process publishes at a time.
LOOK_SECONDS_MAX = 5.0  # Between two looks whether a digest is due.
RETRY_SECONDS = 1.0
POSITIONS_AT_ONCE = 1_000  # Then a rebuilt table may be swapped in.
REST, REST_SECONDS_MAX = 3.0, 5.0
"""Where there are more, so many times as long as these took nothing is read: in a long log that takes minutes, and who
folds and who asks meanwhile share a processor with it."""

_statements = Statements.load(Path(__file__).with_suffix(".sql"))
_log = structlog.get_logger()


class _InDoubt(Exception):
    """The log does not go on from what is kept outside; the text says why."""


class _Followed(Struct):
    """The digest of a read model, as far as its tables have been read."""

    tables: Sequence[int]
    """Which tables these are: a rebuild puts others in their place."""
    running: RunningDigest
    position: int = 0


class Publisher(Leader):
    """`outside`: where digests of a ledger are kept.

    `seconds`: the time between two digests of a read model, in seconds. `begin`: waits until there is room for that;
    None: there is.
    """

    def __init__(
        self,
        url: str,
        keys: SigningKeys,
        outside: Callable[[str], KeptOutside],
        seconds: float,
        *,
        begin: Callable[[], Awaitable[None]] | None = None,
        projections: Sequence[Projection] = ALL,
    ) -> None:
        super().__init__(url, lock=LOCK, failure="no_digest_published", retry_seconds=RETRY_SECONDS)
        self._keys = keys
        self._outside = outside
        self._seconds = seconds
        self._begin_after = begin
        self._projections = {projection.name: projection for projection in projections}
        self._followed: dict[tuple[str, str], _Followed] = {}
        self._begun: set[str] = set()

    async def lead(self, connection: asyncpg.Connection) -> None:
        # Another may have gone on meanwhile, and the database may be an older copy of what it was.
        self._followed, self._begun = {}, set()
        if self._begin_after is not None:
            await self._begin_after()
        while True:
            for ledger in await connection.fetch(_statements["ledgers"]):
                await self._publish_due(connection, ledger["name"], ledger["origin"])
            await asyncio.sleep(min(self._seconds, LOOK_SECONDS_MAX))

    async def _publish_due(self, connection: asyncpg.Connection, ledger: str, origin: str) -> None:
        """Publish the digests of one ledger that are due. What is wrong with it holds up no other."""
        sql = _statements.bind(schema=ledger_schema(ledger))
        names = [*self._projections]
        versions = [each.version for each in self._projections.values()]
        try:
            if ledger not in self._begun:
                if not await connection.fetchval(sql["is_projected"]):
                    return  # Its read models are being made.
                await self._begin(connection, sql, ledger, origin)
                self._begun.add(ledger)
            for row in await connection.fetch(sql["due"], names, versions, self._seconds):
                await self._publish(connection, sql, ledger, origin, self._projections[row["projection"]])
        except Exception as error:
            if connection.is_closed():
                raise
            say = _log.warning if isinstance(error, (OSError, asyncpg.PostgresError, _InDoubt)) else _log.exception
            say("no_digest_published", ledger=ledger, reason=str(error), next="trying again")

    async def _begin(self, connection: asyncpg.Connection, sql: Statements, ledger: str, origin: str) -> None:
        """Make the keys known, before anything that they have signed; and keep inside what is outside alone, of events
        that the log has. Raises _InDoubt."""
        head = await self._head(connection, sql, ledger)
        await connection.execute(sql["know_keys"], [str(signer.key) for signer in self._signers(origin)])
        # The auditor tells what is wrong with a key that is none, and with a note.
        keys, _ = read_keys(row["key"] for row in await connection.fetch(sql["keys"]))
        for note in await asyncio.to_thread(self._last_outside, ledger):
            with contextlib.suppress(NoteError):
                published = PublishedDigest.verified(note, origin, keys)
                if published.position > head:
                    continue
                recorded_at = await connection.fetchval(sql["recorded_at"], published.position)
                if recorded_at is not None and format_time(recorded_at) == published.recordedtime:
                    await self._keep(connection, sql, published, note.decode())

    async def _head(self, connection: asyncpg.Connection, sql: Statements, ledger: str) -> int:
        """The end of the log. Raises _InDoubt, if by what is kept outside it may not be what it was; whether it begins
        with the same events, the ledger itself checks."""
        outside = await asyncio.to_thread(self._outside(ledger).going_on)
        head, signed = await connection.fetchrow(sql["past"])
        if outside.accepted is None and not outside.is_first:
            raise _InDoubt(f"nobody has said why the series {outside.name} of checkpoints began")
        if outside.last is None and outside.accepted is None and signed is not None:
            raise _InDoubt("the log has had checkpoints, and none is kept outside the database")
        if outside.last is not None and head < (size := int(outside.last.name.partition(".")[0])):
            raise _InDoubt(f"the log has {head} events, and {outside.last} says that it had {size}")
        return int(head)

    async def _publish(
        self, connection: asyncpg.Connection, sql: Statements, ledger: str, origin: str, projection: Projection
    ) -> None:
        followed = await self._follow(connection, sql, ledger, projection)
        if followed is None or not followed.position:
            return
        recorded_at = await connection.fetchval(sql["recorded_at"], followed.position)
        if recorded_at is None:
            _log.error("no_digest_published", ledger=ledger, reason=f"the log has no position {followed.position}")
            return
        digest = followed.running.hexdigest()
        published = PublishedDigest(
            origin, projection.name, projection.version, followed.position, format_time(recorded_at), digest
        )
        note = str(published.signed(self._signers(origin)))
        keep = self._outside(ledger).keep_digest
        await asyncio.to_thread(keep, published.position, published.projection, published.version, note)
        await self._keep(connection, sql, published, note)
        _log.debug("digest_published", ledger=ledger, projection=projection.name, position=followed.position)

    async def _follow(
        self, connection: asyncpg.Connection, sql: Statements, ledger: str, projection: Projection
    ) -> _Followed | None:
        """The digest of a read model at its cursor; None if another version of the software has built it.

        Each part is read in a snapshot of its own: rows are only added, and none below a cursor.
        """
        schema, name = ledger_schema(ledger), (ledger, projection.name)
        tables = ", ".join(fill("{schema}.{table}", schema=schema, table=table) for table in projection.tables)
        while True:
            begun = time.monotonic()
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                # Before there is a snapshot: a rebuilt table that is swapped in afterwards would look empty to it.
                await connection.execute(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
                cursor = await connection.fetchrow(sql["cursor"], projection.name, [*projection.tables])
                if cursor is None or cursor["version"] != projection.version:
                    return None
                followed = self._followed.pop(name, None)
                if followed is None or followed.tables != cursor["tables"] or followed.position > cursor["position"]:
                    followed = _Followed(cursor["tables"], RunningDigest(projection.tables))
                upto = min(cursor["position"], followed.position + POSITIONS_AT_ONCE)
                await read_on(connection, schema, projection, followed.running, followed.position, upto)
            # Only what was read to the end is gone on from.
            followed.position = upto
            self._followed[name] = followed
            if upto == cursor["position"]:
                return followed
            await asyncio.sleep(min(REST * (time.monotonic() - begun), REST_SECONDS_MAX))

    async def _keep(
        self, connection: asyncpg.Connection, sql: Statements, published: PublishedDigest, note: str
    ) -> None:
        _, projection, version, position, _, digest = published
        await connection.execute(sql["add"], projection, version, position, digest, note)

    def _last_outside(self, ledger: str) -> list[bytes]:
        return [path.read_bytes() for path in self._outside(ledger).last_digests()]

    def _signers(self, origin: str) -> list[Signer]:
        return self._keys.signers(digests_origin(origin))
