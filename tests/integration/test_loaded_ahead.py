"""What is read into memory before anybody asks: after a start, and again when a read model was built anew."""

import asyncio
import threading
import weakref
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from services.migrate import make_ledger
from services.postgres import Unavailable, connect
from services.projector import ahead
from services.projector import projector as projectors
from services.projector.ahead import keep_ahead, load_again, load_ahead
from services.projector.answers import decisions, looked_at, requirements
from services.projector.answers import held as holding
from services.projector.answers.held import Held, Known
from services.projector.answers.snapshot import Snapshot, Wanted
from services.projector.counting.judging import Lens
from services.projector.projector import Projector
from tests.conftest import Database
from tests.holding import (
    LENSES,
    OCTETS_OF_A_PAGE_MIN,
    SECONDS_MAX,
    all_held,
    build_anew,
    heard,
    loaded,
    look,
    never,
    opener,
)
from tests.log import Log, event
from tests.readmodels import BY, mixed, reached


async def test_what_is_loaded_ahead_is_there_for_who_asks_first(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PAGE_POSITIONS", 30)
    monkeypatch.setattr(ahead, "PAUSE_SECONDS", 0.01)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(100))
        held = await loaded(projector)
        open = await opener(projector, 100)
        seen = await look(open, 100)
        known = await held.known("main", never, *seen)
        assert heard(known) == heard(await Held().known("main", open, *seen))
        for lens in LENSES:
            assert [at for at, _ in known.remembered._standings[lens]] == [100]


async def test_the_list_of_decisions_is_laid_ahead(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(decisions, "LAID_AT_ONCE", 2)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(200))
        held = await loaded(projector)
        open = await opener(projector, 200)
        seen = await look(open, 200)
        async with open(Wanted(as_of=200)) as snapshot:
            read = await decisions.read_decisions(snapshot)
        assert read.made

        def listed(known: Known) -> list[Any]:
            return decisions.show_rows(decisions.list_decisions(read, known))

        wanted = listed(await Held().known("main", open, *seen))
        for name in ("who_asked", "at_stake"):
            monkeypatch.setattr(looked_at, name, never)
        known = await held.known("main", open, *seen)
        kept = known.remembered.looked_at
        assert [[each.position for each in moments] for moments in (kept._reviews, kept._fated)] == [[200], [200]]
        assert listed(known) == wanted


async def test_the_first_list_of_requirements_looks_up_no_decision(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "PAUSE_SECONDS", 0.01)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(200))
        held = await loaded(projector)
        open = await opener(projector, 200)
        seen = await look(open, 200)

        def listed(known: Known, lens: Lens) -> list[Any]:
            return requirements.show_rows(requirements.list_requirements(known, lens)[:])

        wanted = [listed(await Held().known("main", open, *seen), lens) for lens in LENSES]
        assert any(each.departs for each in wanted[0])
        for name in ("who_asked", "at_stake"):
            monkeypatch.setattr(looked_at, name, never)
        assert [listed(await held.known("main", never, *seen), lens) for lens in LENSES] == wanted


async def test_who_asks_while_it_is_loaded_ahead_does_not_wait_for_the_pauses(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PAGE_POSITIONS", 30)
    monkeypatch.setattr(ahead, "PAUSE_SECONDS", 10_000)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(100))
        open = await opener(projector, 100)
        held = Held()
        loading = asyncio.create_task(load_ahead(projector, held))
        async with asyncio.timeout(SECONDS_MAX):
            while held.octets < OCTETS_OF_A_PAGE_MIN:
                await asyncio.sleep(0.01)
            known = await held.known("main", open, *await look(open, 100))
        assert known.counted.position == 100
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading


async def test_nothing_makes_room_for_what_nobody_asked_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, known = await all_held(log, projector, 100, "asked for")
        monkeypatch.setattr(holding, "HELD_OCTETS_MAX", 1)
        assert await held.load_ahead("main", open, 0) == "no room"
        assert (await held.known("asked for", open, *await look(open, 100))).counted is known.counted
        assert held.octets < 2 * known.counted.octets + known.headings.octets + known.remembered.octets


async def test_a_failure_to_load_ahead_is_left_to_who_asks_first(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(100))
        open = await opener(projector, 100)
        held = Held()
        owner = await connect(database.projector)
        await owner.execute("ALTER TABLE ledger_main.account_facts RENAME TO elsewhere")
        async with asyncio.timeout(SECONDS_MAX):
            await load_ahead(projector, held)
        await owner.execute("ALTER TABLE ledger_main.elsewhere RENAME TO account_facts")
        await owner.close()
        await projector.ready()
        assert (await held.known("main", open, *await look(open, 100))).counted.position == 100


async def test_a_mistake_in_one_ledger_keeps_no_other_from_being_loaded(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, is_outdated = Held.load_ahead, Held.is_outdated

    async def loads(self: Held, ledger: str, *more: Any) -> Any:
        if ledger == "second":
            raise LookupError("a mistake of ours")
        return await load(self, ledger, *more)

    async def looks(self: Held, ledger: str, *more: Any) -> bool:
        if ledger == "second":
            raise LookupError("a mistake of ours")
        return await is_outdated(self, ledger, *more)

    owner = await connect(database.owner)
    await make_ledger(owner, database.settings, "second")
    await owner.close()
    monkeypatch.setattr(Held, "load_ahead", loads)
    async with (
        Log.open(database) as log,
        Log.open(database, "second") as other,
        Projector(database.settings) as projector,
    ):
        await log.append(*mixed(40))
        await other.append(*mixed(40))  # Written last, and so loaded first.
        open, _ = await opener(projector, 40), await opener(projector, 40, "second")
        held = await loaded(projector)
        assert held.ledgers == ["main"]
        held._ledgers["second"] = holding._Ledger()
        held._ledgers.move_to_end("second", last=False)
        monkeypatch.setattr(Held, "is_outdated", looks)
        await build_anew(database, "accounts")
        async with asyncio.timeout(SECONDS_MAX):
            await load_again(projector, held)
        assert not await held.is_outdated("main", open)


async def test_a_ledger_that_does_not_catch_up_is_loaded_as_far_as_it_has_got(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projectors, "CAUGHT_UP_SECONDS_MAX", 0.1)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(40))
        open, runner = await opener(projector, 40), await projector.ledger("main")
        owner = await connect(database.projector)
        async with asyncio.timeout(SECONDS_MAX), owner.transaction():
            # It can be read how far all has got, and nobody can move it.
            await owner.execute("LOCK TABLE ledger_main.cursors IN SHARE MODE")
            await log.append(*mixed(10))
            while runner.head < 50:
                runner.wake()
                await asyncio.sleep(0.01)
            held = await loaded(projector)
            assert held.ends_at("main") == 40
        await owner.close()
        await reached(runner, 50)
        assert (await held.known("main", open, *await look(open, 50))).counted.position == 50


async def test_who_asks_is_answered_while_what_was_built_anew_is_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(ahead, "PAUSE_SECONDS", 0.01)
    grow, may_grow = holding._Ledger._add, asyncio.Event()
    may_grow.set()

    async def add(ledger: Any, page: Any) -> None:
        if ledger is not held._ledgers["main"]:
            await may_grow.wait()
        await grow(ledger, page)

    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(80))
        open, held = await opener(projector, 80), Held()
        monkeypatch.setattr(holding._Ledger, "_add", add)
        async with asyncio.timeout(SECONDS_MAX):
            await load_ahead(projector, held)
            keeping = asyncio.create_task(keep_ahead(projector, held))
            before = await held.known("main", never, *(seen := await look(open, 80)))
            may_grow.clear()
            await build_anew(database, "requirements")
            after = await look(open, 80)
            assert held.versions("main", after[2]) == seen[2] != after[2]
            while not held._anew:
                await asyncio.sleep(0.01)
            assert (await held.known("main", open, *after)).counted is before.counted
            # The log goes on meanwhile.
            await log.append(*mixed(40))
            await reached(await projector.ledger("main"), 120)
            late = await look(open, 120)
            beyond = await held.known("main", open, *late)
            assert beyond.remembered is before.remembered
            may_grow.set()
            while held.versions("main", late[2]) != late[2]:
                await asyncio.sleep(0.01)
            anew = await held.known("main", open, *late)
            assert anew.remembered is not before.remembered and anew.counted is not beyond.counted
            assert heard(anew) == heard(beyond) == heard(await Held().known("main", open, *late))
            assert not held._anew and held.octets == held._ledgers["main"].octets
        keeping.cancel()
        # Not even what a collector leaves alone since the start is kept.
        gone = [weakref.ref(each) for each in (before.remembered, before.counted.values)]
        del before, beyond
        assert [each() for each in gone] == [None] * len(gone)


async def test_what_was_built_anew_is_read_by_who_asks_where_there_is_no_room_for_both(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, before = await all_held(log, projector, 80)
        await build_anew(database, "accounts")
        monkeypatch.setattr(holding, "HELD_OCTETS_MAX", 1)
        monkeypatch.setattr(holding, "PAGE_POSITIONS", 30)
        assert await held.load_ahead("main", open, 0) == "no room"
        assert 0 < held.octets < before.counted.octets
        anew = await held.known("main", open, *await look(open, 80))
        assert anew.remembered is not before.remembered and heard(anew) == heard(before)


async def test_what_ends_the_reading_of_what_was_built_anew_leaves_the_rest_to_who_asks(database: Database) -> None:
    async def mistaken(snapshot: Snapshot, known: Known) -> Any:
        raise LookupError("a mistake of ours")

    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, _ = await all_held(log, projector, 80)
        await build_anew(database, "accounts")
        assert await held.is_outdated("main", open)
        with pytest.raises(LookupError):
            await held.load_ahead("main", open, 0, mistaken)
        assert not await held.is_outdated("main", open)


async def test_what_is_held_stays_while_what_was_built_anew_cannot_be_read(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PAGE_POSITIONS", 30)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, before = await all_held(log, projector, 80)
        await build_anew(database, "accounts")
        # Where it is to be read is looked up first, then there is a snapshot for each of three pages.
        for opened_max in (1, 2, 3):
            left = iter(range(opened_max))

            def until_it_is_away(wanted: Wanted, left: Iterator[int] = left) -> Any:
                if next(left, None) is None:
                    raise Unavailable("the database is away")
                return open(wanted)

            with pytest.raises(Unavailable):
                await held.load_ahead("main", until_it_is_away, 0)
            assert await held.is_outdated("main", open) and not held._anew
            assert (await held.known("main", open, *await look(open, 80))).counted is before.counted
        assert await held.load_ahead("main", open, 0) == "loaded"
        assert await held.load_ahead("main", open, 0) == "nothing to load"
        assert not await held.is_outdated("main", open)


async def test_what_was_built_anew_does_not_wait_for_what_is_loaded_for_the_first_time(database: Database) -> None:
    begun, may_end = threading.Event(), threading.Event()
    steps: list[int] = []

    def step() -> None:
        begun.set()
        may_end.wait(SECONDS_MAX)
        steps.append(1)

    async def lay(snapshot: Snapshot, known: Known) -> Any:
        return [step] * 2

    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, _ = await all_held(log, projector, 80, "another")
        async with asyncio.timeout(SECONDS_MAX):
            loading = asyncio.create_task(held.load_ahead("main", open, 0, lay))
            assert await asyncio.to_thread(begun.wait, SECONDS_MAX)
            await build_anew(database, "accounts")
            assert [await held.is_outdated(name, open) for name in held.ledgers] == [True, True]
            assert await held.load_ahead("another", open, 0) == "loaded"
            # The same ledger, too: what was begun is then given up, and not laid to the end.
            assert await held.load_ahead("main", open, 0) == "loaded"
            assert [await held.is_outdated(name, open) for name in held.ledgers] == [False, False]
            may_end.set()
            assert await loading == "nothing to load" and steps == [1]
        assert (await held.known("main", never, *await look(open, 80))).counted.position == 80


async def test_what_is_loaded_for_the_first_time_gives_way_to_what_is_read_again(database: Database) -> None:
    """What is read again is held twice for so long: another that is loaded meanwhile would have less room."""
    begun, may_end = threading.Event(), threading.Event()
    steps: list[str] = []

    def wait() -> None:
        begun.set()
        may_end.wait(SECONDS_MAX)
        steps.append("another")

    async def lay_another(snapshot: Snapshot, known: Known) -> Any:
        return [wait]

    async def lay(snapshot: Snapshot, known: Known) -> Any:
        return [lambda: steps.append("main")]

    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, _ = await all_held(log, projector, 80, "another")
        await build_anew(database, "accounts")
        async with asyncio.timeout(SECONDS_MAX):
            again = asyncio.create_task(held.load_ahead("another", open, 0, lay_another))
            assert await asyncio.to_thread(begun.wait, SECONDS_MAX)
            first = asyncio.create_task(held.load_ahead("main", open, 0, lay))
            # Alone it takes a tenth of that.
            await asyncio.wait([first], timeout=1)
            may_end.set()
            assert [await again, await first] == ["loaded", "loaded"]
        assert steps == ["another", "main"]


async def test_who_asks_goes_on_over_several_pages_where_something_was_built_anew(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PAGE_POSITIONS", 30)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, before = await all_held(log, projector, 80)
        await build_anew(database, "accounts")
        await log.append(*mixed(100))
        await reached(await projector.ledger("main"), 180)
        after = await held.known("main", open, *await look(open, 180))
        assert after.remembered is before.remembered
        assert heard(after) == heard(await Held().known("main", open, *await look(open, 180)))


async def test_nothing_goes_on_from_what_is_held_where_names_were_other_ones(database: Database) -> None:
    """Names are read as a whole each time: from others of the past, other accounts would be taken away than came."""
    merge = event("account.merged", account="acme", into="acme-group", by=BY, reason="One company.")
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(80), event("ask.recorded", requirement="R-1", account="acme"), merge)
        open, held = await opener(projector, 82), Held()
        await build_anew(database, "accounts")
        connection = await connect(database.projector)
        await connection.execute("DELETE FROM ledger_main.account_merges")
        await connection.close()
        before = await held.known("main", open, *await look(open, 82))
        await build_anew(database, "accounts")
        after = await held.known("main", open, *await look(open, 82))
        assert after.remembered is not before.remembered
        assert after.counted.lineage != before.counted.lineage


async def test_another_log_is_not_answered_for_while_what_was_built_anew_is_read(database: Database) -> None:
    """As after a restore: what is held ends at a position that was recorded at another time."""
    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, before = await all_held(log, projector, 80)
        assert not await held.is_outdated("main", open)
        held._ledgers["main"]._recorded_at = datetime.now(UTC)
        assert await held.is_outdated("main", open)
        await build_anew(database, "accounts")
        assert (await held.known("main", open, *await look(open, 60))).remembered is not before.remembered
