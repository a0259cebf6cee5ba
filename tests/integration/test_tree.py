"""The tree in a real database: integrated by one process at a time, whatever happens to it; and what a log that does
not go on from where it was is told."""

import asyncio
import shutil
import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import pytest
import structlog
from structlog.testing import capture_logs

from services.kept_outside import GoingOn, KeptOutside, store_of
from services.ledger import integrator
from services.ledger.history import Doubt, Extended, History, accept, accept_history, check
from services.ledger.integrator import LOCK, Integrator, _Growing
from services.migrate import migrate
from services.postgres import connect
from services.proof.checkpoint import Checkpoint
from services.proof.growth import Edge
from services.proof.merkle import EMPTY_ROOT, Leaves, Subtree, fold, hash_of, inclusion, leaf_hash, verify_inclusion
from services.proof.note import Note
from services.proof.tiles import ENTRIES, Tile, split_bundle, split_hashes
from services.signing import SigningKeys
from services.tree import Tree
from tests.conftest import Database
from tests.ledger_process import LedgerProcess
from tests.log import Log, event
from tests.readmodels import until
from tests.tiles import tiles_of

SECONDS_MAX = 30.0
ORIGIN = "ledger.example/main"
AT_ONCE = 500
LEVELS_READ_MAX = 3
"""Levels of tiles in a tree of 256² to 256³ leaves."""


@pytest.fixture
def outside(tmp_path: Path) -> KeptOutside:
    return KeptOutside(tmp_path, "main")


@pytest.fixture
async def auditor(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await connect(database.auditor)
    yield connection
    await connection.close()


@pytest.fixture
def keys(database: Database) -> SigningKeys:
    return SigningKeys.load_or_make(database.settings.signing_key)


async def record(database: Database, count: int) -> None:
    async with Log.open(database) as log:
        for begun in range(0, count, AT_ONCE):
            await log.append(
                *(
                    event("ask.recorded", requirement="R", ask=f"a-{number}", account="acme", importance=1)
                    for number in range(begun, min(count, begun + AT_ONCE))
                )
            )


@asynccontextmanager
async def integrating(database: Database, keys: SigningKeys, outside: KeptOutside) -> AsyncIterator[None]:
    async def ledgers() -> Sequence[tuple[str, str]]:
        return [("main", ORIGIN)]

    async with Integrator(database.writer, ledgers, keys, lambda _: outside):
        yield


async def checkpoint_at(connection: asyncpg.Connection, size: int) -> Checkpoint:
    """The last checkpoint, once it has so many leaves."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            kept = await Tree("main").last_checkpoint(connection)
            if kept is not None and kept.size >= size:
                return Checkpoint.read(Note.read(kept.note.encode()).text)
            await asyncio.sleep(0.02)


async def entries(connection: asyncpg.Connection) -> list[bytes]:
    rows = await connection.fetch("SELECT state FROM ledger_main.stored_events ORDER BY notification_id")
    return [row["state"] for row in rows]


def root_of(leaves: Sequence[bytes], size: int) -> bytes:
    def whole(subtree: Subtree) -> bytes:
        first = subtree.number << subtree.height
        return fold(leaves[first : first + (1 << subtree.height)])

    return hash_of(Leaves(0, size), whole)


async def test_checkpoints_are_of_the_stored_bytes(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    async with integrating(database, keys, outside):
        for more in (1, 255, 1, 600):
            await record(database, more)
            head = await auditor.fetchval("SELECT max(notification_id) FROM ledger_main.stored_events")
            checkpoint = await checkpoint_at(auditor, head)
            leaves = [leaf_hash(entry) for entry in await entries(auditor)]
            assert (checkpoint.size, checkpoint.origin) == (head, ORIGIN)
            assert checkpoint.root == root_of(leaves, head)
    kept = [path.read_text() for path in outside.every()]
    inside = await auditor.fetch("SELECT note FROM ledger_main.checkpoints ORDER BY size")
    assert kept == [row["note"] for row in inside] and len(kept) >= 4
    for note in kept:
        Checkpoint.verified(note.encode(), ORIGIN, [signer.key for signer in keys.signers(ORIGIN)])
        checkpoint = Checkpoint.read(Note.read(note.encode()).text)
        assert checkpoint.root == root_of(leaves, checkpoint.size)


async def test_every_tile_of_every_size_and_every_proof_follow_from_few_reads(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    await record(database, 1_300)
    async with integrating(database, keys, outside):
        await checkpoint_at(auditor, 1_300)
    tree, stored = Tree("main"), await entries(auditor)
    leaves = [leaf_hash(entry) for entry in stored]
    for size in (1, 2, 255, 256, 257, 1_024, 1_299, 1_300):
        for tile in tiles_of(size):
            hashes = split_hashes(await tree.tile(auditor, tile))
            step = 256**tile.level
            assert hashes == [fold(leaves[at : at + step]) for at in range(tile.start, tile.end, step)]
        for leaf in {0, size // 2, size - 1}:
            path = await tree.hashes(auditor, inclusion(leaf, size), size)
            verify_inclusion(leaves[leaf], leaf, size, path, root_of(leaves, size))
    assert split_bundle(await tree.tile(auditor, Tile(ENTRIES, 1, 7))) == stored[256:263]
    assert split_bundle(await tree.tile(auditor, Tile(ENTRIES, 4))) == stored[1_024:1_280]
    assert (await tree.edge(auditor, 0)).root == EMPTY_ROOT


PLANNED_ROWS_MAX = 4


class Read(NamedTuple):
    statements: int
    rows: int
    """That were read from tables of the ledger, by whatever plan."""


async def reading(connection: asyncpg.Connection, work: Callable[[], Awaitable[object]]) -> Read:
    """What work reads, as PostgreSQL counts it: nobody else on the machine changes that."""
    counted = (
        "SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_user_tables"
        " WHERE schemaname = 'ledger_main'"
    )
    statements: list[str] = []
    async with connection.transaction():
        before = await connection.fetchval(counted)
        with connection.query_logger(lambda record: statements.append(record.query)):
            await work()
        return Read(len(statements), await connection.fetchval(counted) - before)


async def lengthen(database: Database, until: int) -> None:
    """Give the log as many rows as it needs for its length, with leaf hashes as good as any."""
    writer = await connect(database.writer)
    await writer.execute(
        "INSERT INTO ledger_main.stored_events (originator_id, originator_version, topic, state, notification_id,"
        " event_id, subject, source, recorded_at, sealed, content, leaf_hash)"
        " SELECT gen_random_uuid(), 1, 'ledger.ask.recorded.v1', '', n, gen_random_uuid(), 'requirement/R', 'urn:test',"
        " clock_timestamp(), false, sha256(''), sha256(int8send(n)) FROM generate_series("
        "(SELECT coalesce(max(notification_id), 0) + 1 FROM ledger_main.stored_events), $1::bigint) AS n",
        until,
    )
    await writer.close()


async def test_what_leaves_and_proofs_cost_does_not_depend_on_the_length_of_the_log(
    database: Database, auditor: asyncpg.Connection
):
    tree, more, short = Tree("main"), 300, 1_000
    writer = await connect(database.writer)
    integrated, proven = {}, {}
    for size in (short, short + 256**2):  # The longer one has its full tiles beyond what the shorter has.
        await lengthen(database, size)
        growing = await _Growing.begin(writer, tree)
        await growing.go_on(writer)
        taken_over = await reading(writer, partial(_Growing.begin, writer, tree))
        await lengthen(database, size + more)
        integrated[size] = (taken_over, await reading(writer, partial(growing.go_on, writer)))
        assert growing.edge.size == size + more
        # A table of a few pages is read whole whatever is asked of it; what grows is what is read by an index.
        await auditor.execute("SET enable_seqscan = off")
        await tree.hashes(auditor, inclusion(0, size), size)  # The driver asks about types once.
        proofs = []
        for leaf in (0, size // 3, size - 1, size + more - 1):
            wanted = inclusion(leaf, size + more)
            proofs.append(await reading(auditor, partial(tree.hashes, auditor, wanted, size + more)))
        proven[size] = proofs
    await writer.close()

    for taken_over, grown in integrated.values():
        # Whoever plans may look up the ends of an index besides, where there are statistics.
        assert grown.statements == 1 and more <= grown.rows <= more + PLANNED_ROWS_MAX
        assert taken_over.statements <= 2 + LEVELS_READ_MAX and taken_over.rows <= LEVELS_READ_MAX * 256
    for proofs in proven.values():
        # Full tiles in one go, and of each level the one that is not full: at most 255 hashes of it.
        assert all(each.statements <= 1 + LEVELS_READ_MAX for each in proofs)
        assert all(each.rows <= LEVELS_READ_MAX * 256 for each in proofs)
    # As many hashes of tiles that are not full in either; what is more is a tile of the level that the longer one adds.
    few, many = (max(each.rows for each in proofs) for proofs in proven.values())
    assert many <= few + LEVELS_READ_MAX + PLANNED_ROWS_MAX


async def test_what_was_integrated_stays_as_it_is(database: Database, keys: SigningKeys, outside: KeptOutside):
    await record(database, 300)
    auditor = await connect(database.auditor)
    async with integrating(database, keys, outside):
        await checkpoint_at(auditor, 300)
    await auditor.close()
    owner = await connect(database.owner)
    for change in (
        "UPDATE ledger_main.tree_tiles SET number = 7",
        "DELETE FROM ledger_main.tree_tiles",
        "UPDATE ledger_main.checkpoints SET note = ''",
        "TRUNCATE ledger_main.checkpoints",
        "DELETE FROM ledger_main.verifier_keys",
    ):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await owner.execute(change)
    await owner.close()


async def test_one_process_integrates_and_another_takes_over(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    holder = await connect(database.writer)
    assert await holder.fetchval("SELECT pg_try_advisory_lock($1)", LOCK)
    await record(database, 20)
    async with integrating(database, keys, outside), integrating(database, keys, outside):
        tried = (
            "SELECT count(*) = 2 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND state = 'idle' AND query LIKE 'SELECT pg_try_advisory_lock(%'"
        )
        await until(lambda: holder.fetchval(tried))
        assert await Tree("main").last_checkpoint(auditor) is None  # Somebody else has it.
        await holder.close()
        assert (await checkpoint_at(auditor, 20)).size == 20
        await record(database, 300)
        leaves = [leaf_hash(entry) for entry in await entries(auditor)]
        assert (await checkpoint_at(auditor, 320)).root == root_of(leaves, 320)
    assert len([*outside.every()]) == await auditor.fetchval("SELECT count(*) FROM ledger_main.checkpoints")


async def test_what_is_wrong_with_one_ledger_holds_up_no_other(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, tmp_path: Path
):
    await migrate(database.settings, ledgers=("main", "other"))
    await record(database, 300)
    async with Log.open(database, "other") as log:
        await log.append(event("ask.recorded", requirement="R", ask="a", account="acme", importance=1))
    owner = await connect(database.owner)
    octets = bytes(32), bytes(8192)
    await owner.execute("INSERT INTO ledger_main.tree_tiles VALUES (0, 7, $1, $2)", *octets)  # Where none can be.
    await owner.execute("INSERT INTO ledger_main.tree_tiles VALUES (1, 0, $1, $2)", *octets)
    await owner.close()

    async def ledgers() -> Sequence[tuple[str, str]]:
        return [("main", ORIGIN), ("other", "ledger.example/other")]

    async with Integrator(database.writer, ledgers, keys, lambda name: KeptOutside(tmp_path, name)):
        async with asyncio.timeout(SECONDS_MAX):
            while await Tree("other").last_checkpoint(auditor) is None:
                await asyncio.sleep(0.05)


async def test_killed_at_any_moment_it_goes_on_with_the_same_tree(database: Database, auditor: asyncpg.Connection):
    async with aiohttp.ClientSession() as session:
        process = LedgerProcess(database.settings)
        try:
            for round in range(4):
                await process.ready(session)
                writing = asyncio.create_task(record(database, 700))
                await asyncio.sleep(0.15 * round)
                process.process.send_signal(signal.SIGKILL)
                process.process.wait()
                await writing
                process.start()
            await process.ready(session)
            checkpoint = await checkpoint_at(auditor, 2_800)
        finally:
            process.end()
    leaves = [leaf_hash(entry) for entry in await entries(auditor)]
    assert checkpoint.root == root_of(leaves, 2_800)
    directory = KeptOutside(store_of(database.settings), "main")
    for path in directory.every():
        kept = Checkpoint.read(Note.read(path.read_bytes()).text)
        assert kept.root == root_of(leaves, kept.size)
    rows = await auditor.fetch("SELECT level, number, hash, hashes FROM ledger_main.tree_tiles")
    for row in rows:
        assert row["hash"] == fold(split_hashes(row["hashes"]))
    full = [tile for tile in tiles_of(2_800) if tile.width == 256]
    assert {(row["level"], row["number"]) for row in rows} == {(tile.level, tile.number) for tile in full}


async def cut(database: Database, after: int) -> None:
    """Make the log shorter, as a restore to an earlier time does."""
    superuser = await connect(database.superuser)
    await superuser.execute("SET session_replication_role = replica")
    for table in ("stored_events", "sealing_keys", "tree_tiles", "checkpoints"):
        await superuser.execute(f"ALTER TABLE ledger_main.{table} DISABLE TRIGGER ALL")
    await superuser.execute("DELETE FROM ledger_main.stored_events WHERE notification_id > $1", after)
    await superuser.execute("DELETE FROM ledger_main.tree_tiles WHERE (number + 1) * 256 > $1", after)
    await superuser.execute("DELETE FROM ledger_main.checkpoints WHERE size > $1", after)
    await superuser.execute("ALTER TABLE ledger_main.stored_events ENABLE ALWAYS TRIGGER stored_events_leave_no_gap")
    await superuser.close()


async def test_a_log_that_is_shorter_than_it_was_takes_no_writes_until_somebody_says_why(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys
):
    ask = event("ask.recorded", requirement="R", ask="late", account="acme", importance=1)
    async with aiohttp.ClientSession() as session:
        process = LedgerProcess(database.settings)
        url = f"{process.url}/v1/ledgers/main/events"

        async def post(id: str) -> tuple[int, str]:
            headers = {"Content-Type": "application/cloudevents+json", **process.headers}
            async with session.post(url, json={**ask, "id": id}, headers=headers) as answer:
                return answer.status, await answer.text()

        try:
            await process.ready(session)
            await record(database, 300)
            assert (await post("before"))[0] == 201
            await checkpoint_at(auditor, 301)

            # Under a process that runs: what it has seen itself is enough to notice.
            await cut(database, 250)
            status, said = await post("after")
            assert (status, "history-in-doubt" in said) == (503, True), said
            assert "the log has 250 events, and it had 301" in said

            # And for one that starts, with what is kept outside.
            process.kill()
            process.start()
            await process.ready(session)
            status, said = await post("again")
            assert (status, "says that it had 301" in said) == (503, True), said
            assert await auditor.fetchval("SELECT count(*) FROM ledger_main.stored_events") == 250

            path = await accept_history(database.settings, "main", reason="restored by a test", by="a test")
            note = Note.read(path.read_bytes())
            origin = await auditor.fetchval("SELECT origin FROM registry.ledgers")
            assert note.verified_by([each.key for each in keys.signers(origin)])
            assert "reason: restored by a test\n" in note.text and "events now: 250\n" in note.text
            async with asyncio.timeout(SECONDS_MAX):
                while (await post("again"))[0] != 201:
                    await asyncio.sleep(0.2)
            await checkpoint_at(auditor, 251)
            with pytest.raises(Doubt, match="nothing is in doubt"):
                await accept_history(database.settings, "main", reason="again", by="a test")
        finally:
            process.end()


async def test_a_log_of_other_events_is_noticed(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    await record(database, 40)
    tree = Tree("main")
    async with integrating(database, keys, outside):
        await checkpoint_at(auditor, 40)
    assert await check(auditor, tree, ORIGIN, keys, outside) == 40
    superuser = await connect(database.superuser)
    await superuser.execute("ALTER TABLE ledger_main.stored_events DISABLE TRIGGER ALL")
    await superuser.execute(
        "UPDATE ledger_main.stored_events SET leaf_hash = sha256('other') WHERE notification_id = 17"
    )
    await superuser.close()
    with pytest.raises(Doubt, match="are not those that"):
        await check(auditor, tree, ORIGIN, keys, outside)


async def test_a_checkpoint_of_another_log_or_another_key_is_no_proof_of_the_past(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside, tmp_path: Path
):
    tree = Tree("main")
    other = SigningKeys.load_or_make(tmp_path / "other.key")
    outside.keep(7, str(Checkpoint(ORIGIN, 7, bytes(32)).signed(other.signers(ORIGIN))))
    with pytest.raises(Doubt, match="nobody known has signed it"):
        await check(auditor, tree, ORIGIN, keys, outside)
    outside.keep(8, str(Checkpoint("elsewhere", 8, bytes(32)).signed(keys.signers("elsewhere"))))
    with pytest.raises(Doubt, match="of elsewhere, not of"):
        await check(auditor, tree, ORIGIN, keys, outside)


async def test_a_log_whose_checkpoints_are_not_to_be_found_takes_no_writes_until_somebody_says_why(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside, tmp_path: Path
):
    tree, elsewhere = Tree("main"), KeptOutside(tmp_path / "elsewhere", "main")
    assert await check(auditor, tree, ORIGIN, keys, elsewhere) == 0  # It has had none.
    await record(database, 40)
    async with integrating(database, keys, outside):
        await checkpoint_at(auditor, 40)
    with pytest.raises(Doubt, match="none is kept outside"):
        await check(auditor, tree, ORIGIN, keys, elsewhere)
    edge = await tree.edge(auditor, 40)
    await accept(elsewhere, ORIGIN, keys, edge=edge, reason="the disk with the checkpoints is lost", by="a test")
    assert await check(auditor, tree, ORIGIN, keys, elsewhere) == 40


async def test_no_doubt_is_lifted_by_what_anybody_can_put_there(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside, tmp_path: Path
):
    await record(database, 40)
    tree, place = Tree("main"), tmp_path / "main"
    async with integrating(database, keys, outside):
        await checkpoint_at(auditor, 40)

    async def in_doubt(why: str) -> None:
        with pytest.raises(Doubt, match=why):
            await check(auditor, tree, ORIGIN, keys, outside)

    await cut(database, 30)
    await in_doubt("says that it had 40")
    (place / "0002").mkdir()
    await in_doubt("nobody has said why the series 0002")
    outside.keep(20, await signed_at(auditor, keys, 20))
    await in_doubt("nobody has said why the series 0002")
    (place / "0002" / "accepted.note").write_text("nobody signed this")
    await in_doubt("accepted.note does not say what happened to this log: not a signed note")
    stranger = SigningKeys.load_or_make(tmp_path / "other.key")
    edge = await tree.edge(auditor, 30)
    await accept(outside, ORIGIN, stranger, edge=edge, reason="restored", by="nobody known")
    await in_doubt("0003/accepted.note does not say what happened to this log: nobody known has signed it")
    # One that was signed for another series, after which the log was longer.
    good = await accept(outside, ORIGIN, keys, edge=edge, reason="restored", by="a test")
    assert await check(auditor, tree, ORIGIN, keys, outside) == 30
    outside.begin_anew("0005", good.read_text())
    await in_doubt("was said of the series 0004")


async def test_what_a_publisher_keeps_where_checkpoints_were_lost_lifts_no_doubt(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside, tmp_path: Path
):
    await record(database, 40)
    tree = Tree("main")
    async with integrating(database, keys, outside):
        await checkpoint_at(auditor, 40)
    shutil.rmtree(tmp_path / "main")
    outside.keep_digest(40, "requirements", "0f", "a digest")
    with pytest.raises(Doubt, match="none is kept outside"):
        await check(auditor, tree, ORIGIN, keys, outside)
    await accept(outside, ORIGIN, keys, edge=await tree.edge(auditor, 40), reason="the disk is lost", by="a test")
    async with integrating(database, keys, outside):
        await record(database, 2)
        await checkpoint_at(auditor, 42)
    for file in outside.every():
        (tmp_path / str(file)).unlink()
    with pytest.raises(Doubt, match="none is kept outside"):
        await check(auditor, tree, ORIGIN, keys, outside)


async def test_a_log_that_was_cut_after_its_history_was_accepted_is_noticed(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    await record(database, 40)
    tree = Tree("main")
    async with integrating(database, keys, outside):
        await checkpoint_at(auditor, 40)
    await cut(database, 30)
    await accept(outside, ORIGIN, keys, edge=await tree.edge(auditor, 30), reason="restored", by="a test")
    await cut(database, 20)
    with pytest.raises(Doubt, match=r"the log has 20 events, and .*0002/accepted.note says that it had 30"):
        await check(auditor, tree, ORIGIN, keys, outside)
    await record(database, 15)
    with pytest.raises(Doubt, match=r"the first 30 events of the log are not those that .*0002/accepted.note"):
        await check(auditor, tree, ORIGIN, keys, outside)


async def test_of_two_who_accept_at_once_one_is_told_of_the_other(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    both_have_looked = asyncio.Barrier(2)

    class SigningOnceBothHaveLooked(SigningKeys):
        async def sign(self, origin: str, text: str) -> Note:
            await both_have_looked.wait()
            return await keys.sign(origin, text)

    said = [
        accept(outside, ORIGIN, SigningOnceBothHaveLooked([]), edge=Edge(), reason=reason, by="a test")
        for reason in ("restored", "tampered with")
    ]
    done = await asyncio.gather(*said, return_exceptions=True)
    [file] = [each for each in done if isinstance(each, Path)]
    [doubt] = [each for each in done if isinstance(each, Doubt)]
    assert file.name == "accepted.note" and f"somebody else has accepted meanwhile what happened: {file}" in str(doubt)


async def test_two_databases_that_keep_their_checkpoints_in_one_place_do_not_both_publish(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, tmp_path: Path
):
    looked = threading.Event()

    class LookedAt(KeptOutside):
        def going_on(self) -> GoingOn:
            found = super().going_on()
            looked.set()
            return found

    outside = LookedAt(tmp_path, "main")
    other = str(Checkpoint(ORIGIN, 40, bytes(32)).signed(keys.signers(ORIGIN)))
    with structlog.testing.capture_logs() as said:
        async with integrating(database, keys, outside):
            assert await asyncio.to_thread(looked.wait, SECONDS_MAX)  # Nothing was there.
            outside.keep(40, other)
            await record(database, 40)
            async with asyncio.timeout(SECONDS_MAX):
                while not any(line["event"] == "history_in_doubt" for line in said):
                    await asyncio.sleep(0.05)
    assert [line["event"] for line in said][:2] == ["checkpoint_not_kept", "history_in_doubt"]
    last = outside.last()
    assert last is not None and last.read_text() == other
    assert await Tree("main").last_checkpoint(auditor) is None


async def test_a_log_that_was_imported_where_its_checkpoints_are_kept_goes_on(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    await record(database, 600)
    tree = Tree("main")
    async with integrating(database, keys, outside):
        await checkpoint_at(auditor, 600)
    owner = await connect(database.superuser)
    await owner.execute("ALTER TABLE ledger_main.tree_tiles DISABLE TRIGGER ALL")
    for missing in ("number = 0", "level = 1 OR number = 1", "true"):
        await owner.execute(f"DELETE FROM ledger_main.tree_tiles WHERE {missing}")
        assert await check(auditor, tree, ORIGIN, keys, outside) == 600
    await owner.close()


async def test_what_a_process_has_seen_is_forgotten_only_for_what_was_accepted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("services.ledger.history.LOOK_SECONDS", 1e-9)
    outside = [Extended(250, "0001")]

    async def look() -> Extended:
        return outside[-1]

    history = History(look)
    await history.settle()
    history.reached(260)
    for _ in range(2):
        with pytest.raises(Doubt, match="has 250 events, and it had 260"):
            history.goes_on_from(250)
        await history.settle()
    outside.append(Extended(250, "0002"))
    with pytest.raises(Doubt):
        history.goes_on_from(250)
    await history.settle()
    history.goes_on_from(250)


async def signed_at(connection: asyncpg.Connection, keys: SigningKeys, size: int) -> str:
    root = (await Tree("main").edge(connection, size)).root
    return str(Checkpoint(ORIGIN, size, root).signed(keys.signers(ORIGIN)))


async def test_what_was_kept_outside_is_not_begun_anew_where_it_is_gone(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside, tmp_path: Path
):
    await record(database, 5)
    async with integrating(database, keys, outside):
        await checkpoint_at(auditor, 5)
        (tmp_path / "main").rename(tmp_path / "away")
        with capture_logs() as logs:
            await record(database, 5)
            async with asyncio.timeout(SECONDS_MAX):
                while not any(line["event"] == "checkpoint_not_kept" for line in logs):
                    await asyncio.sleep(0.02)
        assert not (tmp_path / "main").exists() and (await checkpoint_at(auditor, 5)).size == 5
        (tmp_path / "away").rename(tmp_path / "main")
        assert (await checkpoint_at(auditor, 10)).size == 10


async def test_a_checkpoint_beyond_the_log_is_told_once(
    database: Database,
    auditor: asyncpg.Connection,
    keys: SigningKeys,
    outside: KeptOutside,
    monkeypatch: pytest.MonkeyPatch,
):
    """Whoever may add checkpoints can add one that nobody has signed; the last one is then served no more."""
    monkeypatch.setattr(integrator, "SWEEP_SECONDS", 0.1)
    told = {
        "event": "checkpoint_beyond_log",
        "ledger": "main",
        "reason": "a checkpoint is kept of 1000000 events, and the log has 5",
        "next": "`ledger audit`",
        "log_level": "error",
    }

    def beyond(logs: Sequence[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
        return [line for line in logs if line["event"] == "checkpoint_beyond_log"]

    async with integrating(database, keys, outside):
        await record(database, 5)
        await checkpoint_at(auditor, 5)
        writer = await connect(database.writer)
        with capture_logs() as logs:
            await writer.execute("INSERT INTO ledger_main.checkpoints VALUES (1000000, E'x\n1000000\nx\n', now())")
            async with asyncio.timeout(SECONDS_MAX):
                while not beyond(logs):
                    await asyncio.sleep(0.02)
            await record(database, 5)
            await until(lambda: auditor.fetchval("SELECT count(*) = 1 FROM ledger_main.checkpoints WHERE size = 10"))
        await writer.close()
    assert beyond(logs) == [told]
    with capture_logs() as logs:
        async with integrating(database, keys, outside), asyncio.timeout(SECONDS_MAX):
            while not beyond(logs):
                await asyncio.sleep(0.02)
            await record(database, 5)
            await until(lambda: auditor.fetchval("SELECT count(*) = 1 FROM ledger_main.checkpoints WHERE size = 15"))
    assert beyond(logs) == [told | {"reason": "a checkpoint is kept of 1000000 events, and the log has 10"}]


async def test_a_verifier_key_that_is_none_casts_no_doubt_on_the_log(
    database: Database, auditor: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside
):
    await record(database, 5)
    async with integrating(database, keys, outside):
        await checkpoint_at(auditor, 5)
    owner = await connect(database.owner)
    await owner.execute("ALTER TABLE ledger_main.verifier_keys DROP CONSTRAINT verifier_keys_have_their_form")
    await owner.execute("INSERT INTO ledger_main.verifier_keys VALUES ('garbage', 'epoch')")
    await owner.close()
    assert await check(auditor, Tree("main"), ORIGIN, keys, outside) == 5
