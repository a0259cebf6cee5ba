"""What off-target askers share: against an oracle that judges the test of every cluster by the rules of a fit."""

from collections import Counter
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from schemas.criteria import All, Eq, Gt, Has, Lte, Test
from services.projector.counting.clusters import (
    ASKERS_MIN,
    LIFT_MIN,
    RANGES_MAX,
    Shared,
    clusters,
    settling,
)
from services.projector.judgement.fit import judge

ACCOUNTS = [f"a-{number:02d}" for number in range(24)]
ATTRIBUTES = ["kind", "size"]

VALUES: list[Any] = [
    *("shop", "Shop", "bank", "clinic", "Straße", "STRASSE"),
    *(True, False),
    *range(9),
    *(0.5, 2.0, 1e300, 2**63 - 1),
    *([], ["eu"], ["eu", "EU", "us"], ["us"], ["Asia", "us"]),
]

Profiles = dict[tuple[str, str], Any]


@st.composite
def demands(draw: st.DrawFn) -> tuple[Profiles, set[str]]:
    """Accounts with what is known of them, and who of them asks and is off target: these are often alike."""
    chance = draw(st.randoms(use_true_random=False))
    off = {*chance.sample(ACCOUNTS, chance.randint(0, 9))}
    profile: Profiles = {}
    for attribute in ATTRIBUTES:
        shared = chance.sample(VALUES, 2)
        usual = VALUES if chance.random() < 0.5 else chance.sample(VALUES, 3)
        for account in ACCOUNTS:
            alike = account in off and chance.random() < 0.6
            if chance.random() < 0.9:
                profile[account, attribute] = chance.choice(shared if alike else usual)
    return profile, off


def known(profile: Profiles, off: Iterable[str]) -> list[Shared]:
    texts = {key: msgspec.json.encode(value).decode() for key, value in profile.items()}
    return [
        Shared(
            attribute=attribute,
            accounts=Counter(text for (_, name), text in texts.items() if name == attribute),
            askers={account: text for (account, name), text in texts.items() if name == attribute and account in off},
        )
        for attribute in dict.fromkeys(name for _, name in texts)
    ]


def possible_tests(attribute: str, having: Sequence[Any]) -> list[Test]:
    """Every test that a cluster of an attribute with these values may have; some say the same."""
    found: list[Test] = []
    numbers: list[Any] = sorted(value for value in having if not isinstance(value, bool | str | list))
    bounds = sorted({numbers[-(-len(numbers) * part // 4) - 1] for part in (1, 2, 3)}) if numbers else []
    for value in having:
        match value:
            case list():
                found += [Has(attribute=attribute, value=each) for each in value]
            case bool() | str():
                found.append(Eq(attribute=attribute, value=value))
            case _ if len(set(numbers)) <= RANGES_MAX:
                found.append(Eq(attribute=attribute, value=value))
            case _:
                above = [Gt(attribute=attribute, value=bound) for bound in bounds if bound < value][-1:]
                upto = [Lte(attribute=attribute, value=bound) for bound in bounds if value <= bound][:1]
                ends: list[Test] = [*above, *upto]
                found.append(ends[0] if len(ends) == 1 else All(tests=ends))
    return found


@given(demands())
def test_a_cluster_is_what_its_test_finds(demand: tuple[Profiles, set[str]]) -> None:
    profile, off = demand
    expected = set()
    for attribute in ATTRIBUTES:
        having = {account: value for (account, name), value in profile.items() if name == attribute}
        askers = off & having.keys()
        for test in possible_tests(attribute, [*having.values()]):
            sharing = {account for account, value in having.items() if judge(test, {attribute: value}) is True}
            members = sharing & askers
            if (
                len(members) >= ASKERS_MIN
                and Fraction(len(members), len(askers)) / Fraction(len(sharing), len(having)) >= LIFT_MIN
            ):
                expected.add((attribute, tuple(sorted(members)), len(askers), len(sharing), len(having)))
    found = clusters(known(profile, off))
    assert {
        (each.attribute, each.members, each.askers_known, each.accounts, each.accounts_known) for each in found
    } == expected
    assert len({msgspec.json.encode(each.test) for each in found}) == len(found)
    for each in found:
        having = {account: value for (account, name), value in profile.items() if name == each.attribute}
        sharing = {account for account, value in having.items() if judge(each.test, {each.attribute: value}) is True}
        assert (len(sharing), tuple(sorted(sharing & off))) == (each.accounts, each.members)
        assert each.lift == Fraction(len(each.members), each.askers_known) / Fraction(each.accounts, len(having))
        assert each.expected * each.lift == len(each.members)


@given(demands(), st.randoms(use_true_random=False))
def test_the_order_of_the_input_is_no_matter(demand: tuple[Profiles, set[str]], chance: st.DrawFn) -> None:
    profile, off = demand
    found = clusters(known(profile, off))
    rows = [*profile.items()]
    chance.shuffle(rows)  # type: ignore[attr-defined]
    assert clusters(known(dict(rows), off)) == found
    beyond = [len(each.members) - each.expected for each in found]
    assert beyond == sorted(beyond, reverse=True)


def test_a_cluster_of_shops() -> None:
    profile: Profiles = {(f"bank-{n}", "industry"): "banking" for n in range(7)}
    profile |= {(f"shop-{n}", "industry"): "Retail" if n else "retail" for n in range(3)}
    profile |= {(f"bank-{n}", "employees"): 100 * n for n in range(1, 7)}
    profile |= {(f"shop-{n}", "employees"): n + 1 for n in range(3)}
    [industry, employees] = clusters(known(profile, {"shop-0", "shop-1", "shop-2", "nobody"}))
    assert (industry.value, industry.test) == ("Retail", Eq(attribute="industry", value="Retail"))
    assert industry.members == ("shop-0", "shop-1", "shop-2")
    assert (industry.askers_known, industry.accounts, industry.accounts_known) == (3, 3, 10)
    assert (industry.lift, industry.expected) == (Fraction(10, 3), Fraction(9, 10))
    # Of nine numbers the third is the least that a quarter of them do not exceed.
    assert (employees.value, employees.above, employees.upto) == (None, None, 3)
    assert employees.test == Lte(attribute="employees", value=3)
    assert employees.lift == 3


def test_few_or_ordinary_are_no_cluster() -> None:
    profile: Profiles = {(f"a-{n}", "kind"): "shop" if n < 2 else "bank" for n in range(9)}
    assert clusters(known(profile, {"a-0", "a-1"})) == []  # Two are too few.
    profile = {(f"a-{n}", "kind"): "shop" if n < 6 else "bank" for n in range(9)}
    assert clusters(known(profile, {"a-0", "a-1", "a-2"})) == []  # Two thirds of all are shops.
    assert clusters([]) == []


@given(st.dictionaries(st.sampled_from(ACCOUNTS), st.lists(st.sampled_from(["a", "b", "c"]), max_size=4)))
def test_what_would_settle_the_undetermined(waiting: dict[str, list[str]]) -> None:
    found = settling(waiting)
    assert {each.attribute: {*each.waiting} for each in found} == {
        attribute: {account for account, names in waiting.items() if attribute in names}
        for attribute in {name for names in waiting.values() for name in names}
    }
    assert {each.attribute: {*each.alone} for each in found} == {
        each.attribute: {account for account, names in waiting.items() if {*names} == {each.attribute}}
        for each in found
    }
    assert [len(each.waiting) for each in found] == sorted((len(each.waiting) for each in found), reverse=True)
