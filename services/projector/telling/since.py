"""What was said of made decisions since: who has taken note, that they stand, what they have given way to."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from msgspec import Struct

from schemas.times import format_time
from services.projector.judgement import lenses
from services.projector.judgement.lenses import Decision
from services.projector.judgement.review import looked_at_again
from services.projector.shapes.decision import Acknowledgement, Reaffirmation, Superseded
from services.projector.shapes.shown import Row, shared_keys, show_by


class SinceRead(Struct, frozen=True, kw_only=True):
    """What was said of decisions, as it was read, in the order of positions."""

    acknowledgements: Sequence[Row]
    reaffirmations: Sequence[Row]
    supersessions: Sequence[Row]

    def since(self) -> "Since":
        return Since(self)


class Since:
    """What was said of each decision."""

    def __init__(self, read: SinceRead) -> None:
        self._acknowledgements = _by(read.acknowledgements, "decision")
        self._reaffirmations = _by(read.reaffirmations, "decision")
        self._superseded = {row["decision"]: row for row in read.supersessions}
        self._supersedes = _by(read.supersessions, "superseded_by")

    def acknowledgements(self, decision: str) -> list[Acknowledgement]:
        rows = self._acknowledgements.get(decision, [])
        shared = shared_keys(rows)
        return [
            Acknowledgement(
                team=row["team"],
                note=row["note"],
                recorded_by=row["authid"],
                recorded_on_behalf_of=row["authid"] in shared,
                by=show_by(row),
                **_times(row),
            )
            for row in rows
        ]

    def reaffirmations(self, decision: str) -> list[Reaffirmation]:
        rows = self._reaffirmations.get(decision, [])
        return [Reaffirmation(reason=row["reason"], seen=row["seen"], by=show_by(row), **_times(row)) for row in rows]

    def superseded_by(self, decision: str) -> Superseded | None:
        row = self._superseded.get(decision)
        return None if row is None else _superseded(row["superseded_by"], row)

    def supersedes(self, decision: str) -> list[Superseded]:
        return [_superseded(row["decision"], row) for row in self._supersedes.get(decision, [])]

    def is_superseded(self, decision: str) -> bool:
        return decision in self._superseded

    def reaffirmed(self, decision: Decision) -> Decision | None:
        """The decision with the time and the cut that its reaffirmations come to; None: it has none."""
        rows = self._reaffirmations.get(decision.decision)
        if not rows:
            return None
        looks = [
            decision._replace(position=row["position"], valid_from=row["valid_from"], seen=row["seen"]) for row in rows
        ]
        return looked_at_again(decision, looks)

    def is_due_again(self, decision: str, revisit: date | None, today: date) -> bool:
        """Whether the day to look at a made decision again has passed, and nobody has since that day."""
        if self.is_superseded(decision):
            return False
        looked = max((row["valid_from"].date() for row in self._reaffirmations.get(decision, [])), default=None)
        return is_due_again(revisit, looked, today)


def is_due_again(revisit: date | None, looked: date | None, today: date) -> bool:
    """Whether the day to look at a decision that holds has passed, and nobody has `looked` at it since that day."""
    return revisit is not None and revisit < today and (looked is None or looked < revisit)


def holding(made: Sequence[Row], superseded: Mapping[str, str]) -> Row | None:
    """Of the made decisions on a requirement, in the order of positions, the one that holds; None if none does."""
    name = lenses.holding([row["decision"] for row in made], superseded)
    return next((row for row in reversed(made) if row["decision"] == name), None)


def _by(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row[column], []).append(row)
    return found


def _superseded(other: str, row: Row) -> Superseded:
    return Superseded(decision=other, reason=row["reason"], **_times(row))


def _times(row: Row) -> dict[str, Any]:
    return {
        "position": row["position"],
        "time": format_time(row["time"]),
        "recordedtime": format_time(row["recorded_at"]),
    }
