"""Judging takes as long as it takes: no transaction stays open meanwhile, and the loop goes on."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import pytest
import structlog
from aiohttp import web

from services.keys import Keys
from services.openapi import describe
from services.postgres import connect
from services.projector.answers import whatif
from services.projector.http import routes
from services.projector.requests.meanings import meaning
from services.projector.requests.readings import LISTS_AT_ONCE_MAX
from services.web import application
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.log import event

SECONDS_MAX = 30
BY = {"role": "head of product", "team": "product"}
BULLETS = [{"bullet": "a", "text": "Some", "test": {"op": "exists", "attribute": "a"}}]


class Held(ThreadPoolExecutor):
    """The threads of a loop, of which none is free until `free` is called."""

    def __init__(self) -> None:
        super().__init__(max_workers=1)
        self._gate = threading.Event()
        super().submit(self._gate.wait)
        self.handed_over = asyncio.Event()
        self.works = 0

    def submit(self, *work: Any, **more: Any) -> "Future[Any]":
        self.handed_over.set()
        self.works += 1
        return super().submit(*work, **more)

    def free(self) -> None:
        self._gate.set()


async def held() -> Held:
    executor = Held()
    asyncio.get_running_loop().set_default_executor(executor)
    return executor


@asynccontextmanager
async def served(client: Asking) -> AsyncIterator[Asking]:
    """The same from a server as services.web runs it, which does not cancel a request whose client goes away."""
    declared = routes(client.projector)
    description = describe("The projector", "Answers", declared, meaning)
    app = application("projector", declared, Keys(client.projector.pool), client.projector.ready, description)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        async with aiohttp.ClientSession() as http:
            yield Asking(client.log, client.projector, f"http://{host}:{port}", client.keys, http)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    "path",
    [
        *("requirements", "accounts", "attributes", "feedback", "decisions", "promises", "alignment"),
        *("requirements/R-1", "decisions/D-1", "decisions/D-1/context", "accounts/acme"),
        *("requirements/R-1/outcome", "requirements/R-1/brief?voice=sales", "decisions/D-1/brief?voice=engineering"),
    ],
)
async def test_no_transaction_is_open_while_rows_are_judged(database: Database, path: str) -> None:
    async with asking(database) as client:
        await client.record(
            event("account.profiled", account="acme", attributes={"a": 1}),
            event("ask.recorded", requirement="R-1", account="acme"),
            event(
                "decision.made", decision="D-1", requirements=["R-1"], outcome="commit", rationale="so",
                instruction="do", deciders=[BY],
            ),
        )  # fmt: skip
        await client.answer("agreements")
        executor = await held()
        superuser = await connect(database.superuser)
        try:
            answer = asyncio.create_task(client.get(path, at_least=client.head))
            async with asyncio.timeout(SECONDS_MAX):
                await executor.handed_over.wait()
                # Others' transactions end by themselves; one that waited for the judgement would stay.
                while await superuser.fetchval(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
                ):
                    await asyncio.sleep(0.01)
            assert not answer.done()
        finally:
            executor.free()
            await superuser.close()
        assert (await answer).status == 200


@pytest.mark.parametrize("query", [{}, {"q": "R-1"}, {"class_": "undetermined"}])
@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
async def test_a_list_that_is_remembered_is_chosen_from_and_shown_beside_the_loop(
    database: Database, query: dict[str, Any], accept: str
) -> None:
    async with asking(database) as client:
        await client.record(*(event("ask.recorded", requirement=f"R-{number}", account="acme") for number in range(9)))
        await client.answer("requirements")
        executor = await held()
        try:
            answer = asyncio.create_task(client.get("requirements", headers={"Accept": accept}, **query))
            async with asyncio.timeout(SECONDS_MAX):
                await executor.handed_over.wait()
            assert not answer.done()
        finally:
            executor.free()
        assert (await answer).status == 200


@pytest.mark.parametrize("asked", [("feedback", {}), ("requirements", {"similar_to": "sign on"})])
async def test_what_is_opened_and_compared_leaves_room_for_others(
    database: Database, asked: tuple[str, dict[str, Any]]
) -> None:
    path, parameters = asked
    async with asking(database) as client:
        await client.record(
            event("requirement.raised", requirement="R-1", title="Single sign-on", problem="many passwords"),
            event("feedback.received", feedback="F-1", text="sign on once"),
        )
        before = await client.answer(path, key="personal", **parameters)
        holder, superuser = await connect(database.superuser), await connect(database.superuser)
        async with holder.transaction():
            await holder.execute("LOCK TABLE ledger_main.sealing_keys")
            opening = [asyncio.create_task(client.get(path, key="personal", **parameters)) for _ in range(12)]

            async def held_up() -> int:
                count: int = await superuser.fetchval(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
                )
                return count

            async with asyncio.timeout(SECONDS_MAX):
                while await held_up() < LISTS_AT_ONCE_MAX:
                    await asyncio.sleep(0.01)
            for other in ("projections", "requirements/R-1"):
                assert (await client.get(other)).status == 200
            assert await held_up() == LISTS_AT_ONCE_MAX
        await holder.close()
        await superuser.close()
        replies = await asyncio.gather(*opening)
        assert [(reply.status, reply.json) for reply in replies] == [(200, before)] * 12


async def test_a_what_if_waits_for_its_turn_and_none_is_made_for_who_went_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, begun, try_revision = threading.Event(), list[bool](), whatif.try_revision

    def held_up(*values: Any, **options: Any) -> Any:
        begun.append(goes_on.is_set())
        assert goes_on.wait(SECONDS_MAX)
        return try_revision(*values, **options)

    monkeypatch.setattr(whatif, "try_revision", held_up)
    async with asking(database) as testing, served(testing) as client:
        await client.record(
            event("account.profiled", account="acme", attributes={"a": 1}),
            event("ask.recorded", requirement="R-1", account="acme"),
            event(
                "agreement.revised", agreement="target-market", revision="r-1", title="Banks", threshold=60,
                bullets=BULLETS, signatories=["sales"], stage="focused", reason="focus", by=BY,
            ),
        )  # fmt: skip
        what_if = partial(
            client.post,
            "agreements/target-market/what-if",
            {"stage": "focused", "threshold": 60, "bullets": BULLETS},
            as_of=client.head,
        )
        with structlog.testing.capture_logs() as logs:
            try:
                async with asyncio.timeout(SECONDS_MAX):
                    first = [asyncio.create_task(what_if()) for _ in range(LISTS_AT_ONCE_MAX + 1)]
                    while not begun:
                        await asyncio.sleep(0.01)
                    goes_away = asyncio.create_task(what_if())
                    # However many wait, lists have their turns.
                    await client.answer("requirements")
                    assert begun == [False]
                    goes_away.cancel()
                    await asyncio.wait([goes_away])
            finally:
                goes_on.set()
            assert [reply.status for reply in await asyncio.gather(*first)] == [200] * len(first)
            async with asyncio.timeout(SECONDS_MAX):
                while len(ended := [log["status"] for log in logs if "what-if" in log.get("path", "")]) <= len(first):
                    await asyncio.sleep(0.01)
        assert sorted(ended) == [200] * len(first) + [503]
        assert len(begun) == len(first)
