"""Migrations and grants: one `migrate` brings the registry and every ledger up to date.

`migrations/registry/*.sql` runs once a database, `migrations/ledger/*.sql` once a ledger. Each file runs once, in
order of its name; a file that was changed after it ran is refused. Grants are taken back and given anew
each time.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg
import structlog

from services import keys
from services.master_keys import know_master_keys
from services.postgres import Pool, connect, ledger_schema, rebuild_schema, unavailable
from services.sealing import MasterKeyError
from services.secret_files import read_or_make, write_anew
from services.settings import DATABASE_FILE, Settings
from services.signing import SigningKeyError, SigningKeys
from services.statements import Statements, fill, quote

TEAMS = ("sales", "marketing", "engineering", "product", "support", "executive")

POSTGRES_VERSION_MIN = 150_000
LOCK = 0x1ED6E2  # Any constant of our own: one migration runs at a time.

LOCK_SECONDS_MAX = 2.0
PAUSE_SECONDS = 1.0
TRIES_MAX = 5

PREPARED = "migrated"  # In LEDGER_HOME: to which version its database was brought.

_MIGRATIONS = Path(__file__).with_name("migrations")
_grants = Statements.load(_MIGRATIONS / "grants.sql")
_log = structlog.get_logger()


class MigrationError(Exception):
    """The database is not in a state that this version can bring up to date; the text says why."""


class OriginTaken(MigrationError):
    """Another ledger has the origin that was asked for."""


async def migrate(
    settings: Settings, *, ledgers: Sequence[str] = ("main",), new_master_key: bool = False, know_keys: bool = True
) -> None:
    """Bring the database up to date, make these ledgers if they are missing, and the keys in LEDGER_HOME.

    `new_master_key`: the one that was in use is lost, go on with another. What was sealed under it stays sealed.
    `know_keys=False`: without API keys, which a later run makes; for a database that is to be copied.
    Raises MigrationError and Unavailable.
    """
    connection = await connect(settings.url("owner"))
    try:
        with unavailable():
            await _patiently(connection, "registry", partial(_bring_registry, connection, settings))
            await _know_master_key(connection, settings, new=new_master_key)
            if settings.signing_command is None:
                _make_signing_key(settings.signing_key)
            _make_signing_key(settings.projector_signing_key)
            names = [row["name"] for row in await connection.fetch("SELECT name FROM registry.ledgers ORDER BY name")]
            for name in names:
                await _patiently(connection, f"ledger {name}", partial(_bring_ledger, connection, settings, name))
            for name in ledgers:
                if name not in names:
                    await make_ledger(connection, settings, name)
            if know_keys:
                await _know_key(connection, settings.home / "admin.key", "admin", "admin")
                await _know_key(connection, settings.receiver_key, "receiver", "observe")
    finally:
        await connection.close()
    if settings.embedded and not is_prepared(settings):
        try:
            write_anew(settings.home / PREPARED, _version())
        except OSError as error:  # Without it the next start looks again, which is all that it spares.
            _log.warning("migrated_not_noted", file=str(settings.home / PREPARED), reason=str(error))


def is_prepared(settings: Settings) -> bool:
    """Whether the embedded database of this home is at this version, and the files are there that services read when
    they start: so says the last run that has migrated it."""
    read_at_start = [settings.home / DATABASE_FILE, settings.master_key, settings.projector_signing_key]
    read_at_start += [settings.receiver_key, *([] if settings.signing_command else [settings.signing_key])]
    try:
        return (settings.home / PREPARED).read_text() == _version() and all(file.is_file() for file in read_at_start)
    except (OSError, UnicodeDecodeError):
        return False


def _version() -> str:
    """Changes with any migration."""
    files = (sorted(_migrations(_MIGRATIONS / folder).items()) for folder in ("registry", "ledger"))
    return sha256(repr([*files]).encode()).hexdigest()


async def differences(database: Pool | asyncpg.Connection) -> list[str]:
    """How the schemas of the database differ from those that this version writes, and what to do about each.

    Raises asyncpg.UndefinedTableError if there is no registry.
    """
    applied: dict[str, dict[str, str]] = {"registry": {}}
    for row in await database.fetch("SELECT name FROM registry.ledgers"):
        applied[f"ledger {row['name']}"] = {}
    for row in await database.fetch("SELECT scope, name, checksum FROM registry.migrations"):
        applied.setdefault(row["scope"], {})[row["name"]] = row["checksum"]
    ours = {
        folder: {name: sha256(sql.encode()).hexdigest() for name, sql in _migrations(_MIGRATIONS / folder).items()}
        for folder in ("registry", "ledger")
    }
    found = []
    for scope, theirs in sorted(applied.items()):
        files = ours[scope.split()[0]]
        if lacking := sorted(files.keys() - theirs.keys()):
            found.append(f"{scope} lacks {', '.join(lacking)}; run `ledger migrate`")
        if unknown := sorted(name for name, checksum in theirs.items() if files.get(name) != checksum):
            found.append(f"{scope} has {', '.join(unknown)} of another version; run that version")
    return found


async def make_ledger(
    connection: asyncpg.Connection,
    settings: Settings,
    name: str,
    *,
    teams: Sequence[str] = TEAMS,
    origin: str | None = None,
) -> bool:
    """Make a ledger, as the owner. False if it is there already, and then nothing changes.

    `origin` names its log in checkpoints and is fixed from here on. Raises OriginTaken.
    """
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        return await _make_ledger(connection, settings, name, teams, origin)


async def make_ledger_within(
    connection: asyncpg.Connection,
    settings: Settings,
    name: str,
    *,
    teams: Sequence[str] = TEAMS,
    origin: str | None = None,
) -> bool:
    """The same in a transaction that is under way and may go on for long: migrations wait until the ledger is made, and
    not for the transaction's end."""
    await connection.execute("SELECT pg_advisory_lock($1)", LOCK)
    try:
        async with connection.transaction():  # So that the lock can be let go of after an error, too.
            return await _make_ledger(connection, settings, name, teams, origin)
    finally:
        await connection.execute("SELECT pg_advisory_unlock($1)", LOCK)


async def _make_ledger(
    connection: asyncpg.Connection, settings: Settings, name: str, teams: Sequence[str], origin: str | None
) -> bool:
    # Who makes a ledger of this name at the moment, with a long log, is not waited for while others wait for us.
    before = await connection.fetchval("SELECT current_setting('lock_timeout')")
    await connection.execute(f"SET LOCAL lock_timeout = '{round(LOCK_SECONDS_MAX * 1000)}ms'")
    other = await connection.fetchval(
        "SELECT name FROM registry.ledgers WHERE origin = $1 AND name <> $2", origin, name
    )
    if other is not None:
        raise OriginTaken(f"the origin {origin} is that of the ledger {other}, and each log has one of its own")
    made = await connection.fetchval(
        "INSERT INTO registry.ledgers (name, schema, teams, origin, created_at)"
        " VALUES ($1, $2, $3, $4, clock_timestamp()) ON CONFLICT (name) DO NOTHING RETURNING name",
        name, ledger_schema(name), [*teams], origin or f"requirements-ledger/{name}/{secrets.token_hex(8)}",
    )  # fmt: skip
    await connection.execute("SELECT set_config('lock_timeout', $1, true)", before)
    if made is None:
        return False
    await _bring_ledger(connection, settings, name)
    await connection.execute("SELECT pg_notify('ledgers', $1)", name)
    _log.info("ledger_made", ledger=name)
    return True


async def _patiently(connection: asyncpg.Connection, scope: str, change: Callable[[], Awaitable[None]]) -> None:
    """Make a change in a transaction of its own, one process at a time.

    Who waits for a lock on a table makes every writer wait that comes after. So a change waits for a short time only,
    lets them pass, and tries again. Raises MigrationError when it has tried often enough.
    """
    for _ in range(TRIES_MAX):
        try:
            async with connection.transaction():
                await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                limit = f"{round(LOCK_SECONDS_MAX * 1000)}ms"
                await connection.execute("SELECT set_config('lock_timeout', $1, true)", limit)
                return await change()
        except asyncpg.LockNotAvailableError:
            _log.warning("migration_waits", scope=scope, reason="somebody holds a lock on its tables")
        await asyncio.sleep(PAUSE_SECONDS)
    raise MigrationError(
        f"{scope} was not migrated: in {TRIES_MAX} tries of {LOCK_SECONDS_MAX:g} seconds somebody held a lock on its"
        " tables; end the long transaction that pg_stat_activity shows, and run `ledger migrate` again"
    )


async def _bring_registry(connection: asyncpg.Connection, settings: Settings) -> None:
    if connection.get_server_version().major * 10_000 < POSTGRES_VERSION_MIN:
        raise MigrationError(f"PostgreSQL 15 or newer is needed; this is {connection.get_server_version().major}")
    await connection.execute(
        "CREATE SCHEMA IF NOT EXISTS registry;"
        "CREATE TABLE IF NOT EXISTS registry.migrations ("
        " scope text, name text, checksum text NOT NULL, applied_at timestamptz NOT NULL,"
        " PRIMARY KEY (scope, name))"
    )
    await _apply(connection, "registry", _MIGRATIONS / "registry", {})
    await _grant(connection, settings, "registry", {})


async def _bring_ledger(connection: asyncpg.Connection, settings: Settings, name: str) -> None:
    schemas = {"schema": ledger_schema(name), "rebuild": rebuild_schema(name)}
    for schema in schemas.values():
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
    await _apply(connection, f"ledger {name}", _MIGRATIONS / "ledger", schemas)
    await _grant(connection, settings, "ledger", schemas)


async def _apply(connection: asyncpg.Connection, scope: str, folder: Path, identifiers: dict[str, str]) -> None:
    applied = {
        row["name"]: row["checksum"]
        for row in await connection.fetch("SELECT name, checksum FROM registry.migrations WHERE scope = $1", scope)
    }
    files = _migrations(folder)
    if unknown := sorted(applied.keys() - files.keys()):
        raise MigrationError(f"{scope} was migrated by a newer version ({', '.join(unknown)}); run that version")

    for name, sql in files.items():
        checksum = sha256(sql.encode()).hexdigest()
        if name in applied:
            if applied[name] != checksum:
                raise MigrationError(f"{folder.name}/{name} was changed after it ran on {scope}; add a new file")
            continue
        await connection.execute(fill(sql, **identifiers))
        await connection.execute(
            "INSERT INTO registry.migrations VALUES ($1, $2, $3, clock_timestamp())", scope, name, checksum
        )
        _log.info("migration_applied", scope=scope, migration=name)


def _migrations(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.glob("*.sql"))}


async def _grant(connection: asyncpg.Connection, settings: Settings, statement: str, schemas: dict[str, str]) -> None:
    """Give each role what it needs, and nothing that it had besides. A role that is the owner itself needs nothing."""
    owner = await connection.fetchval("SELECT current_user")
    roles = {"writer": "writer", "projector": "projector", "auditor": "auditor"}
    users = {role: database_user(settings.url(role)) or owner for role in roles}  # type: ignore[arg-type]
    for user in sorted({*users.values()} - {owner}):
        await connection.execute(fill(_grants[f"revoke_{statement}"], **schemas, user=user))
    await connection.execute(fill(_grants[statement], **schemas, **users))


def database_user(url: str) -> str | None:
    """The user that a PostgreSQL URL names."""
    user = urlsplit(url).username
    return unquote(user) if user else None


async def _know_key(connection: asyncpg.Connection, path: Path, name: str, scope: keys.Scope) -> None:
    """Keep a key in `path`, made if there is none, and see to it that the database knows it."""
    text = read_or_make(path, lambda: keys.new_key()[1])
    key = keys.key_id(text)
    if key is None:
        raise MigrationError(f"{path} does not hold a key; remove it, and the next start makes a new one")
    know = Statements.load(Path(keys.__file__).with_name("keys.sql"))["know_key"]
    await connection.execute(know, key, name, keys.key_hash(text), [scope])


async def _know_master_key(connection: asyncpg.Connection, settings: Settings, *, new: bool) -> None:
    try:
        await know_master_keys(connection, settings.master_key, new=new)
    except MasterKeyError as error:
        raise MigrationError(str(error)) from error


def _make_signing_key(path: Path) -> None:
    try:
        SigningKeys.load_or_make(path)
    except SigningKeyError as error:
        raise MigrationError(str(error)) from error
