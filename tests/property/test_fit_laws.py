"""The laws of three-valued fit, on any test, any revision and any attributes."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas import criteria as c
from schemas.criteria import Test as Criterion
from schemas.events import Bullet
from services.projector.judgement.fit import Fit, Revision, fit, judge

NAMES = st.sampled_from(["a", "b", "c", "d"])
TEXTS = st.sampled_from(["", "x", "X", "bank", "é", "e\u0301"])
NUMBERS = st.one_of(st.integers(-3, 3), st.sampled_from([0.1, 0.5, 1.0, 2.5]))
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans())
VALUES = st.one_of(SCALARS, st.lists(TEXTS, max_size=3))
KNOWN = st.dictionaries(NAMES, st.one_of(st.none(), VALUES), max_size=4)


def between(low: Any, high: Any, attribute: str) -> c.Between:
    return c.Between(attribute=attribute, low=min(low, high), high=max(low, high))


LEAVES: st.SearchStrategy[Any] = st.one_of(
    *(st.builds(cls, attribute=NAMES, value=SCALARS) for cls in (c.Eq, c.Ne)),
    *(st.builds(cls, attribute=NAMES, value=st.one_of(TEXTS, NUMBERS)) for cls in (c.Gt, c.Gte, c.Lt, c.Lte)),
    *(st.builds(cls, attribute=NAMES, values=st.lists(SCALARS, min_size=1, max_size=3)) for cls in (c.In, c.NotIn)),
    st.builds(between, NUMBERS, NUMBERS, NAMES),
    st.builds(between, TEXTS, TEXTS, NAMES),
    st.builds(c.Has, attribute=NAMES, value=TEXTS),
    st.builds(c.Exists, attribute=NAMES),
)
TESTS: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(c.All, tests=st.lists(inner, min_size=1, max_size=3)),
        st.builds(c.Any, tests=st.lists(inner, min_size=1, max_size=3)),
        st.builds(c.Not, test=inner),
    ),
    max_leaves=6,
)


@st.composite
def revisions(draw: st.DrawFn) -> Revision:
    tests = draw(st.lists(st.one_of(st.none(), TESTS), min_size=0, max_size=5))
    return Revision(
        agreement="target-market",
        revision="r",
        title="R",
        stage=draw(st.sampled_from(["focused", "focused", "exploratory"])),
        threshold=draw(st.integers(0, 100)),
        bullets=[
            Bullet(
                bullet=f"b{number}",
                text="line",
                test=test,
                weight=draw(st.integers(1, 5)),
                required=draw(st.booleans()),
            )
            for number, test in enumerate(tests)
        ],
    )


def uses_exists(test: Criterion) -> bool:
    match test:
        case c.Exists():
            return True
        case c.All() | c.Any():
            return any(uses_exists(part) for part in test.tests)
        case c.Not():
            return uses_exists(test.test)
        case _:
            return False


def inverse(verdict: bool | None) -> bool | None:
    return None if verdict is None else not verdict


@given(TESTS, TESTS, KNOWN)
def test_kleenes_laws(one: Any, other: Any, known: dict[str, Any]) -> None:
    def of(test: Any) -> bool | None:
        return judge(test, known)

    assert of(c.Not(test=c.Not(test=one))) == of(one)
    assert of(c.All(tests=[one, other])) == of(c.All(tests=[other, one]))
    assert of(c.Any(tests=[one, other])) == of(c.Any(tests=[other, one]))
    assert of(c.All(tests=[one, one])) == of(one) == of(c.Any(tests=[one]))
    assert of(c.Not(test=c.All(tests=[one, other]))) == of(c.Any(tests=[c.Not(test=one), c.Not(test=other)]))
    assert of(c.All(tests=[one, c.Any(tests=[one, other])])) == of(one)
    assert (of(c.All(tests=[one, c.Not(test=one)])) is None) == (of(one) is None)


@given(TESTS, KNOWN, st.dictionaries(NAMES, VALUES, max_size=4))
def test_learning_what_was_unknown_never_turns_a_verdict(
    test: Any, known: dict[str, Any], learned: dict[str, Any]
) -> None:
    more = learned | {name: value for name, value in known.items() if value is not None}
    before = judge(test, known)
    # `exists` is about knowledge itself, so that learning answers it anew.
    if before is not None and not uses_exists(test):
        assert judge(test, more) is before


@given(revisions(), KNOWN, st.dictionaries(NAMES, VALUES, max_size=4))
def test_learning_what_was_unknown_never_turns_a_class(
    revision: Revision, known: dict[str, Any], learned: dict[str, Any]
) -> None:
    if any(bullet.test is not None and uses_exists(bullet.test) for bullet in revision.bullets):
        return
    before = fit(revision, known)
    after = fit(revision, learned | {name: value for name, value in known.items() if value is not None})
    if before.class_ in ("on_target", "off_target"):
        assert after.class_ == before.class_
    if before.fit is not None and before.fit_if_known is not None and after.fit is not None and not after.excluded:
        assert before.fit <= after.fit <= before.fit_if_known


@given(revisions(), KNOWN)
def test_a_class_follows_from_the_bullets_of_the_answer(revision: Revision, known: dict[str, Any]) -> None:
    found = fit(revision, known)
    assert found.class_ == recomputed(found)
    assert found.fit is None or found.fit_if_known is None or found.fit <= found.fit_if_known
    assert bool(found.would_settle) <= (found.class_ == "undetermined")


@given(revisions(), KNOWN, st.data())
def test_an_undetermined_class_is_settled_by_what_it_names(
    revision: Revision, known: dict[str, Any], data: st.DataObject
) -> None:
    found = fit(revision, known)
    if found.class_ == "undetermined" and found.total:
        assert found.would_settle
        for name in found.would_settle:
            value = known.get(name)
            assert value is None or isinstance(value, bool | int | float | list | str)


def recomputed(found: Fit) -> str:
    """The class from nothing but verdicts, weights and threshold, as an outsider would do it."""
    weights = {"met": 0, "missed": 0, "unknown": 0, "prose": 0}
    required = set()
    for bullet, verdict in zip(found.revision.bullets, found.bullets, strict=True):
        weights[verdict.verdict] += bullet.weight
        if bullet.required:
            required.add(verdict.verdict)
    total = weights["met"] + weights["missed"] + weights["unknown"]
    if found.revision.stage == "exploratory":
        return "exploratory"
    if total == 0:
        return "undetermined"
    least, most = weights["met"] / total * 100, (weights["met"] + weights["unknown"]) / total * 100
    if "missed" in required or most < found.revision.threshold - 1e-9:
        return "off_target"
    if "unknown" in required or least < found.revision.threshold - 1e-9:
        return "undetermined"
    return "on_target"
