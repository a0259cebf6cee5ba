"""What a proposed revision of an agreement would change. Nothing is recorded."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import asyncpg
import msgspec
import numpy as np
from msgspec import Meta, Struct

from schemas.codec import MalformedJson, parse
from schemas.criteria import All, Not, Test
from schemas.criteria import Any as AnyOf
from schemas.events import BULLETS_MAX, Bullet
from schemas.objections import SPOTS_TOLD_MAX, UNKNOWN_FIELD, spots
from services.problems import Problem
from services.projector.answers import held
from services.projector.answers.decisions import looked_by, read_reaffirmed
from services.projector.answers.evidence import read_adoptions, read_names
from services.projector.answers.held import Known
from services.projector.answers.snapshot import Snapshot
from services.projector.counting.columns import is_among
from services.projector.counting.columns import known as known_rows
from services.projector.counting.counted import Said
from services.projector.counting.headings import Made
from services.projector.counting.scoring import NOTHING_KNOWN
from services.projector.counting.whatif import (
    Affected,
    Decided,
    Judged,
    Rank,
    VoiceChange,
    WhatIf,
    by_bullet,
    by_class,
    class_of,
    revenue_by_class,
    what_if,
)
from services.projector.counting.worth import money
from services.projector.judgement import revenue
from services.projector.judgement.fit import Class, Revision, shown
from services.projector.judgement.lenses import Decision, Departs
from services.projector.judgement.revenue import Money
from services.projector.shapes.decision import Outcome
from services.projector.shapes.shown import AsOf
from services.projector.telling.evidence import TARGET_MARKET, names_by_account
from services.statements import Statements

READS = (*held.READS, "feedback")

PROPOSAL_OCTETS_MAX = 64 * 1024
NEAREST_MAX = 3
"""Attributes that are named where one is unknown."""
NEAREST_LIKENESS_MIN = 0.5

PROPOSED = "proposal"
"""What the proposed revision is called in answers."""

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class ProposedRevision(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A revision of an agreement that is tried: what would judge accounts if it were in force."""

    stage: Literal["exploratory", "focused"]
    threshold: Annotated[int, Meta(ge=0, le=100)]
    bullets: Annotated[list[Bullet], Meta(max_length=BULLETS_MAX)]

    def __post_init__(self) -> None:
        if len({bullet.bullet for bullet in self.bullets}) < len(self.bullets):
            raise ValueError("each of the `bullets` needs a `bullet` id of its own")
        if self.stage == "focused" and all(bullet.test is None for bullet in self.bullets):
            raise ValueError("of the `bullets` of a focused agreement at least one needs a `test`")


PROPOSAL = Annotated[
    ProposedRevision,
    Meta(
        examples=[
            {
                "stage": "focused",
                "threshold": 60,
                "bullets": [
                    {
                        "bullet": "bank",
                        "text": "Regional banks",
                        "weight": 3,
                        "test": {"op": "eq", "attribute": "industry", "value": "bank"},
                    }
                ],
            }
        ]
    ),
]
"""The body of a request, with an example."""


class TriedRevision(Struct, frozen=True, kw_only=True):
    """A revision that judges. Without a name it is the proposal."""

    revision: str | None
    stage: Literal["exploratory", "focused"]
    threshold: int
    weights: int


class AccountsTried(Struct, frozen=True, kw_only=True):
    """How many accounts there are, and of which classes."""

    total: int
    before: dict[Class, int] | None
    after: dict[Class, int]
    change: int


class VoicesTried(Struct, frozen=True, kw_only=True):
    """How many requirements that somebody asks for have a louder voice, a lower one, and the same."""

    grow: int
    shrink: int
    stay: int


class RevenueTried(Struct, frozen=True, kw_only=True):
    """What all accounts are worth, by class."""

    before: dict[str, list[Money]] | None
    after: dict[str, list[Money]]


class DecisionsTried(Struct, frozen=True, kw_only=True):
    """How many made decisions there are that nothing superseded, and what would become of them."""

    total: int
    need_review: int
    need_review_newly: int
    depart: int
    depart_newly: int


class TotalsTried(Struct, frozen=True, kw_only=True):
    """What would change, in numbers."""

    accounts: AccountsTried
    voices: VoicesTried
    ranks: int
    revenue: RevenueTried
    decisions: DecisionsTried


class AccountTried(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """An account whose class would change."""

    account: str
    name: str | None
    from_: Class | None
    to: Class
    fit_before: float | None
    fit_after: float | None
    importance: int
    revenue: list[Money]


class BulletTried(Struct, frozen=True, kw_only=True):
    """What one bullet adds to a voice."""

    bullet: str
    before: float | None
    after: float | None
    weight_before: int | None
    weight_after: int | None


class VoiceTried(Struct, frozen=True, kw_only=True):
    """A requirement whose voice would change."""

    requirement: str
    title: str | None
    before: float | None
    after: float | None
    change: float | None
    by_bullet: list[BulletTried]


class RankTried(Struct, frozen=True, kw_only=True):
    """A requirement whose place among all would change."""

    requirement: str
    title: str | None
    before: int | None
    after: int | None


class DecisionTried(Struct, frozen=True, kw_only=True):
    """A made decision to which the proposal would matter."""

    decision: str
    position: int
    outcome: Outcome
    requirements: list[str]
    needs_review_before: bool
    needs_review_after: bool
    accounts_before: int
    accounts_after: int
    departs_before: Departs | None
    departs_after: Departs | None


class CoverageTried(Struct, frozen=True, kw_only=True):
    """How many accounts have an attribute that the proposal looks at."""

    attribute: str
    accounts: int
    share: float | None
    bullets: list[str]


class WhatIfAnswer(Struct, frozen=True, kw_only=True):
    """What a proposed revision would change. The lists are the first of each; `totals` and `digest` are of all."""

    agreement: str
    as_of: AsOf
    judges_asks: bool
    before: TriedRevision | None
    after: TriedRevision
    totals: TotalsTried
    accounts: list[AccountTried]
    voices: list[VoiceTried]
    ranks: list[RankTried]
    decisions: list[DecisionTried]
    coverage: list[CoverageTried]
    digest: str


class Evidence(Struct, frozen=True, kw_only=True):
    """What is not held in memory: the revision in force, accounts that feedback names, and reaffirmations."""

    agreement: str
    before: Revision | None
    named: list[str]
    reaffirmed: dict[str, asyncpg.Record]


class Tried(Struct, frozen=True, kw_only=True, dict=True):
    """What would change, and the part of it that is shown."""

    agreement: str
    known: Known
    found: WhatIf
    decided: int
    """How many made decisions there are that nothing superseded."""
    limit: int

    @property
    def accounts(self) -> list[int]:
        """The rows of the accounts that are shown."""
        rows: list[int] = self.found.changed[: self.limit].tolist()
        return rows

    @property
    def voices(self) -> Sequence[VoiceChange]:
        """Those that are shown."""
        return [each for each in self.found.voices if each.change][: self.limit]

    @property
    def ranks(self) -> Sequence[Rank]:
        """The same."""
        return self.found.ranks[: self.limit]

    @cached_property
    def titles(self) -> Mapping[str, str | None]:
        """What the requirements that are shown are called."""
        shown = {each.requirement for each in self.voices} | {each.requirement for each in self.ranks}
        codes = np.array(sorted(shown), np.int32)
        headings = self.known.headings.of(codes, self.known.position)
        return {each.requirement: each.title for each in headings}


def read_proposal(body: bytes) -> ProposedRevision:
    """The revision that is proposed. Raises Problem, which points at each spot that is refused."""
    try:
        value = parse(body)
    except MalformedJson as error:
        raise Problem("malformed-json", str(error)) from None
    if found := [*spots(value, ProposedRevision)]:
        raise _refused(found)
    return msgspec.convert(value, ProposedRevision)


async def read_evidence(snapshot: Snapshot, agreement: str) -> Evidence:
    """Raises Problem if there is no such agreement; the target market may be tried before there is one."""
    [found] = await snapshot.fetch(_statements, "is_revised", snapshot.position, agreement)
    if not found["revised"] and agreement != TARGET_MARKET:
        raise Problem("not-found", f"there is no agreement {agreement!r} at position {snapshot.position}")
    adoptions = sorted(await read_adoptions(snapshot, agreement), key=lambda each: each[:2])
    now = snapshot.now
    in_force = [each.revision for each in adoptions if now is not None and each.in_force_from <= now]
    named = await snapshot.fetch(_statements, "named_by_feedback", snapshot.position)
    return Evidence(
        agreement=agreement,
        before=in_force[-1] if in_force else None,
        named=[row["account"] for row in named],
        reaffirmed=await read_reaffirmed(snapshot),
    )


def try_revision(
    known: Known, evidence: Evidence, proposal: ProposedRevision, *, limit: int, new_attributes: bool
) -> Tried:
    """What the proposal would change. Raises Problem if it looks at attributes that no account has, unless those are
    meant to be new."""
    position, now = known.position, known.now
    # Whom only feedback names is an account as well.
    mentions = (evidence.named, np.full(len(evidence.named), position))
    held = known.counted.plus(Said(upto=known.counted.position, mentions=mentions))
    there = held.asks.are_there("requirement", held.width, position)
    requirements = known.headings.at(position, there)
    own = requirements[~is_among(requirements, held.naming(position).requirements["name"])]
    after = Revision(
        agreement=evidence.agreement,
        revision=PROPOSED,
        title="",
        stage=proposal.stage,
        threshold=proposal.threshold,
        bullets=proposal.bullets,
    )
    judges_asks = evidence.agreement == TARGET_MARKET
    standing = known.headings.standing(position)
    found = what_if(
        held,
        known.remembered.everybody(held, evidence.named, position, now),
        evidence.before,
        after,
        judges_asks=judges_asks,
        requirements=own,
        decisions=_decided(known, evidence, standing) if judges_asks else [],
    )
    missing = {each.attribute for each in found.coverage if not each.accounts}
    if missing and not new_attributes:
        raise _refused([*_unknown(proposal, missing, found, position)])
    return Tried(
        agreement=evidence.agreement,
        known=known,
        found=found,
        decided=len(standing),
        limit=limit,
    )


def _decided(known: Known, evidence: Evidence, standing: Sequence[Made]) -> list[Decided]:
    """These decisions, with who asked when they were looked at."""
    decisions = [
        Decision(each.decision, each.position, each.valid_from, each.seen, each.outcome, each.requirements)
        for each in standing
    ]
    looked = {position: each for (position, _), each in looked_by(known, decisions, evidence.reaffirmed).items()}
    return [Decided(each.decision, each.position, each.outcome, looked[each.position]) for each in decisions]


async def read_names_shown(snapshot: Snapshot, tried: Tried) -> list[asyncpg.Record]:
    """What the accounts that are shown are called, under all their names."""
    texts, subjects = tried.found.counted.accounts.texts, tried.found.subjects
    shown_ids = [texts[subjects[row]] for row in tried.accounts]
    return await read_names(snapshot, tried.found.counted.lineage.accounts.related(shown_ids))


def show(tried: Tried, names: Sequence[asyncpg.Record], as_of: AsOf) -> WhatIfAnswer:
    found, limit = tried.found, tried.limit
    judges_asks = tried.agreement == TARGET_MARKET
    called = names_by_account(names, found.counted.lineage.accounts, as_of.position)
    after = _show_revision(found.after)
    assert after is not None  # The proposal judges.
    return WhatIfAnswer(
        agreement=tried.agreement,
        as_of=as_of,
        judges_asks=judges_asks,
        before=_show_revision(found.before),
        after=after,
        totals=_totals(tried),
        accounts=[_show_account(found, row, called) for row in tried.accounts],
        voices=_show_voices(tried, [each.requirement for each in tried.voices]),
        ranks=[
            RankTried(
                requirement=(name := found.counted.requirements.texts[each.requirement]),
                title=tried.titles.get(name),
                before=each.before,
                after=each.after,
            )
            for each in tried.ranks
        ],
        decisions=[_show_decision(each) for each in found.decisions.affected[:limit]],
        coverage=[
            CoverageTried(
                attribute=each.attribute,
                accounts=each.accounts,
                share=shown(Fraction(each.accounts, len(found.subjects))) if len(found.subjects) else None,
                bullets=[*each.bullets],
            )
            for each in found.coverage
        ],
        digest=found.digest,
    )


def _totals(tried: Tried) -> TotalsTried:
    found = tried.found
    changes = [each.change for each in found.voices]
    after, revenue_after = by_class(found.after), _show_revenue(found, found.after)
    assert after is not None and revenue_after is not None  # The proposal judges.
    return TotalsTried(
        accounts=AccountsTried(
            total=len(found.subjects), before=by_class(found.before), after=after, change=len(found.changed)
        ),
        voices=VoicesTried(
            grow=sum(each > 0 for each in changes),
            shrink=sum(each < 0 for each in changes),
            stay=sum(each == 0 for each in changes),
        ),
        ranks=len(found.ranks),
        revenue=RevenueTried(before=_show_revenue(found, found.before), after=revenue_after),
        decisions=DecisionsTried(
            total=tried.decided,
            need_review=found.decisions.need_review,
            need_review_newly=found.decisions.need_review_newly,
            depart=found.decisions.depart,
            depart_newly=found.decisions.depart_newly,
        ),
    )


def _show_revision(judged: Judged) -> TriedRevision | None:
    revision = judged.revision
    if revision is None:
        return None
    return TriedRevision(
        revision=None if revision.revision == PROPOSED and not revision.title else revision.revision,
        stage=revision.stage,
        threshold=revision.threshold,
        weights=judged.total,
    )


def _show_revenue(found: WhatIf, judged: Judged) -> dict[str, list[Money]] | None:
    by = revenue_by_class(found, judged)
    if by is None:
        return None
    return {
        revenue.CLASS_NAMES[class_]: revenue.shown(money(found.counted.currencies, amounts))
        for class_, amounts in by.items()
    }


def _show_account(found: WhatIf, row: int, called: Mapping[str, str]) -> AccountTried:
    account = found.counted.accounts.texts[found.subjects[row]]
    worth = int(found.worth_of[row])
    return AccountTried(
        account=account,
        name=called.get(account),
        from_=None if found.before.revision is None else class_of(int(found.before.classes[row])),
        to=class_of(int(found.after.classes[row])),
        fit_before=shown(found.before.fit(row)),
        fit_after=shown(found.after.fit(row)),
        importance=int(found.importance[row]),
        revenue=[] if worth < 0 else revenue.shown(money(found.counted.currencies, found.worth.amounts[worth])),
    )


def _show_voices(tried: Tried, requirements: Sequence[int]) -> list[VoiceTried]:
    found = tried.found
    before, after = (by_bullet(found, judged, requirements) for judged in (found.before, found.after))
    ids = [
        bullet.bullet for judged in (found.after, found.before) if judged.revision for bullet in judged.revision.bullets
    ]
    rows = []
    for each in requirements:
        name = found.counted.requirements.texts[each]
        was, is_ = found.before.voice(each), found.after.voice(each)
        rows.append(
            VoiceTried(
                requirement=name,
                title=tried.titles.get(name),
                before=shown(was),
                after=shown(is_),
                change=None if was is None or is_ is None else shown(is_ - was),
                by_bullet=[
                    BulletTried(
                        bullet=bullet,
                        before=_share(before[each].get(bullet), found.before),
                        after=_share(after[each].get(bullet), found.after),
                        weight_before=before[each].get(bullet),
                        weight_after=after[each].get(bullet),
                    )
                    for bullet in dict.fromkeys(ids)
                    if bullet in before[each] or bullet in after[each]
                ],
            )
        )
    return rows


def _share(weight: int | None, judged: Judged) -> float | None:
    return None if weight is None else shown(Fraction(weight, judged.total))


def _show_decision(affected: Affected) -> DecisionTried:
    decided = affected.decided
    outcome: Outcome = msgspec.convert(decided.outcome, Outcome)
    return DecisionTried(
        decision=decided.decision,
        position=decided.position,
        outcome=outcome,
        requirements=[*decided.looked.requirements],
        needs_review_before=affected.needs_review_before,
        needs_review_after=affected.needs_review_after,
        accounts_before=affected.differ_before,
        accounts_after=affected.differ_after,
        departs_before=affected.departs_before,
        departs_after=affected.departs_after,
    )


def _unknown(
    proposal: ProposedRevision, missing: Collection[str], found: WhatIf, position: int
) -> Iterator[tuple[str, str]]:
    """Each spot that names an attribute that no account has."""
    there = _attributes_there(found, position)
    by_folded = {name.casefold(): name for name in there}
    for number, bullet in enumerate(proposal.bullets):
        for pointer, name in _named(bullet.test, f"/bullets/{number}/test") if bullet.test else ():
            if name in missing:
                near = get_close_matches(name.casefold(), [*by_folded], NEAREST_MAX, NEAREST_LIKENESS_MIN)
                told = ", ".join(repr(by_folded[each]) for each in near) or "none is like it"
                message = (
                    f"no account has the attribute {name!r}; the nearest: {told}."
                    " With `new_attributes=true` it may be one that nobody has yet"
                )
                yield pointer, message


def _attributes_there(found: WhatIf, position: int) -> list[str]:
    """The attributes of which anything is known of any account."""
    codes = set[int]()
    for part in found.counted.facts.parts:
        rows = known_rows(part, position)
        codes |= {*np.unique(rows["attribute"][rows["value"] != NOTHING_KNOWN]).tolist()}
    return sorted(found.counted.attributes.texts[code] for code in codes)


def _named(test: Test, pointer: str) -> Iterator[tuple[str, str]]:
    """Each attribute that a test names, with where."""
    match test:
        case All() | AnyOf():
            for number, part in enumerate(test.tests):
                yield from _named(part, f"{pointer}/tests/{number}")
        case Not():
            yield from _named(test.test, f"{pointer}/test")
        case _:
            yield f"{pointer}/attribute", test.attribute


def _refused(found: Sequence[tuple[str, str]]) -> Problem:
    errors = [
        {"index": 0, "pointer": pointer, "message": message, "type": "/problems/invalid-proposal"}
        for pointer, message in found[:SPOTS_TOLD_MAX]
    ]
    return Problem("invalid-proposal", _told(found), errors=errors)


def _told(found: Sequence[tuple[str, str]]) -> str:
    """What is refused, in a sentence: the first spot, and how many more there are. Members that a proposal does not
    have are told apart, once: whoever posts a whole revision has several."""
    fields = [f"`{field.encode_name}`" for field in msgspec.structs.fields(ProposedRevision)]
    foreign = [pointer for pointer, message in found if message == UNKNOWN_FIELD and pointer.count("/") == 1]
    others = [(pointer, message) for pointer, message in found if pointer not in foreign]
    parts = []
    if others:
        pointer, message = others[0]
        more = f", and {len(others) - 1} more in `errors`" if len(others) > 1 else ""
        parts.append((f"{pointer}: " if pointer else "") + message + more)
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        takes = f"{', '.join(fields[:-1])} and {fields[-1]}"
        parts.append(f"a what-if takes {takes} only; leave out {foreign[0]}{more}")
    return "; ".join(parts)
