"""The auditor finds what was changed by hand, and says where. Each row of the table is a tampering with a live database
by somebody who may do everything in it."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from schemas.codec import stored_content
from services.auditor.audit import Asked, BadInput, audit
from services.auditor.command import _told as told_to_people
from services.auditor.command import kept
from services.auditor.database import Database as AuditedDatabase
from services.auditor.findings import Check, DigestsLookedAt, KeysTried, Report, Timestamps
from services.auditor.log import Stored, Walk
from services.kept_outside import KeptOutside
from services.ledger.history import accept
from services.ledger.integrator import Integrator
from services.postgres import Unavailable, connect
from services.projector.digest import digest
from services.projector.projections import ALL
from services.projector.projector import Projector
from services.projector.publisher import Publisher
from services.proof.checkpoint import Checkpoint
from services.proof.growth import Edge, grow
from services.proof.merkle import inclusion, leaf_hash
from services.proof.note import Note
from services.proof.published import PublishedDigest, digests_origin
from services.proof.timestamp import Request, read_roots
from services.sealing import MasterKeys
from services.signing import SigningKeys
from services.tree import Tree
from tests.conftest import Database
from tests.log import Log, erased, event, redacted
from tests.readmodels import NAMES, reached, ready
from tests.tsa import Authority

EVENTS = 600
DIGESTS_AT = (400, 600)
ORIGIN = "ledger.example/main"
UNGUARDED = (
    *("stored_events", "tree_tiles", "checkpoints", "timestamps", "sealing_keys", "digests", "digest_keys"),
    *("imports", "access_log"),
)
UNCHECKED = {
    "checkpoints": "checkpoints_say_their_size",
    "digests": "digests_say_what_they_are",
    "verifier_keys": "verifier_keys_have_their_form",
    "digest_keys": "digest_keys_have_their_form",
}
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
        self.of_digests = SigningKeys.load(database.settings.projector_signing_key)
        self.outside = outside

    async def audit(
        self, since: str | None = None, *, kept_outside: bool = False, opens: bool = False, **asked: Any
    ) -> Report:
        connection = await connect(self.database.auditor)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await self.audit_on(connection, since, kept_outside=kept_outside, opens=opens, **asked)
        finally:
            await connection.close()

    async def audit_on(
        self,
        connection: asyncpg.Connection,
        since: str | None = None,
        *,
        kept_outside: bool = False,
        opens: bool = False,
        **asked: Any,
    ) -> Report:
        """`opens`: with the master key."""
        masters = MasterKeys(self.database.settings.master_key) if opens else None
        source = AuditedDatabase(connection, "main", ORIGIN, "a test", masters)
        elsewhere = kept(self.outside) if kept_outside else None
        given = None if since is None else since.encode()
        return await audit(source, Asked(by="a test", since=given, **asked), elsewhere)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    if shutil.which("openssl") is None:
        pytest.skip("OpenSSL is not installed")
    return Authority.founded(tmp_path_factory.mktemp("authority") / "tsa")


@pytest.fixture
async def ledger(database: Database, tmp_path: Path, authority: Authority) -> AsyncIterator[Ledger]:
    keys, outside = SigningKeys.load_or_make(database.settings.signing_key), KeptOutside(tmp_path, "main")

    async def ledgers() -> list[tuple[str, str]]:
        return [("main", ORIGIN)]

    owner = await connect(database.owner)
    await owner.execute("UPDATE registry.ledgers SET origin = $1", ORIGIN)
    await owner.close()
    signing = SigningKeys.load(database.settings.projector_signing_key)
    publisher = Publisher(database.projector, signing, lambda _: outside, 0.01)
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
            if begun + 200 in DIGESTS_AT:
                await reached(await projector.ledger("main"), begun + 200)
                async with publisher:
                    await published(database, begun + 200)
        async with Integrator(database.writer, ledgers, keys, lambda _: outside):
            auditor = await connect(database.auditor)
            async with asyncio.timeout(SECONDS_MAX):
                while (await Tree("main").last_checkpoint(auditor)) is None:
                    await asyncio.sleep(0.02)
            await auditor.close()
    last = await asyncio.to_thread(outside.last)
    assert last is not None
    response = await asyncio.to_thread(authority.reply, Request.of(last.read_bytes()).octets)
    outside.keep_timestamp(EVENTS, response)
    writer = await connect(database.writer)
    await Tree("main").keep_timestamp(writer, EVENTS, response)
    await writer.close()
    # From here on nobody writes but the hand.
    hand = await connect(database.superuser)
    await hand.execute("SET search_path = ledger_main; SET session_replication_role = replica")
    for table in UNGUARDED:
        await hand.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
    for table, constraint in UNCHECKED.items():
        await hand.execute(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
    yield Ledger(database, hand, keys, outside)
    await hand.close()


async def published(database: Database, position: int) -> None:
    """Wait until the digest of each read model is published at a position."""
    auditor = await connect(database.auditor)
    count = "SELECT count(*) FROM ledger_main.digests WHERE position = $1"
    async with asyncio.timeout(SECONDS_MAX):
        while await auditor.fetchval(count, position) < len(NAMES):
            await asyncio.sleep(0.01)
    await auditor.close()


async def test_a_log_that_nobody_touched_is_clean(ledger: Ledger):
    report = await ledger.audit(kept_outside=True, opens=True)
    assert (report.found, report.more, report.events, report.accepted) == ([], 0, EVENTS, [])
    assert (report.checkpoints_inside, report.checkpoints_outside, report.imported) == (1, 1, [])
    assert report.sealing_keys == KeysTried(tried=1, untried=0)
    assert report.read_models == dict.fromkeys(NAMES, EVENTS)
    assert report.checkpoints >= 1 and report.checkpoint is not None
    assert set(report.checked) >= {
        "leaves",
        "tiles",
        "roots",
        "signatures",
        "columns",
        "keys",
        "read models",
        "digests",
    }
    published = len(NAMES) * len(DIGESTS_AT)
    assert report.digests == DigestsLookedAt(published=published, replayed=published, of_other_versions=0)
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

ROOT = "decode(split_part((SELECT note FROM checkpoints), E'\\n', 3), 'base64')"
RECORDED_TWICE = (
    "ALTER TABLE stored_events DROP CONSTRAINT stored_events_event_once",
    "INSERT INTO stored_events SELECT originator_id, 1000, topic, convert_to(replace(convert_from(state, 'UTF8'),"
    ' \'"sequence":"00000000000000000017"\', \'"sequence":"00000000000000000601"\'), \'UTF8\'), 601, event_id,'
    " metadata, subject, source, recorded_at, sealed, content, leaf_hash FROM stored_events WHERE notification_id = 17",
)

TAMPERINGS: list[tuple[str, Tamper, Check, int | None]] = [
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
        "a checkpoint is put under another size",
        sql("INSERT INTO checkpoints SELECT 1000000, note, now() FROM checkpoints"),
        "signatures",
        1_000_000,
    ),
    (
        "a timestamp is put beside a checkpoint of another size",
        sql("UPDATE timestamps SET size = 599", "UPDATE checkpoints SET size = 599"),
        "timestamps",
        599,
    ),
    (
        "a key that is none is put among those of checkpoints",
        sql("INSERT INTO verifier_keys VALUES ('garbage', 'epoch')"),
        "signatures",
        None,
    ),
    (
        "a key that is none is put among those of digests",
        sql("INSERT INTO digest_keys VALUES ('garbage', 'epoch')"),
        "signatures",
        None,
    ),
    (
        "a timestamp is put beside another size",
        sql("UPDATE timestamps SET size = 599"),
        "timestamps",
        599,
    ),
    (
        "a checkpoint is another note than the one that was timestamped",
        sql("UPDATE checkpoints SET note = note || E'— somebody AAAAAAA=\\n'"),
        "timestamps",
        EVENTS,
    ),
    (
        "a row of a read model is changed",
        sql("UPDATE asks SET importance = 5 WHERE position = 123"),
        "read models",
        123,
    ),
    ("a row of a read model is removed", sql("DELETE FROM asks WHERE position = 124"), "read models", 124),
    (
        "a published digest is changed",
        sql("UPDATE digests SET digest = md5('') || md5('') WHERE position = 400"),
        "digests",
        400,
    ),
    (
        "a row of a read model is added",
        sql("INSERT INTO account_mentions SELECT 601, 'nobody'"),
        "read models",
        601,
    ),
    ("a key is destroyed off the record", sql("DELETE FROM sealing_keys WHERE position = 502"), "keys", 502),
    ("an erased person's key is put back", sql(put_back(501, "p-1")), "keys", 501),
    ("a wrapped key is overwritten", sql("UPDATE sealing_keys SET wrapped = 'gone' WHERE position = 502"), "keys", 502),
    (
        "a key is said to be under a master key that nobody has",
        sql("UPDATE sealing_keys SET master = 'gone' WHERE position = 502"),
        "keys",
        502,
    ),
    (
        "keys are destroyed, and an import is made up that explains it",
        sql(f"INSERT INTO imports VALUES (now(), 'x', 600, {ROOT}, NULL, false, '{{}}')", "DELETE FROM sealing_keys"),
        "imports",
        600,
    ),
    (
        "an import is made up with another root",
        sql("INSERT INTO imports VALUES ('2001-01-01', 'x', 600, sha256('x'), NULL, true, '{502}')"),
        "imports",
        600,
    ),
    (
        "an import is made up that is longer than the log",
        sql("INSERT INTO imports VALUES ('2001-01-01', 'x', 601, sha256('x'), NULL, true, '{502}')"),
        "imports",
        601,
    ),
    ("a tile is removed", sql("DELETE FROM tree_tiles WHERE level = 0 AND number = 0"), "tiles", 1),
    (
        "the fingerprint is changed",
        sql("UPDATE stored_events SET content = 'x' WHERE notification_id = 17"),
        "columns",
        17,
    ),
    ("an event is recorded twice", sql(*RECORDED_TWICE), "ids", 601),
    ("a read model has got beyond the log", sql("UPDATE cursors SET position = 601"), "read models", 601),
]


class _Undone(Exception):
    """So that a transaction is rolled back."""


async def test_what_was_done_by_hand_is_found(ledger: Ledger):
    """The hand audits itself, and what it did is undone after each row: so one ledger is enough for all."""
    for what, tamper, check, position in TAMPERINGS:
        with suppress(_Undone):
            async with ledger.hand.transaction(isolation="repeatable_read"):
                await tamper(ledger.hand)
                report = await ledger.audit_on(ledger.hand, kept_outside=True, opens=True)
                assert (check, position) in [(found.check, found.position) for found in report.found], (what, report)
                assert {found.check for found in report.found} <= {*report.checked}, what
                raise _Undone
    assert (await ledger.audit(kept_outside=True, opens=True)).found == []


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
    state = await ledger.hand.fetchval("SELECT state FROM stored_events WHERE notification_id = 17")
    content = stored_content(json.loads(state), {})
    await ledger.hand.execute("UPDATE stored_events SET content = $1 WHERE notification_id = 17", content)
    await ledger.hand.execute("UPDATE asks SET importance = 3 WHERE position = 17")
    rows = await ledger.hand.fetch("SELECT state FROM stored_events ORDER BY notification_id")
    edge, tiles = grow(Edge(), [leaf_hash(row["state"]) for row in rows])
    for tile in tiles:
        await ledger.hand.execute(
            "UPDATE tree_tiles SET hash = $3, hashes = $4 WHERE level = $1 AND number = $2", *tile
        )
    note = str(Checkpoint(ORIGIN, edge.size, edge.root).signed(ledger.keys.signers(ORIGIN)))
    await ledger.hand.execute("DELETE FROM checkpoints")
    await ledger.hand.execute("DELETE FROM timestamps")
    await ledger.hand.execute("INSERT INTO checkpoints VALUES ($1, $2, clock_timestamp())", edge.size, note)
    await publish_anew(ledger)


async def test_history_that_was_rewritten_with_its_tree_is_found_by_a_checkpoint_that_was_kept(ledger: Ledger):
    kept = next(ledger.outside.every()).read_text()
    await rewrite(ledger)
    assert (await ledger.audit()).found == []  # Who kept nothing cannot know.
    for report in (await ledger.audit(kept), await ledger.audit(kept_outside=True)):
        assert {found.check for found in report.found} <= {"since", "roots", "digests"}
        assert [found.position for found in report.found if found.check != "digests"] == [EVENTS]


async def test_timestamps_are_of_their_checkpoints_and_of_an_authority_that_the_auditor_trusts(
    ledger: Ledger, authority: Authority
):
    report = await ledger.audit(kept_outside=True)
    assert (report.found, report.timestamps) == ([], Timestamps(2, False)) and "timestamps" in report.checked
    trusted = read_roots(authority.ca.read_bytes())
    report = await ledger.audit(kept_outside=True, tsa=trusted)
    assert (report.found, report.timestamps) == ([], Timestamps(2, True))
    others = read_roots((authority.ca.parent / "tsa.pem").read_bytes())
    report = await ledger.audit(tsa=others)
    assert [(found.check, found.position) for found in report.found] == [("timestamps", EVENTS)]
    assert "not signed by an authority below" in report.found[0].text
    await ledger.hand.execute("DELETE FROM timestamps")
    report = await ledger.audit(tsa=trusted)
    assert report.timestamps is None and "timestamps" not in report.checked


async def test_a_history_that_was_accepted_is_told_and_is_no_finding(ledger: Ledger, tmp_path: Path):
    def look() -> Coroutine[Any, Any, Report]:
        return ledger.audit(kept_outside=True, read_models=False)

    for statement in (
        "DELETE FROM stored_events WHERE notification_id > 590",
        "DELETE FROM checkpoints",
        "DELETE FROM timestamps",
    ):
        await ledger.hand.execute(statement)
    assert ("roots", EVENTS) in [(found.check, found.position) for found in (await look()).found]

    edge = await Tree("main").edge(ledger.hand, 590)
    said: dict[str, Any] = {"edge": edge, "reason": "restored by a test", "by": "ops"}
    await accept(ledger.outside, ORIGIN, ledger.keys, **said)
    report = await look()
    assert report.found == [] and "accepted" in report.checked
    [accepted] = report.accepted
    assert (accepted.reason, accepted.by, accepted.events) == ("restored by a test", "ops", 590)
    assert accepted.not_of_this_log[-1] == EVENTS and accepted.checkpoints >= 1

    # What was kept since has to hold all the same.
    ledger.outside.keep(300, str(Checkpoint(ORIGIN, 300, bytes(32)).signed(ledger.keys.signers(ORIGIN))))
    report = await look()
    assert [(found.check, found.position) for found in report.found] == [("roots", 300)]

    # And nobody who is not known can accept anything.
    await accept(ledger.outside, ORIGIN, SigningKeys.load_or_make(tmp_path / "other.key"), **said)
    found = (await look()).found
    assert {each.check for each in found} == {"accepted", "roots"}
    assert any("0003/accepted.note: nobody known has signed it" in each.text for each in found)


async def test_what_is_gone_from_either_side_is_found(ledger: Ledger, tmp_path: Path, authority: Authority):
    """Checkpoints, timestamps and what operators said are outside the database, and whoever can write there is not
    who can write here."""

    async def look() -> tuple[Report, list[tuple[int | None, str]]]:
        report = await ledger.audit(kept_outside=True, read_models=False)
        assert "outside" in report.checked
        return report, [(found.position, found.text) for found in report.found if found.check == "outside"]

    shutil.move(tmp_path / "main", tmp_path / "away")
    report, found = await look()
    assert (report.checkpoints_inside, report.checkpoints_outside) == (1, 0)
    [(position, text)] = found
    assert position is None and text.startswith("1 checkpoints are kept inside, and none outside")
    shutil.move(tmp_path / "away", tmp_path / "main")

    # One that is inside alone, and a timestamp that is outside alone, though it is not the last.
    edge, _ = grow(Edge(), [row[0] for row in await ledger.hand.fetch(f"{LEAVES} LIMIT 300")])
    alone = str(Checkpoint(ORIGIN, 300, edge.root).signed(ledger.keys.signers(ORIGIN)))
    await ledger.hand.execute("INSERT INTO checkpoints VALUES (300, $1, now())", alone)
    assert (await look())[1] == [(300, "1 checkpoints are kept inside alone (of 300 to 300 events)")]
    ledger.outside.keep(300, alone)
    ledger.outside.keep_timestamp(300, authority.reply(Request.of(alone.encode()).octets))
    report, found = await look()
    assert found == [(300, "the timestamp of 300 events is kept outside, and not inside any more")]
    assert [each.check for each in report.found] == ["outside"] and report.checkpoints_outside == 2
    await ledger.hand.execute("DELETE FROM checkpoints WHERE size = 300")

    # What somebody said is told though the series before it is gone.
    edge = await Tree("main").edge(ledger.hand, EVENTS)
    await accept(ledger.outside, ORIGIN, ledger.keys, edge=edge, reason="moved", by="ops")
    assert (await look())[1] == []
    shutil.rmtree(tmp_path / "main" / "0001")
    report, found = await look()
    assert (None, "the series 0001 is gone") in found and [said.reason for said in report.accepted] == ["moved"]
    (tmp_path / "main" / "0004").mkdir()
    assert {(None, "the series 0003 is gone"), (None, UNSAID)} <= {*(await look())[1]}


LEAVES = "SELECT leaf_hash FROM stored_events ORDER BY notification_id"
UNSAID = "the series 0004 begins, and nobody has said what happened to the one before"


async def test_what_was_imported_is_told_and_explains_no_more_than_it_can(ledger: Ledger):
    first = await ledger.hand.fetchval("SELECT min(recorded_at) FROM stored_events")
    # As if all of it had come at once, before the first checkpoint was signed, and without its keys.
    await ledger.hand.execute("UPDATE checkpoints SET made_at = now()")
    insert = (
        f"INSERT INTO imports SELECT made_at, 'ledger.example/old', 600, {ROOT}, NULL, false, '{{}}' FROM checkpoints"
    )
    await ledger.hand.execute(insert)
    await ledger.hand.execute("DELETE FROM sealing_keys")
    report = await ledger.audit(opens=True)
    assert report.found == [] and "imports" in report.checked
    [told] = report.imported
    assert (told.origin, told.events, told.with_keys, told.keyless) == ("ledger.example/old", EVENTS, False, 0)

    async def found() -> list[tuple[Check, str]]:
        return [(each.check, each.text) for each in (await ledger.audit(opens=True)).found]

    await ledger.hand.execute("UPDATE imports SET imported_at = $1", first)
    [(check, text)] = await found()
    assert check == "imports" and "is said to have brought it" in text
    await ledger.hand.execute("UPDATE imports SET imported_at = now() + interval '1 minute'")
    [(check, text)] = await found()
    assert check == "imports" and "it had a checkpoint before" in text
    await ledger.hand.execute("UPDATE imports SET imported_at = (SELECT made_at FROM checkpoints)")
    await ledger.hand.execute(put_back(502, "p-2"))
    assert ("keys", "the key of its sealed texts is there, and the import of it says that it came without") in [
        *(await found())
    ]
    await ledger.hand.execute("DELETE FROM sealing_keys")
    await ledger.hand.execute(insert.replace("made_at", "made_at - interval '1 microsecond'"))
    assert await found() == [("imports", "2 imports are on record, and a log is imported once, when empty")]


async def test_readings_that_are_gone_leave_a_gap(ledger: Ledger):
    await ledger.hand.execute(
        "INSERT INTO access_log SELECT n, now(), 'k', 'ledger', 'GET', '/', 'p-2', '{}', '{}'"
        " FROM generate_series(1, 9) AS n"
    )
    assert (await ledger.audit()).found == []
    await ledger.hand.execute("DELETE FROM access_log WHERE number IN (1, 4, 5)")
    report = await ledger.audit()
    assert "access log" in report.checked
    assert [(found.check, found.text) for found in report.found] == [
        ("access log", "between the readings 0 and 2 there should be 1 more"),
        ("access log", "between the readings 3 and 6 there should be 2 more"),
    ]


async def test_read_models_that_were_emptied_are_told_to_have_got_nowhere(ledger: Ledger):
    await ledger.hand.execute("TRUNCATE account_mentions")
    tables = next(each for each in ALL if each.name == "accounts").tables
    await ledger.hand.execute("".join(f"DELETE FROM {table};" for table in tables))
    await ledger.hand.execute("UPDATE cursors SET position = 0 WHERE projection = 'accounts'")
    report = await ledger.audit()
    assert report.read_models == dict.fromkeys(NAMES, EVENTS) | {"accounts": 0}
    assert any("as far as they have got: accounts 0" in line for line in told_to_people(report))


async def test_an_outsider_finds_what_is_recorded_twice(ledger: Ledger):
    await sql(*RECORDED_TWICE)(ledger.hand)
    rows = await ledger.hand.fetch("SELECT notification_id, state FROM stored_events ORDER BY 1")
    found, _ = Walk({}, once=True).page([Stored(position, state, None, None) for position, state in rows])
    assert ("ids", 601) in [(each.check, each.position) for each in found]


async def test_a_proof_that_lacks_a_tile_is_refused_and_said_so(ledger: Ledger):
    await ledger.hand.execute("DELETE FROM tree_tiles WHERE level = 0 AND number = 0")
    with pytest.raises(Unavailable, match="`ledger audit` says what else is"):
        await Tree("main").hashes(ledger.hand, inclusion(589, 600), 600)


async def test_hashes_alone_find_what_hashes_can(ledger: Ledger):
    await TAMPERINGS[0][1](ledger.hand)
    report = await ledger.audit(hashes_only=True)
    assert ("leaves", 17) in [(found.check, found.position) for found in report.found]
    assert "columns" not in report.checked and "read models" not in report.checked
    published = len(NAMES) * len(DIGESTS_AT)
    assert report.digests is not None and (report.digests.published, report.digests.replayed) == (published, 0)


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


async def test_the_audit_goes_on_with_the_other_keys_where_one_is_none(ledger: Ledger):
    await sql(
        "INSERT INTO verifier_keys VALUES ('garbage', 'epoch')",
        "INSERT INTO digest_keys VALUES ('rubbish', 'epoch')",
        "INSERT INTO checkpoints SELECT 1000000, note, now() FROM checkpoints",
    )(ledger.hand)
    report = await ledger.audit(kept_outside=True)
    assert [(found.check, found.position, found.text) for found in report.found] == [
        ("signatures", None, "a key that is kept: not a verifier key (name+id+key): 'garbage'"),
        ("signatures", None, "a key that is kept: not a verifier key (name+id+key): 'rubbish'"),
        ("signatures", 1_000_000, "the column beside a checkpoint says 1000000 events, its note 600"),
    ]
    assert report.digests is not None and report.digests.replayed == len(NAMES) * len(DIGESTS_AT)


async def test_the_auditor_trusts_its_own_keys_if_it_has_any(ledger: Ledger, tmp_path: Path):
    other = SigningKeys.load_or_make(tmp_path / "other.key")
    report = await ledger.audit(keys=[each.key for each in other.signers(ORIGIN)])
    assert {found.check for found in report.found} == {"signatures"}


# Digests of read models


async def replace(ledger: Ledger, position: int, changed: dict[str, Any], signing: SigningKeys) -> None:
    """Put another digest of `requirements` in the place of that of a position, with all that stands beside it."""
    note = await ledger.hand.fetchval(
        "SELECT note FROM digests WHERE projection = 'requirements' AND position = $1", position
    )
    digest = PublishedDigest.read(Note.read(note.encode()).text)._replace(**changed)
    signed = str(digest.signed(signing.signers(digests_origin(digest.origin))))
    await ledger.hand.execute("DELETE FROM digests WHERE projection = 'requirements' AND position = $1", position)
    values = (digest.projection, digest.version, digest.position, digest.digest, signed)
    await ledger.hand.execute("INSERT INTO digests VALUES ($1, $2, $3, $4, $5, clock_timestamp())", *values)


OTHER = "0" * 64


async def digest_of_another_state(ledger: Ledger) -> None:
    """A read model was wrong for a while, and its digest was published."""
    await replace(ledger, 400, {"digest": OTHER}, ledger.of_digests)


async def digest_signed_by_another_key(ledger: Ledger) -> None:
    path = ledger.database.settings.home / "other.key"
    await replace(ledger, 400, {"digest": OTHER}, SigningKeys.load_or_make(path))


async def digest_signed_by_the_key_of_checkpoints(ledger: Ledger) -> None:
    await replace(ledger, 400, {}, ledger.keys)


async def digest_of_another_log(ledger: Ledger) -> None:
    await replace(ledger, 400, {"origin": "ledger.example/other"}, ledger.of_digests)


async def digest_of_another_time(ledger: Ledger) -> None:
    await replace(ledger, 400, {"recordedtime": "2001-01-01T00:00:00.000000Z"}, ledger.of_digests)


async def digest_of_a_position_to_come(ledger: Ledger) -> None:
    await replace(ledger, 400, {"position": 601}, ledger.of_digests)


async def digest_removed_inside(ledger: Ledger) -> None:
    await ledger.hand.execute("DELETE FROM digests WHERE projection = 'requirements' AND position = 400")


async def digests_removed_inside(ledger: Ledger) -> None:
    await ledger.hand.execute("DELETE FROM digests")


async def digest_changed_beside_its_note(ledger: Ledger) -> None:
    beside = "UPDATE digests SET digest = $1 WHERE projection = 'requirements' AND position = 400"
    await ledger.hand.execute(beside, OTHER)


async def digest_changed_in_its_note(ledger: Ledger) -> None:
    await ledger.hand.execute(
        "UPDATE digests SET note = replace(note, digest, $1), digest = $1"
        " WHERE projection = 'requirements' AND position = 400",
        OTHER,
    )


async def read_model_changed_and_published_anew(ledger: Ledger) -> None:
    await ledger.hand.execute("UPDATE asks SET importance = 3 WHERE position = 123")
    await publish_anew(ledger)


async def publish_anew(ledger: Ledger) -> None:
    """Put digests of what the tables are now in the place of those that were published."""
    projection = next(each for each in ALL if each.name == "requirements")
    for position in DIGESTS_AT:
        async with ledger.hand.transaction():
            changed = await digest(ledger.hand, "ledger_main", projection, position)
        await replace(ledger, position, {"digest": changed}, ledger.of_digests)


TAMPERINGS_OF_DIGESTS: list[tuple[Callable[[Ledger], Coroutine[Any, Any, None]], int, str]] = [
    (digest_of_another_state, 400, f"requirements: the digest {OTHER} was published, and the log comes to"),
    (digest_signed_by_another_key, 400, "nobody known has signed it"),
    (digest_signed_by_the_key_of_checkpoints, 400, "nobody known has signed it"),
    (digest_of_another_log, 400, "the digest is of ledger.example/other, not of ledger.example/main"),
    (digest_of_another_time, 400, "says that its position is of 2001-01-01T00:00:00.000000Z, and it is of"),
    (digest_of_a_position_to_come, 601, "of position 601, and the log has 600 events"),
    (digest_removed_inside, 400, "kept outside the database, and not inside any more"),
    (digests_removed_inside, 400, "kept outside the database, and not inside any more"),
    (digest_changed_beside_its_note, 400, "the columns beside a digest say"),
    (digest_changed_in_its_note, 400, "is broken"),
    (read_model_changed_and_published_anew, 400, "was published, and the log comes to"),
]


async def test_what_was_done_to_digests_is_found(ledger: Ledger):
    await ledger.hand.execute("CREATE TEMP TABLE untouched AS SELECT * FROM digests")
    for tamper, position, said in TAMPERINGS_OF_DIGESTS:
        await tamper(ledger)
        report = await ledger.audit(kept_outside=True)
        found = [each.text for each in report.found if (each.check, each.position) == ("digests", position)]
        assert any(said in text for text in found), (tamper.__name__, report.found)
        assert {found.check for found in report.found} <= {"digests", "read models"}, tamper.__name__
        await ledger.hand.execute("DELETE FROM digests; INSERT INTO digests SELECT * FROM untouched")
    await ledger.hand.execute("UPDATE asks SET importance = 2 WHERE position = 123")
    assert (await ledger.audit(kept_outside=True)).found == []


async def test_what_was_done_outside_is_found_too(ledger: Ledger, tmp_path: Path):
    digest = PublishedDigest.read(Note.read(next(ledger.outside.digests()).read_bytes()).text)
    wrong = digest._replace(digest=OTHER, position=500).signed(ledger.of_digests.signers(digests_origin(ORIGIN)))
    ledger.outside.keep_digest(500, digest.projection, digest.version, str(wrong))
    ledger.outside.keep_digest(501, digest.projection, digest.version, "nothing")
    assert (await ledger.audit()).found == []
    report = await ledger.audit(kept_outside=True)
    told = [(found.check, found.position, found.text) for found in report.found]
    assert (
        "digests",
        500,
        f"{digest.projection}: a digest is kept outside the database, and not inside any more",
    ) in told
    assert any(position == 500 and "the log comes to" in text for _, position, text in told)
    assert any(position is None and "kept outside: not a signed note" in text for _, position, text in told)


async def test_a_digest_that_is_on_its_way_inside_is_no_finding(ledger: Ledger):
    await ledger.hand.execute("DELETE FROM digests WHERE position = 600")
    report = await ledger.audit(kept_outside=True)
    assert report.found == [] and report.digests is not None and report.digests.replayed == len(NAMES) * len(DIGESTS_AT)


async def test_digests_of_other_versions_are_counted_and_not_replayed(ledger: Ledger):
    for position in DIGESTS_AT:
        await replace(ledger, position, {"version": "0f0f0f0f0f0f0f0f", "digest": OTHER}, ledger.of_digests)
    report = await ledger.audit()
    assert report.found == []
    assert report.digests == DigestsLookedAt(published=20, replayed=18, of_other_versions=2)


async def test_what_signs_digests_signs_no_checkpoint(ledger: Ledger):
    """The projector may make its keys known, and under any name that it likes: they are none of checkpoints."""
    for name in (ORIGIN, digests_origin(ORIGIN)):
        [signer] = ledger.of_digests.signers(name)
        note = str(Checkpoint(ORIGIN, 17, bytes(32)).signed([signer]))
        projector = await connect(ledger.database.projector)
        await projector.execute(
            "INSERT INTO ledger_main.digest_keys VALUES ($1, clock_timestamp()) ON CONFLICT DO NOTHING", str(signer.key)
        )
        await projector.close()
        await ledger.hand.execute("INSERT INTO checkpoints VALUES (17, $1, clock_timestamp())", note)
        report = await ledger.audit()
        assert [(found.check, found.position) for found in report.found] == [("signatures", 17)]
        await ledger.hand.execute("DELETE FROM checkpoints WHERE size = 17")


async def test_the_auditor_trusts_its_own_keys_of_digests_if_it_has_any(ledger: Ledger, tmp_path: Path):
    other = SigningKeys.load_or_make(tmp_path / "other.key").signers(digests_origin(ORIGIN))
    report = await ledger.audit(keys=[each.key for each in other])
    found = {(each.check, each.position) for each in report.found}
    # Whoever names a key trusts no other under a checkpoint.
    assert found == {("digests", 400), ("digests", 600), ("signatures", EVENTS)}
    ours = ledger.of_digests.signers(digests_origin(ORIGIN)) + ledger.keys.signers(ORIGIN)
    assert (await ledger.audit(keys=[each.key for each in ours])).found == []
