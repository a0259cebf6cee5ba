"""No answer ranks, groups or counts persons. Their ids are shown where one subject says who asked and who decided."""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from msgspec import Struct

from schemas.events import EVENT_TYPES
from schemas.examples import EXAMPLES
from schemas.values import By
from services.postgres import connect
from services.projector.answers.requirements import Sort
from services.projector.http import routes
from services.projector.projections import ALL
from services.web import Route
from tests.asking import asking
from tests.conftest import Database
from tests.log import event

PERSON = "somebody-in-particular"
NAMES_A_PERSON = {"person", "contact"}
LISTS = ("requirements", "accounts", "agreements", "decisions", "promises")

COLUMNS = {
    ("asks", "contact"),
    ("feedback_rows", "contact"),
    ("decisions_made", "deciders"),
    ("decisions_made", "consulted"),
    *(
        (table, "by_person")
        for table in (
            *("requirement_rows", "asks", "deliveries", "decision_proposals"),
            *("agreement_revisions", "agreement_endorsements", "agreement_adoptions"),
            *("account_merges", "requirement_merges", "ask_moves", "assessments", "perspectives", "retractions"),
            *("decision_acknowledgements", "decision_reaffirmations", "decision_supersessions"),
            *("promises_made", "promises_closed"),
        )
    ),
}
"""Where read models hold the id of a person: who asked, who decided, who signed."""

MEMBERS = {
    "/requirements/{requirement}": {
        *("who_asked.asks.contact", "who_asked.asks.by", "who_decided.deciders", "who_decided.consulted"),
        *("who_decided.acknowledgements.by", "who_decided.reaffirmations.by"),
        *("merged.by", "assessments.by", "perspectives.by"),
    },
    "/accounts/{account}": {"asks.contact", "asks.by", "merged.by"},
    "/agreements/{agreement}": {"revisions.by", "revisions.endorsements.by", "revisions.adoptions.by"},
    "/agreements/{agreement}/revisions/{revision}": {"by", "endorsements.by", "adoptions.by"},
    "/decisions/{decision}": {"deciders", "consulted", "proposed.by", "acknowledgements.by", "reaffirmations.by"},
}
"""Where answers show them: each is about one subject. An answer that is not named here shows none."""

PARAMETERS = {
    *("as_of", "at_least", "timeout", "cursor", "limit", "status", "class", "area", "q", "sort", "currency", "lens"),
    *("departs", "outcome", "grounds", "needs_review"),
    *("source", "type", "agrees", "from", "to"),
    *("account", "alias", "channel", "similar_to", "used"),
    *("state", "overdue", "requirement", "basis", "infeasible"),
    *("voice", "new_attributes"),
}
"""What may be asked. Whoever adds one says here that it is not about a person."""


def declared() -> list[Route]:
    projector: Any = None  # Only what is declared is looked at.
    return routes(projector)


def below(route: Route) -> str:
    return route.path.removeprefix("/v1/ledgers/{ledger}")


def events_that_name_a_person() -> list[Any]:
    """Every event type, with the same person wherever one can be named."""
    by = {"role": "tester", "team": "product", "person": PERSON}
    found = []
    for type, data in EXAMPLES.items():
        named = dict(data)
        for field in msgspec.structs.fields(EVENT_TYPES[type]):
            if field.name in NAMES_A_PERSON:
                named[field.name] = PERSON
            elif mentions(field.type, By):
                named[field.name] = [by] if "list" in str(field.type) else by
        named.pop("seen", None)
        found.append(event(type.removeprefix("ledger.").removesuffix(".v1"), **named))
    return found


def mentions(hint: Any, wanted: Any) -> bool:
    return hint is wanted or any(mentions(part, wanted) for part in get_args(hint))


async def test_read_models_hold_persons_only_beside_what_they_said_and_index_none(database: Database) -> None:
    async with asking(database) as client:
        await client.record(*events_that_name_a_person())
        await client.answer("requirements")
        owner = await connect(database.superuser)
        try:
            tables = [table for projection in ALL for table in projection.tables]
            columns = await owner.fetch(
                "SELECT table_name, column_name FROM information_schema.columns"
                " WHERE table_schema = 'ledger_main' AND table_name = ANY($1)",
                tables,
            )
            assert {table for table, _ in columns} == {*tables}
            holding = {
                (table, column)
                for table, column in columns
                if await owner.fetchval(
                    f"SELECT count(*) FROM ledger_main.{table} WHERE position({PERSON!r} IN {column}::text) > 0"
                )
            }
            assert holding == COLUMNS
            indexed = await owner.fetch(
                "SELECT c.relname, a.attname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid"
                " JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)"
                " WHERE c.relnamespace = 'ledger_main'::regnamespace"
            )
            assert not {tuple(each) for each in indexed} & COLUMNS
        finally:
            await owner.close()


@pytest.mark.parametrize("path", LISTS)
async def test_no_list_shows_a_person_or_finds_one(database: Database, path: str) -> None:
    async with asking(database) as client:
        await client.record(*events_that_name_a_person())
        assert (await client.answer(path))["total"] > 0
        for accept in ("application/json", "text/csv"):
            reply = await client.get(path, key="personal", headers={"Accept": accept})
            assert reply.status == 200
            assert PERSON.encode() not in reply.body
        if path in ("requirements", "accounts"):
            assert (await client.answer(path, q=PERSON))["total"] == 0


def test_nothing_is_asked_for_filtered_or_sorted_by_person() -> None:
    names = {
        field.encode_name
        for route in declared()
        if route.parameters
        for field in msgspec.structs.fields(route.parameters)
    }
    assert names == PARAMETERS
    assert {*get_args(Sort)} == {"voice", "recent", "revenue"}


@pytest.mark.parametrize("route", declared(), ids=below)
def test_persons_are_shown_in_answers_about_one_subject_only(route: Route) -> None:
    body = route.answers[200].bodies["application/json"]
    assert {*persons_in(body)} == MEMBERS.get(below(route), set())


def persons_in(hint: Any, name: str = "", seen: tuple[Any, ...] = ()) -> Iterator[str]:
    """The members of an answer that hold the id of a person."""
    if hint is By:
        yield name
    elif get_origin(hint) in (Union, UnionType, Annotated, list, dict, tuple):
        for part in get_args(hint):
            yield from persons_in(part, name, seen)
    elif isinstance(hint, type) and issubclass(hint, Struct) and hint not in seen:
        hints = get_type_hints(hint, include_extras=True)
        for field in msgspec.structs.fields(hint):
            path = f"{name}.{field.encode_name}".lstrip(".")
            if field.name in NAMES_A_PERSON:
                yield path
            else:
                yield from persons_in(hints[field.name], path, (*seen, hint))
