"""Which tiles a tree of a size has."""

from collections.abc import Iterator
from itertools import count

from services.proof.tiles import HEIGHT, WIDTH, Tile


def tiles_of(size: int) -> Iterator[Tile]:
    """Every tile of a tree of this size, level by level; the last of a level may not be full."""
    for level in count():
        hashes = size >> (HEIGHT * level)
        if not hashes:
            return
        yield from (Tile(level, number, min(WIDTH, hashes - number * WIDTH)) for number in range(-(-hashes // WIDTH)))
