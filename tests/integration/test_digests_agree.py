"""The digest of a read model is the same live, rebuilt, and replayed by the auditor: in another database with other
settings, with the keys of what is sealed, and with none."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest

from services.auditor.audit import Asked, audit
from services.auditor.database import Database as AuditedDatabase
from services.auditor.findings import DigestsLookedAt, Report
from services.kept_outside import KeptOutside
from services.migrate import migrate
from services.postgres import connect
from services.projector.projector import Projector
from services.projector.publisher import Publisher
from services.signing import SigningKeys
from tests.conftest import Cluster, Database
from tests.integration.test_publisher import published_at
from tests.log import Log, event
from tests.readmodels import NAMES, digests, mixed, reached, rebuilt_digests

COPIED = (
    *("originator_id", "originator_version", "topic", "state", "notification_id", "event_id", "metadata"),
    *("subject", "source", "recorded_at", "sealed", "content", "leaf_hash"),
)
SETTINGS = {"timezone": "'Asia/Kathmandu'", "datestyle": "'German'", "bytea_output": "'escape'"}


@pytest.fixture
async def filled(database: Database) -> Database:
    """A ledger with events of all kinds, sealed texts among them."""
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*mixed(260))
        await log.append(
            event("feedback.received", feedback="f-1", text="Ärgerlich, \U0001f600", account="acme", contact="p-1"),
            event("promise.made", promise="q", account="acme", requirement="R-1", by={"role": "r", "team": "sales"}),
            event("account.profiled", account="acme", attributes=dict.fromkeys(("ä", "a", "😀", "Z"), 1)),
            event("account.profiled", account="acme", attributes=dict.fromkeys(("～", "𐀀", '"', "!"), 1)),
        )
        await reached(await projector.ledger("main"), 264)
    return database


@pytest.fixture
async def another(cluster: Cluster, filled: Database, tmp_path: Path) -> AsyncIterator[Database]:
    """Another database with the same log and nothing else: no keys, other settings, and another order of texts where
    the server has one."""
    name = f"test_{secrets.token_hex(6)}"
    superuser = await connect(cluster.superuser)
    has_icu = await superuser.fetchval("SELECT EXISTS (SELECT FROM pg_collation WHERE collname = 'de-x-icu')")
    chosen = "LOCALE_PROVIDER icu ICU_LOCALE 'de' LOCALE 'C'" if has_icu else ""
    owner = cluster.users["owner"]
    await superuser.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' {chosen} OWNER {owner}")
    for setting, value in SETTINGS.items():
        await superuser.execute(f"ALTER DATABASE {name} SET {setting} = {value}")
    urls = cluster.urls(name)
    home = tmp_path / "another"
    home.mkdir()
    settings = msgspec.structs.replace(
        filled.settings,
        home=home,
        database_url=urls["owner"],
        **{f"{role}_url": urls[role] for role in ("writer", "projector", "auditor")},
    )
    await migrate(settings)
    there = Database(name=name, superuser=urls["owner"], settings=settings, **urls)
    source, target = await connect(filled.auditor), await connect(there.writer)
    rows = await source.fetch(f"SELECT {', '.join(COPIED)} FROM ledger_main.stored_events ORDER BY notification_id")
    await target.copy_records_to_table("stored_events", schema_name="ledger_main", columns=COPIED, records=rows)
    await source.close()
    await target.close()
    yield there
    await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await superuser.close()


async def replayed(database: Database, outside: Path, position: int) -> Report:
    """Publish the digests of the read models as they are, and audit them."""
    keys = SigningKeys.load(database.settings.projector_signing_key)
    auditor = await connect(database.auditor)
    try:
        async with Publisher(database.projector, keys, lambda ledger: KeptOutside(outside, ledger), 0.02):
            await published_at(auditor, position)
        async with auditor.transaction(isolation="repeatable_read", readonly=True):
            origin = await auditor.fetchval("SELECT origin FROM registry.ledgers WHERE name = 'main'")
            return await audit(AuditedDatabase(auditor, "main", origin, "a test"), Asked(by="a test"))
    finally:
        await auditor.close()


async def published(database: Database) -> dict[str, str]:
    auditor = await connect(database.auditor)
    rows = await auditor.fetch("SELECT projection, digest FROM ledger_main.digests")
    await auditor.close()
    return {row["projection"]: row["digest"] for row in rows}


async def test_it_is_the_same_live_rebuilt_and_replayed_with_keys_and_without(filled: Database, tmp_path: Path):
    live = await digests(filled, 264)
    report = await replayed(filled, tmp_path / "outside", 264)
    assert report.found == []
    assert report.digests == DigestsLookedAt(published=len(NAMES), replayed=len(NAMES), of_other_versions=0)
    assert await published(filled) == live

    await lose_keys(filled)
    assert await rebuilt_digests(filled, 264) == live
    report = await replayed(filled, tmp_path / "outside", 264)
    assert [found for found in report.found if found.check in ("digests", "read models")] == []
    assert report.digests is not None and report.digests.replayed == len(NAMES)


async def lose_keys(database: Database) -> None:
    """All keys of sealed texts, by somebody who may do everything; and the master key."""
    hand: asyncpg.Connection = await connect(database.superuser)
    await hand.execute("ALTER TABLE ledger_main.sealing_keys DISABLE TRIGGER ALL")
    assert await hand.execute("DELETE FROM ledger_main.sealing_keys") != "DELETE 0"
    await hand.close()
    database.settings.master_key.unlink()


async def test_it_is_the_same_in_another_database(filled: Database, another: Database, tmp_path: Path):
    async with Projector(another.settings) as projector:
        await reached(await projector.ledger("main"), 264)
    assert await digests(another, 264) == await digests(filled, 264)
    report = await replayed(another, tmp_path / "outside", 264)
    assert [found for found in report.found if found.check in ("digests", "read models")] == []
    assert await published(another) == await digests(filled, 264)
