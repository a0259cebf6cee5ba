"""What judgements are made from, read at one position: revisions in force, facts, asks, names and revenue."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

import asyncpg
import msgspec

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


async def read_knowledge(snapshot: Snapshot, accounts: Iterable[str] | None = None) -> Knowledge:
    """What was known about these accounts, or about all, and every revision that was ever adopted."""
    adoptions = [
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
        for row in await snapshot.fetch(_statements, "adoptions", snapshot.position, TARGET_MARKET)
    ]
    attributes = sorted({name for adoption in adoptions for name in adoption.revision.attributes})
    if accounts is None:
        rows = await snapshot.fetch(_statements, "facts", snapshot.position, attributes)
    else:
        rows = await snapshot.fetch(_statements, "facts_of", snapshot.position, attributes, [*accounts])
    # There may be many; in a thread they do not hold up other answers.
    return await asyncio.to_thread(lambda: Knowledge(adoptions, map(Fact._make, rows)))


async def read_live_asks(snapshot: Snapshot) -> list[Ask]:
    """Every ask that stands, of every requirement."""
    rows = await snapshot.fetch(_statements, "live_asks", snapshot.position)
    return await asyncio.to_thread(lambda: [*map(Ask._make, rows)])


async def read_ask_rows(snapshot: Snapshot, requirements: Iterable[str]) -> dict[str, list[Ask]]:
    """Requirement → all recordings and withdrawals of its asks."""
    rows: dict[str, list[Ask]] = {}
    for row in await snapshot.fetch(_statements, "ask_rows", snapshot.position, sorted(set(requirements))):
        ask = Ask._make(row)
        rows.setdefault(ask.requirement, []).append(ask)
    return rows


async def read_names(snapshot: Snapshot, accounts: Iterable[str] | None = None) -> dict[str, str]:
    if accounts is None:
        rows = await snapshot.fetch(_statements, "names", snapshot.position)
    else:
        rows = await snapshot.fetch(_statements, "names_of", snapshot.position, [*accounts])
    return {row["account"]: row["name"] for row in rows}


async def read_revenue(snapshot: Snapshot, accounts: Iterable[str] | None = None) -> dict[str, Revenue]:
    """Account → its revenue. An account without any is absent."""
    if accounts is None:
        rows = await snapshot.fetch(_statements, "revenue", snapshot.position, _today(snapshot))
    else:
        rows = await snapshot.fetch(_statements, "revenue_of", snapshot.position, _today(snapshot), [*accounts])
    return _by_account(rows)


async def read_at_stake(snapshot: Snapshot, requirement: str, asks: Sequence[Ask]) -> Mapping[str, Revenue]:
    """Account → its revenue from opportunities that name the requirement, or that one of these asks names."""
    positions = [ask.position for ask in asks]
    rows = await snapshot.fetch(_statements, "at_stake", snapshot.position, _today(snapshot), requirement, positions)
    return _by_account(rows)


def _by_account(rows: Iterable[asyncpg.Record]) -> dict[str, Revenue]:
    revenue: dict[str, Revenue] = {}
    for row in rows:
        amounts = Amounts(millionths(row["contracted"]), millionths(row["pipeline"]))
        revenue.setdefault(row["account"], {})[row["currency"]] = amounts
    return revenue


def _today(snapshot: Snapshot) -> date:
    """The date of "now" in UTC. In the empty ledger any date does."""
    return date.min if snapshot.now is None else snapshot.now.date()
