"""Which names are one: claims come in any order, an alias alone joins nobody, nothing looks ahead."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.projector.judgement import resolution as resolving
from services.projector.judgement.resolution import Claim, Merge, Resolution
from tests.unit.test_lenses import day

NAMES = ["acme", "bank", "crm:1", "crm:2", "zen:1"]

Said = tuple[str, str] | tuple[str, str | None, str]

claims = st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES))
acts = st.tuples(st.sampled_from(NAMES), st.none() | st.sampled_from(NAMES), st.just("act"))
said = st.lists(st.one_of(claims, acts), max_size=10)


def resolution(said: Sequence[Said]) -> Resolution:
    """What was said, at the positions 1, 2, 3, ...; of the acts, those that their rule allows."""
    into: dict[str, str] = {}
    merges: list[Merge] = []
    known: list[Claim] = []
    for position, each in enumerate(said, 1):
        match each:
            case (str(account), str(alias)):
                known.append(Claim(position, day(0), account, alias))
            case (str(name), None, _) if name in into or ":" in name:
                into.pop(name, None)
                merges.append(Merge(position, day(0), name, None))
            case (str(name), str(target), _) if name != target and name not in into and target not in into:
                into[name] = target
                merges.append(Merge(position, day(0), name, target))
    return Resolution(merges, known)


def told_apart(said: Sequence[Said]) -> set[str]:
    """The names whose last act, of those that their rule allows, told them apart."""
    into: dict[str, str | None] = {}
    for each in said:
        match each:
            case (str(name), None, _) if into.get(name) is not None or ":" in name:
                into[name] = None
            case (str(name), str(target), _) if name != target and not into.get(name) and not into.get(target):
                into[name] = target
    return {name for name, target in into.items() if target is None}


@given(said)
def test_what_an_act_has_told_apart_no_claim_joins(told: list[Said]) -> None:
    known, end = resolution(told), len(told)
    for name in told_apart(told):
        assert known.into(name, end) is None and known.root(name, end) == name


def roots(known: Resolution, p: int) -> dict[str, str]:
    return {name: known.root(name, p) for name in NAMES}


@given(said, st.randoms(use_true_random=False))
def test_claims_come_in_any_order(told: list[Said], random: st.DrawFn) -> None:
    acts = [each for each in told if len(each) == 3]
    shuffled: list[Said] = [each for each in told if len(each) == 2]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for number, act in enumerate(acts):
        shuffled.insert(random.randint(number and shuffled.index(acts[number - 1]) + 1, len(shuffled)), act)  # type: ignore[attr-defined]
    in_order = [each for each in shuffled if len(each) == 3] == acts
    end = len(told)
    if in_order:
        assert roots(resolution(told), end) == roots(resolution(shuffled), end)
        assert [resolution(told).contested(name, end) for name in NAMES] == [
            resolution(shuffled).contested(name, end) for name in NAMES
        ]


@given(st.lists(st.tuples(claims, st.none() | st.integers(1, 20)), max_size=10), st.randoms(use_true_random=False))
def test_the_same_claims_in_any_order_say_the_same(told: list[tuple[Any, int | None]], random: Any) -> None:
    known = [
        Claim(position, day(position), *names, None if after is None else position + after)
        for position, (names, after) in enumerate(told, 1)
    ]
    shuffled = random.sample(known, len(known))
    assert Resolution((), known) == Resolution((), shuffled)


@given(said)
def test_what_was_said_later_does_not_count(told: list[Said]) -> None:
    known = resolution(told)
    for p in range(len(told) + 1):
        assert roots(known, p) == roots(resolution(told[:p]), p)
        assert known.roots(p).items() == {(a, b) for a, b in roots(known, p).items() if a != b}


@given(said)
def test_from_one_position_to_another_only_what_may_differ_is_found_anew(told: list[Said]) -> None:
    known = resolution(told)
    for here in range(len(told) + 1):
        for there in range(len(told) + 1):
            anew = known.roots_anew(there, here)
            assert roots(known, there) == roots(known, here) | {name: anew[name] for name in anew}
            assert set(anew) <= known.related(known.named_between(*sorted((here, there))))


@given(said)
def test_names_that_are_one_have_one_root(told: list[Said]) -> None:
    known, end = resolution(told), len(told)
    for name in NAMES:
        root, members = known.root(name, end), known.members(name, end)
        assert known.root(root, end) == root
        assert name in members and root in members
        assert {known.root(each, end) for each in members} == {root}
        assert set(members) <= known.related([name])


@given(said)
def test_a_contested_alias_joins_nobody(told: list[Said]) -> None:
    known, end = resolution(told), len(told)
    contested = {name for name in NAMES if known.contested(name, end)}
    without = resolution([each if len(each) == 3 or each[1] not in contested else ("acme", "acme") for each in told])
    assert roots(known, end) == roots(without, end)
    for alias in contested:
        assert known.root(alias, end) == alias
        claimed_by = {known.root(account, end) for account in known.contested(alias, end)}
        assert len(claimed_by) > 1 or alias in told_apart(told)


@given(said)
def test_a_change_is_told_where_it_happened(told: list[Said]) -> None:
    known, end = resolution(told), len(told)
    for name in NAMES:
        for after in range(end + 1):
            change = known.changed(name, after, end)
            if known.members(name, after) == known.members(name, end):
                assert change is None
            else:
                assert change is not None and after < change.position <= end
                assert known.members(name, change.position) == known.members(name, end)
                assert known.members(name, change.position - 1) != known.members(name, end)


@given(said=said, kept=st.integers(0, 12))
def test_names_come_to_the_same_where_little_is_kept(said: Sequence[Said], kept: int):
    whole, bounded = resolution(said), resolution(said)
    positions = [*range(len(said) + 2)] * 2
    expected = [whole.members(name, position) for position in positions for name in NAMES]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(resolving, "NAMES_KEPT_MAX", kept)
        assert [bounded.members(name, position) for position in positions for name in NAMES] == expected
        assert sum(len(state.roots) for state in bounded._states.values()) <= max(kept, len(NAMES))
