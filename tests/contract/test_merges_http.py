"""One account with many ids, one requirement under several names: what the answers say, now and as of before."""

from typing import Any

from tests.asking import Asking, asking
from tests.conftest import Database
from tests.ledger_service import LedgerService
from tests.ledger_service import example as posted
from tests.log import event

BY = {"role": "head of product", "team": "product"}


def ask(requirement: str, account: str, ask: str, importance: int = 1) -> Any:
    return event("ask.recorded", requirement=requirement, account=account, ask=ask, importance=importance)


def identified(account: str, system: str, id: str) -> Any:
    return event("account.identified", account=account, same_as=[{"system": system, "id": id}])


def merged(kind: str, name: str, into: str) -> Any:
    return event(f"{kind}.merged", **{kind: name}, into=into, reason="One and the same.", by=BY)


def unmerged(kind: str, name: str) -> Any:
    return event(f"{kind}.unmerged", **{kind: name}, reason="Two after all.", by=BY)


async def accounts_of(client: Asking, requirement: str, **parameters: Any) -> list[str]:
    answer = await client.answer(f"requirements/{requirement}", **parameters)
    return [each["account"] for each in answer["who_asked"]]


async def test_an_alias_is_its_account_from_the_position_at_which_it_is_known(database: Database) -> None:
    async with asking(database) as client:
        await client.record(ask("R", "zendesk:4711", "k-1", 3), ask("R", "acme", "k-2"), ask("R", "crm:9", "k-3", 2))
        before = await client.answer("requirements/R")
        assert {each["account"] for each in before["who_asked"]} == {"acme", "crm:9", "zendesk:4711"}

        await client.record(identified("acme", "zendesk", "4711"))
        await client.record(
            identified("acme", "crm", "9"), event("account.profiled", account="crm:9", attributes={"a": 1})
        )
        [one] = (await client.answer("requirements/R"))["who_asked"]
        assert (one["account"], one["importance"]) == ("acme", 3)
        assert {(each["ask"], each["named"]) for each in one["asks"]} == {
            ("k-1", "zendesk:4711"), ("k-2", "acme"), ("k-3", "crm:9"),
        }  # fmt: skip
        assert len(await accounts_of(client, "R", as_of=3)) == 3
        assert len(await accounts_of(client, "R", as_of=4)) == 2

        account = await client.answer("accounts/zendesk:4711")
        assert (account["account"], account["profile"], len(account["asks"])) == ("acme", {"a": 1}, 3)
        assert [each["alias"] for each in account["aliases"]] == ["crm:9", "zendesk:4711"]
        listed = await client.answer("accounts", alias="zendesk:4711")
        [row] = listed["accounts"]
        assert (row["account"], row["aliases"], row["asks"]) == ("acme", ["crm:9", "zendesk:4711"], 3)
        assert (await client.answer("accounts"))["total"] == 1
        assert (await client.answer("accounts", alias="jira:1"))["total"] == 0
        then = await client.answer("accounts", alias="zendesk:4711", as_of=3)
        assert [each["account"] for each in then["accounts"]] == ["zendesk:4711"]


async def test_an_alias_that_two_accounts_claim_joins_neither_until_an_act_settles_it(database: Database) -> None:
    async with asking(database) as client:
        await client.record(merged("account", "bank", "acme"), unmerged("account", "bank"))
        await client.record(*(ask("R", name, f"k-{name}") for name in ("acme", "bank")), ask("R", "zen:1", "k-zen"))
        await client.record(identified("acme", "zen", "1"))
        assert sorted(await accounts_of(client, "R")) == ["acme", "bank"]
        await client.record(identified("bank", "zen", "1"))
        assert sorted(await accounts_of(client, "R")) == ["acme", "bank", "zen:1"]

        reply = await client.get("accounts", alias="zen:1", at_least=client.head)
        assert (reply.status, reply.json["type"]) == (409, "/problems/alias-contested")
        assert reply.json["claimed_by"] == ["acme", "bank"]
        alone = await client.answer("accounts/zen:1")
        assert (alone["account"], alone["claimed_by"]) == ("zen:1", ["acme", "bank"])
        [alias] = (await client.answer("accounts/bank"))["aliases"]
        assert (alias["alias"], alias["contested"], alias["claimed_by"]) == ("zen:1", True, ["acme", "bank"])

        await client.record(merged("account", "zen:1", "bank"))
        assert sorted(await accounts_of(client, "R")) == ["acme", "bank"]
        assert (await client.answer("accounts", alias="zen:1"))["accounts"][0]["account"] == "bank"
        # Whoever asks about the time in between is still told that nobody knew.
        assert (await client.get("accounts", alias="zen:1", as_of=client.head - 1)).status == 409


async def test_a_claim_does_not_join_what_was_told_apart(database: Database) -> None:
    async with asking(database) as client:
        await client.record(ask("R", "crm:1", "k-1"), ask("R", "crm:2", "k-2"))
        await client.record(merged("account", "crm:2", "crm:1"), unmerged("account", "crm:2"))
        await client.record(identified("crm:1", "crm", "2"))
        assert sorted(await accounts_of(client, "R")) == ["crm:1", "crm:2"]
        reply = await client.get("accounts", alias="crm:2", at_least=client.head)
        assert (reply.status, reply.json["detail"]) == (409, "crm:2 is claimed by crm:1, and counts for none of them")
        assert (await client.answer("accounts/crm:2"))["claimed_by"] == ["crm:1"]
        await client.record(merged("account", "crm:2", "crm:1"))
        assert await accounts_of(client, "R") == ["crm:1"]


async def test_a_merged_account_keeps_its_name_and_has_the_latest_facts_of_both(database: Database) -> None:
    async with asking(database) as client:
        await client.record(event("account.profiled", account="acme", name="Acme Bank", attributes={"a": 1, "b": 1}))
        await client.record(event("account.profiled", account="kelp", name="Kelp Foods", attributes={"a": 2}))
        await client.record(merged("account", "kelp", "acme"))
        account = await client.answer("accounts/kelp")
        assert (account["account"], account["name"], account["profile"]) == ("acme", "Acme Bank", {"a": 2, "b": 1})
        assert (await client.answer("accounts"))["accounts"][0]["name"] == "Acme Bank"
        await client.record(unmerged("account", "kelp"))
        assert (await client.answer("accounts/kelp"))["name"] == "Kelp Foods"
        # One without a name of its own has the one that is known.
        await client.record(ask("R", "zen:1", "k"), merged("account", "kelp", "zen:1"))
        assert (await client.answer("accounts/zen:1"))["name"] == "Kelp Foods"


async def test_a_contested_alias_that_nothing_else_names_is_told_as_such(database: Database) -> None:
    async with asking(database) as client:
        await client.record(identified("acme", "zen", "1"), identified("bank", "zen", "1"))
        reply = await client.get("accounts/zen:1", at_least=client.head)
        assert (reply.status, reply.json["claimed_by"]) == (409, ["acme", "bank"])


async def test_asks_of_a_merged_requirement_count_at_the_root_and_go_back(database: Database) -> None:
    async with asking(database) as client:
        for name in ("A", "B", "C"):
            await client.record(event("requirement.raised", requirement=name, title=f"Wish {name}"))
        await client.record(ask("A", "acme", "k-a", 3), ask("B", "bank", "k-b"), ask("C", "cedar", "k-c"))
        apart = client.head
        await client.record(merged("requirement", "A", "B"), merged("requirement", "B", "C"))
        assert sorted(await accounts_of(client, "C")) == ["acme", "bank", "cedar"]
        root = await client.answer("requirements/C")
        assert [(each["requirement"], each["into"]) for each in root["merged"]] == [("A", "B"), ("B", "C")]
        assert {ask["recorded_on"] for each in root["who_asked"] for ask in each["asks"]} == {"A", "B", "C"}
        part = await client.answer("requirements/A")
        assert (part["status"], part["into"], part["who_asked"]) == ("merged", "B", [])
        assert any(each["type"] == "ledger.ask.recorded.v1" for each in part["history"])

        rows = {row["requirement"]: row for row in (await client.answer("requirements"))["requirements"]}
        assert {name: (row["status"], row["into"]) for name, row in rows.items()} == {
            "A": ("merged", "B"), "B": ("merged", "C"), "C": ("open", None),
        }  # fmt: skip
        assert {name: sum(row["accounts"].values()) for name, row in rows.items()} == {"A": 0, "B": 0, "C": 3}
        listed = await client.answer("requirements", status="merged")
        assert listed["total"] == 2

        await client.record(unmerged("requirement", "B"))
        assert sorted(await accounts_of(client, "B")) == ["acme", "bank"]
        await client.record(unmerged("requirement", "A"))
        after = {name: await accounts_of(client, name) for name in "ABC"}
        assert after == {"A": ["acme"], "B": ["bank"], "C": ["cedar"]}
        assert after == {name: await accounts_of(client, name, as_of=apart) for name in "ABC"}


async def test_a_decision_on_a_part_is_one_on_the_whole(database: Database) -> None:
    async with asking(database) as client:
        for name in ("A", "B"):
            await client.record(event("requirement.raised", requirement=name, title=f"Wish {name}"))
        await client.record(ask("A", "acme", "k-a"))
        await client.record(
            event(
                "decision.made", decision="D", requirements=["A"], outcome="commit", rationale="so", instruction="do",
                deciders=[BY],
            )
        )  # fmt: skip
        assert (await client.answer("requirements/B"))["who_decided"] == []
        await client.record(merged("requirement", "A", "B"))
        whole = await client.answer("requirements/B")
        assert ([each["decision"] for each in whole["who_decided"]], whole["status"]) == (["D"], "committed")
        rows = {row["requirement"]: row for row in (await client.answer("requirements"))["requirements"]}
        assert rows["B"]["status"] == "committed" and rows["B"]["decision"]["decision"] == "D"
        assert [each["decision"] for each in (await client.answer("requirements/A"))["who_decided"]] == ["D"]


async def test_a_moved_ask_counts_where_it_is_and_says_where_it_was_recorded(database: Database) -> None:
    async with asking(database) as client:
        for name in ("A", "B"):
            await client.record(event("requirement.raised", requirement=name, title=f"Wish {name}"))
        await client.record(ask("A", "acme", "k-1", 2))
        await client.record(event("ask.moved", requirement="A", ask="k-1", to="B", reason="They mean B.", by=BY))
        assert (await accounts_of(client, "A"), await accounts_of(client, "B")) == ([], ["acme"])
        assert await accounts_of(client, "A", as_of=3) == ["acme"]
        moved = await client.answer("requirements/B")
        [shown] = moved["who_asked"][0]["asks"]
        assert (shown["ask"], shown["recorded_on"], shown["position"]) == ("k-1", "A", 3)
        assert moved["history"][-1]["summary"] == "ask k-1 was moved to B. They mean B."
        assert (await client.answer("accounts/acme"))["asks"][0]["requirement"] == "B"

        # Revised by an emitter that knows nothing of the move.
        await client.record(ask("A", "acme", "k-1", 3))
        [asker] = (await client.answer("requirements/B"))["who_asked"]
        assert (asker["importance"], asker["asks"][0]["revised"]["position"]) == (3, 5)


async def test_an_alias_that_is_learned_later_makes_a_decision_worth_a_review(database: Database) -> None:
    async with asking(database) as client:
        bullets = [{"bullet": "a", "text": "line", "test": {"op": "eq", "attribute": "a", "value": 1}}]
        named = {"agreement": "target-market", "revision": "r1", "by": BY}
        await client.record(
            event(
                "agreement.revised", title="t", stage="focused", bullets=bullets, threshold=50, signatories=[],
                reason="so", **named,
            ),
            event("agreement.adopted", effective="2026-01-01", **named),
            event("account.profiled", account="acme", attributes={"a": 1}),
            ask("R", "zen:1", "k-1"),
        )  # fmt: skip
        await client.record(
            event(
                "decision.made", decision="D", requirements=["R"], outcome="commit", rationale="so", instruction="do",
                deciders=[BY],
            )
        )  # fmt: skip
        assert (await client.answer("decisions/D"))["needs_review"] == []
        [position] = await client.record(identified("acme", "zen", "1"))
        [mark] = (await client.answer("decisions/D"))["needs_review"]
        assert (mark["position"], mark["input"]) == (position, "zen:1: names")
        assert (mark["from"], mark["to"]) == (["zen:1"], ["acme", "zen:1"])
        assert mark["classes"] == [{"account": "zen:1", "as_decided": "undetermined", "as_now": "on_target"}]
        fits = (await client.answer("requirements/R"))["how_on_target"]["fits"]
        [fit] = fits
        assert (fit["account"], fit["as_decided"]["class"], fit["as_now"]["class"]) == (
            "acme",
            "undetermined",
            "on_target",
        )


async def test_a_circle_over_three_is_refused_and_changes_nothing(ledger: LedgerService) -> None:
    for kind in ("account", "requirement"):
        if kind == "requirement":
            for name in "abc":
                await ledger.post(posted("requirement.raised", requirement=name))
        assert (await ledger.post(posted(f"{kind}.merged", **{kind: "a"}, into="b"))).status == 201
        assert (await ledger.post(posted(f"{kind}.merged", **{kind: "b"}, into="c"))).status == 201
        circle = await ledger.post(posted(f"{kind}.merged", **{kind: "c"}, into="a"))
        assert (circle.status, circle.problem, circle.json["retryable"]) == (422, "rule-not-met", True)
        assert "a was merged into b" in circle.json["detail"]
        assert circle.json["errors"][0]["pointer"] == "/data/into"
