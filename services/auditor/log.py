"""The checks of a log, event by event, in the order of positions. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from schemas.envelope import event_uuid, stream_uuid
from schemas.times import format_time
from services.auditor.findings import Finding
from services.proof.growth import Edge, FullTile, grow
from services.proof.merkle import leaf_hash


class Columns(NamedTuple):
    """What stands beside the stored bytes in the database."""

    stream: UUID
    version: int
    type: str
    subject: str
    source: str
    event: UUID
    recorded_at: datetime


class Stored(NamedTuple):
    """An event as it was read. `leaf`, `columns`: None where they were not read, or cannot be."""

    position: int
    state: bytes
    leaf: bytes | None
    columns: Columns | None


class _Said(Struct, frozen=True):
    """What the stored bytes say of themselves."""

    id: str
    source: str
    type: str
    subject: str
    recordedtime: str
    sequence: str
    streamversion: int


_said = msgspec.json.Decoder(_Said)


class Walk:
    """Goes through a log once. `roots`: size → the root that each checkpoint of this size has, to be compared.

    `hashes_only`: leave out all but positions, leaves, tiles and roots.
    """

    def __init__(self, roots: Mapping[int, Iterable[bytes]], *, hashes_only: bool = False) -> None:
        self.edge = Edge()
        self.last = 0
        self._roots = {size: [*each] for size, each in roots.items()}
        self._sizes = sorted(self._roots)
        self.hashes_only = hashes_only
        self._versions: dict[str, int] = {}
        self._recorded = ""

    def page(self, stored: Sequence[Stored]) -> tuple[list[Finding], list[FullTile]]:
        """What is found on the next page, and the tiles that its leaves make full."""
        found: list[Finding] = []
        leaves: list[bytes] = []
        for each in stored:
            if each.position != self.last + 1:
                found.append(_gap(self.last, each.position))
            self.last = each.position
            leaf = leaf_hash(each.state)
            leaves.append(leaf)
            if each.leaf is not None and each.leaf != leaf:
                found.append(Finding("leaves", each.position, "the leaf hash is not that of the stored bytes"))
            if not self.hashes_only:
                found += self._one(each)
        tiles, begun = [], 0
        for size in self._sizes_upto(self.edge.size + len(leaves)):
            upto = begun + size - self.edge.size
            self.edge, made = grow(self.edge, leaves[begun:upto])
            tiles += made
            begun = upto
            if any(root != self.edge.root for root in self._roots[size]):
                text = f"the first {size} events have another root than the checkpoint of this size"
                found.append(Finding("roots", size, text))
        self.edge, made = grow(self.edge, leaves[begun:])
        return found, tiles + made

    def end(self) -> list[Finding]:
        """What is missing behind the last event."""
        return [
            Finding("roots", size, f"a checkpoint has {size} events, and the log has {self.edge.size}")
            for size in self._sizes
            if size > self.edge.size
        ]

    def _sizes_upto(self, size: int) -> list[int]:
        return [each for each in self._sizes if self.edge.size < each <= size]

    def _one(self, each: Stored) -> Iterator[Finding]:
        position = each.position
        try:
            said = _said.decode(each.state)
            sequence = int(said.sequence)
        except (msgspec.MsgspecError, ValueError) as error:
            yield Finding("bytes", position, f"not a recorded event: {error}")
            return
        if sequence != position:
            yield Finding("bytes", position, f"the stored bytes say that this is position {sequence}")
        expected = self._versions.get(said.subject, 0) + 1
        if said.streamversion != expected:
            text = f"{said.subject} has version {said.streamversion} here, after {expected - 1}"
            yield Finding("versions", position, text)
        self._versions[said.subject] = said.streamversion
        # Of a fixed width, and so in the order of text. What was committed at once has one time.
        if said.recordedtime < self._recorded:
            yield Finding("times", position, f"recorded at {said.recordedtime}, before what stands before it")
        self._recorded = said.recordedtime
        if each.columns is not None:
            for name, column, meant in _beside(each.columns, said):
                if column != meant:
                    yield Finding("columns", position, f"the column {name} says {column}, the stored bytes {meant}")


def _beside(columns: Columns, said: _Said) -> Iterator[tuple[str, object, object]]:
    """Each column with what the stored bytes say."""
    yield "originator_id", columns.stream, stream_uuid(said.subject)
    yield "originator_version", columns.version, said.streamversion
    yield "topic", columns.type, said.type
    yield "subject", columns.subject, said.subject
    yield "source", columns.source, said.source
    yield "event_id", columns.event, event_uuid(said.source, said.id)
    yield "recorded_at", format_time(columns.recorded_at), said.recordedtime


def _gap(last: int, position: int) -> Finding:
    if position <= last:
        return Finding("positions", position, f"position {position} comes after {last}")
    missing = f"position {last + 1} is" if position == last + 2 else f"positions {last + 1} to {position - 1} are"
    return Finding("positions", last + 1, f"{missing} missing")
