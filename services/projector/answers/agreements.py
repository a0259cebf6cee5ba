"""The agreements: what is in force, every revision, who endorsed it, and what it changed."""

from collections.abc import Collection, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal

import asyncpg
import msgspec
from msgspec import Struct

from schemas.events import Bullet
from schemas.times import format_time
from schemas.values import By
from services.problems import Problem
from services.projector.answers.snapshot import Snapshot
from services.projector.shapes.shown import AsOf, BulletShown, shared_keys, show_bullet, show_by
from services.statements import Statements

READS = ("agreements",)

_statements = Statements.load(Path(__file__).with_suffix(".sql"))
_bullets = msgspec.json.Decoder(list[Bullet])

Stage = Literal["exploratory", "focused"]


class InForce(Struct, frozen=True, kw_only=True):
    """A revision in force. `from`: the later of its effective time and its adoption."""

    revision: str
    title: str
    stage: Stage
    from_: str = msgspec.field(name="from")
    position: int


class AgreementRow(Struct, frozen=True, kw_only=True):
    agreement: str
    title: str
    in_force: InForce | None
    last_revision: str
    revisions: int


class AgreementList(Struct, frozen=True, kw_only=True):
    as_of: AsOf
    total: int
    agreements: list[AgreementRow]


class Endorsement(Struct, frozen=True, kw_only=True):
    """What a team said of a revision.

    `recorded_by`: the public id of the key that recorded it. `recorded_on_behalf_of`: by this position, that key has
    recorded endorsements of more than one team of this agreement, so it stands for none of them alone.
    """

    team: str
    meaning: Literal["agree", "agree_with_reservations", "object"]
    note: str | None
    position: int
    time: str
    recordedtime: str
    recorded_by: str
    recorded_on_behalf_of: bool
    by: By | None


class AdoptionShown(Struct, frozen=True, kw_only=True):
    """An adoption. In force from `in_force_from` until `until`; null: until further notice."""

    position: int
    time: str
    recordedtime: str
    effective: str
    in_force_from: str
    until: str | None
    by: By | None


class Change(Struct, frozen=True, kw_only=True):
    from_: Any = msgspec.field(name="from")
    to: Any


class ChangedBullet(Struct, frozen=True, kw_only=True):
    bullet: str
    from_: BulletShown = msgspec.field(name="from")
    to: BulletShown


class Difference(Struct, frozen=True, kw_only=True):
    """What a revision changed of the one before it. `changed` has title, stage, statement, threshold, signatories."""

    since: str
    added: list[BulletShown]
    removed: list[BulletShown]
    altered: list[ChangedBullet]
    changed: dict[str, Change]


class RevisionOfAgreement(Struct, frozen=True, kw_only=True):
    revision: str
    title: str
    stage: Stage
    statement: str | None
    bullets: list[BulletShown]
    threshold: int
    signatories: list[str]
    review_by: date | None
    reason: str
    by: By | None
    position: int
    time: str
    recordedtime: str
    in_force: bool
    endorsements: list[Endorsement]
    adoptions: list[AdoptionShown]
    difference: Difference | None


class OneAgreement(Struct, frozen=True, kw_only=True):
    agreement: str
    as_of: AsOf
    in_force: InForce | None
    revisions: list[RevisionOfAgreement]


class OneRevision(RevisionOfAgreement, frozen=True, kw_only=True):
    agreement: str
    as_of: AsOf


async def list_agreements(snapshot: Snapshot) -> list[AgreementRow]:
    """Every agreement, in the order of its name."""
    revisions: dict[str, list[asyncpg.Record]] = {}
    for row in await snapshot.fetch(_statements, "revisions", snapshot.position):
        revisions.setdefault(row["agreement"], []).append(row)
    adoptions: dict[str, list[asyncpg.Record]] = {}
    for row in await snapshot.fetch(_statements, "adoptions", snapshot.position):
        adoptions.setdefault(row["agreement"], []).append(row)
    return [
        AgreementRow(
            agreement=agreement,
            title=rows[-1]["title"],
            in_force=_in_force(snapshot, rows, adoptions.get(agreement, [])),
            last_revision=rows[-1]["revision"],
            revisions=len(rows),
        )
        for agreement, rows in sorted(revisions.items())
    ]


async def one_agreement(snapshot: Snapshot, agreement: str) -> OneAgreement:
    """An agreement with all its revisions, the oldest first. Raises Problem if there is none of this name."""
    revisions = await snapshot.fetch(_statements, "revisions_of", snapshot.position, agreement)
    if not revisions:
        raise Problem("not-found", f"there is no agreement {agreement!r} at position {snapshot.position}")
    adoptions = await snapshot.fetch(_statements, "adoptions_of", snapshot.position, agreement)
    endorsements = await snapshot.fetch(_statements, "endorsements_of", snapshot.position, agreement)
    in_force = _in_force(snapshot, revisions, adoptions)
    shared = shared_keys(endorsements)
    return OneAgreement(
        agreement=agreement,
        as_of=snapshot.as_of,
        in_force=in_force,
        revisions=[
            _revision(row, before, in_force, adoptions, endorsements, shared)
            for row, before in zip(revisions, [None, *revisions], strict=False)
        ],
    )


async def one_revision(snapshot: Snapshot, agreement: str, revision: str) -> OneRevision:
    """One revision of an agreement. Raises Problem if there is none of this name."""
    whole = await one_agreement(snapshot, agreement)
    for each in whole.revisions:
        if each.revision == revision:
            return OneRevision(agreement=agreement, as_of=snapshot.as_of, **msgspec.structs.asdict(each))
    raise Problem("not-found", f"{agreement!r} has no revision {revision!r} at position {snapshot.position}")


def _in_force(
    snapshot: Snapshot, revisions: Sequence[asyncpg.Record], adoptions: Sequence[asyncpg.Record]
) -> InForce | None:
    by_name = {row["revision"]: row for row in revisions}
    for adoption in reversed(adoptions):
        if snapshot.now is not None and adoption["in_force_from"] <= snapshot.now:
            row = by_name[adoption["revision"]]
            return InForce(
                revision=row["revision"],
                title=row["title"],
                stage=row["stage"],
                from_=format_time(adoption["in_force_from"]),
                position=adoption["position"],
            )
    return None


def _revision(
    row: asyncpg.Record,
    before: asyncpg.Record | None,
    in_force: InForce | None,
    adoptions: Sequence[asyncpg.Record],
    endorsements: Sequence[asyncpg.Record],
    shared: Collection[str],
) -> RevisionOfAgreement:
    return RevisionOfAgreement(
        revision=row["revision"],
        title=row["title"],
        stage=row["stage"],
        statement=row["statement"],
        bullets=[show_bullet(bullet) for bullet in _bullets.decode(row["bullets"])],
        threshold=row["threshold"],
        signatories=row["signatories"],
        review_by=row["review_by"],
        reason=row["reason"],
        by=show_by(row),
        position=row["position"],
        time=format_time(row["time"]),
        recordedtime=format_time(row["recorded_at"]),
        in_force=in_force is not None and in_force.revision == row["revision"],
        endorsements=[
            Endorsement(
                team=each["team"],
                meaning=each["meaning"],
                note=each["note"],
                position=each["position"],
                time=format_time(each["time"]),
                recordedtime=format_time(each["recorded_at"]),
                recorded_by=each["authid"],
                recorded_on_behalf_of=each["authid"] in shared,
                by=show_by(each),
            )
            for each in endorsements
            if each["revision"] == row["revision"]
        ],
        adoptions=[
            AdoptionShown(
                position=each["position"],
                time=format_time(each["time"]),
                recordedtime=format_time(each["recorded_at"]),
                effective=format_time(each["effective"]),
                in_force_from=format_time(each["in_force_from"]),
                until=None if following is None else format_time(following["in_force_from"]),
                by=show_by(each),
            )
            for each, following in zip(adoptions, [*adoptions[1:], None], strict=False)
            if each["revision"] == row["revision"]
        ],
        difference=None if before is None else _difference(before, row),
    )


def _difference(before: asyncpg.Record, after: asyncpg.Record) -> Difference:
    old = {bullet.bullet: show_bullet(bullet) for bullet in _bullets.decode(before["bullets"])}
    new = {bullet.bullet: show_bullet(bullet) for bullet in _bullets.decode(after["bullets"])}
    return Difference(
        since=before["revision"],
        added=[bullet for name, bullet in new.items() if name not in old],
        removed=[bullet for name, bullet in old.items() if name not in new],
        altered=[
            ChangedBullet(bullet=name, from_=old[name], to=bullet)
            for name, bullet in new.items()
            if name in old and old[name] != bullet
        ],
        changed={
            name: Change(from_=before[name], to=after[name])
            for name in ("title", "stage", "statement", "threshold", "signatories")
            if before[name] != after[name]
        },
    )
