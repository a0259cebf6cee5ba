"""Everything that is on record about one person, for somebody who has a right to know: where events name them, and what
they say of them.

Nothing here is counted, and persons are not listed: whoever asks knows the id. Words are shown where they are about
this person: what a customer said to a seller is the customer's, not the seller's.
"""

from pathlib import Path
from typing import Literal

import asyncpg
from msgspec import UNSET, Struct, UnsetType

from schemas.times import format_time
from services.problems import Problem
from services.projector.answers.sealed import Opener, read_sealed
from services.projector.answers.snapshot import Snapshot
from services.projector.projections.persons import stream_of
from services.projector.shapes.shown import AsOf
from services.statements import Statements

READS = ("persons", "retractions")

AppearsAs = Literal["introduced", "erased", "contact", "by", "decider", "consulted"]

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class OnRecord(Struct, frozen=True, kw_only=True):
    """One place in which an event names the person. `name`, `email`, `quote` and `text` are there where the event says
    them of this person; once erased they are null."""

    position: int
    time: str
    recordedtime: str
    type: str
    subject: str | None
    appears_as: AppearsAs
    role: str | None
    team: str | None
    name: str | UnsetType | None = UNSET
    email: str | UnsetType | None = UNSET
    quote: str | UnsetType | None = UNSET
    text: str | UnsetType | None = UNSET
    retracted: int | None


class OnePerson(Struct, frozen=True, kw_only=True):
    """Everything on record about a person, oldest first. It names no person: whoever asked knows whom it is about."""

    as_of: AsOf
    on_record: list[OnRecord]


async def read_person(
    snapshot: Snapshot, person: str, *, after: int, limit: int, opener: Opener
) -> tuple[OnePerson, bool]:
    """What is on record about a person, behind the first `after`; and whether there is more.

    Raises Problem where nothing names them, and MasterKeyError.
    """
    stream, position = stream_of(person), snapshot.position
    rows = await snapshot.fetch(_statements, "mentions", position, stream, after, limit + 1)
    [found] = await snapshot.fetch(_statements, "is_named", position, stream)
    if not found["named"]:
        raise Problem("not-found", f"nothing that was recorded up to position {position} names {person!r}")

    page, words = rows[:limit], dict[tuple[int, str], str | None]()
    for field in sorted({field for row in page for field in row["words"]}):
        said = [row["position"] for row in page if field in row["words"]]
        texts = await read_sealed(snapshot, said, field, opener)
        words |= {(position, field): text for position, text in texts.items()}
    opener.person = person
    return OnePerson(as_of=snapshot.as_of, on_record=[_show(row, words) for row in page]), len(rows) > limit


def _show(row: asyncpg.Record, words: dict[tuple[int, str], str | None]) -> OnRecord:
    position = row["position"]
    return OnRecord(
        position=position,
        time=format_time(row["time"]),
        recordedtime=format_time(row["recorded_at"]),
        type=row["type"],
        subject=row["subject"],
        appears_as=row["appears_as"],
        role=row["role"],
        team=row["team"],
        retracted=row["retracted"],
        **{field: words[position, field] for field in row["words"]},
    )
