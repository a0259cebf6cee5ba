"""A backup and the WAL since make the same ledger elsewhere; an earlier one is noticed, and takes no writes."""

import asyncio
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import msgspec
import psutil
import pytest
from click.testing import CliRunner, Result

from services.command import commands
from services.embedded import EmbeddedPostgres
from services.settings import VARIABLES
from tests.conftest import scratch
from tests.log import event
from tests.system.test_supervisor import Run, running

SECONDS_MAX = 60.0
CLIENTS = 8
EVENTS_MIN = 100
"""That are recorded in each phase of a life, at least."""

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


class Life(NamedTuple):
    """What became of a ledger up to the moment at which everything was killed."""

    home: Path
    wal: Path
    backup: Path
    acknowledged: dict[str, int]
    """Where each acknowledged event was, by its id."""
    earlier: datetime
    """A time after the backup at which nothing was being recorded."""
    head_earlier: int
    kept: Path
    """The checkpoint of that time."""
    head_archived: int
    """What was acknowledged up to there, the archive has."""


class Client:
    """Posts to a ledger that runs, and asks it."""

    def __init__(self, run: Run, session: aiohttp.ClientSession) -> None:
        self.url = f"http://127.0.0.1:{run.ledger}/v1/ledgers/main"
        self.questions = f"http://127.0.0.1:{run.projector}/v1/ledgers/main"
        self.session = session

    @classmethod
    @asynccontextmanager
    async def of(cls, run: Run) -> "AsyncIterator[Client]":
        key = (run.home / "admin.key").read_text().strip()
        async with aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {key}"}, timeout=aiohttp.ClientTimeout(total=SECONDS_MAX)
        ) as session:
            yield cls(run, session)

    async def post(self, id: str) -> tuple[int, Any]:
        ask = event("ask.recorded", id=id, requirement="R", account="acme", ask=id, quote=f"We need it, {id}.")
        headers = {"Content-Type": "application/cloudevents+json"}
        async with self.session.post(f"{self.url}/events", data=msgspec.json.encode(ask), headers=headers) as answer:
            return answer.status, msgspec.json.decode(await answer.read())

    async def checkpoint(self, size: int) -> str:
        """A checkpoint of at least so many events."""
        async with asyncio.timeout(SECONDS_MAX):
            while True:
                async with self.session.get(f"{self.url}/checkpoint") as answer:
                    note = await answer.text()
                    if answer.status == 200 and int(note.split("\n")[1]) >= size:
                        return note
                await asyncio.sleep(0.05)

    async def positions(self) -> dict[str, int]:
        """Every event that is recorded, by its id."""
        async with self.session.get(f"{self.url}/events", headers={"Accept": "application/x-ndjson"}) as answer:
            assert answer.status == 200
            events = [msgspec.json.decode(line) for line in (await answer.read()).splitlines()]
        return {each["id"]: int(each["sequence"]) for each in events}

    @asynccontextmanager
    async def recording(self, acknowledged: dict[str, int]) -> AsyncIterator[None]:
        """Clients that post as fast as they are answered, until the end or until nobody answers."""
        going_on = asyncio.Event()
        going_on.set()

        async def go_on() -> None:
            with suppress(aiohttp.ClientError):
                while going_on.is_set():
                    id = f"e-{next(_numbers)}"
                    status, answer = await self.post(id)
                    assert status == 201, answer
                    acknowledged[id] = answer["results"][0]["position"]

        async with asyncio.TaskGroup() as clients:
            for _ in range(CLIENTS):
                clients.create_task(go_on())
            try:
                yield
            finally:
                going_on.clear()


_numbers = itertools.count(1)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not condition():
            await asyncio.sleep(0.02)


async def live(place: Path) -> Life:
    """Record under load with an archive, make a backup meanwhile, record more, and kill everything."""
    home, wal, backup, acknowledged = place / "home", place / "wal", place / "backup", dict[str, int]()
    with running(home, LEDGER_WAL_ARCHIVE=str(wal)) as run:
        await asyncio.to_thread(run.ready)
        async with Client.of(run) as client:
            async with client.recording(acknowledged):
                await until(lambda: len(acknowledged) >= EVENTS_MIN)
                made = await asyncio.to_thread(command, home, "backup", str(backup))
                assert made.returncode == 0, made.stderr
                recorded = len(acknowledged)
                await until(lambda: len(acknowledged) >= recorded + EVENTS_MIN)
            head_earlier = max(acknowledged.values())
            (place / "kept.checkpoint").write_text(await client.checkpoint(head_earlier))
            await archived(home, wal)
            earlier = datetime.now(UTC)
            async with client.recording(acknowledged):
                await until(lambda: len(acknowledged) >= head_earlier + EVENTS_MIN)
                head_archived = max(acknowledged.values())
                await archived(home, wal)
                await client.checkpoint(head_archived + 1)
                for process in [psutil.Process(run.process.pid), *run.seen]:
                    with suppress(psutil.NoSuchProcess):
                        process.kill()
        assert run.ended() < 0
    return Life(home, wal, backup, acknowledged, earlier, head_earlier, place / "kept.checkpoint", head_archived)


async def archived(home: Path, wal: Path) -> None:
    """Wait until the archive has what has been recorded by now."""
    database = EmbeddedPostgres(home)
    database.join()
    connection = await asyncpg.connect(database.superuser_url())
    try:
        segment = await connection.fetchval("SELECT pg_walfile_name(pg_switch_wal())")
    finally:
        await connection.close()
    await until((wal / segment).exists)


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="le-backup-", dir=scratch()))
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def life(place: Path) -> Life:
    return asyncio.run(live(place))


@pytest.fixture
def empty(place: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=place))


def environ(home: Path, more: Mapping[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(Path(__file__).parents[2]), "LEDGER_HOME": str(home), **more}


def command(home: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`ledger ...` on a home, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "services.command", *arguments],
        env=environ(home, more),
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )


def digests(directory: Path) -> dict[Path, bytes]:
    """What all files in a directory hold."""
    return {path: sha256(path.read_bytes()).digest() for path in directory.rglob("*") if path.is_file()}


def bring_along(life: Life, home: Path) -> None:
    """What an operator brings to a restored home, as it is now."""
    for name in ("master.key", "signing.key", "admin.key"):
        shutil.copy2(life.home / name, home / name)
    shutil.copytree(life.home / "checkpoints", home / "checkpoints")


async def test_with_all_of_its_wal_it_is_the_ledger_that_it_was(life: Life, place: Path):
    home, old = place / "all", life.home / "database" / "pg_wal"
    before = digests(life.home)
    made = command(home, "restore", str(life.backup), "--wal", str(life.wal), "--wal", str(old))
    assert made.returncode == 0, made.stderr
    for named in ("master.key", "signing.key", str(home / "checkpoints"), "accept-history"):
        assert named in made.stdout
    bring_along(life, home)
    with running(home) as run:
        await asyncio.to_thread(run.ready)
        async with Client.of(run) as client:
            there = await client.positions()
            assert life.acknowledged.items() <= there.items()
            assert [*there.values()] == [*range(1, len(there) + 1)]
            assert (await client.post("after"))[0] == 201
            await client.checkpoint(len(there) + 1)
        audited = await asyncio.to_thread(command, home, "audit", "--since", str(life.kept))
        assert (audited.returncode, "Nothing was found." in audited.stdout) == (0, True), audited
    assert digests(life.home) == before


async def test_what_was_acknowledged_and_archived_is_in_backup_and_archive(life: Life, place: Path):
    home = place / "archive"
    assert command(home, "restore", str(life.backup), "--wal", str(life.wal)).returncode == 0
    database = EmbeddedPostgres(home)
    await database.start()
    try:
        connection = await asyncpg.connect(database.urls()["auditor"])
        rows = await connection.fetch(
            "SELECT convert_from(state, 'UTF8')::json ->> 'id' AS id, notification_id AS position"
            " FROM ledger_main.stored_events"
        )
        await connection.close()
    finally:
        await database.stop()
    there = {row["id"]: row["position"] for row in rows}
    assert life.head_archived > life.head_earlier > EVENTS_MIN
    assert {id: at for id, at in life.acknowledged.items() if at <= life.head_archived}.items() <= there.items()


async def test_restored_to_an_earlier_time_it_takes_no_writes_until_somebody_says_why(life: Life, place: Path):
    home = place / "earlier"
    made = command(home, "restore", str(life.backup), "--wal", str(life.wal), "--until", life.earlier.isoformat())
    assert made.returncode == 0, made.stderr
    bring_along(life, home)
    with running(home) as run:
        await asyncio.to_thread(run.ready)
        async with Client.of(run) as client:
            assert {
                id: at for id, at in life.acknowledged.items() if at <= life.head_earlier
            } == await client.positions()
            status, answer = await client.post("refused")
            assert (status, answer["type"]) == (503, "/problems/history-in-doubt"), answer
            async with client.session.get(f"{client.questions}/requirements") as asked:
                assert asked.status == 200
            audited = await asyncio.to_thread(command, home, "audit", "--since", str(life.kept))
            assert audited.returncode == 1, audited
            assert f"events, and the log has {life.head_earlier}" in audited.stdout

            said = await asyncio.to_thread(
                command, home, "accept-history", "--reason", "restored by a test", "--by", "a test"
            )
            assert said.returncode == 0, said.stderr
            async with asyncio.timeout(SECONDS_MAX):
                while (await client.post("accepted"))[0] != 201:
                    await asyncio.sleep(0.1)
            await client.checkpoint(life.head_earlier + 1)
        [accepted] = home.glob("checkpoints/main/*/accepted.note")
        assert "reason: restored by a test\n" in accepted.read_text()
        # What was signed before stays, and an auditor tells of it; nothing of what is lost was taken up again.
        audited = await asyncio.to_thread(command, home, "audit", "--since", str(life.kept))
        assert audited.returncode == 0, audited
        assert f"with {life.head_earlier} events, by a test: restored by a test" in audited.stdout
        assert "are not of this log (of" in audited.stdout


class Wrong(NamedTuple):
    """What is given to `restore`, each made from a life that is in order, and what is said about it."""

    said: str
    backup: Callable[[Life, Path], Path] = lambda life, place: life.backup
    wal: Callable[[Life, Path], Path | None] = lambda life, place: life.wal
    until: Callable[[Life], str | None] = lambda life: None


def copied(directory: Path, place: Path, change: Callable[[Path], object]) -> Path:
    copy = shutil.copytree(directory, place / directory.name)
    change(copy)
    return copy


def cut_short(backup: Path) -> None:
    os.truncate(max((backup / "base").rglob("*"), key=lambda path: path.stat().st_size), 8192)


def segments(wal: Path) -> list[Path]:
    return sorted(path for path in wal.iterdir() if re.fullmatch("[0-9A-F]{24}", path.name))


def without_one(wal: Path) -> None:
    segments(wal)[-2].unlink()


def of_another_database(wal: Path) -> None:
    with segments(wal)[-1].open("r+b") as file:
        file.seek(24)
        file.write(bytes(7) + b"\x01")


def damaged(wal: Path) -> None:
    with segments(wal)[-2].open("r+b") as file:
        file.seek(8192)
        file.write(bytes(8192))


WRONG = {
    "a backup that is not there": Wrong("is not a backup", lambda life, place: place / "none"),
    "a directory that is no backup": Wrong("is not a backup", lambda life, place: life.wal),
    "a truncated backup": Wrong("damaged or not whole", lambda life, place: copied(life.backup, place, cut_short)),
    "a backup of another PostgreSQL": Wrong(
        "was made by PostgreSQL 17",
        lambda life, place: copied(life.backup, place, lambda copy: (copy / "PG_VERSION").write_text("17\n")),
    ),
    "no such directory of WAL": Wrong("cannot be read", wal=lambda life, place: place / "none"),
    "no WAL since the backup": Wrong("There is no WAL since", wal=lambda life, place: life.home / "checkpoints"),
    "WAL with a gap": Wrong("is missing", wal=lambda life, place: copied(life.wal, place, without_one)),
    "WAL of another database": Wrong(
        "of another database", wal=lambda life, place: copied(life.wal, place, of_another_database)
    ),
    "damaged WAL": Wrong("lies between is damaged", wal=lambda life, place: copied(life.wal, place, damaged)),
    "no time": Wrong("not a time with a zone", until=lambda life: "2026-11-21"),
    "a time without WAL": Wrong("name its directory", wal=lambda *_: None, until=lambda life: life.earlier.isoformat()),
    "a time before the backup": Wrong("Take an earlier", until=lambda life: "2026-01-01T00:00:00Z"),
    "a time beyond WAL": Wrong("without --until all of it", until=lambda life: "2100-01-01T00:00:00Z"),
}


def invoked(home: Path, *arguments: str, **more: str) -> Result:
    others = dict.fromkeys(VARIABLES.values(), None)
    return CliRunner().invoke(commands, arguments, env=others | {"LEDGER_HOME": str(home), **more})


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_restore_that_cannot_be_whole_leaves_nothing(life: Life, empty: Path, wrong: Wrong):
    wal, until = wrong.wal(life, empty), wrong.until(life)
    arguments = [] if wal is None else ["--wal", str(wal)]
    arguments += [] if until is None else ["--until", until]
    ended = invoked(empty / "new", "restore", str(wrong.backup(life, empty)), *arguments)
    assert (ended.exit_code, wrong.said in ended.output) == (2, True), ended.output
    assert not (empty / "new").exists()


def test_a_home_with_a_database_and_a_directory_that_exists_are_left_as_they_are(life: Life, empty: Path):
    before = sorted(life.home.rglob("*"))
    for arguments, said in (
        (("restore", str(life.backup)), "has a database"),
        (("backup", str(life.wal)), "never writes over anything"),
        (("backup", str(life.home / "database" / "backup")), "inside the database itself"),
    ):
        ended = invoked(life.home, *arguments)
        assert (ended.exit_code, said in ended.output) == (2, True), ended.output
    assert sorted(life.home.rglob("*")) == before
    for more, said in (
        ({}, "There is no database in"),
        ({"LEDGER_DATABASE_URL": "postgresql://nobody@/none"}, "tools of your own PostgreSQL"),
        ({"LEDGER_PORT": "none"}, "LEDGER_PORT"),
    ):
        ended = invoked(empty / "new", "backup", str(empty / "made"), **more)
        assert (ended.exit_code, said in ended.output) == (2, True), ended.output
    assert not any(empty.iterdir())
