"""Sequencing, pure: given what the log holds, which of the waiting requests are recorded, and where.

The order of the questions is design §3's: is the event known, is the expected version met, is the act's rule met.
A request is one unit: all of its events are sequenced, or none. Unless it asks for each of them by itself.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from schemas.codec import close_record
from schemas.envelope import Refusal, Sent, stream_uuid
from schemas.events import Act, AskMoved, Correction, EventRetracted, PersonErased, TextRedacted
from services.ledger import rules
from services.ledger.rules import Aggregate
from services.ledger.rules.retraction import Named
from services.sealing import SealingKey, fingerprint

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Prepared(Struct, frozen=True, kw_only=True):
    """An event made ready outside the lock. `content` is its fingerprint as stored, `opened` its unfinished bytes."""

    sent: Sent
    opened: bytes
    content: bytes
    sealing: SealingKey | None
    event_uuid: UUID
    stream_uuid: UUID


class Request(Struct, frozen=True, kw_only=True):
    """What one HTTP request wants recorded. `judge_only`: ask everything, record nothing. `each`: every event is a
    unit of its own.

    `if_match`: the version that the stream must have for HTTP's If-Match; -1 is `*`, any version but none.
    """

    events: Sequence[Prepared]
    judge_only: bool = False
    each: bool = False
    if_match: int | None = None


class Known(Struct, frozen=True, kw_only=True):
    """Where an event was recorded. `content`: its fingerprint; `key`: what it is made with, if its texts are sealed.

    `erased`: the key is gone, and then the id alone decides.
    """

    position: int
    subject: str
    version: int
    recordedtime: datetime
    content: bytes
    key: bytes | None = None
    erased: bool = False

    def holds(self, sent: Sent) -> bool:
        """Whether what was recorded is what was sent."""
        if self.erased:
            return True
        return self.content == (sent.content if self.key is None else fingerprint(sent.content, self.key))


class Log(Struct, frozen=True, kw_only=True):
    """What the log holds, as far as a batch of requests asks: read under the lock of its head.

    `recordedtime` is the database's clock, later than that of every event before.
    """

    position: int
    recordedtime: datetime
    known: Mapping[UUID, Known]
    versions: Mapping[str, int]
    streams: Mapping[str, Aggregate | None]
    teams: frozenset[str]
    named: Mapping[int, Named] = {}
    """What stands at the positions that corrections name."""
    persons: frozenset[str] = frozenset()
    """Those whom erasures name and about whom something sealed is there."""


class Result(Struct, frozen=True, kw_only=True):
    """Where an event stands in the log. `duplicate`: it was recorded before."""

    id: str
    source: str
    position: int
    stream: str
    version: int
    recordedtime: datetime
    duplicate: bool


class Entry(Struct, frozen=True, kw_only=True):
    """An event with its place: a row to insert."""

    position: int
    version: int
    prepared: Prepared
    state: bytes


Outcome = list[Result] | list[Refusal] | list[Result | Refusal]
"""What became of a request: all of its results or all that speaks against it; of one with `each`, both."""


class Sequenced(Struct, frozen=True):
    """For each request its outcome, in order; and the rows that make them true."""

    outcomes: list[Outcome]
    entries: list[Entry]


def sequence(requests: Sequence[Request], log: Log) -> Sequenced:
    """Give every event that may be recorded its position and version, as if the requests came one by one."""
    state = _State(
        dict(log.known), dict(log.versions), dict(log.streams), dict(log.named), dict.fromkeys(log.persons), []
    )
    outcomes: list[Outcome] = []
    entries: list[Entry] = []

    for request in requests:
        position = log.position + len(entries)
        outcome, taken, fresh = (_sequence_each if request.each else _sequence_whole)(request, state, log, position)
        outcomes.append(outcome)
        if taken and not request.judge_only:
            state.keep()
            entries.extend(fresh)
        else:
            state.forget()

    for number, entry in enumerate(entries):
        assert entry.position == log.position + 1 + number, (entry.position, log.position, number)
    return Sequenced(outcomes, entries)


_ABSENT: Any = object()


class _State(Struct, frozen=True):
    """Log and batch so far. What a unit changes it `put`s, and it is kept or forgotten with the unit."""

    known: dict[UUID, Known]
    versions: dict[str, int]
    streams: dict[str, Aggregate | None]
    named: dict[int, Named]
    persons: dict[str, None]
    before: list[tuple[dict[Any, Any], Any, Any]]
    """What the unit has changed: where, and what stood there before, newest last."""

    def put(self, where: dict[_Key, _Value], key: _Key, value: _Value) -> None:
        self.before.append((where, key, where.get(key, _ABSENT)))
        where[key] = value

    def keep(self) -> None:
        self.before.clear()

    def forget(self, since: int = 0) -> None:
        """Put back what stood there when so many changes had been made."""
        while len(self.before) > since:
            where, key, value = self.before.pop()
            if value is _ABSENT:
                del where[key]
            else:
                where[key] = value

    def spoken_of(self, person: str) -> bool:
        """Whether the person has a stream, or something sealed is about them."""
        return f"{PersonErased.KIND}/{person}" in self.versions or person in self.persons


def _sequence_whole(request: Request, state: _State, log: Log, position: int) -> tuple[Outcome, bool, list[Entry]]:
    """All of the request or nothing: its outcome, whether it is taken, and its rows."""
    results, refusals, entries = _sequence_events(request, [*enumerate(request.events)], state, log, position)
    return refusals or results, not refusals, entries


def _sequence_each(request: Request, state: _State, log: Log, position: int) -> tuple[Outcome, bool, list[Entry]]:
    """The same for events that stand alone: what is refused leaves no trace for those behind it."""
    outcome: list[Result | Refusal] = []
    entries: list[Entry] = []
    for event in enumerate(request.events):
        since = len(state.before)
        results, refusals, fresh = _sequence_events(request, [event], state, log, position + len(entries))
        outcome.extend(refusals or results)
        if refusals:
            state.forget(since)
        else:
            entries.extend(fresh)
    return outcome, True, entries


def _sequence_events(
    request: Request, events: Sequence[tuple[int, Prepared]], state: _State, log: Log, position: int
) -> tuple[list[Result], list[Refusal], list[Entry]]:
    results: list[Result] = []
    refusals: list[Refusal] = []
    entries: list[Entry] = []
    for index, prepared in events:
        sent = prepared.sent
        known = state.known.get(prepared.event_uuid)
        if known is not None:
            if known.holds(sent):
                results.append(_result(sent, known, duplicate=True))
            else:
                refusals.append(_conflict(sent, known, index, recorded=known.position <= log.position))
            continue

        objections = _unexpected(request, sent, state, index)
        act = sent.event if isinstance(sent.event, Act) else None
        if act is not None:
            objections += _against(act, state, log, position + 1, index)
        if objections:
            refusals.extend(objections)
            continue

        position += 1
        version = state.versions.get(sent.subject, 0) + 1
        entries.append(
            Entry(
                position=position,
                version=version,
                prepared=prepared,
                state=close_record(
                    prepared.opened,
                    timed=sent.time is not None,
                    recordedtime=log.recordedtime,
                    position=position,
                    version=version,
                ),
            )
        )
        recorded = Known(
            position=position,
            subject=sent.subject,
            version=version,
            recordedtime=log.recordedtime,
            content=sent.content,
        )
        state.put(state.known, prepared.event_uuid, recorded)
        state.put(state.versions, sent.subject, version)
        if sent.subject in state.streams:
            said = [(position, sent.event)]
            aggregate = rules.replay(sent.subject, said, state.streams[sent.subject])
            state.put(state.streams, sent.subject, aggregate)
        sealing = prepared.sealing
        state.put(state.named, position, Named(sent.subject, sent.type, sealed=sealing is not None))
        if sealing is not None and sealing.person is not None:
            state.put(state.persons, sealing.person, None)
        match act:
            case EventRetracted(position=named):
                state.put(state.named, named, msgspec.structs.replace(state.named[named], retracted=True))
            case TextRedacted(position=named):
                state.put(state.named, named, msgspec.structs.replace(state.named[named], redacted=True))
        results.append(_result(sent, recorded, duplicate=False))
    return results, refusals, entries


def _unexpected(request: Request, sent: Sent, state: _State, index: int) -> list[Refusal]:
    if sent.expected_version is None and request.if_match is None:
        return []
    current = state.versions.get(sent.subject, 0)
    refusals = []
    if sent.expected_version is not None and sent.expected_version != current:
        refusals.append(
            Refusal(
                problem="version-conflict",
                index=index,
                pointer="/expectedversion",
                message=f"{sent.subject} is at version {current}, not {sent.expected_version}",
                current_version=current,
            )
        )
    if request.if_match is not None and (current == 0 if request.if_match == -1 else request.if_match != current):
        refusals.append(
            Refusal(
                problem="precondition-failed",
                index=index,
                message=f"{sent.subject} is at version {current}; If-Match asks for another",
                current_version=current,
            )
        )
    return refusals


def _against(act: Act, state: _State, log: Log, position: int, index: int) -> list[Refusal]:
    return [
        Refusal(
            problem="rule-not-met",
            index=index,
            pointer=objection.pointer,
            message=objection.message,
            retryable=objection.retryable,
            missing=[*objection.missing] or None,
        )
        for objection in rules.objections(
            act,
            state.streams.__getitem__,
            state.named.get,
            state.spoken_of,
            position=position,
            teams=log.teams,
        )
    ]


def _conflict(sent: Sent, known: Known, index: int, *, recorded: bool) -> Refusal:
    where = f"was recorded at position {known.position}" if recorded else "stands earlier in what is being recorded"
    return Refusal(
        problem="id-conflict",
        index=index,
        pointer="/id",
        message=f"{sent.id} of {sent.source} {where} with other content",
    )


def _result(sent: Sent, known: Known, *, duplicate: bool) -> Result:
    return Result(
        id=sent.id,
        source=sent.source,
        position=known.position,
        stream=known.subject,
        version=known.version,
        recordedtime=known.recordedtime,
        duplicate=duplicate,
    )


def acts(requests: Sequence[Request]) -> list[Act]:
    """The acts among these requests' events."""
    events = (prepared.sent.event for request in requests for prepared in request.events)
    return [event for event in events if isinstance(event, Act)]


def reads(acts: Sequence[Act]) -> list[str]:
    """The subjects whose aggregates the rules of these acts read."""
    return [*dict.fromkeys(subject for act in acts for subject in rules.reads(act))]


def names(acts: Sequence[Act]) -> list[int]:
    """The positions that the corrections among these acts name."""
    return sorted({act.position for act in acts if isinstance(act, Correction)})


def moves(acts: Sequence[Act]) -> list[tuple[str, str]]:
    """The asks that these acts move: the subject that each was recorded on, and its id."""
    return sorted({(act.subject, act.ask) for act in acts if isinstance(act, AskMoved)})


def erased(acts: Sequence[Act]) -> list[str]:
    """The persons whom these acts erase."""
    return sorted({act.person for act in acts if isinstance(act, PersonErased)})


def stream_uuids(requests: Sequence[Request], read: Sequence[str]) -> dict[str, UUID]:
    """Each subject that these requests write to, or that is read, and the UUID of its stream."""
    written = {prepared.sent.subject: prepared.stream_uuid for request in requests for prepared in request.events}
    return written | {subject: stream_uuid(subject) for subject in read if subject not in written}
