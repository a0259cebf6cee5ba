"""What a backup's own files and the names and first octets of WAL files say about where they belong. Pure.

Names and page headers: PostgreSQL, src/include/access/xlog_internal.h; history files: src/backend/access/transam/
timeline.c; backup_label: src/backend/access/transam/xlogbackup.c.
"""

import re
import struct
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

SEGMENT_BYTES = 16 * 1024 * 1024  # As initdb makes it, unless told otherwise.
HEADER_OCTETS = 40

_SEGMENTS_A_FILE_ID = 2**32 // SEGMENT_BYTES
_NAME = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
# magic, info, timeline, address of the page, octets of a record that began before it, system, segment and page size
_HEADER = struct.Struct("=HHIQI4xQII")
_LONG_HEADER, _CONTINUES = 0x0002, 0x0001


class Segment(NamedTuple):
    """A file of WAL: those of all timelines are numbered alike."""

    timeline: int
    number: int

    @classmethod
    def named(cls, name: str) -> "Segment | None":
        parts = _NAME.fullmatch(name)
        if parts is None:
            return None
        timeline, file_id, part = (int(each, 16) for each in parts.groups())
        return cls(timeline, file_id * _SEGMENTS_A_FILE_ID + part)

    @property
    def name(self) -> str:
        return f"{self.timeline:08X}{self.number // _SEGMENTS_A_FILE_ID:08X}{self.number % _SEGMENTS_A_FILE_ID:08X}"


class Written(NamedTuple):
    """A segment that has WAL. `system`: the identifier of its database. `continues`: it begins within a record."""

    segment: Segment
    system: int
    continues: bool


class Label(NamedTuple):
    """Where and when a base backup began. The time has whole seconds."""

    segment: Segment
    time: datetime


def written(name: str, header: bytes) -> Written | None:
    """A file of this name whose first octets are these; None if it is no segment, or is kept for later use only."""
    segment = Segment.named(name)
    if segment is None or len(header) < HEADER_OCTETS:
        return None
    _magic, info, _timeline, address, _rest, system, _segment_size, _page_size = _HEADER.unpack(header[:HEADER_OCTETS])
    # A file that waits to be used again has the address, or the zeros, of what was in it before.
    if not info & _LONG_HEADER or address != segment.number * SEGMENT_BYTES:
        return None
    return Written(segment, system, bool(info & _CONTINUES))


def read_label(text: str) -> Label | None:
    """What `backup_label` says; None if it is none."""
    file = re.search(r"^START WAL LOCATION: \S+ \(file (\w+)\)$", text, re.MULTILINE)
    time = re.search(r"^START TIME: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC$", text, re.MULTILINE)
    segment = None if file is None else Segment.named(file[1])
    if segment is None or time is None:
        return None
    return Label(segment, datetime.fromisoformat(time[1]).replace(tzinfo=UTC))


def number_at(address: str) -> int:
    """The number of the segment that has this address, as PostgreSQL writes it: `0/3000060`. Raises ValueError."""
    high, low = address.split("/")
    return ((int(high, 16) << 32) + int(low, 16)) // SEGMENT_BYTES


def gap(since: int, numbers: Iterable[int]) -> int | None:
    """The first number from `since` on that is missing although a later one is there."""
    later = {number for number in numbers if number >= since}
    return next((number for number in range(since, max(later, default=since)) if number not in later), None)


def recovered_to(history: str) -> Segment | None:
    """The segment in which the timeline ended that was recovered, by the history file of the one that followed it."""
    lines = re.findall(r"^(\d+)\t([0-9A-F]+/[0-9A-F]+)\t", history, re.MULTILINE)
    return Segment(int(lines[-1][0]), number_at(lines[-1][1])) if lines else None


def left_over(to: Segment, found: Iterable[Written]) -> Segment | None:
    """A segment of the same timeline that has WAL beyond the one to which all of it was recovered.

    One that only ends a record of which the beginning is lost may follow: that record was never whole.
    """
    for each in sorted(found):
        beyond = each.segment.number - to.number
        if each.segment.timeline == to.timeline and (beyond > 1 or (beyond == 1 and not each.continues)):
            return each.segment
    return None
