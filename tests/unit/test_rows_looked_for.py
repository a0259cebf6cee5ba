"""Few rows among many are found by halving, and are exactly those that a look at all of them finds."""

import numpy as np

from services.projector.counting.columns import FOREVER, Codes, Columns, Rows, empty

ROWS = 20_000


def rows() -> Columns:
    chance = np.random.default_rng(7)
    return {
        "owner": chance.integers(0, 900, ROWS).astype(np.int32),
        "id": chance.integers(0, 300, ROWS).astype(np.uint64),
        "position": np.arange(1, ROWS + 1) * 2,
        "until": np.full(ROWS, FOREVER),
    }


def positions(found: Columns) -> list[int]:
    return sorted(found["position"].tolist())


def test_few_rows_are_found_among_many() -> None:
    columns = rows()
    kept = Rows(("owner", "position"), empty(owner=np.int32, id=np.uint64, position=np.int64, until=np.int64))
    kept = kept.plus(columns)
    for name, values in (("id", [0, 3, 299, 1_000]), ("owner", [0, 17, 899, 1_000])):
        wanted = np.array(values, columns[name].dtype)
        assert positions(kept.having(name, wanted)) == positions(
            {"position": columns["position"][np.isin(columns[name], wanted)]}
        )
    for after, upto in ((0, 1), (0, 2), (1, 7), (999, 2_001), (2 * ROWS - 2, 2 * ROWS), (2 * ROWS, FOREVER)):
        there = (columns["position"] > after) & (columns["position"] <= upto)
        assert positions(kept.between(after, upto)) == columns["position"][there].tolist()
    ended = kept.retracted({2: 50, 2 * ROWS: 2 * ROWS + 2, 3: 60})
    held = ended.whole
    assert sorted(held["position"][held["until"] < FOREVER].tolist()) == [2, 2 * ROWS]


def test_who_is_there_is_found_whatever_was_retracted() -> None:
    chance = np.random.default_rng(11)
    columns = rows()
    few = {name: column[:3_000] for name, column in columns.items()}
    kept = Rows(("owner", "position"), empty(owner=np.int32, id=np.uint64, position=np.int64, until=np.int64))
    # Some wait behind those that are in order.
    kept = kept.plus(few).plus({name: column[3_000:3_600] for name, column in columns.items()})
    until = {
        position: position + int(chance.integers(1, 3_000)) for position in range(2, 7_201, 3) if position % 2 == 0
    }
    kept = kept.retracted(until)
    ends = np.array([until.get(each, FOREVER) for each in columns["position"][:3_600].tolist()])
    for p in (0, 1, 2, 500, 1_501, 3_200, 7_200, 20_000):
        holds = (columns["position"][:3_600] <= p) & (ends > p)
        wanted = np.isin(np.arange(950), columns["owner"][:3_600][holds])
        assert kept.are_there("owner", 950, p).tolist() == wanted.tolist()
        assert (kept.last_positions("owner", 950, p) > 0).tolist() == wanted.tolist()


def test_the_sieve_lets_through_all_that_are_there_and_few_others() -> None:
    chance = np.random.default_rng(3)
    ids = chance.integers(0, 2**63, 4_000).astype(np.uint64)
    nothing = empty(id=np.uint64, position=np.int64, until=np.int64)
    kept = Rows(("id", "position"), nothing)
    assert not kept.may_have("id", ids).any()
    said = {"id": ids[:2_000], "position": np.arange(2_000), "until": np.full(2_000, FOREVER)}
    kept = kept.plus(said)
    found = kept.may_have("id", ids)
    assert found[:2_000].all()
    assert found[2_000:].mean() < 0.01


def test_numbers_are_in_the_order_of_their_texts_however_they_came() -> None:
    codes = Codes()
    for texts in (["m", "b"], ["z", "a", "n"], [], ["c", "b"]):
        codes.codes(texts)
        assert [codes.texts[code] for code in codes.by_text().tolist()] == sorted(codes.texts)


def test_what_was_said_last_is_found_whenever_it_was_said_and_whatever_was_retracted() -> None:
    chance = np.random.default_rng(5)
    times = {"valid": np.int64, "position": np.int64, "until": np.int64}
    facts = Rows(("owner", "kind", "valid", "position"), empty(owner=np.int32, kind=np.int32, **times))
    size, p_max = 3_000, 3_200
    said = {
        "owner": chance.integers(0, 40, p_max).astype(np.int32),
        "kind": chance.integers(1, 5, p_max).astype(np.int32),
        # Much is said of earlier times, so that what is known at a position does not come first.
        "valid": np.maximum(0, np.arange(p_max) - chance.integers(0, 2_000, p_max)),
        "position": np.arange(1, p_max + 1),
        "until": np.full(p_max, FOREVER),
    }
    facts = facts.plus({name: column[:size] for name, column in said.items()})
    facts = facts.plus({name: column[size:] for name, column in said.items()})  # These wait.
    until = {int(each): int(each) + 150 for each in chance.choice(p_max, 800, replace=False) + 1}
    facts = facts.retracted(until)
    ends = np.array([until.get(each, FOREVER) for each in said["position"].tolist()])
    owners = np.array([0, 3, 4, 17, 39, 41], np.int32)
    for p in (0, 10, 700, 2_999, 3_100, p_max):
        for t in (-1, 0, 650, p_max):
            for kind in (0, 1, 4, 9):
                number, rows = facts.said_last(owners, kind, p, t)
                found: dict[int, tuple[int, int]] = {}
                for each, *at in zip(number.tolist(), rows["valid"].tolist(), rows["position"].tolist(), strict=True):
                    found[each] = max(found.get(each, (-1, -1)), (at[0], at[1]))
                here = (said["kind"] == kind) & (said["valid"] <= t) & (said["position"] <= p) & (ends > p)
                wanted = {
                    place: max(zip(said["valid"][of].tolist(), said["position"][of].tolist(), strict=True))
                    for place, owner in enumerate(owners.tolist())
                    if (of := here & (said["owner"] == owner)).any()
                }
                assert found == wanted, (p, t, kind)
