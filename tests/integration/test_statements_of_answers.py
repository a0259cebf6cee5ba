"""What the answer about one requirement asks the database: as much for one who asks as for many."""

from dataclasses import dataclass, field
from typing import Any

from services.projector.answers.requirement import read_requirement, read_shown
from services.projector.answers.requirements import READS
from services.projector.answers.snapshot import Wanted, open_snapshot
from services.projector.projector import Projector
from services.projector.telling.requirement import fits_one_page, judge_requirement, tell_requirement
from tests.conftest import Database
from tests.log import Log, event
from tests.readmodels import reached

MANY = 40


@dataclass
class Asked:
    """What the database was asked for one answer, and who asks in it."""

    accounts: list[str]
    statements: list[str] = field(default_factory=list)


def asked_by(requirement: str, count: int) -> list[Any]:
    """So many accounts ask, each with another name, facts, and an opportunity that its ask names."""
    return [
        each
        for number in range(count)
        for account in (f"{requirement.lower()}-{number:02d}",)
        for each in (
            event("account.profiled", account=account, name=f"Acme {number}", attributes={"size": number}),
            event("account.identified", account=account, same_as=[{"system": "desk", "id": account}]),
            event(
                "opportunity.updated", opportunity=f"o-{account}", account=f"desk:{account}", stage="open",
                amount="5.00", currency="EUR",
            ),
            event("ask.recorded", requirement=requirement, account=f"desk:{account}", opportunity=f"o-{account}"),
        )
    ]  # fmt: skip


async def answered(projector: Projector, requirement: str) -> Asked:
    runner = await projector.ledger("main")
    statements: list[str] = []

    def asked(query: Any) -> None:
        statements.append(query.query)

    async with open_snapshot(projector.pool, runner, READS, Wanted()) as snapshot:
        with snapshot.connection.query_logger(asked):
            evidence = await read_requirement(snapshot, requirement)
            assert fits_one_page(evidence)
            shown = await read_shown(snapshot, evidence, evidence.live)
    judged = judge_requirement(evidence)
    told = tell_requirement(judged, judged.page(0), shown)
    assert told.how_on_target.at_stake["undetermined"][0].pipeline == f"{5 * told.who_asked_total}.00"
    assert all(each.name and each.revenue for each in told.who_asked)
    return Asked([each.account for each in told.who_asked], statements)


async def test_an_answer_takes_as_many_statements_for_many_who_ask_as_for_one(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        positions = await log.append(*asked_by("ONE", 1), *asked_by("MANY", MANY))
        await reached(await projector.ledger("main"), positions[-1])
        await answered(projector, "ONE")  # A connection that is new asks what some types are.
        one, many = await answered(projector, "ONE"), await answered(projector, "MANY")
    assert (len(one.accounts), len(many.accounts)) == (1, MANY)
    assert many.statements == one.statements
    assert len(set(one.statements)) == len(one.statements)
