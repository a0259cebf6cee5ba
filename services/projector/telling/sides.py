"""What each side says of a requirement: assessments and perspectives, beside each other at the same size.

The last word of a team counts, whatever it is and however long; the order is that of the teams' names.
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from schemas.events import Effort
from schemas.times import format_time
from schemas.values import By, same_team
from services.projector.shapes.shown import Row, show_by


class SideShown(Struct, frozen=True, kw_only=True):
    """The last word of a team; `earlier` is how often it had spoken before."""

    team: str
    recorded_on: str
    position: int
    time: str
    recordedtime: str
    earlier: int
    by: By | None


class AssessmentShown(SideShown, frozen=True, kw_only=True):
    """What a team that would build it says of it."""

    feasibility: Literal["feasible", "costly", "infeasible", "unknown"]
    effort: Effort | None
    risks: list[str]
    plain: str | None


class PerspectiveShown(SideShown, frozen=True, kw_only=True):
    """A team's own statement: on the requirement, or on one decision about it."""

    decision: str | None
    statement: str


class SidesRead(Struct, frozen=True, kw_only=True):
    """All that was said, as it was read."""

    assessments: Sequence[Row]
    perspectives: Sequence[Row]


def show_assessments(said: SidesRead) -> list[AssessmentShown]:
    """The last one of each team."""
    sides = last_words((assessed_by(row), row) for row in said.assessments)
    return [
        AssessmentShown(
            **_show_side(row["by_team"], row, earlier),
            feasibility=row["feasibility"],
            effort=None if row["effort"] is None else msgspec.json.decode(row["effort"], type=Effort),
            risks=msgspec.json.decode(row["risks"], type=list[str]),
            plain=row["plain"],
        )
        for row, earlier in sides
    ]


def show_perspectives(said: SidesRead) -> list[PerspectiveShown]:
    """The last one of each team, and of each decision that it speaks of."""
    sides = last_words((stated_by(row), row) for row in said.perspectives)
    return [
        PerspectiveShown(**_show_side(row["team"], row, earlier), decision=row["decision"], statement=row["statement"])
        for row, earlier in sides
    ]


def assessed_by(row: Row) -> str:
    """Whose word an assessment is."""
    return same_team(row["by_team"])


def stated_by(row: Row) -> tuple[str, str]:
    """Whose word a perspective is, and on which decision; empty: on none."""
    return same_team(row["team"]), row["decision"] or ""


def last_words(said: Iterable[tuple[Any, Row]]) -> Sequence[tuple[Row, int]]:
    """Of each key, in order, the row that was said last, and how many were said before it."""
    rows: dict[Hashable, list[Row]] = {}
    for key, row in said:
        rows.setdefault(key, []).append(row)
    return [(each[-1], len(each) - 1) for _, each in sorted(rows.items())]


def _show_side(team: str, row: Row, earlier: int) -> dict[str, Any]:
    """The members of SideShown."""
    return {
        "team": team,
        "recorded_on": row["requirement"],
        "position": row["position"],
        "time": format_time(row["time"]),
        "recordedtime": format_time(row["recorded_at"]),
        "earlier": earlier,
        "by": show_by(row),
    }
