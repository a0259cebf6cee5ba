"""The projector: for each ledger one runner, which keeps that ledger's read models up with its log."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncpg
import structlog

from services.postgres import ACQUIRE_SECONDS_MAX, Unavailable, open_pool, unavailable
from services.projector.apply import prepare
from services.projector.feed import listen
from services.projector.leases import Leases
from services.projector.outage import AWAY, Outage
from services.projector.projections import ALL, Projection
from services.projector.runner import Runner, Shared
from services.settings import Settings
from services.statements import Statements

POLL_LEDGERS_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 1.0  # Between two looks whether all can be asked, by what nobody waits for.
CAUGHT_UP_SECONDS_MAX = 3_600  # For what nobody waits for to begin: a ledger that is in trouble holds it up no longer.
CLOSE_SECONDS_MAX = 2  # For connections to be given back; then they are cut.
REBUILDS_AT_ONCE_MAX = 1

_statements = Statements.load(Path(__file__).with_name("queries.sql"))
_log = structlog.get_logger()


class NoSuchLedger(KeyError):
    """The registry has no ledger of this name."""


class Projector:
    """All ledgers of a database. Use it as a context: it starts on entering and stops on leaving."""

    pool: asyncpg.Pool
    """Connections as the role projector, for queries."""
    storing: asyncpg.Pool
    """Those that keep read models up: half as many more."""
    leases: Leases
    """Which ledgers this process keeps up with, of those that it answers from."""

    def __init__(self, settings: Settings, *, projections: Sequence[Projection] = ALL) -> None:
        self._settings = settings
        self._projections = projections
        self._outage = Outage()
        self._runners: dict[str, Runner] = {}
        self._found_first: tuple[Runner, ...] | None = None
        self._ledgers_changed = asyncio.Event()
        self._shared: Shared
        self._tasks: asyncio.TaskGroup
        self._main: asyncio.Task[None]

    async def start(self) -> None:
        """Begin to keep up with every ledger, in the background, whether the database answers yet or not."""
        url, connections_max = self._settings.url("projector"), self._settings.pool_connections_max
        storing_max = max(1, connections_max // 2)
        self.pool = await open_pool(url, connections_max=connections_max, synchronous_commit=False)
        self.storing = await open_pool(url, connections_max=storing_max, synchronous_commit=False, prepare=prepare)
        self.leases = Leases(
            self._settings.url("projector"),
            self._outage,
            self._projections,
            ledgers=self.ledgers,
            on_taken=self._wake,
        )
        self._shared = Shared(
            settings=self._settings,
            projections=self._projections,
            outage=self._outage,
            pool=self.storing,
            turns=asyncio.Semaphore(storing_max),
            rebuilds=asyncio.Semaphore(REBUILDS_AT_ONCE_MAX),
            leases=self.leases,
        )
        self._tasks = asyncio.TaskGroup()
        self._main = asyncio.create_task(self._run())
        await asyncio.sleep(0)  # From here on there is a task group that runners can join.

    async def stop(self) -> None:
        """Stop between two transactions, and raise what went wrong in the background, if anything did."""
        self._main.cancel()
        try:
            with contextlib.suppress(asyncio.CancelledError):
                await self._main
        finally:
            with contextlib.suppress(*AWAY):
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await asyncio.gather(self.pool.close(), self.storing.close())

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def failure(self) -> None:
        """Wait, for ever if all goes well; raises what has ended the work in the background."""
        await asyncio.shield(self._main)

    async def ready(self) -> None:
        """Raises Unavailable while queries cannot be answered: also until the ledgers that were there at the start can
        be asked. One whose read models the database refuses to make does not keep the others waiting."""
        if self._found_first is None:
            raise Unavailable("the ledgers have not been read from the database yet")
        if opening := sum(runner.is_opening for runner in self._found_first):
            raise Unavailable(f"the read models of {opening} of {len(self._found_first)} ledgers are not there yet")
        with unavailable():
            await self.pool.fetchval("SELECT 1", timeout=ACQUIRE_SECONDS_MAX)

    async def caught_up(self) -> None:
        """Wait until what was there at the start has come to the end of its log, as that is now, or cannot: what nobody
        waits for can begin then. It does not wait for longer than CAUGHT_UP_SECONDS_MAX."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CAUGHT_UP_SECONDS_MAX):
                while True:
                    try:
                        await self.ready()
                        break
                    except Unavailable:
                        await asyncio.sleep(LOOK_AGAIN_SECONDS)
                for runner in self._found_first or ():
                    await runner.caught_up()

    def ledgers(self) -> list[str]:
        """The names of the ledgers that it keeps up with."""
        return [*self._runners]

    async def ledger(self, name: str) -> Runner:
        """The runner of a ledger, once its read models can be asked. Raises NoSuchLedger and Unavailable."""
        if name not in self._runners:
            with unavailable():
                found = await self.pool.fetchval(_statements["ledger_exists"], name)
            if not found:
                raise NoSuchLedger(name)
        runner = self._run_ledger(name)
        await runner.opened()
        return runner

    async def _run(self) -> None:
        async with self._tasks:
            self._tasks.create_task(self.leases.keep())
            self._tasks.create_task(
                listen(
                    self._settings.url("projector"),
                    self._outage,
                    on_events=self._wake,
                    on_ledger=lambda name: self._ledgers_changed.set(),
                    on_listening=self._wake_all,
                )
            )
            while True:
                self._ledgers_changed.clear()
                try:
                    found = [self._run_ledger(row["name"]) for row in await self.pool.fetch(_statements["ledgers"])]
                    if self._found_first is None:
                        self._found_first = tuple(found)
                except AWAY as error:
                    await self._outage.pause(error)
                    continue
                except asyncpg.PostgresError as error:
                    _log.error("ledgers_not_read", reason=str(error), next="has `ledger migrate` run?")
                self._outage.over()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_LEDGERS_SECONDS):
                        await self._ledgers_changed.wait()

    def _run_ledger(self, name: str) -> Runner:
        if name not in self._runners:
            runner = self._runners[name] = Runner(self._shared, name)
            self._tasks.create_task(runner.run())
            self.leases.look()
        return self._runners[name]

    def _wake(self, ledger: str) -> None:
        if runner := self._runners.get(ledger):
            runner.wake()
        else:
            self._ledgers_changed.set()

    def _wake_all(self) -> None:
        self._ledgers_changed.set()
        for runner in self._runners.values():
            runner.wake()
