"""Checkpoints that a command signs, as the ledger has them signed: by a key that the ledger never sees, and however
long the command takes."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import asyncpg
import pytest
import structlog
from msgspec.structs import replace

from services.kept_outside import KeptOutside, store_of
from services.ledger.history import accept_history, check
from services.ledger.integrator import Integrator
from services.migrate import migrate
from services.postgres import connect
from services.proof.accepted import Accepted
from services.proof.checkpoint import Checkpoint
from services.proof.note import VerifierKey
from services.settings import Settings
from services.signing import SigningCommand, SigningKeys
from services.tree import Tree
from tests.conftest import Database
from tests.importing import command
from tests.integration.test_tree import ORIGIN, auditor, checkpoint_at, cut, integrating, record  # noqa: F401  A fixture.
from tests.ledger_service import holds, profile, serving
from tests.log import Log, event

OPENSSL = Path(__file__).parents[2] / "examples" / "signing" / "openssl.sh"


@pytest.fixture
def settings(database: Database, tmp_path: Path) -> Settings:
    if shutil.which("openssl") is None:
        pytest.skip("OpenSSL is not installed")
    pem = tmp_path / "signer.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", pem], check=True)
    return replace(database.settings, signing_command=f"{OPENSSL} {pem}", signing_key_file=tmp_path / "there-is-no.key")


async def test_a_ledger_is_signed_for_by_a_key_that_it_does_not_have(
    database: Database, settings: Settings, tmp_path: Path
):
    async with serving(settings) as service:
        assert (await service.post(profile(id="e-1"))).status == 201

        async def signed() -> str | None:
            answer = await service.get("/v1/ledgers/main/checkpoint")
            return answer.body.decode() if answer.status == 200 else None

        note: str = await holds(signed)
        [key] = map(VerifierKey.read, (await service.get("/v1/ledgers/main/key")).body.decode().splitlines())
        origin = note.partition("\n")[0]
        assert Checkpoint.verified(note.encode(), origin, [key]).size == 1
        assert [key] == await SigningCommand([str(OPENSSL), str(tmp_path / "signer.pem")]).verifier_keys(origin)
    assert not settings.signing_key.exists()

    # What an operator accepts is signed by it as well.
    await cut(database, 0)
    file = await accept_history(settings, "main", reason="restored by a test", by="a test")
    assert Accepted.verified(file.read_bytes(), origin, [key]).reason == "restored by a test"

    away = {"LEDGER_SIGNING_COMMAND": f"{OPENSSL} {tmp_path / 'none.pem'}"}
    refused = await command(settings, "rotate-signing-key", folder=tmp_path)
    assert refused.status == 2 and "its keys are made where it has them" in refused.errors
    KeptOutside(store_of(settings), "main").keep(9, note)
    refused = await command(settings, "accept-history", "--reason", "x", "--by", "y", folder=tmp_path, **away)
    assert refused.status == 2 and "ended with status 1, saying" in refused.errors
    assert not (settings.home / "checkpoints" / "main" / "0003").exists()


async def test_migrating_makes_no_key_where_a_command_signs(settings: Settings):
    await migrate(settings)
    assert not settings.signing_key.exists()


async def test_a_command_that_fails_or_hangs_holds_up_no_other_ledger_and_no_recording(
    database: Database,
    auditor: asyncpg.Connection,  # noqa: F811
    tmp_path: Path,
):
    await migrate(database.settings, ledgers=("main", "other"))
    keys = SigningKeys.load_or_make(database.settings.signing_key)
    released = tmp_path / "released"
    signer = tmp_path / "signer.py"
    signer.write_text(
        f"""\
import sys, time
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from services.proof.note import Note
from services.signing import SigningKeys
what, origin = sys.argv[1:]
Path({str(tmp_path)!r}, "asked").touch()
if origin == {ORIGIN!r} and not Path({str(released)!r}).exists():
    time.sleep(600)
keys = SigningKeys.load(Path({str(database.settings.signing_key)!r})).signers(origin)
if what == "keys":
    for each in keys: print(each.key)
else:
    for each in Note.signed(sys.stdin.read(), keys).signatures: print(each)
"""
    )
    by_command = SigningCommand([sys.executable, str(signer)])

    async def ledgers() -> Sequence[tuple[str, str]]:
        return [("main", ORIGIN), ("other", "ledger.example/other")]

    def outside(name: str) -> KeptOutside:
        return KeptOutside(tmp_path / "outside", name)

    async with Integrator(database.writer, ledgers, by_command, outside):
        await record(database, 300)
        async with asyncio.timeout(30):
            while not (tmp_path / "asked").exists():
                await asyncio.sleep(0.05)
            async with Log.open(database, "other") as log:
                await log.append(event("ask.recorded", requirement="R", ask="a", account="acme", importance=1))
            while await Tree("other").last_checkpoint(auditor) is None:
                await asyncio.sleep(0.05)
        assert await Tree("main").last_checkpoint(auditor) is None and outside("main").last() is None
        released.touch()
        assert (await checkpoint_at(auditor, 300)).size == 300
    last = outside("main").last()
    assert last is not None and await by_command.verifier_keys(ORIGIN) == await keys.verifier_keys(ORIGIN)

    # A log that has been signed before needs no command to be known again.
    away = SigningCommand([str(tmp_path / "away")])
    assert await check(auditor, Tree("main"), ORIGIN, away, outside("main")) == 300


async def test_what_a_failing_command_says_is_logged_and_it_is_asked_again(
    database: Database,
    auditor: asyncpg.Connection,  # noqa: F811
    tmp_path: Path,
):
    failing = tmp_path / "failing.sh"
    failing.write_text("#!/bin/sh\necho 'the token is locked' >&2\nexit 3\n")
    failing.chmod(0o755)
    outside = KeptOutside(tmp_path / "outside", "main")
    await record(database, 3)

    async def ledgers() -> Sequence[tuple[str, str]]:
        return [("main", ORIGIN)]

    with structlog.testing.capture_logs() as logs:
        async with Integrator(database.writer, ledgers, SigningCommand([str(failing)]), lambda _: outside):
            async with asyncio.timeout(30):
                while len(said := [each for each in logs if each["event"] == "checkpoint_not_kept"]) < 2:
                    await asyncio.sleep(0.05)
    assert all("ended with status 3, saying: the token is locked" in each["reason"] for each in said)
    assert await Tree("main").last_checkpoint(auditor) is None and outside.last() is None


async def test_a_checkpoint_that_was_kept_outside_alone_is_kept_inside_as_it_is(
    database: Database,
    auditor: asyncpg.Connection,  # noqa: F811
    tmp_path: Path,
):
    outside = KeptOutside(tmp_path / "outside", "main")
    keys = SigningKeys.load_or_make(database.settings.signing_key)
    await record(database, 300)
    async with integrating(database, keys, KeptOutside(tmp_path / "else", "main")):
        root = (await checkpoint_at(auditor, 300)).root
    await cut(database, 300)
    owner = await connect(database.superuser)
    await owner.execute("DELETE FROM ledger_main.checkpoints")
    await owner.close()
    landed = str(Checkpoint(ORIGIN, 300, root).signed(keys.signers(ORIGIN)))
    outside.keep(300, landed)
    SigningKeys.rotate(database.settings.signing_key)  # Signed anew, it would be another note.
    async with integrating(database, SigningKeys.load(database.settings.signing_key), outside):
        await checkpoint_at(auditor, 300)
        await record(database, 1)
        await checkpoint_at(auditor, 301)
    notes = [row["note"] for row in await auditor.fetch("SELECT note FROM ledger_main.checkpoints ORDER BY size")]
    assert notes == [file.read_text() for file in outside.every()] and notes[0] == landed
