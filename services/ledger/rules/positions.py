"""Ascending positions, two bytes or so each: what an aggregate keeps of each of very many events."""

from collections.abc import Iterator

from msgspec import Struct

CHUNK_BYTES_MAX = 1_024


class _Chunk(Struct, frozen=True):
    """`steps`: from each position to the next, unsigned LEB128."""

    first: int
    last: int
    steps: bytes = b""

    def __iter__(self) -> Iterator[int]:
        position, step, bits = self.first, 0, 0
        yield position
        for byte in self.steps:
            step |= (byte & 0x7F) << bits
            bits += 7
            if byte < 0x80:
                position += step
                step, bits = 0, 0
                yield position


class Positions(Struct, frozen=True):
    """A set of positions that is never changed; another one shares with it what they have in common."""

    full: tuple[_Chunk, ...] = ()
    open: _Chunk | None = None
    """The last one, to which a position is added."""

    def __bool__(self) -> bool:
        return self.open is not None

    def __iter__(self) -> Iterator[int]:
        for chunk in self._chunks:
            yield from chunk

    def plus(self, position: int) -> "Positions":
        """With one that is above all others."""
        if self.open is None:
            return Positions(self.full, _Chunk(position, position))
        if position <= self.open.last:
            raise ValueError(f"{position} is not above {self.open.last}")
        if len(self.open.steps) >= CHUNK_BYTES_MAX:
            return Positions((*self.full, self.open), _Chunk(position, position))
        steps = self.open.steps + _leb128(position - self.open.last)
        return Positions(self.full, _Chunk(self.open.first, position, steps))

    def minus(self, position: int) -> "Positions":
        """Without it; the same if it is not there."""
        chunks = self._chunks
        for index, chunk in enumerate(chunks):
            if chunk.first <= position <= chunk.last and position in chunk:
                left = Positions()
                for each in chunk:
                    left = left if each == position else left.plus(each)
                rest = (*chunks[:index], *left._chunks, *chunks[index + 1 :])
                return Positions(rest[:-1], rest[-1]) if rest else Positions()
        return self

    @property
    def _chunks(self) -> tuple[_Chunk, ...]:
        return self.full if self.open is None else (*self.full, self.open)


def _leb128(number: int) -> bytes:
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    written.append(number)
    return bytes(written)
