"""What is about one subject while one read model is behind the others: an answer is at one position, that one."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest

from schemas.envelope import Recorded
from services.projector import feed
from services.projector import runner as runner_module
from services.projector.answers.held import READS, Held
from services.projector.answers.snapshot import Snapshot
from services.projector.counting.counted import Counted
from services.projector.projections import ALL
from services.projector.projections.projection import Row
from services.projector.runner import Stopped
from tests.asking import Asking, Reply, asking
from tests.conftest import Database
from tests.log import event
from tests.readmodels import BY, reached

BEFORE = [
    event(
        "agreement.revised",
        agreement="target-market",
        revision="h1",
        title="Banks",
        stage="focused",
        threshold=60,
        bullets=[{"bullet": "big", "text": "Large", "test": {"op": "gte", "attribute": "size", "value": 50}}],
        signatories=["product"],
        reason="First.",
        by=BY,
    ),
    event("agreement.adopted", agreement="target-market", revision="h1", effective="2026-01-01", by=BY),
    event("account.profiled", account="acme", name="Acme", attributes={"size": 60}),
    event("requirement.raised", requirement="SSO", title="Single sign-on", by=BY),
    event("ask.recorded", requirement="SSO", account="acme", ask="k-1", importance=3),
    event(
        "decision.made",
        decision="D-1",
        requirements=["SSO"],
        outcome="commit",
        rationale="It sells.",
        instruction="Build it.",
        deciders=[BY],
    ),
    event("promise.made", promise="P-1", account="acme", requirement="SSO", due="2027-01-31", by=BY),
]
BEHIND = len(BEFORE)
"""Where one read model is held back."""

FIRST_BEHIND = {
    "accounts": event("account.profiled", account="acme", name="Acme Bank", attributes={"size": 10}),
    "promises": event("promise.made", promise="P-2", account="zeta", requirement="SSO", due="2027-02-28", by=BY),
    "decisions": event("decision.superseded", decision="D-1", superseded_by="D-2", reason="Times change.", by=BY),
}
"""Of each read model that is held back, the event at which it is."""
MORE_BEHIND = [
    event("ask.recorded", requirement="SSO", account="zeta", ask="k-2"),
    event("delivery.updated", requirement="SSO", state="planned", target="2027-08-31"),
    event("opportunity.updated", opportunity="O", account="acme", stage="open", amount="7", currency="EUR"),
    event("promise.closed", promise="P-1", outcome="kept", by=BY),
]
HEAD = BEHIND + len(FIRST_BEHIND) + len(MORE_BEHIND)

BRIEFS = (
    "decisions/D-1/brief?voice=engineering",
    "decisions/D-1/brief?voice=sales",
    "requirements/SSO/brief?voice=sales",
)


class Looked:
    """What was looked up in memory for answers about one subject: up to which position that was held, or None."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.up_to: list[int | None] = []
        at_hand = Held.at_hand

        async def looked(held: Held, snapshot: Snapshot) -> Counted | None:
            counted = await at_hand(held, snapshot)
            self.up_to.append(None if counted is None else counted.position)
            return counted

        monkeypatch.setattr(Held, "at_hand", looked)


@asynccontextmanager
async def one_stopped(database: Database, name: str) -> AsyncIterator[Asking]:
    """A service in which all events are in every read model but one, which stopped at BEHIND."""

    def fold(recorded: Recorded) -> Iterator[Row]:
        if recorded.position > BEHIND:
            raise ZeroDivisionError("by what came later")
        return stopping.fold(recorded)

    stopping = next(each for each in ALL if each.name == name)
    # The same version: that of another fold would have the read model built anew.
    projections = [msgspec.structs.replace(each, fold=fold) if each.name == name else each for each in ALL]
    async with asking(database, projections=projections) as client:
        after = [FIRST_BEHIND[name], *(each for at, each in FIRST_BEHIND.items() if at != name), *MORE_BEHIND]
        await client.record(*BEFORE, *after)
        runner = await client.projector.ledger("main")
        await reached(runner, HEAD, *(each.name for each in ALL if each.name != name))
        with pytest.raises(Stopped):
            await reached(runner, HEAD, name)
        yield client


@asynccontextmanager
async def one_behind(
    database: Database, name: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Asking, asyncio.Event]]:
    """A service in which one read model is at BEHIND and all others at HEAD, until the event is set."""
    async with one_stopped(database, name):
        pass
    go_on = asyncio.Event()

    async def read_page(connection: Any, statements: Any, after: int, topics: Any) -> feed.Page:
        await go_on.wait()
        return await feed.read_page(connection, statements, after, topics)

    monkeypatch.setattr(runner_module, "read_page", read_page)
    async with asking(database) as client:
        yield client, go_on


async def answers(database: Database, position: int) -> dict[str, Any]:
    """What the briefs say of a position once all read models have come to the head, when nothing is held in memory."""
    async with asking(database) as client:
        await reached(await client.projector.ledger("main"), HEAD)
        return {path: (await client.get(path, as_of=position)).json for path in BRIEFS}


class Anew:
    """Asks in words that nobody has asked in before, so that no answer is one that was kept."""

    def __init__(self, client: Asking) -> None:
        self._client = client
        self._times = 0

    async def __call__(self, path: str, timeout: float = 0.0, **parameters: Any) -> Reply:
        self._times += 1
        return await self._client.get(path, timeout=timeout + self._times / 10_000, **parameters)


@pytest.mark.parametrize("name", ["promises", "accounts", "decisions"])
async def test_a_brief_is_told_at_the_position_of_the_read_model_that_is_behind(
    database: Database, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = Looked(monkeypatch)
    told: list[tuple[str, Any]] = []
    async with one_behind(database, name, monkeypatch) as (client, go_on):
        ask = Anew(client)

        async def ask_each() -> None:
            for parameters in ({}, {"at_least": BEHIND}, {"as_of": BEHIND}):
                told.extend([(path, (await ask(path, **parameters)).json) for path in BRIEFS])

        await ask_each()
        assert looked.up_to == [None] * 9
        listed = await client.get("requirements")
        assert listed.json["as_of"]["position"] == (BEHIND if name in READS else HEAD)
        await ask_each()
        # What is held up to more than the brief's read models have got to is not looked into.
        assert looked.up_to[9:] == [BEHIND if name in READS else None] * 9
        for path in BRIEFS:
            for parameters in ({"as_of": HEAD}, {"at_least": BEHIND + 1}):
                refused = await ask(path, **parameters)
                assert (refused.status, refused.json["type"]) == (504, "/problems/not-there-yet"), refused.body
        go_on.set()
    right = await answers(database, BEHIND)
    assert {each["as_of"]["position"] for each in right.values()} == {BEHIND}
    for path, answer in told:
        assert answer == right[path], path


async def test_what_is_held_is_read_on_no_farther_than_the_read_model_that_is_behind(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = Looked(monkeypatch)
    async with one_behind(database, "promises", monkeypatch) as (client, go_on):
        ask = Anew(client)
        told = []
        for parameters in ({"as_of": BEHIND - 2}, {"as_of": BEHIND - 1}, {}):
            # A list has a little held; a brief of what is close behind that has it read on.
            await client.get("requirements", as_of=BEHIND - 3)
            told.append({path: (await ask(path, **parameters)).json for path in BRIEFS})
        assert looked.up_to == [position for position in (BEHIND - 2, BEHIND - 1, BEHIND) for _ in BRIEFS]
        # Who does without what is behind is answered at the head, and what is held is read on to there.
        for path in ("requirements/SSO", "decisions/D-1", "accounts/acme"):
            assert (await ask(path)).json["as_of"]["position"] == HEAD
        assert looked.up_to[-3:] == [HEAD] * 3
        told.append({path: (await ask(path)).json for path in BRIEFS})
        assert looked.up_to[-3:] == [None] * 3
        go_on.set()
    assert told == [await answers(database, position) for position in (BEHIND - 2, BEHIND - 1, BEHIND, BEHIND)]


async def test_who_waits_for_the_read_model_that_is_behind_is_told_of_all_that_was_recorded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with one_behind(database, "promises", monkeypatch) as (client, go_on):
        await client.get("requirements", as_of=BEHIND)  # Close behind is what is held.
        ask = Anew(client)
        waiting = [
            asyncio.create_task(ask(path, timeout=29, **parameters))
            for path in BRIEFS
            for parameters in ({"at_least": HEAD}, {"as_of": HEAD})
        ]
        assert not (await asyncio.wait(waiting, timeout=0.2))[0]
        go_on.set()
        told = [(await each).json for each in waiting]
    right, before = await answers(database, HEAD), await answers(database, BEHIND)
    assert told == [right[path] for path in BRIEFS for _ in range(2)]
    assert all(right[path] != before[path] for path in BRIEFS)


async def test_a_read_model_that_has_stopped_holds_up_the_briefs_and_nobody_who_does_without_it(
    database: Database,
) -> None:
    async with one_stopped(database, "promises") as client:
        ask = Anew(client)
        told = []
        for listed in ({"as_of": BEHIND - 3}, {}):  # Close behind is what is held, and then beyond.
            await client.get("requirements", **listed)
            for path in BRIEFS:
                for parameters in ({}, {"as_of": HEAD}, {"at_least": HEAD}):
                    refused = await ask(path, timeout=20, **parameters)
                    assert (refused.status, refused.json["type"]) == (503, "/problems/projection-stopped")
                    assert refused.json["projection"] == "promises"
            told.append({path: (await ask(path, as_of=BEHIND)).json for path in BRIEFS})
            assert (await ask("decisions/D-1")).json["as_of"]["position"] == HEAD
    assert told == [await answers(database, BEHIND)] * 2
