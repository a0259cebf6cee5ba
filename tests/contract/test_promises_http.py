"""Promises: where each stands, how it stood to what was decided and known when it was made, and how many were made
at a quarter's end."""

import csv
import io
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import event

SALES = {"role": "account executive", "team": "sales", "person": "p-7"}
PRODUCT = {"role": "head of product", "team": "product"}
ENGINEERING = {"role": "lead engineer", "team": "engineering"}


def at(month: int, day: int) -> str:
    return f"2026-{month:02d}-{day:02d}T12:00:00Z"


def recorded(month: int, day: int) -> datetime:
    return datetime(2026, month, day, 12, 0, 1, tzinfo=UTC)


def promised(promise: str, requirement: str = "R-1", account: str = "acme", **more: Any) -> Any:
    return event("promise.made", promise=promise, account=account, requirement=requirement, by=SALES, **more)


def closed(promise: str, outcome: str, **more: Any) -> Any:
    return event("promise.closed", promise=promise, outcome=outcome, by=SALES, **more)


def decided(decision: str, requirement: str, outcome: str, **more: Any) -> Any:
    return event(
        "decision.made", decision=decision, requirements=[requirement], outcome=outcome, rationale="It fits.",
        instruction="Build it.", deciders=[PRODUCT], **more,
    )  # fmt: skip


def superseded(decision: str, by: str, **more: Any) -> Any:
    return event("decision.superseded", decision=decision, superseded_by=by, reason="we know more", by=PRODUCT, **more)


def assessed(requirement: str, feasibility: str, by: dict[str, str] = ENGINEERING, **more: Any) -> Any:
    return event("requirement.assessed", requirement=requirement, feasibility=feasibility, by=by, **more)


def retracted(position: int, subject: str) -> Any:
    return event("event.retracted", position=position, subject=subject, reason="a slip", by=SALES)


def merged(kind: str, name: str, into: str) -> Any:
    return event(f"{kind}.merged", **{kind: name}, into=into, reason="one", by=PRODUCT)


async def promises(client: Asking, **parameters: Any) -> dict[str, Any]:
    return {row["promise"]: row for row in (await client.answer("promises", **parameters))["promises"]}


async def test_a_promise_with_all_that_was_said_of_it(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            event("account.profiled", account="acme", name="Acme Bank", attributes={}),
            event("account.identified", account="acme", same_as=[{"system": "crm", "id": "1"}]),
            event("requirement.raised", requirement="R-1", title="Single sign-on"),
            recordedtime=recorded(1, 10),
        )
        await client.record(
            promised("P-1", account="crm:1", due="2026-05-01", opportunity="O-1", time=at(2, 1)),
            recordedtime=recorded(2, 2),
        )
        await client.record(
            promised("P-1", account="crm:1", due="2026-06-01", decision="D-1", time=at(3, 1)),
            recordedtime=recorded(3, 1),
        )
        await client.record(closed("P-1", "kept", reason="It shipped.", time=at(5, 5)), recordedtime=recorded(5, 6))
        found = await client.answer("promises")
    assert found["total"] == 1
    assert found["promises"] == [
        {
            "promise": "P-1",
            "account": "acme",
            "named": "crm:1",
            "name": "Acme Bank",
            "requirement": "R-1",
            "recorded_on": "R-1",
            "title": "Single sign-on",
            "state": "kept",
            "due": "2026-06-01",
            "overdue": False,
            "position": 4,
            "time": "2026-02-01T12:00:00.000000Z",
            "recordedtime": "2026-02-02T12:00:01.000000Z",
            "revised": {"position": 5, "time": "2026-03-01T12:00:00.000000Z"},
            "by": {"role": "account executive", "team": "sales"},
            "opportunity": None,
            "decision": "D-1",
            "basis": "without",
            "held": None,
            "basis_as_known_now": "without",
            "holds_now": None,
            "infeasible": [],
            "quarter_end": False,
            "closed": {
                "position": 6,
                "time": "2026-05-05T12:00:00.000000Z",
                "recordedtime": "2026-05-06T12:00:01.000000Z",
                "reason": "It shipped.",
                "by": {"role": "account executive", "team": "sales"},
            },
        }
    ]


async def test_where_promises_stand_on_a_day(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            promised("open"),
            *(promised(name, due="2026-04-10") for name in ("due", "kept", "missed", "released")),
            recordedtime=recorded(4, 1),
        )
        await client.record(
            *(closed(outcome, outcome) for outcome in ("kept", "missed", "released")), recordedtime=recorded(4, 10)
        )
        # What was never made is no promise, whoever says that it ended.
        await client.record(closed("never", "kept"), recordedtime=recorded(4, 11))

        async def standing(**parameters: Any) -> dict[str, tuple[str, bool]]:
            rows = await promises(client, **parameters)
            return {name: (row["state"], row["overdue"]) for name, row in rows.items()}

        before = {"open": ("open", False), **dict.fromkeys(("due", "kept", "missed", "released"), ("due", False))}
        assert await standing(as_of=5) == before
        ended = {name: (name, False) for name in ("kept", "missed", "released")}
        assert await standing(as_of=8) == {"open": ("open", False), "due": ("due", False), **ended}
        assert await standing() == {"open": ("open", False), "due": ("due", True), **ended}
        assert [*await promises(client, overdue="true")] == ["due"]
        for state in ("open", "due", "kept", "missed", "released"):
            assert [*await promises(client, state=state)] == [state]
        totals = (await client.answer("promises"))["totals"]
        assert totals["state"] == {"open": 1, "due": 1, "kept": 1, "missed": 1, "released": 1}
        assert totals["overdue"] == 1


async def test_how_a_promise_stood_to_decisions(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            decided("D-1", "committed", "commit", time=at(2, 1)),
            decided("D-2", "declined", "decline", time=at(2, 1)),
            decided("D-3", "deferred", "defer", time=at(2, 1)),
            decided("D-4", "explored", "explore", time=at(2, 1)),
            decided("D-5", "changed", "commit", time=at(2, 1)),
            decided("D-6", "changed", "decline", time=at(2, 2)),
            superseded("D-5", "D-6", time=at(2, 2)),
            recordedtime=recorded(2, 3),
        )
        names = ("committed", "declined", "deferred", "explored", "changed", "later", "never")
        await client.record(*(promised(f"P-{name}", name) for name in names), recordedtime=recorded(3, 1))
        await client.record(decided("D-7", "later", "decline"), recordedtime=recorded(4, 1))
        rows = await promises(client)
        assert {name: row["basis"] for name, row in rows.items()} == {
            "P-committed": "with",
            "P-declined": "against",
            "P-deferred": "against",
            "P-explored": "without",
            "P-changed": "against",
            "P-later": "before",
            "P-never": "without",
        }
        held = rows["P-changed"]["held"]
        assert (held["decision"], held["outcome"], held["position"]) == ("D-6", "decline", 6)
        assert rows["P-explored"]["held"]["decision"] == "D-4"
        assert (rows["P-later"]["held"], rows["P-later"]["holds_now"]["decision"]) == (None, "D-7")
        # Before it came, nobody could know that it would.
        assert (await promises(client, as_of=14))["P-later"]["basis"] == "without"
        assert {*await promises(client, basis="against")} == {"P-declined", "P-deferred", "P-changed"}
        found = await client.answer("promises")
        assert found["totals"]["basis"] == {"with": 1, "before": 1, "against": 3, "without": 2}


async def test_a_decision_that_was_recorded_late_is_no_reproach(database: Database) -> None:
    async with asking(database) as client:
        await client.record(promised("P-1"), recordedtime=recorded(3, 1))
        await client.record(decided("D-1", "R-1", "decline", time=at(2, 1)), recordedtime=recorded(3, 9))
        [row] = (await promises(client)).values()
        assert (row["basis"], row["held"]) == ("before", None)
        assert (row["basis_as_known_now"], row["holds_now"]["decision"]) == ("against", "D-1")
        totals = (await client.answer("promises"))["totals"]
        assert (totals["basis"]["before"], totals["basis_as_known_now"]["against"]) == (1, 1)


async def test_a_superseded_decision_holds_no_more(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            decided("D-1", "R-1", "commit"), decided("D-2", "R-2", "decline"), recordedtime=recorded(2, 1)
        )
        await client.record(promised("P-1"), recordedtime=recorded(2, 2))
        await client.record(superseded("D-1", "D-2"), recordedtime=recorded(2, 3))
        await client.record(promised("P-2"), recordedtime=recorded(2, 4))
        rows = await promises(client)
        assert (rows["P-1"]["basis"], rows["P-1"]["holds_now"]) == ("with", None)
        assert (rows["P-2"]["basis"], rows["P-2"]["held"]) == ("without", None)


async def test_the_decision_that_holds_is_the_one_that_the_requirement_shows(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            event("requirement.raised", requirement="R-1", title="Single sign-on"),
            event("requirement.raised", requirement="R-2", title="Dark mode"),
            recordedtime=recorded(1, 1),
        )
        for number, (decision, requirement, outcome) in enumerate(
            [("D-1", "R-1", "commit"), ("D-2", "R-1", "decline"), ("D-3", "R-1", "defer"), ("D-4", "R-2", "commit")], 2
        ):
            await client.record(decided(decision, requirement, outcome), recordedtime=recorded(1, number))
        await client.record(superseded("D-3", "D-4"), promised("P-1"), recordedtime=recorded(1, 6))
        await client.record(superseded("D-4", "D-1"), promised("P-2"), recordedtime=recorded(1, 7))
        rows = await promises(client)
        assert (await client.answer("requirements/R-1"))["status"] == "committed"
        # What D-3 gave way to was about something else; then that gave way to D-1.
        assert [(rows[each]["held"]["decision"], rows[each]["basis"]) for each in ("P-1", "P-2")] == [
            ("D-2", "against"),
            ("D-1", "with"),
        ]
        assert {row["holds_now"]["decision"] for row in rows.values()} == {"D-1"}


async def test_merged_requirements_are_decided_on_together(database: Database) -> None:
    async with asking(database) as client:
        await client.record(decided("D-1", "R-2", "decline"), recordedtime=recorded(2, 1))
        await client.record(promised("P-1", "R-1"), recordedtime=recorded(2, 2))
        await client.record(merged("requirement", "R-1", "R-2"), recordedtime=recorded(2, 3))
        await client.record(promised("P-2", "R-1"), recordedtime=recorded(2, 4))
        rows = await promises(client)
        assert {(row["requirement"], row["recorded_on"]) for row in rows.values()} == {("R-2", "R-1")}
        assert (rows["P-1"]["basis"], rows["P-1"]["basis_as_known_now"]) == ("before", "against")
        assert rows["P-2"]["basis"] == "against"
        assert {*await promises(client, requirement="R-1")} == {*await promises(client, requirement="R-2")} == {*rows}


async def test_a_promise_against_an_assessment_that_says_infeasible(database: Database) -> None:
    support = {"role": "engineer", "team": "Support"}
    async with asking(database) as client:
        await client.record(
            assessed("said", "feasible", time=at(2, 1)),
            assessed("said", "infeasible", time=at(2, 5)),
            assessed("said", "infeasible", support, time=at(2, 5)),
            assessed("taken-back", "infeasible", time=at(2, 1)),
            assessed("taken-back", "costly", {**ENGINEERING, "team": "Engineering"}, time=at(2, 2)),
            assessed("retracted", "infeasible", time=at(2, 1)),
            recordedtime=recorded(2, 6),
        )
        await client.record(retracted(6, "requirement/retracted"), recordedtime=recorded(2, 7))
        names = ("said", "taken-back", "retracted", "late")
        await client.record(*(promised(f"P-{name}", name) for name in names), recordedtime=recorded(3, 1))
        await client.record(
            assessed("late", "infeasible", time=at(2, 1)), retracted(2, "requirement/said"), recordedtime=recorded(3, 2)
        )
        rows = await promises(client)
        # What is retracted only later was known then.
        assert rows["P-said"]["infeasible"] == ["engineering", "Support"]
        assert [rows[f"P-{name}"]["infeasible"] for name in names[1:]] == [[], [], []]
        assert [*await promises(client, infeasible="true")] == ["P-said"]
        assert "P-said" not in await promises(client, infeasible="false")
        assert (await client.answer("promises"))["totals"]["infeasible"] == 1


async def test_what_is_retracted_counts_no_more(database: Database) -> None:
    async with asking(database) as client:
        await client.record(promised("P-1", due="2026-04-01"), recordedtime=recorded(2, 1))
        await client.record(promised("P-1", due="2026-05-01"), closed("P-1", "missed"), recordedtime=recorded(3, 1))
        await client.record(retracted(3, "promise/P-1"), recordedtime=recorded(3, 2))
        await client.record(retracted(2, "promise/P-1"), recordedtime=recorded(3, 3))
        await client.record(retracted(1, "promise/P-1"), recordedtime=recorded(3, 4))
        seen = []
        for position in range(1, 7):
            rows = await promises(client, as_of=position)
            seen.append([(row["state"], row["due"]) for row in rows.values()])
    assert seen == [
        [("due", "2026-04-01")],
        [("due", "2026-05-01")],
        [("missed", "2026-05-01")],
        [("due", "2026-05-01")],
        [("due", "2026-04-01")],
        [],
    ]


async def test_the_share_that_was_made_at_a_quarters_end(database: Database) -> None:
    days = {"a": (3, 21), "b": (3, 22), "c": (3, 31), "d": (4, 1), "e": (6, 20), "f": (6, 21), "g": (12, 22)}
    late = {"b", "c", "f", "g"}
    async with asking(database) as client:
        await client.record(
            *(promised(name, time=at(*day).replace("2026", "2025")) for name, day in days.items()),
            recordedtime=recorded(1, 5),
        )
        found = await client.answer("promises")
        assert {row["promise"] for row in found["promises"] if row["quarter_end"]} == late
        assert found["totals"]["quarter_end"] == {
            "days": 10,
            "promises": 4,
            "of": 7,
            "share": 0.571429,
            "quarters": [
                {"quarter": "2025-Q1", "promises": 2, "of": 3, "share": 0.666667},
                {"quarter": "2025-Q2", "promises": 1, "of": 3, "share": 0.333333},
                {"quarter": "2025-Q4", "promises": 1, "of": 1, "share": 1.0},
            ],
        }
        # The quarter is that of the time it was made, not of its record.
        within = {"from": "2025-06-20T12:00:00Z", "to": "2025-06-21T12:00:00Z"}
        found = await client.answer("promises", **within)
        assert [row["promise"] for row in found["promises"]] == ["e"]
        assert found["totals"]["quarter_end"]["share"] == 0.0


async def test_filters_pages_and_csv(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *(promised(f"P-{number}", f"R-{number % 2}", f"a-{number % 3}", time=at(2, 1)) for number in range(9)),
            event("account.identified", account="a-0", same_as=[{"system": "crm", "id": "0"}]),
            recordedtime=recorded(3, 1),
        )
        # Of those made at the same time, the one that was recorded last comes first.
        assert [*await promises(client)] == [f"P-{number}" for number in range(8, -1, -1)]
        assert [*await promises(client, account="crm:0")] == ["P-6", "P-3", "P-0"]
        assert [*await promises(client, account="a-0", requirement="R-1")] == ["P-3"]
        first = await client.get("promises", limit=2, account="a-0")
        await client.record(promised("P-9", "R-1", "a-0"), recordedtime=recorded(3, 2))
        await client.answer("promises")
        second = await client.get(first.headers["Link"].split(">")[0].lstrip("<"))
        assert [row["promise"] for reply in (first, second) for row in reply.json["promises"]] == ["P-6", "P-3", "P-0"]
        assert (second.json["total"], second.json["totals"]["quarter_end"]["of"]) == (3, 3)
        reply = await client.get("promises", as_of=9, account="a-0", headers={"Accept": "text/csv"})
        [line, *_] = csv.DictReader(io.StringIO(reply.body.decode()))
        assert (line["promise"], line["by_role"], line["by_team"], line["state"]) == (
            "P-6", "account executive", "sales", "open",
        )  # fmt: skip
        assert b"p-7" not in reply.body and b"p-7" not in first.body


async def test_the_empty_ledger_has_none(database: Database) -> None:
    async with asking(database) as client:
        await client.record(promised("P-1"))
        await client.answer("promises")
        found = await client.answer("promises", as_of=0)
        assert (found["total"], found["promises"]) == (0, [])
        assert found["totals"]["quarter_end"] == {"days": 10, "promises": 0, "of": 0, "share": None, "quarters": []}


async def test_an_answer_for_a_position_stays_what_it_was(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            decided("D-1", "R-1", "commit"), promised("P-1", due="2026-02-02"), recordedtime=recorded(2, 1)
        )
        await client.answer("promises")
        before = await client.get("promises", as_of=2)
        await client.record(
            decided("D-2", "R-1", "decline", time=at(1, 1)), superseded("D-1", "D-2", time=at(1, 1)),
            assessed("R-1", "infeasible", time=at(1, 1)), promised("P-1", "R-2", time=at(1, 1)),
            closed("P-1", "kept", time=at(1, 1)), merged("requirement", "R-1", "R-3"), merged("account", "acme", "b"),
            retracted(2, "promise/P-1"), recordedtime=recorded(5, 1),
        )  # fmt: skip
        await client.answer("promises")
        assert (await client.get("promises", as_of=2)).body == before.body


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"from": "2026-03-02", "to": "2026-03-01"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"to": "0001-01-01"}, "to"),
        ({"state": "broken"}, "state"),
        ({"basis": "despite"}, "basis"),
        ({"infeasible": "maybe"}, "infeasible"),
        ({"account": "not an id"}, "account"),
        ({"person": "p-7"}, "person"),
        ({"sort": "by"}, "sort"),
    ],
)
async def test_what_cannot_be_asked(database: Database, parameters: dict[str, str], named: str) -> None:
    async with asking(database) as client:
        await client.record(promised("P-1"))
        reply = await client.get("promises", **parameters)
        assert (reply.status, reply.json["type"]) == (400, "/problems/bad-parameter")
        assert named in reply.json["detail"] or reply.json["parameter"] == named
