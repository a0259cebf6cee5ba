"""Starts a program that ends when its parent ends, under another identity where that is asked for.

Run as a file, `python -I -S launch.py OPTIONS -- PROGRAM ARGUMENT...`, between fork and exec: one thread,
nothing of ours imported. PostgreSQL refuses to run with effective user 0. A user namespace that shows our own
user under another number satisfies it, and the files stay ours. Nothing's permissions are changed here.

Exit statuses: those of the program; REFUSED where the system does not allow the identity; UNREACHABLE, with
the path on stderr, where the identity cannot get to a path that it needs.
"""

import argparse
import ctypes
import os
import sys
from pathlib import Path

REFUSED = 71
UNREACHABLE = 77

_CLONE_NEWUSER = 0x10000000
_PR_SET_PDEATHSIG = 1


def command(*arguments: str) -> list[str]:
    """The command line that runs this file."""
    return [sys.executable, "-I", "-S", str(Path(__file__)), *arguments]


def main() -> None:
    """Take on the identity, check the paths, and become the program (without one, that is all)."""
    wanted = _arguments().parse_args()
    try:
        if wanted.namespace is not None:
            _enter_namespace(*wanted.namespace)
        elif wanted.user is not None:
            _become(wanted.user)
    except OSError as error:
        sys.stderr.write(f"{error.strerror}\n")
        sys.exit(REFUSED)

    for path in wanted.reach:
        blocked = _first_blocked(path)
        if blocked is not None:
            sys.stderr.write(f"{blocked}\n")
            sys.exit(UNREACHABLE)
    for path in wanted.write:
        if not (path.is_dir() and os.access(path, os.W_OK | os.X_OK)):
            sys.stderr.write(f"{path}\n")
            sys.exit(UNREACHABLE)

    if wanted.program:
        # Last, because a change of identity forgets it.
        end_with(wanted.parent, wanted.signal)
        os.execv(wanted.program[0], wanted.program)  # noqa: S606


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--parent", type=int, help="process that the program must not outlive")
    parser.add_argument("--signal", type=int, help="signal that the program gets when the parent ends")
    parser.add_argument("--namespace", type=int, nargs=2, help="user and group that we are to look like")
    parser.add_argument("--user", help="name of the user that we are to become")
    parser.add_argument("--reach", type=Path, action="append", default=[], help="absolute path that is needed")
    parser.add_argument("--write", type=Path, action="append", default=[], help="directory that is to be written into")
    parser.add_argument("program", nargs="*")
    return parser


def _enter_namespace(user: int, group: int) -> None:
    outside_user, outside_group = os.geteuid(), os.getegid()
    # os.unshare is there from Python 3.12 on only.
    _call("unshare", _CLONE_NEWUSER)
    # The kernel lets a group be mapped only once groups can no longer be dropped.
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user} {outside_user} 1")
    Path("/proc/self/gid_map").write_text(f"{group} {outside_group} 1")


def _become(name: str) -> None:
    import pwd

    entry = pwd.getpwnam(name)
    os.initgroups(name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)


def _first_blocked(path: Path) -> Path | None:
    # access() asks for the real user and without capabilities, which is what the program will have.
    for part in [*reversed(path.parents), path]:
        if not os.access(part, os.X_OK):
            return part
    return None


def end_with(parent: int | None, signal: int | None) -> None:
    """Have the kernel send this process a signal when its parent ends. (Linux does.)"""
    if parent is None or signal is None or not sys.platform.startswith("linux"):
        return
    _call("prctl", _PR_SET_PDEATHSIG, signal, 0, 0, 0)
    # The parent may have ended before the kernel was asked to tell.
    if os.getppid() != parent:
        sys.exit(1)


def _call(name: str, *arguments: int) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*[ctypes.c_ulong(argument) for argument in arguments]) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


if __name__ == "__main__":
    main()
