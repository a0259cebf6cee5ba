"""Whether one event is in a log, by its stored bytes and its tlog-proof. Pure."""

from collections.abc import Sequence

from schemas.codec import Undecodable, decode_recorded
from services.proof.checkpoint import Checkpoint
from services.proof.inclusion import Proof
from services.proof.merkle import ProofError, leaf_hash, verify_inclusion
from services.proof.note import NoteError, VerifierKey
from services.verifier.verify import Unverifiable


def verify_event(entry: bytes, octets: bytes, keys: Sequence[VerifierKey]) -> Checkpoint:
    """The checkpoint of the log that has these bytes at the position that they say.

    `octets`: the proof, as `GET …/events/{position}/proof` has it. Raises ProofError if they are not there, and
    Unverifiable if that cannot be said.
    """
    try:
        proof = Proof.read(octets)
        checkpoint = Checkpoint.verified(proof.checkpoint.encode(), keys[0].name, keys)
    except (ProofError, NoteError) as error:
        raise Unverifiable(f"the proof cannot be used: {error}") from None
    position = proof.leaf + 1
    if position > checkpoint.size:
        text = f"the proof is of position {position}, and the checkpoint in it has {checkpoint.size} events"
        raise Unverifiable(f"{text}; get the proof again")
    verify_inclusion(leaf_hash(entry), proof.leaf, checkpoint.size, proof.path, checkpoint.root)
    try:
        said = decode_recorded(entry).position
    except Undecodable as error:
        raise ProofError(f"what is there at position {position} is not a recorded event: {error}") from None
    if said != position:
        raise ProofError(f"the event says that it is at position {said}, and it is at {position}")
    return checkpoint
