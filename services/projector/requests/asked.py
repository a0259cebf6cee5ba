"""What may be asked of each list, and which rows are chosen by it."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, UnsetType

from schemas.values import EventType, Id, Source, moment
from services.problems import Problem
from services.projector.answers import feedback
from services.projector.answers.decisions import Listed as ListedDecision
from services.projector.answers.promises import Promise, Subjects
from services.projector.answers.requirements import Listed, Sort
from services.projector.briefs.told import Voice
from services.projector.counting.judging import Lens
from services.projector.judgement.fit import Class, folded
from services.projector.judgement.period import Period
from services.projector.judgement.promises import Basis, State
from services.projector.requests import paging
from services.projector.requests.paging import Lists, Moment, Pages
from services.projector.shapes.decision import Grounds, Outcome
from services.projector.shapes.decision import State as DecisionState
from services.projector.shapes.shown import Status

SIMILAR_TO_CHARACTERS_MAX = 8_000

ClassAsked = Annotated[Class, Meta(description="of this class, as of now")]
WordsAsked = Annotated[str, Meta(max_length=200, description="words in the id or in what it is called")]
LimitWithSuggestions = Annotated[
    paging.Limit,
    Meta(
        description="rows of a page at most; with the scope personal, where rows come with suggestions,"
        f" {feedback.SUGGESTED_ROWS_MAX} are the most"
    ),
]
SimilarTo = Annotated[
    str, Meta(max_length=SIMILAR_TO_CHARACTERS_MAX, description="a text; those without a word are like nothing")
]
_YEARS = "^(19[0-9]{2}|[2-8][0-9]{3}|9[0-8][0-9]{2}|99[0-8][0-9]|999[0-8])-"  # YEAR_MIN to YEAR_MAX
InstantText = Annotated[
    str,
    Meta(
        max_length=40,
        description="periods that overlap with this one; a date (its first instant in UTC), or an RFC 3339 time",
        extra_json_schema={"anyOf": [{"format": "date"}, {"format": "date-time"}], "pattern": _YEARS},
    ),
]


def _bound(description: str) -> Any:
    """One end of a period in which something was said."""
    told = f"{description}; a date (its first instant in UTC), or an RFC 3339 time"
    form = {"anyOf": [{"format": "date"}, {"format": "date-time"}], "pattern": _YEARS}
    return Meta(max_length=40, description=told, extra_json_schema=form)


class RequirementAsked(Pages, frozen=True, kw_only=True):
    """`proof`: with what it takes to check the answer without the ledger."""

    proof: Annotated[bool, Meta(description="with what it takes to check the answer without the ledger")] = False


class RequirementsAsked(Lists, frozen=True, kw_only=True, rename={"class_": "class"}):
    """`class`: at least one account that asks is of it. `q`: words in id, title or area. `similar_to`: the requirements
    most like a text, best first; the other filters choose from them. They are one page, and have no other order."""

    status: Annotated[Status, Meta(description="what has been decided")] | UnsetType = UNSET
    class_: Annotated[Class, Meta(description="at least one account that asks is of it")] | UnsetType = UNSET
    area: Annotated[str, Meta(max_length=200, description="of this area, upper or lower case")] | UnsetType = UNSET
    q: WordsAsked | UnsetType = UNSET
    sort: Annotated[Sort, Meta(description="the order; by `revenue` in one `currency`")] = "voice"
    currency: (
        Annotated[str, Meta(pattern=r"^[A-Z]{3}$(?!\n)", description="ISO 4217; goes with `sort=revenue`")] | UnsetType
    ) = UNSET
    lens: Annotated[Lens, Meta(description="by the agreement of now, or by that of the day on which each asked")] = (
        "now"
    )
    similar_to: SimilarTo | UnsetType = UNSET


class FeedbackAsked(Lists, frozen=True, kw_only=True, rename={"class_": "class"}):
    """`account`: of the account that this name stands for, whatever the feedback calls it. `channel`: exactly this one,
    upper or lower case. `class`: of accounts of this class, as of now. With the scope personal, pages are shorter."""

    limit: LimitWithSuggestions = paging.PAGE_ROWS
    account: Annotated[Id, Meta(description="of the account that this name stands for")] | UnsetType = UNSET
    channel: Annotated[str, Meta(max_length=200, description="by this channel")] | UnsetType = UNSET
    class_: ClassAsked | UnsetType = UNSET


class AttributesAsked(Lists, frozen=True, kw_only=True):
    """`q`: words in the name. `used`: only those that bullets use, or only the others."""

    q: WordsAsked | UnsetType = UNSET
    used: Annotated[bool, Meta(description="only those that bullets use, or only the others")] | UnsetType = UNSET


class AccountsAsked(Lists, frozen=True, kw_only=True, rename={"class_": "class"}):
    """`q`: words in id or name. `alias`: the account that a name stands for, an id of it elsewhere as system:id."""

    class_: ClassAsked | UnsetType = UNSET
    q: WordsAsked | UnsetType = UNSET
    alias: Annotated[Id, Meta(description="the account that this stands for, as `system:id`")] | UnsetType = UNSET


class WhatIfAsked(Moment, frozen=True, kw_only=True):
    """`limit`: rows of each list. `new_attributes`: the proposal may look at attributes that no account has yet."""

    limit: Annotated[int, Meta(ge=1, le=paging.PAGE_ROWS_MAX, description="rows of each list at most")] = (
        paging.PAGE_ROWS
    )
    new_attributes: Annotated[bool, Meta(description="the proposal may look at attributes that no account has yet")] = (
        False
    )


class DecisionsAsked(Lists, frozen=True, kw_only=True):
    state: Annotated[DecisionState, Meta(description="how far they are")] | UnsetType = UNSET
    departs: (
        Annotated[Literal["no", "undetermined", "yes"], Meta(description="whether it departs from the agreement")]
        | UnsetType
    ) = UNSET
    outcome: Annotated[Outcome, Meta(description="what was decided")] | UnsetType = UNSET
    grounds: Annotated[Grounds, Meta(description="on what grounds")] | UnsetType = UNSET
    needs_review: Annotated[bool, Meta(description="whether what it rests on has changed")] | UnsetType = UNSET
    overdue: (
        Annotated[bool, Meta(description="whether its day has passed: to be decided by, or to be looked at again")]
        | UnsetType
    ) = UNSET


class BriefAsked(Moment, frozen=True, kw_only=True):
    voice: Annotated[Voice, Meta(description="for whom it is told")]


class RequirementBriefAsked(Moment, frozen=True, kw_only=True):
    """Of a requirement there is one voice: engineering works from the briefs of its decisions."""

    voice: Annotated[
        Literal["sales"],
        Meta(
            description="for whom it is told: engineering works from the briefs of its decisions, decisions/{id}/brief"
        ),
    ]


class PromisesAsked(Lists, frozen=True, kw_only=True, rename={"from_": "from"}):
    """`account`, `requirement`: of what this name stands for. `basis`: how they stood to decisions, as known when they
    were made. `infeasible`: against an assessment that said so, as known then. `from`, `to`: made in this period."""

    state: Annotated[State, Meta(description="where they stand")] | UnsetType = UNSET
    overdue: Annotated[bool, Meta(description="whether their day has passed and nobody said how they ended")] | (
        UnsetType
    ) = UNSET
    account: Annotated[Id, Meta(description="to the account that this name stands for")] | UnsetType = UNSET
    requirement: Annotated[Id, Meta(description="about what this requirement counts as")] | UnsetType = UNSET
    basis: (
        Annotated[Basis, Meta(description="how they stood to decisions, as known when they were made")] | UnsetType
    ) = UNSET
    infeasible: (
        Annotated[bool, Meta(description="whether a team had said that it cannot be done, as known then")] | UnsetType
    ) = UNSET
    from_: Annotated[str, _bound("made from then on")] | UnsetType = UNSET
    to: Annotated[str, _bound("made before then")] | UnsetType = UNSET


class AlignmentAsked(Moment, frozen=True, kw_only=True, rename={"from_": "from"}):
    """`from`, `to`: what was asked, decided and promised in this period."""

    from_: Annotated[str, _bound("asked, decided and promised from then on")] | UnsetType = UNSET
    to: Annotated[str, _bound("asked, decided and promised before then")] | UnsetType = UNSET


class ReconciliationAsked(Lists, frozen=True, kw_only=True, rename={"from_": "from"}):
    """`from`, `to`: periods that overlap with this one; each a date, or an RFC 3339 time."""

    source: Source | UnsetType = UNSET
    type: Annotated[EventType, Meta(description="counts of this event type")] | UnsetType = UNSET
    agrees: Annotated[bool, Meta(description="whether the emitter counted what is here")] | UnsetType = UNSET
    from_: InstantText | UnsetType = UNSET
    to: InstantText | UnsetType = UNSET


def choice(asked: Lists, keeps: Callable[[Any], bool]) -> Callable[[Any], bool] | None:
    """`keeps`, or None if nothing was asked for that could leave a row out."""
    own = set(asked.__struct_fields__) - set(Lists.__struct_fields__) - {"sort", "currency", "lens", "similar_to"}
    return keeps if any(getattr(asked, name) is not UNSET for name in own) else None


def is_requirement_asked_for(listed: Listed, asked: RequirementsAsked) -> bool:
    requirement, title, area, *_ = listed.heading
    return (
        asked.status in (UNSET, listed.status)
        and (asked.class_ is UNSET or listed.accounts[asked.class_] > 0)
        and (asked.area is UNSET or (area is not None and folded(area) == folded(asked.area)))
        and (asked.q is UNSET or mentions(asked.q, requirement, title, area))
    )


def is_decision_asked_for(row: ListedDecision, asked: DecisionsAsked) -> bool:
    return (
        asked.state in (UNSET, row.state)
        and asked.departs in (UNSET, row.departs)
        and asked.outcome in (UNSET, row.outcome)
        and asked.grounds in (UNSET, row.grounds)
        and asked.needs_review in (UNSET, row.needs_review)
        and asked.overdue in (UNSET, row.overdue)
    )


def is_promise_asked_for(promise: Promise, asked: PromisesAsked, of: Subjects, period: Period) -> bool:
    row = promise.row
    return (
        asked.state in (UNSET, row.state)
        and asked.overdue in (UNSET, row.overdue)
        and of.account in (None, row.account)
        and of.requirement in (None, row.requirement)
        and asked.basis in (UNSET, row.basis)
        and asked.infeasible in (UNSET, bool(row.infeasible))
        and period.holds(promise.made)
    )


def mentions(words: str, *texts: str | None) -> bool:
    """Whether each of the words is part of one of the texts."""
    whole = folded("\n".join(text for text in texts if text))
    return all(word in whole for word in folded(words).split())


def period(from_: str | UnsetType, to: str | UnsetType) -> Period:
    """The period that `from` and `to` name. Raises Problem if it ends before it begins."""
    asked = Period(since=instant(from_, "from"), until=instant(to, "to"))
    if asked.since is not None and asked.until is not None and asked.since > asked.until:
        raise Problem("bad-parameter", "`from` is after `to`", parameter="from")
    return asked


def instant(text: str | UnsetType, parameter: str) -> datetime | None:
    """The instant that a parameter names. Raises Problem."""
    if text is UNSET:
        return None
    try:
        # In a query, a plus sign that was not escaped arrives as a space.
        return moment(text.replace(" ", "+"))
    except ValueError as error:
        raise Problem("bad-parameter", f"`{parameter}`: {error}", parameter=parameter) from None
