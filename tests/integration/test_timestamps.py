"""Checkpoints are timestamped by an authority of others, a real one of OpenSSL's; whatever it does, nothing waits."""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest
from msgspec.structs import replace

from services.auditor.audit import Asked, audit
from services.auditor.findings import Timestamps
from services.auditor.over_http import OverHttp
from services.kept_outside import KeptOutside, store_of
from services.ledger import timestamps
from services.postgres import connect
from services.proof.timestamp import Request, TimestampError, read_roots, signed_time_of, time_of
from services.settings import Settings, SettingsError
from tests.conftest import Database
from tests.ledger_service import LedgerService, Reply, holds, profile, serving
from tests.tsa import Authority, Manner

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL is not installed")

BASE = "/v1/ledgers/main"
README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
async def authority(tmp_path: Path) -> AsyncIterator[Authority]:
    async with Authority.running(tmp_path / "authority") as authority:
        yield authority


@pytest.fixture
def settings(database: Database, authority: Authority) -> Settings:
    return replace(database.settings, timestamp_url=authority.url, timestamp_seconds=1)


async def recorded(service: LedgerService) -> int:
    """Record another event, and wait until there is a checkpoint of it; its size."""
    assert (await service.post(profile())).status == 201
    head = await service.head()

    async def there() -> bool:
        answer = await service.get(f"{BASE}/checkpoint")
        return answer.status == 200 and int(answer.body.decode().split("\n")[1]) >= head

    await holds(there)
    return head


async def timestamp_of(service: LedgerService, size: int) -> Reply:
    async def there() -> Reply | None:
        reply = await service.get(f"{BASE}/checkpoints/{size}/timestamp")
        return reply if reply.status == 200 else None

    reply: Reply = await holds(there)
    return reply


async def test_the_latest_checkpoint_is_timestamped_and_kept_outside_and_inside(
    settings: Settings, authority: Authority, database: Database
):
    outside = KeptOutside(store_of(settings), "main")
    async with serving(settings) as service:
        none = await service.get(f"{BASE}/checkpoint/timestamp")
        assert none.problem == "not-found" and none.headers["Retry-After"]
        size = await recorded(service)
        reply = await timestamp_of(service, size)
        assert reply.headers["Content-Type"] == "application/timestamp-reply"
        assert "immutable" in reply.headers["Cache-Control"]
        latest = await service.get(f"{BASE}/checkpoint/timestamp")
        assert latest.body == reply.body
        assert latest.headers["Content-Location"] == f"{BASE}/checkpoints/{size}/timestamp"
        note = (await service.get(f"{BASE}/checkpoints/{size}")).body
        assert time_of(reply.body, note) == signed_time_of(reply.body, note, read_roots(authority.ca.read_bytes()))
        kept = outside.timestamp(size)
        assert kept is not None and kept.read_bytes() == reply.body
        last = outside.last()
        assert last is not None and last.read_bytes() == note

        trusted = read_roots(authority.ca.read_bytes())
        async with aiohttp.ClientSession(headers=service.authorized()) as session:
            report = await audit(await OverHttp.open(session, "main", service.url), Asked(by="a test", tsa=trusted))
        assert (report.found, report.timestamps) == ([], Timestamps(1, True))

        asked = authority.asked
        next_size = await recorded(service)
        assert (await timestamp_of(service, next_size)).body != reply.body
        assert authority.asked == asked + 1  # And none for a checkpoint that has one.
        for wrong in ("checkpoints/99", "checkpoints/99/timestamp", "checkpoints/x", f"checkpoints/{10**20}"):
            assert (await service.get(f"{BASE}/{wrong}")).problem == "not-found"
        assert (await service.get(f"{BASE}/checkpoint/timestamp", key=await service.key("observe"))).status == 403

    connection = await connect(database.owner)
    for change in (
        "UPDATE ledger_main.timestamps SET made_at = now()",
        "DELETE FROM ledger_main.timestamps",
        "TRUNCATE ledger_main.timestamps",
    ):
        with pytest.raises(asyncpg.RestrictViolationError, match="append-only"):
            await connection.execute(change)
    await connection.close()
    for url in (database.projector, database.auditor):
        reader = await connect(url)
        assert await reader.fetchval("SELECT count(*) FROM ledger_main.timestamps") == 2
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await reader.execute("INSERT INTO ledger_main.timestamps VALUES (99, '', now())")
        await reader.close()


async def test_an_outsider_finds_what_is_kept_amiss(settings: Settings, authority: Authority, database: Database):
    async with serving(settings) as service:
        size = await recorded(service)
        await timestamp_of(service, size)
        owner = await connect(database.owner)
        await owner.execute(
            "SET search_path = ledger_main; ALTER TABLE checkpoints DROP CONSTRAINT checkpoints_say_their_size;"
            "ALTER TABLE verifier_keys DROP CONSTRAINT verifier_keys_have_their_form;"
            "INSERT INTO checkpoints SELECT 999, note, now() FROM checkpoints;"
            "INSERT INTO timestamps SELECT 999, response, now() FROM timestamps;"
            "INSERT INTO verifier_keys VALUES ('garbage', now())"
        )
        await owner.close()
        async with aiohttp.ClientSession(headers=service.authorized()) as session:
            report = await audit(await OverHttp.open(session, "main", service.url), Asked(by="a test"))
    assert [(found.check, found.position, found.text) for found in report.found] == [
        ("signatures", None, "a key that is kept: not a verifier key (name+id+key): 'garbage'"),
        ("timestamps", 999, f"the latest timestamp is of 999 events, and the checkpoint there says {size}"),
    ]


MANNERS: list[Manner] = ["failing", "garbage", "rejecting", "of another request", "endless", "silent"]


async def test_an_authority_that_does_not_do_its_part_holds_up_nothing(
    settings: Settings, authority: Authority, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(timestamps, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(timestamps, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(timestamps, "AUTHORITY_SECONDS_MAX", 0.5)
    async with serving(settings) as service:
        size = await recorded(service)
        await timestamp_of(service, size)
        for authority.manner in MANNERS:
            asked = authority.asked
            size = await recorded(service)

            async def tried_again(asked: int = asked) -> bool:
                return authority.asked >= asked + 2

            await holds(tried_again)
            assert (await service.get(f"{BASE}/checkpoints/{size}/timestamp")).status == 404, authority.manner
            assert KeptOutside(store_of(settings), "main").timestamp(size) is None
        authority.manner = "good"
        await timestamp_of(service, size)


async def test_a_timestamp_that_is_kept_outside_is_not_asked_for_again(settings: Settings, authority: Authority):
    outside = KeptOutside(store_of(settings), "main")
    async with serving(replace(settings, timestamp_url=None)) as service:
        size = await recorded(service)
        note = (await service.get(f"{BASE}/checkpoint")).body
    landed = await asyncio.to_thread(authority.reply, Request.of(note).octets)
    outside.keep_timestamp(size, landed)  # As far as it came before it was killed.
    async with serving(settings) as service:
        assert (await timestamp_of(service, size)).body == landed
    assert authority.asked == 0


async def test_what_is_no_timestamp_of_these_octets_is_told_apart(authority: Authority):
    request = Request.of(b"shown")
    response = await asyncio.to_thread(authority.reply, request.octets)
    [root] = read_roots(authority.ca.read_bytes())
    [other] = read_roots((authority.ca.parent / "tsa.pem").read_bytes())
    time_of(response, b"shown", nonce=request.nonce)
    changed = bytearray(response)
    changed[-5] ^= 1
    for octets, shown, nonce, said in (
        (response, b"else", None, "of other octets"),
        (response, b"shown", request.nonce + 1, "another request"),
        (response[:-20], b"shown", None, "not a response of a timestamp authority"),
        (b"", b"shown", None, "not a response of a timestamp authority"),
        (bytes(70_000), b"shown", None, "at most 65536 bytes"),
    ):
        with pytest.raises(TimestampError, match=said):
            time_of(octets, shown, nonce=nonce)
    for octets, shown, trusted, said in (
        (bytes(changed), b"shown", root, "not signed by an authority below"),
        (response, b"shown", other, "unable to get local issuer certificate"),
        (response, b"else", root, "of other octets"),
    ):
        with pytest.raises(TimestampError, match=said):
            signed_time_of(octets, shown, [trusted])
    with pytest.raises(TimestampError, match="no certificates in PEM"):
        read_roots(b"none")


async def test_openssl_accepts_what_is_kept_by_the_commands_of_the_readme(
    settings: Settings, authority: Authority, tmp_path: Path
):
    [commands] = [block for block in _blocks() if "openssl ts -verify" in block]
    (tmp_path / "kept").mkdir()
    (tmp_path / "tsa-ca.pem").symlink_to(authority.ca)
    async with serving(settings) as service:
        await timestamp_of(service, await recorded(service))
        environ = {"PATH": "/usr/local/bin:/usr/bin:/bin", "KEY": service.admin, "LEDGER": service.url + BASE}

        def run() -> Any:
            return subprocess.run(
                ["bash", "-e", "-c", commands], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
            )

        done = await asyncio.to_thread(run)
        assert done.returncode == 0 and "Verification: OK" in done.stdout, done.stdout + done.stderr
    (tmp_path / "kept" / "stamped").write_text("another note")
    verify = next(line for line in commands.splitlines() if line.startswith("openssl ts -verify"))
    assert subprocess.run(["bash", "-c", verify], cwd=tmp_path, capture_output=True, check=False).returncode != 0


def _blocks() -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("url", ["ftp://tsa.example", "tsa.example"])
def test_what_is_no_url_of_an_authority_is_refused_at_the_start(url: str):
    with pytest.raises(SettingsError, match="LEDGER_TIMESTAMP_URL: not the URL of a timestamp authority"):
        Settings.load({"LEDGER_TIMESTAMP_URL": url})
