"""`ledger dev` is ready in a moment, empty, touches nobody's data, and leaves nothing behind, however it ends."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from services import ephemeral
from services.supervisor import SupervisorError
from tests.system.test_supervisor import works

pytestmark = pytest.mark.system

SECONDS_MAX = 90
ASK = {
    "specversion": "1.0",
    "id": "1",
    "source": "/dev",
    "type": "ledger.ask.recorded.v1",
    "data": {"requirement": "SSO-42", "account": "acme"},
}

T = TypeVar("T")


class Dev:
    """One `ledger dev` in a process of its own, and where it is."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  Closed with the process.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "services.command", "dev", "--print-json", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=os.environ | environ,
        )

    def ready(self) -> "Dev":
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"ended with {self.process.wait()}:\n{self.said()}"
        self.address = json.loads(line)
        self.home = Path(self.address["home"])
        self.processes = psutil.Process(self.process.pid).children(recursive=True)
        assert any("postgres" in each.name() for each in self.processes)
        return self

    def said(self) -> str:
        with os.fdopen(os.dup(self.errors.fileno())) as stream:
            stream.seek(0)
            return stream.read()

    def record(self, event: Any) -> Any:
        url = f"{self.address['ledger']}/v1/ledgers/main/events"
        return self._ask(urllib.request.Request(url, json.dumps(event).encode()))["results"][0]

    def answer(self, path: str) -> Any:
        return self._ask(urllib.request.Request(f"{self.address['projector']}/v1/ledgers/main/{path}"))

    def known_keys(self) -> Any:
        return self._ask(urllib.request.Request(f"{self.address['ledger']}/v1/keys"))["keys"]

    def _ask(self, request: urllib.request.Request) -> Any:
        request.add_header("Authorization", f"Bearer {self.address['key']}")
        request.add_header("Content-Type", "application/cloudevents+json")
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
            return json.load(answer)

    def ended(self) -> int:
        """Wait for its end, and for that of everything that it has started."""
        status = self.process.wait(SECONDS_MAX)
        until(lambda: not [each for each in self.processes if works(each)])
        return status


def until(condition: Callable[[], T]) -> T:
    deadline = time.monotonic() + SECONDS_MAX
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@contextlib.contextmanager
def dev(*arguments: str, **environ: str) -> Iterator[Dev]:
    run = Dev(*arguments, **environ)
    try:
        with run.process:
            try:
                yield run
            finally:
                if run.process.poll() is None:
                    run.process.terminate()
                run.process.communicate(timeout=SECONDS_MAX)
    finally:
        run.errors.close()


ANY_PORTS = ("--ledger-port", "0", "--projector-port", "0")


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_it_records_and_answers_and_a_signal_leaves_nothing_behind(sign: signal.Signals) -> None:
    with dev(*ANY_PORTS) as run:
        run.ready()
        assert run.record(ASK)["position"] == 1
        assert run.answer("requirements?at_least=1")["total"] == 1
        run.process.send_signal(sign)
        assert run.ended() == 0
        assert not run.home.parent.exists()


def test_each_one_is_empty_and_they_run_beside_each_other() -> None:
    with dev(*ANY_PORTS) as one, dev(*ANY_PORTS) as other:
        one.ready()
        assert one.record(ASK)["position"] == 1
        other.ready()
        assert other.record(ASK)["position"] == 1
        assert one.answer("requirements?at_least=1")["total"] == 1


def test_it_touches_nothing_that_the_environment_names(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    environ = {
        "LEDGER_HOME": str(theirs),
        "LEDGER_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "LEDGER_DATABASE_WRITER_URL": "postgresql://nobody@127.0.0.1:1/none",
        "LEDGER_MASTER_KEY_FILE": str(tmp_path / "master.key"),
    }
    with dev(*ANY_PORTS, **environ) as run:
        assert run.ready().record(ASK)["position"] == 1
    assert [*tmp_path.iterdir()] == []


def test_kill_9_leaves_no_process_and_the_next_one_removes_its_files(monkeypatch: pytest.MonkeyPatch) -> None:
    with dev(*ANY_PORTS) as run:
        run.ready().process.kill()
        assert run.ended() == -signal.SIGKILL
        left = run.home.parent
        assert left.exists()
        ephemeral._remove_abandoned(left.parent)
        assert left.exists()  # It is young: another may be about to lock it.
        monkeypatch.setattr(ephemeral, "ABANDONED_SECONDS", -SECONDS_MAX)
        ephemeral._remove_abandoned(left.parent)
        assert not left.exists()


def test_one_that_runs_is_not_taken_for_abandoned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ephemeral, "ABANDONED_SECONDS", -SECONDS_MAX)
    with dev(*ANY_PORTS) as run:
        run.ready()
        ephemeral._remove_abandoned(run.home.parent.parent)
        assert run.home.exists()
        assert run.record(ASK)["position"] == 1


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of ours that somebody would like to see emptied."""
    file = tmp_path / "victim"
    file.write_text("ours")
    return file


def laid(scratch: Path, victim: Path, mode: int = 0o700) -> Path:
    """What looks like one of ours that was left behind, and whose lock is a link to that file."""
    scratch.mkdir()
    directory = scratch / "ledger-dev-laid"
    directory.mkdir()
    directory.chmod(mode)
    (directory / "lock").symlink_to(victim)
    return directory


@pytest.mark.parametrize("whose", ["ours", "open to all", "another's", "a link"])
def test_what_others_have_laid_is_neither_followed_nor_removed(
    tmp_path: Path, victim: Path, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ephemeral, "ABANDONED_SECONDS", -SECONDS_MAX)
    scratch = tmp_path / "scratch"
    directory = laid(scratch, victim, 0o777 if whose == "open to all" else 0o700)
    if whose != "ours":
        (directory / "lock").unlink()
        (directory / "lock").write_text("theirs")
    if whose == "another's":
        if os.geteuid() != 0:
            pytest.skip("only root can give a directory away")
        os.chown(directory, 65_534, 65_534)
    if whose == "a link":
        (scratch / "ledger-dev-link").symlink_to(directory.rename(tmp_path / "elsewhere"))
        directory = tmp_path / "elsewhere"
    ephemeral._remove_abandoned(scratch)
    assert victim.read_text() == "ours"
    assert (directory / "lock").read_text() == ("ours" if whose == "ours" else "theirs")


def test_it_ends_with_its_stdin_where_that_is_asked_for() -> None:
    with dev(*ANY_PORTS, "--while-stdin") as run:
        run.ready()
        assert run.process.stdin is not None
        run.process.stdin.close()
        assert run.ended() == 0
        assert not run.home.parent.exists()
        run.process.stdin = None  # For communicate(), which would close it again.


def test_the_usual_ports_give_way_to_the_next_free_ones() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with contextlib.ExitStack() as claims:
            found = ephemeral._free_port(port, {port + 1}, claims)
            assert port + 2 <= found < port + ephemeral.PORTS_TRIED_MAX
        with ephemeral._free_ports(0, 0) as (first, second):
            assert first != second


def test_ports_that_one_has_chosen_are_chosen_by_no_other_before_anything_listens_there() -> None:
    with ephemeral._free_ports(None, None) as one, ephemeral._free_ports(None, None) as other:
        assert len({*one, *other}) == 4
        with pytest.raises(SupervisorError, match="another ephemeral ledger"), ephemeral._free_ports(one[0], 0):
            pass
    with ephemeral._free_ports(one[0], one[1]) as again:
        assert again == one


async def test_what_answers_at_its_ports_and_does_not_know_its_key_is_told() -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(other, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        address = ephemeral.Address(ledger=url, projector=url, key="ours", home="", pid=0)
        with pytest.raises(SupervisorError, match="answers 401: another program"):
            await ephemeral._check_own(address)


def test_two_that_start_together_have_ports_of_their_own() -> None:
    with dev() as one, dev() as other:
        assert one.ready().record(ASK)["position"] == other.ready().record(ASK)["position"] == 1
        named = {run.address[name] for run in (one, other) for name in ("ledger", "projector")}
        assert len(named) == 4


def test_a_port_that_was_given_and_is_busy_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with dev("--ledger-port", str(port), "--projector-port", "0") as run:
            assert run.process.wait(SECONDS_MAX) == os.EX_CONFIG
            assert f"port {port} cannot be listened on" in run.said()


def test_the_demo_is_in_it_once_it_is_ready() -> None:
    with dev(*ANY_PORTS, "--demo") as run:
        run.ready()
        recorded = run.record(ASK)["position"]
        assert recorded > 60
        assert "SSO-42" in {
            row["requirement"] for row in run.answer(f"requirements?at_least={recorded}")["requirements"]
        }


def test_a_first_start_keeps_what_the_next_one_copies(tmp_path: Path) -> None:
    with dev(*ANY_PORTS, HOME=str(tmp_path)) as run:
        assert run.ready().record(ASK)["position"] == 1
        [template] = (tmp_path / ".cache" / "requirements-ledger").iterdir()
        assert template.name.startswith("ephemeral-")
        assert template.parent.stat().st_mode & 0o777 == 0o700
        assert not {"lock", "database.log"} & {path.name for path in template.iterdir()}


def test_the_key_of_one_opens_no_other(tmp_path: Path) -> None:
    secrets = []
    for _ in ("made", "copied"):
        with dev(*ANY_PORTS, HOME=str(tmp_path)) as run:
            run.ready()
            [template] = (tmp_path / ".cache" / "requirements-ledger").iterdir()
            assert [*template.glob("*.key")] == []
            secrets.append({run.address["key"], (run.home / "master.key").read_text()})
            assert [key["name"] for key in run.known_keys()] == ["receiver", "admin"]
    made, copied = secrets
    assert not made & copied


def test_a_place_for_the_template_that_others_may_write_into_is_not_used(tmp_path: Path) -> None:
    cache = tmp_path / ".cache" / "requirements-ledger"
    cache.mkdir(parents=True)
    cache.chmod(0o777)
    with dev(*ANY_PORTS, HOME=str(tmp_path)) as run:
        assert run.ready().record(ASK)["position"] == 1
        assert "not a directory of ours alone" in run.said()
    assert [*cache.iterdir()] == []


def test_without_a_place_for_the_template_it_starts_all_the_same(tmp_path: Path) -> None:
    (tmp_path / ".cache").write_text("no directory")
    with dev(*ANY_PORTS, HOME=str(tmp_path)) as run:
        assert run.ready().record(ASK)["position"] == 1
        assert "template_not_kept" in run.said()
