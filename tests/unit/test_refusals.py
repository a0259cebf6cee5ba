"""What was refused, counted: how spots add up, what bounds them, and what is never kept."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import read_event
from schemas.envelope import Refusal
from schemas.events import EVENT_TYPES
from schemas.examples import EXAMPLES
from services.ledger.refusals import (
    ELSEWHERE,
    MADE_UP,
    WAITING_SPOTS_MAX,
    Count,
    Refusals,
    Spot,
    bounded,
)

DAY = date(2026, 11, 21)
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def counted(*refusals: tuple[str, str, str]) -> dict[str, str]:
    """The pointers and messages that one refused event is counted with."""
    counts = Refusals(None, clock=lambda: NOON)
    counts.count("main", "/crm", "", refusals)
    return {spot.pointer: count.message for (_, spot), count in counts._waiting["main"].items()}


@pytest.mark.parametrize(
    ("pointer", "kept"),
    [
        ("", ""),
        ("/data/importance", "/data/importance"),
        ("/data/bullets/17/test/tests/0", "/data/bullets/*/test/tests/*"),
        ("/data/attributes/Our secret", "/data/attributes/*"),
        ("/data/labels/quarter", "/data/labels/*"),
        ("/data/quote/zugzwang", "/data/quote/*"),
        ("/data/What we heard of Dana", "/data/*"),
        ("/data/attributes/x/JohnSmith", "/data/attributes/*/*"),
        ("/data/labels/attributes/JohnSmith/0", "/data/labels/*/*/*"),
        ("/data/quote/sealed/JohnSmith", "/data/quote/*/*"),
        ("/data/mood", "/data/mood"),
        ("/data/a~1b", "/data/*"),
        ("/data/" + "x" * 60_000, "/data/*"),
        ("/data" + "/a" * 100, "/data" + "/a" * 10 + "/*"),
    ],
)
def test_a_pointer_is_general(pointer: str, kept: str):
    assert [*counted(("invalid-event", pointer, "is required"))] == [kept]


def test_an_event_counts_once_at_a_spot():
    assert counted(*[("invalid-event", f"/data/bullets/{n}/text", "is required") for n in range(50)]) == {
        "/data/bullets/*/text": "is required"
    }


def test_the_members_with_names_of_an_emitters_own_are_known():
    maps = {
        name
        for cls in EVENT_TYPES.values()
        for name, hint in cls.__annotations__.items()
        if "Labels" in str(hint) or "dict[" in str(hint)
    }
    assert maps == {"attributes", "labels"}
    assert maps <= MADE_UP


@pytest.mark.parametrize("day", ["1756-01-27", "2026-02-30", "2026-11-21T10:77:00Z"])
def test_no_message_holds_a_day(day: str):
    """They are texts to a type, which looks at them itself."""
    found = 0
    for name, data in EXAMPLES.items():
        for field in EVENT_TYPES[name].__struct_fields__:
            event = {"specversion": "1.0", "id": "a", "source": "/crm", "type": name, "data": data | {field: day}}
            refused = read_event(event, now=NOON)
            for each in refused if isinstance(refused, list) else []:
                assert day not in each.plain, (name, field)
                found += each.plain != ""
    assert found > len(EXAMPLES)


@pytest.mark.parametrize(
    ("problem", "field", "value", "plain"),
    [
        ("invalid-event", "importance", 9, "Expected `int` <= 3"),
        ("invalid-event", "importance", "3", "Expected `int`, got `str`"),
        ("invalid-event", "needed_by", "soon", ""),
        ("invalid-event", "by", {"role": "x", "team": "y", "mood": "z"}, "unknown field"),
        ("invalid-event", "quote", {"sealed": "x"}, "is sealed by the ledger; send the text"),
        ("invalid-event", "quote", "", "Expected `str` of length >= 1"),
        ("invalid-event", "quote", "x" * 8_001, "Expected `str` of length <= 8000"),
        ("unknown-type", "", "ledger.ask.sung.v1", ""),
    ],
)
def test_what_is_kept_is_what_was_said_without_what_was_sent(problem: str, field: str, value: Any, plain: str):
    name = "ledger.ask.recorded.v1"
    event = {"specversion": "1.0", "id": "a", "source": "/crm", "type": name, "data": EXAMPLES[name]}
    event |= {"data": EXAMPLES[name] | {field: value}} if field else {"type": value}
    refused = read_event(event, now=NOON)
    assert isinstance(refused, list)
    assert [(each.problem, each.plain) for each in refused] == [(problem, plain)]
    assert refused[0].message


@pytest.mark.parametrize("name", sorted(EVENT_TYPES))
def test_no_message_holds_a_value(name: str):
    marker = "zugzwang"
    data = EXAMPLES[name]
    for field in data:
        for value in (marker, [marker], {marker: marker}, 10**20, -1, True, None, marker * 2_000, f" {marker}\n", {}):
            for where in ("data", "envelope"):
                event = {
                    "specversion": "1.0", "id": f"{marker} {field}", "source": f"/{marker}", "type": name,
                    "data": data | {field: value}, "subject": marker, marker.upper(): marker,
                }  # fmt: skip
                if where == "envelope":
                    event |= {
                        "time": marker,
                        "specversion": marker,
                        "dataschema": f"{marker}\n",
                        "expectedversion": marker,
                    }
                refused = read_event(event, now=NOON)
                assert isinstance(refused, list)
                kept = counted(*[(each.problem, each.pointer, each.plain) for each in refused])
                assert all(kept.values())
                assert not [message for message in kept.values() if marker in message]


def test_usual_messages_are_kept():
    event = {
        "specversion": "1.0", "id": "a", "source": "/crm", "type": "ledger.ask.recorded.v1",
        "data": {"requirement": "a b", "importance": "3", "mood": 1, "by": {"role": " ", "team": "sales"}},
    }  # fmt: skip
    refused = read_event(event, now=NOON)
    assert isinstance(refused, list)
    assert all(isinstance(each, Refusal) for each in refused)
    assert counted(*[(each.problem, each.pointer, each.plain) for each in refused]) == {
        "/data/mood": "unknown field",
        "/data/requirement": "an id is 1 to 100 of A-Z a-z 0-9 . _ ~ : @ -, first a letter or digit",
        "/data/account": "is required",
        "/data/importance": "Expected `int`, got `str`",
        "/data/by/role": "must not be blank",
    }


@pytest.mark.parametrize(
    ("name", "more", "pointer", "values"),
    [
        ("delivery.updated", {"state": "zugzwang"}, "/data/state", "planned, in_progress, beta, shipped, cancelled"),
        (
            "requirement.assessed",
            {"feasibility": "maybe"},
            "/data/feasibility",
            "feasible, costly, infeasible, unknown",
        ),
        (
            "agreement.revised",
            {"bullets": [{"bullet": "b", "text": "t", "test": {"op": "not", "test": {"op": "equals"}}}]},
            "/data/bullets/0/test/test/op",
            "eq, ne, gt, gte, lt, lte, in, not_in, between, has, exists, all, any, not",
        ),
    ],
)
def test_what_is_none_of_a_few_is_told_which_there_are(name: str, more: Any, pointer: str, values: str):
    name = f"ledger.{name}.v1"
    event = {"specversion": "1.0", "id": "a", "source": "/crm", "type": name, "data": EXAMPLES[name] | more}
    refused = read_event(event, now=NOON)
    assert isinstance(refused, list)
    told = f"must be one of {values}"
    assert [(each.pointer, each.message, each.plain) for each in refused] == [(pointer, told, told)]


def test_a_day_is_that_of_the_clock_in_utc():
    now = datetime(2026, 11, 21, 23, 59, 59, tzinfo=UTC)
    counts = Refusals(None, clock=lambda: now)
    counts.count("main", "/crm", "", [("invalid-event", "/data", "is required")])
    now += timedelta(seconds=1)
    counts.count("main", "/crm", "", [("invalid-event", "/data", "is required")])
    assert [(day, count.count) for (day, _), count in counts._waiting["main"].items()] == [
        (DAY, 1),
        (DAY + timedelta(days=1), 1),
    ]


def test_what_waits_is_bounded_and_nothing_goes_uncounted():
    counts = Refusals(None, clock=lambda: NOON)
    for n in range(WAITING_SPOTS_MAX + 500):
        counts.count("main", f"/crm/{n}", "", [("invalid-event", "/data", "is required")])
    waiting = counts._waiting["main"]
    assert len(waiting) == WAITING_SPOTS_MAX + 1
    assert waiting[DAY, Spot("", "", "invalid-event", ELSEWHERE)].count == 500


spots = st.builds(Spot, st.sampled_from(["", "/a", "/b", "/c"]), st.just("t"), st.just("p"), st.sampled_from("wxyz"))


@given(st.lists(st.dictionaries(st.tuples(st.sampled_from([DAY, DAY + timedelta(days=1)]), spots), st.integers(1, 9))))
def test_rows_are_bounded_and_every_count_arrives(writes: list[dict[tuple[date, Spot], int]]):
    there: dict[tuple[date, Spot], int] = {}
    for write in writes:
        known: dict[tuple[date, str], set[Spot]] = {}
        sources: dict[date, set[str]] = {}
        for day, spot in there:
            known.setdefault((day, spot.source), set()).add(spot)
            sources.setdefault(day, set()).add(spot.source)
        counts = {key: Count(n, NOON, "m") for key, n in write.items()}
        for key, count in bounded(counts, known, sources, spots_max=2, sources_max=3).items():
            there[key] = there.get(key, 0) + count.count
    assert sum(there.values()) == sum(sum(write.values()) for write in writes)
    for day in {day for day, _ in there}:
        named = [spot for known_day, spot in there if known_day == day]
        assert len({spot.source for spot in named} - {""}) <= 3
        for source in {spot.source for spot in named}:
            assert len([spot for spot in named if spot.source == source]) <= 3  # Two, and `…`.
