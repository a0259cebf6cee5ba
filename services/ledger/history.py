"""Whether the log goes on from where it was last known to be: it extends the last checkpoint kept outside the database.

One that does not was restored, failed over to a copy that lagged, or was tampered with. It takes no writes until an
operator says what happened (`ledger accept-history`), which is kept beside the checkpoints.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import asyncpg

from schemas.times import format_time
from services.kept_outside import KeptOutside
from services.postgres import Pool, Unavailable, connect, unavailable
from services.proof.checkpoint import Checkpoint
from services.proof.note import Note, NoteError, VerifierKey
from services.settings import Settings
from services.signing import SigningKeys
from services.tree import Tree

REASON_CHARACTERS_MAX = 2_000


LOOK_SECONDS = 2.0
"""Between two looks whether an operator has said what happened."""


class Doubt(Exception):
    """The log does not extend what is kept outside; the text says how."""


class History:
    """What this process knows of the past of one log, before which it must not end."""

    def __init__(self, look: Callable[[], Awaitable[int]]) -> None:
        """`look`: the size that the log extends, as `check` has it."""
        self._look = look
        self._least = 0
        self._doubt: Doubt | None = None
        self._looked_at = -LOOK_SECONDS

    async def settle(self) -> None:
        """Look for the first time, and again while there is doubt. Raises Doubt and Unavailable."""
        if self._looked_at >= 0 and self._doubt is None:
            return
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            try:
                self._least, self._doubt = await self._look(), None
            except Doubt as doubt:
                self._doubt = doubt
            except OSError as error:
                raise Unavailable(f"the checkpoints kept outside cannot be read ({error.strerror})") from error
            self._looked_at = time.monotonic()
        if self._doubt is not None:
            raise self._doubt

    def goes_on_from(self, position: int) -> None:
        """The log ends there, and what comes next is about to be appended. Raises Doubt if it was longer before."""
        if position < self._least:
            self._doubt = Doubt(f"the log has {position} events, and it had {self._least}")
            raise self._doubt

    def reached(self, position: int) -> None:
        self._least = max(self._least, position)


async def check(
    database: Pool | asyncpg.Connection, tree: Tree, origin: str, keys: SigningKeys, outside: KeptOutside
) -> int:
    """The size of the last checkpoint kept outside, which the log extends; 0 if it has had none, or if what happened to
    them was accepted. Raises Doubt, and OSError."""
    path = outside.last()
    if path is None:
        if not outside.has_begun() and await tree.last_checkpoint(database) is not None:
            raise Doubt(
                "the log has had checkpoints, and none is kept outside the database: bring them to where "
                "LEDGER_CHECKPOINTS says"
            )
        return 0
    known = [signer.key for signer in keys.signers(origin)]
    known += [VerifierKey.read(key) for key in await tree.verifier_keys(database)]
    try:
        checkpoint = Checkpoint.verified(path.read_bytes(), origin, known)
    except NoteError as error:
        raise Doubt(f"{path} is not a checkpoint of this log: {error}") from None
    size = await tree.size_of_log(database)
    if size < checkpoint.size:
        raise Doubt(f"the log has {size} events, and {path} says that it had {checkpoint.size}")
    if (await tree.edge(database, checkpoint.size)).root != checkpoint.root:
        raise Doubt(f"the first {checkpoint.size} events of the log are not those that {path} was signed for")
    return checkpoint.size


def accept(outside: KeptOutside, origin: str, keys: SigningKeys, *, size: int, reason: str, by: str) -> Path:
    """Keep what an operator says happened, signed, and begin a new series of checkpoints. Raises NoteError where the
    words do not fit in a note, and OSError."""
    words = " ".join(reason.split())
    if not words or len(words) > REASON_CHARACTERS_MAX:
        raise NoteError(f"a reason has 1 to {REASON_CHARACTERS_MAX} characters")
    last = outside.last()
    told = [
        origin,
        "history accepted",
        f"at: {format_time(datetime.now(UTC))}",
        f"by: {' '.join(by.split())}",
        f"events now: {size}",
        f"last checkpoint: {'none' if last is None else last.name}",
        f"reason: {words}",
    ]
    note = Note.signed("".join(f"{line}\n" for line in told), keys.signers(origin))
    return outside.begin_anew(str(note))


async def accept_history(settings: Settings, ledger: str, *, reason: str, by: str) -> Path:
    """What an operator does: keep what is said, and let the log go on. The file that has it.

    Raises NoteError, SigningKeyError, OSError and Unavailable; and Doubt, where there is none to settle.
    """
    keys, outside = SigningKeys.load(settings.signing_key), KeptOutside(settings.checkpoints_directory, ledger)
    connection = await connect(settings.url("auditor"))
    try:
        with unavailable():
            origin = await connection.fetchval("SELECT origin FROM registry.ledgers WHERE name = $1", ledger)
            if origin is None:
                raise Doubt(f"there is no ledger {ledger!r}")
            tree = Tree(ledger)
            try:
                size = await check(connection, tree, origin, keys, outside)
            except Doubt:
                size = await tree.size_of_log(connection)
                return accept(outside, origin, keys, size=size, reason=reason, by=by)
            raise Doubt(f"nothing is in doubt: the log extends its last checkpoint, which has {size} events")
    finally:
        await connection.close()
