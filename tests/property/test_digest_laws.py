"""The digest of a read model, whatever its rows say: as it is defined, in whatever parts they come, and the same
here as in a database."""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.postgres import connect
from services.projector.digest import digest
from services.projector.projections import ALL, Row
from services.projector.running_digest import RunningDigest
from tests.conftest import Database

TABLES = ("one", "other")

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)
zones = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45)), timezone(-timedelta(hours=11))])
times = st.builds(
    lambda seconds, micro, zone: datetime.fromtimestamp(seconds, zone).replace(microsecond=micro),
    st.integers(0, 4_000_000_000),
    st.integers(0, 999_999),
    zones,
)
amounts = st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=-(10**9), max_value=10**9)
amounts |= st.sampled_from([Decimal("-0"), Decimal("-0.00"), Decimal("0.50"), Decimal(-7)])
values = st.tuples(
    texts,
    st.none() | texts,
    st.none() | times,
    st.none() | st.dates(date(1970, 1, 1)),
    st.none() | amounts,
    st.none() | st.booleans(),
    st.lists(texts, max_size=3),
)
made = st.lists(st.tuples(st.integers(1, 6), st.sampled_from(TABLES), values), max_size=12)


def by_definition(rows: Sequence[tuple[int, Row]]) -> str:
    """As the definition says it, table by table, all at once, with another JSON encoder than ours."""

    def told(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if isinstance(value, Decimal) and value.is_zero():
            return str(value).removeprefix("-")
        if isinstance(value, date | Decimal):
            return str(value)
        return value

    lines = []
    for table in sorted(TABLES):
        of_table = [
            (at, json.dumps([*map(told, row)], ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
            for at, (name, row) in rows
            if name == table
        ]
        lines.append(f"{table} {sha256(b''.join(line for _, line in sorted(of_table))).hexdigest()}\n")
    return sha256("".join(lines).encode()).hexdigest()


def numbered(rows: Sequence[tuple[int, str, Any]]) -> list[tuple[int, Row]]:
    """With positions as first column, in the order of positions."""
    return [(at, (table, (at, *row))) for at, table, row in sorted(rows, key=lambda each: each[0])]


@given(made, st.randoms(use_true_random=False), st.lists(st.integers(0, 6), max_size=3))
def test_it_is_as_defined_in_whatever_parts_and_order_the_rows_of_a_position_come(rows, chance, cuts):
    chance.shuffle(rows)
    folded = numbered(rows)
    running, before = RunningDigest(TABLES), 0
    for cut in [*sorted(cuts), 6]:
        running.extend(each for each in folded if before < each[0] <= cut)
        before = cut
    assert running.hexdigest() == by_definition(folded)


@given(made.filter(bool), st.data())
def test_a_row_more_or_less_shows(rows, data):
    folded = numbered(rows)
    whole, less = RunningDigest(TABLES), RunningDigest(TABLES)
    whole.extend(folded)
    at = data.draw(st.integers(0, len(folded) - 1))
    less.extend(folded[:at] + folded[at + 1 :])
    assert whole.hexdigest() != less.hexdigest()


def test_what_comes_out_of_order_is_refused():
    running = RunningDigest(TABLES)
    running.extend([(3, ("one", (3,)))])
    running.extend([(2, ("other", (2,)))])
    for position in (3, 2):
        with pytest.raises(ValueError, match=f"rows of one at position {position} come after 3"):
            running.extend([(position, ("one", (position,)))])


async def test_a_database_gives_it_as_the_fold_does(database: Database):
    """Whatever the values say and however the database orders texts."""
    connection = await connect(database.projector)
    projection = msgspec.structs.replace(
        ALL[0], name="made_up", tables={"one": ("position", "name"), "other": ("position", "name")}
    )
    for table in TABLES:
        await connection.execute(
            f"CREATE TABLE ledger_main.{table} (position bigint, name text, said text, at timestamptz, day date,"
            " amount numeric, yes boolean, list text[])"
        )

    async def stored(rows: list[tuple[int, str, Any]]) -> tuple[str, str]:
        folded, running = numbered(rows), RunningDigest(TABLES)
        running.extend(folded)
        async with connection.transaction():
            await connection.execute("TRUNCATE ledger_main.one, ledger_main.other")
            for table in TABLES:
                records = [row for _, (name, row) in folded if name == table]
                await connection.copy_records_to_table(table, schema_name="ledger_main", records=records)
            return await digest(connection, "ledger_main", projection, 6), running.hexdigest()

    examples = 0
    for rows in drawn(made, 60):
        read, replayed = await stored(rows)
        assert read == replayed, rows
        examples += bool(rows)
    assert examples > 30
    await connection.close()


def drawn(strategy: Any, count: int) -> list[Any]:
    """Examples to be used where there is an event loop already."""
    found: list[Any] = []

    @given(strategy)
    @settings(max_examples=count, database=None, derandomize=True)
    def draw(example: Any) -> None:
        found.append(example)

    draw()
    return found
