"""Whether the log goes on from where it was last known to be: it extends the last checkpoint kept outside the database.

One that does not was restored, failed over to a copy that lagged, or was tampered with. It takes no writes until an
operator says what happened (`ledger accept-history`), which is kept beside the checkpoints.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple, TypeVar

from schemas.times import format_time
from services.bucket import KeptOtherwise
from services.kept_outside import File, KeptOutside, store_of
from services.postgres import Unavailable, connect, unavailable
from services.proof.accepted import Accepted
from services.proof.checkpoint import Checkpoint
from services.proof.growth import Edge
from services.proof.note import NoteError, VerifierKey, read_keys
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

    def __init__(self, look: Callable[[], Awaitable["Extended"]]) -> None:
        """`look`: what the log extends, as `look` has it."""
        self._look = look
        self._known: Extended | None = None
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
            known = await self._look()
        except (Doubt, Unavailable) as amiss:
            return amiss
        except OSError as error:
            return Unavailable(f"the checkpoints kept outside cannot be read ({error.strerror})")
        except SigningKeyError as error:
            return Unavailable(f"nobody says whose signatures count: {error}")
        # What this process has seen itself is forgotten only for what somebody has accepted since.
        is_same = self._known is not None and self._known.series == known.series
        self._least = max(self._least, known.size) if is_same else known.size
        self._known = known
        return None

    def goes_on_from(self, position: int) -> None:
        """The log ends there, and what comes next is about to be appended. Raises Doubt if it was longer before."""
        if position < self._least:
            self._amiss = Doubt(f"the log has {position} events, and it had {self._least}")
            raise self._amiss

    def reached(self, position: int) -> None:
        self._least = max(self._least, position)


class Kept(NamedTuple):
    """A note that is kept outside, and where it was read."""

    place: str
    note: bytes


class Last(NamedTuple):
    """What the log has to extend: of the series that goes on, what was said had happened before, and the last
    checkpoint. None: there is none."""

    series: str
    is_first: bool
    accepted: Kept | None
    checkpoint: Kept | None


class Extended(NamedTuple):
    """How many events the log is known to have had, in which series of checkpoints; it extends them."""

    size: int
    series: str


async def last_kept(outside: KeptOutside) -> Last:
    """Raises OSError."""

    def read() -> Last:
        series, is_first, *files = outside.going_on()
        return Last(series, is_first, *(None if each is None else Kept(str(each), each.read_bytes()) for each in files))

    return await asyncio.to_thread(read)


async def look(database: Database, tree: Tree, origin: str, keys: Signing, outside: KeptOutside) -> Extended:
    """What is kept outside, which the log extends. Raises Doubt, SigningKeyError, OSError and Unavailable."""
    last = await last_kept(outside)
    try:
        return Extended(await goes_on(database, tree, origin, keys, last), last.series)
    except Doubt:
        # The first checkpoint may have been kept, outside and inside, between the one look and the other.
        if (again := await last_kept(outside)) == last:
            raise
        return Extended(await goes_on(database, tree, origin, keys, again), again.series)


async def check(database: Database, tree: Tree, origin: str, keys: Signing, outside: KeptOutside) -> int:
    """How many events the log is known by what is kept outside to have had, and it extends them; 0 if nothing is known.
    Raises Doubt, SigningKeyError, OSError and Unavailable."""
    return (await look(database, tree, origin, keys, outside)).size


async def goes_on(database: Database, tree: Tree, origin: str, keys: Signing, last: Last) -> int:
    """How many events the log was said to have had, all of which it still has. Raises Doubt, SigningKeyError and
    Unavailable."""
    with unavailable():
        size = await tree.size_of_log(database)
        accepted = await _accepted(database, tree, origin, keys, last)
        least = 0 if accepted is None else accepted.events
        if last.checkpoint is None:
            await _has_had_none(database, tree, size, least, accepted is None)
        if accepted is not None and last.accepted is not None:
            await _extends(database, tree, size, accepted.events, accepted.root, last.accepted.place)
        if last.checkpoint is not None:
            read = partial(Checkpoint.verified, last.checkpoint.note, origin)
            try:
                checkpoint = await _by_those_known(read, database, tree, origin, keys)
            except NoteError as error:
                raise Doubt(f"{last.checkpoint.place} is not a checkpoint of this log: {error}") from None
            await _extends(database, tree, size, checkpoint.size, checkpoint.root, last.checkpoint.place)
            least = max(least, checkpoint.size)
    return least


async def _accepted(database: Database, tree: Tree, origin: str, keys: Signing, last: Last) -> Accepted | None:
    """What was said had happened before this series. Only the first one may begin without. Raises Doubt."""
    if last.accepted is None:
        if not last.is_first:
            raise Doubt(f"nobody has said why the series {last.series} of checkpoints began: it has no accepted.note")
        return None
    read = partial(Accepted.verified, last.accepted.note, origin)
    try:
        accepted = await _by_those_known(read, database, tree, origin, keys)
    except NoteError as error:
        raise Doubt(f"{last.accepted.place} does not say what happened to this log: {error}") from None
    if accepted.series != last.series:
        raise Doubt(f"{last.accepted.place} was said of the series {accepted.series}")
    return accepted


async def _has_had_none(database: Database, tree: Tree, size: int, accepted: int, is_first: bool) -> None:
    """Raises Doubt if the log has had checkpoints, of more than what was accepted: they were kept outside, too."""
    inside = await tree.last_checkpoint(database)
    if inside is not None and (is_first or accepted < inside.size <= size):
        raise Doubt(
            "the log has had checkpoints, and none is kept outside the database: bring them to where "
            "LEDGER_CHECKPOINTS says"
        )


async def _extends(database: Database, tree: Tree, size: int, before: int, root: bytes, place: str) -> None:
    """Raises Doubt unless the log, which has this size, begins with what it had before."""
    if size < before:
        raise Doubt(f"the log has {size} events, and {place} says that it had {before}")
    if (await tree.edge(database, before)).root != root:
        raise Doubt(f"the first {before} events of the log are not those that {place} was signed for")


_Said = TypeVar("_Said")


async def _by_those_known(
    read: Callable[[Sequence[VerifierKey]], _Said], database: Database, tree: Tree, origin: str, keys: Signing
) -> _Said:
    """What a note says that one of those has signed who have signed before, or who sign now. Raises NoteError."""
    signed, _ = read_keys(await tree.verifier_keys(database))  # The auditor tells of what is no key.
    try:
        return read(signed)
    except NoteError:
        pass  # Who signs is asked only now: what has signed before is known, also while a signing command is away.
    return read([*signed, *await keys.verifier_keys(origin)])


async def accept(outside: KeptOutside, origin: str, keys: Signing, *, edge: Edge, reason: str, by: str) -> File:
    """Keep what an operator says happened to a log that has this edge, signed, and begin a new series of checkpoints;
    the file that has it. Raises NoteError where the words do not fit in a note, Doubt where somebody else has begun
    that series meanwhile, SigningKeyError and OSError."""
    words = " ".join(reason.split())
    if not words or len(words) > REASON_CHARACTERS_MAX:
        raise NoteError(f"a reason has 1 to {REASON_CHARACTERS_MAX} characters")
    last, series = await asyncio.to_thread(lambda: (outside.last(), outside.following()))
    accepted = Accepted(
        at=format_time(datetime.now(UTC)),
        by=" ".join(by.split()),
        events=edge.size,
        root=edge.root,
        series=series,
        last="none" if last is None else last.name,
        reason=words,
    )
    note = await keys.sign(origin, accepted.text(origin))
    try:
        return await asyncio.to_thread(outside.begin_anew, series, str(note))
    except KeptOtherwise as error:
        raise Doubt(f"somebody else has accepted meanwhile what happened: {error}; read that first") from None


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
                edge = await tree.edge(connection, await tree.size_of_log(connection))
            return await accept(outside, origin, keys, edge=edge, reason=reason, by=by)
        raise Doubt(
            f"nothing is in doubt: the log extends what is kept outside, which has {size} events; a service that has "
            "seen more itself, which is lost, goes on when it is started anew"
        )
    finally:
        await connection.close()
