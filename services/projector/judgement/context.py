"""What makes a difference to what was known of something, and when: the order and the parts of a context. Pure.

What systems repeat is silent. A repeatable event belongs to a series (an attribute of an account as it is named, an
opportunity, an ask, ...). It is shown if it made a difference to its series

- when it was recorded: it said something else than what was known then to stand before it, by the time that it is
  about; or
- as it is known now: it says something else than what stands before it.

The first keeps in sight what deciders learned, whatever is recorded for the time before; the second shows what became
a difference only by a late record or a retraction.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

import msgspec

from schemas.values import same_team

ListName = Literal["known", "true_then_not_yet_known", "happened_later"]

NOTHING: Any = (False, None)
"""What stands before the first of a series: what a fact says that is unknown again."""


class Said(NamedTuple):
    """One of a series: `content` is what it says there."""

    valid_from: datetime
    position: int
    content: Any
    recorded_at: datetime
    attribute: str | None = None


class Occurrence(NamedTuple):
    """An event of a context, or one attribute of a profile, before it is decoded.

    `before`: of an attribute, what stood before it.
    """

    valid_from: datetime
    position: int
    attribute: str | None
    recorded_at: datetime
    before: Any = None


Row = Mapping[str, Any]
"""What was read of an event: `valid_from`, `position`, `recorded_at`, and what its kind says besides."""


def occurrences(
    said: Sequence[Row], facts: Iterable[Row], asks: Iterable[Row], retractions: Iterable[Row]
) -> list[Occurrence]:
    """What belongs to a context, in the order of time.

    `said`: rows with a series and what each says in it (`content`), and the team whose series it is if it has one; acts
    have no series. `facts`: attributes of accounts, with JSON texts as values. `asks`: recordings, and withdrawals,
    which have no account. `retractions`: of what is in the others, by `retracted`.
    """
    by = {row["retracted"]: row for row in retractions}
    until = {at: row["position"] for at, row in by.items()}
    found: dict[tuple[int, str | None], Occurrence] = {}
    for series in _series(said, facts, asks).values():
        for each, before in differences(series, until):
            found[each.position, each.attribute] = Occurrence(
                each.valid_from,
                each.position,
                each.attribute,
                each.recorded_at,
                None if each.attribute is None else before[1],
            )
    acts = [row for row in said if row.get("series") is None]
    for row in (*acts, *(by[at] for at in {position for position, _ in found} & by.keys())):
        found[row["position"], None] = Occurrence(row["valid_from"], row["position"], None, row["recorded_at"])
    return sorted(found.values(), key=lambda each: (each.valid_from, each.position, each.attribute or ""))


def split(
    happened: Iterable[Occurrence], made: datetime | None, is_known: Callable[[Occurrence], bool]
) -> dict[ListName, list[Occurrence]]:
    """Apart by when it was true and when it was known. `made`: when it was decided; None: it is not."""
    lists: dict[ListName, list[Occurrence]] = {"known": [], "true_then_not_yet_known": [], "happened_later": []}
    for each in happened:
        if made is not None and each.valid_from > made:
            lists["happened_later"].append(each)
        else:
            lists["known" if is_known(each) else "true_then_not_yet_known"].append(each)
    return lists


def differences(series: Iterable[Said], until: Mapping[int, int]) -> Iterator[tuple[Said, Any]]:
    """Each of a series that makes a difference to it, with what stands before it (see above).

    `until`: positions of what was retracted, each with the position of its retraction.
    """
    known: list[Said] = []
    told: set[int] = set()
    for each in sorted(series, key=lambda said: said.position):
        earlier = (known[at] for at in range(bisect_left(known, _order(each), key=_order) - 1, -1, -1))
        standing = (said for said in earlier if until.get(said.position, each.position) >= each.position)
        before = next((said.content for said in standing), NOTHING)
        if before != each.content:
            told.add(each.position)
            yield each, before
        insort(known, each, key=_order)
    before = NOTHING
    for each in known:
        if before != each.content and each.position not in told:
            yield each, before
        if each.position not in until:
            before = each.content


def _order(said: Said) -> tuple[datetime, int]:
    return said.valid_from, said.position


def _series(said: Iterable[Row], facts: Iterable[Row], asks: Iterable[Row]) -> dict[Any, list[Said]]:
    """Everything that systems may repeat, by what each replaces."""
    found: dict[Any, list[Said]] = {}
    for row in said:
        if row.get("series") is not None:
            team = row.get("team")
            key = row["series"] if team is None else (row["series"], same_team(team))
            found.setdefault(key, []).append(
                Said(row["valid_from"], row["position"], (row["content"],), row["recorded_at"])
            )
    for row in facts:
        value = msgspec.json.decode(row["value"])
        # To Python, true is 1; to the ledger, a boolean is never a number.
        content = isinstance(value, bool), value
        found.setdefault((row["account"], row["attribute"]), []).append(
            Said(row["valid_from"], row["position"], content, row["recorded_at"], row["attribute"])
        )
    withdrawn: dict[tuple[str, str], list[Said]] = {}
    recorded: dict[tuple[str, str], set[Any]] = {}
    for row in asks:
        named, account = (row["requirement"], row["ask"]), row["account"]
        content = tuple(row[column] for column in ("importance", "opportunity", "feedback", "needed_by"))
        ask = Said(row["valid_from"], row["position"], (account is None, content), row["recorded_at"])
        if account is None:
            withdrawn.setdefault(named, []).append(ask)
        else:
            recorded.setdefault(named, set()).add((*named, account))
            found.setdefault((*named, account), []).append(ask)
    for named, ends in withdrawn.items():
        # A withdrawal ends every account's ask of that id; what says the same afterwards asks anew.
        for key in recorded.get(named, {(*named, None)}):
            found.setdefault(key, []).extend(ends)
    return found
