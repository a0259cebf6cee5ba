"""What each event type adds to the read models."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest

from schemas.envelope import Recorded
from schemas.events import EVENT_TYPES, Bullet
from services.projector.projections import ALL
from services.projector.projections.projection import Projection

ABOUT = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
RECORDED = datetime(2026, 11, 21, 10, tzinfo=UTC)
TIMES = (ABOUT, ABOUT, RECORDED)
BY = {"role": "account executive", "team": "sales", "person": "p-1"}
BEHALF = ("account executive", "sales", "p-1")
SEALED = {"sealed": "bm90IGNsZWFy"}
CHOOSY = tuple(projection for projection in ALL if projection.name not in ("emitters", "persons"))
"""Those that do not care about every event, or about whoever is named in any."""


def recorded(type: str, /, time: datetime = ABOUT, position: int = 7, **data: Any) -> Recorded:
    event = msgspec.convert(data, EVENT_TYPES[f"ledger.{type}.v1"])
    return Recorded(
        position=position,
        version=1,
        id="e-1",
        source="urn:test",
        type=f"ledger.{type}.v1",
        subject=event.subject,
        time=time,
        recordedtime=RECORDED,
        authid="k",
        authtype="service",
        event=event,
    )


def folded(event: Recorded) -> list[tuple[str, tuple[Any, ...]]]:
    """The rows that projections make of an event, `emitters` and `persons` left out."""
    return [row for projection in CHOOSY if event.type in projection.topics for row in projection.fold(event)]


def test_a_profile_adds_a_mention_a_name_and_a_fact_for_each_attribute() -> None:
    attributes = {"employees": 250, "industry": "bänking", "tags": ["a", "b"], "eu": True, "share": 0.5, "gone": None}
    assert folded(recorded("account.profiled", account="acme", name="Acme Bank", attributes=attributes)) == [
        ("account_mentions", (7, "acme")),
        ("account_names", (7, "acme", "Acme Bank", *TIMES)),
        ("account_facts", (7, "acme", "employees", "250", "urn:test", *TIMES)),
        ("account_facts", (7, "acme", "industry", '"bänking"', "urn:test", *TIMES)),
        ("account_facts", (7, "acme", "tags", '["a","b"]', "urn:test", *TIMES)),
        ("account_facts", (7, "acme", "eu", "true", "urn:test", *TIMES)),
        ("account_facts", (7, "acme", "share", "0.5", "urn:test", *TIMES)),
        ("account_facts", (7, "acme", "gone", "null", "urn:test", *TIMES)),
    ]


def test_what_an_account_is_called_elsewhere() -> None:
    same_as = [{"system": "zendesk", "id": "1"}, {"system": "crm", "id": "2"}, {"system": "zendesk", "id": "1"}]
    assert folded(recorded("account.identified", account="acme", same_as=same_as)) == [
        ("account_mentions", (7, "acme")),
        ("account_aliases", (7, "zendesk:1", "acme", *TIMES)),
        ("account_aliases", (7, "crm:2", "acme", *TIMES)),
    ]


def test_accounts_and_requirements_are_merged_and_told_apart() -> None:
    on_behalf = (BY["role"], BY["team"], BY.get("person"))
    assert folded(recorded("account.merged", account="a", into="b", reason="one company", by=BY)) == [
        ("account_mentions", (7, "a")),
        ("account_mentions", (7, "b")),
        ("account_merges", (7, "a", "b", "one company", *on_behalf, *TIMES)),
    ]
    assert folded(recorded("account.unmerged", account="a", reason="two", by=BY)) == [
        ("account_mentions", (7, "a")),
        ("account_merges", (7, "a", None, "two", *on_behalf, *TIMES)),
    ]
    assert folded(recorded("requirement.merged", requirement="R", into="S", reason="one wish", by=BY)) == [
        ("requirement_merges", (7, "R", "S", "one wish", *on_behalf, *TIMES))
    ]
    assert folded(recorded("requirement.unmerged", requirement="R", reason="two", by=BY)) == [
        ("requirement_merges", (7, "R", None, "two", *on_behalf, *TIMES))
    ]
    assert folded(recorded("ask.moved", requirement="R", ask="k", to="S", reason="meant S", by=BY)) == [
        ("ask_moves", (7, "R", "k", "S", "meant S", *on_behalf, *TIMES))
    ]


def test_a_profile_that_says_nothing_still_mentions_its_account() -> None:
    assert folded(recorded("account.profiled", account="acme", attributes={})) == [("account_mentions", (7, "acme"))]


def test_nothing_is_true_in_the_future_of_its_record() -> None:
    ahead = RECORDED + timedelta(minutes=4)
    _, (_, row) = folded(recorded("account.profiled", ahead, account="a", name="A", attributes={}))
    assert row == (7, "a", "A", RECORDED, ahead, RECORDED)


def test_an_opportunity_as_it_stands() -> None:
    event = recorded(
        "opportunity.updated",
        opportunity="o-1",
        account="acme",
        stage="won",
        amount="120000.50",
        currency="USD",
        kind="renewal",
        pipeline_stage="Signed",
        closes="2026-12-01",
        starts="2027-01-01",
        ends="2027-12-31",
        requirements=["SSO-42"],
        competitors=["Other Inc"],
        closed_because="feature",
        lead="l-1",
        reason="single sign-on",
    )
    days = (date(2026, 12, 1), date(2027, 1, 1), date(2027, 12, 31))
    assert folded(event) == [
        (
            "opportunity_rows",
            (
                *(7, "o-1", "acme", "won", Decimal("120000.50"), "USD", "renewal", "Signed", *days, ["SSO-42"], "l-1"),
                *(["Other Inc"], "feature", "single sign-on", *TIMES),
            ),
        )
    ]


def test_an_opportunity_of_which_little_is_known() -> None:
    event = recorded("opportunity.updated", opportunity="o-1", account="acme", stage="open")
    unknown = (None,) * 7
    assert folded(event) == [
        ("opportunity_rows", (7, "o-1", "acme", "open", *unknown, [], None, [], None, None, *TIMES))
    ]


def test_a_requirement_is_raised() -> None:
    event = recorded(
        "requirement.raised",
        requirement="SSO-42",
        title="Single sign-on",
        problem=SEALED,
        area="access",
        labels={"b": "2", "a": "1"},
        links=[{"system": "tracker", "id": "T-1"}],
        by=BY,
    )
    assert folded(event) == [
        (
            "requirement_rows",
            (
                *(7, "SSO-42", False, "Single sign-on", "access", True, '{"a":"1","b":"2"}'),
                *('[{"id":"T-1","system":"tracker"}]', None, *BEHALF, *TIMES),
            ),
        )
    ]


def test_a_requirement_is_raised_with_a_title_only() -> None:
    assert folded(recorded("requirement.raised", requirement="R-1", title="T")) == [
        ("requirement_rows", (7, "R-1", False, "T", None, False, "{}", "[]", None, None, None, None, *TIMES))
    ]


def test_a_requirement_is_reworded() -> None:
    assert folded(recorded("requirement.reworded", requirement="R-1", area="access", reason="moved", by=BY)) == [
        ("requirement_rows", (7, "R-1", True, None, "access", False, None, None, "moved", *BEHALF, *TIMES))
    ]


def test_an_ask_is_recorded_without_its_quote() -> None:
    event = recorded(
        "ask.recorded",
        requirement="SSO-42",
        account="acme",
        ask="k-1",
        importance=3,
        contact="p-81",
        channel="renewal",
        quote=SEALED,
        url="https://desk.example/1",
        opportunity="o-1",
        feedback="f-1",
        needed_by="2027-03-01",
        labels={"a": "1"},
        by=BY,
    )
    rows = folded(event)
    assert rows == [
        (
            "asks",
            (
                *(7, "SSO-42", "k-1", "acme", False, 3, "p-81", "renewal", True, "https://desk.example/1", "o-1"),
                *("f-1", date(2027, 3, 1), '{"a":"1"}', None, *BEHALF, *TIMES),
            ),
        )
    ]
    assert SEALED["sealed"] not in str(rows)


def test_a_withdrawal_names_no_account() -> None:
    event = recorded("ask.withdrawn", requirement="R-1", ask="k-1", reason="solved otherwise", by=BY)
    assert folded(event) == [
        (
            "asks",
            (
                *(7, "R-1", "k-1", None, True, None, None, None, False, None, None, None, None, None),
                *("solved otherwise", *BEHALF, *TIMES),
            ),
        )
    ]


def test_a_delivery_is_updated() -> None:
    event = recorded("delivery.updated", requirement="R-1", state="beta", target="2027-02-28", url="https://x.example/")
    assert folded(event) == [
        ("deliveries", (7, "R-1", "beta", date(2027, 2, 28), "https://x.example/", None, None, None, *TIMES))
    ]


def test_an_agreement_is_revised_and_its_bullets_come_back_as_they_were() -> None:
    bullets = [
        {"bullet": "bank", "text": "Regional banks", "weight": 3, "required": True},
        {"bullet": "size", "text": "Large", "test": {"op": "gte", "attribute": "employees", "value": 50}},
    ]
    event = recorded(
        "agreement.revised",
        agreement="target-market",
        revision="2026-h2",
        title="Banks",
        stage="focused",
        statement="We sell to banks.",
        bullets=bullets,
        threshold=60,
        signatories=["sales", "product"],
        review_by="2027-01-31",
        reason="focus",
        by=BY,
    )
    ((table, row),) = folded(event)
    assert (table, row[:6]) == (
        "agreement_revisions",
        (7, "target-market", "2026-h2", "Banks", "focused", "We sell to banks."),
    )
    assert msgspec.json.decode(row[6], type=list[Bullet]) == event.event.bullets  # type: ignore[attr-defined]
    assert row[7:] == (60, ["sales", "product"], date(2027, 1, 31), "focus", *BEHALF, *TIMES)


def test_an_agreement_is_endorsed() -> None:
    event = recorded(
        "agreement.endorsed", agreement="t", revision="r", team="sales", meaning="object", note="no", by=BY
    )
    assert folded(event) == [("agreement_endorsements", (7, "t", "r", "sales", "object", "no", "k", *BEHALF, *TIMES))]


@pytest.mark.parametrize(
    ("effective", "instant", "in_force_from"),
    [
        ("2026-07-01", datetime(2026, 7, 1, tzinfo=UTC), ABOUT),
        ("2027-01-01T01:00:00+01:00", datetime(2027, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
    ],
    ids=["effective before it was adopted", "effective later"],
)
def test_an_agreement_is_in_force_from_the_later_of_its_times(
    effective: str, instant: datetime, in_force_from: datetime
) -> None:
    event = recorded("agreement.adopted", agreement="t", revision="r", effective=effective, by=BY)
    assert folded(event) == [("agreement_adoptions", (7, "t", "r", instant, in_force_from, *BEHALF, *TIMES))]


def test_a_decision_is_proposed() -> None:
    event = recorded(
        "decision.proposed",
        decision="D-7",
        requirements=["R-1", "R-2"],
        question="When?",
        drivers=["Audit"],
        options=[{"option": "a", "summary": "Now", "arguments": [{"verdict": "good", "text": "It sells"}]}],
        decide_by="2026-12-24",
        by=BY,
    )
    options = '[{"arguments":[{"text":"It sells","verdict":"good"}],"option":"a","summary":"Now"}]'
    assert folded(event) == [
        (
            "decision_proposals",
            (7, "D-7", ["R-1", "R-2"], "When?", '["Audit"]', options, date(2026, 12, 24), *BEHALF, *TIMES),
        )
    ]


def test_a_decision_is_made_once_for_each_of_its_requirements() -> None:
    event = recorded(
        "decision.made",
        decision="D-7",
        requirements=["R-2", "R-1", "R-2"],
        outcome="commit",
        grounds="obligation",
        option="a",
        rationale="the contract says so",
        instruction="Build it.",
        tell_customer="It comes.",
        available={"from": "2027-03-01", "confidence": "low"},
        deciders=[BY],
        consulted=[{"role": "architect", "team": "engineering"}],
        informed=["support"],
        dissent=[{"team": "engineering", "statement": "too early"}],
        revisit="2027-06-01",
        seen=5,
    )
    by = '{"person":"p-1","role":"account executive","team":"sales"}'
    assert folded(event) == [
        (
            "decisions_made",
            (
                *(7, "D-7", ["R-2", "R-1", "R-2"], "commit", "obligation", "a", "the contract says so", "Build it."),
                *("It comes.", '{"confidence":"low","from":"2027-03-01"}', f"[{by}]"),
                *('[{"role":"architect","team":"engineering"}]', ["support"]),
                *('[{"statement":"too early","team":"engineering"}]', date(2027, 6, 1), 5, *TIMES),
            ),
        ),
        ("decision_requirements", (7, "R-2", "D-7")),
        ("decision_requirements", (7, "R-1", "D-7")),
    ]


def test_names_of_persons_are_in_no_read_model() -> None:
    assert folded(recorded("person.introduced", person="p-1", name=SEALED)) == []


def test_every_other_event_is_for_some_projection() -> None:
    cared_for = frozenset[str]().union(*(projection.topics for projection in CHOOSY))
    # What is sealed is in no read model, and so its erasure is for none.
    sealing = {"ledger.person.introduced.v1", "ledger.person.erased.v1", "ledger.text.redacted.v1"}
    assert cared_for == EVENT_TYPES.keys() - sealing - {"ledger.source.reconciled.v1"}


@pytest.mark.parametrize("projection", CHOOSY, ids=lambda projection: projection.name)
def test_a_projection_refuses_what_is_not_for_it(projection: Projection) -> None:
    with pytest.raises(AssertionError):
        list(projection.fold(recorded("person.introduced", person="p-1", name=SEALED)))


@pytest.mark.parametrize("projection", ALL, ids=lambda projection: projection.name)
def test_every_row_begins_with_its_position(projection: Projection) -> None:
    assert all(key[0] == "position" for key in projection.tables.values())
    for table in projection.tables:
        assert f"CREATE TABLE {{schema}}.{table} (" in projection.tables_sql
