"""The Merkle tree of one ledger in PostgreSQL: its full tiles and its checkpoints, and what follows from them.

Of a tree of any size that the log has reached, each tile is either one that is kept, the beginning of one, or made of
leaf hashes of the log or of the hashes of full tiles, at most 255 of them. So a proof takes a few reads, however long
the log is.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypeAlias

import asyncpg
from msgspec import Struct

from services.postgres import Pool, Unavailable, ledger_schema, unavailable
from services.proof.growth import Edge, FullTile, edge_levels, grow
from services.proof.merkle import HASH_OCTETS, HashOf, Leaves, hash_of, needed
from services.proof.published import digests_origin
from services.proof.tiles import ENTRIES, WIDTH, Tile, bundle, hash_in, split_hashes, tile_of
from services.statements import Statements

LEAVES_AT_ONCE_MAX = 65_536
SIZE_MAX = 2**63 - 1
"""That are read at once where tiles are missing."""

_statements = Statements.load(Path(__file__).with_name("tree.sql"))

Database: TypeAlias = "Pool | asyncpg.Connection"


class Kept(Struct, frozen=True):
    """A checkpoint as it is kept: its size and the signed note."""

    size: int
    note: str


class Timestamped(Struct, frozen=True):
    """A timestamp as it is kept: the size of its checkpoint and the authority's response (RFC 3161)."""

    size: int
    response: bytes


class Tree:
    """The tree of the ledger `name`. What is read is of a log that has at least the size that is named."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._sql = _statements.bind(schema=ledger_schema(name))

    # Growing

    async def size_of_log(self, database: Database) -> int:
        size: int = await database.fetchval(self._sql["size"])
        return size

    async def full_leaves(self, database: Database) -> int:
        """How many leaves are in tiles that are full and kept."""
        tiles: int = await database.fetchval(self._sql["last_full"])
        return tiles * WIDTH

    async def edge(self, database: Database, size: int) -> Edge:
        """The right edge of the tree of a size: of tiles that are kept; where one is missing, as in a log that was
        imported a moment ago, of leaf hashes. Of a shorter log: the edge that it has."""
        kept = await self._kept_edge(database, size)
        if kept is not None:
            return kept
        full = await self.full_leaves(database)
        edge = (await self._kept_edge(database, full) if full <= size else None) or Edge()
        while leaves := await self.leaves(database, edge.size, min(LEAVES_AT_ONCE_MAX, size - edge.size)):
            edge, _ = await asyncio.to_thread(grow, edge, leaves)
        return edge

    async def _kept_edge(self, database: Database, size: int) -> Edge | None:
        """None, if a hash of it is not kept."""
        wanted = edge_levels(size)
        levels = [await self._hashes(database, level, *each) for level, each in enumerate(wanted)]
        if any(len(hashes) < width for hashes, (_, width) in zip(levels, wanted, strict=True)):
            return None
        return Edge(size, tuple(tuple(hashes) for hashes in levels))

    async def leaves(self, database: Database, after: int, limit: int) -> list[bytes]:
        """The leaf hashes behind the first `after` leaves."""
        return [row["leaf_hash"] for row in await database.fetch(self._sql["leaves"], after, limit)]

    async def add(self, database: Database, tiles: Sequence[FullTile]) -> None:
        if tiles:
            await database.execute(
                self._sql["add_tiles"],
                [tile.level for tile in tiles],
                [tile.number for tile in tiles],
                [tile.hash for tile in tiles],
                [tile.hashes for tile in tiles],
            )

    async def keep(self, connection: asyncpg.Connection, kept: Kept, keys: Sequence[str]) -> None:
        """Keep a checkpoint, and the verifier keys of those who signed it."""
        async with connection.transaction():
            await connection.execute(self._sql["know_keys"], [*keys])
            await connection.execute(self._sql["add_checkpoint"], kept.size, kept.note)

    async def to_timestamp(self, database: Database, seconds: float) -> Kept | None:
        """The checkpoint that a timestamp is due for: the latest one, so many seconds after the last timestamp."""
        row = await database.fetchrow(self._sql["to_timestamp"], seconds)
        return None if row is None else Kept(row["size"], row["note"])

    async def keep_timestamp(self, database: Database, size: int, response: bytes) -> None:
        await database.execute(self._sql["add_timestamp"], size, response)

    # Reading

    async def last_checkpoint(self, database: Database, size_max: int = SIZE_MAX) -> Kept | None:
        """The latest checkpoint; of those of at most so many events."""
        with unavailable():
            row = await database.fetchrow(self._sql["last_checkpoint"], size_max)
        return None if row is None else Kept(row["size"], row["note"])

    async def first_checkpoint(self, database: Database, position: int) -> Kept | None:
        """The first checkpoint of the log that has a position; it stays the first one."""
        with unavailable():
            row = await database.fetchrow(self._sql["first_checkpoint"], position)
        return None if row is None else Kept(row["size"], row["note"])

    async def checkpoint(self, database: Database, size: int) -> Kept | None:
        """The checkpoint of this size; None if none was signed."""
        with unavailable():
            row = await database.fetchrow(self._sql["checkpoint"], size)
        return None if row is None else Kept(row["size"], row["note"])

    async def timestamp(self, database: Database, size: int | None = None) -> Timestamped | None:
        """The timestamp of the checkpoint of this size, or the latest; None if there is none."""
        with unavailable():
            if size is None:
                row = await database.fetchrow(self._sql["last_timestamp"])
            else:
                row = await database.fetchrow(self._sql["timestamp"], size)
        return None if row is None else Timestamped(row["size"], row["response"])

    async def verifier_keys(self, database: Database) -> list[str]:
        """The keys whose signatures this log has had, the first one first."""
        with unavailable():
            return [row["key"] for row in await database.fetch(self._sql["verifier_keys"])]

    async def digest_keys(self, database: Database, origin: str) -> list[str]:
        """The keys that have signed digests of read models, the first one first. What is kept there under another name
        than that of digests is no key of theirs, and might be taken for one of checkpoints."""
        with unavailable():
            rows = await database.fetch(self._sql["digest_keys"])
        return [row["key"] for row in rows if row["key"].startswith(f"{digests_origin(origin)}+")]

    async def tile(self, database: Database, tile: Tile) -> bytes:
        """The octets of a tile, or of a bundle of entries, of a tree that has it."""
        with unavailable():
            if tile.level == ENTRIES:
                rows = await database.fetch(self._sql["entries"], tile.number * WIDTH, tile.width)
                return bundle(row["state"] for row in rows)
            return (await self._tiles(database, [tile]))[tile]

    async def hashes(self, database: Database, stretches: Sequence[Leaves], size: int) -> list[bytes]:
        """The hash of each of these stretches of a tree of a size."""
        whole = await self.subtrees(database, stretches, size)
        return [hash_of(stretch, whole) for stretch in stretches]

    async def subtrees(self, database: Database, stretches: Sequence[Leaves], size: int) -> HashOf:
        """What says the hashes that those of these stretches follow from. It hashes when it is asked, each once: of
        many stretches it is to be asked in a thread."""
        wanted = {subtree: tile_of(subtree, size) for subtree in needed(stretches)}
        with unavailable():
            tiles = await self._tiles(database, {*wanted.values()})
        split = {tile: split_hashes(octets) for tile, octets in tiles.items()}
        return cache(lambda subtree: hash_in(split[wanted[subtree]], subtree))

    async def _tiles(self, database: Database, tiles: Iterable[Tile]) -> Mapping[Tile, bytes]:
        wanted = [*tiles]
        rows = await database.fetch(
            self._sql["tiles"], [tile.level for tile in wanted], [tile.number for tile in wanted]
        )
        kept = {(row["level"], row["number"]): row["hashes"] for row in rows}
        found = {}
        for tile in wanted:
            full = kept.get((tile.level, tile.number))
            if full is not None:
                found[tile] = full[: tile.width * HASH_OCTETS]
            else:
                hashes = await self._hashes(database, tile.level, tile.number, tile.width)
                if len(hashes) < tile.width:
                    text = (
                        f"hashes of the tile {tile.path} are missing in the database; `ledger audit` says what else is"
                    )
                    raise Unavailable(text)
                found[tile] = b"".join(hashes)
        return found

    async def _hashes(self, database: Database, level: int, number: int, width: int) -> list[bytes]:
        """The first hashes of a tile that may not be kept."""
        if not width:
            return []
        first = number * WIDTH
        if level == 0:
            return await self.leaves(database, first, width)
        return [row["hash"] for row in await database.fetch(self._sql["tile_hashes"], level - 1, first, width)]
