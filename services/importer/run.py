"""An import from end to end: files are found, rows read and turned into events, events checked and delivered.

Each row is accounted for: it is in the ledger, or it is among the rejects with a reason, or its mapping makes no event
of it and it is counted so.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct, structs

from schemas.codec import EVENT_BYTES_MAX, read_event
from schemas.envelope import Sent
from services.importer.delivery import BATCH_BYTES_MAX, Delivery, Entry
from services.importer.mapping import File, Loaded, Lookup, Retracted, missing_column
from services.importer.recipes import Row, Unusable, look_up, text_of
from services.importer.rows import Faulty, Found, Joined, Origin, Reader, Unreadable, read_lookup
from services.importer.translate import events_of, with_names

REJECTS_MODE = 0o600  # They hold what customers wrote.


class CannotImport(Exception):
    """An import cannot be run; the text says why."""


class Rejected(Struct, frozen=True):
    """A row, or one event of it, that does not go in. `row` is as it was read."""

    origin: Origin
    reason: str
    row: Any
    id: str | None = None
    type: str | None = None


class Made(Struct, frozen=True):
    """The events of one row; none if its mapping makes none of it."""

    origin: Origin
    entries: list[Entry]


class Plan(Struct, frozen=True):
    """What is to be read: files in the order of the mapping, lookups, and what was passed over."""

    loaded: Loaded
    files: list[tuple[Path, File]]
    lookups: dict[str, tuple[Path, Lookup]]
    unused: list[tuple[Path, str]]

    @property
    def bytes_total(self) -> int:
        return sum(path.stat().st_size for path, _ in self.files)


class Tally(Struct):
    """What an import has come to. Rows: `read` is the sum of `in_ledger`, `rejected` and `without_event`."""

    read: int = 0
    in_ledger: int = 0
    rejected: int = 0
    without_event: int = 0
    joined: int = 0
    """Rows of lookups, which are read into other rows."""
    joined_nowhere: int = 0
    """Keys of lookups that no row asked for."""
    events_recorded: int = 0
    events_known: int = 0
    events_rejected: int = 0
    types: Counter[str] = msgspec.field(default_factory=Counter)
    """Events that were made, by type."""


def plan(loaded: Loaded, given: Sequence[Path]) -> Plan:
    """Find out which file is what. Without files, those beside the mapping are meant. Raises CannotImport."""
    mapping = loaded.mapping
    named: list[Path] = []
    for path in given or ([loaded.document.path.parent] if mapping.files else []):
        if not path.is_dir():
            named.append(path)
            continue
        inside = sorted(each for each in path.iterdir() if each.is_file())
        named += [each for each in inside if any(rows.matches(each) for rows in (*mapping.files, *mapping.lookups))]

    chosen: dict[int, list[Path]] = {}
    unused: list[tuple[Path, str]] = []
    for path in dict.fromkeys(named):
        number = next((number for number, file in enumerate(mapping.files) if file.matches(path)), None)
        if number is not None and (reason := mapping.files[number].unused) is not None:
            unused.append((path, reason))
        elif number is not None:
            chosen.setdefault(number, []).append(path)
        elif not any(lookup.matches(path) for lookup in mapping.lookups):
            patterns = ", ".join(rows.file for rows in (*mapping.files, *mapping.lookups))
            raise CannotImport(
                f"{path}: {loaded.document.path} has no place for a file of this name; it has {patterns or 'none'}"
            )
    files = [(path, mapping.files[number]) for number in sorted(chosen) for path in chosen[number]]
    if not (files or mapping.given or mapping.retracted):
        raise CannotImport(f"none of {', '.join(file.file for file in mapping.files)} was found")
    lookups: dict[str, tuple[Path, Lookup]] = {}
    for path, file in files:
        for lookup in (each for each in mapping.lookups if each.name in file.join and each.name not in lookups):
            # A lookup's file goes without saying if it lies beside the others.
            candidates = [*named, *sorted(path.parent.iterdir())]
            match = next((each for each in candidates if lookup.matches(each)), None)
            if match is None:
                raise CannotImport(f"{path} needs {lookup.file} for the lookup {lookup.name!r}, and it was not found")
            lookups[lookup.name] = (match, lookup)
    return Plan(loaded=loaded, files=files, lookups=lookups, unused=unused)


def read(
    plan: Plan, tally: Tally, *, now: datetime, progress: Callable[[int], None] = lambda _: None
) -> Iterator[Made | Rejected]:
    """Each row's events, checked as the ledger checks them, or why there are none. Raises CannotImport.

    `now`: the time that no event may be ahead of. `progress` is told the bytes read. Counts rows as they are read.
    """
    mapping = plan.loaded.mapping
    for index, event in enumerate(mapping.given):
        tally.read += 1
        origin = Origin(str(plan.loaded.document.path), plan.loaded.given_line(index))
        written = {"specversion": "1.0", "source": mapping.source, **event}
        yield _checked(origin, event, [written], now)

    try:
        joined: dict[str, Joined] = {}
        for name, (path, lookup) in plan.lookups.items():
            joined[name], refused = read_lookup(path, lookup)
            tally.joined += joined[name].read - len(refused)
            for found, reason in refused:
                tally.read += 1
                row = found.text if isinstance(found, Faulty) else found.row
                yield Rejected(found.origin, f"lookup {name!r}: {reason}", row)

        done = 0
        for path, file in plan.files:
            with Reader(path, file) as reader:
                names = {name: lookup.columns for name, lookup in joined.items()}
                if reader.columns is not None and (objection := missing_column(file, reader.columns, names)):
                    raise CannotImport(f"{path}: {objection}")
                for found in reader:
                    tally.read += 1
                    if isinstance(found, Faulty):
                        yield Rejected(found.origin, found.reason, found.text)
                    else:
                        yield _translated(found, file, joined, plan, now)
                    progress(done + reader.bytes_read)
            done += path.stat().st_size
            progress(done)
    except Unreadable as error:
        raise CannotImport(str(error)) from error
    tally.joined_nowhere = sum(lookup.unused for lookup in joined.values())

    for index, retracted in enumerate(mapping.retracted):
        tally.read += 1
        origin = Origin(str(plan.loaded.document.path), plan.loaded.retracted_line(index))
        yield _retracting(origin, retracted, mapping.source, now)


async def deliver(
    items: Iterator[Made | Rejected],
    delivery: Delivery,
    rejects: "Rejects",
    tally: Tally,
    *,
    batch_events_max: int,
) -> None:
    """Post what was made, in order, and write down what was rejected. Raises DeliveryFailed, CannotImport."""
    batch: list[Made] = []
    events = size = 0

    async def post() -> None:
        nonlocal batch, events, size
        outcome = await delivery.record([entry for made in batch for entry in made.entries])
        tally.events_recorded += outcome.recorded
        tally.events_known += outcome.known
        refused = {entry.origin for entry, _ in outcome.refused}
        for entry, reason in outcome.refused:
            rejects.write(Rejected(entry.origin, f"the ledger refuses it: {reason}", entry.row, entry.id, entry.type))
        tally.events_rejected += len(outcome.refused)
        tally.rejected += len(refused)
        tally.in_ledger += len(batch) - len(refused)
        batch, events, size = [], 0, 0

    for item in items:
        if isinstance(item, Rejected):
            tally.rejected += 1
            rejects.write(item)
            continue
        if not item.entries:
            tally.without_event += 1
            continue
        [first, *_] = item.entries
        if first.retracts is not None:
            # What it retracts may be among those that wait.
            if batch:
                await post()
            item = await _found(item.origin, first, delivery)
            if isinstance(item, Rejected):
                tally.rejected += 1
                rejects.write(item)
                continue
        more = sum(len(entry.body) + 1 for entry in item.entries)
        # The events of a row stay together, so that a row is accounted for once.
        if batch and (events + len(item.entries) > batch_events_max or size + more > BATCH_BYTES_MAX):
            await post()
        tally.types.update(entry.type for entry in item.entries)
        batch.append(item)
        events += len(item.entries)
        size += more
    if batch:
        await post()


class Rejects:
    """The file of what was rejected: NDJSON, a line each, for its owner only. There is none as long as it is empty."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> "Rejects":
        # What an earlier run has left would be taken for this one's.
        self.path.unlink(missing_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, rejected: Rejected) -> None:
        if self._file is None:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, REJECTS_MODE)
            self._file = os.fdopen(descriptor, "wb")
        line = {"file": rejected.origin.file, "line": rejected.origin.line, "reason": rejected.reason}
        if rejected.id is not None:
            line |= {"id": rejected.id, "type": rejected.type}
        self._file.write(msgspec.json.encode(line | {"row": rejected.row}) + b"\n")
        self.count += 1


def _translated(found: Found, file: File, joined: dict[str, Joined], plan: Plan, now: datetime) -> Made | Rejected:
    mapping = plan.loaded.mapping
    zone = mapping.time_zone.zone
    try:
        row: Row = found.row
        if file.join:
            row = {**row, **{name: joined[name].find(_key(row, path)) for name, path in file.join.items()}}
        row = with_names(row, file.let, zone)
        events = events_of(file.events, row, source=mapping.source, zone=zone)
    except Unusable as error:
        return Rejected(found.origin, str(error), found.row)
    return _checked(found.origin, found.row, events, now)


def _checked(origin: Origin, row: Any, events: list[dict[str, Any]], now: datetime) -> Made | Rejected:
    """The events, if all of them are ones that the ledger would take."""
    entries = []
    for event in events:
        entry = Entry(origin, row, str(event.get("id")), str(event.get("type")), msgspec.json.encode(event))
        sent = read_event(event, now=now)
        if not isinstance(sent, Sent):
            reason = "; ".join(f"{refusal.pointer}: {refusal.message}" for refusal in sent)
        elif len(entry.body) > EVENT_BYTES_MAX:
            reason = f"the event has {len(entry.body)} bytes, and at most {EVENT_BYTES_MAX} go in"
        else:
            entries.append(entry)
            continue
        return Rejected(origin, reason, row, entry.id, entry.type)
    return Made(origin, entries)


def _retracting(origin: Origin, retracted: Retracted, source: str, now: datetime) -> Made | Rejected:
    """A retraction with something in place of the position and the subject, which `_found` puts in."""
    row = msgspec.to_builtins(retracted)
    made = _checked(origin, row, [retracted.written(source, 1, "event/unknown")], now)
    if isinstance(made, Rejected):
        return made
    return Made(origin, [structs.replace(entry, retracts=retracted.event) for entry in made.entries])


async def _found(origin: Origin, entry: Entry, delivery: Delivery) -> Made | Rejected:
    """A retraction with the position and the subject of what it retracts, as the ledger has them."""
    assert entry.retracts is not None
    event = msgspec.json.decode(entry.body)
    named = await delivery.find(event["source"], entry.retracts)
    if named is None:
        reason = f"event: {event['source']} has recorded nothing under the id {entry.retracts!r}"
        return Rejected(origin, reason, entry.row, entry.id, entry.type)
    event["data"] |= {"position": named.position, "subject": named.subject}
    return Made(origin, [structs.replace(entry, body=msgspec.json.encode(event), retracts=None)])


def _key(row: Row, path: str) -> str:
    return text_of(look_up(row, path)).strip()
