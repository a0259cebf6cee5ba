"""The audit of a ledger in its database: all of the log, its tree and its read models, in one snapshot."""

from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import asyncpg

from services.auditor.checkpoints import KeptCheckpoint
from services.auditor.digests import Beside, Kept, Replay
from services.auditor.findings import Finding, KeysTried, Progress
from services.auditor.imports import Import
from services.auditor.log import NOTHING_ERASED, Columns, Erasures, Stored, Walk
from services.auditor.outside import Stamped
from services.auditor.read_models import Folded, compare, fold
from services.postgres import ledger_schema
from services.projector.projections import ALL
from services.proof.growth import FullTile
from services.sealing import MasterKeyError, MasterKeys, SealingKey
from services.statements import Statements, fill

PAGE_EVENTS = 2_000

_statements = Statements.load(Path(__file__).with_name("audit.sql"))


class Database:
    """A ledger in a database. The connection is in a transaction that is repeatable read, and only reads."""

    is_database = True

    def __init__(
        self,
        connection: asyncpg.Connection,
        ledger: str,
        origin: str,
        told: str,
        masters: MasterKeys | None = None,
    ) -> None:
        """`masters`: those to try the keys of sealed texts with; None: they are not tried."""
        self.ledger = ledger
        self.origin: str | None = origin
        self.told = told
        self._connection = connection
        self._schema = ledger_schema(ledger)
        self._sql = _statements.bind(schema=self._schema)
        self._masters = masters
        self.reached: Mapping[str, int] = {}
        self.keys_tried: KeysTried | None = None

    async def head(self) -> int:
        head: int = await self._connection.fetchval(self._sql["head"])
        return head

    async def checkpoints(self) -> list[KeptCheckpoint]:
        rows = await self._connection.fetch(self._sql["checkpoints"])
        return [KeptCheckpoint(row["note"], row["size"]) for row in rows]

    async def verifier_keys(self) -> list[str]:
        return [row["key"] for row in await self._connection.fetch(self._sql["verifier_keys"])]

    async def digest_keys(self) -> list[str]:
        return [row["key"] for row in await self._connection.fetch(self._sql["digest_keys"])]

    async def digests(self) -> list[Kept]:
        rows = await self._connection.fetch(self._sql["digests"])
        return [Kept(row["note"].encode(), Beside(*row[:4])) for row in rows]

    async def timestamps(self) -> list[Stamped]:
        return [
            Stamped("a timestamp inside", row["size"], row["response"], row["note"] and row["note"].encode())
            for row in await self._connection.fetch(self._sql["timestamps"])
        ]

    async def audit(
        self, walk: Walk, *, read_models: bool, replay: Replay | None, progress: Progress
    ) -> AsyncIterator[Finding]:
        """Everything that is found on the way through the log."""
        head = await self.head()
        if read_models:
            rows = await self._connection.fetch(self._sql["cursors"])
            cursors = {row["projection"]: row["position"] for row in rows}
            self.reached = {each.name: cursors.get(each.name, 0) for each in ALL}
            for name, position in cursors.items():
                if position > head:
                    text = f"{name} has got to position {position}, and the log has {head} events"
                    yield Finding("read models", position, text)
        erasures = NOTHING_ERASED if walk.hashes_only else await self._erasures()
        tiles = 0
        async for page in self.pages(hashes_only=walk.hashes_only):
            found, full = walk.page(page, erasures)
            for each in found:
                yield each
            tiles += len(full)
            async for each in self._tiles(full, walk.signed):
                yield each
            if read_models or replay is not None:
                folded = fold(page)
                if read_models:
                    async for each in self._read_models(page, folded):
                        yield each
                if replay is not None:
                    for each in replay.page(folded, page[-1].position):
                        yield each
            progress(page[-1].position, head)
        for each in walk.end():
            yield each
        if not walk.hashes_only:
            for row in await self._connection.fetch(self._sql["keys_beyond"]):
                yield Finding("keys", row["position"], "there is a key, and no event")
            for row in await self._connection.fetch(self._sql["twice"]):
                text = f"its source and id are those of position {row['first']}"
                yield Finding("ids", row["notification_id"], text)
            for before, number in await self._connection.fetch(self._sql["readings_gone"]):
                text = f"between the readings {before} and {number} there should be {number - before - 1} more"
                yield Finding("access log", None, text)
        if read_models and self._masters is not None:
            async for each in self._try_keys(self._masters):
                yield each
        if read_models:
            async for each in self._rows_beyond(head):
                yield each
        if replay is not None:
            for each in replay.end(head):
                yield each
        kept = await self._connection.fetchval(self._sql["count_tiles"])
        if kept > tiles:
            yield Finding("tiles", None, f"{kept} tiles are kept, and the log has {tiles} that are full")

    async def _erasures(self) -> Erasures:
        acts = await self._connection.fetch(self._sql["erasures"])
        imports = await self.imports()
        return Erasures.read(
            ((row["position"], row["state"]) for row in acts),
            keyless_upto=max((each.size for each in imports if not each.with_keys), default=0),
            keyless=[position for each in imports for position in each.keyless],
        )

    async def imports(self) -> list[Import]:
        return [Import(*row) for row in await self._connection.fetch(self._sql["imports"])]

    async def _try_keys(self, masters: MasterKeys) -> AsyncIterator[Finding]:
        """Unwrap each key whose master key is at hand."""
        rows = await self._connection.fetch(self._sql["master_keys"])
        emptied, at_hand = {row["name"]: row["emptied"] for row in rows}, {*masters.names}
        tried, untried, after = 0, 0, 0
        while rows := await self._connection.fetch(self._sql["sealing_keys"], after, PAGE_EVENTS):
            for row in rows:
                position, key = row["position"], SealingKey.of(row)
                if emptied.get(key.master, True):
                    known = "from which all keys were taken" if key.master in emptied else "which nobody knows"
                    yield Finding("keys", position, f"its key is said to be under the master key {key.master}, {known}")
                elif key.master not in at_hand:
                    untried += 1
                else:
                    tried += 1
                    try:
                        masters.unwrap(key)
                    except (MasterKeyError, ValueError) as error:
                        yield Finding("keys", position, f"the key of its sealed texts does not open: {error}")
            after = rows[-1]["position"]
        self.keys_tried = KeysTried(tried, untried)

    async def pages(self, *, hashes_only: bool) -> AsyncIterator[Sequence[Stored]]:
        """The log in order. `hashes_only`: without what stands beside the stored bytes and their leaf hashes."""
        query, after = self._sql["hashes" if hashes_only else "log"], 0
        while rows := await self._connection.fetch(query, after, PAGE_EVENTS):
            if hashes_only:
                yield [Stored(row[0], row[1], row[2], None) for row in rows]
            else:
                yield [Stored(row[0], row[1], row[2], Columns(*row[3:])) for row in rows]
            after = rows[-1]["notification_id"]

    async def _tiles(self, full: Sequence[FullTile], signed: int) -> AsyncIterator[Finding]:
        """Compare tiles with those that are kept. One that is not kept yet may be on its way, unless a checkpoint has
        all of it: of `signed` events is the greatest."""
        in_order = sorted(full, key=lambda tile: (tile.level, tile.number))
        for level, tiles in groupby(in_order, key=lambda tile: tile.level):
            wanted = {tile.number: tile for tile in tiles}
            rows = await self._connection.fetch(self._sql["tiles"], level, min(wanted), max(wanted))
            for number in wanted.keys() - {row["number"] for row in rows}:
                if (number + 1) << 8 * (level + 1) <= signed:
                    text = f"the tile {number} of level {level} is not kept, and a checkpoint has all of it"
                    yield Finding("tiles", (number << 8 * (level + 1)) + 1, text)
            for row in rows:
                tile = wanted.get(row["number"])
                if tile is not None and (row["hash"], row["hashes"]) != (tile.hash, tile.hashes):
                    position = (tile.number << 8 * (level + 1)) + 1
                    text = f"the tile {tile.number} of level {level} is not that of the leaves"
                    yield Finding("tiles", position, text)

    async def _read_models(self, page: Sequence[Stored], folded: Folded) -> AsyncIterator[Finding]:
        after, upto = page[0].position - 1, page[-1].position
        reached = self.reached
        for name, at, reason in folded.refused:
            if name is None or at <= reached[name]:
                yield Finding("read models", at, f"the event cannot be applied: {reason}")
        for projection in ALL:
            rows = {}
            for table, (position, *_) in projection.tables.items():
                query = fill(self._sql["rows"], table=table, position=position)
                found = await self._connection.fetch(query, after, upto)
                rows[table] = [(row[position], tuple(row)) for row in found]
            made = [each for each in folded.rows[projection.name] if each[0] <= reached[projection.name]]
            for each in compare(projection.name, made, rows):
                yield each

    async def _rows_beyond(self, head: int) -> AsyncIterator[Finding]:
        for projection in ALL:
            for table, (position, *_) in projection.tables.items():
                query = fill(self._sql["rows_beyond"], table=table, position=position)
                for row in await self._connection.fetch(query, head):
                    text = f"{projection.name}: {table} has a row of a position that the log does not have"
                    yield Finding("read models", row["position"], text)
