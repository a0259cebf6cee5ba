"""`similar_to`: likely duplicates of a text, the same for the same position, and blind to what is sealed."""

import csv
import io
from itertools import permutations
from typing import Any

import pytest

from services.postgres import connect
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import event, redacted

PRODUCT = {"role": "head of product", "team": "product"}


def raised(requirement: str, title: str, **more: Any) -> Any:
    return event("requirement.raised", requirement=requirement, title=title, **more)


def reworded(requirement: str, title: str, **more: Any) -> Any:
    return event("requirement.reworded", requirement=requirement, title=title, reason="plain", by=PRODUCT, **more)


def decided(*requirements: str) -> Any:
    return event(
        "decision.made", decision="D-1", requirements=[*requirements], outcome="commit", rationale="so",
        instruction="do", deciders=[PRODUCT],
    )  # fmt: skip


TITLES = (
    raised("R-1", "Single sign-on for administrators", area="Security"),
    raised("R-2", "Sign on once, with a single password", area="Security"),
    raised("R-3", "Dark colours at night"),
    raised("R-4", "Automatic lights"),
    raised("R-5", "Automatically turn on the lights at night"),
    raised("R-6", "Lock/unlock the front-door"),
)


async def similar(client: Asking, text: str, **parameters: Any) -> list[str]:
    found = await client.answer("requirements", similar_to=text, **parameters)
    assert found["total"] == len(found["requirements"])
    scores = [row["similarity"]["score"] for row in found["requirements"]]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score <= 1 for score in scores)
    return [row["requirement"] for row in found["requirements"]]


async def test_the_most_alike_come_first_with_score_and_words(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*TITLES, event("ask.recorded", requirement="R-5", account="acme"))
        found = await client.answer("requirements", similar_to="lights that turn on AUTOMATICALLY")
        first, second = found["requirements"]
        assert (found["total"], found["lens"], found["as_of"]["position"]) == (2, "now", 7)
        assert first["requirement"] == "R-5"
        assert first["similarity"]["words"] == ["Automatically", "turn", "lights"]
        assert 0.8 < first["similarity"]["score"] < 0.95
        assert second["requirement"] == "R-4"
        assert second["similarity"]["words"] == ["Automatic", "lights"]
        # Beside the similarity a row is what it is in the list.
        listed = {row["requirement"]: row for row in (await client.answer("requirements"))["requirements"]}
        for row in (first, second):
            del row["similarity"]
            assert row == listed[row["requirement"]]


async def test_the_same_words_are_one(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*TITLES)
        for text, requirement in (
            ("automatic light", "R-4"),
            ("SINGLE administrator sign on", "R-1"),
            ("unlock and lock: front door", "R-6"),
            ("the front_door/lock.unlock", "R-6"),
        ):
            [first, *_] = (await client.answer("requirements", similar_to=text))["requirements"]
            assert (first["requirement"], first["similarity"]["score"]) == (requirement, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "the of and",
        "42",
        "x",
        "12 1.5 -3",
        "!?&|():*'\\",
        "zzyzx",
        "日本語",
        "\t\n",
        "a b c",
        "' & !",
        "%_",
        "::",
        "I would also like to",
    ],
)
async def test_what_says_nothing_is_like_nothing(database: Database, text: str) -> None:
    async with asking(database) as client:
        await client.record(*TITLES, raised("R-7", "42 x 12 1.5 -3 would like"))
        assert await similar(client, text) == []
        assert (await client.get("requirements", similar_to=text, key="personal", as_of=0)).json["requirements"] == []


async def test_words_with_characters_that_mean_something_elsewhere(database: Database) -> None:
    async with asking(database) as client:
        await client.record(raised("R-1", "Ben's O'Neil back\\slash & co <b>bold</b> füße"), raised("R-2", "Straße"))
        assert await similar(client, "O'Neil's back\\slash") == ["R-1"]
        assert await similar(client, "FÜSSE füße") == ["R-1"]
        assert await similar(client, "straße") == ["R-2"]
        assert await similar(client, "x' | 'slash") == ["R-1"]


async def test_equals_come_in_the_order_of_their_ids(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*(raised(name, "Dark colours") for name in ("b", "a", "B", "C-10", "C-9")))
        assert await similar(client, "dark colour") == ["B", "C-10", "C-9", "a", "b"]


async def test_the_title_that_counts_is_compared(database: Database) -> None:
    async with asking(database) as client:
        await client.record(raised("R-1", "Dark colours"), reworded("R-1", "Automatic lights"))
        assert await similar(client, "dark colours") == []
        assert await similar(client, "lights") == ["R-1"]
        assert await similar(client, "dark colours", as_of=1) == ["R-1"]
        await client.record(reworded("R-1", "What was said long ago", time="2020-01-01T00:00:00Z"))
        assert await similar(client, "long ago said") == []
        assert await similar(client, "lights") == ["R-1"]


async def test_titles_that_were_retracted_make_no_word_frequent(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            raised("R-1", "audit trail"), raised("R-2", "trail export"), raised("R-3", "audit log viewer")
        )
        before = await client.answer("requirements", similar_to="audit export")
        mistaken = [f"X-{number}" for number in range(100)]
        positions = await client.record(*(raised(each, "export") for each in mistaken))
        await client.record(
            *(
                event("event.retracted", position=position, subject=f"requirement/{each}", reason="a slip", by=PRODUCT)
                for each, position in zip(mistaken, positions, strict=True)
            )
        )
        after = await client.answer("requirements", similar_to="audit export")
        assert [row["requirement"] for row in after["requirements"]] == ["R-2", "R-1", "R-3"]
        assert after["requirements"] == before["requirements"]


async def test_any_order_of_arrival_ends_in_the_same_scores(database: Database) -> None:
    said = [
        raised("R-1", "Dark colours", time="2026-01-01T00:00:00Z"),
        raised("R-1", "Darker colours at night", time="2026-01-02T00:00:00Z"),
        raised("R-2", "Colours", time="2026-01-03T00:00:00Z"),
    ]
    answers = []
    async with asking(database) as client:
        for number, order in enumerate(permutations(said)):
            other = [
                {
                    **each,
                    "id": f"{number}-{each['id']}",
                    "data": {**each["data"], "title": f"{each['data']['title']} n{number}n"},
                }
                for each in order
            ]
            for each in other:
                each["data"]["requirement"] += f"-{number}"
            await client.record(*other)
            found = await client.answer("requirements", similar_to=f"night colours n{number}n")
            answers.append(
                [
                    (row["requirement"].removesuffix(f"-{number}"), row["similarity"]["words"][:-1])
                    for row in found["requirements"]
                    if row["requirement"].endswith(f"-{number}")
                ]
            )
    assert len({repr(each) for each in answers}) == 1
    assert answers[0] == [("R-1", ["colours", "night"]), ("R-2", ["Colours"])]


async def test_the_answer_for_a_position_is_the_same_ever_after(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*TITLES)
        await client.answer("requirements")
        how = [
            {"key": key, "headers": {"Accept": accept}}
            for key in ("query", "personal")
            for accept in ("*/*", "text/csv")
        ]
        before = [
            await client.get("requirements", similar_to="automatic lights at night", as_of=6, **each) for each in how
        ]
        await client.record(
            *(raised(f"S-{number}", "Automatic lights at night") for number in range(300)),
            reworded("R-5", "Something else"),
            raised("R-4", "Automatic lights", problem="night"),
            event("ask.recorded", requirement="R-4", account="acme"),
            event("requirement.merged", requirement="R-4", into="R-5", reason="the same", by=PRODUCT),
            decided("R-5"),
        )
        await client.answer("requirements")
        after = [
            await client.get("requirements", similar_to="automatic lights at night", as_of=6, **each) for each in how
        ]
        assert [reply.body for reply in before] == [reply.body for reply in after]
        assert len(before[0].json["requirements"]) == 3


async def test_filters_choose_from_the_similar(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *TITLES,
            raised("R-7", "Single sign-on", area="security"),
            event("ask.recorded", requirement="R-2", account="acme"),
            decided("R-1"),
            event("requirement.merged", requirement="R-7", into="R-1", reason="the same", by=PRODUCT),
        )
        assert await similar(client, "single sign-on") == ["R-7", "R-1", "R-2"]
        assert await similar(client, "single sign-on", area="SECURITY") == ["R-7", "R-1", "R-2"]
        assert await similar(client, "single sign-on", area="colours") == []
        assert await similar(client, "single sign-on", status="committed") == ["R-1"]
        assert await similar(client, "single sign-on", status="open") == ["R-2"]
        assert await similar(client, "single sign-on", status="merged") == ["R-7"]
        assert await similar(client, "single sign-on", class_="undetermined") == ["R-2"]
        assert await similar(client, "single sign-on", q="password") == ["R-2"]
        assert await similar(client, "single sign-on", lens="asked") == ["R-7", "R-1", "R-2"]
        [merged] = (await client.answer("requirements", similar_to="single", status="merged"))["requirements"]
        assert merged["into"] == "R-1"


async def test_rows_are_those_of_the_list(database: Database) -> None:
    """They are computed from what concerns them alone, and are the same nevertheless."""
    async with asking(database) as client:
        bank = {"bullet": "b", "text": "b", "test": {"op": "eq", "attribute": "industry", "value": "banking"}}
        await client.record(
            event(
                "agreement.revised", agreement="target-market", revision="r1", title="Banks", stage="focused",
                bullets=[bank], threshold=60, signatories=["sales"], reason="agreed", by=PRODUCT,
            ),
            event("agreement.adopted", agreement="target-market", revision="r1", effective="2020-01-01", by=PRODUCT),
            *TITLES,
            *(
                event("account.profiled", account=f"a-{number}", attributes={"industry": industry})
                for number, industry in enumerate(["banking", "farms"] * 3)
            ),
            event("account.identified", account="a-0", same_as=[{"system": "crm", "id": "0"}]),
            event("account.merged", account="a-2", into="a-0", reason="the same", by=PRODUCT),
            *(
                event("ask.recorded", requirement=f"R-{number % 6 + 1}", account=f"a-{number % 7}", ask=f"k-{number}",
                      importance=number % 4)
                for number in range(30)
            ),
            event("ask.recorded", requirement="R-4", account="crm:0", ask="k-alias", importance=3),
            event(
                "opportunity.updated", opportunity="o", account="crm:0", stage="open", amount="5", currency="USD"
            ),
            event("ask.withdrawn", requirement="R-4", ask="k-3"),
            event("ask.moved", requirement="R-5", ask="k-4", to="R-4", reason="about that", by=PRODUCT),
            decided("R-4", "R-2"),
            event("delivery.updated", requirement="R-4", state="beta"),
            event("requirement.merged", requirement="R-5", into="R-4", reason="the same", by=PRODUCT),
        )  # fmt: skip
        for lens in ("now", "asked"):
            listed = {
                row["requirement"]: row for row in (await client.answer("requirements", lens=lens))["requirements"]
            }
            found = (await client.answer("requirements", similar_to="automatic lights", lens=lens))["requirements"]
            assert [row["requirement"] for row in found] == ["R-4", "R-5"]
            for row in found:
                del row["similarity"]
                assert row == listed[row["requirement"]]


async def test_a_sealed_problem_counts_only_for_those_who_may_see_it(database: Database) -> None:
    async with asking(database) as client:
        problem = "Customers fail their audit, since passwords are kept in spreadsheets"
        await client.record(raised("R-1", "Single sign-on"), raised("R-2", "Single sign-on"))
        await client.record(raised("S-1", "Single sign-on"), raised("S-2", "Single sign-on", problem=problem))
        text = "single sign-on: passwords in spreadsheets fail an audit"
        everyone = (await client.answer("requirements", similar_to=text))["requirements"]
        assert [row["requirement"] for row in everyone] == ["R-1", "R-2", "S-1", "S-2"]
        assert len({row["similarity"]["score"] for row in everyone}) == 1
        assert {tuple(row["similarity"]["words"]) for row in everyone} == {("Single", "sign")}
        some = (await client.answer("requirements", similar_to=text, key="personal"))["requirements"]
        assert [row["requirement"] for row in some] == ["S-2", "R-1", "R-2", "S-1"]
        assert some[0]["similarity"]["words"] == ["Single", "sign", "fail", "audit", "passwords", "spreadsheets"]
        assert some[0]["similarity"]["score"] > some[1]["similarity"]["score"] == everyone[0]["similarity"]["score"]
        # What only the problem says finds nothing, for there is no index of it.
        assert await similar(client, "spreadsheets", key="personal") == []

        owner = await connect(database.superuser)
        for table in ("requirement_rows", "feedback_rows", "asks"):
            assert not await owner.fetchval(
                f"SELECT count(*) FROM ledger_main.{table} AS row WHERE row::text LIKE '%spreadsheet%'"
            )
        await owner.close()
        await client.record(redacted(4, "requirement/S-2"))
        erased = (await client.answer("requirements", similar_to=text, key="personal"))["requirements"]
        assert erased == everyone


async def test_a_page_has_as_many_as_are_wanted_and_there_is_no_next(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*(raised(f"R-{number:03d}", "Dark colours") for number in range(230)))
        await client.answer("requirements")
        for limit, count in ((3, 3), (200, 100)):
            reply = await client.get("requirements", similar_to="dark colours", limit=limit)
            assert len(reply.json["requirements"]) == count
            assert reply.json["total"] == 100
            assert "Link" not in reply.headers
        cursor = str((await client.get("requirements", limit=3)).headers["Link"]).split("cursor=")[1].split("&")[0]
        refused = await client.get(f"/v1/ledgers/main/requirements?cursor={cursor}&similar_to=dark")
        assert (refused.status, refused.json["parameter"]) == (400, "cursor")


async def test_as_csv(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*TITLES)
        reply = await client.get(
            "requirements", similar_to="automatic lights", at_least=6, headers={"Accept": "text/csv"}
        )
        first, second = csv.DictReader(io.StringIO(reply.body.decode()))
        assert (first["requirement"], first["similarity_score"], first["similarity_words"]) == (
            "R-4",
            "1.0",
            "Automatic; lights",
        )
        assert second["requirement"] == "R-5"
        usual = await client.get("requirements", headers={"Accept": "text/csv"})
        assert b"similarity" not in usual.body


@pytest.mark.parametrize("character", ["x", "ä", "日", "\N{GRINNING FACE}", "word "])
async def test_a_text_may_be_long(database: Database, character: str) -> None:
    async with asking(database) as client:
        await client.record(*TITLES)
        text = ("automatic lights " + character * 8_000)[:8_000]
        found = await client.answer("requirements", similar_to=text, limit=1)
        assert [row["requirement"] for row in found["requirements"]] == ["R-4"]
        for many in (8_001, 20_000):
            refused = await client.get("requirements", similar_to="w" * many)
            assert (refused.status, refused.json["parameter"]) == (400, "similar_to")


async def test_a_text_of_many_words(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*TITLES, *(raised(f"S-{number}", f"word{number}a the lights") for number in range(300)))
        text = " ".join(["automatic lights", *(f"word{number}a" for number in range(500))])
        found = await client.answer("requirements", similar_to=text, limit=200)
        assert found["total"] == 100


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("similar_to=x&sort=voice", "sort"),
        ("similar_to=x&sort=recent", "sort"),
        ("similar_to=x&sort=revenue&currency=USD", "sort"),
        ("similar_to=x&currency=USD", "currency"),
        ("similar_to=x%00", "similar_to"),
        ("similar_to=x&similar_to=y", "similar_to"),
        ("similar_to=x&limit=0", "limit"),
        ("similar_to=x&limit=201", "limit"),
    ],
)
async def test_what_does_not_go_with_it_is_named(database: Database, query: str, parameter: str) -> None:
    async with asking(database) as client:
        reply = await client.get(f"/v1/ledgers/main/requirements?{query}")
        assert (reply.status, reply.json["parameter"]) == (400, parameter)
