"""A set of very many ids in sixteen bytes each, for what is asked rarely and said often."""

from hashlib import sha256

from msgspec import Struct

DIGEST_BYTES = 16
CHUNK_BYTES_MAX = 256 * DIGEST_BYTES


class Ids(Struct, frozen=True):
    """The first sixteen octets of the SHA-256 of each id, in the order in which they were added; one that was added
    twice stands twice. It is never changed; another one shares with it what they have in common. To look for an id goes
    through all of them."""

    full: tuple[bytes, ...] = ()
    open: bytes = b""
    """The last ones, to which one is added."""

    def __len__(self) -> int:
        return (len(self.full) * CHUNK_BYTES_MAX + len(self.open)) // DIGEST_BYTES

    def __contains__(self, id: str) -> bool:
        digest = _digest(id)
        return any(_stands_in(digest, chunk) for chunk in (*self.full, self.open))

    def plus(self, id: str) -> "Ids":
        if len(self.open) == CHUNK_BYTES_MAX:
            return Ids((*self.full, self.open), _digest(id))
        return Ids(self.full, self.open + _digest(id))


def _digest(id: str) -> bytes:
    return sha256(id.encode()).digest()[:DIGEST_BYTES]


def _stands_in(digest: bytes, chunk: bytes) -> bool:
    found = chunk.find(digest)
    while found % DIGEST_BYTES and found != -1:  # Across two of them.
        found = chunk.find(digest, found + 1)
    return found != -1
