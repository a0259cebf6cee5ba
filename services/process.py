"""A service as a process: its settings, its log lines, its event loop, its exit status."""

import errno
import logging
import os
import sys
from collections.abc import Awaitable, Callable

import structlog
import uvloop

from services.sealing import MasterKeyError
from services.settings import Settings, SettingsError
from services.signing import SigningKeyError


def main(run: Callable[[Settings], Awaitable[None]]) -> None:
    """Run a service until it is asked to stop. EX_CONFIG: starting it again is no use before somebody acts."""
    try:
        settings = Settings.load()
        configure_logs(settings)
        uvloop.run(_run(run, settings))
    except (SettingsError, MasterKeyError, SigningKeyError) as error:
        _give_up(str(error))
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            raise
        _give_up(
            f"{error.strerror}. Is another ledger running? Set LEDGER_BIND, LEDGER_PORT, PROJECTOR_PORT or"
            " RECEIVER_PORT to an address and a port that are free."
        )


async def _run(run: Callable[[Settings], Awaitable[None]], settings: Settings) -> None:
    await run(settings)


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
