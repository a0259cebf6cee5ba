"""The library `eventsourcing`: our recorder keeps its contract, and its own reader finds in our log what we find.

Its load tests (test_performance, test_concurrent_*) are left out: they measure, and take minutes over a bridge
that no service has. What they would find in a log is attacked in test_sequencer.py.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from threading import Thread
from typing import Any, TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest
from eventsourcing.application import Application
from eventsourcing.persistence import (
    AggregateRecorder,
    ApplicationRecorder,
    Mapper,
    Notification,
    ProgrammingError,
    StoredEvent,
    Subscription,
)
from eventsourcing.tests import persistence as shipped
from eventsourcing.utils import get_topic, register_topic
from immutables import Map
from psycopg.conninfo import conninfo_to_dict

from schemas.codec import decode_recorded
from schemas.envelope import Recorded, stream_uuid
from schemas.examples import EXAMPLES
from services.ledger import rules
from services.ledger.log import EventLog, Filter
from services.ledger.rules import Aggregate
from services.ledger.rules.agreement import Agreement, Revision
from services.ledger.rules.decision import Decision
from services.ledger.rules.requirement import Requirement
from services.postgres import open_pool
from tests.conftest import Database
from tests.log import event
from tests.writers import writer

CONNECTIONS_MAX = 4

T = TypeVar("T")


class Bridge:
    """Lets synchronous callers, from any thread, use one event log in an event loop of its own."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)
        self._thread.start()
        self._pool: asyncpg.Pool = self.wait(open_pool(url, connections_max=CONNECTIONS_MAX))
        self.log = EventLog(self._pool, "main")

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        self.wait(self._pool.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class AggregateFacade(AggregateRecorder):
    """The part of the contract for aggregates, whose insert_events gives no positions."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        self._bridge.wait(self._bridge.log.insert_events(stored_events))
        return None

    def select_events(self, originator_id: UUID | str, **kwargs: Any) -> Sequence[StoredEvent]:
        assert isinstance(originator_id, UUID)
        return self._bridge.wait(self._bridge.log.select_events(originator_id, **kwargs))


class ApplicationFacade(AggregateFacade, ApplicationRecorder):
    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        return self._bridge.wait(self._bridge.log.insert_events(stored_events))

    def select_notifications(self, *args: Any, **kwargs: Any) -> Sequence[Notification]:
        return self._bridge.wait(self._bridge.log.select_notifications(*args, **kwargs))

    def max_notification_id(self) -> int | None:
        return self._bridge.wait(self._bridge.log.max_notification_id())

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        raise NotImplementedError("those who tail this log read it, over HTTP or as the projector does")


@pytest.fixture
def bridge(database: Database) -> Iterator[Bridge]:
    bridge = Bridge(database.writer)
    yield bridge
    bridge.close()


class TestAggregateRecorder(shipped.AggregateRecorderTestCase):
    test_performance = None

    @pytest.fixture(autouse=True)
    def _on_a_database(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def create_recorder(self) -> AggregateRecorder:
        return AggregateFacade(self.bridge)

    def test_a_stream_that_begins_at_version_0_is_read_from_there(self) -> None:
        event = StoredEvent(uuid4(), 0, "topic", b"state")
        recorder = self.create_recorder()
        recorder.insert_events([event])
        assert recorder.select_events(event.originator_id) == [event]


class TestApplicationRecorder(shipped.ApplicationRecorderTestCase[ApplicationRecorder]):
    test_performance = None
    test_concurrent_no_conflicts = None
    test_concurrent_throughput = None

    @pytest.fixture(autouse=True)
    def _on_a_database(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def create_recorder(self) -> ApplicationRecorder:
        return ApplicationFacade(self.bridge)


class TestNonInterleavingNotificationIDs(shipped.NonInterleavingNotificationIDsBaseCase):
    @pytest.fixture(autouse=True)
    def _on_a_database(self, bridge: Bridge) -> None:
        self.bridge = bridge

    def create_recorder(self) -> ApplicationRecorder:
        return ApplicationFacade(self.bridge)


# The second implementation


class LedgerMapper(Mapper[UUID]):
    """Decodes what this ledger stores."""

    def to_domain_event(self, stored_event: StoredEvent) -> Any:
        recorded = decode_recorded(stored_event.state)
        assert recorded.version == stored_event.originator_version
        assert recorded.type == stored_event.topic
        assert stream_uuid(recorded.subject) == stored_event.originator_id
        return recorded


register_topic("tests.LedgerMapper", LedgerMapper)


class Stock(Application[UUID]):
    """The library's application as it comes: synchronous, on psycopg. Its empty name makes the table's."""

    name = ""


@pytest.fixture
async def stock(database: Database) -> Any:
    """The stock application, as the auditor, who may only read."""
    parts = {"port": 5432} | conninfo_to_dict(database.auditor)
    application = Stock(
        {
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "MAPPER_TOPIC": get_topic(LedgerMapper),
            "CREATE_TABLE": "n",
            "POSTGRES_SCHEMA": "ledger_main",
            "POSTGRES_DBNAME": str(parts["dbname"]),
            "POSTGRES_HOST": str(parts["host"]),
            "POSTGRES_PORT": str(parts["port"]),
            "POSTGRES_USER": str(parts["user"]),
            "POSTGRES_PASSWORD": str(parts["password"]),
        }
    )
    yield application
    application.close()


def fold(state: Aggregate | None, events: Iterable[Recorded]) -> Aggregate | None:
    for recorded in events:
        state = rules.replay(recorded.subject, [(recorded.position, recorded.event)], state)
    return state


def act(name: str, **changed: Any) -> Any:
    return event(name, **EXAMPLES[f"ledger.{name}.v1"] | changed)


HISTORY = [
    act("requirement.raised"),
    act("ask.recorded"),
    act("agreement.revised"),
    act("agreement.revised", revision="2027-h1", signatories=["sales", "Product"]),
    *(act("agreement.endorsed", team=team) for team in ("sales", "marketing", "Engineering")),
    act("agreement.endorsed", revision="2027-h1", meaning="object"),
    act("agreement.adopted"),
    act("decision.proposed"),
    act("requirement.reworded"),
    act("decision.made"),
    act("person.introduced"),
    act("delivery.updated"),
]


async def test_its_stock_application_replays_our_aggregates(database: Database, stock: Stock) -> None:
    async with writer(database) as one:
        for each in HISTORY:
            await one.record(each)
        ours = {
            subject: [recorded async for _, recorded in one.log.streams({stream_uuid(subject): 0})]
            for subject in ("agreement/target-market", "decision/D-7", "requirement/SSO-42")
        }

    for subject, recorded in ours.items():
        assert recorded
        for version in range(1, len(recorded) + 1):
            theirs = stock.repository.get(stream_uuid(subject), version=version, projector_func=fold)
            assert theirs == fold(None, recorded[:version])
        assert stock.repository.get(stream_uuid(subject), projector_func=fold) == theirs

    # So that two wrongs do not make a right: what these aggregates are.
    assert stock.repository.get(stream_uuid("decision/D-7"), projector_func=fold) == Decision(
        options=frozenset({"saml-first", "wait"}), made=12
    )
    assert stock.repository.get(stream_uuid("requirement/SSO-42"), projector_func=fold) == Requirement(
        heard=Map({1: None, 2: None}), asks=Map({"acme-sso": "SSO-42"})
    )
    words = {"sales": "agree_with_reservations", "marketing": "agree_with_reservations"}
    assert stock.repository.get(stream_uuid("agreement/target-market"), projector_func=fold) == Agreement(
        revisions={
            "2026-h2": Revision(
                ("sales", "marketing", "engineering"), words | {"engineering": "agree_with_reservations"}
            ),
            "2027-h1": Revision(("sales", "Product"), {"sales": "object"}),
        },
        adopted=("2026-h2", "2026-07-01"),
    )


async def test_its_notification_log_reads_our_positions(database: Database, stock: Stock) -> None:
    async with writer(database) as one:
        for each in HISTORY:
            await one.record(each)
        ours = await one.log.page(0, 100, Filter())
        notifications = await one.log.select_notifications(4, 5)

    theirs = [*stock.notification_log.select(start=1, limit=10), *stock.notification_log.select(start=11, limit=10)]
    assert [each.id for each in theirs] == ours.positions == list(range(1, len(HISTORY) + 1))
    assert [each.state for each in theirs] == ours.states
    assert stock.notification_log.select(start=4, limit=5) == notifications
    assert stock.recorder.max_notification_id() == len(HISTORY)
    section = stock.notification_log["1,10"]
    assert [each.id for each in section.items] == list(range(1, 11))
    of_type = stock.notification_log.select(start=1, limit=10, topics=["ledger.agreement.endorsed.v1"])
    assert [each.id for each in of_type] == [5, 6, 7, 8]


async def test_it_cannot_write_there(database: Database, stock: Stock) -> None:
    with pytest.raises(ProgrammingError):
        stock.recorder.insert_events([StoredEvent(stream_uuid("a/b"), 1, "t", b"{}")])
    assert stock.recorder.max_notification_id() is None
