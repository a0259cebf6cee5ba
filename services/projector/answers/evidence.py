"""What judgements are made from, read at one position: revisions in force, facts, asks, names and revenue.

Reading and judging are apart. Rows are read while the snapshot is open, and nothing is made of them before it is
closed: the database ends a session that leaves a transaction idle, and what takes long would be cut off each time.
"""

from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct

from schemas.criteria import attributes
from schemas.events import Bullet
from services.postgres import Statements
from services.projector.answers.snapshot import Snapshot
from services.projector.fit import Revision
from services.projector.lenses import Adoption, Ask, Fact, Knowledge
from services.projector.revenue import Amounts, Revenue, millionths

TARGET_MARKET = "target-market"
"""The agreement that asks are judged by."""

_statements = Statements.load(Path(__file__).with_suffix(".sql"))
_bullets = msgspec.json.Decoder(list[Bullet])


class KnowledgeRead(Struct, frozen=True):
    """What was known, as it was read."""

    adoptions: list[asyncpg.Record]
    facts: list[asyncpg.Record]

    def knowledge(self) -> Knowledge:
        adoptions = (
            Adoption(
                row["in_force_from"],
                row["position"],
                Revision(
                    agreement=row["agreement"],
                    revision=row["revision"],
                    title=row["title"],
                    stage=row["stage"],
                    threshold=row["threshold"],
                    bullets=_bullets.decode(row["bullets"]),
                ),
            )
            for row in self.adoptions
        )
        return Knowledge(adoptions, map(Fact._make, self.facts))


async def read_knowledge(snapshot: Snapshot, accounts: Iterable[str] | None = None) -> KnowledgeRead:
    """What was known about these accounts, or about all, and every revision that was ever adopted."""
    adoptions = await snapshot.fetch(_statements, "adoptions", snapshot.position, TARGET_MARKET)
    tests = (bullet.test for row in adoptions for bullet in _bullets.decode(row["bullets"]) if bullet.test)
    wanted = sorted({name for test in tests for name in attributes(test)})
    if accounts is None:
        facts = await snapshot.fetch(_statements, "facts", snapshot.position, wanted)
    else:
        facts = await snapshot.fetch(_statements, "facts_of", snapshot.position, wanted, [*accounts])
    return KnowledgeRead(adoptions, facts)


async def read_live_asks(snapshot: Snapshot) -> list[asyncpg.Record]:
    """Every ask that stands, of every requirement."""
    return await snapshot.fetch(_statements, "live_asks", snapshot.position)


async def read_ask_rows(snapshot: Snapshot, requirements: Iterable[str]) -> list[asyncpg.Record]:
    """All recordings and withdrawals of asks of these requirements."""
    return await snapshot.fetch(_statements, "ask_rows", snapshot.position, sorted(set(requirements)))


def asks_by_requirement(rows: Iterable[asyncpg.Record]) -> dict[str, list[Ask]]:
    """Requirement → its asks, of rows as they were read."""
    asks: dict[str, list[Ask]] = {}
    for row in rows:
        ask = Ask(*row)
        asks.setdefault(ask.requirement, []).append(ask)
    return asks


def accounts_in(rows: Iterable[asyncpg.Record]) -> set[str]:
    """The accounts that these asks are of."""
    return {row["account"] for row in rows if row["account"] is not None}


async def read_names(snapshot: Snapshot, accounts: Iterable[str] | None = None) -> list[asyncpg.Record]:
    """What these accounts are called, or all."""
    if accounts is None:
        return await snapshot.fetch(_statements, "names", snapshot.position)
    return await snapshot.fetch(_statements, "names_of", snapshot.position, [*accounts])


def names_by_account(rows: Iterable[asyncpg.Record]) -> dict[str, str]:
    return {row["account"]: row["name"] for row in rows}


async def read_revenue(snapshot: Snapshot, accounts: Iterable[str] | None = None) -> list[asyncpg.Record]:
    """The revenue of these accounts, or of all."""
    if accounts is None:
        return await snapshot.fetch(_statements, "revenue", snapshot.position, _today(snapshot))
    return await snapshot.fetch(_statements, "revenue_of", snapshot.position, _today(snapshot), [*accounts])


async def read_at_stake(snapshot: Snapshot, requirement: str, asks: Sequence[Ask]) -> list[asyncpg.Record]:
    """Revenue from opportunities that name the requirement, or that one of these asks names."""
    positions = [ask.position for ask in asks]
    return await snapshot.fetch(_statements, "at_stake", snapshot.position, _today(snapshot), requirement, positions)


def revenue_by_account(rows: Iterable[asyncpg.Record]) -> dict[str, Revenue]:
    """Account → its revenue, of rows as they were read. An account without any is absent."""
    revenue: dict[str, Revenue] = {}
    for row in rows:
        amounts = Amounts(millionths(row["contracted"]), millionths(row["pipeline"]))
        revenue.setdefault(row["account"], {})[row["currency"]] = amounts
    return revenue


def _today(snapshot: Snapshot) -> date:
    """The date of "now" in UTC. In the empty ledger any date does."""
    return date.min if snapshot.now is None else snapshot.now.date()
