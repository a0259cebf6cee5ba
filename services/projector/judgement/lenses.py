"""The three lenses: what counted for a judgement, by the time it is about and by what was known. Pure.

Everything here is asked with a time `t` and a position `p`: what was true at t, as known at p. Of rows with
valid_from <= t and position <= p, and not retracted by then, the one with the greatest (valid_from, position) counts.

As asked: t is the ask's own time, p the answer's position P. As decided: t is the decision's time, p its knowledge
cut. As now: t is the recorded time of P, p is P.

An ask's own time is that of its first recording, by valid_from: what it says may be revised, when it was asked stays.

Whose account a name is, and which requirement an ask is for, is resolved as known at p. So the deciders' lens knows
nothing of an alias or a merge that came after them.
"""

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from math import lcm
from operator import attrgetter
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from services.projector.judgement import fit as fits
from services.projector.judgement.figures import counted
from services.projector.judgement.fit import CLASSES, Class, Fit, Revision
from services.projector.judgement.resolution import Lineage, Resolution

Departs = Literal["no", "undetermined", "yes"]

NOTHING = Fraction(0)

FITS_REMEMBERED_MAX = 10_000
PROFILE_CHARACTERS_MAX = 1_024
"""Fits that are remembered: of the profiles that were judged last, and may be of so many characters each."""


class Fact(NamedTuple):
    """One attribute of an account; `value` is JSON text, `null` where it is unknown again."""

    account: str
    attribute: str
    value: str
    valid_from: datetime
    position: int
    until: int | None = None
    """The position at which it was retracted."""

    def is_known(self, p: int) -> bool:
        return self.position <= p and (self.until is None or p < self.until)


class Adoption(NamedTuple):
    """A revision comes into force."""

    in_force_from: datetime
    position: int
    revision: Revision


class Ask(NamedTuple):
    """One recording of an ask; or, without an account, the withdrawal of every account's ask of that id.

    As it was recorded, it has the names that the event has; `until` is the position at which that was retracted. An ask
    that stands is its latest recording, with the names that these stand for; `recorded_on` is then the requirement that
    the event named. If it was revised, it has the time and the position of its first recording too.
    """

    requirement: str
    ask: str
    account: str | None
    importance: int
    valid_from: datetime
    position: int
    until: int | None = None
    first_valid_from: datetime | None = None
    first_position: int | None = None
    recorded_on: str | None = None

    @property
    def withdrawn(self) -> bool:
        return self.account is None

    def is_known(self, p: int) -> bool:
        return is_known(self.position, self.until, p)

    @property
    def asked(self) -> tuple[datetime, int]:
        """The time and the position of its first recording."""
        if self.first_valid_from is None or self.first_position is None:
            return self.valid_from, self.position
        return self.first_valid_from, self.first_position


class Decision(NamedTuple):
    """A made decision, as far as it says whose knowledge counts. `valid_from` is its time."""

    decision: str
    position: int
    valid_from: datetime
    seen: int | None
    outcome: str
    requirements: Sequence[str]

    @property
    def cut(self) -> int:
        """The position up to which its deciders knew the log."""
        return self.position - 1 if self.seen is None else self.seen


class Weight(NamedTuple):
    """A fit and an importance, not multiplied yet: many are added up, and few are compared."""

    share: Fraction
    importance: int

    @property
    def product(self) -> Fraction:
        return self.share * self.importance


class Judgement(Struct, frozen=True, kw_only=True):
    """A fit as one lens shows it. `class_` heeds the exploratory phase in which the ask was made."""

    fit: Fit
    class_: Class
    backdated: bool
    """The judging revision was adopted, by position, after the ask was first recorded."""


class Asker(Struct, frozen=True, kw_only=True):
    """An account that asks, with the ask that gives it its voice. Without an agreement there is no judgement."""

    account: str
    ask: Ask
    judgement: Judgement | None
    loudest: Weight
    loudest_if_known: Weight
    """Under the lens as asked it may be that of another ask."""

    @property
    def class_(self) -> Class:
        return class_of(self.judgement)

    @property
    def weight(self) -> Fraction:
        """fit × importance."""
        return self.loudest.product


class Facts(ABC):
    """What was said of accounts, by the names that the events have: of those that one answer may look at."""

    @abstractmethod
    def profile(self, names: Sequence[str], attributes: Sequence[str], t: datetime, p: int) -> tuple[str, ...]:
        """These attributes, at t and as known at p, of an account that goes by these names: JSON texts, in the order
        asked for."""

    @abstractmethod
    def upto(self, names: Sequence[str], attribute: str, t: datetime, p: int) -> list[Fact]:
        """All that was said of an attribute about the times up to t, and recorded up to p, in the order in which it
        counts; what was retracted too."""


class FactsListed(Facts):
    """Facts in lists, as they are."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self._facts: defaultdict[str, defaultdict[str, list[Fact]]] = defaultdict(_by_attribute)
        for fact in facts:
            self._facts[fact.account][fact.attribute].append(fact)
        # Many short lists are put in order faster than a long one.
        for of_name in self._facts.values():
            for said in of_name.values():
                said.sort(key=_said)

    def profile(self, names: Sequence[str], attributes: Sequence[str], t: datetime, p: int) -> tuple[str, ...]:
        facts = [self._facts[name] for name in names if name in self._facts]
        found = [_last_said(facts, attribute, t, p) for attribute in attributes]
        return tuple(["null" if fact is None else fact.value for fact in found])

    def upto(self, names: Sequence[str], attribute: str, t: datetime, p: int) -> list[Fact]:
        found = (fact for name in names if name in self._facts for fact in self._facts[name].get(attribute, ()))
        return in_order(fact for fact in found if fact.valid_from <= t and fact.position <= p)


class Knowledge:
    """The facts about accounts and the revisions of the target market that one answer may look at."""

    def __init__(
        self, adoptions: Iterable[Adoption], facts: Facts | Iterable[Fact], lineage: Lineage | None = None
    ) -> None:
        self.lineage = Lineage() if lineage is None else lineage
        self._adoptions = sorted(adoptions, key=lambda adoption: adoption[:2])
        self._facts = facts if isinstance(facts, Facts) else FactsListed(facts)
        self._found: dict[tuple[str, datetime, int], tuple[Adoption, Fit] | None] = {}

    def in_force(self, t: datetime, p: int) -> Adoption | None:
        """The adoption by which a revision was in force at t, as known at p."""
        return next(
            (
                adoption
                for adoption in reversed(self._adoptions)
                if adoption.in_force_from <= t and adoption.position <= p
            ),
            None,
        )

    def since_in_force(self, t: datetime, p: int) -> list[Adoption]:
        """The adoptions since which the revision in force at t has been in force without a break, as known at p."""
        found: list[Adoption] = []
        for adoption in reversed(self._adoptions):
            if adoption.in_force_from <= t and adoption.position <= p:
                if found and adoption.revision.name != found[0].revision.name:
                    break
                found.append(adoption)
        return found[::-1]

    def facts(self, account: str, attribute: str, t: datetime, p: int) -> list[Fact]:
        """All that was said of an attribute about the times up to t, and recorded up to p, in the order in which it
        counts; what was retracted too."""
        return self._facts.upto(self.lineage.accounts.members(account, p), attribute, t, p)

    def profile(self, account: str, attributes: Sequence[str], t: datetime, p: int) -> tuple[str, ...]:
        """These attributes of an account at t, as known at p: JSON texts, in the order asked for."""
        return self.profile_of(self.lineage.accounts.members(account, p), attributes, t, p)

    def profile_of(self, names: Sequence[str], attributes: Sequence[str], t: datetime, p: int) -> tuple[str, ...]:
        """The same of an account that goes by these names."""
        return self._facts.profile(names, attributes, t, p)

    def fact(self, account: str, attribute: str, t: datetime, p: int) -> Fact | None:
        """The fact that counted at t, as known at p."""
        return next((fact for fact in reversed(self.facts(account, attribute, t, p)) if fact.is_known(p)), None)

    def judge(self, account: str, t: datetime, p: int, ask: Ask | None = None) -> Judgement | None:
        """How well an account met the target market at t, as known at p; None if none was in force.

        With the `ask` that gives the account its voice, what depends on when it was made is heeded too.
        """
        key = (account, t, p)
        if key not in self._found:
            self._found[key] = self._find(account, t, p)
        known = self._found[key]
        if known is None:
            return None
        adoption, found = known
        if ask is None:
            return Judgement(fit=found, class_=found.class_, backdated=False)
        return Judgement(fit=found, class_=self._class_of(found, ask, p), backdated=adoption.position > ask.asked[1])

    def class_if(self, revision: Revision | None, profile: Mapping[str, str], ask: Ask, p: int) -> Class:
        """The class of an account with this ask, if it had this profile and were judged by this revision."""
        if revision is None:
            return class_of(None)
        return self._class_of(_fit(revision, tuple(profile[name] for name in revision.attributes)), ask, p)

    def exploring(self, ask: Ask, p: int) -> bool:
        """Whether the ask was made in an exploratory phase, as known at p."""
        adoption = self.in_force(ask.asked[0], p)
        return adoption is not None and adoption.revision.stage == "exploratory"

    def _class_of(self, found: Fit, ask: Ask, p: int) -> Class:
        return "exploratory" if found.class_ == "off_target" and self.exploring(ask, p) else found.class_

    def _find(self, account: str, t: datetime, p: int) -> tuple[Adoption, Fit] | None:
        adoption = self.in_force(t, p)
        if adoption is None:
            return None
        return adoption, _fit(adoption.revision, self.profile(account, adoption.revision.attributes, t, p))


def _fit(revision: Revision, profile: tuple[str, ...]) -> Fit:
    """The fit of an account with this profile, JSON texts in the order of the attributes that the revision looks at.

    It follows from what is given alone, so that one which is remembered is the same for ever.
    """
    judge = _judge if sum(map(len, profile)) > PROFILE_CHARACTERS_MAX else _judged
    return judge(revision, profile)


def _judge(revision: Revision, profile: tuple[str, ...]) -> Fit:
    values = (msgspec.json.decode(value) for value in profile)
    return fits.fit(revision, dict(zip(revision.attributes, values, strict=True)))


_judged = lru_cache(maxsize=FITS_REMEMBERED_MAX)(_judge)


def live_asks(
    rows: Iterable[Ask], t: datetime, p: int, lineage: Lineage, requirements: Collection[str] | None = None
) -> list[Ask]:
    """The asks for these requirements, or for any, that stood at t, as known at p, each in its latest state.

    An ask is the one of its id, where it was recorded or moved to, by its account: a merge of requirements adds up, and
    makes no two asks one. A withdrawal ends every account's ask of that id on the requirement that it names; if none
    was recorded there, those that were moved there; if there are none either, those of what was merged with it. It
    ends also those that the ledger came to know of later, as long as they are about an earlier time.
    """
    wanted = None if requirements is None else {lineage.requirements.root(name, p) for name in requirements}
    standing = _standing(rows, t, p, lineage)
    return [
        ask
        for key, ask in standing.recorded.items()
        if (ends := standing.ends.get(key)) is None or _order(ends[-1]) < _order(ask)
        if wanted is None or ask.requirement in wanted
    ]


def withdrawal(rows: Iterable[Ask], ask: Ask, t: datetime, p: int, lineage: Lineage) -> Ask | None:
    """What withdrew an ask since it was recorded last, as known at p: of withdrawals that repeat it, the one that the
    ledger came to know of first."""
    key = _key_of(ask, p, lineage)
    standing = _standing(_of_id(rows, ask.ask), t, p, lineage)
    ends = [end for end in standing.ends.get(key, ()) if _order(end) > _order(standing.recorded[key])]
    return min(ends, key=lambda end: end.position, default=None)


def recordings(rows: Iterable[Ask], ask: Ask, t: datetime, p: int, lineage: Lineage) -> list[Ask]:
    """The recordings since which an ask has stood at its importance without a break, as known at p, in their order."""
    key = _key_of(ask, p, lineage)
    said = _of_id(rows, ask.ask)
    standing = _standing(said, t, p, lineage)
    found: list[Ask] = []
    for row in sorted(said, key=_order, reverse=True):
        if row.account is None or row.valid_from > t or not row.is_known(p):
            continue
        if _key(row.requirement, row, p, lineage) != key:
            continue
        if found and row.importance != found[0].importance:
            break
        if found and any(_order(row) < _order(end) < _order(found[-1]) for end in standing.ends.get(key, ())):
            break
        found.append(row)
    return found[::-1]


def taken_back(rows: Iterable[Ask], ask: Ask, t: datetime, after: int, p: int, lineage: Lineage) -> list[int]:
    """Where in between withdrawals were retracted that would be the end of an ask as it stands now."""
    said = {row.position: row for row in _of_id(rows, ask.ask)}
    before = [row._replace(until=None) if row.account is None and row.is_known(after) else row for row in said.values()]
    ends = _standing(before, t, p, lineage).ends.get(_key_of(ask, p, lineage), ())
    stands_since = _order(recordings(said.values(), ask, t, p, lineage)[0])
    until = (said[end.position].until for end in ends if _order(end) > stands_since)
    return [each for each in until if each is not None and after < each <= p]


def _of_id(rows: Iterable[Ask], id: str) -> list[Ask]:
    """What was said of asks of one id: of how these stand, the many others say nothing."""
    return [row for row in rows if row.ask == id]


_Key = tuple[str, str, str]
"""An ask is the one of its place, its id and its account."""


def _key_of(ask: Ask, p: int, lineage: Lineage) -> _Key:
    """That of an ask as the lenses give it."""
    assert ask.recorded_on is not None
    return _key(ask.recorded_on, ask, p, lineage)


def _key(recorded_on: str, ask: Ask, p: int, lineage: Lineage) -> _Key:
    assert ask.account is not None  # It is no withdrawal.
    return lineage.place(recorded_on, ask.ask, p), ask.ask, lineage.accounts.root(ask.account, p)


class _Standing(NamedTuple):
    """The last recording of each ask, and its withdrawals."""

    recorded: Mapping[_Key, Ask]
    ends: Mapping[_Key, Sequence[Ask]]


def _standing(rows: Iterable[Ask], t: datetime, p: int, lineage: Lineage) -> _Standing:
    recorded: dict[_Key, Ask] = {}
    recorded_on: dict[str, dict[_Key, set[str]]] = {}
    withdrawn: list[Ask] = []
    for row in sorted(rows, key=_order):
        if row.valid_from > t or not row.is_known(p):
            continue
        if row.account is None:
            withdrawn.append(row)
            continue
        ask = resolved(row, lineage, p)
        key = _key(row.requirement, row, p, lineage)
        first = recorded.get(key)
        recorded[key] = ask if first is None else _revised(first, ask)
        recorded_on.setdefault(row.ask, {}).setdefault(key, set()).add(row.requirement)

    ends: dict[_Key, list[Ask]] = {}
    for end in withdrawn:
        known = recorded_on.get(end.ask, {})
        root = lineage.requirements.root(end.requirement, p)
        ended = (
            [key for key, names in known.items() if end.requirement in names]
            or [key for key in known if key[0] == end.requirement]
            or [key for key in known if recorded[key].requirement == root]
        )
        for key in ended:
            ends.setdefault(key, []).append(end)
    return _Standing(recorded, ends)


def _revised(before: Ask, ask: Ask) -> Ask:
    valid_from, position = before.asked
    return ask._replace(first_valid_from=valid_from, first_position=position)


def resolved(row: Ask, lineage: Lineage, p: int) -> Ask:
    """A recording or withdrawal with what its names stand for, as known at p."""
    return row._replace(
        requirement=lineage.requirement(row.requirement, row.ask, p),
        account=None if row.account is None else lineage.accounts.root(row.account, p),
        recorded_on=row.requirement,
    )


def as_now(knowledge: Knowledge, asks: Iterable[Ask], now: datetime, position: int) -> list[Asker]:
    """Each asking account, by its live ask of highest importance. `asks` are live."""
    return [
        _asker(knowledge.judge(account, now, position, ask), account, ask)
        for account, ask in _most_important(asks).items()
    ]


def as_asked(knowledge: Knowledge, asks: Iterable[Ask], position: int) -> list[Asker]:
    """Each asking account, by its ask of highest fit × importance at that ask's own time. `asks` are live."""
    heard: dict[str, Asker] = {}
    for ask in sorted(asks, key=_asked):
        assert ask.account is not None  # A live ask is not a withdrawal.
        asker = _asker(knowledge.judge(ask.account, ask.asked[0], position, ask), ask.account, ask)
        before = heard.get(ask.account)
        if before is not None:
            most = max(before.loudest_if_known, asker.loudest_if_known, key=_product)
            asker = before if before.weight > asker.weight else asker
            asker = msgspec.structs.replace(asker, loudest_if_known=most)
        heard[ask.account] = asker
    return list(heard.values())


def as_decided(knowledge: Knowledge, rows: Iterable[Ask], decision: Decision) -> list[Asker]:
    """Each account that asked, as the deciders knew it. `rows` are all recordings and withdrawals of asks."""
    asks = live_asks(rows, decision.valid_from, decision.cut, knowledge.lineage, decision.requirements)
    return [
        _asker(knowledge.judge(account, decision.valid_from, decision.cut, ask), account, ask)
        for account, ask in _most_important(asks).items()
    ]


def by_account_now(askers: Iterable[Asker], accounts: Resolution, position: int) -> dict[str, Asker]:
    """Who asked as decided, by the account that each is now. Of those that were told apart then, it is the one of the
    account's own name; without that the one whose name is the last in their order, which needs no weighing."""
    found: dict[str, Asker] = {}
    for asker in sorted(askers, key=lambda each: each.account):
        account = accounts.root(asker.account, position)
        if account not in found or found[account].account != account:
            found[account] = asker
    return found


def loudest_first(askers: Sequence[Asker]) -> list[Asker]:
    """By fit × importance, of equals by importance, and then by name."""
    # Of whole numbers, which are compared faster than fractions.
    scale = lcm(*{asker.loudest.share.denominator for asker in askers})

    def order(asker: Asker) -> tuple[int, int, str]:
        share, importance = asker.loudest
        return -share.numerator * (scale // share.denominator) * importance, -asker.ask.importance, asker.account

    return sorted(askers, key=order)


def departs(outcome: str, askers: Sequence[Asker]) -> Departs | None:
    """Whether a decision that commits departs from the agreement, by its askers as decided."""
    if outcome != "commit" or not askers:
        return None
    classes = {asker.class_ for asker in askers}
    if "on_target" in classes:
        return "no"
    return "yes" if classes == {"off_target"} else "undetermined"


def voice(askers: Iterable[Asker]) -> tuple[Fraction, Fraction]:
    """What the askers add up to, each account counted once; and the same if all that is unknown were met."""
    heard = list(askers)
    return _sum(asker.loudest for asker in heard), _sum(asker.loudest_if_known for asker in heard)


def class_of(judgement: Judgement | None) -> Class:
    """The class that an account is counted under. Without an agreement nothing is determined."""
    return "undetermined" if judgement is None else judgement.class_


def count_by_class(classes: Iterable[Class]) -> dict[Class, int]:
    return counted(classes, CLASSES)


STATUSES: Mapping[str, str] = {
    "commit": "committed",
    "decline": "declined",
    "defer": "deferred",
    "explore": "exploring",
}


def status(outcome: str | None) -> str:
    """The status of a requirement if the decision that holds on it has this outcome."""
    return "open" if outcome is None else STATUSES[outcome]


def holding(made: Sequence[str], superseded: Mapping[str, str]) -> str | None:
    """Of the decisions on a requirement, in the order in which they were made, the one that holds; None: none does.

    `superseded`: decision → what it has given way to. The one that holds is the last one, or what that has given way to
    in the end. Where that is about something else, it is the last one that has not given way.
    """
    if not made:
        return None
    name, passed = made[-1], set[str]()
    while name in superseded and name not in passed:
        passed.add(name)
        name = superseded[name]
    if name in made and name not in superseded:
        return name
    return next((each for each in reversed(made) if each not in superseded), None)


def is_known(position: int, until: int | None, p: int) -> bool:
    """Whether what was recorded at a position, and retracted at `until`, is known at p."""
    return position <= p and (until is None or p < until)


def in_order(facts: Iterable[Fact]) -> list[Fact]:
    """In the order in which facts count."""
    return sorted(facts, key=_said)


_said = attrgetter("valid_from", "position")


def _by_attribute() -> defaultdict[str, list[Fact]]:
    return defaultdict(list)


def _order(row: Ask) -> tuple[datetime, int]:
    return row.valid_from, row.position


def _asked(ask: Ask) -> tuple[datetime, int]:
    return ask.asked


def _last_said(facts: Sequence[Mapping[str, Sequence[Fact]]], attribute: str, t: datetime, p: int) -> Fact | None:
    """Of the facts of each name of an account, the one that counted at t, as known at p."""
    found: Fact | None = None
    for of_name in facts:
        if attribute in of_name and (fact := _latest(of_name[attribute], t, p)) is not None:
            found = fact if found is None else max(found, fact, key=_said)
    return found


def _latest(facts: Sequence[Fact], t: datetime, p: int) -> Fact | None:
    # Mostly it is asked about a time after all that was said.
    known = len(facts) if facts[-1].valid_from <= t else bisect_right(facts, t, key=_valid_from)
    for index in range(known - 1, -1, -1):
        if facts[index].is_known(p):
            return facts[index]
    return None


_valid_from = attrgetter("valid_from")


def _most_important(asks: Iterable[Ask]) -> dict[str, Ask]:
    """Account → its ask of highest importance; of equals the one that was first asked last."""
    chosen: dict[str, Ask] = {}
    for ask in asks:
        assert ask.account is not None  # A live ask is not a withdrawal.
        before = chosen.get(ask.account)
        if before is None or (before.importance, *before.asked) < (ask.importance, *ask.asked):
            chosen[ask.account] = ask
    return chosen


def _asker(judgement: Judgement | None, account: str, ask: Ask) -> Asker:
    share = judgement.fit.fit if judgement else None
    share_if_known = judgement.fit.fit_if_known if judgement else None
    return Asker(
        account=account,
        ask=ask,
        judgement=judgement,
        loudest=Weight(NOTHING if share is None else share, ask.importance),
        loudest_if_known=Weight(NOTHING if share_if_known is None else share_if_known, ask.importance),
    )


def _product(weight: Weight) -> Fraction:
    return weight.product


def _sum(weights: Iterable[Weight]) -> Fraction:
    """The exact sum. Few denominators occur, and whole numbers add up faster than fractions."""
    numerators: dict[int, int] = {}
    for share, importance in weights:
        denominator = share.denominator
        numerators[denominator] = numerators.get(denominator, 0) + share.numerator * importance
    return sum((Fraction(numerator, denominator) for denominator, numerator in numerators.items()), NOTHING)
