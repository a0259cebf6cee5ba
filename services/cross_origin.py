"""Cross-origin requests (CORS): which pages of other origins a browser lets read the answers. By default none.

Keys come in the Authorization header, which a page sets itself; cookies play no part, so that credentials are never
allowed and an origin is named exactly.
"""

import re
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from aiohttp import hdrs, web

PREFLIGHT_SECONDS = 600
EXPOSED = ("ETag", "Link", "Location", "Retry-After", "Preference-Applied", "WWW-Authenticate", "Allow")
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def allow(app: web.Application, allowed: Collection[str]) -> None:
    """Let pages of these origins read the answers of an application, and ask beforehand whether they may."""
    if not allowed:
        return

    async def marked(request: web.Request, response: web.StreamResponse) -> None:
        # Caches keep answers apart by origin, those without one as well.
        vary = response.headers.getall(hdrs.VARY, [])
        response.headers[hdrs.VARY] = ", ".join([*vary, hdrs.ORIGIN])
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is not None and origin in allowed:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(EXPOSED)

    @web.middleware
    async def preflighted(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD)
        if request.method != hdrs.METH_OPTIONS or wanted is None or request.headers.get(hdrs.ORIGIN) not in allowed:
            return await handler(request)
        names = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "").split(",")
        headers = {
            hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(METHODS),
            hdrs.ACCESS_CONTROL_MAX_AGE: str(PREFLIGHT_SECONDS),
            hdrs.VARY: f"{hdrs.ACCESS_CONTROL_REQUEST_METHOD}, {hdrs.ACCESS_CONTROL_REQUEST_HEADERS}",
        }
        if asked := [name.strip() for name in names if _HEADER_NAME.fullmatch(name.strip())]:
            headers[hdrs.ACCESS_CONTROL_ALLOW_HEADERS] = ", ".join(asked)
        return web.Response(status=204, headers=headers)

    app.on_response_prepare.append(marked)
    middlewares: Any = app.middlewares
    middlewares.insert(1, preflighted)
