"""`make bench` at the size of a toy: the command runs, and what it writes is complete."""

import asyncio
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.figures import AIMS

ROOT = Path(__file__).parent.parent.parent
RUN_SECONDS_MAX = 280  # It takes ten where nobody else works.


@pytest.mark.system
@pytest.mark.timeout(300)
async def test_a_toy_run_writes_every_figure_or_why_it_has_none(tmp_path: Path):
    out = tmp_path / "results.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.bench", "--toy", "--only", "queries", "--out", str(out)),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(RUN_SECONDS_MAX):
            said, complained = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    assert process.returncode == 0, complained.decode()
    results = msgspec.json.decode(out.read_bytes())
    figures = results["figures"]
    for aim in AIMS:
        assert aim.name in figures
        assert (figures[aim.name]["value"] is None) == (not figures[aim.name]["samples"])
        assert figures[aim.name]["value"] is not None or figures[aim.name]["reason"]
    for name in ("query_one_vs_handler", "query_list_vs_handler"):
        assert len(figures[name]["samples"]) >= 5, complained.decode()
        assert figures[name]["value"] > 0
    assert set(results["rates"]) == {"query, one", "query, list"}
    assert {"commit", "processors", "python"} <= set(results["on"])
    assert all(aim.name in said.decode() for aim in AIMS)
    assert out.with_suffix(".html").read_text().count("<svg") > 2


async def test_a_step_that_there_is_not_is_named_and_nothing_starts(tmp_path: Path):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.bench", "--only", "sinlge", "--out", str(tmp_path / "results.json")),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complained = await process.communicate()
    assert process.returncode == 2
    assert "there is no step sinlge" in complained.decode()
    assert not [*tmp_path.iterdir()]
