"""An outbox on bad days: no ledger, lost answers, refusals, a crash at any moment, a full disk, a file cut off."""

import asyncio
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from click.testing import CliRunner

from ledger_client import (
    AgreementAdopted,
    AgreementEndorsed,
    AgreementRevised,
    AskRecorded,
    Bullet,
    By,
    Draft,
    FeedbackReceived,
    Ledger,
    Outbox,
    OutboxConflict,
    OutboxDamaged,
    OutboxError,
    OutboxFull,
    OutboxNotSent,
    OutboxUnwritable,
    Refused,
    Retries,
)
from ledger_client import outbox as outbox_module
from ledger_client import outbox_file as outbox_file_module
from ledger_client.command import main as command
from ledger_client.outbox_file import VERSION, OutboxFile
from ledger_client.salvage import salvage
from tests.conftest import Database, free_ports
from tests.cutting_proxy import CuttingProxy, Moment
from tests.emitter import PUT_AT_ONCE_MAX, noted
from tests.faults.test_commit import behind_a_proxy, runs
from tests.ledger_process import processes
from tests.ledger_service import LedgerService, holds, serving

SOON = Retries(deadline_seconds=1.0, first_seconds=0.01, pause_seconds_max=0.05)
PRODUCT = By(role="VP", team="product")
SECONDS_MAX = 60.0
CUT_EVERY_BYTES = 512
EVENTS_CUT = 120
KILLS = 8


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox_module, "AWAY", Retries(first_seconds=0.02, pause_seconds_max=0.1))
    monkeypatch.setattr(outbox_module, "LOOK_SECONDS", 0.05)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "crm.outbox"


def reached(url: str, key: str | Path = "key", **how: Any) -> Ledger:
    return Ledger(url, key, source="/crm", retries=SOON, **how)


def ask(number: int, **data: Any) -> Draft:
    """A numbered event; the key is its number."""
    return Draft(AskRecorded(requirement=f"R-{number % 5}", account=f"a-{number}", **data), key=("n", number))


@asynccontextmanager
async def nowhere(path: Path, **how: Any) -> AsyncIterator[Outbox]:
    """An outbox whose ledger is away."""
    async with (
        reached(f"http://127.0.0.1:{free_ports(1)[0]}") as ledger,
        Outbox(path, ledger, **({"sending": False} | how)) as outbox,
    ):
        yield outbox


async def log(ledger: LedgerService) -> list[str]:
    """The ids of what is recorded, in order."""
    return [each["id"] for each in (await ledger.get("/v1/ledgers/main/events?limit=1000")).json["events"]]


def ids(numbers: Sequence[int] | range) -> list[str]:
    return [f"n:{number}" for number in numbers]


# Days without the ledger, and answers that get lost


async def test_what_was_put_without_a_ledger_is_sent_when_there_is_one(ledger: LedgerService, path: Path) -> None:
    async with nowhere(path, sending=True) as outbox:
        for number in range(30):
            await outbox.put_all([ask(number)])

        async def trouble() -> bool:
            return "no answer" in ((await outbox.status()).trouble or "")

        await holds(trouble)
        assert (await outbox.status()).counts.waiting == 30
    async with reached(ledger.url, ledger.admin) as client, Outbox(path, client) as outbox:
        await outbox.put_all([ask(30)])
        status = await outbox.flush(SECONDS_MAX)
    assert (status.sent, status.duplicates, status.trouble) == (31, 0, None)
    assert await log(ledger) == ids(range(31))


@pytest.mark.parametrize("lost", ["unsent", "unanswered"])
async def test_answers_that_are_lost_lose_and_double_nothing(ledger: LedgerService, path: Path, lost: Moment) -> None:
    chance = random.Random(3)
    async with (
        CuttingProxy.before(ledger.url, lambda: chance.choice(["through", lost, lost])) as proxy,
        reached(proxy.url, ledger.admin) as client,
        Outbox(path, client) as outbox,
    ):
        for start in range(0, 200, 10):
            await outbox.put_all([ask(number) for number in range(start, start + 10)])
        status = await outbox.flush(SECONDS_MAX)
    assert await log(ledger) == ids(range(200))
    assert status.sent == 200
    assert (status.duplicates > 0) is (lost == "unanswered")


async def test_the_ledger_is_killed(database: Database, path: Path) -> None:
    async with aiohttp.ClientSession() as session, processes(database.settings, 1, session) as (process,):
        async with (
            reached(process.url, database.settings.home / "admin.key") as client,
            Outbox(path, client) as outbox,
        ):
            for number in range(300):
                await outbox.put_all([ask(number)])
                if number in (50, 150):
                    process.kill()
                    process.start()
            status = await outbox.flush(SECONDS_MAX)
        assert status.sent == 300
        await process.ready(session)
        async with session.get(f"{process.url}/v1/ledgers/main/events?limit=1000", headers=process.headers) as answer:
            assert [each["id"] for each in (await answer.json())["events"]] == ids(range(300))


@pytest.mark.parametrize("moment", ["unsent", "unanswered"])
async def test_the_connection_to_postgresql_breaks_at_the_commit(database: Database, path: Path, moment: Any) -> None:
    async with behind_a_proxy(database) as (proxy, ledger):
        fault = proxy.strike(runs("commit"), moment)
        async with reached(ledger.url, ledger.admin) as client, Outbox(path, client) as outbox:
            await outbox.put_all([ask(number) for number in range(20)])
            status = await outbox.flush(SECONDS_MAX)
        assert fault.struck.is_set()
        assert (await log(ledger))[1:] == ids(range(20))
        assert status.duplicates == (20 if moment == "unanswered" else 0)


# What the ledger refuses


async def test_what_is_refused_stands_aside_and_blocks_nothing(ledger: LedgerService, path: Path) -> None:
    async with reached(ledger.url, ledger.admin) as client:
        await client.record(AskRecorded(requirement="R-9", account="other"), id="n:3")
        async with Outbox(path, client) as outbox:
            await outbox.put_all([ask(number) for number in range(6)])
            await outbox.flush(SECONDS_MAX)
            (aside,) = await outbox.refused()
            assert (aside.id, aside.state, aside.status) == ("n:3", "refused", 409)
            assert aside.problem["errors"][0]["type"] == "/problems/id-conflict"
            assert aside.event["data"]["account"] == "a-3"
            assert await log(ledger) == ["n:3", *ids([0, 1, 2, 4, 5])]

            # The same again is refused again; said under another id it is taken.
            await outbox.resend(aside.place)
            await outbox.flush(SECONDS_MAX)
            (aside,) = await outbox.refused()
            assert aside.attempts == 2
            await outbox.mend(aside.place, AskRecorded(requirement="R-3", account="a-3"), id="n:3b")
            await outbox.flush(SECONDS_MAX)
            assert await outbox.refused() == []
    assert (await log(ledger))[-1] == "n:3b"


async def test_what_is_refused_can_be_dropped_and_nothing_else_can(ledger: LedgerService, path: Path) -> None:
    async with reached(ledger.url, ledger.admin) as client:
        await client.record(AskRecorded(requirement="R-9", account="other"), id="n:0")
        async with Outbox(path, client) as outbox:
            await outbox.put_all([ask(0)])
            await outbox.flush(SECONDS_MAX)
            (aside,) = await outbox.refused()
            for change in (outbox.drop, outbox.resend):
                with pytest.raises(OutboxError, match="place 77"):
                    await change(aside.place, 77)
                with pytest.raises(ValueError, match="name the places"):
                    await change()
            assert len(await outbox.refused()) == 1
            await outbox.drop(aside.place)
            assert await outbox.refused() == []
            assert (await outbox.status()).counts.bytes == 0
    async with nowhere(path) as outbox:
        await outbox.put_all([ask(1)])
        with pytest.raises(OutboxError, match="nothing stands aside"):
            await outbox.drop(2)


async def test_where_order_is_strict_nothing_overtakes(ledger: LedgerService, path: Path) -> None:
    async with reached(ledger.url, ledger.admin) as client:
        await client.record(AskRecorded(requirement="R-9", account="other"), id="n:3")
        async with Outbox(path, client, strict_order=True) as outbox:
            await outbox.put_all([ask(number) for number in range(6)])
            status = await outbox.flush(SECONDS_MAX)
            assert (status.counts.waiting, status.counts.refused) == (2, 1)
            assert await log(ledger) == ["n:3", *ids([0, 1, 2])]
            (aside,) = await outbox.refused()
            await outbox.mend(aside.place, AskRecorded(requirement="R-3", account="a-3"), id="n:3b")
            assert (await outbox.flush(SECONDS_MAX)).counts.waiting == 0
    assert await log(ledger) == ["n:3", *ids([0, 1, 2]), "n:3b", *ids([4, 5])]


async def test_what_a_later_event_makes_possible_is_sent_again_by_itself(ledger: LedgerService, path: Path) -> None:
    revised = AgreementRevised(
        agreement="target-market", revision="r1", title="Whom we build for", stage="exploratory", threshold=50,
        bullets=[Bullet(bullet="b", text="Banks")], signatories=["product"], reason="New", by=PRODUCT,
    )  # fmt: skip
    adopted = AgreementAdopted(agreement="target-market", revision="r1", effective="2026-01-01", by=PRODUCT)
    endorsed = AgreementEndorsed(agreement="target-market", revision="r1", team="product", meaning="agree", by=PRODUCT)
    clock = [1_000_000.0]
    async with (
        reached(ledger.url, ledger.admin) as client,
        Outbox(path, client, clock=lambda: clock[0]) as outbox,
    ):
        await outbox.put_all([Draft(revised, id="revised"), Draft(adopted, id="adopted"), ask(0)])
        await outbox.flush(SECONDS_MAX)
        (aside,) = await outbox.refused()
        assert (aside.id, aside.state) == ("adopted", "deferred")
        assert clock[0] < aside.due_at <= clock[0] + 30
        assert await log(ledger) == ["revised", "n:0"]

        await outbox.put(endorsed, id="endorsed")
        await outbox.flush(SECONDS_MAX)
        clock[0] += 31

        async def sent() -> bool:
            return await log(ledger) == ["revised", "n:0", "endorsed", "adopted"]

        await holds(sent)


async def test_a_clock_that_was_years_ahead_holds_nothing_up(ledger: LedgerService, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "crm.key"
    file.write_text(await ledger.key("observe", sources=["/elsewhere"]))
    clock = [2_000_000_000.0]
    async with (
        reached(ledger.url, file) as client,
        Outbox(path, client, clock=lambda: clock[0]) as outbox,
    ):
        await outbox.put_all([ask(0)])
        await outbox.flush(SECONDS_MAX)
        assert [each.state for each in await outbox.refused()] == ["deferred"]
        file.write_text(ledger.admin)
        clock[0] = 1_000_000.0

        async def sent() -> bool:
            return await log(ledger) == ["n:0"]

        await holds(sent)


async def test_a_grant_that_is_missing_is_waited_for(ledger: LedgerService, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "crm.key"
    file.write_text(await ledger.key("observe", sources=["/elsewhere"]))
    clock = [1_000_000.0]
    async with (
        reached(ledger.url, file) as client,
        Outbox(path, client, clock=lambda: clock[0]) as outbox,
    ):
        await outbox.put_all([ask(0), ask(1)])
        await outbox.flush(SECONDS_MAX)
        assert [(each.state, each.status) for each in await outbox.refused()] == [("deferred", 403)] * 2
        file.write_text(await ledger.key("observe", sources=["/crm"]))
        clock[0] += 31

        async def sent() -> bool:
            return await log(ledger) == ids([0, 1])

        await holds(sent)


@pytest.mark.parametrize("granted", [True, False])
async def test_what_is_on_its_way_again_is_not_changed_under_it(
    ledger: LedgerService, path: Path, tmp_path: Path, granted: bool
) -> None:
    file = tmp_path / "crm.key"
    file.write_text(await ledger.key("observe", sources=["/elsewhere"]))
    clock = [1_000_000.0]
    otherwise = AskRecorded(requirement="R-0", account="a-0", importance=3)
    async with (
        CuttingProxy.before(ledger.url, lambda: "through") as proxy,
        reached(proxy.url, file) as client,
        Outbox(path, client, clock=lambda: clock[0]) as outbox,
    ):
        await outbox.put_all([ask(0)])
        await outbox.flush(SECONDS_MAX)
        (aside,) = await outbox.refused()
        if granted:
            file.write_text(ledger.admin)
        proxy.moment = lambda: "held"
        clock[0] += 31
        await asyncio.wait_for(proxy.holding.wait(), SECONDS_MAX)

        # Whatever returned now would be undone by the answer to what was sent before.
        for change in (outbox.mend(aside.place, otherwise), outbox.drop(aside.place), outbox.resend(aside.place)):
            with pytest.raises(OutboxError, match="on its way"):
                await change
        proxy.moment = lambda: "through"
        proxy.release.set()
        await outbox.flush(SECONDS_MAX)
        assert [each.attempts for each in await outbox.refused()] == ([] if granted else [2])
        if not granted:
            file.write_text(ledger.admin)
            await outbox.mend(aside.place, otherwise)
            await outbox.flush(SECONDS_MAX)
    assert await log(ledger) == ["n:0"]
    recorded = (await ledger.get("/v1/ledgers/main/events/1")).json["data"]
    assert recorded.get("importance") == (None if granted else 3)


async def test_without_a_valid_key_everything_waits(ledger: LedgerService, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "crm.key"
    async with reached(ledger.url, file) as client, Outbox(path, client) as outbox:
        await outbox.put_all([ask(0)])
        for text, told in ((None, "crm.key"), ("an old one", "401")):
            if text:
                file.write_text(text)

            async def trouble(told: str = told) -> bool:
                return told in ((await outbox.status()).trouble or "")

            await holds(trouble)
        assert await outbox.refused() == []
        file.write_text(ledger.admin)
        assert (await outbox.flush(SECONDS_MAX)).sent == 1


async def test_an_error_that_nobody_foresaw_is_told_and_sending_goes_on(ledger: LedgerService, path: Path) -> None:
    broken = True

    def chance() -> float:
        if broken:
            raise ValueError("nobody foresaw this")
        return 0.5

    moment: list[Moment] = ["unsent"]
    async with (
        CuttingProxy.before(ledger.url, lambda: moment[0]) as proxy,
        reached(proxy.url, ledger.admin, random=chance) as client,
        Outbox(path, client) as outbox,
    ):
        await outbox.put_all([ask(0)])

        async def told() -> bool:
            return "nobody foresaw this" in ((await outbox.status()).trouble or "")

        await holds(told)
        await outbox.put_all([ask(1)])
        broken, moment[0] = False, "through"
        status = await outbox.flush(SECONDS_MAX)
    assert (status.sent, status.trouble) == (2, None)


async def test_a_key_of_two_lines_is_told_and_waited_for(ledger: LedgerService, path: Path, tmp_path: Path) -> None:
    file = tmp_path / "crm.key"
    file.write_text(f"an old one\n{ledger.admin}\n")
    async with reached(ledger.url, file) as client, Outbox(path, client) as outbox:
        await outbox.put_all([ask(0)])

        async def told() -> bool:
            return "one key in one line" in ((await outbox.status()).trouble or "")

        await holds(told)
        file.write_text(ledger.admin)
        assert (await outbox.flush(SECONDS_MAX)).sent == 1


async def test_trouble_is_told_at_once_and_nobody_waits_for_a_pause(path: Path) -> None:
    patient = Retries(deadline_seconds=3_600.0, first_seconds=1_800.0, pause_seconds_max=1_800.0)
    async with Ledger(f"http://127.0.0.1:{free_ports(1)[0]}", "key", source="/crm", retries=patient) as client:
        outbox = await Outbox(path, client).__aenter__()
        await outbox.put_all([ask(0)])

        async def told() -> bool:
            return "no answer" in ((await outbox.status()).trouble or "")

        await holds(told)
        with pytest.raises(OutboxNotSent, match=r"1 wait, because of this: .*no answer"):
            await outbox.flush(0.1)
        sending = outbox._task
        assert sending is not None
        await outbox.__aexit__(None, None, None)
        # It ended by itself, and had not to be stopped at the end of the time that is kept for an answer.
        assert not sending.cancelled()


async def test_a_clock_that_is_behind_keeps_what_has_just_happened(ledger: LedgerService, path: Path) -> None:
    now = datetime.now(UTC)
    async with (
        reached(ledger.url, ledger.admin, now=lambda: now - timedelta(minutes=10)) as client,
        Outbox(path, client) as outbox,
    ):
        await outbox.put(AskRecorded(requirement="R-1", account="a"), id="now", time=now)
        await outbox.put(AskRecorded(requirement="R-1", account="a"), id="ahead", time=now + timedelta(hours=1))
        await outbox.flush(SECONDS_MAX)
        assert [(each.id, each.state) for each in await outbox.refused()] == [("ahead", "deferred")]
    assert await log(ledger) == ["now"]


async def test_what_is_wrong_is_refused_before_it_is_kept(path: Path) -> None:
    async with nowhere(path) as outbox:
        with pytest.raises(Refused) as refused:
            await outbox.put_all([ask(0), ask(1, importance=9)])
        assert [(spot.index, spot.pointer) for spot in refused.value.errors] == [(1, "/data/importance")]
        assert (await outbox.status()).counts.waiting == 0


# Several that put, several that would send


async def test_the_same_event_is_one_and_other_content_is_a_conflict(path: Path) -> None:
    async with nowhere(path) as outbox:
        assert await outbox.put_all([ask(0), ask(0)]) == ids([0, 0])
        assert await outbox.put_all([ask(0)]) == ids([0])
        assert (await outbox.status()).counts.waiting == 1
        with pytest.raises(OutboxConflict, match="n:0"):
            await outbox.put_all([ask(1), ask(0, importance=2)])
        assert (await outbox.status()).counts.waiting == 1


async def test_an_outbox_is_bounded(path: Path) -> None:
    async with nowhere(path, max_events=3) as outbox:
        await outbox.put_all([ask(0), ask(1)])
        with pytest.raises(OutboxFull, match="3 at most"):
            await outbox.put_all([ask(2), ask(3)])
        await outbox.put_all([ask(2)])
        # What is there already takes no room.
        await outbox.put_all([ask(1)])
        size = (await outbox.status()).counts.bytes
    async with nowhere(path, max_bytes=size + 10) as outbox:
        with pytest.raises(OutboxFull, match="bytes"):
            await outbox.put_all([ask(3)])


async def test_one_sends_and_another_takes_over(ledger: LedgerService, path: Path) -> None:
    async with reached(ledger.url, ledger.admin) as client:
        first = await Outbox(path, client).__aenter__()
        await first.put_all([ask(0)])
        await first.flush(SECONDS_MAX)
        async with Outbox(path, client) as second:
            for number in range(1, 40):
                await (first if number % 2 else second).put_all([ask(number)])
            await second.flush(SECONDS_MAX)
            assert ((await first.status()).sent, (await second.status()).sent) == (40, 0)
            assert not (await second.status()).sending
            await first.__aexit__(None, None, None)
            await second.put_all([ask(40)])
            assert (await second.flush(SECONDS_MAX)).sent == 1
    assert await log(ledger) == ids(range(41))


async def test_an_outbox_is_for_one_ledger(path: Path) -> None:
    async with nowhere(path):
        pass
    async with reached("http://127.0.0.1:1", ledger="other") as ledger:
        with pytest.raises(OutboxError, match="`main`, not for `other`"):
            await Outbox(path, ledger).__aenter__()


# Closing, cancelling, killing


async def test_closing_does_not_wait_for_an_answer_for_ever(
    ledger: LedgerService, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "CLOSE_SECONDS_MAX", 0.05)
    silent = asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        silent.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    try:
        async with (
            reached(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client,
            Outbox(path, client) as outbox,
        ):
            await outbox.put_all([ask(0)])
            await asyncio.wait_for(silent.wait(), SECONDS_MAX)
    finally:
        server.close()
    async with reached(ledger.url, ledger.admin) as client, Outbox(path, client) as outbox:
        assert (await outbox.flush(SECONDS_MAX)).sent == 1


async def test_a_put_that_is_cancelled_is_kept_or_not_but_never_half(ledger: LedgerService, path: Path) -> None:
    async with nowhere(path) as outbox:
        for number in range(0, 100, 2):
            putting = asyncio.create_task(outbox.put_all([ask(number), ask(number + 1)]))
            for _ in range(random.randrange(4)):
                await asyncio.sleep(0)
            putting.cancel()
            await asyncio.wait([putting])
        waiting = (await outbox.status()).counts.waiting
        assert waiting % 2 == 0
        await outbox.put_all([ask(number) for number in range(100)])
    async with reached(ledger.url, ledger.admin) as client, Outbox(path, client) as outbox:
        await outbox.flush(SECONDS_MAX)
    assert sorted(await log(ledger)) == sorted(ids(range(100)))


async def test_an_emitter_that_is_killed_keeps_what_put_has_acknowledged(path: Path, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    for _ in range(KILLS):
        before = noted(notes)
        process = subprocess.Popen([sys.executable, "-m", "tests.emitter", str(path), url, str(notes), "n", str(notes)])

        async def further(before: int = before) -> bool:
            return noted(notes) > before

        await holds(further)
        await asyncio.sleep(random.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    kept = [int(row["id"].removeprefix("n:")) for row in rows_of(path)]
    assert kept == list(range(1, len(kept) + 1))
    # One put may have come to the disk that was not noted any more.
    assert noted(notes) <= len(kept) <= noted(notes) + PUT_AT_ONCE_MAX


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The waiting events of an outbox, in order."""
    opened = OutboxFile.open(path, None, max_events=0, max_bytes=0)
    try:
        found = opened.next(10**6, 10**9, 0.0, strict_order=False)
    finally:
        opened.close()
    return [msgspec.json.decode(each.body) for each in found]


# The disk, and what may be on it


async def test_the_file_is_for_its_owner_and_forgets_what_is_sent(ledger: LedgerService, path: Path) -> None:
    words = "Our auditors ask for it, says Ms. Unforgettable."
    said = Draft(FeedbackReceived(feedback="f-1", text=words), key=("f", 1))
    async with nowhere(path) as outbox:
        await outbox.put_all([said])
        assert words.encode() in b"".join(each.read_bytes() for each in beside(path))
        assert {each.stat().st_mode & 0o777 for each in beside(path)} == {0o600}
    async with reached(ledger.url, ledger.admin) as client, Outbox(path, client) as outbox:
        await outbox.flush(SECONDS_MAX)

        async def forgotten() -> bool:
            return words.encode() not in b"".join(each.read_bytes() for each in beside(path))

        await holds(forgotten)
        assert {each.stat().st_mode & 0o777 for each in beside(path)} == {0o600}


def beside(path: Path) -> list[Path]:
    """The files of an outbox."""
    return sorted(path.parent.glob(f"{path.name}*"))


async def test_a_full_disk_keeps_nothing_of_a_put_and_all_of_what_was_there(path: Path) -> None:
    # A process that may not write beyond a size stands for a disk that is full.
    program = """
import asyncio, resource, signal, sys
from ledger_client import AskRecorded, Draft, Ledger, Outbox, OutboxUnwritable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
async def main():
    ledger = Ledger("http://127.0.0.1:1", "key", source="/crm")
    async with ledger, Outbox(sys.argv[1], ledger, sending=False) as outbox:
        put = 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        while put < 10_000:
            try:
                await outbox.put(AskRecorded(requirement="R", account="a", quote="q" * 5_000), key=("n", put))
            except OutboxUnwritable as error:
                print(put, error)
                assert (await outbox.status()).counts.waiting == put
                return
            put += 1
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    put, _, told = ended.stdout.partition(" ")
    assert str(path) in told
    assert "nothing of this call was kept" in told
    assert [row["id"] for row in rows_of(path)] == ids(range(int(put)))
    assert int(put) > 3


async def test_a_file_that_another_process_holds_is_told_and_can_be_used_afterwards(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_file_module, "BUSY_SECONDS_MAX", 0.1)
    async with nowhere(path) as outbox:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(OutboxUnwritable, match="nothing of this call was kept"):
                await outbox.put_all([ask(0)])
        await outbox.put_all([ask(0)])
        assert (await outbox.status()).counts.waiting == 1


@pytest.fixture
async def whole(path: Path) -> bytes:
    """The bytes of an outbox with some events, closed in order."""
    async with nowhere(path) as outbox:
        await outbox.put_all([ask(number, quote="We need it. " * (number % 40 + 1)) for number in range(EVENTS_CUT)])
        await outbox.put_all([ask(EVENTS_CUT, quote="q" * 7_000), ask(EVENTS_CUT + 1, quote="r" * 7_900)])
    assert beside(path) == [path]
    return path.read_bytes()


def test_a_file_that_is_cut_off_is_told_and_not_touched(path: Path, whole: bytes) -> None:
    put = {each["id"]: each for each in rows_of(path)}
    saved = []
    for length in range(0, len(whole), CUT_EVERY_BYTES):
        path.write_bytes(whole[:length])
        with pytest.raises(OutboxDamaged, match=r"crm\.outbox") as damaged:
            OutboxFile.open(path, "main", max_events=10, max_bytes=10)
        assert ("salvage" in str(damaged.value)) or ("Move it away" in str(damaged.value))
        assert path.read_bytes() == whole[:length]
        saved.append(salvaged(path, put))
    # The more there is of it, the more can be read.
    assert saved[0] == 0
    assert saved == sorted(saved)
    assert saved[-1] >= EVENTS_CUT * 9 // 10


def salvaged(path: Path, put: dict[str, Any]) -> int:
    """How many events can be salvaged; each is one that was put, to the last byte."""
    found = [msgspec.json.decode(row[-1]) for row in salvage(path).rows]
    assert all(put[each["id"]] == each for each in found)
    return len(found)


def test_garbage_in_a_file_is_told_or_harms_nothing(path: Path, whole: bytes) -> None:
    put = {each["id"]: each for each in rows_of(path)}
    chance = random.Random(11)
    told = 0
    for start in range(0, len(whole), CUT_EVERY_BYTES):
        garbage = chance.randbytes(CUT_EVERY_BYTES)
        spoiled = whole[:start] + garbage + whole[start + CUT_EVERY_BYTES :]
        path.write_bytes(spoiled)
        try:
            opened = OutboxFile.open(path, "main", max_events=10, max_bytes=10)
        except OutboxDamaged as error:
            told += 1
            assert str(path) in str(error)
            assert path.read_bytes() == spoiled
            salvaged(path, put)
        else:
            opened.close()
            assert {each["id"]: each for each in rows_of(path)} == put
    assert told > len(whole) // CUT_EVERY_BYTES // 2


async def test_a_log_that_is_cut_off_loses_the_end_and_nothing_else(path: Path, tmp_path: Path) -> None:
    async with nowhere(path) as outbox:
        for number in range(40):
            await outbox.put_all([ask(number)])
        copied = {each.name: each.read_bytes() for each in beside(path) if not each.name.endswith("-shm")}
    wal = copied[f"{path.name}-wal"]
    kept = []
    for length in range(0, len(wal), 2 * CUT_EVERY_BYTES + 8):
        folder = tmp_path / "cut"
        folder.mkdir()
        (folder / path.name).write_bytes(copied[path.name])
        (folder / f"{path.name}-wal").write_bytes(wal[:length])
        found = [each["id"] for each in rows_of(folder / path.name)]
        assert found == ids(range(len(found)))
        kept.append(len(found))
        shutil.rmtree(folder)
    assert kept == sorted(kept)
    assert kept[0] == 0
    assert kept[-1] >= 38


async def test_a_log_that_begins_with_garbage_is_told(path: Path, tmp_path: Path) -> None:
    async with nowhere(path) as outbox:
        await outbox.put_all([ask(0)])
        copied = {each.name: each.read_bytes() for each in beside(path) if not each.name.endswith("-shm")}
    folder = tmp_path / "spoiled"
    folder.mkdir()
    for name, content in copied.items():
        (folder / name).write_bytes(content if not name.endswith("-wal") else b"garbage!" * 8 + content[64:])
    with pytest.raises(OutboxDamaged, match="-wal is damaged"):
        OutboxFile.open(folder / path.name, "main", max_events=10, max_bytes=10)
    assert all((folder / name).stat().st_size == len(content) for name, content in copied.items())

    (folder / path.name).unlink()
    with pytest.raises(OutboxDamaged, match="is missing, but its write-ahead log"):
        OutboxFile.open(folder / path.name, "main", max_events=10, max_bytes=10)
    assert not (folder / path.name).exists()


async def test_a_bit_of_the_log_that_has_changed_is_told_and_what_can_be_read_is_salvaged(
    path: Path, tmp_path: Path
) -> None:
    async with nowhere(path) as outbox:
        for number in range(50):
            await outbox.put_all([ask(number)])
        copied = {each.name: each.read_bytes() for each in beside(path) if not each.name.endswith("-shm")}
    wal = copied[f"{path.name}-wal"]
    spoiled = tmp_path / "spoiled" / path.name
    spoiled.parent.mkdir()
    chance = random.Random(5)
    for _ in range(20):
        # The last two transactions are as a crash may leave them.
        at = chance.randrange(outbox_file_module.WAL_HEADER_BYTES, len(wal) * 3 // 4)
        flipped = wal[:at] + bytes([wal[at] ^ 1 << chance.randrange(8)]) + wal[at + 1 :]
        spoiled.write_bytes(copied[path.name])
        Path(f"{spoiled}-wal").write_bytes(flipped)
        with pytest.raises(OutboxDamaged, match="-wal is damaged"):
            OutboxFile.open(spoiled, "main", max_events=10, max_bytes=10)
        assert Path(f"{spoiled}-wal").read_bytes() == flipped
        found = salvage(spoiled)
        assert len(found.rows) >= 45
        assert found.ledger == "main"


async def test_a_log_that_others_write_is_never_taken_for_damaged(path: Path) -> None:
    async with nowhere(path) as outbox:
        for number in range(60):
            putting = asyncio.create_task(outbox.put_all([ask(number), ask(number + 1_000)]))
            # Looked at at any moment of a put, and of the log's beginning anew.
            await asyncio.to_thread(outbox_file_module.check, path)
            await putting
            if number % 10 == 0:
                await outbox._do(outbox._file.tidy)
        assert (await outbox.status()).counts.waiting == 120


@pytest.mark.parametrize("gone", ["", "-wal"])
async def test_what_nobody_would_find_is_not_promised(path: Path, gone: str) -> None:
    async with nowhere(path) as outbox:
        await outbox.put_all([ask(0)])
        Path(f"{path}{gone}").rename(f"{path}-elsewhere")
        with pytest.raises(OutboxUnwritable, match="removed, moved or replaced"):
            await outbox.put_all([ask(1)])
        Path(f"{path}-elsewhere").rename(f"{path}{gone}")
        await outbox.put_all([ask(2)])
    assert [row["id"] for row in rows_of(path)] == ids([0, 2])


async def test_whatever_lies_in_the_file_of_the_lock_is_nobodys_concern(ledger: LedgerService, path: Path) -> None:
    lock = Path(f"{path}.sending")
    lock.write_bytes(b"garbage!" * 100)
    async with reached(ledger.url, ledger.admin) as client, Outbox(path, client) as outbox:
        await outbox.put_all([ask(0)])
        assert (await outbox.flush(SECONDS_MAX)).sent == 1
        lock.unlink()
        await outbox.put_all([ask(1)])
        assert (await outbox.flush(SECONDS_MAX)).sent == 2
        async with Outbox(path, client) as second:
            await outbox.put_all([ask(2)])
            await second.flush(SECONDS_MAX)
            assert not (await second.status()).sending
    lock.unlink()
    lock.mkdir()
    async with nowhere(path, sending=True) as outbox:

        async def told() -> bool:
            return "crm.outbox.sending, the lock of whoever sends" in ((await outbox.status()).trouble or "")

        await holds(told)


def test_what_is_no_outbox_is_told_and_not_touched(path: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE customers (name TEXT)")
    contents = {
        "another program": path.read_bytes(),
        "an outbox|beginning is damaged": b"not a database at all\n" * 100,
        "empty": b"",
        "not an outbox": b"\0" * 8_192,
    }
    for told, content in contents.items():
        path.write_bytes(content)
        with pytest.raises(OutboxDamaged, match=told):
            OutboxFile.open(path, "main", max_events=10, max_bytes=10)
        assert path.read_bytes() == content
        assert beside(path) == [path]
    with pytest.raises(OutboxUnwritable):
        OutboxFile.open(tmp_path, "main", max_events=10, max_bytes=10)


def test_a_file_of_a_newer_version_is_told_and_not_touched(path: Path) -> None:
    OutboxFile.open(path, "main", max_events=10, max_bytes=10).close()
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version={VERSION + 1}")
    content = path.read_bytes()
    with pytest.raises(OutboxError, match="newer version"):
        OutboxFile.open(path, "main", max_events=10, max_bytes=10)
    assert path.read_bytes() == content


def test_an_outbox_that_was_being_made_when_all_ended_is_made_again(path: Path) -> None:
    (path.parent / f".{path.name}.making-left").write_bytes(b"half of")
    OutboxFile.open(path, "main", max_events=10, max_bytes=10).close()
    assert rows_of(path) == []


# The command


def run(*arguments: str | Path) -> tuple[int, str]:
    ended = CliRunner().invoke(command, [str(each) for each in arguments])
    return ended.exit_code, ended.output


async def test_the_command_shows_and_sends(database: Database, path: Path) -> None:
    async with serving(database.settings) as ledger:
        async with reached(ledger.url, ledger.admin) as client:
            await client.record(AskRecorded(requirement="R-9", account="other"), id="n:1")
        async with nowhere(path) as outbox:
            await outbox.put_all([ask(number, quote="a secret word") for number in range(3)])
        status, told = await asyncio.to_thread(run, "inspect", path)
        assert (status, "waiting: 3; to be tried again: 0; refused: 0" in told) == (0, True)
        sending = ("send", path, "--url", ledger.url, "--key-file", database.settings.home / "admin.key")
        status, told = await asyncio.to_thread(run, *sending)
        assert (status, "sent: 2 (recorded before: 0); left: 1" in told) == (1, True), told
        assert await log(ledger) == ids([1, 0, 2])
        status, told = await asyncio.to_thread(run, "inspect", path)
        assert status == 1
        assert "place 2: ledger.ask.recorded.v1 n:1: refused" in told
        assert "secret" not in told
        status, told = await asyncio.to_thread(run, "inspect", path, "--json")
        assert '"refused":1' in told
        status, told = await asyncio.to_thread(run, *sending, "--refused")
        assert "left: 1" in told
    status, told = await asyncio.to_thread(run, *sending, "--seconds", "0.2", "--refused")
    assert (status, "not everything was sent" in told) == (2, True), told


def test_the_command_sends_to_no_ledger_that_nobody_has_named(path: Path, tmp_path: Path) -> None:
    OutboxFile.open(path, None, max_events=10, max_bytes=1_000).close()
    (tmp_path / "key").write_text("key")
    status, told = run("send", path, "--url", "http://127.0.0.1:1", "--key-file", tmp_path / "key")
    assert (status, "Name it: --ledger NAME" in told) == (2, True), told


def test_the_command_salvages(path: Path, whole: bytes, tmp_path: Path) -> None:
    with closing(sqlite3.connect(path)) as outbox:
        outbox.execute("UPDATE outbox_of SET ledger = 'payments'")
        outbox.commit()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 3 // 4])
    status, told = run("inspect", path)
    assert (status, "ledger-outbox salvage" in told) == (2, True)
    status, told = run("salvage", path, tmp_path / "mended.outbox")
    assert status == 0, told
    found = rows_of(tmp_path / "mended.outbox")
    assert f"salvaged: {len(found)} events" in told
    assert len(found) > EVENTS_CUT // 4
    status, told = run("inspect", tmp_path / "mended.outbox")
    assert (status, "for the ledger `payments`" in told) == (0, True), told
    status, told = run("salvage", path, tmp_path / "mended.outbox")
    assert (status, "is there already" in told) == (2, True)
    status, told = run("inspect", tmp_path / "none")
    assert (status, "there is no such file" in told) == (2, True)
    for name in ("inspect", "send", "salvage"):
        status, told = run(name, "--help")
        assert (status, "Example" in told) == (0, True)
