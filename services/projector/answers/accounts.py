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
from services.problems import Problem
from services.projector.answers.evidence import (
    read_accounts_lineage,
    read_asks,
    read_knowledge,
    read_lineage,
    read_live_asks,
    read_mentioned,
    read_names,
    read_requirements_lineage,
    read_revenue,
    read_revenue_of,
    read_titles,
)
from services.projector.answers.requirement import read_shown_asks
from services.projector.answers.sealed import Opener, read_sealed
from services.projector.answers.snapshot import Snapshot
from services.projector.judgement import lenses, revenue
from services.projector.judgement.fit import CLASSES, Class, shown
from services.projector.judgement.lenses import Judgement, count_by_class
from services.projector.judgement.revenue import Money, Revenue
from services.projector.shapes.shown import (
    AsOf,
    FitShown,
    MergeShown,
    RevisionShown,
    show_fit,
    show_merge,
    show_revisions,
)
from services.projector.telling.evidence import KnowledgeRead, names_by_account, revenue_by_account
from services.projector.telling.requirement import AskShown, show_ask
from services.statements import Statements

READS = ("accounts", "feedback", "opportunities", "requirements", "agreements", "retractions")

FACTS_MAX = 1_000
"""Facts that an answer about one account shows: those recorded last."""

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class AccountRow(Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """An account in a list. `aliases`: the other names that count for it. `asks` is how many of its asks stand."""

    account: str
    name: str | None
    aliases: list[str]
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
    aliases: Sequence[str]
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

    It counts from `valid_from`, the earlier of both. A null value: unknown again. `named`: the account, as it was
    named.
    """

    named: str
    attribute: str
    value: Any
    position: int
    time: str
    recordedtime: str
    valid_from: str


class AliasShown(Struct, frozen=True, kw_only=True):
    """An id of the account elsewhere, and who said so. One that is `contested` is claimed by others too (`claimed_by`
    names all), or was told apart by an act, and so it belongs to none of them: asks under that name count for an
    account of their own."""

    alias: str
    account: str
    position: int
    time: str
    recordedtime: str
    contested: bool
    claimed_by: list[str]


class MergedAccount(MergeShown, frozen=True, kw_only=True):
    """An account that was merged into another, which may have been merged in its turn."""

    account: str


class AskOfAccount(AskShown, frozen=True, kw_only=True):
    """An ask of one account, with what it is for and how on-target the account was at its time."""

    requirement: str
    title: str | None
    as_asked: FitShown | None


class OneAccount(Struct, frozen=True, kw_only=True):
    """An account under all its names. Asked for by another of them, the answer has the one that it counts as.

    `claimed_by`: where the name asked for is a contested alias, the accounts that claim it.
    """

    account: str
    name: str | None
    as_of: AsOf
    aliases: list[AliasShown]
    merged: list[MergedAccount]
    claimed_by: list[str]
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
    lineage = await read_lineage(snapshot)
    return Evidence(
        position=snapshot.position,
        now=snapshot.now,
        accounts=await read_mentioned(snapshot),
        names=await read_names(snapshot),
        revenues=await read_revenue(snapshot),
        asks=await read_live_asks(snapshot, lineage),
        knowledge=await read_knowledge(snapshot, lineage),
    )


def list_accounts(evidence: Evidence) -> list[ListedAccount]:
    """Every account, class by class, then by its id."""
    now, position = evidence.now, evidence.position
    if now is None:
        return []  # In the empty ledger nobody is mentioned.
    knowledge = evidence.knowledge.knowledge()
    known = knowledge.lineage.accounts
    names = names_by_account(evidence.names, known, position)
    revenues = revenue_by_account(evidence.revenues, known, position)
    asks = Counter(row["account"] for row in evidence.asks)
    rows = [
        ListedAccount(
            account=account,
            name=names.get(account),
            aliases=[name for name in known.members(account, position) if name != account],
            judgement=knowledge.judge(account, now, position),
            asks=asks[account],
            revenue=revenues.get(account, {}),
        )
        for account in sorted({known.root(row["account"], position) for row in evidence.accounts})
    ]
    return sorted(rows, key=lambda row: CLASSES.index(row.class_))


async def read_root(snapshot: Snapshot, alias: str) -> str:
    """The account that a name stands for. Raises Problem if it is claimed and stands for none of those."""
    accounts = await read_accounts_lineage(snapshot, [alias])
    if claimed_by := accounts.contested(alias, snapshot.position):
        raise _contested(alias, claimed_by)
    return accounts.root(alias, snapshot.position)


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
        aliases=[*listed.aliases],
        class_=listed.class_,
        revision=found.revision.name if found else None,
        fit=shown(found.fit) if found else None,
        fit_if_known=shown(found.fit_if_known) if found else None,
        would_settle=found.would_settle if found else [],
        asks=listed.asks,
        revenue=revenue.shown(listed.revenue),
    )


async def read_account(snapshot: Snapshot, name: str, *, opener: Opener | None = None) -> Callable[[], OneAccount]:
    """What is known of the account that a name stands for, to be judged once the snapshot is closed.

    Raises Problem if it was never mentioned, or only by several accounts that claim it.
    """
    position, now, as_of = snapshot.position, snapshot.now, snapshot.as_of
    known_as = await read_accounts_lineage(snapshot, [name])
    account, members = known_as.root(name, position), [*known_as.members(name, position)]
    [known] = await snapshot.fetch(_statements, "is_known", position, members)
    if not known["known"] and (claimed_by := known_as.contested(name, position)):
        raise _contested(name, claimed_by)
    if now is None or not known["known"]:
        raise Problem("not-found", f"there is no account {name!r} at position {position}")

    names = names_by_account(await read_names(snapshot, members), known_as, position)
    revenues = await read_revenue_of(snapshot, known_as, members)
    profile = await snapshot.fetch(_statements, "profile", position, members)
    facts = await snapshot.fetch(_statements, "facts", position, members, FACTS_MAX)
    aliases = await snapshot.fetch(_statements, "aliases", position, members)
    merges = await snapshot.fetch(_statements, "merges", position, members)

    asked = [(row["requirement"], row["ask"]) for row in await snapshot.fetch(_statements, "asked", position, members)]
    requirements, ids = {requirement for requirement, _ in asked}, {ask for _, ask in asked}
    lineage = await read_requirements_lineage(snapshot, requirements, ids)
    lineage = msgspec.structs.replace(lineage, accounts=known_as)
    ask_rows = await read_asks(snapshot, lineage.reach_of(asked))
    live = lenses.live_asks((lenses.Ask(*row) for row in ask_rows), now, position, lineage)
    asks = sorted((ask for ask in live if ask.account == account), key=lambda ask: ask.asked[1])
    shown_asks = {row["position"]: row for row in await read_shown_asks(snapshot, asks)}
    wanted = sorted({ask.requirement for ask in asks})
    titles = await read_titles(snapshot, wanted)
    known_of = await read_knowledge(snapshot, lineage, [account])
    quoted: Iterable[int] = [row["position"] for row in shown_asks.values() if row["has_quote"]]
    quotes = {} if opener is None else await read_sealed(snapshot, quoted, "quote", opener)

    def judged_account() -> OneAccount:
        knowledge = known_of.knowledge()
        judgement = knowledge.judge(account, now, position)
        judged = [knowledge.judge(account, ask.asked[0], position, ask) for ask in asks]
        return OneAccount(
            account=account,
            name=names.get(account),
            as_of=as_of,
            aliases=[_show_alias(row, known_as.contested(row["alias"], position)) for row in aliases],
            merged=[_show_merged(row) for row in merges],
            claimed_by=[*known_as.contested(name, position)],
            profile={row["attribute"]: msgspec.json.decode(row["value"]) for row in profile if row["value"] != "null"},
            facts=[
                FactShown(
                    named=row["account"],
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
                    requirement=ask.requirement,
                    title=titles.get(ask.requirement),
                    as_asked=show_fit(as_asked),
                    **msgspec.structs.asdict(show_ask(shown_asks[ask.position], quotes.get(ask.position, UNSET))),
                )
                for ask, as_asked in zip(asks, judged, strict=True)
            ],
            revenue=revenue.shown(revenues.get(account, {})),
            revisions=show_revisions(each.fit.revision for each in (judgement, *judged) if each),
        )

    return judged_account


def _contested(alias: str, claimed_by: Sequence[str]) -> Problem:
    detail = f"{alias} is claimed by {', '.join(claimed_by)}, and counts for none of them"
    return Problem("alias-contested", detail, alias=alias, claimed_by=[*claimed_by])


def _show_alias(row: asyncpg.Record, claimed_by: Sequence[str]) -> AliasShown:
    return AliasShown(
        alias=row["alias"],
        account=row["account"],
        position=row["position"],
        time=format_time(row["time"]),
        recordedtime=format_time(row["recorded_at"]),
        contested=bool(claimed_by),
        claimed_by=[*claimed_by],
    )


def _show_merged(row: asyncpg.Record) -> MergedAccount:
    return MergedAccount(account=row["account"], **show_merge(row))
