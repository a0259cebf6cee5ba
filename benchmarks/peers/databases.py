"""Databases for those who are measured: made anew, checked to be durable, and their rows counted."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from benchmarks.peers import PeerError
from services.statements import quote

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}

Check = Callable[[int], Awaitable[None]]
"""Raises PeerError unless so many rows have been added since the last check, or, where all is made anew, are there."""


@asynccontextmanager
async def fresh(superuser_url: str, name: str) -> AsyncIterator[str]:
    """An empty database beside that of this URL: its URL. It is dropped in the end."""
    connection = await asyncpg.connect(superuser_url)
    try:
        await connection.execute(f"CREATE DATABASE {quote(name)}")
        try:
            yield urlunsplit(urlsplit(superuser_url)._replace(path=f"/{name}"))
        finally:
            await connection.execute(f"DROP DATABASE {quote(name)} WITH (FORCE)")
    finally:
        await connection.close()


async def commit_read_models_as_the_ledger_does(dsn: str) -> None:
    """Let commits in this database not wait for the disk: a read model whose position commits with it can be made
    again, so the ledger's projector does not wait either."""
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(f"ALTER DATABASE {quote(urlsplit(dsn).path[1:])} SET synchronous_commit = off")
    finally:
        await connection.close()


@asynccontextmanager
async def counted(dsn: str, count: str, *, anew: bool = False) -> AsyncIterator[Check]:
    """A check of what the statement `count` counts; with `anew`, of what each run makes anew.

    Raises PeerError if the database could lose a commit (but that of a read model, which can be made again).
    """
    connection = await asyncpg.connect(dsn)
    try:
        for setting, wanted in DURABLE.items():
            found = await connection.fetchval(f"SHOW {setting}")
            if found != wanted and not (anew and setting == "synchronous_commit"):
                raise PeerError(f"{setting} is {found}, so what was committed can be lost; it must be {wanted}")
        before = 0 if anew else await connection.fetchval(count)

        async def check(added: int) -> None:
            nonlocal before
            found = await connection.fetchval(count)
            if found - before != added:
                raise PeerError(f"{added} events were said to be durable, but there are {found - before} of them")
            if not anew:
                before = found

        yield check
    finally:
        await connection.close()
