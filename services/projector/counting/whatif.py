"""What a proposed revision of an agreement would change, against what counts at a position. Pure.

Before is the revision in force, after the proposal; all else is as it is. Accounts are judged as now, and so are the
voices: each account that asks for a requirement counts once, by its ask of highest importance.

Of a made decision it foretells what `decided.review` would find if the proposal were adopted at once: those who asked
as decided keep their classes, and are compared with what they would be of then.

Everything is kept as whole numbers: a voice is a sum of weights in shares of what all weights of a revision come to.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from schemas.criteria import attributes
from services.projector.counting.columns import Column, microseconds, sums
from services.projector.counting.counted import Counted, blocks
from services.projector.counting.decided import Asking, Looked
from services.projector.counting.judging import Adopted, latest
from services.projector.counting.live_asks import Live, gathered, live, most_important
from services.projector.counting.scoring import MET, NOTHING_KNOWN, UNDETERMINED, Scores, score
from services.projector.counting.standings import Moment, departs_of
from services.projector.counting.worth import Revenues, add_amounts, revenues
from services.projector.judgement.fit import CLASSES, Class, Revision
from services.projector.judgement.lenses import Departs

_CLASSES = len(CLASSES)
_PATTERNS_AT_ONCE_MAX = 20_000_000
NOWHERE = np.iinfo(np.int64).max
"""The place of what has none: behind all others."""
_PATTERN_VERDICTS = 12  # So many verdicts make one number that is small enough to be told apart quickly.


class Decided(NamedTuple):
    """A made decision that nothing has superseded, and who asked for what it is about when it was looked at."""

    decision: str
    position: int
    outcome: str
    looked: Looked


class Judged(Struct, frozen=True):
    """All accounts, by one revision; None: by none. `pairs`: the class of each that asks, for each requirement."""

    revision: Revision | None
    scores: Scores | None
    classes: Column
    pairs: Column
    voices: Column
    voices_if_known: Column

    @property
    def total(self) -> int:
        return 0 if self.scores is None else self.scores.total

    def voice(self, requirement: int) -> Fraction | None:
        if self.scores is None:
            return None
        return Fraction(int(self.voices[requirement]), self.total) if self.total else Fraction(0)

    def told(self, requirements: Column) -> list[str]:
        """Their voices as texts of fractions: of thousands sooner than by way of these."""
        if self.scores is None:
            return ["None"] * len(requirements)
        weights, total = self.voices[requirements], self.total or 1
        divisors = np.gcd(weights, total)
        return [
            f"{over}/{under}" if under > 1 else f"{over}"
            for over, under in zip((weights // divisors).tolist(), (total // divisors).tolist(), strict=True)
        ]

    def fit(self, subject: int) -> Fraction | None:
        if self.scores is None or not self.scores.total:
            return None
        return Fraction(int(self.scores.met[subject]), self.scores.total)


class VoiceChange(NamedTuple):
    """`change`: by how much the voice is louder, in shares of which both are whole numbers."""

    requirement: int
    change: int


class Rank(NamedTuple):
    requirement: int
    before: int | None
    after: int | None


class Affected(NamedTuple):
    """A decision that would need review, or would need none any more, or that would depart otherwise.

    `differ_before`, `differ_after`: how many of those who asked as decided are of another class, by each revision.
    `departs_before`, `departs_after`: whether it departs where those who ask now are judged by each revision.
    """

    decided: Decided
    differ_before: int
    differ_after: int
    departs_before: Departs | None
    departs_after: Departs | None

    @property
    def needs_review_before(self) -> bool:
        return self.differ_before > 0

    @property
    def needs_review_after(self) -> bool:
        return self.differ_after > 0


class Decisions(NamedTuple):
    """What becomes of made decisions that nothing has superseded. `affected`: those first that were made last."""

    need_review: int
    need_review_newly: int
    depart: int
    depart_newly: int
    affected: Sequence[Affected]


class Coverage(NamedTuple):
    attribute: str
    accounts: int
    bullets: Sequence[str]


class Everybody(Moment, frozen=True, kw_only=True):
    """All accounts at a position, what they are worth, and who asks for what: the same whatever is proposed. Members as
    those of WhatIf."""

    subjects: Column
    subject: Column
    pairs: Live
    worth: Revenues
    worth_of: Column

    @classmethod
    def at(cls, counted: Counted, position: int, now: datetime) -> "Everybody":
        pairs = gathered(_pairs(counted, position))
        subjects = _everybody(counted, position)
        row_of = np.zeros(counted.size, np.int32)
        row_of[subjects] = np.arange(len(subjects))
        worth = revenues(counted, position, now)
        worth_of = np.full(counted.size, -1, np.int32)
        worth_of[worth.accounts] = np.arange(len(worth.accounts))
        return cls(
            position=position,
            now=now,
            subjects=subjects,
            subject=row_of[pairs.account],
            pairs=pairs,
            worth=worth,
            worth_of=worth_of[subjects],
        )

    def without_asks(self) -> "Everybody":
        return replace(self, subject=self.subject[:0], pairs=self.pairs.at(np.arange(0)))

    @property
    def octets(self) -> int:
        columns = [getattr(self.pairs, name) for name in Live.__struct_fields__]
        columns += [self.subjects, self.subject, self.worth.accounts, self.worth.amounts, self.worth_of]
        return sum(each.nbytes for each in columns)


class WhatIf(Struct, frozen=True, kw_only=True):
    """What would change. `subjects`: all accounts, by their numbers; where rows are said, they are rows of these."""

    counted: Counted
    subjects: Column
    subject: Column
    """Of each account and requirement that it asks for, the row of the account."""
    pairs: Live
    importance: Column
    """Of each subject what its asks add up to, each requirement once."""
    before: Judged
    after: Judged
    worth: Revenues
    worth_of: Column
    """Of each subject its row of `worth`; -1: none."""
    changed: Column
    """The subjects whose class changes: those whose asks weigh most first, then by id."""
    voices: Sequence[VoiceChange]
    """Of every requirement that somebody asks for, those first that change most, then by id."""
    ranks: Sequence[Rank]
    """Of every requirement whose rank changes: the higher of its ranks first."""
    decisions: Decisions
    coverage: Sequence[Coverage]
    digest: str


def what_if(
    counted: Counted,
    everybody: Everybody,
    before: Revision | None,
    after: Revision,
    *,
    judges_asks: bool,
    requirements: Column,
    decisions: Sequence[Decided],
) -> WhatIf:
    """What `after` in place of `before` would change.

    `judges_asks`: whether asks are judged by this agreement; else nobody's voice changes, and no decision is affected:
    there are no `decisions`. `requirements`: all that there are, whether anybody asks for them or not, by their ids.
    """
    position, t = everybody.position, microseconds(everybody.now)
    asking = everybody if judges_asks else everybody.without_asks()
    subjects, subject, pairs = asking.subjects, asking.subject, asking.pairs
    adopted = Adopted(counted, position)
    attributes = sorted({name for revision in (before, after) if revision for name in revision.attributes})
    profiles = latest(counted, attributes, subjects, position, t)
    was, is_ = (_judge(counted, revision, profiles, subjects, subject, pairs, adopted) for revision in (before, after))
    importance = np.bincount(subject, pairs.importance, len(subjects)).astype(np.int64)
    changed = _changed(counted, subjects, importance, was, is_)
    found = WhatIf(
        counted=counted,
        subjects=subjects,
        subject=subject,
        pairs=pairs,
        importance=importance,
        before=was,
        after=is_,
        worth=everybody.worth,
        worth_of=everybody.worth_of,
        changed=changed,
        voices=_voices(counted, pairs, was, is_),
        ranks=_ranks(requirements, was, is_) if judges_asks else [],
        decisions=_decisions(counted, decisions, pairs, was, is_, position),
        coverage=_coverage(after, profiles, subjects),
        digest="",
    )
    return replace(found, digest=_digest(found, position))


def class_of(code: int) -> Class:
    return CLASSES[code]


def by_class(judged: Judged) -> dict[Class, int] | None:
    """How many accounts are of each class; None if there is nothing to judge them by."""
    if judged.revision is None:
        return None
    return dict(zip(CLASSES, np.bincount(judged.classes, minlength=_CLASSES).tolist(), strict=True))


def revenue_by_class(found: WhatIf, judged: Judged) -> dict[Class, Any] | None:
    """What accounts of each class are worth: currency × (contracted, pipeline) × (high, low, deals)."""
    if judged.revision is None:
        return None
    paying = np.flatnonzero(found.worth_of >= 0)
    classes, rows = judged.classes[paying], found.worth_of[paying]
    return {name: add_amounts(found.worth.amounts[rows[classes == number]]) for number, name in enumerate(CLASSES)}


def by_bullet(found: WhatIf, judged: Judged, requirements: Sequence[int]) -> dict[int, dict[str, int]]:
    """Requirement → bullet → what it adds to the voice, as a weight. The sum over all bullets is that of the voice."""
    if judged.scores is None or judged.revision is None or not requirements:
        return {each: {} for each in requirements}
    scores, bullets = judged.scores, judged.revision.bullets
    place = np.full(found.counted.width, -1, np.int64)
    place[[*requirements]] = np.arange(len(requirements))
    at = place[found.pairs.requirement]
    rows = np.flatnonzero(at >= 0)
    at, subject, importance = at[rows], found.subject[rows], found.pairs.importance[rows].astype(np.int64)
    # Who misses a required bullet has no voice, whatever else is met.
    counts = np.stack(
        [(verdict == MET) & (scores.met > 0) for verdict in scores.verdicts.values()]
        or [np.zeros(len(found.subjects), bool)]
    )
    kinds, kind = _patterns(counts)
    size = len(requirements) * len(kinds)
    if size <= _PATTERNS_AT_ONCE_MAX:
        loud = sums(at * len(kinds) + kind[subject], importance, size).reshape(len(requirements), len(kinds))
        added = loud @ counts[:, kinds].T.astype(np.int64)
    else:
        added = np.stack([sums(at, importance * each[subject], len(requirements)) for each in counts], axis=1)
    return {
        requirement: {
            bullets[number].bullet: bullets[number].weight * int(added[row, column])
            for column, number in enumerate(scores.verdicts)
        }
        for row, requirement in enumerate(requirements)
    }


# How it is made


def _pairs(counted: Counted, position: int) -> Iterator[Live]:
    """Each account by its most important ask for each requirement, block by block."""
    for block in blocks(counted, position):
        asks = live(counted, position, names=block.names)
        yield asks.at(most_important(asks))


def _everybody(counted: Counted, position: int) -> Column:
    """Every account that was mentioned, by its root, sorted."""
    size = counted.size
    there = np.zeros(size, bool)
    for rows in (counted.mentions, counted.asks, counted.opportunities):
        for said in rows.parts:
            there[said["account"][(said["position"] <= position) & (said["until"] > position)]] = True
    roots = np.zeros(size, bool)
    roots[counted.naming(position).roots(size)[there]] = True
    return np.flatnonzero(roots).astype(np.int32)


def _judge(
    counted: Counted,
    revision: Revision | None,
    profiles: Mapping[str, Column],
    subjects: Column,
    subject: Column,
    pairs: Live,
    adopted: Adopted,
) -> Judged:
    size = counted.width
    nothing = np.zeros(size, np.int64)
    if revision is None:
        undetermined = np.full(len(subjects), UNDETERMINED, np.int8)
        return Judged(None, None, undetermined, undetermined[subject], nothing, nothing)
    scores = score(revision, profiles, len(subjects), counted.values)
    importance = pairs.importance.astype(np.int64)
    return Judged(
        revision,
        scores,
        scores.class_,
        adopted.heeded(scores.class_[subject], pairs.asked),
        sums(pairs.requirement, importance * scores.met[subject], size),
        sums(pairs.requirement, importance * (scores.met + scores.unknown)[subject], size),
    )


def _changed(counted: Counted, subjects: Column, importance: Column, before: Judged, after: Judged) -> Column:
    # Without a revision in force everybody gets a class.
    rows: Column = np.flatnonzero((before.classes != after.classes) | (before.revision is None))
    codes = counted.accounts.by_text()
    row_of = np.full(len(codes), -1, np.int32)
    row_of[subjects[rows]] = rows
    rows = row_of[codes]
    rows = rows[rows >= 0]
    ordered: Column = rows[np.argsort(-importance[rows], kind="stable")]
    return ordered


def _voices(counted: Counted, pairs: Live, before: Judged, after: Judged) -> list[VoiceChange]:
    codes = counted.requirements.by_text()
    is_asked = np.zeros(len(codes), bool)
    is_asked[pairs.requirement] = True
    asked = codes[is_asked[codes]]
    # These may be more than 64 bits hold.
    then, now = before.total or 1, after.total or 1
    weights = zip(asked.tolist(), before.voices[asked].tolist(), after.voices[asked].tolist(), strict=True)
    found = [VoiceChange(code, is_ * then - was * now) for code, was, is_ in weights]
    return sorted(found, key=lambda each: -abs(each.change))


def _ranks(requirements: Column, before: Judged, after: Judged) -> list[Rank]:
    """`requirements`: their numbers, by their ids."""
    was, is_ = (_places(requirements, judged) for judged in (before, after))
    rows = np.flatnonzero(was != is_)
    rows = rows[np.argsort(np.minimum(was, is_)[rows], kind="stable")]
    ranks = zip(requirements[rows].tolist(), was[rows].tolist(), is_[rows].tolist(), strict=True)
    return [Rank(each, *(None if place == NOWHERE else place for place in places)) for each, *places in ranks]


def _places(requirements: Column, judged: Judged) -> Column:
    """The place of each among all of these, the loudest first; of equals the first in their order."""
    places = np.full(len(requirements), NOWHERE)
    if judged.revision is not None:
        louder = np.lexsort([-each[requirements] for each in (judged.voices_if_known, judged.voices)])
        places[louder] = np.arange(1, len(requirements) + 1)
    return places


def _decisions(
    counted: Counted, decisions: Sequence[Decided], pairs: Live, before: Judged, after: Judged, position: int
) -> Decisions:
    asking = Asking(counted, pairs, position)
    found = []
    for decided in sorted(decisions, key=lambda each: -each.position):
        rows = asking.rows(decided.looked.requirements)
        was, is_ = before.pairs[rows], after.pairs[rows]
        found.append(
            Affected(
                decided,
                differ_before=asking.differing(decided.looked, rows, before.pairs),
                differ_after=asking.differing(decided.looked, rows, after.pairs),
                departs_before=departs_of(was) if decided.outcome == "commit" else None,
                departs_after=departs_of(is_) if decided.outcome == "commit" else None,
            )
        )
    in_review = [each for each in found if each.needs_review_after]
    departing = [each for each in found if each.departs_after == "yes"]
    return Decisions(
        need_review=len(in_review),
        need_review_newly=sum(not each.needs_review_before for each in in_review),
        depart=len(departing),
        depart_newly=sum(each.departs_before != "yes" for each in departing),
        affected=[
            each
            for each in found
            if each.needs_review_before or each.needs_review_after or each.departs_before != each.departs_after
        ],
    )


def _coverage(revision: Revision, profiles: Mapping[str, Column], subjects: Column) -> list[Coverage]:
    uses: dict[str, list[str]] = {}
    for bullet in revision.bullets:
        for name in attributes(bullet.test) if bullet.test else ():
            uses.setdefault(name, []).append(bullet.bullet)
    return [
        Coverage(name, int((profiles[name] != NOTHING_KNOWN).sum()), bullets) for name, bullets in sorted(uses.items())
    ]


def _patterns(counts: Column) -> tuple[Column, Column]:
    """Which bullets go together: an account for each such pattern, and of each account the number of its own."""
    number = np.zeros(counts.shape[1], np.int64)
    first = np.zeros(1, np.int64)
    for begin in range(0, len(counts), _PATTERN_VERDICTS):
        for each in counts[begin : begin + _PATTERN_VERDICTS]:
            number = number * 2 + each
        _, first, number = np.unique(number, return_index=True, return_inverse=True)
    return first, number


def _digest(found: WhatIf, position: int) -> str:
    """SHA-256 of everything that would change, in one order: by ids."""
    texts, rows = found.counted.accounts.texts, found.changed
    shares = [
        (*(None if each.scores is None else each.scores.met[rows].tolist() for each in (found.before, found.after)),)
    ]
    before, after = (each if each is not None else [None] * len(rows) for each in shares[0])
    names = [texts[code] for code in found.subjects[rows].tolist()]
    classes = (found.before.classes[rows].tolist(), found.after.classes[rows].tolist())
    requirement = found.counted.requirements.texts
    asked = np.array([each.requirement for each in found.voices], np.int32)
    told = (each.told(asked) for each in (found.before, found.after))
    whole = {
        "position": position,
        "revisions": [each.revision for each in (found.before, found.after)],
        "totals": [
            [by_class(each), _shown(revenue_by_class(found, each), found)] for each in (found.before, found.after)
        ],
        "accounts": [len(found.subjects), [*zip(names, *classes, before, after, strict=True)]],
        "voices": [*zip((requirement[each] for each in asked.tolist()), *told, strict=True)],
        "ranks": [(requirement[each.requirement], each.before, each.after) for each in found.ranks],
        "decisions": [(each.decided.position, *each[1:]) for each in found.decisions.affected],
        "coverage": found.coverage,
    }
    return sha256(msgspec.json.encode(whole, order="sorted")).hexdigest()


def _shown(by_class: dict[Class, Any] | None, found: WhatIf) -> Any:
    if by_class is None:
        return None
    currencies = found.counted.currencies.texts
    # What is held in memory may have met currencies that nobody deals in at this position.
    return {
        name: sorted(
            (currencies[code], won, open) for code, (won, open) in enumerate(amounts.tolist()) if won[2] or open[2]
        )
        for name, amounts in by_class.items()
    }
