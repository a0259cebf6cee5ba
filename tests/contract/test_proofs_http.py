"""Checkpoint, keys, tiles and proofs over HTTP: what is there and what is not yet, who may ask, what may be cached."""

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner

from services.command import commands
from services.migrate import migrate
from services.proof.checkpoint import Checkpoint
from services.proof.inclusion import Proof
from services.proof.note import NoteError, VerifierKey
from services.proof.tiles import split_bundle
from services.verifier.event import verify_event
from tests.conftest import Database
from tests.ledger_service import LedgerService, profile, serving

BASE = "/v1/ledgers/main"
PATHS = ("checkpoint", "key", "tile/0/000.p/3", "tile/entries/000.p/3", "events/1/proof")
SECONDS_MAX = 20.0


async def checkpoint(ledger: LedgerService, size: int) -> str:
    """The checkpoint, once it has so many events."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            reply = await ledger.get(f"{BASE}/checkpoint")
            if reply.status == 200 and int(reply.body.decode().split("\n")[1]) >= size:
                return reply.body.decode()
            await asyncio.sleep(0.05)


async def test_before_anything_is_recorded_there_is_nothing_to_prove(ledger: LedgerService):
    for path in ("checkpoint", "tile/0/000.p/1", "events/1/proof"):
        reply = await ledger.get(f"{BASE}/{path}")
        assert (reply.status, reply.problem, reply.headers["Retry-After"]) == (404, "not-found", "1"), path


async def test_before_anything_is_recorded_it_is_told_who_will_sign(ledger: LedgerService):
    told = (await ledger.get(f"{BASE}/key")).body.decode()
    await ledger.post(profile())
    note = await checkpoint(ledger, 1)
    origin = (await ledger.get(BASE)).json["origin"]
    assert Checkpoint.verified(note.encode(), origin, [VerifierKey.read(told.strip())]).size == 1
    assert (await ledger.get(f"{BASE}/key")).body.decode() == told


async def test_what_is_served_proves_what_is_stored(ledger: LedgerService):
    results = (await ledger.post(profile(), profile(), profile())).results
    note = await checkpoint(ledger, 3)
    key = VerifierKey.read((await ledger.get(f"{BASE}/key")).body.decode())
    entries = split_bundle((await ledger.get(f"{BASE}/tile/entries/000.p/3")).body)
    for result in results:
        position = result["position"]
        stored = (await ledger.get(f"{BASE}/events/{position}")).body
        octets = (await ledger.get(f"{BASE}/events/{position}/proof")).body
        proof = Proof.read(octets)
        assert proof.leaf == position - 1 and proof.checkpoint == note
        assert verify_event(stored, octets, [key]).size == 3
        assert entries[position - 1] == stored


async def test_what_never_changes_may_be_kept_for_ever_and_the_rest_may_not(ledger: LedgerService):
    await ledger.post(profile(), profile(), profile())
    await checkpoint(ledger, 3)
    for path in PATHS:
        reply = await ledger.get(f"{BASE}/{path}")
        control = reply.headers["Cache-Control"]
        assert reply.status == 200 and control.startswith("private") and reply.headers["Vary"] == "Authorization"
        assert ("immutable" in control) == path.startswith("tile/"), path
        is_text = not path.startswith("tile/")
        expected = "text/plain; charset=utf-8" if is_text else "application/octet-stream"
        assert reply.headers["Content-Type"] == expected


@pytest.mark.parametrize(
    ("path", "is_later"),
    [
        ("events/4/proof", True),
        ("tile/0/000", True),
        ("tile/0/000.p/4", True),
        ("tile/entries/001.p/1", True),
        ("tile/1/000.p/1", True),
        ("tile/63/x999/x999/999", True),
        ("events/0/proof", False),
        ("events/-1/proof", False),
        ("events/x/proof", False),
        ("events/99999999999999999999/proof", False),
        ("tile/0/0", False),
        ("tile/64/000", False),
        ("tile/0/000.p/0", False),
        ("tile/0/000.p/256", False),
        ("tile/entries", False),
        ("tile/0/x000/001", False),
    ],
)
async def test_what_is_not_there_says_whether_it_may_come(ledger: LedgerService, path: str, is_later: bool):
    await ledger.post(profile(), profile(), profile())
    await checkpoint(ledger, 3)
    reply = await ledger.get(f"{BASE}/{path}")
    assert (reply.status, reply.problem) == (404, "not-found")
    assert ("Retry-After" in reply.headers) == is_later, reply.body


async def test_who_may_read_the_log_may_check_it(ledger: LedgerService):
    await ledger.post(profile(), profile(), profile())
    await checkpoint(ledger, 3)
    audit, observe = await ledger.key("audit"), await ledger.key("observe")
    elsewhere = await ledger.key("audit", ledgers=["other"])
    for path in PATHS:
        assert (await ledger.get(f"{BASE}/{path}", key=audit)).status == 200
        assert (await ledger.get(f"{BASE}/{path}", key=observe)).status == 403
        assert (await ledger.get(f"{BASE}/{path}", key=None)).status == 401
        assert (await ledger.get(f"{BASE}/{path}", key=elsewhere)).status in (403, 404)
        assert (await ledger.get(f"/v1/ledgers/nowhere/{path}")).problem == "no-such-ledger"


async def test_ledgers_made_later_have_a_tree_of_their_own(ledger: LedgerService):
    assert (await ledger.ask("PUT", "/v1/ledgers/other")).status == 201
    await ledger.post(profile(), ledger="other")
    async with asyncio.timeout(SECONDS_MAX):
        while (reply := await ledger.get("/v1/ledgers/other/checkpoint")).status != 200:
            await asyncio.sleep(0.05)
    assert reply.body.decode().startswith("requirements-ledger/other/")
    assert (await ledger.get(f"{BASE}/checkpoint")).status == 404


async def test_after_a_signing_key_was_lost_the_log_goes_on_under_another_and_both_are_told(database: Database):
    async with serving(database.settings) as ledger:
        await ledger.post(profile())
        await checkpoint(ledger, 1)
        lost = (await ledger.get(f"{BASE}/key")).body.decode()
    database.settings.signing_key.unlink()
    await migrate(database.settings)

    async with serving(database.settings) as ledger:
        assert (await ledger.post(profile())).status == 201
        note = await checkpoint(ledger, 2)
        told = (await ledger.get(f"{BASE}/key")).body.decode()
        origin = (await ledger.get(BASE)).json["origin"]
    assert told.startswith(lost) and told.count("\n") == 2
    assert Checkpoint.verified(note.encode(), origin, [VerifierKey.read(told.split("\n")[1])]).size == 2
    with pytest.raises(NoteError):
        Checkpoint.verified(note.encode(), origin, [VerifierKey.read(lost.strip())])


async def test_one_event_is_verified_by_its_bytes_and_its_proof_alone(ledger: LedgerService, tmp_path: Path):
    await ledger.post(profile(), profile(), profile())
    await checkpoint(ledger, 3)
    key = (await ledger.get(f"{BASE}/key")).body.decode().split("\n")[0]
    event, other = [(await ledger.get(f"{BASE}/events/{position}")).body for position in (2, 3)]
    proof = (await ledger.get(f"{BASE}/events/2/proof")).body
    text = proof.decode()
    _, of_another = key.split("+", 1)

    def verify(event: bytes, proof: bytes, key: str = key) -> tuple[int, str]:
        (tmp_path / "event").write_bytes(event)
        (tmp_path / "proof").write_bytes(proof)
        given = [str(tmp_path / "event"), "--proof", str(tmp_path / "proof"), "--key", key]
        done = CliRunner().invoke(commands, ["verify", *given])
        return done.exit_code, done.output

    log = VerifierKey.read(key).name
    assert verify(event, proof) == (0, f"Verified: this event is in the log {log}, which has 3 events.\n")
    for status, told, given in [
        (1, "is not in the tree", (other, proof)),
        (1, "is not in the tree", (event.replace(b"sequence", b"sequencf"), proof)),
        (1, "is not in the tree", (event, text.replace("index 1", "index 0").encode())),
        (2, "position 9", (event, text.replace("index 1", "index 8").encode())),
        (2, "not a proof", (event, b"no proof")),
        (2, "cannot be used", (event, text.replace("\n3\n", "\n4\n").encode())),
        (2, "the verifier key of elsewhere", (event, proof, f"elsewhere+{of_another}")),
    ]:
        assert verify(*given)[0] == status and told in verify(*given)[1], (told, verify(*given))
