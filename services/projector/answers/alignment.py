"""Alignment: for whom demand comes, how it was answered, and which opportunity the target market might be missing.

Of a period, as a whole: no team and no person is compared with another.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import asyncpg
from msgspec import Struct

from schemas.criteria import Test
from schemas.times import format_time
from services.projector import clusters, lenses, revenue
from services.projector.answers.decisions import (
    Grounds,
    Outcome,
    asked_of,
    decision_of,
    departures,
    read_every_made,
)
from services.projector.answers.evidence import (
    KnowledgeRead,
    accounts_in,
    asks_by_requirement,
    read_ask_rows,
    read_knowledge,
    read_lineage,
    read_live_asks,
    read_revenue,
    revenue_by_account,
    settle,
)
from services.projector.answers.promises import read_promise_days
from services.projector.answers.snapshot import AsOf, Snapshot
from services.projector.clusters import CLUSTERS_MAX, Cluster, Known, Settling, days_between, quartiles
from services.projector.fit import Class, shown
from services.projector.lenses import Ask, Asker, Departs, Knowledge, class_of, count_by_class
from services.projector.period import Period
from services.projector.promises import QuarterEnd, counted, quarter_end, settles
from services.projector.revenue import CLASS_NAMES, Money, Revenue
from services.statements import Statements

READS = ("accounts", "opportunities", "requirements", "agreements", "decisions", "promises", "retractions")

_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_GROUNDS: tuple[Grounds, ...] = get_args(Grounds)

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class PeriodShown(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What the answer is about: from then on, and before then. Null: without an end on that side."""

    from_: str | None
    to: str | None


class ShareOfRevenue(Struct, frozen=True, kw_only=True):
    """Of what asking accounts are worth in one currency, contracted and pipeline together, the share of each class."""

    currency: str
    shares: dict[str, float]


class Heard(Struct, frozen=True, kw_only=True):
    """Asks and the accounts that made them, by class under one lens. Each account counts once, by the ask that gives
    it its voice. Shares are rounded half-even to six places; without any ask there are none."""

    asks: dict[Class, int]
    ask_shares: dict[Class, float] | None
    accounts: dict[Class, int]
    revenue: dict[str, list[Money]]
    revenue_shares: list[ShareOfRevenue]


class HeardInMonth(Struct, frozen=True, kw_only=True):
    month: str
    as_asked: Heard
    as_now: Heard


class AllHeard(Struct, frozen=True, kw_only=True):
    """The asks that stand and were first made in the period, and the same month by month."""

    as_asked: Heard
    as_now: Heard
    months: list[HeardInMonth]


class Waited(Struct, frozen=True, kw_only=True):
    """How long so many requirements waited, in days of 24 hours; null of none. A quartile that falls between two is in
    proportion between them."""

    requirements: int
    lower_quartile_days: float | None
    median_days: float | None
    upper_quartile_days: float | None


class FirstToDecision(Struct, frozen=True, kw_only=True):
    """From the first ask for a requirement to the first decision that settled it: to commit, decline or defer."""

    decided: Waited
    undecided: Waited
    before_asked: int


class DepartedOnGrounds(Struct, frozen=True, kw_only=True):
    """Decisions to commit on the same grounds, by whether they depart from the agreement."""

    grounds: Grounds
    departs: dict[Departs, int]
    nobody_asked: int


class DecidedInPeriod(Struct, frozen=True, kw_only=True):
    made: int
    outcomes: dict[Outcome, int]
    commitments: list[DepartedOnGrounds]


class RequirementOfCluster(Struct, frozen=True, kw_only=True):
    """A requirement that accounts of a cluster ask for, and how many of them do."""

    requirement: str
    title: str | None
    accounts: int


class ClusterShown(Struct, frozen=True, kw_only=True):
    """Something that off-target askers share far above its base rate: `askers` of the `askers_known` of whom the
    attribute is known, against `accounts` of `accounts_known` of all."""

    attribute: str
    value: Any
    above: int | float | None
    upto: int | float | None
    test: Test
    askers: int
    askers_known: int
    accounts: int
    accounts_known: int
    expected: float
    lift: float
    lift_exact: str
    revenue: list[Money]
    requirements: list[RequirementOfCluster]


class OffTarget(Struct, frozen=True, kw_only=True):
    """The off-target demand, and where it comes together: clusters of at least `askers_min` accounts with a lift of at
    least `lift_min`, those first that are most beyond the base rate."""

    askers: int
    revenue: list[Money]
    askers_min: int
    lift_min: int
    total: int
    clusters: list[ClusterShown]


class SettledBy(Struct, frozen=True, kw_only=True):
    """An attribute that undetermined accounts wait for; `alone`: those that wait for nothing else."""

    attribute: str
    accounts: int
    revenue: list[Money]
    alone: int
    alone_revenue: list[Money]


class Undetermined(Struct, frozen=True, kw_only=True):
    askers: int
    revenue: list[Money]
    settled_by: list[SettledBy]


class Alignment(Struct, frozen=True, kw_only=True):
    """How what customers ask for, what was decided and what was promised stand to the target market in a period."""

    as_of: AsOf
    period: PeriodShown
    revision: str | None
    asked: AllHeard
    first_to_decision: FirstToDecision
    decisions: DecidedInPeriod
    off_target: OffTarget
    undetermined: Undetermined
    promises: QuarterEnd


class Evidence(Struct, frozen=True, kw_only=True):
    """What the answer is made from, as it was read at one position."""

    as_of: AsOf
    now: datetime | None
    live: list[asyncpg.Record]
    first_asks: list[asyncpg.Record]
    known: list[asyncpg.Record]
    titles: list[asyncpg.Record]
    revenues: list[asyncpg.Record]
    made: list[asyncpg.Record]
    ask_rows: list[asyncpg.Record]
    """All that was said about asks of what the decisions of the period commit to."""
    promised: list[tuple[datetime, date]]
    knowledge: KnowledgeRead


async def read_alignment(snapshot: Snapshot, period: Period) -> Evidence:
    position = snapshot.position
    lineage = await read_lineage(snapshot)
    moved = [(*recorded, place) for recorded, place in lineage.places(position).items()]
    named = await settle(lineage.accounts, position)
    live = await read_live_asks(snapshot, lineage)
    made = await read_every_made(snapshot)
    commits = asked_of(
        decision_of(row) for row in made if row["outcome"] == "commit" and period.holds(row["valid_from"])
    )
    ask_rows = await read_ask_rows(snapshot, lineage.related(commits))
    return Evidence(
        as_of=snapshot.as_of,
        now=snapshot.now,
        live=live,
        first_asks=await snapshot.fetch(
            _statements, "first_asks", position, *([each[column] for each in moved] for column in range(3))
        ),
        known=await snapshot.fetch(_statements, "known", position, [*named], [*named.values()]),
        titles=await snapshot.fetch(_statements, "titles", position),
        revenues=await read_revenue(snapshot),
        made=made,
        ask_rows=ask_rows,
        promised=await read_promise_days(snapshot),
        knowledge=await read_knowledge(snapshot, lineage, {row["account"] for row in live} | accounts_in(ask_rows)),
    )


def align(evidence: Evidence, period: Period) -> Alignment:
    """The answer about a period, as of the position of the evidence."""
    knowledge, position = evidence.knowledge.knowledge(), evidence.as_of.position
    now = evidence.now or datetime.min.replace(tzinfo=UTC)  # In the empty ledger nothing is judged by it.
    adoption = knowledge.in_force(now, position)
    revenues = revenue_by_account(evidence.revenues, knowledge.lineage.accounts, position)
    asks = [ask for ask in (Ask(*row) for row in evidence.live) if period.holds(ask.asked[0])]
    hearing = _Hearing(knowledge, now, position, revenues)
    askers = lenses.as_now(knowledge, asks, now, position)
    return Alignment(
        as_of=evidence.as_of,
        period=PeriodShown(from_=_time(period.since), to=_time(period.until)),
        revision=None if adoption is None else adoption.revision.name,
        asked=_all_heard(hearing, asks),
        first_to_decision=_first_to_decision(evidence, knowledge, period, now),
        decisions=_decided(evidence, knowledge, period),
        off_target=_off_target(evidence, asks, askers, revenues),
        undetermined=_undetermined(askers, revenues),
        promises=quarter_end([day for made, day in evidence.promised if period.holds(made)]),
    )


class _Hearing:
    """Asks by class, under one lens or another."""

    def __init__(self, knowledge: Knowledge, now: datetime, position: int, revenues: Mapping[str, Revenue]) -> None:
        self._knowledge, self._now, self._position, self._revenues = knowledge, now, position, revenues

    def as_asked(self, asks: Sequence[Ask]) -> Heard:
        judged = ((ask, ask.asked[0]) for ask in asks)
        return self._heard(judged, lenses.as_asked(self._knowledge, asks, self._position))

    def as_now(self, asks: Sequence[Ask]) -> Heard:
        judged = ((ask, self._now) for ask in asks)
        return self._heard(judged, lenses.as_now(self._knowledge, asks, self._now, self._position))

    def _heard(self, judged: Iterable[tuple[Ask, datetime]], askers: Sequence[Asker]) -> Heard:
        counts = count_by_class(
            class_of(self._knowledge.judge(ask.account or "", time, self._position, ask)) for ask, time in judged
        )
        earned = [(asker.class_, self._revenues.get(asker.account, {})) for asker in askers]
        found = clusters.shares(counts)
        return Heard(
            asks=counts,
            ask_shares=None if found is None else _shown(found),
            accounts=count_by_class(asker.class_ for asker in askers),
            revenue=revenue.by_class(earned),
            revenue_shares=_shares_of_revenue(earned),
        )


def _all_heard(hearing: _Hearing, asks: Sequence[Ask]) -> AllHeard:
    months: dict[str, list[Ask]] = {}
    for ask in asks:
        months.setdefault(f"{ask.asked[0].astimezone(UTC):%Y-%m}", []).append(ask)
    return AllHeard(
        as_asked=hearing.as_asked(asks),
        as_now=hearing.as_now(asks),
        months=[
            HeardInMonth(month=month, as_asked=hearing.as_asked(made), as_now=hearing.as_now(made))
            for month, made in sorted(months.items())
        ],
    )


def _shares_of_revenue(earned: Sequence[tuple[Class, Revenue]]) -> list[ShareOfRevenue]:
    counts: dict[str, dict[str, int]] = {}
    for class_, amounts in earned:
        for currency, each in amounts.items():
            of_currency = counts.setdefault(currency, dict.fromkeys(CLASS_NAMES.values(), 0))
            of_currency[CLASS_NAMES[class_]] += sum(each)
    found = ((currency, clusters.shares(each)) for currency, each in sorted(counts.items()))
    return [ShareOfRevenue(currency=currency, shares=_shown(each)) for currency, each in found if each is not None]


def _first_to_decision(evidence: Evidence, knowledge: Knowledge, period: Period, now: datetime) -> FirstToDecision:
    position, requirements = evidence.as_of.position, knowledge.lineage.requirements
    asked: dict[str, datetime] = {}
    for row in evidence.first_asks:
        root = requirements.root(row["requirement"], position)
        asked[root] = min(asked.get(root, row["asked"]), row["asked"])
    settled: dict[str, datetime] = {}
    for row in evidence.made:
        if settles(row["outcome"]):
            for name in row["requirements"]:
                root = requirements.root(name, position)
                settled[root] = min(settled.get(root, row["valid_from"]), row["valid_from"])

    in_period = {root: time for root, time in settled.items() if root in asked and period.holds(time)}
    standing = {row["requirement"] for row in evidence.live}
    end = now if period.until is None else min(now, period.until)
    waiting = [
        root
        for root, first in asked.items()
        if root in standing and not period.is_over(first) and (root not in settled or period.is_over(settled[root]))
    ]
    return FirstToDecision(
        decided=_waited(days_between(asked[root], time) for root, time in in_period.items() if asked[root] <= time),
        undecided=_waited(days_between(asked[root], end) for root in waiting),
        before_asked=sum(time < asked[root] for root, time in in_period.items()),
    )


def _waited(days: Iterable[Fraction]) -> Waited:
    found = [*days]
    lower, median, upper = quartiles(found) or (None, None, None)
    return Waited(
        requirements=len(found),
        lower_quartile_days=shown(lower),
        median_days=shown(median),
        upper_quartile_days=shown(upper),
    )


def _decided(evidence: Evidence, knowledge: Knowledge, period: Period) -> DecidedInPeriod:
    made = [row for row in evidence.made if period.holds(row["valid_from"])]
    departed = departures(knowledge, map(decision_of, made), asks_by_requirement(evidence.ask_rows))
    commits = [(row["grounds"], departed[row["position"]]) for row in made if row["outcome"] == "commit"]
    return DecidedInPeriod(
        made=len(made),
        outcomes=counted((row["outcome"] for row in made), _OUTCOMES),
        commitments=[
            DepartedOnGrounds(
                grounds=each,
                departs=counted(
                    (departs for grounds, departs in commits if grounds == each and departs), get_args(Departs)
                ),
                nobody_asked=sum(grounds == each and departs is None for grounds, departs in commits),
            )
            for each in _GROUNDS
        ],
    )


def _off_target(
    evidence: Evidence, asks: Sequence[Ask], askers: Sequence[Asker], revenues: Mapping[str, Revenue]
) -> OffTarget:
    accounts = {asker.account for asker in askers if asker.class_ == "off_target"}
    asked: dict[str, set[str]] = {}
    for ask in asks:
        asked.setdefault(ask.account or "", set()).add(ask.requirement)
    titles = {row["requirement"]: row["title"] for row in evidence.titles}
    found = clusters.clusters((Known(*row) for row in evidence.known), accounts)
    return OffTarget(
        askers=len(accounts),
        revenue=_worth(accounts, revenues),
        askers_min=clusters.ASKERS_MIN,
        lift_min=clusters.LIFT_MIN,
        total=len(found),
        clusters=[_show_cluster(each, asked, titles, revenues) for each in found[:CLUSTERS_MAX]],
    )


def _show_cluster(
    cluster: Cluster, asked: Mapping[str, set[str]], titles: Mapping[str, str], revenues: Mapping[str, Revenue]
) -> ClusterShown:
    lift = cluster.lift
    return ClusterShown(
        attribute=cluster.attribute,
        value=cluster.value,
        above=cluster.above,
        upto=cluster.upto,
        test=cluster.test,
        askers=len(cluster.members),
        askers_known=cluster.askers_known,
        accounts=cluster.accounts,
        accounts_known=cluster.accounts_known,
        expected=_number(cluster.expected),
        lift=_number(lift),
        lift_exact=f"{lift.numerator}/{lift.denominator}",
        revenue=_worth(cluster.members, revenues),
        requirements=[
            RequirementOfCluster(requirement=requirement, title=titles.get(requirement), accounts=accounts)
            for requirement, accounts in clusters.most_asked(asked, cluster.members)
        ],
    )


def _undetermined(askers: Sequence[Asker], revenues: Mapping[str, Revenue]) -> Undetermined:
    waiting = {
        asker.account: asker.judgement.fit.would_settle if asker.judgement else []
        for asker in askers
        if asker.class_ == "undetermined"
    }
    return Undetermined(
        askers=len(waiting),
        revenue=_worth(waiting, revenues),
        settled_by=[_show_settling(each, revenues) for each in clusters.settling(waiting)],
    )


def _show_settling(settling: Settling, revenues: Mapping[str, Revenue]) -> SettledBy:
    return SettledBy(
        attribute=settling.attribute,
        accounts=len(settling.waiting),
        revenue=_worth(settling.waiting, revenues),
        alone=len(settling.alone),
        alone_revenue=_worth(settling.alone, revenues),
    )


def _worth(accounts: Iterable[str], revenues: Mapping[str, Revenue]) -> list[Money]:
    return revenue.shown(revenue.total(revenues.get(account, {}) for account in accounts))


def _shown(shares: Mapping[Any, Fraction]) -> dict[Any, float]:
    return {name: _number(share) for name, share in shares.items()}


def _number(number: Fraction) -> float:
    return shown(number) or 0.0


def _time(time: datetime | None) -> str | None:
    return None if time is None else format_time(time)
