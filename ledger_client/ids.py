"""Ids of events, by a recipe that any language can follow. Pure.

The recipe. An event's natural key is a list of parts, texts or whole numbers, that name this one event in the system
that it comes from: ("ticket", 4711, "status-3"). A whole number is written in decimal, so that 4711 and "4711" are the
same. Each part is written in UTF-8; every byte that is not one of A-Z a-z 0-9 . _ @ - becomes `~` and two upper-case
hexadecimal digits. The parts are joined by `:`. If that has at most 100 characters and begins with a letter or a digit,
it is the id; if not, the id is `key~~` and the SHA-256 of it in 64 lower-case hexadecimal digits. Different keys have
different ids, and the same key has the same id, in whatever program and however often.

    ("ticket", 4711, "status-3")    ticket:4711:status-3
    ("a", "b:c")                    a:b~3Ac
    ("Zürich", -5, "", "~")         Z~C3~BCrich:-5::~7E
    ("", "x")                       key~~37469d4452548140e06297c8f2e0d9319d52d7b7978beb1661500a200d41b965

An event without a key is named by what it says: `said~~` and the SHA-256 of the canonical JSON (compact, UTF-8, the
members sorted at every level) of an object of its `type`, its `data` and, if it was given one, its `time` (in UTC, with
microseconds and `Z`). The same content twice is then one event.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from schemas.codec import canonical
from schemas.times import format_time
from schemas.values import ID_CHARS_MAX

Key = Sequence[str | int]

_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._@-")
_BEGINS_WELL = re.compile(r"[A-Za-z0-9]")


def id_of_key(key: Key) -> str:
    """The id of the event that this natural key names. Raises ValueError, TypeError."""
    if isinstance(key, str) or not key:
        raise ValueError(f"a key is a tuple of parts, as ('ticket', 4711, 'status-3'); this is {key!r}")
    joined = ":".join(_part(part) for part in key)
    if len(joined) <= ID_CHARS_MAX and _BEGINS_WELL.match(joined):
        return joined
    # `~~` is what no escaped part has, so that a digest is never the same as a key written out.
    return f"key~~{sha256(joined.encode()).hexdigest()}"


def id_of_content(type: str, data: Any, time: datetime | None) -> str:
    """The id of an event that is named by what it says."""
    said = {"type": type, "data": data} | ({} if time is None else {"time": format_time(time)})
    return f"said~~{sha256(canonical(said)).hexdigest()}"


def _part(part: str | int) -> str:
    # True is a number for Python and for nobody else.
    if isinstance(part, bool) or not isinstance(part, str | int):
        raise TypeError(f"a part of a key is a text or a whole number, not {part!r}")
    # What an enumeration prints is the name of its member, not what the member is.
    text = str.__str__(part) if isinstance(part, str) else str(int(part))
    return "".join(chr(byte) if byte in _PLAIN else f"~{byte:02X}" for byte in text.encode())
