"""What was at stake when a decision was made, and what became of it. Pure.

At stake were the opportunities that named one of its requirements, themselves or by an ask that stood, at the time of
the decision and as known at its cut: open ones, and won ones whose contract had not ended. An opportunity counts under
the class of its account as decided. What was retracted later was at stake all the same: it argued.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Literal, NamedTuple

from msgspec import Struct

from services.projector.judgement import lenses
from services.projector.judgement.fit import Class
from services.projector.judgement.lenses import Decision, Knowledge
from services.projector.judgement.revenue import Amounts, Revenue

Fate = Literal["won", "renewed", "kept", "lost", "ended", "open", "retracted"]
"""What became of an opportunity that was at stake. Of a contract that ran then: it is `kept` or has `ended`."""

GAINED: Collection[Fate] = ("won", "renewed", "kept")
GONE: Collection[Fate] = ("lost", "ended")


class Opportunity(NamedTuple):
    """An opportunity as one event states it. `amount` is in millionths of its currency's unit."""

    opportunity: str
    account: str
    stage: Literal["open", "won", "lost"]
    amount: int | None
    currency: str | None
    kind: str | None
    closes: date | None
    ends: date | None
    closed_because: str | None
    requirements: Sequence[str]
    position: int

    def counts(self, today: date) -> bool:
        """Whether it is revenue, or may be: open, or won and not ended."""
        return self.stage == "open" or (self.stage == "won" and not self.ended(today))

    def ended(self, today: date) -> bool:
        return self.ends is not None and self.ends < today


class Candidate(NamedTuple):
    """An opportunity that may have been at stake: as the deciders knew it, and as it is now; None if nothing counts."""

    then: Opportunity | None
    now: Opportunity | None


class Stake(Struct, frozen=True, kw_only=True):
    """An opportunity that was at stake, or came later. `class_` is that of its account as decided."""

    then: Opportunity | None
    now: Opportunity | None
    class_: Class
    fate: Fate

    @property
    def opportunity(self) -> Opportunity:
        """As it was when it was decided, or if nobody knew of it, as it is."""
        known = self.then or self.now
        assert known is not None  # What is neither known then nor now is no candidate.
        return known


class Naming:
    """Which opportunities name one of some requirements, at a position of the log."""

    def __init__(
        self, knowledge: Knowledge, requirements: Collection[str], position: int, asked_for: Collection[str]
    ) -> None:
        """`asked_for`: the opportunities that asks for these requirements name."""
        self._root, self._position, self._asked_for = knowledge.lineage.requirements.root, position, asked_for
        self._roots = {self._root(name, position) for name in requirements}

    def names(self, opportunity: Opportunity) -> bool:
        return opportunity.opportunity in self._asked_for or any(
            self._root(name, self._position) in self._roots for name in opportunity.requirements
        )


def at_stake(
    knowledge: Knowledge,
    decision: Decision,
    classes: Mapping[str, Class],
    candidates: Iterable[Candidate],
    then: Naming,
    today: date,
) -> list[Stake]:
    """What was at stake, in the order of the candidates.

    `classes`: account → its class, of those who asked as decided. `then`: what was named for the deciders. `today`: the
    date of now, by which contracts have ended.
    """
    decided_on = decision.valid_from.date()
    return [
        Stake(
            then=known,
            now=now,
            class_=class_as_decided(knowledge, decision, classes, known),
            fate=fate(known, now, today),
        )
        for known, now in candidates
        if known is not None and known.counts(decided_on) and then.names(known)
    ]


def came_later(
    knowledge: Knowledge,
    decision: Decision,
    classes: Mapping[str, Class],
    candidates: Iterable[Candidate],
    then: Naming,
    now: Naming,
) -> list[Stake]:
    """What is named now and was not at stake, in the order of the candidates.

    What was named and over for the deciders came later only if it is not over any more, or in another way.
    """
    decided_on = decision.valid_from.date()

    def came(known: Opportunity | None, standing: Opportunity) -> bool:
        if known is None or not then.names(known):
            return True
        return not known.counts(decided_on) and known.stage != standing.stage

    return [
        Stake(
            then=known,
            now=standing,
            class_=class_as_decided(knowledge, decision, classes, known or standing),
            fate=fate_since(standing),
        )
        for known, standing in candidates
        if standing is not None and now.names(standing) and came(known, standing)
    ]


def fate(then: Opportunity, now: Opportunity | None, today: date) -> Fate:
    """What has become of an opportunity that was at stake."""
    if now is None:
        return "retracted"
    if now.stage != "won":
        return now.stage
    if then.stage == "open":
        return fate_since(now)
    return "ended" if now.ended(today) else "kept"


def fate_since(now: Opportunity) -> Fate:
    """What has become of an opportunity that was no contract before."""
    if now.stage != "won":
        return now.stage
    return "renewed" if now.kind == "renewal" else "won"


def class_as_decided(
    knowledge: Knowledge, decision: Decision, classes: Mapping[str, Class], opportunity: Opportunity
) -> Class:
    """The class of an opportunity's account for the deciders, whether it asked or not."""
    account = knowledge.lineage.accounts.root(opportunity.account, decision.cut)
    # An ask from an exploratory phase is heeded.
    return classes.get(account) or lenses.class_of(knowledge.judge(account, decision.valid_from, decision.cut))


def revenue_then(stakes: Iterable[Stake]) -> list[tuple[Class, Revenue]]:
    """What each was worth when it was decided, with its class."""
    return [(stake.class_, revenue_of(stake.then)) for stake in stakes]


def revenue_of(opportunity: Opportunity | None) -> Revenue:
    """What one is worth: contracted if it is won, pipeline if not."""
    if opportunity is None or opportunity.amount is None or opportunity.currency is None:
        return {}
    if opportunity.stage == "won":
        return {opportunity.currency: Amounts(contracted=opportunity.amount)}
    return {opportunity.currency: Amounts(pipeline=opportunity.amount)}
