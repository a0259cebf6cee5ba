"""The receiver over HTTP: a path a hook, and what is kept."""

import asyncio
from typing import Annotated, Any, Literal

import aiohttp
import msgspec
from aiohttp import web
from msgspec import Meta, Struct
from prometheus_client import Counter

from services.keys import Principal, Unauthorized
from services.postgres import Unavailable
from services.problems import Problem
from services.receiver.hooks import Hook, HookMissing, Hooks, HookUnusable
from services.receiver.kept import Item, Kept, KeptFull, KeptUnusable
from services.receiver.reception import AnotherBody, Done, Received, Reception
from services.receiver.signatures import Request, SignatureInvalid, SignatureStale
from services.web import Answer, Call, Route, unavailable

BODY_BYTES_MAX = 2 * 1024 * 1024
BODIES_MAX = 64  # At once. Each is held in memory, and its signature is not checked before it is whole.
BODY_SECONDS_MAX = 30  # For a body to arrive.
ASK_SECONDS_MAX = 10
KEPT_LIMIT_MAX = 100

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


class HookState(Struct, frozen=True):
    """A hook that can be used."""

    hook: str
    usable: Literal[True] = True


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


class KeptPage(Struct, frozen=True):
    """In the order in which they came. `more`: ask again with `after` = the last id."""

    kept: list[KeptBody]
    more: bool


class KeptParameters(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    after: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, Meta(ge=1, le=KEPT_LIMIT_MAX)] = 50


class AskedKeys:
    """Who presents a key, as far as the ledger says: whether it has the scope admin."""

    def __init__(self, url: str) -> None:
        self._url = f"{url.rstrip('/')}/v1/keys"

    async def principal(self, text: str) -> Principal:
        """Raises Unauthorized and Unavailable."""
        if not (text.isascii() and text.isprintable()):
            raise Unauthorized("this is not a key; one looks like lk_…")
        headers = {"Authorization": f"Bearer {text}"}
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS_MAX)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(self._url, headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unavailable(f"the ledger, which knows the keys, does not answer: {error}") from error
        match status:
            case 200:
                return Principal(key="admin", name="", scopes=frozenset({"admin"}))
            case 403:
                return Principal(key="other", name="", scopes=frozenset())
            case 401:
                raise Unauthorized("this key is not known, has expired or was revoked")
            case _:
                raise Unavailable(f"the ledger, which knows the keys, answers {status}")


class Faces:
    """What a request finds: hooks, and a reception unless the file of what is kept cannot be used."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self.kept: Kept | None = None
        self.reception: Reception | None = None
        self.amiss = "the receiver is starting"
        self._bodies = 0

    async def ready(self) -> None:
        """Raises Unavailable while nothing can be taken in."""
        if self.reception is None:
            raise Unavailable(self.amiss)

    async def post(self, call: Call) -> web.Response:
        hook = self._hook(call.request)
        try:
            response = await self._answer(hook, call.request)
        except Problem as problem:
            _webhooks.labels(hook.name, problem.status).inc()
            raise
        _webhooks.labels(hook.name, response.status).inc()
        return response

    async def get(self, call: Call) -> web.Response:
        hook = self._hook(call.request)
        if hook.written is None:
            raise Problem("hook-unusable", hook.amiss)
        return _json(200, HookState(hook.name))

    async def list_kept(self, call: Call) -> web.Response:
        name = call.request.match_info["name"]
        asked: KeptParameters = call.parameters
        if self.kept is None:
            raise unavailable(self.amiss)
        try:
            items = await asyncio.to_thread(self.kept.page, hook=name, after=asked.after, limit=asked.limit + 1)
        except KeptUnusable as error:
            raise unavailable(str(error)) from error
        return _json(200, KeptPage([_told(item) for item in items[: asked.limit]], len(items) > asked.limit))

    def _hook(self, request: web.Request) -> Hook:
        name = request.match_info["name"]
        try:
            return self.hooks.get(name)
        except HookMissing:
            raise Problem("not-found", f"there is no hook {name[:80]!r}") from None
        except HookUnusable as error:
            raise Problem("hook-unusable", str(error), headers={"Retry-After": "60"}) from error

    async def _answer(self, hook: Hook, request: web.Request) -> web.Response:
        if self.reception is None:
            raise unavailable(self.amiss)
        if self._bodies >= BODIES_MAX:
            raise Problem("overloaded", f"{BODIES_MAX} bodies are on their way in", headers={"Retry-After": "1"})
        self._bodies += 1
        try:
            headers = [(name.lower(), value) for name, value in request.headers.items()]
            came = Request(request.method, headers, await _body(request))
            received = await self.reception.receive(hook, came)
        except SignatureInvalid as error:
            raise Problem("signature-invalid", str(error)) from error
        except SignatureStale as error:
            raise Problem("signature-stale", str(error)) from error
        except AnotherBody as error:
            raise Problem("delivery-conflict", str(error)) from error
        except KeptFull as error:
            raise Problem("kept-full", str(error), headers={"Retry-After": "60"}) from error
        except KeptUnusable as error:
            raise unavailable(str(error)) from error
        finally:
            self._bodies -= 1
        return _answered(hook, received)


def routes(faces: Faces) -> list[Route]:
    """The requests that the receiver answers."""
    refused = [
        "signature-invalid", "signature-stale", "malformed-json", "delivery-conflict", "mapping-misfit", "not-recorded",
        "hook-unusable", "kept-full", "overloaded", "too-large", "not-found", "unavailable",
    ]  # fmt: skip
    return [
        Route(
            method="POST",
            path="/hooks/{name}",
            handler=faces.post,
            summary="Take a webhook in. Its signature, made as the hook says, stands in for a key.",
            scope=None,
            takes={"application/json": None},
            answers={
                200: Answer("Its events are in the ledger.", {"application/json": Taken}),
                202: Answer("It is kept until the ledger takes it.", {"application/json": Waiting}),
            },
            refusals=refused,
        ),
        Route(
            method="GET",
            path="/hooks/{name}",
            handler=faces.get,
            summary="Whether a hook can be used; if not, which file, line and spot to mend.",
            scope=None,
            answers={200: Answer("It can be used.", {"application/json": HookState})},
            refusals=["not-found", "hook-unusable"],
        ),
        Route(
            method="GET",
            path="/hooks/{name}/kept",
            handler=faces.list_kept,
            summary="What is kept of a hook, and why, without the bodies.",
            scope="admin",
            parameters=KeptParameters,
            answers={200: Answer("In the order in which it came.", {"application/json": KeptPage})},
            refusals=["unavailable"],
        ),
    ]


async def _body(request: web.Request) -> bytes:
    """The body as it came. Raises Problem if it is too large or too slow."""
    too_large = Problem(
        "too-large", f"a webhook has at most {BODY_BYTES_MAX} bytes here", headers={"Connection": "close"}
    )
    if (request.content_length or 0) > BODY_BYTES_MAX:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_SECONDS_MAX):
            async for part in request.content.iter_any():
                size += len(part)
                if size > BODY_BYTES_MAX:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise Problem(
            "bad-request", f"the body was not there after {BODY_SECONDS_MAX} seconds", headers={"Connection": "close"}
        ) from None
    return b"".join(parts)


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


def _told(item: Item) -> KeptBody:
    return KeptBody(
        item.id, item.state, item.problem, item.reason, item.size, item.received_at, item.tried_at, item.tries
    )


def _json(status: int, value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")
