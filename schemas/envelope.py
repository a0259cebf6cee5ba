"""The CloudEvents 1.0 envelope: what an emitter sent, what the ledger recorded, and why something is refused."""

from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

from msgspec import Struct

from schemas.events import Event

STREAMS_REMEMBERED_MAX = 10_000

# Of the bits of a UUID those that a digest gives; and version 8, in the variant of RFC 9562.
_DIGEST = (1 << 128) - 1 & ~(0xF << 76) & ~(0x3 << 62)
_VERSION_8 = (8 << 76) | (2 << 62)

Problem = Literal[
    "not-a-cloudevent",
    "unknown-type",
    "invalid-event",
    "time-in-future",
    "too-large",
    "source-not-granted",
    "team-not-granted",
    "scope-missing",
    "id-conflict",
    "version-conflict",
    "precondition-failed",
    "rule-not-met",
]


class Refusal(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why one event of a request is not recorded.

    `index` is its place in the request, `pointer` an RFC 6901 pointer into the event. `retryable`: a later event
    can make it acceptable as it is. The rest is what a program can act on.

    `message` is for who sent the event, and may quote it. `plain` is the same without a word of what was sent, so that
    it may be kept; empty: what kind of problem it is says it all.
    """

    problem: Problem
    message: str
    plain: str = ""
    index: int = 0
    pointer: str = ""
    retryable: bool = False
    current_version: int | None = None
    missing: list[str] | None = None


class Sent(Struct, frozen=True, kw_only=True):
    """A well-formed event as an emitter sent it.

    `attributes` and `data` are what will be stored, in canonical order, before sealing and without defaults.
    `content` is the SHA-256 of the decoded event: the same in every mode, without trace and precondition.
    `identity` are the 16 octets of what its identity is indexed under.
    """

    id: str
    source: str
    type: str
    subject: str
    time: datetime | None
    expected_version: int | None
    attributes: dict[str, Any]
    data: dict[str, Any]
    event: Event
    content: bytes
    identity: bytes

    @property
    def event_uuid(self) -> UUID:
        return UUID(bytes=self.identity)


class Recorded(Struct, frozen=True, kw_only=True):
    """An event of the log.

    `position`: its place in the ledger (1, 2, 3, ...). `version`: its place in its stream, which is its subject.
    `time`: what it is about; `recordedtime`: when the ledger came to know it.
    """

    position: int
    version: int
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    recordedtime: datetime
    authid: str
    authtype: str
    event: Event
    sourcerecordedtime: str | None = None
    """When the emitter says that it came to know it. Its other extension attributes are in the stored bytes only."""

    @property
    def valid_from(self) -> datetime:
        """From when the fact counts: nothing is true in the future of its record."""
        return min(self.time, self.recordedtime)


def event_uuid(source: str, id: str) -> UUID:
    """The UUID (version 8) under which an event's identity is indexed: SHA-256 of source, line feed, id."""
    return UUID(bytes=event_identity(source, id))


def event_identity(source: str, id: str) -> bytes:
    """The 16 octets of `event_uuid`."""
    return _uuid8(f"{source}\n{id}")


@lru_cache(maxsize=STREAMS_REMEMBERED_MAX)  # Of most subjects much is said.
def stream_uuid(subject: str) -> UUID:
    """The UUID (version 8) of a stream: SHA-256 of its subject. It is the `originator_id` of the log."""
    return UUID(bytes=_uuid8(subject))


def stream_text(subject: str) -> str:
    """The UUID of a stream as text, which takes a fraction of the time without a UUID in between."""
    digits = sha256(subject.encode()).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 0x3]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def _uuid8(name: str) -> bytes:
    bits = int.from_bytes(sha256(name.encode()).digest()[:16], "big")
    return (bits & _DIGEST | _VERSION_8).to_bytes(16, "big")
