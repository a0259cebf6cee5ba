"""Whether the log goes on from where it was last known to be: it extends the last checkpoint kept outside the database.

One that does not was restored, failed over to a copy that lagged, or was tampered with. It takes no writes until an
operator says what happened (`ledger accept-history`), which is kept beside the checkpoints.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from schemas.times import format_time
from services.kept_outside import File, KeptOutside, store_of
from services.postgres import Unavailable, connect, unavailable
from services.proof.accepted import Accepted
from services.proof.checkpoint import Checkpoint
from services.proof.note import NoteError, VerifierKey
from services.settings import Settings
from services.signing import Signing, SigningKeyError, signing_of
from services.tree import Database, Tree

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
        self._amiss: Doubt | Unavailable | None = None
        self._looked_at = -LOOK_SECONDS
        self._looking = asyncio.Lock()

    async def settle(self) -> None:
        """Look for the first time, and again while something is amiss. Raises Doubt and Unavailable."""
        if self._is_settled:
            return
        async with self._looking:  # One look is for all who wait.
            if self._is_due():
                self._amiss = await self._look_again()
                self._looked_at = time.monotonic()
        if self._amiss is not None:
            raise self._amiss.with_traceback(None)

    @property
    def _is_settled(self) -> bool:
        return self._looked_at >= 0 and self._amiss is None

    def _is_due(self) -> bool:
        return not self._is_settled and time.monotonic() - self._looked_at >= LOOK_SECONDS

    async def _look_again(self) -> Doubt | Unavailable | None:
        try:
            self._least = await self._look()
        except (Doubt, Unavailable) as amiss:
            return amiss
        except OSError as error:
            return Unavailable(f"the checkpoints kept outside cannot be read ({error.strerror})")
        except SigningKeyError as error:
            return Unavailable(f"nobody says whose signatures count: {error}")
        return None

    def goes_on_from(self, position: int) -> None:
        """The log ends there, and what comes next is about to be appended. Raises Doubt if it was longer before."""
        if position < self._least:
            self._amiss = Doubt(f"the log has {position} events, and it had {self._least}")
            raise self._amiss

    def reached(self, position: int) -> None:
        self._least = max(self._least, position)


class LastKept(NamedTuple):
    """The last checkpoint kept outside, and where it was read."""

    place: str
    note: bytes


Last = LastKept | Literal["none", "accepted"]
"""The last checkpoint kept outside. None: nothing was ever kept there. Accepted: what had happened to those that were
was accepted, and none was kept since."""


async def last_kept(outside: KeptOutside) -> Last:
    """Raises OSError."""

    def read() -> Last:
        file = outside.last()
        if file is None:
            return "accepted" if outside.has_begun() else "none"
        return LastKept(str(file), file.read_bytes())

    return await asyncio.to_thread(read)


async def check(database: Database, tree: Tree, origin: str, keys: Signing, outside: KeptOutside) -> int:
    """The size of the last checkpoint kept outside, which the log extends; 0 if it has had none, or if what happened to
    them was accepted. Raises Doubt, SigningKeyError, OSError and Unavailable."""
    return await goes_on(database, tree, origin, keys, await last_kept(outside))


async def goes_on(database: Database, tree: Tree, origin: str, keys: Signing, last: Last) -> int:
    """The size of this checkpoint, which the log extends. Raises Doubt, SigningKeyError and Unavailable."""
    if last == "none" and await tree.last_checkpoint(database) is not None:
        raise Doubt(
            "the log has had checkpoints, and none is kept outside the database: bring them to where "
            "LEDGER_CHECKPOINTS says"
        )
    if not isinstance(last, LastKept):
        return 0
    with unavailable():
        checkpoint = await _checkpoint(database, tree, origin, keys, last)
        size = await tree.size_of_log(database)
        if size < checkpoint.size:
            raise Doubt(f"the log has {size} events, and {last.place} says that it had {checkpoint.size}")
        if (await tree.edge(database, checkpoint.size)).root != checkpoint.root:
            raise Doubt(f"the first {checkpoint.size} events of the log are not those that {last.place} was signed for")
    return checkpoint.size


async def _checkpoint(database: Database, tree: Tree, origin: str, keys: Signing, last: LastKept) -> Checkpoint:
    known = [VerifierKey.read(key) for key in await tree.verifier_keys(database)]
    try:
        return Checkpoint.verified(last.note, origin, known)
    except NoteError:
        pass  # Who signs is asked only now: what has signed before is known, also while a signing command is away.
    try:
        return Checkpoint.verified(last.note, origin, [*known, *await keys.verifier_keys(origin)])
    except NoteError as error:
        raise Doubt(f"{last.place} is not a checkpoint of this log: {error}") from None


async def accept(outside: KeptOutside, origin: str, keys: Signing, *, size: int, reason: str, by: str) -> File:
    """Keep what an operator says happened, signed, and begin a new series of checkpoints; the file that has it. Raises
    NoteError where the words do not fit in a note, SigningKeyError and OSError."""
    words = " ".join(reason.split())
    if not words or len(words) > REASON_CHARACTERS_MAX:
        raise NoteError(f"a reason has 1 to {REASON_CHARACTERS_MAX} characters")
    last = await asyncio.to_thread(outside.last)
    accepted = Accepted(
        at=format_time(datetime.now(UTC)),
        by=" ".join(by.split()),
        events=size,
        last="none" if last is None else last.name,
        reason=words,
    )
    note = await keys.sign(origin, accepted.text(origin))
    return await asyncio.to_thread(outside.begin_anew, str(note))


async def accept_history(settings: Settings, ledger: str, *, reason: str, by: str) -> File:
    """What an operator does: keep what is said, and let the log go on. The file that has it.

    Raises NoteError, SigningKeyError, OSError and Unavailable; and Doubt, where there is none to settle.
    """
    keys, outside = signing_of(settings), KeptOutside(store_of(settings), ledger)
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
            with unavailable():
                size = await tree.size_of_log(connection)
            return await accept(outside, origin, keys, size=size, reason=reason, by=by)
        raise Doubt(f"nothing is in doubt: the log extends its last checkpoint, which has {size} events")
    finally:
        await connection.close()
