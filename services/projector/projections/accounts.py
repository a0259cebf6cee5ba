"""Accounts: their names and facts, each with the time it was true from and the position that made it known."""

from collections.abc import Iterator

from schemas.envelope import Recorded
from schemas.events import AccountProfiled
from services.projector.projections.projection import Row, json, projection, times

NAME = "accounts"


def fold(recorded: Recorded) -> Iterator[Row]:
    """The rows that an event adds."""
    event = recorded.event
    assert isinstance(event, AccountProfiled)
    position = recorded.position
    yield "account_mentions", (position, event.account)
    if event.name is not None:
        yield "account_names", (position, event.account, event.name, *times(recorded))
    for attribute, value in event.attributes.items():
        yield "account_facts", (position, event.account, attribute, json(value), *times(recorded))


PROJECTION = projection(
    __file__,
    name=NAME,
    tables={
        "account_names": ("position",),
        "account_facts": ("position", "attribute"),
        "account_mentions": ("position",),
    },
    events=(AccountProfiled,),
    fold=fold,
    edition=1,
)
