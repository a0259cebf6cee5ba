"""Digests of read models as they are published: signed notes, of which this is the text.

    example.com/ledger/main/digests         the origin of the log, and /digests
    requirements 0f1e2d3c4b5a6978           the read model, and the version of its definition
    812                                     the position: it is what the first 812 events come to
    2026-11-21T10:00:00.000000Z             when the event at this position was recorded
    5be1…                                   the digest: 64 hexadecimal digits

The first line is also the name of the keys that sign it. It is the origin of no checkpoint, and so what signs digests
can sign none. What is digested, and how, is said in services/projector/running_digest.py.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

from services.proof.note import Note, NoteError, Signer, VerifierKey

_WHICH = re.compile(r"(?P<projection>[a-z][a-z_]{0,62}) (?P<version>[0-9a-z]{1,64})")
_POSITION = re.compile(r"[1-9][0-9]{0,18}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_LINES = 5


def digests_origin(origin: str) -> str:
    """Under which name digests of the read models of this log are signed."""
    return f"{origin}/digests"


class PublishedDigest(NamedTuple):
    """That a read model of the log of this origin had this digest at a position."""

    origin: str
    projection: str
    version: str
    position: int
    recordedtime: str
    digest: str

    @property
    def text(self) -> str:
        first = digests_origin(self.origin)
        return f"{first}\n{self.projection} {self.version}\n{self.position}\n{self.recordedtime}\n{self.digest}\n"

    def signed(self, signers: Iterable[Signer]) -> Note:
        return Note.signed(self.text, signers)

    @classmethod
    def read(cls, text: str) -> "PublishedDigest":
        """What the text of a note says. Raises NoteError if it is not that of a digest."""
        lines = text.removesuffix("\n").split("\n")
        which = _WHICH.fullmatch(lines[1]) if len(lines) == _LINES else None
        forms = zip((_POSITION, _TIME, _DIGEST), lines[2:], strict=True) if which else ()
        origin = lines[0].removesuffix(digests_origin(""))
        if which is None or origin in ("", lines[0]) or not all(form.fullmatch(line) for form, line in forms):
            raise NoteError("not a digest: a line each for the log, the read model, the position, its time, the digest")
        return cls(origin, which["projection"], which["version"], int(lines[2]), lines[3], lines[4])

    @classmethod
    def verified(cls, octets: bytes, origin: str, keys: Iterable[VerifierKey]) -> "PublishedDigest":
        """The digest that a note says, if one of the keys has signed it; keys of another name than that of digests do
        not count. Raises NoteError, also where it is of another log."""
        note = Note.read(octets)
        found = cls.read(note.text)
        if found.origin != origin:
            raise NoteError(f"the digest is of {found.origin}, not of {origin}")
        note.verified_by(key for key in keys if key.name == digests_origin(origin))
        return found
