"""What judgements are made from, of rows as they were read: revisions in force, facts, asks, names and revenue."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import Struct

from schemas.events import Bullet
from services.projector.judgement.fit import Revision
from services.projector.judgement.lenses import Adoption, Ask, Fact, Facts, Knowledge
from services.projector.judgement.resolution import Lineage, Reach, Resolution
from services.projector.judgement.revenue import Amounts, Revenue, millionths, total
from services.projector.shapes.shown import Row

TARGET_MARKET = "target-market"
"""The agreement that asks are judged by."""


REVISIONS_MAX = 256
"""Revisions that are remembered."""

_bullets = msgspec.json.Decoder(list[Bullet])


class KnowledgeRead(Struct, frozen=True):
    """What was known, as it was read."""

    adoptions: Sequence[Row]
    facts: Facts | Sequence[Iterable[Any]]
    """Or the values of a Fact each."""
    lineage: Lineage

    def knowledge(self) -> Knowledge:
        facts = self.facts if isinstance(self.facts, Facts) else map(Fact._make, self.facts)
        return Knowledge(adoptions_of(self.adoptions), facts, self.lineage)


def adoptions_of(rows: Iterable[Row]) -> list[Adoption]:
    """Adoptions, of rows as they were read."""
    return [
        Adoption(row["in_force_from"], row["position"], revision_of(*map(row.__getitem__, _REVISION))) for row in rows
    ]


_REVISION = ("agreement", "revision", "title", "stage", "threshold", "bullets")


@lru_cache(maxsize=REVISIONS_MAX)
def revision_of(
    agreement: str, revision: str, title: str, stage: Literal["exploratory", "focused"], threshold: int, bullets: str
) -> Revision:
    """A revision of an agreement, the same one for the same words; `bullets` is canonical JSON."""
    return Revision(
        agreement=agreement,
        revision=revision,
        title=title,
        stage=stage,
        threshold=threshold,
        bullets=_bullets.decode(bullets),
    )


class AskedOn(dict[str, list[Ask]]):
    """Requirement → all that was read about asks on it."""

    def __init__(self, asks: Iterable[Ask]) -> None:
        super().__init__()
        for ask in asks:
            self.setdefault(ask.requirement, []).append(ask)
        self._by_id: dict[str, dict[str, list[Ask]]] = {}
        self._reaches: dict[frozenset[str], Reach] = {}

    def about(self, requirements: Iterable[str], lineage: Lineage) -> list[Ask]:
        """All of it that bears on asks which are for one of these requirements, or were."""
        names = frozenset(requirements)
        if names not in self._reaches:
            self._reaches[names] = lineage.reach(names)
        reach = self._reaches[names]
        rows = [ask for requirement in reach.requirements for ask in self.get(requirement, ())]
        return rows + [ask for place, id in reach.asks for ask in self._of(place).get(id, ())]

    def _of(self, requirement: str) -> dict[str, list[Ask]]:
        if requirement not in self._by_id:
            by_id = self._by_id[requirement] = {}
            for ask in self.get(requirement, ()):
                by_id.setdefault(ask.ask, []).append(ask)
        return self._by_id[requirement]


def asks_by_requirement(rows: Iterable[Iterable[Any]]) -> AskedOn:
    """Requirement → its asks, of rows as they were read, which have the values of an Ask each."""
    return AskedOn(Ask(*row) for row in rows)


def names_by_account(rows: Iterable[Row], accounts: Resolution, position: int) -> dict[str, str]:
    """Account → what it is called: what was said last of it, or else of another of its names."""
    best: dict[str, tuple[bool, datetime, int, str]] = {}
    for row in rows:
        account = accounts.root(row["account"], position)
        said = (row["account"] == account, row["valid_from"], row["position"], row["name"])
        best[account] = max(best.get(account, said), said)
    return {account: name for account, (*_, name) in best.items()}


def revenue_by_account(rows: Iterable[Row], accounts: Resolution, position: int) -> dict[str, Revenue]:
    """Account → its revenue under all its names, of rows as they were read. An account without any is absent."""
    revenue: dict[str, list[Revenue]] = {}
    for row in rows:
        amounts = Amounts(millionths(row["contracted"]), millionths(row["pipeline"]))
        account = accounts.root(row["account"], position)
        revenue.setdefault(account, []).append({row["currency"]: amounts})
    return {account: total(amounts) for account, amounts in revenue.items()}
