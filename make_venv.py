"""Make .venv as the locks say: `python3 make_venv.py run` for what the ledger needs, `dev` for what works on it too.

The Makefile calls it, in the directory of the clone, with any Python that is new enough and has nothing installed. A
set is installed once, and again only when what it is made from says something else; it takes nothing of the other away.
What was cut short is made anew from the start, since half of a package may be there.
"""

import fcntl
import hashlib
import subprocess
import sys
import venv
from pathlib import Path
from typing import NamedTuple

VENV = Path(".venv")
PYTHON = VENV / "bin" / "python"
WHOLE = VENV / "whole"  # It is not there while something is installed.
PIP = (PYTHON, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "install")
INTERRUPTED = 130  # As shells have it.


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


def main(name: str) -> int:
    """Bring .venv up to the set of this name. Gives the status to end with."""
    with Path(__file__).open() as lock:
        _wait_for(lock.fileno())
        if not (WHOLE.exists() and PYTHON.exists()):
            venv.create(VENV, clear=True, symlinks=True, with_pip=True)
            WHOLE.touch()
        for number, package_set in enumerate(SETS):
            wanted = _digest(package_set.made_from)
            # The text counts and not the time, since a checkout touches files that it does not change.
            if not package_set.stamp.exists() or package_set.stamp.read_text() != wanted:
                for outdated in SETS[number:]:
                    outdated.stamp.unlink(missing_ok=True)
                if status := _install(package_set, lock.fileno()):
                    return status
            package_set.stamp.write_text(wanted)
            if package_set.name == name:
                break
    return 0


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
            return INTERRUPTED
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
        sys.exit(INTERRUPTED)
