"""What an export says of itself: a `manifest.json` beside its files. Pure.

The export of a log is NDJSON: in `FIRST-LAST.ndjson` (positions, 20 digits each) a line for each event, the stored
bytes exactly as they were hashed, and nothing else; in `FIRST-LAST.keys.ndjson`, if keys were asked for, a line for
each sealing key that there still is, wrapped as it was kept. So SHA-256(0x00 ‖ line) are the leaves of a tree
(RFC 6962) with the root hash that the manifest names.

The export of read models has a file for each table, its rows in the order of its key, which begins with the position.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from schemas.values import Origin, Team
from services.proof.checkpoint import Checkpoint
from services.proof.note import Note, NoteError

MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 64 * 1024 * 1024
FILE_BYTES_MAX = 64 * 1024 * 1024  # Of a part of a log; its last event may go beyond.
LOG_FORMAT: Literal["requirements-ledger log"] = "requirements-ledger log"
LOG_VERSION = 1
READ_MODELS_FORMAT = "requirements-ledger read models"
READ_MODELS_VERSION = 1
POSITION_DIGITS = 20

Hex = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Size = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Format = Literal["csv", "parquet"]


class ArchiveError(Exception):
    """What was asked for cannot be done, and nothing was written. The text says why, and what to do."""


class Measured(NamedTuple):
    """A file's length in bytes, and its SHA-256 in hexadecimal."""

    bytes: Size
    sha256: Hex


class KeysFile(Struct, frozen=True, kw_only=True):
    """The sealing keys of the events of one file."""

    name: str
    keys: Size
    bytes: Size
    sha256: Hex


class LogFile(Struct, frozen=True, kw_only=True):
    """A part of a log: the events at the positions `first` to `last`."""

    name: str
    first: Size
    last: Size
    bytes: Size
    sha256: Hex
    keys: KeysFile | None = None


class LogManifest(Struct, frozen=True, kw_only=True):
    """An exported log. `root`: the root hash of the tree over its events, in hexadecimal."""

    format: str
    version: int
    ledger: str
    origin: Origin
    teams: list[Team] | None
    """The teams of its ledger; None: they were not asked for."""
    size: Size
    root: Hex
    checkpoint: str | None
    """The latest signed one of this size or a smaller one, if there is any."""
    with_keys: bool
    files: list[LogFile]
    software: str
    made_at: str


class Column(Struct, frozen=True):
    """A column of a table of read models, and what is in it."""

    name: str
    type: Literal["int64", "int32", "text", "list of text", "timestamp", "date", "decimal", "boolean"]


class TableFile(Struct, frozen=True, kw_only=True):
    """A table of a read model."""

    name: str
    table: str
    columns: list[Column]
    rows: int
    bytes: int
    sha256: str


class ProjectionFiles(Struct, frozen=True, kw_only=True):
    """A read model as of the position of its manifest. `version`: of the projection that built it."""

    projection: str
    version: str
    digest: str
    tables: list[TableFile]


class ReadModelsManifest(Struct, frozen=True, kw_only=True):
    """Exported read models, all as of one position."""

    format: str
    version: int
    ledger: str
    origin: str
    position: int
    encoding: Format
    projections: list[ProjectionFiles]
    software: str
    made_at: str


class _Versioned(Struct):
    format: str
    version: int


def encode(manifest: LogManifest | ReadModelsManifest) -> bytes:
    """A manifest as it is written."""
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"


def log_file_name(first: int, last: int) -> str:
    return f"{first:0{POSITION_DIGITS}d}-{last:0{POSITION_DIGITS}d}.ndjson"


def keys_file_name(first: int, last: int) -> str:
    return f"{first:0{POSITION_DIGITS}d}-{last:0{POSITION_DIGITS}d}.keys.ndjson"


def read_log_manifest(octets: bytes) -> LogManifest:
    """The manifest of an exported log, if it fits together. Raises ArchiveError."""
    try:
        found = msgspec.json.decode(octets, type=_Versioned)
        if found.format != LOG_FORMAT:
            raise ArchiveError(f"{MANIFEST}: this is {found.format!r}, not an exported log ({LOG_FORMAT!r})")
        if found.version != LOG_VERSION:
            text = f"{MANIFEST}: the export has the format version {found.version}, and this software reads"
            raise ArchiveError(f"{text} {LOG_VERSION}; import it with the version that made it, or export it anew")
        manifest = msgspec.json.decode(octets, type=LogManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArchiveError(f"{MANIFEST} is not the manifest of an exported log: {error}") from None
    _fits_together(manifest.files, manifest.size)
    if any(file.keys is not None for file in manifest.files) and not manifest.with_keys:
        raise ArchiveError(f"{MANIFEST}: it names files of keys, and says that it has none")
    _ = checkpoint_of(manifest)
    return manifest


def checkpoint_of(manifest: LogManifest) -> Checkpoint | None:
    """What the checkpoint of an exported log says; nobody has looked at its signature yet. Raises ArchiveError."""
    if manifest.checkpoint is None:
        return None
    try:
        found = Checkpoint.read(Note.read(manifest.checkpoint.encode()).text)
    except NoteError as error:
        raise ArchiveError(f"{MANIFEST}: its checkpoint cannot be read: {error}") from None
    if found.origin != manifest.origin:
        raise ArchiveError(f"{MANIFEST}: its checkpoint is of {found.origin}, and the log is {manifest.origin}")
    if found.size > manifest.size:
        raise ArchiveError(f"{MANIFEST}: its checkpoint has {found.size} events, and the log {manifest.size}")
    return found


def measured(octets: bytes) -> Measured:
    return Measured(len(octets), sha256(octets).hexdigest())


def _fits_together(files: Sequence[LogFile], size: int) -> None:
    last = 0
    for file in files:
        if file.first != last + 1 or file.last < file.first:
            text = f"{MANIFEST}: {file.name[:100]!r} has the positions {file.first} to {file.last}, after {last}"
            raise ArchiveError(f"{text}; the files of a log follow each other without a gap")
        named = [(file.name, log_file_name(file.first, file.last))]
        if file.keys is not None:
            named.append((file.keys.name, keys_file_name(file.first, file.last)))
        for name, expected in named:
            if name != expected:
                raise ArchiveError(f"{MANIFEST}: it names a file {name[:100]!r}, which has to be {expected}")
        last = file.last
    if last != size:
        raise ArchiveError(f"{MANIFEST}: its files have {last} events, and it says {size}")
