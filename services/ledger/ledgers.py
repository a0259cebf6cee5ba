"""The ledgers that this process serves: each with its log, its settings and its sequencer, opened on first use."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from types import TracebackType

from msgspec import Struct

from schemas.values import same_team
from services.kept_outside import KeptOutside
from services.ledger.history import History, look
from services.ledger.log import EventLog
from services.ledger.queue import Queue
from services.ledger.refusals import Refusals
from services.ledger.sequencer import Sequencer, notify
from services.ledger.tail import Tail
from services.migrate import OriginTaken, make_ledger
from services.postgres import Pool, Unavailable, connect, unavailable
from services.problems import Problem
from services.sealing import MasterKeys
from services.settings import Settings, SettingsError
from services.signing import Signing
from services.tree import Tree


class Registered(Struct, frozen=True, kw_only=True):
    """A ledger as the registry has it. `origin` names its log in checkpoints; it never changes."""

    ledger: str
    teams: list[str]
    origin: str
    created_at: datetime


class Ledger(Struct, frozen=True, kw_only=True):
    """An open ledger."""

    registered: Registered
    log: EventLog
    sequencer: Sequencer
    tail: Tail
    tree: Tree
    history: History


class Ledgers:
    """Every ledger of the database. Entering opens none yet; leaving commits what waits, then stops.

    Sequencers have a pool to themselves (`recording`), so that they never wait for a connection behind readers.
    """

    def __init__(
        self,
        reading: Pool,
        recording: Pool,
        settings: Settings,
        master: MasterKeys,
        signing: Signing,
        outside: Callable[[str], KeptOutside],
    ) -> None:
        self.reading = reading
        self._recording = recording
        self.master = master
        self.signing = signing
        self._outside = outside
        self._settings = settings
        self.queue = Queue(events_max=settings.queue_events_max, bytes_max=settings.queue_bytes_max)
        self.refusals = Refusals(reading)
        self._open: dict[str, Ledger] = {}
        self._opening = asyncio.Lock()
        self._running = AsyncExitStack()
        self._notifying: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Ledgers":
        await self._running.enter_async_context(self.refusals)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._running.aclose()
        for task in self._notifying:
            task.cancel()
        await asyncio.gather(*self._notifying, return_exceptions=True)

    async def open(self, name: str) -> Ledger:
        """The ledger of this name. Raises Problem (404) if there is none, and Unavailable."""
        if name in self._open:
            return self._open[name]
        async with self._opening:
            if name not in self._open:
                self._open[name] = await self._start(await self.registered(name))
        return self._open[name]

    async def registered(self, name: str) -> Registered:
        found = [each for each in await self.every() if each.ledger == name]
        if not found:
            raise Problem(
                "no-such-ledger",
                f"there is no ledger {name!r}; GET /v1/ledgers has those there are, PUT /v1/ledgers/{name} makes it",
            )
        return found[0]

    async def every(self) -> list[Registered]:
        """All ledgers of the database, by name."""
        with unavailable():
            rows = await self.reading.fetch(
                "SELECT name, teams, origin, created_at FROM registry.ledgers ORDER BY name"
            )
        return [
            Registered(ledger=row["name"], teams=row["teams"], origin=row["origin"], created_at=row["created_at"])
            for row in rows
        ]

    async def make(self, name: str, teams: Sequence[str] | None, origin: str | None) -> bool:
        """Make a ledger, as the database's owner. False if it is there already; then nothing changes."""
        try:
            owner = self._settings.url("owner")
        except SettingsError:
            raise Problem("forbidden", f"this service makes no ledgers; run `ledger migrate --ledger {name}`") from None
        connection = await connect(owner)
        try:
            with unavailable():
                chosen = {} if teams is None else {"teams": teams}
                return await make_ledger(connection, self._settings, name, origin=origin, **chosen)
        except OriginTaken as error:
            raise Problem("origin-taken", str(error)) from None
        finally:
            await connection.close()

    async def _start(self, registered: Registered) -> Ledger:
        with unavailable():
            known = await self.reading.fetchval(
                "SELECT EXISTS (SELECT FROM registry.master_keys WHERE name = $1)", self.master.newest.name
            )
        if not known:
            name = self.master.newest.name
            self.master.look_again()
            raise Unavailable(f"the master key {name} is not one of this database; run `ledger migrate`")
        log, tree = EventLog(self.reading, registered.ledger), Tree(registered.ledger)
        outside = self._outside(registered.ledger)
        history = History(partial(look, self._recording, tree, registered.origin, self.signing, outside))
        sequencer = Sequencer(
            EventLog(self._recording, registered.ledger),
            teams=frozenset(same_team(team) for team in registered.teams),
            master=self.master,
            queue=self.queue,
            history=history,
        )
        await self._running.enter_async_context(sequencer)
        self._notifying.append(asyncio.create_task(notify(sequencer, self._recording, registered.ledger)))
        self.refusals.keep(registered.ledger)
        tail = await self._running.enter_async_context(Tail(log, sequencer))
        return Ledger(registered=registered, log=log, sequencer=sequencer, tail=tail, tree=tree, history=history)
