"""Two briefs of one decision: they say the same, and no text of an event becomes more than text in a document."""

import logging
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mkdocs_macros_adr_summary.factory import get_parser

from schemas.events import Available, Dissent, Option
from schemas.values import By
from services.projector.briefs.documents import file_name, madr, page
from services.projector.briefs.engineering import engineering_brief
from services.projector.briefs.markdown import inline
from services.projector.briefs.record import Assessed, OnRecord, OpenPromise, Stated
from services.projector.briefs.sales import DECIDED, NOT_DECIDED, requirement_brief, sales_brief
from services.projector.briefs.told import AssessmentTold, EngineeringBrief, Pending, PerspectiveTold, RequirementTold
from services.projector.judgement.fit import CLASSES
from services.projector.shapes.decision import OneDecision, Proposed, Superseded
from services.projector.shapes.shown import AsOf, Role
from tests.madr import facts, read_document, read_record

TIME = "2026-03-17T14:00:00.000000Z"
AS_OF = AsOf(40, "2026-11-21T10:00:00.000000Z")
BY = By(role="VP product", team="product", person="p-1")

pieces = [
    *("# ", "## Decision Outcome", "---", "---\n", "\n", "\n\n", "\r\n\r\n", "* ", "- ", "+ ", "1. ", "2) ", "> "),
    *("    code", "```", "~~~", "`x`", "**b**", "_e_", "~~s~~", "[x](y)", "![x](y)", "[x]: y", "<b>", "</div>"),
    *("<!--", "-->", "<https://a.example>", "&amp;", "&#35;", "&", "| a | b |\n|---|---|", "===", "\\", "\\\n", "  \n"),
    *("\u2028", "\u2029", "\x85", "\x07", "\x0b", "\x0c", "\x1b", "\x7f", "\ufeff", "\u00a0", "\t", "\ufffe", ": "),
    *("$x$", "{{ x }}", '"', "'", "a", "word", "Zürich", "日本", "😀", " ", "!", "#1", "@x", "status: x", "{%", "^1"),
    *("[ ] ", "1.", "%"),
]  # fmt: skip
texts = (
    st.lists(st.sampled_from(pieces) | st.text(max_size=4), min_size=1, max_size=8)
    .map("".join)
    .filter(lambda text: bool(text.strip()) and not any("\ud800" <= each <= "\udfff" for each in text))
)
teams = st.sampled_from(["sales", "engineering", "a: b", "#x", "- y", '"q"', "x\n---\ny"])
people = st.builds(By, role=texts, team=teams, person=st.just("somebody-in-particular"))
ids = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._~:@-]{0,12}", fullmatch=True)
days = st.none() | st.dates(date(2026, 1, 1), date(2027, 12, 31))
arguments = st.fixed_dictionaries(
    {"verdict": st.sampled_from(["good", "neutral", "bad"]), "text": texts}, optional={"team": teams}
)
options = st.lists(
    st.fixed_dictionaries({"option": ids, "summary": texts, "arguments": st.lists(arguments, max_size=3)}),
    max_size=3,
    unique_by=lambda option: option["option"],
)
requirements = st.lists(
    st.builds(RequirementTold, requirement=ids, title=st.none() | texts, into=st.none(), delivery=st.none()),
    min_size=1,
    max_size=4,
)


@st.composite
def proposals(draw: st.DrawFn) -> Proposed:
    return Proposed(
        position=7,
        time=TIME,
        recordedtime=TIME,
        question=draw(texts),
        drivers=draw(st.lists(texts, max_size=3)),
        options=msgspec.convert(draw(options), list[Option]),
        decide_by=draw(days),
        by=draw(people),
    )


@st.composite
def records(draw: st.DrawFn) -> OnRecord:
    """What may be on record of a decision: proposed, made, or given way to another."""
    state = draw(st.sampled_from(["proposed", "made", "superseded"]))
    proposed = draw(proposals() if state == "proposed" else st.none() | proposals())
    named = draw(requirements)
    made: dict[str, Any] = {}
    if state != "proposed":
        known = [] if proposed is None else [each.option for each in proposed.options]
        made = {
            "position": 9,
            "time": TIME,
            "recordedtime": TIME,
            "outcome": draw(st.sampled_from(["commit", "decline", "defer", "explore"])),
            "grounds": draw(st.sampled_from(["target", "exception", "obligation"])),
            "deciders": draw(st.lists(people, min_size=1, max_size=3)),
            "instruction": draw(texts),
            "rationale": draw(texts),
            "option": draw(st.none() | st.sampled_from(known)) if known else draw(st.none() | ids),
            "tell_customer": draw(st.none() | texts),
            "available": draw(st.none() | st.just(Available(from_="2026-08-31", confidence="high"))),
            "consulted": draw(st.lists(people, max_size=2)),
            "informed": draw(st.lists(teams, max_size=2)),
            "dissent": draw(st.lists(st.builds(Dissent, team=teams, statement=texts), max_size=2)),
            "revisit": draw(days),
            "cut": 8,
        }
    if state == "superseded":
        made["superseded_by"] = Superseded(
            decision=draw(ids), position=11, time=TIME, recordedtime=TIME, reason=draw(texts)
        )
    said: dict[str, Any] = {"requirement": named[0].requirement, "position": 5, "time": TIME, "recordedtime": TIME}
    return OnRecord(
        as_of=AS_OF,
        one=OneDecision(
            decision=draw(ids),
            state=state,
            requirements=[each.requirement for each in named],
            as_of=AS_OF,
            proposed=proposed,
            overdue=draw(st.booleans()),
            accounts=dict.fromkeys(CLASSES, 0),
            fits=[],
            revisions={},
            **made,
        ),
        requirements=named,
        assessments=[
            Assessed(
                root=named[0].requirement,
                told=AssessmentTold(
                    **said, by=Role(role=text, team="engineering"), feasibility="infeasible", effort=None, risks=[text],
                    plain=text, known=None,
                ),
            )
            for text in draw(st.lists(texts, max_size=2))
        ],
        perspectives=[
            Stated(
                root=named[0].requirement,
                told=PerspectiveTold(
                    **said, decision=None, team=text, by=Role(role=text, team=text), statement=text, known=True,
                ),
            )
            for text in draw(st.lists(texts, max_size=2))
        ],
        promises=draw(st.lists(st.builds(
            OpenPromise, promise=ids, account=ids, name=st.none() | texts, due=days, position=st.just(20),
        ), max_size=7)),
    )  # fmt: skip


def plain(text: str) -> str:
    """A text as it reads in one line."""
    return " ".join("".join("\ufffd" if _unprintable(each) else each for each in text).split())


def _unprintable(character: str) -> bool:
    code = ord(character)
    return (code < 32 or 127 <= code < 160 or code in (0xFFFE, 0xFFFF)) and not character.isspace()


@settings(max_examples=300)
@given(records())
def test_texts_stay_texts_in_a_decision_record(on_record: OnRecord) -> None:
    brief = engineering_brief(on_record)
    record = read_record(madr(brief))
    made = brief.outcome is not None
    if brief.question is not None:
        assert " ".join(record.section("Context and Problem Statement").paragraphs[:-1]) == plain(brief.question)
    if brief.drivers:
        assert record.section("Decision Drivers").items == [plain(each) for each in brief.drivers]
    considered = record.section("Considered Options").items
    for option, told in zip(brief.options, considered, strict=False):
        assert told.startswith(plain(option.summary))
    if any(option.arguments for option in brief.options):
        pros_and_cons = record.under("Pros and Cons of the Options")
        assert [each.title for each in pros_and_cons] == considered[: len(brief.options)]
        for option, section in zip(brief.options, pros_and_cons, strict=True):
            verdicts = [item.split(", because ")[0].lower() for item in section.items]
            assert sorted(verdicts) == sorted(each.verdict for each in option.arguments)
            assert {f"“{plain(each.text)}”" for each in option.arguments if each.team is None} <= {
                item.split(", because ", 1)[1] for item in section.items
            }
    if made:
        assert brief.rationale is not None
        outcome = record.section("Decision Outcome").paragraphs
        chosen = next(each for each in considered if outcome[0].startswith(f'Chosen option: "{each}", because '))
        assert " ".join(outcome) == f'Chosen option: "{chosen}", because “{plain(brief.rationale)}”'
        consequences = record.under("Decision Outcome")[0].items
        if brief.state == "made":
            assert f"What everyone does now: {plain(brief.instruction or '')}" in consequences
        else:
            assert f"What everyone was to do: {plain(brief.instruction_then or '')}" in consequences
            assert not any("does now" in each.split(": ")[0] for each in consequences)
        for dissent in brief.dissent:
            assert f"Dissent of {plain(dissent.team)}: {plain(dissent.statement)}" in consequences
    assert len([each for each in record.sections if each.title == "Perspectives"]) == bool(brief.perspectives)


@settings(max_examples=200)
@given(records())
def test_texts_stay_texts_on_a_page_for_sales(on_record: OnRecord) -> None:
    brief = sales_brief(on_record)
    _, sections = read_document(page(brief))
    assert sections[0].items == [plain(each.text) for each in brief.statements]


@settings(max_examples=300)
@given(records())
def test_both_voices_and_both_documents_say_the_same(on_record: OnRecord) -> None:
    engineering, sales = engineering_brief(on_record), sales_brief(on_record)
    shared = set(engineering.__struct_fields__) & set(sales.__struct_fields__)
    assert {"instruction", "tell_customer", "holds_on", "holds", "undecided_on"} <= shared
    for name in shared:
        assert getattr(engineering, name) == getattr(sales, name), name
    if sales.state != "made":
        assert (sales.instruction, sales.tell_customer) == (None, None)
    told = read_record(madr(engineering)).facts()
    _, sections = read_document(page(sales))
    assert facts(next(each for each in sections if each.title == "Facts")) == told
    assert told["State"] == sales.state
    assert told.get("Outcome") == sales.outcome
    assert told["Requirements"] == ", ".join(each.requirement for each in sales.requirements)
    assert told.get("Look at again on") == (str(sales.revisit) if sales.revisit else None)
    assert told.get("Superseded by") == (sales.superseded_by.decision if sales.superseded_by else None)


@settings(max_examples=100)
@given(records())
def test_each_sentence_rests_on_events_that_the_brief_names(on_record: OnRecord) -> None:
    brief = sales_brief(on_record)
    named = {each.position for each in brief.events}
    assert all(set(each.events) <= named for each in brief.statements)
    assert [each.position for each in brief.events] == sorted(named)


@settings(max_examples=100)
@given(records())
def test_no_person_is_named(on_record: OnRecord) -> None:
    for brief, document in (
        (engineering_brief(on_record), madr(engineering_brief(on_record))),
        (sales_brief(on_record), page(sales_brief(on_record))),
    ):
        assert b"somebody-in-particular" not in msgspec.json.encode(brief)
        assert "somebody-in-particular" not in document


@settings(max_examples=100)
@given(records())
def test_sales_hear_no_debate(on_record: OnRecord) -> None:
    brief = sales_brief(on_record)
    members = msgspec.to_builtins(brief)
    assert not members.keys() & {"options", "drivers", "question", "dissent", "rationale", "perspectives", "marks"}
    first = brief.statements[0].text
    match brief.state:
        case "proposed":
            assert first == NOT_DECIDED
        case "made":
            assert brief.outcome is not None
            assert first == f"Decided on 2026-03-17: {DECIDED[brief.outcome]}."


@pytest.fixture(scope="module")
def reader() -> Any:
    """The reader of MADR 4.0 that a plugin of MkDocs has."""
    return get_parser("MADR4")


@settings(max_examples=100)
@given(on_record=records())
def test_a_reader_of_others_accepts_the_record(
    reader: Any, tmp_path_factory: pytest.TempPathFactory, on_record: OnRecord
) -> None:
    brief = engineering_brief(on_record)
    kept = tmp_path_factory.getbasetemp() / file_name(brief)
    kept.write_text(madr(brief), encoding="utf-8")
    found = reader.parse(kept, kept.parent)
    kept.unlink()
    assert found.title is not None
    assert found.document_id == int(kept.name[:4])
    assert found.date == date(2026, 3, 17)
    assert (
        found.status
        == {
            "proposed": "Proposed",
            "made": "Accepted",
            "superseded": f"Superseded by {brief.superseded_by.decision if brief.superseded_by else ''}",
        }[brief.state]
    )
    assert found.deciders == (", ".join(f"{plain(each.role)} ({plain(each.team)})" for each in brief.deciders) or None)


def told(**more: Any) -> EngineeringBrief:
    one = OneDecision(
        decision=more.pop("decision", "D-7"), state="proposed", requirements=["R"], as_of=AS_OF, overdue=False,
        proposed=Proposed(
            position=7, time=TIME, recordedtime=TIME, question="Do we?", drivers=[], decide_by=None, by=BY,
            options=msgspec.convert(more.pop("options", []), list[Option]),
        ),
        accounts=dict.fromkeys(CLASSES, 0), fits=[], revisions={},
    )  # fmt: skip
    return engineering_brief(
        OnRecord(
            as_of=AS_OF,
            one=one,
            requirements=[RequirementTold(requirement="R", title=None, into=None, delivery=None)],
        )
    )


@pytest.mark.parametrize(
    ("decision", "name"),
    [
        ("D-7", "0007-d-7.md"),
        ("2026-Q3:12", "0012-2026-q3-12.md"),
        ("sso", "0007-sso.md"),
        ("X.~@1", "0001-x-1.md"),
        ("D-123456", "123456-d-123456.md"),
    ],
)
def test_a_record_is_kept_under_a_number_and_its_id(decision: str, name: str) -> None:
    assert file_name(told(decision=decision)) == name  # Without a number in the id it is the first position.


def test_options_of_one_name_are_told_apart() -> None:
    brief = told(options=[{"option": "a", "summary": "Build"}, {"option": "b", "summary": "Build "}])
    assert read_record(madr(brief)).section("Considered Options").items == ["Build (a)", "Build (b)"]


def test_before_anything_is_proposed_nothing_may_be_promised() -> None:
    on_record = OnRecord(
        as_of=AS_OF, one=None, requirements=[RequirementTold(requirement="R", title=None, into=None, delivery=None)]
    )
    pending = [Pending(decision="D-1", decide_by=None, position=3)]
    brief = requirement_brief(on_record, requirement="Q", into="R", status="open", pending=pending)
    assert [each.text for each in brief.statements] == ["Q counts as R; what follows is about R.", NOT_DECIDED]
    assert (brief.state, brief.decision, brief.pending, brief.events) == ("open", None, pending, [])
    assert file_name(brief) == "q-sales.md"
    read_document(page(brief))


@pytest.mark.parametrize(
    "text",
    [
        "# x",
        "1. x",
        "1) x",
        "- x",
        "+ x",
        "= x",
        "> x",
        "x_y_z",
        "5 < 6 & 7",
        "a&amp;b",
        "AT&T",
        "[x]",
        "10.5 x",
        "\u2028x",
    ],
)
def test_a_text_reads_as_it_was_written(text: str) -> None:
    title, _ = read_document(f"# {inline(text)}\n")
    assert title == plain(text)
    _, [section] = read_document(f"# t\n\n{inline(text)}\n")
    assert section.paragraphs == [plain(text)]


@pytest.fixture(autouse=True)
def _readers_warn_of_titles_that_they_miss(caplog: pytest.LogCaptureFixture) -> Any:
    yield
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []
