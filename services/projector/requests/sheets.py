"""Lists as CSV (RFC 4180): rows flattened into columns that follow from their type. Pure.

Revenue has a column per currency of the whole list, so that all pages of a list have the same columns.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct

from services.projector.judgement.fit import CLASSES
from services.projector.judgement.revenue import CLASS_NAMES, Money, Sum
from services.projector.shapes.shown import Role

Column = tuple[str, Callable[[Any], Any]]
"""A heading, and what a row has there."""

# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Number(str):
    """A decimal number as text: shown as it is, also if it begins with a minus sign."""

    __slots__ = ()


def sheet(rows: Sequence[Struct], currencies: Sequence[str], type: type[Struct]) -> bytes:
    """These rows as CSV. `currencies` are those of the whole list, which make the columns of revenue."""
    columns = [*_columns(type, currencies)]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([heading for heading, _ in columns])
    for row in rows:
        writer.writerow([_cell(value(row)) for _, value in columns])
    return text.getvalue().encode()


def guarded(text: str) -> str:
    """The text, with an apostrophe before it if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _columns(type: type[Struct], currencies: Sequence[str]) -> Iterator[Column]:
    hints = get_type_hints(type)
    for field in msgspec.structs.fields(type):
        for heading, value in _flattened(field.encode_name, hints[field.name], currencies):
            yield heading, _inside(field.name, value)


def _flattened(name: str, hint: Any, currencies: Sequence[str]) -> Iterator[Column]:
    """The columns of one member; each gets the member's value, which may be None."""
    if get_origin(hint) in (Union, UnionType):
        hint = next(member for member in get_args(hint) if member is not type(None))
    if hint == list[Money]:
        yield from _money(name, currencies, lambda value: value)
    elif hint == dict[str, list[Money]]:
        for class_name in CLASS_NAMES.values():
            yield from _money(f"{name}_{class_name}", currencies, _item(class_name))
    elif hint == dict[str, list[Sum]]:
        for class_name in CLASS_NAMES.values():
            for currency in currencies:
                yield f"{name}_{class_name}_{currency}", _amount(_item(class_name), currency, "amount")
    elif get_origin(hint) is dict:
        for class_ in CLASSES:
            yield f"{name}_{class_}", _item(class_)
    elif isinstance(hint, type) and issubclass(hint, Struct):
        for heading, value in _columns(hint, currencies):
            yield name if heading == name else f"{name}_{heading}", _unless_none(value)
    else:
        yield name, lambda value: value


def _money(name: str, currencies: Sequence[str], find: Callable[[Any], Any]) -> Iterator[Column]:
    for currency in currencies:
        for kind in ("contracted", "pipeline"):
            yield f"{name}_{kind}_{currency}", _amount(find, currency, kind)


def _amount(find: Callable[[Any], Any], currency: str, kind: str) -> Callable[[Any], Any]:
    def amount(value: Any) -> Number | None:
        found = find(value) or ()
        return next((Number(getattr(each, kind)) for each in found if each.currency == currency), None)

    return amount


def _item(key: str) -> Callable[[Any], Any]:
    return lambda value: None if value is None else value[key]


def _inside(name: str, value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda row: value(getattr(row, name))


def _unless_none(value: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda row: None if row is None else value(row)


def _cell(value: Any) -> str:
    match value:
        case None | msgspec.UNSET:
            return ""
        case Number():
            return str(value)
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case date():
            return value.isoformat()
        case list():
            return _cell("; ".join(_text(item) for item in value))
        case _:
            return guarded(_text(value))


def _text(value: Any) -> str:
    return f"{value.role} ({value.team})" if isinstance(value, Role) else str(value)
