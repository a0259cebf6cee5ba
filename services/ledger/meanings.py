"""What each field of the ledger's bodies means, in a sentence or two: the descriptions in /openapi.json and /docs.

By the name of a class, or for a name wherever nothing else is said. The data of events are said in schemas/meanings.py.
"""

from collections.abc import Mapping

from schemas import meanings

# What a field of this name means wherever nothing else is said below.
_EVERYWHERE: Mapping[str, str] = {
    "created_at": "When it was made.",
    "detail": "What was found, and why it cannot be taken.",
    "dry_run": "Whether this was a rehearsal: nothing was recorded.",
    "duplicate": "Whether the event was recorded before. Sending an event again records it once.",
    "errors": "Everything that was refused, and where in the event.",
    "events": "The events, in order.",
    "expires": "When the key stops working. Null: never.",
    "head": "The last position of the log.",
    "last": "What was recorded last.",
    "ledger": "The name of the ledger.",
    "ledgers": "The ledgers that the key is for. Empty: all of them.",
    "name": "What the key is called, so that people know whose it is.",
    "origin": "Names the log in checkpoints. It never changes once the ledger is made.",
    "position": "The place of the event in the log, from 1 on, without gaps.",
    "recordedtime": "When the ledger recorded it.",
    "results": "A result for each event, in the order sent.",
    "retryable": "Whether the same act can become possible after a later event.",
    "scopes": "What the key may do: `observe` and `act` record, `query` asks the projector and reads the log,"
    " `personal` opens what is sealed, `audit` reads the log and who has opened what, `admin` may do all of it, and"
    " make keys and ledgers.",
    "source": "The system that says it.",
    "sources": "The sources that the key may emit under. Empty: all of them.",
    "stream": "The subject of the event, as requirement/SSO-42.",
    "teams": "The teams that the key may act for. Empty: all of them.",
    "title": "The kind of problem in words.",
    "type": "The event type.",
    "version": "The place of the event among those of its subject, from 1 on.",
}

_FIELDS: Mapping[str, Mapping[str, str]] = {
    "Result": {"id": "The id of the event."},
    "LenientResult": {
        "status": "201: recorded. 200: it was before, or this was a rehearsal. Any other: the problem's.",
        "id": "The id of the event.",
        "type": "The kind of problem, as the path of its page.",
    },
    "Stream": {"version": "The version of the last event of the stream."},
    "EmitterList": {
        "emitters": "The emitters of this page, by source.",
        "unnamed": "How many spots of events were refused today that named no source. Null: the key may not see them.",
    },
    "KnownEmitter": {"refusals_today": "How many spots of its events were refused today, in UTC."},
    "LastRecorded": {"type": "The type of that event."},
    "Emitter": {
        "types": "How many events were recorded, by type.",
        "refusals": "What was refused in the last 14 days, by day and spot.",
    },
    "TypeCount": {"count": "How many events of it were recorded.", "last": "The position of the last one."},
    "RefusalCount": {
        "day": "The day, in UTC.",
        "type": "The event type. Null: the event named none that there is.",
        "problem": "The kind of problem.",
        "pointer": "Where in the event: an RFC 6901 pointer, with `*` for places in lists and for made-up names.",
        "count": "How many events were refused for it.",
        "last": "When the last one was.",
        "message": "What was said of the last one, without what was sent.",
    },
    "NewLedger": {"teams": "The teams that may sign agreements and decide. Null: the usual ones."},
    **{cls: {"teams": "The teams of the ledger."} for cls in ("Registered", "LedgerStatus")},
    "LedgerList": {"ledgers": "The ledgers."},
    "MadeKey": {
        "id": "The public id of the key.",
        "key": "The key itself, which a client presents. It is shown here and nowhere else.",
    },
    "KeyList": {"keys": "The keys of this page."},
    "ListedKey": {
        "id": "The public id of the key.",
        "created_by": "The public id of the key that made it, or `migrate`.",
        "revoked_at": "When it was revoked. Null: it was not.",
        "revoked_by": "The public id of the key that revoked it.",
        "last_used": "The day on which it was used last. Null: never.",
    },
    "OwnKey": {"id": "The public id of the key."},
    "KeyHistory": {"records": "The records of this page."},
    "KeyRecord": {
        "number": "The number of the record.",
        "what": "Whether the key was made or revoked.",
        "id": "The public id of the key.",
        "by": "The public id of the key that asked for it, or `migrate`.",
        "at": "When that was.",
    },
    "AccessLog": {"readings": "The readings of this page."},
    "Reading": {
        "number": "The number of the reading, from 1 on, without gaps.",
        "at": "When it was put on record, which is before it was shown.",
        "key": "The public id of the key that it was shown to.",
        "service": "The service that showed it: `ledger` or `projector`.",
        "method": "The method of the request.",
        "path": "What was asked for, without its parameters.",
        "person": "The person whose page it was. Null: it was no page about a person.",
        "texts": "The events whose sealed texts it showed. Empty: a page about a person without any.",
    },
    "TextRead": {"person": "The person whom the texts are about. Null: the event names none."},
    "TypeList": {"types": "The names of the event types; each has its schema at /v1/schemas/{type}."},
}

# What a class is for, where its own docstring does not say.
_CLASSES: Mapping[str, str] = {
    "LastRecorded": "The last event of an emitter.",
    "LedgerList": "The ledgers that the key is for.",
    "ListedKey": "A key without its secret.",
    "TypeList": "The event types.",
}


def meaning(cls: str, field: str | None) -> str | None:
    """What a field of this class means; of none, what the class is for."""
    if field is None:
        return _CLASSES.get(cls) or meanings.CLASSES.get(cls)
    return _FIELDS.get(cls, {}).get(field) or meanings.meaning(cls, field) or _EVERYWHERE.get(field)
