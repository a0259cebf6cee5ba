"""What is kept outside the database, written once: checkpoints with their timestamps, digests of read models, and what
operators said happened.

    LEDGER/SERIES/2026-11-22/00000000000000070000.checkpoint
    LEDGER/SERIES/2026-11-22/00000000000000070000.tsr
    LEDGER/SERIES/2026-11-22/00000000000000070000.requirements.0f1e2d3c4b5a6978.digest

in a directory that a restore of the database does not touch, or below a prefix of a bucket (services/bucket.py). A
series goes on as long as the log extends what is in it. The next one begins with `accepted.note`: what an operator said
had happened. The day is that of the clock of whoever keeps it, which may be wrong: what is last is told by sizes.
"""

import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from services.bucket import Bucket, KeptOtherwise
from services.settings import VARIABLES, Settings, SettingsError

SIZE_DIGITS = 20
SERIES_DIGITS = 4
ACCEPTED = "accepted.note"
_CHECKPOINT = re.compile(rf"([0-9]{{{SIZE_DIGITS}}})\.checkpoint")
_TIMESTAMP = re.compile(rf"([0-9]{{{SIZE_DIGITS}}})\.tsr")
_DIGEST = re.compile(rf"[0-9]{{{SIZE_DIGITS}}}\.[a-z_]+\.[0-9a-f]+\.digest")
_SERIES = re.compile(rf"[0-9]{{{SERIES_DIGITS}}}|[1-9][0-9]{{{SERIES_DIGITS},}}")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


DIGEST_DAYS = 2
"""Of the last digests: so many days that have any. One of them may be the work of a clock that was wrong for a day."""


class File(Protocol):
    """Something that is kept. Its text form says where, for people."""

    @property
    def name(self) -> str: ...

    def read_bytes(self) -> bytes: ...

    def read_text(self) -> str: ...


class Store(Protocol):
    """Where files are kept, by paths with slashes. Raises OSError throughout."""

    def folders(self, path: str) -> list[str]:
        """The names of the folders in this one, in order. None, if it is not there."""

    def files(self, path: str, after: str = "") -> Sequence[File]:
        """The files in this folder whose names come after this one, by name. None, if it is not there."""

    def write_once(self, path: str, octets: bytes) -> File:
        """Kept for good when this returns. One that is there already stays as it is. Raises KeptOtherwise if that has
        other bytes."""


class Series(NamedTuple):
    """What was kept while a log went on. `accepted`: what was said had happened before; None in the first one.
    `timestamps`: each with the checkpoint that it stands beside, None if there is none."""

    name: str
    accepted: File | None
    checkpoints: list[File]
    timestamps: list[tuple[File, File | None]]


class GoingOn(NamedTuple):
    """The series that goes on. `is_first`: none came before it, by its name. `accepted`: what was said had happened
    before. `last`: the checkpoint of the greatest size."""

    name: str
    is_first: bool
    accepted: File | None
    last: File | None


class KeptOutside:
    """What is kept of one ledger, in a directory or elsewhere. Raises OSError throughout."""

    def __init__(self, place: Path | Store, ledger: str) -> None:
        self._store: Store = Directory(place) if isinstance(place, Path) else place
        self._ledger = ledger

    def keep(self, size: int, note: str) -> None:
        """Keep a checkpoint of today."""
        day = datetime.now(UTC).date().isoformat()
        self._store.write_once(f"{self._series()}/{day}/{_name(size)}.checkpoint", note.encode())

    def keep_digest(self, position: int, projection: str, version: str, note: str) -> None:
        """Keep the digest of a read model, of today."""
        day = datetime.now(UTC).date().isoformat()
        path = f"{self._series()}/{day}/{_name(position)}.{projection}.{version}.digest"
        self._store.write_once(path, note.encode())

    def is_there(self) -> bool:
        """Whether anything is kept here: a directory that went away has nothing."""
        return bool(self._every_series())

    def last(self) -> File | None:
        """The checkpoint of the greatest size, of the series that goes on."""
        return self._last_of(self._series())

    def going_on(self) -> GoingOn:
        path = self._series()
        name = path.rpartition("/")[2]
        return GoingOn(name, int(name) == 1, self._accepted(path), self._last_of(path))

    def every(self) -> Iterator[File]:
        """Every checkpoint, series by series."""
        for series in self._every_series():
            for day in self._days(series):
                yield from self._files(day, _CHECKPOINT)

    def last_digests(self) -> list[File]:
        """The digests of the last days that have any, of the series that goes on."""
        some = (self._files(day, _DIGEST) for day in self._days(self._series(), latest_first=True))
        return [file for digests in islice(filter(None, some), DIGEST_DAYS) for file in digests]

    def digests(self) -> Iterator[File]:
        """The digests of the series that goes on."""
        for day in self._days(self._series()):
            yield from self._files(day, _DIGEST)

    def series(self) -> Iterator[Series]:
        """Everything but digests, series by series."""
        for path in self._every_series():
            checkpoints: list[File] = []
            timestamps: list[tuple[File, File | None]] = []
            for day in self._days(path):
                of_day = self._files(day, _CHECKPOINT)
                beside = {_stem(file): file for file in of_day}
                checkpoints += of_day
                timestamps += [(file, beside.get(_stem(file))) for file in self._files(day, _TIMESTAMP)]
            yield Series(path.rpartition("/")[2], self._accepted(path), checkpoints, timestamps)

    def timestamp(self, size: int) -> File | None:
        """The timestamp that is kept beside the last checkpoint of this size."""
        day = self._day_of(size)
        return next((file for file in self._files(day, _TIMESTAMP) if _stem(file) == _name(size)), None)

    def keep_timestamp(self, size: int, response: bytes) -> None:
        """Keep a timestamp beside the last checkpoint of this size."""
        self._store.write_once(f"{self._day_of(size)}/{_name(size)}.tsr", response)

    def following(self) -> str:
        """The name of the series that would be next."""
        return f"{int(self._series().rpartition('/')[2]) + 1:0{SERIES_DIGITS}d}"

    def begin_anew(self, series: str, accepted: str) -> File:
        """Begin this series with these words; the file that has them. Raises KeptOtherwise if it has begun."""
        return self._store.write_once(f"{self._ledger}/{series}/{ACCEPTED}", accepted.encode())

    def _series(self) -> str:
        """The path of the series that goes on."""
        return (self._every_series() or [f"{self._ledger}/{1:0{SERIES_DIGITS}d}"])[-1]

    def _every_series(self) -> list[str]:
        names = [name for name in self._store.folders(self._ledger) if _SERIES.fullmatch(name)]
        return [f"{self._ledger}/{name}" for name in sorted(names, key=int)]

    def _accepted(self, series: str) -> File | None:
        return next((file for file in self._store.files(series) if file.name == ACCEPTED), None)

    def _last_of(self, series: str) -> File | None:
        """Of every day, however late: that costs little, since of the other days nothing comes after what was found."""
        last: File | None = None
        for day in self._days(series, latest_first=True):
            if later := self._files(day, _CHECKPOINT, after="" if last is None else last.name):
                last = later[-1]
        return last

    def _days(self, series: str, *, latest_first: bool = False) -> list[str]:
        names = [name for name in self._store.folders(series) if _DAY.fullmatch(name)]
        return [f"{series}/{name}" for name in sorted(names, reverse=latest_first)]

    def _day_of(self, size: int) -> str:
        """The folder of the last checkpoint of this size."""
        for series in reversed(self._every_series()):
            for day in self._days(series, latest_first=True):
                if any(_stem(file) == _name(size) for file in self._files(day, _CHECKPOINT)):
                    return day
        raise FileNotFoundError(f"no checkpoint of {size} events is kept")

    def _files(self, day: str, name: re.Pattern[str], after: str = "") -> list[File]:
        return [file for file in self._store.files(day, after) if name.fullmatch(file.name)]


def store_of(settings: Settings) -> Store:
    """Where the settings say that files are kept. Raises SettingsError."""
    place = settings.checkpoints_place
    if isinstance(place, Path):
        return Directory(place)
    try:
        return Bucket(place, retention_days=settings.retention_days)
    except ValueError as error:
        raise SettingsError(f"{VARIABLES['checkpoints']}: {error}.") from error


class Directory:
    """A directory of this machine, or one that is mounted."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def folders(self, path: str) -> list[str]:
        folder = self._path / path
        return sorted(each.name for each in folder.iterdir() if each.is_dir()) if folder.is_dir() else []

    def files(self, path: str, after: str = "") -> list[Path]:
        folder = self._path / path
        if not folder.is_dir():
            return []
        later = sorted((each for each in folder.iterdir() if each.name > after), key=lambda each: each.name)
        return [each for each in later if each.is_file()]

    def write_once(self, path: str, octets: bytes) -> Path:
        file = self._path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, fresh = tempfile.mkstemp(prefix=".", dir=file.parent)
        try:
            with os.fdopen(descriptor, "wb") as opened:
                opened.write(octets)
                opened.flush()
                os.fsync(descriptor)
            Path(fresh).chmod(0o444)
            os.link(fresh, file)
        except FileExistsError:
            if file.read_bytes() != octets:
                raise KeptOtherwise(file) from None
        finally:
            Path(fresh).unlink()
        for folder in (file.parent, file.parent.parent):
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        return file


def _name(size: int) -> str:
    return f"{size:0{SIZE_DIGITS}d}"


def _stem(file: File) -> str:
    return file.name.partition(".")[0]
