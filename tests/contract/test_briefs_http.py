"""The briefs of a decision and of a requirement, over HTTP: as JSON, as a decision record, as a page for sales."""

from datetime import UTC, datetime
from typing import Any

import pytest

from services.postgres import connect
from tests.asking import Asking, Reply, asking
from tests.conftest import Database
from tests.log import event
from tests.madr import facts, read_document, read_record

PERSON = "somebody-in-particular"
PRODUCT = {"role": "VP product", "team": "product", "person": PERSON}
ENGINEER = {"role": "head of engineering", "team": "engineering", "person": PERSON}
SELLER = {"role": "account executive", "team": "sales", "person": PERSON}
MARKDOWN = {"Accept": "text/markdown"}
NOT_DECIDED = "Not decided yet; nothing may be promised."


def raised(requirement: str, title: str) -> Any:
    return event("requirement.raised", requirement=requirement, title=title, by=PRODUCT)


def proposed(decision: str, *requirements: str, **more: Any) -> Any:
    given = {"question": "Do we build it?", "options": [], "by": PRODUCT}
    return event("decision.proposed", decision=decision, requirements=[*requirements], **given | more)


def made(decision: str, *requirements: str, **more: Any) -> Any:
    given = {"outcome": "commit", "rationale": "Because.", "instruction": f"Do {decision}.", "deciders": [PRODUCT]}
    return event("decision.made", decision=decision, requirements=[*requirements], **given | more)


def superseded(decision: str, by: str) -> Any:
    return event("decision.superseded", decision=decision, superseded_by=by, reason="Times change.", by=PRODUCT)


def assessed(requirement: str, plain: str | None, by: Any = ENGINEER, **more: Any) -> Any:
    said = {"feasibility": "costly"} | ({} if plain is None else {"plain": plain})
    return event("requirement.assessed", requirement=requirement, by=by, **said | more)


def stated(requirement: str, team: str, statement: str, **more: Any) -> Any:
    return event("perspective.stated", requirement=requirement, team=team, statement=statement, by=SELLER, **more)


TARGET_MARKET = [
    event(
        "agreement.revised",
        agreement="target-market",
        revision="h1",
        title="Banks",
        stage="focused",
        threshold=60,
        bullets=[
            {"bullet": "bank", "text": "Banks", "test": {"op": "eq", "attribute": "industry", "value": "banking"}},
            {"bullet": "big", "text": "Fifty people", "test": {"op": "gte", "attribute": "employees", "value": 50}},
        ],
        signatories=["product"],
        reason="First.",
        by=PRODUCT,
    ),
    event("agreement.adopted", agreement="target-market", revision="h1", effective="2026-01-01", by=PRODUCT),
]

FULL = [
    *TARGET_MARKET,
    event("account.profiled", account="acme", name="Acme Bank", attributes={"industry": "banking", "employees": 100}),
    event("account.profiled", account="zeta", attributes={"industry": "retail"}),
    raised("SSO", "Single sign-on"),
    event("opportunity.updated", opportunity="O", account="acme", stage="open", amount="1000", currency="EUR",
          requirements=["SSO"]),
    event("ask.recorded", requirement="SSO", account="acme", ask="k-1", importance=3, contact=PERSON),
    event("ask.recorded", requirement="SSO", account="zeta", ask="k-2"),
    assessed("SSO", "It takes a quarter.", effort={"low": 4, "high": 8, "unit": "weeks"}, risks=["two teams"]),
    stated("SSO", "sales", "Two renewals hang on it."),
    stated("SSO", "engineering", "One library, one year of care."),
    proposed(
        "D-7", "SSO", question="Do we build single sign-on?", drivers=["two renewals"], decide_by="2026-12-31",
        options=[
            {"option": "build", "summary": "Build it", "arguments": [
                {"verdict": "bad", "text": "late", "team": "product"}, {"verdict": "good", "text": "safe"},
                {"verdict": "neutral", "text": "known"}]},
            {"option": "buy", "summary": "Buy it"},
        ],
    ),
    made(
        "D-7", "SSO", option="build", rationale="Whom we serve needs it.", instruction="Ship it by August.",
        tell_customer="It comes in August.", available={"from": "2027-08-31", "confidence": "high"},
        deciders=[PRODUCT, ENGINEER], consulted=[SELLER], informed=["marketing", "support"],
        dissent=[{"team": "engineering", "statement": "Too early."}], revisit="2027-10-30",
    ),
    event("delivery.updated", requirement="SSO", state="planned", target="2027-08-31"),
    event("promise.made", promise="P-1", account="acme", requirement="SSO", due="2027-09-01", by=SELLER),
]  # fmt: skip


async def brief(client: Asking, path: str, voice: str, **more: Any) -> Any:
    return await client.answer(f"{path}/brief", voice=voice, **more)


async def document(client: Asking, path: str, voice: str, **more: Any) -> Reply:
    wanted = more if "as_of" in more else {"at_least": client.head, **more}
    reply = await client.get(f"{path}/brief", voice=voice, headers=MARKDOWN, **wanted)
    assert reply.status == 200, reply.body
    assert reply.headers["Content-Type"] == "text/markdown; charset=utf-8"
    return reply


def sentences(brief: Any) -> list[str]:
    return [each["text"] for each in brief["statements"]]


async def test_engineering_gets_all_that_speaks_for_and_against(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*FULL)
        told = await brief(client, "decisions/D-7", "engineering")
        assert (told["voice"], told["decision"], told["state"], told["outcome"]) == (
            "engineering", "D-7", "made", "commit",
        )  # fmt: skip
        assert (told["question"], told["drivers"]) == ("Do we build single sign-on?", ["two renewals"])
        assert [each["option"] for each in told["options"]] == ["build", "buy"]
        assert (told["option"], told["rationale"], told["instruction"]) == (
            "build", "Whom we serve needs it.", "Ship it by August.",
        )  # fmt: skip
        assert told["requirements"][0] | {"delivery": None} == {
            "requirement": "SSO", "title": "Single sign-on", "into": None, "delivery": None,
        }  # fmt: skip
        assert (told["requirements"][0]["delivery"]["state"], told["available"]) == (
            "planned", {"from": "2027-08-31", "confidence": "high"},
        )  # fmt: skip
        assert (told["decide_by"], told["revisit"]) == ("2026-12-31", "2027-10-30")
        assert told["deciders"] == [
            {"role": "VP product", "team": "product"}, {"role": "head of engineering", "team": "engineering"},
        ]  # fmt: skip
        assert (told["consulted"], told["informed"]) == (
            [{"role": "account executive", "team": "sales"}], ["marketing", "support"],
        )  # fmt: skip
        assert told["dissent"] == [{"team": "engineering", "statement": "Too early."}]
        assert (told["agreement"], told["revision"], told["departs"]) == ("target-market", "h1", "no")

        evidence = told["evidence"]
        assert (evidence["total"], evidence["accounts"]["on_target"], evidence["accounts"]["off_target"]) == (2, 1, 1)
        assert evidence["at_stake"]["strategic"] == [{"currency": "EUR", "contracted": "0.00", "pipeline": "1000.00"}]
        acme, zeta = evidence["fits"]
        assert (acme["account"], acme["name"], acme["class"], acme["met"]) == (
            "acme", "Acme Bank", "on_target", ["bank", "big"],
        )  # fmt: skip
        assert (zeta["class"], zeta["missed"], zeta["unknown"]) == ("off_target", ["bank"], ["big"])
        assert [each["bullet"] for each in evidence["revisions"]["target-market@h1"]["bullets"]] == ["bank", "big"]

        [assessment] = told["assessments"]
        assert (assessment["feasibility"], assessment["effort"]["high"], assessment["known"]) == ("costly", 8, True)
        # In the order of teams' names, whoever spoke first.
        assert [each["team"] for each in told["perspectives"]] == ["engineering", "sales"]
        assert told["promises"] == {"open": 1, "due": "2027-09-01", "accounts": ["acme"]}


async def test_the_decision_record_is_one_that_readers_accept(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*FULL)
        reply = await document(client, "decisions/D-7", "engineering")
        assert reply.headers["Content-Disposition"] == 'inline; filename="0007-d-7.md"'
        record = read_record(reply.body.decode())
        assert {**record.metadata, "date": None} == {
            "status": "accepted",
            "date": None,
            "decision-makers": "VP product (product), head of engineering (engineering)",
            "consulted": "account executive (sales)",
            "informed": "marketing, support",
        }
        assert record.title == "Single sign-on: accepted (D-7)"
        assert record.section("Context and Problem Statement").paragraphs[0] == "Do we build single sign-on?"
        assert record.section("Decision Drivers").items == ["two renewals"]
        assert record.section("Considered Options").items == ["Build it", "Buy it"]
        assert record.section("Decision Outcome").paragraphs == [
            'Chosen option: "Build it", because “Whom we serve needs it.”'
        ]
        build, buy = record.under("Pros and Cons of the Options")
        assert build.items == ["Good, because “safe”", "Neutral, because “known”", "Bad, because “late” (product)"]
        assert (build.title, buy.title, buy.items) == ("Build it", "Buy it", [])
        consequences, confirmation = record.under("Decision Outcome")
        assert "Dissent of engineering: Too early." in consequences.items
        assert confirmation.items[0].startswith("SSO: planned, target 2027-08-31")
        more = {each.title: each for each in record.under("More Information")}
        assert {*more} == {"Evidence", "Assessments", "Perspectives", "Events"}
        assert more["Evidence"].items == [
            "Acme Bank (acme), importance 3 for SSO: on target, fit 1.0; met: bank, big",
            "zeta, importance 1 for SSO: off target, fit 0.0; missed: bank; unknown: big",
            "strategic: 0.00 EUR contracted, 1000.00 EUR in the pipeline",
        ]


async def test_sales_gets_one_instruction_and_no_debate(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*FULL)
        told = await brief(client, "decisions/D-7", "sales")
        assert (told["voice"], told["instruction"], told["tell_customer"]) == (
            "sales", "Ship it by August.", "It comes in August.",
        )  # fmt: skip
        assert told["stands_behind"] == [
            {"role": "VP product", "team": "product"}, {"role": "head of engineering", "team": "engineering"},
        ]  # fmt: skip
        day = told["since"][:10]
        assert sentences(told) == [
            f"Decided on {day}: it will be done.",
            "What everyone does now: Ship it by August.",
            "Customers may be told: It comes in August.",
            "Available from 2027-08-31; how sure: high.",
            "It is to be looked at again on 2027-10-30.",
            "Who stands behind it: VP product (product), head of engineering (engineering).",
            f"Single sign-on (SSO): planned, target 2027-08-31 (said on {day}).",
            "Single sign-on (SSO), engineering: it can be built as asked, and that costs much"
            f" (said on {day}). It takes a quarter.",
            "One promise of it is open: to Acme Bank (acme), due on 2027-09-01.",
        ]
        assert not told.keys() & {"options", "question", "drivers", "rationale", "dissent", "perspectives", "evidence"}
        reply = await document(client, "decisions/D-7", "sales")
        assert reply.headers["Content-Disposition"] == 'inline; filename="d-7-sales.md"'
        title, sections = read_document(reply.body.decode())
        assert title == "Single sign-on: what may be said now"
        assert sections[0].items == sentences(told)
        assert not any(word in reply.body for word in (b"Too early", b"Whom we serve", b"late", b"Buy it"))


async def test_both_voices_name_the_same_events(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*FULL)
        engineering = await brief(client, "decisions/D-7", "engineering")
        sales = await brief(client, "decisions/D-7", "sales")
        assert engineering["events"] == sales["events"]
        at = {each["position"]: each for each in sales["events"]}
        superuser = await connect(database.superuser)
        try:
            for position, topic, subject in await superuser.fetch(
                "SELECT notification_id, topic, subject FROM ledger_main.stored_events WHERE notification_id = ANY($1)",
                [*at],
            ):
                assert (at[position]["type"], at[position]["subject"]) == (topic, subject)
        finally:
            await superuser.close()
        types = [each["type"].removeprefix("ledger.").removesuffix(".v1") for each in sales["events"]]
        assert types == [
            *("agreement.adopted", "requirement.raised", "ask.recorded", "ask.recorded", "requirement.assessed"),
            *("perspective.stated", "perspective.stated", "decision.proposed", "decision.made", "delivery.updated"),
            "promise.made",
        ]


async def test_no_person_is_in_a_brief(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*FULL, superseded("D-7", "D-8"), made("D-8", "SSO", deciders=[SELLER]))
        for path, voice in (
            ("decisions/D-7", "engineering"),
            ("decisions/D-7", "sales"),
            ("requirements/SSO", "sales"),
        ):
            for accept in ("application/json", "text/markdown"):
                reply = await client.get(
                    f"{path}/brief", key="personal", voice=voice, at_least=client.head, headers={"Accept": accept}
                )
                assert reply.status == 200
                assert PERSON.encode() not in reply.body


async def test_before_a_decision_the_evidence_is_that_of_now(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*(each for each in FULL if each["type"] != "ledger.decision.made.v1"))
        evidence = (await brief(client, "decisions/D-7", "engineering"))["evidence"]
        assert (evidence["lens"], evidence["total"], evidence["at_stake"]) == ("now", 2, None)
        assert [(each["account"], each["name"], each["class"]) for each in evidence["fits"]] == [
            ("acme", "Acme Bank", "on_target"), ("zeta", None, "off_target"),
        ]  # fmt: skip
        record = read_record((await document(client, "decisions/D-7", "engineering")).body.decode())
        [told] = [each for each in record.under("More Information") if each.title == "Evidence"]
        assert told.paragraphs == ["Accounts that asked, as they are now: 2 (1 on target, 1 off target)."]
        await client.record(event("account.profiled", account="zeta", attributes={"industry": "banking"}))
        evidence = (await brief(client, "decisions/D-7", "engineering"))["evidence"]
        assert evidence["accounts"]["undetermined"] == 1
        await client.record(made("D-7", "SSO"))
        evidence = (await brief(client, "decisions/D-7", "engineering"))["evidence"]
        assert (evidence["lens"], evidence["accounts"]["undetermined"]) == ("decided", 1)


async def test_before_a_decision_it_is_said_what_may_be_said(database: Database) -> None:
    async with asking(database) as client:
        await client.record(event("ask.recorded", requirement="SSO", account="acme"))
        told = await brief(client, "requirements/SSO", "sales")
        assert (told["requirement"], told["title"], told["status"], told["state"]) == ("SSO", None, "open", "open")
        assert (told["decision"], told["outcome"], told["since"], told["events"]) == (None, None, None, [])
        assert sentences(told) == [NOT_DECIDED]

        await client.record(
            raised("SSO", "Single sign-on"),
            assessed("SSO", "Easy.", feasibility="feasible", time="2026-02-28T00:00:00Z"),
            assessed("SSO", "It takes a quarter.", feasibility="infeasible", time="2026-03-01T00:00:00Z"),
            assessed("SSO", "It takes a year.", {"role": "architect", "team": "platform"}, time="2026-02-01T00:00:00Z"),
            assessed("SSO", "Nobody knows.", {"role": "tester", "team": "quality"}, time="2026-03-31T00:00:00Z"),
            assessed(
                "SSO", None, {"role": "tester", "team": "Quality"}, feasibility="unknown", time="2026-04-01T00:00:00Z"
            ),
            event("delivery.updated", requirement="SSO", state="in_progress", time="2026-04-02T00:00:00Z"),
        )
        told = await brief(client, "requirements/SSO", "sales")
        # Of each team the last word, in the order of teams' names.
        assert [(each["team"], each["feasibility"], each["plain"]) for each in told["plain_words"]] == [
            ("engineering", "infeasible", "It takes a quarter."),
            ("platform", "costly", "It takes a year."),
            ("Quality", "unknown", None),
        ]
        assert sentences(told) == [
            NOT_DECIDED,
            "Single sign-on (SSO): in progress (said on 2026-04-02).",
            "Single sign-on (SSO), engineering: it cannot be built as asked (said on 2026-03-01). It takes a quarter.",
            "Single sign-on (SSO), platform: it can be built as asked, and that costs much (said on 2026-02-01)."
            " It takes a year.",
            "Single sign-on (SSO), Quality: whether it can be built as asked is not known (said on 2026-04-01).",
        ]
        assert {each["position"] for each in told["events"] if "plain_words" in each["tells"]} == {4, 5, 7}

        await client.record(proposed("D-1", "SSO", decide_by="2999-12-31"))
        told = await brief(client, "requirements/SSO", "sales")
        assert (told["decision"], told["state"], told["status"]) == ("D-1", "proposed", "open")
        assert (told["decide_by"], told["pending"]) == ("2999-12-31", [])
        assert sentences(told)[:2] == [NOT_DECIDED, "It is to be decided by 2999-12-31."]
        of_decision = await brief(client, "decisions/D-1", "sales")
        assert of_decision.items() <= told.items()
        engineering = await brief(client, "decisions/D-1", "engineering")
        assert (engineering["outcome"], engineering["rationale"], engineering["deciders"]) == (None, None, [])
        record = read_record((await document(client, "decisions/D-1", "engineering")).body.decode())
        assert record.metadata["status"] == "proposed"
        assert record.section("Decision Outcome").paragraphs == [
            "Nothing is decided yet. It is to be decided by 2999-12-31."
        ]


@pytest.mark.parametrize(
    ("outcome", "sentence", "nothing"),
    [
        ("commit", "it will be done", "No date is on record; none may be promised."),
        ("decline", "it will not be done", "Nothing may be promised."),
        ("defer", "it was put off", "Nothing may be promised."),
        ("explore", "it is being explored; whether it will be done is open", "Nothing may be promised."),
    ],
)
async def test_each_outcome_is_said_in_plain_words(
    database: Database, outcome: str, sentence: str, nothing: str
) -> None:
    async with asking(database) as client:
        await client.record(raised("R", "It"), made("D-1", "R", outcome=outcome))
        told = await brief(client, "decisions/D-1", "sales")
        said = sentences(told)
        assert said[0] == f"Decided on {told['since'][:10]}: {sentence}."
        assert "No words for customers are on record; ask those who stand behind it." in said
        assert nothing in said
        record = read_record((await document(client, "decisions/D-1", "engineering")).body.decode())
        assert record.section("Considered Options").items == [outcome.title()]


async def test_a_decision_that_gave_way_says_which_holds(database: Database) -> None:
    async with asking(database) as client:
        await client.record(raised("R", "It"), made("D-1", "R"), made("D-2", "R", outcome="decline"))
        await client.record(superseded("D-1", "D-2"))
        await client.record(made("D-3", "R", outcome="defer"), superseded("D-2", "D-3"))
        told = await brief(client, "decisions/D-1", "sales")
        assert (told["state"], told["outcome"], told["instruction"]) == ("superseded", "commit", None)
        assert (told["superseded_by"]["decision"], told["superseded_by"]["position"]) == ("D-2", 4)
        [holds] = told["holds"]
        assert (holds["decision"], holds["requirements"], holds["outcome"], holds["instruction"]) == (
            "D-3", ["R"], "defer", "Do D-3.",
        )  # fmt: skip
        assert (told["holds_on"], told["undecided_on"]) == ([], [])
        day = holds["time"][:10]
        assert sentences(told)[:3] == [
            f"D-1 holds no more since {day} (superseded by D-2, and that by D-3).",
            f"On R D-3 holds, decided on {day}: it was put off.",
            "What everyone does now: Do D-3.",
        ]
        engineering = await brief(client, "decisions/D-1", "engineering")
        assert (engineering["state"], engineering["instruction"], engineering["instruction_then"]) == (
            "superseded", None, "Do D-1.",
        )  # fmt: skip
        assert engineering["holds"] == told["holds"]
        record = read_record((await document(client, "decisions/D-1", "engineering")).body.decode())
        assert record.metadata["status"] == "superseded by D-2"
        assert record.under("Decision Outcome")[0].items[1:] == [
            "What everyone was to do: Do D-1.",
            f"On R D-3 holds, decided on {day}: it was put off. What everyone does there now: Do D-3.",
        ]
        assert (await brief(client, "decisions/D-3", "engineering"))["supersedes"][0]["decision"] == "D-2"
        of_requirement = await brief(client, "requirements/R", "sales")
        assert (of_requirement["decision"], of_requirement["status"]) == ("D-3", "deferred")
        # Before it gave way, it held.
        assert (await brief(client, "decisions/D-1", "sales", as_of=3))["state"] == "made"


async def test_what_holds_on_a_requirement_is_what_the_requirement_says(database: Database) -> None:
    async with asking(database) as client:
        await client.record(raised("R", "It"), raised("S", "Else"), made("D-1", "R"), made("D-9", "S"))
        await client.record(superseded("D-1", "D-9"))
        told = await brief(client, "requirements/R", "sales")
        assert (told["decision"], told["status"], sentences(told)) == (
            None,
            "open",
            [
                "Decided before, and holds no more: D-1 was superseded by D-9, which is about S."
                " Nothing may be promised."
            ],
        )
        assert (await client.answer("requirements/R"))["status"] == "open"
        assert [each["type"] for each in told["events"]] == [
            "ledger.requirement.raised.v1", "ledger.decision.made.v1", "ledger.decision.made.v1",
            "ledger.decision.superseded.v1",
        ]  # fmt: skip
        assert told["statements"][0]["events"] == [3, 4, 5]
        await client.record(proposed("D-2", "R"), made("D-3", "R", outcome="explore"))
        told = await brief(client, "requirements/R", "sales")
        assert (told["decision"], told["status"]) == ("D-3", "exploring")
        assert told["pending"] == [{"decision": "D-2", "decide_by": None, "position": 6}]
        assert sentences(told)[-1] == "Another decision on it is being prepared (D-2)."


async def test_a_decision_that_gave_way_to_something_else_promises_nothing(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            raised("R-1", "It"), raised("R-2", "Else"), raised("R-3", "More"),
            made("D-1", "R-1", "R-3", tell_customer="In May."), made("D-2", "R-2"), superseded("D-1", "D-2"),
        )  # fmt: skip
        told = await brief(client, "decisions/D-1", "sales")
        day = told["since"][:10]
        assert sentences(told) == [
            f"D-1 holds no more since {day} (superseded by D-2, which is about R-2)."
            " On R-1, R-3 nothing is decided: nothing may be promised."
        ]
        assert (told["holds"], told["holds_on"], told["undecided_on"]) == ([], [], ["R-1", "R-3"])
        assert (told["instruction"], told["tell_customer"], told["stands_behind"]) == (None, None, [])
        engineering = await brief(client, "decisions/D-1", "engineering")
        assert (engineering["instruction"], engineering["tell_customer"]) == (None, None)
        assert (engineering["instruction_then"], engineering["tell_customer_then"]) == ("Do D-1.", "In May.")
        record = read_record((await document(client, "decisions/D-1", "engineering")).body.decode())
        assert record.under("Decision Outcome")[0].items[1:] == [
            "What everyone was to do: Do D-1.",
            "Customers were to be told: In May.",
            "On R-1, R-3 nothing is decided: nothing may be promised.",
        ]
        # On one of its requirements something is decided again, and the other stays as it is.
        await client.record(made("D-3", "R-3", outcome="decline"))
        told = await brief(client, "decisions/D-1", "sales")
        assert sentences(told)[:3] == [
            f"D-1 holds no more since {day} (superseded by D-2, which is about R-2)."
            " On R-1 nothing is decided: nothing may be promised.",
            f"On R-3 D-3 holds, decided on {day}: it will not be done.",
            "On R-3: What everyone does now: Do D-3.",
        ]
        assert {each["position"] for each in told["events"]} >= {4, 5, 6, 7}


async def test_a_decision_that_another_has_overtaken_says_which_holds(database: Database) -> None:
    async with asking(database) as client:
        await client.record(raised("R-1", "It"), raised("R-2", "Else"), made("D-1", "R-1", "R-2"))
        await client.record(made("D-2", "R-2", outcome="explore"))
        told = await brief(client, "decisions/D-1", "sales")
        day = told["since"][:10]
        assert (told["holds_on"], [each["decision"] for each in told["holds"]]) == (["R-1"], ["D-2"])
        assert told["instruction"] == "Do D-1."
        assert sentences(told)[0] == f"Decided on {day}, and holds on R-1: it will be done."
        assert (
            f"On R-2 D-2 holds, decided on {day}: it is being explored; whether it will be done is open."
            in sentences(told)
        )
        # What the other says is not said of this requirement.
        assert not [each for each in sentences(await brief(client, "requirements/R-1", "sales")) if "D-2" in each]
        await client.record(made("D-3", "R-1", outcome="decline"))
        told = await brief(client, "decisions/D-1", "sales")
        assert (told["state"], told["holds_on"], told["instruction"]) == ("made", [], None)
        assert sentences(told)[:2] == [
            "D-1 holds no more.",
            f"On R-1 D-3 holds, decided on {day}: it will not be done.",
        ]
        assert not any("will be done." in each for each in sentences(told))
        record = read_record((await document(client, "decisions/D-1", "engineering")).body.decode())
        assert "What everyone was to do: Do D-1." in record.under("Decision Outcome")[0].items


async def test_while_a_decision_is_proposed_what_holds_is_said(database: Database) -> None:
    async with asking(database) as client:
        await client.record(raised("R", "It"), raised("S", "Else"), made("D-1", "R"), proposed("D-2", "R", "S"))
        told = await brief(client, "decisions/D-2", "sales")
        assert sentences(told)[:3] == [
            "D-2 is not decided yet. On S nothing is decided: nothing may be promised.",
            f"On R D-1 holds, decided on {told['holds'][0]['time'][:10]}: it will be done.",
            "On R: What everyone does now: Do D-1.",
        ]
        # Of the requirement on which nothing holds, nothing may be promised.
        assert sentences(await brief(client, "requirements/S", "sales"))[0] == NOT_DECIDED


async def test_a_side_speaks_of_the_decision_and_in_general(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            raised("R", "It"),
            made("D-1", "R"),
            stated("R", "sales", "Of it.", decision="D-1"),
            stated("R", "sales", "Of it, again.", decision="D-1"),
            stated("R", "sales", "In general."),
        )
        told = await brief(client, "decisions/D-1", "engineering")
        assert [(each["decision"], each["statement"]) for each in told["perspectives"]] == [
            (None, "In general."), ("D-1", "Of it, again."),
        ]  # fmt: skip


async def test_what_has_changed_since_is_said_and_named(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*FULL)
        await client.record(event("account.profiled", account="acme", attributes={"industry": "retail"}))
        changed = client.head
        engineering = await brief(client, "decisions/D-7", "engineering")
        sales = await brief(client, "decisions/D-7", "sales")
        assert engineering["needs_review"] is sales["needs_review"] is True
        assert [each["position"] for each in engineering["marks"]] == [changed]
        [said] = [each for each in sales["statements"] if each["events"] == [changed]]
        assert said["text"].startswith("What it rests on has changed since, and it is to be looked at again.")
        assert sales["events"][-1] == {
            "position": changed, "type": "ledger.account.profiled.v1", "subject": "account/acme",
            "tells": ["needs_review", "marks"],
        }  # fmt: skip
        record = read_record((await document(client, "decisions/D-7", "engineering")).body.decode())
        assert any("needs review" in each for each in record.under("Decision Outcome")[1].items)

        await client.record(event("decision.reaffirmed", decision="D-7", reason="Still right.", by=PRODUCT))
        sales = await brief(client, "decisions/D-7", "sales")
        assert sales["reaffirmed_on"] is not None
        day = sales["reaffirmed_on"][:10]
        assert f"It was looked at again on {day}, and stands." in sentences(sales)


async def test_what_was_said_after_a_decision_is_told_apart(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            raised("R", "It"),
            stated("R", "sales", "Before."),
            stated("R", "Sales", "Of another decision.", decision="D-2"),
            made("D-1", "R"),
            stated("R", "SALES", "After.", decision="D-1"),
            assessed("R", "Late."),
        )
        told = await brief(client, "decisions/D-1", "engineering")
        assert [(each["team"], each["statement"], each["known"]) for each in told["perspectives"]] == [
            ("sales", "Before.", True), ("SALES", "After.", False),
        ]  # fmt: skip
        assert [(each["plain"], each["known"]) for each in told["assessments"]] == [("Late.", False)]
        record = read_record((await document(client, "decisions/D-1", "engineering")).body.decode())
        [perspectives] = [each for each in record.under("More Information") if each.title == "Perspectives"]
        assert perspectives.items == [
            "sales on R: Before. (position 2, on record for the deciders)",
            "SALES on R, of D-1: After. (position 5, not on record for the deciders)",
        ]


async def test_a_merged_requirement_has_the_brief_of_what_it_counts_as(database: Database) -> None:
    async with asking(database) as client:
        await client.record(raised("R", "It"), raised("Q", "The same"), made("D-1", "R"), assessed("Q", "Easy."))
        await client.record(event("requirement.merged", requirement="Q", into="R", reason="One.", by=PRODUCT))
        told = await brief(client, "requirements/Q", "sales")
        assert (told["requirement"], told["into"], told["title"], told["decision"]) == ("Q", "R", "It", "D-1")
        assert told["statements"][0] == {
            "text": "Q counts as R; what follows is about R.", "events": [client.head],
        }  # fmt: skip
        assert told["status"] == (await client.answer("requirements/R"))["status"] == "committed"
        engineering = await brief(client, "decisions/D-1", "engineering")
        assert [each["requirement"] for each in engineering["assessments"]] == ["Q"]
        before = await brief(client, "requirements/Q", "sales", as_of=4)
        day = before["plain_words"][0]["time"][:10]
        assert (before["into"], before["decision"], sentences(before)) == (
            None, None, [
                NOT_DECIDED,
                f"The same (Q), engineering: it can be built as asked, and that costs much (said on {day}). Easy.",
            ],
        )  # fmt: skip


async def test_what_was_retracted_is_told_no_more(database: Database) -> None:
    async with asking(database) as client:
        await client.record(raised("R", "It"), made("D-1", "R"))
        observed = await client.record(
            stated("R", "sales", "Wrong ledger."),
            assessed("R", "Wrong one."),
            event("delivery.updated", requirement="R", state="shipped"),
            event("promise.made", promise="P", account="acme", requirement="R", by=SELLER),
        )
        before = client.head
        for position in observed:
            subject = "promise/P" if position == observed[-1] else "requirement/R"
            await client.record(
                event("event.retracted", position=position, subject=subject, reason="By mistake.", by=PRODUCT)
            )
        told = await brief(client, "decisions/D-1", "engineering")
        assert (told["perspectives"], told["assessments"], told["promises"]["open"]) == ([], [], 0)
        assert told["requirements"][0]["delivery"] is None
        assert not {each["position"] for each in told["events"]} & {*observed}
        then = await brief(client, "decisions/D-1", "engineering", as_of=before)
        assert (len(then["perspectives"]), len(then["assessments"]), then["promises"]["open"]) == (1, 1, 1)


async def test_open_promises_are_counted_by_what_they_rest_on(database: Database) -> None:
    async with asking(database) as client:

        def promised(promise: str, requirement: str, **more: Any) -> Any:
            return event("promise.made", promise=promise, account="acme", requirement=requirement, by=SELLER, **more)

        await client.record(
            raised("R", "It"), raised("S", "Else"), made("D-1", "R"), made("D-2", "R"),
            promised("P-1", "R", due="2027-02-01"), promised("P-2", "R", decision="D-1", due="2027-01-01"),
            promised("P-3", "R", decision="D-2"), promised("P-4", "S"), promised("P-5", "R"), promised("P-6", "R"),
            promised("P-5", "S"), event("promise.closed", promise="P-6", outcome="kept", by=SELLER),
        )  # fmt: skip
        for path, count, due in (
            ("decisions/D-1", 2, "2027-01-01"), ("decisions/D-2", 2, "2027-02-01"), ("requirements/R", 3, "2027-01-01"),
        ):  # fmt: skip
            told = (await brief(client, path, "sales"))["promises"]
            assert told == {"open": count, "due": due, "accounts": ["acme"]}


async def test_open_promises_are_told_with_their_accounts_and_days(database: Database) -> None:
    async with asking(database) as client:

        def promised(number: int, account: str, **more: Any) -> Any:
            return event("promise.made", promise=f"P-{number}", account=account, requirement="R", by=SELLER, **more)

        await client.record(
            raised("R", "It"),
            event("account.identified", account="acme", same_as=[{"system": "crm", "id": "7"}]),
            event("account.profiled", account="acme", name="Acme Bank", attributes={}),
            promised(1, "zeta"), promised(2, "crm:7", due="2027-02-01"), promised(3, "beta", due="2027-01-01"),
        )  # fmt: skip
        told = await brief(client, "requirements/R", "sales")
        assert told["promises"] == {"open": 3, "due": "2027-01-01", "accounts": ["beta", "acme", "zeta"]}
        assert sentences(told)[-1] == (
            "3 promises of it are open: to beta, due on 2027-01-01; to Acme Bank (acme), due on 2027-02-01;"
            " to zeta, with no due day."
        )
        await client.record(*(promised(number, "beta", due="2027-03-01") for number in range(4, 8)))
        told = await brief(client, "requirements/R", "sales")
        assert sentences(told)[-1].startswith("7 promises of it are open: to beta, due on 2027-01-01; ")
        assert sentences(told)[-1].endswith("; to beta, due on 2027-03-01; and 2 more.")
        assert told["statements"][-1]["events"] == [6, 5, 7, 8, 9, 10, 4]


async def test_an_exception_is_told_as_one(database: Database) -> None:
    exception = "This is an exception from the target market: it is not an offer to other customers."
    available = {"from": "2026-11-30", "confidence": "medium"}
    async with asking(database) as client:
        await client.record(
            *(raised(each, "It") for each in ("R", "S", "T")),
            made("D-1", "R", grounds="exception", available=available),
            made("D-2", "S", grounds="exception", outcome="decline"),
            made("D-3", "T", available=available),
        )
        told = await brief(client, "decisions/D-1", "sales")
        assert told["grounds"] == "exception"
        said = sentences(told)
        assert said[said.index(exception) + 1] == "Available from 2026-11-30; how sure: medium."
        for other in ("D-2", "D-3"):
            assert exception not in sentences(await brief(client, f"decisions/{other}", "sales"))
        record = read_record((await document(client, "decisions/D-1", "engineering")).body.decode())
        assert exception in record.under("Decision Outcome")[0].items
        # The one that holds in the place of another is an exception as well.
        await client.record(made("D-4", "T", grounds="exception"), superseded("D-3", "D-4"))
        assert exception in sentences(await brief(client, "decisions/D-3", "sales"))


async def test_words_whose_day_to_be_looked_at_again_has_passed_are_told_with_their_age(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            raised("R", "It"), made("D-0", "R"), made("D-1", "R", tell_customer="In August.", revisit="2026-09-01"),
            superseded("D-0", "D-1"), recordedtime=datetime(2026, 6, 2, tzinfo=UTC),
        )  # fmt: skip
        fresh = await brief(client, "decisions/D-1", "sales")
        assert {"What everyone does now: Do D-1.", "Customers may be told: In August."} <= {*sentences(fresh)}
        assert "It is to be looked at again on 2026-09-01." in sentences(fresh)

        await client.record(raised("S", "Else"), recordedtime=datetime(2026, 10, 1, tzinfo=UTC))
        age = (
            "(said on 2026-06-02; it was to be looked at again on 2026-09-01, and that has not happened: ask before you"
        )
        stale = {
            f"What everyone does now {age} act on it): Do D-1.",
            f"Customers may be told {age} repeat it): In August.",
        }
        for path in ("decisions/D-1", "decisions/D-0", "requirements/R"):
            assert stale <= {*sentences(await brief(client, path, "sales"))}, path
        record = read_record((await document(client, "decisions/D-1", "engineering")).body.decode())
        again = "It was to be looked at again on 2026-09-01, and that has not happened"
        assert again in record.under("Decision Outcome")[1].items
        assert record.facts()["Overdue"] == "yes, it was to be looked at again on 2026-09-01"

        await client.record(
            event("decision.reaffirmed", decision="D-1", reason="Still right.", by=PRODUCT),
            recordedtime=datetime(2026, 10, 2, tzinfo=UTC),
        )
        for path in ("decisions/D-1", "decisions/D-0"):
            said = sentences(await brief(client, path, "sales"))
            assert {"What everyone does now: Do D-1.", "Customers may be told: In August."} <= {*said}, path
        assert "It was to be looked at again on 2026-09-01." in sentences(await brief(client, "decisions/D-1", "sales"))


@pytest.mark.parametrize(
    ("outcome", "then"),
    [
        ("commit", "Until then it holds; ask those who stand behind it before you promise more."),
        ("explore", "Until then it holds. Nothing may be promised."),
    ],
)
async def test_only_what_may_be_promised_is_asked_about(database: Database, outcome: str, then: str) -> None:
    async with asking(database) as client:
        await client.record(*(each for each in FULL if each["type"] != "ledger.decision.made.v1"))
        await client.record(made("D-8", "SSO", outcome=outcome))
        await client.record(event("account.profiled", account="acme", attributes={"industry": "retail"}))
        said = sentences(await brief(client, "decisions/D-8", "sales"))
        assert f"What it rests on has changed since, and it is to be looked at again. {then}" in said


async def test_evidence_says_what_became_of_an_ask(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*FULL)
        asked = 7
        await client.record(
            event("event.retracted", position=asked, subject="requirement/SSO", reason="Not theirs.", by=PRODUCT),
            event("ask.withdrawn", requirement="SSO", ask="k-2"),
        )
        told = await brief(client, "decisions/D-7", "engineering")
        assert [(each["account"], each["ended"]) for each in told["evidence"]["fits"]] == [
            ("acme", "retracted"), ("zeta", "withdrawn"),
        ]  # fmt: skip
        assert {each["ended"] for each in (await brief(client, "decisions/D-7", "engineering", as_of=client.head - 2))[
            "evidence"]["fits"]} == {None}  # fmt: skip
        record = read_record((await document(client, "decisions/D-7", "engineering")).body.decode())
        [evidence] = [each for each in record.under("More Information") if each.title == "Evidence"]
        assert [item.rpartition("; ")[2] for item in evidence.items[:2]] == ["retracted since", "withdrawn since"]


async def test_documents_have_days_and_no_moments(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*FULL)
        for voice in ("engineering", "sales"):
            text = (await document(client, "decisions/D-7", voice)).body.decode()
            assert "Decided on: 20" in text
            assert "Z\n" not in text


async def test_texts_of_events_stay_texts(database: Database) -> None:
    evil = "# No heading\n---\nstatus: x\n\n<script>x</script> [a](b) `c` **d**\r\n\r\n* e\x07\u2028f &amp; | g |"
    async with asking(database) as client:
        await client.record(
            raised("R", evil[:150]),
            stated("R", "sales", evil),
            assessed("R", evil),
            proposed("D-1", "R", question=evil, drivers=[evil], options=[
                {"option": "a", "summary": evil, "arguments": [{"verdict": "good", "text": evil}]}]),
            made("D-1", "R", option="a", rationale=evil, instruction=evil, tell_customer=evil,
                 dissent=[{"team": "sales", "statement": evil}], deciders=[{"role": '"x"\n---', "team": "a: b"}]),
        )  # fmt: skip
        record = read_record((await document(client, "decisions/D-1", "engineering")).body.decode())
        assert record.metadata["decision-makers"] == '"x" --- (a: b)'
        assert len(record.section("Considered Options").items) == 1
        read_document((await document(client, "decisions/D-1", "sales")).body.decode())


async def test_an_answer_is_what_the_client_would_rather_have(database: Database) -> None:
    async with asking(database) as client:
        await client.record(raised("R", "It"), made("D-1", "R"))
        path = "decisions/D-1/brief"
        for accept, media in (
            ("", "application/json"),
            ("*/*", "application/json"),
            ("text/html, */*;q=0.8", "application/json"),
            ("text/markdown", "text/markdown; charset=utf-8"),
            ("text/markdown;q=0.5, application/json;q=0.4", "text/markdown; charset=utf-8"),
            ("text/markdown;q=0.5, application/json", "application/json"),
        ):
            reply = await client.get(path, voice="sales", headers={"Accept": accept}, at_least=client.head)
            assert (reply.status, reply.headers["Content-Type"]) == (200, media), accept
            assert reply.headers["Vary"] == "Authorization, Accept"
            again = await client.get(
                path, voice="sales", headers={"Accept": accept, "If-None-Match": reply.headers["ETag"]}
            )
            assert (again.status, again.body) == (304, b"")
            assert again.headers["Vary"] == "Authorization, Accept"


async def test_an_answer_for_a_past_position_never_changes(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*FULL)
        asked = [("decisions/D-7", "engineering"), ("decisions/D-7", "sales"), ("requirements/SSO", "sales")]
        then = client.head

        async def bodies() -> list[bytes]:
            return [
                (await client.get(f"{path}/brief", voice=voice, as_of=then, headers={"Accept": accept})).body
                for path, voice in asked
                for accept in ("application/json", "text/markdown")
            ]

        before = await bodies()
        await client.record(
            made("D-8", "SSO", outcome="decline"), superseded("D-7", "D-8"), stated("SSO", "sales", "Now what?"),
            event("event.retracted", position=10, subject="requirement/SSO", reason="Mistake.", by=PRODUCT),
            event("account.profiled", account="acme", attributes={"industry": "retail"}),
            event("promise.closed", promise="P-1", outcome="kept", by=SELLER),
            event("requirement.merged", requirement="SSO", into="R", reason="One.", by=PRODUCT),
        )  # fmt: skip
        await client.answer("requirements/SSO")
        assert await bodies() == before


@pytest.mark.parametrize(
    ("path", "parameters", "status", "said"),
    [
        ("decisions/D-1", {}, 400, "`voice`: must be one of engineering, sales"),
        ("decisions/D-1", {"voice": "marketing"}, 400, "`voice`: must be one of engineering, sales"),
        ("decisions/D-1", {"voice": "sales", "q": "x"}, 400, "no parameter 'q'"),
        ("requirements/R", {"voice": "engineering"}, 400, "the briefs of its decisions, decisions/{id}/brief"),
        ("requirements/R", {}, 400, "`voice`: must be sales"),
        ("decisions/D-2", {"voice": "sales"}, 404, "there is no decision 'D-2' at position 2"),
        ("decisions/D-2", {"voice": "engineering"}, 404, "there is no decision 'D-2'"),
        ("requirements/S", {"voice": "sales"}, 404, "there is no requirement 'S' at position 2"),
        ("decisions/D-1", {"voice": "sales", "as_of": 1}, 404, "there is no decision 'D-1' at position 1"),
        ("requirements/R", {"voice": "sales", "as_of": 0}, 404, "there is no requirement 'R' at position 0"),
        ("decisions/D-1", {"voice": "sales", "as_of": 3}, 404, "beyond the head"),
        ("decisions/D-1", {"voice": "sales", "as_of": "soon"}, 400, "as_of"),
    ],
)
async def test_what_cannot_be_answered_says_why(
    database: Database, path: str, parameters: dict[str, Any], status: int, said: str
) -> None:
    async with asking(database) as client:
        await client.record(raised("R", "It"), made("D-1", "R"))
        await client.answer("decisions/D-1")
        for headers in ({}, MARKDOWN):
            reply = await client.get(f"{path}/brief", headers=headers, **parameters)
            assert reply.status == status, reply.body
            assert said in reply.json["detail"]


async def test_both_forms_are_described(database: Database) -> None:
    async with asking(database) as client:
        described = (await client.get("/v1/../openapi.json")).json["paths"]
        for path in ("decisions/{decision}", "requirements/{requirement}"):
            content = described[f"/v1/ledgers/{{ledger}}/{path}/brief"]["get"]["responses"]["200"]["content"]
            assert content.keys() == {"application/json", "text/markdown"}


async def test_the_facts_of_both_documents_are_the_same(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*FULL)
        record = read_record((await document(client, "decisions/D-7", "engineering")).body.decode())
        for path in ("decisions/D-7", "requirements/SSO"):
            _, sections = read_document((await document(client, path, "sales")).body.decode())
            assert facts(next(each for each in sections if each.title == "Facts")) == record.facts()
