"""`make run`: how long until it says that all is ready."""

import asyncio
import os
import signal
import time
from pathlib import Path

from benchmarks.running import READY_SECONDS_MAX, STOP_SECONDS_MAX, RunningError, free_ports

ROOT = Path(__file__).parent.parent
READY = b"The ledger is ready."


async def start(home: Path) -> float:
    """Run it in this home until it is ready, then stop it; gives the seconds until then. Raises RunningError."""
    ports = dict(zip(("LEDGER_PORT", "PROJECTOR_PORT", "RECEIVER_PORT"), map(str, free_ports(3)), strict=True))
    # Made by a make itself, it is to be as one that somebody typed.
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    begun = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *("make", "run"),
        cwd=ROOT,
        env=ours | ports | {"LEDGER_HOME": str(home)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            await _until_ready(process)
        return time.perf_counter() - begun
    except TimeoutError:
        raise RunningError(f"`make run` was not ready after {READY_SECONDS_MAX} s") from None
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            await asyncio.wait_for(process.communicate(), STOP_SECONDS_MAX)
        except TimeoutError:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def _until_ready(process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        if line.startswith(READY):
            return
    raise RunningError("`make run` has ended before it was ready; what does it say?")
