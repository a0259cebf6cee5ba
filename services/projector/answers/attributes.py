"""The attributes of accounts: who says them, how many accounts have them, and which bullets wait for them."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from schemas.criteria import attributes
from schemas.events import Bullet
from services.projector.answers.evidence import read_knowledge, read_lineage, read_mentioned, settle
from services.projector.answers.snapshot import Snapshot
from services.projector.judgement.fit import shown
from services.projector.shapes.shown import AsOf
from services.projector.telling.evidence import KnowledgeRead
from services.statements import Statements

READS = ("accounts", "feedback", "opportunities", "requirements", "agreements", "retractions")

TOP_VALUES_MAX = 10

_statements = Statements.load(Path(__file__).with_suffix(".sql"))
_bullets = msgspec.json.Decoder(list[Bullet])


class Types(Struct, frozen=True, kw_only=True):
    """How many accounts have an attribute as what."""

    string: int = 0
    number: int = 0
    boolean: int = 0
    list: int = 0


class SourceShown(Struct, frozen=True, kw_only=True):
    """The source of an attribute's value that counts now, for so many accounts."""

    source: str
    accounts: int


class TopValue(Struct, frozen=True, kw_only=True):
    value: Any
    accounts: int


class BulletUsing(Struct, frozen=True, kw_only=True):
    """A bullet whose test looks at an attribute: of the revision in force, or of the one that was proposed last."""

    agreement: str
    revision: str
    bullet: str
    text: str
    in_force: bool

    def __str__(self) -> str:
        return f"{self.agreement}@{self.revision} {self.bullet}"


class AttributeRow(Struct, frozen=True, kw_only=True):
    """An attribute as it is now. `share`: of all known accounts, those that have it, rounded half-even to six places.

    `undetermined`: how many of all known accounts are undetermined by the target market in force, and would be settled
    by it. Attributes that bullets use and no account has are listed too.
    """

    attribute: str
    accounts: int
    share: float
    undetermined: int
    types: Types
    sources: list[SourceShown]
    top: list[TopValue]
    bullets: list[BulletUsing]


class AttributeList(Struct, frozen=True, kw_only=True):
    """`accounts`: how many are known. The attributes that most undetermined accounts wait for come first, then those
    that most accounts have."""

    as_of: AsOf
    total: int
    accounts: int
    attributes: list[AttributeRow]


class AttributeLine(Struct, frozen=True, kw_only=True):
    """A row of the list as a line of CSV."""

    attribute: str
    accounts: int
    share: float
    undetermined: int
    types: Types
    sources: list[str]
    top: list[str]
    bullets: list[str]


class Evidence(Struct, frozen=True, kw_only=True):
    """What the list is made from, as it was read at one position."""

    position: int
    now: datetime | None
    accounts: list[asyncpg.Record]
    known: list[asyncpg.Record]
    top: list[asyncpg.Record]
    bullets: list[asyncpg.Record]
    knowledge: KnowledgeRead


class Attributes(Struct, frozen=True, kw_only=True):
    """All attributes, and how many accounts are known."""

    accounts: int
    rows: list[AttributeRow]


async def read_attributes(snapshot: Snapshot) -> Evidence:
    position = snapshot.position
    lineage = await read_lineage(snapshot)
    roots = await settle(lineage.accounts, position)
    named = [[*roots], [*roots.values()]]
    return Evidence(
        position=position,
        now=snapshot.now,
        accounts=await read_mentioned(snapshot),
        known=await snapshot.fetch(_statements, "known", position, *named),
        top=await snapshot.fetch(_statements, "top_values", position, *named, TOP_VALUES_MAX),
        bullets=await snapshot.fetch(_statements, "bullets", position, snapshot.now),
        knowledge=await read_knowledge(snapshot, lineage),
    )


def list_attributes(evidence: Evidence) -> Attributes:
    position, now = evidence.position, evidence.now
    knowledge = evidence.knowledge.knowledge()
    accounts = {knowledge.lineage.accounts.root(row["account"], position) for row in evidence.accounts}
    judged = (knowledge.judge(account, now, position) for account in accounts) if now else ()
    settling = Counter(name for judgement in judged if judgement for name in judgement.fit.would_settle)

    types: dict[str, Counter[str]] = {}
    sources: dict[str, Counter[str]] = {}
    for row in evidence.known:
        types.setdefault(row["attribute"], Counter())[row["type"]] += row["accounts"]
        sources.setdefault(row["attribute"], Counter())[row["source"]] += row["accounts"]
    top: dict[str, list[TopValue]] = {}
    for row in evidence.top:
        value = TopValue(value=msgspec.json.decode(row["value"]), accounts=row["accounts"])
        top.setdefault(row["attribute"], []).append(value)
    bullets: dict[str, list[BulletUsing]] = {}
    for name, bullet in _uses(evidence.bullets):
        bullets.setdefault(name, []).append(bullet)

    rows = [
        AttributeRow(
            attribute=name,
            accounts=(having := sum(types[name].values()) if name in types else 0),
            share=shown(Fraction(having, max(len(accounts), 1))) or 0.0,
            undetermined=settling[name],
            types=Types(**types.get(name, Counter())),
            sources=[
                SourceShown(source=source, accounts=count)
                for source, count in sorted(sources.get(name, {}).items(), key=lambda item: (-item[1], item[0]))
            ],
            top=top.get(name, []),
            bullets=bullets.get(name, []),
        )
        for name in sorted(types.keys() | bullets.keys())
    ]
    return Attributes(
        accounts=len(accounts), rows=sorted(rows, key=lambda row: (-row.undetermined, -row.accounts, row.attribute))
    )


def show_line(row: AttributeRow) -> AttributeLine:
    return AttributeLine(
        attribute=row.attribute,
        accounts=row.accounts,
        share=row.share,
        undetermined=row.undetermined,
        types=row.types,
        sources=[f"{each.source} ({each.accounts})" for each in row.sources],
        top=[f"{msgspec.json.encode(each.value).decode()} ({each.accounts})" for each in row.top],
        bullets=[str(each) for each in row.bullets],
    )


def _uses(revisions: list[asyncpg.Record]) -> Iterator[tuple[str, BulletUsing]]:
    """Each attribute that a bullet's test looks at, with the bullet."""
    for row in revisions:
        for bullet in _bullets.decode(row["bullets"]):
            for name in attributes(bullet.test) if bullet.test else ():
                yield (
                    name,
                    BulletUsing(
                        agreement=row["agreement"],
                        revision=row["revision"],
                        bullet=bullet.bullet,
                        text=bullet.text,
                        in_force=row["in_force"],
                    ),
                )
