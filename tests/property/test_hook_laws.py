"""Laws of hooks: whatever a body holds, it makes events or an objection, and the same body makes the same events."""

import copy
import json
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import read_event
from schemas.envelope import Sent
from services.receiver.bodies import Misfit, make_events
from services.receiver.hooks import load
from services.receiver.kept import AnotherBody, Kept
from services.receiver.signatures import (
    Hmac,
    Request,
    Signature,
    SignatureInvalid,
    SignatureStale,
    StandardWebhooks,
    Timestamp,
    verify,
)

EXAMPLES = Path(__file__).parents[2] / "examples" / "hooks"
NOW = datetime(2026, 11, 22, tzinfo=UTC)
HOOKS = {path.stem: load(path, needs_secret=False).usable.recipes for path in EXAMPLES.glob("*.yaml")}
BODIES = [
    (HOOKS["github-issues" if path.stem.startswith("github") else path.stem], json.loads(path.read_text()))
    for path in sorted((EXAMPLES / "bodies").glob("*.json"))
]
HEADERS = [{"x-github-event": "issues"}, {"x-github-event": "issue_comment"}, {}]

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20)
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def spots(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [at]
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inside in members:
        found += spots(inside, (*at, step))
    return found


@st.composite
def changed(draw: st.DrawFn) -> tuple[Any, Any]:
    """A hook, and a sample body of it in which a few things are taken out or something else."""
    recipes, body = draw(st.sampled_from(BODIES))
    body = copy.deepcopy(body)
    for _ in range(draw(st.integers(0, 3))):
        *before, last = draw(st.sampled_from(spots(body)[1:] or [()])) or (None,)
        if last is None:
            break
        inside = body
        for step in before:
            inside = inside[step]
        if draw(st.booleans()):
            del inside[last]
        else:
            inside[last] = draw(values)
    return recipes, body


def outcome(recipes: Any, body: Any, headers: dict[str, str]) -> Any:
    try:
        return make_events(recipes, body, headers, NOW)
    except Misfit as error:
        assert error.objections
        return error.objections


@given(changed(), st.sampled_from(HEADERS))
@settings(max_examples=300)
def test_a_changed_body_makes_good_events_or_an_objection(pair: tuple[Any, Any], headers: dict[str, str]) -> None:
    recipes, body = pair
    found = outcome(recipes, body, headers)
    assert found == outcome(recipes, json.loads(json.dumps(body)), headers)
    if found and isinstance(found[0], dict):
        assert all(isinstance(read_event(event, now=NOW), Sent) for event in found)


@given(st.sampled_from([*HOOKS.values()]), values, st.sampled_from(HEADERS))
@settings(max_examples=200)
def test_any_body_is_answered_for(recipes: Any, body: Any, headers: dict[str, str]) -> None:
    outcome(recipes, body, headers)


SCHEMES: list[Signature] = [
    StandardWebhooks(secret_file="s"),
    Hmac(
        secret_file="s",
        header="x-signature",
        encoding="base64",
        signs="{timestamp}{body}",
        timestamp=Timestamp(header="x-time", format="iso"),
    ),
    Hmac(secret_file="s", header="x-signature"),
]


@given(
    st.sampled_from(SCHEMES),
    st.lists(
        st.tuples(
            st.sampled_from(
                ["webhook-id", "webhook-timestamp", "webhook-signature", "x-signature", "x-time", "x-hub-signature-256"]
            ),
            st.text(max_size=60) | st.sampled_from(["v1,", "v1,AAAA", "\udcff", "2026-11-22T00:00:00Z", "1763769600"]),
        ),
        max_size=6,
    ),
    st.binary(max_size=50),
)
@settings(max_examples=300)
def test_no_guess_is_a_signature(scheme: Signature, headers: list[tuple[str, str]], body: bytes) -> None:
    try:
        verify(scheme, [b"0123456789abcdef0123456789abcdef"], Request("POST", headers, body), NOW)
    except (SignatureInvalid, SignatureStale):
        return
    raise AssertionError("a guess was taken for a signature")


@given(st.lists(st.tuples(st.binary(max_size=20), st.sampled_from(["a", "b", None])), max_size=8))
@settings(max_examples=25)
def test_a_delivery_is_told_by_its_id_or_else_by_its_body(tmp_path_factory: Any, sent: list[Any]) -> None:
    kept = Kept(tmp_path_factory.mktemp("home"), bytes_max=1_000_000)
    try:
        first: dict[str, bytes] = {}
        for body, id in sent:
            delivery = kept.delivery("desk", id, body)
            another = pytest.raises(AnotherBody) if id in first and first[id] != body else nullcontext()
            with another:
                kept.check(delivery)
            if id is not None and id not in first:
                first[id] = body
                kept.settle(delivery, now=NOW)
    finally:
        kept.close()
