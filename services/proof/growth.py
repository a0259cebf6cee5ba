"""How a tree grows: what it costs depends on the leaves that come, not on those that are there. Pure.

Of a tree only its right edge is needed to go on: at each level the hashes of the tile that is not full yet. A tile that
has become full never changes, and its hash is the next of the level above.
"""

from collections.abc import Sequence
from typing import NamedTuple

from services.proof.merkle import EMPTY_ROOT, fold, node_hash
from services.proof.tiles import HEIGHT, WIDTH


class Edge(NamedTuple):
    """The right edge of a tree of this many leaves. `levels`: the hashes of the last tile of each level, fewer than
    256, the leaves first."""

    size: int = 0
    levels: tuple[tuple[bytes, ...], ...] = ()

    @property
    def root(self) -> bytes:
        root: bytes | None = None
        for hashes in self.levels:
            end = len(hashes)
            while end:
                # The hashes of a level are those of whole subtrees, the smallest of which stands last.
                start = end - (end & -end)
                whole = fold(hashes[start:end])
                root = whole if root is None else node_hash(whole, root)
                end = start
        return EMPTY_ROOT if root is None else root


class FullTile(NamedTuple):
    """A tile that has all its hashes, one after the other. `hash`: of the subtree that it is."""

    level: int
    number: int
    hash: bytes
    hashes: bytes


def edge_levels(size: int) -> list[tuple[int, int]]:
    """For each level of a tree of this size the number of its last tile, and how many hashes that has, fewer than
    256."""
    levels = []
    while size:
        levels.append(divmod(size, WIDTH))
        size >>= HEIGHT
    return levels


def grow(edge: Edge, leaves: Sequence[bytes]) -> tuple[Edge, list[FullTile]]:
    """The edge after these leaves (their hashes), and the tiles that became full, each after those it rests on."""
    levels, made = [*edge.levels], list[FullTile]()
    coming, level = [*leaves], 0
    while coming:
        held = levels[level] if level < len(levels) else ()
        number = edge.size >> (HEIGHT * (level + 1))
        hashes = [*held, *coming]
        coming = []
        for at in range(0, len(hashes) - len(hashes) % WIDTH, WIDTH):
            tile = hashes[at : at + WIDTH]
            coming.append(fold(tile))
            made.append(FullTile(level, number, coming[-1], b"".join(tile)))
            number += 1
        rest = tuple(hashes[len(hashes) - len(hashes) % WIDTH :])
        levels[level : level + 1] = [rest]
        level += 1
    return Edge(edge.size + len(leaves), tuple(levels)), made
