"""What is held in memory: read once, whoever asks in whatever order."""

import asyncio
import gc
import random
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest

from services.postgres import open_pool
from services.projector.answers import decisions, requirements
from services.projector.answers import held as holding
from services.projector.answers import snapshot as snapshots
from services.projector.answers.held import READS, Held, Known, Open
from services.projector.answers.snapshot import Snapshot, Wanted, bound, open_snapshot
from services.projector.counting.counted import Counted
from services.projector.counting.scoring import NOTHING_KNOWN
from services.projector.counting.standings import stand
from services.projector.projections import ALL
from services.projector.projector import Projector
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.counting import some_revision
from tests.holding import LENSES, OCTETS_OF_A_PAGE_MIN, SECONDS_MAX, all_held, build_anew, heard, look, never, opener
from tests.log import Log, event
from tests.readmodels import BY, mixed, reached, telling


def rows(known: Known) -> list[int]:
    found = known.counted
    return [len(each) for each in (found.asks, found.facts, found.opportunities, found.mentions, found.retractions)]


async def test_who_looked_before_another_read_on_reads_nothing_twice(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(80))
        open = await opener(projector, 80)
        early = await look(open, 80)
        await log.append(*mixed(40))
        await reached(await projector.ledger("main"), 120)
        held = Held()
        late = await look(open, 120)
        known = await held.known("main", open, *late)
        assert known.counted.position == 120
        again = await held.known("main", open, *early)
        assert again.counted is known.counted
        assert rows(await held.known("main", open, *late)) == rows(known)


async def test_what_was_read_in_part_is_gone_on_from_wherever_it_is_asked_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PAGE_POSITIONS", 30)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(100))
        open = await opener(projector, 100)
        whole = await Held().known("main", open, *await look(open, 100))
        held = Held()
        loading = asyncio.create_task(held.load_ahead("main", open, pause_seconds=10_000))
        async with asyncio.timeout(SECONDS_MAX):
            while held.octets < OCTETS_OF_A_PAGE_MIN:
                await asyncio.sleep(0.01)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        early = await held.known("main", open, *await look(open, 20))
        assert heard(early) == heard(await Held().known("main", open, *await look(open, 20)))
        late = await held.known("main", open, *await look(open, 100))
        assert rows(late) == rows(whole)
        assert heard(late) == heard(whole)


async def test_who_looked_where_what_is_held_ends_is_answered_without_another_look(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, known = await all_held(log, projector, 80)
        assert held.ends_at("main") == 80 and not held.ends_at("another")
        assert (await held.known("main", never, *await look(open, 60, beside=80))).counted is known.counted
        # Who looked before another read on looks again, and reads nothing twice.
        early = await look(open, 60, beside=70)
        assert (await held.known("main", open, *early)).counted is known.counted
        with pytest.raises(AssertionError):
            await held.known("main", never, *early)


def notes(number: int) -> dict[str, str]:
    return {f"note {each}": "w" * 1_000 for each in range(number)}


async def test_no_page_has_more_of_what_was_said_of_accounts_than_there_is_room_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 20_000
    async with Log.open(database) as log, Projector(database.settings) as projector:
        # Of every length from next to nothing to more than there is room for at all.
        await log.append(
            *(event("account.profiled", account=f"acc-{n}", attributes=notes(n % 30)) for n in range(90)),
            *mixed(40),
        )
        open = await opener(projector, 130)
        whole = await Held().known("main", open, *await look(open, 130))
        monkeypatch.setattr(holding, "PAGE_FACTS_OCTETS_MAX", room)
        ledger, ends = holding._Ledger(), [0]

        async def note_the_end() -> None:
            ends.append(ledger._counted.position)

        known = await ledger.reach(open, *await look(open, 130), rest=note_the_end)
        async with open(Wanted(as_of=130)) as snapshot:
            told = await snapshot.connection.fetch(
                "SELECT position, octet_length(account) + octet_length(attribute) + octet_length(value) AS octets"
                " FROM ledger_main.account_facts"
            )
        pages = {
            (after, upto): sum(row["octets"] for row in told if after < row["position"] <= upto)
            for after, upto in pairwise(ends)
        }
        assert ends == sorted({*ends}) and ends[-1] == 130
        # One that has no room at all stands alone; otherwise as much is read as there is room for.
        assert {upto - after for (after, upto), octets in pages.items() if octets > room} == {1}
        assert room // 2 < max(octets for octets in pages.values() if octets <= room)
        assert rows(known) == rows(whole)
        assert heard(known) == heard(whole)


def naming(open: Open, asked: list[str]) -> Open:
    """The same snapshots, which tell the names of the statements by which what is held is read."""
    names = {bound(holding._statements[name], "main"): name for name in holding._statements}
    names[bound(snapshots._statements["recorded_at"], "main")] = "recorded_at"

    @asynccontextmanager
    async def opened(wanted: Wanted) -> AsyncIterator[Snapshot]:
        async with open(wanted) as snapshot:
            with snapshot.connection.query_logger(lambda query: asked.append(names.get(query.query, "another"))):
                yield snapshot
                await asyncio.sleep(0)  # What was asked is told in the next turn of the loop.

    return opened


async def test_after_a_few_events_no_more_is_read_than_what_they_say(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(80))
        open = await opener(projector, 80)
        held, asked = Held(), list[str]()
        await held.known("main", naming(open, asked), *await look(open, 80))
        assert {"said", "asks", "facts", "mentions", "raised"} <= {*asked}
        for told, reads in (
            (event("ask.recorded", requirement="R-1", account="acme"), {"asks"}),
            (event("requirement.raised", requirement="R-1", title="Single sign-on"), {"raised"}),
            (event("account.profiled", account="acme", attributes={"size": 3}), {"facts", "mentions"}),
        ):
            await log.append(told)
            head = held._ledgers["main"]._counted.position + 1
            await reached(await projector.ledger("main"), head)
            asked.clear()
            known = await held.known("main", naming(open, asked), *await look(open, head))
            assert known.counted.position == head
            assert {*asked} == {"recorded_at", "said", *reads}
            assert heard(known) == heard(await Held().known("main", open, *await look(open, head)))


async def test_where_a_list_is_answered_takes_one_statement(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(20))
        runner = await projector.ledger("main")
        await reached(runner, 20)
        # A pool of our own: through its own, the projector now and then asks which ledgers there are.
        asked: list[str] = []
        async with await open_pool(database.projector, connections_max=1, prepare=telling(asked)) as pool:
            for wanted in (Wanted(), Wanted(as_of=7), Wanted(as_of=0)):
                async with open_snapshot(pool, runner, READS, wanted) as snapshot:
                    where = snapshot.position, snapshot.now, snapshot.versions, snapshot.reached
                await asyncio.sleep(0)  # What was asked is told in the next turn of the loop.
                asked.clear()
                async with open_snapshot(pool, runner, READS, wanted, False) as found:
                    assert where == (found.position, found.now, found.versions, found.reached)
                    await asyncio.sleep(0)
                    assert len(asked) == 1


async def test_a_standing_is_found_from_the_newest_that_is_held(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, early = await all_held(log, projector, 60)
        await log.append(*(event("ask.recorded", requirement="R-1", account=f"new-{n}") for n in range(9)))
        await reached(await projector.ledger("main"), 69)
        late = await held.known("main", open, *await look(open, 69))
        # Another has heard what came later before this one begins.
        late.standing("now")
        code = early.counted.requirements.code("R-1")
        expected = stand(early.counted, "now", early.position, early.now).heard.classes[code]
        assert early.standing("now").heard.classes[code].tolist() == expected.tolist()


async def test_an_alias_that_is_claimed_again_after_its_retraction_counts_again(database: Database) -> None:
    async with asking(database) as client:
        claim: dict[str, Any] = {"account": "acme", "same_as": [{"system": "crm", "id": "1"}]}
        [position] = await client.record(event("account.identified", **claim))
        await client.record(
            event("ask.recorded", requirement="R-1", account="acme"),
            event("ask.recorded", requirement="R-1", account="crm:1", ask="other"),
        )
        assert await askers(client) == 1
        retraction: dict[str, Any] = {
            "position": position,
            "subject": "account/acme",
            "reason": "Said of another.",
            "by": BY,
        }
        await client.record(event("event.retracted", **retraction))
        assert await askers(client) == 2
        await client.record(event("account.identified", **claim))
        assert await askers(client) == 1


async def askers(client: Asking) -> int:
    """Of how many accounts the list of requirements knows that they ask for the first one."""
    answer = await client.answer("requirements")
    return sum(answer["requirements"][0]["accounts"].values())


async def test_what_was_laid_for_an_answer_is_measured_when_another_is_asked(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(100))
        open = await opener(projector, 100)
        held = Held()
        laid = [await held.known(name, open, *await look(open, 100)) for name in ("one", "two")]
        read = held.octets // 2
        for known in laid:
            for lens in LENSES:
                known.standing(lens)
            known.counted.sort_ahead()
        monkeypatch.setattr(holding, "HELD_OCTETS_MAX", 2 * read)
        other = await held.known("other", open, *await look(open, 100))
        assert (await held.known("other", open, *await look(open, 100))).counted is other.counted
        again = [await held.known(name, open, *await look(open, 100)) for name in ("one", "two")]
        assert [found.counted is known.counted for found, known in zip(again, laid, strict=True)].count(True) == 1


async def test_a_ledger_that_is_larger_than_the_room_stays_beside_small_ones(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, known = await all_held(log, projector, 200, "large")
        for lens in LENSES:
            known.standing(lens)
        small = await held.known("small", open, *await look(open, 20))
        measured = held.octets
        await held.known("large", open, *await look(open, 200))
        small_octets = small.counted.octets + small.headings.octets + small.remembered.octets
        monkeypatch.setattr(holding, "HELD_OCTETS_MAX", small_octets)
        assert small_octets < measured - small_octets, "it is the small one"
        await held.known("small", open, *await look(open, 20))
        assert (await held.known("large", open, *await look(open, 200))).counted is known.counted
        for name in ("small", "another", "small"):
            await held.known(name, open, *await look(open, 20))
        assert (await held.known("large", open, *await look(open, 200))).counted is known.counted
        assert (await held.known("small", open, *await look(open, 20))).counted is not small.counted
        monkeypatch.setattr(holding, "HELD_OCTETS_MAX", small_octets - 1)
        await held.known("small", open, *await look(open, 20))
        assert (await held.known("large", open, *await look(open, 200))).counted is not known.counted


async def test_who_asks_for_what_is_found_once_for_all_what_ifs_at_a_position(database: Database) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(100))
        open, held = await opener(projector, 100), Held()
        known, before = [await held.known("main", open, *await look(open, each)) for each in (100, 60)]
        measured = known.remembered.octets
        found = [
            each.remembered.everybody(each.counted, (), each.position, each.now) for each in (known, known, before)
        ]
        assert found[0] is found[1] and [each.position for each in found] == [100, 100, 60]
        assert len(found[2].pairs) < len(found[0].pairs)
        assert known.remembered.octets == measured + found[2].octets, "the last is kept, and no other"


async def test_at_hand_is_what_was_read_from_what_a_snapshot_shows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "CLOSE_POSITIONS_MAX", 10)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(80))
        open, held = await opener(projector, 80), Held()

        async def at_hand(position: int) -> Counted | None:
            async with open(Wanted(as_of=position)) as snapshot:
                return await held.at_hand(snapshot)

        assert await at_hand(60) is None and not held.is_close_behind("main", 60)
        counted = (await held.known("main", open, *await look(open, 60))).counted
        assert [await at_hand(position) for position in (1, 60, 61)] == [counted, counted, None]
        assert [held.is_close_behind("main", position) for position in (60, 61, 70, 71)] == [False, True, True, False]
        for projection in ALL:
            await build_anew(database, projection.name)
            assert (await at_hand(60) is None) == (projection.name in READS)
            assert await held.load_ahead("main", open, 0) == (
                "loaded" if projection.name in READS else "nothing to load"
            )
            assert await at_hand(60) is not None


async def test_what_is_read_in_part_is_not_at_hand(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "PAGE_POSITIONS", 30)
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(100))
        open, held = await opener(projector, 100), Held()
        loading = asyncio.create_task(held.load_ahead("main", open, pause_seconds=10_000))
        async with asyncio.timeout(SECONDS_MAX):
            while held.octets < OCTETS_OF_A_PAGE_MIN:
                await asyncio.sleep(0.01)
        async with open(Wanted(as_of=20)) as snapshot:
            assert await held.at_hand(snapshot) is None
        assert not held.is_close_behind("main", 40)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading


async def test_what_makes_room_is_freed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, known = await all_held(log, projector, 200, "one")
        async with open(Wanted(as_of=200)) as snapshot:
            shown = decisions.show_rows(decisions.list_decisions(await decisions.read_decisions(snapshot), known))
        assert any(each.at_stake is not None for each in shown)
        values, looked_at = known.counted.values, known.remembered.looked_at
        revision = some_revision(random.Random(1), "r")
        values.scored(revision, (NOTHING_KNOWN,) * len(revision.attributes))
        assert values.octets > 0
        one = [weakref.ref(each) for each in (values, looked_at, known.counted.currencies)]
        monkeypatch.setattr(holding, "HELD_OCTETS_MAX", 1)
        await held.known("other", open, *await look(open, 200))
        del known, values, looked_at
        gc.collect()
        assert [each() for each in one] == [None] * len(one)


async def test_no_list_keeps_what_is_not_held_any_more(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held()
    async with asking(database, held=held) as client:
        await client.record(*mixed(80))
        open = await opener(client.projector, 80)

        async def listed() -> weakref.ref[holding.Remembered]:
            for path in ("requirements", "decisions"):
                await client.answer(path)
            return weakref.ref(held._ledgers["main"]._remembered)

        remembered = await listed()
        gc.collect()
        assert remembered() is not None
        await build_anew(database, "requirements")
        await held.load_ahead("main", open, 0)
        gc.collect()
        assert remembered() is None, "it was read again"
        remembered = await listed()
        monkeypatch.setattr(holding, "HELD_OCTETS_MAX", 1)
        await held.known("other", open, *await look(open, 80))
        gc.collect()
        assert remembered() is None, "it has made room"


async def test_standings_take_no_more_room_than_they_may(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        open, held, known = await all_held(log, projector, 60)
        one = known.standing("now").heard.octets
        monkeypatch.setattr(holding, "STANDINGS_OCTETS_MAX", 3 * one)
        for position in (10, 20, 30, 40, 50, 59):
            await asyncio.to_thread((await held.known("main", open, *await look(open, position))).standing, "now")
            assert known.remembered.octets <= 3 * one
        assert [at for at, _ in known.remembered._standings["now"]][-1] == 60
        monkeypatch.setattr(holding, "STANDINGS_OCTETS_MAX", 1)
        (await held.known("main", open, *await look(open, 25))).standing("now")
        assert [at for at, _ in known.remembered._standings["now"]] == [25]


async def test_of_a_list_no_more_is_made_than_its_page_shows(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    class Counted(requirements.Listed, frozen=True):
        def __post_init__(self) -> None:
            made.append(self.heading.requirement)

    async with asking(database) as client:
        await client.record(
            *(event("ask.recorded", requirement=f"R-{number:02}", account=f"a-{number}") for number in range(40))
        )
        await client.answer("requirements", limit=1)
        monkeypatch.setattr(requirements, "Listed", Counted)
        for sort in ({}, {"sort": "recent"}, {"sort": "revenue", "currency": "EUR"}):
            found = await client.answer("requirements", limit=3, **sort)
            assert (found["total"], made) == (40, [each["requirement"] for each in found["requirements"]])
            made.clear()
