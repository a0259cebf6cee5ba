"""Writes read models out: a file for each table, all as of one position and from one snapshot, and a manifest."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
from msgspec import Struct

from services.archive import columns as as_csv
from services.archive.directory import measured_file, whole_or_absent
from services.archive.live import position_of_all, registered
from services.archive.manifest import (
    MANIFEST,
    READ_MODELS_FORMAT,
    READ_MODELS_VERSION,
    ArchiveError,
    Column,
    Format,
    ProjectionFiles,
    ReadModelsManifest,
    TableFile,
    encode,
)
from services.auditor.findings import Progress
from services.postgres import ledger_schema
from services.projector.digest import digest
from services.projector.projections import ALL, Projection
from services.statements import Statements, fill, quote

ROWS_AT_ONCE = 10_000

_statements = Statements.load(Path(__file__).with_name("archive.sql"))

Write = Callable[[Sequence[Sequence[Any]]], Any]


class ReadModelsExport(Struct, frozen=True, kw_only=True):
    """What is asked of an export. `until`: the position; None: the last one that all read models have."""

    encoding: Format
    software: str
    made_at: str
    until: int | None = None


async def export_read_models(
    connection: asyncpg.Connection,
    ledger: str,
    directory: Path,
    asked: ReadModelsExport,
    progress: Progress = lambda at, of: None,
) -> ReadModelsManifest:
    """Write all read models into a directory, which is there when it is complete. `connection`: of who may read them.

    Raises ArchiveError, OSError, and what the database raises; then there is no directory.
    """
    writing = _writing(asked.encoding)
    tables = sum(len(projection.tables) for projection in ALL)
    done, made = 0, list[ProjectionFiles]()
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        origin = (await registered(connection, ledger))["origin"]
        position = await position_of_all(connection, ledger, asked.until)
        with whole_or_absent(directory) as making:
            for projection in ALL:
                files = []
                for table in sorted(projection.tables):
                    path = making / f"{table}.{asked.encoding}"
                    files.append(await _write(connection, ledger, projection, table, position, path, writing))
                    done += 1
                    progress(done, tables)
                made.append(
                    ProjectionFiles(
                        projection=projection.name,
                        version=projection.version,
                        digest=await digest(connection, ledger_schema(ledger), projection, position),
                        tables=files,
                    )
                )
            manifest = ReadModelsManifest(
                format=READ_MODELS_FORMAT,
                version=READ_MODELS_VERSION,
                ledger=ledger,
                origin=origin,
                position=position,
                encoding=asked.encoding,
                projections=made,
                software=asked.software,
                made_at=asked.made_at,
            )
            (making / MANIFEST).write_bytes(encode(manifest))
    return manifest


Writing = Callable[[Path, Sequence[Column]], AbstractContextManager[Write]]


async def _write(
    connection: asyncpg.Connection,
    ledger: str,
    projection: Projection,
    table: str,
    position: int,
    path: Path,
    writing: Writing,
) -> TableFile:
    key = projection.tables[table]
    query = fill(_statements["rows_upto"], schema=ledger_schema(ledger), table=table, position=key[0])
    prepared = await connection.prepare(f"{query} ORDER BY {', '.join(map(quote, key))}")
    columns = [as_csv.column(each.name, each.type.name) for each in prepared.get_attributes()]
    count = 0
    with writing(path, columns) as write:
        cursor = await prepared.cursor(position)
        while rows := await cursor.fetch(ROWS_AT_ONCE):
            write(rows)
            count += len(rows)
    found = measured_file(path)
    return TableFile(name=path.name, table=table, columns=columns, rows=count, bytes=found.bytes, sha256=found.sha256)


def _writing(encoding: Format) -> Writing:
    if encoding == "csv":
        return _csv
    try:
        # A large package, which is loaded for this alone.
        from services.archive.parquet import parquet
    except ImportError:
        raise ArchiveError(
            "Parquet files are written by pyarrow, which is not installed: pip install '.[parquet]' in the clone, "
            "or export with --format csv"
        ) from None
    return parquet


@contextmanager
def _csv(path: Path, columns: Sequence[Column]) -> Iterator[Write]:
    with path.open("xb") as file:
        file.write(as_csv.heading(columns))
        yield lambda rows: file.write(as_csv.lines(rows))
