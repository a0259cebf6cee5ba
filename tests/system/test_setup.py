"""Make installs what the locks say once, and again only when they say something else; what runs needs less than what
tests."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = ("requirements-build.txt", "requirements.txt", "requirements-dev.txt", "pyproject.toml")
PYTHON = """#!/bin/sh
case "$*" in
*--version*)
	test ! -e upgraded
	;;
*install*)
	echo "$*" >>installed
	test ! -p hold || cat hold
	test ! -e killed || kill -9 $PPID
	test ! -e short_of_memory || kill -9 $$
	test ! -e broken
	;;
esac
"""
# The Python of the tests, without what chooses one of several.
# As from a shell: a make that another make calls says more.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
ENVIRONMENT["PATH"] = f"{Path(sys.executable).resolve().parent}:{os.environ['PATH']}"
RUN = [["requirements-build.txt", "requirements.txt"], ["--editable"]]
DEV = [["requirements-dev.txt"]]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory that looks like a clone, with a Python that only notes what it is to install."""
    for name in ("Makefile", "make_venv.py"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    for name in FILES:
        (tmp_path / name).write_text(name)
    folder = tmp_path / ".venv" / "bin"
    folder.mkdir(parents=True)
    for name, text in (("python", PYTHON), ("ledger", "#!/bin/sh\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    (tmp_path / ".venv" / "whole").touch()
    return tmp_path


def make(clone: Path, target: str) -> tuple[int, list[list[str]]]:
    """The status of make, and what was installed: the locks by their names, a call of pip each."""
    status = subprocess.run(["make", target], cwd=clone, env=ENVIRONMENT, capture_output=True, check=False).returncode
    return status, installed(clone)


def make_venv(clone: Path, *names: str) -> tuple[int, str, str]:
    """Its status, and what it said on stdout and stderr."""
    command = [sys.executable, "make_venv.py", *names]
    done = subprocess.run(command, cwd=clone, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def installed(clone: Path) -> list[list[str]]:
    """What was installed since this was asked last."""
    noted = clone / "installed"
    calls = noted.read_text().splitlines() if noted.exists() else []
    noted.unlink(missing_ok=True)
    return [re.findall(r"requirements[\w-]*\.txt|--editable", call) for call in calls]


def change(file: Path, text: str) -> None:
    """As a checkout leaves a file: newer than what was made from it."""
    file.write_text(text)
    time = file.stat().st_mtime + 3600
    os.utime(file, (time, time))


def replace_as_a_checkout_does(file: Path) -> None:
    """With a new file, so that a lock on the old one keeps nobody out."""
    new = file.with_suffix(".new")
    new.write_text(file.read_text())
    new.replace(file)


def test_what_runs_the_ledger_installs_nothing_that_only_tests_need(clone: Path) -> None:
    assert make(clone, "run") == (0, RUN)
    for target in ("run", "demo", "dev"):
        assert make(clone, target) == (0, [])
    assert make(clone, "setup") == (0, DEV)
    assert make(clone, "setup") == (0, [])


def test_what_runs_the_ledger_is_there_where_tests_have_been_set_up(clone: Path) -> None:
    assert make(clone, "setup") == (0, RUN + DEV)
    assert make(clone, "run") == (0, [])
    assert make(clone, "setup") == (0, [])


def test_what_a_checkout_only_touched_is_not_set_up_again(clone: Path) -> None:
    make(clone, "setup")
    for name in FILES:
        change(clone / name, name)
    assert make(clone, "run") == (0, [])
    assert make(clone, "setup") == (0, [])


@pytest.mark.parametrize("name", FILES)
def test_what_has_changed_is_set_up_again(clone: Path, name: str) -> None:
    make(clone, "setup")
    change(clone / name, "changed")
    assert make(clone, "run") == (0, [] if name == "requirements-dev.txt" else RUN)
    assert make(clone, "setup") == (0, DEV)


def test_what_another_lock_has_changed_for_tests_is_set_up_again_for_the_lock_that_was(clone: Path) -> None:
    """What runs may have brought another version of what only tests needed before."""
    make(clone, "setup")
    for text in ("changed", "requirements.txt"):
        change(clone / "requirements.txt", text)
        assert make(clone, "run") == (0, RUN)
    assert make(clone, "setup") == (0, DEV)


def test_a_set_up_that_failed_is_done_again_even_if_the_lock_is_what_it_was(clone: Path) -> None:
    make(clone, "run")
    change(clone / "requirements.txt", "changed")
    (clone / "broken").touch()
    status, _ = make(clone, "run")
    assert status != 0
    (clone / "broken").unlink()
    change(clone / "requirements.txt", "requirements.txt")
    assert make(clone, "run") == (0, RUN)


def test_where_tests_could_not_be_set_up_the_ledger_still_runs(clone: Path) -> None:
    make(clone, "run")
    (clone / "broken").touch()
    status, _ = make(clone, "setup")
    assert status != 0
    assert make(clone, "run") == (0, [])


def test_what_a_killed_set_up_left_is_made_anew_from_the_start(clone: Path) -> None:
    half = clone / ".venv" / "half"
    half.touch()
    (clone / "killed").touch()
    status, _ = make(clone, "run")
    assert status != 0
    assert half.exists()
    (clone / "killed").unlink()
    make(clone, "run")
    assert not half.exists()
    assert (clone / ".venv" / "bin" / "python").resolve() != clone / ".venv" / "bin" / "python"


def test_what_an_upgrade_left_without_pip_is_made_anew_from_the_start(clone: Path) -> None:
    make(clone, "run")
    half = clone / ".venv" / "half"
    half.touch()
    (clone / "upgraded").touch()
    change(clone / "requirements.txt", "changed")
    _, said, _ = make_venv(clone, "run")
    assert said.startswith("Making .venv\n")
    assert not half.exists()
    python = str(clone / ".venv" / "bin" / "python")
    assert subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def test_who_runs_short_of_memory_is_told_and_begins_from_the_start(clone: Path) -> None:
    (clone / "short_of_memory").touch()
    status, _, complaint = make_venv(clone, "run")
    assert status == 128 + 9
    assert "signal 9 (" in complaint
    assert "Run make again" in complaint
    assert not (clone / ".venv" / "whole").exists()


@pytest.mark.parametrize("names", [(), ("devel",), ("run", "dev")])
def test_a_set_that_there_is_not_is_refused(clone: Path, names: tuple[str, ...]) -> None:
    assert make_venv(clone, *names) == (2, "", "Name one set of packages: make_venv.py run or dev\n")
    assert installed(clone) == []


def test_of_two_at_once_the_second_finds_what_the_first_has_installed(clone: Path) -> None:
    hold = clone / "hold"
    os.mkfifo(hold)
    first = subprocess.Popen(["make", "run"], cwd=clone, env=ENVIRONMENT)
    with hold.open("w"):  # From here on the first installs.
        hold.unlink()
        replace_as_a_checkout_does(clone / "make_venv.py")
        second = subprocess.Popen(["make", "setup"], cwd=clone, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
        assert second.stdout is not None
        assert second.stdout.readline() == "Waiting for another make, which sets up .venv\n"
    second.communicate()
    assert (first.wait(), second.returncode) == (0, 0)
    assert installed(clone) == RUN + DEV
