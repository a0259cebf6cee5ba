"""A log in memory, for the pure `sequence`: what a batch asks of the log, and what it leaves in it."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.codec import open_record
from schemas.envelope import Sent, stream_uuid
from schemas.values import same_team
from services.ledger import rules
from services.ledger.rules.retraction import Named
from services.ledger.sequence import (
    Entry,
    Known,
    Log,
    Outcome,
    Prepared,
    Request,
    acts,
    erased,
    names,
    reads,
    sequence,
    stream_uuids,
)
from services.migrate import TEAMS
from tests.log import read
from tests.named import named_in, spoken_of_in

START = datetime(2026, 11, 21, 10, tzinfo=UTC)


def prepare(value: Any) -> Prepared:
    """A CloudEvent (JSON format) made ready, its texts left as they are."""
    [sent] = read(value)
    return Prepared(
        sent=sent,
        opened=open_record(sent, sent.data, "key", "api_key"),
        content=sent.content,
        sealing=None,
        event_uuid=sent.event_uuid,
        stream_uuid=stream_uuid(sent.subject),
    )


def request(*values: Any, judge_only: bool = False, if_match: int | None = None) -> Request:
    return Request(events=[prepare(value) for value in values], judge_only=judge_only, if_match=if_match)


class Memory:
    """What was recorded, in order. Each batch is recorded a second after the last."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.clock = START

    @property
    def sent(self) -> list[Sent]:
        return [entry.prepared.sent for entry in self.entries]

    def log(self, requests: Sequence[Request]) -> Log:
        """What the sequencer would read under the lock."""
        self.clock += timedelta(seconds=1)
        decided = acts(requests)
        read = reads(decided)
        versions = {entry.prepared.sent.subject: entry.version for entry in self.entries}
        return Log(
            position=len(self.entries),
            recordedtime=self.clock,
            known={
                entry.prepared.event_uuid: Known(
                    position=entry.position,
                    subject=entry.prepared.sent.subject,
                    version=entry.version,
                    recordedtime=START,
                    content=entry.prepared.content,
                )
                for entry in self.entries
            },
            versions={subject: versions[subject] for subject in stream_uuids(requests, read) if subject in versions},
            streams={
                subject: rules.replay(
                    subject, [(at, sent.event) for at, sent in enumerate(self.sent, 1) if sent.subject == subject]
                )
                for subject in read
            },
            named={at: self.named(at) for at in names(decided) if at <= len(self.sent)},
            persons=frozenset(
                person for person in erased(decided) if spoken_of_in([sent.event for sent in self.sent], person)
            ),
            teams=frozenset(same_team(team) for team in TEAMS),
        )

    def named(self, position: int) -> Named:
        return named_in([sent.event for sent in self.sent])[position]

    def post(self, *requests: Request) -> list[Outcome]:
        """Sequence these requests as one batch, and keep what passed."""
        sequenced = sequence(requests, self.log(requests))
        self.entries += sequenced.entries
        return sequenced.outcomes
