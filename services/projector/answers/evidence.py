"""What judgements are made from, read at one position: revisions in force, facts, asks, what counts for whom, names
and revenue.

Reading and judging are apart. Rows are read while the snapshot is open, and nothing is made of them before it is
closed: the database ends a session that leaves a transaction idle, and what takes long would be cut off each time.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from schemas.criteria import attributes
from services.problems import Problem
from services.projector.answers.snapshot import Snapshot
from services.projector.counting.of_few import FactsOfFew, revenue_of
from services.projector.judgement.lenses import Adoption
from services.projector.judgement.resolution import Claim, Lineage, Merge, Move, Reach, Resolution
from services.projector.judgement.revenue import Revenue
from services.projector.telling.evidence import (
    TARGET_MARKET,
    KnowledgeRead,
    _bullets,
    adoptions_of,
    revenue_by_account,
)
from services.statements import Statements

SETTLING_THREADS_MAX = 3

_settling = ThreadPoolExecutor(SETTLING_THREADS_MAX, thread_name_prefix="settling")
_statements = Statements.load(Path(__file__).with_suffix(".sql"))


async def read_adoptions(snapshot: Snapshot, agreement: str = TARGET_MARKET) -> list[Adoption]:
    """Every revision of an agreement that was ever adopted."""
    return adoptions_of(await snapshot.fetch(_statements, "adoptions", snapshot.position, agreement))


async def read_lineage(
    snapshot: Snapshot, *, accounts: Iterable[str] | None = None, requirements: Iterable[str] | None = None
) -> Lineage:
    """What counts for whom: for these accounts and requirements with all that they are connected with, or for all."""
    return Lineage(
        accounts=await read_accounts_lineage(snapshot, accounts), **await _requirements_lineage(snapshot, requirements)
    )


async def read_accounts_lineage(snapshot: Snapshot, names: Iterable[str] | None = None) -> Resolution:
    """Which accounts these names stand for, or all. What is held in memory knows of all, and of what was said later."""
    if snapshot.held is not None:
        return snapshot.held.lineage.accounts
    if names is None:
        around = await snapshot.fetch(_statements, "accounts_everywhere", snapshot.position)
    else:
        around = await snapshot.fetch(_statements, "accounts_around", snapshot.position, sorted(set(names)))
    return Resolution(
        merges=(Merge(row["position"], row["valid_from"], row["name"], row["other"]) for row in around if row["merge"]),
        claims=(
            Claim(row["position"], row["valid_from"], row["name"], row["other"], row["until"])
            for row in around
            if not row["merge"]
        ),
    )


async def read_requirements_lineage(
    snapshot: Snapshot, names: Iterable[str], asks: Iterable[str] | None = None
) -> Lineage:
    """Which requirements these stand for, and which asks (of these ids, or all) moved to or from them. Which accounts
    names stand for need not be known yet."""
    if snapshot.held is not None:
        return snapshot.held.lineage
    return Lineage(**await _requirements_lineage(snapshot, names, asks))


async def with_accounts(snapshot: Snapshot, lineage: Lineage, names: Iterable[str]) -> Lineage:
    """The same, with which accounts these names stand for."""
    if snapshot.held is not None:
        return snapshot.held.lineage
    return msgspec.structs.replace(lineage, accounts=await read_accounts_lineage(snapshot, names))


async def _requirements_lineage(
    snapshot: Snapshot, names: Iterable[str] | None, asks: Iterable[str] | None = None
) -> dict[str, Any]:
    if names is None:
        merges = await snapshot.fetch(_statements, "requirements_everywhere", snapshot.position)
        moves = await snapshot.fetch(_statements, "moves", snapshot.position)
        return {"requirements": _merged(merges), "moves": _by_ask(moves)}
    wanted = sorted(set(names))
    resolution = await _merged_around(snapshot, wanted)
    near = sorted(resolution.related(wanted))
    if asks is None:
        moves = await snapshot.fetch(_statements, "moves_around", snapshot.position, near)
    else:
        moves = await snapshot.fetch(_statements, "moves_of", snapshot.position, near, sorted(set(asks)))
    if moves:
        # What an ask was moved to may have been merged in its turn.
        places = {name for move in moves for name in (move["requirement"], move["moved_to"])}
        resolution = await _merged_around(snapshot, sorted({*wanted, *places}))
    return {"requirements": resolution, "moves": _by_ask(moves)}


async def _merged_around(snapshot: Snapshot, requirements: Sequence[str]) -> Resolution:
    return _merged(await snapshot.fetch(_statements, "requirements_around", snapshot.position, requirements))


def _merged(rows: Iterable[asyncpg.Record]) -> Resolution:
    return Resolution(Merge(*row) for row in rows)


def _by_ask(rows: Iterable[asyncpg.Record]) -> dict[str, list[Move]]:
    moves: dict[str, list[Move]] = {}
    for row in rows:
        moves.setdefault(row["ask"], []).append(Move(*row))
    return moves


async def read_knowledge(snapshot: Snapshot, lineage: Lineage, accounts: Iterable[str] | None = None) -> KnowledgeRead:
    """What was known about these accounts, by all their names, or about all, and every revision ever adopted."""
    adoptions = await snapshot.fetch(_statements, "adoptions", snapshot.position, TARGET_MARKET)
    if snapshot.held is not None and accounts is not None:
        return KnowledgeRead(adoptions, FactsOfFew(snapshot.held, lineage.accounts.related(accounts)), lineage)
    tests = (bullet.test for row in adoptions for bullet in _bullets.decode(row["bullets"]) if bullet.test)
    wanted = sorted({name for test in tests for name in attributes(test)})
    if accounts is None:
        facts = await snapshot.fetch(_statements, "facts", snapshot.position, wanted)
    else:
        names = sorted(lineage.accounts.related(accounts))
        facts = await snapshot.fetch(_statements, "facts_of", snapshot.position, wanted, names)
    return KnowledgeRead(adoptions, facts, lineage)


async def read_live_asks(snapshot: Snapshot, lineage: Lineage, *, about_feedback: bool = False) -> list[asyncpg.Record]:
    """Every ask that stands, with the requirement and the account that it counts for.

    `about_feedback`: only those of ids under which feedback was ever referred to.
    """
    position = snapshot.position
    moved = [(*recorded, place) for recorded, place in lineage.places(position).items()]
    merged, named = await settle(lineage.requirements, position), await settle(lineage.accounts, position)
    return await snapshot.fetch(
        _statements,
        "live_asks",
        position,
        *([each[column] for each in moved] for column in range(3)),
        [*merged],
        [*merged.values()],
        [*named],
        [*named.values()],
        about_feedback,
    )


async def settle(resolution: Resolution, position: int) -> Mapping[str, str]:
    """What every name stands for that stands for another, without holding up other answers.

    The transaction is open meanwhile, and the threads that judge may be busy for longer than one may be idle.
    """
    return await asyncio.get_running_loop().run_in_executor(_settling, resolution.roots, position)


async def read_asks(snapshot: Snapshot, reach: Reach) -> list[asyncpg.Record]:
    """All recordings and withdrawals of asks that are within reach."""
    alone = sorted(reach.asks)
    return await snapshot.fetch(
        _statements,
        "ask_rows",
        snapshot.position,
        sorted(reach.requirements),
        *([each[column] for each in alone] for column in range(2)),
    )


async def find_requirement(snapshot: Snapshot, requirement: str) -> None:
    """Raises Problem if there is no such requirement: it was neither raised nor asked for, nor has an act named it."""
    [found] = await snapshot.fetch(_statements, "is_there", snapshot.position, requirement)
    if not found["is_there"]:
        raise Problem("not-found", f"there is no requirement {requirement!r} at position {snapshot.position}")


def accounts_in(rows: Iterable[asyncpg.Record]) -> set[str]:
    """The accounts that these asks are of, by the names that the events have."""
    return {row["account"] for row in rows if row["account"] is not None}


async def read_mentioned(snapshot: Snapshot) -> list[asyncpg.Record]:
    """Every name of an account that was mentioned. Needs the projections accounts, feedback, opportunities and
    requirements."""
    return await snapshot.fetch(_statements, "every_account", snapshot.position)


async def read_names(snapshot: Snapshot, accounts: Iterable[str] | None = None) -> list[asyncpg.Record]:
    """What the accounts of these names are called, or all."""
    if accounts is None:
        return await snapshot.fetch(_statements, "names", snapshot.position)
    return await snapshot.fetch(_statements, "names_of", snapshot.position, [*accounts])


async def read_titles(snapshot: Snapshot, requirements: Iterable[str]) -> dict[str, str]:
    """Requirement → what it is called. One that nobody has named is absent."""
    return {name: row["title"] for name, row in (await read_titled(snapshot, requirements)).items()}


async def read_titled(snapshot: Snapshot, requirements: Iterable[str]) -> dict[str, asyncpg.Record]:
    """The same with what said so."""
    rows = await snapshot.fetch(_statements, "titles", snapshot.position, [*requirements])
    return {row["requirement"]: row for row in rows}


async def read_revenue(snapshot: Snapshot) -> list[asyncpg.Record]:
    """The revenue of all accounts, by the names that the events have."""
    return await snapshot.fetch(_statements, "revenue", snapshot.position, _today(snapshot))


async def read_revenue_of(snapshot: Snapshot, accounts: Resolution, names: Iterable[str]) -> dict[str, Revenue]:
    """Account → its revenue by these of its names. One without any is absent."""
    position = snapshot.position
    if snapshot.held is not None and snapshot.now is not None:
        return revenue_of(snapshot.held, names, accounts, position, snapshot.now)
    rows = await snapshot.fetch(_statements, "revenue_of", position, _today(snapshot), [*names])
    return revenue_by_account(rows, accounts, position)


async def read_may_be_at_stake(
    snapshot: Snapshot, requirements: Sequence[str], recorded: Sequence[int]
) -> list[asyncpg.Record]:
    """Revenue from each opportunity that names one of these requirements (`by_requirement`), or that one of these
    recordings of asks (positions) names (`by_asks`)."""
    return await snapshot.fetch(
        _statements, "may_be_at_stake", snapshot.position, _today(snapshot), [*requirements], [*recorded]
    )


def _today(snapshot: Snapshot) -> date:
    """The date of "now" in UTC. In the empty ledger any date does."""
    return date.min if snapshot.now is None else snapshot.now.date()
