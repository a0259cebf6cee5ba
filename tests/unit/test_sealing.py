"""Sealing: what is stored of a text, what opens it, and what nothing opens."""

import hmac
import stat
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from schemas.envelope import Sent
from schemas.examples import EXAMPLES
from services.sealing import (
    LOOK_SECONDS_MIN,
    MASTER_KEYS_MAX,
    MasterKey,
    MasterKeyError,
    MasterKeys,
    SealingKey,
    fingerprint,
    new_master_key,
    open_text,
    seal,
    unseal,
)
from tests.ledger_service import example, profile
from tests.log import read

MASTER = MasterKey(bytes(range(32)))
QUOTE = EXAMPLES["ledger.ask.recorded.v1"]["quote"]


def sealed(event: Any) -> tuple[Sent, dict[str, Any], bytes, SealingKey]:
    [sent] = read(event)
    data, content, key = seal(sent, MASTER)
    assert key is not None
    return sent, data, content, key


def test_a_sealed_text_opens_with_its_key_and_is_nowhere_in_clear():
    sent, data, content, key = sealed(example("ask.recorded"))
    assert unseal(data["quote"]["sealed"], MASTER.unwrap(key), sent.event_uuid, "quote") == QUOTE
    kept = msgspec.json.encode([data, content, key])
    assert QUOTE.encode() not in kept
    assert {name: item for name, item in data.items() if name != "quote"} == {
        name: item for name, item in sent.data.items() if name != "quote"
    }
    assert sent.data["quote"] == QUOTE  # What was sent is left alone.


def test_every_sealed_field_of_an_event_is_sealed_and_those_left_out_stay_out():
    _, data, _, _ = sealed(example("person.introduced"))
    assert {name for name, item in data.items() if isinstance(item, dict)} == {"name", "email"}
    _, data, _, _ = sealed(example("person.introduced", email=None))
    assert data["email"] is None
    assert data["name"].keys() == {"sealed"}


def test_an_event_without_sealed_texts_has_no_key_and_its_content_as_fingerprint():
    for event in (profile(), example("ask.recorded", quote=None)):
        [sent] = read(event)
        assert seal(sent, MASTER) == (sent.data, sent.content, None)


def test_a_key_is_about_the_person_that_the_event_names():
    assert sealed(example("person.introduced"))[3].person == "p-81"
    assert sealed(example("ask.recorded"))[3].person == "p-81"
    assert sealed(example("ask.recorded", contact=None))[3].person is None
    assert sealed(example("requirement.raised"))[3].person is None


def test_every_event_has_a_key_and_a_nonce_of_its_own():
    event = example("ask.recorded")
    (_, one, first, key), (_, other, second, other_key) = sealed(event), sealed(event)
    assert one["quote"] != other["quote"]
    assert first != second
    assert MASTER.unwrap(key) != MASTER.unwrap(other_key)
    assert key.wrapped != other_key.wrapped


def test_the_fingerprint_of_a_sealed_event_cannot_be_tried_out_without_its_key():
    sent, _, content, key = sealed(example("ask.recorded"))
    assert content != sent.content
    assert content == hmac.digest(MASTER.unwrap(key), sent.content, "sha256")
    assert content == fingerprint(sent.content, MASTER.unwrap(key))


def test_a_sealed_text_is_bound_to_its_event_and_its_field():
    sent, data, _, key = sealed(example("person.introduced"))
    opened = MASTER.unwrap(key)
    for event, field in ((read(profile())[0].event_uuid, "name"), (sent.event_uuid, "email")):
        with pytest.raises(MasterKeyError, match="does not open"):
            unseal(data["name"]["sealed"], opened, event, field)
    with pytest.raises(MasterKeyError):
        unseal(data["name"]["sealed"], bytes(32), sent.event_uuid, "name")


def test_a_sealed_text_that_was_changed_does_not_open():
    sent, data, _, key = sealed(example("ask.recorded"))
    raw = bytearray(urlsafe_b64decode(data["quote"]["sealed"]))
    for spot in (0, 12, len(raw) - 1):
        changed = bytearray(raw)
        changed[spot] ^= 1
        with pytest.raises(MasterKeyError):
            unseal(urlsafe_b64encode(changed).decode(), MASTER.unwrap(key), sent.event_uuid, "quote")


def test_a_key_opens_only_with_the_master_key_that_wrapped_it_and_for_its_event():
    key = sealed(example("ask.recorded"))[3]
    assert key.master == MASTER.name
    with pytest.raises(MasterKeyError, match="was wrapped by master key"):
        MasterKey(bytes(32)).unwrap(key)
    for changed in (
        replace(key, wrapped=key.wrapped[:-1] + bytes([key.wrapped[-1] ^ 1])),
        replace(key, event_id=read(profile())[0].event_uuid),
    ):
        with pytest.raises(MasterKeyError, match="was changed"):
            MASTER.unwrap(changed)


@pytest.mark.parametrize("text", ["x", "x" * 8_000, "\N{HAMMER}" * 8_000, "a\nb\t\u2028é", "🏦" * 3])
def test_every_text_comes_back_as_it_was(text: str):
    sent, data, _, key = sealed(example("ask.recorded", quote=text))
    assert unseal(data["quote"]["sealed"], MASTER.unwrap(key), sent.event_uuid, "quote") == text


# The master key


def test_the_name_of_a_master_key_says_nothing_about_it():
    secret = bytes(range(32))
    assert MASTER.name == MasterKey(secret).name != MasterKey(bytes(32)).name
    assert secret.hex()[:16] != MASTER.name != sha256(secret).hexdigest()[:16]


def test_a_master_key_is_made_once_for_its_owner_only(tmp_path: Path):
    path = tmp_path / "deep" / "master.key"
    made = MasterKeys.load_or_make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert MasterKeys.load_or_make(path).names == MasterKeys(path).names == made.names == [made.newest.name]
    assert [each.name for each in path.parent.iterdir()] == ["master.key"]
    assert len(urlsafe_b64decode(path.read_bytes())) == 32


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"short",
        b"!" * 44,
        b"\xff" * 44,
        urlsafe_b64encode(bytes(31)),
        urlsafe_b64encode(bytes(33)),
        urlsafe_b64encode(bytes(32)) + b"\nshort",
        b"\n".join(urlsafe_b64encode(bytes([n]) * 32) for n in range(MASTER_KEYS_MAX + 1)),
    ],
)
def test_a_file_without_master_keys_is_told_and_left_alone(tmp_path: Path, text: bytes):
    path = tmp_path / "master.key"
    path.write_bytes(text)
    for use in (MasterKeys, MasterKeys.load_or_make):
        with pytest.raises(MasterKeyError, match="does not hold master keys"):
            use(path)
    assert path.read_bytes() == text


def test_a_missing_master_key_is_told(tmp_path: Path):
    with pytest.raises(MasterKeyError, match="cannot be read"):
        MasterKeys(tmp_path / "none.key")


def with_key(master: MasterKey) -> SealingKey:
    [sent] = read(example("ask.recorded"))
    key = seal(sent, master)[2]
    assert key is not None
    return key


def test_of_several_master_keys_the_first_wraps_and_all_unwrap(tmp_path: Path):
    masters = MasterKeys.load_or_make(tmp_path / "master.key")
    old = masters.newest
    line, new = new_master_key()
    masters.put_first(line)
    assert masters.newest.name == new.name
    assert MasterKeys(masters.path).names == masters.names == [new.name, old.name]
    assert stat.S_IMODE(masters.path.stat().st_mode) == 0o600
    for each in (old, new):
        kept = with_key(each)
        assert masters.unwrap(kept) == each.unwrap(kept)

    masters.keep_the_first()
    assert MasterKeys(masters.path).names == masters.names == [new.name]
    with pytest.raises(MasterKeyError, match=f"under the master key {old.name}"):
        masters.unwrap(with_key(old))


def test_a_key_that_a_newer_master_key_wrapped_opens_once_it_is_in_the_file(tmp_path: Path):
    now = 0.0
    path = tmp_path / "master.key"
    MasterKeys.load_or_make(path)
    masters = MasterKeys(path, lambda: now)
    line, new = new_master_key()
    kept = with_key(new)
    with pytest.raises(MasterKeyError, match="give this service the file as it is now"):
        masters.unwrap(kept)

    MasterKeys(path).put_first(line)
    now += LOOK_SECONDS_MIN / 2
    with pytest.raises(MasterKeyError):  # It has looked a moment ago.
        masters.unwrap(kept)
    now += LOOK_SECONDS_MIN / 2
    assert masters.unwrap(kept) == new.unwrap(kept)
    assert masters.newest.name == new.name


def test_while_the_file_cannot_be_read_the_known_keys_stay(tmp_path: Path):
    masters = MasterKeys.load_or_make(tmp_path / "master.key")
    kept = with_key(masters.newest)
    masters.path.unlink()
    with pytest.raises(MasterKeyError, match="cannot be read"):
        masters.unwrap(with_key(new_master_key()[1]))
    assert masters.unwrap(kept)


def test_a_text_whose_master_key_is_not_at_hand_does_not_look_erased(tmp_path: Path):
    masters = MasterKeys.load_or_make(tmp_path / "master.key")
    [sent] = read(example("ask.recorded"))
    data, _, kept = seal(sent, new_master_key()[1])
    with pytest.raises(MasterKeyError):
        open_text(data["quote"]["sealed"], kept, masters, "quote")
    assert open_text(data["quote"]["sealed"], None, masters, "quote") is None
