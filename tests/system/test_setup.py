"""`make setup` installs what the locks say once, and again only when they say something else."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = """#!/bin/sh
case "$*" in
*install*) echo "$*" >>installed; test ! -e broken ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory that looks like a clone, with a Python that only notes what it is to install."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name in ("requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        (tmp_path / name).write_text(name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(PYTHON)
    python.chmod(0o755)
    return tmp_path


def set_up(clone: Path) -> tuple[int, int]:
    """The status of `make setup`, and how often something was installed."""
    (clone / "installed").unlink(missing_ok=True)
    status = subprocess.run(["make", "setup"], cwd=clone, capture_output=True, check=False).returncode
    installed = clone / "installed"
    return status, len(installed.read_text().splitlines()) if installed.exists() else 0


def later(file: Path) -> None:
    """As a checkout leaves a file: newer than what was made from it."""
    time = file.stat().st_mtime + 3600
    os.utime(file, (time, time))


def test_what_a_checkout_only_touched_is_not_set_up_again(clone: Path) -> None:
    assert set_up(clone) == (0, 2)
    assert set_up(clone) == (0, 0)
    for name in ("requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        later(clone / name)
        assert set_up(clone) == (0, 0)


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "pyproject.toml"])
def test_what_has_changed_is_set_up_again(clone: Path, name: str) -> None:
    assert set_up(clone) == (0, 2)
    (clone / name).write_text("changed")
    later(clone / name)
    assert set_up(clone) == (0, 2)
    assert set_up(clone) == (0, 0)


def test_a_set_up_that_failed_is_done_again_even_if_the_lock_is_what_it_was(clone: Path) -> None:
    assert set_up(clone) == (0, 2)
    lock = clone / "requirements.txt"
    before = lock.read_text()
    lock.write_text("changed")
    later(lock)
    (clone / "broken").touch()
    status, _ = set_up(clone)
    assert status != 0
    (clone / "broken").unlink()
    lock.write_text(before)
    assert set_up(clone) == (0, 2)
