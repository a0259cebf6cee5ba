"""Few rows among many are found by halving, and are exactly those that a look at all of them finds."""

import numpy as np

from services.projector.counting.columns import FOREVER, Columns, Rows, empty

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
