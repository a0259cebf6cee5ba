"""message-db: its function write_message, called by pgbench. It has no batches, and no projections of its own.

It is installed by its own files. Only its line that wants the extension pgcrypto is left out: the embedded PostgreSQL
does not bring that, and PostgreSQL 13 and newer have the one function of it that message-db calls.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from benchmarks.peers import PeerError, Run, packages
from benchmarks.peers.pgbench import ROWS_MAX, pgbench, programs, stage
from benchmarks.peers.rows import read
from services.statements import quote

CLIENTS = 32

_SCRIPT = Path(__file__).with_suffix(".sql")
_FILES = ("schema/message-store.sql", "tables/messages.sql")
_SCRIPTS = ("install-functions.sh", "install-indexes.sh", "install-views.sh")
_STAGED = "CREATE UNLOGGED TABLE staged (number integer PRIMARY KEY, stream varchar, type varchar, data text)"
_COUNT = "SELECT count(*) FROM message_store.messages"


@asynccontextmanager
async def single(dsn: str, rows: Path, *, clients: int = CLIENTS, categories: bool = True) -> AsyncIterator[Run]:
    """One event a call of `write_message`, which locks the category of the stream until its commit is on disk.

    So message-db is best where the streams are of many categories. With `categories` each is of one of its own;
    without, they are of as many as the ledger has kinds of subjects, five. Raises Missing.
    """
    await _install(dsn, await packages.installed() / "@eventide" / "message-db" / "database")
    connection = await asyncpg.connect(dsn)
    try:
        staged: list[tuple[object, ...]] = [
            (_stream(row.subject, categories), row.topic, row.state.decode()) for row in islice(read(rows), ROWS_MAX)
        ]
        await stage(connection, _STAGED, staged, columns=("stream", "type", "data"))
    finally:
        await connection.close()
    async with pgbench(dsn, _SCRIPT, clients=clients, rows=len(staged), count=_COUNT) as run:
        yield run


def _stream(subject: str, categories: bool) -> str:
    """A stream's name is its category, a hyphen, and its id."""
    category, _, name = subject.partition("/")
    return f"{category}:{name.replace('-', '_')}-{name}" if categories else f"{category}-{name}"


async def _install(dsn: str, files: Path) -> None:
    url = urlsplit(dsn)
    database = url.path[1:]
    variables = {
        "PATH": f"{programs()}:{os.environ.get('PATH', os.defpath)}",
        "PGHOST": parse_qs(url.query)["host"][0],
        "PGPORT": parse_qs(url.query)["port"][0],
        "PGUSER": unquote(url.username or ""),
        "PGPASSWORD": unquote(url.password or ""),
        "PGOPTIONS": "-c client_min_messages=warning",
        "DATABASE_NAME": database,
    }
    connection = await asyncpg.connect(dsn)
    try:
        # As its documentation asks of every user of it.
        await connection.execute(f"ALTER DATABASE {quote(database)} SET search_path TO message_store, public")
    finally:
        await connection.close()
    commands = [["psql", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(files / each), database] for each in _FILES]
    commands += [["bash", str(files / each)] for each in _SCRIPTS]
    for command in commands:
        process = await asyncio.create_subprocess_exec(
            *command, env=variables, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        if process.returncode != 0:
            raise PeerError(f"message-db was not installed, {command} failed:\n{said.decode(errors='replace')}")
