"""What can be set, and to what: one frozen struct, read once at start from environment variables."""

import os
import shlex
import sys
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal, get_args, get_origin

import msgspec
from msgspec import Meta

from services.bucket import bucket_and_prefix
from services.origins import origins

Role = Literal["owner", "writer", "projector", "auditor"]

LEDGER_PROCESSES_MAX = 4  # Unless told otherwise.

Port = Annotated[int, Meta(ge=1, le=65_535)]

# Where each field comes from. The README's table of settings lists every one of these; a test holds that.
VARIABLES = {
    "home": "LEDGER_HOME",
    "database_url": "LEDGER_DATABASE_URL",
    "writer_url": "LEDGER_DATABASE_WRITER_URL",
    "projector_url": "LEDGER_DATABASE_PROJECTOR_URL",
    "auditor_url": "LEDGER_DATABASE_AUDITOR_URL",
    "database_os_user": "LEDGER_DATABASE_OS_USER",
    "bind": "LEDGER_BIND",
    "ledger_port": "LEDGER_PORT",
    "ledger_processes": "LEDGER_PROCESSES",
    "projector_port": "PROJECTOR_PORT",
    "receiver_port": "RECEIVER_PORT",
    "receiver_ledger_url": "RECEIVER_LEDGER_URL",
    "receiver_key_file": "RECEIVER_KEY_FILE",
    "receiver_kept_bytes_max": "RECEIVER_KEPT_BYTES_MAX",
    "receiver_kept_days_max": "RECEIVER_KEPT_DAYS_MAX",
    "hooks": "LEDGER_HOOKS",
    "cors_origins": "LEDGER_CORS_ORIGINS",
    "log_level": "LEDGER_LOG_LEVEL",
    "queue_events_max": "LEDGER_QUEUE_EVENTS_MAX",
    "queue_bytes_max": "LEDGER_QUEUE_BYTES_MAX",
    "pool_connections_max": "LEDGER_POOL_CONNECTIONS_MAX",
    "master_key_file": "LEDGER_MASTER_KEY_FILE",
    "signing_key_file": "LEDGER_SIGNING_KEY_FILE",
    "signing_command": "LEDGER_SIGNING_COMMAND",
    "checkpoints": "LEDGER_CHECKPOINTS",
    "wal_archive": "LEDGER_WAL_ARCHIVE",
    "projector_signing_key_file": "PROJECTOR_SIGNING_KEY_FILE",
    "digest_seconds": "PROJECTOR_DIGEST_SECONDS",
    "retention_days": "LEDGER_CHECKPOINTS_RETENTION_DAYS",
    "timestamp_url": "LEDGER_TIMESTAMP_URL",
    "timestamp_seconds": "LEDGER_TIMESTAMP_SECONDS",
}

# Set by `ledger run` for its services, before which it has told what is wrong with the environment.
SUPERVISED = "LEDGER_SUPERVISED"

# How like a setting's name a variable's has to be to be taken for a misspelt one, from 0 to 1. A deployment has others
# that begin as ours do; those are no concern of anybody's.
MISSPELT_LIKENESS_MIN = 0.9

# The embedded database writes the URLs of its roles here, in LEDGER_HOME.
DATABASE_FILE = "database.json"


class SettingsError(Exception):
    """A setting is missing or malformed; the text names the variable and says what to do."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Every setting of the services and the command line. Sizes are in bytes."""

    home: Path = Path(".ledger")
    """Directory of the embedded database, keys and checkpoints. Made if missing, for its owner only."""

    database_url: str | None = None
    """URL of the role that owns the database; it migrates and makes ledgers. Unset: the embedded database."""

    writer_url: str | None = None
    """URL of the role that reads and inserts events. Unset: that of the owner."""

    projector_url: str | None = None
    """URL of the role that reads the log and owns the read models. Unset: that of the owner."""

    auditor_url: str | None = None
    """URL of the role that only reads. Unset: that of the owner."""

    database_os_user: str | None = None
    """System user that the embedded PostgreSQL runs as where the services run as root and user namespaces
    are refused. Unset: `postgres` if there is one, else `nobody`."""

    bind: str = "127.0.0.1"
    """Address that the services listen on. 0.0.0.0 is every IPv4 address of this machine."""

    ledger_port: Port = 8080
    """TCP port of the ledger."""

    ledger_processes: Annotated[int, Meta(ge=1, le=64)] | None = None
    """Processes of the ledger that share its port; more than one on Linux only. Unset: one for every two processors,
    since PostgreSQL needs as much of them; at most four."""

    projector_port: Port = 8081
    """TCP port of the projector."""

    receiver_port: Port = 8082
    """TCP port of the receiver of webhooks."""

    receiver_ledger_url: str | None = None
    """URL of the ledger service that the receiver posts to. Unset: that of this machine."""

    receiver_key_file: Path | None = None
    """File of the API key that the receiver posts with. Unset: receiver.key in LEDGER_HOME, which may only observe."""

    receiver_kept_bytes_max: Annotated[int, Meta(ge=65_536)] = 256 * 1024 * 1024
    """Bytes of bodies that the receiver keeps, in bytes; a quarter of them at most for one hook. Beyond it, what would
    have to be kept is answered 503."""

    receiver_kept_days_max: Annotated[int, Meta(ge=1)] = 30
    """How long the receiver keeps a body that was refused, in days."""

    hooks: Path | None = None
    """Directory of the receiver's hooks. Unset: hooks in LEDGER_HOME."""

    cors_origins: str | None = None
    """Origins whose pages may read answers of the ledger and the projector in a browser, separated by commas.
    Unset: none. The receiver is for senders, not for pages: it names no origin."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log line that is written."""

    queue_events_max: Annotated[int, Meta(ge=1)] = 20_000
    """Events that may wait to be recorded, in events, shared out among the ledger's processes. Beyond it the ledger
    answers 503 with Retry-After."""

    queue_bytes_max: Annotated[int, Meta(ge=65_536)] = 16 * 1024 * 1024
    """Bytes of requests that may wait to be recorded, in bytes, likewise shared out; those of more than 1 MiB may take
    as much again, and keep no others out."""

    pool_connections_max: Annotated[int, Meta(ge=2, le=100)] = 10
    """Connections to PostgreSQL that one service process opens, in connections."""

    master_key_file: Path | None = None
    """File of the master keys that wrap the keys of sealed fields, the newest first. Unset: master.key in LEDGER_HOME.
    Keep it out of the database's backups."""

    signing_key_file: Path | None = None
    """File of the keys that sign checkpoints. Unset: signing.key in LEDGER_HOME."""

    signing_command: str | None = None
    """Command that signs checkpoints in place of that file: split as a shell does, run without one. It is asked as
    services/signing.py says."""

    checkpoints: str | None = None
    """Directory, or s3://BUCKET/PREFIX, in which every checkpoint is kept outside the database. Unset: checkpoints in
    LEDGER_HOME. Keep it out of the database's backups: a restore is noticed by it."""

    retention_days: Annotated[int, Meta(ge=0)] = 0
    """How long a bucket is told to let nobody remove what is kept there, in days. 0: as the bucket itself has it."""

    timestamp_url: str | None = None
    """URL of an authority that timestamps checkpoints (RFC 3161). Unset: none are timestamped."""

    timestamp_seconds: Annotated[int, Meta(ge=1)] = 3_600
    """The least time between two timestamps of a ledger, in seconds."""

    wal_archive: Path | None = None
    """Directory into which the embedded PostgreSQL copies its WAL, for a restore to any moment since a backup. Unset:
    WAL is not kept."""

    projector_signing_key_file: Path | None = None
    """File of the keys that sign digests of read models. Unset: projector-signing.key in LEDGER_HOME."""

    digest_seconds: Annotated[int, Meta(ge=0)] = 60
    """Time between two digests of a read model that are published, in seconds, if it has moved. 0: none is."""

    @classmethod
    def load(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read the settings from `environ` (by default this process's). An empty variable counts as unset.

        Raises SettingsError, naming the variable, if one is malformed.
        """
        environ = os.environ if environ is None else environ
        texts = {field: environ[name] for field, name in VARIABLES.items() if environ.get(name)}
        try:
            settings = msgspec.convert(texts, cls, strict=False, dec_hook=_path)
        except msgspec.ValidationError as error:
            raise SettingsError(_explain(error, texts)) from error
        # What is wrong with them is said at the start.
        _ = settings.origins, settings.signing_arguments, settings.checkpoints_place
        if settings.processes > 1 and sys.platform != "linux":
            raise SettingsError(f"{VARIABLES['ledger_processes']}: several processes share a port on Linux only.")
        if not (settings.timestamp_url or "https://").startswith(("http://", "https://")):
            raise SettingsError(f"{VARIABLES['timestamp_url']}: not the URL of a timestamp authority, https://….")
        return settings

    def url(self, role: Role) -> str:
        """The URL by which `role` reaches the database, in a form that asyncpg and psycopg accept.

        A service may be given the URL of its own role only. Raises SettingsError if there is none for this
        role, or if the embedded database has not been made yet.
        """
        url = self._urls()[role] or self.database_url
        if url is not None:
            return url
        if not self.embedded:
            raise SettingsError(
                f"No URL for the role {role}: {VARIABLES['database_url']} is unset, and those of other roles "
                f"are set. Set {VARIABLES['database_url' if role == 'owner' else f'{role}_url']}."
            )
        return _embedded_urls(self.home / DATABASE_FILE)[role]

    def _urls(self) -> dict[Role, str | None]:
        return {
            "owner": self.database_url,
            "writer": self.writer_url,
            "projector": self.projector_url,
            "auditor": self.auditor_url,
        }

    @property
    def origins(self) -> frozenset[str]:
        """The origins whose pages may read the services' answers. Raises SettingsError if one of them is none."""
        try:
            return origins(self.cors_origins or "")
        except ValueError as error:
            raise SettingsError(f"{VARIABLES['cors_origins']}: {error}.") from error

    @property
    def master_key(self) -> Path:
        """The file that holds the master keys."""
        return self.master_key_file or self.home / "master.key"

    @property
    def signing_key(self) -> Path:
        """The file that holds the keys that sign checkpoints."""
        return self.signing_key_file or self.home / "signing.key"

    @property
    def projector_signing_key(self) -> Path:
        """The file that holds the keys that sign digests."""
        return self.projector_signing_key_file or self.home / "projector-signing.key"

    @property
    def signing_arguments(self) -> list[str] | None:
        """The command that signs, split. Raises SettingsError."""
        if self.signing_command is None:
            return None
        try:
            arguments = shlex.split(self.signing_command)
        except ValueError as error:
            raise SettingsError(f"{VARIABLES['signing_command']}: {error}.") from error
        if not arguments:
            raise SettingsError(f"{VARIABLES['signing_command']}: there is no command in it.")
        return arguments

    @property
    def checkpoints_place(self) -> Path | str:
        """The directory in which checkpoints are kept, or the URL of a bucket. Raises SettingsError."""
        if self.checkpoints is None:
            return self.home / "checkpoints"
        if "://" not in self.checkpoints:
            return Path(self.checkpoints).expanduser()
        try:
            bucket_and_prefix(self.checkpoints)
        except ValueError as error:
            raise SettingsError(f"{VARIABLES['checkpoints']}: {error}.") from error
        return self.checkpoints

    @property
    def processes(self) -> int:
        """How many processes the ledger has."""
        if self.ledger_processes is not None:
            return self.ledger_processes
        return max(1, min(LEDGER_PROCESSES_MAX, len(os.sched_getaffinity(0)) // 2)) if sys.platform == "linux" else 1

    @property
    def host(self) -> str:
        """The address by which this machine reaches what listens on `bind`, as a URL has it."""
        # The address that means every address is one to listen on, not one to call.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.bind, self.bind)  # noqa: S104
        return f"[{host}]" if ":" in host else host

    @property
    def ledger_of_receiver(self) -> str:
        """The URL of the ledger service that the receiver posts to."""
        return self.receiver_ledger_url or f"http://{self.host}:{self.ledger_port}"

    @property
    def receiver_key(self) -> Path:
        """The file that holds the API key of the receiver."""
        return self.receiver_key_file or self.home / "receiver.key"

    @property
    def hooks_directory(self) -> Path:
        """The directory that holds the hooks of the receiver."""
        return self.hooks or self.home / "hooks"

    @property
    def embedded(self) -> bool:
        """Whether the database is the embedded one: no role's URL is set."""
        return not any(self._urls().values())

    def environ(self) -> dict[str, str]:
        """The variables from which `load` makes these settings again: what a child process is given."""
        values = {field: getattr(self, field) for field in VARIABLES}
        return {VARIABLES[field]: str(value) for field, value in values.items() if value is not None}


def misspelt(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables that are nearly called as a setting is, and so are likely to be meant as one: each with that setting.
    None for a service of `ledger run`, which has told of them."""
    environ = os.environ if environ is None else environ
    names = [*VARIABLES.values()]
    if SUPERVISED in environ:
        return {}
    return {
        name: near[0]
        for name in environ
        if name not in names and (near := get_close_matches(name, names, 1, MISSPELT_LIKENESS_MIN))
    }


class _DatabaseFile(msgspec.Struct, frozen=True):
    urls: dict[Role, str]


def _path(wanted: type, text: str) -> Path:
    if wanted is not Path:
        raise NotImplementedError(f"No setting is a {wanted}")
    return Path(text).expanduser()


def _embedded_urls(file: Path) -> dict[Role, str]:
    try:
        urls = msgspec.json.decode(file.read_bytes(), type=_DatabaseFile).urls
    except FileNotFoundError:
        raise SettingsError(
            f"No database: LEDGER_DATABASE_URL is unset, and {file} of the embedded database does not exist. "
            "Start the embedded one with `ledger run`, or set LEDGER_DATABASE_URL."
        ) from None
    except OSError as error:
        raise SettingsError(
            f"{file} cannot be read ({error.strerror}). Run as the user who owns LEDGER_HOME, "
            "or set LEDGER_DATABASE_URL."
        ) from error
    except msgspec.MsgspecError as error:
        raise SettingsError(
            f"{file} is not what the embedded database writes ({error}). `ledger run` writes it anew."
        ) from error
    return urls


def _explain(error: msgspec.ValidationError, texts: dict[str, str]) -> str:
    # msgspec names the spot as a path, "... - at `$.ledger_port`"; the operator knows only the variable.
    reason, _, path = str(error).partition(" - at `$.")
    field = path.rstrip("`")
    if field not in VARIABLES:
        return str(error)
    wanted: object = Settings.__annotations__[field]
    if get_origin(wanted) is Literal:
        reason = f"expected one of {', '.join(get_args(wanted))}"
    else:
        reason = (
            reason.replace(", got `str`", "")
            .replace("`int | null`", "`int`")
            .replace("Expected `int`", "expected a whole number")
        )
    # A URL may hold a password, and so its text is not repeated.
    found = "" if field.endswith("_url") else f" (found {texts[field]!r})"
    return f"{VARIABLES[field]}: {reason}{found}."
