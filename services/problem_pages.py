"""The pages behind the types of problems: for programs as JSON, for people as HTML."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2
import msgspec
from msgspec import Struct

from services.problems import KINDS, Problem

_template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    Path(__file__).with_name("problems.html").read_text()
)


class Page(Struct, frozen=True):
    """What a type of problem means, when it comes, and an answer that shows it: its `detail` and further members."""

    means: str
    when: str
    detail: str
    members: Mapping[str, Any] = {}


def document(name: str) -> dict[str, Any]:
    """What a type of problem means, for a program. Raises Problem (404) if there is no such type."""
    page = _page(name)
    kind = KINDS[name]
    return {
        "type": f"/problems/{name}",
        "title": kind.title,
        "status": kind.status,
        "means": page.means,
        "when": page.when,
        "next": kind.next,
        "example": _example(name),
    }


def html(name: str) -> str:
    """The same as a page for people. Raises Problem as well."""
    return _template.render(one=document(name), example=_pretty(_example(name)), all=[])


def overview() -> dict[str, Any]:
    """All types of problems, by status and name."""
    return {
        "problems": [
            {"type": f"/problems/{name}", "title": KINDS[name].title, "status": KINDS[name].status}
            for name in sorted(KINDS, key=lambda name: (KINDS[name].status, name))
        ]
    }


def overview_html() -> str:
    """The same as a page for people."""
    return _template.render(one=None, example="", all=overview()["problems"])


def _page(name: str) -> Page:
    if name not in KINDS:
        raise Problem("not-found", "no such problem type; GET /problems lists them")
    return PAGES[name]


def _example(name: str) -> dict[str, Any]:
    page = PAGES[name]
    return Problem(name, page.detail, **page.members).document()


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def _spot(pointer: str, message: str, type: str, **more: Any) -> dict[str, Any]:
    return {"errors": [{"index": 0, "pointer": pointer, "message": message, "type": f"/problems/{type}", **more}]}


PAGES: Mapping[str, Page] = {
    "malformed-json": Page(
        "The body is no JSON text in UTF-8, and so nothing of it was looked at.",
        "A brace is missing, a text was cut, or a text is in another encoding than UTF-8. `detail` has the byte.",
        "JSON is malformed: invalid character (byte 17)",
    ),
    "not-a-cloudevent": Page(
        "The body is JSON, and still no CloudEvent: an attribute is missing, or is not what CloudEvents 1.0 says.",
        "`id`, `source`, `type`, `specversion` or `data` is left out; a batch is no array; or application/json comes"
        " without the ce-* headers that binary mode needs.",
        "`source` is required",
        _spot("/source", "`source` is required", "not-a-cloudevent"),
    ),
    "bad-request": Page(
        "The ledger understands the form of the request, and cannot make sense of what it says.",
        "A body has a field that nobody knows or lacks one that is needed, or two headers contradict each other.",
        "If-Match goes with one event; in a batch, give an event `expectedversion`",
    ),
    "bad-parameter": Page(
        "A parameter behind the question mark is unknown, is given twice, or has a value that it cannot have.",
        "Often a name with a slip in its spelling: nothing that is unknown is passed over. `parameter` names it.",
        "`limit`: Expected `int` <= 1000",
        {"parameter": "limit"},
    ),
    "unauthorized": Page(
        "The request has no key that is valid now.",
        "The Authorization header is missing, the key was never made here, or it has ended. Whoever presents the right"
        " secret learns since when: in the member `expired` or `revoked`.",
        "the key k3j9x2m4p7qa expired at 2026-11-20T10:00:00.000000Z",
        {"expired": "2026-11-20T10:00:00.000000Z"},
    ),
    "forbidden": Page(
        "The key is valid, and is not for this.",
        "It is for other ledgers; or it would make a key that may do more than itself; or this service may not make"
        " ledgers.",
        "this key is not for the ledger 'main'",
    ),
    "scope-missing": Page(
        "What is asked for needs a scope that the key was not made with.",
        "A key that may only `observe` sends an act, or a key that writes wants to read. `detail` names the scope.",
        "this request needs the scope `query` or `audit`",
    ),
    "source-not-granted": Page(
        "The key was made for certain sources, and the event names another.",
        "A key of the CRM is used for another system, or the `source` is written in another way: they are compared"
        " letter by letter.",
        "this key may not emit as /erp",
        _spot("/source", "this key may not emit as /erp", "source-not-granted"),
    ),
    "team-not-granted": Page(
        "The key was made for certain teams, and the event speaks for another.",
        "`by`, `deciders` or an endorsement has a team that the key is not for. Who is only quoted needs no grant:"
        " who was consulted, who dissents.",
        "this key may not act for marketing",
        _spot("/data/team", "this key may not act for marketing", "team-not-granted"),
    ),
    "not-found": Page(
        "There is nothing under this path, or nothing yet.",
        "An id is misspelled, an id with special characters is not percent-encoded, or what you ask for has not been"
        " recorded so far.",
        "nothing has been recorded about requirement/SSO-42",
    ),
    "no-such-ledger": Page(
        "The path names a ledger that this database does not have.",
        "The name is misspelled, or the ledger has not been made.",
        "there is no ledger 'mian'; GET /v1/ledgers has those there are, PUT /v1/ledgers/mian makes it",
    ),
    "beyond-the-head": Page(
        "You ask for what comes after the end of the log.",
        "A position or time lies ahead; or the ledger was restored from a backup and is shorter than it was when you"
        " read it.",
        "the log ends at 812, before 1000: was it restored from a backup?",
    ),
    "method-not-allowed": Page(
        "The path is right, the method is not.",
        "A GET where something is posted, or a PUT where nothing can be replaced: the log only grows.",
        "/v1/ledgers/main/events takes GET, HEAD, POST",
    ),
    "id-conflict": Page(
        "An event of this source and id is in the log, and what was sent now says something else.",
        "An emitter uses an id again, or makes it from too little; or it changes an event that it has sent already.",
        "e-7 of /crm was recorded at position 17 with other content",
        _spot("/id", "e-7 of /crm was recorded at position 17 with other content", "id-conflict"),
    ),
    "origin-taken": Page(
        "Checkpoints name a log by its origin, so no two logs have the same.",
        "A ledger is made with the origin of one that is there, as where its settings were copied.",
        "the origin company.example/main is that of the ledger main, and each log has one of its own",
    ),
    "alias-contested": Page(
        "Several accounts say that this is their id in another system, or one from which it was told apart by an act. "
        "So it names none of them.",
        "Two sources have identified different accounts by one `system:id`, or account.unmerged came before.",
        "zendesk:4711 is claimed by acme, acme-emea, and counts for none of them",
    ),
    "version-conflict": Page(
        "Somebody recorded something about this subject since you looked.",
        "The event has `expectedversion`, and its stream has moved on, or is not that far.",
        "requirement/SSO-42 is at version 5, not 4",
        {
            **_spot(
                "/expectedversion", "requirement/SSO-42 is at version 5, not 4", "version-conflict", current_version=5
            ),
            "current_version": 5,
        },
    ),
    "precondition-failed": Page(
        "Somebody recorded something about this subject since you looked.",
        "The request has If-Match, and the stream has another version than that ETag.",
        "requirement/SSO-42 is at version 5; If-Match asks for another",
        {"current_version": 5},
    ),
    "too-large": Page(
        "The event or the request has more bytes than are taken, or a batch more events.",
        "A document was put into a text, or a batch was not split.",
        "an event has at most 61440 bytes; this one has 80211",
    ),
    "too-much-to-prove": Page(
        "The answer rests on more events, or on more bytes of them, than one answer carries with `proof=1`.",
        "Many accounts ask, or systems have said the same of them, or of the requirement, every night for years.",
        "the answer rests on 4100 events of 2900000 bytes; one answer carries at most 2000 events and 8388608 bytes",
    ),
    "unsupported-media-type": Page(
        "The Content-Type, charset or Content-Encoding of the body is none that is read here.",
        "The header is missing, the body is compressed, or its charset is not UTF-8.",
        "text/plain is not taken here",
    ),
    "unknown-type": Page(
        "The event has a `type` that this ledger does not know.",
        "It is misspelled, the version at its end is left out, or the ledger is older than the emitter.",
        "no such event type: 'ledger.ask.recorded'; GET /v1/schemas lists them",
        _spot("/type", "no such event type: 'ledger.ask.recorded'; GET /v1/schemas lists them", "unknown-type"),
    ),
    "invalid-event": Page(
        "The data is not what the schema of its type says.",
        "A field is missing, is unknown, or has a value that it cannot have. All such spots are told at once.",
        "Expected `int` <= 3",
        _spot("/data/importance", "Expected `int` <= 3", "invalid-event"),
    ),
    "time-in-future": Page(
        "The `time` of the event lies more than five minutes ahead of the ledger's clock.",
        "The emitter's clock is ahead, or a time without its zone was taken for UTC.",
        "2026-11-21T12:00:00Z is more than five minutes ahead of 2026-11-21T10:00:00.000000Z",
        _spot("/time", "2026-11-21T12:00:00Z is more than five minutes ahead of …", "time-in-future"),
    ),
    "rule-not-met": Page(
        "The act is well-formed, and what was recorded so far speaks against it.",
        "A decision names a requirement that nobody has raised, an agreement is adopted before all its signatories"
        " have endorsed it, or something is merged in a circle.",
        "not yet endorsed by engineering",
        {
            **_spot(
                "/data/revision",
                "not yet endorsed by engineering",
                "rule-not-met",
                retryable=True,
                missing=["engineering"],
            ),
            "retryable": True,
            "missing": ["engineering"],
        },
    ),
    "invalid-proposal": Page(
        "The body of a what-if is JSON, and no revision that accounts can be judged by.",
        "A weight is 0, a test nests too deeply, two bullets have one id; or a test names an attribute that no account"
        " has, which is allowed with `new_attributes=true`.",
        "no account has the attribute 'employes'; the nearest: 'employees'. With `new_attributes=true` it may be one"
        " that nobody has yet",
        _spot(
            "/bullets/0/test/attribute",
            "no account has the attribute 'employes'; the nearest: 'employees'. With `new_attributes=true` it may be"
            " one that nobody has yet",
            "invalid-proposal",
        ),
    ),
    "signature-invalid": Page(
        "The webhook is signed, and not with the secret of this hook; or it is not signed at all.",
        "The secret was changed at one end only, or something on the way has rewritten the body.",
        "the signature is not the one that a secret of this hook makes of these bytes",
    ),
    "signature-stale": Page(
        "The signature is right, and was made too long ago or ahead of time: it may be a copy of an old delivery.",
        "The clocks of the two ends differ, or the delivery was held up on its way.",
        "signed at 2026-11-20T10:00:00.000000Z, and the clock here shows 2026-11-20T10:10:00.000000Z: 600 seconds"
        " apart, 300 at most are taken",
    ),
    "delivery-conflict": Page(
        "A webhook of this delivery id was taken before, with another body.",
        "The sender uses ids of deliveries again.",
        "the delivery 5f3c came before with another body",
    ),
    "mapping-misfit": Page(
        "The webhook is genuine, and the mapping of the hook cannot make events of it. It is kept, as the member `kept`"
        " says, unless the hook asks for no signature.",
        "The mapping names a field that this body does not have, the sender has changed its form, or the mapping itself"
        " has a mistake.",
        "the body has no 'ticket.id'; `ticket` has subject",
        {"kept": 17},
    ),
    "not-recorded": Page(
        "The mapping has made events, and the ledger refuses them: with 422, or with 409 where an event's id was"
        " recorded with other content. It is kept, as the member `kept` says, unless the hook asks for no signature.",
        "An act's rule is not met, or the id of an event is made from too little; `errors` has the ledger's own words.",
        "ticket-1 of /hooks/desk was recorded at position 1 with other content",
        {"kept": 17},
    ),
    "hook-unusable": Page(
        "The hook's file has a mistake. Where signatures can be checked even so, what is genuine is taken in meanwhile"
        " and kept (422, mapping-misfit); where they cannot, nothing is taken.",
        "The YAML is not well-formed, the signature has an unknown scheme, or its secret is missing or open to others;"
        " the mapping has a mistake, and you ask for the hook itself, or it asks for no signature.",
        "the hook 'desk' cannot be used; `ledger hook check` says why, and so does the log of the receiver",
    ),
    "kept-full": Page(
        "Bodies that were refused, or wait for the ledger, are kept, and there is no room for more: not for this hook,"
        " or not for any.",
        "A hook has been refusing for long, or its key may not record, and nobody has looked.",
        "67108000 bytes of bodies are kept for the hook 'desk', and with this one it would be more than 67108864, its"
        " share of the room",
    ),
    "history-in-doubt": Page(
        "The log does not extend the last checkpoint that was kept outside the database. Nothing of this request was"
        " recorded; reading goes on.",
        "The database was restored to an earlier time, failed over to a copy that lagged, or was changed by hand; or"
        " its checkpoints are not where they were kept.",
        "the log has 250 events, and it had 301",
    ),
    "overloaded": Page(
        "More events wait to be recorded than this process takes in. Nothing of this request was recorded.",
        "Many emitters send at once, or the database is slow for a moment. Or this body arrived slowly, or was one of"
        " many of its key, and made way for others.",
        "20000 events wait to be recorded",
    ),
    "unavailable": Page(
        "Something that this needs does not answer, mostly the database. Whether the request was recorded is not"
        " known; the same again is safe either way.",
        "PostgreSQL restarts or cannot be reached, or a service is starting or stopping.",
        "the database is not available (ConnectionDoesNotExistError)",
    ),
    "projection-stopped": Page(
        "A read model met an event that it cannot apply, and stopped rather than pass it over.",
        "A version of the software has a mistake, or an older one meets a newer event. The log is not affected.",
        "the projection `accounts` stopped at position 512",
    ),
    "not-there-yet": Page(
        "You asked for an answer that knows a certain position, and the read models have not come that far in time.",
        "`at_least` was given right after posting, and the projector is behind.",
        "the read models are at 800, not yet at 812",
    ),
    "internal": Page(
        "A mistake in this software, met for the first time.",
        "Nobody foresaw it. `instance` finds it in the log of the service.",
        "the log of the service has it as 9f1c0d7be4b24f0a8f1f2f4a7a3f4c11",
        {"instance": "9f1c0d7be4b24f0a8f1f2f4a7a3f4c11"},
    ),
}
