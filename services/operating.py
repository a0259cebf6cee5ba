"""What operators do from the command line beside `ledger run`: migrate, keep keys and backups, import, rebuild."""

import asyncio
import re
import shlex
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NoReturn

import click

from schemas.codec import BATCH_EVENTS_MAX
from schemas.times import read_time
from schemas.values import LEDGER_PATTERN
from services.backup import BackupError, back_up
from services.backup import restore as put_back
from services.embedded import EmbeddedError, answering
from services.importer.terminal import COULD_NOT_RUN, Target, import_files, load_sample, rehearse
from services.ledger.history import Doubt, accept_history
from services.migrate import MigrationError
from services.migrate import migrate as bring_up_to_date
from services.postgres import Unavailable
from services.process import configure_logs
from services.projector.terminal import PROJECTIONS, rebuild_projection, show_projections
from services.proof.note import NoteError
from services.rotation import rotate_master_key
from services.scrub_keys import KeysLeft, scrub_keys
from services.sealing import MasterKeyError
from services.settings import Settings, SettingsError
from services.signing import SigningKeyError, SigningKeys
from services.supervisor import SupervisorError

EXPLAINED = (SettingsError, EmbeddedError, MigrationError, Unavailable, SupervisorError)
"""What an operator can put right; its text says how. Anything else is ours, and shows where it happened."""

_EXAMPLES = Path(__file__).parents[1] / "examples"


@click.command("migrate")
@click.option(
    "--new-master-key", is_flag=True, help="The master key is lost: go on with another. What it sealed stays sealed."
)
@click.option("--ledger", "names", multiple=True, default=["main"], help="A ledger to make. [default: main]")
def migrate(new_master_key: bool, names: tuple[str, ...]) -> None:
    """Bring the database up to date, and make ledgers that are missing.

    \b
    Examples:
      ledger migrate
      ledger migrate --ledger main --ledger payments
      ledger migrate --new-master-key
    """
    settings = Settings.load()
    configure_logs(settings)
    for name in names:
        if not re.match(LEDGER_PATTERN, name):
            raise click.BadParameter(f"{name!r} is no name of a ledger: a-z, then a-z 0-9 -, 40 characters at most")
    migrate_it = partial(bring_up_to_date, ledgers=names, new_master_key=new_master_key)
    asyncio.run(_with_database(settings, migrate_it, make=True))


async def _with_database(
    settings: Settings, work: Callable[[Settings], Awaitable[None]], *, make: bool = False
) -> None:
    async with answering(settings, make=make):
        await work(settings)


@click.command("scrub-keys")
def scrub_keys_() -> None:
    """Let the keys that erasures have destroyed leave the files of the database, too.

    Writes the tables of keys of all ledgers anew, goes on in a new segment of the write-ahead log, and writes a
    checkpoint, after which those before are gone. Recording waits while the table of its ledger is rewritten. Ends with
    0 if no destroyed key is left in the files of the database, with 1 if some may be, and says where. Backups and
    archives are not touched.

    \b
    Examples:
      ledger scrub-keys
      LEDGER_DATABASE_URL=postgresql://ledger_owner:…@db/ledger ledger scrub-keys
    """
    settings = Settings.load()
    configure_logs(settings)
    try:
        asyncio.run(_with_database(settings, partial(scrub_keys, tell=click.echo)))
    except KeysLeft as left:
        click.echo(str(left), err=True)
        sys.exit(1)


@click.command("rebuild")
@click.argument("projection", type=click.Choice(PROJECTIONS))
@click.option("--ledger", "name", default="main", show_default=True, help="Name of the ledger.")
def rebuild(projection: str, name: str) -> None:
    """Build a read model anew from the log, beside the live one, and swap it in.

    Queries are answered all the while. Ends with 0 if it reflects the whole log, else with 1 and the reason. What was
    cut short goes on where it got when you run it again.

    \b
    Examples:
      ledger rebuild requirements
      ledger rebuild accounts --ledger payments
    """
    settings = Settings.load()
    configure_logs(settings)
    sys.exit(asyncio.run(rebuild_projection(settings, name, projection)))


@click.command("projections")
@click.option("--ledger", "name", default="main", show_default=True, help="Name of the ledger.")
def projections(name: str) -> None:
    """Show how far each read model has got, and how far it is being built anew.

    \b
    Examples:
      ledger projections
      ledger projections --ledger payments
    """
    settings = Settings.load()
    configure_logs(settings)
    sys.exit(asyncio.run(show_projections(settings, name)))


@click.command("rotate-signing-key")
@click.option("--projector", is_flag=True, help="The key that signs digests of read models, instead.")
def rotate_signing_key(projector: bool) -> None:
    """Put a new key before those that sign checkpoints.

    Restart the ledger (with --projector: the projector), and all of them sign: whoever knows the old one can go on
    verifying, and finds the new one signed beside it. Once everybody knows that, take the old line out of the file,
    and restart again.

    \b
    Examples:
      ledger rotate-signing-key
      ledger rotate-signing-key --projector
    """
    settings = Settings.load()
    if settings.signing_command is not None and not projector:
        click.echo("LEDGER_SIGNING_COMMAND signs: its keys are made where it has them.", err=True)
        sys.exit(2)
    service, path = ("projector", settings.projector_signing_key) if projector else ("ledger", settings.signing_key)
    try:
        held = SigningKeys.rotate(path)
    except SigningKeyError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    click.echo(f"{path} has {held} keys now, the newest first. Restart the {service} to sign with all of them.")


@click.command("rotate-master-key")
@click.option("--finish", is_flag=True, help="The second step: retire the old key, and take it out of the file.")
def rotate_master_key_(finish: bool) -> None:
    """Bring a new master key into use, and wrap every sealing key by it; then end the old one.

    Services go on meanwhile. Without --finish the old key stays behind the new one in the file, so that services which
    were not given the file yet go on as well. With it the database takes nothing more under the old one, and nothing
    is left that it opens. Cut short, either step is repeated. Ends with 2 where it could not be done.

    \b
    Examples:
      ledger rotate-master-key
      ledger rotate-master-key --finish
    """
    try:
        settings = Settings.load()
        configure_logs(settings)
        asyncio.run(_with_database(settings, partial(rotate_master_key, finishing=finish)))
    except (MasterKeyError, *EXPLAINED) as error:
        click.echo(str(error), err=True)
        sys.exit(2)


@click.command("accept-history")
@click.option("--ledger", "name", default="main", show_default=True, help="Name of the ledger.")
@click.option("--reason", required=True, help="What happened: a restore, a failover, or what was found.")
@click.option("--by", required=True, help="Who says so.")
def accept_history_(name: str, reason: str, by: str) -> None:
    """Say what happened to a log that does not go on from where it was, so that it takes writes again.

    A log that does not extend the last checkpoint kept outside the database was restored, failed over, or changed.
    What is said here is signed and kept beside the checkpoints; older checkpoints stay, and auditors will ask about
    them. Ends with 2 where there is nothing to accept.

    \b
    Examples:
      ledger accept-history --reason "restored the backup of 21 November after the disk failed" --by "ops, R. Roe"
      ledger accept-history --ledger payments --reason "failed over to a standby that lagged" --by "on call"
    """
    settings = Settings.load()
    configure_logs(settings)
    try:
        file = asyncio.run(accept_history(settings, name, reason=reason, by=by))
    except (Doubt, NoteError, SigningKeyError, OSError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    click.echo(f"Kept in {file}. The ledger takes writes again within seconds.")


_directory = click.Path(file_okay=False, path_type=Path)


@click.command("backup")
@click.argument("directory", type=_directory)
def backup(directory: Path) -> None:
    """Copy the embedded database into a DIRECTORY that does not exist yet, while it runs.

    When the directory is there, the backup is whole, verified and on disk. Keys and checkpoints are not in it; keep
    them elsewhere. Ends with 2 if there is no backup.

    \b
    Examples:
      ledger backup /mnt/backups/2026-11-21
      LEDGER_HOME=/srv/ledger ledger backup /mnt/backups/today
    """
    settings = _settings()
    try:
        archive = asyncio.run(back_up(settings, directory.absolute()))
    except (BackupError, EmbeddedError, Unavailable) as error:
        _not_done("No backup was made", error)
    click.echo(f"{directory} is a whole backup: `ledger restore {directory}` puts it into a new LEDGER_HOME.")
    if archive is None:
        click.echo(
            "What is recorded from now on is not in it. `ledger run` with LEDGER_WAL_ARCHIVE=DIR keeps that too."
        )
    else:
        click.echo(f"What is recorded from now on goes to {archive}, within a minute (--wal {archive}).")


@click.command("restore")
@click.argument("directory", metavar="BACKUP", type=_directory)
@click.option(
    "--wal", multiple=True, type=_directory,
    help="Directory with WAL since the backup: what was LEDGER_WAL_ARCHIVE. May be repeated, the first one first.",
)  # fmt: skip
@click.option("--until", help="A time (RFC 3339) to restore to.  [default: the end of WAL]")
def restore(directory: Path, wal: tuple[Path, ...], until: str | None) -> None:
    """Put a BACKUP into LEDGER_HOME, which must not have a database, and recover what WAL has since.

    Without --wal it becomes what it was at the end of the backup. Where the old LEDGER_HOME can be read, its
    database/pg_wal has what was not archived yet. Ends with 2, and leaves nothing, if it cannot all be recovered.

    \b
    Examples:
      ledger restore /mnt/backups/2026-11-21 --wal /mnt/wal
      ledger restore /mnt/backups/2026-11-21 --wal /mnt/wal --wal /srv/old/database/pg_wal
      ledger restore /mnt/backups/2026-11-21 --wal /mnt/wal --until 2026-11-21T16:20:00Z
      LEDGER_HOME=/srv/new ledger restore /mnt/backups/2026-11-21
    """
    settings = _settings()
    try:
        time = None if until is None else read_time(until)
    except (ValueError, OverflowError):
        raise click.BadParameter(
            f"{until!r} is not a time with a zone, as 2026-11-21T16:20:00Z", param_hint="--until"
        ) from None
    if time is not None and not wal:
        raise click.BadParameter(
            "it takes WAL to restore to a time: name its directory with --wal", param_hint="--until"
        )
    try:
        restored = asyncio.run(put_back(settings, directory.absolute(), [each.absolute() for each in wal], time))
    except (BackupError, EmbeddedError) as error:
        _not_done("Nothing was restored", error)
    click.echo(
        _BRING_ALONG.format(
            home=restored.home, backup=directory, wal=restored.wal_to.name, checkpoints=settings.checkpoints_place
        )
    )


_BRING_ALONG = """\
{home} has the database of {backup}, recovered up to WAL segment {wal}.

Before `ledger run`, bring along what no backup has, from where the ledger last ran:
  master.key    without it the start is refused, and sealed texts stay sealed. Where it was rotated after what was
                restored, the one from before; the start names it
  signing.key, projector-signing.key
                without them other keys sign from now on
  checkpoints   as they are now, into {checkpoints};
                by an older copy nobody would notice what the restore has lost
and, where webhooks are taken, hooks, receiver.key, receiver.sqlite3 and receiver-kept.key.

Then `ledger run`, and `ledger audit --since` a checkpoint that you kept. If events are missing, nothing is recorded
until `ledger accept-history` says why. Set LEDGER_WAL_ARCHIVE to another directory than before, and make a backup."""


def _settings() -> Settings:
    """Ends the command if they are wrong."""
    try:
        settings = Settings.load()
    except SettingsError as error:
        _not_done("Nothing was done", error)
    configure_logs(settings)
    return settings


def _not_done(what: str, error: Exception) -> NoReturn:
    click.echo(f"{what}. {error}", err=True)
    sys.exit(2)


_file = click.Path(exists=True, path_type=Path)
_to_ledger = (
    click.option("--url", help="URL of the ledger service.  [default: that of this machine]"),
    click.option("--ledger", "name", default="main", show_default=True, help="Name of the ledger."),
    click.option("--key-file", type=_file, help="File with the API key.  [default: admin.key in LEDGER_HOME]"),
    click.option("--key", envvar="LEDGER_KEY", hidden=True),
)


def _options(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_to_ledger):
        command = option(command)
    return command


@click.command("import")
@click.argument("mapping", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("files", nargs=-1, type=_file)
@_options
@click.option("--rejects", type=click.Path(dir_okay=False, path_type=Path), help="Where rejected rows are written.")
@click.option(
    "--batch", type=click.IntRange(1, BATCH_EVENTS_MAX), default=500, show_default=True, help="Events a request."
)
@click.option("--dry-run", is_flag=True, help="Post nothing: show counts, a sample of each type, and every error.")
def import_(
    mapping: Path,
    files: tuple[Path, ...],
    url: str | None,
    name: str,
    key_file: Path | None,
    key: str | None,
    rejects: Path | None,
    batch: int,
    dry_run: bool,
) -> None:
    """Import CSV and NDJSON files by a mapping. Repeating it records nothing twice.

    (A log that was recorded already, and exported, is taken in by `ledger import-log`.)

    MAPPING is a YAML file (examples/ has some). FILE may be a directory; without any, the files beside the mapping are
    taken. Ends with 0 if all went in, 1 if rows were rejected, 2 if it could not run.

    \b
    Examples:
      ledger import --dry-run examples/sample/exports.yaml examples/sample/02-winter
      ledger import examples/crm/crm.yaml ~/exports --ledger payments
    """
    if dry_run:
        sys.exit(rehearse(mapping, files))
    sys.exit(
        import_files(
            mapping,
            files,
            _target(url, name, key_file, key),
            rejects=rejects or Path(f"{mapping.stem}.rejects.ndjson"),
            batch_events_max=batch,
        )
    )


@click.command("demo")
@_options
def demo(url: str | None, name: str, key_file: Path | None, key: str | None) -> None:
    """Load a made-up company into a ledger that runs, and show what to ask it.

    Repeating it records nothing twice.

    \b
    Examples:
      ledger demo
      ledger demo --ledger payments
      ledger demo --url http://127.0.0.1:9080 --key-file admin.key
    """
    settings = Settings.load()
    if not _EXAMPLES.is_dir():
        click.echo(f"{_EXAMPLES} is missing: the sample comes with the repository, not with the package", err=True)
        sys.exit(COULD_NOT_RUN)
    status = load_sample(_EXAMPLES / "sample", _target(url, name, key_file, key))
    if status != COULD_NOT_RUN:
        ask = f"http://127.0.0.1:{settings.projector_port}/v1/ledgers/{name}"
        authorization = f'-H "Authorization: Bearer $(cat {shlex.quote(str(key_file or settings.home / "admin.key"))})"'
        click.echo("\nWho asked for single sign-on, how on-target were they, who decided:")
        click.echo(f"  curl {authorization} {ask}/requirements/SSO-42")
        click.echo("\nWhat was built for a customer outside the target market, and on what grounds:")
        click.echo(f"  curl {authorization} {ask}/requirements/ONPREM-1")
        click.echo("\nA decision on which later facts cast another light, and what its deciders could know:")
        click.echo(f"  curl {authorization} {ask}/decisions/D-4/context")
        click.echo("\nAll requirements, the strongest voice first:")
        click.echo(f"  curl {authorization} {ask}/requirements")
    sys.exit(status)


def _target(url: str | None, ledger: str, key_file: Path | None, key: str | None) -> Target:
    """Where events go. Ends the command if there is no key."""
    settings = Settings.load()
    named = "LEDGER_KEY"
    if key is None or key_file is not None:
        file = key_file or settings.home / "admin.key"
        named = str(file)
        try:
            key = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not a text"
            click.echo(
                f"No API key: {file} cannot be read ({reason}). `ledger run` makes it in a new ledger; set "
                "LEDGER_HOME to where it has, name a file with --key-file, or set LEDGER_KEY to a key.",
                err=True,
            )
            sys.exit(COULD_NOT_RUN)
    if not (key.isascii() and key.isprintable() and " " not in key and key):
        click.echo(f"{named} does not hold an API key: a key is one word", err=True)
        sys.exit(COULD_NOT_RUN)
    return Target(url=url or f"http://127.0.0.1:{settings.ledger_port}", ledger=ledger, key=key)
