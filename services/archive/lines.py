"""What an exported log comes to, line by line: whether it is what its manifest says, and the rows that it makes. Pure.

Nothing is taken on trust but the manifest, and of that whatever a checkpoint says which the reader has verified.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Struct

from schemas.codec import STORED_BYTES_MAX, Undecodable, decode_recorded, stored_content
from schemas.envelope import event_uuid, stream_uuid
from schemas.events import SEALED_FIELDS
from services.archive.manifest import MANIFEST, ArchiveError, KeysFile, LogFile, LogManifest, checkpoint_of, measured
from services.auditor.log import Stored, Walk
from services.proof.merkle import leaf_hash
from services.sealing import MasterKeyError, SealingKey, fingerprint, unseal

UNKNOWN_CONTENT = b""
"""The fingerprint of an event with sealed texts whose key did not come along: the id alone decides, as after an
erasure."""

Unwrap = Callable[[SealingKey], bytes]
"""The key of an event, by the master key. Raises MasterKeyError."""


class EventRow(NamedTuple):
    """A row of `stored_events`."""

    originator_id: UUID
    originator_version: int
    topic: str
    state: bytes
    notification_id: int
    event_id: UUID
    subject: str
    source: str
    recorded_at: datetime
    sealed: bool
    content: bytes
    leaf_hash: bytes


class KeyRow(NamedTuple):
    """A row of `sealing_keys`."""

    position: int
    event_id: UUID
    person: str | None
    master: str
    wrapped: bytes


class KeptKey(Struct, frozen=True, kw_only=True):
    """A line of a file of keys. `wrapped` is base64 there."""

    position: int
    event_id: UUID
    person: str | None
    master: str
    wrapped: bytes


class Part(NamedTuple):
    """What one file of the log comes to. `keyless`: the positions of its sealed events without a key."""

    events: list[EventRow]
    keys: list[KeyRow]
    keyless: list[int]


_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_said = msgspec.json.Decoder(type=dict[str, Any])
_kept = msgspec.json.Decoder(type=KeptKey)


class Reading:
    """Goes through an exported log once, file by file. Raises ArchiveError, naming file and line."""

    def __init__(self, manifest: LogManifest) -> None:
        self._manifest = manifest
        self._checkpoint = checkpoint_of(manifest)
        roots = {manifest.size: [bytes.fromhex(manifest.root)]}
        if self._checkpoint is not None:
            roots.setdefault(self._checkpoint.size, []).append(self._checkpoint.root)
        self._walk = Walk(roots)

    def part(self, file: LogFile, octets: bytes, keys: bytes | None, unwrap: Unwrap) -> Part:
        """The next file, and that of its keys if they are to come along."""
        lines = _lines(file, octets)
        found, _ = self._walk.page([Stored(at, line, None, None) for at, line in enumerate(lines, file.first)])
        for each in found:
            assert each.position is not None
            if each.check == "roots":
                raise ArchiveError(self._other_root(each.position))
            raise ArchiveError(f"{_spot(file, each.position - file.first)}: {each.text}")
        kept = {} if file.keys is None or keys is None else _keys(file.keys, keys)
        part = Part([], [], [])
        for at, state in enumerate(lines):
            position = file.first + at
            row, key = _row(_spot(file, at), state, position, kept.pop(position, None), unwrap)
            part.events.append(row)
            if key is not None:
                part.keys.append(key)
            elif row.sealed:
                part.keyless.append(position)
        for spot, _ in kept.values():
            raise ArchiveError(f"{spot}: this file has no event of that position")
        return part

    def _other_root(self, size: int) -> str:
        said = [MANIFEST] if size == self._manifest.size else []
        if self._checkpoint is not None and size == self._checkpoint.size:
            said.append(f"the checkpoint in {MANIFEST}")
        text = f"the first {size} events have another root hash than {' or '.join(said)} says"
        return f"{text}: this is not the log that was exported"


def flaw(file: LogFile, octets: bytes) -> str:
    """The first line of a file of which it shows that it is not what was exported; empty if none does."""
    *lines, rest = octets.split(b"\n")
    for at, line in enumerate(lines):
        if _sequence(line) != file.first + at:
            return f"; {_spot(file, at, named=False)} is not the event of that position"
    if rest:
        return f"; it ends within {_spot(file, len(lines), named=False)}"
    if len(lines) <= file.last - file.first:
        return f"; it ends before {_spot(file, len(lines), named=False)}"
    return ""


def as_exported(file: LogFile | KeysFile, octets: bytes) -> None:
    """Raises ArchiveError unless these are the bytes that the manifest has for a file."""
    found = measured(octets)
    told = flaw(file, octets) if isinstance(file, LogFile) else ""
    if found.bytes != file.bytes:
        raise ArchiveError(f"{file.name} has {found.bytes} bytes, and {MANIFEST} says {file.bytes}{told}")
    if found.sha256 != file.sha256:
        raise ArchiveError(f"{file.name} has the SHA-256 {found.sha256}, and {MANIFEST} says {file.sha256}{told}")


def _lines(file: LogFile, octets: bytes) -> Sequence[bytes]:
    as_exported(file, octets)
    *lines, rest = octets.split(b"\n")
    count = file.last - file.first + 1
    if rest or len(lines) != count:
        raise ArchiveError(f"{file.name} has {len(lines)} whole lines, and {MANIFEST} says {count} events")
    for at, line in enumerate(lines):
        if len(line) > STORED_BYTES_MAX:
            raise ArchiveError(f"{_spot(file, at)} has {len(line)} bytes; an event has {STORED_BYTES_MAX} at most")
    return lines


def _keys(file: KeysFile, octets: bytes) -> dict[int, tuple[str, SealingKey]]:
    """By position: which line it is, and the key."""
    as_exported(file, octets)
    found: dict[int, tuple[str, SealingKey]] = {}
    *lines, _ = octets.split(b"\n")
    for number, line in enumerate(lines, 1):
        spot = f"{file.name}, line {number}"
        try:
            kept = _kept.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ArchiveError(f"{spot} is not a sealing key: {error}") from None
        if kept.position in found:
            raise ArchiveError(f"{spot} is a second key of position {kept.position}")
        found[kept.position] = (f"{spot} (position {kept.position})", SealingKey.of(msgspec.structs.asdict(kept)))
    if len(found) != file.keys:
        raise ArchiveError(f"{file.name} has {len(found)} keys, and {MANIFEST} says {file.keys}")
    return found


def _row(
    spot: str, line: bytes, position: int, kept: tuple[str, SealingKey] | None, unwrap: Unwrap
) -> tuple[EventRow, KeyRow | None]:
    try:
        recorded = decode_recorded(line)
        value = _said.decode(line)
        # Indexes look for members in the octets, and PostgreSQL reads no JSON with U+0000.
        if msgspec.json.format(line, indent=-1) != line or _NUL.search(line):
            raise ValueError("it is JSON with spaces, or with U+0000, as no ledger writes it")
        texts = dict(_sealed_texts(value))
        event_id = event_uuid(recorded.source, recorded.id)
        about = recorded.event.about()
        key = None if kept is None else _opened(*kept, event_id, about, texts, unwrap)
        if key is not None:
            assert kept is not None
            clear = {field: _clear(kept[0], text, key, event_id, field) for field, text in texts.items()}
            content = fingerprint(stored_content(value, clear), key)
        else:
            content = UNKNOWN_CONTENT if texts else stored_content(value, {})
    except (Undecodable, KeyError, TypeError, ValueError) as error:
        raise ArchiveError(f"{spot}: this version of the software cannot read it: {error}") from None
    row = EventRow(
        originator_id=stream_uuid(recorded.subject),
        originator_version=recorded.version,
        topic=value["type"],
        state=line,
        notification_id=position,
        event_id=event_id,
        subject=recorded.subject,
        source=recorded.source,
        recorded_at=recorded.recordedtime,
        sealed=bool(texts),
        content=content,
        leaf_hash=leaf_hash(line),
    )
    if kept is None:
        return row, None
    return row, KeyRow(position, event_id, about, kept[1].master, kept[1].wrapped)


def _sealed_texts(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in SEALED_FIELDS.get(value["type"], ()):
        item = value["data"].get(field)
        if isinstance(item, dict):
            yield field, item["sealed"]


def _opened(
    spot: str, key: SealingKey, event_id: UUID, about: str | None, texts: Mapping[str, str], unwrap: Unwrap
) -> bytes:
    if key.event_id != event_id or not texts:
        raise ArchiveError(f"{spot}: the event there is not the one that this key is of")
    # Whoever is erased later is found by it.
    if key.person != about:
        said, is_about = ("nobody" if each is None else each for each in (key.person, about))
        raise ArchiveError(f"{spot}: it says that the event there is about {said}, and it is about {is_about}")
    try:
        return unwrap(key)
    except MasterKeyError as error:
        raise ArchiveError(
            f"{spot}: {error}. Put the master key of the ledger that was exported on a line of its own behind the first"
            " one in the file of the master keys here (LEDGER_MASTER_KEY_FILE); the import wraps the keys anew, under"
            " the first. Or leave them out with --without-keys: then what is sealed stays sealed"
        ) from None


def _clear(spot: str, text: str, key: bytes, event_id: UUID, field: str) -> str:
    try:
        return unseal(text, key, event_id, field)
    except MasterKeyError as error:
        raise ArchiveError(f"{spot}: {error}") from None


def _sequence(line: bytes) -> int | None:
    try:
        return int(_said.decode(line)["sequence"])
    except (msgspec.MsgspecError, UnicodeDecodeError, KeyError, TypeError, ValueError):
        return None


def _spot(file: LogFile, at: int, *, named: bool = True) -> str:
    return f"{file.name}, " * named + f"line {at + 1} (position {file.first + at})"
