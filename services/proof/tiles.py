"""Tiles: the hashes of a tree in pieces that never change, and its entries likewise, as C2SP's tlog-tiles has them.

A tile at level L has up to 256 hashes of subtrees of height 8 × L, one after the other; the hashes between are found
by hashing those. A tile that is not full belongs to trees of some sizes only.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from services.proof.merkle import HASH_OCTETS, Subtree, fold

HEIGHT = 8
WIDTH = 1 << HEIGHT
LEVEL_MAX = 63
ENTRIES = -1
"""The level of bundles of entries."""
_ENTRY_LENGTH_OCTETS = 2
_NUMBER_GROUP = 1000

_PATH = re.compile(
    r"(?P<level>entries|0|[1-9][0-9]?)/(?P<number>(?:x[0-9]{3}/)*[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


class Tile(NamedTuple):
    """A tile at a level, its number there, and how many hashes or entries it has."""

    level: int
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Where it is found, below `tile/`."""
        level = "entries" if self.level == ENTRIES else str(self.level)
        groups = [f"{self.number % _NUMBER_GROUP:03d}"]
        rest = self.number // _NUMBER_GROUP
        while rest:
            groups.insert(0, f"x{rest % _NUMBER_GROUP:03d}")
            rest //= _NUMBER_GROUP
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"{level}/{'/'.join(groups)}{partial}"

    @property
    def start(self) -> int:
        """Its first leaf."""
        return self.number << (HEIGHT * (self.height_level + 1))

    @property
    def end(self) -> int:
        """The leaf after its last."""
        return self.start + (self.width << (HEIGHT * self.height_level))

    @property
    def height_level(self) -> int:
        return max(self.level, 0)


def read_path(path: str) -> Tile | None:
    """The tile that is found at a path below `tile/`; None if none can be."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    level = ENTRIES if found["level"] == "entries" else int(found["level"])
    width = WIDTH if found["width"] is None else int(found["width"])
    tile = Tile(level, int(found["number"].replace("x", "").replace("/", "")), width)
    # Each tile has one path.
    return tile if level <= LEVEL_MAX and tile.path == path else None


def is_in(tile: Tile, size: int) -> bool:
    """Whether a tile belongs to a tree of this size or a smaller one: all its hashes are of whole subtrees of it."""
    return tile.end <= size


def tile_of(subtree: Subtree, size: int) -> Tile:
    """The tile of a tree of this size from which the hash of a whole subtree follows: the widest there is."""
    level = subtree.height // HEIGHT
    number = subtree.number >> (HEIGHT - subtree.height % HEIGHT)
    return Tile(level, number, min(WIDTH, (size >> (HEIGHT * level)) - number * WIDTH))


def hash_in(hashes: Sequence[bytes], subtree: Subtree) -> bytes:
    """The hash of a whole subtree, from the hashes of its tile."""
    inside = subtree.height % HEIGHT
    first = (subtree.number << inside) % WIDTH
    return fold(hashes[first : first + (1 << inside)])


def split_hashes(octets: bytes) -> list[bytes]:
    return [octets[at : at + HASH_OCTETS] for at in range(0, len(octets), HASH_OCTETS)]


def bundle(entries: Iterable[bytes]) -> bytes:
    """Entries as a bundle: each behind its length."""
    return b"".join(part for entry in entries for part in (len(entry).to_bytes(_ENTRY_LENGTH_OCTETS), entry))


def split_bundle(octets: bytes) -> list[bytes]:
    """The entries of a bundle. Raises ValueError if it is cut off."""
    entries, at = [], 0
    while at < len(octets):
        begin = at + _ENTRY_LENGTH_OCTETS
        at = begin + int.from_bytes(octets[at:begin])
        if at > len(octets):
            raise ValueError("the bundle ends within an entry")
        entries.append(octets[begin:at])
    return entries
