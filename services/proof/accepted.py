"""What an operator said had happened to a log that did not go on from where it was: the text of a signed note.

ORIGIN
history accepted
at: 2026-11-22T08:00:00.000000Z
by: who says so
events now: 250
last checkpoint: 00000000000000000301.checkpoint
reason: what happened
"""

from collections.abc import Iterable
from typing import NamedTuple

from services.proof.note import Note, NoteError, VerifierKey

TITLE = "history accepted"
_FIELDS = ("at", "by", "events now", "last checkpoint", "reason")


class Accepted(NamedTuple):
    """`events`: how many the log had then. `last`: the name of the last checkpoint before, or none."""

    at: str
    by: str
    events: int
    last: str
    reason: str

    def text(self, origin: str) -> str:
        said = zip(_FIELDS, map(str, self), strict=True)
        return "".join(f"{line}\n" for line in (origin, TITLE, *(f"{name}: {value}" for name, value in said)))

    @classmethod
    def verified(cls, octets: bytes, origin: str, keys: Iterable[VerifierKey]) -> "Accepted":
        """What a note says, if one of the keys has signed it. Raises NoteError, also where it is of another log."""
        note = Note.read(octets)
        lines = note.text.removesuffix("\n").split("\n")
        values = [line.removeprefix(f"{name}: ") for name, line in zip(_FIELDS, lines[2:], strict=False)]
        if len(values) < len(_FIELDS) or lines[1] != TITLE or not values[2].isdecimal():
            raise NoteError("not a note that says what happened to a log")
        if lines[0] != origin:
            raise NoteError(f"the note is of {lines[0]}, not of {origin}")
        note.verified_by(keys)
        return cls(values[0], values[1], int(values[2]), values[3], values[4])
