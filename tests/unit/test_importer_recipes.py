"""How the values of an event are made from a row."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from services.importer.mapping import node_of, template
from services.importer.recipes import Row, Unusable, look_up, make, make_id, slug

UTC = ZoneInfo("UTC")
OSLO = ZoneInfo("Europe/Oslo")


def made(expression: Any, row: Row | str, zone: ZoneInfo = UTC) -> Any:
    """What an expression makes of a row; a text is a row with the one column `x`."""
    return make(node_of(expression), {"x": row} if isinstance(row, str) else row, zone)


@pytest.mark.parametrize(
    ("text", "decimal", "number"),
    [
        ("1100.04", ".", 1100.04),
        ("8,800", ".", 8800),
        ("1,234,567.5", ".", 1234567.5),
        ("1.234.567,5", ",", 1234567.5),
        ("1 234,50", ",", 1234.5),
        ("1\N{NARROW NO-BREAK SPACE}234", ".", 1234),
        ("12'345.60", ".", 12345.6),
        ("12,34,567", ".", 1234567),
        ("$1,000", ".", 1000),
        ("€ 38.000,00", ",", 38000),
        ("(1,250.00)", ".", -1250),
        ("17-", ".", -17),
        ("\N{MINUS SIGN}4", ".", -4),
        ("1.2e6", ".", 1200000),
        ("-0", ".", 0),
        (".5", ".", 0.5),
    ],
)
def test_numbers_are_read_as_exports_write_them(text: str, decimal: str, number: float):
    read = made({"from": "x", "as": "number", "decimal": decimal}, text)
    assert read == number
    assert type(read) is type(number)


@pytest.mark.parametrize(
    ("text", "decimal"),
    [("12,50", "."), ("1.23", ","), ("1,2345", "."), ("1.234.5", "."), ("1 234,567 8", "."), ("ten", "."), ("1,", "."),
     ("--5", "."), ("0x10", "."), ("NaN", "."), ("١٢", "."), ("$", ".")],
)  # fmt: skip
def test_a_number_that_could_be_read_two_ways_is_refused(text: str, decimal: str):
    with pytest.raises(Unusable, match="x: "):
        made({"from": "x", "as": "number", "decimal": decimal}, text)


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1054", "1054"), ("1,054.00", "1054.00"), ("0", "0"), ("-7.10", "-7.10"), ("1e3", "1000"), ("USD 5.5", "5.5")],
)
def test_an_amount_keeps_its_digits(text: str, amount: str):
    assert made({"from": "x", "as": "amount", "units": ["USD"]}, text) == amount


def test_json_numbers_are_taken_as_they_are_whatever_sign_texts_have():
    assert made({"from": "x", "as": "number", "decimal": ","}, {"x": 12.5}) == 12.5
    assert made({"from": "x", "as": "amount", "decimal": ","}, {"x": 12.5}) == "12.5"


@pytest.mark.parametrize(
    ("text", "form", "zone", "time"),
    [
        ("01-03-17", "%d-%m-%y", UTC, "2017-03-01T00:00:00Z"),
        ("01.03.2017 14:30", "%d.%m.%Y %H:%M", OSLO, "2017-03-01T13:30:00Z"),
        ("01.07.2017", "%d.%m.%Y", OSLO, "2017-06-30T22:00:00Z"),
        ("2017-03-01T14:30:00+05:30", "iso", OSLO, "2017-03-01T09:00:00Z"),
        ("2017-03-01", "iso", UTC, "2017-03-01T00:00:00Z"),
        ("1488378600", "epoch", OSLO, "2017-03-01T14:30:00Z"),
        ("1488378600250", "epoch_ms", OSLO, "2017-03-01T14:30:00.250000Z"),
        # Of the two hours that clocks show twice in October, the first.
        ("29.10.2017 02:30", "%d.%m.%Y %H:%M", OSLO, "2017-10-29T00:30:00Z"),
    ],
)
def test_times_are_read_in_the_zone_of_the_mapping(text: str, form: str, zone: ZoneInfo, time: str):
    assert made({"from": "x", "as": "time", "formats": ["%Y/%m/%d", form]}, text, zone) == time


def test_an_hour_that_the_clocks_skipped_is_refused():
    with pytest.raises(Unusable, match="skipped by the clocks of Europe/Oslo"):
        made({"from": "x", "as": "time", "formats": ["%d.%m.%Y %H:%M"]}, "26.03.2017 02:30", OSLO)


def test_a_day_is_that_of_the_mapping_s_zone():
    assert made({"from": "x", "as": "date", "formats": ["iso"]}, "2017-03-01T23:30:00Z", OSLO) == "2017-03-02"
    assert made({"from": "x", "as": "date", "formats": ["%d-%m-%y"]}, "31-12-17", OSLO) == "2017-12-31"


@pytest.mark.parametrize("text", ["31-02-17", "tomorrow", "01-03-17 12:00"])
def test_what_is_no_date_is_refused(text: str):
    with pytest.raises(Unusable, match="not a time of the form %d-%m-%y"):
        made({"from": "x", "as": "date", "formats": ["%d-%m-%y"]}, text)


def test_a_list_has_each_text_once_and_no_empty_ones():
    assert made({"from": "x", "as": "list", "separator": ";"}, " b; a;;b ") == ["b", "a"]
    assert made({"from": "x", "as": "list"}, {"x": ["b", "a", "b"]}) == ["b", "a"]
    assert made({"from": "x", "as": "list"}, " , ") is UNSET


def test_of_a_list_of_labels_one_is_picked():
    start = {"from": "labels.*.name", "as": "pick", "start": "customer:"}
    among = {"from": "labels.*.name", "as": "pick", "among": ["bug", "Wish"]}
    labels = [{"name": name} for name in ("new", "Customer: acme ", "customer:cedar", "wish", 7)]
    assert made(start, {"labels": labels}) == "acme"
    assert made(among, {"labels": labels}) == "wish"
    for none in ([], None, [{"name": "customer:"}], [{"name": "custom"}], [{}]):
        assert made(start, {"labels": none}) is UNSET
    assert made({"from": "x", "as": "pick", "start": "a-"}, "a-1") == "1"
    with pytest.raises(Unusable, match=r"labels\.\*: an object, not a text"):
        made({"from": "labels.*", "as": "pick", "start": "a"}, {"labels": labels})


def test_a_table_maps_texts_and_says_what_becomes_of_others():
    stage = {"from": "x", "as": "map", "table": {"Won": "won", "5": 3, "Not sure": None}}
    assert made(stage, " WON ") == "won"
    assert made(stage, {"x": 5}) == 3
    assert made(stage, "not sure") is None
    assert made(stage | {"others": "keep"}, "Paused") == "Paused"
    assert made(stage | {"others": "drop"}, "Paused") is UNSET
    assert made(stage | {"others": "drop", "default": "open"}, "Paused") == "open"
    with pytest.raises(Unusable, match="'Paused' is not in the mapping's table"):
        made(stage, "Paused")


def test_booleans_are_words_of_the_mapping_or_the_usual_ones():
    assert made({"from": "x", "as": "boolean"}, "Yes") is True
    assert made({"from": "x", "as": "boolean"}, {"x": False}) is False
    assert made({"from": "x", "as": "boolean", "true": ["ja"], "false": ["nei"]}, "nei") is False
    with pytest.raises(Unusable, match="neither true, yes, y, 1 nor"):
        made({"from": "x", "as": "boolean"}, "maybe")


def test_the_first_that_is_not_blank_counts_then_the_default_then_nothing():
    recipe = {"from": ["a", "b"], "blank": ["n/a"]}
    assert made(recipe, {"a": "N/A", "b": " here "}) == "here"
    assert made(recipe, {"a": "", "b": None}) is UNSET
    assert made(recipe | {"default": None}, {"a": ""}) is None
    with pytest.raises(Unusable, match=r"^nobody is named$"):
        made(recipe | {"required": "nobody is named"}, {"a": " "})


def test_a_text_is_cut_between_words():
    recipe = {"from": "x", "one_line": True, "remove_start": ["i want "], "remove_end": ["."], "case": "first"}
    assert made(recipe, " I want  lights\nthat turn off. ") == "Lights that turn off"
    assert made(recipe | {"cut": 12}, "I want lights that turn off") == "Lights that…"
    assert made(recipe | {"cut": 11}, "I want lights, that turn off") == "Lights…"
    assert made({"from": "x", "cut": 5}, "supercalifragilistic") == "supe…"
    assert made({"from": "x", "cut": 5}, "fives") == "fives"


def test_a_template_without_any_value_makes_none_and_braces_are_doubled():
    assert made("{a} and {b}", {"a": "", "b": "tea"}) == "and tea"
    assert made("{a} and {b}", {"a": " ", "b": None}) is UNSET
    assert made("{{{a}}}", {"a": "x"}) == "{x}"
    assert made("constant", {}) == "constant"


def test_an_object_leaves_out_what_the_row_does_not_say():
    by = {"as": "object", "of": {"role": "{role}", "team": "sales"}, "needs": ["role"]}
    assert made({"a": "{x}", "b": "{y}", "by": by}, {"x": "1", "y": ""}) == {"a": "1"}
    assert made({"by": by}, {"role": "rep"}) == {"by": {"role": "rep", "team": "sales"}}
    assert made([{"system": "jira", "id": "{key}"}], {"key": "A-1"}) == [{"system": "jira", "id": "A-1"}]


def test_a_path_leads_into_objects_and_lists():
    row = {"issue": {"user": {"login": "x"}, "labels": [{"name": "a"}, {"name": "b"}, {}]}, "Account.Name": "dotted"}
    assert look_up(row, "issue.user.login") == "x"
    assert look_up(row, "issue.labels.1.name") == "b"
    assert look_up(row, "issue.labels.*.name") == ["a", "b"]
    assert look_up(row, "Account.Name") == "dotted"
    assert look_up(row, "issue.nobody.login") is None
    with pytest.raises(Unusable, match="an object, not a text"):
        made({"from": "issue.user"}, row)


def test_a_fingerprint_differs_with_each_of_its_values():
    recipe = {"as": "fingerprint", "of": ["a", "b"]}
    assert made(recipe, {"a": "1", "b": "2", "c": "3"}) == made(recipe, {"a": "1", "b": "2"})
    assert len({made(recipe, row) for row in ({"a": "12", "b": ""}, {"a": "1", "b": "2"}, {"a": "", "b": "12"})}) == 3


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("Acme Corporation", "acme-corporation"),
        ("  ACME   corporation ", "acme-corporation"),
        ("Xx-holding", "xx_holding"),
    ],
)
def test_a_slug_of_plain_text_can_be_read(text: str, id: str):
    assert slug(text) == id


def test_slugs_stay_apart_where_something_is_lost():
    texts = [
        "Gekko & Co",
        "Gekko Co",
        "Gekko-Co",
        "Gekko + Co",
        "Ärzte",
        "Arzte",
        "株式会社",
        "株式",
        "a" * 200,
        "a" * 201,
        "_",
    ]
    ids = [slug(text) for text in texts]
    assert len(set(ids)) == len(texts)
    assert all(len(each) <= 100 and each[0].isalnum() and each.isascii() for each in ids)


@given(st.tuples(st.text(min_size=1), st.text(min_size=1)), st.tuples(st.text(min_size=1), st.text(min_size=1)))
def test_different_values_make_different_ids(one: tuple[str, str], other: tuple[str, str]):
    def id_of(values: tuple[str, str]) -> str | None:
        try:
            return make_id(template("ask-{a}-{b}"), {"a": values[0], "b": values[1]})
        except Unusable:
            return None

    there, here = id_of(one), id_of(other)
    if there is not None and [value.strip() for value in one] != [value.strip() for value in other]:
        assert there != here


def test_an_id_is_escaped_where_it_must_be_and_cut_with_a_digest():
    assert make_id(template("ask-{a}"), {"a": "SSO-42"}) == "ask-SSO-42"
    assert make_id(template("ask-{a}-{b}"), {"a": "SSO-42", "b": 7}) == "ask-SSO~2D42-7"
    assert make_id(template("ask-{a}"), {"a": "é/~"}) == "ask-~C3~A9~2F~7E"
    long = [make_id(template("ask-{a}"), {"a": "x" * 120 + end}) for end in "yz"]
    assert [len(each) for each in long] == [100, 100]
    assert long[0] != long[1]
    with pytest.raises(Unusable, match="a is blank"):
        make_id(template("ask-{a}"), {"a": " "})
