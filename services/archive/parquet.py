"""Tables of read models as Parquet files, by pyarrow, which only this module knows.

Times are microseconds in UTC, dates dates; a decimal is a text with as many digits as it was said with, since no column
of ours has one scale.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
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


@contextmanager
def parquet(path: Path, columns: Sequence[Column]) -> Iterator[Callable[[Sequence[Sequence[Any]]], None]]:
    """A file to be written, some rows at a time, of which each has a value for every column."""
    schema = pyarrow.schema([(each.name, _TYPES[each.type]) for each in columns])
    with pyarrow.parquet.ParquetWriter(path, schema) as writer:

        def write(rows: Sequence[Sequence[Any]]) -> None:
            values = zip(*rows, strict=True)
            arrays = [
                pyarrow.array([_plain(value) for value in column], field.type)
                for column, field in zip(values, schema, strict=True)
            ]
            writer.write_batch(pyarrow.record_batch(arrays, schema=schema))

        yield write


def _plain(value: Any) -> Any:
    return f"{value:f}" if isinstance(value, Decimal) else value
