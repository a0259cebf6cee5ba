"""What was said of made decisions since: who has taken note, that they stand, what they have given way to."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import asyncpg

from services.projector.answers.snapshot import Snapshot
from services.projector.telling.since import SinceRead
from services.statements import Statements

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


async def read_since(snapshot: Snapshot, decisions: Sequence[str] | None = None) -> SinceRead:
    """What was said of these decisions, or of all."""
    position = snapshot.position
    if decisions is not None and not decisions:
        return SinceRead(acknowledgements=[], reaffirmations=[], supersessions=[])
    return SinceRead(
        acknowledgements=await snapshot.fetch(_statements, "acknowledgements", position, decisions),
        reaffirmations=await snapshot.fetch(_statements, "reaffirmations", position, decisions),
        supersessions=await snapshot.fetch(_statements, "supersessions", position, decisions),
    )


async def read_superseded(snapshot: Snapshot, decisions: Iterable[str]) -> dict[str, str]:
    """Decision → what it has given way to: of these, and of what they have given way to in their turn."""
    wanted = [*decisions]
    return {row["decision"]: row["superseded_by"] for row in await read_chains(snapshot, wanted)} if wanted else {}


async def read_chains(snapshot: Snapshot, decisions: Iterable[str]) -> list[asyncpg.Record]:
    """The same as rows, with when each was said: position, valid_from, decision, superseded_by."""
    return await snapshot.fetch(_statements, "chains", snapshot.position, sorted(set(decisions)))
