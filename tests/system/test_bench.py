"""`make bench` at the size of a toy: the command runs, and what it writes is complete."""

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks.figures import AIMS

ROOT = Path(__file__).parent.parent.parent
RUN_SECONDS_MAX = 280  # It takes half a minute where nobody else works.
STEPS = "batches,latency,memory,queries,visible"


async def toy(steps: str, out: Path) -> tuple[str, str]:
    """What such a run says on stdout and on stderr."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.bench", "--toy", "--only", steps, "--out", str(out)),
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
    return said.decode(), complained.decode()


@pytest.mark.system
@pytest.mark.timeout(300)
async def test_a_toy_run_writes_every_figure_or_why_it_has_none(tmp_path: Path):
    out = tmp_path / "results.json"
    said, complained = await toy(STEPS, out)
    results = msgspec.json.decode(out.read_bytes())
    figures = results["figures"]
    for aim in AIMS:
        assert aim.name in figures
        assert (figures[aim.name]["value"] is None) == (not figures[aim.name]["samples"])
        assert figures[aim.name]["value"] is not None or figures[aim.name]["reason"]
    for name in ("query_one_vs_handler", "query_list_vs_handler"):
        assert len(figures[name]["samples"]) >= 5, complained
        assert figures[name]["value"] > 0
    for name in ("batch_vs_copy", "append_p99_ms", "visible_p99_ms", "ledger_rss_mb"):
        assert figures[name]["value"] > 0, complained
    assert {"batches", "query, one", "query, list"} <= set(results["rates"])
    for what in ("median", "99 of 100"):
        assert len(results["over_length"][f"milliseconds until an event is visible, {what}"]) == 2
    assert " failed: " not in complained
    assert {"commit", "processors", "python"} <= set(results["on"])
    assert all(aim.name in said for aim in AIMS)
    assert out.with_suffix(".html").read_text().count("<svg") > 2


@pytest.mark.system
@pytest.mark.timeout(300)
async def test_a_step_that_only_records_starts_no_projector(tmp_path: Path):
    out = tmp_path / "results.json"
    await toy("growth", out)
    results = msgspec.json.decode(out.read_bytes())
    for figure in ("append_growth", "batch_growth"):
        assert results["figures"][figure]["value"] > 0
    assert all(len(costs) == 2 for costs in results["over_length"].values())
    assert {each["service"] for each in results["memory"]} == {"ledger"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--only", "sinlge"), "there is no step sinlge"),
        (("--out", "not there/results.json"), "not there/results.json cannot be written"),
        (("--only", "start", "--keep", "file/home"), "file/home cannot be made"),
    ],
)
async def test_what_cannot_be_done_is_said_at_the_start(tmp_path: Path, given: tuple[str, ...], said: str):
    (tmp_path / "file").touch()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.bench", "--out", "results.json", *given),
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, complained = await process.communicate()
    assert process.returncode in (1, 2)
    assert said in complained.decode() and "Traceback" not in complained.decode()
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
