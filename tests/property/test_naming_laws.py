"""What names stand for is the same by columns as one by one, in whichever order positions are asked about."""

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from services.projector.counting import naming
from services.projector.counting.columns import Codes, digest, halves
from services.projector.counting.naming import Namings
from services.projector.judgement.resolution import Lineage, Move
from tests.property.test_resolution_laws import NAMES, Said, resolution, said
from tests.unit.test_lenses import day

ASKS = ["x", "y"]
PLACES = ["R1", "R2", "R3"]

END = 10

moved = st.lists(
    st.tuples(st.sampled_from(ASKS), st.sampled_from(PLACES), st.sampled_from(PLACES), st.integers(1, 10)), max_size=8
)


def lineage(accounts: list[Said], requirements: list[Said], moves: list[tuple[str, str, str, int]]) -> Lineage:
    by_ask: dict[str, list[Move]] = {}
    for ask, on, to, position in sorted(moves, key=lambda each: each[3]):
        by_ask.setdefault(ask, []).append(Move(position, day(0), on, ask, to))
    return Lineage(resolution(accounts), resolution(requirements), by_ask)


@given(said, said, moved, st.permutations(range(11)))
def test_columns_say_what_each_name_stands_for(
    accounts: list[Said], requirements: list[Said], moves: list[tuple[str, str, str, int]], positions: list[int]
) -> None:
    known, namings = lineage(accounts, requirements, moves), Namings()
    # Numbers in another order than the names have, and others between.
    account_codes, requirement_codes = Codes(["z", *reversed(NAMES)]), Codes(["R3", *reversed(NAMES), "R1", "R2"])
    asks = [(ask, on) for ask in ASKS for on in PLACES]
    rows = {
        "low": np.array([halves(digest(ask))[1] for ask, _ in asks], np.uint64),
        "high": np.array([halves(digest(ask))[0] for ask, _ in asks], np.uint64),
        "requirement": requirement_codes.codes([on for _, on in asks]),
    }
    for p in positions:
        found = namings.at(p, known, END, account_codes, requirement_codes)
        for codes, roots, by_name in (
            (account_codes, found.roots(len(account_codes)), known.accounts),
            (requirement_codes, found.merged(len(requirement_codes)), known.requirements),
        ):
            assert [codes.texts[root] for root in roots] == [by_name.root(name, p) for name in codes.texts]
        places, is_moved = found.places(rows)
        assert [requirement_codes.texts[place] for place in places] == [known.place(on, ask, p) for ask, on in asks]
        elsewhere = {ask for ask, _ in asks if any(known.place(on, ask, p) != on for on in PLACES)}
        assert {ask for (ask, _), was in zip(asks, is_moved, strict=True) if was} == elsewhere


@given(said, st.integers(0, END), st.lists(st.tuples(st.integers(0, END), st.booleans())))
@example([("bank", "crm:2")] * 8 + [("acme", "crm:1")], 6, [(9, True), (6, False)])
def test_who_knows_less_goes_on_undisturbed_by_who_knows_more(
    told: list[Said], cut: int, asked: list[tuple[int, bool]]
) -> None:
    older, newer, namings = lineage(told[:cut], [], []), lineage(told, [], []), Namings()
    codes = Codes(NAMES)
    for p, by_newer in asked:
        known, upto = (newer, END) if by_newer else (older, cut)
        if p <= upto:
            roots = namings.at(p, known, upto, codes, codes).roots(len(codes))
            assert [codes.texts[root] for root in roots] == [newer.accounts.root(name, p) for name in codes.texts]


def test_what_is_remembered_has_a_bound() -> None:
    known, namings = lineage([("acme", "crm:1")], [], []), Namings()
    codes = Codes(NAMES)
    for p in range(3 * naming.REMEMBERED_MAX):
        namings.at(p, known, 3 * naming.REMEMBERED_MAX, codes, codes)
    assert len(namings._remembered) == naming.REMEMBERED_MAX
    assert namings.at(0, known, 0, codes, codes).accounts["name"].tolist() == []
