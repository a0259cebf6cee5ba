"""The README's commands, word for word: what a new user types, in the order in which it stands there."""

import json
import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
READY_SECONDS_MAX = 90
STEP = "--- the next block ---"
CHECKED_BLOCKS = 9
YEAR_BLOCKS = 10

pytestmark = pytest.mark.system


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory that looks like a clone in which `make setup` has been done; its `.ledger` is its own."""
    stamp = min((ROOT / ".venv" / name).stat().st_mtime for name in ("ready", "ready-dev"))
    locks = ("requirements-build.txt", "requirements.txt", "requirements-dev.txt")
    made_from = ("make_venv.py", "pyproject.toml", *locks)
    if any((ROOT / name).stat().st_mtime > stamp for name in made_from):
        pytest.fail("the environment is older than what it is made from, and would be made anew here: make setup")
    for name in ("Makefile", *made_from, "examples", ".venv"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


@pytest.fixture
def running(clone: Path) -> Iterator[Path]:
    """`make run`, until it says that it is ready."""
    for port in (8080, 8081, 8082):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"the README's port {port} is in use on this machine")
    process = subprocess.Popen(["make", "run"], cwd=clone, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "is ready" in line:
                break
        else:
            pytest.fail(f"make run ended with status {process.wait()}")
        yield clone
    finally:
        process.terminate()
        process.wait(READY_SECONDS_MAX)
        process.stdout.close()


def blocks() -> list[str]:
    return re.findall(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.timeout(READY_SECONDS_MAX * 3)
def test_the_walk_through_works_word_for_word(running: Path) -> None:
    run, demo, *walk = blocks()
    assert (run, demo) == ("make run\n", "make demo\n")
    loaded = subprocess.run(demo, shell=True, cwd=running, capture_output=True, text=True, check=True)
    assert "requirements/SSO-42" in loaded.stdout

    script = f"\necho '{STEP}'\n".join(walk)
    done = subprocess.run(["bash", "-e", "-c", script], cwd=running, capture_output=True, text=True, check=True)
    answers = done.stdout.split(STEP)
    asked, departing, table, earlier, recorded, refused, *rest = answers
    year, [*first, merged, dry_run, key, read], checked = (
        rest[:YEAR_BLOCKS], rest[YEAR_BLOCKS:-CHECKED_BLOCKS], rest[-CHECKED_BLOCKS:]
    )  # fmt: skip
    audited, signed, walked, proven, digested, moved, replayed, erased, rotated = checked

    one = json.loads(asked)
    assert one["who_asked"][0]["asks"][0]["quote"]
    assert one["how_on_target"]["fits"][0].keys() >= {"as_asked", "as_decided", "as_now"}
    assert one["who_decided"][0]["departs"] == "no"
    assert json.loads(departing)["who_decided"][0].items() >= {"departs": "yes", "grounds": "exception"}.items()
    assert len(table.strip().splitlines()) == 1 + 12
    assert earlier.strip().splitlines()[1].startswith("SSO-42,")
    assert earlier != table
    assert " 201 " in recorded.splitlines()[1]
    assert '"duplicate":false' in recorded
    assert {error["pointer"] for error in json.loads(refused)["errors"]} == {
        "/data/requirement",
        "/data/importance",
        "/data/mood",
    }
    a_year(*year)
    first_events(*first)
    assert [each["duplicate"] for each in json.loads(merged)["results"]] == [False, False]
    assert "ledger.ask.recorded.v1" in dry_run
    assert json.loads(key)["key"].startswith("lk_")
    page, readings = read.strip().rsplit("\n", 1)
    assert "Third password reset this week" in page
    assert json.loads(readings)["readings"][-1]["person"] == "p-83"
    assert audited.count("Nothing was found.") == 2
    assert signed.strip() == "Signature Verified Successfully"
    assert re.fullmatch(r"all \d+ events are what they were", walked.strip().splitlines()[-1])
    assert rotated.count("sealing keys were wrapped anew") == 2 and "is the only one" in rotated
    told, act, forgotten, *scrubbed = erased.strip().splitlines()
    assert len(json.loads(told)["results"]) == 2 and json.loads(act)["results"][0]["stream"] == "person/p-901"
    assert forgotten == "p-901 None"
    assert "those before are gone" in " ".join(scrubbed)
    note = r"requirements-ledger/main/\w+/digests\nrequirements \w{16}\n\d+\n[-\dT:.]+Z\n\w{64}\n\n"
    assert re.match(note, digested.lstrip())
    assert "Signature Verified Successfully" in digested and "Nothing was found." in digested
    assert "10 published digests of read models, 10 of them replayed" in digested
    assert proven.count("✓") == 10 and "Verified." in proven.splitlines()
    assert len({*re.findall(r"^root hash ([0-9a-f]{64})", moved, re.MULTILINE)}) == 1
    assert "are in the ledger copy now" in moved and "Nothing was found." in moved
    assert replayed.count("the same") == 10 and "as of position 192" in replayed

    *shorthand, first_question = walk[0].splitlines()
    assert first_question.startswith("ask ")
    what_if = subprocess.run(
        ["bash", "-e", "-c", "\n".join([*shorthand, walk[5 + YEAR_BLOCKS]])],
        cwd=running,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert what_if.strip() == year[-1].strip()

    again = subprocess.run(
        ["bash", "-e", "-c", f"{walk[0]}\necho '{STEP}'\n{walk[4]}"],
        cwd=running,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split(STEP)[1]
    assert " 200 " in again.splitlines()[1]
    assert '"duplicate":true' in again
    assert json.loads(again.splitlines()[-1])["results"] == [
        {**json.loads(recorded.splitlines()[-1])["results"][0], "duplicate": True}
    ]


def a_year(
    lenses: str,
    context: str,
    marks: str,
    retraction: str,
    departures: str,
    engineering: str,
    sales: str,
    promises: str,
    alignment: str,
    what_if: str,
) -> None:
    """What the text beside each of these commands says of its answer."""
    classes = {account: fits for account, *fits in map(str.split, lenses.strip().splitlines())}
    assert classes["rowan"] == ["off_target", "undetermined", "on_target"]
    assert classes["acme"] == ["exploratory", "on_target", "on_target"]

    known, unknown, later = re.split(r"^true_then_not_yet_known$|^happened_later$", context.strip(), flags=re.MULTILINE)
    assert "quill asked" in known and "hazel: runs_on is cloud" in known
    assert "hazel: runs_on is own servers" in unknown and "2026-03-01" in unknown
    assert "recorded in error" in later and "superseded by D-9" in later
    assert [line.split()[0] for line in known.splitlines() if "(retracted)" in line] == ["73"]

    assert [line.split()[:2] for line in marks.strip().splitlines()] == [
        ["185", "learned_since"],
        ["187", "withdrawn"],
        ["188", "withdrawn"],
    ]
    assert retraction.strip().splitlines() == ["187 ['quill', 'hazel']", "188 ['hazel']"]

    listed, deals = departures.rsplit("}\n", 1)
    [departure] = json.loads(listed + "}")["decisions"]
    assert (departure["decision"], departure["grounds"]) == ("D-2", "exception")
    assert departure["at_stake"]["opportunistic"] == [
        {"currency": "EUR", "contracted": "0.00", "pipeline": "430000.00"}
    ]
    assert departure["became"]["won"]["opportunistic"] == [{"currency": "EUR", "amount": "340000.00"}]
    assert departure["became"]["lost"]["opportunistic"] == [{"currency": "EUR", "amount": "90000.00"}]
    assert deals.splitlines() == [
        "at stake O-1006 Delta Freight 340000.00 EUR won",
        "at stake O-1007 Kelp Foods 90000.00 EUR lost",
        "later O-1010 Delta Freight 80000.00 EUR lost",
        "later O-1009 Kelp Foods 75000.50 EUR open",
    ]

    for fact in (
        "* Decision: D-2",
        "* Requirements: ONPREM-1",
        "* Outcome: commit",
        "* Decided on: 2026-04-09",
        "* Available from: 2026-11-30, confidence medium",
    ):
        assert fact in engineering.splitlines() and fact in sales.splitlines()
    assert engineering.startswith("\n---\nstatus: ") and "* Bad, because" in engineering
    assert "* Bad, because" not in sales and "Not decided yet; nothing may be promised." in sales

    against, without, infeasible = documents(promises)
    assert "P-9" in {each["promise"] for each in without["promises"]}
    assert [(each["promise"], each["held"]["decision"]) for each in against["promises"]] == [("P-8", "D-5")]
    assert [(each["promise"], each["infeasible"]) for each in infeasible["promises"]] == [("P-7", ["engineering"])]

    counts, waited, settled, *shared = alignment.strip().splitlines()
    assert "'on_target': " in counts
    assert re.fullmatch(r"median days to a decision: \d+\.\d+", waited)
    assert settled.startswith("would settle: [(")
    assert re.match(r"industry public - lift 2\.5 - \d of \d accounts, first for Citizens identify", shared[0])
    assert shared[1].startswith("runs_on own servers - lift ") and "Installation" in shared[1]

    would_be = what_if.strip().splitlines()
    assert {"pine off_target -> on_target", "grove on_target -> off_target"} <= {*would_be}
    assert {"EID-10 rank 4 -> 3", "LANG-5 rank 6 -> 8"} <= {*would_be}
    assert {"D-6 differs for 2 -> 4", "need review: D-8 D-6 D-5 - newly 0"} <= {*would_be}
    assert re.fullmatch("digest: [0-9a-f]{64}", would_be[-1])


def documents(output: str) -> list[Any]:
    """The JSON documents that a block has shown, one after the other."""
    found = []
    text = output.strip()
    while text:
        document, end = json.JSONDecoder().raw_decode(text)
        found.append(document)
        text = text[end:].lstrip()
    return found


def first_events(
    desk: str, feedback: str, identified: str, inbox: str, emitter: str, client: str, hook: str, webhook: str
) -> None:
    """With curl, with the Python client, with a webhook."""
    assert desk.strip() == ""
    assert " 201 " in feedback.strip().splitlines()[0] and " 201 " in identified.strip().splitlines()[0]
    [said] = json.loads(inbox)["feedback"]
    assert (said["account"], said["named"], said["class"]) == ("cedar", "zendesk:4711", said["fit"]["class"])
    assert [each["requirement"] for each in said["suggested"]] == ["SSO-42"]
    assert {each["type"]: each["count"] for each in json.loads(emitter)["types"]} == {
        "ledger.feedback.received.v1": 1,
        "ledger.account.identified.v1": 1,
    }
    assert re.fullmatch(r"position \d+, duplicate: False\nsent: 1, waiting: 0", client.strip())
    assert "ledger.feedback.received.v1" in hook
    assert " 200 " in webhook.strip().splitlines()[0]
    assert [each["duplicate"] for each in json.loads(webhook.strip().splitlines()[-1])["events"]] == [False]
