"""Digests of read models as they are published: what they say, when, by whom, and what becomes of them in faults."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest
import structlog

from schemas.envelope import Recorded
from schemas.times import format_time
from services.kept_outside import KeptOutside
from services.ledger.history import accept
from services.migrate import make_ledger
from services.postgres import connect
from services.projector import digest, publisher
from services.projector.projections import ALL, Projection
from services.projector.projections.requirements import PROJECTION as REQUIREMENTS
from services.projector.projector import Projector
from services.projector.publisher import LOCK, Publisher
from services.projector.rebuild import rebuild
from services.projector.runner import Stopped
from services.proof.note import VerifierKey
from services.proof.published import PublishedDigest, digests_origin
from services.signing import SigningKeys
from services.statements import Statements
from services.tree import Tree
from tests.checkpoints import sign
from tests.conftest import Database
from tests.importing import processes
from tests.log import Log
from tests.readmodels import NAMES, digests, mixed, reached, ready

SECONDS_MAX = 30.0
SECONDS = 0.02


@pytest.fixture
def outside(tmp_path: Path) -> KeptOutside:
    return KeptOutside(tmp_path / "outside", "main")


@pytest.fixture
def keys(database: Database) -> SigningKeys:
    return SigningKeys.load(database.settings.projector_signing_key)


@pytest.fixture
async def auditor(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(database.auditor)
    yield connection
    await connection.close()


@pytest.fixture
async def origin(auditor: asyncpg.Connection) -> str:
    return str(await auditor.fetchval("SELECT origin FROM registry.ledgers WHERE name = 'main'"))


async def record(database: Database, count: int, begun: int = 0) -> int:
    """Record events of all kinds, and wait until the read models have them; the head."""
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(begun + count)[begun:])
        runner = await projector.ledger("main")
        await ready(projector)
        await reached(runner, begun + count)
    return begun + count


def publishing(database: Database, keys: SigningKeys, outside: KeptOutside, seconds: float = SECONDS) -> Publisher:
    return Publisher(database.projector, keys, lambda _: outside, seconds)


async def published_at(
    connection: asyncpg.Connection, position: int, names: tuple[str, ...] = NAMES
) -> list[asyncpg.Record]:
    """The digests of these read models at a position, once all of them are published."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            rows: list[asyncpg.Record] = await connection.fetch(
                "SELECT * FROM ledger_main.digests WHERE position = $1 AND projection = ANY($2) ORDER BY projection",
                position,
                names,
            )
            if len(rows) >= len(names):
                return rows
            await asyncio.sleep(0.02)


async def test_a_digest_is_published_as_a_signed_note_inside_and_outside(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside, origin: str
):
    head = await record(database, 300)
    recorded_at = await auditor.fetchval(
        "SELECT recorded_at FROM ledger_main.stored_events WHERE notification_id = $1", head
    )
    async with publishing(database, keys, outside):
        rows = await published_at(auditor, head)
    assert {row["projection"]: row["digest"] for row in rows} == await digests(database, head)
    known = [signer.key for signer in keys.signers(digests_origin(origin))]
    versions = {projection.name: projection.version for projection in ALL}
    for row in rows:
        name = row["projection"]
        meant = PublishedDigest(origin, name, versions[name], head, format_time(recorded_at), row["digest"])
        assert PublishedDigest.verified(row["note"].encode(), origin, known) == meant
    assert sorted(path.read_text() for path in outside.digests()) == sorted(row["note"] for row in rows)
    listed = await auditor.fetch("SELECT key FROM ledger_main.digest_keys")
    assert [row["key"] for row in listed] == [str(key) for key in known]


async def test_nothing_is_read_for_a_digest_before_all_have_caught_up(
    database: Database,
    auditor: asyncpg.Connection,
    keys: SigningKeys,
    outside: KeptOutside,
    monkeypatch: pytest.MonkeyPatch,
):
    began, begin, read = asyncio.Event(), asyncio.Event(), []
    really = digest.read_on

    async def noted(*given: Any) -> None:
        read.append(begin.is_set())
        await really(*given)

    async def caught_up() -> None:
        began.set()
        await begin.wait()

    monkeypatch.setattr(publisher, "read_on", noted)
    head = await record(database, 300)
    async with Publisher(database.projector, keys, lambda _: outside, SECONDS, begin=caught_up):
        async with asyncio.timeout(SECONDS_MAX):
            await began.wait()
        assert not await auditor.fetchval("SELECT count(*) FROM ledger_main.digests")
        begin.set()
        await published_at(auditor, head)
    assert read
    assert all(read)


async def test_a_long_log_is_read_in_parts_with_longer_rests_in_between(
    database: Database,
    auditor: asyncpg.Connection,
    keys: SigningKeys,
    outside: KeptOutside,
    monkeypatch: pytest.MonkeyPatch,
):
    parts: list[tuple[int, int, float, float]] = []
    really = digest.read_on

    async def noted(
        connection: asyncpg.Connection, schema: str, projection: Projection, running: object, after: int, upto: int
    ) -> None:
        begun = time.monotonic()
        await asyncio.sleep(0.1)
        await really(connection, schema, projection, running, after, upto)  # type: ignore[arg-type]
        parts.append((after, upto, begun, time.monotonic()))

    monkeypatch.setattr(publisher, "read_on", noted)
    monkeypatch.setattr(publisher, "POSITIONS_AT_ONCE", 50)
    head = await record(database, 130)
    async with publishing(database, keys, outside):
        rows = await published_at(auditor, head)
    assert {row["projection"]: row["digest"] for row in rows} == await digests(database, head)
    assert [each[:2] for each in parts] == [(0, 50), (50, 100), (100, head)] * len(NAMES)
    for (_, upto, begun, ended), (after, _, goes_on, _) in pairwise(parts):
        if upto == after:
            assert goes_on - ended > 2 * (ended - begun), "whoever asks has more of the time than a digest"


async def test_only_what_has_moved_is_published_and_only_what_is_new_is_read(
    database: Database,
    auditor: asyncpg.Connection,
    keys: SigningKeys,
    outside: KeptOutside,
    monkeypatch: pytest.MonkeyPatch,
):
    read: list[tuple[int, int]] = []
    really = digest.read_on

    async def noted(
        connection: asyncpg.Connection, schema: str, projection: Projection, running: object, after: int, upto: int
    ) -> None:
        read.append((after, upto))
        await really(connection, schema, projection, running, after, upto)  # type: ignore[arg-type]

    looks, look = 0, Publisher._publish_due

    async def counted(*given: Any) -> None:
        nonlocal looks
        await look(*given)
        looks += 1

    monkeypatch.setattr("services.projector.publisher.read_on", noted)
    monkeypatch.setattr(Publisher, "_publish_due", counted)
    head = await record(database, 130)
    async with publishing(database, keys, outside):
        await published_at(auditor, head)
        assert read == [(0, head)] * len(NAMES)
        more = await record(database, 26, head)
        await published_at(auditor, more)
        assert read[len(NAMES) :] and all(after >= head for after, _ in read[len(NAMES) :])
        positions = await auditor.fetch("SELECT DISTINCT position FROM ledger_main.digests")
        count = await auditor.fetchval("SELECT count(*) FROM ledger_main.digests")
        enough = looks + 3
        async with asyncio.timeout(SECONDS_MAX):
            while looks < enough:
                await asyncio.sleep(SECONDS)
        assert await auditor.fetchval("SELECT count(*) FROM ledger_main.digests") == count
        assert {row["position"] for row in positions} >= {head, more}
    assert (await digests(database, more)).items() == {
        row["projection"]: row["digest"] for row in await published_at(auditor, more)
    }.items()


# Rebuilt, stopped, of another version


async def test_a_digest_is_the_same_after_a_rebuild_and_what_was_amiss_in_the_tables_is_gone(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    head = await record(database, 130)
    grown = await digests(database, head)
    hand = await connect(database.projector)
    async with publishing(database, keys, outside):
        await published_at(auditor, head)
        # The publisher has seen these rows, and holds what they come to; then others take their place.
        await hand.execute("UPDATE ledger_main.asks SET channel = 'changed' WHERE position = $1", 4)
        for projection in ALL:
            assert (await rebuild(hand, "main", projection)).trouble is None
        assert await digests(database, head) == grown
        more = await record(database, 13, head)
        rows = await published_at(auditor, more)
    await hand.close()
    assert {row["projection"]: row["digest"] for row in rows} == await digests(database, more)


async def test_a_read_model_that_is_damaged_before_it_is_read_has_another_digest_until_it_is_rebuilt(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    head = await record(database, 130)
    [requirements] = [projection for projection in ALL if projection.name == "requirements"]
    good = (await digests(database, head))["requirements"]
    hand = await connect(database.projector)
    await hand.execute("UPDATE ledger_main.asks SET channel = 'changed' WHERE position = $1", 4)
    async with publishing(database, keys, outside):
        [row] = await published_at(auditor, head, ("requirements",))
        assert row["digest"] != good
        await rebuild(hand, "main", requirements)
        more = await record(database, 13, head)
        [row] = await published_at(auditor, more, ("requirements",))
        assert row["digest"] == (await digests(database, more))["requirements"]
    await hand.close()
    assert (await digests(database, head))["requirements"] == good


async def test_another_version_of_a_read_model_has_digests_of_its_own(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    head = await record(database, 130)
    async with publishing(database, keys, outside):
        [first] = await published_at(auditor, head, ("requirements",))

    def shouting(recorded: Recorded) -> Any:
        for table, (position, requirement, *rest) in REQUIREMENTS.fold(recorded):
            yield table, (position, requirement.upper() + "!", *rest)

    another = msgspec.structs.replace(REQUIREMENTS, version="a0ther", fold=shouting)
    projections = tuple(another if each is REQUIREMENTS else each for each in ALL)
    others = tuple(name for name in NAMES if name != "requirements")
    async with Log.open(database) as log, Projector(database.settings, projections=projections) as projector:
        runner = await projector.ledger("main")
        async with asyncio.timeout(SECONDS_MAX):
            while runner.cursors["requirements"].version != "a0ther":
                runner.wake()
                await asyncio.sleep(0.01)
        async with Publisher(database.projector, keys, lambda _: outside, SECONDS, projections=projections):
            [newer] = await published_at_version(auditor, "a0ther")
        assert (newer["position"], newer["digest"] != first["digest"]) == (head, True)
        # The older one leaves what the newer one has built alone.
        async with publishing(database, keys, outside):
            await log.append(*mixed(13))
            await reached(runner, head + 13)
            await published_at(auditor, head + 13, others)
    kept = await auditor.fetch(
        "SELECT version, position, digest FROM ledger_main.digests WHERE projection = 'requirements' ORDER BY version"
    )
    assert {(row["version"], row["position"]) for row in kept} == {(first["version"], head), ("a0ther", head)}


async def published_at_version(connection: asyncpg.Connection, version: str) -> list[asyncpg.Record]:
    """The digests of this version of a read model, once there are any."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            if rows := await connection.fetch("SELECT * FROM ledger_main.digests WHERE version = $1", version):
                return list(rows)
            await asyncio.sleep(0.02)


async def test_of_a_read_model_that_has_stopped_the_digest_where_it_stands_is_published_once(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    def failing(recorded: Recorded) -> Any:
        if recorded.position > 50:
            raise ValueError("never")
        return REQUIREMENTS.fold(recorded)

    stopping = tuple(msgspec.structs.replace(each, fold=failing) if each is REQUIREMENTS else each for each in ALL)
    async with (
        Log.open(database) as log,
        Projector(database.settings, projections=stopping) as projector,
        publishing(database, keys, outside),
    ):
        await log.append(*mixed(104))
        runner = await projector.ledger("main")
        with pytest.raises(Stopped):
            await reached(runner, 104, "requirements")
        stands = runner.cursors["requirements"].position
        others = tuple(name for name in NAMES if name != "requirements")
        await published_at(auditor, stands, ("requirements",))
        await log.append(*mixed(13))
        await published_at(auditor, 117, others)
    positions = await auditor.fetch("SELECT position FROM ledger_main.digests WHERE projection = 'requirements'")
    assert max(row["position"] for row in positions) == stands < 104


# Several, and faults


async def test_one_of_several_publishes_and_another_takes_over(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside, tmp_path: Path
):
    head = await record(database, 26)
    elsewhere = KeptOutside(tmp_path / "elsewhere", "main")
    async with AsyncExitStack() as first:
        await first.enter_async_context(publishing(database, keys, elsewhere))
        await published_at(auditor, head)
        async with publishing(database, keys, outside):
            head = await record(database, 13, head)
            await published_at(auditor, head)
            assert len(await holders(auditor)) == 1 and [*outside.digests()] == []
            await first.aclose()
            head = await record(database, 13, head)
            await published_at(auditor, head)
    kept = [*outside.digests(), *elsewhere.digests()]
    assert len(kept) == await auditor.fetchval("SELECT count(*) FROM ledger_main.digests")
    assert len([*outside.digests()]) >= len(NAMES)


async def holders(connection: asyncpg.Connection) -> list[int]:
    """The processes that hold the lock of who publishes."""
    rows = await connection.fetch(
        "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        LOCK,
    )
    return [row["pid"] for row in rows]


async def test_no_more_than_one_digest_is_due_in_an_interval_whoever_publishes(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    head = await record(database, 26)
    async with publishing(database, keys, outside, 3_600):
        await published_at(auditor, head)
    await record(database, 13, head)
    due = Statements.load(Path(publisher.__file__).with_suffix(".sql")).bind(schema="ledger_main")["due"]
    ours = [each.name for each in ALL], [each.version for each in ALL]
    assert await auditor.fetch(due, *ours, 3_600) == []
    assert {row["projection"] for row in await auditor.fetch(due, *ours, 0)} == {*NAMES}


async def test_a_digest_that_cannot_be_kept_outside_is_not_kept_inside(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, tmp_path: Path
):
    head = await record(database, 26)
    place = tmp_path / "outside"
    place.write_text("no directory")
    with structlog.testing.capture_logs() as said:
        async with publishing(database, keys, KeptOutside(place, "main")):
            async with asyncio.timeout(SECONDS_MAX):
                while sum(line["event"] == "no_digest_published" for line in said) < 2:
                    await asyncio.sleep(0.01)
            assert await auditor.fetch("SELECT FROM ledger_main.digests") == []
            place.unlink()
            await published_at(auditor, head)


async def test_what_is_wrong_with_one_ledger_holds_up_no_other(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside, tmp_path: Path
):
    owner = await connect(database.owner)
    await make_ledger(owner, database.settings, "beside")
    async with Projector(database.settings) as projector:
        await projector.ledger("beside")
    await owner.execute(f'REVOKE ALL ON "ledger_beside".digest_keys FROM {urlsplit(database.projector).username}')
    await owner.close()
    head = await record(database, 26)
    with structlog.testing.capture_logs() as said:
        async with publishing(database, keys, outside):
            await published_at(auditor, head)
            head = await record(database, 13, head)
            await published_at(auditor, head)
    assert any(line.get("ledger") == "beside" and "permission denied" in line["reason"] for line in said)


async def test_a_key_that_is_none_holds_up_no_digest(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    """It may be there from before keys had to have their form; the auditor tells of it."""
    owner = await connect(database.owner)
    await owner.execute("ALTER TABLE ledger_main.digest_keys DROP CONSTRAINT digest_keys_have_their_form")
    await owner.execute("INSERT INTO ledger_main.digest_keys VALUES ('garbage', 'epoch')")
    await owner.close()
    head = await record(database, 26)
    async with publishing(database, keys, outside):
        await published_at(auditor, head)


async def test_a_digest_that_a_killed_projector_has_left_outside_alone_is_kept_inside_by_the_next(
    database: Database, auditor: asyncpg.Connection, tmp_path: Path
):
    head = await record(database, 26)
    outside = KeptOutside(database.settings.checkpoints_place, "main")
    hand = await connect(database.superuser)
    stuck = hand.transaction()
    await stuck.start()
    await hand.execute("LOCK TABLE ledger_main.digests IN EXCLUSIVE MODE")
    process = await projector_process(database)
    try:
        async with asyncio.timeout(SECONDS_MAX):
            while not [*outside.digests()]:
                await asyncio.sleep(0.02)
    finally:
        process.kill()
        await process.wait()
    await stuck.rollback()
    [left] = [path.read_text() for path in outside.digests()]
    assert await auditor.fetch("SELECT FROM ledger_main.digests") == []
    # The log goes on, so that the next one has nothing to publish of this position.
    more = await record(database, 13, head)
    process = await projector_process(database)
    try:
        await published_at(auditor, more)
    finally:
        process.terminate()
        await process.wait()
    await hand.close()
    rows = await auditor.fetch("SELECT position, note FROM ledger_main.digests")
    assert [row["note"] for row in rows if row["position"] == head] == [left]
    assert sorted(path.read_text() for path in outside.digests()) == sorted(row["note"] for row in rows)


async def test_nothing_is_published_of_a_log_in_doubt_until_somebody_has_said_what_happened(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside, origin: str
):
    head = await record(database, 26)
    writer = await connect(database.writer)
    await sign(writer)
    await writer.close()
    signing = SigningKeys.load(database.settings.signing_key)
    edge = await Tree("main").edge(auditor, head)

    async def waits(why: str) -> None:
        with structlog.testing.capture_logs() as said:
            async with publishing(database, keys, outside), asyncio.timeout(SECONDS_MAX):
                while not any(line["event"] == "no_digest_published" and why in line["reason"] for line in said):
                    await asyncio.sleep(0.01)
        assert await auditor.fetch("SELECT FROM ledger_main.digests") == [] == [*outside.digests()]

    await waits("none is kept outside the database")
    outside.keep(head + 1, "of the log before it was restored")
    await waits(f"the log has {head} events, and")
    outside.begin_anew("0002", "nobody has to have signed it for this, since the ledger checks that")
    async with publishing(database, keys, outside):
        await published_at(auditor, head)
    (Path(str(outside.last_digests()[0])).parents[2] / "0003").mkdir()
    with structlog.testing.capture_logs() as said:
        async with publishing(database, keys, outside), asyncio.timeout(SECONDS_MAX):
            while not any("the series 0003 of checkpoints" in str(line.get("reason")) for line in said):
                await asyncio.sleep(0.01)
    await accept(outside, origin, signing, edge=edge, reason="restored", by="a test")
    more = await record(database, 13, head)
    async with publishing(database, keys, outside):
        await published_at(auditor, more)
    assert all("/0004/" in str(file) for file in outside.digests())


async def test_digests_of_events_that_the_log_does_not_have_are_not_taken_from_outside(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside, origin: str
):
    """They were kept after the moment to which the database was put back."""
    head = await record(database, 26)
    at = await auditor.fetchval(
        "SELECT recorded_at FROM ledger_main.stored_events WHERE notification_id = $1", head - 1
    )
    for position, recordedtime in (
        (head - 1, format_time(at)),
        (head - 2, "2026-01-01T00:00:00.000000Z"),
        (head + 1, "2026-01-01T00:00:00.000000Z"),
    ):
        left = PublishedDigest(origin, "requirements", "a0", position, recordedtime, "0" * 64)
        outside.keep_digest(position, *left[1:3], str(left.signed(keys.signers(digests_origin(origin)))))
    async with publishing(database, keys, outside):
        await published_at(auditor, head)
    taken = await auditor.fetch("SELECT position FROM ledger_main.digests WHERE version = 'a0'")
    assert [row["position"] for row in taken] == [head - 1]


async def projector_process(database: Database) -> asyncio.subprocess.Process:
    environ = os.environ | database.settings.environ() | {"PROJECTOR_DIGEST_SECONDS": "1"}
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "services.projector", env=environ)


async def test_the_projector_publishes_and_shows_what_it_published(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, origin: str
):
    settings = msgspec.structs.replace(database.settings, digest_seconds=1)
    async with processes(settings, "ledger", "projector") as asking:
        before = (await asking.get("projector", "/projections"))["projections"]
        assert {(row["digest"], row["digest_position"], row["digest_note"]) for row in before} == {(None, None, None)}
        async with Log.open(database) as log:
            await log.append(*mixed(26))
        rows = {row["projection"]: row for row in await published_at(auditor, 26)}
        for shown in (await asking.get("projector", "/projections"))["projections"]:
            row = rows[shown["projection"]]
            assert (shown["digest"], shown["digest_position"], shown["digest_note"]) == (row["digest"], 26, row["note"])
        # A key under the name of those of checkpoints, which whoever asks would take for one of them.
        [posing] = keys.signers(origin)
        projector = await connect(database.projector)
        posed = "INSERT INTO ledger_main.digest_keys VALUES ($1, clock_timestamp())"
        await projector.execute(posed, str(posing.key))
        await projector.close()
        async with asking.session.get(f"{asking.urls['ledger']}/v1/ledgers/main/key") as answer:
            listed = (await answer.text()).splitlines()
        assert listed[-1] == str(keys.signers(digests_origin(origin))[0].key)
        assert all(VerifierKey.read(line).name == origin for line in listed[:-1])
        assert str(posing.key) not in listed


async def test_a_projector_without_its_key_says_what_to_do_and_one_that_publishes_nothing_needs_none(
    database: Database, auditor: asyncpg.Connection
):
    await record(database, 13)
    database.settings.projector_signing_key.unlink()
    environ = os.environ | database.settings.environ()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.projector", env=environ, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(SECONDS_MAX):
        _, said = await process.communicate()
    assert process.returncode == os.EX_CONFIG
    assert b"projector-signing.key cannot be read" in said and b"`ledger migrate` makes one" in said
    silent = msgspec.structs.replace(database.settings, digest_seconds=0)
    async with processes(silent, "projector") as asking:
        await asking.get("projector", "/requirements", at_least=13)
        assert await holders(auditor) == []


# Who may write it


async def test_digests_are_added_by_the_projector_and_never_changed(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    head = await record(database, 13)
    async with publishing(database, keys, outside):
        await published_at(auditor, head)
    before = await auditor.fetch("SELECT * FROM ledger_main.digests ORDER BY projection")
    rewrites = {
        f"{name} {table}": statement.format(table=f"ledger_main.{table}", column=column)
        for table, column in {"digests": "note", "digest_keys": "key"}.items()
        for name, statement in {
            "update": "UPDATE {table} SET {column} = 'x'",
            "update of nothing": "UPDATE {table} SET {column} = 'x' WHERE false",
            "delete": "DELETE FROM {table}",
            "truncate": "TRUNCATE {table}",
        }.items()
    }
    inserts = (
        "INSERT INTO ledger_main.digests SELECT projection, version, 1, digest, note, made_at FROM ledger_main.digests",
        "INSERT INTO ledger_main.digest_keys SELECT 'another', known_from FROM ledger_main.digest_keys",
    )
    for url, expected in (
        (database.writer, asyncpg.InsufficientPrivilegeError),
        (database.projector, asyncpg.InsufficientPrivilegeError),
        (database.auditor, asyncpg.InsufficientPrivilegeError),
        (database.owner, asyncpg.RestrictViolationError),
        (database.superuser, asyncpg.RestrictViolationError),
    ):
        connection = await connect(url)
        if url == database.superuser:
            await connection.execute("SET session_replication_role = replica")
        for name, rewrite in rewrites.items():
            with pytest.raises(expected):
                await connection.execute(rewrite)
                pytest.fail(name)
        if url in (database.writer, database.auditor):
            for insert in inserts:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(insert)
        await connection.close()
    assert await auditor.fetch("SELECT * FROM ledger_main.digests ORDER BY projection") == before


async def test_a_key_of_digests_is_one_word(database: Database):
    """They are listed after those of checkpoints, a line each: nobody may smuggle in another line."""
    projector = await connect(database.projector)
    for key in ("a\nledger.example/main+00000000+AA==", "a b", "", "a\r", "garbage"):
        with pytest.raises(asyncpg.CheckViolationError):
            await projector.execute("INSERT INTO ledger_main.digest_keys VALUES ($1, clock_timestamp())", key)
    await projector.close()
