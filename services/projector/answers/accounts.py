"""The accounts: how on-target each is now, what is known of it and since when, what it asks for, its revenue."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from msgspec import UNSET, Struct

from schemas.times import format_time
from services.postgres import Statements
from services.problems import Problem
from services.projector import lenses, revenue
from services.projector.answers.evidence import (
    KnowledgeRead,
    names_by_account,
    read_knowledge,
    read_live_asks,
    read_names,
    read_revenue,
    revenue_by_account,
)
from services.projector.answers.requirement import AskShown, show_ask
from services.projector.answers.sealed import Opener, read_sealed
from services.projector.answers.shown import FitShown, RevisionShown, show_fit, show_revisions
from services.projector.answers.snapshot import AsOf, Snapshot
from services.projector.fit import CLASSES, Class, shown
from services.projector.lenses import Judgement, count_by_class
from services.projector.revenue import Money, Revenue

READS = ("accounts", "opportunities", "requirements", "agreements")

FACTS_MAX = 1_000
"""Facts that an answer about one account shows: those recorded last."""

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class AccountRow(Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """An account in a list. `asks` is how many of its asks stand."""

    account: str
    name: str | None
    class_: Class
    revision: str | None
    fit: float | None
    fit_if_known: float | None
    would_settle: list[str]
    asks: int
    revenue: list[Money]


class Totals(Struct, frozen=True, kw_only=True):
    """Of all rows that the filters let through: accounts and revenue by class, and revenue overall."""

    accounts: dict[Class, int]
    revenue: dict[str, list[Money]]
    overall: list[Money]


class AccountList(Struct, frozen=True, kw_only=True):
    as_of: AsOf
    total: int
    totals: Totals
    accounts: list[AccountRow]


class ListedAccount(Struct, frozen=True, kw_only=True):
    """An account with what it is chosen and added up by."""

    account: str
    name: str | None
    judgement: Judgement | None
    asks: int
    revenue: Revenue

    @property
    def class_(self) -> Class:
        return lenses.class_of(self.judgement)

    @property
    def currencies(self) -> set[str]:
        return {*self.revenue}


class FactShown(Struct, frozen=True, kw_only=True):
    """What was said of one attribute: the time it is about, and when the ledger came to know it.

    It counts from `valid_from`, the earlier of both. A null value: unknown again.
    """

    attribute: str
    value: Any
    position: int
    time: str
    recordedtime: str
    valid_from: str


class AskOfAccount(AskShown, frozen=True, kw_only=True):
    """An ask of one account, with what it is for and how on-target the account was at its time."""

    requirement: str
    title: str | None
    as_asked: FitShown | None


class OneAccount(Struct, frozen=True, kw_only=True):
    account: str
    name: str | None
    as_of: AsOf
    profile: dict[str, Any]
    facts: list[FactShown]
    fit: FitShown | None
    asks: list[AskOfAccount]
    revenue: list[Money]
    revisions: dict[str, RevisionShown]


class Evidence(Struct, frozen=True, kw_only=True):
    """What the list of accounts is made from, as it was read at one position."""

    position: int
    now: datetime | None
    accounts: list[asyncpg.Record]
    names: list[asyncpg.Record]
    revenues: list[asyncpg.Record]
    asks: list[asyncpg.Record]
    knowledge: KnowledgeRead


async def read_accounts(snapshot: Snapshot) -> Evidence:
    return Evidence(
        position=snapshot.position,
        now=snapshot.now,
        accounts=await snapshot.fetch(_statements, "every_account", snapshot.position),
        names=await read_names(snapshot),
        revenues=await read_revenue(snapshot),
        asks=await read_live_asks(snapshot),
        knowledge=await read_knowledge(snapshot),
    )


def list_accounts(evidence: Evidence) -> list[ListedAccount]:
    """Every account, class by class, then by its id."""
    now = evidence.now
    if now is None:
        return []  # In the empty ledger nobody is mentioned.
    knowledge = evidence.knowledge.knowledge()
    names, revenues = names_by_account(evidence.names), revenue_by_account(evidence.revenues)
    asks = Counter(row["account"] for row in evidence.asks)
    rows = [
        ListedAccount(
            account=account,
            name=names.get(account),
            judgement=knowledge.judge(account, now, evidence.position),
            asks=asks[account],
            revenue=revenues.get(account, {}),
        )
        for account in sorted(row["account"] for row in evidence.accounts)
    ]
    return sorted(rows, key=lambda row: CLASSES.index(row.class_))


def totals(listed: Sequence[ListedAccount]) -> Totals:
    return Totals(
        accounts=count_by_class(each.class_ for each in listed),
        revenue=revenue.by_class((each.class_, each.revenue) for each in listed),
        overall=revenue.shown(revenue.total(each.revenue for each in listed)),
    )


def show_account(listed: ListedAccount) -> AccountRow:
    found = listed.judgement.fit if listed.judgement else None
    return AccountRow(
        account=listed.account,
        name=listed.name,
        class_=listed.class_,
        revision=found.revision.name if found else None,
        fit=shown(found.fit) if found else None,
        fit_if_known=shown(found.fit_if_known) if found else None,
        would_settle=found.would_settle if found else [],
        asks=listed.asks,
        revenue=revenue.shown(listed.revenue),
    )


async def read_account(snapshot: Snapshot, account: str, *, opener: Opener | None = None) -> Callable[[], OneAccount]:
    """What is known of one account, to be judged once the snapshot is closed.

    Raises Problem if it was never mentioned.
    """
    [known] = await snapshot.fetch(_statements, "is_known", snapshot.position, account)
    now, as_of = snapshot.now, snapshot.as_of
    if now is None or not known["known"]:
        raise Problem("not-found", f"there is no account {account!r} at position {snapshot.position}")

    names = names_by_account(await read_names(snapshot, [account]))
    revenues = revenue_by_account(await read_revenue(snapshot, [account]))
    profile = await snapshot.fetch(_statements, "profile", snapshot.position, account)
    facts = await snapshot.fetch(_statements, "facts", snapshot.position, account, FACTS_MAX)
    rows = await snapshot.fetch(_statements, "asks", snapshot.position, account)
    known_of = await read_knowledge(snapshot, [account])
    quoted: Iterable[int] = [row["position"] for row in rows if row["has_quote"]]
    quotes = {} if opener is None else await read_sealed(snapshot, quoted, "quote", opener)

    def judged_account() -> OneAccount:
        knowledge = known_of.knowledge()
        judgement = knowledge.judge(account, now, as_of.position)
        asks = [lenses.Ask(*(row[name] for name in lenses.Ask._fields)) for row in rows]
        judged = [knowledge.judge(account, ask.asked[0], as_of.position, ask) for ask in asks]
        return OneAccount(
            account=account,
            name=names.get(account),
            as_of=as_of,
            profile={row["attribute"]: msgspec.json.decode(row["value"]) for row in profile if row["value"] != "null"},
            facts=[
                FactShown(
                    attribute=row["attribute"],
                    value=msgspec.json.decode(row["value"]),
                    position=row["position"],
                    time=format_time(row["time"]),
                    recordedtime=format_time(row["recorded_at"]),
                    valid_from=format_time(row["valid_from"]),
                )
                for row in reversed(facts)
            ],
            fit=show_fit(judgement),
            asks=[
                AskOfAccount(
                    requirement=row["requirement"],
                    title=row["title"],
                    as_asked=show_fit(as_asked),
                    **msgspec.structs.asdict(show_ask(row, quotes.get(row["position"], UNSET))),
                )
                for row, as_asked in zip(rows, judged, strict=True)
            ],
            revenue=revenue.shown(revenues.get(account, {})),
            revisions=show_revisions(each.fit.revision for each in (judgement, *judged) if each),
        )

    return judged_account
