"""No answer ranks, groups or counts persons. Their ids are shown where one subject says who asked and who decided."""

import random
import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
from msgspec import Struct

from schemas.events import EVENT_TYPES
from schemas.examples import EXAMPLES
from schemas.values import By
from services.postgres import connect
from services.projector import answers
from services.projector.answers.requirements import Sort
from services.projector.http import routes
from services.projector.projections import ALL
from services.projector.requests.paging import Lists
from services.statements import Statements
from services.web import Route
from tests.asking import asking
from tests.conftest import Database
from tests.log import event
from tests.questions import ask, path_of, questions

PERSON = "somebody-in-particular"
NAMES_A_PERSON = {"person", "contact"}
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
    *("voice", "new_attributes", "proof"),
}
"""What may be asked. Whoever adds one says here that it is not about a person."""


SORTS = {"voice", "recent", "revenue"}
"""By what lists may be sorted."""

# What a statement says next to the id of a person. In what it selects the id may stand, and nowhere else.
_CLAUSE = re.compile(
    r"\b(SELECT|DISTINCT ON|FROM|JOIN|USING|ON|WHERE|AND|OR|NOT|GROUP BY|HAVING|ORDER BY|PARTITION BY|LIMIT|IN|ANY|"
    r"array_agg|string_agg|jsonb_agg|count|sum|min|max|lag|lead|rank|row_number)\b(?= |\(|\n)",
)
_PERSON = re.compile(r"\b(by_person|person|contact|deciders|consulted)\b")


def declared() -> list[Route]:
    projector: Any = None  # Only what is declared is looked at.
    return routes(projector)


def below(route: Route) -> str:
    return route.path.removeprefix("/v1/ledgers/{ledger}")


def lists() -> list[str]:
    """The lists that there are, as paths below a ledger."""
    return [below(each).lstrip("/") for each in declared() if each.parameters and issubclass(each.parameters, Lists)]


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
    # The examples withdraw the ask that they have, and take up the feedback.
    asked = {"requirement": "SSO-42", "account": "acme", "ask": "another", "contact": PERSON}
    by = {"role": "tester", "team": "sales", "person": PERSON}
    found.append(event("ask.recorded", **asked, by=by))
    found.append(event("feedback.received", feedback="another", text="slow", account="acme", contact=PERSON))
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


@pytest.mark.parametrize("path", lists())
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


async def test_a_person_is_shown_where_one_subject_says_who_asked_and_who_decided_and_nowhere_else(
    database: Database,
) -> None:
    events = events_that_name_a_person()
    chance = random.Random(0)
    shown = set()
    async with asking(database) as client:
        await client.record(*events)
        await client.answer("requirements")
        for question in questions():
            path = path_of(question, events, chance, unheard_of=False)
            reply = await ask(client, path, question._replace(key="personal"), at_least=client.head)
            if PERSON.encode() in reply.body:
                assert question.accept == "application/json", path
                here = {re.sub(r"\.person$", "", place) for place in places_of(PERSON, reply.json)}
                assert here <= MEMBERS.get(below(question.route), set()), path
                shown |= {(below(question.route), place) for place in here}
    # Each of the places has been seen, so that what is said of the others means something.
    unseen = {(path, place) for path, places in MEMBERS.items() for place in places} - shown
    assert {place for _, place in unseen} <= {"merged.by"}  # What is merged is another subject's answer.


def places_of(word: str, answer: Any, name: str = "") -> Iterator[str]:
    """The members that hold a text, as `a.b`."""
    match answer:
        case dict():
            for key, item in answer.items():
                yield from places_of(word, item, f"{name}.{key}".lstrip("."))
                assert word not in key
        case list():
            for item in answer:
                yield from places_of(word, item, name)
        case str() if word in answer:
            yield name


async def test_no_parameter_finds_a_person(database: Database) -> None:
    events = events_that_name_a_person()
    chance = random.Random(0)
    async with asking(database) as client:
        await client.record(*events)
        await client.answer("requirements")
        for question in questions():
            for name, value in question.parameters.items():
                asked = question._replace(parameters={**question.parameters, name: PERSON}, key="personal")
                path = path_of(asked, events, chance, unheard_of=False)
                reply = await ask(client, path, asked._replace(accept="application/json"), at_least=client.head)
                if reply.status == 200:
                    assert reply.json["total"] == 0, (path, value)
                else:
                    assert reply.status in (400, 404), path


def test_nothing_is_asked_for_filtered_or_sorted_by_person() -> None:
    fields = [field for route in declared() if route.parameters for field in msgspec.structs.fields(route.parameters)]
    assert {field.encode_name for field in fields} == PARAMETERS
    assert {*get_args(Sort)} == SORTS
    chosen = {value for field in fields for value in literals(field.type)}
    assert not {each for each in chosen if re.search("person|contact|decider|by$|who", str(each))}


def literals(hint: Any) -> Iterator[Any]:
    """The values that a parameter chooses from."""
    if get_origin(hint) is Literal:
        yield from get_args(hint)
    for part in get_args(hint):
        yield from literals(part)


def statements() -> list[tuple[str, str]]:
    """Every statement by which answers read, without its comments."""
    folder = Path(answers.__file__).parent
    return [
        (f"{path.stem}: {name}", re.sub(r"--[^\n]*", "", statement))
        for path in sorted(folder.glob("*.sql"))
        for name, statement in Statements.load(path).items()
    ]


def test_no_statement_filters_joins_groups_sorts_or_counts_by_a_person() -> None:
    found = []
    for name, statement in statements():
        for person in _PERSON.finditer(statement):
            clauses = [each[1] for each in _CLAUSE.finditer(statement, 0, person.start())]
            if clauses[-1] not in ("SELECT", "DISTINCT ON") or "(" in _open(statement[: person.start()]):
                found.append((name, clauses[-1], person[0]))
    assert found == []


def _open(text: str) -> str:
    """The parentheses that are open at the end of a text, but for that of a part that selects by itself."""
    last = text.rfind("SELECT")
    rest = text[last:]
    while (shorter := re.sub(r"\([^()]*\)", "", rest)) != rest:
        rest = shorter
    return "".join(each for each in rest if each == "(")


@pytest.mark.parametrize("route", declared(), ids=below)
def test_persons_are_shown_in_answers_about_one_subject_only(route: Route) -> None:
    shown = {*persons_in(route.answers[200].bodies["application/json"])}
    # What is about one subject ends in its id: a list, a context, a brief or an outcome shows no persons.
    assert not shown or below(route).endswith("}")
    assert shown == MEMBERS.get(below(route), set())


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
