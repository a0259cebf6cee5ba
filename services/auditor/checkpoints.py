"""The checks of checkpoints: who signed them, and whether each is kept under the size that it says. Pure."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msgspec import Struct

from services.auditor.findings import Finding
from services.proof.checkpoint import Checkpoint
from services.proof.note import Note, NoteError, VerifierKey


class KeptCheckpoint(NamedTuple):
    """A checkpoint as it was found. `size`: how many events it is kept under; None where its note stands alone."""

    note: str
    size: int | None


class Checkpoints(Struct):
    """Checkpoints, as far as somebody known has signed them, and what was found on reading them. `roots`: size → the
    roots that were signed of it. `inside`: the sizes of those that are kept inside."""

    roots: dict[int, set[bytes]]
    inside: Sequence[int]
    found: Sequence[Finding]


def read_checkpoints(
    inside: Sequence[KeptCheckpoint], outside: Iterable[bytes], origin: str, keys: Sequence[VerifierKey]
) -> Checkpoints:
    """`outside`: notes that were kept elsewhere."""
    roots: dict[int, set[bytes]] = {}
    sizes: list[int] = []
    found: list[Finding] = []
    within = {each.note.encode() for each in inside}
    for note in {*within, *outside}:
        try:
            checkpoint = Checkpoint.verified(note, origin, keys)
        except NoteError as error:
            found.append(Finding("signatures", size_of(note), f"a checkpoint that was kept: {error}"))
        else:
            roots.setdefault(checkpoint.size, set()).add(checkpoint.root)
            if note in within:
                sizes.append(checkpoint.size)
    for each in inside:
        said = size_of(each.note.encode())
        if each.size is not None and said is not None and each.size != said:
            text = f"the column beside a checkpoint says {each.size} events, its note {said}"
            found.append(Finding("signatures", each.size, text))
    return Checkpoints(roots, sizes, found)


def origin_of(note: str) -> str | None:
    """Of which log it is, whoever signed it; None if it is no checkpoint."""
    try:
        return Checkpoint.read(Note.read(note.encode()).text).origin
    except NoteError:
        return None


def size_of(note: bytes) -> int | None:
    """How many events it says; None if it is no checkpoint."""
    try:
        return Checkpoint.read(Note.read(note).text).size
    except NoteError:
        return None
