"""The receiver is killed, the ledger goes away and comes back, the file is cut off: nothing that was taken in is lost,
and nothing is doubled."""

import asyncio
import itertools
import json
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from msgspec.structs import replace

from services.receiver.kept import FILE, Came, Kept, KeptUnusable
from services.settings import Settings
from tests.conftest import Database, free_ports
from tests.ledger_process import LedgerProcess, processes
from tests.ledger_service import Reply
from tests.receiver_service import ReceiverService, opened, ticket

SECONDS_MAX = 90
CLIENTS = 4
BODIES_OF_A_CLIENT = 15
KILLS = 4
CUTS = 24


class ReceiverProcess(ReceiverService):
    """`python -m services.receiver`, which a test may kill."""

    def __init__(self, settings: Settings, session: aiohttp.ClientSession) -> None:
        super().__init__(settings, session)
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  Closed in end().
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.receiver"],
            env=self.settings.environ(),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS_MAX)

    def output(self) -> str:
        self._output.seek(0)
        return self._output.read()

    async def ready(self) -> None:
        async def is_ready() -> bool:
            assert self.process.poll() is None, self.output()
            try:
                return (await self.get("/readyz")).status == 200
            except aiohttp.ClientError:
                return False

        await until(is_ready)

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(SECONDS_MAX)
        finally:
            self.process.kill()
            self._output.close()

    async def persist(self, number: int) -> Reply:
        """Send a body until it is taken in, as a sender does."""
        deadline = time.monotonic() + SECONDS_MAX
        while True:
            assert time.monotonic() < deadline, self.output()
            try:
                reply = await self.send("desk", ticket(number), delivery=f"d-{number}")
            except (aiohttp.ClientError, TimeoutError):
                await asyncio.sleep(0.05)
                continue
            assert reply.status in (200, 202, 503), reply.body
            if reply.status != 503:
                return reply


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    deadline = time.monotonic() + SECONDS_MAX
    while not await condition():
        assert time.monotonic() < deadline, "the condition did not come to hold"
        await asyncio.sleep(0.05)


@asynccontextmanager
async def receivers(
    settings: Settings, session: aiohttp.ClientSession, count: int = 1
) -> AsyncIterator[list[ReceiverProcess]]:
    """Several ready receivers of one home, each on a port of its own."""
    started = [ReceiverProcess(replace(settings, receiver_port=free_ports(1)[0]), session) for _ in range(count)]
    try:
        for each in started:
            await each.ready()
        yield started
    finally:
        for each in started:
            each.end()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=SECONDS_MAX)
    async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(force_close=True)) as session:
        yield session


async def recorded(ledger: LedgerProcess, session: aiohttp.ClientSession) -> list[str]:
    """The ids of what is in the log, in its order."""
    url = f"{ledger.url}/v1/ledgers/main/events?limit=1000"
    async with session.get(url, headers=ledger.headers) as answer:
        return [event["id"] for event in (await answer.json())["events"]]


def is_empty(receiver: ReceiverService) -> Callable[[], Awaitable[bool]]:
    async def empty() -> bool:
        return await asyncio.to_thread(receiver.kept) == []

    return empty


async def test_kill_9_again_and_again_loses_and_doubles_nothing(
    database: Database, session: aiohttp.ClientSession
) -> None:
    """Of the receiver and of the ledger, while senders send until they are told that it was taken in."""
    async with processes(database.settings, 1, session) as [ledger]:
        settings = replace(database.settings, ledger_port=ledger.settings.ledger_port)
        async with receivers(settings, session) as [receiver]:
            receiver.hook("desk")
            taken: list[int] = []

            async def send(client: int) -> None:
                for number in range(client, CLIENTS * BODIES_OF_A_CLIENT, CLIENTS):
                    await receiver.persist(number)
                    taken.append(number)

            async def kill() -> None:
                for number, victim in zip(range(KILLS), itertools.cycle((receiver, ledger)), strict=False):
                    while len(taken) < (number + 1) * CLIENTS * BODIES_OF_A_CLIENT // (KILLS + 1):
                        await asyncio.sleep(random.random() * 0.02)
                    victim.kill()
                    await asyncio.sleep(random.random())
                    victim.start()

            await asyncio.gather(kill(), *(send(client) for client in range(CLIENTS)))
            await receiver.ready()
            await until(is_empty(receiver))
            everything = [f"ticket-{number}" for number in range(CLIENTS * BODIES_OF_A_CLIENT)]
            assert sorted(await recorded(ledger, session)) == sorted(everything)


async def test_what_is_stored_and_not_yet_answered_is_there_once(
    database: Database, session: aiohttp.ClientSession
) -> None:
    """Killed between the two: the sender knows nothing, and sends again."""
    async with receivers(database.settings, session) as [receiver]:
        receiver.hook("desk")
        body = json.dumps(ticket(1)).encode()
        sending = asyncio.create_task(receiver.send("desk", body))

        async def stored() -> bool:
            return len(await asyncio.to_thread(receiver.kept)) == 1 or sending.done()

        await until(stored)
        receiver.kill()
        await asyncio.wait([sending])
        sending.exception()  # An answer may or may not have got out.
        receiver.start()
        await receiver.ready()
        again = await receiver.persist(1)
        assert again.status == 202
        [item] = receiver.kept()
        assert (item.id, item.state) == (again.json["kept"], "waiting")


async def test_a_ledger_that_was_away_gets_everything_in_order_and_once(
    database: Database, session: aiohttp.ClientSession
) -> None:
    async with processes(database.settings, 1, session) as [ledger]:
        settings = replace(database.settings, ledger_port=ledger.settings.ledger_port)
        async with receivers(settings, session, 2) as [receiver, other]:
            receiver.hook("desk")
            assert (await receiver.persist(0)).status == 200
            ledger.kill()
            # Two receivers of one home take turns.
            for number in range(1, 9):
                assert (await (receiver, other)[number % 2].persist(number)).status == 202
            receiver.kill()
            ledger.start()
            await ledger.ready(session)
            receiver.start()
            await receiver.ready()
            await until(is_empty(receiver))
            assert await recorded(ledger, session) == [f"ticket-{number}" for number in range(9)]


async def test_a_file_that_is_cut_off_is_named_and_left_as_it_is(
    database: Database, session: aiohttp.ClientSession
) -> None:
    async with receivers(database.settings, session) as [receiver]:
        receiver.hook("desk")
        for number in range(20):
            reply = await receiver.send("desk", {"ticket": "x" * 2_000, "n": number}, delivery=f"d-{number}")
            assert reply.status == 422
    file = database.settings.home / FILE
    whole = file.read_bytes()
    cut = whole[: len(whole) // 2]
    file.write_bytes(cut)
    started = ReceiverProcess(database.settings, session)
    try:

        async def alive() -> bool:
            assert started.process.poll() is None, started.output()
            return await started.answers()

        # It holds up nobody: it runs, and says what is the matter.
        await until(alive)
        for reply in (await started.get("/readyz"), await started.send("desk", ticket())):
            assert (reply.status, reply.problem) == (503, "unavailable")
            assert f"{file} is damaged" in reply.json["detail"]
            assert "Put a whole copy of it in its place" in reply.json["detail"]
        assert file.read_bytes() == cut
        file.write_bytes(whole)
    finally:
        started.end()
    with opened(database.settings) as kept:
        assert len(kept.page(limit=100)) == 20


def test_any_cut_is_noticed_or_harmless(tmp_path: Path) -> None:
    """Cut off at any place, with zeros or with anything: an error that names the file, or all that was kept."""
    chance = random.Random(7)
    kept = Kept(tmp_path, bytes_max=10_000_000)
    now = datetime.now(UTC)
    for number in range(30):
        body = b"x" * 3_000
        delivery = kept.delivery("desk", f"d-{number}", body)
        kept.keep(delivery, Came({}, body), "refused", problem="mapping-misfit", reason="why", now=now)
    kept.close()
    file = tmp_path / FILE
    whole = file.read_bytes()
    for number in range(CUTS):
        place = chance.randrange(1, len(whole))
        damaged = (
            whole[:place],
            whole[:place] + bytes(len(whole) - place),
            whole[:place] + chance.randbytes(min(5_000, len(whole) - place)) + whole[place + 5_000 :],
        )[number % 3]
        file.write_bytes(damaged)
        try:
            again = Kept(tmp_path, bytes_max=10_000_000)
        except KeptUnusable as error:
            assert str(file) in str(error)
            assert file.read_bytes() == damaged
            continue
        try:
            assert len(again.page(limit=100)) == 30
        except KeptUnusable as error:
            # The damage lies in a body, which no longer opens.
            assert str(file) in str(error)
        finally:
            again.close()
        file.write_bytes(whole)


@pytest.mark.parametrize("content", [b"", b"not a database at all", b"SQLite format 3\0" + b"\xff" * 200])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    settings = Settings(home=tmp_path)
    with opened(settings):
        pass
    for file in tmp_path.glob(f"{FILE}*"):
        file.unlink()
    (tmp_path / FILE).write_bytes(content)
    if not content:  # As somebody leaves it who was killed when he began it.
        with opened(settings) as kept:
            assert kept.page(limit=1) == []
        return
    with pytest.raises(KeptUnusable, match=r"is no SQLite database|is damaged"), opened(settings):
        pass
    assert (tmp_path / FILE).read_bytes() == content


def test_a_database_of_another_program_and_of_a_newer_version(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    with opened(settings):
        pass
    for pragma, message in (("user_version = 99", "newer version"), ("application_id = 7", "another program")):
        connection = sqlite3.connect(tmp_path / FILE)
        connection.execute(f"PRAGMA {pragma}")
        connection.close()
        with pytest.raises(KeptUnusable, match=message), opened(settings):
            pass
