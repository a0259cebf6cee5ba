"""The keys that sign checkpoints: Ed25519 seeds in a file of their own, outside the database.

A line is a seed of 32 bytes in base64; the first is the newest. While there are several, all sign: so whoever knows one
of them can go on verifying.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.proof.note import KeySigner, Signer
from services.secret_files import read_or_make, write_anew

SEED_OCTETS = 32
KEYS_MAX = 8


class SigningKeyError(Exception):
    """The file of the signing keys cannot be read, or holds something else; the text says what to do."""


class SigningKeys:
    """Signs for any log, each under the name of its origin."""

    def __init__(self, keys: Sequence[Ed25519PrivateKey]) -> None:
        self._keys = keys

    def signers(self, origin: str) -> list[Signer]:
        return [KeySigner(origin, key) for key in self._keys]

    @classmethod
    def load(cls, path: Path) -> "SigningKeys":
        """Raises SigningKeyError."""
        try:
            lines = path.read_text().split()
        except OSError as error:
            raise SigningKeyError(
                f"the signing key {path} cannot be read ({error.strerror}); `ledger migrate` makes one"
            ) from error
        try:
            seeds = [b64decode(line, validate=True) for line in lines]
        except ValueError:
            seeds = []
        if not 0 < len(seeds) <= KEYS_MAX or any(len(seed) != SEED_OCTETS for seed in seeds):
            raise SigningKeyError(f"{path} does not hold signing keys: lines of {SEED_OCTETS} bytes in base64")
        return cls([Ed25519PrivateKey.from_private_bytes(seed) for seed in seeds])

    @classmethod
    def rotate(cls, path: Path) -> int:
        """Put a new key before those in a file; how many it has now. Raises SigningKeyError."""
        held = len(cls.load(path)._keys)
        if held == KEYS_MAX:
            raise SigningKeyError(f"{path} has {KEYS_MAX} keys already; take out the last lines, which are the oldest")
        try:
            write_anew(path, f"{_new_seed()}\n{path.read_text().strip()}\n")
        except OSError as error:
            raise SigningKeyError(f"{path} cannot be written ({error.strerror})") from error
        return held + 1

    @classmethod
    def load_or_make(cls, path: Path) -> "SigningKeys":
        """The keys in a file; a new one, if there is no file. Raises SigningKeyError."""
        try:
            read_or_make(path, _new_seed)
        except OSError as error:
            raise SigningKeyError(f"the signing key {path} cannot be made ({error.strerror})") from error
        return cls.load(path)


def _new_seed() -> str:
    return b64encode(os.urandom(SEED_OCTETS)).decode()
