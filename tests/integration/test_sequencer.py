"""Several sequencers on one log: a reader misses nothing, and of acts that exclude each other one wins."""

import asyncio
import itertools
import random
import time
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg
import pytest

from schemas.codec import Undecodable, decode_recorded
from schemas.envelope import Recorded, stream_uuid
from services.ledger import aggregates, sequencer
from services.ledger.log import EventLog, Filter
from services.ledger.sequence import Entry
from services.postgres import Unavailable, connect, open_pool
from tests.conftest import Database
from tests.ledger_process import LedgerProcess, processes
from tests.ledger_service import serving
from tests.log import event
from tests.writers import Writer, refused, writer

WRITERS = 4
REQUESTS_OF_A_WRITER = 40
SLOW_SECONDS_MAX = 0.02
READER_PAGE = 7
ROUNDS = 20

SALES = {"role": "account executive", "team": "sales"}
PRODUCT = {"role": "product manager", "team": "product"}


class SlowLog(EventLog):
    """A log that dawdles while it holds the lock, before and after it inserts, now and then for long."""

    async def append(self, connection: asyncpg.Connection, entries: Sequence[Entry], at: datetime) -> None:
        await asyncio.sleep(random.random() * SLOW_SECONDS_MAX)
        await super().append(connection, entries, at)
        await asyncio.sleep(random.random() ** 4 * SLOW_SECONDS_MAX)


def profile(account: str) -> Any:
    return event("account.profiled", account=account, attributes={"size": 1})


async def tail(log: EventLog, until: asyncio.Event) -> list[int]:
    """Read page after page from the last position seen, as a projector does, until all is written and read."""
    seen: list[int] = []
    after = 0
    while True:
        finished = until.is_set()
        page = await log.page(after, READER_PAGE, Filter())
        seen.extend(page.positions)
        after = page.positions[-1] if page.positions else after
        if finished and not page.positions:
            return seen


async def test_a_reader_that_tails_slow_writers_misses_nothing(database: Database) -> None:
    finished = asyncio.Event()
    async with AsyncExitStack() as stack:
        writers = [
            await stack.enter_async_context(writer(database, log=SlowLog if number % 2 else EventLog))
            for number in range(WRITERS)
        ]
        pool = await stack.enter_async_context(await open_pool(database.auditor, connections_max=2))

        async def post(number: int, each: Writer) -> list[int]:
            positions = []
            for n in range(REQUESTS_OF_A_WRITER):
                # Some requests are one event, some several; some streams are shared by all writers.
                events = [profile(f"shared-{n % 3}"), *(profile(f"own-{number}") for _ in range(n % 3))]
                positions += await each.record(*events)
                if number == 0:
                    await asyncio.sleep(random.random() * SLOW_SECONDS_MAX)
            return positions

        readers = [asyncio.create_task(tail(EventLog(pool, "main"), finished)) for _ in range(2)]
        given = await asyncio.gather(*(post(number, each) for number, each in enumerate(writers)))
        finished.set()
        seen = await asyncio.gather(*readers)

    everything = sorted(itertools.chain.from_iterable(given))
    assert everything == list(range(1, len(everything) + 1))
    for each in seen:
        assert each == everything


async def test_versions_of_a_shared_stream_count_up_in_the_order_of_positions(database: Database) -> None:
    async with writer(database, log=SlowLog) as one, writer(database) as two:
        await asyncio.gather(*(each.record(profile("shared")) for _ in range(30) for each in (one, two)))
        page = await one.log.page(0, 100, Filter(subject="account/shared"))
    assert [decode_recorded(state).version for state in page.states] == list(range(1, 61))


async def test_an_expected_version_is_met_by_one_of_many(database: Database) -> None:
    async with writer(database, log=SlowLog) as one, writer(database) as two:
        for version in range(10):
            outcomes = await asyncio.gather(
                *(each.submit(profile("a") | {"expectedversion": version}) for each in (one, two) for _ in range(2))
            )
            problems = sorted(refused(outcome) for outcome in outcomes)
            assert problems == [[], *[["version-conflict"]] * 3]


async def test_who_asks_again_once_answered_comes_along_with_those_who_waited(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "GATHER_SECONDS_MAX", 60)
    all_wait = asyncio.Event()
    committed: list[int] = []

    class Watched(EventLog):
        async def append(self, connection: asyncpg.Connection, entries: Sequence[Entry], at: datetime) -> None:
            committed.append(len(entries))
            await all_wait.wait()
            await super().append(connection, entries, at)

    async with writer(database, log=Watched) as one, asyncio.TaskGroup() as clients:

        async def client(number: int) -> None:
            for _ in range(5):
                await one.record(profile(f"account-{number}"))

        clients.create_task(client(0))
        while not committed:
            await asyncio.sleep(0)
        for number in range(1, 10):
            clients.create_task(client(number))
        await asyncio.sleep(0)
        all_wait.set()
    assert committed == [1, 10, 10, 10, 10, 9]


async def test_who_waits_for_a_turn_has_it_with_the_others_and_is_recorded_with_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "TURN_SECONDS_MAX", 60)
    committing, go_on = asyncio.Event(), asyncio.Event()
    done: list[str] = []

    class Watched(EventLog):
        async def append(self, connection: asyncpg.Connection, entries: Sequence[Entry], at: datetime) -> None:
            done.append(f"{len(entries)} recorded")
            committing.set()
            await go_on.wait()
            await super().append(connection, entries, at)

    async with writer(database, log=Watched) as one, asyncio.TaskGroup() as clients:

        async def client(number: int) -> None:
            await one.sequencer.turn()
            done.append("turn")
            if number:  # Nobody is waited for who has nothing to record after all.
                await one.record(profile(f"account-{number}"))

        clients.create_task(one.record(profile("account-0")))
        await committing.wait()
        waiting = [clients.create_task(client(number)) for number in range(5)]
        waiting.append(clients.create_task(one.record(profile("a-batch-needs-no-turn"))))
        waiting.append(clients.create_task(one.sequencer.turn()))
        await asyncio.sleep(0.01)
        waiting.pop().cancel()  # The client went away, which is nothing to the others.
        assert done == ["1 recorded"]
        go_on.set()
        await asyncio.gather(*waiting)
        assert done == ["1 recorded", *["turn"] * 5, "5 recorded"]
        await client(0)
        await client(6)
    assert done[-3:] == ["turn", "turn", "1 recorded"]


async def test_who_waited_for_a_turn_when_the_ledger_was_stopped_is_recorded(database: Database) -> None:
    async with asyncio.TaskGroup() as clients:

        async def client(number: int) -> list[int]:
            await one.sequencer.turn()
            return await one.record(profile(f"account-{number}"))

        async with writer(database) as one:
            recorded = [clients.create_task(client(number)) for number in range(3)]
            await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await one.sequencer.turn()
        with pytest.raises(Unavailable):
            await one.record(profile("late"))
    assert [each.result() for each in recorded] == [[1], [2], [3]]


async def test_who_is_refused_without_asking_the_log_does_not_wait_for_a_database_that_hangs(
    database: Database,
) -> None:
    holder = await connect(database.owner)
    async with serving(database.settings) as ledger, asyncio.TaskGroup() as clients:
        await holder.execute("BEGIN; SELECT FROM ledger_main.log_head FOR UPDATE")
        held_up = clients.create_task(ledger.post(profile("a")))
        await asyncio.sleep(0.1)
        assert (await ledger.post(profile("a") | {"type": "unknown"})).status == 422
        waiting = clients.create_task(ledger.post(profile("b")))
        assert (await ledger.post(profile("a") | {"type": "unknown"})).status == 422
        assert not held_up.done() and not waiting.done()
        await holder.execute("COMMIT")
    await holder.close()
    assert (held_up.result().status, waiting.result().status) == (201, 201)


async def test_wake_ups_of_many_commits_are_gathered_and_the_last_commit_has_one(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer, "NOTIFY_SECONDS_MIN", 0.3)
    listener = await connect(database.projector)
    heads: list[asyncio.Task[int]] = []
    reader = await open_pool(database.auditor, connections_max=2)
    log = EventLog(reader, "main")
    await listener.add_listener("ledger_events", lambda *_: heads.append(asyncio.create_task(log.max_position())))
    async with reader, serving(database.settings) as ledger:
        begun = time.monotonic()
        for _ in range(50):
            assert (await ledger.post(profile("a"))).status == 201
        lasted = time.monotonic() - begun
        said = len(heads)
        async with asyncio.timeout(30):
            while not heads or await heads[-1] < 50:
                await asyncio.sleep(0.01)
    await listener.close()
    assert said <= 1 + lasted / 0.3


# Acts that exclude each other, through two processes


def decision(number: int, *, outcome: str = "commit") -> Any:
    return event(
        "decision.made",
        decision=f"D-{number}",
        requirements=["R-1"],
        outcome=outcome,
        rationale="Asked for.",
        instruction="Build it.",
        deciders=[PRODUCT],
    )


def revision(agreement: str, *, threshold: int = 50) -> Any:
    return event(
        "agreement.revised",
        agreement=agreement,
        revision="r",
        title="Target market",
        stage="exploratory",
        bullets=[],
        threshold=threshold,
        signatories=["sales"],
        reason="A start.",
        by=PRODUCT,
    )


def endorsement(agreement: str, meaning: str) -> Any:
    return event("agreement.endorsed", agreement=agreement, revision="r", team="sales", meaning=meaning, by=SALES)


def adoption(agreement: str) -> Any:
    return event("agreement.adopted", agreement=agreement, revision="r", effective="2026-01-01", by=PRODUCT)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as session:
        yield session


async def post(session: aiohttp.ClientSession, ledger: LedgerProcess, *events: Any) -> tuple[int, Any]:
    async with session.post(
        f"{ledger.url}/v1/ledgers/main/events",
        json=events,
        headers={**ledger.headers, "Content-Type": "application/cloudevents-batch+json"},
    ) as answer:
        return answer.status, await answer.json(content_type=None)


async def test_two_processes_race_with_acts_that_exclude_each_other(
    database: Database, session: aiohttp.ClientSession
) -> None:
    async with processes(database.settings, 2, session) as both:

        async def race(number: int, *acts: Any) -> list[int]:
            """Each act through a process of its own, by turns; the statuses in the order of the acts."""
            one, two = both if number % 2 else reversed(both)
            answers = await asyncio.gather(post(session, one, acts[0]), post(session, two, acts[1]))
            for status, answer in answers:
                assert status == 201 or answer["type"] == "/problems/rule-not-met", answer
            return [status for status, _ in answers]

        await post(session, both[0], event("requirement.raised", requirement="R-1", title="One"))
        for number in range(ROUNDS):
            statuses = await race(number, decision(number, outcome="commit"), decision(number, outcome="decline"))
            assert sorted(statuses) == [201, 422]
            assert len(await history(session, both[0], f"decision/D-{number}")) == 1

            statuses = await race(number, revision(f"a-{number}", threshold=50), revision(f"a-{number}", threshold=60))
            assert sorted(statuses) == [201, 422]
            assert len(await history(session, both[1], f"agreement/a-{number}")) == 1

            # An adoption against an objection: before the objection it is recorded, after it it is refused.
            status, answer = await post(session, both[0], endorsement(f"a-{number}", "agree"))
            assert status == 201, answer
            statuses = await race(number, endorsement(f"a-{number}", "object"), adoption(f"a-{number}"))
            assert statuses[0] == 201
            stream = await history(session, both[1], f"agreement/a-{number}")
            last = [each["type"].split(".")[2] for each in stream[2:]]
            assert last == (["adopted", "endorsed"] if statuses[1] == 201 else ["endorsed"])


async def test_what_a_process_keeps_of_a_stream_is_not_believed_once_another_has_moved_it(
    database: Database,
) -> None:
    """Each sequencer keeps aggregates between batches; here all that it keeps is out of date each time."""
    async with writer(database) as one, writer(database) as two:
        await one.record(event("requirement.raised", requirement="R-1", title="One"))
        for number in range(ROUNDS):
            here, there = (one, two) if number % 2 else (two, one)
            agreement = f"a-{number}"
            await here.record(revision(agreement))
            assert refused(await there.submit(adoption(agreement))) == ["rule-not-met"]
            await here.record(endorsement(agreement, "agree"))
            assert refused(await there.submit(adoption(agreement), judge_only=True)) == []
            await here.record(endorsement(agreement, "object"))
            assert refused(await there.submit(adoption(agreement))) == ["rule-not-met"]
            await there.record(endorsement(agreement, "agree"))
            assert refused(await here.submit(adoption(agreement))) == []
            assert refused(await there.submit(revision(agreement))) == ["rule-not-met"]
            assert refused(await here.submit(decision(number))) == []
            assert refused(await there.submit(decision(number))) == ["rule-not-met"]


async def test_nor_is_it_believed_once_the_log_is_shorter_than_it_was(database: Database) -> None:
    """As after a fail-over to a server that had not received everything."""
    superuser = await connect(database.superuser)
    try:
        async with writer(database) as one:
            await one.record(event("requirement.raised", requirement="R-1", title="One"))
            await one.record(decision(1))
            await one.record(event("requirement.raised", requirement="R-2", title="Two"))
            assert refused(await one.submit(decision(1))) == ["rule-not-met"]
            await superuser.execute(
                "ALTER TABLE ledger_main.stored_events DISABLE TRIGGER stored_events_are_append_only;"
                "DELETE FROM ledger_main.stored_events WHERE notification_id > 1"
            )
            assert await one.record(decision(1)) == [2]
            assert refused(await one.submit(decision(1))) == ["rule-not-met"]
    finally:
        await superuser.close()


async def test_a_request_that_cannot_be_judged_keeps_none_of_its_batch_from_being_recorded(database: Database) -> None:
    async with writer(database) as one:
        await one.record(event("requirement.raised", requirement="R-1", title="One"))
        await one.record(decision(1))
    superuser = await connect(database.superuser)
    await superuser.execute(
        "ALTER TABLE ledger_main.stored_events DISABLE TRIGGER stored_events_are_append_only;"
        "UPDATE ledger_main.stored_events SET state = 'what nobody can read' WHERE notification_id = 2"
    )
    await superuser.close()

    async def answered(of: Writer, *events: Any) -> Any:
        """The answer. Of an error all is let go of, as at the edge; nobody else goes on in what it was raised in."""
        try:
            return await of.record(*events)
        except Exception as error:
            raised: BaseException | None = error
            while raised is not None:
                traceback.clear_frames(raised.__traceback__)
                raised = raised.__context__
            return error

    async with writer(database) as one, asyncio.timeout(60):
        requests = [profile("a-1")], [decision(1)], [profile("a-2")]
        first, refusal, last = await asyncio.gather(*(answered(one, *request) for request in requests))
        assert [first, last] == [[3], [4]]
        assert isinstance(refusal, Undecodable)
        assert await answered(one, profile("a-3")) == [5]


async def history(session: aiohttp.ClientSession, ledger: LedgerProcess, subject: str) -> list[Any]:
    async with session.get(f"{ledger.url}/v1/ledgers/main/streams/{subject}", headers=ledger.headers) as answer:
        assert answer.status == 200
        events: list[Any] = (await answer.json())["events"]
    return events


async def test_the_streams_of_a_request_are_read_a_page_at_a_time_whole_and_in_order(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("services.ledger.log.PAGE_EVENTS_MAX", 3)
    async with writer(database) as one:
        names = [f"R-{number}" for number in range(5)]
        for name in names * 4:
            await one.record(event("ask.recorded", requirement=name, account="acme"))
        after = {stream_uuid(f"requirement/{name}"): number for number, name in enumerate(names)}
        found: dict[UUID, list[int]] = {uuid: [] for uuid in after}
        async for uuid, recorded in one.log.streams(after):
            found[uuid].append(recorded.version)
    assert found == {uuid: [*range(version + 1, 5)] for uuid, version in after.items()}


class CountingLog(EventLog):
    """A log that knows how often each stream was read."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.read: Counter[UUID] = Counter()

    def streams(
        self, after: Mapping[UUID, int], connection: asyncpg.Connection | None = None
    ) -> AsyncIterator[tuple[UUID, Recorded]]:
        self.read.update(after.keys())
        return super().streams(after, connection)


async def test_of_the_streams_that_are_kept_the_one_that_is_asked_for_again_and_again_stays(
    database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(aggregates, "AGGREGATES_KEPT_MAX", 2)
    async with writer(database, log=CountingLog) as one:
        await one.record(revision("busy"))
        for number in range(5):
            await one.record(revision(f"a-{number}"))
            await one.record(endorsement("busy", "agree"))
        assert isinstance(one.log, CountingLog)
        read = one.log.read
    assert read[stream_uuid("agreement/busy")] == 1
    assert read[stream_uuid("agreement/a-0")] == 1
