"""The mapping language: what a mapping may say, and what it is told when it says something else."""

from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from schemas.codec import read_event
from schemas.envelope import Sent
from services.importer.document import DocumentError, parse
from services.importer.mapping import MappingError, load, missing_column, read
from services.importer.recipes import Unusable
from services.importer.translate import events_of, with_names

EXAMPLES = Path(__file__).parents[2] / "examples"

ASKS = """\
source: /imports/desk
files:
  - file: tickets.ndjson
    events:
      - type: ledger.ask.recorded.v1
        id: ask-{issue.number}
        when:
          - {from: action, in: [opened, reopened]}
          - {from: issue.draft, blank: true}
        time: {from: issue.created_at, as: time, formats: [iso]}
        data:
          requirement: "{issue.key}"
          account: {from: issue.user.login, required: no customer is named}
          labels: {first: "{issue.labels.0}"}
"""


def mapping_of(text: str) -> Any:
    return read(parse(dedent(text), Path("m.yaml")))


def events(text: str, row: dict[str, Any]) -> list[dict[str, Any]]:
    mapping = mapping_of(text)
    file = mapping.files[0]
    zone = mapping.time_zone.zone
    return events_of(file.events, with_names(row, file.let, zone), source=mapping.source, zone=zone)


def test_a_json_body_becomes_an_event_by_its_paths():
    issue = {
        "number": 7,
        "key": "SSO-42",
        "user": {"login": "acme"},
        "labels": ["sso"],
        "created_at": "2026-01-02T03:04Z",
    }
    [event] = events(ASKS, {"action": "opened", "issue": issue})
    assert event == {
        "specversion": "1.0",
        "id": "ask-7",
        "source": "/imports/desk",
        "type": "ledger.ask.recorded.v1",
        "time": "2026-01-02T03:04:00Z",
        "data": {"requirement": "SSO-42", "account": "acme", "labels": {"first": "sso"}},
    }
    assert isinstance(read_event(event, now=datetime(2026, 11, 21, tzinfo=UTC)), Sent)


def test_conditions_decide_whether_there_is_an_event():
    assert events(ASKS, {"action": "closed", "issue": {}}) == []
    assert events(ASKS, {"action": "opened", "issue": {"draft": True}}) == []


def test_what_is_required_is_told_with_the_mapping_s_reason():
    with pytest.raises(Unusable, match=r"^no customer is named$"):
        events(ASKS, {"action": "opened", "issue": {"number": 7, "user": {"login": " "}}})


def test_names_are_made_in_order_and_used_like_columns():
    text = (
        ASKS.replace(
            "    events:", '    let: {who: {from: issue.user.login, as: slug}, greeting: "{who}!"}\n    events:'
        )
        .replace("{from: issue.user.login, required: no customer is named}", '"{who}"')
        .replace("{issue.labels.0}", "{greeting}")
    )
    [event] = events(text, {"action": "opened", "issue": {"number": 7, "user": {"login": "Acme Bank"}}})
    assert event["data"]["account"] == "acme-bank"
    assert event["data"]["labels"] == {"first": "acme-bank!"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("source: /imports/desk", "sauce: /imports/desk", r"m.yaml:1: .*unknown field `sauce`"),
        ("source: /imports/desk", "source: has space", r"m.yaml:1: source: "),
        ("source: /imports/desk", "source: a\ntime_zone: Mars/X", r"m.yaml:2: time_zone: no such time zone: 'Mars/X'"),
        ("ask.recorded.v1", "ask.recorder.v1", r"m.yaml:5: .*type: .*did you mean 'ledger.ask.recorded.v1'"),
        ("id: ask-{issue.number}", "id: ask", r"m.yaml:6: files\[0\].events\[0\].id: 'ask' is the same for each row"),
        ("id: ask-{issue.number}", "id: ask-{a}{b}", r"m.yaml:6: .*put a sign between the paths"),
        ("id: ask-{issue.number}", "id: a/{b}", r"m.yaml:6: .*'a/': an id is made of"),
        ("id: ask-{issue.number}", "id: ask-{", r"m.yaml:6: .*a brace stands alone"),
        ("in: [opened, reopened]", "im: [opened]", r"m.yaml:8: .*events\[0\].when\[0\].im: .*`im`; .*from, in"),
        ("in: [opened, reopened]", "in: [a], blank: true", r"m.yaml:8: .*a condition has one of"),
        ("as: time, formats: [iso]", "as: tome, formats: [iso]", r"m.yaml:10: .*time.as: .*'tome'; .*mean 'time'\?"),
        ("as: time, formats: [iso]", "as: qqq", r"no such recipe: 'qqq'; there are amount, .*slug.*, object"),
        ("events:", "evnts:", r"m.yaml:4: files\[0\].evnts: unknown field `evnts`; did you mean `events`\?"),
        ("formats: [iso]", "formats: ['%d-%Q']", r"m.yaml:10: .*time.formats: '%d-%Q' is no format"),
        ("formats: [iso]", "formats: ['%H:%M']", r"m.yaml:10: .*'%H:%M' does not say day, month and year"),
        ("labels:", "label:", r"m.yaml:14: .*data.label: .* has no field 'label'; did you mean 'labels'"),
        (
            "labels: {",
            "by: {role: manager, taem: sales}\n          labels: {",
            r"m.yaml:14: .*data.by.taem: `by` of ledger.ask.recorded.v1 has no field 'taem'; did you mean 'team'",
        ),
        ("          requirement:", "          quote:", r"m.yaml:11: .*needs the field 'requirement'"),
        ("required: no customer", "require: no customer", r"m.yaml:13: .*account.require: .*did you mean `required`\?"),
        ("file: tickets.ndjson", "file: tickets.ndjson\n    join: {a: b}", r"m.yaml:4: .*no lookup 'a'"),
        ("file: tickets.ndjson", "file: tickets.ndjson\n    unused: why", r"m.yaml:3: .*`events`, or it is `unused`"),
        ("file: tickets.ndjson", "file: a.csv\n    csv: {encoding: klingon}", r"m.yaml:4: .*no such encoding: klingon"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_what_to_do(old: str, new: str, message: str):
    assert old in ASKS
    with pytest.raises(MappingError, match=message):
        mapping_of(ASKS.replace(old, new, 1))


def test_ids_of_two_events_cannot_be_the_same():
    event = ASKS[ASKS.index("      - type") :]
    with pytest.raises(
        MappingError, match="ids that begin with 'ask-a-' and ids that begin with 'ask-' can be the same"
    ):
        mapping_of(ASKS + event.replace("id: ask-", "id: ask-a-"))
    assert mapping_of(ASKS + event.replace("id: ask-", "id: vote-"))


def test_a_column_that_is_not_there_is_told_before_any_row_is_read():
    file = mapping_of(ASKS).files[0]
    columns = ["issue.number", "action", "issue.draft", "issue.created_at", "issue.key", "issue.user.logon"]
    assert "no column 'issue.user.login'; did you mean 'issue.user.logon'? There are: action, " in str(
        missing_column(file, columns, {})
    )
    assert str(missing_column(file, ["No"], {})).endswith("'. There are: No")


def test_yaml_words_are_texts_and_keys_are_not_repeated():
    found = parse("a: no\nb: 2026-11-21\nc: [1, 2.5, true, null, '1', 12:30]\n", Path("m.yaml"))
    assert found.value == {"a": "no", "b": "2026-11-21", "c": [1, 2.5, True, None, "1", "12:30"]}
    with pytest.raises(DocumentError, match=r"m.yaml:2: `a` is there twice"):
        parse("a: 1\na: 2\n", Path("m.yaml"))
    with pytest.raises(DocumentError, match=r"m.yaml:1: an alias that holds itself"):
        parse("&a [*a]", Path("m.yaml"))
    with pytest.raises(DocumentError, match=r"m.yaml:2: not YAML"):
        parse("a: [1,\nb: ]2", Path("m.yaml"))


# Hooks speak the language too, and are tried end to end in tests/integration/test_hooks.py.
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("[!h]*/*.yaml")), ids=lambda path: path.name)
def test_the_examples_are_mappings(path: Path):
    loaded = load(path)
    for number, event in enumerate(loaded.mapping.given):
        written = {"specversion": "1.0", "source": loaded.mapping.source, **event}
        assert isinstance(read_event(written, now=datetime(2026, 11, 21, tzinfo=UTC)), Sent), loaded.given_line(number)
    for retracted in loaded.mapping.retracted:
        written = retracted.written(loaded.mapping.source, 1, "requirement/SSO-42")
        assert isinstance(read_event(written, now=datetime(2026, 11, 21, tzinfo=UTC)), Sent), retracted.id


def test_aliases_repeat_so_much_and_no_more() -> None:
    once = "a: &a [1, 2]\nb: *a\nc: *a\n"
    assert parse(once, Path("m.yaml")).value == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
    with pytest.raises(DocumentError, match=r"m.yaml:\d+: aliases repeat more than 10000 values"):
        parse(bomb, Path("m.yaml"))


@pytest.mark.parametrize("number", ["9" * 5_000, "1." + "0" * 5_000])
def test_a_number_that_no_machine_holds_says_so(number: str) -> None:
    with pytest.raises(DocumentError, match=r"m.yaml:1: a number of 500[02] digits"):
        parse(f"a: {number}", Path("m.yaml"))
    assert parse(f"a: '{number}'", Path("m.yaml")).value == {"a": number}
