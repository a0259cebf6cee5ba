"""`ledger run` starts everything, keeps it up, and leaves nothing behind, however it ends."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from tests.conftest import free_ports, scratch

pytestmark = pytest.mark.system

SECONDS_MAX = 90

T = TypeVar("T")


class Run:
    """One `ledger run` in a process of its own."""

    def __init__(self, home: Path, **environ: str) -> None:
        self.home = home
        self.ledger, self.projector, self.receiver = free_ports(3)
        self.environ = {
            "PATH": os.environ["PATH"],
            "LEDGER_HOME": str(home),
            "LEDGER_PORT": str(self.ledger),
            "PROJECTOR_PORT": str(self.projector),
            "RECEIVER_PORT": str(self.receiver),
        } | environ
        self._output = tempfile.TemporaryFile("w+")  # noqa: SIM115  Closed in close().
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.command", "run"],
            env=self.environ,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )
        self.seen: set[psutil.Process] = set()

    def output(self) -> str:
        with os.fdopen(os.dup(self._output.fileno())) as stream:
            stream.seek(0)
            return stream.read()

    def ready(self) -> "Run":
        self.holds(lambda: "The ledger is ready." in self.output())
        self.look()
        return self

    def look(self) -> None:
        """Remember every process that belongs to this run now."""
        self.seen |= set(psutil.Process(self.process.pid).children(recursive=True))

    def child(self, module: str) -> psutil.Process:
        return next(
            child
            for child in psutil.Process(self.process.pid).children()
            if works(child) and any(module in part for part in child.cmdline())
        )

    def holds(self, condition: Callable[[], T]) -> T:
        """Wait for a condition while the run goes on."""
        deadline = time.monotonic() + SECONDS_MAX
        while not (found := condition()):
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.output()}"
            assert time.monotonic() < deadline, f"the condition did not come to hold:\n{self.output()}"
            time.sleep(0.05)
        return found

    def ended(self) -> int:
        """Wait for the end of the run, and of everything that it has started."""
        status = self.process.wait(SECONDS_MAX)
        deadline = time.monotonic() + SECONDS_MAX
        while left := [child for child in self.seen if works(child)]:
            assert time.monotonic() < deadline, f"still there: {left}\n{self.output()}"
            time.sleep(0.05)
        return status

    def events(self) -> list[str]:
        """The names of the log lines, in order, with the service they are about."""
        lines = [json.loads(line) for line in self.output().splitlines() if line.startswith("{")]
        return [" ".join(filter(None, (line["event"], line.get("service")))) for line in lines]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(SECONDS_MAX)
        finally:
            self.process.kill()
            self.process.wait()
            self._output.close()


def works(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def answers(port: int, path: str = "/readyz") -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def home() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="le-", dir=scratch()))
    yield directory / "home"
    shutil.rmtree(directory)


@contextlib.contextmanager
def running(home: Path, **environ: str) -> Iterator[Run]:
    run = Run(home, **environ)
    try:
        yield run
    finally:
        run.close()


def test_it_starts_everything_and_says_what_to_do_next(home):
    with running(home) as run:
        run.ready()
        assert answers(run.ledger)
        assert answers(run.projector)
        # On a database that is new, after it has been made.
        events = run.events()
        assert events.index("database_started") < events.index("service_started ledger")
        # What the line for curl asks, asked without curl, which need not be there.
        curl = re.search(r'^  curl -H "Authorization: Bearer \$\(cat (.+)\)" (\S+)$', run.output(), re.MULTILINE)
        assert curl is not None
        key = Path(curl[1]).read_text().strip()
        asked = urllib.request.Request(curl[2], headers={"Authorization": f"Bearer {key}"})
        with urllib.request.urlopen(asked, timeout=SECONDS_MAX) as answer:
            assert json.loads(answer.read())["as_of"]["position"] == 0
        assert (home / "admin.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_everything_in_order(home, sign):
    with running(home) as run:
        run.ready().process.send_signal(sign)
        assert run.ended() == 0
        assert "database system is shut down" in (home / "database.log").read_text()
        assert run.events()[-1] == "stopped"


def test_a_second_signal_does_not_cut_the_stopping_short(home):
    with running(home) as run:
        run.ready()
        for _ in range(3):
            run.process.send_signal(signal.SIGINT)
        assert run.ended() == 0
        assert "database system is shut down" in (home / "database.log").read_text()


def test_a_signal_during_the_start_stops_it(home):
    with running(home) as run:
        run.holds(lambda: (home / "lock").exists())
        run.look()
        run.process.send_signal(signal.SIGTERM)
        assert run.ended() in (0, -signal.SIGTERM)


def test_kill_9_leaves_no_process_and_the_next_run_starts_at_once(home):
    with running(home) as run:
        run.ready().process.kill()
        with running(home, LEDGER_PORT=str(run.ledger), PROJECTOR_PORT=str(run.projector)) as next_run:
            next_run.ready()
            assert run.ended() == -signal.SIGKILL
            # On one that is at this version, beside it.
            events = next_run.events()
            assert events.index("service_started ledger") < events.index("database_started")


@pytest.mark.parametrize("service", ["ledger", "projector", "receiver"])
def test_a_service_that_ends_is_started_again(home, service):
    with running(home) as run:
        run.ready()
        ended = run.child(f"services.{service}")
        ended.kill()
        run.holds(lambda: f"service_ended {service}" in run.events())
        run.holds(lambda: answers(getattr(run, service)))
        assert run.child(f"services.{service}").pid != ended.pid
        run.look()
        run.process.send_signal(signal.SIGTERM)
        assert run.ended() == 0


def test_a_database_that_ends_is_started_again(home):
    with running(home) as run:
        run.ready()
        ended = run.child("/postgres")
        ended.kill()
        run.holds(lambda: run.events().count("database_started") == 2)
        run.holds(lambda: answers(run.ledger) and answers(run.projector))
        run.look()
        run.process.send_signal(signal.SIGTERM)
        assert run.ended() == 0


@pytest.mark.parametrize("setting", ["LEDGER_PORT", "PROJECTOR_PORT", "RECEIVER_PORT"])
def test_a_busy_port_is_an_error_that_names_the_setting(home, setting):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        with running(home, **{setting: port}) as run:
            assert run.ended() == os.EX_CONFIG
            assert re.search(f"port {port} cannot be listened on .* set {setting} to a free port", run.output())
            assert "service_ended" not in run.output()


@pytest.mark.parametrize("bind", ["198.51.100.7", "no such host"])
def test_an_address_that_is_not_there_is_an_error_that_names_the_setting(home, bind):
    with running(home, LEDGER_BIND=bind) as run:
        assert run.ended() == os.EX_CONFIG
        assert re.search(f"{bind} port .* cannot be listened on .* set LEDGER_BIND to one that is", run.output())


def test_a_second_run_on_the_same_home_is_refused(home):
    with running(home) as run:
        run.ready()
        with running(home) as second:
            assert second.ended() == os.EX_CONFIG
            assert f"LEDGER_HOME={home} is in use by another run (process {run.process.pid})" in second.output()
        assert answers(run.ledger)


def test_a_malformed_setting_is_named(home):
    with running(home, LEDGER_PORT="many") as run:
        assert run.ended() == os.EX_CONFIG
        assert run.output() == "LEDGER_PORT: expected a whole number (found 'many').\n"


def test_it_runs_on_a_database_of_somebody_else(home, database):
    urls = {
        "LEDGER_DATABASE_URL": database.owner,
        "LEDGER_DATABASE_WRITER_URL": database.writer,
        "LEDGER_DATABASE_PROJECTOR_URL": database.projector,
        "LEDGER_DATABASE_AUDITOR_URL": database.auditor,
    }
    with running(home, **urls) as run:
        run.ready()
        assert not (home / "database").exists()
        run.process.send_signal(signal.SIGTERM)
        assert run.ended() == 0


def test_a_database_that_does_not_answer_is_named(home):
    port = free_ports(1)[0]
    with running(home, LEDGER_DATABASE_URL=f"postgresql://nobody@127.0.0.1:{port}/none") as run:
        assert run.ended() == os.EX_CONFIG
        assert "cannot be used" in run.output()
