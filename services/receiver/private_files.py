"""Texts that only the owner of the service may read: the secrets of senders, and API keys, a line each."""

import stat
from pathlib import Path

FILE_BYTES_MAX = 16 * 1024


class PrivateFileUnusable(Exception):
    """A file cannot be used. The text says why, after the file's name, and holds nothing of what is in it."""


def lines_of(path: Path) -> list[str]:
    """The lines that are not blank, trimmed; at least one. Raises PrivateFileUnusable."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise PrivateFileUnusable("is not a file")
        if about.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise PrivateFileUnusable(
                f"is open to others than its owner (mode {stat.S_IMODE(about.st_mode):04o}); run `chmod 600` on it"
            )
        if about.st_size > FILE_BYTES_MAX:
            raise PrivateFileUnusable(f"has more than {FILE_BYTES_MAX} bytes; it holds a line each")
        found = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise PrivateFileUnusable(f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise PrivateFileUnusable("is not a text") from error
    except ValueError as error:
        raise PrivateFileUnusable(f"is not the name of a file ({error})") from error
    lines = [line for line in found if line]
    if not lines:
        raise PrivateFileUnusable("is empty")
    return lines


def key_of(path: Path) -> str:
    """The API key in a file. Raises PrivateFileUnusable."""
    lines = lines_of(path)
    if len(lines) > 1:
        raise PrivateFileUnusable(f"has {len(lines)} lines; it holds one API key, and nothing else")
    if not (lines[0].isascii() and lines[0].isprintable()):
        raise PrivateFileUnusable("does not hold an API key; one looks like lk_…")
    return lines[0]
