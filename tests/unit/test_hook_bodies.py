"""From a body to events: what has to be there, and what is said when it is not."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from services.receiver.bodies import ITEMS_MAX, NAMES_COMPARED_MAX, Misfit, make_events
from services.receiver.hooks import HookUnusable, load

NOW = datetime(2026, 11, 22, tzinfo=UTC)

HOOK = """\
signature: {scheme: github, secret_file: desk.secret}
source: /hooks/desk
OPTIONS
let:
  customer: {from: "labels.*.name", as: pick, start: "customer:"}
  words: "{subject}: {description}"
events:
  - type: ledger.feedback.received.v1
    id: ticket-{id}
    when:
      - {from: kind, in: [created]}
      - {from: spam, blank: true}
    data:
      feedback: "desk-{id}"
      text: {from: words}
      account: "{customer}"
      channel: {from: [via, source]}
"""
BODY = {
    "kind": "created",
    "id": 7,
    "subject": "Export",
    "description": "as CSV",
    "labels": [{"name": "new"}, {"name": "Customer: acme"}],
    "via": "mail",
}


def made(tmp_path: Path, body: Any, options: str = "", headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
    path = tmp_path / "desk.yaml"
    path.write_text(HOOK.replace("OPTIONS\n", options and f"{options}\n"))
    return make_events(load(path, needs_secret=False).usable.recipes, body, headers or {}, NOW)


def test_a_body_becomes_an_event(tmp_path: Path) -> None:
    [event] = made(tmp_path, BODY)
    assert event["data"] == {
        "feedback": "desk-7",
        "text": "Export: as CSV",
        "account": "acme",
        "channel": "mail",
    }


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in BODY.items() if name not in names}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (without("kind") | {"kinds": "created"}, "the body has no 'kind'; did you mean 'kinds'"),
        (without("description"), "the body has no 'description'; it has kind, id"),
        (without("labels"), "the body has no 'labels.*.name'"),
        (BODY | {"labels": [{"nam": "x"}]}, "no item of `labels` has 'name'"),
        (BODY | {"labels": {"name": "x"}}, "the body has no 'labels.*.name'; `labels` has name"),
        (without("via"), "the body has no 'via'"),
        (without("id"), "the body has no 'id'"),
    ],
)
def test_a_path_that_is_not_there_is_named_with_what_is_near(tmp_path: Path, body: Any, message: str) -> None:
    with pytest.raises(Misfit) as raised:
        made(tmp_path, body)
    assert message in str(raised.value)


def test_null_is_there_and_says_nothing(tmp_path: Path) -> None:
    [event] = made(tmp_path, BODY | {"labels": None, "via": None, "description": None})
    assert event["data"] == {"feedback": "desk-7", "text": "Export:"}


def test_one_of_several_paths_will_do(tmp_path: Path) -> None:
    [event] = made(tmp_path, without("via") | {"source": "web"})
    assert event["data"]["channel"] == "web"


def test_what_is_optional_may_be_missing_and_all_below_it(tmp_path: Path) -> None:
    [event] = made(tmp_path, without("labels", "via"), "optional: [labels, via]")
    assert event["data"] == {"feedback": "desk-7", "text": "Export: as CSV"}


def test_a_condition_guards_what_comes_after_it(tmp_path: Path) -> None:
    assert made(tmp_path, {"kind": "ping"}) == []


def test_each_item_of_a_list_is_a_body_of_its_own(tmp_path: Path) -> None:
    both = made(tmp_path, {"tickets": [BODY, BODY | {"id": 8}]}, "each: tickets")
    assert [event["id"] for event in both] == ["ticket-7", "ticket-8"]
    assert len(made(tmp_path, [BODY, BODY | {"id": 8}], 'each: "."')) == 2
    assert len(made(tmp_path, BODY, 'each: "."')) == 1
    assert made(tmp_path, {"tickets": None}, "each: tickets") == []
    assert made(tmp_path, {"tickets": []}, "each: tickets") == []
    with pytest.raises(Misfit, match="the body has no 'tickets'; did you mean 'tikets'"):
        made(tmp_path, {"tikets": []}, "each: tickets")
    with pytest.raises(Misfit) as raised:
        made(tmp_path, [BODY, without("id"), 7], 'each: "."')
    assert [each.item for each in raised.value.objections] == [1, 2]  # All of them are told, not the first.


def test_more_events_than_one_request_holds(tmp_path: Path) -> None:
    body = [BODY | {"id": number} for number in range(ITEMS_MAX)]
    second = HOOK[HOOK.index("  - type") :].replace("id: ticket-", "id: again-")
    two = HOOK.replace("OPTIONS", 'each: "."') + second
    path = tmp_path / "desk.yaml"
    path.write_text(two)
    with pytest.raises(Misfit, match="it makes more than 1000 events, and no more go into one request"):
        make_events(load(path, needs_secret=False).usable.recipes, body, {}, NOW)
    assert len(made(tmp_path, body, 'each: "."')) == ITEMS_MAX
    with pytest.raises(Misfit, match="the body has 1001 items, and at most 1000 are taken from one body"):
        made(tmp_path, [*body, BODY], 'each: "."')


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('as: pick, start: "customer:"', "as: pick", "`pick` has either `start` or `among`"),
        ("customer: {", "header: {", "a name of one's own has no dot, and is not that of a part of the request"),
        ("OPTIONS", "each: header.x", "a path into the body"),
        ("      text: {from: words}", "      text: {form: words}", "has no field|unknown field|missing required"),
    ],
)
def test_a_hook_that_says_what_cannot_be_meant(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "desk.yaml"
    path.write_text(HOOK.replace(old, new).replace("OPTIONS\n", ""))
    hook = load(path, needs_secret=False)
    with pytest.raises(HookUnusable, match=message):
        _ = hook.usable


def test_few_of_very_many_names_are_compared(tmp_path: Path) -> None:
    body = {f"subjekt{number}": number for number in range(NAMES_COMPARED_MAX)} | {"subjct": 1}
    with pytest.raises(Misfit) as first:
        made(tmp_path, without("subject") | body)
    assert "did you mean 'subjekt" in str(first.value)
    with pytest.raises(Misfit) as last:
        made(
            tmp_path, {f"{number}": number for number in range(NAMES_COMPARED_MAX)} | without("subject") | {"subjct": 1}
        )
    assert "did you mean" not in str(last.value)
