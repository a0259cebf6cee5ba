"""A proof that an entry is in the log, which can be checked without the log: C2SP's tlog-proof."""

import re
from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple

from services.proof.merkle import HASH_OCTETS, ProofError
from services.proof.note import from_base64

_FIRST = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
_PATH_MAX = 63


class Proof(NamedTuple):
    """Where an entry is, its path to the root, and the checkpoint as it was signed."""

    leaf: int
    path: Sequence[bytes]
    checkpoint: str

    def __str__(self) -> str:
        hashes = "".join(f"{b64encode(each).decode()}\n" for each in self.path)
        return f"{_FIRST}\nindex {self.leaf}\n{hashes}\n{self.checkpoint}"

    @classmethod
    def read(cls, octets: bytes) -> "Proof":
        """Raises ProofError if it is not a proof. What is in a line `extra` is not looked at."""
        try:
            text = octets.decode()
        except UnicodeDecodeError:
            raise ProofError("a proof is UTF-8") from None
        above, blank, checkpoint = text.partition("\n\n")
        lines = above.split("\n")
        if not blank or lines.pop(0) != _FIRST:
            raise ProofError(f"not a proof: its first line is {_FIRST}, and a checkpoint follows below an empty line")
        if lines and lines[0].startswith("extra "):
            lines.pop(0)
        index = _INDEX.fullmatch(lines.pop(0)) if lines else None
        if index is None or len(lines) > _PATH_MAX:
            raise ProofError("not a proof: a line with the index, and one for each hash of the path")
        return cls(int(index[1]), [_hash(line) for line in lines], checkpoint)


def _hash(line: str) -> bytes:
    found = from_base64(line)
    if found is None or len(found) != HASH_OCTETS:
        raise ProofError(f"not a hash of 32 bytes in base64: {line[:100]!r}")
    return found
