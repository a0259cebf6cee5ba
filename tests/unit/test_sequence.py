"""Sequencing, pure: which of the waiting requests are recorded, and where."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from schemas.codec import decode_recorded
from schemas.envelope import Refusal
from services.ledger.sequence import Known, Log, Outcome, Result, acts, reads, sequence
from services.sealing import SealingKey
from tests.ledger_service import example, profile
from tests.log import OFFICER, erased, event, read, redacted
from tests.sequencing import START, Memory, prepare, request


def places(outcome: Outcome) -> list[tuple[int, int, bool]]:
    """Of each result: position, version, and whether it is a duplicate."""
    assert all(isinstance(each, Result) for each in outcome), outcome
    return [(each.position, each.version, each.duplicate) for each in outcome if isinstance(each, Result)]


def refused(outcome: Outcome) -> list[tuple[int, str, str]]:
    """Of each refusal: the place in the request, the problem, the pointer."""
    assert all(isinstance(each, Refusal) for each in outcome), outcome
    return [(each.index, each.problem, each.pointer) for each in outcome if isinstance(each, Refusal)]


def other(event: Any) -> Any:
    """The same id with other content."""
    return event | {"data": event["data"] | {"attributes": {"industry": "retail"}}}


# Places


def test_positions_go_on_without_a_gap_and_versions_are_those_of_their_streams():
    log = Memory()
    log.post(request(profile("a"), profile("b")))
    first, second = log.post(request(profile("a"), profile("c")), request(profile("a"), profile("b")))
    assert places(first) == [(3, 2, False), (4, 1, False)]
    assert places(second) == [(5, 3, False), (6, 2, False)]


def test_an_entry_holds_the_bytes_that_say_its_place():
    log = Memory()
    log.post(request(profile("a"), profile("a", time="2026-11-20T10:00:00Z")))
    for entry in log.entries:
        recorded = decode_recorded(entry.state)
        assert (recorded.position, recorded.version) == (entry.position, entry.version)
        assert recorded.event == entry.prepared.sent.event
        assert recorded.recordedtime == log.clock
    timeless, timed = (decode_recorded(entry.state) for entry in log.entries)
    assert timeless.time == log.clock  # An event that came without a time is about its recorded time.
    assert timed.time.isoformat() == "2026-11-20T10:00:00+00:00"


def test_a_batch_has_one_recorded_time():
    log = Memory()
    outcomes = log.post(request(profile("a"), profile("b")), request(profile("c")))
    assert {each.recordedtime for outcome in outcomes for each in outcome if isinstance(each, Result)} == {log.clock}


def test_nothing_waits_and_nothing_is_recorded():
    log = Memory()
    assert log.post() == []
    assert log.post(request()) == [[]]
    assert log.entries == []


def test_what_stands_earlier_in_a_batch_can_be_corrected_as_if_it_had_come_before():
    sealed = example("ask.recorded")
    for correction in (
        event("event.retracted", position=1, subject="requirement/SSO-42", reason="a slip", by=OFFICER),
        redacted(1, "requirement/SSO-42"),
    ):
        log = Memory()
        key = SealingKey(event_id=prepare(sealed).event_uuid, person="p-81", master="m", wrapped=b"w")
        said = request(sealed)
        said = replace(said, events=[replace(said.events[0], sealing=key)])
        first, second, third = log.post(said, request(correction), request(correction | {"id": "again"}))
        assert (places(first), places(second)) == ([(1, 1, False)], [(2, 2, False)])
        assert refused(third) == [(0, "rule-not-met", "/data/position")]


def test_who_is_spoken_of_earlier_in_a_batch_can_be_erased():
    log = Memory()
    introduction = event("person.introduced", person="p-1", name="Ada")
    outcomes = log.post(request(erased("p-1")), request(introduction, erased("p-1")), request(erased("p-2")))
    assert refused(outcomes[0]) == refused(outcomes[2]) == [(0, "rule-not-met", "/data/person")]
    assert places(outcomes[1]) == [(1, 1, False), (2, 2, False)]


# Duplicates


def test_a_known_event_is_answered_as_recorded_before():
    log, event = Memory(), profile("a")
    log.post(request(profile("a"), event))
    [outcome] = log.post(request(event))
    assert places(outcome) == [(2, 2, True)]
    assert outcome[0].recordedtime == START  # type: ignore[union-attr]
    assert len(log.entries) == 2


def test_a_duplicate_inside_a_request_has_the_place_of_the_first():
    log, event = Memory(), profile("a")
    [outcome] = log.post(request(event, profile("b"), event))
    assert places(outcome) == [(1, 1, False), (2, 1, False), (1, 1, True)]
    assert len(log.entries) == 2


def test_a_duplicate_across_the_requests_of_a_batch_has_the_place_of_the_first():
    log, event = Memory(), profile("a")
    first, second = log.post(request(event), request(profile("b"), event))
    assert places(first) == [(1, 1, False)]
    assert places(second) == [(2, 1, False), (1, 1, True)]


def test_an_id_with_other_content_is_refused_wherever_the_first_was():
    event = profile("a")
    log = Memory()
    [outcome] = log.post(request(event, other(event)))
    assert refused(outcome) == [(1, "id-conflict", "/id")]
    assert log.entries == []

    first, second = log.post(request(event), request(other(event)))
    assert places(first) == [(1, 1, False)]
    assert refused(second) == [(0, "id-conflict", "/id")]

    [later] = log.post(request(other(event)))
    assert refused(later) == [(0, "id-conflict", "/id")]
    assert "position 1" in later[0].message  # type: ignore[union-attr]


def test_the_same_id_of_another_source_is_another_event():
    log, event = Memory(), profile("a")
    [outcome] = log.post(request(event, other(event) | {"source": "urn:elsewhere"}))
    assert places(outcome) == [(1, 1, False), (2, 2, False)]


def test_a_duplicate_is_told_whatever_it_expects():
    log, event = Memory(), profile("a", expectedversion=0)
    log.post(request(event))
    [outcome] = log.post(request(event))
    assert places(outcome) == [(1, 1, True)]
    [outcome] = log.post(request(event | {"expectedversion": 9}, if_match=9))
    assert places(outcome) == [(1, 1, True)]


def test_an_act_that_was_recorded_is_told_though_its_rule_refuses_it_now():
    log, revised = Memory(), example("agreement.revised")
    log.post(request(revised))
    [outcome] = log.post(request(revised))
    assert places(outcome) == [(1, 1, True)]


def test_once_the_key_of_an_event_is_gone_its_id_alone_decides():
    [sent] = read(profile("a"))
    known = Known(position=1, subject=sent.subject, version=1, recordedtime=START, content=b"other")
    assert not known.holds(sent)
    assert replace(known, erased=True).holds(sent)


# All or none


def test_a_request_is_recorded_whole_or_not_at_all_and_those_after_it_do_not_notice():
    log = Memory()
    first, second, third = log.post(
        request(profile("a"), profile("a")),
        request(profile("a"), profile("b"), example("decision.proposed"), profile("c")),
        request(profile("a"), profile("b")),
    )
    assert places(first) == [(1, 1, False), (2, 2, False)]
    assert refused(second) == [(2, "rule-not-met", "/data/requirements/0")]
    assert places(third) == [(3, 3, False), (4, 1, False)]
    assert [entry.position for entry in log.entries] == [1, 2, 3, 4]


def test_what_a_refused_request_brought_is_unknown_to_those_after_it():
    log, raised = Memory(), example("requirement.raised")
    first, second, third = log.post(
        request(raised, example("agreement.adopted")),
        request(example("decision.proposed")),
        request(raised),
    )
    assert refused(first) == [(1, "rule-not-met", "/data/revision")]
    assert refused(second) == [(0, "rule-not-met", "/data/requirements/0")]
    assert places(third) == [(1, 1, False)]


def test_every_refusal_of_a_request_is_told():
    log, event = Memory(), profile("a")
    log.post(request(event))
    [outcome] = log.post(
        request(
            other(event),
            profile("b", expectedversion=4),
            profile("b"),
            example("decision.made", requirements=["x", "y"]),
            profile("a", expectedversion=1),
        )
    )
    assert refused(outcome) == [
        (0, "id-conflict", "/id"),
        (1, "version-conflict", "/expectedversion"),
        (3, "rule-not-met", "/data/requirements/0"),
        (3, "rule-not-met", "/data/requirements/1"),
    ]


def test_a_request_that_is_only_judged_gets_its_answers_and_leaves_nothing():
    log, event = Memory(), profile("a")
    first, second, third = log.post(
        request(event, profile("b"), judge_only=True),
        request(example("decision.proposed"), judge_only=True),
        request(event),
    )
    assert places(first) == [(1, 1, False), (2, 1, False)]
    assert refused(second) == [(0, "rule-not-met", "/data/requirements/0")]
    assert places(third) == [(1, 1, False)]
    assert len(log.entries) == 1


# Expected versions


def test_zero_means_that_the_stream_is_new():
    log = Memory()
    [outcome] = log.post(request(profile("a", expectedversion=0)))
    assert places(outcome) == [(1, 1, False)]
    [outcome] = log.post(request(profile("a", expectedversion=0)))
    assert refused(outcome) == [(0, "version-conflict", "/expectedversion")]
    assert outcome[0].current_version == 1  # type: ignore[union-attr]
    [outcome] = log.post(request(profile("b", expectedversion=1)))
    assert outcome[0].current_version == 0  # type: ignore[union-attr]


def test_expected_versions_count_up_inside_a_request_and_across_a_batch():
    log = Memory()
    first, second = log.post(
        request(*(profile("a", expectedversion=n) for n in (0, 1, 2))),
        request(profile("a", expectedversion=3), profile("b", expectedversion=0)),
    )
    assert places(first) == [(1, 1, False), (2, 2, False), (3, 3, False)]
    assert places(second) == [(4, 4, False), (5, 1, False)]


def test_of_two_requests_that_expect_the_same_version_one_is_recorded():
    log = Memory()
    first, second = log.post(request(profile("a", expectedversion=0)), request(profile("a", expectedversion=0)))
    assert places(first) == [(1, 1, False)]
    assert refused(second) == [(0, "version-conflict", "/expectedversion")]


@pytest.mark.parametrize(("if_match", "taken"), [(2, True), (1, False), (3, False), (0, False), (-1, True)])
def test_if_match_is_the_version_of_the_stream(if_match: int, taken: bool):
    log = Memory()
    log.post(request(profile("a"), profile("a")))
    [outcome] = log.post(request(profile("a"), if_match=if_match))
    if taken:
        assert places(outcome) == [(3, 3, False)]
    else:
        assert refused(outcome) == [(0, "precondition-failed", "")]
        assert outcome[0].current_version == 2  # type: ignore[union-attr]


def test_if_match_on_a_stream_without_events():
    log = Memory()
    assert refused(log.post(request(profile("a"), if_match=-1))[0]) == [(0, "precondition-failed", "")]
    assert places(log.post(request(profile("a"), if_match=0))[0]) == [(1, 1, False)]


def test_both_preconditions_are_told():
    [outcome] = Memory().post(request(profile("a", expectedversion=1), if_match=1))
    assert [problem for _, problem, _ in refused(outcome)] == ["version-conflict", "precondition-failed"]


# Rules


def test_a_rule_sees_what_came_before_in_the_same_request_and_in_the_batch():
    log = Memory()
    teams = ("sales", "marketing", "engineering")
    first, second, third = log.post(
        request(example("requirement.raised"), example("decision.proposed")),
        request(
            example("agreement.revised"), *(example("agreement.endorsed", team=team, meaning="agree") for team in teams)
        ),
        request(example("agreement.adopted"), example("decision.made")),
    )
    assert len(places(first)) == 2
    assert len(places(second)) == 4
    assert places(third) == [(7, 5, False), (8, 2, False)]


def test_a_rule_does_not_see_what_comes_after():
    [outcome] = Memory().post(request(example("decision.proposed"), example("requirement.raised")))
    assert refused(outcome) == [(0, "rule-not-met", "/data/requirements/0")]


SIGNED = [
    example("agreement.revised"),
    *(example("agreement.endorsed", team=team, meaning="agree") for team in ("sales", "marketing", "engineering")),
]


@pytest.mark.parametrize(
    ("given", "first", "second"),
    [
        ([example("requirement.raised")], example("decision.made"), example("decision.made", outcome="decline")),
        ([example("requirement.raised")], example("decision.made"), example("decision.proposed")),
        ([], example("agreement.revised"), example("agreement.revised", title="Another")),
        (SIGNED, example("agreement.endorsed", meaning="object"), example("agreement.adopted")),
        (SIGNED, example("agreement.adopted"), example("agreement.adopted")),
    ],
    ids=["made twice", "made, then proposed", "a name used twice", "objected, then adopted", "adopted twice"],
)
def test_of_acts_that_exclude_each_other_exactly_one_wins(given: list[Any], first: Any, second: Any):
    in_one_batch, one_after_the_other, in_one_request = Memory(), Memory(), Memory()
    for log in (in_one_batch, one_after_the_other, in_one_request):
        log.post(request(*given))
    winner, loser = in_one_batch.post(request(first), request(second))
    assert len(places(winner)) == 1
    assert [problem for _, problem, _ in refused(loser)] == ["rule-not-met"]
    assert len(in_one_batch.entries) == len(given) + 1

    one_after_the_other.post(request(first))
    assert one_after_the_other.post(request(second)) == [loser]
    assert [index for index, _, _ in refused(in_one_request.post(request(first, second))[0])] == [1]


def test_the_seen_position_lies_below_the_position_that_the_act_gets_in_its_batch():
    log = Memory()
    log.post(request(example("requirement.raised")))
    first, second, third = log.post(
        request(example("decision.made", decision="D-1", seen=2)),
        request(profile("a"), example("decision.made", decision="D-2", seen=2)),
        request(example("decision.made", decision="D-3", seen=3)),
    )
    assert refused(first) == [(0, "rule-not-met", "/data/seen")]
    assert places(second) == [(2, 1, False), (3, 1, False)]
    assert places(third) == [(4, 1, False)]


def test_a_refusal_of_a_rule_carries_what_a_program_can_act_on():
    log = Memory()
    log.post(request(example("agreement.revised")))
    [outcome] = log.post(request(profile("a"), example("agreement.adopted")))
    [refusal] = outcome
    assert isinstance(refusal, Refusal)
    assert refusal.index == 1
    assert refusal.retryable
    assert refusal.missing == ["sales", "marketing", "engineering"]


def test_only_acts_have_their_streams_read():
    requests = [request(profile("a"), example("decision.proposed", requirements=["A", "B"])), request(profile("b"))]
    assert reads(acts(requests)) == ["decision/D-7", "requirement/A", "requirement/B"]


def test_a_batch_asks_for_nothing_that_the_log_was_not_asked_for():
    # Streams that no act reads are not folded, however many events they get.
    log = Memory().log([request(profile("a"))])
    assert log.streams == {}
    assert msgspec.structs.asdict(sequence([request(profile("a"))], log))["entries"][0].version == 1


def test_what_the_log_was_read_as_is_left_alone():
    memory = Memory()
    requests = [request(example("requirement.raised"), example("decision.proposed"))]
    log = memory.log(requests)
    before = Log(**{name: getattr(log, name) for name in log.__struct_fields__})
    known, versions, streams = dict(log.known), dict(log.versions), dict(log.streams)
    sequence(requests, log)
    assert (dict(log.known), dict(log.versions), dict(log.streams)) == (known, versions, streams)
    assert log == before


def test_the_fingerprint_of_what_is_recorded_is_that_of_the_prepared_event():
    log = Memory()
    prepared = replace(prepare(profile("a")), content=b"sealed fingerprint")
    log.post(replace(request(), events=[prepared]))
    assert log.entries[0].prepared.content == b"sealed fingerprint"
