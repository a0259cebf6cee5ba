"""The rows that the cited events of an answer come to, and what the answer is judged from among them. Pure.

Rows are made by the folds of the projections. What is chosen among them is what `answers/requirement.py` and the
statements beside it read; `tests/integration/test_verifier.py` holds the two to each other by random histories.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from msgspec import UnsetType

from schemas.envelope import Recorded
from schemas.times import format_time
from services.projector.judgement import lenses
from services.projector.judgement.lenses import Ask, Asker, Fact
from services.projector.judgement.resolution import Claim, Lineage, Merge, Move, Resolution
from services.projector.projections import accounts, agreements, decisions, opportunities, requirements, retractions
from services.projector.projections.projection import Projection
from services.projector.shapes.shown import AsOf, Row
from services.projector.telling.decisions import asked_of, decision_of
from services.projector.telling.evidence import TARGET_MARKET, KnowledgeRead, revenue_by_account
from services.projector.telling.history import HISTORY_MAX
from services.projector.telling.requirement import Evidence, Judged, Shown, asks_of, names_asking
from services.projector.telling.sides import SidesRead
from services.projector.telling.since import SinceRead

READS = tuple(
    module.PROJECTION for module in (accounts, opportunities, requirements, agreements, decisions, retractions)
)

_TABLE = re.compile(r"^CREATE TABLE \{schema\}\.(\w+) \(.*\n((?: .*\n)+)\);", re.MULTILINE)
_COLUMN = re.compile(r"^ +([a-z_]+) ", re.MULTILINE)


class Stored(NamedTuple):
    """An event as it is stored, and what that says."""

    state: bytes
    recorded: Recorded


def columns(projection: Projection) -> dict[str, list[str]]:
    """The columns of each table of a projection, in their order, as its statement makes them."""
    return {table: _COLUMN.findall(body) for table, body in _TABLE.findall(projection.tables_sql + "\n")}


_columns = {table: names for projection in READS for table, names in columns(projection).items()}


class Rows:
    """The rows of these events, which are in the order of their positions, as known at the last position of an answer.

    Of an event that was taken back, `standing` has no row and `until` says where that was.
    """

    def __init__(self, cited: Sequence[Stored]) -> None:
        self.cited = cited
        self._tables: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for _, recorded in cited:
            for projection in READS:
                if recorded.type in projection.topics:
                    for table, values in projection.fold(recorded):
                        self._tables[table].append(dict(zip(_columns[table], values, strict=True)))
        self._retracted = {row["retracted"]: row for row in self._tables["retractions"]}

    def all(self, table: str) -> Sequence[Row]:
        return self._tables[table]

    def standing(self, table: str) -> Iterator[Row]:
        return (row for row in self._tables[table] if row["position"] not in self._retracted)

    def until(self, row: Row) -> int | None:
        retraction = self._retracted.get(row["position"])
        return None if retraction is None else retraction["position"]

    def retraction(self, position: int) -> Row | None:
        return self._retracted.get(position)


def lineage_of(rows: Rows) -> Lineage:
    """What stands for what."""
    moves: dict[str, list[Move]] = {}
    for row in rows.all("ask_moves"):
        move = Move(row["position"], row["valid_from"], row["requirement"], row["ask"], row["moved_to"])
        moves.setdefault(move.ask, []).append(move)
    return Lineage(
        accounts=Resolution(
            merges=_merges(rows.all("account_merges"), "account"),
            claims=(
                Claim(row["position"], row["valid_from"], row["account"], row["alias"], rows.until(row))
                for row in rows.all("account_aliases")
            ),
        ),
        requirements=Resolution(_merges(rows.all("requirement_merges"), "requirement")),
        moves=moves,
    )


def evidence_of(rows: Rows, requirement: str, position: int, now: datetime) -> Evidence:
    """What a requirement is judged from at a position, whose recorded time is `now`."""
    lineage = lineage_of(rows)
    counts = lineage.requirements.root(requirement, position) == requirement
    names = lineage.requirements.members(requirement, position) if counts else (requirement,)
    made = [row for row in rows.all("decisions_made") if not {*names}.isdisjoint(row["requirements"])]
    decided = {row["decision"] for row in made}
    reach = lineage.reach({requirement, *asked_of(decision_of(row) for row in made)})
    asks = [
        Ask(
            row["requirement"],
            row["ask"],
            row["account"],
            row["importance"] or 0,
            row["valid_from"],
            row["position"],
            rows.until(row),
        )
        for row in rows.all("asks")
        if row["requirement"] in reach.requirements or (row["requirement"], row["ask"]) in reach.asks
    ]
    live = lenses.live_asks(asks, now, position, lineage, [requirement]) if counts else []
    asking = {name for ask in live if ask.account for name in lineage.accounts.members(ask.account, position)}
    sold = [*_last_of(rows.standing("opportunity_rows"), "opportunity")]
    named = _named_by(rows, live)
    staked = [row for row in sold if row["opportunity"] in named or not {*names}.isdisjoint(row["requirements"])]
    return Evidence(
        requirement=requirement,
        as_of=AsOf(position, format_time(now)),
        now=now,
        said=_by_time(row for row in rows.standing("requirement_rows") if row["requirement"] == requirement),
        deliveries=_delivery(rows, requirement),
        made=made,
        sides=SidesRead(
            assessments=_by_time(row for row in rows.standing("assessments") if row["requirement"] in names),
            perspectives=_by_time(row for row in rows.standing("perspectives") if row["requirement"] in names),
        ),
        since=SinceRead(
            acknowledgements=[row for row in rows.all("decision_acknowledgements") if row["decision"] in decided],
            reaffirmations=[row for row in rows.all("decision_reaffirmations") if row["decision"] in decided],
            supersessions=[
                row
                for row in rows.all("decision_supersessions")
                if row["decision"] in decided or row["superseded_by"] in decided
            ],
        ),
        superseded=_chains(rows, decided),
        merges=[row for row in _last_merges(rows) if row["requirement"] in names],
        ask_rows=asks,
        live=live,
        at_stake=revenue_by_account(_revenue(staked, now.date()) if counts else [], lineage.accounts, position),
        revenues=revenue_by_account(
            _revenue([row for row in sold if row["account"] in asking], now.date()), lineage.accounts, position
        ),
        knowledge=KnowledgeRead(
            adoptions=[*_adoptions(rows)],
            facts=[
                Fact(
                    row["account"],
                    row["attribute"],
                    row["value"],
                    row["valid_from"],
                    row["position"],
                    rows.until(row),
                )
                for row in rows.all("account_facts")
            ],
            lineage=lineage,
        ),
    )


def shown_of(
    rows: Rows,
    judged: Judged,
    page: Sequence[Asker],
    quotes: Mapping[int, str | None],
    problem: str | UnsetType | None,
) -> Shown:
    """What an answer shows besides what is judged. The sealed texts are given: nobody can check those without keys."""
    by_position = {row["position"]: row for row in rows.all("asks")}
    shown = asks_of(judged, page)
    asks = []
    for ask in sorted(shown, key=lambda each: each.asked[1]):
        first = by_position[ask.asked[1]]
        told = {"first_position": first["position"], "first_time": first["time"]}
        asks.append({**by_position[ask.position], **told, "first_recorded_at": first["recorded_at"]})
    known_as = names_asking(judged.evidence, shown)
    return Shown(
        asks=asks,
        names=[*_last_of((row for row in rows.standing("account_names") if row["account"] in known_as), "account")],
        history=_history(rows, judged.evidence.requirement),
        quotes=quotes,
        problem=problem,
    )


def _merges(rows: Iterable[Row], kind: str) -> Iterator[Merge]:
    return (Merge(row["position"], row["valid_from"], row[kind], row["merged_into"]) for row in rows)


def _by_time(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=_said)


def _said(row: Row) -> tuple[datetime, int]:
    return row["valid_from"], row["position"]


def _last_of(rows: Iterable[Row], column: str) -> Iterable[Row]:
    """Of each value of a column, what was said last."""
    return {row[column]: row for row in _by_time(rows)}.values()


def _last_merges(rows: Rows) -> list[Row]:
    """The last merge of each requirement that is merged, by position."""
    last = {row["requirement"]: row for row in rows.all("requirement_merges")}
    return sorted(
        (row for row in last.values() if row["merged_into"] is not None), key=lambda row: int(row["position"])
    )


def _delivery(rows: Rows, requirement: str) -> list[Row]:
    said = _by_time(row for row in rows.standing("deliveries") if row["requirement"] == requirement)
    return [{**row, "delivery_position": row["position"], "delivery_time": row["time"]} for row in said[-1:]]


def _chains(rows: Rows, decided: Collection[str]) -> dict[str, str]:
    """What decisions have given way to, and that in its turn."""
    said = rows.all("decision_supersessions")
    reached, found = set[str](), {*decided}
    while found - reached:
        reached |= found
        found = {row["superseded_by"] for row in said if row["decision"] in reached}
    return {row["decision"]: row["superseded_by"] for row in said if row["decision"] in reached}


def _adoptions(rows: Rows) -> Iterator[Row]:
    """Each adoption of the target market, with what the revision said that it adopted."""
    for adopted in rows.all("agreement_adoptions"):
        if adopted["agreement"] == TARGET_MARKET:
            revised = [
                row
                for row in rows.all("agreement_revisions")
                if (row["agreement"], row["revision"]) == (TARGET_MARKET, adopted["revision"])
                if row["position"] <= adopted["position"]
            ]
            yield {**revised[-1], "position": adopted["position"], "in_force_from": adopted["in_force_from"]}


def _named_by(rows: Rows, live: Iterable[Ask]) -> set[str]:
    """The opportunities that these asks name."""
    positions = {ask.position for ask in live}
    return {row["opportunity"] for row in rows.all("asks") if row["position"] in positions and row["opportunity"]}


def _revenue(sold: Iterable[Row], today: date) -> list[Row]:
    """By account and currency: won opportunities that have not ended, and open ones."""
    sums: dict[tuple[str, str], dict[str, Decimal]] = {}
    for row in sold:
        has_ended = row["ends"] is not None and row["ends"] < today
        if row["amount"] is None or row["stage"] == "lost" or (row["stage"] == "won" and has_ended):
            continue
        amounts = sums.setdefault((row["account"], row["currency"]), {"won": Decimal(0), "open": Decimal(0)})
        amounts[row["stage"]] += row["amount"]
    return [
        {"account": account, "currency": currency, "contracted": amounts["won"], "pipeline": amounts["open"]}
        for (account, currency), amounts in sums.items()
    ]


def _history(rows: Rows, requirement: str) -> list[Row]:
    """The last events about a requirement, one more than is shown: those of its stream, what was merged into it, told
    apart from it or moved to it, and proposals and decisions that name it."""
    merged = {row["requirement"] for row in rows.all("requirement_merges") if row["merged_into"] == requirement}
    about = {row["position"] for row in rows.all("decision_requirements") if row["requirement"] == requirement}
    about |= {row["position"] for row in rows.all("decision_proposals") if requirement in row["requirements"]}
    about |= {row["position"] for row in rows.all("ask_moves") if row["moved_to"] == requirement}
    about |= {
        row["position"]
        for row in rows.all("requirement_merges")
        if row["requirement"] in merged and row["merged_into"] in (requirement, None)
    }
    subject = f"requirement/{requirement}"
    found = [each for each in rows.cited if each.recorded.subject == subject or each.recorded.position in about]
    shown: list[Row] = []
    for state, recorded in found[-HISTORY_MAX - 1 :]:
        retraction = rows.retraction(recorded.position) or {"position": None, "recorded_at": None}
        taken_back = {"retracted_at": retraction["position"], "retraction_recorded_at": retraction["recorded_at"]}
        shown.append({"state": state, **taken_back})
    return shown
