"""Any mix of batches, duplicates, conflicts and acts, against a simple list.

The model is a list of what was recorded and one loop over it. It knows the order of the questions (known? expected?
allowed?) and the rules of a few acts, in the plainest words.
"""

import asyncio
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from schemas.codec import decode_recorded, open_record
from schemas.envelope import Refusal
from services.ledger.log import EventLog
from services.ledger.queue import Queue
from services.ledger.sequence import Outcome, Prepared, Request, Result
from services.ledger.sequencer import Sequencer
from services.migrate import TEAMS, make_ledger
from services.postgres import connect, open_pool
from services.sealing import MasterKey, MasterKeys, seal
from tests.conftest import Database
from tests.sequencing import Memory, prepare

BY = {"role": "r", "team": "sales"}


class Said(NamedTuple):
    """An event as a test case says it: few ids, few subjects, so that they meet."""

    id: int
    what: tuple[str, ...]
    expected: int | None = None

    def cloudevent(self) -> Any:
        kind, *names = self.what
        data: dict[str, Any]
        match kind:
            case "profiled":
                name, data = "account.profiled", {"account": names[0], "attributes": {"x": names[1]}}
            case "asked":
                name, data = "ask.recorded", {"requirement": names[0], "account": "a", "quote": f"We need {names[0]}."}
            case "reworded":
                name, data = "requirement.reworded", {"requirement": names[0], "title": "t", "reason": "r", "by": BY}
            case "revised":
                name, data = "agreement.revised", {
                    "agreement": "g", "revision": names[0], "title": "t", "stage": "exploratory", "bullets": [],
                    "threshold": 0, "signatories": ["sales", "product"], "reason": "r", "by": BY,
                }  # fmt: skip
            case "endorsed":
                name, data = "agreement.endorsed", {
                    "agreement": "g", "revision": names[0], "team": names[1], "meaning": names[2], "by": BY,
                }  # fmt: skip
            case "adopted":
                name, data = "agreement.adopted", {
                    "agreement": "g", "revision": names[0], "effective": "2026-01-01", "by": BY,
                }  # fmt: skip
            case _:
                name, data = "decision.made", {
                    "decision": names[0], "requirements": [names[1]], "outcome": names[2], "rationale": "r",
                    "instruction": "i", "deciders": [BY],
                }  # fmt: skip
        event = {
            "specversion": "1.0",
            "id": f"e-{self.id}",
            "source": "urn:test",
            "type": f"ledger.{name}.v1",
            "data": data,
        }
        return event if self.expected is None else event | {"expectedversion": self.expected}

    @property
    def subject(self) -> str:
        kind, first = self.what[0], self.what[1]
        return {
            "profiled": f"account/{first}", "asked": f"requirement/{first}", "reworded": f"requirement/{first}",
            "decided": f"decision/{first}",
        }.get(kind, "agreement/g")  # fmt: skip


class Asked(NamedTuple):
    events: list[Said]
    judge_only: bool = False


class Model:
    """The log as a list."""

    def __init__(self) -> None:
        self.recorded: list[Said] = []

    def post(self, request: Asked) -> list[tuple[int, int, bool]] | list[int]:
        """Position, version and duplicate of each event, or the places of those that are refused."""
        trial = list(self.recorded)
        answers: list[tuple[int, int, bool]] = []
        refused: list[int] = []
        for index, said in enumerate(request.events):
            before = [n for n, other in enumerate(trial) if other.id == said.id]
            if before:
                if trial[before[0]].what != said.what:
                    refused.append(index)
                else:
                    answers.append((before[0] + 1, self._version(trial[: before[0] + 1], said.subject), True))
            elif said.expected not in (None, self._version(trial, said.subject)) or not allowed(said, trial):
                refused.append(index)
            else:
                trial.append(said)
                answers.append((len(trial), self._version(trial, said.subject), False))
        if not refused and not request.judge_only:
            self.recorded = trial
        return refused or answers

    @staticmethod
    def _version(trial: list[Said], subject: str) -> int:
        return sum(said.subject == subject for said in trial)


def allowed(said: Said, recorded: list[Said]) -> bool:
    whats = [other.what for other in recorded]
    match said.what:
        case ("reworded", requirement) | ("decided", _, requirement, _) if ("asked", requirement) not in whats:
            return False
        case ("revised", revision):
            return ("revised", revision) not in whats
        case ("endorsed", revision, *_):
            return ("revised", revision) in whats
        case ("adopted", revision):
            words = {what[2]: what[3] for what in whats if what[:2] == ("endorsed", revision)}
            adopted = [what[1] for what in whats if what[0] == "adopted"]
            signed = all(words.get(team) not in (None, "object") for team in ("sales", "product"))
            return ("revised", revision) in whats and adopted[-1:] != [revision] and signed
        case ("decided", decision, *_):
            return not any(what[:2] == ("decided", decision) for what in whats)
    return True


accounts, requirements = st.sampled_from(["a", "b"]), st.sampled_from(["R", "S"])
revisions = st.sampled_from(["1", "2"])
whats = st.one_of(
    st.tuples(st.just("profiled"), accounts, st.sampled_from(["x", "y"])),
    st.tuples(st.just("asked"), requirements),
    st.tuples(st.just("reworded"), requirements),
    st.tuples(st.just("revised"), revisions),
    st.tuples(
        st.just("endorsed"), revisions, st.sampled_from(["sales", "product"]), st.sampled_from(["agree", "object"])
    ),
    st.tuples(st.just("adopted"), revisions),
    st.tuples(st.just("decided"), st.sampled_from(["D", "E"]), requirements, st.sampled_from(["commit", "defer"])),
)
saids = st.builds(
    Said, st.integers(1, 30), whats, st.one_of(st.none(), st.none(), st.none(), st.integers(0, 4))
)  # Most expect nothing, so that there is something to expect.
requests = st.builds(Asked, st.lists(saids, max_size=5), st.sampled_from([False, False, False, True]))
batches = st.lists(st.lists(requests, max_size=4), max_size=8)

# One way through all the rules, so that no run is without it.
THROUGH = [
    [Asked([Said(1, ("asked", "R"), 0), Said(2, ("revised", "1")), Said(3, ("endorsed", "1", "sales", "object"))])],
    [Asked([Said(4, ("endorsed", "1", "product", "agree"))]), Asked([Said(5, ("adopted", "1"))])],
    [Asked([Said(6, ("endorsed", "1", "sales", "agree")), Said(7, ("adopted", "1")), Said(1, ("asked", "R"))])],
    [Asked([Said(8, ("decided", "D", "R", "commit"))]), Asked([Said(9, ("decided", "D", "R", "defer"))])],
    [Asked([Said(10, ("adopted", "1")), Said(8, ("decided", "D", "R", "defer"))]), Asked([Said(10, ("adopted", "1"))])],
]


def answered(outcome: Outcome) -> list[tuple[int, int, bool]] | list[int]:
    """An outcome in the model's words."""
    places = [(each.position, each.version, each.duplicate) for each in outcome if isinstance(each, Result)]
    return places or list(dict.fromkeys(each.index for each in outcome if isinstance(each, Refusal)))


def asked(request: Asked, prepared: Sequence[Prepared]) -> Request:
    return Request(events=prepared, judge_only=request.judge_only)


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@example(THROUGH)
@given(batches)
def test_sequencing_does_what_a_list_does(batches: list[list[Asked]]):
    model, log = Model(), Memory()
    for batch in batches:
        outcomes = log.post(
            *[asked(request, [prepare(said.cloudevent()) for said in request.events]) for request in batch]
        )
        assert [answered(outcome) for outcome in outcomes] == [model.post(request) for request in batch]
        assert [sent.id for sent in log.sent] == [f"e-{said.id}" for said in model.recorded]
    assert [entry.position for entry in log.entries] == [*range(1, len(log.entries) + 1)]
    for entry in log.entries:
        recorded = decode_recorded(entry.state)
        assert (recorded.position, recorded.version, recorded.event) == (
            entry.position,
            entry.version,
            entry.prepared.sent.event,
        )


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(batches)
def test_how_requests_fall_into_batches_does_not_count(batches: list[list[Asked]]):
    whole, single = Memory(), Memory()
    every = [
        asked(request, [prepare(said.cloudevent()) for said in request.events])
        for batch in batches
        for request in batch
    ]
    together = whole.post(*every)
    apart = [single.post(request)[0] for request in every]
    assert [answered(outcome) for outcome in together] == [answered(outcome) for outcome in apart]
    assert [entry.prepared for entry in whole.entries] == [entry.prepared for entry in single.entries]


fresh = (f"l-{n}" for n in itertools.count())


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(THROUGH)
@given(batches)
async def test_a_real_log_does_what_a_list_does(database: Database, batches: list[list[Asked]]):
    model, name = Model(), next(fresh)
    master = MasterKeys.load_or_make(database.settings.master_key).newest
    owner = await connect(database.owner)
    await make_ledger(owner, database.settings, name)
    await owner.close()

    async with await open_pool(database.writer, connections_max=3) as pool:
        log = EventLog(pool, name)
        queue = Queue(events_max=10_000, bytes_max=2**30)
        async with Sequencer(log, teams=frozenset(TEAMS), master=master, queue=queue) as sequencer:
            for batch in batches:
                waiting = [asked(request, [ready(said, master) for said in request.events]) for request in batch]
                outcomes = await asyncio.gather(*map(sequencer.submit, waiting))
                assert [answered(outcome) for outcome in outcomes] == [model.post(request) for request in batch]

        rows = await pool.fetch(
            "SELECT notification_id, originator_version, subject, state, recorded_at"
            f' FROM "ledger_{name}".stored_events ORDER BY notification_id'
        )
        keys = await pool.fetch(f'SELECT position FROM "ledger_{name}".sealing_keys ORDER BY position')
    assert [row["notification_id"] for row in rows] == [*range(1, len(model.recorded) + 1)]
    recorded = [decode_recorded(row["state"]) for row in rows]
    assert [each.id for each in recorded] == [f"e-{said.id}" for said in model.recorded]
    assert len({each.id for each in recorded}) == len(recorded)
    assert [(each.position, each.version, each.subject, each.recordedtime) for each in recorded] == [
        (row["notification_id"], row["originator_version"], row["subject"], row["recorded_at"]) for row in rows
    ]
    for subject in {each.subject for each in recorded}:
        versions = [each.version for each in recorded if each.subject == subject]
        assert versions == [*range(1, len(versions) + 1)]
    # A refused request leaves no key behind either.
    asks = [position for position, said in enumerate(model.recorded, 1) if said.what[0] == "asked"]
    assert [row["position"] for row in keys] == asks


def ready(said: Said, master: MasterKey) -> Prepared:
    """An event with its texts sealed, as ingest makes it ready."""
    prepared = prepare(said.cloudevent())
    data, content, sealing = seal(prepared.sent, master)
    opened = open_record(prepared.sent, data, "key", "api_key")
    return replace(prepared, opened=opened, content=content, sealing=sealing)
