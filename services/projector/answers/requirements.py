"""The requirements: how loud each is and of which classes, its revenue, and the decision that holds."""

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Literal

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
from services.projector.counting.headings import Delivered, Heading, Made
from services.projector.counting.judging import Adopted
from services.projector.counting.standings import Lens, place_of, requirement_at
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
    """A requirement with what it is chosen and sorted by.

    `loudness`: both voices in shares of `share`, which all of a list have in common; None where no agreement was in
    force. `last`: the last position of an event about it. `code`: its number; `earned`: of all requirements.
    """

    heading: Heading
    decision: Made | None
    status: Status
    into: str | None
    last: int
    accounts: dict[Class, int]
    loudness: tuple[int, int] | None
    share: int
    code: int
    earned: Earned
    remembered: Remembered
    currencies: Codes

    def pipeline_and_contracted(self, currency: str) -> int:
        """All revenue in one currency, in millionths."""
        here, code = self.amounts, self.currencies.find(currency)
        if code is None:
            return 0
        high, low, _ = here.amounts[here.currencies == code].sum(axis=(0, 1)).tolist()
        return join_limbs(high, low)

    @property
    def amounts(self) -> Earned:
        return self.earned.within(place_of(self.code, 0), place_of(self.code + 1, 0))


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


def list_requirements(known: Known, lens: Lens) -> list[Listed]:
    """Every requirement, in the order of its id."""
    counted, position = known.counted, known.position
    heard = known.standing(lens).heard
    adopted = Adopted(counted, position)
    is_agreed = adopted.number(microseconds(known.now)) >= 0
    asked = counted.asks.last_positions("requirement", counted.width, position)
    withdrawn = counted.withdrawals.last_positions("requirement", counted.width, position)
    lineage = counted.lineage.requirements
    there = asked > 0
    by_acts = counted.named_by_acts
    there[by_acts["requirement"][by_acts["position"] <= position]] = True
    headings = known.headings.at(position, there, np.maximum(asked, withdrawn))
    superseded = known.headings.superseded_by(position)
    parts: dict[str, list[Heading]] = {}
    merged = counted.naming(position).merged_into(counted.requirements)
    for each in headings if merged else ():
        parts.setdefault(merged.get(each.requirement, each.requirement), []).append(each)

    share = math.lcm(*heard.voices, *heard.voices_if_known)
    classes = heard.classes.tolist()
    voices, voices_if_known = (_in_shares(each, share, len(classes)) for each in (heard.voices, heard.voices_if_known))
    listed = []
    for heading in headings:
        code = counted.requirements.code(heading.requirement)
        here = code < len(classes)  # Of what was heard before it was first named, it has no row.
        into = lineage.into(heading.requirement, position) if heading.requirement in merged else None
        decided, last, named = heading.decided, heading.last, [heading.requirement]
        for part in parts.get(heading.requirement, ()):
            decided, last = _later(decided, part.decided), max(last, part.last)
            named.append(part.requirement)
        decision = None if decided is None else known.headings.holding(named, decided, position, superseded)
        listed.append(
            Listed(
                heading=heading,
                decision=decision,
                status=_STATUSES[decision.outcome if decision else None] if into is None else "merged",
                into=into,
                last=last,
                accounts=dict(zip(CLASSES, classes[code] if here else [0] * len(CLASSES), strict=True)),
                loudness=((voices[code], voices_if_known[code]) if here else (0, 0)) if is_agreed else None,
                share=share,
                code=code,
                earned=heard.revenue,
                remembered=known.remembered,
                currencies=counted.currencies,
            )
        )
    return listed


def currencies_of(listed: Sequence[Listed]) -> list[str]:
    """The currencies that occur, for the columns of CSV."""
    if not listed:
        return []
    earned = listed[0].earned
    codes = np.array(sorted(each.code for each in listed))
    found = np.unique(earned.currencies[is_among(requirement_at(earned.places), codes)])
    return sorted(listed[0].currencies.texts[code] for code in found.tolist())


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


def _in_shares(voices: Mapping[int, Column], share: int, size: int) -> list[int]:
    """The sums of all, as whole numbers of shares, which may be small."""
    summed = [0] * size
    for total, each in voices.items():
        summed = [one + other * (share // total) for one, other in zip(summed, each.tolist(), strict=True)]
    return summed


def _later(one: int | None, other: int | None) -> int | None:
    return other if one is None or (other is not None and other > one) else one


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


def in_order(listed: Sequence[Listed], sort: Sort, currency: str | None) -> list[Listed]:
    """The most first; of equals the lower id. `listed` is in the order of ids."""
    match sort:
        case "voice":
            return sorted(listed, key=_quietness)
        case "recent":
            return sorted(listed, key=lambda each: -each.last)
        case "revenue":
            return sorted(listed, key=lambda each: -each.pipeline_and_contracted(currency or ""))


def _quietness(listed: Listed) -> tuple[bool, int, int]:
    voice, voice_if_known = listed.loudness or (0, 0)
    return listed.loudness is None, -voice, -voice_if_known
