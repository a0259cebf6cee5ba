"""What could not become events yet: bodies whose signature was right, in a SQLite file for its owner only.

A body is on disk (synchronous=FULL) before its sender is answered. It is AES-256-GCM under a key in a file beside, as
the reason is, which may quote it: customers' words do not lie on disk in the clear. The digest by which a body is known
again is an HMAC under a key derived from the same.

Several processes may use the file at once: the service, the command line, a second service.
"""

import hmac
import os
import sqlite3
import threading
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec import Struct

from schemas.times import format_time
from services.secret_files import read_or_make
from services.statements import Statements

FILE = "receiver.sqlite3"
KEY_FILE = "receiver-kept.key"
KEY_BYTES = 32
NONCE_BYTES = 12
APPLICATION_ID = 0x1ED6E8  # Any constant of our own: it tells our files from those of other programs.
VERSION = 1
BUSY_SECONDS_MAX = 10
DELIVERED_DAYS_KEPT = 30
OVERHEAD_BYTES = 512  # Of a row, beside the body, the headers and the reason.
HOOK_PERCENT_MAX = (
    25  # Of the room that all hooks share: one that is wrong, or that anybody may post to, leaves the rest.
)
REASON_CHARS_MAX = 2_000

State = Literal["waiting", "refused"]

_HEADER = b"SQLite format 3\0"
_statements = Statements.load(Path(__file__).with_name("kept.sql"))


class KeptUnusable(Exception):
    """The file, or its key, cannot be used; the text names it and says what to do. It was left as it is."""


class KeptFull(Exception):
    """There is no room for another body."""


class AnotherBody(Exception):
    """The id of the delivery came before with another body."""


class Came(Struct, frozen=True):
    """A request whose signature was right. `headers`: those that a mapping may read, the names in lower case."""

    headers: dict[str, str]
    body: bytes


class Delivery(Struct, frozen=True):
    """Which delivery a request is: the sender's id, or else one made of the body; and the body's digest."""

    hook: str
    id: str
    digest: bytes


class Item(Struct, frozen=True, kw_only=True):
    """One that is kept, without what came. `waiting`: for the ledger only; it goes on by itself. Times are in UTC."""

    id: int
    delivery: Delivery
    state: State
    problem: str
    reason: str
    size: int
    received_at: str
    tried_at: str
    tries: int


class Count(Struct, frozen=True):
    """How many of a hook are kept, their bytes, and when the first came."""

    hook: str
    state: State
    count: int
    size: int
    since: str


class Kept:
    """The file of one home. Raises KeptUnusable when it is opened, and from every method."""

    def __init__(self, home: Path, *, bytes_max: int) -> None:
        self.path = home / FILE
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._cipher, self._digests = _keys(home / KEY_FILE, fresh=not self.path.exists())
        self._open_file()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def delivery(self, hook: str, id: str | None, body: bytes, headers: Mapping[str, str] | None = None) -> Delivery:
        """The delivery that a request is. Without an id, the same body with the same `headers`, which are those that
        its events are made of, is the same delivery."""
        digest = self._digest(hook, body)
        if id:
            return Delivery(hook, f"id:{id}", digest)
        told = msgspec.json.encode(sorted((headers or {}).items()))
        return Delivery(hook, f"body:{(self._digest(hook, body, told) if headers else digest).hex()}", digest)

    def check(self, delivery: Delivery) -> None:
        """Raises AnotherBody if the id of this delivery came before with another body."""
        with self._reading() as connection:
            _refuse_another(connection, delivery)

    def keep(self, delivery: Delivery, came: Came, state: State, *, problem: str, reason: str, now: datetime) -> int:
        """Keep a request, and return the id under which it is kept. It is on disk then.

        Raises KeptFull, and AnotherBody: of several that come at once under one id, the first is kept.
        """
        request = self._seal(msgspec.msgpack.encode(came), delivery, b"request")
        sealed = self._seal_reason(reason, delivery)
        size = len(request) + len(sealed) + OVERHEAD_BYTES
        values = {
            **_named(delivery),
            "state": state,
            "problem": problem,
            "reason": sealed,
            "request": request,
            "size": size,
            "now": format_time(now),
        }
        with self._transaction() as connection:
            _refuse_another(connection, delivery)
            held, of_hook, is_kept = connection.execute(_statements["held"], _named(delivery)).fetchone()
            if not is_kept:
                self._refuse_beyond(held, of_hook, size, delivery.hook)
            [id] = connection.execute(_statements["keep"], values).fetchone()
        return int(id)

    def keep_on(self, item: Item, state: State, *, problem: str, reason: str, now: datetime) -> None:
        """Say anew why one is kept, unless it has been dropped or settled meanwhile."""
        values = {
            "id": item.id,
            "state": state,
            "problem": problem,
            "reason": self._seal_reason(reason, item.delivery),
            "now": format_time(now),
        }
        with self._transaction() as connection:
            connection.execute(_statements["keep_on"], values)

    def settle(self, delivery: Delivery, *, now: datetime, tries: int | None = None) -> None:
        """The delivery has become events: it is remembered as such, and no longer kept. `tries`: those of the one that
        was kept and has become events; what was sent again meanwhile, with other headers, stays.

        Raises AnotherBody if another body has come in under its id meanwhile; that one stays.
        """
        with self._transaction() as connection:
            _refuse_another(connection, delivery)
            connection.execute(_statements["deliver"], {**_named(delivery), "now": format_time(now)})
            connection.execute(_statements["settle"], _named(delivery) | {"tries": tries})

    def release(self, delivery: Delivery, *, tries: int | None = None) -> None:
        """The delivery makes no event, and need not be kept. It may make some by another mapping."""
        with self._transaction() as connection:
            connection.execute(_statements["settle"], _named(delivery) | {"tries": tries})

    def give_back(self) -> None:
        """Give the room on the disk back of what is kept no longer."""
        with self._reading() as connection:
            # `execute` would free one page and stop: there is a page a step, and no row.
            connection.executescript(_statements["give_back"])
            connection.execute(_statements["cut_log"]).fetchall()

    def drop(self, id: int) -> bool:
        """Forget one. False if there is none."""
        with self._transaction() as connection:
            return connection.execute(_statements["drop"], {"id": id}).rowcount == 1

    def is_waiting(self, hook: str) -> bool:
        """Whether anything of this hook waits for the ledger."""
        with self._reading() as connection:
            return bool(connection.execute(_statements["is_waiting"], {"hook": hook}).fetchone()[0])

    def waiting_hooks(self) -> list[str]:
        with self._reading() as connection:
            return [row[0] for row in connection.execute(_statements["waiting_hooks"])]

    def page(self, *, hook: str | None = None, state: State | None = None, after: int = 0, limit: int) -> list[Item]:
        """What is kept, in the order in which it came, beyond the id `after`."""
        values = {"hook": hook, "state": state, "after": after, "limit": limit}
        with self._reading() as connection:
            rows = connection.execute(_statements["page"], values).fetchall()
        return [self._item(row) for row in rows]

    def find(self, id: int) -> Item | None:
        with self._reading() as connection:
            row = connection.execute(_statements["find"], {"id": id}).fetchone()
        return None if row is None else self._item(row)

    def came(self, item: Item) -> Came | None:
        """The request of one that is kept; None if it is kept no longer."""
        with self._reading() as connection:
            row = connection.execute(_statements["request"], {"id": item.id}).fetchone()
        if row is None:
            return None
        return msgspec.msgpack.decode(self._open(row[0], item.delivery, b"request"), type=Came)

    def counts(self) -> list[Count]:
        """Of each hook and state."""
        with self._reading() as connection:
            return [Count(*row) for row in connection.execute(_statements["counts"])]

    def expire(self, *, now: datetime, days_max: int) -> int:
        """Forget what was refused longer ago than that, and old ids of deliveries. How many bodies were forgotten."""
        with self._transaction() as connection:
            delivered = {"before": format_time(now - timedelta(days=DELIVERED_DAYS_KEPT))}
            connection.execute(_statements["expire_delivered"], delivered)
            refused = {"before": format_time(now - timedelta(days=days_max))}
            return connection.execute(_statements["expire_refused"], refused).rowcount

    def _digest(self, hook: str, *parts: bytes) -> bytes:
        return hmac.digest(self._digests, b"\0".join((hook.encode(), *parts)), "sha256")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        """For one statement that only reads: it waits for no other process."""
        with self._lock, explained(self.path):
            self._stay()
            yield self._connection

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, explained(self.path):
            self._stay()
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()
            if _inode(self.path) != self._inode:
                raise KeptUnusable(f"{self.path} was taken away meanwhile; what was written into it may be lost")

    def _stay(self) -> None:
        """Open the file that is there, if the one that was opened has been taken away: nobody will read that again."""
        if _inode(self.path) != self._inode:
            self._connection.close()
            self._open_file()

    def _open_file(self) -> None:
        self._connection = _opened(self.path)
        self._inode = _inode(self.path)

    def _refuse_beyond(self, held: int, of_hook: int, size: int, hook: str) -> None:
        if held + size > self._bytes_max:
            raise KeptFull(
                f"{held} bytes of bodies are kept, and with this one it would be more than {self._bytes_max}"
            )
        share = self._bytes_max * HOOK_PERCENT_MAX // 100
        if of_hook + size > share:
            raise KeptFull(
                f"{of_hook} bytes of bodies are kept for the hook {hook!r}, and with this one it would be more than "
                f"{share}, its share of the room"
            )

    def _item(self, row: tuple[object, ...]) -> Item:
        id, hook, name, digest, state, problem, reason, size, received_at, tried_at, tries = row
        delivery = msgspec.convert({"hook": hook, "id": name, "digest": digest}, Delivery)
        plain = {
            "id": id,
            "delivery": delivery,
            "state": state,
            "problem": problem,
            "reason": self._open(reason, delivery, b"reason").decode(),
            "size": size,
            "received_at": received_at,
            "tried_at": tried_at,
            "tries": tries,
        }
        return msgspec.convert(plain, Item)

    def _seal_reason(self, reason: str, delivery: Delivery) -> bytes:
        cut = reason if len(reason) <= REASON_CHARS_MAX else reason[: REASON_CHARS_MAX - 1] + "…"
        return self._seal(cut.encode(), delivery, b"reason")

    def _seal(self, plain: bytes, delivery: Delivery, what: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, _bound(delivery, what))

    def _open(self, sealed: object, delivery: Delivery, what: bytes) -> bytes:
        assert isinstance(sealed, bytes)
        try:
            return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _bound(delivery, what))
        except InvalidTag:
            raise KeptUnusable(
                f"what {self.path} holds does not open with {self.path.with_name(KEY_FILE)}; put the file back "
                f"under which it was kept, or move {self.path} away"
            ) from None


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turns errors of SQLite into KeptUnusable."""
    try:
        yield
    except sqlite3.OperationalError as error:
        advice = "make room, or wait for the other process" if "lock" in str(error) or "full" in str(error) else _ADVICE
        raise KeptUnusable(f"{path} cannot be used now ({error}); {advice}") from error
    except sqlite3.DatabaseError as error:
        raise KeptUnusable(f"{path} is damaged ({error}); {_ADVICE}") from error


_ADVICE = (
    "nothing was changed in it. Put a whole copy of it in its place, or move it and what is beside it under the same "
    "name away: then a new one is begun, and what was kept in it has to be sent again"
)


def _opened(path: Path) -> sqlite3.Connection:
    """A connection to the file, made if there is none. Raises KeptUnusable, and then nothing in it has changed."""
    try:
        if not path.exists():
            # Made for its owner only before SQLite writes into it.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        size = path.stat().st_size
        begin = path.read_bytes()[:100] if size <= 100 else _first(path)
    except OSError as error:
        raise KeptUnusable(f"{path} cannot be opened ({error.strerror})") from error
    if size and not begin.startswith(_HEADER[: len(begin)]):
        raise KeptUnusable(f"{path} is not a file of this service (it is no SQLite database); {_ADVICE}")
    if size:
        _check(path)
    with explained(path):
        connection = sqlite3.connect(
            path, timeout=BUSY_SECONDS_MAX, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        # Before there is a table, or else it says nothing.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("PRAGMA user_version").fetchone() == (0,):
            for name in ("make_kept", "make_kept_by_hook", "make_delivered", "make_delivered_at"):
                connection.execute(_statements[name])
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.commit()
    return connection


def _inode(path: Path) -> tuple[int, int] | None:
    """Which file there is; None if there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_dev, about.st_ino


def _first(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(100)


def _check(path: Path) -> None:
    """Read the whole file, and write nothing. Raises KeptUnusable if it is not whole, or not ours."""
    with explained(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS_MAX)
        try:
            found = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
            [application] = connection.execute("PRAGMA application_id").fetchone()
            [version] = connection.execute("PRAGMA user_version").fetchone()
        finally:
            connection.close()
    if found != ["ok"]:
        raise KeptUnusable(f"{path} is damaged ({found[0]}); {_ADVICE}")
    # A file that was just begun has neither.
    if application not in (APPLICATION_ID, 0):
        raise KeptUnusable(f"{path} is a database of another program; {_ADVICE}")
    if version > VERSION:
        raise KeptUnusable(f"{path} was written by a newer version of this service ({version}); run that one")


def _keys(path: Path, *, fresh: bool) -> tuple[AESGCM, bytes]:
    """The cipher, and the key of digests. `fresh`: there is nothing yet that another key could have sealed."""
    try:
        if not fresh and not path.exists():
            raise KeptUnusable(
                f"{path} is missing, and without it what {path.with_name(FILE)} holds cannot be read: put it back, "
                f"or move {path.with_name(FILE)} away"
            )
        text = read_or_make(path, lambda: urlsafe_b64encode(os.urandom(KEY_BYTES)).decode())
        secret = urlsafe_b64decode(text)
    except OSError as error:
        raise KeptUnusable(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise KeptUnusable(f"{path} does not hold a key: {KEY_BYTES} bytes in base64") from error
    if len(secret) != KEY_BYTES:
        raise KeptUnusable(f"{path} does not hold a key: {KEY_BYTES} bytes in base64")
    return AESGCM(secret), sha256(b"digests of the receiver\n" + secret).digest()


def _refuse_another(connection: sqlite3.Connection, delivery: Delivery) -> None:
    row = connection.execute(_statements["digest_of"], _named(delivery)).fetchone()
    if row is not None and row[0] != delivery.digest:
        raise AnotherBody(f"the delivery {delivery.id.removeprefix('id:')} came before with another body")


def _bound(delivery: Delivery, what: bytes) -> bytes:
    return b"\0".join((what, delivery.hook.encode(), delivery.id.encode()))


def _named(delivery: Delivery) -> dict[str, object]:
    return {"hook": delivery.hook, "delivery": delivery.id, "digest": delivery.digest}
