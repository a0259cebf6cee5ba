"""Known answers: the tree of the reference implementation of RFC 6962, and the signed note of C2SP's specification.
And what is refused."""

from base64 import b64encode
from hashlib import sha256

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.proof.checkpoint import Checkpoint
from services.proof.inclusion import Proof
from services.proof.merkle import (
    EMPTY_ROOT,
    Leaves,
    ProofError,
    Subtree,
    fold,
    hash_of,
    inclusion,
    leaf_hash,
    verify_inclusion,
)
from services.proof.note import KeySigner, Note, NoteError, VerifierKey
from services.proof.tiles import ENTRIES, Tile, bundle, read_path, split_bundle

ENTRIES_OF_THE_REFERENCE = [
    b"", b"\x00", b"\x10", b" !", b"01", b"@ABC", bytes(range(0x50, 0x58)), bytes(range(0x60, 0x70)),
]  # fmt: skip
ROOTS_OF_THE_REFERENCE = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASHES = [leaf_hash(entry) for entry in ENTRIES_OF_THE_REFERENCE]

KEY_OF_THE_SPECIFICATION = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE_OF_THE_SPECIFICATION = """\
This is an example message.

— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=
"""

ORIGIN = "ledger.example/main"


def whole(subtree: Subtree) -> bytes:
    first = subtree.number << subtree.height
    return fold(HASHES[first : first + (1 << subtree.height)])


def root(size: int) -> bytes:
    return hash_of(Leaves(0, size), whole)


def signer(seed: int = 1, name: str = ORIGIN) -> KeySigner:
    return KeySigner(name, Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


@pytest.mark.parametrize(("size", "known"), [*enumerate(ROOTS_OF_THE_REFERENCE, 1)])
def test_roots_are_those_of_the_reference(size: int, known: str):
    assert root(size).hex() == known


def test_the_empty_tree_has_the_hash_of_nothing():
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert hash_of(Leaves(0, 0), whole) == EMPTY_ROOT


def test_paths_are_those_of_the_rfc():
    # RFC 6962, section 2.1.3: a tree of seven leaves, as letters there.
    a, b, c, d, e, f, j = HASHES[:7]
    g, h, i = (sha256(b"\x01" + one + other).digest() for one, other in ((a, b), (c, d), (e, f)))
    k = sha256(b"\x01" + g + h).digest()
    ell = sha256(b"\x01" + i + j).digest()
    for leaf, path in ((0, [b, h, ell]), (3, [c, g, ell]), (4, [f, j, k]), (6, [i, k])):
        assert [hash_of(each, whole) for each in inclusion(leaf, 7)] == path


@pytest.mark.parametrize(("leaf", "size"), [(-1, 7), (7, 7), (0, 0)])
def test_a_leaf_that_is_not_there_has_no_path(leaf: int, size: int):
    with pytest.raises(ProofError, match=f"a tree of {size} leaves has no leaf {leaf}"):
        inclusion(leaf, size)


def test_a_path_of_another_length_proves_nothing():
    path = [hash_of(each, whole) for each in inclusion(3, 7)]
    with pytest.raises(ProofError, match="a path of 3 hashes, not 2"):
        verify_inclusion(HASHES[3], 3, 7, path[:2], root(7))


def test_the_note_of_the_specification_is_verified_by_its_key():
    key = VerifierKey.read(KEY_OF_THE_SPECIFICATION)
    note = Note.read(NOTE_OF_THE_SPECIFICATION.encode())
    assert str(key) == KEY_OF_THE_SPECIFICATION and str(note) == NOTE_OF_THE_SPECIFICATION
    assert note.verified_by([key]) == [key]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("example message", "other message", "is broken"),
        ("IneyaQM=", "IneyaQN=", "not a line with a signature"),
        ("— ", "- ", "not a line with a signature"),
        ("\n\n", "\n", "not a signed note"),
        ("message.", "message.\x07", "not a signed note"),
        ("— example.com/foo Uw", "— example.com/bar Uw", "nobody known has signed it"),
        ("yaQM=\n", "yaQM=", "not a signed note"),
    ],
)
def test_a_note_that_was_changed_is_refused(old: str, new: str, said: str):
    changed = NOTE_OF_THE_SPECIFICATION.replace(old, new)
    assert changed != NOTE_OF_THE_SPECIFICATION
    with pytest.raises(NoteError, match=said):
        Note.read(changed.encode()).verified_by([VerifierKey.read(KEY_OF_THE_SPECIFICATION)])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a verifier key"),
        ("example.com/foo", "not a verifier key"),
        ("example.com/foo+530d903a+", "not a verifier key"),
        (KEY_OF_THE_SPECIFICATION.replace("530d", "530e"), "has the id 530e903a, but"),
        (KEY_OF_THE_SPECIFICATION.replace("+A", "+B"), "is not one of Ed25519"),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str, said: str):
    with pytest.raises(NoteError, match=said):
        VerifierKey.read(text)


def test_what_several_keys_sign_each_of_them_verifies():
    note = Checkpoint(ORIGIN, 7, root(7)).signed([signer(1), signer(2)])
    for seed in (1, 2):
        assert Checkpoint.verified(str(note).encode(), ORIGIN, [signer(seed).key]).size == 7


def test_a_checkpoint_is_of_one_log_and_of_known_keys():
    note = str(Checkpoint(ORIGIN, 7, root(7)).signed([signer()])).encode()
    with pytest.raises(NoteError, match=f"of {ORIGIN}, not of ledger"):
        Checkpoint.verified(note, "ledger.example/other", [signer().key])
    with pytest.raises(NoteError, match="nobody known has signed it"):
        Checkpoint.verified(note, ORIGIN, [signer(2).key])


@pytest.mark.parametrize(
    "text",
    [
        "origin\n7\n",
        f"origin\n07\n{b64encode(root(7)).decode()}\n",
        f"origin\n-7\n{b64encode(root(7)).decode()}\n",
        f"origin\n7\n{b64encode(root(7)[:31]).decode()}\n",
        f"origin\n0\n{b64encode(root(7)).decode()}\n",
        f"\n7\n{b64encode(root(7)).decode()}\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str):
    with pytest.raises(NoteError):
        Checkpoint.read(text)


def checked(proof: Proof, entry: bytes) -> Checkpoint:
    """The checkpoint of the tree that has this entry there."""
    checkpoint = Checkpoint.verified(proof.checkpoint.encode(), ORIGIN, [signer().key])
    verify_inclusion(leaf_hash(entry), proof.leaf, checkpoint.size, proof.path, checkpoint.root)
    return checkpoint


def proof_of(leaf: int, size: int) -> Proof:
    path = [hash_of(each, whole) for each in inclusion(leaf, size)]
    return Proof(leaf, path, str(Checkpoint(ORIGIN, size, root(size)).signed([signer()])))


@pytest.mark.parametrize(("leaf", "size"), [(0, 1), (0, 7), (6, 7), (4, 8)])
def test_a_proof_is_checked_from_its_text_alone(leaf: int, size: int):
    proof = Proof.read(str(proof_of(leaf, size)).encode())
    assert checked(proof, ENTRIES_OF_THE_REFERENCE[leaf]).size == size
    with pytest.raises(ProofError, match="is not in the tree"):
        checked(proof, b"something else")


def test_an_extra_line_is_passed_over():
    text = str(proof_of(3, 7)).replace("index", "extra bm90aGluZw==\nindex")
    assert Proof.read(text.encode()) == proof_of(3, 7)


@pytest.mark.parametrize(
    ("old", "new"),
    [("v1", "v2"), ("index 3", "index 03"), ("index 3", "index"), ("=\n", "\n"), ("\n\n", "\n")],
)
def test_what_is_no_proof_is_refused(old: str, new: str):
    with pytest.raises((ProofError, NoteError)):
        checked(Proof.read(str(proof_of(3, 7)).replace(old, new, 1).encode()), b" !")


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1234067), "0/x001/x234/067"),
        (Tile(0, 273, 112), "0/273.p/112"),
        (Tile(2, 0, 1), "2/000.p/1"),
        (Tile(ENTRIES, 1000), "entries/x001/000"),
    ],
)
def test_tiles_have_the_paths_of_the_specification(tile: Tile, path: str):
    assert (tile.path, read_path(path)) == (path, tile)


@pytest.mark.parametrize(
    "path",
    ["", "0", "0/1", "00/001", "64/001", "0/x000/001", "0/001.p/0", "0/001.p/256", "0/001/", "x/001", "0/1x001/001"],
)
def test_what_is_no_path_of_a_tile_names_none(path: str):
    assert read_path(path) is None


def test_entries_are_bundled_behind_their_lengths():
    entries = [b"", b"one", b"x" * 65_535]
    assert split_bundle(bundle(entries)) == entries
    with pytest.raises(ValueError, match="ends within an entry"):
        split_bundle(bundle(entries)[:-1])
