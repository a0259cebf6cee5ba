"""Rebuilding from the command line: a progress bar, and what came of it."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.postgres import Unavailable, connect
from services.projector.outage import AWAY
from services.projector.projections import ALL
from services.projector.rebuild import RebuildError, rebuild
from services.settings import Settings

PROJECTIONS = tuple(projection.name for projection in ALL)


async def rebuild_projection(settings: Settings, ledger: str, name: str) -> int:
    """Build a read model anew, and swap it in; the exit status. Raises Unavailable."""
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
        raise Unavailable(f"the rebuild was cut short and nothing was changed: {error}") from error
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
