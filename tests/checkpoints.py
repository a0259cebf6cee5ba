"""Checkpoints in tests where no ledger service runs: the tree of a log is grown, and its checkpoint signed and kept."""

import asyncpg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.proof.checkpoint import Checkpoint
from services.proof.growth import Edge, grow
from services.proof.note import KeySigner, VerifierKey
from services.tree import Kept, Tree

LEAVES_MAX = 100_000
SEED = bytes(32)


def key_of(origin: str) -> VerifierKey:
    return _signer(origin).key


async def sign(connection: asyncpg.Connection, ledger: str = "main") -> VerifierKey:
    """Take all that was recorded up into the tree, and keep its checkpoint. Whoever may write the log may do so."""
    tree = Tree(ledger)
    origin = await connection.fetchval("SELECT origin FROM registry.ledgers WHERE name = $1", ledger)
    signer, leaves = _signer(origin), await tree.leaves(connection, 0, LEAVES_MAX)
    edge, tiles = grow(Edge(), leaves)
    kept = await tree.full_leaves(connection)
    await tree.add(connection, [tile for tile in tiles if tile.level or tile.number * 256 >= kept])
    note = str(Checkpoint(origin, edge.size, edge.root).signed([signer]))
    await tree.keep(connection, Kept(edge.size, note), [str(signer.key)])
    return signer.key


def _signer(origin: str) -> KeySigner:
    return KeySigner(origin, Ed25519PrivateKey.from_private_bytes(SEED))
