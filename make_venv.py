"""Make .venv as the locks say: `python3 make_venv.py run` for what the ledger needs, `dev` for what works on it too.

The Makefile calls it, in the directory of the clone, with any Python that is new enough and has nothing installed. A
set is installed once, and again only when what it is made from says something else; it takes nothing of the other away.
What was cut short is made anew from the start, since half of a package may be there.
"""

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
WHOLE = VENV / "whole"  # It is not there while something is installed.
PIP = (PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "install")
ENDED_BY_SIGNAL = 128  # Plus the signal, as shells have it.
WRONG_USAGE = 2


class PackageSet(NamedTuple):
    """Packages that are installed together, and the stamp that says from what they were."""

    name: str
    stamp: Path
    made_from: tuple[str, ...]
    installs: tuple[tuple[str, ...], ...]
    """What pip is to install, one call after the other."""
    announcement: str


RUN = PackageSet(
    "run",
    VENV / "ready",
    ("requirements-build.txt", "requirements.txt", "pyproject.toml"),
    (
        ("--require-hashes", "-r", "requirements-build.txt", "-r", "requirements.txt"),
        ("--no-deps", "--no-build-isolation", "--editable", "."),
    ),
    "Setting up .venv with what the ledger needs (half a minute, once)",
)
DEV = PackageSet(
    "dev",
    VENV / "ready-dev",
    (*RUN.made_from, "requirements-dev.txt"),
    (("--require-hashes", "-r", "requirements-dev.txt"),),
    "Setting up .venv with what tests and checks need too (a minute, once)",
)
SETS = (RUN, DEV)  # Each holds those before it.


def main(*names: str) -> int:
    """Bring .venv up to the set of this name. Gives the status to end with."""
    known = [package_set.name for package_set in SETS]
    if len(names) != 1 or names[0] not in known:
        print(f"Name one set of packages: make_venv.py {' or '.join(known)}", file=sys.stderr)
        return WRONG_USAGE
    # The directory of the clone stays: a checkout may put a new file in the place of this one, and another make could
    # lock that; .venv itself may not be there yet.
    lock = os.open(VENV.parent, os.O_RDONLY)
    try:
        return _bring_up_to(names[0], lock)
    finally:
        os.close(lock)


def _bring_up_to(name: str, lock: int) -> int:
    _wait_for(lock)
    if not (WHOLE.exists() and _has_pip()):
        print("Making .venv", flush=True)
        venv.create(VENV, clear=True, symlinks=True, with_pip=True)
        WHOLE.touch()
    for number, package_set in enumerate(SETS):
        wanted = _digest(package_set.made_from)
        # The text counts and not the time, since a checkout touches files that it does not change.
        if not package_set.stamp.exists() or package_set.stamp.read_text() != wanted:
            for outdated in SETS[number:]:
                outdated.stamp.unlink(missing_ok=True)
            if status := _install(package_set, lock):
                return status
        package_set.stamp.write_text(wanted)
        if package_set.name == name:
            break
    return 0


def _has_pip() -> bool:
    """Whether .venv has a Python with pip. After an upgrade of the system's Python there is one that finds no package:
    those of .venv are in a directory that is called by the version before."""
    if not PYTHON.exists():
        return False
    return subprocess.run([PYTHON, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def _wait_for(lock: int) -> None:
    """Take the lock, which the kernel takes from whoever ends."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print("Waiting for another make, which sets up .venv", flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)


def _install(package_set: PackageSet, lock: int) -> int:
    """The status of pip; what it refuses to install, or cannot fetch, leaves what there was."""
    print(package_set.announcement, flush=True)
    for arguments in package_set.installs:
        WHOLE.unlink()
        # With the lock: should this process be killed, nobody else begins before pip has ended.
        status = subprocess.run([*PIP, *arguments], pass_fds=[lock], check=False).returncode
        if status < 0:
            print(
                f"pip was ended by signal {-status} ({signal.strsignal(-status)}). Run make again, which makes .venv"
                " anew; if it was signal 9, memory may be short: end something else first.",
                file=sys.stderr,
            )
            return ENDED_BY_SIGNAL - status
        WHOLE.touch()
        if status:
            return status
    return 0


def _digest(names: tuple[str, ...]) -> str:
    return hashlib.sha256(b"".join(Path(name).read_bytes() for name in names)).hexdigest()


if __name__ == "__main__":
    try:
        sys.exit(main(*sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(ENDED_BY_SIGNAL + signal.SIGINT)
