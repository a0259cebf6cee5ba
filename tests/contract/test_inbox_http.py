"""The inbox: what no ask refers to yet, whose it is, and what it may be about."""

import csv
import io
from typing import Any

import pytest

from services.projector.answers.feedback import SUGGESTED_WORDS_MAX
from tests.asking import Asking, Reply, asking
from tests.conftest import Database
from tests.log import event, redacted

PRODUCT = {"role": "head of product", "team": "product"}
SAID = "single sign-on would make our audit easy"


def feedback(name: str, text: str = SAID, **more: Any) -> Any:
    return event("feedback.received", feedback=name, text=text, **more)


def ask(requirement: str, account: str, name: str, **more: Any) -> Any:
    return event("ask.recorded", requirement=requirement, account=account, ask=name, **more)


def raised(requirement: str, title: str, **more: Any) -> Any:
    return event("requirement.raised", requirement=requirement, title=title, **more)


def agreed(*bullets: dict[str, Any]) -> list[Any]:
    return [
        event(
            "agreement.revised", agreement="target-market", revision="r1", title="Banks", stage="focused",
            bullets=[{"text": "a line", **bullet} for bullet in bullets], threshold=60, signatories=["sales"],
            reason="agreed", by=PRODUCT,
        ),
        event("agreement.adopted", agreement="target-market", revision="r1", effective="2020-01-01", by=PRODUCT),
    ]  # fmt: skip


BANK = {"bullet": "bank", "test": {"op": "eq", "attribute": "industry", "value": "banking"}}


async def inbox(client: Asking, **parameters: Any) -> list[str]:
    return [row["feedback"] for row in (await client.answer("feedback", **parameters))["feedback"]]


def link(reply: Reply) -> str:
    return str(reply.headers["Link"]).split(">")[0].lstrip("<")


async def test_the_inbox_has_what_no_ask_refers_to_the_newest_first(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            feedback("F-1", time="2026-03-01T00:00:00Z"),
            feedback("F-2", time="2026-03-03T00:00:00Z"),
            feedback("F-3", time="2026-03-02T00:00:00Z"),
            feedback("F-4", time="2026-03-03T00:00:00Z"),
        )
        assert await inbox(client) == ["F-4", "F-2", "F-3", "F-1"]
        await client.record(ask("R-1", "acme", "k-1", feedback="F-2"))
        assert await inbox(client) == ["F-4", "F-3", "F-1"]
        # It is an ask no longer, and then one again; then its latest state refers to something else.
        await client.record(event("ask.withdrawn", requirement="R-1", ask="k-1"))
        assert await inbox(client) == ["F-4", "F-2", "F-3", "F-1"]
        await client.record(ask("R-1", "acme", "k-1", feedback="F-2"))
        assert await inbox(client) == ["F-4", "F-3", "F-1"]
        await client.record(ask("R-1", "acme", "k-1", feedback="F-1"))
        assert await inbox(client) == ["F-4", "F-2", "F-3"]
        assert await inbox(client, as_of=5) == ["F-4", "F-3", "F-1"]
        assert await inbox(client, as_of=4) == ["F-4", "F-2", "F-3", "F-1"]
        assert await inbox(client, as_of=0) == []


async def test_an_ask_refers_under_whatever_names_it_has_come_to(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *(feedback(f"F-{number}") for number in range(1, 4)),
            ask("R-1", "acme", "k-1", feedback="F-1"),
            ask("R-1", "acme", "k-2", feedback="F-2"),
            ask("R-2", "acme", "k-3", feedback="F-3"),
        )
        assert await inbox(client) == []
        await client.record(
            event("ask.moved", requirement="R-1", ask="k-1", to="R-2", reason="about that", by=PRODUCT),
            event("requirement.merged", requirement="R-2", into="R-3", reason="the same", by=PRODUCT),
            event("account.identified", account="acme", same_as=[{"system": "crm", "id": "7"}]),
        )
        assert await inbox(client) == []
        # Withdrawn where it is now, revised by another name, withdrawn where it was merged into.
        await client.record(event("ask.withdrawn", requirement="R-2", ask="k-1"))
        assert await inbox(client) == ["F-1"]
        await client.record(ask("R-1", "crm:7", "k-2"))
        assert await inbox(client) == ["F-2", "F-1"]
        await client.record(event("ask.withdrawn", requirement="R-3", ask="k-3"))
        assert await inbox(client) == ["F-3", "F-2", "F-1"]
        assert await inbox(client, as_of=10) == ["F-1"]


async def test_a_row_shows_whose_it_is(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *agreed(BANK),
            event("account.profiled", account="acme", name="Acme", attributes={"industry": "Banking"}),
            event("account.identified", account="acme", same_as=[{"system": "crm", "id": "7"}]),
            event(
                "opportunity.updated",
                opportunity="o",
                account="acme",
                stage="open",
                amount="5",
                currency="USD",
            ),
            feedback("F-1", account="crm:7", contact="p-1", channel="Call", url="https://desk.example/1",
                     labels={"b": "2", "a": "1"}, time="2026-03-01T00:00:00Z"),
            feedback("F-2", account="nobody-knows", time="2026-02-01T00:00:00Z"),
            feedback("F-3", time="2026-01-01T00:00:00Z"),
        )  # fmt: skip
        found = await client.answer("feedback")
        first, second, third = found["feedback"]
        assert (found["total"], found["as_of"]["position"]) == (3, 8)
        assert {name: first[name] for name in ("feedback", "position", "time", "account", "named", "name")} == {
            "feedback": "F-1",
            "position": 6,
            "time": "2026-03-01T00:00:00.000000Z",
            "account": "acme",
            "named": "crm:7",
            "name": "Acme",
        }
        assert (first["channel"], first["url"]) == ("Call", "https://desk.example/1")
        assert first["labels"] == {"a": "1", "b": "2"}
        assert (first["class"], first["fit"]["fit"]) == ("on_target", 1.0)
        assert first["fit"]["revision"] == "target-market@r1"
        assert first["revenue"] == [{"currency": "USD", "contracted": "0.00", "pipeline": "5.00"}]
        assert (second["account"], second["class"]) == ("nobody-knows", "undetermined")
        assert second["fit"]["would_settle"] == ["industry"]
        assert (third["account"], third["name"], third["class"], third["fit"]) == (None, None, None, None)
        assert third["revenue"] == []
        assert found["revisions"]["target-market@r1"]["bullets"][0]["bullet"] == "bank"
        # Before the agreement and the alias: as it stood.
        assert [*(await client.answer("feedback", as_of=2))["feedback"]] == []


async def test_without_an_agreement_an_account_has_no_fit(database: Database) -> None:
    async with asking(database) as client:
        await client.record(feedback("F-1", account="acme"))
        [row] = (await client.answer("feedback"))["feedback"]
        assert (row["class"], row["fit"]) == ("undetermined", None)


async def test_the_same_feedback_again_replaces_what_was_said(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            feedback("F-1", "the second", channel="call", account="acme", time="2026-03-02T00:00:00Z"),
            feedback("F-1", "the first", channel="mail", time="2026-03-01T00:00:00Z"),
        )
        [row] = (await client.answer("feedback", key="personal"))["feedback"]
        assert (row["text"], row["channel"], row["account"], row["position"]) == ("the second", "call", "acme", 1)
        assert (await client.answer("feedback", account="acme"))["total"] == 1
        await client.record(feedback("F-1", "the third", time="2026-03-03T00:00:00Z"))
        [row] = (await client.answer("feedback", key="personal"))["feedback"]
        assert (row["text"], row["channel"], row["account"], row["position"]) == ("the third", None, None, 3)
        assert (await client.answer("feedback", account="acme"))["total"] == 0


async def test_filters(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *agreed(BANK),
            event("account.profiled", account="acme", attributes={"industry": "banking"}),
            event("account.profiled", account="farm", attributes={"industry": "farming"}),
            event("account.identified", account="acme", same_as=[{"system": "crm", "id": "7"}]),
            feedback("F-1", account="acme", channel="Call"),
            feedback("F-2", account="crm:7", channel="CALL"),
            feedback("F-3", account="farm", channel="caller"),
            feedback("F-4"),
        )
        assert await inbox(client, account="acme") == ["F-2", "F-1"]
        assert await inbox(client, account="crm:7") == ["F-2", "F-1"]
        assert await inbox(client, account="unheard-of") == []
        assert await inbox(client, channel="call") == ["F-2", "F-1"]
        assert await inbox(client, channel="fax") == []
        assert await inbox(client, class_="on_target") == ["F-2", "F-1"]
        assert await inbox(client, class_="off_target") == ["F-3"]
        assert await inbox(client, class_="undetermined") == []
        assert await inbox(client, class_="on_target", account="farm") == []
        assert await inbox(client, class_="on_target", channel="call", account="crm:7") == ["F-2", "F-1"]
        assert await inbox(client, class_="on_target", as_of=0) == []


async def test_what_was_said_is_for_those_who_may_see_it(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            raised("SSO-1", "Single sign-on", problem="audits"),
            raised("X-1", "Dark colours"),
            feedback("F-1", account="acme"),
        )
        [row] = (await client.answer("feedback"))["feedback"]
        assert "text" not in row
        assert "suggested" not in row
        for accept in ("application/json", "text/csv"):
            reply = await client.get("feedback", at_least=client.head, headers={"Accept": accept})
            assert b"audit" not in reply.body
            assert b"SSO-1" not in reply.body
        [row] = (await client.answer("feedback", key="personal"))["feedback"]
        assert row["text"] == SAID
        [suggested] = row["suggested"]
        assert suggested.pop("score") > 0.3
        assert suggested == {
            "requirement": "SSO-1", "title": "Single sign-on", "status": "open", "words": ["Single", "sign"]
        }  # fmt: skip

        await client.record(redacted(3, "feedback/F-1"))
        [row] = (await client.answer("feedback", key="personal"))["feedback"]
        assert (row["text"], row["suggested"]) == (None, [])


async def test_suggestions_have_the_status_of_the_requirement(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            raised("R-1", "Single sign-on"),
            raised("R-2", "Single sign-on for audits"),
            raised("R-3", "Sign-on, single"),
            *(raised(f"S-{number}", "Single sign-on for all of our very many subsidiaries") for number in range(9)),
            event("requirement.merged", requirement="R-3", into="R-1", reason="the same", by=PRODUCT),
            event(
                "decision.made", decision="D-1", requirements=["R-3"], outcome="commit", rationale="so",
                instruction="do", deciders=[PRODUCT],
            ),
            feedback("F-1", "single sign-on"),
        )  # fmt: skip
        [row] = (await client.answer("feedback", key="personal"))["feedback"]
        assert [(each["requirement"], each["status"]) for each in row["suggested"]] == [
            ("R-1", "committed"),
            ("R-3", "merged"),
            ("R-2", "open"),
        ]
        # What is suggested for one text does not depend on the page that it is on.
        await client.record(*(feedback(f"G-{number}", f"sign-on number{number} audits") for number in range(9)))
        again = (await client.answer("feedback", key="personal"))["feedback"][-1]
        assert (again["feedback"], again["suggested"]) == ("F-1", row["suggested"])


async def test_suggestions_come_from_the_first_words(database: Database) -> None:
    async with asking(database) as client:
        words = [f"word{number}a" for number in range(SUGGESTED_WORDS_MAX + 6)]
        await client.record(
            raised("R-1", " ".join(words[:6])),
            raised("R-2", " ".join(words[-6:])),
            feedback("F-1", " ".join(words)),
            feedback("F-2", " ".join(words[-6:])),
        )
        short, long = (await client.answer("feedback", key="personal"))["feedback"]
        assert [each["requirement"] for each in short["suggested"]] == ["R-2"]
        assert [each["requirement"] for each in long["suggested"]] == ["R-1"]


async def test_pages_with_suggestions_are_short(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*(feedback(f"F-{number:03d}") for number in range(120)))
        assert len((await client.answer("feedback", limit=200))["feedback"]) == 120
        reply = await client.get("feedback", key="personal", limit=200)
        lengths, names = [], []
        while True:
            rows = reply.json["feedback"]
            lengths.append(len(rows))
            names += [row["feedback"] for row in rows]
            assert reply.json["total"] == 120
            if "Link" not in reply.headers:
                break
            reply = await client.get(link(reply), key="personal")
        assert lengths == [50, 50, 20]
        assert names == [f"F-{number:03d}" for number in reversed(range(120))]
        reply = await client.get("feedback", key="personal", limit=200, headers={"Accept": "text/csv"})
        assert len(reply.body.splitlines()) == 51
        assert "Link" in reply.headers


async def test_pages_are_of_one_position(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*(feedback(f"F-{number}", account="acme") for number in range(5)))
        first = await client.get("feedback", at_least=5, limit=2, account="acme")
        await client.record(feedback("F-9", account="acme"), ask("R-1", "acme", "k", feedback="F-4"))
        await client.answer("feedback")
        second = await client.get(link(first))
        third = await client.get(link(second))
        rows = [row["feedback"] for reply in (first, second, third) for row in reply.json["feedback"]]
        assert rows == ["F-4", "F-3", "F-2", "F-1", "F-0"]
        assert {reply.json["total"] for reply in (first, second, third)} == {5}
        assert "Link" not in third.headers
        beyond = await client.get(link(second).split("&limit")[0], limit=200)
        assert "Link" not in beyond.headers


async def test_the_answer_for_a_position_is_the_same_ever_after(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *agreed(BANK), raised("R-1", "Single sign-on"), feedback("F-1", account="acme"), feedback("F-2")
        )
        asked = [
            {"key": key, "headers": {"Accept": accept}}
            for key in ("query", "personal")
            for accept in ("*/*", "text/csv")
        ]
        await client.answer("feedback")
        before = [await client.get("feedback", as_of=5, **how) for how in asked]
        await client.record(
            event("account.profiled", account="acme", name="Acme", attributes={"industry": "banking"}),
            event("requirement.reworded", requirement="R-1", title="Sign on once", reason="plain", by=PRODUCT),
            raised("R-2", "Single sign-on for our audit"),
            ask("R-1", "acme", "k", feedback="F-1"),
            feedback("F-2", "something else"),
        )
        await client.answer("feedback")
        after = [await client.get("feedback", as_of=5, **how) for how in asked]
        assert [reply.body for reply in before] == [reply.body for reply in after]
        assert [reply.headers["ETag"] for reply in before] == [reply.headers["ETag"] for reply in after]


async def test_as_csv_it_names_no_person(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            raised("SSO-1", "Single sign-on"),
            feedback("F-1", "=single sign-on", account="acme", contact="p-81", labels={"plan": "gold"}),
        )
        reply = await client.get("feedback", key="personal", at_least=2, headers={"Accept": "text/csv"})
        [row] = csv.DictReader(io.StringIO(reply.body.decode()))
        assert (row["feedback"], row["labels"], row["suggested"]) == ("F-1", "plan: gold", "SSO-1")
        assert row["text"] == "'=single sign-on"
        assert b"p-81" not in reply.body


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("class=strategic", "class"),
        ("account=not%20an%20id", "account"),
        (f"channel={'x' * 201}", "channel"),
        ("q=sso", "q"),
        ("sort=recent", "sort"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("cursor=x", "cursor"),
        ("channel=%00", "channel"),
    ],
)
async def test_a_parameter_that_is_unknown_or_out_of_range_is_named(
    database: Database, query: str, parameter: str
) -> None:
    async with asking(database) as client:
        reply = await client.get(f"/v1/ledgers/main/feedback?{query}")
        assert (reply.status, reply.json["parameter"]) == (400, parameter)


async def test_who_only_gave_feedback_is_an_account_too(database: Database) -> None:
    async with asking(database) as client:
        await client.record(feedback("F-1", account="crm:7"))
        assert [row["account"] for row in (await client.answer("accounts"))["accounts"]] == ["crm:7"]
        assert (await client.answer("accounts/crm:7"))["asks"] == []
