"""The keys that sign checkpoints: made once, for their owner only; several sign together while one gives way."""

import stat
from base64 import b64encode
from pathlib import Path

import pytest

from services.proof.checkpoint import Checkpoint
from services.signing import KEYS_MAX, SigningKeyError, SigningKeys

ORIGIN = "ledger.example/main"


def test_a_key_is_made_once_and_for_its_owner(tmp_path: Path):
    path = tmp_path / "signing.key"
    made, loaded = SigningKeys.load_or_make(path), SigningKeys.load_or_make(path)
    assert [each.key for each in made.signers(ORIGIN)] == [each.key for each in loaded.signers(ORIGIN)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_new_key_signs_beside_the_old_one(tmp_path: Path):
    path = tmp_path / "signing.key"
    [old] = SigningKeys.load_or_make(path).signers(ORIGIN)
    assert SigningKeys.rotate(path) == 2
    both = SigningKeys.load(path).signers(ORIGIN)
    assert [each.key for each in both][1] == old.key and len(both) == 2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    note = str(Checkpoint(ORIGIN, 3, bytes(32)).signed(both)).encode()
    for signer in both:
        assert Checkpoint.verified(note, ORIGIN, [signer.key]).size == 3


def test_no_more_keys_than_a_note_should_have(tmp_path: Path):
    path = tmp_path / "signing.key"
    SigningKeys.load_or_make(path)
    for _ in range(KEYS_MAX - 1):
        SigningKeys.rotate(path)
    before = path.read_text()
    with pytest.raises(SigningKeyError, match="take out the last lines"):
        SigningKeys.rotate(path)
    assert path.read_text() == before


@pytest.mark.parametrize("text", ["", "nothing", b64encode(bytes(31)).decode(), f"{b64encode(bytes(32)).decode()}\nx"])
def test_what_holds_no_keys_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "signing.key"
    path.write_text(text)
    for use in (SigningKeys.load, SigningKeys.load_or_make, SigningKeys.rotate):
        with pytest.raises(SigningKeyError, match="does not hold signing keys"):
            use(path)


def test_a_missing_key_is_told_with_what_makes_one(tmp_path: Path):
    with pytest.raises(SigningKeyError, match="`ledger migrate` makes one"):
        SigningKeys.load(tmp_path / "signing.key")
