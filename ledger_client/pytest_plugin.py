"""A real ledger for tests: one server a session, and for each test an empty ledger of its own.

    async def test_what_we_emit(ephemeral_ledger):
        async with ephemeral_ledger.client(source="/crm") as ledger:
            await ledger.record(AskRecorded(requirement="SSO-42", account="acme"))

pytest finds it once the client is installed; elsewhere, `pytest_plugins = ["ledger_client.pytest_plugin"]`. It starts
`ledger dev` of the package requirements-ledger, which has to be installed too, or be named by --ledger-command.
"""

import contextlib
import http.client
import itertools
import json
import select
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from typing import IO, Any
from urllib.parse import urlsplit

import msgspec
import pytest
from msgspec import Struct

from ledger_client.ledger import Ledger

START_SECONDS_MAX = 90  # The very first start makes what later ones copy.
STOP_SECONDS_MAX = 60
ANSWER_SECONDS_MAX = 30
SAID_CHARACTERS_MAX = 4_000

SCOPES = ("observe", "act", "query", "personal", "audit")

_numbers = itertools.count(1)


class Server(Struct, frozen=True, kw_only=True):
    """An ephemeral ledger that runs. `ledger` and `projector` are URLs; `key` may do everything."""

    ledger: str
    projector: str
    key: str


class EphemeralLedger(Struct, frozen=True, kw_only=True):
    """An empty ledger of a test's own. `key` may do everything in it, and nothing elsewhere."""

    name: str
    url: str
    """Of the ledger service, which records."""
    projector_url: str
    """Of the projector, which answers."""
    key: str

    @property
    def events_url(self) -> str:
        """Where events are posted."""
        return f"{self.url}/v1/ledgers/{self.name}/events"

    @property
    def answers_url(self) -> str:
        """Below it are the answers: /requirements, /accounts, …"""
        return f"{self.projector_url}/v1/ledgers/{self.name}"

    def client(self, source: str = "/test", **more: Any) -> Ledger:
        """A client of this ledger, to be used as a context."""
        return Ledger(self.url, self.key, source=source, ledger=self.name, **more)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ledger", "requirements ledger")
    group.addoption(
        "--ledger-command",
        metavar="COMMAND",
        help="What starts an ephemeral ledger, as /opt/ledger/bin/ledger dev. Default: that of this Python.",
    )


@pytest.fixture(scope="session")
def ledger_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """An ephemeral ledger and its projector, for the whole session; gone afterwards, however the session ends."""
    command = _command(request.config.getoption("--ledger-command", default=None))
    arguments = ("--ledger-port", "0", "--projector-port", "0", "--print-json", "--while-stdin")
    with tempfile.TemporaryFile("w+") as errors:
        try:
            process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                # Ctrl-C ends the tests first; when they let go of stdin, the ledger ends as well.
                start_new_session=True,
            )
        except OSError as error:
            raise _failure(f"The ephemeral ledger cannot be started by {shlex.join(command)}: {error}") from None
        with process:
            try:
                yield _address(process, errors)
            finally:
                _end(process)


@pytest.fixture
def ephemeral_ledger(ledger_server: Server) -> EphemeralLedger:
    """An empty ledger of this test's own, with a key for it."""
    name = f"test-{next(_numbers)}"
    _ask(ledger_server, "PUT", f"/v1/ledgers/{name}", {})
    made = _ask(ledger_server, "POST", "/v1/keys", {"name": name, "scopes": SCOPES, "ledgers": [name]})
    return EphemeralLedger(
        name=name, url=ledger_server.ledger, projector_url=ledger_server.projector, key=str(made["key"])
    )


def _command(given: str | None) -> list[str]:
    if given:
        return shlex.split(given)
    try:
        distribution("requirements-ledger")
    except PackageNotFoundError:
        raise _failure(
            "The fixtures ledger_server and ephemeral_ledger start a real ledger, and the package requirements-ledger"
            f" is not installed for {sys.executable}. Install it there (`pip install` a clone of the repository, in the"
            " place of the client alone), or say with --ledger-command what starts one, as"
            " --ledger-command='/opt/ledger/.venv/bin/ledger dev'"
        ) from None
    # -P: a package `services` in the working directory is somebody else's.
    return [sys.executable, "-P", "-m", "services.ephemeral"]


def _address(process: subprocess.Popen[bytes], errors: IO[str]) -> Server:
    """What the process prints once it is ready."""
    assert process.stdout is not None
    line = b""
    deadline = time.monotonic() + START_SECONDS_MAX
    while not line.endswith(b"\n"):
        readable, _, _ = select.select([process.stdout], [], [], max(0.0, deadline - time.monotonic()))
        if not readable:
            raise _failure(f"The ephemeral ledger was not ready after {START_SECONDS_MAX} s. {_said(errors)}")
        part = process.stdout.read1()  # type: ignore[attr-defined]
        if not part:
            status = process.wait()
            raise _failure(f"The ephemeral ledger ended as it started (status {status}). {_said(errors)}")
        line += part
    return msgspec.json.decode(line, type=Server)


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(STOP_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.kill()


def _failure(text: str) -> BaseException:
    """What fails a test with this text alone, without the lines that led to it."""
    return pytest.fail.Exception(text, pytrace=False)


def _said(errors: IO[str]) -> str:
    errors.seek(0)
    text = errors.read()[-SAID_CHARACTERS_MAX:].strip()
    return f"It said last:\n{text}" if text else "It said nothing."


def _ask(server: Server, method: str, path: str, body: Any) -> Any:
    where = f"{method} {server.ledger}{path}"
    with contextlib.closing(
        http.client.HTTPConnection(urlsplit(server.ledger).netloc, timeout=ANSWER_SECONDS_MAX)
    ) as connection:
        try:
            connection.request(method, path, json.dumps(body), {"Authorization": f"Bearer {server.key}"})
            answer = connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise _failure(f"{where}: the ephemeral ledger does not answer ({error!r})") from None
    if answer.status not in (200, 201):
        raise _failure(f"{where}: {answer.status}: {said.decode(errors='replace')}")
    return json.loads(said)
