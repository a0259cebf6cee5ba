"""Sealing: customers' words and persons' names are encrypted before an event is stored and hashed.

Each event has a random 256-bit key of its own. Its texts are AES-256-GCM under that key (NIST SP 800-38D; nonce
of 96 random bits; the event's UUID and the field's name are authenticated with it). The key is wrapped, AES-256-GCM
again, by a master key that is kept outside the database. Destroying the wrapped key erases the texts, while the
stored bytes, and every proof over them, stay as they were.
"""

import hmac
import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from schemas.envelope import Sent
from schemas.events import SEALED_FIELDS
from services.secret_files import read_or_make

KEY_BYTES = 32
NONCE_BYTES = 12


class MasterKeyError(Exception):
    """The master key is missing, malformed, or not the one that wrapped a key."""


class SealingKey(Struct, frozen=True, kw_only=True):
    """The key of one event as it is kept: wrapped, with the name of its master key and the person it is about."""

    event_id: UUID
    person: str | None
    master: str
    wrapped: bytes


class MasterKey:
    """Wraps and unwraps the keys of events. `name` tells master keys apart and says nothing about the key."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != KEY_BYTES:
            raise MasterKeyError(f"a master key has {KEY_BYTES} bytes, not {len(secret)}")
        self.name = sha256(b"requirements-ledger master key\n" + secret).hexdigest()[:16]
        self._cipher = AESGCM(secret)

    @classmethod
    def load(cls, path: Path) -> "MasterKey":
        """The key in a file: 32 bytes in base64. Raises MasterKeyError."""
        try:
            return cls(urlsafe_b64decode(path.read_bytes().strip()))
        except OSError as error:
            raise MasterKeyError(f"the master key {path} cannot be read ({error.strerror})") from error
        except ValueError as error:
            raise MasterKeyError(f"{path} does not hold a master key: 32 bytes in base64") from error

    @classmethod
    def load_or_make(cls, path: Path) -> "MasterKey":
        """The key in a file, made if there is none. Raises MasterKeyError."""
        try:
            read_or_make(path, lambda: urlsafe_b64encode(os.urandom(KEY_BYTES)).decode())
        except OSError as error:
            raise MasterKeyError(f"the master key {path} cannot be made ({error.strerror})") from error
        return cls.load(path)

    def wrap(self, key: bytes, event_id: UUID) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, key, event_id.bytes)

    def wrapped(self, kept: SealingKey) -> bool:
        """Whether it was this master key that wrapped the key of an event."""
        return kept.master == self.name

    def unwrap(self, kept: SealingKey) -> bytes:
        """The key of an event. Raises MasterKeyError if another master key wrapped it."""
        if not self.wrapped(kept):
            raise MasterKeyError(f"the key was wrapped by master key {kept.master}, and this is {self.name}")
        try:
            return self._cipher.decrypt(kept.wrapped[:NONCE_BYTES], kept.wrapped[NONCE_BYTES:], kept.event_id.bytes)
        except InvalidTag as error:
            raise MasterKeyError("the wrapped key was changed after it was kept") from error


def seal(sent: Sent, master: MasterKey) -> tuple[dict[str, Any], bytes, SealingKey | None]:
    """What is stored of an event: its data with sealed texts, its content fingerprint, and its key if it has any.

    The fingerprint of an event with sealed texts is an HMAC under its key, so that nobody can try out texts.
    """
    fields = [name for name in SEALED_FIELDS[sent.type] if isinstance(sent.data.get(name), str)]
    if not fields:
        return sent.data, sent.content, None

    key = os.urandom(KEY_BYTES)
    event_id = sent.event_uuid
    sealed = {name: {"sealed": _seal_text(sent.data[name], key, event_id, name)} for name in fields}
    kept = SealingKey(
        event_id=event_id, person=sent.event.about(), master=master.name, wrapped=master.wrap(key, event_id)
    )
    return sent.data | sealed, fingerprint(sent.content, key), kept


def fingerprint(content: bytes, key: bytes) -> bytes:
    """The content fingerprint of an event whose texts are sealed under `key`."""
    return hmac.digest(key, content, "sha256")


def open_text(sealed: str, kept: SealingKey | None, master: MasterKey, field: str) -> str | None:
    """A sealed text in the clear. None once its key was destroyed, or if its master key is lost.

    Raises MasterKeyError if the kept key, or the text, is not what was once kept.
    """
    if kept is None or not master.wrapped(kept):
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


def _seal_text(text: str, key: bytes, event_id: UUID, field: str) -> str:
    nonce = os.urandom(NONCE_BYTES)
    return urlsafe_b64encode(nonce + AESGCM(key).encrypt(nonce, text.encode(), _bound(event_id, field))).decode()


def _bound(event_id: UUID, field: str) -> bytes:
    return event_id.bytes + field.encode()
