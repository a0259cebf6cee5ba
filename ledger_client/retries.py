"""How often, and how long, the same request is sent again. Pure.

| what came back | sent again |
|---|---|
| no connection, a connection that broke, no answer in time | yes |
| 429, 500, 502, 503, 504 | yes; not before what Retry-After asks for |
| any other status | no |

Each pause is longer than the one before, and of random length, so that many emitters do not come back all at once.
"""

from collections.abc import Callable
from datetime import datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

AGAIN = frozenset({429, 500, 502, 503, 504})


class Retries(Struct, frozen=True, kw_only=True):
    """`deadline_seconds`: from the first attempt to giving up. `attempt_seconds_max`: for one answer. The pauses begin
    at `first_seconds` at most and double up to `pause_seconds_max`."""

    deadline_seconds: float = 60.0
    attempt_seconds_max: float = 30.0
    first_seconds: float = 0.2
    pause_seconds_max: float = 10.0


def pause_seconds(retries: Retries, attempt: int, asked_seconds: float | None, random: Callable[[], float]) -> float:
    """How long to wait after attempt 0, 1, 2, ...: between half and all of the step, and as long as was asked for."""
    # Beyond 2**20 the step is long past any sensible limit, and the power would only grow.
    step = min(retries.first_seconds * (1 << min(attempt, 20)), retries.pause_seconds_max)
    own = step * (0.5 + random() / 2)
    return own if asked_seconds is None else max(own, asked_seconds)


def asked_seconds(retry_after: str | None, now: datetime) -> float | None:
    """The wait that a Retry-After names, in seconds or as a date; None if it names none."""
    if retry_after is None:
        return None
    try:
        return max(0.0, float(retry_after))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(retry_after) - now).total_seconds())
    except (ValueError, TypeError):
        return None
