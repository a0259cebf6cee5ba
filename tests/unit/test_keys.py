"""API keys: their form, and what a principal may do."""

import pytest

from services.keys import SCOPES, Keys, Principal, Unauthorized, key_hash, key_id, new_key


def principal(*scopes: str, **grants: frozenset[str]) -> Principal:
    return Principal(key="k", name="n", scopes=frozenset(scopes), **grants)


def test_a_key_holds_its_public_id_and_256_random_bits():
    key, text = new_key()
    assert key_id(text) == key
    assert text.startswith(f"lk_{key}_")
    assert len(text.removeprefix(f"lk_{key}_")) == 43
    assert len({new_key()[1] for _ in range(100)}) == 100
    assert len(key_hash(text)) == 32
    assert key_hash(text) != key_hash(text + "x")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lk_",
        "lk_abcdefghijkm_",
        "x" * 59,
        "lk_abcdefghijk\n_" + "a" * 43,
        "lk_abcdefghijkm_" + "a" * 43 + "\n",
        "lk_ä",
    ],
)
def test_what_is_no_key_has_no_id(text: str):
    assert key_id(text) is None


@pytest.mark.parametrize("text", ["", "nonsense", "lk_\udcff", "x" * 100_000])
async def test_what_is_no_key_costs_no_query(text: str):
    keys = Keys(None)
    with pytest.raises(Unauthorized):
        await keys.principal(text)


@pytest.mark.parametrize("scope", SCOPES)
def test_a_scope_grants_itself_and_admin_all(scope: str):
    granted = {other for other in SCOPES if principal(scope).may(other)}
    assert granted == (set(SCOPES) if scope == "admin" else {scope})


def test_the_scopes_are_those_of_the_contract():
    assert set(SCOPES) == {"observe", "act", "query", "personal", "audit", "admin"}


def test_none_listed_means_all():
    anywhere = principal("observe")
    assert anywhere.may_open("main")
    assert anywhere.may_emit_as("urn:crm")
    assert anywhere.may_act_for("sales")


def test_what_is_listed_is_all_there_is():
    bound = principal(
        "admin", ledgers=frozenset({"main"}), sources=frozenset({"urn:crm"}), teams=frozenset({"Sales", "Straße"})
    )
    assert bound.may_open("main")
    assert not bound.may_open("other")
    assert bound.may_emit_as("urn:crm")
    assert not bound.may_emit_as("urn:crm/2")
    assert not bound.may_emit_as("URN:CRM")
    assert bound.may_act_for("sALES")
    assert bound.may_act_for(" strasse ")
    assert not bound.may_act_for("marketing")
