"""What can come of sending events, other than their being recorded."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from schemas.envelope import Refusal


class Spot(Struct, frozen=True, kw_only=True):
    """One thing that speaks against an event. `index`: its place in what was sent; `pointer`: an RFC 6901 pointer into
    the event; `type`: the kind of problem, as `/problems/invalid-event`. `retryable`: a later event can mend it."""

    message: str
    index: int = 0
    pointer: str = ""
    type: str = ""
    retryable: bool = False
    current_version: int | None = None
    missing: list[str] | None = None


class LedgerError(Exception):
    """What was sent is not known to be recorded. `problem`: the problem document (RFC 9457), as far as there is one;
    `status`: the HTTP status, 0 if nothing was sent or nothing came back."""

    def __init__(self, message: str, *, status: int = 0, problem: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.problem = dict(problem or {})


class Judged(LedgerError):
    """The ledger, or this client by the same types, looked at the events and takes none of this request.

    `errors`: every spot, in the order of what was sent. `retryable`: later events can make all of it acceptable.
    """

    def __init__(
        self,
        message: str,
        *,
        errors: Sequence[Spot] = (),
        status: int = 0,
        problem: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message, status=status, problem=problem)
        self.errors = list(errors)
        self.retryable = bool(self.problem.get("retryable", False)) or (
            bool(errors) and all(spot.retryable for spot in errors)
        )


class Refused(Judged):
    """A type or a rule refuses it (400, 413, 415, 422). Sending the same again helps only where it is `retryable`."""


class Conflict(Judged):
    """The id was recorded with other content, or the stream has another version than expected (409, 412)."""

    @property
    def current_version(self) -> int | None:
        """The version that the stream has, if a version is what was expected."""
        version = self.problem.get("current_version")
        return version if isinstance(version, int) else None


class Forbidden(Judged):
    """The key lacks a scope, a source, a team or a ledger (403)."""


class Unauthorized(LedgerError):
    """There is no valid key (401)."""


class NoSuchLedger(LedgerError):
    """What answers at this address takes no events: it has no such ledger, or is no ledger at all."""


class Unavailable(LedgerError):
    """No answer, or none but `later`, until the deadline. The events may or may not be recorded; sending the same
    again is safe."""


def refused_here(refusals: Sequence[Refusal]) -> Refused:
    """What this client refuses before it sends anything, in the words and with the pointers of the ledger."""
    spots = [
        Spot(
            message=each.message,
            index=each.index,
            pointer=each.pointer,
            type=f"/problems/{each.problem}",
            retryable=each.retryable,
        )
        for each in refusals
    ]
    problem = {
        "type": spots[0].type,
        "detail": spots[0].message,
        "errors": [{"index": spot.index, "pointer": spot.pointer, "message": spot.message} for spot in spots],
    }
    return Refused(told(spots, spots[0].message), errors=spots, problem=problem)


def told(spots: Sequence[Spot], otherwise: str) -> str:
    """The first of several spots in one line, and how many more there are."""
    if not spots:
        return otherwise
    first = spots[0]
    where = " ".join(text for text in (f"event {first.index}" if first.index else "", first.pointer) if text)
    more = f" (and {len(spots) - 1} more in `errors`)" if len(spots) > 1 else ""
    return (f"{where}: " if where else "") + first.message + more


class OutboxError(Exception):
    """An outbox cannot do what was asked; the text names the file, and says what to do. Nothing of it was done."""


class OutboxFull(OutboxError):
    """The outbox holds as much as it may (`max_events`, `max_bytes`)."""


class OutboxUnwritable(OutboxError):
    """The file cannot be written or opened: no room on the disk, no permission, another process in the way."""


class OutboxDamaged(OutboxError):
    """The file is not what an outbox leaves behind. It has not been touched."""


class OutboxNotSent(OutboxError, TimeoutError):
    """Not everything was sent in the time that `flush` was given; the text says how much waits, and why. It stays in
    the outbox."""


class OutboxConflict(OutboxError):
    """The id is in the outbox already, with other content."""
