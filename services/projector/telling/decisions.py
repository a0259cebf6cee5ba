"""Made decisions, of rows as they were read: who asked as decided, whether they depart, why they need review."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from schemas.events import Available, Dissent
from schemas.times import format_time
from schemas.values import By
from services.projector.judgement import lenses
from services.projector.judgement.lenses import Ask, Asker, Decision, Departs, Knowledge
from services.projector.judgement.resolution import Lineage
from services.projector.judgement.review import Mark, marks
from services.projector.shapes.decision import Made
from services.projector.shapes.shown import Row
from services.projector.telling.evidence import TARGET_MARKET, AskedOn
from services.projector.telling.since import Since


def decision_of(row: Row) -> Decision:
    return Decision(
        row["decision"], row["position"], row["valid_from"], row["seen"], row["outcome"], row["requirements"]
    )


def asked_of(decisions: Iterable[Decision]) -> set[str]:
    """The requirements that these decisions are about."""
    return {each for decision in decisions for each in decision.requirements}


def about(decision: Decision, asks: AskedOn, lineage: Lineage) -> list[Ask]:
    """All recordings and withdrawals of asks that a decision may be about, at one position or another."""
    return asks.about(decision.requirements, lineage)


def departures(knowledge: Knowledge, decisions: Iterable[Decision], asks: AskedOn) -> dict[int, Departs | None]:
    """Position of each decision → whether it departs from the agreement. `asks` are all rows of what was asked."""
    departed: dict[int, Departs | None] = {}
    for decision in decisions:
        commits = decision.outcome == "commit"
        askers = lenses.as_decided(knowledge, about(decision, asks, knowledge.lineage), decision) if commits else []
        departed[decision.position] = lenses.departs(decision.outcome, askers)
    return departed


def reviews(
    knowledge: Knowledge,
    decisions: Iterable[Decision],
    asks: AskedOn,
    since: Since,
    now: datetime,
    position: int,
) -> dict[int, list[Mark]]:
    """Position of each decision → why it needs review. `asks` are all rows of what was asked."""
    return {
        decision.position: review(knowledge, decision, about(decision, asks, knowledge.lineage), since, now, position)
        for decision in decisions
    }


def review(
    knowledge: Knowledge,
    decision: Decision,
    rows: Sequence[Ask],
    since: Since,
    now: datetime,
    position: int,
    askers: Sequence[Asker] | None = None,
) -> list[Mark]:
    """Why one decision needs review. `askers`: those who asked as decided, where that has been found already."""
    if since.is_superseded(decision.decision):
        return []  # It has given way.
    reaffirmed = since.reaffirmed(decision)
    return marks(knowledge, rows, decision, TARGET_MARKET, now, position, reaffirmed=reaffirmed, askers=askers)


def show_made(row: Row, knowledge: Knowledge, since: Since, departs: Departs | None, needs_review: list[Mark]) -> Made:
    decision = decision_of(row)
    adoption = knowledge.in_force(decision.valid_from, decision.cut)
    return Made(
        decision=row["decision"],
        position=row["position"],
        time=format_time(row["time"]),
        recordedtime=format_time(row["recorded_at"]),
        outcome=row["outcome"],
        grounds=row["grounds"],
        departs=departs,
        deciders=decoded(row["deciders"], list[By]),
        instruction=row["instruction"],
        rationale=row["rationale"],
        option=row["option"],
        tell_customer=row["tell_customer"],
        available=None if row["available"] is None else decoded(row["available"], Available | None),
        consulted=decoded(row["consulted"], list[By]),
        informed=row["informed"],
        dissent=decoded(row["dissent"], list[Dissent]),
        revisit=row["revisit"],
        seen=row["seen"],
        cut=decision.cut,
        agreement=None if adoption is None else TARGET_MARKET,
        revision=None if adoption is None else adoption.revision.revision,
        needs_review=needs_review,
        acknowledgements=since.acknowledgements(row["decision"]),
        reaffirmations=since.reaffirmations(row["decision"]),
        superseded_by=since.superseded_by(row["decision"]),
        supersedes=since.supersedes(row["decision"]),
    )


def decoded(text: str, type: Any) -> Any:
    """What canonical JSON in a row says."""
    return msgspec.json.decode(text, type=type)
