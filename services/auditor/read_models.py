"""What events come to, and whether the rows of read models are that. Pure.

Rows are only ever added, and each has the position that made it in its key. So a part of the log is compared with the
rows of its positions, however long either is.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from schemas.codec import canonical, decode_recorded
from services.auditor.findings import Finding
from services.auditor.log import Stored
from services.projector.projections import ALL, Row
from services.projector.running_digest import plain

SHOWN_CHARACTERS_MAX = 200


class Refused(NamedTuple):
    """An event that cannot be applied to a read model (None: to none, since it cannot be decoded), and why."""

    projection: str | None
    position: int
    reason: str


class Folded(NamedTuple):
    """What a page of events comes to."""

    rows: Mapping[str, Sequence[tuple[int, Row]]]
    """By read model, each row with the position that made it."""
    recorded: Mapping[int, datetime]
    """When each position was recorded."""
    refused: Sequence[Refused]


def fold(page: Iterable[Stored]) -> Folded:
    """Fold events for all read models."""
    rows: dict[str, list[tuple[int, Row]]] = {projection.name: [] for projection in ALL}
    recorded_at: dict[int, datetime] = {}
    refused: list[Refused] = []
    for position, state, *_ in page:
        try:
            recorded = decode_recorded(state)
        except Exception as error:  # Whatever it is, it is what the bytes are.
            refused.append(Refused(None, position, str(error)))
            continue
        recorded_at[position] = recorded.recordedtime
        for projection in ALL:
            if recorded.type in projection.topics:
                try:
                    rows[projection.name] += [(position, row) for row in [*projection.fold(recorded)]]
                except Exception as error:
                    refused.append(Refused(projection.name, position, str(error)))
    return Folded(rows, recorded_at, refused)


def compare(
    projection: str, folded: Sequence[tuple[int, Row]], rows: Mapping[str, Iterable[tuple[int, Sequence[Any]]]]
) -> Iterator[Finding]:
    """What differs: `folded` is what the events come to, `rows` what the tables have, each with its position."""
    expected: dict[str, Counter[tuple[int, bytes]]] = {table: Counter() for table in rows}
    for position, (table, values) in folded:
        expected.setdefault(table, Counter())[position, _text(values)] += 1
    for table, wanted in sorted(expected.items()):
        there = Counter((position, _text(values)) for position, values in rows.get(table, ()))
        for (position, text), _ in sorted((wanted - there).items()):
            yield Finding("read models", position, f"{projection}: {table} lacks {_shown(text)}")
        for (position, text), _ in sorted((there - wanted).items()):
            yield Finding("read models", position, f"{projection}: {table} has {_shown(text)}, which no event made")


def _text(values: Sequence[Any]) -> bytes:
    return canonical([plain(value) for value in values])


def _shown(text: bytes) -> str:
    told = text.decode()
    return told if len(told) <= SHOWN_CHARACTERS_MAX else f"{told[:SHOWN_CHARACTERS_MAX]}…"
