"""What a projection is: tables, the event types it cares about, and a fold from one event to rows."""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from schemas.envelope import Recorded
from schemas.events import Event, type_of
from schemas.values import By
from services.statements import Statements

_encoder = msgspec.json.Encoder(order="sorted")

Row = tuple[str, tuple[Any, ...]]
"""A table's name, and a value for each of its columns, in the table's order."""


class Projection(Struct, frozen=True, kw_only=True):
    """A read model. `fold` is pure: one recorded event in, the rows that it adds out; rows are only ever added."""

    name: str
    tables: Mapping[str, tuple[str, ...]]
    """Each table, and the columns of its key; the first is the position that made the row."""
    topics: frozenset[str]
    """The event types that it cares about."""
    fold: Callable[[Recorded], Iterator[Row]]
    tables_sql: str
    """Makes the tables in `{schema}`."""
    indexes_sql: str
    """Makes their indexes. Kept apart, because to fill a table first and index it then is faster."""
    edition: int
    """Raised when the same stored events come to make other rows, in whatever module the reason lies."""
    version: str
    """Changes with the edition, and with the files of the projection: then the read model is built anew."""


def projection(
    module: str,
    *,
    name: str,
    tables: Mapping[str, tuple[str, ...]],
    events: tuple[type[Event], ...],
    fold: Callable[[Recorded], Iterator[Row]],
    edition: int,
) -> Projection:
    """The projection that the file `module` defines, with the `.sql` file beside it.

    What lies beneath a fold (codec, upcasts, values, envelope) is no part of its files. What that comes to mean is
    held by `tests/contract/test_editions.py`, which asks for another edition.
    """
    path = Path(module)
    statements = Statements.load(path.with_suffix(".sql"))
    definition = (
        statements["tables"].encode(),
        statements["indexes"].encode(),
        path.with_suffix(".py").read_bytes(),
        Path(__file__).with_suffix(".py").read_bytes(),
        str(edition).encode(),
    )
    return Projection(
        name=name,
        tables=tables,
        topics=frozenset(type_of(event) for event in events),
        fold=fold,
        tables_sql=statements["tables"],
        indexes_sql=statements["indexes"],
        edition=edition,
        version=sha256(b"\x00".join(definition)).hexdigest()[:16],
    )


# Columns that many tables share


def times(recorded: Recorded) -> tuple[datetime, datetime, datetime]:
    """valid_from, time, recorded_at."""
    return recorded.valid_from, recorded.time, recorded.recordedtime


def on_behalf(by: By | None) -> tuple[str | None, str | None, str | None]:
    """by_role, by_team, by_person."""
    return (None, None, None) if by is None else (by.role, by.team, by.person)


def json(value: Any) -> str:
    """Canonical JSON as text: compact, with the members of objects sorted, in whatever order a struct has them."""
    return _encoder.encode(value).decode()
