"""What emitters have counted, against what is here."""

import csv
import io
import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from services.postgres import connect
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import event

ASK = "ledger.ask.recorded.v1"
OPPORTUNITY = "ledger.opportunity.updated.v1"
EMPTY = {"count": 0, "sum": None}


def ask(day: str, source: str = "/crm", **more: Any) -> Any:
    return event("ask.recorded", source=source, time=day, requirement="R-1", account="acme", **more)


def deal(day: str, amount: str | None, source: str = "/crm") -> Any:
    money = {} if amount is None else {"amount": amount, "currency": "EUR"}
    return event(
        "opportunity.updated", source=source, time=day, opportunity="O-1", account="acme", stage="open", **money
    )


def stated(
    count: int, *, since: str = "2026-10-01", until: str = "2026-11-01", type: str = ASK, source: str = "/crm",
    by: str = "/crm", time: str = "2026-11-02T00:00:00Z", **more: Any,
) -> Any:  # fmt: skip
    made = event("source.reconciled", source=by, time=time, type=type, count=count, to=until, **{"from": since}, **more)
    made["data"]["source"] = source  # The name is taken by the envelope.
    return made


async def listed(client: Asking, **more: Any) -> Any:
    return (await client.answer("reconciliation", **more))["reconciliations"]


async def test_a_count_is_compared_with_the_events_of_its_period(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            ask("2026-09-30T23:59:59.999999Z"),
            ask("2026-10-01T00:00:00Z"),
            ask("2026-10-31T23:59:59Z"),
            ask("2026-11-01T00:00:00Z"),
            ask("2026-10-15T00:00:00Z", source="/desk"),
            deal("2026-10-15T00:00:00Z", "5"),
        )
        [position] = await client.record(stated(3))
        [row] = await listed(client)
    assert row.pop("recordedtime").endswith("Z")
    assert row == {
        "source": "/crm",
        "type": ASK,
        "from": "2026-10-01T00:00:00.000000Z",
        "to": "2026-11-01T00:00:00.000000Z",
        "count": 3,
        "sum": None,
        "here": {"count": 2, "sum": None},
        "difference": {"count": -1, "sum": None},
        "agrees": False,
        "stated_by": "/crm",
        "position": position,
        "time": "2026-11-02T00:00:00.000000Z",
    }


@pytest.mark.parametrize(
    ("given", "difference", "agrees"),
    [("15.70", "0.00", True), ("15.7", "0.00", True), ("15.700000", "0.000000", True), ("20", "-4.30", False)],
)
async def test_sums_are_compared_as_decimal_numbers(
    database: Database, given: str, difference: str, agrees: bool
) -> None:
    async with asking(database) as client:
        day = "2026-10-15T00:00:00Z"
        await client.record(deal(day, "10.50"), deal(day, "5.20"), deal(day, None))
        await client.record(stated(3, type=OPPORTUNITY, sum=given))
        [row] = await listed(client)
    assert (row["sum"], row["here"]) == (given, {"count": 3, "sum": "15.70"})
    assert (row["difference"], row["agrees"]) == ({"count": 0, "sum": difference}, agrees)


async def test_a_sum_is_asked_for_only_where_one_was_stated(database: Database) -> None:
    async with asking(database) as client:
        await client.record(deal("2026-10-15T00:00:00Z", "10.50"))
        await client.record(stated(1, type=OPPORTUNITY), stated(0, type=OPPORTUNITY, source="/desk", sum="0.00"))
        with_sum, without = await listed(client)
    assert (with_sum["here"], with_sum["agrees"]) == ({"count": 0, "sum": "0"}, True)
    assert (without["here"], without["difference"], without["agrees"]) == (
        {"count": 1, "sum": "10.50"},
        {"count": 0, "sum": None},
        True,
    )


async def test_a_sum_of_what_has_no_amount_cannot_agree(database: Database) -> None:
    async with asking(database) as client:
        await client.record(ask("2026-10-15T00:00:00Z"))
        await client.record(stated(1, sum="7"), stated(0, type="ledger.nothing.known.v1", sum="0"))
        rows = await listed(client)
    assert [(row["here"]["sum"], row["difference"], row["agrees"]) for row in rows] == [(None, EMPTY, False)] * 2


async def test_the_latest_count_of_a_period_is_shown_whatever_the_order_of_arrival(database: Database) -> None:
    async with asking(database) as client:
        known = [
            ask("2026-10-02T00:00:00Z"),
            ask("2026-10-03T00:00:00Z"),
            stated(9, time="2026-11-02T00:00:00Z"),
            stated(2, time="2026-11-03T00:00:00Z", since="2026-10-01T02:00:00+02:00"),
        ]
        for number, order in enumerate(itertools.permutations(known)):
            emitter = f"/crm-{number}"
            await client.record(
                *(
                    each | {"id": f"{number}-{index}", "source": emitter}
                    | ({"data": each["data"] | {"source": emitter}} if "count" in each["data"] else {})
                    for index, each in enumerate(order)
                )
            )  # fmt: skip
            [row] = await listed(client, source=emitter)
            assert (row["count"], row["here"]["count"], row["agrees"]) == (2, 2, True)
            assert row["time"] == "2026-11-03T00:00:00.000000Z"


async def test_a_late_event_counts_from_its_position_on_and_an_answer_for_an_earlier_one_stays(
    database: Database,
) -> None:
    async with asking(database) as client:
        await client.record(ask("2026-10-02T00:00:00Z"))
        [counted] = await client.record(stated(2))
        before = await client.answer("reconciliation")
        assert before["reconciliations"][0]["difference"]["count"] == -1
        await client.record(ask("2026-10-03T00:00:00Z"))
        [after] = await listed(client)
        assert (after["here"]["count"], after["agrees"]) == (2, True)
        assert await client.answer("reconciliation", as_of=counted) == before
        assert await listed(client, as_of=counted - 1) == []


async def test_an_event_without_a_time_counts_when_it_was_recorded(database: Database) -> None:
    async with asking(database) as client:
        recorded = datetime(2026, 10, 31, 23, 58, tzinfo=UTC)
        bare = event("ask.recorded", source="/crm", requirement="R-1", account="acme")
        ahead = ask("2026-11-01T00:00:01Z")  # Recorded within the first period, by an emitter whose clock is ahead.
        await client.record(bare, ahead, recordedtime=recorded)
        await client.record(stated(1), stated(1, since="2026-11-01", until="2026-11-02"))
        assert [row["agrees"] for row in await listed(client)] == [True, True]


async def test_who_counts_for_another_does_not_take_its_place(database: Database) -> None:
    async with asking(database) as client:
        await client.record(stated(0), stated(8, by="/audit", time="2026-11-04T00:00:00Z"))
        assert [(row["stated_by"], row["source"], row["count"]) for row in await listed(client)] == [
            ("/audit", "/crm", 8),
            ("/crm", "/crm", 0),
        ]


async def test_counts_are_found_by_source_type_period_and_whether_they_agree(database: Database) -> None:
    async with asking(database) as client:
        await client.record(ask("2026-10-02T00:00:00Z"))
        await client.record(
            stated(1),
            stated(5, since="2026-11-01", until="2026-12-01", time="2026-11-03T00:00:00Z"),
            stated(0, source="/desk", time="2026-11-04T00:00:00Z"),
            stated(0, type=OPPORTUNITY, time="2026-11-05T00:00:00Z"),
        )

        async def counts(**more: Any) -> list[int]:
            return [row["count"] for row in await listed(client, **more)]

        assert await counts() == [0, 0, 5, 1]
        assert await counts(source="/crm") == [0, 5, 1]
        assert await counts(type=ASK) == [0, 5, 1]
        assert await counts(agrees="false") == [5]
        assert await counts(agrees="true", source="/crm") == [0, 1]
        assert await counts(**{"from": "2026-11-01"}) == [5]
        assert await counts(to="2026-10-01T02:00:00+02:00") == []
        assert await counts(to="2026-11-01T00:00:00Z", type=ASK) == [0, 1]
        assert await counts(source="/nobody") == []
        for parameter, text in [("from", "yesterday"), ("to", "2026-13-01"), ("type", "ask"), ("source", "\x00")]:
            refused = await client.get("reconciliation", **{parameter: text})
            assert (refused.status, refused.json["parameter"]) == (400, parameter)


@pytest.mark.parametrize("more", [{}, {"agrees": "false"}])
async def test_it_has_pages_and_comes_as_csv(database: Database, more: dict[str, str]) -> None:
    async with asking(database) as client:
        await client.record(
            *(stated(day, since=f"2026-10-{day:02}", until=f"2026-10-{day + 1:02}") for day in range(1, 8))
        )
        found, path, given = [], "reconciliation", {"limit": 3, "at_least": client.head, **more}
        while True:
            reply = await client.get(path, **given)
            assert reply.json["total"] == 7
            found += [row["count"] for row in reply.json["reconciliations"]]
            if "Link" not in reply.headers:
                break
            path, given = reply.headers["Link"].split(">")[0].lstrip("<"), {}
            await client.record(stated(99))
        assert found == [7, 6, 5, 4, 3, 2, 1]
        sheet = await client.get("reconciliation", headers={"Accept": "text/csv"}, source="/crm", as_of=7)
        rows = list(csv.DictReader(io.StringIO(sheet.body.decode())))
        assert [*rows[0]] == [
            *("source", "type", "from", "to", "count", "sum", "here_count", "here_sum"),
            *("difference_count", "difference_sum", "agrees", "stated_by", "position", "time", "recordedtime"),
        ]
        assert (rows[0]["count"], rows[0]["difference_count"], rows[0]["agrees"]) == ("7", "-7", "false")


async def test_a_period_is_found_in_a_long_log_without_reading_the_rest(database: Database) -> None:
    async with asking(database) as client:
        await client.record(stated(0, since="2026-10-05", until="2026-10-06"))
        await client.answer("reconciliation")
        connection = await connect(database.projector)
        await connection.execute(
            "INSERT INTO ledger_main.emissions"
            " SELECT n, '/crm', $1, timestamptz '2026-01-01Z' + n * interval '1 minute'"
            " FROM generate_series(2, 200000) AS n",
            ASK,
        )
        await connection.execute("ANALYZE ledger_main.emissions")
        plan = "\n".join(
            row[0]
            for row in await connection.fetch(
                "EXPLAIN SELECT count(*), sum(amount) FROM ledger_main.emissions WHERE source = '/crm' AND type = $1"
                " AND time >= '2026-03-05Z' AND time < '2026-03-06Z' AND position <= 200000",
                ASK,
            )
        )
        await connection.close()
    assert "emissions_period_idx" in plan, plan
    assert "Seq Scan" not in plan, plan
