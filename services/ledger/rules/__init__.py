"""The rules of acts: pure functions over immutable aggregates.

One module a subject. Each has an aggregate that holds only what its rules need, `evolve(state, event)` that folds
an event into it, and functions that yield what speaks against an act. An act declares the streams that its rule
reads; the sequencer hands them over as left by everything recorded before it.
"""

from collections.abc import Callable, Iterable, Iterator

from schemas.events import (
    AccountMerged,
    AccountUnmerged,
    Act,
    AgreementAdopted,
    AgreementEndorsed,
    AgreementRevised,
    AskMoved,
    DecisionAcknowledged,
    DecisionMade,
    DecisionProposed,
    DecisionReaffirmed,
    DecisionSuperseded,
    Event,
    EventRetracted,
    PersonErased,
    RequirementMerged,
    RequirementReworded,
    RequirementUnmerged,
    TextRedacted,
)
from services.ledger.rules.account import Account
from services.ledger.rules.agreement import Agreement
from services.ledger.rules.decision import Decision
from services.ledger.rules.erasure import against_erasing, against_redacting
from services.ledger.rules.objection import Objection
from services.ledger.rules.requirement import Requirement
from services.ledger.rules.retraction import Named, against_retracting
from services.ledger.rules.teams import unknown_teams

Aggregate = Account | Agreement | Decision | Requirement

_AGGREGATES: dict[str, type[Aggregate]] = {
    "account": Account,
    "agreement": Agreement,
    "decision": Decision,
    "requirement": Requirement,
}


def initial(subject: str) -> Aggregate | None:
    """The aggregate of a stream without events; None for a kind that no rule reads."""
    aggregate = _AGGREGATES.get(subject.partition("/")[0])
    return None if aggregate is None else aggregate()


def replay(subject: str, events: Iterable[tuple[int, Event]], state: Aggregate | None = None) -> Aggregate | None:
    """The aggregate of a stream after these events, each with its position, from `state` on."""
    state = initial(subject) if state is None else state
    for position, event in events:
        state = None if state is None else state.evolve(event, position)
    return state


def reads(act: Act) -> list[str]:
    """The subjects of the streams that the rule of this act reads."""
    match act:
        case DecisionProposed() | DecisionMade():
            return [act.subject, *(f"requirement/{requirement}" for requirement in act.requirements)]
        case AccountMerged() | RequirementMerged():
            return [act.subject, f"{act.KIND}/{act.into}"]
        case AskMoved():
            return [act.subject, f"requirement/{act.to}"]
        case DecisionSuperseded():
            return [act.subject, f"decision/{act.superseded_by}"]
        case EventRetracted() | TextRedacted() | PersonErased():
            return []
        case _:
            return [act.subject]


def objections(
    act: Act,
    stream: Callable[[str], Aggregate | None],
    named: Callable[[int], Named | None],
    spoken_of: Callable[[str], bool],
    *,
    position: int,
    teams: frozenset[str],
) -> Iterator[Objection]:
    """Everything that speaks against an act which would be recorded at `position`, in a ledger with these teams.

    `stream` gives the aggregate of each subject that the act reads, `named` what stands at a position that it names,
    `spoken_of` whether anything was recorded about a person.
    """
    yield from unknown_teams(act, teams)
    match act:
        case EventRetracted():
            yield from against_retracting(act, named(act.position))
        case TextRedacted():
            yield from against_redacting(act, named(act.position))
        case PersonErased():
            yield from against_erasing(act, spoken_of=spoken_of(act.person))
        case _:
            yield from _against(act, stream, position)


def _against(act: Act, stream: Callable[[str], Aggregate | None], position: int) -> Iterator[Objection]:
    """What the aggregates that an act reads have against it."""
    match act, stream(act.subject):
        case AgreementRevised(), Agreement() as agreement:
            yield from agreement.against_revising(act)
        case AgreementEndorsed(), Agreement() as agreement:
            yield from agreement.against_endorsing(act)
        case AgreementAdopted(), Agreement() as agreement:
            yield from agreement.against_adopting(act)
        case AccountMerged(), Account() as account:
            yield from account.against_merging(act, _account(stream, act.into))
        case AccountUnmerged(), Account() as account:
            yield from account.against_unmerging(act)
        case RequirementReworded(), Requirement() as requirement:
            yield from requirement.against_rewording(act)
        case RequirementMerged(), Requirement() as requirement:
            yield from requirement.against_merging(act, _requirement(stream, act.into))
        case RequirementUnmerged(), Requirement() as requirement:
            yield from requirement.against_unmerging(act)
        case AskMoved(), Requirement() as requirement:
            yield from requirement.against_moving(act, _requirement(stream, act.to))
        case DecisionProposed(), Decision() as decision:
            yield from decision.against_proposing(act)
            yield from _unheard_of(act.requirements, stream)
        case DecisionMade(), Decision() as decision:
            yield from decision.against_making(act, position)
            yield from _unheard_of(act.requirements, stream)
        case DecisionAcknowledged(), Decision() as decision:
            yield from decision.against_acknowledging(act)
        case DecisionReaffirmed(), Decision() as decision:
            yield from decision.against_reaffirming(act, position)
        case DecisionSuperseded(), Decision() as decision:
            yield from decision.against_superseding(act, _decision(stream, act.superseded_by))
        case _:
            raise NotImplementedError(f"{type(act).__name__} is an act without a rule")


def _unheard_of(requirements: Iterable[str], stream: Callable[[str], Aggregate | None]) -> Iterator[Objection]:
    for number, name in enumerate(requirements):
        yield from _requirement(stream, name).unheard_of(f"/data/requirements/{number}", name)


def _account(stream: Callable[[str], Aggregate | None], name: str) -> Account:
    found = stream(f"account/{name}")
    assert isinstance(found, Account), name
    return found


def _decision(stream: Callable[[str], Aggregate | None], name: str) -> Decision:
    found = stream(f"decision/{name}")
    assert isinstance(found, Decision), name
    return found


def _requirement(stream: Callable[[str], Aggregate | None], name: str) -> Requirement:
    found = stream(f"requirement/{name}")
    assert isinstance(found, Requirement), name
    return found
