"""Checkpoints, as C2SP's tlog-checkpoint has them: signed notes that say which log, how long, and its root hash."""

import re
from base64 import b64encode
from collections.abc import Iterable
from typing import NamedTuple

from services.proof.merkle import EMPTY_ROOT, HASH_OCTETS
from services.proof.note import Note, NoteError, Signer, VerifierKey, from_base64

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_LINES_MIN = 3


class Checkpoint(NamedTuple):
    """That the log of this origin had so many leaves, and this root hash."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    def signed(self, signers: Iterable[Signer]) -> Note:
        return Note.signed(self.text, signers)

    @classmethod
    def read(cls, text: str) -> "Checkpoint":
        """What the text of a note says. Raises NoteError if it is not that of a checkpoint."""
        lines = text.removesuffix("\n").split("\n")
        if len(lines) < _LINES_MIN or not all(lines) or not _SIZE.fullmatch(lines[1]):
            raise NoteError("not a checkpoint: a line each for the origin, the size and the root hash")
        size, root = int(lines[1]), from_base64(lines[2])
        if root is None or len(root) != HASH_OCTETS:
            raise NoteError("the root hash of a checkpoint is 32 bytes in base64")
        if size == 0 and root != EMPTY_ROOT:
            raise NoteError("a checkpoint of no leaves has the root hash of the empty tree")
        return cls(lines[0], size, root)

    @classmethod
    def verified(cls, octets: bytes, origin: str, keys: Iterable[VerifierKey]) -> "Checkpoint":
        """The checkpoint that a note says, if one of the keys has signed it. Raises NoteError, also where it is of
        another log."""
        note = Note.read(octets)
        found = cls.read(note.text)
        if found.origin != origin:
            raise NoteError(f"the checkpoint is of {found.origin}, not of {origin}")
        note.verified_by(keys)
        return found
