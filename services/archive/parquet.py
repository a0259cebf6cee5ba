"""Tables of read models as Parquet files, by pyarrow, which only this module knows.

Times are microseconds in UTC, dates dates; a decimal is a text with as many digits as it was said with, since no column
of ours has one scale.
"""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow
import pyarrow.parquet

from services.archive.manifest import Column

_TYPES = {
    "int64": pyarrow.int64(),
    "int32": pyarrow.int32(),
    "text": pyarrow.string(),
    "list of text": pyarrow.list_(pyarrow.string()),
    "timestamp": pyarrow.timestamp("us", tz="UTC"),
    "date": pyarrow.date32(),
    "decimal": pyarrow.string(),
    "boolean": pyarrow.bool_(),
}


class ParquetFile:
    """A file that is written row by row. Use it as a context."""

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._schema = pyarrow.schema([(each.name, _TYPES[each.type]) for each in columns])
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)

    def __enter__(self) -> "ParquetFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()

    def write(self, rows: Sequence[Sequence[Any]]) -> None:
        """Rows, of which each has a value for every column."""
        values = zip(*rows, strict=True)
        arrays = [
            pyarrow.array([_plain(value) for value in column], field.type)
            for column, field in zip(values, self._schema, strict=True)
        ]
        self._writer.write_batch(pyarrow.record_batch(arrays, schema=self._schema))


def _plain(value: Any) -> Any:
    return f"{value:f}" if isinstance(value, Decimal) else value
