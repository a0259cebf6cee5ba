"""The requirements: how loud each is and of which classes, its revenue, and the decision that holds."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Literal, get_args, overload

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
from services.projector.counting.columns import NO_CURRENCY, Codes, Column, is_among, join_limbs, microseconds
from services.projector.counting.headings import NOT_SAID, Delivered, Heading, Made
from services.projector.counting.judging import Adopted, Lens
from services.projector.counting.standings import Heard, place_of, requirement_at
from services.projector.counting.worth import Earned
from services.projector.judgement import revenue
from services.projector.judgement.fit import CLASSES, Class, shown_ratio
from services.projector.judgement.lenses import Departs
from services.projector.judgement.revenue import Money
from services.projector.shapes.decision import Grounds, Outcome
from services.projector.shapes.shown import _STATUSES, AsOf, Delivery, Status, status_of
from services.projector.telling.since import holding

Sort = Literal["voice", "recent", "revenue"]

REVENUES_SHOWN_MAX = 2_000
"""Of requirements, over all ledgers: a few kilobytes each."""

SHOWN_AHEAD = 50
"""Rows that are made of a list that is laid before anybody asks for it."""

COUNTED_MAX = 2**62
"""Up to here 64 bits count; what is more is counted in Python's numbers."""


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


class Requirements(Sequence[Listed]):
    """Requirements in their order, as columns: what is listed of some is made when they are asked for.

    `codes`: their numbers. `voices`: both of each, in shares of `share`; None where no agreement was in force.
    `merged`: the numbers of those that are part of others → of what.
    """

    def __init__(
        self,
        codes: Column,
        voices: Sequence[Column] | None,
        share: int,
        heard: Heard,
        merged: Mapping[int, int],
        position: int,
        remembered: Remembered,
    ) -> None:
        self._codes = codes
        self._voices = voices
        self._share = share
        self._heard = heard
        self._merged = merged
        self._position = position
        self._remembered = remembered

    def __len__(self) -> int:
        return len(self._codes)

    def __iter__(self) -> Iterator[Listed]:
        return iter(self[:])

    @overload
    def __getitem__(self, place: int) -> Listed: ...
    @overload
    def __getitem__(self, place: slice) -> list[Listed]: ...
    def __getitem__(self, place: int | slice) -> Listed | list[Listed]:
        return self._listed(place) if isinstance(place, slice) else self._listed(slice(place, place + 1 or None))[0]

    def currencies(self) -> list[str]:
        """The currencies that occur, for the columns of CSV."""
        earned = self._heard.revenue
        found = np.unique(earned.currencies[is_among(requirement_at(earned.places), np.sort(self._codes))])
        return sorted(self._remembered.counted.currencies.texts[code] for code in found.tolist())

    def _listed(self, some: slice) -> list[Listed]:
        codes, position, remembered = self._codes[some], self._position, self._remembered
        names, headings = remembered.counted.requirements.texts, remembered.headings.of(codes, position)
        parts: dict[int, list[str]] = {}
        decided = remembered.headings.decided_last(position)
        for part, whole in self._merged.items():
            parts.setdefault(whole, []).append(names[part])
            decided[whole] = max(decided[whole], decided[part])
        superseded = remembered.headings.superseded_by(position)
        # Of what was heard before it was first named, one has no row.
        classes = np.zeros((len(codes), len(CLASSES)), np.int64)
        here = codes < len(self._heard.classes)
        classes[here] = self._heard.classes[codes[here]]
        voices = None if self._voices is None else [*zip(*(each[some].tolist() for each in self._voices), strict=True)]
        listed = []
        for number, (code, heading, accounts, at) in enumerate(
            zip(codes.tolist(), headings, classes.tolist(), decided[codes].tolist(), strict=True)
        ):
            name, into, decision = heading.requirement, None, None
            if code in self._merged:
                into = remembered.counted.lineage.requirements.into(name, position)
            if at != NOT_SAID:
                decision = remembered.headings.holding([name, *parts.get(code, ())], at, position, superseded)
            listed.append(
                Listed(
                    heading=heading,
                    decision=decision,
                    status="merged" if into else _STATUSES[decision.outcome if decision else None],
                    into=into,
                    accounts=dict(zip(CLASSES, accounts, strict=True)),
                    loudness=None if voices is None else voices[number],
                    share=self._share,
                    code=code,
                    earned=self._heard.revenue,
                    remembered=remembered,
                )
            )
        return listed


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


def list_requirements(known: Known, lens: Lens, sort: Sort = "voice", currency: str | None = None) -> Requirements:
    """Every requirement, the most first; of equals the lower id."""
    counted, position = known.counted, known.position
    heard = known.standing(lens).heard
    there = counted.asks.are_there("requirement", counted.width, position)
    by_acts = counted.named_by_acts
    there[by_acts["requirement"][by_acts["position"] <= position]] = True
    codes = known.headings.at(position, there)
    naming = counted.naming(position).requirements
    is_there = is_among(naming["name"], np.sort(codes))
    merged = dict(zip(*(naming[each][is_there].tolist() for each in ("name", "root")), strict=True))
    share = math.lcm(*heard.voices, *heard.voices_if_known)
    voices = None
    if Adopted(counted, position).number(microseconds(known.now)) >= 0:
        voices = [_in_shares(each, share, codes) for each in (heard.voices, heard.voices_if_known)]
    match sort:
        case "voice":
            columns = voices or ()
        case "recent":
            columns = [_said_last(known, merged)[codes]]
        case "revenue":
            columns = [_earned_in(known, heard.revenue, currency or "", codes)]
    put = np.arange(len(codes))
    for column in reversed(columns):
        put = put[np.argsort(-column[put], kind="stable")]
    ordered = None if voices is None else [each[put] for each in voices]
    return Requirements(codes[put], ordered, share, heard, merged, position, known.remembered)


def steps_ahead(known: Known) -> Iterator[Callable[[], object]]:
    """The steps by which what the list for now is made from is laid before anybody asks for it."""

    def lay(lens: Lens) -> None:
        show_rows(list_requirements(known, lens)[:SHOWN_AHEAD])

    return (partial(lay, lens) for lens in get_args(Lens))


def show_rows(listed: Sequence[Listed]) -> list[RequirementRow]:
    """Some rows of the list, as an answer shows them."""
    if not listed:
        return []
    codes, currencies = np.array([each.code for each in listed]), listed[0].remembered.counted.currencies
    earned = listed[0].earned.split(place_of(codes, 0), place_of(codes + 1, 0))
    return [
        _show_row(each, _show_revenue(currencies, theirs.at.tobytes(), theirs.amounts.tobytes()))
        for each, theirs in zip(listed, earned, strict=True)
    ]


@lru_cache(maxsize=REVENUES_SHOWN_MAX)
def _show_revenue(currencies: Codes, at: bytes, amounts: bytes) -> dict[str, list[Money]]:
    """What one requirement earns, by its octets: of most it is the same at many positions."""
    earned = Earned(np.frombuffer(at, np.int64), np.frombuffer(amounts, np.int64).reshape(-1, 2, 3))
    found = {place % len(CLASSES): each for place, each in earned.revenue(currencies).items()}
    return {revenue.CLASS_NAMES[class_]: revenue.shown(found.get(number, {})) for number, class_ in enumerate(CLASSES)}


def _show_row(listed: Listed, revenue: dict[str, list[Money]]) -> RequirementRow:
    heading = listed.heading
    voice, voice_if_known = (
        (None, None) if listed.loudness is None else (shown_ratio(each, listed.share) for each in listed.loudness)
    )
    return RequirementRow(
        requirement=heading.requirement,
        title=heading.title,
        area=heading.area,
        status=listed.status,
        into=listed.into,
        delivery=_show_delivered(heading.delivery) if heading.delivery else None,
        voice=voice,
        voice_if_known=voice_if_known,
        accounts=listed.accounts,
        revenue=revenue,
        departs=listed.remembered.departs(listed.decision) if listed.decision else None,
        decision=_last_decision(listed.decision) if listed.decision else None,
    )


def _said_last(known: Known, merged: Mapping[int, int]) -> Column:
    """The last position of an event about each requirement, or about one that is part of it."""
    counted, position = known.counted, known.position
    last = known.headings.said_last(position)
    for rows in (counted.asks, counted.withdrawals):
        said = rows.last_positions("requirement", counted.width, position)
        last[: counted.width] = np.maximum(last[: counted.width], said)
    for part, whole in merged.items():
        last[whole] = max(last[whole], last[part])
    return last


def _earned_in(known: Known, earned: Earned, currency: str, codes: Column) -> Column:
    """All revenue of each of these requirements in one currency, in millionths, which may be many."""
    summed: dict[int, int] = {}
    code = known.counted.currencies.find(currency)
    here = np.flatnonzero(earned.currencies == (NO_CURRENCY if code is None else code))
    amounts = earned.amounts[here].sum(axis=1).tolist()
    for requirement, (high, low, _) in zip(requirement_at(earned.places[here]).tolist(), amounts, strict=True):
        summed[requirement] = summed.get(requirement, 0) + join_limbs(high, low)
    return np.array([summed.get(each, 0) for each in codes.tolist()], object)


def _in_shares(voices: Mapping[int, Column], share: int, codes: Column) -> Column:
    """The sums of all, as whole numbers of shares, which may be small; of requirements by their numbers."""
    most = sum(int(each.max(initial=0)) * (share // total) for total, each in voices.items())
    summed = np.zeros(len(codes), np.int64 if most <= COUNTED_MAX else object)
    for total, each in voices.items():
        here = codes < len(each)
        summed[here] += each[codes[here]].astype(summed.dtype) * (share // total)
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
