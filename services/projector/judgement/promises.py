"""Promises: what became of each, and how it stood to what was decided and known when it was made. Pure.

A promise was made at the time of its first recording, and says what its last one says. "As known then" is judged at
that time by what the ledger knew at that recording's position; "as known now" at the same time by what it knows at
the position of the answer. So a decision that was recorded late is no reproach to who promised without knowing it.

Which decision holds is what `lenses.holding` says, of the decisions on the requirement, by what that was merged into,
that were made by then. To explore settles nothing: a promise is held against what was settled before, until that gives
way. Whoever promises when nothing is settled promises without a decision.
"""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Literal, NamedTuple, get_args

from msgspec import Struct

from schemas.values import same_team
from services.projector.judgement import lenses
from services.projector.judgement.fit import shown
from services.projector.judgement.lenses import Decision
from services.projector.judgement.resolution import Resolution

State = Literal["open", "due", "kept", "missed", "released"]
Basis = Literal["with", "before", "against", "without"]

STATES: tuple[State, ...] = get_args(State)
BASES: tuple[Basis, ...] = get_args(Basis)

QUARTER_END_DAYS = 10
"""The last days of a calendar quarter, in which promises are counted apart."""


class Supersession(NamedTuple):
    """A decision gives way to another."""

    position: int
    valid_from: datetime
    decision: str
    superseded_by: str


class Assessment(NamedTuple):
    """What a team said of a requirement. `until`: the position from which on it counts no more."""

    position: int
    until: int | None
    valid_from: datetime
    requirement: str
    team: str
    feasibility: str


class QuarterShare(Struct, frozen=True, kw_only=True):
    """Of the promises made in a calendar quarter (`of`), those made in its last days."""

    quarter: str
    promises: int
    of: int
    share: float


class QuarterEnd(Struct, frozen=True, kw_only=True):
    """Of all promises (`of`), those made in the last days of a calendar quarter (UTC). Shares are rounded half-even to
    six places; without any promise there is none."""

    days: int
    promises: int
    of: int
    share: float | None
    quarters: list[QuarterShare]


class Decided:
    """What was decided on requirements. `decisions` are all that are known; `supersessions` what these have given way
    to, and that in its turn."""

    def __init__(
        self, decisions: Iterable[Decision], supersessions: Iterable[Supersession], requirements: Resolution
    ) -> None:
        self._requirements = requirements
        self._on: dict[str, list[Decision]] = {}
        for decision in sorted(decisions, key=lambda each: each.position):
            for requirement in dict.fromkeys(decision.requirements):
                self._on.setdefault(requirement, []).append(decision)
        self._supersessions = {each.decision: each for each in supersessions}

    def held(self, requirement: str, t: datetime, p: int) -> Decision | None:
        """The decision that held for a requirement at t, as known at p."""
        return self._holding(self._known(requirement, t, p), t, p)

    def basis(self, requirement: str, t: datetime, p: int, now: datetime, position: int) -> Basis:
        """How a promise made at t stood to decisions, as known at p; what came later is what counts now and did not
        count then."""
        known = self._known(requirement, t, p)
        # What settles comes last, as if it were later: it holds, unless it has given way to what explores.
        held = self._holding(sorted(known, key=lambda each: settles(each.outcome)), t, p)
        if held is not None and settles(held.outcome):
            return "with" if held.outcome == "commit" else "against"
        then = {each.position for each in known}
        since = (each for each in self._known(requirement, now, position) if each.position not in then)
        return "before" if any(settles(each.outcome) for each in since) else "without"

    def _holding(self, decisions: Iterable[Decision], t: datetime, p: int) -> Decision | None:
        known = {each.decision: each for each in decisions}
        name = lenses.holding([*known], self._superseded(known, t, p))
        return None if name is None else known[name]

    def _known(self, requirement: str, t: datetime, p: int) -> list[Decision]:
        """The decisions on a requirement that were made by t, as known at p, in the order of the log."""
        found = {
            decision.position: decision
            for name in self._requirements.members(requirement, p)
            for decision in self._on.get(name, ())
            if decision.position <= p and decision.valid_from <= t
        }
        return [found[position] for position in sorted(found)]

    def _superseded(self, decisions: Iterable[str], t: datetime, p: int) -> dict[str, str]:
        """What these had given way to by t, as known at p, and that in its turn."""
        found: dict[str, str] = {}
        left = [*decisions]
        while left:
            end = self._supersessions.get(left.pop())
            if end is not None and end.position <= p and end.valid_from <= t and end.decision not in found:
                found[end.decision] = end.superseded_by
                left.append(end.superseded_by)
        return found


class Assessed:
    """What teams said of requirements. `assessments` are all that are known, retracted ones too."""

    def __init__(self, assessments: Iterable[Assessment], requirements: Resolution) -> None:
        self._requirements = requirements
        self._of: dict[str, list[Assessment]] = {}
        for each in assessments:
            self._of.setdefault(each.requirement, []).append(each)

    def infeasible(self, requirement: str, t: datetime, p: int) -> list[str]:
        """The teams whose last word at t, as known at p, was that it cannot be done, by name."""
        last: dict[str, Assessment] = {}
        for name in self._requirements.members(requirement, p):
            for each in self._of.get(name, ()):
                if each.valid_from <= t and each.position <= p and (each.until is None or p < each.until):
                    team = same_team(each.team)
                    before = last.get(team)
                    if before is None or (before.valid_from, before.position) < (each.valid_from, each.position):
                        last[team] = each
        return [each.team for _, each in sorted(last.items()) if each.feasibility == "infeasible"]


def settles(outcome: str) -> bool:
    """Whether a decision of this outcome says what is done."""
    return outcome != "explore"


def state(outcome: State | None, due: date | None) -> State:
    """Where a promise stands that was closed so, or not at all."""
    if outcome is not None:
        return outcome
    return "open" if due is None else "due"


def is_overdue(state: State, due: date | None, today: date) -> bool:
    """Whether its day has passed and nobody has said how it ended."""
    return state == "due" and due is not None and due < today


def is_at_quarter_end(day: date) -> bool:
    """Whether the day is among the last ones of a calendar quarter."""
    return (day + timedelta(days=QUARTER_END_DAYS)).month not in _months(day)


def quarter_end(days: Sequence[date]) -> QuarterEnd:
    """Of promises that were made on these days, the share at the end of a quarter: of all, and of each quarter's."""
    quarters: dict[str, list[date]] = {}
    for day in days:
        quarters.setdefault(f"{day.year:04d}-Q{(day.month + 2) // 3}", []).append(day)
    late = {name: sum(map(is_at_quarter_end, made)) for name, made in quarters.items()}
    promises = sum(late.values())
    return QuarterEnd(
        days=QUARTER_END_DAYS,
        promises=promises,
        of=len(days),
        share=shown(Fraction(promises, len(days))) if days else None,
        quarters=[
            QuarterShare(quarter=name, promises=late[name], of=len(made), share=_share(late[name], len(made)))
            for name, made in sorted(quarters.items())
        ],
    )


def _months(day: date) -> range:
    """The months of the quarter of a day."""
    first = day.month - (day.month - 1) % 3
    return range(first, first + 3)


def _share(part: int, whole: int) -> float:
    return float(shown(Fraction(part, whole)) or 0)
