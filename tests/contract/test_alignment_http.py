"""Alignment of a period: for whom demand comes, how long it waits, what departs, and what might be missing."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import event

SALES = {"role": "account executive", "team": "sales", "person": "p-7"}
PRODUCT = {"role": "head of product", "team": "product", "person": "p-8"}
NONE = {"on_target": 0, "off_target": 0, "undetermined": 0, "exploratory": 0}
NO_REVENUE: dict[str, list[Any]] = {"strategic": [], "opportunistic": [], "undetermined": [], "exploratory": []}


def at(month: int, day: int) -> str:
    return f"2026-{month:02d}-{day:02d}T12:00:00Z"


def recorded(month: int, day: int) -> datetime:
    return datetime(2026, month, day, 12, 0, 1, tzinfo=UTC)


def agreed(revision: str, *tests: tuple[str, dict[str, Any]], stage: str = "focused", time: str) -> list[Any]:
    bullets = [{"bullet": name, "text": f"text of {name}", "test": test} for name, test in tests]
    agreement = {"agreement": "target-market", "revision": revision, "by": PRODUCT}
    return [
        event(
            "agreement.revised", title="Market", stage=stage, bullets=bullets, threshold=60, signatories=["sales"],
            reason="agreed", time=time, **agreement,
        ),
        event("agreement.adopted", effective=time, time=time, **agreement),
    ]  # fmt: skip


BANK = ("bank", {"op": "eq", "attribute": "industry", "value": "banking"})
LARGE = ("large", {"op": "gte", "attribute": "employees", "value": 50})


def profiled(account: str, time: str | None = None, **attributes: Any) -> Any:
    return event("account.profiled", account=account, attributes=attributes, time=time)


def ask(requirement: str, account: str, time: str | None = None, **more: Any) -> Any:
    return event("ask.recorded", requirement=requirement, account=account, time=time, **more)


def deal(account: str, amount: str, stage: str = "open", currency: str = "USD") -> Any:
    given = {"opportunity": f"O-{account}", "account": account, "stage": stage, "amount": amount, "currency": currency}
    return event("opportunity.updated", **given)


def decided(decision: str, requirement: str, outcome: str = "commit", time: str | None = None, **more: Any) -> Any:
    return event(
        "decision.made", decision=decision, requirements=[requirement], outcome=outcome, rationale="It fits.",
        instruction="Build it.", deciders=[PRODUCT], time=time, **more,
    )  # fmt: skip


def money(contracted: str, pipeline: str) -> list[dict[str, str]]:
    return [{"currency": "USD", "contracted": contracted, "pipeline": pipeline}]


async def alignment(client: Asking, **parameters: Any) -> Any:
    return await client.answer("alignment", **parameters)


async def test_asks_and_revenue_by_class_month_by_month(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *agreed("r1", BANK, time=at(1, 1)),
            profiled("acme", at(1, 1), industry="banking"),
            profiled("shop", at(1, 1), industry="retail"),
            recordedtime=recorded(1, 1),
        )
        await client.record(
            ask("R-1", "acme", at(2, 1)), ask("R-2", "acme", at(2, 2)), ask("R-1", "shop", at(2, 3)),
            deal("acme", "300"), deal("shop", "100", "won"), recordedtime=recorded(2, 9),
        )  # fmt: skip
        # In March the shop has become a bank; a third account is unknown.
        await client.record(profiled("shop", at(3, 1), industry="banking"), recordedtime=recorded(3, 1))
        await client.record(ask("R-3", "shop", at(3, 2)), ask("R-3", "new", at(3, 3)), recordedtime=recorded(3, 9))
        found = await alignment(client)
        assert (found["revision"], found["period"]) == ("target-market@r1", {"from": None, "to": None})
        february, march = found["asked"]["months"]
        assert (february["month"], march["month"]) == ("2026-02", "2026-03")
        assert february["as_asked"] == {
            "asks": {**NONE, "on_target": 2, "off_target": 1},
            "ask_shares": {"on_target": 0.666667, "off_target": 0.333333, "undetermined": 0.0, "exploratory": 0.0},
            "accounts": {**NONE, "on_target": 1, "off_target": 1},
            "revenue": {**NO_REVENUE, "strategic": money("0.00", "300.00"), "opportunistic": money("100.00", "0.00")},
            "revenue_shares": [
                {
                    "currency": "USD",
                    "shares": {"strategic": 0.75, "opportunistic": 0.25, "undetermined": 0.0, "exploratory": 0.0},
                }
            ],
        }
        assert february["as_now"]["asks"] == {**NONE, "on_target": 3}
        assert february["as_now"]["revenue"] == {**NO_REVENUE, "strategic": money("100.00", "300.00")}
        assert march["as_asked"]["asks"] == {**NONE, "on_target": 1, "undetermined": 1}
        assert found["asked"]["as_asked"]["asks"] == {**NONE, "on_target": 3, "off_target": 1, "undetermined": 1}
        # The shop's voice as asked is the one it had as a bank.
        assert found["asked"]["as_asked"]["accounts"] == {**NONE, "on_target": 2, "undetermined": 1}
        assert found["asked"]["as_now"]["accounts"] == {**NONE, "on_target": 2, "undetermined": 1}
        # As of February nobody knew what March would bring.
        then = await alignment(client, as_of=9)
        assert then["asked"]["months"] == [{**february, "as_now": february["as_asked"]}]

        within = await alignment(client, **{"from": "2026-03-01", "to": "2026-04-01"})
        assert within["period"] == {"from": "2026-03-01T00:00:00.000000Z", "to": "2026-04-01T00:00:00.000000Z"}
        assert within["asked"]["months"] == [march]
        assert (await alignment(client, **{"from": at(3, 2), "to": at(3, 3)}))["asked"]["as_now"]["accounts"] == {
            **NONE, "on_target": 1,
        }  # fmt: skip


async def test_less_than_nothing_has_no_shares(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*agreed("r1", BANK, time=at(1, 1)), profiled("acme", industry="banking"),
                            profiled("shop", industry="retail"))  # fmt: skip
        await client.record(ask("R-1", "acme"), ask("R-1", "shop"), deal("acme", "100"), deal("shop", "-40"))
        heard = (await alignment(client))["asked"]["as_now"]
        assert heard["revenue"] == {**NO_REVENUE, "strategic": money("0.00", "100.00"),
                                    "opportunistic": money("0.00", "-40.00")}  # fmt: skip
        assert heard["revenue_shares"] == [{"currency": "USD", "shares": None}]
        await client.record(deal("shop", "-100"))
        assert (await alignment(client))["asked"]["as_now"]["revenue_shares"] == heard["revenue_shares"]


async def test_asks_of_an_exploratory_phase_stay_exploratory(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *agreed("r0", BANK, stage="exploratory", time=at(1, 1)), *agreed("r1", BANK, time=at(2, 1)),
            profiled("shop", at(1, 1), industry="retail"), ask("R-1", "shop", at(1, 5)),
            recordedtime=recorded(2, 2),
        )  # fmt: skip
        found = await alignment(client)
        assert found["asked"]["as_asked"]["asks"] == {**NONE, "exploratory": 1}
        assert found["asked"]["as_now"]["asks"] == {**NONE, "exploratory": 1}
        assert found["off_target"]["askers"] == 0
        await client.record(ask("R-2", "shop", at(2, 5), importance=2), recordedtime=recorded(2, 6))
        found = await alignment(client)
        assert found["asked"]["as_now"]["asks"] == {**NONE, "exploratory": 1, "off_target": 1}
        assert found["asked"]["as_now"]["accounts"] == {**NONE, "off_target": 1}
        assert found["off_target"]["askers"] == 1


async def test_time_from_the_first_ask_to_a_decision(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *(ask(name, "acme", at(2, 1), ask=f"k-{name}") for name in ("R-1", "R-2", "R-3", "R-4", "gone")),
            ask("R-1", "acme", at(2, 3), ask="k-again"),
            ask("R-5", "acme", at(2, 11)),
            ask("never", "acme", at(2, 21)),
            ask("late", "acme", at(4, 15)),
            recordedtime=recorded(4, 15),
        )
        await client.record(
            decided("D-1", "R-1", "commit", at(2, 2)),
            decided("D-1b", "R-1", "decline", at(3, 2)),
            decided("D-2", "R-2", "explore", at(2, 2)),
            decided("D-2b", "R-2", "defer", at(2, 5)),
            decided("D-3", "R-3", "decline", at(2, 11)),
            decided("D-4", "R-4", "explore", at(2, 2)),
            decided("D-5", "R-5", "commit", at(2, 10)),
            event("ask.withdrawn", requirement="gone", ask="k-gone"),
            event("ask.withdrawn", requirement="R-3", ask="k-R-3"),
            recordedtime=recorded(5, 2),
        )
        # R-1 waited 1 day, R-2 4, and R-3 10, though it is not asked for any more.
        found = (await alignment(client))["first_to_decision"]
        assert found["decided"] == {
            "requirements": 3, "lower_quartile_days": 2.5, "median_days": 4.0, "upper_quartile_days": 7.0,
        }  # fmt: skip
        assert found["before_asked"] == 1
        assert found["undecided"]["requirements"] == 3  # R-4, which is only explored, never and late.
        # By the end of February two were undecided, for 28 and for 8 days, less half a day.
        february = (await alignment(client, **{"from": "2026-02-03", "to": "2026-03-01"}))["first_to_decision"]
        assert (february["decided"]["requirements"], february["decided"]["median_days"]) == (2, 7.0)
        assert (february["undecided"]["requirements"], february["undecided"]["median_days"]) == (2, 17.5)
        # By the third of February R-2 and R-3 were waiting too.
        early = (await alignment(client, to=at(2, 3)))["first_to_decision"]
        assert early["decided"] == {
            "requirements": 1, "lower_quartile_days": 1.0, "median_days": 1.0, "upper_quartile_days": 1.0,
        }  # fmt: skip
        assert (early["undecided"]["requirements"], early["before_asked"]) == (2, 0)


async def test_merged_requirements_wait_as_one(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            ask("R-1", "acme", at(2, 1)), ask("R-2", "acme", at(2, 5)), ask("R-3", "acme", at(1, 1), ask="k"),
            event("requirement.merged", requirement="R-1", into="R-2", reason="one", by=PRODUCT),
            event("ask.moved", requirement="R-3", ask="k", to="R-2", reason="meant", by=PRODUCT),
            decided("D-1", "R-2", time=at(2, 11)), recordedtime=recorded(3, 1),
        )  # fmt: skip
        before = (await alignment(client, as_of=3))["first_to_decision"]
        assert (before["decided"]["requirements"], before["undecided"]["requirements"]) == (0, 3)
        found = (await alignment(client))["first_to_decision"]
        assert (found["decided"]["requirements"], found["decided"]["median_days"]) == (1, 41.0)
        assert found["undecided"]["requirements"] == 0


async def test_what_was_decided_by_grounds_and_departure(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *agreed("r1", BANK, time=at(1, 1)), profiled("acme", at(1, 1), industry="banking"),
            profiled("shop", at(1, 1), industry="retail"), ask("R-1", "acme", at(1, 2)), ask("R-2", "shop", at(1, 2)),
            ask("R-3", "new", at(1, 2)), recordedtime=recorded(1, 3),
        )  # fmt: skip
        await client.record(
            decided("D-1", "R-1"),
            decided("D-2", "R-2", grounds="exception"),
            decided("D-3", "R-3"),
            decided("D-4", "R-4", grounds="technical"),
            decided("D-5", "R-2", "decline"),
            recordedtime=recorded(2, 1),
        )
        found = (await alignment(client))["decisions"]
        assert (found["made"], found["outcomes"]) == (5, {"commit": 4, "decline": 1, "defer": 0, "explore": 0})
        none = {"no": 0, "undetermined": 0, "yes": 0}
        assert found["commitments"] == [
            {"grounds": "target", "departs": {**none, "no": 1, "undetermined": 1}, "nobody_asked": 0},
            {"grounds": "exception", "departs": {**none, "yes": 1}, "nobody_asked": 0},
            {"grounds": "obligation", "departs": none, "nobody_asked": 0},
            {"grounds": "technical", "departs": none, "nobody_asked": 1},
        ]
        assert (await alignment(client, to="2026-01-31"))["decisions"]["made"] == 0


async def cluster_of_clinics(client: Asking) -> None:
    """Ten banks, of which two ask, and three clinics that all ask, for what only clinics need."""
    banks = [profiled(f"bank-{number}", at(1, 1), industry="banking", country="ch") for number in range(10)]
    clinics = [
        profiled(f"clinic-{number}", at(1, 1), industry="Health" if number else "health", country="ch", beds=number)
        for number in range(3)
    ]
    await client.record(*agreed("r1", BANK, time=at(1, 1)), *banks, *clinics, recordedtime=recorded(1, 2))
    await client.record(
        event("requirement.raised", requirement="HL7", title="HL7 messages"),
        ask("SSO", "bank-0", at(2, 1)),
        ask("SSO", "bank-1", at(2, 1)),
        *(ask("HL7", f"clinic-{number}", at(2, 2)) for number in range(3)),
        ask("SSO", "clinic-0", at(2, 3)),
        deal("clinic-0", "70"),
        deal("clinic-1", "30.50", "won"),
        recordedtime=recorded(2, 9),
    )


async def test_what_off_target_askers_share(database: Database) -> None:
    async with asking(database) as client:
        await cluster_of_clinics(client)
        found = (await alignment(client))["off_target"]
        assert (found["askers"], found["revenue"]) == (3, money("30.50", "70.00"))
        assert (found["askers_min"], found["lift_min"], found["total"]) == (3, 2, 1)
        assert found["clusters"] == [
            {
                "attribute": "industry",
                "value": "Health",
                "above": None,
                "upto": None,
                "test": {"op": "eq", "attribute": "industry", "value": "Health"},
                "askers": 3,
                "askers_known": 3,
                "accounts": 3,
                "accounts_known": 13,
                "expected": 0.692308,
                "lift": 4.333333,
                "lift_exact": "13/3",
                "revenue": money("30.50", "70.00"),
                "requirements": [
                    {"requirement": "HL7", "title": "HL7 messages", "accounts": 3},
                    {"requirement": "SSO", "title": None, "accounts": 1},
                ],
            }
        ]
        # Two are no cluster, and who did not ask in the period is none of it.
        await client.record(event("event.retracted", position=21, subject="requirement/HL7", reason="slip", by=SALES))
        assert (await alignment(client))["off_target"]["clusters"] == []
        assert (await alignment(client, as_of=client.head - 1))["off_target"]["total"] == 1
        assert (await alignment(client, **{"from": "2026-03-01"}))["off_target"]["askers"] == 0


async def test_accounts_that_are_one_share_once(database: Database) -> None:
    async with asking(database) as client:
        await cluster_of_clinics(client)
        await client.record(event("account.merged", account="clinic-2", into="clinic-1", reason="one", by=SALES))
        found = (await alignment(client))["off_target"]
        assert (found["askers"], found["clusters"]) == (2, [])


async def test_what_would_settle_the_undetermined(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *agreed("r1", BANK, LARGE, time=at(1, 1)),
            profiled("a-1", at(1, 1), industry="banking"),
            profiled("a-2", at(1, 1), employees=70),
            profiled("a-3", at(1, 1), industry="banking", employees=70),
            *(ask("R-1", f"a-{number}", at(1, 2)) for number in range(1, 5)),
            deal("a-1", "10"),
            deal("a-2", "20"),
            deal("a-4", "40"),
            recordedtime=recorded(2, 1),
        )
        found = (await alignment(client))["undetermined"]
        assert found == {
            "askers": 3,
            "revenue": money("0.00", "70.00"),
            "settled_by": [
                {
                    "attribute": "employees",
                    "accounts": 2,
                    "revenue": money("0.00", "50.00"),
                    "alone": 1,
                    "alone_revenue": money("0.00", "10.00"),
                },
                {
                    "attribute": "industry",
                    "accounts": 2,
                    "revenue": money("0.00", "60.00"),
                    "alone": 1,
                    "alone_revenue": money("0.00", "20.00"),
                },
            ],
        }


async def test_promises_of_the_period(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *(
                event("promise.made", promise=f"P-{day}", account="a", requirement="R-1", time=at(3, day), by=SALES)
                for day in (1, 25, 31)
            ),
            recordedtime=recorded(4, 1),
        )
        found = (await alignment(client, **{"from": "2026-03-01", "to": "2026-03-31"}))["promises"]
        assert (found["promises"], found["of"], found["share"]) == (1, 2, 0.5)
        assert (await alignment(client))["promises"]["promises"] == 2


async def test_without_an_agreement_nothing_is_determined(database: Database) -> None:
    async with asking(database) as client:
        await client.record(profiled("acme", industry="banking"), ask("R-1", "acme"), decided("D-1", "R-1"))
        found = await alignment(client)
        assert found["revision"] is None
        assert found["asked"]["as_now"]["asks"] == {**NONE, "undetermined": 1}
        assert (found["undetermined"]["askers"], found["undetermined"]["settled_by"]) == (1, [])


async def test_the_empty_ledger_is_in_no_way_aligned(database: Database) -> None:
    nothing = {"asks": NONE, "ask_shares": None, "accounts": NONE, "revenue": NO_REVENUE, "revenue_shares": []}
    waited = {"requirements": 0, "lower_quartile_days": None, "median_days": None, "upper_quartile_days": None}
    async with asking(database) as client:
        empty = await alignment(client)
        await cluster_of_clinics(client)
        await alignment(client)
        assert await alignment(client, as_of=0) == empty
        assert empty["as_of"] == {"position": 0, "recordedtime": None}
        assert empty["asked"] == {"as_asked": nothing, "as_now": nothing, "months": []}
        assert empty["first_to_decision"] == {"decided": waited, "undecided": waited, "before_asked": 0}
        assert (empty["decisions"]["made"], empty["off_target"]["askers"], empty["undetermined"]["askers"]) == (0, 0, 0)
        assert (empty["promises"]["of"], empty["promises"]["share"]) == (0, None)
        within = {"from": "2026-01-01", "to": "2026-01-01"}  # A period that holds no time.
        assert (await alignment(client, **within))["asked"]["months"] == []


async def test_an_answer_for_a_position_stays_what_it_was_and_names_nobody(database: Database) -> None:
    async with asking(database) as client:
        await cluster_of_clinics(client)
        await client.record(decided("D-1", "HL7", time=at(2, 20)), recordedtime=recorded(2, 20))
        await client.answer("alignment")
        head = client.head
        asked: list[dict[str, str]] = [{}, {"from": "2026-02-01"}, {"to": "2026-02-03"}]
        before = [await client.get("alignment", as_of=head, **period) for period in asked]
        await client.record(
            profiled("clinic-0", at(1, 1), industry="banking"), *agreed("r2", LARGE, time=at(1, 1)),
            ask("HL7", "bank-9", at(1, 1)), decided("D-2", "SSO", time=at(1, 1)), deal("clinic-2", "9"),
            event("requirement.merged", requirement="HL7", into="SSO", reason="one", by=PRODUCT),
            event("ask.withdrawn", requirement="SSO", ask="k", time=at(1, 1)),
            event("event.retracted", position=20, subject="requirement/HL7", reason="slip", by=SALES),
            event("promise.made", promise="P-1", account="a", requirement="R-1", time=at(1, 1), by=SALES),
            recordedtime=recorded(5, 1),
        )  # fmt: skip
        await client.answer("alignment")
        after = [await client.get("alignment", as_of=head, **period) for period in asked]
        assert [each.body for each in after] == [each.body for each in before]
        now = await client.get("alignment", key="personal")
        assert b"p-7" not in now.body and b"p-8" not in now.body


@pytest.mark.parametrize(
    "parameters",
    [
        {"from": "2026-03-02", "to": "2026-03-01"},
        {"from": "soon"},
        {"to": "2026-13-01"},
        {"to": "0001-01-01"},
        {"team": "sales"},
        {"by": "person"},
        {"limit": "3"},
    ],
)
async def test_what_cannot_be_asked(database: Database, parameters: dict[str, str]) -> None:
    async with asking(database) as client:
        await client.record(ask("R-1", "acme"))
        reply = await client.get("alignment", **parameters)
        assert (reply.status, reply.json["type"]) == (400, "/problems/bad-parameter")
