"""`ledger hook`: try hooks out, and see to what is kept. It works on the files themselves, as their owner."""

import asyncio
import re
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import aiohttp
import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from schemas.codec import MalformedJson, parse
from services.receiver.bodies import Misfit, make_events
from services.receiver.hooks import Hook, HookMissing, Hooks, HookUnusable, Written, load
from services.receiver.kept import FILE, Item, Kept, KeptUnusable
from services.receiver.posting import Ledgers
from services.receiver.private_files import PrivateFileUnusable, key_of
from services.receiver.reception import PAGE_ITEMS, Done, Reception, Stopped
from services.receiver.signatures import sign
from services.settings import Settings

WELL, SOME_LEFT, COULD_NOT_RUN = 0, 1, 2
ANSWER_SECONDS_MAX = 60
REASON_CHARS_MAX = 160
# Control characters but for line ends and tabs, and those that turn the direction of what is written.
_STEERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_body = click.Path(exists=True, dir_okay=False, path_type=Path)
_header = click.option("--header", "headers", multiple=True, help="A header, as 'X-GitHub-Event: issues'.")


@click.group("hook")
def hook_commands() -> None:
    """Webhooks: try a hook out, send to it, and see to the bodies that are kept.

    \b
    Examples:
      ledger hook check examples/hooks/zendesk-ticket.yaml
      ledger hook kept
      ledger hook replay
    """


@hook_commands.command(short_help="Say whether a hook can be used.")
@click.argument("file", type=_body)
@click.argument("body", type=_body, required=False)
@_header
def check(file: Path, body: Path | None, headers: tuple[str, ...]) -> None:
    """Say whether a hook can be used, and which events a body would make. Nothing is posted.

    Ends with 0, with 1 if the body does not fit, with 2 if the hook cannot be used: the events are shown even where
    only its secret, or its key, is amiss.

    \b
    Examples:
      ledger hook check examples/hooks/zendesk-ticket.yaml
      ledger hook check examples/hooks/github-issues.yaml examples/hooks/bodies/github-issues.json \\
        --header 'X-GitHub-Event: issues'
    """
    try:
        hook = load(file, needs_secret=False)
        written = hook.usable
    except HookUnusable as error:
        _give_up(str(error))
    amiss = _amiss(file, hook)
    for reason in amiss:
        _say(f"it cannot be used yet: {reason}")
    usable = "" if amiss else "it can be used; "
    _tell(f"{file}: {usable}its events go to the ledger {written.ledger} from {written.source}")
    for index, event in enumerate(written.events):
        if event.time is None:
            _tell(f"events[{index}] has no `time`: a body that is kept for a while would be about the day it goes on")
    status = WELL if body is None else _try_out(written, body, _headers(headers))
    sys.exit(COULD_NOT_RUN if amiss else status)


def _amiss(file: Path, hook: Hook) -> list[str]:
    """What is wrong with the files that a hook names."""
    found = []
    try:
        load(file)
    except HookUnusable as error:
        found.append(str(error))
    if hook.key_file is not None:
        try:
            key_of(hook.key_file)
        except PrivateFileUnusable as error:
            found.append(f"{file}: key_file: {hook.key_file.name} {error}")
    return found


def _try_out(written: Written, body: Path, headers: dict[str, str]) -> int:
    """Show the events that a body would make, or what speaks against it; the status to end with."""
    try:
        events = make_events(written.recipes, parse(body.read_bytes()), headers, datetime.now(UTC))
    except MalformedJson as error:
        _say(f"{body} is not JSON: {error}")
        return SOME_LEFT
    except Misfit as error:
        for objection in error.objections:
            where = " ".join(filter(None, (objection.event, objection.pointer)))
            _say(f"{body}: {f'{where}: ' if where else ''}{objection.message}")
        return SOME_LEFT
    _tell(f"{body} makes {len(events)} events" + ("" if events else ", as the conditions of the hook say"))
    for made in events:
        _tell(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())
    return WELL


@hook_commands.command(short_help="Send a body to a hook, signed.")
@click.argument("name")
@click.argument("body", type=_body)
@_header
@click.option("--url", help="URL of the receiver.  [default: that of this machine]")
@click.option("--delivery", help="Id of the delivery.  [default: one made up]")
def send(name: str, body: Path, headers: tuple[str, ...], url: str | None, delivery: str | None) -> None:
    """Send a body to a hook, signed as its sender would, with the first secret of its file.

    Ends with 0 if it was taken in (200 or 202), else with 1.

    \b
    Examples:
      ledger hook send github-issues examples/hooks/bodies/github-issues.json --header 'X-GitHub-Event: issues'
    """
    settings = Settings.load()
    try:
        hook = Hooks(settings.hooks_directory).get(name)
    except HookMissing:
        _give_up(f"there is no hook {name}: {settings.hooks_directory / name}.yaml does not exist")
    except HookUnusable as error:
        _give_up(str(error))
    target = f"{(url or f'http://{settings.host}:{settings.receiver_port}').rstrip('/')}/hooks/{name}"
    sys.exit(asyncio.run(_send(hook, body.read_bytes(), _headers(headers), target, delivery or secrets.token_hex(8))))


async def _send(hook: Hook, body: bytes, headers: dict[str, str], url: str, delivery: str) -> int:
    secret = hook.secrets[0] if hook.secrets else b""
    signed = sign(hook.signature, secret, body, now=datetime.now(UTC), delivery=delivery)
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS_MAX)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers={"Content-Type": "application/json", **headers, **signed}) as answer,
        ):
            text = await answer.read()
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        _give_up(f"{url} does not answer ({error}). Is the receiver running (`ledger run`)?")
    try:
        shown = msgspec.json.format(text, indent=2).decode()
    except (msgspec.DecodeError, UnicodeDecodeError):
        shown = text.decode(errors="replace")
    _tell(f"{status}\n{shown}")
    return WELL if status in (200, 202) else SOME_LEFT


@hook_commands.command(short_help="List what is kept, and why.")
@click.argument("name", required=False)
def kept(name: str | None) -> None:
    """List what is kept, the first that came first: why, and since when.

    \b
    Examples:
      ledger hook kept
      ledger hook kept github-issues
    """
    with _kept() as file:
        count = 0
        for item in _items(file, name) if file is not None else ():
            count += 1
            reason = " ".join(item.reason.split())
            cut = reason if len(reason) <= REASON_CHARS_MAX else reason[: REASON_CHARS_MAX - 1] + "…"
            _tell(
                f"{item.id:>6}  {item.received_at[:19]}Z  {item.delivery.hook}  {item.state}  {item.size} bytes  "
                f"tried {item.tries}  {item.problem}: {cut}"
            )
        _tell(f"{count} kept", err=True)


@hook_commands.command(short_help="Show one that is kept.")
@click.argument("id", type=int)
def show(id: int) -> None:
    """Show one that is kept: the reason, the headers and the body.

    \b
    Examples:
      ledger hook show 17
    """
    with _kept() as file:
        item = None if file is None else file.find(id)
        came = None if file is None or item is None else file.came(item)
    if item is None or came is None:
        _give_up(f"nothing is kept under {id}; `ledger hook kept` lists what is")
    _tell(f"hook      {item.delivery.hook}")
    _tell(f"state     {item.state} ({item.problem})")
    _tell(f"reason    {item.reason}")
    _tell(f"received  {item.received_at}")
    _tell(f"tried     {item.tried_at} ({item.tries} times)\n")
    for header, value in came.headers.items():
        _tell(f"{header}: {value}")
    _tell()
    try:
        _tell(msgspec.json.format(came.body, indent=2).decode())
    except (msgspec.DecodeError, UnicodeDecodeError):
        _tell(came.body.decode(errors="replace"))


@hook_commands.command(short_help="Forget bodies that are kept, for good.")
@click.argument("ids", type=int, nargs=-1, required=True)
def drop(ids: tuple[int, ...]) -> None:
    """Forget bodies that are kept, for good. Ends with 1 if there was none under one of the ids.

    \b
    Examples:
      ledger hook drop 17
    """
    missing = 0
    with _kept() as file:
        for id in ids:
            dropped = file is not None and file.drop(id)
            missing += not dropped
            _tell(f"{id} dropped" if dropped else f"{id} is not kept")
        if file is not None:
            file.give_back()
    sys.exit(SOME_LEFT if missing else WELL)


@hook_commands.command(short_help="Try what was refused again.")
@click.argument("name", required=False)
@click.option("--id", "id", type=int, help="This one only.")
def replay(name: str | None, id: int | None) -> None:
    """Try what was refused again, in the order in which it came, by the hooks as they stand now.

    What goes into the ledger is no longer kept. Ends with 0 if all of it did, with 1 if some is still refused, with 2
    if it could not run.

    \b
    Examples:
      ledger hook replay
      ledger hook replay zendesk-ticket
      ledger hook replay --id 17
    """
    with _kept() as file:
        if file is None:
            _tell("nothing is kept")
            return
        if id is not None:
            found = file.find(id)
            if found is None:
                _give_up(f"nothing is kept under {id}; `ledger hook kept` lists what is")
            chosen = [found.id]
        else:
            chosen = [item.id for item in _items(file, name) if item.state == "refused"]
        sys.exit(asyncio.run(_replay(file, chosen)))


async def _replay(file: Kept, chosen: list[int]) -> int:
    settings = Settings.load()
    hooks = Hooks(settings.hooks_directory)
    recorded = events = refused = 0
    async with Ledgers(settings.ledger_of_receiver) as ledgers:
        reception = Reception(hooks, file, ledgers, settings.receiver_key, days_max=settings.receiver_kept_days_max)
        with _progress(len(chosen)) as advance:
            for id in chosen:
                item = file.find(id)
                advance()
                outcome = None if item is None else await reception.attempt_again(item)
                if item is None or outcome is None:
                    continue  # Its sender has sent it again meanwhile, or somebody has dropped it.
                match outcome:
                    case Done() as done:
                        recorded += 1
                        events += len(done.events)
                    case Stopped(state="waiting") as stopped:
                        _tell(f"{recorded} of {len(chosen)} went on", err=True)
                        _give_up(f"{id} waits for the ledger, and goes on by itself once it can: {stopped.reason}")
                    case Stopped() as stopped:
                        refused += 1
                        _say(f"{id} {item.delivery.hook}: {stopped.reason}")
    _tell(f"{recorded} went on and made {events} events; {refused} are still refused")
    return SOME_LEFT if refused else WELL


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    """A bar, on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=total or None)
        yield lambda: bar.advance(task)


@contextmanager
def _kept() -> Iterator[Kept | None]:
    """The file of what is kept; None if there is none. Ends the command if it cannot be used."""
    settings = Settings.load()
    if not (settings.home / FILE).exists():
        yield None
        return
    try:
        file = Kept(settings.home, bytes_max=settings.receiver_kept_bytes_max)
        try:
            yield file
        finally:
            file.close()
    except KeptUnusable as error:
        _give_up(str(error))


def _items(file: Kept, name: str | None) -> Iterator[Item]:
    after = 0
    while items := file.page(hook=name, after=after, limit=PAGE_ITEMS):
        yield from items
        after = items[-1].id


def _headers(given: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for text in given:
        name, colon, value = text.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{text!r} is no header; write it as 'Name: value'", param_hint="--header")
        headers[name.strip().lower()] = value.strip()
    return headers


def _say(message: str) -> None:
    _tell(message, err=True)


def _tell(text: str = "", *, err: bool = False) -> None:
    """Write a text. It may come from a sender, and what would steer the terminal is written out."""
    click.echo(_STEERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text), err=err)


def _give_up(message: str) -> NoReturn:
    _tell(message, err=True)
    sys.exit(COULD_NOT_RUN)
