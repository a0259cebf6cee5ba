"""Times: RFC 3339 text to instants in UTC, and back."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from schemas.values import in_range


@lru_cache(maxsize=64)  # One time is that of a whole batch, and of its answers.
def format_time(time: datetime) -> str:
    """RFC 3339 in UTC with microseconds: 27 characters, whatever the time."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def read_time(value: str) -> datetime:
    """The instant that a text names, in UTC. Raises ValueError or OverflowError."""
    time: datetime = msgspec.convert(value, datetime)
    if time.tzinfo is None:
        raise ValueError(f"{value} has no time zone")
    return time.astimezone(UTC)


def usable_time(value: Any) -> datetime | None:
    """The instant that a JSON value names, if it is one that can be meant (see YEAR_MIN)."""
    try:
        time = read_time(value) if isinstance(value, str) else None
    except (ValueError, OverflowError):
        return None
    return time if time is not None and in_range(time) else None
