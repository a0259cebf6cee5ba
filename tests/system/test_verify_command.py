"""`ledger verify` on what the services answer about the made-up company: each requirement, at several positions."""

from pathlib import Path

import msgspec
import pytest

from services.proof.note import VerifierKey
from services.verifier.verify import Unverifiable, verify
from tests.conftest import Database
from tests.importing import command, processes

EARLIER_POSITIONS = 5

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]


async def test_every_answer_of_the_sample_proves_itself(database: Database, tmp_path: Path) -> None:
    settings = database.settings
    async with processes(settings, "ledger", "projector") as asking:
        loaded = await command(settings, "demo", folder=tmp_path)
        assert loaded.status == 0, loaded.output + loaded.errors
        head: int = (await asking.get("ledger", "/events", limit=1))["head"]
        # Right after posting: the answer waits for its position, and then for a checkpoint that has it.
        first = await asking.get("projector", "/requirements/SSO-42", at_least=head, timeout=30, proof=1)
        listed = await asking.get("projector", "/requirements")
        async with asking.session.get(f"{asking.urls['ledger']}/v1/ledgers/main/key") as answer:
            text = (await answer.text()).splitlines()[0]  # Those of digests come after that of checkpoints.
        key, verified = VerifierKey.read(text), 0
        assert verify(msgspec.json.encode(first), [key]).found == []
        for each in listed["requirements"]:
            path = f"/requirements/{each['requirement']}"
            for position in range(head, 0, -(head // EARLIER_POSITIONS)):
                url = f"{asking.urls['projector']}/v1/ledgers/main{path}"
                async with asking.session.get(url, params={"as_of": position, "proof": 1}) as answer:
                    body = await answer.read()
                if answer.status == 404:
                    continue
                assert answer.status == 200, body
                assert verify(body, [key]).found == [], (path, position)
                verified += 1
        assert verified > len(listed["requirements"])

        kept = tmp_path / "answer.json"
        kept.write_bytes(msgspec.json.encode(first))
    # Nothing runs any more, and nothing is needed.
    shown = await command(settings, "verify", kept, "--key", text, folder=tmp_path)
    assert shown.status == 0 and "Verified." in shown.output, shown.output + shown.errors
    del first["proof"]["events"][0]["entry"]
    with pytest.raises(Unverifiable, match="entry"):
        verify(msgspec.json.encode(first), [key])
