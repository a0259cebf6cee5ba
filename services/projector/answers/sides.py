"""What each side says of a requirement: assessments and perspectives, beside each other at the same size.

The last word of a team counts, whatever it is and however long; the order is that of the teams' names.
"""

from collections.abc import Iterable
from pathlib import Path

from services.projector.answers.snapshot import Snapshot
from services.projector.telling.sides import SidesRead
from services.statements import Statements

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


async def read_sides(snapshot: Snapshot, requirements: Iterable[str]) -> SidesRead:
    """What was said of these requirements, which count as one."""
    names = sorted(set(requirements))
    return SidesRead(
        assessments=await snapshot.fetch(_statements, "assessments", snapshot.position, names),
        perspectives=await snapshot.fetch(_statements, "perspectives", snapshot.position, names),
    )
