"""The tree: what grows by pieces is what RFC 6962 defines, and proofs prove what is so and nothing else."""

from functools import cache
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from services.proof.growth import Edge, edge_levels, grow
from services.proof.merkle import (
    EMPTY_ROOT,
    Leaves,
    ProofError,
    Subtree,
    fold,
    hash_of,
    inclusion,
    needed,
    node_hash,
    subtrees,
    verify_inclusion,
)
from services.proof.tiles import hash_in, is_in, split_hashes, tile_of
from tests.tiles import tiles_of

SIZE_MAX = 70_000
LEAVES = [sha256(number.to_bytes(4)).digest() for number in range(SIZE_MAX)]

sizes = st.one_of(
    st.integers(0, 600), st.integers(0, SIZE_MAX), st.sampled_from([255, 256, 257, 65_535, 65_536, 65_537])
)


@cache
def defined(start: int, end: int) -> bytes:
    """MTH(D[start:end]), word for word as section 2.1 has it."""
    if end - start < 2:
        return LEAVES[start] if end > start else EMPTY_ROOT
    k = 1
    while 2 * k < end - start:
        k *= 2
    return node_hash(defined(start, start + k), defined(start + k, end))


def whole(subtree: Subtree) -> bytes:
    return defined(subtree.number << subtree.height, (subtree.number + 1) << subtree.height)


@given(sizes, st.lists(st.integers(1, 2_000), max_size=60))
def test_a_tree_that_grows_by_pieces_is_the_one_that_is_defined(begun: int, pieces: list[int]):
    edge, made = grow(Edge(), LEAVES[:begun])
    tiles = {(tile.level, tile.number): tile for tile in made}
    for piece in pieces:
        coming = LEAVES[edge.size : edge.size + piece]
        edge, more = grow(edge, coming)
        assert not tiles.keys() & {(tile.level, tile.number) for tile in more}
        tiles |= {(tile.level, tile.number): tile for tile in more}
    assert edge.root == defined(0, edge.size)
    assert [len(hashes) for hashes in edge.levels] == [width for _, width in edge_levels(edge.size)]
    full = {(tile.level, tile.number) for tile in tiles_of(edge.size) if tile.width == 256}
    assert tiles.keys() == full
    for tile in tiles.values():
        assert tile.hash == fold(split_hashes(tile.hashes))


@given(sizes.filter(bool), st.data())
def test_who_is_in_the_tree_is_proven_and_nobody_else(size: int, data: st.DataObject):
    leaf = data.draw(st.integers(0, size - 1))
    path = [hash_of(each, whole) for each in inclusion(leaf, size)]
    root = defined(0, size)
    verify_inclusion(LEAVES[leaf], leaf, size, path, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda each: each != leaf) if size > 1 else st.just(leaf))
    changed = data.draw(st.integers(0, len(path)))
    wrong = [bytes(32) if number == changed else each for number, each in enumerate(path)]
    for claim in (
        (LEAVES[leaf], other, size, path, root) if other != leaf else None,
        (bytes(32), leaf, size, path, root),
        (LEAVES[leaf], leaf, size, wrong, root) if changed < len(path) else None,
        (LEAVES[leaf], leaf, size, path, bytes(32)),
        (LEAVES[leaf], leaf, size, [*path, bytes(32)], root),
    ):
        assert claim is None or _fails(verify_inclusion, *claim)


@given(sizes.filter(bool), st.data())
def test_every_hash_of_a_proof_is_found_in_a_tile_of_the_tree(size: int, data: st.DataObject):
    leaf = data.draw(st.integers(0, size - 1))
    tiles = {*tiles_of(size)}
    for subtree in needed([*inclusion(leaf, size), Leaves(0, size)]):
        tile = tile_of(subtree, size)
        assert tile in tiles and is_in(tile, size)
        step = 1 << (8 * tile.level)
        hashes = [defined(at, at + step) for at in range(tile.start, tile.end, step)]
        assert hash_in(hashes, subtree) == whole(subtree)


@given(sizes)
def test_a_tree_consists_of_few_whole_subtrees(size: int):
    found = [*subtrees(Leaves(0, size))]
    assert [each.height for each in found] == sorted({each.height for each in found}, reverse=True)
    assert sum(1 << each.height for each in found) == size


def _fails(verify: object, *claim: object) -> bool:
    try:
        verify(*claim)  # type: ignore[operator]
    except ProofError:
        return True
    return False
