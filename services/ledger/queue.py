"""How much one process takes in: room for bodies while they arrive and are judged, and for events that wait.

What is beyond it is refused before it costs anything, and whoever begins to send and stops keeps nobody out.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import Gauge

LARGE_BYTES_MIN = 1024 * 1024
"""Of a body that counts among the large ones, of which the queue has room for as much again."""
BODY_BYTES_A_SECOND_MIN = 256 * 1024  # Of a body that arrives while others find no room. One of 16 MiB takes a minute.
BODY_LATE_SECONDS = 2.0  # That it may be behind: a pause, or its first bytes.
METRICS_SECONDS = 0.1  # From a change of what waits until the metrics have it.

_waiting_events = Gauge("ledger_waiting_events", "Events that wait to be recorded.", multiprocess_mode="livesum")
_waiting_bytes = Gauge(
    "ledger_waiting_bytes",
    "Bytes of the requests that are read, judged or wait to be recorded.",
    multiprocess_mode="livesum",
)


class Overloaded(Exception):
    """The queue is full; try again shortly."""


class Queue:
    """How much one process takes in at a time, over all ledgers: bytes of bodies, and events that wait."""

    def __init__(self, *, events_max: int, bytes_max: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._events_max = events_max
        self.bytes_max = bytes_max
        self.clock = clock
        self.events = 0
        # Apart, so that a large one, which takes a while, keeps no small ones out.
        self.small, self.large = _Share(), _Share()
        self._telling = False

    def changed(self) -> None:
        """See to it that the metrics have what waits: soon, since telling them costs more than a change."""
        if not self._telling:
            self._telling = True
            asyncio.get_running_loop().call_later(METRICS_SECONDS, self._tell)

    def _tell(self) -> None:
        self._telling = False
        _waiting_events.set(self.events)
        _waiting_bytes.set(self.small.bytes + self.large.bytes)

    def room(self, key: str) -> "Room":
        """Room for the body of a request of this key until it is answered."""
        return Room(self, key)

    def hold(self, events: int) -> None:
        """Take room for a request's events while they wait to be recorded. Raises Overloaded, as above."""
        if self.events and self.events + events > self._events_max:
            raise Overloaded(f"{self.events} events wait to be recorded")
        self.events += events
        self.changed()

    def let_go(self, events: int) -> None:
        """Give back the room of events that wait no more."""
        self.events -= events
        self.changed()


class Room:
    """Room in a queue for the body of one request of this key, taken as it arrives; leaving gives it back.

    A request that has its share of the queue to itself is taken whatever its size. Where there is no room for another,
    bodies that are still arriving make way: those that arrive too slowly, and those of another key by which it holds
    more than half of the room. So whoever begins to send and stops keeps nobody out.
    """

    def __init__(self, queue: Queue, key: str) -> None:
        self._queue = queue
        self._key = key
        self._share = queue.small
        self._held = 0
        self._arriving: asyncio.Timeout | None = None
        self._due = 0.0

    def __enter__(self) -> "Room":
        return self

    def __exit__(self, *_: object) -> None:
        self._give_back()

    def expect(self, size: int) -> None:
        """A body of so many bytes is announced. Raises Overloaded. Room is kept from nobody by that."""
        self._share = self._queue.large if size > LARGE_BYTES_MIN else self._queue.small
        self._making_way(size)

    def take(self, more: int) -> None:
        """So many bytes have arrived. Raises Overloaded."""
        for other in self._making_way(more):
            other._make_way()
        self._held += more
        self._share.bytes += more
        if self._arriving is not None:
            self._due = min(self._due + more / BODY_BYTES_A_SECOND_MIN, self._queue.clock() + BODY_LATE_SECONDS)
        self._queue.changed()

    @asynccontextmanager
    async def arriving(self) -> AsyncIterator[None]:
        """While the rest of the body is read. Raises Overloaded once it has to make way for others."""
        self._due = self._queue.clock() + BODY_LATE_SECONDS
        self._share.arriving.add(self)
        try:
            async with asyncio.timeout(None) as self._arriving:
                yield
        except TimeoutError:
            if self._arriving is None or not self._arriving.expired():
                raise
        finally:
            self._share.arriving.discard(self)
        if self._arriving.when() is not None:
            raise Overloaded(
                f"this body made way for others: fewer than {BODY_BYTES_A_SECOND_MIN} bytes of it arrived a second, or"
                " its key held more than half of the room"
            )

    def _making_way(self, more: int) -> "list[Room]":
        """Those who have to make way so that there is room for so many bytes. Raises Overloaded if that is no use."""
        others = self._share.bytes - self._held
        over = self._share.bytes + more - self._queue.bytes_max
        if not others or over <= 0:
            return []
        of_key: Counter[str] = Counter()
        for each in self._share.arriving:
            of_key[each._key] += each._held
        making_way: list[Room] = []
        now = self._queue.clock()
        for each in sorted(self._share.arriving - {self}, key=lambda each: each._held, reverse=True):
            # Of a key's only one there is always enough left over: two large ones would drive each other out for ever.
            beyond = each._key != self._key and of_key[each._key] - each._held >= self._queue.bytes_max // 2
            if now > each._due or beyond:
                making_way.append(each)
                of_key[each._key] -= each._held
                others -= each._held
                over -= each._held
            if not others or over <= 0:
                return making_way
        raise Overloaded(f"{self._share.bytes - self._held} bytes of events wait to be recorded")

    def _make_way(self) -> None:
        if self._arriving is not None:
            self._arriving.reschedule(0)  # In the next turn of the event loop.
        self._share.arriving.discard(self)
        self._give_back()

    def _give_back(self) -> None:
        self._share.bytes -= self._held
        self._held = 0
        self._queue.changed()


class _Share:
    """Bytes of bodies that are held at the moment, and those bodies of which more is to come."""

    def __init__(self) -> None:
        self.bytes = 0
        self.arriving: set[Room] = set()
