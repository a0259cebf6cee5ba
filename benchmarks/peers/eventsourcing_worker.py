"""Appends by the library `eventsourcing`, or projects what it has appended: see `workers.py` for how it is asked."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import msgspec
import psycopg
from eventsourcing.application import Application
from eventsourcing.dispatch import singledispatchmethod
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import ApplicationRecorder, InfrastructureFactory, StoredEvent, Tracking
from eventsourcing.postgres import PostgresDatastore, PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import Environment
from psycopg.sql import SQL, Identifier

from benchmarks.peers.rows import read
from benchmarks.peers.workers import Written
from services.archive.lines import EventRow

ROWS_MAX = 20_000  # Of the file, over and over: versions go on, so no row is the same as another.
PAGE_EVENTS = 100  # An append of 500 such events never comes back: client and server each wait for the other.
POLL_SECONDS = 0.05


class Job(msgspec.Struct, frozen=True):
    """What `eventsourcing.py` wants done: `append` by threads of one of so many parts, or `catchup`."""

    does: str
    dsn: str
    rows: str
    batch: int = 1
    threads: int = 1
    functions: bool = False
    part: int = 0
    parts: int = 1
    events: int = 0


def main() -> None:
    assert psycopg.pq.__impl__ == "binary", f"psycopg runs as {psycopg.pq.__impl__}, not by its C build"
    lines = iter(sys.stdin.buffer.readline, b"")
    job = msgspec.json.decode(next(lines), type=Job)
    run = appending(job) if job.does == "append" else catching_up(job)
    say(b"ready")
    for line in lines:
        say(msgspec.json.encode(run(float(line))))


def say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


# Appending


def appending(job: Job) -> Callable[[float], Written]:
    factory = InfrastructureFactory[Any].construct(environment(job))
    recorder = factory.application_recorder()
    clients = job.parts * job.threads
    rows = [*islice(read(Path(job.rows)), ROWS_MAX)]
    # Each thread has streams of its own: two that append to one stream would refuse each other's versions.
    shares = [
        batches([row for row in rows if row.originator_id.int % clients == job.part * job.threads + thread], job.batch)
        for thread in range(job.threads)
    ]
    pool = ThreadPoolExecutor(job.threads)

    def run(seconds: float) -> Written:
        begun = time.perf_counter()
        done = [*pool.map(lambda share: append(recorder, share, begun + seconds), shares)]
        return Written(sum(events for events, _ in done), max(ended for _, ended in done) - begun)

    return run


def append(recorder: ApplicationRecorder, share: Iterator[list[StoredEvent]], until: float) -> tuple[int, float]:
    """Append until that time: the events, and when the last were committed."""
    events = 0
    while True:
        batch = next(share)
        recorder.insert_events(batch)
        events += len(batch)
        now = time.perf_counter()
        if now >= until:
            return events, now


def batches(rows: Sequence[EventRow], size: int) -> Iterator[list[StoredEvent]]:
    """These rows over and over, as events whose versions go on."""
    versions: dict[UUID, int] = {}
    batch = []
    for row in cycle(rows):
        version = versions[row.originator_id] = versions.get(row.originator_id, 0) + 1
        batch.append(StoredEvent(row.originator_id, version, row.topic, row.state))
        if len(batch) == size:
            yield batch
            batch = []


# Catching up


@dataclass(frozen=True)
class Recorded(Aggregate.Event):
    """What the ledger's row says, as a domain event of the library."""

    kind: str
    subject: str
    record: str


class Seen(PostgresTrackingRecorder):
    """A view: of each stream, how many events were seen, and the kind of the last."""

    def __init__(self, datastore: PostgresDatastore, **names: Any) -> None:
        super().__init__(datastore, **names)
        self.sql_create_statements.append(
            SQL("CREATE TABLE IF NOT EXISTS seen (stream uuid PRIMARY KEY, events bigint, last text)").format()
        )

    def see(self, event: Recorded, tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as curs:
            self._insert_tracking(curs, tracking)
            curs.execute(
                "INSERT INTO seen VALUES (%s, 1, %s)"
                " ON CONFLICT (stream) DO UPDATE SET events = seen.events + 1, last = excluded.last",
                (event.originator_id, event.kind),
                prepare=True,
            )

    def forget(self) -> None:
        with self.datastore.transaction(commit=True) as curs:
            curs.execute("TRUNCATE seen")
            curs.execute(
                SQL("DELETE FROM {} WHERE application_name = %s").format(Identifier(self.tracking_table_name)),
                (Company.name,),
            )

    def events(self) -> int:
        with self.datastore.get_connection() as connection:
            row = connection.execute("SELECT coalesce(sum(events), 0)::bigint AS events FROM seen").fetchone()
            assert row is not None
            return int(row["events"])


class Seeing(Projection[Seen]):
    name = "seeing"

    @singledispatchmethod
    def process_event(self, _: Any, tracking: Tracking) -> None:
        self.view.insert_tracking(tracking)

    @process_event.register
    def recorded(self, event: Recorded, tracking: Tracking) -> None:
        self.view.see(event, tracking)


class Company(Application[UUID]):
    name = "company"


def catching_up(job: Job) -> Callable[[float], Written]:
    settings = environment(job)
    application = Company(settings)
    events = map(application.mapper.to_stored_event, domain_events(Path(job.rows), job.events))
    while page := [*islice(events, PAGE_EVENTS)]:
        application.recorder.insert_events(page)
    application.close()
    view = InfrastructureFactory[Seen].construct(Environment(Seeing.name, settings)).tracking_recorder(Seen)

    def run(seconds: float) -> Written:
        view.forget()
        with ProjectionRunner(
            application_class=Company, projection_class=Seeing, view_class=Seen, env=settings
        ) as runner:
            begun = time.perf_counter()  # It has been running for a moment.
            while not runner.is_interrupted.is_set():
                seen = view.max_tracking_id(Company.name)
                if seen == job.events or (seen is not None and time.perf_counter() >= begun + seconds):
                    break
                runner.run_forever(POLL_SECONDS)
        return Written(view.events(), time.perf_counter() - begun)

    return run


def domain_events(rows: Path, count: int) -> Iterator[Recorded]:
    """So many rows, over and over, as events of the library's own whose versions go on."""
    versions: dict[UUID, int] = {}
    for row in islice(cycle(islice(read(rows), ROWS_MAX)), count):
        version = versions[row.originator_id] = versions.get(row.originator_id, 0) + 1
        yield Recorded(
            originator_id=row.originator_id,
            originator_version=version,
            timestamp=row.recorded_at,
            kind=row.topic,
            subject=row.subject,
            record=row.state.decode(),
        )


def environment(job: Job) -> dict[str, str]:
    """The library's settings for this job."""
    url = urlsplit(job.dsn)
    query = parse_qs(url.query)
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": url.path[1:],
        "POSTGRES_HOST": query["host"][0],
        "POSTGRES_PORT": query["port"][0],
        "POSTGRES_USER": url.username or "",
        "POSTGRES_PASSWORD": unquote(url.password or ""),
        "POSTGRES_POOL_SIZE": str(job.threads),
        "POSTGRES_MAX_OVERFLOW": "8",
        "POSTGRES_ENABLE_DB_FUNCTIONS": "y" if job.functions else "n",
    }


if __name__ == "__main__":
    main()
