"""What is looked up of a few accounts in columns is what lists of the same rows say: at each time, as known at each
position, whatever was retracted, repeated, said late, or said by other names."""

import random
from datetime import datetime, timedelta

import pytest

from services.projector.counting.of_few import FactsOfFew, revenue_of
from services.projector.judgement.lenses import Fact, Facts, FactsListed
from services.projector.judgement.revenue import Revenue
from tests.counting import ACCOUNTS, ATTRIBUTES, START, STEP, History, counted, some_history
from tests.property.test_standings_laws import revenue_by_account

LENGTH = 120
LOOKS = 300
UNHEARD_OF = "unheard-of"


def repeating(chance: random.Random) -> History:
    """A history in which systems say again now and then what one of them has said before."""
    history = some_history(chance, LENGTH)
    facts: list[Fact] = []
    for fact in history.facts:
        before = [each for each in facts if (each.account, each.attribute) == (fact.account, fact.attribute)]
        facts.append(fact._replace(value=before[-1].value) if before and chance.random() < 0.7 else fact)
    return history._replace(facts=facts)


@pytest.mark.parametrize("seed", range(12))
def test_facts_in_columns_are_those_in_lists(seed: int) -> None:
    chance = random.Random(f"of few {seed}")
    history = repeating(chance)
    listed: Facts = FactsListed(each._replace(until=history.retracted.get(each.position)) for each in history.facts)
    columns: Facts = FactsOfFew(counted(history, *sorted(chance.sample(range(1, LENGTH), 3))), [*ACCOUNTS, UNHEARD_OF])
    found = set()
    for _ in range(LOOKS):
        names = chance.sample([*ACCOUNTS, UNHEARD_OF], chance.randrange(1, 4))
        attributes = chance.sample([*ATTRIBUTES, UNHEARD_OF], 2)
        t, p = START + chance.randrange(LENGTH + 1) * STEP, chance.randrange(LENGTH + 1)
        for time in (t, t - timedelta(microseconds=1), datetime.max.replace(tzinfo=t.tzinfo)):
            assert columns.profile(names, attributes, time, p) == listed.profile(names, attributes, time, p)
            assert columns.upto(names, attributes[0], time, p) == listed.upto(names, attributes[0], time, p)
            found.add(columns.profile(names, attributes, time, p))
    assert len(found) > LENGTH // 4


@pytest.mark.parametrize("seed", range(12))
def test_revenue_of_few_is_that_of_all_whose_names_are_given(seed: int) -> None:
    chance = random.Random(f"revenue of few {seed}")
    history = some_history(chance, LENGTH)
    columns, accounts = counted(history, *sorted(chance.sample(range(1, LENGTH), 3))), history.lineage.accounts
    found: list[Revenue] = []
    for position in range(LENGTH + 1):
        every = revenue_by_account(history, position)
        for account in {accounts.root(name, position) for name in ACCOUNTS}:
            names = accounts.members(account, position)
            expected = {account: every[account]} if account in every else {}
            assert revenue_of(columns, names, accounts, position, history.now(position)) == expected
            found.extend(expected.values())
    assert len(found) > LENGTH // 2
