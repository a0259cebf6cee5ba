"""Emitters, the ledger and its database are killed at random, and answers get lost on the way. In the end, everything
that `put` has acknowledged is in the log once, per emitter in order, and nothing else is.

LEDGER_TEST_OUTBOX_SECONDS=300 makes it five minutes.
"""

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog

from ledger_client.outbox_file import OutboxFile
from schemas.envelope import event_uuid
from services.postgres import connect
from services.settings import Settings
from tests.cutting_proxy import CuttingProxy, Moment
from tests.emitter import READY, id_of, noted, source_of
from tests.system.test_supervisor import Run, home, running
from tests.system.test_under_load import LOG_CHARACTERS, kill

__all__ = ["home"]  # A fixture.

KILLING_SECONDS = float(os.environ.get("LEDGER_TEST_OUTBOX_SECONDS", "60"))
SETTLE_SECONDS_MAX = 180
EMITTERS = {"alpha": "shared", "beta": "shared", "gamma": "shared", "delta": "own"}
"""Each emitter and the file that it puts into."""
PAUSES_SECONDS = {"emitter": (0.2, 2.0), "services.ledger": (5.0, 15.0), "/postgres": (8.0, 24.0)}
LOST = 0.05

_log = structlog.get_logger()

pytestmark = [pytest.mark.system, pytest.mark.timeout(KILLING_SECONDS + 4 * SETTLE_SECONDS_MAX)]


class Emitter:
    """A process that puts numbered events."""

    def __init__(self, name: str, folder: Path, url: str, key_file: Path) -> None:
        self.name = name
        self.outbox = folder / f"{EMITTERS[name]}.outbox"
        self.notes = folder / f"{name}.notes"
        self._arguments = [str(self.outbox), url, str(key_file), name, str(self.notes)]
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  Closed in end().
        self.start()

    def start(self) -> None:
        self._said_before = len(self.output())
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.emitter", *self._arguments], stdout=self._output, stderr=subprocess.STDOUT
        )

    def output(self) -> str:
        # Without moving the place in the file, which is that of the process as well.
        return os.pread(self._output.fileno(), os.fstat(self._output.fileno()).st_size, 0).decode()

    def is_ready(self) -> bool:
        """Whether a signal ends it in order."""
        assert self.process.poll() is None, self.output()
        return READY in self.output()[self._said_before :]

    def kill(self) -> None:
        # It goes on until somebody kills it: what ends by itself is a defect.
        assert self.process.poll() is None, self.output()
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._output.close()


@contextmanager
def emitting(folder: Path, url: str, key_file: Path) -> Iterator[list[Emitter]]:
    emitters = [Emitter(name, folder, url, key_file) for name in EMITTERS]
    try:
        yield emitters
    finally:
        for each in emitters:
            each.end()


async def test_nothing_is_lost_or_doubled_under_kills(home: Path) -> None:
    chance = random.Random()
    lost = 0

    def moment() -> Moment:
        nonlocal lost
        if chance.random() >= LOST:
            return "through"
        lost += 1
        return chance.choice(["unsent", "unanswered"])

    with running(home) as run:
        await asyncio.to_thread(run.ready)
        async with CuttingProxy.before(f"http://127.0.0.1:{run.ledger}", moment) as proxy:
            with emitting(home.parent, proxy.url, home / "admin.key") as emitters:
                kills = await killed_at_random(run, emitters, chance)
                await everything_is_sent(run, emitters)
                proxy.moment = lambda: "through"
                held = await everything_is_there_once(home, emitters)
            _log.info(
                "kills_survived",
                seconds=KILLING_SECONDS,
                events=held,
                kills=dict(kills),
                requests=len(proxy.bodies),
                lost=lost,
                without_answer_of_the_ledger=proxy.unreached,
                statuses=dict(Counter(proxy.statuses)),
                duplicates=proxy.duplicates,
            )
    assert all(kills[what] for what in PAUSES_SECONDS)


async def killed_at_random(run: Run, emitters: list[Emitter], chance: random.Random) -> Counter[str]:
    """Kill each kind of process again and again, and count the kills."""
    kills: Counter[str] = Counter()
    until = time.monotonic() + KILLING_SECONDS

    async def emitter() -> None:
        victim = chance.choice(emitters)
        victim.kill()
        await asyncio.sleep(chance.random() / 2)
        victim.start()

    async def again_and_again(what: str) -> None:
        while True:
            pause = chance.uniform(*PAUSES_SECONDS[what])
            if time.monotonic() + pause > until:
                return
            await asyncio.sleep(pause)
            await (emitter() if what == "emitter" else kill(run, what))
            kills[what] += 1

    async with asyncio.TaskGroup() as group:
        for what in PAUSES_SECONDS:
            group.create_task(again_and_again(what))
    return kills


async def everything_is_sent(run: Run, emitters: list[Emitter]) -> None:
    """Have the emitters end as they do by themselves: with an empty outbox."""
    async with asyncio.timeout(SETTLE_SECONDS_MAX):
        while not all(each.is_ready() for each in emitters):
            await asyncio.sleep(0.05)
    for each in emitters:
        each.process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(SETTLE_SECONDS_MAX):
        while any(each.process.poll() is None for each in emitters):
            await asyncio.sleep(0.05)
    for each in emitters:
        assert each.process.returncode == 0, each.output() + run.output()[-LOG_CHARACTERS:]


async def everything_is_there_once(home: Path, emitters: list[Emitter]) -> int:
    for path in {each.outbox for each in emitters}:
        left = OutboxFile.open(path, "main", max_events=0, max_bytes=0)
        assert left.counts().waiting == left.counts().deferred == left.counts().refused == 0
        left.close()

    acknowledged = {
        event_uuid(source_of(each.name), id_of(each.name, number)): (each.name, number)
        for each in emitters
        for number in range(1, noted(each.notes) + 1)
    }
    auditor = await connect(Settings(home=home).url("auditor"))
    try:
        rows = await auditor.fetch("SELECT notification_id, event_id FROM ledger_main.stored_events ORDER BY 1")
    finally:
        await auditor.close()
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    there = [acknowledged[row[1]] for row in rows]
    assert len(there) == len(acknowledged) > 0
    for each in emitters:
        numbers = [number for name, number in there if name == each.name]
        assert numbers == list(range(1, noted(each.notes) + 1))
        assert numbers
    return len(there)
