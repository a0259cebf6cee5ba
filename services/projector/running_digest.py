"""The digest of a read model, in a form that goes on as the log does: the same for everybody who has folded the same
events. Pure.

Each table has a SHA-256 over its rows that are known at a position, a line each, in the order of the positions that
made them. A line is the canonical JSON of the list of the row's values, as `plain` writes them, and ends with a
newline; the lines of one position are in the order of their bytes. The digest is the SHA-256 over a line
`table SHA-256 in hexadecimal` for each table, in the order of their names.

Rows are only ever added, and a later one has a later position: so what new rows cost does not depend on how many there
were. The order of lines needs no key and no collation, and so neither the database nor its settings have a say in it.
"""

from collections.abc import Iterable
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Any

from schemas.codec import canonical
from schemas.times import format_time
from services.projector.projections import Row

_AS_THEY_ARE = frozenset({str, int, bool, type(None)})


class RunningDigest:
    """The digest of a read model that has these tables, over the rows that it was given so far."""

    def __init__(self, tables: Iterable[str]) -> None:
        self._hashed = {table: sha256() for table in sorted(tables)}
        self._reached = dict.fromkeys(self._hashed, 0)

    def extend(self, rows: Iterable[tuple[int, Row]]) -> None:
        """Take up more rows, each with the position that made it: in the order of positions, and of each table's
        positions all rows at once. Raises ValueError if a position comes out of order."""
        for position, made in groupby(rows, key=itemgetter(0)):
            lines: dict[str, list[bytes]] = {}
            for _, (table, values) in made:
                lines.setdefault(table, []).append(canonical([plain(value) for value in values]) + b"\n")
            for table, each in lines.items():
                if position <= self._reached[table]:
                    raise ValueError(f"rows of {table} at position {position} come after {self._reached[table]}")
                self._reached[table] = position
                self._hashed[table].update(b"".join(sorted(each)))

    def hexdigest(self) -> str:
        """64 hexadecimal digits."""
        lines = (f"{table} {hashed.hexdigest()}\n" for table, hashed in self._hashed.items())
        return sha256("".join(lines).encode()).hexdigest()


def plain(value: Any) -> Any:
    """A value of a row as its line has it, whether it was folded or read: times are RFC 3339 in UTC with microseconds,
    dates are ISO 8601, numbers of any scale are texts, and lists are lists of these."""
    if type(value) in _AS_THEY_ARE:  # Most are, and this is asked of every value of a log.
        return value
    match value:
        case datetime():
            return format_time(value)
        case date():
            return value.isoformat()
        case Decimal():
            # A database knows one zero of each scale, whatever sign it came with.
            return f"{value or value.copy_abs():f}"
        case list() | tuple():
            return [plain(each) for each in value]
        case _:
            return value
