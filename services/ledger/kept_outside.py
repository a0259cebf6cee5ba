"""Checkpoints outside the database: a file each, never written again, in a directory that a restore does not touch.

DIRECTORY/LEDGER/2026-11-22/00000000000000070000.checkpoint
"""

import os
import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

SIZE_DIGITS = 20
_NAME = re.compile(rf"([0-9]{{{SIZE_DIGITS}}})\.checkpoint")


class KeptOutside:
    """The checkpoints of one ledger in a directory. Raises OSError throughout."""

    def __init__(self, directory: Path, ledger: str) -> None:
        self._directory = directory / ledger

    def keep(self, size: int, note: str) -> None:
        """On disk when this returns. One that is there already stays as it is."""
        folder = self._directory / datetime.now(UTC).date().isoformat()
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, fresh = tempfile.mkstemp(prefix=".", dir=folder)
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(note)
                file.flush()
                os.fsync(descriptor)
            Path(fresh).chmod(0o444)
            os.link(fresh, folder / f"{size:0{SIZE_DIGITS}d}.checkpoint")
        except FileExistsError:
            pass
        finally:
            Path(fresh).unlink()
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def last(self) -> Path | None:
        """The file of the greatest size."""
        return max(self.every(), key=lambda path: path.name, default=None)

    def every(self) -> Iterator[Path]:
        if not self._directory.is_dir():
            return
        for folder in sorted(self._directory.iterdir()):
            yield from (path for path in sorted(folder.iterdir()) if _NAME.fullmatch(path.name))
