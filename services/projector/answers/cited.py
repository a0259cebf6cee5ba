"""The events on which the answer about one requirement rests: whoever folds them comes to the same answer.

Of the requirement, and of each decision of which anything is cited, all is cited that was recorded up to the position
of the answer, so that versions show what somebody leaves out.
More may be cited than counts in the end, and never less: `services/verifier` makes the answer anew from these alone.
"""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from schemas.envelope import stream_uuid
from services.problems import Problem
from services.projector.answers.evidence import read_names
from services.projector.answers.since import read_chains
from services.projector.answers.snapshot import Snapshot
from services.projector.judgement.lenses import Ask, Fact, Facts
from services.projector.telling.evidence import TARGET_MARKET
from services.projector.telling.requirement import Judged, Shown, asks_of, names_asking
from services.proof.merkle import HashOf, inclusion
from services.statements import Statements
from services.tree import Kept, Tree

CITED_EVENTS_MAX = 2_000
"""Events that one answer proves: each takes its bytes, and about a thousand more for its proof."""

CITED_OCTETS_MAX = 8 * 1024 * 1024
"""Stored bytes that one answer carries."""

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class Cited(Struct, frozen=True, kw_only=True):
    """The cited events, by position: their stored bytes, and what their paths to the root follow from."""

    entries: Sequence[tuple[int, bytes]]
    subtree: HashOf


async def read_cited(snapshot: Snapshot, judged: Judged, shown: Shown, after: int, kept: Kept) -> Cited:
    """What the answer rests on that shows the accounts behind the first ones, in the log of a checkpoint. `snapshot`
    is at the position of the answer, which the checkpoint has.

    Raises Problem if that is more than one answer may carry.
    """
    positions = await _positions(snapshot, judged, shown, after)
    [said] = await snapshot.fetch(_statements, "size", positions)
    if len(positions) > CITED_EVENTS_MAX or said["octets"] > CITED_OCTETS_MAX:
        raise Problem(
            "too-much-to-prove",
            f"the answer rests on {len(positions)} events of {said['octets']} bytes; one answer carries at most"
            f" {CITED_EVENTS_MAX} events and {CITED_OCTETS_MAX} bytes",
            events=len(positions),
        )
    rows = await snapshot.fetch(_statements, "entries", positions)
    stretches = [each for position in positions for each in inclusion(position - 1, kept.size)]
    return Cited(
        entries=[(row["position"], row["state"]) for row in rows],
        subtree=await Tree(snapshot.ledger).subtrees(snapshot.connection, stretches, kept.size),
    )


async def _positions(snapshot: Snapshot, judged: Judged, shown: Shown, after: int) -> list[int]:
    """Where the cited events are, in order."""
    evidence, position = judged.evidence, snapshot.position
    lineage, facts = evidence.knowledge.lineage, evidence.knowledge.facts
    assert not isinstance(facts, Facts)  # Each was read by itself.
    accounts, requirements = lineage.accounts, lineage.requirements
    decided = [row["decision"] for row in evidence.made]
    counts = requirements.into(evidence.requirement, position) is None
    names = requirements.members(evidence.requirement, position) if counts else ()
    asking = {name for ask in evidence.live if ask.account for name in accounts.members(ask.account, position)}

    async def found(statement: str, *values: object) -> list[int]:
        return [row["position"] for row in await snapshot.fetch(_statements, statement, position, *values)]

    cited = {
        position,  # Its recorded time is "now".
        *(row["position"] for row in shown.history),
        *(Ask(*row).position for row in evidence.ask_rows),
        *(move.position for moves in lineage.moves.values() for move in moves),
        *requirements.positions(),
        *(Fact(*row).position for row in facts),
        *(row["delivery_position"] for row in evidence.deliveries),
    }
    told = (evidence.said, evidence.made, evidence.sides.assessments, evidence.sides.perspectives)
    since = (evidence.since.acknowledgements, evidence.since.reaffirmations, evidence.since.supersessions)
    chains = await read_chains(snapshot, decided)
    called = await read_names(snapshot, names_asking(judged.evidence, asks_of(judged, judged.page(after))))
    cited.update(row["position"] for rows in (*told, *since, chains, called) for row in rows)
    cited.update(await found("agreed", TARGET_MARKET))
    asked = {account for row in evidence.ask_rows if (account := Ask(*row).account) is not None}
    cited.update(await found("named", sorted(accounts.names() & accounts.related(asked | evidence.at_stake.keys()))))
    live = [ask.position for ask in evidence.live]
    cited.update(await found("sold", sorted(asking), [*names], live))
    cited.update(await found("retractions", sorted(cited)))
    decisions = await snapshot.fetch(_statements, "decisions", position, sorted(cited))
    streams = [stream_uuid(f"requirement/{evidence.requirement}"), *(row["stream"] for row in decisions)]
    cited.update(await found("streams", streams))
    return sorted(cited)
