"""What benchmarks/README.md says of the benchmark's last run is what the file of its results says."""

import json
import re
import subprocess
from pathlib import Path

from benchmarks.figures import AIMS, shown

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(\w+)` \| ([\d.,]+) \| ([\d.,]+) \|", re.MULTILINE)


def committed(path: str) -> str:
    """As it is in the last commit: who runs the benchmark has other results in the folder."""
    return subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_every_figure_that_misses_its_aim_is_told_with_its_value():
    figures = json.loads(committed("benchmarks/results.json"))["figures"]
    _, _, told = committed("benchmarks/README.md").partition("\n## What falls short\n")
    told, _, _ = told.partition("\n## ")
    missed = {
        (aim.name, shown(figures[aim.name]["value"]), f"{aim.limit:,g}")
        for aim in AIMS
        if figures[aim.name]["value"] is not None and not aim.met(figures[aim.name]["value"])
    }
    assert missed, "if none is missed, the section can go, and this test with it"
    assert {*ROW.findall(told)} == missed
