"""Older versions of events, lifted to the newest on reading. The stored bytes are never touched.

An incompatible change of an event makes a new type (`.v2`) and one entry here that turns the data of the old one
into data of the new. The class of the old version stays in `events.py`: emitters may go on sending it, it says
which fields are sealed, and the golden files of it keep decoding, for ever.
"""

from collections.abc import Callable, Mapping
from typing import Any

Upcast = Callable[[dict[str, Any]], tuple[str, dict[str, Any]]]

UPCASTS: Mapping[str, Upcast] = {}
"""Old type → a function from its data to the next type and that type's data."""


def upcast(type: str, data: dict[str, Any], upcasts: Mapping[str, Upcast] = UPCASTS) -> tuple[str, dict[str, Any]]:
    """The newest type, and its data, of what was recorded as `type`."""
    newest = type
    while (lift := upcasts.get(newest)) is not None:
        newest, data = lift(data)
    return newest, data
