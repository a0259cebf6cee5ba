"""Checkpoints, and digests of read models, outside the database: a file each, never written again, in a directory that
a restore does not touch.

    DIRECTORY/LEDGER/SERIES/2026-11-22/00000000000000070000.checkpoint
    DIRECTORY/LEDGER/SERIES/2026-11-22/00000000000000070000.requirements.0f1e2d3c4b5a6978.digest

A series goes on as long as the log extends what is in it. The next one begins with `accepted.note`: what an operator
said had happened.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

SIZE_DIGITS = 20
SERIES_DIGITS = 4
ACCEPTED = "accepted.note"
_NAME = re.compile(rf"([0-9]{{{SIZE_DIGITS}}})\.checkpoint")
_SERIES = re.compile(rf"[0-9]{{{SERIES_DIGITS}}}")


class KeptOutside:
    """The checkpoints of one ledger in a directory. Raises OSError throughout."""

    def __init__(self, directory: Path, ledger: str) -> None:
        self._directory = directory / ledger

    def keep(self, size: int, note: str) -> None:
        """On disk when this returns. One that is there already stays as it is."""
        folder = self._series() / datetime.now(UTC).date().isoformat()
        _write_once(folder / f"{size:0{SIZE_DIGITS}d}.checkpoint", note)

    def keep_digest(self, position: int, projection: str, version: str, note: str) -> None:
        """On disk when this returns. One that is there already stays as it is."""
        folder = self._series() / datetime.now(UTC).date().isoformat()
        _write_once(folder / f"{position:0{SIZE_DIGITS}d}.{projection}.{version}.digest", note)

    def last(self) -> Path | None:
        """The file of the greatest size, of the series that goes on: it is of the last day that has any."""
        for day in sorted(_days(self._series()), reverse=True):
            if (last := max(_checkpoints(day), key=lambda path: path.name, default=None)) is not None:
                return last
        return None

    def has_begun(self) -> bool:
        """Whether anything was ever kept here."""
        return bool(self._every_series())

    def every(self) -> Iterator[Path]:
        """Every checkpoint, series by series."""
        for series in self._every_series():
            for day in sorted(_days(series)):
                yield from sorted(_checkpoints(day), key=lambda path: path.name)

    def last_digests(self) -> list[Path]:
        """The digests of the last day that has any, of the series that goes on."""
        for day in sorted(_days(self._series()), reverse=True):
            if digests := sorted(day.glob("*.digest")):
                return digests
        return []

    def digests(self) -> Iterator[Path]:
        """Every digest, series by series."""
        for series in self._every_series():
            for day in sorted(_days(series)):
                yield from sorted(day.glob("*.digest"))

    def begin_anew(self, accepted: str) -> Path:
        """Begin the next series with these words; the file that has them."""
        last = int(self._series().name)
        path = self._directory / f"{last + 1:0{SERIES_DIGITS}d}" / ACCEPTED
        _write_once(path, accepted)
        return path

    def _series(self) -> Path:
        return max(self._every_series(), default=self._directory / f"{1:0{SERIES_DIGITS}d}")

    def _every_series(self) -> list[Path]:
        if not self._directory.is_dir():
            return []
        return sorted(path for path in self._directory.iterdir() if _SERIES.fullmatch(path.name))


def _days(series: Path) -> Iterator[Path]:
    if series.is_dir():
        yield from (folder for folder in series.iterdir() if folder.is_dir())


def _checkpoints(day: Path) -> Iterator[Path]:
    yield from (path for path in day.iterdir() if _NAME.fullmatch(path.name))


def _write_once(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(prefix=".", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(fresh).chmod(0o444)
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        Path(fresh).unlink()
    for folder in (path.parent, path.parent.parent):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
