"""`ledger scrub-keys` on a server of one's own: it does what it may, waits for nobody for ever, says what is left."""

from pathlib import Path

import asyncpg
import pytest
from msgspec.structs import replace

from services import scrub_keys as scrubbing
from services.embedded import EmbeddedPostgres
from services.migrate import MigrationError, migrate
from services.postgres import connect
from services.scrub_keys import KeysLeft, scrub_keys
from services.settings import Settings
from tests.conftest import Cluster, Database
from tests.log import erased, event
from tests.writers import writer

KEYS = "ledger_main.sealing_keys"


async def file(database: Database) -> int:
    connection = await connect(database.superuser)
    try:
        found: int = await connection.fetchval("SELECT pg_relation_filenode($1::text::regclass)", KEYS)
        return found
    finally:
        await connection.close()


async def told(database: Database) -> list[str]:
    """What it tells; what is left is raised."""
    said: list[str] = []
    await scrub_keys(database.settings, said.append)
    return said


@pytest.fixture
async def kept(database: Database) -> dict[int, bytes]:
    """A ledger in which one of two persons was erased: the keys that are left, by position."""
    async with writer(database) as one:
        await one.record(*(event("person.introduced", person=f"p-{number}", name="Ada") for number in (1, 2)))
        await one.record(erased("p-1"))
        return {row["position"]: row["wrapped"] for row in await one.pool.fetch(f"SELECT * FROM {KEYS}")}


async def granted(cluster: Cluster, database: Database) -> asyncpg.Connection:
    """Let the owner switch and check, as the message says."""
    superuser = await connect(database.superuser)
    owner = cluster.users["owner"]
    await superuser.execute(f"GRANT EXECUTE ON FUNCTION pg_switch_wal(), pg_ls_waldir() TO {owner}")
    await superuser.execute(f"GRANT pg_checkpoint TO {owner}")
    return superuser


async def test_an_owner_without_the_privileges_rewrites_the_tables_and_says_what_to_grant(
    database: Database, kept: dict[int, bytes]
) -> None:
    before = await file(database)
    said: list[str] = []
    with pytest.raises(KeysLeft, match=r"GRANT pg_checkpoint TO \w+; GRANT EXECUTE ON FUNCTION pg_switch_wal"):
        await scrub_keys(database.settings, said.append)
    assert await file(database) != before
    assert said[0] == "Ledger main: the table of keys was written anew, with the 1 that there are."


async def test_with_them_nothing_is_left_and_the_keys_that_live_are_there(
    cluster: Cluster, database: Database, kept: dict[int, bytes]
) -> None:
    superuser = await granted(cluster, database)
    try:
        segments = {row[0] for row in await superuser.fetch("SELECT name FROM pg_ls_waldir() WHERE length(name) = 24")}
        before = await file(database)
        said = await told(database)
        assert any("those before are gone" in each for each in said) and "Backups" in said[-1]
        assert await file(database) != before
        now = {row[0] for row in await superuser.fetch("SELECT name FROM pg_ls_waldir() WHERE length(name) = 24")}
        assert not segments & now
        assert {row["position"]: row["wrapped"] for row in await superuser.fetch(f"SELECT * FROM {KEYS}")} == kept
    finally:
        await superuser.close()


async def test_somebody_who_sees_what_was_before_is_waited_for_and_then_named(
    cluster: Cluster, database: Database, kept: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "OTHERS_SECONDS_MAX", 0.2)
    superuser = await granted(cluster, database)
    reader = await connect(database.auditor)
    try:
        async with reader.transaction(isolation="repeatable_read"):
            pid = await reader.fetchval("SELECT pg_backend_pid()")
            with pytest.raises(KeysLeft, match=rf"processes {pid}\. "):
                await told(database)
        assert await told(database)
    finally:
        await reader.close()
        await superuser.close()


async def test_a_prepared_transaction_of_another_program_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrubbing, "OTHERS_SECONDS_MAX", 0.2)
    server = EmbeddedPostgres(tmp_path / "home", durable=False)
    settings = Settings(home=tmp_path / "home", database_url=None)
    try:
        await server.start()
        superuser = await connect(server.superuser_url())
        await superuser.execute("ALTER SYSTEM SET max_prepared_transactions = 2")
        await superuser.close()
        await server.stop()
        await server.start()
        settings = replace(settings, database_url=server.superuser_url())
        await migrate(settings, know_keys=False)
        superuser = await connect(server.superuser_url())
        await superuser.execute("BEGIN; SELECT pg_current_xact_id(); PREPARE TRANSACTION 'of another program'")
        said: list[str] = []
        with pytest.raises(KeysLeft, match="open still: the prepared transaction 'of another program'"):
            await scrub_keys(settings, said.append)
        assert any("was written anew" in each for each in said)  # What can be done is done all the same.
        await superuser.execute("ROLLBACK PREPARED 'of another program'")
        await scrub_keys(settings, said.append)
        await superuser.close()
    finally:
        await server.stop()


async def test_a_table_that_somebody_holds_is_left_and_the_rest_is_done(
    cluster: Cluster, database: Database, kept: dict[int, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("OTHERS_SECONDS_MAX", 0.1), ("TRIES_MAX", 2), ("LOCK_SECONDS_MAX", 0.1), ("PAUSE_SECONDS", 0)):
        monkeypatch.setattr(scrubbing, name, value)
    superuser = await granted(cluster, database)
    try:
        async with superuser.transaction():
            await superuser.execute(f"LOCK TABLE {KEYS} IN ACCESS SHARE MODE")
            said: list[str] = []
            with pytest.raises(KeysLeft, match="Ledger main: somebody holds a lock on"):
                await scrub_keys(database.settings, said.append)
            assert any("those before are gone" in each for each in said)
    finally:
        await superuser.close()


async def test_what_is_kept_for_a_copy_that_lags_is_told(
    cluster: Cluster, database: Database, kept: dict[int, bytes]
) -> None:
    superuser = await granted(cluster, database)
    slot = f"copy_{database.name}"
    await superuser.execute("SELECT pg_create_physical_replication_slot($1, true)", slot)
    try:
        said: list[str] = []
        with pytest.raises(KeysLeft, match="segments of the write-ahead log from before are kept for somebody"):
            await scrub_keys(database.settings, said.append)
        assert any(slot in each for each in said)
    finally:
        await superuser.execute("SELECT pg_drop_replication_slot($1)", slot)
    await told(database)
    await superuser.close()


async def test_a_database_of_another_version_is_left_alone(database: Database, kept: dict[int, bytes]) -> None:
    owner = await connect(database.owner)
    await owner.execute("DELETE FROM registry.migrations WHERE name = '005_erasure.sql'")
    await owner.close()
    before = await file(database)
    with pytest.raises(MigrationError, match="ledger main lacks 005_erasure"):
        await told(database)
    assert await file(database) == before
