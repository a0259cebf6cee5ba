"""The requirements: how loud each is and of which classes, its revenue, and the decision that holds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from fractions import Fraction
from typing import Literal, overload

import asyncpg
import msgspec
import numpy as np
from msgspec import Struct

from schemas.times import format_time
from services.projector.answers.decisions import read_made_on
from services.projector.answers.evidence import read_requirements_lineage
from services.projector.answers.held import READS as READS
from services.projector.answers.held import Known, Remembered
from services.projector.answers.since import read_superseded
from services.projector.answers.snapshot import Snapshot
from services.projector.counting.columns import Codes, Column, is_among, join_limbs, microseconds
from services.projector.counting.headings import NOT_SAID, Delivered, Heading, HeadingsAt, Made
from services.projector.counting.judging import Adopted
from services.projector.counting.standings import Heard, Lens, place_of, requirement_at
from services.projector.counting.worth import Earned
from services.projector.judgement import revenue
from services.projector.judgement.fit import CLASSES, Class, shown
from services.projector.judgement.lenses import Departs
from services.projector.judgement.revenue import Money
from services.projector.shapes.decision import Grounds, Outcome
from services.projector.shapes.shown import _STATUSES, AsOf, Delivery, Status, status_of
from services.projector.telling.since import holding

Sort = Literal["voice", "recent", "revenue"]


class LastDecision(Struct, frozen=True, kw_only=True):
    """The decision that holds for a requirement."""

    decision: str
    position: int
    time: str
    outcome: Outcome
    grounds: Grounds


class RequirementRow(Struct, frozen=True, kw_only=True):
    """A requirement in a list. Voices are rounded half-even to six places, null where no agreement was in force.

    One that was merged has the status `merged` and no voice of its own: its asks count in the one that it is part of.
    """

    requirement: str
    title: str | None
    area: str | None
    status: Status
    into: str | None
    delivery: Delivery | None
    voice: float | None
    voice_if_known: float | None
    accounts: dict[Class, int]
    revenue: dict[str, list[Money]]
    departs: Departs | None
    decision: LastDecision | None


class RequirementList(Struct, frozen=True, kw_only=True):
    as_of: AsOf
    lens: Lens
    total: int
    requirements: list[RequirementRow]


class Listed(Struct, frozen=True, kw_only=True):
    """A requirement with what it is chosen and shown by.

    `loudness`: both voices in shares of `share`, which all of a list have in common; None where no agreement was in
    force. `code`: its number; `earned`: of all requirements.
    """

    heading: Heading
    decision: Made | None
    status: Status
    into: str | None
    accounts: dict[Class, int]
    loudness: tuple[int, int] | None
    share: int
    code: int
    earned: Earned
    remembered: Remembered
    currencies: Codes


class Requirements(Sequence[Listed]):
    """Requirements in some order, as columns: what is listed of one is made when it is asked for.

    `places`: which of the headings, in this order. The other columns are by headings. `last`: the last position of an
    event about it. `voices`: both, in shares of `share`; None where no agreement was in force.
    """

    def __init__(
        self,
        places: Sequence[int],
        headings: HeadingsAt,
        last: Sequence[int],
        decisions: Mapping[int, Made],
        into: Mapping[int, str | None],
        voices: tuple[Sequence[int], Sequence[int]] | None,
        share: int,
        heard: Heard,
        remembered: Remembered,
        currencies: Codes,
    ) -> None:
        self._places = places
        self._headings = headings
        self._last = last
        self._decisions = decisions
        self._into = into
        self._voices = voices
        self._share = share
        self._heard = heard
        self._remembered = remembered
        self._currencies = currencies

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Listed: ...
    @overload
    def __getitem__(self, place: slice) -> list[Listed]: ...
    def __getitem__(self, place: int | slice) -> Listed | list[Listed]:
        if isinstance(place, slice):
            return [self._listed(each) for each in self._places[place]]
        return self._listed(self._places[place])

    def in_order(self, sort: Sort, currency: str | None) -> "Requirements":
        """The most first; of equals the one that is first here."""
        ordered = copy(self)
        for column in reversed(self._columns_of(sort, currency)):
            ordered._places = sorted(ordered._places, key=column.__getitem__, reverse=True)
        return ordered

    @property
    def currencies(self) -> list[str]:
        """The currencies that occur, for the columns of CSV."""
        earned, codes = self._heard.revenue, np.array(sorted(self._headings.codes), np.int64)
        found = np.unique(earned.currencies[is_among(requirement_at(earned.places), codes)])
        return sorted(self._currencies.texts[code] for code in found.tolist())

    def _columns_of(self, sort: Sort, currency: str | None) -> Sequence[Sequence[int]]:
        """What is sorted by, the first before the others."""
        match sort:
            case "voice":
                return self._voices or ()
            case "recent":
                return [self._last]
            case "revenue":
                earned = self._earned_in(currency or "")
                return [[earned.get(code, 0) for code in self._headings.codes]]

    def _earned_in(self, currency: str) -> Mapping[int, int]:
        """Requirement by its number → all revenue in one currency, in millionths, where there is any."""
        earned, code = self._heard.revenue, self._currencies.find(currency)
        if code is None:
            return {}
        here = np.flatnonzero(earned.currencies == code)
        summed: dict[int, int] = {}
        amounts = earned.amounts[here].sum(axis=1).tolist()
        for requirement, (high, low, _) in zip(requirement_at(earned.places[here]).tolist(), amounts, strict=True):
            summed[requirement] = summed.get(requirement, 0) + join_limbs(high, low)
        return summed

    def _listed(self, place: int) -> Listed:
        heading, code, decision = self._headings[place], self._headings.codes[place], self._decisions.get(place)
        here = code < len(self._heard.classes)  # Of what was heard before it was first named, it has no row.
        return Listed(
            heading=heading,
            decision=decision,
            status="merged" if self._into.get(place) else _STATUSES[decision.outcome if decision else None],
            into=self._into.get(place),
            accounts=dict(
                zip(CLASSES, self._heard.classes[code].tolist() if here else [0] * len(CLASSES), strict=True)
            ),
            loudness=None if self._voices is None else (self._voices[0][place], self._voices[1][place]),
            share=self._share,
            code=code,
            earned=self._heard.revenue,
            remembered=self._remembered,
            currencies=self._currencies,
        )


async def read_statuses(snapshot: Snapshot, requirements: Iterable[str]) -> dict[str, Status]:
    """Requirement → its status."""
    position, wanted = snapshot.position, sorted(set(requirements))
    known = (await read_requirements_lineage(snapshot, wanted)).requirements
    names = known.related(wanted)
    made = await read_made_on(snapshot, sorted(names))
    superseded = await read_superseded(snapshot, [row["decision"] for row in made])
    decided: dict[str, list[asyncpg.Record]] = {}
    for row in made:
        for root in {known.root(name, position) for name in row["requirements"] if name in names}:
            decided.setdefault(root, []).append(row)

    def status(requirement: str) -> Status:
        if known.into(requirement, position) is not None:
            return "merged"
        holds = holding(decided.get(requirement, []), superseded)
        return status_of(None if holds is None else holds["outcome"])

    return {each: status(each) for each in wanted}


def list_requirements(known: Known, lens: Lens) -> Requirements:
    """Every requirement, in the order of its id."""
    counted, position = known.counted, known.position
    heard = known.standing(lens).heard
    adopted = Adopted(counted, position)
    is_agreed = adopted.number(microseconds(known.now)) >= 0
    asked = counted.asks.last_positions("requirement", counted.width, position)
    withdrawn = counted.withdrawals.last_positions("requirement", counted.width, position)
    there = asked > 0
    by_acts = counted.named_by_acts
    there[by_acts["requirement"][by_acts["position"] <= position]] = True
    headings = known.headings.at(position, there, np.maximum(asked, withdrawn))

    last, decided = [*headings.last], [*headings.decided]
    into: dict[int, str | None] = {}
    parts: dict[int, list[str]] = {}
    merged = counted.naming(position).merged_into(counted.requirements)
    place = {code: each for each, code in enumerate(headings.codes)} if merged else {}
    codes = counted.requirements
    for name, root in merged.items():
        part, whole = place.get(codes.code(name)), place.get(codes.code(root))
        if part is not None:
            into[part] = counted.lineage.requirements.into(name, position)
        if part is not None and whole is not None:
            decided[whole], last[whole] = max(decided[whole], decided[part]), max(last[whole], last[part])
            parts.setdefault(whole, []).append(name)
    superseded = known.headings.superseded_by(position)
    decisions = {
        each: made
        for each, at in enumerate(decided)
        if at != NOT_SAID
        and (
            made := known.headings.holding([headings[each].requirement, *parts.get(each, ())], at, position, superseded)
        )
    }
    share = math.lcm(*heard.voices, *heard.voices_if_known)
    voices, if_known = (_in_shares(each, share, headings.codes) for each in (heard.voices, heard.voices_if_known))
    return Requirements(
        range(len(headings)),
        headings,
        last,
        decisions,
        into,
        (voices, if_known) if is_agreed else None,
        share,
        heard,
        known.remembered,
        counted.currencies,
    )


def show_row(listed: Listed) -> RequirementRow:
    heading = listed.heading
    voice, voice_if_known = (
        (None, None) if listed.loudness is None else (Fraction(each, listed.share) for each in listed.loudness)
    )
    return RequirementRow(
        requirement=heading.requirement,
        title=heading.title,
        area=heading.area,
        status=listed.status,
        into=listed.into,
        delivery=_show_delivered(heading.delivery) if heading.delivery else None,
        voice=shown(voice),
        voice_if_known=shown(voice_if_known),
        accounts=listed.accounts,
        revenue={
            revenue.CLASS_NAMES[class_]: revenue.shown(
                listed.earned.revenue(listed.currencies, place_of(listed.code, number))
            )
            for number, class_ in enumerate(CLASSES)
        },
        departs=listed.remembered.departs(listed.decision) if listed.decision else None,
        decision=_last_decision(listed.decision) if listed.decision else None,
    )


def _in_shares(voices: Mapping[int, Column], share: int, codes: Sequence[int]) -> list[int]:
    """The sums of all, as whole numbers of shares, which may be small; of requirements by their numbers."""
    summed = [0] * len(codes)
    for total, each in voices.items():
        size, sums = len(each), each.tolist()
        heard = (sums[code] if code < size else 0 for code in codes)
        summed = [one + other * (share // total) for one, other in zip(summed, heard, strict=True)]
    return summed


def _last_decision(made: Made) -> LastDecision:
    return msgspec.convert(
        {
            "decision": made.decision,
            "position": made.position,
            "time": format_time(made.time),
            "outcome": made.outcome,
            "grounds": made.grounds,
        },
        LastDecision,
    )


def _show_delivered(delivered: Delivered) -> Delivery:
    return msgspec.convert(
        {
            "state": delivered.state,
            "target": delivered.target,
            "url": delivered.url,
            "position": delivered.position,
            "time": format_time(delivered.time),
        },
        Delivery,
    )
