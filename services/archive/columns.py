"""Tables of read models as files: their columns, and rows as CSV (RFC 4180, UTF-8). Pure.

In CSV a time is RFC 3339 in UTC with microseconds, a decimal has as many digits as it was said with, a list is a JSON
array, and a text that a spreadsheet would take for a formula has an apostrophe before it. What is unknown is empty, as
an empty text is: who has to tell them apart, or needs texts as they are, takes Parquet.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from schemas.codec import canonical
from schemas.times import format_time
from services.archive.manifest import ArchiveError, Column
from services.projector.requests.sheets import guarded

_TYPES = {
    "int8": "int64",
    "int4": "int32",
    "text": "text",
    "text[]": "list of text",
    "timestamptz": "timestamp",
    "date": "date",
    "numeric": "decimal",
    "bool": "boolean",
}


def column(name: str, of_database: str) -> Column:
    """A column of a type that PostgreSQL names so. Raises ArchiveError if it is none of those of read models."""
    try:
        return Column(name, _TYPES[of_database])  # type: ignore[arg-type]
    except KeyError:
        raise ArchiveError(f"the column {name} has the type {of_database}, which no export has a form for") from None


def heading(columns: Sequence[Column]) -> bytes:
    return _csv([[each.name for each in columns]])


def lines(rows: Iterable[Sequence[Any]]) -> bytes:
    return _csv([cell(value) for value in row] for row in rows)


def cell(value: Any) -> str:
    """A value as CSV has it."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case datetime():
            return format_time(value)
        case date():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case list():
            return canonical(value).decode()
        case _:
            return guarded(str(value))


def _csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()
