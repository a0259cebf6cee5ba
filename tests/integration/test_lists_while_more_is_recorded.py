"""A list that is being judged does not take in what others have read on meanwhile."""

import asyncio
import threading
from typing import Any

import pytest

from services.projector.answers import decisions
from services.projector.answers.held import Known
from tests.asking import asking
from tests.conftest import Database
from tests.log import event
from tests.readmodels import BY

SECONDS_MAX = 20


async def test_names_that_came_later_do_not_reach_a_list_under_way(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged, goes_on = threading.Event(), threading.Event()
    list_decisions = decisions.list_decisions

    def held_up(read: decisions.ListRead, known: Known | None) -> list[decisions.Listed]:
        judged.set()
        assert goes_on.wait(SECONDS_MAX)
        return list_decisions(read, known)

    def counts(answer: dict[str, Any]) -> dict[str, Any]:
        return {each["requirement"]: (each["accounts"], each["status"]) for each in answer["requirements"]}

    async with asking(database) as client:
        for number, account in enumerate(("acme", "bank")):
            asked = event("ask.recorded", requirement=f"R-{number}", account=account, ask=f"a-{number}", importance=1)
            await client.record(asked)
        # So many that what names stood for at the beginning is farther away than what they come to stand for.
        for number in range(9):
            await client.record(event("ask.recorded", requirement="R-9", account="x", ask=f"b-{number}", importance=1))
        await client.record(event("account.merged", account="x", into="y", reason="one", by=BY))
        made: dict[str, Any] = {"outcome": "decline", "rationale": "so", "instruction": "no", "grounds": "target"}
        await client.record(event("decision.made", decision="D", requirements=["R-0"], deciders=[BY], **made))
        position = client.head
        before = await client.answer("decisions/D", as_of=position)

        monkeypatch.setattr(decisions, "list_decisions", held_up)
        under_way = asyncio.create_task(client.answer("decisions", as_of=position))
        assert await asyncio.to_thread(judged.wait, SECONDS_MAX)
        # Names that are new altogether, and some that were there.
        await client.record(event("account.merged", account="new", into="newer", reason="one", by=BY))
        await client.record(event("account.merged", account="bank", into="acme", reason="one", by=BY))
        await client.record(event("requirement.merged", requirement="R-0", into="R-1", reason="one", by=BY))
        now = counts(await client.answer("requirements"))
        goes_on.set()
        [listed] = (await under_way)["decisions"]
        then = counts(await client.answer("requirements", as_of=position))

        assert (listed["departs"], listed["needs_review"]) == (before["departs"], bool(before["needs_review"]))
        assert then["R-0"][1] == "declined" and then["R-1"][1] == "open"
        assert [then[name][0]["undetermined"] for name in ("R-0", "R-1")] == [1, 1]
        assert now["R-0"][1] == "merged" and now["R-1"][0]["undetermined"] == 1
