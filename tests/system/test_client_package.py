"""The client as a package of its own: what it carries is enough, and nothing of the server is in it."""

import os
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys, pathlib, tempfile
import ledger_client, ledger_client.command, ledger_client.salvage
from ledger_client.outbox_file import OutboxFile
opened = OutboxFile.open(pathlib.Path(sys.argv[1]), "main", max_events=1, max_bytes=1)
opened.close()
assert not [name for name in sys.modules if name.split(".")[0] == "services"]
assert pathlib.Path(ledger_client.__file__).is_relative_to(sys.argv[2])
assert pathlib.Path(sys.modules["schemas"].__file__).is_relative_to(sys.argv[2])
"""

pytestmark = pytest.mark.system


def test_the_command_that_messages_name_comes_with_the_client_and_with_the_server() -> None:
    for project in (ROOT / "ledger_client/pyproject.toml", ROOT / "pyproject.toml"):
        assert tomllib.loads(project.read_text())["project"]["scripts"]["ledger-outbox"] == "ledger_client.command:main"


def test_the_example_says_in_a_sentence_that_nothing_answers(tmp_path: Path) -> None:
    (tmp_path / "admin.key").write_text("a key")
    environ = os.environ | {"LEDGER_PORT": "1", "LEDGER_HOME": str(tmp_path)}
    ended = subprocess.run(
        [sys.executable, str(ROOT / "examples/emit.py")], env=environ, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "http://127.0.0.1:1/" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_its_wheel_holds_all_that_it_needs(tmp_path: Path) -> None:
    for name in ("ledger_client", "schemas"):
        shutil.copytree(ROOT / name, tmp_path / "clone" / name, ignore=shutil.ignore_patterns("__pycache__", "build"))
    built = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", str(tmp_path), str(tmp_path / "clone/ledger_client")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("requirements_ledger_client-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    for package in ("ledger_client", "schemas"):
        files = [
            path for path in (ROOT / package).iterdir() if path.suffix in (".py", ".sql") or path.name == "py.typed"
        ]
        assert {f"{package}/{path.name}" for path in files} <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"ledger_client", "schemas"}

    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "crm.outbox"), str(tmp_path / "site")],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
