"""Exports and imports in tests: a ledger that has something to take out, and the commands' own functions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from services.archive.command import kept_keys
from services.archive.export_log import Keys, LogExport, export_log
from services.archive.import_log import Imported, LogImport, import_log
from services.archive.manifest import LogManifest
from services.auditor.audit import Asked, audit
from services.auditor.database import Database as Audited
from services.auditor.findings import Report
from services.kept_outside import KeptOutside
from services.ledger.integrator import Integrator
from services.postgres import connect
from services.proof.checkpoint import Checkpoint
from services.proof.note import Note
from services.sealing import MasterKeys
from services.signing import SigningKeys
from services.tree import Tree
from tests.conftest import Database

SECONDS_MAX = 30.0
MADE = {"software": "a test", "made_at": "2026-11-22T00:00:00.000000Z"}


async def checkpointed(database: Database, ledger: str = "main") -> Checkpoint:
    """The checkpoint of the whole log, once it is integrated."""
    auditor = await connect(database.auditor)
    try:
        origin = await auditor.fetchval("SELECT origin FROM registry.ledgers WHERE name = $1", ledger)
        tree = Tree(ledger)
        size = await tree.size_of_log(auditor)
        keys = SigningKeys.load_or_make(database.settings.signing_key)

        async def ledgers() -> list[tuple[str, str]]:
            return [(ledger, origin)]

        def outside(name: str) -> KeptOutside:
            return KeptOutside(database.settings.checkpoints_place, name)

        async with Integrator(database.writer, ledgers, keys, outside), asyncio.timeout(SECONDS_MAX):
            while True:
                kept = await tree.last_checkpoint(auditor)
                if kept is not None and kept.size == size:
                    return Checkpoint.read(Note.read(kept.note.encode()).text)
                await asyncio.sleep(0.02)
    finally:
        await auditor.close()


@asynccontextmanager
async def snapshot(database: Database, ledger: str = "main") -> AsyncIterator[tuple[Audited, Keys]]:
    """A ledger as an export reads it, and its sealing keys."""
    connection = await connect(database.auditor)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            origin = await connection.fetchval("SELECT origin FROM registry.ledgers WHERE name = $1", ledger)

            yield Audited(connection, ledger, origin, "a test"), kept_keys(connection, ledger)
    finally:
        await connection.close()


async def exported(
    database: Database, directory: Path, *, with_keys: bool = False, ledger: str = "main", **asked: Any
) -> LogManifest:
    async with snapshot(database, ledger) as (source, keys):
        return await export_log(source, directory, LogExport(**MADE, **asked), keys if with_keys else None)


async def imported(database: Database, directory: Path, ledger: str = "main", **asked: Any) -> Imported:
    connection = await connect(database.owner)
    try:
        masters = MasterKeys(database.settings.master_key)
        how = LogImport(ledger=ledger, **asked)
        return await import_log(connection, database.settings, directory, how, lambda: masters)
    finally:
        await connection.close()


async def audited(database: Database, ledger: str = "main") -> Report:
    async with snapshot(database, ledger) as (source, _):
        return await audit(source, Asked(by="a test"))


async def rows(database: Database, query: str) -> list[tuple[Any, ...]]:
    """What a query gives, as the superuser."""
    connection = await connect(database.superuser)
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def execute(database: Database, *statements: str) -> None:
    """As the superuser."""
    connection = await connect(database.superuser)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
