"""What can still be read of a damaged outbox, page by page, without SQLite, which gives up at the first bad page.

The format is https://www.sqlite.org/fileformat2.html: the pages of the file, and over them those of the write-ahead
log, in its order. Each row that is found counts only if its body has the digest that was stored with it, so that
damage cannot make up an event. A row that had been sent already may be found, too: the ledger knows its id.
"""

import re
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ledger_client.outbox_file import WAL_FRAME_HEADER_BYTES, WAL_HEADER_BYTES, is_wal_header
from schemas.values import LEDGER_PATTERN

COLUMNS = 11
_LEAF_OF_TABLE = 0x0D
_INTEGER_BYTES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 8: 0, 9: 0}


class Salvaged(Struct, frozen=True):
    """Rows of `outbox_events`, by place, and how many more there were that cannot be trusted. `ledger`: the one that
    they are for; None if that cannot be read."""

    rows: list[tuple[Any, ...]]
    unusable: int
    ledger: str | None


class _Unreadable(ValueError):
    pass


def salvage(path: Path) -> Salvaged:
    """Every event that can be read of a damaged outbox. Nothing is written. Raises OSError."""
    file = path.read_bytes()
    wal_path = Path(f"{path}-wal")
    wal = wal_path.read_bytes() if wal_path.exists() else b""
    size = _page_bytes(file, wal)
    pages = {number + 1: file[number * size : (number + 1) * size] for number in range(-(-len(file) // size))}
    pages |= dict(_logged(wal, size))

    found: dict[int, tuple[Any, ...]] = {}
    ledgers: set[str] = set()
    unusable = 0
    for number in sorted(pages):
        for place, cell in _cells(pages, number, size):
            try:
                values = _values(cell())
                if len(values) == COLUMNS:
                    found[place] = _event(place, values)
            except _Unreadable:
                unusable += 1
                continue
            # Of all tables, only the one that names the ledger has a single column.
            if len(values) == 1 and isinstance(values[0], str) and re.match(LEDGER_PATTERN, values[0]):
                ledgers.add(values[0])
    ledger = ledgers.pop() if len(ledgers) == 1 else None
    return Salvaged([found[place] for place in sorted(found)], unusable, ledger)


def _page_bytes(file: bytes, wal: bytes) -> int:
    for size in (int.from_bytes(file[16:18], "big"), int.from_bytes(wal[8:12], "big")):
        if size == 1:
            return 65_536
        if 512 <= size <= 65_536 and size & (size - 1) == 0:
            return size
    return 4_096  # What SQLite makes where nobody says anything else.


def _logged(wal: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """Number and content of each page in the log. Those of an earlier round of it have other salts."""
    header = wal[:WAL_HEADER_BYTES]
    whole = len(header) == WAL_HEADER_BYTES and is_wal_header(header)
    for start in range(WAL_HEADER_BYTES, len(wal), WAL_FRAME_HEADER_BYTES + size):
        head = wal[start : start + WAL_FRAME_HEADER_BYTES]
        page = wal[start + WAL_FRAME_HEADER_BYTES : start + WAL_FRAME_HEADER_BYTES + size]
        if len(head) == WAL_FRAME_HEADER_BYTES and (not whole or head[8:16] == header[16:24]):
            yield int.from_bytes(head[:4], "big"), page


def _cells(pages: dict[int, bytes], number: int, size: int) -> Iterator[tuple[int, Any]]:
    """The row ids of a page, if it is a leaf of a table, each with what reads its record."""
    page = pages[number]
    start = 100 if number == 1 else 0
    if len(page) < start + 8 or page[start] != _LEAF_OF_TABLE:
        return
    (count,) = struct.unpack(">H", page[start + 3 : start + 5])
    for index in range(count):
        pointer = page[start + 8 + 2 * index : start + 10 + 2 * index]
        if len(pointer) < 2:
            return
        at = int.from_bytes(pointer, "big")
        try:
            length, at = _varint(page, at)
            place, at = _varint(page, at)
        except _Unreadable:
            continue
        yield place, lambda at=at, length=length: _record(pages, page, at, length, size)


def _record(pages: dict[int, bytes], page: bytes, at: int, length: int, size: int) -> bytes:
    """The bytes of a record, with what lies on overflow pages (1.6)."""
    most, least = size - 35, (size - 12) * 32 // 255 - 23
    if length <= most:
        return page[at : at + length]
    kept = least + (length - least) % (size - 4)
    kept = kept if kept <= most else least
    parts = [page[at : at + kept]]
    following = int.from_bytes(page[at + kept : at + kept + 4], "big")
    left = length - kept
    while left > 0:
        if following not in pages:
            raise _Unreadable
        more = pages[following]
        parts.append(more[4 : 4 + min(left, size - 4)])
        left -= size - 4
        following = int.from_bytes(more[:4], "big")
    return b"".join(parts)


def _values(record: bytes) -> list[Any]:
    """The values of a record (2.1). Raises _Unreadable."""
    end, at = _varint(record, 0)
    kinds = []
    while at < end:
        kind, at = _varint(record, at)
        kinds.append(kind)
    values = []
    for kind in kinds:
        value, at = _value(record, at, kind)
        values.append(value)
    return values


def _event(place: int, values: list[Any]) -> tuple[Any, ...]:
    """The row of an event. Raises _Unreadable."""
    _, source, id, state, put_at, attempts, due_at, status, problem, digest, body = values
    if not isinstance(body, bytes) or sha256(body).digest() != digest:
        raise _Unreadable
    try:
        msgspec.json.decode(problem)
    except (msgspec.DecodeError, TypeError):
        problem = "{}"
    known = state if state in ("waiting", "deferred", "refused") else "waiting"
    event = msgspec.json.decode(body)
    numbers = [each if isinstance(each, int | float) else 0 for each in (put_at, attempts, due_at, status)]
    return (place, event.get("source", source), event.get("id", id), known, *numbers, problem, digest, body)


def _value(record: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind >= 12:
        length = (kind - 12) // 2
        content = record[at : at + length]
        if len(content) < length:
            raise _Unreadable
        return (content if kind % 2 == 0 else content.decode("utf-8", "replace")), at + length
    if kind == 7:
        content = record[at : at + 8]
        if len(content) < 8:
            raise _Unreadable
        return struct.unpack(">d", content)[0], at + 8
    if kind not in _INTEGER_BYTES:
        raise _Unreadable
    length = _INTEGER_BYTES[kind]
    if kind in (0, 8, 9):
        return {0: None, 8: 0, 9: 1}[kind], at
    return int.from_bytes(record[at : at + length], "big", signed=True), at + length


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    value = 0
    for count in range(9):
        if at >= len(content):
            raise _Unreadable
        byte = content[at]
        at += 1
        if count == 8:
            return value << 8 | byte, at
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at
    raise _Unreadable
