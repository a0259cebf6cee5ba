"""What the image holds, laid out as the Dockerfile lays it out: no container is needed to see what is missing."""

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.ledger_service import LedgerService

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.system


async def test_the_demo_finds_its_examples_in_the_image(ledger: LedgerService, tmp_path: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    for name in re.findall(r"^COPY (\w+) \1$", (ROOT / "Dockerfile").read_text(), re.MULTILINE):
        assert name not in ignored
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.command", "demo", "--url", ledger.url),
        cwd=tmp_path,
        env=os.environ | {"LEDGER_KEY": ledger.admin, "LEDGER_HOME": str(tmp_path / "home")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await demo.communicate()
    assert demo.returncode == 0, output
    assert b"/requirements/SSO-42" in output
    assert await ledger.head() > 0
