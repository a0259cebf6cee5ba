"""What-if over HTTP: against a plain recomputation, the same for the same input, and nothing recorded."""

import random
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

import msgspec
import pytest

from schemas.events import Bullet
from services.postgres import connect, ledger_schema
from services.projector.judgement.fit import CLASSES, Fit, Revision, fit, shown
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.holding import build_anew
from tests.log import event

BY = {"role": "head of product", "team": "product"}
START = datetime(2026, 3, 1, tzinfo=UTC)
ACCOUNTS, REQUIREMENTS = 12, 5
PATH = "agreements/target-market/what-if"
SEGMENT = {"op": "in", "attribute": "segment", "values": ["bank", "Insurer"]}
LARGE = {"op": "gte", "attribute": "employees", "value": 500}
LOCAL = {"op": "not", "test": {"op": "eq", "attribute": "region", "value": "overseas"}}
NOW = [
    {"bullet": "segment", "text": "Banks", "weight": 3, "test": SEGMENT},
    {"bullet": "large", "text": "Large", "weight": 2, "test": LARGE},
]
PROPOSED = {
    "stage": "focused",
    "threshold": 50,
    "bullets": [
        {"bullet": "segment", "text": "Banks", "weight": 1, "test": SEGMENT},
        {"bullet": "local", "text": "Near", "weight": 4, "required": True, "test": LOCAL},
        {"bullet": "prose", "text": "Nice people"},
    ],
}


def agreed(name: str, bullets: list[Any], agreement: str = "target-market", threshold: int = 60) -> list[Any]:
    revised = event(
        "agreement.revised", agreement=agreement, revision=name, title=name, stage="focused", bullets=bullets,
        threshold=threshold, signatories=["sales"], reason="so", by=BY,
    )  # fmt: skip
    adopted = event("agreement.adopted", agreement=agreement, revision=name, effective=START.isoformat(), by=BY)
    return [revised, adopted]


class Company:
    """What was recorded, in the plainest form: the last word on everything."""

    def __init__(self, chance: random.Random) -> None:
        self.profiles: dict[str, dict[str, Any]] = {f"a-{number:02}": {} for number in range(ACCOUNTS)}
        self.asks: dict[tuple[str, str], int] = {}
        self.decisions: dict[str, tuple[str, list[str]]] = {}
        self.events: list[Any] = []
        for account, profile in self.profiles.items():
            given = {
                "segment": chance.choice(["Bank", "insurer", "retail", None]),
                "employees": chance.choice([100, 500, 2000, None]),
                "region": chance.choice(["here", "overseas", None]),
            }
            profile.update({name: value for name, value in given.items() if value is not None})
            self.events.append(event("account.profiled", account=account, name=account.upper(), attributes=given))
        for number in range(40):
            account, requirement = f"a-{chance.randrange(ACCOUNTS):02}", f"R-{chance.randrange(REQUIREMENTS)}"
            importance = chance.randrange(4)
            self.asks[requirement, account] = max(self.asks.get((requirement, account), 0), importance)
            self.events.append(
                event(
                    "ask.recorded", requirement=requirement, account=account, ask=f"A-{number}", importance=importance
                )
            )
        for number in range(6):
            outcome = chance.choice(["commit", "defer"])
            about = sorted({requirement for requirement, _ in chance.sample(sorted(self.asks), 2)})
            self.decisions[f"D-{number}"] = outcome, about
            self.events.append(
                event(
                    "decision.made",
                    decision=f"D-{number}",
                    requirements=about,
                    outcome=outcome,
                    rationale="so",
                    instruction="do",
                    deciders=[BY],
                )
            )

    def fits(self, revision: Revision) -> dict[str, Fit]:
        return {account: fit(revision, profile) for account, profile in self.profiles.items()}

    def askers(self, requirements: Iterable[str]) -> set[str]:
        return {account for requirement, account in self.asks if requirement in requirements}

    def voices(self, fits: dict[str, Fit]) -> dict[str, tuple[Fraction, Fraction]]:
        voices = {f"R-{number}": (Fraction(0), Fraction(0)) for number in range(REQUIREMENTS)}
        for (requirement, account), importance in self.asks.items():
            found = fits[account]
            assert found.fit is not None and found.fit_if_known is not None
            voice, if_known = voices[requirement]
            voices[requirement] = voice + found.fit * importance, if_known + found.fit_if_known * importance
        return {name: voice for name, voice in voices.items() if any(name == each for each, _ in self.asks)}


def as_revision(bullets: list[Any], threshold: int) -> Revision:
    return Revision(
        agreement="target-market", revision="r", title="r", stage="focused", threshold=threshold,
        bullets=msgspec.convert(bullets, list[Bullet]),
    )  # fmt: skip


def by_class(fits: dict[str, Fit]) -> dict[str, int]:
    return {class_: sum(found.class_ == class_ for found in fits.values()) for class_ in CLASSES}


def ranks(voices: dict[str, tuple[Fraction, Fraction]]) -> dict[str, int]:
    order = sorted(voices, key=lambda name: (-voices[name][0], -voices[name][1], name))
    return {name: place for place, name in enumerate(order, 1)}


async def tried(client: Asking, body: Any = PROPOSED, **parameters: Any) -> Any:
    more = parameters if "as_of" in parameters else {"at_least": client.head, **parameters}
    reply = await client.post(PATH, body, **more)
    assert reply.status == 200, reply.body
    return reply.json


@pytest.mark.parametrize("seed", range(3))
async def test_a_what_if_is_what_a_plain_recomputation_says(database: Database, seed: int) -> None:
    company = Company(random.Random(seed))
    async with asking(database) as client:
        await client.record(*agreed("r1", NOW), *company.events, recordedtime=START + timedelta(days=1))
        found = await tried(client, limit=200)

    before, after = company.fits(as_revision(NOW, 60)), company.fits(as_revision(PROPOSED["bullets"], 50))
    changed = {account for account in before if before[account].class_ != after[account].class_}
    assert found["totals"]["accounts"] == {
        "total": ACCOUNTS, "before": by_class(before), "after": by_class(after), "change": len(changed),
    }  # fmt: skip
    assert {row["account"] for row in found["accounts"]} == changed
    weights = {
        account: sum(importance for (_, each), importance in company.asks.items() if each == account)
        for account in company.profiles
    }
    assert [row["account"] for row in found["accounts"]] == sorted(changed, key=lambda name: (-weights[name], name))
    for row in found["accounts"]:
        account = row["account"]
        assert (row["from"], row["to"]) == (before[account].class_, after[account].class_)
        assert (row["fit_before"], row["fit_after"]) == (shown(before[account].fit), shown(after[account].fit))
        assert (row["name"], row["importance"]) == (account.upper(), weights[account])

    was, is_ = company.voices(before), company.voices(after)
    moved = {name: is_[name][0] - was[name][0] for name in was if is_[name][0] != was[name][0]}
    assert [row["requirement"] for row in found["voices"]] == sorted(moved, key=lambda name: (-abs(moved[name]), name))
    for row in found["voices"]:
        name = row["requirement"]
        assert (row["before"], row["after"]) == (shown(was[name][0]), shown(is_[name][0]))
        assert row["change"] == shown(moved[name])
        for when, exact in (("before", was), ("after", is_)):
            whole = sum(each[f"weight_{when}"] or 0 for each in row["by_bullet"])
            assert Fraction(whole, found[when]["weights"]) == exact[name][0]
    assert found["totals"]["voices"] == {
        "grow": sum(each > 0 for each in moved.values()),
        "shrink": sum(each < 0 for each in moved.values()),
        "stay": len(was) - len(moved),
    }
    places, placed = ranks(was), ranks(is_)
    assert {row["requirement"]: (row["before"], row["after"]) for row in found["ranks"]} == {
        name: (places[name], placed[name]) for name in places if places[name] != placed[name]
    }

    mattering = {}
    for decision, (outcome, about) in company.decisions.items():
        asking_ = company.askers(about)
        departed, departs = (
            outcome == "commit" and {fits[each].class_ for each in asking_} == {"off_target"}
            for fits in (before, after)
        )
        if asking_ & changed:
            mattering[decision] = (len(asking_ & changed), departed, departs)
    assert {
        row["decision"]: (row["accounts_after"], row["departs_before"] == "yes", row["departs_after"] == "yes")
        for row in found["decisions"]
    } == mattering
    assert {(row["needs_review_before"], row["needs_review_after"]) for row in found["decisions"]} <= {(False, True)}
    totals = found["totals"]["decisions"]
    assert totals["need_review"] == totals["need_review_newly"] == len(mattering)
    assert totals["depart_newly"] == sum(after > before for _, before, after in mattering.values())
    assert {row["attribute"]: row["accounts"] for row in found["coverage"]} == {
        name: sum(name in profile for profile in company.profiles.values()) for name in ("region", "segment")
    }


@pytest.mark.parametrize("seed", range(4))
async def test_the_reviews_that_come_are_those_that_were_foretold(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    company = Company(chance)
    async with asking(database) as client:
        await client.record(*agreed("r1", NOW), *company.events, recordedtime=START + timedelta(days=1))
        since = [*some_changes(chance, company)]
        # Half of what happened since is known when some decisions are reaffirmed.
        again = [
            event("decision.reaffirmed", decision=name, reason="so", by=BY)
            for name in chance.sample(sorted(company.decisions), 2)
        ]
        gone = event("decision.superseded", decision="D-0", superseded_by="D-1", reason="so", by=BY)
        half = len(since) // 2
        await client.record(*since[:half], *again, gone, *since[half:], recordedtime=START + timedelta(days=2))
        listed = await client.answer("decisions", limit=200)
        found = await tried(client, limit=200)
        await client.record(*agreed("r2", PROPOSED["bullets"], threshold=50), recordedtime=START + timedelta(days=3))
        adopted = await client.answer("decisions", limit=200)

    before, after = (
        {row["decision"] for row in each["decisions"] if row["needs_review"]} for each in (listed, adopted)
    )
    assert before == {row["decision"] for row in found["decisions"] if row["needs_review_before"]}
    assert after == {row["decision"] for row in found["decisions"] if row["needs_review_after"]}
    totals = found["totals"]["decisions"]
    assert (totals["need_review"], totals["need_review_newly"]) == (len(after), len(after - before))
    assert [row["departs"] for row in adopted["decisions"]] == [row["departs"] for row in listed["decisions"]]


def some_changes(chance: random.Random, company: Company) -> Iterable[Any]:
    """What may happen to those who asked after it was decided."""
    for number in range(12):
        account, requirement = f"a-{chance.randrange(ACCOUNTS):02}", f"R-{chance.randrange(REQUIREMENTS)}"
        match chance.choice(["profiled", "asked", "withdrawn", "named"]):
            case "profiled":
                region = chance.choice(["here", "overseas", None])
                given = {"segment": chance.choice(["bank", "retail"]), "region": region}
                yield event("account.profiled", account=account, attributes=given)
            case "asked":
                yield event("ask.recorded", requirement=requirement, account=account, ask=f"B-{number}")
            case "withdrawn":
                yield event("ask.withdrawn", requirement=requirement, ask=f"A-{chance.randrange(40)}", reason="so")
            case "named":
                other = f"a-{chance.randrange(ACCOUNTS):02}"
                if other != account:
                    yield event("account.merged", account=account, into=other, reason="so", by=BY)


async def test_who_asks_since_matters_to_no_decision(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *agreed("r1", NOW),
            event("account.profiled", account="near", attributes={"segment": "bank", "employees": 900}),
            event("ask.recorded", requirement="R-1", account="near"),
            event("decision.made", decision="D-1", requirements=["R-1"], outcome="commit", rationale="so",
                  instruction="do", deciders=[BY]),
            event("account.profiled", account="late", attributes={"segment": "retail", "employees": 5}),
            event("ask.recorded", requirement="R-1", account="late"),
            recordedtime=START + timedelta(days=1),
        )  # fmt: skip
        proposal = {"stage": "focused", "threshold": 60, "bullets": [NOW[1]]}
        await client.record(
            event("account.profiled", account="late", attributes={"segment": "retail", "employees": 900}),
            recordedtime=START + timedelta(days=2),
        )
        found = await tried(client, proposal)
        assert [row["account"] for row in found["accounts"]] == ["late"]
        assert found["decisions"] == [] and found["totals"]["decisions"]["need_review"] == 0


async def test_the_same_input_has_the_same_digest_and_nothing_is_recorded(database: Database) -> None:
    company = Company(random.Random(7))
    async with asking(database) as client:
        await client.record(*agreed("r1", NOW), *company.events, recordedtime=START + timedelta(days=1))
        head = client.head
        first, few = await tried(client, limit=200), await tried(client, limit=1)
        assert few["digest"] == first["digest"] and few["totals"] == first["totals"]
        assert [len(few[name]) for name in ("accounts", "voices")] == [1, 1]
        other = await tried(client, {**PROPOSED, "threshold": 51})
        assert other["digest"] != first["digest"]
        recorded = await client.log.connection.fetchval("SELECT max(notification_id) FROM ledger_main.stored_events")
        assert recorded == head

        await client.record(
            event("account.profiled", account="a-00", attributes={"segment": "bank", "region": "here"}),
            event("ask.recorded", requirement="R-9", account="a-00"),
        )
        assert (await tried(client, limit=200))["digest"] != first["digest"]
        assert await tried(client, limit=200, as_of=head) == first
        agreement = await client.answer("agreements/target-market")
        assert [each["revision"] for each in agreement["revisions"]] == ["r1"]


async def test_who_is_named_by_feedback_alone_is_looked_up_each_time(database: Database) -> None:
    """What is held in memory knows nothing of feedback, which may be built anew while that stays."""
    async with asking(database) as client:
        await client.record(
            *agreed("r-1", NOW),
            event("account.profiled", account="acme", attributes={"segment": "bank", "region": "here"}),
            event("feedback.received", feedback="F-1", account="stranger", text="Hello"),
        )
        right = await tried(client)
        assert right["totals"]["accounts"]["total"] == 2
        await build_anew(database, "feedback")
        connection = await connect(database.projector)
        await connection.execute(f"DELETE FROM {ledger_schema('main')}.feedback_rows")
        await connection.close()
        assert (await tried(client))["totals"]["accounts"]["total"] == 1
        await build_anew(database, "feedback")
        assert await tried(client) == right


async def test_what_is_in_force_changes_nothing(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *agreed("r1", NOW),
            event("account.profiled", account="far", attributes={"segment": "retail", "employees": 5}),
            event("ask.recorded", requirement="R-1", account="far", importance=2),
            event("decision.made", decision="D-1", requirements=["R-1"], outcome="commit", rationale="so",
                  instruction="do", deciders=[BY]),
            recordedtime=START + timedelta(days=1),
        )  # fmt: skip
        assert (await client.answer("decisions/D-1"))["departs"] == "yes"
        found = await tried(client, {"stage": "focused", "threshold": 60, "bullets": NOW})
        assert [found[name] for name in ("accounts", "voices", "ranks", "decisions")] == [[]] * 4
        assert found["totals"]["decisions"] == {
            "total": 1, "need_review": 0, "need_review_newly": 0, "depart": 1, "depart_newly": 0,
        }  # fmt: skip


async def test_revenue_and_exploring_and_names_count_as_everywhere(database: Database) -> None:
    async with asking(database) as client:
        exploring = event(
            "agreement.revised", agreement="target-market", revision="e", title="e", stage="exploratory", bullets=NOW,
            threshold=60, signatories=["sales"], reason="so", by=BY,
        )  # fmt: skip
        await client.record(
            exploring,
            event("agreement.adopted", agreement="target-market", revision="e", effective=START.isoformat(), by=BY),
            event("account.profiled", account="shop", name="Shop", attributes={"segment": "retail", "employees": 5}),
            event("account.identified", account="shop", same_as=[{"system": "crm", "id": "7"}]),
            event("ask.recorded", requirement="R-1", account="crm:7", importance=2),
            event(
                "opportunity.updated", opportunity="O-1", account="crm:7", stage="open", amount="10.50", currency="EUR"
            ),
            event("feedback.received", feedback="F-1", account="stranger", text="Hello"),
            recordedtime=START + timedelta(days=1),
        )
        found = await tried(client, {"stage": "focused", "threshold": 60, "bullets": NOW})
        assert found["totals"]["accounts"]["before"] == dict.fromkeys(CLASSES, 0) | {"exploratory": 2}
        assert found["totals"]["accounts"]["after"] == dict.fromkeys(CLASSES, 0) | {"off_target": 1, "undetermined": 1}
        [row] = [row for row in found["accounts"] if row["account"] == "shop"]
        money = [{"currency": "EUR", "contracted": "0.00", "pipeline": "10.50"}]
        assert (row["name"], row["to"], row["revenue"]) == ("Shop", "off_target", money)
        assert found["totals"]["revenue"]["before"]["exploratory"] == money
        assert found["totals"]["revenue"]["after"]["opportunistic"] == money


async def test_without_a_revision_in_force_before_is_null(database: Database) -> None:
    company = Company(random.Random(3))
    async with asking(database) as client:
        await client.record(*company.events, recordedtime=START + timedelta(days=1))
        found = await tried(client, limit=200)
        assert found["before"] is None and found["totals"]["accounts"]["before"] is None
        assert found["totals"]["revenue"]["before"] is None
        assert len(found["accounts"]) == ACCOUNTS == found["totals"]["accounts"]["change"]
        assert {row["from"] for row in found["accounts"]} == {None}
        assert {(row["before"], row["change"]) for row in found["voices"]} == {(None, None)}
        assert {row["before"] for row in found["ranks"]} == {None}

        assert (await client.post("agreements/qualified-lead/what-if", PROPOSED)).status == 404
        assert (await client.post(PATH, PROPOSED, as_of=0)).status == 404
        await client.record(*agreed("q1", NOW, "qualified-lead"))
        reply = await client.post("agreements/qualified-lead/what-if", PROPOSED, at_least=client.head)
        other = reply.json
        assert other["judges_asks"] is False and other["voices"] == other["ranks"] == other["decisions"] == []
        assert other["before"]["revision"] == "q1" and other["accounts"]


BAD: list[tuple[Any, str]] = [
    ({**PROPOSED, "bullets": [{"bullet": "b", "text": "t", "weight": 0, "test": SEGMENT}]}, "/bullets/0/weight"),
    ({**PROPOSED, "bullets": [NOW[0], NOW[0]]}, "/bullets"),
    ({**PROPOSED, "bullets": [{"bullet": "b", "text": "only words"}]}, "/bullets"),
    ({**PROPOSED, "threshold": 101}, "/threshold"),
    ({**PROPOSED, "stage": "sure"}, "/stage"),
    ({**PROPOSED, "signatories": ["sales"]}, "/signatories"),
    ({"stage": "focused", "threshold": 1}, "/bullets"),
    (["no", "object"], ""),
]


def deep(levels: int) -> Any:
    test: Any = SEGMENT
    for _ in range(levels):
        test = {"op": "not", "test": test}
    return {**PROPOSED, "bullets": [{"bullet": "b", "text": "t", "test": test}]}


async def test_a_proposal_that_cannot_be_judged_by_is_refused_where_it_is_wrong(database: Database) -> None:
    async with asking(database) as client:
        await client.record(
            *agreed("r1", NOW), event("account.profiled", account="a", attributes={"segment": "bank", "region": "x"})
        )
        await tried(client)
        for body, pointer in BAD:
            reply = await client.post(PATH, body)
            assert (reply.status, reply.json["type"]) == (422, "/problems/invalid-proposal"), body
            assert pointer in [each["pointer"] for each in reply.json["errors"]], (body, reply.json)
        takes = "a what-if takes `stage`, `threshold` and `bullets` only; leave out"
        for more, detail in (
            ({"threshold": 101}, "/threshold: Expected `int` <= 100"),
            ({"stage": "sure"}, "/stage: must be one of exploratory, focused"),
            (
                {"threshold": 101, "stage": "sure"},
                "/stage: must be one of exploratory, focused, and 1 more in `errors`",
            ),
            ({"signatories": ["sales"]}, f"{takes} /signatories"),
            ({"agreement": "target-market", "revision": "r2", "title": "New"}, f"{takes} /agreement and 2 more"),
            ({"threshold": 101, "title": "New"}, f"/threshold: Expected `int` <= 100; {takes} /title"),
        ):
            assert (await client.post(PATH, PROPOSED | more)).json["detail"] == detail
        for levels in (5, 40, 400):
            reply = await client.post(PATH, deep(levels))
            assert (reply.status, reply.json["type"]) == (422, "/problems/invalid-proposal"), levels

        unknown = {**PROPOSED, "bullets": [*PROPOSED["bullets"], {**NOW[1], "test": {**LARGE, "attribute": "Segmnt"}}]}
        reply = await client.post(PATH, unknown)
        assert reply.status == 422
        [spot] = reply.json["errors"]
        assert spot["pointer"] == "/bullets/3/test/attribute"
        assert "'Segmnt'" in spot["message"] and "'segment'" in spot["message"]
        found = await tried(client, unknown, new_attributes="true")
        assert {row["attribute"]: row["accounts"] for row in found["coverage"]}["Segmnt"] == 0

        assert (await client.post(PATH, b"{")).json["type"] == "/problems/malformed-json"
        assert (await client.post(PATH, b"[" * 70_000)).status == 413
        assert (await client.post(PATH, PROPOSED, limit=201)).status == 400
        maybe = await client.post(PATH, PROPOSED, new_attributes="maybe")
        assert (maybe.status, maybe.json["detail"]) == (400, "`new_attributes`: must be one of true, false")
        assert (await client.post(PATH, PROPOSED, as_of=client.head + 1)).status == 404
        assert (await client.post(PATH, PROPOSED, key="observe")).status == 403
