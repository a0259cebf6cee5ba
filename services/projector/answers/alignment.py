"""Alignment: for whom demand comes, how it was answered, and which opportunity the target market might be missing.

Of a period, as a whole: no team and no person is compared with another.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import asyncpg
import msgspec
import numpy as np
from msgspec import Struct

from schemas.criteria import Test
from schemas.times import format_time
from schemas.values import YEAR_MIN
from services.projector.answers.evidence import read_lineage
from services.projector.answers.held import Known, Remembered
from services.projector.answers.promises import read_promise_times
from services.projector.answers.snapshot import Snapshot
from services.projector.counting import clusters
from services.projector.counting.clusters import CLUSTERS_MAX, Cluster, Settling
from services.projector.counting.columns import Column
from services.projector.counting.counted import Counted
from services.projector.counting.demand import (
    Demand,
    Judged,
    Made,
    demand,
    most_asked,
    requirements_asked,
    shared,
    waiting,
)
from services.projector.counting.headings import Headings
from services.projector.counting.headings import Made as MadeDecision
from services.projector.counting.worth import money
from services.projector.judgement import revenue
from services.projector.judgement.figures import counted, days_between, quartiles, shares
from services.projector.judgement.fit import CLASSES, Class, shown
from services.projector.judgement.lenses import Departs
from services.projector.judgement.period import Period
from services.projector.judgement.promises import QuarterEnd, quarter_end, settles
from services.projector.judgement.revenue import CLASS_NAMES, Money, Revenue
from services.projector.shapes.decision import Grounds, Outcome
from services.projector.shapes.shown import AsOf
from services.statements import Statements

READS = ("accounts", "opportunities", "requirements", "agreements", "decisions", "promises", "retractions")

_OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
_GROUNDS: tuple[Grounds, ...] = get_args(Grounds)

_counted = Counted.nothing()
_headings = Headings.nothing(_counted.requirements)
_NOTHING = Known(0, datetime(YEAR_MIN, 1, 1, tzinfo=UTC), _counted, _headings, Remembered(_counted, _headings))
_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class PeriodShown(Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """What the answer is about: from then on, and before then. Null: without an end on that side."""

    from_: str | None
    to: str | None


class ShareOfRevenue(Struct, frozen=True, kw_only=True):
    """Of what asking accounts are worth in one currency, contracted and pipeline together, the share of each class;
    null where that is nothing, or less than nothing of one class."""

    currency: str
    shares: dict[str, float] | None


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
    """What the answer is made from besides what is held in memory, as it was read at one position."""

    as_of: AsOf
    first_asks: list[asyncpg.Record]
    promised: list[datetime]

    @property
    def rows(self) -> int:
        return len(self.first_asks) + len(self.promised)


async def read_alignment(snapshot: Snapshot) -> Evidence:
    position = snapshot.position
    lineage = await read_lineage(snapshot, accounts=())
    moved = [(*recorded, place) for recorded, place in lineage.places(position).items()]
    return Evidence(
        as_of=snapshot.as_of,
        first_asks=await snapshot.fetch(
            _statements, "first_asks", position, *([each[column] for each in moved] for column in range(3))
        ),
        promised=await read_promise_times(snapshot),
    )


def align(evidence: Evidence, known: Known | None, period: Period) -> Alignment:
    """The answer about a period. Of the empty ledger nothing is held."""
    known = _NOTHING if known is None else known
    judged = Judged.within(known.counted, known.position, known.now, period)
    asked = demand(judged)
    revision = judged.revision()
    return Alignment(
        as_of=evidence.as_of,
        period=PeriodShown(from_=_time(period.since), to=_time(period.until)),
        revision=None if revision is None else revision.name,
        asked=_show_demand(judged, asked),
        first_to_decision=_first_to_decision(evidence, known, period),
        decisions=_decided(known, period),
        off_target=_off_target(judged, known, asked.off_target),
        undetermined=_undetermined(judged, asked.undetermined),
        promises=quarter_end([time.astimezone(UTC).date() for time in evidence.promised if period.holds(time)]),
    )


def _show_demand(judged: Judged, asked: Demand) -> AllHeard:
    return AllHeard(
        as_asked=_heard(judged, asked.as_asked),
        as_now=_heard(judged, asked.as_now),
        months=[
            HeardInMonth(month=each.month, as_asked=_heard(judged, each.as_asked), as_now=_heard(judged, each.as_now))
            for each in asked.months
        ],
    )


def _heard(judged: Judged, made: Made) -> Heard:
    asks: dict[Class, int] = dict(zip(CLASSES, made.asks.tolist(), strict=True))
    earned = {
        class_: money(judged.counted.currencies, amounts) for class_, amounts in zip(CLASSES, made.revenue, strict=True)
    }
    found = shares(asks)
    return Heard(
        asks=asks,
        ask_shares=None if found is None else _shown(found),
        accounts=dict(zip(CLASSES, made.accounts.tolist(), strict=True)),
        revenue=revenue.by_class(earned.items()),
        revenue_shares=_shares_of_revenue(earned),
    )


def _shares_of_revenue(earned: Mapping[Class, Revenue]) -> list[ShareOfRevenue]:
    counts: dict[str, dict[str, int]] = {}
    for class_, amounts in earned.items():
        for currency, each in amounts.items():
            of_currency = counts.setdefault(currency, dict.fromkeys(CLASS_NAMES.values(), 0))
            of_currency[CLASS_NAMES[class_]] += sum(each)
    found = ((currency, shares(each)) for currency, each in sorted(counts.items()))
    return [
        ShareOfRevenue(currency=currency, shares=None if each is None else _shown(each)) for currency, each in found
    ]


def _first_to_decision(evidence: Evidence, known: Known, period: Period) -> FirstToDecision:
    position, requirements = known.position, known.counted.lineage.requirements
    asked: dict[str, datetime] = {}
    for row in evidence.first_asks:
        root = requirements.root(row["requirement"], position)
        asked[root] = min(asked.get(root, row["asked"]), row["asked"])
    settled: dict[str, datetime] = {}
    for made in _made_by(known):
        if settles(made.outcome):
            for name in made.requirements:
                root = requirements.root(name, position)
                settled[root] = min(settled.get(root, made.valid_from), made.valid_from)

    in_period = {root: time for root, time in settled.items() if root in asked and period.holds(time)}
    standing = requirements_asked(known.counted, position)
    end = known.now if period.until is None else min(known.now, period.until)
    waiting_still = [
        root
        for root, first in asked.items()
        if root in standing and not period.is_over(first) and (root not in settled or period.is_over(settled[root]))
    ]
    return FirstToDecision(
        decided=_waited(days_between(asked[root], time) for root, time in in_period.items() if asked[root] <= time),
        undecided=_waited(days_between(asked[root], end) for root in waiting_still),
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


def _decided(known: Known, period: Period) -> DecidedInPeriod:
    made = [each for each in _made_by(known) if period.holds(each.valid_from)]
    commits = [(each.grounds, known.departs(each)) for each in made if each.outcome == "commit"]
    return DecidedInPeriod(
        made=len(made),
        outcomes=counted((msgspec.convert(each.outcome, Outcome) for each in made), _OUTCOMES),
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


def _made_by(known: Known) -> list[MadeDecision]:
    """The made decisions; of one that was made anew, the last."""
    last = {each.decision: each for each in known.headings.made.values() if each.position <= known.position}
    return [*last.values()]


def _off_target(judged: Judged, known: Known, accounts: Column) -> OffTarget:
    found = clusters.clusters(shared(judged, accounts))
    titles = _titles(known) if found else {}
    return OffTarget(
        askers=len(accounts),
        revenue=revenue.shown(judged.revenue_of(accounts)),
        askers_min=clusters.ASKERS_MIN,
        lift_min=clusters.LIFT_MIN,
        total=len(found),
        clusters=[_show_cluster(judged, each, titles) for each in found[:CLUSTERS_MAX]],
    )


def _titles(known: Known) -> dict[str, str]:
    """Requirement → what it is called."""
    codes = known.headings.at(known.position, np.zeros(known.counted.width, bool))
    found = known.headings.of(codes, known.position)
    return {each.requirement: each.title for each in found if each.title is not None}


def _show_cluster(judged: Judged, cluster: Cluster, titles: Mapping[str, str]) -> ClusterShown:
    lift, members = cluster.lift, judged.codes(cluster.members)
    return ClusterShown(
        attribute=cluster.attribute,
        value=cluster.value,
        above=cluster.above,
        upto=cluster.upto,
        test=cluster.test,
        askers=len(members),
        askers_known=cluster.askers_known,
        accounts=cluster.accounts,
        accounts_known=cluster.accounts_known,
        expected=_number(cluster.expected),
        lift=_number(lift),
        lift_exact=f"{lift.numerator}/{lift.denominator}",
        revenue=revenue.shown(judged.revenue_of(members)),
        requirements=[
            RequirementOfCluster(requirement=requirement, title=titles.get(requirement), accounts=accounts)
            for requirement, accounts in most_asked(judged, members)
        ],
    )


def _undetermined(judged: Judged, accounts: Column) -> Undetermined:
    return Undetermined(
        askers=len(accounts),
        revenue=revenue.shown(judged.revenue_of(accounts)),
        settled_by=[_show_settling(judged, each) for each in clusters.settling(waiting(judged, accounts))],
    )


def _show_settling(judged: Judged, settling: Settling) -> SettledBy:
    return SettledBy(
        attribute=settling.attribute,
        accounts=len(settling.waiting),
        revenue=revenue.shown(judged.revenue_of(judged.codes(settling.waiting))),
        alone=len(settling.alone),
        alone_revenue=revenue.shown(judged.revenue_of(judged.codes(settling.alone))),
    )


def _shown(shares: Mapping[Any, Fraction]) -> dict[Any, float]:
    return {name: _number(share) for name, share in shares.items()}


def _number(number: Fraction) -> float:
    return shown(number) or 0.0


def _time(time: datetime | None) -> str | None:
    return None if time is None else format_time(time)
