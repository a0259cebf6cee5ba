"""Loads what lists are computed from before anybody asks: nobody waits for it after a start, nor after a read model was
built anew."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime
from functools import partial
from itertools import chain
from typing import TypeVar

import asyncpg
import structlog

from services.allocator import give_back
from services.problems import Problem
from services.projector.answers import decisions, requirements
from services.projector.answers.held import READS, Held, Known, Loaded
from services.projector.answers.snapshot import Snapshot, Wanted, open_snapshot
from services.projector.outage import AWAY
from services.projector.projector import NoSuchLedger, Projector
from services.projector.runner import Stopped

PAUSE_SECONDS = 0.25
"""After each page that is read, each standing that is laid, and each few decisions."""

LOOK_SECONDS = 2.0
"""Between two looks whether something was built anew that is held."""

_FAILURES = (*AWAY, asyncpg.PostgresError, Problem, NoSuchLedger, Stopped)

_Done = TypeVar("_Done")

_log = structlog.get_logger()


async def keep_ahead(projector: Projector, held: Held) -> None:
    """Load what is there at the start, and again whatever is built anew. It never ends."""
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_tried(load_ahead(projector, held)))
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await load_again(projector, held)


async def load_again(projector: Projector, held: Held) -> None:
    """Load those of which something was built anew."""
    for name in held.ledgers:
        await _tried(_load_if_outdated(projector, held, name), ledger=name)


async def load_ahead(projector: Projector, held: Held) -> None:
    """Load the ledgers that are there at the start, those that were written last first, as far as there is room.

    It begins when all have caught up with their logs; one that takes too long for that is loaded as far as it has got.
    What fails is said, and left to whoever asks first.
    """
    await projector.caught_up()
    last_written = [(await _tried(_last_written(projector, name), ledger=name), name) for name in projector.ledgers()]
    for _, name in sorted(((at, name) for at, name in last_written if at is not None), reverse=True):
        if await _tried(_load(projector, held, name), ledger=name) == "no room":
            break
    _settle_down()


async def _tried(doing: Awaitable[_Done], **of_what: str) -> _Done | None:
    """A mistake in what only saves time ends nothing else, and is said: None."""
    try:
        return await doing
    except Exception as error:
        _log.error("loading_ahead_failed", **of_what, reason=repr(error), next="lists are loaded when somebody asks")
        return None


async def _load_if_outdated(projector: Projector, held: Held, name: str) -> None:
    if await _is_outdated(projector, held, name) and await _load(projector, held, name) == "loaded":
        _settle_down()


async def _load(projector: Projector, held: Held, name: str) -> Loaded | None:
    """Load a ledger, and say what came of it. None: it failed."""
    begun = time.monotonic()
    try:
        runner = await projector.ledger(name)
        open = partial(open_snapshot, projector.pool, runner, READS)
        loaded = await held.load_ahead(name, open, PAUSE_SECONDS, _steps)
    except _FAILURES as error:
        _say_failed(name, error)
        return None
    match loaded:
        case "loaded":
            seconds = round(time.monotonic() - begun, 3)
            _log.info("loaded_ahead", ledger=name, seconds=seconds, octets_of_all=held.octets)
        case "no room":
            _log.info("not_all_loaded_ahead", ledger=name, octets=held.octets)
        case "nothing to load":
            pass
    return loaded


async def _steps(snapshot: Snapshot, known: Known) -> Iterator[Callable[[], object]]:
    return chain(await decisions.steps_ahead(snapshot, known), requirements.steps_ahead(known))


def _settle_down() -> None:
    # What is held stays: a collector that looked through it again and again would hold up whoever asks meanwhile.
    gc.collect()
    gc.freeze()
    # What was read page by page and put in order left as much room behind as it takes.
    give_back()


async def _is_outdated(projector: Projector, held: Held, name: str) -> bool:
    """Whether something was built anew of which a ledger was read. Who cannot be asked now is asked again later."""
    try:
        runner = await projector.ledger(name)
        return await held.is_outdated(name, partial(open_snapshot, projector.pool, runner, READS, is_read=False))
    except _FAILURES:
        return False


async def _last_written(projector: Projector, name: str) -> datetime | None:
    """When a ledger was last written, as far as its read models have got; None if it is empty, or cannot be read."""
    try:
        runner = await projector.ledger(name)
        async with open_snapshot(projector.pool, runner, READS, Wanted()) as snapshot:
            return snapshot.now
    except _FAILURES as error:
        _say_failed(name, error)
        return None


def _say_failed(name: str, error: Exception) -> None:
    _log.warning("not_loaded_ahead", ledger=name, reason=str(error), next="the next who asks for it loads it")
