"""Writes a log out: the stored bytes of its events, in files of bounded size, and a manifest of their hashes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO

import msgspec
from msgspec import Struct

from services.archive.directory import measured_file, whole_or_absent
from services.archive.lines import KeptKey
from services.archive.manifest import (
    FILE_BYTES_MAX,
    LOG_FORMAT,
    LOG_VERSION,
    MANIFEST,
    ArchiveError,
    KeysFile,
    LogFile,
    LogManifest,
    encode,
    keys_file_name,
    log_file_name,
)
from services.auditor.audit import Source
from services.auditor.findings import Progress
from services.auditor.log import Stored, Walk
from services.proof.checkpoint import Checkpoint
from services.proof.note import Note, NoteError, VerifierKey, read_keys

FILE_EVENTS_MAX = 50_000

Keys = Callable[[int, int], Awaitable[Sequence[KeptKey]]]
"""The sealing keys of the events from one position to another."""


class LogExport(Struct, frozen=True, kw_only=True):
    """What is asked of an export.

    `until`: the last position; None: all. `trusted`: whose signatures under checkpoints count; without any, of those
    that the source names. `teams`: those of the ledger, if they are known.
    """

    software: str
    made_at: str
    until: int | None = None
    trusted: Sequence[VerifierKey] = ()
    teams: Sequence[str] | None = None
    file_events_max: int = FILE_EVENTS_MAX
    file_bytes_max: int = FILE_BYTES_MAX


async def export_log(
    source: Source,
    directory: Path,
    asked: LogExport,
    keys: Keys | None = None,
    progress: Progress = lambda at, of: None,
) -> LogManifest:
    """Write a log into a directory, which is there when it is complete.

    `keys`: where the sealing keys are, if they are to come along. Raises ArchiveError, NoteError, OSError, and what the
    source raises; then there is no directory.
    """
    head = await source.head()
    size = head if asked.until is None else asked.until
    if size > head:
        upto = "" if source.is_database else " up to its latest checkpoint"
        raise ArchiveError(f"the log has {head} events{upto}, and the export is to have {size}; ask for fewer")
    checkpoints = await _checkpoints(source, asked)
    origin = source.origin or (checkpoints[-1][0].origin if checkpoints else None)
    if origin is None:
        raise ArchiveError("the log has neither an origin nor a checkpoint that says it")
    below = [(checkpoint, note) for checkpoint, note in checkpoints if checkpoint.size <= size]
    # Over HTTP the only checkpoint may be beyond what is asked for; then all up to it is read, to be checked by it.
    reach = size if source.is_database else head
    walk = Walk({each.size: [each.root] for each, _ in checkpoints if each.size <= reach}, hashes_only=True)
    with whole_or_absent(directory) as making, _Files(making, asked, keys) as files:
        root = walk.edge.root
        async for page in _pages(source, reach, size):
            found, _ = walk.page(page)
            if found:
                at = found[0].position or 0
                raise ArchiveError(f"position {at}: {found[0].text}; nothing was exported, `ledger audit` looks closer")
            if page[-1].position <= size:
                await files.add(page)
                root = walk.edge.root
            progress(walk.edge.size, reach)
        if walk.edge.size != reach:
            raise ArchiveError(f"the log ends at position {walk.edge.size}, and it should have {reach}")
        await files.end()
        manifest = LogManifest(
            format=LOG_FORMAT,
            version=LOG_VERSION,
            ledger=source.ledger,
            origin=origin,
            teams=None if asked.teams is None else [*asked.teams],
            size=size,
            root=root.hex(),
            checkpoint=below[-1][1] if below else None,
            with_keys=keys is not None,
            files=files.made,
            software=asked.software,
            made_at=asked.made_at,
        )
        (making / MANIFEST).write_bytes(encode(manifest))
    return manifest


async def _checkpoints(source: Source, asked: LogExport) -> list[tuple[Checkpoint, str]]:
    """The checkpoints of the source that matter: the latest at or below the end of the export, and the latest."""
    kept = await source.checkpoints()
    read = [(Checkpoint.read(Note.read(each.note.encode()).text), each.note) for each in kept]
    if not read:
        return []
    known = [*asked.trusted] or read_keys(await source.verifier_keys())[0]
    upto = [each for each in read if asked.until is None or each[0].size <= asked.until]
    some = [*upto[-1:], read[-1]]
    origin = source.origin or read[-1][0].origin
    for checkpoint, note in some:
        try:
            Checkpoint.verified(note.encode(), origin, known)
        except NoteError as error:
            raise ArchiveError(f"the checkpoint of {checkpoint.size} events does not count: {error}") from None
    return some


async def _pages(source: Source, reach: int, size: int) -> AsyncIterator[Sequence[Stored]]:
    """The log up to a position, in pages none of which goes on beyond `size`."""
    async for page in source.pages(hashes_only=True):
        for part in ([each for each in page if each.position <= size],
                     [each for each in page if size < each.position <= reach]):  # fmt: skip
            if part:
                yield part
        if page[-1].position >= reach:
            return


class _Files:
    """The files of an export, one after the other."""

    def __init__(self, directory: Path, asked: LogExport, keys: Keys | None) -> None:
        self.made: list[LogFile] = []
        self._directory = directory
        self._asked = asked
        self._keys = keys
        self._open: IO[bytes] | None = None
        self._first = self._last = self._bytes = 0

    def __enter__(self) -> "_Files":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.close()

    async def add(self, page: Sequence[Stored]) -> None:
        for each in page:
            if b"\n" in each.state:
                text = f"position {each.position}: the stored bytes have a line feed, as no event of this ledger has"
                raise ArchiveError(f"{text}; nothing was exported, `ledger audit` looks closer")
            if self._open is None:
                self._open, self._first, self._bytes = (self._directory / "next").open("xb"), each.position, 0
            self._open.write(each.state + b"\n")
            self._last, self._bytes = each.position, self._bytes + len(each.state) + 1
            events = self._last - self._first + 1
            if events >= self._asked.file_events_max or self._bytes >= self._asked.file_bytes_max:
                await self.end()

    async def end(self) -> None:
        """Close the file that is open, if one is."""
        if self._open is None:
            return
        self._open.close()
        self._open = None
        name = log_file_name(self._first, self._last)
        path = (self._directory / "next").rename(self._directory / name)
        keys = None if self._keys is None else await self._write_keys(self._keys)
        found = measured_file(path)
        self.made.append(
            LogFile(name=name, first=self._first, last=self._last, bytes=found.bytes, sha256=found.sha256, keys=keys)
        )

    async def _write_keys(self, keys: Keys) -> KeysFile | None:
        kept = await keys(self._first, self._last)
        if not kept:
            return None
        name = keys_file_name(self._first, self._last)
        path = self._directory / name
        path.write_bytes(b"".join(msgspec.json.encode(each) + b"\n" for each in kept))
        found = measured_file(path)
        return KeysFile(name=name, keys=len(kept), bytes=found.bytes, sha256=found.sha256)
