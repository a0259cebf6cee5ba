"""Takes an exported log into an empty ledger: all of it or nothing, in one transaction.

Positions, recorded times and bytes stay as they were, so its tree has the root hash that the exported one had. The
ledger's own process then integrates it and signs its checkpoints, under the origin of the ledger that has it now.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import asyncpg
from msgspec import Struct

from schemas.codec import STORED_BYTES_MAX
from services.archive.directory import read_whole
from services.archive.lines import EventRow, KeyRow, Part, Reading, Unwrap
from services.archive.manifest import (
    FILE_BYTES_MAX,
    MANIFEST,
    MANIFEST_BYTES_MAX,
    ArchiveError,
    LogFile,
    LogManifest,
    checkpoint_of,
    read_log_manifest,
)
from services.auditor.findings import Progress
from services.migrate import TEAMS, differences, make_ledger_within
from services.postgres import ledger_schema
from services.proof.checkpoint import Checkpoint
from services.proof.note import NoteError, VerifierKey
from services.sealing import MasterKeys, SealingKey
from services.settings import Settings
from services.statements import Statements

READ_BYTES_MAX = FILE_BYTES_MAX + STORED_BYTES_MAX + 1  # The line feed counts.

_statements = Statements.load(Path(__file__).with_name("archive.sql"))


class LogImport(Struct, frozen=True, kw_only=True):
    """What is asked of an import.

    `origin`: of the ledger, if it has to be made; None: one of its own. `trusted`: who has to have signed the
    checkpoint that came with the log; None: nobody is asked. `without_keys`: leave out the sealing keys.
    """

    ledger: str
    origin: str | None = None
    trusted: VerifierKey | None = None
    without_keys: bool = False


class Imported(Struct, frozen=True, kw_only=True):
    """What is in the ledger now. `signed`: how many events the verified checkpoint has; `keyless`: how many events are
    sealed, and came without a key; `destroyed`: how many came with one that the log itself says is destroyed."""

    manifest: LogManifest
    origin: str
    made: bool
    signed: int | None
    keys: int
    keyless: int
    destroyed: int


async def import_log(
    connection: asyncpg.Connection,
    settings: Settings,
    directory: Path,
    asked: LogImport,
    masters: Callable[[], MasterKeys],
    progress: Progress = lambda at, of: None,
) -> Imported:
    """Record an exported log, as the owner of the database. `masters`: gives the master keys of this place, once there
    is a key to open. Raises ArchiveError, and what the database raises; then
    nothing is recorded, and a ledger that was missing is missing still."""
    manifest = _manifest_in(directory, asked)
    checkpoint = checkpoint_of(manifest)
    reading = Reading(manifest)
    sql = _statements.bind(schema=ledger_schema(asked.ledger))
    with_keys = manifest.with_keys and not asked.without_keys
    keys, keyless = 0, list[int]()
    await _refuse_another_version(connection)
    async with connection.transaction():
        made, origin = await _make_or_find(connection, settings, asked, manifest)
        await connection.execute(sql["lock_head"])
        if head := await connection.fetchval(sql["head"]):
            text = f"the ledger {asked.ledger!r} has {head} events already, and a log is imported into an empty one"
            raise ArchiveError(f"{text}; name another ledger with --ledger")
        for file in manifest.files:
            part = _read(reading, directory, file, lambda key: masters().unwrap(key), with_keys=with_keys)
            part = part._replace(keys=[_wrapped_here(key, masters()) for key in part.keys])
            await _insert(connection, asked.ledger, file, part)
            keys += len(part.keys)
            keyless += part.keyless
            progress(file.last, manifest.size)
        # A file of keys may be older than the erasures of its log, and undoes none of them.
        destroyed = await connection.fetchval(sql["destroy_erased"]) + await connection.fetchval(
            sql["destroy_redacted"]
        )
        root = bytes.fromhex(manifest.root)
        listed = keyless if with_keys else []
        await connection.execute(
            sql["add_import"], manifest.origin, manifest.size, root, manifest.checkpoint, with_keys, listed
        )
        await connection.execute("SELECT pg_notify('ledger_events', $1)", asked.ledger)

        # Here is the commit point: before it nobody has seen any of this.
    return Imported(
        manifest=manifest,
        origin=origin,
        made=made,
        signed=None if asked.trusted is None or checkpoint is None else checkpoint.size,
        keys=keys - destroyed,
        keyless=len(keyless),
        destroyed=destroyed,
    )


def _manifest_in(directory: Path, asked: LogImport) -> LogManifest:
    """The manifest of an export whose files are there and which holds a log. Raises ArchiveError."""
    if not directory.is_dir():
        raise ArchiveError(f"{directory} is not a directory; name one that `ledger export log` has written")
    manifest = read_log_manifest(read_whole(directory / MANIFEST, bytes_max=MANIFEST_BYTES_MAX))
    if manifest.size == 0:
        raise ArchiveError(f"{MANIFEST}: the log has no events, so there is nothing to import")
    for file in manifest.files:
        keys = [] if file.keys is None or asked.without_keys else [file.keys.name]
        for name in [file.name, *keys]:
            if not (directory / name).is_file():
                raise ArchiveError(f"{name} is missing: {MANIFEST} names it; export the log anew, or find the file")
    if asked.trusted is not None:
        if manifest.checkpoint is None:
            raise ArchiveError(f"{MANIFEST}: no checkpoint came with this log, so --key has nothing to verify")
        try:
            Checkpoint.verified(manifest.checkpoint.encode(), manifest.origin, [asked.trusted])
        except NoteError as error:
            raise ArchiveError(f"{MANIFEST}: its checkpoint is not signed by --key: {error}") from None
    return manifest


async def _refuse_another_version(connection: asyncpg.Connection) -> None:
    try:
        found = await differences(connection)
    except asyncpg.UndefinedTableError:
        raise ArchiveError("the database has not been set up; run `ledger migrate` first") from None
    if found:
        raise ArchiveError(f"the database is not that of this version: {'; '.join(found)}")


async def _make_or_find(
    connection: asyncpg.Connection, settings: Settings, asked: LogImport, manifest: LogManifest
) -> tuple[bool, str]:
    """Whether the ledger was made now, and its origin."""
    teams = manifest.teams or TEAMS
    made = await make_ledger_within(connection, settings, asked.ledger, teams=teams, origin=asked.origin)
    row = await connection.fetchrow(_statements["registered"], asked.ledger)
    if asked.origin not in (None, row["origin"]):
        text = f"the ledger {asked.ledger!r} is there already, and its origin is {row['origin']}"
        raise ArchiveError(f"{text}: an origin never changes; name another ledger, or leave out --origin")
    return made, row["origin"]


def _read(reading: Reading, directory: Path, file: LogFile, unwrap: Unwrap, *, with_keys: bool) -> Part:
    octets = read_whole(directory / file.name, bytes_max=READ_BYTES_MAX)
    keys = None
    if with_keys and file.keys is not None:
        keys = read_whole(directory / file.keys.name, bytes_max=READ_BYTES_MAX)
    return reading.part(file, octets, keys, unwrap)


def _wrapped_here(row: KeyRow, masters: MasterKeys) -> KeyRow:
    """A key as it is kept here: under the master key that wraps here now, whichever of those at hand it came under."""
    newest = masters.newest
    if row.master == newest.name:
        return row
    key = masters.unwrap(SealingKey.of(row._asdict()))
    return row._replace(master=newest.name, wrapped=newest.wrap(key, row.event_id))


async def _insert(connection: asyncpg.Connection, ledger: str, file: LogFile, part: Part) -> None:
    schema = ledger_schema(ledger)
    try:
        await connection.copy_records_to_table(
            "stored_events", schema_name=schema, columns=EventRow._fields, records=part.events
        )
    except asyncpg.UniqueViolationError as error:
        raise ArchiveError(f"{file.name}: {_twice(part.events, str(error.detail))}") from None
    await connection.copy_records_to_table(
        "sealing_keys", schema_name=schema, columns=KeyRow._fields, records=part.keys
    )


def _twice(events: Sequence[EventRow], detail: str) -> str:
    """Which event has an identity that another one has, by what PostgreSQL says of it."""
    found = re.search(r"=\(([0-9a-f-]{36})\)", detail)
    positions = [row.notification_id for row in events if found is not None and row.event_id == UUID(found[1])]
    where = f"the event at position {positions[-1]}" if positions else "an event"
    return f"{where} has the source and id of an earlier one, and a log has each once ({detail})"
