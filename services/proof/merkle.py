"""The Merkle tree over a log, as RFC 6962 has it (section 2.1): roots, and proofs of inclusion.

Leaves have the indexes 0, 1, 2, …: the event at position p is the leaf p - 1. A stretch of leaves is `Leaves(start,
end)`, and its hash is MTH(D[start:end]). All that a proof is made of are such hashes, and each of them follows from
those of a few whole subtrees, whose size is a power of two and whose start is a multiple of it: `Subtree(height,
number)` has the leaves from number × 2^height on. Those never change, however the log grows.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import NamedTuple

HASH_OCTETS = 32
EMPTY_ROOT = sha256().digest()


class Subtree(NamedTuple):
    """A whole subtree, of 2^height leaves."""

    height: int
    number: int


class Leaves(NamedTuple):
    """The leaves from one index to below another."""

    start: int
    end: int


HashOf = Callable[[Subtree], bytes]
"""What the hash of a whole subtree is."""


class ProofError(ValueError):
    """A proof does not prove what it is about; the text says why."""


def leaf_hash(entry: bytes) -> bytes:
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def fold(hashes: Sequence[bytes]) -> bytes:
    """The hash of a subtree, from those of all its subtrees of one height. Their number is a power of two."""
    level = hashes
    while len(level) > 1:
        level = [node_hash(level[at], level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


def subtrees(leaves: Leaves) -> Iterator[Subtree]:
    """The whole subtrees that a stretch of a tree consists of, from left to right. Its start is a multiple of a power
    of two that is no less than its length, as of every stretch that occurs in a tree."""
    start, length = leaves.start, leaves.end - leaves.start
    while length:
        height = length.bit_length() - 1
        yield Subtree(height, start >> height)
        start, length = start + (1 << height), length - (1 << height)


def hash_of(leaves: Leaves, subtree: HashOf) -> bytes:
    """MTH of a stretch of leaves; of none, that of the empty tree."""
    *before, last = [subtree(each) for each in subtrees(leaves)] or [EMPTY_ROOT]
    for each in reversed(before):
        last = node_hash(each, last)
    return last


def inclusion(index: int, size: int) -> list[Leaves]:
    """The stretches whose hashes prove that a leaf is in the tree of a size, from the leaf up (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise ProofError(f"a tree of {size} leaves has no leaf {index}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(Leaves(middle, end))
            end = middle
        else:
            path.append(Leaves(start, middle))
            start = middle
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Raises ProofError unless the path proves that the leaf of this hash is in the tree of this root."""
    stretches = inclusion(index, size)
    if len(stretches) != len(path):
        raise ProofError(f"leaf {index} of {size} has a path of {len(stretches)} hashes, not {len(path)}")
    found = leaf
    for stretch, each in zip(stretches, path, strict=True):
        found = node_hash(each, found) if stretch.start < index else node_hash(found, each)
    if found != root:
        raise ProofError(f"leaf {index} is not in the tree of {size} leaves with this root")


def needed(stretches: Iterable[Leaves]) -> set[Subtree]:
    """The whole subtrees whose hashes those of these stretches follow from."""
    return {each for stretch in stretches for each in subtrees(stretch)}


def _split(length: int) -> int:
    """The greatest power of two that is less than the length."""
    return 1 << ((length - 1).bit_length() - 1)
