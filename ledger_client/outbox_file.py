"""The file of an outbox: events that wait to be sent, on disk before anybody is told so. SQLite, one connection.

Every method is one transaction. A file is made whole under another name and then linked to its own, so that whatever
is found under that name was an outbox once: what is not, has been damaged, and is left as it is.
"""

import os
import re
import sqlite3
import struct
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ledger_client.errors import OutboxConflict, OutboxDamaged, OutboxError, OutboxFull, OutboxUnwritable

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

APPLICATION_ID = 0x4C4F5842  # "LOXB": says in the file's header whose it is.
VERSION = 1
BUSY_SECONDS_MAX = 30.0
WAL_HEADER_BYTES = 32
WAL_FRAME_HEADER_BYTES = 24
DEFERRED_SECONDS_MAX = 3_600.0  # Whoever is to wait for longer was deferred by a clock that was ahead.
PLACE_MAX = 2**62

_SALVAGE = "`ledger-outbox salvage FILE NEW` reads what can be read into a new file; then use that one"
_FULL = "nothing was added. Is the ledger away? `ledger-outbox inspect FILE` shows what waits, and what was refused"

_QUERIES = {
    match[1]: match[2]
    for match in re.finditer(
        r"^-- (\w+) --\n(?:-- .*\n)*((?:(?!-- \w+ --).*\n?)*)",
        Path(__file__).with_suffix(".sql").read_text(),
        re.MULTILINE,
    )
}


class Waiting(Struct, frozen=True):
    """An event to send."""

    place: int
    attempts: int
    body: bytes


class Aside(Struct, frozen=True, kw_only=True):
    """An event that the ledger has refused.

    `state`: `refused`, until somebody says what to do; or `deferred`, until `due_at` (seconds since 1970), when it is
    sent again and stands aside no more. `problem`: the problem document. `event`: the CloudEvent.
    """

    place: int
    source: str
    id: str
    state: str
    put_at: float
    attempts: int
    due_at: float
    status: int
    problem: dict[str, Any]
    event: dict[str, Any]


class Counts(Struct, frozen=True, kw_only=True):
    """How many events there are in each state, their bytes, and when the oldest was put (seconds since 1970)."""

    waiting: int
    deferred: int
    refused: int
    bytes: int
    oldest_put_at: float | None


class OutboxFile:
    """An open outbox. To be used by the thread that made it."""

    def __init__(self, path: Path, connection: sqlite3.Connection, *, max_events: int, max_bytes: int) -> None:
        self.path = path
        self._db = connection
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._lock: int | None = None
        self._identity = _identity(path)

    @classmethod
    def open(
        cls, path: Path, ledger: str | None, *, max_events: int, max_bytes: int, make: bool = True
    ) -> "OutboxFile":
        """The outbox in this file, which is made if there is none. `ledger`: the name of the ledger that it is for.

        Raises OutboxDamaged if it is none, and then has not touched it; OutboxUnwritable.
        """
        if not path.exists():
            if not make:
                raise OutboxUnwritable(f"{path}: there is no such file")
            _make(path)
        check(path)
        with _told(path):
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS_MAX, isolation_level=None)
            try:
                # What is acknowledged is on disk; what is removed is overwritten.
                for pragma in ("synchronous=FULL", "fullfsync=ON", "secure_delete=ON", "journal_size_limit=0"):
                    connection.execute(f"PRAGMA {pragma}").fetchall()
                # The first look makes the write-ahead log, so that there is one to know again.
                connection.execute(_QUERIES["room"]).fetchall()
                opened = cls(path, connection, max_events=max_events, max_bytes=max_bytes)
                opened._belongs_to(ledger)
            except BaseException:
                connection.close()
                raise
        return opened

    def close(self) -> None:
        """Close the file. The last one who does moves all that was written into it."""
        self._let_go()
        self._db.close()

    # Putting

    def put(self, events: Sequence[tuple[str, str, bytes]], now: float) -> None:
        """Keep events, each with its source, id and body: all of them or none. One that is here already is passed
        over. Raises OutboxFull, OutboxConflict, OutboxUnwritable."""
        with self._transaction():
            fresh = [each for each in events if not self._is_here(*each)]
            count, size = self._row("room")
            if fresh and count + len(fresh) > self._max_events:
                raise OutboxFull(f"{self.path} holds {count} events, and {self._max_events} at most: {_FULL}.")
            more = sum(len(body) for _, _, body in fresh)
            if fresh and size + more > self._max_bytes:
                raise OutboxFull(f"{self.path} holds {size} bytes, and {self._max_bytes} at most: {_FULL}.")
            for source, id, body in fresh:
                # Within one call the same event may come twice.
                if not self._is_here(source, id, body):
                    self._run("put", source, id, now, sha256(body).digest(), body)
            self._is_the_one_of_that_name()

    # Sending

    def lead(self) -> bool:
        """Whether this is the one that sends: a lock, which the system takes back when the process ends. Raises
        OutboxUnwritable."""
        beside = Path(f"{self.path}.sending")
        try:
            if self._lock is not None and not _is_same(self._lock, beside):
                self._let_go()
            if self._lock is None:
                self._lock = _lock(beside)
        except OSError as error:
            raise OutboxUnwritable(
                f"{beside}, the lock of whoever sends, cannot be used: {error.strerror}. The events are safe in "
                f"{self.path}; look at who may write beside it."
            ) from None
        return self._lock is not None

    def next(self, events_max: int, bytes_max: int, now: float, *, strict_order: bool) -> list[Waiting]:
        """The next events to send, in order; the first one whatever its size. Raises OutboxDamaged."""
        with self._transaction():
            latest = now + DEFERRED_SECONDS_MAX
            before = (self._row("first_standing", now, latest)[0] if strict_order else None) or PLACE_MAX
            # What is on its way does not stand aside: nobody can mend, resend or drop it before its answer is here,
            # and the answer is about the very event that is at its place.
            self._run("due", now, latest, before, events_max)
            places: list[int] = []
            for place, size in self._run("waiting", before, events_max):
                if places and bytes_max < size:
                    break
                places.append(place)
                bytes_max -= size
            if not places:
                return []
            wanted = set(places)
            rows = [row for row in self._run("bodies", places[0], places[-1]) if row[0] in wanted]
        for place, digest, body, _ in rows:
            if sha256(body).digest() != digest:
                raise OutboxDamaged(f"{self.path}: the event at place {place} is not what was put. {_SALVAGE}.")
        return [Waiting(place, attempts, bytes(body)) for place, _, body, attempts in rows]

    def settle(self, sent: Sequence[int], aside: Sequence[tuple[int, str, float, int, Any]]) -> None:
        """Events that are acknowledged go; others stand aside: place, state, time of the next attempt, status,
        problem document."""
        with self._transaction():
            for place in sent:
                self._run("sent", place)
            for place, state, due_at, status, problem in aside:
                self._run("set_aside", state, due_at, status, msgspec.json.encode(problem).decode(), place)

    def tidy(self) -> None:
        """Give back the room of what has been sent, here and in the write-ahead log, as far as nobody is in the way."""
        with _told(self.path):
            self._db.execute("PRAGMA incremental_vacuum").fetchall()
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # What stands aside

    def counts(self) -> Counts:
        with self._transaction():
            states = {state: (count, oldest) for state, count, oldest in self._run("counts")}
            _, size = self._row("room")
        return Counts(
            waiting=states.get("waiting", (0,))[0],
            deferred=states.get("deferred", (0,))[0],
            refused=states.get("refused", (0,))[0],
            bytes=size,
            oldest_put_at=min((oldest for _, oldest in states.values()), default=None),
        )

    def aside(self) -> list[Aside]:
        with self._transaction():
            rows = self._run("aside").fetchall()
        return [
            Aside(
                place=row[0],
                source=row[1],
                id=row[2],
                state=row[3],
                put_at=row[4],
                attempts=row[5],
                due_at=row[6],
                status=row[7],
                problem=msgspec.json.decode(row[8]),
                event=msgspec.json.decode(row[9]),
            )
            for row in rows
        ]

    def id_aside(self, place: int) -> str:
        """The id of an event that stands aside. Raises OutboxError if none does there."""
        with self._transaction():
            row = self._row("id_aside", place)
        if row is None:
            raise self._none_aside(place)
        return str(row[0])

    def resend(self, places: Sequence[int]) -> None:
        """Send events again that stand aside, each at its old place. Raises OutboxError if one does not."""
        with self._transaction():
            for place in places:
                self._changed(self._run("resend", place), place)

    def mend(self, place: int, source: str, id: str, body: bytes) -> None:
        """Give an event that stands aside another content, and send it at its old place. Raises OutboxError if it does
        not."""
        with self._transaction():
            other = self._run("place", source, id).fetchone()
            if other is not None and other[0] != place:
                raise OutboxConflict(f"{self.path}: the id {id} of {source} is at place {other[0]} already")
            self._changed(self._run("mend", source, id, sha256(body).digest(), body, place), place)
            self._is_the_one_of_that_name()

    def drop(self, places: Sequence[int]) -> None:
        """Give up events that stand aside. Raises OutboxError if one does not."""
        with self._transaction():
            for place in places:
                self._changed(self._run("drop", place), place)

    def keep(self, rows: Sequence[Sequence[Any]]) -> None:
        """Take over events of another outbox, each with its place and state."""
        with self._transaction():
            for row in rows:
                self._run("keep", *row)

    def ledger(self) -> str | None:
        """The name of the ledger that the events are for; None as long as nobody has said so."""
        row = self._run("ledger").fetchone()
        return None if row is None else str(row[0])

    def _let_go(self) -> None:
        """Let another one send."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _is_the_one_of_that_name(self) -> None:
        """Raises OutboxUnwritable if the file was removed or replaced: what is written here, nobody would find."""
        if _identity(self.path) != self._identity:
            raise OutboxUnwritable(
                f"{self.path} or its write-ahead log was removed, moved or replaced while it was open; nothing of this "
                "call was kept. Put both back, or open the outbox again."
            )

    def _belongs_to(self, ledger: str | None) -> None:
        if ledger is None:
            return
        with self._transaction():
            known = self.ledger()
            if known is None:
                self._run("claim", ledger)
            elif known != ledger:
                raise OutboxError(
                    f"{self.path} holds events for the ledger `{known}`, not for `{ledger}`. Use another file."
                )

    def _is_here(self, source: str, id: str, body: bytes) -> bool:
        known = self._run("known", source, id).fetchone()
        if known is None:
            return False
        if known[0] != body:
            raise OutboxConflict(
                f"{self.path}: the id {id} of {source} is in it already, with other content. News has an id of "
                "its own; an event that stands aside is changed by `mend`."
            )
        return True

    def _changed(self, cursor: sqlite3.Cursor, place: int) -> None:
        if cursor.rowcount != 1:
            raise self._none_aside(place)

    def _none_aside(self, place: int) -> OutboxError:
        return OutboxError(
            f"{self.path}: nothing stands aside at place {place}: what was there is gone, or waits to be sent, or is "
            "on its way. `refused()` lists what stands aside."
        )

    def _row(self, query: str, *values: Any) -> Any:
        return self._run(query, *values).fetchone()

    def _run(self, query: str, *values: Any) -> sqlite3.Cursor:
        return self._db.execute(_QUERIES[query], values)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _told(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield

                # The promise of `put`: from here on it is on disk.
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def check(path: Path) -> None:
    """Look whether a file is an outbox, whole and readable, without touching it. Raises OutboxDamaged, OutboxError,
    OutboxUnwritable."""
    # Another program's access to the file would give free the locks that SQLite holds on it for this process: so it is
    # looked at through SQLite alone.
    try:
        size = path.stat().st_size
    except OSError as error:
        raise OutboxUnwritable(f"{path} cannot be read: {error.strerror}") from None
    if size == 0:
        raise OutboxDamaged(
            f"{path} is empty, which an outbox never is: what it held is gone. Move it away to begin with a new one."
        )
    _check_wal(path)
    with _told(path), closing(_connect_to_read(path)) as connection:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if application != APPLICATION_ID:
            raise OutboxDamaged(f"{path} is not an outbox but the database of another program. Use another file.")
        if version > VERSION:
            raise OutboxError(
                f"{path} was written by a newer version of this client (format {version}; this one knows {VERSION}). "
                "Install that version or a newer one."
            )
        (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise OutboxDamaged(f"{path} is damaged: {' '.join(found.split())}. {_SALVAGE}.")
        connection.create_function("sha256", 1, lambda body: sha256(body).digest(), deterministic=True)
        altered = [str(place) for (place,) in connection.execute(_QUERIES["altered"])]
        if altered:
            raise OutboxDamaged(f"{path}: events are not what was put, at place {', '.join(altered)}. {_SALVAGE}.")


def _check_wal(path: Path) -> None:
    """The write-ahead log beside the file, if there is one, is what puts have written: SQLite passes over what is
    damaged, and over all that comes after it, in silence."""
    before = b""
    while True:
        try:
            wal = Path(f"{path}-wal").read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutboxUnwritable(f"{path}-wal cannot be read: {error.strerror}") from None
        if _is_whole(wal):
            return
        # Another process may have written while it was read: only what stays so is damage.
        if wal == before:
            raise OutboxDamaged(f"{path}-wal is damaged, and with it what was last put. {_SALVAGE}.")
        before = wal


def _is_whole(wal: bytes) -> bool:
    """Whether a log can come of puts and of crashes. A crash spoils the last transaction at most, which nobody was told
    is on disk: where two were committed from the first bad frame on, it was none."""
    header = wal[:WAL_HEADER_BYTES]
    if len(header) < WAL_HEADER_BYTES or not any(header):
        return True
    if not is_wal_header(header):
        return False
    size = int.from_bytes(header[8:12], "big")
    sums = struct.unpack(">2I", header[24:32])
    good, committed = True, 0
    for start in range(WAL_HEADER_BYTES, len(wal) - WAL_FRAME_HEADER_BYTES - size + 1, WAL_FRAME_HEADER_BYTES + size):
        head, page = wal[start : start + 24], wal[start + 24 : start + 24 + size]
        ours = head[8:16] == header[16:24]
        if good:
            sums = _checksums(header, head[:8] + page, *sums)
            good = ours and struct.unpack(">2I", head[16:24]) == sums
        # The last frame of a transaction says how large the file is from then on.
        if not good and ours and any(head[4:8]):
            committed += 1
            if committed == 2:
                return False
    return True


def is_wal_header(header: bytes) -> bool:
    """Whether these bytes begin a write-ahead log (https://www.sqlite.org/fileformat2.html, 4.1)."""
    magic = int.from_bytes(header[:4], "big")
    if magic not in (0x377F0682, 0x377F0683):
        return False
    return struct.unpack(">2I", header[24:32]) == _checksums(header, header[:24])


def _checksums(header: bytes, content: bytes, first: int = 0, second: int = 0) -> tuple[int, int]:
    """The two sums over some content, going on from those of what comes before it; the header says which end of a word
    comes first."""
    order = "<" if int.from_bytes(header[:4], "big") == 0x377F0682 else ">"
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


def _connect_to_read(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS_MAX)


def _make(path: Path) -> None:
    """Make a new outbox. Of several who do, one wins, and all go on with its file."""
    if Path(f"{path}-wal").exists():
        raise OutboxDamaged(
            f"{path} is missing, but its write-ahead log {path}-wal is there. Put back the file that belongs to it, or "
            "move the log away to begin with a new one."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.making-", dir=path.parent)  # Its mode is 0600.
        os.close(descriptor)
    except OSError as error:
        raise OutboxUnwritable(f"{path} cannot be made: {error.strerror}") from None
    fresh = Path(name)
    try:
        with _told(path), closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={VERSION}")
            connection.executescript(_QUERIES["make"])
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
        _sync(fresh)
        with suppress(FileExistsError):
            os.link(fresh, path)
        _sync(path.parent)
    except OSError as error:
        raise OutboxUnwritable(f"{path} cannot be made: {error.strerror}") from None
    finally:
        fresh.unlink(missing_ok=True)


def _lock(beside: Path) -> int | None:
    """The lock of whoever sends, held by an open file; None if another holds it. It writes nothing, so that an outbox
    can be sent when the disk is full, and whatever somebody has put into that file is nobody's concern. Raises
    OSError."""
    held = os.open(beside, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if sys.platform == "win32":
            msvcrt.locking(held, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        os.close(held)
        return None
    except BaseException:
        os.close(held)
        raise
    if _is_same(held, beside):
        return held
    os.close(held)  # It was removed meanwhile: a later one has another file.
    return None


def _is_same(held: int, path: Path) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(held), path.stat())
    except FileNotFoundError:
        return False


def _identity(path: Path) -> list[tuple[int, int] | None]:
    """Which file has that name, and which one is the log beside it."""
    found: list[tuple[int, int] | None] = []
    for each in (path, Path(f"{path}-wal")):
        try:
            status = each.stat()
            found.append((status.st_dev, status.st_ino))
        except OSError:
            found.append(None)
    return found


def _sync(path: Path) -> None:
    if os.name == "nt":
        return  # It has no such call for directories.
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """SQLite's errors in our words."""
    try:
        yield
    except sqlite3.Error as error:
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:
            case sqlite3.SQLITE_FULL:
                reason = "there is no room on the disk. Make room; nothing of this call was kept"
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                reason = (
                    f"another process has been writing for {BUSY_SECONDS_MAX:.0f} s; nothing of this call was kept. Do "
                    "it again, and if it stays so, look which process holds the file"
                )
            case sqlite3.SQLITE_CORRUPT:
                raise OutboxDamaged(f"{path} is damaged ({error}). {_SALVAGE}.") from error
            case sqlite3.SQLITE_NOTADB:
                raise OutboxDamaged(
                    f"{path} is not an outbox, or its beginning is damaged ({error}). {_SALVAGE}."
                ) from error
            case _:
                reason = f"{error}. Look at the disk and at who may write there; nothing of this call was kept"
        raise OutboxUnwritable(f"{path}: {reason}.") from error
