"""What a test asks of what the projector holds in memory, and how it has that read."""

import asyncio
from functools import partial
from typing import Any

from services.postgres import connect
from services.projector.ahead import load_ahead
from services.projector.answers.held import READS, Held, Known, Open
from services.projector.answers.snapshot import Wanted, open_snapshot
from services.projector.counting.judging import Lens
from services.projector.counting.standings import stand
from services.projector.projections import ALL
from services.projector.projector import Projector
from services.projector.rebuild import rebuild
from tests.conftest import Database
from tests.log import Log
from tests.readmodels import mixed, reached

SECONDS_MAX = 60
OCTETS_OF_A_PAGE_MIN = 1_000
LENSES: tuple[Lens, ...] = ("now", "asked")


async def opener(projector: Projector, position: int, ledger: str = "main") -> Open:
    """Opens snapshots of a ledger, once it has got to a position."""
    runner = await projector.ledger(ledger)
    await reached(runner, position)
    return partial(open_snapshot, projector.pool, runner, READS)


async def look(open: Open, position: int, beside: int = 0) -> tuple[Any, ...]:
    """What a request knows when it has settled its position: that, its time, versions, how far all has got, and when
    another position was recorded."""
    async with open(Wanted(as_of=position, beside=beside)) as snapshot:
        return position, snapshot.now, snapshot.versions, snapshot.reached, snapshot.beside


async def all_held(log: Log, projector: Projector, events: int, ledger: str = "main") -> tuple[Open, Held, Known]:
    """A log of so many events, all of it held under the name of a ledger: what opens snapshots of it, what holds it,
    and what that knows."""
    await log.append(*mixed(events))
    open, held = await opener(projector, events), Held()
    return open, held, await held.known(ledger, open, *await look(open, events))


def heard(known: Known) -> dict[tuple[Lens, str], list[int]]:
    """How many accounts of each class ask for each requirement, computed from all that is held."""
    counted = known.counted
    return {
        (lens, counted.requirements.texts[code]): classes
        for lens in LENSES
        for code, classes in enumerate(stand(counted, lens, known.position, known.now).heard.classes.tolist())
        if any(classes)
    }


def never(*asked: object) -> Any:
    raise AssertionError("nothing is left to be read")


async def loaded(projector: Projector) -> Held:
    """What is held once all has been loaded ahead."""
    held = Held()
    async with asyncio.timeout(SECONDS_MAX):
        await load_ahead(projector, held)
    return held


async def build_anew(database: Database, name: str) -> None:
    """Have a read model built anew, and swapped in."""
    connection = await connect(database.projector)
    await rebuild(connection, "main", next(each for each in ALL if each.name == name))
    await connection.close()
