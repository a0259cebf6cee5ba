"""How far the read models have got, whether they go on, and the digests of them that were published."""

from datetime import timedelta
from operator import itemgetter
from pathlib import Path

import asyncpg
from msgspec import Struct

from schemas.times import format_time
from services.postgres import ACQUIRE_SECONDS_MAX, unavailable
from services.projector.answers.snapshot import bound
from services.projector.rebuild import under_way
from services.projector.runner import Cursor, Runner
from services.projector.shapes.shown import AsOf
from services.statements import Statements

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class Lag(Struct, frozen=True, kw_only=True):
    """How far behind the head: events, and seconds between the recording of what was applied last and of the head."""

    events: int
    seconds: float


class RebuildShown(Struct, frozen=True, kw_only=True):
    version: str
    position: int
    since: str
    events_per_second: float | None
    seconds_left: float | None


class ProjectionShown(Struct, frozen=True, kw_only=True):
    projection: str
    position: int
    head: int
    lag: Lag
    state: str
    reason: str | None
    stopped_at: int | None
    version: str
    digest: str | None
    digest_position: int | None
    digest_note: str | None
    rebuild: RebuildShown | None


class ProjectionList(Struct, frozen=True, kw_only=True):
    as_of: AsOf
    projections: list[ProjectionShown]


async def list_projections(pool: asyncpg.Pool, runner: Runner) -> ProjectionList:
    """Each projection, by its name. Answers also while one has stopped; as_of is the lowest cursor of those that
    this version has."""
    with unavailable():
        async with pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection:
            # One statement sees all at one moment. Who builds anew is told by locks, of which there are no snapshots.
            rows = await connection.fetch(bound(_statements["projections"], runner.ledger))
            rebuilds = await under_way(connection, runner.ledger)

    rebuilt = {
        each.projection: RebuildShown(
            version=each.version,
            position=each.position,
            since=format_time(each.begun_at),
            events_per_second=each.events_per_second,
            seconds_left=each.seconds_left(rows[0]["head"]),
        )
        for each in rebuilds
    }

    def shown(row: asyncpg.Record) -> ProjectionShown:
        cursor = runner.seen(Cursor(**{name: row[name] for name in Cursor.__struct_fields__}))
        # A projection that has applied nothing is as far behind as the log is long.
        behind = row["head_recorded_at"] - row["recorded_at"] if row["recorded_at"] else timedelta()
        return ProjectionShown(
            projection=cursor.projection,
            position=cursor.position,
            head=row["head"],
            lag=Lag(events=row["head"] - cursor.position, seconds=behind.total_seconds()),
            state=cursor.state,
            reason=cursor.reason,
            stopped_at=cursor.stopped_at,
            version=cursor.version,
            digest=row["digest"],
            digest_position=row["digest_position"],
            digest_note=row["digest_note"],
            rebuild=rebuilt.get(cursor.projection),
        )

    ours = [row for row in rows if row["projection"] in runner.names]
    lowest = min(ours or rows, key=itemgetter("position"))
    is_there = lowest["position"] and lowest["recorded_at"]
    return ProjectionList(
        as_of=AsOf(lowest["position"], format_time(lowest["recorded_at"]) if is_there else None),
        projections=[shown(row) for row in rows],
    )
