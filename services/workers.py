"""Several processes of one service that answer on one port; the kernel spreads connections over them (SO_REUSEPORT).

They are forked once everything is imported, and so share that memory. One that ends alone is started again, while the
others go on. None outlives the process that forked them.
"""

import errno
import mmap
import multiprocessing
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path

import structlog
from msgspec import Struct

from services import launch

RESTART_SECONDS = 0.5  # Between the end of one process and its next start.
PORT_SECONDS_MAX = 2.0  # For a port to become free.

_METRICS = "PROMETHEUS_MULTIPROC_DIR"  # By it prometheus_client knows, when it is imported, where to add up metrics.
_POLL_SECONDS = 0.05
_STOPPING = (signal.SIGTERM, signal.SIGINT)

_log = structlog.get_logger()
_fork = multiprocessing.get_context("fork")


class Shared(Struct, frozen=True):
    """A port that so many processes share, and the directory in which they add up their metrics."""

    processes: int
    host: str
    port: int
    metrics: Path


class Worker:
    """One of several processes, as it is known to itself. `count`: how many they are."""

    def __init__(self, number: int, started: mmap.mmap) -> None:
        self.count = len(started)
        self._number = number
        self._started = started

    def start(self) -> None:
        """Say that this one answers."""
        self._started[self._number] = 1

    @property
    def all_started(self) -> bool:
        """Whether each has answered since the service was started: one that ends later has the others answer."""
        return 0 not in self._started[:]


def prepare(shared: Shared) -> None:
    """What has to be done before anything of the service is imported. Raises OSError if the port is another's."""
    _await_port(shared)
    shutil.rmtree(shared.metrics, ignore_errors=True)
    shared.metrics.mkdir(mode=0o700, parents=True)
    os.environ[_METRICS] = str(shared.metrics)


def metrics_directory() -> str | None:
    """Where those who share a port add up their metrics; None for a process that has its port to itself."""
    return os.environ.get(_METRICS)


def _await_port(shared: Shared) -> None:
    # Those who share a port cannot tell a stranger from one of them. If this process was killed and is started again,
    # those of its earlier life may take a moment to end.
    family = socket.AF_INET6 if ":" in shared.host else socket.AF_INET
    deadline = time.monotonic() + PORT_SECONDS_MAX
    while True:
        try:
            socket.create_server((shared.host, shared.port), family=family).close()
            return
        except OSError as error:
            if error.errno == socket.EAI_NONAME:
                raise no_such_host(shared.host) from error
            if error.errno != errno.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def no_such_host(host: str) -> OSError:
    """What a host is that is no address, nor the name of one: not there, as an address of another machine is not."""
    return OSError(errno.EADDRNOTAVAIL, f"{host!r} is neither an address nor the name of one")


def keep(shared: Shared, work: Callable[[Worker], None]) -> int:
    """Have so many processes do the work until SIGTERM or SIGINT, which they are told; then wait for their end.

    Gives the exit status: 0, or that of one which cannot be started, or whose start again is no use (EX_CONFIG).
    """
    from prometheus_client import multiprocess  # Not before _METRICS is set.

    started = mmap.mmap(-1, shared.processes)
    asked, told = socket.socketpair()
    told.setblocking(False)
    signal.set_wakeup_fd(told.fileno())
    for sign in _STOPPING:
        signal.signal(sign, lambda *_: None)
    running = [_start(number, started, work) for number in range(shared.processes)]
    status: int | None = None
    while status is None:
        ended = wait([asked, *(process.sentinel for process in running)])
        status = 0 if asked in ended else None
        for number, process in enumerate(running):
            if status is not None or process.sentinel not in ended:
                continue
            process.join()
            multiprocess.mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
            if process.exitcode == os.EX_CONFIG or not started[number]:
                status = process.exitcode or 1
                continue
            _log.error("process_ended", process=number, status=process.exitcode, restart_in_seconds=RESTART_SECONDS)
            time.sleep(RESTART_SECONDS)
            running[number] = _start(number, started, work)
    for process in running:
        process.terminate()
    for process in running:
        process.join()
    shutil.rmtree(shared.metrics, ignore_errors=True)
    return status


def _start(number: int, started: mmap.mmap, work: Callable[[Worker], None]) -> ForkProcess:
    process = _fork.Process(target=_be, args=(number, started, os.getpid(), work), name=f"process {number}")
    # A signal that comes before the process has its own ideas about signals waits until then.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    process.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    return process


def _be(number: int, started: mmap.mmap, parent: int, work: Callable[[Worker], None]) -> None:
    signal.set_wakeup_fd(-1)
    for sign in _STOPPING:
        signal.signal(sign, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    # What was acknowledged is on disk, so that nothing is lost by ending at once.
    launch.end_with(parent, signal.SIGKILL)
    structlog.contextvars.bind_contextvars(process=number)
    work(Worker(number, started))
