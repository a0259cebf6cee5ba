"""`ledger audit` as a command: what it prints, what it writes, and how it ends, on a database and over HTTP."""

import asyncio
from pathlib import Path

import msgspec
import pytest

from services.auditor.findings import DigestsLookedAt, Report
from services.keys import new_key
from services.postgres import connect
from tests.conftest import Database
from tests.importing import Asking, command, processes
from tests.readmodels import NAMES

ROOT = Path(__file__).parents[2]
SECONDS_MAX = 60.0

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


async def settled(asking: Asking, database: Database) -> int:
    """Wait until checkpoint, read models and their digests have all that was recorded; how much that is."""
    head: int = (await asking.get("ledger", "/events", limit=1))["head"]
    await asking.get("projector", "/requirements", at_least=head, timeout=30)
    url = f"{asking.urls['ledger']}/v1/ledgers/main/checkpoint"
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            async with asking.session.get(url) as answer:
                if answer.status == 200 and (await answer.text()).split("\n")[1] == str(head):
                    break
            await asyncio.sleep(0.05)
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            shown = (await asking.get("projector", "/projections"))["projections"]
            if all(row["digest_position"] == head for row in shown):
                return head
            await asyncio.sleep(0.05)


async def test_an_audit_ends_with_what_it_found(database: Database, tmp_path: Path):
    settings = msgspec.structs.replace(database.settings, digest_seconds=1)
    async with processes(settings, "ledger", "projector") as asking:
        for season in ("01-exploring.yaml", "02-winter.yaml"):
            path = next((ROOT / "examples" / "sample").glob(season), None)
            if path is not None:
                assert (await command(settings, "import", path, folder=tmp_path)).status == 0
        head = await settled(asking, database)
        report_file, kept = tmp_path / "report.json", tmp_path / "kept.checkpoint"

        clean = await command(settings, "audit", "--json", report_file, "--by", "R. Roe", folder=tmp_path)
        assert clean.status == 0, clean.output + clean.errors
        assert f"all {head} events" in clean.output and "Nothing was found." in clean.output
        assert "keys of sealed texts were tried" in clean.output and "read models, up to the last" in clean.output
        report = msgspec.json.decode(report_file.read_bytes(), type=Report)
        assert (report.by, report.events, report.found, report.ledger) == ("R. Roe", head, [], "main")
        assert "read models" in report.checked and report.checkpoint is not None
        assert report.checkpoints_outside is not None and report.checkpoints_outside >= report.checkpoints_inside > 0
        assert report.sealing_keys is not None
        assert report.digests is not None and report.digests.published == report.digests.replayed >= len(NAMES)
        assert f"{report.digests.published} published digests of read models" in clean.output
        kept.write_text(report.checkpoint)

        url = asking.urls["ledger"]
        key = (settings.home / "admin.key").read_text()
        (tmp_path / "api.key").write_text(key)
        (tmp_path / "revoked.key").write_text(new_key()[1])
        over_http = ("audit", "--url", url, "--api-key-file", tmp_path / "api.key")
        outside = await command(settings, *over_http, "--since", kept, folder=tmp_path)
        assert outside.status == 0, outside.output + outside.errors
        assert "since" in outside.output and "read models" not in outside.output and "digest" not in outside.output
        answers = await command(
            settings, *over_http, "--projector-url", asking.urls["projector"], "--json", "-", folder=tmp_path
        )
        assert answers.status == 0, answers.output + answers.errors
        replayed = msgspec.json.decode(answers.output, type=Report)
        assert replayed.digests == DigestsLookedAt(published=len(NAMES), replayed=len(NAMES), of_other_versions=0)
        assert "digests" in replayed.checked and "read models" not in replayed.checked

        for wrong, said in (
            (("audit", "--ledger", "other"), "there is no ledger 'other'"),
            (("audit", "--key", "nobody"), "not a verifier key"),
            (("audit", "--tsa-ca", report_file), "no certificates in PEM"),
            (("audit", "--since", tmp_path / "api.key"), "not a signed note"),
            ((*over_http[:4], report_file), "does not hold an API key"),
            ((*over_http[:4], tmp_path / "revoked.key"), "401"),
            (("audit", "--url", "http://127.0.0.1:9"), "127.0.0.1:9"),
            ((*over_http, "--projector-url", "http://127.0.0.1:9"), "127.0.0.1:9"),
            ((*over_http, "--projector-url", url), "404"),
            (("audit", "--projector-url", url), "--projector-url goes with --url"),
        ):
            ended = await command(settings, *wrong, folder=tmp_path)
            assert ended.status == 2 and said in ended.errors, ended.output + ended.errors

    ended = await command(settings, "audit", folder=tmp_path, LEDGER_CHECKPOINTS="s3://")
    assert ended.status == 2 and "LEDGER_CHECKPOINTS: not the URL of a bucket" in ended.errors, ended.errors
    nowhere = {"LEDGER_DATABASE_URL": "", "LEDGER_HOME": str(tmp_path / "none")}
    roles = {f"LEDGER_DATABASE_{role}_URL": "" for role in ("WRITER", "PROJECTOR", "AUDITOR")}
    ended = await command(settings, "audit", folder=tmp_path, **nowhere, **roles)
    assert ended.status == 2 and "No database" in ended.errors, ended.output + ended.errors

    hand = await connect(database.superuser)
    await hand.execute("ALTER TABLE ledger_main.stored_events DISABLE TRIGGER ALL")
    await hand.execute("UPDATE ledger_main.stored_events SET subject = 'requirement/other' WHERE notification_id = 3")
    await hand.close()
    found = await command(settings, "audit", folder=tmp_path)
    assert found.status == 1 and "columns: position 3: the column subject" in found.output, found.output
