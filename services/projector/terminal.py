"""Read models from the command line: how far they are, and rebuilding with a progress bar and what came of it."""

from datetime import timedelta
from pathlib import Path

import asyncpg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from services.postgres import Unavailable, connect, ledger_schema
from services.projector.outage import AWAY
from services.projector.projections import ALL
from services.projector.rebuild import SILENT_SECONDS_MAX, RebuildError, UnderWay, rebuild, under_way
from services.settings import Settings
from services.statements import Statements

_statements = Statements.load(Path(__file__).with_name("queries.sql"))

PROJECTIONS = tuple(projection.name for projection in ALL)


async def rebuild_projection(settings: Settings, ledger: str, name: str) -> int:
    """Build a read model anew, and swap it in; the exit status. Raises Unavailable if it cannot begin."""
    projection = next(projection for projection in ALL if projection.name == name)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    connection = await connect(settings.url("projector"))
    try:
        with Progress(*columns, console=console) as progress:
            task = progress.add_task(f"{name} of {ledger}", total=None)
            rebuilt = await rebuild(
                connection,
                ledger,
                projection,
                progress=lambda position, head: progress.update(task, completed=position, total=head),
            )
    except RebuildError as error:
        console.print(f"Nothing was changed: {error}", markup=False, highlight=False)
        return 1
    except AWAY as error:
        console.print(
            f"The rebuild was cut short ({error or type(error).__name__}): the database went away, or ended the"
            f" session because nothing was heard of this process for {SILENT_SECONDS_MAX} seconds. The read model"
            " answers as before. Run it again: it goes on where it got",
            markup=False,
            highlight=False,
        )
        return 1
    finally:
        connection.terminate()

    if rebuilt.trouble is not None:
        found = rebuilt.trouble
        console.print(
            f"{name} was rebuilt and stops before position {found.position}: {found.reason}",
            markup=False,
            highlight=False,
        )
        return 1
    console.print(f"{name} was rebuilt from 1 to position {rebuilt.position}.", markup=False, highlight=False)
    return 0


async def show_projections(settings: Settings, ledger: str) -> int:
    """Show each read model of a ledger, by its name; the exit status. Raises Unavailable."""
    console = Console()
    statements = _statements.bind(schema=ledger_schema(ledger))
    connection = await connect(settings.url("projector"))
    try:
        rows = await connection.fetch(statements["cursors_and_head"])
        rebuilds = {each.projection: each for each in await under_way(connection, ledger)}
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        said = f"There are no read models of a ledger {ledger} yet; check the name, or start the projector"
        Console(stderr=True).print(said, markup=False, highlight=False)
        return 1
    except AWAY as error:
        raise Unavailable(f"the database does not answer ({error})") from error
    finally:
        connection.terminate()
    table = Table("read model", "position", "of", "state", "being built anew", box=None)
    for row in sorted(rows, key=lambda row: str(row["projection"])):
        state = row["state"] if row["reason"] is None else f"{row['state']}: {row['reason']}"
        anew = _told(rebuilds.get(row["projection"]), row["head"])
        table.add_row(row["projection"], str(row["position"]), str(row["head"]), Text(state), anew)
    console.print(table)
    return 0


def _told(rebuild: UnderWay | None, head: int) -> str:
    if rebuild is None:
        return ""
    rate, left = rebuild.events_per_second, rebuild.seconds_left(head)
    if rate is None or left is None:
        return f"at {rebuild.position}"
    return f"at {rebuild.position}, {rate:,.0f} events a second, {timedelta(seconds=round(left))} left"
