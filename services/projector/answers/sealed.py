"""Sealed texts, opened while answering somebody with the scope `personal`. Read models never hold them."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from services.projector.answers.snapshot import Snapshot
from services.sealing import MasterKeys, SealingKey, open_text
from services.statements import Statements

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class _Stored(Struct, frozen=True):
    data: dict[str, Any]


_stored = msgspec.json.Decoder(_Stored)


Opener = Callable[[], MasterKeys]
"""Gives the master keys, once there is something to open. Raises MasterKeyError."""


async def read_sealed(
    snapshot: Snapshot, positions: Iterable[int], field: str, opener: Opener
) -> Mapping[int, str | None]:
    """Position → the text of `field` in the event there; None once its key is gone. Raises MasterKeyError."""
    texts: dict[int, str | None] = {}
    for row in await snapshot.fetch(_statements, "sealed", [*positions]):
        found = _stored.decode(row["state"]).data[field]
        if isinstance(found, str):
            texts[row["position"]] = found
        elif row["wrapped"] is None:
            texts[row["position"]] = None
        else:
            kept = SealingKey(
                event_id=row["event_id"], person=row["person"], master=row["master"], wrapped=row["wrapped"]
            )
            texts[row["position"]] = open_text(found["sealed"], kept, opener(), field)
    return texts
