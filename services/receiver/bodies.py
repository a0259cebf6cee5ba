"""From the body of a webhook to events. Pure.

What a recipe reads is the body, or with `each` one item of a list in it; and beside its members

    header.NAME    a header of the request, its name in lower case
    body           with `each`: the whole body
    item           with `each`: the item, whatever it is

In a file of rows a column that is empty says nothing. A body of which a whole member is missing says more: that the
mapping names something that is not there, or that the sender has changed. So each path that an event is made of must
be in the body (null will do), unless the hook lists it as `optional`, or the recipe has a `default` or is `required`
with a reason of its own.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from msgspec import UNSET, Struct

from schemas.codec import BATCH_EVENTS_MAX, EVENT_BYTES_MAX, read_event
from schemas.envelope import Sent
from services.importer.mapping import EventRecipe, Expression, lets
from services.importer.recipes import (
    Constant,
    Fingerprint,
    Items,
    Members,
    Node,
    Row,
    Template,
    Unusable,
    look_up,
    paths_of,
)
from services.importer.translate import events_of, holds, with_names

HEADER = "header"
WHOLE = "body"
ITEM = "item"
ITSELF = "."  # As `each`: the body itself is the list.
ITEMS_MAX = 1_000  # Of `each`, in one body.
NAMES_TOLD_MAX = 12
NAMES_COMPARED_MAX = 1_000
OBJECTIONS_MAX = 20  # The first of them; what is wrong with thousands of items is most often one thing.


class Recipes(Struct, frozen=True, kw_only=True):
    """How the events of a body are made."""

    source: str
    zone: ZoneInfo
    events: list[EventRecipe]
    let: Expression | None = None
    each: str | None = None
    optional: Sequence[str] = ()


class Objection(Struct, frozen=True, omit_defaults=True):
    """What speaks against a body: which of its items it is about, and the spot in the event that was made of it."""

    message: str
    item: int | None = None
    event: str | None = None
    pointer: str | None = None


class Misfit(Exception):
    """No events, because of these objections."""

    def __init__(self, objections: list[Objection]) -> None:
        super().__init__(told(objections))
        self.objections = objections


def told(objections: list[Objection]) -> str:
    """Objections as one text."""
    texts = []
    for each in objections:
        where = [] if each.item is None else [f"item {each.item}"]
        where += [] if each.event is None else [f"event {each.event}"]
        where += [each.pointer] if each.pointer else []
        texts.append(": ".join([" ".join(where), each.message] if where else [each.message]))
    return "; ".join(texts)


def make_events(recipes: Recipes, body: Any, headers: Mapping[str, str], now: datetime) -> list[dict[str, Any]]:
    """The CloudEvents that a decoded body makes; none if no recipe's conditions hold. Raises Misfit."""
    made: list[dict[str, Any]] = []
    objections: list[Objection] = []
    for index, row in enumerate(_rows(recipes, body, headers)):
        if len(objections) >= OBJECTIONS_MAX or len(made) > BATCH_EVENTS_MAX:
            break
        item = None if recipes.each is None else index
        try:
            events = _made(recipes, row)
        except Unusable as error:
            objections.append(Objection(str(error), item=item))
            continue
        for event in events:
            objections += [
                Objection(message, item=item, event=str(event["id"]), pointer=pointer)
                for pointer, message in _refusals(event, now)
            ]
        made += events
    if len(made) > BATCH_EVENTS_MAX:
        objections.insert(
            0, Objection(f"it makes more than {BATCH_EVENTS_MAX} events, and no more go into one request")
        )
    if objections:
        raise Misfit(objections[:OBJECTIONS_MAX])
    return made


def paths(recipes: Recipes) -> Iterator[str]:
    """Every path that the recipes read, but for names of their own."""
    named = lets(recipes.let)
    nodes = [*named.values()]
    for event in recipes.events:
        yield from (each.path for each in event.when if not _is_named(each.path, named))
        nodes += [event.id.template, *_expressions(event)]
    for node in nodes:
        yield from (path for path in paths_of(node) if not _is_named(path, named))


def headers_read(recipes: Recipes) -> frozenset[str]:
    """The names of the headers that the recipes read."""
    return frozenset(path.removeprefix(f"{HEADER}.") for path in paths(recipes) if path.startswith(f"{HEADER}."))


# Rows


def _rows(recipes: Recipes, body: Any, headers: Mapping[str, str]) -> list[Row]:
    if recipes.each is None:
        if not isinstance(body, dict):
            raise Misfit([Objection(f"the body is {_kind(body)}, not an object{_each_hint(body)}")])
        return [{**body, HEADER: headers}]
    found = body
    if recipes.each != ITSELF:
        if not isinstance(body, dict):
            raise Misfit([Objection(f"the body is {_kind(body)}, and has no {recipes.each!r}")])
        if (message := _absent(body, recipes.each)) is not None:
            raise Misfit([Objection(message)])
        found = look_up(body, recipes.each)
    # Some systems send one without a list around it.
    items = found if isinstance(found, list) else [] if found is None else [found]
    if len(items) > ITEMS_MAX:
        where = "the body" if recipes.each == ITSELF else f"`{recipes.each}`"
        raise Misfit([Objection(f"{where} has {len(items)} items, and at most {ITEMS_MAX} are taken from one body")])
    return [{**(item if isinstance(item, dict) else {}), HEADER: headers, WHOLE: body, ITEM: item} for item in items]


def _each_hint(body: Any) -> str:
    return f"; with `each: {ITSELF!r}` events are made of each of its items" if isinstance(body, list) else ""


# Events


def _made(recipes: Recipes, row: Row) -> list[dict[str, Any]]:
    made = []
    for event in recipes.events:
        if _applies(recipes, event, row):
            nodes = [event.id.template, *_expressions(event)]
            _demand(recipes, row, [group for node in nodes for group in _demands(node)])
            with_lets = _with_lets(recipes, row, [path for node in nodes for path in paths_of(node)])
            made += events_of(
                [msgspec.structs.replace(event, when=[])], with_lets, source=recipes.source, zone=recipes.zone
            )
    return made


def _applies(recipes: Recipes, event: EventRecipe, row: Row) -> bool:
    """Whether all of its conditions hold. They are asked in order, so that one may guard the next."""
    for condition in event.when:
        if condition.blank is None:
            _demand(recipes, row, [(condition.path,)])
        if not holds(condition, _with_lets(recipes, row, [condition.path])):
            return False
    return True


def _expressions(event: EventRecipe) -> list[Node]:
    return [each.node for each in (event.time, event.extensions, event.data) if each is not None]


def _with_lets(recipes: Recipes, row: Row, wanted: Sequence[str]) -> Row:
    """The row with those names of one's own that are wanted: a name that only another event uses costs nothing."""
    named = lets(recipes.let)
    needed: set[str] = set()
    waiting = [*wanted]
    while waiting:
        name = waiting.pop().partition(".")[0]
        if name in named and name not in needed:
            needed.add(name)
            waiting += paths_of(named[name])
    chosen = {name: node for name, node in named.items() if name in needed}
    return with_names(row, Expression(Members(chosen)), recipes.zone)


def _refusals(event: dict[str, Any], now: datetime) -> list[tuple[str, str]]:
    """What the ledger would say against an event, as pointers and messages."""
    sent = read_event(event, now=now)
    if not isinstance(sent, Sent):
        return [(each.pointer, each.message) for each in sent]
    if (size := len(msgspec.json.encode(event))) > EVENT_BYTES_MAX:
        return [("", f"the event has {size} bytes, and at most {EVENT_BYTES_MAX} go in")]
    return []


# What has to be there

Group = tuple[str, ...]
"""Paths of which at least one must be there."""


def _demands(node: Node) -> Iterator[Group]:
    """The paths that a node needs to find in the body."""
    match node:
        case Constant():
            return
        case Template():
            yield from ((path,) for path in node.paths)
        case Members():
            # Where one of the paths that it `needs` is blank, it is left out, on purpose.
            if not node.needs:
                for member in node.members.values():
                    yield from _demands(member)
        case Items():
            for item in node.items:
                yield from _demands(item)
        case Fingerprint():
            yield from ((path,) for path in node.of)
        case _:
            if node.default is UNSET and node.required is None:
                yield tuple(paths_of(node))


def _demand(recipes: Recipes, row: Row, groups: Sequence[Group]) -> None:
    """Raises Unusable if one of the groups has no path that is there."""
    named = lets(recipes.let)
    for group in groups:
        messages = [_lacks(recipes, named, row, path) for path in group]
        if all(message is not None for message in messages):
            raise Unusable(str(messages[0]))


def _lacks(recipes: Recipes, named: Mapping[str, Node], row: Row, path: str) -> str | None:
    """Why a path, or what a name of one's own is made of, is not there; None if it is."""
    if any(path == each or path.startswith(f"{each}.") for each in recipes.optional):
        return None
    name = path.partition(".")[0]
    if name not in named:
        return _absent(row, path)
    # A name is made of the body and of the names before it.
    earlier = dict(takewhile(lambda each: each[0] != name, named.items()))
    for group in _demands(named[name]):
        messages = [_lacks(recipes, earlier, row, each) for each in group]
        if all(message is not None for message in messages):
            return f"{messages[0]} (`{name}` is made of it)"
    return None


def _is_named(path: str, named: Mapping[str, Node]) -> bool:
    return path in named or path.partition(".")[0] in named


def _absent(row: Row, path: str) -> str | None:
    """Why a path leads nowhere in a body, with what is near it; None if it leads somewhere, be it to null."""
    if path in row:
        return None
    value: Any = row
    steps = path.split(".")
    for number, step in enumerate(steps):
        before, rest = ".".join(steps[:number]), ".".join(steps[number + 1 :])
        match value:
            case None:
                return None  # The sender says that there is nothing, and so there is nothing below it.
            case Mapping():
                if step not in value:
                    return _nothing_at(path, before, step, rest, value)
                value = value[step]
            case list() if step == "*":
                some = any(not (rest and isinstance(item, dict) and _absent(item, rest)) for item in value)
                return None if some or not value else f"no item of `{before}` has {rest!r}"
            case list() if step.isdecimal():
                if int(step) >= len(value):
                    return None  # A list has as many items as it has.
                value = value[int(step)]
            case list():
                return (
                    f"there is no {path!r}: `{before}` is a list; write {f'{before}.*.{step}'!r} for all of its items"
                )
            case _:
                return f"there is no {path!r}: `{before}` is {_kind(value)}, and nothing is inside it"
    return None


def _nothing_at(path: str, before: str, step: str, rest: str, there: Mapping[str, Any]) -> str:
    names = [name for name in there if before or name not in (HEADER, WHOLE, ITEM)]
    near = difflib.get_close_matches(step, names[:NAMES_COMPARED_MAX], n=3)
    where = f"`{before}`" if before else "it"
    if near:
        meant = [".".join(filter(None, (before, name, rest))) for name in near]
        return f"the body has no {path!r}; did you mean {' or '.join(map(repr, meant))}?"
    more = "" if len(names) <= NAMES_TOLD_MAX else f" and {len(names) - NAMES_TOLD_MAX} more"
    has = ", ".join(name[:60] for name in names[:NAMES_TOLD_MAX])
    return f"the body has no {path!r}; {where} has {has or 'nothing'}{more}"


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case _:
            return "an object"
