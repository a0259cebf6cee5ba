"""Files that hold a secret: made once, and for their owner only."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def read_or_make(path: Path, make: Callable[[], str]) -> str:
    """The text in a file; the one that `make` gives, kept there with mode 0600, if there is no file.

    Of two processes that make it, one wins and both use the same. Raises OSError.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # Its mode is 0600.
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(make() + "\n")
                file.flush()
                os.fsync(descriptor)
            os.link(fresh, path)
        except FileExistsError:
            pass
        finally:
            Path(fresh).unlink()
        _flush_names(path.parent)
    return path.read_text(errors="replace").strip()


def write_anew(path: Path, text: str) -> None:
    """Put a text in the place of a file's, with mode 0600: whoever reads meanwhile gets the old one or the new one.
    Raises OSError."""
    descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise
    _flush_names(path.parent)


def remove_unfinished(path: Path) -> None:
    """Remove what was left beside a file by those that were killed while they wrote it. Nobody else may write it
    meanwhile. Raises OSError."""
    for left in path.parent.glob(f".{path.name}.*"):
        left.unlink()


def _flush_names(directory: Path) -> None:
    """See to it that a power cut does not bring back the file that had the name before."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
