"""One requirement: who asked for it, how on-target they were, who decided, and its history."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncpg
from msgspec import UNSET, Struct, UnsetType

from schemas.envelope import stream_uuid
from services.projector.answers.decisions import read_made_on
from services.projector.answers.evidence import (
    accounts_in,
    find_requirement,
    read_asks,
    read_knowledge,
    read_may_be_at_stake,
    read_names,
    read_requirements_lineage,
    read_revenue_of,
    with_accounts,
)
from services.projector.answers.sealed import Opener, read_sealed
from services.projector.answers.sides import read_sides
from services.projector.answers.since import read_since, read_superseded
from services.projector.answers.snapshot import Snapshot
from services.projector.judgement import lenses
from services.projector.judgement.lenses import Ask
from services.projector.telling.decisions import asked_of, decision_of
from services.projector.telling.evidence import revenue_by_account
from services.projector.telling.history import HISTORY_MAX
from services.projector.telling.requirement import (
    Evidence,
    Shown,
    askers,
    names_asking,
)
from services.statements import Statements

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


async def read_requirement(snapshot: Snapshot, requirement: str) -> Evidence:
    """Raises Problem if there is no such requirement."""
    await find_requirement(snapshot, requirement)
    position = snapshot.position
    said = await snapshot.fetch(_statements, "said", position, requirement)
    lineage = await read_requirements_lineage(snapshot, [requirement])
    root = lineage.requirements.root(requirement, position)
    # What was merged keeps its own decisions in sight; all else about it counts at the root.
    names = lineage.requirements.members(requirement, position) if root == requirement else (requirement,)
    made = await read_made_on(snapshot, names)
    asked = {requirement, *asked_of(decision_of(row) for row in made)}
    if asked != {requirement}:
        lineage = await read_requirements_lineage(snapshot, asked)
    ask_rows = await read_asks(snapshot, lineage.reach(asked))
    counts = root == requirement
    # What is at stake follows from the asks that stand, and those from what names stand for: of all that may be.
    near = await read_may_be_at_stake(snapshot, names, [row["position"] for row in ask_rows]) if counts else []
    accounts = accounts_in(ask_rows)
    named = accounts | {row["account"] for row in near}
    lineage = await with_accounts(snapshot, lineage, named)
    rows = [Ask(*row) for row in ask_rows]
    assert snapshot.now is not None  # In the empty ledger there is none.

    # Reading goes on with it, so it cannot wait until the snapshot is closed; it takes one pass over the asks.
    live = lenses.live_asks(rows, snapshot.now, position, lineage, [requirement]) if counts else []
    standing = {ask.position for ask in live}
    stakes = [row for row in near if row["by_requirement"] or not standing.isdisjoint(row["by_asks"])]
    accounts |= {row["account"] for row in stakes}
    asking = {name for each in askers(live) for name in lineage.accounts.members(each, position)}
    return Evidence(
        requirement=requirement,
        as_of=snapshot.as_of,
        now=snapshot.now,
        said=said,
        deliveries=await snapshot.fetch(_statements, "delivery", position, requirement),
        made=made,
        sides=await read_sides(snapshot, names),
        since=await read_since(snapshot, [row["decision"] for row in made]),
        superseded=await read_superseded(snapshot, [row["decision"] for row in made]),
        merges=await snapshot.fetch(_statements, "merges", position, [*names]),
        ask_rows=ask_rows,
        live=live,
        at_stake=revenue_by_account(stakes, lineage.accounts, position),
        revenues=await read_revenue_of(snapshot, lineage.accounts, asking),
        knowledge=await read_knowledge(snapshot, lineage, accounts),
    )


async def read_shown(
    snapshot: Snapshot, evidence: Evidence, asks: Sequence[Ask], opener: Opener | None = None
) -> Shown:
    """What an answer shows besides what is judged. `snapshot` is at the position of the evidence, where rows are what
    they were.

    `asks`: those that its page shows; `opener` opens the sealed texts.
    """
    ask_rows = await read_shown_asks(snapshot, asks)
    sealed = await _sealed(snapshot, ask_rows, evidence.said, opener)
    stream = stream_uuid(f"requirement/{evidence.requirement}")
    # One more than is shown, which says that there are more.
    history = await snapshot.fetch(
        _statements, "history", snapshot.position, evidence.requirement, stream, HISTORY_MAX + 1
    )
    return Shown(
        asks=ask_rows,
        names=await read_names(snapshot, names_asking(evidence, asks)),
        history=history,
        quotes=sealed.quotes,
        problem=sealed.problem,
    )


class _Sealed(Struct, frozen=True):
    problem: str | UnsetType | None
    quotes: Mapping[int, str | None]


async def _sealed(
    snapshot: Snapshot, asks: Sequence[asyncpg.Record], said: Sequence[asyncpg.Record], opener: Opener | None
) -> _Sealed:
    """The sealed texts of an answer; without `opener` there are none."""
    if opener is None:
        return _Sealed(UNSET, {})
    quotes = await read_sealed(snapshot, [row["position"] for row in asks if row["has_quote"]], "quote", opener)
    stated = [row["position"] for row in said if row["has_problem"]]
    if not stated:
        return _Sealed(UNSET, quotes)
    problems = await read_sealed(snapshot, stated[-1:], "problem", opener)
    return _Sealed(problems[stated[-1]], quotes)


async def read_shown_asks(snapshot: Snapshot, asks: Sequence[Ask]) -> list[asyncpg.Record]:
    """What the last recordings of these asks say, with their first ones, in the order of these."""
    return await snapshot.fetch(_statements, "asks", [ask.position for ask in asks], [ask.asked[1] for ask in asks])
