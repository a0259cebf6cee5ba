"""Sealing: customers' words and persons' names are encrypted before an event is stored and hashed.

Each event has a random 256-bit key of its own. Its texts are AES-256-GCM under that key (NIST SP 800-38D; nonce
of 96 random bits; the event's UUID and the field's name are authenticated with it). The key is wrapped, AES-256-GCM
again, by a master key that is kept outside the database. Destroying the wrapped key erases the texts, while the
stored bytes, and every proof over them, stay as they were.

The file of the master keys has a line each, 32 bytes in base64, the newest first. It wraps; all of them unwrap.
"""

import hmac
import math
import os
import time
from base64 import b64decode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from schemas.envelope import Sent
from schemas.events import SEALED_FIELDS
from services.secret_files import read_or_make, write_anew

KEY_BYTES = 32
NONCE_BYTES = 12
MASTER_KEYS_MAX = 8
LOOK_SECONDS_MIN = 1.0  # Between two looks for a newer master key.


class MasterKeyError(Exception):
    """The master key is missing, malformed, or not the one that wrapped a key."""


class MasterKeyOutOfUse(MasterKeyError):
    """The database takes nothing more under this master key: another one came in its place."""


class SealingKey(Struct, frozen=True, kw_only=True):
    """The key of one event as it is kept: wrapped, with the name of its master key and the person it is about."""

    event_id: UUID
    person: str | None
    master: str
    wrapped: bytes

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "SealingKey":
        """The key in a row of `sealing_keys`, whatever else the row has."""
        return cls(event_id=row["event_id"], person=row["person"], master=row["master"], wrapped=row["wrapped"])


class MasterKey:
    """Wraps and unwraps the keys of events. `name` tells master keys apart and says nothing about the key."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise MasterKeyError(f"a master key has {KEY_BYTES} bytes, not {len(secret)}")
        self.name = sha256(b"requirements-ledger master key\n" + secret).hexdigest()[:16]
        self._cipher = AESGCM(secret)
        self._tagging = hmac.digest(secret, b"requirements-ledger tags of answers\n", "sha256")

    def tag(self, content: bytes) -> bytes:
        """What tells contents apart: an HMAC, so that nobody without the key can try out the texts in them by it."""
        return hmac.digest(self._tagging, content, "sha256")

    def wrap(self, key: bytes, event_id: UUID) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, event_id.bytes)

    def unwrap(self, kept: SealingKey) -> bytes:
        """The key of an event. Raises MasterKeyError if another master key wrapped it."""
        if kept.master != self.name:
            raise MasterKeyError(f"the key was wrapped by master key {kept.master}, and this is {self.name}")
        try:
            return self._cipher.decrypt(kept.wrapped[:NONCE_BYTES], kept.wrapped[NONCE_BYTES:], kept.event_id.bytes)
        except InvalidTag as error:
            raise MasterKeyError("the wrapped key was changed after it was kept") from error


class MasterKeys:
    """The master keys in a file: the first one wraps, each unwraps what it has wrapped.

    The file is read again, at most once in LOOK_SECONDS_MIN, where a key was wrapped by none of them: another process
    may have put a newer one there. `clock` gives seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises MasterKeyError."""
        self.path = path
        self._clock = clock
        self._looked_at = -math.inf
        self._keys = _read(path)

    @classmethod
    def load_or_make(cls, path: Path) -> "MasterKeys":
        """The keys in a file; a new one, if there is no file. Raises MasterKeyError."""
        try:
            read_or_make(path, lambda: new_master_key()[0])
        except OSError as error:
            raise MasterKeyError(f"the master key {path} cannot be made ({error.strerror})") from error
        return cls(path)

    @property
    def newest(self) -> MasterKey:
        return self._keys[0]

    @property
    def names(self) -> list[str]:
        """The newest first."""
        return [key.name for key in self._keys]

    def unwrap(self, kept: SealingKey) -> bytes:
        """The key of an event. Raises MasterKeyError if none of the master keys in the file wrapped it."""
        if kept.master not in self.names:
            self.look_again()
        for key in self._keys:
            if key.name == kept.master:
                return key.unwrap(kept)
        raise MasterKeyError(
            f"the text was sealed under the master key {kept.master}, and {self.path} has {' and '.join(self.names)};"
            " give this service the file as it is now"
        )

    def look_again(self) -> None:
        """Read the file again, unless that was a moment ago. Raises MasterKeyError, and what was known stays."""
        now = self._clock()
        if now - self._looked_at >= LOOK_SECONDS_MIN:
            self._looked_at = now
            self._keys = _read(self.path)

    def put_first(self, line: str) -> None:
        """Put a new key before those in the file. Raises MasterKeyError."""
        self._write([line, *_lines(self.path)])

    def keep_the_first(self) -> None:
        """Take all keys but the first out of the file. Raises MasterKeyError."""
        self._write(_lines(self.path)[:1])

    def _write(self, lines: Sequence[str]) -> None:
        try:
            write_anew(self.path, "".join(f"{line}\n" for line in lines))
        except OSError as error:
            raise MasterKeyError(f"{self.path} cannot be written ({error.strerror})") from error
        self._keys = _read(self.path)


def new_master_key() -> tuple[str, MasterKey]:
    """A new key: its line in the file, and the key."""
    secret = os.urandom(KEY_BYTES)
    return urlsafe_b64encode(secret).decode(), MasterKey(secret)


def _read(path: Path) -> list[MasterKey]:
    lines = _lines(path)
    try:
        keys = [MasterKey(b64decode(line, altchars=b"-_", validate=True)) for line in lines]
    except (ValueError, MasterKeyError):
        keys = []
    if not 0 < len(keys) <= MASTER_KEYS_MAX:
        raise MasterKeyError(
            f"{path} does not hold master keys: 1 to {MASTER_KEYS_MAX} lines of {KEY_BYTES} bytes in base64"
        )
    return keys


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split()
    except OSError as error:
        raise MasterKeyError(f"the master key {path} cannot be read ({error.strerror})") from error


def seal(sent: Sent, master: MasterKey) -> tuple[dict[str, Any], bytes, SealingKey | None]:
    """What is stored of an event: its data with sealed texts, its content fingerprint, and its key if it has any.

    The fingerprint of an event with sealed texts is an HMAC under its key, so that nobody can try out texts by it
    without that key. Whoever may post under the event's source can, by sending its id again with other words: those
    with the same words are known, others are a conflict. Such a key can say anything in the source's name.
    """
    fields = [name for name in SEALED_FIELDS[sent.type] if isinstance(sent.data.get(name), str)]
    if not fields:
        return sent.data, sent.content, None

    key = os.urandom(KEY_BYTES)
    event_id = sent.event_uuid
    cipher = AESGCM(key)
    sealed = {name: {"sealed": _seal_text(sent.data[name], cipher, sent.identity + name.encode())} for name in fields}
    kept = SealingKey(
        event_id=event_id, person=sent.event.about(), master=master.name, wrapped=master.wrap(key, event_id)
    )
    return sent.data | sealed, fingerprint(sent.content, key), kept


def fingerprint(content: bytes, key: bytes) -> bytes:
    """The content fingerprint of an event whose texts are sealed under `key`."""
    return hmac.digest(key, content, "sha256")


def open_text(sealed: str, kept: SealingKey | None, master: MasterKeys, field: str) -> str | None:
    """A sealed text in the clear. None once its key was destroyed.

    Raises MasterKeyError if its master key is not at hand: what can be opened by somebody is not shown as erased. And
    if the kept key, or the text, is not what was once kept.
    """
    if kept is None:
        return None
    return unseal(sealed, master.unwrap(kept), kept.event_id, field)


def unseal(sealed: str, key: bytes, event_id: UUID, field: str) -> str:
    """The text that was sealed. Raises MasterKeyError if it was not sealed under this key, for this field."""
    raw = urlsafe_b64decode(sealed)
    try:
        text = AESGCM(key).decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _bound(event_id, field))
    except InvalidTag as error:
        raise MasterKeyError(f"the sealed text of `{field}` does not open with its key") from error
    return text.decode()


def _seal_text(text: str, cipher: AESGCM, bound: bytes) -> str:
    nonce = os.urandom(NONCE_BYTES)
    return urlsafe_b64encode(nonce + cipher.encrypt(nonce, text.encode(), bound)).decode()


def _bound(event_id: UUID, field: str) -> bytes:
    return event_id.bytes + field.encode()
