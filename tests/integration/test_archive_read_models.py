"""Read models as of a position: replayed from the log beside the live ones, and taken out as CSV and Parquet."""

import csv
from collections.abc import AsyncIterator
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pyarrow
import pyarrow.parquet
import pytest

from schemas.times import format_time
from services.archive.columns import cell
from services.archive.export_read_models import ReadModelsExport, export_read_models
from services.archive.live import position_of_all
from services.archive.manifest import MANIFEST, ArchiveError, Format, ReadModelsManifest
from services.archive.replay import Replayed, replay
from services.postgres import connect
from services.projector.projections import ALL, Projection
from services.projector.projector import Projector
from tests.archives import MADE, execute, rows
from tests.conftest import Database
from tests.log import Log, event
from tests.readmodels import digests, mixed, reached, ready

HEAD = 212
TABLES = {table: projection for projection in ALL for table in projection.tables}
FORMULA = event("account.profiled", account="acme", name='=HYPERLINK("x")', attributes={"note": "+1", "lines": "a\nb"})
SEALED = event("ask.recorded", requirement="R-1", account="acme", quote="Said in confidence.")


@pytest.fixture
async def live(database: Database) -> AsyncIterator[Database]:
    """A database whose read models have the whole log."""
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await ready(projector)
        await log.append(FORMULA, SEALED)
        await log.append(*mixed(HEAD - 2))
        await reached(await projector.ledger("main"), HEAD)
    yield database


async def replayed(
    database: Database, until: int | None = None, scratch: str = "scratch", *, keep: bool = False, ledger: str = "main"
) -> list[Replayed]:
    owner, reader = await connect(database.owner), await connect(database.auditor)
    try:
        position = await position_of_all(reader, ledger, until)
        return await replay(owner, reader, ledger, position, scratch, keep=keep)
    finally:
        await owner.close()
        await reader.close()


async def taken_out(
    database: Database, directory: Path, encoding: Format, until: int | None = None, ledger: str = "main"
) -> ReadModelsManifest:
    connection = await connect(database.auditor)
    try:
        return await export_read_models(
            connection, ledger, directory, ReadModelsExport(encoding=encoding, until=until, **MADE)
        )
    finally:
        await connection.close()


async def schemas(database: Database) -> set[str]:
    return {name for (name,) in await rows(database, "SELECT nspname FROM pg_namespace")}


async def known(database: Database, projection: Projection, until: int | None) -> int:
    """How many rows of a read model are known at a position."""
    counts = [
        f"(SELECT count(*) FROM ledger_main.{table} WHERE {key[0]} <= {HEAD if until is None else until})"
        for table, key in projection.tables.items()
    ]
    [(count,)] = await rows(database, f"SELECT {' + '.join(counts)}")
    return int(count)


# Replay


async def test_a_replay_comes_to_the_live_read_models_and_leaves_nothing(live: Database):
    before = await schemas(live)
    for until in (0, 1, 100, HEAD, None):
        found = await replayed(live, until)
        assert {each.projection: each.live for each in found} == await digests(live, HEAD if until is None else until)
        assert all(each.is_same for each in found) and len(found) == len(ALL)
        assert [each.rows for each in found] == [await known(live, each, until) for each in ALL]
    assert await schemas(live) == before


async def test_a_row_that_was_changed_is_told(live: Database):
    await execute(live, "UPDATE ledger_main.asks SET importance = importance + 1 WHERE position = 2")
    assert [each.projection for each in await replayed(live) if not each.is_same] == ["requirements"]
    assert all(each.is_same for each in await replayed(live, 1))


async def test_a_schema_that_is_kept_holds_what_was_known(live: Database):
    await replayed(live, 100, "as_of_100", keep=True)
    for table, projection in TABLES.items():
        position = projection.tables[table][0]
        kept = f"SELECT * FROM as_of_100.{table} ORDER BY {', '.join(projection.tables[table])}"
        known = kept.replace("as_of_100", "ledger_main").replace(" ORDER", f" WHERE {position} <= 100 ORDER")
        assert await rows(live, kept) == await rows(live, known)
    with pytest.raises(ArchiveError, match="there is a schema 'as_of_100' already"):
        await replayed(live, 100, "as_of_100", keep=True)
    assert await rows(live, "SELECT count(*) FROM as_of_100.asks") != [(0,)]


async def test_a_replay_that_cannot_be_says_why(live: Database):
    for asked, said in (
        ({"until": HEAD + 1}, rf"has got to position {HEAD}, and --until is {HEAD + 1}"),
        ({"ledger": "other"}, "there is no ledger 'other'"),
        ({"scratch": "pg_mine"}, "cannot be the name of a schema"),
        ({"scratch": "x" * 64}, "cannot be the name of a schema"),
        ({"scratch": "public"}, "there is a schema 'public' already"),
    ):
        with pytest.raises(ArchiveError, match=said):
            await replayed(live, **asked)  # type: ignore[arg-type]
    await execute(
        live,
        "ALTER TABLE ledger_main.stored_events DISABLE TRIGGER ALL",
        "UPDATE ledger_main.stored_events SET topic = 'ledger.of.tomorrow.v1' WHERE notification_id = 40",
    )
    with pytest.raises(ArchiveError, match="from position 40 on: no such event type in this version"):
        await replayed(live)
    assert all(each.is_same for each in await replayed(live, 39))
    await execute(live, "DELETE FROM ledger_main.stored_events WHERE notification_id = 30")
    with pytest.raises(ArchiveError, match="position 30 is missing in the log"):
        await replayed(live)
    assert "scratch" not in await schemas(live)


async def test_read_models_that_are_not_there_or_of_another_version_are_not_compared(database: Database):
    with pytest.raises(ArchiveError, match=r"no read models of 'main' yet .* start the projector"):
        await replayed(database)
    async with Projector(database.settings) as projector:
        await ready(projector)
        await reached(await projector.ledger("main"), 0)
    await execute(database, "UPDATE ledger_main.cursors SET version = 'x' WHERE projection = 'accounts'")
    with pytest.raises(ArchiveError, match="accounts of 'main' was built by another version"):
        await replayed(database)


# Tables as files


def text_of(value: Any) -> Any:
    """A value as Parquet has it."""
    return f"{value:f}" if isinstance(value, Decimal) else value


@pytest.mark.parametrize(("encoding", "until"), [("csv", None), ("parquet", None), ("csv", 50)])
async def test_every_row_of_every_table_is_taken_out(
    live: Database, tmp_path: Path, encoding: Format, until: int | None
):
    out = tmp_path / "out"
    manifest = await taken_out(live, out, encoding, until)
    position = HEAD if until is None else until
    assert manifest == msgspec.json.decode((out / MANIFEST).read_bytes(), type=ReadModelsManifest)
    assert (manifest.position, manifest.encoding) == (position, encoding)
    assert {each.projection: each.digest for each in manifest.projections} == await digests(live, position)
    listed = {table.table: table for each in manifest.projections for table in each.tables}
    assert listed.keys() == TABLES.keys()
    assert {path.name for path in out.iterdir()} == {MANIFEST, *(table.name for table in listed.values())}
    for table, told in listed.items():
        octets = (out / told.name).read_bytes()
        assert (told.bytes, told.sha256) == (len(octets), sha256(octets).hexdigest())
        key = TABLES[table].tables[table]
        query = f"SELECT * FROM ledger_main.{table} WHERE {key[0]} <= {position} ORDER BY {', '.join(key)}"
        expected = await rows(live, query)
        assert told.rows == len(expected)
        names = [column.name for column in told.columns]
        if encoding == "csv":
            with (out / told.name).open(newline="", encoding="utf-8") as file:
                head, *found = csv.reader(file, strict=True)
            assert (head, found) == (names, [[cell(value) for value in row] for row in expected])
        else:
            read = pyarrow.parquet.read_table(out / told.name)
            assert read.column_names == names
            assert [tuple(row.values()) for row in read.to_pylist()] == [tuple(map(text_of, row)) for row in expected]


async def test_what_is_sealed_is_in_no_file(live: Database, tmp_path: Path):
    sealed = [b"Said in confidence.", b"we need it", b"Ada", b"secret"]
    for encoding in ("csv", "parquet"):
        await taken_out(live, tmp_path / encoding, encoding)  # type: ignore[arg-type]
        found = b"".join(path.read_bytes() for path in (tmp_path / encoding).iterdir())
        assert [text for text in sealed if text in found] == []
    tables = pyarrow.parquet.read_table(tmp_path / "parquet" / "account_names.parquet").to_pylist()
    assert tables[0]["name"] == '=HYPERLINK("x")'  # What is not sealed is found by such a search.


async def test_columns_have_their_types(live: Database, tmp_path: Path):
    await taken_out(live, tmp_path / "out", "parquet")
    asks = pyarrow.parquet.read_schema(tmp_path / "out" / "asks.parquet")
    utc = pyarrow.timestamp("us", tz="UTC")
    assert [asks.field(name).type for name in ("position", "importance", "withdrawn", "needed_by", "time", "ask")] == [
        *(pyarrow.int64(), pyarrow.int32(), pyarrow.bool_(), pyarrow.date32(), utc, pyarrow.string())
    ]
    opportunities = pyarrow.parquet.read_table(tmp_path / "out" / "opportunity_rows.parquet")
    assert opportunities.schema.field("requirements").type == pyarrow.list_(pyarrow.string())
    assert opportunities["amount"][0].as_py() == "1.50"


async def test_a_sheet_runs_no_formula_and_breaks_no_line(live: Database, tmp_path: Path):
    await taken_out(live, tmp_path / "out", "csv")
    names = (tmp_path / "out" / "account_names.csv").read_bytes()
    [(at,)] = await rows(live, "SELECT recorded_at FROM ledger_main.account_names WHERE position = 1")
    time = format_time(at)
    assert names.split(b"\r\n")[:2] == [
        b"position,account,name,valid_from,time,recorded_at",
        f'1,acme,"\'=HYPERLINK(""x"")",{time},{time},{time}'.encode(),
    ]
    assert isinstance(at, datetime)
    with (tmp_path / "out" / "account_facts.csv").open(newline="", encoding="utf-8") as file:
        facts = {row["attribute"]: row["value"] for row in csv.DictReader(file) if row["position"] == "1"}
    assert facts == {"note": '"+1"', "lines": '"a\\nb"'}  # As JSON, whose quotes no spreadsheet takes for a formula.


async def test_read_models_that_cannot_be_taken_out_leave_no_directory(live: Database, tmp_path: Path):
    for asked, said in (
        ({"until": HEAD + 1}, f"and --until is {HEAD + 1}"),
        ({"ledger": "other"}, "there is no ledger 'other'"),
    ):
        with pytest.raises(ArchiveError, match=said):
            await taken_out(live, tmp_path / "out", "csv", **asked)  # type: ignore[arg-type]
    await execute(live, "ALTER TABLE ledger_main.asks ADD COLUMN place point")
    with pytest.raises(ArchiveError, match="the column place has the type point"):
        await taken_out(live, tmp_path / "out", "csv")
    assert {path.name for path in tmp_path.iterdir()} == {"home"}
