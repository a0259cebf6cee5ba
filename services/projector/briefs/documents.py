"""Briefs as markdown: a decision record in the format MADR 4.0 for engineering, a page for sales. Pure.

What both tell of the decision itself is one list, `_facts`. Texts of events go in escaped.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from schemas.events import Available, Option
from services.projector.briefs.markdown import block, document, front_matter, heading, inline, items
from services.projector.briefs.sales import DELIVERY_STATES, EXCEPTION, holds_on, to_be_looked_at_again, undecided
from services.projector.briefs.told import (
    AssessmentTold,
    Brief,
    EngineeringBrief,
    FitTold,
    PerspectiveTold,
    RequirementBrief,
    RequirementTold,
    SalesBrief,
)
from services.projector.judgement.fit import Class
from services.projector.judgement.revenue import Money
from services.projector.judgement.review import Mark

TITLES_MAX = 3
"""Requirements that the title of a document names."""

_OUTCOMES = {"commit": "Commit", "decline": "Decline", "defer": "Defer", "explore": "Explore"}
_CLASSES: dict[Class, str] = {
    "on_target": "on target",
    "off_target": "off target",
    "undetermined": "undetermined",
    "exploratory": "exploratory",
}
_DEPARTS = {
    "no": "It does not depart from the agreement: somebody who asked was on target as decided.",
    "undetermined": "Whether it departs from the agreement is undetermined: none who asked was on target for certain.",
    "yes": "It departs from the agreement: all who asked were off target as decided.",
}
_VERDICTS = {"good": "Good", "neutral": "Neutral", "bad": "Bad"}


def madr(brief: EngineeringBrief) -> str:
    """A decision record: https://adr.github.io/madr, version 4.0."""
    titles = _option_titles(brief)
    return document(
        [
            front_matter(_metadata(brief)),
            heading(1, f"{_subject(brief.requirements)}: {_status(brief)} ({brief.decision})"),
            heading(2, "Context and Problem Statement"),
            block(brief.question) if brief.question else "No question was put on record; it was decided directly.",
            "It is about these requirements:",
            items(map(_requirement, brief.requirements)),
            *([heading(2, "Decision Drivers"), items(map(inline, brief.drivers))] if brief.drivers else []),
            heading(2, "Considered Options"),
            items(map(inline, titles.values())),
            heading(2, "Decision Outcome"),
            *_outcome(brief, titles),
            *_pros_and_cons(brief, titles),
            heading(2, "More Information"),
            items(_facts(brief)),
            *_evidence(brief),
            *_assessments(brief.assessments),
            *_perspectives(brief.perspectives),
            heading(3, "Events"),
            *_events(brief),
        ]
    )


def page(brief: SalesBrief) -> str:
    """What may be said, on one page."""
    about = _subject(brief.requirements)
    return document(
        [
            heading(1, f"{about}: what may be said now"),
            items(inline(each.text) for each in brief.statements),
            heading(2, "Facts"),
            items(_facts(brief)),
            heading(2, "Events"),
            *_events(brief),
        ]
    )


def file_name(brief: Brief) -> str:
    """A name for the document: of a decision record with the number in front that readers of such records expect."""
    name = brief.requirement if isinstance(brief, RequirementBrief) else brief.decision or ""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not isinstance(brief, EngineeringBrief):
        return f"{slug}-sales.md"
    numbers = re.findall(r"[0-9]+", name)
    number = int(numbers[-1][-9:]) if numbers else min(each.position for each in brief.events)
    return f"{number:04d}-{slug}.md"


# What both documents tell


def _facts(brief: Brief) -> Iterator[str]:
    """What was decided, in lines that are the same for each voice."""
    if brief.decision is not None:
        yield f"Decision: {inline(brief.decision)}"
    yield f"State: {brief.state}"
    yield f"Requirements: {', '.join(inline(each.requirement) for each in brief.requirements)}"
    if brief.outcome is not None:
        yield f"Outcome: {brief.outcome}"
    if brief.proposed_on is not None:
        yield f"Proposed on: {brief.proposed_on[:10]}"
    if brief.since is not None:
        yield f"Decided on: {brief.since[:10]}"
    if brief.decide_by is not None and brief.state == "proposed":
        yield f"Decide by: {brief.decide_by}"
    if brief.available is not None:
        yield f"Available from: {_available(brief.available)}"
    if brief.revisit is not None:
        yield f"Look at again on: {brief.revisit}"
    if brief.reaffirmed_on is not None:
        yield f"Reaffirmed on: {brief.reaffirmed_on[:10]}"
    if brief.superseded_by is not None:
        yield f"Superseded by: {inline(brief.superseded_by.decision)}"
    if brief.holds:
        held = (f"{inline(each.decision)} (on {_names(each.requirements)})" for each in brief.holds)
        yield f"Other decisions that hold: {', '.join(held)}"
    if brief.undecided_on:
        yield f"Nothing is decided on: {_names(brief.undecided_on)}"
    yield f"Needs review: {'yes' if brief.needs_review else 'no'}"
    yield f"Overdue: {_overdue(brief)}"
    yield f"Open promises: {brief.promises.open}"
    yield f"As of position: {brief.as_of.position}"


def _names(requirements: Iterable[str]) -> str:
    return ", ".join(map(inline, requirements))


def _overdue(brief: Brief) -> str:
    if not brief.overdue:
        return "no"
    if brief.state == "proposed":
        return f"yes, it was to be decided by {brief.decide_by}"
    return f"yes, it was to be looked at again on {brief.revisit}"


def _available(available: Available) -> str:
    return f"{inline(available.from_)}, confidence {available.confidence}"


def _events(brief: Brief) -> Iterator[str]:
    if not brief.events:
        yield "Nothing was recorded that this rests on."
        return
    yield "What this rests on, by position in the log:"
    yield items(f"{each.position}: {inline(each.type)}, {inline(each.subject)}" for each in brief.events)


def _subject(requirements: Iterable[RequirementTold]) -> str:
    """What a document is about, for its title."""
    names = [each.title or each.requirement for each in requirements]
    more = f" and {len(names) - TITLES_MAX} more" if len(names) > TITLES_MAX else ""
    return ", ".join(names[:TITLES_MAX]) + more


def _requirement(told: RequirementTold) -> str:
    title = f"{inline(told.title)} ({inline(told.requirement)})" if told.title else inline(told.requirement)
    return title + (f", which counts as {inline(told.into)}" if told.into else "")


# The decision record


def _status(brief: EngineeringBrief) -> str:
    match brief.state:
        case "superseded" if brief.superseded_by is not None:
            return f"superseded by {brief.superseded_by.decision}"
        case "made":
            return "accepted"
        case _:
            return "proposed"


def _metadata(brief: EngineeringBrief) -> Iterator[tuple[str, str]]:
    yield "status", _status(brief)
    yield "date", (brief.since or brief.proposed_on or "")[:10]
    if brief.deciders:
        yield "decision-makers", ", ".join(f"{each.role} ({each.team})" for each in brief.deciders)
    if brief.consulted:
        yield "consulted", ", ".join(f"{each.role} ({each.team})" for each in brief.consulted)
    if brief.informed:
        yield "informed", ", ".join(brief.informed)


def _option_titles(brief: EngineeringBrief) -> dict[str | None, str]:
    """Option → its title; under None what was decided without naming one. Titles are told apart by their ids."""
    titles: dict[str | None, str] = {each.option: each.summary for each in brief.options}
    if len({*map(inline, titles.values())}) < len(titles):
        titles = {option: f"{summary} ({option})" for option, summary in titles.items()}
    if brief.option is not None:
        titles.setdefault(brief.option, brief.option)
    elif brief.outcome is not None:
        titles[None] = _OUTCOMES[brief.outcome]
    return titles or {None: "None were proposed yet"}


def _outcome(brief: EngineeringBrief, titles: dict[str | None, str]) -> Iterator[str]:
    if brief.outcome is None or brief.rationale is None:
        yield "Nothing is decided yet." + (f" It is to be decided by {brief.decide_by}." if brief.decide_by else "")
        return
    yield f'Chosen option: "{inline(titles[brief.option])}", because {_quoted(block(brief.rationale))}'
    yield heading(3, "Consequences")
    yield items(_consequences(brief))
    yield heading(3, "Confirmation")
    yield items(_confirmation(brief))


def _consequences(brief: EngineeringBrief) -> Iterator[str]:
    assert brief.outcome is not None
    yield f"Outcome: {brief.outcome}, on grounds of {brief.grounds}"
    if brief.instruction is not None:
        yield f"What everyone does now: {inline(brief.instruction)}"
    if brief.instruction_then is not None:
        yield f"What everyone was to do: {inline(brief.instruction_then)}"
    if brief.tell_customer is not None:
        yield f"Customers may be told: {inline(brief.tell_customer)}"
    if brief.tell_customer_then is not None:
        yield f"Customers were to be told: {inline(brief.tell_customer_then)}"
    if brief.available is not None:
        yield f"{'Available' if brief.holds_on else 'It was to be available'} from {_available(brief.available)}"
    if brief.grounds == "exception" and brief.outcome != "decline":
        yield EXCEPTION if brief.holds_on else "It was an exception from the target market."
    for other in brief.holds:
        yield f"{inline(holds_on(other))}. What everyone does there now: {inline(other.instruction)}"
    if brief.undecided_on:
        yield inline(undecided(brief.undecided_on))
    for each in brief.dissent:
        yield f"Dissent of {inline(each.team)}: {inline(each.statement)}"


def _confirmation(brief: EngineeringBrief) -> Iterator[str]:
    for each in brief.requirements:
        if each.delivery is None:
            yield f"{inline(each.requirement)}: no delivery is on record"
        else:
            target = f", target {each.delivery.target}" if each.delivery.target else ""
            state = DELIVERY_STATES[each.delivery.state]
            yield f"{inline(each.requirement)}: {state}{target} (position {each.delivery.position})"
    if brief.revisit is not None and brief.holds_on:
        yield to_be_looked_at_again(brief.revisit, brief.overdue, brief.as_of)
    if brief.acknowledged:
        yield f"Taken note of by {', '.join(map(inline, dict.fromkeys(brief.acknowledged)))}"
    for mark in brief.marks:
        yield _mark(mark)
    for again in brief.reaffirmations:
        yield f"It was reaffirmed on {again.time[:10]} (position {again.position}): {inline(again.reason)}"
    if brief.superseded_by is not None:
        gave_way = brief.superseded_by
        yield (
            f"It gave way to {inline(gave_way.decision)} on {gave_way.time[:10]} (position {gave_way.position}):"
            f" {inline(gave_way.reason)}"
        )


def _mark(mark: Mark) -> str:
    classes = ", ".join(
        f"{inline(each.account)} from {_CLASSES[each.as_decided]}"
        + (f" to {_CLASSES[each.as_now]}" if each.as_now else " to not asking")
        for each in mark.classes
    )
    return (
        f"It needs review, {mark.kind.replace('_', ' ')} (position {mark.position}): {inline(mark.input)}"
        f" from {_value(mark.from_)} to {_value(mark.to)}; {classes}"
    )


def _value(value: Any) -> str:
    return inline(msgspec.json.encode(value).decode())


def _pros_and_cons(brief: EngineeringBrief, titles: dict[str | None, str]) -> Iterator[str]:
    if not any(each.arguments for each in brief.options):
        return
    yield heading(2, "Pros and Cons of the Options")
    for option in brief.options:
        yield heading(3, titles[option.option])
        yield items(_arguments(option)) or "No arguments are on record."


def _arguments(option: Option) -> Iterator[str]:
    for verdict, word in _VERDICTS.items():
        for each in option.arguments:
            if each.verdict == verdict:
                yield f"{word}, because {_quoted(inline(each.text))}" + (f" ({inline(each.team)})" if each.team else "")


def _quoted(text: str) -> str:
    """A sentence of somebody's after a word of ours, which keeps its own capital and full stop."""
    return f"“{text}”"


def _evidence(brief: EngineeringBrief) -> Iterator[str]:
    yield heading(3, "Evidence")
    evidence = brief.evidence
    if brief.departs is not None:
        yield _DEPARTS[brief.departs]
    if brief.revision is not None:
        yield f"The agreement in force for the deciders: {inline(f'{brief.agreement}@{brief.revision}')}."
    counted = ", ".join(f"{count} {_CLASSES[each]}" for each, count in evidence.accounts.items() if count)
    lens = "as the deciders knew them" if evidence.lens == "decided" else "as they are now"
    if not evidence.total:
        yield "No account had asked, as far as the deciders could know." if brief.outcome else "No account asks for it."
        return
    shown = f"; the {len(evidence.fits)} weightiest are these" if evidence.total > len(evidence.fits) else ""
    yield f"Accounts that asked, {lens}: {evidence.total} ({counted}){shown}."
    yield items(map(_fit_line, evidence.fits))
    yield from _at_stake(evidence.at_stake or {})


def _fit_line(fit: FitTold) -> str:
    name = f"{inline(fit.name)} ({inline(fit.account)})" if fit.name else inline(fit.account)
    share = f", fit {fit.fit}" if fit.fit is not None else ""
    verdicts = "; ".join(
        f"{verdict}: {', '.join(map(inline, bullets))}"
        for verdict, bullets in (("met", fit.met), ("missed", fit.missed), ("unknown", fit.unknown))
        if bullets
    )
    return (
        f"{name}, importance {fit.importance} for {inline(fit.requirement)}: {_CLASSES[fit.class_]}{share}"
        + (f"; {verdicts}" if verdicts else "")
        + (f"; {fit.ended} since" if fit.ended else "")
    )


def _at_stake(at_stake: Mapping[str, list[Money]]) -> Iterator[str]:
    amounts = [
        f"{name}: {each.contracted} {each.currency} contracted, {each.pipeline} {each.currency} in the pipeline"
        for name, money in at_stake.items()
        for each in money
    ]
    if amounts:
        yield "The revenue that argued for it, by class as decided:"
        yield items(amounts)


def _assessments(assessments: list[AssessmentTold]) -> Iterator[str]:
    if not assessments:
        return
    yield heading(3, "Assessments")
    yield items(
        f"{inline(each.by.role)} ({inline(each.by.team)}) on {inline(each.requirement)}: {each.feasibility}"
        + (f", {each.effort.low:g} to {each.effort.high:g} {inline(each.effort.unit)}" if each.effort else "")
        + (f"; risks: {'; '.join(map(inline, each.risks))}" if each.risks else "")
        + (f". {inline(each.plain)}" if each.plain else "")
        + f" ({_when(each)})"
        for each in assessments
    )


def _perspectives(perspectives: list[PerspectiveTold]) -> Iterator[str]:
    if not perspectives:
        return
    yield heading(3, "Perspectives")
    yield items(
        f"{inline(each.team)} on {inline(each.requirement)}"
        + (f", of {inline(each.decision)}" if each.decision else "")
        + f": {inline(each.statement)} ({_when(each)})"
        for each in perspectives
    )


def _when(told: AssessmentTold | PerspectiveTold) -> str:
    known = {True: ", on record for the deciders", False: ", not on record for the deciders", None: ""}[told.known]
    return f"position {told.position}{known}"
