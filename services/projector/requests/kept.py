"""Answers that were sent, kept as they were encoded: who asks the same gets the same, for as long as it would be read
from the same.

One is kept a question, the last. None has sealed words: what was opened may be erased, and who reads it is on record.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256

from msgspec import Struct

from services.projector.answers.snapshot import Basis

KEPT_OCTETS_MAX = 16 * 1024 * 1024
"""In one process, over all ledgers. Those that were asked for longest ago make room."""

OCTETS_BESIDE_BODY = 4 * 1024
"""What an answer takes in memory beside its body, as a rule: headers, and what it was read from."""


class KeptAnswer(Struct, frozen=True):
    """An answer with status 200, and all that it was read from."""

    body: bytes
    headers: Mapping[str, str]
    bases: Sequence[Basis]

    @property
    def octets(self) -> int:
        return len(self.body) + OCTETS_BESIDE_BODY


class KeptAnswers:
    """Answers by what was asked."""

    def __init__(self, octets_max: int = KEPT_OCTETS_MAX) -> None:
        self.octets = 0
        self._octets_max = octets_max
        self._answers: OrderedDict[bytes, KeptAnswer] = OrderedDict()

    def get(self, asked: bytes) -> KeptAnswer | None:
        if asked in self._answers:
            self._answers.move_to_end(asked)
        return self._answers.get(asked)

    def keep(self, asked: bytes, answer: KeptAnswer) -> None:
        """Keep this one instead of what was answered before, unless there is no room for it at all."""
        before = self._answers.pop(asked, None)
        self.octets -= before.octets if before else 0
        if answer.octets > self._octets_max:
            return
        self._answers[asked] = answer
        self.octets += answer.octets
        while self.octets > self._octets_max:
            _, dropped = self._answers.popitem(last=False)
            self.octets -= dropped.octets


def question(target: str, accept: str, *, personal: bool) -> bytes:
    """What tells a question from others: the target of its request as it was sent, which names the ledger, and what
    else the answer follows from. A digest, since a target may hold a customer's words."""
    return sha256(f"{personal}\n{accept}\n{target}".encode(errors="surrogateescape")).digest()
