"""The packages of Node.js that are compared, as package-lock.json has them. The benchmark installs them, not the
product; `node_modules` is theirs alone."""

import asyncio
import shutil
from pathlib import Path

from benchmarks.peers import Missing

INSTALL_SECONDS_MAX = 300
NODE_VERSION_MIN = 20

HERE = Path(__file__).parent
MODULES = HERE / "node_modules"
_NOTE = MODULES / ".package-lock.json"  # npm writes it last.


def are_installed() -> bool:
    """Whether the packages are there as the lock has them now."""
    return _NOTE.exists() and _NOTE.stat().st_mtime >= (HERE / "package-lock.json").stat().st_mtime


async def installed() -> Path:
    """The directory of the packages, which are installed first if they are not there. Raises Missing."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise Missing(
            f"Emmett and message-db come as packages of Node.js, and {'npm' if node else 'node'} is not installed. "
            f"Install Node.js {NODE_VERSION_MIN} or newer (on Debian and Ubuntu: apt-get install nodejs npm), then "
            "run again."
        )
    if not are_installed():
        process = await asyncio.create_subprocess_exec(
            *(npm, "ci", "--silent"), cwd=HERE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            async with asyncio.timeout(INSTALL_SECONDS_MAX):
                said, _ = await process.communicate()
        except TimeoutError as error:
            process.kill()
            raise Missing(f"npm ci in {HERE} had not ended after {INSTALL_SECONDS_MAX} s") from error
        if process.returncode != 0:
            raise Missing(f"npm ci in {HERE} failed, run it by hand:\n{said.decode(errors='replace')}")
    return MODULES
