"""A service as a process: its settings, its log lines, its event loop, its exit status."""

import errno
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import structlog
import uvloop

from services import workers
from services.sealing import MasterKeyError
from services.settings import Settings, SettingsError, misspelt
from services.signing import SigningKeyError
from services.workers import Shared, Worker

YOUNG_OBJECTS_MAX = 50_000
"""Python looks for cycles after so many new objects. What a request, an answer or a page of the log is made of has
none, is gone by then, and is not looked through again and again."""

_log = structlog.get_logger()


def main(app: str, shared: Callable[[Settings], Shared] | None = None) -> None:
    """Run a service until it is asked to stop. EX_CONFIG: starting it again is no use before somebody acts.

    `app`: the module whose `run(settings)` it is; where several processes share its port, `run(settings, worker)`.
    """
    with _explained():
        settings = Settings.load()
        configure_logs(settings)
        for name, setting in misspelt().items():
            _log.warning("setting_misspelt", variable=name, nearest=setting, next=f"{name} is not read; set {setting}")
        port = None if shared is None else shared(settings)
        if port is None or port.processes == 1:
            uvloop.run(_run(app, settings))
            return
        workers.prepare(port)
        _load(app)
        status = workers.keep(port, partial(_work, app, settings))
    sys.exit(status)


def _work(app: str, settings: Settings, worker: Worker) -> None:
    with _explained():
        uvloop.run(_run(app, settings, worker))


@contextmanager
def _explained() -> Iterator[None]:
    """End the process with a message for the operator, if that is who has to act."""
    try:
        yield
    except (SettingsError, MasterKeyError, SigningKeyError) as error:
        _give_up(str(error))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EACCES):
            raise
        _give_up(
            f"{error.strerror}. Is another ledger running? Set LEDGER_BIND, LEDGER_PORT, PROJECTOR_PORT or"
            " RECEIVER_PORT to an address and a port that are free."
        )


async def _run(app: str, *arguments: Any) -> None:
    await _load(app).run(*arguments)


def _load(app: str) -> Any:
    module = import_module(app)
    # What is imported is for ever. To look through it for garbage takes so long that those who wait notice, and writes
    # to memory that processes share.
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS_MAX)
    return module


def configure_logs(settings: Settings) -> None:
    """Log lines are JSON on stderr, so that stdout holds what a command is for. No line holds a sealed text."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def _give_up(message: str) -> None:
    sys.stderr.write(message + "\n")
    sys.exit(os.EX_CONFIG)
