"""Ids by the recipe: known answers that another language can check, and no two keys with one id."""

import re
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ledger_client
from ledger_client import AskRecorded, Draft, Ledger, Refused, id_of_content, id_of_key
from schemas.events import EVENT_TYPES
from schemas.values import ID_PATTERN

KNOWN = [
    (("ticket", 4711, "status-3"), "ticket:4711:status-3"),
    (("a", "b:c"), "a:b~3Ac"),
    (("a:b", "c"), "a~3Ab:c"),
    (("Zürich", -5, "", "~"), "Z~C3~BCrich:-5::~7E"),
    (("", "x"), "key~~37469d4452548140e06297c8f2e0d9319d52d7b7978beb1661500a200d41b965"),
    (("n" * 100,), "n" * 100),
    (("n" * 101,), "key~~1c2ffa742d6101b788f0505617137552dac57ac2f39267408a9a3457feb7edf4"),
]
README = Path(ledger_client.__file__).with_name("README.md")

parts = st.one_of(st.text(max_size=40), st.integers())
keys = st.lists(parts, min_size=1, max_size=5).map(tuple)


@pytest.mark.parametrize(("key", "id"), KNOWN, ids=[id for _, id in KNOWN])
def test_known_answers(key, id):
    assert id_of_key(key) == id


@pytest.mark.parametrize("text", [ledger_client.ids.__doc__, README.read_text()], ids=["docstring", "readme"])
def test_the_known_answers_of_the_documents_are_true(text):
    told = re.findall(r"^ *\|? *`?(\(.*?\))`?(?: +| *\| *)`?([^ `|\n]+)`?(?: *\|)?$", text, re.MULTILINE)
    vectors = [(eval(key), id) for key, id in told]
    assert len(vectors) >= 3
    assert [id_of_key(key) for key, _ in vectors] == [id for _, id in vectors]


class Colour(str, Enum):  # noqa: UP042  A StrEnum prints what it is; this one does not.
    RED = "red"


class Size(int, Enum):
    LARGE = 3


def test_a_member_of_an_enumeration_is_what_it_is_and_not_its_name():
    assert id_of_key((Colour.RED, Size.LARGE)) == "red:3"


@given(keys)
def test_every_id_is_one_that_the_ledger_takes(key):
    assert re.fullmatch(ID_PATTERN, id_of_key(key))


@given(st.sets(keys, min_size=2, max_size=6))
def test_different_keys_have_different_ids(several):
    # A number and the text of it are the same part.
    texts = {tuple(map(str, key)) for key in several}
    assert len({id_of_key(key) for key in texts}) == len(texts)


@given(st.text(alphabet="ab:~A3", max_size=6), st.text(alphabet="ab:~A3", max_size=6))
def test_where_a_part_ends_makes_a_difference(one, other):
    joined = [(one, other), (one + ":" + other,), (one + other,), (one, other, "")]
    assert len({id_of_key(key) for key in joined}) == len(joined)


def test_a_digest_is_not_the_id_of_a_key_written_out():
    digest = id_of_key(("n" * 101,))
    assert id_of_key((digest,)) != digest


@pytest.mark.parametrize(
    ("key", "error"), [((), ValueError), ("ticket", ValueError), ((True,), TypeError), ((1.5,), TypeError)]
)
def test_what_is_no_key_is_refused(key, error):
    with pytest.raises(error):
        id_of_key(key)


def test_content_names_an_event_that_has_no_key():
    noon = datetime(2026, 11, 21, 12, tzinfo=UTC)
    data = {"requirement": "SSO-42", "account": "acme"}
    ids = [
        id_of_content("ledger.ask.recorded.v1", data, None),
        id_of_content("ledger.ask.recorded.v1", data, noon),
        id_of_content("ledger.ask.recorded.v1", data, noon + timedelta(microseconds=1)),
        id_of_content("ledger.ask.recorded.v1", data | {"importance": 2}, noon),
        id_of_content("ledger.ask.withdrawn.v1", data, noon),
    ]
    assert all(one != other for one, other in combinations(ids, 2))
    assert ids[0] == "said~~d4542c0f293c6e17840308e921334bdbde468238ab94533b7a3b311654dbc4da"
    # Neither the order of members nor the zone of a time is content.
    there = noon.astimezone(timezone(timedelta(hours=5)))
    assert id_of_content("ledger.ask.recorded.v1", dict(reversed(data.items())), there) == ids[1]


def test_what_is_said_by_default_is_not_part_of_the_content():
    ledger = Ledger("http://localhost", "key", source="/crm")
    plain = ledger.write(Draft(AskRecorded(requirement="SSO-42", account="acme")))
    assert ledger.write(Draft(AskRecorded(requirement="SSO-42", account="acme", importance=1)))["id"] == plain["id"]


def test_an_event_is_judged_where_it_is_made():
    ledger = Ledger("http://localhost", "key", source="/crm")
    with pytest.raises(Refused) as refused:
        ledger.write(Draft(AskRecorded(requirement="SSO 42", account="acme", importance=9)))
    assert [spot.pointer for spot in refused.value.errors] == ["/data/requirement", "/data/importance"]
    assert not refused.value.retryable


def test_every_event_can_be_imported_from_the_client():
    assert {cls.__name__ for cls in EVENT_TYPES.values()} <= set(ledger_client.__all__)
    assert all(hasattr(ledger_client, name) for name in ledger_client.__all__)
