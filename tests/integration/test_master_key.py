"""The master key: made once, never replaced in silence, and lost only by an operator's word."""

import pytest

from schemas.examples import EXAMPLES
from services.migrate import MigrationError, migrate
from services.sealing import MasterKeys
from tests.conftest import Database
from tests.ledger_service import EVENTS, LedgerService, example, serving

ASK = example("ask.recorded")


async def test_where_nothing_is_sealed_any_master_key_will_do(database: Database):
    database.settings.master_key.unlink()
    await migrate(database.settings)
    assert database.settings.master_key.exists()


async def test_a_missing_master_key_is_asked_for_and_not_made_anew(database: Database):
    async with serving(database.settings) as ledger:
        assert (await ledger.post(ASK)).status == 201
    path = database.settings.master_key
    kept = path.read_bytes()
    path.unlink()
    with pytest.raises(MigrationError, match="put its file back"):
        await migrate(database.settings)
    assert not path.exists()
    path.write_bytes(kept)
    await migrate(database.settings)


async def test_another_master_key_is_not_taken(database: Database):
    async with serving(database.settings) as ledger:
        assert (await ledger.post(ASK)).status == 201
    path = database.settings.master_key
    path.unlink()
    other = MasterKeys.load_or_make(path)
    with pytest.raises(MigrationError, match=f"holds the master key {other.newest.name}"):
        await migrate(database.settings)


async def test_a_service_with_a_key_that_migrate_has_not_seen_records_nothing(database: Database):
    database.settings.master_key.unlink()
    MasterKeys.load_or_make(database.settings.master_key)
    async with serving(database.settings) as ledger:
        reply = await ledger.post(ASK)
        assert (reply.status, reply.problem) == (503, "unavailable")
        assert "ledger migrate" in reply.json["detail"]


async def test_after_a_loss_the_ledger_goes_on_and_what_was_sealed_stays_so(database: Database):
    async with serving(database.settings) as ledger:
        assert (await ledger.post(ASK)).status == 201
    database.settings.master_key.unlink()
    await migrate(database.settings, new_master_key=True)

    async with serving(database.settings) as ledger:
        again = await ledger.post(ASK)
        assert (again.status, again.results[0]["duplicate"]) == (200, True)
        await quote_at(ledger, 1, None)
        new = example("ask.recorded", ask="another")
        assert (await ledger.post(new)).status == 201
        await quote_at(ledger, 2, EXAMPLES["ledger.ask.recorded.v1"]["quote"])


async def quote_at(ledger: LedgerService, position: int, quote: str | None) -> None:
    reply = await ledger.get(f"{EVENTS}/{position}?unseal=1")
    assert (reply.status, reply.json["data"]["quote"]) == (200, quote)
