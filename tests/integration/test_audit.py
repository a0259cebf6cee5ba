"""The auditor finds what was changed by hand, and says where. Each row of the table is a tampering with a live database
by somebody who may do everything in it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.auditor.audit import Asked, BadInput, audit
from services.auditor.database import Database as AuditedDatabase
from services.auditor.findings import Check, Report
from services.kept_outside import KeptOutside
from services.ledger.integrator import Integrator
from services.postgres import connect
from services.projector.projector import Projector
from services.proof.checkpoint import Checkpoint
from services.proof.growth import Edge, grow
from services.proof.merkle import leaf_hash
from services.signing import SigningKeys
from services.tree import Tree
from tests.conftest import Database
from tests.log import Log, erased, event, redacted
from tests.readmodels import reached, ready

EVENTS = 600
ORIGIN = "ledger.example/main"
SECONDS_MAX = 30.0

Tamper = Callable[[asyncpg.Connection], Coroutine[Any, Any, Any]]


# Of what is sealed, one text stays; a person, and another text, are erased.
SPECIAL = {
    501: event("ask.recorded", requirement="R-1", account="acme", contact="p-1", quote="Mine."),
    502: event("ask.recorded", requirement="R-1", account="acme", contact="p-2", quote="Stays."),
    503: event("ask.recorded", requirement="R-1", account="acme", contact="p-2", quote="Names somebody."),
    504: erased("p-1"),
    505: redacted(503, "requirement/R-1"),
    506: event("ask.recorded", requirement="R-1", account="acme", labels={"sealed": "no text is"}),
}


class Ledger:
    """A ledger with a tree and read models, somebody who may do everything there, and what was kept elsewhere."""

    def __init__(self, database: Database, hand: asyncpg.Connection, keys: SigningKeys, outside: KeptOutside) -> None:
        self.database = database
        self.hand = hand
        self.keys = keys
        self.outside = outside

    async def audit(self, since: str | None = None, *, kept_outside: bool = False, **asked: Any) -> Report:
        connection = await connect(self.database.auditor)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                source = AuditedDatabase(connection, "main", ORIGIN, "a test")
                notes = [path.read_bytes() for path in self.outside.every()] if kept_outside else []
                given = None if since is None else since.encode()
                return await audit(source, Asked(by="a test", since=given, **asked), notes)
        finally:
            await connection.close()


@pytest.fixture
async def ledger(database: Database, tmp_path: Path) -> AsyncIterator[Ledger]:
    keys, outside = SigningKeys.load_or_make(database.settings.signing_key), KeptOutside(tmp_path, "main")

    async def ledgers() -> list[tuple[str, str]]:
        return [("main", ORIGIN)]

    async with Log.open(database) as log, Projector(database.settings) as projector:
        await ready(projector)
        for begun in range(0, EVENTS, 200):
            await log.append(
                *(
                    SPECIAL.get(number + 1)
                    or event(
                        "ask.recorded", requirement=f"R-{number % 9}", ask=f"a-{number}", account="acme", importance=2
                    )
                    for number in range(begun, begun + 200)
                )
            )
        runner = await projector.ledger("main")
        await reached(runner, EVENTS)
        async with Integrator(database.writer, ledgers, keys, lambda _: outside):
            auditor = await connect(database.auditor)
            async with asyncio.timeout(SECONDS_MAX):
                while (await Tree("main").last_checkpoint(auditor)) is None:
                    await asyncio.sleep(0.02)
            await auditor.close()
        # From here on nobody writes but the hand.
    hand = await connect(database.superuser)
    await hand.execute("SET search_path = ledger_main; SET session_replication_role = replica")
    for table in ("stored_events", "tree_tiles", "checkpoints", "sealing_keys"):
        await hand.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    yield Ledger(database, hand, keys, outside)
    await hand.close()


async def test_a_log_that_nobody_touched_is_clean(ledger: Ledger):
    report = await ledger.audit(kept_outside=True)
    assert (report.found, report.more, report.events) == ([], 0, EVENTS)
    assert report.checkpoints >= 1 and report.checkpoint is not None
    assert set(report.checked) >= {"leaves", "tiles", "roots", "signatures", "columns", "keys", "read models"}
    since = next(ledger.outside.every()).read_text()
    assert (await ledger.audit(since)).found == []


def sql(*statements: str) -> Tamper:
    async def run(hand: asyncpg.Connection) -> None:
        for statement in statements:
            await hand.execute(statement)

    return run


def put_back(position: int, person: str) -> str:
    return (
        f"INSERT INTO sealing_keys SELECT {position}, event_id, '{person}', 'm', 'w' FROM stored_events"
        f" WHERE notification_id = {position}"
    )


CHANGED = "convert_to(replace(convert_from(state, 'UTF8'), '\"importance\":2', '\"importance\":3'), 'UTF8')"

TAMPERINGS: list[tuple[str, Tamper, Check, int]] = [
    (
        "a byte of an event is changed",
        sql(f"UPDATE stored_events SET state = {CHANGED} WHERE notification_id = 17"),
        "leaves",
        17,
    ),
    (
        "a byte is changed, and its leaf hash with it",
        sql(
            f"UPDATE stored_events SET state = {CHANGED} WHERE notification_id = 17",
            "UPDATE stored_events SET leaf_hash = sha256('\\x00'::bytea || state) WHERE notification_id = 17",
        ),
        "tiles",
        1,
    ),
    ("an event is removed", sql("DELETE FROM stored_events WHERE notification_id = 300"), "positions", 300),
    (
        "an event is removed, and the others move up",
        sql(
            "DELETE FROM stored_events WHERE notification_id = 300",
            "UPDATE stored_events SET notification_id = 10000 + notification_id WHERE notification_id > 300",
            "UPDATE stored_events SET notification_id = notification_id - 10001 WHERE notification_id > 10000",
        ),
        "bytes",
        300,
    ),
    (
        "two events are swapped",
        sql(
            "UPDATE stored_events SET notification_id = 10401 WHERE notification_id = 401",
            "UPDATE stored_events SET notification_id = 401 WHERE notification_id = 402",
            "UPDATE stored_events SET notification_id = 402 WHERE notification_id = 10401",
        ),
        "bytes",
        401,
    ),
    (
        "an event is inserted",
        sql(
            "UPDATE stored_events SET notification_id = 10000 + notification_id WHERE notification_id > 50",
            "UPDATE stored_events SET notification_id = notification_id - 9999 WHERE notification_id > 10000",
            "INSERT INTO stored_events SELECT gen_random_uuid(), 1, topic, state, 51, gen_random_uuid(), metadata,"
            " subject, source, recorded_at, sealed, content, leaf_hash FROM stored_events WHERE notification_id = 50",
        ),
        "bytes",
        51,
    ),
    ("the tail is cut off", sql("DELETE FROM stored_events WHERE notification_id > 590"), "roots", EVENTS),
    (
        "a column says something else than the bytes",
        sql("UPDATE stored_events SET source = '/else' WHERE notification_id = 77"),
        "columns",
        77,
    ),
    (
        "a recorded time is put back",
        sql(
            "UPDATE stored_events SET state = convert_to(regexp_replace(convert_from(state, 'UTF8'),"
            " '\"recordedtime\":\"....', '\"recordedtime\":\"2001'), 'UTF8') WHERE notification_id = 88"
        ),
        "times",
        88,
    ),
    ("a tile is changed", sql("UPDATE tree_tiles SET hash = sha256('x') WHERE number = 1"), "tiles", 257),
    (
        "a checkpoint says another root",
        sql("UPDATE checkpoints SET note = replace(note, E'\\n600\\n', E'\\n599\\n')"),
        "signatures",
        599,
    ),
    (
        "a row of a read model is changed",
        sql("UPDATE asks SET importance = 5 WHERE position = 123"),
        "read models",
        123,
    ),
    ("a row of a read model is removed", sql("DELETE FROM asks WHERE position = 124"), "read models", 124),
    (
        "a row of a read model is added",
        sql("INSERT INTO account_mentions SELECT 601, 'nobody'"),
        "read models",
        601,
    ),
    ("a key is destroyed off the record", sql("DELETE FROM sealing_keys WHERE position = 502"), "keys", 502),
    ("an erased person's key is put back", sql(put_back(501, "p-1")), "keys", 501),
]


@pytest.mark.parametrize(("what", "tamper", "check", "position"), TAMPERINGS, ids=[row[0] for row in TAMPERINGS])
async def test_what_was_done_by_hand_is_found(ledger: Ledger, what: str, tamper: Tamper, check: Check, position: int):
    await tamper(ledger.hand)
    report = await ledger.audit()
    assert (check, position) in [(found.check, found.position) for found in report.found], report.found
    assert {found.check for found in report.found} <= {*report.checked}


async def test_whatever_else_is_done_to_keys_is_found(ledger: Ledger):
    await sql(
        put_back(503, "p-2"),
        put_back(17, "p-2"),
        "INSERT INTO sealing_keys VALUES (601, gen_random_uuid(), 'p-2', 'm', 'w')",
        # So that an erasure of the other would destroy it.
        "UPDATE sealing_keys SET person = 'p-3' WHERE position = 502",
        "UPDATE sealing_keys SET event_id = gen_random_uuid() WHERE position = 502",
        "UPDATE stored_events SET sealed = false WHERE notification_id = 502",
    )(ledger.hand)
    report = await ledger.audit()
    assert [(found.check, found.position, found.text) for found in report.found] == [
        ("keys", 17, "there is a key, and no sealed text"),
        ("keys", 502, "the column sealed says False, the stored bytes True"),
        ("keys", 502, "the key of its sealed texts is that of another event"),
        ("keys", 502, "the key says that its texts are about p-3, the stored bytes p-2"),
        ("keys", 503, "the key of its sealed texts is there, and position 505 says that it was destroyed"),
        ("keys", 601, "there is a key, and no event"),
    ]


async def rewrite(ledger: Ledger) -> None:
    """Rewrite history with everything that follows from it, tree, checkpoint and signature: as the owner could."""
    await ledger.hand.execute(f"UPDATE stored_events SET state = {CHANGED} WHERE notification_id = 17")
    await ledger.hand.execute("UPDATE stored_events SET leaf_hash = sha256('\\x00'::bytea || state)")
    await ledger.hand.execute("UPDATE asks SET importance = 3 WHERE position = 17")
    rows = await ledger.hand.fetch("SELECT state FROM stored_events ORDER BY notification_id")
    edge, tiles = grow(Edge(), [leaf_hash(row["state"]) for row in rows])
    for tile in tiles:
        await ledger.hand.execute(
            "UPDATE tree_tiles SET hash = $3, hashes = $4 WHERE level = $1 AND number = $2", *tile
        )
    note = str(Checkpoint(ORIGIN, edge.size, edge.root).signed(ledger.keys.signers(ORIGIN)))
    await ledger.hand.execute("DELETE FROM checkpoints")
    await ledger.hand.execute("INSERT INTO checkpoints VALUES ($1, $2, clock_timestamp())", edge.size, note)


async def test_history_that_was_rewritten_with_its_tree_is_found_by_a_checkpoint_that_was_kept(ledger: Ledger):
    kept = next(ledger.outside.every()).read_text()
    await rewrite(ledger)
    assert (await ledger.audit()).found == []  # Who kept nothing cannot know.
    for report in (await ledger.audit(kept), await ledger.audit(kept_outside=True)):
        assert {found.check for found in report.found} <= {"since", "roots"} and report.found
        assert report.found[0].position == EVENTS


async def test_hashes_alone_find_what_hashes_can(ledger: Ledger):
    await TAMPERINGS[0][1](ledger.hand)
    report = await ledger.audit(hashes_only=True)
    assert ("leaves", 17) in [(found.check, found.position) for found in report.found]
    assert "columns" not in report.checked and "read models" not in report.checked


async def test_a_checkpoint_that_is_none_of_this_log_is_bad_input(ledger: Ledger, tmp_path: Path):
    good = next(ledger.outside.every()).read_text()
    other = SigningKeys.load_or_make(tmp_path / "other.key")
    signed = ledger.keys.signers
    for since, said in (
        ("nothing", "not a signed note"),
        (good.replace(ORIGIN, "ledger.example/other"), "of ledger.example/other, not of"),
        (good.replace("\n600\n", "\n599\n"), "is broken"),
        (str(Checkpoint(ORIGIN, 7, bytes(32)).signed(other.signers(ORIGIN))), "nobody known has signed it"),
        (str(Checkpoint(ORIGIN, 700, bytes(32)).signed(signed(ORIGIN))), "has 700 events, and the log has 600"),
    ):
        with pytest.raises(BadInput, match=said):
            await ledger.audit(since)


async def test_the_auditor_trusts_its_own_keys_if_it_has_any(ledger: Ledger, tmp_path: Path):
    other = SigningKeys.load_or_make(tmp_path / "other.key")
    report = await ledger.audit(keys=[each.key for each in other.signers(ORIGIN)])
    assert {found.check for found in report.found} == {"signatures"}
