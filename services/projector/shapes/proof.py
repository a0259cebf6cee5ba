"""What an answer carries so that it can be checked without the ledger. Pure."""

from collections.abc import Iterable

from msgspec import Struct

from services.proof.inclusion import Proof
from services.proof.merkle import HashOf, hash_of, inclusion


class ProvenEvent(Struct, frozen=True, kw_only=True):
    """An event on which an answer rests. `entry`: the stored bytes, which are UTF-8; `proof`: a C2SP tlog-proof."""

    position: int
    entry: str
    proof: str


class AnswerProof(Struct, frozen=True, kw_only=True):
    """A checkpoint of the log, as it was signed, and every event on which the answer rests, with its proof that it is
    in the log of that checkpoint."""

    checkpoint: str
    events: list[ProvenEvent]


def show_proof(entries: Iterable[tuple[int, bytes]], size: int, checkpoint: str, subtree: HashOf) -> AnswerProof:
    """The proof of these positions and their stored bytes in the log of a checkpoint of this size. `subtree` knows the
    hashes that their paths follow from."""
    return AnswerProof(
        checkpoint=checkpoint,
        events=[
            ProvenEvent(
                position=position,
                entry=entry.decode(),
                proof=str(
                    Proof(position - 1, [hash_of(each, subtree) for each in inclusion(position - 1, size)], checkpoint)
                ),
            )
            for position, entry in entries
        ],
    )
