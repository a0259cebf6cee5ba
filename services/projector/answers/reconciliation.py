"""What emitters have counted, against what is here."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct

from schemas.events import EVENT_TYPES
from schemas.times import format_time
from services.projector.answers.snapshot import Snapshot
from services.projector.projections.emitters import has_amount
from services.projector.shapes.shown import AsOf
from services.statements import Statements

READS = ("emitters", "retractions")

_statements = Statements.load(Path(__file__).with_suffix(".sql"))
_summed = [type for type in EVENT_TYPES if has_amount(type)]


class Wanted(Struct, frozen=True, kw_only=True):
    """Which counts are asked for; None: any. A period is asked for if it overlaps with `since` to `until`."""

    source: str | None = None
    type: str | None = None
    agrees: bool | None = None
    since: datetime | None = None
    until: datetime | None = None


class Counted(Struct, frozen=True, kw_only=True):
    """Events, and what their amounts add up to: a decimal number as text, null where there is nothing to add up."""

    count: int
    sum: str | None


class Reconciled(Struct, frozen=True, kw_only=True):
    """The latest count that was stated of a source's events of one type whose time lies from `from`, before `to`.

    `here`: the same of the events that are here, at this position; `difference` is `here` less what was stated: below
    zero, events are missing here. `sum` is null in `here` for a type that has no amount, and in `difference` where
    either is. They agree if the counts do, and the sums where one was stated.
    `stated_by`: the source of the count itself, which may be another; each has a row of its own.
    """

    source: str
    type: str
    from_: str = msgspec.field(name="from")
    to: str
    count: int
    sum: str | None
    here: Counted
    difference: Counted
    agrees: bool
    stated_by: str
    position: int
    time: str
    recordedtime: str


class Reconciliation(Struct, frozen=True, kw_only=True):
    as_of: AsOf
    total: int
    reconciliations: list[Reconciled]


async def read_reconciliation(
    snapshot: Snapshot, wanted: Wanted, *, after: int, limit: int
) -> tuple[int, list[Reconciled]]:
    """How many counts are asked for, and those behind the first `after`, the latest first.

    Only where `agrees` is asked for are the events of all of them counted.
    """
    which = (snapshot.position, wanted.source, wanted.type, wanted.since, wanted.until)
    positions = [row["position"] for row in await snapshot.fetch(_statements, "latest", *which)]
    if wanted.agrees is None:
        rows = await snapshot.fetch(
            _statements, "compared", snapshot.position, positions[after : after + limit], _summed
        )
        return len(positions), [_show(row) for row in rows]
    compared = await snapshot.fetch(_statements, "compared", snapshot.position, positions, _summed)
    found = [row for row in compared if row["agrees"] == wanted.agrees]
    return len(found), [_show(row) for row in found[after : after + limit]]


def _show(row: asyncpg.Record) -> Reconciled:
    return Reconciled(
        source=row["source"],
        type=row["type"],
        from_=format_time(row["period_from"]),
        to=format_time(row["period_to"]),
        count=row["count"],
        sum=_text(row["sum"]),
        here=Counted(count=row["here_count"], sum=_text(row["here_sum"])),
        difference=Counted(count=row["here_count"] - row["count"], sum=_text(row["sum_difference"])),
        agrees=row["agrees"],
        stated_by=row["stated_by"],
        position=row["position"],
        time=format_time(row["time"]),
        recordedtime=format_time(row["recorded_at"]),
    )


def _text(number: Decimal | None) -> str | None:
    return None if number is None else f"{number:f}"
