"""The checks of a log, event by event, in the order of positions. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from schemas.codec import Undecodable, decode_recorded, stored_content
from schemas.envelope import event_uuid, stream_uuid
from schemas.events import SEALED_FIELDS, PersonErased, TextRedacted, type_of
from schemas.times import format_time
from schemas.values import Sealed
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
    sealed: bool
    content: bytes
    key_event: UUID | None
    """The event that the key at this position is of; None: there is no key."""
    key_person: str | None


class Stored(NamedTuple):
    """An event as it was read. `leaf`, `columns`: None where they were not read, or cannot be."""

    position: int
    state: bytes
    leaf: bytes | None
    columns: Columns | None


class Erasures(Struct, frozen=True):
    """What is on record as erased: person → the position of the last erasure, position → that of its redaction. And
    which events of a log that was imported came without their keys: all up to a position, and some besides."""

    persons: Mapping[str, int] = {}
    texts: Mapping[int, int] = {}
    keyless_upto: int = 0
    keyless: frozenset[int] = frozenset()

    @classmethod
    def read(
        cls, states: Iterable[tuple[int, bytes]], *, keyless_upto: int = 0, keyless: Iterable[int] = ()
    ) -> "Erasures":
        """What these events erase, in their order, each with its position. What is no event erases nothing."""
        persons: dict[str, int] = {}
        texts: dict[int, int] = {}
        for position, state in states:
            with suppress(Undecodable):
                match decode_recorded(state).event:
                    case PersonErased(person=person):
                        persons[person] = position
                    case TextRedacted(position=named):
                        texts[named] = position
        return cls(persons, texts, keyless_upto, frozenset(keyless))

    def by(self, position: int, person: str | None) -> int | None:
        """The position of what erases a text that stands at this position and is about this person."""
        found = max(self.texts.get(position, 0), self.persons.get(person, 0) if person is not None else 0)
        return found if found > position else None

    def came_without(self, position: int) -> bool:
        """Whether the event at this position came without its key."""
        return position <= self.keyless_upto or position in self.keyless


NOTHING_ERASED = Erasures()


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
_whole = msgspec.json.Decoder(dict[str, Any])

_SEALED = b'{"sealed":"'
"""In the stored bytes of every event with sealed texts. Inside of a text its quotes would be escaped."""


class Walk:
    """Goes through a log once. `roots`: size → the root that each checkpoint of this size has, to be compared.

    `hashes_only`: leave out all but positions, leaves, tiles and roots. `noted`: sizes at which to note the root of the
    log, in `noted`. `once`: find what is recorded twice, too, which takes some 100 bytes of memory an event.
    """

    def __init__(
        self,
        roots: Mapping[int, Iterable[bytes]],
        *,
        hashes_only: bool = False,
        noted: Iterable[int] = (),
        once: bool = False,
    ) -> None:
        self.edge = Edge()
        self.last = 0
        self._roots = {size: [*each] for size, each in roots.items()}
        self._sizes = sorted({*self._roots, *noted})
        self.noted: dict[int, bytes] = {}
        self.hashes_only = hashes_only
        self._versions: dict[str, int] = {}
        self._recorded = ""
        self._ids: set[bytes] | None = set() if once else None

    @property
    def signed(self) -> int:
        """The size of the greatest checkpoint."""
        return max(self._roots, default=0)

    def page(
        self, stored: Sequence[Stored], erasures: Erasures = NOTHING_ERASED
    ) -> tuple[list[Finding], list[FullTile]]:
        """What is found on the next page, and the tiles that its leaves make full. `erasures`: those of the whole log,
        by which it is judged whose keys are there."""
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
                found += self._one(each, erasures)
        tiles, begun = [], 0
        for size in self._sizes_upto(self.edge.size + len(leaves)):
            upto = begun + size - self.edge.size
            self.edge, made = grow(self.edge, leaves[begun:upto])
            tiles += made
            begun = upto
            self.noted[size] = self.edge.root
            if any(root != self.edge.root for root in self._roots.get(size, ())):
                text = f"the first {size} events have another root than the checkpoint of this size"
                found.append(Finding("roots", size, text))
        self.edge, made = grow(self.edge, leaves[begun:])
        return found, tiles + made

    def end(self) -> list[Finding]:
        """What is missing behind the last event."""
        return [
            Finding("roots", size, f"a checkpoint has {size} events, and the log has {self.edge.size}")
            for size in sorted(self._roots)
            if size > self.edge.size
        ]

    def _sizes_upto(self, size: int) -> list[int]:
        return [each for each in self._sizes if self.edge.size < each <= size]

    def _one(self, each: Stored, erasures: Erasures) -> Iterator[Finding]:
        position = each.position
        try:
            said = _said.decode(each.state)
            sequence = int(said.sequence)
        except (msgspec.MsgspecError, ValueError) as error:
            yield Finding("bytes", position, f"not a recorded event: {error}")
            return
        if sequence != position:
            yield Finding("bytes", position, f"the stored bytes say that this is position {sequence}")
        if self._ids is not None:
            known, identity = len(self._ids), event_uuid(said.source, said.id).bytes
            self._ids.add(identity)
            if len(self._ids) == known:
                yield Finding("ids", position, "its source and id are those of an event before it")
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
            if _content(said.type, each.state) not in (None, each.columns.content):
                text = "the column content is not the fingerprint of what the stored bytes say"
                yield Finding("columns", position, text)
            for text in _of_key(each, each.columns, erasures):
                yield Finding("keys", position, text)


def _beside(columns: Columns, said: _Said) -> Iterator[tuple[str, object, object]]:
    """Each column with what the stored bytes say."""
    yield "originator_id", columns.stream, stream_uuid(said.subject)
    yield "originator_version", columns.version, said.streamversion
    yield "topic", columns.type, said.type
    yield "subject", columns.subject, said.subject
    yield "source", columns.source, said.source
    yield "event_id", columns.event, event_uuid(said.source, said.id)
    yield "recorded_at", format_time(columns.recorded_at), said.recordedtime


def _content(type: str, state: bytes) -> bytes | None:
    """The fingerprint of an event that has no sealed texts: with them, it takes their key. None, too, of what is no
    event, or of a newer version's."""
    fields = SEALED_FIELDS.get(type)
    if fields is None:
        return None
    try:
        value = _whole.decode(state)
        if any(isinstance(value["data"].get(name), dict) for name in fields):
            return None
        return stored_content(value, {})
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError, ValueError):
        return None


def _of_key(each: Stored, columns: Columns, erasures: Erasures) -> Iterator[str]:
    """What is not as it should be about the key of an event, whether it is there or not."""
    if _SEALED not in each.state and not columns.sealed and columns.key_event is None:
        return
    try:
        event = decode_recorded(each.state).event
    except Undecodable:
        return  # A newer version's, or what the check of the bytes finds.
    sealed = any(isinstance(getattr(event, name), Sealed) for name in SEALED_FIELDS[type_of(event)])
    person = event.about()
    if sealed != columns.sealed:
        yield f"the column sealed says {columns.sealed}, the stored bytes {sealed}"
    if not sealed:
        if columns.key_event is not None:
            yield "there is a key, and no sealed text"
        return
    erased_by = erasures.by(each.position, person)
    if columns.key_event is None:
        if erased_by is None and not erasures.came_without(each.position):
            yield "the key of its sealed texts is gone, and nothing on record destroyed it"
        return
    if erasures.came_without(each.position):
        yield "the key of its sealed texts is there, and the import of it says that it came without"
    if erased_by is not None:
        yield f"the key of its sealed texts is there, and position {erased_by} says that it was destroyed"
    if columns.key_event != columns.event:
        yield "the key of its sealed texts is that of another event"
    if columns.key_person != person:
        yield f"the key says that its texts are about {columns.key_person}, the stored bytes {person}"


def _gap(last: int, position: int) -> Finding:
    if position <= last:
        return Finding("positions", position, f"position {position} comes after {last}")
    missing = f"position {last + 1} is" if position == last + 2 else f"positions {last + 1} to {position - 1} are"
    return Finding("positions", last + 1, f"{missing} missing")
