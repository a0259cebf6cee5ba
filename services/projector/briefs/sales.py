"""The brief that says what may be said, in sentences: no debate, no name, nothing that is not on record."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any

from services.projector.briefs.record import (
    MADE,
    MERGED,
    PROMISES_CITED_MAX,
    GaveWay,
    OnRecord,
    common_members,
    due_first,
    holds_itself_on,
    plain_words_of,
    state_of,
    undecided_on,
)
from services.projector.briefs.told import Feasibility, Holding, Pending, RequirementBrief, SalesBrief, Statement
from services.projector.shapes.decision import OneDecision, Outcome
from services.projector.shapes.shown import AsOf, Role, Status, show_role

PROMISES_TOLD_MAX = 5
"""Open promises that a sentence tells one by one, those due first."""


def sales_brief(on_record: OnRecord) -> SalesBrief:
    """What may be said of a decision, proposed or made."""
    return SalesBrief(**common_members(on_record), **_sales(on_record, on_record.holds))


def requirement_brief(
    on_record: OnRecord, *, requirement: str, into: str | None, status: Status, pending: Sequence[Pending]
) -> RequirementBrief:
    """What may be said of a requirement. `into`: what it counts as, if it was merged; the brief is that one's.

    `on_record` has the decision that holds on it, if one does. What others say of that one's other requirements is not
    said here in sentences.
    """
    common, sales = common_members(on_record), _sales(on_record, ())
    told = [*_merged(on_record, requirement, into), *sales.pop("statements")]
    waiting = [each for each in pending if on_record.one is None or each.decision != on_record.one.decision]
    if on_record.one is not None and state_of(on_record) == "made":
        told += [
            Statement(text=f"Another decision on it is being prepared ({each.decision}).", events=[each.position])
            for each in waiting
        ]
    title = next((each.title for each in on_record.requirements if each.requirement == (into or requirement)), None)
    return RequirementBrief(
        **common,
        **sales,
        statements=told,
        requirement=requirement,
        into=into,
        title=title,
        status=status,
        pending=[*waiting],
    )


NOT_DECIDED = "Not decided yet; nothing may be promised."


NO_PROMISE = "Nothing may be promised."


EXCEPTION = "This is an exception from the target market: it is not an offer to other customers."


DECIDED: Mapping[Outcome, str] = {
    "commit": "it will be done",
    "decline": "it will not be done",
    "defer": "it was put off",
    "explore": "it is being explored; whether it will be done is open",
}


FEASIBILITIES: Mapping[Feasibility, str] = {
    "feasible": "it can be built as asked",
    "costly": "it can be built as asked, and that costs much",
    "infeasible": "it cannot be built as asked",
    "unknown": "whether it can be built as asked is not known",
}


DELIVERY_STATES: Mapping[str, str] = {
    "planned": "planned",
    "in_progress": "in progress",
    "beta": "in beta",
    "shipped": "shipped",
    "cancelled": "cancelled",
}


def _sales(on_record: OnRecord, others: Sequence[Holding]) -> dict[str, Any]:
    """The members that SalesBrief has besides the common ones. `others`: the decisions that sentences tell besides."""
    one = on_record.one
    plain = plain_words_of(on_record)
    return {
        "stands_behind": roles(show_role(by) for by in one.deciders)
        if one is not None and holds_itself_on(on_record)
        else [],
        "plain_words": plain,
        "statements": [
            *_decided(on_record, others),
            *_delivered(on_record),
            *(
                Statement(
                    text=f"{_mentioned(on_record, each.requirement)}, {each.team}: {FEASIBILITIES[each.feasibility]}"
                    f" (said on {each.time[:10]}).{f' {each.plain}' if each.plain else ''}",
                    events=[each.position],
                )
                for each in plain
            ),
            *_promised(on_record),
        ],
    }


def _decided(on_record: OnRecord, others: Sequence[Holding]) -> list[Statement]:
    """What was decided, in plain language; the first sentence is what counts."""
    one = on_record.one
    if one is None:
        return _holds_no_more(on_record) or [Statement(text=NOT_DECIDED, events=[])]
    if one.position is None:
        return [*_proposed(on_record, one, others), *_others(on_record, others)]
    if not holds_itself_on(on_record):
        return [_gave_way(on_record, one), *_others(on_record, others)]
    return [*_made(on_record, one), *_others(on_record, others)]


def _proposed(on_record: OnRecord, one: OneDecision, others: Sequence[Holding]) -> list[Statement]:
    assert one.proposed is not None  # It was either made or proposed.
    by, events = one.proposed.decide_by, [one.proposed.position]
    text = " ".join([f"{one.decision} is not decided yet.", *_undecided(on_record)]) if others else NOT_DECIDED
    told = [Statement(text=text, events=events)]
    if by is not None:
        text = f"It was to be decided by {by}." if one.overdue else f"It is to be decided by {by}."
        told.append(Statement(text=text, events=events))
    return told + _holds_no_more(on_record)


def _made(on_record: OnRecord, one: OneDecision) -> list[Statement]:
    """A decision that holds, on all that it is about or on a part."""
    assert one.position is not None
    assert one.outcome is not None
    assert one.time is not None
    made, on = [one.position], f", and holds on {', '.join(holds_itself_on(on_record))}" if on_record.holds else ""
    told = [Statement(text=f"Decided on {one.time[:10]}{on}: {DECIDED[one.outcome]}.", events=made)]
    told += _guidance(one, made)
    if one.revisit is not None:
        told.append(Statement(text=f"{to_be_looked_at_again(one.revisit, one.overdue, on_record.as_of)}.", events=made))
    if one.reaffirmations:
        last = one.reaffirmations[-1]
        told.append(Statement(text=f"It was looked at again on {last.time[:10]}, and stands.", events=[last.position]))
    told.append(Statement(text=f"Who stands behind it: {_listed(show_role(by) for by in one.deciders)}.", events=made))
    if one.needs_review:
        until_then = (
            "Until then it holds; ask those who stand behind it before you promise more."
            if one.outcome == "commit"
            else f"Until then it holds. {NO_PROMISE}"
        )
        told.append(
            Statement(
                text=f"What it rests on has changed since, and it is to be looked at again. {until_then}",
                events=[each.position for each in one.needs_review],
            )
        )
    return told


def _gave_way(on_record: OnRecord, one: OneDecision) -> Statement:
    """That a made decision holds no more, and where nothing is decided in its place."""
    assert one.position is not None
    chain = on_record.gave_way.get(one.decision, ())
    since = "" if one.superseded_by is None else f" since {one.superseded_by.time[:10]}"
    why = f" ({superseded_by(chain)})" if chain else ""
    return Statement(
        text=" ".join([f"{one.decision} holds no more{since}{why}.", *_undecided(on_record)]),
        events=[one.position, *_events_of(chain)],
    )


def _undecided(on_record: OnRecord) -> list[str]:
    names = undecided_on(on_record)
    return [undecided(names)] if names else []


def _holds_no_more(on_record: OnRecord) -> list[Statement]:
    """The decisions of before on a requirement where none holds."""
    before = {
        name: chain for name, chain in on_record.gave_way.items() if not on_record.one or name != on_record.one.decision
    }
    if not before:
        return []
    told = "; ".join(f"{name} was {superseded_by(chain)}" for name, chain in before.items())
    made = [
        each.position for each in on_record.settled if each.type == MADE and each.subject[len("decision/") :] in before
    ]
    events = sorted({*made, *(event for chain in before.values() for event in _events_of(chain))})
    return [Statement(text=f"Decided before, and holds no more: {told}. {NO_PROMISE}", events=events)]


def _others(on_record: OnRecord, others: Sequence[Holding]) -> list[Statement]:
    """The other decisions that hold on what this one is about; where there are several, each sentence says on what."""
    alone = len(others) == 1 and not holds_itself_on(on_record) and not undecided_on(on_record)
    told: list[Statement] = []
    for each in others:
        on, made = "" if alone else f"On {', '.join(each.requirements)}: ", [each.position]
        told.append(Statement(text=f"{holds_on(each)}.", events=made))
        told += [Statement(text=on + said.text, events=said.events) for said in _guidance(each, made)]
        told.append(Statement(text=f"{on}Who stands behind it: {_listed(each.stands_behind)}.", events=made))
    return told


def holds_on(each: Holding) -> str:
    """Which decision holds on which requirements."""
    on = ", ".join(each.requirements)
    return f"On {on} {each.decision} holds, decided on {each.time[:10]}: {DECIDED[each.outcome]}"


def undecided(requirements: Sequence[str]) -> str:
    """That no decision holds on these requirements."""
    return f"On {', '.join(requirements)} nothing is decided: nothing may be promised."


def superseded_by(chain: Sequence[GaveWay]) -> str:
    """To what a decision gave way, and that in its turn."""
    return "superseded by " + ", and that by ".join(
        each.superseded_by + (f", which is about {', '.join(each.about)}" if each.about else "") for each in chain
    )


def _events_of(chain: Sequence[GaveWay]) -> list[int]:
    return [event for each in chain for event in each.events]


def _guidance(holding: OneDecision | Holding, made: list[int]) -> list[Statement]:
    """What to do, what to tell, to whom, from when and how sure; what is not fresh is told with its age."""
    told = [f"What everyone does now{_stale(holding, 'act on it')}: {holding.instruction}"]
    if holding.tell_customer is not None:
        told.append(f"Customers may be told{_stale(holding, 'repeat it')}: {holding.tell_customer}")
    else:
        told.append("No words for customers are on record; ask those who stand behind it.")
    if holding.grounds == "exception" and holding.outcome != "decline":
        told.append(EXCEPTION)
    if holding.available is not None:
        told.append(f"Available from {holding.available.from_}; how sure: {holding.available.confidence}.")
    elif holding.outcome == "commit":
        told.append("No date is on record; none may be promised.")
    if holding.outcome != "commit":
        told.append(NO_PROMISE)
    return [Statement(text=each, events=made) for each in told]


def _stale(holding: OneDecision | Holding, use: str) -> str:
    """What stands beside words whose day to be looked at again has passed; empty while they are fresh."""
    if not holding.overdue or holding.time is None:
        return ""
    return (
        f" (said on {holding.time[:10]}; it was to be looked at again on {holding.revisit}, and that has not happened:"
        f" ask before you {use})"
    )


def to_be_looked_at_again(revisit: date, overdue: bool, as_of: AsOf) -> str:
    """That a decision is to be looked at again, or was."""
    if overdue:
        return f"It was to be looked at again on {revisit}, and that has not happened"
    passed = as_of.recordedtime is not None and str(revisit) < as_of.recordedtime[:10]
    return f"It {'was' if passed else 'is'} to be looked at again on {revisit}"


def _delivered(on_record: OnRecord) -> list[Statement]:
    return [
        Statement(
            text=f"{_mentioned(on_record, each.requirement)}: {DELIVERY_STATES[each.delivery.state]}"
            + (f", target {each.delivery.target}" if each.delivery.target else "")
            + f" (said on {each.delivery.time[:10]}).",
            events=[each.delivery.position],
        )
        for each in on_record.requirements
        if each.delivery is not None
    ]


def _promised(on_record: OnRecord) -> list[Statement]:
    if not on_record.promises:
        return []
    promises, count = due_first(on_record), len(on_record.promises)
    told = [
        f"to {f'{each.name} ({each.account})' if each.name else each.account}, "
        + (f"due on {each.due}" if each.due else "with no due day")
        for each in promises[:PROMISES_TOLD_MAX]
    ]
    more = f"; and {count - len(told)} more" if count > len(told) else ""
    return [
        Statement(
            text=("One promise of it is open: " if count == 1 else f"{count} promises of it are open: ")
            + f"{'; '.join(told)}{more}.",
            events=[each.position for each in promises[:PROMISES_CITED_MAX]],
        )
    ]


def _merged(on_record: OnRecord, requirement: str, into: str | None) -> list[Statement]:
    if into is None:
        return []
    merges = [each.position for each in on_record.cited if each.type == MERGED]
    return [Statement(text=f"{requirement} counts as {into}; what follows is about {into}.", events=merges)]


def _mentioned(on_record: OnRecord, requirement: str) -> str:
    """A requirement as a sentence names it."""
    title = next((each.title for each in on_record.requirements if each.requirement == requirement), None)
    return f"{title} ({requirement})" if title else requirement


def roles(each: Iterable[Role]) -> list[Role]:
    """Each role of each team once: two persons of one role stand behind it no more than one does."""
    return [*dict.fromkeys(each)]


def _listed(who: Iterable[Role]) -> str:
    return ", ".join(f"{each.role} ({each.team})" for each in roles(who))
