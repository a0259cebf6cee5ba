"""The briefs of a decision and of a requirement: what they are made of, as it stands in the read models."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from msgspec import Struct

from schemas.events import Available, Effort
from schemas.times import format_time
from schemas.values import By
from services.projector.answers import decisions
from services.projector.answers.decisions import one_decision, read_made_on
from services.projector.answers.evidence import (
    accounts_in,
    find_requirement,
    read_accounts_lineage,
    read_asks,
    read_knowledge,
    read_names,
    read_requirements_lineage,
    read_titled,
    with_accounts,
)
from services.projector.answers.sides import read_sides
from services.projector.answers.since import read_since
from services.projector.answers.snapshot import Snapshot
from services.projector.briefs.record import (
    ADOPTED,
    FITS_MAX,
    MADE,
    MERGED,
    RAISED,
    REWORDED,
    SUPERSEDED,
    Assessed,
    GaveWay,
    OnRecord,
    OpenPromise,
    Stated,
)
from services.projector.briefs.sales import requirement_brief, roles
from services.projector.briefs.told import (
    AssessmentTold,
    Cited,
    Holding,
    Pending,
    PerspectiveTold,
    RequirementBrief,
    RequirementTold,
)
from services.projector.judgement import lenses
from services.projector.judgement.lenses import Ask
from services.projector.judgement.resolution import Resolution
from services.projector.shapes.decision import DecidedFit, OneDecision
from services.projector.shapes.shown import AsOf, Role, show_delivery, show_fit, show_revisions, show_role, status_of
from services.projector.telling.decisions import decision_of
from services.projector.telling.evidence import TARGET_MARKET, KnowledgeRead, names_by_account
from services.projector.telling.sides import SidesRead, assessed_by, last_words, stated_by
from services.projector.telling.since import SinceRead, holding
from services.statements import Statements

READS = (*decisions.READS, "promises")

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class Asking(Struct, frozen=True, kw_only=True):
    """Who asks for what a decision is proposed on, as it was read."""

    ask_rows: list[asyncpg.Record]
    knowledge: KnowledgeRead
    names: list[asyncpg.Record]


class AccountsRead(Struct, frozen=True, kw_only=True):
    """Accounts, and what they are called, as they were read."""

    lineage: Resolution = msgspec.field(default_factory=Resolution)
    names: list[asyncpg.Record] = []


class Evidence(Struct, frozen=True, kw_only=True):
    """What a brief is made of, as it was read at one position. `judged`: of the decision, None where there is none."""

    as_of: AsOf
    decision: str | None
    judged: decisions.Evidence | None
    asking: Asking | None
    """Before a decision; what a made one rests on is in `judged`."""
    requirements: list[str]
    lineage: Resolution
    titled: dict[str, asyncpg.Record]
    deliveries: list[asyncpg.Record]
    merges: list[asyncpg.Record]
    sides: SidesRead
    promises: list[asyncpg.Record]
    every_promise: bool
    """Those count that rest on other decisions, too."""
    promised: AccountsRead
    """To whom the promises are."""
    settles: list[str]
    """The requirements of which it is asked what holds: those of the decision, or the one without any."""
    made_on: list[asyncpg.Record]
    """The made decisions on these, in the order of their positions."""
    given_way: list[asyncpg.Record]
    made: dict[str, asyncpg.Record]
    """Those, and the made decisions to which they or this one gave way."""
    made_since: SinceRead
    """What was said since of those on these requirements."""


class RequirementEvidence(Struct, frozen=True, kw_only=True):
    """The same of a requirement. `named`: what was asked about; `root`: what it counts as."""

    named: str
    root: str
    brief: Evidence
    pending: list[asyncpg.Record]


async def read_decision_brief(snapshot: Snapshot, decision: str) -> Evidence:
    """What the briefs of a decision are made of. Raises Problem if there is no such decision."""
    return await _read(snapshot, decision)


async def read_requirement_brief(snapshot: Snapshot, requirement: str) -> RequirementEvidence:
    """What the brief of a requirement is made of. Raises Problem if there is no such requirement."""
    await find_requirement(snapshot, requirement)
    position = snapshot.position
    lineage = (await read_requirements_lineage(snapshot, [requirement])).requirements
    root, names = lineage.root(requirement, position), [*lineage.members(requirement, position)]
    made = await read_made_on(snapshot, names)
    given_way = await snapshot.fetch(_statements, "given_way", position, [row["decision"] for row in made])
    pending = await snapshot.fetch(_statements, "proposed_on", position, names)
    holds = holding(made, _ways(given_way))
    decision = holds["decision"] if holds is not None else pending[-1]["decision"] if pending else None
    brief = await _read(snapshot, decision, [root] if root == requirement else [root, requirement])
    return RequirementEvidence(named=requirement, root=root, brief=brief, pending=pending)


async def read_marked(snapshot: Snapshot, on_record: OnRecord) -> OnRecord:
    """With the events that its marks name. `snapshot` is at the same position."""
    marks = [] if on_record.one is None else on_record.one.needs_review
    rows = await snapshot.fetch(_statements, "events", snapshot.position, [each.position for each in marks])
    reviewed = [
        Cited(position=row["position"], type=row["type"], subject=row["subject"], tells=["needs_review", "marks"])
        for row in rows
    ]
    return msgspec.structs.replace(on_record, reviewed=reviewed)


def tell_requirement(evidence: RequirementEvidence, on_record: OnRecord) -> RequirementBrief:
    """The brief of a requirement, of what is on record about it."""
    outcome = None if on_record.one is None else on_record.one.outcome
    return requirement_brief(
        on_record,
        requirement=evidence.named,
        into=None if evidence.root == evidence.named else evidence.root,
        status=status_of(outcome),
        pending=[
            Pending(decision=row["decision"], decide_by=row["decide_by"], position=row["position"])
            for row in evidence.pending
        ],
    )


async def _read(snapshot: Snapshot, decision: str | None, requirements: Sequence[str] = ()) -> Evidence:
    """`requirements`: what the brief is about, if it is not that of the decision alone."""
    position = snapshot.position
    judged = None if decision is None else await decisions.read_decision(snapshot, decision)
    settles = [*requirements[:1]]
    if judged is not None and decision is not None:
        last = judged.made.get(decision) or judged.proposals[decision]
        settles = [*dict.fromkeys(last["requirements"])]
    named = [*dict.fromkeys([*settles, *requirements])]
    lineage = (await read_requirements_lineage(snapshot, named)).requirements
    names = sorted({each for name in named for each in lineage.members(name, position)})
    made_on = await read_made_on(snapshot, names)
    others = [row["decision"] for row in made_on if row["decision"] != decision]
    ways = [*others, *([] if decision is None else [decision])]
    given_way = await snapshot.fetch(_statements, "given_way", position, ways)
    ends = sorted({*others, *(row["superseded_by"] for row in given_way)})
    promises = await snapshot.fetch(_statements, "promises", position, names)
    return Evidence(
        as_of=snapshot.as_of,
        decision=decision,
        judged=judged,
        asking=None if judged is None or judged.made else await _read_asking(snapshot, named),
        requirements=named,
        lineage=lineage,
        titled=await read_titled(snapshot, named),
        deliveries=await snapshot.fetch(_statements, "deliveries", position, named),
        merges=await snapshot.fetch(_statements, "merges", position, names),
        sides=await read_sides(snapshot, names),
        promises=promises,
        every_promise=bool(requirements),
        promised=await _read_accounts(snapshot, {row["account"] for row in promises}),
        settles=settles,
        made_on=made_on,
        given_way=given_way,
        made={row["decision"]: row for row in await snapshot.fetch(_statements, "made", position, ends)},
        made_since=await read_since(snapshot, others),
    )


async def _read_accounts(snapshot: Snapshot, accounts: set[str]) -> AccountsRead:
    if not accounts:
        return AccountsRead()
    lineage = await read_accounts_lineage(snapshot, accounts)
    return AccountsRead(lineage=lineage, names=await read_names(snapshot, lineage.related(accounts)))


async def _read_asking(snapshot: Snapshot, requirements: Sequence[str]) -> Asking:
    lineage = await read_requirements_lineage(snapshot, requirements)
    ask_rows = await read_asks(snapshot, lineage.reach(requirements))
    accounts = accounts_in(ask_rows)
    lineage = await with_accounts(snapshot, lineage, accounts)
    return Asking(
        ask_rows=ask_rows,
        knowledge=await read_knowledge(snapshot, lineage, accounts),
        names=await read_names(snapshot, lineage.accounts.related(accounts)),
    )


def judge_brief(evidence: Evidence) -> OnRecord:
    """What is on record, judged."""
    decision, judged = evidence.decision, evidence.judged
    one = None if judged is None or decision is None else one_decision(judged, decision)
    if one is not None and judged is not None and evidence.asking is not None:
        one = _with_askers(one, evidence.asking, judged.now, evidence.as_of.position)
    asks = [] if judged is None else (judged if evidence.asking is None else evidence.asking).ask_rows
    made = None if judged is None or decision is None else judged.made.get(decision)
    taken = None if made is None else decision_of(made)
    position = evidence.as_of.position
    promised = evidence.promised.lineage
    called = names_by_account(evidence.promised.names, promised, position)
    titled = evidence.titled
    deliveries = {row["requirement"]: row for row in evidence.deliveries}

    def into(name: str) -> str | None:
        root = evidence.lineage.root(name, position)
        return None if root == name else root

    return OnRecord(
        as_of=evidence.as_of,
        one=one,
        requirements=[
            RequirementTold(
                requirement=name,
                title=titled[name]["title"] if name in titled else None,
                into=into(name),
                delivery=show_delivery(deliveries[name]) if name in deliveries else None,
            )
            for name in evidence.requirements
        ],
        cited=[*map(_cited_title, titled.values()), *_cited_merges(evidence), *_cited_adoption(judged, taken)],
        recorded_on={row["position"]: row["requirement"] for row in asks},
        assessments=[
            Assessed(root=evidence.lineage.root(row["requirement"], position), told=_assessment(row, taken))
            for row in _last_words(evidence.sides.assessments, assessed_by, evidence.lineage, position, taken)
        ],
        perspectives=[
            Stated(root=evidence.lineage.root(row["requirement"], position), told=_perspective(row, taken))
            for row in _last_words(
                [row for row in evidence.sides.perspectives if row["decision"] in (None, decision)],
                stated_by,
                evidence.lineage,
                position,
                taken,
            )
        ],
        promises=[
            OpenPromise(
                promise=row["promise"],
                account=(account := promised.root(row["account"], position)),
                name=called.get(account),
                due=row["due"],
                position=row["position"],
            )
            for row in evidence.promises
            if evidence.every_promise or row["decision"] in (None, decision)
        ],
        holds=_holding(evidence),
        gave_way=_gave_way(evidence),
        settled=[*_cited_settled(evidence)],
    )


def _with_askers(one: OneDecision, asking: Asking, now: datetime | None, position: int) -> OneDecision:
    """A proposed decision with those who ask as of now: they are whom it will be judged by."""
    assert now is not None  # It was proposed.
    knowledge = asking.knowledge.knowledge()
    rows = [Ask(*row) for row in asking.ask_rows]
    live = lenses.live_asks(rows, now, position, knowledge.lineage, one.requirements)
    askers = lenses.as_now(knowledge, live, now, position)
    askers.sort(key=lambda asker: (-asker.weight, asker.account))
    names = names_by_account(asking.names, knowledge.lineage.accounts, position)
    return msgspec.structs.replace(
        one,
        accounts=lenses.count_by_class(asker.class_ for asker in askers),
        fits=[
            DecidedFit(
                account=asker.account,
                name=names.get(asker.account),
                requirement=asker.ask.requirement,
                ask=asker.ask.ask,
                position=asker.ask.position,
                importance=asker.ask.importance,
                as_decided=show_fit(asker.judgement),
            )
            for asker in askers[:FITS_MAX]
        ],
        revisions=show_revisions(asker.judgement.fit.revision for asker in askers[:FITS_MAX] if asker.judgement),
    )


def _ways(given_way: Iterable[asyncpg.Record]) -> dict[str, str]:
    return {row["decision"]: row["superseded_by"] for row in given_way}


def _settled(evidence: Evidence) -> dict[str, str | None]:
    """Requirement → the decision that holds on it, as the requirement itself says; None: none does."""
    position, ways = evidence.as_of.position, _ways(evidence.given_way)

    def about(row: asyncpg.Record, root: str) -> bool:
        return any(evidence.lineage.root(name, position) == root for name in row["requirements"])

    return {
        name: None if held is None else held["decision"]
        for name in evidence.settles
        for root in [evidence.lineage.root(name, position)]
        for held in [holding([row for row in evidence.made_on if about(row, root)], ways)]
    }


def _holding(evidence: Evidence) -> list[Holding]:
    """The other decisions that hold on these requirements, in the order of the requirements."""
    on: dict[str, list[str]] = {}
    for name, held in _settled(evidence).items():
        if held is not None and held != evidence.decision:
            on.setdefault(held, []).append(name)
    now, since = None if evidence.judged is None else evidence.judged.now, evidence.made_since.since()
    found = []
    for decision, requirements in on.items():
        row = evidence.made[decision]
        assert now is not None  # There is a decision to judge, as another holds on what it is about.
        found.append(
            Holding(
                decision=decision,
                requirements=requirements,
                position=row["position"],
                time=format_time(row["time"]),
                outcome=row["outcome"],
                grounds=row["grounds"],
                instruction=row["instruction"],
                tell_customer=row["tell_customer"],
                available=None if row["available"] is None else msgspec.json.decode(row["available"], type=Available),
                revisit=row["revisit"],
                overdue=since.is_due_again(decision, row["revisit"], now.date()),
                stands_behind=roles(show_role(by) for by in msgspec.json.decode(row["deciders"], type=list[By])),
            )
        )
    return found


def _gave_way(evidence: Evidence) -> dict[str, list[GaveWay]]:
    """How this decision gave way, and how those did that were made on requirements where none holds."""
    position, ways = evidence.as_of.position, {row["decision"]: row for row in evidence.given_way}
    roots = {evidence.lineage.root(name, position) for name in evidence.settles}
    bare = {evidence.lineage.root(name, position) for name, held in _settled(evidence).items() if held is None}

    def roots_of(decision: str) -> set[str]:
        row = evidence.made.get(decision)
        return set() if row is None else {evidence.lineage.root(name, position) for name in row["requirements"]}

    def chain(decision: str) -> Iterable[GaveWay]:
        passed = set[str]()
        while decision in ways and decision not in passed:
            passed.add(decision)
            row = ways[decision]
            decision = row["superseded_by"]
            to = evidence.made.get(decision)
            elsewhere = to is not None and not roots_of(decision) & roots
            yield GaveWay(
                superseded_by=decision,
                about=[*dict.fromkeys(to["requirements"])] if to is not None and elsewhere else [],
                events=[row["position"], *([] if to is None else [to["position"]])],
            )

    before = (row["decision"] for row in evidence.made_on if roots_of(row["decision"]) & bare)
    named = dict.fromkeys([*([] if evidence.decision is None else [evidence.decision]), *before])
    return {name: [*chain(name)] for name in named if name in ways}


def _cited_settled(evidence: Evidence) -> Iterable[Cited]:
    """The events that say which decision holds on these requirements."""
    tells = ["holds", "holds_on", "undecided_on"]
    for row in evidence.given_way:
        yield Cited(
            position=row["position"],
            type=SUPERSEDED,
            subject=f"decision/{row['decision']}",
            tells=["superseded_by", *tells] if row["decision"] == evidence.decision else tells,
        )
    for row in evidence.made.values():
        if row["decision"] != evidence.decision:
            yield Cited(position=row["position"], type=MADE, subject=f"decision/{row['decision']}", tells=tells)


def _cited_title(row: asyncpg.Record) -> Cited:
    return Cited(
        position=row["position"],
        type=REWORDED if row["act"] else RAISED,
        subject=f"requirement/{row['requirement']}",
        tells=["requirements"],
    )


def _cited_merges(evidence: Evidence) -> Iterable[Cited]:
    """The merges that lead from the requirements that are named to what they count as."""
    merged = {row["requirement"]: row for row in evidence.merges}
    for name in evidence.requirements:
        here = merged.get(name)
        while here is not None:
            yield Cited(
                position=here["position"],
                type=MERGED,
                subject=f"requirement/{here['requirement']}",
                tells=["requirements"],
            )
            here = merged.get(here["merged_into"])


def _cited_adoption(judged: decisions.Evidence | None, taken: lenses.Decision | None) -> Iterable[Cited]:
    """The adoption of what was in force for the deciders."""
    if judged is None or taken is None:
        return
    adopted = [
        (row["in_force_from"], row["position"])
        for row in judged.knowledge.adoptions
        if row["in_force_from"] <= taken.valid_from and row["position"] <= taken.cut
    ]
    if adopted:
        tells = ["agreement", "revision", "evidence"]
        yield Cited(position=max(adopted)[1], type=ADOPTED, subject=f"agreement/{TARGET_MARKET}", tells=tells)


def _last_words(
    rows: Sequence[asyncpg.Record],
    whose: Callable[[asyncpg.Record], Hashable],
    lineage: Resolution,
    position: int,
    taken: lenses.Decision | None,
) -> list[asyncpg.Record]:
    """Of each side on each requirement its last word, and the last one that the deciders can have known.

    In the order of requirement and team, not of who was louder or longer.
    """

    def key(row: asyncpg.Record) -> tuple[str, Any]:
        return lineage.root(row["requirement"], position), whose(row)

    said = [(key(row), row) for row in rows]
    last = [row for row, _ in last_words(said)]
    last += [row for row, _ in last_words(each for each in said if _known(each[1], taken))]
    chosen = {row["position"]: row for row in last}
    return sorted(chosen.values(), key=lambda row: (key(row), row["position"]))


def _known(row: asyncpg.Record, taken: lenses.Decision | None) -> bool | None:
    """Whether the deciders can have known it; None: nothing was decided."""
    if taken is None:
        return None
    at: datetime = row["valid_from"]
    return bool(row["position"] <= taken.cut and at <= taken.valid_from)


def _assessment(row: asyncpg.Record, taken: lenses.Decision | None) -> AssessmentTold:
    return AssessmentTold(
        **_said(row, taken),
        by=Role(role=row["by_role"], team=row["by_team"]),
        feasibility=row["feasibility"],
        effort=None if row["effort"] is None else msgspec.json.decode(row["effort"], type=Effort),
        risks=msgspec.json.decode(row["risks"]),
        plain=row["plain"],
    )


def _perspective(row: asyncpg.Record, taken: lenses.Decision | None) -> PerspectiveTold:
    return PerspectiveTold(
        **_said(row, taken),
        decision=row["decision"],
        team=row["team"],
        by=Role(role=row["by_role"], team=row["by_team"]),
        statement=row["statement"],
    )


def _said(row: asyncpg.Record, taken: lenses.Decision | None) -> dict[str, Any]:
    return {
        "requirement": row["requirement"],
        "position": row["position"],
        "time": format_time(row["time"]),
        "recordedtime": format_time(row["recorded_at"]),
        "known": _known(row, taken),
    }
