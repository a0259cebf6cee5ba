"""Whether the rows of read models are those that the events come to. Pure.

Rows are only ever added, and each has the position that made it in its key. So a part of the log is compared with the
rows of its positions, however long either is.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from schemas.codec import canonical
from services.auditor.findings import Finding
from services.projector.digest import plain
from services.projector.projections import Row

SHOWN_CHARACTERS_MAX = 200


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
    return canonical([_alike(value) for value in values])


def _alike(value: Any) -> Any:
    """A value as the digest writes it, whether it was folded or read."""
    match value:
        case list() | tuple():
            return [_alike(each) for each in value]
        case _:
            return plain(value)


def _shown(text: bytes) -> str:
    told = text.decode()
    return told if len(told) <= SHOWN_CHARACTERS_MAX else f"{told[:SHOWN_CHARACTERS_MAX]}…"
