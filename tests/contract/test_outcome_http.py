"""What was at stake when a requirement was decided, and what became of it; what was said of decisions since."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from tests.asking import Asking, asking
from tests.conftest import Database
from tests.integration.test_answers import (
    BANK,
    PRODUCT,
    SALES,
    adopted,
    ask,
    at,
    decided,
    market,
    opportunity,
    profiled,
    recorded,
    revised,
)
from tests.log import event

CLASSES = ("strategic", "opportunistic", "undetermined", "exploratory")


def money(contracted: str = "0.00", pipeline: str = "0.00", currency: str = "USD") -> dict[str, str]:
    return {"currency": currency, "contracted": contracted, "pipeline": pipeline}


def by_class(**revenue: Any) -> dict[str, Any]:
    return {name: revenue.get(name, []) for name in CLASSES}


def usd(amount: str) -> list[dict[str, str]]:
    return [{"currency": "USD", "amount": amount}]


def sold(name: str, account: str, stage: str = "open", amount: str | None = "100", **more: Any) -> Any:
    """An opportunity that names SSO."""
    given = {"requirements": ["SSO"], **more}
    if amount is None:
        return event("opportunity.updated", opportunity=name, account=account, stage=stage, **given)
    return opportunity(name, account, stage, amount, **given)


def reaffirmed(decision: str, **more: Any) -> Any:
    return event("decision.reaffirmed", decision=decision, reason="It stands.", by=PRODUCT, **more)


def superseded(decision: str, superseded_by: str, **more: Any) -> Any:
    return event(
        "decision.superseded", decision=decision, superseded_by=superseded_by, reason="Better.", by=PRODUCT, **more
    )


def acknowledged(decision: str, team: str, **more: Any) -> Any:
    return event("decision.acknowledged", decision=decision, team=team, by={"role": "lead", "team": team}, **more)


def proposed(decision: str, *requirements: str, **more: Any) -> Any:
    return event(
        "decision.proposed", decision=decision, requirements=[*requirements], question="Now?", options=[], by=PRODUCT,
        **more,
    )  # fmt: skip


@pytest.fixture
async def client(database: Database) -> AsyncIterator[Asking]:
    """Banks with 100 people are on target: `bank` is, `shop` is not."""
    async with asking(database) as asked:
        await market(asked)
        await asked.record(
            event("requirement.raised", requirement="SSO", title="Single sign-on"),
            profiled("bank", at(2), industry="banking", employees=500),
            profiled("shop", at(2), industry="retail"),
            event("account.profiled", account="shop", name="Shop Ltd", attributes={}, time=at(2)),
            recordedtime=recorded(2),
        )
        yield asked


async def outcome(client: Asking, **more: Any) -> Any:
    """Of the only decision on SSO."""
    found = await client.answer("requirements/SSO/outcome", **more)
    [only] = found["decisions"]
    return only


async def test_what_argued_for_a_departure_and_what_became_of_it(client: Asking) -> None:
    await client.record(
        sold("O-new", "shop", amount="1000.5", closes="2026-04-01"),
        sold("O-more", "shop", amount="20"),
        sold("O-renew", "shop", amount="300", kind="renewal"),
        sold("O-runs", "shop", "won", amount="4000", ends="2030-01-01"),
        sold("O-ends", "shop", "won", amount="50000", ends="2026-03-12"),
        sold("O-lost", "shop", "lost", amount="7"),
        sold("O-over", "shop", "won", amount="8", ends="2026-03-04"),
        sold("O-some", "shop", amount=None),
        opportunity("O-other", "shop", "open", "9", requirements=["OTHER"]),
        recordedtime=recorded(3),
    )  # fmt: skip
    await client.record(ask("SSO", "shop", 3, time=at(4)), recordedtime=recorded(4))
    [made] = await client.record(decided("D-1", "SSO", grounds="exception", time=at(5)), recordedtime=recorded(5))
    then = by_class(opportunistic=[money("54000.00", "1320.50")])
    for body in (
        (await client.answer("decisions", departs="yes"))["decisions"][0],
        await client.answer("decisions/D-1"),
    ):
        assert (body["departs"], body["grounds"], body["at_stake"]) == ("yes", "exception", then)
        assert body["became"] == {
            "won": by_class(opportunistic=usd("54000.00")), "lost": by_class(),
            "open": by_class(opportunistic=usd("1320.50")),
        }  # fmt: skip

    await client.record(
        sold("O-new", "shop", "lost", amount="900", closed_because="price"),
        sold("O-renew", "shop", "won", amount="333", kind="renewal"),
        sold("O-some", "shop", "won", amount="1"),
        sold("O-late", "bank", amount="5"),
        recordedtime=recorded(10),
    )
    await client.record(profiled("nobody", at(13)), recordedtime=recorded(13))
    found = await client.answer("requirements/SSO/outcome")
    assert (found["requirement"], found["status"], found["into"]) == ("SSO", "committed", None)
    [one] = found["decisions"]
    assert (one["decision"], one["position"], one["departs"], one["state"]) == ("D-1", made, "yes", "made")
    assert one["at_stake"] == {
        "opportunities": 6, "revenue": then,
        "accounts": {"on_target": 0, "off_target": 1, "undetermined": 0, "exploratory": 0},
    }  # fmt: skip
    assert {
        fate: (each["opportunities"], each["then"]["opportunistic"], each["now"]["opportunistic"])
        for fate, each in one["became"].items()
    } == {
        "won": (1, [], usd("1.00")),
        "renewed": (1, usd("300.00"), usd("333.00")),
        "kept": (1, usd("4000.00"), usd("4000.00")),
        "lost": (1, usd("1000.50"), usd("900.00")),
        "ended": (1, usd("50000.00"), usd("50000.00")),
        "open": (1, usd("20.00"), usd("20.00")),
        "retracted": (0, [], []),
    }
    assert [(each["opportunity"], each["became"]) for each in one["opportunities"]] == [
        ("O-ends", "ended"), ("O-runs", "kept"), ("O-new", "lost"), ("O-renew", "renewed"), ("O-more", "open"),
        ("O-some", "won"),
    ]  # fmt: skip
    assert one["opportunities"][2] == {
        "opportunity": "O-new", "account": "shop", "name": "Shop Ltd", "as_decided": "off_target",
        "as_now": "off_target", "became": "lost",
        "then": {"position": 7, "stage": "open", "amount": "1000.50", "currency": "USD", "kind": None,
                 "closes": "2026-04-01", "ends": None, "closed_because": None},
        "now": {"position": 18, "stage": "lost", "amount": "900.00", "currency": "USD", "kind": None,
                "closes": None, "ends": None, "closed_because": "price"},
    }  # fmt: skip
    # What came only later argued for nothing.
    assert [(each["opportunity"], each["then"]) for each in one["later"]["opportunities"]] == [("O-late", None)]
    assert one["later"]["open"] == {"opportunities": 1, "now": by_class(strategic=usd("5.00"))}
    [row] = (await client.answer("decisions"))["decisions"]
    assert row["at_stake"] == then
    assert row["became"] == {
        "won": by_class(opportunistic=usd("4300.00")), "lost": by_class(opportunistic=usd("51000.50")),
        "open": by_class(opportunistic=usd("20.00")),
    }  # fmt: skip


async def test_an_ask_names_an_opportunity_too_as_long_as_it_stands(client: Asking) -> None:
    await client.record(
        opportunity("O-1", "bank", "open", "10"),
        opportunity("O-2", "bank", "open", "200"),
        opportunity("O-3", "bank", "open", "3000"),
        ask("SSO", "bank", 2, ask="A-1", opportunity="O-1"),
        ask("SSO", "bank", 2, ask="A-2", opportunity="O-2"),
        ask("SSO", "bank", 2, ask="A-3", opportunity="O-3"),
        recordedtime=recorded(3),
    )
    await client.record(
        event("ask.withdrawn", requirement="SSO", ask="A-2"),
        ask("SSO", "bank", 2, ask="A-3"),
        recordedtime=recorded(4),
    )
    await client.record(decided("D-1", "SSO"), recordedtime=recorded(5))
    one = await outcome(client)
    assert [each["opportunity"] for each in one["opportunities"]] == ["O-1"]
    assert one["at_stake"]["revenue"] == by_class(strategic=[money(pipeline="10.00")])
    assert one["later"]["total"] == 0
    # Asked again, it is named again; it was not at stake.
    await client.record(ask("SSO", "bank", 2, ask="A-2", opportunity="O-2"), recordedtime=recorded(6))
    later = (await outcome(client))["later"]
    assert [(each["opportunity"], each["then"]["amount"]) for each in later["opportunities"]] == [("O-2", "200.00")]


async def test_it_is_what_the_deciders_knew(client: Asking) -> None:
    [seen] = await client.record(sold("O-1", "shop", amount="10", time=at(3)), recordedtime=recorded(3))
    await client.record(sold("O-1", "shop", amount="20", time=at(4)), recordedtime=recorded(4))
    await client.record(decided("D-1", "SSO", seen=seen, time=at(5)), recordedtime=recorded(5))
    # About the time before, and known only after it; and what is about a later time was not true yet.
    await client.record(
        sold("O-1", "shop", amount="30", time=at(4)), sold("O-2", "shop", amount="40", time=at(2)),
        profiled("shop", at(1), industry="banking", employees=900),
        recordedtime=recorded(6),
    )  # fmt: skip
    one = await outcome(client)
    assert one["cut"] == seen
    assert one["at_stake"]["revenue"] == by_class(opportunistic=[money(pipeline="10.00")])
    assert [each["then"]["position"] for each in one["opportunities"]] == [seen]
    assert one["became"]["open"]["now"] == by_class(opportunistic=usd("30.00"))
    assert [each["opportunity"] for each in one["later"]["opportunities"]] == ["O-2"]


async def test_what_was_retracted_argued_all_the_same_and_counts_no_more(client: Asking) -> None:
    [wrong] = await client.record(sold("O-1", "shop", amount="10"), recordedtime=recorded(3))
    [also] = await client.record(sold("O-2", "shop", amount="20"), recordedtime=recorded(3) + timedelta(hours=1))
    taken_back = event("event.retracted", position=also, subject="opportunity/O-2", reason="A slip.", by=SALES)
    await client.record(taken_back, recordedtime=recorded(4))
    await client.record(decided("D-1", "SSO"), recordedtime=recorded(5))
    [later] = await client.record(sold("O-3", "shop", amount="30"), recordedtime=recorded(6))
    before = await client.get("requirements/SSO/outcome", at_least=client.head, as_of=client.head)
    one = before.json["decisions"][0]
    assert [each["opportunity"] for each in one["opportunities"]] == ["O-1"]
    assert one["later"]["total"] == 1

    await client.record(
        event("event.retracted", position=wrong, subject="opportunity/O-1", reason="A slip.", by=SALES),
        event("event.retracted", position=later, subject="opportunity/O-3", reason="A slip.", by=SALES),
        recordedtime=recorded(7),
    )
    one = await outcome(client)
    assert one["at_stake"]["revenue"] == by_class(opportunistic=[money(pipeline="10.00")])
    [gone] = one["opportunities"]
    assert (gone["became"], gone["now"]) == ("retracted", None)
    assert one["became"]["retracted"]["then"] == by_class(opportunistic=usd("10.00"))
    assert one["became"]["retracted"]["now"] == by_class()
    assert one["later"]["total"] == 0
    row = await client.answer("decisions/D-1")
    assert row["became"] == {"won": by_class(), "lost": by_class(), "open": by_class()}
    assert (await client.get("requirements/SSO/outcome", as_of=before.json["as_of"]["position"])).body == before.body


async def test_the_class_is_that_of_the_decision_and_amounts_are_exact(client: Asking) -> None:
    await client.record(
        *(sold(f"O-{number}", "bank", amount="0.1") for number in range(3)),
        sold("O-big", "bank", amount="999999999999999.999999"),
        sold("O-eur", "late", amount="5", currency="EUR"),
        recordedtime=recorded(3),
    )
    await client.record(decided("D-1", "SSO", outcome="decline"), recordedtime=recorded(4))
    await client.record(
        profiled("bank", industry="retail"), profiled("late", industry="retail"), recordedtime=recorded(5)
    )
    one = await outcome(client)
    assert one["at_stake"]["revenue"] == by_class(
        strategic=[money(pipeline="1000000000000000.299999")], undetermined=[money(pipeline="5.00", currency="EUR")]
    )
    assert {(each["as_decided"], each["as_now"]) for each in one["opportunities"]} == {
        ("on_target", "off_target"), ("undetermined", "off_target"),
    }  # fmt: skip
    assert (one["outcome"], one["departs"]) == ("decline", None)


async def test_who_asked_while_exploring_counts_as_exploratory(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            revised("e", BANK, stage="exploratory", time=at(1)), adopted("e", at(1), time=at(1)),
            recordedtime=recorded(1),
        )  # fmt: skip
        await client.record(
            profiled("early", industry="retail"), profiled("late", industry="retail"), ask("SSO", "early"),
            sold("O-1", "early", amount="1"), sold("O-2", "late", amount="2"),
            recordedtime=recorded(2),
        )  # fmt: skip
        await client.record(revised("f", BANK, time=at(3)), adopted("f", at(3), time=at(3)), recordedtime=recorded(3))
        await client.record(decided("D-1", "SSO"), recordedtime=recorded(4))
        one = await outcome(client)
        assert one["at_stake"]["revenue"] == by_class(
            exploratory=[money(pipeline="1.00")], opportunistic=[money(pipeline="2.00")]
        )


async def test_requirements_that_were_merged_since_are_told_apart_as_they_were(client: Asking) -> None:
    await client.record(
        event("requirement.raised", requirement="LOGIN", title="Log in once"), sold("O-1", "bank", amount="1"),
        opportunity("O-2", "bank", "open", "20", requirements=["LOGIN"]),
        recordedtime=recorded(3),
    )  # fmt: skip
    await client.record(decided("D-1", "SSO", "OTHER"), recordedtime=recorded(4))
    await client.record(
        decided("D-2", "LOGIN"),
        event("requirement.merged", requirement="LOGIN", into="SSO", reason="one", by=PRODUCT),
        recordedtime=recorded(5),
    )
    await client.record(decided("D-3", "SSO"), recordedtime=recorded(6))
    found = await client.answer("requirements/SSO/outcome")
    assert [
        (each["decision"], each["requirements"], [one["opportunity"] for one in each["opportunities"]])
        for each in found["decisions"]
    ] == [("D-1", ["SSO"], ["O-1"]), ("D-2", ["LOGIN"], ["O-2"]), ("D-3", ["SSO"], ["O-2", "O-1"])]
    # What came by the merge came later.
    assert [each["later"]["total"] for each in found["decisions"]] == [1, 1, 0]
    merged = await client.answer("requirements/LOGIN/outcome")
    assert (merged["status"], merged["into"]) == ("merged", "SSO")
    assert [each["decision"] for each in merged["decisions"]] == ["D-2"]


async def test_accounts_are_one_by_what_was_known(client: Asking) -> None:
    await client.record(sold("O-1", "crm:7", amount="1"), ask("SSO", "bank"), recordedtime=recorded(3))
    await client.record(decided("D-1", "SSO"), recordedtime=recorded(4))
    await client.record(
        event("account.identified", account="bank", same_as=[{"system": "crm", "id": "7"}]), recordedtime=recorded(5)
    )
    [one] = (await outcome(client))["opportunities"]
    assert (one["account"], one["as_decided"], one["as_now"]) == ("bank", "undetermined", "on_target")


async def test_lists_hold_two_hundred_and_sums_all(client: Asking) -> None:
    await client.record(
        *(sold(f"O-{number:03}", "shop", amount=f"{number}") for number in range(1, 206)), recordedtime=recorded(3)
    )
    await client.record(decided("D-1", "SSO"), recordedtime=recorded(4))
    one = await outcome(client)
    assert one["at_stake"]["opportunities"] == 205
    assert one["at_stake"]["revenue"] == by_class(opportunistic=[money(pipeline="21115.00")])
    assert [each["opportunity"] for each in one["opportunities"]] == [f"O-{number:03}" for number in range(205, 5, -1)]


async def test_bad_input(client: Asking) -> None:
    await client.answer("requirements/SSO/outcome")
    for path, status in (
        ("requirements/NONE/outcome", 404),
        ("requirements/a%20b/outcome", 404),
        ("requirements/SSO/outcome?as_of=2", 404),
        ("requirements/SSO/outcome?as_of=0", 404),
        ("requirements/SSO/outcome?as_of=999", 404),
        ("requirements/SSO/outcome?as_of=soon", 400),
        ("requirements/SSO/outcome?limit=5", 400),
        ("requirements/SSO/outcome?by=p-1", 400),
        ("decisions?overdue=maybe", 400),
        ("decisions?state=open", 400),
        ("decisions?state=", 400),
    ):
        assert (await client.get(path)).status == status, path
    found = await client.answer("requirements/SSO/outcome", as_of=3)
    assert (found["decisions"], found["status"]) == ([], "open")
    for path in ("decisions?state=superseded&overdue=true", "decisions?departs=yes"):
        assert (await client.get(path, as_of=0)).json["decisions"] == []


async def test_who_has_taken_note_that_it_stands_and_what_holds_instead(client: Asking) -> None:
    await client.record(
        ask("SSO", "bank"), decided("D-1", "SSO"), decided("D-2", "SSO", outcome="decline"), recordedtime=recorded(3)
    )
    await client.record(acknowledged("D-1", "sales", note="We tell them."), recordedtime=recorded(4), authid="k-1")
    [before] = await client.record(reaffirmed("D-1", seen=7), recordedtime=recorded(5))
    await client.record(acknowledged("D-1", "support"), recordedtime=recorded(6), authid="k-1")
    await client.record(acknowledged("D-1", "legal"), recordedtime=recorded(6) + timedelta(hours=1), authid="k-2")
    [gone] = await client.record(superseded("D-1", "D-2"), recordedtime=recorded(7))

    one = await client.answer("decisions/D-1")
    assert one["state"] == "superseded"
    assert [
        (each["team"], each["note"], each["recorded_by"], each["recorded_on_behalf_of"])
        for each in one["acknowledgements"]
    ] == [("sales", "We tell them.", "k-1", True), ("support", None, "k-1", True), ("legal", None, "k-2", False)]
    assert one["acknowledgements"][0]["by"] == {"role": "lead", "team": "sales"}
    assert one["reaffirmations"] == [
        {"reason": "It stands.", "seen": 7, "position": before, "time": "2026-03-05T12:00:01.000000Z",
         "recordedtime": "2026-03-05T12:00:01.000000Z", "by": PRODUCT},
    ]  # fmt: skip
    assert one["superseded_by"] == {
        "decision": "D-2", "position": gone, "time": "2026-03-07T12:00:01.000000Z",
        "recordedtime": "2026-03-07T12:00:01.000000Z", "reason": "Better.",
    }  # fmt: skip
    other = await client.answer("decisions/D-2")
    assert (other["state"], other["superseded_by"]) == ("made", None)
    assert [(each["decision"], each["position"]) for each in other["supersedes"]] == [("D-1", gone)]

    who = (await client.answer("requirements/SSO"))["who_decided"]
    assert [each["decision"] for each in who] == ["D-1", "D-2"]
    for name in ("acknowledgements", "reaffirmations", "superseded_by", "supersedes"):
        assert who[0][name] == one[name]
        assert who[1][name] == other[name]

    assert [row["decision"] for row in (await client.answer("decisions", state="superseded"))["decisions"]] == ["D-1"]
    assert [row["decision"] for row in (await client.answer("decisions", state="made"))["decisions"]] == ["D-2"]
    earlier = await client.answer("decisions/D-1", as_of=before)
    assert (earlier["state"], earlier["superseded_by"]) == ("made", None)
    assert [each["recorded_on_behalf_of"] for each in earlier["acknowledgements"]] == [False]


async def test_a_requirement_has_the_status_of_the_decision_that_holds(client: Asking) -> None:
    async def status(as_of: int | None = None) -> tuple[str, str | None, str]:
        at_ = {} if as_of is None else {"as_of": as_of}
        one = (await client.answer("requirements/SSO", **at_))["status"]
        [row] = (await client.answer("requirements", q="SSO", **at_))["requirements"]
        told = (await client.answer("requirements/SSO/outcome", **at_))["status"]
        assert one == row["status"] == told
        return one, row["decision"] and row["decision"]["decision"], told

    await client.record(decided("D-1", "SSO"), recordedtime=recorded(3))
    [second] = await client.record(decided("D-2", "SSO", outcome="decline"), recordedtime=recorded(4))
    await client.record(
        decided("D-3", "SSO", outcome="explore"), decided("E-1", "OTHER", outcome="defer"), recordedtime=recorded(5)
    )
    assert (await status())[:2] == ("exploring", "D-3")
    # Back to an earlier one, on this requirement.
    await client.record(superseded("D-3", "D-1"), recordedtime=recorded(6))
    assert (await status())[:2] == ("committed", "D-1")
    # What holds in its place is about something else: the last that has not given way.
    await client.record(superseded("D-1", "E-1"), recordedtime=recorded(7))
    assert (await status())[:2] == ("declined", "D-2")
    await client.record(superseded("D-2", "E-1"), recordedtime=recorded(8))
    assert (await status())[:2] == ("open", None)
    assert (await status(second))[:2] == ("declined", "D-2")
    assert (await client.answer("requirements", status="open"))["total"] == 1


async def test_what_is_overdue(client: Asking) -> None:
    async def overdue() -> list[str]:
        rows = (await client.answer("decisions", overdue="true"))["decisions"]
        for row in rows:
            assert (await client.answer(f"decisions/{row['decision']}"))["overdue"]
        others = await client.answer("decisions", overdue="false")
        assert len(rows) + others["total"] == (await client.answer("decisions"))["total"]
        return sorted(row["decision"] for row in rows)

    await client.record(
        proposed("P-1", "SSO", decide_by="2026-03-04"), proposed("P-2", "SSO"),
        proposed("P-3", "SSO", decide_by="2026-03-04"),
        decided("P-3", "SSO"), decided("D-1", "SSO", revisit="2026-03-05"), decided("D-2", "SSO", revisit="2026-03-05"),
        decided("D-3", "SSO"),
        recordedtime=recorded(3),
    )  # fmt: skip
    assert await overdue() == []
    await client.record(reaffirmed("D-1"), recordedtime=recorded(4))
    assert await overdue() == []  # The day itself has not passed.
    await client.record(profiled("bank", size=1), recordedtime=recorded(5))
    assert await overdue() == ["P-1"]
    [before] = await client.record(profiled("bank", size=2), recordedtime=recorded(6))
    # That it was reaffirmed before its day does not count.
    assert await overdue() == ["D-1", "D-2", "P-1"]
    await client.record(reaffirmed("D-1"), superseded("D-2", "D-1"), decided("P-1", "SSO"), recordedtime=recorded(7))
    assert await overdue() == []
    found = await client.answer("decisions", overdue="true", as_of=before)
    assert sorted(row["decision"] for row in found["decisions"]) == ["D-1", "D-2", "P-1"]


async def test_what_was_reaffirmed_needs_review_only_of_what_came_after(client: Asking) -> None:
    await client.record(ask("SSO", "shop"), recordedtime=recorded(3))
    await client.record(decided("D-1", "SSO"), recordedtime=recorded(4))
    [known] = await client.record(profiled("shop", industry="banking", employees=500), recordedtime=recorded(5))
    [mark] = (await client.answer("decisions/D-1"))["needs_review"]
    assert (mark["position"], mark["input"]) == (known, "shop: industry")
    # Whoever had not seen it has not cleared it.
    await client.record(reaffirmed("D-1", seen=known - 1), recordedtime=recorded(6))
    assert (await client.answer("decisions", needs_review="true"))["total"] == 1
    await client.record(reaffirmed("D-1"), recordedtime=recorded(7))
    assert (await client.answer("decisions", needs_review="true"))["total"] == 0
    assert (await client.answer("requirements/SSO"))["who_decided"][0]["needs_review"] == []
    # A later one with an older view, or about an earlier day, brings nothing back.
    await client.record(reaffirmed("D-1", seen=known - 1), recordedtime=recorded(8))
    await client.record(reaffirmed("D-1", time=at(4)), recordedtime=recorded(9))
    assert (await client.answer("decisions/D-1"))["needs_review"] == []
    assert (await client.answer("decisions", needs_review="true"))["total"] == 0

    # A nightly sync says the same, and is silent.
    for night in range(8, 11):
        await client.record(profiled("shop", industry="banking", employees=500), recordedtime=recorded(night))
    assert (await client.answer("decisions/D-1"))["needs_review"] == []
    await client.record(event("agreement.revised", **_wider()), recordedtime=recorded(11))
    await client.record(adopted("wide", at(11)), recordedtime=recorded(12))
    [mark] = (await client.answer("decisions/D-1"))["needs_review"]
    assert mark["input"] == "target-market"
    assert mark["classes"] == [{"account": "shop", "as_decided": "off_target", "as_now": "undetermined"}]
    for night in range(13, 15):
        await client.record(profiled("shop", industry="banking", employees=500), recordedtime=recorded(night))
    assert (await client.answer("decisions/D-1"))["needs_review"] == [mark]

    await client.record(decided("D-2", "SSO"), superseded("D-1", "D-2"), recordedtime=recorded(15))
    assert (await client.answer("decisions", needs_review="true"))["total"] == 0


def _wider() -> dict[str, Any]:
    region = {"bullet": "eu", "text": "In Europe", "test": {"op": "eq", "attribute": "region", "value": "EU"}}
    return {
        "agreement": "target-market", "revision": "wide", "title": "Europe", "stage": "focused", "bullets": [region],
        "threshold": 60, "signatories": ["sales"], "reason": "wider", "by": PRODUCT,
    }  # fmt: skip


async def test_csv_has_what_was_at_stake_and_what_became_of_it(client: Asking) -> None:
    await client.record(
        sold("O-1", "shop", amount="10"), sold("O-2", "bank", amount="2", currency="EUR"), ask("SSO", "shop"),
        recordedtime=recorded(3),
    )  # fmt: skip
    await client.record(
        decided("D-1", "SSO", revisit="2026-03-01"), proposed("P-1", "SSO", decide_by="2027-01-01"),
        recordedtime=recorded(4),
    )  # fmt: skip
    await client.record(sold("O-1", "shop", "lost", amount="10"), recordedtime=recorded(5))
    await client.answer("decisions")
    reply = await client.get("decisions", headers={"Accept": "text/csv"})
    heading, *lines = [line.split(",") for line in reply.body.decode().splitlines()]
    rows = {line[0]: dict(zip(heading, line, strict=True)) for line in lines}
    made, open_ = rows["D-1"], rows["P-1"]
    assert (made["state"], made["overdue"], made["superseded_by"]) == ("made", "true", "")
    assert (made["at_stake_opportunistic_pipeline_USD"], made["at_stake_strategic_pipeline_EUR"]) == ("10.00", "2.00")
    assert (made["became_lost_opportunistic_USD"], made["became_open_strategic_EUR"]) == ("10.00", "2.00")
    assert (made["became_won_strategic_EUR"], made["became_open_opportunistic_USD"]) == ("", "")
    assert (open_["state"], open_["overdue"], open_["at_stake_opportunistic_pipeline_USD"]) == ("proposed", "false", "")
