"""The digest of a read model: one number for one content, on every server and in every setting."""

from datetime import UTC, datetime

import pytest

from services.postgres import connect
from services.projector.digest import digest
from services.projector.projections import ALL
from services.projector.projector import Projector
from tests.conftest import Database
from tests.log import Log, event
from tests.readmodels import BY, digests, reached

RECORDED = datetime(2026, 11, 21, 10, tzinfo=UTC)

# Of the events below. The same on every version of PostgreSQL; a change of a fold or of the digest shows here.
KNOWN = {
    "accounts": "e73d533b46a715b267d5f7a8d06de1c1f2f80da4fc7a303b633d82bb56fda491",
    "opportunities": "0cd7b1f0818a7e970800690ef53f46828d2acd2ddeaf9f4809b0793218195c5a",
    "requirements": "5584dc8e4dc2c0155887458eb8c33cb5e5ce28178106cebbbb2fad4c49306290",
    "agreements": "464f8c2e35188711947295ab8da1296076b80ae01a19fde09c10d194fb881aac",
    "decisions": "9a0043327ab63f558a50e9d3b052a22b7bf73e1bdede4e49a96badfe00add32e",
    "emitters": "4d62d581c8f75867322d1eb990d2cf6f0ae527a9d69c6e5ef3d83a6f75cd18cf",
    "feedback": "6711d8d1142febc3f3e8bfa14dffdf2c83e54f0525cc2f927c5a8a6142f55ec0",
    "persons": "e5e2f4e6fc729f36fb3040af11aac81ac25ea21bb4010b708eba013ff5df54eb",
    "promises": "80e108dd4f7cb0660b1dd172e798d5fab4e5cda33b6c5bd91900a33e27842b1d",
    "retractions": "af9f1c084a5160ca5f2c525b9d70a592064668d858772ebe8e02defa0cc81bf5",
}


def events() -> list[object]:
    return [
        event(
            "account.profiled",
            id="1",
            time="2026-11-01T00:00:00.5+02:00",
            account="acme",
            name="Ärzte & Söhne",
            attributes={"a": 1, "B": 2.5, "ä": "x", "Z": None, "_": ["b", "a"], "b": True},
        ),
        event(
            "opportunity.updated",
            id="2",
            opportunity="o",
            account="acme",
            stage="won",
            amount="1200.50",
            currency="EUR",
            ends="2027-12-31",
            requirements=["R-2", "R-1"],
        ),
        event("ask.recorded", id="3", requirement="R-1", account="acme", labels={"b": "1", "a": "2"}),
        event("ask.withdrawn", id="4", requirement="R-1", ask="k-1", by=BY),
        event("agreement.adopted", id="5", agreement="t", revision="r", effective="2026-12-01", by=BY),
        event(
            "decision.made",
            id="6",
            decision="D-1",
            requirements=["a", "B", "1"],
            outcome="defer",
            rationale="later",
            instruction="Wait.",
            deciders=[BY],
        ),
    ]


@pytest.fixture
async def filled(database: Database) -> Database:
    async with Log.open(database) as log, Projector(database.settings) as projector:
        await log.append(*events(), recordedtime=RECORDED)
        await reached(await projector.ledger("main"), 6)
    return database


async def test_the_digest_of_a_known_log_is_known(filled: Database) -> None:
    assert await digests(filled, 6) == KNOWN


async def test_the_digest_depends_on_no_setting_of_the_session(filled: Database) -> None:
    connection = await connect(filled.projector)
    for setting in ("timezone = 'Asia/Kathmandu'", "datestyle = 'German'", "extra_float_digits = 0"):
        await connection.execute(f"SET {setting}")
    async with connection.transaction():
        for projection in ALL:
            assert await digest(connection, "ledger_main", projection, 6) == KNOWN[projection.name]
    await connection.close()


async def test_the_digest_depends_on_no_collation(filled: Database) -> None:
    connection = await connect(filled.projector)
    collation = await connection.fetchval(
        "SELECT collname FROM pg_collation WHERE collname IN ('und-x-icu', 'en_US.utf8', 'en_US', 'de_DE.utf8') LIMIT 1"
    )
    if collation is None:
        await connection.close()
        pytest.skip("this server has no collation that orders otherwise than by bytes")
    for table, column in {"account_facts": "attribute", "decision_requirements": "requirement"}.items():
        await connection.execute(f'ALTER TABLE ledger_main.{table} ALTER {column} TYPE text COLLATE "{collation}"')
        names = await connection.fetch(f"SELECT {column} AS name FROM ledger_main.{table} ORDER BY {column}")
        assert [row["name"] for row in names] != sorted(row["name"] for row in names)
    await connection.close()
    assert await digests(filled, 6) == KNOWN


async def test_the_digest_at_a_position_knows_nothing_of_what_came_later(filled: Database) -> None:
    async with Log.open(filled) as log, Projector(filled.settings) as projector:
        await log.append(event("account.profiled", account="acme", attributes={"a": 2}))
        await reached(await projector.ledger("main"), 7)
    assert await digests(filled, 6) == KNOWN
    assert (await digests(filled, 7))["accounts"] != KNOWN["accounts"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {} SET recorded_at = recorded_at + interval '1 microsecond'",
        "UPDATE {} SET attribute = attribute || ' ' WHERE attribute = 'a'",
        "DELETE FROM {} WHERE attribute = 'a'",
    ],
)
async def test_the_smallest_change_shows(filled: Database, change: str) -> None:
    connection = await connect(filled.projector)
    await connection.execute(change.format("ledger_main.account_facts"))
    await connection.close()
    found = await digests(filled, 6)
    assert found.pop("accounts") != KNOWN["accounts"]
    assert found.items() <= KNOWN.items()


async def test_texts_are_ordered_and_compared_by_their_bytes_whatever_the_database_does(database: Database) -> None:
    async with Projector(database.settings) as projector:
        await projector.ledger("main")
        columns = await projector.pool.fetch(
            "SELECT made.relname AS name, attname, collname FROM pg_class AS made"
            " JOIN pg_attribute ON attrelid = made.oid LEFT JOIN pg_collation AS c ON c.oid = attcollation"
            " WHERE relnamespace = 'ledger_main'::regnamespace AND attcollation <> 0 AND attnum > 0 AND relkind = 'r'"
        )
    tables = {table for projection in ALL for table in projection.tables}
    other = {f"{row['name']}.{row['attname']}" for row in columns if row["name"] in tables and row["collname"] != "C"}
    assert not other
    assert tables - {row["name"] for row in columns} == set()
