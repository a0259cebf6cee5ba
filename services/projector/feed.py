"""Where events come from: pages of the log, and wake-ups that say when to look.

A wake-up is a hint and may be lost; whoever is woken reads the log, and reads it now and then without one.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection
from itertools import chain
from operator import attrgetter

import asyncpg
import msgspec
from msgspec import Struct

from schemas.codec import Undecodable, decode_recorded
from schemas.envelope import Recorded
from schemas.events import EVENT_TYPES
from schemas.upcasts import UPCASTS
from services.postgres import connect
from services.projector.outage import AWAY, Outage
from services.statements import Statements

PAGE_EVENTS_MAX = 4_000
PAGE_BYTES_MAX = 4 * 1024**2  # Of stored events; the last one may go beyond.
LISTENING_CHECK_SECONDS = 30  # A connection may be gone without a sign of it.

EVENTS_CHANNEL = "ledger_events"  # The payload is the name of the ledger that has new events.
LEDGERS_CHANNEL = "ledgers"  # The payload is the name of a new ledger.

KNOWN_TOPICS = frozenset(EVENT_TYPES) | frozenset(UPCASTS)


class Stored(Struct, frozen=True):
    """An event as it lies in the log. `state` is there only if its topic was asked for."""

    position: int
    topic: str
    state: bytes | None


class Page(Struct, frozen=True):
    """Events that follow each other without a gap, the first right after `after`."""

    after: int
    events: tuple[Stored, ...]
    hole: str | None
    """What is wrong with the log right behind these events, if something is."""
    _found: dict[int, Recorded | Exception] = msgspec.field(default_factory=dict)
    _of_topic: dict[str, list[Stored]] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        for stored in self.events:
            self._of_topic.setdefault(stored.topic, []).append(stored)

    def about(self, topics: Collection[str]) -> list[Stored]:
        """The events of these topics, and those that this version does not know, in order: however many projections
        fold the page, it is searched once."""
        found = [each for topic, each in self._of_topic.items() if topic in topics or topic not in KNOWN_TOPICS]
        return found[0] if len(found) == 1 else sorted(chain.from_iterable(found), key=attrgetter("position"))

    def found(self, stored: Stored) -> Recorded | Exception:
        """One of these events, decoded, or why it cannot be.

        However many projections fold the page, each event is decoded once, and one that nobody cares about never.
        """
        found = self._found.get(stored.position)
        if found is None:
            try:
                found = decode(stored)
            except Exception as error:  # Whatever it is, it is the same for everybody.
                found = error
            self._found[stored.position] = found
        return found

    def recorded(self, stored: Stored) -> Recorded:
        """One of these events, decoded. Raises Undecodable."""
        found = self.found(stored)
        if isinstance(found, Exception):
            raise found.with_traceback(None)
        return found

    @property
    def last(self) -> int:
        """The position of the last event, or `after` if there is none."""
        return self.after + len(self.events)


async def read_page(
    connection: asyncpg.Connection, statements: Statements, after: int, topics: Collection[str]
) -> Page:
    """The next events of a ledger, in order and without a gap; fewer of them if they are large."""
    rows = await connection.fetch(statements["page"], after, PAGE_EVENTS_MAX, [*topics], PAGE_BYTES_MAX)
    events: list[Stored] = []
    for expected, row in enumerate(rows, after + 1):
        position, topic, state = row
        if position != expected:
            hole = f"position {expected} is missing in the log: {position} follows {expected - 1}"
            return Page(after, tuple(events), hole)
        events.append(Stored(position, topic, state))
    return Page(after, tuple(events), None)


def decode(stored: Stored) -> Recorded:
    """The event that lies there. Raises Undecodable, also if its bytes and its place disagree."""
    if stored.state is None:
        raise Undecodable("its bytes were not read")
    recorded = decode_recorded(stored.state)
    if recorded.position != stored.position:
        raise Undecodable(f"its bytes say position {recorded.position}")
    if recorded.type != stored.topic and stored.topic not in UPCASTS:
        raise Undecodable(f"its bytes say {recorded.type}, its topic is {stored.topic}")
    return recorded


async def listen(
    url: str,
    outage: Outage,
    *,
    on_events: Callable[[str], None],
    on_ledger: Callable[[str], None],
    on_listening: Callable[[], None],
) -> None:
    """Listen for the whole process, on one connection, until cancelled.

    `on_listening` is called whenever listening begins (again): what was said before that was missed.
    """
    while True:
        try:
            connection = await connect(url)
        except (*AWAY, asyncpg.PostgresError) as error:
            await outage.pause(error)
            continue
        try:
            gone = asyncio.Event()
            connection.add_termination_listener(lambda _, gone=gone: gone.set())
            await connection.add_listener(EVENTS_CHANNEL, lambda *said: on_events(said[3]))
            await connection.add_listener(LEDGERS_CHANNEL, lambda *said: on_ledger(said[3]))
            on_listening()
            await _watch(connection, gone)
        except (*AWAY, asyncpg.PostgresError) as error:
            await outage.pause(error)
        finally:
            connection.terminate()


async def _watch(connection: asyncpg.Connection, gone: asyncio.Event) -> None:
    while not gone.is_set():
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LISTENING_CHECK_SECONDS):
                await gone.wait()
            return
        await connection.execute("SELECT 1", timeout=LISTENING_CHECK_SECONDS)
