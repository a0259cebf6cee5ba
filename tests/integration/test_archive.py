"""A log that is exported and imported again: the same bytes, the same root hash, the same read models, or nothing."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from services.archive.manifest import MANIFEST, ArchiveError, LogManifest, measured
from services.migrate import database_user, make_ledger, migrate
from services.postgres import connect
from services.projector.projector import Projector
from services.proof.merkle import leaf_hash
from services.sealing import MasterKeys, SealingKey
from services.signing import SigningKeys
from tests.archives import audited, checkpointed, execute, exported, imported, rows
from tests.conftest import Database
from tests.ledger_service import EVENTS, holds, serving
from tests.log import Log, erased, event, redacted
from tests.readmodels import digests, mixed, reached, ready
from tests.writers import writer

EVENTS_RECORDED = 260
STORED = "SELECT * FROM ledger_main.stored_events ORDER BY notification_id"
KEYS = "SELECT * FROM ledger_main.sealing_keys ORDER BY position"
SENT = [
    event("ask.recorded", id="said", requirement="R-1", account="acme", quote="Before our audit.", importance=3),
    event("account.profiled", id="plain", account="acme", attributes={"size": 3}, time="2026-01-05T00:00:00+05:00"),
]


async def fill(database: Database) -> None:
    async with Log.open(database) as log:
        await log.append(*SENT)
        await log.append(*mixed(EVENTS_RECORDED - len(SENT)))


@pytest.fixture
async def full(database: Database) -> AsyncIterator[Database]:
    """A database whose ledger has something to export, and a checkpoint of all of it."""
    await fill(database)
    await checkpointed(database)
    yield database


async def projected(database: Database) -> dict[str, str]:
    """The digests of the read models, once they have the whole log."""
    async with Projector(database.settings) as projector:
        await ready(projector)
        await reached(await projector.ledger("main"), EVENTS_RECORDED)
    return await digests(database, EVENTS_RECORDED)


async def test_a_log_that_is_imported_again_is_the_same_log(full: Database, another_database: Database, tmp_path: Path):
    await execute(another_database, "UPDATE registry.ledgers SET origin = 'ledger.example/another'")
    made = await exported(full, tmp_path / "out", with_keys=True, file_events_max=100)
    assert [(file.first, file.last) for file in made.files] == [(1, 100), (101, 200), (201, 260)]
    taken = await imported(another_database, tmp_path / "out")
    assert (taken.keyless, taken.made, taken.manifest) == (0, False, made)

    # Bytes, columns, fingerprints and wrapped keys; and all that follows from them.
    assert await rows(another_database, STORED) == await rows(full, STORED)
    assert await rows(another_database, KEYS) == await rows(full, KEYS) != []
    assert await projected(another_database) == await projected(full)
    here, there = await checkpointed(full), await checkpointed(another_database)
    assert (there.size, there.root) == (here.size, here.root) == (EVENTS_RECORDED, bytes.fromhex(made.root))
    assert (here.origin, there.origin) == (made.origin, "ledger.example/another")
    report = await audited(another_database)
    assert (report.found, report.events) == ([], EVENTS_RECORDED) and "read models" in report.checked

    [(_, origin, size, root, note, with_keys, keyless)] = await rows(
        another_database, "SELECT * FROM ledger_main.imports"
    )
    assert (origin, size, root.hex(), with_keys, keyless) == (made.origin, EVENTS_RECORDED, made.root, True, [])
    assert note == made.checkpoint
    with pytest.raises(ArchiveError, match=f"'main' has {EVENTS_RECORDED} events already"):
        await imported(another_database, tmp_path / "out")


async def test_the_files_hold_the_stored_bytes_and_nothing_else(full: Database, tmp_path: Path):
    made = await exported(full, tmp_path / "out", file_bytes_max=20_000)
    assert len(made.files) > 3
    lines = [line for file in made.files for line in (tmp_path / "out" / file.name).read_bytes().split(b"\n")[:-1]]
    assert lines == [row[3] for row in await rows(full, STORED)]
    assert [leaf_hash(line) for line in lines] == [row[-1] for row in await rows(full, STORED)]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {MANIFEST, *(file.name for file in made.files)}
    assert msgspec.json.decode((tmp_path / "out" / MANIFEST).read_bytes(), type=LogManifest) == made
    assert made.checkpoint is not None and not made.with_keys

    part = await exported(full, tmp_path / "part", until=7, file_events_max=3)
    assert [file.name for file in part.files] == [
        "00000000000000000001-00000000000000000003.ndjson",
        "00000000000000000004-00000000000000000006.ndjson",
        "00000000000000000007-00000000000000000007.ndjson",
    ]
    assert (part.size, part.checkpoint) == (7, None)
    for until, said in ((0, ""), (261, "the log has 260 events, and the export is to have 261")):
        if said:
            with pytest.raises(ArchiveError, match=said):
                await exported(full, tmp_path / "none", until=until)
            assert not (tmp_path / "none").exists()
        else:
            assert (await exported(full, tmp_path / "empty", until=until)).files == []


async def test_what_is_imported_and_posted_again_is_a_duplicate(
    full: Database, another_database: Database, tmp_path: Path
):
    await exported(full, tmp_path / "out", with_keys=True)
    await imported(another_database, tmp_path / "out")
    other_quote = SENT[0] | {"data": SENT[0]["data"] | {"quote": "Something else."}}
    async with serving(another_database.settings) as ledger:
        again = await ledger.post(*SENT)
        assert again.status == 200
        assert [(each["position"], each["duplicate"]) for each in again.results] == [(1, True), (2, True)]
        assert (await ledger.post(other_quote)).problem == "id-conflict"
        unsealed = await ledger.get(f"{EVENTS}/1?unseal=1")
        assert unsealed.json["data"]["quote"] == "Before our audit."
        new = await ledger.post(event("ask.recorded", requirement="R-1", account="acme"))
        assert new.results[0]["position"] == EVENTS_RECORDED + 1


@pytest.mark.parametrize("exported_with_keys", [False, True])
async def test_without_keys_what_is_sealed_stays_so_and_that_is_on_record(
    full: Database, another_database: Database, tmp_path: Path, exported_with_keys: bool
):
    made = await exported(full, tmp_path / "out", with_keys=exported_with_keys)
    for path in (tmp_path / "out").glob("*.keys.ndjson"):
        path.unlink()  # Whoever passes the log on may take them out.
    taken = await imported(another_database, tmp_path / "out", without_keys=exported_with_keys)
    sealed = len(await rows(full, KEYS))
    assert (taken.keys, taken.keyless) == (0, sealed)
    assert await rows(another_database, KEYS) == []
    [(with_keys, keyless)] = await rows(another_database, "SELECT with_keys, keyless FROM ledger_main.imports")
    assert (with_keys, keyless) == (False, [])
    assert (await checkpointed(another_database)).root.hex() == made.root
    async with serving(another_database.settings) as ledger:
        assert (await ledger.get(f"{EVENTS}/1?unseal=1")).json["data"]["quote"] is None
        # Of an event whose texts nobody can open the id alone decides.
        assert (await ledger.post(*SENT)).results[0]["duplicate"]


async def test_a_key_that_was_gone_before_the_export_is_on_record_after_the_import(
    full: Database, another_database: Database, tmp_path: Path
):
    await execute(
        full,
        "SET session_replication_role = replica",
        "ALTER TABLE ledger_main.sealing_keys DISABLE TRIGGER ALL",
        "DELETE FROM ledger_main.sealing_keys WHERE position = 1",
    )
    await exported(full, tmp_path / "out", with_keys=True)
    assert (await imported(another_database, tmp_path / "out")).keyless == 1
    assert await rows(another_database, "SELECT with_keys, keyless FROM ledger_main.imports") == [(True, [1])]


async def test_a_ledger_that_is_missing_is_made(full: Database, another_database: Database, tmp_path: Path):
    await execute(full, "UPDATE registry.ledgers SET teams = '{sales,legal}'")
    made = await exported(full, tmp_path / "out", teams=["sales", "legal"])
    taken = await imported(another_database, tmp_path / "out", "moved", origin="ledger.example/moved")
    assert (taken.made, taken.origin) == (True, "ledger.example/moved")
    registered = "SELECT origin, teams FROM registry.ledgers WHERE name = 'moved'"
    assert await rows(another_database, registered) == [("ledger.example/moved", ["sales", "legal"])]
    assert (await checkpointed(another_database, "moved")).root.hex() == made.root
    assert await rows(another_database, "SELECT count(*) FROM ledger_main.stored_events") == [(0,)]


async def test_an_older_file_of_keys_undoes_no_erasure(
    database: Database, another_database: Database, tmp_path: Path
) -> None:
    async with writer(database) as one:
        await one.record(
            event("person.introduced", person="p-1", name="Ada"),
            event("feedback.received", feedback="F-1", text="Her words.", contact="p-1"),
            event("feedback.received", feedback="F-2", text="Words of nobody."),
            event("feedback.received", feedback="F-3", text="What stays.", contact="p-2"),
        )
        older = await exported(database, tmp_path / "older", with_keys=True)
        await one.record(erased("p-1"))
        await one.record(redacted(3, "feedback/F-2"))
        await one.record(event("feedback.received", feedback="F-4", text="Said afterwards.", contact="p-1"))
    made = await exported(database, tmp_path / "out", with_keys=True)
    assert older.files[0].keys is not None and made.files[0].keys is not None
    # As if the files of two days were put together: the keys of before, and that of the last event.
    before = (tmp_path / "older" / older.files[0].keys.name).read_bytes()
    path = tmp_path / "out" / made.files[0].keys.name
    path.write_bytes(before + path.read_bytes().splitlines(keepends=True)[-1])
    hashed_anew(tmp_path / "out")
    edited(files=lambda listed: [listed[0] | {"keys": listed[0]["keys"] | {"keys": 5}}])(tmp_path / "out")

    taken = await imported(another_database, tmp_path / "out")
    assert (taken.destroyed, taken.keys, taken.keyless) == (3, 2, 0)
    assert [row[0] for row in await rows(another_database, KEYS)] == [4, 7]
    await checkpointed(another_database)
    async with Projector(another_database.settings) as projector:
        await ready(projector)
        await reached(await projector.ledger("main"), 7)
    assert (await audited(another_database)).found == []
    async with serving(another_database.settings) as ledger:
        said = [(await ledger.get(f"{EVENTS}/{position}?unseal=1")).json["data"] for position in (1, 2, 3, 4, 7)]
    assert [data.get("text", data.get("name")) for data in said] == [
        None,
        None,
        None,
        "What stays.",
        "Said afterwards.",
    ]


async def test_what_a_lost_master_key_wraps_is_not_exported(full: Database, tmp_path: Path) -> None:
    await execute(full, "UPDATE registry.master_keys SET lost_at = clock_timestamp()")
    made = await exported(full, tmp_path / "out", with_keys=True)
    assert made.with_keys and [file.keys for file in made.files] == [None]


async def test_the_master_key_of_the_exported_ledger_goes_behind_the_one_here(
    out: Path, another_database: Database
) -> None:
    path = another_database.settings.master_key
    theirs = path.read_text()
    path.unlink()
    await migrate(another_database.settings)
    with pytest.raises(ArchiveError, match="on a line of its own behind the first one in the file"):
        await imported(another_database, out)
    path.write_text(path.read_text() + theirs)
    taken = await imported(another_database, out)
    masters = MasterKeys(path)
    found = await rows(another_database, "SELECT event_id, person, master, wrapped FROM ledger_main.sealing_keys")
    kept = [SealingKey(event_id=row[0], person=row[1], master=row[2], wrapped=row[3]) for row in found]
    assert len(kept) == taken.keys > 0
    assert all(masters.newest.unwrap(key) for key in kept)


async def test_while_a_log_is_imported_ledgers_are_made_and_services_start(
    out: Path, another_database: Database
) -> None:
    holder, owner = await connect(another_database.superuser), await connect(another_database.owner)
    try:
        async with holder.transaction():
            # What keeps sealing keys needs this row, so the import waits in the middle.
            await holder.execute("SELECT FROM registry.master_keys FOR UPDATE")
            importing = asyncio.create_task(imported(another_database, out, "new"))

            async def waits() -> bool:
                assert not importing.done()
                found = await owner.fetch("SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'")
                return bool(found)

            await holds(waits)
            await migrate(another_database.settings)
            assert await make_ledger(owner, another_database.settings, "other")
            # Only who wants the very ledger is told that somebody is at it, and keeps nobody waiting.
            with pytest.raises(asyncpg.LockNotAvailableError):
                await make_ledger(owner, another_database.settings, "new")
            assert not importing.done()
        assert (await importing).made
    finally:
        await owner.close()
        await holder.close()
    assert await rows(another_database, "SELECT name FROM registry.ledgers ORDER BY 1") == [
        ("main",),
        ("new",),
        ("other",),
    ]


# What is not an export, or not one that can be taken in


def edited(**changes: Any) -> Callable[[Path], None]:
    """Change members of the manifest."""

    def change(out: Path) -> None:
        manifest = msgspec.json.decode((out / MANIFEST).read_bytes())
        for name, value in changes.items():
            manifest[name] = value(manifest[name]) if callable(value) else value
        (out / MANIFEST).write_bytes(msgspec.json.encode(manifest))

    return change


def files(out: Path) -> list[Path]:
    return sorted(path for path in out.glob("*.ndjson") if ".keys." not in path.name)


def cut(out: Path) -> None:
    files(out)[1].write_bytes(files(out)[1].read_bytes()[:-20])


def swap(out: Path) -> None:
    first, second, _ = files(out)
    spare = out / "spare"
    first.rename(spare)
    second.rename(first)
    spare.rename(second)


def change_a_byte(out: Path) -> None:
    path = files(out)[1]
    path.write_bytes(path.read_bytes().replace(b"secret", b"SECRET").replace(b"urn:test", b"urn:tesT", 1))


def change_and_hash_anew(out: Path) -> None:
    """As somebody would who also knows what the manifest is for."""
    path = files(out)[1]
    path.write_bytes(path.read_bytes().replace(b"urn:test", b"urn:tesT", 1))
    hashed_anew(out)


def hashed_anew(out: Path) -> None:
    def anew(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for each in listed:
            for file in (each, each["keys"]):
                if file is not None:
                    found = measured((out / file["name"]).read_bytes())
                    file.update(bytes=found.bytes, sha256=found.sha256)
        return listed

    edited(files=anew)(out)


def remove_a_line(out: Path) -> None:
    path = files(out)[1]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:4] + path.read_bytes().splitlines(True)[5:]))
    hashed_anew(out)


def turn_two_lines(out: Path) -> None:
    path = files(out)[1]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3], lines[4] = lines[4], lines[3]
    path.write_bytes(b"".join(lines))
    hashed_anew(out)


def a_line_is_no_event(out: Path) -> None:
    path = files(out)[2]
    lines = path.read_bytes().splitlines(keepends=True)
    lines[9] = b'{"hello": "world"}\n'
    path.write_bytes(b"".join(lines))
    hashed_anew(out)


def a_type_that_nobody_knows(out: Path) -> None:
    path = files(out)[0]
    path.write_bytes(path.read_bytes().replace(b"ledger.account.profiled.v1", b"ledger.account.profiled.v9", 1))
    hashed_anew(out)


def a_line_with_spaces(out: Path) -> None:
    path = files(out)[0]
    path.write_bytes(path.read_bytes().replace(b',"source":', b', "source":', 1))
    hashed_anew(out)


def a_text_with_nul(out: Path) -> None:
    path = files(out)[0]
    path.write_bytes(path.read_bytes().replace(b',"id":"', b',"id":"\\u0000', 1))
    hashed_anew(out)


def a_key_of_another_event(out: Path) -> None:
    path = next(out.glob("*-00000000000000000100.keys.ndjson"))
    lines = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    lines[0]["wrapped"], lines[1]["wrapped"] = lines[1]["wrapped"], lines[0]["wrapped"]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    hashed_anew(out)


def a_key_about_somebody_else(out: Path) -> None:
    """An erasure would not find it."""
    path = next(out.glob("*-00000000000000000100.keys.ndjson"))
    first, *others = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    path.write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in (first | {"person": "p-9"}, *others)))
    hashed_anew(out)


NAMES = [f"{first:020d}-{last:020d}.ndjson" for first, last in ((1, 100), (101, 200), (201, 260))]

BAD: list[tuple[str, Callable[[Path], None], str]] = [
    ("the last line is cut", cut, rf"{NAMES[1]} has \d+ bytes, .* says \d+; it ends within line 100 \(position 200\)"),
    ("a file is missing", lambda out: files(out)[2].unlink(), f"{NAMES[2]} is missing"),
    ("a byte is changed", change_a_byte, f"{NAMES[1]} has the SHA-256 "),
    (
        "a byte is changed, and its hash",
        change_and_hash_anew,
        "the first 260 events have another root hash than manifest.json or the checkpoint in",
    ),
    ("files are swapped", swap, rf"{NAMES[0]} has .* line 1 \(position 1\) is not the event of that position"),
    ("a line is removed", remove_a_line, f"{NAMES[1]} has 99 whole lines, .* says 100 events"),
    ("two lines are swapped", turn_two_lines, rf"{NAMES[1]}, line 4 \(position 104\): .* this is position 105"),
    ("a line is no event", a_line_is_no_event, rf"{NAMES[2]}, line 10 \(position 210\): not a recorded event"),
    ("a type is unknown", a_type_that_nobody_knows, r"line 2 \(position 2\): .* cannot read it: no such event type"),
    ("a line has spaces", a_line_with_spaces, r"line 1 \(position 1\): .* as no ledger writes it"),
    ("a text has U+0000", a_text_with_nul, r"line 1 \(position 1\): .* as no ledger writes it"),
    ("keys are swapped", a_key_of_another_event, r"keys\.ndjson, line 1 \(position 1\): the wrapped key was changed"),
    (
        "a key is about somebody else",
        a_key_about_somebody_else,
        r"position 1\): .* is about p-9, and it is about nobody",
    ),
    ("no manifest", lambda out: (out / MANIFEST).unlink(), "manifest.json cannot be read: No such file"),
    ("no JSON", lambda out: (out / MANIFEST).write_text("{"), "manifest.json is not the manifest of an exported log"),
    ("another format", edited(format="a heap"), "this is 'a heap', not an exported log"),
    ("another version", edited(version=2), "has the format version 2, and this software reads 1"),
    ("another root", edited(root="0" * 64), "the first 260 events have another root hash than manifest.json or"),
    ("another size", edited(size=261), "its files have 260 events, and it says 261"),
    ("no size", edited(size="many"), "Expected `int`, got `str`"),
    ("no events", edited(size=0, files=[], checkpoint=None), "the log has no events"),
    ("another origin", edited(origin="elsewhere"), "its checkpoint is of .*, and the log is elsewhere"),
    (
        "another checkpoint",
        edited(checkpoint=lambda note: note.replace("\n260\n", "\n259\n")),
        "the first 259 events have another root hash than the checkpoint in manifest.json says",
    ),
    ("no checkpoint", edited(checkpoint="hello"), "its checkpoint cannot be read: not a signed note"),
    ("a gap", edited(files=lambda files: files[:1] + files[2:]), "the positions 201 to 260, after 100"),
    (
        "a path",
        edited(files=lambda files: [files[0] | {"name": "../../etc/passwd"}, *files[1:]]),
        f"it names a file '../../etc/passwd', which has to be {NAMES[0]}",
    ),
    ("no keys", edited(with_keys=False), "it names files of keys, and says that it has none"),
]


@pytest.fixture
async def out(full: Database, tmp_path: Path) -> Path:
    await exported(full, tmp_path / "out", with_keys=True, file_events_max=100)
    return tmp_path / "out"


async def test_what_is_not_what_was_exported_is_named_and_not_taken(
    out: Path, another_database: Database, tmp_path: Path
):
    for number, (what, change, said) in enumerate(BAD):
        changed = tmp_path / f"changed-{number}"
        shutil.copytree(out, changed)
        change(changed)
        with pytest.raises(ArchiveError, match=said) as refused:
            await imported(another_database, changed, "new")
        assert "\n" not in str(refused.value), what
    assert await rows(another_database, "SELECT name FROM registry.ledgers") == [("main",)]
    assert await rows(another_database, "SELECT 1 FROM pg_namespace WHERE nspname LIKE '%new'") == []
    assert (await imported(another_database, out, "new")).made


async def test_an_import_asks_for_what_it_needs(out: Path, another_database: Database, full: Database, tmp_path: Path):
    signers = SigningKeys.load_or_make(full.settings.signing_key).signers((await checkpointed(full)).origin)
    stranger = SigningKeys.load_or_make(tmp_path / "other.key").signers(signers[0].key.name)
    with pytest.raises(ArchiveError, match="is not signed by --key: nobody known has signed it"):
        await imported(another_database, out, trusted=stranger[0].key)
    with pytest.raises(ArchiveError, match="'main' is there already, and its origin is"):
        await imported(another_database, out, origin="ledger.example/other")
    with pytest.raises(ArchiveError, match="is not a directory"):
        await imported(another_database, tmp_path / "nowhere")
    part = tmp_path / "part"
    await exported(full, part, until=100)
    with pytest.raises(ArchiveError, match="no checkpoint came with this log"):
        await imported(another_database, part, trusted=signers[0].key)

    kept = another_database.settings.master_key.read_bytes()
    another_database.settings.master_key.unlink()
    other = MasterKeys.load_or_make(another_database.settings.master_key)
    with pytest.raises(
        ArchiveError, match=rf"position 1\): the text was sealed under .* has {other.newest.name}.*--without-"
    ):
        await imported(another_database, out)
    another_database.settings.master_key.write_bytes(kept)
    assert await rows(another_database, "SELECT count(*) FROM ledger_main.stored_events") == [(0,)]
    assert await rows(another_database, "SELECT count(*) FROM ledger_main.imports") == [(0,)]

    await execute(another_database, "UPDATE registry.migrations SET checksum = 'x' WHERE name = '004_tree.sql'")
    with pytest.raises(ArchiveError, match="of another version"):
        await imported(another_database, out)
    await execute(another_database, "DROP SCHEMA registry CASCADE")
    with pytest.raises(ArchiveError, match="run `ledger migrate` first"):
        await imported(another_database, out)

    taken = await imported(full, out, "copy", trusted=signers[0].key)
    assert (taken.signed, taken.made) == (EVENTS_RECORDED, True)


async def test_an_event_that_is_there_twice_is_named(full: Database, another_database: Database, tmp_path: Path):
    await execute(
        full,
        "ALTER TABLE ledger_main.stored_events DISABLE TRIGGER ALL",
        "ALTER TABLE ledger_main.stored_events DROP CONSTRAINT stored_events_event_once",
        "UPDATE ledger_main.stored_events SET leaf_hash = sha256('\\x00'::bytea || state), state = state"
        " WHERE notification_id = 3",
        "UPDATE ledger_main.stored_events SET state = convert_to(regexp_replace(convert_from(state, 'UTF8'),"
        ' \'"id":"[^"]*"\', \'"id":"plain"\'), \'UTF8\') WHERE notification_id = 3',
        "UPDATE ledger_main.stored_events SET leaf_hash = sha256('\\x00'::bytea || state) WHERE notification_id = 3",
        "ALTER TABLE ledger_main.checkpoints DISABLE TRIGGER ALL",
        "DELETE FROM ledger_main.checkpoints",
    )
    await exported(full, tmp_path / "out", file_events_max=2)
    with pytest.raises(ArchiveError, match="event at position 3 has the source and id of an earlier one"):
        await imported(another_database, tmp_path / "out")
    assert await rows(another_database, "SELECT count(*) FROM ledger_main.stored_events") == [(0,)]


async def test_a_log_that_is_not_whole_is_not_exported(full: Database, tmp_path: Path):
    await execute(
        full,
        "ALTER TABLE ledger_main.stored_events DISABLE TRIGGER ALL",
        "UPDATE ledger_main.stored_events SET state = state || '\\x0a'::bytea WHERE notification_id = 17",
    )
    with pytest.raises(ArchiveError, match="position 17: the leaf hash is not that of the stored bytes"):
        await exported(full, tmp_path / "out")
    await execute(
        full,
        "ALTER TABLE ledger_main.stored_events DISABLE TRIGGER ALL",
        "UPDATE ledger_main.stored_events SET leaf_hash = sha256('\\x00'::bytea || state) WHERE notification_id = 17",
    )
    with pytest.raises(ArchiveError, match="position 17: the stored bytes have a line feed"):
        await exported(full, tmp_path / "out", until=100)
    with pytest.raises(ArchiveError, match="position 260: the first 260 events have another root"):
        await exported(full, tmp_path / "out")
    assert [*tmp_path.glob("*out*")] == []


async def test_a_directory_that_has_something_in_it_is_left_alone(full: Database, tmp_path: Path):
    (tmp_path / "there").mkdir()
    assert (await exported(full, tmp_path / "there")).size == EVENTS_RECORDED
    (tmp_path / "file").write_text("mine")
    for place, said in (
        (tmp_path / "there", "is not empty"),
        (tmp_path / "file", "is not a directory"),
        (tmp_path / "none" / "deeper", "none is not a directory"),
    ):
        with pytest.raises(ArchiveError, match=said):
            await exported(full, place)
    assert (tmp_path / "file").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"there", "file", "home"}


async def test_what_was_imported_stays_on_record(another_database: Database, out: Path):
    await imported(another_database, out)
    writer = database_user(another_database.writer)
    await execute(another_database, f"GRANT INSERT, UPDATE, DELETE, TRUNCATE ON ledger_main.imports TO {writer}")
    await migrate(another_database.settings)  # Takes back what is granted besides.
    changes = (
        "UPDATE ledger_main.imports SET with_keys = false",
        "DELETE FROM ledger_main.imports",
        "TRUNCATE ledger_main.imports",
        "INSERT INTO ledger_main.imports VALUES (now(), 'x', 1, sha256('x'), NULL, false, '{}')",
    )
    for role in ("owner", "writer", "projector", "auditor"):
        refusal = asyncpg.RestrictViolationError if role == "owner" else asyncpg.InsufficientPrivilegeError
        connection = await connect(getattr(another_database, role))
        try:
            assert await connection.fetchval("SELECT size FROM ledger_main.imports") == EVENTS_RECORDED
            for change in changes[:-1] if role == "owner" else changes:
                with pytest.raises(refusal):
                    await connection.execute(change)
        finally:
            await connection.close()
