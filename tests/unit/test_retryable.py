"""`retryable`: every reason to refuse an act, and the later events after which the same act passes, if any can."""

import ast
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.events import EVENT_TYPES, Act, Event
from schemas.examples import EXAMPLES
from schemas.values import same_team
from services.ledger import rules
from services.ledger.rules.objection import Objection
from services.ledger.rules.retraction import Named
from services.migrate import TEAMS
from tests.named import named_in, spoken_of_in

HEAD = 90
NEVER: None = None


def said(type: str, /, **data: Any) -> Event:
    name = f"ledger.{type}.v1"
    kept = {field: value for field, value in (EXAMPLES[name] | data).items() if value is not None}
    return msgspec.convert(kept, EVENT_TYPES[name])


def merged(kind: str, name: str, into: str) -> Event:
    return said(f"{kind}.merged", **{kind: name, "into": into})


def unmerged(kind: str, name: str) -> Event:
    return said(f"{kind}.unmerged", **{kind: name})


def raised(*names: str) -> list[Event]:
    return [said("requirement.raised", requirement=name) for name in names]


def moved(requirement: str, to: str) -> Event:
    return said("ask.moved", requirement=requirement, to=to)


def retracted(position: int, subject: str) -> Event:
    return said("event.retracted", position=position, subject=subject)


def redacted(position: int, subject: str) -> Event:
    return said("text.redacted", position=position, subject=subject)


def endorsed(*teams: str, meaning: str = "agree", revision: str = "2026-h2") -> list[Event]:
    return [said("agreement.endorsed", team=team, meaning=meaning, revision=revision) for team in teams]


revised, adopted = said("agreement.revised"), said("agreement.adopted")
next_revised = said("agreement.revised", revision="next", signatories=[])
another_adopted = [next_revised, said("agreement.adopted", revision="next")]
signed = endorsed("sales", "marketing", "engineering")
asked, proposed, decided = said("ask.recorded"), said("decision.proposed"), said("decision.made")
decided_anew = said("decision.made", decision="D-9")
R = "requirement"

# The words of a refusal, what was recorded, the act, and the later events that make it possible.
Row = tuple[str, Sequence[Event], Event, Sequence[Event] | None]
TABLE: list[Row] = [
    ("is not a team", [], said("agreement.revised", signatories=["nobody"]), NEVER),
    ("has a revision", [revised], revised, NEVER),
    ("needs at least one bullet", [], said("agreement.revised", bullets=[]), NEVER),
    ("has no revision", [], endorsed("sales")[0], [revised]),
    ("has no revision", [], adopted, [revised, *signed]),
    ("not yet endorsed", [revised, *signed[:2]], adopted, signed[2:]),
    ("object to it", [revised, *signed, *endorsed("sales", meaning="object")], adopted, endorsed("sales")),
    ("was adopted last", [revised, *signed, adopted], adopted, another_adopted),
    *[
        row
        for kind, known in (("account", []), (R, raised("a", "b", "c")))
        for row in (
            ("is not merged into itself", known, merged(kind, "a", "a"), NEVER),
            ("unmerge it first", [*known, merged(kind, "a", "c")], merged(kind, "a", "b"), [unmerged(kind, "a")]),
            ("would be a circle", [*known, merged(kind, "b", "a")], merged(kind, "a", "b"), [unmerged(kind, "b")]),
            ("merge into the one", [*known, merged(kind, "b", "c")], merged(kind, "a", "b"), [unmerged(kind, "b")]),
            ("is not merged into another", known, unmerged(kind, "a"), [merged(kind, "a", "b")]),
        )
    ],
    ("is an id of acme elsewhere", [said("account.identified")], merged("account", "acme", "zendesk:4711"),
     [retracted(1, "account/acme")]),
    ("neither been raised", [], said("requirement.reworded"), raised("SSO-42")),
    ("neither been raised", raised("a"), merged(R, "a", "b"), [said("ask.recorded", requirement="b")]),
    ("neither been raised", [], proposed, raised("SSO-42")),
    ("neither been raised", [], decided, raised("SSO-42")),
    ("neither been raised", [asked], moved("SSO-42", "SCIM-3"), raised("SCIM-3")),
    ("no ask", raised("SCIM-3"), moved("SSO-42", "SCIM-3"), [asked]),
    ("is for SSO-42 already", [asked, *raised("b")], moved("SSO-42", "SSO-42"), [moved("SSO-42", "b")]),
    ("is for b already", [asked, *raised("b", "c"), moved("SSO-42", "b")], moved("SSO-42", "b"),
     [moved("SSO-42", "c")]),
    ("propose another", [*raised("SSO-42"), decided], proposed, NEVER),
    ("a later decision can supersede", [*raised("SSO-42"), proposed, decided], decided, NEVER),
    (
        "not among the options",
        [*raised("SSO-42"), said("decision.proposed", options=[])],
        decided,
        [proposed],
    ),
    ("what was seen", raised("SSO-42"), said("decision.made", seen=HEAD + 1), NEVER),
    ("what was seen", raised("SSO-42"), said("decision.made", seen=2**63), NEVER),
    ("has not been made", raised("SSO-42"), said("decision.acknowledged"), [decided]),
    ("was superseded by D-9", [*raised("SSO-42"), decided, decided_anew, said("decision.superseded")],
     said("decision.reaffirmed"), NEVER),
    ("has seen it", [*raised("SSO-42"), decided], said("decision.reaffirmed", seen=1), NEVER),
    ("is not superseded by itself", [*raised("SSO-42"), decided], said("decision.superseded", superseded_by="D-7"),
     NEVER),
    ("there is no event", [], retracted(9, "requirement/SSO-42"), NEVER),
    ("is about", [asked], retracted(1, "requirement/b"), NEVER),
    ("are undone by acts", [*raised("SSO-42"), proposed], retracted(2, "decision/D-7"), NEVER),
    ("has been retracted already", [asked, retracted(1, "requirement/SSO-42")], retracted(1, "requirement/SSO-42"),
     NEVER),
    ("nothing to redact is at", [], redacted(9, "requirement/SSO-42"), NEVER),
    ("belongs to", [asked], redacted(1, "requirement/b"), NEVER),
    ("has no sealed text", [said("delivery.updated")], redacted(1, "requirement/SSO-42"), NEVER),
    ("has been redacted already", [asked, redacted(1, "requirement/SSO-42")], redacted(1, "requirement/SSO-42"), NEVER),
    ("nothing sealed about", [], said("person.erased"), [said("person.introduced")]),
]  # fmt: skip


def against(act: Event, recorded: Sequence[Event], later: int = 0) -> list[Objection]:
    assert isinstance(act, Act)

    def stream(subject: str) -> Any:
        return rules.replay(subject, [(at, event) for at, event in enumerate(recorded, 1) if event.subject == subject])

    def named(position: int) -> Named | None:
        return named_in(recorded).get(position)

    teams = frozenset(same_team(team) for team in TEAMS)
    return [
        *rules.objections(act, stream, named, partial(spoken_of_in, recorded), position=HEAD + 1 + later, teams=teams)
    ]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]}: {type(row[2]).__name__}")
def test_what_can_become_possible_says_so_and_what_cannot_does_not(row: Row):
    words, recorded, act, later = row
    refused = against(act, recorded)
    assert any(words in each.message for each in refused), refused
    assert all(each.retryable for each in refused) is (later is not None)
    if later is not None:
        # What comes later is possible itself, and after it the act is.
        now = [*recorded]
        for number, event in enumerate(later):
            if isinstance(event, Act):
                assert against(event, now, number) == [], event
            now.append(event)
        assert against(act, now, len(later)) == []


def test_every_reason_is_in_the_table():
    reasons = 0
    for path in Path(rules.__file__).parent.glob("*.py"):
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        reasons += sum(isinstance(call.func, ast.Name) and call.func.id == "Objection" for call in calls)
    # `is for … already` and `neither been raised` have several rows, of one reason each.
    told = {words.replace("SSO-42", "…").replace("is for b", "is for …") for words, *_ in TABLE}
    # What a newer version has recorded has no row: no example of this one is of such a type (see test_rules.py).
    assert len(told | {"this version does not know"}) == reasons
