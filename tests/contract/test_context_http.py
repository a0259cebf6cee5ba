"""A decision with the knowledge of its moment: what was known, what was true and not known yet, what came later."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.projector.answers.context import CONTEXT_ITEMS_MAX
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import event

START = datetime(2026, 3, 1, tzinfo=UTC)
BY = {"role": "head of product", "team": "product", "person": "p-7"}
LISTS = ("known", "true_then_not_yet_known", "happened_later")
BULLETS = [{"bullet": "bank", "text": "Banks", "test": {"op": "eq", "attribute": "industry", "value": "banking"}}]


def day(number: float) -> str:
    """A time in days from the start."""
    return (START + timedelta(days=number)).isoformat().replace("+00:00", "Z")


async def on(client: Asking, number: float, *events: Any) -> list[int]:
    """Record these on a day: what has no time of its own is about that day."""
    return await client.record(*events, recordedtime=START + timedelta(days=number))


def profiled(account: str, time: float | None = None, **attributes: Any) -> Any:
    at = None if time is None else day(time)
    return event("account.profiled", account=account, attributes=attributes, time=at)


def asked(account: str, ask: str, time: float | None = None, *, requirement: str = "R", **more: Any) -> Any:
    at = None if time is None else day(time)
    return event("ask.recorded", requirement=requirement, account=account, ask=ask, time=at, **more)


def sold(opportunity: str, account: str, stage: str, **more: Any) -> Any:
    return event("opportunity.updated", opportunity=opportunity, account=account, stage=stage, **more)


def proposed(decision: str, *requirements: str) -> Any:
    named = {"decision": decision, "requirements": [*requirements]}
    return event("decision.proposed", **named, question="Shall we?", options=[], by=BY)


def made(decision: str, *requirements: str, time: float | None = None, **more: Any) -> Any:
    at = None if time is None else day(time)
    named = {"decision": decision, "requirements": [*requirements], "outcome": "commit", "deciders": [BY]}
    return event("decision.made", **named, rationale="It sells.", instruction="Build it.", time=at, **more)


def retracted(position: int, subject: str) -> Any:
    return event("event.retracted", position=position, subject=subject, reason="A slip.", by=BY)


def agreed(revision: str = "r1", bullets: Any = BULLETS) -> list[Any]:
    named = {"agreement": "target-market", "revision": revision, "by": BY}
    return [
        event(
            "agreement.revised", title="Banks", stage="focused", bullets=bullets, threshold=60, signatories=[],
            reason="focus", **named,
        ),
        event("agreement.adopted", effective="2026-03-01", **named),
    ]  # fmt: skip


def declared(value: Any, number: float) -> Any:
    """The same from a system that had recorded it on a day."""
    return value | {"recordedtime": day(number)}


def raised(requirement: str = "R") -> Any:
    return event("requirement.raised", requirement=requirement, title=f"Wish {requirement}")


def positions(context: Any) -> dict[str, list[int]]:
    return {name: [item["position"] for item in context[name]] for name in LISTS}


async def context_of(client: Asking, decision: str = "D", **parameters: Any) -> Any:
    return await client.answer(f"decisions/{decision}/context", **parameters)


def facts(items: Any) -> list[Any]:
    return [(each["account"], each["attribute"], each["from"], each["to"]) for each in items if "attribute" in each]


async def test_what_bears_on_a_decision_is_in_one_list_of_three(database: Database) -> None:
    async with asking(database) as client:
        await on(client, 0, raised(), *agreed())  # 1, 2; in force since 3
        await on(client, 2, asked("acme", "k-1", 1, importance=3, quote="We need it", contact="p-9"))
        await on(client, 3, profiled("acme", industry="banking", size=5), proposed("D", "R"))  # 5, 6
        await on(client, 10, made("D", "R"))
        await on(client, 40, profiled("acme", 8, industry="insurance"))
        await on(client, 50, asked("bank", "k-2", importance=1))
        await on(client, 60, sold("O-1", "acme", "lost", amount="10.50", currency="EUR", closed_because="feature"))
        context = await context_of(client)
        assert positions(context) == {
            "known": [1, 2, 3, 4, 5, 6], "true_then_not_yet_known": [8], "happened_later": [9, 10],
        }  # fmt: skip
        assert context["totals"] == {"known": 6, "true_then_not_yet_known": 1, "happened_later": 2}
        assert (context["decision"], context["state"], context["basis"]) == ("D", "made", "recorded")
        assert context["cut"] == {"position": 6, "recordedtime": day(3).replace("Z", ".000000Z")}
        assert (context["position"], context["time"]) == (7, day(10).replace("Z", ".000000Z"))
        assert context["known"][3] == {
            "position": 4,
            "time": day(1).replace("Z", ".000000Z"),
            "recordedtime": day(2).replace("Z", ".000000Z"),
            "type": "ledger.ask.recorded.v1",
            "subject": "requirement/R",
            "summary": "acme asked, importance 3",
            "account": "acme",
            "requirement": "R",
            "ask": "k-1",
            "importance": 3,
        }
        [late] = context["true_then_not_yet_known"]
        assert facts([late]) == [("acme", "industry", "banking", "insurance")]
        assert (late["time"], late["recordedtime"]) == (
            day(8).replace("Z", ".000000Z"), day(40).replace("Z", ".000000Z"),
        )  # fmt: skip
        lost = context["happened_later"][-1]
        assert {name: lost[name] for name in ("account", "stage", "amount", "currency", "closed_because")} == {
            "account": "acme", "stage": "lost", "amount": "10.50", "currency": "EUR", "closed_because": "feature",
        }  # fmt: skip
        body = (await client.get("decisions/D/context", key="personal")).body
        assert all(word not in body for word in (b"We need it", b"p-9", b"p-7", b"contact", b"size"))


async def test_the_cut_is_what_was_seen_or_else_the_position_before_the_decision(database: Database) -> None:
    async with asking(database) as client:
        await on(client, 0, raised(), *(asked("acme", f"k-{number}") for number in range(3)))
        await on(client, 1, made("own", "R"), made("seen", "R", seen=2), made("none", "R", seen=0))
        own = await context_of(client, "own")
        assert (own["cut"]["position"], positions(own)["known"]) == (4, [1, 2, 3, 4])
        # The other decisions were made at the same moment, and nobody had seen them.
        assert positions(own)["true_then_not_yet_known"] == [6, 7]
        seen = await context_of(client, "seen")
        assert (seen["cut"]["position"], positions(seen)["known"]) == (2, [1, 2])
        assert positions(seen)["true_then_not_yet_known"] == [3, 4, 5, 7]
        none = await context_of(client, "none")
        assert (none["cut"], none["known"]) == ({"position": 0, "recordedtime": None}, [])


async def test_what_is_about_a_time_after_the_decision_happened_later_even_if_it_was_known(database: Database) -> None:
    async with asking(database) as client:
        await on(client, 9, raised(), asked("acme", "k-1", 1), asked("bank", "k-2", 8))
        await on(client, 10, made("D", "R", time=5))
        context = await context_of(client)
        assert positions(context) == {"known": [2], "true_then_not_yet_known": [], "happened_later": [3, 1]}


async def test_nothing_counts_from_later_than_it_was_recorded(database: Database) -> None:
    async with asking(database) as client:
        fast = 1 / 24 / 60  # A clock that is a minute ahead.
        await on(client, 0, raised(), made("D", "R", time=fast), asked("acme", "k", fast))
        assert positions(await context_of(client))["true_then_not_yet_known"] == [3]


async def test_a_sync_that_repeats_is_silent(database: Database) -> None:
    def sync(number: int) -> list[Any]:
        return [
            profiled("acme", industry="banking", size=number),
            event("account.identified", account="acme", same_as=[{"system": "crm", "id": "1"}]),
            sold("O-1", "acme", "open", amount="10.50" if number % 2 else "10.5", currency="EUR"),
            asked("acme", "k-1", importance=2),
            event("delivery.updated", requirement="R", state="planned"),
            raised(),
        ]

    async with asking(database) as client:
        await on(client, 0, *agreed(), *sync(0))
        once = await on(client, 1, made("D", "R"))
        before = await context_of(client)
        for number in range(1, 5):
            await on(client, number, *sync(number))
        after = await context_of(client)
        assert {name: after[name] for name in LISTS} == {name: before[name] for name in LISTS}
        assert positions(after)["known"] == [*range(1, once[0])]
        await on(client, 6, profiled("acme", industry="insurance"))
        await on(client, 7, *sync(7))
        later = await context_of(client)
        assert facts(later["happened_later"]) == [
            ("acme", "industry", "banking", "insurance"), ("acme", "industry", "insurance", "banking"),
        ]  # fmt: skip


async def test_what_deciders_learned_stays_in_sight_whatever_is_recorded_for_the_time_before(
    database: Database,
) -> None:
    async with asking(database) as client:
        await on(client, 0, raised(), *agreed(), asked("acme", "k-1"))
        await on(client, 1, profiled("acme", industry="retail"))  # 5
        await on(client, 4, profiled("acme", industry="banking"))  # 6
        await on(client, 6, profiled("acme", industry="banking"))  # 7 repeats it
        await on(client, 8, made("D", "R"))
        assert [each["position"] for each in (await context_of(client))["known"]][-2:] == [5, 6]
        # It was so from the second day on, which was learned on the ninth.
        await on(client, 9, profiled("acme", 2, industry="banking"))
        context = await context_of(client)
        assert positions(context)["known"][-2:] == [5, 6]
        assert facts(context["true_then_not_yet_known"]) == [("acme", "industry", "retail", "banking")]
        # On the fifth day it was something else, which makes a difference of what only repeated.
        await on(client, 10, profiled("acme", 5, industry="insurance"))
        context = await context_of(client)
        assert positions(context)["known"][-3:] == [5, 6, 7]
        assert facts(context["known"])[-1] == ("acme", "industry", "insurance", "banking")


@pytest.mark.parametrize("first, second, differs", [(1, 1.0, False), (1, True, True), (None, None, False)])
async def test_a_number_is_no_boolean_and_what_was_never_known_is_unknown(
    database: Database, first: Any, second: Any, differs: bool
) -> None:
    bullets = [{"bullet": "size", "text": "Large", "test": {"op": "exists", "attribute": "size"}}]
    async with asking(database) as client:
        await on(client, 0, *agreed(bullets=bullets), asked("acme", "k-1"))
        await on(client, 1, profiled("acme", size=first), profiled("acme", size=second), made("D", "R"))
        said = [("acme", "size", None, 1), *([("acme", "size", 1, True)] if differs else [])]
        assert facts((await context_of(client))["known"]) == ([] if first is None else said)


async def test_what_was_retracted_stays_where_it_was_and_the_retraction_is_one_more(database: Database) -> None:
    async with asking(database) as client:
        await on(client, 0, raised(), *agreed(), asked("acme", "k-1"))
        await on(client, 1, profiled("acme", industry="banking"), asked("bank", "k-2"))  # 5, 6
        await on(client, 2, retracted(6, "requirement/R"))
        await on(client, 3, made("D", "R"))
        await on(client, 9, retracted(5, "account/acme"))
        context = await context_of(client)
        assert positions(context) == {
            "known": [1, 2, 3, 4, 5, 6, 7], "true_then_not_yet_known": [], "happened_later": [9],
        }  # fmt: skip
        fact, ask, retraction = context["known"][-3:]
        assert ask["retracted"] == {"position": 7, "recordedtime": day(2).replace("Z", ".000000Z")}
        assert fact["retracted"] == {"position": 9, "recordedtime": day(9).replace("Z", ".000000Z")}
        assert (retraction["retracts"], retraction["subject"]) == (6, "requirement/R")
        assert context["happened_later"][0]["retracts"] == 5
        # Before it is known, nothing tells of it.
        [*_, fact, ask, retraction] = (await context_of(client, as_of=8))["known"]
        assert "retracted" not in fact
        assert (await context_of(client, as_of=8))["happened_later"] == []


async def test_what_only_repeated_is_shown_once_nothing_before_it_stands(database: Database) -> None:
    async with asking(database) as client:
        await on(client, 0, raised(), *agreed(), asked("acme", "k-1"))
        await on(client, 1, profiled("acme", industry="banking"))  # 5
        await on(client, 2, profiled("acme", industry="banking"))  # 6
        await on(client, 3, made("D", "R"))
        await on(client, 4, retracted(6, "account/acme"))
        # It made no difference, and nor does it now that it is gone.
        assert [each["position"] for each in (await context_of(client))["known"]][-1] == 5
        assert (await context_of(client))["happened_later"] == []
        await on(client, 5, profiled("acme", 2.5, industry="banking"))  # 9
        await on(client, 6, retracted(5, "account/acme"))
        context = await context_of(client)
        assert facts(context["true_then_not_yet_known"]) == [("acme", "industry", None, "banking")]
        assert {each["position"]: "retracted" in each for each in context["known"] if "attribute" in each} == {
            5: True, 6: True,
        }  # fmt: skip


async def test_what_follows_a_retracted_fact_repeats_what_stood_before_that(database: Database) -> None:
    async with asking(database) as client:
        await on(client, 0, raised(), *agreed(), asked("acme", "k-1"), made("D", "R"))
        await on(client, 1, profiled("acme", industry="banking"))  # 6
        await on(client, 2, profiled("acme", industry="retail"))  # 7
        await on(client, 3, retracted(7, "account/acme"))
        await on(client, 4, profiled("acme", industry="banking"))
        assert positions(await context_of(client))["happened_later"] == [6, 7, 8]


async def test_an_opportunity_that_is_told_of_late_hides_nothing_that_was_known(database: Database) -> None:
    async with asking(database) as client:
        await on(client, 0, raised(), asked("acme", "k-1"))
        await on(client, 4, sold("O-1", "acme", "open"), made("D", "R"))
        await on(client, 9, sold("O-1", "acme", "open") | {"time": day(2)})
        assert positions(await context_of(client)) == {
            "known": [1, 2, 3], "true_then_not_yet_known": [5], "happened_later": [],
        }  # fmt: skip


async def test_an_imported_decision_goes_by_what_emitters_declare(database: Database) -> None:
    async with asking(database) as client:
        await on(
            client, 400,
            declared(made("D", "R", time=10), 11),
            declared(raised() | {"time": day(1)}, 1),
            declared(asked("acme", "k-1", 2), 3),
            declared(asked("bank", "k-2", 2), 30),
            declared(asked("cedar", "k-3", 20), 5),
            asked("dune", "k-4", 2),
        )  # fmt: skip
        context = await context_of(client)
        assert context["basis"] == "declared"
        assert context["cut"] == {"position": None, "recordedtime": day(11).replace("Z", ".000000Z")}
        assert positions(context) == {"known": [2, 3], "true_then_not_yet_known": [4, 6], "happened_later": [5]}
        assert [each.get("sourcerecordedtime") for each in context["true_then_not_yet_known"]] == [
            day(30).replace("Z", ".000000Z"), None,
        ]  # fmt: skip
        assert all(each["recordedtime"] == day(400).replace("Z", ".000000Z") for each in context["known"])

        # Who says what was seen speaks of this log, and who declares nothing as well.
        await on(client, 500, declared(made("seen", "R", time=10, seen=3), 11), made("plain", "R", time=10))
        seen, plain = await context_of(client, "seen"), await context_of(client, "plain")
        assert (seen["basis"], seen["cut"]["position"], positions(seen)["known"]) == ("recorded", 3, [2, 3, 1])
        assert (plain["basis"], plain["cut"]["position"]) == ("recorded", 7)
        assert plain["known"][0]["sourcerecordedtime"] == day(1).replace("Z", ".000000Z")


async def test_a_context_says_of_its_decision_what_the_decision_itself_says(database: Database) -> None:
    async with asking(database) as client:
        superseded = event("decision.superseded", decision="D", superseded_by="E", reason="so", by=BY)
        await on(client, 0, raised(), proposed("D", "R"))
        await on(client, 1, made("D", "R"), made("E", "R"))
        await on(client, 2, superseded)
        for position, state in enumerate(("proposed", "made", "made", "superseded"), 2):
            [of_list] = [
                each["state"]
                for each in (await client.answer("decisions", as_of=position, at_least=position))["decisions"]
                if each["decision"] == "D"
            ]
            one = await client.answer("decisions/D", as_of=position)
            context = await context_of(client, as_of=position)
            assert (of_list, one["state"], context["state"]) == (state, state, state)
        # What its deciders knew is the same, whatever became of it.
        before, after = await context_of(client, as_of=4), await context_of(client, as_of=5)
        assert (before["known"], before["cut"]) == (after["known"], after["cut"])
        assert (await context_of(client, "E"))["state"] == "made"


async def test_a_proposed_decision_has_what_is_known_now(database: Database) -> None:
    async with asking(database) as client:
        await on(client, 0, raised(), asked("acme", "k-1"), proposed("D", "R"), asked("bank", "k-2"))
        context = await context_of(client)
        assert (context["state"], context["basis"], context["time"]) == ("proposed", "recorded", None)
        assert context["cut"] == context["as_of"] == {"position": 4, "recordedtime": day(0).replace("Z", ".000000Z")}
        assert positions(context) == {
            "known": [1, 2, 3, 4], "true_then_not_yet_known": [], "happened_later": [],
        }  # fmt: skip
        await on(client, 1, made("D", "R", seen=2))
        assert positions(await context_of(client))["true_then_not_yet_known"] == [3, 4]
        assert (await context_of(client, as_of=4)) == context
        for parameters in ({"as_of": 2}, {}):
            name = "D" if parameters else "E"
            reply = await client.get(f"decisions/{name}/context", **parameters)
            assert (reply.status, reply.json["type"]) == (404, "/problems/not-found")
            assert name in reply.json["detail"]
        assert (await client.get("decisions/D/context", as_of=99)).status == 404
        assert (await client.get("decisions/D/context", limit=3)).status == 400


async def test_all_that_is_said_about_what_it_rests_on_belongs_to_it_and_nothing_else(database: Database) -> None:
    by = {"reason": "so", "by": BY}
    async with asking(database) as client:
        await on(client, 0, raised(), raised("S"), raised("other"))
        belongs = [1]
        belongs += await on(
            client, 1,
            *agreed(),
            asked("zen:1", "k-1", opportunity="O-9", feedback="F-1"),
            asked("acme", "k-2", requirement="S"),
            event("ask.moved", requirement="S", ask="k-2", to="R", **by),
            event("ask.withdrawn", requirement="S", ask="k-2"),
            asked("dune", "k-3", requirement="part"),
            event("requirement.merged", requirement="part", into="R", **by),
            event("requirement.reworded", requirement="R", title="New words", **by),
            event("requirement.assessed", requirement="R", feasibility="costly", by=BY),
            event("perspective.stated", requirement="R", team="sales", statement="We need it.", by=BY),
            event("delivery.updated", requirement="R", state="beta", target="2026-09-01"),
            event("promise.made", promise="P", account="acme", requirement="R", due="2026-08-01", by=BY),
            event("promise.closed", promise="P", outcome="kept", by=BY),
            event("account.identified", account="acme", same_as=[{"system": "zen", "id": "1"}]),
            event("account.merged", account="kelp", into="acme", **by),
            profiled("kelp", industry="food"),
            sold("O-1", "kelp", "open"),
            sold("O-2", "stranger", "open", requirements=["R"]),
            sold("O-9", "stranger", "open"),
            event("feedback.received", feedback="F-1", text="It is slow", account="stranger"),
            proposed("E", "R"), made("E", "part"), proposed("D", "R"), made("F", "other"),
        )  # fmt: skip
        belongs.remove(client.head)  # The decision on something else.
        await on(
            client, 2,
            asked("dune", "k-4", requirement="S"), profiled("stranger", industry="food"), raised("S"),
            event("account.profiled", account="acme", name="Acme", attributes={"colour": "red"}),
            event("agreement.revised", agreement="qualified-lead", revision="q", title="Leads", stage="exploratory",
                  bullets=[], threshold=0, signatories=[], **by),
            event("promise.made", promise="Q", account="acme", requirement="S", by=BY),
            sold("O-3", "stranger", "open", requirements=["S"]),
            event("feedback.received", feedback="F-2", text="It is slow", account="acme"),
            event("person.introduced", person="p-1", name="Ada"),
        )  # fmt: skip
        await on(client, 3, made("D", "R"))
        since = await on(
            client, 4,
            event("decision.acknowledged", decision="D", team="sales", by=BY),
            event("decision.reaffirmed", decision="E", **by),
            event("decision.superseded", decision="F", superseded_by="D", **by),
            event("decision.superseded", decision="D", superseded_by="E", **by),
        )  # fmt: skip
        context = await context_of(client)
        assert positions(context) == {"known": belongs, "true_then_not_yet_known": [], "happened_later": since}
        by_type: dict[str, Any] = {}
        for each in context["known"]:
            by_type.setdefault(each["type"].removeprefix("ledger.").removesuffix(".v1"), []).append(each)
        assert [(each["account"], each.get("named")) for each in by_type["ask.recorded"]] == [
            ("acme", "zen:1"), ("acme", None), ("dune", None),
        ]  # fmt: skip
        [fact] = by_type["account.profiled"]
        assert (fact["account"], fact["named"], fact["summary"]) == ("acme", "kelp", "kelp: industry is food")
        assert by_type["requirement.assessed"][0]["feasibility"] == "costly"
        assert by_type["delivery.updated"][0]["target"] == "2026-09-01"
        assert [each["outcome"] for each in (*by_type["promise.closed"], *by_type["decision.made"])] == [
            "kept", "commit",
        ]  # fmt: skip
        # What was told apart later was known together; what was known apart is told together.
        await on(client, 5, event("account.unmerged", account="kelp", **by), *agreed("r2", bullets=[]))
        again = await context_of(client)
        assert positions(again)["known"] == belongs
        assert [each["account"] for each in again["known"] if "attribute" in each] == ["kelp"]


async def test_an_answer_for_a_past_position_never_changes(database: Database) -> None:
    async with asking(database) as client:
        await on(client, 0, raised(), *agreed(), asked("zen:1", "k-1"), profiled("acme", industry="banking"))
        await on(client, 1, made("D", "R"), profiled("acme", 0.5, industry="retail"))
        at = client.head
        before = await client.get("decisions/D/context", at_least=at)
        await on(client, 2, retracted(5, "account/acme"), retracted(4, "requirement/R"))
        await on(client, 3, event("account.identified", account="acme", same_as=[{"system": "zen", "id": "1"}]))
        await on(client, 4, event("decision.superseded", decision="D", superseded_by="E", reason="so", by=BY))
        now = await client.get("decisions/D/context", at_least=client.head)
        assert now.json["known"] != before.json["known"]
        for as_of in (at, day(1)):
            again = await client.get("decisions/D/context", as_of=as_of)
            assert (again.status, again.body, again.headers["ETag"]) == (200, before.body, before.headers["ETag"])


async def test_long_lists_have_pages_from_the_last_items_backwards(database: Database) -> None:
    count = CONTEXT_ITEMS_MAX + 20
    async with asking(database) as client:
        await on(client, 1, *(asked("acme", f"k-{number}", number / count) for number in range(count)))
        await on(client, 2, made("D", "R"), asked("acme", "one-more"))
        first = await client.get("decisions/D/context", at_least=client.head)
        assert first.json["totals"] == {"known": count, "true_then_not_yet_known": 1, "happened_later": 0}
        assert positions(first.json)["known"] == [*range(21, count + 1)]
        await on(client, 3, asked("acme", "later"))
        link = first.headers["Link"].removeprefix("<").partition(">")[0]
        second = await client.get(link)
        assert (second.json["as_of"], second.json["totals"]) == (first.json["as_of"], first.json["totals"])
        assert positions(second.json) == {
            "known": [*range(1, 21)], "true_then_not_yet_known": [], "happened_later": [],
        }  # fmt: skip
        assert "Link" not in second.headers


async def test_a_team_that_says_the_same_again_is_silent_however_its_name_is_written(database: Database) -> None:
    async with asking(database) as client:
        await on(client, 1, event("requirement.raised", requirement="R", title="Single sign-on"))
        for number, team in enumerate(("STRASSE", "Straße", " straße"), 2):
            by = {"role": "lead engineer", "team": team}
            await on(
                client, number,
                event("requirement.assessed", requirement="R", feasibility="costly", by=by),
                event("perspective.stated", requirement="R", team=team, statement="We need it.", by=by),
            )  # fmt: skip
        await on(client, 6, made("D", "R"))
        known = (await context_of(client))["known"]
        assert [(each["team"], each["position"]) for each in known if "team" in each] == [
            ("STRASSE", 2),
            ("STRASSE", 3),
        ]
