"""From a row to events. Pure: the same row makes the same events, wherever it stands and whenever it is read."""

from typing import Any
from zoneinfo import ZoneInfo

from msgspec import UNSET

from services.importer.mapping import Condition, EventRecipe, Expression
from services.importer.recipes import Members, Row, Unusable, look_up, make, make_id, text_of


def with_names(row: Row, let: Expression | None, zone: ZoneInfo) -> Row:
    """The row, and the values that its mapping gives names to. A later name may be made of an earlier one.

    Raises Unusable.
    """
    if let is None or not isinstance(let.node, Members):
        return row
    named = dict(row)
    for name, node in let.node.members.items():
        value = make(node, named, zone)
        named[name] = None if value is UNSET else value
    return named


def events_of(recipes: list[EventRecipe], row: Row, *, source: str, zone: ZoneInfo) -> list[dict[str, Any]]:
    """The CloudEvents that a row makes, as decoded JSON; none if no recipe's conditions hold. Raises Unusable."""
    return [_event(recipe, row, source, zone) for recipe in recipes if all(holds(each, row) for each in recipe.when)]


def _event(recipe: EventRecipe, row: Row, source: str, zone: ZoneInfo) -> dict[str, Any]:
    event = {"specversion": "1.0", "id": make_id(recipe.id.template, row), "source": source, "type": recipe.type}
    if recipe.time is not None and (time := make(recipe.time.node, row, zone)) is not UNSET:
        event["time"] = time
    extensions = {} if recipe.extensions is None else make(recipe.extensions.node, row, zone)
    return {**event, **extensions, "data": make(recipe.data.node, row, zone)}


def holds(condition: Condition, row: Row) -> bool:
    """Whether a row meets a condition. Raises Unusable."""
    try:
        text = text_of(look_up(row, condition.path)).strip().casefold()
    except Unusable as error:
        raise Unusable(f"{condition.path}: {error}") from None
    if condition.blank is not None:
        return condition.blank == (not text)
    if condition.among is not None:
        return text in {each.strip().casefold() for each in condition.among}
    return text not in {each.strip().casefold() for each in condition.not_among or ()}
