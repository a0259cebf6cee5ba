"""What a what-if foretells of decisions is what the list of decisions says once the same revision is adopted."""

import random

from hypothesis import given
from hypothesis import strategies as st

from services.projector.counting.decided import review
from services.projector.counting.whatif import Decided, Everybody, what_if
from services.projector.judgement.lenses import Adoption
from tests.counting import REQUIREMENTS, counted, some_history, some_revision
from tests.property.test_decided_laws import looked_at, some_decisions


@given(st.integers(0, 2**32), st.integers(5, 70))
def test_adopted_at_once_it_brings_the_reviews_that_were_foretold(seed: int, length: int) -> None:
    chance = random.Random(seed)
    history = some_history(chance, length)
    now, adopted_at = history.now(length), history.now(length + 1)
    # Nothing else comes into force in between.
    history = history._replace(
        adoptions=[each for each in history.adoptions if not now < each.in_force_from <= adopted_at]
    )
    decisions = some_decisions(chance, history)
    known = [each for each in decisions if all(one is None or one.position <= length for one in each)]
    columns, proposal = counted(history), some_revision(chance, "proposal")
    in_force = [each for each in sorted(history.adoptions, key=lambda each: each[:2]) if each.in_force_from <= now]
    looked = looked_at(columns, known)
    found = what_if(
        columns,
        Everybody.at(columns, length, now),
        in_force[-1].revision if in_force else None,
        proposal,
        judges_asks=True,
        requirements=columns.codes_of(sorted(REQUIREMENTS)),
        decisions=[
            Decided(f"D-{number}", number, known[number][0].outcome, each) for (number, _), each in looked.items()
        ],
    ).decisions
    foretold = {each.decided.position: (each.differ_before, each.differ_after) for each in found.affected}

    adoption = Adoption(adopted_at, length + 1, proposal)
    adopted = counted(history._replace(length=length + 1, adoptions=[*history.adoptions, adoption]))
    before = review(columns, looked, length, now).counts
    after = review(adopted, looked_at(adopted, known), length + 1, adopted_at).counts
    assert {key[0]: foretold.get(key[0], (0, 0)) for key in looked} == {
        key[0]: (before[key], after[key]) for key in looked
    }
    assert found.need_review == sum(count > 0 for count in after.values())
    assert found.need_review_newly == sum(count > 0 and not before[key] for key, count in after.items())
