"""The attributes of accounts: what would settle who is undetermined, and where it comes from."""

import csv
import io
from itertools import permutations
from typing import Any

import pytest

from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import event

PRODUCT = {"role": "head of product", "team": "product"}


def profiled(account: str, source: str = "/crm", time: str | None = None, **attributes: Any) -> Any:
    return event("account.profiled", account=account, attributes=attributes, source=source, time=time)


def revised(agreement: str, revision: str, *tests: tuple[str, dict[str, Any]]) -> Any:
    return event(
        "agreement.revised", agreement=agreement, revision=revision, title="Banks", stage="focused",
        bullets=[{"bullet": name, "text": f"text of {name}", "test": test} for name, test in tests],
        threshold=60, signatories=["sales"], reason="agreed", by=PRODUCT,
    )  # fmt: skip


def adopted(agreement: str, revision: str) -> Any:
    return event("agreement.adopted", agreement=agreement, revision=revision, effective="2020-01-01", by=PRODUCT)


BANK = ("bank", {"op": "eq", "attribute": "industry", "value": "banking"})
LARGE = ("large", {"op": "gte", "attribute": "employees", "value": 50})


async def attributes(client: Asking, **parameters: Any) -> dict[str, Any]:
    found = await client.answer("attributes", **parameters)
    return {row["attribute"]: row for row in found["attributes"]}


async def test_each_attribute_with_what_is_known_of_it(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            profiled("a-1", industry="banking", employees=70, regions=["eu", "us"], live=True),
            profiled("a-2", industry="banking", employees="many", regions=["eu", "eu"]),
            profiled("a-3", "/survey", industry="Banking", live=False),
            profiled("a-4", "/survey", industry=None, employees=70, forgotten="x"),
            profiled("a-4", forgotten=None),
            event("ask.recorded", requirement="R-1", account="a-5"),
        )
        found = await client.answer("attributes")
        assert (found["total"], found["accounts"], found["as_of"]["position"]) == (4, 5, 6)
        assert [row["attribute"] for row in found["attributes"]] == ["employees", "industry", "live", "regions"]
        rows = {row["attribute"]: row for row in found["attributes"]}
        assert rows["industry"] == {
            "attribute": "industry",
            "accounts": 3,
            "share": 0.6,
            "undetermined": 0,
            "types": {"string": 3, "number": 0, "boolean": 0, "list": 0},
            "sources": [{"source": "/crm", "accounts": 2}, {"source": "/survey", "accounts": 1}],
            "top": [{"value": "banking", "accounts": 2}, {"value": "Banking", "accounts": 1}],
            "bullets": [],
        }
        assert rows["employees"]["types"] == {"string": 1, "number": 2, "boolean": 0, "list": 0}
        assert rows["employees"]["top"] == [{"value": 70, "accounts": 2}, {"value": "many", "accounts": 1}]
        assert rows["regions"]["types"]["list"] == 2
        assert rows["regions"]["top"] == [{"value": "eu", "accounts": 2}, {"value": "us", "accounts": 1}]
        assert rows["live"]["top"] == [{"value": False, "accounts": 1}, {"value": True, "accounts": 1}]


async def test_bullets_that_use_it_and_who_waits_for_it(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            revised("target-market", "r0", ("old", {"op": "exists", "attribute": "forgotten"})),
            revised("target-market", "r1", BANK, LARGE),
            adopted("target-market", "r1"),
            revised("target-market", "r2", BANK, ("far", {"op": "all", "tests": [
                {"op": "exists", "attribute": "country"}, {"op": "not", "test": LARGE[1]}
            ]})),
            revised("qualified-lead", "q1", ("bank-too", BANK[1])),
            profiled("a-1", industry="banking", employees=70),
            profiled("a-2", industry="banking"),
            event("ask.recorded", requirement="R-1", account="a-3"),
        )  # fmt: skip
        found = await client.answer("attributes")
        assert [(row["attribute"], row["undetermined"], row["accounts"]) for row in found["attributes"]] == [
            ("employees", 2, 1),
            ("industry", 1, 2),
            ("country", 0, 0),
        ]
        rows = {row["attribute"]: row for row in found["attributes"]}
        assert rows["employees"]["bullets"] == [
            {
                "agreement": "target-market",
                "revision": revision,
                "bullet": bullet,
                "text": f"text of {bullet}",
                "in_force": in_force,
            }
            for revision, bullet, in_force in (("r1", "large", True), ("r2", "far", False))
        ]
        assert [(each["agreement"], each["revision"]) for each in rows["industry"]["bullets"]] == [
            ("qualified-lead", "q1"),
            ("target-market", "r1"),
            ("target-market", "r2"),
        ]
        assert (rows["country"]["share"], rows["country"]["sources"], rows["country"]["top"]) == (0.0, [], [])
        # Once it is said, nobody waits for it.
        await client.record(profiled("a-2", employees=10), profiled("a-3", employees=10, industry="farming"))
        assert {row["undetermined"] for row in (await attributes(client)).values()} == {0}
        assert (await attributes(client, as_of=8))["employees"]["undetermined"] == 2


async def test_accounts_that_are_one_count_once(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            profiled("a-1", industry="banking", time="2026-03-01T00:00:00Z"),
            profiled("crm:1", "/desk", industry="insurance", size=1, time="2026-03-02T00:00:00Z"),
            profiled("a-2", industry="banking"),
        )
        assert (await client.answer("attributes"))["accounts"] == 3
        assert (await attributes(client))["industry"]["accounts"] == 3
        await client.record(event("account.identified", account="a-1", same_as=[{"system": "crm", "id": "1"}]))
        found = await client.answer("attributes")
        [industry] = [row for row in found["attributes"] if row["attribute"] == "industry"]
        assert (found["accounts"], industry["accounts"], industry["share"]) == (2, 2, 1.0)
        assert industry["top"] == [{"value": "banking", "accounts": 1}, {"value": "insurance", "accounts": 1}]
        assert industry["sources"] == [{"source": "/crm", "accounts": 1}, {"source": "/desk", "accounts": 1}]
        assert (await attributes(client, as_of=3))["industry"]["accounts"] == 3


async def test_values_of_any_kind(database: Database) -> None:
    values = [
        "",
        "null",
        "[",
        '"',
        "\\",
        "☃",
        "a" * 4_000,
        "line\nbreak",
        0,
        -1,
        1.5,
        1e300,
        2**63 - 1,
        True,
        False,
        [],
        [""],
    ]
    async with asking(database) as client:
        await client.record(*(profiled(f"a-{number}", thing=value) for number, value in enumerate(values)))
        row = (await attributes(client))["thing"]
        assert row["accounts"] == len(values)
        assert row["types"] == {"string": 8, "number": 5, "boolean": 2, "list": 2}
        assert len(row["top"]) == 10
        assert row["top"][0] == {"value": "", "accounts": 2}
        assert {each["accounts"] for each in row["top"][1:]} == {1}


async def test_any_order_of_arrival_ends_in_the_same_answer(database: Database) -> None:
    said = [("x", "2026-01-01T00:00:00Z"), (None, "2026-01-02T00:00:00Z"), (["x", "y"], "2026-01-03T00:00:00Z")]
    async with asking(database) as client:
        for number, order in enumerate(permutations(said)):
            await client.record(
                *(profiled("a-1", f"/s{number}", time, **{f"thing-{number}": value}) for value, time in order)
            )
        rows = (await attributes(client)).values()
        assert len(rows) == 6
        assert {repr((row["types"], row["top"], row["accounts"])) for row in rows} == {
            repr(
                (
                    {"string": 0, "number": 0, "boolean": 0, "list": 1},
                    [{"value": "x", "accounts": 1}, {"value": "y", "accounts": 1}],
                    1,
                )
            )
        }


async def test_filters_pages_and_csv(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            revised("target-market", "r1", BANK, LARGE),
            adopted("target-market", "r1"),
            profiled("a-1", "/=crm", industry="banking", **{"Annual Revenue": 7, "revenue_eu": [1 and "x"]}),
        )
        assert [*await attributes(client, q="REVENUE")] == ["Annual Revenue", "revenue_eu"]
        assert [*await attributes(client, q="revenue annual")] == ["Annual Revenue"]
        assert [*await attributes(client, used="true")] == ["employees", "industry"]
        assert [*await attributes(client, used="false")] == ["Annual Revenue", "revenue_eu"]
        assert [*await attributes(client, used="true", q="nothing")] == []
        assert [*await attributes(client, as_of=0)] == []
        assert [*await attributes(client, as_of=2)] == ["employees", "industry"]
        first = await client.get("attributes", limit=3)
        second = await client.get(str(first.headers["Link"]).split(">")[0].lstrip("<"))
        assert [len(reply.json["attributes"]) for reply in (first, second)] == [3, 1]
        assert {reply.json["total"] for reply in (first, second)} == {4}
        reply = await client.get("attributes", headers={"Accept": "text/csv"})
        rows = {row["attribute"]: row for row in csv.DictReader(io.StringIO(reply.body.decode()))}
        assert rows["industry"] == {
            "attribute": "industry",
            "accounts": "1",
            "share": "1.0",
            "undetermined": "0",
            "types_string": "1",
            "types_number": "0",
            "types_boolean": "0",
            "types_list": "0",
            "sources": "/=crm (1)",
            "top": '"banking" (1)',
            "bullets": "target-market@r1 bank",
        }


async def test_the_answer_for_a_position_is_the_same_ever_after(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            revised("target-market", "r1", BANK), adopted("target-market", "r1"), profiled("a-1", size=1)
        )
        await client.answer("attributes")
        before = [await client.get("attributes", as_of=3, headers={"Accept": accept}) for accept in ("*/*", "text/csv")]
        await client.record(
            profiled("a-1", size=2, industry="banking"),
            profiled("crm:1", size=3),
            event("account.identified", account="a-1", same_as=[{"system": "crm", "id": "1"}]),
            revised("target-market", "r2", LARGE),
            adopted("target-market", "r2"),
        )
        await client.answer("attributes")
        # What is remembered for a position is not what makes it the same.
        async with asking(database) as other:
            after = [
                await other.get("attributes", as_of=3, headers={"Accept": accept}) for accept in ("*/*", "text/csv")
            ]
        assert [reply.body for reply in before] == [reply.body for reply in after]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("used=maybe", "used"),
        (f"q={'x' * 201}", "q"),
        ("limit=0", "limit"),
        ("sort=name", "sort"),
        ("as_of=x", "as_of"),
    ],
)
async def test_a_parameter_that_is_unknown_or_out_of_range_is_named(
    database: Database, query: str, parameter: str
) -> None:
    async with asking(database) as client:
        reply = await client.get(f"/v1/ledgers/main/attributes?{query}")
        assert (reply.status, reply.json["parameter"]) == (400, parameter)
