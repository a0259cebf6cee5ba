"""Problems: every answer that is not what was asked for, as RFC 9457 `application/problem+json`.

The table below is the one place that knows which status a problem has. Its `next` is the page behind the
problem's type: what to do about it.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct

CONTENT_TYPE = "application/problem+json"


class Kind(Struct, frozen=True):
    """A type of problem: its HTTP status, its title, and what a client does next."""

    status: int
    title: str
    next: str


KINDS: Mapping[str, Kind] = {
    "malformed-json": Kind(400, "The body is not JSON", "Mend the body at the spot that `detail` names."),
    "not-a-cloudevent": Kind(
        400,
        "Not a CloudEvent",
        "Send `specversion`, `id`, `source`, `type` and `data` as CloudEvents 1.0 asks; `errors` points at each spot.",
    ),
    "bad-request": Kind(400, "The request cannot be understood", "Mend what `detail` names."),
    "bad-parameter": Kind(400, "A parameter is unknown or out of range", "/docs lists each request's parameters."),
    "unauthorized": Kind(401, "No valid key", "Send `Authorization: Bearer KEY`, or Basic with the key as password."),
    "forbidden": Kind(403, "Not granted", "Ask an administrator for a key with the grant that `detail` names."),
    "scope-missing": Kind(403, "The key lacks a scope", "Ask an administrator for a key with the scope in `detail`."),
    "source-not-granted": Kind(
        403, "The key may not emit under this source", "Use the source that the key is for, or another key."
    ),
    "team-not-granted": Kind(403, "The key may not act for this team", "Have a key of that team send this act."),
    "not-found": Kind(404, "Not found", "Look at the path and at `detail`; a later event may bring it."),
    "no-such-ledger": Kind(404, "No such ledger", "GET /v1/ledgers lists them; PUT /v1/ledgers/{ledger} makes one."),
    "beyond-the-head": Kind(
        404, "Beyond the head of the log", "Ask for a position that has been recorded, or a time that has passed."
    ),
    "method-not-allowed": Kind(405, "This method is not for this path", "The Allow header lists those that are."),
    "id-conflict": Kind(
        409,
        "The id was recorded with other content",
        "An id names one content for ever. Is it a retry? Then send the same content. Is it news? Then use a new id.",
    ),
    "origin-taken": Kind(
        409,
        "Another ledger's log has this origin",
        "Leave `origin` out, and one is made that no other log has; or give one of this log's own.",
    ),
    "alias-contested": Kind(
        409,
        "This alias is nobody's, though it is claimed",
        "Say whose it is by an act: merge the alias into its account, or the accounts into one (account.merged).",
    ),
    "version-conflict": Kind(
        409,
        "The stream has another version than expected",
        "Read the stream, look at what came in between, and send again with `current_version` if it still holds.",
    ),
    "precondition-failed": Kind(
        412,
        "The stream has another version than If-Match",
        "Read the stream, look at what came in between, and send again with the ETag of the stream.",
    ),
    "too-large": Kind(
        413,
        "Too large",
        "An event has at most 60 KiB and a request 16 MiB. Link to long documents; split long batches.",
    ),
    "too-much-to-prove": Kind(
        422,
        "More than one answer can prove",
        "Ask without `proof`, or for an earlier position with `as_of`. To check all of it, take the log with"
        " `ledger export log`, or read and check it over HTTP with `ledger audit`.",
    ),
    "unsupported-media-type": Kind(
        415,
        "This media type is not taken here",
        "Send application/cloudevents+json, application/cloudevents-batch+json, or ce-* headers and application/json.",
    ),
    "unknown-type": Kind(422, "No such event type", "GET /v1/schemas lists the types."),
    "invalid-event": Kind(
        422, "The event's type refuses it", "GET /v1/schemas/{type} has the schema; `errors` points at each spot."
    ),
    "time-in-future": Kind(
        422, "The time lies ahead", "Look at the clock of the emitter: five minutes ahead is the most that is taken."
    ),
    "rule-not-met": Kind(
        422,
        "The rule of this act is not met",
        "With `retryable` the same act can become possible after a later event; `errors` says what it waits for.",
    ),
    "invalid-proposal": Kind(
        422, "The proposed revision is refused", "`errors` points at each spot of the body. Mend it, and ask again."
    ),
    "signature-invalid": Kind(
        401,
        "The signature does not match",
        "Look at the secret at both ends, and whether something on the way changes the body or takes headers away.",
    ),
    "signature-stale": Kind(
        401, "Signed too long ago, or ahead of time", "Set the clocks of both ends, and have the sender sign anew."
    ),
    "delivery-conflict": Kind(
        409, "The delivery's id came before with another body", "A retry sends the same body; news has a new id."
    ),
    "mapping-misfit": Kind(
        422,
        "The mapping makes no events of this body",
        "Mend the hook, then send again. What is kept (the member `kept`) also goes on by `ledger hook replay`.",
    ),
    "not-recorded": Kind(
        422,
        "The ledger refuses the events that were made of this body",
        "Mend the hook, then send again. What is kept (the member `kept`) also goes on by `ledger hook replay`.",
    ),
    "hook-unusable": Kind(
        503,
        "The hook cannot be used",
        "`ledger hook check` says which file, line and spot to mend. Then send the same again.",
    ),
    "kept-full": Kind(
        503,
        "No room to keep more bodies",
        "`ledger hook kept` lists them, and why: mend it, replay them or drop them. Then send the same again.",
    ),
    "history-in-doubt": Kind(
        503,
        "The log does not go on from where it was",
        "It was restored, failed over or changed, and takes no writes. An operator finds out which, and says so:"
        " `ledger accept-history`. Then send the same again.",
    ),
    "overloaded": Kind(
        503, "The queue is full", "Send the same again after Retry-After seconds; the id makes it safe."
    ),
    "unavailable": Kind(
        503,
        "What this needs is not there",
        "`detail` says what is missing. Send the same again after Retry-After seconds; the id makes it safe.",
    ),
    "projection-stopped": Kind(
        503,
        "A projection that this answer reads has stopped",
        "GET /v1/ledgers/{ledger}/projections says which and why; an operator mends it. Nothing is lost.",
    ),
    "not-there-yet": Kind(
        504, "The read models are not there yet", "Ask again, or wait longer with `timeout` (30 seconds at most)."
    ),
    "internal": Kind(
        500, "Something unexpected happened here", "Send the same again; tell an operator the `instance`."
    ),
}


class Problem(Exception):
    """An answer that ends a request. `members` are extension members of the problem document.

    `plain`: the detail without a word of what was sent, so that it may be kept. Empty: the title says it all.
    """

    def __init__(
        self, name: str, detail: str, *, plain: str = "", headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail
        self.plain = plain
        self.headers = dict(headers or {})
        self.members = members

    @property
    def status(self) -> int:
        return KINDS[self.name].status

    def document(self) -> dict[str, Any]:
        kind = KINDS[self.name]
        return {
            "type": f"/problems/{self.name}",
            "title": kind.title,
            "status": kind.status,
            "detail": self.detail,
            **self.members,
        }

    def response(self) -> web.Response:
        return web.Response(
            body=msgspec.json.encode(self.document()),
            status=self.status,
            content_type=CONTENT_TYPE,
            headers={"Cache-Control": "no-store", **self.headers},
        )
