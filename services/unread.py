"""How much one process holds of answers that are being sent: room for each until its reader has taken it.

Where there is no room for another, those who read nothing make way, and whoever asks and does not read keeps nobody
out. A reader who is slow and goes on is never cut off by that.
"""

import time
from asyncio import Transport
from collections.abc import Collection, Iterator
from contextlib import contextmanager

import structlog
from aiohttp import Payload
from aiohttp.abc import AbstractStreamWriter
from prometheus_client import Counter

UNREAD_BYTES_MAX = 32 * 1024 * 1024  # Beside what the ledger holds at full load, which together is below 200 MB.
LARGE_BYTES_MIN = 64 * 1024  # Of an answer that needs room. What is smaller lies in the buffer of its connection.
PIECE_BYTES = 128 * 1024  # Of an answer, handed over at once.
STILL_SECONDS_MAX = 3.0  # That a reader may take nothing while others find no room.

_log = structlog.get_logger()
_cut_off = Counter("http_unread_answers_cut", "Answers cut off, as nobody read them and others needed the room.")


class Overloaded(Exception):
    """Those who read have all the room; try again shortly."""


class Unread:
    """The answers that one process is sending, and the bytes that it holds of them."""

    def __init__(self) -> None:
        self._sending: set[Sending] = set()

    def make_way(self, size: int) -> None:
        """Make room for an answer that holds so many bytes. Raises Overloaded."""
        for each in making_way(self._sending, size, UNREAD_BYTES_MAX, time.monotonic()):
            self._cut_off(each)

    @contextmanager
    def sending(self, transport: Transport, size: int) -> "Iterator[Sending]":
        """While an answer is sent that holds so many bytes at a time, for which room has been made."""
        answer = Sending(transport, size)
        self._sending.add(answer)
        try:
            yield answer
        finally:
            self._sending.discard(answer)

    def _cut_off(self, answer: "Sending") -> None:
        self._sending.discard(answer)
        _cut_off.inc()
        _log.warning(
            "unread_answer_cut",
            peer=answer.transport.get_extra_info("peername"),
            unread_bytes=answer.unread,
            seconds=round(time.monotonic() - answer.still_since, 3),
        )
        answer.transport.abort()


class Sending:
    """An answer that is being sent. `still_since`: when its reader took something last; never, while all is taken."""

    def __init__(self, transport: Transport, size: int) -> None:
        self.transport = transport
        self.size = size
        self.unread = 0
        self.still_since = float("inf")

    async def send(self, writer: AbstractStreamWriter, octets: bytes) -> None:
        """Write piece by piece, so that it shows when each is taken. Then the connection holds a piece at most, and
        nothing of the whole. Raises ConnectionError once it is cut off."""
        self.still_since = time.monotonic()
        for start in range(0, len(octets), PIECE_BYTES):
            self.unread = len(octets) - start
            await writer.write(octets[start : start + PIECE_BYTES])
            await writer.drain()
            self.still_since = time.monotonic()
        self.unread, self.still_since = 0, float("inf")


def making_way(sending: Collection[Sending], size: int, bytes_max: int, now: float) -> list[Sending]:
    """Those who have read nothing for longest, as many as have to make way for so many bytes. Raises Overloaded if that
    is no use. An answer that would have all the room to itself is taken whatever its size."""
    held = sum(each.size for each in sending)
    still = [each for each in sending if now - each.still_since >= STILL_SECONDS_MAX]
    found: list[Sending] = []
    for each in sorted(still, key=lambda each: each.still_since):
        if not held or held + size <= bytes_max:
            break
        found.append(each)
        held -= each.size
    if held and held + size > bytes_max:
        raise Overloaded(f"{held} bytes of answers wait to be read")
    return found


class Whole(Payload):
    """The body of an answer that is there as a whole, sent in room that has been made for it."""

    _value: bytes

    def __init__(self, octets: bytes, unread: Unread, transport: Transport) -> None:
        super().__init__(octets)
        self._size = len(octets)
        self._unread = unread
        self._transport = transport

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self._value.decode(encoding, errors)

    async def write(self, writer: AbstractStreamWriter) -> None:
        with self._unread.sending(self._transport, len(self._value)) as answer:
            await answer.send(writer, self._value)
