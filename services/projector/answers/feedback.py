"""The inbox: what customers said that no ask refers to yet, with whose it is, and what it may be about."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

import asyncpg
import msgspec
from msgspec import UNSET, Struct, UnsetType

from schemas.times import format_time
from services.projector.answers.evidence import (
    read_accounts_lineage,
    read_knowledge,
    read_lineage,
    read_live_asks,
    read_names,
    read_revenue_of,
)
from services.projector.answers.requirements import read_statuses
from services.projector.answers.sealed import Opener, read_sealed
from services.projector.answers.similarity import read_alike, read_words_shared
from services.projector.answers.snapshot import Snapshot
from services.projector.judgement import lenses, revenue
from services.projector.judgement.fit import Class, folded
from services.projector.judgement.resolution import Lineage
from services.projector.judgement.revenue import Money, Revenue
from services.projector.shapes.shown import AsOf, FitShown, RevisionShown, Status, show_fit, show_revisions
from services.projector.telling.evidence import KnowledgeRead, names_by_account
from services.statements import Statements

READS = ("feedback", "accounts", "opportunities", "requirements", "agreements", "decisions", "retractions")

SUGGESTED_MAX = 3
SUGGESTED_SCORE_MIN = 0.25  # Below it, texts of ten words have one in common by chance.
SUGGESTED_COMPARED_MAX = 30
SUGGESTED_WORDS_MAX = 25
"""Different words of a text that suggestions come from: the first. A title has fewer."""

SUGGESTED_ROWS_MAX = 50
"""Rows of a page with suggestions: each is compared with the titles of all requirements."""

_statements = Statements.load(Path(__file__).with_suffix(".sql"))


class Suggested(Struct, frozen=True, kw_only=True):
    """A requirement that feedback may be about: its title is like what was said, by `score` and `words`."""

    requirement: str
    title: str
    status: Status
    score: float
    words: list[str]


class FeedbackRow(Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """Something that a customer said. `named` is the account as the event names it, `account` what that stands for.

    `fit` is as of now. `text` and `suggested`, which comes from it, are absent without the scope personal; the text is
    null once it was erased. The event at `position` says who said it; a list names no persons.
    """

    feedback: str
    position: int
    time: str
    recordedtime: str
    account: str | None
    named: str | None
    name: str | None
    channel: str | None
    url: str | None
    labels: dict[str, str]
    text: str | UnsetType | None = UNSET
    class_: Class | None
    fit: FitShown | None
    revenue: list[Money]
    suggested: list[Suggested] | UnsetType = UNSET


class FeedbackList(Struct, frozen=True, kw_only=True):
    """`revisions`: what the fits are judged by."""

    as_of: AsOf
    total: int
    feedback: list[FeedbackRow]
    revisions: dict[str, RevisionShown]


class FeedbackLine(Struct, frozen=True, kw_only=True, rename={"class_": "class"}):
    """A row of the inbox as a line of CSV. It names no person."""

    feedback: str
    position: int
    time: str
    recordedtime: str
    account: str | None
    named: str | None
    name: str | None
    channel: str | None
    url: str | None
    labels: list[str]
    text: str | None
    class_: Class | None
    revision: str | None
    fit: float | None
    fit_if_known: float | None
    would_settle: list[str]
    revenue: list[Money]
    suggested: list[str]


class Filters(Struct, frozen=True, kw_only=True):
    """What is wanted of the inbox, which is without what asks have `taken_up`. `accounts`: those of these names,
    whichever of them an event has."""

    taken_up: Sequence[str]
    accounts: Sequence[str] | None = None
    channel: str | None = None


class Inbox(Struct, frozen=True, kw_only=True):
    """A page of the inbox, as it was read."""

    as_of: AsOf
    now: datetime | None
    total: int
    rows: list[asyncpg.Record]
    knowledge: KnowledgeRead
    names: list[asyncpg.Record]
    revenues: Mapping[str, Revenue]
    """Account → its revenue."""
    texts: Mapping[int, str | None] | None
    suggested: list[list[Suggested]]


class Named(Struct, frozen=True, kw_only=True):
    """The names of accounts that any feedback has, as they were read."""

    position: int
    now: datetime | None
    names: list[str]
    knowledge: KnowledgeRead


async def read_taken_up(snapshot: Snapshot) -> list[str]:
    """The ids of the feedback that asks which stand refer to."""
    live = await read_live_asks(snapshot, await read_lineage(snapshot), about_feedback=True)
    rows = await snapshot.fetch(_statements, "taken_up", [row["position"] for row in live])
    return [row["feedback"] for row in rows]


async def read_named(snapshot: Snapshot) -> Named:
    named = sorted(row["account"] for row in await snapshot.fetch(_statements, "accounts", snapshot.position))
    lineage = Lineage(accounts=await read_accounts_lineage(snapshot, named))
    return Named(
        position=snapshot.position,
        now=snapshot.now,
        names=named,
        knowledge=await read_knowledge(snapshot, lineage, named),
    )


def names_by_class(named: Named) -> list[tuple[str, Class]]:
    """Each name of an account, and the class of that account now."""
    knowledge, position, now = named.knowledge.knowledge(), named.position, named.now
    if now is None:
        return []  # In the empty ledger nobody is named.
    roots = ((name, knowledge.lineage.accounts.root(name, position)) for name in named.names)
    return [(name, lenses.class_of(knowledge.judge(account, now, position))) for name, account in roots]


async def read_names_of(snapshot: Snapshot, account: str) -> list[str]:
    """Every name of the account that a name stands for."""
    return [*(await read_accounts_lineage(snapshot, [account])).members(account, snapshot.position)]


async def read_inbox(
    snapshot: Snapshot, filters: Filters, *, after: int, limit: int, opener: Opener | None = None
) -> Inbox:
    """Rows of the inbox, the newest first. `opener` opens what was said. Raises MasterKeyError."""
    total, rows = await _read_page(snapshot, filters, after, limit)
    named = sorted({row["account"] for row in rows} - {None})
    lineage = Lineage(accounts=await read_accounts_lineage(snapshot, named))
    everyone = sorted(lineage.accounts.related(named))
    texts, suggested = None, []
    if opener is not None:
        texts = await read_sealed(snapshot, [row["position"] for row in rows], "text", opener)
        suggested = await _suggest(snapshot, [texts[row["position"]] or "" for row in rows])
    return Inbox(
        as_of=snapshot.as_of,
        now=snapshot.now,
        total=total,
        rows=rows,
        knowledge=await read_knowledge(snapshot, lineage, named),
        names=await read_names(snapshot, everyone),
        revenues=await read_revenue_of(snapshot, lineage.accounts, everyone),
        texts=texts,
        suggested=suggested,
    )


def show_inbox(inbox: Inbox) -> FeedbackList:
    position, now = inbox.as_of.position, inbox.now
    knowledge = inbox.knowledge.knowledge()
    known = knowledge.lineage.accounts
    names = names_by_account(inbox.names, known, position)

    rows, judgements = [], []
    for number, row in enumerate(inbox.rows):
        account = None if row["account"] is None else known.root(row["account"], position)
        judgement = None if account is None or now is None else knowledge.judge(account, now, position)
        judgements.append(judgement)
        rows.append(
            FeedbackRow(
                feedback=row["feedback"],
                position=row["position"],
                time=format_time(row["time"]),
                recordedtime=format_time(row["recorded_at"]),
                account=account,
                named=row["account"],
                name=None if account is None else names.get(account),
                channel=row["channel"],
                url=row["url"],
                labels=msgspec.json.decode(row["labels"]),
                text=UNSET if inbox.texts is None else inbox.texts[row["position"]],
                class_=None if account is None else lenses.class_of(judgement),
                fit=show_fit(judgement),
                revenue=[] if account is None else revenue.shown(inbox.revenues.get(account, {})),
                suggested=UNSET if inbox.texts is None else inbox.suggested[number],
            )
        )
    return FeedbackList(
        as_of=inbox.as_of,
        total=inbox.total,
        feedback=rows,
        revisions=show_revisions(judgement.fit.revision for judgement in judgements if judgement),
    )


async def read_currencies(snapshot: Snapshot) -> list[str]:
    """The currencies of all opportunities, for the columns of CSV: those of a page would differ from page to page."""
    return [row["currency"] for row in await snapshot.fetch(_statements, "currencies", snapshot.position)]


def show_line(row: FeedbackRow) -> FeedbackLine:
    return FeedbackLine(
        feedback=row.feedback,
        position=row.position,
        time=row.time,
        recordedtime=row.recordedtime,
        account=row.account,
        named=row.named,
        name=row.name,
        channel=row.channel,
        url=row.url,
        labels=[f"{name}: {text}" for name, text in row.labels.items()],
        text=None if row.text is UNSET else row.text,
        class_=row.class_,
        revision=row.fit.revision if row.fit else None,
        fit=row.fit.fit if row.fit else None,
        fit_if_known=row.fit.fit_if_known if row.fit else None,
        would_settle=row.fit.would_settle if row.fit else [],
        revenue=row.revenue,
        suggested=[] if row.suggested is UNSET else [each.requirement for each in row.suggested],
    )


async def _read_page(snapshot: Snapshot, filters: Filters, after: int, limit: int) -> tuple[int, list[asyncpg.Record]]:
    position = snapshot.position
    channels = None
    if filters.channel is not None:
        every = (row["channel"] for row in await snapshot.fetch(_statements, "channels", position))
        channels = [each for each in every if folded(each) == folded(filters.channel)]
    rows = await snapshot.fetch(
        _statements,
        "inbox",
        position,
        None if filters.accounts is None else [*filters.accounts],
        channels,
        [*filters.taken_up],
        after,
        limit,
    )
    return rows[0]["total"], [row for row in rows if row["position"] is not None]


async def _suggest(snapshot: Snapshot, texts: Sequence[str]) -> list[list[Suggested]]:
    """Of each text the requirements that it may be about, the likeliest first."""
    compared = await read_alike(snapshot, texts, SUGGESTED_COMPARED_MAX, words_max=SUGGESTED_WORDS_MAX)
    likely = ([alike for alike in each.alike if alike.score >= SUGGESTED_SCORE_MIN] for each in compared)
    best = [(each.weights, alikes[:SUGGESTED_MAX]) for each, alikes in zip(compared, likely, strict=True)]
    similarities = await read_words_shared(snapshot, best)
    statuses = await read_statuses(snapshot, (alike.requirement for _, alikes in best for alike in alikes))
    return [
        [
            Suggested(
                requirement=alike.requirement,
                title=alike.title,
                status=statuses[alike.requirement],
                score=alike.score,
                words=similar[alike.requirement].words,
            )
            for alike in alikes
        ]
        for (_, alikes), similar in zip(best, similarities, strict=True)
    ]
