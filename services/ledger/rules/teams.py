"""Teams that an act names must be teams of the ledger."""

from collections.abc import Iterator
from functools import cache
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from schemas.events import Act, PerspectiveStated
from schemas.values import By, same_team
from services.ledger.rules.objection import Objection

_ONE = "team"
_MANY = ("signatories", "informed")


def unknown_teams(act: Act, teams: frozenset[str]) -> Iterator[Objection]:
    """Each team named in the act that is not among `teams` (in the form in which teams are compared)."""
    for pointer, team in named(act, "/data"):
        if same_team(team) not in teams:
            yield Objection(
                pointer, f"{team} is not a team of this ledger; it has {', '.join(sorted(teams))}", retryable=False
            )


def signing(event: Any) -> Iterator[tuple[str, str]]:
    """The teams for which somebody speaks in an event: who it is by, who decides, endorses, states or takes note.

    Pointer and team.
    """
    for name in ("by", "deciders"):
        said = getattr(event, name, None)
        match said:
            case By():
                yield f"/data/{name}/team", said.team
            case list():
                yield from ((f"/data/{name}/{number}/team", by.team) for number, by in enumerate(said))
    if isinstance(event, (Act, PerspectiveStated)) and isinstance(team := getattr(event, _ONE, None), str):
        yield "/data/team", team


def named(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Every team that a struct names, at any depth: JSON pointer and team."""
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from named(item, f"{pointer}/{number}")
    if not isinstance(value, Struct):
        return
    for field in _fields(type(value)):
        item = getattr(value, field.name)
        spot = f"{pointer}/{field.encode_name}"
        if field.name == _ONE and isinstance(item, str):
            yield spot, item
        elif field.name in _MANY:
            yield from ((f"{spot}/{number}", team) for number, team in enumerate(item))
        else:
            yield from named(item, spot)


_fields = cache(fields)  # To look a class up takes longer than the rest.
