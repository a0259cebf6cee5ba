"""What each side says of a requirement: the last word of each team, beside the others', at the same size."""

from datetime import UTC, datetime
from typing import Any

from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import event


def by(team: str) -> dict[str, str]:
    return {"role": "lead", "team": team, "person": "p-7"}


def at(day: int) -> str:
    return f"2026-03-{day:02d}T12:00:00Z"


def recorded(day: int) -> datetime:
    return datetime(2026, 3, day, 12, 0, 1, tzinfo=UTC)


def assessed(team: str, feasibility: str, requirement: str = "R-1", **more: Any) -> Any:
    return event("requirement.assessed", requirement=requirement, feasibility=feasibility, by=by(team), **more)


def stated(team: str, statement: str, decision: str | None = None, requirement: str = "R-1", **more: Any) -> Any:
    named = {} if decision is None else {"decision": decision}
    return event(
        "perspective.stated", requirement=requirement, team=team, statement=statement, by=by(team), **named, **more
    )


async def sides(client: Asking, requirement: str = "R-1", **parameters: Any) -> tuple[list[Any], list[Any]]:
    found = await client.answer(f"requirements/{requirement}", **parameters)
    return found["assessments"], found["perspectives"]


async def test_the_last_word_of_each_team_in_the_order_of_their_names(database: Database) -> None:
    async with asking(database) as client:
        await client.record(event("requirement.raised", requirement="R-1", title="Single sign-on"))
        assert await sides(client) == ([], [])
        effort = {"low": 3.0, "high": 5.0, "unit": "weeks"}
        await client.record(
            assessed("support", "unknown", time=at(1)),
            assessed("engineering", "infeasible", time=at(2)),
            assessed("Engineering", "costly", effort=effort, risks=["The vendor"], plain="Months.", time=at(4)),
            # Recorded later, about an earlier time: it is not the last word.
            assessed("engineering", "feasible", time=at(3)),
            recordedtime=recorded(5),
        )
        assessments, _ = await sides(client)
        assert assessments == [
            {
                "team": "Engineering",
                "recorded_on": "R-1",
                "position": 4,
                "time": "2026-03-04T12:00:00.000000Z",
                "recordedtime": "2026-03-05T12:00:01.000000Z",
                "earlier": 2,
                "by": by("Engineering"),
                "feasibility": "costly",
                "effort": effort,
                "risks": ["The vendor"],
                "plain": "Months.",
            },
            {
                "team": "support",
                "recorded_on": "R-1",
                "position": 2,
                "time": "2026-03-01T12:00:00.000000Z",
                "recordedtime": "2026-03-05T12:00:01.000000Z",
                "earlier": 0,
                "by": by("support"),
                "feasibility": "unknown",
                "effort": None,
                "risks": [],
                "plain": None,
            },
        ]


async def test_a_statement_of_each_team_and_decision_whoever_says_more(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            event("requirement.raised", requirement="R-1", title="Single sign-on"),
            stated("support", "Short.", time=at(1)),
            stated("sales", "A long story. " * 20, time=at(2)),
            stated("sales", "Of the first decision.", "D-1", time=at(3)),
            stated("engineering", "No.", "D-1", time=at(4)),
            stated("sales", "A longer story. " * 20, time=at(5)),
            recordedtime=recorded(6),
        )
        _, perspectives = await sides(client)
        assert [(each["team"], each["decision"], each["position"], each["earlier"]) for each in perspectives] == [
            ("engineering", "D-1", 5, 0),
            ("sales", None, 6, 1),
            ("sales", "D-1", 4, 0),
            ("support", None, 2, 0),
        ]
        assert len({frozenset(each) for each in perspectives}) == 1  # No side has a member that another lacks.


async def test_merged_requirements_are_spoken_of_as_one_and_retracted_words_count_no_more(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            event("requirement.raised", requirement="R-1", title="Single sign-on"),
            event("requirement.raised", requirement="R-2", title="SSO"),
            assessed("engineering", "feasible", time=at(1)),
            assessed("engineering", "infeasible", "R-2", time=at(2)),
            stated("sales", "We need it.", requirement="R-2", time=at(2)),
            event("requirement.merged", requirement="R-2", into="R-1", reason="one", by=by("product")),
            event("event.retracted", position=4, subject="requirement/R-2", reason="slip", by=by("engineering")),
            recordedtime=recorded(3),
        )
        [first], [] = await sides(client, as_of=5)
        assert (first["feasibility"], first["earlier"]) == ("feasible", 0)
        [merged], [statement] = await sides(client, as_of=6)
        assert (merged["feasibility"], merged["earlier"], merged["recorded_on"]) == ("infeasible", 1, "R-2")
        assert (statement["statement"], statement["recorded_on"]) == ("We need it.", "R-2")
        [stands], _ = await sides(client)
        assert (stands["feasibility"], stands["earlier"]) == ("feasible", 0)
        # What was merged keeps its own words in sight.
        assert await sides(client, "R-2") == ([], [statement])
