"""How loud each requirement is and of which classes, from columns: exactly what the lenses say, for all at once. Pure.

What counts is what `lenses` says: which asks stand, the ask that gives an account its voice, as now and as asked.
Standings add up over accounts. So those at one position follow from those at another by taking away what the accounts
came to of which anything was said in between, and adding what they come to now, however long the log is.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from functools import cached_property, reduce
from typing import Any, Literal, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from services.projector.columns import (
    FOREVER,
    LIMB_BITS,
    LOST,
    NEVER_ENDS,
    NO_CURRENCY,
    OPEN,
    WON,
    Codes,
    Column,
    Columns,
    Rows,
    begin_anew,
    day_number,
    digest,
    empty,
    halves,
    is_among,
    join_limbs,
    joined,
    known,
    length,
    limbs,
    microseconds,
    spans,
    taken,
    times_of,
)
from services.projector.fit import CLASSES, Revision
from services.projector.lenses import Adoption, Departs
from services.projector.resolution import Lineage
from services.projector.revenue import Amounts, Revenue
from services.projector.scoring import (
    EXPLORATORY,
    NOTHING_KNOWN,
    OFF_TARGET,
    ON_TARGET,
    UNDETERMINED,
    Scores,
    Values,
    score,
)

Lens = Literal["now", "asked"]

TEXT_OCTETS = 200
"""Of a text with its number, roughly."""
NAMINGS_REMEMBERED_MAX = 8
NOT_HERE = -1
BEFORE_ALL = np.iinfo(np.int64).min
_CLASSES = len(CLASSES)
_RETRACTION = ("position", "retracted")
_STAGES = {"won": WON, "open": OPEN}
_SIEVE_BITS = 20
_EXACT_MAX = float(2**53)


class Said(Struct, frozen=True, kw_only=True):
    """What was recorded up to a position and is new.

    What there is most of comes as columns: `asks` as account, requirement, the octets of the digests of the asks' ids
    (see columns.digest), importance, valid, position; `facts` as account, attribute, value, valid, position; `mentions`
    as account, position. The rest as rows: `withdrawals` as requirement, digest, valid, position; `opportunities` as
    opportunity, account, stage, millionths or None, currency or None, ends (a day's number) or None, valid, position;
    `retractions` as position, retracted.

    Lineage and adoptions are whole; None: nothing new. `more_follows`: this is not all of what is read now.
    """

    upto: int
    more_follows: bool = False
    asks: tuple[Sequence[str], Sequence[str], bytes, Column, Column, Column] | None = None
    facts: tuple[Sequence[str], Sequence[str], Sequence[str], Column, Column] | None = None
    mentions: tuple[Sequence[str], Column] | None = None
    withdrawals: Sequence[tuple[str, bytes, int, int]] = ()
    opportunities: Sequence[tuple[str, str, str, int | None, str | None, int | None, int, int]] = ()
    retractions: Sequence[tuple[int, int]] = ()
    adoptions: Sequence[Adoption] | None = None
    lineage: Lineage | None = None


class Counted(Struct, frozen=True, dict=True, kw_only=True):
    """All that voices are counted from, up to a position of the log.

    `asks`: account, requirement, high and low (of the ask's id), importance, valid, position, until.
    `withdrawals`: requirement, high, low, valid, position, until. `facts`: account, attribute, value, valid, position,
    until. `opportunities`: opportunity, account, stage, currency, high and low (the amount), ends (a day), valid,
    position, until. `mentions`: account, position, until. `retractions`: position, retracted, in order.
    """

    position: int
    accounts: Codes
    requirements: Codes
    attributes: Codes
    currencies: Codes
    values: Values
    asks: Rows
    withdrawals: Rows
    facts: Rows
    opportunities: Rows
    mentions: Rows
    retractions: Columns
    adoptions: Sequence[Adoption]
    lineage: Lineage
    lineage_positions: Sequence[int]
    """Where anything was said about names, merges or moves, in order."""
    deals: Codes
    """The opportunities."""
    size: int
    """How many numbers of accounts these rows and names have; more may have come since."""
    width: int
    """The same of requirements."""

    @classmethod
    def nothing(cls) -> "Counted":
        ids = {"high": np.uint64, "low": np.uint64}
        times = {"valid": np.int64, "position": np.int64, "until": np.int64}
        code, small = np.int32, np.int8
        asks = empty(account=code, requirement=code, **ids, importance=small, **times)
        facts = empty(account=code, attribute=code, value=code, **times)
        withdrawals = empty(requirement=code, **ids, **times)
        amounts = {"currency": code, "high": np.int64, "low": np.int64}
        opportunities = empty(opportunity=code, account=code, stage=small, **amounts, ends=code, **times)
        mentions = empty(account=code, position=np.int64, until=np.int64)
        return cls(
            position=0,
            accounts=Codes(),
            requirements=Codes(),
            attributes=Codes(),
            currencies=Codes(),
            values=Values(),
            asks=Rows(("account", "requirement", "high", "low", "valid", "position"), asks),
            withdrawals=Rows(("requirement", "position"), withdrawals),
            facts=Rows(("account", "attribute", "valid", "position"), facts),
            opportunities=Rows(("opportunity", "valid", "position"), opportunities),
            mentions=Rows(("account", "position"), mentions),
            retractions=empty(position=np.int64, retracted=np.int64),
            adoptions=(),
            lineage=Lineage(),
            lineage_positions=(),
            deals=Codes(),
            size=0,
            width=0,
        )

    def plus(self, said: Said) -> "Counted":
        """The same with what is new. This one stays as it is."""
        until = {retracted: position for position, retracted in said.retractions}
        lineage = said.lineage
        if lineage is not None:
            self.accounts.codes([*lineage.accounts.names()])
            self.requirements.codes([*lineage.named()])
        grown = replace(
            self,
            position=said.upto,
            asks=self.asks.plus(_ask_columns(self, said), said.more_follows).retracted(until),
            withdrawals=self.withdrawals.plus(_withdrawal_columns(self, said.withdrawals), said.more_follows).retracted(
                until
            ),
            facts=self.facts.plus(_fact_columns(self, said), said.more_follows).retracted(until),
            opportunities=self.opportunities.plus(_deal_columns(self, said.opportunities), said.more_follows).retracted(
                until
            ),
            mentions=self.mentions.plus(_mention_columns(self, said), said.more_follows).retracted(until),
            retractions=joined(
                self.retractions,
                {
                    name: np.array([each[n] for each in said.retractions], np.int64)
                    for n, name in enumerate(_RETRACTION)
                },
            ),
            adoptions=self.adoptions if said.adoptions is None else said.adoptions,
            lineage=self.lineage if lineage is None else lineage,
            lineage_positions=self.lineage_positions if lineage is None else lineage.positions(),
        )
        return replace(grown, size=len(self.accounts), width=len(self.requirements))

    @property
    def octets(self) -> int:
        """How much room the rows take, roughly, in bytes."""
        rows = (self.asks, self.withdrawals, self.facts, self.opportunities, self.mentions)
        texts = (self.accounts, self.requirements, self.values, self.deals)
        return sum(each.octets for each in rows) + sum(len(each) for each in texts) * TEXT_OCTETS

    @cached_property
    def withdrawn(self) -> Column:
        """`low` of the ids that were ever withdrawn, sorted."""
        return np.unique(self.withdrawals.whole["low"])

    @cached_property
    def _namings(self) -> dict[int, "Naming"]:
        return {}

    def naming(self, p: int) -> "Naming":
        """What names stand for, as known at p."""
        number = bisect_right(self.lineage_positions, p)
        remembered = self._namings
        found = remembered.get(number)
        if found is None:
            found = _name(self, p)
            while len(remembered) >= NAMINGS_REMEMBERED_MAX:
                remembered.pop(next(iter(remembered)), None)
            remembered[number] = found
        return found

    def adopted(self, p: int) -> list[Adoption]:
        """The adoptions known at p, by when they came into force."""
        return sorted((each for each in self.adoptions if each.position <= p), key=lambda each: each[:2])


class Naming(Struct, frozen=True):
    """Names that stand for others, as numbers: accounts, requirements, and asks that were moved."""

    accounts: Column
    account_roots: Column
    requirements: Column
    requirement_roots: Column
    moved: Columns
    """high and low of the ask's id, the requirement on which it was recorded, and its place. Sorted by low."""

    def roots(self, size: int) -> Column:
        """Each account's root."""
        roots = np.arange(size, dtype=np.int32)
        roots[self.accounts] = self.account_roots
        return roots

    def several(self, size: int) -> Column:
        """Which accounts go by several names, by their roots."""
        several = np.zeros(size, bool)
        several[self.account_roots] = True
        return several

    def merged(self, size: int) -> Column:
        """Each requirement's root."""
        roots = np.arange(size, dtype=np.int32)
        roots[self.requirements] = self.requirement_roots
        return roots


class Live(Struct, frozen=True):
    """The asks that stand, a row each: by account, then by requirement. `asked` and `asked_at` are of the first
    recording."""

    account: Column
    requirement: Column
    importance: Column
    asked: Column
    asked_at: Column
    begins: Column
    """Where the asks of another account or for another requirement begin."""

    def __len__(self) -> int:
        return len(self.account)


class Pairs(Struct, frozen=True):
    """Who asks for what, a row for each account and requirement, with the ask that gives the account its voice.

    `weight` is met × importance, in shares of `totals[share]`; the same if all that is unknown were met.
    """

    account: Column
    requirement: Column
    class_: Column
    weight: Column
    share: Column
    weight_if_known: Column
    share_if_known: Column
    totals: Sequence[int]


class Heard(Struct, frozen=True):
    """What is heard of each requirement under one lens.

    `classes`: requirement × class → accounts. `voices`, `voices_if_known`: total of a revision's weights → sums of
    weights by requirement. `revenue`: requirement × class × currency × (contracted, pipeline) × (high, low,
    deals).
    """

    classes: Column
    voices: Mapping[int, Column]
    voices_if_known: Mapping[int, Column]
    revenue: Column

    def plus(self, other: "Heard", sign: int = 1) -> "Heard":
        size = max(len(self.classes), len(other.classes))
        currencies = max(self.revenue.shape[2], other.revenue.shape[2])
        return Heard(
            classes=_sized(self.classes, size) + sign * _sized(other.classes, size),
            voices=_added(self.voices, other.voices, size, sign),
            voices_if_known=_added(self.voices_if_known, other.voices_if_known, size, sign),
            revenue=_widened(self.revenue, size, currencies) + sign * _widened(other.revenue, size, currencies),
        )

    @property
    def octets(self) -> int:
        voices = [*self.voices.values(), *self.voices_if_known.values()]
        return sum(each.nbytes for each in (self.classes, self.revenue, *voices))


class Standing(Struct, frozen=True):
    """What is heard at a position, whose recorded time is `now`."""

    position: int
    now: datetime
    heard: Heard


# Standings


def stand(counted: Counted, lens: Lens, position: int, now: datetime, since: Standing | None = None) -> Standing:
    """What is heard at a position; from what was heard `since` another, if nothing came into force in between."""
    if since is None or not _is_alike(counted, since, position, now):
        return Standing(position, now, hear(counted, lens, position, now))
    names = touched(counted, since, position, now)
    if not len(names):
        return Standing(position, now, since.heard)
    before = hear(counted, lens, since.position, since.now, names)
    after = hear(counted, lens, position, now, names)
    return Standing(position, now, since.heard.plus(before, -1).plus(after))


def hear(counted: Counted, lens: Lens, position: int, now: datetime, names: Column | None = None) -> Heard:
    """What is heard of the accounts of these names, or of all."""
    asks = live(counted, position, names=names)
    pairs = (pairs_now if lens == "now" else pairs_asked)(counted, asks, position, now, names)
    return add_up(counted, pairs, revenues(counted, position, now, names))


def touched(counted: Counted, since: Standing, position: int, now: datetime) -> Column:
    """The names of all accounts of which anything was said between two positions, sorted."""
    after, upto = sorted((since.position, position))
    begun, ended = sorted((day_number(since.now.date()), day_number(now.date())))
    first, last = np.searchsorted(counted.retractions["position"], [after, upto], "right")
    spans_said = [(after, upto), *((at - 1, at) for at in counted.retractions["retracted"][first:last].tolist())]
    asks, withdrawals, facts, deals = (
        reduce(joined, (rows.between(*each) for each in spans_said))
        for rows in (counted.asks, counted.withdrawals, counted.facts, counted.opportunities)
    )
    found = [asks["account"], facts["account"]]
    if length(deals):
        found.append(counted.opportunities.having("opportunity", np.unique(deals["opportunity"]))["account"])
    if begun < ended:
        deals = counted.opportunities.whole
        found.append(deals["account"][(deals["ends"] >= begun) & (deals["ends"] < ended)])
    # Whether a withdrawal means somebody's ask may depend on who else has recorded it where.
    ids = [withdrawals["low"], asks["low"][is_among(asks["low"], counted.withdrawn)]]
    requirements: set[int] = set()
    first_said, last_said = (bisect_right(counted.lineage_positions, each) for each in (after, upto))
    if first_said < last_said:
        said = _said_between(counted, after, upto)
        ids.append(np.array([halves(digest(ask))[1] for ask in said.asks], np.uint64))
        found.append(counted.accounts.codes([*said.accounts]))
        requirements = said.requirements
    lows = np.unique(np.concatenate(ids).astype(np.uint64))
    if len(lows):
        found.append(counted.asks.having("low", lows)["account"])
    if requirements:
        found.append(counted.asks.having("requirement", np.array(sorted(requirements), np.int32))["account"])
    return _with_all_names(counted, np.unique(np.concatenate(found)), (since.position, position))


def live(
    counted: Counted,
    p: int,
    *,
    t: int | None = None,
    names: Column | None = None,
    requirements: Column | None = None,
) -> Live:
    """The asks that stood at t, as known at p: of all, of the accounts of these names, or recorded on these
    requirements. Which those are is said at lenses.live_asks."""
    if names is not None:
        rows = counted.asks.having("account", names)
    elif requirements is not None:
        rows = counted.asks.having("requirement", requirements)
    else:
        rows = counted.asks.whole
    rows = _by(known(rows, p), t)
    naming = counted.naming(p)
    size = counted.size
    account = rows["account"]
    requirement = place = rows["requirement"]
    mixed = np.zeros(len(account), bool)
    if len(naming.accounts):
        account = naming.roots(size)[account]
        mixed |= naming.several(size)[account]
    if length(naming.moved):
        place, is_moved = _places(rows, naming)
        mixed |= is_moved
    if mixed.any():
        # Only where names or places have changed may what is one ask lie apart.
        apart = np.flatnonzero(mixed)
        keys = (rows["position"], rows["valid"], rows["low"], rows["high"], place, account)
        apart = apart[np.lexsort([key[apart] for key in keys])]
        put = np.concatenate([np.flatnonzero(~mixed), apart])
        rows = taken(rows, put)
        account, place, requirement = account[put], place[put], requirement[put]
    if not len(account):
        return _ordered(counted, account, place, *(np.empty(0, np.int64) for _ in range(3)))

    anew = begin_anew(account, place, rows["low"], rows["high"])
    first = np.flatnonzero(anew)
    last = np.append(first[1:], len(anew)) - 1
    roots = naming.merged(counted.width)
    stands = _stands(counted, rows, place, anew, first, last, roots, naming, p, t)
    first, last = first[stands], last[stands]
    return _ordered(
        counted,
        account[first],
        roots[place[first]],
        rows["importance"][last],
        rows["valid"][first],
        rows["position"][first],
    )


def pairs_now(counted: Counted, asks: Live, position: int, now: datetime, names: Column | None = None) -> Pairs:
    """Each asking account by its live ask of highest importance, judged as it is now."""
    adoptions = Adopted(counted, position)
    chosen = most_important(asks)
    account = asks.account[chosen]
    class_ = np.full(len(chosen), UNDETERMINED, np.int8)
    met = unknown = np.zeros(len(chosen), np.int64)
    total = 0
    revision = adoptions.revision(microseconds(now))
    if revision is not None and len(chosen):
        subjects, subject = numbered(account)
        scores = judge(counted, revision, subjects, position, names)
        class_, met, unknown, total = scores.class_[subject], scores.met[subject], scores.unknown[subject], scores.total
        class_ = adoptions.heeded(class_, asks.asked[chosen])
    importance = asks.importance[chosen].astype(np.int64)
    share = np.zeros(len(chosen), np.int8)
    return Pairs(
        account=account,
        requirement=asks.requirement[chosen],
        class_=class_,
        weight=met * importance,
        share=share,
        weight_if_known=(met + unknown) * importance,
        share_if_known=share,
        totals=[total],
    )


def pairs_asked(counted: Counted, asks: Live, position: int, now: datetime, names: Column | None = None) -> Pairs:
    """Each asking account by its live ask of highest fit × importance, each judged as at its own time."""
    adoptions = Adopted(counted, position)
    by = adoptions.numbers(asks.asked)
    size = len(asks)
    class_ = np.full(size, UNDETERMINED, np.int8)
    met, unknown, share = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    totals = [0]
    if size and (by >= 0).any():
        subjects, subject = numbered(asks.account)
        attributes = sorted({name for each in adoptions.adopted for name in each.revision.attributes})
        facts = Facts.read(counted, attributes, subjects, position, names)
        for number in np.unique(by[by >= 0]).tolist():
            revision = adoptions.adopted[number].revision
            rows = np.flatnonzero(by == number)
            profiles = {name: facts.at(name, subject[rows], asks.asked[rows]) for name in revision.attributes}
            scores = score(revision, profiles, len(rows), counted.values)
            if scores.total not in totals:
                totals.append(scores.total)
            class_[rows], met[rows], unknown[rows] = scores.class_, scores.met, scores.unknown
            share[rows] = totals.index(scores.total)
        class_ = adoptions.heeded(class_, asks.asked)
    weight, weight_if_known = met * asks.importance, (met + unknown) * asks.importance
    loudest = _loudest(asks, weight, share, totals, asks.asked, asks.asked_at)
    most = _loudest(asks, weight_if_known, share, totals)
    return Pairs(
        account=asks.account[loudest],
        requirement=asks.requirement[loudest],
        class_=class_[loudest],
        weight=weight[loudest],
        share=share[loudest],
        weight_if_known=weight_if_known[most],
        share_if_known=share[most],
        totals=totals,
    )


def most_important(asks: Live) -> Column:
    """Of each account and requirement the ask of highest importance; of equals the one that was first asked last."""
    return _last_of_each(asks, (asks.asked_at, asks.asked, asks.importance))


def judge(
    counted: Counted, revision: Revision, subjects: Column, p: int, names: Column | None = None, t: int | None = None
) -> Scores:
    """How these accounts meet a revision at t (or "now"), as known at p. `subjects` are sorted roots, each once."""
    facts = Facts.read(counted, revision.attributes, subjects, p, names)
    profiles = {name: facts.latest(name, t) for name in revision.attributes}
    return score(revision, profiles, len(subjects), counted.values)


class Facts(Struct, frozen=True, dict=True):
    """What is known at a position of some attributes of some accounts, which have numbers from 0 here."""

    size: int
    subject: Column
    attribute: Column
    value: Column
    valid: Column
    attributes: Codes

    @classmethod
    def read(
        cls, counted: Counted, attributes: Sequence[str], subjects: Column, p: int, names: Column | None = None
    ) -> "Facts":
        """Of these accounts, which are sorted roots. `names`: all names that these go by, if they are few."""
        rows = counted.facts.whole if names is None else counted.facts.having("account", names)
        wanted = np.zeros(len(counted.attributes), bool)
        wanted[[code for name in attributes if (code := counted.attributes.find(name)) is not None]] = True
        if not wanted.all():
            rows = taken(rows, np.flatnonzero(wanted[rows["attribute"]]))
        rows = known(rows, p)
        size, naming = counted.size, counted.naming(p)
        number = np.full(size, NOT_HERE, np.int32)
        number[subjects] = np.arange(len(subjects), dtype=np.int32)
        roots = naming.roots(size)
        subject = number[roots][rows["account"]]
        mixed = naming.several(size)[subjects][subject] & (subject >= 0) if len(subjects) else subject >= 0
        if mixed.any():
            apart = np.flatnonzero(mixed)
            keys = (rows["position"], rows["valid"], rows["attribute"], subject)
            apart = apart[np.lexsort([key[apart] for key in keys])]
            put = np.concatenate([np.flatnonzero(~mixed), apart])
            rows, subject = taken(rows, put), subject[put]
        if (subject == NOT_HERE).any():
            here = np.flatnonzero(subject >= 0)
            rows, subject = taken(rows, here), subject[here]
        return cls(len(subjects), subject, rows["attribute"], rows["value"], rows["valid"], counted.attributes)

    def latest(self, attribute: str, t: int | None = None) -> Column:
        """Each subject's value at t, or at last; the number of null where nothing is known."""
        if t is not None:
            subjects = np.arange(self.size)
            return self.at(attribute, subjects, np.full(self.size, t))
        rows = self._rows(attribute)
        found = np.full(self.size, NOTHING_KNOWN, np.int32)
        if len(rows):
            last = rows[np.append(np.flatnonzero(begin_anew(self.subject[rows])[1:]), len(rows) - 1)]
            found[self.subject[last]] = self.value[last]
        return found

    def at(self, attribute: str, subjects: Column, times: Column) -> Column:
        """The values that these subjects had at these times."""
        rows = self._rows(attribute)
        subject, valid, value = self.subject[rows], self.valid[rows], self.value[rows]
        found = np.full(len(subjects), NOTHING_KNOWN, np.int32)
        if not len(rows):
            return found
        begin, end = np.zeros(self.size, np.int64), np.zeros(self.size, np.int64)
        anew = np.flatnonzero(begin_anew(subject))
        begin[subject[anew]] = anew
        end[subject[anew]] = np.append(anew[1:], len(rows))
        low, high = begin[subjects], end[subjects]
        first = low.copy()
        # By halves, all at once: `low` is behind every row that is not later.
        while (searching := low < high).any():
            middle = (low + high) // 2
            is_by = searching & (valid[np.minimum(middle, len(rows) - 1)] <= times)
            low, high = np.where(is_by, middle + 1, low), np.where(searching & ~is_by, middle, high)
        there = np.flatnonzero(low > first)
        found[there] = value[low[there] - 1]
        return found

    def _rows(self, attribute: str) -> Column:
        code = self.attributes.find(attribute)
        return np.flatnonzero(self.attribute == (NOT_HERE if code is None else code))


class Revenues(Struct, frozen=True):
    """What accounts are worth: of each account, by its root, currency × (contracted, pipeline) × (high, low, deals)."""

    accounts: Column
    amounts: Column


def revenues(counted: Counted, position: int, now: datetime, names: Column | None = None) -> Revenues:
    """What each account is worth that has a deal that counts, of these names or of all."""
    if names is None:
        rows = counted.opportunities.whole
    else:
        theirs = np.unique(counted.opportunities.having("account", names)["opportunity"])
        rows = counted.opportunities.having("opportunity", theirs)
    rows = known(rows, position)
    if length(rows):
        rows = taken(rows, np.append(np.flatnonzero(begin_anew(rows["opportunity"])[1:]), length(rows) - 1))
    counts = (rows["currency"] != NO_CURRENCY) & (rows["stage"] != LOST)
    counts &= (rows["stage"] == OPEN) | (rows["ends"] >= day_number(now.date()))
    if names is not None:
        counts &= is_among(rows["account"], names)
    rows = taken(rows, np.flatnonzero(counts))
    account = counted.naming(position).roots(counted.size)[rows["account"]]
    accounts, number = numbered(account)
    kinds = len(counted.currencies) * 2
    at = (number * len(counted.currencies) + rows["currency"]) * 2 + (rows["stage"] == OPEN)
    amounts = np.zeros((len(accounts) * kinds, 3), np.int64)
    for limb, name in enumerate(("high", "low")):
        amounts[:, limb] = sums(at, rows[name], len(accounts) * kinds)
    amounts[:, 2] = np.bincount(at, minlength=len(accounts) * kinds)
    # Sums carry over, so that what is added up further begins small.
    amounts[:, 0] += amounts[:, 1] >> LIMB_BITS
    amounts[:, 1] &= (1 << LIMB_BITS) - 1
    return Revenues(accounts, amounts.reshape(len(accounts), len(counted.currencies), 2, 3))


def add_up(counted: Counted, pairs: Pairs, worth: Revenues) -> Heard:
    """What these come to, requirement by requirement."""
    size = counted.width
    classes = np.bincount(pairs.requirement * _CLASSES + pairs.class_, minlength=size * _CLASSES)
    return Heard(
        classes=classes.reshape(size, _CLASSES).astype(np.int64),
        voices=_voices(pairs.requirement, pairs.weight, pairs.share, pairs.totals, size),
        voices_if_known=_voices(pairs.requirement, pairs.weight_if_known, pairs.share_if_known, pairs.totals, size),
        revenue=revenue_by_class(counted, pairs, worth),
    )


def revenue_by_class(counted: Counted, pairs: Pairs, worth: Revenues) -> Column:
    """requirement × class × currency × (contracted, pipeline) × (high, low, deals)."""
    size, currencies = counted.width, len(counted.currencies)
    number = np.full(counted.size, NOT_HERE, np.int32)
    number[worth.accounts] = np.arange(len(worth.accounts), dtype=np.int32)
    of = number[pairs.account]
    paying = np.flatnonzero(of >= 0)
    of = of[paying]
    at = pairs.requirement[paying].astype(np.int64) * _CLASSES + pairs.class_[paying]
    found = np.zeros((size * _CLASSES, currencies, 2, 3), np.int64)
    for currency in range(currencies):
        for kind in range(2):
            amounts = worth.amounts[of, currency, kind]
            some = np.flatnonzero(amounts.any(axis=1))
            for limb in range(3):
                found[:, currency, kind, limb] = sums(at[some], amounts[some, limb], size * _CLASSES)
    return found.reshape(size, _CLASSES, currencies, 2, 3)


def sums(at: Column, amounts: Column, size: int) -> Column:
    """The sums of whole numbers by their places, exactly."""
    if np.abs(amounts).sum(dtype=np.float64) < _EXACT_MAX:
        return np.bincount(at, amounts, size).astype(np.int64)
    summed = np.zeros(size, np.int64)
    np.add.at(summed, at, amounts)
    return summed


def add_amounts(amounts: Column) -> Column:
    """The sum of amounts in limbs, each in one way only: the low one below 2**30."""
    summed: Column = amounts.sum(axis=0)
    summed[..., 0] += summed[..., 1] >> LIMB_BITS
    summed[..., 1] &= (1 << LIMB_BITS) - 1
    return summed


def departs(
    counted: Counted, requirements: Sequence[str], outcome: str, valid_from: datetime, cut: int
) -> Departs | None:
    """Whether a decision departs from the agreement: as lenses.departs of lenses.as_decided."""
    if outcome != "commit":
        return None
    t = microseconds(valid_from)
    related = (counted.requirements.find(name) for name in counted.lineage.related(requirements))
    asks = live(counted, cut, t=t, requirements=np.unique([code for code in related if code is not None]))
    roots = counted.naming(cut).merged(counted.width)
    codes = (counted.requirements.find(name) for name in requirements)
    about = np.unique([roots[code] for code in codes if code is not None])
    rows = np.flatnonzero(is_among(asks.requirement, about))
    rows = rows[np.lexsort([key[rows] for key in (asks.asked_at, asks.asked, asks.importance, asks.account)])]
    if not len(rows):
        return None
    rows = rows[np.append(begin_anew(asks.account[rows])[1:], True)]
    adopted = Adopted(counted, cut)
    revision = adopted.revision(t)
    if revision is None:
        return "undetermined"
    subjects = asks.account[rows]
    scores = judge(counted, revision, subjects, cut, _with_all_names(counted, subjects, (cut,)), t)
    return departs_of(adopted.heeded(scores.class_, asks.asked[rows]))


def departs_of(classes: Column) -> Departs | None:
    """Whether a commitment departs from the agreement where those who ask are of these classes."""
    if not len(classes):
        return None
    if (classes == ON_TARGET).any():
        return "no"
    return "yes" if (classes == OFF_TARGET).all() else "undetermined"


def numbered(accounts: Column) -> tuple[Column, Column]:
    """Which accounts occur, sorted, and the number of each among them."""
    if len(accounts) > 1 and (accounts[1:] >= accounts[:-1]).all():
        anew = begin_anew(accounts)
        return accounts[anew], np.cumsum(anew) - 1
    found, number = np.unique(accounts, return_inverse=True)
    return found, number


def voice(voices: Mapping[int, Column], requirement: int) -> Fraction:
    """An exact voice."""
    return sum((Fraction(int(each[requirement]), total) for total, each in voices.items() if total), Fraction(0))


def money(currencies: Codes, amounts: Any) -> Revenue:
    """currency × (contracted, pipeline) × (high, low, deals) as revenue; a currency without a deal is absent."""
    return {
        currencies.texts[code]: Amounts(join_limbs(*won[:2]), join_limbs(*open[:2]))
        for code, (won, open) in enumerate(amounts.tolist())
        if won[2] or open[2]
    }


# How they are made


def _ask_columns(counted: Counted, said: Said) -> Columns | None:
    if said.asks is None:
        return None
    account, requirement, ids, importance, valid, position = said.asks
    return {
        "account": counted.accounts.codes(account),
        "requirement": counted.requirements.codes(requirement),
        **_id_columns(ids),
        "importance": importance.astype(np.int8),
        **times_of(valid, position),
    }


def _withdrawal_columns(counted: Counted, rows: Sequence[Any]) -> Columns:
    requirement, ids, valid, position = _split(rows, 4)
    return {
        "requirement": counted.requirements.codes(requirement),
        **_id_columns(b"".join(ids)),
        **times_of(valid, position),
    }


def _fact_columns(counted: Counted, said: Said) -> Columns | None:
    if said.facts is None:
        return None
    account, attribute, value, valid, position = said.facts
    return {
        "account": counted.accounts.codes(account),
        "attribute": counted.attributes.codes(attribute),
        "value": counted.values.codes(value),
        **times_of(valid, position),
    }


def _deal_columns(counted: Counted, rows: Sequence[Any]) -> Columns:
    opportunity, account, stage, amount, currency, ends, valid, position = _split(rows, 8)
    parts = [limbs(each or 0) for each in amount]
    currencies = [
        NO_CURRENCY if each is None or text is None else counted.currencies.code(text)
        for each, text in zip(amount, currency, strict=True)
    ]
    return {
        "opportunity": counted.deals.codes(opportunity),
        "account": counted.accounts.codes(account),
        "stage": np.array([_STAGES.get(each, LOST) for each in stage], np.int8),
        "currency": np.array(currencies, np.int32),
        "high": np.array([high for high, _ in parts], np.int64),
        "low": np.array([low for _, low in parts], np.int64),
        "ends": np.array([NEVER_ENDS if each is None else each for each in ends], np.int32),
        **times_of(valid, position),
    }


def _mention_columns(counted: Counted, said: Said) -> Columns | None:
    if said.mentions is None:
        return None
    account, position = said.mentions
    return {
        "account": counted.accounts.codes(account),
        "position": position,
        "until": np.full(len(position), FOREVER, np.int64),
    }


def _split(rows: Sequence[Any], size: int) -> Sequence[Sequence[Any]]:
    return [*zip(*rows, strict=True)] if rows else [()] * size


def _id_columns(digests: bytes) -> dict[str, Column]:
    """Of digests, one after the other."""
    halves = np.frombuffer(digests, ">u8").reshape(-1, 2).astype(np.uint64)
    return {"high": halves[:, 0], "low": halves[:, 1]}


def _is_alike(counted: Counted, since: Standing, position: int, now: datetime) -> bool:
    """Whether the same revisions judge at both positions."""
    then, here = Adopted(counted, since.position), Adopted(counted, position)
    same_now = then.number(microseconds(since.now)) == here.number(microseconds(now))
    return same_now and len(then.adopted) == len(here.adopted)


class Adopted:
    """The revisions that judge, as known at a position."""

    def __init__(self, counted: Counted, p: int) -> None:
        self.adopted = counted.adopted(p)
        self._from = np.array([microseconds(each.in_force_from) for each in self.adopted], np.int64)
        self._explores = np.array([each.revision.stage == "exploratory" for each in self.adopted] + [False])

    def number(self, t: int) -> int:
        return int(self.numbers(np.array([t]))[0])

    def numbers(self, times: Column) -> Column:
        """Which of the adoptions was in force at each time; -1: none."""
        return np.searchsorted(self._from, times, "right") - 1

    def revision(self, t: int) -> Revision | None:
        number = self.number(t)
        return None if number < 0 else self.adopted[number].revision

    def heeded(self, classes: Column, asked: Column) -> Column:
        """What was asked in an exploratory phase is never off target."""
        if not self._explores.any():
            return classes
        return np.where((classes == OFF_TARGET) & self._explores[self.numbers(asked)], EXPLORATORY, classes)


class _Said(NamedTuple):
    accounts: set[str]
    requirements: set[int]
    asks: set[str]


def _said_between(counted: Counted, after: int, upto: int) -> _Said:
    """Which names and asks may have come to stand for something else in between."""
    lineage = counted.lineage
    accounts = lineage.accounts.related(lineage.accounts.named_between(after, upto))
    merged = lineage.requirements.related(lineage.requirements.named_between(after, upto))
    asks = {
        ask
        for ask, moves in lineage.moves.items()
        for move in moves
        if after < move.position <= upto or move.to in merged or move.requirement in merged
    }
    return _Said(accounts, {counted.requirements.code(name) for name in merged}, asks)


def _with_all_names(counted: Counted, names: Column, positions: Iterable[int]) -> Column:
    """These names and all others that their accounts go by at one of the positions."""
    size = counted.size
    theirs = np.zeros(size, bool)
    theirs[names] = True
    for p in positions:
        naming = counted.naming(p)
        if not len(naming.accounts):
            continue
        roots = naming.roots(size)
        chosen = np.zeros(size, bool)
        chosen[roots[theirs]] = True
        theirs |= chosen
        theirs[naming.accounts] |= chosen[naming.account_roots]
    return np.flatnonzero(theirs).astype(np.int32)


def _name(counted: Counted, p: int) -> Naming:
    lineage = counted.lineage
    accounts, requirements, places = lineage.accounts.roots(p), lineage.requirements.roots(p), lineage.places(p)
    moved = sorted((*reversed(halves(digest(ask))), on, place) for (on, ask), place in places.items())
    low, high, on, place = zip(*moved, strict=True) if moved else ((), (), (), ())
    return Naming(
        counted.accounts.codes([*accounts]),
        counted.accounts.codes([*accounts.values()]),
        counted.requirements.codes([*requirements]),
        counted.requirements.codes([*requirements.values()]),
        {
            "low": np.array(low, np.uint64),
            "high": np.array(high, np.uint64),
            "requirement": counted.requirements.codes(on),
            "place": counted.requirements.codes(place),
        },
    )


def _by(rows: Columns, t: int | None) -> Columns:
    return rows if t is None else taken(rows, np.flatnonzero(rows["valid"] <= t))


def _places(rows: Columns, naming: Naming) -> tuple[Column, Column]:
    """Where each ask is, and which are of an id that was moved."""
    place = rows["requirement"].copy()
    is_moved = is_among(rows["low"], np.unique(naming.moved["low"]))
    put = {
        (high, low, on): to
        for high, low, on, to in zip(
            *(naming.moved[name].tolist() for name in ("high", "low", "requirement", "place")), strict=True
        )
    }
    for row in np.flatnonzero(is_moved).tolist():
        ask = (int(rows["high"][row]), int(rows["low"][row]), int(rows["requirement"][row]))
        place[row] = put.get(ask, place[row])
    return place, is_moved


def _ordered(
    counted: Counted, account: Column, requirement: Column, importance: Column, asked: Column, asked_at: Column
) -> Live:
    size = max(1, counted.width)
    key = account.astype(np.int64) * size + requirement
    if len(key) > 1 and (key[1:] < key[:-1]).any():
        put = np.argsort(key, kind="stable")
        key, account, requirement = key[put], account[put], requirement[put]
        importance, asked, asked_at = importance[put], asked[put], asked_at[put]
    return Live(account, requirement, importance, asked, asked_at, begin_anew(key))


def _stands(
    counted: Counted,
    rows: Columns,
    place: Column,
    anew: Column,
    first: Column,
    last: Column,
    roots: Column,
    naming: Naming,
    p: int,
    t: int | None,
) -> Column:
    """Which asks have not been withdrawn. `first` and `last`: the first and the last row of each."""
    stands = np.ones(len(first), bool)
    withdrawn = _by(known(counted.withdrawals.whole, p), t)
    if not length(withdrawn):
        return stands
    # Most ids were never withdrawn. A sieve lets those through that may have been, and few others.
    mask = np.uint64((1 << _SIEVE_BITS) - 1)
    sieve = np.zeros(1 << _SIEVE_BITS, bool)
    sieve[(withdrawn["low"] & mask).astype(np.int64)] = True
    some = np.flatnonzero(sieve[(rows["low"] & mask).astype(np.int64)])
    if not len(some):
        return stands
    sieve[:] = False
    sieve[(rows["low"][some] & mask).astype(np.int64)] = True
    withdrawn = taken(withdrawn, np.flatnonzero(sieve[(withdrawn["low"] & mask).astype(np.int64)]))

    asks = (np.cumsum(anew) - 1)[some]
    said = taken({name: rows[name] for name in ("requirement", "high", "low")}, some)
    # An ask that was recorded on the requirement that a withdrawal names is meant by it.
    id, end_id = _same(said, withdrawn, ("low", "high", "requirement"))
    meant_ask, meant_end = _matched(id, asks, end_id)
    if len(naming.requirements) or length(naming.moved):
        is_meant = np.zeros(length(withdrawn), bool)
        is_meant[meant_end] = True
        others = np.flatnonzero(~is_meant)
        id, end_id = _same(said, taken(withdrawn, others), ("low", "high"))
        ask, end = _matched(id, asks, end_id)
        end = others[end]
        # If none was, those that are there; if none is, those that are for what it is part of.
        recorded, there = _recorded_or_there(counted, withdrawn, np.unique(end), naming, p, t)
        is_there = place[first[ask]] == withdrawn["requirement"][end]
        is_near = roots[place[first[ask]]] == roots[withdrawn["requirement"][end]]
        is_meant_so = ~recorded[end] & (is_there | (~there[end] & is_near))
        meant_ask = np.concatenate([meant_ask, ask[is_meant_so]])
        meant_end = np.concatenate([meant_end, end[is_meant_so]])
    valid, position = withdrawn["valid"][meant_end], withdrawn["position"][meant_end]
    said_last = last[meant_ask]
    ends = (valid > rows["valid"][said_last]) | (
        (valid == rows["valid"][said_last]) & (position > rows["position"][said_last])
    )
    stands[meant_ask[ends]] = False
    return stands


def _recorded_or_there(
    counted: Counted, withdrawn: Columns, some: Column, naming: Naming, p: int, t: int | None
) -> tuple[Column, Column]:
    """Whether anybody's ask of the same id was recorded on the requirement that a withdrawal names, and whether one is
    there; of some withdrawals."""
    recorded, there = np.zeros(length(withdrawn), bool), np.zeros(length(withdrawn), bool)
    ends = taken(withdrawn, some)
    rows = _by(known(counted.asks.having("low", np.unique(ends["low"])), p), t)
    places, _ = _places(rows, naming)
    for found, requirement in ((recorded, rows["requirement"]), (there, places)):
        id, end_id = _same({**rows, "requirement": requirement}, ends, ("low", "high", "requirement"))
        found[some] = np.isin(end_id, id)
    return recorded, there


def _same(first: Columns, second: Columns, names: Sequence[str]) -> tuple[Column, Column]:
    """Numbers that are the same where these columns are, of the rows of both."""
    columns = [np.concatenate([first[name], second[name]]) for name in names]
    put = np.lexsort(columns)
    number = np.empty(len(put), np.int64)
    number[put] = np.cumsum(begin_anew(*(column[put] for column in columns))) - 1 if len(put) else 0
    return number[: length(first)], number[length(first) :]


def _matched(id: Column, asks: Column, end_id: Column) -> tuple[Column, Column]:
    """Each ask with each withdrawal that has its id, by their numbers, each once."""
    put = np.argsort(end_id, kind="stable")
    begin, end = (np.searchsorted(end_id, id, side, sorter=put) for side in ("left", "right"))
    ask, number = np.repeat(asks, end - begin), put[spans(begin, end)]
    pairs = np.unique(np.stack([ask, number]), axis=1)
    return pairs[0], pairs[1]


def _last_of_each(asks: Live, keys: Sequence[Column]) -> Column:
    """Of each account and requirement the row that comes last by these keys, the last of which counts most."""
    begin = np.flatnonzero(asks.begins) if len(asks) else np.empty(0, np.int64)
    counts = np.diff(np.append(begin, len(asks)))
    several = counts > 1
    chosen = begin.copy()
    if several.any():
        rows = spans(begin[several], begin[several] + counts[several])
        pair = np.repeat(np.flatnonzero(several), counts[several])
        put = np.lexsort([*(key[rows] for key in keys), pair])
        ends = np.cumsum(counts[several]) - 1
        chosen[several] = rows[put][ends]
    return chosen


def _loudest(asks: Live, weight: Column, share: Column, totals: Sequence[int], *then: Column) -> Column:
    """Of each account and requirement the row of the greatest weight; of equals the last by what else is given."""
    rank = weight
    if len(totals) > 2:  # Shares of several totals are compared as fractions; few differ.
        kinds, rank = np.unique(weight * len(totals) + share, return_inverse=True)
        weights = [divmod(kind, len(totals)) for kind in kinds.tolist()]
        exact = [Fraction(each, totals[number]) if each else Fraction(0) for each, number in weights]
        places = {each: place for place, each in enumerate(sorted(set(exact)))}
        rank = np.array([places[each] for each in exact], np.int64)[rank]
    return _last_of_each(asks, (*reversed(then), rank))


def _voices(requirement: Column, weight: Column, share: Column, totals: Sequence[int], size: int) -> dict[int, Column]:
    found: dict[int, Column] = {}
    for number, total in enumerate(totals):
        if total:
            rows = np.flatnonzero(share == number) if len(totals) > 1 else slice(None)
            found[total] = sums(requirement[rows], weight[rows], size)
    return found


def _sized(column: Column, size: int) -> Column:
    if len(column) == size:
        return column
    grown = np.zeros((size, *column.shape[1:]), column.dtype)
    grown[: len(column)] = column
    return grown


def _widened(column: Column, size: int, currencies: int) -> Column:
    if column.shape[2] == currencies:
        return _sized(column, size)
    grown = np.zeros((size, column.shape[1], currencies, *column.shape[3:]), column.dtype)
    grown[: len(column), :, : column.shape[2]] = column
    return grown


def _added(first: Mapping[int, Column], second: Mapping[int, Column], size: int, sign: int) -> dict[int, Column]:
    nothing = np.zeros(size, np.int64)
    return {
        total: _sized(first.get(total, nothing), size) + sign * _sized(second.get(total, nothing), size)
        for total in {*first, *second}
    }
