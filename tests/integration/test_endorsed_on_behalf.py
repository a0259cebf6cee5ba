"""Endorsements of several teams by one key are shown as recorded on behalf of."""

from typing import Any

from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import event

BY = {"role": "head of product", "team": "product"}


def revised(agreement: str, revision: str) -> Any:
    return event(
        "agreement.revised", agreement=agreement, revision=revision, title="Banks", stage="exploratory", bullets=[],
        threshold=60, signatories=["sales", "product"], reason="focus", by=BY,
    )  # fmt: skip


async def endorse(client: Asking, team: str, key: str, agreement: str = "banks", revision: str = "r1") -> int:
    said = {"agreement": agreement, "revision": revision, "team": team, "meaning": "agree", "by": BY}
    [position] = await client.record(event("agreement.endorsed", **said), authid=key)
    return position


async def shown(client: Asking, **more: Any) -> list[tuple[str, str, bool]]:
    """Team, key, and whether on behalf of, of every endorsement of the agreement `banks`."""
    answer = await client.answer("agreements/banks", **more)
    return [
        (each["team"], each["recorded_by"], each["recorded_on_behalf_of"])
        for revision in answer["revisions"]
        for each in revision["endorsements"]
    ]


async def test_a_key_that_has_endorsed_for_two_teams_has_recorded_both_on_their_behalf(database: Database) -> None:
    async with asking(database) as client:
        await client.record(revised("banks", "r1"))
        first = await endorse(client, "sales", "k-1")
        assert await shown(client) == [("sales", "k-1", False)]
        await endorse(client, "product", "k-1")
        assert await shown(client) == [("sales", "k-1", True), ("product", "k-1", True)]
        assert await shown(client, as_of=first) == [("sales", "k-1", False)]
        one = await client.answer("agreements/banks/revisions/r1")
        assert [each["recorded_on_behalf_of"] for each in one["endorsements"]] == [True, True]


async def test_a_team_with_a_key_of_its_own_speaks_for_itself(database: Database) -> None:
    async with asking(database) as client:
        await client.record(revised("banks", "r1"))
        await endorse(client, "sales", "k-1")
        await endorse(client, "product", "k-2")
        assert await shown(client) == [("sales", "k-1", False), ("product", "k-2", False)]
        await endorse(client, "marketing", "k-2")
        assert [each[2] for each in await shown(client)] == [False, True, True]


async def test_the_same_team_twice_is_one_team_however_it_is_written(database: Database) -> None:
    async with asking(database) as client:
        await client.record(revised("banks", "r1"), revised("banks", "r2"))
        await endorse(client, "sales", "k-1")
        await endorse(client, "Sales ", "k-1", revision="r2")
        assert await shown(client) == [("sales", "k-1", False), ("Sales ", "k-1", False)]


async def test_teams_count_over_the_revisions_of_one_agreement_only(database: Database) -> None:
    async with asking(database) as client:
        await client.record(revised("banks", "r1"), revised("banks", "r2"), revised("insurers", "r1"))
        await endorse(client, "sales", "k-1")
        await endorse(client, "product", "k-1", agreement="insurers")
        assert await shown(client) == [("sales", "k-1", False)]
        await endorse(client, "product", "k-1", revision="r2")
        assert await shown(client) == [("sales", "k-1", True), ("product", "k-1", True)]
