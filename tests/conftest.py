"""A real PostgreSQL for the tests: one cluster a session, one freshly cloned database a test."""

import asyncio
import contextlib
import itertools
import os
import random
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import msgspec
import pytest
from hypothesis import settings as hypothesis_settings

from services.embedded import ROLES, EmbeddedError, EmbeddedPostgres, lock_home
from services.migrate import migrate
from services.settings import Role, Settings

pytest_plugins = ["tests.ledger_service", "tests.receiver_service"]

# How long an example takes says more of the machine than of the code.
hypothesis_settings.register_profile("without a clock", deadline=None)
hypothesis_settings.load_profile("without a clock")

SCRATCH_BYTES_MIN = 2 * 1024**3
ABANDONED_SECONDS = 3600
PORT_MIN, PORTS = 20_000, 12_000  # Below those that systems give to outgoing connections.
_PREFIX = "ledger-tests-"


class Cluster(msgspec.Struct, frozen=True):
    """A PostgreSQL server on which tests make databases of their own."""

    superuser: str
    """URL of its superuser."""
    users: dict[Role, str]
    """Name of each role; the password is the same."""
    template: str
    """Name of the database that has been migrated, and that tests clone."""
    home: Path
    """What the migration has put into LEDGER_HOME."""

    def urls(self, database: str) -> dict[Role, str]:
        return {role: _address(self.superuser, database, user) for role, user in self.users.items()}


class Database(msgspec.Struct, frozen=True):
    """A database of one test: migrated, with the ledger `main`, and otherwise empty. The roles are URLs."""

    name: str
    owner: str
    writer: str
    projector: str
    auditor: str
    superuser: str
    settings: Settings
    """Settings that lead to this database, with a home of the test's own and three free ports."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The server of this session: an embedded one that gives up fsync, or that of LEDGER_TEST_DATABASE_URL
    (a superuser's URL)."""
    # pytest keeps its own temporary directories for a while; a cluster is not worth keeping.
    _remove_abandoned()
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=scratch()))
    given = os.environ.get("LEDGER_TEST_DATABASE_URL")
    server = None if given else EmbeddedPostgres(home / "server", durable=False)
    try:
        if server is not None:
            asyncio.run(server.start())
        cluster = _cluster(given or (server.superuser_url() if server else ""), home / "template")
        asyncio.run(_prepare(cluster))
        yield cluster
        asyncio.run(_forget(cluster))
    finally:
        if server is not None:
            asyncio.run(server.stop())
        shutil.rmtree(home)


@pytest.fixture
async def database(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Database]:
    """A fresh clone of the migrated database, dropped after the test."""
    async with _cloned(cluster, tmp_path / "home") as database:
        yield database


@pytest.fixture
async def another_database(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Database]:
    """A second one, with a home of its own, and the same master key and signing key."""
    async with _cloned(cluster, tmp_path / "another home") as database:
        yield database


@contextlib.asynccontextmanager
async def _cloned(cluster: Cluster, home: Path) -> AsyncIterator[Database]:
    name = f"test_{secrets.token_hex(6)}"
    await _execute(
        cluster.superuser,
        f"CREATE DATABASE {name} TEMPLATE {cluster.template} OWNER {cluster.users['owner']}",
    )
    shutil.copytree(cluster.home, home)
    yield _database(cluster, name, home)
    await _execute(cluster.superuser, f"DROP DATABASE {name} WITH (FORCE)")


def scratch() -> Path:
    """Where databases of tests go: memory if there is plenty, since a database is a thousand files."""
    memory = Path("/dev/shm")
    if os.access(memory, os.W_OK) and shutil.disk_usage(memory).free >= SCRATCH_BYTES_MIN:
        return memory
    return Path(tempfile.gettempdir())


def free_ports(count: int) -> list[int]:
    """TCP ports of 127.0.0.1 that nobody listens on now, that no outgoing connection is given, and that nothing else
    in these tests is going to listen on: no port is given twice before all have been, nor to two of pytest's workers.
    """
    ports: list[int] = []
    while len(ports) < count:
        port = next(_ports)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            ports.append(port)
    return ports


def _ports_of_this_process() -> Iterator[int]:
    """Those of this worker's share, in an order that another session's are not in, over and over."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    mine = range(PORT_MIN + worker, PORT_MIN + PORTS, workers)
    return itertools.cycle(random.SystemRandom().sample(mine, len(mine)))


_ports = _ports_of_this_process()


def _remove_abandoned() -> None:
    """Remove what sessions that were killed have left."""
    for left in scratch().glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError, EmbeddedError):
            if left.stat().st_mtime < time.time() - ABANDONED_SECONDS:
                with lock_home(left / "server"):
                    shutil.rmtree(left)


def _cluster(superuser: str, home: Path) -> Cluster:
    # On a server that others use too, names of our own.
    suffix = secrets.token_hex(4)
    return Cluster(
        superuser=superuser,
        users={role: f"{name}_{suffix}" for role, name in ROLES.items()},
        template=f"ledger_template_{suffix}",
        home=home,
    )


async def _prepare(cluster: Cluster) -> None:
    await _execute(
        cluster.superuser,
        *(f"CREATE ROLE {user} LOGIN PASSWORD '{user}'" for user in cluster.users.values()),
        f"CREATE DATABASE {cluster.template} TEMPLATE template0 ENCODING 'UTF8' OWNER {cluster.users['owner']}",
    )
    cluster.home.mkdir()
    await migrate(_database(cluster, cluster.template, cluster.home).settings)


async def _forget(cluster: Cluster) -> None:
    await _execute(
        cluster.superuser,
        f"DROP DATABASE {cluster.template} WITH (FORCE)",
        *(f"DROP ROLE {user}" for user in cluster.users.values()),
    )


def _database(cluster: Cluster, name: str, home: Path) -> Database:
    urls = cluster.urls(name)
    ledger_port, projector_port, receiver_port = free_ports(3)
    return Database(
        name=name,
        superuser=_address(cluster.superuser, name, None),
        settings=Settings(
            home=home,
            database_url=urls["owner"],
            writer_url=urls["writer"],
            projector_url=urls["projector"],
            auditor_url=urls["auditor"],
            ledger_port=ledger_port,
            projector_port=projector_port,
            receiver_port=receiver_port,
        ),
        owner=urls["owner"],
        writer=urls["writer"],
        projector=urls["projector"],
        auditor=urls["auditor"],
    )


def _address(url: str, database: str, user: str | None) -> str:
    parts = urlsplit(url)
    netloc = parts.netloc
    if user is not None:
        netloc = f"{user}:{user}@{netloc.rpartition('@')[2]}"
    # The slashes before an empty host are kept only if the path begins with one.
    return urlunsplit(("postgresql", netloc, f"/{database}", parts.query, ""))


async def _execute(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole processes first: they take longest, and no worker is left with them at the end."""
    items.sort(key=lambda item: "system" not in item.keywords)
