"""What is kept in memory of made decisions, of one ledger: who asked when they were made, what was at stake, also as it
is shown; and at some positions what had become of that, and which needed review. What a past position has does not
change, so what was found stays."""

from bisect import insort
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import datetime
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from msgspec.structs import replace

from services.projector.counting.counted import Counted
from services.projector.counting.decided import (
    Fated,
    LookedBy,
    Review,
    Stakes,
    at_stake,
    fates,
    review,
    who_asked,
)
from services.projector.counting.standings import AskedWhen
from services.projector.judgement.lenses import Decision

ASKED_OCTETS_MAX = 96 * 1024 * 1024
"""Of who asked; what was looked at longest ago makes room."""

STAKES_SHOWN_MAX = 1_000
STAKES_SHOWN_OCTETS = 10_000
"""Of those of one decision, roughly."""

REVIEWS_MAX = 48
FATED_MAX = 8
NEAR_POSITIONS = 2_000
NEAR_SHARE = 4
"""Within so many positions, or a quarter as many as there are accounts, what needs review, or what became of what was
at stake, is found from what did there."""

_Shown = TypeVar("_Shown")
_Found = TypeVar("_Found", Fated, Review)


class LookedAt:
    """`counted` is given by the caller, and has all that was said up to the positions it asks about."""

    def __init__(self) -> None:
        self._asked: OrderedDict[tuple[int, int], AskedWhen] = OrderedDict()
        self._stakes: dict[int, Stakes] = {}
        self._stakes_shown: OrderedDict[tuple[int, bytes], Any] = OrderedDict()
        self._reviews: list[Review] = []
        self._fated: list[Fated] = []
        # Added up as they come: what is held is measured with each answer.
        self._asked_octets = self._stakes_octets = 0
        self._lock = Lock()

    @property
    def octets(self) -> int:
        with self._lock:
            shown = len(self._stakes_shown) * STAKES_SHOWN_OCTETS
            reviews, fated = (sum(each.octets for each in held) for held in (self._reviews, self._fated))
            return self._asked_octets + self._stakes_octets + shown + reviews + fated

    def who_asked(self, counted: Counted, decision: Decision) -> AskedWhen:
        """Who asked for what a decision is about, as its deciders knew it, or who reaffirmed it. Without the asks."""
        with self._lock:
            key = (decision.position, decision.cut)
            if key in self._asked:
                self._asked.move_to_end(key)
                return self._asked[key]
        return self._look(counted, decision)[0]

    def stakes(self, counted: Counted, decision: Decision) -> Stakes:
        """What was at stake in a decision."""
        with self._lock:
            found = self._stakes.get(decision.position)
        if found is None:
            found = at_stake(counted, decision, self._look(counted, decision)[1])
            with self._lock:
                # Others may have looked at it meanwhile, and found the same.
                self._stakes_octets += 0 if decision.position in self._stakes else found.octets
                self._stakes[decision.position] = found
        return found

    def stakes_shown(self, position: int, fates: bytes, show: Callable[[], _Shown]) -> _Shown:
        """What was at stake in the decision made at a position, as it is shown where this became of it: at many
        positions that is the same."""
        key = position, fates
        with self._lock:
            if key in self._stakes_shown:
                self._stakes_shown.move_to_end(key)
                found: _Shown = self._stakes_shown[key]
                return found
        found = show()
        with self._lock:
            self._stakes_shown[key] = found
            while len(self._stakes_shown) > STAKES_SHOWN_MAX:
                self._stakes_shown.popitem(last=False)
        return found

    def review(self, newest: Counted, looked: LookedBy, position: int, now: datetime) -> Review:
        """Which of these decisions need review at a position. `newest` has all that was said up to any position that
        was asked about before."""
        since = self._nearest(self._reviews, newest, position)
        found = review(newest, looked, position, now, since)
        self._keep(self._reviews, found, REVIEWS_MAX)
        return found

    def fates(self, newest: Counted, stakes: Mapping[int, Stakes], position: int, now: datetime) -> Mapping[int, bytes]:
        """What became by a position of what was at stake in these decisions, by where they were made. `newest` as
        above."""
        since = self._nearest(self._fated, newest, position)
        found = fates(newest, stakes, position, now, since)
        self._keep(self._fated, found, FATED_MAX)
        return found.fates

    def _look(self, counted: Counted, decision: Decision) -> tuple[AskedWhen, AskedWhen]:
        """Who asked, as it is kept, and with the asks."""
        found = who_asked(counted, decision)
        kept = replace(found, asks=np.empty(0, np.int64))  # A part of it, however small, would keep all of it.
        with self._lock:
            key = (decision.position, decision.cut)
            self._asked_octets += 0 if key in self._asked else kept.octets
            self._asked[key] = kept
            while self._asked_octets > ASKED_OCTETS_MAX and len(self._asked) > 1:
                self._asked_octets -= self._asked.popitem(last=False)[1].octets
        return kept, found

    def _nearest(self, held: list[_Found], newest: Counted, position: int) -> _Found | None:
        """What was found nearest to a position, if that is near."""
        near = max(NEAR_POSITIONS, newest.size // NEAR_SHARE)
        with self._lock:
            since = min(held, key=lambda each: abs(each.position - position), default=None)
        is_near = since is not None and abs(since.position - position) <= near and since.position <= newest.position
        return since if is_near else None

    def _keep(self, held: list[_Found], found: _Found, most: int) -> None:
        """Of too many, one whose neighbours lie closest together makes room."""
        with self._lock:
            if any(each.position == found.position for each in held):
                return
            insort(held, found, key=lambda each: each.position)
            if len(held) > most:
                gaps = [
                    (held[number + 1].position - held[number - 1].position, number)
                    for number in range(1, len(held) - 1)
                    if held[number] is not found
                ]
                del held[min(gaps)[1]]
