"""From a typed event to the CloudEvent that is sent, judged by the types before anything leaves. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from ledger_client.errors import refused_here
from ledger_client.ids import Key, id_of_content, id_of_key
from schemas.codec import EVENT_BYTES_MAX, canonical, read_event
from schemas.envelope import Refusal
from schemas.events import Event, type_of
from schemas.times import format_time

CloudEvent = dict[str, Any]


class Draft(Struct, frozen=True):
    """An event and what goes around it.

    `key`: its natural key, from which the id follows (see `ledger_client.ids`); or `id`: an id of your own; without
    both the id follows from the content. `time`: what the event is about, with its zone; without one, the moment of
    recording. `expected_version`: recorded only if its stream has that version, 0 for a new one. `attributes`: further
    attributes of CloudEvents, as `correlationid`.
    """

    event: Event
    key: Key | None = None
    id: str | None = None
    time: datetime | None = None
    expected_version: int | None = None
    attributes: Mapping[str, str | int | bool] = {}


def write(draft: Draft, source: str, *, now: datetime, index: int = 0) -> CloudEvent:
    """The CloudEvent (JSON format) of a draft. Raises Refused with everything that speaks against it."""
    if draft.key is not None and draft.id is not None:
        raise ValueError("an event has a key or an id, not both: the id follows from the key")
    if draft.time is not None and draft.time.tzinfo is None:
        raise ValueError(f"the time {draft.time} has no zone; in UTC it is written datetime(..., tzinfo=UTC)")

    data = msgspec.to_builtins(draft.event)
    data.pop("@type")
    type = type_of(draft.event)
    if draft.id is not None:
        id = draft.id
    elif draft.key is not None:
        id = id_of_key(draft.key)
    else:
        id = id_of_content(type, data, draft.time)

    value = {**draft.attributes, "specversion": "1.0", "id": id, "source": source, "type": type}
    if draft.time is not None:
        value["time"] = format_time(draft.time)
    if draft.expected_version is not None:
        value["expectedversion"] = draft.expected_version
    value["data"] = data

    judged = read_event(value, now=now, index=index)
    if isinstance(judged, list):
        raise refused_here(judged)
    size = len(canonical(value))
    if size > EVENT_BYTES_MAX:
        message = f"an event has at most {EVENT_BYTES_MAX} bytes; this one has {size}"
        raise refused_here([Refusal(problem="too-large", message=message, index=index)])
    return value
