"""The embedded PostgreSQL starts from whatever it finds, and changes nobody's permissions."""

import asyncpg


async def test_a_test_gets_a_migrated_database_of_its_own(database):
    connection = await asyncpg.connect(database.writer)
    try:
        assert await connection.fetchval("SELECT current_database()") == database.name
        assert await connection.fetchval("SELECT count(*) FROM ledger_main.stored_events") == 0
    finally:
        await connection.close()
