"""What the operator of an import sees: progress on stderr, the outcome on stdout, and an exit status."""

import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from schemas.codec import BATCH_EVENTS_MAX
from services.importer.delivery import Delivery, DeliveryFailed
from services.importer.mapping import MappingError, load
from services.importer.run import CannotImport, Made, Plan, Rejected, Rejects, Tally, deliver, plan, read

ALL_IN, SOME_REJECTED, COULD_NOT_RUN = 0, 1, 2


class Target(Struct, frozen=True):
    """Where events go: the URL of a ledger service, a ledger's name, and an API key."""

    url: str
    ledger: str
    key: str


class Ended(Struct, frozen=True):
    """How an import went: its exit status, and what the operator has to know of it, if anything."""

    status: int
    message: str | None = None


def import_files(mapping: Path, files: Sequence[Path], target: Target, *, rejects: Path, batch_events_max: int) -> int:
    """Import files by a mapping and report. Returns the exit status."""
    tally = Tally()
    ended = _import(mapping, files, target, tally, rejects=rejects, batch_events_max=batch_events_max)
    _report(tally)
    return _told(ended)


def load_sample(folder: Path, target: Target) -> int:
    """Import what is numbered in a folder, in the order of the numbers, and report once: a mapping by itself, a folder
    of exports by `exports.yaml`. Returns the exit status."""
    tally = Tally()
    every = []
    for step in sorted(folder.glob("[0-9]*")):
        click.echo(step.name)
        mapping, files = (folder / "exports.yaml", [step]) if step.is_dir() else (step, [])
        rejects = Path(f"{step.stem}.rejects.ndjson")
        every.append(_import(mapping, files, target, tally, rejects=rejects, batch_events_max=BATCH_EVENTS_MAX))
        if every[-1].status == COULD_NOT_RUN:
            break
    _report(tally)
    return max((_told(ended) for ended in every), default=ALL_IN)


def _import(
    mapping: Path, files: Sequence[Path], target: Target, tally: Tally, *, rejects: Path, batch_events_max: int
) -> Ended:
    try:
        found = _planned(mapping, files)
        if any(rejects.exists() and rejects.samefile(path) for path in (mapping, *files, *_paths(found))):
            raise CannotImport(f"{rejects} is to be read, so rejects cannot be written to it; name another file")
        with Rejects(rejects) as written, _progress(found, str(mapping)) as (advance, say):
            items = read(found, tally, now=datetime.now(UTC), progress=advance)
            asyncio.run(_deliver(items, target, written, tally, batch_events_max, say))
    except (CannotImport, DeliveryFailed) as error:
        return Ended(COULD_NOT_RUN, str(error))
    except OSError as error:
        return Ended(COULD_NOT_RUN, f"{rejects} cannot be written: {error.strerror}")
    except KeyboardInterrupt:
        return Ended(COULD_NOT_RUN, "Stopped. What is recorded stays; run this again for the rest.")
    for path, reason in found.unused:
        click.echo(f"not used: {path.name} ({reason})")
    if written.count:
        return Ended(SOME_REJECTED, f"rejected rows and reasons: {written.path}")
    return Ended(ALL_IN)


def _told(ended: Ended) -> int:
    if ended.status == COULD_NOT_RUN:
        return _failed(ended.message or "")
    if ended.message is not None:
        click.echo(ended.message)
    return ended.status


def rehearse(mapping: Path, files: Sequence[Path]) -> int:
    """Read and check everything and post nothing: counts, a sample of each type, every error. Returns the status."""
    tally = Tally()
    samples: dict[str, bytes] = {}
    try:
        found = _planned(mapping, files)
        with _progress(found, str(mapping)) as (advance, say):
            # A bar stands on the terminal's last line: what is shown there goes through it.
            show = say if sys.stdout.isatty() else click.echo
            for item in read(found, tally, now=datetime.now(UTC), progress=advance):
                match item:
                    case Rejected():
                        tally.rejected += 1
                        show(f"{item.origin.file}:{item.origin.line}: {item.reason}")
                    case Made(entries=[]):
                        tally.without_event += 1
                    case Made():
                        tally.in_ledger += 1
                        tally.types.update(entry.type for entry in item.entries)
                        for entry in item.entries:
                            samples.setdefault(entry.type, entry.body)
    except CannotImport as error:
        return _failed(str(error))
    for name, body in samples.items():
        click.echo(f"\nThe first {name}:\n{msgspec.json.format(body, indent=2).decode()}")
    click.echo(f"\nNothing was posted. Of {tally.read} rows:")
    click.echo(f"  {tally.in_ledger} make {tally.types.total()} events")
    for name, count in tally.types.items():
        click.echo(f"    {count:>9} {name}")
    click.echo(f"  {tally.rejected} would be rejected")
    click.echo(f"  {tally.without_event} make no event, as the mapping says")
    return SOME_REJECTED if tally.rejected else ALL_IN


def _planned(mapping: Path, files: Sequence[Path]) -> Plan:
    try:
        return plan(load(mapping), files)
    except MappingError as error:
        raise CannotImport(str(error)) from error


async def _deliver(
    items: Iterator[Made | Rejected],
    target: Target,
    rejects: Rejects,
    tally: Tally,
    batch_events_max: int,
    say: Callable[[str], None],
) -> None:
    async with Delivery(target.url, target.ledger, target.key, say) as delivery:
        await deliver(items, delivery, rejects, tally, batch_events_max=batch_events_max)


@contextmanager
def _progress(found: Plan, title: str) -> Iterator[tuple[Callable[[int], None], Callable[[str], None]]]:
    """A bar by bytes read, on a terminal; what is said appears above it."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield (lambda _: None), (lambda text: click.echo(text, err=True))
        return
    columns: list[Any] = [TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()]
    with Progress(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(title, total=found.bytes_total or None)

        def say(text: str) -> None:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

        yield (lambda done: bar.update(task, completed=done)), say


def _paths(found: Plan) -> list[Path]:
    return [*(path for path, _ in found.files), *(path for path, _ in found.lookups.values())]


def _report(tally: Tally) -> None:
    open_rows = tally.read - tally.in_ledger - tally.rejected - tally.without_event
    click.echo(f"rows    {tally.read:>9} read")
    click.echo(f"        {tally.in_ledger:>9} in the ledger")
    click.echo(f"        {tally.rejected:>9} rejected")
    click.echo(f"        {tally.without_event:>9} without an event, as the mapping says")
    if open_rows:
        click.echo(f"        {open_rows:>9} not posted")
    if tally.joined:
        unused = f"; {tally.joined_nowhere} keys were asked for by no row" if tally.joined_nowhere else ""
        click.echo(f"lookups {tally.joined:>9} rows joined to others{unused}")
    click.echo(f"events  {tally.events_recorded:>9} recorded")
    click.echo(f"        {tally.events_known:>9} already recorded")
    click.echo(f"        {tally.events_rejected:>9} refused by the ledger")


def _failed(message: str) -> int:
    click.echo(message, err=True)
    sys.stderr.flush()
    return COULD_NOT_RUN
