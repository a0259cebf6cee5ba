"""Where answers are read from: snapshots, whole lists that are remembered, and turns for what costs much."""

import asyncio
import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
from aiohttp import web

from services.access_log import Opened, put_on_record
from services.postgres import Unavailable
from services.problems import Problem
from services.projector.answers import held
from services.projector.answers.held import Held, Known, Remembered
from services.projector.answers.sealed import Opener
from services.projector.answers.snapshot import Basis, Snapshot, Wanted, open_snapshot, still_hold
from services.projector.projector import NoSuchLedger, Projector
from services.projector.requests.kept import KeptAnswer, KeptAnswers, question
from services.projector.runner import Runner
from services.projector.shapes.shown import AsOf
from services.sealing import MasterKeyError, MasterKeys
from services.tree import Kept, Tree
from services.web import RETRY_AFTER_SECONDS, Call, Handler, has_already

WHOLE_LISTS_MAX = 32
WHOLE_LISTS_ROWS_MAX = 50_000
LISTS_AT_ONCE_MAX = 3  # The heaviest answers leave connections, time and memory to the others.

CHECKPOINT_POLL_SECONDS = 0.1  # A ledger signs one a second at most.

ASIDE_NICENESS = 10  # Lower, it would hold up the others of this process, for which it keeps the interpreter.

OPENER = web.RequestKey("opener", Opener)
BASES = web.RequestKey("bases", list[Basis])
BESIDES = web.RequestKey("besides", bool)
"""Set where an answer rests on more than its bases: it cannot be told whether it would be read from the same."""
_Evidence = TypeVar("_Evidence")
_Computed = TypeVar("_Computed")
_Told = TypeVar("_Told")


class ListAt(NamedTuple):
    """Where a list is answered. `key`: the ledger, the versions of what is read, the position and when that was
    recorded. `reached`: how far all that is read has got. `beside`: where what is held in memory ended, and when that
    position was recorded."""

    key: tuple[Any, ...]
    as_of: AsOf
    now: datetime | None
    versions: tuple[str, ...]
    reached: int
    beside: tuple[int, datetime | None]


class Whole(NamedTuple):
    """All rows of a list in their order, and what finds the currencies that occur in them, for the columns of CSV;
    `counted`: of how many others the rows are about; `within`: how many rows there are inside of these; `remembered`:
    what the rows keep in memory of what they were counted from."""

    rows: Sequence[Any]
    currencies: Callable[[], Sequence[str]] = tuple
    counted: int = 0
    within: int = 0
    remembered: Remembered | None = None

    @property
    def size(self) -> int:
        return len(self.rows) + self.within


class Readings:
    """What the requests of one process read. `master_key`: the file of the key that opens sealed texts. `held`: what
    is counted, as it is held in memory."""

    def __init__(self, projector: Projector, master_key: Path | None, held: Held | None = None) -> None:
        self.whole_lists = WholeLists()
        self.kept = KeptAnswers()
        self.projector = projector
        self._held = Held() if held is None else held
        self._held.when_changed = partial(self.whole_lists.keep_of, self._held)
        self._master_key = master_key
        self._loaded: MasterKeys | None = None
        self._turns = asyncio.Semaphore(LISTS_AT_ONCE_MAX)
        self._one_aside = asyncio.Semaphore(1)
        self._thread_aside = ThreadPoolExecutor(1, thread_name_prefix="aside", initializer=_give_way)

    @asynccontextmanager
    async def snapshot(
        self, call: Call, reads: Sequence[str], wanted: Wanted, is_read: bool = True
    ) -> AsyncIterator[Snapshot]:
        """A snapshot of the ledger that is asked; `is_read`: not only where it is. Raises Problem and Unavailable."""
        runner = await self.runner(call)
        async with open_snapshot(self.projector.pool, runner, reads, wanted, is_read) as snapshot:
            call.request.setdefault(BASES, []).append(snapshot.basis(reads, wanted))
            yield snapshot

    @asynccontextmanager
    async def about_one(self, call: Call, reads: Sequence[str], wanted: Wanted) -> AsyncIterator[Snapshot]:
        """A snapshot for what is about one subject, with what is held of the ledger if that is at hand: nobody waits
        until it is loaded. Raises Problem and Unavailable."""
        position = wanted.as_of
        # Who does without one of these read models need not be held up by it.
        if {*held.READS} <= {*reads} and (
            not isinstance(position, int) or self._held.is_close_behind(call.ledger, position)
        ):
            settled = await self._settle(call, reads, wanted)
            at = settled.as_of.position
            wanted = Wanted(as_of=at, timeout_seconds=wanted.timeout_seconds)
            is_read_from = self._held.is_read_from(call.ledger, settled.versions, settled.beside)
            if is_read_from and self._held.is_close_behind(call.ledger, at):
                await self._known(call, await self._settle(call, held.READS, wanted))
        async with self.snapshot(call, reads, wanted) as snapshot:
            snapshot.held = await self._held.at_hand(snapshot)
            yield snapshot

    @asynccontextmanager
    async def in_turn(self, call: Call, reads: Sequence[str], wanted: Wanted) -> AsyncIterator[Snapshot]:
        """A snapshot for what costs much. Who waits for a position holds no turn, and who waits for a turn holds no
        transaction."""
        settled = await self._settle(call, reads, wanted)
        async with self._turn(call), self.snapshot(call, reads, Wanted(as_of=settled.as_of.position)) as snapshot:
            yield snapshot

    async def whole(
        self,
        call: Call,
        name: tuple[Hashable, ...],
        reads: Sequence[str],
        wanted: Wanted,
        read: Callable[[Snapshot], Awaitable[_Evidence]],
        judge: Callable[[_Evidence], Whole],
    ) -> tuple[ListAt, Whole]:
        """A whole list at the position that is wanted, remembered or made now.

        The position is settled first. Whoever waits for a list that somebody else makes, or for a turn, holds no
        transaction meanwhile, and nothing is judged in one.
        """
        settled = await self._settle(call, reads, wanted)

        async def make() -> Whole:
            async with self._turn(call):
                async with self.snapshot(call, reads, Wanted(as_of=settled.as_of.position)) as snapshot:
                    evidence = await read(snapshot)
                return await asyncio.to_thread(judge, evidence)

        return settled, await self.whole_lists.whole((settled.key, *name), make)

    async def whole_of_known(
        self, call: Call, name: tuple[Hashable, ...], wanted: Wanted, judge: Callable[[Known | None], Whole]
    ) -> tuple[ListAt, Whole]:
        """A whole list made from what is held in memory; of the empty ledger nothing is. Otherwise like `whole`."""
        settled = await self._settle_counted(call, wanted)

        async def make() -> Whole:
            async with self._turn(call):
                return await asyncio.to_thread(judge, await self._known(call, settled))

        return settled, await self.whole_lists.whole((settled.key, *name), make)

    async def told_of_known(
        self,
        call: Call,
        name: tuple[Hashable, ...],
        wanted: Wanted,
        judge: Callable[[Known | None], Whole],
        tell: Callable[[ListAt, Whole], _Told],
    ) -> tuple[ListAt, _Told]:
        """What is told of a whole list made from what is held in memory. Otherwise like `whole`."""

        async def read(settled: ListAt) -> Callable[[Known | None], Whole]:
            return judge

        return await self._told(call, name, wanted, read, tell)

    async def told_beside_known(
        self,
        call: Call,
        name: tuple[Hashable, ...],
        wanted: Wanted,
        read: Callable[[Snapshot], Awaitable[_Evidence]],
        judge: Callable[[_Evidence, Known | None], Whole],
        tell: Callable[[ListAt, Whole], _Told],
    ) -> tuple[ListAt, _Told]:
        """The same of a list made from what is held in memory and from what is read beside it."""

        async def beside(settled: ListAt) -> Callable[[Known | None], Whole]:
            async with self.snapshot(call, held.READS, Wanted(as_of=settled.as_of.position)) as snapshot:
                return partial(judge, await read(snapshot))

        return await self._told(call, name, wanted, beside, tell)

    @asynccontextmanager
    async def aside(
        self, call: Call, reads: Sequence[str], wanted: Wanted
    ) -> AsyncIterator[tuple[ListAt, Known | None]]:
        """What is held in memory, for what is computed from it for long: one after the other, beside the turns of
        others. `reads`: all that is read for it."""
        position = (await self._settle(call, reads, wanted)).as_of.position
        settled = await self._settle_counted(call, Wanted(as_of=position))
        async with self._one_aside:
            _still_there(call)
            yield settled, await self._known(call, settled)

    async def compute_aside(self, compute: Callable[[], _Computed]) -> _Computed:
        """In a thread of low priority: whoever records goes first."""
        return await asyncio.get_running_loop().run_in_executor(self._thread_aside, compute)

    async def checkpoint(self, call: Call, position: int, deadline: float) -> Kept:
        """The first checkpoint of the ledger that is asked which has a position, waited for until the deadline of the
        event loop's clock. Raises Problem and Unavailable."""
        call.request[BESIDES] = True
        tree, clock = Tree(call.ledger), asyncio.get_running_loop()
        while (kept := await tree.first_checkpoint(self.projector.pool, position)) is None:
            if clock.time() >= deadline:
                raise Problem(
                    "not-there-yet",
                    f"no checkpoint that has position {position} has been signed yet; a ledger service signs them",
                    headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
                )
            await asyncio.sleep(CHECKPOINT_POLL_SECONDS)
        return kept

    async def runner(self, call: Call) -> Runner:
        """What keeps the read models of the ledger that is asked. Raises Problem."""
        try:
            return await self.projector.ledger(call.ledger)
        except NoSuchLedger:
            raise Problem(
                "no-such-ledger",
                f"there is no ledger {call.ledger!r}; the ledger lists them at /v1/ledgers and makes one by PUT",
            ) from None

    def opener(self, call: Call) -> Opener | None:
        """What opens sealed texts, for somebody who may see them; one for each call."""
        if not call.principal.may("personal"):
            return None
        if OPENER not in call.request:
            call.request[OPENER] = Opener(self._master)
        return call.request[OPENER]

    def on_record(self, handler: Handler) -> Handler:
        """The same, but what it answers leaves once it is on record which sealed texts that shows."""

        async def recorded(call: Call) -> web.StreamResponse:
            answer = await handler(call)
            opener = call.request.get(OPENER)
            # A 304 shows no words: whoever has them was shown them before, and that is on record.
            if opener is not None and answer.status != web.HTTPNotModified.status_code:
                opened = Opened(texts=opener.shown, person=opener.person)
                await put_on_record(self.projector.pool, "projector", call, opened)
            return answer

        return recorded

    def unless_kept(self, handler: Handler) -> Handler:
        """The same, but what is asked again is answered again while it would be read from the same, without reading
        it. Whoever has the answer already is told so."""

        async def answered(call: Call) -> web.StreamResponse:
            request = call.request
            asked = question(
                request.raw_path, request.headers.get("Accept", ""), personal=call.principal.may("personal")
            )
            kept = self.kept.get(asked)
            if kept is None or not await still_hold(self.projector.pool, await self.runner(call), kept.bases):
                answer = await handler(call)
                if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes) or answer.status != 200:
                    return answer
                kept = KeptAnswer(answer.body, dict(answer.headers), request.get(BASES, []))
                if kept.bases and OPENER not in request and BESIDES not in request:
                    self.kept.keep(asked, kept)
            if has_already(request, kept.headers["ETag"]):
                headers = {name: text for name, text in kept.headers.items() if name != "Content-Type"}
                return web.Response(status=304, headers=headers)
            return web.Response(body=kept.body, headers=kept.headers)

        return answered

    async def _told(
        self,
        call: Call,
        name: tuple[Hashable, ...],
        wanted: Wanted,
        read: Callable[[ListAt], Awaitable[Callable[[Known | None], Whole]]],
        tell: Callable[[ListAt, Whole], _Told],
    ) -> tuple[ListAt, _Told]:
        settled = await self._settle_counted(call, wanted)
        told: list[_Told] = []

        async def make() -> Whole:
            async with self._turn(call):
                judge, known = await read(settled), await self._known(call, settled)

                # Whoever makes a list tells of it at once: each change to another thread costs as much as a few rows.
                def made() -> Whole:
                    whole = judge(known)
                    told.append(tell(settled, whole))
                    return whole

                return await asyncio.to_thread(made)

        whole = await self.whole_lists.whole((settled.key, *name), make)
        return settled, told[0] if told else await asyncio.to_thread(tell, settled, whole)

    @asynccontextmanager
    async def _turn(self, call: Call) -> AsyncIterator[None]:
        """A turn for what costs much. Raises Unavailable if the client went away before it: nothing is computed for
        nobody."""
        async with self._turns:
            _still_there(call)
            yield

    async def _settle(self, call: Call, reads: Sequence[str], wanted: Wanted) -> ListAt:
        wanted = msgspec.structs.replace(wanted, beside=self._held.ends_at(call.ledger))
        async with self.snapshot(call, reads, wanted, is_read=False) as snapshot:
            key = (snapshot.ledger, snapshot.versions, snapshot.position, snapshot.now)
            return ListAt(key, snapshot.as_of, snapshot.now, snapshot.versions, snapshot.reached, snapshot.beside)

    async def _settle_counted(self, call: Call, wanted: Wanted) -> ListAt:
        """The same for a list that is counted from what is held. Where that was read before something was built anew,
        the list is remembered under those versions, and under the newer ones, of which is what is read beside it; and
        no answer is kept."""
        settled = await self._settle(call, held.READS, wanted)
        ledger, versions, *at = settled.key
        counted_from = self._held.versions(ledger, versions)
        if counted_from != versions:
            call.request[BESIDES] = True
        return settled._replace(key=(ledger, counted_from, *at, versions))

    async def _known(self, call: Call, settled: ListAt) -> Known | None:
        if settled.now is None:
            return None
        open = partial(self.snapshot, call, held.READS)
        position, now = settled.as_of.position, settled.now
        seen = settled.versions, settled.reached, settled.beside
        return await self._held.known(call.ledger, open, position, now, *seen)

    def _master(self) -> MasterKeys:
        if self._loaded is None:
            if self._master_key is None:
                raise MasterKeyError("this service was given no master key")
            self._loaded = MasterKeys(self._master_key)
        return self._loaded


def _still_there(call: Call) -> None:
    if call.request.transport is None:
        raise Unavailable("the client went away before its turn")


def _give_way() -> None:
    """Let all others have the processors first; where threads have no priority of their own, they share."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), ASIDE_NICENESS)


class WholeLists:
    """Whole lists, by ledger, the versions of what they were made from, and position: what is the same for each page
    and each filter."""

    def __init__(self) -> None:
        self._lists: OrderedDict[tuple[Any, ...], Whole] = OrderedDict()
        self._making: dict[tuple[Any, ...], asyncio.Event] = {}

    async def whole(self, key: tuple[Any, ...], make: Callable[[], Awaitable[Whole]]) -> Whole:
        """A list, made once however many ask for it at the same time; where that fails, by the next of them."""
        while key not in self._lists:
            if key in self._making:
                await self._making[key].wait()
                continue
            is_over = self._making[key] = asyncio.Event()
            try:
                self._lists[key] = await make()
                self._forget(key)
            finally:
                del self._making[key]
                is_over.set()
        self._lists.move_to_end(key)
        return self._lists[key]

    def keep_of(self, held: Held) -> None:
        """Drop the lists that keep in memory what is not held any more."""
        for key, whole in [*self._lists.items()]:
            if whole.remembered is not None and not held.has(whole.remembered):
                del self._lists[key]

    def _forget(self, newest: tuple[Any, ...]) -> None:
        """Drop the lists of what has been built anew, which keep all that they were counted from, and those that were
        asked for longest ago; the newest stays."""
        for key in [key for key in self._lists if _is_outdated(key, newest)]:
            del self._lists[key]
        while len(self._lists) > 1 and (
            len(self._lists) > WHOLE_LISTS_MAX or sum(each.size for each in self._lists.values()) > WHOLE_LISTS_ROWS_MAX
        ):
            self._lists.popitem(last=False)


def _is_outdated(key: tuple[Any, ...], newest: tuple[Any, ...]) -> bool:
    """Whether a list was made from other versions than a newer one of the same projections."""
    (ledger, versions), (its_ledger, its_versions) = key[0][:2], newest[0][:2]
    return ledger == its_ledger and versions != its_versions and _projections(versions) == _projections(its_versions)


def _projections(versions: tuple[str, ...]) -> list[str]:
    return [each.partition(" ")[0] for each in versions]
