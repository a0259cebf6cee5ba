"""The receiver over HTTP: a path a hook, and what is kept."""

import asyncio
from collections import Counter as Counts
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

import aiohttp
import msgspec
import structlog
from aiohttp import hdrs, web
from msgspec import UNSET, Meta, Struct, UnsetType
from prometheus_client import Counter

from services.keys import Principal, Unauthorized
from services.problems import Problem
from services.receiver.hooks import NAME, Hook, HookMissing, Hooks, HookUnusable
from services.receiver.kept import AnotherBody, Item, Kept, KeptFull, KeptUnusable
from services.receiver.reception import Done, Received, Reception
from services.receiver.signatures import Request, SignatureInvalid, SignatureStale, Unsigned
from services.web import Answer, Call, Route, unavailable

BODY_BYTES_MAX = 2 * 1024 * 1024
BODIES_MAX = 64  # At once. Each is held in memory, and its signature is not checked before it is whole.
BODIES_OF_A_PEER_MAX = 16  # That are still on their way, from one address.
FIRST_SECONDS_MAX = 5  # For the first bytes of a body.
BODY_SECONDS_MAX = 30  # For a body to arrive.
ASK_SECONDS_MAX = 10
KEPT_LIMIT_MAX = 100
RETRY_UNUSABLE_SECONDS = 60
CHALLENGE = {"WWW-Authenticate": 'Signature realm="webhooks"'}  # Which one, the hook says, and its sender knows.

_log = structlog.get_logger()
UNUSABLE = "the hook {name!r} cannot be used; `ledger hook check` says why, and so does the log of the receiver"

_webhooks = Counter("receiver_webhooks", "Webhooks that were answered, by hook and status.", ["hook", "status"])


class EventMade(Struct, frozen=True):
    """An event that a webhook has become. `duplicate`: it was recorded before, at this position."""

    id: str
    type: str
    position: int
    duplicate: bool


class Taken(Struct, frozen=True):
    """`events`: what is in the ledger; none if the mapping makes none of this body."""

    hook: str
    events: list[EventMade]


class Waiting(Struct, frozen=True):
    """It is kept under this id, and goes on by itself once the ledger takes it."""

    hook: str
    kept: int
    detail: str


class KeptBody(Struct, frozen=True):
    """A body that is kept, without the body. `ledger hook show ID` shows it."""

    id: int
    state: str
    problem: str
    reason: str
    bytes: int
    received: str
    tried: str
    tries: int


class KeptCount(Struct, frozen=True):
    """How many bodies are kept in a state, their bytes, and when the first came."""

    state: str
    count: int
    bytes: int
    since: str


class HookState(Struct, frozen=True, omit_defaults=True):
    """A hook that can be used. For administrators: `kept`, what is kept of it; `waiting_for`, the first body that waits
    for the ledger, and why."""

    hook: str
    usable: Annotated[Literal[True], Meta(description="always true; else the answer is a problem")]
    kept: list[KeptCount] | UnsetType = UNSET
    waiting_for: KeptBody | UnsetType = UNSET


class KeptPage(Struct, frozen=True):
    """In the order in which they came. `more`: ask again with `after` = the last id."""

    kept: list[KeptBody]
    more: bool


class KeptParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    after: Annotated[int, Meta(ge=0, le=2**63 - 1, description="The id after which to go on.")] = 0
    limit: Annotated[int, Meta(ge=1, le=KEPT_LIMIT_MAX, description="How many bodies a page has at most.")] = 50


# What a body looks like is the sender's affair; the hook's mapping reads it.
_BODY = Annotated[
    Any,
    Meta(description="the body as its sender makes it", examples=[{"ticket": {"id": 7, "text": "An export, please."}}]),
]


class _Granted(Struct, frozen=True):
    """What the ledger says of the key that asks."""

    id: str
    name: str
    scopes: frozenset[str]
    ledgers: frozenset[str]


class AskedKeys:
    """Who presents a key: the ledger, which knows the keys, is asked with it."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/v1/keys/self"

    async def principal(self, text: str) -> Principal:
        """Raises Unauthorized, and Problem while the ledger does not say."""
        if not (text.isascii() and text.isprintable()):
            raise Unauthorized("this is not a key; one looks like lk_…")
        headers = {"Authorization": f"Bearer {text}"}
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS_MAX)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._url, headers=headers, allow_redirects=False) as answer,
            ):
                status, body = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise unavailable(f"the ledger, which knows the keys, does not answer: {error}") from error
        try:
            if status == 200:
                granted = msgspec.json.decode(body, type=_Granted)
                return Principal(key=granted.id, name=granted.name, scopes=granted.scopes, ledgers=granted.ledgers)
            if status == 401:
                told = msgspec.json.decode(body, type=dict[str, Any])
                since = {name: str(told[name]) for name in ("expired", "revoked") if name in told}
                raise Unauthorized(str(told["detail"]), **since)
        except (msgspec.DecodeError, KeyError) as error:
            raise unavailable(f"what answers for the ledger, which knows the keys, is none: {error}") from error
        raise unavailable(f"the ledger, which knows the keys, answers {status}")


class Faces:
    """What a request finds: hooks, and a reception unless the file of what is kept cannot be used."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self.kept: Kept | None = None
        self.reception: Reception | None = None
        self.amiss = "the receiver is starting"
        self._room = _Room()
        self._said: dict[str, str] = {}

    async def ready(self) -> None:
        """Raises Problem while nothing can be taken in."""
        if self.reception is None:
            raise unavailable(self.amiss)

    async def post(self, call: Call) -> web.Response:
        hook = await self._hook(call.request)
        if hook.written is None and isinstance(hook.signature, Unsigned):
            # Nothing that anybody may post is kept for a hook that has a mistake.
            raise self._unusable(hook.name, hook.amiss)
        try:
            response = await self._answer(hook, call.request)
        except Problem as problem:
            _webhooks.labels(hook.name, problem.status).inc()
            raise
        _webhooks.labels(hook.name, response.status).inc()
        return response

    async def get(self, call: Call) -> web.Response:
        # Anybody may ask whether it can be used. What is wrong, and what is kept, is for administrators.
        principal = await call.check_again() if hdrs.AUTHORIZATION in call.request.headers else call.principal
        hook = await self._hook(call.request, principal)
        if hook.written is None:
            raise self._unusable(hook.name, hook.amiss, principal)
        if self.kept is None or not _may_see(principal, hook):
            return _json(200, HookState(hook.name, True))
        try:
            counts = [each for each in await asyncio.to_thread(self.kept.counts) if each.hook == hook.name]
            waiting = await asyncio.to_thread(self.kept.page, hook=hook.name, state="waiting", limit=1)
        except KeptUnusable as error:
            raise unavailable(str(error)) from error
        kept = [KeptCount(each.state, each.count, each.size, each.since) for each in counts]
        return _json(200, HookState(hook.name, True, kept, _told(waiting[0]) if waiting else UNSET))

    async def list_kept(self, call: Call) -> web.Response:
        name = call.request.match_info["hook"]
        asked: KeptParameters = call.parameters
        if not NAME.fullmatch(name):
            raise Problem("not-found", f"there is no hook {name[:80]!r}")
        # One that was taken away may have left bodies.
        if not _may_see(call.principal, await self._checkable(name)):
            raise Problem("forbidden", "this key is for certain ledgers, and not for the one of this hook")
        if self.kept is None:
            raise unavailable(self.amiss)
        try:
            items = await asyncio.to_thread(self.kept.page, hook=name, after=asked.after, limit=asked.limit + 1)
        except KeptUnusable as error:
            raise unavailable(str(error)) from error
        return _json(200, KeptPage([_told(item) for item in items[: asked.limit]], len(items) > asked.limit))

    async def _hook(self, request: web.Request, principal: Principal | None = None) -> Hook:
        """The hook that a request names. Raises Problem; its detail depends on who asks."""
        name = request.match_info["hook"]
        try:
            return await asyncio.to_thread(self.hooks.get, name)
        except HookMissing:
            raise Problem("not-found", f"there is no hook {name[:80]!r}") from None
        except HookUnusable as error:
            raise self._unusable(name, str(error), principal) from error

    async def _checkable(self, name: str) -> Hook | None:
        """The hook of this name, if there is one whose signature can be checked."""
        try:
            return await asyncio.to_thread(self.hooks.get, name)
        except (HookMissing, HookUnusable):
            return None

    def _unusable(self, name: str, amiss: str, principal: Principal | None = None) -> Problem:
        """That a hook cannot be used. Files, lines and modes are for administrators and for the log, which has each
        reason once."""
        if self._said.get(name) != amiss:
            self._said[name] = amiss
            _log.error("hook_unusable", hook=name, reason=amiss)
        told = amiss if principal is not None and _may_see(principal, None) else UNUSABLE.format(name=name)
        return Problem("hook-unusable", told, headers={"Retry-After": str(RETRY_UNUSABLE_SECONDS)})

    async def _answer(self, hook: Hook, request: web.Request) -> web.Response:
        if self.reception is None:
            raise unavailable(self.amiss)
        try:
            headers = [(name.lower(), value) for name, value in request.headers.items()]
            async with self._room.body(request) as body:
                received = await self.reception.receive(hook, Request(request.method, headers, body))
        except SignatureInvalid as error:
            raise Problem("signature-invalid", str(error), headers=CHALLENGE) from error
        except SignatureStale as error:
            raise Problem("signature-stale", str(error), headers=CHALLENGE) from error
        except AnotherBody as error:
            raise Problem("delivery-conflict", str(error)) from error
        except KeptFull as error:
            raise Problem("kept-full", str(error), headers={"Retry-After": "60"}) from error
        except KeptUnusable as error:
            raise unavailable(str(error)) from error
        return _answered(hook, received)


def routes(faces: Faces) -> list[Route]:
    """The requests that the receiver answers."""
    refused = [
        "signature-invalid", "signature-stale", "malformed-json", "delivery-conflict", "mapping-misfit", "not-recorded",
        "hook-unusable", "kept-full", "overloaded", "too-large", "not-found", "unavailable",
    ]  # fmt: skip
    hook = "/hooks/{hook}"
    return [
        Route(
            method="POST",
            path=hook,
            handler=faces.post,
            summary="Take a webhook in. Its signature, made as the hook says, stands in for a key.",
            scope=None,
            takes={"application/json": _BODY},
            answers={
                200: Answer("Its events are in the ledger.", {"application/json": Taken}),
                202: Answer("It is kept until the ledger takes it.", {"application/json": Waiting}),
            },
            refusals=refused,
        ),
        Route(
            method="GET",
            path=hook,
            handler=faces.get,
            summary="Whether a hook can be used. To a key of the scope `admin` also: what to mend, what is kept.",
            scope=None,
            answers={200: Answer("It can be used.", {"application/json": HookState})},
            refusals=["not-found", "hook-unusable", "unauthorized", "unavailable"],
        ),
        Route(
            method="GET",
            path=f"{hook}/kept",
            handler=faces.list_kept,
            summary="What is kept of a hook, and why, without the bodies.",
            scope="admin",
            parameters=KeptParameters,
            answers={200: Answer("In the order in which it came.", {"application/json": KeptPage})},
            refusals=["forbidden", "unavailable"],
        ),
    ]


class _Room:
    """The room for bodies. Who has sent nothing yet takes none of it, and who sends slowly only his share."""

    def __init__(self) -> None:
        self._bodies = 0
        self._arriving: Counts[str | None] = Counts()

    @asynccontextmanager
    async def body(self, request: web.Request) -> AsyncIterator[bytes]:
        """The body as it came, and room for it meanwhile. Raises Problem if it is too large or too slow, or if there is
        no room."""
        if (request.content_length or 0) > BODY_BYTES_MAX:
            raise _too_large()
        async with _in_time(FIRST_SECONDS_MAX):
            first = await request.content.readany()
        if self._bodies >= BODIES_MAX:
            raise Problem("overloaded", f"{BODIES_MAX} bodies are being read", headers=_LATER)
        self._bodies += 1
        try:
            yield await self._whole(request, first)
        finally:
            self._bodies -= 1

    async def _whole(self, request: web.Request, first: bytes) -> bytes:
        if self._arriving[request.remote] >= BODIES_OF_A_PEER_MAX:
            raise Problem(
                "overloaded", f"{BODIES_OF_A_PEER_MAX} bodies from this address are on their way in", headers=_LATER
            )
        self._arriving[request.remote] += 1
        try:
            parts, size = [first], len(first)
            async with _in_time(BODY_SECONDS_MAX):
                async for part in request.content.iter_any():
                    size += len(part)
                    if size > BODY_BYTES_MAX:
                        raise _too_large()
                    parts.append(part)
            return b"".join(parts)
        finally:
            self._arriving[request.remote] -= 1
            self._arriving += Counts()  # Without those that are none.


_LATER = {"Retry-After": "1", "Connection": "close"}


def _too_large() -> Problem:
    return Problem("too-large", f"a webhook has at most {BODY_BYTES_MAX} bytes here", headers={"Connection": "close"})


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise Problem(
            "bad-request", f"the body was not there after {seconds} seconds", headers={"Connection": "close"}
        ) from None


def _answered(hook: Hook, received: Received) -> web.Response:
    outcome = received.outcome
    if isinstance(outcome, Done):
        made = [
            EventMade(str(event["id"]), str(event["type"]), recorded.position, recorded.duplicate)
            for event, recorded in zip(outcome.events, outcome.recorded, strict=True)
        ]
        return _json(200, Taken(hook.name, made))
    if outcome.state == "waiting":
        assert received.kept is not None
        return _json(202, Waiting(hook.name, received.kept, "kept until the ledger takes it"))
    members: dict[str, Any] = {}
    if received.kept is not None:
        members["kept"] = received.kept
    if outcome.objections:
        members["errors"] = [
            {"index": each.item or 0, "pointer": each.pointer or "", "message": each.message}
            for each in outcome.objections
        ]
    problem = Problem(outcome.problem, outcome.reason, **members)
    document = problem.document() | {"status": outcome.status}
    return web.Response(
        body=msgspec.json.encode(document),
        status=outcome.status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store"},
    )


def _may_see(principal: Principal, hook: Hook | None) -> bool:
    """Whether this key is for what is behind a hook: its file, and what is kept. One that is for certain ledgers needs
    a hook that says which it is for."""
    if not principal.may("admin"):
        return False
    return not principal.ledgers or (
        hook is not None and hook.written is not None and principal.may_open(hook.written.ledger)
    )


def _told(item: Item) -> KeptBody:
    return KeptBody(
        item.id, item.state, item.problem, item.reason, item.size, item.received_at, item.tried_at, item.tries
    )


def _json(status: int, value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
