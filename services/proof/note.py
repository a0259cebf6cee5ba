"""Signed notes and their keys, as C2SP's signed-note has them: a text, and below it lines of signatures.

    the text, which ends with a newline
    (an empty line)
    — name base64(key id ‖ signature)

A verifier key is `name+hex(key id)+base64(type ‖ public key)`. Signatures here are of type 1, Ed25519 over the text.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import NamedTuple, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

ED25519 = 1
KEY_ID_OCTETS, PUBLIC_KEY_OCTETS, SIGNATURE_OCTETS = 4, 32, 64
NOTE_OCTETS_MAX = 64 * 1024
SIGNATURES_MAX = 64
_DASH = "\N{EM DASH}"
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_NAME = re.compile(r"[^\s+]+")


class NoteError(ValueError):
    """What is given is not a note or a key, or not one that counts; the text says why."""


class VerifierKey(NamedTuple):
    """Whose signatures count."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """By which its signatures are known."""
        return sha256(self.name.encode() + b"\n" + bytes([ED25519]) + self.public).digest()[:KEY_ID_OCTETS]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(bytes([ED25519]) + self.public).decode()}"

    @classmethod
    def read(cls, text: str) -> "VerifierKey":
        """Raises NoteError if it is not a verifier key, or not one of Ed25519."""
        name, _, rest = text.strip().partition("+")
        id, _, encoded = rest.partition("+")
        key = from_base64(encoded)
        if not _NAME.fullmatch(name) or not id or key is None or not key:
            raise NoteError(f"not a verifier key (name+id+key): {text.strip()[:100]!r}")
        if key[0] != ED25519 or len(key) != 1 + PUBLIC_KEY_OCTETS:
            raise NoteError(f"the verifier key of {name} is not one of Ed25519")
        found = cls(name, key[1:])
        if found.id.hex() != id:
            raise NoteError(f"the verifier key of {name} has the id {id}, but its public key has {found.id.hex()}")
        return found

    def verifies(self, text: str, signature: bytes) -> bool:
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer(Protocol):
    """What signs notes: a key that is here, or a command that asks one which is elsewhere."""

    @property
    def key(self) -> VerifierKey: ...

    def sign(self, text: bytes) -> bytes:
        """64 octets, over these."""


class KeySigner:
    """Signs with a private key."""

    def __init__(self, name: str, private: Ed25519PrivateKey) -> None:
        self._private = private
        self._key = VerifierKey(name, private.public_key().public_bytes_raw())

    @property
    def key(self) -> VerifierKey:
        return self._key

    def sign(self, text: bytes) -> bytes:
        return self._private.sign(text)


class Signature(NamedTuple):
    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"{_DASH} {self.name} {b64encode(self.key_id + self.signature).decode()}"


class Note(NamedTuple):
    """A text and its signatures, of which nobody has said yet that they are good."""

    text: str
    signatures: Sequence[Signature]

    def __str__(self) -> str:
        return self.text + "\n" + "".join(f"{each}\n" for each in self.signatures)

    @classmethod
    def signed(cls, text: str, signers: Iterable[Signer]) -> "Note":
        """Raises NoteError if the text is not one of a note."""
        if not text.endswith("\n") or _CONTROL.search(text):
            raise NoteError("the text of a note ends with a newline, and has no other control character")
        signatures = [Signature(each.key.name, each.key.id, each.sign(text.encode())) for each in signers]
        return cls(text, signatures)

    @classmethod
    def read(cls, octets: bytes) -> "Note":
        """Raises NoteError if it is not a note."""
        if len(octets) > NOTE_OCTETS_MAX:
            raise NoteError(f"a note has at most {NOTE_OCTETS_MAX} bytes")
        try:
            whole = octets.decode()
        except UnicodeDecodeError:
            raise NoteError("a note is UTF-8") from None
        text, blank, below = whole.rpartition("\n\n")
        lines = below.split("\n")
        if not blank or _CONTROL.search(whole) or lines.pop() != "" or not 0 < len(lines) <= SIGNATURES_MAX:
            raise NoteError("not a signed note: a text, an empty line, and lines of signatures")
        return cls(text + "\n", [_read_signature(line) for line in lines])

    def verified_by(self, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
        """Which of these keys have signed it: at least one. Raises NoteError if none has, or if what is said to be the
        signature of one of them is not."""
        known = {(key.name, key.id): key for key in keys}
        found = []
        for each in self.signatures:
            key = known.get((each.name, each.key_id))
            if key is None:
                continue
            if not key.verifies(self.text, each.signature):
                raise NoteError(f"the signature by {key.name} ({key.id.hex()}) is broken")
            found.append(key)
        if not found:
            names = ", ".join(f"{name} ({id.hex()})" for name, id in known) or "none"
            raise NoteError(f"nobody known has signed it; known: {names}")
        return found


def read_keys(texts: Iterable[str]) -> tuple[list[VerifierKey], list[str]]:
    """Those of them that are verifier keys, and of each other why it is none."""
    keys, amiss = [], []
    for text in texts:
        try:
            keys.append(VerifierKey.read(text))
        except NoteError as error:
            amiss.append(str(error))
    return keys, amiss


def _read_signature(line: str) -> Signature:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    octets = from_base64(encoded)
    if dash != _DASH or not _NAME.fullmatch(name) or octets is None or len(octets) <= KEY_ID_OCTETS:
        raise NoteError(f"not a line with a signature: {line[:100]!r}")
    return Signature(name, octets[:KEY_ID_OCTETS], octets[KEY_ID_OCTETS:])


def from_base64(text: str) -> bytes | None:
    """What a text in base64 says; None if it is not one. Each octets have one text: no bit is left to choose."""
    try:
        octets = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        return None
    return octets if b64encode(octets).decode() == text else None
