"""Backups of the embedded database, and what is made of one: PostgreSQL's own, complete or not there.

A base backup is copied by `pg_basebackup` while everything runs, and `pg_verifybackup` reads it again. With the WAL
that was archived since, a new home gets the database of any later moment. Keys and kept checkpoints are in no backup:
keys, because they open it; checkpoints, because by them it is noticed that a backup was put back.
"""

import os
import secrets
import shlex
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec

from services.embedded import MAKING, EmbeddedError, EmbeddedPostgres, HomeInUse, lock_home
from services.postgres import connect, unavailable
from services.settings import DATABASE_FILE, Settings
from services.wal import (
    HEADER_OCTETS,
    Label,
    Segment,
    Written,
    gap,
    left_over,
    number_at,
    read_label,
    recovered_to,
    written,
)

_INCOMPLETE = ".incomplete-"
_LABEL, _MANIFEST = "backup_label", "backup_manifest"


class BackupError(Exception):
    """A backup cannot be made or put back; the text says why and what to do. Nothing was left behind."""


class Restored(msgspec.Struct, frozen=True):
    """A database that was put into a home."""

    home: Path
    backup: Label
    wal_to: Segment
    """The segment of WAL with which its recovery ended."""


async def back_up(settings: Settings, into: Path) -> Path | None:
    """Copy the embedded database while it runs, or start it for that. `into`, absolute, must not exist yet; once it
    does, it is whole, verified and on disk. Returns where the server archives its WAL, if it does.

    Raises BackupError, EmbeddedError and Unavailable.
    """
    database = _embedded(settings)
    if not database.data.is_dir():
        raise BackupError(f"There is no database in LEDGER_HOME={database.home} to back up: name the home that has it.")
    if into.is_relative_to(database.data):
        raise BackupError(f"{into} is inside the database itself. Name a directory elsewhere, best on another disk.")
    with _unless_it_exists(into) as making:
        try:
            await database.start()
        except HomeInUse:
            database.join()
        try:
            database.run(
                "pg_basebackup",
                *database.connection(),
                *(f"--pgdata={making}", "--wal-method=stream", "--checkpoint=fast", "--manifest-checksums=SHA256"),
            )
            database.run("pg_verifybackup", "--exit-on-error", str(making))
            return await _archived_to(settings)
        finally:
            await database.stop()


async def _archived_to(settings: Settings) -> Path | None:
    """The server is asked: it may have been started with other settings than these."""
    connection = await connect(settings.url("owner"))
    try:
        with unavailable():
            directory = await connection.fetchval(
                "SELECT current_setting('basic_archive.archive_directory', true)"
                " WHERE current_setting('archive_mode') <> 'off'"
            )
    finally:
        await connection.close()
    return Path(directory) if directory else None


async def restore(settings: Settings, backup: Path, wal: Sequence[Path], until: datetime | None) -> Restored:
    """Put a backup into the home of the settings, with the WAL that these directories have, up to a time or to the end.
    Paths are absolute: PostgreSQL works elsewhere.

    The home must have no database; all else that it has stays as it is. What could not be recovered in full leaves
    nothing behind. Raises BackupError, EmbeddedError.
    """
    database = _embedded(settings)
    if database.data.exists():
        raise BackupError(
            f"LEDGER_HOME={database.home} has a database. A backup is put into a home without one: set LEDGER_HOME to "
            "another directory, and keep this one until you know what is in it."
        )
    label, system, end = _check_backup(database, backup)
    if until is not None and until < label.time:
        raise BackupError(
            f"The backup {backup} was begun at {label.time}, after the time to restore to ({until}). Take an earlier "
            "backup."
        )
    found = _check_wal(wal, system, end)
    with _home(database):
        staged = EmbeddedPostgres(database.home / f"{MAKING}{secrets.token_hex(4)}", os_user=settings.database_os_user)
        try:
            staged.prepare_home()
            shutil.copytree(backup, staged.data, symlinks=True)
            (staged.data / "recovery.signal").touch(mode=0o600)
            await _recover(staged, wal, until)
            history = max((staged.data / "pg_wal").glob("*.history"))
            to = recovered_to(history.read_text())
            if to is None:
                raise BackupError(f"{history.name} does not say how far WAL was recovered.")
            if until is None and (left := left_over(to, found)) is not None:
                raise BackupError(
                    f"WAL ends in {to.name}, and there is more in {left.name}: what lies between is damaged. Find "
                    "another copy of it; or restore to a time before it with --until."
                )
            (database.home / DATABASE_FILE).unlink(missing_ok=True)  # Passwords of another database.
            staged.data.rename(database.data)
            _flush(database.home)
        except OSError as error:
            raise BackupError(
                f"The backup cannot be copied: {error}. Make room, or name another LEDGER_HOME."
            ) from error
        finally:
            shutil.rmtree(staged.home, ignore_errors=True)
    return Restored(database.home, label, to)


def _embedded(settings: Settings) -> EmbeddedPostgres:
    if not settings.embedded:
        raise BackupError(
            "LEDGER_DATABASE_URL is set: this is for the embedded database. Use the tools of your own PostgreSQL "
            "(pg_basebackup, or those of who runs it for you)."
        )
    return EmbeddedPostgres(settings.home, os_user=settings.database_os_user, wal_archive=settings.wal_archive)


@contextmanager
def _unless_it_exists(into: Path) -> Iterator[Path]:
    """A directory beside `into`, which becomes it in the end, or is gone."""
    if into.exists():
        raise BackupError(f"{into} exists. A backup never writes over anything: name a directory that does not exist.")
    making = into.with_name(f"{into.name}{_INCOMPLETE}{secrets.token_hex(4)}")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        making.mkdir(mode=0o700)
        yield making
        making.rename(into)
        _flush(into.parent)
    except OSError as error:
        raise BackupError(
            f"{into} cannot be written: {error}. Name a directory with room that you may write."
        ) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


@contextmanager
def _home(database: EmbeddedPostgres) -> Iterator[None]:
    """The home, locked; where it was made for this, it goes again unless it gets its database."""
    made = not database.home.exists()
    database.prepare_home()
    try:
        with lock_home(database.home):
            yield
    finally:
        if made and not database.data.exists():
            shutil.rmtree(database.home)


class _Range(msgspec.Struct, frozen=True, rename={"end": "End-LSN"}):
    end: str


class _Manifest(msgspec.Struct, frozen=True, rename={"system": "System-Identifier", "wal": "WAL-Ranges"}):
    system: int
    wal: list[_Range]


def _check_backup(database: EmbeddedPostgres, backup: Path) -> tuple[Label, int, int]:
    """Where the backup began, the identifier of its database, and the number of the segment with which it is whole."""
    if not (backup / _MANIFEST).is_file() or not (backup / "PG_VERSION").is_file():
        raise BackupError(f"{backup} is not a backup: it has no {_MANIFEST}. `ledger backup DIR` makes one.")
    database.check_version(backup)
    try:
        database.run("pg_verifybackup", "--exit-on-error", str(backup))
    except EmbeddedError as error:
        raise BackupError(f"The backup {backup} is damaged or not whole. Take another one.\n{error}") from error
    label = read_label((backup / _LABEL).read_text())
    try:
        manifest = msgspec.json.decode((backup / _MANIFEST).read_bytes(), type=_Manifest)
        end = number_at(manifest.wal[-1].end)
    except (msgspec.MsgspecError, IndexError, ValueError) as error:
        raise BackupError(f"{backup / _MANIFEST} is not what this PostgreSQL writes ({error}).") from error
    if label is None:
        raise BackupError(f"{backup / _LABEL} does not say where the backup begins. Take another one.")
    return label, manifest.system, end


def _check_wal(wal: Sequence[Path], system: int, end: int) -> list[Written]:
    """The segments in these directories. Raises BackupError if they cannot be what follows the backup."""
    found = []
    for directory in wal:
        try:
            for path in directory.iterdir():
                if not path.is_file():
                    continue
                with path.open("rb") as file:
                    if (segment := written(path.name, file.read(HEADER_OCTETS))) is not None:
                        found.append(segment)
        except OSError as error:
            raise BackupError(f"--wal {directory} cannot be read ({error.strerror}).") from error
    later = [each for each in found if each.segment.number >= end]
    if wal and not later:
        raise BackupError(
            "There is no WAL since the backup in " + ", ".join(map(str, wal)) + ". Name the directory that was "
            "LEDGER_WAL_ARCHIVE; or leave out --wal to get the database as the backup has it."
        )
    if others := [each for each in later if each.system != system]:
        raise BackupError(f"{others[0].segment.name} is WAL of another database than the backup's.")
    if (missing := gap(end, (each.segment.number for each in later))) is not None:
        raise BackupError(
            f"The segment {Segment(later[0].segment.timeline, missing).name} of WAL is missing, and later ones are "
            "there. Find it, or restore a later backup."
        )
    return found


async def _recover(staged: EmbeddedPostgres, wal: Sequence[Path], until: datetime | None) -> None:
    recovery = {"restore_command": _fetch(wal), "recovery_target_timeline": "latest"}
    if until is not None:
        recovery |= {"recovery_target_time": until.isoformat(), "recovery_target_action": "promote"}
    try:
        await staged.recover(recovery)
    except EmbeddedError as error:
        said = staged.log.read_text(errors="replace").splitlines() if staged.log.exists() else []
        fatal = [line.partition("FATAL:")[2].strip() for line in said if "FATAL:" in line]
        if not fatal:
            raise
        if until is None:
            raise BackupError(
                f"The database cannot be recovered: {fatal[0]}. Take another copy of WAL.\n{error}"
            ) from error
        raise BackupError(
            f"The database cannot be brought to {until}: {fatal[0]}. It has to be a time after the end of the backup "
            "and before the last event whose WAL is there; without --until all of it is used."
        ) from error


def _fetch(wal: Sequence[Path]) -> str:
    """The command by which PostgreSQL takes a file of WAL from the first of these directories that has it."""
    directories = " ".join(shlex.quote(str(each)).replace("%", "%%") for each in wal)
    # Above 125 recovery is given up: a file that is there and cannot be copied is not the end of WAL.
    return (
        f'for each in {directories}; do if test -f "$each/%f"; then cp "$each/%f" "%p" && exit 0; exit 126; fi; '
        "done; exit 1"
    )


def _flush(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
