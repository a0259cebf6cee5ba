"""What others make of our proofs: the package tlog-scales, OpenSSL, and Go's own where it is installed."""

import asyncio
import os
import shutil
import subprocess
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tlog_scales.backend import HttpBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey
from tlog_scales.tiles import leaf_hash
from tlog_scales.tlog import Checkpoint, ConsistencyProofInvalid, InclusionProofInvalid

from services.proof.note import Note, VerifierKey
from tests.conftest import Database
from tests.importing import Asking, processes
from tests.log import event

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

EVENTS = 700
SECONDS_MAX = 30.0
DER_OF_ED25519 = bytes.fromhex("302a300506032b6570032100")
"""What stands before a public key of Ed25519 as SubjectPublicKeyInfo (RFC 8410)."""


@pytest.fixture
async def ledger(database: Database) -> AsyncIterator[Asking]:
    async with processes(database.settings, "ledger") as asking:
        yield asking


async def post(ledger: Asking, count: int, first: int = 0) -> int:
    """Record so many events; the head."""
    asks = [
        event("ask.recorded", requirement=f"R-{number % 40}", ask=f"a-{number}", account="acme", importance=1)
        for number in range(first, first + count)
    ]
    url = f"{ledger.urls['ledger']}/v1/ledgers/main/events"
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    async with ledger.session.post(url, data=msgspec.json.encode(asks), headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        return int((await answer.json())["results"][-1]["position"])


async def text(ledger: Asking, path: str) -> str:
    async with ledger.session.get(f"{ledger.urls['ledger']}/v1/ledgers/main/{path}") as answer:
        assert answer.status == 200, await answer.text()
        return await answer.text()


async def checkpoint_of(ledger: Asking, size: int) -> str:
    """The checkpoint, once it has so many leaves."""
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            async with ledger.session.get(f"{ledger.urls['ledger']}/v1/ledgers/main/checkpoint") as answer:
                note = await answer.text()
                if answer.status == 200 and int(note.split("\n")[1]) >= size:
                    return note
            await asyncio.sleep(0.05)


def reader_of(ledger: Asking) -> TilesReader:
    backend = HttpBackend(f"{ledger.urls['ledger']}/v1/ledgers/main")
    backend.session.headers["Authorization"] = ledger.session.headers["Authorization"]
    return TilesReader(backend)


async def in_thread(check: Callable[..., Any], *values: Any) -> Any:
    return await asyncio.to_thread(check, *values)


async def test_tlog_scales_walks_our_tiles_and_accepts_root_inclusion_and_consistency(ledger: Asking):
    older = await post(ledger, 3), await checkpoint_of(ledger, 3)
    head = await post(ledger, EVENTS, 3)
    await checkpoint_of(ledger, head)
    key = Vkey.from_string((await text(ledger, "key")).strip())

    def walk() -> None:
        reader = reader_of(ledger)
        checkpoint = reader.get_checkpoint()
        checkpoint.verify(key)
        assert checkpoint.size == head == EVENTS + 3
        assert reader.calculate_root_hash() == checkpoint.root_hash
        for index in (0, 1, 255, 256, 511, 512, head - 1):
            proof = reader.get_inclusion_proof(index, head)
            entry = reader.get_entry(index)
            proof.check(leaf_hash(entry), checkpoint.root_hash)
            with pytest.raises(InclusionProofInvalid):
                proof.check(leaf_hash(entry + b" "), checkpoint.root_hash)
        before = Checkpoint.from_text(older[1])
        before.verify(key)
        grew = reader.get_consistency_proof(before.size, head)
        grew.check(before.root_hash, checkpoint.root_hash)
        with pytest.raises(ConsistencyProofInvalid):
            grew.check(leaf_hash(b"another past"), checkpoint.root_hash)

    await in_thread(walk)


async def test_entries_are_the_stored_bytes(ledger: Asking):
    head = await post(ledger, 300)
    await checkpoint_of(ledger, head)
    stored = (await ledger.session.get(f"{ledger.urls['ledger']}/v1/ledgers/main/events/257")).content
    bytes_of_one = await stored.read()
    assert await in_thread(lambda: (reader := reader_of(ledger)).get_checkpoint() and reader.get_entry(256)) == (
        bytes_of_one
    )


async def test_a_proof_is_the_one_that_tlog_scales_makes(ledger: Asking):
    head = await post(ledger, 300)
    await checkpoint_of(ledger, head)
    for position in (1, 256, 257, 300):
        ours = await text(ledger, f"events/{position}/proof")
        theirs = await in_thread(
            lambda position=position: (
                (reader := reader_of(ledger)).get_checkpoint() and reader.get_inclusion_proof(position - 1, head)
            )
        )
        lines = ours.partition("\n\n")[0].split("\n")
        assert lines[:2] == ["c2sp.org/tlog-proof@v1", f"index {position - 1}"]
        assert len(lines) - 2 == len(theirs.node_hashes)
        assert [each.hex() for each in theirs.node_hashes] == [_hex(line) for line in lines[2:]]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL is not installed")
async def test_openssl_accepts_the_signature(ledger: Asking, tmp_path: Path):
    await post(ledger, 5)
    note = Note.read((await checkpoint_of(ledger, 5)).encode())
    key = VerifierKey.read(await text(ledger, "key"))
    (tmp_path / "key.der").write_bytes(DER_OF_ED25519 + key.public)
    (tmp_path / "text").write_text(note.text)
    (tmp_path / "signature").write_bytes(note.signatures[0].signature)
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.der", "-keyform", "DER", "-rawin"]
    verify += ["-in", "text", "-sigfile", "signature"]
    good = subprocess.run(verify, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout.strip()) == (0, "Signature Verified Successfully"), good.stderr
    (tmp_path / "text").write_text(note.text.replace("\n5\n", "\n6\n"))
    assert subprocess.run(verify, cwd=tmp_path, capture_output=True, check=False).returncode != 0


GO_MODULE = Path("/usr/share/gocode/src/golang.org/x/mod")
GO = """
package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// Reads a verifier key, the old checkpoint, the new one, the index, the entry's leaf hash and both proofs.
func main() {
	all, err := io.ReadAll(os.Stdin)
	must(err)
	parts := strings.Split(string(all), "\\x00")
	verifier, err := note.NewVerifier(parts[0])
	must(err)
	var trees [2]tlog.Tree
	for i := range trees {
		opened, err := note.Open([]byte(parts[1+i]), note.VerifierList(verifier))
		must(err)
		lines := strings.Split(opened.Text, "\\n")
		fmt.Sscan(lines[1], &trees[i].N)
		trees[i].Hash, err = tlog.ParseHash(lines[2])
		must(err)
	}
	var index int64
	fmt.Sscan(parts[3], &index)
	leaf, err := tlog.ParseHash(parts[4])
	must(err)
	var record tlog.RecordProof
	for _, line := range strings.Fields(parts[5]) {
		hash, err := tlog.ParseHash(line)
		must(err)
		record = append(record, hash)
	}
	must(tlog.CheckRecord(record, trees[1].N, trees[1].Hash, index, leaf))
	var grew tlog.TreeProof
	for _, line := range strings.Fields(parts[6]) {
		hash, err := tlog.ParseHash(line)
		must(err)
		grew = append(grew, hash)
	}
	must(tlog.CheckTree(grew, trees[1].N, trees[1].Hash, trees[0].N, trees[0].Hash))
	fmt.Println("accepted")
}
"""


@pytest.mark.skipif(
    shutil.which("go") is None or not GO_MODULE.is_dir(),
    reason="Go or golang.org/x/mod is not installed (Debian: golang-go, golang-golang-x-mod-dev)",
)
async def test_go_accepts_note_and_proofs(ledger: Asking, tmp_path: Path):
    await post(ledger, 3)
    older = await checkpoint_of(ledger, 3)
    head = await post(ledger, 400, 3)
    newer = await checkpoint_of(ledger, head)
    proof = await text(ledger, "events/300/proof")
    path = proof.partition("\n\n")[0].split("\n")[2:]
    grew, entry = await in_thread(
        lambda: (
            (reader := reader_of(ledger)).get_checkpoint()
            and (reader.get_consistency_proof(3, head), reader.get_entry(299))
        )
    )
    (tmp_path / "main.go").write_text(GO)
    given = [
        (await text(ledger, "key")).strip(), older, newer, "299", _base64(leaf_hash(entry)),
        "\n".join(path), "\n".join(_base64(each) for each in grew.node_hashes),
    ]  # fmt: skip
    environ = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(tmp_path), "HOME": str(tmp_path)}
    environ["PATH"] = os.environ["PATH"]

    def run(parts: list[str]) -> subprocess.CompletedProcess[str]:
        command, given = ["go", "run", "main.go"], "\x00".join(parts)
        return subprocess.run(
            command, input=given, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    good = await in_thread(run, given)
    assert (good.returncode, good.stdout.strip()) == (0, "accepted"), good.stderr
    for number, other in ((1, newer.replace("403", "404")), (4, _base64(bytes(32))), (3, "298")):
        bad = await in_thread(run, [other if at == number else each for at, each in enumerate(given)])
        assert bad.returncode == 1, bad.stdout


def _hex(text: str) -> str:
    return b64decode(text).hex()


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode()
