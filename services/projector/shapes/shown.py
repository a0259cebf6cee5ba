"""Parts that many answers show: a fit, a revision, on whose behalf, and the members of made decisions."""

from collections.abc import Iterable, Mapping
from datetime import date
from hashlib import sha256
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from schemas.codec import canonical
from schemas.criteria import Test
from schemas.events import Bullet
from schemas.times import format_time
from schemas.values import By, same_team
from services.projector.judgement import lenses
from services.projector.judgement.fit import BulletFit, Class, Revision, shown
from services.projector.judgement.lenses import Judgement

Row: TypeAlias = Mapping[str, Any]
"""A row of a read model, as it was read: column → value."""

Status = Literal["open", "committed", "declined", "deferred", "exploring", "merged"]

_STATUSES: Mapping[str | None, Status] = {
    outcome: msgspec.convert(lenses.status(outcome), Status) for outcome in (None, *lenses.STATUSES)
}


class Delivery(Struct, frozen=True, kw_only=True):
    state: Literal["planned", "in_progress", "beta", "shipped", "cancelled"]
    target: date | None
    url: str | None
    position: int
    time: str


class AsOf(Struct, frozen=True):
    """The position that an answer reflects, and when it was recorded; that of position 0 is null."""

    position: int
    recordedtime: str | None


class Role(Struct, frozen=True, kw_only=True):
    """On whose behalf, in a list: nobody's decisions can be counted from it, for it does not name the person."""

    role: str
    team: str


class MergeShown(Struct, frozen=True, kw_only=True):
    """That something was merged into another: where, when and why, and by whom."""

    into: str
    position: int
    time: str
    recordedtime: str
    reason: str
    by: By | None


class FitShown(Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """How on-target an account was, bullet by bullet. Numbers are rounded half-even to six places."""

    revision: str
    class_: Class
    fit: float | None
    fit_if_known: float | None
    met: int
    unknown: int
    total: int
    bullets: list[BulletFit]
    would_settle: list[str]
    backdated: bool


class BulletShown(Struct, frozen=True, kw_only=True):
    bullet: str
    text: str
    weight: int
    required: bool
    test: Test | None


class RevisionShown(Struct, frozen=True, kw_only=True):
    """What a revision asks for: enough to recompute each fit that names it.

    `digest`: SHA-256, in hexadecimal, of the canonical JSON (compact, UTF-8, the members of every object sorted) of the
    revision as it is shown, with its name as `revision` and without the digest.
    """

    title: str
    stage: Literal["exploratory", "focused"]
    threshold: int
    bullets: list[BulletShown]
    digest: str


def show_fit(judgement: Judgement | None) -> FitShown | None:
    if judgement is None:
        return None
    found = judgement.fit
    return FitShown(
        revision=found.revision.name,
        class_=judgement.class_,
        fit=shown(found.fit),
        fit_if_known=shown(found.fit_if_known),
        met=found.met,
        unknown=found.unknown,
        total=found.total,
        bullets=found.bullets,
        would_settle=found.would_settle,
        backdated=judgement.backdated,
    )


def show_revisions(revisions: Iterable[Revision]) -> dict[str, RevisionShown]:
    """Each revision that fits are judged by, under its name."""
    by_name = {revision.name: revision for revision in revisions}
    return {name: _show_revision(revision) for name, revision in sorted(by_name.items())}


def _show_revision(revision: Revision) -> RevisionShown:
    shown = RevisionShown(
        title=revision.title,
        stage=revision.stage,
        threshold=revision.threshold,
        bullets=[show_bullet(bullet) for bullet in revision.bullets],
        digest="",
    )
    said = msgspec.to_builtins(shown) | {"revision": revision.name}
    del said["digest"]
    return msgspec.structs.replace(shown, digest=sha256(canonical(said)).hexdigest())


def show_bullet(bullet: Bullet) -> BulletShown:
    return BulletShown(
        bullet=bullet.bullet, text=bullet.text, weight=bullet.weight, required=bullet.required, test=bullet.test
    )


def shared_keys(said: Iterable[Mapping[str, Any]]) -> frozenset[str]:
    """The API keys (`authid`) that have recorded the word of more than one team (`team`), and so stand for none."""
    teams: dict[str, set[str]] = {}
    for row in said:
        teams.setdefault(row["authid"], set()).add(same_team(row["team"]))
    return frozenset(key for key, named in teams.items() if len(named) > 1)


def show_role(by: By) -> Role:
    return Role(role=by.role, team=by.team)


def show_by(row: Row) -> By | None:
    """On whose behalf a row was said: its columns by_role, by_team, by_person."""
    return By(role=row["by_role"], team=row["by_team"], person=row["by_person"]) if row["by_role"] else None


def show_merge(row: Row) -> dict[str, Any]:
    """The members of MergeShown, of a row that says what was merged."""
    return {
        "into": row["merged_into"],
        "position": row["position"],
        "time": format_time(row["time"]),
        "recordedtime": format_time(row["recorded_at"]),
        "reason": row["reason"],
        "by": show_by(row),
    }


def show_delivery(row: Row) -> Delivery:
    return Delivery(
        state=row["state"],
        target=row["target"],
        url=row["url"],
        position=row["delivery_position"],
        time=format_time(row["delivery_time"]),
    )


def status_of(outcome: str | None) -> Status:
    return _STATUSES[outcome]
