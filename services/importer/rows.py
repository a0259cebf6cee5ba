"""The rows of CSV and NDJSON files, one after the other, each with the line on which it begins.

A file may be larger than the memory: what is held is one row. A row that cannot be read costs that row only.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import msgspec
from msgspec import Struct

from services.importer.mapping import Csv, Lookup, Rows

LINE_CHARS_MAX = 1024 * 1024
LOOKUP_ROWS_MAX = 1_000_000

# Bytes that the encoding does not know come as halves of surrogate pairs, which no text has.
_UNDECODED = re.compile("[\ud800-\udfff]")


class Unreadable(Exception):
    """A file cannot be read at all; the text names it and says why."""


class Origin(Struct, frozen=True):
    """Where a row stands: the file, as it was named, and the row's first line, counted from 1."""

    file: str
    line: int


class Found(Struct, frozen=True):
    """A row."""

    origin: Origin
    row: dict[str, Any]


class Faulty(Struct, frozen=True):
    """Text where a row was expected."""

    origin: Origin
    reason: str
    text: str


class Reader:
    """Reads one file. `columns` are known from the start for CSV, and unknown for NDJSON."""

    def __init__(self, path: Path, rows: Rows) -> None:
        self.path = path
        self._csv = rows.csv if rows.is_csv else None
        encoding = rows.csv.encoding if rows.is_csv else "utf-8-sig"
        # A byte-order mark is no part of the first column's name.
        self._encoding = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
        self._file: TextIO | None = None

    def __enter__(self) -> "Reader":
        try:
            # surrogateescape, so that a byte that is not of the encoding costs its row only.
            self._file = self.path.open(encoding=self._encoding, errors="surrogateescape", newline="")
        except OSError as error:
            raise Unreadable(f"{self.path} cannot be read: {error.strerror}") from error
        try:
            self._lines = _Lines(self._file, self.path)
            self.columns = None if self._csv is None else self._read_header(self._csv)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    @property
    def bytes_read(self) -> int:
        """How far the file has been read, in bytes; a little ahead of the rows."""
        return 0 if self._file is None else self._file.buffer.tell()

    def __iter__(self) -> Iterator[Found | Faulty]:
        return self._json_rows() if self.columns is None else self._csv_rows(self.columns)

    def _read_header(self, form: Csv) -> list[str]:
        self._parser = csv.reader(self._lines, delimiter=form.delimiter, strict=True)
        if form.columns is not None:
            return form.columns
        try:
            header = next((cells for cells in self._parser if cells), None)
        except (csv.Error, _TooLong) as error:
            raise Unreadable(f"{self.path}:{self._lines.number}: the header cannot be read: {error}") from error
        if header is None:
            raise Unreadable(f"{self.path} is empty; its first line must name the columns")
        columns = [name.strip() for name in header]
        named = [name for name in columns if name]
        if _UNDECODED.search("".join(columns)):
            raise Unreadable(f"{self.path}: the header is not {self._encoding}; name its encoding in the mapping")
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise Unreadable(f"{self.path}: the header names {', '.join(twice)} twice")
        return columns

    def _csv_rows(self, columns: list[str]) -> Iterator[Found | Faulty]:
        lines = self._lines
        while True:
            origin = Origin(str(self.path), lines.begin_row())
            try:
                cells = next(self._parser)
            except StopIteration:
                return
            except (csv.Error, _TooLong) as error:
                # A quote that is left open takes the following rows into itself: they are read again without it.
                text = lines.give_back()
                yield Faulty(origin, f"not CSV: {error}", text)
                continue
            text = lines.text()
            if _UNDECODED.search(text):
                yield Faulty(origin, f"it has bytes that are not {self._encoding}", _printable(text))
            elif not cells:
                continue
            elif len(cells) != len(columns):
                yield Faulty(origin, f"it has {len(cells)} cells, and there are {len(columns)} columns", text)
            else:
                yield Found(origin, {name: cell for name, cell in zip(columns, cells, strict=True) if name})

    def _json_rows(self) -> Iterator[Found | Faulty]:
        lines = self._lines
        while True:
            origin = Origin(str(self.path), lines.begin_row())
            try:
                text = next(lines)
            except StopIteration:
                return
            except _TooLong as error:
                yield Faulty(origin, str(error), "")
                continue
            if not text.strip():
                continue
            if _UNDECODED.search(text):
                yield Faulty(origin, "it has bytes that are not UTF-8", _printable(text))
                continue
            try:
                row = msgspec.json.decode(text.encode())
            except (msgspec.DecodeError, RecursionError) as error:
                yield Faulty(origin, f"not JSON: {error}", text)
                continue
            if isinstance(row, dict):
                yield Found(origin, row)
            else:
                yield Faulty(origin, "a row is a JSON object", text)


class Joined(Struct):
    """A lookup that has been read: its rows by their keys, the names that it offers, and which keys were asked for."""

    rows: dict[str, dict[str, Any]]
    columns: set[str]
    read: int
    used: set[str]

    def find(self, key: str) -> dict[str, Any]:
        self.used.add(key)
        return self.rows.get(key, {})

    @property
    def unused(self) -> int:
        """How many keys of the lookup no row has asked for."""
        return len(self.rows.keys() - self.used)


def read_lookup(path: Path, lookup: Lookup) -> tuple[Joined, list[tuple[Found | Faulty, str]]]:
    """A lookup, and the rows that have no part in it, with the reason. Raises Unreadable."""
    rows: dict[str, dict[str, Any]] = {}
    refused: list[tuple[Found | Faulty, str]] = []
    columns: set[str] = set()
    read = 0
    with Reader(path, lookup) as reader:
        wanted = {lookup.key, *filter(None, (lookup.column, lookup.value))}
        if reader.columns is not None and (missing := sorted(wanted - {*reader.columns})):
            raise Unreadable(f"{path} has no column {', '.join(missing)}, which the lookup {lookup.name!r} names")
        for found in reader:
            read += 1
            if read > LOOKUP_ROWS_MAX:
                raise Unreadable(f"{path} has more than {LOOKUP_ROWS_MAX} rows, too many to be held for a lookup")
            if isinstance(found, Faulty):
                refused.append((found, found.reason))
                continue
            key = str(found.row.get(lookup.key) or "").strip()
            if lookup.column is None or lookup.value is None:
                part = found.row
            else:
                part = {str(found.row.get(lookup.column) or "").strip(): found.row.get(lookup.value)}
            there = rows.setdefault(key, {})
            if not key or there.keys() & part.keys():
                refused.append((found, "its key is blank" if not key else f"the key {key!r} was there before"))
                continue
            there.update(part)
            columns.update(part)
    return Joined(rows=rows, columns=columns, read=read, used=set()), refused


class _TooLong(Exception):
    """A line that is longer than a line may be."""


class _Lines:
    """The lines of a file, which can be given back: what a broken row has taken too much of is read again."""

    def __init__(self, file: TextIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._read()
        if not line:
            raise StopIteration
        self.number += 1
        self._taken.append(line)
        if len(line) >= LINE_CHARS_MAX and not line.endswith(("\n", "\r")):
            while (rest := self._read()) and not rest.endswith(("\n", "\r")):
                pass
            raise _TooLong(f"a line of more than {LINE_CHARS_MAX} characters")
        return line

    def begin_row(self) -> int:
        """Forget the lines of the row before; the number of the next line."""
        self._taken = []
        return self.number + 1

    def text(self) -> str:
        return "".join(self._taken)

    def give_back(self) -> str:
        """Have all lines of this row but the first read again; the text of the first."""
        first, *others = self._taken or [""]
        self._again.extendleft(reversed(others))
        self.number -= len(others)
        return _printable(first)

    def _read(self) -> str:
        try:
            return self._file.readline(LINE_CHARS_MAX)
        except UnicodeError as error:
            raise Unreadable(
                f"{self._path}:{self.number + 1}: not {self._file.encoding}: {error}; name its encoding in the mapping"
            ) from error
        except OSError as error:
            raise Unreadable(f"{self._path}:{self.number + 1}: cannot be read on: {error.strerror}") from error


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
