"""What each field of the receiver's answers means, in a sentence: the descriptions in /openapi.json and /docs."""

from collections.abc import Mapping

# What a field of this name means wherever nothing else is said below.
_EVERYWHERE: Mapping[str, str] = {
    "bytes": "How long the body is, in bytes.",
    "hook": "The name of the hook.",
    "id": "The id under which the body is kept.",
    "problem": "The kind of problem.",
    "received": "When it came, as RFC 3339.",
    "state": "Whether it was refused, or waits for the ledger.",
}

_FIELDS: Mapping[str, Mapping[str, str]] = {
    "Taken": {"events": "The events that are in the ledger. Empty: the hook makes none of this body."},
    "EventMade": {
        "id": "The id of the event.",
        "type": "The event type.",
        "position": "The place of the event in the log.",
        "duplicate": "Whether the event was recorded before.",
    },
    "Waiting": {
        "kept": "The id under which the body is kept until the ledger takes it.",
        "detail": "Why the ledger does not take it yet.",
    },
    "KeptBody": {
        "reason": "What is to be mended.",
        "tried": "When it was tried last, as RFC 3339.",
        "tries": "How often it was tried.",
    },
    "KeptCount": {
        "count": "How many bodies are kept in this state.",
        "bytes": "How long they are together, in bytes.",
        "since": "When the first of them came, as RFC 3339.",
    },
    "HookState": {
        "usable": "Always true; otherwise the answer is a problem.",
        "kept": "How much is kept of the hook, by state; only for the scope `admin`.",
        "waiting_for": "The first body that waits for the ledger, and why; only for the scope `admin`.",
    },
    "KeptPage": {
        "kept": "What is kept, in the order in which it came, without the bodies.",
        "more": "Whether there is more: ask again with `after` set to the last id.",
    },
}


def meaning(cls: str, field: str | None) -> str | None:
    """What a field of this class means. What the classes are for, their docstrings say."""
    return None if field is None else _FIELDS.get(cls, {}).get(field) or _EVERYWHERE.get(field)
