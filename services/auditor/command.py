"""`ledger audit`: one command, on a database or on the HTTP interface alone."""

import asyncio
import getpass
import socket
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.auditor.audit import Asked, BadInput, Source, audit
from services.auditor.database import Database
from services.auditor.findings import CHECKS, Report
from services.auditor.outside import Ended, Outside, Stamped, read_series
from services.auditor.over_http import SECONDS_MAX, HttpError, OverHttp
from services.kept_outside import KeptOutside, store_of
from services.keys import key_id
from services.postgres import Unavailable, connect, ledger_schema, unavailable
from services.proof.note import NoteError, VerifierKey
from services.proof.timestamp import TimestampError, read_roots
from services.sealing import MasterKeyError, MasterKeys
from services.settings import Settings, SettingsError

FINDINGS_SHOWN_MAX = 20
CLEAN, FOUND, NOT_AUDITED = 0, 1, 2

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("audit")
@click.option("--ledger", "name", default="main", show_default=True, help="Name of the ledger.")
@click.option("--url", help="Check over HTTP alone, by the URL of a ledger service, as an outsider does.")
@click.option("--projector-url", help="With --url: check the digests of read models, too, by the URL of a projector.")
@click.option("--api-key-file", type=_file, help="File with an API key, for --url.  [default: that of LEDGER_HOME]")
@click.option("--since", type=_file, help="A checkpoint that you kept: the log has to extend it.")
@click.option("--tsa-ca", type=_file, help="Certificates (PEM) of a CA below which timestamps have to be signed.")
@click.option(
    "--key", "keys", multiple=True, help="A verifier key that you trust.  [default: those that the ledger names]"
)
@click.option("--read-models/--no-read-models", default=True, help="Compare read models with the replay of the log.")
@click.option("--hashes-only", is_flag=True, help="Check positions, leaf hashes, tiles and roots only: the fastest.")
@click.option(
    "--json", "report_file", type=click.Path(path_type=Path), help="Write the report there, as JSON. - is stdout."
)
@click.option("--by", help="Who audits.  [default: this user and machine]")
def audit_(
    name: str,
    url: str | None,
    projector_url: str | None,
    api_key_file: Path | None,
    since: Path | None,
    tsa_ca: Path | None,
    keys: tuple[str, ...],
    read_models: bool,
    hashes_only: bool,
    report_file: Path | None,
    by: str | None,
) -> None:
    """Check every event of a log, its tree, its checkpoints, and that its read models and their published digests are
    what it comes to.

    Nothing is written but the report. Ends with 0 if nothing was found, with 1 if something was, and with 2 if it could
    not be checked.

    \b
    Examples:
      ledger audit
      ledger audit --since kept.checkpoint --json report.json
      ledger audit --url https://ledger.example.com --projector-url https://answers.example.com
      ledger audit --tsa-ca tsa-ca.pem
      ledger audit --url https://ledger.example.com --key "ledger.example.com/main+1f2e3d4c+A…"
    """
    try:
        if projector_url is not None and url is None:
            raise BadInput("--projector-url goes with --url; without, digests are read from the database")
        settings = Settings.load()
        asked = Asked(
            by=by or f"{getpass.getuser()}@{socket.gethostname()}",
            keys=[VerifierKey.read(key) for key in keys],
            since=None if since is None else since.read_bytes(),
            tsa=None if tsa_ca is None else read_roots(tsa_ca.read_bytes()),
            read_models=read_models,
            hashes_only=hashes_only,
        )
        report = asyncio.run(
            _audit_database(settings, name, asked)
            if url is None
            else _audit_over_http(url, projector_url, name, api_key(api_key_file or settings.home / "admin.key"), asked)
        )
    except (BadInput, NoteError, TimestampError, HttpError, SettingsError, Unavailable, OSError) as error:
        click.echo(f"Not audited: {error}", err=True)
        sys.exit(NOT_AUDITED)
    if report_file is not None:
        encoded = msgspec.json.format(msgspec.json.encode(report), indent=1).decode() + "\n"
        if str(report_file) == "-":
            click.echo(encoded, nl=False)
        else:
            report_file.write_text(encoded)
    if str(report_file) != "-":
        click.echo("\n".join(_told(report)))
    sys.exit(FOUND if report.found else CLEAN)


async def _audit_database(settings: Settings, name: str, asked: Asked) -> Report:
    url = settings.url("auditor")
    connection = await connect(url)
    try:
        with unavailable():
            origin = await connection.fetchval("SELECT origin FROM registry.ledgers WHERE name = $1", name)
            if origin is None:
                raise BadInput(f"there is no ledger {name!r}")
            at = urlsplit(url)
            told = f"database {at.path.lstrip('/')} on {at.hostname or 'this machine'}, schema {ledger_schema(name)}"
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                # Read before the database is: what comes later is not there yet.
                elsewhere = KeptOutside(store_of(settings), name)
                outside = await asyncio.to_thread(kept, elsewhere)
                source = Database(connection, name, origin, told, _masters(settings))
                await source.head()
                # And again once its snapshot is taken: by now all that is inside has been kept there.
                outside = outside._replace(sizes=await asyncio.to_thread(kept_sizes, elsewhere))
                return await _with_progress(source, asked, outside)
    finally:
        connection.terminate()


async def _audit_over_http(url: str, projector_url: str | None, name: str, key: str, asked: Asked) -> Report:
    timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {key}"}, timeout=timeout) as session:
        return await _with_progress(await OverHttp.open(session, name, url, projector_url), asked, None)


async def _with_progress(source: Source, asked: Asked, outside: Outside | None) -> Report:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("auditing", total=None)

        def show(position: int, head: int) -> None:
            bar.update(task, completed=position, total=head)

        return await audit(source, asked, outside, show)


def api_key(path: Path) -> str:
    text = path.read_text(errors="replace").strip()
    if key_id(text) is None:
        raise BadInput(f"{path} does not hold an API key")
    return text


def _masters(settings: Settings) -> MasterKeys | None:
    """The master keys, where the auditor may read them."""
    try:
        return MasterKeys(settings.master_key)
    except MasterKeyError:
        return None


def kept_sizes(elsewhere: KeptOutside) -> frozenset[int]:
    """The sizes of all checkpoints that are kept outside."""
    return frozenset(int(file.name.partition(".")[0]) for file in elsewhere.every())


def kept(elsewhere: KeptOutside) -> Outside:
    """What is kept outside the database. A series ends where the next one begins with what somebody said."""
    series = [*elsewhere.series()]
    checkpoints, ended = list[bytes](), list[Ended]()
    if series and (first := series[0].accepted) is not None:
        ended.append(Ended(str(first), first.read_bytes(), []))
    goes_on = max((at for at, each in enumerate(series) if each.accepted is not None), default=0)
    for each, following in zip_longest(series, series[1:]):
        notes = [file.read_bytes() for file in each.checkpoints]
        if following is not None and following.accepted is not None:
            ended.append(Ended(str(following.accepted), following.accepted.read_bytes(), notes))
        else:
            checkpoints += notes
    timestamps = [
        Stamped(
            str(file),
            int(file.name.partition(".")[0]),
            file.read_bytes(),
            None if beside is None else beside.read_bytes(),
            goes_on=at >= goes_on,
        )
        for at, each in enumerate(series)
        for file, beside in each.timestamps
    ]
    return Outside(
        checkpoints,
        ended,
        timestamps,
        [file.read_bytes() for file in elsewhere.digests()],
        frozenset(int(file.name.partition(".")[0]) for each in series for file in each.checkpoints),
        read_series([(each.name, each.accepted is not None) for each in series]),
    )


def _told(report: Report) -> Iterator[str]:
    """The report for people."""
    yield f"Ledger {report.ledger}, {report.origin or 'of no known origin'}"
    yield f"  read from    {report.source}"
    yield f"  by           {report.by}, on {report.begun}, in {report.seconds:g} seconds"
    where = f"{report.checkpoints_inside} inside"
    if report.checkpoints_outside is not None:
        where += f", {report.checkpoints_outside} outside"
    yield f"  looked at    all {report.events} events, {report.checkpoints} checkpoints ({where})"
    if (digests := report.digests) is not None:
        others = f", and {digests.of_other_versions} of other versions, which this one cannot replay"
        yield (
            f"               {digests.published} published digests of read models, {digests.replayed} of them replayed"
            f"{others if digests.of_other_versions else ''}"
        )
    if (timestamps := report.timestamps) is not None:
        signatures = "their signatures too" if timestamps.signatures_checked else "not their signatures: see --tsa-ca"
        yield f"               {timestamps.looked_at} timestamps, {signatures}"
    if "keys" in report.checked:
        if (keys := report.sealing_keys) is None:
            yield "               whether each sealed text has a key, not whether keys open: that takes the master key"
        else:
            others = f", and {keys.untried} not: their master keys are not in the file"
            yield f"               {keys.tried} keys of sealed texts were tried{others if keys.untried else ''}"
    if report.read_models:
        behind = [f"{name} {at}" for name, at in report.read_models.items() if at != report.events]
        got = f"as far as they have got: {', '.join(behind)}" if behind else "up to the last event"
        yield f"               read models, {got}"
    for each in report.imported:
        keys_told = f"with keys, but for {each.keyless}" if each.with_keys else "without keys of sealed texts"
        yield f"  imported     on {each.at}, {each.events} events of {each.origin}, {keys_told}"
    for said in report.accepted:
        yield f"  accepted     on {said.at}, with {said.events} events, by {said.by}: {said.reason}"
        if said.not_of_this_log:
            sizes = f"{len(said.not_of_this_log)} of the {said.checkpoints} checkpoints before"
            first, last = said.not_of_this_log[0], said.not_of_this_log[-1]
            yield f"               {sizes} are not of this log (of {first} to {last} events)"
    yield ""
    kinds = {found.check for found in report.found}
    for check in report.checked:
        yield f"  {'✗' if check in kinds else '✓'} {check}: {CHECKS[check]}"
    for found in report.found[:FINDINGS_SHOWN_MAX]:
        where = "" if found.position is None else f"position {found.position}: "
        yield f"\n  {found.check}: {where}{found.text}"
    left = len(report.found) + report.more - FINDINGS_SHOWN_MAX
    if left > 0:
        yield f"\n  and {left} more (--json has {'all' if not report.more else 'the first'} of them)"
    yield ""
    yield "Nothing was found." if not report.found else f"{len(report.found) + report.more} findings."
