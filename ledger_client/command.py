"""`ledger-outbox`: look into an outbox, send it, and read what can be read of a damaged one."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click
import msgspec

from ledger_client.errors import LedgerError, OutboxError
from ledger_client.ledger import Ledger
from ledger_client.outbox import BYTES_MAX, EVENTS_MAX, Outbox, Status
from ledger_client.outbox_file import Aside, Counts, OutboxFile
from ledger_client.salvage import salvage as salvaged_from

ASIDE_SHOWN_MAX = 1_000
SALVAGED_AT_ONCE = 1_000
LOOK_SECONDS = 0.2

EMPTY, NOT_EMPTY, COULD_NOT_RUN = 0, 1, 2

_file = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Outboxes of the requirements ledger: files of events that wait to be sent.

    \b
    Examples:
      ledger-outbox inspect crm.outbox
      ledger-outbox send crm.outbox --url http://127.0.0.1:8080 --key-file crm.key
      ledger-outbox salvage crm.outbox mended.outbox
    """


@main.command()
@_file
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for programs.")
def inspect(file: Path, as_json: bool) -> None:
    """How many events FILE holds, and which of them the ledger refuses, and why.

    It shows ids, types and reasons, never what customers said. Exit status 1 if something stands aside.

    \b
    Example:
      ledger-outbox inspect crm.outbox
    """
    opened = _opened(file)
    try:
        counts, aside, ledger = opened.counts(), opened.aside(), opened.ledger()
    finally:
        opened.close()
    if as_json:
        shown = [{"place": each.place, **_shown(each)} for each in aside]
        click.echo(msgspec.json.encode({"ledger": ledger, **msgspec.to_builtins(counts), "aside": shown}))
    else:
        _say(file, ledger, counts, aside)
    sys.exit(NOT_EMPTY if aside else EMPTY)


@main.command()
@_file
@click.option("--url", required=True, help="The ledger service, as http://127.0.0.1:8080.")
@click.option(
    "--key-file", required=True, type=click.Path(path_type=Path, dir_okay=False), help="A file with an API key."
)
@click.option("--ledger", default=None, help="The ledger; by default the one that FILE is for.")
@click.option("--strict-order", is_flag=True, help="Send nothing after an event that is refused.")
@click.option("--refused", is_flag=True, help="Send also what the ledger has refused before.")
@click.option("--seconds", type=float, default=None, help="Give up after so long; by default wait for the ledger.")
def send(
    file: Path, url: str, key_file: Path, ledger: str | None, strict_order: bool, refused: bool, seconds: float | None
) -> None:
    """Send what waits in FILE, in order, until nothing does.

    Interrupting it is safe, and so is another process that puts meanwhile. Exit status 1 if something is left.

    \b
    Examples:
      ledger-outbox send crm.outbox --url http://127.0.0.1:8080 --key-file crm.key
      ledger-outbox send crm.outbox --url http://127.0.0.1:8080 --key-file crm.key --refused
    """
    opened = _opened(file)
    name = ledger or opened.ledger()
    try:
        if name is None:
            _end(f"{file} does not say which ledger its events are for. Name it: --ledger NAME")
        # Before anything is sent: what is on its way already could not be sent again.
        if refused and (aside := opened.aside()):
            opened.resend([each.place for each in aside])
    except OutboxError as error:
        _end(f"{error} Another process may be sending; run this again.")
    finally:
        opened.close()
    try:
        status = asyncio.run(_send(file, url, key_file, name, strict_order, seconds))
    except (OutboxError, LedgerError, ValueError) as error:
        _end(str(error))
    except KeyboardInterrupt:
        _end("Stopped. What is left stays in the file; run this again for the rest.")
    left = status.counts.waiting + status.counts.deferred + status.counts.refused
    click.echo(f"sent: {status.sent} (recorded before: {status.duplicates}); left: {left}")
    if left:
        click.echo(f"`ledger-outbox inspect {file}` shows what is left, and why.")
    sys.exit(NOT_EMPTY if left else EMPTY)


@main.command()
@_file
@click.argument("new", type=click.Path(path_type=Path, dir_okay=False))
def salvage(file: Path, new: Path) -> None:
    """Read what can be read of FILE, which is damaged, into an outbox NEW. FILE is not touched.

    An event is taken over only if it is, byte for byte, what was put. What had been sent already may come back; sending
    it again records nothing twice.

    \b
    Example:
      ledger-outbox salvage crm.outbox mended.outbox
    """
    if new.exists():
        _end(f"{new} is there already. Name a new file.")
    try:
        found = salvaged_from(file)
        opened = OutboxFile.open(new, found.ledger, max_events=EVENTS_MAX, max_bytes=BYTES_MAX)
        try:
            starts = range(0, len(found.rows), SALVAGED_AT_ONCE)
            with click.progressbar(starts, label="Salvaging", file=sys.stderr) as shown:
                for start in shown:
                    opened.keep(found.rows[start : start + SALVAGED_AT_ONCE])
        finally:
            opened.close()
    except OSError as error:
        _end(f"{file} cannot be read: {error.strerror}")
    except OutboxError as error:
        _end(str(error))
    click.echo(f"salvaged: {len(found.rows)} events, into {new}; found but not usable: {found.unusable}")
    if found.ledger is None:
        click.echo("Which ledger they are for cannot be read: `ledger-outbox send` needs --ledger.")
    sys.exit(EMPTY if found.rows or not found.unusable else NOT_EMPTY)


async def _send(file: Path, url: str, key_file: Path, ledger: str, strict_order: bool, seconds: float | None) -> Status:
    async with (
        Ledger(url, key_file, ledger=ledger) as reached,
        Outbox(file, reached, strict_order=strict_order) as outbox,
    ):
        before = (await outbox.status()).counts.waiting
        flushing = asyncio.create_task(outbox.flush(seconds))
        told = None
        with click.progressbar(length=before, label="Sending", file=sys.stderr) as bar:
            while not flushing.done():
                await asyncio.wait([flushing], timeout=LOOK_SECONDS)
                status = await outbox.status()
                bar.update(max(0, before - status.counts.waiting - bar.pos))
                if status.trouble not in (None, told):
                    told = status.trouble
                    click.echo(f"\nwaiting: {told}", err=True)
        return flushing.result()


def _opened(file: Path) -> OutboxFile:
    try:
        return OutboxFile.open(file, None, max_events=EVENTS_MAX, max_bytes=BYTES_MAX, make=False)
    except OutboxError as error:
        _end(str(error))


def _say(file: Path, ledger: str | None, counts: Counts, aside: list[Aside]) -> None:
    oldest = "" if counts.oldest_put_at is None else f", the oldest since {_clock(counts.oldest_put_at)}"
    click.echo(f"{file}: for the ledger `{ledger or 'any'}`, {counts.bytes} bytes{oldest}")
    click.echo(f"waiting: {counts.waiting}; to be tried again: {counts.deferred}; refused: {counts.refused}")
    for each in aside[:ASIDE_SHOWN_MAX]:
        shown = _shown(each)
        again = f", again at {_clock(each.due_at)}" if each.state == "deferred" else ""
        click.echo(f"  place {each.place}: {shown['type']} {shown['id']}: {each.state}{again}: {shown['reason']}")
    if len(aside) > ASIDE_SHOWN_MAX:
        click.echo(f"  and {len(aside) - ASIDE_SHOWN_MAX} more")


def _shown(each: Aside) -> dict[str, object]:
    errors = each.problem.get("errors") or [{}]
    spot, message = errors[0].get("pointer", ""), errors[0].get("message") or each.problem.get("detail", "")
    return {
        "id": each.id,
        "source": each.source,
        "type": each.event.get("type"),
        "state": each.state,
        "status": each.status,
        "reason": f"{spot}: {message}" if spot else message,
    }


def _clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def _end(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(COULD_NOT_RUN)
