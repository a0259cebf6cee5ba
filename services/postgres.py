"""PostgreSQL as all rooms use it: pools, schemas, and what an error means."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import asyncpg

CONNECT_SECONDS_MAX = 10
ACQUIRE_SECONDS_MAX = 10
COMMAND_SECONDS_MAX = 60

# A process that is stopped while it holds the head of a log loses its session, before those who wait give up.
IDLE_IN_TRANSACTION_SECONDS_MAX = 10
LOCK_SECONDS_MAX = 30
GONE_SECONDS_MAX = 1  # For a statement to go on, and keep its locks, once its client is gone.

# What a client may meet while PostgreSQL is away, is shutting down or has just come back, has no room, or has given
# up waiting for somebody else: it cannot now, and may be asked again.
UNAVAILABLE = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.PostgresSystemError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    # A closed pool, and a connection that was lost between two requests, have no error of their own. It is what asyncpg
    # says of wrong arguments as well; the tests of every statement would show those.
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # What asyncpg says of a connection that was lost between two of its own steps.
    ConnectionError,
    TimeoutError,
    OSError,
)


class Unavailable(Exception):
    """The database does not answer at the moment; try again shortly."""


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn every sign that the database is away into Unavailable."""
    try:
        yield
    except UNAVAILABLE as error:
        raise Unavailable(f"the database is not available ({type(error).__name__})") from error


def ledger_schema(ledger: str) -> str:
    """The schema that holds the ledger of this name."""
    return f"ledger_{ledger}"


def rebuild_schema(ledger: str) -> str:
    """The schema in which read models of this ledger are built anew, beside the live ones."""
    return f"rebuild_{ledger}"


class Pool(asyncpg.Pool):  # type: ignore[misc]
    """A pool that gives up after a time, whichever of its methods is used: while the database hangs, those who wait
    for a connection are told so, and do not pile up."""

    def acquire(self, *, timeout: float | None = None) -> Any:
        return super().acquire(timeout=ACQUIRE_SECONDS_MAX if timeout is None else timeout)


async def open_pool(
    url: str,
    *,
    connections_max: int,
    synchronous_commit: bool = True,
    prepare: Callable[[asyncpg.Connection], Awaitable[None]] | None = None,
) -> Pool:
    """A pool of connections, opened on demand. `prepare` is done to each once.

    `synchronous_commit` may be off only where rows and cursor commit together and can be derived again.
    Raises Unavailable.
    """
    with unavailable():
        pool: Pool = await Pool(
            url,
            loop=None,
            connection_class=asyncpg.Connection,
            record_class=asyncpg.Record,
            max_queries=50_000,
            max_inactive_connection_lifetime=300,
            min_size=0,  # A service starts while its database is away, and says so in /readyz.
            max_size=connections_max,
            timeout=CONNECT_SECONDS_MAX,
            command_timeout=COMMAND_SECONDS_MAX,
            statement_cache_size=500,
            init=prepare,
            reset=_reset,
            server_settings={
                "application_name": "requirements-ledger",
                "synchronous_commit": "on" if synchronous_commit else "off",
                "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_SECONDS_MAX}s",
                "lock_timeout": f"{LOCK_SECONDS_MAX}s",
                "timezone": "UTC",
                "client_connection_check_interval": f"{GONE_SECONDS_MAX}s",
            },
        )
    return pool


async def _reset(connection: asyncpg.Connection) -> None:
    """Nothing: what comes from a pool changes no session beyond its transaction, and asyncpg itself rolls that back. By
    default each use of a connection ends with one more round trip."""


async def connect(url: str) -> asyncpg.Connection:
    """One connection of its own, for LISTEN and for long work. Raises Unavailable, naming the server."""
    try:
        settings = {"timezone": "UTC", "client_connection_check_interval": f"{GONE_SECONDS_MAX}s"}
        return await asyncpg.connect(url, timeout=CONNECT_SECONDS_MAX, server_settings=settings)
    except (*UNAVAILABLE, asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
        is_away = isinstance(error, (FileNotFoundError, ConnectionRefusedError))
        told = "does not run there; `ledger run` starts the embedded one" if is_away else error or type(error).__name__
        raise Unavailable(f"PostgreSQL at {_address(url)} cannot be used: {told}") from error


def _address(url: str) -> str:
    """Who connects where to what, without the password."""
    parts = urlsplit(url)
    asked = dict(parse_qsl(parts.query))
    host = parts.hostname or asked.get("host") or "the local socket"
    database = parts.path[1:] or asked.get("dbname")
    user = parts.username or asked.get("user")
    if database and user:
        return f"{host}, database {database}, user {user}"
    missing = " and ".join(part for part, told in (("user", user), ("database", database)) if not told)
    return f"{host} (its URL names no {missing}: postgresql://USER:PASSWORD@HOST/DATABASE)"
