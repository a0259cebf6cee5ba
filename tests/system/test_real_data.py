"""The ledger on real data: people and their requirements, accounts and opportunities.

What the ledger answers is compared with what a few lines make of the CSV files here, which import nothing of it.
"""

import asyncio
import csv
import json
import time
from collections import defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Database
from tests.importing import Asking, command, processes

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
EXAMPLES = ROOT / "examples"

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not DATA.is_dir(), reason="the real data is not there: ../shared/data beside the repository"),
]

SECONDS_MAX = 60.0

Rows = list[dict[str, str]]


def rows(name: str) -> Rows:
    with (DATA / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


async def test_people_and_their_requirements(database: Database, tmp_path: Path):
    async with processes(database.settings, "ledger", "projector") as asking:
        ended = await command(
            database.settings, "import", EXAMPLES / "crowdre/crowdre.yaml", DATA / "crowdre", folder=tmp_path
        )
        assert ended.status == 0, ended.output + ended.errors
        users, requirements, ratings = (
            rows(f"crowdre/{name}.csv") for name in ("users", "requirements", "requirements_ratings")
        )
        asked = [rating for rating in ratings if rating["usefulness"] in ("3", "4", "5")]

        # Every row is accounted for: there are no rejects, and a rating makes an event if it is a wish.
        assert not list(tmp_path.glob("*.ndjson"))
        assert ended.count("read") == len(users) + len(requirements) + len(ratings) == 609 + 2_966 + 8_115
        assert ended.count("rejected") == 0
        assert ended.count("without an event, as the mapping says") == len(ratings) - len(asked)
        log = await asking.events()
        assert {event["id"] for event in log} == {
            *(f"profile-{user['id']}" for user in users),
            *(f"{kind}-{requirement['id']}" for requirement in requirements for kind in ("raised", "ask")),
            *(f"rating-{rating['id']}" for rating in asked),
        }
        assert [int(event["sequence"]) for event in log] == [*range(1, len(log) + 1)]
        assert len(log) == ended.count("recorded") == 13_578

        again = await command(
            database.settings, "import", EXAMPLES / "crowdre/crowdre.yaml", DATA / "crowdre", "--batch", "999",
            folder=tmp_path,
        )  # fmt: skip
        assert (again.status, again.count("recorded"), again.count("already recorded")) == (0, 0, len(log))

        market = await command(database.settings, "import", EXAMPLES / "crowdre/target-market.yaml", folder=tmp_path)
        assert (market.status, market.count("recorded")) == (0, 5)
        head = len(log) + 5
        assert await asking.get("ledger", "/events", after=head) == {"events": [], "head": head}

        await reached(asking, head)
        answer = await asking.get("projector", "/requirements", sort="voice", limit=10, at_least=head, timeout=30)
        assert answer["as_of"]["position"] == head
        assert answer["total"] == len(requirements)
        top = [(row["voice"], row["requirement"]) for row in answer["requirements"]]
        expected = [(round(float(voice), 6), f"crowdre-{each}") for voice, each in voices(requirements, asked)]
        # Two of them have the same voice, and nothing says which comes first; after the tenth there is a step.
        assert [voice for voice, _ in top] == [voice for voice, _ in expected[:10]]
        assert expected[9][0] > expected[10][0]
        assert {*top} == {*expected[:10]}

        # Late evidence: the agreement was adopted, in this ledger, after everybody had asked.
        first = await asking.get("projector", f"/requirements/{top[0][1]}")
        assert len(first["who_asked"]) == len(first["how_on_target"]["fits"]) > 1
        assert {fit["as_asked"]["backdated"] for fit in first["how_on_target"]["fits"]} == {True}


def voices(requirements: Rows, asked: Rows) -> list[tuple[Fraction, str]]:
    """Voice of each requirement, the strongest first: each asker's fit times the highest importance."""
    answers: dict[str, dict[str, str]] = defaultdict(dict)
    for answer in rows("crowdre/presurvey_questions_users.csv"):
        answers[answer["user_id"]][answer["presurvey_question_id"]] = answer["description"]

    importance: dict[str, dict[str, int]] = defaultdict(dict)
    for requirement in requirements:
        original = requirement["duplicate_of"] if requirement["duplicate_of"] not in ("", "0") else requirement["id"]
        importance[original][requirement["user_id"]] = 1
    originals = {each["id"]: each["duplicate_of"] for each in requirements if each["duplicate_of"] not in ("", "0")}
    for rating in asked:
        askers = importance[originals.get(rating["requirement_id"], rating["requirement_id"])]
        askers[rating["user_id"]] = max(askers.get(rating["user_id"], 0), int(rating["usefulness"]) - 2)
    return sorted(
        (
            (sum((weight(answers[user]) * times for user, times in askers.items()), Fraction()), each)
            for each, askers in importance.items()
        ),
        reverse=True,
    )


def weight(answers: dict[str, str]) -> Fraction:
    """The fit of a respondent under examples/crowdre/target-market.yaml."""
    uses = answers["8"] == "Yes"
    familiar = answers["7"] in ("Medium", "High", "Very high")
    age = answers["2"] in ("25 to 34", "35 to 45", "45 to 54")
    technical = answers["5"].startswith("Yes") or answers["6"] in ("High", "Very high")
    degree = answers["3"] in ("Bachelor degree", "Graduate degree")
    return Fraction(3 * uses + 3 * familiar + 2 * age + technical + degree, 10)


async def test_accounts_and_opportunities(database: Database, tmp_path: Path):
    async with processes(database.settings, "ledger", "projector") as asking:
        mapping = EXAMPLES / "crm/crm.yaml"
        ended = await command(database.settings, "import", mapping, DATA / "crm", folder=tmp_path)
        assert ended.status == 1, ended.output + ended.errors
        accounts, deals = rows("crm/accounts.csv"), rows("crm/sales_pipeline.csv")
        assert (len(accounts), len(deals)) == (85, 8_800)

        # Every opportunity is in the log, or among the rejects since it names no account.
        log = await asking.events()
        recorded = {event["subject"].partition("/")[2]: event for event in log}
        named = [deal for deal in deals if deal["account"]]
        assert len(log) == len(recorded) == len(accounts) + len(named)
        assert recorded.keys() >= {deal["opportunity_id"] for deal in named}
        rejects = [json.loads(line) for line in (tmp_path / "crm.rejects.ndjson").read_text().splitlines()]
        assert [each["row"] for each in rejects] == [deal for deal in deals if not deal["account"]]
        assert {each["reason"] for each in rejects} == {"the export names no account for this opportunity"}
        assert [deals[each["line"] - 2] for each in rejects] == [each["row"] for each in rejects]
        assert (ended.count("read"), ended.count("rejected")) == (8_885, 1_425)

        # Names of employees are nowhere in the log.
        everything = json.dumps(log)
        assert not [name for name in {deal["sales_agent"] for deal in deals} if name in everything]

        again = await command(database.settings, "import", mapping, DATA / "crm", folder=tmp_path)
        assert (again.count("recorded"), again.count("already recorded")) == (0, len(log))
        market = await command(database.settings, "import", EXAMPLES / "crm/target-market.yaml", folder=tmp_path)
        assert market.status == 0

        head = len(log) + 5
        await reached(asking, head)
        totals = (await asking.get("projector", "/accounts", at_least=head, timeout=30))["totals"]
        won: dict[str, Decimal] = defaultdict(Decimal)
        for deal in named:
            if deal["deal_stage"] == "Won":
                won[deal["account"]] += Decimal(deal["close_value"])
        on = {account["account"] for account in accounts if on_target(account)}
        assert totals["accounts"] == {
            "on_target": len(on), "off_target": len(accounts) - len(on), "undetermined": 0, "exploratory": 0,
        }  # fmt: skip
        assert contracted(totals["overall"]) == sum(won.values())
        assert contracted(totals["revenue"]["strategic"]) == sum(amount for name, amount in won.items() if name in on)
        assert contracted(totals["revenue"]["opportunistic"]) == sum(
            amount for name, amount in won.items() if name not in on
        )


def on_target(account: dict[str, str]) -> bool:
    """Whether an account is on target under examples/crm/target-market.yaml: 65 % of a weight of 9."""
    met = (
        3 * (account["sector"] in ("technolgy", "software", "medical", "finance"))
        + 2 * (500 <= int(account["employees"]) <= 10_000)
        + 2 * (Decimal(account["revenue"]) >= 500)
        + (account["office_location"] == "United States")
        + (not account["subsidiary_of"])
    )
    return met * 100 >= 65 * 9


def contracted(sums: list[dict[str, str]]) -> Decimal:
    assert [each["currency"] for each in sums] == ["USD"]
    assert Decimal(sums[0]["pipeline"]) == 0  # The export has no amounts of deals that are open.
    return Decimal(sums[0]["contracted"])


async def reached(asking: Asking, head: int) -> None:
    """Wait until every projection has applied the log up to `head`."""
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        answer: dict[str, Any] = await asking.get("projector", "/projections")
        if all(each["position"] >= head for each in answer["projections"]):
            return
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.1)
