"""What both HTTP services share: declared routes, keys, problems, probes, metrics and logs.

A route is declared once; checking a request, answering it and describing it (openapi.py) read the declaration.
A request passes: log and metrics → problems → key, scope, ledger → parameters → handler.
"""

import asyncio
import base64
import contextlib
import errno
import logging
import re
import signal
import socket
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, get_type_hints

import msgspec
import structlog
from aiohttp import hdrs, web
from msgspec import Struct
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from schemas.objections import allowed
from schemas.values import LEDGER_PATTERN
from services import cross_origin, problem_pages, workers
from services.keys import Principal, Scope, Unauthorized
from services.postgres import Unavailable
from services.problems import Problem
from services.sealing import MasterKeyError
from services.workers import Worker

REQUEST_BYTES_MAX = 16 * 1024 * 1024
REQUEST_LINE_BYTES_MAX = 100 * 1024  # A parameter may be a text of 8,000 characters; escaped, one may take 12 bytes.
_JSON = "application/json"
BACKLOG = 1024  # Connections that wait to be accepted.
UNREAD_SECONDS_MAX = 60  # For a client to take more of what is sent to it.
RETRY_AFTER_SECONDS = 1
SHUTDOWN_SECONDS_MAX = 10
_WHERE = "/docs lists what there is; the ledger records and proves, the projector, at a port of its own, answers"

_log = structlog.get_logger()
_seconds = Histogram(
    "http_request_seconds",
    "Time from a request's head to the end of its answer, in seconds.",
    ["service", "method", "route", "status"],
)
_ledger_name = re.compile(LEDGER_PATTERN)
_whole_number = re.compile("[0-9]+")
_key = web.RequestKey("key", str)
_stopping = web.AppKey("stopping", asyncio.Event)
_begun = web.RequestKey("begun", bool)


class _NoBytes(logging.Filter):
    """What aiohttp says of a request that it cannot parse holds the bytes, and they may hold a key or a quote."""

    def filter(self, record: logging.LogRecord) -> bool:
        cause = record.exc_info[1] if record.exc_info else None
        _log.debug("request_not_http", reason=type(cause).__name__)
        return False


_unparsable = logging.getLogger("services.web.unparsable")
_unparsable.addFilter(_NoBytes())


class KnowsKeys(Protocol):
    """Who presents a key: the table of keys, or a service that asks another one."""

    async def principal(self, text: str) -> Principal:
        """Raises Unauthorized and Unavailable."""
        ...


class Call(Struct, frozen=True):
    """A request that may be answered: who asks, for which ledger, with which parameters.

    `check_again`: whether the key still opens it, for answers without an end. Raises Problem and Unavailable.
    """

    request: web.Request
    principal: Principal
    ledger: str
    parameters: Any
    check_again: Callable[[], Awaitable[Principal]]


class Description(Struct, frozen=True):
    """The OpenAPI document of a service, encoded, and the page made of it."""

    document: bytes
    page: str


Handler = Callable[[Call], Awaitable[web.StreamResponse]]


class Shape(Struct, frozen=True):
    """A body that no one type describes: its name, and the JSON Schemas by name that it is made of.

    `types`: the types whose schemas those refer to.
    """

    name: str
    schemas: Mapping[str, Any]
    types: Sequence[Any] = ()


class Answer(Struct, frozen=True):
    """An answer of a route, as OpenAPI describes it: media type → type of the body, or its Shape (None: any).

    `headers`: names of those that it can have. `links`: requests that lead on from it, as operationId → parameter →
    the expression by which OpenAPI finds its value in the answer.
    """

    text: str
    bodies: Mapping[str, Any] = {}
    headers: Sequence[str] = ()
    links: Mapping[str, Mapping[str, str]] = {}


class Route(Struct, frozen=True, kw_only=True):
    """One request that a service answers.

    `scope`: what a key must have; of several, any; of none, any key will do. None: anybody may ask.
    `headers`: names of those of the request that it reads.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    scope: Scope | tuple[Scope, ...] | None
    parameters: type[Struct] | None = None
    headers: Sequence[str] = ()
    takes: Mapping[str, Any] = {}
    body_required: bool = True
    answers: Mapping[int, Answer]
    refusals: Sequence[str] = ()


def application(
    service: str,
    routes: Sequence[Route],
    keys: KnowsKeys,
    ready: Callable[[], Awaitable[None]],
    description: Description,
    origins: Collection[str] = (),
) -> web.Application:
    """The application of a service. `ready` raises Unavailable or Problem while it is not.

    `origins`: those whose pages may read the answers in a browser.
    """
    app = web.Application(
        client_max_size=REQUEST_BYTES_MAX, middlewares=[_observed(service), web.middleware(_problems_answered)]
    )
    app[_stopping] = asyncio.Event()
    app.on_shutdown.append(_stop)
    app.on_response_prepare.append(_begin)
    cross_origin.allow(app, origins)
    for route in routes:
        handler = _checked(route, keys)
        app.router.add_route(route.method, route.path, handler)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, handler)  # The same without its body, which aiohttp leaves out.

    async def livez(request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(request: web.Request) -> web.Response:
        await ready()
        return web.json_response({"ready": True})

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(_registry()), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def openapi(request: web.Request) -> web.Response:
        return web.Response(body=description.document, content_type="application/json")

    async def docs(request: web.Request) -> web.Response:
        return web.Response(text=description.page, content_type="text/html")

    async def to_docs(request: web.Request) -> web.Response:
        raise web.HTTPSeeOther("/docs")

    async def every_problem(request: web.Request) -> web.Response:
        if _wants_html(request):
            return _shown(problem_pages.overview_html())
        return web.json_response(problem_pages.overview(), headers=_BY_ACCEPT)

    async def problem(request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if _wants_html(request):
            return _shown(problem_pages.html(name))
        return web.json_response(problem_pages.document(name), headers=_BY_ACCEPT)

    app.router.add_get("/", to_docs)
    app.router.add_get("/livez", livez)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/openapi.json", openapi)
    app.router.add_get("/docs", docs)
    app.router.add_get("/problems", every_problem)
    app.router.add_get("/problems/{name}", problem)
    return app


async def _listening(host: str, port: int, *, shared: bool) -> list[socket.socket]:
    """A socket for each address of a host that this machine has. `shared`: other processes listen on the port, too.
    Raises OSError: there is none, another has the port, or the host is not known."""
    loop = asyncio.get_running_loop()
    try:
        resolved = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno != socket.EAI_NONAME:
            raise  # Who knows names may know this one later.
        raise workers.no_such_host(host) from error
    found = dict.fromkeys(resolved)
    sockets: list[socket.socket] = []
    for number, (family, _, _, _, address) in enumerate(found, 1):
        try:
            listening = socket.create_server(address, family=family, backlog=BACKLOG, reuse_port=shared)
        except OSError as error:
            if error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL) and (sockets or number < len(found)):
                continue  # `localhost` is told to have addresses of families that are switched off.
            for each in sockets:
                each.close()
            raise
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux has it.
            # Its connections have it from there: who has asked and then does not read is not waited for any longer.
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1_000 * UNREAD_SECONDS_MAX)
        sockets.append(listening)
    return sockets


def _registry() -> CollectorRegistry:
    """The metrics of all processes that share a port, or those of this one, if it has its port to itself."""
    directory = workers.metrics_directory()
    if directory is None:
        return REGISTRY
    added_up = CollectorRegistry()
    MultiProcessCollector(added_up, directory)  # type: ignore[no-untyped-call]
    return added_up


_BY_ACCEPT = {"Vary": "Accept"}


def _wants_html(request: web.Request) -> bool:
    """Whether a browser asks: programs name no text/html, or take it as gladly as anything."""
    return "text/html" in request.headers.get("Accept", "")


def _shown(page: str) -> web.Response:
    return web.Response(text=page, content_type="text/html", headers=_BY_ACCEPT)


async def serve(app: web.Application, *, host: str, port: int, service: str, worker: Worker | None = None) -> None:
    """Answer requests until SIGTERM or SIGINT; then finish those that were accepted, and return.

    `worker`: which one of several that share the port.
    """
    # Bodies are taken as they are: a small one that unfolds into a huge one would hold up everybody.
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=_unparsable,
        auto_decompress=False,
        max_line_size=REQUEST_LINE_BYTES_MAX,
        shutdown_timeout=SHUTDOWN_SECONDS_MAX,
    )
    await runner.setup()
    try:
        for listening in await _listening(host, port, shared=worker is not None):
            await web.SockSite(runner, listening, backlog=BACKLOG).start()
        if worker is not None:
            worker.start()
        _log.info("service_started", service=service, url=f"http://{host}:{port}")
        await _asked_to_stop()
        _log.info("service_stopping", service=service)
    finally:
        await runner.cleanup()


def has_already(request: web.Request, etag: str) -> bool:
    """Whether the client has the answer with this strong ETag (RFC 9110, If-None-Match: compared weakly)."""
    known = [each.strip().removeprefix("W/") for each in request.headers.get("If-None-Match", "").split(",")]
    return etag in known or "*" in known


def over(request: web.Request) -> bool:
    """Whether an answer without an end ends now: the client has gone, or the service stops."""
    return request.transport is None or request.app[_stopping].is_set()


async def _stop(app: web.Application) -> None:
    app[_stopping].set()


async def _asked_to_stop() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop.set)
    await stop.wait()


def would_rather(accept: str, media_type: str) -> bool:
    """Whether the client would rather have this than JSON, by its header Accept. What it names comes before what it
    takes as well."""
    named: dict[str, float] = {}
    for part in accept.split(","):
        media, *parameters = (each.strip().lower() for each in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter.removeprefix("q="))
                except ValueError:
                    weight = 0.0
        named[media] = weight
    wanted = named.get(media_type, 0.0)
    if _JSON in named:
        return wanted > named[_JSON]
    return wanted > 0 and wanted >= max(named.get("application/*", 0.0), named.get("*/*", 0.0))


# What a request passes on its way to its handler


def _observed(service: str) -> Any:
    # Bound once, and each series looked up once: both cost more than what they are for, if every request pays them.
    log = _log.bind(service=service)
    is_told = log.is_enabled_for(logging.DEBUG)
    series: dict[tuple[str, Any, int], Any] = {}

    @web.middleware
    async def observed(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        started = time.perf_counter()
        status = 499  # The client went away before there was an answer.
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            seconds = time.perf_counter() - started
            resource = request.match_info.route.resource
            # A client may send any word; metrics tell apart those that there are.
            method = request.method if request.method in cross_origin.METHODS else "other"
            kind = method, resource, status
            if kind not in series:
                route = resource.canonical if resource is not None else "none"
                series[kind] = _seconds.labels(service, method, route, status)
            series[kind].observe(seconds)
            if is_told:
                log.debug(
                    "request_answered",
                    method=request.method,
                    path=request.path,
                    status=status,
                    seconds=round(seconds, 6),
                    key=request.get(_key),
                )

    return observed


async def _problems_answered(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await _letting_go(handler(request))
    except ConnectionError:
        raise  # The client went away; there is nobody to answer.
    except Exception as error:
        if isinstance(error, web.HTTPMethodNotAllowed) and request.method == hdrs.METH_OPTIONS:
            return web.Response(status=204, headers={"Allow": _allowed(error)})
        problem = _problem(request, error)
        if not request.get(_begun):
            return problem.response()
        # A part of another answer is out. A cut connection says so; a regular end would pass for the whole.
        _log.warning("answer_cut", method=request.method, path=request.path, reason=problem.detail)
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("an answer was cut") from error


async def _letting_go(answering: Awaitable[web.StreamResponse]) -> web.StreamResponse:
    """The answer. What tells that the client went away, aiohttp keeps in a circle of references, which is not looked
    for before many thousands of objects have been made; a body or a page that was at hand is not to be kept with it."""
    try:
        return await answering
    except (ConnectionError, asyncio.CancelledError, web.RequestPayloadError) as error:
        # Raised in this request alone: no other task goes on in one of these frames, which to clear it would end.
        traceback.clear_frames(error.__traceback__)
        raise


async def _begin(request: web.Request, response: web.StreamResponse) -> None:
    request[_begun] = True


def _problem(request: web.Request, error: Exception) -> Problem:
    """What this error means to the client. Raises it again if it is an answer itself."""
    match error:
        case Problem():
            return error
        case Unavailable() | MasterKeyError():
            # A text that is there and cannot be opened is no reason to pretend that there is none.
            return unavailable(str(error))
        case web.HTTPRequestEntityTooLarge():
            return Problem("too-large", f"a request has at most {REQUEST_BYTES_MAX} bytes")
        case web.HTTPMethodNotAllowed():
            allow = _allowed(error)
            return Problem("method-not-allowed", f"{request.path} takes {allow}", headers={"Allow": allow})
        case web.HTTPNotFound():
            return Problem("not-found", f"there is nothing at {request.path}; {_WHERE}")
        case web.HTTPException() if error.status < 400:
            raise error
        case web.HTTPException():
            return Problem("bad-request", error.reason)
        case web.RequestPayloadError():
            # Where the next request would begin is not known.
            return Problem("bad-request", f"the body cannot be read: {error}", headers={"Connection": "close"})
        case _:
            instance = uuid.uuid4().hex
            _log.error("request_failed", method=request.method, path=request.path, instance=instance, exc_info=error)
            return Problem("internal", f"the log of the service has it as {instance}", instance=instance)


def _allowed(error: web.HTTPMethodNotAllowed) -> str:
    return ", ".join(sorted(error.allowed_methods))


def unavailable(detail: str) -> Problem:
    return Problem("unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def _checked(route: Route, keys: KnowsKeys) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    parameters = route.parameters
    scopes = (route.scope,) if isinstance(route.scope, str) else route.scope
    names = _parameter_names(parameters) if parameters is not None else {}
    of_a_ledger = "{ledger}" in route.path
    unasked = _defaults(parameters)

    async def checked(request: web.Request) -> web.StreamResponse:
        principal = _NOBODY if route.scope is None else await _principal(request, keys)
        request[_key] = principal.key
        if scopes and not any(principal.may(scope) for scope in scopes):
            raise Problem("scope-missing", f"this request needs the scope {scopes_text(route)}")
        if "%00" in request.rel_url.raw_path and any("\0" in part for part in request.match_info.values()):
            raise Problem("not-found", "a path holds no character U+0000")
        if route.takes:
            encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
            if encoding != "identity":
                raise Problem("unsupported-media-type", f"a body is sent as it is, not as {encoding[:40]}")
        ledger = request.match_info["ledger"] if of_a_ledger else ""
        if of_a_ledger:
            if not _ledger_name.match(ledger):
                raise Problem("no-such-ledger", "the name of a ledger is a-z, then a-z 0-9 -, 40 characters at most")
            if not principal.may_open(ledger):
                raise Problem("forbidden", f"this key is not for the ledger {ledger!r}")
        asked = unasked is None or request.rel_url.raw_query_string
        given = _parameters(request, parameters, names) if asked else unasked
        return await route.handler(Call(request, principal, ledger, given, partial(_principal, request, keys)))

    return checked


def scopes_text(route: Route) -> str:
    """The scopes of a route as a text: any one of them will do."""
    scopes = (route.scope,) if isinstance(route.scope, str) else route.scope or ()
    return " or ".join(f"`{scope}`" for scope in scopes)


_NOBODY = Principal(key="", name="", scopes=frozenset())


async def _principal(request: web.Request, keys: KnowsKeys) -> Principal:
    try:
        return await keys.principal(_presented(request.headers.get("Authorization", "")))
    except Unauthorized as error:
        raise Problem(
            "unauthorized",
            str(error),
            headers={"WWW-Authenticate": 'Bearer realm="ledger", Basic realm="ledger"'},
            **error.members,
        ) from None


def _presented(authorization: str) -> str:
    scheme, _, credentials = authorization.strip().partition(" ")
    credentials = credentials.strip()
    match scheme.lower():
        case "bearer" if credentials:
            return credentials
        case "basic":
            with contextlib.suppress(ValueError):
                return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
            raise Unauthorized("the Basic credentials are not base64 of user:password")
        case "bearer":
            raise Unauthorized("there is no key behind Bearer: send `Authorization: Bearer KEY`")
        case "":
            raise Unauthorized("a key is needed: send `Authorization: Bearer KEY`")
        case _:
            raise Unauthorized("the Authorization header is neither Bearer nor Basic with a key")


_MISSING_PARAMETER = re.compile(r"Object missing required field `(\w+)`")


def _parameter_names(parameters: type[Struct]) -> Mapping[str, str]:
    """As they are sent → as they are called here."""
    return {field.encode_name: field.name for field in msgspec.structs.fields(parameters)}


def _defaults(parameters: type[Struct] | None) -> Any:
    """What a request without a query asks for; None where that is nothing, or a parameter is required."""
    with contextlib.suppress(msgspec.ValidationError):
        return None if parameters is None else msgspec.convert({}, parameters)
    return None


def _parameters(request: web.Request, parameters: type[Struct] | None, names: Mapping[str, str]) -> Any:
    given = request.query
    for name in given:
        if name not in names:
            known = f"; it has {', '.join(sorted(names))}" if names else ""
            raise Problem("bad-parameter", f"this request has no parameter {name[:100]!r}{known}", parameter=name[:100])
        if len(given.getall(name)) > 1:
            raise Problem("bad-parameter", f"`{name}` is given more than once", parameter=name)
        if "\0" in given[name]:
            raise Problem("bad-parameter", f"`{name}` must not contain the character U+0000", parameter=name)
    if parameters is None:
        return None
    try:
        asked = msgspec.convert(dict(given), parameters, strict=False)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$.")
        missing = _MISSING_PARAMETER.fullmatch(message)
        name = missing[1] if missing else path.rstrip("`")
        raise Problem(
            "bad-parameter", f"`{name}`: {_demand(parameters, name) or message}" if name else message, parameter=name
        ) from None
    for name, text in given.items():
        # msgspec takes 1e2 and 100.0 for whole numbers, too.
        if type(getattr(asked, names[name])) is int and not _whole_number.fullmatch(text):
            raise Problem("bad-parameter", f"`{name}`: a whole number is written in digits", parameter=name)
    return asked


def _demand(parameters: type[Struct], name: str) -> str | None:
    """What a parameter has to be, if it has few values: all of them, and of a single one what is said of it."""
    fields = _parameter_names(parameters)
    if name not in fields:
        return None
    schema = msgspec.json.schema(get_type_hints(parameters, include_extras=True)[fields[name]])
    values = allowed(get_type_hints(parameters)[fields[name]])
    if len(values) == 1:
        return f"must be {values[0]} ({schema['description']})" if "description" in schema else f"must be {values[0]}"
    return f"must be one of {', '.join(values)}" if values else None
