"""`ledger replay`, `ledger export` and `ledger import-log`."""

import asyncio
import re
import secrets
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import aiohttp
import asyncpg
import click
from msgspec import ValidationError, convert
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from schemas.times import format_time
from schemas.values import LEDGER_PATTERN, Origin
from services.archive.export_log import Keys, LogExport, export_log
from services.archive.export_read_models import ReadModelsExport, export_read_models
from services.archive.import_log import Imported, LogImport, import_log
from services.archive.lines import KeptKey
from services.archive.live import position_of_all, registered
from services.archive.manifest import ArchiveError, Format, LogManifest, ReadModelsManifest, checkpoint_of
from services.archive.replay import Replayed, replay
from services.auditor.audit import BadInput
from services.auditor.command import api_key
from services.auditor.database import Database
from services.auditor.over_http import SECONDS_MAX, HttpError, OverHttp
from services.embedded import EmbeddedError, answering
from services.migrate import MigrationError
from services.postgres import UNAVAILABLE, Unavailable, connect, ledger_schema
from services.process import configure_logs
from services.proof.note import NoteError, VerifierKey
from services.sealing import MasterKeyError, MasterKeys
from services.settings import Role, Settings, SettingsError
from services.statements import Statements

SAME, DIFFERS, COULD_NOT_RUN = 0, 1, 2

Result = TypeVar("Result")
Tell = Callable[[int, int], None]
"""Told how far something has got, and how far it goes."""

_EXPLAINED = (
    ArchiveError,
    BadInput,
    EmbeddedError,
    HttpError,
    MasterKeyError,
    MigrationError,
    NoteError,
    SettingsError,
    Unavailable,
)
_statements = Statements.load(Path(__file__).with_name("archive.sql"))
_position = click.IntRange(min=0)
_ledger = click.option("--ledger", "name", default="main", show_default=True, help="Name of the ledger.")


@click.command("replay")
@click.option("--until", type=_position, help="The position.  [default: the last one that all read models have]")
@_ledger
@click.option("--keep", metavar="SCHEMA", help="Keep what was built, in a schema of this name.")
def replay_(until: int | None, name: str, keep: str | None) -> None:
    """Build all read models from the log, as of a position, in a scratch schema; compare them with the live ones.

    The live ones stay as they are, and the scratch schema is gone afterwards unless it is to be kept. Ends with 0 if
    they are the same, with 1 if one differs, and with 2 if it could not be done.

    \b
    Examples:
      ledger replay
      ledger replay --until 600
      ledger replay --until 600 --ledger payments --keep as_of_600
    """
    settings = _settings()

    async def run() -> tuple[int, Sequence[Replayed]]:
        async with AsyncExitStack() as stack:
            owner = await _connected(stack, settings, "owner")
            reader = await _connected(stack, settings, "auditor")
            position = await position_of_all(reader, name, until)
            scratch = keep or f"replay_{secrets.token_hex(8)}"
            with _bar(f"replaying {name}") as progress:
                found = await replay(owner, reader, name, position, scratch, keep=keep is not None, progress=progress)
            return position, found

    position, found = _run(run(), "Not replayed")
    click.echo(f"Read models of {name} as of position {position}, replayed from the log:")
    for each in found:
        said = "the same" if each.is_same else f"the live one differs: {each.live}"
        click.echo(f"  {'✓' if each.is_same else '✗'} {each.projection:<13} {each.rows:>9} rows  {each.digest}  {said}")
    if keep is not None:
        click.echo(f"They are kept in the schema {keep}; DROP SCHEMA … CASCADE removes them.")
    sys.exit(SAME if all(each.is_same for each in found) else DIFFERS)


@click.group("export")
def export_() -> None:
    """Write the log, or the read models, into files that can be checked.

    \b
    Examples:
      ledger export log backup/log
      ledger export read-models tables --format csv
    """


@export_.command("log", short_help="The log as NDJSON: its stored bytes, with a manifest of hashes.")
@click.argument("directory", type=click.Path(path_type=Path))
@_ledger
@click.option("--until", type=_position, help="The last position to export.  [default: all]")
@click.option("--with-keys", is_flag=True, help="Export the keys of sealed texts, too, wrapped by the master key.")
@click.option("--url", help="Export over HTTP alone, by the URL of a ledger service, as an outsider does.")
@click.option(
    "--api-key-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with an API key, for --url.  [default: that of LEDGER_HOME]",
)
@click.option(
    "--key", "keys", multiple=True, help="A verifier key that you trust.  [default: those that the ledger names]"
)
def export_log_(
    directory: Path,
    name: str,
    until: int | None,
    with_keys: bool,
    url: str | None,
    api_key_file: Path | None,
    keys: tuple[str, ...],
) -> None:
    """Write the log into DIRECTORY: a line for each event, its stored bytes exactly as they were hashed.

    `manifest.json` has the root hash, the latest checkpoint, and the SHA-256 of each file. The directory is there when
    it is complete; one that is not empty is refused. `ledger import-log` takes it into an empty ledger. Ends with 0,
    or with 2 if it could not be done; then nothing was written.

    With --with-keys, who has the master key too can read everything that is sealed, also what is erased later.

    \b
    Examples:
      ledger export log exported
      ledger export log exported --ledger payments --until 600
      ledger export log moving --with-keys
      ledger export log exported --url https://ledger.example.com --key "ledger.example.com/main+1f2e3d4c+A…"
    """
    settings = _settings()

    async def from_database(asked: LogExport) -> LogManifest:
        async with AsyncExitStack() as stack:
            connection = await _connected(stack, settings, "auditor")
            await stack.enter_async_context(connection.transaction(isolation="repeatable_read", readonly=True))
            row = await registered(connection, name)
            source = Database(connection, name, row["origin"], "a database")
            with _bar(f"exporting {name}") as progress:
                kept = kept_keys(connection, name) if with_keys else None
                return await export_log(source, directory, replace(asked, teams=row["teams"]), kept, progress)

    async def over_http(url: str, asked: LogExport) -> LogManifest:
        if with_keys:
            raise BadInput("no sealing key is to be had over HTTP: leave out --with-keys, or export from the database")
        key = api_key(api_key_file or settings.home / "admin.key")
        timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}, timeout=timeout) as session:
            source = await OverHttp.open(session, name, url)
            with _bar(f"exporting {name}") as progress:
                return await export_log(source, directory, asked, progress=progress)

    async def run() -> LogManifest:
        trusted = [VerifierKey.read(key) for key in keys]
        asked = LogExport(software=_software(), made_at=_now(), until=until, trusted=trusted)
        return await (from_database(asked) if url is None else over_http(url, asked))

    manifest = _run(run(), "Not exported")
    size = sum(file.bytes for file in manifest.files)
    files = f"{size} bytes in {len(manifest.files)} files"
    click.echo(f"{manifest.size} events of {manifest.origin}, {files}, in {directory}")
    click.echo(f"root hash {manifest.root}")
    checkpoint = checkpoint_of(manifest)
    signed = "no checkpoint" if checkpoint is None else f"checkpoint of {checkpoint.size} events"
    kept = sum(file.keys.keys for file in manifest.files if file.keys is not None)
    click.echo(f"{signed}; {f'{kept} sealing keys' if manifest.with_keys else 'no sealing keys'}")


@export_.command("read-models", short_help="The tables of all read models, as CSV or Parquet.")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--format", "encoding", type=click.Choice(["csv", "parquet"]), required=True, help="Form of the files.")
@click.option("--until", type=_position, help="The position.  [default: the last one that all read models have]")
@_ledger
def export_read_models_(directory: Path, encoding: Format, until: int | None, name: str) -> None:
    """Write the tables of all read models into DIRECTORY, a file each, as of one position.

    `manifest.json` has the position, the digest of each read model, and columns, rows and SHA-256 of each file. What is
    sealed is in no read model, and so in no file. The directory is there when it is complete; one that is not empty is
    refused. Ends with 0, or with 2 if it could not be done; then nothing was written.

    \b
    Examples:
      ledger export read-models tables --format csv
      ledger export read-models tables-600 --format parquet --until 600 --ledger payments
    """
    settings = _settings()

    async def run() -> ReadModelsManifest:
        async with AsyncExitStack() as stack:
            connection = await _connected(stack, settings, "auditor")
            asked = ReadModelsExport(encoding=encoding, software=_software(), made_at=_now(), until=until)
            with _bar(f"exporting {name}") as progress:
                return await export_read_models(connection, name, directory, asked, progress)

    manifest = _run(run(), "Not exported")
    tables = [table for projection in manifest.projections for table in projection.tables]
    rows = sum(table.rows for table in tables)
    click.echo(f"{rows} rows of {len(tables)} tables of {name} as of position {manifest.position}, in {directory}")


@click.command("import-log")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--ledger", "name", required=True, help="Name of the ledger; it is made if it is missing.")
@click.option("--origin", help="Origin of the ledger if it is made now.  [default: one of its own]")
@click.option("--key", help="A verifier key that has to have signed the checkpoint in the manifest.")
@click.option("--without-keys", is_flag=True, help="Leave out sealing keys that came along: what is sealed stays so.")
def import_log_(directory: Path, name: str, origin: str | None, key: str | None, without_keys: bool) -> None:
    """Take a log that `ledger export log` has written into an empty ledger, all of it or nothing.

    Positions, recorded times and bytes stay as they were, so the root hash is the same. Everything is checked on the
    way. (Rows of other systems are imported by `ledger import`, with a mapping; this is for a log that was recorded
    already.) Ends with 0, or with 2 if it could not be done; then nothing was recorded.

    \b
    Examples:
      ledger import-log exported --ledger main
      ledger import-log exported --ledger audited --key "ledger.example.com/main+1f2e3d4c+A…"
      ledger import-log moving --ledger payments --origin ledger.example.com/payments
    """
    settings = _settings()

    async def run() -> Imported:
        asked = LogImport(
            ledger=_ledger_name(name),
            origin=_origin(origin),
            trusted=None if key is None else VerifierKey.read(key),
            without_keys=without_keys,
        )
        async with AsyncExitStack() as stack:
            connection = await _connected(stack, settings, "owner")
            with _bar(f"importing into {name}") as progress:
                return await import_log(
                    connection, settings, directory, asked, cache(lambda: MasterKeys(settings.master_key)), progress
                )

    imported = _run(run(), "Nothing was imported")
    manifest = imported.manifest
    click.echo(f"{manifest.size} events of {manifest.origin} are in the ledger {name} now, {imported.origin}")
    click.echo(f"root hash {manifest.root}, as in the manifest")
    if imported.signed is not None:
        click.echo(f"the first {imported.signed} of them are those of the checkpoint that --key has signed")
    click.echo(f"{imported.keys} sealing keys; {imported.keyless} events are sealed and came without one")
    if imported.destroyed:
        click.echo(
            f"{imported.destroyed} keys came along that the log says were destroyed, and they are gone here, too"
        )


def _settings() -> Settings:
    try:
        settings = Settings.load()
    except SettingsError as error:
        _fail(str(error))
    # That a ledger is made is said before it is committed with its log; here the command says what became of it.
    configure_logs(replace(settings, log_level="warning"))
    return settings


def _run(work: Coroutine[Any, Any, Result], failed: str) -> Result:
    """What the work comes to. Whatever keeps it from its end, a signal too, ends the command with 2."""
    try:
        return asyncio.run(_until_stopped(work))
    except (asyncio.CancelledError, KeyboardInterrupt):
        _fail(f"{failed}: stopped by a signal")
    except asyncpg.DiskFullError as error:
        _fail(f"{failed}: the database has no room left ({error}); make room, and do it again")
    except _EXPLAINED as error:
        _fail(f"{failed}: {error}")
    except asyncpg.PostgresError as error:
        _fail(f"{failed}: the database says: {error}")
    except UNAVAILABLE as error:
        file = getattr(error, "filename", None)
        where = f"{file}: " if file else ""
        _fail(f"{failed}: {where}{getattr(error, 'strerror', None) or error or type(error).__name__}")


async def _until_stopped(work: Coroutine[Any, Any, Result]) -> Result:
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def _fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(COULD_NOT_RUN)


async def _connected(stack: AsyncExitStack, settings: Settings, role: Role) -> asyncpg.Connection:
    """A connection as this role; the embedded database is started for it if it does not run."""
    settings.url(role)  # Where there is no database, none is made.
    await stack.enter_async_context(answering(settings))
    connection = await connect(settings.url(role))
    stack.callback(connection.terminate)
    return connection


@contextmanager
def _bar(title: str) -> Iterator[Tell]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def kept_keys(connection: asyncpg.Connection, ledger: str) -> Keys:
    """The sealing keys of a ledger that an export may take along."""
    query = _statements.bind(schema=ledger_schema(ledger))["keys"]

    async def keys(first: int, last: int) -> list[KeptKey]:
        return [KeptKey(**row) for row in await connection.fetch(query, first, last)]

    return keys


def _origin(text: str | None) -> str | None:
    try:
        return convert(text, Origin | None)
    except ValidationError as error:
        raise ArchiveError(f"--origin {text!r} names no log: {error}") from None


def _ledger_name(name: str) -> str:
    if not re.fullmatch(LEDGER_PATTERN, name):
        raise BadInput(f"{name!r} is no name of a ledger: a-z, then a-z 0-9 -, 40 characters at most")
    return name


def _now() -> str:
    return format_time(datetime.now(UTC))


def _software() -> str:
    try:
        return f"requirements-ledger {version('requirements-ledger')}"
    except PackageNotFoundError:
        return "requirements-ledger, from its sources"
