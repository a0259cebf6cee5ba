"""How far the read models have got, whether they go on, and the digests of them that were published."""

from pathlib import Path

import asyncpg
from msgspec import Struct

from schemas.times import format_time
from services.postgres import ACQUIRE_SECONDS_MAX, unavailable
from services.projector.answers.snapshot import bound, read_cursors, read_head
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
    """Each projection, by its name. Answers also while one has stopped; as_of is the lowest cursor."""
    with unavailable():
        async with (
            pool.acquire(timeout=ACQUIRE_SECONDS_MAX) as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            cursors = await read_cursors(connection, runner)
            head, head_recorded_at = await read_head(connection, runner.ledger)
            positions = sorted({max(cursor.position, 1) for cursor in cursors})
            rows = await connection.fetch(bound(_statements["recorded"], runner.ledger), positions)
            published = await connection.fetch(bound(_statements["digests"], runner.ledger))
            rebuilds = await under_way(connection, runner.ledger)
    digests = {row["projection"]: (row["digest"], row["position"], row["note"]) for row in published}
    recorded_at = {row["position"]: row["recorded_at"] for row in rows}

    def seconds(position: int) -> float:
        # A projection that has applied nothing is as far behind as the log is long.
        at = recorded_at.get(max(position, 1))
        return 0.0 if at is None or head_recorded_at is None else (head_recorded_at - at).total_seconds()

    rebuilt = {
        each.projection: RebuildShown(
            version=each.version,
            position=each.position,
            since=format_time(each.begun_at),
            events_per_second=each.events_per_second,
            seconds_left=each.seconds_left(head),
        )
        for each in rebuilds
    }

    def shown(cursor: Cursor) -> ProjectionShown:
        digest, digest_position, digest_note = digests.get(cursor.projection, (None, None, None))
        return ProjectionShown(
            projection=cursor.projection,
            position=cursor.position,
            head=head,
            lag=Lag(events=head - cursor.position, seconds=seconds(cursor.position)),
            state=cursor.state,
            reason=cursor.reason,
            stopped_at=cursor.stopped_at,
            version=cursor.version,
            digest=digest,
            digest_position=digest_position,
            digest_note=digest_note,
            rebuild=rebuilt.get(cursor.projection),
        )

    lowest = min((cursor.position for cursor in cursors), default=0)
    return ProjectionList(
        as_of=AsOf(lowest, format_time(recorded_at[lowest]) if lowest else None),
        projections=[shown(cursor) for cursor in cursors],
    )
