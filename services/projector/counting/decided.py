"""How made decisions stand, all at once, from columns: which need review, what was at stake, what became of it. Pure.

What that means is said of one decision by `review.marks` and `stakes`, which also say why; here it is counted. How many
of those who asked are of another class now adds up over accounts. So, as with standings, it follows at one position
from what it was at another, by the accounts of which anything was said in between.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from services.projector.counting.columns import (
    NO_CURRENCY,
    OPEN,
    WON,
    Codes,
    Column,
    begin_anew,
    day_number,
    is_among,
    join_limbs,
    known,
    length,
    microseconds,
    numbered,
    spans,
    sums,
    taken,
)
from services.projector.counting.counted import Counted
from services.projector.counting.judging import NOT_HERE, Adopted, judge
from services.projector.counting.live_asks import Live, live, most_important
from services.projector.counting.scoring import UNDETERMINED
from services.projector.counting.standings import (
    AskedWhen,
    Moment,
    Touched,
    asked_when,
    classes_when,
    deals_between,
    is_alike,
    roots_of,
    touched,
)
from services.projector.judgement.fit import CLASSES, Class
from services.projector.judgement.lenses import Decision
from services.projector.judgement.revenue import Amounts, Revenue

_LOOKED_UP = ("opportunities", "open")
_FATES = 4
GAINED, GONE, STILL_OPEN, TAKEN_BACK = range(_FATES)
"""What became of an opportunity: as stakes.fate has it, in kinds."""

Fates = Mapping[int, Sequence[tuple[Class, Revenue]]]
"""Revenue, by what became of it, and class."""


class Looked(NamedTuple):
    """Who asked for what a decision is about when it was made, and when it was last reaffirmed."""

    requirements: Sequence[str]
    decided: AskedWhen
    reaffirmed: AskedWhen | None = None


LookedBy = Mapping[tuple[int, int], Looked]
"""By where it was made, and where it was last reaffirmed (0: it was not)."""


class Review(Moment, frozen=True):
    """Which decisions need review at a position.

    `counts`: of each decision that was looked at, how many of those who asked are of another class now. `classes`: of
    accounts that ask, whenever they asked.
    """

    counts: Mapping[tuple[int, int], int]
    classes: Column

    @property
    def octets(self) -> int:
        return int(self.classes.nbytes)


class Fated(Moment, frozen=True):
    """What had become, by a position, of the opportunities that were at stake: of each decision, by where it was made,
    an octet for each of them."""

    fates: Mapping[int, bytes]

    @property
    def octets(self) -> int:
        return sum(map(len, self.fates.values()))


class Stakes(Struct, frozen=True):
    """The opportunities that were at stake in a decision, sorted, as its deciders knew them: classes and amounts."""

    opportunities: Column
    classes: Column
    open: Column
    currencies: Column
    high: Column
    low: Column

    @property
    def octets(self) -> int:
        return sum(getattr(self, name).nbytes for name in self.__struct_fields__)


def review(
    counted: Counted,
    looked: LookedBy,
    position: int,
    now: datetime,
    since: Review | None = None,
) -> Review:
    """Which of these decisions need review; from which did `since` another position, if the same revisions judge."""
    if since is None or not is_alike(counted, since, position, now):
        asks = live(counted, position)
        classes = np.full(counted.size, NOT_HERE, np.int8)
        _judge(counted, classes, asks, position, now)
        today = _Today(counted, asks, classes, position)
        return Review(position, now, {key: today.differing(each) for key, each in looked.items()}, classes)

    classes_then = np.full(counted.size, NOT_HERE, np.int8)
    # Who was first named later has no class yet, in what is older of the two.
    both = min(counted.size, len(since.classes))
    classes_then[:both] = since.classes[:both]
    classes = classes_then.copy()
    said = touched(counted, since, position, now)
    names = said.names
    chosen = np.zeros(counted.size, bool)
    chosen[names] = True
    asks = live(counted, position, names=names)
    _judge(counted, classes, asks, position, now, names)
    before = _Today(counted, live(counted, since.position, names=names), classes_then, since.position)
    after = _Today(counted, asks, classes, position)
    counts, concerned = {}, _concerned(counted, looked, said, classes != classes_then, position)
    for key, each in looked.items():
        if key in since.counts:
            counts[key] = since.counts[key]
            if key in concerned:
                counts[key] += after.differing(each, chosen) - before.differing(each, chosen)
        else:
            theirs = live(counted, position, reach=counted.lineage.reach(each.requirements))
            counts[key] = _Today(counted, theirs, classes, position).differing(each)
    return Review(position, now, counts, classes)


def at_stake(counted: Counted, decision: Decision, asked: AskedWhen) -> Stakes:
    """What was at stake, as stakes.at_stake has it. `asked`: who asked, as decided."""
    t, cut = microseconds(decision.valid_from), decision.cut
    related = counted.lineage.requirements.related(decision.requirements)
    naming = counted.named.having("requirement", np.unique(counted.codes_of(related)))
    asked_for = counted.asked_for.having("position", np.unique(asked.asks))["opportunity"]
    candidates = np.unique(np.concatenate([naming["opportunity"], asked_for]))
    rows = known(counted.opportunities.having("opportunity", candidates), cut)
    rows = taken(rows, np.flatnonzero(rows["valid"] <= t))
    if length(rows):
        rows = taken(rows, np.append(np.flatnonzero(begin_anew(rows["opportunity"])[1:]), length(rows) - 1))
    counts = rows["stage"] == OPEN
    counts |= (rows["stage"] == WON) & (rows["ends"] >= day_number(decision.valid_from.date()))
    roots = counted.naming(cut).merged(counted.width)
    meant = is_among(roots[naming["requirement"]], roots_of(counted, decision.requirements, cut))
    counts &= is_among(rows["opportunity"], np.unique(asked_for)) | is_among(
        rows["position"], np.unique(naming["position"][meant])
    )
    rows = taken(rows, np.flatnonzero(counts))
    accounts, number = numbered(counted.naming(cut).roots_of(rows["account"]))
    classes = classes_when(counted, accounts, t, cut)
    at = np.searchsorted(asked.accounts, accounts)
    asks = is_among(accounts, asked.accounts)
    classes = classes.copy()
    classes[asks] = asked.classes[at[asks]]  # An ask from an exploratory phase is heeded.
    return Stakes(
        opportunities=rows["opportunity"],
        classes=classes[number],
        open=rows["stage"] == OPEN,
        currencies=rows["currency"],
        high=rows["high"],
        low=rows["low"],
    )


def fates(
    counted: Counted, stakes: Mapping[int, Stakes], position: int, now: datetime, since: Fated | None = None
) -> Fated:
    """What became of what was at stake in these decisions, by where they were made; from what had become of it by
    `since`, another position of the same day: on another one, contracts may have ended."""
    before: Mapping[int, bytes] = {}
    moved = np.empty(0, np.int32)
    if since is not None and since.now.date() == now.date():
        before, moved = since.fates, deals_between(counted, since.position, position)
    found: dict[int, bytes] = {}
    looked_up: dict[int, Column] = {}
    for made, each in stakes.items():
        if made in before:
            rows = np.searchsorted(each.opportunities, moved[is_among(moved, each.opportunities)])
        else:
            rows = np.arange(len(each.opportunities))
        found[made] = before.get(made) or bytes(len(rows))
        if len(rows):
            looked_up[made] = rows
    if looked_up:
        opportunity, was_open = (
            np.concatenate([getattr(stakes[made], name)[rows] for made, rows in looked_up.items()])
            for name in _LOOKED_UP
        )
        fated = _fates(counted, opportunity, was_open, position, now.date()).astype(np.int8)
        ends = np.cumsum([len(rows) for rows in looked_up.values()])
        for (made, rows), theirs in zip(looked_up.items(), np.split(fated, ends[:-1]), strict=True):
            octets = np.frombuffer(found[made], np.int8).copy()
            octets[rows] = theirs
            found[made] = octets.tobytes()
    return Fated(position, now, found)


def became(currencies: Codes, stakes: Stakes, fates: bytes) -> Fates:
    """What was at stake, in what it was worth when it was decided: by what became of it, and class."""
    rows = np.flatnonzero(stakes.currencies != NO_CURRENCY)
    shape = (_FATES, len(CLASSES), max(1, len(currencies)), 2)
    kinds = (np.frombuffer(fates, np.int8), stakes.classes, stakes.currencies, stakes.open.astype(int))
    at = np.ravel_multi_index(tuple(each[rows] for each in kinds), shape)
    size = int(np.prod(shape))
    occur = np.unique(at)
    amounts = zip(*(sums(at, each[rows], size)[occur].tolist() for each in (stakes.high, stakes.low)), strict=True)
    found: dict[int, dict[Class, dict[str, list[int]]]] = {}
    for (fate, class_, code, is_open), (more, less) in zip(
        zip(*(each.tolist() for each in np.unravel_index(occur, shape)), strict=True), amounts, strict=True
    ):
        by_currency = found.setdefault(fate, {}).setdefault(CLASSES[class_], {})
        by_currency.setdefault(currencies.texts[code], [0, 0])[is_open] = join_limbs(more, less)
    return {
        fate: [
            (class_, {name: Amounts(*each) for name, each in by_currency.items()})
            for class_, by_currency in by_class.items()
        ]
        for fate, by_class in found.items()
    }


def _fates(counted: Counted, opportunity: Column, was_open: Column, position: int, today: date) -> Column:
    """What became of each of these opportunities."""
    wanted, number = np.unique(opportunity, return_inverse=True)
    rows = known(counted.opportunities.having("opportunity", wanted), position)
    if length(rows):
        rows = taken(rows, np.append(np.flatnonzero(begin_anew(rows["opportunity"])[1:]), length(rows) - 1))
    at = np.searchsorted(wanted, rows["opportunity"])
    if_open, if_contract = np.full(len(wanted), TAKEN_BACK), np.full(len(wanted), TAKEN_BACK)
    otherwise = np.where(rows["stage"] == OPEN, STILL_OPEN, GONE)
    # What was open then is won once and for all; a contract that ran then may have ended.
    if_open[at] = np.where(rows["stage"] == WON, GAINED, otherwise)
    ends = np.where(rows["ends"] < day_number(today), GONE, GAINED)
    if_contract[at] = np.where(rows["stage"] == WON, ends, otherwise)
    return np.where(was_open, if_open[number], if_contract[number])


def who_asked(counted: Counted, decision: Decision) -> AskedWhen:
    """Who asked for what a decision is about, as its deciders knew it."""
    return asked_when(counted, decision.requirements, decision.valid_from, decision.cut)


class Asking:
    """Who asks at a position: `pairs` has each account by its most important ask for each requirement."""

    def __init__(self, counted: Counted, pairs: Live, position: int) -> None:
        self._counted, self._position, self._pairs = counted, position, pairs
        self._roots = counted.naming(position).roots(counted.size)
        self._by = np.argsort(pairs.requirement, kind="stable")
        self._sorted = pairs.requirement[self._by]
        # Of each account, for one decision after the other: to lay out as many anew for each would cost more than all
        # that is asked of a few.
        self._today, self._then = (np.full(counted.size, NOT_HERE, np.int8) for _ in range(2))

    def rows(self, requirements: Sequence[str]) -> Column:
        """The pairs of those who ask for one of these. Who asks for several counts once, by the most important."""
        about = roots_of(self._counted, requirements, self._position)
        first, last = (np.searchsorted(self._sorted, about, side) for side in ("left", "right"))
        rows: Column = self._by[spans(first, last)]
        if len(about) > 1:
            pairs = self._pairs
            rows = rows[np.argsort(pairs.account[rows], kind="stable")]
            # Few ask for several, so only theirs are put in order.
            anew = begin_anew(pairs.account[rows])
            once = anew & np.append(anew[1:], True)
            several = rows[~once]
            keys = (pairs.asked_at, pairs.asked, pairs.importance, pairs.account)
            several = several[np.lexsort([key[several] for key in keys])]
            best = np.append(begin_anew(pairs.account[several])[1:], True)[: len(several)]
            rows = np.concatenate([rows[once], several[best]])
        return rows

    def differing(self, looked: Looked, rows: Column, classes: Column, chosen: Column | None = None) -> int:
        """How many of those who asked are of another class, or ask no more, than when it was decided, and than when it
        was reaffirmed. `rows`: those who ask for the same now; `classes`: of each pair. `chosen`: of which accounts, if
        not of all."""
        decided, then = looked.decided.accounts, looked.decided.classes
        if chosen is not None:
            some = np.flatnonzero(chosen[decided])
            decided, then = decided[some], then[some]
        here, roots = self._pairs.account[rows], self._roots[decided]
        self._today[here] = classes[rows]
        today = self._today[roots]
        self._today[here] = NOT_HERE
        differs = today != then
        if looked.reaffirmed is not None:
            differs &= today != self._classes_then(looked.reaffirmed, chosen, roots)
        return int(differs.sum())

    def _classes_then(self, asked: AskedWhen, chosen: Column | None, wanted: Column) -> Column:
        """The classes then of these accounts as they are now. Of two that were told apart, that of the account's own
        name."""
        accounts, classes = asked.accounts, asked.classes
        if chosen is not None:
            some = np.flatnonzero(chosen[accounts])
            accounts, classes = accounts[some], classes[some]
        roots = self._roots[accounts]
        found = self._then
        others = np.flatnonzero(roots != accounts)
        # Of several that are one now, the last by its name.
        names = self._counted.accounts.texts
        for row in sorted(others.tolist(), key=lambda row: names[accounts[row]]):
            found[roots[row]] = classes[row]
        own = roots == accounts
        found[roots[own]] = classes[own]
        then = found[wanted]
        found[roots] = NOT_HERE
        return then


class _Today:
    """What some accounts that ask are of now. `asks`: theirs, or those for some requirements."""

    def __init__(self, counted: Counted, asks: Live, classes: Column, position: int) -> None:
        pairs = asks.at(most_important(asks))
        self._asking = Asking(counted, pairs, position)
        self._classes = Adopted(counted, position).heeded(classes[pairs.account], pairs.asked)

    def differing(self, looked: Looked, chosen: Column | None = None) -> int:
        return self._asking.differing(looked, self._asking.rows(looked.requirements), self._classes, chosen)


def _concerned(
    counted: Counted, looked: LookedBy, said: Touched, reclassified: Column, position: int
) -> set[tuple[int, int]]:
    """Those that what was said may concern, mostly few: one of those who asked is of another class or goes by another
    name, or somebody has asked for the same, or withdrawn that. `reclassified`: of each account, by its root."""
    if not looked:
        return set()
    naming = counted.naming(position)
    chosen = np.zeros(counted.size, bool)
    chosen[said.names[reclassified[naming.roots_of(said.names)]]] = True
    chosen[said.named] = True
    asked_for = np.flatnonzero(is_among(naming.merged(counted.width), said.asked_for)).tolist()
    requirements = {counted.requirements.texts[code] for code in asked_for}
    # Few are looked for among the many who asked, not the other way round.
    accounts = np.flatnonzero(chosen).astype(np.int32)
    return {
        key
        for key, each in looked.items()
        if not requirements.isdisjoint(each.requirements) or is_among(accounts, each.decided.accounts).any()
    }


def _judge(
    counted: Counted, classes: Column, asks: Live, position: int, now: datetime, names: Column | None = None
) -> None:
    """Put down the classes of all who ask."""
    subjects, _ = numbered(asks.account)
    revision = Adopted(counted, position).revision(microseconds(now))
    if len(subjects):
        t = microseconds(now)
        classes[subjects] = (
            UNDETERMINED if revision is None else judge(counted, revision, subjects, position, t, names).class_
        )
