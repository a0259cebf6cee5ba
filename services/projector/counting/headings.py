"""What the list of requirements says of each besides its voice: title, area, delivery, and the last decision. Pure.

As columns of numbers, like all that is counted: see columns.py.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from services.projector.counting.columns import (
    RECORDED,
    Codes,
    Column,
    Columns,
    Rows,
    begin_anew,
    empty,
    held_from,
    holds,
    known,
    length,
    moment,
    taken,
    times_of,
)
from services.projector.judgement.lenses import holding

NOT_SAID = -1


class Made(NamedTuple):
    """A made decision, as far as lists show it and as it says whose knowledge counts."""

    decision: str
    position: int
    time: datetime
    valid_from: datetime
    seen: int | None
    outcome: str
    grounds: str
    requirements: Sequence[str]


class Heading(NamedTuple):
    """What a requirement is called, and how its delivery stands, as known at a position."""

    requirement: str
    title: str | None
    area: str | None
    delivery: "Delivered | None"


class Delivered(NamedTuple):
    state: str
    target: date | None
    url: str | None
    position: int
    time: datetime


class Worded(Struct, frozen=True, kw_only=True):
    """What was recorded up to a position and is new, as rows. Times are in microseconds.

    `raised`: requirement, whether it is an act, title or None, area or None, valid, position. `deliveries`:
    requirement, state, target or None, url or None, time, valid, position. `retractions`: position, retracted.
    """

    raised: Sequence[tuple[str, bool, str | None, str | None, int, int]] = ()
    deliveries: Sequence[tuple[str, str, date | None, str | None, int, int, int]] = ()
    made: Sequence[Made] = ()
    superseded: Sequence[tuple[str, int, str]] = ()
    retractions: Sequence[tuple[int, int]] = ()


class Headings(Struct, frozen=True, kw_only=True):
    """All that was said of requirements, up to a position of the log.

    `raised`: requirement, act, title, area, valid, position, until. `deliveries`: requirement, state, target, url,
    time, valid, position, until. `decided`: requirement, position, until.
    """

    requirements: Codes
    texts: Codes
    raised: Rows
    deliveries: Rows
    decided: Rows
    made: Mapping[int, Made]
    """By their positions, in order."""
    superseded: Mapping[str, tuple[int, str]]
    """Decision → where another took its place, and which."""

    @classmethod
    def nothing(cls, requirements: Codes) -> "Headings":
        times = {"valid": np.int64, **RECORDED}
        raised = empty(requirement=np.int32, act=np.bool_, title=np.int32, area=np.int32, **times)
        about = {"state": np.int32, "target": np.int32, "url": np.int32, "time": np.int64}
        by = ("requirement", "valid", "position")
        return cls(
            requirements=requirements,
            texts=Codes(),
            raised=Rows(by, raised),
            deliveries=Rows(by, empty(requirement=np.int32, **about, **times)),
            decided=Rows(("requirement", "position"), empty(requirement=np.int32, **RECORDED)),
            made={},
            superseded={},
        )

    def plus(self, worded: Worded) -> "Headings":
        """The same with what is new. This one stays as it is."""
        until = {retracted: position for position, retracted in worded.retractions}
        return replace(
            self,
            raised=self.raised.plus(self._raised(worded.raised)).retracted(until),
            deliveries=self.deliveries.plus(self._deliveries(worded.deliveries)).retracted(until),
            decided=self.decided.plus(self._decided(worded.made)),
            made={**self.made, **{each.position: each for each in worded.made}} if worded.made else self.made,
            superseded={**{name: (at, by) for name, at, by in reversed(worded.superseded)}, **self.superseded},
        )

    def standing(self, p: int) -> list[Made]:
        """The made decisions that nothing has superseded, as known at p; of those made anew the last."""
        last = {each.decision: each for each in self.made.values() if each.position <= p}
        superseded = self.superseded_by(p)
        return [each for each in last.values() if each.decision not in superseded]

    def superseded_by(self, p: int) -> dict[str, str]:
        """Decision → what it has given way to, as known at p."""
        return {name: by for name, (at, by) in self.superseded.items() if at <= p}

    def holding(
        self, requirements: Collection[str], decided: int, p: int, superseded: Mapping[str, str]
    ) -> Made | None:
        """The decision that holds on requirements that count as one, as known at p. `decided`: where the last was made.
        `superseded`: as superseded_by has it."""
        last = self.made[decided]
        if last.decision not in superseded:
            return last
        codes = (self.requirements.find(name) for name in requirements)
        rows = self.decided.having("requirement", np.unique([code for code in codes if code is not None]))
        at = np.unique(rows["position"][rows["position"] <= p]).tolist()
        made = {each.decision: each for each in map(self.made.__getitem__, at)}
        name = holding([*made], superseded)
        return None if name is None else made[name]

    def at(self, p: int, there: Column) -> Column:
        """The numbers of the requirements that were raised, asked for or decided on, or that an act has named, by their
        ids. `there`: which are asked for, or named by acts that are not known here."""
        there = np.concatenate([there, np.zeros(len(self.requirements) - len(there), bool)])
        raised, decided = self.raised.whole, self.decided.whole
        there[raised["requirement"][holds(raised, p) & ~raised["act"]]] = True
        there[decided["requirement"][holds(decided, p)]] = True
        codes = self.requirements.by_text()
        found: Column = codes[there[codes]]
        return found

    def of(self, codes: Column, p: int) -> list[Heading]:
        """What is said of these requirements, by their numbers, as known at p."""
        wanted = np.zeros(len(self.requirements), bool)
        wanted[codes] = True
        raised, delivered = (
            known(taken(rows, np.flatnonzero(wanted[rows["requirement"]])), p)
            for rows in (self.raised.whole, self.deliveries.whole)
        )
        title, area = (
            _latest(taken(raised, np.flatnonzero(raised[name] >= 0)), name, len(self.requirements))[codes].tolist()
            for name in _WORDS
        )
        delivery = {int(delivered["requirement"][row]): row for row in _last_rows(delivered).tolist()}
        return [
            Heading(
                self.requirements.texts[code],
                _text(self.texts.texts, title[number]),
                _text(self.texts.texts, area[number]),
                self._delivered(delivered, delivery[code]) if code in delivery else None,
            )
            for number, code in enumerate(codes.tolist())
        ]

    def decided_last(self, p: int) -> Column:
        """Of each requirement where the last decision that names it was made, as known at p; or NOT_SAID."""
        return _latest(known(self.decided.whole, p), "position", len(self.requirements))

    def said_last(self, p: int) -> Column:
        """Of each requirement the last position at which anything of what is known here was said about it; or 0."""
        last = np.zeros(len(self.requirements), np.int64)
        for rows in (self.raised, self.deliveries, self.decided):
            said = known(rows.whole, p)
            np.maximum.at(last, said["requirement"], said["position"])
        return last

    @property
    def octets(self) -> int:
        return self.raised.octets + self.deliveries.octets + self.decided.octets + len(self.made) * MADE_OCTETS

    def _delivered(self, rows: Columns, row: int) -> Delivered:
        target = int(rows["target"][row])
        return Delivered(
            state=self.texts.texts[int(rows["state"][row])],
            target=None if target == NOT_SAID else date.fromordinal(target),
            url=_text(self.texts.texts, int(rows["url"][row])),
            position=int(rows["position"][row]),
            time=moment(int(rows["time"][row])),
        )

    def _codes(self, texts: Sequence[str | None]) -> Column:
        return np.array([NOT_SAID if text is None else self.texts.code(text) for text in texts], np.int32)

    def _raised(self, rows: Sequence[Any]) -> Columns:
        requirement, act, title, area, valid, position = zip(*rows, strict=True) if rows else ((),) * 6
        return {
            "requirement": self.requirements.codes(requirement),
            "act": np.array(act, np.bool_),
            "title": self._codes(title),
            "area": self._codes(area),
            **times_of(valid, position),
        }

    def _deliveries(self, rows: Sequence[Any]) -> Columns:
        requirement, state, target, url, time, valid, position = zip(*rows, strict=True) if rows else ((),) * 7
        return {
            "requirement": self.requirements.codes(requirement),
            "state": self._codes(state),
            "target": np.array([NOT_SAID if each is None else each.toordinal() for each in target], np.int32),
            "url": self._codes(url),
            "time": np.array(time, np.int64),
            **times_of(valid, position),
        }

    def _decided(self, made: Sequence[Made]) -> Columns:
        named = [(name, each.position) for each in made for name in dict.fromkeys(each.requirements)]
        return {
            "requirement": self.requirements.codes([name for name, _ in named]),
            **held_from([position for _, position in named]),
        }


MADE_OCTETS = 1_000
"""Of a decision, roughly."""

_WORDS = ("title", "area")


def _text(texts: Sequence[str], code: int) -> str | None:
    return None if code == NOT_SAID else texts[code]


def _last_rows(rows: Columns) -> Column:
    """The last row of each requirement."""
    if not length(rows):
        return np.empty(0, np.int64)
    return np.append(np.flatnonzero(begin_anew(rows["requirement"])[1:]), length(rows) - 1)


def _latest(rows: Columns, name: str, size: int) -> Column:
    """Of each requirement what was said last, by the time it is about."""
    last = _last_rows(rows)
    found = np.full(size, NOT_SAID, np.int64)
    found[rows["requirement"][last]] = rows[name][last]
    return found
