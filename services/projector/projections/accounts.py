"""Accounts: their names and facts, each with the time it was true from and the position that made it known; what
they are called elsewhere, and which were merged. Rows have the names that the events have: judgement/resolution.py
says what these stand for."""

from collections.abc import Iterator

from schemas.envelope import Recorded
from schemas.events import AccountIdentified, AccountMerged, AccountProfiled, AccountUnmerged
from services.projector.projections.projection import Row, json, on_behalf, projection, times

NAME = "accounts"


def fold(recorded: Recorded) -> Iterator[Row]:
    """The rows that an event adds."""
    position = recorded.position
    match recorded.event:
        case AccountProfiled() as event:
            account, source, said_at = event.account, recorded.source, times(recorded)
            yield "account_mentions", (position, account)
            if event.name is not None:
                yield "account_names", (position, account, event.name, *said_at)
            for attribute, value in event.attributes.items():
                yield "account_facts", (position, account, attribute, json(value), source, *said_at)
        case AccountIdentified() as event:
            yield "account_mentions", (position, event.account)
            for alias in dict.fromkeys(each.alias for each in event.same_as):
                yield "account_aliases", (position, alias, event.account, *times(recorded))
        case AccountMerged() as event:
            yield "account_mentions", (position, event.account)
            yield "account_mentions", (position, event.into)
            merged = (event.account, event.into, event.reason)
            yield "account_merges", (position, *merged, *on_behalf(event.by), *times(recorded))
        case AccountUnmerged() as event:
            yield "account_mentions", (position, event.account)
            unmerged = (event.account, None, event.reason)
            yield "account_merges", (position, *unmerged, *on_behalf(event.by), *times(recorded))
        case other:
            raise AssertionError(f"{type(other).__name__} is not for the projection {NAME}")


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={
        "account_names": ("position",),
        "account_facts": ("position", "attribute"),
        "account_mentions": ("position", "account"),
        "account_aliases": ("position", "alias"),
        "account_merges": ("position",),
    },
    events=(AccountProfiled, AccountIdentified, AccountMerged, AccountUnmerged),
    fold=fold,
    edition=2,
)
