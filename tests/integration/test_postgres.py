"""The pool: nobody waits without end for a connection, or is given one that another left in a transaction."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from services import postgres
from services.keys import Keys, new_key
from services.ledger.log import EventLog, Filter
from services.postgres import Pool, Unavailable, connect, open_pool
from tests.conftest import Database

SECONDS_MAX = 20

ASKS: dict[str, Callable[[Pool], Awaitable[object]]] = {
    "a key": lambda pool: Keys(pool).principal(new_key()[1]),
    "the list of keys": lambda pool: Keys(pool).page(None, 10),
    "the head of a log": lambda pool: EventLog(pool, "main").max_position(),
    "a page of a log": lambda pool: EventLog(pool, "main").page(0, 10, Filter()),
    "one event": lambda pool: EventLog(pool, "main").one(1),
    "a stream": lambda pool: EventLog(pool, "main").stream("account/acme", 0, 10),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS.keys())
async def test_who_finds_no_free_connection_is_told_so(
    database: Database, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Pool], Awaitable[object]]
) -> None:
    async with await open_pool(database.writer, connections_max=1) as pool, pool.acquire():
        monkeypatch.setattr(postgres, "ACQUIRE_SECONDS_MAX", 0.05)
        async with asyncio.timeout(SECONDS_MAX):
            with pytest.raises(Unavailable):
                await ask(pool)


async def test_nobody_goes_on_in_a_transaction_that_another_left_open(database: Database) -> None:
    """A pool resets nothing else of a session."""
    async with await open_pool(database.writer, connections_max=1) as pool:
        async with pool.acquire() as connection:
            await connection.execute("BEGIN; SELECT FROM ledger_main.log_head FOR UPDATE")
            assert connection.is_in_transaction()
            session = connection.get_server_pid()
        async with pool.acquire() as connection:
            assert connection.get_server_pid() == session
            assert not connection.is_in_transaction()


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ledger:secret@127.0.0.1:1/books", "127.0.0.1, database books, user ledger "),
        ("postgresql:///books?host=127.0.0.1&port=1&user=ledger&password=secret", "127.0.0.1, database books, user "),
        (
            "postgresql://127.0.0.1:1/books",
            "127.0.0.1 (its URL names no user: postgresql://USER:PASSWORD@HOST/DATABASE)",
        ),
        ("postgresql://127.0.0.1:1", "127.0.0.1 (its URL names no user and database: "),
    ],
)
async def test_who_cannot_connect_is_told_what_the_url_names_and_lacks_and_no_password(url: str, told: str) -> None:
    with pytest.raises(Unavailable) as raised:
        await connect(url)
    assert str(raised.value).startswith(f"PostgreSQL at {told}")
    assert "secret" not in str(raised.value)
    assert "None" not in str(raised.value)


async def test_whose_client_is_gone_holds_no_lock_however_long_its_statement_takes(database: Database) -> None:
    """As when a projector is killed amid an index: others are not to wait until it would have been made."""
    gone, other = await connect(database.projector), await connect(database.projector)
    async with await open_pool(database.projector, connections_max=1) as pool:
        for key, whose in enumerate((gone, await pool.acquire())):
            working = asyncio.create_task(whose.execute(f"SELECT pg_advisory_lock({key}), pg_sleep(600)"))
            async with asyncio.timeout(SECONDS_MAX):
                while await other.fetchval(f"SELECT pg_try_advisory_lock({key})"):
                    await other.execute(f"SELECT pg_advisory_unlock({key})")
                    await asyncio.sleep(0.01)
                whose.terminate()  # It asks the server for nothing: the connection is gone.
                await other.execute(f"SELECT pg_advisory_lock({key})")
            await asyncio.gather(working, return_exceptions=True)
    await other.close()
