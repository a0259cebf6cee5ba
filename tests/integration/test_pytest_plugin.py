"""The fixtures that the client brings to other people's tests, in a pytest of its own."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 110
LOOP = ("-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")

USES = """
import json
import urllib.request

import pytest

from ledger_client import AskRecorded

pytest_plugins = ["ledger_client.pytest_plugin"]


def ask(url, key):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


async def test_it_records_and_answers(ephemeral_ledger, ledger_server):
    print("server", ledger_server.ledger)
    async with ephemeral_ledger.client(source="/crm") as ledger:
        recorded = await ledger.record(AskRecorded(requirement="SSO-42", account="acme"))
    assert recorded.position == 1
    found = ask(ephemeral_ledger.answers_url + "/requirements?at_least=1", ephemeral_ledger.key)
    assert [row["requirement"] for row in found["requirements"]] == ["SSO-42"]


@pytest.mark.parametrize("number", range(3))
async def test_each_test_has_an_empty_one(ephemeral_ledger, number):
    async with ephemeral_ledger.client() as ledger:
        assert (await ledger.record(AskRecorded(requirement="R-1", account="acme"))).position == 1


async def test_its_key_opens_no_other(ephemeral_ledger, ledger_server):
    from ledger_client import Forbidden, Ledger
    async with Ledger(ledger_server.ledger, ephemeral_ledger.key, source="/crm") as ledger:
        with pytest.raises(Forbidden):
            await ledger.record(AskRecorded(requirement="R-1", account="acme"))
"""


def run_pytest(
    directory: Path, text: str, *arguments: str, loop: Sequence[str] = LOOP
) -> subprocess.CompletedProcess[str]:
    (directory / "test_mine.py").write_text(text)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", *loop, *arguments],
        cwd=directory,
        env=os.environ | {"LEDGER_HOME": str(directory / "untouched")},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS_MAX,
    )


def ephemerals(port: str) -> list[psutil.Process]:
    """Processes that listen on this port."""
    listening = [each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    return [psutil.Process(each.pid) for each in listening if each.pid and str(each.laddr.port) == port]


def test_each_test_has_an_empty_ledger_and_the_session_leaves_nothing_behind(tmp_path: Path) -> None:
    # A package of theirs that has the name of one of ours is in nobody's way.
    (tmp_path / "services").mkdir()
    (tmp_path / "services" / "__init__.py").write_text("raise RuntimeError('not the package that is meant')")
    done = run_pytest(tmp_path, USES, "-W", "error")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout
    found = re.search(r"server http://127\.0\.0\.1:(\d+)", done.stdout)
    assert found is not None
    assert ephemerals(found[1]) == []
    assert not (tmp_path / "untouched").exists()


def test_a_command_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    done = run_pytest(
        tmp_path, USES, "-k", "answers", "--ledger-command", "/nowhere/ledger dev", "-p", "ledger_client.pytest_plugin"
    )
    assert done.returncode == 1
    assert "The ephemeral ledger cannot be started by /nowhere/ledger dev" in done.stdout


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    command = f"{sys.executable} -c \"import sys; sys.exit('no room left')\""
    done = run_pytest(tmp_path, USES, "-k", "answers", "--ledger-command", command, "-p", "ledger_client.pytest_plugin")
    assert done.returncode == 1
    assert "ended as it started (status 1). It said last:\nno room left" in re.sub(r"(?m)^E\s+", "", done.stdout)


def test_a_server_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only what the client needs can be found, and the client itself.
    isolated = tmp_path / "conftest.py"
    isolated.write_text(
        "import importlib.metadata as metadata\n"
        "def missing(name):\n"
        "    raise metadata.PackageNotFoundError(name)\n"
        "import ledger_client.pytest_plugin as plugin\n"
        "plugin.distribution = missing\n"
    )
    done = run_pytest(tmp_path, USES, "-k", "answers")
    assert done.returncode == 1
    assert "the package requirements-ledger is not installed" in re.sub(r"\s+", " ", done.stdout)
    assert "During handling" not in done.stdout


@pytest.mark.parametrize("example", [0, 1], ids=["with pytest-asyncio", "without"])
def test_the_examples_of_the_readme_run(tmp_path: Path, example: int) -> None:
    section = (ROOT / "ledger_client/README.md").read_text().split("## Tests with a real ledger", 1)[1]
    text = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[example]
    done = run_pytest(tmp_path, text, *(("-p", "no:asyncio") if example else ()), loop=() if example else LOOP)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
