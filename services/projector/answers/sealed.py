"""Sealed texts, opened while answering somebody with the scope `personal`. Read models never hold them.

What an answer shows of them goes into the access log (services/access_log.py). What is opened only to be compared, as
the problems of requirements with a text, is read by nobody; the words that are shown from it are.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from services.projector.answers.snapshot import Snapshot
from services.sealing import MasterKeys, SealingKey, unseal
from services.statements import Statements

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class _Stored(Struct, frozen=True):
    data: dict[str, Any]


_stored = msgspec.json.Decoder(_Stored)


class Opener:
    """Opens sealed texts for one answer, and keeps which of them it shows: position → the person they are about.

    `master` gives the master keys, once there is something to open; it raises MasterKeyError. `person`: whose page the
    answer is.
    """

    def __init__(self, master: Callable[[], MasterKeys]) -> None:
        self.shown: dict[int, str | None] = {}
        self.person: str | None = None
        self._opened: dict[int, str | None] = {}
        self._master = master

    def open(self, sealed: str, position: int, kept: SealingKey, field: str) -> str:
        """The text in the clear. Raises MasterKeyError."""
        text = unseal(sealed, self._master().unwrap(kept), kept.event_id, field)
        self._opened[position] = kept.person
        return text

    def tag(self, answer: bytes) -> bytes | None:
        """What tells an answer that shows sealed texts, or is about a person, from others; None where it is neither.

        Raises MasterKeyError.
        """
        return self._master().newest.tag(answer) if self.shown or self.person else None

    def show(self, positions: Iterable[int]) -> None:
        """Of the events at these positions, what was opened is shown."""
        self.shown.update((position, self._opened[position]) for position in positions if position in self._opened)


async def read_sealed(
    snapshot: Snapshot, positions: Iterable[int], field: str, opener: Opener
) -> Mapping[int, str | None]:
    """Position → the text of `field` in the event there, to be shown; None once its key is gone.

    Raises MasterKeyError.
    """
    texts = await read_to_compare(snapshot, positions, field, opener)
    opener.show(texts)
    return texts


async def read_to_compare(
    snapshot: Snapshot, positions: Iterable[int], field: str, opener: Opener
) -> Mapping[int, str | None]:
    """The same, for what is not shown. Of what is shown after all, the opener has to be told."""
    texts: dict[int, str | None] = {}
    for row in await snapshot.fetch(_statements, "sealed", [*positions]):
        found = _stored.decode(row["state"]).data[field]
        if isinstance(found, str):
            texts[row["position"]] = found
        elif row["wrapped"] is None:
            texts[row["position"]] = None
        else:
            texts[row["position"]] = opener.open(found["sealed"], row["position"], SealingKey.of(row), field)
    return texts
