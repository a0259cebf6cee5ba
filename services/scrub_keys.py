"""Destroyed keys leave the files of the database, too.

What PostgreSQL deletes lies on in the pages of its table until something is written over it, and in the segments of
the write-ahead log: as it was inserted, and in copies of whole pages. So the tables of keys are written anew, what is
logged goes on in another segment, and a checkpoint lets go of those before. A server may keep them under new names, to
be written over (`wal_recycle`): so as many more segments are filled as there are such.
"""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg

from services.migrate import LOCK_SECONDS_MAX, PAUSE_SECONDS, TRIES_MAX, MigrationError, differences
from services.postgres import connect, unavailable
from services.settings import Settings
from services.statements import Statements, fill

OTHERS_SECONDS_MAX = 30.0
POLL_SECONDS = 0.1
SEGMENTS_FILLED_MAX = 1_000  # Of 16 MiB, as PostgreSQL is built.

TABLE = "sealing_keys"
STATISTICS = ("pg_catalog", "pg_statistic")

_GRANTS = (
    "a superuser can let it: GRANT pg_checkpoint TO {owner}; GRANT EXECUTE ON FUNCTION pg_switch_wal() TO {owner};"
    " GRANT EXECUTE ON FUNCTION pg_ls_waldir() TO {owner}"
)

_statements = Statements.load(Path(__file__).with_suffix(".sql"))

Tell = Callable[[str], None]


class KeysLeft(Exception):
    """Destroyed keys may be in the files of the database still; the text says where, and what to do."""


async def scrub_keys(settings: Settings, tell: Tell) -> None:
    """Rewrite the tables of sealing keys of all ledgers, and let go of the write-ahead log that has destroyed ones.

    `tell` is told what was done. Recording waits while the table of its ledger is rewritten. What cannot be done does
    not keep it from the rest. Raises KeysLeft at the end if something may be left; MigrationError, if the database is
    of another version, and Unavailable.
    """
    connection = await connect(settings.url("owner"))
    try:
        with unavailable():
            if found := await differences(connection):
                raise MigrationError("; ".join(found))
            left = [*await _wait_for_others(connection)]
            left += await _rewrite_tables(connection, tell)
            left += await _leave_log(connection, tell)
            await _tell_of_elsewhere(connection, tell)
    finally:
        await connection.close()
    if left:
        raise KeysLeft("\n".join(left))


async def _wait_for_others(connection: asyncpg.Connection) -> list[str]:
    """Wait until the transactions of this moment are over: what they may see would be written anew with the rest."""
    until = time.monotonic() + OTHERS_SECONDS_MAX
    before = {row["id"] for row in await connection.fetch(_statements["under_way"])}
    here = await connection.fetchval(_statements["begin"])
    left = []
    while True:
        now = {row["id"]: row["pid"] for row in await connection.fetch(_statements["under_way"])}
        before &= now.keys()
        holders = [row["holder"] for row in await connection.fetch(_statements["held_back"], here)]
        if not before and not holders:
            break
        if time.monotonic() >= until:
            if before:
                processes = ", ".join(str(pid) for pid in sorted({now[each] for each in before}))
                holders.insert(0, f"the transactions of the PostgreSQL processes {processes}")
            left.append(
                f"What began before is open still: {'; '.join(holders)}. What was destroyed since may have been written"
                " anew for it: end it, and scrub again"
            )
            break
        await asyncio.sleep(POLL_SECONDS)
    if count := await connection.fetchval(_statements["out_of_sight"]):
        owner = await connection.fetchval("SELECT quote_ident(current_user)")
        left.append(
            f"{count} copies follow this database, and whether their readers keep what was destroyed this role may not"
            f" see; a superuser can let it: GRANT pg_read_all_stats TO {owner}"
        )
    return left


async def _rewrite_tables(connection: asyncpg.Connection, tell: Tell) -> list[str]:
    left = []
    await connection.execute(f"SET lock_timeout = '{round(LOCK_SECONDS_MAX * 1000)}ms'")
    for row in await connection.fetch(_statements["ledgers"]):
        if trouble := await _rewritten(connection, row["schema"], TABLE):
            left.append(f"Ledger {row['name']}: {trouble}")
        else:
            count = await connection.fetchval(fill(_statements["count"], schema=row["schema"]))
            tell(f"Ledger {row['name']}: the table of keys was written anew, with the {count} that there are.")
    # Earlier versions let ANALYZE keep samples of wrapped keys.
    if trouble := await _rewritten(connection, *STATISTICS):
        left.append(f"The statistics of the database: {trouble}")
    return left


async def _rewritten(connection: asyncpg.Connection, schema: str, table: str) -> str | None:
    """Write a table anew; what kept from it, if something did."""
    before = await connection.fetchval(_statements["file"], schema, table)
    for _ in range(TRIES_MAX):
        try:
            await connection.execute(fill(_statements["rewrite"], schema=schema, table=table))
        except asyncpg.LockNotAvailableError:
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        if await connection.fetchval(_statements["file"], schema, table) != before:
            return None
        # VACUUM only warns.
        return f"{schema}.{table} was not written anew: the role of LEDGER_DATABASE_URL has to own the database"
    return f"somebody holds a lock on {schema}.{table}: end the long transaction, and scrub again"


async def _leave_log(connection: asyncpg.Connection, tell: Tell) -> list[str]:
    """Let go of every segment of the write-ahead log that was written to before."""
    last = await connection.fetchval(_statements["segment"])
    try:
        await connection.execute(_statements["switch"])
        await connection.execute("CHECKPOINT")
        # What waits to be written over is what was written before, under names to come.
        waiting = [row["name"] for row in await connection.fetch(_statements["segments"])]
        if len(waiting) > SEGMENTS_FILLED_MAX:
            return [
                f"The write-ahead log has {len(waiting)} segments, some of them with destroyed keys until they are"
                " written over: set wal_recycle = off or a smaller max_wal_size, and scrub again"
            ]
        for _ in waiting:
            if await connection.fetchval(_statements["segment"]) > waiting[-1]:
                break
            await connection.execute(_statements["switch"])
        await connection.execute("CHECKPOINT")
        segments = await connection.fetch(_statements["segments"])
    except asyncpg.InsufficientPrivilegeError as error:
        owner = await connection.fetchval("SELECT quote_ident(current_user)")
        return [
            f"The write-ahead log was left as it is ({error}): {_GRANTS.format(owner=owner)}. Or a superuser runs"
            " SELECT pg_switch_wal(); CHECKPOINT; with wal_recycle = off"
        ]
    if kept := [row["name"] for row in segments if row["name"] <= last]:
        return [
            f"{len(kept)} segments of the write-ahead log from before are kept for somebody, up to {kept[-1]}: a"
            " replication slot, an archive that lags, or wal_keep_size. Once that is over, scrub again"
        ]
    tell("The write-ahead log goes on in a new segment, and those before are gone.")
    return []


async def _tell_of_elsewhere(connection: asyncpg.Connection, tell: Tell) -> None:
    row = await connection.fetchrow(_statements["elsewhere"])
    if row["archived"]:
        tell(
            "This server archives its write-ahead log: what was archived before has destroyed keys until it is dropped."
        )
    if row["slots"]:
        tell(f"Copies of this database follow it ({', '.join(row['slots'])}): each of them has files of its own.")
    tell("Backups that were made before hold destroyed keys, wrapped by the master key of their day.")
