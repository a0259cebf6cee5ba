"""What an emitter sees of itself: what was recorded last, counts by type, and what was refused in the last days."""

from collections import OrderedDict
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

import asyncpg
import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from services.keys import Principal
from services.ledger.ledgers import Ledgers
from services.ledger.refusals import DAYS_KEPT, oldest
from services.postgres import Pool, ledger_schema, unavailable
from services.problems import Problem
from services.statements import Statements
from services.web import Answer, Call, Route

JSON = "application/json"
EMITTERS_MAX = 200
COUNTED_SOURCES_MAX = 1_000

_statements = Statements.load(Path(__file__).with_name("emitters.sql"))


class EmittersParameters(Struct, frozen=True, kw_only=True):
    after: Annotated[str, Meta(max_length=200, description="The last source of the page before.")] = ""
    limit: Annotated[int, Meta(ge=1, le=EMITTERS_MAX, description="How many emitters a page has at most.")] = 100


class LastRecorded(Struct, frozen=True, kw_only=True):
    position: int
    recordedtime: datetime
    type: str


class TypeCount(Struct, frozen=True, kw_only=True):
    """How many events of a type were recorded, and the position of the last."""

    type: str
    count: int
    last: int


class RefusalCount(Struct, frozen=True, kw_only=True):
    """Events that were refused on a day (UTC) for one reason at one spot. `pointer` has * for places in lists and
    for names that the emitter makes up, and is `…` for what is beyond the bound of a day. `type` is null where the
    event named none that there is. `message` is what was said of it last, without what was sent."""

    day: date
    type: str | None
    problem: str
    pointer: str
    count: int
    last: datetime
    message: str


class Emitter(Struct, frozen=True, kw_only=True):
    """One source: what was recorded last, counts by type, and what was refused in the last 14 days."""

    source: str
    last: LastRecorded | None
    types: list[TypeCount]
    refusals: list[RefusalCount]


class KnownEmitter(Struct, frozen=True, kw_only=True):
    """A source, what was recorded last, and how many spots of its events were refused today (UTC)."""

    source: str
    last: LastRecorded | None
    refusals_today: int


class EmitterList(Struct, frozen=True, kw_only=True):
    """Sources by name. `unnamed`: what was refused today and named no source; only for who may see every source."""

    emitters: list[KnownEmitter]
    unnamed: int | None


def routes(ledgers: Ledgers, pool: Pool) -> list[Route]:
    counted = _Counted(pool)

    async def list_emitters(call: Call) -> web.Response:
        await ledgers.open(call.ledger)
        await ledgers.refusals.write(call.ledger)
        return await _every(pool, call)

    async def get_emitter(call: Call) -> web.Response:
        await ledgers.open(call.ledger)
        source = call.request.match_info["source"]
        if not _may_see(call.principal, source):
            raise Problem("source-not-granted", "this key may not see this source: it neither emits as it nor reads")
        await ledgers.refusals.write(call.ledger)
        return await _one(pool, counted, call.ledger, source)

    prefix = "/v1/ledgers/{ledger}/emitters"
    return [
        Route(
            method="GET",
            path=prefix,
            handler=list_emitters,
            summary="The emitters that are known: the last event of each, and how much was refused today."
            " A key sees the sources that it may emit as; with the scope `query` or `audit`, all.",
            scope=("observe", "act", "query", "audit"),
            parameters=EmittersParameters,
            answers={200: Answer("the emitters", {JSON: EmitterList}, ("Link",))},
            refusals=("no-such-ledger",),
        ),
        Route(
            method="GET",
            path=f"{prefix}/{{source:.+}}",
            handler=get_emitter,
            summary="One emitter by its source, percent-encoded: the last event, counts by type, and by spot what was"
            f" refused in the last {DAYS_KEPT} days.",
            scope=("observe", "act", "query", "audit"),
            answers={200: Answer("the emitter", {JSON: Emitter})},
            refusals=("no-such-ledger", "not-found", "source-not-granted"),
        ),
    ]


async def _every(pool: Pool, call: Call) -> web.Response:
    asked: EmittersParameters = call.parameters
    today = datetime.now(UTC).date()
    sql = _statements.bind(schema=ledger_schema(call.ledger))
    all_of_them = _reads(call.principal) or not call.principal.sources
    with unavailable():
        async with pool.acquire() as connection:
            if all_of_them:
                found = await connection.fetch(sql["sources"], asked.after, asked.limit + 1, oldest(today))
                names = [row["source"] for row in found]
            else:
                names = sorted(name for name in call.principal.sources if name > asked.after)
            page = names[: asked.limit]
            rows = await connection.fetch(sql["described"], page, today)
            unnamed = await connection.fetch(sql["described"], [""], today) if all_of_them else []
    listed = [
        KnownEmitter(source=row["source"], last=_last(row), refusals_today=row["refused"])
        for row in rows
        if all_of_them or row["position"] is not None or row["refused"]
    ]
    headers = {"Cache-Control": "no-store"}
    if len(names) > asked.limit:
        following = call.request.rel_url.update_query({"after": page[-1]})
        headers["Link"] = f'<{following}>; rel="next"'
    answer = EmitterList(emitters=listed, unnamed=unnamed[0]["refused"] if unnamed else None)
    return web.Response(body=msgspec.json.encode(answer), content_type=JSON, headers=headers)


async def _one(pool: Pool, counted: "_Counted", ledger: str, source: str) -> web.Response:
    today = datetime.now(UTC).date()
    sql = _statements.bind(schema=ledger_schema(ledger))
    with unavailable():
        [row] = await pool.fetch(sql["described"], [source], today)
        refused = await pool.fetch(sql["refused"], source, oldest(today), today)
    last = _last(row)
    if last is None and not refused:
        raise Problem("not-found", f"nothing of {source[:200]!r} was recorded or refused yet; is it percent-encoded?")
    answer = Emitter(
        source=source,
        last=last,
        types=[] if last is None else await counted.types(ledger, source, last.position),
        refusals=[RefusalCount(**dict(each)) for each in refused],
    )
    return web.Response(body=msgspec.json.encode(answer), content_type=JSON, headers={"Cache-Control": "no-store"})


def _reads(principal: Principal) -> bool:
    return principal.may("query") or principal.may("audit")


def _may_see(principal: Principal, source: str) -> bool:
    return _reads(principal) or principal.may_emit_as(source)


def _last(row: asyncpg.Record) -> LastRecorded | None:
    if row["position"] is None:
        return None
    return LastRecorded(position=row["position"], recordedtime=row["recordedtime"], type=row["type"])


class _Counted:
    """Counts by type as far as they were asked for. The log only grows, so that the next look counts the rest only."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._kept: OrderedDict[tuple[str, str], tuple[int, dict[str, TypeCount]]] = OrderedDict()

    async def types(self, ledger: str, source: str, through: int) -> list[TypeCount]:
        """How many events of each type a source has up to the position `through`, the most frequent first."""
        after, before = self._kept.get((ledger, source), (0, {}))
        if after > through:  # The log is shorter than it was: it was restored.
            after, before = 0, {}
        sql = _statements.bind(schema=ledger_schema(ledger))
        with unavailable():
            rows = await self._pool.fetch(sql["types"], source, after, through)
        found = dict(before)
        for row in rows:
            known = found.get(row["type"])
            total = row["count"] + (known.count if known else 0)
            found[row["type"]] = TypeCount(type=row["type"], count=total, last=row["last"])
        self._kept[ledger, source] = through, found
        self._kept.move_to_end((ledger, source))
        while len(self._kept) > COUNTED_SOURCES_MAX:
            self._kept.popitem(last=False)
        return sorted(found.values(), key=lambda count: (-count.count, count.type))
