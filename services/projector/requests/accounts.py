"""Accounts, what is known of them, and what they said: the routes, and how each is answered."""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from services.projector.answers import accounts, attributes, feedback
from services.projector.answers.accounts import AccountList, AccountRow, ListedAccount, OneAccount
from services.projector.answers.attributes import AttributeLine, AttributeList, AttributeRow
from services.projector.answers.feedback import FeedbackLine, FeedbackList
from services.projector.answers.snapshot import Wanted
from services.projector.requests import paging, sheets
from services.projector.requests.asked import AccountsAsked, AttributesAsked, FeedbackAsked, choice, mentions
from services.projector.requests.paging import Moment
from services.projector.requests.readings import Readings, Whole
from services.projector.requests.replies import (
    CSV,
    JSON,
    as_they_are,
    one_by_one,
    respond,
    send_list,
    send_page,
    wants_csv,
)
from services.projector.requests.route import currencies_in, get, named, page_of
from services.web import Call, Route


def routes(readings: Readings) -> list[Route]:
    answers = _Accounts(readings)
    return [
        get(
            "/accounts",
            answers.accounts,
            "Accounts by class, with totals",
            AccountsAsked,
            AccountList,
            "alias-contested",
        ),
        get(
            "/accounts/{account}", answers.account, "What is known of an account", Moment, OneAccount, "alias-contested"
        ),
        get("/attributes", answers.attributes, "Attributes of accounts", AttributesAsked, AttributeList),
        get("/feedback", answers.feedback, "What no ask refers to yet, the newest first", FeedbackAsked, FeedbackList),
    ]


class _Accounts:
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    async def accounts(self, call: Call) -> web.StreamResponse:
        page, asked = page_of(call)

        def judge(evidence: accounts.Evidence) -> Whole:
            listed = accounts.list_accounts(evidence)
            return Whole(listed, partial(currencies_in, listed))

        settled, whole = await self._readings.whole(
            call, ("accounts",), accounts.READS, page.wanted, accounts.read_accounts, judge
        )

        root: str | UnsetType = UNSET
        if asked.alias is not UNSET:
            async with self._readings.snapshot(call, accounts.READS, Wanted(as_of=settled.as_of.position)) as snapshot:
                root = await accounts.read_root(snapshot, asked.alias)

        def is_asked_for(each: ListedAccount) -> bool:
            return (
                asked.class_ in (UNSET, each.class_)
                and root in (UNSET, each.account)
                and (asked.q is UNSET or mentions(asked.q, each.account, each.name, *each.aliases))
            )

        def body(found: Sequence[ListedAccount], rows: list[AccountRow]) -> AccountList:
            return AccountList(as_of=settled.as_of, total=len(found), totals=accounts.totals(found), accounts=rows)

        wanted = choice(asked, is_asked_for)
        return await send_list(
            call, page, settled.as_of, whole, wanted, one_by_one(accounts.show_account), AccountRow, body
        )

    async def account(self, call: Call) -> web.StreamResponse:
        name = named(call, "account")
        async with self._readings.about_one(call, accounts.READS, paging.wanted(call.parameters)) as snapshot:
            judge = await accounts.read_account(snapshot, name, opener=self._readings.opener(call))
        return respond(call, await asyncio.to_thread(judge))

    async def attributes(self, call: Call) -> web.StreamResponse:
        page, asked = page_of(call)

        def judge(evidence: attributes.Evidence) -> Whole:
            found = attributes.list_attributes(evidence)
            return Whole(found.rows, counted=found.accounts)

        settled, whole = await self._readings.whole(
            call, ("attributes",), attributes.READS, page.wanted, attributes.read_attributes, judge
        )

        def is_asked_for(row: AttributeRow) -> bool:
            return (asked.q is UNSET or mentions(asked.q, row.attribute)) and asked.used in (UNSET, bool(row.bullets))

        def body(found: Sequence[AttributeRow], rows: list[AttributeRow]) -> AttributeList:
            return AttributeList(as_of=settled.as_of, total=len(found), accounts=whole.counted, attributes=rows)

        as_csv = wants_csv(call.request.headers.get("Accept", ""))
        show = one_by_one(attributes.show_line) if as_csv else as_they_are
        wanted = choice(asked, is_asked_for)
        return await send_list(call, page, settled.as_of, whole, wanted, show, AttributeLine, body)

    async def feedback(self, call: Call) -> web.StreamResponse:
        page, asked = page_of(call)
        as_csv = wants_csv(call.request.headers.get("Accept", ""))
        opener = self._readings.opener(call)
        if opener is not None:
            page = page.of_at_most(feedback.SUGGESTED_ROWS_MAX)
        settled, taken_up = await self._readings.whole(
            call, ("feedback", "taken up"), feedback.READS, page.wanted, feedback.read_taken_up, Whole
        )
        wanted = Wanted(as_of=settled.as_of.position)
        of_class = None
        if asked.class_ is not UNSET:
            _, named = await self._readings.whole(
                call,
                ("feedback", "accounts"),
                feedback.READS,
                wanted,
                feedback.read_named,
                lambda evidence: Whole(feedback.names_by_class(evidence)),
            )
            of_class = {name for name, class_ in named.rows if class_ == asked.class_}
        # What is opened is compared with all titles.
        reading = self._readings.snapshot if opener is None else self._readings.in_turn
        async with reading(call, feedback.READS, wanted) as snapshot:
            names = None if asked.account is UNSET else await feedback.read_names_of(snapshot, asked.account)
            if of_class is not None:
                names = sorted(of_class if names is None else of_class.intersection(names))
            filters = feedback.Filters(
                taken_up=taken_up.rows, accounts=names, channel=None if asked.channel is UNSET else asked.channel
            )
            inbox = await feedback.read_inbox(
                snapshot, filters, after=page.after, limit=page.parameters.limit, opener=opener
            )
            currencies = await feedback.read_currencies(snapshot) if as_csv else []

        def encoded() -> bytes:
            found = feedback.show_inbox(inbox)
            if as_csv:
                return sheets.sheet([feedback.show_line(row) for row in found.feedback], currencies, FeedbackLine)
            return msgspec.json.encode(found)

        content = await asyncio.to_thread(encoded)
        return send_page(call, page, inbox.as_of, inbox.total, CSV if as_csv else JSON, content)
