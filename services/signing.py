"""Who signs checkpoints: Ed25519 seeds in a file of their own, outside the database; or a command of the operator,
which asks a key that is elsewhere (an HSM, a cloud's key service, another host).

In the file, a line is a seed of 32 bytes in base64; the first is the newest. While there are several, all sign: so
whoever knows one of them can go on verifying.

The command is run without a shell, with two more arguments, and ends with status 0 within 10 seconds:

    COMMAND keys ORIGIN    prints the verifier keys of this log, a line each, the newest first (C2SP signed-note)
    COMMAND sign ORIGIN    reads the text of a note, and prints a line with a signature by each of these keys

Whatever it prints is verified before it is used.
"""

import asyncio
import contextlib
import os
import signal
from asyncio.subprocess import PIPE, Process
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.proof.note import KeySigner, Note, NoteError, Signer, VerifierKey
from services.secret_files import read_or_make, write_anew
from services.settings import Settings

SEED_OCTETS = 32
KEYS_MAX = 8
COMMAND_SECONDS_MAX = 10.0
COMMAND_OCTETS_MAX = 64 * 1024  # As a note has at most.
TOLD_CHARACTERS_MAX = 500  # Of what a command says on its standard error.


class SigningKeyError(Exception):
    """The file of the signing keys cannot be read, or holds something else; or the command did not sign. The text says
    what to do."""


class Signing(Protocol):
    """Signs for any log, each under the name of its origin. Raises SigningKeyError throughout."""

    async def verifier_keys(self, origin: str) -> list[VerifierKey]:
        """Of those who sign, the newest first."""

    async def sign(self, origin: str, text: str) -> Note:
        """A note with a signature by each of them, which has been verified. Raises NoteError, if the text is not one of
        a note."""


def signing_of(settings: Settings) -> Signing:
    """Who signs by these settings. Raises SigningKeyError."""
    command = settings.signing_arguments
    return SigningKeys.load(settings.signing_key) if command is None else SigningCommand(command)


class SigningKeys:
    """Signs for any log, each under the name of its origin."""

    def __init__(self, keys: Sequence[Ed25519PrivateKey]) -> None:
        self._keys = keys

    def signers(self, origin: str) -> list[Signer]:
        return [KeySigner(origin, key) for key in self._keys]

    async def verifier_keys(self, origin: str) -> list[VerifierKey]:
        return [signer.key for signer in self.signers(origin)]

    async def sign(self, origin: str, text: str) -> Note:
        return Note.signed(text, self.signers(origin))

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


class SigningCommand:
    """Signs by a command, for any log. What it is and how it is asked is said at the top."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._keys: dict[str, list[VerifierKey]] = {}

    async def verifier_keys(self, origin: str) -> list[VerifierKey]:
        """As it last said; it is asked again when it signs with others."""
        if origin not in self._keys:
            said = await self._run("keys", origin, b"")
            try:
                keys = [VerifierKey.read(line) for line in said.splitlines()]
            except NoteError as error:
                raise self._amiss(f"for `keys` it printed something else: {error}") from None
            if not 0 < len(keys) <= KEYS_MAX or any(key.name != origin for key in keys):
                raise self._amiss(f"for `keys` it printed not 1 to {KEYS_MAX} verifier keys named {origin}")
            self._keys[origin] = keys
        return self._keys[origin]

    async def sign(self, origin: str, text: str) -> Note:
        Note.signed(text, ())  # Nobody is asked to sign what cannot be a note.
        said = await self._run("sign", origin, text.encode())
        try:
            note = Note.read(f"{text}\n{said}".encode())
            if note.text != text:
                raise NoteError("more than lines of signatures")
            if {each.key_id for each in note.signatures} != {key.id for key in await self.verifier_keys(origin)}:
                self._keys.pop(origin)  # Its keys were changed, it may be.
            keys = await self.verifier_keys(origin)
            signed = note.verified_by(keys)
        except NoteError as error:
            raise self._amiss(f"for `sign` it printed something else: {error}") from None
        if {*signed} != {*keys} or len(note.signatures) != len(keys):
            raise self._amiss(
                f"for `sign` it printed something else than one signature by each of its {len(keys)} keys"
            )
        return note

    async def _run(self, what: str, origin: str, given: bytes) -> str:
        """What the command prints. It is killed, with all that it has started, once its time is over."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command, what, origin, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
            )
        except OSError as error:
            raise self._amiss(f"it cannot be run ({error.strerror})") from error
        try:
            async with asyncio.timeout(COMMAND_SECONDS_MAX):
                _, said, complaint = await asyncio.gather(
                    _give(process, given), _read(process.stdout), _read(process.stderr)
                )
                status = await process.wait()
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            # Waiting is for the end of the pipes, too, which something that has left the group may hold.
            process._transport.close()  # type: ignore[attr-defined]
            await process.wait()
            if isinstance(error, TimeoutError):
                raise self._amiss(f"it had not ended after {COMMAND_SECONDS_MAX:g} seconds") from None
            raise
        told = complaint[: 4 * TOLD_CHARACTERS_MAX].decode(errors="replace").strip()[:TOLD_CHARACTERS_MAX]
        if status != 0:
            raise self._amiss(f"it ended with status {status}{f', saying: {told}' if told else ''}")
        if len(said) > COMMAND_OCTETS_MAX:
            raise self._amiss(f"it printed more than {COMMAND_OCTETS_MAX} bytes")
        try:
            return said.decode()
        except UnicodeDecodeError:
            raise self._amiss("it printed something that is not UTF-8") from None

    def _amiss(self, what: str) -> SigningKeyError:
        return SigningKeyError(f"the signing command {self._command[0]}: {what}")


async def _give(process: Process, given: bytes) -> None:
    assert process.stdin is not None
    with contextlib.suppress(ConnectionError):  # It need not read all of it; what it prints is what counts.
        process.stdin.write(given)
        await process.stdin.drain()
    process.stdin.close()


async def _read(stream: asyncio.StreamReader | None) -> bytes:
    """All of it, of which no more is kept than may be there."""
    assert stream is not None
    kept = b""
    while more := await stream.read(COMMAND_OCTETS_MAX):
        kept = (kept + more)[: COMMAND_OCTETS_MAX + 1]
    return kept


def _new_seed() -> str:
    return b64encode(os.urandom(SEED_OCTETS)).decode()
