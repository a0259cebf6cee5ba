"""`ledger export`, `ledger import-log` and `ledger replay` as commands, on the sample: there and back."""

import asyncio
import os
import sys
from pathlib import Path

import msgspec
import pytest

from services.archive.manifest import MANIFEST, LogManifest, ReadModelsManifest
from services.keys import new_key
from services.projector.projections import ALL
from services.settings import Settings
from services.signing import SigningKeys
from tests.archives import execute, exported, rows
from tests.conftest import Database
from tests.importing import Asking, command, processes
from tests.log import Log, event
from tests.readmodels import digests

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60.0

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


def log_in(directory: Path) -> LogManifest:
    return msgspec.json.decode((directory / MANIFEST).read_bytes(), type=LogManifest)


async def settled(asking: Asking) -> int:
    """Wait until checkpoint and read models have all that was recorded; how much that is."""
    head: int = (await asking.get("ledger", "/events", limit=1))["head"]
    await asking.get("projector", "/requirements", at_least=head, timeout=30)
    url = f"{asking.urls['ledger']}/v1/ledgers/main/checkpoint"
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            async with asking.session.get(url) as answer:
                if answer.status == 200 and (await answer.text()).split("\n")[1] == str(head):
                    return head
            await asyncio.sleep(0.05)


async def test_the_sample_goes_out_and_comes_back(database: Database, another_database: Database, tmp_path: Path):
    here, there = database.settings, another_database.settings
    await execute(another_database, "UPDATE registry.ledgers SET origin = 'ledger.example/there'")
    out, over_http = tmp_path / "out", tmp_path / "over http"
    async with processes(here, "ledger", "projector") as asking:
        loaded = await command(here, "demo", folder=ROOT)
        assert loaded.status == 0, loaded.errors
        head = await settled(asking)
        async with asking.session.get(f"{asking.urls['ledger']}/v1/ledgers/main/key") as answer:
            verifier = (await answer.text()).splitlines()[0]

        done = await command(here, "export", "log", out, "--with-keys", folder=tmp_path)
        assert done.status == 0, done.errors
        made = log_in(out)
        assert f"{head} events of {made.origin}" in done.output and f"root hash {made.root}" in done.output
        assert f"checkpoint of {head} events; " in done.output and " sealing keys" in done.output
        assert made.software.startswith("requirements-ledger ") and made.teams is not None

        # An outsider gets the same, but for the keys; and, of a part, the same part.
        outside = ("export", "log", "--url", asking.urls["ledger"], "--key", verifier)
        (tmp_path / "api.key").write_text((here.home / "admin.key").read_text())
        nowhere = {"LEDGER_DATABASE_URL": "postgresql://127.0.0.1:9/none", "LEDGER_HOME": str(tmp_path / "none")}
        done = await command(
            here, *outside, "--api-key-file", tmp_path / "api.key", over_http, folder=tmp_path, **nowhere
        )
        assert done.status == 0, done.errors
        got = log_in(over_http)
        assert (got.size, got.root, got.with_keys) == (made.size, made.root, False)
        assert [(file.name, file.sha256) for file in got.files] == [(file.name, file.sha256) for file in made.files]
        part = tmp_path / "part"
        assert (await command(here, *outside, "--until", "100", part, folder=tmp_path)).status == 0
        assert log_in(part).root == (await exported(database, tmp_path / "same part", until=100)).root
        assert (log_in(part).size, log_in(part).checkpoint) == (100, None)

        (tmp_path / "revoked.key").write_text(new_key()[1])
        other = str(SigningKeys.load_or_make(tmp_path / "other.key").signers(made.origin)[0].key)
        for arguments, said in (
            (("export", "log", "x", "--url", asking.urls["ledger"], "--with-keys"), "no sealing key is to be had over"),
            (("export", "log", "x", "--url", asking.urls["ledger"], "--key", other), "nobody known has signed it"),
            ((*outside, "x", "--until", str(head + 1)), f"the log has {head} events up to its latest checkpoint"),
            ((*outside, "x", "--api-key-file", tmp_path / "revoked.key"), "401"),
            (("import-log", out, "--ledger", "No Name"), "'No Name' is no name of a ledger"),
        ):
            ended = await command(here, *arguments, folder=tmp_path)
            assert ended.status == 2 and said in ended.errors, (arguments, ended.output + ended.errors)
            assert "Traceback" not in ended.errors
        assert not (tmp_path / "x").exists()
        assert await rows(database, "SELECT name FROM registry.ledgers") == [("main",)]

        done = await command(here, "replay", "--until", "100", "--keep", "as_of_100", folder=tmp_path)
        assert done.status == 0 and done.output.count("the same") == len(ALL), done.output + done.errors
        assert await rows(database, "SELECT max(position) <= 100 FROM as_of_100.asks") == [(True,)]
        done = await command(here, "export", "read-models", "tables", "--format", "csv", folder=tmp_path)
        assert done.status == 0 and f"as of position {head}" in done.output, done.errors
        tables = msgspec.json.decode((tmp_path / "tables" / MANIFEST).read_bytes(), type=ReadModelsManifest)
        assert {each.projection: each.digest for each in tables.projections} == await digests(database, head)

    await goes_in(out, made, head, another_database, verifier, tmp_path)
    assert await digests(another_database, head) == await digests(database, head)

    await execute(database, "UPDATE ledger_main.asks SET importance = 0 WHERE position = 100 OR importance = 3")
    done = await command(here, "replay", folder=tmp_path)
    assert (done.status, done.output.count("✗"), done.output.count("the same")) == (1, 1, len(ALL) - 1), done.output
    assert there.home != here.home


async def goes_in(out: Path, made: LogManifest, head: int, database: Database, verifier: str, folder: Path) -> None:
    """Import it elsewhere, and find there what was here."""
    settings = database.settings
    async with processes(settings, "ledger", "projector") as asking:
        done = await command(settings, "import-log", out, "--ledger", "main", "--key", verifier, folder=folder)
        assert done.status == 0, done.errors
        assert f"{head} events of {made.origin} are in the ledger main now, ledger.example/there" in done.output
        assert f"the first {head} of them are those of the checkpoint" in done.output
        assert await settled(asking) == head
        async with asking.session.get(f"{asking.urls['ledger']}/v1/ledgers/main/checkpoint") as answer:
            origin, size, *_ = (await answer.text()).splitlines()
        assert (origin, size) == ("ledger.example/there", str(head))
        answer_there = await asking.get("projector", "/requirements/SSO-42")
        assert answer_there["who_asked"][0]["asks"][0]["quote"]
        for arguments, status, said in (
            (("audit",), 0, "Nothing was found."),
            (("replay",), 0, "the same"),
        ):
            ended = await command(settings, *arguments, folder=folder)
            assert ended.status == status and said in ended.output, ended.output + ended.errors


async def test_without_pyarrow_csv_is_offered(database: Database, tmp_path: Path):
    without = "import sys; sys.modules['pyarrow'] = None; from services.command import main; main()"
    ended = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", without, "export", "read-models", "x", "--format", "parquet"),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)} | database.settings.environ(),
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await ended.communicate()
    assert ended.returncode == 2 and b"export with --format csv" in errors, errors
    assert not (tmp_path / "x").exists() and [*tmp_path.glob(".x*")] == []


async def test_the_embedded_database_is_started_for_it(database: Database, tmp_path: Path):
    """One that does not run; and where there is none, none is made."""
    async with Log.open(database) as log:
        await log.append(event("ask.recorded", requirement="R-1", account="acme", quote="Now."))
    made = await exported(database, tmp_path / "out")
    embedded = Settings(home=tmp_path / "embedded", log_level="error")
    ended = await command(embedded, "import-log", "out", "--ledger", "main", folder=tmp_path)
    assert ended.status == 2 and "No database" in ended.errors, ended.errors
    assert not embedded.home.exists()
    assert (await command(embedded, "migrate", folder=tmp_path)).status == 0
    done = await command(embedded, "import-log", "out", "--ledger", "main", folder=tmp_path)
    assert done.status == 0 and "1 events are sealed and came without one" in done.output, done.errors
    done = await command(embedded, "export", "log", "again", folder=tmp_path)
    assert done.status == 0, done.errors
    assert log_in(tmp_path / "again").root == made.root
    assert not (embedded.home / "database" / "postmaster.pid").exists()
