"""What files of WAL say of themselves, and which of them are missing or left over."""

import struct
from datetime import UTC, datetime

import pytest

from services.wal import (
    SEGMENT_BYTES,
    Label,
    Segment,
    Written,
    gap,
    left_over,
    number_at,
    read_label,
    recovered_to,
    written,
)

NAME = "0000000200000001000000FF"
NUMBER = 256 + 255
SYSTEM = 7710946006554157001

LABEL = """START WAL LOCATION: 0/2000028 (file 000000010000000000000002)
CHECKPOINT LOCATION: 0/20030C0
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-22 10:48:45 UTC
LABEL: pg_basebackup base backup
START TIMELINE: 1
"""


def header(number: int = NUMBER, *, info: int = 0x0002, system: int = SYSTEM) -> bytes:
    return struct.pack("=HHIQI4xQII", 0xD118, info, 2, number * SEGMENT_BYTES, 0, system, SEGMENT_BYTES, 8192)


def test_a_segment_has_the_name_that_postgresql_gives_it():
    assert Segment.named(NAME) == Segment(2, NUMBER)
    assert Segment(2, NUMBER).name == NAME
    assert number_at("1/FF000028") == NUMBER


@pytest.mark.parametrize("name", ["00000002.history", f"{NAME}.partial", f"{NAME}.00000028.backup", "archive_status"])
def test_other_files_are_no_segments(name: str):
    assert written(name, header()) is None


def test_a_segment_says_of_which_database_it_is():
    assert written(NAME, header()) == Written(Segment(2, NUMBER), SYSTEM, continues=False)
    assert written(NAME, header(info=0x0003)) == Written(Segment(2, NUMBER), SYSTEM, continues=True)


@pytest.mark.parametrize("octets", [b"", bytes(40), header(NUMBER - 3)], ids=["empty", "zeros", "of another place"])
def test_a_file_that_waits_to_be_used_has_no_wal(octets: bytes):
    assert written(NAME, octets) is None


def test_a_label_says_where_and_when_its_backup_began():
    assert read_label(LABEL) == Label(Segment(1, 2), datetime(2026, 11, 22, 10, 48, 45, tzinfo=UTC))
    assert read_label("CHECKPOINT LOCATION: 0/20030C0\n") is None


@pytest.mark.parametrize(
    ("numbers", "missing"),
    [([], None), ([5, 6, 7], None), ([1, 5, 6], None), ([6, 7], 5), ([5, 7, 9], 6), ([1, 2], None)],
)
def test_a_segment_is_missing_where_a_later_one_is_there(numbers: list[int], missing: int | None):
    assert gap(5, numbers) == missing


def test_the_history_of_a_timeline_says_where_the_one_before_ended():
    text = "1\t0/3000000\tno recovery target specified\n\n2\t1/FF000060\tbefore 2026-11-22 10:00:00+00\n"
    assert recovered_to(text) == Segment(2, NUMBER)
    assert recovered_to("") is None


@pytest.mark.parametrize(
    ("segment", "continues", "is_left_over"),
    [
        (Segment(1, 7), False, False),
        (Segment(1, 8), False, True),
        (Segment(1, 8), True, False),  # The rest of a record that was never whole.
        (Segment(1, 9), True, True),
        (Segment(2, 9), False, False),  # Of a timeline that was not taken.
    ],
)
def test_wal_beyond_the_end_of_recovery_is_left_over(segment: Segment, continues: bool, is_left_over: bool):
    found = [Written(Segment(1, 7), SYSTEM, False), Written(segment, SYSTEM, continues)]
    assert left_over(Segment(1, 7), found) == (segment if is_left_over else None)
