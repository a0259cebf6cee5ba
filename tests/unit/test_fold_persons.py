"""What each event that names a person adds to what is found of persons."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from schemas.envelope import stream_uuid
from schemas.events import EVENT_TYPES, SEALED_FIELDS
from schemas.examples import EXAMPLES
from services.projector.projections import persons
from tests.contract.test_nobody_is_ranked import PERSON, events_that_name_a_person
from tests.unit.test_fold import ABOUT, BY, RECORDED, SEALED, recorded

ADA, BOB = persons.stream_of("p-1"), persons.stream_of("p-2")
ON_BEHALF = (BY["role"], BY["team"])


def rows(type: str, /, **data: Any) -> list[tuple[Any, ...]]:
    """What is kept of each place: place, stream, as what, role, team, type, subject, and which words."""
    event = msgspec.convert(data, EVENT_TYPES[f"ledger.{type}.v1"])
    any_other = recorded("ask.withdrawn", requirement="R-1", ask="k")
    found = []
    for table, values in persons.fold(replace(any_other, event=event, type=f"ledger.{type}.v1")):
        assert table == "person_mentions"
        assert (values[0], *values[-2:]) == (7, ABOUT, RECORDED)
        found.append(values[1:-2])
    return found


def test_an_introduction_says_what_of_the_person_is_sealed() -> None:
    introduced = ("introduced", "buyer", None, "ledger.person.introduced.v1", None)
    assert rows("person.introduced", person="p-1", name=SEALED, role="buyer") == [
        ("person", ADA, *introduced, ["name"])
    ]
    [(*_, words)] = rows("person.introduced", person="p-1", name=SEALED, email=SEALED)
    assert words == ["name", "email"]


def test_words_are_those_of_the_contact_and_not_of_whoever_wrote_them_down() -> None:
    type, subject = "ledger.ask.recorded.v1", "requirement/R-1"
    asked = {"requirement": "R-1", "account": "acme", "quote": SEALED}
    contact = ("contact", ADA, "contact", None, None, type, subject, ["quote"])
    assert rows("ask.recorded", **asked, contact="p-1", by=BY | {"person": "p-2"}) == [
        contact,
        ("by", BOB, "by", *ON_BEHALF, type, subject, []),
    ]
    # Both may be the same person.
    assert rows("ask.recorded", **asked, contact="p-1", by=BY) == [
        contact,
        ("by", ADA, "by", *ON_BEHALF, type, subject, []),
    ]
    assert rows("ask.recorded", **asked, by=BY) == [("by", ADA, "by", *ON_BEHALF, type, subject, [])]
    [(*_, words)] = rows("feedback.received", feedback="F-1", text=SEALED, contact="p-1")
    assert words == ["text"]


def test_each_of_several_deciders_has_a_place() -> None:
    nobody = {"role": "head of sales", "team": "sales"}
    made = rows(
        "decision.made", decision="D-1", requirements=["R-1"], outcome="commit", rationale="so", instruction="Do it.",
        deciders=[nobody, BY, nobody | {"person": "p-2"}, BY], consulted=[BY],
    )  # fmt: skip
    assert [(place, stream, appears_as) for place, stream, appears_as, *_ in made] == [
        ("deciders/1", ADA, "decider"),
        ("deciders/2", BOB, "decider"),
        ("deciders/3", ADA, "decider"),
        ("consulted/0", ADA, "consulted"),
    ]


def test_what_names_nobody_adds_nothing() -> None:
    assert rows("ask.recorded", requirement="R-1", account="acme", quote=SEALED) == []
    assert rows("feedback.received", feedback="F-1", text=SEALED) == []


def test_no_row_holds_the_id_of_a_person() -> None:
    data = {"position": 3, "subject": "person/p-2", "reason": "in error"}
    assert rows("event.retracted", **data, by=BY) == [
        ("by", ADA, "by", *ON_BEHALF, "ledger.event.retracted.v1", None, [])
    ]


@pytest.mark.parametrize("type", EXAMPLES)
def test_every_event_that_can_name_a_person_is_found_by_each_place(type: str) -> None:
    [data] = [each["data"] for each in events_that_name_a_person() if each["type"] == type][:1]
    places = msgspec.json.encode(data).decode().count(f'"{PERSON}"')
    assert (type in persons.PROJECTION.topics) == bool(places)
    if places:
        words = {name: SEALED for name in SEALED_FIELDS[type] if name in data}
        found = rows(type.removeprefix("ledger.").removesuffix(".v1"), **data | words)
        assert [stream for _, stream, *_ in found] == [persons.stream_of(PERSON)] * places
        assert PERSON not in str(found)


def test_what_stands_for_a_person_is_the_stream_of_the_log() -> None:
    for number in range(200):  # All variants of a digest's first bits are among them.
        assert persons.stream_of(f"p-{number}") == str(stream_uuid(f"person/p-{number}"))
