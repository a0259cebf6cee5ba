"""What a query is measured against: an aiohttp handler that fetches rows by their primary keys and answers their JSON,
with the pool, the event loop and the server settings of our services.

    python -m benchmarks.yardstick PORT FILE

FILE has a `Yardstick`, in JSON: for each path the statements of one answer.

One requirement: the rows of the read models, and the events of its history, that its answer is told from. The list: a
row a requirement, the members of the answer as columns, in a table of the benchmark's own.
"""

import sys
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import uvloop
from aiohttp import web
from msgspec import Struct

from benchmarks.running import RunningError
from services.postgres import Pool, ledger_schema, open_pool
from services.statements import Statements, fill, quote
from services.web import serve

SCHEMA = "bench"

_statements = Statements.load(Path(__file__).with_suffix(".sql"))

_ABOUT_REQUIREMENT = ("requirement_rows", "asks", "deliveries", "decision_requirements", "requirement_merges")
_ABOUT_ACCOUNT = ("account_names", "account_facts", "account_aliases", "account_merges", "opportunity_rows")


class Fetch(Struct, frozen=True):
    """A statement, and the arrays of its parameters: a column of the primary key each."""

    statement: str
    keys: list[list[int | str]]


class Yardstick(Struct, frozen=True):
    url: str
    connections_max: int
    answers: dict[str, list[Fetch]]


async def fetches_of_requirement(connection: asyncpg.Connection, ledger: str, requirement: str) -> list[Fetch]:
    """What fetches by primary key the rows that the answer about this requirement is told from."""
    schema = ledger_schema(ledger)
    askers = await connection.fetch(fill(_statements["askers"], schema=schema), requirement)
    accounts = [row["account"] for row in askers]
    subjects = [f"requirement/{requirement}"]
    wanted = [
        *((table, "requirement", [requirement]) for table in _ABOUT_REQUIREMENT),
        *((table, "account", accounts) for table in _ABOUT_ACCOUNT),
        ("stored_events", "subject", subjects),
    ]
    found = [await _by_primary_key(connection, schema, *each) for each in wanted]
    return [each for each in found if each is not None]


async def fetches_of_list(connection: asyncpg.Connection, rows: list[dict[str, Any]]) -> list[Fetch]:
    """Put the rows of a list into a table, a column a member, and give what fetches them by primary key."""
    names = [*dict.fromkeys(name for row in rows for name in row)]
    columns = ", ".join(f"{quote(name)} {'text PRIMARY KEY' if name == 'requirement' else 'jsonb'}" for name in names)
    await connection.execute(fill(_statements["make_schema"], schema=SCHEMA))
    await connection.execute(f"CREATE TABLE {SCHEMA}.listed ({columns})")
    records = [
        [row[name] if name == "requirement" else msgspec.json.encode(row.get(name)).decode() for name in names]
        for row in rows
    ]
    await connection.copy_records_to_table("listed", schema_name=SCHEMA, records=records)
    fetch = await _by_primary_key(connection, SCHEMA, "listed", "requirement", [row["requirement"] for row in rows])
    return [] if fetch is None else [fetch]


async def _by_primary_key(
    connection: asyncpg.Connection, schema: str, table: str, column: str, values: list[str]
) -> Fetch | None:
    """None if there is no such table, or no such row. Raises RunningError if the table has no key."""
    place = f"{quote(schema)}.{quote(table)}"
    if not await connection.fetchval(_statements["is_there"], place):
        return None
    key = await connection.fetch(_statements["primary_key"], place, table)
    if not key:
        raise RunningError(f"{place} has no key to fetch its rows by; has the projector made its indexes?")
    names = [row["name"] for row in key]
    about = fill(_statements["about"], schema=schema, table=table, column=column)
    rows = await connection.fetch(about, values)
    if not rows:
        return None
    arrays = ", ".join(f"${number}::{row['type']}[]" for number, row in enumerate(key, 1))
    listed = ", ".join(map(quote, names))
    return Fetch(
        f"SELECT {place}.* FROM {place} JOIN unnest({arrays}) AS wanted ({listed}) USING ({listed})",  # noqa: S608
        [[row[name] if isinstance(row[name], int) else str(row[name]) for row in rows] for name in names],
    )


async def _answer(pool: Pool, fetches: list[Fetch], request: web.Request) -> web.Response:
    async with pool.acquire() as connection:
        rows = [await connection.fetch(each.statement, *each.keys) for each in fetches]
    body = msgspec.json.encode([[dict(row) for row in each] for each in rows])
    return web.Response(body=body, content_type="application/json")


async def _run(port: int, plan: Yardstick) -> None:
    pool = await open_pool(plan.url, connections_max=plan.connections_max)
    app = web.Application()
    for path, fetches in plan.answers.items():
        app.router.add_get(path, partial(_answer, pool, fetches))
    await serve(app, host="127.0.0.1", port=port, service="yardstick")


if __name__ == "__main__":
    uvloop.run(_run(int(sys.argv[1]), msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=Yardstick)))
