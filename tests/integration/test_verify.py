"""An answer that proves itself: what is honest verifies offline, and whatever was changed in it is found and named."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from copy import deepcopy
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from schemas.codec import canonical
from services.command import commands
from services.postgres import connect
from services.problems import KINDS
from services.proof.checkpoint import Checkpoint
from services.proof.note import KeySigner, Note, VerifierKey
from services.verifier.rows import READS, columns
from services.verifier.verify import Check, Report, Unverifiable, verify
from tests.asking import Asking, asking
from tests.checkpoints import sign
from tests.conftest import Database
from tests.integration.test_answers import (
    PRODUCT,
    SALES,
    adopted,
    ask,
    at,
    decided,
    opportunity,
    profiled,
    recorded,
    revised,
)
from tests.log import event
from tests.readmodels import ready

BANK = {"bullet": "bank", "test": {"op": "eq", "attribute": "industry", "value": "banking"}, "weight": 3}
SIZE = {"bullet": "size", "test": {"op": "gte", "attribute": "employees", "value": 100}, "weight": 2}
PROSE = {"bullet": "prose", "text": "Who mean it"}
QUOTE, PROBLEM = "We cannot roll out without it", "People write passwords on paper"
SECONDS = 0.2


class Proven(NamedTuple):
    """An answer that carries its proof, and the key of its log."""

    answer: dict[str, Any]
    key: VerifierKey

    def verify(self, edit: Callable[[Any], Any] = lambda answer: None) -> Report:
        """The report of the answer, once it was changed."""
        changed = deepcopy(self.answer)
        edit(changed)
        return verify(msgspec.json.encode(changed), [self.key])


@asynccontextmanager
async def told(database: Database) -> AsyncIterator[tuple[Asking, VerifierKey]]:
    """A company in which accounts have asked for SSO, and it was decided. What was recorded is in a checkpoint."""
    async with asking(database) as client:
        await client.record(profiled("acme", at(1), industry="banking", employees=500), recordedtime=recorded(1))
        await client.record(profiled("bolt", at(1), industry="retail", employees=50), recordedtime=recorded(1))
        await client.record(revised("r1", BANK, SIZE, PROSE, time=at(2)), recordedtime=recorded(2))
        agreed = event(
            "agreement.endorsed", agreement="target-market", revision="r1", team="sales", meaning="agree", by=SALES
        )
        await client.record(agreed, adopted("r1", at(2), time=at(2)), recordedtime=recorded(2))
        raised = event("requirement.raised", requirement="SSO", title="Single sign-on", problem=PROBLEM, time=at(3))
        await client.record(raised, recordedtime=recorded(3))
        same = event("account.identified", account="acme", same_as=[{"system": "zen", "id": "1"}])
        asks = [
            ask("SSO", "acme", 3, ask="a-1", quote=QUOTE, channel="renewal", by=SALES, time=at(4)),
            ask("SSO", "zen:1", 1, ask="a-2", time=at(4)),
            ask("SSO", "bolt", 2, ask="b-1", time=at(4)),
            ask("SSO", "cedar", 1, ask="c-1", time=at(4)),
            ask("MFA", "dune", 1, ask="d-1", time=at(4)),
            ask("LOG", "elm", 1, ask="e-1", time=at(4)),
        ]
        asked = await client.record(same, *asks, recordedtime=recorded(4))
        mistaken = event("event.retracted", position=asked[4], subject="requirement/SSO", reason="a slip", by=SALES)
        await client.record(mistaken, opportunity("O-1", "acme", "open", "900.00"), recordedtime=recorded(5))
        proposed = event(
            "decision.proposed", decision="D-1", requirements=["SSO"], question="Shall we?", by=PRODUCT,
            options=[{"option": "build", "summary": "Build it"}, {"option": "wait", "summary": "Wait"}],
        )  # fmt: skip
        await client.record(proposed, recordedtime=recorded(6))
        await client.record(decided("D-1", "SSO", time=at(7)), recordedtime=recorded(7))
        await client.record(
            event("decision.acknowledged", decision="D-1", team="sales", by=SALES),
            event("perspective.stated", requirement="SSO", team="sales", statement="At last.", by=SALES),
            event("delivery.updated", requirement="SSO", state="planned"),
            event("requirement.merged", requirement="LOG", into="MFA", reason="one", by=PRODUCT),
            event("requirement.merged", requirement="MFA", into="SSO", reason="one", by=PRODUCT),
            profiled("bolt", at(6), industry="banking"),
            recordedtime=recorded(8),
        )
        await client.record(ask("SSO", "acme", 2, ask="a-1", quote=QUOTE, time=at(9)), recordedtime=recorded(9))
        yield client, await sign(client.log.connection)


async def _proven(client: Asking, verifier: VerifierKey, **parameters: Any) -> Proven:
    return Proven(await client.answer("requirements/SSO", proof=1, **parameters), verifier)


def _put(spot: str, value: Any) -> Callable[[Any], None]:
    """Puts a value at a JSON pointer."""

    def edit(answer: Any) -> None:
        *way, last = spot.strip("/").split("/")
        for name in way:
            answer = answer[int(name)] if isinstance(answer, list) else answer[name]
        answer[int(last) if isinstance(answer, list) else last] = value

    return edit


def _found(spot: str, answer: Any) -> Any:
    for name in spot.strip("/").split("/"):
        answer = answer[int(name)] if isinstance(answer, list) else answer[name]
    return answer


def _swap_asks(answer: Any) -> None:
    one, other = answer["who_asked"][0]["asks"][0], answer["who_asked"][1]["asks"][0]
    one["position"], other["position"] = other["position"], one["position"]


def _change_bytes(answer: Any) -> None:
    cited = answer["proof"]["events"][0]
    assert '"employees":500' in cited["entry"]
    cited["entry"] = cited["entry"].replace('"employees":500', '"employees":900')


def _change_bytes_and_their_position(answer: Any) -> None:
    answer["proof"]["events"][0]["position"] = 2


def _take_another_proof(answer: Any) -> None:
    events = answer["proof"]["events"]
    events[0]["proof"] = events[1]["proof"]


def _take_another_checkpoint(answer: Any) -> None:
    cited = answer["proof"]["events"][2]
    cited["proof"] = cited["proof"].replace("\n\n", "\n\nelsewhere\n", 1)


def _leave_out(answer: Any) -> None:
    """The profile by which acme is on target, and with it every event of its position."""
    del answer["proof"]["events"][0]


def _leave_out_the_last(answer: Any) -> None:
    del answer["proof"]["events"][-1]


def _drop_an_asker(answer: Any) -> None:
    del answer["who_asked"][1]


def _drop_all_askers(answer: Any) -> None:
    answer["who_asked"] = []


def _claim_an_earlier_position(answer: Any) -> None:
    answer["as_of"]["position"] = 1


def _without(type: str) -> Callable[[Any], None]:
    """Leaves out the cited events of a type."""

    def edit(answer: Any) -> None:
        events = answer["proof"]["events"]
        left = [each for each in events if f'"type":"ledger.{type}.v1"' not in each["entry"]]
        assert len(left) < len(events)
        answer["proof"]["events"] = left

    return edit


def _place(answer: Any, type: str, version: int) -> str:
    """Where in the answer the event of this type and version is cited."""
    states = [json.loads(each["entry"]) for each in answer["proof"]["events"]]
    [number] = [
        number
        for number, state in enumerate(states)
        if (state["type"], state["streamversion"]) == (f"ledger.{type}.v1", version)
    ]
    return f"/proof/events/{number}"


def _cite_twice(answer: Any) -> None:
    events = answer["proof"]["events"]
    events.insert(1, events[0])


FITS = "/how_on_target/fits/0"
REVISION = "/how_on_target/revisions/target-market@r1"

FORGED: dict[str, tuple[Callable[[Any], None], Check, str]] = {
    "a fit": (_put(f"{FITS}/as_now/fit", 0.4), "fits", f"{FITS}/as_now/fit"),
    "a fit as decided": (_put(f"{FITS}/as_decided/met", 3), "fits", f"{FITS}/as_decided/met"),
    "a fit as asked": (_put(f"{FITS}/as_asked/total", 9), "fits", f"{FITS}/as_asked/total"),
    "a verdict": (_put(f"{FITS}/as_now/bullets/0/verdict", "missed"), "fits", f"{FITS}/as_now/bullets/0/verdict"),
    "what was found": (_put(f"{FITS}/as_now/bullets/0/found", "retail"), "fits", f"{FITS}/as_now/bullets/0/found"),
    "a class": (_put(f"{FITS}/as_now/class", "off_target"), "fits", f"{FITS}/as_now/class"),
    "a fit that is none": (_put(f"{FITS}/as_decided", None), "fits", f"{FITS}/as_decided"),
    "the voice": (_put("/how_on_target/voice", 9.5), "sums", "/how_on_target/voice"),
    "a count": (_put("/how_on_target/accounts/on_target", 9), "sums", "/how_on_target/accounts/on_target"),
    "revenue": (
        _put("/how_on_target/revenue/strategic/0/pipeline", "9.00"), "sums",
        "/how_on_target/revenue/strategic/0/pipeline",
    ),
    "an importance": (_put("/who_asked/0/asks/0/importance", 3), "asked", "/who_asked/0/asks/0/importance"),
    "when it was asked": (_put("/who_asked/0/asks/0/time", at(5)), "asked", "/who_asked/0/asks/0/time"),
    "whose ask it is": (_put("/who_asked/0/account", "bolt"), "asked", "/who_asked/0/account"),
    "a swapped position": (_swap_asks, "asked", "/who_asked/0/asks/0/position"),
    "a quote where there is none": (_put("/who_asked/1/asks/0/quote", "Yes!"), "asked", "/who_asked/1/asks/0/quote"),
    "an asker left out": (_drop_an_asker, "asked", "/who_asked/1/account"),
    "all askers left out": (_drop_all_askers, "asked", "/who_asked/0"),
    "a decider": (_put("/who_decided/0/deciders/0/role", "chief"), "decided", "/who_decided/0/deciders/0/role"),
    "a rationale": (_put("/who_decided/0/rationale", "They pay."), "decided", "/who_decided/0/rationale"),
    "an outcome": (_put("/who_decided/0/outcome", "decline"), "decided", "/who_decided/0/outcome"),
    "whether it departs": (_put("/who_decided/0/departs", "yes"), "decided", "/who_decided/0/departs"),
    "why it needs review": (_put("/who_decided/0/needs_review", []), "decided", "/who_decided/0/needs_review/0"),
    "a bullet": (_put(f"{REVISION}/bullets/0/text", "Banks"), "revisions", f"{REVISION}/bullets/0/text"),
    "a threshold": (_put(f"{REVISION}/threshold", 10), "revisions", f"{REVISION}/threshold"),
    "a digest": (_put(f"{REVISION}/digest", "0" * 64), "revisions", f"{REVISION}/digest"),
    "the title": (_put("/title", "Sign-on"), "told", "/title"),
    "the history": (_put("/history/0/summary", "raised: nothing"), "told", "/history/0/summary"),
    "a member that nobody knows": (_put("/note", "trust me"), "told", "/note"),
    "when it was": (_put("/as_of/recordedtime", at(1)), "told", "/as_of/recordedtime"),
    "an event's bytes": (_change_bytes, "events", "/proof/events/0"),
    "where an event is": (_change_bytes_and_their_position, "events", "/proof/events/0"),
    "a proof of another position": (_take_another_proof, "events", "/proof/events/0"),
    "a proof for another checkpoint": (_take_another_checkpoint, "events", "/proof/events/2"),
    "an event cited twice": (_cite_twice, "events", "/proof/events/1"),
    "a fact left out": (_leave_out, "fits", f"{FITS}/as_asked/class"),
    "the last event left out": (_leave_out_the_last, "position", "/as_of/position"),
    "an earlier position": (_claim_an_earlier_position, "position", "/proof/events/1"),
}  # fmt: skip


async def test_whatever_is_forged_in_an_answer_is_found_and_named(database: Database) -> None:
    async with told(database) as (client, key):
        proven = await _proven(client, key)
    honest = proven.verify()
    assert honest.found == [] and "decided" in honest.checked
    missed = []
    for name, (edit, check, spot) in FORGED.items():
        found = {(each.check, each.spot) for each in proven.verify(edit).found}
        if (check, spot) not in found:
            missed.append((name, found))
    assert missed == []


async def test_what_is_left_out_of_a_stream_that_is_cited_whole_is_found_by_the_versions(database: Database) -> None:
    async with told(database) as (client, key):
        proven = await _proven(client, key)
    # Whoever leaves these out may make the rest of the answer anew: everything else in it would follow.
    for type, after, version in (
        ("decision.made", "decision.acknowledged", 3),
        ("decision.proposed", "decision.made", 2),
        ("event.retracted", "perspective.stated", 7),
        ("requirement.raised", "ask.recorded", 2),
    ):
        changed = deepcopy(proven.answer)
        _without(type)(changed)
        report = verify(msgspec.json.encode(changed), [key])
        spots = [(each.check, each.spot) for each in report.found]
        assert spots[:1] == [("streams", _place(changed, after, version))], (type, report.found)
        assert "told" not in report.checked
    last = proven.verify(_without("decision.acknowledged"))
    assert "streams" not in {each.check for each in last.found}
    assert any("what came last about the requirement or a cited decision" in each for each in last.not_shown)


async def test_the_requirement_and_each_cited_decision_are_cited_whole(database: Database) -> None:
    async with told(database) as (client, key):
        moves = [event("delivery.updated", requirement="SSO", state=state) for state in ("in_progress", "shipped")]
        await client.record(*moves)
        other = event(
            "decision.proposed", decision="D-2", requirements=["LOG"], question="And that?", by=PRODUCT,
            options=[{"option": "build", "summary": "Build it"}, {"option": "wait", "summary": "Wait"}],
        )  # fmt: skip
        noted = event("decision.acknowledged", decision="D-2", team="sales", by=SALES)
        await client.record(other, decided("D-2", "LOG"), noted)
        await sign(client.log.connection)
        proven = await _proven(client, key, at_least=client.head)
        stored = await client.log.connection.fetch("SELECT notification_id, subject FROM ledger_main.stored_events")
    cited = {each["position"] for each in proven.answer["proof"]["events"]}
    whole = ("requirement/SSO", "decision/D-1", "decision/D-2")
    assert cited >= {row["notification_id"] for row in stored if row["subject"] in whole}
    assert proven.verify().found == []


async def test_no_member_of_an_answer_can_be_changed_unnoticed(database: Database) -> None:
    async with told(database) as (client, key):
        proven = await _proven(client, key)
    leaves = (spot for spot in _leaves(proven.answer, "") if not spot.startswith("/proof/events/"))
    # Of those that lie alike in several items, one.
    spots = {re.sub("/[0-9]+", "/0", spot): spot for spot in leaves}
    assert len(spots) > 100
    for spot in spots.values():
        try:
            found = proven.verify(_put(spot, _another(_found(spot, proven.answer)))).found
        except Unverifiable:
            continue
        assert found, spot


def _leaves(value: Any, spot: str) -> Iterator[str]:
    """The JSON pointers of all that has no parts."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, part in parts:
        yield from _leaves(part, f"{spot}/{name}")
    if not parts:
        yield spot


def _another(value: Any) -> Any:
    """Another value, of the same type if there is one."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return f"{value}x"
        case None:
            return "x"
        case _:
            return {"x": "x"} if isinstance(value, dict) else ["x"]


async def test_a_forged_bullet_with_a_digest_of_its_own_is_found(database: Database) -> None:
    async with told(database) as (client, key):
        proven = await _proven(client, key)

    def edit(answer: Any) -> None:
        revision = _found(REVISION, answer)
        revision["bullets"][0]["weight"] = 9
        said = {name: value for name, value in revision.items() if name != "digest"}
        revision["digest"] = sha256(canonical({**said, "revision": "target-market@r1"})).hexdigest()

    spots = {each.spot for each in proven.verify(edit).found}
    assert spots == {f"{REVISION}/bullets/0/weight", f"{REVISION}/digest"}


async def test_the_digest_of_a_revision_is_that_of_its_canonical_json(database: Database) -> None:
    async with told(database) as (client, _):
        answer = await client.answer("requirements/SSO")
        decision = await client.answer("decisions/D-1")
    [(name, revision)] = answer["how_on_target"]["revisions"].items()
    said = {**revision, "revision": name}
    digest = said.pop("digest")
    text = json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert digest == sha256(text.encode()).hexdigest() == decision["revisions"][name]["digest"]


async def test_sealed_texts_stay_sealed_in_the_proof(database: Database) -> None:
    async with told(database) as (client, key):
        proven = await _proven(client, key)
        opened = await _proven(client, key, key="personal")
    assert QUOTE.encode() not in msgspec.json.encode(proven.answer)
    assert PROBLEM.encode() not in msgspec.json.encode(proven.answer)
    assert (opened.answer["problem"], opened.answer["who_asked"][0]["asks"][0]["quote"]) == (PROBLEM, QUOTE)
    assert opened.answer["proof"] == proven.answer["proof"]
    report = opened.verify()
    assert (report.found, report.sealed, proven.verify().sealed) == ([], 2, 0)


async def test_sealed_texts_that_are_shown_as_erased_are_counted_and_told(database: Database, tmp_path: Path) -> None:
    async with told(database) as (client, key):
        opened = await _proven(client, key, key="personal")
    changed = deepcopy(opened.answer)
    changed["problem"] = changed["who_asked"][0]["asks"][0]["quote"] = None
    report = verify(msgspec.json.encode(changed), [key])
    assert (report.found, report.sealed, report.erased, opened.verify().erased) == ([], 0, 2, 0)
    (tmp_path / "answer.json").write_bytes(msgspec.json.encode(changed))
    shown = CliRunner().invoke(commands, ["verify", str(tmp_path / "answer.json"), "--key", str(key)])
    assert shown.exit_code == 0
    assert "2 sealed texts are shown as erased; only the ledger can say whether they are" in shown.output


async def test_the_answer_to_a_position_stays_the_same_however_the_log_grows(database: Database) -> None:
    async with told(database) as (client, key):
        plain = await client.answer("requirements/SSO")
        first = await client.get("requirements/SSO", proof=1, as_of=client.head)
        then = client.head
        await client.record(ask("SSO", "bolt", 3, ask="b-1"))
        await sign(client.log.connection)
        again = await client.get("requirements/SSO", proof=1, as_of=then)
        newer = await _proven(client, key)
        known = await client.get(
            "requirements/SSO", proof=1, as_of=then, headers={"If-None-Match": first.headers["ETag"]}
        )
    assert first.status == 200
    assert (again.body, again.headers["ETag"]) == (first.body, first.headers["ETag"])
    assert known.status == 304
    assert {name: each for name, each in first.json.items() if name != "proof"} == plain
    assert newer.answer["proof"]["checkpoint"] != first.json["proof"]["checkpoint"]
    assert verify(first.body, [key]).found == newer.verify().found == []


async def test_the_stored_bytes_are_carried_as_they_are_with_a_proof_for_each(database: Database) -> None:
    async with told(database) as (client, key):
        proven = await _proven(client, key)
        stored = await client.log.connection.fetch("SELECT notification_id, state FROM ledger_main.stored_events")
    states = {row["notification_id"]: row["state"] for row in stored}
    events = proven.answer["proof"]["events"]
    assert {each["position"]: each["entry"].encode() for each in events}.items() <= states.items()
    positions = [each["position"] for each in events]
    assert positions == sorted({*positions}) and positions[-1] == client.head
    types = {msgspec.json.decode(each["entry"])["type"].split(".", 1)[1] for each in events}
    # What joins accounts, what was taken back, and what the agreement rests on.
    assert types >= {
        "account.identified.v1", "event.retracted.v1", "agreement.revised.v1", "agreement.endorsed.v1",
        "agreement.adopted.v1", "requirement.merged.v1", "opportunity.updated.v1", "decision.acknowledged.v1",
    }  # fmt: skip


async def test_a_proof_waits_for_its_checkpoint_and_says_so_if_there_is_none(database: Database) -> None:
    async with told(database) as (client, _):
        await client.record(ask("SSO", "bolt", 3, ask="b-1"))
        reply = await client.get("requirements/SSO", proof=1, at_least=client.head, timeout=SECONDS)
        assert (reply.status, reply.json["type"]) == (504, "/problems/not-there-yet")
        assert reply.headers["Retry-After"] and f"position {client.head}" in reply.json["detail"]
        plain = await client.get("requirements/SSO", at_least=client.head)
        assert plain.status == 200 and "proof" not in plain.json


async def test_more_than_one_answer_can_carry_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async with told(database) as (client, _):
        for limit in ("CITED_EVENTS_MAX", "CITED_OCTETS_MAX"):
            with monkeypatch.context() as patched:
                patched.setattr(f"services.projector.answers.cited.{limit}", 3)
                reply = await client.get("requirements/SSO", proof=1, at_least=client.head)
            assert (reply.status, reply.json["type"]) == (422, "/problems/too-much-to-prove")
            assert reply.json["events"] > 3 and "one answer carries at most" in reply.json["detail"]
        assert (await client.get("requirements/SSO", proof=1)).status == 200
    for way in ("`ledger export log`", "`ledger audit`"):
        assert way in KINDS["too-much-to-prove"].next


async def test_each_page_of_askers_proves_itself(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("telling.requirement", "requests.requirements"):
        monkeypatch.setattr(f"services.projector.{module}.WHO_ASKED_MAX", 2)
    monkeypatch.setattr("services.verifier.verify.WHO_ASKED_MAX", 2)
    async with told(database) as (client, key):
        first = await client.get("requirements/SSO", proof=1, at_least=client.head)
        link = first.headers["Link"].partition(">")[0][1:]
        second = await client.get(link)
    pages = [Proven(each.json, key) for each in (first, second)]
    assert [len(each.answer["who_asked"]) for each in pages] == [2, 2]
    assert [each.verify().found for each in pages] == [[], []]


async def test_that_a_history_does_not_show_all_is_proven_as_well(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("projector.telling.history", "projector.telling.requirement", "projector.answers.requirement"):
        monkeypatch.setattr(f"services.{module}.HISTORY_MAX", 2)
    monkeypatch.setattr("services.verifier.rows.HISTORY_MAX", 2)
    async with asking(database) as client:
        await client.record(
            # Nothing else has it cited than that the history does not show it.
            event(
                "decision.proposed", decision="D-9", requirements=["SSO"], question="Build it?", options=[], by=PRODUCT
            ),
            ask("SSO", "acme", 1),
            ask("SSO", "bolt", 1),
        )
        key = await sign(client.log.connection)
        proven = await _proven(client, key)
    assert [each["position"] for each in proven.answer["history"]] == [2, 3]
    assert proven.answer["history_more"] is True
    assert proven.verify().found == []
    assert [each.check for each in proven.verify(lambda answer: answer.pop("history_more")).found] == ["told"]


async def test_what_cannot_be_verified_says_why(database: Database) -> None:
    async with told(database) as (client, key):
        proven = await _proven(client, key)
        other = await client.answer("decisions/D-1")
    answer = proven.answer
    note = answer["proof"]["checkpoint"]
    size, root = note.split("\n")[1:3]
    stranger = KeySigner("elsewhere", Ed25519PrivateKey.generate())
    impostor = KeySigner(key.name, Ed25519PrivateKey.generate())
    elsewhere = str(Checkpoint("elsewhere", int(size), bytes(32)).signed([stranger]))
    remade = str(Checkpoint(key.name, int(size), bytes(32)).signed([impostor]))
    broken = str(Note.read(note.encode())._replace(text=f"{key.name}\n{int(size) + 1}\n{root}\n"))

    def carrying(checkpoint: str) -> bytes:
        return msgspec.json.encode({**answer, "proof": {**answer["proof"], "checkpoint": checkpoint}})

    plain = msgspec.json.encode(answer)
    beside = {**answer, "proof": {**answer["proof"], "note": "signed by the board"}}
    commented = deepcopy(answer)
    commented["proof"]["events"][0]["comment"] = "as agreed"
    without = msgspec.json.encode({name: each for name, each in answer.items() if name != "proof"})
    for octets, keys, why in (
        (without, [key], "ask for it with `proof=1`"),
        (b'{"requirement":', [key], "is not JSON"),
        (b'{"status":"declined",' + plain[1:], [key], 'the name "status" stands twice'),
        (b'{"st\\u0061tus":"declined",' + plain[1:], [key], 'the name "status" stands twice'),
        (plain.replace(b'"position":', b'"position":1,"position":', 1), [key], 'the name "position" stands twice'),
        (msgspec.json.encode(beside), [key], "unknown field `note`"),
        (msgspec.json.encode(commented), [key], "unknown field `comment`"),
        (b"\xff\xfe", [key], "is not JSON"),
        (b"[" * 100_000, [key], "is not JSON"),
        (b"[]", [key], "not the answer about a requirement"),
        (msgspec.json.encode(other), [key], "not the answer about a requirement"),
        (carrying("a word"), [key], "the checkpoint in the answer cannot be read"),
        (carrying(elsewhere), [key], "of the log elsewhere"),
        (carrying(remade), [key], "nobody known has signed it"),
        (carrying(broken), [key], "is broken"),
        (msgspec.json.encode(answer), [stranger.key], "the key is that of elsewhere"),
    ):
        with pytest.raises(Unverifiable, match=why):
            verify(octets, keys)


async def test_the_command_ends_with_what_it_found(database: Database, tmp_path: Path) -> None:
    async with told(database) as (client, key):
        proven = await _proven(client, key)
    honest, forged = tmp_path / "honest.json", tmp_path / "forged.json"
    honest.write_text(json.dumps(proven.answer, indent=2))  # As another program writes the same JSON.
    said, instead = b'"rationale":"It fits."', b'"rationale":"They pay."'
    forged.write_bytes(msgspec.json.encode(proven.answer).replace(said, instead))
    stranger = KeySigner("elsewhere", Ed25519PrivateKey.generate()).key

    def run(*arguments: str | Path, input: bytes | None = None) -> Any:
        return CliRunner().invoke(commands, ["verify", *map(str, arguments)], input=input)

    verified = run(honest, "--key", key)
    assert verified.exit_code == 0 and "Verified." in verified.output
    assert verified.output.count("✓") == 10 and "What an answer cannot show" in verified.output
    assert run("-", "--key", key, input=honest.read_bytes()).exit_code == 0
    found = run(forged, "--key", key)
    assert found.exit_code == 1
    assert "✗ decided" in found.output
    assert '/who_decided/0/rationale (decision D-1): says "They pay.", and "It fits." follows' in found.output
    report = msgspec.json.decode(run(forged, "--key", key, "--json").output, type=Report)
    assert [(each.check, each.spot) for each in report.found] == [("decided", "/who_decided/0/rationale")]
    for arguments in ((honest, "--key", stranger), (honest, "--key", "no key"), (honest,), (tmp_path, "--key", key)):
        assert run(*arguments).exit_code == 2, arguments
    assert "Not verified: the answer is of the log" in run(honest, "--key", stranger).output


async def test_the_columns_of_rows_are_those_of_the_tables(database: Database) -> None:
    async with asking(database) as client:
        await ready(client.projector)
    connection = await connect(database.superuser)
    rows = await connection.fetch(
        "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position) AS columns"
        " FROM information_schema.columns WHERE table_schema = 'ledger_main' GROUP BY 1"
    )
    await connection.close()
    there = {row["table_name"]: row["columns"] for row in rows}
    for projection in READS:
        assert columns(projection) == {table: there[table] for table in projection.tables}
