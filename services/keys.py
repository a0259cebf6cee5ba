"""API keys: who may do what. A key is shown once; the database holds its SHA-256.

A key has 256 random bits, so that a plain hash is enough: there is nothing to guess.
"""

import re
import secrets
import time
from collections.abc import Collection
from datetime import UTC, date, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

import asyncpg
import structlog
from msgspec import Struct

from schemas.times import format_time
from schemas.values import same_team
from services.postgres import Pool, Unavailable, unavailable
from services.statements import Statements

Scope = Literal["observe", "act", "query", "personal", "audit", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

REMEMBERED_SECONDS_MAX = 2.0
REMEMBERED_KEYS_MAX = 10_000

_KEY = re.compile(r"lk_([A-Za-z0-9]{12})_[A-Za-z0-9_-]{43}")
_log = structlog.get_logger()
_statements = Statements.load(Path(__file__).with_name("keys.sql"))


class Unauthorized(Exception):
    """No valid key was given. `members` says to a program since when it is none: `expired` or `revoked`."""

    def __init__(self, detail: str, **members: str) -> None:
        super().__init__(detail)
        self.members = members


class Principal(Struct, frozen=True, kw_only=True):
    """Who asks: an opaque key id, and what it was granted. An empty set of ledgers, sources or teams means all."""

    key: str
    name: str
    scopes: frozenset[str]
    ledgers: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()
    teams: frozenset[str] = frozenset()
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or "admin" in self.scopes

    def may_open(self, ledger: str) -> bool:
        return not self.ledgers or ledger in self.ledgers

    def may_emit_as(self, source: str) -> bool:
        return not self.sources or source in self.sources

    def may_act_for(self, team: str) -> bool:
        return not self.teams or same_team(team) in {same_team(granted) for granted in self.teams}


def new_key() -> tuple[str, str]:
    """A key's public id and its secret text."""
    key = "".join(secrets.choice("abcdefghijkmnpqrstuvwxyz23456789") for _ in range(12))
    return key, f"lk_{key}_{secrets.token_urlsafe(32)}"


def key_id(text: str) -> str | None:
    """The public id in a key's text, or None if it is not a key."""
    match = _KEY.fullmatch(text)
    return match[1] if match else None


def key_hash(text: str) -> bytes:
    return sha256(text.encode()).digest()


class Keys:
    """The keys of one database, remembered for a moment so that a request does not cost a query."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._remembered: dict[bytes, tuple[float, Principal | None]] = {}
        self._used: dict[str, date] = {}

    async def principal(self, text: str) -> Principal:
        """Who presents this key. One that was revoked stops working within REMEMBERED_SECONDS_MAX, one that
        expires at that moment.

        Raises Unauthorized and Unavailable.
        """
        if key_id(text) is None:
            raise Unauthorized("this is not a whole key; one looks like lk_… and is shown once, when it is made")
        hashed = key_hash(text)
        until, principal = self._remembered.get(hashed, (0.0, None))
        if time.monotonic() >= until:
            principal = await self._look_up(hashed)
            if len(self._remembered) >= REMEMBERED_KEYS_MAX:
                self._remembered.clear()
            self._remembered[hashed] = (time.monotonic() + REMEMBERED_SECONDS_MAX, principal)
        if principal is None:
            raise Unauthorized("this key is not known here; the one in LEDGER_HOME/admin.key is, and may GET /v1/keys")
        now = datetime.now(UTC)
        # Whoever presents the right secret may learn what became of it.
        if principal.revoked_at is not None:
            at = format_time(principal.revoked_at)
            raise Unauthorized(f"the key {principal.key} was revoked at {at}", revoked=at)
        if principal.expires_at is not None and principal.expires_at <= now:
            at = format_time(principal.expires_at)
            raise Unauthorized(f"the key {principal.key} expired at {at}", expired=at)
        if self._used.get(principal.key) != now.date():
            await self._use(principal.key, now.date())
        return principal

    async def _look_up(self, hashed: bytes) -> Principal | None:
        with unavailable():
            row = await self._pool.fetchrow(_statements["find_key"], hashed)
        return None if row is None else _principal(row)

    async def _use(self, key: str, day: date) -> None:
        """Note that a key was used on a day, once a day and process. That it cannot be noted keeps nobody out."""
        if len(self._used) >= REMEMBERED_KEYS_MAX:
            self._used.clear()
        self._used[key] = day
        try:
            with unavailable():
                await self._pool.execute(_statements["use_key"], key, day)
        except (Unavailable, asyncpg.InsufficientPrivilegeError, asyncpg.UndefinedTableError) as error:
            _log.info("key_use_not_noted", key=key, reason=type(error).__name__)

    async def make(
        self,
        *,
        name: str,
        scopes: Collection[Scope],
        ledgers: Collection[str] = (),
        sources: Collection[str] = (),
        teams: Collection[str] = (),
        expires_at: datetime | None = None,
        by: str,
    ) -> tuple[str, str]:
        """Make a key. Returns its public id and its text, which is not kept."""
        key, text = new_key()
        with unavailable():
            await self._pool.execute(
                _statements["make_key"],
                key, name, key_hash(text), [*scopes], [*ledgers], [*sources], [*teams], expires_at, by,
            )  # fmt: skip
        return key, text

    async def page(self, before: str | None, limit: int) -> list[asyncpg.Record] | None:
        """At most `limit` keys without their hashes, the newest first: those listed below the key `before`.

        None if there is no key of that id.
        """
        with unavailable():
            if before is not None and not await self._pool.fetchval(_statements["is_key"], before):
                return None
            keys: list[asyncpg.Record] = await self._pool.fetch(_statements["list_keys"], before, limit)
        return keys

    async def revoke(self, key: str, *, by: str) -> bool:
        """Revoke a key; one that is revoked stays as it is. False if there is none of this id."""
        with unavailable():
            there: bool = await self._pool.fetchval(_statements["revoke_key"], key, by)
        self._remembered.clear()
        return there

    async def history(self, before: int, limit: int) -> list[asyncpg.Record]:
        """What became of keys, the newest first: at most `limit` records with a number below `before`."""
        with unavailable():
            records: list[asyncpg.Record] = await self._pool.fetch(_statements["history"], before, limit)
        return records


def _principal(row: asyncpg.Record) -> Principal:
    return Principal(
        key=row["key"],
        name=row["name"],
        scopes=frozenset(row["scopes"]),
        ledgers=frozenset(row["ledgers"]),
        sources=frozenset(row["sources"]),
        teams=frozenset(row["teams"]),
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
    )
