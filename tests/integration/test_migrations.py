"""Migrations: from nothing, again, all at once, and refused where they would guess."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import pytest
from structlog.testing import capture_logs

from services import keys, migrate
from services.migrate import MigrationError, make_ledger
from services.postgres import connect
from services.settings import DATABASE_FILE, Role, Settings
from tests.conftest import Cluster, Database

RUNS_AT_ONCE = 4
SECONDS_MAX = 60
MIGRATE = "import asyncio\nfrom services.migrate import migrate\nfrom services.settings import Settings\n" + (
    "asyncio.run(migrate(Settings.load()))\n"
)


@pytest.fixture
async def empty(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Settings]:
    """Settings that lead to a database with nothing in it, and to a home that is not there yet."""
    name = f"test_{secrets.token_hex(6)}"
    administrator = await connect(cluster.superuser)
    await administrator.execute(f"CREATE DATABASE {name} TEMPLATE template0 OWNER {cluster.users['owner']}")
    urls = cluster.urls(name)
    yield Settings(
        home=tmp_path / "home",
        database_url=urls["owner"],
        writer_url=urls["writer"],
        projector_url=urls["projector"],
        auditor_url=urls["auditor"],
    )
    await administrator.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await administrator.close()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The migration files, copied to where a test may change them."""
    copied = tmp_path / "migrations"
    for file in migrate._MIGRATIONS.rglob("*.sql"):
        target = copied / file.relative_to(migrate._MIGRATIONS)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.read_text())
    monkeypatch.setattr(migrate, "_MIGRATIONS", copied)
    return copied


async def everything(settings: Settings) -> dict[str, list[tuple[object, ...]]]:
    """What a migration makes: relations with their columns and privileges, triggers, functions, rows."""
    connection = await connect(settings.url("owner"))
    own = "n.nspname IN (SELECT nspname FROM pg_namespace WHERE nspname ~ '^(registry|ledger_|rebuild_)')"
    queries = {
        "schemas": f"SELECT nspname, nspacl::text FROM pg_namespace n WHERE {own} ORDER BY 1",
        "relations": f"SELECT n.nspname, relname, relkind, relacl::text FROM pg_class c JOIN pg_namespace n"
        f" ON n.oid = relnamespace WHERE {own} ORDER BY 1, 2",
        "columns": f"SELECT n.nspname, relname, attname, atttypid::regtype::text, attacl::text FROM pg_attribute"
        f" JOIN pg_class c ON c.oid = attrelid JOIN pg_namespace n ON n.oid = relnamespace"
        f" WHERE {own} AND attnum > 0 ORDER BY 1, 2, 3",
        "triggers": f"SELECT n.nspname, tgname, tgenabled::text FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid"
        f" JOIN pg_namespace n ON n.oid = relnamespace WHERE {own} ORDER BY 1, 2",
        "migrations": "SELECT scope, name, checksum, applied_at FROM registry.migrations ORDER BY 1, 2",
        "ledgers": "SELECT * FROM registry.ledgers ORDER BY name",
        "keys": "SELECT * FROM registry.api_keys ORDER BY key",
    }
    try:
        return {name: [tuple(row) for row in await connection.fetch(query)] for name, query in queries.items()}
    finally:
        await connection.close()


def migrations(folder: str) -> list[str]:
    """The migrations of a folder, in the order in which they run."""
    return sorted(path.name for path in (Path(migrate.__file__).with_name("migrations") / folder).glob("*.sql"))


def in_files(settings: Settings) -> set[str | None]:
    """The keys that lie in LEDGER_HOME."""
    return {keys.key_id((settings.home / name).read_text().strip()) for name in ("admin.key", "receiver.key")}


async def test_from_an_empty_database(empty: Settings) -> None:
    await migrate.migrate(empty)
    made = await everything(empty)
    assert [row[0] for row in made["schemas"]] == ["ledger_main", "rebuild_main", "registry"]
    assert [row[:2] for row in made["migrations"]] == [
        *(("ledger main", name) for name in migrations("ledger")),
        *(("registry", name) for name in migrations("registry")),
    ]
    assert [row[0] for row in made["ledgers"]] == ["main"]
    # ENABLE ALWAYS, so that no replication role silences them.
    assert {row[2] for row in made["triggers"]} == {"A"}
    assert {row[0] for row in made["keys"]} == in_files(empty)
    for name in ("admin.key", "receiver.key"):
        assert (empty.home / name).stat().st_mode & 0o777 == 0o600
    # Its columns: key, name, hash, scopes.
    assert {row[1]: row[3] for row in made["keys"]} == {"admin": ["admin"], "receiver": ["observe"]}


async def test_again_changes_nothing(empty: Settings) -> None:
    await migrate.migrate(empty, ledgers=["main", "other-line"])
    before = await everything(empty)
    await migrate.migrate(empty, ledgers=["main", "other-line"])
    assert await everything(empty) == before


async def test_a_grant_that_was_lost_is_given_again(database: Database) -> None:
    connection = await connect(database.owner)
    try:
        await connection.execute(f"REVOKE ALL ON ledger_main.stored_events FROM {urlsplit(database.writer).username}")
    finally:
        await connection.close()
    await migrate.migrate(database.settings)
    connection = await connect(database.writer)
    try:
        assert await connection.fetchval("SELECT count(*) FROM ledger_main.stored_events") == 0
    finally:
        await connection.close()


async def test_a_grant_that_is_no_longer_given_is_taken_back(database: Database) -> None:
    before = await everything(database.settings)
    writer = urlsplit(database.writer).username
    connection = await connect(database.owner)
    try:
        await connection.execute(
            f"GRANT DELETE, UPDATE (subject) ON ledger_main.stored_events TO {writer};"
            f"GRANT DELETE ON registry.api_keys TO {writer}; GRANT CREATE ON SCHEMA registry TO {writer};"
            f"GRANT CREATE ON SCHEMA ledger_main, rebuild_main TO {writer}"
        )
    finally:
        await connection.close()
    assert await everything(database.settings) != before
    await migrate.migrate(database.settings)
    assert await everything(database.settings) == before


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that waits for hundredths of a second where it would wait for seconds."""
    monkeypatch.setattr(migrate, "LOCK_SECONDS_MAX", 0.05)
    monkeypatch.setattr(migrate, "PAUSE_SECONDS", 0.05)


async def test_a_migration_does_not_queue_behind_a_long_transaction(
    database: Database, files: Path, hasty: None
) -> None:
    (files / "ledger/002_more.sql").write_text("ALTER TABLE {schema}.stored_events ADD COLUMN more int;\n")
    holder = await connect(database.auditor)
    try:
        async with asyncio.timeout(SECONDS_MAX), holder.transaction():
            await holder.fetch("SELECT FROM ledger_main.stored_events")
            with pytest.raises(MigrationError, match=r"ledger main was not migrated: .* `ledger migrate` again"):
                await migrate.migrate(database.settings)
            assert await migrate.differences(holder) == ["ledger main lacks 002_more.sql; run `ledger migrate`"]
    finally:
        await holder.close()


async def test_a_migration_goes_on_when_the_long_transaction_has_ended(
    database: Database, files: Path, hasty: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "TRIES_MAX", 1_000)
    (files / "ledger/002_more.sql").write_text("ALTER TABLE {schema}.stored_events ADD COLUMN more int;\n")
    holder = await connect(database.auditor)
    try:
        async with asyncio.timeout(SECONDS_MAX):
            async with holder.transaction():
                await holder.fetch("SELECT FROM ledger_main.stored_events")
                with capture_logs() as lines:
                    migrating = asyncio.create_task(migrate.migrate(database.settings))
                    while not any(line["event"] == "migration_waits" for line in lines):
                        await asyncio.sleep(0.01)
            await migrating
        assert await migrate.differences(holder) == []
    finally:
        await holder.close()


async def test_what_differs_from_this_version_is_named(database: Database, files: Path) -> None:
    await migrate.migrate(database.settings, ledgers=["other-line"])
    connection = await connect(database.writer)
    try:
        assert await migrate.differences(connection) == []
        (files / "registry/002_more.sql").write_text("SELECT 1;\n")
        (files / "ledger/001_log.sql").rename(files / "ledger/002_log.sql")
        assert await migrate.differences(connection) == [
            "ledger main lacks 002_log.sql; run `ledger migrate`",
            "ledger main has 001_log.sql of another version; run that version",
            "ledger other-line lacks 002_log.sql; run `ledger migrate`",
            "ledger other-line has 001_log.sql of another version; run that version",
            "registry lacks 002_more.sql; run `ledger migrate`",
        ]
    finally:
        await connection.close()


async def test_processes_that_start_at_once_on_an_empty_home(empty: Settings) -> None:
    """As containers do that all run `migrate` before they serve."""
    for _ in range(2):
        runs = [
            subprocess.Popen([sys.executable, "-c", MIGRATE], env=empty.environ(), stderr=subprocess.PIPE, text=True)
            for _ in range(RUNS_AT_ONCE)
        ]
        ends = [await asyncio.to_thread(run.communicate, timeout=SECONDS_MAX) for run in runs]
        assert [run.returncode for run in runs] == [0] * RUNS_AT_ONCE, ends
    made = await everything(empty)
    assert len(made["migrations"]) == len(migrations("registry")) + len(migrations("ledger"))
    assert len(made["ledgers"]) == 1
    assert {row[0] for row in made["keys"]} == in_files(empty)


async def test_tasks_that_start_at_once(empty: Settings) -> None:
    await asyncio.gather(*(migrate.migrate(empty, ledgers=["main", f"line-{n}"]) for n in range(RUNS_AT_ONCE)))
    made = await everything(empty)
    assert [row[0] for row in made["ledgers"]] == [f"line-{n}" for n in range(RUNS_AT_ONCE)] + ["main"]
    assert len(made["migrations"]) == len(migrations("registry")) + (RUNS_AT_ONCE + 1) * len(migrations("ledger"))


async def test_ledgers_made_at_once(database: Database) -> None:
    """The same one by several: one makes it. Different ones: all are made."""
    names = ["a", "a", "a", "b", "c-d"]
    connections = [await connect(database.owner) for _ in names]
    try:
        made = await asyncio.gather(
            *(
                make_ledger(connection, database.settings, name, teams=[f"team {number}"])
                for number, (connection, name) in enumerate(zip(connections, names, strict=True))
            )
        )
        kept = await connections[0].fetch("SELECT name, schema, teams FROM registry.ledgers ORDER BY name")
    finally:
        for connection in connections:
            await connection.close()
    assert sorted(made[:3]) == [False, False, True]
    assert made[3:] == [True, True]
    assert [(row["name"], row["schema"]) for row in kept] == [
        ("a", "ledger_a"), ("b", "ledger_b"), ("c-d", "ledger_c-d"), ("main", "ledger_main"),
    ]  # fmt: skip
    assert kept[0]["teams"] == [f"team {made.index(True)}"]


async def test_a_ledger_that_cannot_be_made_leaves_nothing(database: Database) -> None:
    connection = await connect(database.owner)
    try:
        with pytest.raises(asyncpg.CheckViolationError):
            await make_ledger(connection, database.settings, "Not A Name")
    finally:
        await connection.close()
    assert [row[0] for row in (await everything(database.settings))["ledgers"]] == ["main"]


@pytest.mark.parametrize("file", ["registry/001_registry.sql", "ledger/001_log.sql"])
async def test_a_file_that_was_changed_after_it_ran_is_refused(database: Database, files: Path, file: str) -> None:
    before = await everything(database.settings)
    (files / file).write_text((files / file).read_text() + "CREATE TABLE {schema}.more ();\n")
    with pytest.raises(MigrationError, match=rf"{file} was changed after it ran .*; add a new file"):
        await migrate.migrate(database.settings)
    assert await everything(database.settings) == before


@pytest.mark.parametrize("file", ["registry/002_more.sql", "ledger/002_more.sql"])
async def test_a_database_of_a_newer_version_is_refused(database: Database, files: Path, file: str) -> None:
    (files / file).write_text("SELECT 1;\n")
    await migrate.migrate(database.settings)
    before = await everything(database.settings)
    (files / file).unlink()
    with pytest.raises(MigrationError, match=r"migrated by a newer version \(002_more\.sql\); run that version"):
        await migrate.migrate(database.settings)
    assert await everything(database.settings) == before


async def test_a_new_file_runs_on_every_ledger(database: Database, files: Path) -> None:
    await migrate.migrate(database.settings, ledgers=["other-line"])
    (files / "ledger/002_more.sql").write_text("CREATE TABLE {schema}.more ();\n")
    await migrate.migrate(database.settings, ledgers=["third"])
    relations = (await everything(database.settings))["relations"]
    assert [row[0] for row in relations if row[1] == "more"] == ["ledger_main", "ledger_other-line", "ledger_third"]


async def test_a_file_that_fails_is_not_noted_and_can_be_mended(database: Database, files: Path) -> None:
    file = files / "ledger/002_more.sql"
    file.write_text("CREATE TABLE {schema}.more (); SELECT 1 / 0;\n")
    with pytest.raises(asyncpg.DivisionByZeroError):
        await migrate.migrate(database.settings)
    file.write_text("CREATE TABLE {schema}.more ();\n")
    await migrate.migrate(database.settings)


async def test_a_database_that_has_what_would_not_be_taken_today_is_migrated_and_takes_no_more(
    database: Database,
) -> None:
    """A checkpoint under another size than its own, a digest of another read model, keys that are none."""
    amiss = {
        "checkpoints": ("checkpoints_say_their_size", "(9, E'of\n3\nroot\n', now())"),
        "digests": (
            "digests_say_what_they_are",
            "('asks', 'v', 3, repeat('0', 64), E'of\nrequirements v\n3\n', now())",
        ),
        "verifier_keys": ("verifier_keys_have_their_form", "('garbage', now())"),
        "digest_keys": ("digest_keys_have_their_form", "('garbage', now())"),
    }
    roles = {"checkpoints": database.writer, "digests": database.projector}
    roles |= {"verifier_keys": database.writer, "digest_keys": database.projector}
    owner = await connect(database.owner)
    await owner.execute("DELETE FROM registry.migrations WHERE scope = 'ledger main' AND name LIKE '012%'")
    for table, (constraint, row) in amiss.items():
        await owner.execute(f"ALTER TABLE ledger_main.{table} DROP CONSTRAINT {constraint}")
        await owner.execute(f"INSERT INTO ledger_main.{table} VALUES {row}")

    await migrate.migrate(database.settings)
    for table, (constraint, row) in amiss.items():
        assert await owner.fetchval(f"SELECT count(*) FROM ledger_main.{table}") == 1
        connection = await connect(roles[table])
        with pytest.raises(asyncpg.CheckViolationError, match=constraint):
            await connection.execute(f"INSERT INTO ledger_main.{table} VALUES {row}")
        await connection.close()
    await owner.close()


async def test_a_key_file_that_holds_no_key_is_named(database: Database) -> None:
    path = database.settings.home / "admin.key"
    path.write_text("not a key\n")
    with pytest.raises(MigrationError, match=r"admin\.key does not hold a key; remove it"):
        await migrate.migrate(database.settings)


async def test_one_role_for_everything(cluster: Cluster, empty: Settings) -> None:
    """A URL for the owner alone serves all roles."""
    alone = msgspec.structs.replace(empty, writer_url=None, projector_url=None, auditor_url=None)
    await migrate.migrate(alone)
    await migrate.migrate(alone)


async def test_a_url_that_names_no_user(cluster: Cluster, empty: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user then is what libpq takes for it: PGUSER, or the system's."""
    owner = cluster.users["owner"]
    monkeypatch.setenv("PGUSER", owner)
    monkeypatch.setenv("PGPASSWORD", owner)
    parts = urlsplit(empty.url("owner"))
    nameless = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
    await migrate.migrate(
        Settings(home=empty.home, database_url=nameless.replace("postgresql:/test", "postgresql:///test"))
    )


def test_a_home_is_prepared_if_this_version_has_migrated_it_and_its_keys_are_there(files: Path, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    settings.home.mkdir()
    assert not migrate.is_prepared(settings)
    needed = ["database.json", "master.key", "signing.key", "projector-signing.key", "receiver.key"]
    for name in needed:
        (settings.home / name).touch()
    marked = settings.home / migrate.PREPARED
    marked.write_text(migrate._version())
    assert migrate.is_prepared(settings)

    for name in needed:
        (settings.home / name).rename(tmp_path / "away")
        assert not migrate.is_prepared(settings)
        (tmp_path / "away").rename(settings.home / name)
    assert migrate.is_prepared(settings)
    elsewhere = msgspec.structs.replace(settings, receiver_key_file=tmp_path / "elsewhere")
    assert not migrate.is_prepared(elsewhere)

    migration = files / "ledger" / "001_log.sql"
    text = migration.read_text()
    migration.write_text(text + "-- another version")
    assert not migrate.is_prepared(settings)
    migration.write_text(text)
    assert migrate.is_prepared(settings)
    (files / "registry" / "999_more.sql").write_text("SELECT 1")
    assert not migrate.is_prepared(settings)


async def test_a_home_that_takes_no_note_of_it_is_migrated_all_the_same(empty: Settings) -> None:
    empty.home.mkdir()
    urls = {role: empty.url(role) for role in get_args(Role)}
    (empty.home / DATABASE_FILE).write_bytes(msgspec.json.encode({"urls": urls}))
    (empty.home / migrate.PREPARED).mkdir()  # Where the note would lie.
    embedded = Settings(home=empty.home)
    with capture_logs() as logs:
        await migrate.migrate(embedded)
    assert logs[-1]["event"] == "migrated_not_noted" and str(empty.home / migrate.PREPARED) in logs[-1]["reason"]
    connection = await connect(embedded.url("auditor"))
    assert await migrate.differences(connection) == []
    await connection.close()
