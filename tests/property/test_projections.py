"""Every observation, in any order of arrival, is applied by every projection."""

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.codec import close_record, open_record, read_event
from schemas.envelope import Sent
from services.postgres import connect
from services.projector.apply import Folded, Values, fold_page, write
from services.projector.digest import digest
from services.projector.feed import Page, Stored
from services.projector.projections import ALL, Row
from services.statements import fill
from tests.conftest import Database

NOW = datetime(2026, 11, 21, tzinfo=UTC)
RECORDED = NOW + timedelta(hours=1)

ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~:@-]{0,99}", fullmatch=True) | st.sampled_from(["a", "b", "A"])
texts = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda text: bool(text.strip())
)
days = st.dates(date(1900, 1, 1), date(9998, 12, 31)).map(lambda day: day.isoformat())
by = st.fixed_dictionaries({"role": texts, "team": texts.map(lambda text: text[:60])}, optional={"person": ids})
labels = st.dictionaries(texts, texts, max_size=3)
urls = st.just("https://desk.example/1")
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
facts = st.none() | st.booleans() | numbers | texts | st.lists(texts, max_size=3)
amounts = st.from_regex(r"-?[0-9]{1,15}(\.[0-9]{1,6})?", fullmatch=True)


def kind(name: str, required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[tuple[str, Any]]:
    return st.tuples(st.just(f"ledger.{name}.v1"), st.fixed_dictionaries(required, optional=optional))


observations = st.one_of(
    kind("person.introduced", {"person": ids, "name": texts}, {"role": texts}),
    kind(
        "account.profiled",
        {"account": ids, "attributes": st.dictionaries(texts, facts, max_size=4)},
        {"name": texts},
    ),
    kind(
        "opportunity.updated",
        {
            "opportunity": ids,
            "account": ids,
            "stage": st.sampled_from(["open", "won", "lost"]),
            "currency": st.just("EUR"),
        },
        {
            "amount": amounts,
            "kind": st.sampled_from(["new", "expansion", "renewal"]),
            "pipeline_stage": texts,
            "closes": days,
            "starts": days,
            "ends": days,
            "requirements": st.lists(ids, max_size=3),
            "competitors": st.lists(texts, max_size=3),
            "closed_because": st.just("price"),
            "lead": ids,
            "reason": texts,
        },
    ),
    kind(
        "requirement.raised",
        {"requirement": ids, "title": texts},
        {
            "problem": texts,
            "area": texts,
            "labels": labels,
            "links": st.lists(st.fixed_dictionaries({"system": texts, "id": texts}), max_size=2),
            "by": by,
        },
    ),
    kind(
        "ask.recorded",
        {"requirement": ids, "account": ids},
        {
            "ask": ids,
            "importance": st.integers(0, 3),
            "contact": ids,
            "channel": texts,
            "quote": texts,
            "url": urls,
            "opportunity": ids,
            "feedback": ids,
            "needed_by": days,
            "labels": labels,
            "by": by,
        },
    ),
    kind(
        "feedback.received",
        {"feedback": ids, "text": texts},
        {"account": ids, "contact": ids, "channel": texts, "url": urls, "labels": labels},
    ),
    kind("ask.withdrawn", {"requirement": ids, "ask": ids}, {"reason": texts, "by": by}),
    kind(
        "delivery.updated",
        {"requirement": ids, "state": st.sampled_from(["planned", "in_progress", "beta", "shipped", "cancelled"])},
        {"target": days, "url": urls, "by": by},
    ),
)
moments = st.none() | st.datetimes(datetime(1900, 1, 1), NOW.replace(tzinfo=None)).map(  # noqa: DTZ001
    lambda time: time.isoformat() + "Z"
)


@st.composite
def logs(draw: st.DrawFn) -> list[Sent]:
    """Observations that the edge takes, each with an id of its own."""
    sent = []
    for number, ((name, data), time) in enumerate(draw(st.lists(st.tuples(observations, moments), max_size=12))):
        envelope = {"specversion": "1.0", "id": f"e-{number}", "source": "urn:test", "type": name, "data": data}
        match read_event(envelope | ({"time": time} if time else {}), now=NOW):
            case Sent() as event:
                sent.append(event)
            case refusals:
                raise AssertionError(f"the strategy makes what the edge refuses: {refusals}")
    return sent


def page(sent: list[Sent]) -> Page:
    return Page(
        0,
        tuple(
            Stored(
                position,
                event.type,
                close_record(
                    open_record(event, event.data, "k", "service"),
                    timed=event.time is not None,
                    recordedtime=RECORDED,
                    position=position,
                    version=1,
                ),
            )
            for position, event in enumerate(sent, 1)
        ),
        None,
    )


def rows(sent: list[Sent]) -> list[tuple[int, Row]]:
    made = []
    for projection in ALL:
        folded = fold_page(projection, page(sent))
        assert folded.trouble is None
        assert folded.upto == len(sent)
        made += [(values[0], (table, values)) for table, each in folded.rows.items() for values in each]
    return made


def apart_from_position(made: list[tuple[int, Row]], sent: list[Sent]) -> list[str]:
    """The rows, with each event's id in the place of its position."""
    return sorted(repr((sent[position - 1].id, table, values[1:])) for position, (table, values) in made)


@settings(max_examples=200)
@given(st.data())
def test_the_order_of_arrival_changes_positions_and_nothing_else(data: st.DataObject) -> None:
    sent = data.draw(logs())
    otherwise = data.draw(st.permutations(sent))
    assert apart_from_position(rows(sent), sent) == apart_from_position(rows(otherwise), otherwise)


@settings(max_examples=100)
@given(logs(), st.integers(0, 12))
def test_a_page_may_end_anywhere(sent: list[Sent], cut: int) -> None:
    cut = min(cut, len(sent))
    whole = page(sent)
    for projection in ALL:
        first = fold_page(projection, Page(0, whole.events[:cut], None))
        second = fold_page(projection, Page(cut, whole.events[cut:], None))
        assert _joined(first, second) == fold_page(projection, whole).rows


def _joined(first: Folded, second: Folded) -> dict[str, list[Values]]:
    tables = first.rows.keys() | second.rows.keys()
    return {table: [*first.rows.get(table, ()), *second.rows.get(table, ())] for table in tables}


@pytest.fixture
def keep(database: Database) -> Any:
    """A function that stores rows in tables of a real database, and says their digests; nothing remains."""
    with asyncio.Runner() as runner:
        connection = runner.run(_tables(database))

        def store(made: list[tuple[int, Row]]) -> dict[str, str]:
            return runner.run(_store(connection, [row for _, row in made]))

        yield store
        runner.run(connection.close())


async def _tables(database: Database) -> asyncpg.Connection:
    connection = await connect(database.projector)
    for projection in ALL:
        await connection.execute(fill(projection.tables_sql, schema="ledger_main"))
        await connection.execute(fill(projection.indexes_sql, schema="ledger_main"))
    return connection


async def _store(connection: asyncpg.Connection, made: list[Row]) -> dict[str, str]:
    transaction = connection.transaction()
    await transaction.start()
    try:
        tables: dict[str, list[Values]] = {}
        for table, values in made:
            tables.setdefault(table, []).append(values)
        await write(connection, "ledger_main", tables)
        return {each.name: await digest(connection, "ledger_main", each, len(made)) for each in ALL}
    finally:
        await transaction.rollback()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=logs())
def test_the_database_takes_every_observation(
    keep: Callable[[list[tuple[int, Row]]], dict[str, str]], sent: list[Sent]
) -> None:
    made = rows(sent)
    # Rows in another order, as other pages would bring them, are the same read model.
    assert keep(made) == keep(made[::-1])
