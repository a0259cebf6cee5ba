"""The three answers, on small ledgers whose numbers were worked out by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.projector.telling.history import HISTORY_MAX
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import event

PRODUCT = {"role": "head of product", "team": "product"}
SALES = {"role": "account executive", "team": "sales"}


def at(day: int) -> str:
    """Noon of a day in a March that is over."""
    return f"2026-03-{day:02d}T12:00:00Z"


def recorded(day: int) -> datetime:
    return datetime(2026, 3, day, 12, 0, 1, tzinfo=UTC)


def revised(revision: str, *bullets: dict[str, Any], threshold: int = 60, stage: str = "focused", **more: Any) -> Any:
    return event(
        "agreement.revised", agreement="target-market", revision=revision, title=f"Market {revision}", stage=stage,
        bullets=[{"text": "a line", **bullet} for bullet in bullets], threshold=threshold, signatories=["sales"],
        reason="agreed", by=PRODUCT, **more,
    )  # fmt: skip


def adopted(revision: str, effective: str, **more: Any) -> Any:
    return event(
        "agreement.adopted", agreement="target-market", revision=revision, effective=effective, by=PRODUCT, **more
    )


def ask(requirement: str, account: str, importance: int = 1, **more: Any) -> Any:
    return event("ask.recorded", requirement=requirement, account=account, importance=importance, **more)


def profiled(account: str, time: str | None = None, **attributes: Any) -> Any:
    return event("account.profiled", account=account, attributes=attributes, time=time)


def opportunity(name: str, account: str, stage: str, amount: str, currency: str = "USD", **more: Any) -> Any:
    given = {"opportunity": name, "account": account, "stage": stage, "amount": amount, "currency": currency}
    return event("opportunity.updated", **given, **more)


def decided(decision: str, *requirements: str, outcome: str = "commit", **more: Any) -> Any:
    return event(
        "decision.made", decision=decision, requirements=[*requirements], outcome=outcome, rationale="It fits.",
        instruction="Build it.", deciders=[PRODUCT], **more,
    )  # fmt: skip


BANK = {"bullet": "bank", "test": {"op": "eq", "attribute": "industry", "value": "banking"}, "weight": 3}
SIZE = {"bullet": "size", "test": {"op": "gte", "attribute": "employees", "value": 100}, "weight": 2}


async def market(ask_: Asking, day: int = 1) -> None:
    """Banks (3) with 100 people (2), at 60 of 100: agreed on a day."""
    await ask_.record(
        revised("r1", BANK, SIZE, time=at(day)), adopted("r1", at(day), time=at(day)), recordedtime=recorded(day)
    )


async def test_who_asked_how_on_target_and_who_decided(database: Database) -> None:
    async with asking(database) as client:
        await market(client)
        await client.record(
            event("requirement.raised", requirement="SSO", title="Single sign-on", area="Login", by=SALES),
            event("account.profiled", account="acme", name="Acme Bank", attributes={"industry": "Banking"}, time=at(2)),
            profiled("shop", at(2), industry="retail", employees=500),
            profiled("tiny", at(2), industry="banking", employees=3),
            recordedtime=recorded(2),
        )
        await client.record(
            ask("SSO", "acme", 3, ask="A-1", channel="renewal", by=SALES, time=at(3)),
            ask("SSO", "acme", 1, ask="A-2", time=at(3)),
            ask("SSO", "shop", 2, time=at(3)),
            ask("SSO", "tiny", 1, time=at(3)),
            opportunity("O-1", "acme", "open", "120000.00"),
            opportunity("O-2", "shop", "won", "10.50", ends="2030-01-01"),
            opportunity("O-3", "shop", "lost", "999"),
            recordedtime=recorded(3),
        )
        await client.record(decided("D-1", "SSO", time=at(4)), recordedtime=recorded(4))
        found = await client.answer("requirements/SSO")

    assert (found["title"], found["area"], found["status"], found["delivery"]) == (
        "Single sign-on", "Login", "committed", None,
    )  # fmt: skip
    # acme: bank met, size unknown: 3/5, on target at 60. tiny: bank met, size missed: 3/5. shop: 2/5.
    assert [each["account"] for each in found["who_asked"]] == ["acme", "shop", "tiny"]
    acme = found["who_asked"][0]
    assert (acme["name"], acme["importance"]) == ("Acme Bank", 3)
    assert acme["revenue"] == [{"currency": "USD", "contracted": "0.00", "pipeline": "120000.00"}]
    assert [each["ask"] for each in acme["asks"]] == ["A-1", "A-2"]
    assert acme["asks"][0]["by"] == SALES
    assert acme["asks"][0]["channel"] == "renewal"
    how = found["how_on_target"]
    assert how["voice"] == 3.2  # 3 × 3/5 + 2 × 2/5 + 1 × 3/5
    assert how["voice_if_known"] == 4.4  # 3 × 5/5 + 2 × 2/5 + 1 × 3/5
    assert how["accounts"] == {"on_target": 2, "off_target": 1, "undetermined": 0, "exploratory": 0}
    assert how["revenue"] == {
        "strategic": [{"currency": "USD", "contracted": "0.00", "pipeline": "120000.00"}],
        "opportunistic": [{"currency": "USD", "contracted": "10.50", "pipeline": "0.00"}],
        "undetermined": [],
        "exploratory": [],
    }
    fits = {each["account"]: each for each in how["fits"]}
    assert fits["acme"]["as_now"] == fits["acme"]["as_asked"] == fits["acme"]["as_decided"] == {
        "revision": "target-market@r1", "class": "on_target", "fit": 0.6, "fit_if_known": 1.0,
        "met": 3, "unknown": 2, "total": 5,
        "bullets": [
            {"bullet": "bank", "verdict": "met", "found": "Banking"},
            {"bullet": "size", "verdict": "unknown", "found": None},
        ],
        "would_settle": [], "backdated": False,
    }  # fmt: skip
    assert how["revisions"]["target-market@r1"]["bullets"][0] == {
        "bullet": "bank", "text": "a line", "weight": 3, "required": False, "test": BANK["test"],
    }  # fmt: skip
    [made] = found["who_decided"]
    assert (made["decision"], made["position"], made["departs"]) == ("D-1", 14, "no")
    assert (made["agreement"], made["revision"]) == ("target-market", "r1")
    assert made["deciders"] == [PRODUCT]
    assert [each["position"] for each in found["history"]] == [3, 7, 8, 9, 10, 14]
    assert found["history"][1]["summary"] == "acme asked, importance 3"
    assert found["as_of"] == {"position": 14, "recordedtime": "2026-03-04T12:00:01.000000Z"}


async def test_what_was_learned_late_counts_for_its_time_and_not_for_those_who_could_not_know(
    database: Database,
) -> None:
    async with asking(database) as client:
        await market(client)
        await client.record(profiled("acme", at(2), employees=500), recordedtime=recorded(2))
        await client.record(ask("SSO", "acme", 2, time=at(3)), recordedtime=recorded(3))
        await client.record(decided("D-1", "SSO", time=at(4)), recordedtime=recorded(4))
        before = await client.get("requirements/SSO", as_of=client.head, at_least=client.head)
        listed = await client.get("requirements", as_of=client.head)
        # On day 6 it becomes known that acme was no bank on day 1, and has shrunk on day 5.
        await client.record(profiled("acme", at(1), industry="retail"), recordedtime=recorded(6))
        await client.record(profiled("acme", at(5), employees=5), recordedtime=recorded(7))
        found = await client.answer("requirements/SSO")
        [fits] = found["how_on_target"]["fits"]
        assert (fits["as_asked"]["class"], fits["as_asked"]["met"]) == ("off_target", 2)
        assert (fits["as_decided"]["class"], fits["as_decided"]["met"]) == ("undetermined", 2)
        assert (fits["as_now"]["class"], fits["as_now"]["met"]) == ("off_target", 0)
        assert fits["as_decided"]["would_settle"] == ["industry"]
        assert found["who_decided"][0]["departs"] == "undetermined"
        assert found["how_on_target"]["voice"] == 0.0
        classes = [{"account": "acme", "as_decided": "undetermined", "as_now": "off_target"}]
        assert found["who_decided"][0]["needs_review"] == [
            {
                "position": 6,
                "kind": "learned_since",
                "input": "acme: industry",
                "from": None,
                "to": "retail",
                "classes": classes,
            }
        ]
        assert before.json["who_decided"][0]["needs_review"] == []
        assert (await client.answer("decisions", needs_review="true"))["total"] == 1
        assert (await client.answer("decisions", needs_review="false"))["total"] == 0
        assert (await client.answer("decisions/D-1"))["needs_review"][0]["position"] == 6

        # What was answered for an earlier position is answered again, to the byte.
        again = await client.get("requirements/SSO", as_of=before.json["as_of"]["position"])
        assert again.body == before.body
        assert again.headers["ETag"] == before.headers["ETag"]
        assert (await client.get("requirements", as_of=listed.json["as_of"]["position"])).body == listed.body


async def test_a_decision_is_shown_with_what_its_deciders_had_seen(database: Database) -> None:
    async with asking(database) as client:
        await market(client)
        await client.record(ask("SSO", "acme", 2, time=at(3)), recordedtime=recorded(3))
        [seen] = await client.record(
            profiled("acme", at(2), industry="retail", employees=1), recordedtime=recorded(3) + timedelta(hours=1)
        )
        await client.record(profiled("acme", at(3), industry="banking", employees=500), recordedtime=recorded(4))
        await client.record(
            decided("D-1", "SSO", seen=seen, time=at(5)), decided("D-2", "SSO", time=at(5)), recordedtime=recorded(5)
        )
        found = await client.answer("decisions")
        assert [(row["decision"], row["departs"]) for row in found["decisions"]] == [("D-2", "no"), ("D-1", "yes")]
        assert [row["decision"] for row in (await client.answer("decisions", departs="yes"))["decisions"]] == ["D-1"]
        one = await client.answer("decisions/D-1")
        assert one["cut"] == one["seen"] == seen
        assert (one["state"], one["outcome"], one["departs"], one["proposed"]) == ("made", "commit", "yes", None)
        assert one["accounts"]["off_target"] == 1
        assert [(fit["account"], fit["as_decided"]["class"]) for fit in one["fits"]] == [("acme", "off_target")]


async def test_a_revision_adopted_after_the_ask_judges_it_backdated(database: Database) -> None:
    async with asking(database) as client:
        await client.record(profiled("acme", at(1), industry="banking"), recordedtime=recorded(1))
        await client.record(ask("SSO", "acme", 2, time=at(3)), recordedtime=recorded(3))
        found = (await client.answer("requirements/SSO"))["how_on_target"]
        assert (found["voice"], found["voice_if_known"]) == (None, None)
        assert found["accounts"]["undetermined"] == 1
        assert found["fits"] == [{"account": "acme", "as_asked": None, "as_decided": None, "as_now": None}]

        # Its adoption is about day 2, but came on day 5. Facts count from the earlier of both.
        await client.record(revised("r1", BANK, time=at(2)), adopted("r1", at(2), time=at(2)), recordedtime=recorded(5))
        [fits] = (await client.answer("requirements/SSO"))["how_on_target"]["fits"]
        assert (fits["as_asked"]["class"], fits["as_asked"]["backdated"]) == ("on_target", True)
        assert (fits["as_now"]["class"], fits["as_now"]["backdated"]) == ("on_target", True)

        await client.record(ask("SSO", "acme", 3, time=at(6)), recordedtime=recorded(6))
        [fits] = (await client.answer("requirements/SSO"))["how_on_target"]["fits"]
        assert (fits["as_asked"]["backdated"], fits["as_now"]["backdated"]) == (False, False)


async def test_a_revision_is_in_force_from_its_effective_time(database: Database) -> None:
    async with asking(database) as client:
        await market(client)
        await client.record(
            revised("r2", {**BANK, "required": True}, time=at(2)),
            adopted("r2", at(9), time=at(2)),
            recordedtime=recorded(2),
        )
        await client.record(ask("SSO", "acme", 1, time=at(3)), recordedtime=recorded(3))
        found = await client.answer("requirements/SSO")
        assert found["how_on_target"]["fits"][0]["as_now"]["revision"] == "target-market@r1"
        assert (await client.answer("agreements"))["agreements"][0]["in_force"]["revision"] == "r1"
        await client.record(ask("SSO", "acme", 2, time=at(10)), recordedtime=recorded(10))
        found = await client.answer("requirements/SSO")
        assert found["how_on_target"]["fits"][0]["as_now"]["revision"] == "target-market@r2"
        agreement = await client.answer("agreements/target-market")
    assert agreement["in_force"]["revision"] == "r2"
    assert agreement["in_force"]["from"] == "2026-03-09T12:00:00.000000Z"
    first, second = agreement["revisions"]
    assert first["difference"] is None
    assert first["adoptions"][0]["until"] == "2026-03-09T12:00:00.000000Z"
    assert [bullet["bullet"] for bullet in second["difference"]["removed"]] == ["size"]
    assert second["difference"]["altered"][0]["to"]["required"] is True
    assert second["difference"]["changed"] == {"title": {"from": "Market r1", "to": "Market r2"}}


async def test_who_asked_while_exploring_is_not_off_target_afterwards(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            revised("e", BANK, stage="exploratory", time=at(1)),
            adopted("e", at(1), time=at(1)),
            recordedtime=recorded(1),
        )
        await client.record(
            profiled("early", at(2), industry="retail"), profiled("bank", at(2), industry="banking"),
            profiled("late", at(2), industry="retail"), ask("SSO", "early", 1, time=at(3)),
            ask("SSO", "bank", 1, time=at(3)),
            recordedtime=recorded(3),
        )  # fmt: skip
        then = (await client.answer("requirements/SSO"))["how_on_target"]
        assert then["accounts"] == {"on_target": 0, "off_target": 0, "undetermined": 0, "exploratory": 2}
        assert then["voice"] == 1.0

        await client.record(revised("f", BANK, time=at(4)), adopted("f", at(4), time=at(4)), recordedtime=recorded(4))
        await client.record(ask("SSO", "late", 1, time=at(5)), recordedtime=recorded(5))
        await client.record(decided("D-1", "SSO", time=at(6)), recordedtime=recorded(6))
        found = await client.answer("requirements/SSO")
        classes = {each["account"]: each["as_now"]["class"] for each in found["how_on_target"]["fits"]}
        assert classes == {"bank": "on_target", "early": "exploratory", "late": "off_target"}
        assert found["how_on_target"]["accounts"] == {
            "on_target": 1, "off_target": 1, "undetermined": 0, "exploratory": 1,
        }  # fmt: skip
        listed = await client.answer("requirements", class_="exploratory")
        assert [row["requirement"] for row in listed["requirements"]] == ["SSO"]
        # The account itself did not ask in that phase: as such it is off target.
        assert (await client.answer("accounts", class_="off_target"))["total"] == 2


async def test_a_nightly_sync_does_not_judge_an_ask_anew(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            revised("e", BANK, stage="exploratory", time=at(1)),
            adopted("e", at(1), time=at(1)),
            recordedtime=recorded(1),
        )
        await client.record(
            profiled("shop", at(2), industry="retail"), ask("SSO", "shop", 2, ask="A-1"), recordedtime=recorded(3)
        )
        await client.record(revised("f", BANK, time=at(4)), adopted("f", at(4), time=at(4)), recordedtime=recorded(4))

        async def answers() -> list[Any]:
            one = await client.answer("requirements/SSO")
            lists = [await client.answer("requirements", lens=lens) for lens in ("now", "asked")]
            account = await client.answer("accounts/shop")
            return [
                one["how_on_target"],
                one["who_asked"][0]["asks"][0]["position"],
                [each["requirements"] for each in lists],
                account["asks"][0]["as_asked"],
            ]

        before = await answers()
        assert before[0]["fits"][0]["as_asked"]["revision"] == "target-market@e"
        assert before[0]["fits"][0]["as_now"]["class"] == "exploratory"
        for night in range(5, 9):
            await client.record(ask("SSO", "shop", 2, ask="A-1"), recordedtime=recorded(night))
        assert await answers() == before


async def test_departs_follows_from_the_classes_of_those_who_asked(database: Database) -> None:
    async with asking(database) as client:
        await market(client)
        await client.record(
            profiled("on", at(2), industry="banking", employees=500), profiled("off", at(2), industry="retail"),
            profiled("open", at(2), employees=500), ask("R-on", "on", time=at(3)), ask("R-on", "off", time=at(3)),
            ask("R-off", "off", time=at(3)), ask("R-open", "off", time=at(3)), ask("R-open", "open", time=at(3)),
            ask("R-gone", "off", ask="G", time=at(3)),
            event("ask.withdrawn", requirement="R-gone", ask="G", time=at(4)),
            event("requirement.raised", requirement="R-nobody", title="Nobody asked"),
            recordedtime=recorded(4),
        )  # fmt: skip
        await client.record(
            decided("D-on", "R-on", time=at(5)), decided("D-off", "R-off", time=at(5)),
            decided("D-open", "R-open", time=at(5)),
            decided("D-both", "R-off", "R-on", time=at(5)), decided("D-no", "R-off", outcome="decline", time=at(5)),
            decided("D-gone", "R-gone", time=at(5)), decided("D-nobody", "R-nobody", time=at(5)),
            decided("D-late", "R-late", time=at(5)),
            recordedtime=recorded(5),
        )  # fmt: skip
        # What was asked for before the decision, and recorded after it, its deciders did not know.
        await client.record(ask("R-late", "off", time=at(3)), recordedtime=recorded(9))
        found = {row["decision"]: row["departs"] for row in (await client.answer("decisions"))["decisions"]}
        assert found == {
            "D-on": "no", "D-off": "yes", "D-open": "undetermined", "D-both": "no", "D-no": None, "D-gone": None,
            "D-nobody": None, "D-late": None,
        }  # fmt: skip
        rows = {row["requirement"]: row for row in (await client.answer("requirements"))["requirements"]}
        assert (rows["R-off"]["status"], rows["R-off"]["departs"]) == ("declined", None)
        assert (rows["R-on"]["status"], rows["R-on"]["departs"]) == ("committed", "no")
        assert rows["R-nobody"]["voice"] == 0.0
        assert (rows["R-late"]["status"], rows["R-late"]["accounts"]["off_target"]) == ("committed", 1)


async def test_an_ask_is_revised_and_withdrawn_in_whatever_order_that_comes(database: Database) -> None:
    async with asking(database) as client:
        await market(client)
        await client.record(
            profiled("acme", at(2), industry="banking", employees=500),
            event("ask.withdrawn", requirement="SSO", ask="A-1", time=at(5)),
            ask("SSO", "acme", 2, ask="A-1", time=at(3)),
            ask("SSO", "acme", 1, ask="A-2", time=at(6)),
            ask("SSO", "acme", 3, ask="A-2", time=at(4)),
            recordedtime=recorded(7),
        )
        found = await client.answer("requirements/SSO")
        assert [(each["ask"], each["importance"]) for each in found["who_asked"][0]["asks"]] == [("A-2", 1)]
        await client.record(ask("SSO", "acme", 3, ask="A-1", time=at(8)), recordedtime=recorded(8))
        found = await client.answer("requirements/SSO")
        assert [each["ask"] for each in found["who_asked"][0]["asks"]] == ["A-1", "A-2"]
        account = await client.answer("accounts/acme")
        for first, second in (found["who_asked"][0]["asks"], account["asks"]):
            assert (first["position"], first["time"][:10], first["importance"]) == (5, "2026-03-03", 3)
            assert first["revised"] == {"position": 8, "time": "2026-03-08T12:00:00.000000Z"}
            # The one that is about the earlier time is the first, though it was recorded later.
            assert (second["position"], second["time"][:10], second["importance"]) == (7, "2026-03-04", 1)
            assert second["revised"] == {"position": 6, "time": "2026-03-06T12:00:00.000000Z"}
        assert found["how_on_target"]["voice"] == 3.0
        assert (await client.answer("requirements"))["requirements"][0]["voice"] == 3.0


async def test_the_lens_as_asked_takes_each_account_at_its_loudest(database: Database) -> None:
    async with asking(database) as client:
        await market(client)
        await client.record(profiled("acme", at(2), industry="banking", employees=500), recordedtime=recorded(2))
        await client.record(ask("SSO", "acme", 2, ask="A-1", time=at(3)), recordedtime=recorded(3))
        await client.record(profiled("acme", at(4), industry="retail"), recordedtime=recorded(4))
        await client.record(ask("SSO", "acme", 3, ask="A-2", time=at(5)), recordedtime=recorded(5))
        [now] = (await client.answer("requirements"))["requirements"]
        [asked] = (await client.answer("requirements", lens="asked"))["requirements"]
        assert (now["voice"], now["accounts"]["off_target"]) == (1.2, 1)  # 3 × 2/5
        assert (asked["voice"], asked["accounts"]["on_target"]) == (2.0, 1)  # 2 × 5/5, against 3 × 2/5
        [fits] = (await client.answer("requirements/SSO"))["how_on_target"]["fits"]
        assert (fits["as_asked"]["class"], fits["as_now"]["class"]) == ("on_target", "off_target")


async def test_revenue_is_exact_per_currency_and_class(database: Database) -> None:
    async with asking(database) as client:
        await market(client)
        await client.record(
            profiled("on", at(2), industry="banking", employees=500), profiled("off", at(2), industry="retail"),
            ask("SSO", "on", opportunity="O-named", time=at(3)), ask("SSO", "off", time=at(3)),
            opportunity("O-named", "on", "open", "0.1"), opportunity("O-2", "on", "open", "0.2"),
            opportunity("O-3", "on", "won", "100.005", "EUR"),
            opportunity("O-ended", "on", "won", "7", ends="2026-03-04"),
            opportunity("O-ends-today", "on", "won", "1", ends="2026-03-05"),
            opportunity("O-4", "off", "open", "999999999999999.999999", requirements=["SSO"]),
            opportunity("O-5", "off", "open", "0.000001"),
            opportunity("O-moved", "off", "open", "5"), opportunity("O-moved", "else", "open", "6"),
            opportunity("O-lost", "off", "open", "50"), opportunity("O-lost", "off", "lost", "50"),
            event("opportunity.updated", opportunity="O-bare", account="off", stage="open"),
            recordedtime=recorded(5),
        )  # fmt: skip
        how = (await client.answer("requirements/SSO"))["how_on_target"]
        listed = await client.answer("accounts")
        [by_usd] = (await client.answer("requirements", sort="revenue", currency="USD"))["requirements"]
    assert how["revenue"]["strategic"] == [
        {"currency": "EUR", "contracted": "100.005", "pipeline": "0.00"},
        {"currency": "USD", "contracted": "1.00", "pipeline": "0.30"},
    ]
    assert how["revenue"]["opportunistic"] == [
        {"currency": "USD", "contracted": "0.00", "pipeline": "1000000000000000.00"}
    ]
    assert how["at_stake"]["strategic"] == [{"currency": "USD", "contracted": "0.00", "pipeline": "0.10"}]
    assert how["at_stake"]["opportunistic"] == [
        {"currency": "USD", "contracted": "0.00", "pipeline": "999999999999999.999999"}
    ]
    assert by_usd["revenue"] == how["revenue"]
    assert listed["totals"]["accounts"] == {"on_target": 1, "off_target": 1, "undetermined": 1, "exploratory": 0}
    assert listed["totals"]["overall"] == [
        {"currency": "EUR", "contracted": "100.005", "pipeline": "0.00"},
        {"currency": "USD", "contracted": "1.00", "pipeline": "1000000000000006.30"},
    ]
    assert [(row["account"], row["class"]) for row in listed["accounts"]] == [
        ("on", "on_target"), ("off", "off_target"), ("else", "undetermined"),
    ]  # fmt: skip


async def test_a_decision_is_shown_from_its_proposal_on(database: Database) -> None:
    async with asking(database) as client:
        options = [{"option": "a", "summary": "Build", "arguments": [{"verdict": "good", "text": "Asked for"}]}]
        await client.record(
            ask("SSO", "acme"),
            event(
                "decision.proposed", decision="D-1", requirements=["SSO"], question="Build it?", options=options,
                decide_by="2026-12-01", by=PRODUCT,
            ),
        )  # fmt: skip
        one = await client.answer("decisions/D-1")
        assert (one["state"], one["outcome"], one["departs"], one["needs_review"]) == ("proposed", None, None, [])
        assert one["proposed"]["question"] == "Build it?"
        assert one["proposed"]["options"][0]["arguments"][0]["verdict"] == "good"
        assert (await client.answer("requirements/SSO"))["history"][-1]["summary"] == "proposed: Build it?"
        [row] = (await client.answer("decisions"))["decisions"]
        assert (row["state"], row["decide_by"]) == ("proposed", "2026-12-01")
        dissent = [{"team": "engineering", "statement": "It is late."}]
        await client.record(decided("D-1", "SSO", outcome="explore", dissent=dissent, option="a"))
        one = await client.answer("decisions/D-1")
        assert (one["state"], one["outcome"], one["option"], one["dissent"]) == ("made", "explore", "a", dissent)
        assert one["proposed"]["question"] == "Build it?"
        [row] = (await client.answer("decisions", outcome="explore"))["decisions"]
        assert (row["state"], row["question"]) == ("made", "Build it?")
        assert (await client.answer("requirements", status="exploring"))["total"] == 1


async def test_an_agreement_shows_who_endorsed_it(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            revised("r1", BANK),
            event(
                "agreement.endorsed", agreement="target-market", revision="r1", team="sales", by=SALES,
                meaning="agree_with_reservations", note="Small ones too.",
            ),
        )  # fmt: skip
        one = await client.answer("agreements/target-market/revisions/r1")
        assert (one["agreement"], one["revision"], one["in_force"], one["adoptions"]) == (
            "target-market",
            "r1",
            False,
            [],
        )
        assert one["endorsements"][0]["meaning"] == "agree_with_reservations"
        assert one["endorsements"][0]["by"] == SALES
        [row] = (await client.answer("agreements"))["agreements"]
        assert (row["agreement"], row["in_force"], row["last_revision"]) == ("target-market", None, "r1")


async def test_an_account_shows_its_facts_with_both_times(database: Database) -> None:
    async with asking(database) as client:
        await market(client)
        await client.record(
            event("account.profiled", account="acme", name="Acme", attributes={"industry": "banking"}, time=at(2)),
            ask("SSO", "acme", 2, time=at(3)),
            event("requirement.raised", requirement="SSO", title="Single sign-on"),
            opportunity("O-1", "acme", "open", "10"),
            recordedtime=recorded(3),
        )
        await client.record(profiled("acme", at(2), industry=None, employees=120), recordedtime=recorded(4))
        found = await client.answer("accounts/acme")
        assert found["profile"] == {"employees": 120}
        assert [(fact["attribute"], fact["value"], fact["position"]) for fact in found["facts"]] == [
            ("industry", "banking", 3), ("industry", None, 7), ("employees", 120, 7),
        ]  # fmt: skip
        assert found["facts"][1]["time"] == "2026-03-02T12:00:00.000000Z"
        assert found["facts"][1]["recordedtime"] == "2026-03-04T12:00:01.000000Z"
        assert (found["fit"]["class"], found["fit"]["would_settle"]) == ("undetermined", ["industry"])
        [asked] = found["asks"]
        assert (asked["requirement"], asked["title"], asked["importance"]) == ("SSO", "Single sign-on", 2)
        assert found["revenue"] == [{"currency": "USD", "contracted": "0.00", "pipeline": "10.00"}]


async def test_a_requirement_that_was_never_raised_has_no_title(database: Database) -> None:
    async with asking(database) as client:
        await client.record(ask("SSO", "acme"))
        found = await client.answer("requirements/SSO")
        assert (found["title"], found["status"]) == (None, "open")
        await client.record(
            event("requirement.raised", requirement="SSO", title="SSO", area="Login", labels={"a": "b"}),
            event("requirement.reworded", requirement="SSO", title="Single sign-on", reason="clearer", by=PRODUCT),
            event("delivery.updated", requirement="SSO", state="planned", target="2027-01-01"),
            event("delivery.updated", requirement="SSO", state="beta", url="https://example.org/1"),
        )
        found = await client.answer("requirements/SSO")
        assert (found["title"], found["area"], found["labels"]) == ("Single sign-on", "Login", {"a": "b"})
        assert (found["delivery"]["state"], found["delivery"]["target"]) == ("beta", None)
        [row] = (await client.answer("requirements", q="sign LOGIN"))["requirements"]
        assert (row["title"], row["delivery"]["state"]) == ("Single sign-on", "beta")
        assert (await client.answer("requirements", q="password"))["total"] == 0


async def test_what_was_neither_raised_nor_asked_for_is_no_requirement(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            event("ask.withdrawn", requirement="R-withdrawn", ask="A-1"),
            event("delivery.updated", requirement="R-delivered", state="beta"),
            event("requirement.reworded", requirement="R-reworded", title="Words", reason="clearer", by=PRODUCT),
            event("requirement.raised", requirement="R-raised", title="Raised"),
            ask("R-asked", "acme", ask="A-1"),
            event("ask.withdrawn", requirement="R-asked", ask="A-1"),
        )
        listed = await client.answer("requirements", sort="recent")
        assert [row["requirement"] for row in listed["requirements"]] == ["R-asked", "R-raised"]
        for name, status in (
            ("R-withdrawn", 404), ("R-delivered", 404), ("R-reworded", 404), ("R-raised", 200), ("R-asked", 200),
        ):  # fmt: skip
            assert (await client.get(f"requirements/{name}")).status == status

        # It is one from the moment that somebody asks, whatever was said of it before.
        await client.record(ask("R-withdrawn", "acme", ask="A-2"), ask("R-delivered", "acme"))
        listed = await client.answer("requirements", q="R-delivered")
        assert listed["requirements"][0]["delivery"]["state"] == "beta"
        assert (await client.get("requirements/R-withdrawn")).status == 200


async def test_as_decided_is_null_until_a_decision_is_made(database: Database) -> None:
    async with asking(database) as client:
        await market(client)
        await client.record(
            profiled("acme", at(2), industry="banking"), profiled("late", at(2), industry="retail", employees=1),
            ask("SSO", "acme", time=at(3)),
            event("decision.proposed", decision="D-1", requirements=["SSO"], question="Now?", options=[], by=PRODUCT),
            recordedtime=recorded(3),
        )  # fmt: skip
        [fits] = (await client.answer("requirements/SSO"))["how_on_target"]["fits"]
        assert fits["as_decided"] is None
        await client.record(decided("D-1", "SSO", time=at(4)), recordedtime=recorded(4))
        # It asks after the decision, and has become a bank: it is shown as it was known at the decision.
        await client.record(
            profiled("late", at(5), industry="banking", employees=500), ask("SSO", "late", time=at(6)),
            recordedtime=recorded(6),
        )  # fmt: skip
        found = await client.answer("requirements/SSO")
        fits = {each["account"]: each for each in found["how_on_target"]["fits"]}
        assert (fits["late"]["as_decided"]["class"], fits["late"]["as_now"]["class"]) == ("off_target", "on_target")
        assert fits["late"]["as_decided"]["backdated"] is False
        [made] = found["who_decided"]
        assert (made["departs"], made["needs_review"]) == ("no", [])
        # It gives way to a decision about something else: none holds here, and what its deciders had is still shown.
        await client.record(event("requirement.raised", requirement="OTHER", title="Other"), decided("D-2", "OTHER"))
        await client.record(
            event("decision.superseded", decision="D-1", superseded_by="D-2", reason="it came first", by=PRODUCT)
        )
        later = await client.answer("requirements/SSO")
        assert (found["status"], later["status"]) == ("committed", "open")
        assert {each["account"]: each["as_decided"] for each in later["how_on_target"]["fits"]} == {
            account: each["as_decided"] for account, each in fits.items()
        }


async def test_who_asked_goes_on_behind_two_hundred_accounts(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*(ask("SSO", f"a-{number:03d}", number % 4) for number in range(450)))
        seen: list[str] = []
        reply = await client.get("requirements/SSO", at_least=client.head)
        await client.record(ask("SSO", "newcomer", 3))
        pages = 1
        while True:
            seen += [each["account"] for each in reply.json["who_asked"]]
            assert reply.json["as_of"]["position"] == 450
            assert [fit["account"] for fit in reply.json["how_on_target"]["fits"]] == [
                each["account"] for each in reply.json["who_asked"]
            ]
            if "Link" not in reply.headers:
                break
            pages += 1
            reply = await client.get(reply.headers["Link"].split(">")[0].lstrip("<"))
        assert pages == 3
        assert sorted(seen) == [f"a-{number:03d}" for number in range(450)]


async def test_a_history_that_does_not_show_all_says_so(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*(ask("SSO", "acme", ask=f"k-{number}") for number in range(HISTORY_MAX)))
        whole = await client.answer("requirements/SSO")
        assert len(whole["history"]) == HISTORY_MAX and "history_more" not in whole
        await client.record(ask("SSO", "acme", ask="one-more"))
        cut = await client.answer("requirements/SSO")
        assert [each["position"] for each in cut["history"]] == [*range(2, HISTORY_MAX + 2)]
        assert cut["history_more"] is True
        assert await client.answer("requirements/SSO", as_of=HISTORY_MAX) == whole


@pytest.mark.parametrize("lens", ["now", "asked"])
async def test_the_list_and_the_single_answer_agree(database: Database, lens: str) -> None:
    async with asking(database) as client:
        await market(client)
        for number in range(60):
            industry = ["banking", "retail", None][number % 3]
            requirement, name = f"R-{number % 4}", f"A-{number % 11}"
            said = [
                profiled(f"a-{number % 7}", at(2 + number % 5), industry=industry, employees=number * 9),
                ask(requirement, f"a-{number % 7}", number % 4, ask=name, time=at(3 + number % 9)),
            ]
            if number % 8 == 0:
                said.append(event("ask.withdrawn", requirement=requirement, ask=name, time=at(4 + number % 6)))
            await client.record(*said, recordedtime=recorded(20) + timedelta(minutes=number))
        for row in (await client.answer("requirements", lens=lens))["requirements"]:
            one = (await client.answer(f"requirements/{row['requirement']}"))["how_on_target"]
            if lens == "now":
                for name in ("voice", "voice_if_known", "accounts", "revenue"):
                    assert row[name] == one[name]
            else:
                classes = [fits["as_asked"]["class"] for fits in one["fits"]]
                assert row["accounts"] == {each: classes.count(each) for each in row["accounts"]}
