"""The rules of acts: given what was recorded, when an act comes, then it passes or is refused at its spot."""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from schemas.events import EVENT_TYPES, Act, Event, EventRetracted
from schemas.examples import EXAMPLES
from schemas.values import same_team
from services.ledger import questions, rules
from services.ledger.rules import objections, reads, replay
from services.ledger.rules.objection import Objection
from services.ledger.rules.retraction import Named, against_retracting
from services.ledger.rules.teams import signing
from services.migrate import TEAMS
from tests.named import named_in, spoken_of_in

HEAD = 90


def said(type: str, /, **data: Any) -> Event:
    """The example of an event that is named in short, some of its data replaced; None leaves a field out."""
    name = f"ledger.{type}.v1"
    kept = {field: value for field, value in (EXAMPLES[name] | data).items() if value is not None}
    return msgspec.convert(kept, EVENT_TYPES[name])


class Given:
    """What was recorded, in its order, from position 1 on."""

    def __init__(self, *events: Event, teams: tuple[str, ...] = TEAMS) -> None:
        self.events = events
        self.teams = frozenset(same_team(team) for team in teams)

    def when(self, act: Event) -> "Given":
        assert isinstance(act, Act)

        def stream(subject: str) -> Any:
            assert subject in reads(act), f"the rule reads {subject}, and does not say so"
            return replay(subject, [(at, event) for at, event in self.recorded if event.subject == subject])

        spoken_of = partial(spoken_of_in, self.events)
        self.against = [*objections(act, stream, self.named, spoken_of, position=HEAD + 1, teams=self.teams)]
        return self

    @property
    def recorded(self) -> list[tuple[int, Event]]:
        return [*enumerate(self.events, 1)]

    def named(self, position: int) -> Named | None:
        return named_in(self.events).get(position)

    def then_passes(self) -> None:
        assert self.against == []

    def then_refused(self, pointer: str, words: str, *, retryable: bool = False, missing: tuple[str, ...] = ()) -> None:
        [objection] = self.against
        assert words in objection.message
        assert objection == Objection(pointer, objection.message, retryable=retryable, missing=missing)


raised = said("requirement.raised")
asked = said("ask.recorded")
revised = said("agreement.revised")
adopt = said("agreement.adopted")
proposed = said("decision.proposed")
decided = said("decision.made")


def endorsed(team: str, meaning: str = "agree", revision: str = "2026-h2") -> Event:
    return said("agreement.endorsed", team=team, meaning=meaning, revision=revision)


everybody = [endorsed(team) for team in ("sales", "marketing", "engineering")]


# Agreements


def test_a_first_revision_passes():
    Given().when(revised).then_passes()


def test_a_second_revision_of_another_name_passes():
    Given(revised).when(said("agreement.revised", revision="2027-h1")).then_passes()


def test_a_revision_has_a_name_of_its_own():
    Given(revised).when(said("agreement.revised", title="Other")).then_refused(
        "/data/revision", "a revision 2026-h2 already"
    )


def test_a_revision_of_another_agreement_may_have_the_same_name():
    Given(revised).when(said("agreement.revised", agreement="qualified-lead")).then_passes()


def test_a_focused_agreement_needs_a_testable_bullet():
    prose = [{"bullet": "pace", "text": "Decides within a year"}]
    Given().when(said("agreement.revised", bullets=prose)).then_refused(
        "/data/bullets", "at least one bullet with a test"
    )
    Given().when(said("agreement.revised", bullets=[])).then_refused("/data/bullets", "at least one bullet with a test")


def test_an_exploratory_agreement_needs_no_bullets():
    Given().when(said("agreement.revised", stage="exploratory", bullets=[])).then_passes()


def test_an_endorsement_is_of_a_revision_that_there_is():
    Given().when(endorsed("sales")).then_refused("/data/revision", "no revision 2026-h2", retryable=True)
    Given(revised).when(endorsed("sales", revision="2027")).then_refused(
        "/data/revision", "no revision 2027", retryable=True
    )
    Given(revised).when(endorsed("sales")).then_passes()


def test_a_team_that_does_not_sign_may_say_its_word():
    Given(revised).when(endorsed("support")).then_passes()


def test_adopting_waits_for_every_signatory_and_names_those_that_are_missing():
    Given(revised, endorsed("marketing")).when(adopt).then_refused(
        "/data/revision", "sales, engineering", retryable=True, missing=("sales", "engineering")
    )


def test_adopting_does_not_wait_for_teams_that_do_not_sign():
    Given(revised, *everybody, endorsed("support", "object")).when(adopt).then_passes()


def test_an_agreement_that_all_have_endorsed_is_adopted():
    Given(revised, *everybody).when(adopt).then_passes()


def test_reservations_do_not_stand_in_the_way():
    Given(revised, *everybody[:2], endorsed("engineering", "agree_with_reservations")).when(adopt).then_passes()


def test_an_objection_stands_in_the_way_until_it_is_taken_back():
    given = [revised, *everybody, endorsed("engineering", "object")]
    Given(*given).when(adopt).then_refused("/data/revision", "engineering object", retryable=True)
    Given(*given, endorsed("engineering")).when(adopt).then_passes()


def test_an_endorsement_that_is_taken_back_counts_no_more():
    Given(revised, *everybody, endorsed("sales", "object"), endorsed("sales"), endorsed("sales", "object")).when(
        adopt
    ).then_refused("/data/revision", "sales object", retryable=True)


def test_teams_are_compared_after_case_folding_and_named_as_they_were_written():
    signed = said("agreement.revised", signatories=["Sales", "ENGINEERING", "Marketing"])
    Given(signed, endorsed("SALES"), endorsed("engineering")).when(adopt).then_refused(
        "/data/revision", "Marketing", retryable=True, missing=("Marketing",)
    )
    Given(signed, *everybody).when(adopt).then_passes()
    Given(signed, *everybody, endorsed("sALES", "object")).when(adopt).then_refused(
        "/data/revision", "Sales object", retryable=True
    )


def test_the_endorsements_of_one_revision_are_not_those_of_the_next():
    following = said("agreement.revised", revision="2027-h1")
    Given(revised, following, *everybody).when(said("agreement.adopted", revision="2027-h1")).then_refused(
        "/data/revision",
        "not yet endorsed",
        retryable=True,
        missing=("sales", "marketing", "engineering"),
    )


def test_a_revision_that_there_is_not_is_not_adopted():
    Given().when(adopt).then_refused("/data/revision", "no revision 2026-h2", retryable=True)


def test_the_revision_that_was_adopted_last_is_adopted_again_only_from_another_day_on():
    Given(revised, *everybody, adopt).when(adopt).then_refused("/data/revision", "adopted last", retryable=True)
    Given(revised, *everybody, adopt).when(said("agreement.adopted", effective="2027-01-01")).then_passes()


def test_an_earlier_revision_may_come_back():
    following = said("agreement.revised", revision="2027-h1")
    signed = [endorsed(team, revision="2027-h1") for team in ("sales", "marketing", "engineering")]
    adopted = said("agreement.adopted", revision="2027-h1")
    Given(revised, *everybody, adopt, following, *signed, adopted).when(adopt).then_passes()


# Requirements


def test_a_requirement_that_was_raised_or_only_asked_for_is_reworded():
    reworded = said("requirement.reworded")
    Given(raised).when(reworded).then_passes()
    Given(asked).when(reworded).then_passes()


def test_a_requirement_that_nobody_has_heard_of_is_not_reworded():
    withdrawn, shipped = said("ask.withdrawn"), said("delivery.updated")
    for given in ([], [withdrawn, shipped], [said("requirement.raised", requirement="other")]):
        Given(*given).when(said("requirement.reworded")).then_refused(
            "/data/requirement", "SSO-42 has neither been raised nor asked for", retryable=True
        )


# Decisions


def test_a_decision_is_proposed_on_what_was_raised_or_asked_for():
    Given(raised).when(proposed).then_passes()
    Given(asked).when(proposed).then_passes()


@pytest.mark.parametrize("act", ["decision.proposed", "decision.made"])
def test_a_decision_on_the_unheard_of_is_refused_at_each_of_them(act: str):
    given = Given(raised).when(said(act, requirements=["A-1", "SSO-42", "A-2"]))
    assert [(each.pointer, each.retryable) for each in given.against] == [
        ("/data/requirements/0", True),
        ("/data/requirements/2", True),
    ]
    assert "A-2 has neither been raised nor asked for" in given.against[1].message


def test_a_decision_may_be_proposed_again_until_it_is_made():
    Given(raised, proposed).when(proposed).then_passes()
    Given(raised, proposed, decided).when(proposed).then_refused("/data/decision", "D-7 has been made")


def test_a_decision_is_made_once():
    Given(raised, proposed).when(decided).then_passes()
    Given(raised, proposed, decided).when(said("decision.made", outcome="decline")).then_refused(
        "/data/decision", "D-7 has been made"
    )


def test_a_decision_on_a_requirement_that_was_only_asked_for_is_made():
    Given(asked).when(said("decision.made", option=None)).then_passes()


def test_a_decision_without_a_proposal_may_name_any_option():
    Given(raised).when(decided).then_passes()


def test_the_option_is_among_those_proposed_last():
    other = said("decision.proposed", options=[{"option": "oidc", "summary": "OpenID Connect"}])
    Given(raised, proposed, other).when(decided).then_refused("/data/option", "(oidc)", retryable=True)
    Given(raised, other, proposed).when(decided).then_passes()
    Given(raised, said("decision.proposed", options=[])).when(decided).then_refused(
        "/data/option", "(none)", retryable=True
    )
    Given(raised, other).when(said("decision.made", option=None)).then_passes()


@pytest.mark.parametrize("seen", [0, 1, HEAD])
def test_what_was_seen_lies_below_the_decision(seen: int):
    Given(raised).when(said("decision.made", seen=seen)).then_passes()


@pytest.mark.parametrize("seen", [HEAD + 1, HEAD + 2, 10**30])
def test_nothing_was_seen_at_or_above_the_decision(seen: int):
    Given(raised).when(said("decision.made", seen=seen)).then_refused("/data/seen", f"position {HEAD + 1}")


# Teams

STRANGE = {"role": "astrologer", "team": "stars"}


@pytest.mark.parametrize(
    ("act", "data", "pointers"),
    [
        (
            "agreement.revised",
            {"revision": "2027", "signatories": ["sales", "stars"], "by": STRANGE},
            ["/data/signatories/1", "/data/by/team"],
        ),
        ("agreement.endorsed", {"team": "stars"}, ["/data/team"]),
        ("requirement.reworded", {"by": STRANGE}, ["/data/by/team"]),
        (
            "decision.made",
            {
                "deciders": [STRANGE],
                "consulted": [STRANGE],
                "informed": ["sales", "stars"],
                "dissent": [{"team": "stars", "statement": "No."}],
            },
            ["/data/deciders/0/team", "/data/consulted/0/team", "/data/informed/1", "/data/dissent/0/team"],
        ),
        (
            "decision.proposed",
            {
                "options": [
                    {"option": "a", "summary": "A"},
                    {"option": "b", "summary": "B", "arguments": [{"verdict": "bad", "text": "No.", "team": "stars"}]},
                ]
            },
            ["/data/options/1/arguments/0/team"],
        ),
    ],
)
def test_a_team_that_the_ledger_does_not_have_is_refused_at_each_spot(act: str, data: Any, pointers: list[str]):
    given = Given(raised, revised).when(said(act, **data))
    assert [each.pointer for each in given.against] == pointers
    assert all("stars is not a team of this ledger" in each.message and not each.retryable for each in given.against)


def test_each_ledger_has_its_teams():
    act = said("agreement.endorsed", team="Stars", by=STRANGE)
    Given(revised, teams=("STARS",)).when(act).then_passes()
    assert len(Given(revised).when(act).against) == 2


def test_those_who_sign_are_those_for_whom_somebody_speaks():
    assert [*signing(decided)] == [("/data/deciders/0/team", "product"), ("/data/deciders/1/team", "sales")]
    assert [*signing(endorsed("marketing"))] == [("/data/by/team", "sales"), ("/data/team", "marketing")]
    assert [*signing(asked)] == [("/data/by/team", "sales")]
    assert [*signing(said("person.introduced", team="marketing"))] == []


# What is one


PRODUCT = {"role": "VP product", "team": "product"}


def merged(kind: str, name: str, into: str) -> Event:
    return said(f"{kind}.merged", **{kind: name}, into=into, by=PRODUCT)


def unmerged(kind: str, name: str) -> Event:
    return said(f"{kind}.unmerged", **{kind: name}, by=PRODUCT)


def heard_of(kind: str, *names: str) -> list[Event]:
    """Requirements have to be raised before they are merged; accounts do not."""
    return [said("requirement.raised", requirement=name) for name in names] if kind == "requirement" else []


@pytest.mark.parametrize("kind", ["account", "requirement"])
def test_a_merge_goes_to_one_that_stands_by_itself(kind: str):
    known = heard_of(kind, "a", "b", "c")
    Given(*known).when(merged(kind, "a", "b")).then_passes()
    Given(*known, merged(kind, "b", "c")).when(merged(kind, "a", "b")).then_refused(
        "/data/into", "b was merged into c", retryable=True
    )
    Given(*known, merged(kind, "b", "c"), unmerged(kind, "b")).when(merged(kind, "a", "b")).then_passes()


@pytest.mark.parametrize("kind", ["account", "requirement"])
def test_merges_make_no_circle(kind: str):
    known = heard_of(kind, "a", "b", "c")
    Given(*known).when(merged(kind, "a", "a")).then_refused("/data/into", "not merged into itself")
    Given(*known, merged(kind, "a", "b")).when(merged(kind, "b", "a")).then_refused(
        "/data/into", "that would be a circle", retryable=True
    )
    three = Given(*known, merged(kind, "a", "b"), merged(kind, "b", "c"))
    three.when(merged(kind, "c", "a")).then_refused("/data/into", "a was merged into b", retryable=True)


@pytest.mark.parametrize("kind", ["account", "requirement"])
def test_what_is_merged_is_unmerged_before_it_is_merged_elsewhere(kind: str):
    known = heard_of(kind, "a", "b", "c")
    there = merged(kind, "a", "b")
    Given(*known, there).when(merged(kind, "a", "c")).then_refused(f"/data/{kind}", "unmerge it first", retryable=True)
    Given(*known, there).when(unmerged(kind, "a")).then_passes()
    Given(*known).when(unmerged(kind, "a")).then_refused(f"/data/{kind}", "not merged into another", retryable=True)
    Given(*known, there, unmerged(kind, "a")).when(unmerged(kind, "a")).then_refused(
        f"/data/{kind}", "not merged into another", retryable=True
    )


def test_an_account_is_not_merged_into_its_own_alias():
    Given(said("account.identified")).when(merged("account", "acme", "zendesk:4711")).then_refused(
        "/data/into", "an id of acme elsewhere", retryable=True
    )
    Given(said("account.identified")).when(merged("account", "zendesk:4711", "acme")).then_passes()


def test_an_alias_that_is_claimed_can_be_told_apart():
    Given().when(unmerged("account", "zendesk:4711")).then_passes()
    Given(unmerged("account", "zendesk:4711")).when(unmerged("account", "zendesk:4711")).then_refused(
        "/data/account", "not merged into another", retryable=True
    )
    again = merged("account", "zendesk:4711", "acme")
    Given(unmerged("account", "zendesk:4711"), again).when(unmerged("account", "zendesk:4711")).then_passes()


def test_requirements_are_merged_once_somebody_has_named_them():
    act = merged("requirement", "a", "b")
    assert [each.pointer for each in Given().when(act).against] == ["/data/requirement", "/data/into"]
    Given(said("requirement.raised", requirement="a"), said("ask.recorded", requirement="b")).when(act).then_passes()


def moved(requirement: str, to: str, ask: str = "acme-sso") -> Event:
    return said("ask.moved", requirement=requirement, ask=ask, to=to, by=PRODUCT)


def test_an_ask_is_moved_from_where_it_was_recorded():
    there = said("requirement.raised", requirement="SCIM-3")
    other = said("requirement.raised", requirement="X-1")
    Given(asked, there).when(moved("SSO-42", "SCIM-3")).then_passes()
    Given(asked, there, other, moved("SSO-42", "SCIM-3")).when(moved("SSO-42", "X-1")).then_passes()
    Given(asked, there, moved("SSO-42", "SCIM-3")).when(moved("SSO-42", "SCIM-3")).then_refused(
        "/data/to", "is for SCIM-3 already", retryable=True
    )
    Given(asked, there).when(moved("SSO-42", "SSO-42")).then_refused(
        "/data/to", "is for SSO-42 already", retryable=True
    )
    Given(asked, there).when(moved("SSO-42", "SCIM-3", ask="none")).then_refused(
        "/data/ask", "no ask none was recorded on SSO-42", retryable=True
    )
    Given(asked).when(moved("SSO-42", "SCIM-3")).then_refused(
        "/data/to", "neither been raised nor asked for", retryable=True
    )


def test_a_move_names_where_the_ask_was_recorded_wherever_it_is():
    there = said("requirement.raised", requirement="SCIM-3")
    given = (asked, there, moved("SSO-42", "SCIM-3"))
    Given(*given).when(moved("SSO-42", "SSO-42")).then_passes()
    Given(*given).when(moved("SCIM-3", "SSO-42")).then_refused(
        "/data/ask", "name the requirement that it was recorded on", retryable=True
    )
    # Recorded again, it stays where it was moved.
    Given(*given, asked).when(moved("SSO-42", "SCIM-3")).then_refused(
        "/data/to", "the ask acme-sso is for SCIM-3 already", retryable=True
    )
    # Another ask of the same id, which was recorded there, is one of its own.
    own = said("ask.recorded", requirement="SCIM-3")
    Given(*given, own).when(moved("SCIM-3", "SSO-42")).then_passes()


def test_an_ask_without_an_id_is_moved_by_the_one_that_follows_from_its_event():
    nameless = msgspec.structs.replace(asked, ask="0f" * 16)
    there = said("requirement.raised", requirement="SCIM-3")
    Given(nameless, there).when(moved("SSO-42", "SCIM-3", ask="0f" * 16)).then_passes()


# All of them


def test_everything_that_speaks_against_an_act_is_told():
    act = said("decision.made", requirements=["A-1"], option="other", seen=HEAD + 5, deciders=[STRANGE])
    given = Given(raised, proposed, decided).when(act)
    assert {each.pointer for each in given.against} == {
        "/data/deciders/0/team",
        "/data/decision",
        "/data/option",
        "/data/seen",
        "/data/requirements/0",
    }


@pytest.mark.parametrize("name", sorted(name for name, cls in EVENT_TYPES.items() if issubclass(cls, Act)))
def test_every_act_has_a_rule(name: str):
    Given().when(said(name.removeprefix("ledger.").removesuffix(".v1")))


def test_streams_that_no_rule_reads_have_no_aggregate():
    assert rules.initial("person/p-81") is None
    assert rules.replay("person/p-81", [(1, said("person.introduced"))]) is None


def test_an_agreement_that_nobody_has_to_sign_is_adopted_as_it_is():
    Given(said("agreement.revised", signatories=[])).when(adopt).then_passes()


# What is said of a made decision

ACTS_ON_MADE = ("decision.acknowledged", "decision.reaffirmed", "decision.superseded")
instead = said("decision.made", decision="D-9")


@pytest.mark.parametrize("act", ACTS_ON_MADE)
def test_a_made_decision_is_acknowledged_reaffirmed_or_superseded(act: str):
    Given(raised, proposed, decided, instead).when(said(act)).then_passes()


@pytest.mark.parametrize("act", ACTS_ON_MADE)
def test_one_that_was_only_proposed_is_not(act: str):
    Given(raised, proposed, instead).when(said(act)).then_refused("/data/decision", "has not been made", retryable=True)


def test_what_was_superseded_is_reaffirmed_or_superseded_no_more():
    gone = Given(raised, decided, instead, said("decision.superseded"))
    gone.when(said("decision.reaffirmed")).then_refused("/data/decision", "was superseded by D-9")
    gone.when(said("decision.superseded", superseded_by="D-8")).against[0].message.index("was superseded by D-9")
    gone.when(said("decision.acknowledged")).then_passes()


def test_what_holds_instead_has_been_made():
    Given(raised, decided).when(said("decision.superseded")).then_refused(
        "/data/superseded_by", "the decision D-9 has not been made", retryable=True
    )


def test_no_decision_is_superseded_by_itself_nor_by_one_that_is():
    Given(raised, decided).when(said("decision.superseded", superseded_by="D-7")).then_refused(
        "/data/superseded_by", "not superseded by itself"
    )
    back = said("decision.superseded", decision="D-9", superseded_by="D-7")
    Given(raised, decided, instead, said("decision.superseded")).when(back).then_refused(
        "/data/superseded_by", "D-7 was superseded by D-9"
    )


def test_a_reaffirmation_saw_what_lies_before_it():
    Given(raised, decided).when(said("decision.reaffirmed", seen=HEAD)).then_passes()
    Given(raised, decided).when(said("decision.reaffirmed", seen=HEAD + 1)).then_refused("/data/seen", str(HEAD + 1))


def test_a_reaffirmation_saw_the_decision_itself():
    Given(raised, decided).when(said("decision.reaffirmed", seen=2)).then_passes()
    Given(raised, decided).when(said("decision.reaffirmed", seen=1)).then_refused("/data/seen", "it is at position 2")


# Retractions


def retraction(position: int, subject: str) -> Event:
    return said("event.retracted", position=position, subject=subject)


def test_an_observation_is_retracted_once():
    Given(raised, asked).when(retraction(2, "requirement/SSO-42")).then_passes()
    Given(raised, asked, retraction(2, "requirement/SSO-42")).when(retraction(2, "requirement/SSO-42")).then_refused(
        "/data/position", "retracted already"
    )


def test_what_is_retracted_is_there_and_is_what_it_is_said_to_be():
    Given(raised).when(retraction(2, "requirement/SSO-42")).then_refused("/data/position", "no event at position 2")
    Given(raised).when(retraction(1, "requirement/R-1")).then_refused("/data/subject", "is about requirement/SSO-42")


def test_an_act_is_not_retracted():
    Given(raised, proposed).when(retraction(2, "decision/D-7")).then_refused("/data/position", "undone by acts")
    Given(raised, asked, retraction(2, "requirement/SSO-42")).when(retraction(3, "requirement/SSO-42")).then_refused(
        "/data/position", "undone by acts"
    )


# Erasures


def redaction(position: int, subject: str = "requirement/SSO-42") -> Event:
    return said("text.redacted", position=position, subject=subject)


def test_a_sealed_text_is_redacted_once():
    Given(raised, asked).when(redaction(2)).then_passes()
    Given(raised, asked, redaction(2)).when(redaction(2)).then_refused("/data/position", "redacted already")
    # What was retracted has its words still.
    Given(asked, retraction(1, "requirement/SSO-42")).when(redaction(1)).then_passes()


def test_what_is_redacted_is_there_and_is_what_it_is_said_to_be_and_has_a_sealed_text():
    Given(asked).when(redaction(2)).then_refused("/data/position", "no event is there")
    Given(asked).when(redaction(1, "requirement/R-1")).then_refused("/data/subject", "belongs to requirement/SSO-42")
    for plain in (said("ask.recorded", quote=None), said("delivery.updated"), said("requirement.reworded")):
        Given(plain).when(redaction(1)).then_refused("/data/position", "has no sealed text")


def test_a_person_is_erased_of_whom_something_was_recorded():
    erasure = said("person.erased")
    Given(said("person.introduced", email=None)).when(erasure).then_passes()
    Given(asked).when(erasure).then_passes()  # About its contact, by a sealed quote.
    for other in (said("person.introduced", person="p-1"), said("ask.recorded", quote=None)):
        Given(other).when(erasure).then_refused("/data/person", "nothing sealed about p-81", retryable=True)
    Given(asked, erasure).when(erasure).then_passes()


def test_what_was_raised_in_error_is_not_decided_on():
    Given(raised, retraction(1, "requirement/SSO-42")).when(decided).then_refused(
        "/data/requirements/0", "neither been raised nor asked for", retryable=True
    )
    Given(raised, asked, retraction(1, "requirement/SSO-42")).when(decided).then_passes()


def test_what_this_version_does_not_know_may_be_an_act():
    named = Named("requirement/SSO-42", "ledger.requirement.adjourned.v1")
    act = retraction(1, "requirement/SSO-42")
    assert isinstance(act, EventRetracted)
    [objection] = against_retracting(act, named)
    assert (objection.pointer, objection.retryable) == ("/data/position", True)
    assert "does not know ledger.requirement.adjourned.v1" in objection.message


def test_a_claim_that_was_retracted_is_none():
    identified = said("account.identified", same_as=[{"system": "zen", "id": "1"}])
    merge = said("account.merged", account="acme", into="zen:1")
    Given(identified).when(merge).then_refused("/data/into", "counts for it already", retryable=True)
    Given(identified, retraction(1, "account/acme")).when(merge).then_passes()


def test_what_rules_read_of_an_account_or_a_requirement_is_asked_of_the_log():
    """They are not replayed, so what a statement does not name, no rule learns of."""
    statements = Path(questions.__file__).with_suffix(".sql").read_text()
    read = set()
    for name, example in EXAMPLES.items():
        event = msgspec.convert(example, EVENT_TYPES[name])
        kind, _, id = event.subject.partition("/")
        if kind in ("account", "requirement"):
            before = rules.replay(event.subject, [(1, said(f"{kind}.merged", **{kind: id}))])
            if rules.replay(event.subject, [(2, event)], before) != before:
                read.add(name)
    assert "ledger.requirement.unmerged.v1" in read and "ledger.account.profiled.v1" not in read
    assert [name for name in read if f"'{name}'" not in statements] == []
