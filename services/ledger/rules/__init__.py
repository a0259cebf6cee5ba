"""The rules of acts: pure functions over immutable aggregates.

One module a subject. Each has an aggregate that holds only what its rules need, `evolve(state, event)` that folds
an event into it, and functions that yield what speaks against an act. An act declares the streams that its rule
reads; the sequencer hands them over as left by everything recorded before it.
"""

from collections.abc import Callable, Iterable, Iterator

from schemas.events import (
    Act,
    AgreementAdopted,
    AgreementEndorsed,
    AgreementRevised,
    DecisionMade,
    DecisionProposed,
    Event,
    RequirementReworded,
)
from services.ledger.rules.agreement import Agreement
from services.ledger.rules.decision import Decision
from services.ledger.rules.objection import Objection
from services.ledger.rules.requirement import Requirement
from services.ledger.rules.teams import unknown_teams

Aggregate = Agreement | Decision | Requirement

_AGGREGATES: dict[str, type[Aggregate]] = {
    "agreement": Agreement,
    "decision": Decision,
    "requirement": Requirement,
}


def initial(subject: str) -> Aggregate | None:
    """The aggregate of a stream without events; None for a kind that no rule reads."""
    aggregate = _AGGREGATES.get(subject.partition("/")[0])
    return None if aggregate is None else aggregate()


def replay(subject: str, events: Iterable[Event], state: Aggregate | None = None) -> Aggregate | None:
    """The aggregate of a stream after these events, from `state` on."""
    state = initial(subject) if state is None else state
    for event in events:
        state = None if state is None else state.evolve(event)
    return state


def reads(act: Act) -> list[str]:
    """The subjects of the streams that the rule of this act reads."""
    match act:
        case DecisionProposed() | DecisionMade():
            return [act.subject, *(f"requirement/{requirement}" for requirement in act.requirements)]
        case _:
            return [act.subject]


def objections(
    act: Act, stream: Callable[[str], Aggregate | None], *, position: int, teams: frozenset[str]
) -> Iterator[Objection]:
    """Everything that speaks against an act which would be recorded at `position`, in a ledger with these teams.

    `stream` gives the aggregate of each subject that the act reads.
    """
    yield from unknown_teams(act, teams)
    match act, stream(act.subject):
        case AgreementRevised(), Agreement() as agreement:
            yield from agreement.against_revising(act)
        case AgreementEndorsed(), Agreement() as agreement:
            yield from agreement.against_endorsing(act)
        case AgreementAdopted(), Agreement() as agreement:
            yield from agreement.against_adopting(act)
        case RequirementReworded(), Requirement() as requirement:
            yield from requirement.against_rewording(act)
        case DecisionProposed(), Decision() as decision:
            yield from decision.against_proposing(act)
            yield from _unheard_of(act.requirements, stream)
        case DecisionMade(), Decision() as decision:
            yield from decision.against_making(act, position)
            yield from _unheard_of(act.requirements, stream)
        case _:
            raise NotImplementedError(f"{type(act).__name__} is an act without a rule")


def _unheard_of(requirements: Iterable[str], stream: Callable[[str], Aggregate | None]) -> Iterator[Objection]:
    for number, name in enumerate(requirements):
        match stream(f"requirement/{name}"):
            case Requirement(heard_of=True):
                pass
            case _:
                yield Objection(
                    f"/data/requirements/{number}",
                    f"the requirement {name} has neither been raised nor asked for",
                    retryable=True,
                )
