"""Directories of files that are there whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import file_digest
from pathlib import Path

from services.archive.manifest import ArchiveError, Measured


@contextmanager
def whole_or_absent(directory: Path) -> Iterator[Path]:
    """A directory to fill, which takes this name, on disk, when the block ends without an error.

    Only its owner may read it. After an error, or a signal, nothing is left. Raises ArchiveError if there is a
    directory of this name already that is not empty, and OSError.
    """
    place = directory.absolute()
    _refuse_what_is_there(place)
    making = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        yield making
        for path in [*making.iterdir(), making]:
            _flush(path)
        _refuse_what_is_there(place)
        try:
            making.rename(place)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise ArchiveError(f"{directory} was filled by somebody else meanwhile; name another one") from None
            raise
        _flush(place.parent)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def measured_file(path: Path) -> Measured:
    with path.open("rb") as file:
        digest = file_digest(file, "sha256").hexdigest()
        return Measured(file.tell(), digest)


def read_whole(path: Path, *, bytes_max: int) -> bytes:
    """The bytes of a file that is not larger. Raises ArchiveError, naming it."""
    try:
        with path.open("rb") as file:
            octets = file.read(bytes_max + 1)
    except OSError as error:
        raise ArchiveError(f"{path.name} cannot be read: {error.strerror}") from None
    if len(octets) > bytes_max:
        raise ArchiveError(f"{path.name} is longer than the {bytes_max} bytes that it should have at most")
    return octets


def _refuse_what_is_there(place: Path) -> None:
    if not place.parent.is_dir():
        raise ArchiveError(f"{place.parent} is not a directory")
    if place.is_dir() and not place.is_symlink():
        if any(place.iterdir()):
            raise ArchiveError(f"{place} is not empty; name a directory that is not there yet")
    elif os.path.lexists(place):
        raise ArchiveError(f"{place} is there already, and it is not a directory; name another one")


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
