"""What the ledger answers to events that were sent: results of those recorded, problems of those refused."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from aiohttp import web
from msgspec import UNSET, Struct, UnsetType

from schemas.codec import canonical
from schemas.envelope import Refusal
from schemas.times import format_time
from services.ledger.sequence import Result
from services.problems import Problem

JSON = "application/json"
NAME_CHARS_MAX = 200  # Of the id and source that an answer to a refused event repeats.

# The order in which an event is judged: a request that is refused for several reasons has the status of the first.
ORDER = (
    "not-a-cloudevent", "too-large", "source-not-granted", "scope-missing", "team-not-granted", "unknown-type",
    "invalid-event", "time-in-future", "id-conflict", "version-conflict", "precondition-failed", "rule-not-met",
)  # fmt: skip


class Results(Struct, frozen=True, kw_only=True):
    """For each event, in the order sent. With `dry_run` nothing was recorded, and they are what would have been."""

    results: list[Result]
    dry_run: bool | UnsetType = UNSET


class LenientResult(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one event: with status 201 (recorded) or 200 (it was before, or `dry_run`) its place in the log,
    with any other the problem."""

    status: int
    id: str | None = None
    source: str | None = None
    position: int | None = None
    stream: str | None = None
    version: int | None = None
    recordedtime: datetime | None = None
    duplicate: bool | None = None
    type: str | None = None
    title: str | None = None
    detail: str | None = None
    errors: list[dict[str, Any]] | None = None
    retryable: bool | None = None


class LenientResults(Struct, frozen=True, kw_only=True):
    """For each event, in the order sent. Those that were recorded stand in the log in that order."""

    results: list[LenientResult]


# The members of these are in the order of their names, as those of all answers are: so nothing is left to sort.


class Told(Struct, frozen=True):
    duplicate: bool
    id: str
    position: int
    recordedtime: str
    source: str
    stream: str
    version: int


class _Recorded(Struct, frozen=True, kw_only=True, omit_defaults=True):
    dry_run: bool = False
    results: list[Told]


def recorded(ledger: str, results: Sequence[Result], *, dry_run: bool) -> web.Response:
    """The answer to a request of which everything is recorded, now or before, or would be."""
    new = not dry_run and any(not result.duplicate for result in results)
    headers = {"Content-Type": JSON, "Cache-Control": "no-store"}
    if len(results) == 1:
        headers["ETag"] = f'"{results[0].version}"'
        if not dry_run:
            headers["Location"] = f"/v1/ledgers/{ledger}/events/{results[0].position}"
    return web.Response(
        body=msgspec.json.encode(_Recorded(results=[*map(told, results)], dry_run=dry_run)),
        status=201 if new else 200,
        headers=headers,
    )


def leniently(told: Sequence[dict[str, Any]], *, dry_run: bool, headers: Mapping[str, str]) -> web.Response:
    """The answer to a batch of which each event was recorded by itself: what became of each, in their order."""
    return web.Response(
        body=canonical({"results": [*told]} | ({"dry_run": True} if dry_run else {})),
        status=207,
        content_type=JSON,
        headers={"Preference-Applied": "handling=lenient", "Cache-Control": "no-store", **headers},
    )


def refused(refusals: Sequence[Refusal]) -> Problem:
    """The problem that answers a request with these refusals: all of them listed, by place in the request."""
    refusals = sorted(refusals, key=lambda refusal: refusal.index)
    first = min(refusals, key=lambda refusal: ORDER.index(refusal.problem))
    more = f" (and {len(refusals) - 1} more in `errors`)" if len(refusals) > 1 else ""
    members: dict[str, Any] = {"errors": [*map(_error, refusals)]}
    if any(each.problem == "rule-not-met" for each in refusals):
        members["retryable"] = all(each.retryable for each in refusals)
    if first.current_version is not None:
        members["current_version"] = first.current_version
    missing = [name for each in refusals for name in each.missing or []]
    if missing:
        members["missing"] = missing
    place = f"{first.pointer}: " if first.pointer else ""
    return Problem(first.problem, place + first.message + more, **members)


def told(result: Result) -> Told:
    """What an answer says of an event that is recorded."""
    time = format_time(result.recordedtime)
    return Told(result.duplicate, result.id, result.position, time, result.source, result.stream, result.version)


def named(said: Mapping[str, Any]) -> dict[str, str]:
    """What an event that is refused is called, as far as it says."""
    names = {name: said.get(name) for name in ("id", "source")}
    return {name: text for name, text in names.items() if isinstance(text, str) and len(text) <= NAME_CHARS_MAX}


def _error(refusal: Refusal) -> dict[str, Any]:
    error = {
        "index": refusal.index,
        "pointer": refusal.pointer,
        "message": refusal.message,
        "type": f"/problems/{refusal.problem}",
    }
    return (
        error
        | ({"retryable": True} if refusal.retryable else {})
        | ({} if refusal.current_version is None else {"current_version": refusal.current_version})
        | ({} if refusal.missing is None else {"missing": refusal.missing})
    )
