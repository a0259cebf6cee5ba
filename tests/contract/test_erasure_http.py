"""Erasure over HTTP: who may, what is refused, and that no answer of either service has the words any more."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.proof.note import VerifierKey
from services.verifier.event import verify_event
from tests.asking import Asking, asking
from tests.conftest import Database
from tests.contract.test_proofs_http import checkpoint
from tests.ledger_service import EVENTS, STRUCTURED, LedgerService, serving
from tests.log import OFFICER, erased, event, redacted

NAME, QUOTE, SAID, PROBLEM = "Ada Quixote", "our quixotic audit", "single sign-on is quixotic", "quixotic spreadsheets"
WORD = b"uixot"
SUBJECT = "requirement/R-1"
TITLE = "Single sign-on"

BEFORE: list[Any] = [
    event("person.introduced", person="p-1", name=NAME),
    event("requirement.raised", requirement="R-1", title=TITLE, problem=PROBLEM),
    event("ask.recorded", requirement="R-1", account="acme", ask="k-1", contact="p-1", quote=QUOTE),
    event("feedback.received", feedback="F-1", account="acme", contact="p-1", text=SAID),
]
# Each answer that has the words for those who may see them.
SHOWN = (
    ("requirements/R-1", "application/json"),
    ("accounts/acme", "application/json"),
    ("feedback", "application/json"),
    ("feedback", "text/csv"),
    ("requirements?similar_to=single%20sign-on%20spreadsheets%20quixotic", "application/json"),
)


@pytest.fixture
async def both(database: Database) -> AsyncIterator[tuple[LedgerService, Asking]]:
    """Both services on a ledger that has the words."""
    async with serving(database.settings) as ledger, asking(database) as client:
        assert (await ledger.post(*BEFORE)).status == 201
        client.head = len(BEFORE)
        await client.answer("requirements")
        yield ledger, client


async def erase(ledger: LedgerService) -> None:
    assert (await ledger.post(erased("p-1"), redacted(2, SUBJECT))).status == 201


async def test_what_both_services_have_opened_before_is_gone_at_once_from_every_answer(
    both: tuple[LedgerService, Asking],
):
    ledger, client = both
    head = len(BEFORE)
    opened = {}
    for path, media in SHOWN:
        for pinned in ({}, {"as_of": head}):
            whole = path + ("&" if "?" in path else "?") + "&".join(f"{name}={at}" for name, at in pinned.items())
            for key in ("personal", "query"):
                reply = await client.get(f"/v1/ledgers/main/{whole}", key=key, headers={"Accept": media})
                assert reply.status == 200, reply.body
                assert (WORD in reply.body) is (key == "personal"), (whole, key)
                assert reply.headers["Cache-Control"] == ("private, no-cache" if key == "personal" else "private")
                opened[whole, media, key] = reply
    for position in (1, 2, 3, 4):
        assert WORD in (await ledger.get(f"{EVENTS}/{position}?unseal=1")).body

    await erase(ledger)
    # Nobody waits for the projector to get there: the words go, wherever it is.
    for (whole, media, key), before in opened.items():
        headers = {"Accept": media, "If-None-Match": before.headers["ETag"]}
        reply = await client.get(f"/v1/ledgers/main/{whole}", key=key, headers=headers)
        assert WORD not in reply.body
        if key == "personal":
            assert reply.status == 200 and reply.headers["ETag"] != before.headers["ETag"], whole
        elif "as_of" in whole:
            # Who never saw them has the same answer as ever.
            assert reply.status == 304, whole
    for position in (1, 2, 3, 4):
        reply = await ledger.get(f"{EVENTS}/{position}?unseal=1")
        assert reply.status == 200 and WORD not in reply.body

    answer = (await client.get("requirements/R-1", key="personal")).json
    assert answer["problem"] is None
    assert answer["who_asked"][0]["asks"][0]["quote"] is None
    assert answer["who_asked"][0]["asks"][0]["contact"] == "p-1"
    [row] = (await client.get("feedback", key="personal")).json["feedback"]
    assert (row["text"], row["suggested"]) == (None, [])
    for key in client.keys:
        if key in ("personal", "query"):
            similar = (await client.get("requirements", similar_to="quixotic spreadsheets", key=key)).json
            assert similar["requirements"] == []
    client.head = head + 2
    [*_, last] = (await client.answer("requirements/R-1"))["history"]
    assert last["summary"] == "the sealed words of what is at position 2 were erased. They name somebody."


async def test_the_record_of_it_and_every_proof_stay(ledger: LedgerService):
    await ledger.post(*BEFORE)
    note = await checkpoint(ledger, len(BEFORE))
    stored = {at: (await ledger.get(f"{EVENTS}/{at}")).body for at in range(1, len(BEFORE) + 1)}
    keys = [VerifierKey.read((await ledger.get("/v1/ledgers/main/key")).body.decode())]
    proofs = {at: (await ledger.get(f"{EVENTS}/{at}/proof")).body for at in stored}
    await erase(ledger)
    later = await checkpoint(ledger, len(BEFORE) + 2)
    assert later != note
    for at, state in stored.items():
        assert (await ledger.get(f"{EVENTS}/{at}")).body == state
        assert verify_event(state, proofs[at], keys).size == len(BEFORE)
        assert verify_event(state, (await ledger.get(f"{EVENTS}/{at}/proof")).body, keys).size == 6
    stream = (await ledger.get("/v1/ledgers/main/streams/person/p-1")).json["events"]
    assert [each["type"] for each in stream] == ["ledger.person.introduced.v1", "ledger.person.erased.v1"]
    assert stream[-1]["data"] == {"person": "p-1", "reason": "They asked for it.", "by": OFFICER}


async def test_it_takes_the_scope_act_and_the_team_and_the_source(ledger: LedgerService):
    await ledger.post(*BEFORE)
    for key, problem in (
        (await ledger.key("observe", "query", "personal", "audit"), "scope-missing"),
        (await ledger.key("act", teams=["sales"]), "team-not-granted"),
        (await ledger.key("act", sources=["/elsewhere"]), "source-not-granted"),
        (await ledger.key("act", ledgers=["other"]), "forbidden"),
    ):
        for act in (erased("p-1"), redacted(2, SUBJECT)):
            reply = await ledger.post(act, key=key)
            assert (reply.status, reply.problem) == (403, problem), reply.body
    assert WORD in (await ledger.get(f"{EVENTS}/1?unseal=1")).body
    officer = await ledger.key("act", teams=["executive"])
    assert (await ledger.post(erased("p-1"), key=officer)).status == 201
    assert WORD not in (await ledger.get(f"{EVENTS}/1?unseal=1")).body


async def test_whose_texts_were_redacted_one_by_one_has_nothing_left_to_destroy(ledger: LedgerService):
    await ledger.post(event("feedback.received", feedback="F-1", text="Words.", contact="p-55"))
    await ledger.post(redacted(1, "feedback/F-1"))
    reply = await ledger.post(erased("p-55"))
    assert (reply.status, reply.problem) == (422, "rule-not-met")
    [error] = reply.json["errors"]
    assert "nothing sealed about p-55 is left to destroy" in error["message"]
    assert "an id, which says nothing by itself" in error["message"]


async def test_what_is_refused_says_where_and_why_and_destroys_nothing(ledger: LedgerService):
    await ledger.post(*BEFORE, event("ask.withdrawn", requirement="R-1", ask="k-1"))
    for act, pointer, said, retryable in (
        (erased("p-9"), "/data/person", "nothing sealed about p-9 is left to destroy", True),
        (redacted(9, SUBJECT), "/data/position", "no event is there", False),
        (redacted(2, "requirement/R-2"), "/data/subject", "belongs to requirement/R-1", False),
        (redacted(5, SUBJECT), "/data/position", "has no sealed text, and what is not sealed stays", False),
    ):
        reply = await ledger.post(act)
        assert (reply.status, reply.problem, reply.json["retryable"]) == (422, "rule-not-met", retryable)
        [error] = reply.json["errors"]
        assert error["pointer"] == pointer and said in error["message"]
    for data, pointer in (
        ({"person": "p 1", "reason": "so", "by": OFFICER}, "/data/person"),
        ({"person": "p-1", "by": OFFICER}, "/data/reason"),
        ({"person": "p-1", "reason": "so"}, "/data/by"),
        ({"person": "p-1", "reason": "so", "by": OFFICER, "name": NAME}, "/data/name"),
    ):
        reply = await ledger.post(event("person.erased", **data))
        assert (reply.status, reply.problem) == (422, "invalid-event")
        assert [error["pointer"] for error in reply.json["errors"]] == [pointer]
    for data, pointer in (
        ({"position": 0, "subject": SUBJECT, "reason": "so", "by": OFFICER}, "/data/position"),
        ({"position": 2, "reason": "so", "by": OFFICER}, "/data/subject"),
    ):
        reply = await ledger.post(event("text.redacted", **data))
        assert (reply.status, reply.problem) == (422, "invalid-event")
        assert [error["pointer"] for error in reply.json["errors"]] == [pointer]
    headers = {"Content-Type": STRUCTURED}
    dry = await ledger.ask("POST", f"{EVENTS}?dry_run=1", json=erased("p-1"), headers=headers)
    assert (dry.status, dry.json["dry_run"]) == (200, True)
    for position in (1, 2, 3, 4):
        assert WORD in (await ledger.get(f"{EVENTS}/{position}?unseal=1")).body
    assert await ledger.head() == 5


async def test_of_a_lenient_batch_what_is_refused_destroys_nothing(ledger: LedgerService):
    await ledger.post(*BEFORE)
    reply = await ledger.post(erased("p-9"), erased("p-1"), headers={"Prefer": "handling=lenient"})
    assert [each["status"] for each in reply.json["results"]] == [422, 201]
    assert [WORD in (await ledger.get(f"{EVENTS}/{at}?unseal=1")).body for at in (1, 2, 3, 4)] == [
        False, True, False, False
    ]  # fmt: skip
