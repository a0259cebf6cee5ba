"""A text that is there and cannot be opened: both services say so, in the same words."""

from services.postgres import connect
from tests.asking import asking
from tests.conftest import Database
from tests.ledger_service import EVENTS, example, serving


async def test_a_key_that_does_not_open_is_unavailable(database: Database) -> None:
    async with serving(database.settings) as ledger, asking(database) as client:
        asked = example("ask.recorded")
        assert (await ledger.post(asked)).status == 201
        client.head = 1
        requirement = f"requirements/{asked['data']['requirement']}"
        await client.answer(requirement)
        assert (await client.get(requirement, key="personal")).status == 200
        owner = await connect(database.superuser)
        await owner.execute(
            "UPDATE ledger_main.sealing_keys SET wrapped = set_byte(wrapped, 20, 255 - get_byte(wrapped, 20))"
        )
        await owner.close()
        written = await ledger.get(f"{EVENTS}/1?unseal=1")
        read = await client.get(requirement, key="personal")
        for reply in (written, read):
            assert (reply.status, reply.json["type"]) == (503, "/problems/unavailable")
            assert "wrapped key was changed" in reply.json["detail"]
            assert reply.headers["Retry-After"]
        # What is not sealed is answered as ever.
        assert (await ledger.get(f"{EVENTS}/1")).status == (await client.get(requirement)).status == 200
