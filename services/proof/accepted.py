"""What an operator said had happened to a log that did not go on from where it was: the text of a signed note.

ORIGIN
history accepted
at: 2026-11-22T08:00:00.000000Z
by: who says so
events now: 250
root hash: 5Vr2…, of these events, as in a checkpoint
series: 0002
last checkpoint: 00000000000000000301.checkpoint
reason: what happened
"""

import base64
import binascii
from collections.abc import Iterable
from typing import NamedTuple

from services.proof.merkle import HASH_OCTETS
from services.proof.note import Note, NoteError, VerifierKey

TITLE = "history accepted"
_FIELDS = ("at", "by", "events now", "root hash", "series", "last checkpoint", "reason")


class Accepted(NamedTuple):
    """`events`: how many the log had then, and `root`: their root hash. `series`: which series of checkpoints begins
    with it. `last`: the name of the last checkpoint before, or none."""

    at: str
    by: str
    events: int
    root: bytes
    series: str
    last: str
    reason: str

    def text(self, origin: str) -> str:
        at, by, events, root, *others = self
        said = zip(_FIELDS, (at, by, events, base64.b64encode(root).decode(), *others), strict=True)
        return "".join(f"{line}\n" for line in (origin, TITLE, *(f"{name}: {value}" for name, value in said)))

    @classmethod
    def verified(cls, octets: bytes, origin: str, keys: Iterable[VerifierKey]) -> "Accepted":
        """What a note says, if one of the keys has signed it. Raises NoteError, also where it is of another log."""
        note = Note.read(octets)
        lines = note.text.removesuffix("\n").split("\n")
        said = dict(line.split(": ", 1) for line in lines[2:] if ": " in line)
        if lines[1:2] != [TITLE] or [*said] != [*_FIELDS] or len(lines) != 2 + len(_FIELDS):
            raise NoteError("not a note that says what happened to a log")
        at, by, events, root, series, last, reason = said.values()
        if not (events.isascii() and events.isdecimal()):
            raise NoteError(f"not a number of events: {events!r}")
        if lines[0] != origin:
            raise NoteError(f"the note is of {lines[0]}, not of {origin}")
        note.verified_by(keys)
        return cls(at, by, int(events), _root(root), series, last, reason)


def _root(text: str) -> bytes:
    try:
        root = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        root = b""
    if len(root) != HASH_OCTETS:
        raise NoteError(f"not a root hash: {text!r}")
    return root
