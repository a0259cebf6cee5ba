"""The client as a package of its own: what it carries is enough, and nothing of the server is in it."""

import shutil
import subprocess
import sys
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
