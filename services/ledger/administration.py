"""Ledgers and keys, made and listed; and the schemas of events."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from schemas.codec import MalformedJson, parse
from schemas.events import EVENT_TYPES
from schemas.export import event_schema
from schemas.objections import nuls
from schemas.values import YEAR_MAX, YEAR_MIN, Id, LedgerName, Name, Origin, Source, Team, in_range, same_team
from services.keys import SCOPES, Keys, Principal, Scope, key_id
from services.ledger.ledgers import Ledgers, Registered
from services.problems import Problem
from services.web import Answer, Call, Route

JSON = "application/json"

GRANTS_MAX = 200  # Ledgers, sources or teams that one key lists.

BodyT = TypeVar("BodyT")


_Teams = Annotated[list[Team], Meta(min_length=1, max_length=50, extra_json_schema={"uniqueItems": True})]


class NewLedger(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a ledger is made with. `origin` names its log in checkpoints; it is fixed when the ledger is made."""

    teams: _Teams | None = None
    origin: Origin | None = None


class LedgerList(Struct, frozen=True, kw_only=True):
    ledgers: list[Registered]


class LedgerStatus(Struct, frozen=True, kw_only=True):
    """A ledger, and the last position of its log."""

    ledger: str
    teams: list[str]
    origin: str
    created_at: datetime
    head: int


class NewKey(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a key may do. No ledgers, sources or teams listed: all of them."""

    name: Name
    scopes: Annotated[list[Scope], Meta(min_length=1, max_length=len(SCOPES))]
    ledgers: Annotated[list[LedgerName], Meta(max_length=GRANTS_MAX)] = []
    sources: Annotated[list[Source], Meta(max_length=GRANTS_MAX)] = []
    teams: Annotated[list[Team], Meta(max_length=GRANTS_MAX)] = []
    expires: Annotated[datetime, Meta(tz=True)] | None = None


class MadeKey(Struct, frozen=True, kw_only=True):
    """A key just made. `key` is what a client presents, shown here and nowhere else; `id` is its public name."""

    id: str
    key: str
    name: str
    scopes: list[str]
    ledgers: list[str]
    sources: list[str]
    teams: list[str]
    expires: datetime | None


class ListedKey(Struct, frozen=True, kw_only=True):
    id: Id
    name: str
    scopes: list[str]
    ledgers: list[str]
    sources: list[str]
    teams: list[str]
    created_at: datetime
    created_by: str
    expires: datetime | None
    revoked_at: datetime | None
    revoked_by: str | None
    last_used: date | None


class KeyListParameters(Struct, frozen=True, kw_only=True):
    before: Annotated[
        Id | None, Meta(description="Keys that are listed below this one, by its id, as Link: rel=next has it.")
    ] = None
    limit: Annotated[int, Meta(ge=1, le=1_000, description="How many keys a page has at most.")] = 1_000


class KeyList(Struct, frozen=True, kw_only=True):
    """Keys, the newest first."""

    keys: list[ListedKey]


class OwnKey(Struct, frozen=True, kw_only=True):
    """What the key that asks was granted. No ledgers, sources or teams listed: all of them."""

    id: str
    name: str
    scopes: list[str]
    ledgers: list[str]
    sources: list[str]
    teams: list[str]
    expires: datetime | None


class HistoryParameters(Struct, frozen=True, kw_only=True):
    before: Annotated[
        int, Meta(ge=1, le=2**63 - 1, description="Records with a lower number, as Link: rel=next has it.")
    ] = 2**63 - 1
    limit: Annotated[int, Meta(ge=1, le=1_000, description="How many records a page has at most.")] = 100


class KeyRecord(Struct, frozen=True, kw_only=True):
    """The making or revoking of a key. `by` is the id of the key that asked for it, or `migrate`."""

    number: int
    what: Literal["made", "revoked"]
    id: str
    name: str
    scopes: list[str]
    ledgers: list[str]
    sources: list[str]
    teams: list[str]
    expires: datetime | None
    by: str
    at: datetime


class KeyHistory(Struct, frozen=True, kw_only=True):
    """Records, the newest first."""

    records: list[KeyRecord]


class TypeList(Struct, frozen=True, kw_only=True):
    types: list[str]


_NEW_LEDGER = Annotated[NewLedger, Meta(examples=[{"teams": ["sales", "engineering", "product"]}])]
_NEW_KEY = Annotated[
    NewKey, Meta(examples=[{"name": "crm", "scopes": ["observe"], "ledgers": ["main"], "sources": ["/crm"]}])
]


def routes(ledgers: Ledgers, keys: Keys) -> list[Route]:
    async def put_ledger(call: Call) -> web.Response:
        wanted = await _body(call.request, NewLedger)
        if wanted.teams and len({same_team(team) for team in wanted.teams}) < len(wanted.teams):
            raise Problem("bad-request", "a team is listed twice")
        made = await ledgers.make(call.ledger, wanted.teams, wanted.origin)
        return _json(await ledgers.registered(call.ledger), status=201 if made else 200)

    async def get_ledger(call: Call) -> web.Response:
        ledger = await ledgers.open(call.ledger)
        status = msgspec.structs.asdict(ledger.registered) | {"head": await ledger.log.max_position()}
        return _json(LedgerStatus(**status))

    async def list_ledgers(call: Call) -> web.Response:
        return _json(
            LedgerList(ledgers=[each for each in await ledgers.every() if call.principal.may_open(each.ledger)])
        )

    async def make_key(call: Call) -> web.Response:
        wanted = await _body(call.request, NewKey)
        if wanted.expires is not None and not in_range(wanted.expires):
            raise Problem("bad-request", f"`expires` is not between the years {YEAR_MIN} and {YEAR_MAX}")
        if wanted.expires is not None and wanted.expires <= datetime.now(UTC):
            raise Problem("bad-request", f"`expires` has passed: {wanted.expires.isoformat()}")
        if beyond := [*_beyond(wanted, call.principal)]:
            raise Problem("forbidden", f"a key grants what it has itself, and this one has not {', '.join(beyond)}")
        given = {name: getattr(wanted, name) for name in ("name", "scopes", "ledgers", "sources", "teams")}
        id, key = await keys.make(**given, expires_at=wanted.expires, by=call.principal.key)
        return _json(MadeKey(id=id, key=key, **given, expires=wanted.expires), status=201)

    async def list_keys(call: Call) -> web.Response:
        _unbound(call.principal)
        asked: KeyListParameters = call.parameters
        found = await keys.page(asked.before, asked.limit + 1)
        if found is None:
            raise Problem("not-found", f"there is no key {asked.before}; begin the list without `before`")
        rows = [dict(row) for row in found]
        listed = [ListedKey(id=row.pop("key"), expires=row.pop("expires_at"), **row) for row in rows[: asked.limit]]
        following = listed[-1].id if len(rows) > asked.limit else None
        return _page(call.request, KeyList(keys=listed), following)

    async def own_key(call: Call) -> web.Response:
        own = call.principal
        return _json(
            OwnKey(
                id=own.key,
                name=own.name,
                scopes=sorted(own.scopes),
                ledgers=sorted(own.ledgers),
                sources=sorted(own.sources),
                teams=sorted(own.teams),
                expires=own.expires_at,
            )
        )

    async def revoke_key(call: Call) -> web.Response:
        _unbound(call.principal)
        id = call.request.match_info["key"]
        if not await keys.revoke(key_id(id) or id, by=call.principal.key):
            raise Problem("not-found", "there is no key of this id; GET /v1/keys lists them")
        return web.Response(status=204)

    async def key_history(call: Call) -> web.Response:
        _unbound(call.principal)
        asked: HistoryParameters = call.parameters
        rows = [dict(row) for row in await keys.history(asked.before, asked.limit + 1)]
        records = [KeyRecord(id=row.pop("key"), expires=row.pop("expires_at"), **row) for row in rows[: asked.limit]]
        following = str(records[-1].number) if len(rows) > asked.limit else None
        return _page(call.request, KeyHistory(records=records), following)

    async def list_types(call: Call) -> web.Response:
        return _json(TypeList(types=sorted(EVENT_TYPES)), cache="public, max-age=300")

    async def get_type(call: Call) -> web.Response:
        name = call.request.match_info["type"]
        if name not in EVENT_TYPES:
            raise Problem("not-found", f"no such event type: {name[:200]!r}; GET /v1/schemas lists them")
        return _json(event_schema(name), media="application/schema+json", cache="public, max-age=300")

    ledger = "/v1/ledgers/{ledger}"
    return [
        Route(
            method="PUT", path=ledger, handler=put_ledger, scope="admin", takes={JSON: _NEW_LEDGER},
            body_required=False,
            summary="Make a ledger. A body is optional. One that is there stays as it is.",
            answers={
                201: Answer("made", {JSON: Registered}, links={"get_v1_ledgers_ledger": {}}),
                200: Answer("there already", {JSON: Registered}),
            },
            refusals=("malformed-json", "bad-request", "origin-taken", "forbidden", "no-such-ledger"),
        ),
        Route(
            method="GET", path=ledger, handler=get_ledger, scope=(), summary="A ledger's settings, and its head.",
            answers={200: Answer("the ledger", {JSON: LedgerStatus})}, refusals=("no-such-ledger",),
        ),
        Route(
            method="GET", path="/v1/ledgers", handler=list_ledgers, scope=(),
            summary="The ledgers that the key is for.", answers={200: Answer("the ledgers", {JSON: LedgerList})},
        ),
        Route(
            method="POST", path="/v1/keys", handler=make_key, scope="admin", takes={JSON: _NEW_KEY},
            summary="Make an API key. It is shown once.",
            answers={201: Answer("made", {JSON: MadeKey}, links={"delete_v1_keys_key": {"key": "$response.body#/id"}})},
            refusals=("malformed-json", "bad-request", "forbidden"),
        ),
        Route(
            method="GET", path="/v1/keys", handler=list_keys, scope="admin", parameters=KeyListParameters,
            summary="Every key without its secret, the newest first.",
            answers={200: Answer("the keys", {JSON: KeyList}, ("Link",))}, refusals=("not-found", "forbidden"),
        ),
        Route(
            method="GET", path="/v1/keys/self", handler=own_key, scope=(), summary="What the key that asks may do.",
            answers={200: Answer("the key, without its secret", {JSON: OwnKey})},
        ),
        Route(
            method="DELETE", path="/v1/keys/{key}", handler=revoke_key, scope="admin",
            summary="Revoke a key; it stops working within two seconds and stays on the list.",
            answers={204: Answer("revoked, now or before")}, refusals=("not-found", "forbidden"),
        ),
        Route(
            method="GET", path="/v1/keys/history", handler=key_history, scope="audit", parameters=HistoryParameters,
            summary="Every making and revoking of a key, the newest first.",
            answers={200: Answer("the records", {JSON: KeyHistory}, ("Link",))}, refusals=("forbidden",),
        ),
        Route(
            method="GET", path="/v1/schemas", handler=list_types, scope=None, summary="The event types.",
            answers={200: Answer("the types", {JSON: TypeList})},
        ),
        Route(
            method="GET", path="/v1/schemas/{type}", handler=get_type, scope=None,
            summary="The JSON Schema of an event type's data, with an example.",
            answers={200: Answer("the schema", {"application/schema+json": None})}, refusals=("not-found",),
        ),
    ]  # fmt: skip


def _beyond(wanted: NewKey, maker: Principal) -> Iterator[str]:
    """What a new key would have and its maker has not."""
    for name, own, asked, may in (
        ("ledgers", maker.ledgers, wanted.ledgers, maker.may_open),
        ("sources", maker.sources, wanted.sources, maker.may_emit_as),
        ("teams", maker.teams, wanted.teams, maker.may_act_for),
    ):
        if own and not asked:
            yield f"all {name}"
        yield from (f"{each} of the {name}" for each in asked if not may(each))
    if maker.expires_at is not None and (wanted.expires is None or wanted.expires > maker.expires_at):
        yield f"a life beyond {maker.expires_at.isoformat()}"


def _unbound(principal: Principal) -> None:
    """Keys are for all ledgers, sources and teams; so is who looks after them. Raises Problem."""
    if principal.ledgers or principal.sources or principal.teams:
        raise Problem("forbidden", "this key is for certain ledgers, sources or teams, and keys may be for others")


async def _body(request: web.Request, wanted: type[BodyT]) -> BodyT:
    """The body of a request as `wanted`; none at all counts as an empty object. Raises Problem."""
    body = await request.read()
    try:
        value = parse(body) if body else {}
    except MalformedJson as error:
        raise Problem("malformed-json", str(error)) from None
    for pointer, message in nuls(value, ""):
        raise Problem("bad-request", f"{pointer} {message}")
    try:
        return msgspec.convert(value, wanted)
    except msgspec.ValidationError as error:
        raise Problem("bad-request", str(error)) from None


def _page(request: web.Request, value: Any, following: str | None) -> web.Response:
    """A page of a list; what is `following` goes on with `before`."""
    response = _json(value)
    if following is not None:
        response.headers["Link"] = f'<{request.rel_url.update_query({"before": following})}>; rel="next"'
    return response


def _json(value: Any, *, status: int = 200, media: str = JSON, cache: str = "no-store") -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value), status=status, content_type=media, headers={"Cache-Control": cache}
    )
