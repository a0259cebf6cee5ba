"""What rules ask the log of accounts and requirements, against a replay of all that was ever said of them."""

import asyncio
import itertools
from typing import Any, NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from schemas.envelope import Refusal, event_uuid
from services.ledger.log import EventLog
from services.ledger.queue import Queue
from services.ledger.sequence import Outcome, Request
from services.ledger.sequencer import Sequencer
from services.migrate import TEAMS, make_ledger
from services.postgres import connect, open_pool
from services.sealing import MasterKeys
from tests.conftest import Database
from tests.sequencing import Memory, prepare

BY = {"role": "r", "team": "sales"}
SOURCE = "urn:test"


class Said(NamedTuple):
    """An event as a test case says it."""

    what: tuple[Any, ...]

    def cloudevent(self, number: int, subjects: list[str]) -> Any:
        act = {"reason": "r", "by": BY}
        data: dict[str, Any]
        match self.what:
            case ("raised", name):
                type, data = "requirement.raised", {"requirement": name, "title": "t"}
            case ("asked", name, ask):
                type, data = "ask.recorded", {"requirement": name, "account": "a", "labels": {"ask": "k-2"}}
                data |= {} if ask is None else {"ask": ask}
            case ("withdrawn", name):
                type, data = "ask.withdrawn", {"requirement": name, "ask": "k-1"}
            case ("reworded", name):
                type, data = "requirement.reworded", {"requirement": name, "title": "t"} | act
            case ("moved", name, ask, to):
                type, data = "ask.moved", {"requirement": name, "ask": ask, "to": to} | act
            case ("merged", kind, name, into):
                type, data = f"{kind}.merged", {kind: name, "into": into} | act
            case ("unmerged", kind, name):
                type, data = f"{kind}.unmerged", {kind: name} | act
            case ("identified", name, system):
                type, data = "account.identified", {"account": name, "same_as": [{"system": system, "id": "a"}]}
            case ("retracted", position):
                subject = subjects[position - 1] if position <= len(subjects) else "requirement/R"
                type, data = "event.retracted", {"position": position, "subject": subject} | act
            case _:
                raise NotImplementedError(self.what)
        return {"specversion": "1.0", "id": f"e-{number}", "source": SOURCE, "type": f"ledger.{type}.v1", "data": data}


def made(number: int) -> str:
    """The id of an ask that came without one."""
    return event_uuid(SOURCE, f"e-{number}").hex


names, accounts = st.sampled_from(["R", "S", "T"]), st.sampled_from(["a", "b", "crm:a", "erp:a"])
given_ids = st.sampled_from(["k-1", "k-2"])
ids = given_ids | st.integers(0, 12).map(made)
whats = st.one_of(
    st.tuples(st.just("raised"), names),
    st.tuples(st.just("asked"), names, st.none() | given_ids | st.integers(0, 12).map(made)),
    st.tuples(st.just("withdrawn"), names),
    st.tuples(st.just("reworded"), names),
    st.tuples(st.just("moved"), names, ids, names),
    st.tuples(st.just("merged"), st.just("requirement"), names, names),
    st.tuples(st.just("unmerged"), st.just("requirement"), names),
    st.tuples(st.just("identified"), accounts, st.sampled_from(["crm", "erp"])),
    st.tuples(st.just("merged"), st.just("account"), accounts, accounts),
    st.tuples(st.just("unmerged"), st.just("account"), accounts),
    st.tuples(st.just("retracted"), st.integers(1, 15)),
)
requests = st.lists(st.builds(Said, whats), min_size=1, max_size=3)
batches = st.lists(st.lists(requests, min_size=1, max_size=4), min_size=1, max_size=10)

# Through all that is asked, with what is left of it by then. Behind an act its position, if it is recorded.
THROUGH = [
    [[("asked", "R", None), ("asked", "R", "k-1"), ("raised", "S")]],
    [[("moved", "R", made(0), "S")], [("moved", "R", "k-1", "S")]],  # 4, 5
    # One is only what a label says, one was given another id, one was recorded elsewhere.
    [[("moved", "R", "k-2", "S")], [("moved", "R", made(1), "S")], [("moved", "S", "k-1", "R")]],
    [[("raised", "T"), ("asked", "R", "k-1"), ("moved", "R", "k-1", "T")], [("moved", "R", "k-1", "T")]],  # 8
    [[("moved", "R", "k-1", "S"), ("moved", "R", made(0), "T")]],  # 9, 10
    [[("retracted", 1)], [("reworded", "R")]],  # 11, 12
    [[("retracted", 7)]],  # 13
    [[("reworded", "R")], [("retracted", 2)], [("reworded", "R")]],  # 14, 15
    [[("reworded", "R")], [("merged", "requirement", "S", "R")]],
    [[("raised", "R"), ("merged", "requirement", "R", "S"), ("retracted", 16), ("unmerged", "requirement", "R")]],
    [[("merged", "requirement", "R", "S")]],
    [[("asked", "R", "k-2")], [("merged", "requirement", "R", "T")]],  # 20, 21
    [[("merged", "requirement", "R", "S")], [("merged", "requirement", "S", "R")], [("unmerged", "requirement", "R")]],
    [[("identified", "a", "crm"), ("identified", "a", "erp")], [("merged", "account", "a", "crm:a")]],  # 23, 24
    [[("retracted", 23)], [("merged", "account", "a", "erp:a")]],  # 25
    [[("merged", "account", "a", "crm:a")], [("merged", "account", "crm:a", "b")]],  # 26, 27
    [[("unmerged", "account", "a")], [("unmerged", "account", "a")]],  # 28
]
RECORDED = 28

fresh = (f"asked-{number}" for number in itertools.count())


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example([[[*map(Said, request)] for request in batch] for batch in THROUGH])
@given(batches)
async def test_rules_are_told_what_a_replay_would_tell_them(database: Database, batches: list[list[list[Said]]]):
    name = next(fresh)
    owner = await connect(database.owner)
    await make_ledger(owner, database.settings, name)
    await owner.close()
    master = MasterKeys.load_or_make(database.settings.master_key).newest
    numbers, memory = itertools.count(), Memory()

    async with await open_pool(database.writer, connections_max=3) as pool:
        queue = Queue(events_max=10_000, bytes_max=2**30)
        async with Sequencer(EventLog(pool, name), teams=frozenset(TEAMS), master=master, queue=queue) as sequencer:
            for batch in batches:
                subjects = [sent.subject for sent in memory.sent]
                waiting = [
                    Request(events=[prepare(said.cloudevent(next(numbers), subjects)) for said in request])
                    for request in batch
                ]
                ours = await asyncio.gather(*map(sequencer.submit, waiting))
                theirs = memory.post(*waiting)
                assert [*map(told, ours)] == [*map(told, theirs)]


def test_the_way_through_is_as_its_comments_say():
    numbers, memory = itertools.count(), Memory()
    for batch in THROUGH:
        subjects = [sent.subject for sent in memory.sent]
        memory.post(
            *[
                Request(events=[prepare(Said(what).cloudevent(next(numbers), subjects)) for what in request])
                for request in batch
            ]
        )
    assert len(memory.sent) == RECORDED


def told(outcome: Outcome) -> list[Any]:
    """What an outcome says, but for times."""
    return [
        (each.problem, each.pointer, each.message) if isinstance(each, Refusal) else (each.position, each.version)
        for each in outcome
    ]
